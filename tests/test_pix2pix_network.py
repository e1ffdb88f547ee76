"""pix2pix and vess2ret against their papers' tables, and what they share with the painter."""

import numpy as np
import pytest
import tensorflow as tf
from network_parts import CONVOLUTIONS, NORMS, describe, draw_noise, select

from synthmed_tf.networks import layers, painter, pix2pix, vess2ret

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


@pytest.fixture(scope="module", params=NETWORKS)
def small_generator(request):
    """(network, generator at 64 x 64 pixels, two masks, seed). Decoder biases and gains as at the start of training."""
    tf.keras.utils.set_random_seed(1)
    model = request.param.build_generator((64, 64))
    return request.param, model, draw_noise(2, 64, 64, 1), tf.constant([[1, 2]])


@pytest.mark.parametrize("network", GENERATORS)
def test_generator_is_the_papers_table_at_its_native_size(network):
    size, down, up, norms = GENERATORS[network]
    model = network.build_generator((size, size), in_channels=1, out_channels=3)
    convolutions = select(model, CONVOLUTIONS)
    assert [describe(layer) for layer in convolutions] == down + up
    assert [isinstance(layer, tf.keras.layers.Conv2DTranspose) for layer in convolutions] == [False] * len(down) + [
        True
    ] * len(up)
    assert len(select(model, NORMS)) == norms
    assert [layer.rate for layer in select(model, layers.SeededDropout)] == [0.5] * 3
    assert len({layer.index for layer in select(model, layers.SeededDropout)}) == 3
    assert not select(model, layers.CropLike)
    assert model.output_shape == (None, size, size, 3)

    weights, channels = 0, 1
    for kernel, _, filters in down:
        weights, channels = weights + filters * (kernel**2 * channels + 1), filters
    skips = [filters for _, _, filters in down[-2::-1]] + [0]
    for (kernel, _, filters), skip in zip(up, skips, strict=True):
        weights, channels = weights + filters * (kernel**2 * channels + 1), filters + skip
    gains = sum(2 * layer.output_shape[-1] for layer in select(model, NORMS))
    assert sum(np.prod(v.shape) for v in model.trainable_variables) == weights + gains
    if network is pix2pix:
        assert round(model.count_params() / 1e6, 1) == 54.4  # Isola et al. 2017, published code, 256 pixels
        assert convolutions[len(down) - 1].output_shape == (None, 1, 1, 512)


@pytest.mark.parametrize("network", DISCRIMINATORS)
def test_discriminator_is_the_papers_table_at_its_native_size(network):
    expected, norms, shape = DISCRIMINATORS[network]
    size = GENERATORS[network][0]
    model = network.build_discriminator((size, size), in_channels=1, out_channels=3)
    assert [describe(layer) for layer in select(model, CONVOLUTIONS)] == expected
    assert len(select(model, NORMS)) == norms
    assert model.output_shape == (None, *shape, 1)
    assert all(layer.activation is tf.keras.activations.linear for layer in select(model, CONVOLUTIONS))


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
    model = network.build_discriminator(size)
    seen = 1
    for kernel, stride, _ in (describe(layer) for layer in reversed(select(model, CONVOLUTIONS))):
        seen = (seen - 1) * stride + kernel
    assert seen == patch

    pair = draw_noise(1, *size, 4)
    with tf.GradientTape() as tape:
        tape.watch(pair)
        logits = model(pair)
        logit = logits[0, logits.shape[1] // 2, logits.shape[2] // 2, 0]
    reached = np.abs(tape.gradient(logit, pair)[0]).sum(-1) > 0
    around = painter.DETAIL_WINDOW - 1 if network is painter else 0
    assert np.ptp(np.flatnonzero(reached.any(1))) + 1 == patch + around
    assert np.ptp(np.flatnonzero(reached.any(0))) + 1 == patch + around


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("size", [(80, 112), (144, 64)])
def test_generator_and_discriminator_of_any_size(network, size):
    generator = network.build_generator(size, in_channels=2, out_channels=1)
    discriminator = network.build_discriminator(size, in_channels=2, out_channels=1)
    masks = draw_noise(1, *size, 2)
    images = generator([masks, tf.constant([[1, 2]])], training=True)
    assert images.shape == (1, *size, 1)
    assert np.isfinite(discriminator(tf.concat([masks, images], -1), training=True)).all()
    bottom = min(min(layer.output_shape[1:3]) for layer in select(generator, tf.keras.layers.Conv2D))
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
