"""networks/painter.py: features of the discriminator, size, joined convolutions."""

import numpy as np
import tensorflow as tf
from network_parts import draw_noise, select

from synthmed_tf.networks import painter


def test_features_of_the_discriminator_are_what_its_activations_give():
    model = painter.build_discriminator((64, 80))
    pair = draw_noise(2, 64, 80, 4)
    logits, features = painter.with_features(model)(pair)
    np.testing.assert_array_equal(logits, model(pair))
    assert [feature.shape for feature in features] == [(2, 32, 40, 32), (2, 16, 20, 64), (2, 15, 19, 128)]
    np.testing.assert_allclose(model.layers[-1](model.layers[-2](model.layers[-3](features[-1]))), logits, atol=1e-5)


def test_small_data_generator_has_no_transposed_convolution_and_is_light():
    model = painter.build_generator((128, 128))
    assert not select(model, tf.keras.layers.Conv2DTranspose)
    assert model.count_params() < 4e6


def test_joined_convolution_is_upsampling_joining_and_a_convolution():
    tf.keras.utils.set_random_seed(1)
    x, skip, layer = (
        tf.constant(draw_noise(2, 5, 7, 6)),
        tf.constant(draw_noise(2, 10, 14, 3)),
        painter.JoinedConvolution(4),
    )
    layer([x, skip])
    layer.bias.assign([1.0, -2.0, 3.0, 0.5])
    weights = draw_noise(2, 10, 14, 4)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([x, skip])
        result = layer([x, skip])
        joined = tf.concat([tf.keras.layers.UpSampling2D(interpolation="nearest")(x), skip], -1)
        expected = tf.nn.conv2d(joined, layer.kernel, 1, "SAME") + layer.bias
        of_result, of_expected = (tf.reduce_sum(weights * values) for values in (result, expected))
    np.testing.assert_allclose(result, expected, atol=1e-5)
    for source in (x, skip, layer.kernel, layer.bias):
        np.testing.assert_allclose(tape.gradient(of_result, source), tape.gradient(of_expected, source), atol=1e-4)


def test_joined_convolution_begins_as_the_convolution_of_the_joined_maps():
    tf.keras.utils.set_random_seed(1)
    layer = painter.JoinedConvolution(4)
    layer([draw_noise(1, 4, 4, 6), draw_noise(1, 8, 8, 3)])
    tf.keras.utils.set_random_seed(1)
    plain = tf.keras.layers.Conv2D(4, 3, kernel_initializer="he_normal")
    plain.build([None, None, None, 9])
    for weight, expected in zip(layer.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)
