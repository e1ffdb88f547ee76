"""Held-out images: drawn by groups, from every class."""

import shutil
import warnings

import numpy as np
import pytest
from raw_sets import load, make_table, refused, save_pair, shares, splits

from synthmed_tf.datasets.split import split_entries, warn_of_few
from synthmed_tf.sample import InputError


@pytest.fixture
def own(tmp_path):
    """A folder of one's own with seven pairs."""
    folder = tmp_path / "own"
    for stem in "abcdefg":
        save_pair(folder, stem)
    return folder


def test_holdout_of_a_folder(own):
    samples = load(own, holdout=3)
    held_out = {id for id, split in splits(samples).items() if split == "test"}
    assert len(samples) == 7 and len(held_out) == 3
    assert splits(load(own, holdout=3)) == splits(samples)
    assert any(splits(load(own, holdout=3, seed=seed)) != splits(samples) for seed in range(1, 5))
    refused(["--holdout=7", "1 to 6"], own, holdout=7)


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


def said(folder, **options):
    """What `warn_of_few` says of a set."""
    entries = split_entries(str(folder), "", **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_few("own", entries, is_drawn="holdout" in options)
    return [str(warning.message) for warning in caught]


def make_pairs(folder, train, test):
    for split, count in (("train", train), ("test", test)):
        for index in range(count):
            save_pair(folder / split, f"{split}{index}")
    return folder


@pytest.mark.parametrize(
    ("train", "test", "says"),
    [
        (8, 4, []),
        (8, 0, ["no test images: no segmenter or classifier and no attack can be tested; --holdout=N"]),
        (8, 1, ["1 test images: precision, recall, density, coverage"]),
        (8, 3, ["3 test images: precision, recall, density, coverage and KID need 4, and are left out; --holdout=N"]),
        (3, 4, ["3 training images: precision"]),
        (7, 0, ["no test images", "7 training images: precision, recall, density, coverage and KID need 8"]),
    ],
)  # fmt: skip
def test_too_few_images_are_told_with_what_they_leave_out(train, test, says, tmp_path):
    lines = said(make_pairs(tmp_path, train, test))
    assert len(lines) == len(says) and all(text in line for text, line in zip(says, lines, strict=True)), lines
    if test < 4 and train == 8:
        assert said(tmp_path, holdout=4) == []  # the remedy


def test_test_images_without_masks(tmp_path):
    make_pairs(tmp_path, 9, 4)
    shutil.rmtree(tmp_path / "test" / "masks")
    assert ["test images without masks" in line for line in said(tmp_path)] == [True]
    assert said(tmp_path, holdout=4) == []


def test_a_test_split_that_lacks_a_class(tmp_path):
    rows = [[f"{index}.png", "abc"[index % 3], "test" if index > 13 and index % 3 else "train"] for index in range(24)]
    make_table(tmp_path, rows, ("file", "label", "split"))
    assert "1 classes have no test images (a), and are left out of the classification" in "".join(said(tmp_path))
    assert not any("no test images" in line for line in said(tmp_path, holdout=5))  # the remedy
    rows += [["one.png", "d", "train"], ["two.png", "d", "test"]]
    make_table(tmp_path, rows, ("file", "label", "split"))
    assert "training images of two patients, and lack them in d" in "".join(said(tmp_path))
