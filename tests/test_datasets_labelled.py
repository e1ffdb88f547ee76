"""Labelled sets: nih, shenzhen and pcam in their official layouts with made files, the real subsets,
and folders of one's own.
"""

import collections
import csv
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from test_datasets import load, refused, save

from synthmed_tf.datasets import load as load_module
from synthmed_tf.datasets import study_groups
from synthmed_tf.datasets.fingerprint import fingerprint_set
from synthmed_tf.datasets.load import load_samples
from synthmed_tf.datasets.prepare import prepare
from synthmed_tf.datasets.sources import list_entries
from synthmed_tf.datasets.split import split_entries
from synthmed_tf.records.manifest import read_manifest
from synthmed_tf.records.read import Records
from synthmed_tf.records.write import write_records
from synthmed_tf.sample import InputError

ROOT = Path(__file__).resolve().parents[1]
RNG = np.random.default_rng(0)
NIH_COLUMNS = [
    "Image Index",
    "Finding Labels",
    "Follow-up #",
    "Patient ID",
    "Patient Age",
    "Patient Gender",
    "View Position",
    "OriginalImage[Width",
    "Height]",
    "OriginalImagePixelSpacing[x",
    "y]",
    "",
]
PEOPLE = [("F", 20), ("M", 30), ("F", 44), ("M", 45), ("F", 60), ("M", 66)]  # one of each group of young_mature
GROUPS = ["female 18-38", "male 18-38", "female 39-47", "male 39-47", "female 48-68", "male 48-68"]


@pytest.fixture(autouse=True)
def no_normalisation(monkeypatch):
    """Pixels stay as they are in the files: how brightness is normalised is for tests/test_radiographs.py."""
    monkeypatch.setattr(load_module, "normalise_by_lungs", lambda image: (image, True))


def grey(shape=(12, 10)):
    return RNG.integers(0, 255, shape).astype(np.uint8)


def write_table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def make_nih(folder, people=PEOPLE, films=2, age="{:03d}Y", lists=True, table="Data_Entry_2017.csv"):
    """The official layout with small made films: patients of PEOPLE, `films` of each; the last two patients are test."""
    rows, names = [], {"train_val_list.txt": [], "test_list.txt": []}
    for patient, (gender, years) in enumerate(people, 1):
        for film in range(films):
            name = f"{patient:08d}_{film:03d}.png"
            save(folder / f"images_{1 + patient % 2:03d}" / "images" / name, grey())
            rows.append(
                [name, "No Finding", film, patient, age.format(years), gender, "PA", 2682, 2749, 0.143, 0.143, ""]
            )
            names["test_list.txt" if patient > len(people) - 2 else "train_val_list.txt"].append(name)
    write_table(folder / table, [NIH_COLUMNS, *rows])
    for name in names if lists else ():
        (folder / name).write_text("\n".join(names[name]))


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def shares(entries):
    """{class: share of its images in test}; asserts that no group is in both splits."""
    splits, count, tested = {}, collections.Counter(), collections.Counter()
    for entry in entries:
        assert splits.setdefault(entry.group, entry.split) == entry.split
        count[entry.label] += 1
        tested[entry.label] += entry.split == "test"
    return {label: tested[label] / count[label] for label in count}


def quiet_split(*arguments, **options):
    """split_entries of a set of which images are left out, and the first warning."""
    with pytest.warns(UserWarning) as caught:
        return split_entries(*arguments, **options), str(caught[0].message)


# ---------------------------------------------------------------- nih


@pytest.mark.parametrize("age", ["{:03d}Y", "{}"])  # as in the releases of 2017 and 2020
def test_nih_as_it_ships(tmp_path, age):
    make_nih(tmp_path / "nih", PEOPLE * 2, age=age)
    samples = load("nih", tmp_path)
    assert len(samples) == 24
    for id, sample in samples.items():
        patient = int(id[:8])
        assert (sample.group, sample.label) == (str(patient), GROUPS[(patient - 1) % 6])
        assert sample.split == ("test" if patient > 10 else "train")
        assert sample.image.shape == (12, 10, 1) and sample.mask is None and sample.field_of_view is None
        path = tmp_path / "nih" / f"images_{1 + patient % 2:03d}" / "images" / f"{id}.png"
        assert (sample.image[..., 0] == np.asarray(Image.open(path))).all()


def test_nih_own_bins_leave_the_others_out(tmp_path):
    make_nih(tmp_path / "nih", [("F", 18), ("F", 38), ("M", 38), ("M", 39), ("F", 17), ("M", 18)], films=1, lists=False)
    entries, said = quiet_split("nih", tmp_path, labels="18-38")
    assert sorted(entry.label for entry in entries) == ["female 18-38"] * 2 + ["male 18-38"] * 2
    assert "2 of 6 images are in no class of --labels=18-38" in said and "00000004_000.png" in said
    refused("none of the 6 images of nih has an age in these bins", "nih", tmp_path, labels="90-99")
    refused(["all images are of one class", "female 17-17"], "nih", tmp_path, labels="17-17")
    refused("age bins must not overlap", "nih", tmp_path, labels="18-38,30-40")


def test_ages_that_are_typing_errors(tmp_path):
    make_nih(tmp_path / "nih", [("F", 20), ("M", 20), ("F", 414), ("M", 20)], films=1, lists=False)
    entries, said = quiet_split("nih", tmp_path, labels="0-999")
    assert len(entries) == 3 and "1 of 4 images" in said


def test_nih_of_any_folders_and_with_some_archives_only(tmp_path):
    make_nih(tmp_path / "nih", PEOPLE * 2)
    official = list_entries("nih", tmp_path)
    for path in (tmp_path / "nih").glob("images_002/images/*.png"):
        path.unlink()
    assert [e.id for e in list_entries("nih", tmp_path)] == [e.id for e in official if int(e.id[:8]) % 2 == 0]

    make_nih(tmp_path / "other" / "NIH", PEOPLE * 2, table="metadata.csv")
    for folder in (tmp_path / "other" / "NIH").glob("images_*"):
        (folder / "images").rename(tmp_path / "other" / "NIH" / f"of_{folder.name}")
    assert [e[:3] for e in list_entries("nih", tmp_path / "other")] == [e[:3] for e in official]


def test_nih_that_does_not_fit(tmp_path):
    folder = tmp_path / "nih"
    refused(["NIH ChestX-ray14 is not there", "nihcc.app.box.com", str(folder), "--data_dir"], "nih", tmp_path)
    folder.mkdir()
    refused("no Data_Entry_2017_v2020.csv", "nih", tmp_path)
    make_nih(folder)
    table = folder / "Data_Entry_2017.csv"
    right = table.read_text()
    edit(table, "00000002_001.png", "00000009_001.png")
    refused(["00000002_001.png: has no row in", "1 of 12 images have none"], "nih", tmp_path)
    table.write_text(right)
    edit(table, "00000002_001.png", "00000002_000.png")
    refused(["Data_Entry_2017.csv: line 5", "second time"], "nih", tmp_path)
    table.write_text(right.replace(",2,030Y", ",,030Y"))
    refused(["line 4", "has no Patient ID"], "nih", tmp_path)
    table.write_text(right.replace("Patient Age", "Age"))
    refused(["no column 'Patient Age'", "Image Index, Finding Labels"], "nih", tmp_path)
    table.write_text(right)
    (folder / "test_list.txt").rename(tmp_path / "test_list.txt")
    refused(["has train_val_list.txt and no test_list.txt"], "nih", tmp_path)
    (folder / "test_list.txt").write_text("00000006_000.png")
    refused("neither in train_val_list.txt nor in test_list.txt", "nih", tmp_path)
    (folder / "test_list.txt").write_text(
        "\n".join(f"{patient:08d}_00{film}.png" for patient in (4, 5, 6) for film in (0, 1))
    )
    edit(folder / "train_val_list.txt", "00000004_000.png", "")
    edit(folder / "test_list.txt", "00000004_001.png", "00000001_000.png")
    edit(folder / "train_val_list.txt", "00000001_000.png", "00000004_001.png")
    refused(["its group", "is in train and in test"], "nih", tmp_path)
    save(folder / "more" / "00000001_000.png", grey())
    refused("00000001_000.png: same name as", "nih", tmp_path)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P"])
def test_films_saved_in_colour_are_grey(tmp_path, mode):
    make_nih(tmp_path / "nih", PEOPLE * 2)
    path = tmp_path / "nih" / "images_002" / "images" / "00000001_000.png"
    pixels = np.asarray(Image.open(path))
    Image.fromarray(pixels).convert(mode).save(path)
    assert (load("nih", tmp_path)["00000001_000"].image[..., 0] == pixels).all()


# ---------------------------------------------------------------- shenzhen


@pytest.mark.parametrize(
    ("reading", "label"),
    [
        ("male 45yrs\nnormal", "male 39-47"),
        ("Female , 33 yrs\r\nSTB of both lungs\r\n", "female 18-38"),
        ("femal 32yrs", "female 18-38"),
        ("FEMALE  68years  \nright upper PTB", "female 48-68"),
        ("M 38", "male 18-38"),
        ("Patient's Sex: F\nPatient's Age: 058Y", "female 48-68"),
        ("38 male", "male 18-38"),
        ("male 240 months", "male 18-38"),
        ("male 20month", None),  # 1 year
        ("female 64days", None),
        ("female 17yrs", None),
        ("normal", None),
        ("", None),
    ],
)
def test_readings_in_all_their_ways(tmp_path, reading, label):
    folder = tmp_path / "shenzhen"
    texts = {"CHNCXR_0001_0": "male 20yrs", "CHNCXR_0002_1": "female 20yrs", "CHNCXR_0662_1": reading}
    for name, text in texts.items():
        save(folder / "CXR_png" / f"{name}.png", grey())
        (folder / "ClinicalReadings").mkdir(exist_ok=True)
        (folder / "ClinicalReadings" / f"{name}.txt").write_text(text, newline="")
    entries = {entry.id: entry for entry in list_entries("shenzhen", tmp_path)}
    assert entries.keys() == texts.keys()
    assert all((entry.group, entry.split) == (id, None) and entry.is_xray for id, entry in entries.items())
    assert entries["CHNCXR_0662_1"].label == label


def test_ages_in_years():
    found = [study_groups.parse_age(text) for text in ("058Y", "7", "18M", "011D", "60 weeks", "121", "20100503", "")]
    assert found == [58, 7, 1, 0, 1, None, None, None]
    texts = ("45 M", "45 mo", "-5", "F-34", "F 2019-05-01 34y", "1/5/2019 M 34", "taken 2019/05")
    assert [study_groups.parse_age(text) for text in texts] == [45, 3, None, 34, 34, 34, None]


def test_shenzhen_that_does_not_fit(tmp_path):
    folder = tmp_path / "shenzhen"
    refused(["are not there", "lhncbc.nlm.nih.gov", str(folder)], "shenzhen", tmp_path)
    folder.mkdir()
    refused("no CHNCXR_0001_0.png and so on", "shenzhen", tmp_path)
    save(folder / "CXR_png" / "CHNCXR_0001_0.png", grey())
    refused("CHNCXR_0001_0.png: has no ClinicalReadings/CHNCXR_0001_0.txt", "shenzhen", tmp_path)
    write_table(folder / "metadata.csv", [["study_id", "sex", "age"], ["CHNCXR_0001_0.png", "Male", "45"]])
    refused("one class, 'male 39-47'", "shenzhen", tmp_path)


# ---------------------------------------------------------------- pcam


def make_hdf5(folder, part, labels, slides=None, tiles=None, shape=None):
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob(f"*_{part}_*.h5"):
        path.unlink()  # HDF5 does not write over a file that is open
    stem = f"camelyonpatch_level_2_split_{part}_"
    tiles = RNG.integers(0, 255, (len(labels), 96, 96, 3)).astype(np.uint8) if tiles is None else tiles
    with h5py.File(folder / f"{stem}x.h5", "w") as file:
        file.create_dataset("x", data=tiles, chunks=(1, *tiles.shape[1:]), compression="gzip")
    with h5py.File(folder / f"{stem}y.h5", "w") as file:
        file["y"] = np.array(labels, np.uint8).reshape(shape or (-1, 1, 1, 1))
    if slides:
        rows = [[4 * i, i, label, label, slide] for i, (label, slide) in enumerate(zip(labels, slides, strict=True))]
        write_table(
            folder / f"{stem}meta.csv", [["coord_y", "coord_x", "tumor_patch", "center_tumor_patch", "wsi"], *rows]
        )
    return tiles


def test_pcam_as_it_ships(tmp_path):
    slides = {"train": ["a", "b", "b"], "valid": ["c", "d"], "test": ["e", "e"]}
    labels = {"train": [0, 1, 1], "valid": [0, 1], "test": [1, 0]}
    tiles = {part: make_hdf5(tmp_path / "pcam", part, labels[part], slides[part]) for part in slides}
    samples = load("pcam", tmp_path)
    assert len(samples) == 7
    for part in slides:
        for index, (label, slide) in enumerate(zip(labels[part], slides[part], strict=True)):
            sample = samples[f"{part}_{index:06d}"]
            assert (sample.label, sample.group) == (("normal", "tumour")[label], slide)
            assert sample.split == ("test" if part == "test" else "train")
            assert sample.image.dtype == np.uint8 and (sample.image == tiles[part][index]).all()


def test_pcam_without_test_and_meta_files(tmp_path):
    make_hdf5(tmp_path / "pcam", "train", [0, 1] * 10)
    entries = split_entries("pcam", tmp_path)
    assert shares(entries) == {"normal": 0.2, "tumour": 0.2} and {entry.group for entry in entries} == {
        e.id for e in entries
    }


def test_tiles_are_read_one_at_a_time(tmp_path, monkeypatch):
    make_hdf5(tmp_path / "pcam", "train", [0, 1] * 5)
    read = []
    original = h5py.Dataset.__getitem__
    monkeypatch.setattr(
        h5py.Dataset, "__getitem__", lambda self, key: (read.append((self.name, key)), original(self, key))[1]
    )
    samples = load_samples("pcam", tmp_path)
    assert [name for name, _ in read] == ["/y"]
    next(iter(samples))
    assert len(read) == 2 and read[1][0] == "/x" and isinstance(read[1][1], int)


def test_replaced_hdf5_files_are_opened_anew(tmp_path):
    for seed in (0, 1):
        tiles = make_hdf5(tmp_path / "pcam", "train", [0, 1] * 5)
        os.utime(tmp_path / "pcam" / "camelyonpatch_level_2_split_train_x.h5", (seed, seed))
        assert all((load("pcam", tmp_path)[f"train_{i:06d}"].image == tiles[i]).all() for i in range(10))


def test_hdf5_that_does_not_fit(tmp_path):
    folder = tmp_path / "pcam"
    x, y, meta = (folder / f"camelyonpatch_level_2_split_train_{end}" for end in ("x.h5", "y.h5", "meta.csv"))
    refused(["PatchCamelyon is not there", "github.com/basveeling/pcam", "gunzip"], "pcam", tmp_path)
    folder.mkdir()
    refused("no camelyonpatch_level_2_split_train_x.h5 and no normal/ and tumor/", "pcam", tmp_path)
    x.with_suffix(".h5.gz").write_bytes(b"")
    refused(["train_x.h5.gz: still packed", "gunzip"], "pcam", tmp_path)
    make_hdf5(folder, "train", [0, 1, 2])
    refused(["train_y.h5: holds labels other than 0 and 1"], "pcam", tmp_path)
    make_hdf5(folder, "train", [0, 1], tiles=np.zeros((3, 96, 96, 3), np.uint8))
    refused(["x is uint8 [3, 96, 96, 3] and y uint8 [2, 1, 1, 1]", "[n, 96, 96, 3]"], "pcam", tmp_path)
    make_hdf5(folder, "train", [0, 1], tiles=np.zeros((2, 96, 96, 3), np.float32))
    refused("x is float32", "pcam", tmp_path)
    make_hdf5(folder, "train", [0, 1], slides=["a"] * 2)
    edit(meta, "wsi", "slide")
    refused(["train_meta.csv: 2 rows", "column wsi"], "pcam", tmp_path)
    meta.unlink()
    for write in (
        lambda file: file.create_dataset(
            "y", (2**40, 1, 1, 1), "u1", chunks=(1, 1, 1, 1)
        ),  # takes no space in the file
        lambda file: file.create_dataset("y", data=[b"a", b"b"]),
        lambda file: file.create_dataset("y", data=1),
        lambda file: file.create_group("y"),
        lambda file: None,
    ):
        y.unlink()
        with h5py.File(y, "w") as file:
            write(file)
        refused("download", "pcam", tmp_path)
    x.unlink(), y.unlink()
    with h5py.File(x, "w") as file:
        file.create_dataset("x", (2**40, 96, 96, 3), "u1", chunks=(1, 96, 96, 3))
    with h5py.File(y, "w") as file:
        file.create_dataset("y", (2**40, 1, 1, 1), "u1", chunks=(1, 1, 1, 1))
    refused("n up to 1048576", "pcam", tmp_path)
    make_hdf5(folder, "train", [0, 1])
    content = x.read_bytes()
    x.unlink()
    x.write_bytes(content[: len(content) // 2])
    refused("not a readable HDF5 file", "pcam", tmp_path)
    x.write_bytes(b"no such thing")
    refused("not a readable HDF5 file", "pcam", tmp_path)
    y.unlink()
    refused("no camelyonpatch_level_2_split_train_y.h5", "pcam", tmp_path)
    x.unlink()
    make_hdf5(folder, "valid", [0, 1])
    refused("no camelyonpatch_level_2_split_train_x.h5", "pcam", tmp_path)


def test_hdf5_that_points_to_other_files_is_not_followed(tmp_path):
    folder, secret = tmp_path / "pcam", tmp_path / "secret"
    secret.write_bytes(bytes(2 * 96 * 96 * 3))
    x = folder / "camelyonpatch_level_2_split_train_x.h5"
    make_hdf5(tmp_path / "other", "train", [0, 1])
    other = tmp_path / "other" / x.name
    layout = h5py.VirtualLayout((2, 96, 96, 3), "u1")
    layout[:] = h5py.VirtualSource(other, "x", (2, 96, 96, 3))
    for write in (
        lambda file: file.create_dataset("x", (2, 96, 96, 3), "u1", external=[(str(secret), 0, h5py.h5f.UNLIMITED)]),
        lambda file: file.create_virtual_dataset("x", layout),
        lambda file: file.update({"x": h5py.ExternalLink(other, "x")}),
        lambda file: file.update({"deep": h5py.ExternalLink(other, "/"), "x": h5py.SoftLink("/deep/x")}),
    ):
        make_hdf5(folder, "train", [0, 1])
        x.unlink()
        with h5py.File(x, "w") as file:
            write(file)
        refused(["train_x.h5", "lies in another file"], "pcam", tmp_path)


def test_damaged_tile_can_be_left_out(tmp_path):
    tiles = make_hdf5(tmp_path / "pcam", "train", [0, 1] * 5)
    path = tmp_path / "pcam" / "camelyonpatch_level_2_split_train_x.h5"
    with h5py.File(path) as file:
        place = file["x"].id.get_chunk_info(3)
    content = bytearray(path.read_bytes())
    content[place.byte_offset : place.byte_offset + 1000] = bytes(1000)
    path.write_bytes(content)
    refused(["train_x.h5, tile 3: cannot be read", "--skip_bad_files"], "pcam", tmp_path)
    with pytest.warns(UserWarning, match="1 unreadable files left out .*tile 3"):
        samples = {sample.id: sample for sample in load_samples("pcam", tmp_path, skip_bad_files=True)}
    assert len(samples) == 9 and (samples["train_000004"].image == tiles[4]).all()


def test_pcam_as_folders_of_classes(tmp_path):
    for name in ("balanced/normal/a", "balanced/tumor/b", "extra/normal/c"):
        save(tmp_path / "pcam" / f"{name}.tif", RNG.integers(0, 255, (96, 96, 3)).astype(np.uint8))
    found = [(entry.id, entry.group, entry.label, entry.split) for entry in list_entries("pcam", tmp_path)]
    assert found == [("a", "a", "normal", None), ("b", "b", "tumour", None)]
    (tmp_path / "pcam" / "balanced" / "tumor").rename(tmp_path / "pcam" / "Tumour")
    assert [e.label for e in list_entries("pcam", tmp_path)] == ["normal", "tumour"]
    refused("pcam has no choice of classes", "pcam", tmp_path, labels="wsi")


# ---------------------------------------------------------------- the real subsets


def test_real_nih(real_data):
    everybody = list_entries("nih", real_data, "0-120")
    assert len(everybody) == 961 and len({entry.group for entry in everybody}) == 653  # SOURCE.md
    assert collections.Counter(entry.label for entry in everybody) == {"male 0-120": 504, "female 0-120": 457}
    adults, said = quiet_split("nih", real_data, labels="18-120")
    assert len(adults) == 961 - 93 and said.startswith("nih: 93 of 961 images are in no class")
    entries, _ = quiet_split("nih", real_data)
    assert sorted(shares(entries)) == sorted(GROUPS)
    assert all(0.19 < share < 0.23 for share in shares(entries).values())
    with pytest.warns(UserWarning):
        samples = list(load_samples("nih", real_data))
    assert len(samples) == len(entries) - 1  # 00002658_001 and _002 are the same file
    assert all(s.image.shape == (256, 256, 1) and s.image.dtype == np.uint8 for s in samples)


def test_real_shenzhen(real_data):
    everybody = list_entries("shenzhen", real_data, "0-17,18-120")
    counts = collections.Counter(entry.label for entry in everybody)
    assert len(everybody) == 566 and counts["male 0-17"] + counts["female 0-17"] == 24  # SOURCE.md
    assert counts["male 0-17"] + counts["male 18-120"] == 389
    entries, _ = quiet_split("shenzhen", real_data)
    assert sorted(shares(entries)) == sorted(GROUPS) and all(0.19 < share < 0.23 for share in shares(entries).values())


@pytest.mark.parametrize("labels", ["x_norm_l", "x_norm", "x_norm_2"])
def test_real_nih_in_the_papers_bins(real_data, labels):
    entries, _ = quiet_split("nih", real_data, labels=labels)
    assert all(0 < share <= 0.5 for share in shares(entries).values())


def test_real_pcam(real_data):
    entries = split_entries("pcam", real_data)
    counts = collections.Counter((entry.label, entry.split) for entry in entries)
    assert len(entries) == 2 * 517  # SOURCE.md: balanced/; a fifth of 517 is 103.4
    assert counts == {
        (label, split): n for label in ("normal", "tumour") for split, n in (("train", 413), ("test", 104))
    }
    assert len(load("pcam", real_data)) == 2 * 517
    samples = load_samples("pcam", real_data)
    assert next(samples).image.shape == (96, 96, 3)


# ---------------------------------------------------------------- folders of one's own


def make_classes(folder, classes={"normal": 10, "tumour": 15}):
    for name, count in classes.items():
        for index in range(count):
            save(folder / name / f"{index}.png", grey())


def make_table(folder, rows, header=("file", "finding"), name="labels.csv"):
    """FOLDER/images/ with a film for each row, and the table."""
    for row in rows:
        save(folder / "images" / row[0], grey())
    write_table(folder / name, [header, *rows])
    return folder


def test_one_subfolder_a_class(tmp_path):
    make_classes(tmp_path)
    (tmp_path / "README.txt").write_text("x")
    (tmp_path / ".cache").mkdir()
    samples = load(tmp_path)
    assert collections.Counter((s.label, s.split) for s in samples.values()) == {
        ("normal", "train"): 8, ("normal", "test"): 2, ("tumour", "train"): 12, ("tumour", "test"): 3,
    }  # fmt: skip
    assert samples["normal_3"].label == "normal" and samples["normal_3"].group == "normal_3"
    tests, again = ({id for id, s in some.items() if s.split == "test"} for some in (samples, load(tmp_path)))
    assert tests == again  # a fixed choice


def test_classes_in_train_and_test(tmp_path):
    for split, count in (("train", 3), ("val", 2), ("test", 1)):
        make_classes(tmp_path / split, {"a": count, "b": 1})
    samples = load(tmp_path)
    assert collections.Counter((s.label, s.split) for s in samples.values()) == {
        ("a", "train"): 5, ("b", "train"): 2, ("a", "test"): 1, ("b", "test"): 1,
    }  # fmt: skip
    assert samples["val_a_1"].split == "train"
    make_classes(tmp_path / "test", {"c": 1})
    refused("the class 'c' has test images but no training images", tmp_path)
    (tmp_path / "other").mkdir()
    refused(["other: lies beside", "move it"], tmp_path)


def test_folders_of_classes_that_do_not_fit(tmp_path):
    make_classes(tmp_path, {"a": 2})
    refused(["all images are of one class, 'a'", "two or more"], tmp_path)
    (tmp_path / "b").mkdir()
    refused(["b: a class without images", ".png"], tmp_path)
    (tmp_path / "b" / "notes.txt").write_text("x")
    refused("b/notes.txt: not an image file", tmp_path)
    (tmp_path / "b" / "notes.txt").rename(tmp_path / "notes.csv")
    refused(["has the table notes.csv and sub-folders with images", "--labels=COLUMN", "move the table away"], tmp_path)
    (tmp_path / "notes.csv").unlink()
    refused(["one CSV table of labels is needed, found none for --labels=x"], tmp_path, labels="x")


def test_a_table_of_labels(tmp_path):
    rows = [[f"{i}.png", "ill" if i % 3 else "well"] for i in range(15)]
    samples = load(make_table(tmp_path, rows))
    assert {f"{id}.png": s.label for id, s in samples.items()} == dict(rows)
    assert shares(samples.values()) == {"ill": 0.2, "well": 0.2}


@pytest.mark.parametrize("call", ["images/{}.png", "{}.png", "{}", "./images/{}.png", "images\\{}.png"])
def test_what_a_table_may_call_an_image(tmp_path, call):
    make_table(tmp_path, [[f"{i}.png", i % 2] for i in range(4)])
    write_table(tmp_path / "labels.csv", [["class", "name"], *([i % 2, call.format(i)] for i in range(4))])
    assert {entry.id: entry.label for entry in list_entries(tmp_path, "")} == {
        "0": "0",
        "1": "1",
        "2": "0",
        "3": "1",
    }


def test_a_table_with_groups_and_split(tmp_path):
    rows = [
        ["a.png", "ill", "p1", "Train"],
        ["b.png", "ill", "p1", "val"],
        ["c.png", "well", "p2", "train"],
        ["d.png", "well", "p3", "test"],
    ]
    make_table(tmp_path, rows, ("path", "finding", "Patient ID", "split"))
    found = {entry.id: (entry.label, entry.group, entry.split) for entry in list_entries(tmp_path, "")}
    assert found == {
        "a": ("ill", "p1", "train"),
        "b": ("ill", "p1", "train"),
        "c": ("well", "p2", "train"),
        "d": ("well", "p3", "test"),
    }
    edit(tmp_path / "labels.csv", "p3,test", "p2,test")
    refused(["its group 'p2' is in train and in test"], tmp_path)
    edit(tmp_path / "labels.csv", "p2,test", "p2,none")
    refused(["labels.csv: line 5: split is 'none'", "train, val or test"], tmp_path)
    edit(tmp_path / "labels.csv", "p2,none", ",test")
    refused(["line 5: Patient ID is ''"], tmp_path)


@pytest.mark.parametrize(
    "column",
    [
        "PatientID",
        "patient-id",
        "PATIENT_NAME",
        "subject",
        "case_id",
        "participant_id",
        "Person Name",
        "study_id",
        "group",
    ],
)
def test_a_column_of_patients_whatever_it_is_called(tmp_path, column):
    rows = [[f"{i}.png", f"p{i // 2}", "ab"[i % 2]] for i in range(10)]
    make_table(tmp_path, rows, ("file", column, "finding"))
    for labels in (None, "finding"):
        entries = split_entries(str(tmp_path), "", labels=labels)
        assert {entry.id: entry.group for entry in entries} == {row[0][:-4]: row[1] for row in rows}
        assert {entry.label for entry in entries} == {"a", "b"} and len(shares(entries)) == 2
    make_table(tmp_path, [row[:2] for row in rows], ("file", column))
    refused("which column holds the classes?", tmp_path)  # names of patients are no classes
    assert {entry.label for entry in list_entries(tmp_path, "", column)} == {row[1] for row in rows}


def test_the_patient_counts_before_the_study(tmp_path):
    rows = [[f"{i}.png", f"s{i}", f"p{i // 2}", "ab"[i % 2]] for i in range(10)]
    make_table(tmp_path, rows, ("file", "study_id", "Patient", "finding"))
    assert {entry.group for entry in list_entries(tmp_path, "")} == {f"p{i}" for i in range(5)}


def test_tables_that_are_not_utf_8(tmp_path):
    make_table(tmp_path, [[f"{i}.png", ("Tumör", "Tumür")[i % 2]] for i in range(4)])
    text = (tmp_path / "labels.csv").read_text(encoding="utf-8")
    assert {entry.label for entry in list_entries(tmp_path, "")} == {"Tumör", "Tumür"}
    for encoding in ("latin-1", "utf-16", "utf-16-le"):
        (tmp_path / "labels.csv").write_bytes(text.encode(encoding))
        refused(["labels.csv", "save it as CSV UTF-8"], tmp_path)


def test_classes_whose_names_are_not_one_line_of_text(tmp_path):
    for i, name in enumerate((" lead", "trail ", "two\nlines", "bell\a")):
        make_classes(tmp_path / str(i), {name: 2, "b": 2})
        refused([repr(name), "rename it"], tmp_path / str(i))
    make_table(tmp_path / "table", [["0.png", "a"], ["1.png", "two\nlines"]])
    refused(["labels.csv: line 4: the class 'two\\nlines'"], tmp_path / "table")


def test_a_folder_of_masks_beside_classes_is_not_left_out_silently(tmp_path):
    make_classes(tmp_path, {"a": 2, "b": 2, "masks": 2})
    refused(["masks: lies beside folders of classes", "rename it if it is a class"], tmp_path)


@pytest.mark.parametrize("parent", [".", "train"])
def test_images_and_masks_in_capitals_are_not_taken_for_classes(parent, tmp_path):
    make_classes(tmp_path / parent, {"Images": 2, "Masks": 2})
    refused(["Images: these names are in lower case; rename it images"], tmp_path)


def test_a_choice_of_label_columns(tmp_path):
    rows = [[f"{i}.png", "FM"[i % 2], "ill" if i < 5 else "well", ""] for i in range(10)]
    make_table(tmp_path, rows, ("file", "sex", "finding", "empty"))
    assert load(tmp_path, labels="sex")["3"].label == "M" and load(tmp_path, labels="finding")["3"].label == "ill"
    prints = [fingerprint_set(str(tmp_path), "", labels) for labels in ("sex", "finding")]
    assert prints[0] != prints[1]
    refused(["labels.csv: which column holds the classes?", "--labels=COLUMN", "sex, finding, empty"], tmp_path)
    refused(["--labels=age", "no such column", "file, sex, finding, empty"], tmp_path, labels="age")
    refused("its column 'empty' is empty", tmp_path, labels="empty")


def test_images_beside_a_table_or_in_folders_of_patients(tmp_path):
    for name in ("p1/1.png", "p1/2.png", "p2/1.png", "p3/1.png"):
        save(tmp_path / name, grey())
    rows = [["p1/1.png", "a"], ["p1/2.png", "b"], ["p2/1.png", "a"], ["p3/1.png", "b"]]
    write_table(tmp_path / "labels.CSV", [("path", "kind"), *rows])
    assert {e.id: e.label for e in list_entries(tmp_path, "", "kind")} == {
        path.replace("/", "_").removesuffix(".png"): label for path, label in rows
    }
    write_table(tmp_path / "labels.CSV", [("path", "kind"), ["1.png", "a"]])  # three of them
    refused("none of its columns (path, kind) names images", tmp_path, labels="kind")


def test_images_in_the_folder_itself(tmp_path):
    make_table(tmp_path, [["a.png", "x"], ["b.png", "y"]])
    for path in (tmp_path / "images").iterdir():
        path.rename(tmp_path / path.name)
    (tmp_path / "images").rmdir()
    assert {entry.id: entry.label for entry in list_entries(tmp_path, "")} == {"a": "x", "b": "y"}


def test_tables_that_do_not_fit(tmp_path):
    rows = [[f"{i}.png", "ab"[i % 2]] for i in range(10)]
    table = make_table(tmp_path, rows) / "labels.csv"
    save(tmp_path / "images" / "new.png", grey())
    refused(["new.png: has no row in", "1 of 11 images have none"], tmp_path)
    write_table(table, [("file", "finding"), *rows, ["new.png", "a"], ["newer.png", "b"]])
    refused(["labels.csv: line 13: no image 'newer.png'", "add it, or remove the line"], tmp_path)
    write_table(table, [("file", "finding"), *rows, ["new.png", "a"], ["images/new.png", "b"]])
    refused(["line 13", "second time"], tmp_path)
    write_table(table, [("file", "finding"), *([*row[:1], "a"] for row in [*rows, ["new.png"]])])
    refused("all images are of one class, 'a'", tmp_path)
    write_table(table, [("file",), *([row[0]] for row in rows)])
    refused(["which column holds the classes?", "there is none"], tmp_path)
    table.write_text("")
    refused("none of its columns (none) names images", tmp_path)
    table.write_text('file,"two\nlines"\n../images/0.png,a\n')
    refused("none of its columns (file, two\\nlines)", tmp_path)
    write_table(tmp_path / "more.csv", rows)
    refused("found labels.csv and more.csv", tmp_path)
    (tmp_path / "masks").mkdir()
    refused("has masks/, and images with masks have no classes", tmp_path, labels="finding")


def test_rows_without_a_class_are_left_out(tmp_path):
    make_table(tmp_path, [[f"{i}.png", "ab"[i % 2] if i else ""] for i in range(11)])
    entries, said = quiet_split(str(tmp_path), "")
    assert len(entries) == 10 and "1 of 11 images are in no class" in said


# ---------------------------------------------------------------- splits


def grouped_table(folder, groups):
    """groups: [(group, [labels])]."""
    rows = [[f"{group}_{i}.png", label, group] for group, labels in groups for i, label in enumerate(labels)]
    return str(make_table(folder, rows, ("file", "finding", "group")))


def test_every_class_is_tested_and_no_group_is_cut(tmp_path):
    rng = np.random.default_rng(1)
    groups = [
        (f"g{i}", rng.choice(["rare", "some", "many"], rng.integers(1, 5), p=[0.05, 0.25, 0.7])) for i in range(80)
    ]
    own = grouped_table(tmp_path, groups)
    entries = split_entries(own, "")
    assert all(0.2 <= share <= 0.5 for share in shares(entries).values()) and len(shares(entries)) == 3
    order = [(entry.id, entry.split) for entry in entries]
    assert order == sorted(order, key=lambda pair: pair[1] != "test")
    again = split_entries(own, "", seed=7)  # the seed is the held-out groups' alone
    assert [(entry.id, entry.split) for entry in again] == order


def test_a_class_of_one_group_is_all_train(tmp_path):
    own = grouped_table(
        tmp_path, [(f"g{i}", ["a"]) for i in range(5)] + [("h", ["b", "b"]), ("k", ["c"]), ("l", ["c"])]
    )
    with pytest.warns(UserWarning, match=r"1 classes have no test images \(b\)"):
        assert shares(split_entries(own, "")) == {"a": 0.2, "b": 0, "c": 0.5}


def test_holdout_of_a_labelled_set(tmp_path):
    own = grouped_table(tmp_path, [(f"g{i}", ["ab"[i % 2]]) for i in range(10)])
    held = [[e.group for e in split_entries(own, "", 4, seed) if e.split == "test"] for seed in (0, 0, 1)]
    assert held[0] == held[1] != held[2] and len(held[0]) == 4
    assert set(shares(split_entries(own, "", 4)).values()) == {0.4}
    with pytest.raises(InputError, match="--holdout=7: allowed are 1 to 4"):
        split_entries(own, "", 7)


def test_copies_do_not_straddle_the_split_of_classes(tmp_path):
    make_classes(tmp_path)
    test = [entry for entry in split_entries(str(tmp_path), "") if entry.split == "test"]
    train = next(entry for entry in split_entries(str(tmp_path), "") if entry.split == "train")
    train.image.path.write_bytes(test[0].image.path.read_bytes())
    with pytest.warns(UserWarning, match="1 copies"):
        samples = list(load_samples(str(tmp_path), ""))
    assert train.id not in {sample.id for sample in samples} and test[0].id in {sample.id for sample in samples}


def test_fingerprint_changes_with_group_and_split(tmp_path):
    make_table(
        tmp_path, [[f"{i}.png", "ab"[i % 2], f"g{i}", "train"] for i in range(6)], ("file", "x", "group", "split")
    )
    prints = {fingerprint_set(str(tmp_path), "")}
    for old, new in (("g1", "g9"), ("g2,train", "g2,test"), ("0.png,a", "0.png,b")):
        edit(tmp_path / "labels.csv", old, new)
        prints.add(fingerprint_set(str(tmp_path), ""))
    assert len(prints) == 4


# ---------------------------------------------------------------- prepared


def test_prepared_labelled_set(tmp_path):
    from synthmed_tf import synthesis

    make_nih(tmp_path / "nih", [("F", 8), ("M", 12)] * 5, films=1, lists=False)
    folder = prepare("nih", tmp_path, (16, 24), out_dir=tmp_path / "out", labels="5-9,10-20")
    manifest = read_manifest(folder)
    assert manifest["labels"] == "5-9,10-20" and manifest["fields_of_view"] == "none"
    assert manifest["test_split"] == "a fifth of each class, in whole groups"
    assert manifest["class_names"] == ["female 5-9", "male 10-20"]
    assert synthesis.describe_real(manifest)["labels"] == "5-9,10-20"
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


def test_16_bit_films_stay_16_bit(tmp_path):
    make_nih(tmp_path / "nih", PEOPLE * 2, films=1, lists=False)
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
    make_nih(tmp_path / "nih", [(g, a) for g, a in PEOPLE] * 2, films=1, lists=False)
    path = tmp_path / "nih" / "Data_Entry_2017.csv"
    path.write_text(path.read_text().replace(",No Finding,0,", ",No Finding,0,Doe"))
    real = Records(prepare("nih", tmp_path, (16, 16), out_dir=tmp_path / "out"), "train")
    assert all(sample.group.startswith("Doe") for sample in real)
    write_records(tmp_path / "copy", "copy", real, source="made", class_names=real.class_names)
    assert not any(b"Doe" in path.read_bytes() for path in (tmp_path / "copy").iterdir())


# ---------------------------------------------------------------- the commands


def test_flag_errors_are_one_line_and_quick(tmp_path):
    make_classes(tmp_path / "own")
    command = [sys.executable, "train_stage1.py", "--target=image", f"--out_dir={tmp_path / 'out'}", "--dry_run"]
    for words, says in (
        (["--data=drive", "--labels=x_norm"], "drive has no choice of classes"),
        ([f"--data={tmp_path / 'own'}", "--labels=finding"], "found none for --labels=finding"),
        (["--data=nih", f"--data_dir={tmp_path}"], "NIH ChestX-ray14 is not there"),
    ):
        done = subprocess.run([*command, *words], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 1 and says in done.stderr and done.stderr.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_check_of_labelled_sets_imports_nothing_heavy(tmp_path):
    make_nih(tmp_path / "nih", PEOPLE * 2)
    program = (
        "import sys\nfrom synthmed_tf.datasets.sources import check_set\ncheck_set('nih', sys.argv[1])\n"
        "print([name for name in ('tensorflow', 'scipy', 'skimage', 'h5py') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
