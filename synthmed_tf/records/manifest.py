"""manifest.json of a data set folder: what is in it, and where it comes from."""

import json
import platform
import re
import subprocess
from pathlib import Path

import numpy as np

import synthmed_tf
from synthmed_tf.sample import InputError

SCHEMA_VERSION = 1
PICTURES = ("image", "mask", "field_of_view")  # the arrays of a sample
# Each part of a sample that a folder may hold: the kind of TFDS feature that it is
KINDS = {**dict.fromkeys(PICTURES, "image"), "label": "classLabel", "id": "text", "group": "text", "seed": "tensor"}
SHARD = re.compile(r"(?P<name>.+)-(?P<split>\w+)\.tfrecord-(?P<index>\d{5,})-of-(?P<count>\d{5,})")
REMEDY = "run the command that made it again"


def read_manifest(folder):
    """Reads and checks the manifest of a data set folder; the content of the shards is checked by Records.

    Returns:
      dict: schema_version, name, source, counts {split: n}, image_size [height, width], channels (None without images),
      features {name: {"kind", "shape", "dtype"}}, versions, git_commit, shards {file: SHA-256}, where there are labels
      class_names and class_counts {split: {class: n}}, and what the writer gave as `extra`.

    Raises:
      InputError: no such folder, no data set of this project, another schema version, or a shard that is missing.
    """
    folder = Path(folder)
    path = folder / "manifest.json"
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; a data set is expected there, run the command that makes it first")
    if not path.is_file():
        raise InputError(
            f"{folder} is not a data set of this project (no manifest.json); name another folder, or make one"
        )
    manifest = read_json(path)
    version = manifest.get("schema_version")
    if version != SCHEMA_VERSION:
        raise InputError(f"{path} has schema version {version!r}, this program reads {SCHEMA_VERSION}; {REMEDY}")
    types = {"name": str, "counts": dict, "image_size": list, "features": dict, "shards": dict}
    wrong = [key for key in types if not isinstance(manifest.get(key), types[key])]
    if not wrong:
        wrong = [f"feature {key}" for key, entry in manifest["features"].items() if not _is_feature(key, entry)]
        if "label" in manifest["features"] and not isinstance(manifest.get("class_names"), list):
            wrong.append("class_names")
    if wrong:
        raise InputError(f"{path} is damaged (no valid {', '.join(wrong)}); {REMEDY}")
    for file in manifest["shards"]:
        if not SHARD.fullmatch(file) or "/" in file or "\\" in file:
            raise InputError(f"{path} is damaged (shard name {file!r}); {REMEDY}")
        if not (folder / file).is_file():
            raise InputError(f"{folder / file} is missing and manifest.json lists it; {REMEDY}")
    return manifest


def _is_feature(key, entry):
    """Whether what a manifest says of a feature is complete, see `schema.find_features`."""
    if not isinstance(entry, dict) or entry.get("kind") != KINDS.get(key):
        return False
    shape = entry.get("shape")
    return key not in PICTURES or (isinstance(shape, list) and len(shape) == 3 and isinstance(entry.get("dtype"), str))


def read_json(path):
    """The JSON object in a file; InputError where it holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); {REMEDY}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is damaged (not a JSON object); {REMEDY}")
    return content


def list_versions():
    """{package: version} of what a data set is made with."""
    import tensorflow as tf

    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
        "synthmed_tf": synthmed_tf.__version__,
    }


def find_git_commit():
    """The commit of the checkout that this file belongs to; None where it is installed or git is missing."""
    root = Path(__file__).resolve().parents[2]
    command = ["git", "-C", str(root), "rev-parse", "--show-toplevel", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.split("\n")
    except (OSError, subprocess.SubprocessError):
        return None
    return answer[1] if Path(answer[0]) == root else None
