"""What other test images would have given, by drawing from the few with replacement (Efron 1979)."""

import numpy as np

DRAWS = 1000
LEVEL = 0.95  # share of the draws within an interval


def draw_weights(count, groups=None, seed=0):
    """Draws images with replacement: how often each image counts in each draw.

    Images of one group are drawn together: those of one patient are alike, and drawn one by one they would make an
    interval too narrow. The same seed, count and groups give the same draws, so that what is measured on one training
    can be set against what is measured on another.

    Args:
      count: images.
      groups: [count] patient or slide; None: each image is its own.
      seed: of the draws.

    Returns:
      [DRAWS, count] int.
    """
    of_image = np.unique(np.arange(count) if groups is None else groups, return_inverse=True)[1]
    units = of_image.max() + 1
    return np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), DRAWS)[:, of_image]


def compute_interval(drawn):
    """Percentile interval at LEVEL of [draws] numbers: [low, high], None where all are undefined (NaN)."""
    defined = drawn[np.isfinite(drawn)]
    return np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist() if len(defined) else None
