"""PatchCamelyon in its official layout, with made files, and the real subset."""

import collections
import os

import h5py
import numpy as np
import pytest
from raw_sets import RNG, edit, load, refused, save, shares, write_table

from synthmed_tf.datasets.load import load_samples
from synthmed_tf.datasets.sources import list_entries
from synthmed_tf.datasets.split import split_entries


def make_hdf5(folder, part, labels, slides=None, tiles=None, shape=None):
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob(f"*_{part}_*.h5"):
        path.unlink()  # HDF5 does not write over a file that is open
    stem = f"camelyonpatch_level_2_split_{part}_"
    tiles = RNG.integers(0, 255, (len(labels), 96, 96, 3)).astype(np.uint8) if tiles is None else tiles
    with h5py.File(folder / f"{stem}x.h5", "w") as file:
        file.create_dataset("x", data=tiles, chunks=(1, *tiles.shape[1:]), compression="gzip")
    with h5py.File(folder / f"{stem}y.h5", "w") as file:
        file["y"] = np.array(labels, np.uint8).reshape(shape or (-1, 1, 1, 1))
    if slides:
        rows = [[4 * i, i, label, label, slide] for i, (label, slide) in enumerate(zip(labels, slides, strict=True))]
        write_table(
            folder / f"{stem}meta.csv", [["coord_y", "coord_x", "tumor_patch", "center_tumor_patch", "wsi"], *rows]
        )
    return tiles


def test_pcam_as_it_ships(tmp_path):
    slides = {"train": ["a", "b", "b"], "valid": ["c", "d"], "test": ["e", "e"]}
    labels = {"train": [0, 1, 1], "valid": [0, 1], "test": [1, 0]}
    tiles = {part: make_hdf5(tmp_path / "pcam", part, labels[part], slides[part]) for part in slides}
    samples = load("pcam", tmp_path)
    assert len(samples) == 7
    for part in slides:
        for index, (label, slide) in enumerate(zip(labels[part], slides[part], strict=True)):
            sample = samples[f"{part}_{index:06d}"]
            assert (sample.label, sample.group) == (("normal", "tumour")[label], slide)
            assert sample.split == ("test" if part == "test" else "train")
            assert sample.image.dtype == np.uint8 and (sample.image == tiles[part][index]).all()


def test_pcam_without_test_and_meta_files(tmp_path):
    make_hdf5(tmp_path / "pcam", "train", [0, 1] * 10)
    entries = split_entries("pcam", tmp_path)
    assert shares(entries) == {"normal": 0.2, "tumour": 0.2} and {entry.group for entry in entries} == {
        e.id for e in entries
    }


def test_tiles_are_read_one_at_a_time(tmp_path, monkeypatch):
    make_hdf5(tmp_path / "pcam", "train", [0, 1] * 5)
    read = []
    original = h5py.Dataset.__getitem__
    monkeypatch.setattr(
        h5py.Dataset, "__getitem__", lambda self, key: (read.append((self.name, key)), original(self, key))[1]
    )
    samples = load_samples("pcam", tmp_path)
    assert [name for name, _ in read] == ["/y"]
    next(iter(samples))
    assert len(read) == 2 and read[1][0] == "/x" and isinstance(read[1][1], int)


def test_replaced_hdf5_files_are_opened_anew(tmp_path):
    for seed in (0, 1):
        tiles = make_hdf5(tmp_path / "pcam", "train", [0, 1] * 5)
        os.utime(tmp_path / "pcam" / "camelyonpatch_level_2_split_train_x.h5", (seed, seed))
        assert all((load("pcam", tmp_path)[f"train_{i:06d}"].image == tiles[i]).all() for i in range(10))


def test_hdf5_that_does_not_fit(tmp_path):
    folder = tmp_path / "pcam"
    x, y, meta = (folder / f"camelyonpatch_level_2_split_train_{end}" for end in ("x.h5", "y.h5", "meta.csv"))
    refused(["PatchCamelyon is not there", "github.com/basveeling/pcam", "gunzip"], "pcam", tmp_path)
    folder.mkdir()
    refused("no camelyonpatch_level_2_split_train_x.h5 and no normal/ and tumor/", "pcam", tmp_path)
    x.with_suffix(".h5.gz").write_bytes(b"")
    refused(["train_x.h5.gz: still packed", "gunzip"], "pcam", tmp_path)
    make_hdf5(folder, "train", [0, 1, 2])
    refused(["train_y.h5: holds labels other than 0 and 1"], "pcam", tmp_path)
    make_hdf5(folder, "train", [0, 1], tiles=np.zeros((3, 96, 96, 3), np.uint8))
    refused(["x is uint8 [3, 96, 96, 3] and y uint8 [2, 1, 1, 1]", "[n, 96, 96, 3]"], "pcam", tmp_path)
    make_hdf5(folder, "train", [0, 1], tiles=np.zeros((2, 96, 96, 3), np.float32))
    refused("x is float32", "pcam", tmp_path)
    make_hdf5(folder, "train", [0, 1], slides=["a"] * 2)
    edit(meta, "wsi", "slide")
    refused(["train_meta.csv: 2 rows", "column wsi"], "pcam", tmp_path)
    meta.unlink()
    for write in (
        lambda file: file.create_dataset(
            "y", (2**40, 1, 1, 1), "u1", chunks=(1, 1, 1, 1)
        ),  # takes no space in the file
        lambda file: file.create_dataset("y", data=[b"a", b"b"]),
        lambda file: file.create_dataset("y", data=1),
        lambda file: file.create_group("y"),
        lambda file: None,
    ):
        y.unlink()
        with h5py.File(y, "w") as file:
            write(file)
        refused("download", "pcam", tmp_path)
    x.unlink(), y.unlink()
    with h5py.File(x, "w") as file:
        file.create_dataset("x", (2**40, 96, 96, 3), "u1", chunks=(1, 96, 96, 3))
    with h5py.File(y, "w") as file:
        file.create_dataset("y", (2**40, 1, 1, 1), "u1", chunks=(1, 1, 1, 1))
    refused("n up to 1048576", "pcam", tmp_path)
    make_hdf5(folder, "train", [0, 1])
    content = x.read_bytes()
    x.unlink()
    x.write_bytes(content[: len(content) // 2])
    refused("not a readable HDF5 file", "pcam", tmp_path)
    x.write_bytes(b"no such thing")
    refused("not a readable HDF5 file", "pcam", tmp_path)
    y.unlink()
    refused("no camelyonpatch_level_2_split_train_y.h5", "pcam", tmp_path)
    x.unlink()
    make_hdf5(folder, "valid", [0, 1])
    refused("no camelyonpatch_level_2_split_train_x.h5", "pcam", tmp_path)


def test_hdf5_that_points_to_other_files_is_not_followed(tmp_path):
    folder, secret = tmp_path / "pcam", tmp_path / "secret"
    secret.write_bytes(bytes(2 * 96 * 96 * 3))
    x = folder / "camelyonpatch_level_2_split_train_x.h5"
    make_hdf5(tmp_path / "other", "train", [0, 1])
    other = tmp_path / "other" / x.name
    layout = h5py.VirtualLayout((2, 96, 96, 3), "u1")
    layout[:] = h5py.VirtualSource(other, "x", (2, 96, 96, 3))
    for write in (
        lambda file: file.create_dataset("x", (2, 96, 96, 3), "u1", external=[(str(secret), 0, h5py.h5f.UNLIMITED)]),
        lambda file: file.create_virtual_dataset("x", layout),
        lambda file: file.update({"x": h5py.ExternalLink(other, "x")}),
        lambda file: file.update({"deep": h5py.ExternalLink(other, "/"), "x": h5py.SoftLink("/deep/x")}),
    ):
        make_hdf5(folder, "train", [0, 1])
        x.unlink()
        with h5py.File(x, "w") as file:
            write(file)
        refused(["train_x.h5", "lies in another file"], "pcam", tmp_path)


def test_damaged_tile_can_be_left_out(tmp_path):
    tiles = make_hdf5(tmp_path / "pcam", "train", [0, 1] * 5)
    path = tmp_path / "pcam" / "camelyonpatch_level_2_split_train_x.h5"
    with h5py.File(path) as file:
        place = file["x"].id.get_chunk_info(3)
    content = bytearray(path.read_bytes())
    content[place.byte_offset : place.byte_offset + 1000] = bytes(1000)
    path.write_bytes(content)
    refused(["train_x.h5, tile 3: cannot be read", "--skip_bad_files"], "pcam", tmp_path)
    with pytest.warns(UserWarning, match="1 unreadable files left out .*tile 3"):
        samples = {sample.id: sample for sample in load_samples("pcam", tmp_path, skip_bad_files=True)}
    assert len(samples) == 9 and (samples["train_000004"].image == tiles[4]).all()


def test_pcam_as_folders_of_classes(tmp_path):
    for name in ("balanced/normal/a", "balanced/tumor/b", "extra/normal/c"):
        save(tmp_path / "pcam" / f"{name}.tif", RNG.integers(0, 255, (96, 96, 3)).astype(np.uint8))
    found = [(entry.id, entry.group, entry.label, entry.split) for entry in list_entries("pcam", tmp_path)]
    assert found == [("a", "a", "normal", None), ("b", "b", "tumour", None)]
    (tmp_path / "pcam" / "balanced" / "tumor").rename(tmp_path / "pcam" / "Tumour")
    assert [e.label for e in list_entries("pcam", tmp_path)] == ["normal", "tumour"]
    refused("pcam has no choice of classes", "pcam", tmp_path, labels="wsi")


def test_real_pcam(real_data):
    entries = split_entries("pcam", real_data)
    counts = collections.Counter((entry.label, entry.split) for entry in entries)
    assert len(entries) == 2 * 517  # SOURCE.md: balanced/; a fifth of 517 is 103.4
    assert counts == {
        (label, split): n for label in ("normal", "tumour") for split, n in (("train", 413), ("test", 104))
    }
    assert len(load("pcam", real_data)) == 2 * 517
    samples = load_samples("pcam", real_data)
    assert next(samples).image.shape == (96, 96, 3)
