"""A trained generator as a function: indices -> synthetic pictures."""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from synthmed_tf.training import log

CHUNK = 16  # pictures drawn at once, aligned to the index: picture i has the same bits whoever draws it


@dataclasses.dataclass(frozen=True)
class Sampler:
    """A trained generator.

    Attributes:
      noise_shape: shape of the noise of one picture.
      paint: function (noise [n, *noise_shape] from N(0, 1), one-hot classes [n, classes] or None) -> pictures
        [n, height, width, channels], masks uint8 in {0, 1} or images uint8 or uint16.
      seed: every picture is a function of seed, class and index.
      classes: number of classes of a class-conditional generator, else 0.
      mirrors: mirror half of the pictures, as the generator learned from eyes turned to one side.
    """

    noise_shape: tuple
    paint: Callable
    seed: int
    classes: int = 0
    mirrors: bool = False

    def draw(self, indices, label=None):
        """Draws pictures [n, height, width, channels] number `indices`.

        Args:
          indices: sequence of n ints from 0 up, at most CHUNK and from one chunk.
          label: number of the class; None where the set has none. A generator of one class alone needs it too, as each
            class has noise of its own.
        """
        first_key = [self.seed, -2 if label is None else -1000 - label]
        first = indices[0] // CHUNK * CHUNK
        keys = [tf.random.experimental.stateless_fold_in(first_key, first + place) for place in range(CHUNK)]
        noise = tf.stack([tf.random.stateless_normal(self.noise_shape, key) for key in keys])
        pictures = self.paint(noise, encode_one_hot([label] * CHUNK, self.classes) if self.classes else None)
        drawn = []
        for index in indices:
            picture, key = pictures[index - first], keys[index - first]
            if self.mirrors and tf.random.stateless_uniform([], key + 1) < 0.5:
                picture = np.ascontiguousarray(picture[:, ::-1])
            drawn.append(picture)
        return np.stack(drawn)

    def draw_grid(self, count=16):
        """One uint8 picture of `count` samples whose noise stays the same throughout a training, classes in turn."""
        noise = tf.random.stateless_normal([16, *self.noise_shape], [self.seed, -1])[:count]
        labels = encode_one_hot(np.arange(count) % self.classes, self.classes) if self.classes else None
        pictures = self.paint(noise, labels)
        return log.draw_grid((pictures >> 8).astype(np.uint8) if pictures.dtype == np.uint16 else pictures)


def encode_one_hot(numbers, classes):
    """Numbers of classes [n] -> [n, classes] float32."""
    return np.eye(classes, dtype=np.float32)[np.asarray(numbers)]
