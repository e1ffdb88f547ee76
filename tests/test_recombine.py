import numpy as np
import pytest

from synthmed_tf.datasets.phantoms import fundus, vessels
from synthmed_tf.smalldata.recombine import find_disc, is_disc_right, recombine


def draw_lines(*discs, side=40):
    """Fields of eyes whose vessels are one line through the disc's column, and their discs.

    A line is 1 above the disc's row and 0.5 below, a tenth less for each further eye; each has its own field of view.
    """
    fields = np.full([len(discs), side, side, 2], -1.0, np.float32)
    for number, (row, column) in enumerate(discs):
        fields[number, :row, column, 0] = 1 - number / 10
        fields[number, row:, column, 0] = 0.5 - number / 10
        fields[number, ..., 1] = np.arange(side)[:, None] + number
    return fields, np.array(discs)


@pytest.mark.parametrize("second", [(18, 12), (21, 8)])
def test_recombined_eyes_have_one_upper_half_and_another_lower_half_whose_discs_meet(second):
    fields, discs = draw_lines((20, 10), second)
    before = fields.copy()
    recombined = np.stack([recombine(fields, discs, np.array([0]), [0, index])[0] for index in range(40)])
    assert (np.delete(recombined[..., 0], 10, 2) == -1).all() and (recombined[..., 1] == fields[0, ..., 1]).all()
    halves = [np.unique(recombined[:, rows, 10, 0].round(3), axis=1)[:, 0] for rows in (slice(4, 17), slice(23, 36))]
    values = {tuple(np.float64(pair).round(3)) for pair in zip(*halves)}
    # One half of the first eye, where it was, and either half of the second
    assert values == {(1.0, 0.4), (1.0, 0.9), (0.4, 0.5), (0.9, 0.5)}
    assert (fields == before).all()


def test_recombined_eyes_are_a_function_of_the_seed_and_never_of_one_eye_twice():
    fields, discs = draw_lines((20, 10), (20, 10), (20, 10))
    chosen = np.arange(3).repeat(20)
    recombined = recombine(fields, discs, chosen, [0, 1])
    assert (recombined == recombine(fields, discs, chosen, [0, 1])).all()
    assert (recombined != recombine(fields, discs, chosen, [0, 2])).any()
    halves = np.array([[1.0, 0.5], [0.9, 0.4], [0.8, 0.3]], np.float32)  # above and below
    values = recombined[:, [10, 30], 10, 0]
    own = (values[..., None] == halves[chosen][:, None]).any(2)
    assert (own.sum(1) == 1).all() and ((values == halves[chosen]) == own).all()
    assert [len(np.unique(row)) for row in values.T] == [6, 6]


def test_halves_meet_where_the_fewest_vessels_are():
    fields, discs = draw_lines((20, 10), (20, 10), side=41)
    fields[:, 18:23, 12:, 0] = 1.0
    fields[:, 22, 12:, 0] = fields[:, 18, 12:, 0] = -1.0
    columns = [recombine(fields, discs, np.array([0]), [0, index])[0, :, 10, 0] for index in range(8)]
    is_second = [np.isin(np.float64(column).round(3), (0.4, 0.9)) for column in columns]
    below = np.arange(41) >= 18
    assert {tuple(rows) for rows in is_second} == {tuple(below), tuple(~below)}


@pytest.mark.parametrize("other", [(20, 20), (9, 10)])
def test_eyes_whose_discs_are_far_from_all_others_stay_whole(other):
    """Upside down the second one's lies in row 19 or 30."""
    fields, discs = draw_lines((20, 10), other)
    chosen = np.array([0, 1]).repeat(8)
    assert (recombine(fields, discs, chosen, [0, 1]) == fields[chosen]).all()


def draw_fork():
    fork = np.zeros([64, 64, 1], np.uint8)
    fork[30:34, 40:60] = fork[32, 4:40] = 1
    return fork


def test_the_disc_is_where_vessels_are_thickest():
    assert is_disc_right(draw_fork()) and not is_disc_right(draw_fork()[:, ::-1])
    assert not is_disc_right(np.zeros([64, 64, 1], np.uint8))
    row, column = find_disc(draw_fork())
    assert 29 <= row <= 34 and 42 <= column <= 58
    assert len(find_disc(np.zeros([64, 64, 1], np.uint8))) == 2


def test_the_disc_of_made_eyes_is_where_it_was_drawn():
    for index in range(8):
        mask, disc = fundus.draw_fundus(index).mask, vessels.draw_anatomy(index).disc
        assert is_disc_right(mask) == (disc[0] > vessels.CENTRE[0]), index
        row, column = find_disc(mask)
        assert np.hypot(row - disc[1], column - disc[0]) < 0.1 * vessels.WIDTH, index
