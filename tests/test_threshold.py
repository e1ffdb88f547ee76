import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage
from stage1_helpers import count_pieces, draw_eyes

from synthmed_tf.metrics import shapes
from synthmed_tf.sample import Sample
from synthmed_tf.smalldata import threshold, warp
from synthmed_tf.smalldata.fields import make_fields, make_mask, measure_thickness
from synthmed_tf.smalldata.flow import enlarge, reduce


def calibrate(fields, masks):
    """The rule for `fields` by these real masks."""
    return threshold.calibrate(fields, [Sample(str(i), mask=mask) for i, mask in enumerate(masks)], {})


def make_masks(fields, **rule):
    return np.stack([make_mask(field, **rule) for field in fields])


def draw_combs():
    """Masks of two to five vertical lines one pixel wide, of 20 to 50 pixels."""
    masks = np.zeros([4, 64, 64, 1], np.uint8)
    for index, mask in enumerate(masks):
        for line in range(2 + index):
            mask[5 : 25 + 6 * line, 8 + 10 * line] = 1
    return masks


def make_centrelines(masks, height):
    """Fields without walls whose second one is `height` on the masks."""
    return np.concatenate([np.full(masks.shape, -1.0), np.where(masks, height, -1.0)], -1)


def test_calibrated_masks_are_as_thick_as_real_ones():
    real = np.stack([eye.mask for eye in draw_eyes(4)])
    thick = np.stack([make_fields(mask, 4.0) for mask in real])
    thick = warp.warp_at_random(thick, [0, 0], zoom=1.0).numpy()  # distances that are no multiples of half a pixel
    wanted = measure_thickness(real)
    walls = []
    for shift in (0.0, 0.25):  # of every wall, by a pixel
        fields = thick + np.float32([shift, 0])
        rule = calibrate(fields, real)
        assert measure_thickness(make_masks(fields)) > 1.3 * wanted
        assert measure_thickness(make_masks(fields, **rule)) == pytest.approx(wanted, rel=0.05)
        walls.append(rule["wall"])
    assert walls[1] - walls[0] == pytest.approx(0.25, abs=0.01)


def test_masks_of_halved_fields_keep_the_area_and_stay_whole():
    masks = np.stack([eye.mask for eye in draw_eyes(2, (128, 128))])
    fields = np.stack([make_fields(mask, 4.0) for mask in masks])
    halved = enlarge(reduce(fields, 2), 2).numpy()
    calibrated = make_masks(halved, **calibrate(halved, masks))
    beads = (halved[..., :1] > 0).astype(np.uint8)  # the distance field alone
    assert calibrated.dtype == np.uint8 and calibrated.shape == masks.shape
    assert calibrated.mean() == pytest.approx(masks.mean(), rel=0.15)
    for mask, whole, broken in zip(masks, calibrated, beads, strict=True):
        assert count_pieces(whole) < 0.1 * count_pieces(broken) and count_pieces(whole) <= count_pieces(mask) + 5
        assert 2 * (whole & mask).sum() / (whole.sum() + mask.sum()) > 0.6


@pytest.mark.parametrize(("true", "false", "ridge"), [(0.9, 0.4, 0.5), (0.4, 0.1, 0.25), (0.2, -0.2, 0.0)])
def test_the_ridge_is_the_one_between_true_and_false_centrelines(true, false, ridge):
    masks = draw_combs()
    crossing = np.zeros_like(masks)
    crossing[:, 15, :] = 1  # leaves one piece of each comb
    fields = np.maximum(make_centrelines(masks, true), make_centrelines(crossing, false))
    rule = calibrate(fields, masks)
    assert ridge in threshold.RIDGES and rule["ridge"] == ridge
    assert (make_masks(fields, **rule) == masks).all()


def test_the_lowest_of_ridges_that_do_as_well_is_taken():
    masks = draw_combs()
    assert calibrate(make_centrelines(masks, 0.9), masks)["ridge"] == min(threshold.RIDGES)


def test_specks_are_left_out_until_there_are_as_many_pieces_as_in_real_masks():
    masks, specks = draw_combs(), np.zeros_like(draw_combs())
    for size in range(1, 12):
        specks[:, 2 + 5 * size, 60 - size : 60] = 1  # away from the lines, the last of which is column 48, up to row 48
    fields = make_centrelines(masks | specks, 0.9)
    rule = calibrate(fields, masks)
    assert 11 < rule["smallest"] <= 20
    assert (make_masks(fields, **rule) == masks).all()


def test_vessels_in_many_pieces_are_not_left_out_with_the_specks():
    masks = draw_combs()
    broken = masks.copy()
    broken[:, 4::6] = 0  # pieces of five pixels
    broken[:, 60, 60] = 1
    fields = make_centrelines(broken, 0.9)
    rule = calibrate(fields, masks)  # a fifth of the pieces is wanted
    assert make_masks(fields, **rule).sum() / broken.sum() > 0.9 and rule["smallest"] <= 5


def test_a_mask_of_small_pieces_alone_keeps_the_largest_of_them():
    masks = draw_combs()
    small = np.zeros_like(masks[:1])
    small[0, 10, 10:13], small[0, 20, 10:12] = 1, 1
    fields = make_centrelines(np.concatenate([masks, small]), 0.9)
    assert calibrate(fields, masks[3:])["smallest"] == 1  # masks of five pieces each, and the fields have less
    rule = calibrate(fields, masks[:1])  # two pieces each
    assert rule["smallest"] > 3
    kept = make_masks(fields, **rule)
    assert kept[4].sum() == 3 and (kept[4] <= small[0]).all() and all(mask.any() for mask in kept)


def test_noisy_fields_give_about_as_many_pieces_as_real_masks_have():
    masks = np.stack([eye.mask for eye in draw_eyes(4)])
    fields = np.stack([make_fields(mask, 3.0) for mask in masks])
    fields += ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 1.2, fields.shape), (0, 1, 1, 0))
    rule, wanted = calibrate(fields, masks), np.mean([count_pieces(mask) for mask in masks])
    noisy = make_masks(fields, **rule | {"smallest": 1})
    assert np.mean([count_pieces(mask) for mask in noisy]) > 3 * wanted
    kept = make_masks(fields, **rule)
    assert np.mean([count_pieces(mask) for mask in kept]) == pytest.approx(wanted, rel=0.25)


def test_real_masks_without_a_vessel_are_no_obstacle():
    masks = draw_combs()
    fields = make_centrelines(masks, 0.9)
    for real in (0 * masks, np.concatenate([0 * masks, masks])):
        rule = calibrate(fields, real)
        assert rule.keys() == {"wall", "ridge", "smallest"} and rule["smallest"] >= 1
        assert make_masks(fields, **rule).shape == masks.shape


def test_fixed_arguments_stay_as_they_are():
    masks = draw_combs()
    real = [Sample("a", mask=mask) for mask in masks]
    rule = threshold.calibrate(make_centrelines(masks, 0.9), real, {"weight": 0.0, "joining": False})
    assert rule["weight"] == 0 and rule["joining"] is False and {"wall", "ridge", "smallest"} < rule.keys()


def test_the_rule_is_found_on_the_same_samples_each_time():
    def generate(noise):
        return tf.reshape(noise, [-1, 2, 3, 1]) + 1

    fields = threshold.draw_fields(generate, (6,), 5)
    assert fields.shape == (threshold.DRAWN, 2, 3, 1) and isinstance(fields, np.ndarray)
    assert (threshold.draw_fields(generate, (6,), 5) == fields).all()
    assert (threshold.draw_fields(generate, (6,), 6) != fields).any()


def test_the_mean_distance_is_that_of_what_can_be_measured():
    undefined = dict.fromkeys(shapes.STATISTICS)

    def describe(*lengths):
        return [undefined | {"skeleton_length": length, "components": 2.0} for length in lengths]

    real = describe(10.0, 14.0)
    assert threshold.average_distances(real, real) == 0
    assert threshold.average_distances(real, describe(15.0, 19.0)) == pytest.approx(5 / 8**0.5 / 2)
    assert threshold.average_distances([undefined], [undefined]) == 0


def test_samples_have_the_field_of_view_of_most_real_ones():
    views = [np.array([[[a]], [[b]]], np.uint8) for a, b in ((1, 0), (1, 1), (1, 0))]
    common = threshold.find_common_view([Sample(str(i), field_of_view=view) for i, view in enumerate(views)])
    assert common.dtype == np.uint8 and common.tolist() == [[[1]], [[0]]]
    assert threshold.find_common_view([Sample("a"), Sample("b")]) is None
