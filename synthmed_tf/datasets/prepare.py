"""Samples -> prepared records: cropped to the field of view, resized, split, as TFRecords."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import re
import tempfile
from pathlib import Path

import joblib
import numpy as np
from PIL import Image
from tqdm import tqdm

from synthmed_tf import datasets, records
from synthmed_tf.images import crop_resize, crop_resize_mask, frame_box
from synthmed_tf.radiographs import hull_sheet
from synthmed_tf.sample import InputError, Sample

SHEET_IMAGES = 12  # radiographs whose lungs are drawn for a person to check
LEFT_OUT = "left out"  # how a manifest's test_split begins if test images lack masks that training images have
DRAWN = "every fifth", "a fifth", *map(str, range(1, 10))  # how it begins if the split is ours; of holdout a number
FEW = 200  # images that one process prepares before others have started
VERSION = 2  # part of the folder's hash: raise it whenever the same raw files are prepared differently


def prepare(
    data,
    data_dir,
    size,
    *,
    out_dir,
    labels=None,
    chest_xrays=False,
    holdout=0,
    skip_bad_files=False,
    overwrite=False,
    seed=0,
    dry_run=False,
    processes=None,
):
    """Prepares a data set, or finds that it has been prepared.

    The folder's name ends in a hash of the raw files and of the arguments that change the result: new files or another
    split give another folder. Beside it, .NAME-files.json says what was read of each raw file, so that it is not read
    again while it stays as it is.

    Args:
      data, data_dir, labels, chest_xrays, holdout, skip_bad_files, seed: as for `datasets.load`.
      size: (height, width) in pixels.
      out_dir: the folder goes to out_dir/prepared if data_dir cannot be written.
      overwrite: prepare anew what is there.
      dry_run: write nothing, and read no file that has not been read before but the first training image.
      processes: how many read and resize the images; None: one for each core, and this one alone for a few images.
        What is written does not depend on it.

    Returns:
      Path of the records: data_dir/prepared/NAME-HxW-HASH with the splits train and test. Its manifest has, beyond the
      usual, data, data_dir, fingerprint, holdout, fields_of_view ("as shipped", "estimated" or "none") and test_split
      (how it was made; a test split that lacks the masks of the training split is left out, and test_split says so),
      labels and chest_xrays where they were given, and radiographs where the images are X-rays normalised by their
      lungs. Samples of sets without masks have none; class names are in sorted order, numbers in them by size. Samples keep their group in labelled sets, and where several are of one
      group. Of radiographs PLACE-lungs.png shows the lungs that were found. With dry_run the Plan of it, unless it has
      been prepared.

    Raises:
      InputError: what `datasets.load` raises, no training image, or neither folder can be written.
    """
    name = datasets.name_of(data)
    bases = [Path(base, "prepared") for base in (data_dir, out_dir)]
    memory = f".{name}-files.json"
    known = _files_read(bases[1] / memory) | _files_read(bases[0] / memory)
    listed = datasets.list_entries(data, data_dir, labels)
    if known or data in datasets.BUILT_IN or not dry_run:  # else nothing of it has been prepared
        fingerprint = datasets.fingerprint(data, data_dir, labels, known, listed)
        facts = [
            VERSION,
            *size,
            fingerprint,
            holdout,
            skip_bad_files,
            seed if holdout else 0,
            *["chest_xrays"] * bool(chest_xrays),
        ]
        folder = f"{name}-{size[0]}x{size[1]}-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:8]}"
        places = [base / folder for base in bases]
        for place in [] if overwrite else places:
            if _is_prepared(place):
                if not dry_run:
                    _remember(place.with_name(memory), known)
                return place

    entries = datasets.split_entries(data, data_dir, holdout, seed, labels, listed)
    counts, class_names, keep_groups, extra = _describe(data, listed, entries, holdout)
    options = {
        "chest_xrays": chest_xrays,
        "skip_bad_files": skip_bad_files,
        "then": functools.partial(crop_sample, size=size),
    }
    if dry_run:
        training = [entry for entry in entries if entry.split == "train"]
        first = next(datasets.load(data, data_dir, entries=training, **options))
        return Plan(name, entries, first, extra | {"counts": counts, "class_names": class_names})
    place = places[0]
    if not _is_writable(place.parent.absolute()):
        place = places[1]
        print(f"{data_dir} cannot be written, so the prepared data go to {place}; they are as private", flush=True)
    extra |= {"data": str(data), "data_dir": str(data_dir), "fingerprint": fingerprint, "holdout": holdout}
    extra |= {} if labels is None else {"labels": labels}
    extra |= {"chest_xrays": True} if chest_xrays else {}
    radiographs = chest_xrays or any(entry.is_radiograph for entry in entries)
    extra |= {"radiographs": True} if radiographs else {}
    source = f"{data}; fields of view: {extra['fields_of_view']}; test split: {extra['test_split']}"
    processes = processes or (1 if len(entries) < FEW else joblib.cpu_count())
    with contextlib.closing(datasets.load(data, data_dir, entries=entries, processes=processes, **options)) as samples:
        progress = tqdm(samples, desc=f"preparing {name}", unit="image", total=len(entries))
        records.write(
            place,
            name,
            (sample for sample in progress if counts.get(sample.split)),
            source=source,
            extra=extra,
            class_names=class_names,
            keep_groups=keep_groups,
        )
    _remember(place.with_name(memory), known)
    if radiographs:
        _draw_lungs(place)
    return place


class Plan(list):
    """What a dry run knows of the training split of a set that is not prepared: its Samples without pictures.

    Attributes:
      folder, manifest, features, class_names: as of `records.Records`, with what is known. Counts are those of the list of
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


def training_split(*arguments, **options):
    """Prepares a data set, or plans it (dry_run): the `records.Records` of its training split, or the Plan of it.

    Arguments are those of `prepare`.
    """
    prepared = prepare(*arguments, **options)
    return prepared if isinstance(prepared, Plan) else records.Records(prepared, "train")


def check_split(learned, manifest, names=None):
    """Refuses held-out images that a generator may have learned from: where no split comes with a set, it is drawn from
    the images that are there, and other images or another holdout give another one.

    Args:
      learned: what the synthetic set's manifest says of the real set that was learned from.
      manifest: of the real set now.
      names: (of the prepared folder then, now), where the former is known.

    Raises:
      InputError: the message says what differs.
    """
    if not any(each.get("test_split", "").startswith(DRAWN) for each in (learned, manifest)):
        return
    changed = [
        f"{key} was {learned[key]!r} and is now {manifest[key]!r}"
        for key in ("holdout", "test_split", "counts")
        if key in learned and learned[key] != manifest[key]
    ]
    if names and names[0] != names[1]:
        changed.append(f"its files are others ({names[0]}, now {names[1]})")
    if changed:
        raise InputError(
            f"{manifest['name']}: not the real set that was learned from: {'; '.join(changed)}. So what is held out now may "
            "have been learned from. Give the set, --holdout and --labels as they were, or run all three scripts again"
        )


def _files_read(path):
    """What `_remember` wrote: {absolute path: [size, time, SHA-256]}; {} if it is not there or says something else."""
    try:
        return {
            name: list(facts) for name, facts in json.loads(path.read_text(encoding="utf-8")).items() if len(facts) == 3
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _remember(path, known):
    if known != _files_read(path) and _is_writable(path.parent.absolute()):
        records.write_json(path, known)


def _draw_lungs(place):
    """Writes PLACE-lungs.png, as private as the folder: the hulls of the lungs of some radiographs at even steps."""
    samples = records.Records(place)
    steps = sorted({round(i) for i in np.linspace(0, len(samples) - 1, SHEET_IMAGES)})
    picture = place.with_name(f"{place.name}-lungs.png")
    temporary = picture.with_name(f".{picture.name}.{os.getpid()}")
    try:
        Image.fromarray(hull_sheet([samples[i].image for i in steps])).save(temporary, "PNG")
        os.replace(temporary, picture)
    except OSError as error:
        raise InputError(f"{picture}: could not be written ({error.strerror}); free space on the disk") from error
    finally:
        temporary.unlink(missing_ok=True)
    print(f"the lungs that brightness was normalised by, to be checked by eye: {picture} (private)", flush=True)


def crop_sample(sample, size):
    """Crops a Sample to its field of view and resizes it.

    Without a field of view the whole frame is resized to the size asked for, whatever its aspect ratio, as P2 § 2.1
    resized X-rays to 512x512 pixels: black borders would be a part of every picture's brightness, and of what a GAN has
    to learn.

    Args:
      sample: at native resolution.
      size: (height, width) in pixels.

    Returns:
      Sample of that size; second_mask None. `frame_box` gives the crop's place again.
    """
    box = frame_box(*sample.image.shape[:2], size, sample.field_of_view)
    mask, field = sample.mask, sample.field_of_view
    return dataclasses.replace(
        sample,
        image=crop_resize(sample.image, box, size),
        mask=None if mask is None else crop_resize_mask(mask, box, size),
        field_of_view=None if field is None else (crop_resize(field * np.uint8(255), box, size) > 127).astype(np.uint8),
        second_mask=None,
    )


def _describe(data, listed, entries, holdout):
    """({split: number of images to be written}, class names or None, whether groups are kept, manifest entries).

    All that is known from the list of files alone: what `datasets.list_entries` and `split_entries` returned.

    Raises:
      InputError: no training image, or some samples with and some without a field of view.
    """
    labelled = datasets.is_labelled(entries)
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
        test = ("official" if data in datasets.DATASETS else "the folder's own") if has_split else drawn
    class_names = sorted({entry.label for entry in entries if entry.label is not None}, key=_by_numbers)
    keep_groups = labelled or len({entry.group for entry in entries}) < len(entries)
    return counts, class_names or None, keep_groups, {"fields_of_view": fields, "test_split": test}


def _by_numbers(name):
    """Sorts "female 5-9" before "female 10-20"."""
    return [int(part) if index % 2 else part for index, part in enumerate(re.split(r"(\d+)", name))]


def _is_prepared(place):
    """Whether records are there and whole; damaged ones are prepared anew."""
    try:
        records.Records(place)
    except InputError:
        return False
    return True


def _is_writable(folder):
    """Whether files can be made in a folder, which is made too. One without write bits is read-only, to root too."""
    existing = next((path for path in (folder, *folder.parents) if path.exists()), None)
    try:
        if existing and not existing.stat().st_mode & 0o222:
            return False
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True
