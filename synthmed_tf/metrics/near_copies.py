"""How many near copies of training images chance alone gives. numpy in, numbers out."""

import numpy as np


def by_chance(control, groups, among=False):
    """How probable it is that one more image of the same kind, of one more patient, is a near copy:
    more like a training image than all of the control.

    The likest image of all may be anybody's: with as many patients as images, the new one's with probability 1 in
    (control + 1), or 2 in (control + 1) where the control is the training images themselves, as two images make a
    likest pair. Of patients with several images each is left out in turn, to see how many of them would be above the
    others.

    Args:
      control: [n, m] likeness to the training images.
      groups: [n] patient or slide of each image of the control, two at least if among is true.
      among: whether the control is the training images, compared with those of other patients; -1 for the others.

    Returns:
      A number in [0, 1], 0 where the likest pair is there twice.
    """
    groups = np.asarray(groups)
    row, column = np.unravel_index(control.argmax(), control.shape)
    shares = 0.0  # of any other patient, it is 0
    for name in {groups[row], groups[column]} if among else {groups[row]}:
        rest = groups != name
        threshold = control[rest].max(initial=-1, where=rest if among else True)
        shares += np.mean(control[~rest].max(1) > threshold)
    return float(shares / (len(np.unique(groups)) + 1))


def most_by_chance(share):
    """Which share of other images of the same kind are near copies at most, in 95 of 100 sets. Near copies come in numbers:
    where the control happens to lie far from the training images, many are, so their mean says little.

    Args:
      share: in [0, 1), as of `by_chance`; 1 / (n + 1) of a control of n, of which all lie below the share x of others
        with probability (1 - x) ** n.
    """
    return 1 - 0.05 ** (share / (1 - share))
