"""How a flow's fields become masks: a small network that knows real masks and what the flow makes of their fields.

A flow leaves out of a field what it cannot foresee, so that by any one threshold vessels come out smooth, loops close
and thin branches are as wide as thick ones. What it leaves out is seen where it draws real fields anew from halfway to
noise (SDEdit: Meng et al. 2022): there the mask that should come out is known. Receptive field: 19 pixels, so that the
network knows walls and not eyes.
"""

import numpy as np
import tensorflow as tf
from tensorflow.keras import layers

from synthmed_tf.papers import segmenter
from synthmed_tf.training import loop

STEPS = 1500  # no more than the flow has
BATCH_SIZE = 8
CROP = 80  # pixels
LEARNING_RATE = 3e-3  # Adam's, falling to 0 along half a cosine
CHANNELS, DILATIONS = 24, (1, 1, 2, 2, 1, 1)
LEFT_OUT = 3 / 4, 5 / 6, 11 / 12  # shares of the flow's steps after which fields are redrawn: times 0.5, 0.375, 0.214
BATCHES = 15  # batches of redrawn fields, a third from each of these


def build(channels=2):
    """Fields [batch, height, width, channels] -> logits [batch, height, width, 1] float32, mask > 0.

    Fully convolutional.
    """
    x = fields = tf.keras.Input([None, None, channels])
    for dilation in DILATIONS:
        x = layers.Conv2D(CHANNELS, 3, padding="same", dilation_rate=dilation, kernel_initializer="he_normal")(x)
        x = layers.ReLU()(x)
    return tf.keras.Model(fields, layers.Conv2D(1, 3, padding="same", dtype="float32")(x), name="decoder")


def train(folder, redraw, fields, seed, steps):
    """Trains the decoder of a flow, or goes on where it stopped.

    Args:
      folder: pathlib.Path of this training alone.
      redraw: function (fields [n, height, width, 2], seed, share of the steps left out) -> fields drawn by the flow.
      fields: [count, height, width, 3]: two fields and the field of view of training masks.
      seed: initial weights and every step are a function of it.
      steps: steps in all, over which the rate falls to 0.

    Returns:
      (the trained network, loop.fit's dict).
    """
    tf.keras.utils.set_random_seed(seed)
    model = build(fields.shape[-1] - 1)
    optimizer = tf.keras.optimizers.Adam(
        tf.keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps), jit_compile=False
    )
    optimizer.build(model.trainable_variables)
    crop = min(CROP, *fields.shape[1:3])
    batches = {}

    def redrawn(number):
        """Redrawn fields, masks and fields of view [BATCH_SIZE, height, width, 4] of one of BATCHES batches."""
        places = number // len(LEFT_OUT) * BATCH_SIZE + np.arange(BATCH_SIZE)
        stack = fields[places % len(fields)]
        real, inside = stack[..., :-1], stack[..., -1:]
        drawn = redraw(np.where(inside > 0, real, -1), [seed, -40 - number], LEFT_OUT[number % len(LEFT_OUT)])
        return np.concatenate([drawn, real[..., :1] > 0, inside], -1, dtype=np.float32)

    def batch(index):
        number = index % BATCHES
        if number not in batches:
            batches[number] = redrawn(number)
        random = np.random.default_rng([seed, 2, index])
        return (np.stack([segmenter.crop_at_random(stack, crop, random) for stack in batches[number]]),)

    state, step = {"decoder": model, "optimizer": optimizer}, segmenter.make_step(model, optimizer)
    return model, loop.fit(folder, step, batch, state, steps, name="decoder")
