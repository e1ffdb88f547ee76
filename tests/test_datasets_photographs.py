"""idrid and messidor, photographs with grades and without masks: made files in their layouts, and the real IDRiD."""

import csv
import itertools
import os
import subprocess
import sys
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthmed_tf.datasets import messidor
from synthmed_tf.datasets.fingerprint import fingerprint_set
from synthmed_tf.datasets.load import load_samples
from synthmed_tf.datasets.prepare import prepare
from synthmed_tf.datasets.sources import check_set
from synthmed_tf.datasets.split import split_entries
from synthmed_tf.records.manifest import read_manifest
from synthmed_tf.records.read import Records
from synthmed_tf.sample import InputError

ROOT = Path(__file__).resolve().parents[1]
RNG = np.random.default_rng(0)
TRAIN_TABLE = "a. IDRiD_Disease Grading_Training Labels.csv"
TEST_TABLE = "b. IDRiD_Disease Grading_Testing Labels.csv"
TRAIN_GRADES, TEST_GRADES = ["3", "0", "4", "2", "1"], ["4", "0"]


def photograph(shape=(40, 60)):
    """A noisy disc, cut by the frame above and below, on black; and the disc."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    disc = (y - shape[0] / 2 + 0.5) ** 2 + (x - shape[1] / 2 + 0.5) ** 2 < (0.6 * shape[0]) ** 2
    return (RNG.integers(100, 200, (*shape, 3)) * disc[..., None]).astype(np.uint8), disc


def save(path, pixels=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photograph()[0] if pixels is None else pixels).save(path)
    return path


def write_table(path, rows, header=("Image name", "Retinopathy grade", "Risk of macular edema "), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="cp1252") as file:
        csv.writer(file, **options).writerows([header, *rows])


def make_idrid(folder):
    """The official layout with small made photographs, PNG behind the name .jpg so that every pixel is kept."""
    inner = folder / "B. Disease Grading"
    for place, table, grades, stray in (
        ("a. Training Set", TRAIN_TABLE, TRAIN_GRADES, 9),
        ("b. Testing Set", TEST_TABLE, TEST_GRADES, 0),
    ):
        names = [f"IDRiD_{number:03}" for number in range(1, len(grades) + 1)]
        for name in names:
            path = save(inner / "1. Original Images" / place / f"{name}.png")
            path.rename(path.with_suffix(".jpg"))
        rows = [[name, grade, "0", *[""] * stray] for name, grade in zip(names, grades, strict=True)]
        header = ("Image name", "Retinopathy grade", "Risk of macular edema ", *[""] * stray)
        write_table(inner / "2. Groundtruths" / table, rows + [[""] * (3 + stray)], header)
    return inner


def make_messidor(folder, bases=("Base11", "Base12", "Base33"), count=3):
    """The official layout with small made photographs; returns {base: names with suffix}."""
    made = {}
    for base in bases:
        made[base] = [f"2005{base[4:]}19_{38557 + index}_0{base[4]}00_PP.tif" for index in range(count)]
        for name in made[base]:
            save(folder / base / name)
    return made


def load(data, data_dir, **options):
    """All samples by id; no warning may come."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return {sample.id: sample for sample in load_samples(data, data_dir, **options)}


def refused(says, data, data_dir, **options):
    """Asserts that the set is refused with one line that has all the words in `says`."""
    with pytest.raises(InputError) as caught:
        list(load_samples(data, data_dir, **options))
    message = str(caught.value)
    assert "\n" not in message
    for words in [says] if isinstance(says, str) else says:
        assert words in message, message


def same_samples(first, second):
    assert list(first) == list(second)
    for id in first:
        assert (first[id].image == second[id].image).all()
        assert (first[id].label, first[id].split, first[id].group) == (
            second[id].label,
            second[id].split,
            second[id].group,
        )


# ---------------------------------------------------------------- IDRiD


def test_idrid_as_it_ships(tmp_path):
    make_idrid(tmp_path / "idrid")
    samples = load("idrid", tmp_path)
    assert {id: (sample.label, sample.split) for id, sample in samples.items()} == {
        **{f"IDRiD_00{index}_train": (grade, "train") for index, grade in enumerate(TRAIN_GRADES, 1)},
        **{f"IDRiD_00{index}_test": (grade, "test") for index, grade in enumerate(TEST_GRADES, 1)},
    }
    disc = photograph()[1]
    for id, sample in samples.items():
        assert sample.mask is None and sample.group == id
        assert sample.image.shape == (40, 60, 3) and sample.image.dtype == np.uint8
        field = sample.field_of_view[..., 0]  # estimated
        assert 2 * (field & disc).sum() / (field.sum() + disc.sum()) > 0.95


def test_idrid_short_layout_and_zip_are_the_same_set(tmp_path):
    made = make_idrid(tmp_path / "plain" / "idrid")
    plain = load("idrid", tmp_path / "plain")

    short = tmp_path / "short" / "IDRiD"
    short.mkdir(parents=True)
    for place, split in (("a. Training Set", "train"), ("b. Testing Set", "test")):
        (short / split).symlink_to(made / "1. Original Images" / place)
    for table in (TRAIN_TABLE, TEST_TABLE):
        (short / table).symlink_to(made / "2. Groundtruths" / table)
    same_samples(plain, load("idrid", tmp_path / "short"))

    zipped = tmp_path / "zipped" / "idrid"
    zipped.mkdir(parents=True)
    with zipfile.ZipFile(zipped / "B.%20Disease%20Grading.zip", "w") as archive:
        for file in sorted(made.rglob("*.*g")) + sorted(made.rglob("*.csv")):
            archive.write(file, "B. Disease Grading/" + file.relative_to(made).as_posix())
    same_samples(plain, load("idrid", tmp_path / "zipped"))


def test_other_parts_of_idrid_do_not_matter(tmp_path):
    make_idrid(tmp_path / "idrid")
    first = load("idrid", tmp_path)
    for part, name in (("A. Segmentation", "IDRiD_01.jpg"), ("C. Localization", "IDRiD_009.jpg")):
        save(tmp_path / "idrid" / part / "1. Original Images" / "a. Training Set" / name)
    same_samples(first, load("idrid", tmp_path))


def test_idrid_without_test_split(tmp_path):
    made = make_idrid(tmp_path / "idrid")
    for path in (made / "1. Original Images" / "b. Testing Set").iterdir():
        path.unlink()
    refused([TEST_TABLE, "line 2: grades 'IDRiD_001', but no such image"], "idrid", tmp_path)
    (made / "2. Groundtruths" / TEST_TABLE).unlink()
    assert {sample.split for sample in load("idrid", tmp_path).values()} == {"train"}


def test_photograph_without_grade_and_the_reverse(tmp_path):
    made = make_idrid(tmp_path / "idrid")
    images, table = made / "1. Original Images" / "a. Training Set", made / "2. Groundtruths" / TRAIN_TABLE
    (images / "IDRiD_002.jpg").rename(images / "IDRiD_009.jpg")
    refused([TRAIN_TABLE, "line 3: grades 'IDRiD_002', but no such image"], "idrid", tmp_path)
    write_table(table, [[f"IDRiD_00{number}", "1", "0"] for number in (1, 3, 4, 5)])
    refused(["IDRiD_009.jpg: has no grade in", TRAIN_TABLE, "1 of 5"], "idrid", tmp_path)
    table.unlink()
    refused([f"no {TRAIN_TABLE} for its 5 images", "https://ieee-dataport.org"], "idrid", tmp_path)


@pytest.mark.parametrize("grade", ["5", "-1", "", "mild", "1.0"])
def test_grades_that_do_not_exist(tmp_path, grade):
    table = make_idrid(tmp_path / "idrid") / "2. Groundtruths" / TRAIN_TABLE
    write_table(table, [["IDRiD_001", "0", ""], ["IDRiD_002", grade, "0"]])
    refused([f"{TRAIN_TABLE}: line 3: retinopathy grade {grade!r}", "0 to 4"], "idrid", tmp_path)


def test_tables_that_are_none(tmp_path):
    table = make_idrid(tmp_path / "idrid") / "2. Groundtruths" / TRAIN_TABLE
    write_table(table, [["IDRiD_001", "0"], ["IDRiD_001", "1"]])
    refused([f"{TRAIN_TABLE}: line 3", "second time"], "idrid", tmp_path)
    write_table(table, [["IDRiD_001", "0"]], header=("name", "grade"))
    refused([f"{TRAIN_TABLE}: no columns 'Image name'"], "idrid", tmp_path)
    for content in (b"", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" * 100, "Image name,Retinopathy grade".encode("utf-16")):
        table.write_bytes(content)
        refused(TRAIN_TABLE, "idrid", tmp_path)


def test_unreadable_photographs(tmp_path):
    made = make_idrid(tmp_path / "idrid")
    path = made / "1. Original Images" / "a. Training Set" / "IDRiD_003.jpg"
    path.write_bytes(path.read_bytes()[:300])
    refused("IDRiD_003.jpg: cannot be read as an image", "idrid", tmp_path)
    with pytest.warns(UserWarning, match="1 unreadable files left out .*IDRiD_003.jpg"):
        samples = list(load_samples("idrid", tmp_path, skip_bad_files=True))
    assert len(samples) == 6 and "IDRiD_003_train" not in {sample.id for sample in samples}


def test_copies_of_photographs_do_not_straddle_the_split(tmp_path):
    made = make_idrid(tmp_path / "idrid") / "1. Original Images"
    train, test = made / "a. Training Set", made / "b. Testing Set"
    (train / "IDRiD_002.jpg").write_bytes((test / "IDRiD_001.jpg").read_bytes())
    (train / "IDRiD_005.jpg").write_bytes((train / "IDRiD_004.jpg").read_bytes())
    with pytest.warns(UserWarning, match="2 copies"):
        samples = list(load_samples("idrid", tmp_path))
    ids = [f"IDRiD_{name}" for name in ("001_test", "002_test", "001_train", "003_train", "004_train")]
    assert [sample.id for sample in samples] == ids


def test_fingerprint_changes_with_a_grade(tmp_path):
    table = make_idrid(tmp_path / "idrid") / "2. Groundtruths" / TRAIN_TABLE
    first, stat = fingerprint_set("idrid", tmp_path), table.stat()
    table.write_text(table.read_text().replace("IDRiD_001,3", "IDRiD_001,4"))
    os.utime(table, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert fingerprint_set("idrid", tmp_path) != first


# ---------------------------------------------------------------- MESSIDOR


def test_messidor_as_it_ships(tmp_path):
    made = make_messidor(tmp_path / "messidor", messidor.BASES, 1)
    for base in made:
        (tmp_path / "messidor" / f"Annotation_{base}.xls").write_bytes(b"not read")
    samples = load("messidor", tmp_path)
    assert set(samples) == {Path(name).stem for names in made.values() for name in names} and len(samples) == 12
    for id, sample in samples.items():
        assert (sample.split, sample.label, sample.mask, sample.group) == ("train", None, None, id)
        assert 0 < sample.field_of_view.mean() < 1
    held_out = [sample.split for sample in load("messidor", tmp_path, holdout=2).values()]
    assert sorted(held_out) == ["test"] * 2 + ["train"] * 10


def test_messidor_zips_are_the_same_set(tmp_path):
    made = make_messidor(tmp_path / "plain" / "messidor")
    write_table(tmp_path / "plain" / "messidor" / "Base12" / "Annotation_Base12.csv", [[made["Base12"][0], "3"]])
    for base in ("Base11", "Base33"):
        rows = [[name, "1"] for name in made[base]]
        write_table(tmp_path / "plain" / "messidor" / f"Annotation_{base}.csv", rows)
    refused(["has no grade in", "2 of 9"], "messidor", tmp_path / "plain")
    rows = [[name, "2"] for name in made["Base12"]]
    write_table(tmp_path / "plain" / "messidor" / "Base12" / "Annotation_Base12.csv", rows)
    plain = load("messidor", tmp_path / "plain")
    assert sorted(sample.label for sample in plain.values()) == ["1"] * 6 + ["2"] * 3

    zipped = tmp_path / "zipped" / "MESSIDOR"
    zipped.mkdir(parents=True)
    for base, prefix in (("Base11", ""), ("Base12", "Base12/"), ("Base33", "")):  # flat, and with the folder
        with zipfile.ZipFile(zipped / f"{base}.zip", "w") as archive:
            for file in sorted((tmp_path / "plain" / "messidor" / base).iterdir()):
                archive.write(file, prefix + file.name)
    for base in ("Base11", "Base33"):
        name = f"Annotation_{base}.csv"
        (zipped / name).write_bytes((tmp_path / "plain" / "messidor" / name).read_bytes())
    same_samples(plain, load("messidor", tmp_path / "zipped"))


def test_messidor_tables_as_spreadsheets_save_them(tmp_path):
    made = make_messidor(tmp_path / "messidor", ("Base11", "Base21"))
    header = ("Image name", "Ophthalmologic department", "Retinopathy grade", "Risk of macular edema ")
    for base, delimiter in (("Base11", ","), ("Base21", ";")):
        rows = [[name, "Hôpital Lariboisière", str(index), "0"] for index, name in enumerate(made[base])]
        write_table(tmp_path / "messidor" / f"Annotation_{base}.csv", rows, header, delimiter=delimiter)
    samples = load("messidor", tmp_path)
    for base in made:
        assert [samples[Path(name).stem].label for name in made[base]] == ["0", "1", "2"]
    rows = [[name, "", "4", "0"] for name in made["Base11"]]
    write_table(tmp_path / "messidor" / "Annotation_Base11.csv", rows, header)
    refused(["Annotation_Base11.csv: line 2", "'4'", "0 to 3"], "messidor", tmp_path)


def test_messidor_errata(tmp_path):
    """Grades of 31 August and 24 October 2016; names and pairs of 16 August 2017 and 9 February 2018."""
    folder = tmp_path / "messidor"
    wrong = {
        "20051020_63045_0100_PP": ("Base11", "3", "0"),
        "20051020_64007_0100_PP": ("Base11", "1", "3"),
        "20051020_63936_0100_PP": ("Base11", "3", "1"),
        "20060523_48477_0100_PP": ("Base13", "2", "3"),
        "20051202_55626_0400_PP": ("Base33", "2", "2"),  # the same photograph as the next one
        "20051205_33025_0400_PP": ("Base33", "3", None),
        "20051202_55562_0400_PP": ("Base33", "1", "1"),  # and this one as the next
        "20051202_54611_0400_PP": ("Base33", "1", None),
    }
    for name, (base, _, _) in wrong.items():
        save(folder / base / f"{name}.tif")
    for base in ("Base11", "Base13", "Base33"):
        rows = [[f"{name}.tif", grade, "0"] for name, (place, grade, _) in wrong.items() if place == base]
        write_table(folder / f"Annotation_{base}.csv", rows)
    samples = load("messidor", tmp_path)
    assert {id: sample.label for id, sample in samples.items()} == {
        name: right for name, (_, _, right) in wrong.items() if right
    }
    assert len(messidor.DUPLICATES) == 13


def test_messidor_names_that_are_not_its_own(tmp_path):
    save(tmp_path / "messidor" / "Base11" / "holiday.tif")
    refused(["no Base11/20051019_38557_0100_PP.tif", "adcis.net"], "messidor", tmp_path)


# ---------------------------------------------------------------- both


@pytest.mark.parametrize(
    "data, site, what",
    [("idrid", "https://ieee-dataport.org/", "B. Disease Grading.zip"), ("messidor", "adcis.net", "Base11.zip")],
)
def test_missing_sets_say_where_to_get_them(tmp_path, data, site, what):
    refused([site, what, str(tmp_path / data), "--data_dir"], data, tmp_path)
    (tmp_path / data / "train").mkdir(parents=True)
    refused([site, what, str(tmp_path / data)], data, tmp_path)


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


def test_stage_1_says_at_once_that_there_are_no_masks(tmp_path):
    make_idrid(tmp_path / "data" / "idrid")
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, ROOT / "train_stage1.py", "--data=idrid"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("train_stage1: error: --data=idrid: its images have no masks")
    assert time.perf_counter() - start < 5 and not (tmp_path / "out").exists()  # nothing prepared


def test_check_wants_masks_only_where_asked(tmp_path):
    make_idrid(tmp_path / "idrid")
    check_set("idrid", tmp_path)
    with pytest.raises(InputError, match="no masks"):
        check_set("idrid", tmp_path, needs_masks=True)
    check_set("phantom", tmp_path, needs_masks=True)


# ---------------------------------------------------------------- the real IDRiD


def test_real_idrid(real_data):
    entries = split_entries("idrid", real_data)
    counts = {split: dict.fromkeys("01234", 0) for split in ("train", "test")}
    for entry in entries:
        counts[entry.split][entry.label] += 1
    assert list(counts["train"].values()) == [134, 20, 136, 74, 49]  # SOURCE.md
    assert list(counts["test"].values()) == [34, 5, 32, 19, 13]

    disc = None
    for sample in itertools.islice(load_samples("idrid", real_data), 12):
        field = sample.field_of_view[..., 0] > 0
        disc = field if disc is None else disc
        assert 2 * (field & disc).sum() / (field.sum() + disc.sum()) > 0.98  # one camera
        assert field[[0, -1], 200:280].all() and not field[:, :20].any()  # cut at the top and at the bottom


def test_copies_in_the_real_idrid(real_data, tmp_path):
    """Three of its six pairs, linked: they are the same files. One has grade 3 in the test split, 0 in training."""
    folder = tmp_path / "idrid"
    for split, table, rows in (
        ("train", TRAIN_TABLE, [("118", "0"), ("028", "4"), ("327", "3"), ("079", "1"), ("279", "1"), ("001", "3")]),
        ("test", TEST_TABLE, [("064", "3")]),
    ):
        (folder / split).mkdir(parents=True)
        for number, _ in rows:
            name = f"{split}/IDRiD_{number}.jpg"
            (folder / name).symlink_to(real_data / "idrid" / name)
        write_table(folder / table, [(f"IDRiD_{number}", grade, "") for number, grade in rows])
    with pytest.warns(UserWarning, match="3 copies"):
        samples = list(load_samples("idrid", tmp_path))
    expected = [("IDRiD_064_test", "3"), ("IDRiD_001_train", "3"), ("IDRiD_028_train", "4"), ("IDRiD_079_train", "1")]
    assert [(sample.id, sample.label) for sample in samples] == expected
