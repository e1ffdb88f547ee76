import json
import os
import shutil
from pathlib import Path

import joblib
import numpy as np
import pytest
from PIL import Image

from synthmed_tf.datasets.fingerprint import fingerprint_set
from synthmed_tf.datasets.load import load_samples
from synthmed_tf.datasets.prepare import crop_sample, prepare, prepare_training_split
from synthmed_tf.datasets.split import check_split
from synthmed_tf.images.resize import fit_box, uncrop
from synthmed_tf.records.atomic import hash_file
from synthmed_tf.records.manifest import read_manifest
from synthmed_tf.records.read import Records
from synthmed_tf.sample import InputError, Sample

RNG = np.random.default_rng(0)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def make_pairs(folder, stems, shape=(40, 30), fov=False, masks=True):
    for stem in stems:
        save(folder / "images" / f"{stem}.png", RNG.integers(0, 255, (*shape, 3)).astype(np.uint8))
        if masks:
            save(folder / "masks" / f"{stem}.png", (RNG.random(shape) < 0.3).astype(np.uint8) * 255)
        if fov:
            save(folder / "fov" / f"{stem}.png", np.pad(np.full((20, 20), 255, np.uint8), ((10, 10), (5, 5))))


@pytest.fixture
def own(tmp_path):
    make_pairs(tmp_path / "own", "abcdefg")
    return str(tmp_path / "own")


@pytest.fixture
def places(tmp_path):
    """data_dir and out_dir."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data", tmp_path / "out"


def run(data, places, size=(16, 16), **options):
    return prepare(data, places[0], size, out_dir=places[1], **options)


def test_prepared_folder_and_its_manifest(own, places):
    folder = run(own, places, (32, 24))
    assert folder.parent == places[0] / "prepared" and folder.name.startswith("own-32x24-")
    manifest = read_manifest(folder)
    assert manifest["counts"] == {"train": 6, "test": 1} and manifest["image_size"] == [32, 24]
    assert manifest["fields_of_view"] == "none" and manifest["test_split"] == "every fifth group"
    assert manifest["data"] == own and manifest["fingerprint"] == fingerprint_set(own, "")
    assert set(manifest["features"]) == {"id", "image", "mask"}

    raw = {sample.id: sample for sample in load_samples(own, "")}
    for split in ("train", "test"):
        for sample in Records(folder, split):
            expected = crop_sample(raw[sample.id], (32, 24))
            assert (sample.image == expected.image).all() and (sample.mask == expected.mask).all()


def test_prepared_once(own, places):
    folder = run(own, places)
    stamp = (folder / "manifest.json").stat().st_mtime_ns
    assert run(own, places) == folder and (folder / "manifest.json").stat().st_mtime_ns == stamp
    assert run(own, places, overwrite=True) == folder and (folder / "manifest.json").stat().st_mtime_ns != stamp

    others = {folder, run(own, places, (16, 32)), run(own, places, holdout=2), run(own, places, holdout=2, seed=1)}
    assert run(own, places, seed=1) == folder  # without holdout the seed changes nothing
    image = Path(own, "images", "a.png")
    os.utime(image, (1, 1))
    assert run(own, places) == folder  # a copy of the set is the same set
    image.write_bytes(image.read_bytes() + b"?")
    assert len(others | {run(own, places)}) == 5


@pytest.mark.parametrize(
    "found", ["", "[1]", "null", '{"images/a.png": 3}', '{"images/a.png": [1]}', '{"images/a.png": "abc"}']
)
def test_a_list_of_files_that_is_not_ours_does_not_count(own, places, found):
    folder = run(own, places)
    files = places[0] / "prepared" / ".own-files.json"
    kept = json.loads(files.read_text())
    image = Path(own, "images", "a.png").absolute()
    assert kept[str(image)][2] == hash_file(image)
    files.write_text(found.replace("images/a.png", str(image)))
    assert run(own, places) == folder
    assert {name: facts[:3] for name, facts in kept.items()} == json.loads(files.read_text())


def test_two_folders_of_one_name_are_not_taken_for_one_another(own, places, tmp_path):
    other = tmp_path / "elsewhere" / Path(own).name
    shutil.copytree(own, other)
    image = other / "images" / "a.png"
    stat, content = image.stat(), image.read_bytes()
    image.write_bytes(content[:-1] + b"?")  # in the PNG's checksum, which no decoder minds
    os.utime(image, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert run(own, places) != run(str(other), places)


def test_invalid_prepared_folder_is_made_anew(own, places):
    folder = run(own, places)
    (folder / "manifest.json").unlink()
    assert run(own, places) == folder
    assert len(Records(folder, "train")) == 6


def test_damaged_records_are_prepared_anew(own, places):
    folder = run(own, places)
    shard = next(folder.glob("*train*"))
    whole = shard.read_bytes()
    for damaged in (whole[:-1], whole[:50] + bytes([whole[50] ^ 1]) + whole[51:]):
        shard.write_bytes(damaged)
        assert run(own, places) == folder and shard.read_bytes() == whole


def test_groups_are_kept_where_there_are_any(own, places):
    assert "group" not in read_manifest(run(own, places))["features"]
    rows = [f"{stem},p{index // 2}" for index, stem in enumerate("abcdefg")]
    Path(own, "patients.csv").write_text("\n".join(["file,patient", *rows]))
    folder = run(own, places)
    assert {sample.id: sample.group for sample in Records(folder)} == dict(row.split(",") for row in rows)


def test_holdout_and_its_seed_are_in_the_manifest(own, places):
    manifest = read_manifest(run(own, places, holdout=2))
    assert manifest["counts"] == {"train": 5, "test": 2} and (manifest["holdout"], manifest["holdout_seed"]) == (2, 0)
    assert manifest["test_split"] == "2 groups held out of the training images"
    assert "holdout_seed" not in read_manifest(run(own, places))
    other = read_manifest(run(own, places, holdout=2, seed=1))
    with pytest.raises(
        InputError, match="own: not the real set that was learned from: holdout_seed was 0 and is now 1"
    ):
        check_split(manifest, other)


def test_crop_follows_the_field_of_view(tmp_path, places):
    make_pairs(tmp_path / "own", "ab", fov=True)
    folder = run(str(tmp_path / "own"), places, (20, 20))
    manifest = read_manifest(folder)
    assert manifest["fields_of_view"] == "as shipped"
    sample = Records(folder, "train")[0]
    assert sample.field_of_view.all()  # the square field of view fills the square crop
    assert (sample.image == np.asarray(Image.open(tmp_path / "own" / "images" / f"{sample.id}.png"))[10:30, 5:25]).all()


def test_crop_sample_keeps_the_area_and_the_place():
    y, x = np.mgrid[:80, :120]
    field = ((y - 40) ** 2 + (x - 55) ** 2 < 35**2).astype(np.uint8)[..., None]
    mask = field * (np.abs(x - 55) < 3)[..., None].astype(np.uint8)
    sample = Sample("a", field.repeat(3, -1) * np.uint8(200), mask, field, group="g", split="test", second_mask=mask)
    small = crop_sample(sample, (32, 32))
    assert (small.id, small.group, small.split, small.second_mask) == ("a", "g", "test", None)
    box = fit_box(80, 120, (32, 32), field)
    scale = 32 * 32 / (box.height * box.width)
    assert abs(small.mask.sum() / (mask.sum() * scale) - 1) < 0.02
    assert abs(small.field_of_view.sum() / (field.sum() * scale) - 1) < 0.02
    back = uncrop(small.field_of_view[..., 0], box, (80, 120)) > 0.5
    assert 2 * (back & (field[..., 0] == 1)).sum() / (back.sum() + field.sum()) > 0.97


def test_test_split_without_masks_is_left_out(tmp_path, places):
    make_pairs(tmp_path / "own" / "train", "abc")
    make_pairs(tmp_path / "own" / "test", "de", masks=False)
    folder = run(str(tmp_path / "own"), places)
    manifest = read_manifest(folder)
    assert manifest["counts"] == {"train": 3}
    assert (
        manifest["test_split"].startswith("left out: its 2 images have no masks") and "--holdout" in manifest["source"]
    )
    make_pairs(tmp_path / "own" / "test", "de")
    manifest = read_manifest(run(str(tmp_path / "own"), places))
    assert manifest["counts"] == {"test": 2, "train": 3} and manifest["test_split"] == "the folder's own"


def test_data_dir_without_write_bits_is_left_alone(own, places, capsys):
    os.chmod(places[0], 0o555)  # holds for root too, whom the bits would not stop
    folder = run(own, places)
    assert folder.parent == places[1] / "prepared" and list(places[0].iterdir()) == []
    assert f"{places[0]} cannot be written" in capsys.readouterr().out
    assert run(own, places) == folder and capsys.readouterr().out == ""


def test_data_dir_that_cannot_be_made(own, tmp_path):
    (tmp_path / "file").write_text("in the way")
    folder = prepare(own, tmp_path / "file" / "data", (16, 16), out_dir=tmp_path / "out")
    assert folder.parent == tmp_path / "out" / "prepared"
    with pytest.raises(InputError):
        prepare(own, tmp_path / "file", (16, 16), out_dir=tmp_path / "file", overwrite=True)


def test_bad_file_leaves_nothing_behind_and_the_old_set_in_place(own, places, tmp_path):
    folder = run(own, places)
    content = (tmp_path / "own" / "images" / "g.png").read_bytes()
    stamp = (tmp_path / "own" / "images" / "g.png").stat()
    (tmp_path / "own" / "images" / "g.png").write_bytes(content[:99])
    with pytest.raises(InputError, match="g.png: cannot be read"):
        run(own, places)
    assert list((places[0] / "prepared").glob("[!.]*")) == [folder]
    with pytest.warns(UserWarning, match="1 unreadable files"):
        skipped = run(own, places, skip_bad_files=True)
    assert read_manifest(skipped)["counts"] == {"test": 1, "train": 5}
    (tmp_path / "own" / "images" / "g.png").write_bytes(content)
    os.utime(tmp_path / "own" / "images" / "g.png", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert run(own, places) == folder


def test_no_training_images(tmp_path, places):
    for split in ("train", "test"):
        (tmp_path / "own" / split / "images").mkdir(parents=True)
        (tmp_path / "own" / split / "masks").mkdir()
    with pytest.raises(InputError, match="train/images: holds no image"):
        run(str(tmp_path / "own"), places)


def test_fields_of_view_for_one_split_only(tmp_path, places):
    make_pairs(tmp_path / "own" / "train", "ab", fov=True)
    make_pairs(tmp_path / "own" / "test", "c")
    with pytest.raises(InputError, match="c.png: has no field of view, others have"):
        run(str(tmp_path / "own"), places)


def test_real_drive_and_estimated_fields_of_chase(real_data, places, tmp_path):
    """A few real images, linked into a data folder of our own: nothing is written beside the real ones."""
    for split, numbers in (("training", ("21", "30")), ("test", ("01",))):
        for path in (real_data / "drive" / split).rglob("*.*"):
            if path.name.startswith(numbers):
                link = places[0] / path.relative_to(real_data)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(path)
    for path in (real_data / "chase_db1").rglob("Image_0[12]L*"):
        (places[0] / "chase_db1").mkdir(exist_ok=True)
        (places[0] / "chase_db1" / path.name).symlink_to(path)
    manifest = read_manifest(run("drive", places, (128, 128)))
    assert manifest["counts"] == {"test": 1, "train": 2}
    assert (manifest["fields_of_view"], manifest["test_split"]) == ("as shipped", "official")
    for sample in Records(places[0] / "prepared" / _only(places, "drive"), "train"):
        assert 0.70 < sample.field_of_view.mean() < 0.80 and 0.07 < sample.mask.mean() < 0.13  # pi / 4 is 0.785
    folder = run("chase_db1", places, (64, 64))
    manifest = read_manifest(folder)
    assert manifest["counts"] == {"train": 2} and manifest["fields_of_view"] == "estimated"
    assert manifest["test_split"] == "none" and "estimated" in manifest["source"]
    assert all(0.72 < sample.field_of_view.mean() < 0.82 for sample in Records(folder, "train"))


def _only(places, name):
    (folder,) = [path.name for path in (places[0] / "prepared").iterdir() if path.name.startswith(name)]
    return folder


def test_a_split_that_comes_with_the_set_may_have_other_images_and_a_drawn_one_may_not(places, tmp_path):
    for split, stems in (("train", "abc"), ("test", "de")):
        make_pairs(tmp_path / "split" / split, stems)
    make_pairs(tmp_path / "drawn", "abcdefg")
    learned = {}
    for name in ("split", "drawn"):
        learned[name] = read_manifest(run(str(tmp_path / name), places))
        check_split(learned[name], learned[name])
    make_pairs(tmp_path / "split" / "test", "f")
    check_split(learned["split"], read_manifest(run(str(tmp_path / "split"), places)), ("split-1", "split-2"))
    with pytest.raises(InputError, match="drawn: .*its files are others .drawn-1, now drawn-2"):
        check_split(learned["drawn"], learned["drawn"], ("drawn-1", "drawn-2"))
    make_pairs(tmp_path / "drawn", "h")
    with pytest.raises(InputError, match="counts was .*'train': 6.* is now .*'train': 7"):
        check_split(learned["drawn"], read_manifest(run(str(tmp_path / "drawn"), places)))
    for name, was in (("drawn", "every fifth group"), ("split", "the folder's own")):
        held_out = read_manifest(run(str(tmp_path / name), places, holdout=2))
        with pytest.raises(InputError, match=f"holdout was 0 and is now 2; test_split was ['\"]{was}"):
            check_split(learned[name], held_out)


def test_the_number_of_processes_changes_nothing(own, places, tmp_path, monkeypatch):
    """The same bytes, warnings and errors from two processes as from one; a repeat and a bad file among the images."""
    images = tmp_path / "own" / "images"
    shutil.copy(images / "a.png", images / "h.png")
    shutil.copy(tmp_path / "own" / "masks" / "a.png", tmp_path / "own" / "masks" / "h.png")
    whole = (images / "c.png").read_bytes()
    (images / "c.png").write_bytes(whole[:99])
    written, said = [], []
    monkeypatch.setattr(joblib, "cpu_count", lambda: 2)
    for few in (200, 0):
        monkeypatch.setattr("synthmed_tf.datasets.prepare.FEW", few)
        with pytest.warns(UserWarning, match="1 unreadable files") as caught:
            folder = run(own, places, skip_bad_files=True, overwrite=True)
        said.append(sorted(str(each.message) for each in caught))
        written.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert written[0] == written[1] and said[0] == said[1] and "1 copies" in said[0][0]
    errors = []
    for few in (200, 0):
        monkeypatch.setattr("synthmed_tf.datasets.prepare.FEW", few)
        with pytest.raises(InputError, match="c.png: cannot be read") as error:
            run(own, places)
        errors.append(str(error.value))
    assert errors[0] == errors[1]


@pytest.mark.parametrize("labelled", [False, True])
def test_a_dry_run_writes_nothing_and_tells_what_the_files_tell(tmp_path, places, labelled):
    own = tmp_path / "own"
    for split, stems in (("train", "abc"), ("test", "de")):
        if labelled:
            for label, stem in zip("xyx", stems):
                save(own / split / label / f"{stem}.png", RNG.integers(0, 255, (40, 30)).astype(np.uint8))
        else:
            make_pairs(own / split, stems, fov=True)
    before = sorted(tmp_path.rglob("*"))
    plan = prepare_training_split(str(own), places[0], (16, 16), out_dir=places[1], dry_run=True)
    assert sorted(tmp_path.rglob("*")) == before
    prepared = prepare_training_split(str(own), places[0], (16, 16), out_dir=places[1])
    assert len(plan) == len(prepared) == 3 and plan.class_names == prepared.class_names
    assert {*plan.features} == prepared.features.keys() - {"id", "label", "group"}
    assert [(sample.id, sample.label) for sample in plan] == [(sample.id, sample.label) for sample in prepared]
    assert all(prepared.manifest.get(key) == value for key, value in plan.manifest.items())
    assert ("class_counts" in plan.manifest) == labelled
    again = prepare_training_split(str(own), places[0], (16, 16), out_dir=places[1], dry_run=True)
    assert again.folder == prepared.folder
