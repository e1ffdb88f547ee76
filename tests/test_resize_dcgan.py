import numpy as np
import pytest
import tensorflow as tf
from network_parts import NORMS, draw_noise, select

from synthmed_tf.networks import dcgan, layers, resize_dcgan

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("size", [(64, 64), (80, 64), (128, 128)])
def test_resize_dcgan_is_dcgan_without_transposed_convolutions_and_without_norms_in_its_discriminator(size):
    tf.keras.utils.set_random_seed(1)
    generator = resize_dcgan.build_generator(size, 2, latent=5, width=0.25)
    discriminator = resize_dcgan.build_discriminator(size, 2, width=0.25)
    z = tf.random.stateless_normal([3, 5], [1, 2])
    fields = generator(z, training=False)
    assert fields.shape == (3, *size, 2) and fields.dtype == tf.float32 and np.abs(fields).max() < 1
    np.testing.assert_allclose(generator(z[1:2], training=False)[0], fields[1], atol=1e-5)
    assert not select(generator, tf.keras.layers.Conv2DTranspose) and not select(discriminator, NORMS)
    widths = [layer.filters for layer in select(generator, resize_dcgan.UpsampleConv2D)]
    radford = [
        layer.filters for layer in select(dcgan.build_generator(size, width=0.25), tf.keras.layers.Conv2DTranspose)
    ]
    assert widths == [*radford[:-1], radford[-2] // 2]
    assert len(select(discriminator, layers.MinibatchStandardDeviation)) == 1
    kernels = [layer.kernel.shape for layer in select(discriminator, tf.keras.layers.Conv2D)]
    assert kernels[1:] == [
        layer.kernel.shape for layer in select(dcgan.build_discriminator(size, width=0.25), tf.keras.layers.Conv2D)[1:]
    ]


@pytest.mark.parametrize("size", [(64, 80), (128, 192)])
def test_every_weight_of_resize_dcgan_learns(size):
    tf.keras.utils.set_random_seed(1)
    inputs = tf.random.stateless_normal([2, 5], [1, 2]), draw_noise(2, *size, 2)
    models = (
        resize_dcgan.build_generator(size, 2, latent=5, width=0.1),
        resize_dcgan.build_discriminator(size, 2, width=0.1),
    )
    for model, given in zip(models, inputs, strict=True):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(given, training=True) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        assert all(np.abs(gradient).max() > 0 for gradient in gradients)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 4), (8, 8)])
def test_upsample_convolution_is_nearest_and_then_3x3(size):
    layer = resize_dcgan.UpsampleConv2D(7)
    inputs = RNG.normal(size=[2, *size, 3]).astype(np.float32)
    found = layer(inputs)
    enlarged = np.repeat(np.repeat(inputs, 2, 1), 2, 2)
    kernel = np.transpose(layer.kernel.numpy(), [0, 1, 3, 2])  # the layer's is [3, 3, out, in]
    np.testing.assert_allclose(found, tf.nn.conv2d(enlarged, kernel, 1, "SAME"), atol=1e-5)
    assert layer.count_params() == 9 * 3 * 7


def test_upsample_convolution_has_the_gradient_of_the_two_layers():
    layer = resize_dcgan.UpsampleConv2D(2)
    inputs = tf.constant(RNG.normal(size=[2, 4, 5, 3]), tf.float32)
    weights = tf.constant(RNG.normal(size=[2, 8, 10, 2]), tf.float32)
    layer(inputs)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        fused = tf.reduce_sum(weights * layer(inputs))
        enlarged = tf.repeat(tf.repeat(inputs, 2, 1), 2, 2)
        plain = tf.reduce_sum(weights * tf.nn.conv2d(enlarged, tf.transpose(layer.kernel, [0, 1, 3, 2]), 1, "SAME"))
    for source in (inputs, layer.kernel):
        np.testing.assert_allclose(tape.gradient(fused, source), tape.gradient(plain, source), atol=1e-4)
