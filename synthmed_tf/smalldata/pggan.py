"""PGGAN for some hundred tiles or X-rays: papers/pggan.py, narrower, and shown warped images (warped_examples.py)."""

import dataclasses

from synthmed_tf.papers import pggan
from synthmed_tf.settings import setting

train, set_steps = pggan.train, pggan.set_steps


@dataclasses.dataclass(frozen=True)
class Settings(pggan.Settings):
    """What is other than in the paper; the size is what two cores train in three quarters of an hour."""

    latent: int = setting(64, "length of z")
    width: float = setting(0.125, "times the feature maps of Karras et al. 2018, table 2")
    batch_size: int = setting(16, "images a step")
    level_images: int = setting(8000, "real images shown at each level")
    steps: int = setting(4000, "training steps, at least as many as all levels take; the rest train the last one")
    average: float = setting(0.995, "of the averaged weights, what a step keeps")
