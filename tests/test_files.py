"""Files on disk and in zips: links, odd names, and archives that lie."""

import os
import zipfile

import numpy as np
import pytest
from raw_sets import RNG, load, make_drive, refused, save, save_pair, zip_folder

from synthmed_tf.datasets.files import show_path
from synthmed_tf.datasets.load import load_samples


@pytest.fixture
def own(tmp_path):
    """A folder of one's own with seven pairs."""
    folder = tmp_path / "own"
    for stem in "abcdefg":
        save_pair(folder, stem)
    return folder


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


def test_broken_link(own):
    os.symlink("nowhere.png", own / "images" / "x.png")
    refused("x.png: a broken link", own)


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


def test_long_names_and_odd_data_flags(tmp_path):
    refused("File name too long", "x" * 5000)
    refused("--data=", tmp_path / "a\0b")
    assert show_path("a\nb\udcff") == "a\\nb\\udcff"
