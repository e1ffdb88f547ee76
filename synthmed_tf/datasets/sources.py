"""The table of data sets. DATASETS names them; any folder is one as well. Nothing is decoded here."""

import os
from pathlib import Path

from synthmed_tf.datasets import (
    bubil,
    chase_db1,
    drive,
    folder,
    idrid,
    messidor,
    nih,
    pcam,
    shenzhen,
    slides,
)
from synthmed_tf.datasets.files import make_id
from synthmed_tf.datasets.phantoms import fundus, histology, xray
from synthmed_tf.sample import InputError

BUILT_IN = {"phantom": fundus, "phantom_xray": xray, "phantom_histology": histology}  # drawn, not read
DATASETS = {
    **BUILT_IN,
    "drive": drive,
    "chase_db1": chase_db1,
    "bubil": bubil,
    "idrid": idrid,
    "messidor": messidor,
    "nih": nih,
    "shenzhen": shenzhen,
    "pcam": pcam,
}
WITH_LABELS = ("nih", "shenzhen", "phantom_xray")  # whose list_entries() takes labels: age bins


def locate_set(data):
    """`data` as all commands write it: a name in DATASETS, or the real, absolute path of a folder that is there."""
    if not data or data in DATASETS:
        return data
    path = os.path.realpath(os.path.expanduser(data))
    return path if os.sep in data or data.startswith("~") or os.path.isdir(path) else data


def list_entries(data, data_dir, labels=None, group_column=None):
    """Lists a set without decoding it. Arguments are those of `load.load_samples`.

    Returns:
      list of files.Entry, in the order of the set's own loader; those of built-in sets have no files.

    Raises:
      InputError: what `check_set` raises.
    """
    try:
        is_folder = data not in DATASETS and Path(data).is_dir()
        has_slides = is_folder and slides.is_folder_of_slides(data)
        if group_column is not None and (data in DATASETS or has_slides):
            raise InputError(
                f"--group_column={group_column}: {data} says itself which images belong together; allowed is the flag "
                "with a folder of images; leave it out"
            )
        if data in WITH_LABELS:
            entries = DATASETS[data].list_entries(data_dir, labels)
        elif data in DATASETS:
            if labels is not None:
                raise InputError(
                    f"--labels={labels}: {data} has no choice of classes; allowed is the flag with "
                    f"{', '.join(WITH_LABELS)} and a folder with a table of labels; leave it out"
                )
            entries = DATASETS[data].list_entries(data_dir)
        elif is_folder:
            entries = slides.list_entries(data) if has_slides else folder.list_entries(data, labels, group_column)
        else:
            raise InputError(
                f"--data={data}: no such data set or folder; allowed are {', '.join(DATASETS)}, or the path of a "
                "folder with images/ and masks/, with one sub-folder a class, with images/ and a CSV table of labels, "
                "with photographs alone, or with slides"
            )
    except OSError as error:
        raise InputError(
            f"{error.filename or data}: cannot be read ({error.strerror}); mend its access rights or name"
        ) from error
    _check_ids_and_groups(entries)
    if is_labelled(entries):
        _check_classes(data, entries)
    return entries


def _check_ids_and_groups(entries):
    """Raises InputError where two entries have one id, or the entries of a group are in two splits."""
    files, splits = {}, {}
    for entry in entries:
        if entry.id in files:
            raise InputError(
                f"{entry.image.name}: same id {entry.id!r} as {files[entry.id].name}; ids are unique, rename one of "
                "them"
            )
        if splits.setdefault(entry.group, entry.split) != entry.split:
            raise InputError(
                f"{entry.image.name}: its group {entry.group!r} is in train and in test; move its images into one of "
                "them, or say by --group_column=COLUMN, or none, what belongs together"
            )
        files[entry.id] = entry.image


def _check_classes(data, entries):
    """Raises InputError where there is one class only, or a class that cannot be learned."""
    splits = {}
    for entry in entries:
        if entry.label is not None:
            splits.setdefault(entry.label, set()).add(entry.split)
    if len(splits) == 1:
        raise InputError(
            f"{data}: all images are of one class, {min(splits)!r}; classes are two or more: add another one, or move "
            "the table away if the images are to have none"
        )
    for label in sorted(splits):
        if splits[label] == {"test"}:
            raise InputError(
                f"{data}: the class {label!r} has test images but no training images; add some, or move the class away"
            )


def check_set(data, data_dir, *, labels=None, group_column=None, chest_xrays=False, needs_masks=False):
    """Checks that a data set is there and has the right layout; decodes no image.

    Raises:
      InputError: saying where to get it and what to put where; with chest_xrays also a named set, with needs_masks one
        without masks.
    """
    if not data:
        raise InputError("--data=: no name; give the name of a set or the path of a folder")
    if chest_xrays and data in DATASETS:
        raise InputError(
            f"--chest_xrays: {data} is read as what it is; allowed is the flag with a folder of your own; leave it "
            "out, or give --nochest_xrays where a synthetic set brings it along"
        )
    entries = list_entries(data, data_dir, labels, group_column)
    if needs_masks and data != "phantom" and not any(entry.mask for entry in entries):
        raise InputError(
            f"--data={data}: its images have no masks, which this stage learns from; allowed are sets with masks, such "
            "as drive, chase_db1 or a folder with images/ and masks/; give one of them, or --target=image"
        )


def get_set_name(data):
    """What prepared records and manifests call the set: itself, or the folder's name."""
    return data if data in DATASETS else make_id(Path(data).resolve().name)


def has_masks(data, data_dir, labels=None, group_column=None):
    """Whether any image of a data set has a mask; decodes nothing. Arguments are those of `load.load_samples`."""
    return data == "phantom" or any(entry.mask for entry in list_entries(data, data_dir, labels, group_column))


def is_labelled(entries):
    """Whether entries have classes to tell apart. The grades of fundus photographs are no classes."""
    return any(entry.label is not None and not entry.is_fundus for entry in entries)
