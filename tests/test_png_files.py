"""publishing/png_files.py: the synthetic set as PNG files, all or nothing."""

import csv
import errno
import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthmed_tf.publishing import png_files
from synthmed_tf.sample import InputError, Sample


def draw_pairs(count, channels=3, dtype=np.uint8):
    rng = np.random.default_rng(1)
    for index in range(count):
        mask = (rng.random([16, 12, 1]) < 0.2).astype(np.uint8)
        image = rng.integers(0, np.iinfo(dtype).max, [16, 12, channels]).astype(dtype)
        yield Sample(f"synthetic-{index:06d}", image, mask, seed=3)


def read_table(folder):
    with open(folder / "index.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("channels", "dtype"), [(3, np.uint8), (1, np.uint8), (1, np.uint16)])
def test_files_are_the_samples_and_the_table_lists_them(tmp_path, channels, dtype):
    samples, folder = list(draw_pairs(3, channels, dtype)), tmp_path / "png"
    png_files.write(folder, samples)
    rows = read_table(folder)
    assert [row["id"] for row in rows] == [sample.id for sample in samples]
    for row, sample in zip(rows, samples, strict=True):
        assert row["seed"] == "3" and row.keys() == {"id", "image", "mask", "seed"}
        assert (np.asarray(Image.open(folder / row["image"])) == np.squeeze(sample.image)).all()
        assert (np.asarray(Image.open(folder / row["mask"])) == sample.mask[..., 0] * 255).all()
        assert Path(row["image"]).name == Path(row["mask"]).name  # so that the folder is a data set for --data again
    assert len(list(folder.rglob("*.png"))) == 6
    png_files.write(folder, samples[:1])
    assert len(list(folder.rglob("*.png"))) == 2 and [path.name for path in tmp_path.iterdir()] == ["png"]


def test_labelled_images_have_their_labels_in_the_table_and_no_masks(tmp_path):
    image = np.zeros([16, 12, 1], np.uint8)
    samples = [Sample(f"s{i}", image, label=label, seed=5) for i, label in enumerate(("a, b", "c"))]
    png_files.write(tmp_path / "png", samples)
    assert [(row["label"], row["image"], row["seed"]) for row in read_table(tmp_path / "png")] == [
        ("a, b", "images/s0.png", "5"),
        ("c", "images/s1.png", "5"),
    ]
    assert sorted(path.name for path in (tmp_path / "png").iterdir()) == ["images", "index.csv"]


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    samples = list(draw_pairs(3))
    png_files.write(tmp_path / "png", samples[:2])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    saved, count = Image.Image.save, itertools.count()

    def save(self, path, **options):
        if next(count) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        saved(self, path, **options)

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(InputError, match="png: could not be written .No space left on device"):
        png_files.write(tmp_path / "png", samples)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_grid_is_of_eight_bits_and_there_is_none_of_nothing(tmp_path):
    deep = np.full([16, 12, 1], 200 * 257, np.uint16)
    png_files.write_grid(tmp_path / "grid.png", [Sample("a", deep), Sample("b", 0 * deep)])
    grid = np.asarray(Image.open(tmp_path / "grid.png"))
    assert grid.dtype == np.uint8 and set(np.unique(grid)) >= {0, 200} and (grid == 200).sum() == 16 * 12
    png_files.write_grid(tmp_path / "grid.png", [])
    assert not (tmp_path / "grid.png").exists()
