"""PGGAN: P2's second GAN, which grows from 4 x 4 pixels (Kovalev & Kazlouski 2019, section 3.1; Karras et al. 2018).

All levels are trained for the same number of steps (P2 § 3.1: "Same batch size and epochs number were used for all
layer depths"). A new one is faded in during the first half of them, as in Karras et al.; steps beyond train the last
level. Classes enter as in papers/dcgan.py.
"""

import dataclasses

import numpy as np
import tensorflow as tf
from PIL import Image

from synthmed_tf import losses
from synthmed_tf.images.resize import count_halvings
from synthmed_tf.networks import pggan
from synthmed_tf.sample import InputError
from synthmed_tf.settings import count_steps, setting
from synthmed_tf.training import checkpoints, log, loop
from synthmed_tf.training.average import RunningAverage
from synthmed_tf.training.sampler import Sampler

GRADIENT_PENALTY = 10.0  # lambda (Gulrajani et al. 2017, section 4; Karras et al. 2018, appendix A.1)
DRIFT = 0.001  # Karras et al. 2018, appendix A.1
ROW = 8  # samples in a row of growth.png


@dataclasses.dataclass(frozen=True)
class Settings:
    """Karras et al. 2018, appendix A.1, with P2's batch."""

    latent: int = setting(512, "length of z (Karras et al. 2018, appendix A.1; P2 § 3.1)")
    width: float = setting(1.0, "times the feature maps of Karras et al. 2018, table 2")
    batch_size: int = setting(32, "images a step (P2 § 3.1)")
    level_images: int = setting(71_040, "real images shown at each level (P2's shortest training)")
    steps: int = setting(0, "training steps; at least as many as all levels take")
    learning_rate: float = setting(1e-3, "of Adam (Karras et al. 2018, appendix A.1)")
    beta1: float = setting(0.0, "of Adam (Karras et al. 2018, appendix A.1)")
    beta2: float = setting(0.99, "of Adam (Karras et al. 2018, appendix A.1)")
    average: float = setting(0.999, "of the averaged weights, what a step keeps (Karras et al. 2018, appendix A.1)")


def make_p2_settings(count, is_colour, is_conditional, batch_size=32):
    """Settings by P2 § 3.1 for `count` labelled training images."""
    epochs = 10 if is_colour else 60 if is_conditional else 30  # P2 § 3.1
    steps = count_steps(epochs, count, batch_size, "epochs a level")
    return Settings(latent=256 if is_colour else 512, batch_size=batch_size, level_images=steps * batch_size)


def set_steps(settings, image_size, is_given):
    """Settings with their number of steps: as many as all levels take, at least, unless the user gave them.

    Raises:
      InputError: the user gave fewer steps than the network grows in.
    """
    growth = Growth.of(settings, image_size)
    if not is_given:
        return dataclasses.replace(settings, steps=max(settings.steps, growth.levels * growth.steps))
    grown = (growth.levels - 1) * growth.steps + growth.fading + 1
    if settings.steps < grown:
        raise InputError(
            f"--steps={settings.steps}: a pggan of {growth.levels} levels of {growth.steps} steps has its full size "
            f"after {grown}; give as many or more, or shorter levels "
            f"(--level_images={growth.steps * settings.batch_size} now)"
        )
    return settings


@dataclasses.dataclass(frozen=True)
class Growth:
    """Which level is trained at which step.

    Attributes:
      levels: number of levels. steps: at each level.
    """

    levels: int
    steps: int

    @classmethod
    def of(cls, settings, image_size):
        """The Growth that `settings` ask for."""
        return cls(count_halvings(image_size) + 1, -(-settings.level_images // settings.batch_size))

    @property
    def fading(self):
        """Steps that a level is faded in."""
        return self.steps // 2

    def at(self, step):
        """(level, alpha) of step number `step`; alpha in (0, 1), or None where the level stands for itself."""
        level = min(step // self.steps, self.levels - 1)
        alpha = (step - level * self.steps + 1) / (self.fading + 1) if level else 1.0
        return level, alpha if alpha < 1 else None

    def begins(self, step):
        """Whether a level begins with step number `step`."""
        return step % self.steps == 0 and step // self.steps < self.levels

    def phases(self):
        """[(first step, level, alpha)] of each part of the training, in order; alpha is a function of the step number,
        or None where the level stands for itself.
        """
        phases = []
        for level in range(self.levels):
            first, fading = level * self.steps, self.fading if level else 0
            if fading:

                def alpha(number, first=first):
                    return tf.cast(number - first + 1, tf.float32) / (self.fading + 1)

                phases.append((first, level, alpha))
            phases.append((first + fading, level, None))
        return phases


def build(image_size, channels, classes, settings):
    """(generator, discriminator, averaged generator) with their initial weights."""
    arguments = image_size, channels
    discriminator = pggan.Discriminator(*arguments, classes, settings.width)
    averaged = pggan.Generator(*arguments, settings.latent, classes, settings.width)
    return pggan.Generator(*arguments, settings.latent, classes, settings.width), discriminator, averaged


def make_step(generator, discriminator, optimizers, examples, settings, seed, level, alpha):
    """The training step at one level: (step number, *batch of `examples`) -> losses.

    The Wasserstein game with gradient penalty and drift: one update of D and one of G, both on the same fakes (Karras
    et al. 2018, appendix A.1). Real images are faded as the generator's are.

    Args:
      alpha: function step number -> share of this level in what is seen; None: 1.
    """

    @tf.function
    def step(number, rows, *labels):
        key_z, key_show = loop.draw_keys(seed, number)
        real = examples.show(rows, key_show)
        z = tf.random.stateless_normal([tf.shape(real)[0], settings.latent], key_z)
        stage = {"level": level, "alpha": alpha and alpha(number)}
        real = pggan.downscale(real, 2 ** (generator.last_level - level))
        if alpha:
            real = pggan.fade(pggan.upscale(pggan.downscale(real)), real, stage["alpha"])

        def criticise(images):
            return discriminator([images, *labels], training=True, **stage)

        with tf.GradientTape(persistent=True) as tape:
            fake = generator([z, *labels], training=True, **stage)
            real_logits, fake_logits = criticise(real), criticise(fake)
            d_loss = losses.wasserstein_critic(real_logits, fake_logits) + DRIFT * losses.drift(real_logits)
            g_loss = losses.wasserstein_generator(fake_logits)
        d_gradients = tape.gradient(d_loss, discriminator.trainable_variables)
        g_gradients = tape.gradient(g_loss, generator.trainable_variables)
        with tf.GradientTape() as outer:
            shares = tf.random.stateless_uniform([tf.shape(real)[0], 1, 1, 1], key_z + 1)
            penalty = losses.gradient_penalty(criticise, real, fake, shares) * GRADIENT_PENALTY
        more = outer.gradient(penalty, discriminator.trainable_variables)
        d_gradients = [a if b is None else a + b for a, b in zip(d_gradients, more, strict=True)]
        loop.update(optimizers["discriminator"], d_gradients, discriminator)
        loop.update(optimizers["generator"], g_gradients, generator)
        return {"discriminator": d_loss, "generator": g_loss}

    return step


def make_optimizer(settings, model):
    """Adam for the variables of `model`; epsilon: Karras et al. 2018, appendix A.1."""
    betas = settings.beta1, settings.beta2
    optimizer = tf.keras.optimizers.Adam(settings.learning_rate, *betas, epsilon=1e-8, jit_compile=False)
    optimizer.build(model.trainable_variables)
    return optimizer


def forget(optimizer):
    """Sets an optimiser's moments and its number of updates to 0, as at the start and at the end of each fade.

    Karras et al. 2018, published code: train.py resets where the floor or the ceiling of the level changes.
    """
    for variable in optimizer.variables:
        if variable is not optimizer._learning_rate:
            variable.assign(tf.zeros_like(variable))


def train(folder, examples, settings, seed, *, watch, checkpoint="best", strategy=None, name="stage 1"):
    """Trains a PGGAN, or goes on where it stopped; growth.png shows its levels (P2 figure 2).

    Arguments, result and errors are those of papers.dcgan.train.

    Args:
      settings: Settings, from `set_steps`.
    """
    strategy = strategy or tf.distribute.get_strategy()
    growth = Growth.of(settings, examples.image_size)
    tf.keras.utils.set_random_seed(seed)
    with strategy.scope():
        networks = build(examples.image_size, examples.channels, examples.classes, settings)
        generator, discriminator, averaged = networks
        models = {"generator": generator, "discriminator": discriminator}
        optimizers = {name: make_optimizer(settings, model) for name, model in models.items()}
    steps = [
        (first, make_step(generator, discriminator, optimizers, examples, settings, seed, level, alpha))
        for first, level, alpha in growth.phases()
    ]
    stage = growth.at(0)  # (level, alpha) that samples are drawn at

    def generate(noise, *labels):
        level, alpha = stage
        images = averaged([noise, *labels], level=level, alpha=alpha, training=False)
        return pggan.upscale(images, 2 ** (averaged.last_level - level))

    def paint(noise, labels=None):
        return examples.to_pictures(generate(noise, *([] if labels is None else [labels])))

    sampler = Sampler((settings.latent,), paint, seed, examples.classes, examples.mirrors)

    def before(step):
        nonlocal stage
        if step and growth.begins(step):
            stage = growth.at(step - 1)
            save_row(folder, stage[0], sampler.draw_grid(ROW))
        if any(step == first for first, _, _ in growth.phases()):
            for optimizer in optimizers.values():
                forget(optimizer)
        stage = growth.at(step)

    measure = watch(examples, sampler)

    def measure_grown():
        if stage != (averaged.last_level, None):
            return {}, ""
        examples.calibrate(generate, sampler.noise_shape)
        return measure()

    state = models | {f"{name}_optimizer": optimizer for name, optimizer in optimizers.items()}
    sampling = checkpoints.Sampling(averaged, sampler.draw_grid, measure_grown, checkpoint, examples.tolerance)
    # As long from the first step on: Karras et al. 2018, published code
    average = RunningAverage(generator, averaged, settings.average, is_short_at_first=False)
    result = loop.fit(
        folder, steps, examples.batch, state, settings.steps, name=name, average=average, sampling=sampling,
        before=before, strategy=strategy,
    )  # fmt: skip
    sampled = checkpoints.restore_sampler(folder, sampling)
    stage = growth.at(sampled["sampled_step"] - 1)
    save_picture(folder, growth.levels, sampler.draw_grid(ROW))
    examples.calibrate(generate, sampler.noise_shape)
    return sampler, result | sampled


def save_row(folder, level, row):
    """Keeps a row of samples of a finished level, [height, width, channels] uint8, in folder/growth."""
    (folder / "growth").mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.squeeze(row)).save(folder / "growth" / f"{level}.png")


def save_picture(folder, levels, newest):
    """Writes folder/growth.png: the rows of the levels, one below the other, and last the newest one."""
    rows = [np.asarray(Image.open(folder / "growth" / f"{level}.png")) for level in range(levels - 1)]
    sheet = log.draw_grid(np.stack([row.reshape(newest.shape) for row in [*rows, newest]]), columns=1)
    Image.fromarray(np.squeeze(sheet)).save(folder / "growth.png")
