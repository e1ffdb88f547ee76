"""smalldata/painter.py: a step by hand, what the generator is given, grain, what paints and with which weights."""

import types

import linear_networks
import numpy as np
import pytest
import tensorflow as tf
from linear_networks import build_discriminator, softplus, wedge
from scipy import ndimage

from synthmed_tf.datasets.phantoms import fundus
from synthmed_tf.datasets.prepare import crop_sample
from synthmed_tf.images import pixels
from synthmed_tf.sample import Sample
from synthmed_tf.smalldata import grain, illumination, painter
from synthmed_tf.smalldata.warped_pairs import WarpedPairs
from synthmed_tf.training import average, checkpoints

SEED = 4
PLANES = 1 + 2 * 3 + len(painter.NOISE_SCALES)  # of the condition
STEP = tf.constant(3, tf.int64)


def build_generator():
    return linear_networks.build_generator(PLANES)


def make_step(generator, discriminator, has_view=False, optimizers=None, **settings):
    """The step of linear networks, without feature matching and with a discriminator that always learns."""
    settings = painter.Settings(**{"feature_matching": 0.0, "most_accurate": 1.0} | settings)
    optimizers = optimizers or linear_networks.sgd()
    return painter.make_step(generator, discriminator, optimizers, has_view, settings, SEED)


# ---------------------------------------------------------------- the step


@pytest.mark.parametrize("l1", [100.0, 1.0])
def test_a_step_is_the_algorithm_by_hand(l1):
    models = build_generator(), build_discriminator()
    stack = linear_networks.draw_stack(0, 16, is_viewed=True)
    linear_networks.check_step(make_step(*models, l1=l1), *models, stack, l1)


def test_feature_matching_pulls_fakes_to_what_the_discriminator_makes_of_real_photographs(eagerly):
    generator, pair = build_generator(), tf.keras.Input([None, None, 4])
    features = tf.keras.layers.LeakyReLU(0.2)(tf.keras.layers.Conv2D(2, 1)(pair))
    discriminator = tf.keras.Model(pair, tf.keras.layers.Conv2D(1, 1)(features))
    w = np.random.default_rng(5).normal(size=[4, 2])
    # Each logit is 0
    discriminator.set_weights([w[None, None], np.zeros(2), np.zeros([1, 1, 2, 1]), np.zeros(1)])
    stack = linear_networks.draw_stack(6, 16, is_viewed=True)
    photograph, mask = stack[..., :3].reshape(-1, 3), stack[..., 3].reshape(-1, 1)
    a, c = (value.copy() for value in generator.get_weights())

    make_step(generator, discriminator, l1=0.0, feature_matching=7.0)(STEP, stack)

    own, real = (np.concatenate([mask, colours], -1) @ w for colours in (mask @ a[0, 0] + c, photograph))
    own_slope = np.where(own > 0, 1, 0.2)
    by_feature = np.sign(own * own_slope - np.where(real > 0, real, 0.2 * real)) * own_slope / own.size
    to_fake = 7.0 * by_feature @ w[1:].T
    new_a, new_c = generator.get_weights()
    np.testing.assert_allclose(new_a[0, 0], a[0, 0] - mask.T @ to_fake, atol=1e-5)
    np.testing.assert_allclose(new_c, c - to_fake.sum(0), atol=1e-5)


@pytest.mark.parametrize("matching", [1.0, 0.0])
def test_with_feature_matching_the_discriminator_sees_fakes_inside_the_field_of_view_alone(matching, eagerly):
    generator, discriminator = build_generator(), build_discriminator()
    discriminator.set_weights([np.ones([1, 1, 4, 1]), np.zeros(1)])
    stack = linear_networks.draw_stack(7, 16, is_viewed=True)
    stack[:, :, 9:, 4], stack[:, :, 9:, :3] = 0, -1
    mask, (a, c) = stack[..., 3:4], generator.get_weights()
    fake = mask @ a[0, 0] + c
    shown = np.where(stack[..., 4:] > 0, fake, -1) if matching else fake
    losses = make_step(generator, discriminator, feature_matching=matching)(STEP, stack)
    np.testing.assert_allclose(losses["adversarial"], softplus(-(mask[..., 0] + shown.sum(-1))).mean(), rtol=1e-5)


@pytest.mark.parametrize(("wrong", "learns"), [(4, 1.0), (3, 0.0), (0, 0.0), (20, 1.0)])
def test_a_discriminator_that_tells_four_fifths_of_all_patches_right_learns_no_more(wrong, learns):
    right = np.concatenate([np.full(10, 0.3), np.full(10, -2.0)])
    logits = np.where(np.random.default_rng(0).permutation(20) < wrong, -right, right)
    real, fake = (tf.constant(part.reshape(2, 5, 1, 1), tf.float32) for part in (logits[:10], logits[10:]))
    assert float(painter.may_learn(real, fake, 0.8)) == learns


@pytest.mark.parametrize("most_accurate", [0.8, 1.0])
def test_where_the_discriminator_is_right_only_the_generator_learns(most_accurate, eagerly):
    models = build_generator(), build_discriminator()
    models[0].set_weights([np.zeros([1, 1, 1, 3]), np.full(3, -0.5)])
    models[1].set_weights([np.array([[[[0.0], [1.0], [1.0], [1.0]]]]), np.zeros(1)])
    stack = np.tile(np.float32([0.5, 0.4, 0.6, 1.0, 1.0]), [2, 16, 16, 1])  # bright photographs, dark fakes
    before = [model.get_weights() for model in models]
    make_step(*models, most_accurate=most_accurate)(STEP, stack)
    after = [model.get_weights() for model in models]
    assert (before[0][1] != after[0][1]).all()
    assert all((old == new).all() for old, new in zip(before[1], after[1], strict=True)) == (most_accurate < 1)


def test_two_replicas_with_half_a_batch_each_do_the_same_step(tmp_path):
    linear_networks.check_replicas("painter", tmp_path)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_step_of_the_painters_own_networks_in_both_precisions(policy):
    tf.keras.mixed_precision.set_global_policy(policy)  # conftest.py sets it back
    pairs = WarpedPairs([crop_sample(fundus.draw_fundus(index), (64, 80)) for index in range(2)], 2, SEED)
    tf.keras.utils.set_random_seed(1)
    settings, (generator, discriminator, _) = painter.choose_settings((64, 80)), painter.build((64, 80), 3)
    models = {"generator": generator, "discriminator": discriminator}
    optimizers = {name: painter.make_optimizer(2e-4, settings, model) for name, model in models.items()}
    before = [weight.numpy() for weight in generator.trainable_variables]
    step = painter.make_step(generator, discriminator, optimizers, True, settings, SEED)
    losses = step(tf.constant(0, tf.int64), *pairs.batch(0))
    assert all(np.isfinite(loss) and loss.dtype == tf.float32 for loss in losses.values())
    after = generator.trainable_variables
    assert all(np.isfinite(weight).all() and weight.dtype == tf.float32 for weight in after)
    assert all((old != new.numpy()).any() for old, new in zip(before, after, strict=True))


def test_features_of_large_images_alone_are_matched():
    large, small = painter.choose_settings((128, 144)), painter.choose_settings((112, 256))
    assert large == painter.Settings() and large.feature_matching > 0
    assert small.feature_matching == 0 and small.l1 < large.l1


def test_adam_has_a_rate_of_each_network_and_the_epsilon_of_keras():
    settings, model = painter.Settings(), build_generator()
    for rate in (settings.learning_rate, settings.discriminator_rate):
        optimizer = painter.make_optimizer(rate, settings, model)
        assert isinstance(optimizer, tf.keras.optimizers.Adam)
        assert float(optimizer.learning_rate) == pytest.approx(rate)
        assert (optimizer.beta_1, optimizer.beta_2) == (0.5, 0.999)
    linear_networks.check_epsilon(lambda layer: painter.make_optimizer(1.0, settings, layer), 1e-7)


# ---------------------------------------------------------------- what the generator is given


class Recorder:
    """In the place of a generator: notes the conditions that it is given, and paints grey."""

    trainable_variables = ()

    def __init__(self):
        self.conditions = []

    def __call__(self, inputs, training):
        self.conditions.append(np.array(inputs[0]))
        return tf.zeros([*inputs[0].shape[:3], 3])


def paint_with(generator, has_view=False, dtype="uint8", lighting=None):
    """A Painter of any generator, lit always alike unless given otherwise."""
    everywhere = np.ones([2, 16, 16, 1], np.float32)
    pairs = types.SimpleNamespace(
        has_view=has_view, dtype=dtype, light=everywhere, filled=0 * everywhere.repeat(3, -1), fields=-everywhere
    )
    trained = painter.Painter(generator, pairs, 7)
    trained.lighting = lighting or (np.zeros(21 if has_view else 6), np.zeros([21, 21] if has_view else [6, 6]))
    return trained


@pytest.mark.parametrize("has_view", [True, False])
def test_in_training_the_generator_is_given_the_mask_the_real_illumination_and_noise(has_view, eagerly):
    stack = linear_networks.draw_stack(0, 32, is_viewed=True)
    stack[:, :, 20:, 4] = 0
    generator = Recorder()
    idle = dict.fromkeys(("generator", "discriminator"), types.SimpleNamespace(apply_gradients=list))
    make_step(generator, build_discriminator(), has_view, idle)(STEP, stack)
    (condition,) = generator.conditions
    lit = illumination.describe(stack[..., :3], stack[..., 4:], has_view)
    np.testing.assert_allclose(
        condition[..., :-3], illumination.make_planes(stack[..., 3:4], lit, has_view), rtol=1e-4, atol=1e-5
    )
    assert condition.shape[-1] == PLANES and abs(condition[..., -3].std() - 1) < 0.1


def test_photographs_are_lit_by_drawn_illuminations_that_are_turned_as_the_mask_is():
    generator, mean = Recorder(), np.zeros(21)
    mean[:3], mean[18:] = (0.1, -0.1, -0.3), (0.2, 0.1, 0.1)
    lighting = mean, 0.05 * np.eye(21)
    paint = paint_with(generator, True, lighting=lighting)
    disc_left = wedge(16, 16)[:, ::-1]
    for index in (0, 1, 2, 0):
        paint(disc_left, index)
        lit = illumination.draw(*lighting, 7, index)
        expected = illumination.make_planes(2 * disc_left[None].astype(np.float32) - 1, lit, True)
        np.testing.assert_allclose(generator.conditions[-1][..., :7], expected, atol=1e-6)
    assert (generator.conditions[3] == generator.conditions[0]).all()

    mean[6:9] = 0.4  # brighter to the right, as eyes with the disc on the left are turned
    paint, generator.conditions[:] = paint_with(generator, True, lighting=(mean, np.zeros([21, 21]))), []
    for mask in (wedge(), wedge()[:, ::-1]):
        paint(mask, 0)
    slopes = [np.sign(np.diff(condition[0, 0, [0, -1], 1])[0]) for condition in generator.conditions]
    assert slopes == [-1, 1]


def test_the_generator_gets_normal_noise_that_is_a_function_of_seed_and_index_or_step(eagerly):
    generator, everywhere = Recorder(), np.ones([64, 64, 1], np.uint8)
    paint, other = paint_with(generator), paint_with(generator)
    other.seed = 8
    for painted in ((paint, 0), (paint, 1), (other, 0), (paint, 0)):
        painted[0](everywhere, painted[1])
    stack = linear_networks.draw_stack(0, 64, is_viewed=True)
    idle = dict.fromkeys(("generator", "discriminator"), types.SimpleNamespace(apply_gradients=list))
    step = make_step(generator, build_discriminator(), optimizers=idle)
    for number in (3, 4):
        step(tf.constant(number, tf.int64), stack)
    conditions = generator.conditions
    assert all((condition[..., :1] ** 2 == 1).all() and condition.shape[-1] == PLANES for condition in conditions)
    noises = [condition[..., -3:] for condition in conditions]
    assert (noises[3] == noises[0]).all()
    different = np.concatenate([*noises[:3], *noises[4:]])  # 3 and 2 of 2
    correlations = np.corrcoef(different[..., 0].reshape(7, -1))
    assert np.abs(correlations - np.eye(7)).max() < 0.08  # 5 standard deviations
    assert abs(np.mean(different[..., 0])) < 0.03 and abs(np.std(different[..., 0]) - 1) < 0.03
    for plane, scale in enumerate(painter.NOISE_SCALES):
        alike = np.corrcoef(different[:, :-1, :, plane].ravel(), different[:, 1:, :, plane].ravel())[0, 1]
        assert alike == pytest.approx({1: 0, 4: 0.94, 16: 0.99}[scale], abs=0.05)  # of neighbours


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_photographs_are_the_generators_output_in_whole_numbers(dtype):
    generator, mask = build_generator(), wedge(16, 16)
    paint = paint_with(generator, dtype=dtype)
    a, c = generator.get_weights()
    photograph = paint(mask, 3)
    assert photograph.dtype == dtype
    expected = pixels.to_integers((2.0 * mask - 1) * a[0, 0, 0] + c, dtype)
    assert np.abs(photograph.astype(int) - expected).max() <= 1
    assert (paint(mask > 0, 3) == photograph).all()


# ---------------------------------------------------------------- grain


class Memory:
    """In the place of a generator: remembers the photograph of each mask."""

    def __init__(self, samples, photographs):
        masks = [(sample.mask > 0).tobytes() for sample in samples]
        self.photographs = dict(zip(masks, photographs, strict=True))

    def __call__(self, inputs, training):
        mask = np.asarray(inputs[0])[0, ..., :1] > 0
        return tf.constant(self.photographs[mask.tobytes()][None] / 127.5 - 1, tf.float32)


def draw_grey_eyes(count, deviation):
    """Samples of 64 x 64 pixels, each with a mask of its own.

    A disc of grey level 128 has noise of that many grey levels, and beyond it all is black.
    """
    rows, columns = np.mgrid[:64, :64]
    disc = (np.hypot(rows - 31.5, columns - 31.5) < 30).astype(np.uint8)[..., None]
    noise = np.random.default_rng(int(deviation)).normal(128, deviation, [count, 64, 64, 3])
    photographs = (np.clip(np.rint(noise), 0, 255) * disc).astype(np.uint8)
    return [Sample(str(i), photographs[i], np.roll(wedge(), i, 0), disc) for i in range(count)]


def test_photographs_get_the_grain_that_they_lack_inside_their_field_of_view():
    real, smooth = draw_grey_eyes(12, 16), draw_grey_eyes(12, 0)
    paint, mask = paint_with(Memory(real, [eye.image for eye in smooth]), True), real[0].mask
    assert len(np.unique(paint(mask, 0))) == 2
    painter.add_grain(paint, real)
    other = paint_with(paint.generator, True)
    other.seed, other.grain = 8, paint.grain
    photographs = [paint(mask, 0), paint(mask, 1), other(mask, 0), paint(mask, 0)]
    inside = real[0].field_of_view[..., 0] > 0
    beyond = ~ndimage.binary_dilation(inside, iterations=2)
    assert beyond.mean() > 0.15 and all((photograph[beyond] == 0).all() for photograph in photographs)
    assert (photographs[3] == photographs[0]).all()
    levels = np.stack([photograph[inside].ravel() for photograph in photographs[:3]]).astype(float)
    np.testing.assert_allclose(levels.mean(1), 128, atol=2)
    np.testing.assert_allclose(levels.std(1), 16, rtol=0.15)
    assert np.abs(np.corrcoef(levels) - np.eye(3)).max() < 0.1
    before = [np.array(part) for part in paint.grain]
    painter.add_grain(paint, real)  # as much again, not what is still lacking
    assert all((old == new).all() for old, new in zip(before, paint.grain, strict=True))
    without_view = paint_with(paint.generator)
    without_view.grain = paint.grain
    assert all(channel.any() for channel in without_view(mask, 0)[beyond].T)


# ---------------------------------------------------------------- training


def test_photographs_are_painted_with_the_averaged_weights_that_checkpoint_names(tmp_path, monkeypatch, eagerly):
    random = np.random.default_rng(1)
    real = [
        Sample(str(i), random.integers(0, 256, [16, 16, 3], np.uint8), np.roll(wedge(16, 16), i, 0)) for i in range(3)
    ]
    pairs, averaged, weights, distances = WarpedPairs(real, 1, SEED), build_generator(), {}, iter([0.1, 0.19, 0.3])
    monkeypatch.setattr(checkpoints, "MEASURE_EVERY", 1)
    monkeypatch.setattr(average, "AVERAGE_EVERY", 1)
    monkeypatch.setattr(painter, "build", lambda *_: (build_generator(), build_discriminator(), averaged))
    monkeypatch.setattr(grain, "find_missing", lambda *_: (np.zeros([3, 3, 16, 16], np.complex64), float(len(weights))))
    settings = painter.Settings(batch_size=1, steps=3, learning_rate=0.1, discriminator_rate=0.1, average=0.5)

    def watch(paint):
        def measure():
            assert paint.grain[1] == len(weights)  # that of the weights measured
            weights[len(weights) + 1] = averaged.get_weights()
            return {"distance": next(distances)}, ""

        return measure

    for checkpoint, step in (("best", 2), ("last", 3), ("1", 1)):
        paint, result = painter.train(tmp_path, pairs, settings, SEED, watch=watch, checkpoint=checkpoint)
        assert result["sampled_step"] == step and result["sampler"] == str(tmp_path / "samplers" / f"ckpt-{step}")
        assert paint.generator is averaged and paint.grain[1] == 3 and paint.seed == SEED
        for weight, expected in zip(averaged.get_weights(), weights[step], strict=True):
            np.testing.assert_array_equal(weight, expected)
    assert len(weights) == 3 and (weights[1][0] != weights[2][0]).any() and (weights[2][0] != weights[3][0]).any()
    assert painter.train(tmp_path, pairs, settings, SEED, watch=watch)[1]["sampled_step"] == 2  # the best
