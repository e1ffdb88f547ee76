"""networks/flow.py and smalldata/flow.py."""

import types

import numpy as np
import pytest
import tensorflow as tf
from network_parts import draw_noise
from stage1_helpers import draw_eyes, make_rows, make_sgd, reduce_by_hand, show_plainly

from synthmed_tf.networks import flow as flow_network
from synthmed_tf.sample import Sample
from synthmed_tf.smalldata import decoder, flow, refiner, threshold
from synthmed_tf.smalldata.warped_examples import MaskFields, WarpedImages
from synthmed_tf.training import average, checkpoints

RNG = np.random.default_rng(0)
SEED = 4
EVEN = np.linspace(1, 0, flow.STEPS + 1)
TIMES = 3 * EVEN / (1 + 2 * EVEN)


class Linear(tf.keras.layers.Layer):
    """a x + b t + c."""

    def build(self, _):
        constant = tf.keras.initializers.Constant
        self.factors = [self.add_weight(n, initializer=constant(v)) for n, v in (("a", 0.7), ("b", -0.4), ("c", 0.2))]

    def call(self, inputs):
        (x, time), (a, b, c) = inputs, self.factors
        return a * x + b * time[:, None, None, None] + c


def describe_examples(size, channels=1, target="mask", classes=0):
    """What a Flow asks of Examples."""
    return types.SimpleNamespace(image_size=size, channels=channels, target=target, classes=classes)


def build_flow(network, size=(3, 2), averaged=None):
    """A Flow with these networks, of masks of one channel."""
    networks = iter([averaged or network, network])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flow_network, "build_denoiser", lambda *_: next(networks))
        return flow.Flow(describe_examples(size))


def build_linear(size):
    """A network whose image is 0.7 x - 0.4 t + 0.2."""
    fields, time = tf.keras.Input([*size, 1]), tf.keras.Input([])
    return tf.keras.Model([fields, time], Linear()([fields, time]))


def flow_of(velocity):
    """A Flow whose velocity is a function of x [batch, 3, 2, 1] and t [batch, 1, 1, 1]; and noise for it."""
    fields, time = tf.keras.Input([3, 2, 1]), tf.keras.Input([])
    times = time[:, None, None, None]
    network = tf.keras.Model([fields, time], fields - times * velocity(fields, times))
    return build_flow(network), RNG.normal(size=[4, 3, 2, 1]).astype(np.float32)


@pytest.fixture
def narrow(monkeypatch):
    monkeypatch.setattr(flow_network, "CHANNELS", (8, 8))


# ---------------------------------------------------------------- network


def build_random_denoiser(size):
    """The network with all kernels that are 0 at first drawn at random, and inputs for three samples."""
    tf.keras.utils.set_random_seed(1)
    model = flow_network.build_denoiser(size)
    inputs = [draw_noise(3, *size, 2), tf.constant([0.1, 0.5, 0.9])]
    assert not np.any(model(inputs))
    zeros = [weight for weight in model.trainable_variables if "kernel" in weight.name and not np.any(weight)]
    assert len(zeros) == 9 * 3 + 1  # scale, shift and last convolution of nine blocks, and the last layer
    for index, kernel in enumerate(zeros):
        kernel.assign(tf.random.stateless_normal(kernel.shape, [0, index], stddev=0.05))
    return model, inputs


@pytest.mark.parametrize("size", [(32, 32), (48, 64), (144, 128), (192, 224)])
def test_denoiser_is_0_at_first_and_that_of_each_sample_and_its_time_alone(size):
    model, (fields, times) = build_random_denoiser(size)
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
    assert flow_network.choose_block_size(size) == block and all(side % (block * 8) == 0 for side in size)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_every_weight_of_the_denoiser_learns_once_none_is_0(policy):
    tf.keras.mixed_precision.set_global_policy(policy)  # conftest.py sets it back
    model, inputs = build_random_denoiser((32, 48))
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
    model, (fields, times) = build_random_denoiser((48, 384))  # too wide for convolutions alone
    with tf.GradientTape() as tape:
        tape.watch(fields)
        corner = tf.reduce_sum(model([fields, times])[0, 0, 0])
    reached = np.abs(tape.gradient(corner, fields))
    assert (reached[0].max(-1) > 0).all() and not reached[1:].any()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("mixed_bfloat16", 2**-7)])
def test_root_mean_square_normalization_is_zhangs_equation_4(dtype, tolerance):
    rng = np.random.default_rng(0)
    x, gain = rng.normal(size=[2, 3, 4, 5]) * [[[[1, 10, 100, 0.1, 3]]]], rng.normal(size=[5])
    layer = flow_network.RootMeanSquareNormalization(dtype=tf.keras.mixed_precision.Policy(dtype))
    x = tf.cast(x, layer.compute_dtype)
    exact = np.array(tf.cast(x, tf.float32))
    unit = exact / np.sqrt((exact**2).mean(-1, keepdims=True))
    np.testing.assert_allclose(tf.cast(layer(x), tf.float32), unit, rtol=tolerance)  # the gain is 1 at first
    layer.gain.assign(gain)
    found = layer(x)
    assert found.dtype == x.dtype and layer.gain.dtype == tf.float32
    np.testing.assert_allclose(tf.cast(found, tf.float32), unit * gain, rtol=2 * tolerance)
    assert not np.any(layer(0 * x))


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("size", "halved"),
    [
        ((128, 128), None),
        ((128, 256), None),
        ((256, 256), (128, 128)),
        ((224, 256), None),
        ((512, 576), (256, 288)),
        ((512, 544), None),  # half of it is no multiple of 32
    ],
)
def test_fields_are_of_half_the_size_where_it_allows_it_and_images_never(size, halved, narrow, monkeypatch):
    monkeypatch.setattr(flow_network, "ATTENDED", 0)
    model = flow.Flow(describe_examples(size, channels=2))
    assert model.shape == (*(halved or size), 2) and model.stride == (2 if halved else 1) and model.shift == 3
    assert model.network.output_shape == model.averaged.output_shape == (None, *model.shape)
    assert model.network.input_shape == [(None, *model.shape), (None,)]


def test_a_flow_of_images_is_of_their_size_and_its_times_are_even(narrow, monkeypatch):
    monkeypatch.setattr(flow_network, "ATTENDED", 0)
    model = flow.Flow(describe_examples((256, 256), 3, "image", classes=2))
    assert model.shape == (256, 256, 3) and model.stride == 1 and model.shift == 1
    assert model.network.input_shape[2] == (None, 2)


def test_fields_at_half_size_are_means_and_come_back():
    fields = RNG.normal(size=[2, 8, 6, 1]).astype(np.float32)
    halved = flow.reduce(fields, 2)
    np.testing.assert_allclose(halved[0, 1, 2, 0], fields[0, 2:4, 4:6, 0].mean(), atol=1e-6)
    assert flow.enlarge(halved, 2).shape == fields.shape and (flow.reduce(fields, 1) == fields).all()
    assert (flow.enlarge(fields, 1) == fields).numpy().all()
    np.testing.assert_allclose(flow.enlarge(flow.reduce(np.full_like(fields, 0.3), 2), 2), 0.3, atol=1e-6)


# ---------------------------------------------------------------- one step, by hand


def step_by_hand(real, seed, number, replica=0):
    """(loss, gradients) of Liu et al. 2023, equation 1, for `build_linear` on [batch, height, width, 1]."""
    key = tf.random.experimental.stateless_fold_in([seed, number], replica)
    key = tf.random.experimental.stateless_split(key, 2)[0]
    noise = tf.random.stateless_normal(real.shape, key).numpy()
    times = (tf.random.stateless_uniform([], key + 1).numpy() + np.arange(len(real)) / len(real)) % 1
    times = (3 * times / (1 + 2 * times)).reshape(-1, 1, 1, 1)
    mixed = (1 - times) * real + times * noise
    least = np.maximum(times, flow.EARLIEST)
    velocity = (mixed - (0.7 * mixed - 0.4 * times + 0.2)) / least
    error = velocity - (mixed - real) / least  # noise - real, where the time is not less
    gradients = [(-2 * error * factor / least).mean() for factor in (mixed, times, np.ones_like(mixed))]
    return np.square(error).mean(), np.array(gradients)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_step_of_a_flow_is_the_algorithm_by_hand(stride):
    model, rows = build_flow(build_linear((6, 4)), (6, 4)), make_rows(6 * stride, 4 * stride, batch=5)

    def show(rows, key):
        return flow.reduce(show_plainly(rows), stride)

    logged = flow.make_step(model, make_sgd(), show, SEED)(tf.constant(8, tf.int64), rows)

    loss, gradients = step_by_hand(reduce_by_hand(rows, stride), SEED, 8)
    assert logged.keys() == {"velocity"}
    np.testing.assert_allclose(logged["velocity"], loss, rtol=1e-5)
    weights = [weight.numpy() for weight in model.network.trainable_variables]
    np.testing.assert_allclose(weights, np.array([0.7, -0.4, 0.2]) - gradients, atol=1e-5)


def test_the_times_of_a_batch_are_spread_evenly_and_differ_from_step_to_step(eagerly):
    rows, calls = make_rows(6, 4, batch=8), []
    real = reduce_by_hand(rows)

    class Network:
        trainable_variables = []

        def __call__(self, inputs, training):
            calls.append([values.numpy() for values in inputs])
            return tf.zeros_like(inputs[0])

    model = build_flow(Network(), (6, 4))
    step = flow.make_step(model, types.SimpleNamespace(apply_gradients=list), show_plainly, SEED)
    for number in range(3):
        step(tf.constant(number, tf.int64), rows)
    offsets = []
    for mixed, times in calls:
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
    shifted = flow.shift_times(times, 3.0)
    np.testing.assert_allclose(shifted / (1 - shifted), 3 * times / (1 - times), rtol=1e-9)
    assert [flow.shift_times(time, 3.0) for time in (0.0, 0.5, 1.0)] == [0, 0.75, 1]
    assert (flow.shift_times(times, 1.0) == times).all()


# ---------------------------------------------------------------- from noise to image


def test_a_flow_that_is_straight_is_followed_exactly():
    velocity, target = (RNG.normal(size=[3, 2, 1]).astype(np.float32) for _ in range(2))
    model, noise = flow_of(lambda x, t: 0 * x + velocity)
    np.testing.assert_allclose(model.generate(noise, fresh=0.0), noise - velocity, atol=1e-5)
    model, noise = flow_of(lambda x, t: (x - target) / t)  # at every point the velocity of the line to the target
    np.testing.assert_allclose(model.generate(noise), np.broadcast_to(target, noise.shape), atol=1e-5)


@pytest.mark.parametrize("steps", [1, 3, flow.STEPS])
def test_a_flow_without_fresh_noise_is_followed_by_eulers_method_from_noise_to_image(steps, monkeypatch):
    monkeypatch.setattr(flow, "STEPS", steps)
    model, noise = flow_of(lambda x, t: 0.7 * x - 0.4 * t + 0.2)
    even = np.linspace(1, 0, steps + 1)
    times = 3 * even / (1 + 2 * even)
    expected = noise.astype(np.float64)
    for now, after in zip(times, times[1:]):
        expected += (after - now) * (0.7 * expected - 0.4 * now + 0.2)
    np.testing.assert_allclose(model.generate(noise, fresh=0.0), expected, atol=1e-5)


def test_a_flow_with_the_ideal_denoiser_of_normal_data_draws_what_so_many_steps_make_of_it():
    mean, deviation = 0.3, 0.5

    def gain(t):
        return (1 - t) * deviation**2 / ((1 - t) ** 2 * deviation**2 + t**2)

    def velocity(x, t):
        return (x - mean - gain(t) * (x - (1 - t) * mean)) / t

    variance = 1.0
    for now, after in zip(TIMES, TIMES[1:]):  # each step is linear in x and the fresh noise
        kept = (1 - after) * gain(now) + after * np.sqrt(1 - flow.FRESH**2) * (1 - (1 - now) * gain(now)) / now
        variance = kept**2 * variance + (after * flow.FRESH) ** 2

    model, _ = flow_of(velocity)
    noise = RNG.normal(size=[2000, 3, 2, 1]).astype(np.float32)
    drawn = model.generate(noise).numpy()
    np.testing.assert_allclose(drawn.mean(0), mean, atol=0.05)
    assert 0.75 * deviation < np.sqrt(variance) < deviation  # so few steps draw it in
    assert drawn.std() == pytest.approx(np.sqrt(variance), rel=0.03)
    pixels = drawn.reshape(2000, 6)
    assert np.abs(np.corrcoef(pixels.T) - np.eye(6)).max() < 0.1  # 4 standard deviations
    assert abs(np.corrcoef(noise.ravel(), drawn.ravel())[0, 1]) < 0.05  # nothing is left of the noise it began with


def test_the_fresh_noise_of_a_sample_is_a_function_of_its_own_noise_alone():
    model, noise = flow_of(lambda x, t: 0.7 * x)
    together = model.generate(noise).numpy()
    alone = np.concatenate([model.generate(noise[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(alone, together, atol=1e-5)
    changed = noise + np.float32([[1e-3], [0], [0], [0]])[..., None, None]
    moved = np.abs(model.generate(changed).numpy() - together).max((1, 2, 3))
    assert moved[0] > 0.1 and moved[1:].max() < 1e-5


def test_samples_are_drawn_by_the_averaged_weights_as_they_are_at_the_time():
    averaged = build_linear((3, 2))
    model, plain = build_flow(build_linear((3, 2)), averaged=averaged), build_flow(averaged)
    noise = tf.random.stateless_normal([2, 3, 2, 1], [1, 2])
    for factor in (1, 0.5):
        averaged.set_weights([factor * weight for weight in averaged.get_weights()])
        np.testing.assert_allclose(model.generate(noise), plain.generate(noise), atol=1e-6)
    averaged.set_weights([0 * weight for weight in averaged.get_weights()])
    np.testing.assert_allclose(model.generate(noise), np.zeros([2, 3, 2, 1]), atol=1e-6)


@pytest.mark.parametrize("left_out", [1 / 4, 3 / 4, 1])
def test_fields_are_redrawn_from_the_time_after_the_steps_left_out(left_out, monkeypatch):
    monkeypatch.setattr(flow, "FRESH", 0.0)
    times = TIMES[round(left_out * flow.STEPS) :]
    model, fields = flow_of(lambda x, t: 0.7 * x - 0.4 * t + 0.2)
    noise = tf.random.stateless_normal(fields.shape, [3, 1]).numpy().astype(np.float64)
    expected = (1 - times[0]) * fields + times[0] * noise
    for now, after in zip(times, times[1:]):
        expected += (after - now) * (0.7 * expected - 0.4 * now + 0.2)
    np.testing.assert_allclose(model.redraw(fields, [3, 1], left_out), expected, atol=1e-5)


def test_redrawn_fields_are_halved_and_enlarged_as_the_flow_needs_it():
    model, _ = flow_of(lambda x, t: 0 * x)
    model.stride = 2
    fields = RNG.normal(size=[2, 6, 4, 1]).astype(np.float32)
    expected = flow.enlarge(flow.reduce(fields, 2), 2)
    np.testing.assert_allclose(model.redraw(fields, [0, 0], 1), expected, atol=1e-5)


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_a_refiner_does_the_last_steps_at_once(share, monkeypatch):
    monkeypatch.setattr(flow, "REFINED", share)
    velocity, calls = RNG.normal(size=[3, 2, 1]).astype(np.float32), []
    model, noise = flow_of(lambda x, t: 0 * x + velocity)
    model.generate(noise)  # a graph without a refiner

    def refine(inputs, training):
        calls.append([np.asarray(values) for values in inputs])
        return inputs[0] * 2

    model.refiner = refine
    time = 3 * share / (1 + 2 * share)
    np.testing.assert_allclose(model.generate(noise, fresh=0.0), 2 * (noise - (1 - time) * velocity), atol=1e-5)
    assert calls[0][1] == pytest.approx(np.full(4, time)) and model.time_after(model.first_refined) == time


def test_many_fields_are_decoded_a_few_at_once():
    sizes = []

    def decode(fields, training):
        sizes.append(len(fields))
        return tf.constant(fields[..., :1])

    fields = RNG.normal(size=[19, 4, 4, 2]).astype(np.float32)
    probabilities = flow.decode_fields(decode, fields)
    assert sizes == [8, 8, 3] and (probabilities[..., 1] == fields[..., 1]).all()
    np.testing.assert_allclose(probabilities[..., 0], 1 / (1 + np.exp(-fields[..., 0])), atol=1e-6)


# ---------------------------------------------------------------- a training


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_the_first_step_changes_the_last_layer_in_both_precisions(policy, monkeypatch, narrow, eagerly):
    tf.keras.mixed_precision.set_global_policy(policy)  # conftest.py sets it back
    monkeypatch.setattr(flow, "STEPS", 2)
    tf.keras.utils.set_random_seed(1)
    examples = MaskFields(draw_eyes(2, (64, 80)), [], "mask", 2, 0)
    model = flow.Flow(examples)
    before = model.network.get_weights()
    logged = flow.make_step(model, make_sgd(), examples.show, 0)(tf.constant(0, tf.int64), *examples.batch(0))
    assert np.isfinite(logged["velocity"]) and logged["velocity"].dtype == tf.float32
    after = model.network.weights
    assert sum((old != new.numpy()).any() for old, new in zip(before, after, strict=True)) == 2  # others begin as 0
    assert all(np.isfinite(weight).all() and weight.dtype == tf.float32 for weight in after)
    fields = model.generate(tf.zeros([1, *model.shape]))
    assert fields.dtype == tf.float32 and fields.shape == (1, 64, 80, 2) and np.isfinite(fields).all()


@pytest.fixture
def tiny(narrow, monkeypatch, eagerly):
    """A training of a few steps and samples."""
    monkeypatch.setattr(flow_network, "ATTENDED", 0)
    monkeypatch.setattr(flow, "STEPS", 4)
    monkeypatch.setattr(checkpoints, "MEASURE_EVERY", 2)
    monkeypatch.setattr(average, "AVERAGE_EVERY", 1)
    monkeypatch.setattr(threshold, "DRAWN", 4)
    monkeypatch.setattr(decoder, "CROP", 32)
    monkeypatch.setattr(decoder, "BATCH_SIZE", 2)


def watch_nothing(examples, sampler):
    distances = iter([0.1, 0.3])  # the first is the best
    return lambda: ({"distance": next(distances)}, "")


def test_a_training_of_masks_goes_on_with_the_same_bits_and_ends_with_a_decoder(tmp_path, tiny):
    def train(place, steps, checkpoint="best"):
        examples = MaskFields(draw_eyes(2), [], "mask", 2, SEED)
        settings = flow.Settings(batch_size=2, steps=steps)
        sampler, result = flow.train(
            tmp_path / place, examples, settings, SEED, watch=watch_nothing, checkpoint=checkpoint
        )
        assert examples.has_probability and sampler.mirrors and sampler.noise_shape == (64, 64, 2)
        return sampler, result

    at_once, result = train("at once", 4)
    assert (result["step"], result["sampled_step"]) == (4, 2)
    assert result["sampler"] == str(tmp_path / "at once" / "samplers" / "ckpt-2")
    assert result["refined"] == str(tmp_path / "at once" / "decoder-2-4" / "checkpoints" / "ckpt-4")
    train("in parts", 2)
    in_parts, again = train("in parts", 4, "2")
    for key in ("sampler", "refined", "checkpoint"):
        assert checkpoints.hash_checkpoint(result[key]) == checkpoints.hash_checkpoint(again[key]), key
    masks = at_once.draw([0, 1])
    assert masks.shape == (2, 64, 64, 1) and masks.dtype == np.uint8 and (masks == in_parts.draw([0, 1])).all()


def test_a_training_of_large_masks_is_at_half_their_size(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(decoder, "STEPS", 1)
    examples = MaskFields(draw_eyes(2, (256, 256)), [], "mask", 2, SEED)
    settings = flow.Settings(batch_size=2, steps=1)
    sampler, _ = flow.train(tmp_path, examples, settings, SEED, watch=watch_nothing)
    assert sampler.noise_shape == (128, 128, 2) and sampler.draw([0]).shape == (1, 256, 256, 1)


@pytest.mark.parametrize("class_names", [(), ("a", "b")])
def test_a_training_of_images_ends_with_a_refiner(class_names, tmp_path, tiny):
    images = RNG.integers(0, 256, [4, 64, 64, 1], np.uint8)
    real = [Sample(str(i), image, label="ab"[i % 2]) for i, image in enumerate(images)]
    examples = WarpedImages(real, [], "image", 2, SEED, class_names)
    settings = flow.Settings(batch_size=2, steps=2)
    sampler, result = flow.train(tmp_path, examples, settings, SEED, watch=watch_nothing)
    assert result["refined"] == str(tmp_path / "refiner-2" / "checkpoints" / "ckpt-2") and refiner.STEPS > 2
    pictures = sampler.draw([0, 1], label=1 if class_names else None)
    assert pictures.shape == (2, 64, 64, 1) and pictures.dtype == np.uint8 and sampler.classes == len(class_names)


@pytest.mark.parametrize("decay", [0, 2000])
def test_the_optimizer_of_a_flow(decay, tmp_path, narrow, monkeypatch):
    state = {}

    def fit(folder, step, batch, optimized, *_, **__):
        state.update(optimized)
        raise InterruptedError

    monkeypatch.setattr(flow.loop, "fit", fit)
    settings = flow.Settings(rate_decay=decay)
    examples = MaskFields(draw_eyes(2), [], "mask", 2, SEED)
    with pytest.raises(InterruptedError):
        flow.train(tmp_path, examples, settings, SEED, watch=watch_nothing)
    optimizer = state["generator_optimizer"]
    assert (optimizer.beta_1, optimizer.beta_2, optimizer.epsilon) == (0.9, 0.99, 1e-7)
    np.testing.assert_allclose(optimizer.learning_rate, 1e-3 / (200 if decay else 1), rtol=1e-6)
