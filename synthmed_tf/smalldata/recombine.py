"""Where the optic disc is in a vessel mask. Numpy in, numpy out."""

import numpy as np


def is_disc_right(mask):
    """Whether the optic disc is in the right half: vessels are thickest where they leave it.

    Args:
      mask: [height, width, 1] in {0, 1}.
    """
    from scipy import ndimage

    thickness = ndimage.distance_transform_edt(mask[..., 0]) ** 3
    columns = np.arange(mask.shape[1]) - (mask.shape[1] - 1) / 2
    return float((thickness.sum(0) * columns).sum()) > 0


def find_disc(mask):
    """Finds the optic disc, where most and the thickest vessels are: (row, column).

    Args:
      mask: [height, width, 1] in {0, 1}.
    """
    from scipy import ndimage

    thickness = ndimage.gaussian_filter(ndimage.distance_transform_edt(mask[..., 0]) ** 3, min(mask.shape[:2]) / 12)
    return np.unravel_index(thickness.argmax(), thickness.shape)
