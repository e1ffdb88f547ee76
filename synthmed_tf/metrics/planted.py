"""Copies of training images and masks, disguised, which an audit must find. numpy in, numpy out."""

import numpy as np
from scipy import ndimage

from synthmed_tf.metrics.symmetries import SYMMETRIES, transform

# What a planted image is put through: share of the side, exponent, factor, and standard deviation as a share of white
MOVED, GAMMA, CONTRAST, NOISE = 0.02, 1.3, 0.8, 0.04
# What a planted mask is put through: share of the side, degrees, times
MASK_MOVED, TILTED, SCALED = 0.03, 5, 0.95


def disguise_images(images, fields_of_view, seed=0):
    """Copies of images as somebody might disguise them, or a generator misremember them.

    Args:
      images: list of [height, width, channels] uint8 or uint16.
      fields_of_view: list of [height, width, 1] in {0, 1} or None.
      seed: of the noise.

    Returns:
      {disguise: (images, fields of view)}.
    """
    rng = np.random.default_rng(seed)
    disguises = {"turned or mirrored": [_turn], "shifted": [_shift], "recoloured": [_recolour], "noisy": [_add_noise]}
    disguises["all of these"] = [_turn, _shift, _recolour, _add_noise]
    planted = {}
    for name, steps in disguises.items():
        copies, views = [], []
        for index, (copy, view) in enumerate(zip(images, fields_of_view, strict=True)):
            for step in steps:
                copy = step(copy, index, rng)
                view = step(view, index, rng) if view is not None and step in (_turn, _shift) else view
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


def _turn(picture, index, _=None):
    """One of the flips and rotations that keep the picture's size, by its index."""
    count = len(SYMMETRIES) if picture.shape[0] == picture.shape[1] else 4
    return transform(picture, 1 + index % (count - 1))


def _shift(picture, *_):
    rows, columns = (max(1, round(MOVED * side)) for side in picture.shape[:2])
    return np.pad(picture, ((rows, 0), (0, columns), (0, 0)), "edge")[: picture.shape[0], columns:]


def _recolour(picture, *_):
    white = np.iinfo(picture.dtype).max
    return ((picture / white) ** GAMMA * CONTRAST * white).astype(picture.dtype)


def _add_noise(picture, _, rng):
    white = np.iinfo(picture.dtype).max
    return np.clip(picture + rng.normal(0, NOISE * white, picture.shape), 0, white).astype(picture.dtype)
