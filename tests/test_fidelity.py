"""The comparison of a synthetic set with its floor of real against real."""

import numpy as np
import pytest

from synthmed_tf.metrics import fidelity, kid_fid, prdc
from synthmed_tf.metrics.features import standardise


def normal(count, dimensions=4, seed=0, shift=0.0):
    return np.random.default_rng(seed).normal(shift, 1, (count, dimensions))


def means(found, name):
    return {metric: found[metric][name]["mean"] for metric in fidelity.METRICS}


def test_floor_is_the_training_set_against_the_held_out_set():
    train, synthetic, held_out = normal(20), normal(100, seed=1, shift=0.5), normal(20, seed=2)
    found = fidelity.compare(train, synthetic, held_out)
    real, fake, reference = (standardise(x, np.concatenate([train, held_out])) for x in (train, synthetic, held_out))
    for name, candidate in (("real_vs_real", real), ("all_synthetic_vs_real", fake)):
        each = *prdc.precision_recall(reference, candidate), *prdc.density_coverage(reference, candidate)
        assert means(found, name) == pytest.approx(
            dict(zip(fidelity.METRICS, (*each, kid_fid.kid(reference, candidate))))
        )
        assert all(
            len(found[metric][name]["runs"]) == 1 and found[metric][name]["sd"] is None for metric in means(found, name)
        )
    assert found["protocol"]["reference"] == "held-out real set"
    assert (found["protocol"]["reference_size"], found["protocol"]["subset_size"]) == (20, 20)
    subsets = found["kid"]["synthetic_vs_real"]
    assert len(subsets["runs"]) == fidelity.SUBSETS == len(set(subsets["runs"]))
    assert subsets["mean"] == pytest.approx(np.mean(subsets["runs"]))
    assert subsets["sd"] == pytest.approx(np.std(subsets["runs"], ddof=1))


def test_floor_shrinks_to_a_smaller_synthetic_set():
    found = fidelity.compare(normal(30), normal(10, seed=1), normal(20, seed=2))
    assert (found["protocol"]["reference_size"], found["protocol"]["subset_size"]) == (20, 10)
    assert len(found["recall"]["real_vs_real"]["runs"]) == fidelity.SUBSETS
    assert len(found["recall"]["synthetic_vs_real"]["runs"]) == 1
    assert means(found, "synthetic_vs_real") == pytest.approx(means(found, "all_synthetic_vs_real"))


def test_without_a_held_out_set_halves_are_the_floor():
    real = normal(41)
    found = fidelity.compare(real, normal(200, seed=1, shift=1.0), seed=3)
    again, other = (fidelity.compare(real, normal(200, seed=1, shift=1.0), seed=seed) for seed in (3, 4))
    assert found == again != other
    assert found["protocol"]["reference"] == "random halves of the real set"
    assert (found["protocol"]["reference_size"], found["protocol"]["subset_size"]) == (20, 21)
    floor = means(found, "real_vs_real")
    assert abs(floor["kid"]) < 0.1 and floor["coverage"] == pytest.approx(0.9, abs=0.08)
    assert means(found, "synthetic_vs_real")["kid"] > 0.5
    assert means(found, "synthetic_vs_real")["coverage"] < floor["coverage"] - 0.2


def test_order_of_the_images_does_not_decide():
    train, held_out = normal(20), normal(20, seed=2)
    # 20 of the first 100 would do well
    sorted_set = np.concatenate([normal(100, seed=1), normal(100, seed=3, shift=9.0)])
    found = fidelity.compare(train, sorted_set, held_out)
    assert 0.3 < means(found, "synthetic_vs_real")["precision"] < 0.55
    assert np.std(found["precision"]["synthetic_vs_real"]["runs"]) > 0


def test_other_features_are_taken_as_they_are_and_have_an_fid():
    train, synthetic, held_out = normal(20), normal(30, seed=1, shift=0.5), normal(20, seed=2)
    described = {"name": "of a network", "description": "Numbers."}
    found = fidelity.compare(train, synthetic, held_out, features=described)
    assert found["protocol"]["features"] == described
    assert found["fid"]["real_vs_real"]["mean"] == pytest.approx(kid_fid.fid(held_out, train))
    assert found["fid"]["all_synthetic_vs_real"]["mean"] == pytest.approx(kid_fid.fid(held_out, synthetic))
    assert found["kid"]["real_vs_real"]["mean"] == pytest.approx(kid_fid.kid(held_out, train))
    assert len(found["fid"]["synthetic_vs_real"]["runs"]) == fidelity.SUBSETS
    assert "fid" not in fidelity.compare(train, synthetic, held_out)


def test_large_sets_are_thinned_at_random(monkeypatch):
    monkeypatch.setattr(fidelity, "MOST", 50)
    sorted_set = np.concatenate([normal(100, seed=1), normal(100, seed=3, shift=9.0)])
    found = fidelity.compare(normal(60), sorted_set, normal(60, seed=2))
    assert (found["protocol"]["reference_size"], found["protocol"]["subset_size"]) == (50, 50)
    assert 0.25 < means(found, "all_synthetic_vs_real")["precision"] < 0.65


@pytest.mark.parametrize("sizes", [(3, 50, 20), (20, 3, 20), (20, 50, 3), (7, 50, None)])
def test_without_neighbours_there_are_no_figures(sizes):
    sets = [None if size is None else normal(size, seed=size) for size in sizes]
    found = fidelity.compare(*sets)
    for metric in fidelity.METRICS:
        assert found[metric]["real_vs_real"] == {"mean": None, "sd": None, "runs": []}
