"""What is known of a prepared data set from the list of its files alone."""

import dataclasses
import re
from pathlib import Path
from typing import NamedTuple

from synthmed_tf.datasets.sources import DATASETS, is_labelled
from synthmed_tf.datasets.split import LEFT_OUT
from synthmed_tf.sample import InputError, Sample


class Description(NamedTuple):
    """What a list of files tells of the records that will be made of it."""

    counts: dict  # {split: number of images that will be written}
    class_names: list | None
    keeps_groups: bool
    fields_of_view: str
    test_split: str


class Plan(list):
    """What a dry run knows of the training split of a set that is not prepared: its Samples without pictures.

    Attributes:
      folder, manifest, features, class_names: as of `Records`, with what is known. Counts are those of the list of
        files, copies and unreadable ones among them.
      pictured: the first Sample with its pictures, once for each class.
    """

    def __init__(self, name, entries, first, described):
        """entries: of all splits. first: the first training sample, as it would be written. described: Description."""
        super().__init__(Sample(entry.id, label=entry.label) for entry in entries if entry.split == "train")
        labels = described.class_names or [first.label]
        self.pictured = [dataclasses.replace(first, id=f"{first.id}-{label}", label=label) for label in labels]
        self.folder, self.class_names = Path(f"{name} (not prepared)"), described.class_names
        self.features = [key for key in ("image", "mask", "field_of_view") if getattr(first, key) is not None]
        self.manifest = {"name": name, "channels": first.image.shape[2]} | described._asdict()
        del self.manifest["keeps_groups"]
        if self.class_names:
            labels = {split: [entry.label for entry in entries if entry.split == split] for split in described.counts}
            self.manifest["class_counts"] = {
                split: {name: labels[split].count(name) for name in self.class_names} for split in labels
            }


def describe(data, listed, entries, holdout):
    """The Description of a set's records. listed: from `list_entries`. entries: from `split_entries`.

    Raises:
      InputError: no training image, or some samples with and some without a field of view.
    """
    counts = {split: sum(entry.split == split for entry in entries) for split in ("train", "test")}
    if not counts["train"]:
        raise InputError(f"{data}: no training images; put some there")
    fields_of_view = _describe_fields_of_view(data, entries)
    test_split = _describe_test_split(data, listed, entries, holdout, counts["test"])
    if test_split.startswith(LEFT_OUT):
        counts["test"] = 0
    class_names = sorted({entry.label for entry in entries if entry.label is not None}, key=_split_numbers)
    keeps_groups = is_labelled(entries) or len({entry.group for entry in entries}) < len(entries)
    return Description(counts, class_names or None, keeps_groups, fields_of_view, test_split)


def _describe_fields_of_view(data, entries):
    without = {entry.field_of_view is None for entry in entries}
    if len(without) == 2 and not entries[0].is_fundus:
        lacking = next(entry for entry in entries if entry.field_of_view is None)
        raise InputError(
            f"{lacking.image.name}: has no field of view, others have; allowed is fov/ for all or for none; add it"
        )
    if not any(without) or data == "phantom":
        return "as shipped"
    if not entries[0].is_fundus:
        return "none"
    return "estimated" if len(without) == 1 else "as shipped, estimated where missing"


def _describe_test_split(data, listed, entries, holdout, count):
    """How the test split of `count` images was made, or that it is left out."""
    if holdout:
        return f"{holdout} groups held out of the training images"
    if not count:
        return "none"
    lacks_masks = {
        split: any(entry.mask is None for entry in entries if entry.split == split) for split in ("train", "test")
    }
    if lacks_masks["test"] and not lacks_masks["train"]:
        return f"{LEFT_OUT}: its {count} images have no masks; --holdout=N holds out training images in their place"
    if listed[0].split is not None:
        return "official" if data in DATASETS else "the folder's own"
    return "a fifth of each class, in whole groups" if is_labelled(entries) else "every fifth group"


def _split_numbers(name):
    """Key that sorts "female 5-9" before "female 10-20"."""
    return [int(part) if index % 2 else part for index, part in enumerate(re.split(r"(\d+)", name))]
