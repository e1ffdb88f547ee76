"""Where the optic disc is."""

import numpy as np

from synthmed_tf.datasets.phantoms import fundus, vessels
from synthmed_tf.smalldata.recombine import find_disc, is_disc_right


def row(length, *parts):
    """[1, length] bool, True in these ranges."""
    found = np.zeros([1, length], bool)
    for first, last in parts:
        found[0, first:last] = True
    return found


def test_disc_is_right():
    fork = np.zeros([64, 64, 1], np.uint8)
    fork[30:34, 40:60] = fork[32, 4:40] = 1
    assert is_disc_right(fork) and not is_disc_right(fork[:, ::-1])
    assert not is_disc_right(np.zeros([64, 64, 1], np.uint8))
    for index in range(8):
        is_right = vessels.draw_anatomy(index).disc[0] > vessels.CENTRE[0]
        assert is_disc_right(fundus.draw_fundus(index).mask) == is_right, index


def test_disc_place():
    fork = np.zeros([64, 64, 1], np.uint8)
    fork[30:34, 40:60] = fork[32, 4:40] = 1
    row, column = find_disc(fork)
    assert 29 <= row <= 34 and 42 <= column <= 58
    assert len(find_disc(np.zeros([64, 64, 1], np.uint8))) == 2
    for index in range(8):
        (row, column), disc = find_disc(fundus.draw_fundus(index).mask), vessels.draw_anatomy(index).disc
        assert np.hypot(row - disc[1], column - disc[0]) < 0.1 * vessels.WIDTH, index
