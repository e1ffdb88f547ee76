"""Folders of images and masks, and files that belong together, under the names that people give them."""

import os

import pytest
from raw_sets import grey, load, refused, save

from synthmed_tf.datasets.sources import list_entries

STEMS = ("0", "1", "10", "a b")


def make(folder, images="images", masks="masks", image="{}.png", mask="{}.png", stems=STEMS, others=()):
    """Images and masks (and `others`, [(folder, file name)]) of some stems, each mask with pixels of its own."""
    for index, stem in enumerate(stems):
        save(folder / images / image.format(stem), grey())
        for place, name in ((masks, mask), *others):
            pixels = grey() * 0
            pixels[: index + 1] = 255
            save(folder / place / name.format(stem), pixels)
    return folder


def rows_of(folder):
    """How many rows the mask of each image has, in the order of STEMS; no warning may come."""
    samples = sorted(load(folder).values(), key=lambda sample: sample.mask.sum())
    return [int(sample.mask[:, 0].sum()) for sample in samples]


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("image", "mask"), ("images", "labels"), ("images", "label"), ("img", "gt"), ("imgs", "GT"),
        ("Images", "Masks"), ("IMAGES", "1st_manual"), ("images", "manual1"), ("Image", "Ground Truth"),
        ("photos", "segmentations"),
        ("raw", "seg"), ("images", "annotation"), ("original", "masken"), ("RawImages", "GoldStandard"),
        ("whatever", "masks"),
        ("input", "vessel_masks"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("parent", [".", "train"])
def test_folders_of_images_and_masks(parent, images, masks, tmp_path):
    make(tmp_path / parent, images, masks)
    assert rows_of(tmp_path) == [1, 2, 3, 4]
    assert {entry.label for entry in list_entries(str(tmp_path), "")} == {None}


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("{}.png", "{}_mask.png"), ("{}.jpg", "{}_seg.png"), ("{}.png", "{}_segmentation.png"), ("{}.png", "{}_gt.png"),
        ("{}.png", "{}_manual1.gif"), ("{}.png", "{}_1stHO.png"), ("{}.png", "mask_{}.png"), ("{}.PNG", "{}.Png"),
        ("{}.TIF", "{}_MASK.tiff"), ("{}.png", "{}-label.png"), ("{}.png", "{} mask.png"), ("{}.png", "{}.mask.png"),
        ("image_{}.png", "mask_{}.png"), ("img_{}.png", "seg_{}.png"), ("{}_training.tif", "{}_manual1.gif"),
        ("Image_{}L.jpg", "Image_{}L_1stHO.png"), ("IM{}.png", "im{}.png"), ("{}.png", "{}_GroundTruth.png"),
        ("caf\u00e9{}.png", "cafe\u0301{}.png"), ("cafe\u0301{}.png", "caf\u00e9{}_mask.png"),
    ],
)  # fmt: skip
def test_names_of_masks(image, mask, tmp_path):
    assert rows_of(make(tmp_path, image=image, mask=mask)) == [1, 2, 3, 4]
    entries = list_entries(str(tmp_path), "")
    assert all(os.path.basename(entry.image.name).startswith(image.split("{")[0]) for entry in entries)
    assert {entry.group for entry in entries} == {image.format(stem).rsplit(".", 1)[0] for stem in STEMS}


def test_masks_in_the_folder_of_the_images(tmp_path):
    make(tmp_path / "b" / "train", "images", "images", mask="{}_seg.png")
    make(tmp_path / "a", ".", ".", mask="{}_mask.png")
    assert rows_of(tmp_path / "a") == rows_of(tmp_path / "b") == [1, 2, 3, 4]
    (tmp_path / "a" / "1_mask.png").unlink()
    refused(["1.png: has no mask"], tmp_path / "a")


def test_the_layout_of_drive(tmp_path):
    """images/, 1st_manual/, 2nd_manual/, and mask/ with fields of view."""
    for split, name in (("training", "training"), ("test", "test")):
        others = ("mask", "{}_" + name + "_mask.gif"), ("2nd_manual", "{}_manual2.gif")
        make(tmp_path / split, "images", "1st_manual", "{}_" + name + ".tif", "{}_manual1.gif", others=others)
    for entry in list_entries(str(tmp_path), ""):
        stem, split = entry.id.split("-")[0].rsplit("_", 1)
        assert entry.split == ("train" if split == "training" else "test")
        files = entry.image, entry.mask, entry.field_of_view, entry.second_mask
        assert [
            os.path.basename(os.path.dirname(file.name)) for file in files
        ] == "images 1st_manual mask 2nd_manual".split()
        assert len({os.path.basename(file.name).split("_")[0] for file in files}) == 1
    (tmp_path / "training" / "mask").rename(tmp_path / "training" / "masks")
    refused(["masks: lies beside 1st_manual/", "rename the one of fields of view fov"], tmp_path)
    (tmp_path / "training" / "masks").rename(tmp_path / "training" / "fov")
    assert all(entry.field_of_view for entry in list_entries(str(tmp_path), ""))


def test_two_observers_in_one_folder(tmp_path):
    make(tmp_path, mask="{}_1stHO.png", stems=("0", "1"))
    for stem in ("0", "1"):
        save(tmp_path / "masks" / f"{stem}_2ndHO.png", grey() * 0)
    assert all("2ndHO" in entry.second_mask.name for entry in list_entries(str(tmp_path), ""))
    save(tmp_path / "masks" / "0_seg.png", grey() * 0)
    refused(["a second mask of one image", "move one away"], tmp_path)


def test_folders_that_may_hold_the_masks(tmp_path):
    make(tmp_path, masks="vasos")
    refused(["vasos: lies beside images/", "if it holds the masks, rename it masks"], tmp_path)
    (tmp_path / "vasos").rename(tmp_path / "masks")
    assert rows_of(tmp_path) == [1, 2, 3, 4]
    (tmp_path / "masks").rename(tmp_path.with_name("away"))
    assert all(sample.mask is None for sample in load(tmp_path).values())


def test_exact_names_go_before_others(tmp_path):
    """A set whose masks are called like its images keeps its pairs, whatever else the names might mean."""
    stems = "0", "0_mask", "mask_0", "0_manual2", "seg1", "1"
    make(tmp_path, stems=stems)
    make(tmp_path, masks="labels", stems=stems)
    for entry in list_entries(str(tmp_path), ""):
        assert entry.mask.name.endswith(f"masks/{entry.id}.png") and entry.image.name.endswith(f"images/{entry.id}.png")
