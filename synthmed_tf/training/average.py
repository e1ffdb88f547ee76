"""Running average of a network's weights; the averaged network makes the samples."""

import tensorflow as tf

AVERAGE_EVERY = 10  # steps between two updates; with decay ** 10 the average is the same


class RunningAverage:
    """Exponential moving average of a model's weights, kept in a second model.

    Statistics of batch norm are not averaged: the second model has the newest ones.

    Args:
      model: the one that is trained.
      averaged: model of the same layers; gets the average.
      decay: share that the average keeps, a step.
      is_short_at_first: whether the decay is at most (1 + updates) / (10 + updates), as in
        tf.train.ExponentialMovingAverage.
    """

    def __init__(self, model, averaged, decay, is_short_at_first=True):
        self.model, self.averaged = model, averaged
        self.decay = tf.constant(decay**AVERAGE_EVERY, tf.float32)
        self.is_short_at_first = is_short_at_first

    def begin(self):
        """Gives the averaged model the weights of the other."""
        self.averaged.set_weights(self.model.get_weights())

    def follow(self, index):
        """Updates the average after step number `index`, where AVERAGE_EVERY steps have gone by."""
        if (index + 1) % AVERAGE_EVERY == 0:
            self._update(tf.constant(index // AVERAGE_EVERY, tf.float32))

    @tf.function
    def _update(self, updates):
        kept = tf.minimum(self.decay, (1 + updates) / (10 + updates)) if self.is_short_at_first else self.decay
        for old, new in zip(self.averaged.trainable_variables, self.model.trainable_variables, strict=True):
            old.assign(new + kept * (old - new))
        for old, new in zip(self.averaged.non_trainable_variables, self.model.non_trainable_variables, strict=True):
            old.assign(new)
