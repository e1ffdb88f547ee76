"""The fingerprint follows what the raw files hold."""

import os
import shutil

import pytest
from raw_sets import TRAIN_TABLE, edit, make_idrid, make_table, save_pair

from synthmed_tf.datasets import fingerprint
from synthmed_tf.datasets.fingerprint import fingerprint_set
from synthmed_tf.records.atomic import hash_file


@pytest.fixture
def own(tmp_path):
    """A folder of one's own with seven pairs."""
    folder = tmp_path / "own"
    for stem in "abcdefg":
        save_pair(folder, stem)
    return folder


def test_fingerprint_changes_with_names_and_contents_and_not_with_place_and_time(own, tmp_path):
    first = fingerprint_set(str(own), "")
    assert first == fingerprint_set(str(own), "elsewhere") and len(first) == 12
    shutil.copytree(own, tmp_path / "copy", copy_function=shutil.copyfile)
    assert fingerprint_set(str(tmp_path / "copy"), "") == first
    image = own / "images" / "a.png"
    stat, content = image.stat(), image.read_bytes()
    image.write_bytes(content[:-1] + b"?")
    os.utime(image, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    second = fingerprint_set(str(own), "")
    for folder in ("images", "masks"):
        (own / folder / "b.png").rename(own / folder / "bb.png")
    assert len({first, second, fingerprint_set(str(own), "")}) == 3


def test_fingerprint_reads_only_what_is_new(own, monkeypatch):
    read, known = [], {}
    monkeypatch.setattr(fingerprint, "hash_file", lambda path: read.append(path.name) or hash_file(path))
    first = fingerprint_set(str(own), "", hashed=known)
    everything = len(read)
    assert everything == len(known) == len(list(own.rglob("*.png"))) and first == fingerprint_set(str(own), "")
    read.clear()
    assert fingerprint_set(str(own), "", hashed=known) == first and read == []
    os.utime(own / "images" / "a.png", (1, 1))
    assert fingerprint_set(str(own), "", hashed=known) == first and read == ["a.png"]
    (own / "images" / "a.png").unlink()
    (own / "images" / "a.png").symlink_to(own / "images" / "b.png")
    assert fingerprint_set(str(own), "", hashed=known) != first


def test_fingerprint_changes_with_group_and_split(tmp_path):
    make_table(
        tmp_path, [[f"{i}.png", "ab"[i % 2], f"g{i}", "train"] for i in range(6)], ("file", "x", "group", "split")
    )
    prints = {fingerprint_set(str(tmp_path), "")}
    for old, new in (("g1", "g9"), ("g2,train", "g2,test"), ("0.png,a", "0.png,b")):
        edit(tmp_path / "labels.csv", old, new)
        prints.add(fingerprint_set(str(tmp_path), ""))
    assert len(prints) == 4


def test_fingerprint_changes_with_a_grade(tmp_path):
    table = make_idrid(tmp_path / "idrid") / "2. Groundtruths" / TRAIN_TABLE
    first, stat = fingerprint_set("idrid", tmp_path), table.stat()
    table.write_text(table.read_text().replace("IDRiD_001,3", "IDRiD_001,4"))
    os.utime(table, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert fingerprint_set("idrid", tmp_path) != first
