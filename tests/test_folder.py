"""Folders of one's own: images with masks, and one sub-folder a class."""

import collections
import shutil
import warnings

import numpy as np
import pytest
from PIL import Image
from raw_sets import grey, load, make_classes, make_table, refused, save, save_pair, splits

from synthmed_tf.datasets.sources import check_set, list_entries
from synthmed_tf.sample import InputError


@pytest.fixture
def own(tmp_path):
    """A folder of one's own with seven pairs."""
    folder = tmp_path / "own"
    for stem in "abcdefg":
        save_pair(folder, stem)
    return folder


def test_folder_pairs_by_stem_and_every_fifth_is_test(own):
    samples = load(own)
    assert splits(samples) == {"e": "test", **dict.fromkeys("abcdfg", "train")}
    assert next(iter(samples)) == "e"  # the test split comes first
    for stem, sample in samples.items():
        assert (sample.image == np.asarray(Image.open(own / "images" / f"{stem}.png"))).all()
        assert (sample.mask[..., 0] * 255 == np.asarray(Image.open(own / "masks" / f"{stem}.png"))).all()
        assert sample.mask.dtype == np.uint8 and sample.field_of_view is None and sample.group == stem


def test_folder_with_its_own_split_and_fields_of_view(tmp_path):
    fov = np.full((24, 20), 255, np.uint8)
    fov[0] = 0
    for stem, split in zip("abc", ("train", "train", "test"), strict=True):
        save_pair(tmp_path / split, stem, fov=fov)
    samples = load(tmp_path)
    assert splits(samples) == {"a": "train", "b": "train", "c": "test"}
    assert (samples["a"].field_of_view[..., 0] == fov // 255).all()


def test_all_names_of_splits_count_beside_masks(tmp_path):
    names = {"Training": "train", "val": "train", "Test": "test"}
    for name in names:
        save_pair(tmp_path / name, name)
    assert splits(load(tmp_path)) == names
    (tmp_path / "validation").mkdir()
    refused("validation: has no images/", tmp_path)
    (tmp_path / "validation").rename(tmp_path / "images")
    refused("not both", tmp_path)


def test_dicom_files_without_a_name_of_theirs(own):
    (own / "images" / "IM0001").write_bytes(bytes(128) + b"DICM")
    refused(["IM0001: not an image file", "rename it to .dcm"], own)
    (own / "images" / "IM0001").rename(own / "images" / "IM0001.DICOM")
    refused("IM0001.DICOM: has no mask", own)  # is an image


def test_test_images_may_lack_masks_altogether(tmp_path):
    save_pair(tmp_path / "train", "a")
    save(tmp_path / "test" / "images" / "b.png", np.zeros((9, 9, 3), np.uint8))
    assert load(tmp_path)["b"].mask is None


def test_image_without_mask_and_the_reverse(own):
    (own / "masks" / "c.png").rename(own / "masks" / "z.png")
    refused(["images/c.png: has no mask", "masks/c", "add it"], own)
    (own / "images" / "c.png").unlink()
    refused(["masks/z.png: has no image", "images/z"], own)


def test_empty_masks_folder_is_an_error(own):
    for path in (own / "masks").iterdir():
        path.unlink()
    refused("has no mask", own)


def test_fields_of_view_for_all_or_none(own):
    save(own / "fov" / "a.png", np.full((24, 20), 255, np.uint8))
    refused(["images/b.png: has no field of view"], own)


def test_two_files_of_one_stem(own):
    save(own / "images" / "a.tif", np.zeros((24, 20, 3), np.uint8))
    refused(["same stem", "images/a.png", "images/a.tif"], own)


def test_the_same_names_in_train_and_test(tmp_path):
    for split in ("train", "Val", "test"):
        for stem in ("a", "b", split):
            save_pair(tmp_path / split, stem)
    samples = load(tmp_path)
    assert {id: (sample.group, sample.split) for id, sample in samples.items()} == {
        f"{place}_{stem}": (f"{place}_{stem}", split)
        for place, split in (("train", "train"), ("Val", "train"), ("test", "test"))
        for stem in ("a", "b", place)
    }
    (tmp_path / "t.csv").write_text(
        "name,set,pid\n"
        + "".join(f"{stem},{p},{p}{i}\n" for p in ("train", "test") for i, stem in enumerate(("a", "b", p)))
    )
    refused(["t.csv: line 2: no image 'a' in", "or several", "name it by its path"], tmp_path)  # train/ or Val/
    shutil.rmtree(tmp_path / "Val")
    assert {sample.id: sample.group for sample in load(tmp_path).values()} == {
        f"{place}_{stem}": f"{place}{i}" for place in ("train", "test") for i, stem in enumerate(("a", "b", place))
    }


@pytest.mark.parametrize("name", ["notes.txt", "scan.nii", "array.npy"])
def test_files_that_are_no_images_are_not_dropped_silently(own, name):
    (own / "images" / name).write_bytes(b"x")
    refused([f"images/{name}: not an image file", ".png"], own)


def test_wrong_layouts(tmp_path):
    refused("no such data set or folder", tmp_path / "missing")
    refused("no images/ and no train/images/", tmp_path)
    (tmp_path / "images").mkdir()
    refused("holds no image", tmp_path)
    save(tmp_path / "images" / "a.png", np.zeros((9, 9), np.uint8))
    assert load(tmp_path)["a"].mask is None  # a photograph alone
    with pytest.raises(InputError, match="its images have no masks.*--target=image"):
        check_set(str(tmp_path), "", needs_masks=True)
    (tmp_path / "masks").mkdir()
    save_pair(tmp_path / "train", "b")
    refused("not both", tmp_path)
    (tmp_path / "train" / "images" / "deeper").mkdir()
    (tmp_path / "images").rename(tmp_path / "old")
    refused(["deeper: a folder"], tmp_path)


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
    assert {sample.label for sample in load(tmp_path).values()} == {None}  # photographs alone, for stage 2
    (tmp_path / "b").mkdir()
    refused(["b: a class without images", ".png"], tmp_path)
    (tmp_path / "b" / "notes.txt").write_text("x")
    refused("b/notes.txt: not an image file", tmp_path)
    (tmp_path / "b" / "notes.txt").rename(tmp_path / "notes.csv")
    refused(["has the table notes.csv and sub-folders with images", "--labels=COLUMN", "move the table away"], tmp_path)
    (tmp_path / "b").rename(tmp_path.with_name("b"))
    assert len(load(tmp_path, group_column="none")) == 2
    (tmp_path / "notes.csv").unlink()
    refused(["one CSV table of labels is needed, found none for --labels=x"], tmp_path, labels="x")


def test_classes_whose_names_are_not_one_line_of_text(tmp_path):
    for i, name in enumerate((" lead", "trail ", "two\nlines", "bell\a")):
        make_classes(tmp_path / str(i), {name: 2, "b": 2})
        refused([repr(name), "rename it"], tmp_path / str(i))
    make_table(tmp_path / "table", [["0.png", "a"], ["1.png", "two\nlines"]])
    refused(["labels.csv: line 4: the class 'two\\nlines'"], tmp_path / "table")


def test_a_folder_of_masks_beside_classes_is_not_left_out_silently(tmp_path):
    make_classes(tmp_path, {"a": 2, "b": 2, "masks": 2})
    refused(["masks: lies beside folders of classes", "rename it if it is a class"], tmp_path)


def test_photographs_alone(tmp_path):
    for index in range(5):
        save(tmp_path / f"{index}.PNG", grey())
    assert splits(load(tmp_path)) == {**dict.fromkeys("0123", "train"), "4": "test"}
    (tmp_path / "notes.md").write_text("x")
    with pytest.warns(UserWarning, match="1 files beside the images are none and not read .*notes.md"):
        list_entries(str(tmp_path), "")
    (tmp_path / "notes.md").unlink()
    for split in ("train", "test"):
        make_classes(tmp_path / "own" / split, {"normal": 2})
    assert {(s.id, s.label, s.split) for s in load(tmp_path / "own").values()} == {
        (f"{split}_normal_{i}", None, split) for split in ("train", "test") for i in range(2)
    }


def test_masks_in_train_and_none_in_val(tmp_path):
    save_pair(tmp_path / "train", "a")
    save(tmp_path / "val" / "images" / "b.png", grey())
    refused(["val: has images but no masks/, train/ has"], tmp_path)


def test_masks_beside_the_images_of_a_class(tmp_path):
    """BUSI's layout: NAME.png and NAME_mask.png in the folder of a class."""
    for label in ("benign", "malignant"):
        for index in range(3):
            for name in (f"{label} ({index}).png", f"{label} ({index})_mask.png"):
                save(tmp_path / label / name, grey())
    save(tmp_path / "benign" / "benign (0)_mask_1.png", grey())
    save(tmp_path / "overview.jpg", grey())
    with pytest.warns(UserWarning) as caught:
        entries = list_entries(str(tmp_path), "")
    assert len(entries) == 6 and not any("mask" in entry.id for entry in entries)
    assert "7 files among the images of classes are named as masks" in str(caught[0].message)
    assert "1 images lie beside the folders of classes" in str(caught[1].message)


def test_folders_in_folders_say_where_they_belong(own):
    (own / "images" / "train").mkdir()
    refused(["images/train: a folder", "make it train/images/"], own)
    (own / "images" / "train").rename(own / "images" / "deeper")
    refused(["images/deeper: a folder", "move its images into images/"], own)
    (own / "images" / "deeper").rmdir()
    (own / "images" / "table.tsv").write_text("file\n")
    refused(["table.tsv: not an image file", "into the folder above"], own)


def test_classes_of_folders_and_patients_of_a_table(tmp_path):
    make_classes(tmp_path, {"a": 4, "b": 4})
    rows = [f"{label}/{i}.png,{label}{i // 2},x" for label in "ab" for i in range(4)]
    (tmp_path / "t.csv").write_text("\n".join(["path,who,kind", *rows]))
    entries = list_entries(str(tmp_path), "", group_column="who")
    assert {(entry.label, entry.group) for entry in entries} == {("a", "a0"), ("a", "a1"), ("b", "b0"), ("b", "b1")}


def test_a_class_in_either_normal_form_of_unicode(tmp_path):
    for place, name in (("train", "caf\u00e9"), ("test", "cafe\u0301"), ("train", "b"), ("test", "b")):
        make_classes(tmp_path / place, {name: 2})
    assert collections.Counter(sample.label for sample in load(tmp_path).values()) == {"caf\u00e9": 4, "b": 4}


@pytest.mark.parametrize(
    ("names", "are_patients"),
    [
        (["patient_01", "patient_02"], True), (["Pat. A", "Patient B"], False), ([f"{i:04}" for i in range(10)], True),
        (["0", "1", "2", "3", "4"], False), (["benign", "malignant"], False), ([f"S{i}" for i in range(12)], True),
    ],
)  # fmt: skip
def test_a_folder_a_patient_is_not_taken_for_a_class_in_silence(names, are_patients, tmp_path):
    make_classes(tmp_path, dict.fromkeys(names, 2))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        list_entries(str(tmp_path), "")
    assert [f"{len(names)} sub-folders are taken for classes" in str(w.message) for w in caught] == [
        True
    ] * are_patients
