"""What the phantoms with classes have in common."""

import collections
import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from drawn_phantoms import draw

from synthmed_tf.datasets.fingerprint import fingerprint_set
from synthmed_tf.datasets.load import load_samples
from synthmed_tf.datasets.phantoms import histology, xray
from synthmed_tf.datasets.prepare import prepare
from synthmed_tf.datasets.sources import BUILT_IN, check_set, has_masks
from synthmed_tf.datasets.split import split_entries
from synthmed_tf.records.manifest import read_manifest
from synthmed_tf.sample import InputError

SETS = {"phantom_xray": xray, "phantom_histology": histology}
KINDS = {"phantom_xray": ((256, 256, 1), np.uint16), "phantom_histology": ((96, 96, 3), np.uint8)}


@pytest.mark.parametrize("name", SETS)
def test_sizes_types_and_ranges(name):
    shape, dtype = KINDS[name]
    for entry in SETS[name].list_entries(None)[::150]:
        sample = SETS[name].read_entry(entry, "train")
        assert sample.image.shape == shape and sample.image.dtype == dtype
        assert sample.mask is None and sample.field_of_view is None
        assert (sample.id, sample.label, sample.group) == (entry.id, entry.label, entry.group)
        low, high = np.percentile(sample.image, [1, 99]) / np.iinfo(dtype).max
        assert low < 0.4 and high > 0.7


@pytest.mark.parametrize("name", SETS)
def test_splits_keep_groups_whole_and_classes_balanced(name):
    entries = SETS[name].list_entries(None)
    assert len(entries) == len({entry.id for entry in entries}) == SETS[name].COUNT == 600
    of_group = collections.defaultdict(set)
    for entry in entries:
        of_group[entry.group].add(entry.split)
    assert all(len(splits) == 1 for splits in of_group.values())
    for split, total in (("train", 400), ("test", 200)):
        counts = collections.Counter(entry.label for entry in entries if entry.split == split)
        assert len(set(counts.values())) == 1, "as many of each class"
        assert sorted(counts) == sorted({entry.label for entry in entries})
        assert abs(sum(counts.values()) - total) <= 8


@pytest.mark.parametrize("name", SETS)
def test_an_image_is_a_pure_function_of_its_number_also_in_another_process_without_tensorflow(name):
    def digests():
        chosen = SETS[name].list_entries(None)[7::300]
        return [hashlib.sha256(image.tobytes()).hexdigest() for image in draw(SETS[name], chosen)]

    code = (
        "import sys, json, hashlib;"
        f"from synthmed_tf.datasets.phantoms import {name.removeprefix('phantom_')} as module;"
        "images = [module.read_entry(entry, '').image for entry in module.list_entries(None)[307::-300]];"
        "assert 'tensorflow' not in sys.modules;"
        "print(json.dumps([hashlib.sha256(image.tobytes()).hexdigest() for image in images][::-1]))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert digests() == digests() == json.loads(run.stdout)


@pytest.mark.parametrize("name", SETS)
def test_the_table_of_sets_knows_them(name, tmp_path):
    check_set(name, tmp_path)
    assert not has_masks(name, tmp_path)
    with pytest.raises(InputError, match="no masks"):
        check_set(name, tmp_path, needs_masks=True)
    assert fingerprint_set(name, tmp_path) == fingerprint_set(name, "elsewhere")
    sample = next(load_samples(name, tmp_path))
    assert sample.split == "train" and sample.label and sample.group
    assert len({fingerprint_set(each, tmp_path) for each in BUILT_IN}) == 3


@pytest.mark.parametrize("name, of_group", [("phantom_xray", (1, 2)), ("phantom_histology", (40,))])
def test_held_out_groups_are_whole(name, of_group, tmp_path):
    entries = split_entries(name, tmp_path, holdout=3)
    held_out = collections.Counter(entry.group for entry in entries if entry.split == "test")
    assert len(held_out) == 3 and set(held_out.values()) <= set(of_group)
    assert not held_out.keys() & {entry.group for entry in entries if entry.split == "train"}


@pytest.mark.parametrize("name, classes", [("phantom_xray", 6), ("phantom_histology", 2)])
def test_prepared_sets_name_their_classes_in_order(name, classes, tmp_path, monkeypatch):
    few = SETS[name].list_entries(None)[:12] + SETS[name].list_entries(None)[-12:]
    monkeypatch.setattr(SETS[name], "list_entries", lambda data_dir, labels=None: few)
    manifest = read_manifest(prepare(name, tmp_path, (64, 64), out_dir=tmp_path / "out"))
    names = manifest["class_names"]
    assert names == sorted({entry.label for entry in few}) and len(names) == classes
    assert manifest["counts"] == {"train": 12, "test": 12}
    assert manifest["test_split"] == "official" and manifest["fields_of_view"] == "none"
