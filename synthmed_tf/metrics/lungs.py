"""Does an X-ray show a chest of the right shape? By the convex hull of its lungs. (P2 § 4: "heavily distorted body shape".)

The average hash of P2 § 3.2 sees little of what an eye sees at once. numpy in, numbers out.
"""

import numpy as np

from synthmed_tf.images.lungs import find_lung_hull

USUAL = 0.95  # share of real X-rays whose lungs count as usual


def describe(image):
    """Where the lungs are.

    Args:
      image: [height, width, 1] uint8 or uint16, a frontal X-ray.

    Returns:
      [5] float64: area, centre from the left, centre from the top, width and height of the hull, as shares of the
      frame; NaN where no lungs are found.
    """
    hull = find_lung_hull(image)
    if hull is None:
        return np.full(5, np.nan)
    rows, columns = (np.flatnonzero(hull.any(axis)) / hull.shape[1 - axis] for axis in (1, 0))
    centre = np.argwhere(hull).mean(0) / hull.shape
    return np.array([hull.mean(), centre[1], centre[0], np.ptp(columns), np.ptp(rows)])


def distorted(real, others):
    """Which X-rays have no lungs, or lungs of a size or at a place where real ones hardly ever have them.

    The distance is that of Mahalanobis to the real X-rays with lungs, of which USUAL are near enough.

    Args:
      real: [n, 5] from `describe` of training X-rays. others: [m, 5] of other ones.

    Returns:
      [m] bool; None where fewer than 10 real X-rays show lungs.
    """
    real, others = np.asarray(real), np.asarray(others)
    known = real[~np.isnan(real[:, 0])]
    if len(known) < 10:
        return None
    inverse = np.linalg.pinv(np.cov(known.T))

    def distance(described):
        apart = described - known.mean(0)
        return np.einsum("ij,jk,ik->i", apart, inverse, apart)

    return ~(distance(others) <= np.quantile(distance(known), USUAL))
