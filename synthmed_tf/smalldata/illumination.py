"""How a photograph is lit: a quadratic surface and a deviation of each channel, which the painter is given.

A mask does not say how bright an eye is. While the brightness is wrong by more than the contrast of the vessels, the
sign of every pixel's error, which is L1's gradient, says nothing about vessels. When samples are drawn, illuminations
are drawn from the normal distribution fitted to the real ones, so that the set varies in colour too.
"""

import numpy as np
import tensorflow as tf
from scipy import stats
from scipy.stats import qmc

from synthmed_tf.smalldata import recombine

# Share of the real illuminations' spread that drawn ones of eyes have (truncation: Karras et al. 2019, section B); by 1
# some eyes are lit as none is
TRUNCATION = 0.8


def describe(photographs, light, has_view):
    """The quadratic surface that each channel lies about inside the field of view, and its deviation from that.

    Without a field of view the mean and deviation, as what fills the middle of a frame would bend a surface.

    Args:
      photographs: [batch, height, width, c] float32. light: [batch, height, width, 1] in {0, 1}, 1 inside.

    Returns:
      [batch, 7c] float32: for each function of `make_surfaces` its coefficients, one a channel; the standard
      deviations. Without a field of view [batch, 2c].
    """
    functions = make_surfaces(*photographs.shape[1:3], has_view)
    gram = tf.einsum("bhwo,hwi,hwj->bij", light, functions, functions) + 1e-3 * tf.eye(functions.shape[-1])
    coefficients = tf.linalg.solve(gram, tf.einsum("bhwc,hwi->bic", photographs * light, functions))
    rest = (photographs - tf.einsum("hwi,bic->bhwc", functions, coefficients)) * light
    squares = tf.math.divide_no_nan(tf.reduce_sum(tf.square(rest), [1, 2]), tf.reduce_sum(light, [1, 2]))
    return tf.concat([tf.reshape(coefficients, [tf.shape(coefficients)[0], -1]), tf.sqrt(squares)], -1)


def make_surfaces(height, width, has_view):
    """[height, width, 6]: 1, y, x, y^2, yx and x^2, y and x from -1 to 1. Without a field of view 1 alone."""
    y, x = tf.meshgrid(tf.linspace(-1.0, 1.0, height), tf.linspace(-1.0, 1.0, width), indexing="ij")
    return tf.stack([tf.ones_like(x), y, x, y * y, y * x, x * x][: None if has_view else 1], -1)


def mirror(illumination):
    """Illuminations [batch, 7c] of photographs with a field of view, as they are mirrored left to right."""
    signs = np.repeat(np.float32([1, 1, -1, 1, -1, 1, 1]), illumination.shape[-1] // 7)
    return illumination * signs


def fit(photographs, masks, inside, has_view):
    """The normal distribution of the illuminations of real photographs.

    Eyes are turned so that the optic disc is on the left, and have TRUNCATION of their spread; images without fields of
    view, described by fewer numbers, have all of it.

    Args:
      photographs: [count, height, width, c] in [-1, 1]. masks, inside: [count, height, width, 1] in {0, 1}.

    Returns:
      (mean [7c], factor [7c, 7c]), or with 2c as in `describe`, the covariance being factor @ factor.T.
    """
    if has_view:
        turned = [recombine.is_disc_right(mask > 0) for mask in masks]
        photographs, inside = (
            np.stack([row[:, ::-1] if turn else row for row, turn in zip(rows, turned, strict=True)])
            for rows in (photographs, inside)
        )
    described = describe(photographs, inside, has_view).numpy()
    spread = np.cov(described, rowvar=False) if len(described) > 1 else np.zeros([described.shape[1]] * 2)
    factor = np.linalg.cholesky(spread + 1e-6 * np.eye(len(spread)))
    return described.mean(0), TRUNCATION * factor if has_view else factor


def draw(mean, factor, seed, index):
    """Illumination number `index` of those drawn from the normal distribution of mean [d] and covariance factor @
    factor.T.

    The draws are a scrambled Sobol sequence (Owen 1998), so that a set of some hundred has the mean and the spread of
    the distribution, where independent ones stray from both. None is more than 2 standard deviations out, as no real
    one is near there.

    Args:
      mean: [d]. factor: [d, d].
      seed: of the scrambling.
      index: of the draw; those below 0, which nobody samples with, are another sequence.

    Returns:
      [1, d] float32.
    """
    sequence = qmc.Sobol(len(mean), rng=np.random.default_rng([seed, index < 0]))
    if before := index if index >= 0 else -1 - index:
        sequence.fast_forward(before)
    normal = np.clip(stats.norm.ppf(sequence.random(1)[0]), -2, 2)
    return (mean + factor @ normal).astype(np.float32)[None]


def make_planes(masks, illumination, has_view):
    """Masks [batch, height, width, 1] -> [batch, height, width, 1 + 2c]: mask, surfaces, deviations."""
    functions = make_surfaces(*masks.shape[1:3], has_view)
    channels = illumination.shape[-1] // (functions.shape[-1] + 1)
    coefficients = tf.reshape(illumination[:, :-channels], [-1, functions.shape[-1], channels])
    lit = tf.einsum("hwi,bic->bhwc", functions, coefficients)
    return tf.concat([masks, lit, tf.ones_like(lit) * illumination[:, None, None, -channels:]], -1)
