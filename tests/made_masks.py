"""Masks for tests of what is done to masks."""

import numpy as np
from scipy import ndimage


def tree(height, width):
    """A made vessel tree: a thick trunk with branches one pixel wide, one piece, and a speck beside it."""
    mask = np.zeros((height, width, 1), np.uint8)
    mask[:, width // 2 : width // 2 + 9] = 1
    for row in range(12, height - 12, 24):
        mask[row, 10 : width - 10] = 1
    return mask


def components(mask):
    return ndimage.label(mask[..., 0], np.ones((3, 3)))[1]


def row(length, *parts):
    """[1, length] bool, True in these ranges."""
    found = np.zeros([1, length], bool)
    for first, last in parts:
        found[0, first:last] = True
    return found
