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
from synthmed_tf.records.manifest import KINDS, PICTURES, SCHEMA_VERSION, find_git_commit, list_versions
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
    import tensorflow as tf

    folder = Path(folder).resolve()
    extra = extra or {}
    json.dumps([source, extra])  # fails now, not after the last sample
    prefix = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "dataset"
    features, first_id, labels, ids, class_counts = None, None, list(class_names or []), set(), {}
    writers, shards = {}, {}  # split -> the open writer; split -> [{"path", "examples", "bytes"}, ...]
    with report_disk_errors(folder):
        temporary = make_temporary(folder)
    try:
        for sample in samples:
            if keep_groups and sample.seed is not None:
                raise InputError(
                    f"{name}: the synthetic sample {sample.id} with its group; leave groups out of synthetic sets"
                )
            if not keep_groups:
                sample = dataclasses.replace(sample, group=None)
            if features is None:
                features, first_id = _features_of(sample), sample.id
            _check_fits(sample, features, first_id)
            if sample.id in ids:
                raise InputError(f"{name}: two samples have the id {sample.id!r}; ids are unique, rename a file")
            ids.add(sample.id)
            if sample.label is not None:
                if sample.label not in labels and class_names is not None:
                    raise InputError(f"{name}: sample {sample.id} has the label {sample.label!r}, allowed are {labels}")
                if sample.label not in labels:
                    labels.append(sample.label)
                counts = class_counts.setdefault(sample.split, {})
                counts[sample.label] = counts.get(sample.label, 0) + 1
            serialized = _encode(sample, features, labels)
            of_split = shards.setdefault(sample.split, [])
            with report_disk_errors(folder):
                if not of_split or of_split[-1]["bytes"] >= shard_bytes:
                    if of_split:
                        writers[sample.split].close()
                    path = temporary / f"{prefix}-{sample.split}.tfrecord-{len(of_split):05d}"
                    writers[sample.split] = tf.io.TFRecordWriter(str(path))
                    of_split.append({"path": path, "examples": 0, "bytes": 0})
                writers[sample.split].write(serialized)
            of_split[-1]["examples"] += 1
            of_split[-1]["bytes"] += len(serialized)
        if features is None:
            raise InputError(f"{name}: there are no samples to write to {folder}; check --data and --num_samples")

        with report_disk_errors(folder):
            for writer in writers.values():
                writer.close()
            manifest = {"schema_version": SCHEMA_VERSION, "name": name, "source": source}
            manifest |= _complete(temporary, prefix, features, labels, shards, class_counts)
            if reserved := sorted(set(manifest) & set(extra)):
                raise ValueError(f"extra may not set {reserved}")
            manifest |= json.loads(json.dumps(extra))
            write_text(temporary / "manifest.json", json.dumps(manifest, indent=2) + "\n")
            swap_in(temporary, folder)
    finally:
        for writer in writers.values():
            with contextlib.suppress(OSError, tf.errors.OpError):  # a failed close has been reported above
                writer.close()
        shutil.rmtree(temporary, ignore_errors=True)
    return manifest


def _complete(folder, prefix, features, labels, shards, class_counts):
    """Gives the shards their last names, writes the files that TFDS needs, returns the manifest entries about them."""
    digests = {}
    for of_split in shards.values():
        for shard in of_split:
            path = shard["path"].with_name(f"{shard['path'].name}-of-{len(of_split):05d}")
            os.rename(shard["path"], path)
            digests[path.name] = hash_file(path, sync=True)
    write_text(folder / "features.json", json.dumps(describe_features(features, labels), indent=2))
    write_text(folder / "dataset_info.json", json.dumps(describe_dataset(prefix, shards), indent=2))
    shape = next(features[key]["shape"] for key in ("image", "mask") if key in features)
    entries = {
        "counts": {split: sum(shard["examples"] for shard in shards[split]) for split in shards},
        "image_size": shape[:2],
        "channels": features["image"]["shape"][2] if "image" in features else None,
        "features": features,
        "versions": list_versions(),
        "git_commit": find_git_commit(),
        "shards": digests,
    }
    if "label" in features:
        write_text(folder / "label.labels.txt", "".join(f"{label}\n" for label in labels))
        entries["class_names"] = labels
        entries["class_counts"] = {s: {c: class_counts[s].get(c, 0) for c in labels} for s in class_counts}
    return entries


def _features_of(sample):
    """Feature name -> {"kind", and for pictures "shape" [height, width, channels] and "dtype"}."""
    features = {}
    for key in PICTURES:
        if (pixels := getattr(sample, key)) is not None:
            features[key] = {"kind": "image", "shape": list(pixels.shape), "dtype": pixels.dtype.name}
    if not features.keys() & {"image", "mask"}:
        raise InputError(f"sample {sample.id} has neither image nor mask; give it at least one")
    others = ("label", "id", "group", "seed")
    features |= {key: {"kind": KINDS[key]} for key in others if getattr(sample, key) is not None}
    return features


def _check_fits(sample, features, first_id):
    """Raises InputError unless `sample` is well formed and has the `features` of the first sample."""
    if not isinstance(sample.id, str) or not sample.id:
        raise InputError(f"a sample has the id {sample.id!r}; an id is a non-empty text")
    if not re.fullmatch(r"\w+", sample.split):
        raise InputError(f"sample {sample.id}: split {sample.split!r}; a split is a word such as train or test")
    if sample.label is not None and (sample.label != sample.label.strip() or len(sample.label.splitlines()) != 1):
        raise InputError(f"sample {sample.id}: label {sample.label!r}; a label is one line of text, rename the class")
    for key in KINDS:
        has = getattr(sample, key) is not None
        if has != (key in features):
            odd, others = (sample.id, first_id) if has else (first_id, sample.id)
            raise InputError(
                f"sample {odd} has {key}, sample {others} has none; all samples of a data set hold the same: "
                "add what is missing, or leave the odd ones out"
            )
    size = None
    for key in PICTURES:
        pixels = getattr(sample, key)
        if pixels is None:
            continue
        channels, dtypes = ((1, 3), ("uint8", "uint16")) if key == "image" else ((1,), ("uint8",))
        if pixels.ndim != 3 or pixels.shape[2] not in channels or pixels.dtype.name not in dtypes or 0 in pixels.shape:
            raise InputError(
                f"sample {sample.id}: {key} is {pixels.dtype} {list(pixels.shape)}, allowed is {' or '.join(dtypes)} "
                f"[height, width, {' or '.join(map(str, channels))}]; convert the file"
            )
        if size is not None and pixels.shape[:2] != size:
            raise InputError(
                f"sample {sample.id}: {key} is {_size(pixels.shape)} pixels and what it belongs to {_size(size)}; "
                "the pictures of one sample have one size, mend the files"
            )
        size = pixels.shape[:2]
        if list(pixels.shape) != features[key]["shape"] or pixels.dtype.name != features[key]["dtype"]:
            raise InputError(
                f"sample {sample.id}: {key} is {pixels.dtype} {list(pixels.shape)} and that of sample {first_id} "
                f"{features[key]['dtype']} {features[key]['shape']}; one data set has one size, depth and channel "
                "count: resize with --image_size, or convert the odd files"
            )
        if key != "image" and pixels.max() > 1:
            raise InputError(
                f"sample {sample.id}: {key} holds values up to {pixels.max()}, allowed are 0 and 1; "
                "save it with two levels"
            )


def _encode(sample, features, class_names):
    """Sample -> serialized tf.train.Example, the same bytes for the same sample."""
    import tensorflow as tf

    def feature(key):
        value = getattr(sample, key)
        if features[key]["kind"] == "image":
            with tf.device("CPU:0"):
                png = tf.io.encode_png(value if key == "image" else value * np.uint8(255)).numpy()
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[png]))
        if features[key]["kind"] == "text":
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
        number = class_names.index(value) if key == "label" else value
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[number]))

    example = tf.train.Example(features=tf.train.Features(feature={key: feature(key) for key in features}))
    return example.SerializeToString(deterministic=True)


def _size(shape):
    return f"{shape[0]}x{shape[1]}"
