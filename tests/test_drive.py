"""DRIVE in its layouts, with made files, and the real one."""

import zipfile

import numpy as np
from raw_sets import load, make_drive, refused, same_samples, splits, zip_folder
from scipy import ndimage

from synthmed_tf.datasets.entries import read_entry
from synthmed_tf.datasets.fingerprint import fingerprint_set
from synthmed_tf.datasets.split import split_entries


def test_drive_layouts_are_the_same_set(tmp_path):
    made = make_drive(tmp_path / "plain" / "drive")
    plain = load("drive", tmp_path / "plain")
    assert splits(plain) == {
        **{f"{number:02}_test": "test" for number in (1, 2, 3)},
        **{f"{number}_training": "train" for number in (21, 22, 23, 24)},
    }
    assert plain["01_test"].second_mask is not None and plain["21_training"].second_mask is None

    zips = tmp_path / "zips" / "DRIVE"
    zips.mkdir(parents=True)
    for split in ("training", "test"):
        zip_folder(zips / f"{split}.zip", made / split, f"{split}/")
    same_samples(plain, load("drive", tmp_path / "zips"))

    nested = tmp_path / "nested" / "drive"
    nested.mkdir(parents=True)
    zip_folder(nested / "datasets.zip", zips, "datasets/")
    same_samples(plain, load("drive", tmp_path / "nested"))
    assert len({fingerprint_set("drive", tmp_path / name) for name in ("plain", "zips", "nested")}) == 3

    deeper = tmp_path / "deeper" / "drive"
    deeper.mkdir(parents=True)
    zip_folder(deeper / "DRIVE.zip", made, "DRIVE/")
    same_samples(plain, load("drive", tmp_path / "deeper"))


def test_drive_without_test_labels(tmp_path):
    make_drive(tmp_path / "drive", test_labels=False)
    samples = load("drive", tmp_path)
    assert all((sample.mask is None) == (sample.split == "test") for sample in samples.values())
    samples = load("drive", tmp_path, holdout=1)
    assert sorted(splits(samples).values()) == ["test", "train", "train", "train"]
    assert all(sample.mask is not None and sample.id.endswith("training") for sample in samples.values())


def test_drive_with_training_images_only(tmp_path):
    make_drive(tmp_path / "drive", test=0)
    assert set(splits(load("drive", tmp_path)).values()) == {"train"}


def test_incomplete_drive(tmp_path):
    folder = make_drive(tmp_path / "drive")
    (folder / "training" / "1st_manual" / "22_manual1.gif").unlink()
    refused(["22_training.tif", "1st_manual", "1 of 4"], "drive", tmp_path)


def test_real_drive(real_data):
    samples = load("drive", real_data)
    assert sum(sample.split == "train" for sample in samples.values()) == 20 and len(samples) == 40
    for sample in samples.values():
        assert sample.image.shape == (584, 565, 3) and sample.image.dtype == np.uint8
        assert 0.05 < sample.mask.mean() < 0.13 and 0.67 < sample.field_of_view.mean() < 0.70
        assert (sample.second_mask is not None) == (sample.split == "test")
        vessels = sample.mask[..., 0] == 1
        beside = ndimage.binary_dilation(vessels, iterations=4) & ~ndimage.binary_dilation(vessels, iterations=1)
        green = sample.image[..., 1]
        assert green[vessels].mean() < green[beside].mean()  # vessels are darker than what is beside them


def test_real_drive_as_zip(real_data, tmp_path):
    numbers = {"training": ("21", "22"), "test": ("01",)}
    (tmp_path / "drive").mkdir()
    for split in numbers:
        with zipfile.ZipFile(tmp_path / "drive" / f"{split}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in (real_data / "drive" / split).rglob("*"):
                if path.name.startswith(numbers[split]):
                    archive.write(path, path.relative_to(real_data / "drive").as_posix())
    zipped = load("drive", tmp_path)
    assert len(zipped) == 3
    entries = [entry for entry in split_entries("drive", real_data) if entry.id in zipped]
    same_samples(zipped, {entry.id: read_entry(entry, entry.split) for entry in entries})
