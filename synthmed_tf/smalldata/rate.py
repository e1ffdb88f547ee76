"""A learning rate that falls."""

import tensorflow as tf

WARM_UP = 200  # steps; without it Adam's first updates are as long as the rate, whatever the gradients say


class FallingRate(tf.keras.optimizers.schedules.LearningRateSchedule):
    """rate / (1 + step / decay), warmed up over WARM_UP steps.

    It does not depend on the number of steps, so a longer run is the continuation of a shorter one. As the rate falls,
    the samples of two neighbouring checkpoints become alike.
    """

    def __init__(self, rate, decay):
        self.rate, self.decay = rate, decay

    def __call__(self, step):
        step = tf.cast(step, tf.float32)
        return self.rate / (1 + step / self.decay) * tf.minimum((step + 1) / WARM_UP, 1.0)
