"""Real pairs for the painter: photographs and masks, bent alike at random in each batch."""

import numpy as np
import tensorflow as tf

from synthmed_tf.images.field_of_view import fill_outside
from synthmed_tf.sample import spaced
from synthmed_tf.smalldata import fields, warp
from synthmed_tf.training.pairs import Pairs

FIELD_SCALE = 2.0  # pixels
RIDGE = 0.5  # of a warped centreline
COUNTED = 32  # pairs that the wall of warped masks is found on


class WarpedPairs(Pairs):
    """Pairs that are warped anew in each batch.

    The rim is the camera's, and stays where it is and as dark as it is. A mask is warped as its two fields, and is
    where the first lies above a wall or the second has a ridge. So the masks that the networks learn from are as
    thick, and in as many pieces, as those they will paint: by the wall alone a mask of DRIVE falls to 75 pieces. No
    vessel is enlarged, as it would be wider than the camera shows it.

    Attributes:
      fields: [count, height, width, 2] float32, of the masks.
      filled: [count, height, width, channels] float32, photographs that go on beyond their fields of view.
      light: [count, height, width, 1] float32, the share of light that passes the rim; 0 outside.
      has_view: whether photographs have a field of view.
    """

    def __init__(self, real, batch_size, seed):
        super().__init__(real, batch_size, seed)
        self.has_view = real[0].field_of_view is not None
        self.fields = np.stack([fields.make_fields(sample.mask, FIELD_SCALE) for sample in real])
        filled = [
            fill_outside(photograph, sample.field_of_view)
            for photograph, sample in zip(self.photographs, real, strict=True)
        ]
        self.filled, self.light = (np.stack(parts, dtype=np.float32) for parts in zip(*filled, strict=True))
        self.wall = self._find_wall(spaced(range(len(real)), COUNTED))

    def _find_wall(self, places):
        """The wall by which warped masks are on average as thick as real ones."""
        moved = bend(self._stack(places), tf.constant([self.seed, -1], tf.int32)).numpy()
        thickness = fields.measure_thickness(self.fields[places][..., :1] > 0)
        return fields.find_wall(lambda wall: make_masks(moved[..., -2:], wall), thickness)

    def _stack(self, places):
        return tf.constant(np.concatenate([self.filled[places], self.fields[places]], -1))

    def batch(self, step):
        """The batch of step number `step`: [batch, height, width, channels + 2]: photographs in [-1, 1], masks in
        {-1, 1}, fields of view in {0, 1}.
        """
        chosen = self.chosen(step)
        moved = bend(self._stack(chosen), tf.constant([self.seed, step], tf.int32)).numpy()
        light = self.light[chosen]
        photographs = light * (np.clip(moved[..., :-2], -1, 1) + 1) - 1
        masks = np.where(light > 0, make_masks(moved[..., -2:], self.wall), 0) * 2.0 - 1
        return (np.concatenate([photographs, masks, light > 0], -1, dtype=np.float32),)


@tf.function
def bend(stack, seed):
    """Photographs and fields [n, height, width, c], bent alike at random; a function of seed [2] int32."""
    return warp.warp_at_random(stack, seed, rotation=20.0, elastic=0.008, flip=(True, True), enlarged=2)


def make_masks(moved, wall):
    """Warped fields -> masks [n, height, width, 1] uint8 in {0, 1}."""
    return np.stack([fields.make_mask(field, wall, RIDGE, weight=0.0) for field in moved])
