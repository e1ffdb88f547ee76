"""networks/pggan.py: its layers against closed forms, and its networks against the paper's tables and equations."""

import numpy as np
import pytest
import tensorflow as tf

from synthmed_tf import losses
from synthmed_tf.networks import pggan

RNG = np.random.default_rng(0)
WIDTH = 1 / 64  # 8 feature maps


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


# ---------------------------------------------------------------- layers


@pytest.mark.parametrize("gain", [2**0.5, 1.0])
def test_equalised_dense_layer_is_scaled_by_hes_constant_at_run_time(gain):
    layer, x = pggan.EqualizedDense(400, gain), normal(300, 50)
    output = layer(x).numpy()
    kernel = layer.kernel.numpy()
    assert abs(kernel.std() - 1) < 0.02 and abs(kernel.mean()) < 0.03  # N(0, 1), whatever the size
    np.testing.assert_allclose(output, x @ kernel * gain / 50**0.5, atol=1e-4)
    assert abs(output.std() - gain) < 0.05 * gain  # inputs of variance 1 give outputs of variance gain^2
    layer.bias.assign_add(tf.fill([400], 2.0))
    np.testing.assert_allclose(layer(x), output + 2, atol=1e-4)


@pytest.mark.parametrize(("size", "resampling"), [(1, None), (3, None), (3, "up"), (3, "down")])
def test_equalised_convolution_is_a_scaled_one_after_upsampling_or_before_pooling(size, resampling):
    layer, inputs = pggan.EqualizedConv2D(7, size, 1.5, resampling), normal(2, 6, 4, 5)
    output = layer(inputs)
    x = np.repeat(np.repeat(inputs, 2, 1), 2, 2) if resampling == "up" else inputs
    expected = tf.nn.conv2d(x, layer.kernel * (1.5 / (5 * size**2) ** 0.5), 1, "SAME")
    if resampling == "down":
        expected = tf.nn.avg_pool2d(expected, 2, 2, "VALID")
    np.testing.assert_allclose(output, expected, atol=1e-5)
    layer.bias.assign_add(np.arange(7.0))
    np.testing.assert_allclose(layer(inputs), output + np.arange(7.0), atol=1e-5)


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
    np.testing.assert_allclose(pggan.fade(0.0, tf.constant(8.0), 0.25), 2.0)


def test_feature_maps_are_those_of_table_2():
    # 4 to 1024 pixels
    assert [pggan.count_features(level) for level in range(9)] == [512, 512, 512, 512, 256, 128, 64, 32, 16]
    assert (
        pggan.count_features(-1) == 512
        and pggan.count_features(0, 0.125) == 64
        and pggan.count_features(8, 1 / 512) == 1
    )


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
        assert images.shape[1:3] == pggan.compute_level_size(size, level)
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
    old, new = (generator([z, label], level=shown).numpy() for shown in (level - 1, level))
    old = np.repeat(np.repeat(old, 2, 1), 2, 2)
    for alpha in (0.0, 0.5, 1.0):
        output = generator([z, label], level=level, alpha=tf.constant(alpha))
        np.testing.assert_allclose(output, (1 - alpha) * old + alpha * new, atol=1e-5)
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
    unused = {id(weight) for layer in [*generator.blocks[2], generator.to_image[2]] for weight in layer.weights}
    for gradient, weight in zip(reached, generator.trainable_variables, strict=True):
        assert (gradient is None) == (id(weight) in unused)
    for target in (logits, penalty):
        gradients = tape.gradient(target, discriminator.trainable_variables)
        gradients = [gradient for gradient in gradients if gradient is not None]
        assert len(gradients) >= 8 and all(np.isfinite(gradient).all() for gradient in gradients)
