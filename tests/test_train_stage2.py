"""train_stage2.py as a user runs it."""

import errno
import fcntl
import itertools
import json
import os
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from script_runs import (
    STEM,
    contents,
    eye,
    make_photographs,
    make_set,
    refused,
    samples,
    save,
    succeeded,
    unreal_step,
)

from synthmed_tf.networks import painter as painter_network
from synthmed_tf.papers import annotation
from synthmed_tf.records.manifest import read_manifest
from synthmed_tf.records.read import Records
from synthmed_tf.smalldata import painter

SCRIPT = "train_stage2"
pytestmark = pytest.mark.usefixtures("little_work")


@pytest.fixture
def masks_only(trained):
    """`trained` before its stage 2."""
    for folder in ("stage2", "synthetic", "report"):
        shutil.rmtree(trained.out / folder)
    return trained


@pytest.fixture
def untrained(masks_only, monkeypatch):
    """The same, with a stage 2 that learns nothing, and a segmenter of two steps."""
    monkeypatch.setattr(painter, "make_step", unreal_step())
    monkeypatch.setattr(annotation, "STEPS", 2)
    return masks_only


# ---------------------------------------------------------------- what comes out


def test_a_photograph_is_painted_on_each_mask(original):
    masks, pairs = samples(original.out / "stage1" / "masks"), samples(original.out / "synthetic")
    assert [mask.id for mask in masks] == [pair.id for pair in pairs]
    for mask, pair in zip(masks, pairs, strict=True):
        assert pair.image.shape == (64, 64, 3) and pair.field_of_view is not None
        assert (pair.mask == mask.mask * pair.field_of_view).all()
        picture = Image.open(original.out / "synthetic" / "png" / "images" / f"{pair.id}.png")
        assert (np.asarray(picture) == pair.image).all()
    for place in ("checkpoints/ckpt-2.index", "samples/0000002.png"):
        assert (original.out / "stage2" / place).exists()
    printed = original.printed[1]
    assert "network: pix2pix (Isola et al. 2017; P1); added for small sets: a lighter generator" in printed
    assert "8 pairs of eyes, 2 steps of 1" in printed and "Next: evaluate.py" in printed


def test_the_manifest_of_the_synthetic_set_says_what_made_it(original):
    manifest = read_manifest(original.out / "synthetic")
    first, second = manifest["commands"]
    assert first.startswith("train_stage1.py --data=eyes ") and second.startswith("train_stage2.py --data=eyes ")
    assert manifest["real"]["name"] == "eyes" and manifest["real"]["counts"] == {"test": 2, "train": 8}
    assert manifest["steps"] == manifest["sampled_step"] == manifest["stage1"]["sampled_step"] == 2
    assert len(manifest["checkpoint_sha256"]) == len(manifest["stage1"]["checkpoint_sha256"]) == 64
    assert (manifest["flags"]["l1"], manifest["flags"]["feature_matching"]) == (50.0, 0.0)  # below 128 pixels
    assert manifest["stage1"]["flags"]["model"] == "dcgan" and "refined_sha256" not in manifest["stage1"]


def test_thresholds_measured_on_real_masks_stay_in_stage_1(original):
    tally = read_manifest(original.out / "stage1" / "masks")["filter"]
    shared = read_manifest(original.out / "synthetic")["stage1"]["filter"]
    assert shared == {key: tally[key] for key in ("candidates", "rejected", "too_near")}


def test_nothing_real_is_in_the_synthetic_set(original, clinic):
    prepared = json.loads((original.out / "stage1" / "flags.json").read_text())["prepared"]
    words = [STEM, clinic.name, "private", str(clinic.parent), str(original.out), os.uname().nodename + "/", prepared]
    files = contents(original.out / "synthetic")
    assert len(files) > 10
    for path, content in files.items():
        for word in words:
            assert word.encode() not in content and word not in path.name, (path, word)
    real = {sample.image.tobytes() for sample in samples(clinic / "private" / "prepared" / prepared)}
    assert not real & {sample.image.tobytes() for sample in samples(original.out / "synthetic")}


def test_photographs_without_masks_get_theirs_from_a_segmenter(untrained, tmp_path):
    save_idrid(tmp_path / "private" / "idrid")
    command = [
        "--data=idrid",
        f"--data_dir={tmp_path / 'private'}",
        f"--out_dir={untrained.out}",
        *untrained.stage2[3:],
    ]
    succeeded(SCRIPT, *command)
    annotated = samples(untrained.out / "stage2" / "pairs")
    prepared = next((tmp_path / "private" / "prepared").glob("idrid-*"))
    for pair, photograph in zip(annotated, Records(prepared, "train"), strict=True):
        assert (pair.image == photograph.image).all() and pair.mask.shape == (64, 64, 1) and photograph.mask is None
        assert not pair.mask[pair.field_of_view == 0].any()
    manifest = read_manifest(untrained.out / "synthetic")
    assert manifest["real"]["name"] == "eyes" and manifest["photographs"]["name"] == "idrid"
    assert not any(b"IDRiD_0" in content for content in contents(untrained.out / "synthetic").values())
    assert "already done" in succeeded(SCRIPT, *command)

    words = [f"--synthetic_dir={untrained.out}", "--benchmarks=distribution"]
    succeeded("evaluate", *words)
    report = json.loads((untrained.out / "report" / "report.json").read_text())
    assert report["real"]["name"] == "eyes" and report["photographs"]["name"] == "idrid"
    pixels = sum(np.count_nonzero(pair.field_of_view) for pair in annotated)
    counts = np.array(report["distribution"]["histograms"]["real"]["grey"])
    assert counts.sum() == pytest.approx(pixels, rel=0.01)  # those of the photographs, not of stage 1's real set


def save_idrid(folder):
    """IDRiD's official layout: photographs with grades, PNG behind the name .jpg."""
    inner = folder / "B. Disease Grading"
    for place, table, first, count in (
        ("a. Training Set", "a. IDRiD_Disease Grading_Training Labels.csv", 1, 6),
        ("b. Testing Set", "b. IDRiD_Disease Grading_Testing Labels.csv", 1, 2),
    ):
        names = [f"IDRiD_{number:03}" for number in range(first, first + count)]
        for number, name in enumerate(names):
            path = inner / "1. Original Images" / place / f"{name}.png"
            save(path, eye(number + 10 * count)[0])
            path.rename(path.with_suffix(".jpg"))
        (inner / "2. Groundtruths").mkdir(exist_ok=True)
        rows = "".join(f"{name},{number % 2},0\n" for number, name in enumerate(names))
        header = "Image name,Retinopathy grade,Risk of macular edema \n"
        (inner / "2. Groundtruths" / table).write_text(header + rows)


def test_photographs_in_a_folder_with_a_table_of_several_labels(untrained, tmp_path):
    rows = "".join(f"{index}.png,{index % 2},{index // 5}\n" for index in range(10))
    graded = make_photographs(tmp_path / "graded", "file,grade,edema\n" + rows)
    command = [f"--data={graded}", f"--out_dir={untrained.out}", *untrained.stage2[3:]]
    refused(SCRIPT, *command, says=["which column holds the classes", "--labels=COLUMN", "grade", "edema"])
    refused(SCRIPT, *command, "--labels=stage", says=["--labels=stage", "grade", "edema"])
    succeeded(SCRIPT, *command, "--labels=edema")
    manifest = read_manifest(untrained.out / "synthetic")
    assert manifest["photographs"]["labels"] == "edema" and manifest["real"]["name"] == "eyes"
    assert "KL" in succeeded("evaluate", f"--synthetic_dir={untrained.out}", "--benchmarks=distribution")
    assert json.loads((untrained.out / "report" / "report.json").read_text())["photographs"]["name"] == "graded"


def test_the_held_out_images_are_those_of_stage_1_whatever_seed_stage_2_has(fresh, tmp_path, monkeypatch):
    monkeypatch.setattr(painter, "make_step", unreal_step())
    data = [fresh.data[0], f"--data_dir={tmp_path / 'private'}", fresh.data[2]]
    succeeded("train_stage1", *fresh.stage1, *data, "--holdout=2", "--seed=3")
    (prepared,) = (tmp_path / "private" / "prepared").glob("eyes-*")
    succeeded(SCRIPT, *data, "--steps=1", "--batch_size=1", "--seed=5")
    assert [*(tmp_path / "private" / "prepared").glob("eyes-*")] == [prepared]
    kept = json.loads((fresh.out / "stage2" / "flags.json").read_text())
    assert (kept["prepared"], kept["seed"], kept["holdout"]) == (prepared.name, 5, 2)
    assert read_manifest(prepared)["holdout_seed"] == 3


def test_the_set_and_the_column_of_patients_are_stage_1s_wherever_it_is_run(fresh, tmp_path, monkeypatch):
    monkeypatch.setattr(painter, "make_step", unreal_step())
    make_set(tmp_path / "own")
    rows = "".join(f"{STEM}_{index}.png,{index // 2}\n" for index in range(10))
    (tmp_path / "own" / "table.csv").write_text("file,who\n" + rows)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    words = ["--data=own", "--data_dir=private", "--out_dir=out", *fresh.stage1[3:]]
    with pytest.warns(UserWarning, match="its column 'who' repeats as names of patients do"):
        succeeded("train_stage1", *words, "--dry_run")
    succeeded("train_stage1", *words, "--group_column=who", "--holdout=1")
    (prepared,) = (tmp_path / "private" / "prepared").glob("own-*")
    assert read_manifest(prepared)["counts"] == {"test": 2, "train": 8}  # a patient has two eyes
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = ["--out_dir=../out", "--steps=1", "--batch_size=1"]
    refused(SCRIPT, *again, "--group_column=none", says=["stage 1 was run with --group_column=who; leave it out"])
    for data in ([], ["--data=../own"], [f"--data={tmp_path / 'own'}/"]):
        succeeded(SCRIPT, *again, *data)
    kept = json.loads((tmp_path / "out" / "stage2" / "flags.json").read_text())
    assert (kept["data"], kept["group_column"], kept["prepared"]) == (str(tmp_path / "own"), "who", prepared.name)
    assert read_manifest(tmp_path / "out" / "synthetic")["real"]["group_column"] == "who"
    succeeded("evaluate", "--synthetic_dir=../out", "--benchmarks=distribution")
    shutil.copytree(tmp_path / "out" / "synthetic", tmp_path / "shared")
    alone = ["--synthetic_dir=../shared", "--data=../own", "--data_dir=../private", "--out_dir=report"]
    succeeded("evaluate", *alone, "--benchmarks=distribution")
    refused("evaluate", *alone, "--group_column=none", says=["group_column was 'who' and is now 'none'"])
    assert [*(tmp_path / "private" / "prepared").glob("own-????*-????????")] != [] and not (
        tmp_path / "elsewhere" / "data"
    ).exists()
    (tmp_path / "own").rename(tmp_path / "moved")
    refused(SCRIPT, *again, says=[f"--data={tmp_path / 'own'}: no such data set or folder"])


@pytest.mark.parametrize("place", [".", "images", "normal", "train/images"])
def test_photographs_alone_in_a_folder(place, untrained, tmp_path):
    for index in range(6):
        save(tmp_path / "photographs" / place / f"{index}.PNG", eye(index)[0])
    command = [f"--data={tmp_path / 'photographs'}", f"--out_dir={untrained.out}", *untrained.stage2[3:]]
    succeeded(SCRIPT, *command)
    assert read_manifest(untrained.out / "synthetic")["photographs"]["name"] == "photographs"
    refused(
        "train_stage1", command[0], f"--out_dir={tmp_path / 'out'}", says=["its images have no masks", "--target=image"]
    )


# ---------------------------------------------------------------- again, and more


def test_a_finished_command_says_so_and_does_nothing(trained, monkeypatch):
    monkeypatch.setattr(painter, "make_step", unreal_step(do=lambda: pytest.fail("trained again")))
    before = contents(trained.out)
    assert "already done: 3 pairs" in succeeded(SCRIPT, *trained.stage2)
    data_of_stage1 = [word for word in trained.stage2 if not word.startswith("--data")]
    assert "already done: 3 pairs" in succeeded(SCRIPT, *data_of_stage1)
    after = contents(trained.out)
    changed = {path for path in before.keys() | after.keys() if after.get(path) != before.get(path)}
    assert {path.name for path in changed if path.parent.name != "events"} <= {"flags.json"}  # another out_dir


def test_more_samples_leave_the_first_ones_as_they_are(trained):
    succeeded("train_stage1", *trained.stage1, "--num_samples=6")
    pairs = contents(trained.out / "synthetic" / "png")
    assert "5 pairs in" in succeeded(SCRIPT, *trained.stage2, "--num_samples=5")
    again = contents(trained.out / "synthetic" / "png")
    assert len(again) == 11 and all(again[path] == pixels for path, pixels in pairs.items() if path.suffix == ".png")
    line = refused(SCRIPT, *trained.stage2, "--num_samples=7", says=["6 masks, --num_samples=7", "train_stage1.py"])
    assert "--num_samples=7 first" in line


def test_a_larger_number_of_steps_goes_on(trained, monkeypatch):
    numbers = []

    def make_step(*_):
        return lambda number, *_: numbers.append(int(number)) or {"loss": tf.constant(0.0)}

    monkeypatch.setattr(painter, "make_step", make_step)
    succeeded(SCRIPT, *trained.stage2, "--steps=4", "--checkpoint=last")
    assert numbers == [2, 3] and (trained.out / "stage2" / "samplers" / "ckpt-4.index").exists()


def test_dry_run_shows_the_plan_and_writes_nothing(trained, untrained, tmp_path):
    before = contents(tmp_path)
    printed = succeeded(SCRIPT, *trained.stage2, "--dry_run")
    assert contents(tmp_path) == before
    assert re.findall(r"^(\w+):$", printed, re.MULTILINE) == ["data", "network", "training", "run"]
    assert "8 train" in printed and "2 test" in printed and "64 x 64" in printed
    assert re.findall(r"(\w+)  [\d,]+ parameters", printed) == ["generator", "discriminator"]
    for name, start in (("l1", "50.0: weight of L1"), ("steps", "2: "), ("num_samples", "3"), ("checkpoint", "best")):
        assert re.search(rf"^ +{name}  {start}", printed, re.MULTILINE), name
    assert re.search(r"time  \d+ min here \(\d+\.\d\d s a step\)", printed) and " GB" in printed


def test_stage_2_of_large_images_is_wider(untrained, monkeypatch):
    def parameters():
        printed = succeeded(SCRIPT, *untrained.stage2, "--dry_run")
        return int(re.search(r"generator  ([\d,]+) parameters", printed)[1].replace(",", ""))

    small = parameters()
    monkeypatch.setattr(painter_network, "LARGE", 64)
    assert parameters() > 3 * small


# ---------------------------------------------------------------- bad input


def test_wrong_layouts_and_lone_images_leave_nothing_behind(masks_only, tmp_path):
    lone, orphan = make_set(tmp_path / "lone", 6), make_set(tmp_path / "orphan", 6)
    (tmp_path / "empty").mkdir()
    (lone / "masks" / f"{STEM}_3.png").unlink()
    (orphan / "images" / f"{STEM}_3.png").unlink()
    before = contents(tmp_path)
    for data, says in (
        (tmp_path / "nowhere", ["nowhere", "images/ and masks/"]),
        (tmp_path / "empty", ["empty", "images/"]),
        (lone, [f"{STEM}_3.png", "mask", "add it"]),
        (orphan, [f"{STEM}_3.png", "has no image"]),
    ):
        refused(SCRIPT, f"--data={data}", *masks_only.data[1:], says=says)
    assert contents(tmp_path) == before


def test_stage_1_comes_first_and_learned_from_the_same_data(trained, tmp_path):
    elsewhere = [*trained.data[:2], f"--out_dir={tmp_path / 'new'}"]
    refused(SCRIPT, *elsewhere, says=["new/stage1", "train_stage1.py"])
    assert not (tmp_path / "new").exists()
    before = contents(trained.out)
    refused(SCRIPT, "--data=phantom", *trained.data[1:], says=["eyes", "--data=phantom", "same to both"])
    refused(SCRIPT, *trained.stage2, "--num_samples=4", says=["3 masks, --num_samples=4", "train_stage1.py"])
    assert contents(trained.out) == before
    other = make_set(tmp_path / "eyes", 9)
    path = trained.out / "stage1" / "flags.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"data": str(other)}))
    before = contents(trained.out)
    refused(SCRIPT, f"--data={other}", *trained.data[1:], says=["has changed since stage 1", "--overwrite"])
    assert contents(trained.out) == before


def test_photographs_of_other_channels_are_refused_before_anything_is_trained(masks_only, tmp_path):
    for index in range(3):
        save(tmp_path / "grey" / "images" / f"{index}.png", eye(index)[0][..., 1])
    (tmp_path / "grey" / "grades.csv").write_text("file,grade\n0.png,1\n1.png,1\n2.png,2\n")
    line = refused(SCRIPT, *masks_only.stage2[1:], f"--data={tmp_path / 'grey'}", says="give a set of as many")
    assert re.search("images of 1 channels, those of .*eyes, which the masks are learned from, have 3", line)
    assert not (masks_only.out / "stage2").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--preset=pix2pix", "--average=0.9"], ["--average: this network has no such setting", "jitter"]),
        (["--jitter=3"], ["--jitter: this network has no such setting", "feature_matching"]),
        (["--preset=vess2ret", "--batch_size=9"], ["has 8 images", "--batch_size=8 or less"]),
    ],
)
def test_flags_that_fit_no_method_are_refused_before_anything_is_trained(masks_only, words, says):
    refused(SCRIPT, *masks_only.data, *words, says=says)
    assert not (masks_only.out / "stage2").exists()


def test_changed_flags_are_named_and_change_nothing(trained):
    before = contents(trained.out)
    says = ["preset was 'small_data' and is now 'pix2pix'", "jitter was None and is now 30"]
    refused(SCRIPT, *trained.stage2, "--preset=pix2pix", says=says)
    refused(SCRIPT, *trained.stage2, "--l1=9", says="l1 was 50.0 and is now 9.0")
    assert contents(trained.out) == before


def test_two_runs_in_one_folder_at_once(trained):
    before = contents(trained.out)
    with open(trained.out / "stage2" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        refused(SCRIPT, *trained.stage2, says=[trained.out / "stage2", "another run is working here"])
        refused(SCRIPT, *trained.stage2, "--overwrite", says="another run is working here")
    assert contents(trained.out) == before


def test_full_disk(trained, monkeypatch):
    before = contents(trained.out)
    count, really = itertools.count(), Image.Image.save

    def nearly_full(self, path, *rest, **options):
        if ".png.tmp" in str(path) and next(count) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return really(self, path, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", nearly_full)
        refused(SCRIPT, *trained.stage2, "--num_samples=2", says=["png", "No space left on device"])
    after = contents(trained.out)
    kept = {path for path in before if path.is_relative_to(trained.out / "stage2" / "checkpoints")}
    assert kept and all(before[path] == after[path] for path in kept)
    assert not [path for path in trained.out.rglob("*") if ".tmp" in path.name or ".new-" in path.name]
    assert len(samples(trained.out / "synthetic")) == 2
    assert "2 pairs in" in succeeded(SCRIPT, *trained.stage2, "--num_samples=2")  # and not: already done
