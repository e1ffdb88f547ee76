"""Local binary patterns, the features of P2 § 3.2. numpy in, numbers out."""

import numpy as np
from joblib import Parallel, delayed
from skimage.feature import local_binary_pattern

from synthmed_tf.metrics.grey import LUMA

RADII = (2, 3, 4)  # P2 § 3.2, pixels
NEIGHBOURS = 8  # a pixel of radius: P = 8 R, so that the neighbours lie as densely on each circle


def lbp_features(images, radii=RADII):
    """Histograms of local binary patterns (P2 § 3.2): rotation-invariant, uniform (Ojala et al. 2002), on all cores.

    Colours are turned to grey first, as in P2. Pixels nearer to the edge than the radius are left out.

    Args:
      images: iterable of [height, width, channels] uint8 or uint16, channels 1 or 3 (red, green, blue), sides above
        twice the largest radius.
      radii: in pixels.

    Returns:
      [images, sum of (NEIGHBOURS * radius + 2)] float64: for each radius the shares of the pixels that have each
      pattern.

    Raises:
      ValueError: images too small for the radius.
    """
    jobs = (delayed(_lbp)(image, radii) for image in images)
    return np.array(Parallel(n_jobs=-1, prefer="threads")(jobs))


def _lbp(image, radii):
    image = np.asarray(image)
    if min(image.shape[:2]) <= 2 * max(radii):
        raise ValueError(
            f"patterns of radius {max(radii)} need images above {2 * max(radii)} pixels, found {image.shape}"
        )
    # Whole numbers: rounding noise of a grey mean would make patterns where there are none.
    grey = np.rint(image @ np.float64(LUMA)).astype(np.int32) if image.shape[2] == 3 else image[..., 0].astype(np.int32)
    parts = []
    for radius in radii:
        patterns = local_binary_pattern(grey, NEIGHBOURS * radius, radius, "uniform")[radius:-radius, radius:-radius]
        counts = np.bincount(patterns.astype(int).ravel(), minlength=NEIGHBOURS * radius + 2)
        parts.append(counts / counts.sum())
    return np.concatenate(parts)
