"""Masks as smooth fields, and back."""

import numpy as np
import pytest
from made_masks import tree
from skimage.morphology import skeletonize

from synthmed_tf.smalldata.fields import (
    CENTRELINE_WEIGHT,
    find_wall,
    join_pieces,
    label_pieces,
    make_distance_field,
    make_fields,
    make_mask,
    measure_thickness,
    threshold_distance_field,
)


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_distance_field_is_the_closed_form_of_a_half_plane(scale):
    mask = np.zeros((20, 30, 1), np.uint8)
    mask[:, 15:] = 1
    field = make_distance_field(mask, scale)
    assert field.dtype == np.float32 and np.abs(field).max() < 1
    expected = np.tanh((np.arange(30) - 14.5) / scale)
    np.testing.assert_allclose(field[..., 0], np.broadcast_to(expected, (20, 30)), atol=2e-6)


def test_distance_field_and_back():
    masks = [tree(64, 80), np.zeros((16, 16, 1), np.uint8), np.ones((16, 16, 1), np.uint8)]
    for mask in [*masks, (np.random.default_rng(0).random((33, 31, 1)) < 0.5).astype(np.uint8)]:
        field = make_distance_field(mask, 3.0)
        assert field.shape == mask.shape and np.abs(field).max() < 1
        assert (threshold_distance_field(field) == mask).all()


def test_wall_and_centreline_of_a_bar():
    mask = np.zeros([9, 40, 1], np.uint8)
    mask[3:6, 4:36] = 1  # three pixels thick: the middle row is the centreline
    fields = make_fields(mask, 2.0)
    assert fields.dtype == np.float32 and fields.shape == (9, 40, 2)
    np.testing.assert_array_equal(fields[..., :1], make_distance_field(mask, 2.0))
    expected = 2 * np.exp(-((np.array([4, 3, 2, 1, 0, 1, 2, 3, 4]) / 1.5) ** 2)) - 1
    np.testing.assert_allclose(fields[:, 20, 1], expected, atol=1e-6)
    assert (make_mask(fields) == mask).all()


def test_a_vessel_that_dips_below_the_wall_goes_on_along_its_centreline():
    mask = np.zeros([9, 40, 1], np.uint8)
    mask[4, 4:36] = 1
    fields = make_fields(mask, 2.0)
    fields[:, 18:22, 0] -= 0.5
    assert not threshold_distance_field(fields)[4, 18:22, 0].any()
    assert (make_mask(fields) == mask).all()


@pytest.mark.parametrize("wall", [-0.3, 0.0, 0.2, 0.4])
def test_a_centreline_adds_its_weight_to_the_wall(wall):
    # None above the skeleton's 0
    fields = np.stack(np.meshgrid(np.linspace(-1, 1, 41), np.linspace(-1, -0.01, 37)), -1)
    expected = fields[..., 0] > wall - CENTRELINE_WEIGHT / 2 * (fields[..., 1] + 1)
    assert (make_mask(fields, wall)[..., 0] == expected).mean() > 0.995  # but for rounding
    nowhere = np.stack([fields[..., 0], np.full_like(fields[..., 0], -1)], -1)  # no centreline: the wall alone
    assert (make_mask(nowhere, wall)[..., 0] == (nowhere[..., 0] > wall)).all()


@pytest.mark.parametrize(("ridge", "ends"), [(0.0, 30), (0.25, 30), (0.5, 20), (0.75, 10), (1.0, 0)])
def test_centrelines_are_taken_where_they_exceed_the_ridge(ridge, ends):
    fields = np.full([9, 40, 2], -1.0)
    fields[4, :10, 1], fields[4, 10:20, 1], fields[4, 20:30, 1] = 0.9, 0.6, 0.3  # fades out
    expected = np.zeros([9, 40, 1], np.uint8)
    expected[4, :ends] = 1
    assert (make_mask(fields, wall=1.0, ridge=ridge) == expected).all()


def pieces_of_5_3_and_1():
    """Fields whose mask by the wall alone is a row, a diagonal and a dot."""
    fields = np.full([9, 9, 2], -1.0)
    fields[1, 1:6, 0] = fields[[4, 5, 6], [2, 3, 4], 0] = fields[8, 8, 0] = 1.0
    return fields


def test_pieces_hang_together_at_corners_too():
    mask = pieces_of_5_3_and_1()[..., 0] > 0
    labels, sizes = label_pieces(mask)
    assert sizes.tolist() == [5, 3, 1] and (labels > 0).tolist() == mask.tolist()
    assert (labels[1, 1:6] == 1).all() and labels[4, 2] == labels[5, 3] == labels[6, 4] == 2 and labels[8, 8] == 3
    assert label_pieces(0 * mask)[1].tolist() == []


@pytest.mark.parametrize(("smallest", "kept"), [(1, 9), (2, 8), (3, 8), (4, 5), (5, 5), (6, 5), (1000, 5)])
def test_pieces_smaller_than_the_smallest_are_left_out_but_never_the_largest(smallest, kept):
    fields = pieces_of_5_3_and_1()
    mask = make_mask(fields, 0.0, smallest=smallest)
    assert mask.dtype == np.uint8 and mask.shape == (9, 9, 1) and mask.sum() == kept
    assert (mask <= make_mask(fields, 0.0)).all()
    twice = make_mask(np.concatenate([fields, fields]), 0.0, smallest=smallest)
    assert (twice == np.concatenate([mask, mask])).all()  # of two largest both stay


@pytest.mark.parametrize("smallest", [1, 5])
def test_no_pieces_leave_an_empty_mask(smallest):
    nothing = np.full([6, 7, 2], -1.0)
    assert not make_mask(nothing, smallest=smallest).any()


def row(length, *parts):
    """[1, length] bool, True in these ranges."""
    found = np.zeros([1, length], bool)
    for first, last in parts:
        found[0, first:last] = True
    return found


def test_lines_that_join_two_pieces_are_added_and_others_are_not():
    mask, lines = row(40, (2, 8), (12, 18), (30, 34)), row(40, (4, 22), (28, 40))
    # Of 18 to 22, 28 to 30 and 34 to 40 each touches one piece
    assert (join_pieces(mask, lines) == row(40, (2, 18), (30, 34))).all()
    assert (join_pieces(mask, row(40)) == mask).all() and not join_pieces(row(40), lines).any()
    assert (join_pieces(mask, row(40, (0, 40))) == row(40, (2, 34))).all()
    diagonal = np.eye(9, dtype=bool)
    ends = diagonal & (np.arange(9) % 8 == 0)
    assert (join_pieces(ends, diagonal) == diagonal).all()


def test_joining_closes_no_loop_and_leaves_out_the_longest_of_a_ring():
    ring = np.ones([12, 20], bool)
    ring[1:-1, 1:-1] = False
    gaps = np.zeros_like(ring)
    gaps[0, 4:6] = gaps[0, 14:17] = gaps[11, 9:13] = True  # of 2, 3 and 4 pixels between three pieces
    expected = ring.copy()
    expected[11, 9:13] = False
    assert (join_pieces(ring & ~gaps, ring) == expected).all()


def test_a_mask_is_joined_along_the_ridge_alone():
    fields = np.full([9, 40, 2], -1.0)
    fields[4, 2:12, 0] = fields[4, 16:30, 0] = 1.0
    fields[4, 2:36, 1] = 0.6
    found = {ridge: make_mask(fields, 0.0, ridge, joining=True) for ridge in (0.5, 0.7)}
    assert found[0.5][4, :, 0].tolist() == row(40, (2, 30))[0].tolist() and found[0.5].sum() == 28
    assert found[0.7][4, :, 0].tolist() == row(40, (2, 12), (16, 30))[0].tolist()


def test_area_to_length_of_bars_and_of_nothing():
    masks = np.zeros([2, 9, 40, 1], np.uint8)
    masks[0, 4, 4:36] = 1
    masks[1, 4, 4:12] = 1
    assert measure_thickness(masks) == 1
    masks[1, 3:6, 4:12] = 1
    assert measure_thickness(masks) == (32 + 24) / (32 + skeletonize(masks[1, ..., 0] > 0).sum())
    assert measure_thickness(0 * masks) == 0


def test_wall_and_centreline_of_nothing():
    empty = np.zeros([8, 8, 1], np.uint8)
    fields = make_fields(empty, 2.0)
    assert (fields < -0.99).all() and (make_mask(fields) == empty).all()


def test_the_wall_of_a_thickness():
    """Bars of a distance field that rises by 0.1 a pixel:
    the wall w leaves (0.8 - w) / 0.1 pixels on either side of the middle.
    """
    distance = np.abs(np.arange(41) - 20)
    field = np.broadcast_to(0.8 - 0.1 * distance[:, None], [41, 400])

    def masks_at(wall):
        return (field > wall)[None, ..., None]

    for half in (1, 3, 5):
        thickness = measure_thickness(masks_at(0.75 - 0.1 * half))
        wall = find_wall(masks_at, thickness)
        assert measure_thickness(masks_at(wall)) == pytest.approx(thickness)
        assert 0.8 - 0.1 * (half + 1) - 1e-6 <= wall < 0.8 - 0.1 * half + 1e-6


def test_the_wall_of_a_thickness_out_of_reach_is_the_nearest():
    fields = np.full([1, 8, 8, 1], -0.9)
    assert find_wall(lambda wall: fields > wall, 3.0) < -0.49
