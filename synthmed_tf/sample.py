"""The Sample: what every data set yields and every record holds."""

import dataclasses

import numpy as np


class InputError(ValueError):
    """Something that the user gave cannot be used.

    Its message is one line: what, where, what is allowed, what mends it.
    """


class UnreadableImage(InputError):
    """A file that is not an image, or a truncated, damaged or absurdly large one. `--skip_bad_files` leaves it out."""


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """One image with what is known about it.

    Attributes:
      id: unique within its data set. Never a patient's name in a synthetic set.
      image: [height, width, channels] uint8 or uint16, channels 1 or 3; None for a mask alone.
      mask: [height, width, 1] uint8 in {0, 1}, vessel (or cell) = 1; None where there is none.
      field_of_view: [height, width, 1] uint8 in {0, 1}, 1 where the camera saw something; None: everywhere.
      label: class name; None where the set has no classes.
      group: patient or slide; no split cuts a group. Never written to a synthetic set.
      split: "train" or "test".
      second_mask: the mask of a second observer, same layout as mask. Lives in memory only.
      seed: the seed that a synthetic sample was made from; None for a real one.
    """

    id: str
    image: np.ndarray | None = None
    mask: np.ndarray | None = None
    field_of_view: np.ndarray | None = None
    label: str | None = None
    group: str | None = None
    split: str = "train"
    second_mask: np.ndarray | None = None
    seed: int | None = None


def spaced(samples, most):
    """At most so many of the samples, a sequence, at even steps: [Sample]."""
    count = min(len(samples), most)
    return [samples[index * len(samples) // count] for index in range(count)]
