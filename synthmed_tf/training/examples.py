"""What a generator of stage 1 learns from: real masks, or real images, as batches of numbers from -1 to 1."""

import numpy as np
import tensorflow as tf

from synthmed_tf.images import pixels
from synthmed_tf.sample import spaced
from synthmed_tf.training import batches
from synthmed_tf.training.sampler import encode_one_hot

WATCHED = 64  # training samples that synthetic ones are compared with while a generator trains


class Examples:
    """Real masks or images as the papers show them to a GAN: each as it is, and -1 outside of its field of view.

    Attributes:
      target: "mask" or "image".
      watched: list of Samples that synthetic ones are compared with: held-out ones, or some of those learned from.
      stack: [count, height, width, channels + 1] float32: values in [-1, 1], and last what `show` multiplies them by:
        the field of view in {0, 1}.
      labels: one-hot classes [count, classes] float32 of a class-conditional model; None of others.
      mirrors: see `sampler.Sampler`.
    """

    mirrors = False

    def __init__(self, real, held_out, target, batch_size, seed, class_names=()):
        """Reads all samples.

        Args:
          real: sequence of training Samples with the target.
          held_out: list of Samples that are not learned from; empty: some of `real` are watched.
          batch_size: samples in a batch. seed: which samples each batch holds is a function of it.
          class_names: labels of the samples, where the model is to be class-conditional.
        """
        self.target, self.batch_size, self.seed = target, batch_size, seed
        self.watched = held_out or spaced(real, WATCHED)
        self.dtype = "uint8" if target == "mask" else real[0].image.dtype.name
        self.stack = self.make_stack(real)
        self.labels, self.classes = None, len(class_names)
        if class_names:
            numbers, typical = (
                [list(class_names).index(sample.label) for sample in samples] for samples in (real, held_out or real)
            )
            self.labels, self._typical = encode_one_hot(numbers, self.classes), encode_one_hot(typical, self.classes)

    @property
    def tolerance(self):
        """Share of the least distance that is no difference between two checkpoints.

        Later masks copy more, so it is less for them.
        """
        return 0.03 if self.target == "mask" else 0.1

    @property
    def image_size(self):
        """(height, width) in pixels."""
        return self.stack.shape[1:3]

    @property
    def channels(self):
        """Channels of what is learned: 1 of masks, 2 of their fields, 1 or 3 of images."""
        return self.stack.shape[-1] - 1

    def make_stack(self, samples):
        """Samples -> `stack` of them."""
        rows = []
        for sample in samples:
            if self.target == "mask":
                values = sample.mask * 2.0 - 1
            else:
                values = sample.image / (np.iinfo(sample.image.dtype).max / 2) - 1
            view = np.ones_like(values[..., :1]) if sample.field_of_view is None else sample.field_of_view
            rows.append(np.concatenate([values, view], -1, dtype=np.float32))
        return np.stack(rows)

    def batch(self, step):
        """The batch of step number `step`: rows of `stack`, and their one-hot classes where there are classes."""
        chosen = batches.draw_batch_indices(len(self.stack), self.batch_size, self.seed, step)
        return (self.stack[chosen], *([] if self.labels is None else [self.labels[chosen]]))

    def show(self, rows, key):
        """Rows of `stack` -> what a discriminator sees, [batch, height, width, channels] in [-1, 1]; in a graph.

        key: [2] int32, the source of what is random here.
        """
        del key
        return tf.where(rows[..., -1:] > 0, rows[..., :-1], -1.0)

    def list_typical_labels(self, count):
        """One-hot classes [count, classes] as they are distributed among real samples; None without classes."""
        return None if self.labels is None else self._typical[np.arange(count) * len(self._typical) // count]

    def calibrate(self, generate, noise_shape):
        """Adapts `to_pictures` to a generator, function noise [n, *noise_shape] -> output; nothing to do here."""

    def to_pictures(self, output):
        """Output of a generator -> masks [n, height, width, 1] uint8 in {0, 1}, or images of the real ones' type."""
        if self.target == "mask":
            return (np.asarray(output) > 0).astype(np.uint8)
        return pixels.to_integers(output, self.dtype)
