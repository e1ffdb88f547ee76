import numpy as np
import pytest

from synthmed_tf.metrics import near_copies


def test_near_copies_by_chance_in_closed_form():
    rng = np.random.default_rng(2)
    assert near_copies.estimate_chance(rng.random((9, 5)), range(9)) == pytest.approx(1 / 10)
    pairs = rng.random((9, 9))
    pairs = np.where(np.eye(9, dtype=bool), -1, pairs + pairs.T)
    assert near_copies.estimate_chance(pairs, range(9), among=True) == pytest.approx(2 / 10)
    # Three images of each patient that are all but the same count for one
    groups = np.repeat(range(3), 3)
    assert near_copies.estimate_chance(np.repeat(rng.random((3, 5)), 3, 0), groups) == pytest.approx(1 / 4)
    pairs = np.repeat(np.repeat([[-1, 0.5, 0.3], [0.5, -1, 0.2], [0.3, 0.2, -1]], 3, 0), 3, 1)
    assert near_copies.estimate_chance(pairs, groups, among=True) == pytest.approx(2 / 4)


def test_in_one_set_of_twenty_more_are_near_copies_than_at_most_by_chance():
    rng = np.random.default_rng(0)
    control, others = rng.random((4000, 20)).max(1), rng.random((4000, 300))
    shares = np.mean(others > control[:, None], axis=1)
    assert np.mean(shares > near_copies.bound_chance(1 / 21)) == pytest.approx(0.05, abs=0.01)
    assert np.mean(shares) == pytest.approx(1 / 21, rel=0.05) and np.mean(shares > 1 / 21) > 0.3
    assert near_copies.bound_chance(0) == 0 and near_copies.bound_chance(0.5) == pytest.approx(0.95)


@pytest.mark.parametrize("among", [False, True])
def test_near_copies_by_chance_are_as_many_as_other_patients_have(among):
    rng, groups = np.random.default_rng(5), np.repeat(range(6), 4)
    expected, found = [], []
    for _ in range(500):
        patient = rng.normal(size=(7, 3))
        faces = patient[[*groups, 6]] + 0.5 * rng.normal(size=(25, 3))  # six patients of four images, one of one
        other = faces[:24] if among else rng.normal(size=(5, 3))
        alike = -np.linalg.norm(faces[:, None] - other, axis=-1) / 100
        control = np.where(np.equal.outer(groups, groups), -1, alike[:24]) if among else alike[:24]
        found.append(alike[24].max() > control.max())
        expected.append(near_copies.estimate_chance(control, groups, among))
    assert np.mean(expected) == pytest.approx(np.mean(found), abs=0.05)
