"""The painter: pix2pix for a few dozen pairs, the default of stage 2.

Added to papers/pix2pix.py, each with its effect in docs/SMALL_DATA.md: a lighter network (networks/painter.py), warped
pairs (warped_pairs.py), illumination (illumination.py) and planes of noise as inputs, feature matching, a
discriminator that waits while it wins, averaged weights, grain (grain.py).
"""

import dataclasses

import numpy as np
import tensorflow as tf

from synthmed_tf import losses
from synthmed_tf.images import pixels
from synthmed_tf.images.field_of_view import estimate_field_of_view
from synthmed_tf.networks import painter as networks
from synthmed_tf.sample import spaced
from synthmed_tf.settings import setting
from synthmed_tf.smalldata import grain, illumination, recombine
from synthmed_tf.training import checkpoints, loop
from synthmed_tf.training.average import RunningAverage

CHECKPOINT = "best"  # whose weights paint, unless the user says so
NOISE_SCALES = 1, 4, 16  # pixels
# Pixels of the shorter side, below which features are not matched and L1 has another weight: BU-BIL's cells at 64
# came out faint
MATCHED, SMALL_L1 = 128, 50.0
GRAIN_MEASURED = 32  # photographs


@dataclasses.dataclass(frozen=True)
class Settings:
    """Chosen by training photographs of DRIVE at 128 pixels."""

    batch_size: int = setting(4, "pairs a step")
    steps: int = setting(4000, "training steps")
    learning_rate: float = setting(4e-4, "of the generator's Adam")
    discriminator_rate: float = setting(2e-4, "of the discriminator's Adam (Isola et al. 2017, section 3.3)")
    beta1: float = setting(0.5, "of Adam (Isola et al. 2017, section 3.3)")
    l1: float = setting(150.0, "weight of L1; below 128 pixels 50")
    feature_matching: float = setting(30.0, "weight of feature matching; below 128 pixels 0")
    most_accurate: float = setting(
        0.8, "the discriminator learns while it is right about at most this share of patches"
    )
    average: float = setting(0.99, "of the averaged weights, what a step keeps")


def choose_settings(image_size):
    """Settings for images of (height, width) pixels."""
    return Settings(l1=SMALL_L1, feature_matching=0.0) if min(image_size) < MATCHED else Settings()


def build(image_size, channels):
    """(generator, discriminator, averaged generator) with their initial weights. Inputs: `make_condition`."""
    planes = 1 + 2 * channels + len(NOISE_SCALES)
    generator = networks.build_generator(image_size, planes, channels)
    discriminator = networks.build_discriminator(image_size, 1, channels)
    return generator, discriminator, networks.build_generator(image_size, planes, channels)


def make_condition(mask, lit, has_view, key):
    """What the generator is given: [batch, height, width, 1 + 2c + 3], mask in {-1, 1}, illumination, noise."""
    return append_noise(illumination.make_planes(mask, lit, has_view), key)


def append_noise(condition, key):
    """[batch, height, width, c] and a plane of noise for each of NOISE_SCALES, which are smooth over so many pixels.

    N(0, 1) before it is made smooth; a function of key [2] int32. -> [batch, height, width, c + len(NOISE_SCALES)].
    """
    batch, height, width = tf.unstack(tf.shape(condition))[:3]
    planes = []
    for index, scale in enumerate(NOISE_SCALES):
        noise = tf.random.stateless_normal([batch, height // scale, width // scale, 1], key + index)
        planes.append(tf.image.resize(noise, [height, width], method="bicubic") if scale > 1 else noise)
    return tf.concat([condition, *planes], -1)


def make_step(generator, discriminator, optimizers, has_view, settings, seed):
    """The training step: (step number, [batch, height, width, channels + 2] from WarpedPairs.batch) -> losses.

    As papers/pix2pix.py's, and the feature matching of Wang et al. 2018: a fake photograph looks to D like the real one
    of its mask, and D, which soon tells 20 photographs from fakes by something, goes on teaching. D then sees fakes
    inside the field of view alone: its rim is the same in all warps, which G cannot know.
    """
    judge = networks.with_features(discriminator)

    @tf.function
    def step(number, stack):
        _, key = loop.draw_keys(seed, number)
        photograph, mask, inside = stack[..., :-2], stack[..., -2:-1], stack[..., -1:]
        lit = illumination.describe(photograph, inside, has_view)
        condition = make_condition(mask, lit, has_view, key)
        with tf.GradientTape(persistent=True) as tape:
            fake = generator([condition, key[None]], training=True)
            shown = inside * (fake + 1) - 1 if settings.feature_matching else fake
            real_logits, real_features = judge(tf.concat([mask, photograph], -1), training=True)
            fake_logits, fake_features = judge(tf.concat([mask, shown], -1), training=True)
            d_loss = losses.discriminator_cross_entropy(real_logits, fake_logits) / 2
            adversarial, l1 = losses.generator_non_saturating(fake_logits), losses.l1(photograph, fake)
            learning = may_learn(real_logits, fake_logits, settings.most_accurate)
            g_loss = adversarial + settings.l1 * l1
            if settings.feature_matching:
                g_loss += settings.feature_matching * losses.feature_matching(fake_features, real_features)
            waiting = learning * d_loss
        d_gradients = tape.gradient(waiting, discriminator.trainable_variables)
        g_gradients = tape.gradient(g_loss, generator.trainable_variables)
        loop.update(optimizers["discriminator"], d_gradients, discriminator)
        loop.update(optimizers["generator"], g_gradients, generator)
        return {"discriminator": d_loss, "adversarial": adversarial, "l1": l1}

    return step


def may_learn(real_logits, fake_logits, most_accurate):
    """1 where the discriminator is right about at most so large a share of a step's patches, on all replicas, else 0.

    Wu et al. 2016, "Learning a Probabilistic Latent Space of Object Shapes via 3D Generative-Adversarial Modeling",
    section 3.1, with the accuracy of the step itself. Sooner or later D knows 20 photographs by heart; G then learns
    nothing from it, and vessels vanish. Deviation: where it is 0 gradients are 0, and Adam still moves by its momentum.
    """
    right = tf.concat([real_logits > 0, fake_logits < 0], 0)
    accuracy = tf.reduce_mean(tf.cast(right, tf.float32))
    accuracy = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, accuracy)
    return tf.cast(accuracy <= most_accurate, tf.float32)


def make_optimizer(rate, settings, model):
    """Adam for the variables of `model`, with Keras's epsilon."""
    optimizer = tf.keras.optimizers.Adam(rate, settings.beta1, epsilon=1e-7, jit_compile=False)
    optimizer.build(model.trainable_variables)
    return optimizer


class Painter:
    """A trained painter as a function: (mask, index) -> photograph.

    Attributes:
      generator: Keras model. has_view: whether photographs have a field of view. dtype: "uint8" or "uint16".
      lighting: from illumination.fit. seed: every photograph is a function of mask, seed and index.
      grain: arguments of grain.draw, from `grain.find_missing`; None: nothing is added.
    """

    def __init__(self, generator, pairs, seed):
        self.generator, self.has_view, self.dtype, self.seed = generator, pairs.has_view, pairs.dtype, seed
        lit = pairs.light * (pairs.filled + 1) - 1
        self.lighting = illumination.fit(lit, pairs.fields[..., :1], np.sign(pairs.light), self.has_view)
        self.grain = None

    def __call__(self, mask, index):
        """Mask [height, width, 1] in {0, 1} -> photograph [height, width, channels] of `dtype`."""
        key = [self.seed, index]
        condition = np.where(mask, np.float32(1), np.float32(-1))[None]
        lit = illumination.draw(*self.lighting, *key)
        if self.has_view and recombine.is_disc_right(mask > 0):
            lit = illumination.mirror(lit)
        condition = make_condition(condition, lit, self.has_view, tf.random.experimental.stateless_fold_in(key, 1))
        photograph = self.generator([condition, tf.constant([key], tf.int32)], training=False).numpy()[0]
        if self.grain:
            texture = grain.draw(*self.grain, tf.random.experimental.stateless_fold_in(key, 2)).numpy()
            inside = estimate_field_of_view(pixels.to_uint8(photograph)) if self.has_view else 1
            photograph = photograph + texture * inside
        return pixels.to_integers(photograph, self.dtype)


def add_grain(painter, real):
    """Gives the painter the grain that real photographs have and those that it paints on their masks lack.

    Not added while training: the discriminator then won, and KID was twice as large after 1,000 steps at 256 pixels.
    """
    painter.grain = None
    samples = spaced(real, GRAIN_MEASURED)
    painted = [painter(sample.mask, -1 - index) for index, sample in enumerate(samples)]
    painter.grain = grain.find_missing(samples, painted)


def train(folder, pairs, settings, seed, *, watch, checkpoint=CHECKPOINT, strategy=None, name="stage 2"):
    """Trains the painter, or goes on where it stopped. Arguments, result and errors are those of papers.pix2pix.train.

    Args:
      pairs: warped_pairs.WarpedPairs.
    """
    strategy = strategy or tf.distribute.get_strategy()
    tf.keras.utils.set_random_seed(seed)
    with strategy.scope():
        generator, discriminator, averaged = build(pairs.image_size, pairs.channels)
        models = {"generator": generator, "discriminator": discriminator}
        rates = {"generator": settings.learning_rate, "discriminator": settings.discriminator_rate}
        optimizers = {name: make_optimizer(rates[name], settings, model) for name, model in models.items()}
    step = make_step(generator, discriminator, optimizers, pairs.has_view, settings, seed)
    painter = Painter(averaged, pairs, seed)
    measure = watch(painter)

    def add_grain_and_measure():
        add_grain(painter, pairs.real)
        return measure()

    state = models | {f"{name}_optimizer": optimizer for name, optimizer in optimizers.items()}
    sampling = checkpoints.Sampling(
        averaged, lambda: pairs.draw_grid(painter), add_grain_and_measure, checkpoint, pairs.tolerance
    )
    average = RunningAverage(generator, averaged, settings.average)
    result = loop.fit(
        folder, step, pairs.batch, state, settings.steps, name=name, average=average, sampling=sampling,
        strategy=strategy,
    )  # fmt: skip
    sampled = checkpoints.restore_sampler(folder, sampling)
    add_grain(painter, pairs.real)
    return painter, result | sampled
