"""The laws that the vessels of fundus phantoms obey."""

import math

import numpy as np
import pytest

from synthmed_tf.datasets.phantoms import vessels


@pytest.mark.parametrize("ratio", [0.05, 0.3, 0.6, 1.0])
def test_murray_angles_balance_the_tensions(ratio):
    # a branching costs least where three tensions proportional to r^2 (work per length) are in equilibrium
    first = (1 / (1 + ratio**3)) ** (1 / 3)
    second = ratio * first
    a, b = vessels.compute_murray_angles(1.0, first, second)
    assert first**2 * math.cos(a) + second**2 * math.cos(b) == pytest.approx(1.0, abs=1e-9)
    assert first**2 * math.sin(a) == pytest.approx(second**2 * math.sin(b), abs=1e-6)


def test_murray_angles_of_equal_daughters_are_37_5_degrees():
    half = 2 ** (-1 / 3)
    assert np.degrees(vessels.compute_murray_angles(1.0, half, half)) == pytest.approx([37.467, 37.467], abs=1e-2)


@pytest.mark.parametrize("index", [0, 1, 7, 23, 39])
def test_every_branching_obeys_murray(index):
    branches = vessels.grow_vessels(index)
    daughters = {}
    for branch in branches:
        if branch.parent >= 0:
            daughters.setdefault(branch.parent, []).append(branch)
    assert len(daughters) > 20
    for parent, pair in ((branches[number], pair) for number, pair in daughters.items()):
        assert len(pair) == 2
        assert sum(branch.radius**3 for branch in pair) == pytest.approx(parent.radius**3, rel=1e-9)
        before = parent.points[-1] - parent.points[-2]
        turns = []
        for branch in pair:
            assert branch.kind == parent.kind
            np.testing.assert_array_equal(branch.points[0], parent.points[-1])
            after = branch.points[1] - branch.points[0]
            turns.append(math.atan2(before[0] * after[1] - before[1] * after[0], before @ after))
        assert turns[0] * turns[1] < 0, "the daughters leave on opposite sides"
        expected = vessels.compute_murray_angles(parent.radius, pair[0].radius, pair[1].radius)
        assert np.abs(turns) == pytest.approx(expected, abs=1e-6)


def test_vessels_start_in_the_disc_and_thin_to_a_pixel():
    for index in range(5):
        eye, branches = vessels.draw_anatomy(index), vessels.grow_vessels(index)
        roots = [branch for branch in branches if branch.parent < 0]
        assert {branch.kind for branch in roots} == {"artery", "vein"}
        assert all(np.hypot(*(branch.points[0] - eye.disc)) < eye.disc_radius for branch in roots)
        widest = {kind: max(b.radius for b in roots if b.kind == kind) for kind in ("artery", "vein")}
        assert widest["artery"] < widest["vein"]
        radii = [branch.radius for branch in branches]
        assert vessels.THINNEST - 1e-9 <= min(radii) < 0.6 and max(radii) > 1.5


def test_both_eyes_occur():
    right = sum(vessels.draw_anatomy(index).side == 1 for index in range(40))
    assert 10 <= right <= 30
