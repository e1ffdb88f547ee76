"""Generated values in [-1, 1] -> whole numbers. Numpy in, numpy out."""

import numpy as np


def to_uint8(values):
    """[-1, 1] float -> 0..255 uint8, rounded."""
    return np.clip(np.rint((np.asarray(values, np.float32) + 1) * 127.5), 0, 255).astype(np.uint8)


def to_uint16(values):
    """[-1, 1] float -> 0..65535 uint16, rounded."""
    return np.clip(np.rint((np.asarray(values, np.float64) + 1) * 32767.5), 0, 65535).astype(np.uint16)


def to_integers(values, dtype):
    """[-1, 1] float -> all of the range of `dtype`, "uint8" or "uint16", rounded."""
    return to_uint16(values) if dtype == "uint16" else to_uint8(values)
