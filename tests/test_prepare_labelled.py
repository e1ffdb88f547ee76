"""Prepared sets of labelled images, and of photographs with grades."""

import numpy as np
import pytest
from PIL import Image
from raw_sets import PEOPLE, RNG, TEST_GRADES, TRAIN_GRADES, make_classes, make_idrid, make_messidor, make_nih

from synthmed_tf.datasets import load as load_module
from synthmed_tf.datasets.prepare import prepare
from synthmed_tf.datasets.split import split_entries
from synthmed_tf.records.manifest import read_manifest
from synthmed_tf.records.read import Records
from synthmed_tf.records.write import write_records


@pytest.fixture(autouse=True)
def no_normalisation(monkeypatch):
    """Pixels stay as they are in the files: how brightness is normalised is for tests/test_lungs.py."""
    monkeypatch.setattr(load_module, "normalise_by_lungs", lambda image: (image, True))


def test_prepared_labelled_set(tmp_path):
    from synthmed_tf.publishing import synthetic_set

    make_nih(tmp_path / "nih", [("F", 8), ("M", 12)] * 5, xrays=1, lists=False)
    folder = prepare("nih", tmp_path, (16, 24), out_dir=tmp_path / "out", labels="5-9,10-20")
    manifest = read_manifest(folder)
    assert manifest["labels"] == "5-9,10-20" and manifest["fields_of_view"] == "none"
    assert manifest["test_split"] == "a fifth of each class, in whole groups"
    assert manifest["class_names"] == ["female 5-9", "male 10-20"]
    assert synthetic_set.describe_real(manifest)["labels"] == "5-9,10-20"
    assert manifest["class_counts"] == {
        "test": {"female 5-9": 1, "male 10-20": 1}, "train": {"female 5-9": 4, "male 10-20": 4},
    }  # fmt: skip
    assert set(manifest["features"]) == {"id", "image", "label", "group"}
    raw = {entry.id: entry for entry in split_entries("nih", tmp_path, labels="5-9,10-20")}
    for sample in Records(folder):
        entry = raw[sample.id]
        assert (sample.group, sample.label, sample.split) == (entry.group, entry.label, entry.split)
        whole = Image.open(entry.image.path).resize((24, 16), Image.Resampling.HAMMING)  # the whole frame, stretched
        assert np.abs(sample.image[..., 0].astype(int) - np.asarray(whole)).max() <= 1
    assert prepare("nih", tmp_path, (16, 24), out_dir=tmp_path / "out", labels="5-9,10-20") == folder
    assert prepare("nih", tmp_path, (16, 24), out_dir=tmp_path / "out", labels="11-20,0-8") != folder


def test_class_names_by_number(tmp_path):
    make_classes(tmp_path / "own", {"grade 10": 2, "grade 9": 2, "grade 1": 2})
    manifest = read_manifest(prepare(str(tmp_path / "own"), tmp_path, (16, 16), out_dir=tmp_path / "out"))
    assert manifest["class_names"] == ["grade 1", "grade 9", "grade 10"] and "labels" not in manifest


def test_16_bit_xrays_stay_16_bit(tmp_path):
    make_nih(tmp_path / "nih", PEOPLE * 2, xrays=1, lists=False)
    deep = {}
    for path in (tmp_path / "nih").rglob("*.png"):
        deep[path.stem] = RNG.integers(0, 65536, (16, 16)).astype(np.uint16)
        Image.fromarray(deep[path.stem]).save(path)
    folder = prepare("nih", tmp_path, (16, 16), out_dir=tmp_path / "out")
    for sample in Records(folder):
        assert sample.image.dtype == np.uint16 and (sample.image[..., 0] == deep[sample.id]).all()


def test_patients_stay_out_of_everything_else(tmp_path):
    """The prepared set keeps the group, a copy of it written as the scripts write does not,
    and a synthetic one may not.
    """
    make_nih(tmp_path / "nih", [(g, a) for g, a in PEOPLE] * 2, xrays=1, lists=False)
    path = tmp_path / "nih" / "Data_Entry_2017.csv"
    path.write_text(path.read_text().replace(",No Finding,0,", ",No Finding,0,Doe"))
    real = Records(prepare("nih", tmp_path, (16, 16), out_dir=tmp_path / "out"), "train")
    assert all(sample.group.startswith("Doe") for sample in real)
    write_records(tmp_path / "copy", "copy", real, source="made", class_names=real.class_names)
    assert not any(b"Doe" in path.read_bytes() for path in (tmp_path / "copy").iterdir())


def test_prepared_without_masks(tmp_path):
    make_idrid(tmp_path / "idrid")
    folder = prepare("idrid", tmp_path, (32, 32), out_dir=tmp_path / "out")
    manifest = read_manifest(folder)
    assert manifest["counts"] == {"test": 2, "train": 5}
    assert set(manifest["features"]) == {"id", "image", "field_of_view", "label"}
    assert (manifest["fields_of_view"], manifest["test_split"]) == ("estimated", "official")
    assert manifest["class_names"] == ["0", "1", "2", "3", "4"]  # so that class i is grade i
    assert manifest["class_counts"]["test"] == {"0": 1, "1": 0, "2": 0, "3": 0, "4": 1}
    for split, grades in (("train", TRAIN_GRADES), ("test", TEST_GRADES)):
        samples = list(Records(folder, split))
        assert [sample.label for sample in samples] == grades
        assert all(sample.mask is None and sample.field_of_view.any() for sample in samples)

    folder = prepare("idrid", tmp_path, (32, 32), out_dir=tmp_path / "out", holdout=2)
    assert read_manifest(folder)["counts"] == {"test": 2, "train": 3}

    make_messidor(tmp_path / "messidor", count=1)
    manifest = read_manifest(prepare("messidor", tmp_path, (32, 32), out_dir=tmp_path / "out"))
    assert manifest["counts"] == {"train": 3} and manifest["test_split"] == "none"
    assert set(manifest["features"]) == {"id", "image", "field_of_view"}
