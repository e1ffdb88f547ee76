"""DCGAN: P1's Stage-I GAN (noise -> masks), and P2's first GAN (noise -> X-rays or tiles).

Guibas et al. 2017, section "Stage-I GAN"; Kovalev & Kazlouski 2019, section 3.1; both after Radford, Metz & Chintala
2016. A class-conditional model gives G a learned vector of the class beside z, and D a projection
(networks/layers.py); P2 § 3.1 does not say how. Generated images get the classes of the real ones in their batch.
"""

import dataclasses

import tensorflow as tf

from synthmed_tf import losses
from synthmed_tf.networks import dcgan
from synthmed_tf.settings import count_steps, setting
from synthmed_tf.training import checkpoints, loop
from synthmed_tf.training.sampler import Sampler


@dataclasses.dataclass(frozen=True)
class Settings:
    """P1's DCGAN. P1 gives no numbers; those of Radford et al. 2016 and the batch of P2 stand in."""

    latent: int = setting(100, "length of z (Radford et al. 2016, section 4)")
    width: float = setting(1.0, "times Radford's numbers of channels (figure 1)")
    batch_size: int = setting(32, "images a step (P2 § 3.1)")
    steps: int = setting(3000, "training steps (ours: no source gives any)")
    learning_rate: float = setting(2e-4, "of Adam (Radford et al. 2016, section 4)")
    beta1: float = setting(0.5, "of Adam (Radford et al. 2016, section 4)")


def make_p2_settings(count, is_colour, is_conditional, batch_size=32):
    """Settings by P2 § 3.1 for `count` labelled training images."""
    epochs = 10 if is_colour else 60 if is_conditional else 30  # P2 § 3.1
    latent = 256 if is_colour else 512  # P2 § 3.1
    return Settings(latent=latent, batch_size=batch_size, steps=count_steps(epochs, count, batch_size))


def build(image_size, channels, classes, settings):
    """(generator, discriminator) with their initial weights."""
    discriminator = dcgan.build_discriminator(image_size, channels, classes, settings.width)
    return dcgan.build_generator(image_size, channels, settings.latent, classes, settings.width), discriminator


def make_step(generator, discriminator, optimizers, examples, settings, seed):
    """The training step: (step number, *batch of `examples`) -> losses.

    One update of D (cross entropy) and one of G (non-saturating), both on the same fakes; Radford et al. 2016 leave
    that open. P1 prints the two losses with the labels of D swapped; the standard reading is meant.
    """

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
        loop.update(optimizers["discriminator"], d_gradients, discriminator)
        loop.update(optimizers["generator"], g_gradients, generator)
        return {"discriminator": d_loss, "generator": g_loss}

    return step


def make_optimizer(settings, model):
    """Adam for the variables of `model`; its epsilon is that of Radford et al.'s published code."""
    optimizer = tf.keras.optimizers.Adam(settings.learning_rate, settings.beta1, epsilon=1e-8, jit_compile=False)
    optimizer.build(model.trainable_variables)
    return optimizer


def train(folder, examples, settings, seed, *, watch, checkpoint="best", strategy=None, name="stage 1"):
    """Trains a DCGAN, or goes on where it stopped.

    Args:
      folder: pathlib.Path of the run.
      examples: training.examples.Examples.
      settings: Settings.
      seed: initial weights and every step are a function of it.
      watch: function (examples, sampler) -> `measure` of checkpoints.Sampling: what a checkpoint is worth.
      checkpoint: whose weights make the samples: "best", "last" or a step.
      strategy: tf.distribute strategy. name: shown in the progress line.

    Returns:
      (Sampler, dict of loop.fit with "sampled_step" and "sampler", the step and the checkpoint of its weights).

    Raises:
      InputError: what loop.fit and checkpoints.restore_sampler raise.
    """
    strategy = strategy or tf.distribute.get_strategy()
    tf.keras.utils.set_random_seed(seed)
    with strategy.scope():
        generator, discriminator = build(examples.image_size, examples.channels, examples.classes, settings)
        models = {"generator": generator, "discriminator": discriminator}
        optimizers = {name: make_optimizer(settings, model) for name, model in models.items()}
    step = make_step(generator, discriminator, optimizers, examples, settings, seed)
    generate = tf.function(lambda noise, *labels: generator([noise, *labels], training=False))

    def paint(noise, labels=None):
        return examples.to_pictures(generate(noise, *([] if labels is None else [labels])))

    sampler = Sampler((settings.latent,), paint, seed, examples.classes)
    state = models | {f"{name}_optimizer": optimizer for name, optimizer in optimizers.items()}
    sampling = checkpoints.Sampling(
        generator, sampler.draw_grid, watch(examples, sampler), checkpoint, examples.tolerance
    )
    result = loop.fit(
        folder, step, examples.batch, state, settings.steps, name=name, sampling=sampling, strategy=strategy
    )
    sampled = checkpoints.restore_sampler(folder, sampling)
    return sampler, result | sampled
