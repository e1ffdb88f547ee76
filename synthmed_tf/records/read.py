"""A data set folder of TFRecords -> Samples, checked.

The framing of a TFRecord is described at
https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details.
"""

import collections.abc
import struct
from pathlib import Path

import numpy as np

from synthmed_tf.records.atomic import hash_file
from synthmed_tf.records.manifest import PICTURES, REMEDY, SHARD, read_manifest
from synthmed_tf.records.tfds import read_tfds_folder
from synthmed_tf.sample import InputError, Sample, spaced

CACHE_BYTES = 2**30  # decoded samples that one Records keeps in memory


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
            self.features, self.class_names, counts, shards = read_tfds_folder(self.folder)
        if split is not None and split not in counts:
            raise InputError(f"{self.folder} has no split {split!r}, it has {', '.join(counts)}; {REMEDY}")
        self._places = []  # (shard path, split, byte offset, length) of every sample
        for name in [split] if split is not None else counts:
            places = self._find_places(name, shards, verify and self.manifest is not None)
            if len(places) != counts[name]:
                announced = f"split {name} holds {len(places)} records and {counts[name]} are announced"
                raise InputError(f"{self.folder} is damaged ({announced}); {REMEDY}")
            self._places += places
        self._cache, self._cached_bytes = {}, 0

    @property
    def pictured(self):
        """A few Samples, at even steps, to try a training on."""
        return spaced(self, 8)

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
            size = sum(getattr(sample, key).nbytes for key in PICTURES if key in self.features)
            if self._cached_bytes + size <= CACHE_BYTES:
                self._cached_bytes += size
                self._cache[index] = sample
        return sample

    def _find_places(self, split, shards, verify):
        """[(shard path, split, byte offset, length)] of the samples of a split. shards: {file name: SHA-256}."""
        places = []
        for name, digest in sorted(shards.items()):
            if SHARD.fullmatch(name)["split"] != split:
                continue
            path = self.folder / name
            try:
                if verify and hash_file(path) != digest:
                    raise InputError(f"{path} is damaged (its SHA-256 is not the one in manifest.json); {REMEDY}")
                places += [(path, split, *place) for place in _find_frames(path)]
            except OSError as error:
                raise InputError(f"{path} cannot be read ({error.strerror}); {REMEDY}") from error
        return places

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
            raise InputError(f"{where} cannot be read ({error.strerror}); {REMEDY}") from error
        except DecodeError as error:
            raise InputError(f"{where} is damaged ({error}); {REMEDY}") from error
        values = {key: self._read_value(example, key, where) for key in self.features}
        return Sample(split=split, **({"id": f"{split}-{index}"} | values))

    def _read_value(self, example, key, where):
        """One feature of a parsed record as a Sample holds it. where: the record, for messages."""
        feature = self.features[key]
        content = example.features.feature[key]
        content = content.int64_list if feature["kind"] in ("classLabel", "tensor") else content.bytes_list
        if len(content.value) != 1:
            raise InputError(f"{where} has no {key} and features.json announces one; {REMEDY}")
        value = content.value[0]
        if key in PICTURES:
            pixels = _decode_png(value, feature, f"{where}: {key}")
            if key != "image":
                pixels = _binarise(pixels, f"{where}: {key}")
            pixels.setflags(write=False)
            return pixels
        if key == "label":
            if not 0 <= value < len(self.class_names):
                raise InputError(f"{where} is of class {value} of {len(self.class_names)}; {REMEDY}")
            return self.class_names[value]
        return value.decode(errors="replace") if key in ("id", "group") else value


def require_features(real, *features):
    """Raises InputError unless the real records hold these features."""
    for feature in features:
        if feature not in real.features:
            raise InputError(f"{real.folder}: the samples have no {feature}, which is needed here; give another set")


def _find_frames(path):
    """(offset, length) in bytes of every record's content. A frame: uint64 length, uint32 CRC, content, uint32 CRC."""
    places, position, end = [], 0, path.stat().st_size
    with open(path, "rb") as file:
        while position < end:
            header = file.read(12)
            length = struct.unpack("<Q", header[:8])[0] if len(header) == 12 else end
            if position + 16 + length > end:
                raise InputError(f"{path} is damaged (record {len(places)} ends beyond the file); {REMEDY}")
            places.append((position + 12, length))
            position += 16 + length
            file.seek(position)
    return places


def _decode_png(png, feature, where):
    """PNG bytes -> array of the feature's dtype and shape; None in the shape allows any size."""
    import tensorflow as tf

    try:
        with tf.device("CPU:0"):
            pixels = tf.io.decode_png(png, channels=feature["shape"][-1] or 0, dtype=feature["dtype"]).numpy()
    except (tf.errors.InvalidArgumentError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{where} is damaged, or not an 8- or 16-bit PNG ({reason}); {REMEDY}") from error
    expected = [own if size is None else size for size, own in zip(feature["shape"], pixels.shape, strict=False)]
    if expected != list(pixels.shape):
        raise InputError(f"{where} is {list(pixels.shape)}, features.json announces {feature['shape']}; {REMEDY}")
    return pixels


def _binarise(pixels, where):
    """uint8 {0, 255} or {0, 1} -> uint8 {0, 1}."""
    top = pixels.max(initial=0)
    if top not in (0, 1, 255) or pixels.shape[-1] != 1 or not ((pixels == 0) | (pixels == top)).all():
        raise InputError(f"{where} has more than two levels or channels; write it with 0 and 255 in one channel")
    return (pixels > 0).astype(np.uint8)
