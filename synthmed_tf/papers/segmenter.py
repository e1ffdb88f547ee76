"""The U-Net segmenter of P1: learns from photographs and masks, says how probable a vessel is at each pixel.

P1 says neither its size nor its training; numbers without a source are ours.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf

from synthmed_tf import losses
from synthmed_tf.networks.unet import build_unet
from synthmed_tf.training import batches, loop

BATCH_SIZE = 8
CROP = 128  # pixels; larger crops give the same figures and fall out of the CPU's cache
LEARNING_RATE = 2e-3  # Adam's, falling to 0 along half a cosine
MULTIPLE = 16  # pixels; photographs are padded to it for a prediction


def normalise(image, field_of_view):
    """Colours of one image with mean 0 and standard deviation 1 per channel inside the field of view, and 0 outside.

    Args:
      image: [height, width, channels] uint8 or uint16.
      field_of_view: [height, width, 1] in {0, 1}, or None for everywhere.

    Returns:
      [height, width, channels] float32.
    """
    image = image.astype(np.float32)
    inside = np.ones(image.shape[:2], bool) if field_of_view is None else field_of_view[..., 0] > 0
    if not inside.any():
        inside[:] = True
    pixels = image[inside]
    return (image - pixels.mean(0)) / (pixels.std(0) + 1e-3) * inside[..., None]


def train(folder, sets, steps, seed, name="U-Net", levels=3, width=16):
    """Trains a U-Net on random crops, turns and flips of samples.

    Args:
      folder: pathlib.Path of this training alone; the same call goes on from its newest checkpoint.
      sets: list of sequences of Samples with image and mask; all of one number of channels, sizes may differ. Each
        batch has BATCH_SIZE crops of each set, however many samples it holds. Those of the first are what they would be
        without the others.
      steps: training steps; the cosine of the learning rate ends there.
      seed: initial weights and order of the data.
      name: shown in the progress line.
      levels, width: of the U-Net, see networks.unet.

    Returns:
      (the trained Keras model, loop.fit's dict).
    """
    folder = Path(folder)
    sets = [[_stack(sample) for sample in samples] for samples in sets]
    channels = sets[0][0].shape[-1] - 2
    crop = min(CROP, *(min(pair.shape[:2]) for pairs in sets for pair in pairs)) // 2**levels * 2**levels

    tf.keras.utils.set_random_seed(seed)
    model = build_unet(channels, levels, width)
    optimizer = tf.keras.optimizers.Adam(
        tf.keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps), jit_compile=False
    )
    optimizer.build(model.trainable_variables)

    def batch(index):
        random = np.random.default_rng([seed, 1, index])
        crops = []
        for pairs in sets:
            chosen = batches.draw_batch_indices(len(pairs), BATCH_SIZE, seed, index)
            crops += [crop_at_random(pairs[place], crop, random) for place in chosen]
        return (np.stack(crops),)

    state = {"unet": model, "optimizer": optimizer}
    return model, loop.fit(folder, make_step(model, optimizer), batch, state, steps, name=name)


def crop_at_random(pair, crop, random):
    """A square of `crop` pixels of [height, width, channels], in one of its eight orientations.

    random: numpy Generator.
    """
    top, left = (random.integers(side - crop + 1) for side in pair.shape[:2])
    part = np.rot90(pair[top : top + crop, left : left + crop], random.integers(4))
    return part[::-1] if random.integers(2) else part


def make_step(model, optimizer):
    """The training step: (step number, [batch, height, width, channels + 2]: images, mask, field of view) -> losses.

    Ronneberger et al. 2015, equation 1, inside the field of view.
    """

    @tf.function
    def step(number, stack):  # noqa: ARG001 (the order of the data is all the randomness there is)
        images, mask, inside = stack[..., :-2], stack[..., -2:-1], stack[..., -1:]
        with tf.GradientTape() as tape:
            loss = losses.segmentation_cross_entropy(model(images, training=True), mask, inside)
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return {"loss": loss}

    return step


def predict(model, samples):
    """Probabilities of vessel for each sample at its own size.

    Args:
      model: a U-Net from `train`.
      samples: iterable of Samples with an image.

    Yields:
      [height, width] float32 in [0, 1], 0 outside the field of view.
    """

    @tf.function(reduce_retracing=True)
    def infer(images):
        return tf.sigmoid(model(images, training=False))[0, :, :, 0]

    for sample in samples:
        image = normalise(sample.image, sample.field_of_view)
        height, width = image.shape[:2]
        padded = np.pad(image, [(0, -height % MULTIPLE), (0, -width % MULTIPLE), (0, 0)])
        probabilities = infer(padded[None]).numpy()[:height, :width]
        yield probabilities if sample.field_of_view is None else probabilities * sample.field_of_view[..., 0]


def _stack(sample):
    """[height, width, channels + 2] float32: normalised photograph, mask, field of view."""
    inside = np.ones_like(sample.mask) if sample.field_of_view is None else sample.field_of_view
    return np.concatenate([normalise(sample.image, sample.field_of_view), sample.mask, inside], -1, dtype=np.float32)
