import numpy as np
import pytest
import tensorflow as tf
from network_parts import draw_noise

from synthmed_tf.networks import flow


def _denoiser(size):
    """The network with all kernels that are 0 at first drawn at random, and inputs for three samples."""
    tf.keras.utils.set_random_seed(1)
    model = flow.build_denoiser(size)
    inputs = [draw_noise(3, *size, 2), tf.constant([0.1, 0.5, 0.9])]
    assert not np.any(model(inputs))
    zeros = [weight for weight in model.trainable_variables if "kernel" in weight.name and not np.any(weight)]
    assert len(zeros) == 9 * 3 + 1  # scale, shift and last convolution of nine blocks, and the last layer
    for index, kernel in enumerate(zeros):
        kernel.assign(tf.random.stateless_normal(kernel.shape, [0, index], stddev=0.05))
    return model, inputs


@pytest.mark.parametrize("size", [(32, 32), (48, 64), (144, 128), (192, 224)])
def test_denoiser_is_0_at_first_and_that_of_each_sample_and_its_time_alone(size):
    model, (fields, times) = _denoiser(size)
    found = model([fields, times])
    assert found.shape == fields.shape and found.dtype == tf.float32 and np.std(found) > 0.01
    np.testing.assert_allclose(model([fields[1:2], times[1:2]])[0], found[1], atol=1e-5)
    later = model([fields, times + [0.0, 0.3, 0.0]])
    np.testing.assert_allclose(later[0], found[0], atol=1e-5)
    assert np.abs(later[1] - found[1]).max() > 0.01


@pytest.mark.parametrize(
    ("size", "block"), [((176, 256), 2), ((192, 192), 4), ((256, 512), 4), ((208, 256), 2), ((32, 1024), 2)]
)
def test_blocks_keep_three_halvings_possible(size, block):
    assert flow.choose_block_size(size) == block and all(side % (block * 8) == 0 for side in size)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_every_weight_of_the_denoiser_learns_once_none_is_0(policy):
    tf.keras.mixed_precision.set_global_policy(policy)  # conftest.py sets it back
    model, inputs = _denoiser((32, 48))
    assert all(weight.dtype == tf.float32 for weight in model.weights)
    with tf.GradientTape() as tape:
        found = model(inputs, training=True)
        loss = tf.reduce_sum(found**2)
    assert found.dtype == tf.float32
    for weight, gradient in zip(model.trainable_variables, tape.gradient(loss, model.trainable_variables), strict=True):
        assert np.isfinite(gradient).all() and gradient.dtype == tf.float32
        if "/key/bias" not in weight.name:  # adds the same to all logits of a softmax
            assert np.abs(gradient).max() > 0, weight.name


def test_a_pixel_of_the_denoiser_depends_on_every_other_one_of_its_sample():
    model, (fields, times) = _denoiser((48, 384))  # too wide for convolutions alone
    with tf.GradientTape() as tape:
        tape.watch(fields)
        corner = tf.reduce_sum(model([fields, times])[0, 0, 0])
    reached = np.abs(tape.gradient(corner, fields))
    assert (reached[0].max(-1) > 0).all() and not reached[1:].any()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("mixed_bfloat16", 2**-7)])
def test_root_mean_square_normalization_is_zhangs_equation_4(dtype, tolerance):
    rng = np.random.default_rng(0)
    x, gain = rng.normal(size=[2, 3, 4, 5]) * [[[[1, 10, 100, 0.1, 3]]]], rng.normal(size=[5])
    layer = flow.RootMeanSquareNormalization(dtype=tf.keras.mixed_precision.Policy(dtype))
    x = tf.cast(x, layer.compute_dtype)
    exact = np.array(tf.cast(x, tf.float32))
    unit = exact / np.sqrt((exact**2).mean(-1, keepdims=True))
    np.testing.assert_allclose(tf.cast(layer(x), tf.float32), unit, rtol=tolerance)  # the gain is 1 at first
    layer.gain.assign(gain)
    found = layer(x)
    assert found.dtype == x.dtype and layer.gain.dtype == tf.float32
    np.testing.assert_allclose(tf.cast(found, tf.float32), unit * gain, rtol=2 * tolerance)
    assert not np.any(layer(0 * x))
