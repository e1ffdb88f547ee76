"""Precision, recall, density and coverage. numpy in, numbers out."""

import numpy as np
from scipy.spatial.distance import cdist

# k: Naeem et al. 2020 take 5; of only 20 images 5 neighbours are a quarter and coverage saturates (expected value
# 0.98 for two samples of one distribution, by their lemma 2; 0.89 with 3, which Kynkäänniemi et al. 2019 take).
NEIGHBOURS = 3


def precision_recall(real, fake, k=NEIGHBOURS):
    """Precision and recall of Kynkäänniemi et al. 2019 (equations 1 and 2).

    Precision is the share of fakes that lie in a ball around a real image, recall the share of real images that lie
    in a ball around a fake. Each ball reaches to the k-th nearest neighbour of its centre within the same set, border
    included.

    Args:
      real: [n, d], n > k.
      fake: [m, d], m > k.
      k: number of neighbours.

    Returns:
      (precision, recall), each in [0, 1].

    Raises:
      ValueError: k images or fewer in a set.
    """
    distances = cdist(real, fake)
    precision = (distances <= _measure_radii(real, k)[:, None]).any(axis=0).mean()
    recall = (distances <= _measure_radii(fake, k)).any(axis=1).mean()
    return float(precision), float(recall)


def density_coverage(real, fake, k=NEIGHBOURS):
    """Density and coverage of Naeem et al. 2020 (section 3, density and coverage), balls as in `precision_recall`.

    Density is the number of real balls that a fake lies in, over k, averaged over the fakes. Coverage is the share of
    real balls that hold a fake. For two samples of one distribution density is 1 on average (their lemma 1) and
    coverage 1 - (n - 1) ... (n - k) / ((m + n - 1) ... (m + n - k)) (their lemma 2).

    Args:
      real: [n, d], n > k.
      fake: [m, d], m >= 1.
      k: number of neighbours.

    Returns:
      (density, coverage): density in [0, n / k], coverage in [0, 1].

    Raises:
      ValueError: k real images or fewer.
    """
    inside = cdist(real, fake) <= _measure_radii(real, k)[:, None]
    return float(inside.sum() / (k * len(fake))), float(inside.any(axis=1).mean())


def _measure_radii(features, k):
    """Distance of each of [n, d] to its k-th nearest neighbour among the others."""
    if len(features) <= k:
        raise ValueError(f"{k} neighbours need more than {k} images in a set, found {len(features)}")
    return np.partition(cdist(features, features), k, axis=1)[:, k]  # the nearest is the image itself
