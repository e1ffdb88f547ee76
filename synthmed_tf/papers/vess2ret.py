"""vess2ret: pix2pix as P1's Stage-II GAN has it, after Costa et al. 2017, "Towards Adversarial Retinal Image
Synthesis".

It differs from papers/pix2pix.py by its networks and in the training: 20 updates of D and 20 of G in turn, fakes for D
without dropout, masks of 0 and 1 (their published code).
"""

import dataclasses

import numpy as np
import tensorflow as tf

from synthmed_tf import losses
from synthmed_tf.images import pixels
from synthmed_tf.networks import vess2ret
from synthmed_tf.settings import setting
from synthmed_tf.training import checkpoints, loop

CHECKPOINT = "last"  # whose weights paint, unless the user says so: the paper trains and tests
IN_TURN = 20  # updates of D, then as many of G: train.py, samples_per_batch
PAPER_STEPS = 120_000  # updates of both networks: 100 epochs of 600 each, their 614 pairs less 614 % 20


@dataclasses.dataclass(frozen=True)
class Settings:
    """Costa et al. 2017, section 3.3, and their train.py."""

    batch_size: int = setting(1, "pairs a step (section 3.3)")
    epochs: int = setting(100, "passes of each network over the training pairs, unless steps are given (section 3.3)")
    steps: int = setting(0, "updates of one network, 20 of D, then 20 of G; 0: by epochs")
    learning_rate: float = setting(2e-4, "of Adam (section 3.3)")
    beta1: float = setting(0.5, "of Adam (section 3.3)")
    l1: float = setting(100.0, "weight of L1, lambda (section 3.3)")


def set_steps(settings, count):
    """Settings with their number of steps for `count` pairs; prints where the paper took more."""
    steps = settings.steps or -(-settings.epochs * count * 2 // settings.batch_size)
    if steps < PAPER_STEPS:
        print(
            f"{steps:,} steps; vess2ret's paper took {PAPER_STEPS:,}, 100 epochs of 600 updates of each network: "
            f"--steps={PAPER_STEPS}"
        )
    return dataclasses.replace(settings, steps=steps)


def build(image_size, channels):
    """(generator, discriminator) with their initial weights, for photographs of `channels` channels."""
    generator = vess2ret.build_generator(image_size, 1, channels)
    return generator, vess2ret.build_discriminator(image_size, 1, channels)


def make_steps(generator, discriminator, optimizers, settings, seed):
    """The training steps of Costa et al.'s code, one of D and one of G.

    D (train.py, discriminator_generator): the mean of its cross entropies on real pairs and on fakes of other masks.
    The fakes are made by model.predict, without dropout. G (models.py, pix2pix): non-saturating + l1 * L1, with
    dropout, while D stays as it is.

    Returns:
      (step number, pairs whose masks are painted, pairs that are real) -> losses;
      (step number, pairs) -> losses. Pairs are [batch, height, width, channels + 1]: photographs and masks.
    """

    def split(pairs):
        return (pairs[..., -1:] + 1) / 2, pairs[..., :-1]

    @tf.function
    def discriminator_step(number, others, real):
        _, key = loop.draw_keys(seed, number)
        mask, _ = split(others)
        fake = generator([mask, key[None]], training=False)
        with tf.GradientTape() as tape:
            real_logits = discriminator(tf.concat(split(real), -1), training=True)
            fake_logits = discriminator(tf.concat([mask, fake], -1), training=True)
            loss = losses.discriminator_cross_entropy(real_logits, fake_logits) / 2
        gradients = tape.gradient(loss, discriminator.trainable_variables)
        loop.update(optimizers["discriminator"], gradients, discriminator)
        return {"discriminator": loss}

    @tf.function
    def generator_step(number, pairs):
        _, key = loop.draw_keys(seed, number)
        mask, photograph = split(pairs)
        with tf.GradientTape() as tape:
            fake = generator([mask, key[None]], training=True)
            adversarial = losses.generator_non_saturating(discriminator(tf.concat([mask, fake], -1), training=True))
            l1 = losses.l1(photograph, fake)
            loss = adversarial + settings.l1 * l1
        loop.update(optimizers["generator"], tape.gradient(loss, generator.trainable_variables), generator)
        return {"adversarial": adversarial, "l1": l1}

    return discriminator_step, generator_step


def make_batch(pairs, batch_size):
    """The function step number -> batch for `make_steps`: two lots of pairs for an update of D, one for one of G.

    So an epoch, as many updates of each as there are pairs, shows G each pair once and D each pair twice.
    """

    def batch(step):
        turn, place = divmod(step, IN_TURN)
        lots = 1 if turn % 2 else 2
        chosen = pairs.chosen(turn // 2 * IN_TURN + place, lots * batch_size)
        return tuple(np.split(np.concatenate([pairs.photographs[chosen], pairs.masks[chosen]], -1), lots))

    return batch


def make_optimizer(settings, model):
    """Adam for the variables of `model`; epsilon: Keras 1.2's optimizers.py, as in the published code."""
    optimizer = tf.keras.optimizers.Adam(settings.learning_rate, settings.beta1, epsilon=1e-8, jit_compile=False)
    optimizer.build(model.trainable_variables)
    return optimizer


def train(folder, pairs, settings, seed, *, watch, checkpoint=CHECKPOINT, strategy=None, name="stage 2"):
    """Trains vess2ret, or goes on where it stopped.

    Arguments, result and errors are those of papers.pix2pix.train.
    """
    strategy = strategy or tf.distribute.get_strategy()
    tf.keras.utils.set_random_seed(seed)
    with strategy.scope():
        generator, discriminator = build(pairs.image_size, pairs.channels)
        models = {"generator": generator, "discriminator": discriminator}
        optimizers = {name: make_optimizer(settings, model) for name, model in models.items()}
    both = make_steps(generator, discriminator, optimizers, settings, seed)
    steps = [(first, both[turn % 2]) for turn, first in enumerate(range(0, settings.steps, IN_TURN))]

    def paint(mask, index):  # without dropout, by the statistics of one picture: Keras 1's mode 2
        condition = np.where(mask, np.float32(1), np.float32(0))[None]
        photograph = generator([condition, tf.constant([[seed, index]], tf.int32)], training=False)
        return pixels.to_integers(photograph.numpy()[0], pairs.dtype)

    state = models | {f"{name}_optimizer": optimizer for name, optimizer in optimizers.items()}
    sampling = checkpoints.Sampling(
        generator, lambda: pairs.draw_grid(paint), watch(paint), checkpoint, pairs.tolerance
    )
    batch = make_batch(pairs, settings.batch_size)
    result = loop.fit(folder, steps, batch, state, settings.steps, name=name, sampling=sampling, strategy=strategy)
    sampled = checkpoints.restore_sampler(folder, sampling)
    return paint, result | sampled
