"""IDRiD in its layouts, with made files, and the real set."""

import itertools
import zipfile

import numpy as np
import pytest
from raw_sets import (
    TEST_GRADES,
    TEST_TABLE,
    TRAIN_GRADES,
    TRAIN_TABLE,
    load,
    make_idrid,
    photograph,
    refused,
    same_samples,
    save_photograph,
    write_grades,
)

from synthmed_tf.datasets.load import load_samples
from synthmed_tf.datasets.split import split_entries


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
        save_photograph(tmp_path / "idrid" / part / "1. Original Images" / "a. Training Set" / name)
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
    write_grades(table, [[f"IDRiD_00{number}", "1", "0"] for number in (1, 3, 4, 5)])
    refused(["IDRiD_009.jpg: has no grade in", TRAIN_TABLE, "1 of 5"], "idrid", tmp_path)
    table.unlink()
    refused([f"no {TRAIN_TABLE} for its 5 images", "https://ieee-dataport.org"], "idrid", tmp_path)


@pytest.mark.parametrize("grade", ["5", "-1", "", "mild", "1.0"])
def test_grades_that_do_not_exist(tmp_path, grade):
    table = make_idrid(tmp_path / "idrid") / "2. Groundtruths" / TRAIN_TABLE
    write_grades(table, [["IDRiD_001", "0", ""], ["IDRiD_002", grade, "0"]])
    refused([f"{TRAIN_TABLE}: line 3: retinopathy grade {grade!r}", "0 to 4"], "idrid", tmp_path)


def test_tables_that_are_none(tmp_path):
    table = make_idrid(tmp_path / "idrid") / "2. Groundtruths" / TRAIN_TABLE
    write_grades(table, [["IDRiD_001", "0"], ["IDRiD_001", "1"]])
    refused([f"{TRAIN_TABLE}: line 3", "second time"], "idrid", tmp_path)
    write_grades(table, [["IDRiD_001", "0"]], header=("name", "grade"))
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
        write_grades(folder / table, [(f"IDRiD_{number}", grade, "") for number, grade in rows])
    with pytest.warns(UserWarning, match="3 copies"):
        samples = list(load_samples("idrid", tmp_path))
    expected = [("IDRiD_064_test", "3"), ("IDRiD_001_train", "3"), ("IDRiD_028_train", "4"), ("IDRiD_079_train", "1")]
    assert [(sample.id, sample.label) for sample in samples] == expected
