import dataclasses
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from synthmed_tf import augment, flags, images, losses
from synthmed_tf.datasets import phantom
from synthmed_tf.datasets.prepare import crop_sample
from synthmed_tf.networks import layers, selfmod
from synthmed_tf.sample import Sample
from synthmed_tf.training import loop, segmenter, stage1, stage2

RNG = np.random.default_rng(0)


def sgd():
    return tf.keras.optimizers.SGD(1.0, jit_compile=False)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.log1p(np.exp(x))


def wedge(height=64, width=64):
    """A vessel that gets thicker to the right, [height, width, 1]."""
    rows, columns = np.mgrid[:height, :width]
    return (abs(rows - height / 2) < 1 + columns / 12).astype(np.uint8)[..., None]


# ---------------------------------------------------------------- UpsampleConv2D, selfmod


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 4), (8, 8)])
def test_upsample_convolution_is_nearest_and_then_3x3(size):
    layer = layers.UpsampleConv2D(7)
    inputs = RNG.normal(size=[2, *size, 3]).astype(np.float32)
    found = layer(inputs)
    enlarged = np.repeat(np.repeat(inputs, 2, 1), 2, 2)
    kernel = np.transpose(layer.kernel.numpy(), [0, 1, 3, 2])  # the layer's is [3, 3, out, in]
    np.testing.assert_allclose(found, tf.nn.conv2d(enlarged, kernel, 1, "SAME"), atol=1e-5)
    assert layer.count_params() == 9 * 3 * 7


def test_upsample_convolution_has_the_gradient_of_the_two_layers():
    layer = layers.UpsampleConv2D(2)
    inputs = tf.constant(RNG.normal(size=[2, 4, 5, 3]), tf.float32)
    weights = tf.constant(RNG.normal(size=[2, 8, 10, 2]), tf.float32)
    layer(inputs)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        fused = tf.reduce_sum(weights * layer(inputs))
        enlarged = tf.repeat(tf.repeat(inputs, 2, 1), 2, 2)
        plain = tf.reduce_sum(weights * tf.nn.conv2d(enlarged, tf.transpose(layer.kernel, [0, 1, 3, 2]), 1, "SAME"))
    for source in (inputs, layer.kernel):
        np.testing.assert_allclose(tape.gradient(fused, source), tape.gradient(plain, source), atol=1e-4)


@pytest.mark.parametrize(("size", "base"), [((64, 64), 4), ((64, 80), (4, 5)), ((96, 128), (6, 8)), ((32, 32), 4)])
def test_selfmod_makes_any_size_and_judges_it(size, base):
    (generator,), (discriminator,) = selfmod.generators(size, latent=5), selfmod.discriminators(size)
    z = tf.random.stateless_normal([4, 5], [1, 2])
    fields = generator(z)
    assert fields.shape == (4, *size, 1) and fields.dtype == tf.float32 and np.abs(fields).max() < 1
    assert generator.layers[1].output_shape[-1] and discriminator(fields).shape == (4, 1)
    reshaped = next(
        layer for layer in generator.layers if isinstance(layer, tf.keras.layers.Reshape) and layer.target_shape[0] > 1
    )
    assert tuple(reshaped.target_shape[:2]) == (base if isinstance(base, tuple) else (base, base))


def test_selfmod_samples_do_not_depend_on_their_neighbours_and_z_enters_every_layer():
    tf.keras.utils.set_random_seed(1)
    (generator,) = selfmod.generators((64, 64), latent=5)
    z = tf.random.stateless_normal([4, 5], [1, 2])
    for _ in range(3):
        generator(z, training=True)  # moves the averages
    np.testing.assert_allclose(generator(z[1:2], training=False)[0], generator(z, training=False)[1], atol=1e-5)
    norms = [layer for layer in generator.layers if isinstance(layer, tf.keras.layers.BatchNormalization)]
    assert len(norms) == 1 + 4 + 3  # after the dense layer, after each of 4 enlargements, after 3 more convolutions
    assert not any(norm.scale or norm.center for norm in norms)
    scales = [layer for layer in generator.layers if isinstance(layer, tf.keras.layers.Dense)]
    assert len(scales) == 2 + 2 * len(norms)  # the style, the first map, and a scale and a shift a norm
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(generator(z, training=True) ** 2)
    assert all(np.abs(gradient).max() > 0 for gradient in tape.gradient(loss, generator.trainable_variables))


def test_selfmod_discriminator_sees_that_a_batch_is_all_alike():
    (discriminator,) = selfmod.discriminators((64, 64))
    fields = RNG.uniform(-1, 1, [4, 64, 64, 1]).astype(np.float32)
    logits = discriminator(np.repeat(fields[:1], 4, axis=0)).numpy()[:, 0]
    np.testing.assert_allclose(logits, logits[0], rtol=1e-3)
    assert abs(discriminator(fields)[0, 0] / logits[0] - 1) > 0.01
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(discriminator(fields) ** 2)
    assert all(np.abs(gradient).max() > 0 for gradient in tape.gradient(loss, discriminator.trainable_variables))


def test_selfmod_keeps_outputs_in_float32_under_mixed_precision():
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        (generator,), (discriminator,) = selfmod.generators((32, 32), latent=5), selfmod.discriminators((32, 32))
        with tf.GradientTape(persistent=True) as tape:
            fields = generator(tf.random.stateless_normal([4, 5], [1, 2]), training=True)
            logits = discriminator(fields, training=True)
            penalty = losses.r1_penalty(discriminator, fields)
        assert fields.dtype == tf.float32 and logits.dtype == tf.float32
        for target, model in ((logits, generator), (logits, discriminator), (penalty, discriminator)):
            gradients = [g for g in tape.gradient(target, model.trainable_variables) if g is not None]
            assert len(gradients) > 10 and all(g.dtype == tf.float32 and np.isfinite(g).all() for g in gradients)
        assert all(variable.dtype == tf.float32 for variable in generator.variables + discriminator.variables)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")


# ---------------------------------------------------------------- what stage 1 learns from


def real_masks():
    inside = np.ones([64, 64, 1], np.uint8)
    inside[:, :3] = 0
    return [Sample("right", mask=wedge() * inside, field_of_view=inside), Sample("left", mask=wedge()[:, ::-1])]


def test_real_fields_of_the_papers_preset_are_the_masks_in_minus_one_and_one():
    fields = stage1.real_fields(real_masks(), {"target": "mask", "warp": False, "field_scale": 0.0})
    assert fields.shape == (2, 64, 64, 2) and fields.dtype == np.float32
    for field, sample in zip(fields, real_masks(), strict=True):
        assert (field[..., :1] == np.where(sample.mask, 1, -1)).all()
    assert (fields[0, :, :3, 1] == 0).all() and (fields[0, :, 3:, 1] == 1).all() and (fields[1, ..., 1] == 1).all()


def test_real_fields_of_small_data_are_distances_and_all_discs_are_on_the_left():
    first, second = stage1.real_fields(real_masks(), {"target": "mask", "warp": True, "field_scale": 4.0})
    mask, inside = real_masks()[0].mask[:, ::-1], real_masks()[0].field_of_view[:, ::-1]  # turned
    assert first.shape == (64, 64, 3) and (first[..., -1:] == inside).all() and ((first[..., :1] > 0) == (mask > 0)).all()
    assert np.abs(first[..., :2]).max() <= 1
    assert ((second[..., :1] > 0) == (real_masks()[1].mask > 0)).all()  # not turned: already on the left
    row = 64 // 2
    assert first[0, 63, 0] < -0.99 and 0 < first[row, 60, 0] < first[row, 5, 0]  # deeper inside where it is thicker


def test_real_fields_of_photographs_are_their_pixels():
    photograph = RNG.integers(0, 256, [16, 16, 3], dtype=np.uint8)
    fields = stage1.real_fields([Sample("a", image=photograph)], {"target": "image", "warp": True, "field_scale": 0.0})
    assert fields.shape == (1, 16, 16, 4) and (fields[..., 3] == 1).all() and np.abs(fields[..., :3]).max() <= 1
    networks = stage1.Stage1("image", None, None, None, [], 1, 3)
    assert (networks.pictures(fields[..., :3])[0] == photograph).all()


def test_what_stage_1_is_measured_by_tells_real_masks_from_broken_and_from_repeated_ones():
    masks = np.stack([crop_sample(phantom.fundus(index), (64, 64)).mask for index in range(24)])
    real = [Sample(str(i), mask=mask) for i, mask in enumerate(masks[:12])]
    found = {}
    broken = masks[12:] * (RNG.random(masks[12:].shape) < 0.8).astype(np.uint8)
    for name, made in (("real", masks[12:]), ("broken", broken), ("repeated", masks[:1].repeat(12, 0)), ("empty", 0 * masks[:12])):
        fields = tf.constant(np.tile(made, [6, 1, 1, 1])[: stage1.MEASURED_SAMPLES] * 2.0 - 1, tf.float32)
        z = tf.keras.Input([3])
        network = tf.keras.Model(z, tf.keras.layers.Lambda(lambda z, fields=fields: fields + 0 * z[:, :1, None, None])(z))
        networks = stage1.Stage1("mask", network, None, None, [], 1, 1)
        found[name] = stage1.measurement(networks, real, {"target": "mask", "seed": 0, "latent": 3})()
    distance, diversity = ({name: each[0][key] for name, each in found.items()} for key in ("distance", "diversity"))
    assert distance["real"] < 0.6 * min(distance["broken"], distance["repeated"], distance["empty"])
    assert diversity["real"] > 0.9 and diversity["repeated"] == diversity["empty"] == 0
    assert [name for name, (_, warning) in found.items() if warning] == ["repeated", "empty"]


@pytest.mark.parametrize("target", ["mask", "image"])
@pytest.mark.parametrize("count", [1, 3])
def test_against_one_picture_or_equal_ones_nothing_is_measured(target, count):
    real = [Sample(str(i), wedge().repeat(3, -1) * np.uint8(9), wedge()) for i in range(count)]
    z = tf.keras.Input([3])
    channels = {"mask": 1, "image": 3}[target]
    network = tf.keras.Model(z, tf.keras.layers.Lambda(lambda z: tf.zeros([tf.shape(z)[0], 64, 64, channels]))(z))
    networks = stage1.Stage1(target, network, None, None, [], 1, channels)
    assert stage1.measurement(networks, real, {"target": target, "seed": 0, "latent": 3})() == ({"distance": 0.0}, "")


def test_disc_is_right():
    assert stage1.disc_is_right(wedge()) and not stage1.disc_is_right(wedge()[:, ::-1])
    assert not stage1.disc_is_right(np.zeros([64, 64, 1], np.uint8))
    for index in range(8):
        is_right = phantom.anatomy(index).disc[0] > phantom.CENTRE[0]
        assert stage1.disc_is_right(phantom.fundus(index).mask) == is_right, index


def test_fields_at_half_size_are_means_and_come_back():
    fields = RNG.normal(size=[2, 8, 6, 1]).astype(np.float32)
    halved = stage1.reduce(fields, 2)
    np.testing.assert_allclose(halved[0, 1, 2, 0], fields[0, 2:4, 4:6, 0].mean(), atol=1e-6)
    assert stage1.enlarge(halved, 2).shape == fields.shape and (stage1.reduce(fields, 1) == fields).all()
    np.testing.assert_allclose(stage1.enlarge(stage1.reduce(np.full_like(fields, 0.3), 2), 2), 0.3, atol=1e-6)


def constant_generator(fields):
    """A generator that makes one of `fields` [count, height, width, c] whatever z, each as often."""
    z = tf.keras.Input([3])
    count = len(fields)

    def choose(z):
        return tf.gather(tf.constant(fields), tf.range(tf.shape(z)[0]) % count)

    return tf.keras.Model(z, tf.keras.layers.Lambda(choose)(z))


def test_masks_of_halved_fields_keep_the_area_and_stay_whole():
    masks = np.stack([crop_sample(phantom.fundus(index), (128, 128)).mask for index in range(3)])
    fields = np.stack([images.wall_and_centreline(mask, 4.0) for mask in masks])
    halved = stage1.reduce(fields, 2)
    networks = stage1.Stage1("mask", constant_generator(halved), None, None, [], 2, 2)
    stage1.calibrate(networks, [Sample(str(i), mask=mask) for i, mask in enumerate(masks)], {"seed": 0, "latent": 3})
    found = networks.masks(halved)
    beads = stage1.Stage1("mask", None, None, None, [], 2, 1).masks(halved[..., :1])  # the distance field alone
    assert found.dtype == np.uint8 and found.shape == masks.shape
    assert abs(found.mean() / masks.mean() - 1) < 0.15
    for mask, whole, broken in zip(masks, found, beads, strict=True):
        pieces = [ndimage.label(each[..., 0], np.ones([3, 3]))[1] for each in (whole, broken, mask)]
        assert pieces[0] < 0.1 * pieces[1] and pieces[0] <= pieces[2] + 5
        assert 2 * (whole & mask).sum() / (whole.sum() + mask.sum()) > 0.6


def test_calibrated_masks_are_as_thick_as_real_ones():
    real = np.stack([crop_sample(phantom.fundus(index), (64, 64)).mask for index in range(4)])
    thick = np.stack([images.wall_and_centreline(mask, 4.0) for mask in real])
    thick = augment.random_warp(thick, [0, 0], zoom=1.0).numpy()  # distances that are no multiples of half a pixel
    wanted = images.area_to_length(real)
    walls = []
    for shift in (0.0, 0.25):  # of every wall, by a pixel
        fields = thick + np.float32([shift, 0])
        networks = stage1.Stage1("mask", constant_generator(fields), None, None, [], 1, 2)
        before = images.area_to_length(networks.masks(fields))
        stage1.calibrate(networks, [Sample(str(i), mask=mask) for i, mask in enumerate(real)], {"seed": 0, "latent": 3})
        assert before > 1.3 * wanted and abs(images.area_to_length(networks.masks(fields)) / wanted - 1) < 0.05
        walls.append(networks.wall)
    assert walls[1] - walls[0] == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(
    ("words", "stride", "latent"),
    [
        (["--image_size=64"], 2, 64), (["--image_size=128x160"], 2, 64), (["--image_size=144x128"], 2, 64), (["--preset=paper", "--model=selfmod"], 1, 100),
        (["--model=dcgan", "--image_size=144x128"], 1, 100), (["--preset=paper", "--image_size=64"], 1, 100), (["--model=dcgan"], 2, 100),
    ],
)  # fmt: skip
def test_networks_that_the_settings_ask_for(words, stride, latent):
    settings = flags.apply_preset(flags.parse("train_stage1", "", ["train_stage1.py", *words]), flags.STAGE1_PRESETS)
    size = settings["image_size"] = settings["image_size"] or (128, 128)
    networks = stage1.build(settings)
    assert networks.stride == stride and networks.generator.input_shape == (None, latent)
    assert networks.generator.output_shape == (None, size[0] // stride, size[1] // stride, 1 if "--preset=paper" in words else 2)
    assert networks.discriminator.input_shape == networks.generator.output_shape
    assert (networks.averaged is None) == ("--preset=paper" in words)
    assert networks.sampler is (networks.averaged or networks.generator)
    assert networks.levels[-1] == (networks.generator, networks.discriminator)
    grows = settings["model"] == "selfmod" and networks.generator.output_shape[1] == 128
    assert [generator.output_shape[1] for generator, _ in networks.levels] == ([64, 128] if grows else [size[0] // stride])


# ---------------------------------------------------------------- one step of stage 1, by hand


def tiny_stage1(size, stride=1):
    """A generator whose first sample is tanh(bias) whatever z, and a linear discriminator."""
    z, field = tf.keras.Input([2]), tf.keras.Input([*size, 1])
    flat = tf.keras.layers.Dense(size[0] * size[1], kernel_initializer="zeros", bias_initializer="random_normal")(z)
    generator = tf.keras.Model(z, tf.keras.layers.Reshape([*size, 1])(tf.tanh(flat)))
    initial = tf.keras.initializers.RandomNormal(0, 0.3, seed=1)
    logit = tf.keras.layers.Dense(1, kernel_initializer=initial)(tf.keras.layers.Flatten()(field))
    discriminator = tf.keras.Model(field, logit)
    return stage1.Stage1("mask", generator, None, discriminator, [(generator, discriminator)], stride, channels=1)


SETTINGS = {"target": "mask", "seed": 4, "latent": 2, "r1": 0.0, "warp": False, "grow_every": 0}


def only_step(*arguments):
    """The training step of networks that do not grow."""
    ((first, step),) = stage1.make_step(*arguments)
    assert first == 0
    return step


@pytest.mark.parametrize(("own_stride", "above"), [(1, 0), (2, 0), (1, 1), (2, 1)])  # levels above the one that learns
@pytest.mark.parametrize("r1", [0.0, 0.7])
def test_a_step_of_stage_1_is_the_algorithm_by_hand(own_stride, above, r1, monkeypatch):
    monkeypatch.setattr(stage1, "R1_SIDE", 2 + 6 * above)  # below the shorter side of 4, or beyond
    size, stride = (6, 4), own_stride * 2**above
    networks = tiny_stage1(size, own_stride)
    networks.levels *= 1 + above
    w, b = (variable.numpy() for variable in networks.discriminator.trainable_variables)
    bias = networks.generator.trainable_variables[1].numpy()
    stack = RNG.uniform(-1, 1, [3, size[0] * stride, size[1] * stride, 2]).astype(np.float32)
    stack[..., 1] = stack[..., 1] > -0.5  # the field of view
    found = stage1.make_level_step(networks, 0, [sgd(), sgd()], SETTINGS | {"r1": r1})(tf.constant(8, tf.int64), stack)

    real = (
        np.where(stack[..., 1] > 0, stack[..., 0], -1)
        .reshape(3, size[0], stride, size[1], stride)
        .mean((2, 4))
        .reshape(3, -1)
    )
    fake = np.repeat(np.tanh(bias)[None], 3, 0)
    on_real, on_fake = real @ w + b, fake @ w + b
    np.testing.assert_allclose(found["discriminator"], softplus(-on_real).mean() + softplus(on_fake).mean(), rtol=1e-5)
    np.testing.assert_allclose(found["generator"], softplus(-on_fake).mean(), rtol=1e-5)

    to_w = (-sigmoid(-on_real) * real + sigmoid(on_fake) * fake).mean(0)[:, None]
    r1 *= 1 if above else 2
    to_w += stage1.R1_EVERY * r1 * w  # of r1 / 2 |w|^2, the gradient of a linear critic being w
    to_bias = (-sigmoid(-on_fake) * w.T * (1 - fake**2)).mean(0)  # through the discriminator as it was
    np.testing.assert_allclose(networks.discriminator.trainable_variables[0], w - to_w, atol=1e-5)
    to_b = (-sigmoid(-on_real) + sigmoid(on_fake)).mean(0)
    np.testing.assert_allclose(networks.discriminator.trainable_variables[1], b - to_b, atol=1e-5)
    np.testing.assert_allclose(networks.generator.trainable_variables[1], bias - to_bias, atol=1e-5)


def test_r1_comes_every_eighth_step_and_z_and_warp_are_functions_of_seed_and_step():
    networks = tiny_stage1((8, 8))
    networks.generator.trainable_variables[0].assign(RNG.normal(size=[2, 64]))
    variables = networks.generator.variables + networks.discriminator.variables
    start = [variable.numpy() for variable in variables]
    stack = np.concatenate([RNG.uniform(-1, 1, [4, 8, 8, 1]), np.ones([4, 8, 8, 1])], -1).astype(np.float32)
    optimizers = [sgd(), sgd()]

    def weights_after(step, number):
        for variable, value in zip(variables, start, strict=True):
            variable.assign(value)
        step(tf.constant(number, tf.int64), stack)
        return np.concatenate([variable.numpy().ravel() for variable in variables])

    warped = only_step(networks, optimizers, SETTINGS | {"warp": True})
    assert (weights_after(warped, 3) == weights_after(warped, 3)).all()
    assert (weights_after(warped, 3) != weights_after(warped, 4)).any()
    other = only_step(networks, optimizers, SETTINGS | {"warp": True, "seed": 5})
    assert (weights_after(warped, 3) != weights_after(other, 3)).any()
    plain, penalised = (only_step(networks, optimizers, SETTINGS | {"r1": r1}) for r1 in (0.0, 1.0))
    for number, is_penalised in ((0, True), (1, False), (7, False), (16, True)):
        assert np.allclose(weights_after(plain, number), weights_after(penalised, number), atol=1e-6) != is_penalised


# ---------------------------------------------------------------- growing

GROWING = SETTINGS | {"latent": 5, "image_size": (128, 160), "model": "selfmod", "half_size": False, "field_scale": 3.0, "average": 0.9}
GROWING |= {"grow_every": 2, "learning_rate": 1e-3, "rate_decay": 9, "beta1": 0.0, "beta2": 0.99, "r1": 3.0, "warp": True}


def stack_of(settings, batch=2):
    fields = np.random.default_rng(0).uniform(-1, 1, [batch, *settings["image_size"], 3]).astype(np.float32)
    fields[..., 2] = 1
    return fields


def weights_of(models):
    return {id(weight): weight.numpy() for model in models for weight in model.trainable_variables}


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_each_level_learns_in_its_steps_and_what_is_not_there_yet_stays_put(policy):
    tf.keras.mixed_precision.set_global_policy(policy)  # conftest.py sets it back
    tf.keras.utils.set_random_seed(1)
    networks = stage1.build(GROWING)
    optimizers = [stage1.make_optimizer(GROWING, model) for model in (networks.generator, networks.discriminator)]
    steps = stage1.make_step(networks, optimizers, GROWING)
    assert [first for first, _ in steps] == [0, 2] and len(networks.levels) == 2
    small, large = networks.levels
    present = weights_of(small).keys()
    begun = weights_of(large)
    slots = {id(slot): slot.numpy() for optimizer in optimizers for slot in optimizer.variables}

    def take(number):
        losses = loop._run(tf.distribute.get_strategy(), steps, number, (stack_of(GROWING),))
        assert losses.keys() == {"discriminator", "generator"} and np.isfinite([*losses.values()]).all()

    for number in (0, 1):
        take(number)
    before = weights_of(large)
    moved = {key for key, value in before.items() if (value != begun[key]).any()}
    assert moved == present and present < begun.keys()
    for optimizer, model in zip(optimizers, large, strict=True):
        assert {id(variable) for variable in model.trainable_variables} - present  # both grow
        built = optimizer._velocities
        for variable, velocity in zip(model.trainable_variables, built, strict=True):
            assert (np.abs(velocity).max() > 0) == (id(variable) in present)
            assert id(variable) in present or (velocity.numpy() == slots[id(velocity)]).all()
        assert int(optimizer.iterations) == 2
    for number in (2, 3, 4):  # at first the last of the new layers, which were 0; then what lies before them
        take(number)
    after = weights_of(large)
    assert {key for key, value in after.items() if (value != before[key]).any()} == after.keys()
    samples = networks.generator(tf.zeros([1, 5]))
    assert samples.dtype == tf.float32 and np.isfinite(samples).all()
    assert all(weight.dtype == tf.float32 for model in large for weight in model.weights)


def test_without_growing_the_full_size_is_trained_from_the_first_step_on():
    networks = stage1.build(GROWING)
    steps = stage1.make_step(networks, None, GROWING | {"grow_every": 0})
    ran = [(first, lambda number, level=level: {"level": level}) for level, (first, _) in enumerate(steps)]
    assert [loop._run(tf.distribute.get_strategy(), ran, number, ())["level"] for number in (0, 1, 9)] == [1, 1, 1]


def test_each_level_sees_the_fields_reduced_before_they_are_warped(monkeypatch):
    networks, seen = tiny_stage1((12, 8)), []
    monkeypatch.setattr(augment, "random_warp", lambda fields, *_, **__: seen.append(fields) or fields)
    networks.levels[:0] = [*tiny_stage1((3, 2)).levels, *tiny_stage1((6, 4)).levels]
    stack = tf.constant(RNG.uniform(-1, 1, [3, 12, 8, 2]), tf.float32)
    stack = tf.concat([stack[..., :1], tf.ones_like(stack[..., 1:])], -1)
    idle = types.SimpleNamespace(apply_gradients=list)  # these levels share no variables
    steps = stage1.make_step(networks, [idle, idle], SETTINGS | {"warp": True, "grow_every": 8})
    assert [first for first, _ in steps] == [0, 8, 16]
    tf.config.run_functions_eagerly(True)
    try:
        for stride, (_, step) in zip((4, 2, 1), steps, strict=True):
            step(tf.constant(3, tf.int64), stack)
            means = stack[..., 0].numpy().reshape(3, 12 // stride, stride, 8 // stride, stride).mean((2, 4))
            np.testing.assert_allclose(seen.pop()[..., 0], means, atol=1e-6)
    finally:
        tf.config.run_functions_eagerly(False)


# ---------------------------------------------------------------- one step of stage 2, by hand


def tiny_stage2():
    """A generator a * mask + c and a discriminator of single pixels, both linear, of any size."""
    mask, seed, pair = (tf.keras.Input([None, None, 1]), tf.keras.Input([2], dtype=tf.int32), tf.keras.Input([None, None, 4]))
    initial = tf.keras.initializers.RandomNormal(0, 0.3, seed=1)
    generator = tf.keras.Model([mask, seed], tf.keras.layers.Conv2D(3, 1, kernel_initializer=initial)(mask))
    discriminator = tf.keras.Model(pair, tf.keras.layers.Conv2D(1, 1, kernel_initializer=initial)(pair))
    return stage2.Stage2(generator, discriminator, False)


STAGE2 = {"seed": 4, "warp": False, "jitter": 0, "l1": 10.0, "colours": False}


def by_hand(networks, photograph, mask, l1_weight):
    """Losses and gradients of Isola et al. 2017 eq. 1-4 for the tiny networks, [pixels, channels] each."""
    (a, c), (w, b) = (
        ([v.numpy() for v in model.trainable_variables]) for model in (networks.generator, networks.discriminator)
    )
    photograph, mask = photograph.reshape(-1, 3), mask.reshape(-1, 1)
    a, w = a[0, 0], w[0, 0]
    fake = mask @ a + c
    on_real, on_fake = (np.concatenate([mask, shown], -1) @ w + b for shown in (photograph, fake))
    d_loss = (softplus(-on_real).mean() + softplus(on_fake).mean()) / 2
    adversarial, l1 = softplus(-on_fake).mean(), np.abs(photograph - fake).mean()
    to_fake = -sigmoid(-on_fake) @ w[1:].T / len(fake) + l1_weight * np.sign(fake - photograph) / fake.size
    to_real = -sigmoid(-on_real) * np.concatenate([mask, photograph], -1) + sigmoid(on_fake) * np.concatenate(
        [mask, fake], -1
    )
    return (d_loss, adversarial, l1), (a - mask.T @ to_fake, c - to_fake.sum(0), w - to_real.mean(0)[:, None] / 2)


def check_step(networks, settings, stack, photograph, mask):
    expected, (a, c, w) = by_hand(networks, photograph, mask, settings["l1"])
    found = stage2.make_step(networks, [sgd(), sgd()], settings)(tf.constant(3, tf.int64), stack)
    np.testing.assert_allclose([found[key] for key in ("discriminator", "adversarial", "l1")], expected, rtol=1e-4)
    np.testing.assert_allclose(networks.generator.trainable_variables[0][0, 0], a, atol=1e-4)
    np.testing.assert_allclose(networks.generator.trainable_variables[1], c, atol=1e-4)
    np.testing.assert_allclose(networks.discriminator.trainable_variables[0][0, 0], w, atol=1e-4)


@pytest.mark.parametrize("l1", [100.0, 1.0])
def test_a_step_of_stage_2_is_the_algorithm_by_hand(l1):
    stack = RNG.uniform(-1, 1, [2, 8, 8, 6]).astype(np.float32)
    check_step(tiny_stage2(), STAGE2 | {"l1": l1}, stack, stack[..., :3], np.where(stack[..., 3] > 0, 1.0, -1.0))


@pytest.mark.parametrize("inside", [0.0, 1.0])
def test_warped_pairs_stay_pairs_and_are_black_outside_the_field_of_view(inside):
    """Constant pictures stay what they are under any warp."""
    stack = np.tile(np.float32([0.5, 0.2, -0.3, 0.8, 0.9, inside]), [2, 8, 8, 1])
    photograph = stack[..., :3] if inside else np.full([2, 8, 8, 3], -1.0)
    check_step(tiny_stage2(), STAGE2 | {"warp": True}, stack, photograph, np.full([2, 8, 8], 1.0 if inside else -1.0))


def pieces(mask):
    return ndimage.label(np.asarray(mask)[..., 0], np.ones([3, 3]))[1]


def test_warped_vessels_stay_whole():
    """What the networks of a step see: few pieces more than before the warp, and far fewer than by the wall alone."""
    real = [crop_sample(phantom.fundus(index), (128, 128)) for index in range(4)]
    pairs, seen = stage2.real_pairs(real), []
    networks = tiny_stage2()

    class Generator:
        trainable_variables = networks.generator.trainable_variables

        def __call__(self, inputs, training):
            seen.append(inputs[0])
            return networks.generator(inputs, training=training)

    step = stage2.make_step(stage2.Stage2(Generator(), networks.discriminator, False), [sgd(), sgd()], STAGE2 | {"warp": True})
    tf.config.run_functions_eagerly(True)
    try:
        for number in range(3):
            step(tf.constant(number, tf.int64), pairs)
    finally:
        tf.config.run_functions_eagerly(False)
    warped = np.concatenate(seen)
    assert set(np.unique(warped)) == {-1, 1}
    before = np.mean([pieces(sample.mask) for sample in real])
    walls = np.concatenate(
        [augment.random_warp(pairs[..., 3:4], [0, n], rotation=20.0, elastic=0.008, flip=(True, True)) for n in range(3)]
    )
    by_the_wall = np.mean([pieces(field > 0) for field in walls])
    assert np.mean([pieces(mask > 0) for mask in warped]) < before + 0.15 * (by_the_wall - before)
    area = np.mean(warped > 0) / np.mean([sample.mask for sample in real])
    assert 0.9 < area < 1.3  # warps magnify by up to 1.15 along each side


def test_colours_are_mean_and_deviation_inside_the_field_of_view():
    photographs = RNG.normal(size=[2, 8, 8, 3]).astype(np.float32)
    inside = (RNG.random([2, 8, 8, 1]) < 0.6).astype(np.float32)
    found = stage2.colours_of(photographs, inside).numpy()
    for index in range(2):
        pixels = photographs[index][inside[index, ..., 0] > 0]
        np.testing.assert_allclose(found[index, 0, 0], [*pixels.mean(0), *pixels.std(0)], atol=1e-5)
    assert (stage2.colours_of(photographs, 0 * inside).numpy() == 0).all()


def test_the_generator_is_told_the_real_colours_in_training_and_drawn_ones_when_sampling():
    told = []

    class Generator:
        def __call__(self, inputs, training):
            told.append(np.array(inputs[0]))
            return tf.zeros([1, 8, 8, 3])

    mean = np.array([0.1, -0.1, -0.3, 0.2, 0.1, 0.1])
    networks = stage2.Stage2(Generator(), None, False, (mean, 0.05 * np.eye(6)))
    for index in range(300):
        stage2.translate(networks, np.ones([1, 8, 8, 1]), [7, index])
    stage2.translate(networks, np.ones([1, 8, 8, 1]), [7, 0])
    told = np.concatenate(told)
    assert told.shape == (301, 8, 8, 7) and (told[..., 0] == 1).all() and (told == told[:, :1, :1]).all()
    drawn = told[:300, 0, 0, 1:]
    assert (told[300] == told[0]).all() and len(np.unique(drawn[:, 0])) > 250
    np.testing.assert_allclose(drawn.mean(0), mean, atol=0.02)
    assert abs(drawn - mean).max() <= 0.1 + 1e-6 and drawn.std(0).min() > 0.03


def test_jittered_pairs_stay_pairs():
    stack = np.tile(np.float32([0.5, 0.2, -0.3, 0.8, 0.9, 1.0]), [1, 8, 8, 1])
    check_step(tiny_stage2(), STAGE2 | {"jitter": 64}, stack, stack[..., :3], np.ones([1, 8, 8]))


def test_real_pairs_and_translation():
    image = RNG.integers(0, 256, [64, 64, 3]).astype(np.uint8)
    deep = RNG.integers(0, 65536, [64, 64, 1]).astype(np.uint16)
    inside = np.zeros([64, 64, 1], np.uint8)
    inside[5:60, 5:60] = 1
    pair = stage2.real_pairs([Sample("a", image, wedge(), inside)])[0]
    np.testing.assert_allclose(pair[..., :3], image / 127.5 - 1, atol=1e-6)
    assert (pair[..., 3:5] == images.wall_and_centreline(wedge(), stage2.FIELD_SCALE)).all() and (pair[..., 5:] == inside).all()
    assert (images.to_uint8(pair[..., :3]) == image).all()
    grey = stage2.real_pairs([Sample("a", deep, wedge())])[0]
    np.testing.assert_allclose(grey[..., :1], deep / 32767.5 - 1, atol=1e-6)
    assert grey.shape == (64, 64, 4) and (grey[..., 3] == 1).all()

    mask = wedge(8, 8)[None]
    networks = tiny_stage2()
    a, c = (variable.numpy() for variable in networks.generator.trainable_variables)
    expected = np.clip(np.rint(((2.0 * mask - 1) * a[0, 0, 0] + c + 1) * 127.5), 0, 255)
    assert np.abs(stage2.translate(networks, mask, [1, 2]) - expected).max() <= 1
    assert (stage2.translate(networks, mask > 0, [1, 2]) == stage2.translate(networks, mask, [1, 2])).all()


class Painter:
    """A generator that knows the photograph of each mask."""

    def __init__(self, samples, photographs):
        self.known = {sample.mask.astype(bool).tobytes(): image for sample, image in zip(samples, photographs, strict=True)}

    def __call__(self, inputs, training):
        image = self.known[(np.asarray(inputs[0])[0] > 0).tobytes()]
        return tf.constant(image[None] / 127.5 - 1, tf.float32)


@pytest.mark.parametrize("with_views", [True, False])
def test_stage_2_is_measured_by_how_far_its_photographs_are_from_real_ones(with_views):
    eyes = [crop_sample(phantom.fundus(index), (64, 64)) for index in range(32)]
    if not with_views:
        eyes = [dataclasses.replace(eye, field_of_view=None) for eye in eyes]
    real, others = eyes[:16], eyes[16:]
    masks = [Sample(str(index), mask=eye.mask) for index, eye in enumerate(others)]
    blurred = [ndimage.gaussian_filter(eye.image, (1.5, 1.5, 0)) for eye in others]
    noisy = [np.clip(eye.image + RNG.normal(0, 12, eye.image.shape), 0, 255).astype(np.uint8) for eye in others]
    one_colour = [np.broadcast_to(eye.image.mean((0, 1)), eye.image.shape).astype(np.uint8) for eye in others]
    found = {}
    for name, photographs in {"other eyes": [eye.image for eye in others], "blurred": blurred, "noisy": noisy, "flat": one_colour}.items():
        networks = stage2.Stage2(Painter(others, photographs), None, False)
        measured, warning = stage2.measurement(networks, real, masks, seed=0)()
        assert measured.keys() == {"distance"} and warning == ""
        found[name] = measured["distance"]
    assert abs(found["other eyes"]) < 0.1 * min(found[name] for name in ("blurred", "noisy", "flat"))


def test_against_one_photograph_stage_2_is_not_measured():
    eyes = [crop_sample(phantom.fundus(index), (64, 64)) for index in range(2)]
    networks = stage2.Stage2(Painter(eyes, [eye.image for eye in eyes]), None, False)
    assert stage2.measurement(networks, eyes[:1], eyes, 0)() == ({"distance": 0.0}, "")
    assert stage2.measurement(networks, eyes, eyes[:1], 0)() == ({"distance": 0.0}, "")


def test_stage_2_ends_with_the_weights_that_checkpoint_names(tmp_path, monkeypatch):
    distances, painted, weights = iter([0.5, 0.1, 0.3]), [], {}

    def measurement(networks, real, masks, seed):
        def measure():
            weights[len(weights) + 1] = networks.generator.get_weights()
            painted.append(len(masks))
            return {"distance": next(distances)}, ""

        return measure

    monkeypatch.setattr(loop, "GRID_EVERY", 1)
    monkeypatch.setattr(stage2, "build", lambda *_: tiny_stage2())
    monkeypatch.setattr(stage2, "measurement", measurement)
    settings = STAGE2 | {"batch_size": 1, "optimizer": "adam", "learning_rate": 0.1, "beta1": 0.5, "checkpoint": "best"}
    real = [Sample(str(i), RNG.integers(0, 256, [8, 8, 3]).astype(np.uint8), wedge(8, 8)) for i in range(3)]
    masks = [Sample(str(i), mask=wedge(8, 8)) for i in range(stage2.MEASURED + 1)]
    for which, step in (("best", 2), ("last", 3), ("1", 1)):
        networks, result = stage2.train(tmp_path, real, settings | {"checkpoint": which}, 3, masks=masks)
        assert result["sampled_step"] == step and result["sampler"] == str(tmp_path / "samplers" / f"ckpt-{step}")
        for found, expected in zip(networks.generator.get_weights(), weights[step], strict=True):
            np.testing.assert_array_equal(found, expected)
    assert painted == [stage2.MEASURED] * 3 and (weights[1][0] != weights[2][0]).any() and (weights[2][0] != weights[3][0]).any()
    networks, result = stage2.train(tmp_path, real, settings, 3)
    assert "sampler" not in result and "sampled_step" not in result
    for found, expected in zip(networks.generator.get_weights(), weights[3], strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_step_of_small_datas_stage_2_in_both_precisions(policy):
    tf.keras.mixed_precision.set_global_policy(policy)  # conftest.py sets it back
    settings = flags.STAGE2_PRESETS["small_data"] | {"image_size": (64, 80), "seed": 0, "preset": "small_data"}
    tf.keras.utils.set_random_seed(1)
    networks = stage2.build(settings, 3)
    optimizers = [stage2.make_optimizer(settings, model) for model in (networks.generator, networks.discriminator)]
    pairs = stage2.real_pairs([crop_sample(phantom.fundus(index), (64, 80)) for index in range(2)])
    before = [weight.numpy() for weight in networks.generator.trainable_variables]
    found = stage2.make_step(networks, optimizers, settings)(tf.constant(0, tf.int64), pairs)
    assert all(np.isfinite(loss) and loss.dtype == tf.float32 for loss in found.values())
    after = networks.generator.trainable_variables
    assert all(np.isfinite(weight).all() and weight.dtype == tf.float32 for weight in after)
    assert all((old != new.numpy()).any() for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize("preset", flags.STAGE2_PRESETS)
def test_optimizers_of_the_presets(preset):
    settings = flags.STAGE2_PRESETS[preset]
    optimizer = stage2.make_optimizer(settings, tiny_stage2().generator)
    kind = tf.keras.optimizers.RMSprop if preset == "authors2017" else tf.keras.optimizers.Adam
    assert isinstance(optimizer, kind) and float(optimizer.learning_rate) == pytest.approx(settings["learning_rate"])
    if kind is tf.keras.optimizers.Adam:
        assert (optimizer.beta_1, optimizer.beta_2) == (0.5, 0.999)


# ---------------------------------------------------------------- several replicas

REPLICAS = """
import sys
import numpy as np
import tensorflow as tf
devices = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(devices[0], [tf.config.LogicalDeviceConfiguration()] * 2)
sys.path.insert(0, {tests!r})
import test_stages as t
from pathlib import Path
from synthmed_tf.training import loop
stacks = {{"stage1": np.random.default_rng(1).uniform(-1, 1, [4, 6, 4, 2]), "stage2": np.random.default_rng(1).uniform(-1, 1, [4, 8, 8, 6])}}
for strategy, folder in ((tf.distribute.get_strategy(), "one"), (tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), "two")):
    for stage in ("stage1", "stage2"):
        stack = stacks[stage].astype(np.float32)
        stack[..., -1] = stack[..., -1] > -0.5
        with strategy.scope():
            tf.keras.utils.set_random_seed(2)
            networks = t.tiny_stage1((6, 4)) if stage == "stage1" else t.tiny_stage2()
            levels = [(networks.generator, networks.discriminator)]
            if stage == "stage1":  # one step of each of two levels
                networks.levels[:0] = t.tiny_stage1((3, 2)).levels
                levels = networks.levels
            optimizers = [t.sgd(), t.sgd()]
            for optimizer, models in zip(optimizers, zip(*levels)):
                optimizer.build([variable for model in models for variable in model.trainable_variables])
        settings = t.SETTINGS | {{"r1": 0.7, "grow_every": 1}} if stage == "stage1" else t.STAGE2
        step = (t.stage1 if stage == "stage1" else t.stage2).make_step(networks, optimizers, settings, strategy.num_replicas_in_sync)
        state = {{"generator": networks.generator, "discriminator": networks.discriminator}}
        where = Path({folder!r}) / folder / stage
        where.mkdir(parents=True)
        loop.fit(where, step, lambda index: (stack,), state, len(levels), images_per_step=4, strategy=strategy)
        models = [model for pair in levels for model in pair]
        np.savez(where / "weights.npz", **{{f"{{place}}-{{i}}": w for place, m in enumerate(models) for i, w in enumerate(m.get_weights())}})
"""


def test_two_replicas_with_half_a_batch_each_do_the_same_step(tmp_path):
    source = REPLICAS.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    root = str(Path(__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": root, "TF_CPP_MIN_LOG_LEVEL": "3"}
    result = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr[-3000:]
    for stage in ("stage1", "stage2"):
        one, two = (np.load(tmp_path / folder / stage / "weights.npz") for folder in ("one", "two"))
        for name in one.files:
            if stage == "stage1" and name in ("0-0", "2-0"):
                continue  # the generators' kernels depend on z, which is the replica's own
            np.testing.assert_allclose(one[name], two[name], atol=1e-5, err_msg=f"{stage} {name}")
        one, two = ((tmp_path / folder / stage / "metrics.jsonl").read_text() for folder in ("one", "two"))
        one, two = json.loads(one), json.loads(two)
        np.testing.assert_allclose([*one.values()], [*two.values()], atol=2e-6)
        assert one.keys() == two.keys() and len(one) >= 3


# ---------------------------------------------------------------- the U-Net's data


def test_colours_are_normalised_inside_the_field_of_view():
    image = RNG.integers(0, 255, [20, 30, 3]).astype(np.uint8)
    inside = np.zeros([20, 30, 1], np.uint8)
    inside[3:15, 4:20] = 1
    found = segmenter.normalise(image, inside)
    values = found[3:15, 4:20]
    np.testing.assert_allclose(values.mean((0, 1)), 0, atol=1e-4)
    np.testing.assert_allclose(values.std((0, 1)), 1, atol=1e-3)
    assert found.dtype == np.float32 and (found * (1 - inside) == 0).all()
    np.testing.assert_allclose(segmenter.normalise(image, None).std((0, 1)), 1, atol=1e-3)
    assert np.isfinite(segmenter.normalise(image, 0 * inside)).all()  # nothing inside: everything counts
    assert (segmenter.normalise(np.full_like(image, 9), None) == 0).all()
    deep = segmenter.normalise(image.astype(np.uint16) * 257, inside)
    np.testing.assert_allclose(deep, found, atol=1e-3)


def test_prediction_of_any_size_is_the_models_and_0_outside_the_field_of_view():
    picture = tf.keras.Input([None, None, 3])
    model = tf.keras.Model(picture, tf.keras.layers.Lambda(lambda x: x[..., :1])(picture))
    samples = []
    for height, width in ((17, 33), (16, 48)):
        inside = np.ones([height, width, 1], np.uint8)
        inside[:, :5] = 0
        samples.append(Sample("a", RNG.integers(0, 255, [height, width, 3]).astype(np.uint8), field_of_view=inside))
    samples.append(Sample("b", samples[0].image))
    for sample, found in zip(samples, segmenter.predict(model, samples), strict=True):
        expected = sigmoid(segmenter.normalise(sample.image, sample.field_of_view)[..., 0])
        if sample.field_of_view is not None:
            expected *= sample.field_of_view[..., 0]
        assert found.shape == sample.image.shape[:2] and found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_segmentation_loss_is_weighted_by_the_field_of_view_in_the_step():
    logits, masks = RNG.normal(size=[1, 4, 4, 1]), RNG.integers(0, 2, [1, 4, 4, 1])
    weights = RNG.integers(0, 2, [1, 4, 4, 1])
    expected = (weights * softplus(np.where(masks, -logits, logits))).sum() / weights.sum()
    np.testing.assert_allclose(losses.segmentation_cross_entropy(logits, masks, weights), expected, rtol=1e-5)
