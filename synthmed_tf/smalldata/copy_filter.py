"""Masks that copy a training mask, whole or by a half, are left out of a synthetic set."""

import dataclasses
import itertools

import numpy as np

from synthmed_tf.metrics import likeness, mask_distance
from synthmed_tf.sample import spaced

MOST_TRIES = 10  # candidates for one mask, on average
REPEATED = 1e-6  # distance of a mask to itself
MOST_COMPARED = 2000  # training masks that a candidate is compared with
CHUNK = 16  # candidates looked at at once


def no_copies(candidates, real, count, tally):
    """Those masks of an endless stream that copy no training mask.

    A candidate is rejected where it lies nearer to a training mask than the two nearest training masks of different
    patients lie to each other: P2's filter (§ 3.2, threshold from the real images' distances among themselves) with the
    distance of metrics/mask_distance.py, which suits masks. So is one that is more like a training mask than the two
    most similar of different patients are, by the likeness of metrics/likeness.py, which a shift or a tilt does not
    hide; and one of which a half is more like a half of a training mask than the two most similar halves of different
    patients are, as a generator learns from halves of several eyes (augment.crossed). Of MOST_TRIES candidates for
    each one wanted, those that were not needed are left for later ones. If all are rejected, the one least like the
    training masks is passed on all the same, so that a generator that makes nothing else ends, and is told of.

    Args:
      candidates: iterator of Samples with a mask; see `from_noise`.
      real: sequence of training Samples with a mask; of more than MOST_COMPARED as many at even steps are looked at.
      count: how many to pass on.
      tally: dict that gets "threshold" (1 - Dice), "most_alike" and "halves_most_alike" (likeness), "candidates",
        "rejected", and "too_near", the number of those passed on all the same.

    Yields:
      Samples, with their ids numbered anew from 0. Sample i does not depend on count.
    """
    training = spaced(real, MOST_COMPARED)
    distances = mask_distance.measure_distances(
        [sample.mask for sample in training], [sample.mask for sample in training]
    )
    # One that is there twice, as of two photographs of one eye, says nothing of how alike two eyes are
    kept = [index for index, row in enumerate(distances) if row[:index].min(initial=1.0) > REPEATED]
    training, distances = [training[index] for index in kept], distances[np.ix_(kept, kept)]
    training, patients = zip(*((sample.mask, sample.group or sample.id) for sample in training))
    square = len(set(training[0].shape[:2])) == 1
    if len(set(patients)) == 1:  # as in the audit, its other masks are the control
        patients = range(len(patients))
    pairs_of_two = np.not_equal.outer(patients, patients)
    threshold = distances.min(initial=1.0, where=pairs_of_two) if pairs_of_two.any() else 0.0
    learned, limits = [], []
    for parts in (1, 2):
        learned.append(likeness.make_mask_thumbnails(_in_parts(training, parts)))
        of_part = np.repeat(patients, parts)
        apart = np.not_equal.outer(of_part, of_part)
        limits.append(
            float(likeness.find_most_similar(learned[-1], learned[-1], square, apart)[0].max()) if apart.any() else 1.0
        )
    tally |= {"threshold": float(threshold), "most_alike": limits[0], "halves_most_alike": limits[1]}
    tally |= dict.fromkeys(("candidates", "rejected", "too_near"), 0)
    done, best = 0, None
    while done < count:
        chunk = list(itertools.islice(candidates, CHUNK))
        masks = [sample.mask for sample in chunk]
        to_training = mask_distance.measure_distances(masks, training).min(1)
        excess = []  # of likeness over the limit
        for parts, references, limit in zip((1, 2), learned, limits, strict=True):
            small = likeness.make_mask_thumbnails(_in_parts(masks, parts))
            alike = likeness.find_most_similar(small, references, square)[0].reshape(len(masks), -1).max(1)
            excess.append(np.minimum(alike, 1) - limit)  # rounding exceeds 1
        excess = np.max(excess, 0)
        for index, sample in enumerate(chunk):
            if done == count:
                return
            tally["candidates"] += 1
            is_copy = bool(to_training[index] < threshold or excess[index] > 0)
            rank = not is_copy, -excess[index]
            if best is None or rank > best[0]:
                best = rank, sample
            if is_copy and tally["candidates"] < MOST_TRIES * (done + 1):
                continue
            tally["rejected"] = tally["candidates"] - (done + 1)
            tally["too_near"] += not best[0][0]
            yield dataclasses.replace(best[1], id=f"synthetic-{done:06d}")
            done, best = done + 1, None


def _in_parts(masks, parts):
    return masks if parts == 1 else [half for mask in masks for half in likeness.cut_halves(mask)]


def text(tally):
    """One line: what `no_copies` did."""
    return (
        f"{tally['rejected']} of {tally['candidates']} masks rejected: nearer to a training mask than the two nearest "
        f"training masks are to each other ({tally['threshold']:.3f}), or more like a training mask than the two most "
        f"similar ({tally['most_alike']:.3f}), or by a half more like a half of one ({tally['halves_most_alike']:.3f})"
    )
