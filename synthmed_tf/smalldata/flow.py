"""A rectified flow instead of a GAN: `train_stage1.py --model=flow`.

It learns the velocity at which noise becomes an image along a straight line, by regression (Liu et al. 2023, "Flow
Straight and Fast"; Lipman et al. 2023 with straight paths). Nothing in it can win against anything else, and no mode is
lost. A decoder (decoder.py) makes masks of its fields, a refiner (refiner.py) does its last steps on images.
"""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from synthmed_tf import losses
from synthmed_tf.networks import flow
from synthmed_tf.settings import setting
from synthmed_tf.smalldata import decoder, refiner
from synthmed_tf.smalldata.rate import FallingRate
from synthmed_tf.training import checkpoints, loop
from synthmed_tf.training.average import RunningAverage
from synthmed_tf.training.sampler import Sampler

STEPS = 24  # from noise to image
# Share of the noise that is drawn anew at each of these steps: without, vessels wind, and masks are less like real ones
FRESH = 0.7
REFINED = 0.7  # share of these steps that a refiner does
EARLIEST = 0.05  # time; below, errors count as there
# Times are shifted towards noise by this factor of their odds: a mask is decided by its layout, an image by its detail
SHIFT = {"mask": 3.0, "image": 1.0}
DECODED_AT_ONCE = 8


@dataclasses.dataclass(frozen=True)
class Settings:
    """Chosen by training masks of DRIVE at 128 pixels."""

    batch_size: int = setting(16, "masks or images a step")
    steps: int = setting(5000, "training steps; masks that begin to copy end it sooner")
    learning_rate: float = setting(1e-3, "of Adam, at first")
    rate_decay: int = setting(2000, "N: the rate is divided by 1 + step / N; 0: constant")
    beta1: float = setting(0.9, "of Adam (Kingma & Ba 2015)")
    beta2: float = setting(0.99, "of Adam")
    average: float = setting(0.998, "of the averaged weights, what a step keeps")


class Flow:
    """A flow's network and how noise becomes an image by it.

    Attributes:
      network, averaged: Keras models (image with noise [n, h, w, c], time [n], labels if any) -> image.
      shape: (h, w, c) of what it makes, half the size of the masks from 256 pixels up (`stride` 2), which it learns
        sooner.
      refiner: does the last steps at once; None: the flow does them.
    """

    def __init__(self, examples):
        size = examples.image_size
        halves = tuple(side // 2 for side in size)
        is_halved = examples.target == "mask" and all(side >= 128 and side % 32 == 0 for side in halves)
        self.stride = 2 if is_halved else 1
        self.shape = (*(halves if is_halved else size), examples.channels)
        self.shift, self.classes = SHIFT[examples.target], examples.classes
        self.averaged = flow.build_denoiser(self.shape[:2], examples.channels, examples.classes)
        self.network = flow.build_denoiser(self.shape[:2], examples.channels, examples.classes)
        self.refiner = None
        self.advance = tf.function(self._advance)

    def time_after(self, steps):
        """The time after so many of STEPS: 1 after none, 0 after all."""
        return shift_times(1 - steps / STEPS, self.shift)

    @property
    def first_refined(self):
        """How many of STEPS the flow does itself where there is a refiner."""
        return STEPS - round(REFINED * STEPS)

    def generate(self, noise, *labels, fresh=FRESH):
        """Noise [n, *shape] -> images, by the averaged weights.

        fresh: share of the noise drawn anew at each step, as a function of `noise` (Song et al. 2021, "Denoising
        Diffusion Implicit Models", equation 12); 0 is Euler's method, by which near noises lead to near images.
        """
        last = STEPS if self.refiner is None else self.first_refined
        images = self.advance(noise, labels, fresh, tf.zeros_like(noise), tf.constant(0), tf.constant(last))
        if self.refiner is None:
            return images
        return self.refiner([images, tf.fill(noise.shape[:1], self.time_after(last)), *labels], training=False)

    def redraw(self, images, seed, left_out):
        """Images, mixed with the noise there is after a share `left_out` of the steps, drawn by the other steps."""
        images = reduce(tf.convert_to_tensor(images, tf.float32), self.stride)
        noise = tf.random.stateless_normal(images.shape, seed)
        first = tf.constant(round(left_out * STEPS))
        return enlarge(self.advance(noise, (), FRESH, images, first, tf.constant(STEPS)), self.stride).numpy()

    def _advance(self, noise, labels, fresh, known, first, last):
        """Steps `first` to `last` - 1 of STEPS, from `known` images mixed with noise."""
        times = self.time_after(tf.range(0.0, STEPS + 1))
        images = (1 - times[first]) * known + times[first] * noise
        keys = tf.bitcast(tf.reshape(noise, [tf.shape(noise)[0], -1])[:, :2], tf.int32)
        for index in tf.range(first, last):
            now, after = times[index], times[index + 1]
            clean = self.averaged([images, tf.fill(tf.shape(noise)[:1], now), *labels], training=False)
            old = (images - (1 - now) * clean) / now
            draw = functools.partial(self._noise, index)
            new = tf.map_fn(draw, keys, fn_output_signature=tf.float32)
            images = (1 - after) * clean + after * (np.sqrt(1 - fresh**2) * old + fresh * new)
        return images

    def _noise(self, index, key):
        return tf.random.stateless_normal(self.shape, tf.random.experimental.stateless_fold_in(key, index))


def make_step(model, optimizer, show, seed):
    """The training step: (step number, rows, labels if any) -> losses.

    The velocity (x - network) / t at x = (1 - t) real + t noise is to be noise - real (Liu et al. 2023, equation 1):
    the squared error of the network's image over t^2. The times of a batch are spread evenly over [0, 1] from a random
    offset, before they are shifted.
    """
    network = model.network

    @tf.function
    def step(number, rows, *labels):
        key_noise, key_show = loop.draw_keys(seed, number)
        real = show(rows, key_show)
        batch = tf.shape(real)[0]
        noise = tf.random.stateless_normal(tf.shape(real), key_noise)
        times = tf.random.stateless_uniform([], key_noise + 1) + tf.range(tf.cast(batch, tf.float32)) / tf.cast(
            batch, tf.float32
        )
        times = shift_times(times % 1.0, model.shift)
        mixed = tf.reshape(times, [-1, 1, 1, 1])
        with tf.GradientTape() as tape:
            images = network([(1 - mixed) * real + mixed * noise, times, *labels], training=True)
            weight = 1 / tf.maximum(mixed, EARLIEST)
            loss = losses.squared_error(weight * images, weight * real)
        loop.update(optimizer, tape.gradient(loss, network.trainable_variables), network)
        return {"velocity": loss}

    return step


def train(folder, examples, settings, seed, *, watch, checkpoint="best", strategy=None, name="stage 1"):
    """Trains a flow and its decoder or refiner, or goes on where it stopped.

    Arguments, result and errors are those of papers.dcgan.train; the result has "refined" besides, the checkpoint of
    the decoder or refiner.
    """
    strategy = strategy or tf.distribute.get_strategy()
    tf.keras.utils.set_random_seed(seed)
    with strategy.scope():
        model = Flow(examples)
        rate = (
            FallingRate(settings.learning_rate, settings.rate_decay) if settings.rate_decay else settings.learning_rate
        )
        optimizer = tf.keras.optimizers.Adam(rate, settings.beta1, settings.beta2, epsilon=1e-7, jit_compile=False)
        optimizer.build(model.network.trainable_variables)

    def show(rows, key):
        return reduce(examples.show(rows, key), model.stride)

    step = make_step(model, optimizer, show, seed)
    decode = None

    def generate(noise, *labels):
        fields = enlarge(model.generate(noise, *labels), model.stride)
        return decode(fields) if decode else fields

    def paint(noise, labels=None):
        return examples.to_pictures(generate(noise, *([] if labels is None else [tf.convert_to_tensor(labels)])))

    sampler = Sampler(model.shape, paint, seed, examples.classes, examples.mirrors)
    measure = watch(examples, sampler)

    def calibrate_and_measure():
        examples.calibrate(generate, sampler.noise_shape)
        return measure()

    state = {"generator": model.network, "generator_optimizer": optimizer}
    sampling = checkpoints.Sampling(
        model.averaged, sampler.draw_grid, calibrate_and_measure, checkpoint, examples.tolerance
    )
    average = RunningAverage(model.network, model.averaged, settings.average)
    result = loop.fit(
        folder, step, examples.batch, state, settings.steps, name=name, average=average, sampling=sampling,
        strategy=strategy,
    )  # fmt: skip
    sampled = checkpoints.restore_sampler(folder, sampling)
    if examples.target == "image":
        time = model.time_after(model.first_refined)
        steps = min(settings.steps, refiner.STEPS)
        place = folder / f"refiner-{sampled['sampled_step']}"
        model.refiner, refined = refiner.train(place, model, time, examples, seed, steps)
    else:
        steps = min(settings.steps, decoder.STEPS)
        place = folder / f"decoder-{sampled['sampled_step']}-{steps}"  # its rate is a function of the steps
        network, refined = decoder.train(place, model.redraw, examples.make_stack(examples.watched), seed, steps)
        decode = functools.partial(decode_fields, network)
        examples.has_probability = True
    examples.calibrate(generate, sampler.noise_shape)
    result |= sampled | {"refined": refined["checkpoint"]}
    return sampler, result


def decode_fields(decoder, fields):
    """Fields [n, height, width, 2], of which the first becomes the probability of mask."""
    fields = np.asarray(fields)
    parts = np.array_split(fields, range(DECODED_AT_ONCE, len(fields), DECODED_AT_ONCE))
    logits = np.concatenate([decoder(part, training=False).numpy() for part in parts])
    return np.concatenate([1 / (1 + np.exp(-logits)), fields[..., 1:]], -1)


def shift_times(times, shift):
    """Times in [0, 1], 1 being noise, moved towards noise by a factor of their odds (Esser et al. 2024, eq. 23)."""
    return shift * times / (1 + (shift - 1) * times)


def enlarge(images, stride):
    """[n, height, width, c] -> `stride` times the size, bicubic."""
    if stride == 1:
        return tf.convert_to_tensor(images)
    return tf.image.resize(images, [side * stride for side in images.shape[1:3]], method="bicubic")


def reduce(images, stride):
    """[n, height, width, c] -> means over stride x stride pixels."""
    return tf.nn.avg_pool2d(images, stride, stride, "VALID") if stride > 1 else images
