"""Self-modulated generator and residual discriminator: the GAN for a few dozen images.

After Chen et al. 2019, "On Self Modulation for Generative Adversarial Networks" (z gives every layer's scale and
shift), with minibatch standard deviation in the discriminator (Karras et al. 2018, section 3).
"""

import tensorflow as tf
from tensorflow.keras import layers

from synthmed_tf.images import halvings
from synthmed_tf.networks.layers import MinibatchStandardDeviation, UpsampleConv2D, joined_with_class, judged

MOST_CHANNELS = 128


def _channels(height, width):
    """Of maps of that size: 128 up to 8 x 8, then 96, 48, 24: what two CPU cores can train."""
    return {8: MOST_CHANNELS, 16: 96, 32: 48}.get(1 << (max(min(height, width), 8) - 1).bit_length(), 24)


def generator(image_size, channels=1, latent=64, classes=0):
    """z [batch, latent] float32 -> [batch, height, width, channels] float32 in (-1, 1).

    Args:
      image_size: (height, width), multiples of 8 from 32 up.
      classes: if not 0, the inputs are [z, one-hot class [batch, classes]].
    """
    height, width = (side >> halvings(image_size) for side in image_size)
    z = layers.Input([latent], name="z")
    inputs, z = joined_with_class(z, classes)
    style = layers.Dense(128, activation="relu")(z)

    def modulate(x):
        features = x.shape[-1]
        x = layers.BatchNormalization(momentum=0.9, center=False, scale=False, dtype="float32")(x)
        in_float32 = {"dtype": "float32"}  # as the norm is
        scale, shift = (
            layers.Reshape([1, 1, features], **in_float32)(layers.Dense(features, **in_float32)(style))
            for _ in range(2)
        )
        return layers.ReLU()(x * (1 + scale) + shift)

    x = layers.Reshape([height, width, MOST_CHANNELS])(layers.Dense(height * width * MOST_CHANNELS)(z))
    x = modulate(x)
    while (height, width) != tuple(image_size):
        height, width = 2 * height, 2 * width
        features = _channels(height, width)
        x = modulate(UpsampleConv2D(features)(x))
        if (height, width) != tuple(image_size):
            x = modulate(layers.Conv2D(features, 3, padding="same", use_bias=False)(x))
    image = layers.Conv2D(channels, 3, padding="same", activation="tanh", dtype="float32")(x)
    return tf.keras.Model(inputs, image, name="generator")


def discriminator(image_size, channels=1, classes=0):
    """[batch, height, width, channels] float32 in [-1, 1] -> logit [batch, 1] float32, real > 0;
    `classes` as for `generator`.
    """
    image = layers.Input([*image_size, channels], name="image")
    x = layers.Conv2D(_channels(*image_size), 3, padding="same")(image)
    for _ in range(halvings(image_size)):
        features = _channels(x.shape[1] // 2, x.shape[2] // 2)
        shortcut = layers.Conv2D(features, 1, use_bias=False)(layers.AveragePooling2D()(x))
        x = layers.Conv2D(x.shape[-1], 3, padding="same")(layers.LeakyReLU(0.2)(x))
        x = layers.Conv2D(features, 3, padding="same")(layers.LeakyReLU(0.2)(layers.AveragePooling2D()(x)))
        x = (x + shortcut) * 0.7071067811865476  # keeps the variance of the sum
    x = MinibatchStandardDeviation(group_size=4)(layers.LeakyReLU(0.2)(x))
    x = layers.LeakyReLU(0.2)(layers.Conv2D(MOST_CHANNELS, 3, padding="same")(x))
    x = layers.LeakyReLU(0.2)(layers.Dense(MOST_CHANNELS)(layers.Flatten()(x)))
    return tf.keras.Model(*judged(image, x, classes), name="discriminator")
