"""How many near copies of training images chance alone gives. numpy in, numbers out.

A near copy is more like a training image than every image of a control set is.
"""

import numpy as np


def estimate_chance(control, groups, among=False):
    """How probable it is that one more image of the same kind, of one more patient, is a near copy.

    With as many patients as images, the most similar image of all is the new one with probability 1 in (control + 1).
    Where the control is the training images themselves it is 2 in (control + 1), as two images make the most similar
    pair. Where patients have several images, each is left out in turn to count its images above the others.

    Args:
      control: [n, m] likeness to the training images.
      groups: [n] patient or slide of each image of the control, two at least if among is true.
      among: whether the control is the training images, compared with those of other patients; -1 for the others.

    Returns:
      A number in [0, 1], 0 where the most similar pair is there twice.
    """
    groups = np.asarray(groups)
    row, column = np.unravel_index(control.argmax(), control.shape)
    shares = 0.0  # stays 0 with any other patient left out
    for name in {groups[row], groups[column]} if among else {groups[row]}:
        rest = groups != name
        threshold = control[rest].max(initial=-1, where=rest if among else True)
        shares += np.mean(control[~rest].max(1) > threshold)
    return float(shares / (len(np.unique(groups)) + 1))


def bound_chance(share):
    """The share of other images of the same kind that are near copies at most, in 95 of 100 sets.

    Where the control happens to lie far from the training images, many images are near copies, so the mean of their
    number says little.

    Args:
      share: in [0, 1), from `estimate_chance`. It is 1 / (n + 1) for a control of n, all of which lie below the share x
        of others with probability (1 - x) ** n.
    """
    return 1 - 0.05 ** (share / (1 - share))
