"""Files and folders that appear on the disk whole or not at all."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import socket

from synthmed_tf.sample import InputError


def make_temporary(folder):
    """Makes the hidden folder to write to, and clears away what killed writers of the same folder left behind."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file, a folder is to be made there; move it, or choose another --out_dir")
    marks = ("manifest.json", "features.json", "dataset_info.json")
    if folder.is_dir() and any(folder.iterdir()) and not any((folder / mark).exists() for mark in marks):
        raise InputError(f"{folder} holds files that are not a data set; move them, or choose another --out_dir")
    folder.parent.mkdir(parents=True, exist_ok=True)
    host = socket.gethostname()
    pattern = re.compile(re.escape(f".{folder.name}.") + "(new|old)-" + re.escape(host) + r"-(\d+)")
    for path in list(folder.parent.iterdir()):
        match = pattern.fullmatch(path.name)
        if not match or (int(match[2]) != os.getpid() and _is_running(int(match[2]))):
            continue
        if match[1] == "old" and not folder.exists():  # killed between the two renames of swap_in
            os.rename(path, folder)
        else:
            shutil.rmtree(path, ignore_errors=True)
    temporary = folder.with_name(f".{folder.name}.new-{host}-{os.getpid()}")
    temporary.mkdir()
    return temporary


def _is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def swap_in(temporary, folder):
    """Puts `temporary` in the place of `folder`; the old one goes only when the new one stands."""
    old = temporary.with_name(temporary.name.replace(".new-", ".old-"))
    if folder.exists():
        os.rename(folder, old)
    try:
        os.rename(temporary, folder)
    except OSError:
        if old.exists():
            os.rename(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def report_disk_errors(folder):
    """Turns what the operating system or TensorFlow says about a failed write into an InputError."""
    import tensorflow as tf

    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
        raise InputError(
            f"{folder}: could not be written ({' '.join(str(reason).split())}); what was there before is unchanged: "
            "free space on the disk, or choose another --out_dir (prepared data: --data_dir)"
        ) from error


def write_text(path, text):
    """Writes text in UTF-8; it is on the disk when this returns."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_json(path, value):
    """Writes JSON as `replace_text` does."""
    replace_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def replace_text(path, text):
    """Writes text so that the file is either the old one or the new one, never half of it.

    Raises:
      InputError: it could not be written; the disk is full, for one.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with report_disk_errors(path):
            write_text(temporary, text)
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def hash_file(path, sync=False):
    """SHA-256 of a file, in hexadecimal digits; with sync the file is on the disk then."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
        if sync:
            os.fsync(file.fileno())
    return digest.hexdigest()
