"""Samples -> a data set folder of TFRecords.

A data set on disk is a TensorFlow Datasets folder (features.json, dataset_info.json, label.labels.txt and
NAME-SPLIT.tfrecord-00000-of-0000N) with a manifest.json beside it. So `tfds.builder_from_directory(folder)` reads it
without this project, and this project reads it without tensorflow_datasets.
"""

import contextlib
import dataclasses
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np

from synthmed_tf.records.atomic import hash_file, make_temporary, report_disk_errors, swap_in, write_text
from synthmed_tf.records.manifest import SCHEMA_VERSION, find_git_commit, list_versions
from synthmed_tf.records.schema import check_fits, find_features
from synthmed_tf.records.tfds import describe_dataset, describe_features
from synthmed_tf.sample import InputError


def write_records(
    folder, name, samples, *, source, extra=None, class_names=None, keep_groups=False, shard_bytes=64 * 2**20
):
    """Writes Samples as a data set folder, whole or not at all.

    Everything goes to a hidden folder beside `folder`, manifest.json last, which is then renamed into place; a data set
    that was there before is replaced only then. The same samples give the same bytes.

    Args:
      folder: the folder to make. Its parents are made too.
      name: name of the data set; file names carry it with everything but letters, digits and _ replaced by _.
      samples: iterable of Sample, splits in any order, read once. The first one sets the features and sizes; ids are
        unique over all splits. `second_mask` is not written.
      source: where the samples come from, any JSON value; goes into the manifest.
      extra: dict of further manifest entries (command, flags, checkpoint sha256, ...), as it stands after the last
        sample.
      class_names: the labels in the order of their index; None: in the order in which they appear.
      keep_groups: write `group`, the patient or slide; only where the data set stays private, so never with samples
        that have a seed, which are synthetic.
      shard_bytes: a shard that has reached this size is closed and the next one begun.

    Returns:
      The manifest, as `read_manifest` returns it.

    Raises:
      InputError: a sample does not fit, there is none, the disk is full, or `folder` holds what is not a data set.
    """
    folder = Path(folder).resolve()
    extra = extra or {}
    json.dumps([source, extra])  # fails now, not after the last sample
    with report_disk_errors(folder):
        temporary = make_temporary(folder)
    writer = _Writer(folder, temporary, name, class_names, keep_groups, shard_bytes)
    try:
        for sample in samples:
            writer.add(sample)
        if writer.features is None:
            raise InputError(f"{name}: there are no samples to write to {folder}; check --data and --num_samples")
        with report_disk_errors(folder):
            manifest = {"schema_version": SCHEMA_VERSION, "name": name, "source": source} | writer.complete()
            if reserved := sorted(set(manifest) & set(extra)):
                raise ValueError(f"extra may not set {reserved}")
            manifest |= json.loads(json.dumps(extra))
            write_text(temporary / "manifest.json", json.dumps(manifest, indent=2) + "\n")
            swap_in(temporary, folder)
    finally:
        writer.close()
        shutil.rmtree(temporary, ignore_errors=True)
    return manifest


class _Writer:
    """The shards of a data set that is being written.

    Attributes:
      features: of the first sample, see `find_features`; None before it.
    """

    def __init__(self, folder, temporary, name, class_names, keep_groups, shard_bytes):
        """folder: named in messages. temporary: the folder that is written to. For others see `write_records`."""
        self.folder, self.temporary, self.name = folder, temporary, name
        self.prefix = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "dataset"
        self.has_fixed_labels, self.labels = class_names is not None, list(class_names or [])
        self.keep_groups, self.shard_bytes = keep_groups, shard_bytes
        self.features, self.first_id, self.ids = None, None, set()
        self.class_counts = {}  # split -> {label: number of samples}
        self.open_files = {}  # split -> TFRecordWriter
        self.shards = {}  # split -> [{"path", "examples", "bytes"}, ...]

    def add(self, sample):
        """Checks a sample and appends it to the shard of its split."""
        if self.keep_groups and sample.seed is not None:
            raise InputError(
                f"{self.name}: the synthetic sample {sample.id} with its group; leave groups out of synthetic sets"
            )
        if not self.keep_groups:
            sample = dataclasses.replace(sample, group=None)
        if self.features is None:
            self.features, self.first_id = find_features(sample), sample.id
        check_fits(sample, self.features, self.first_id)
        if sample.id in self.ids:
            raise InputError(f"{self.name}: two samples have the id {sample.id!r}; ids are unique, rename a file")
        self.ids.add(sample.id)
        if sample.label is not None:
            self._count_label(sample)
        serialized = _encode(sample, self.features, self.labels)
        with report_disk_errors(self.folder):
            shard = self._open_shard(sample.split)
            self.open_files[sample.split].write(serialized)
        shard["examples"] += 1
        shard["bytes"] += len(serialized)

    def _count_label(self, sample):
        if sample.label not in self.labels:
            if self.has_fixed_labels:
                raise InputError(
                    f"{self.name}: sample {sample.id} has the label {sample.label!r}, allowed are {self.labels}"
                )
            self.labels.append(sample.label)
        counts = self.class_counts.setdefault(sample.split, {})
        counts[sample.label] = counts.get(sample.label, 0) + 1

    def _open_shard(self, split):
        """The shard that the next sample of a split goes to, opened if the last one is full."""
        import tensorflow as tf

        shards = self.shards.setdefault(split, [])
        if not shards or shards[-1]["bytes"] >= self.shard_bytes:
            if shards:
                self.open_files[split].close()
            path = self.temporary / f"{self.prefix}-{split}.tfrecord-{len(shards):05d}"
            self.open_files[split] = tf.io.TFRecordWriter(str(path))
            shards.append({"path": path, "examples": 0, "bytes": 0})
        return shards[-1]

    def complete(self):
        """Names the shards for good, writes what TFDS needs, and returns the manifest entries about all of it."""
        for file in self.open_files.values():
            file.close()
        digests = self._name_shards()
        features, labels = self.features, self.labels
        write_text(self.temporary / "features.json", json.dumps(describe_features(features, labels), indent=2))
        description = describe_dataset(self.prefix, self.shards)
        write_text(self.temporary / "dataset_info.json", json.dumps(description, indent=2))
        shape = next(features[key]["shape"] for key in ("image", "mask") if key in features)
        entries = {
            "counts": {split: sum(shard["examples"] for shard in shards) for split, shards in self.shards.items()},
            "image_size": shape[:2],
            "channels": features["image"]["shape"][2] if "image" in features else None,
            "features": features,
            "versions": list_versions(),
            "git_commit": find_git_commit(),
            "shards": digests,
        }
        if "label" in features:
            write_text(self.temporary / "label.labels.txt", "".join(f"{label}\n" for label in labels))
            entries["class_names"] = labels
            entries["class_counts"] = {
                split: {label: counts.get(label, 0) for label in labels} for split, counts in self.class_counts.items()
            }
        return entries

    def _name_shards(self):
        """Gives the shards their last names: {file name: SHA-256}."""
        digests = {}
        for shards in self.shards.values():
            for shard in shards:
                path = shard["path"].with_name(f"{shard['path'].name}-of-{len(shards):05d}")
                os.rename(shard["path"], path)
                digests[path.name] = hash_file(path, sync=True)
        return digests

    def close(self):
        """Closes what is open, whatever has happened; a failed close has been reported by then."""
        import tensorflow as tf

        for file in self.open_files.values():
            with contextlib.suppress(OSError, tf.errors.OpError):
                file.close()


def _encode(sample, features, class_names):
    """Sample -> serialized tf.train.Example, the same bytes for the same sample."""
    import tensorflow as tf

    def encode_value(key):
        value = getattr(sample, key)
        if features[key]["kind"] == "image":
            with tf.device("CPU:0"):
                png = tf.io.encode_png(value if key == "image" else value * np.uint8(255)).numpy()
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[png]))
        if features[key]["kind"] == "text":
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
        number = class_names.index(value) if key == "label" else value
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[number]))

    example = tf.train.Example(features=tf.train.Features(feature={key: encode_value(key) for key in features}))
    return example.SerializeToString(deterministic=True)
