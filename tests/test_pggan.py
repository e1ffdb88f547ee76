"""PGGAN: its layers against closed forms, its growth, its training step by hand,
and a resumed run across a change of level.
"""

import json
import math

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from synthmed_tf import flags, losses
from synthmed_tf.networks import pggan
from synthmed_tf.sample import InputError, Sample
from synthmed_tf.training import batches, calibration, checkpoints, growth, loop, stage1

RNG = np.random.default_rng(0)
WIDTH = 1 / 64  # 8 feature maps


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


# ---------------------------------------------------------------- layers


@pytest.mark.parametrize("gain", [2**0.5, 1.0])
def test_equalised_dense_layer_is_scaled_by_hes_constant_at_run_time(gain):
    layer, x = pggan.EqualizedDense(400, gain), normal(300, 50)
    found = layer(x).numpy()
    kernel = layer.kernel.numpy()
    assert abs(kernel.std() - 1) < 0.02 and abs(kernel.mean()) < 0.03  # N(0, 1), whatever the size
    np.testing.assert_allclose(found, x @ kernel * gain / 50**0.5, atol=1e-4)
    assert abs(found.std() - gain) < 0.05 * gain  # inputs of variance 1 give outputs of variance gain^2
    layer.bias.assign_add(tf.fill([400], 2.0))
    np.testing.assert_allclose(layer(x), found + 2, atol=1e-4)


@pytest.mark.parametrize(("size", "resampling"), [(1, None), (3, None), (3, "up"), (3, "down")])
def test_equalised_convolution_is_a_scaled_one_after_upsampling_or_before_pooling(size, resampling):
    layer, inputs = pggan.EqualizedConv2D(7, size, 1.5, resampling), normal(2, 6, 4, 5)
    found = layer(inputs)
    x = np.repeat(np.repeat(inputs, 2, 1), 2, 2) if resampling == "up" else inputs
    expected = tf.nn.conv2d(x, layer.kernel * (1.5 / (5 * size**2) ** 0.5), 1, "SAME")
    if resampling == "down":
        expected = tf.nn.avg_pool2d(expected, 2, 2, "VALID")
    np.testing.assert_allclose(found, expected, atol=1e-5)
    layer.bias.assign_add(np.arange(7.0))
    np.testing.assert_allclose(layer(inputs), found + np.arange(7.0), atol=1e-5)


def test_pixel_norm_by_hand():
    x = np.float32([[[[3.0, 4.0]], [[0.0, 0.0]]]])
    np.testing.assert_allclose(pggan.pixel_norm(x)[0, 0, 0], [3 / 12.5**0.5, 4 / 12.5**0.5], rtol=1e-6)
    assert (pggan.pixel_norm(x)[0, 1, 0] == 0).numpy().all()
    np.testing.assert_allclose(np.square(pggan.pixel_norm(normal(5, 64))).mean(-1), 1, rtol=1e-5)


def test_up_and_down_are_nearest_and_average():
    x = normal(1, 4, 6, 2)
    up = pggan.upscale(x, 2).numpy()
    assert all((up[:, i::2, j::2] == x).all() for i in range(2) for j in range(2))
    np.testing.assert_allclose(pggan.downscale(up), x, atol=1e-6)
    np.testing.assert_allclose(pggan.downscale(x, 2)[0, 1, 2], x[0, 2:4, 4:6].mean((0, 1)), atol=1e-6)
    assert (pggan.upscale(x, 1) == x).all() and (pggan.downscale(x, 1) == x).all()
    np.testing.assert_allclose(pggan.faded(0.0, tf.constant(8.0), 0.25), 2.0)


def test_feature_maps_are_those_of_table_2():
    # 4 to 1024 pixels
    assert [pggan.features(level) for level in range(9)] == [512, 512, 512, 512, 256, 128, 64, 32, 16]
    assert pggan.features(-1) == 512 and pggan.features(0, 0.125) == 64 and pggan.features(8, 1 / 512) == 1


def test_parameters_of_the_first_levels_are_those_of_table_2():
    generator, discriminator = pggan.Generator((8, 8)), pggan.Discriminator((8, 8))
    conv, rgb = 9 * 512 * 512 + 512, 513
    assert generator.count_params() == 512 * 8192 + 512 + 3 * conv + 2 * rgb  # 4.2 M, three times 2.4 M
    assert discriminator.count_params() == 2 * conv + (conv + 9 * 512) + 8192 * 512 + 512 + 513 + 2 * 1024
    kernels = [weight.shape for weight in generator.trainable_variables if len(weight.shape) == 4]
    assert kernels.count((3, 3, 512, 512)) == 3 and kernels.count((1, 1, 512, 1)) == 2


# ---------------------------------------------------------------- networks


SIZES = [
    ((16, 16), (4, 4), 2),
    ((16, 24), (4, 6), 2),
    ((40, 32), (5, 4), 3),
    ((48, 80), (6, 10), 3),
    ((28, 28), (7, 7), 2),
]


@pytest.mark.parametrize(("size", "base", "last"), SIZES)
def test_every_level_doubles_the_size(size, base, last):
    generator, discriminator = pggan.Generator(size, 3, 5, 0, WIDTH), pggan.Discriminator(size, 3, 0, WIDTH)
    assert generator.last_level == discriminator.last_level == last
    for level in range(last + 1):
        images = generator(normal(4, 5), level=level)
        assert images.shape == (4, base[0] * 2**level, base[1] * 2**level, 3) and images.dtype == tf.float32
        assert images.shape[1:3] == pggan.level_size(size, level)
        assert discriminator(images, level=level).shape == (4, 1)
    assert (generator(normal(1, 5)).shape[1:3]) == size  # the last level, if none is said


@pytest.fixture(scope="module")
def networks():
    tf.keras.utils.set_random_seed(1)
    return pggan.Generator((16, 16), 2, 6, 3, WIDTH), pggan.Discriminator((16, 16), 2, 3, WIDTH)


ONE_HOT = np.eye(3, dtype=np.float32)


def test_the_first_level_is_that_of_the_paper_in_numpy(monkeypatch):
    generator, z = pggan.Generator((16, 24), 2, 5, 0, WIDTH), normal(3, 5)
    dense, (convolution,), to_image = generator.first, generator.blocks[0], generator.to_image[0]
    assert generator.first_bias.shape == convolution.bias.shape == (8,) and not dense.use_bias
    for variable in (generator.first_bias, convolution.bias, to_image.bias):
        variable.assign(normal(*variable.shape))
    seen, call = [], convolution.call
    monkeypatch.setattr(convolution, "call", lambda x: seen.append(x.numpy()) or call(x))

    def normalised(x):
        return x / np.sqrt(np.square(x).mean(-1, keepdims=True) + 1e-8)

    def activated(x):
        return normalised(np.where(x > 0, x, 0.2 * x))

    x = normalised(z) @ dense.kernel.numpy() * (2**0.5 / 4) / 5**0.5
    x = activated(x.reshape(3, 4, 6, 8) + generator.first_bias)
    kernel, padded = convolution.kernel.numpy() * 2**0.5 / 72**0.5, np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    x = activated(
        sum(padded[:, i : i + 4, j : j + 6] @ kernel[i, j] for i in range(3) for j in range(3)) + convolution.bias
    )
    expected = x @ to_image.kernel.numpy()[0, 0] / 8**0.5 + to_image.bias
    np.testing.assert_allclose(generator(z, level=0), expected, atol=1e-4)
    np.testing.assert_allclose(np.square(seen[0]).mean(-1), 1, rtol=1e-4)  # at every pixel


@pytest.mark.parametrize("level", [1, 2])
def test_a_level_is_faded_in_by_alpha(networks, level):
    generator, discriminator = networks
    z, label = normal(4, 6), ONE_HOT[[0, 1, 2, 0]]
    old, new = (generator([z, label], level=each).numpy() for each in (level - 1, level))
    old = np.repeat(np.repeat(old, 2, 1), 2, 2)
    for alpha in (0.0, 0.5, 1.0):
        found = generator([z, label], level=level, alpha=tf.constant(alpha))
        np.testing.assert_allclose(found, (1 - alpha) * old + alpha * new, atol=1e-5)
    x = normal(4, 4 * 2**level, 4 * 2**level, 2)
    at = {alpha: discriminator([x, label], level=level, alpha=tf.constant(alpha)) for alpha in (0.0, 0.5, 1.0)}
    smaller = x.reshape(4, 2 * 2**level, 2, 2 * 2**level, 2, 2).mean((2, 4))
    np.testing.assert_allclose(at[0.0], discriminator([smaller, label], level=level - 1), atol=1e-4)
    np.testing.assert_allclose(at[1.0], discriminator([x, label], level=level), atol=1e-4)
    assert np.abs(at[0.5] - at[0.0]).max() > 1e-4 and np.abs(at[0.5] - at[1.0]).max() > 1e-4


def test_images_and_logits_depend_on_the_class(networks):
    generator, discriminator = networks
    z, x = np.repeat(normal(1, 6), 3, 0), np.repeat(normal(1, 16, 16, 2), 3, 0)
    images, logits = generator([z, ONE_HOT]).numpy(), discriminator([x, ONE_HOT]).numpy()
    assert min(np.abs(images[i] - images[j]).max() for i, j in ((0, 1), (0, 2), (1, 2))) > 0.05
    assert len(np.unique(logits.round(4))) == 3
    without = discriminator([x, 0 * ONE_HOT]).numpy()  # a class that adds nothing
    by_two = discriminator([x, 2 * ONE_HOT]).numpy()
    np.testing.assert_allclose(by_two - without, 2 * (logits - without), atol=1e-5)  # linear in y: Miyato & Koyama 2018


def test_images_do_not_depend_on_the_length_of_z_nor_on_their_neighbours(networks):
    generator, _ = networks
    z, label = normal(4, 6), ONE_HOT[[0, 1, 2, 0]]
    images = generator([z, label])
    np.testing.assert_allclose(generator([5 * z, label]), images, atol=1e-4)
    np.testing.assert_allclose(generator([z[1:2], label[1:2]])[0], images[1], atol=1e-5)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_gradients_reach_the_layers_of_a_level_and_no_others(policy):
    tf.keras.mixed_precision.set_global_policy(policy)  # conftest.py sets it back
    generator, discriminator = pggan.Generator((16, 16), 1, 6, 2, WIDTH), pggan.Discriminator((16, 16), 1, 2, WIDTH)
    assert all(weight.dtype == tf.float32 for model in (generator, discriminator) for weight in model.weights)
    z, label = normal(4, 6), ONE_HOT[[0, 1, 0, 1], :2]
    with tf.GradientTape(persistent=True) as tape:
        images = generator([z, label], level=1, alpha=tf.constant(0.5))
        logits = discriminator([images, label], level=1, alpha=tf.constant(0.5))
        penalty = losses.gradient_penalty(
            lambda x: discriminator([x, label], level=1), images, 0 * images, normal(4, 1, 1, 1) ** 2 % 1
        )
    assert images.dtype == logits.dtype == tf.float32
    reached = tape.gradient(logits, generator.trainable_variables)
    unused = [*generator.blocks[2], generator.to_image[2]]
    unused = {id(weight) for layer in unused for weight in layer.weights}
    for gradient, weight in zip(reached, generator.trainable_variables, strict=True):
        assert (gradient is None) == (id(weight) in unused)
    for target in (logits, penalty):
        gradients = [each for each in tape.gradient(target, discriminator.trainable_variables) if each is not None]
        assert len(gradients) >= 8 and all(np.isfinite(each).all() for each in gradients)


# ---------------------------------------------------------------- growth


def test_half_of_a_level_fades_it_in_and_what_is_left_over_trains_the_last():
    schedule = growth.Growth(levels=3, steps=4)
    assert [schedule.at(step) for step in range(4)] == [(0, None)] * 4
    assert [schedule.at(step) for step in range(4, 8)] == [
        (1, pytest.approx(1 / 3)),
        (1, pytest.approx(2 / 3)),
        (1, None),
        (1, None),
    ]
    assert [schedule.at(step) for step in (8, 10, 11, 12, 500)] == [(2, pytest.approx(1 / 3)), *[(2, None)] * 4]
    assert [step for step in range(30) if schedule.begins(step)] == [0, 4, 8]
    assert [step for step in range(30) if schedule.changes(step)] == [0, 4, 6, 8, 10]
    assert growth.Growth(3, 1).at(1) == (1, None)  # one step a level: nothing is faded


@pytest.mark.parametrize("steps", [1, 2, 5, 8])
def test_the_parts_of_a_training_follow_the_schedule(steps):
    schedule = growth.Growth(3, steps)
    phases = schedule.phases()
    for step in range(3 * steps + 3):
        _, level, alpha = [phase for phase in phases if phase[0] <= step][-1]
        expected = schedule.at(step)
        assert level == expected[0] and (alpha is None) == (expected[1] is None)
        if alpha:
            assert float(alpha(tf.constant(step, tf.int64))) == pytest.approx(expected[1])


def settings_of(*words, **others):
    given = flags.parse("train_stage1", "", ["train_stage1.py", "--target=image", "--model=pggan", *words])
    return flags.apply_preset(given, flags.STAGE1_PRESETS) | {"image_size": (64, 64)} | others


def test_levels_are_given_in_images_or_in_epochs():
    of_images = settings_of("--level_images=320")
    assert flags.level_steps(of_images, 1000) == 20 and of_images["level_epochs"] is None
    of_epochs = settings_of("--level_epochs=3")
    assert flags.level_steps(of_epochs, 100) == 19 and of_epochs["level_images"] is None  # 300 images in batches of 16
    assert growth.growth_of(of_epochs, 100) == growth.Growth(5, 19)
    assert growth.growth_of(of_epochs | {"image_size": (256, 256)}, 100).levels == 7
    assert growth.growth_of({"model": "dcgan"}, 100) is None
    with pytest.raises(InputError, match="--level_images and --level_epochs"):
        settings_of("--level_images=3", "--level_epochs=3")


def test_steps_in_all_go_to_the_levels_and_the_rest_to_the_last():
    assert flags.steps_and_epochs(settings_of("--level_images=16", "--steps=9"), 32) == (9, 4.5)
    default = settings_of()
    assert flags.steps_and_epochs(default, 400)[0] == max(default["steps"], 5 * default["level_images"] // 16)
    assert flags.steps_and_epochs(settings_of("--level_images=160000"), 400)[0] == 50000  # five levels of 10,000
    paper = settings_of("--preset=paper")
    assert flags.steps_and_epochs(paper, 3200)[0] == 5 * 30 * 100
    assert flags.steps_and_epochs(paper, 20)[0] == 5 * flags.P2_LEAST_STEPS == 5 * growth.growth_of(paper, 20).steps
    with pytest.raises(InputError, match="--steps=40: .* 5 levels of 10 steps .* after 46; .*--level_images=160 now"):
        flags.steps_and_epochs(settings_of("--level_images=160", "--steps=40"), 32)
    assert flags.steps_and_epochs(settings_of("--level_images=160", "--steps=46"), 32)[0] == 46


# ---------------------------------------------------------------- one step, by hand


class Fixed(tf.keras.Model):
    """A generator that makes tanh(bias) at level 0 whatever z, and its nearest enlargement, half as bright, at level 1."""

    last_level = 1

    def __init__(self):
        super().__init__()
        self.bias = self.add_weight("bias", [2, 3, 1], initializer=tf.keras.initializers.RandomNormal(0, 1, seed=2))

    def call(self, z, level=1, alpha=None, training=None):
        image = tf.repeat(tf.tanh(self.bias)[None], tf.shape(z)[0], 0)
        return image if level == 0 else pggan.upscale(image) * (1.0 if alpha is None else alpha) / 2


class Linear(tf.keras.Model):
    """A critic that is linear in the images of a level."""

    last_level = 1

    def __init__(self):
        super().__init__()
        initial = tf.keras.initializers.RandomNormal(0, 0.5, seed=3)
        self.w = [self.add_weight(f"w{level}", [6 * 4**level, 1], initializer=initial) for level in range(2)]

    def call(self, x, level=1, alpha=None, training=None):
        return tf.reshape(x, [-1, self.w[level].shape[0]]) @ self.w[level] * (1.0 if alpha is None else alpha)


@pytest.mark.parametrize(("level", "alpha"), [(0, None), (1, None), (1, 0.25)])
def test_a_step_of_a_pggan_is_the_algorithm_by_hand(level, alpha):
    networks = stage1.Stage1("image", Fixed(), None, Linear(), (5,), 1, 1)
    bias, w = networks.generator.bias.numpy(), networks.discriminator.w[level].numpy()
    optimizers = {name: tf.keras.optimizers.SGD(1.0, jit_compile=False) for name in networks.trained}
    settings = {"target": "image", "seed": 4, "warp": False}
    stack = np.concatenate([RNG.uniform(-1, 1, [3, 4, 6, 1]), np.ones([3, 4, 6, 1])], -1).astype(np.float32)
    fade = None if alpha is None else lambda number: tf.constant(alpha) * tf.cast(number, tf.float32) / 8
    found = stage1.make_gan_step(networks, optimizers, settings, 1, level, fade)(tf.constant(8, tf.int64), stack)

    def halved(x):
        return x.reshape(3, x.shape[1] // 2, 2, x.shape[2] // 2, 2, 1).mean((2, 4))

    def doubled(x):
        return np.repeat(np.repeat(x, 2, 1), 2, 2)

    share = 1.0 if alpha is None else alpha
    real = stack[..., :1] if level else halved(stack[..., :1])
    if alpha is not None:
        real = (1 - alpha) * doubled(halved(real)) + alpha * real
    fake = np.repeat(np.tanh(bias)[None], 3, 0)
    fake = doubled(fake) * share / 2 if level else fake
    real, fake = real.reshape(3, -1), fake.reshape(3, -1)
    on_real, on_fake = share * real @ w, share * fake @ w
    expected = on_fake.mean() - on_real.mean() + 0.001 * np.square(on_real).mean()
    np.testing.assert_allclose(found["discriminator"], expected, rtol=1e-4)
    np.testing.assert_allclose(found["generator"], -on_fake.mean(), rtol=1e-4)
    norm = share * np.linalg.norm(w)
    to_w = share * (fake.mean(0) - real.mean(0) + 0.002 * (on_real * real).mean(0))[:, None]
    to_w += 10 * 2 * (norm - 1) * share * w / np.linalg.norm(w)
    np.testing.assert_allclose(networks.discriminator.w[level], w - to_w, atol=2e-5)
    to_image = -share * w.reshape(1, *(2 * np.array([2, 3]) if level else (2, 3)), 1)
    to_bias = to_image if level == 0 else share / 2 * to_image.reshape(1, 2, 2, 3, 2, 1).sum((2, 4))
    np.testing.assert_allclose(networks.generator.bias, bias - to_bias[0] * (1 - np.tanh(bias) ** 2), atol=2e-5)
    assert (networks.discriminator.w[1 - level] != 0).numpy().all()  # the other level is as it was


@pytest.mark.parametrize("rate_decay", [0, 100])
def test_an_optimiser_that_forgets_is_as_new(rate_decay):
    weight = tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=[2], use_bias=False)])
    settings = {"model": "pggan", "learning_rate": 0.1, "rate_decay": rate_decay, "beta1": 0.0, "beta2": 0.99}
    optimizer = stage1.make_optimizer(settings, weight)
    moves = []
    for _ in range(2):
        for gradient in ([[1.0], [-3.0]], [[0.5], [0.5]]):
            before = weight.get_weights()[0]
            optimizer.apply_gradients([(tf.constant(gradient), weight.trainable_variables[0])])
            moves.append(weight.get_weights()[0] - before)
        stage1.forget(optimizer)
        assert int(optimizer.iterations) == 0
    assert np.abs(moves[0]).min() > 0
    np.testing.assert_allclose(moves[:2], moves[2:], rtol=1e-3)


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_optimisers_forget_where_karras_et_al_reset_theirs(steps):
    """Published code, train.py: where the floor or the ceiling of lod, the level counted from the last one, changes."""
    schedule = growth.Growth(3, steps)
    levels = [level - 1 + (alpha or 1) for level, alpha in (schedule.at(step) for step in range(3 * steps + 3))]
    lods = [2 - level for level in levels]
    resets = [
        step
        for step in range(1, len(lods))
        if math.floor(lods[step]) != math.floor(lods[step - 1]) or math.ceil(lods[step]) != math.ceil(lods[step - 1])
    ]
    assert [step for step in range(1, len(lods)) if schedule.changes(step)] == resets


def test_a_training_forgets_at_both_ends_of_each_fade_and_its_average_is_as_long_from_the_start(tmp_path, monkeypatch):
    forgotten, averages = [], []
    monkeypatch.setattr(stage1, "forget", lambda optimizer: forgotten.append(optimizer))

    def fit(folder, step, batch, state, steps, *, before, short_at_first, average, **_):
        for index in range(steps):
            count = len(forgotten)
            before(index)
            assert len(forgotten) - count == (2 if index in (0, 5, 7) else 0)  # generator and discriminator
        averages.append((average[2], short_at_first))
        return {"step": steps}

    monkeypatch.setattr(loop, "fit", fit)
    monkeypatch.setattr(checkpoints, "restore_sampler", lambda *_: (10, "prefix"))
    monkeypatch.setattr(calibration, "measurement", lambda *_: None)
    stage1.train(tmp_path, list(tiles()), settings_of(**TINY), 10, class_names=("bright", "dark"))
    assert averages == [(TINY["average"], False)]


# ---------------------------------------------------------------- training


def tiles(count=8, side=8, dtype=np.uint8):
    """Labelled noise, bright or dark."""
    for index in range(count):
        label = ("bright", "dark")[index % 2]
        image = RNG.integers(0, 60, [side, side, 1]) + (180 if label == "bright" else 10)
        yield Sample(str(index), image.astype(dtype) * (257 if dtype == np.uint16 else 1), label=label)


TINY = {"width": WIDTH, "latent": 4, "batch_size": 4, "level_images": 20, "image_size": (8, 8), "average": 0.9}


class Killed(Exception):
    pass


def trained(folder, real, steps, kill_at=None):
    """Trains; killed while it fetches the images of step `kill_at`, it goes on in a second call."""
    original = batches.draw_batch_indices

    def draw(count, batch_size, seed, step):
        if step == kill_at:
            raise Killed
        return original(count, batch_size, seed, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "draw_batch_indices", draw)
        return stage1.train(folder, real, settings_of(**TINY), steps, class_names=("bright", "dark"))


def test_a_run_killed_after_a_change_of_level_and_resumed_before_it_ends_with_the_same_bytes(
    tmp_path, monkeypatch, eagerly
):
    monkeypatch.setattr(loop, "SAVE_EVERY", 4)
    monkeypatch.setattr(checkpoints, "MEASURE_EVERY", 6)
    monkeypatch.setattr(loop, "AVERAGE_EVERY", 2)
    monkeypatch.setattr(
        calibration,
        "measurement",
        lambda networks, *_: lambda: (({"distance": 1.0} if networks.stage == (1, None) else {}), ""),
    )
    real = list(tiles())
    runs = []
    for name, kills in (("whole", []), ("killed", [7])):  # the second level begins with step 5
        for kill_at in kills:
            with pytest.raises(Killed):
                trained(tmp_path / name, real, 10, kill_at)
        networks, result = trained(tmp_path / name, real, 10)
        assert result["step"] == result["sampled_step"] == 10 and networks.stage == (1, None)
        runs.append(networks)
    for whole, killed in zip(
        *(run.generator.weights + run.averaged.weights + run.discriminator.weights for run in runs), strict=True
    ):
        assert whole.numpy().tobytes() == killed.numpy().tobytes()
    pictures = [np.asarray(Image.open(tmp_path / name / "growth.png")) for name in ("whole", "killed")]
    assert (pictures[0] == pictures[1]).all() and pictures[0].shape == (2 * 8 + 2, 8 * 8 + 7 * 2)
    first_row = pictures[0][:8, :8]
    assert (first_row.reshape(4, 2, 4, 2) == first_row[::2, ::2][:, None, :, None]).all()  # 4 x 4 pixels, enlarged
    logged = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in logged if "distance" in line] == [10]  # a network that still grows is not sampled
    assert sorted(path.name for path in (tmp_path / "whole" / "samplers").glob("*.index")) == ["ckpt-10.index"]
