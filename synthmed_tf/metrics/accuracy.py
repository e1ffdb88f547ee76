"""Accuracy of classifiers, with bootstrap draws. numpy in, numbers out."""

import numpy as np

from synthmed_tf.metrics import bootstrap

METRICS = ("accuracy", "balanced_accuracy", "auc")


def score(values, truth, weights=None):
    """Scores of one classifier.

    Definitions:
      accuracy: share of the images whose class has the largest value; the first of equal ones.
      balanced_accuracy: the mean over the classes of the share of their images that are recognised.
      auc: area under the ROC curve, ties counted half; with more than two classes the mean over the classes, each
        against all others.

    Args:
      values: [images, classes] probabilities, or other numbers that are larger for a more probable class.
      truth: [images] int in [0, classes).
      weights: [draws, images] how often each image counts, for that many scores at once; None: each once.

    Returns:
      {metric: float, or [draws] with weights}. NaN: undefined, since a class has no image.

    Raises:
      ValueError: shapes that do not fit, or no images.
    """
    values, truth = np.asarray(values, np.float64), np.asarray(truth)
    if values.ndim != 2 or truth.shape != values.shape[:1] or not len(truth):
        raise ValueError(f"{values.shape} values and {truth.shape} classes: expected [images, classes] and [images]")
    weighted = np.ones([1, len(truth)]) if weights is None else np.asarray(weights, np.float64)
    right = values.argmax(1) == truth
    of_class = truth[:, None] == np.arange(values.shape[1])
    # The first of two classes has the same area as the second
    ranked = range(1 if values.shape[1] == 2 else 0, values.shape[1])
    with np.errstate(invalid="ignore"):  # 0 / 0: undefined
        numbers = {
            "accuracy": weighted @ right / weighted.sum(1),
            "balanced_accuracy": np.mean(weighted @ (of_class & right[:, None]) / (weighted @ of_class), 1),
            "auc": np.mean([_measure_auc(values[:, k], of_class[:, k], weighted) for k in ranked], 0),
        }
    return numbers if weights is not None else {metric: float(number[0]) for metric, number in numbers.items()}


def _measure_auc(values, positive, weights):
    """[draws]: share of the pairs of a positive and a negative in which the positive has the larger value."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=-np.inf))  # of equal values, which are tied
    positives, negatives = (np.add.reduceat((weights * which)[:, order], starts, 1) for which in (positive, ~positive))
    below = np.cumsum(negatives, 1) - negatives
    return (positives * (below + negatives / 2)).sum(1) / (positives.sum(1) * negatives.sum(1))


def score_draws(runs, truth, groups=None, seed=0):
    """Mean score of several classifiers on images drawn with replacement, patients or slides as one.

    Args:
      runs: list of [images, classes], as for `score`.
      truth: [images] int.
      groups, seed: see `bootstrap.draw_weights`.

    Returns:
      {metric: [draws]}, NaN where a draw lacks a class that the score needs.
    """
    drawn = bootstrap.draw_weights(len(truth), groups, seed)
    scores = [score(values, truth, drawn) for values in runs]
    return {metric: np.mean([run[metric] for run in scores], 0) for metric in METRICS}


def relative_drop(real, synthetic):
    """(real - synthetic) / real: the share of the accuracy that is lost by learning from synthetic images (P2 table 3).

    Args:
      real, synthetic: accuracies in [0, 1], numbers or arrays.

    Returns:
      The same, negative where synthetic is the better; not finite where real is 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return (real - synthetic) / np.float64(real)
