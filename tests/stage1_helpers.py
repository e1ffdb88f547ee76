"""What several tests of stage 1 share: small eyes, tiny networks, and what they compute by hand."""

import functools

import numpy as np
import tensorflow as tf
from scipy import ndimage

from synthmed_tf.datasets.phantoms import fundus
from synthmed_tf.datasets.prepare import crop_sample
from synthmed_tf.training.examples import Examples

RNG = np.random.default_rng(0)


@functools.cache
def _draw_eye(index, size):
    return crop_sample(fundus.draw_fundus(index), size)


def draw_eyes(count, size=(64, 64), first=0):
    """Samples of made eyes; nobody may change their arrays."""
    return [_draw_eye(index, size) for index in range(first, first + count)]


def wedge(height=64, width=64):
    """A vessel that gets thicker to the right, [height, width, 1]."""
    rows, columns = np.mgrid[:height, :width]
    return (abs(rows - height / 2) < 1 + columns / 12).astype(np.uint8)[..., None]


def count_pieces(mask):
    return ndimage.label(np.asarray(mask)[..., 0], np.ones([3, 3]))[1]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.log1p(np.exp(x))


def make_sgd():
    return tf.keras.optimizers.SGD(1.0, jit_compile=False)


def make_rows(height, width, batch=3):
    """Rows of a stack of Examples: a field, and a field of view that leaves out a quarter of the pixels."""
    rows = RNG.uniform(-1, 1, [batch, height, width, 2]).astype(np.float32)
    rows[..., 1] = rows[..., 1] > -0.5
    return rows


def show_plainly(rows, key=None):
    """What the papers show a discriminator of the rows."""
    return Examples.show(None, rows, key)


def reduce_by_hand(rows, stride=1):
    """[batch, height, width, 1] that a network sees of the rows, without warps, at a part of their size."""
    batch, height, width, _ = rows.shape
    real = np.where(rows[..., 1] > 0, rows[..., 0], -1)
    return real.reshape(batch, height // stride, stride, width // stride, stride, 1).mean((2, 4))
