"""pix2pix: Isola et al. 2017, section 6.1. A U-Net from mask to photograph, a discriminator of 70 x 70 patches.

Mask and photograph are [batch, height, width, channels] float32 in [-1, 1], vessels 1. Sides are multiples of 16 from
64 up. Depth follows from the size; at 256 pixels it is the paper's.

At test time dropout is on and batch norm uses the statistics of the batch (section 3.3): call the generator with
training=True. A photograph then depends on what shares its batch, so paint one mask at a time.
"""

import math

import tensorflow as tf

from synthmed_tf.networks.layers import (
    SCALE_SD,
    BatchStatisticsNormalization,
    CropLike,
    SeededDropout,
    check_size,
    leaky_relu,
    normal_002,
)

TRAINING_AT_TEST_TIME = True
BACKGROUND = -1.0  # of masks, whose vessels are 1
DROPOUT = 0.5  # on the first three decoder layers: section 6.1.1


def build_generator(image_size, in_channels=1, out_channels=3):
    """Mask -> photograph. Skips carry the values before the activation, as in the published code.

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
    depth = math.ceil(math.log2(min(image_size)))  # down to one pixel
    widths = [min(64 * 2**level, 512) for level in range(depth)]

    x, skips = mask, []
    for level, filters in enumerate(widths):
        x = leaky_relu()(x) if level else x
        x = tf.keras.layers.Conv2D(filters, 4, 2, "same", kernel_initializer=normal_002())(x)
        if 0 < level < depth - 1:  # section 6.1.1 and its erratum: no norm on the first and on the last layer
            x = BatchStatisticsNormalization(SCALE_SD)(x)
        skips.append(x)

    for level in reversed(range(1, depth)):
        x = tf.keras.layers.ReLU()(x)
        x = tf.keras.layers.Conv2DTranspose(widths[level - 1], 4, 2, "same", kernel_initializer=normal_002())(x)
        x = BatchStatisticsNormalization(SCALE_SD)(x)
        if level >= depth - 3:
            x = SeededDropout(DROPOUT, index=level)([x, seed])
        skip = skips[level - 1]
        x = x if x.shape[1:3] == skip.shape[1:3] else CropLike()([x, skip])
        x = tf.keras.layers.Concatenate()([x, skip])
    x = tf.keras.layers.ReLU()(x)
    x = tf.keras.layers.Conv2DTranspose(out_channels, 4, 2, "same", kernel_initializer=normal_002())(x)
    return tf.keras.Model([mask, seed], tf.keras.layers.Activation("tanh", dtype="float32")(x), name="generator")


def build_discriminator(image_size, in_channels=1, out_channels=3):
    """Mask and photograph -> a logit for each patch of 70 x 70 pixels (section 6.1.2).

    Args:
      image_size, in_channels, out_channels: as for `build_generator`.

    Returns:
      Model: mask and photograph in one tensor [batch, height, width, in_channels + out_channels] -> [batch, rows,
      columns, 1] float32 logits, real > 0; 30 x 30 at 256 pixels.
    """
    check_size(image_size)
    pair = tf.keras.Input([*image_size, in_channels + out_channels], name="pair")
    x = pair
    for level, filters in enumerate((64, 128, 256)):
        x = tf.keras.layers.Conv2D(filters, 4, 2, "same", kernel_initializer=normal_002())(x)
        x = leaky_relu()(BatchStatisticsNormalization(SCALE_SD)(x) if level else x)
    # Zero padding of 1 on every side, as in the published code
    x = tf.keras.layers.ZeroPadding2D(1)(x)
    x = tf.keras.layers.Conv2D(512, 4, kernel_initializer=normal_002())(x)
    x = leaky_relu()(BatchStatisticsNormalization(SCALE_SD)(x))
    x = tf.keras.layers.ZeroPadding2D(1)(x)
    x = tf.keras.layers.Conv2D(1, 4, kernel_initializer=normal_002())(x)
    logits = tf.keras.layers.Activation("linear", dtype="float32", name="logits")(x)
    return tf.keras.Model(pair, logits, name="discriminator")
