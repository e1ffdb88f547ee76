"""Bilinear sampling of images, by tensorflow-addons where it can be installed, else by TensorFlow alone."""

import warnings

import tensorflow as tf


@tf.function(jit_compile=True)  # as a plain graph 50 times as slow
def resample_by_tensorflow(images, places):
    """Samples images bilinearly, as tfa.image.resampler does where all places are in the frame.

    Args:
      images: [batch, height, width, channels] float32.
      places: [batch, rows, columns, 2] float32, (x, y) in pixels from 0 to width - 1 and height - 1.

    Returns:
      [batch, rows, columns, channels] float32.
    """
    first = tf.floor(places)
    share = (places - first)[..., None, :]
    first, last = tf.cast(first, tf.int32), tf.shape(images)[2:0:-1] - 1

    def pick(right, down):
        columns_and_rows = tf.minimum(first + [right, down], last)
        return tf.gather_nd(images, columns_and_rows[..., ::-1], batch_dims=1)

    x, y = share[..., 0], share[..., 1]
    above, below = ((1 - x) * pick(0, down) + x * pick(1, down) for down in (0, 1))
    return (1 - y) * above + y * below


try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that tensorflow-addons is at its end of life
        from tensorflow_addons.image import resampler as resample
except ImportError:  # Python 3.12 and later
    resample = resample_by_tensorflow
