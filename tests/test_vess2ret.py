"""papers/vess2ret.py: its two steps by hand, their turns, and what paints."""

import linear_networks
import numpy as np
import pytest
import tensorflow as tf
from linear_networks import build_discriminator, build_generator, sigmoid, softplus, wedge

from synthmed_tf.images import pixels
from synthmed_tf.papers import vess2ret
from synthmed_tf.sample import Sample
from synthmed_tf.training import checkpoints, loop
from synthmed_tf.training.pairs import Pairs

SEED, STEP = 4, 3


def is_same(before, after):
    return all((old == new).all() for old, new in zip(before, after, strict=True))


def test_the_discriminator_learns_from_fakes_of_other_masks_made_without_dropout():
    generator, discriminator = build_generator(has_dropout=True), build_discriminator()
    others, real = linear_networks.draw_stack(0), linear_networks.draw_stack(1)
    before = generator.get_weights()
    (a, c), (w, b) = before, [value.copy() for value in discriminator.get_weights()]
    step, _ = vess2ret.make_steps(generator, discriminator, linear_networks.sgd(), vess2ret.Settings(), SEED)

    losses = step(tf.constant(STEP, tf.int64), others, real)

    mask, other = ((stack[..., 3:] > 0).reshape(-1, 1) * 1.0 for stack in (real, others))
    shown = np.concatenate([mask, real[..., :3].reshape(-1, 3)], -1), np.concatenate([other, other @ a[0, 0] + c], -1)
    on_real, on_fake = (pairs @ w[0, 0] + b for pairs in shown)
    assert losses.keys() == {"discriminator"}
    assert float(losses["discriminator"]) == pytest.approx((softplus(-on_real).mean() + softplus(on_fake).mean()) / 2)
    gradient = (sigmoid(on_fake) * shown[1] - sigmoid(-on_real) * shown[0]).mean(0) / 2
    np.testing.assert_allclose(discriminator.get_weights()[0][0, 0, :, 0], w[0, 0, :, 0] - gradient, atol=1e-5)
    assert is_same(before, generator.get_weights())


@pytest.mark.parametrize("l1", [10.0, 1.0])
def test_the_generator_learns_with_dropout_against_a_discriminator_that_stays(l1):
    generator, discriminator = build_generator(has_dropout=True), build_discriminator()
    generator.trainable_variables[1].assign([0.1, -0.2, 0.3])
    before, pairs = discriminator.get_weights(), linear_networks.draw_stack(0)
    (w, b), (a, c) = before, [value.copy() for value in generator.get_weights()]
    mask, photograph = (pairs[..., 3:] > 0) * np.float32(1), pairs[..., :3]
    _, key = loop.draw_keys(SEED, tf.constant(STEP, tf.int64))
    fake = generator([mask, key[None]], training=True).numpy()
    is_kept = fake != 0  # dropped values are 0, others twice as large
    assert 0.4 < is_kept.mean() < 0.6
    _, step = vess2ret.make_steps(generator, discriminator, linear_networks.sgd(), vess2ret.Settings(l1=l1), SEED)

    losses = step(tf.constant(STEP, tf.int64), pairs)

    logits = np.concatenate([mask, fake], -1) @ w[0, 0] + b
    assert losses.keys() == {"adversarial", "l1"}
    assert float(losses["adversarial"]) == pytest.approx(softplus(-logits).mean(), rel=1e-5)
    assert float(losses["l1"]) == pytest.approx(np.abs(photograph - fake).mean(), rel=1e-5)
    to_fake = -sigmoid(-logits) * w[0, 0, 1:, 0] / logits.size + l1 * np.sign(fake - photograph) / fake.size
    to_fake = (2 * is_kept * to_fake).reshape(-1, 3)
    new_a, new_c = generator.get_weights()
    np.testing.assert_allclose(new_a[0, 0], a[0, 0] - mask.reshape(-1, 1).T @ to_fake, atol=1e-5)
    np.testing.assert_allclose(new_c, c - to_fake.sum(0), atol=1e-5)
    assert is_same(before, discriminator.get_weights())


def draw_pairs(count, batch_size=1):
    """Pairs of 8 pixels whose photographs have the grey level of their number."""
    masks = [np.roll(wedge(8, 8), index, 0) for index in range(count)]
    real = [Sample(str(i), np.full([8, 8, 3], i, np.uint8), mask) for i, mask in enumerate(masks)]
    return Pairs(real, batch_size, SEED)


def train(folder, generator, settings, pairs):
    """vess2ret.train with linear networks, measured after each step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "MEASURE_EVERY", 1)
        patch.setattr(vess2ret, "build", lambda *_: (generator, build_discriminator()))
        return vess2ret.train(folder, pairs, settings, SEED, watch=lambda _: lambda: ({"distance": 0.0}, ""))


def test_networks_learn_in_turn(tmp_path, monkeypatch):
    fitted = []
    monkeypatch.setattr(vess2ret, "IN_TURN", 3)
    monkeypatch.setattr(loop, "fit", lambda *arguments, **_: fitted.append(arguments) or {})
    monkeypatch.setattr(checkpoints, "restore_sampler", lambda *_: {"sampled_step": 20, "sampler": "ckpt-20"})
    train(tmp_path, build_generator(), vess2ret.Settings(steps=20), draw_pairs(2))
    (_, steps, batch, _, count), of_discriminator = fitted[0], []
    for index in range(count):
        losses = loop.choose_step(steps, index)(tf.constant(index, tf.int64), *batch(index))
        of_discriminator.append("discriminator" in losses)
    assert of_discriminator == [index // 3 % 2 == 0 for index in range(20)]


def test_an_epoch_shows_the_generator_each_pair_once_and_the_discriminator_twice(monkeypatch):
    monkeypatch.setattr(vess2ret, "IN_TURN", 3)
    pairs, shown = draw_pairs(8, batch_size=2), {True: [], False: []}
    batch = vess2ret.make_batch(pairs, 2)
    for index in range(24):
        arrays, is_discriminators = batch(index), index // 3 % 2 == 0
        assert [array.shape for array in arrays] == [(2, 8, 8, 4)] * (2 if is_discriminators else 1)
        numbers = [round((pair[0, 0, 0] + 1) * 127.5) for array in arrays for pair in array]
        masks = np.concatenate([array[..., 3:] for array in arrays])
        assert (masks == pairs.masks[numbers]).all()
        shown[is_discriminators].append(numbers)
    assert all(sorted(sum(shown[True][i : i + 2], [])) == list(range(8)) for i in range(0, 12, 2))
    assert all(sorted(sum(shown[False][i : i + 4], [])) == list(range(8)) for i in range(0, 12, 4))


def test_photographs_are_painted_without_dropout_by_the_last_weights(tmp_path, monkeypatch, eagerly):
    monkeypatch.setattr(vess2ret, "IN_TURN", 1)
    generator, mask = build_generator(has_dropout=True), wedge(8, 8)
    paint, result = train(tmp_path, generator, vess2ret.Settings(steps=4, learning_rate=0.1), draw_pairs(2))
    assert result["step"] == result["sampled_step"] == 4
    assert result["sampler"] == str(tmp_path / "samplers" / "ckpt-4")
    a, c = generator.get_weights()
    photograph = paint(mask, 0)
    assert photograph.dtype == np.uint8
    expected = pixels.to_uint8(mask * a[0, 0, 0] + c)
    assert np.abs(photograph.astype(int) - expected).max() <= 1
    assert (paint(mask > 0, 5) == photograph).all()


def test_two_replicas_with_half_a_batch_each_do_the_same_steps(tmp_path):
    linear_networks.check_replicas("vess2ret", tmp_path)


def test_adam_is_that_of_the_paper_with_the_epsilon_of_its_framework():
    optimizer = vess2ret.make_optimizer(vess2ret.Settings(), build_generator())
    assert isinstance(optimizer, tf.keras.optimizers.Adam) and float(optimizer.learning_rate) == pytest.approx(2e-4)
    assert (optimizer.beta_1, optimizer.beta_2) == (0.5, 0.999)
    settings = vess2ret.Settings(learning_rate=1.0)
    linear_networks.check_epsilon(lambda model: vess2ret.make_optimizer(settings, model), 1e-8)


def test_steps_are_epochs_of_both_networks_unless_given_and_fewer_than_the_papers_are_told(capsys):
    assert vess2ret.set_steps(vess2ret.Settings(), 600).steps == vess2ret.PAPER_STEPS and not capsys.readouterr().out
    assert vess2ret.set_steps(vess2ret.Settings(batch_size=3), 20).steps == 1334  # 100 * 20 / 3 of each, rounded up
    assert "1,334 steps" in (told := capsys.readouterr().out) and "--steps=120000" in told
    assert vess2ret.set_steps(vess2ret.Settings(steps=7), 600).steps == 7
