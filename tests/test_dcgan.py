import numpy as np
import pytest
import tensorflow as tf
from network_parts import CONVOLUTIONS, NORMS, describe, select

from synthmed_tf.networks import dcgan


def test_dcgan_at_64_pixels_is_radfords_figure_1():
    generator, discriminator = (
        dcgan.build_generator((64, 64), channels=3),
        dcgan.build_discriminator((64, 64), channels=3),
    )
    assert select(generator, tf.keras.layers.Reshape)[0].output_shape == (None, 4, 4, 1024)
    assert [describe(layer) for layer in select(generator, CONVOLUTIONS)] == [(5, 2, c) for c in (512, 256, 128, 3)]
    assert [describe(layer) for layer in select(discriminator, CONVOLUTIONS)] == [
        (5, 2, c) for c in (128, 256, 512, 1024)
    ]
    assert generator.input_shape == (None, 100)
    assert discriminator.output_shape == (None, 1)
    assert len(select(generator, NORMS)) == 4
    assert len(select(discriminator, NORMS)) == 3
    assert isinstance(discriminator.layers[2], tf.keras.layers.LeakyReLU)  # no batch norm between image and layer 1
    channels = (1024, 512, 256, 128)
    expected = 100 * 4 * 4 * 1024 + sum(25 * a * b for a, b in zip(channels, (512, 256, 128, 3), strict=True)) + 3
    assert generator.count_params() == expected + 4 * sum(channels)


def test_a_dcgan_of_a_quarter_of_the_width_has_a_quarter_of_the_channels():
    generator, discriminator = (
        network((64, 64), 3, width=0.25) for network in (dcgan.build_generator, dcgan.build_discriminator)
    )
    assert select(generator, tf.keras.layers.Reshape)[0].output_shape == (None, 4, 4, 256)
    assert [layer.filters for layer in select(generator, CONVOLUTIONS)] == [128, 64, 32, 3]
    assert [layer.filters for layer in select(discriminator, CONVOLUTIONS)] == [32, 64, 128, 256]


@pytest.mark.parametrize(
    ("size", "depth", "base"),
    [
        ((64, 64), 4, (4, 4)),
        ((128, 128), 5, (4, 4)),
        ((256, 256), 6, (4, 4)),
        ((96, 80), 4, (6, 5)),
        ((64, 160), 4, (4, 10)),
        ((288, 288), 5, (9, 9)),
    ],
)
def test_dcgan_depth_follows_from_the_size(size, depth, base):
    assert dcgan.compute_depth(size) == depth
    assert tuple(side // 2**depth for side in size) == base


def test_dcgan_of_any_size_makes_images_in_range_that_do_not_depend_on_their_neighbours():
    tf.keras.utils.set_random_seed(1)
    generator, discriminator = dcgan.build_generator((64, 80)), dcgan.build_discriminator((64, 80))
    z = tf.random.stateless_normal([3, 100], [1, 2])
    images = generator(z, training=False)
    assert images.shape == (3, 64, 80, 1) and images.dtype == tf.float32
    assert np.abs(images).max() < 1
    np.testing.assert_allclose(generator(z[1:2], training=False)[0], images[1], atol=1e-5)
    assert discriminator(images, training=True).shape == (3, 1)


def test_dcgan_has_at_most_1024_channels_and_starts_at_sd_002():
    tf.keras.utils.set_random_seed(1)
    model = dcgan.build_discriminator((128, 128))
    assert [layer.filters for layer in select(model, CONVOLUTIONS)] == [128, 256, 512, 1024, 1024]
    for layer in select(model, CONVOLUTIONS):
        np.testing.assert_allclose(np.std(layer.kernel), 0.02, rtol=0.05)
