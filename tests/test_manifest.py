"""The manifest tells what is there; one that does not fit is refused."""

import os
import subprocess

import pytest
from made_records import a_shard, edit_json, make_samples, open_fails

import synthmed_tf
from synthmed_tf.records.manifest import SCHEMA_VERSION, find_git_commit, read_manifest
from synthmed_tf.records.read import Records
from synthmed_tf.records.write import write_records
from synthmed_tf.sample import InputError


@pytest.fixture
def folder(tmp_path):
    """A data set of 10 pairs in several shards."""
    write_records(tmp_path / "set", "noise", make_samples(), source="made", shard_bytes=8000)
    return tmp_path / "set"


def test_manifest_tells_what_is_there(tmp_path):
    samples = make_samples(fields=("image", "mask", "seed"), classes=("healthy", "ill"), size=(24, 32))
    extra = {"command": ["train_stage2.py", "--data=drive"], "flags": {"seed": 3}}
    names = ["ill", "healthy", "unseen"]
    manifest = write_records(tmp_path / "set", "noise", samples, source={"data": "x"}, extra=extra, class_names=names)
    assert manifest["schema_version"] == SCHEMA_VERSION
    assert manifest["counts"] == {"train": 7, "test": 3}
    assert manifest["class_counts"]["train"] == {"ill": 4, "healthy": 3, "unseen": 0}
    assert manifest["class_counts"]["test"] == {"ill": 1, "healthy": 2, "unseen": 0}
    assert manifest["class_names"] == Records(tmp_path / "set").class_names == names
    assert manifest["image_size"] == [24, 32] and manifest["channels"] == 3
    assert manifest["command"] == extra["command"] and manifest["source"] == {"data": "x"}
    assert set(manifest["versions"]) == {"python", "tensorflow", "numpy", "synthmed_tf"}
    assert manifest["git_commit"] is None or len(manifest["git_commit"]) == 40
    for file, digest in manifest["shards"].items():
        assert subprocess.check_output(["sha256sum", tmp_path / "set" / file], text=True).split()[0] == digest


def test_git_commit_is_that_of_the_checkout():
    root = os.path.dirname(os.path.dirname(os.path.abspath(synthmed_tf.__file__)))
    answer = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True)
    if answer.returncode or not os.path.exists(os.path.join(root, ".git")):
        assert find_git_commit() is None
    else:
        assert find_git_commit() == answer.stdout.strip()


def test_other_schema_version(folder):
    edit_json(folder / "manifest.json", schema_version=SCHEMA_VERSION + 1)
    open_fails(folder, "manifest.json", "schema version 2", "reads 1", "made it again")


def test_missing_shard(folder):
    shard = a_shard(folder)
    shard.unlink()
    open_fails(folder, shard.name, "missing")


def test_shard_left_out_of_the_manifest(folder):
    manifest = read_manifest(folder)
    del manifest["shards"][a_shard(folder).name]
    edit_json(folder / "manifest.json", **manifest)
    open_fails(folder, "records and 7 are announced")


def test_missing_manifest(folder):
    (folder / "manifest.json").unlink()
    open_fails(folder, "manifest.json", "not a data set")
    with pytest.raises(InputError, match="not a data set"):
        read_manifest(folder)


def test_no_folder_and_empty_folder(tmp_path):
    open_fails(tmp_path / "nowhere", "no such folder")
    open_fails(tmp_path, "manifest.json", "not a data set")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema_version": 1}', "\xff\x00"])
def test_damaged_manifest(folder, text):
    (folder / "manifest.json").write_bytes(text.encode("latin-1"))
    open_fails(folder, "manifest.json")


def test_manifest_that_points_outside(folder, tmp_path):
    edit_json(folder / "manifest.json", shards={"../x-train.tfrecord-00000-of-00001": "0"})
    open_fails(folder, "manifest.json", "damaged")
    for feature in ({"kind": "surprise"}, {"kind": "image"}, {"kind": "image", "shape": [4, 4, 3]}, 3):
        edit_json(folder / "manifest.json", shards={}, features={"image": feature})
        open_fails(folder, "manifest.json", "damaged (no valid feature image)")
    edit_json(folder / "manifest.json", features={"label": {"kind": "classLabel"}})
    open_fails(folder, "manifest.json", "damaged (no valid class_names)")
