"""Seeded batches: which samples a training step sees."""

import functools

import numpy as np


def draw_batch_indices(count, batch_size, seed, step):
    """Draws the samples of a training batch, a function of its arguments alone.

    Epoch e visits every sample once, in the order `np.random.default_rng([seed, e]).permutation(count)`. Epochs follow
    each other without a gap, so a batch may hold the end of one and the beginning of the next.

    Args:
      count: number of samples. batch_size, seed, step: ints from 0.

    Returns:
      [batch_size] int64 in [0, count).
    """
    positions = range(step * batch_size, (step + 1) * batch_size)
    return np.array([_draw_epoch_order(count, seed, position // count)[position % count] for position in positions])


@functools.lru_cache(maxsize=4)
def _draw_epoch_order(count, seed, epoch):
    return np.random.default_rng([seed, epoch]).permutation(count).astype(np.int64)
