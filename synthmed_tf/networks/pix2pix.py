"""pix2pix: a U-Net generator from mask to photograph and a discriminator of patches, in three presets.

Mask and photograph are [batch, height, width, channels] float32 in [-1, 1]; vess2ret's masks are 0 and 1 (`BACKGROUND`).
Sides are multiples of 16 from 64 up. Depth follows from the size: the presets' tables below are met at their native
sizes.

| preset | native size | test time |
|---|---|---|
| pix2pix, Isola et al. 2017 | 256 | dropout on, statistics of the batch (section 3.3): call with training=True |
| vess2ret, Costa et al. 2017 (P1's stated basis) | 512 | dropout off, statistics of the batch (Keras 1 "mode 2"): training=False |
| small_data, ours | any | no dropout, instance norm in G and D: training makes no difference |

`TRAINING_AT_TEST_TIME` says the same to programs. Where the statistics are those of the batch, a picture depends on
what shares its batch: translate one mask at a time (then this is instance norm).
"""

import math

import tensorflow as tf

from synthmed_tf.networks.layers import (
    SCALE_SD,
    BatchStatisticsNormalization,
    CropLike,
    JoinedConvolution,
    SeededDropout,
    Upscale,
    instance_norm,
    leaky_relu,
    normal_002,
)

TRAINING_AT_TEST_TIME = {"pix2pix": True, "vess2ret": False, "small_data": False}
# Of masks, whose vessels are 1. 0: util/data.py of Costa et al.'s code, _binarize
BACKGROUND = {"pix2pix": -1.0, "vess2ret": 0.0, "small_data": -1.0}
# small_data's discriminator also sees tanh(DETAIL * what differs from the mean over so many pixels)
DETAIL, DETAIL_WINDOW = 8.0, 5
# Pixels of the shorter side, from which on small_data's discriminator sees patches of 70 pixels and its generator is
# twice as wide
LARGE = 192
# Pixels of a map's shorter side, from which on small_data's decoder has JoinedConvolution, which is slower below
JOINED = 32
DROPOUT = 0.5  # on the first three decoder layers: Isola et al. 2017, section 6.1.1


def _check(image_size, preset):
    height, width = image_size
    if min(height, width) < 64 or height % 16 or width % 16:
        raise ValueError(f"image size {height}x{width}: both sides must be multiples of 16, 64 or more")
    if preset not in TRAINING_AT_TEST_TIME:
        raise ValueError(f"preset {preset!r}: must be one of {', '.join(TRAINING_AT_TEST_TIME)}")


def _norm(preset):
    if preset == "small_data":
        return instance_norm()
    return BatchStatisticsNormalization(SCALE_SD if preset == "pix2pix" else 0.0)


def _kernel_init(preset):
    # The Keras default, in vess2ret's code
    return normal_002() if preset == "pix2pix" else "glorot_uniform"


def generator(image_size, in_channels=1, out_channels=3, preset="pix2pix"):
    """Mask -> photograph.

    Args:
      image_size: (height, width) in pixels; multiples of 16 from 64 up, else ValueError.
      in_channels, out_channels: of the mask and of the photograph.
      preset: one of TRAINING_AT_TEST_TIME; ValueError otherwise.

    Returns:
      Model: [mask, seed] -> [batch, height, width, out_channels] float32 in (-1, 1). The seed, [1, 2] int32, is all
        that
      dropout depends on (with training=True; without, and for small_data, it has no effect).
    """
    _check(image_size, preset)
    mask = tf.keras.Input([*image_size, in_channels], name="mask")
    seed = tf.keras.Input([2], dtype=tf.int32, name="seed")
    body = _small_data_generator if preset == "small_data" else _paper_generator
    x = body(mask, seed, out_channels, preset)
    return tf.keras.Model([mask, seed], tf.keras.layers.Activation("tanh", dtype="float32")(x), name="generator")


def _paper_generator(mask, seed, out_channels, preset):
    """Skips carry the values before the activation, as in the published code of pix2pix and vess2ret.

    With batch 1, vess2ret's batch norm of its single bottom pixel gives a constant, as in the published code; what the
    picture depends on passes through the skips. Isola et al. 2017 found the same and left that norm out (their
    erratum).
    """
    bottom = 1 if preset == "pix2pix" else 2  # pixels of the shorter side after the last stride-2 layer
    depth = math.ceil(math.log2(min(mask.shape[1:3]) / bottom))  # 8 at the native size of every preset
    widths = [min(64 * 2**level, 512) for level in range(depth)]
    strides = [2] * depth
    if preset == "vess2ret":
        widths, strides = widths + [512], strides + [1]  # the 2x2 "valid" layer
    down_kernel, up_kernel = (3, 2) if preset == "vess2ret" else (4, 4)
    activation = tf.keras.layers.ReLU if preset == "pix2pix" else leaky_relu

    x = mask
    skips = []
    for level, (filters, stride) in enumerate(zip(widths, strides)):
        x = leaky_relu()(x) if level else x
        kernel, padding = (down_kernel, "same") if stride == 2 else (2, "valid")
        x = tf.keras.layers.Conv2D(filters, kernel, stride, padding, kernel_initializer=_kernel_init(preset))(x)
        if preset != "pix2pix" or 0 < level < depth - 1:  # Isola et al. 2017, section 6.1.1 and its erratum
            x = _norm(preset)(x)
        skips.append(x)

    for level in reversed(range(len(widths))):
        filters, padding = (widths[level - 1] if level else out_channels), "same" if strides[level] == 2 else "valid"
        x = tf.keras.layers.Conv2DTranspose(
            filters, up_kernel, strides[level], padding, kernel_initializer=_kernel_init(preset)
        )(activation()(x))
        if level:
            x = _norm(preset)(x)
        if level > len(widths) - 4:
            x = SeededDropout(DROPOUT, index=level)([x, seed])
        reference = skips[level - 1] if level else mask
        x = x if x.shape[1:3] == reference.shape[1:3] else CropLike()([x, reference])
        x = tf.keras.layers.Concatenate()([x, reference]) if level else x
    return x


def _small_data_generator(mask, seed, out_channels, preset):
    """A lighter U-Net: instance norm, nearest upsampling then 3x3 convolutions (no checkerboard: Odena et al. 2016).

    It has two of these at full size: with one of 16 filters vessels came out a pixel wider than the mask, and squares
    of 2 x 2 pixels showed through.
    """
    depth = math.floor(math.log2(min(mask.shape[1:3]) / 4))  # down to 4 to 7 pixels
    width = 64 if min(mask.shape[1:3]) >= LARGE else 32
    widths = [min(width * 2**level, 8 * width) for level in range(depth)]
    decoder = [*(filters * 3 // 4 for filters in reversed(widths[1:-1])), width * 3 // 2, width]
    x = mask
    skips = [mask]
    for level, filters in enumerate(widths):
        x = tf.keras.layers.Conv2D(filters, 4, 2, "same", kernel_initializer="he_normal")(x)
        x = leaky_relu()(instance_norm()(x) if 0 < level else x)
        skips.append(x)
    for filters, skip in zip(decoder, reversed(skips[:-1]), strict=True):
        if min(skip.shape[1:3]) >= JOINED and not any(side % 2 for side in skip.shape[1:3]):
            x = JoinedConvolution(filters)([x, skip])
        else:
            x = Upscale()(x)
            x = x if x.shape[1:3] == skip.shape[1:3] else CropLike()([x, skip])
            x = tf.keras.layers.Concatenate()([x, skip])
            x = tf.keras.layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal")(x)
        x = leaky_relu()(instance_norm()(x) if skip is not mask else x)
    x = leaky_relu()(tf.keras.layers.Conv2D(decoder[-1], 3, padding="same", kernel_initializer="he_normal")(x))
    return tf.keras.layers.Conv2D(out_channels, 3, padding="same", kernel_initializer=normal_002())(x)


def discriminator(image_size, in_channels=1, out_channels=3, preset="pix2pix"):
    """Mask and photograph -> a logit for each patch.

    Args:
      As for `generator`.

    Returns:
      Model: mask and photograph in one tensor [batch, height, width, in_channels + out_channels] -> [batch, rows,
      columns, 1] float32 logits, real > 0. pix2pix and small_data see 70 x 70 pixels a logit (Isola et al. 2017, section
      6.1.2), small_data 34 x 34 of an image below LARGE: with 70 of 128 pixels it won after 3,500 steps on 20
      photographs, and vessels vanished. vess2ret has 16 x 16 logits at 512 pixels.
    """
    _check(image_size, preset)
    pair = tf.keras.Input([*image_size, in_channels + out_channels], name="pair")
    x = pair
    if preset == "vess2ret":
        kernel, layers = 3, [(32, 2), (64, 2), (128, 2), (256, 2)]
    elif preset == "small_data":
        kernel, layers = 4, [(32, 2), (64, 2), (128, 2), (128, 1)]
        if min(image_size) < LARGE:
            del layers[2]
    else:
        kernel, layers = 4, [(64, 2), (128, 2), (256, 2), (512, 1)]
    if preset == "small_data":
        photograph = pair[..., in_channels:]
        detail = photograph - tf.nn.avg_pool2d(photograph, DETAIL_WINDOW, 1, "SAME")
        x = tf.concat([pair, tf.tanh(DETAIL * detail)], -1)
    for level, (filters, stride) in enumerate(layers):
        exact = preset == "small_data" and not level  # bfloat16 would round away some of a photograph's texture
        x = _patch_convolution(x, filters, kernel, stride, preset, dtype="float32" if exact else None)
        x = leaky_relu()(_norm(preset)(x) if preset in ("pix2pix", "small_data") and level else x)
    x = _patch_convolution(x, 1, kernel, 2 if preset == "vess2ret" else 1, preset)
    logits = tf.keras.layers.Activation("linear", dtype="float32", name="logits")(x)
    return tf.keras.Model(pair, logits, name="discriminator")


def with_features(discriminator):
    """The same discriminator, which returns (logits, [what each of its activations gives, ...])."""
    layers = [layer.output for layer in discriminator.layers if isinstance(layer, tf.keras.layers.LeakyReLU)]
    return tf.keras.Model(discriminator.input, (discriminator.output, layers))


def _patch_convolution(x, filters, kernel, stride, preset, dtype=None):
    """Zero padding of 1 on every side for stride 1 too, as in the published code: 30 x 30 logits at 256 pixels."""
    x = tf.keras.layers.ZeroPadding2D(1)(x) if stride == 1 else x
    init = "he_normal" if preset == "small_data" else _kernel_init(preset)
    padding = "same" if stride == 2 else "valid"
    return tf.keras.layers.Conv2D(filters, kernel, stride, padding, kernel_initializer=init, dtype=dtype)(x)
