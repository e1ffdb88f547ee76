"""What is wrong in a set is told before anything is learned: an error, or a counted warning."""

import json
import re
import warnings

import numpy as np
import pytest
import tifffile
from PIL import Image
from raw_sets import save

from synthmed_tf.datasets import inspect
from synthmed_tf.datasets.load import load_samples
from synthmed_tf.datasets.prepare import prepare, prepare_training_split
from synthmed_tf.records.manifest import read_manifest
from synthmed_tf.records.read import Records
from synthmed_tf.sample import InputError

Y, X = np.mgrid[:64, :64]


def draw(index, top=255, dtype=np.uint8):
    """A grey photograph of waves; its values reach from 0 to top."""
    waves = np.sin(X / 5 + index) + np.cos(Y / (4 + index % 3))
    return ((waves - waves.min()) / np.ptp(waves) * top).astype(dtype)


def draw_mask(index):
    """A bar, as bool: less than a third of the picture."""
    return (X > 10 + index) & (X < 20 + 2 * index)


def make_set(folder, write_image=None, write_mask=None, count=8):
    """FOLDER/images and FOLDER/masks by functions of (path without ending, index)."""
    write_image = write_image or (lambda path, index: Image.fromarray(draw(index)).save(f"{path}.png"))
    write_mask = write_mask or (lambda path, index: Image.fromarray(draw_mask(index)).save(f"{path}.png"))
    for name, write in (("images", write_image), ("masks", write_mask)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            write(folder / name / str(index), index)
    return str(folder)


def run(data, folder, **options):
    """(Records, lines printed of the look, warnings but for those of few test images)."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        prepared = prepare(data, folder / "data", (64, 64), out_dir=folder / "out", **options)
    told = [str(each.message) for each in caught]
    told = [text for text in told if text.startswith(data) and " test images" not in text and "no interval" not in text]
    return Records(prepared), read_manifest(prepared)["look"], told


def tiff(top, dtype):
    return lambda path, index: tifffile.imwrite(f"{path}.tif", draw(index, top, dtype))


@pytest.mark.parametrize(
    "write, pixel_range, says",
    [
        (tiff(255, np.uint8), [0, 255], "0 to 255 of 255, and stay as they are (factor 1)"),
        (tiff(60, np.uint8), [0, 63], "0 to 63 becomes 0 to 255: all times 4.048"),
        (tiff(250, np.uint16), [0, 255], "0 to 255 becomes 0 to 65535: all times 257"),
        (tiff(1000, np.uint16), [0, 1023], "all times 64.06"),
        (tiff(4000, np.uint16), [0, 4095], "pixels are 0 to 4000; 0 to 4095 becomes 0 to 65535: all times 16"),
        (tiff(16000, np.uint16), [0, 16383], "all times 4"),
        (tiff(60000, np.uint16), [0, 65535], "and stay as they are"),
        (tiff(1, np.float32), [0, 1], "all times 6.554e+04"),
        (tiff(1e5, np.float64), [0, 1e5], "all times 0.6553"),
        (
            lambda path, index: tifffile.imwrite(f"{path}.tif", draw(index, 4000, np.int16) - 1000),
            [-1000, 3000],
            "all less -1000, then times 16.38",
        ),
    ],
)
def test_one_range_for_the_whole_set(tmp_path, write, pixel_range, says):
    records, lines, told = run(make_set(tmp_path / "own", write), tmp_path)
    (line,) = [line for line in lines if line.startswith("  range")]
    assert says in line and not told
    kept = records.manifest["pixel_range"]
    assert kept == pixel_range
    top = np.iinfo(records[0].image.dtype).max
    for sample in records:  # 64 pixels are as many as there are: nothing is resized
        stored = (
            np.asarray(Image.open(next((tmp_path / "own" / "images").glob(f"{sample.id}.*"))))
            if top == 255
            else (tifffile.imread(tmp_path / "own" / "images" / f"{sample.id}.tif"))
        )
        expected = np.rint((stored - np.float64(kept[0])) / (kept[1] - kept[0]) * top)
        np.testing.assert_allclose(sample.image[..., 0].astype(float), expected, atol=1)
    assert max(sample.image.max() for sample in records) > 0.9 * top
    again = {s.id: s for s in load_samples(str(tmp_path / "own"), "", pixel_range=kept)}
    assert all((again[sample.id].image == sample.image).all() for sample in records)


def test_dark_images_and_few_bright_pixels_are_told_of(tmp_path):
    def write(path, index):
        tifffile.imwrite(f"{path}.tif", draw(index, 255 if index in (2, 5) else 60000, np.uint16))

    _, _, (told,) = run(make_set(tmp_path / "units", write), tmp_path)
    assert "2 of 8 images keep to the darkest sixteenth" in told and "images/2.tif, images/5.tif" in told

    def write_marker(path, index):
        tifffile.imwrite(f"{path}.tif", np.where(X + Y == 0, 65535, draw(index, 4000, np.uint16)).astype(np.uint16))

    _, _, (told,) = run(make_set(tmp_path / "marked", write_marker), tmp_path)
    assert "nearly all pixels lie between 5 and 3998" in told and "reach from 0 to 65535" in told and "clip" in told
    # The remedy: what is clipped is read with its own range
    for path in (tmp_path / "marked" / "images").iterdir():
        tifffile.imwrite(path, np.minimum(tifffile.imread(path), 4000))
    records, _, told = run(str(tmp_path / "marked"), tmp_path)
    assert records.manifest["pixel_range"] == [0, 4095] and not told


@pytest.mark.parametrize(
    "write_image, write_mask, says",
    [
        (lambda p, i: Image.new("L", (64, 64), i).save(f"{p}.png"), None, "all 8 images have one value throughout"),
        (None, lambda p, i: Image.new("L", (64, 64)).save(f"{p}.png"), "all 8 masks are empty or full"),
        (None, lambda p, i: Image.new("L", (64, 64), 255).save(f"{p}.png"), "all 8 masks are empty or full"),
        (None, lambda p, i: Image.new("L", (64, 64), i % 2).save(f"{p}.png"), "all 8 masks are empty or full"),
        (None, lambda p, i: Image.fromarray(draw_mask(i) != (i % 2)).save(f"{p}.png"), "masks/1.png, .*masks/[04]"),
        (None, lambda p, i: Image.fromarray(np.uint8(draw_mask(i)) + (i > 5)).save(f"{p}.png"), "the level 1, which"),
        (
            lambda p, i: Image.fromarray(draw(i, dtype=np.uint16 if i == 3 else np.uint8)).save(f"{p}.png"),
            None,
            "3.png: 16-bit grey, but .*4.png is 8-bit grey",
        ),
    ],
)
def test_what_cannot_be_right_is_an_error_before_anything_is_written(tmp_path, write_image, write_mask, says):
    data = make_set(tmp_path / "own", write_image, write_mask)
    for dry_run in (True, False):
        with pytest.raises(InputError, match=says) as caught:
            run(data, tmp_path, dry_run=dry_run)
        assert "\n" not in str(caught.value)
    assert not list((tmp_path / "data").rglob("own*"))


@pytest.mark.parametrize(
    "write_image, write_mask, says",
    [
        (
            lambda p, i: Image.fromarray(draw(i, 255 * (i != 3))).save(f"{p}.png"),
            None,
            r"1 of 8 images have one value throughout \(images/3.png\)",
        ),
        (
            None,
            lambda p, i: Image.fromarray(draw_mask(i) & (i > 1)).save(f"{p}.png"),
            r"2 of 8 masks have no foreground \(masks/0.png, masks/1.png\)",
        ),
        (
            lambda p, i: Image.fromarray(np.where((i == 3) & (X + Y > 0), 7, draw(i)).astype(np.uint8)).save(
                f"{p}.png"
            ),
            None,
            r"1 of 8 images have one value but for a thousandth of their pixels \(images/3.png\)",
        ),
        (None, lambda p, i: Image.fromarray(draw_mask(i) | (i == 7)).save(f"{p}.png"), "1 of 8 masks are all fore"),
        (None, lambda p, i: Image.fromarray(~draw_mask(i)).save(f"{p}.png"), "8 of 8 masks .*=dark takes the other"),
        (None, lambda p, i: Image.fromarray(X < 12 + 5 * i).save(f"{p}.png"), "3 of 8 masks .* the others do not"),
        (None, lambda p, i: tifffile.imwrite(f"{p}.tif", draw_mask(i)), "8 TIFF masks say that 0 is white"),
    ],
)
def test_what_may_be_wrong_is_one_counted_warning(tmp_path, write_image, write_mask, says):
    _, lines, told = run(make_set(tmp_path / "own", write_image, write_mask), tmp_path)
    assert len(told) == 1 and re.search(says, told[0]) and "\n" not in told[0], told
    assert len(lines) <= 10 and all(len(line) <= 110 for line in lines)


def test_bool_tiffs_are_read_as_the_array_was_written(tmp_path):
    records, lines, _ = run(
        make_set(tmp_path / "a", None, lambda p, i: tifffile.imwrite(f"{p}.tif", draw_mask(i))), tmp_path
    )
    assert all((sample.mask[..., 0] == draw_mask(int(sample.id))).all() for sample in records)
    assert "levels 0 and 255; the brighter, foreground, covers" in "".join(lines)


def test_the_flag_decides_which_level_is_the_foreground(tmp_path):
    inverted = make_set(tmp_path / "inverted", None, lambda p, i: Image.fromarray(~draw_mask(i)).save(f"{p}.png"))
    dark, lines, told = run(inverted, tmp_path, mask_foreground="dark")
    assert not told and "the darker, foreground" in "".join(lines) and dark.manifest["mask_foreground"] == "dark"
    assert all((sample.mask[..., 0] == draw_mask(int(sample.id))).all() for sample in dark)
    bright, _, told = run(inverted, tmp_path, mask_foreground="bright")
    assert not told and bright.folder != dark.folder and (bright[0].mask != dark[0].mask).all()

    mixed = make_set(tmp_path / "mixed", None, lambda p, i: Image.fromarray(draw_mask(i) != (i % 2)).save(f"{p}.png"))
    _, _, (told,) = run(mixed, tmp_path, mask_foreground="bright")  # what the error advises
    assert "4 of 8 masks" in told
    with pytest.raises(InputError, match="--mask_foreground=dark: drive is read as what it is"):
        prepare("drive", tmp_path, (64, 64), out_dir=tmp_path, mask_foreground="dark")


def test_a_file_that_was_looked_at_is_not_read_again(tmp_path, monkeypatch):
    data, decode, read = make_set(tmp_path / "own"), inspect.decode_entry, []
    monkeypatch.setattr(inspect, "decode_entry", lambda entry: read.append(entry.id) or decode(entry))
    _, lines, _ = run(data, tmp_path)
    assert sorted(read) == list("01234567")
    assert run(data, tmp_path, holdout=2)[1][2:] == lines[2:] and len(read) == 8  # but for the line of the split
    save(tmp_path / "own" / "masks" / "3.png", draw_mask(6))
    run(data, tmp_path)
    assert read[8:] == ["3"]
    memory = tmp_path / "data" / "prepared" / ".own-files.json"
    kept = json.loads(memory.read_text())
    for damaged in ([], "abc", [1, False, "x"], [0, *[None] * 11], [1, False, *["1"] * 10], None):
        memory.write_text(json.dumps({name: [*facts[:3], damaged] for name, facts in kept.items()}))
        assert run(data, tmp_path, overwrite=True)[1][2:] == run(data, tmp_path)[1][2:]


def test_a_dry_run_looks_at_some_of_a_large_set_and_writes_nothing(tmp_path, monkeypatch, capsys):
    data = make_set(tmp_path / "own")
    monkeypatch.setattr(inspect, "MOST", 3)
    place = data, tmp_path / "data", (64, 64)
    prepare_training_split(*place, out_dir=tmp_path / "out", dry_run=True)
    assert "looked at 3 of 8 images of own" in capsys.readouterr().out and not (tmp_path / "data").exists()
    prepare_training_split(*place, out_dir=tmp_path / "out")
    whole = capsys.readouterr().out
    assert "looked at 8 of 8 images of own" in whole
    prepare_training_split(*place, out_dir=tmp_path / "out", dry_run=True)
    assert capsys.readouterr().out == whole


def test_unreadable_files_do_not_count(tmp_path):
    data = make_set(tmp_path / "own")
    (tmp_path / "own" / "images" / "3.png").write_bytes(b"no image")
    with pytest.raises(InputError, match="3.png: cannot be read"):
        run(data, tmp_path)
    _, lines, told = run(data, tmp_path, skip_bad_files=True)
    assert lines[0] == "looked at 7 of 8 images of own" and len(told) == 1 and "1 unreadable files" in told[0]


def test_two_processes_see_what_one_does(tmp_path, monkeypatch):
    data = make_set(tmp_path / "own")
    lines = run(data, tmp_path)[1]
    monkeypatch.setattr("synthmed_tf.datasets.prepare.FEW", 0)
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)
    assert run(data, tmp_path / "other")[1] == lines
