import numpy as np
import pytest
import tensorflow as tf
from stage1_helpers import draw_eyes, make_rows, reduce_by_hand, sigmoid, wedge

from synthmed_tf.sample import Sample
from synthmed_tf.smalldata import recombine, warp
from synthmed_tf.smalldata.fields import make_fields
from synthmed_tf.smalldata.flow import decode_fields
from synthmed_tf.smalldata.warped_examples import MaskFields, WarpedImages, choose_warp
from synthmed_tf.training.batches import draw_batch_indices

RNG = np.random.default_rng(0)


def make_masks():
    view = np.ones([64, 64, 1], np.uint8)
    view[:, :3] = 0
    return [Sample("right", mask=wedge() * view, field_of_view=view), Sample("left", mask=wedge()[:, ::-1])]


def test_masks_are_distances_and_all_discs_are_on_the_left():
    first, second = MaskFields(make_masks()[:1], [], "mask", 2, 0).make_stack(make_masks())
    mask, view = make_masks()[0].mask[:, ::-1], make_masks()[0].field_of_view[:, ::-1]  # turned
    assert first.shape == (64, 64, 3) and (first[..., -1:] == view).all()
    assert ((first[..., :1] > 0) == (mask > 0)).all() and np.abs(first[..., :2]).max() <= 1
    assert ((second[..., :1] > 0) == (make_masks()[1].mask > 0)).all()  # not turned: already on the left
    row = 64 // 2
    assert first[0, 63, 0] < -0.99 and 0 < first[row, 60, 0] < first[row, 5, 0]  # deeper inside where it is thicker


def test_masks_without_a_field_of_view_are_not_turned():
    (row,) = MaskFields([Sample("a", mask=wedge())], [], "mask", 2, 0).stack
    assert ((row[..., :1] > 0) == (wedge() > 0)).all() and (row[..., 2] == 1).all()


@pytest.mark.parametrize(("size", "scale"), [((128, 64), 3.0), ((128, 160), 3.0), ((256, 256), 6.0), ((320, 192), 4.5)])
def test_fields_are_as_wide_as_the_image_asks_for(size, scale):
    mask = wedge(*size)
    examples = MaskFields([Sample("a", mask=mask)], [], "mask", 2, 0)
    np.testing.assert_array_equal(examples.stack[0, ..., :2], make_fields(mask, scale, scale / 2))


def test_images_are_their_pixels():
    image = RNG.integers(0, 256, [16, 16, 3], dtype=np.uint8)
    examples = WarpedImages([Sample("a", image)], [], "image", 2, 0)
    assert examples.stack.shape == (1, 16, 16, 4) and (examples.stack[..., 3] == 1).all()
    assert np.abs(examples.stack).max() <= 1 and not examples.mirrors
    assert (examples.to_pictures(examples.stack[..., :3])[0] == image).all()


@pytest.mark.parametrize("kind", [MaskFields, WarpedImages])
def test_networks_are_shown_real_ones_warped_and_dark_outside(kind, monkeypatch):
    warps = []

    def turn(fields, key, **options):
        warps.append((tuple(fields.shape), key, options["flip"]))
        return fields[:, ::-1]

    monkeypatch.setattr(warp, "warp_at_random", turn)
    view = np.ones([64, 64, 1], np.uint8)
    target = "mask" if kind is MaskFields else "image"
    examples = kind([Sample("a", 9 * wedge(), wedge(), view)], [], target, 2, 0)
    rows = make_rows(8, 12)
    before = reduce_by_hand(rows) if target == "mask" else rows[..., :1]  # images go on beyond the field of view
    upside_down = np.concatenate([before[:, ::-1], rows[..., 1:]], -1)  # the field of view is not warped
    np.testing.assert_allclose(examples.show(rows, [1, 2]), reduce_by_hand(upside_down), atol=1e-6)
    assert warps == [((3, 8, 12, 1), [1, 2], (False, target == "image"))]


@pytest.mark.parametrize("cut", [0, 9])
def test_warped_photographs_keep_their_rim_and_hold_no_darkness_from_it_or_beyond_it(cut):
    """With cut, the frame's edge cuts the field of view; without, it touches it."""
    rows, columns = np.mgrid[:128, :128] - 63.5
    view = (np.hypot(rows, columns) < 64 + cut).astype(np.uint8)[..., None]
    image = np.full([128, 128, 3], 200, np.uint8) * view
    image[(np.hypot(rows, columns) > 63 + cut) | (np.abs(rows) > 63) | (np.abs(columns) > 63)] //= 4  # a dark rim
    examples = WarpedImages([Sample("a", image, field_of_view=view)], [], "image", 2, 0)
    shown = examples.show(tf.constant(np.repeat(examples.stack, 8, 0)), [4, 3])
    expected = np.broadcast_to(image / 127.5 - 1, [8, 128, 128, 3])  # a warp changes nothing in it
    np.testing.assert_allclose(shown, expected, atol=0.01)


def test_warps_never_mirror_xrays_and_mirror_masks_without_fields_of_view():
    grey, tile = RNG.integers(0, 256, [24, 24, 1], np.uint8), RNG.integers(0, 256, [24, 24, 3], np.uint8)
    assert choose_warp(Sample("a", tile, field_of_view=grey, label="1")) == {}
    assert choose_warp(Sample("a", grey, mask=grey)) == {"flip": (False, True)}
    examples = WarpedImages([Sample("a", grey, label="1")], [], "image", 2, 0)
    assert examples.warp["flip"] == (False, False) and "quarter_turns" not in examples.warp
    ramp = np.linspace(-1, 1, 24, dtype=np.float32)[None, None, :, None] * np.ones([16, 24, 1, 1], np.float32)
    shown = examples.show(np.concatenate([ramp, np.ones_like(ramp)], -1), [1, 2]).numpy()
    assert (np.diff(shown[:, 4:-4, 4:-4, 0], axis=2).mean((1, 2)) > 0).all()  # bright stays on the right


def test_tiles_are_seen_in_their_eight_orientations_with_each_pixel_as_it_is():
    image = RNG.integers(0, 256, [24, 24, 3], np.uint8)
    examples = WarpedImages([Sample("a", image, label="1")], [], "image", 2, 0)
    (row,) = examples.stack
    eight = [np.rot90(side, turns)[..., :3] for side in (row, row[::-1]) for turns in range(4)]
    shown = examples.show(np.repeat(examples.stack, 64, 0), [1, 2]).numpy()
    errors = np.abs(shown[:, None] - np.stack(eight)).max((2, 3, 4))
    assert errors.min(1).max() < 1e-4 and set(errors.argmin(1)) == set(range(8))
    assert choose_warp(Sample("a", image[:16], label="1"))["quarter_turns"] is False


def test_batches_of_eyes_are_recombined_and_those_of_other_masks_are_not():
    eyes = draw_eyes(4)
    examples = MaskFields(eyes, [], "mask", 3, 7)
    assert [tuple(disc) for disc in examples.discs] == [recombine.find_disc(row[..., :1] > 0) for row in examples.stack]
    chosen = draw_batch_indices(4, 3, 7, 5)
    (rows,) = examples.batch(5)
    np.testing.assert_array_equal(rows, recombine.recombine(examples.stack, examples.discs, chosen, [7, 3, 5]))
    plain = MaskFields([Sample(eye.id, mask=eye.mask) for eye in eyes], [], "mask", 3, 7)
    assert plain.discs is None and (plain.batch(5)[0] == plain.stack[chosen]).all()


def test_samples_of_eyes_are_mirrored():
    assert MaskFields(make_masks()[:1], [], "mask", 2, 0).mirrors


def test_masks_are_made_by_a_rule_that_is_found_on_generated_fields():
    mask = np.zeros([16, 24, 1], np.uint8)
    mask[8, 2:20] = 1
    examples = MaskFields([Sample("a", mask=mask)], [], "mask", 2, 0)
    assert examples.rule == {}
    fields = np.concatenate([np.full(mask.shape, -1.0), np.where(mask, 0.9, -1.0)], -1)[None]

    def generate(noise):
        assert noise.shape[1:] == (5,)
        return np.repeat(fields, len(noise), 0)

    examples.calibrate(generate, (5,))
    assert examples.rule.keys() == {"wall", "ridge", "smallest"}
    pictures = examples.to_pictures(fields)
    assert pictures.dtype == np.uint8 and (pictures[0] == mask).all()


def test_masks_are_made_of_a_decoders_probability_and_joined_along_centrelines():
    fields = np.full([1, 16, 24, 2], -1.0, np.float32)
    fields[0, 8, 2:9, 0] = fields[0, 8, 12:20, 0] = 2.0  # a vessel with a gap
    fields[0, 8, 2:20, 1] = 1.0
    probabilities = decode_fields(lambda some, training: tf.constant(some[..., :1]), fields)
    np.testing.assert_allclose(probabilities[..., 0], sigmoid(fields[..., 0]), atol=1e-6)
    assert (probabilities[..., 1] == fields[..., 1]).all()
    whole = np.zeros([16, 24, 1], np.uint8)
    whole[8, 2:20] = 1
    examples = MaskFields([Sample("a", mask=whole)], [], "mask", 2, 0)
    examples.has_probability = True
    examples.calibrate(lambda noise: np.repeat(probabilities, len(noise), 0), (5,))
    assert examples.rule["joining"] and examples.rule["weight"] == 0
    assert (examples.to_pictures(probabilities)[0] == whole).all()
