"""Self-modulated generator and residual discriminator: stage 1 for a few dozen images.

After Chen et al. 2019, "On Self Modulation for Generative Adversarial Networks" (z gives every layer's scale and
shift), with minibatch standard deviation in the discriminator (Karras et al. 2018 § 3). The full-resolution layers are
left out: the generator's last layer makes 2 x 2 pixels of each position and the discriminator's first takes 2 x 2
pixels together, which halves a step's time on a CPU and loses nothing of a smooth distance field.
"""

import tensorflow as tf
from tensorflow.keras import layers

from synthmed_tf.networks.layers import MinibatchStandardDeviation

CHANNELS = (24, 48, 96, 128)  # at 1/2, 1/4, 1/8 of the side and at every smaller size


def base_and_levels(image_size):
    """(base height, base width), number of doublings from the base to the image; the base's sides are at least 4."""
    levels = 0
    height, width = image_size
    while height % 2 == 0 and width % 2 == 0 and min(height, width) // 2 >= 4:
        height, width, levels = height // 2, width // 2, levels + 1
    return (height, width), levels


def generator(image_size, channels=1, latent=64):
    """z [batch, latent] float32 -> [batch, height, width, channels] float32 in (-1, 1).

    Args:
      image_size: (height, width), multiples of 16 from 64 up.
    """
    (height, width), levels = base_and_levels(image_size)
    z = layers.Input([latent], name="z")
    style = layers.Dense(128, activation="relu")(z)

    def modulate(x):
        features = x.shape[-1]
        x = layers.BatchNormalization(momentum=0.9, center=False, scale=False)(x)
        scale, shift = (layers.Reshape([1, 1, features])(layers.Dense(features)(style)) for _ in range(2))
        return layers.ReLU()(x * (1 + scale) + shift)

    features = CHANNELS[min(levels, len(CHANNELS)) - 1]
    x = layers.Reshape([height, width, features])(layers.Dense(height * width * features)(z))
    x = modulate(x)
    for level in range(levels - 1, 0, -1):
        features = CHANNELS[min(level, len(CHANNELS)) - 1]
        x = modulate(layers.Conv2DTranspose(features, 4, 2, padding="same", use_bias=False)(x))
        if level > 2:
            x = modulate(layers.Conv2D(features, 3, padding="same", use_bias=False)(x))
    x = layers.Conv2D(4 * channels, 3, padding="same", dtype="float32")(x)
    return tf.keras.Model(z, tf.tanh(tf.nn.depth_to_space(x, 2)), name="generator")


def discriminator(image_size, channels=1):
    """[batch, height, width, channels] float32 in [-1, 1] -> logit [batch, 1] float32, real > 0."""
    _, levels = base_and_levels(image_size)
    image = layers.Input([*image_size, channels], name="image")
    x = layers.Conv2D(CHANNELS[0], 3, padding="same")(tf.nn.space_to_depth(image, 2))
    for level in range(2, levels + 1):
        features = CHANNELS[min(level, len(CHANNELS)) - 1]
        shortcut = layers.Conv2D(features, 1, use_bias=False)(layers.AveragePooling2D()(x))
        x = layers.Conv2D(x.shape[-1], 3, padding="same")(layers.LeakyReLU(0.2)(x))
        x = layers.Conv2D(features, 3, padding="same")(layers.LeakyReLU(0.2)(layers.AveragePooling2D()(x)))
        x = (x + shortcut) * 0.7071067811865476  # keeps the variance of the sum
    x = MinibatchStandardDeviation(group_size=4)(layers.LeakyReLU(0.2)(x))
    x = layers.LeakyReLU(0.2)(layers.Conv2D(CHANNELS[-1], 3, padding="same")(x))
    x = layers.LeakyReLU(0.2)(layers.Dense(CHANNELS[-1])(layers.Flatten()(x)))
    return tf.keras.Model(image, layers.Dense(1, dtype="float32")(x), name="discriminator")
