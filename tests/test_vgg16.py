import json

import numpy as np
import pytest

from synthmed_tf.networks import vgg16_network
from synthmed_tf.papers import vgg16
from synthmed_tf.sample import InputError
from synthmed_tf.training import loop


def make_textures(count, seed):
    """(images, classes): in turn smooth slopes, class 0, and rough ones, class 1."""
    rng = np.random.default_rng(seed)
    classes = np.arange(count) % 2
    noise = rng.normal(0, 1, (count, 32, 32, 1)) * np.where(classes, 0.15, 0.01)[:, None, None, None]
    slopes = np.linspace(0.3, 0.6, 32)[:, None, None] + noise
    return (np.clip(slopes, 0, 1) * 255).astype(np.uint8), classes


def test_vgg16_is_that_of_keras_with_a_small_head():
    model = vgg16_network.vgg16((32, 48, 3), 2, [100.0] * 3, [50.0] * 3)
    assert model.count_params() == 14_714_688 + 2 * 512 + 2  # Keras's without the top, and the head
    grey = vgg16_network.vgg16((32, 32, 1), 3, [100.0], [50.0])
    assert grey.output_shape == (None, 3) and grey.count_params() == 14_714_688 - 2 * 9 * 64 + 3 * 512 + 3
    kernel = grey.get_layer("vgg16").get_layer("block3_conv2").kernel.numpy()
    assert kernel.std() == pytest.approx(np.sqrt(2 / (9 * 256)), rel=0.02)  # He et al. 2015
    with pytest.raises(InputError, match="32 pixels a side or more, these have 16 x 64"):
        vgg16_network.vgg16((16, 64, 3), 2, [0.0] * 3, [1.0] * 3)


def test_pretrained_weights_are_taken_and_others_refused(tmp_path):
    from tensorflow.keras.applications import VGG16
    from tensorflow.keras.applications.vgg16 import preprocess_input

    theirs = VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    theirs.save_weights(tmp_path / "notop.h5")
    model = vgg16_network.vgg16((32, 32, 1), 2, [0.0], [1.0], tmp_path / "notop.h5")
    image = np.random.default_rng(0).uniform(0, 255, [1, 32, 32, 1]).astype(np.float32)
    features = theirs(preprocess_input(np.repeat(image, 3, 3))).numpy().mean((1, 2))
    head = model.get_layer("logits")
    np.testing.assert_allclose(model(image), features @ head.kernel.numpy(), rtol=1e-4, atol=1e-5)
    (tmp_path / "holiday.h5").write_bytes(b"beach")
    with pytest.raises(InputError, match="holiday.h5: not the weights of VGG16") as caught:
        vgg16_network.vgg16((32, 32, 3), 2, [0.0] * 3, [1.0] * 3, tmp_path / "holiday.h5")
    assert "\n" not in str(caught.value)


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
    learn, check = make_textures(32, 0), make_textures(8, 1)
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
