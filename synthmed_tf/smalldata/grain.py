"""Grain: the texture of photographs beside what their masks mark, as a Gaussian field of measured spectrum.

A generator that L1 holds to a photograph paints the median of what may be there: a smooth ground, on which a segmenter
learns that all that is dark is a vessel. Its discriminator has too few photographs to teach it texture. The
second-order statistics of texture are well known from a few photographs, and hold nothing of any one of them (spectral
texture synthesis: Galerne et al. 2011).
"""

import numpy as np
import tensorflow as tf
from scipy import ndimage

PATCH = 32  # pixels; also the extent of the filter
LOCAL = 4.0  # pixels; sigma of the local mean, which is no grain
COVERED = 0.6  # least share of a patch that is background
MARGIN = 2  # pixels around what a mask marks
RIM = 4  # pixels along the edge of the field of view
# Variance of rounding to 8 bits; where there is less, a photograph is black or saturated
ROUNDING = (2 / 255) ** 2 / 12


def measure_spectrum(photographs, masks, inside):
    """Cross spectrum of the typical background, over half-overlapping patches under a Hann window (Welch's method).

    The patches' powers differ by far, and lesions and vessels that a mask leaves out are among them. So the shape is
    the mean of the patches' shapes, and the power their geometric mean.

    Args:
      photographs: iterable of [height, width, c] float; white is black + 2.
      masks, inside: iterables of [height, width, 1]; background is what is inside and not near the mask.

    Returns:
      ([PATCH, PATCH, c, c] complex128, Hermitian in the last two; white noise of variance 1 has 1. Standard deviation
      over photographs of the logarithm of the amplitude.) Zeros where no patch is background.
    """
    window = np.hanning(PATCH + 1)[:PATCH]
    window = np.sqrt(np.outer(window, window))[..., None]
    shape, levels = 0.0, []
    for photograph, mask, view in zip(photographs, masks, inside, strict=True):
        near = ndimage.binary_dilation(mask[..., 0] > 0, iterations=MARGIN)
        background = (ndimage.binary_erosion(view[..., 0] > 0, iterations=RIM, border_value=1) & ~near)[..., None]
        weight = ndimage.gaussian_filter(background.astype(float), (LOCAL, LOCAL, 0))
        mean = ndimage.gaussian_filter(photograph * background, (LOCAL, LOCAL, 0)) / (weight + 1e-6)
        detail, found = np.where(background, photograph - mean, 0), []
        for top in range(0, detail.shape[0] - PATCH + 1, PATCH // 2):
            for left in range(0, detail.shape[1] - PATCH + 1, PATCH // 2):
                part = slice(top, top + PATCH), slice(left, left + PATCH)
                covered = background[part].mean()
                if covered < COVERED:
                    continue
                waves = np.fft.fft2(detail[part] * window, axes=(0, 1))
                power = np.mean(np.abs(waves) ** 2) / ((window**2).sum() * covered)
                if power > ROUNDING:
                    shape = shape + np.einsum("yxa,yxb->yxab", waves, waves.conj()) / (
                        (window**2).sum() * covered * power
                    )
                    found.append(np.log(power))
        if found:
            levels.append(found)
    if not levels:
        channels = photograph.shape[-1]
        return np.zeros([PATCH, PATCH, channels, channels], complex), 0.0
    powers = np.concatenate(levels)
    return shape / len(powers) * np.exp(powers.mean()), float(np.std([np.mean(found) for found in levels]) / 2)


def make_filter(power):
    """The filter that gives white noise this spectrum: its square root at each frequency, negative parts left out.

    Args:
      power: [PATCH, PATCH, c, c], as from `measure_spectrum`, or what one spectrum has more than another.

    Returns:
      [PATCH, PATCH, c, c] float32, from the channel in the last axis to the one before; centred.
    """
    values, vectors = np.linalg.eigh(power)
    root = (vectors * np.sqrt(np.maximum(values, 0))[..., None, :]) @ np.conj(np.swapaxes(vectors, -1, -2))
    return np.fft.fftshift(np.fft.ifft2(root, axes=(0, 1)).real, axes=(0, 1)).astype(np.float32)


def compute_response(kernel, height, width):
    """What a filter from `make_filter` does to each frequency of a field: [c, c, height, width] complex64."""
    padded = np.zeros([height, width, *kernel.shape[2:]])
    padded[:PATCH, :PATCH] = kernel
    padded = np.roll(padded, (-(PATCH // 2), -(PATCH // 2)), (0, 1))
    return np.moveaxis(np.fft.fft2(padded, axes=(0, 1)), (0, 1), (2, 3)).astype(np.complex64)


def draw(frequencies, spread, key):
    """A Gaussian field, wrapped round at its edges.

    Args:
      frequencies: from `compute_response`.
      spread: standard deviation of the logarithm of the field's amplitude, at most two of which are drawn.
      key: [2] int32; the field is a function of it.

    Returns:
      [height, width, c] float32.
    """
    keys = tf.random.experimental.stateless_split(key, 2)
    white = tf.random.stateless_normal(frequencies.shape[1:], keys[0])
    waves = tf.signal.fft2d(tf.cast(white, tf.complex64))
    mixed = tf.reduce_sum(frequencies * waves[None], 1)
    level = tf.exp(spread * tf.clip_by_value(tf.random.stateless_normal([], keys[1]), -2, 2))
    return tf.transpose(tf.math.real(tf.signal.ifft2d(mixed)), [1, 2, 0]) * level


def find_missing(real, painted):
    """The grain that real photographs have and painted ones lack: arguments of `draw` but for the key.

    Args:
      real: sequence of Samples with image and mask.
      painted: sequence of photographs [height, width, c] of the same type, painted on their masks.
    """
    half = np.iinfo(painted[0].dtype).max / 2
    masks = [sample.mask for sample in real]
    inside = [np.ones_like(sample.mask) if sample.field_of_view is None else sample.field_of_view for sample in real]
    power, spread = measure_spectrum([sample.image / half for sample in real], masks, inside)
    painted_power, _ = measure_spectrum([photograph / half for photograph in painted], masks, inside)
    return compute_response(make_filter(power - painted_power), *masks[0].shape[:2]), spread
