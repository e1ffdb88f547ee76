"""networks/dcgan.py, papers/dcgan.py and smalldata/dcgan.py."""

import dataclasses
import types

import numpy as np
import pytest
import tensorflow as tf
from network_parts import CONVOLUTIONS, NORMS, describe, select
from stage1_helpers import draw_eyes, make_rows, make_sgd, reduce_by_hand, show_plainly, sigmoid, softplus

from synthmed_tf import losses
from synthmed_tf.networks import dcgan as dcgan_network
from synthmed_tf.papers import dcgan as paper_dcgan
from synthmed_tf.sample import Sample
from synthmed_tf.smalldata import dcgan, threshold
from synthmed_tf.smalldata.warped_examples import MaskFields, WarpedImages
from synthmed_tf.training import average, checkpoints
from synthmed_tf.training.examples import Examples

RNG = np.random.default_rng(0)
SEED = 4
PLAIN = types.SimpleNamespace(show=show_plainly)
BOTH = [(paper_dcgan, paper_dcgan.Settings(latent=2)), (dcgan, dcgan.MaskSettings(latent=2, r1=0.0))]


def build_tiny_gan(size=(6, 4)):
    """A generator whose first sample is tanh(bias) whatever z, and a linear discriminator."""
    z, field = tf.keras.Input([2]), tf.keras.Input([*size, 1])
    flat = tf.keras.layers.Dense(size[0] * size[1], kernel_initializer="zeros", bias_initializer="random_normal")(z)
    generator = tf.keras.Model(z, tf.keras.layers.Reshape([*size, 1])(tf.tanh(flat)))
    initial = tf.keras.initializers.RandomNormal(0, 0.3, seed=1)
    logit = tf.keras.layers.Dense(1, kernel_initializer=initial)(tf.keras.layers.Flatten()(field))
    return generator, tf.keras.Model(field, logit)


def make_optimizers():
    return {"generator": make_sgd(), "discriminator": make_sgd()}


def number_of(step):
    return tf.constant(step, tf.int64)


# ---------------------------------------------------------------- networks


def test_dcgan_at_64_pixels_is_radfords_figure_1():
    generator, discriminator = (
        dcgan_network.build_generator((64, 64), channels=3),
        dcgan_network.build_discriminator((64, 64), channels=3),
    )
    assert select(generator, tf.keras.layers.Reshape)[0].output_shape == (None, 4, 4, 1024)
    assert [describe(layer) for layer in select(generator, CONVOLUTIONS)] == [(5, 2, c) for c in (512, 256, 128, 3)]
    assert [describe(layer) for layer in select(discriminator, CONVOLUTIONS)] == [
        (5, 2, c) for c in (128, 256, 512, 1024)
    ]
    assert generator.input_shape == (None, 100)
    assert discriminator.output_shape == (None, 1)
    assert len(select(generator, NORMS)) == 4
    assert len(select(discriminator, NORMS)) == 3
    assert isinstance(discriminator.layers[2], tf.keras.layers.LeakyReLU)  # no batch norm between image and layer 1
    channels = (1024, 512, 256, 128)
    expected = 100 * 4 * 4 * 1024 + sum(25 * a * b for a, b in zip(channels, (512, 256, 128, 3), strict=True)) + 3
    assert generator.count_params() == expected + 4 * sum(channels)


def test_a_dcgan_of_a_quarter_of_the_width_has_a_quarter_of_the_channels():
    generator, discriminator = (
        network((64, 64), 3, width=0.25)
        for network in (dcgan_network.build_generator, dcgan_network.build_discriminator)
    )
    assert select(generator, tf.keras.layers.Reshape)[0].output_shape == (None, 4, 4, 256)
    assert [layer.filters for layer in select(generator, CONVOLUTIONS)] == [128, 64, 32, 3]
    assert [layer.filters for layer in select(discriminator, CONVOLUTIONS)] == [32, 64, 128, 256]


@pytest.mark.parametrize(
    ("size", "depth", "base"),
    [
        ((64, 64), 4, (4, 4)),
        ((128, 128), 5, (4, 4)),
        ((256, 256), 6, (4, 4)),
        ((96, 80), 4, (6, 5)),
        ((64, 160), 4, (4, 10)),
        ((288, 288), 5, (9, 9)),
    ],
)
def test_dcgan_depth_follows_from_the_size(size, depth, base):
    assert dcgan_network.compute_depth(size) == depth
    assert tuple(side // 2**depth for side in size) == base


def test_dcgan_of_any_size_makes_images_in_range_that_do_not_depend_on_their_neighbours():
    tf.keras.utils.set_random_seed(1)
    generator, discriminator = dcgan_network.build_generator((64, 80)), dcgan_network.build_discriminator((64, 80))
    z = tf.random.stateless_normal([3, 100], [1, 2])
    images = generator(z, training=False)
    assert images.shape == (3, 64, 80, 1) and images.dtype == tf.float32
    assert np.abs(images).max() < 1
    np.testing.assert_allclose(generator(z[1:2], training=False)[0], images[1], atol=1e-5)
    assert discriminator(images, training=True).shape == (3, 1)


def test_dcgan_has_at_most_1024_channels_and_starts_at_sd_002():
    tf.keras.utils.set_random_seed(1)
    model = dcgan_network.build_discriminator((128, 128))
    assert [layer.filters for layer in select(model, CONVOLUTIONS)] == [128, 256, 512, 1024, 1024]
    for layer in select(model, CONVOLUTIONS):
        np.testing.assert_allclose(np.std(layer.kernel), 0.02, rtol=0.05)


# ---------------------------------------------------------------- one step, by hand


@pytest.mark.parametrize(
    ("method", "settings", "r1"), [(*both, 0.0) for both in BOTH] + [(dcgan, dcgan.MaskSettings(latent=2, r1=0.7), 0.7)]
)
def test_a_step_is_the_algorithm_by_hand(method, settings, r1):
    generator, discriminator = build_tiny_gan()
    w, b = (variable.numpy() for variable in discriminator.trainable_variables)
    bias = generator.trainable_variables[1].numpy()
    rows = make_rows(6, 4)
    step = method.make_step(generator, discriminator, make_optimizers(), PLAIN, settings, SEED)
    logged = step(number_of(8), rows)

    real, fake = reduce_by_hand(rows).reshape(3, -1), np.repeat(np.tanh(bias)[None], 3, 0)
    on_real, on_fake = real @ w + b, fake @ w + b
    np.testing.assert_allclose(logged["discriminator"], softplus(-on_real).mean() + softplus(on_fake).mean(), rtol=1e-5)
    np.testing.assert_allclose(logged["generator"], softplus(-on_fake).mean(), rtol=1e-5)

    to_w = (-sigmoid(-on_real) * real + sigmoid(on_fake) * fake).mean(0)[:, None]
    to_w += 8 * r1 * w  # of 8 r1 / 2 |w|^2, the gradient of a linear critic being w
    to_b = (-sigmoid(-on_real) + sigmoid(on_fake)).mean(0)
    to_bias = (-sigmoid(-on_fake) * w.T * (1 - fake**2)).mean(0)  # through the discriminator as it was
    np.testing.assert_allclose(discriminator.trainable_variables[0], w - to_w, atol=1e-5)
    np.testing.assert_allclose(discriminator.trainable_variables[1], b - to_b, atol=1e-5)
    np.testing.assert_allclose(generator.trainable_variables[1], bias - to_bias, atol=1e-5)


@pytest.mark.parametrize(
    ("method", "settings"),
    [(paper_dcgan, paper_dcgan.Settings(latent=2)), (dcgan, dcgan.ImageSettings(latent=2))],
)
def test_the_papers_dcgan_and_that_of_images_have_no_penalty(method, settings, monkeypatch):
    monkeypatch.setattr(losses, "r1_penalty", lambda *_: pytest.fail("R1"))
    step = method.make_step(*build_tiny_gan(), make_optimizers(), PLAIN, settings, SEED)
    step(number_of(8), make_rows(6, 4))


def test_r1_comes_every_eighth_step_and_z_and_warp_are_functions_of_seed_and_step():
    generator, discriminator = build_tiny_gan((8, 8))
    generator.trainable_variables[0].assign(RNG.normal(size=[2, 64]))
    variables = generator.variables + discriminator.variables
    start = [variable.numpy() for variable in variables]
    image = RNG.integers(0, 256, [8, 8, 1], np.uint8)
    examples = WarpedImages([Sample("a", image)], [], "image", 4, SEED)
    rows = np.concatenate([RNG.uniform(-1, 1, [4, 8, 8, 1]), np.ones([4, 8, 8, 1])], -1).astype(np.float32)
    optimizers = make_optimizers()

    def make_step(shown, seed=SEED, r1=0.0):
        settings = dcgan.MaskSettings(latent=2, r1=r1)
        return dcgan.make_step(generator, discriminator, optimizers, shown, settings, seed)

    def take(step, number):
        for variable, value in zip(variables, start, strict=True):
            variable.assign(value)
        step(number_of(number), rows)
        return np.concatenate([variable.numpy().ravel() for variable in variables])

    warped, other = make_step(examples), make_step(examples, SEED + 1)
    assert (take(warped, 3) == take(warped, 3)).all()
    assert (take(warped, 3) != take(warped, 4)).any() and (take(warped, 3) != take(other, 3)).any()
    plain, penalised = make_step(PLAIN), make_step(PLAIN, r1=1.0)
    for number, is_penalised in ((0, True), (1, False), (7, False), (16, True)):
        assert np.allclose(take(plain, number), take(penalised, number), atol=1e-6) != is_penalised


@pytest.mark.parametrize(("method", "settings"), BOTH)
def test_real_and_generated_images_are_shown_with_the_classes_of_the_batch(method, settings, eagerly):
    calls = []

    class Network:
        trainable_variables = [tf.Variable(1.0)]

        def __call__(self, inputs, training):
            calls.append((inputs[1], training))
            return self.trainable_variables[0] * inputs[0]

    labels = np.eye(3, dtype=np.float32)[[0, 2, 1]]
    optimizers = make_optimizers()
    for optimizer in optimizers.values():
        optimizer.build(Network.trainable_variables)
    step = method.make_step(Network(), Network(), optimizers, PLAIN, settings, SEED)
    step(number_of(3), make_rows(6, 4), labels)
    assert len(calls) == 3 and all((told == labels).all() and training for told, training in calls)


# ---------------------------------------------------------------- networks, optimisers, batch norm


@pytest.mark.parametrize(
    ("method", "settings", "size", "channels"),
    [
        (paper_dcgan, paper_dcgan.Settings(width=1 / 64), (64, 64), 1),
        (dcgan, dcgan.MaskSettings(width=1 / 64), (144, 128), 2),
        (dcgan, dcgan.ImageSettings(width=1 / 64), (64, 80), 3),
    ],
)
@pytest.mark.parametrize("classes", [0, 2])
def test_networks_fit_the_examples(method, settings, size, channels, classes):
    generator, discriminator, *averaged = method.build(size, channels, classes, settings)
    assert generator.output_shape == (None, *size, channels) and discriminator.output_shape == (None, 1)
    latent, image = (None, 100), (None, *size, channels)
    assert generator.input_shape == ([latent, (None, 2)] if classes else latent)
    assert discriminator.input_shape == ([image, (None, 2)] if classes else image)
    if method is paper_dcgan:
        assert not averaged
    else:
        assert averaged[0].output_shape == generator.output_shape
    transposed = any(isinstance(layer, tf.keras.layers.Conv2DTranspose) for layer in generator.layers)
    assert transposed == (not isinstance(settings, dcgan.MaskSettings) or isinstance(settings, dcgan.ImageSettings))


@pytest.mark.parametrize(
    ("method", "settings", "rate"),
    [
        (paper_dcgan, paper_dcgan.Settings(), 2e-4),
        (dcgan, dcgan.MaskSettings(), 4e-4 / 200),  # at the first of 200 steps of its warm-up
        (dcgan, dcgan.ImageSettings(), 2e-4),
    ],
)
def test_optimizers_are_adam_with_the_epsilon_of_radfords_code(method, settings, rate):
    layer = tf.keras.Sequential([tf.keras.layers.Dense(1, kernel_initializer="zeros", use_bias=False)])
    layer.build([None, 1])
    optimizer = method.make_optimizer(settings, layer)
    assert isinstance(optimizer, tf.keras.optimizers.Adam)
    assert (optimizer.beta_1, optimizer.beta_2) == (0.5, 0.999)
    np.testing.assert_allclose(optimizer.learning_rate, rate, rtol=1e-6)
    optimizer.apply_gradients([(tf.constant([[1e-7]]), layer.trainable_variables[0])])
    root = np.sqrt(1e-3) * 1e-7  # epsilon is added to the root of the uncorrected mean, as in torch/optim's adam.lua
    assert float(layer.get_weights()[0][0, 0]) == pytest.approx(-rate * root / (root + 1e-8), rel=1e-3)


@pytest.mark.parametrize("typical", [None, np.repeat(np.float32([[1, 0], [0, 1]]), 192, 0)])
def test_batch_norms_of_the_average_get_the_statistics_of_its_own_weights(typical):
    z, label = tf.keras.Input([2]), tf.keras.Input([2])
    norm = tf.keras.layers.BatchNormalization(momentum=0.9)
    inputs, values = (z, 2 * z + 5) if typical is None else ([z, label], 2 * z + 5 + label)
    averaged = tf.keras.Model(inputs, norm(values))
    examples = types.SimpleNamespace(list_typical_labels=lambda count: None if typical is None else typical[:count])
    dcgan.settle(averaged, dcgan.MaskSettings(latent=2), examples, 7)
    mean, variance = np.zeros(2), np.ones(2)
    for index in range(24):
        batch = 2 * tf.random.stateless_normal([16, 2], [7, -5 - index]).numpy() + 5
        batch = batch if typical is None else batch + typical[index::24]
        mean, variance = 0.9 * mean + 0.1 * batch.mean(0), 0.9 * variance + 0.1 * batch.var(0)
    np.testing.assert_allclose(norm.moving_mean, mean, rtol=1e-4)
    np.testing.assert_allclose(norm.moving_variance, variance, rtol=1e-4)


def test_p2s_settings():
    """P2 § 3.1: epochs by kind of image, but no fewer steps than its shortest training, and the length of z."""
    epochs = {(False, False): 30, (False, True): 60, (True, False): 10, (True, True): 10}
    for (is_colour, is_conditional), number in epochs.items():
        settings = paper_dcgan.make_p2_settings(32_000, is_colour, is_conditional)
        assert settings.steps == number * 1000 and settings.latent == (256 if is_colour else 512)
    assert paper_dcgan.make_p2_settings(40, False, False).steps == 2220


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("settings", [dcgan.MaskSettings(width=1 / 16), dcgan.ImageSettings(width=1 / 16)])
def test_every_weight_learns_in_both_precisions(settings, policy, eagerly):
    tf.keras.mixed_precision.set_global_policy(policy)  # conftest.py sets it back
    tf.keras.utils.set_random_seed(1)
    eyes, is_image = draw_eyes(2, (64, 80)), isinstance(settings, dcgan.ImageSettings)
    examples = (WarpedImages if is_image else MaskFields)(eyes, [], "image" if is_image else "mask", 2, 0)
    generator, discriminator, _ = dcgan.build(examples.image_size, examples.channels, 0, settings)
    models = {"generator": generator, "discriminator": discriminator}
    optimizers = {name: dcgan.make_optimizer(settings, model) for name, model in models.items()}
    before = {name: model.get_weights() for name, model in models.items()}
    step = dcgan.make_step(generator, discriminator, optimizers, examples, settings, 0)
    logged = step(number_of(0), *examples.batch(0))
    assert all(np.isfinite(loss) and loss.dtype == tf.float32 for loss in logged.values())
    for name, model in models.items():
        assert all((old != new.numpy()).any() for old, new in zip(before[name], model.weights, strict=True))
        assert all(np.isfinite(weight).all() and weight.dtype == tf.float32 for weight in model.weights)
    fields = generator(tf.zeros([1, settings.latent]))
    assert fields.dtype == tf.float32 and fields.shape == (1, 64, 80, examples.channels)


# ---------------------------------------------------------------- a training


def make_training(method):
    """(method, examples, settings) of a tiny network."""
    eyes = draw_eyes(3)
    if method is paper_dcgan:
        return Examples(eyes, [], "image", 2, SEED), paper_dcgan.Settings(width=1 / 64, batch_size=2)
    return MaskFields(eyes, [], "mask", 2, SEED), dcgan.MaskSettings(width=1 / 64, batch_size=2)


@pytest.mark.parametrize("method", [paper_dcgan, dcgan])
def test_a_training_goes_on_with_the_same_bits_and_paints_with_the_weights_asked_for(
    method, tmp_path, monkeypatch, eagerly
):
    monkeypatch.setattr(checkpoints, "MEASURE_EVERY", 2)
    monkeypatch.setattr(average, "AVERAGE_EVERY", 1)
    monkeypatch.setattr(threshold, "DRAWN", 4)
    monkeypatch.setattr(dcgan, "SETTLING_BATCHES", 2)
    noise, painted = tf.random.stateless_normal([3, 100], [1, 2]), {}

    def train(place, steps, checkpoint="best"):
        examples, settings = make_training(method)
        measured = iter([0.1, 0.3])

        def watch(shown, sampler):
            assert shown is examples

            def measure():
                pictures = sampler.paint(noise)
                painted[len(painted)] = pictures
                return {"distance": next(measured)}, ""

            return measure

        settings = dataclasses.replace(settings, steps=steps)
        return method.train(tmp_path / place, examples, settings, SEED, watch=watch, checkpoint=checkpoint)

    sampler, result = train("at once", 4)
    assert (result["step"], result["sampled_step"]) == (4, 2)  # which was nearest
    assert result["sampler"] == str(tmp_path / "at once" / "samplers" / "ckpt-2")
    assert sampler.noise_shape == (100,) and sampler.seed == SEED and sampler.mirrors == (method is dcgan)
    assert (sampler.paint(noise) == painted[0]).all() and painted[0].shape == (3, 64, 64, 1 if sampler.mirrors else 3)
    last, at_end = train("at once", 4, "last")
    assert at_end["sampled_step"] == 4 and (last.paint(noise) == painted[1]).all()
    assert checkpoints.hash_checkpoint(at_end["sampler"]) != checkpoints.hash_checkpoint(result["sampler"])

    train("in parts", 2)
    train("in parts", 4)
    whole, parts = (tmp_path / place / "checkpoints" / "ckpt-4" for place in ("at once", "in parts"))
    assert checkpoints.hash_checkpoint(whole) == checkpoints.hash_checkpoint(parts)
