"""Copies of training images, disguised, which an audit must find. numpy in, numpy out."""

import numpy as np
from scipy import ndimage

from synthmed_tf.metrics.symmetries import SYMMETRIES, transform

NOISE = 0.04  # of the grey range; GAMMA, CONTRAST and MOVED: what a planted copy is put through
GAMMA, CONTRAST, MOVED = 1.3, 0.8, 0.02
MASK_MOVED, TILTED, SCALED = 0.03, 5, 0.95  # share of the side, degrees, times: what a planted mask is put through


def planted(images, fields_of_view, seed=0):
    """Copies of images as somebody might disguise them, or a generator misremember:
    an audit that does not find them is none.

    Args:
      images: list of [height, width, channels] uint8 or uint16. fields_of_view: list of [height, width, 1] in {0, 1} or
        None.
      seed: of the noise.

    Returns:
      {what was done: (images, fields of view)}.
    """
    rng = np.random.default_rng(seed)
    square = images[0].shape[0] == images[0].shape[1]

    def turned(picture, index):
        return transform(picture, 1 + index % ((len(SYMMETRIES) if square else 4) - 1))

    def shifted(picture, _):
        rows, columns = (max(1, round(MOVED * side)) for side in picture.shape[:2])
        return np.pad(picture, ((rows, 0), (0, columns), (0, 0)), "edge")[: picture.shape[0], columns:]

    def recoloured(picture, _):
        top = np.iinfo(picture.dtype).max
        return ((picture / top) ** GAMMA * CONTRAST * top).astype(picture.dtype)

    def noisy(picture, _):
        top = np.iinfo(picture.dtype).max
        return np.clip(picture + rng.normal(0, NOISE * top, picture.shape), 0, top).astype(picture.dtype)

    ways = {"turned or mirrored": [turned], "shifted": [shifted], "recoloured": [recoloured], "noisy": [noisy]}
    ways["all of these"] = [turned, shifted, recoloured, noisy]
    found = {}
    for name, steps in ways.items():
        copies, views = [], []
        for index, (copy, view) in enumerate(zip(images, fields_of_view, strict=True)):
            for step in steps:
                copy = step(copy, index)
                view = step(view, index) if view is not None and step in (turned, shifted) else view
            copies.append(copy)
            views.append(view)
        found[name] = copies, views
    return found


def planted_masks(masks):
    """Copies of masks as somebody might disguise them, or a generator that warps what it learned from might make them.

    Args:
      masks: list of [height, width, 1] uint8 in {0, 1}.

    Returns:
      {what was done: masks}.
    """
    square = masks[0].shape[0] == masks[0].shape[1]

    def moved(mask, index, turned, degrees, scale, share):
        mask = transform(mask, 1 + index % ((len(SYMMETRIES) if square else 4) - 1)) if turned else mask
        sides, angle = np.array(mask.shape[:2]), np.deg2rad(degrees)
        matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
        centre = (sides - 1) / 2
        offset = centre - matrix @ (centre + share * sides * (1, -1))
        return ndimage.affine_transform(mask[..., 0], matrix, offset, order=0)[..., None]

    ways = {
        "turned or mirrored": (True, 0, 1, 0),
        "shifted": (False, 0, 1, MASK_MOVED),
        "tilted": (False, TILTED, 1, 0),
        "scaled": (False, 0, SCALED, 0),
        "all of these": (True, TILTED, SCALED, MASK_MOVED),
    }
    return {name: [moved(mask, index, *way) for index, mask in enumerate(masks)] for name, way in ways.items()}
