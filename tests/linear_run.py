"""A training of a linear model, for the tests of the training loop."""

import json

import numpy as np
import tensorflow as tf

from synthmed_tf.training import checkpoints, loop
from synthmed_tf.training.average import RunningAverage


class Run:
    """A linear model on a folder, built anew as a new process would; `before` is called with every step's number."""

    def __init__(self, folder, before=lambda index: None, units=2, average=True):
        tf.keras.utils.set_random_seed(5)
        self.folder, self.before, self.seen, self.decay = folder, before, [], 0.9 if average else None
        self.model, self.averaged = (
            tf.keras.Sequential([tf.keras.Input([3]), tf.keras.layers.Dense(units)]) for _ in range(2)
        )
        self.optimizer = tf.keras.optimizers.Adam(0.1, jit_compile=False)
        self.optimizer.build(self.model.trainable_variables)

    def step(self, number, images):
        self.seen.append(int(number))
        self.before(int(number))
        with tf.GradientTape() as tape:
            noise = tf.random.stateless_normal([4, 1], [7, int(number)])
            loss = tf.reduce_mean((self.model(images) - noise) ** 2)
        variables = self.model.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return {"loss": loss}

    def fit(self, steps, measure=None, sampler=None, choice="best", is_short_at_first=True, **options):
        """`loop.fit`; with `measure` samples are looked at."""

        def batch(index):
            return (np.random.default_rng(index).normal(size=[4, 3]).astype(np.float32),)

        average, sampling = None, None
        if self.decay:
            average = RunningAverage(self.model, self.averaged, self.decay, is_short_at_first)
        if measure or sampler:
            sampling = checkpoints.Sampling(sampler, lambda: np.zeros([8, 9, 1], np.uint8), measure, choice)
        state = {"model": self.model, "optimizer": self.optimizer}
        return loop.fit(self.folder, self.step, batch, state, steps, average=average, sampling=sampling, **options)

    def bytes(self):
        values = self.model.variables + self.averaged.variables + self.optimizer.variables
        return [np.asarray(value).tobytes() for value in values]


def restore(folder, sampler, choice="best"):
    """Gives `sampler` its weights at a step; returns (step, prefix of the checkpoint)."""
    return tuple(checkpoints.restore_sampler(folder, checkpoints.Sampling(sampler, None, None, choice)).values())


def list_checkpoints(folder):
    return sorted(path.name for path in (folder / "checkpoints").glob("*.index"))


def list_steps(folder):
    """The steps that metrics.jsonl has lines of."""
    return [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
