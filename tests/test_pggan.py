"""papers/pggan.py: how it grows, its training step by hand, and a resumed run across a change of level."""

import functools
import json
import math
import types

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from synthmed_tf.networks.pggan import upscale
from synthmed_tf.papers import pggan
from synthmed_tf.papers.pggan import Growth, Settings
from synthmed_tf.sample import InputError, Sample
from synthmed_tf.training import batches, checkpoints, loop
from synthmed_tf.training.average import AVERAGE_EVERY
from synthmed_tf.training.examples import Examples

RNG = np.random.default_rng(0)
NAMES = "bright", "dark"
# Two levels, of 4 and 8 pixels, of four steps each, the first two of which fade the second one in
TINY = Settings(latent=4, width=1 / 64, batch_size=4, level_images=16, steps=8, average=0.9)


def draw_tiles(count=8):
    """Labelled noise of 8 x 8 pixels, bright or dark."""
    for index in range(count):
        label = NAMES[index % 2]
        image = RNG.integers(0, 60, [8, 8, 1]) + (180 if label == "bright" else 10)
        yield Sample(str(index), image.astype(np.uint8), label=label)


def examples_of(tiles):
    return Examples(tiles, [], "image", TINY.batch_size, 0, NAMES)


# ---------------------------------------------------------------- growth


def test_half_of_a_level_fades_it_in_and_what_is_left_over_trains_the_last():
    growth = Growth(levels=3, steps=4)
    assert [growth.at(step) for step in range(4)] == [(0, None)] * 4
    third, two_thirds = pytest.approx(1 / 3), pytest.approx(2 / 3)
    assert [growth.at(step) for step in range(4, 8)] == [(1, third), (1, two_thirds), (1, None), (1, None)]
    assert [growth.at(step) for step in (8, 10, 11, 12, 500)] == [(2, third), *[(2, None)] * 4]
    assert [step for step in range(30) if growth.begins(step)] == [0, 4, 8]
    assert [first for first, *_ in growth.phases()] == [0, 4, 6, 8, 10]
    assert Growth(3, 1).at(1) == (1, None)  # one step a level: nothing is faded


@pytest.mark.parametrize("steps", [1, 2, 5, 8])
def test_the_parts_of_a_training_follow_the_growth(steps):
    growth = Growth(3, steps)
    for step in range(3 * steps + 3):
        _, level, alpha = [phase for phase in growth.phases() if phase[0] <= step][-1]
        expected = growth.at(step)
        assert level == expected[0] and (alpha is None) == (expected[1] is None)
        if alpha:
            assert float(alpha(tf.constant(step, tf.int64))) == pytest.approx(expected[1])


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_parts_begin_where_karras_et_al_reset_their_optimisers(steps):
    """Published code, train.py: where the floor or the ceiling of lod, the level counted from the last one, changes."""
    growth = Growth(3, steps)
    levels = [level - 1 + (alpha or 1) for level, alpha in (growth.at(step) for step in range(3 * steps + 3))]
    lods = [2 - level for level in levels]
    resets = [
        step
        for step in range(1, len(lods))
        if math.floor(lods[step]) != math.floor(lods[step - 1]) or math.ceil(lods[step]) != math.ceil(lods[step - 1])
    ]
    assert [first for first, *_ in growth.phases()] == [0, *resets]


@pytest.mark.parametrize(("size", "levels"), [((64, 64), 5), ((64, 96), 5), ((256, 256), 7), ((96, 80), 5)])
def test_levels_follow_from_the_size_and_their_steps_from_the_images(size, levels):
    assert Growth.of(Settings(level_images=320, batch_size=16), size) == Growth(levels, 20)
    assert Growth.of(Settings(level_images=321, batch_size=16), size) == Growth(levels, 21)


def test_p2s_epochs_are_those_of_each_level():
    paper = pggan.make_p2_settings(3200, is_colour=False, is_conditional=False)
    assert Growth.of(paper, (64, 64)) == Growth(5, 30 * 100)
    assert pggan.set_steps(paper, (64, 64), is_given=False).steps == 5 * 30 * 100
    few = pggan.make_p2_settings(20, is_colour=False, is_conditional=False)
    assert Growth.of(few, (64, 64)) == Growth.of(Settings(), (64, 64)) == Growth(5, 2220)


def test_steps_in_all_go_to_the_levels_and_the_rest_to_the_last():
    settings = Settings(level_images=160, batch_size=16, steps=40)
    assert pggan.set_steps(settings, (64, 64), is_given=False).steps == 50  # as many as the levels take
    longer = Settings(level_images=160, batch_size=16, steps=70)
    for is_given in (False, True):
        assert pggan.set_steps(longer, (64, 64), is_given) == longer
    with pytest.raises(InputError, match="--steps=40: .* 5 levels of 10 steps .* after 46; .*--level_images=160 now"):
        pggan.set_steps(settings, (64, 64), is_given=True)
    least = Settings(level_images=160, batch_size=16, steps=46)
    assert pggan.set_steps(least, (64, 64), is_given=True) == least


# ---------------------------------------------------------------- one step, by hand


class FixedGenerator(tf.keras.Model):
    """Makes tanh(bias) at level 0 whatever z, and at level 1 its nearest enlargement, half as bright."""

    last_level = 1

    def __init__(self):
        super().__init__()
        self.bias = self.add_weight("bias", [2, 3, 1], initializer=tf.keras.initializers.RandomNormal(0, 1, seed=2))

    def call(self, inputs, level=1, alpha=None, training=None):
        (z,) = inputs
        image = tf.repeat(tf.tanh(self.bias)[None], tf.shape(z)[0], 0)
        return image if level == 0 else upscale(image) * (1.0 if alpha is None else alpha) / 2


class LinearCritic(tf.keras.Model):
    """Linear in the images of a level."""

    last_level = 1

    def __init__(self):
        super().__init__()
        initial = tf.keras.initializers.RandomNormal(0, 0.5, seed=3)
        self.w = [self.add_weight(f"w{level}", [6 * 4**level, 1], initializer=initial) for level in range(2)]

    def call(self, inputs, level=1, alpha=None, training=None):
        (x,) = inputs
        return tf.reshape(x, [-1, self.w[level].shape[0]]) @ self.w[level] * (1.0 if alpha is None else alpha)


def halve(x):
    return x.reshape(3, x.shape[1] // 2, 2, x.shape[2] // 2, 2, 1).mean((2, 4))


def double(x):
    return np.repeat(np.repeat(x, 2, 1), 2, 2)


@pytest.mark.parametrize(("level", "alpha"), [(0, None), (1, None), (1, 0.25)])
def test_a_step_is_the_algorithm_by_hand(level, alpha):
    generator, critic = FixedGenerator(), LinearCritic()
    bias, w = generator.bias.numpy(), critic.w[level].numpy()
    optimizers = {name: tf.keras.optimizers.SGD(1.0, jit_compile=False) for name in ("generator", "discriminator")}
    examples = types.SimpleNamespace(show=functools.partial(Examples.show, None))
    rows = np.concatenate([RNG.uniform(-1, 1, [3, 4, 6, 1]), np.ones([3, 4, 6, 1])], -1).astype(np.float32)
    fade = None if alpha is None else lambda number: tf.constant(alpha) * tf.cast(number, tf.float32) / 8
    step = pggan.make_step(generator, critic, optimizers, examples, Settings(latent=5), 4, level, fade)
    losses = step(tf.constant(8, tf.int64), rows)

    share = 1.0 if alpha is None else alpha
    real = rows[..., :1] if level else halve(rows[..., :1])
    if alpha is not None:
        real = (1 - alpha) * double(halve(real)) + alpha * real
    fake = np.repeat(np.tanh(bias)[None], 3, 0)
    fake = double(fake) * share / 2 if level else fake
    real, fake = real.reshape(3, -1), fake.reshape(3, -1)
    on_real, on_fake = share * real @ w, share * fake @ w
    expected = on_fake.mean() - on_real.mean() + 0.001 * np.square(on_real).mean()
    np.testing.assert_allclose(losses["discriminator"], expected, rtol=1e-4)
    np.testing.assert_allclose(losses["generator"], -on_fake.mean(), rtol=1e-4)
    norm = share * np.linalg.norm(w)
    to_w = share * (fake.mean(0) - real.mean(0) + 0.002 * (on_real * real).mean(0))[:, None]
    to_w += 10 * 2 * (norm - 1) * share * w / np.linalg.norm(w)  # of the penalty: 10 (norm - 1)^2
    np.testing.assert_allclose(critic.w[level], w - to_w, atol=2e-5)
    to_image = -share * w.reshape(1, *(2 * np.array([2, 3]) if level else (2, 3)), 1)
    to_bias = to_image if level == 0 else share / 2 * to_image.reshape(1, 2, 2, 3, 2, 1).sum((2, 4))
    np.testing.assert_allclose(generator.bias, bias - to_bias[0] * (1 - np.tanh(bias) ** 2), atol=2e-5)
    assert (critic.w[1 - level].numpy() == LinearCritic().w[1 - level].numpy()).all()  # the other level is as it was


def test_the_optimiser_is_that_of_karras_et_al():
    config = pggan.make_optimizer(Settings(), tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=[2])]))
    config = config.get_config()
    numbers = [float(config[name]) for name in ("learning_rate", "beta_1", "beta_2", "epsilon")]
    np.testing.assert_allclose(numbers, [1e-3, 0.0, 0.99, 1e-8], rtol=1e-6)


def test_an_optimiser_that_forgets_is_as_new():
    model = tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=[2], use_bias=False)])
    optimizer = pggan.make_optimizer(Settings(learning_rate=0.1), model)
    moves = []
    for _ in range(2):
        for gradient in ([[1.0], [-3.0]], [[0.5], [0.5]]):
            before = model.get_weights()[0]
            optimizer.apply_gradients([(tf.constant(gradient), model.trainable_variables[0])])
            moves.append(model.get_weights()[0] - before)
        pggan.forget(optimizer)
        assert int(optimizer.iterations) == 0 and float(optimizer.learning_rate) == pytest.approx(0.1)
    assert np.abs(moves[0]).min() > 0
    np.testing.assert_allclose(moves[:2], moves[2:], rtol=1e-3)


# ---------------------------------------------------------------- training


def test_it_forgets_at_both_ends_of_each_fade_and_its_average_is_as_long_from_the_start(tmp_path, monkeypatch):
    forgotten, averages = [], []
    monkeypatch.setattr(pggan, "forget", forgotten.append)

    def fit(folder, step, batch, state, steps, *, before, average, **_):
        for index in range(steps):
            count = len(forgotten)
            before(index)
            assert len(forgotten) - count == (2 if index in (0, 4, 6) else 0)  # generator and discriminator
        averages.append((float(average.decay), average.is_short_at_first))
        return {"step": steps}

    monkeypatch.setattr(loop, "fit", fit)
    monkeypatch.setattr(checkpoints, "restore_sampler", lambda *_: {"sampled_step": 8, "sampler": "prefix"})
    pggan.train(tmp_path, examples_of(list(draw_tiles())), TINY, 0, watch=lambda *_: None)
    assert averages == [(pytest.approx(0.9**AVERAGE_EVERY), False)]


class Killed(Exception):
    pass


def train_until(kill_at, folder, tiles):
    """Trains; killed while it fetches the images of step `kill_at`, None: to the end."""
    draw = batches.draw_batch_indices

    def draw_or_die(count, batch_size, seed, step):
        if step == kill_at:
            raise Killed
        return draw(count, batch_size, seed, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "draw_batch_indices", draw_or_die)
        watch = lambda *_: lambda: ({"distance": 1.0}, "")  # noqa: E731
        return pggan.train(folder, examples_of(tiles), TINY, 0, watch=watch)


def test_a_run_killed_after_a_change_of_level_and_resumed_before_it_ends_with_the_same_bytes(
    tmp_path, monkeypatch, eagerly
):
    monkeypatch.setattr(loop, "SAVE_EVERY", 3)
    monkeypatch.setattr(checkpoints, "MEASURE_EVERY", 5)
    monkeypatch.setattr("synthmed_tf.training.average.AVERAGE_EVERY", 2)
    tiles = list(draw_tiles())
    whole, result = train_until(None, tmp_path / "whole", tiles)
    with pytest.raises(Killed):
        train_until(5, tmp_path / "killed", tiles)  # the second level begins with step 4
    resumed, result_of_resumed = train_until(None, tmp_path / "killed", tiles)
    for run in (result, result_of_resumed):
        assert run["step"] == run["sampled_step"] == 8
    digests = {checkpoints.hash_checkpoint(run["checkpoint"]) for run in (result, result_of_resumed)}
    assert len(digests) == 1  # of generator, average, discriminator and both optimisers
    assert (whole.draw(range(4), 1) == resumed.draw(range(4), 1)).all() and whole.draw([0], 1).shape == (1, 8, 8, 1)

    sheets = [np.asarray(Image.open(tmp_path / name / "growth.png")) for name in ("whole", "killed")]
    assert (sheets[0] == sheets[1]).all() and sheets[0].shape == (2 * 8 + 2, 8 * 8 + 7 * 2)
    first = sheets[0][:8, :8]
    assert (first.reshape(4, 2, 4, 2) == first[::2, ::2][:, None, :, None]).all()  # 4 x 4 pixels, enlarged
    logged = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in logged if "distance" in line] == [8]  # a network that still grows is not sampled
    assert sorted(path.name for path in (tmp_path / "whole" / "samplers").glob("*.index")) == ["ckpt-8.index"]


@pytest.mark.parametrize("channels", [1, 3])
def test_growth_png_has_a_row_a_level_and_last_the_newest(tmp_path, channels):
    rows = RNG.integers(0, 256, [3, 8, 78, channels], np.uint8)
    for level, row in enumerate(rows[:2]):
        pggan.save_row(tmp_path, level, row)
    pggan.save_picture(tmp_path, 3, rows[2])
    sheet = np.asarray(Image.open(tmp_path / "growth.png")).reshape(-1, 78, channels)
    assert sheet.shape == (3 * 8 + 2 * 2, 78, channels)
    for place, row in enumerate(rows):
        assert (sheet[10 * place : 10 * place + 8] == row).all()
