"""DCGAN: Radford et al. 2016, as P1 (Guibas et al. 2017, section "Stage-I GAN") uses it.

At 64 x 64 pixels the generator is Radford's figure 1: 4 x 4 x 1024, then 512, 256, 128 and the image. Larger ones
get up to one stride-2 layer more for each doubling, and a base of 4 to 7 pixels or more; no layer has more than 1024
channels.
"""

import tensorflow as tf

from synthmed_tf.networks.layers import (
    SCALE_SD,
    batch_norm,
    check_size,
    join_class,
    judge,
    leaky_relu,
    normal_002,
)

KERNEL = 5  # Radford et al. 2016, figure 1; P1, section "Generative Adversarial Network"
MAX_CHANNELS = 1024  # Radford et al. 2016, figure 1


def compute_depth(image_size):
    """The number of stride-2 layers: the largest k for which 2^k divides both sides and leaves 4 pixels or more.

    Raises:
      ValueError: a side is below 64 or no multiple of 16.
    """
    check_size(image_size)
    height, width = image_size
    return max(k for k in range(4, 32) if height % 2**k == 0 == width % 2**k and min(height, width) >= 4 * 2**k)


def compute_channels(image_size, width):
    """The generator's channels from the base up, without the image: `width` times 1024, 512, 256, 128 at 64 pixels."""
    return [round(width * min(64 * 2**k, MAX_CHANNELS)) for k in range(compute_depth(image_size), 0, -1)]


def build_generator(image_size, channels=1, latent=100, classes=0, width=1.0, name="generator"):
    """Noise -> image.

    Args:
      image_size: (height, width) in pixels, multiples of 16 from 64 up; ValueError otherwise.
      channels: of the image.
      latent: length of the noise vector; 100 in Radford et al. 2016 (P1 does not say).
      classes: if not 0, the inputs are [z, one-hot class [batch, classes]].
      width: times Radford's channels.

    Returns:
      Model: z [batch, latent] float32 -> [batch, height, width, channels] float32 in (-1, 1). Call with training=False
        at test time: batch norm then uses its moving averages, so an image depends on its z alone.
    """
    maps = compute_channels(image_size, width)
    rows, columns = (side // 2 ** compute_depth(image_size) for side in image_size)
    z = tf.keras.Input([latent], name="z")
    inputs, x = join_class(z, classes)
    x = tf.keras.layers.Dense(rows * columns * maps[0], use_bias=False, kernel_initializer=normal_002())(x)
    x = tf.keras.layers.Reshape([rows, columns, maps[0]])(x)
    x = tf.keras.layers.ReLU()(batch_norm(SCALE_SD)(x))
    for filters in maps[1:]:
        x = tf.keras.layers.Conv2DTranspose(
            filters, KERNEL, 2, "same", use_bias=False, kernel_initializer=normal_002()
        )(x)
        x = tf.keras.layers.ReLU()(batch_norm(SCALE_SD)(x))
    x = tf.keras.layers.Conv2DTranspose(channels, KERNEL, 2, "same", kernel_initializer=normal_002())(x)
    return tf.keras.Model(inputs, tf.keras.layers.Activation("tanh", dtype="float32")(x), name=name)


def build_discriminator(image_size, channels=1, classes=0, width=1.0, name="discriminator"):
    """Image -> logit: the generator's mirror, LeakyReLU 0.2, no batch norm on the first layer.

    Radford et al. 2016, section 3.

    Args:
      image_size, channels, classes, width: as for `build_generator`.

    Returns:
      Model: [batch, height, width, channels] float32 in [-1, 1] -> [batch, 1] float32 logits, real > 0.
    """
    image = tf.keras.Input([*image_size, channels], name="image")
    x = image
    for index, filters in enumerate(reversed(compute_channels(image_size, width))):
        x = tf.keras.layers.Conv2D(filters, KERNEL, 2, "same", use_bias=index == 0, kernel_initializer=normal_002())(x)
        x = leaky_relu()(batch_norm(SCALE_SD)(x) if index else x)
    return tf.keras.Model(*judge(image, tf.keras.layers.Flatten()(x), classes, normal_002()), name=name)
