"""DCGAN for a few dozen masks or some hundred images: the default of stage 1.

Added to P1's DCGAN (papers/dcgan.py), each with its effect in docs/SMALL_DATA.md:

* masks as fields of two recombined and warped eyes (warped_examples.py), whose threshold is calibrated;
* a generator of resize convolutions, and a discriminator without batch norm which sees how much a batch varies
  (networks/resize_dcgan.py), at a quarter of the width;
* R1, a light penalty on the discriminator's gradient at real samples, every R1_EVERY steps;
* a learning rate that falls, and weights averaged over some hundred steps, with batch norm's statistics measured anew.

Images keep the paper's layers, at a quarter of the width and without penalty: they are warped, weights are averaged.
"""

import dataclasses
import functools

import tensorflow as tf

from synthmed_tf import losses
from synthmed_tf.networks import dcgan, resize_dcgan
from synthmed_tf.settings import setting
from synthmed_tf.smalldata.rate import FallingRate
from synthmed_tf.training import checkpoints, loop
from synthmed_tf.training.average import RunningAverage
from synthmed_tf.training.sampler import Sampler

R1_EVERY = 8  # steps between two penalties, each multiplied by as much (Karras et al. 2020, StyleGAN2, section 3.1)
SETTLING_BATCHES, SETTLING_BATCH = 24, 16  # what the averages held before keeps 0.9^24 = 8 %


@dataclasses.dataclass(frozen=True)
class MaskSettings:
    """What 20 masks need; chosen by training masks of DRIVE at 128 pixels."""

    latent: int = setting(100, "length of z (Radford et al. 2016, section 4)")
    width: float = setting(0.25, "times Radford's numbers of channels")
    batch_size: int = setting(16, "samples a step")
    steps: int = setting(2500, "training steps; masks that begin to copy end it sooner")
    learning_rate: float = setting(4e-4, "of Adam, at first")
    rate_decay: int = setting(2000, "N: the rate is divided by 1 + step / N; 0: constant")
    beta1: float = setting(0.5, "of Adam (Radford et al. 2016, section 4)")
    r1: float = setting(0.3, "gamma of R1; half of it multiplies the penalty (Mescheder et al. 2018, equation 9)")
    average: float = setting(0.998, "of the averaged weights, what a step keeps")


@dataclasses.dataclass(frozen=True)
class ImageSettings(MaskSettings):
    """What some hundred X-rays or tiles need; chosen by KID to training images of NIH at 64 pixels."""

    steps: int = setting(8000, "training steps")
    learning_rate: float = setting(2e-4, "of Adam (Radford et al. 2016, section 4)")
    rate_decay: int = setting(0, "N: the rate is divided by 1 + step / N; 0: constant")
    r1: float = setting(0.0, "gamma of R1; by 3.0 X-rays blur (docs/SMALL_DATA.md)")
    average: float = setting(0.995, "of the averaged weights, what a step keeps")


def build(image_size, channels, classes, settings):
    """(generator, discriminator, averaged generator) with their initial weights; of masks the resize DCGAN."""
    networks = dcgan if isinstance(settings, ImageSettings) else resize_dcgan
    generator = functools.partial(
        networks.build_generator, image_size, channels, settings.latent, classes, settings.width
    )
    discriminator = networks.build_discriminator(image_size, channels, classes, settings.width)
    averaged = generator()
    return generator(), discriminator, averaged


def make_step(generator, discriminator, optimizers, examples, settings, seed):
    """The training step: (step number, *batch of `examples`) -> losses. As papers/dcgan.py's, and R1."""

    @tf.function
    def step(number, rows, *labels):
        key_z, key_show = loop.draw_keys(seed, number)
        real = examples.show(rows, key_show)
        z = tf.random.stateless_normal([tf.shape(real)[0], settings.latent], key_z)
        with tf.GradientTape(persistent=True) as tape:
            fake = generator([z, *labels], training=True)
            real_logits = discriminator([real, *labels], training=True)
            fake_logits = discriminator([fake, *labels], training=True)
            d_loss = losses.discriminator_cross_entropy(real_logits, fake_logits)
            g_loss = losses.generator_non_saturating(fake_logits)
        d_gradients = tape.gradient(d_loss, discriminator.trainable_variables)
        g_gradients = tape.gradient(g_loss, generator.trainable_variables)

        def add_penalty():
            with tf.GradientTape() as outer:
                penalty = losses.r1_penalty(lambda images: discriminator([images, *labels], training=True), real)
                penalty *= R1_EVERY * settings.r1 / 2
            more = outer.gradient(penalty, discriminator.trainable_variables)
            return [a if b is None else a + b for a, b in zip(d_gradients, more, strict=True)]

        if settings.r1:
            d_gradients = tf.cond(number % R1_EVERY == 0, add_penalty, lambda: d_gradients)
        loop.update(optimizers["discriminator"], d_gradients, discriminator)
        loop.update(optimizers["generator"], g_gradients, generator)
        return {"discriminator": d_loss, "generator": g_loss}

    return step


def make_optimizer(settings, model):
    """Adam for the variables of `model`; its epsilon is that of Radford et al.'s published code."""
    rate = FallingRate(settings.learning_rate, settings.rate_decay) if settings.rate_decay else settings.learning_rate
    optimizer = tf.keras.optimizers.Adam(rate, settings.beta1, epsilon=1e-8, jit_compile=False)
    optimizer.build(model.trainable_variables)
    return optimizer


def settle(averaged, settings, examples, seed):
    """Measures the batch norm statistics of the averaged generator, over SETTLING_BATCHES batches.

    Those of the trained generator do not fit the averaged weights, and masks come out foggy (Izmailov et al. 2018,
    "Averaging Weights Leads to Wider Optima", section 3.2).
    """
    labels = examples.list_typical_labels(SETTLING_BATCHES * SETTLING_BATCH)
    for index in range(SETTLING_BATCHES):
        z = tf.random.stateless_normal([SETTLING_BATCH, settings.latent], [seed, -5 - index])
        averaged([z, *([] if labels is None else [labels[index::SETTLING_BATCHES]])], training=True)


def train(folder, examples, settings, seed, *, watch, checkpoint="best", strategy=None, name="stage 1"):
    """Trains a DCGAN, or goes on where it stopped. Arguments and result are those of papers.dcgan.train.

    Args:
      settings: MaskSettings or ImageSettings.
    """
    strategy = strategy or tf.distribute.get_strategy()
    tf.keras.utils.set_random_seed(seed)
    with strategy.scope():
        networks = build(examples.image_size, examples.channels, examples.classes, settings)
        generator, discriminator, averaged = networks
        models = {"generator": generator, "discriminator": discriminator}
        optimizers = {name: make_optimizer(settings, model) for name, model in models.items()}
    step = make_step(generator, discriminator, optimizers, examples, settings, seed)
    generate = tf.function(lambda noise, *labels: averaged([noise, *labels], training=False))

    def paint(noise, labels=None):
        return examples.to_pictures(generate(noise, *([] if labels is None else [labels])))

    sampler = Sampler((settings.latent,), paint, seed, examples.classes, examples.mirrors)
    measure = watch(examples, sampler)

    def settle_and_measure():
        settle(averaged, settings, examples, seed)
        examples.calibrate(generate, sampler.noise_shape)
        return measure()

    state = models | {f"{name}_optimizer": optimizer for name, optimizer in optimizers.items()}
    sampling = checkpoints.Sampling(averaged, sampler.draw_grid, settle_and_measure, checkpoint, examples.tolerance)
    average = RunningAverage(generator, averaged, settings.average)
    result = loop.fit(
        folder, step, examples.batch, state, settings.steps, name=name, average=average, sampling=sampling,
        strategy=strategy,
    )  # fmt: skip
    sampled = checkpoints.restore_sampler(folder, sampling)
    examples.calibrate(generate, sampler.noise_shape)
    return sampler, result | sampled
