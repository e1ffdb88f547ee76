"""Precision, recall, density and coverage against hand counts, a slow search and closed forms."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from synthmed_tf.metrics import prdc


def column(*values):
    return np.array(values, float)[:, None]


def normal(count, dimensions=4, seed=0, shift=0.0):
    return np.random.default_rng(seed).normal(shift, 1, (count, dimensions))


def test_by_hand_in_one_dimension():
    # to the nearest neighbour: balls [-1, 1], [0, 2], [1, 5], [3, 17] and [-1.5, 4.5], [1.5, 7.5], [-7.5, 1.5]
    real, fake = column(0, 1, 3, 10), column(1.5, 4.5, -3)
    assert prdc.precision_recall(real, fake, k=1) == pytest.approx((2 / 3, 3 / 4))
    assert prdc.density_coverage(real, fake, k=1) == pytest.approx(((2 + 2 + 0) / 3, 3 / 4))


def test_borders_belong_to_the_balls():
    assert prdc.precision_recall(column(0, 2), column(4, 6), k=1) == (0.5, 0.5)
    assert prdc.density_coverage(column(0, 2), column(4, 6), k=1) == (0.5, 0.5)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_balls_agree_with_a_search_one_by_one(k):
    real, fake = normal(23), normal(31, seed=1, shift=0.5)
    radii = [NearestNeighbors(n_neighbors=k).fit(x).kneighbors()[0][:, -1] for x in (real, fake)]
    real_balls = np.array([[np.linalg.norm(x - y) <= r for y in fake] for x, r in zip(real, radii[0])])
    fake_balls = np.array([[np.linalg.norm(x - y) <= r for x in real] for y, r in zip(fake, radii[1])])
    expected = (np.mean([column.any() for column in real_balls.T]), np.mean([column.any() for column in fake_balls.T]))
    assert prdc.precision_recall(real, fake, k) == pytest.approx(expected)
    expected = (real_balls.sum() / (k * 31), np.mean([row.any() for row in real_balls]))
    assert prdc.density_coverage(real, fake, k) == pytest.approx(expected)


def test_identical_sets():
    real = normal(20)
    assert prdc.precision_recall(real, real) == (1.0, 1.0)
    density, coverage = prdc.density_coverage(real, real)
    assert density == pytest.approx(4 / 3)  # every ball holds its centre and its 3 neighbours
    assert coverage == 1.0
    assert prdc.precision_recall(real[[0] * 9], real[[0] * 9]) == (1.0, 1.0)  # balls of radius 0


def test_far_clusters():
    real, fake = normal(20), normal(30, seed=1, shift=100.0)
    assert prdc.precision_recall(real, fake) == prdc.density_coverage(real, fake) == (0.0, 0.0)


def test_collapsed_set_has_precision_but_no_recall_and_little_coverage():
    real = normal(20, 20)
    assert prdc.precision_recall(real, real[[4] * 50] + 1e-6) == (1.0, 0.0)
    assert prdc.density_coverage(real, real[[4] * 50] + 1e-6)[1] <= 0.5


@pytest.mark.parametrize("n, m, k", [(20, 20, 3), (12, 30, 2)])
def test_expected_values_for_two_samples_of_one_distribution(n, m, k):
    rng = np.random.default_rng(0)
    pairs = [(rng.normal(size=(n, 5)), rng.normal(size=(m, 5))) for _ in range(1500)]
    values = np.array([prdc.density_coverage(x, y, k) for x, y in pairs])
    missed = np.prod([(n - i) / (m + n - i) for i in range(1, k + 1)])
    error = values.std(axis=0) / np.sqrt(len(values))
    assert (np.abs(values.mean(axis=0) - [1, 1 - missed]) < 4 * error).all()


def test_figures_fall_with_the_distance():
    real = normal(200)
    shifted = [normal(200, seed=1, shift=shift) for shift in (0, 0.7, 1.4, 2.8)]
    figures = [(*prdc.precision_recall(real, x), *prdc.density_coverage(real, x)) for x in shifted]
    assert (np.diff(figures, axis=0) <= 0).all()  # recall keeps up at first: far fakes have wide balls
    assert (np.array(figures[-1]) < 0.15).all() and min(figures[0]) > 0.8


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="more than 3 images"):
        prdc.precision_recall(normal(9), normal(3))
    with pytest.raises(ValueError, match="more than 3 images"):
        prdc.density_coverage(normal(3), normal(9))
