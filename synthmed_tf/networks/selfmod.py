"""Self-modulated generator and residual discriminator that grow: stage 1 for a few dozen images.

After Chen et al. 2019, "On Self Modulation for Generative Adversarial Networks" (z gives every layer's scale and shift), with
minibatch standard deviation in the discriminator (Karras et al. 2018, section 3). Both grow from 64 pixels up, as PGGAN does, by
the skips of Karras et al. 2020 (StyleGAN2, section 4.1) in place of fading in: each size adds to what the smaller one draws, or
sees, at first nothing, since the last layer of what is new starts at 0. So a network before and after it grows is the same
function, and the largest one makes samples at any time.
"""

import tensorflow as tf
from tensorflow.keras import layers

from synthmed_tf.networks.layers import MinibatchStandardDeviation, UpsampleConv2D

SMALLEST = 64  # pixels of the shorter side that growth begins with, at least
MOST_CHANNELS = 128


def sizes(image_size):
    """[(height, width)] from the smallest level to image_size, each twice the one before."""
    found = [tuple(image_size)]
    while all(side % 32 == 0 and side // 2 >= SMALLEST for side in found[0]):
        found.insert(0, tuple(side // 2 for side in found[0]))
    return found


def _channels(height, width):
    """Of maps of that size: 128 up to 8 x 8, then 96, 48, 24, 12: what two CPU cores can train."""
    return {8: MOST_CHANNELS, 16: 96, 32: 48, 64: 24}.get(1 << (max(min(height, width), 8) - 1).bit_length(), 12)


def _halvings(size):
    """Number of halvings to the smallest map, whose sides are at least 4."""
    count = 0
    while all(side % 2 ** (count + 1) == 0 and side >> (count + 1) >= 4 for side in size):
        count += 1
    return count


def generators(image_size, channels=1, latent=64):
    """The generator at each of `sizes`, sharing their layers: z [batch, latent] float32 -> [batch, h, w, channels] in (-1, 1).

    Args:
      image_size: (height, width), multiples of 16 from 32 up.
    """
    levels = sizes(image_size)
    halvings = _halvings(image_size)
    height, width = (side >> halvings for side in image_size)
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

    x = layers.Reshape([height, width, MOST_CHANNELS])(layers.Dense(height * width * MOST_CHANNELS)(z))
    x = modulate(x)
    drawn, models = None, []
    while True:
        height, width = 2 * height, 2 * width
        features = _channels(height, width)
        x = modulate(UpsampleConv2D(features)(x))
        if (height, width) != levels[-1]:
            x = modulate(layers.Conv2D(features, 3, padding="same", use_bias=False)(x))
        if (height, width) in levels:
            start = "zeros" if models else "glorot_uniform"
            added = layers.Conv2D(channels, 3, padding="same", kernel_initializer=start, dtype="float32")(x)
            if models:
                added += layers.UpSampling2D(interpolation="bilinear", dtype="float32")(drawn)
            drawn = added
            image = layers.Activation("tanh", dtype="float32")(drawn)
            models.append(tf.keras.Model(z, image, name=f"generator_{height}x{width}"))
            if len(models) == len(levels):
                return models


def discriminators(image_size, channels=1):
    """The discriminator at each of `sizes`, sharing their layers: [batch, h, w, channels] float32 in [-1, 1] -> logit [batch, 1]."""
    levels = sizes(image_size)
    stems = [layers.Conv2D(_channels(*size), 3, padding="same") for size in levels]
    grown = [_residual(*size, is_new=True) for size in levels[1:]]
    rest = _trunk(levels[0])
    models = []
    for level, size in enumerate(levels):
        seen = image = layers.Input([*size, channels], name="image")
        x = stems[level](seen)
        for below in reversed(range(level)):
            seen = layers.AveragePooling2D(dtype="float32")(seen)
            x = grown[below](x) + stems[below](seen)
        models.append(tf.keras.Model(image, rest(x), name=f"discriminator_{size[0]}x{size[1]}"))
    return models


def _residual(height, width, is_new):
    """[batch, height, width, c] -> half the size, with the channels of that size; where it `is_new`, 0 at first."""
    features = _channels(height // 2, width // 2)
    x = inputs = layers.Input([height, width, _channels(height, width)])
    x = layers.Conv2D(x.shape[-1], 3, padding="same")(layers.LeakyReLU(0.2)(x))
    x = layers.LeakyReLU(0.2)(layers.AveragePooling2D()(x))
    x = layers.Conv2D(features, 3, padding="same", kernel_initializer="zeros" if is_new else "glorot_uniform")(x)
    if not is_new:
        shortcut = layers.Conv2D(features, 1, use_bias=False)(layers.AveragePooling2D()(inputs))
        x = (x + shortcut) * 0.7071067811865476  # keeps the variance of the sum
    return tf.keras.Model(inputs, x)


def _trunk(size):
    """[batch, *size, c] -> logit [batch, 1] float32, real > 0."""
    x = inputs = layers.Input([*size, _channels(*size)])
    for _ in range(_halvings(size)):
        x = _residual(*x.shape[1:3], is_new=False)(x)
    x = MinibatchStandardDeviation(group_size=4)(layers.LeakyReLU(0.2)(x))
    x = layers.LeakyReLU(0.2)(layers.Conv2D(MOST_CHANNELS, 3, padding="same")(x))
    x = layers.LeakyReLU(0.2)(layers.Dense(MOST_CHANNELS)(layers.Flatten()(x)))
    return tf.keras.Model(inputs, layers.Dense(1, dtype="float32")(x))
