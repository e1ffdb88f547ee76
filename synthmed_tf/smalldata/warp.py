"""Real images warped at random: rotation, zoom, aspect and an elastic field; photograph and mask alike."""

import tensorflow as tf

from synthmed_tf.smalldata.resampler import resample


def warp_at_random(
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
    return resample(images, source[..., ::-1])
