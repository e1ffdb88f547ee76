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
from scipy import ndimage, stats

from synthmed_tf import augment, flags, losses
from synthmed_tf.datasets.phantoms import fundus, vessels
from synthmed_tf.datasets.prepare import crop_sample
from synthmed_tf.images.pixels import to_uint8
from synthmed_tf.metrics import likeness, shapes
from synthmed_tf.networks import layers
from synthmed_tf.sample import Sample
from synthmed_tf.smalldata.fields import make_fields, measure_thickness
from synthmed_tf.training import calibration, checkpoints, decoder, loop, refiner, stage1, stage2

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


def pieces(mask):
    return ndimage.label(np.asarray(mask)[..., 0], np.ones([3, 3]))[1]


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
    assert (
        first.shape == (64, 64, 3) and (first[..., -1:] == inside).all() and ((first[..., :1] > 0) == (mask > 0)).all()
    )
    assert np.abs(first[..., :2]).max() <= 1
    assert ((second[..., :1] > 0) == (real_masks()[1].mask > 0)).all()  # not turned: already on the left
    row = 64 // 2
    assert first[0, 63, 0] < -0.99 and 0 < first[row, 60, 0] < first[row, 5, 0]  # deeper inside where it is thicker


@pytest.mark.parametrize(("size", "scale"), [((128, 64), 4.0), ((128, 160), 4.0), ((256, 256), 8.0), ((320, 192), 6.0)])
def test_fields_are_as_wide_as_the_image_asks_for(size, scale):
    mask = wedge(*size)
    (fields,) = stage1.real_fields([Sample("a", mask=mask)], {"target": "mask", "warp": False, "field_scale": 4.0})
    np.testing.assert_array_equal(fields[..., :2], make_fields(mask, scale, scale / 2))


def test_real_fields_of_photographs_are_their_pixels():
    photograph = RNG.integers(0, 256, [16, 16, 3], dtype=np.uint8)
    fields = stage1.real_fields([Sample("a", image=photograph)], {"target": "image", "warp": True, "field_scale": 0.0})
    assert fields.shape == (1, 16, 16, 4) and (fields[..., 3] == 1).all() and np.abs(fields[..., :3]).max() <= 1
    networks = stage1.Stage1("image", None, None, None, (), 1, 3)
    assert (networks.pictures(fields[..., :3])[0] == photograph).all()


def test_what_stage_1_is_measured_by_tells_real_masks_from_broken_and_from_repeated_ones():
    masks = np.stack([crop_sample(fundus.draw_fundus(index), (64, 64)).mask for index in range(24)])
    real = [Sample(str(i), mask=mask) for i, mask in enumerate(masks[:12])]
    found = {}
    broken = masks[12:] * (RNG.random(masks[12:].shape) < 0.8).astype(np.uint8)
    sets = {
        "real": masks[12:],
        "broken": broken,
        "repeated": masks[:1].repeat(12, 0),
        "empty": 0 * masks[:12],
        "copied": masks[:12],
    }
    for name, made in sets.items():
        found[name] = calibration.measurement(gan_of(made * 2.0 - 1), real, {"target": "mask", "seed": 0})()
    distance, diversity = ({name: each[0][key] for name, each in found.items()} for key in ("distance", "diversity"))
    assert distance["real"] < 0.6 * min(distance["broken"], distance["repeated"], distance["empty"])
    assert diversity["real"] > 0.9 and diversity["repeated"] == diversity["empty"] == 0
    assert [name for name, (_, warning) in found.items() if warning] == ["repeated", "empty"]
    originality = {name: each["originality"] for name, (each, _) in found.items()}
    assert max(originality["copied"], originality["repeated"]) < 1e-5
    assert 0.9 < originality["real"] < 1.1 < originality["empty"]
    small = likeness.make_mask_thumbnails(masks)
    alike = [likeness.compare(small[i : i + 1], np.delete(small[:12], i, 0))[0].max() for i in range(12)]
    nearest = likeness.compare(small[12:], small[:12])[0].max(1)
    expected = (1 - np.median(nearest)) / (1 - np.median(alike))
    assert originality["real"] == pytest.approx(expected, rel=0.03)  # 64 samples of these 12, not each as often


def test_a_class_of_one_picture_is_low_diversity_however_varied_the_others_are():
    pictures = RNG.uniform(-1, 1, [64, 32, 32, 1]).astype(np.float32)
    labels = np.eye(2, dtype=np.float32)[np.arange(64) % 2]
    real = [Sample(str(i), to_uint8(each), label="ab"[i % 2]) for i, each in enumerate(pictures)]

    def made(collapsed):
        networks = gan_of(pictures * (1 - collapsed * labels[:, 1])[:, None, None, None], "image")
        z, label = tf.keras.Input([3]), tf.keras.Input([2])
        networks.generator = tf.keras.Model([z, label], networks.generator(z))
        networks.typical = labels
        return calibration.measurement(networks, real, {"target": "image", "seed": 0})()

    found, warning = made(0)
    assert found["diversity"] == pytest.approx(1) and not warning
    found, warning = made(1)
    assert found["diversity"] == 0 and "LOW DIVERSITY 0.00" in warning


@pytest.mark.parametrize("target", ["mask", "image"])
@pytest.mark.parametrize("count", [1, 3])
def test_against_one_picture_or_equal_ones_nothing_is_measured(target, count):
    real = [Sample(str(i), wedge().repeat(3, -1) * np.uint8(9), wedge()) for i in range(count)]
    networks = gan_of(np.zeros([1, 64, 64, {"mask": 1, "image": 3}[target]]), target)
    assert calibration.measurement(networks, real, {"target": target, "seed": 0})() == ({"distance": 0.0}, "")


def test_the_mean_distance_is_that_of_what_can_be_measured():
    undefined = dict.fromkeys(shapes.STATISTICS)

    def described(*lengths):
        return [undefined | {"skeleton_length": length, "components": 2.0} for length in lengths]

    real = described(10.0, 14.0)
    assert calibration.mean_distance(real, real) == 0
    assert calibration.mean_distance(real, described(15.0, 19.0)) == pytest.approx(5 / 8**0.5 / 2)
    assert calibration.mean_distance([undefined], [undefined]) == 0


def test_of_a_large_set_whole_patients_are_held_out_to_measure_against(monkeypatch):
    monkeypatch.setattr(stage1, "HELD_OUT", 8)
    monkeypatch.setattr(stage1, "LEAST_DIVIDED", 60)
    samples = [Sample(str(index), group=f"patient {index // 3}" if index < 30 else None) for index in range(60)]
    learned, held_out = stage1.divided(samples, 0)
    assert 8 <= len(held_out) <= 10 and sorted(s.id for s in [*learned, *held_out]) == sorted(s.id for s in samples)
    assert not {s.group for s in learned} & {s.group for s in held_out} - {None}
    assert stage1.divided(samples, 0) == (learned, held_out) != stage1.divided(samples, 1)
    assert stage1.divided(samples[1:], 0) == (samples[1:], [])


def test_samples_have_the_field_of_view_of_most_real_ones():
    views = [np.array([[[a]], [[b]]], np.uint8) for a, b in ((1, 0), (1, 1), (1, 0))]
    found = calibration.common_view([Sample("a", field_of_view=view) for view in views])
    assert found.dtype == np.uint8 and found.tolist() == views[0].tolist()
    assert calibration.common_view([Sample("a", mask=views[0])]) is None


def test_fields_at_half_size_are_means_and_come_back():
    fields = RNG.normal(size=[2, 8, 6, 1]).astype(np.float32)
    halved = stage1.reduce(fields, 2)
    np.testing.assert_allclose(halved[0, 1, 2, 0], fields[0, 2:4, 4:6, 0].mean(), atol=1e-6)
    assert stage1.enlarge(halved, 2).shape == fields.shape and (stage1.reduce(fields, 1) == fields).all()
    np.testing.assert_allclose(stage1.enlarge(stage1.reduce(np.full_like(fields, 0.3), 2), 2), 0.3, atol=1e-6)


def gan_of(fields, target="mask", stride=1):
    """A GAN that makes one of `fields` [count, height, width, c] whatever z, each as often."""
    z = tf.keras.Input([3])

    def choose(z):
        return tf.gather(tf.constant(fields, tf.float32), tf.range(tf.shape(z)[0]) % len(fields))

    network = tf.keras.Model(z, tf.keras.layers.Lambda(choose)(z))
    return stage1.Stage1(target, network, None, tf.keras.Sequential(), (3,), stride, fields.shape[-1])


def calibrated(fields, masks, stride=1):
    """A GAN of `fields` whose rule is calibrated to these real masks."""
    networks = gan_of(fields, stride=stride)
    calibration.calibrate(networks, [Sample(str(i), mask=mask) for i, mask in enumerate(masks)], {"seed": 0})
    return networks


def test_masks_of_halved_fields_keep_the_area_and_stay_whole():
    masks = np.stack([crop_sample(fundus.draw_fundus(index), (128, 128)).mask for index in range(3)])
    fields = np.stack([make_fields(mask, 4.0) for mask in masks])
    halved = stage1.reduce(fields, 2).numpy()
    found = calibrated(halved, masks, 2).masks(halved)
    beads = gan_of(halved[..., :1], stride=2).masks(halved[..., :1])  # the distance field alone
    assert found.dtype == np.uint8 and found.shape == masks.shape
    assert abs(found.mean() / masks.mean() - 1) < 0.15
    for mask, whole, broken in zip(masks, found, beads, strict=True):
        assert pieces(whole) < 0.1 * pieces(broken) and pieces(whole) <= pieces(mask) + 5
        assert 2 * (whole & mask).sum() / (whole.sum() + mask.sum()) > 0.6


def test_calibrated_masks_are_as_thick_as_real_ones():
    real = np.stack([crop_sample(fundus.draw_fundus(index), (64, 64)).mask for index in range(4)])
    thick = np.stack([make_fields(mask, 4.0) for mask in real])
    thick = augment.random_warp(thick, [0, 0], zoom=1.0).numpy()  # distances that are no multiples of half a pixel
    wanted = measure_thickness(real)
    walls = []
    for shift in (0.0, 0.25):  # of every wall, by a pixel
        fields = thick + np.float32([shift, 0])
        before = measure_thickness(gan_of(fields).masks(fields))
        networks = calibrated(fields, real)
        assert before > 1.3 * wanted and abs(measure_thickness(networks.masks(fields)) / wanted - 1) < 0.05
        walls.append(networks.rule["wall"])
    assert walls[1] - walls[0] == pytest.approx(0.25, abs=0.01)


def combs():
    """Masks of two to five vertical lines one pixel wide, of 20 to 50 pixels."""
    masks = np.zeros([4, 64, 64, 1], np.uint8)
    for index, mask in enumerate(masks):
        for line in range(2 + index):
            mask[5 : 25 + 6 * line, 8 + 10 * line] = 1
    return masks


def centrelines(masks, height):
    """Fields without walls whose second one is `height` on the masks."""
    return np.concatenate([np.full(masks.shape, -1.0), np.where(masks, height, -1.0)], -1)


@pytest.mark.parametrize(("true", "false", "ridge"), [(0.9, 0.4, 0.5), (0.4, 0.1, 0.25), (0.2, -0.2, 0.0)])
def test_the_ridge_is_the_one_between_true_and_false_centrelines(true, false, ridge):
    masks = combs()
    crossing = np.zeros_like(masks)
    crossing[:, 15, :] = 1  # leaves one piece of each comb
    networks = calibrated(np.maximum(centrelines(masks, true), centrelines(crossing, false)), masks)
    assert ridge in calibration.RIDGES and networks.rule["ridge"] == ridge
    assert (networks.masks(networks.draw(tf.zeros([4, 3]))) == masks).all()


def test_of_ridges_that_do_as_well_the_lowest_is_taken():
    masks = combs()
    assert calibrated(centrelines(masks, 0.9), masks).rule["ridge"] == min(calibration.RIDGES)


def test_specks_are_left_out_until_there_are_as_many_pieces_as_in_real_masks():
    masks, specks = combs(), np.zeros_like(combs())
    for size in range(1, 12):
        specks[:, 2 + 5 * size, 60 - size : 60] = 1  # away from the lines, the last of which is column 48, up to row 48
    networks = calibrated(centrelines(masks | specks, 0.9), masks)
    assert 11 < networks.rule["smallest"] <= 20
    assert (networks.masks(networks.draw(tf.zeros([4, 3]))) == masks).all()


def test_vessels_in_many_pieces_are_not_left_out_with_the_specks():
    masks = combs()
    broken = masks.copy()
    broken[:, 4::6] = 0  # pieces of five pixels
    broken[:, 60, 60] = 1
    networks = calibrated(centrelines(broken, 0.9), masks)  # a fifth of the pieces is wanted
    kept = networks.masks(networks.draw(tf.zeros([4, 3]))).sum() / broken.sum()
    assert kept > 0.9 and networks.rule["smallest"] <= 5


def test_a_mask_of_small_pieces_alone_keeps_the_largest_of_them():
    masks = combs()
    small = np.zeros_like(masks[:1])
    small[0, 10, 10:13], small[0, 20, 10:12] = 1, 1
    fields = centrelines(np.concatenate([masks, small]), 0.9)
    networks = calibrated(fields, masks[3:])  # which have five pieces each, and the fields less
    assert networks.rule["smallest"] == 1
    networks = calibrated(fields, masks[:1])  # two pieces each
    assert networks.rule["smallest"] > 3
    found = networks.masks(fields)
    assert found[4].sum() == 3 and (found[4] <= small[0]).all() and all(mask.any() for mask in found)


def test_noisy_fields_give_about_as_many_pieces_as_real_masks_have():
    masks = np.stack([crop_sample(fundus.draw_fundus(index), (64, 64)).mask for index in range(8)])
    fields = np.stack([make_fields(mask, 3.0) for mask in masks])
    fields += ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 1.2, fields.shape), (0, 1, 1, 0))
    networks = calibrated(fields, masks)
    found, wanted = networks.masks(fields), np.mean([pieces(mask) for mask in masks])
    networks.rule = networks.rule | {"smallest": 1}
    assert np.mean([pieces(mask) for mask in networks.masks(fields)]) > 3 * wanted
    assert np.mean([pieces(mask) for mask in found]) == pytest.approx(wanted, rel=0.25)


def test_real_masks_without_a_vessel_are_no_obstacle():
    masks = combs()
    for real in (0 * masks, np.concatenate([0 * masks, masks])):
        networks = calibrated(centrelines(masks, 0.9), real)
        assert networks.rule.keys() == {"wall", "ridge", "smallest"} and networks.rule["smallest"] >= 1
        assert networks.masks(networks.draw(tf.zeros([4, 3]))).shape == masks.shape


@pytest.mark.parametrize(("target", "channels"), [("mask", 1), ("image", 3), ("image", 2)])
def test_only_walls_with_centrelines_are_calibrated(target, channels):
    networks = gan_of(np.zeros([1, 8, 8, channels]), target)
    calibration.calibrate(networks, [Sample("a", mask=wedge(8, 8))], {"seed": 0})
    assert networks.rule == {}


FIELD_SIZES = [  # image size, size of the fields
    ((128, 128), (128, 128)),
    ((128, 256), (128, 256)),
    ((256, 256), (128, 128)),
    ((224, 256), (224, 256)),
    ((512, 576), (256, 288)),
    ((512, 544), (512, 544)),  # half of it is no multiple of 32
]


@pytest.mark.parametrize(("size", "expected"), FIELD_SIZES)
def test_fields_of_a_flow_are_of_half_the_size_where_it_allows_it(size, expected):
    settings = {"image_size": size, "half_size": True}
    assert stage1.field_size(settings) == expected
    assert stage1.field_size(settings | {"half_size": False}) == size


@pytest.mark.parametrize(
    ("words", "model", "fields", "latent"),
    [
        (["--image_size=64", "--model=flow"], "flow", (64, 64, 2), 0),
        (["--image_size=512x576", "--model=flow"], "flow", (256, 288, 2), 0),
        (["--image_size=64x80", "--target=image", "--model=flow"], "flow", (64, 80, 3), 0),
        ([], "dcgan", (128, 128, 2), 100),
        (["--image_size=144x128", "--model=dcgan"], "dcgan", (144, 128, 2), 100),
        (["--image_size=64", "--target=image"], "dcgan", (64, 64, 3), 100),
        (["--image_size=64", "--preset=paper"], "dcgan", (64, 64, 1), 100),
    ],
)
def test_networks_that_the_settings_ask_for(words, model, fields, latent):
    settings = flags.apply_preset(flags.parse("train_stage1", "", ["train_stage1.py", *words]), flags.STAGE1_PRESETS)
    settings["image_size"] = settings["image_size"] or (128, 128)
    networks = stage1.build(settings)
    assert settings["model"] == model and networks.generator.output_shape == (None, *fields)
    assert networks.stride == settings["image_size"][0] // fields[0] and networks.channels == fields[-1]
    assert networks.target == settings["target"]
    assert (networks.averaged is None) == ("--preset=paper" in words)
    assert networks.sampler is (networks.averaged or networks.generator)
    if model == "flow":
        assert networks.noise_shape == fields and networks.generator.input_shape == [(None, *fields), (None,)]
        assert networks.discriminator is None and networks.trained == {"generator": networks.generator}
    else:
        assert networks.noise_shape == (latent,) and networks.generator.input_shape == (None, latent)
        assert networks.discriminator.input_shape == (None, *fields)
        assert networks.trained == {"generator": networks.generator, "discriminator": networks.discriminator}


# ---------------------------------------------------------------- one step of stage 1, by hand


def tiny_gan(size, stride=1):
    """A generator whose first sample is tanh(bias) whatever z, and a linear discriminator."""
    z, field = tf.keras.Input([2]), tf.keras.Input([*size, 1])
    flat = tf.keras.layers.Dense(size[0] * size[1], kernel_initializer="zeros", bias_initializer="random_normal")(z)
    generator = tf.keras.Model(z, tf.keras.layers.Reshape([*size, 1])(tf.tanh(flat)))
    initial = tf.keras.initializers.RandomNormal(0, 0.3, seed=1)
    logit = tf.keras.layers.Dense(1, kernel_initializer=initial)(tf.keras.layers.Flatten()(field))
    return stage1.Stage1("mask", generator, None, tf.keras.Model(field, logit), (2,), stride, channels=1)


SETTINGS = {"target": "mask", "seed": 4, "r1": 0.0, "warp": False}


def sgds(networks):
    return {name: sgd() for name in networks.trained}


def stack_of(height, width, batch=3):
    """What real_fields makes: a field, and a field of view that leaves out a quarter of the pixels."""
    stack = RNG.uniform(-1, 1, [batch, height, width, 2]).astype(np.float32)
    stack[..., 1] = stack[..., 1] > -0.5
    return stack


def shown_of(stack, stride=1):
    """[batch, height, width, 1] that a network sees of it without warps."""
    batch, height, width, _ = stack.shape
    real = np.where(stack[..., 1] > 0, stack[..., 0], -1)
    return real.reshape(batch, height // stride, stride, width // stride, stride, 1).mean((2, 4))


@pytest.mark.parametrize("target", ["mask", "image"])
@pytest.mark.parametrize("stride", [1, 2])
def test_networks_are_shown_real_fields_warped_at_full_size_and_dark_outside(stride, target, monkeypatch):
    stack, warps = stack_of(8, 12), []

    def turned(fields, key, **options):
        warps.append((fields.shape, key, options["flip"]))
        return fields[:, ::-1]

    monkeypatch.setattr(augment, "random_warp", turned)
    networks, settings = tiny_gan((8 // stride, 12 // stride), stride), SETTINGS | {"target": target}
    np.testing.assert_allclose(stage1.shown(stack, [1, 2], networks, settings), shown_of(stack, stride), atol=1e-6)
    assert not warps
    found = stage1.shown(stack, [1, 2], networks, settings | {"warp": True})
    before = shown_of(stack) if target == "mask" else stack[..., :1]  # photographs go on beyond it
    upside_down = np.concatenate([before[:, ::-1], stack[..., 1:]], -1)  # the field of view is not warped
    np.testing.assert_allclose(found, shown_of(upside_down, stride), atol=1e-6)
    assert warps == [((3, 8, 12, 1), [1, 2], (False, target == "image"))]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("r1", [0.0, 0.7])
def test_a_step_of_a_gan_is_the_algorithm_by_hand(stride, r1):
    networks = tiny_gan((6, 4), stride)
    w, b = (variable.numpy() for variable in networks.discriminator.trainable_variables)
    bias = networks.generator.trainable_variables[1].numpy()
    stack = stack_of(6 * stride, 4 * stride)
    step = stage1.make_gan_step(networks, sgds(networks), SETTINGS | {"r1": r1})
    found = step(tf.constant(8, tf.int64), stack)

    real, fake = shown_of(stack, stride).reshape(3, -1), np.repeat(np.tanh(bias)[None], 3, 0)
    on_real, on_fake = real @ w + b, fake @ w + b
    np.testing.assert_allclose(found["discriminator"], softplus(-on_real).mean() + softplus(on_fake).mean(), rtol=1e-5)
    np.testing.assert_allclose(found["generator"], softplus(-on_fake).mean(), rtol=1e-5)

    to_w = (-sigmoid(-on_real) * real + sigmoid(on_fake) * fake).mean(0)[:, None]
    to_w += stage1.R1_EVERY * r1 * w  # of r1 / 2 |w|^2, the gradient of a linear critic being w
    to_bias = (-sigmoid(-on_fake) * w.T * (1 - fake**2)).mean(0)  # through the discriminator as it was
    np.testing.assert_allclose(networks.discriminator.trainable_variables[0], w - to_w, atol=1e-5)
    to_b = (-sigmoid(-on_real) + sigmoid(on_fake)).mean(0)
    np.testing.assert_allclose(networks.discriminator.trainable_variables[1], b - to_b, atol=1e-5)
    np.testing.assert_allclose(networks.generator.trainable_variables[1], bias - to_bias, atol=1e-5)


@pytest.mark.parametrize("words", [["--preset=paper"], ["--target=image"], ["--target=image", "--preset=paper"]])
def test_the_papers_dcgan_has_no_penalty(words, monkeypatch):
    monkeypatch.setattr(losses, "r1_penalty", lambda *_: pytest.fail("R1"))
    given = flags.parse("train_stage1", "", ["train_stage1.py", "--model=dcgan", *words])
    settings = flags.apply_preset(given, flags.STAGE1_PRESETS)
    assert settings["r1"] == 0
    networks = tiny_gan((6, 4))
    stage1.make_gan_step(networks, sgds(networks), SETTINGS | {"r1": settings["r1"]})(
        tf.constant(8, tf.int64), stack_of(6, 4)
    )


def test_r1_comes_every_eighth_step_and_z_and_warp_are_functions_of_seed_and_step():
    networks = tiny_gan((8, 8))
    networks.generator.trainable_variables[0].assign(RNG.normal(size=[2, 64]))
    variables = networks.generator.variables + networks.discriminator.variables
    start = [variable.numpy() for variable in variables]
    stack = np.concatenate([RNG.uniform(-1, 1, [4, 8, 8, 1]), np.ones([4, 8, 8, 1])], -1).astype(np.float32)
    optimizers = sgds(networks)

    def weights_after(step, number):
        for variable, value in zip(variables, start, strict=True):
            variable.assign(value)
        step(tf.constant(number, tf.int64), stack)
        return np.concatenate([variable.numpy().ravel() for variable in variables])

    warped = stage1.make_gan_step(networks, optimizers, SETTINGS | {"warp": True})
    assert (weights_after(warped, 3) == weights_after(warped, 3)).all()
    assert (weights_after(warped, 3) != weights_after(warped, 4)).any()
    other = stage1.make_gan_step(networks, optimizers, SETTINGS | {"warp": True, "seed": 5})
    assert (weights_after(warped, 3) != weights_after(other, 3)).any()
    plain, penalised = (stage1.make_gan_step(networks, optimizers, SETTINGS | {"r1": r1}) for r1 in (0.0, 1.0))
    for number, is_penalised in ((0, True), (1, False), (7, False), (16, True)):
        assert np.allclose(weights_after(plain, number), weights_after(penalised, number), atol=1e-6) != is_penalised


# ---------------------------------------------------------------- the flow, by hand


class Linear(tf.keras.layers.Layer):
    """a x + b t + c."""

    def build(self, _):
        constant = tf.keras.initializers.Constant
        self.factors = [self.add_weight(n, initializer=constant(v)) for n, v in (("a", 0.7), ("b", -0.4), ("c", 0.2))]

    def call(self, inputs):
        (x, time), (a, b, c) = inputs, self.factors
        return a * x + b * time[:, None, None, None] + c


def tiny_flow(size, stride=1):
    """Its image is 0.7 x - 0.4 t + 0.2."""
    fields, time = tf.keras.Input([*size, 1]), tf.keras.Input([])
    network = tf.keras.Model([fields, time], Linear()([fields, time]))
    return stage1.Stage1("mask", network, None, None, (*size, 1), stride, channels=1)


def flow_by_hand(real, seed, number, replica=0):
    """(loss, gradients) of Liu et al. 2023, eq. 1, for the tiny flow on what it is shown, [batch, height, width, 1]."""
    key = tf.random.experimental.stateless_fold_in([seed, number], replica)
    key = tf.random.experimental.stateless_split(key, 2)[0]
    noise = tf.random.stateless_normal(real.shape, key).numpy()
    times = (tf.random.stateless_uniform([], key + 1).numpy() + np.arange(len(real)) / len(real)) % 1
    times = (3 * times / (1 + 2 * times)).reshape(-1, 1, 1, 1)
    mixed = (1 - times) * real + times * noise
    least = np.maximum(times, stage1.EARLIEST)
    velocity = (mixed - (0.7 * mixed - 0.4 * times + 0.2)) / least
    error = velocity - (mixed - real) / least  # noise - real, where the time is not less
    factors = (mixed, times, np.ones_like(mixed))
    return np.square(error).mean(), [(-2 * error * factor / least).mean() for factor in factors]


@pytest.mark.parametrize(("stride", "replicas"), [(1, 1), (2, 1), (1, 2)])
def test_a_step_of_a_flow_is_the_algorithm_by_hand(stride, replicas):
    networks, stack = tiny_flow((6, 4), stride), stack_of(6 * stride, 4 * stride, batch=5)
    step = stage1.make_flow_step(networks, sgds(networks), SETTINGS, replicas)
    found = step(tf.constant(8, tf.int64), stack)
    loss, gradients = flow_by_hand(shown_of(stack, stride), SETTINGS["seed"], 8)
    assert found.keys() == {"velocity"}
    np.testing.assert_allclose(found["velocity"], loss, rtol=1e-5)
    weights = [weight.numpy() for weight in networks.generator.trainable_variables]
    np.testing.assert_allclose(weights, np.array([0.7, -0.4, 0.2]) - np.array(gradients) / replicas, atol=1e-5)


def test_the_times_of_a_batch_are_spread_evenly_and_differ_from_step_to_step():
    real, seen = shown_of(stack_of(6, 4, batch=8)), []

    class Network:
        trainable_variables = []

        def __call__(self, inputs, training):
            seen.append([each.numpy() for each in inputs])
            return tf.zeros_like(inputs[0])

    networks = tiny_flow((6, 4))
    networks.generator = Network()
    step = stage1.make_flow_step(networks, {"generator": types.SimpleNamespace(apply_gradients=list)}, SETTINGS)
    stack = np.concatenate([real, np.ones_like(real)], -1).astype(np.float32)
    tf.config.run_functions_eagerly(True)
    try:
        for number in range(3):
            step(tf.constant(number, tf.int64), stack)
    finally:
        tf.config.run_functions_eagerly(False)
    offsets = []
    for mixed, times in seen:
        assert (times >= 0).all() and (times <= 1).all()
        even = np.sort(times / (3 - 2 * times))  # undoes the shift
        np.testing.assert_allclose(np.diff(even), 1 / 8, atol=1e-5)
        offsets.append(even[0])
        times = times.reshape(-1, 1, 1, 1)
        noise = (mixed - (1 - times) * real) / times
        assert abs(noise.mean()) < 0.3 and abs(noise.std() - 1) < 0.25
    assert len({round(float(offset), 4) for offset in offsets}) == 3


def test_shifted_times_have_so_many_times_the_odds():
    times = np.linspace(0, 1, 101)[1:-1]
    found = stage1.shifted(times, 3.0)
    np.testing.assert_allclose(found / (1 - found), 3 * times / (1 - times), rtol=1e-9)
    assert [stage1.shifted(time, 3.0) for time in (0.0, 0.5, 1.0)] == [0, 0.75, 1] and (
        stage1.shifted(times, 1.0) == times
    ).all()


def flow_with(function):
    """A flow whose velocity is a function of x [batch, 3, 2, 1] and t [batch, 1, 1, 1]; and noise for it."""
    fields, time = tf.keras.Input([3, 2, 1]), tf.keras.Input([])
    times = time[:, None, None, None]
    network = tf.keras.Model([fields, time], fields - times * function(fields, times))
    return stage1.Stage1("mask", network, None, None, (3, 2, 1), 1, 1), RNG.normal(size=[4, 3, 2, 1]).astype(np.float32)


def test_a_flow_that_is_straight_is_followed_exactly():
    velocity, target = (RNG.normal(size=[3, 2, 1]).astype(np.float32) for _ in range(2))
    networks, noise = flow_with(lambda x, t: 0 * x + velocity)
    np.testing.assert_allclose(networks.draw(noise, fresh=0.0), noise - velocity, atol=1e-5)
    networks, noise = flow_with(lambda x, t: (x - target) / t)  # at every point the velocity of the line to the target
    np.testing.assert_allclose(networks.draw(noise), np.broadcast_to(target, noise.shape), atol=1e-5)


@pytest.mark.parametrize("steps", [1, 3, stage1.FLOW_STEPS])
def test_a_flow_without_fresh_noise_is_followed_by_eulers_method_from_noise_to_image(steps, monkeypatch):
    monkeypatch.setattr(stage1, "FLOW_STEPS", steps)
    networks, noise = flow_with(lambda x, t: 0.7 * x - 0.4 * t + 0.2)
    even = np.linspace(1, 0, steps + 1)
    times = 3 * even / (1 + 2 * even)
    expected = noise.astype(np.float64)
    for now, then in zip(times, times[1:]):
        expected += (then - now) * (0.7 * expected - 0.4 * now + 0.2)
    np.testing.assert_allclose(networks.draw(noise, fresh=0.0), expected, atol=1e-5)


def test_a_flow_with_the_ideal_denoiser_of_normal_data_draws_what_so_many_steps_make_of_it():
    mean, deviation = 0.3, 0.5

    def gain(t):
        return (1 - t) * deviation**2 / ((1 - t) ** 2 * deviation**2 + t**2)

    def velocity(x, t):
        return (x - mean - gain(t) * (x - (1 - t) * mean)) / t

    even, variance = np.linspace(1, 0, stage1.FLOW_STEPS + 1), 1.0
    times = 3 * even / (1 + 2 * even)
    for now, then in zip(times, times[1:]):  # each step is linear in x and the fresh noise
        kept = (1 - then) * gain(now) + then * np.sqrt(1 - stage1.FRESH**2) * (1 - (1 - now) * gain(now)) / now
        variance = kept**2 * variance + (then * stage1.FRESH) ** 2

    networks, _ = flow_with(velocity)
    noise = RNG.normal(size=[2000, 3, 2, 1]).astype(np.float32)
    drawn = networks.draw(noise).numpy()
    np.testing.assert_allclose(drawn.mean(0), mean, atol=0.05)
    assert 0.75 * deviation < np.sqrt(variance) < deviation  # so few steps draw it in
    assert drawn.std() == pytest.approx(np.sqrt(variance), rel=0.03)
    pixels = drawn.reshape(2000, 6)
    assert np.abs(np.corrcoef(pixels.T) - np.eye(6)).max() < 0.1  # 4 standard deviations
    assert abs(np.corrcoef(noise.ravel(), drawn.ravel())[0, 1]) < 0.05  # nothing is left of the noise it began with


def test_the_fresh_noise_of_a_flows_sample_is_a_function_of_its_own_noise_alone():
    networks, noise = flow_with(lambda x, t: 0.7 * x)
    together = networks.draw(noise).numpy()
    np.testing.assert_allclose(np.concatenate([networks.draw(noise[i : i + 1]) for i in range(4)]), together, atol=1e-5)
    changed = noise + np.float32([[1e-3], [0], [0], [0]])[..., None, None]
    moved = np.abs(networks.draw(changed).numpy() - together).max((1, 2, 3))
    assert moved[0] > 0.1 and moved[1:].max() < 1e-5


@pytest.mark.parametrize("left_out", [1 / 4, 3 / 4, 1])
def test_fields_are_redrawn_from_the_time_after_the_steps_left_out(left_out):
    even = np.linspace(1, 0, stage1.FLOW_STEPS + 1)
    times = (3 * even / (1 + 2 * even))[round(left_out * stage1.FLOW_STEPS) :]
    networks, fields = flow_with(lambda x, t: 0.7 * x - 0.4 * t + 0.2)
    expected = (1 - times[0]) * fields + times[0] * tf.random.stateless_normal(fields.shape, [3, 1]).numpy().astype(
        np.float64
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage1, "FRESH", 0.0)
        found = networks.redraw(fields, [3, 1], left_out)
    for now, then in zip(times, times[1:]):
        expected += (then - now) * (0.7 * expected - 0.4 * now + 0.2)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_redrawn_fields_are_halved_and_enlarged_as_the_flow_needs_it():
    networks, _ = flow_with(lambda x, t: 0 * x)
    networks.stride = 2
    fields = RNG.normal(size=[2, 6, 4, 1]).astype(np.float32)
    expected = stage1.enlarge(stage1.reduce(fields, 2), 2)
    np.testing.assert_allclose(networks.redraw(fields, [0, 0], 1), expected, atol=1e-5)


# ---------------------------------------------------------------- refiner, decoder


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_a_refiner_does_the_last_steps_at_once(share, monkeypatch):
    monkeypatch.setattr(stage1, "REFINED", share)
    velocity = RNG.normal(size=[3, 2, 1]).astype(np.float32)
    networks, noise = flow_with(lambda x, t: 0 * x + velocity)
    networks.draw(noise)  # a graph without a refiner
    seen = []

    def refiner(inputs, training):
        seen.append([np.asarray(each) for each in inputs])
        return inputs[0] * 2

    networks.refiner = refiner
    time = 3 * share / (1 + 2 * share)
    found = networks.draw(noise, fresh=0.0)
    np.testing.assert_allclose(found, 2 * (noise - (1 - time) * velocity), atol=1e-5)
    assert seen[0][1] == pytest.approx(np.full(4, time))


def tiny_photograph_flow(classes):
    """A flow of 64-pixel photographs that are white above and black below, or the reverse, by class if there are any;
    and its batches.
    """
    settings = flags.apply_preset(
        flags.parse("train_stage1", "", ["train_stage1.py", "--target=image", "--model=flow", "--image_size=64"]),
        flags.STAGE1_PRESETS,
    ) | {"image_size": (64, 64), "batch_size": 4, "warp": False}
    tf.keras.utils.set_random_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage1.flow, "CHANNELS", (8, 8))
        networks = stage1.build(settings, 1, classes)
    tall = np.where(np.arange(64)[:, None, None] < 32, 1.0, -1.0) * np.ones([64, 64, 1])
    stack = np.concatenate([np.stack([tall, -tall] * 2), np.ones([4, 64, 64, 1])], -1, dtype=np.float32)
    if classes:
        networks.typical = np.eye(2, dtype=np.float32)[[0, 1] * 2]

    def batch(index):
        noise = np.random.default_rng(index).normal(0, 0.1, stack.shape).astype(np.float32)
        return (stack + noise * np.float32([1, 0]), *([networks.typical] if classes else []))

    return networks, settings, batch


def refined(folder, steps, classes=2):
    networks, settings, batch = tiny_photograph_flow(classes)
    before = networks.sampler.get_weights()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage1.flow, "CHANNELS", (8, 8))
        model, result = refiner.train(folder, networks, 0.5, batch, lambda stack, key: stack[..., :-1], settings, steps)
    assert all((a == b).all() for a, b in zip(networks.sampler.get_weights(), before, strict=True))
    return model, result, batch


def test_the_refiner_makes_of_noisy_photographs_clean_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(refiner, "LEARNING_RATE", 4e-3)
    monkeypatch.setattr(refiner, "AVERAGE", 0.8)
    model, result, batch = refined(tmp_path, 60)
    assert result["step"] == 60
    clean, *labels = batch(10_000)
    clean = clean[..., :1]
    noisy = 0.5 * clean + 0.5 * RNG.normal(size=clean.shape).astype(np.float32)
    found = model([noisy, np.full(4, 0.5, np.float32), *labels]).numpy()
    assert np.abs(found - clean).mean() < 0.4 * np.abs(noisy - clean).mean()


def test_a_refiner_trained_in_two_parts_has_the_bits_of_one_trained_at_once(tmp_path):
    at_once, *_ = refined(tmp_path / "a", 6, classes=0)
    refined(tmp_path / "b", 2, classes=0)
    in_parts, result, _ = refined(tmp_path / "b", 6, classes=0)
    for found, expected in zip(in_parts.get_weights(), at_once.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert result["step"] == 6 and len(in_parts.inputs) == 2


class Blurring:
    """In the place of a flow: redraws fields as a blur of them, and notes what it was asked for."""

    def __init__(self):
        self.asked = []

    def redraw(self, fields, seed, left_out):
        self.asked.append((len(fields), tuple(seed), left_out))
        return ndimage.gaussian_filter(fields, (0, 1.0, 1.0, 0))


def eyes_as_fields(first, count):
    """As stage1.real_fields makes them, with the right fifth outside the field of view and full of vessels in the mask."""
    masks = np.stack([crop_sample(fundus.draw_fundus(index), (64, 64)).mask for index in range(first, first + count)])
    fields = np.stack([make_fields(mask, 3.0) for mask in masks])
    inside = np.ones_like(fields[..., :1])
    inside[:, :, 52:] = 0
    return np.concatenate([np.where(inside > 0, fields, 1), inside], -1)


def dice(found, wanted):
    return 2 * (found & wanted).sum() / (found.sum() + wanted.sum())


def test_the_decoder_undoes_what_the_flow_does_to_fields(tmp_path):
    known, new = eyes_as_fields(0, 4), eyes_as_fields(4, 3)
    flow = Blurring()
    model, result = decoder.train(tmp_path, flow, known, {"seed": 1}, 200)
    assert result["step"] == 200 and len(flow.asked) == decoder.BATCHES
    assert {left_out for _, _, left_out in flow.asked} == set(decoder.LEFT_OUT)
    assert len({seed for _, seed, _ in flow.asked}) == decoder.BATCHES and {count for count, _, _ in flow.asked} == {
        decoder.BATCH_SIZE
    }
    blurred = Blurring().redraw(np.where(new[..., 2:] > 0, new[..., :2], -1), [0, 0], 0)
    wanted = (new[..., :1] > 0)[:, :, :50]
    found = (model(blurred).numpy() > 0)[:, :, :50]
    at_best = max(dice((blurred[..., :1] > wall)[:, :, :50], wanted) for wall in np.linspace(-0.9, 0.9, 37))
    assert dice(found, wanted) > at_best + 0.1


def test_a_decoder_trained_in_two_parts_has_the_bits_of_one_trained_at_once(tmp_path):
    fields = eyes_as_fields(0, 2)
    whole, _ = decoder.train(tmp_path / "a", Blurring(), fields, {"seed": 1}, 20)
    with pytest.MonkeyPatch.context() as patch:
        # Whose end is that of the steps
        patch.setattr(decoder.tf.keras.optimizers.schedules, "CosineDecay", lambda rate, _: rate)
        at_once, _ = decoder.train(tmp_path / "b", Blurring(), fields, {"seed": 1}, 20)
        decoder.train(tmp_path / "c", Blurring(), fields, {"seed": 1}, 7)
        in_parts, _ = decoder.train(tmp_path / "c", Blurring(), fields, {"seed": 1}, 20)
    for found, expected in zip(in_parts.get_weights(), at_once.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    again, result = decoder.train(tmp_path / "a", Blurring(), fields, {"seed": 1}, 20)
    assert result["step"] == 20 and all(
        (a == b).all() for a, b in zip(again.get_weights(), whole.get_weights(), strict=True)
    )


def test_the_receptive_field_of_the_decoder_is_19_pixels():
    model = decoder.network()
    for kernel in model.trainable_variables[::2]:
        kernel.assign(tf.abs(kernel))  # so that nothing cancels out
    fields = tf.Variable(tf.ones([1, 41, 41, 2]))
    with tf.GradientTape() as tape:
        centre = model(fields)[0, 20, 20, 0]
    rows, columns = np.nonzero(tape.gradient(centre, fields).numpy().any(-1)[0])
    assert rows.min() == columns.min() == 11 and rows.max() == columns.max() == 29


def test_masks_are_made_of_the_decoders_probability_and_joined_along_centrelines():
    fields = np.full([1, 16, 24, 2], -1.0, np.float32)
    fields[0, 8, 2:9, 0] = fields[0, 8, 12:20, 0] = 2.0  # a vessel with a gap
    fields[0, 8, 2:20, 1] = 1.0
    networks = gan_of(fields)
    networks.decoder = tf.keras.Sequential([tf.keras.layers.Lambda(lambda x: x[..., :1])])
    decoded = networks.decoded(fields)
    np.testing.assert_allclose(decoded[..., 0], sigmoid(fields[..., 0]), atol=1e-6)
    assert (decoded[..., 1] == fields[..., 1]).all()
    whole = np.zeros([16, 24, 1], np.uint8)
    whole[8, 2:20] = 1
    calibration.calibrate(networks, [Sample("a", mask=whole)], {"seed": 0})
    assert networks.rule["joining"] and networks.rule["weight"] == 0
    assert (networks.masks(fields)[0] == whole).all()


def test_samples_are_drawn_with_the_averaged_weights_as_they_are_at_the_time():
    flow, gan = tiny_flow((3, 2)), tiny_gan((3, 2))
    for networks, averaged, noise in ((flow, tiny_flow((3, 2)), [2, 3, 2, 1]), (gan, tiny_gan((3, 2)), [2, 2])):
        noise = tf.random.stateless_normal(noise, [1, 2])
        networks.averaged = averaged.generator
        for factor in (1, 0.5):
            networks.averaged.set_weights([factor * weight for weight in networks.averaged.get_weights()])
            np.testing.assert_allclose(networks.draw(noise), averaged.draw(noise), atol=1e-6)
        networks.averaged.set_weights([0 * weight for weight in networks.averaged.get_weights()])
        np.testing.assert_allclose(networks.draw(noise), np.zeros([2, 3, 2, 1]), atol=1e-6)


def test_the_averages_batch_norms_get_their_own_statistics_and_a_flow_is_left_alone():
    def with_norm(inputs, fields):
        norm = tf.keras.layers.BatchNormalization(momentum=0.9)
        return tf.keras.Model(inputs, norm(fields)), norm

    z = tf.keras.Input([2])
    gan = tiny_gan((1, 1))
    gan.averaged, norm = with_norm(z, 2 * z + 5)
    gan.settle(7)
    batches = [2 * tf.random.stateless_normal([16, 2], [7, -5 - index]).numpy() + 5 for index in range(24)]
    mean, variance = np.zeros(2), np.ones(2)
    for batch in batches:
        mean, variance = 0.9 * mean + 0.1 * batch.mean(0), 0.9 * variance + 0.1 * batch.var(0)
    np.testing.assert_allclose(norm.moving_mean, mean, rtol=1e-4)
    np.testing.assert_allclose(norm.moving_variance, variance, rtol=1e-4)

    flow = tiny_flow((1, 1))
    flow.averaged, norm = with_norm(flow.generator.inputs, flow.generator.outputs[0])
    flow.settle(7)
    assert norm.moving_mean.numpy().tolist() == [0] and norm.moving_variance.numpy().tolist() == [1]


def test_the_rate_warms_up_and_decays():
    rate = stage1.Rate(2e-3, 1000)
    for step, expected in ((0, 1 / 200), (99, 0.5 / 1.099), (199, 1 / 1.199), (1000, 1 / 2), (9000, 1 / 10)):
        np.testing.assert_allclose(rate(step), 2e-3 * expected, rtol=1e-6)


@pytest.mark.parametrize("model", flags.SMALL_DATA_MODELS)
def test_optimizers_of_small_datas_models(model):
    settings = flags.SMALL_DATA_MODELS[model] | {"model": model}
    optimizer = stage1.make_optimizer(settings, tiny_flow((2, 2)).generator)
    assert (optimizer.beta_1, optimizer.beta_2) == (settings["beta1"], settings["beta2"])
    assert optimizer.epsilon == (1e-7 if model == "flow" else 1e-8)
    warm_up = 200 if settings["rate_decay"] else 1
    np.testing.assert_allclose(optimizer.learning_rate, settings["learning_rate"] / warm_up, rtol=1e-6)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("model", ["flow", "dcgan"])
def test_a_step_of_small_datas_stage_1_in_both_precisions(model, policy, monkeypatch):
    tf.keras.mixed_precision.set_global_policy(policy)  # conftest.py sets it back
    monkeypatch.setattr(stage1, "FLOW_STEPS", 2)
    settings = flags.STAGE1_PRESETS["small_data"] | flags.SMALL_DATA_MODELS[model] | {"model": model, "average": 0.0}
    settings |= {"image_size": (64, 80), "seed": 0}
    tf.keras.utils.set_random_seed(1)
    networks = stage1.build(settings)
    optimizers = {name: stage1.make_optimizer(settings, each) for name, each in networks.trained.items()}
    stack = stage1.real_fields([crop_sample(fundus.draw_fundus(index), (64, 80)) for index in range(2)], settings)
    before = {name: each.get_weights() for name, each in networks.trained.items()}
    make_step = stage1.make_flow_step if model == "flow" else stage1.make_gan_step
    found = make_step(networks, optimizers, settings)(tf.constant(0, tf.int64), stack)
    assert all(np.isfinite(loss) and loss.dtype == tf.float32 for loss in found.values())
    for name, each in networks.trained.items():
        changed = [(old != new.numpy()).any() for old, new in zip(before[name], each.weights, strict=True)]
        assert sum(changed) == (2 if model == "flow" else len(changed))  # the gradient of a flow is its last layer's
        assert all(np.isfinite(weight).all() and weight.dtype == tf.float32 for weight in each.weights)
    fields = networks.draw(tf.zeros([1, *networks.noise_shape]))
    assert fields.dtype == tf.float32 and fields.shape == (1, 64 // networks.stride, 80 // networks.stride, 2)
    assert np.isfinite(fields).all()


# ---------------------------------------------------------------- one step of stage 2, by hand


def tiny_stage2():
    """A generator a * mask + c and a discriminator of single pixels, both linear, of any size."""
    mask, seed, pair = (
        tf.keras.Input([None, None, 1]),
        tf.keras.Input([2], dtype=tf.int32),
        tf.keras.Input([None, None, 4]),
    )
    initial = tf.keras.initializers.RandomNormal(0, 0.3, seed=1)
    generator = tf.keras.Model([mask, seed], tf.keras.layers.Conv2D(3, 1, kernel_initializer=initial)(mask))
    discriminator = tf.keras.Model(pair, tf.keras.layers.Conv2D(1, 1, kernel_initializer=initial)(pair))
    return stage2.Stage2(generator, discriminator, False)


STAGE2 = {
    "seed": 4,
    "warp": False,
    "jitter": 0,
    "in_turn": 0,
    "l1": 10.0,
    "feature_matching": 0.0,
    "most_accurate": 1.0,
    "light": False,
    "noise": False,
    "grain": False,
}


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
    stack = RNG.uniform(-1, 1, [2, 8, 8, 5]).astype(np.float32)
    check_step(tiny_stage2(), STAGE2 | {"l1": l1}, stack, stack[..., :3], np.where(stack[..., 3] > 0, 1.0, -1.0))


def vess2ret_networks():
    """The tiny networks with dropout, and masks of 0 and 1."""
    networks = tiny_stage2()
    mask, seed = networks.generator.inputs
    photograph = layers.SeededDropout(0.5, index=0)([networks.generator.output, seed])
    return stage2.Stage2(tf.keras.Model([mask, seed], photograph), networks.discriminator, False, background=0.0)


def test_vess2rets_d_learns_from_fakes_of_other_masks_made_without_dropout():
    networks = vess2ret_networks()
    others, real = RNG.uniform(-1, 1, [2, 2, 8, 8, 5]).astype(np.float32)
    before = networks.generator.get_weights()
    w, b = (value.copy() for value in networks.discriminator.get_weights())
    a, c = before
    step, _ = stage2.make_vess2ret_steps(networks, [sgd(), sgd()], STAGE2)
    found = step(tf.constant(3, tf.int64), others, real)
    mask, other = ((stack[..., 3:4] > 0).reshape(-1, 1) * 1.0 for stack in (real, others))
    shown = np.concatenate([mask, real[..., :3].reshape(-1, 3)], -1), np.concatenate([other, other @ a[0, 0] + c], -1)
    on_real, on_fake = (pairs @ w[0, 0] + b for pairs in shown)
    assert found.keys() == {"discriminator"}
    assert float(found["discriminator"]) == pytest.approx((softplus(-on_real).mean() + softplus(on_fake).mean()) / 2)
    gradient = (sigmoid(on_fake) * shown[1] - sigmoid(-on_real) * shown[0]).mean(0) / 2
    np.testing.assert_allclose(networks.discriminator.get_weights()[0][0, 0, :, 0], w[0, 0, :, 0] - gradient, atol=1e-5)
    assert all((old == new).all() for old, new in zip(before, networks.generator.get_weights(), strict=True))


def test_vess2rets_g_learns_with_dropout_against_a_d_that_stays():
    networks = vess2ret_networks()
    networks.generator.trainable_variables[1].assign([0.1, -0.2, 0.3])
    before = networks.discriminator.get_weights()
    (w, b), (a, c) = before, (value.copy() for value in networks.generator.get_weights())
    pairs = RNG.uniform(-1, 1, [2, 8, 8, 5]).astype(np.float32)
    mask, photograph = (pairs[..., 3:4] > 0) * np.float32(1), pairs[..., :3]
    _, key = loop.draw_keys(STAGE2["seed"], tf.constant(3, tf.int64))
    fake = networks.generator([mask, key[None]], training=True).numpy()
    kept = fake != 0  # dropped values are 0, others twice as large
    assert 0.4 < kept.mean() < 0.6
    _, step = stage2.make_vess2ret_steps(networks, [sgd(), sgd()], STAGE2)
    found = step(tf.constant(3, tf.int64), pairs)
    logits = np.concatenate([mask, fake], -1) @ w[0, 0] + b
    assert float(found["adversarial"]) == pytest.approx(softplus(-logits).mean(), rel=1e-5)
    assert float(found["l1"]) == pytest.approx(np.abs(photograph - fake).mean(), rel=1e-5)
    to_fake = -sigmoid(-logits) * w[0, 0, 1:, 0] / logits.size + STAGE2["l1"] * np.sign(fake - photograph) / fake.size
    to_fake = (2 * kept * to_fake).reshape(-1, 3)
    new_a, new_c = networks.generator.get_weights()
    np.testing.assert_allclose(new_a[0, 0], a[0, 0] - mask.reshape(-1, 1).T @ to_fake, atol=1e-5)
    np.testing.assert_allclose(new_c, c - to_fake.sum(0), atol=1e-5)
    assert all((old == new).all() for old, new in zip(before, networks.discriminator.get_weights(), strict=True))


def test_vess2rets_networks_learn_in_turn_and_an_epoch_shows_g_each_pair_once_and_d_twice():
    pairs = np.arange(8, dtype=np.float32)[:, None, None, None] * np.ones([8, 2, 2, 6], np.float32)
    settings = STAGE2 | {"in_turn": 3, "batch_size": 2}
    steps, batch = stage2.training_of(vess2ret_networks(), [sgd(), sgd()], settings, pairs, 20)
    of_d = [loop.choose_step(steps, index) is steps[0][1] for index in range(20)]
    assert of_d == [index // 3 % 2 == 0 for index in range(20)]
    shown = {True: [], False: []}
    for index, is_d in enumerate(of_d):
        arrays = batch(index)
        assert [array.shape for array in arrays] == [(2, 2, 2, 5)] * (2 if is_d else 1)
        shown[is_d].append([int(pair[0, 0, 0]) for array in arrays for pair in array])
    assert all(sorted(sum(shown[True][i : i + 2], [])) == list(range(8)) for i in (0, 2, 4, 6))
    assert all(sorted(sum(shown[False][i : i + 4], [])) == list(range(8)) for i in (0, 4))


def test_feature_matching_pulls_fakes_to_what_the_discriminator_makes_of_real_photographs():
    networks = tiny_stage2()
    pair = networks.discriminator.input
    features = tf.keras.layers.LeakyReLU(0.2)(tf.keras.layers.Conv2D(2, 1)(pair))
    networks.discriminator = tf.keras.Model(pair, tf.keras.layers.Conv2D(1, 1, kernel_initializer="zeros")(features))
    w = np.random.default_rng(5).normal(size=[4, 2])
    # Each logit is 0
    networks.discriminator.set_weights([w[None, None], np.zeros(2), np.zeros([1, 1, 2, 1]), np.zeros(1)])
    stack = np.random.default_rng(6).uniform(-1, 1, [2, 8, 8, 5]).astype(np.float32)
    stack[..., 4] = 1  # the field of view is everywhere
    photograph, mask = stack[..., :3].reshape(-1, 3), np.where(stack[..., 3] > 0, 1.0, -1.0).reshape(-1, 1)
    a, c = (value.copy() for value in networks.generator.get_weights())

    stage2.make_step(networks, [sgd(), sgd()], STAGE2 | {"l1": 0.0, "feature_matching": 7.0})(
        tf.constant(3, tf.int64), stack
    )

    own, real = (np.concatenate([mask, shown], -1) @ w for shown in (mask @ a[0, 0] + c, photograph))
    own_slope = np.where(own > 0, 1, 0.2)
    by_feature = np.sign(own * own_slope - np.where(real > 0, real, 0.2 * real)) * own_slope / own.size
    to_fake = 7.0 * by_feature @ w[1:].T
    new_a, new_c = networks.generator.get_weights()
    np.testing.assert_allclose(new_a[0, 0], a[0, 0] - mask.T @ to_fake, atol=1e-5)
    np.testing.assert_allclose(new_c, c - to_fake.sum(0), atol=1e-5)


@pytest.mark.parametrize("matching", [1.0, 0.0])
def test_with_feature_matching_the_discriminator_sees_fakes_inside_the_field_of_view_alone(matching):
    stack = np.random.default_rng(7).uniform(-1, 1, [2, 8, 8, 5]).astype(np.float32)
    stack[..., 4] = np.arange(8) < 5
    stack[:, :, 5:, :3] = -1
    networks = tiny_stage2()
    pair = networks.discriminator.input
    networks.discriminator = tf.keras.Model(pair, tf.keras.layers.LeakyReLU(1.0)(tf.keras.layers.Conv2D(1, 1)(pair)))
    networks.discriminator.set_weights([np.ones([1, 1, 4, 1]), np.zeros(1)])
    mask, (a, c) = np.where(stack[..., 3:4] > 0, 1.0, -1.0), networks.generator.get_weights()
    fake = mask @ a[0, 0] + c
    shown = np.where(stack[..., 4:] > 0, fake, -1) if matching else fake
    found = stage2.make_step(networks, [sgd(), sgd()], STAGE2 | {"feature_matching": matching})(
        tf.constant(3, tf.int64), stack
    )
    np.testing.assert_allclose(found["adversarial"], softplus(-(mask[..., 0] + shown.sum(-1))).mean(), rtol=1e-5)


def test_small_data_matches_features_of_large_images_alone():
    preset = flags.STAGE2_PRESETS["small_data"] | {"preset": "small_data"}
    found = {size: stage2.for_size(preset | {"image_size": size}) for size in ((128, 144), (112, 256))}
    assert [settings["feature_matching"] > 0 for settings in found.values()] == [True, False]
    assert found[128, 144] == preset | {"image_size": (128, 144)} and found[112, 256]["l1"] < preset["l1"]
    other = flags.STAGE2_PRESETS["pix2pix"] | {"preset": "pix2pix", "image_size": (64, 64)}
    assert stage2.for_size(other) == other


@pytest.mark.parametrize(("wrong", "learns"), [(4, 1.0), (3, 0.0), (0, 0.0), (20, 1.0)])
def test_a_discriminator_that_tells_four_fifths_of_all_patches_right_learns_no_more(wrong, learns):
    right = np.concatenate([np.full(10, 0.3), np.full(10, -2.0)])
    logits = np.where(np.random.default_rng(0).permutation(20) < wrong, -right, right)
    real, fake = (tf.constant(part.reshape(2, 5, 1, 1), tf.float32) for part in (logits[:10], logits[10:]))
    assert float(stage2.may_learn(real, fake, 0.8)) == learns


@pytest.mark.parametrize("most_accurate", [0.8, 1.0])
def test_where_the_discriminator_is_right_only_the_generator_learns(most_accurate):
    networks = tiny_stage2()
    networks.generator.set_weights([np.zeros([1, 1, 1, 3]), np.full(3, -0.5)])
    networks.discriminator.set_weights([np.array([[[[0.0], [1.0], [1.0], [1.0]]]]), np.zeros(1)])
    stack = np.tile(np.float32([0.5, 0.4, 0.6, 1.0, 1.0]), [2, 8, 8, 1])  # bright photographs, dark fakes
    before = [model.get_weights() for model in (networks.generator, networks.discriminator)]
    stage2.make_step(networks, [sgd(), sgd()], STAGE2 | {"most_accurate": most_accurate})(
        tf.constant(3, tf.int64), stack
    )
    after = [model.get_weights() for model in (networks.generator, networks.discriminator)]
    assert (before[0][1] != after[0][1]).all()
    assert all((old == new).all() for old, new in zip(before[1], after[1], strict=True)) == (most_accurate < 1)


@pytest.mark.parametrize("inside", [0.0, 1.0])
def test_warped_pairs_stay_pairs_and_are_black_outside_the_field_of_view(inside):
    """Constant pictures stay what they are under any warp."""
    pairs = np.tile(np.float32([0.5, 0.2, -0.3, 0.8, -1.0, inside]), [2, 8, 8, 1])
    found = stage2.warped(pairs, [4, 3], 0.7)
    assert found.dtype == np.float32 and (found[..., -1] == inside).all()
    np.testing.assert_allclose(found[..., :3], pairs[..., :3] if inside else np.full([2, 8, 8, 3], -1.0), atol=1e-5)
    assert (found[..., 3] == (1 if inside else -1)).all()
    assert (stage2.warped(pairs, [4, 3], 0.9)[..., 3] == -1).all()  # a wall above all of it


def test_warped_vessels_stay_as_thick_as_they_were_and_whole():
    real = [crop_sample(fundus.draw_fundus(index), (128, 128)) for index in range(4)]
    masks = np.stack([sample.mask for sample in real])
    pairs = stage2.real_pairs(real)
    wall = stage2.wall_of_warped(pairs, 0)
    seen = np.concatenate([stage2.warped(pairs, [0, number], wall) for number in range(3)])[..., 3:4]
    assert set(np.unique(seen)) == {-1, 1}
    thickness, warped_thickness = measure_thickness(masks), measure_thickness(seen > 0)
    assert warped_thickness == pytest.approx(thickness, rel=0.03)
    walls = [
        augment.random_warp(pairs[..., 3:4], [0, n], rotation=20.0, elastic=0.008, flip=(True, True)) for n in range(3)
    ]
    before, by_the_wall = (np.mean([pieces(mask) for mask in some]) for some in (masks, np.concatenate(walls) > 0))
    assert np.mean([pieces(mask > 0) for mask in seen]) < before + 0.15 * (by_the_wall - before)
    assert np.mean(seen > 0) / masks.mean() == pytest.approx(1.0, abs=0.1)


def test_photograph_and_mask_are_warped_alike_and_each_step_otherwise():
    """A photograph that is its mask is so after the warp, but for pixels at the wall."""
    real = [crop_sample(fundus.draw_fundus(index), (128, 128)) for index in range(2)]
    for sample in real:
        sample.image[:] = sample.mask * 255
    pairs = stage2.real_pairs(real)
    first, second = (stage2.warped(pairs, [0, number], stage2.wall_of_warped(pairs, 0)) for number in (0, 1))
    assert (first == stage2.warped(pairs, [0, 0], stage2.wall_of_warped(pairs, 0))).all()
    for found in (first, second):
        assert np.mean((found[..., 0] > 0) == (found[..., 3] > 0)) > 0.96
        assert np.corrcoef(found[..., 0].ravel(), found[..., 3].ravel())[0, 1] > 0.85
    assert np.corrcoef(first[..., 3].ravel(), second[..., 3].ravel())[0, 1] < 0.5


@pytest.mark.parametrize("cut", [0, 9])
def test_warped_photographs_keep_their_rim_and_hold_no_darkness_from_it_or_beyond_it(cut):
    """With cut, the frame's edge cuts the field of view; without, it touches it."""
    rows, columns = np.mgrid[:128, :128] - 63.5
    view = (np.hypot(rows, columns) < 64 + cut).astype(np.uint8)[..., None]
    taken = np.full([128, 128, 3], 200, np.uint8) * view
    taken[(np.hypot(rows, columns) > 63 + cut) | (np.abs(rows) > 63) | (np.abs(columns) > 63)] //= 4  # a dark rim
    sample = Sample("a", taken, wedge(128, 128) * view, view)
    expected = np.broadcast_to(taken / 127.5 - 1, [8, 128, 128, 3])  # a warp changes nothing in it
    found = stage2.warped(np.concatenate([stage2.real_pairs([sample], True)] * 8), [4, 3], 0.0)
    np.testing.assert_allclose(found[..., :3], expected, atol=0.01)
    assert (found[..., -1:] == view).all()
    np.testing.assert_allclose(stage2.real_pairs([sample])[0][..., :3], expected[0], atol=1e-6)
    fields = np.concatenate([stage1.real_fields([sample], {"target": "image", "warp": True})] * 8)
    single = stage1.shown(tf.constant(fields), [4, 3], tiny_gan((128, 128)), {"target": "image", "warp": True})
    np.testing.assert_allclose(single, expected, atol=0.01)


def test_colours_are_the_quadratic_surface_inside_the_field_of_view_and_the_deviation_from_it():
    photographs = RNG.normal(size=[2, 8, 6, 3]).astype(np.float32)
    inside = (RNG.random([2, 8, 6, 1]) < 0.6).astype(np.float32)
    found, plain = (stage2.colours_of(photographs, inside, view).numpy() for view in (True, False))
    y, x = (grid.ravel() for grid in np.meshgrid(np.linspace(-1, 1, 8), np.linspace(-1, 1, 6), indexing="ij"))
    surfaces = np.stack([np.ones(48), y, x, y * y, y * x, x * x], -1)
    for index in range(2):
        seen = inside[index].ravel() > 0
        pixels = photographs[index].reshape(48, 3)[seen]
        coefficients = np.linalg.lstsq(surfaces[seen], pixels, rcond=None)[0]
        rest = pixels - surfaces[seen] @ coefficients
        np.testing.assert_allclose(found[index, :18], coefficients.ravel(), atol=0.01)
        np.testing.assert_allclose(found[index, 18:], np.sqrt((rest**2).mean(0)), atol=1e-3)
        np.testing.assert_allclose(plain[index], [*pixels.mean(0), *pixels.std(0)], atol=1e-4)
    assert all((stage2.colours_of(photographs, 0 * inside, view).numpy() == 0).all() for view in (True, False))


def test_a_quadratic_photograph_is_told_whole_and_mirrored():
    y, x = np.meshgrid(np.linspace(-1, 1, 8), np.linspace(-1, 1, 6), indexing="ij")
    photograph = np.stack([0.3 - 0.2 * x + 0.1 * x * y, 0.1 * y + 0.2 * y * y - x * x], -1)[None].astype(np.float32)
    colours = stage2.colours_of(photograph, np.ones([1, 8, 6, 1], np.float32), True).numpy()
    mask = np.ones([1, 8, 6, 1], np.float32)
    told, mirrored = (stage2.with_colours(mask, each, True).numpy() for each in (colours, stage2.mirrored(colours)))
    np.testing.assert_allclose(told, np.concatenate([mask, photograph, 0 * photograph], -1), atol=1e-3)
    np.testing.assert_allclose(mirrored[..., 1:3], photograph[:, :, ::-1], atol=1e-3)


def test_fitted_colours_are_those_of_eyes_turned_one_way_with_less_spread():
    eyes = [crop_sample(fundus.draw_fundus(index), (64, 64)) for index in range(5)]
    pairs = stage2.real_pairs(eyes)
    mean, factor = stage2.fit_colours(pairs, True)
    is_right = [vessels.draw_anatomy(index).disc[0] > vessels.CENTRE[0] for index in range(5)]
    assert any(is_right) and not all(is_right)
    left = np.stack([pair[:, ::-1] if right else pair for right, pair in zip(is_right, pairs, strict=True)])
    colours = stage2.colours_of(left[..., :3], left[..., -1:], True).numpy()
    np.testing.assert_allclose(mean, colours.mean(0), atol=1e-5)
    np.testing.assert_allclose(factor @ factor.T, 0.64 * np.cov(colours.T), atol=1e-5)
    for same, expected in zip(stage2.fit_colours(pairs[:, :, ::-1], True), (mean, factor), strict=True):
        np.testing.assert_allclose(same, expected, atol=1e-4)
    plain = stage2.colours_of(pairs[..., :3], pairs[..., -1:], False).numpy()  # as of a set without fields of view
    found, factor = stage2.fit_colours(pairs, False)
    np.testing.assert_allclose(found, plain.mean(0), atol=1e-5)
    np.testing.assert_allclose(factor @ factor.T, np.cov(plain.T), atol=1e-5)
    alone, still = stage2.fit_colours(left[:1], True)
    np.testing.assert_allclose(alone, colours[0], atol=1e-5)
    assert abs(still).max() < 0.001


def test_the_generator_is_told_the_real_colours_in_training_and_drawn_ones_when_sampling():
    told = []

    class Generator:
        def __call__(self, inputs, training):
            told.append(np.array(inputs[0]))
            return tf.zeros([1, *told[-1].shape[1:3], 3])

    mean = np.zeros(21)
    mean[:3], mean[18:] = (0.1, -0.1, -0.3), (0.2, 0.1, 0.1)
    networks = stage2.Stage2(Generator(), None, False, colours=(mean, 0.05 * np.eye(21)), has_view=True)
    for index in [*range(300), 0]:
        stage2.translate(networks, np.ones([1, 9, 9, 1]), [7, index])
    planes = np.concatenate(told)
    assert planes.shape == (301, 9, 9, 7) and (planes[..., 0] == 1).all()
    assert (planes[..., 4:] == planes[:, :1, :1, 4:]).all()
    drawn = planes[:300, 4, 4, 1:]  # in the middle y and x are 0
    assert (planes[300] == planes[0]).all() and len(np.unique(drawn[:, 0])) > 250
    np.testing.assert_allclose(drawn.mean(0), mean[[0, 1, 2, 18, 19, 20]], atol=0.002)
    assert abs(drawn - drawn.mean(0)).max() <= 0.1 + 0.002 and drawn.std(0).min() > 0.045
    assert abs(np.corrcoef(drawn.T) - np.eye(6)).max() < 0.1

    told.clear()
    mean[6:9] = 0.4  # brighter to the right, as eyes with the disc on the left are turned
    networks = stage2.Stage2(Generator(), None, False, colours=(mean, np.zeros([21, 21])), has_view=True)
    for mask in (wedge(), wedge()[:, ::-1]):
        stage2.translate(networks, mask[None], [7, 0])
    slopes = [np.sign(np.diff(each[0, 0, [0, -1], 1])[0]) for each in told]
    assert slopes == [-1, 1]


def test_drawn_colours_have_the_covariance_that_they_are_drawn_from():
    mean, factor = np.array([0.3, -0.2]), np.array([[0.2, 0.0], [-0.1, 0.05]])
    drawn = np.stack([stage2.drawn_colours(mean, factor, 3, index)[0] for index in range(512)])
    np.testing.assert_allclose(drawn.mean(0), mean, atol=0.002)
    kept = stats.norm.expect(lambda value: np.clip(value, -2, 2) ** 2)  # of the variance, by the clipping
    np.testing.assert_allclose(np.cov(drawn.T), kept * factor @ factor.T, atol=0.001)
    other = np.stack([stage2.drawn_colours(mean, factor, 3, index)[0] for index in range(-512, 0)])
    assert not np.isclose(drawn, other[::-1]).all(1).any()  # the first below 0 is -1


def test_the_generator_gets_normal_noise_that_is_a_function_of_the_seed():
    told = []

    class Generator:
        trainable_variables = []

        def __call__(self, inputs, training):
            told.append(np.array(inputs[0]))
            return tf.zeros([*inputs[0].shape[:3], 3])

    networks = stage2.Stage2(Generator(), tiny_stage2().discriminator, False, noise=True)
    for seed in ([7, 0], [7, 1], [8, 0], [7, 0]):
        stage2.translate(networks, np.ones([1, 64, 64, 1]), seed)
    stack = tf.constant(RNG.uniform(-1, 1, [2, 64, 64, 5]), tf.float32)
    idle = types.SimpleNamespace(apply_gradients=list)
    tf.config.run_functions_eagerly(True)
    try:
        for number in (3, 4):
            stage2.make_step(networks, [idle, idle], STAGE2 | {"noise": True})(tf.constant(number, tf.int64), stack)
    finally:
        tf.config.run_functions_eagerly(False)
    assert all((condition[..., :1] ** 2 == 1).all() and condition.shape[-1] == 4 for condition in told)
    noises = [condition[..., 1:] for condition in told]
    assert (noises[3] == noises[0]).all()
    different = np.concatenate([*noises[:3], *noises[4:]])  # 3 and 2 of 2
    correlations = np.corrcoef(different[..., 0].reshape(7, -1))
    assert np.abs(correlations - np.eye(7)).max() < 0.08  # 5 standard deviations
    assert abs(np.mean(different[..., 0])) < 0.03 and abs(np.std(different[..., 0]) - 1) < 0.03
    for plane, scale in enumerate(stage2.NOISE_SCALES):
        alike = np.corrcoef(different[:, :-1, :, plane].ravel(), different[:, 1:, :, plane].ravel())[0, 1]
        assert alike == pytest.approx({1: 0, 4: 0.94, 16: 0.99}[scale], abs=0.05)  # of neighbours


class Painter:
    """A generator that knows the photograph of each mask."""

    def __init__(self, samples, photographs):
        self.known = {
            sample.mask.astype(bool).tobytes(): image for sample, image in zip(samples, photographs, strict=True)
        }

    def __call__(self, inputs, training):
        image = self.known[(np.asarray(inputs[0])[0] > 0).tobytes()]
        return tf.constant(image[None] / 127.5 - 1, tf.float32)


def grey_eyes(count, deviation):
    """Samples of 64 x 64 pixels: noise of that many grey levels on a disc of 128, black beyond it;
    each with a mask of its own.
    """
    rows, columns = np.mgrid[:64, :64]
    disc = (np.hypot(rows - 31.5, columns - 31.5) < 30).astype(np.uint8)[..., None]
    noise = [RNG.normal(128, deviation, [64, 64, 3]) for _ in range(count)]
    masks = [np.roll(wedge(), shift, 0) for shift in range(count)]
    return [
        Sample(str(i), (np.clip(np.rint(noise[i]), 0, 255) * disc).astype(np.uint8), masks[i], disc)
        for i in range(count)
    ]


def deviation_of(response):
    """Standard deviation, in grey levels, of the grain that a response gives, by Parseval's theorem."""
    return np.sqrt((np.abs(response) ** 2).sum((0, 1)).mean() / 3) * 127.5


def test_the_grain_is_what_photographs_have_and_painted_ones_lack():
    real, smooth, half = grey_eyes(12, 16), grey_eyes(12, 0), grey_eyes(12, 16 / np.sqrt(2))
    found = {}
    for name, painted in (("all", real), ("none", smooth), ("half", half)):
        networks = stage2.Stage2(Painter(real, [eye.image for eye in painted]), None, False, has_view=True)
        found[name] = deviation_of(stage2.missing_grain(networks, real, seed=0)[0])
    assert found["none"] == pytest.approx(16, rel=0.1)
    assert found["half"] == pytest.approx(16 / np.sqrt(2), rel=0.15)  # variances add
    assert found["all"] < 0.1


def test_photographs_get_grain_inside_their_field_of_view_as_a_function_of_the_seed():
    real, smooth = grey_eyes(12, 16), grey_eyes(12, 0)
    networks = stage2.Stage2(Painter(real, [eye.image for eye in smooth]), None, False, has_view=True)
    mask = real[0].mask[None]
    assert len(np.unique(stage2.translate(networks, mask, [7, 0]))) == 2
    networks.grain = stage2.missing_grain(networks, real, seed=0)
    made = [stage2.translate(networks, mask, seed)[0] for seed in ([7, 0], [7, 1], [8, 0], [7, 0])]
    inside = real[0].field_of_view[..., 0] > 0
    beyond = ~ndimage.binary_dilation(inside, iterations=2)
    assert beyond.mean() > 0.15 and all((each[beyond] == 0).all() for each in made)
    assert (made[3] == made[0]).all()
    pixels = np.stack([each[inside].ravel() for each in made[:3]]).astype(float)
    np.testing.assert_allclose(pixels.mean(1), 128, atol=2)
    np.testing.assert_allclose(pixels.std(1), 16, rtol=0.15)
    assert np.abs(np.corrcoef(pixels) - np.eye(3)).max() < 0.1
    networks.has_view = False
    assert all(each.any() for each in stage2.translate(networks, mask, [7, 0])[0][beyond].T)


def test_jittered_pairs_stay_pairs():
    stack = np.tile(np.float32([0.5, 0.2, -0.3, 0.8, 1.0]), [1, 8, 8, 1])
    check_step(tiny_stage2(), STAGE2 | {"jitter": 64}, stack, stack[..., :3], np.ones([1, 8, 8]))


def test_real_pairs_and_translation():
    image = RNG.integers(0, 256, [64, 64, 3]).astype(np.uint8)
    deep = RNG.integers(0, 65536, [64, 64, 1]).astype(np.uint16)
    inside = np.zeros([64, 64, 1], np.uint8)
    inside[5:60, 5:60] = 1
    pair = stage2.real_pairs([Sample("a", image, wedge(), inside)])[0]
    np.testing.assert_allclose(pair[..., :3], image / 127.5 - 1, atol=1e-6)
    assert (pair[..., 3:5] == make_fields(wedge(), stage2.FIELD_SCALE)).all() and (pair[..., 5:] == inside).all()
    assert (to_uint8(pair[..., :3]) == image).all()
    grey = stage2.real_pairs([Sample("a", deep, wedge())])[0]
    np.testing.assert_allclose(grey[..., :1], deep / 32767.5 - 1, atol=1e-6)
    assert grey.shape == (64, 64, 4) and (grey[..., 3] == 1).all()

    mask = wedge(8, 8)[None]
    networks = tiny_stage2()
    a, c = (variable.numpy() for variable in networks.generator.trainable_variables)
    expected = np.clip(np.rint(((2.0 * mask - 1) * a[0, 0, 0] + c + 1) * 127.5), 0, 255)
    assert np.abs(stage2.translate(networks, mask, [1, 2]) - expected).max() <= 1
    assert (stage2.translate(networks, mask > 0, [1, 2]) == stage2.translate(networks, mask, [1, 2])).all()
    networks.dtype = "uint16"
    deep = stage2.translate(networks, mask, [1, 2])
    assert deep.dtype == np.uint16 and np.abs(deep.astype(int) - expected * 257).max() <= 129  # half of a grey level
    networks.dtype, networks.background = "uint8", 0.0
    expected = np.clip(np.rint((mask * a[0, 0, 0] + c + 1) * 127.5), 0, 255)
    assert np.abs(stage2.translate(networks, mask, [1, 2]) - expected).max() <= 1


@pytest.mark.parametrize("with_views", [True, False])
def test_stage_2_is_measured_by_how_far_its_photographs_are_from_real_ones(with_views):
    eyes = [crop_sample(fundus.draw_fundus(index), (64, 64)) for index in range(32)]
    if not with_views:
        eyes = [dataclasses.replace(eye, field_of_view=None) for eye in eyes]
    real, others = eyes[:16], eyes[16:]
    masks = [Sample(str(index), mask=eye.mask) for index, eye in enumerate(others)]
    blurred = [ndimage.gaussian_filter(eye.image, (1.5, 1.5, 0)) for eye in others]
    noisy = [np.clip(eye.image + RNG.normal(0, 12, eye.image.shape), 0, 255).astype(np.uint8) for eye in others]
    one_colour = [np.broadcast_to(eye.image.mean((0, 1)), eye.image.shape).astype(np.uint8) for eye in others]
    found = {}
    for name, photographs in {
        "other eyes": [eye.image for eye in others],
        "blurred": blurred,
        "noisy": noisy,
        "flat": one_colour,
    }.items():
        networks = stage2.Stage2(Painter(others, photographs), None, False)
        measured, warning = stage2.measurement(networks, real, masks, STAGE2)()
        assert measured.keys() == {"distance", "masks"} and warning == ""
        found[name] = measured["distance"]
    assert abs(found["other eyes"]) < 0.1 * min(found[name] for name in ("blurred", "noisy", "flat"))


def test_against_one_photograph_stage_2_is_not_measured():
    eyes = [crop_sample(fundus.draw_fundus(index), (64, 64)) for index in range(2)]
    networks = stage2.Stage2(Painter(eyes, [eye.image for eye in eyes]), None, False)
    few = [stage2.measurement(networks, *some, STAGE2)()[0] for some in ((eyes[:1], eyes), (eyes, eyes[:1]))]
    assert [measured["distance"] for measured in few] == [0.0, 0.0]
    assert few[0]["masks"] != few[1]["masks"]  # by which loop.fit knows other masks


def test_stage_2_ends_with_the_weights_that_checkpoint_names(tmp_path, monkeypatch):
    distances, painted, weights = iter([0.1, 0.19, 0.3]), [], {}

    def measurement(networks, real, masks, settings):
        def measure():
            weights[len(weights) + 1] = networks.generator.get_weights()
            painted.append(len(masks))
            return {"distance": next(distances)}, ""

        return measure

    monkeypatch.setattr(checkpoints, "MEASURE_EVERY", 1)
    monkeypatch.setattr(stage2, "build", lambda *_: tiny_stage2())
    monkeypatch.setattr(stage2, "measurement", measurement)
    settings = STAGE2 | {
        "batch_size": 1,
        "learning_rate": 0.1,
        "discriminator_rate": 0.1,
        "beta1": 0.5,
        "epsilon": 1e-8,
        "average": 0.0,
    }
    real = [Sample(str(i), RNG.integers(0, 256, [8, 8, 3]).astype(np.uint8), wedge(8, 8)) for i in range(3)]
    masks = [Sample(str(i), mask=wedge(8, 8)) for i in range(stage2.MEASURED + 1)]
    for which, step in (("best", 2), ("last", 3), ("1", 1)):
        networks, result = stage2.train(tmp_path, real, settings | {"checkpoint": which}, 3, masks=masks)
        assert result["sampled_step"] == step and result["sampler"] == str(tmp_path / "samplers" / f"ckpt-{step}")
        for found, expected in zip(networks.generator.get_weights(), weights[step], strict=True):
            np.testing.assert_array_equal(found, expected)
    assert (
        painted == [stage2.MEASURED] * 3
        and (weights[1][0] != weights[2][0]).any()
        and (weights[2][0] != weights[3][0]).any()
    )
    networks, result = stage2.train(tmp_path, real, settings, 3)
    assert "sampler" not in result and "sampled_step" not in result and networks.dtype == "uint8"
    for found, expected in zip(networks.generator.get_weights(), weights[3], strict=True):
        np.testing.assert_array_equal(found, expected)
    real = [Sample(each.id, each.image.astype(np.uint16) * 257, each.mask) for each in real]
    assert stage2.train(tmp_path / "deep", real, settings, 1)[0].dtype == "uint16"


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_step_of_small_datas_stage_2_in_both_precisions(policy):
    tf.keras.mixed_precision.set_global_policy(policy)  # conftest.py sets it back
    settings = flags.STAGE2_PRESETS["small_data"] | {"image_size": (64, 80), "seed": 0, "preset": "small_data"}
    tf.keras.utils.set_random_seed(1)
    networks = stage2.build(settings, 3)
    optimizers = [
        stage2.make_optimizer(settings, 2e-4, model) for model in (networks.generator, networks.discriminator)
    ]
    pairs = stage2.real_pairs([crop_sample(fundus.draw_fundus(index), (64, 80)) for index in range(2)])
    before = [weight.numpy() for weight in networks.generator.trainable_variables]
    stack = stage2.warped(pairs, [0, 0], 0.0)
    found = stage2.make_step(networks, optimizers, settings)(tf.constant(0, tf.int64), stack)
    assert all(np.isfinite(loss) and loss.dtype == tf.float32 for loss in found.values())
    after = networks.generator.trainable_variables
    assert all(np.isfinite(weight).all() and weight.dtype == tf.float32 for weight in after)
    assert all((old != new.numpy()).any() for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize("preset", flags.STAGE2_PRESETS)
def test_optimizers_of_the_presets(preset):
    settings = flags.STAGE2_PRESETS[preset]
    optimizer = stage2.make_optimizer(settings, settings["learning_rate"], tiny_stage2().generator)
    assert isinstance(optimizer, tf.keras.optimizers.Adam)
    assert float(optimizer.learning_rate) == pytest.approx(settings["learning_rate"])
    assert (optimizer.beta_1, optimizer.beta_2) == (0.5, 0.999)


@pytest.mark.parametrize(("preset", "epsilon"), [("pix2pix", 1e-8), ("vess2ret", 1e-8), ("small_data", 1e-7)])
def test_a_tiny_gradient_shows_the_epsilon_of_the_papers_frameworks(preset, epsilon):
    """By the formula of torch/optim's adam.lua and of Keras 1.2: epsilon is added to the root of the uncorrected mean."""
    layer = tf.keras.Sequential([tf.keras.layers.Dense(1, kernel_initializer="zeros", use_bias=False)])
    layer.build([None, 1])
    optimizer = stage2.make_optimizer(flags.STAGE2_PRESETS[preset], 1.0, layer)
    optimizer.apply_gradients([(tf.constant([[1e-7]]), layer.trainable_variables[0])])
    root = np.sqrt(1e-3) * 1e-7  # beta2 0.999
    assert float(layer.get_weights()[0][0, 0]) == pytest.approx(-root / (root + epsilon), rel=1e-3)


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
stacks = {{"stage1": np.random.default_rng(1).uniform(-1, 1, [4, 6, 4, 2]), "stage2":
np.random.default_rng(1).uniform(-1, 1, [4, 8, 8, 5])}} stacks["flow"] = stacks["stage1"] for strategy, folder in
((tf.distribute.get_strategy(), "one"), (tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), "two")):
    for stage in ("stage1", "flow", "stage2"):
        stack = stacks[stage].astype(np.float32)
        stack[..., -1] = stack[..., -1] > -0.5
        with strategy.scope():
            tf.keras.utils.set_random_seed(2)
            tiny = {{"stage1": t.tiny_gan, "flow": t.tiny_flow}}.get(stage)
            networks = tiny((6, 4)) if tiny else t.tiny_stage2()
            state = {{"generator": networks.generator, "discriminator": networks.discriminator}}
            state = {{name: model for name, model in state.items() if model is not None}}
            optimizers = {{name: t.sgd() for name in state}}
            for name, model in state.items():
                optimizers[name].build(model.trainable_variables)
        replicas = strategy.num_replicas_in_sync
        if stage == "stage2":
            step = t.stage2.make_step(networks, [*optimizers.values()], t.STAGE2, replicas)
        else:
            make_step = t.stage1.make_gan_step if stage == "stage1" else t.stage1.make_flow_step
            step = make_step(networks, optimizers, t.SETTINGS | {{"r1": 0.7}}, replicas)
        where = Path({folder!r}) / folder / stage
        where.mkdir(parents=True)
        loop.fit(where, step, lambda index: (stack,), state, 1, strategy=strategy)
        weights = {{f"{{name}}-{{i}}": w for name, model in state.items() for i, w in enumerate(model.get_weights())}}
        np.savez(where / "weights.npz", stack=stack, **weights)
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
            if stage == "stage1" and name == "generator-0":
                continue  # the generator's kernel depends on z, which is the replica's own
            np.testing.assert_allclose(one[name], two[name], atol=1e-5, err_msg=f"{stage} {name}")
        one, two = ((tmp_path / folder / stage / "metrics.jsonl").read_text() for folder in ("one", "two"))
        one, two = json.loads(one), json.loads(two)
        np.testing.assert_allclose([*one.values()], [*two.values()], atol=2e-6)
        assert one.keys() == two.keys() and len(one) >= 3
    for folder, count in (("one", 1), ("two", 2)):  # noise and times are the replica's own
        saved = np.load(tmp_path / folder / "flow" / "weights.npz")
        shown = shown_of(saved["stack"])
        parts = [flow_by_hand(shown[replica::count], SETTINGS["seed"], 0, replica) for replica in range(count)]
        loss, gradients = (np.mean(values, 0) for values in zip(*parts))
        np.testing.assert_allclose([saved[f"generator-{i}"] for i in range(3)], [0.7, -0.4, 0.2] - gradients, atol=1e-5)
        logged = json.loads((tmp_path / folder / "flow" / "metrics.jsonl").read_text())
        np.testing.assert_allclose(logged["velocity"], loss, rtol=1e-5)
