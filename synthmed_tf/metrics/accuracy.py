"""How well classes are told apart, with bootstrap intervals. numpy in, numbers out."""

import numpy as np

from synthmed_tf.metrics import bootstrap

METRICS = ("accuracy", "balanced_accuracy", "auc")


def scores(values, truth, weights=None):
    """Scores of one classifier.

    Definitions:
      accuracy: share of the images whose class has the largest value; the first of equal ones.
      balanced_accuracy: the mean over the classes of the share of its images that are found.
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
    each = np.ones([1, len(truth)]) if weights is None else np.asarray(weights, np.float64)
    right = values.argmax(1) == truth
    of_class = truth[:, None] == np.arange(values.shape[1])
    # Of two classes the second alone: the first has the same area
    ranked = range(1 if values.shape[1] == 2 else 0, values.shape[1])
    with np.errstate(invalid="ignore"):  # 0 / 0: undefined
        found = {
            "accuracy": each @ right / each.sum(1),
            "balanced_accuracy": np.mean(each @ (of_class & right[:, None]) / (each @ of_class), 1),
            "auc": np.mean([_auc(values[:, k], of_class[:, k], each) for k in ranked], 0),
        }
    return found if weights is not None else {metric: float(number[0]) for metric, number in found.items()}


def _auc(values, positive, weights):
    """[draws]: share of the pairs of a positive and a negative in which the positive has the larger value."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=-np.inf))  # of equal values, which are tied
    positives, negatives = (np.add.reduceat((weights * which)[:, order], starts, 1) for which in (positive, ~positive))
    below = np.cumsum(negatives, 1) - negatives
    return (positives * (below + negatives / 2)).sum(1) / (positives.sum(1) * negatives.sum(1))


def bootstrapped(runs, truth, groups=None, seed=0, draws=bootstrap.DRAWS):
    """Mean score of several classifiers on images drawn with replacement, patients or slides as one.

    Args:
      runs: list of [images, classes], as for `scores`.
      truth: [images] int.
      groups, seed, draws: see `bootstrap.weights`.

    Returns:
      {metric: [draws]}, NaN where a draw lacks a class that the score needs.
    """
    drawn = bootstrap.weights(len(truth), groups, seed, draws)
    found = [scores(values, truth, drawn) for values in runs]
    return {metric: np.mean([each[metric] for each in found], 0) for metric in METRICS}


def relative_drop(real, synthetic):
    """(real - synthetic) / real: the share of the accuracy that is lost by learning from synthetic images (P2 table 3).

    Args:
      real, synthetic: accuracies in [0, 1], numbers or arrays.

    Returns:
      The same, negative where synthetic is the better; not finite where real is 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return (real - synthetic) / np.float64(real)
