"""A run's folder: one run at a time works in it, and its flags.json says which settings made what lies there."""

import contextlib
import fcntl
import json
import os
import shutil
from pathlib import Path

from synthmed_tf.records.atomic import write_json
from synthmed_tf.records.manifest import read_manifest
from synthmed_tf.sample import InputError

# Settings that may differ when a command is run again: how far to go and where things lie, not what is computed
_FREE_TO_CHANGE = {
    "steps",
    "num_samples",
    "label_distribution",
    "hash_filter",
    "data_dir",
    "out_dir",
    "checkpoint",
}


def read(folder):
    """The settings that an earlier run left in folder/flags.json.

    Raises:
      InputError: there are none, or they cannot be read.
    """
    path = Path(folder) / "flags.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path}: not there; run train_stage1.py and then train_stage2.py with the same --out_dir first"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); run that script again with --overwrite") from None
    if not isinstance(settings, dict):
        raise InputError(f"{path}: holds no settings; run that script again with --overwrite")
    return settings


@contextlib.contextmanager
def claim(folder, settings, overwrite=False):
    """Holds `folder` for one run at a time and keeps its flags.json.

    A run that is there goes on if `settings` agree with its flags.json in all that decides the result. With `overwrite`
    what is there is removed first.

    Raises:
      InputError: another process works in the folder, its files are not a run's, the settings differ (the message names
        them), or the path holds a "[" or a backslash, which TensorFlow takes for a pattern when it reads a checkpoint.
    """
    if {"[", "\\"} & {*str(folder)}:
        raise InputError(
            f"{folder}: TensorFlow reads no checkpoint below a folder with [ or \\ in its name; give another"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{folder}: another run is working here; wait for it, or give another --out_dir") from None
        for unfinished in folder.glob("flags.json.*.tmp"):  # of a run that was killed
            unfinished.unlink()
        entries, flags = [entry for entry in folder.iterdir() if entry.name != ".lock"], folder / "flags.json"
        if entries and not flags.exists():
            raise InputError(
                f"{folder} holds files that are not of a run of this program; move them, or give another folder"
            )
        if overwrite:
            for entry in sorted(entries, key=flags.__eq__):  # flags.json, which says whose the folder is, comes last
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        kept = {name: value for name, value in settings.items() if name not in ("given", "overwrite", "dry_run")}
        kept = json.loads(json.dumps(kept))  # lists for tuples
        if flags.exists():
            _check_settings(flags, kept)
        write_json(flags, kept)
        yield


def _check_settings(flags, new):
    """Raises InputError if settings differ from those in flags.json in more than may change."""
    try:
        old = json.loads(flags.read_text(encoding="utf-8"))
    except ValueError:
        raise InputError(f"{flags}: not readable as JSON; --overwrite starts this folder again") from None
    if os.sep in str(old.get("data")):
        old["data"] = os.path.realpath(old["data"])  # new names no links
    changed = [
        f"{name} was {old.get(name)!r} and is now {new.get(name)!r}"
        for name in sorted((old.keys() | new.keys()) - _FREE_TO_CHANGE)
        if old.get(name) != new.get(name)
    ]
    if changed:
        raise InputError(
            f"{flags.parent} holds a run with other settings: {'; '.join(changed)}. Give those again, another "
            "--out_dir, or --overwrite"
        )


def is_current(folder, count, **checkpoints):
    """Whether `folder` holds `count` samples whose manifest has these entries (SHA-256 of checkpoints)."""
    if not (folder / "manifest.json").exists():
        return False
    manifest = read_manifest(folder)
    return sum(manifest["counts"].values()) == count and all(
        manifest.get(key) == value for key, value in checkpoints.items()
    )
