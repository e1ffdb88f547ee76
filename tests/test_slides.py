"""Small pyramids made by tifffile, cut into tiles by way of OpenSlide."""

import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

from synthmed_tf.datasets import slides
from synthmed_tf.datasets.load import load_samples
from synthmed_tf.datasets.prepare import prepare
from synthmed_tf.datasets.sources import list_entries
from synthmed_tf.records.manifest import read_manifest
from synthmed_tf.records.read import Records
from synthmed_tf.sample import InputError

pytest.importorskip("openslide")

WHITE, PINK = (244, 242, 245), (190, 90, 160)


def make_slide(path, tissue, levels=3, seed=0):
    """A pyramid of 1024 x 1280 pixels; tissue: (top, left, bottom, right) of a rectangle. Returns the full picture."""
    pixels = np.full((1024, 1280, 3), WHITE, np.uint8)
    top, left, bottom, right = tissue
    noise = np.random.default_rng(seed).integers(-20, 20, (bottom - top, right - left, 3))
    pixels[top:bottom, left:right] = PINK + noise
    path.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(path) as writer:
        for level in range(levels):
            step = 2**level
            shrunk = pixels.reshape(1024 // step, step, 1280 // step, step, 3).mean(axis=(1, 3)).astype(np.uint8)
            writer.write(shrunk, tile=(256, 256), photometric="rgb", subfiletype=int(level > 0), compression="zlib")
    return pixels


def make_mask(path, foreground, shape=(512, 640), value=1):
    mask = np.zeros(shape, np.uint8)
    top, left, bottom, right = foreground
    mask[top:bottom, left:right] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)


def refused(folder, *says):
    with pytest.raises(InputError) as caught:
        list(load_samples(str(folder), ""))
    assert "\n" not in str(caught.value)
    for words in says:
        assert words in str(caught.value)


def test_tiles_are_those_with_tissue_pixel_by_pixel(tmp_path):
    pixels = make_slide(tmp_path / "tumor" / "one.tif", (0, 200, 700, 1000))
    make_slide(tmp_path / "normal" / "two.tif", (0, 0, 256, 256))
    entries = [entry for entry in list_entries(str(tmp_path), "") if entry.label == "tumor"]
    # Tissue covers rows 0, 1 whole and 188 of 256 pixels of row 2; columns 1, 2 whole, 56 pixels of 0 and 232 of 3.
    assert [entry.id for entry in entries] == [f"one_{row}_{column}" for row in range(3) for column in (1, 2, 3)]
    assert {(entry.group, entry.label, entry.mask) for entry in entries} == {("one", "tumor", None)}
    samples = [sample for sample in load_samples(str(tmp_path), "") if sample.label == "tumor"]
    assert len(samples) == 9
    for sample in samples:
        row, column = map(int, sample.id.split("_")[1:])
        tile = pixels[row * 256 : row * 256 + 256, column * 256 : column * 256 + 256]
        assert sample.image.dtype == np.uint8 and (sample.image == tile).all()


def test_class_folders_become_records(tmp_path):
    for i in range(3):
        make_slide(tmp_path / "own" / "normal" / f"n{i}.tif", (0, 0, 512, 512), seed=i)
        make_slide(tmp_path / "own" / "tumor" / f"t{i}.tif", (256, 256, 768, 768), seed=9 + i)
    folder = prepare(str(tmp_path / "own"), tmp_path / "data", (64, 64), out_dir=tmp_path / "out")
    manifest = read_manifest(folder)
    assert manifest["class_names"] == ["normal", "tumor"]
    assert manifest["class_counts"] == {"test": {"normal": 4, "tumor": 4}, "train": {"normal": 8, "tumor": 8}}
    groups = {split: {sample.group for sample in Records(folder, split)} for split in ("train", "test")}
    assert len(groups["test"]) == 2 and not groups["test"] & groups["train"]  # a slide of each class, whole


@pytest.mark.parametrize(
    "name, shape, value", [("one.tif", (512, 640), 1), ("one.png", (1024, 1280), 255), ("one.tif", (256, 320), 7)]
)
def test_labels_from_a_mask(tmp_path, name, shape, value):
    make_slide(tmp_path / "slides" / "one.tif", (0, 0, 1024, 768))
    scale = shape[0] / 1024
    # In tiles 0 1, 1 1
    make_mask(tmp_path / "masks" / name, [round(n * scale) for n in (240, 300, 300, 400)], shape, value)
    labels = {entry.id: entry.label for entry in list_entries(str(tmp_path), "")}
    assert len(labels) == 12
    assert {id for id, label in labels.items() if label == "tumour"} == {"one_0_1", "one_1_1"}
    assert set(labels.values()) == {"normal", "tumour"}


def test_mask_that_is_a_pyramid(tmp_path):
    make_slide(tmp_path / "slides" / "one.tif", (0, 0, 1024, 768))
    mask = np.zeros((1024, 1280), np.uint8)
    mask[600, 600] = 1  # one pixel
    (tmp_path / "masks").mkdir()
    with tifffile.TiffWriter(tmp_path / "masks" / "one.tif") as writer:
        for step in (1, 2):
            writer.write(mask[::step, ::step], tile=(256, 256), photometric="minisblack", subfiletype=int(step > 1))
    labels = {entry.id: entry.label for entry in list_entries(str(tmp_path), "")}
    assert [id for id, label in labels.items() if label == "tumour"] == ["one_2_2"]


def test_a_random_choice_that_the_name_alone_decides(tmp_path, monkeypatch):
    monkeypatch.setattr(slides, "TILES_PER_SLIDE", 5)
    for place in ("first", "second"):
        for name in ("one", "two"):
            make_slide(tmp_path / place / "a" / f"{name}.tif", (0, 0, 1024, 1280))
    first, second = ([entry.id for entry in slides.list_entries(tmp_path / place)] for place in ("first", "second"))
    assert first == second and len(set(first)) == 10
    assert {id[3:] for id in first[:5]} != {id[3:] for id in first[5:]}


def test_blank_and_small_slides_have_no_tiles(tmp_path):
    make_slide(tmp_path / "a" / "blank.tif", (0, 0, 0, 0))
    refused(tmp_path, "no tile of its 1 slides shows tissue")
    make_slide(tmp_path / "a" / "full.tif", (0, 0, 1024, 1280))
    assert {entry.group for entry in slides.list_entries(tmp_path)} == {"full"}


def test_wrong_layouts(tmp_path):
    make_slide(tmp_path / "slides" / "one.tif", (0, 0, 512, 512))
    refused(tmp_path, "slides/one.tif: has no mask", "masks/")
    make_mask(tmp_path / "masks" / "one.png", (0, 0, 9, 9), (512, 512))
    refused(tmp_path, "masks/one.png: has 512x512 pixels", "1280x1024", "one aspect")
    make_mask(tmp_path / "masks" / "one.png", (0, 0, 9, 9))
    make_mask(tmp_path / "masks" / "two.png", (0, 0, 9, 9))
    refused(tmp_path, "masks/two.png: has no slide")


def test_train_and_test(tmp_path):
    for split in ("train", "val", "Test"):
        for name in ("normal", "tumor"):
            make_slide(tmp_path / "a" / split / name / f"{split}_{name}.tif", (0, 0, 256, 256))
        make_slide(tmp_path / "b" / split / "slides" / f"{split}.tif", (0, 0, 1024, 768))
        make_mask(tmp_path / "b" / split / "masks" / f"{split}.png", (120, 150, 150, 200))
    for place, classes in (("a", {"normal", "tumor"}), ("b", {"normal", "tumour"})):
        entries = list_entries(str(tmp_path / place), "")
        for split in ("train", "val", "Test"):
            of_split = [entry for entry in entries if entry.id.startswith(split)]
            assert {entry.label for entry in of_split} == classes
            assert {entry.split for entry in of_split} == {"test" if split == "Test" else "train"}
    make_slide(tmp_path / "a" / "normal" / "x.tif", (0, 0, 9, 9))
    refused(tmp_path / "a", "normal: lies beside Test/")


def test_train_and_test_are_no_classes(tmp_path):
    for name in ("train", "test"):
        make_slide(tmp_path / name / f"{name}.tif", (0, 0, 256, 256))
    refused(tmp_path, "test/test.tif: lies beside the folders of the classes")


def test_unreadable_slides(tmp_path, monkeypatch):
    for name in ("b.svs", "notes.txt"):
        (tmp_path / name / "class").mkdir(parents=True)
        make_slide(tmp_path / name / "class" / "a.tif", (0, 0, 512, 512))
        (tmp_path / name / "class" / name).write_bytes(b"no slide")
        refused(tmp_path / name, f"class/{name}: not a readable slide", ".svs")
    make_slide(tmp_path / "flat" / "class" / "a.tif", (0, 0, 512, 512))
    monkeypatch.setattr(slides, "_MAX_LEVEL_PIXELS", 1000)
    refused(tmp_path / "flat", "a.tif: its smallest level has 320x256 pixels")


def test_damaged_tiles_are_left_out_on_request(tmp_path, monkeypatch):
    # Tissue is looked for on another level than the damaged one
    monkeypatch.setattr(slides, "_MAX_LEVEL_PIXELS", 2**18)
    for name in ("a", "b", "c"):
        make_slide(tmp_path / "class" / f"{name}.tif", (0, 0, 1024, 1280), seed=ord(name))
    for name in ("d", "e"):
        make_slide(tmp_path / "other" / f"{name}.tif", (0, 0, 256, 256), seed=ord(name))
    path = tmp_path / "class" / "b.tif"
    with tifffile.TiffFile(path) as file:
        places = file.pages[0].dataoffsets
    content = bytearray(path.read_bytes())
    for place in places:
        content[place : place + 40] = b"\xff" * 40
    path.write_bytes(content)
    refused(tmp_path, "b.tif, tile 0 0: damaged", "--skip_bad_files")
    with pytest.warns(UserWarning, match="20 unreadable files"):
        samples = list(load_samples(str(tmp_path), "", skip_bad_files=True))
    assert {sample.group for sample in samples} == {"a", "c", "d", "e"} and len(samples) == 42


def test_what_is_a_folder_of_slides(tmp_path):
    Image.new("RGB", (300, 300)).save(tmp_path / "x.tif")
    for place, name in (("images", "a"), ("masks", "a")):
        (tmp_path / "pairs" / place).mkdir(parents=True)
        Image.new("L", (30, 30)).save(tmp_path / "pairs" / place / f"{name}.png")
    (tmp_path / "classes" / "cat").mkdir(parents=True)
    Image.new("RGB", (300, 300)).save(tmp_path / "classes" / "cat" / "flat.tif")
    make_slide(tmp_path / "slides_by_class" / "a" / "b.tif", (0, 0, 9, 9))
    assert [slides.is_folder_of_slides(tmp_path / name) for name in ("pairs", "classes", "slides_by_class")] == [
        False,
        False,
        True,
    ]


def test_without_openslide(tmp_path, monkeypatch):
    make_slide(tmp_path / "class" / "a.tif", (0, 0, 512, 512))
    monkeypatch.setitem(sys.modules, "openslide", None)
    refused(tmp_path, "a.tif", "pip install synthmed_tf[wsi]")
