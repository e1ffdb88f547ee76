"""Class-conditional models (P2 § 3.1): what networks make of a class, and the classes that a step gives them."""

import types

import numpy as np
import pytest
import tensorflow as tf

from synthmed_tf.networks import dcgan, flow, resize_dcgan
from synthmed_tf.papers import dcgan as paper_dcgan
from synthmed_tf.papers import pggan
from synthmed_tf.smalldata import dcgan as small_dcgan

RNG = np.random.default_rng(0)
NETWORKS = {"dcgan": dcgan, "resize_dcgan": resize_dcgan}
SIZE = (64, 64)


@pytest.mark.parametrize("model", NETWORKS)
def test_a_gans_images_and_logits_depend_on_the_class(model, monkeypatch):
    monkeypatch.setattr(dcgan, "MAX_CHANNELS", 8)
    tf.keras.utils.set_random_seed(0)
    network = NETWORKS[model]
    generator, discriminator = (
        network.build_generator(SIZE, 1, 6, classes=3),
        network.build_discriminator(SIZE, 1, classes=3),
    )
    z, labels = np.repeat(RNG.normal(size=[1, 6]), 3, 0), np.eye(3)
    images = generator([z, labels], training=True).numpy()
    assert min(np.abs(images[i] - images[j]).max() for i, j in ((0, 1), (0, 2), (1, 2))) > 1e-3
    x = np.repeat(RNG.uniform(-1, 1, [1, *SIZE, 1]), 3, 0)
    logits, without, doubled = (discriminator([x, scale * labels], training=False).numpy() for scale in (1, 0, 2))
    assert np.diff(np.sort(logits, 0), axis=0).min() > 1e-6 and np.ptp(without) < 1e-7
    np.testing.assert_allclose(doubled - without, 2 * (logits - without), atol=1e-6)  # Miyato & Koyama 2018


@pytest.mark.parametrize("model", NETWORKS)
def test_a_new_gans_images_depend_more_on_z_than_on_the_class(model, monkeypatch):
    monkeypatch.setattr(dcgan, "MAX_CHANNELS", 8)
    z, labels = np.repeat(RNG.normal(size=[8, 64]), 3, 0), np.tile(np.eye(3), [8, 1])
    generator = NETWORKS[model].build_generator(SIZE, 1, 64, classes=3)
    images = generator([z, labels], training=True).numpy().reshape(8, 3, -1)
    assert images.std(0).mean() > 4 * images.std(1).mean() > 0


def test_a_flows_images_depend_on_the_class():
    network, plain = (flow.build_denoiser((32, 32), 1, classes) for classes in (2, 0))
    assert network.count_params() - plain.count_params() == 2 * 128 and len(plain.inputs) == 2
    for weight in network.trainable_weights:
        if not np.abs(weight).max():  # at first its last layers make nothing
            weight.assign(tf.random.stateless_normal(weight.shape, [1, 2]) * 0.3)
    x = RNG.normal(size=[1, 32, 32, 1]).repeat(2, 0)
    images = network([x, np.full(2, 0.5), np.eye(2)]).numpy()
    assert np.abs(images[0] - images[1]).max() > 1e-3


# ---------------------------------------------------------------- steps


class Recorder(tf.keras.Model):
    """A generator or a discriminator of images of 8 x 8 pixels that notes the classes it is told."""

    last_level = 1

    def __init__(self, told, is_generator):
        super().__init__()
        self.told, self.is_generator = told, is_generator
        self.scale = self.add_weight("scale", [], initializer="ones")

    def call(self, inputs, training=None, level=None, alpha=None):
        x, labels = inputs
        self.told.append(labels.numpy())
        image = tf.reshape(x, [-1, 8, 8, 1])
        return self.scale * (image if self.is_generator else tf.reduce_mean(image, [1, 2]))


@pytest.mark.parametrize(("method", "settings", "others"), [
    (paper_dcgan, paper_dcgan.Settings(latent=64), ()),
    (small_dcgan, small_dcgan.ImageSettings(latent=64), ()),
    (pggan, pggan.Settings(latent=64), (1, None)),
])  # fmt: skip
def test_fakes_get_the_classes_of_the_real_images_in_their_batch(method, settings, others, eagerly):
    told, labels = [], np.float32(np.eye(3)[[2, 0, 0, 1]])
    networks = Recorder(told, True), Recorder(told, False)
    optimizers = {name: tf.keras.optimizers.SGD(0.1, jit_compile=False) for name in ("generator", "discriminator")}
    examples = types.SimpleNamespace(show=lambda rows, _: rows[..., :-1])
    step = method.make_step(*networks, optimizers, examples, settings, 0, *others)
    losses = step(tf.constant(1, tf.int64), RNG.normal(size=[4, 8, 8, 2]).astype(np.float32), labels)
    assert losses.keys() == {"discriminator", "generator"}
    assert len(told) >= 3 and all((classes == labels).all() for classes in told)
