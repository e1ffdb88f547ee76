"""The range of a set, against closed forms."""

import numpy as np
import pytest

from synthmed_tf.images.pixel_range import NUMBERS, Picture, bring_to_range, choose_range


@pytest.mark.parametrize(
    "bits, least, most, expected",
    [
        (8, 0, 255, (0, 255)),
        (8, 3, 64, (0, 255)),  # more than a quarter
        (8, 0, 63, (0, 63)),
        (8, 0, 15, (0, 15)),
        (8, 0, 1, (0, 1)),
        (8, 200, 220, (0, 255)),
        (16, 0, 65535, (0, 65535)),
        (16, 0, 16384, (0, 65535)),
        (16, 5, 16383, (0, 16383)),
        (16, 1000, 4000, (0, 4095)),
        (16, 0, 1000, (0, 1023)),
        (16, 0, 200, (0, 255)),
        (16, 31744, 35840, (31744, 35840)),  # signed numbers of 12 bits, stored from 32768 on
        (16, 61440, 65535, (61440, 65535)),
        (NUMBERS, 0, 0.9, (0, 1)),
        (NUMBERS, 0, 0.02, (0, 0.02)),
        (NUMBERS, -1024, 3071, (-1024, 3071)),
        (NUMBERS, 0, 1e6, (0, 1e6)),
        (NUMBERS, 9e5, 1e6, (9e5, 1e6)),
        (8, 7, 7, (0, 255)),
        (NUMBERS, 0.5, 0.5, (0, 65535)),
    ],
)
def test_the_range_of_a_set(bits, least, most, expected):
    assert choose_range(bits, least, most) == expected


def test_pixels_keep_their_bytes_or_are_stretched_and_inverted():
    grey = np.arange(0, 4096, 16, np.uint16).reshape(16, 16, 1)
    assert bring_to_range(Picture(grey)) is grey and bring_to_range(Picture(grey), (0, 65535)) is grey
    assert bring_to_range(Picture(grey), [0, 65535]) is grey  # as a manifest says it
    stretched = bring_to_range(Picture(grey), (0, 4095))
    assert stretched.dtype == np.uint16 and (stretched == np.rint(grey / 4095 * 65535)).all()
    assert (bring_to_range(Picture(grey, is_inverted=True), (0, 4095)) == 65535 - stretched).all()
    numbers = np.array([[-1024.0, 0, 3071]])[..., None]
    assert bring_to_range(Picture(numbers), (-1024, 3071)).ravel().tolist() == [0, 16388, 65535]
    shallow = np.array([[0, 5, 15]], np.uint8)[..., None]
    assert bring_to_range(Picture(shallow), (0, 15)).ravel().tolist() == [0, 85, 255]
