"""Test images are few: what others would have given, by drawing from them with replacement (Efron 1979)."""

import numpy as np

DRAWS = 1000
LEVEL = 0.95  # of the intervals


def weights(count, groups=None, seed=0, draws=DRAWS):
    """How often each image counts in each draw.

    Images of one group are drawn together: those of one patient are alike, and drawn one by one they would make an
    interval too narrow. The same seed, count and groups give the same draws, so that what is measured on one training
    can be set against what is measured on another.

    Args:
      count: images.
      groups: [count] patient or slide; None: each image is its own.
      seed: of the draws.
      draws: how many.

    Returns:
      [draws, count] int.
    """
    of_image = np.unique(np.arange(count) if groups is None else groups, return_inverse=True)[1]
    known = of_image.max() + 1
    return np.random.default_rng(seed).multinomial(known, np.full(known, 1 / known), draws)[:, of_image]


def interval(drawn):
    """Percentile interval at LEVEL of [draws] numbers: [low, high], None where all are undefined (NaN)."""
    known = drawn[np.isfinite(drawn)]
    return np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist() if len(known) else None
