"""Whether the raw files of a data set are what they were."""

import hashlib
import os
from pathlib import Path

from synthmed_tf.datasets.sources import BUILT_IN, DATASETS, list_entries
from synthmed_tf.progress import show_progress
from synthmed_tf.records.atomic import hash_file


def fingerprint_set(data, data_dir, labels=None, hashed=None, entries=None):
    """12 hexadecimal digits that change when an image or mask comes, goes or changes, or a label.

    In labelled sets, and where a table tells it, also when a group or an own split changes. A copy of a set, elsewhere
    or of another time, has the same.

    Args:
      data, data_dir, labels: as for `load_samples`.
      hashed: dict {absolute path: [size, time, SHA-256]} of files that have been read before; brought up to date. One
        whose size and time are the same is not read again.
      entries: what `list_entries` returned, if that is known.
    """
    entries = list_entries(data, data_dir, labels) if entries is None else entries
    if data in BUILT_IN:
        facts = [f"{BUILT_IN[data].VERSION} {BUILT_IN[data].COUNT}"]
    else:
        root = Path(data_dir) if data in DATASETS else Path(data)
        fields = ("image", "mask", "field_of_view", "second_mask")
        files = [getattr(entry, field) for entry in entries for field in fields]
        digests = _hash_files(
            {os.path.relpath(file.path, root): file.path for file in files if file}, {} if hashed is None else hashed
        )
        facts = [f"{name} {digests[name]}" for name in sorted(digests)]
    for entry in entries:
        if entry.label is not None:
            facts.append(f"{entry.id} {entry.label}" + ("" if entry.is_fundus else f" {entry.group} {entry.split}"))
        elif entry.is_from_table:
            facts.append(f"{entry.id} {entry.group} {entry.split}")
    text = "\n".join([data if data in DATASETS else "folder", *facts])
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:12]


def _hash_files(paths, hashed):
    """{name: SHA-256} for {name: path}; "unreadable" where a file cannot be read. hashed: see `fingerprint_set`."""
    digests = {}
    for name, path in show_progress(paths.items(), "looking for changes", unit="file", delay=2):
        try:
            stat = path.stat()
            stamp, place = [stat.st_size, stat.st_mtime_ns], os.path.abspath(path)
            if hashed.get(place, [])[:2] != stamp:
                hashed[place] = [*stamp, hash_file(path)]
            digests[name] = hashed[place][2]
        except OSError:
            digests[name] = "unreadable"
    return digests
