import numpy as np
import pytest
import tensorflow as tf
from stage1_helpers import make_rows, reduce_by_hand, wedge

from synthmed_tf.sample import Sample
from synthmed_tf.training.batches import draw_batch_indices
from synthmed_tf.training.examples import WATCHED, Examples

RNG = np.random.default_rng(0)


def make_masks():
    view = np.ones([64, 48, 1], np.uint8)
    view[:, :3] = 0
    return [Sample("right", mask=wedge(64, 48) * view, field_of_view=view), Sample("left", mask=wedge(64, 48)[:, ::-1])]


def make_images(count, dtype=np.uint8, channels=1, labels="ab"):
    top = np.iinfo(dtype).max
    images = RNG.integers(0, top + 1, [count, 8, 6, channels]).astype(dtype)
    return [Sample(str(i), image, label=labels[i % len(labels)]) for i, image in enumerate(images)]


def test_masks_are_in_minus_one_and_one():
    examples = Examples(make_masks(), [], "mask", 2, seed=0)
    assert examples.stack.shape == (2, 64, 48, 2) and examples.stack.dtype == np.float32
    assert (examples.image_size, examples.channels, examples.classes) == ((64, 48), 1, 0)
    for row, sample in zip(examples.stack, make_masks(), strict=True):
        assert (row[..., :1] == np.where(sample.mask, 1, -1)).all()
    assert (examples.stack[0, :, :3, 1] == 0).all() and (examples.stack[0, :, 3:, 1] == 1).all()
    assert (examples.stack[1, ..., 1] == 1).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_their_pixels_and_come_back_as_they_were(dtype, channels):
    real = make_images(3, dtype, channels)
    examples = Examples(real, [], "image", 2, seed=0)
    assert examples.channels == channels and (examples.stack[..., -1] == 1).all()
    assert np.abs(examples.stack).max() <= 1
    pictures = examples.to_pictures(examples.stack[..., :-1])
    assert pictures.dtype == dtype and (pictures == np.stack([sample.image for sample in real])).all()


def test_what_a_generator_makes_of_masks_is_cut_at_0():
    examples = Examples(make_masks(), [], "mask", 2, seed=0)
    pictures = examples.to_pictures(tf.constant([-0.9, 0.0, 0.01, 1.0], shape=[1, 2, 2, 1]))
    assert pictures.dtype == np.uint8 and pictures.ravel().tolist() == [0, 0, 1, 1]
    examples.calibrate(None, None)  # nothing to do
    assert not examples.mirrors


def test_a_discriminator_sees_real_ones_as_they_are_and_dark_outside():
    rows = make_rows(8, 12)
    examples = Examples(make_masks(), [], "mask", 2, seed=0)
    for key in ([1, 2], [3, 4]):
        np.testing.assert_array_equal(examples.show(rows, key), reduce_by_hand(rows).astype(np.float32))


def test_batches_are_seeded_rows_with_their_labels():
    real = make_images(6, labels="aab")
    examples = Examples(real, [], "image", 4, 7, class_names=("a", "b"))
    assert examples.classes == 2
    for step in range(3):
        rows, labels = examples.batch(step)
        chosen = draw_batch_indices(6, 4, 7, step)
        assert (rows == examples.stack[chosen]).all() and labels.dtype == np.float32
        assert labels.tolist() == [[1, 0] if real[index].label == "a" else [0, 1] for index in chosen]
    (rows,) = Examples(real, [], "image", 4, 7).batch(2)
    assert (rows == examples.stack[chosen]).all()


def test_typical_labels_are_spread_as_those_of_real_samples():
    real = make_images(12, labels="aab")
    examples = Examples(real, [], "image", 4, 7, class_names=("a", "b"))
    assert examples.list_typical_labels(6).sum(0).tolist() == [4, 2]
    assert examples.list_typical_labels(64).sum(0) == pytest.approx([64 * 2 / 3, 64 / 3], abs=2)
    held_out = make_images(4, labels="b")
    assert Examples(real, held_out, "image", 4, 7, class_names=("a", "b")).list_typical_labels(9).sum(0).tolist() == [
        0,
        9,
    ]
    assert Examples(real, [], "image", 4, 7).list_typical_labels(6) is None


def test_held_out_samples_are_watched_or_some_of_those_learned_from():
    real = make_images(2 * WATCHED)
    assert Examples(real, real[:3], "image", 4, 7).watched == real[:3]
    assert Examples(real, [], "image", 4, 7).watched == real[::2]
    assert Examples(real[:5], [], "image", 4, 7).watched == real[:5]


def test_less_is_no_difference_between_checkpoints_of_masks_than_of_images():
    assert Examples(make_masks(), [], "mask", 2, 0).tolerance == 0.03
    assert Examples(make_images(2), [], "image", 2, 0).tolerance == 0.1
