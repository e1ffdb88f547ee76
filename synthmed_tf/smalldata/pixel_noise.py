"""Noise from pixel to pixel, which generators leave out as nobody can foresee it, given back to drawn images."""

import dataclasses
import itertools

import numpy as np
import tensorflow as tf
from scipy import ndimage

from synthmed_tf.metrics import features as feature_space
from synthmed_tf.metrics import kid_fid
from synthmed_tf.sample import spaced

MEASURED = 64  # real and synthetic images of a class
BRIGHTNESSES = 8  # steps from black to white that noise is measured at
RARE = 64  # wavelet coefficients, too few to tell noise by
# Daubechies 1988, table 1: the low pass of four taps
LOW_PASS = (-0.12940952255126037, 0.2241438680420134, 0.8365163037378079, 0.48296291314453416)
HIGH_PASS = tuple(tap * (-1) ** (index + 1) for index, tap in enumerate(reversed(LOW_PASS)))


def add_noise(streams, real, seed):
    """Photographs with the pixel noise that real ones have more of,
    where KID says that it makes the set more like the real one.

    A generator learns to leave out what cannot be foreseen, and patterns of neighbouring pixels tell its photographs by
    that (P2's LBP). Where fine detail is lacking that is no noise, as ribs are in radiographs, noise makes them no
    better. The levels, by brightness, are those of each class; whether there is noise is decided for all of them at
    once, as else it would tell the classes apart. Measured are the first MEASURED candidates of each class.

    Args:
      streams: {class name: iterator of Samples with an image}; see `from_noise`.
      real: {class name: training Samples with an image}, of which at most MEASURED count, at even steps.
      seed: the noise of the i-th candidate of a class is a function of it, the class and i.

    Returns:
      {class name: iterator of Samples}, with noise or as they come.
    """
    some = {name: spaced(each, MEASURED) for name, each in real.items()}
    first = {name: list(itertools.islice(stream, MEASURED)) for name, stream in streams.items()}
    levels = {}
    for name in streams:
        wanted, found = (measure_levels(sample.image for sample in samples[name]) for samples in (some, first))
        levels[name] = np.sqrt(np.maximum(0, wanted**2 - found**2))

    def add(name, samples):
        key = [seed, -2000 - list(streams).index(name)]
        for index, sample in enumerate(samples):
            folded = tf.random.experimental.stateless_fold_in(key, index)
            yield dataclasses.replace(sample, image=add_white_noise(sample.image, levels[name], folded))

    def features(sets):
        samples = [sample for each in sets.values() for sample in each]
        return feature_space.describe_photographs(
            [each.image for each in samples], [each.field_of_view for each in samples]
        )

    originals = features(some)

    def distance(sets):
        return kid_fid.kid(*(feature_space.standardise(each, originals) for each in (originals, features(sets))))

    helps = len(originals) > 1 and distance({name: add(name, each) for name, each in first.items()}) < distance(first)
    everything = {name: itertools.chain(first[name], stream) for name, stream in streams.items()}
    return {name: add(name, each) for name, each in everything.items()} if helps else everything


def measure_levels(photographs):
    """Standard deviation of the noise from pixel to pixel, white being 1, by brightness:
    glass has none where tissue has much.

    It is the median of the finest wavelet coefficients over 0.6745 (Donoho & Johnstone 1994, "Ideal Spatial Adaptation
    by Wavelet Shrinkage", section 4.2), of the mean of the channels, over all places of about that brightness.

    Args:
      photographs: iterable of [height, width, c] uint8 or uint16, one at least.

    Returns:
      [BRIGHTNESSES] float, from black to white. A brightness that hardly occurs gets what those beside it have.
    """
    brightness, detail = [], []
    for photograph in photographs:
        grey = photograph.mean(-1) / np.iinfo(photograph.dtype).max
        coarse, finest = (filter_and_halve(filter_and_halve(grey, taps).T, taps).T for taps in (LOW_PASS, HIGH_PASS))
        brightness.append(coarse.ravel() / 2)
        detail.append(np.abs(finest).ravel())
    bins = np.clip(np.concatenate(brightness) * BRIGHTNESSES, 0, BRIGHTNESSES - 1).astype(int)
    detail = np.concatenate(detail)
    known = [index for index, count in enumerate(np.bincount(bins)) if count >= RARE]
    return np.interp(range(BRIGHTNESSES), known, [np.median(detail[bins == index]) / 0.6745 for index in known])


def filter_and_halve(values, taps):
    """Every other row of values [rows, columns] filtered by a wavelet's four taps; mirrored beyond the edges.

    Returns:
      [(rows + 3) // 2, columns].
    """
    count = (len(values) + 3) // 2
    padded = np.pad(values, [(2, 3), (0, 0)], "symmetric")
    return sum(tap * padded[3 - index : 3 - index + 2 * count : 2][:count] for index, tap in enumerate(taps))


def add_white_noise(photograph, levels, key):
    """A photograph [height, width, c] uint8 or uint16 and white noise, the same in all channels.

    Args:
      levels: [BRIGHTNESSES] of the noise, as from `measure_levels`; that of a pixel is the one of the brightness around
        it.
      key: [2] int32; the noise is a function of it.

    Returns:
      The photograph's type.
    """
    white = np.iinfo(photograph.dtype).max
    around = ndimage.gaussian_filter(photograph.mean(-1) / white, 1.0)
    level = np.interp(around, (np.arange(BRIGHTNESSES) + 0.5) / BRIGHTNESSES, levels)
    noise = level * tf.random.stateless_normal(around.shape, key).numpy()
    return np.clip(np.rint(photograph + white * noise[..., None]), 0, white).astype(photograph.dtype)
