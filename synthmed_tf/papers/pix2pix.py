"""pix2pix: P1's Stage-II GAN, masks -> photographs (Guibas et al. 2017, section "Stage-II GAN"; Isola et al. 2017).

P1 rests on the version of Costa et al. 2017, which is papers/vess2ret.py.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from synthmed_tf import losses
from synthmed_tf.images import pixels
from synthmed_tf.networks import pix2pix
from synthmed_tf.settings import setting
from synthmed_tf.training import checkpoints, loop

CHECKPOINT = "last"  # whose weights paint, unless the user says so: the paper trains and tests
PAPER_STEPS = 80_000  # 200 epochs of the 400 pairs of facades (appendix 6.2)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Isola et al. 2017, appendix 6.2."""

    batch_size: int = setting(1, "pairs a step (appendix 6.2)")
    epochs: int = setting(200, "passes over the training pairs, unless steps are given (appendix 6.2)")
    steps: int = setting(0, "training steps; 0: by epochs")
    learning_rate: float = setting(2e-4, "of Adam (section 3.3)")
    beta1: float = setting(0.5, "of Adam (section 3.3)")
    l1: float = setting(100.0, "weight of L1, lambda (section 3.3; appendix 6.2)")
    jitter: int = setting(30, "pixels of 256 that a pair is enlarged by before a random crop (appendix 6.2: 286)")


def set_steps(settings, count):
    """Settings with their number of steps for `count` pairs; prints where the paper took more."""
    steps = settings.steps or -(-settings.epochs * count // settings.batch_size)
    if steps < PAPER_STEPS:
        print(f"{steps:,} steps; pix2pix's paper took {PAPER_STEPS:,}, 200 epochs of 400 pairs: --steps={PAPER_STEPS}")
    return dataclasses.replace(settings, steps=steps)


def build(image_size, channels):
    """(generator, discriminator) with their initial weights, for photographs of `channels` channels."""
    generator = pix2pix.build_generator(image_size, 1, channels)
    return generator, pix2pix.build_discriminator(image_size, 1, channels)


def make_step(generator, discriminator, optimizers, settings, seed):
    """The training step: (step number, [batch, height, width, channels + 1] photographs and masks) -> losses.

    Equations 1 to 4: one update of D (cross entropy, halved: section 3.3) and one of G (non-saturating + lambda L1),
    both on the same fakes.
    """

    @tf.function
    def step(number, stack):
        key_jitter, key_dropout = loop.draw_keys(seed, number)
        photograph, mask = jitter_and_mirror(stack[..., :-1], stack[..., -1:], key_jitter, settings.jitter)
        with tf.GradientTape(persistent=True) as tape:
            fake = generator([mask, key_dropout[None]], training=True)
            real_logits = discriminator(tf.concat([mask, photograph], -1), training=True)
            fake_logits = discriminator(tf.concat([mask, fake], -1), training=True)
            d_loss = losses.discriminator_cross_entropy(real_logits, fake_logits) / 2
            adversarial, l1 = losses.generator_non_saturating(fake_logits), losses.l1(photograph, fake)
            g_loss = adversarial + settings.l1 * l1
        d_gradients = tape.gradient(d_loss, discriminator.trainable_variables)
        g_gradients = tape.gradient(g_loss, generator.trainable_variables)
        loop.update(optimizers["discriminator"], d_gradients, discriminator)
        loop.update(optimizers["generator"], g_gradients, generator)
        return {"discriminator": d_loss, "adversarial": adversarial, "l1": l1}

    return step


def jitter_and_mirror(photographs, masks, seed, enlargement):
    """Random jitter (appendix 6.2): enlarge, crop at random, mirror left to right; pairs stay pairs.

    Photographs are enlarged bilinearly, masks to the nearest pixel. No pixel of a mask is lost, so no vessel breaks.

    Args:
      photographs: [batch, height, width, channels] float32.
      masks: [batch, height, width, any] of the same type.
      seed: [2] int32.
      enlargement: how many pixels larger a 256-pixel image gets before the crop; 0: neither jitter nor mirror.

    Returns:
      (photographs, masks), same shapes.
    """
    if not enlargement:
        return photographs, masks
    key_crop, key_mirror = tf.unstack(tf.random.experimental.stateless_split(seed, 2), num=2)
    batch, (height, width) = photographs.shape[0] or tf.shape(photographs)[0], photographs.shape[1:3]
    size = [side + side * enlargement // 256 for side in (height, width)]
    pair = [tf.image.resize(photographs, size), tf.image.resize(masks, size, method="nearest")]
    channels = [part.shape[-1] for part in pair]
    pair = tf.image.stateless_random_crop(tf.concat(pair, -1), [batch, height, width, sum(channels)], key_crop)
    mirrored = tf.random.stateless_uniform([batch, 1, 1, 1], key_mirror) < 0.5
    return tf.split(tf.where(mirrored, pair[:, :, ::-1], pair), channels, -1)


def make_optimizer(settings, model):
    """Adam for the variables of `model`; epsilon: torch/optim's adam.lua, as in the published code."""
    optimizer = tf.keras.optimizers.Adam(settings.learning_rate, settings.beta1, epsilon=1e-8, jit_compile=False)
    optimizer.build(model.trainable_variables)
    return optimizer


def train(folder, pairs, settings, seed, *, watch, checkpoint=CHECKPOINT, strategy=None, name="stage 2"):
    """Trains pix2pix, or goes on where it stopped.

    Args:
      folder: pathlib.Path of the run.
      pairs: training.pairs.Pairs.
      settings: Settings, from `set_steps`.
      seed: initial weights and every step are a function of it.
      watch: function (paint) -> `measure` of checkpoints.Sampling: what a checkpoint is worth.
      checkpoint: whose weights paint: "best", "last" or a step.
      strategy: tf.distribute strategy. name: shown in the progress line.

    Returns:
      (paint: function (mask [height, width, 1] in {0, 1}, index) -> photograph [height, width, channels] uint8 or
      uint16, dict of loop.fit with "sampled_step" and "sampler", the step and the checkpoint of its weights).

    Raises:
      InputError: what loop.fit raises.
    """
    strategy = strategy or tf.distribute.get_strategy()
    tf.keras.utils.set_random_seed(seed)
    with strategy.scope():
        generator, discriminator = build(pairs.image_size, pairs.channels)
        models = {"generator": generator, "discriminator": discriminator}
        optimizers = {name: make_optimizer(settings, model) for name, model in models.items()}
    step = make_step(generator, discriminator, optimizers, settings, seed)

    def paint(mask, index):  # dropout and the statistics of one picture stay on, as in section 3.3
        condition = np.where(mask, np.float32(1), np.float32(-1))[None]
        photograph = generator([condition, tf.constant([[seed, index]], tf.int32)], training=True)
        return pixels.to_integers(photograph.numpy()[0], pairs.dtype)

    state = models | {f"{name}_optimizer": optimizer for name, optimizer in optimizers.items()}
    sampling = checkpoints.Sampling(
        generator, lambda: pairs.draw_grid(paint), watch(paint), checkpoint, pairs.tolerance
    )
    result = loop.fit(folder, step, pairs.batch, state, settings.steps, name=name, sampling=sampling, strategy=strategy)
    sampled = checkpoints.restore_sampler(folder, sampling)
    return paint, result | sampled
