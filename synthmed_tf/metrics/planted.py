"""Copies of training images and masks, disguised, which an audit must find. numpy in, numpy out."""

import numpy as np
from scipy import ndimage

from synthmed_tf.metrics.symmetries import SYMMETRIES, transform

# What a planted image is put through: share of the side, exponent, factor, and standard deviation as a share of white,
# which is the brightest pixel in sets that use less than half of what their bits can hold
MOVED, GAMMA, CONTRAST, NOISE = 0.02, 1.3, 0.8, 0.04
TAIL = 0.001  # share of a set's pixels at either end that do not tell its range: markers, dead pixels
# What a planted mask is put through: share of the side, degrees, times
MASK_MOVED, TILTED, SCALED = 0.03, 5, 0.95


def disguise_images(images, fields_of_view, seed=0):
    """Copies of images as somebody might disguise them, or a generator misremember them.

    Args:
      images: list of [height, width, channels] uint8 or uint16.
        They are of one set, whose own range the noise is a share of.
      fields_of_view: list of [height, width, 1] in {0, 1} or None.
      seed: of the noise.

    Returns:
      {disguise: (images, fields of view)}.
    """
    rng, range_used = np.random.default_rng(seed), measure_range(images)
    disguises = {"turned or mirrored": [_turn], "shifted": [_shift], "recoloured": [_recolour], "noisy": [_add_noise]}
    disguises["all of these"] = [_turn, _shift, _recolour, _add_noise]
    planted = {}
    for name, steps in disguises.items():
        copies, views = [], []
        for index, (copy, view) in enumerate(zip(images, fields_of_view, strict=True)):
            for step in steps:
                copy = step(copy, index, rng, *range_used)
                view = step(view, index) if view is not None and step in (_turn, _shift) else view
            copies.append(copy)
            views.append(view)
        planted[name] = copies, views
    return planted


def disguise_masks(masks):
    """Copies of masks as somebody might disguise them, or a generator that warps what it learned from might make them.

    Args:
      masks: list of [height, width, 1] uint8 in {0, 1}.

    Returns:
      {disguise: masks}.
    """

    def move(mask, index, is_turned, degrees, scale, share):
        mask = _turn(mask, index) if is_turned else mask
        sides, angle = np.array(mask.shape[:2]), np.deg2rad(degrees)
        matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
        centre = (sides - 1) / 2
        offset = centre - matrix @ (centre + share * sides * (1, -1))
        return ndimage.affine_transform(mask[..., 0], matrix, offset, order=0)[..., None]

    disguises = {
        "turned or mirrored": (True, 0, 1, 0),
        "shifted": (False, 0, 1, MASK_MOVED),
        "tilted": (False, TILTED, 1, 0),
        "scaled": (False, 0, SCALED, 0),
        "all of these": (True, TILTED, SCALED, MASK_MOVED),
    }
    return {name: [move(mask, index, *how) for index, mask in enumerate(masks)] for name, how in disguises.items()}


def measure_range(images):
    """(white, width): the brightest value of a set and how far the darkest is from it, TAIL of the pixels left aside.

    Each is that of the whole depth where it is more than half of it.
    """
    top = np.iinfo(images[0].dtype).max
    below = np.cumsum(sum(np.bincount(image.ravel(), minlength=top + 1) for image in images))
    low, high = np.searchsorted(below, [TAIL * below[-1], (1 - TAIL) * below[-1]])
    return (top if high > top / 2 else max(high, 1)), (top if high - low > top / 2 else max(high - low, 1))


def _turn(picture, index, *_):
    """One of the flips and rotations that keep the picture's size, by its index."""
    count = len(SYMMETRIES) if picture.shape[0] == picture.shape[1] else 4
    return transform(picture, 1 + index % (count - 1))


def _shift(picture, *_):
    rows, columns = (max(1, round(MOVED * side)) for side in picture.shape[:2])
    return np.pad(picture, ((rows, 0), (0, columns), (0, 0)), "edge")[: picture.shape[0], columns:]


def _recolour(picture, _, __, white, ___):
    return np.clip((picture / white) ** GAMMA * CONTRAST * white, 0, np.iinfo(picture.dtype).max).astype(picture.dtype)


def _add_noise(picture, _, rng, __, width):
    top = np.iinfo(picture.dtype).max
    return np.clip(picture + rng.normal(0, NOISE * width, picture.shape), 0, top).astype(picture.dtype)
