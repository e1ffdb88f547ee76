"""Masks of eyes that nobody has: the vessels above the optic disc from one eye, those below it from another."""

import numpy as np
from scipy import ndimage

NEAR = 0.06, 0.08  # shares of height and width that a second eye is moved by at most; more leaves gaps at the rim
SEAM = 0.05  # share of the height, either way from the disc, in which halves meet


def recombine(fields, discs, chosen, seed):
    """Masks whose halves are of two eyes.

    The vessels above and below the line from disc to macula hardly cross it (it is the horizontal raphe), so that
    halves of two eyes go together, those of the second as they are or upside down. The second eye is moved until its
    disc lies upon the first one's; they meet near the disc, in the row where the fewest vessels are.

    Args:
      fields: [count, height, width, channels + 1]: fields of masks of eyes that are turned the same way, the first
        above 0 in vessels, and the field of view.
      discs: [count, 2] int, (row, column) of their discs.
      chosen: [batch] into fields, the first eyes.
      seed: ints; which half is the first eye's, and the second eyes, are a function of it.

    Returns:
      [batch, height, width, channels + 1]; the field of view is the first eye's. Eyes whose discs lie farther than NEAR
      from all others stay whole.
    """
    random = np.random.default_rng(seed)
    count, height, width = fields.shape[:3]
    places = np.concatenate([discs, (height - 1, 0) + discs * (-1, 1)])  # of the eyes, and upside down
    recombined = fields[chosen]
    for eye, mask in zip(chosen, recombined[..., :-1]):
        moves = discs[eye] - places
        fits = (np.abs(moves) <= np.multiply(NEAR, (height, width))).all(1) & (np.arange(2 * count) % count != eye)
        if not fits.any():
            continue
        second = random.choice(np.flatnonzero(fits))
        other = fields[second % count, :: -1 if second >= count else 1, :, :-1]
        other = ndimage.shift(other, (*moves[second], 0), order=0, cval=-1.0)
        reach, row = round(SEAM * height), discs[eye, 0]
        rows = np.arange(max(0, row - reach), min(height, row + reach + 1))
        seam = rows[((mask[rows, :, 0] > 0) | (other[rows, :, 0] > 0)).sum(1).argmin()]
        half = slice(seam, None) if random.integers(2) else slice(seam)
        mask[half] = other[half]
    return recombined


def is_disc_right(mask):
    """Whether the optic disc is in the right half: vessels are thickest where they leave it.

    Args:
      mask: [height, width, 1] in {0, 1}.
    """
    thickness = ndimage.distance_transform_edt(mask[..., 0]) ** 3
    columns = np.arange(mask.shape[1]) - (mask.shape[1] - 1) / 2
    return float((thickness.sum(0) * columns).sum()) > 0


def find_disc(mask):
    """Finds the optic disc, where most and the thickest vessels are: (row, column).

    Args:
      mask: [height, width, 1] in {0, 1}.
    """
    thickness = ndimage.gaussian_filter(ndimage.distance_transform_edt(mask[..., 0]) ** 3, min(mask.shape[:2]) / 12)
    return np.unravel_index(thickness.argmax(), thickness.shape)
