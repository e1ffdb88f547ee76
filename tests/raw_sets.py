"""Raw data sets in their official layouts, with small made images."""

import collections
import csv
import warnings
import zipfile

import numpy as np
import pytest
from PIL import Image

from synthmed_tf.datasets.load import load_samples
from synthmed_tf.datasets.split import split_entries
from synthmed_tf.sample import InputError

RNG = np.random.default_rng(0)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def save_pair(folder, stem, image=None, mask=None, fov=None):
    if image is None:
        image = RNG.integers(0, 255, (24, 20, 3)).astype(np.uint8)
    if mask is None:
        mask = (RNG.random(image.shape[:2]) < 0.3).astype(np.uint8) * 255
    save(folder / "images" / f"{stem}.png", image)
    save(folder / "masks" / f"{stem}.png", mask)
    if fov is not None:
        save(folder / "fov" / f"{stem}.png", fov)


def load(data, data_dir="no such folder", **options):
    """All samples by id; no warning may come."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return {sample.id: sample for sample in load_samples(str(data), data_dir, **options)}


def splits(samples):
    return {id: sample.split for id, sample in samples.items()}


def refused(says, data, data_dir="no such folder", **options):
    """Asserts that the set is refused with one line that has all the words in `says`; returns the line."""
    with pytest.raises(InputError) as caught:
        list(load_samples(str(data), data_dir, **options))
    message = str(caught.value)
    assert "\n" not in message
    for words in [says] if isinstance(says, str) else says:
        assert words in message
    return message


def make_drive(folder, test_labels=True, training=4, test=3):
    """DRIVE's layout with small made images."""
    for split, name, numbers in (
        ("training", "training", range(21, 21 + training)),
        ("test", "test", range(1, 1 + test)),
    ):
        for number in numbers:
            stem = folder / split
            save(stem / "images" / f"{number:02}_{name}.tif", RNG.integers(0, 255, (30, 28, 3)).astype(np.uint8))
            save(stem / "mask" / f"{number:02}_{name}_mask.gif", np.full((30, 28), 255, np.uint8))
            if split == "training" or test_labels:
                save(
                    stem / "1st_manual" / f"{number:02}_manual1.gif",
                    RNG.integers(0, 2, (30, 28)).astype(np.uint8) * 255,
                )
            if split == "test" and test_labels:
                save(
                    stem / "2nd_manual" / f"{number:02}_manual2.gif",
                    RNG.integers(0, 2, (30, 28)).astype(np.uint8) * 255,
                )
    return folder


def zip_folder(path, folder, prefix=""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, prefix + file.relative_to(folder).as_posix())
    return path


def same_samples(first, second):
    assert list(first) == list(second)
    for id in first:
        for field in ("image", "mask", "field_of_view", "second_mask"):
            a, b = getattr(first[id], field), getattr(second[id], field)
            assert (a is None and b is None) or (a == b).all()
        for field in ("label", "split", "group"):
            assert getattr(first[id], field) == getattr(second[id], field)


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


def grey(shape=(12, 10)):
    return RNG.integers(0, 255, shape).astype(np.uint8)


def write_table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def make_nih(folder, people=PEOPLE, xrays=2, age="{:03d}Y", lists=True, table="Data_Entry_2017.csv"):
    """The official layout with small made X-rays, `xrays` of each of the people; the last two are test."""
    rows, names = [], {"train_val_list.txt": [], "test_list.txt": []}
    for patient, (gender, years) in enumerate(people, 1):
        for number in range(xrays):
            name = f"{patient:08d}_{number:03d}.png"
            save(folder / f"images_{1 + patient % 2:03d}" / "images" / name, grey())
            rows.append(
                [name, "No Finding", number, patient, age.format(years), gender, "PA", 2682, 2749, 0.143, 0.143, ""]
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


def make_classes(folder, classes={"normal": 10, "tumour": 15}):
    for name, count in classes.items():
        for index in range(count):
            save(folder / name / f"{index}.png", grey())


def make_table(folder, rows, header=("file", "finding"), name="labels.csv"):
    """FOLDER/images/ with an image for each row, and the table."""
    for row in rows:
        save(folder / "images" / row[0], grey())
    write_table(folder / name, [header, *rows])
    return folder


RNG = np.random.default_rng(0)
TRAIN_TABLE = "a. IDRiD_Disease Grading_Training Labels.csv"
TEST_TABLE = "b. IDRiD_Disease Grading_Testing Labels.csv"
TRAIN_GRADES, TEST_GRADES = ["3", "0", "4", "2", "1"], ["4", "0"]


def photograph(shape=(40, 60)):
    """A noisy disc, cut by the frame above and below, on black; and the disc."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    disc = (y - shape[0] / 2 + 0.5) ** 2 + (x - shape[1] / 2 + 0.5) ** 2 < (0.6 * shape[0]) ** 2
    return (RNG.integers(100, 200, (*shape, 3)) * disc[..., None]).astype(np.uint8), disc


def save_photograph(path):
    return save(path, photograph()[0])


def write_grades(path, rows, header=("Image name", "Retinopathy grade", "Risk of macular edema "), **options):
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
            path = save_photograph(inner / "1. Original Images" / place / f"{name}.png")
            path.rename(path.with_suffix(".jpg"))
        rows = [[name, grade, "0", *[""] * stray] for name, grade in zip(names, grades, strict=True)]
        header = ("Image name", "Retinopathy grade", "Risk of macular edema ", *[""] * stray)
        write_grades(inner / "2. Groundtruths" / table, rows + [[""] * (3 + stray)], header)
    return inner


def make_messidor(folder, bases=("Base11", "Base12", "Base33"), count=3):
    """The official layout with small made photographs; returns {base: names with suffix}."""
    made = {}
    for base in bases:
        made[base] = [f"2005{base[4:]}19_{38557 + index}_0{base[4]}00_PP.tif" for index in range(count)]
        for name in made[base]:
            save_photograph(folder / base / name)
    return made
