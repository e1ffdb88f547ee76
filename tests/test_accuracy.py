"""Scores against scikit-learn, the bootstrap against a closed form, and P2's table 3."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score

from synthmed_tf.metrics import accuracy, bootstrap

P2_TABLE_3 = [  # accuracy trained on real, on artificial images, drop in % as printed
    (0.96, 0.93, 3.12), (0.94, 0.87, 7.45), (0.90, 0.85, 5.56), (0.93, 0.86, 7.53),
    (0.90, 0.88, 2.22), (0.84, 0.78, 7.14), (0.82, 0.74, 9.76), (0.83, 0.72, 13.25),
    (0.86, 0.83, 3.49), (0.80, 0.73, 8.75), (0.79, 0.71, 10.13), (0.80, 0.70, 12.50),
]  # fmt: skip  # fmt: skip


def made(classes, count=60, seed=0):
    """Probabilities with ties that say something about the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(classes, size=count)
    values = np.round(rng.random([count, classes]) + 0.5 * (truth[:, None] == np.arange(classes)), 1)
    return values / values.sum(1, keepdims=True), truth


@pytest.mark.parametrize("classes", [2, 3])
def test_scores_are_those_of_scikit_learn(classes):
    values, truth = made(classes)
    found = accuracy.score(values, truth)
    assert found["accuracy"] == pytest.approx(accuracy_score(truth, values.argmax(1)))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, values.argmax(1)))
    auc = roc_auc_score(truth, values[:, 1]) if classes == 2 else roc_auc_score(truth, values, multi_class="ovr")
    assert found["auc"] == pytest.approx(auc)


def test_weighted_scores_are_those_of_scikit_learn():
    values, truth = made(2)
    weights = np.random.default_rng(1).integers(0, 4, size=[5, 60])
    found = accuracy.score(values, truth, weights)
    for draw, weight in enumerate(weights):
        assert found["accuracy"][draw] == pytest.approx(accuracy_score(truth, values.argmax(1), sample_weight=weight))
        assert found["balanced_accuracy"][draw] == pytest.approx(
            balanced_accuracy_score(truth, values.argmax(1), sample_weight=weight)
        )
        assert found["auc"][draw] == pytest.approx(roc_auc_score(truth, values[:, 1], sample_weight=weight))


def test_a_missing_class_leaves_scores_undefined():
    found = accuracy.score([[0.2, 0.8], [0.9, 0.1]], [1, 1])
    assert found["accuracy"] == 0.5 and np.isnan(found["auc"]) and np.isnan(found["balanced_accuracy"])


@pytest.mark.parametrize("values, truth", [([[0.2, 0.8]], [0, 1]), ([0.2, 0.8], [0, 1]), (np.empty([0, 2]), [])])
def test_scores_of_what_does_not_fit(values, truth):
    with pytest.raises(ValueError, match="expected"):
        accuracy.score(values, truth)


def test_the_interval_of_an_accuracy_is_the_binomial_one(monkeypatch):
    monkeypatch.setattr(bootstrap, "DRAWS", 4000)
    truth = np.zeros(400, int)
    values = np.eye(2)[(np.arange(400) % 4 == 0).astype(int)]  # three in four right
    low, high = bootstrap.compute_interval(accuracy.score_draws([values], truth, seed=0)["accuracy"])
    half = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert (low, high) == (pytest.approx(0.75 - half, abs=0.006), pytest.approx(0.75 + half, abs=0.006))


def test_images_of_one_patient_are_drawn_together():
    """Ten alike images a patient tell no more than one: the interval is that of the patients."""
    values, truth = made(2, 40)
    alone = accuracy.score_draws([values], truth, seed=3)
    repeated = accuracy.score_draws(
        [np.repeat(values, 10, 0)], np.repeat(truth, 10), np.repeat(np.arange(40), 10), seed=3
    )
    for metric in accuracy.METRICS:
        np.testing.assert_allclose(repeated[metric], alone[metric])
    names = [f"patient {index}" for index in np.repeat(np.arange(40), 10)]
    named = accuracy.score_draws([np.repeat(values, 10, 0)], np.repeat(truth, 10), names, seed=3)
    assert np.std(named["accuracy"]) == pytest.approx(np.std(alone["accuracy"]), rel=0.1)


def test_runs_are_averaged_draw_by_draw():
    values, truth = made(2)
    right, wrong = np.eye(2)[truth], np.eye(2)[1 - truth]
    assert bootstrap.compute_interval(accuracy.score_draws([right, wrong], truth)["accuracy"]) == [0.5, 0.5]
    assert bootstrap.compute_interval(np.full(3, np.nan)) is None


@pytest.mark.parametrize("real, synthetic, printed", P2_TABLE_3)
def test_relative_drop_of_p2_table_3(real, synthetic, printed):
    assert 100 * accuracy.relative_drop(real, synthetic) == pytest.approx(printed, abs=0.0051)


def test_relative_drop_of_nothing_and_of_a_gain():
    assert not np.isfinite(accuracy.relative_drop(0.0, 0.5)) and accuracy.relative_drop(0.5, 0.6) == pytest.approx(-0.2)
