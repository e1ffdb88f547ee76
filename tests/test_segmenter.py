import numpy as np
import tensorflow as tf

from synthmed_tf import losses
from synthmed_tf.papers import segmenter
from synthmed_tf.sample import Sample
from synthmed_tf.training import loop

RNG = np.random.default_rng(0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.logaddexp(0, x)


def test_colours_are_normalised_inside_the_field_of_view():
    image = RNG.integers(0, 255, [20, 30, 3]).astype(np.uint8)
    inside = np.zeros([20, 30, 1], np.uint8)
    inside[3:15, 4:20] = 1
    found = segmenter.normalise(image, inside)
    values = found[3:15, 4:20]
    np.testing.assert_allclose(values.mean((0, 1)), 0, atol=1e-4)
    np.testing.assert_allclose(values.std((0, 1)), 1, atol=1e-3)
    assert found.dtype == np.float32 and (found * (1 - inside) == 0).all()
    np.testing.assert_allclose(segmenter.normalise(image, None).std((0, 1)), 1, atol=1e-3)
    assert np.isfinite(segmenter.normalise(image, 0 * inside)).all()  # nothing inside: everything counts
    assert (segmenter.normalise(np.full_like(image, 9), None) == 0).all()
    deep = segmenter.normalise(image.astype(np.uint16) * 257, inside)
    np.testing.assert_allclose(deep, found, atol=1e-3)


def test_a_second_set_is_added_to_what_is_learnt_from_the_first(tmp_path, monkeypatch):
    def made(count, vessel):
        return [
            Sample(
                f"{i}", RNG.integers(0, 255, [160, 144, 3]).astype(np.uint8), np.full([160, 144, 1], vessel, np.uint8)
            )
            for i in range(count)
        ]

    few, many, found = made(3, 1), made(50, 0), {}
    monkeypatch.setattr(loop, "fit", lambda folder, step, batch, *_, **__: found.update(batch=batch))
    segmenter.train(tmp_path, [few], 10, seed=0)
    alone = [found["batch"](index)[0] for index in range(3)]
    segmenter.train(tmp_path, [few, many], 10, seed=0)
    for index, expected in enumerate(alone):
        batch = found["batch"](index)[0]
        assert len(expected) == segmenter.BATCH_SIZE and len(batch) == 2 * segmenter.BATCH_SIZE
        np.testing.assert_array_equal(batch[: len(expected)], expected)
        assert (batch[: len(expected), ..., -2] == 1).all() and (batch[len(expected) :, ..., -2] == 0).all()


def test_crops_are_squares_in_eight_orientations():
    pair = np.stack(np.mgrid[:20, :30], -1)
    crops = [segmenter.crop_at_random(pair, 8, np.random.default_rng(seed)) for seed in range(80)]
    assert {crop.shape for crop in crops} == {(8, 8, 2)}
    assert all(np.ptp(crop[..., axis]) == 7 for crop in crops for axis in (0, 1))
    directions = {(*np.sign(crop[1, 0] - crop[0, 0]), *np.sign(crop[0, 1] - crop[0, 0])) for crop in crops}
    assert len(directions) == 8


def test_prediction_of_any_size_is_the_models_and_0_outside_the_field_of_view():
    picture = tf.keras.Input([None, None, 3])
    model = tf.keras.Model(picture, tf.keras.layers.Lambda(lambda x: x[..., :1])(picture))
    samples = []
    for height, width in ((17, 33), (16, 48)):
        inside = np.ones([height, width, 1], np.uint8)
        inside[:, :5] = 0
        samples.append(Sample("a", RNG.integers(0, 255, [height, width, 3]).astype(np.uint8), field_of_view=inside))
    samples.append(Sample("b", samples[0].image))
    for sample, found in zip(samples, segmenter.predict(model, samples), strict=True):
        expected = sigmoid(segmenter.normalise(sample.image, sample.field_of_view)[..., 0])
        if sample.field_of_view is not None:
            expected *= sample.field_of_view[..., 0]
        assert found.shape == sample.image.shape[:2] and found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_segmentation_loss_is_weighted_by_the_field_of_view_in_the_step():
    logits, masks = RNG.normal(size=[1, 4, 4, 1]), RNG.integers(0, 2, [1, 4, 4, 1])
    weights = RNG.integers(0, 2, [1, 4, 4, 1])
    expected = (weights * softplus(np.where(masks, -logits, logits))).sum() / weights.sum()
    np.testing.assert_allclose(losses.segmentation_cross_entropy(logits, masks, weights), expected, rtol=1e-5)
