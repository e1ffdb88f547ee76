"""Sample <-> TFRecord: the schema, the manifest, an atomic sharded writer, a checked reader and seeded batches.

A data set on disk is a TensorFlow Datasets folder (features.json, dataset_info.json, label.labels.txt and
NAME-SPLIT.tfrecord-00000-of-0000N) with a manifest.json beside it. So `tfds.builder_from_directory(folder)` reads it
without this project, and this project reads it without tensorflow_datasets. The framing of a TFRecord is described at
https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details.
"""

import collections.abc
import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import platform
import re
import shutil
import socket
import struct
import subprocess
from pathlib import Path

import numpy as np

import synthmed_tf
from synthmed_tf.sample import InputError, Sample

SCHEMA_VERSION = 1
MOST_CLASSES = 10_000  # of a folder of another program, which may announce any number
CACHE_BYTES = 2**30  # decoded samples that one Records keeps in memory

# What a folder may hold, and as which kind of TFDS feature.
_PICTURES = ("image", "mask", "field_of_view")
_KINDS = {**dict.fromkeys(_PICTURES, "image"), "label": "classLabel", "id": "text", "group": "text", "seed": "tensor"}
_TFDS_CLASSES = {
    "image": "tensorflow_datasets.core.features.image_feature.Image",
    "classLabel": "tensorflow_datasets.core.features.class_label_feature.ClassLabel",
    "text": "tensorflow_datasets.core.features.text_feature.Text",
    "tensor": "tensorflow_datasets.core.features.tensor_feature.Tensor",
    "dict": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
}
_SHARD = re.compile(r"(?P<name>.+)-(?P<split>\w+)\.tfrecord-(?P<index>\d{5,})-of-(?P<count>\d{5,})")
_REMEDY = "run the command that made it again with --overwrite, or delete the folder and run it again"


# ---------------------------------------------------------------- writing


def write(folder, name, samples, *, source, extra=None, class_names=None, keep_groups=False, shard_bytes=64 * 2**20):
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
    with _disk_errors(folder):
        temporary = _make_temporary(folder)
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
            with _disk_errors(folder):
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

        with _disk_errors(folder):
            for writer in writers.values():
                writer.close()
            manifest = {"schema_version": SCHEMA_VERSION, "name": name, "source": source}
            manifest |= _complete(temporary, prefix, features, labels, shards, class_counts)
            if reserved := sorted(set(manifest) & set(extra)):
                raise ValueError(f"extra may not set {reserved}")
            manifest |= json.loads(json.dumps(extra))
            _write_text(temporary / "manifest.json", json.dumps(manifest, indent=2) + "\n")
            _swap_in(temporary, folder)
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
            digests[path.name] = sha256(path, sync=True)
    _write_text(folder / "features.json", json.dumps(_tfds_features(features, labels), indent=2))
    _write_text(folder / "dataset_info.json", json.dumps(_tfds_info(prefix, shards), indent=2))
    shape = next(features[key]["shape"] for key in ("image", "mask") if key in features)
    entries = {
        "counts": {split: sum(shard["examples"] for shard in shards[split]) for split in shards},
        "image_size": shape[:2],
        "channels": features["image"]["shape"][2] if "image" in features else None,
        "features": features,
        "versions": _versions(),
        "git_commit": _git_commit(),
        "shards": digests,
    }
    if "label" in features:
        _write_text(folder / "label.labels.txt", "".join(f"{label}\n" for label in labels))
        entries["class_names"] = labels
        entries["class_counts"] = {s: {c: class_counts[s].get(c, 0) for c in labels} for s in class_counts}
    return entries


def _features_of(sample):
    """Feature name -> {"kind", and for pictures "shape" [height, width, channels] and "dtype"}."""
    features = {}
    for key in _PICTURES:
        if (pixels := getattr(sample, key)) is not None:
            features[key] = {"kind": "image", "shape": list(pixels.shape), "dtype": pixels.dtype.name}
    if not features.keys() & {"image", "mask"}:
        raise InputError(f"sample {sample.id} has neither image nor mask; give it at least one")
    others = ("label", "id", "group", "seed")
    features |= {key: {"kind": _KINDS[key]} for key in others if getattr(sample, key) is not None}
    return features


def _check_fits(sample, features, first_id):
    """Raises InputError unless `sample` is well formed and has the `features` of the first sample."""
    if not isinstance(sample.id, str) or not sample.id:
        raise InputError(f"a sample has the id {sample.id!r}; an id is a non-empty text")
    if not re.fullmatch(r"\w+", sample.split):
        raise InputError(f"sample {sample.id}: split {sample.split!r}; a split is a word such as train or test")
    if sample.label is not None and (sample.label != sample.label.strip() or len(sample.label.splitlines()) != 1):
        raise InputError(f"sample {sample.id}: label {sample.label!r}; a label is one line of text, rename the class")
    for key in _KINDS:
        has = getattr(sample, key) is not None
        if has != (key in features):
            odd, others = (sample.id, first_id) if has else (first_id, sample.id)
            raise InputError(
                f"sample {odd} has {key}, sample {others} has none; all samples of a data set hold the same: "
                "add what is missing, or leave the odd ones out"
            )
    size = None
    for key in _PICTURES:
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


def _tfds_features(features, class_names):
    """The content of features.json."""

    def described(key, feature):
        if feature["kind"] == "image":
            shape = {"dimensions": [str(n) for n in feature["shape"]]}
            content = {"dtype": feature["dtype"], "encodingFormat": "png", "shape": shape}
        elif feature["kind"] == "classLabel":
            content = {"numClasses": str(len(class_names))}
        else:
            content = {} if feature["kind"] == "text" else {"dtype": "int64", "encoding": "none", "shape": {}}
        return {"pythonClassName": _TFDS_CLASSES[feature["kind"]], feature["kind"]: content}

    content = {"features": {key: described(key, features[key]) for key in sorted(features)}}
    return {"pythonClassName": _TFDS_CLASSES["dict"], "featuresDict": content}


def _tfds_info(prefix, shards):
    """The content of dataset_info.json."""
    splits = [
        {
            "name": split,
            "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
            "numBytes": str(sum(shard["bytes"] for shard in of_split)),
            "shardLengths": [str(shard["examples"]) for shard in of_split],
        }
        for split, of_split in shards.items()
    ]
    version = f"{SCHEMA_VERSION}.0.0"
    return {"name": prefix, "version": version, "moduleName": __name__, "fileFormat": "tfrecord", "splits": splits}


def _make_temporary(folder):
    """Makes the hidden folder to write to, and clears away what killed writers of the same folder left behind."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file, a folder is to be made there; move it, or choose another --out_dir")
    marks = ("manifest.json", "features.json", "dataset_info.json")
    if folder.is_dir() and any(folder.iterdir()) and not any((folder / mark).exists() for mark in marks):
        raise InputError(f"{folder} holds files that are not a data set; move them, or choose another --out_dir")
    folder.parent.mkdir(parents=True, exist_ok=True)
    host = socket.gethostname()
    pattern = re.compile(re.escape(f".{folder.name}.") + "(new|old)-" + re.escape(host) + r"-(\d+)")
    for left in list(folder.parent.iterdir()):
        match = pattern.fullmatch(left.name)
        if not match or (int(match[2]) != os.getpid() and _is_running(int(match[2]))):
            continue
        if match[1] == "old" and not folder.exists():  # killed between the two renames of _swap_in
            os.rename(left, folder)
        else:
            shutil.rmtree(left, ignore_errors=True)
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


def _swap_in(temporary, folder):
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
def _disk_errors(folder):
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


def _write_text(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _versions():
    import tensorflow as tf

    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
        "synthmed_tf": synthmed_tf.__version__,
    }


def _git_commit():
    """The commit of the checkout that this file belongs to; None where it is installed or git is missing."""
    root = Path(__file__).resolve().parents[1]
    command = ["git", "-C", str(root), "rev-parse", "--show-toplevel", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.split("\n")
    except (OSError, subprocess.SubprocessError):
        return None
    return answer[1] if Path(answer[0]) == root else None


# ---------------------------------------------------------------- reading


def read_manifest(folder):
    """Reads and checks the manifest of a data set folder; the content of the shards is checked by Records.

    Returns:
      dict: schema_version, name, source, counts {split: n}, image_size [height, width], channels (None without images),
      features {name: {"kind", "shape", "dtype"}}, versions, git_commit, shards {file: sha256}, where there are labels
      class_names and class_counts {split: {class: n}}, and what the writer gave as `extra`.

    Raises:
      InputError: no such folder, no data set of this project, another schema version, or a shard that is missing.
    """
    folder = Path(folder)
    path = folder / "manifest.json"
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; a data set is expected there, run the command that makes it first")
    if not path.is_file():
        raise InputError(f"{folder} is not a data set of this project (no manifest.json); {_REMEDY}")
    manifest = _read_json(path)
    version = manifest.get("schema_version")
    if version != SCHEMA_VERSION:
        raise InputError(f"{path} has schema version {version!r}, this program reads {SCHEMA_VERSION}; {_REMEDY}")
    types = {"name": str, "counts": dict, "image_size": list, "features": dict, "shards": dict}
    wrong = [key for key in types if not isinstance(manifest.get(key), types[key])]
    if not wrong:
        wrong = [f"feature {key}" for key, found in manifest["features"].items() if not _is_feature(key, found)]
        if "label" in manifest["features"] and not isinstance(manifest.get("class_names"), list):
            wrong.append("class_names")
    if wrong:
        raise InputError(f"{path} is damaged (no valid {', '.join(wrong)}); {_REMEDY}")
    for file in manifest["shards"]:
        if not _SHARD.fullmatch(file) or "/" in file or "\\" in file:
            raise InputError(f"{path} is damaged (shard name {file!r}); {_REMEDY}")
        if not (folder / file).is_file():
            raise InputError(f"{folder / file} is missing and manifest.json lists it; {_REMEDY}")
    return manifest


def _is_feature(key, found):
    """Whether what a manifest says of a feature is complete, see `_features_of`."""
    if not isinstance(found, dict) or found.get("kind") != _KINDS.get(key):
        return False
    shape = found.get("shape")
    return key not in _PICTURES or (isinstance(shape, list) and len(shape) == 3 and isinstance(found.get("dtype"), str))


class Records(collections.abc.Sequence):
    """The Samples of a data set folder, read on demand from their place in the shard.

    The arrays of a Sample are kept in memory (up to CACHE_BYTES) and therefore read-only. Indexing is safe from any
    thread. A TFDS folder that another program wrote opens too if its features have the names and kinds of this
    project's; its masks may hold 0 and 255 or 0 and 1, and its groups are not read.

    Args:
      folder: a data set folder.
      split: "train", "test", ...; None for all splits, one after the other.
      verify: compare the SHA-256 of every shard of the split with the manifest. Counts and framing are always checked.

    Attributes:
      manifest: the manifest, None for a folder of another program.
      features: {name: {"kind", "shape", "dtype"}}.
      class_names: list of labels, None without labels.
      folder, split: as given.

    Raises:
      InputError: not a data set, another schema version, no such split, or a shard that is missing or damaged.
    """

    def __init__(self, folder, split=None, verify=True):
        self.folder, self.split = Path(folder), split
        if (self.folder / "manifest.json").is_file() or not (self.folder / "features.json").is_file():
            self.manifest = read_manifest(self.folder)
            self.features, self.class_names = self.manifest["features"], self.manifest.get("class_names")
            counts, shards = self.manifest["counts"], self.manifest["shards"]
        else:
            self.manifest = None
            self.features, self.class_names, counts, shards = _read_foreign(self.folder)
        if split is not None and split not in counts:
            raise InputError(f"{self.folder} has no split {split!r}, it has {', '.join(counts)}; {_REMEDY}")
        self._places = []  # (shard path, split, byte offset, length) of every sample
        for wanted in [split] if split is not None else counts:
            before = len(self._places)
            for file, digest in sorted(shards.items()):
                if _SHARD.fullmatch(file)["split"] != wanted:
                    continue
                path = self.folder / file
                try:
                    if verify and self.manifest is not None and sha256(path) != digest:
                        raise InputError(f"{path} is damaged (its SHA-256 is not the one in manifest.json); {_REMEDY}")
                    self._places += [(path, wanted, *place) for place in _frames(path)]
                except OSError as error:
                    raise InputError(f"{path} cannot be read ({error.strerror}); {_REMEDY}") from error
            found = len(self._places) - before
            if found != counts[wanted]:
                announced = f"split {wanted} holds {found} records and {counts[wanted]} are announced"
                raise InputError(f"{self.folder} is damaged ({announced}); {_REMEDY}")
        self._cache, self._cached_bytes = {}, 0

    def __len__(self):
        return len(self._places)

    def __getitem__(self, index):
        """Sample at `index` (an int from -len to len - 1), or a list of them for a slice."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        sample = self._cache.get(index)
        if sample is None:
            sample = self._read(index)
            size = sum(getattr(sample, key).nbytes for key in _PICTURES if key in self.features)
            if self._cached_bytes + size <= CACHE_BYTES:
                self._cached_bytes += size
                self._cache[index] = sample
        return sample

    def _read(self, index):
        """Reads and decodes one record; no other record is touched."""
        import tensorflow as tf
        from google.protobuf.message import DecodeError

        path, split, offset, length = self._places[index]
        where = f"{path}, record {index}"
        try:
            with open(path, "rb") as file:
                file.seek(offset)
                example = tf.train.Example.FromString(file.read(length))
        except OSError as error:
            raise InputError(f"{where} cannot be read ({error.strerror}); {_REMEDY}") from error
        except DecodeError as error:
            raise InputError(f"{where} is damaged ({error}); {_REMEDY}") from error
        values = {}
        for key, feature in self.features.items():
            content = example.features.feature[key]
            content = content.int64_list if feature["kind"] in ("classLabel", "tensor") else content.bytes_list
            if len(content.value) != 1:
                raise InputError(f"{where} has no {key} and features.json announces one; {_REMEDY}")
            values[key] = content.value[0]
            if key in _PICTURES:
                values[key] = _decode_png(values[key], feature, f"{where}: {key}")
                if key != "image":
                    values[key] = _two_levels(values[key], f"{where}: {key}")
                values[key].setflags(write=False)
        if "label" in values:
            if not 0 <= values["label"] < len(self.class_names):
                raise InputError(f"{where} is of class {values['label']} of {len(self.class_names)}; {_REMEDY}")
            values["label"] = self.class_names[values["label"]]
        for key in ("id", "group"):
            if key in values:
                values[key] = values[key].decode(errors="replace")
        values.setdefault("id", f"{split}-{index}")
        return Sample(split=split, **values)


def batch_indices(count, batch_size, seed, step):
    """Which samples make up a training batch: a function of its arguments alone.

    Epoch e visits every sample once, in the order `np.random.default_rng([seed, e]).permutation(count)`; epochs follow
    each other without a gap, so a batch may hold the end of one and the beginning of the next, or all of several.

    Args:
      count: number of samples. batch_size, seed, step: ints from 0.

    Returns:
      [batch_size] int64 in [0, count).
    """
    positions = range(step * batch_size, (step + 1) * batch_size)
    return np.array([_epoch_order(count, seed, position // count)[position % count] for position in positions])


@functools.lru_cache(maxsize=4)
def _epoch_order(count, seed, epoch):
    return np.random.default_rng([seed, epoch]).permutation(count).astype(np.int64)


def _frames(path):
    """(offset, length) in bytes of every record's content. A frame: uint64 length, uint32 CRC, content, uint32 CRC."""
    places, position, end = [], 0, path.stat().st_size
    with open(path, "rb") as file:
        while position < end:
            header = file.read(12)
            length = struct.unpack("<Q", header[:8])[0] if len(header) == 12 else end
            if position + 16 + length > end:
                raise InputError(f"{path} is damaged (record {len(places)} ends beyond the file); {_REMEDY}")
            places.append((position + 12, length))
            position += 16 + length
            file.seek(position)
    return places


def _read_foreign(folder):
    """Features, class names, counts per split and shards {file: None} of a TFDS folder that has no manifest."""
    path, info = folder / "features.json", folder / "dataset_info.json"
    if not info.is_file():
        raise InputError(f"{folder} is not a TFDS folder (features.json but no dataset_info.json); copy it whole")
    info, described = _read_json(info), _read_json(path)
    if info.get("moduleName") == __name__:
        raise InputError(f"{folder} has lost its manifest.json and is not a data set without it; {_REMEDY}")
    try:
        described = described["featuresDict"]["features"]
        features = {key: {"kind": kind} for key, kind in _KINDS.items() if key in described and key != "group"}
        for key in features:
            content = described[key].get(_KINDS[key])
            if content is None:
                raise InputError(f"{path}: {key} is not of the TFDS kind {_KINDS[key]}; write it as that, or rename it")
            if key in _PICTURES:
                shape = [None if int(n) < 0 else int(n) for n in content["shape"]["dimensions"]]
                if len(shape) != 3:
                    raise InputError(f"{path}: {key} has the shape {shape}; write it as [height, width, channels]")
                features[key] |= {"shape": shape, "dtype": content.get("dtype", "uint8")}
        counts = {split["name"]: sum(map(int, split["shardLengths"])) for split in info["splits"]}
        classes = int(described["label"]["classLabel"]["numClasses"]) if "label" in features else 0
        if "label" in features and not 0 < classes <= MOST_CLASSES:
            raise InputError(f"{path}: label has {classes} classes, allowed are 1 to {MOST_CLASSES}; write it anew")
    except InputError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} or dataset_info.json is not as TFDS writes it (at {error}); write it anew") from error
    if not features.keys() & {"image", "mask"}:
        found = ", ".join(sorted(described)) or "none"
        raise InputError(f"{path} names the features {found}; image, mask or both are needed")
    class_names = [str(i) for i in range(classes)] if classes else None
    names = folder / "label.labels.txt"
    if classes and names.is_file():
        try:
            class_names = names.read_text(encoding="utf-8").splitlines()
        except UnicodeError as error:
            raise InputError(f"{names}: not UTF-8 text ({error}); save the names of the classes as UTF-8") from error
    shards = {path.name: None for path in folder.iterdir() if _SHARD.fullmatch(path.name)}
    if not shards:
        raise InputError(f"{folder} holds no shards named NAME-SPLIT.tfrecord-00000-of-00001; write it in that format")
    return features, class_names, counts, shards


def _read_json(path):
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); {_REMEDY}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is damaged (not a JSON object); {_REMEDY}")
    return content


def _decode_png(png, feature, where):
    """PNG bytes -> array of the feature's dtype and shape; None in the shape allows any size."""
    import tensorflow as tf

    try:
        with tf.device("CPU:0"):
            pixels = tf.io.decode_png(png, channels=feature["shape"][-1] or 0, dtype=feature["dtype"]).numpy()
    except (tf.errors.InvalidArgumentError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{where} is damaged, or not an 8- or 16-bit PNG ({reason}); {_REMEDY}") from error
    expected = [found if size is None else size for size, found in zip(feature["shape"], pixels.shape, strict=False)]
    if expected != list(pixels.shape):
        raise InputError(f"{where} is {list(pixels.shape)}, features.json announces {feature['shape']}; {_REMEDY}")
    return pixels


def _two_levels(pixels, where):
    """uint8 {0, 255} or {0, 1} -> uint8 {0, 1}."""
    top = pixels.max(initial=0)
    if top not in (0, 1, 255) or pixels.shape[-1] != 1 or not ((pixels == 0) | (pixels == top)).all():
        raise InputError(f"{where} has more than two levels or channels; write it with 0 and 255 in one channel")
    return (pixels > 0).astype(np.uint8)


def write_json(path, value):
    """Writes JSON as `replace_text` does."""
    replace_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def replace_text(path, text):
    """Writes text so that the file is either the old one or the new one, never half of it.

    Raises:
      InputError: for one, the disk is full.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with _disk_errors(path):
            _write_text(temporary, text)
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def sha256(path, sync=False):
    """SHA-256 of a file, in hexadecimal digits; with sync the file is on the disk then."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
        if sync:
            os.fsync(file.fileno())
    return digest.hexdigest()


def _size(shape):
    return f"{shape[0]}x{shape[1]}"
