import types

import numpy as np
import pytest
import tensorflow as tf

from synthmed_tf.networks import flow as flow_network
from synthmed_tf.smalldata import refiner
from synthmed_tf.smalldata.flow import Flow

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setattr(flow_network, "CHANNELS", (8, 8))


def build_flow(classes):
    """A new flow of 64-pixel photographs that are white above and black below, or the reverse; and its Examples.

    Which of the two a photograph is says its class, where there are classes.
    """
    tf.keras.utils.set_random_seed(0)
    above = np.where(np.arange(64)[:, None, None] < 32, 1.0, -1.0) * np.ones([64, 64, 1])
    labels = np.eye(2, dtype=np.float32)[[0, 1] * 2]

    def batch(index):
        noise = np.random.default_rng(index).normal(0, 0.1, [4, 64, 64, 1])
        photographs = np.stack([above, -above] * 2) + noise
        return (photographs.astype(np.float32), *([labels] if classes else []))

    examples = types.SimpleNamespace(
        image_size=(64, 64), channels=1, target="image", classes=classes, batch=batch, show=lambda rows, key: rows
    )
    return Flow(examples), examples


def train(folder, steps, classes=2):
    model, examples = build_flow(classes)
    before = model.averaged.get_weights()
    network, result = refiner.train(folder, model, 0.5, examples, 0, steps)
    for old, new in zip(before, model.averaged.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    return network, result, examples


def test_the_refiner_makes_clean_photographs_of_noisy_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(refiner, "LEARNING_RATE", 4e-3)
    monkeypatch.setattr(refiner, "AVERAGE", 0.8)
    network, result, examples = train(tmp_path, 60)
    assert result["step"] == 60
    clean, *labels = examples.batch(10_000)
    noisy = 0.5 * clean + 0.5 * RNG.normal(size=clean.shape).astype(np.float32)
    refined = network([noisy, np.full(4, 0.5, np.float32), *labels]).numpy()
    assert np.abs(refined - clean).mean() < 0.4 * np.abs(noisy - clean).mean()


def test_a_refiner_trained_in_two_parts_has_the_bits_of_one_trained_at_once(tmp_path, eagerly):
    at_once, *_ = train(tmp_path / "a", 6, classes=0)
    train(tmp_path / "b", 2, classes=0)
    in_parts, result, _ = train(tmp_path / "b", 6, classes=0)
    for weights, expected in zip(in_parts.get_weights(), at_once.get_weights(), strict=True):
        np.testing.assert_array_equal(weights, expected)
    assert result["step"] == 6 and len(in_parts.inputs) == 2


def test_a_refiner_starts_as_the_flow(tmp_path, eagerly):
    model, examples = build_flow(0)
    network, _ = refiner.train(tmp_path, model, 0.5, examples, 0, 0)
    for weights, expected in zip(network.get_weights(), model.averaged.get_weights(), strict=True):
        np.testing.assert_array_equal(weights, expected)
