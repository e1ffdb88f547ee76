"""Samples -> prepared records: cropped to the field of view, resized, split, as TFRecords."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import tempfile
from pathlib import Path

import joblib
import numpy as np
from PIL import Image

from synthmed_tf.datasets.fingerprint import fingerprint_set
from synthmed_tf.datasets.load import load_samples
from synthmed_tf.datasets.plan import Plan, describe
from synthmed_tf.datasets.sources import BUILT_IN, get_set_name, list_entries
from synthmed_tf.datasets.split import split_entries
from synthmed_tf.images.lungs import draw_hull_sheet
from synthmed_tf.images.resize import crop_resize, crop_resize_mask, fit_box
from synthmed_tf.progress import show_progress
from synthmed_tf.records.atomic import write_json
from synthmed_tf.records.read import Records
from synthmed_tf.records.write import write_records
from synthmed_tf.sample import InputError

SHEET_IMAGES = 12  # radiographs whose lungs are drawn for a person to check
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
      data, data_dir, labels, chest_xrays, holdout, skip_bad_files, seed: as for `load_samples`.
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
      InputError: what `load_samples` raises, no training image, or neither folder can be written.
    """
    name = get_set_name(data)
    bases = [Path(base, "prepared") for base in (data_dir, out_dir)]
    memory = f".{name}-files.json"
    known = _files_read(bases[1] / memory) | _files_read(bases[0] / memory)
    listed = list_entries(data, data_dir, labels)
    if known or data in BUILT_IN or not dry_run:  # else nothing of it has been prepared
        fingerprint = fingerprint_set(data, data_dir, labels, known, listed)
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

    entries = split_entries(data, data_dir, holdout, seed, labels, listed)
    counts, class_names, keep_groups, extra = describe(data, listed, entries, holdout)
    options = {
        "chest_xrays": chest_xrays,
        "skip_bad_files": skip_bad_files,
        "then": functools.partial(crop_sample, size=size),
    }
    if dry_run:
        training = [entry for entry in entries if entry.split == "train"]
        first = next(load_samples(data, data_dir, entries=training, **options))
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
    with contextlib.closing(load_samples(data, data_dir, entries=entries, processes=processes, **options)) as samples:
        progress = show_progress(samples, desc=f"preparing {name}", unit="image", total=len(entries))
        write_records(
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


def prepare_training_split(*arguments, **options):
    """Prepares a data set, or plans it (dry_run): the `Records` of its training split, or the Plan of it.

    Arguments are those of `prepare`.
    """
    prepared = prepare(*arguments, **options)
    return prepared if isinstance(prepared, Plan) else Records(prepared, "train")


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
        write_json(path, known)


def _draw_lungs(place):
    """Writes PLACE-lungs.png, as private as the folder: the hulls of the lungs of some radiographs at even steps."""
    samples = Records(place)
    steps = sorted({round(i) for i in np.linspace(0, len(samples) - 1, SHEET_IMAGES)})
    picture = place.with_name(f"{place.name}-lungs.png")
    temporary = picture.with_name(f".{picture.name}.{os.getpid()}")
    try:
        Image.fromarray(draw_hull_sheet([samples[i].image for i in steps])).save(temporary, "PNG")
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
    box = fit_box(*sample.image.shape[:2], size, sample.field_of_view)
    mask, field = sample.mask, sample.field_of_view
    return dataclasses.replace(
        sample,
        image=crop_resize(sample.image, box, size),
        mask=None if mask is None else crop_resize_mask(mask, box, size),
        field_of_view=None if field is None else (crop_resize(field * np.uint8(255), box, size) > 127).astype(np.uint8),
        second_mask=None,
    )


def _is_prepared(place):
    """Whether records are there and whole; damaged ones are prepared anew."""
    try:
        Records(place)
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
