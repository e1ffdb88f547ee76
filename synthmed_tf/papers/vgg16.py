"""The VGG16 classifier of P2 § 3.2: learns classes from images, keeps the weights of the least validation loss.

P2 says batch and epochs; the other numbers are ours.
"""

import numpy as np
import tensorflow as tf

from synthmed_tf.networks.vgg16 import build_vgg16
from synthmed_tf.training import batches, loop

BATCH_SIZE = 32  # P2 § 3.2
EPOCHS = 20  # P2 § 3.2
# Adam's; it rises over the first WARM_UP of the steps, then falls to 0 along half a cosine
LEARNING_RATE = 1e-4
WARM_UP = 0.1
SHIFT = 1 / 16  # of a side: the farthest that augmentation moves an image
CHUNK = 64  # images that are predicted at once


def train(folder, sets, validation, classes, steps, seed, name="VGG16", weights=None):
    """Trains a VGG16 on images that are mirrored and moved a little at random, the same for every set.

    The validation loss is measured EPOCHS times, and the weights with the lowest are kept.

    Args:
      folder: pathlib.Path of this training alone; the same call goes on from its newest checkpoint.
      sets: list of (images, classes): [count, height, width, channels] uint8 or uint16, [count] int from 0. Each batch
        has as much of one set as of the next, however many images they hold.
      validation: the same list of other images; each set counts as much as the next.
      classes: number of classes.
      steps: training steps of BATCH_SIZE images; the learning rate ends there.
      seed: initial weights, order of the data and augmentation.
      name: shown in the progress line.
      weights: path of pretrained weights, see networks.vgg16.

    Returns:
      (Keras model with the best weights, loop.fit's dict and "validation_loss").

    Raises:
      InputError: images that are too small for the network, or pretrained weights that do not fit; as `loop.fit`.
    """
    mean, squares = (np.mean([_mean_power(images, power) for images, _ in sets], 0) for power in (1, 2))
    deviation = np.sqrt(np.maximum(squares - mean**2, 0))
    tf.keras.utils.set_random_seed(seed)
    model, best = (build_vgg16(sets[0][0].shape[1:], classes, mean, deviation, weights) for _ in range(2))
    best_loss = tf.Variable(np.inf, dtype=tf.float32, trainable=False)
    optimizer = make_optimizer(model, steps)
    learn, infer, every = make_step(model, optimizer), _make_inference(model), max(1, steps // EPOCHS)

    def step(number, images, truth):
        losses, done = learn(images, truth), int(number) + 1
        if done % every == 0 or done == steps:
            losses["validation"] = np.mean([_measure_loss(infer, *images_truth) for images_truth in validation])
            if losses["validation"] < best_loss:
                best_loss.assign(losses["validation"])
                best.set_weights(model.get_weights())
        return losses

    state = {"vgg16": model, "best": best, "best_loss": best_loss, "optimizer": optimizer}
    result = loop.fit(folder, step, lambda index: draw_batch(sets, seed, index), state, steps, name=name)
    return best, result | {"validation_loss": float(best_loss)}


def make_optimizer(model, steps):
    """Adam whose rate rises, then falls to 0 at the last of `steps` steps."""
    rate = tf.keras.optimizers.schedules.CosineDecay(
        0.0, max(1, round((1 - WARM_UP) * steps)), warmup_target=LEARNING_RATE, warmup_steps=round(WARM_UP * steps)
    )
    optimizer = tf.keras.optimizers.Adam(rate, jit_compile=False)
    optimizer.build(model.trainable_variables)
    return optimizer


def make_step(model, optimizer):
    """The training step: (images [batch, height, width, channels] in [0, 255], classes [batch]) -> losses."""

    @tf.function
    def step(images, truth):
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(truth, logits))
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return {"loss": loss}

    return step


def draw_batch(sets, seed, index):
    """Batch number `index`, from each set in turn: (images float32 in [0, 255], classes int32)."""
    random = np.random.default_rng([seed, 1, index])
    images, truth = [], []
    for position in range(index * BATCH_SIZE, (index + 1) * BATCH_SIZE):
        pictures, numbers = sets[position % len(sets)]
        chosen = batches.draw_batch_indices(len(pictures), 1, seed, position // len(sets))[0]
        images.append(_augment(pictures[chosen], random))
        truth.append(numbers[chosen])
    return _scale(np.stack(images)), np.array(truth, np.int32)


def predict(model, images):
    """Probabilities of each class.

    Args:
      model: a VGG16 from `train`.
      images: [count, height, width, channels] uint8 or uint16.

    Returns:
      [count, classes] float32 in [0, 1].
    """
    return _infer_all(_make_inference(model), images)


def _make_inference(model):
    return tf.function(lambda images: tf.nn.softmax(model(images, training=False)), reduce_retracing=True)


def _infer_all(infer, images):
    return np.concatenate([infer(chunk).numpy() for chunk in _split(images)])


def _measure_loss(infer, images, truth):
    chances = _infer_all(infer, images)[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(chances, 1e-7)).mean())


def _split(images):
    return (_scale(images[first : first + CHUNK]) for first in range(0, len(images), CHUNK))


def _scale(images):
    """uint8 or uint16 -> float32 in [0, 255]."""
    return images.astype(np.float32) * np.float32(255 / np.iinfo(images.dtype).max)


def _mean_power(images, power):
    """[channels]: mean of a power of the pixels, in [0, 255], a few images at a time."""
    return sum((chunk.astype(np.float64) ** power).mean((1, 2)).sum(0) for chunk in _split(images)) / len(images)


def _augment(image, random):
    """Mirrors left to right with probability one half, and moves by up to SHIFT of each side.

    The frame is mirrored beyond its edge.
    """
    height, width = image.shape[:2]
    shifts = [int(side * SHIFT) for side in (height, width)]
    top, left = (random.integers(2 * shift + 1) for shift in shifts)
    padded = np.pad(image, [(shifts[0],) * 2, (shifts[1],) * 2, (0, 0)], "reflect")
    moved = padded[top : top + height, left : left + width]
    return moved[:, ::-1] if random.integers(2) else moved
