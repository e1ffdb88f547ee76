import json

import numpy as np
import pytest

from synthmed_tf.papers import vgg16
from synthmed_tf.training import loop


def draw_set(count, seed):
    """(images, classes): slopes, which are smooth, 0, and rough, 1, in turn."""
    rng, classes = np.random.default_rng(seed), np.arange(count) % 2
    slope = np.linspace(0.3, 0.6, 32)[:, None]
    images = [slope + rng.normal(0, 0.15 if is_rough else 0.01, [32, 32]) for is_rough in classes]
    return (np.clip(images, 0, 1)[..., None] * 255).astype(np.uint8), classes


def test_augmentation_mirrors_and_moves_a_little():
    image = np.arange(32 * 32, dtype=np.uint8).reshape(32, 32, 1)
    found = [vgg16._augment(image, np.random.default_rng(seed)) for seed in range(40)]
    straight = [each[8:24, 8:24] for each in found]
    possible = [
        part[8 + y : 24 + y, 8 + x : 24 + x]
        for part in (image, image[:, ::-1])
        for y in range(-2, 3)
        for x in range(-2, 3)
    ]
    assert all(any((each == part).all() for part in possible) for each in straight)
    assert len({each.tobytes() for each in found}) > 10


def test_mean_and_deviation_of_the_training_images():
    images = np.random.default_rng(0).integers(0, 2**16, [70, 8, 6, 3], dtype=np.uint16)
    mean, squares = (vgg16._mean_power(images, power) for power in (1, 2))
    pixels = images.reshape(-1, 3) / 257
    np.testing.assert_allclose(mean, pixels.mean(0), rtol=1e-5)
    np.testing.assert_allclose(np.sqrt(squares - mean**2), pixels.std(0), rtol=1e-5)


@pytest.mark.slow
def test_vgg16_learns_keeps_its_best_and_goes_on_with_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY", 3)
    learn, check = draw_set(32, 0), draw_set(8, 1)
    whole, result = vgg16.train(tmp_path / "whole", [learn], [check], 2, 6, seed=3)
    logged = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert result["step"] == 6 and result["validation_loss"] <= logged[-1]["validation"] + 1e-6
    chances = vgg16.predict(whole, check[0])
    assert -np.log(chances[np.arange(8), check[1]]).mean() == pytest.approx(result["validation_loss"], rel=1e-4)
    assert chances.sum(1) == pytest.approx(np.ones(8))

    run_step = loop._run

    def killed(strategy, step, index, arrays):
        if index == 4:
            raise KeyboardInterrupt
        return run_step(strategy, step, index, arrays)

    monkeypatch.setattr(loop, "_run", killed)
    with pytest.raises(KeyboardInterrupt):
        vgg16.train(tmp_path / "halves", [learn], [check], 2, 6, seed=3)
    monkeypatch.setattr(loop, "_run", run_step)
    resumed, _ = vgg16.train(tmp_path / "halves", [learn], [check], 2, 6, seed=3)
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        assert (a == b).all()
