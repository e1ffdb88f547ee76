"""What a table may call an image."""

import pytest

from synthmed_tf.datasets.file_names import FileNames

FLAT = FileNames(dict.fromkeys(["a.png", "b.PNG", "c.d.png", "caf\u00e9.png", "12.tif"]))
DEEP = FileNames(dict.fromkeys(["p1/1.png", "p1/2.png", "p2/1.png"]))
SPLIT = FileNames(dict.fromkeys(["train/images/a.png", "test/images/a.png", "test/images/b.png"]))


@pytest.mark.parametrize(
    ("cell", "path"),
    [
        ("a.png", "a.png"), ("a", "a.png"), ("A.PNG", "a.png"), ("./a.png", "a.png"), ("images/a.png", "a.png"),
        ("images\\a.png", "a.png"), ("/data/set/images/a.png", "a.png"),
        ("C:\\films\\a.png", "a.png"), ("a.dcm", "a.png"),
        ("b.png", "b.PNG"), ("c.d", "c.d.png"), ("cafe\u0301.png", "caf\u00e9.png"), ("12", "12.tif"), ("12.0", None),
        ("d.png", None), ("", None), ("a.txt", None),
    ],
)  # fmt: skip
def test_images_in_one_folder(cell, path):
    assert FLAT.find(cell) == path


@pytest.mark.parametrize(
    ("cell", "path"),
    [
        ("p1/1.png", "p1/1.png"),
        ("P1/1", "p1/1.png"),
        ("set/p2/1.png", "p2/1.png"),
        ("2.png", "p1/2.png"),
        ("1.png", None),
        ("p2/2.png", None),
    ],
)
def test_images_in_folders_of_patients(cell, path):
    assert DEEP.find(cell) == path


@pytest.mark.parametrize(
    ("cell", "split", "path"),
    [
        ("a.png", None, None), ("a.png", "test", "test/images/a.png"), ("a", "train", "train/images/a.png"),
        ("train/a.png", None, "train/images/a.png"), ("test/images/a.png", None, "test/images/a.png"),
        ("b.png", None, "test/images/b.png"), ("/x/train/a.png", None, "train/images/a.png"),
    ],
)  # fmt: skip
def test_the_same_names_in_train_and_test(cell, split, path):
    assert SPLIT.find(cell, split) == path


def test_a_file_is_itself_before_all_else():
    names = FileNames(dict.fromkeys(["1.png", "p2/1.png", "A.png", "a.png"]))
    assert [names.find(cell) for cell in ("1.png", "p2/1.png", "A.png", "a.png")] == [
        "1.png",
        "p2/1.png",
        "A.png",
        "a.png",
    ]
