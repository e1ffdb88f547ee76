"""vess2ret: Costa et al. 2017 and their published code, the vessel-to-retina network that P1 takes as its basis.

Masks are 0 and 1, photographs in [-1, 1], both [batch, height, width, channels] float32. Sides are multiples of 16 from
64 up. Depth follows from the size; at 512 pixels it is that of the published code.

Batch norm uses the statistics of the batch at test time too (Keras 1, "mode 2"), and dropout is off then: call the
generator with training=False. A photograph depends on what shares its batch, so paint one mask at a time.
"""

import math

import tensorflow as tf

from synthmed_tf.networks.layers import (
    BatchStatisticsNormalization,
    CropLike,
    SeededDropout,
    check_size,
    leaky_relu,
)

TRAINING_AT_TEST_TIME = False
BACKGROUND = 0.0  # of masks, whose vessels are 1: util/data.py of the published code, _binarize
DROPOUT = 0.5  # on the first three decoder layers: models.py of the published code


def build_generator(image_size, in_channels=1, out_channels=3):
    """Mask -> photograph. Skips carry the values before the activation, as in the published code.

    With batch 1 the batch norm of the single bottom pixel gives a constant, as in the published code. What the
    photograph depends on passes through the skips. Isola et al. 2017 left that norm out (their erratum).

    Args:
      image_size: (height, width) in pixels; multiples of 16 from 64 up, else ValueError.
      in_channels, out_channels: of the mask and of the photograph.

    Returns:
      Model: [mask, seed] -> [batch, height, width, out_channels] float32 in (-1, 1). The seed, [1, 2] int32, is all
      that dropout depends on.
    """
    check_size(image_size)
    mask = tf.keras.Input([*image_size, in_channels], name="mask")
    seed = tf.keras.Input([2], dtype=tf.int32, name="seed")
    depth = math.ceil(math.log2(min(image_size) / 2))  # down to two pixels
    widths = [min(64 * 2**level, 512) for level in range(depth)]

    x, skips = mask, []
    for level, filters in enumerate(widths):
        x = leaky_relu()(x) if level else x
        x = tf.keras.layers.Conv2D(filters, 3, 2, "same")(x)
        x = BatchStatisticsNormalization()(x)
        skips.append(x)
    x = tf.keras.layers.Conv2D(512, 2)(leaky_relu()(x))
    x = BatchStatisticsNormalization()(x)

    x = tf.keras.layers.Conv2DTranspose(widths[-1], 2)(leaky_relu()(x))
    x = BatchStatisticsNormalization()(x)
    x = SeededDropout(DROPOUT, index=depth)([x, seed])
    for level in reversed(range(1, depth)):
        x = tf.keras.layers.Concatenate()([x, skips[level]])
        x = tf.keras.layers.Conv2DTranspose(widths[level - 1], 2, 2, "same")(leaky_relu()(x))
        x = BatchStatisticsNormalization()(x)
        if level >= depth - 2:
            x = SeededDropout(DROPOUT, index=level)([x, seed])
        skip = skips[level - 1]
        x = x if x.shape[1:3] == skip.shape[1:3] else CropLike()([x, skip])
    x = tf.keras.layers.Concatenate()([x, skips[0]])
    x = tf.keras.layers.Conv2DTranspose(out_channels, 2, 2, "same")(leaky_relu()(x))
    return tf.keras.Model([mask, seed], tf.keras.layers.Activation("tanh", dtype="float32")(x), name="generator")


def build_discriminator(image_size, in_channels=1, out_channels=3):
    """Mask and photograph -> a map of logits, without batch norm.

    Args:
      image_size, in_channels, out_channels: as for `build_generator`.

    Returns:
      Model: mask and photograph in one tensor [batch, height, width, in_channels + out_channels] -> [batch, rows,
      columns, 1] float32 logits, real > 0; 16 x 16 at 512 pixels.
    """
    check_size(image_size)
    pair = tf.keras.Input([*image_size, in_channels + out_channels], name="pair")
    x = pair
    for filters in (32, 64, 128, 256):
        x = leaky_relu()(tf.keras.layers.Conv2D(filters, 3, 2, "same")(x))
    x = tf.keras.layers.Conv2D(1, 3, 2, "same")(x)
    logits = tf.keras.layers.Activation("linear", dtype="float32", name="logits")(x)
    return tf.keras.Model(pair, logits, name="discriminator")
