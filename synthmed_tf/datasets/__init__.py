"""Data sets: raw files -> Samples at native resolution. DATASETS is the table of them; any folder is one as well."""

import dataclasses
import hashlib
import os
import warnings
from pathlib import Path

import numpy as np

from synthmed_tf.datasets import bubil, chase_db1, drive, folder, idrid, messidor, phantom, slides
from synthmed_tf.datasets.files import read_entry
from synthmed_tf.images import UnreadableImage
from synthmed_tf.radiographs import normalise
from synthmed_tf.sample import InputError

DATASETS = {
    "phantom": phantom,
    "drive": drive,
    "chase_db1": chase_db1,
    "bubil": bubil,
    "idrid": idrid,
    "messidor": messidor,
}


def load(data, data_dir, *, holdout=0, skip_bad_files=False, seed=0):
    """Loads a data set, one Sample at a time, at native resolution.

    The split is the official one. Sets without (bubil, a folder without train/ and test/): every fifth group in sorted
    order, the 5th, 10th, ..., is test; messidor is all train. The test split comes first: a training sample whose image
    or mask is in it is left out, and so is an exact repeat of a pair; a warning at the end counts them.

    Args:
      data: a name in DATASETS, or the path of a folder (see folder.py and slides.py).
      data_dir: the folder that holds the named sets.
      holdout: if not 0, this many groups of the training images are the test split in place of the official one. For
        DRIVE without test labels.
      skip_bad_files: leave out unreadable files, counted in a warning at the end.
      seed: draws the held-out groups; used by holdout alone. All commands of one experiment must give the same.

    Returns:
      Iterator[Sample]. Ids are unique. Radiographs are grey, their brightness normalised by the lungs at native size (P2 § 2.1
      resizes first; percentiles hardly depend on the size); a warning at the end counts those whose lungs are not found. Official test images without masks, and all of idrid and messidor, have mask
      None.

    Raises:
      InputError: what `check` raises, now; unreadable files, mask of another size or of more than two levels, images of
        different kinds, when it is their turn.
    """
    if data == "phantom":
        return _load_phantoms(data_dir, holdout, seed)
    return _load(split_entries(data, data_dir, holdout, seed), data, skip_bad_files)


def check(data, data_dir, *, needs_masks=False):
    """Checks that a data set is there and has the right layout; decodes no image.

    Raises:
      InputError: saying where to get it and what to put where; with needs_masks also a set that has none.
    """
    if data == "phantom":
        phantom.check(data_dir)
        return
    list_entries(data, data_dir)
    if needs_masks and not has_masks(data, data_dir):
        raise InputError(
            f"--data={data}: its images have no masks, which this stage learns from; allowed are sets with masks, such "
            "as drive, chase_db1 or a folder with images/ and masks/; give one of them"
        )


def has_masks(data, data_dir):
    """Whether any image of a data set has a mask; decodes nothing."""
    return data == "phantom" or any(entry.mask is not None for entry in list_entries(data, data_dir))


def fingerprint(data, data_dir):
    """12 hexadecimal digits that change when an image or mask comes, goes, changes size or time, or a label changes."""
    if data == "phantom":
        facts = [f"{phantom.VERSION} {phantom.COUNT}"]
    else:
        root = Path(data_dir) if data in DATASETS else Path(data)
        fields = ("image", "mask", "field_of_view", "second_mask")
        entries = list_entries(data, data_dir)
        files = [getattr(entry, field) for entry in entries for field in fields]
        paths = {file.path for file in files if file}
        stats = {os.path.relpath(path, root): path.stat() for path in paths}
        facts = [f"{name} {stats[name].st_size} {stats[name].st_mtime_ns}" for name in sorted(stats)]
        facts += [f"{entry.id} {entry.label}" for entry in entries if entry.label is not None]
    text = "\n".join([data if data in DATASETS else "folder", *facts])
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:12]


def list_entries(data, data_dir):
    """The files.Entry list of a set that lies on disk, in the order of the loader. Raises InputError like `check`."""
    try:
        if data in DATASETS:
            entries = DATASETS[data].entries(data_dir)
        elif Path(data).is_dir():
            entries = slides.entries(data) if slides.is_folder_of_slides(data) else folder.entries(data)
        else:
            raise InputError(
                f"--data={data}: no such data set or folder; allowed are {', '.join(DATASETS)}, or the path of a "
                "folder with images/ and masks/"
            )
    except OSError as error:
        raise InputError(
            f"{error.filename or data}: cannot be read ({error.strerror}); mend its access rights or name"
        ) from error
    files, splits = {}, {}
    for entry in entries:
        if entry.id in files:
            raise InputError(
                f"{entry.image.name}: same id {entry.id!r} as {files[entry.id]}; ids are unique, rename one of them"
            )
        if splits.setdefault(entry.group, entry.split) != entry.split:
            raise InputError(
                f"{entry.image.name}: its group {entry.group!r} is in train and in test; move it to one of them"
            )
        files[entry.id] = entry.image.name
    return entries


def split_entries(data, data_dir, holdout=0, seed=0):
    """`list_entries` with "train" or "test" in every split, as `load` describes; test comes first."""
    entries = list_entries(data, data_dir)
    if holdout:
        entries = [entry for entry in entries if entry.split != "test"]
        held_out = _held_out([entry.group for entry in entries], holdout, seed)
    else:
        held_out = set(sorted({entry.group for entry in entries if entry.split is None})[4::5])
    entries = [
        entry._replace(split="test" if entry.split == "test" or entry.group in held_out else "train")
        for entry in entries
    ]
    return sorted(entries, key=lambda entry: entry.split != "test")


def _held_out(groups, holdout, seed):
    groups = sorted(set(groups))
    if not 0 < holdout < len(groups):
        raise InputError(
            f"--holdout={holdout}: allowed are 1 to {len(groups) - 1}, as there are {len(groups)} groups of training "
            "images"
        )
    return set(np.random.default_rng(seed).permutation(groups)[:holdout].tolist())


def _load_phantoms(data_dir, holdout, seed):
    if not holdout:
        return phantom.load(data_dir)
    samples = [sample for sample in phantom.load(data_dir) if sample.split == "train"]
    held_out = _held_out([sample.group or sample.id for sample in samples], holdout, seed)
    splits = ["test" if (sample.group or sample.id) in held_out else "train" for sample in samples]
    return (dataclasses.replace(sample, split=split) for sample, split in zip(samples, splits, strict=True))


def _load(entries, data, skip_bad_files):
    unreadable, copies, lungless, first = [], [], [], None
    pairs, tested = set(), set()  # digests of the pairs so far, and of the test split's images and masks
    for entry in entries:
        try:
            sample = read_entry(entry, entry.split)
        except UnreadableImage as error:
            if not skip_bad_files:
                raise
            unreadable.append(str(error).split(": ")[0])
            continue
        if entry.is_radiograph:
            image, has_lungs = normalise(sample.image)
            sample = dataclasses.replace(sample, image=image)
            lungless += [] if has_lungs else [entry.image.name]
        kind = sample.image.dtype, sample.image.shape[2]
        first = first or (kind, entry.image.name)
        if kind != first[0]:
            raise InputError(
                f"{entry.image.name}: {_kind_name(*kind)}, but {first[1]} is {_kind_name(*first[0])}; allowed is one "
                "kind in a set; convert the images to one"
            )
        image, mask = _digest(sample.image), _digest(sample.mask)
        if (image, mask) in pairs or (entry.split == "train" and tested & {image, mask}):
            copies.append(entry.image.name)
            continue
        pairs.add((image, mask))
        if entry.split == "test":
            contents = ((image, sample.image), (mask, sample.mask))
            tested |= {digest for digest, array in contents if array is not None and np.ptp(array)}  # not: empty masks
        yield sample
    if unreadable:
        warnings.warn(f"{data}: {len(unreadable)} unreadable files left out ({_some(unreadable)})", stacklevel=2)
    if copies:
        warnings.warn(f"{data}: {len(copies)} copies of other images or masks left out ({_some(copies)})", stacklevel=2)
    if lungless:
        warnings.warn(
            f"{data}: {len(lungless)} of {len(entries)} images: lungs not found, normalised by the whole frame ({_some(lungless)})",
            stacklevel=2,
        )
    if unreadable and not pairs:
        raise InputError(
            f"{data}: none of its {len(unreadable)} images could be read; run without --skip_bad_files to see why"
        )


def _digest(array):
    if array is None:
        return None
    return hashlib.sha256(repr((array.shape, array.dtype)).encode() + array.tobytes()).digest()


def _kind_name(dtype, channels):
    return f"{'16' if dtype == np.uint16 else '8'}-bit {'grey' if channels == 1 else 'colour'}"


def _some(names, most=3):
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
