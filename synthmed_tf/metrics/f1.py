"""F1 and other scores of a binary segmentation, each under three conventions. numpy in, numbers out.

Conventions (the literature mixes them, so every number names its own):
  fov_pooled: the pixels inside the field of view of all images, as one pool. The headline.
  fov_per_image: inside the field of view, one value an image, then their mean over the images for which it is defined.
  whole_image: all pixels of all images as one pool, the black surround included.
"""

import numpy as np
from scipy.integrate import trapezoid

from synthmed_tf.metrics import bootstrap

METRICS = ("f1", "f1_macro", "auc_roc", "auc_pr", "sensitivity", "specificity", "accuracy")
CONVENTIONS = ("fov_pooled", "fov_per_image", "whole_image")


def score(probabilities, masks, fields_of_view, threshold):
    """Compares predicted vessel probabilities with masks.

    Vessel is predicted where probability >= threshold. Definitions, with vessel = positive:
      f1: 2 TP / (2 TP + FP + FN), P1 section 9; equals Dice.
      f1_macro: mean of the F1 of vessel and the F1 of background.
      auc_roc: area under the ROC curve by trapezoids, ties counted half.
      auc_pr: average precision, sum over thresholds of (recall step x precision), no interpolation.
      sensitivity: TP / (TP + FN). specificity: TN / (TN + FP). accuracy: (TP + TN) / all.

    Args:
      probabilities: list of [height, width] or [height, width, 1] float in [0, 1]; sizes may differ between images.
        Masks of a second observer are bool or uint8 in {0, 1}: the threshold is not used and both AUCs are None.
      masks: list of the same shapes in {0, 1}, vessel = 1.
      fields_of_view: list of the same shapes in {0, 1}; an entry may be None (the camera saw everything).
      threshold: in [0, 1].

    Returns:
      {metric: {convention: float or None}}. None means undefined (an AUC without positives, an F1 without any vessel in
      mask and prediction), which is not 0.

    Raises:
      ValueError: lengths or shapes that do not fit, no images, masks outside {0, 1}, probabilities outside [0, 1] or
        NaN.
    """
    triples = _flatten(probabilities, masks, fields_of_view)
    inside = [(predicted[seen], mask[seen]) for predicted, mask, seen in triples]
    pooled = _score_pixels(*_pool(inside), threshold)
    whole = _score_pixels(*_pool([(predicted, mask) for predicted, mask, _ in triples]), threshold)
    per_image = [_score_pixels(predicted, mask, threshold) for predicted, mask in inside]
    return {
        metric: {
            "fov_pooled": pooled[metric],
            "fov_per_image": _average([image[metric] for image in per_image]),
            "whole_image": whole[metric],
        }
        for metric in METRICS
    }


def choose_threshold(probabilities, masks, fields_of_view):
    """The threshold with the highest pooled F1 inside the field of view; to be chosen on training images.

    Galdran et al. 2022 (lwnet) choose it so: maximal Dice on the training predictions.

    Args: as for `score`; probabilities are floats.

    Returns:
      float in [0, 1], one of the predicted values, to be compared with >=. Where the masks hold no vessel at all there
      is no F1 to maximise: 0.5.
    """
    triples = _flatten(probabilities, masks, fields_of_view)
    predicted, mask = _pool([(predicted[seen], mask[seen]) for predicted, mask, seen in triples])
    if not mask.any():
        return 0.5
    values, true_positives, false_positives = _count_cumulatively(predicted, mask)
    f1 = 2 * true_positives / (true_positives + false_positives + true_positives[-1])
    return float(values[np.argmax(f1)])


def count_pixels(probabilities, masks, fields_of_view, threshold):
    """True positives, false positives and false negatives of each image, inside the field of view.

    Args, raises: as for `score`.

    Returns:
      [images, 3] int.
    """
    images = []
    for predicted, mask, seen in _flatten(probabilities, masks, fields_of_view):
        positive = (predicted if predicted.dtype == bool else predicted >= threshold) & seen
        images.append([(positive & mask).sum(), (positive & ~mask).sum(), (~positive & mask & seen).sum()])
    return np.array(images)


def pooled_f1(counts):
    """F1 of all images as one pool from [..., images, 3] counts: [...], NaN where it is undefined."""
    tp, fp, fn = np.moveaxis(np.sum(counts, -2), -1, 0)
    with np.errstate(invalid="ignore"):  # 0 / 0
        return 2 * tp / (2 * tp + fp + fn)


def score_draws(runs, groups=None, seed=0):
    """Mean pooled F1 of several trainings on test images drawn with replacement, those of a patient as one.

    Args:
      runs: [trainings, images, 3] from `count_pixels`.
      groups, seed: see `bootstrap.draw_weights`.

    Returns:
      [draws], NaN where a draw has no vessel in mask and prediction.
    """
    drawn = bootstrap.draw_weights(np.shape(runs)[1], groups, seed)
    return np.mean([pooled_f1(drawn[..., None] * run) for run in np.asarray(runs)], 0)


def _score_pixels(predicted, mask, threshold):
    binary = predicted.dtype == bool
    positive = predicted if binary else predicted >= threshold
    tp = int(np.count_nonzero(positive & mask))
    fp = int(np.count_nonzero(positive)) - tp
    fn = int(np.count_nonzero(mask)) - tp
    tn = mask.size - tp - fp - fn
    f1 = _divide(2 * tp, 2 * tp + fp + fn)
    f1_background = _divide(2 * tn, 2 * tn + fp + fn)
    auc_roc, auc_pr = (None, None) if binary else _measure_areas(predicted, mask)
    return {
        "f1": f1,
        "f1_macro": None if f1 is None or f1_background is None else (f1 + f1_background) / 2,
        "auc_roc": auc_roc,
        "auc_pr": auc_pr,
        "sensitivity": _divide(tp, tp + fn),
        "specificity": _divide(tn, tn + fp),
        "accuracy": _divide(tp + tn, mask.size),
    }


def _measure_areas(predicted, mask):
    if mask.all() or not mask.any():
        return None, None
    _, true_positives, false_positives = _count_cumulatively(predicted, mask)
    recall = np.concatenate([[0.0], true_positives / true_positives[-1]])
    fall_out = np.concatenate([[0.0], false_positives / false_positives[-1]])
    precision = true_positives / (true_positives + false_positives)
    return float(trapezoid(recall, fall_out)), float(np.sum(np.diff(recall) * precision))


def _count_cumulatively(predicted, mask):
    """(distinct values falling, true positives at >= value, false positives at >= value), by one sort.

    The bits of a float32 in [0, 1] sort as an integer and leave the top bit free, so the label rides in the lowest bit
    of one uint32: sorting plain integers is several times faster than an argsort.
    """
    keys = np.sort((predicted.view(np.uint32) << 1) | mask)[::-1]
    bits = keys >> 1
    last_of_value = np.append(np.flatnonzero(np.diff(bits)), bits.size - 1)
    true_positives = np.cumsum(keys & 1, dtype=np.int64)[last_of_value]
    return bits[last_of_value].view(np.float32), true_positives, last_of_value + 1 - true_positives


def _flatten(probabilities, masks, fields_of_view):
    if not len(probabilities) == len(masks) == len(fields_of_view):
        raise ValueError(
            f"{len(probabilities)} predictions, {len(masks)} masks, {len(fields_of_view)} fields of view: must be as "
            "many"
        )
    if not len(masks):
        raise ValueError("no images to score")
    triples = []
    for index, (predicted, mask, seen) in enumerate(zip(probabilities, masks, fields_of_view)):
        predicted, mask = np.asarray(predicted), np.asarray(mask)
        seen = np.ones(mask.shape, bool) if seen is None else np.asarray(seen)
        if not predicted.shape[:2] == mask.shape[:2] == seen.shape[:2] or not (
            predicted.size == mask.size == seen.size == np.prod(mask.shape[:2])
        ):
            raise ValueError(f"image {index}: prediction {predicted.shape}, mask {mask.shape}, view {seen.shape}")
        if predicted.dtype in (np.dtype(bool), np.dtype(np.uint8)):
            predicted = _to_bool(predicted, f"image {index}: binary prediction")
        else:
            predicted = np.ascontiguousarray(predicted, np.float32).reshape(-1) + np.float32(0)  # -0.0 becomes 0.0
            if not ((predicted >= 0) & (predicted <= 1)).all():
                raise ValueError(f"image {index}: probabilities must lie in [0, 1] and not be NaN")
        triples.append(
            (predicted, _to_bool(mask, f"image {index}: mask"), _to_bool(seen, f"image {index}: field of view"))
        )
    if len({predicted.dtype for predicted, _, _ in triples}) > 1:
        raise ValueError("predictions must be all binary or all probabilities")
    return triples


def _to_bool(array, name):
    flat = array.reshape(-1)
    as_bool = flat.astype(bool)
    if flat.dtype != bool and not np.array_equal(flat, as_bool):
        raise ValueError(f"{name} must hold 0 and 1 only, found {flat.min()} to {flat.max()}")
    return as_bool


def _pool(pairs):
    predicted, masks = zip(*pairs)
    return np.concatenate(predicted), np.concatenate(masks)


def _divide(part, whole):
    return part / whole if whole else None


def _average(values):
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None
