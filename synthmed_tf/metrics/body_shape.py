"""Does an X-ray show a chest of the right shape? (P2 § 4: "heavily distorted body shape".) numpy in, numbers out.

The average hash of P2 § 3.2 sees little of what an eye sees at once. The convex hull of the lungs tells it.
"""

import numpy as np

USUAL = 0.95  # share of real X-rays whose lungs count as usual
LEAST = 10  # real X-rays with lungs that tell what is usual


def describe(hull):
    """Where the lungs are.

    Args:
      hull: [height, width] bool, the convex hull of the lungs; None where no lungs are found.

    Returns:
      [5] float64: area, centre from the left, centre from the top, width and height of the hull, as shares of the
      frame; NaN where no lungs are found.
    """
    if hull is None:
        return np.full(5, np.nan)
    rows, columns = (np.flatnonzero(hull.any(axis)) / hull.shape[1 - axis] for axis in (1, 0))
    centre = np.argwhere(hull).mean(0) / hull.shape
    return np.array([hull.mean(), centre[1], centre[0], np.ptp(columns), np.ptp(rows)])


def find_distorted(real, others):
    """Which X-rays have no lungs, or lungs of a size or at a place where real ones hardly ever have them.

    The distance is that of Mahalanobis to the real X-rays with lungs, of which USUAL are near enough.

    Args:
      real: [n, 5] from `describe` of training X-rays.
      others: [m, 5] of other ones.

    Returns:
      [m] bool; None where fewer than LEAST real X-rays show lungs.
    """
    real, others = np.asarray(real), np.asarray(others)
    with_lungs = real[~np.isnan(real[:, 0])]
    if len(with_lungs) < LEAST:
        return None
    inverse = np.linalg.pinv(np.cov(with_lungs.T))

    def measure_distance(described):
        difference = described - with_lungs.mean(0)
        return np.einsum("ij,jk,ik->i", difference, inverse, difference)

    return ~(measure_distance(others) <= np.quantile(measure_distance(with_lungs), USUAL))
