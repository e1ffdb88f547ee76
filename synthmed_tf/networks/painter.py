"""Painter: stage 2's networks for a few dozen pairs, a lighter pix2pix without dropout.

Mask and photograph are [batch, height, width, channels] float32 in [-1, 1], vessels 1. Sides are multiples of 16 from
64 up. Both networks have instance norm, so training and test time are alike and a sample does not depend on its batch.
"""

import math

import tensorflow as tf

from synthmed_tf.networks.layers import CropLike, Upscale, check_size, leaky_relu, normal_002, upsample_and_convolve

TRAINING_AT_TEST_TIME = False
BACKGROUND = -1.0  # of masks, whose vessels are 1
# The discriminator also sees tanh(DETAIL * difference from the mean over DETAIL_WINDOW pixels)
DETAIL, DETAIL_WINDOW = 8.0, 5
# Pixels of the shorter side; from there on the discriminator's patches and the generator's widths are twice as large
LARGE = 192
# Pixels of a map's shorter side from which on the decoder has JoinedConvolution, which is slower below
JOINED = 32


def build_generator(image_size, in_channels=1, out_channels=3):
    """Condition -> photograph: nearest upsampling, then 3x3 convolutions (no checkerboard: Odena et al. 2016).

    Two of these are at full size: with one of 16 filters vessels came out a pixel wider than the mask, and squares of 2
    x 2 pixels showed through.

    Args:
      image_size: (height, width) in pixels; multiples of 16 from 64 up, else ValueError.
      in_channels, out_channels: of the condition, whose first channel is the mask, and of the photograph.

    Returns:
      Model: [condition, seed] -> [batch, height, width, out_channels] float32 in (-1, 1). The seed, [1, 2] int32, has
      no effect; pix2pix's generator has the same inputs.
    """
    check_size(image_size)
    condition = tf.keras.Input([*image_size, in_channels], name="mask")
    seed = tf.keras.Input([2], dtype=tf.int32, name="seed")
    depth = math.floor(math.log2(min(image_size) / 4))  # down to 4 to 7 pixels
    width = 64 if min(image_size) >= LARGE else 32
    widths = [min(width * 2**level, 8 * width) for level in range(depth)]
    decoder = [*(filters * 3 // 4 for filters in reversed(widths[1:-1])), width * 3 // 2, width]
    x = condition
    skips = [condition]
    for level, filters in enumerate(widths):
        x = tf.keras.layers.Conv2D(filters, 4, 2, "same", kernel_initializer="he_normal")(x)
        x = leaky_relu()(instance_norm()(x) if level else x)
        skips.append(x)
    for filters, skip in zip(decoder, reversed(skips[:-1]), strict=True):
        if min(skip.shape[1:3]) >= JOINED and not any(side % 2 for side in skip.shape[1:3]):
            x = JoinedConvolution(filters)([x, skip])
        else:
            x = Upscale()(x)
            x = x if x.shape[1:3] == skip.shape[1:3] else CropLike()([x, skip])
            x = tf.keras.layers.Concatenate()([x, skip])
            x = tf.keras.layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal")(x)
        x = leaky_relu()(instance_norm()(x) if skip is not condition else x)
    x = leaky_relu()(tf.keras.layers.Conv2D(width, 3, padding="same", kernel_initializer="he_normal")(x))
    x = tf.keras.layers.Conv2D(out_channels, 3, padding="same", kernel_initializer=normal_002())(x)
    return tf.keras.Model([condition, seed], tf.keras.layers.Activation("tanh", dtype="float32")(x), name="generator")


def build_discriminator(image_size, in_channels=1, out_channels=3):
    """Mask and photograph -> a logit for each patch of 70 x 70 pixels, of 34 x 34 in an image below LARGE.

    With patches of 70 of 128 pixels it won after 3,500 steps on 20 photographs, and vessels vanished.

    Args:
      image_size, out_channels: as for `build_generator`.
      in_channels: of the mask.

    Returns:
      Model: mask and photograph in one tensor [batch, height, width, in_channels + out_channels] -> [batch, rows,
      columns, 1] float32 logits, real > 0.
    """
    check_size(image_size)
    pair = tf.keras.Input([*image_size, in_channels + out_channels], name="pair")
    photograph = pair[..., in_channels:]
    detail = photograph - tf.nn.avg_pool2d(photograph, DETAIL_WINDOW, 1, "SAME")
    x = tf.concat([pair, tf.tanh(DETAIL * detail)], -1)
    # The first layer is in float32: bfloat16 would round away some of a photograph's texture
    x = tf.keras.layers.Conv2D(32, 4, 2, "same", kernel_initializer="he_normal", dtype="float32")(x)
    x = leaky_relu()(x)
    for filters in (64, 128) if min(image_size) >= LARGE else (64,):
        x = tf.keras.layers.Conv2D(filters, 4, 2, "same", kernel_initializer="he_normal")(x)
        x = leaky_relu()(instance_norm()(x))
    x = tf.keras.layers.ZeroPadding2D(1)(x)
    x = tf.keras.layers.Conv2D(128, 4, kernel_initializer="he_normal")(x)
    x = leaky_relu()(instance_norm()(x))
    x = tf.keras.layers.ZeroPadding2D(1)(x)
    x = tf.keras.layers.Conv2D(1, 4, kernel_initializer="he_normal")(x)
    logits = tf.keras.layers.Activation("linear", dtype="float32", name="logits")(x)
    return tf.keras.Model(pair, logits, name="discriminator")


def with_features(discriminator):
    """The same discriminator, which returns (logits, [what each of its activations gives, ...])."""
    layers = [layer.output for layer in discriminator.layers if isinstance(layer, tf.keras.layers.LeakyReLU)]
    return tf.keras.Model(discriminator.input, (discriminator.output, layers))


def instance_norm():
    """Instance norm (Ulyanov et al. 2016) with scale and shift: a sample does not depend on what shares its batch."""
    return tf.keras.layers.GroupNormalization(groups=-1, epsilon=1e-5, dtype="float32")


class JoinedConvolution(tf.keras.layers.Layer):
    """Inputs [x, skip], skip of twice the height and width:
    nearest upsampling of x by 2, skip beside it, then a 3x3 convolution with bias.

    As a convolution is a sum over input channels, x goes through `upsample_and_convolve` and skip through a plain one:
    the same numbers but for rounding, the same initial weights, and less than half of the operations on x.
    """

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, input_shape):
        channels = sum(shape[-1] for shape in input_shape)
        self.kernel = self.add_weight("kernel", shape=[3, 3, channels, self.filters], initializer="he_normal")
        self.bias = self.add_weight("bias", shape=[self.filters], initializer="zeros")

    def call(self, inputs):
        x, skip = inputs
        for_x, for_skip = tf.split(tf.cast(self.kernel, x.dtype), [x.shape[-1], skip.shape[-1]], axis=2)
        outputs = upsample_and_convolve(x, tf.transpose(for_x, [0, 1, 3, 2])) + tf.nn.conv2d(skip, for_skip, 1, "SAME")
        return tf.nn.bias_add(outputs, tf.cast(self.bias, x.dtype))
