"""What is known of a prepared data set from the list of its files alone."""

import re
from pathlib import Path

from synthmed_tf.datasets.sources import DATASETS, is_labelled
from synthmed_tf.datasets.split import LEFT_OUT
from synthmed_tf.sample import InputError, Sample


class Plan(list):
    """What a dry run knows of the training split of a set that is not prepared: its Samples without pictures.

    Attributes:
      folder, manifest, features, class_names: as of `Records`, with what is known. Counts are those of the list of
        files, copies and unreadable ones among them.
    """

    def __init__(self, name, entries, first, manifest):
        """entries: of all splits. first: the first training sample, as it would be written. manifest: entries of it."""
        super().__init__(Sample(entry.id, label=entry.label) for entry in entries if entry.split == "train")
        self.folder, self.class_names = Path(f"{name} (not prepared)"), manifest["class_names"]
        self.features = [key for key in ("image", "mask", "field_of_view") if getattr(first, key) is not None]
        self.manifest = {"name": name, "channels": first.image.shape[2]} | manifest
        if self.class_names:
            labels = {split: [entry.label for entry in entries if entry.split == split] for split in manifest["counts"]}
            self.manifest["class_counts"] = {
                split: {name: labels[split].count(name) for name in self.class_names} for split in labels
            }


def describe(data, listed, entries, holdout):
    """({split: number of images to be written}, class names or None, whether groups are kept, manifest entries).

    All that is known from the list of files alone: what `list_entries` and `split_entries` returned.

    Raises:
      InputError: no training image, or some samples with and some without a field of view.
    """
    labelled = is_labelled(entries)
    by_split = {split: [entry for entry in entries if entry.split == split] for split in ("train", "test")}
    counts = {split: len(by_split[split]) for split in by_split}
    if not counts["train"]:
        raise InputError(f"{data}: no training images; put some there")
    without = {entry.field_of_view is None for entry in entries}
    if len(without) == 2 and not entries[0].is_fundus:
        lacking = next(entry for entry in entries if entry.field_of_view is None)
        raise InputError(
            f"{lacking.image.name}: has no field of view, others have; allowed is fov/ for all or for none; add it"
        )
    if not any(without) or data == "phantom":
        fields = "as shipped"
    else:
        fields = (
            ("estimated" if len(without) == 1 else "as shipped, estimated where missing")
            if entries[0].is_fundus
            else "none"
        )
    lacks_masks = {split: any(entry.mask is None for entry in by_split[split]) for split in by_split}
    if holdout:
        test = f"{holdout} groups held out of the training images"
    elif not counts["test"]:
        test = "none"
    elif lacks_masks["test"] and not lacks_masks["train"]:
        test = f"{LEFT_OUT}: its {counts['test']} images have no masks; --holdout=N holds out training images in their place"
        counts["test"] = 0
    else:
        has_split = listed[0].split is not None
        drawn = "a fifth of each class, in whole groups" if labelled else "every fifth group"
        test = ("official" if data in DATASETS else "the folder's own") if has_split else drawn
    class_names = sorted({entry.label for entry in entries if entry.label is not None}, key=_by_numbers)
    keep_groups = labelled or len({entry.group for entry in entries}) < len(entries)
    return counts, class_names or None, keep_groups, {"fields_of_view": fields, "test_split": test}


def _by_numbers(name):
    """Sorts "female 5-9" before "female 10-20"."""
    return [int(part) if index % 2 else part for index, part in enumerate(re.split(r"(\d+)", name))]
