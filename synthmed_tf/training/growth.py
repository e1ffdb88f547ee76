"""How a PGGAN grows: which level is trained at which step. Karras et al. 2018, section 3 and appendix A.1.

Each level is trained for the same number of steps (P2 § 3.1: "Same batch size and epochs number were used for all layer
depths"). A new one is faded in during the first half of them, as in Karras et al.; all steps beyond train the last
level.
"""

import dataclasses

import numpy as np
import tensorflow as tf
from PIL import Image

from synthmed_tf import flags
from synthmed_tf.images.resize import count_halvings
from synthmed_tf.training.log import draw_grid


@dataclasses.dataclass(frozen=True)
class Growth:
    """Schedule of a training.

    Attributes:
      levels: number of levels.
      steps: at each level.
    """

    levels: int
    steps: int

    def at(self, step):
        """(level, alpha) of step number `step`; alpha in (0, 1), or None where the level stands for itself."""
        level = min(step // self.steps, self.levels - 1)
        alpha = (step - level * self.steps + 1) / (self.fading + 1) if level else 1.0
        return level, alpha if alpha < 1 else None

    @property
    def fading(self):
        """Steps that a level is faded in."""
        return self.steps // 2

    def begins(self, step):
        """Whether a level begins with step number `step`."""
        return step % self.steps == 0 and step // self.steps < self.levels

    def changes(self, step):
        """Whether a fade begins or has ended with step number `step`, or the training begins."""
        return any(step == first for first, _, _ in self.phases())

    def phases(self):
        """(first step, level, alpha) of each part of the training, in order;
        alpha a function of the step number in a graph, or None.
        """
        found = []
        for level in range(self.levels):
            first, fading = level * self.steps, self.fading if level else 0
            if fading:
                found.append(
                    (
                        first,
                        level,
                        lambda number, first=first: tf.cast(number - first + 1, tf.float32) / (self.fading + 1),
                    )
                )
            found.append((first + fading, level, None))
        return found

    def save_row(self, folder, level, picture):
        """Keeps a row of samples of a finished level, [height, width, channels] uint8, in folder/growth."""
        (folder / "growth").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.squeeze(picture)).save(folder / "growth" / f"{level}.png")

    def save_picture(self, folder, newest):
        """Writes folder/growth.png: the rows of the levels, one below the other, and last the newest one. P2 figure 2."""
        rows = [np.asarray(Image.open(folder / "growth" / f"{level}.png")) for level in range(self.levels - 1)]
        sheet = draw_grid(np.stack([row.reshape(newest.shape) for row in [*rows, newest]]), columns=1)
        Image.fromarray(np.squeeze(sheet)).save(folder / "growth.png")


def growth_of(settings, count):
    """The Growth that `settings` ask for, for a training set of `count` images; None for models that do not grow."""
    if settings["model"] != "pggan":
        return None
    return Growth(count_halvings(settings["image_size"]) + 1, flags.level_steps(settings, count))
