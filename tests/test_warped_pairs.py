"""smalldata/warped_pairs.py: photographs and masks bent alike, masks as thick and whole as before."""

import numpy as np
import pytest

from synthmed_tf.datasets.phantoms import fundus
from synthmed_tf.datasets.prepare import crop_sample
from synthmed_tf.sample import Sample
from synthmed_tf.smalldata import warp
from synthmed_tf.smalldata.fields import label_pieces, make_fields, measure_thickness
from synthmed_tf.smalldata.warped_pairs import FIELD_SCALE, WarpedPairs

SEED = 4


def draw_eyes(count, side=128):
    return [crop_sample(fundus.draw_fundus(index), (side, side)) for index in range(count)]


def draw_wedge(side):
    """A vessel that gets thicker to the right, [side, side, 1]."""
    rows, columns = np.mgrid[:side, :side]
    return (abs(rows - side / 2) < 1 + columns / 12).astype(np.uint8)[..., None]


@pytest.mark.parametrize("has_view", [True, False])
def test_pairs_hold_photographs_fields_of_masks_and_the_light_inside_the_field_of_view(has_view):
    random, inside = np.random.default_rng(0), np.zeros([64, 64, 1], np.uint8)
    inside[5:60, 5:60] = 1
    view = inside if has_view else None
    photographs = random.integers(0, 256, [2, 64, 64, 3], np.uint8)
    samples = [Sample(str(i), photograph, draw_wedge(64), view) for i, photograph in enumerate(photographs)]
    pairs = WarpedPairs(samples, 1, SEED)
    assert pairs.has_view is has_view and pairs.channels == 3 and pairs.image_size == (64, 64)
    np.testing.assert_allclose(pairs.photographs, photographs / 127.5 - 1, atol=1e-6)
    assert (pairs.fields == make_fields(draw_wedge(64), FIELD_SCALE)).all()
    assert (np.sign(pairs.light) == (inside if has_view else 1)).all()
    if not has_view:
        assert (pairs.filled == pairs.photographs).all() and (pairs.light == 1).all()


@pytest.mark.parametrize("is_inside", [0.0, 1.0])
def test_warped_pairs_stay_pairs_and_are_black_outside_the_field_of_view(is_inside):
    """Constant pictures stay what they are under any warp."""
    pairs = WarpedPairs([Sample("a", np.zeros([16, 16, 3], np.uint8), np.zeros([16, 16, 1], np.uint8))] * 2, 2, SEED)
    pairs.filled[:], pairs.fields[:], pairs.light[:] = (0.5, 0.2, -0.3), (0.8, -1.0), is_inside
    pairs.wall = 0.7
    (stack,) = pairs.batch(3)
    assert stack.shape == (2, 16, 16, 5) and stack.dtype == np.float32 and (stack[..., -1] == is_inside).all()
    expected = (0.5, 0.2, -0.3) if is_inside else (-1.0, -1.0, -1.0)
    np.testing.assert_allclose(stack[..., :3], np.broadcast_to(expected, [2, 16, 16, 3]), atol=1e-5)
    assert (stack[..., 3] == (1 if is_inside else -1)).all()
    pairs.wall = 0.9  # above all of it
    assert (pairs.batch(3)[0][..., 3] == -1).all()


def test_warped_vessels_stay_as_thick_as_they_were_and_whole():
    pairs = WarpedPairs(draw_eyes(4), 4, SEED)
    masks = pairs.masks > 0
    warped = np.concatenate([pairs.batch(step)[0] for step in range(3)])[..., 3:4]
    assert set(np.unique(warped)) == {-1, 1}
    assert measure_thickness(warped > 0) == pytest.approx(measure_thickness(masks), rel=0.03)
    options = {"rotation": 20.0, "elastic": 0.008, "flip": (True, True)}
    by_the_wall = [warp.warp_at_random(pairs.fields[..., :1], [SEED, step], **options) for step in range(3)]
    before, broken, after = (
        np.mean([len(label_pieces(mask[..., 0])[1]) for mask in masks])
        for masks in (masks, np.concatenate(by_the_wall) > 0, warped > 0)
    )
    assert after < before + 0.15 * (broken - before)
    assert np.mean(warped > 0) / masks.mean() == pytest.approx(1.0, abs=0.1)


def test_photograph_and_mask_are_warped_alike_and_each_step_otherwise():
    """A photograph that is its mask is so after the warp, but for pixels at the wall."""
    eyes = draw_eyes(2)
    for eye in eyes:
        eye.image[:] = eye.mask * 255
    first, second = ([WarpedPairs(eyes, 2, SEED).batch(step)[0] for step in (0, 1)] for _ in range(2))
    assert all((one == other).all() for one, other in zip(first, second, strict=True))
    for stack in first:
        assert np.mean((stack[..., 0] > 0) == (stack[..., 3] > 0)) > 0.96
        assert np.corrcoef(stack[..., 0].ravel(), stack[..., 3].ravel())[0, 1] > 0.85
    other_seed = WarpedPairs(eyes, 2, SEED + 1).batch(0)[0]
    for other in (first[1], other_seed):
        assert np.corrcoef(first[0][..., 3].ravel(), other[..., 3].ravel())[0, 1] < 0.5


@pytest.mark.parametrize("cut", [0, 9])
def test_warped_photographs_keep_their_rim_and_hold_no_darkness_from_it_or_beyond_it(cut):
    """With cut, the frame's edge cuts the field of view; without, it touches it."""
    rows, columns = np.mgrid[:128, :128] - 63.5
    view = (np.hypot(rows, columns) < 64 + cut).astype(np.uint8)[..., None]
    taken = np.full([128, 128, 3], 200, np.uint8) * view
    taken[(np.hypot(rows, columns) > 63 + cut) | (np.abs(rows) > 63) | (np.abs(columns) > 63)] //= 4  # a dark rim
    pairs = WarpedPairs([Sample("a", taken, draw_wedge(128) * view, view)], 8, SEED)
    expected = np.broadcast_to(taken / 127.5 - 1, [8, 128, 128, 3])  # a warp changes nothing in it
    (stack,) = pairs.batch(3)
    np.testing.assert_allclose(stack[..., :3], expected, atol=0.01)
    assert (stack[..., -1:] == view).all()
    np.testing.assert_allclose(pairs.photographs[0], expected[0], atol=1e-6)
