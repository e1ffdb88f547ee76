"""Synthetic sets of other programs: folders of image files, and TFDS folders whose images differ in size."""

import collections
import tempfile
import warnings
from pathlib import Path

from synthmed_tf.datasets import sources
from synthmed_tf.datasets.entries import read_entry
from synthmed_tf.datasets.inspect import look_at
from synthmed_tf.datasets.prepare import crop_sample
from synthmed_tf.progress import show_progress
from synthmed_tf.records.read import Records
from synthmed_tf.records.write import write_records
from synthmed_tf.sample import InputError


def is_of_files(folder):
    """Whether a synthetic set is a folder of image files: neither this program's nor one of TFDS."""
    return folder.is_dir() and not any((folder / name).exists() for name in ("manifest.json", "features.json"))


def open_synthetic(folder):
    """The records.Records of a synthetic set, whoever made it.

    Image files, in the layouts of docs/DATA.md, and images of several sizes become records in a temporary folder. The
    most frequent size counts; a warning counts the others, which are resized. All splits are one. Copies stay.

    Raises:
      InputError: what `list_entries` and `look_at` raise, no image, or what Records raises.
    """
    if is_of_files(folder):
        return _write(folder, *_open_files(folder))
    records = Records(folder)
    shape = records.features.get("image", {}).get("shape", ())
    if records.manifest is None and None in shape[:2]:
        return _write(folder, [sample.image.shape[:2] for sample in records], records, records.class_names)
    return records


def _open_files(folder):
    """[(height, width)] of the images in a folder, an iterator over their native Samples, names of classes or None."""
    table = folder / "index.csv"  # as publishing/png_files.py writes it
    has_labels = table.is_file() and "label" in table.read_text(errors="replace").partition("\n")[0].split(",")
    listed = sources.list_entries(str(folder), "", "label" if has_labels else None)
    entries = [entry._replace(split="train") for entry in listed]
    if not entries:
        raise InputError(f"{folder}: holds no images; give the folder of a synthetic set")
    seen, pixel_range = look_at(str(folder), entries, {})
    names = sorted({entry.label for entry in entries} - {None}) or None
    samples = (read_entry(entry, "train", pixel_range) for entry in entries)
    return [(facts.image.height, facts.image.width) for facts in seen], samples, names


def _write(folder, sizes, samples, class_names):
    """Writes Samples whose images have `sizes` as records of one size."""
    counts = collections.Counter(sizes)
    size, usual = max(counts.items(), key=lambda item: (item[1], item[0]))
    if usual < len(sizes):
        warnings.warn(
            f"{folder}: {len(sizes) - usual} of {len(sizes)} images do not have {size[1]}x{size[0]} pixels, and are "
            "resized to it",
            stacklevel=3,
        )
    samples = show_progress(samples, f"reading {folder.name}", total=len(sizes), unit="image", delay=2)
    samples = (sample if sample.image.shape[:2] == size else crop_sample(sample, size) for sample in samples)
    temporary = tempfile.TemporaryDirectory(prefix="synthmed-")
    place = Path(temporary.name) / "synthetic"
    name = folder.resolve().name or "synthetic"
    write_records(place, name, samples, source="files of another program", class_names=class_names)
    records = Records(place)
    records.temporary = temporary  # which vanishes with them
    return records
