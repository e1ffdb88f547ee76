"""features.json and dataset_info.json: what makes a folder one of TensorFlow Datasets."""

from synthmed_tf.records.manifest import KINDS, PICTURES, REMEDY, SCHEMA_VERSION, SHARD, read_json
from synthmed_tf.sample import InputError

MODULE = "synthmed_tf.records"  # what dataset_info.json names as the writer
MOST_CLASSES = 10_000  # that a folder of another program may announce
_TFDS_CLASSES = {
    "image": "tensorflow_datasets.core.features.image_feature.Image",
    "classLabel": "tensorflow_datasets.core.features.class_label_feature.ClassLabel",
    "text": "tensorflow_datasets.core.features.text_feature.Text",
    "tensor": "tensorflow_datasets.core.features.tensor_feature.Tensor",
    "dict": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
}


def describe_features(features, class_names):
    """The content of features.json."""

    def describe(feature):
        if feature["kind"] == "image":
            shape = {"dimensions": [str(n) for n in feature["shape"]]}
            content = {"dtype": feature["dtype"], "encodingFormat": "png", "shape": shape}
        elif feature["kind"] == "classLabel":
            content = {"numClasses": str(len(class_names))}
        else:
            content = {} if feature["kind"] == "text" else {"dtype": "int64", "encoding": "none", "shape": {}}
        return {"pythonClassName": _TFDS_CLASSES[feature["kind"]], feature["kind"]: content}

    content = {"features": {key: describe(features[key]) for key in sorted(features)}}
    return {"pythonClassName": _TFDS_CLASSES["dict"], "featuresDict": content}


def describe_dataset(prefix, shards):
    """The content of dataset_info.json."""
    splits = [
        {
            "name": split,
            "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
            "numBytes": str(sum(shard["bytes"] for shard in parts)),
            "shardLengths": [str(shard["examples"]) for shard in parts],
        }
        for split, parts in shards.items()
    ]
    version = f"{SCHEMA_VERSION}.0.0"
    return {"name": prefix, "version": version, "moduleName": MODULE, "fileFormat": "tfrecord", "splits": splits}


def read_tfds_folder(folder):
    """Features, class names, counts per split and shards {file: None} of a TFDS folder that has no manifest."""
    path, info = folder / "features.json", folder / "dataset_info.json"
    if not info.is_file():
        raise InputError(f"{folder} is not a TFDS folder (features.json but no dataset_info.json); copy it whole")
    info, described = read_json(info), read_json(path)
    if info.get("moduleName") == MODULE:
        raise InputError(f"{folder} has lost its manifest.json and is not a data set without it; {REMEDY}")
    try:
        described = described["featuresDict"]["features"]
        features = _read_features(described, path)
        counts = {split["name"]: sum(map(int, split["shardLengths"])) for split in info["splits"]}
        classes = int(described["label"]["classLabel"]["numClasses"]) if "label" in features else None
    except InputError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} or dataset_info.json is not as TFDS writes it (at {error}); write it anew") from error
    if classes is not None and not 0 < classes <= MOST_CLASSES:
        raise InputError(f"{path}: label has {classes} classes, allowed are 1 to {MOST_CLASSES}; write it anew")
    if not features.keys() & {"image", "mask"}:
        names = ", ".join(sorted(described)) or "none"
        raise InputError(f"{path} names the features {names}; image, mask or both are needed")
    class_names = classes and _read_class_names(folder, classes)
    shards = {path.name: None for path in folder.iterdir() if SHARD.fullmatch(path.name)}
    if not shards:
        raise InputError(f"{folder} holds no shards named NAME-SPLIT.tfrecord-00000-of-00001; write it in that format")
    return features, class_names, counts, shards


def _read_features(described, path):
    """features.json's own description of features -> {name: {"kind", "shape", "dtype"}} of those that are read."""
    features = {key: {"kind": kind} for key, kind in KINDS.items() if key in described and key != "group"}
    for key in features:
        content = described[key].get(KINDS[key])
        if content is None:
            raise InputError(f"{path}: {key} is not of the TFDS kind {KINDS[key]}; write it as that, or rename it")
        if key in PICTURES:
            shape = [None if int(n) < 0 else int(n) for n in content["shape"]["dimensions"]]
            if len(shape) != 3:
                raise InputError(f"{path}: {key} has the shape {shape}; write it as [height, width, channels]")
            features[key] |= {"shape": shape, "dtype": content.get("dtype", "uint8")}
    return features


def _read_class_names(folder, count):
    """The names in label.labels.txt; without that file the numbers from 0 on."""
    path = folder / "label.labels.txt"
    if not path.is_file():
        return [str(i) for i in range(count)]
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error}); save the names of the classes as UTF-8") from error
