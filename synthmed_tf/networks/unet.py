"""U-Net: Ronneberger et al. 2015, with batch norm, and with padded convolutions so that any image size fits."""

import tensorflow as tf

from synthmed_tf.networks.layers import CropLike, batch_norm


def build_unet(in_channels=3, levels=3, width=16):
    """Image -> one logit a pixel. 0.48 M parameters with the defaults.

    Args:
      in_channels: of the image.
      levels: number of poolings; Ronneberger et al. 2015 have 4.
      width: channels at full resolution, doubled at each level; Ronneberger et al. 2015 have 64.

    Returns:
      Model: [batch, height, width, in_channels] float32 -> [batch, height, width, 1] float32 logits, vessel > 0. Fully
      convolutional: any height and width.
    """
    image = tf.keras.Input([None, None, in_channels], name="image")
    x = image
    skips = []
    for level in range(levels):
        x = _convolve_twice(x, width * 2**level)
        skips.append(x)
        x = tf.keras.layers.MaxPooling2D(padding="same")(x)
    x = _convolve_twice(x, width * 2**levels)
    for level in reversed(range(levels)):
        x = tf.keras.layers.Conv2DTranspose(width * 2**level, 2, 2, kernel_initializer="he_normal")(x)
        x = tf.keras.layers.Concatenate()([skips[level], CropLike()([x, skips[level]])])
        x = _convolve_twice(x, width * 2**level)
    return tf.keras.Model(image, tf.keras.layers.Conv2D(1, 1, dtype="float32", name="logits")(x), name="unet")


def _convolve_twice(x, filters):
    for _ in range(2):
        x = tf.keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
        x = tf.keras.layers.ReLU()(batch_norm()(x))
    return x
