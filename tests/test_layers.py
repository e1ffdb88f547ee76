import numpy as np
import tensorflow as tf
from network_parts import draw_noise

from synthmed_tf.networks import layers, painter


def test_seeded_dropout_keeps_the_share_and_the_mean():
    ones, seed = tf.ones([4, 50, 50, 8]), tf.constant([[3, 4]])
    first, second = (layers.SeededDropout(0.3, index)([ones, seed], training=True).numpy() for index in (0, 1))
    assert set(np.unique(first)) == {np.float32(0), np.float32(1) / np.float32(0.7)}
    np.testing.assert_allclose(np.mean(first > 0), 0.7, atol=0.01)
    np.testing.assert_allclose(np.mean((first > 0) & (second > 0)), 0.49, atol=0.01)  # layers are independent
    np.testing.assert_array_equal(layers.SeededDropout(0.3, 0)([ones, seed], training=False), ones)


def test_batch_statistics_normalization_is_instance_norm_for_one_sample():
    x = draw_noise(1, 8, 8, 3) * 5 + 2
    expected = (x - np.mean(x, (1, 2), keepdims=True)) / np.sqrt(np.var(x, (1, 2), keepdims=True) + 1e-5)
    for training in (True, False):
        np.testing.assert_allclose(layers.BatchStatisticsNormalization()(x, training=training), expected, atol=1e-4)
    np.testing.assert_allclose(painter.instance_norm()(x), expected, atol=1e-4)


def test_minibatch_standard_deviation_by_hand():
    x = draw_noise(8, 3, 2, 5).numpy()
    result = layers.MinibatchStandardDeviation(4)(x).numpy()
    np.testing.assert_array_equal(result[..., :5], x)
    for start in (0, 1):  # samples 0, 2, 4, 6 and 1, 3, 5, 7 are a group
        expected = x[start::2].std(0).mean()
        np.testing.assert_allclose(result[start::2, ..., 5], expected, atol=1e-4)
    assert layers.MinibatchStandardDeviation(4)(x[:3]).shape == (3, 3, 2, 6)
    collapsed = layers.MinibatchStandardDeviation(4)(np.repeat(x[:1], 4, 0))
    assert np.max(collapsed[..., 5]) < 1e-3


def test_crop_like_cuts_bottom_and_right():
    x = draw_noise(1, 6, 8, 2)
    np.testing.assert_array_equal(layers.CropLike()([x, tf.zeros([1, 5, 7, 1])]), x[:, :5, :7])
