"""A run's folder: one run at a time works in it, and its flags.json says which settings made what lies there."""

import contextlib
import fcntl
import json
import os
import re
import shutil
import warnings
from pathlib import Path

from synthmed_tf.records.atomic import write_json
from synthmed_tf.records.read import Records
from synthmed_tf.sample import InputError

# Settings that may differ when a command is run again: how far to go and where things lie, not what is computed
FREE_TO_CHANGE = {
    "steps",
    "num_samples",
    "label_distribution",
    "hash_filter",
    "data_dir",
    "out_dir",
    "checkpoint",
}
UNFINISHED = re.compile(r"flags\.json\..*\.tmp")  # what a killed run may leave


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
    what is there is removed first. On a file system without locks a warning says so.

    Raises:
      InputError: another process works in the folder, its files are not a run's, the settings differ (the message names
        them), or the path holds a "[" or a backslash, which TensorFlow takes for a pattern when it reads a checkpoint.
    """
    check(folder, settings, overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{folder}: another run is working here; wait for it, or give another folder") from None
        except OSError:
            warnings.warn(f"{folder}: no locks on this file system; run one command at a time there", stacklevel=3)
        for unfinished in folder.iterdir():  # of a run that was killed
            if UNFINISHED.fullmatch(unfinished.name):
                unfinished.unlink()
        entries, flags = _list_entries(folder), folder / "flags.json"
        if overwrite:
            for entry in sorted(entries, key=flags.__eq__):  # flags.json, which says whose the folder is, comes last
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        write_json(flags, _keep(settings))
        yield


def check(folder, settings, overwrite=False):
    """Raises the InputErrors of `claim`, but that of another process; changes nothing."""
    if {"[", "\\"} & {*str(folder)}:
        raise InputError(
            f"{folder}: TensorFlow reads no checkpoint below a folder with [ or \\ in its name; give another"
        )
    flags = folder / "flags.json"
    if not folder.is_dir():
        return
    if _list_entries(folder) and not flags.exists():
        raise InputError(
            f"{folder} holds files that are not of a run of this program; move them, or give another folder"
        )
    if flags.exists() and not overwrite:
        _check_settings(flags, _keep(settings))


def _list_entries(folder):
    return [entry for entry in folder.iterdir() if entry.name != ".lock" and not UNFINISHED.fullmatch(entry.name)]


def _keep(settings):
    """What flags.json holds of settings; lists for tuples, as JSON has them."""
    kept = {name: value for name, value in settings.items() if name not in ("given", "overwrite", "dry_run")}
    return json.loads(json.dumps(kept))


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
        for name in sorted((old.keys() | new.keys()) - FREE_TO_CHANGE)
        if old.get(name) != new.get(name)
    ]
    if changed:
        raise InputError(
            f"{flags.parent} holds a run with other settings: {'; '.join(changed)}. Give those again, another "
            "--out_dir, or --overwrite"
        )


def is_current(folder, count, **checkpoints):
    """Whether `folder` holds `count` whole samples whose manifest has these entries (SHA-256 of checkpoints)."""
    try:
        manifest = Records(folder).manifest
    except InputError:  # not there, or damaged
        return False
    return sum(manifest["counts"].values()) == count and all(
        manifest.get(key) == value for key, value in checkpoints.items()
    )
