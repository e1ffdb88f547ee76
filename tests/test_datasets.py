import os
import shutil
import subprocess
import sys
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from synthmed_tf.datasets import fingerprint
from synthmed_tf.datasets.decode import read_entry
from synthmed_tf.datasets.files import show_path
from synthmed_tf.datasets.fingerprint import fingerprint_set
from synthmed_tf.datasets.load import load_samples
from synthmed_tf.datasets.sources import check_set, list_entries
from synthmed_tf.datasets.split import split_entries
from synthmed_tf.records.atomic import hash_file
from synthmed_tf.sample import InputError, UnreadableImage

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


@pytest.fixture
def own(tmp_path):
    """A folder of one's own with seven pairs."""
    folder = tmp_path / "own"
    for stem in "abcdefg":
        save_pair(folder, stem)
    return folder


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


# ---------------------------------------------------------------- a folder of one's own


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


def test_a_table_beside_masks_tells_groups_and_split(own):
    first = fingerprint_set(str(own), "")
    (own / "notes.csv").write_bytes("name,Größe\na.png,3\n".encode("latin-1"))  # tells neither
    assert fingerprint_set(str(own), "") == first
    rows = [f"{stem}.png,p{index // 2}" for index, stem in enumerate("abcdefg")]
    (own / "patients.csv").write_text("\n".join(["file,Patient ID", *rows]))
    assert [entry.group for entry in list_entries(str(own), "")] == "p0 p0 p1 p1 p2 p2 p3".split()
    grouped = fingerprint_set(str(own), "")
    (own / "patients.csv").write_text("\n".join(["file,split", *(f"images/{s}.png,train" for s in "abcdef"), "g,test"]))
    assert splits(load(own)) == {"g": "test", **dict.fromkeys("abcdef", "train")}
    assert len({first, grouped, fingerprint_set(str(own), "")}) == 3
    (own / "patients.csv").write_text("file,patient\na,1\n")
    refused(["b.png: has no row in", "patients.csv"], own)
    (own / "more.csv").write_text("file,group\na,1\n")
    refused("tells groups or a split, as", own)


def test_a_table_beside_train_and_test_tells_groups(tmp_path):
    for stem, split in zip("abc", ("train", "train", "test"), strict=True):
        save_pair(tmp_path / split, stem)
    (tmp_path / "t.csv").write_text("file,subject\na,1\ntrain/images/b.png,1\nc.png,2\n")
    assert [sample.group for sample in load(tmp_path).values()] == ["2", "1", "1"]
    (tmp_path / "t.csv").write_text("file,subject\na,1\nb,1\nc.png,1\n")
    refused("its group '1' is in train and in test", tmp_path)
    (tmp_path / "t.csv").write_text("file,split\na,train\nb,test\nc.png,test\n")
    refused(["t.csv: line 3: the split is test", "train/images/b.png lies in train"], tmp_path)


def test_dicom_files_without_a_name_of_theirs(own):
    (own / "images" / "IM0001").write_bytes(bytes(128) + b"DICM")
    refused(["IM0001: not an image file", "rename it to .dcm"], own)
    (own / "images" / "IM0001").rename(own / "images" / "IM0001.DICOM")
    refused("IM0001.DICOM: has no mask", own)  # is an image


def test_test_images_may_lack_masks_altogether(tmp_path):
    save_pair(tmp_path / "train", "a")
    save(tmp_path / "test" / "images" / "b.png", np.zeros((9, 9, 3), np.uint8))
    assert load(tmp_path)["b"].mask is None


@pytest.mark.parametrize("levels", [(0, 255), (0, 1), (3, 200), (1, 2)])
def test_mask_of_any_two_levels(own, levels):
    bits = RNG.integers(0, 2, (24, 20))
    save(own / "masks" / "a.png", np.array(levels, np.uint8)[bits])
    assert (load(own)["a"].mask[..., 0] == bits).all()


def test_masks_in_colour_16_bit_palette_and_1_bit(own):
    bits = RNG.integers(0, 2, (24, 20))
    save(own / "masks" / "a.png", np.array([[0, 0, 0], [255, 0, 0]], np.uint8)[bits])
    save(own / "masks" / "b.png", np.array([0, 65535], np.uint16)[bits])
    palette = Image.fromarray(bits.astype(np.uint8)).convert("P")
    palette.putpalette([255, 255, 255, 0, 0, 0])  # index 0 is white: what looks bright is foreground
    palette.save(own / "masks" / "c.png")
    save(own / "masks" / "d.png", bits.astype(bool))
    save(own / "masks" / "e.png", np.zeros((24, 20), np.uint8))
    save(own / "masks" / "f.png", np.full((24, 20), 255, np.uint8))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a, b, d have one mask and so do not count as copies: their images differ
        samples = load(own)
    for stem, expected in (
        ("a", bits),
        ("b", bits),
        ("c", 1 - bits),
        ("d", bits),
        ("e", 0 * bits),
        ("f", 0 * bits + 1),
    ):
        assert (samples[stem].mask[..., 0] == expected).all(), stem


def test_masks_drawn_in_the_opacity(own):
    bits = RNG.integers(0, 2, (24, 20)).astype(np.uint8)
    bits[0, :2] = 0, 1
    for stem, mode, colour in (("a", "RGBA", (9, 9, 9)), ("b", "LA", (0,))):
        planes = [Image.new("L", (20, 24), level) for level in colour]
        Image.merge(mode, [*planes, Image.fromarray(bits * 255)]).save(own / "masks" / f"{stem}.png")
    samples = load(own)
    assert all((samples[stem].mask[..., 0] == bits).all() for stem in "ab")
    Image.merge("LA", [Image.fromarray(1 - bits), Image.fromarray(bits)]).save(own / "masks" / "a.png")
    assert (load(own)["a"].mask[..., 0] == 1 - bits).all()  # where both differ, the colour is the mask


@pytest.mark.parametrize("suffix", ["tif", "bmp", "gif", "jpg", "JPG", "jpeg"])
def test_image_formats(own, suffix):
    (own / "images" / "a.png").unlink()
    save(own / "images" / f"a.{suffix}", RNG.integers(0, 255, (24, 20)).astype(np.uint8))
    for stem in "bcdefg":
        save(own / "images" / f"{stem}.png", RNG.integers(0, 255, (24, 20)).astype(np.uint8))
    assert load(own)["a"].image.shape == (24, 20, 1)


def test_16_bit_images_keep_their_depth(tmp_path):
    deep = RNG.integers(0, 65535, (24, 20)).astype(np.uint16)
    save_pair(tmp_path, "a", deep)
    image = load(tmp_path)["a"].image
    assert image.dtype == np.uint16 and (image[..., 0] == deep).all()


def test_links_are_followed_and_ids_are_clean(own, tmp_path):
    outside = save(tmp_path / "elsewhere" / "JOHN_DOE.png", RNG.integers(0, 255, (24, 20, 3)).astype(np.uint8))
    bits = (RNG.random((24, 20)) < 0.5).astype(np.uint8)
    odd = {
        "link": "link",
        "ä b": None,
        "图": None,
        "像": None,
        "two\nlines": None,
        "a;rm -rf $x": None,
        "dots.v2": "dots.v2",
    }
    for stem in odd:
        os.symlink(outside, own / "images" / f"{stem}.png")
        save(own / "masks" / f"{stem}.png", bits)
        image = RNG.integers(0, 255, (24, 20, 3)).astype(np.uint8)
        if stem != "link":
            (own / "images" / f"{stem}.png").unlink()
            save(own / "images" / f"{stem}.png", image)
        bits = 1 - np.roll(bits, 1, 0)
    samples = load(own)
    assert len(samples) == 7 + len(odd)
    assert "link" in samples and "dots.v2" in samples and not any("JOHN" in id for id in samples)
    assert all(set(id) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") for id in samples)
    (own / "images" / "two\nlines.png").write_bytes(b"")
    refused("two\\nlines.png: cannot be read", own)


def test_operating_system_files_do_not_matter(own):
    for name in (".DS_Store", "Thumbs.db", "._a.png", "desktop.ini"):
        (own / "images" / name).write_bytes(b"x")
    assert len(load(own)) == 7


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


def test_size_mismatch(own):
    save(own / "masks" / "b.png", np.zeros((24, 21), np.uint8))
    refused(["masks/b.png", "21x24", "20x24"], own)


def test_mask_with_more_than_two_levels(own):
    mask = np.zeros((24, 20), np.uint8)
    mask[0, 0], mask[1, 1] = 100, 200
    save(own / "masks" / "b.png", mask)
    refused(["masks/b.png", "3 levels", "allowed are two", "PNG"], own)
    colours = np.zeros((24, 20, 3), np.uint8)
    colours[:12, :, 0], colours[12:, :, 2] = 255, 255  # equally bright, yet two colours
    save(own / "masks" / "b.png", colours)
    refused(["masks/b.png", "several colours"], own)
    save(own / "masks" / "b.png", np.full((24, 20), 77, np.uint8))
    refused(["masks/b.png", "single level 77"], own)
    save(own / "masks" / "b.png", np.full((24, 20, 3), (0, 0, 200), np.uint8))
    refused(["masks/b.png", "single level 200"], own)


def test_jpeg_mask_says_what_jpeg_does(own):
    mask = np.asarray(Image.open(own / "masks" / "b.png"))
    (own / "masks" / "b.png").unlink()
    save(own / "masks" / "b.jpg", mask)
    refused(["masks/b.jpg", "JPEG blurs masks", "save it as PNG"], own)


def test_two_files_of_one_stem(own):
    save(own / "images" / "a.tif", np.zeros((24, 20, 3), np.uint8))
    refused(["same stem", "images/a.png", "images/a.tif"], own)


def test_one_id_in_train_and_test(tmp_path):
    for split in ("train", "test"):
        save_pair(tmp_path / split, "a")
    refused(["same id 'a'", "train/images/a.png", "test/images/a.png"], tmp_path)


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
    refused("no masks/", tmp_path)
    (tmp_path / "masks").mkdir()
    save_pair(tmp_path / "train", "b")
    refused("not both", tmp_path)
    (tmp_path / "train" / "images" / "deeper").mkdir()
    (tmp_path / "images").rename(tmp_path / "old")
    refused(["deeper: a folder"], tmp_path)


def test_broken_link(own):
    os.symlink("nowhere.png", own / "images" / "x.png")
    refused("x.png: a broken link", own)


def test_mixed_kinds_of_images(own):
    save(own / "images" / "c.png", np.zeros((24, 20), np.uint8))
    refused(["images/c.png", "8-bit grey", "8-bit colour"], own)


def test_skip_bad_files_counts_them_in_one_warning(own):
    for stem in "ab":
        path = own / "images" / f"{stem}.png"
        path.write_bytes(path.read_bytes()[:200])
    (own / "masks" / "c.png").write_bytes(b"no image")
    refused("cannot be read", own)
    with pytest.warns(UserWarning) as caught:
        samples = list(load_samples(str(own), "", skip_bad_files=True))
    assert sorted(sample.id for sample in samples) == ["d", "e", "f", "g"]
    assert len(caught) == 1 and "3 unreadable files" in str(caught[0].message) and "a.png" in str(caught[0].message)
    for path in (own / "images").iterdir():
        path.write_bytes(b"")
    with pytest.warns(UserWarning, match="7 unreadable"), pytest.raises(InputError, match="none of its 7"):
        list(load_samples(str(own), "", skip_bad_files=True))


def test_copies_do_not_straddle_the_split(own):
    e = np.asarray(Image.open(own / "images" / "e.png"))  # e is the test sample
    save(own / "images" / "a.png", e)  # its image, another mask
    save(own / "masks" / "b.png", np.asarray(Image.open(own / "masks" / "e.png")))  # its mask, another image
    save(own / "images" / "c.tif", e)  # its image and mask, in another format
    (own / "images" / "c.png").unlink()
    save(own / "masks" / "c.png", np.asarray(Image.open(own / "masks" / "e.png")) // 255)
    for folder in ("images", "masks"):  # a repeat within the training split
        save(own / folder / "g.png", np.asarray(Image.open(own / folder / "f.png")))
    with pytest.warns(UserWarning, match="4 copies"):
        samples = list(load_samples(str(own), ""))
    assert [(sample.id, sample.split) for sample in samples] == [("e", "test"), ("d", "train"), ("f", "train")]


def test_empty_masks_are_no_copies(own):
    for stem in "aeg":
        save(own / "masks" / f"{stem}.png", np.zeros((24, 20), np.uint8))
    assert len(load(own)) == 7


def test_holdout_of_a_folder(own):
    samples = load(own, holdout=3)
    held_out = {id for id, split in splits(samples).items() if split == "test"}
    assert len(samples) == 7 and len(held_out) == 3
    assert splits(load(own, holdout=3)) == splits(samples)
    assert any(splits(load(own, holdout=3, seed=seed)) != splits(samples) for seed in range(1, 5))
    refused(["--holdout=7", "1 to 6"], own, holdout=7)


def test_loading_is_lazy(own):
    (own / "images" / "g.png").write_bytes(b"broken")
    samples = load_samples(str(own), "")
    assert next(samples).id == "e"
    with pytest.raises(UnreadableImage):
        list(samples)


def test_fingerprint_changes_with_names_and_contents_and_not_with_place_and_time(own, tmp_path):
    first = fingerprint_set(str(own), "")
    assert first == fingerprint_set(str(own), "elsewhere") and len(first) == 12
    shutil.copytree(own, tmp_path / "copy", copy_function=shutil.copyfile)
    assert fingerprint_set(str(tmp_path / "copy"), "") == first
    image = own / "images" / "a.png"
    stat, content = image.stat(), image.read_bytes()
    image.write_bytes(content[:-1] + b"?")
    os.utime(image, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    second = fingerprint_set(str(own), "")
    for folder in ("images", "masks"):
        (own / folder / "b.png").rename(own / folder / "bb.png")
    assert len({first, second, fingerprint_set(str(own), "")}) == 3


def test_fingerprint_reads_only_what_is_new(own, monkeypatch):
    read, known = [], {}
    monkeypatch.setattr(fingerprint, "hash_file", lambda path: read.append(path.name) or hash_file(path))
    first = fingerprint_set(str(own), "", hashed=known)
    everything = len(read)
    assert everything == len(known) == len(list(own.rglob("*.png"))) and first == fingerprint_set(str(own), "")
    read.clear()
    assert fingerprint_set(str(own), "", hashed=known) == first and read == []
    os.utime(own / "images" / "a.png", (1, 1))
    assert fingerprint_set(str(own), "", hashed=known) == first and read == ["a.png"]
    (own / "images" / "a.png").unlink()
    (own / "images" / "a.png").symlink_to(own / "images" / "b.png")
    assert fingerprint_set(str(own), "", hashed=known) != first


def test_phantom_is_always_there(tmp_path):
    check_set("phantom", tmp_path)
    assert fingerprint_set("phantom", tmp_path) == fingerprint_set("phantom", tmp_path / "other")
    sample = next(iter(load_samples("phantom", tmp_path)))
    assert sample.split == "train" and sample.mask.any() and sample.field_of_view.any()


# ---------------------------------------------------------------- DRIVE, CHASE_DB1, BU-BIL: layouts, with made files


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
        assert (first[id].split, first[id].group) == (second[id].split, second[id].group)


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


def test_missing_sets_say_where_to_get_them(tmp_path):
    for data, site in (
        ("drive", "https://drive.grand-challenge.org"),
        ("chase_db1", "https://researchdata.kingston.ac.uk/96/"),
        ("bubil", "https://www.cs.bu.edu/~betke/BiomedicalImageSegmentation/"),
    ):
        with pytest.raises(InputError) as caught:
            check_set(data, tmp_path)
        assert (
            site in str(caught.value)
            and str(tmp_path / data) in str(caught.value)
            and "--data_dir" in str(caught.value)
        )
        (tmp_path / data).mkdir()
        with pytest.raises(InputError, match="https"):
            check_set(data, tmp_path)


def test_incomplete_drive(tmp_path):
    folder = make_drive(tmp_path / "drive")
    (folder / "training" / "1st_manual" / "22_manual1.gif").unlink()
    refused(["22_training.tif", "1st_manual", "1 of 4"], "drive", tmp_path)


def test_hostile_zips(tmp_path):
    folder = tmp_path / "drive"
    folder.mkdir()
    path = folder / "training.zip"
    for name in ("../../evil.tif", "/etc/evil.tif", "C:/evil.tif", "training\\..\\..\\evil.tif"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(zipfile.ZipInfo(name), b"x")
        refused(["training.zip", "climbs out"], "drive", tmp_path)
    path.write_bytes(b"not a zip")
    refused(["training.zip", "not a readable zip"], "drive", tmp_path)

    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("training/images/21_training.tif", b"x" * 100)
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\x01\x02") + 24  # the declared size in the central directory
    content[place : place + 4] = (2**31).to_bytes(4, "little")
    path.write_bytes(content)
    refused(["training.zip", "declares 2147483648 bytes"], "drive", tmp_path)
    assert sorted(tmp_path.rglob("*")) == [folder, path]  # nothing was unpacked


def test_zip_that_lies_or_is_damaged(tmp_path):
    made = make_drive(tmp_path / "made", training=2, test=0)
    (tmp_path / "drive").mkdir()
    path = zip_folder(tmp_path / "drive" / "training.zip", made / "training", "training/")
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("training/images/22_training.tif")
    start = member.header_offset + 30 + len(member.filename)
    content[start + 5 : start + 60] = bytes(55)
    path.write_bytes(content)
    refused(["training.zip/training/images/22_training.tif"], "drive", tmp_path)
    with pytest.warns(UserWarning, match="1 unreadable files"):
        assert len(list(load_samples("drive", tmp_path, skip_bad_files=True))) == 1


def test_damaged_zip_of_another_compression(tmp_path):
    made = make_drive(tmp_path / "made", training=2, test=0) / "training"
    (tmp_path / "drive").mkdir()
    path = tmp_path / "drive" / "training.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for file in sorted(made.rglob("*.*")):
            archive.write(file, f"training/{file.relative_to(made).as_posix()}")
        member = archive.getinfo("training/images/22_training.tif")
    content = bytearray(path.read_bytes())
    start = member.header_offset + 30 + len(member.filename)
    content[start + 9 : start + 400] = b"\xff" * 391
    path.write_bytes(content)
    refused(["training.zip/training/images/22_training.tif: cannot be unpacked"], "drive", tmp_path)


def test_chase_db1_as_it_ships(tmp_path):
    y, x = np.mgrid[:60, :64]
    disc = (y - 30) ** 2 + (x - 32) ** 2 < 26**2
    flat = tmp_path / "CHASEDB1"
    for child in (1, 10, 11):
        for eye in "LR":
            photograph = np.where(disc, RNG.integers(120, 200, disc.shape), 2)[..., None].repeat(3, -1).astype(np.uint8)
            save(flat / f"Image_{child:02}{eye}.jpg", photograph)
            for observer in ("1stHO", "2ndHO"):
                save(flat / f"Image_{child:02}{eye}_{observer}.png", RNG.random((60, 64)) < 0.2)
    samples = load("chase_db1", tmp_path)
    assert splits(samples) == {
        f"Image_{child:02}{eye}": "test" if child == 11 else "train" for child in (11, 1, 10) for eye in "LR"
    }
    assert {sample.group for sample in samples.values()} == {"01", "10", "11"}
    assert all(sample.second_mask is not None for sample in samples.values())
    for sample in samples.values():  # estimated
        field = sample.field_of_view[..., 0]
        assert 2 * (field & disc).sum() / (field.sum() + disc.sum()) > 0.95


def test_bubil_cell_is_one_and_both_layouts(tmp_path):
    for number in range(1, 8):
        cell = np.zeros((20, 24), bool)
        cell[5:9, number : number + 6] = True
        for top in (tmp_path / "short" / "bubil", tmp_path / "long" / "bubil" / "BU-BIL_Dataset1"):
            save(top / "RawImages" / f"B{number:02}.png", np.full((20, 24), number, np.uint8))
            save(top / "GoldStandard" / f"seg_B{number:02}.png", ~cell)  # the cell is 0 in the files
    short, long = load("bubil", tmp_path / "short"), load("bubil", tmp_path / "long")
    same_samples(short, long)
    assert splits(short) == {f"B{number:02}": "test" if number == 5 else "train" for number in (5, 1, 2, 3, 4, 6, 7)}
    assert short["B01"].mask[5:9, 1:7].all() and short["B01"].mask.sum() == 24
    (tmp_path / "short" / "bubil" / "GoldStandard" / "seg_B03.png").unlink()
    refused(["B03.png: has no mask"], "bubil", tmp_path / "short")


def test_long_names_and_odd_data_flags(tmp_path):
    refused("File name too long", "x" * 5000)
    refused("--data=", tmp_path / "a\0b")
    assert show_path("a\nb\udcff") == "a\\nb\\udcff"


# ---------------------------------------------------------------- the real sets


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


def test_real_chase_db1_and_bubil(real_data):
    entries = split_entries("chase_db1", real_data)
    assert [sum(entry.split == split for entry in entries) for split in ("train", "test")] == [20, 8]
    sample = next(load_samples("chase_db1", real_data))
    assert sample.image.shape == (960, 999, 3) and 0.04 < sample.mask.mean() < 0.1 and sample.second_mask is not None

    samples = load("bubil", real_data)
    assert len(samples) == 35 and sum(sample.split == "test" for sample in samples.values()) == 7
    assert samples["B02"].image.shape == (1030, 1300, 1)  # a grey palette
    assert all(0.005 < sample.mask.mean() < 0.13 for sample in samples.values())  # SOURCE.md: 1-12 % of the frame


# ---------------------------------------------------------------- speed


def test_check_answers_quickly_and_without_heavy_imports(tmp_path):
    program = (
        "import sys, time\n"
        "from synthmed_tf.datasets.sources import check_set\n"
        "from synthmed_tf.sample import InputError\n"
        "start = time.perf_counter()\n"
        "for data in ('drive', 'chase_db1', 'bubil', 'phantom', 'nothing', sys.argv[1]):\n"
        "    try:\n"
        "        check_set(data, sys.argv[1])\n"
        "    except InputError:\n"
        "        pass\n"
        "heavy = [name for name in ('tensorflow', 'scipy', 'skimage') if name in sys.modules]\n"
        "print(time.perf_counter() - start, heavy)\n"
    )
    root = Path(__file__).resolve().parents[1]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], cwd=root, capture_output=True, text=True, check=True
    )
    seconds, heavy = done.stdout.split(" ", 1)
    assert heavy.strip() == "[]" and float(seconds) < 0.5
    assert time.perf_counter() - start < 5  # the interpreter and numpy; 0.3 s on an idle machine


def test_check_of_a_large_folder_is_quick(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for index in range(1000):
            (tmp_path / folder / f"{index}.png").touch()
    start = time.process_time()
    check_set(str(tmp_path), "")
    assert time.process_time() - start < 0.5
