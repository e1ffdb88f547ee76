"""Masks that copy a training mask, whole or by a half, are left out of a synthetic set.

P2 filters photographs (§ 3.2) by a threshold from the real images' distances among themselves. Here the distances are
those of masks.
"""

import dataclasses
import itertools

import numpy as np

from synthmed_tf.metrics import likeness, mask_distance
from synthmed_tf.sample import spaced

MOST_TRIES = 10  # candidates for one mask, on average
REPEATED = 1e-6  # distance of a mask to itself
MOST_COMPARED = 2000  # training masks that a candidate is compared with
COMPARED_AT_ONCE = 16  # candidates


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a mask must keep to, from the training masks of different patients among themselves.

    Attributes:
      masks: training masks that candidates are compared with.
      is_square: whether they are as high as wide.
      distance: least 1 - Dice of two masks.
      thumbnails: (of the masks, of their halves), see likeness.make_mask_thumbnails.
      likeness: (greatest of two masks, of two halves).
    """

    masks: tuple
    is_square: bool
    distance: float
    thumbnails: tuple
    likeness: tuple


def reject_copies(candidates, real, count, tally):
    """Passes on those masks of an endless stream that copy no training mask.

    A candidate is rejected if it lies nearer to a training mask than the two nearest training masks of different
    patients lie to each other. So is one that is more like a training mask than the two most similar ones, by a
    likeness that a shift or a tilt does not hide. So is one with a half that is more like a half of a training mask
    than the two most similar halves, as a generator learns from recombined halves.

    There are MOST_TRIES candidates for each mask wanted; those that were not needed are left for later ones. If all are
    rejected, the one least like the training masks is passed on all the same, and counted.

    Args:
      candidates: endless iterator of Samples with a mask.
      real: sequence of training Samples with a mask. Of more than MOST_COMPARED, as many at even steps are looked at.
      count: how many to pass on.
      tally: dict that gets "threshold" (1 - Dice), "most_alike" and "halves_most_alike" (likeness), "candidates",
        "rejected", and "too_near", the number of those passed on all the same.

    Yields:
      Samples, with ids numbered from 0. Sample i does not depend on count.
    """
    limits = measure_limits(real)
    tally |= {"threshold": limits.distance, "most_alike": limits.likeness[0], "halves_most_alike": limits.likeness[1]}
    tally |= dict.fromkeys(("candidates", "rejected", "too_near"), 0)
    done, best = 0, None
    while done < count:
        samples = list(itertools.islice(candidates, COMPARED_AT_ONCE))
        for sample, is_copy, excess in zip(
            samples, *_compare([sample.mask for sample in samples], limits), strict=True
        ):
            if done == count:
                return
            tally["candidates"] += 1
            rank = not is_copy, -excess
            if best is None or rank > best[0]:
                best = rank, sample
            if is_copy and tally["candidates"] < MOST_TRIES * (done + 1):
                continue
            tally["rejected"] = tally["candidates"] - (done + 1)
            tally["too_near"] += not best[0][0]
            yield dataclasses.replace(best[1], id=f"synthetic-{done:06d}")
            done, best = done + 1, None


def measure_limits(real):
    """The Limits that training Samples with a mask set."""
    samples = spaced(real, MOST_COMPARED)
    distances = mask_distance.measure_distances(
        [sample.mask for sample in samples], [sample.mask for sample in samples]
    )
    # A mask that is there twice, as of two photographs of one eye, says nothing of how alike two eyes are
    first = [index for index, row in enumerate(distances) if row[:index].min(initial=1.0) > REPEATED]
    samples, distances = [samples[index] for index in first], distances[np.ix_(first, first)]
    masks, patients = zip(*((sample.mask, sample.group or sample.id) for sample in samples))
    is_square = len(set(masks[0].shape[:2])) == 1
    if len(set(patients)) == 1:  # as in the audit, its other masks are the control
        patients = range(len(patients))
    are_apart = np.not_equal.outer(patients, patients)
    distance = distances.min(initial=1.0, where=are_apart) if are_apart.any() else 0.0
    thumbnails, greatest = [], []
    for parts in (1, 2):
        thumbnails.append(likeness.make_mask_thumbnails(_cut(masks, parts)))
        of_part = np.repeat(patients, parts)
        are_apart = np.not_equal.outer(of_part, of_part)
        if are_apart.any():
            greatest.append(
                float(likeness.find_most_similar(thumbnails[-1], thumbnails[-1], is_square, are_apart)[0].max())
            )
        else:
            greatest.append(1.0)
    return Limits(masks, is_square, float(distance), tuple(thumbnails), tuple(greatest))


def _compare(masks, limits):
    """([masks] whether each is a copy, [masks] its likeness over the limit, of the whole or of a half)."""
    excess = []
    for parts, references, limit in zip((1, 2), limits.thumbnails, limits.likeness, strict=True):
        thumbnails = likeness.make_mask_thumbnails(_cut(masks, parts))
        alike = likeness.find_most_similar(thumbnails, references, limits.is_square)[0].reshape(len(masks), -1).max(1)
        excess.append(np.minimum(alike, 1) - limit)  # rounding exceeds 1
    excess = np.max(excess, 0)
    is_near = mask_distance.measure_distances(masks, limits.masks).min(1) < limits.distance
    return is_near | (excess > 0), excess


def _cut(masks, parts):
    return masks if parts == 1 else [half for mask in masks for half in likeness.cut_halves(mask)]


def describe(tally):
    """One line: what `reject_copies` did."""
    return (
        f"{tally['rejected']} of {tally['candidates']} masks rejected: nearer to a training mask than the two nearest "
        f"training masks are to each other ({tally['threshold']:.3f}), or more like a training mask than the two most "
        f"similar ({tally['most_alike']:.3f}), or by a half more like a half of one ({tally['halves_most_alike']:.3f})"
    )
