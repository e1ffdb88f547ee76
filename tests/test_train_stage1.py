"""train_stage1.py as a user runs it."""

import errno
import fcntl
import itertools
import os
import re
import shutil
import signal

import numpy as np
import pytest
import script_runs
import tensorflow as tf
from PIL import Image
from script_runs import STEM, call, contents, make_classes, make_set, refused, samples, succeeded, unreal_step

from synthmed_tf.papers import pix2pix
from synthmed_tf.records import write
from synthmed_tf.records.manifest import read_manifest
from synthmed_tf.smalldata import dcgan

SCRIPT = "train_stage1"
pytestmark = pytest.mark.usefixtures("little_work")


def without(flags, *names):
    """The words of a command line without these flags."""
    return [word for word in flags if not word.startswith(tuple(f"--{name}=" for name in names))]


# ---------------------------------------------------------------- what comes out


def test_masks_and_pictures_of_the_training(original):
    masks = samples(original.out / "stage1" / "masks")
    assert [mask.id for mask in masks] == [f"synthetic-{index:06d}" for index in range(3)]
    assert all(mask.mask.shape == (64, 64, 1) and mask.image is None and mask.seed == 0 for mask in masks)
    for place in ("checkpoints/ckpt-2.index", "samples/0000002.png", "metrics.jsonl"):
        assert (original.out / "stage1" / place).exists()
    printed = original.printed[0]
    assert "network: DCGAN (Radford et al. 2016" in printed and "added for small sets: halves of two eyes" in printed
    assert "8 masks of eyes, 2 steps of 2" in printed and "Next: train_stage2.py" in printed


def test_the_manifest_says_what_made_the_masks(original):
    manifest = read_manifest(original.out / "stage1" / "masks")
    assert manifest["command"].startswith("train_stage1.py --data=eyes ") and "--width=0.1" in manifest["command"]
    assert manifest["real"]["name"] == "eyes" and manifest["real"]["counts"] == {"test": 2, "train": 8}
    assert manifest["steps"] == manifest["sampled_step"] == 2 and len(manifest["checkpoint_sha256"]) == 64
    kept = manifest["flags"]  # the method's own settings too
    assert (kept["model"], kept["width"], kept["r1"], kept["latent"]) == ("dcgan", 0.1, 0.3, 100)
    assert "refined_sha256" not in manifest and "data_dir" not in kept


def test_what_the_copy_filter_did_is_printed_and_kept(original):
    tally = read_manifest(original.out / "stage1" / "masks")["filter"]
    thresholds = "threshold", "most_alike", "halves_most_alike"
    assert tally.keys() == {*thresholds, "candidates", "rejected", "too_near"}
    assert 0 < tally["threshold"] < 1 and tally["candidates"] == tally["rejected"] + 3
    printed = original.printed[0]
    nearer = "masks rejected: nearer to a training mask than the two nearest training masks"
    assert f"{tally['rejected']} of {tally['candidates']} {nearer}" in printed
    assert all(f"({tally[threshold]:.3f})" in printed for threshold in thresholds)


def test_a_single_gan_makes_photographs_at_once(fresh):
    words = [*fresh.stage1, "--target=image"]
    assert f"Next: evaluate.py --synthetic_dir={fresh.out}" in succeeded(SCRIPT, *words)
    photographs = samples(fresh.out / "synthetic")
    assert [sample.id for sample in photographs] == [f"synthetic-{index:06d}" for index in range(2)]
    for sample in photographs:
        assert sample.image.shape == (64, 64, 3) and sample.mask is None and sample.field_of_view is not None
        picture = Image.open(fresh.out / "synthetic" / "png" / "images" / f"{sample.id}.png")
        assert (np.asarray(picture) == sample.image).all()
    assert not (fresh.out / "synthetic" / "png" / "masks").exists() and not (fresh.out / "stage1" / "masks").exists()
    assert "already done: 2 images" in succeeded(SCRIPT, *words)
    refused("train_stage2", *fresh.data, says=["--target=image", "nothing to paint"])


@pytest.mark.parametrize(("words", "models"), [([], [""]), (["--noconditional"], ["1_sick", "2_well"])])
def test_labelled_images_come_from_one_model_or_from_one_a_class(fresh, tmp_path, words, models):
    data = make_classes(tmp_path / "grades")
    words = [
        f"--data={data}",
        f"--data_dir={tmp_path}",
        *without(fresh.stage1, "data", "data_dir", "num_samples"),
        *words,
    ]
    succeeded(SCRIPT, *words, "--target=image", "--nohash_filter")
    manifest = read_manifest(fresh.out / "synthetic")
    real = read_manifest(next((tmp_path / "prepared").glob("grades-*")))
    assert manifest["class_counts"]["train"] == real["class_counts"]["train"]  # as many as there are real ones
    assert manifest["flags"]["conditional"] is (models == [""])
    assert manifest["steps"] == (5 if models == [""] else {"sick": 5, "well": 5})
    for model in models:
        assert (fresh.out / "stage1" / model / "checkpoints" / "ckpt-5.index").exists()


def test_folders_of_models_have_the_class_in_their_name():
    script = script_runs.load(SCRIPT)
    assert script.name_folder(3, "female 18-38") == "3_female_18-38" and script.name_folder(1, "../a/b") == "1_a_b"
    assert len(script.name_folder(1, "x" * 300)) == 100


def test_the_seed_draws_what_is_held_out(fresh, tmp_path):
    """Two groups of ten: other images by another seed, and none of them is learned from."""
    data = make_set(tmp_path / "set")
    words = [
        f"--data={data}",
        f"--data_dir={tmp_path / 'private'}",
        *without(fresh.stage1, "data", "data_dir", "out_dir"),
    ]
    held_out = {}
    for seed in (0, 1, 0):
        succeeded(SCRIPT, *words, f"--out_dir={tmp_path / str(seed)}", "--holdout=2", f"--seed={seed}")
        flags = read_manifest(tmp_path / str(seed) / "stage1" / "masks")["flags"]
        (folder,) = (path for path in (tmp_path / "private" / "prepared").glob("set-*") if of_seed(path, seed))
        held_out[seed] = {sample.id for sample in samples(folder) if sample.split == "test"}
        assert len(held_out[seed]) == 2 and (flags["seed"], flags["holdout"]) == (seed, 2)
    assert held_out[0] != held_out[1] and len([*(tmp_path / "private" / "prepared").glob("set-*")]) == 2


def of_seed(folder, seed):
    return read_manifest(folder)["holdout_seed"] == seed


# ---------------------------------------------------------------- again, and more


def test_a_finished_command_says_so_and_does_nothing(trained, monkeypatch):
    monkeypatch.setattr(dcgan, "make_step", unreal_step(do=lambda: pytest.fail("trained again")))
    before = contents(trained.out)
    assert "already done: 3 masks" in succeeded(SCRIPT, *trained.stage1)
    after = contents(trained.out)
    changed = {path for path in before.keys() | after.keys() if after.get(path) != before.get(path)}
    assert {path.name for path in changed if path.parent.name != "events"} <= {"flags.json"}  # another out_dir


def test_more_samples_leave_the_first_ones_as_they_are(trained):
    masks = samples(trained.out / "stage1" / "masks")
    checkpoints = contents(trained.out / "stage1" / "checkpoints")
    assert "20 masks in" in succeeded(SCRIPT, *trained.stage1, "--num_samples=20")
    more = samples(trained.out / "stage1" / "masks")
    assert len(more) == 20 and [mask.mask.tobytes() for mask in more[:3]] == [mask.mask.tobytes() for mask in masks]
    assert contents(trained.out / "stage1" / "checkpoints") == checkpoints


def test_a_larger_number_of_steps_goes_on(trained, monkeypatch):
    numbers = []

    def make_step(*_):
        return lambda number, *_: numbers.append(int(number)) or {"loss": tf.constant(0.0)}

    monkeypatch.setattr(dcgan, "make_step", make_step)
    succeeded(SCRIPT, *trained.stage1, "--steps=4", "--checkpoint=last")
    assert numbers == [2, 3]
    manifest = read_manifest(trained.out / "stage1" / "masks")
    assert manifest["steps"] == manifest["sampled_step"] == 4


def test_interrupted_training_is_saved_and_goes_on(fresh, monkeypatch):
    for number, status, step in ((signal.SIGTERM, 143, 3), (signal.SIGINT, 130, 4)):
        stop = unreal_step(step - 1, lambda number=number: os.kill(os.getpid(), number))
        monkeypatch.setattr(dcgan, "make_step", stop)
        ended, _, err = call(SCRIPT, *fresh.stage1)
        assert ended == status and f"stopped at step {step} and saved; the same command goes on from there" in err
        assert "Traceback" not in err and (fresh.out / "stage1" / "checkpoints" / f"ckpt-{step}.index").exists()
        assert not (fresh.out / "stage1" / "masks").exists()
    refused("train_stage2", *fresh.data, says=["stage1/masks: not there", "train_stage1.py"])
    refused("evaluate", f"--synthetic_dir={fresh.out}", says=["synthetic: not there", "train_stage2.py"])
    monkeypatch.setattr(dcgan, "make_step", unreal_step(3, lambda: pytest.fail("began anew")))
    assert "2 masks in" in succeeded(SCRIPT, *fresh.stage1)


def test_ctrl_c_while_samples_are_made_leaves_the_old_ones(trained, monkeypatch):
    before = contents(trained.out / "stage1" / "masks")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(write, "_encode", interrupted)
    status, _, err = call(SCRIPT, *trained.stage1, "--num_samples=9")
    assert status == 130 and "stopped" in err
    assert contents(trained.out / "stage1" / "masks") == before
    assert not list((trained.out / "stage1").glob(".masks*"))


def test_dry_run_shows_the_plan_and_writes_nothing(trained, fresh, tmp_path):
    before = contents(tmp_path)
    printed = succeeded(SCRIPT, *trained.stage1, "--dry_run")
    assert contents(tmp_path) == before
    assert re.findall(r"^(\w+):$", printed, re.MULTILINE) == ["data", "network", "training", "run"]
    assert "8 train" in printed and "2 test" in printed and "64 x 64" in printed
    assert re.findall(r"(\w+)  [\d,]+ parameters", printed) == ["generator", "discriminator"]
    for name, start in (("latent", "100: length of z"), ("steps", "2: "), ("width", "0.1: "), ("num_samples", "3")):
        assert re.search(rf"^ +{name}  {start}", printed, re.MULTILINE), name
    assert re.search(r"time  \d+ min here \(\d+\.\d\d s a step\)", printed)
    assert re.search(r"memory  \d+\.\d GB", printed) and "passes  0.5 over" in printed


def test_dry_run_of_a_set_that_is_not_prepared(fresh, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    words = [fresh.data[0], f"--data_dir={elsewhere}", f"--out_dir={elsewhere}", "--image_size=64", "--dry_run"]
    printed = succeeded(SCRIPT, *words, "--model=flow")
    assert re.findall(r"(\w+)  [\d,]+ parameters", printed) == ["generator"]
    assert "eyes (not prepared): 8 train, 2 test" in printed and "5000: " in printed
    assert not elsewhere.exists()


# ---------------------------------------------------------------- bad input


def test_wrong_layouts_and_lone_images_leave_nothing_behind(tmp_path):
    where = [f"--data_dir={tmp_path / 'private'}", f"--out_dir={tmp_path / 'out'}"]
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    lone, orphan = make_set(tmp_path / "lone", 6), make_set(tmp_path / "orphan", 6)
    (lone / "masks" / f"{STEM}_3.png").unlink()
    (orphan / "images" / f"{STEM}_3.png").unlink()
    (orphan / "fov" / f"{STEM}_3.png").unlink()
    before = contents(tmp_path)
    for data, says in (
        (tmp_path / "nowhere", ["nowhere", "images/ and masks/"]),
        (tmp_path / "empty", ["empty", "images/", "rename"]),
        (tmp_path / "file", ["file"]),
        (lone, [f"{STEM}_3.png", "mask", "add it"]),
        (orphan, [f"{STEM}_3.png", "has no image"]),
    ):
        refused(SCRIPT, f"--data={data}", *where, says=says)
    assert contents(tmp_path) == before and not (tmp_path / "out").exists() and not (tmp_path / "private").exists()


def test_an_unreadable_image_stops_or_is_left_out_all_along(fresh, tmp_path, monkeypatch):
    folder = make_set(tmp_path / "set", 7)
    (folder / "images" / f"{STEM}_2.png").write_bytes(b"\x89PNG no more")
    data = [f"--data={folder}", f"--data_dir={tmp_path / 'private'}", f"--out_dir={fresh.out}"]
    words = [*data, *fresh.stage1[3:]]
    refused(SCRIPT, *words, says=[f"{STEM}_2.png", "--skip_bad_files"])
    assert not fresh.out.exists() and not contents(tmp_path / "private")
    monkeypatch.setattr(pix2pix, "make_step", unreal_step())
    with pytest.warns(UserWarning, match="1 unreadable files left out"):
        succeeded(SCRIPT, *words, "--skip_bad_files")
    succeeded("train_stage2", *data, "--steps=1", "--preset=pix2pix")
    succeeded("evaluate", f"--synthetic_dir={fresh.out}", "--benchmarks=copies")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--preset=paper", "--batch_size=32"], ["has 8 images", "--batch_size=8 or less"]),
        (["--preset=paper", "--model=flow"], ["no network of the papers", "leave out one"]),
        (["--model=flow", "--width=0.5"], ["--width: this network has no such setting", "learning_rate"]),
        (["--preset=paper", "--r1=1"], ["--r1: this network has no such setting"]),
        (["--model=pggan", "--level_images=100", "--steps=3"], ["--steps=3", "--level_images"]),
        (["--conditional"], ["--conditional", "have no labels"]),
        (["--checkpoint=3"], ["--checkpoint=3", "weights are kept"]),
    ],
)
def test_flags_that_fit_no_method_are_refused_before_anything_is_trained(fresh, words, says):
    given = [word.split("=")[0].removeprefix("--") for word in words]
    rest = without(fresh.stage1, "width", *given, *["batch_size"] * ("--preset=paper" in words))
    refused(SCRIPT, *rest, *words, says=says)
    assert not list(fresh.out.rglob("ckpt-*"))
    if words[0] != "--checkpoint=3":
        assert not fresh.out.exists()  # so that the right command finds no other settings there


# ---------------------------------------------------------------- bad input: what is in the folder


def test_changed_flags_are_named_and_change_nothing(trained):
    before = contents(trained.out)
    refused(SCRIPT, *trained.stage1, "--seed=7", says=["seed was 0 and is now 7", "--overwrite", "--out_dir"])
    says = ["batch_size was 2 and is now 16", "image_size was [64, 64] and is now [128, 128]", "width was 0.1"]
    refused(SCRIPT, *trained.data, says=says)
    flow = without(trained.stage1, "width")
    refused(SCRIPT, *flow, "--model=flow", says="model was 'dcgan' and is now 'flow'")
    assert contents(trained.out) == before


def test_two_runs_in_one_folder_at_once(trained):
    before = contents(trained.out)
    with open(trained.out / "stage1" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        refused(SCRIPT, *trained.stage1, says=[trained.out / "stage1", "another run is working here"])
        refused(SCRIPT, *trained.stage1, "--overwrite", says="another run is working here")
    assert contents(trained.out) == before


def test_files_of_somebody_else_are_left_alone(fresh):
    (fresh.out / "stage1").mkdir(parents=True)
    (fresh.out / "stage1" / "thesis.tex").write_text("years of work")
    for overwrite in ([], ["--overwrite"]):
        refused(SCRIPT, *fresh.stage1, *overwrite, says=["stage1 holds files that are not of a run"])
    assert (fresh.out / "stage1" / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("kind", ["of another model", "damaged"])
def test_bad_checkpoint(trained, kind):
    folder = trained.out / "stage1" / "checkpoints"
    if kind == "damaged":
        path = folder / "ckpt-2.data-00000-of-00001"
        path.write_bytes(path.read_bytes()[:-1000])
    else:
        shutil.rmtree(folder)
        shutil.copytree(trained.out / "stage2" / "checkpoints", folder)
    before = contents(trained.out)
    line = refused(SCRIPT, *trained.stage1, "--steps=9", says=[folder / "ckpt-2", "--overwrite"])
    assert "not a checkpoint of this model, or damaged" in line
    after = contents(trained.out)
    changed = {path.name for path in after if after[path] != before.get(path)}
    assert changed <= {"flags.json"} and before.keys() == after.keys()


def test_a_loss_that_is_not_a_number(fresh, monkeypatch):
    monkeypatch.setattr(dcgan, "make_step", unreal_step(3, lambda: float("nan")))
    says = ["step 4", "not finite (loss nan)", "checkpoint of step 2 kept"]
    refused(SCRIPT, *fresh.stage1, says=[*says, "--precision=float32", "--seed", "--overwrite"])
    assert not (fresh.out / "stage1" / "masks").exists()
    assert [path.name for path in (fresh.out / "stage1" / "checkpoints").glob("*.index")] == ["ckpt-2.index"]


def test_full_disk(trained, monkeypatch):
    def full(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "out/x; No space left on device")

    before = contents(trained.out)
    monkeypatch.setattr(tf.io.TFRecordWriter, "write", full)
    says = ["masks: could not be written", "No space left on device", "what was there before is unchanged"]
    refused(SCRIPT, *trained.stage1, "--num_samples=9", says=says)
    after = contents(trained.out)
    for folder in ("masks", "checkpoints"):
        kept = {path for path in before if path.is_relative_to(trained.out / "stage1" / folder)}
        assert kept == {path for path in after if path.is_relative_to(trained.out / "stage1" / folder)}
        assert all(before[path] == after[path] for path in kept)


def test_full_disk_while_pictures_are_written(fresh, monkeypatch):
    count, really = itertools.count(), Image.Image.save

    def nearly_full(self, path, *rest, **options):
        if ".png.tmp" in str(path) and next(count) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return really(self, path, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", nearly_full)
        refused(SCRIPT, *fresh.stage1, "--target=image", says=["png", "No space left on device"])
    assert not [path for path in fresh.out.rglob("*") if ".tmp" in path.name or ".new-" in path.name]
    assert len(samples(fresh.out / "synthetic")) == 2
    assert "2 images in" in succeeded(SCRIPT, *fresh.stage1, "--target=image")  # and not: already done
