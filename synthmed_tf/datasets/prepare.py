"""Samples -> prepared records: cropped to the field of view, resized, split, as TFRecords.

Beyond what every manifest has, theirs has
  data, data_dir, fingerprint: the raw files. labels, group_column, chest_xrays: where they were given.
  holdout: the number of groups held out. holdout_seed: what drew them, unless that number is 0.
  test_split: how it was made, or why it was left out. fields_of_view: "as shipped", "estimated" or "none".
  pixel_range: PixelRange of the set. look: the lines that were printed of its files. mask_foreground: where given.
  radiographs: where brightness was normalised by the lungs.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import tempfile
from functools import partial
from pathlib import Path

import joblib
import numpy as np
from PIL import Image

from synthmed_tf.datasets.fingerprint import fingerprint_set
from synthmed_tf.datasets.inspect import look_at
from synthmed_tf.datasets.load import load_samples
from synthmed_tf.datasets.plan import Plan, describe
from synthmed_tf.datasets.sources import BUILT_IN, DATASETS, get_set_name, list_entries
from synthmed_tf.datasets.split import split_entries, warn_of_few
from synthmed_tf.datasets.summary import summarise
from synthmed_tf.images.lungs import draw_hull_sheet
from synthmed_tf.images.resize import crop_resize, crop_resize_mask, fit_box
from synthmed_tf.progress import show_progress
from synthmed_tf.records.atomic import write_json
from synthmed_tf.records.manifest import read_manifest
from synthmed_tf.records.read import Records
from synthmed_tf.records.write import write_records
from synthmed_tf.sample import InputError

SHEET_IMAGES = 12  # X-rays whose lungs are drawn for a person to check
FEW = 200  # images that one process prepares before others have started
VERSION = 3  # part of the folder's hash: raise it whenever the same raw files are prepared differently


def prepare(
    data,
    data_dir,
    size,
    *,
    out_dir,
    labels=None,
    group_column=None,
    chest_xrays=False,
    mask_foreground=None,
    holdout=0,
    skip_bad_files=False,
    overwrite=False,
    seed=0,
    dry_run=False,
):
    """Prepares a data set, or finds that it has been prepared.

    The folder's name ends in a hash of the raw files and of the arguments that change the result: new files or another
    split give another folder. Beside it, .NAME-files.json says what was read of each raw file, so that it is not read
    again while it stays as it is.

    Args:
      data, data_dir, labels, group_column, chest_xrays, mask_foreground, holdout, skip_bad_files, seed: as for
        `load_samples`.
      size: (height, width) in pixels. overwrite: prepare again what is there.
      out_dir: the folder goes to out_dir/prepared if data_dir cannot be written.
      dry_run: write nothing, and read no more files that have not been read before than `inspect.look_at` does.

    Returns:
      Path of the records: data_dir/prepared/NAME-HxW-HASH with the splits train and test. Beside it lies
      NAME-HxW-HASH-lungs.png where brightness was normalised by the lungs, which it shows. With dry_run the Plan of
      the records, unless they are there. Samples of sets without masks have none. Samples keep their group in labelled
      sets, and where several are of one group. Class names are in sorted order, numbers in them by size.

    Raises:
      InputError: what `look_at` and `load_samples` raise, no training image, or neither folder can be written.
    """
    if mask_foreground and data in DATASETS:
        raise InputError(
            f"--mask_foreground={mask_foreground}: {data} is read as what it is; allowed is the flag with a folder of "
            "your own; leave it out"
        )
    name = get_set_name(data)
    bases = [Path(base, "prepared") for base in (data_dir, out_dir)]
    memory = f".{name}-files.json"
    hashed = _read_hashes(bases[1] / memory) | _read_hashes(bases[0] / memory)
    listed = list_entries(data, data_dir, labels, group_column)
    if hashed or data in BUILT_IN or not dry_run:  # else nothing of it has been prepared
        fingerprint = fingerprint_set(data, data_dir, labels, hashed, listed)
        choices = [*["chest_xrays"] * bool(chest_xrays), *[mask_foreground] * (mask_foreground == "dark")]
        folder = _name_folder(name, size, fingerprint, holdout, skip_bad_files, seed, choices)
        place = None if overwrite else next((base / folder for base in bases if _is_prepared(base / folder)), None)
        if place:
            if dry_run:
                print("\n".join(read_manifest(place).get("look", [])))
            else:
                _remember(place.with_name(memory), hashed)
            return place
    entries = split_entries(data, data_dir, holdout, seed, labels, listed)
    described = describe(data, listed, entries, holdout)
    options = {"chest_xrays": chest_xrays, "skip_bad_files": skip_bad_files, "mask_foreground": mask_foreground}
    extra = _look(data, name, entries, described, hashed, options, dry_run) if data not in BUILT_IN else {}
    warn_of_few(data, entries, is_drawn=bool(holdout) or listed[0].split is None)
    options |= {"pixel_range": extra.get("pixel_range"), "then": partial(crop_sample, size=size)}
    if dry_run:
        return _plan(name, data, data_dir, described, entries, options)
    place = _choose_base(bases, data_dir) / folder
    extra |= {"data": str(data), "data_dir": str(data_dir), "fingerprint": fingerprint, "holdout": holdout}
    extra |= {"holdout_seed": seed} if holdout else {}
    chosen = {"labels": labels, "group_column": group_column, "mask_foreground": mask_foreground}
    extra |= {name: value for name, value in chosen.items() if value is not None}
    _write(place, name, described, extra, entries, options)
    _remember(place.with_name(memory), hashed)
    return place


def _look(data, name, entries, described, hashed, options, dry_run):
    """Looks at the files and prints what was seen. Returns manifest entries. Arguments are those of `look_at`."""
    changes = {"is_xray": True} if options["chest_xrays"] else {}
    changes |= {"is_dark_foreground": True} if options["mask_foreground"] == "dark" else {}
    entries = [entry._replace(**changes) for entry in entries]
    flags = {key: options[key] for key in ("mask_foreground", "skip_bad_files")}
    processes = 1 if len(entries) < FEW else joblib.cpu_count()
    seen, pixel_range = look_at(data, entries, hashed, **flags, dry_run=dry_run, processes=processes)
    lines = summarise(data, name, entries, described, seen, pixel_range)
    print("\n".join(lines), flush=True)
    return {"pixel_range": list(pixel_range), "look": lines}


def _plan(name, data, data_dir, described, entries, options):
    training = [entry for entry in entries if entry.split == "train"]
    first = next(load_samples(data, data_dir, entries=training, **options))
    return Plan(name, entries, first, described)


def _name_folder(name, size, fingerprint, holdout, skip_bad_files, seed, choices):
    facts = [VERSION, *size, fingerprint, holdout, skip_bad_files, seed if holdout else 0, *choices]
    return f"{name}-{size[0]}x{size[1]}-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:8]}"


def prepare_training_split(*arguments, **options):
    """Prepares a data set, or plans it (dry_run): the `Records` of its training split, or the Plan of it.

    Arguments are those of `prepare`.
    """
    prepared = prepare(*arguments, **options)
    return prepared if isinstance(prepared, Plan) else Records(prepared, "train")


def _choose_base(bases, data_dir):
    """The first of two folders if files can be made there, else the second."""
    if _is_writable(bases[0].absolute()):
        return bases[0]
    print(f"{data_dir} cannot be written, so the prepared data go to {bases[1]}; they are as private", flush=True)
    return bases[1]


def _write(place, name, described, extra, entries, options):
    """Reads, crops and writes the entries, and draws the lungs that X-rays are normalised by.

    Args:
      described: see `plan.describe`. extra: manifest entries. options: arguments of `load_samples`.
    """
    extra = {"fields_of_view": described.fields_of_view, "test_split": described.test_split} | extra
    has_lungs = options["chest_xrays"] or any(entry.is_xray for entry in entries)
    extra |= {"chest_xrays": True} if options["chest_xrays"] else {}
    extra |= {"radiographs": True} if has_lungs else {}
    processes = 1 if len(entries) < FEW else joblib.cpu_count()
    samples = load_samples(extra["data"], extra["data_dir"], entries=entries, processes=processes, **options)
    with contextlib.closing(samples):
        progress = show_progress(samples, desc=f"preparing {name}", unit="image", total=len(entries))
        write_records(
            place,
            name,
            (sample for sample in progress if described.counts.get(sample.split)),
            source=f"{extra['data']}; fields of view: {extra['fields_of_view']}; test split: {extra['test_split']}",
            extra=extra,
            class_names=described.class_names,
            keep_groups=described.keeps_groups,
        )
    if has_lungs:
        _draw_lungs(place)


def _read_hashes(path):
    """What `_remember` wrote: {absolute path: [size, time, SHA-256, perhaps what `look_at` saw]}; else {}."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {name: list(facts) for name, facts in content.items() if 3 <= len(facts) <= 4}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _remember(path, hashed):
    if hashed != _read_hashes(path) and _is_writable(path.parent.absolute()):
        write_json(path, hashed)


def _draw_lungs(place):
    """Writes PLACE-lungs.png, as private as the folder: the hulls of the lungs of some X-rays at even steps."""
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
    """Whether records are there and whole; damaged ones are prepared again."""
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
