import numpy as np
import pytest
import tensorflow as tf
from skimage.transform import resize

from synthmed_tf.networks import (
    dcgan,
    flow,
    inception,
    layers,
    painter,
    pix2pix,
    resize_dcgan,
    unet,
    vess2ret,
    vgg16_network,
)
from synthmed_tf.sample import InputError

CONVOLUTIONS = (tf.keras.layers.Conv2D, tf.keras.layers.Conv2DTranspose)  # the second is a subclass of the first
NORMS = (tf.keras.layers.BatchNormalization, tf.keras.layers.GroupNormalization, layers.BatchStatisticsNormalization)
# generator, (kernel, stride, channels) down, then up; layers with a norm
GENERATORS = {
    pix2pix: (
        256,
        [(4, 2, c) for c in (64, 128, 256, 512, 512, 512, 512, 512)],
        [(4, 2, c) for c in (512, 512, 512, 512, 256, 128, 64, 3)],
        6 + 7,
    ),
    vess2ret: (
        512,
        [(3, 2, c) for c in (64, 128, 256, 512, 512, 512, 512, 512)] + [(2, 1, 512)],
        [(2, 1, 512)] + [(2, 2, c) for c in (512, 512, 512, 512, 256, 128, 64, 3)],
        9 + 8,
    ),
}
DISCRIMINATORS = {  # (kernel, stride, channels), layers with a norm, shape of the map of logits at the native size
    pix2pix: ([(4, 2, 64), (4, 2, 128), (4, 2, 256), (4, 1, 512), (4, 1, 1)], 3, (30, 30)),
    vess2ret: ([(3, 2, 32), (3, 2, 64), (3, 2, 128), (3, 2, 256), (3, 2, 1)], 0, (16, 16)),
}
NETWORKS = (pix2pix, vess2ret, painter)


def _layers(model, kinds):
    return [layer for layer in model.layers if isinstance(layer, kinds)]


def _shape(convolution):
    return convolution.kernel_size[0], convolution.strides[0], convolution.filters


def _noise(*shape, seed=0):
    return tf.constant(np.random.default_rng(seed).uniform(-1, 1, shape), tf.float32)


@pytest.fixture(scope="module", params=NETWORKS)
def small_generator(request):
    """(network, generator at 64 x 64 pixels, two masks, seed). Decoder biases and gains as at the start of training."""
    tf.keras.utils.set_random_seed(1)
    model = request.param.generator((64, 64))
    return request.param, model, _noise(2, 64, 64, 1), tf.constant([[1, 2]])


# --- DCGAN


def test_dcgan_at_64_pixels_is_radfords_figure_1():
    generator, discriminator = dcgan.generator((64, 64), channels=3), dcgan.discriminator((64, 64), channels=3)
    assert _layers(generator, tf.keras.layers.Reshape)[0].output_shape == (None, 4, 4, 1024)
    assert [_shape(layer) for layer in _layers(generator, CONVOLUTIONS)] == [(5, 2, c) for c in (512, 256, 128, 3)]
    assert [_shape(layer) for layer in _layers(discriminator, CONVOLUTIONS)] == [
        (5, 2, c) for c in (128, 256, 512, 1024)
    ]
    assert generator.input_shape == (None, 100)
    assert discriminator.output_shape == (None, 1)
    assert len(_layers(generator, NORMS)) == 4
    assert len(_layers(discriminator, NORMS)) == 3
    assert isinstance(discriminator.layers[2], tf.keras.layers.LeakyReLU)  # no batch norm between image and layer 1
    channels = (1024, 512, 256, 128)
    expected = 100 * 4 * 4 * 1024 + sum(25 * a * b for a, b in zip(channels, (512, 256, 128, 3), strict=True)) + 3
    assert generator.count_params() == expected + 4 * sum(channels)


def test_a_dcgan_of_a_quarter_of_the_width_has_a_quarter_of_the_channels():
    generator, discriminator = (network((64, 64), 3, width=0.25) for network in (dcgan.generator, dcgan.discriminator))
    assert _layers(generator, tf.keras.layers.Reshape)[0].output_shape == (None, 4, 4, 256)
    assert [layer.filters for layer in _layers(generator, CONVOLUTIONS)] == [128, 64, 32, 3]
    assert [layer.filters for layer in _layers(discriminator, CONVOLUTIONS)] == [32, 64, 128, 256]


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
    assert dcgan.depth(size) == depth
    assert tuple(side // 2**depth for side in size) == base


def test_dcgan_of_any_size_makes_images_in_range_that_do_not_depend_on_their_neighbours():
    tf.keras.utils.set_random_seed(1)
    generator, discriminator = dcgan.generator((64, 80)), dcgan.discriminator((64, 80))
    z = tf.random.stateless_normal([3, 100], [1, 2])
    images = generator(z, training=False)
    assert images.shape == (3, 64, 80, 1) and images.dtype == tf.float32
    assert np.abs(images).max() < 1
    np.testing.assert_allclose(generator(z[1:2], training=False)[0], images[1], atol=1e-5)
    assert discriminator(images, training=True).shape == (3, 1)


def test_dcgan_has_at_most_1024_channels_and_starts_at_sd_002():
    tf.keras.utils.set_random_seed(1)
    model = dcgan.discriminator((128, 128))
    assert [layer.filters for layer in _layers(model, CONVOLUTIONS)] == [128, 256, 512, 1024, 1024]
    for layer in _layers(model, CONVOLUTIONS):
        np.testing.assert_allclose(np.std(layer.kernel), 0.02, rtol=0.05)


@pytest.mark.parametrize("size", [(60, 64), (64, 48), (100, 100), (0, 0)])
@pytest.mark.parametrize("network", [dcgan.generator, dcgan.discriminator, pix2pix.generator, pix2pix.discriminator])
def test_impossible_sizes_are_refused(network, size):
    with pytest.raises(ValueError, match="multiples of 16, 64 or more"):
        network(size)


# --- DCGAN with resize convolutions


@pytest.mark.parametrize("size", [(64, 64), (80, 64), (128, 128)])
def test_resize_dcgan_is_dcgan_without_transposed_convolutions_and_without_norms_in_its_discriminator(size):
    tf.keras.utils.set_random_seed(1)
    generator = resize_dcgan.generator(size, 2, latent=5, width=0.25)
    discriminator = resize_dcgan.discriminator(size, 2, width=0.25)
    z = tf.random.stateless_normal([3, 5], [1, 2])
    fields = generator(z, training=False)
    assert fields.shape == (3, *size, 2) and fields.dtype == tf.float32 and np.abs(fields).max() < 1
    np.testing.assert_allclose(generator(z[1:2], training=False)[0], fields[1], atol=1e-5)
    assert not _layers(generator, tf.keras.layers.Conv2DTranspose) and not _layers(discriminator, NORMS)
    widths = [layer.filters for layer in _layers(generator, resize_dcgan.UpsampleConv2D)]
    radford = [layer.filters for layer in _layers(dcgan.generator(size, width=0.25), tf.keras.layers.Conv2DTranspose)]
    assert widths == [*radford[:-1], radford[-2] // 2]
    assert len(_layers(discriminator, layers.MinibatchStandardDeviation)) == 1
    kernels = [layer.kernel.shape for layer in _layers(discriminator, tf.keras.layers.Conv2D)]
    assert kernels[1:] == [
        layer.kernel.shape for layer in _layers(dcgan.discriminator(size, width=0.25), tf.keras.layers.Conv2D)[1:]
    ]


@pytest.mark.parametrize("size", [(64, 80), (128, 192)])
def test_every_weight_of_resize_dcgan_learns(size):
    tf.keras.utils.set_random_seed(1)
    inputs = tf.random.stateless_normal([2, 5], [1, 2]), _noise(2, *size, 2)
    models = resize_dcgan.generator(size, 2, latent=5, width=0.1), resize_dcgan.discriminator(size, 2, width=0.1)
    for model, given in zip(models, inputs, strict=True):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(given, training=True) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        assert all(np.abs(gradient).max() > 0 for gradient in gradients)


# --- flow


def _denoiser(size):
    """The network with all kernels that are 0 at first drawn at random, and inputs for three samples."""
    tf.keras.utils.set_random_seed(1)
    model = flow.denoiser(size)
    inputs = [_noise(3, *size, 2), tf.constant([0.1, 0.5, 0.9])]
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
    assert flow.block_size(size) == block and all(side % (block * 8) == 0 for side in size)


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


# --- pix2pix


@pytest.mark.parametrize("network", GENERATORS)
def test_generator_is_the_papers_table_at_its_native_size(network):
    size, down, up, norms = GENERATORS[network]
    model = network.generator((size, size), in_channels=1, out_channels=3)
    convolutions = _layers(model, CONVOLUTIONS)
    assert [_shape(layer) for layer in convolutions] == down + up
    assert [isinstance(layer, tf.keras.layers.Conv2DTranspose) for layer in convolutions] == [False] * len(down) + [
        True
    ] * len(up)
    assert len(_layers(model, NORMS)) == norms
    assert [layer.rate for layer in _layers(model, layers.SeededDropout)] == [0.5] * 3
    assert len({layer.index for layer in _layers(model, layers.SeededDropout)}) == 3
    assert not _layers(model, layers.CropLike)
    assert model.output_shape == (None, size, size, 3)

    weights, channels = 0, 1
    for kernel, _, filters in down:
        weights, channels = weights + filters * (kernel**2 * channels + 1), filters
    skips = [filters for _, _, filters in down[-2::-1]] + [0]
    for (kernel, _, filters), skip in zip(up, skips, strict=True):
        weights, channels = weights + filters * (kernel**2 * channels + 1), filters + skip
    gains = sum(2 * layer.output_shape[-1] for layer in _layers(model, NORMS))
    assert sum(np.prod(v.shape) for v in model.trainable_variables) == weights + gains
    if network is pix2pix:
        assert round(model.count_params() / 1e6, 1) == 54.4  # Isola et al. 2017, published code, 256 pixels
        assert convolutions[len(down) - 1].output_shape == (None, 1, 1, 512)


@pytest.mark.parametrize("network", DISCRIMINATORS)
def test_discriminator_is_the_papers_table_at_its_native_size(network):
    expected, norms, shape = DISCRIMINATORS[network]
    size = GENERATORS[network][0]
    model = network.discriminator((size, size), in_channels=1, out_channels=3)
    assert [_shape(layer) for layer in _layers(model, CONVOLUTIONS)] == expected
    assert len(_layers(model, NORMS)) == norms
    assert model.output_shape == (None, *shape, 1)
    assert all(layer.activation is tf.keras.activations.linear for layer in _layers(model, CONVOLUTIONS))


@pytest.mark.parametrize(
    ("network", "size", "patch"),
    [
        (pix2pix, (128, 144), 70),
        (painter, (192, 208), 70),
        (painter, (176, 256), 34),
    ],
)
def test_patches_that_the_discriminator_sees(network, size, patch, monkeypatch):
    # A norm of the picture's own statistics sees every pixel; the patch is what is left without it.
    for norm in (layers.BatchStatisticsNormalization, tf.keras.layers.GroupNormalization):
        monkeypatch.setattr(norm, "call", lambda self, inputs: inputs)
    model = network.discriminator(size)
    seen = 1
    for kernel, stride, _ in (_shape(layer) for layer in reversed(_layers(model, CONVOLUTIONS))):
        seen = (seen - 1) * stride + kernel
    assert seen == patch

    pair = _noise(1, *size, 4)
    with tf.GradientTape() as tape:
        tape.watch(pair)
        logits = model(pair)
        logit = logits[0, logits.shape[1] // 2, logits.shape[2] // 2, 0]
    reached = np.abs(tape.gradient(logit, pair)[0]).sum(-1) > 0
    around = painter.DETAIL_WINDOW - 1 if network is painter else 0
    assert np.ptp(np.flatnonzero(reached.any(1))) + 1 == patch + around
    assert np.ptp(np.flatnonzero(reached.any(0))) + 1 == patch + around


def test_features_of_the_discriminator_are_what_its_activations_give():
    model = painter.discriminator((64, 80))
    pair = _noise(2, 64, 80, 4)
    logits, features = painter.with_features(model)(pair)
    np.testing.assert_array_equal(logits, model(pair))
    assert [feature.shape for feature in features] == [(2, 32, 40, 32), (2, 16, 20, 64), (2, 15, 19, 128)]
    np.testing.assert_allclose(model.layers[-1](model.layers[-2](model.layers[-3](features[-1]))), logits, atol=1e-5)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("size", [(80, 112), (144, 64)])
def test_generator_and_discriminator_of_any_size(network, size):
    generator = network.generator(size, in_channels=2, out_channels=1)
    discriminator = network.discriminator(size, in_channels=2, out_channels=1)
    masks = _noise(1, *size, 2)
    images = generator([masks, tf.constant([[1, 2]])], training=True)
    assert images.shape == (1, *size, 1)
    assert np.isfinite(discriminator(tf.concat([masks, images], -1), training=True)).all()
    bottom = min(min(layer.output_shape[1:3]) for layer in _layers(generator, tf.keras.layers.Conv2D))
    assert bottom == (min(size) // 16 if network is painter else 1)


def test_dropout_is_a_function_of_the_seed_alone(small_generator):
    network, model, masks, seed = small_generator
    first = model([masks, seed], training=True).numpy()
    np.testing.assert_array_equal(first, model([masks, seed], training=True))
    other = model([masks, tf.constant([[1, 3]])], training=True).numpy()
    assert np.array_equal(first, other) == (network is painter)
    np.testing.assert_array_equal(
        model([masks, seed], training=False), model([masks, tf.constant([[1, 3]])], training=False)
    )
    assert np.abs(first).max() < 1


def test_which_presets_use_the_statistics_of_the_batch_at_test_time(small_generator):
    network, model, masks, seed = small_generator
    alone = model([masks[:1], seed], training=False)[0]
    together = model([masks, seed], training=False)[0]
    assert np.allclose(alone, together, atol=1e-5) == (network is painter)
    assert (network is pix2pix) == network.TRAINING_AT_TEST_TIME


def test_nothing_changes_when_a_generator_is_called(small_generator):
    _, model, masks, seed = small_generator
    before = model.get_weights()
    model([masks, seed], training=True)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_small_data_generator_has_no_transposed_convolution_and_is_light():
    model = painter.generator((128, 128))
    assert not _layers(model, tf.keras.layers.Conv2DTranspose)
    assert model.count_params() < 4e6


def test_seed_fixes_the_weights_and_no_two_layers_start_alike():
    models = []
    for _ in range(2):
        tf.keras.utils.set_random_seed(7)
        models.append(pix2pix.discriminator((64, 64)))
    for first, second in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(first, second)
    starts = [layer.kernel.numpy().ravel()[:8].tobytes() for layer in _layers(models[0], CONVOLUTIONS)]
    assert len(set(starts)) == len(starts)


def test_mixed_precision_keeps_norms_and_outputs_in_float32():
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        models = [dcgan.generator((64, 64)), dcgan.discriminator((64, 64)), unet.unet(width=4)]
        models += [network.generator((64, 64)) for network in (vess2ret, painter)]
        models += [network.discriminator((64, 64)) for network in (pix2pix, painter)]
        models += [resize_dcgan.generator((64, 64)), resize_dcgan.discriminator((64, 64)), flow.denoiser((32, 32))]
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    for model in models:
        assert model.output.dtype == tf.float32
        assert all(layer.compute_dtype == "float32" for layer in _layers(model, NORMS))
        assert all(weight.dtype == tf.float32 for weight in model.weights)
        convolutions = [module for module in model.submodules if isinstance(module, CONVOLUTIONS)]
        assert any(layer.compute_dtype == "bfloat16" for layer in convolutions)


# --- U-Net


def test_unet_has_484145_parameters():
    assert unet.unet().count_params() == 484_145
    blocks = [(3, 16), (16, 32), (32, 64), (64, 128), (128, 64), (64, 32), (32, 16)]
    convolutions = sum(9 * a * b + 9 * b * b + 8 * b for a, b in blocks)
    upward = sum(4 * a * b + b for a, b in blocks[4:])
    assert unet.unet().count_params() == convolutions + upward + 16 + 1


@pytest.mark.parametrize(("levels", "width"), [(1, 4), (2, 8), (4, 4)])
def test_unet_takes_any_size(levels, width):
    model = unet.unet(in_channels=1, levels=levels, width=width)
    for size in [(64, 64), (37, 53), (1, 9)]:
        assert model(_noise(1, *size, 1)).shape == (1, *size, 1)
    assert max(layer.filters for layer in _layers(model, CONVOLUTIONS)) == width * 2**levels


def test_unet_sees_the_same_whatever_lies_far_away():
    tf.keras.utils.set_random_seed(1)
    model = unet.unet(in_channels=1, levels=1, width=4)
    image = _noise(1, 48, 40, 1)
    np.testing.assert_allclose(model(image)[:, 16:28, 16:28], model(image[:, :44, :36])[:, 16:28, 16:28], atol=1e-5)


# --- layers


def test_seeded_dropout_keeps_the_share_and_the_mean():
    ones, seed = tf.ones([4, 50, 50, 8]), tf.constant([[3, 4]])
    first, second = (layers.SeededDropout(0.3, index)([ones, seed], training=True).numpy() for index in (0, 1))
    assert set(np.unique(first)) == {np.float32(0), np.float32(1) / np.float32(0.7)}
    np.testing.assert_allclose(np.mean(first > 0), 0.7, atol=0.01)
    np.testing.assert_allclose(np.mean((first > 0) & (second > 0)), 0.49, atol=0.01)  # layers are independent
    np.testing.assert_array_equal(layers.SeededDropout(0.3, 0)([ones, seed], training=False), ones)


def test_batch_statistics_normalization_is_instance_norm_for_one_sample():
    x = _noise(1, 8, 8, 3) * 5 + 2
    expected = (x - np.mean(x, (1, 2), keepdims=True)) / np.sqrt(np.var(x, (1, 2), keepdims=True) + 1e-5)
    for training in (True, False):
        np.testing.assert_allclose(layers.BatchStatisticsNormalization()(x, training=training), expected, atol=1e-4)
    np.testing.assert_allclose(painter.instance_norm()(x), expected, atol=1e-4)


def test_minibatch_standard_deviation_by_hand():
    x = _noise(8, 3, 2, 5).numpy()
    result = layers.MinibatchStandardDeviation(4)(x).numpy()
    np.testing.assert_array_equal(result[..., :5], x)
    for start in (0, 1):  # samples 0, 2, 4, 6 and 1, 3, 5, 7 are a group
        expected = x[start::2].std(0).mean()
        np.testing.assert_allclose(result[start::2, ..., 5], expected, atol=1e-4)
    assert layers.MinibatchStandardDeviation(4)(x[:3]).shape == (3, 3, 2, 6)
    collapsed = layers.MinibatchStandardDeviation(4)(np.repeat(x[:1], 4, 0))
    assert np.max(collapsed[..., 5]) < 1e-3


def test_joined_convolution_is_upsampling_joining_and_a_convolution():
    tf.keras.utils.set_random_seed(1)
    x, skip, layer = tf.constant(_noise(2, 5, 7, 6)), tf.constant(_noise(2, 10, 14, 3)), painter.JoinedConvolution(4)
    layer([x, skip])
    layer.bias.assign([1.0, -2.0, 3.0, 0.5])
    weights = _noise(2, 10, 14, 4)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([x, skip])
        result = layer([x, skip])
        joined = tf.concat([tf.keras.layers.UpSampling2D(interpolation="nearest")(x), skip], -1)
        expected = tf.nn.conv2d(joined, layer.kernel, 1, "SAME") + layer.bias
        of_result, of_expected = (tf.reduce_sum(weights * each) for each in (result, expected))
    np.testing.assert_allclose(result, expected, atol=1e-5)
    for source in (x, skip, layer.kernel, layer.bias):
        np.testing.assert_allclose(tape.gradient(of_result, source), tape.gradient(of_expected, source), atol=1e-4)


def test_joined_convolution_begins_as_the_convolution_of_the_joined_maps():
    tf.keras.utils.set_random_seed(1)
    layer = painter.JoinedConvolution(4)
    layer([_noise(1, 4, 4, 6), _noise(1, 8, 8, 3)])
    tf.keras.utils.set_random_seed(1)
    plain = tf.keras.layers.Conv2D(4, 3, kernel_initializer="he_normal")
    plain.build([None, None, None, 9])
    for found, expected in zip(layer.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_crop_like_cuts_bottom_and_right():
    x = _noise(1, 6, 8, 2)
    np.testing.assert_array_equal(layers.CropLike()([x, tf.zeros([1, 5, 7, 1])]), x[:, :5, :7])


def test_inception_is_that_of_keras_in_float32_with_given_weights(tmp_path):
    theirs = tf.keras.applications.InceptionV3(
        include_top=False, weights=None, input_shape=(299, 299, 3), pooling="avg"
    )
    theirs.save_weights(tmp_path / "notop.h5")
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 255, [1, 299, 299, 3]).astype(np.float32)
    expected = theirs(tf.keras.applications.inception_v3.preprocess_input(image.copy()))
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        network = inception.inception((299, 299, 3), tmp_path / "notop.h5")
        assert tf.keras.mixed_precision.global_policy().name == "mixed_bfloat16"
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    np.testing.assert_allclose(network(image / 255, training=False), expected, rtol=1e-3, atol=1e-5)
    grey = rng.uniform(0, 1, [1, 64, 48, 1]).astype(np.float32)
    resized = resize(grey[0, ..., 0], (299, 299), order=3)  # scikit-image's bicubic spline is another, near one
    network = inception.inception((64, 48, 1), tmp_path / "notop.h5")
    seen = network.layers[-2].output
    seen = tf.keras.Model(network.input, seen)(grey)[0].numpy()
    assert seen.shape == (299, 299, 3) and (seen == seen[..., :1]).all()
    assert -1 <= seen.min() and seen.max() <= 1
    assert np.abs(seen[..., 0] - (2 * resized - 1)).mean() < 0.1
    (tmp_path / "holiday.h5").write_bytes(b"beach")
    with pytest.raises(InputError, match="holiday.h5: not the weights of InceptionV3") as caught:
        inception.inception((64, 48, 1), tmp_path / "holiday.h5")
    assert "\n" not in str(caught.value)


def test_networks_can_be_copied():
    pair, masks, seed = _noise(1, 64, 64, 4), _noise(1, 64, 64, 1), tf.constant([[1, 2]])
    models = [(pix2pix.discriminator((64, 64)), pair), (vess2ret.generator((64, 64)), [masks, seed])]
    for model, inputs in [*models, (unet.unet(width=4), _noise(1, 16, 16, 3))]:
        copy = tf.keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
        np.testing.assert_allclose(copy(inputs, training=True), model(inputs, training=True), atol=1e-5)


NOT_ON_GPUS = {  # operations that TensorFlow 2.15 refuses there under determinism, by its own messages
    "ResizeNearestNeighborGrad", "AdjustContrastv2", "SparseTensorDenseMatMul", "Dilation2DBackpropInput", "Dilation2DBackpropFilter",
    "MaxPoolGradWithArgmax", "Bincount", "DenseBincount", "CropAndResizeGradImage", "CropAndResizeGradBoxes",
}  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [
        lambda: flow.denoiser((64, 64), 2),
        lambda: resize_dcgan.generator((64, 64), width=0.25),
        lambda: resize_dcgan.discriminator((64, 64), width=0.25),
        lambda: dcgan.generator((64, 64), width=0.25),
        lambda: dcgan.discriminator((64, 64), width=0.25),
        lambda: unet.unet(),
        lambda: vgg16_network.vgg16((32, 32, 1), 2, [0.0], [1.0]),
        *(lambda network=network: network.generator((64, 64)) for network in NETWORKS),
        *(lambda network=network: network.discriminator((64, 64)) for network in NETWORKS),
    ],
)
def test_gradients_can_be_computed_deterministically_on_gpus(make):
    model = make()

    @tf.function
    def gradients(*inputs):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(inputs if len(inputs) > 1 else inputs[0], training=True))
        return tape.gradient(loss, model.trainable_variables)

    shapes = [tf.TensorSpec([2, *(side or 64 for side in each.shape[1:])], each.dtype) for each in model.inputs]
    graph = gradients.get_concrete_function(*shapes).graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    assert {"ReluGrad", "LeakyReluGrad", "Conv2DBackpropFilter"} & {node.op for node in nodes}
    assert not NOT_ON_GPUS & {node.op for node in nodes}
    assert all(node.attr["is_training"].b for node in nodes if node.op.startswith("FusedBatchNormGrad"))
