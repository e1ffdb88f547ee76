"""Self-modulated generator and residual discriminator: stage 1 for a few dozen images.

After Chen et al. 2019, "On Self Modulation for Generative Adversarial Networks" (z gives every layer's scale and
shift), with minibatch standard deviation in the discriminator (Karras et al. 2018, section 3).
"""

import tensorflow as tf
from tensorflow.keras import layers

from synthmed_tf.networks.layers import MinibatchStandardDeviation, UpsampleConv2D

CHANNELS = (
    24,
    48,
    96,
    128,
)  # at full size, 1/2, 1/4 and every smaller one: what two CPU cores train in a quarter of an hour


def _levels(image_size):
    """Number of halvings from the image to its smallest map, whose sides are at least 4."""
    levels = 0
    while all(side % 2 ** (levels + 1) == 0 and side >> (levels + 1) >= 4 for side in image_size):
        levels += 1
    return levels


def _channels(level):
    return CHANNELS[min(level, len(CHANNELS) - 1)]


def generator(image_size, channels=1, latent=64):
    """z [batch, latent] float32 -> [batch, height, width, channels] float32 in (-1, 1).

    Args:
      image_size: (height, width), multiples of 8 from 32 up.
    """
    levels = _levels(image_size)
    height, width = (side >> levels for side in image_size)
    z = layers.Input([latent], name="z")
    style = layers.Dense(128, activation="relu")(z)

    def modulate(x):
        features = x.shape[-1]
        x = layers.BatchNormalization(momentum=0.9, center=False, scale=False, dtype="float32")(x)
        in_float32 = {"dtype": "float32"}  # as the norm is
        scale, shift = (
            layers.Reshape([1, 1, features], **in_float32)(layers.Dense(features, **in_float32)(style)) for _ in range(2)
        )
        return layers.ReLU()(x * (1 + scale) + shift)

    x = layers.Reshape([height, width, _channels(levels)])(layers.Dense(height * width * _channels(levels))(z))
    x = modulate(x)
    for level in reversed(range(levels)):
        x = modulate(UpsampleConv2D(_channels(level))(x))
        if level:
            x = modulate(layers.Conv2D(_channels(level), 3, padding="same", use_bias=False)(x))
    image = layers.Conv2D(channels, 3, padding="same", activation="tanh", dtype="float32")(x)
    return tf.keras.Model(z, image, name="generator")


def discriminator(image_size, channels=1):
    """[batch, height, width, channels] float32 in [-1, 1] -> logit [batch, 1] float32, real > 0."""
    image = layers.Input([*image_size, channels], name="image")
    x = layers.Conv2D(_channels(0), 3, padding="same")(image)
    for level in range(1, _levels(image_size) + 1):
        shortcut = layers.Conv2D(_channels(level), 1, use_bias=False)(layers.AveragePooling2D()(x))
        x = layers.Conv2D(x.shape[-1], 3, padding="same")(layers.LeakyReLU(0.2)(x))
        x = layers.Conv2D(_channels(level), 3, padding="same")(layers.LeakyReLU(0.2)(layers.AveragePooling2D()(x)))
        x = (x + shortcut) * 0.7071067811865476  # keeps the variance of the sum
    x = MinibatchStandardDeviation(group_size=4)(layers.LeakyReLU(0.2)(x))
    x = layers.LeakyReLU(0.2)(layers.Conv2D(_channels(3), 3, padding="same")(x))
    x = layers.LeakyReLU(0.2)(layers.Dense(_channels(3))(layers.Flatten()(x)))
    return tf.keras.Model(image, layers.Dense(1, dtype="float32")(x), name="discriminator")
