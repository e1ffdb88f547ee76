"""The pixels of a file as they are stored, and the one range of a whole set that becomes black to white."""

from typing import NamedTuple

import numpy as np

DEPTHS = (1, 2, 4, 6, 8, 10, 12, 14, 16)  # bits that scanners and cameras give a pixel, in files of 8 or 16
SHARE = 4  # a range is left as it is where the pixels take more than this part of it, one in so many
NUMBERS = 32  # stands for the bits of pixels with a sign, a fraction or more than 16 bits
# What was not read as the file says; a number of files goes before it
ZERO_IS_WHITE = "TIFF masks say that 0 is white, and were read as tifffile or ImageJ stored them"
INVERTING_PALETTE = "masks have a palette that inverts all greys; its index was taken"
FLAT_PALETTE = "masks have a palette of one colour; its index was taken"
UNUSED_WINDOW = "DICOM windows clip nearly all pixels; all that the pixels can hold was taken instead"
UNFIT_BITS = "DICOM files hold more than their BitsStored; all that the pixels can hold was taken instead"


class Picture(NamedTuple):
    """The pixels of one file.

    Attributes:
      pixels: [height, width, channels] uint8 or uint16, channels 1 or 3; float64 with one channel for other numbers.
      is_inverted: whether the least value is white.
      note: one of the sentences above; None.
    """

    pixels: np.ndarray
    is_inverted: bool = False
    note: str | None = None

    @property
    def bits(self):
        """8, 16 or NUMBERS."""
        return {"uint8": 8, "uint16": 16}.get(self.pixels.dtype.name, NUMBERS)


class PixelRange(NamedTuple):
    """Which values become black and white: 0, and 255 or 65535."""

    low: float
    high: float


def choose_range(bits, least, most):
    """The PixelRange of a set.

    Whole numbers without sign keep their values where they need more than a quarter of what the file can hold. Else the
    range is that of the fewest DEPTHS that hold all of them, or, far from 0, what they span. Fractions up to 1 have the
    range 0 to 1. Others reach from the least, or 0, to the largest.

    Args:
      bits: 8, 16 or NUMBERS. least, most: of all pixels of the set.
    """
    top = 255 if bits == 8 else 65535
    if most == least:
        return PixelRange(0, top)
    if bits == NUMBERS and not (least >= 0 and most <= 1 and most > 1 / SHARE):
        is_far = least < 0 or most - least < most / SHARE
        return PixelRange(least if is_far else 0, most)
    if bits == NUMBERS:
        return PixelRange(0, 1)
    high = next(2**depth - 1 for depth in DEPTHS if 2**depth > most)
    if bits == 16 and high == top and most - least < top / SHARE:
        return PixelRange(least, most)
    return PixelRange(0, high)


def bring_to_range(picture, pixel_range=None):
    """Picture -> [height, width, channels] uint8, or uint16 where it has more bits. Pixels are never clipped to less.

    Args:
      pixel_range: PixelRange of the set; None: all that uint8 or uint16 can hold.
    """
    pixels, top = picture.pixels, 255 if picture.bits == 8 else 65535
    low, high = pixel_range or (0, top)
    if picture.bits == NUMBERS or (low, high) != (0, top):
        dtype = np.uint8 if picture.bits == 8 else np.uint16
        pixels = np.rint(np.clip((pixels - np.float64(low)) * (top / (high - low)), 0, top)).astype(dtype)
    return top - pixels if picture.is_inverted else pixels
