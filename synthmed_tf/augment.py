"""Augmentation of real images: warps of photograph and mask alike (stateless randomness, tensorflow-addons geometry),
and masks of eyes crossed with each other.
"""

import warnings

import numpy as np
import tensorflow as tf
from scipy import ndimage

with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)  # that tensorflow-addons is at its end of life
    import tensorflow_addons as tfa

NEAR = (0.06, 0.08)  # of height and width, that a crossed eye is moved at most; more leaves gaps at the rim
SEAM = 0.05  # of the height, either way from the disc


def random_warp(
    images,
    seed,
    *,
    rotation=15.0,
    zoom=1.0,
    aspect=0.08,
    elastic=0.012,
    flip=(True, False),
    quarter_turns=False,
    enlarged=1,
):
    """Warps each image of a batch by its own random rotation, zoom, aspect and elastic field; all channels alike.

    The centre stays where it is and the zoom never shrinks, so that a round field of view stays filled. Outside the
    frame the image is mirrored.

    Args:
      images: [batch, height, width, channels] float32; channels that belong together (photograph, distance field).
      seed: [2] int32; the warp is a function of it.
      rotation: degrees; angles are uniform in +-rotation.
      zoom: largest magnification; uniform in [1, zoom].
      aspect: height and width are stretched against each other by up to this share.
      elastic: standard deviation of the elastic displacement, as a share of the image's side.
      flip: (vertically, horizontally), each with probability one half where True.
      quarter_turns: turn by 0, 90, 180 or 270 degrees besides; for square images.
      enlarged: how many times larger the images are made (Lanczos) before they are sampled. Sampling is bilinear, which
        by itself blurs a photograph's texture away.

    Returns:
      The warped images, same shape.
    """
    batch, height, width = (tf.shape(images)[i] for i in range(3))
    seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 6), num=6)

    def uniform(index, low, high):
        return tf.random.stateless_uniform([batch, 1, 1], seeds[index], low, high)

    angle = uniform(0, -rotation, rotation) * (3.141592653589793 / 180)
    if quarter_turns:
        angle += tf.floor(uniform(5, 0.0, 4.0)) * (3.141592653589793 / 2)
    scale = 1 / uniform(1, 1.0, zoom)
    stretch = tf.exp(uniform(2, -aspect, aspect) / 2)
    flips = tf.random.stateless_uniform([2, batch, 1, 1], seeds[3]) < 0.5
    signs = [tf.where(flips[i] & flip[i], -1.0, 1.0) for i in range(2)]

    size = tf.cast(tf.stack([height, width]), tf.float32)
    rows, columns = tf.meshgrid(tf.range(size[0]), tf.range(size[1]), indexing="ij")
    centre = (size - 1) / 2
    y, x = (rows - centre[0])[None], (columns - centre[1])[None]
    source_y = signs[0] * scale * stretch * (tf.cos(angle) * y - tf.sin(angle) * x) + centre[0]
    source_x = signs[1] * scale / stretch * (tf.sin(angle) * y + tf.cos(angle) * x) + centre[1]
    source = tf.stack([source_y, source_x], axis=-1)
    coarse = tf.random.stateless_normal([batch, 6, 6, 2], seeds[4])
    source += elastic * size * tf.image.resize(coarse, [height, width], method="bicubic")

    last = size - 1
    source = last - tf.abs(last - tf.math.floormod(source, 2 * last))
    if enlarged > 1:
        images = tf.image.resize(images, [height * enlarged, width * enlarged], method="lanczos3")
        source = tf.clip_by_value((source + 0.5) * enlarged - 0.5, 0.0, size * enlarged - 1)
    return tfa.image.resampler(images, source[..., ::-1])


def crossed(fields, discs, chosen, seed):
    """Masks of eyes that nobody has: above the optic disc one eye's vessels, below it another's.

    The vessels above and below the line from disc to macula hardly cross it (it is the horizontal raphe), so that halves
    of two eyes go together, those of the second as they are or upside down. It is moved until its disc lies upon the
    first one's; they meet near the disc, in the row where the fewest vessels are.

    Args:
      fields: [count, height, width, channels + 1] from stage1.real_fields, masks of eyes that are turned the same way.
      discs: [count, 2] int, (row, column) of their discs.
      chosen: [batch] into fields, the first eyes.
      seed: ints; which half is the first eye's, and the second eyes, are a function of it.

    Returns:
      [batch, height, width, channels + 1]; the field of view is the first eye's. Eyes whose discs lie farther than NEAR
      from all others stay whole.
    """
    random = np.random.default_rng(seed)
    count, height, width = fields.shape[:3]
    places = np.concatenate([discs, (height - 1, 0) + discs * (-1, 1)])  # of the eyes, and upside down
    made = fields[chosen]
    for eye, mask in zip(chosen, made[..., :-1]):
        moved = discs[eye] - places
        fit = (np.abs(moved) <= np.multiply(NEAR, (height, width))).all(1) & (np.arange(2 * count) % count != eye)
        if not fit.any():
            continue
        second = random.choice(np.flatnonzero(fit))
        other = fields[second % count, :: -1 if second >= count else 1, :, :-1]
        other = ndimage.shift(other, (*moved[second], 0), order=0, cval=-1.0)
        reach, row = round(SEAM * height), discs[eye, 0]
        rows = np.arange(max(0, row - reach), min(height, row + reach + 1))
        seam = rows[((mask[rows, :, 0] > 0) | (other[rows, :, 0] > 0)).sum(1).argmin()]
        part = slice(seam, None) if random.integers(2) else slice(seam)
        mask[part] = other[part]
    return made


def jitter_and_mirror(photographs, masks, seed, pixels):
    """Random jitter of Isola et al. 2017 (appendix 6.2): enlarge, crop at random, mirror left to right; pairs stay pairs.

    Photographs are enlarged bilinearly, masks to the nearest pixel. No pixel of a mask is lost, so no vessel breaks.

    Args:
      photographs: [batch, height, width, channels] float32.
      masks: [batch, height, width, any] of the same type.
      seed: [2] int32.
      pixels: how much larger a 256-pixel image gets before the crop (30: 256 -> 286); 0: neither jitter nor mirror.

    Returns:
      (photographs, masks), same shapes.
    """
    if not pixels:
        return photographs, masks
    key_crop, key_mirror = tf.unstack(tf.random.experimental.stateless_split(seed, 2), num=2)
    batch, (height, width) = photographs.shape[0] or tf.shape(photographs)[0], photographs.shape[1:3]
    size = [side + side * pixels // 256 for side in (height, width)]
    pair = [tf.image.resize(photographs, size), tf.image.resize(masks, size, method="nearest")]
    channels = [part.shape[-1] for part in pair]
    pair = tf.image.stateless_random_crop(tf.concat(pair, -1), [batch, height, width, sum(channels)], key_crop)
    mirrored = tf.random.stateless_uniform([batch, 1, 1, 1], key_mirror) < 0.5
    return tf.split(tf.where(mirrored, pair[:, :, ::-1], pair), channels, -1)
