"""What stage 2 learns from: real photographs and their masks, as batches of numbers from -1 to 1."""

import numpy as np

from synthmed_tf.images import pixels
from synthmed_tf.training import batches, log

SHOWN = 8  # pairs in a picture of samples


class Pairs:
    """Pairs as the papers show them: photograph and mask as they are.

    Attributes:
      photographs: [count, height, width, channels] float32 in [-1, 1].
      masks: [count, height, width, 1] float32, 1 in vessels and -1 elsewhere.
      dtype: of the photographs, "uint8" or "uint16".
      tolerance: share of the least distance that is no difference between two checkpoints. KID of a few photographs wavers
        by half, and is least while vessels are faint; where the discriminator wins it is far more.
    """

    tolerance = 1.0

    def __init__(self, real, batch_size, seed):
        """Reads all samples.

        Args:
          real: sequence of training Samples with image and mask.
          batch_size: pairs in a batch. seed: which pairs each batch holds is a function of it.
        """
        self.real, self.batch_size, self.seed = real, batch_size, seed
        self.dtype = real[0].image.dtype.name
        half = np.iinfo(self.dtype).max / 2
        self.photographs = np.stack([np.float32(sample.image) / half - 1 for sample in real], dtype=np.float32)
        self.masks = np.stack([np.float32(sample.mask) * 2 - 1 for sample in real])

    @property
    def image_size(self):
        """(height, width) in pixels."""
        return self.photographs.shape[1:3]

    @property
    def channels(self):
        """Channels of the photographs: 1 or 3."""
        return self.photographs.shape[-1]

    def chosen(self, step, count=None):
        """Indices of the pairs of step number `step`, `count` or a batch of them."""
        return batches.draw_batch_indices(len(self.masks), count or self.batch_size, self.seed, step)

    def batch(self, step):
        """The batch of step number `step`: [batch, height, width, channels + 1], photographs and masks."""
        chosen = self.chosen(step)
        return (np.concatenate([self.photographs[chosen], self.masks[chosen]], -1),)

    def draw_grid(self, paint):
        """One uint8 picture of masks, of what `paint`, function (mask, index) -> photograph, makes of them, and of the
        real photographs.
        """
        places = np.linspace(0, len(self.masks) - 1, SHOWN).astype(int)
        painted = [paint(self.masks[place] > 0, index) for index, place in enumerate(places)]
        masks = np.repeat(pixels.to_uint8(self.masks[places]), self.channels, -1)
        if self.dtype == "uint16":
            painted = [(photograph >> 8).astype(np.uint8) for photograph in painted]
        return log.draw_grid(np.concatenate([masks, painted, pixels.to_uint8(self.photographs[places])]), SHOWN)
