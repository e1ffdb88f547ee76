"""The three scripts as a user runs them, most of them in this process:
starting TensorFlow takes longer than all they do here.
"""

import contextlib
import dataclasses
import errno
import fcntl
import importlib.util
import io
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from raw_sets import make_idrid

from synthmed_tf import flags, synthesis
from synthmed_tf.datasets import load
from synthmed_tf.datasets.load import load_samples
from synthmed_tf.datasets.prepare import prepare
from synthmed_tf.networks import flow
from synthmed_tf.networks.unet import unet
from synthmed_tf.papers import annotation, segmenter
from synthmed_tf.records import write
from synthmed_tf.records.manifest import read_manifest
from synthmed_tf.records.read import Records
from synthmed_tf.records.write import write_records
from synthmed_tf.training import calibration, loop, stage1, stage2

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ("train_stage1", "train_stage2", "evaluate")
STEM = "SECRETpatient"  # in the file names of the real images


# ---------------------------------------------------------------- running


def call(name, *words):
    """Runs a script; returns (exit status, stdout, stderr). A traceback is an exception here."""
    spec = importlib.util.spec_from_file_location(f"script_{name}", ROOT / f"{name}.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", [f"{name}.py", *map(str, words)])
        patch.setattr(warnings, "formatwarning", warnings.formatwarning)  # which main replaces
        try:
            flags.main(name, script.__doc__, script.main)
            status = 0
        except SystemExit as error:
            status = error.code
    return status, out.getvalue(), err.getvalue()


def succeeded(name, *words):
    """Runs a script that must succeed; returns stdout."""
    status, out, err = call(name, *words)
    assert status == 0, err
    return out


def refused(name, *words, says):
    """Runs a script that must end in one line on stderr and status 1; returns the line."""
    status, _, err = call(name, *words)
    lines = [line for line in re.split(r"[\r\n]+", err) if line.strip() and "%|" not in line and "/s]" not in line]
    assert status == 1 and len(lines) == 1, (status, err)
    assert lines[0].startswith(f"{name}: error: ")
    for text in [says] if isinstance(says, str) else says:
        assert str(text) in lines[0], lines[0]
    return lines[0]


def contents(folder):
    """{path: bytes} of all files but the locks."""
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file() and path.name != ".lock"}


def unreal_step(at=None, do=None):
    """Stands for a make_step: a step that learns nothing, needs no tracing, and does `do()` at step `at`."""

    def make_step(*_):
        def step(number, _):
            loss = do() if number == at else None
            return {"loss": tf.constant(0.5 if loss is None else loss)}

        return step

    return make_step


def replace_stage1_step(monkeypatch, make_step):
    """Puts `make_step` in the place of those of a flow and of a GAN."""
    for name in ("make_flow_step", "make_gan_step"):
        monkeypatch.setattr(stage1, name, make_step)


@pytest.fixture(scope="module", autouse=True)
def small_flows():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flow, "CHANNELS", (8, 8))
        patch.setattr(stage1, "FLOW_STEPS", 2)
        patch.setattr(calibration, "MEASURED_SAMPLES", 8)
        patch.setattr(calibration, "CALIBRATION_SAMPLES", 8)
        yield


# ---------------------------------------------------------------- the real set, and what was trained on it


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def eye(index):
    """(photograph, mask, field of view): a disc with a few lines across."""
    rng = np.random.default_rng(index)
    rows, columns = np.mgrid[:80, :72]
    inside = (rows - 39.5) ** 2 + (columns - 35.5) ** 2 < 33**2
    lines = [abs(np.cos(a) * (rows - 40) + np.sin(a) * (columns - 36) + o) < 1.5 for a, o in rng.uniform(-9, 9, [4, 2])]
    mask = np.any(lines, axis=0) & inside
    photograph = (rng.normal([150, 80, 50], 6, [80, 72, 3]) - 40 * mask[..., None]) * inside[..., None]
    return np.clip(photograph, 0, 255).astype(np.uint8), mask * np.uint8(255), inside * np.uint8(255)


def make_set(folder, count=10):
    for index in range(count):
        for kind, pixels in zip(("images", "masks", "fov"), eye(index), strict=True):
            save(folder / kind / f"{STEM}_{index}.png", pixels)
    return folder


def make_drive(folder):
    """DRIVE as its official download is today: test images without labels."""
    for split, first, count in (("training", 21, 6), ("test", 1, 2)):
        for index in range(first, first + count):
            photograph, mask, inside = eye(index)
            save(folder / "drive" / split / "images" / f"{index:02d}_{split}.tif", photograph)
            save(folder / "drive" / split / "mask" / f"{index:02d}_{split}_mask.gif", inside)
            if split == "training":
                save(folder / "drive" / split / "1st_manual" / f"{index:02d}_manual1.gif", mask)
    return folder


@pytest.fixture(scope="module")
def clinic(tmp_path_factory):
    """The real set; the prepared data go to folder/private."""
    folder = tmp_path_factory.mktemp("clinic")
    make_set(folder / "eyes")
    return folder


@pytest.fixture(scope="module")
def original(clinic, tmp_path_factory):
    """All three scripts, run for two steps; never written to again. Has what they printed."""
    out = tmp_path_factory.mktemp("original") / "out"
    data = [f"--data={clinic / 'eyes'}", f"--data_dir={clinic / 'private'}", f"--out_dir={out}"]
    printed = [
        succeeded("train_stage1", *data, "--image_size=64", "--batch_size=2", "--steps=2", "--num_samples=3"),
        succeeded("train_stage2", *data, "--batch_size=1", "--steps=2"),
        succeeded("evaluate", f"--synthetic_dir={out}", "--unet_steps=2", "--repeats=1"),
    ]
    return types.SimpleNamespace(out=out, printed=printed)


@pytest.fixture
def trained(original, clinic, tmp_path):
    """A copy of it: .out, and .stage1 and .stage2, the flags of its commands."""
    out = tmp_path / "out"
    shutil.copytree(original.out, out)
    data = [f"--data={clinic / 'eyes'}", f"--data_dir={clinic / 'private'}", f"--out_dir={out}"]
    return types.SimpleNamespace(
        out=out,
        data=data,
        stage1=[*data, "--image_size=64", "--batch_size=2", "--steps=2", "--num_samples=3"],
        stage2=[*data, "--batch_size=1", "--steps=2"],
    )


@pytest.fixture
def fresh(clinic, tmp_path, monkeypatch):
    """Flags of a stage 1 that has not run yet, at 64 pixels; its steps learn nothing, and are saved every second."""
    monkeypatch.setattr(loop, "SAVE_EVERY", 2)
    replace_stage1_step(monkeypatch, unreal_step())
    out = tmp_path / "fresh"
    data = [f"--data={clinic / 'eyes'}", f"--data_dir={clinic / 'private'}", f"--out_dir={out}"]
    return types.SimpleNamespace(
        out=out, flags=[*data, "--image_size=64", "--batch_size=2", "--steps=5", "--num_samples=2"]
    )


def samples(folder):
    return list(Records(folder))


# ---------------------------------------------------------------- what comes out


def test_each_module_can_be_imported_before_all_others():
    program = (
        "import importlib, pkgutil, sys\n"
        "import synthmed_tf, tensorflow\n"
        "for module in [*pkgutil.walk_packages(synthmed_tf.__path__, 'synthmed_tf.')]:\n"
        "    for name in [name for name in sys.modules if name.startswith('synthmed_tf')]:\n"
        "        del sys.modules[name]\n"
        "    importlib.import_module(module.name)\n"
        "    print(module.name)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "synthmed_tf.training.stage1" in done.stdout.split()


def test_three_commands_make_masks_pairs_and_a_report(original):
    out = original.out
    masks, pairs = samples(out / "stage1" / "masks"), samples(out / "synthetic")
    assert [mask.id for mask in masks] == [pair.id for pair in pairs] == [f"synthetic-{i:06d}" for i in range(3)]
    for mask, pair in zip(masks, pairs, strict=True):
        assert (pair.mask == mask.mask).all() and pair.image.shape == (64, 64, 3) and pair.field_of_view is not None
        assert (np.asarray(Image.open(out / "synthetic" / "png" / "images" / f"{pair.id}.png")) == pair.image).all()
    report = json.loads((out / "report" / "report.json").read_text())
    scores = report["segmentation"]["arms"]["synthetic"]["f1"]
    assert report["segmentation"]["test_images"] == 2 and 0 <= scores["fov_pooled"]["mean"] <= 1
    assert (out / "report" / "report.html").stat().st_size > 10_000
    for stage in ("stage1", "stage2"):
        assert (out / stage / "checkpoints" / "ckpt-2.index").exists() and (
            out / stage / "samples" / "0000002.png"
        ).exists()
    assert "Next: train_stage2.py" in original.printed[0] and "Next: evaluate.py" in original.printed[1]
    assert str(out / "report" / "report.html") in original.printed[2] and "F1" in original.printed[2]


def test_a_single_gan_makes_photographs_at_once_and_is_evaluated_as_far_as_it_goes(clinic, tmp_path):
    out = tmp_path / "single"
    data = [f"--data={clinic / 'eyes'}", f"--data_dir={clinic / 'private'}", f"--out_dir={out}"]
    command = [
        *data,
        "--target=image",
        "--image_size=64",
        "--batch_size=2",
        "--steps=2",
        "--num_samples=3",
    ]
    assert f"Next: evaluate.py --synthetic_dir={out}" in succeeded("train_stage1", *command)
    made = samples(out / "synthetic")
    assert [sample.id for sample in made] == [f"synthetic-{i:06d}" for i in range(3)]
    for sample in made:
        assert sample.image.shape == (64, 64, 3) and sample.mask is None and sample.field_of_view is not None
        assert (np.asarray(Image.open(out / "synthetic" / "png" / "images" / f"{sample.id}.png")) == sample.image).all()
    assert not (out / "synthetic" / "png" / "masks").exists() and not (out / "stage1" / "masks").exists()
    assert "already done" in succeeded("train_stage1", *command)
    refused("train_stage2", *data, says=["--target=image", "nothing to paint"])
    printed = succeeded("evaluate", f"--synthetic_dir={out}", "--unet_steps=2", "--repeats=1")
    report = json.loads((out / "report" / "report.json").read_text())
    assert "has no masks" in report["segmentation"]["unavailable"] and "has no masks" in report["copies"]["unavailable"]
    assert report["distribution"]["kl_intensity"]["synthetic_vs_real"]["grey"] > 0 and "has no masks" in printed


def test_a_baseline_is_measured_as_the_set_that_it_stands_beside(trained, tmp_path):
    """Here photographs alone, then the set itself, whose numbers must be the same."""
    single = tmp_path / "single"
    command = [*trained.stage1[:2], f"--out_dir={single}", *trained.stage1[3:], "--target=image", "--model=flow"]
    succeeded("train_stage1", *command)
    manifest, refiner = (
        read_manifest(single / "synthetic"),
        single / "stage1" / "refiner-2" / "checkpoints" / "ckpt-2",
    )
    assert manifest["flags"]["model"] == "flow"
    assert manifest["refined_sha256"] == synthesis.checkpoint_sha256(refiner)
    words = [f"--synthetic_dir={trained.out}", "--benchmarks=distribution,fidelity,morphology,copies,privacy"]
    before = contents(single)

    def report(*more):
        printed = succeeded("evaluate", *words, *more)
        return json.loads((trained.out / "report" / "report.json").read_text()), " ".join(printed.split())

    alone, printed = report()
    assert "baseline" not in alone and "Baseline" not in printed
    beside, printed = report(f"--baseline_dir={single}", "--noreal_images")
    assert beside["baseline"]["synthetic"] == read_manifest(single / "synthetic")
    assert (
        beside["baseline"].keys() == {"synthetic", "distribution", "fidelity", "privacy"} and contents(single) == before
    )
    assert beside["command"].startswith("evaluate.py --benchmarks=") and "single" not in beside["command"]
    assert all(beside[name] == alone[name] for name in ("distribution", "fidelity", "morphology", "copies", "privacy"))
    kl = [part["distribution"]["kl_intensity"] for part in (beside, beside["baseline"])]
    assert kl[0]["real_vs_real"] == kl[1]["real_vs_real"] and kl[0]["synthetic_vs_real"] != kl[1]["synthetic_vs_real"]
    assert kl[0]["real_vs_held_out"] == kl[1]["real_vs_held_out"]
    nearer = sum(
        value < kl[1][of][channel]
        for of in ("synthetic_vs_real", "synthetic_vs_held_out")
        for channel, value in kl[0][of].items()
    )
    assert f"better on {nearer} of 8 shared numbers" in printed  # three images are too few for the others
    assert {path.name for path in (trained.out / "report" / "figures").iterdir()} == {
        "baseline.png",
        "examples.png",
        "intensity.png",
    }
    page = (trained.out / "report" / "report.html").read_text(encoding="utf-8")
    assert "Beside the baseline" in page and STEM not in page and str(single) not in page

    same, printed = report(f"--baseline_dir={trained.out / 'synthetic'}")
    for name in ("synthetic", "distribution", "fidelity", "morphology", "copies", "privacy"):
        assert same["baseline"][name] == same[name]
    assert "better on 0 of" in printed


def test_a_baseline_that_does_not_fit_is_refused(trained, tmp_path):
    words = [f"--synthetic_dir={trained.out}", "--benchmarks=distribution"]
    before = contents(trained.out)
    made = samples(trained.out / "synthetic")
    for name, change, says in (
        ("small", lambda image: image[:48, :, :], "48 x 64 pixels with 3 channels"),
        ("grey", lambda image: image[..., :1], "64 x 64 pixels with 1 channels"),
    ):
        others = [dataclasses.replace(s, image=change(s.image), mask=None, field_of_view=None) for s in made]
        write_records(tmp_path / name, name, others, source="made for a test")
        says = [tmp_path / name, says, trained.out / "synthetic", "64 x 64 pixels with 3 channels", "--image_size"]
        refused("evaluate", *words, f"--baseline_dir={tmp_path / name}", says=says)
    refused("evaluate", *words, f"--baseline_dir={tmp_path / 'nowhere'}", says=["nowhere", "no such folder"])
    refused("evaluate", *words, f"--baseline_dir={trained.out / 'stage1' / 'masks'}", says=["masks", "have no image"])
    (tmp_path / "begun" / "stage1").mkdir(parents=True)
    refused(
        "evaluate",
        *words,
        f"--baseline_dir={tmp_path / 'begun'}",
        says=["begun/synthetic: not there", "train_stage1.py"],
    )
    assert contents(trained.out) == before


def test_photographs_without_masks_get_theirs_from_a_segmenter(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(annotation, "ANNOTATION_STEPS", 2)
    make_idrid(tmp_path / "private" / "idrid")
    for stage in ("stage2", "synthetic"):
        shutil.rmtree(trained.out / stage)
    command = [
        "--data=idrid",
        f"--data_dir={tmp_path / 'private'}",
        f"--out_dir={trained.out}",
        "--batch_size=1",
        "--steps=2",
    ]
    succeeded("train_stage2", *command)
    annotated = samples(trained.out / "stage2" / "pairs")
    prepared = next((tmp_path / "private" / "prepared").glob("idrid-*"))
    for pair, photograph in zip(annotated, Records(prepared, "train"), strict=True):
        assert (pair.image == photograph.image).all() and pair.mask.shape == (64, 64, 1) and photograph.mask is None
        assert not pair.mask[pair.field_of_view == 0].any()
    made = samples(trained.out / "synthetic")
    masks = samples(trained.out / "stage1" / "masks")
    assert all((pair.mask == mask.mask).all() for pair, mask in zip(made, masks, strict=True))
    manifest = read_manifest(trained.out / "synthetic")
    assert manifest["real"]["name"] == "eyes" and manifest["photographs"]["name"] == "idrid"
    assert not any(b"IDRiD_0" in content for content in contents(trained.out / "synthetic").values())
    assert "already done" in succeeded("train_stage2", *command)
    loaded = []
    monkeypatch.setattr(
        load, "load_samples", lambda *given, **how: loaded.append((given[0], how)) or load_samples(*given, **how)
    )
    words = [f"--synthetic_dir={trained.out}", "--unet_steps=2", "--unet_levels=2", "--unet_width=4", "--repeats=1"]
    assert "F1" in succeeded("evaluate", *words)
    report = json.loads((trained.out / "report" / "report.json").read_text())
    network = report["segmentation"]["unet"]
    assert (network["levels"], network["width"]) == (2, 4)
    how = loaded[-1][1]  # the test images' split is that of stage 1's real set, not that of the photographs
    assert loaded[-1][0] == report["real"]["data"] and {"holdout", "labels"} < how.keys()
    assert report["real"]["name"] == "eyes" and report["photographs"]["name"] == "idrid"
    brightness = np.concatenate([p.image[p.field_of_view[..., 0] > 0].mean(-1) for p in annotated])
    counts = np.array(report["distribution"]["histograms"]["real"]["grey"])
    assert counts.sum() == pytest.approx(brightness.size, rel=0.01)  # of the photographs, not of stage 1's real set


def test_photographs_in_a_folder_with_a_table_of_several_labels(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(annotation, "ANNOTATION_STEPS", 2)
    for stage in ("stage2", "synthetic"):
        shutil.rmtree(trained.out / stage)
    graded = tmp_path / "graded"
    for index in range(10):
        save(graded / "images" / f"{index}.png", eye(index)[0])
    rows = [f"{index}.png,{index % 2},{index // 5}\n" for index in range(10)]
    (graded / "labels.csv").write_text("file,grade,edema\n" + "".join(rows))
    command = [f"--data={graded}", f"--out_dir={trained.out}", "--batch_size=1", "--steps=2"]
    refused("train_stage2", *command, says=["which column holds the classes", "--labels=COLUMN", "grade", "edema"])
    refused("train_stage2", *command, "--labels=stage", says=["--labels=stage", "grade", "edema"])
    succeeded("train_stage2", *command, "--labels=edema")
    manifest = read_manifest(trained.out / "synthetic")
    assert manifest["photographs"]["labels"] == "edema" and manifest["real"]["name"] == "eyes"
    words = [f"--synthetic_dir={trained.out}", "--benchmarks=distribution"]
    assert "KL" in succeeded("evaluate", *words)
    assert json.loads((trained.out / "report" / "report.json").read_text())["photographs"]["name"] == "graded"


def test_the_manifest_of_the_synthetic_set_says_what_made_it(original):
    manifest = read_manifest(original.out / "synthetic")
    first, second = manifest["commands"]
    assert first.startswith("train_stage1.py --data=eyes ") and second.startswith("train_stage2.py --data=eyes ")
    assert manifest["real"]["name"] == "eyes" and manifest["real"]["counts"] == {"test": 2, "train": 8}
    assert (
        manifest["steps"] == 2
        and len(manifest["checkpoint_sha256"]) == len(manifest["stage1"]["checkpoint_sha256"]) == 64
    )
    assert manifest["sampled_step"] == manifest["stage1"]["sampled_step"] == 2
    assert manifest["stage1"]["flags"]["model"] == "dcgan" and "refined_sha256" not in manifest["stage1"]


def test_what_the_filter_did_is_printed_and_in_both_manifests(original):
    found = read_manifest(original.out / "stage1" / "masks")["filter"]
    thresholds = "threshold", "most_alike", "halves_most_alike"
    assert found.keys() == {*thresholds, "candidates", "rejected", "too_near"}
    assert 0 < found["threshold"] < 1 and found["candidates"] == found["rejected"] + 3
    line = f"{found['rejected']} of {found['candidates']} masks rejected: nearer to a training mask than the two nearest training masks"
    assert line in original.printed[0]
    assert all(f"({found[threshold]:.3f})" in original.printed[0] for threshold in thresholds)
    shared = read_manifest(original.out / "synthetic")["stage1"]["filter"]
    # Which is measured on real masks
    assert shared == {key: value for key, value in found.items() if key not in thresholds}


def test_nothing_real_is_in_the_synthetic_set(original, clinic):
    words = [STEM, clinic.name, "private", str(clinic.parent), str(original.out), os.uname().nodename + "/"]
    prepared = next((clinic / "private" / "prepared").glob("eyes-*")).name
    files = contents(original.out / "synthetic")
    assert len(files) > 10
    for path, content in files.items():
        for word in [*words, prepared]:
            assert word.encode() not in content and word not in path.name, (path, word)
    real = {sample.image.tobytes() for sample in samples(clinic / "private" / "prepared" / prepared)}
    assert not real & {sample.image.tobytes() for sample in samples(original.out / "synthetic")}


# ---------------------------------------------------------------- again, and more


def test_a_finished_command_says_so_and_does_nothing(trained, monkeypatch):
    replace_stage1_step(monkeypatch, unreal_step())
    monkeypatch.setattr(stage2, "make_step", unreal_step())
    before = contents(trained.out)
    assert "already done: 3 masks" in succeeded("train_stage1", *trained.stage1)
    assert "already done: 3 pairs" in succeeded("train_stage2", *trained.stage2)
    of_stage_1 = [flag for flag in trained.stage2 if not flag.startswith("--data")]
    assert "already done: 3 pairs" in succeeded("train_stage2", *of_stage_1)
    after = contents(trained.out)
    changed = {path for path in before.keys() | after.keys() if after.get(path) != before.get(path)}
    assert {path.parent.name for path in changed} <= {"events", "stage1", "stage2"}  # flags.json has another out_dir
    assert {path.name for path in changed if path.parent.name != "events"} <= {"flags.json"}


def test_more_samples_leave_the_first_ones_as_they_are(trained):
    masks, pairs = samples(trained.out / "stage1" / "masks"), contents(trained.out / "synthetic" / "png")
    checkpoints = contents(trained.out / "stage1" / "checkpoints")
    assert "20 masks in" in succeeded("train_stage1", *trained.stage1[:-1], "--num_samples=20")
    more = samples(trained.out / "stage1" / "masks")
    assert len(more) == 20 and [mask.mask.tobytes() for mask in more[:3]] == [mask.mask.tobytes() for mask in masks]
    assert contents(trained.out / "stage1" / "checkpoints") == checkpoints
    assert "5 pairs in" in succeeded("train_stage2", *trained.stage2, "--num_samples=5")
    again = contents(trained.out / "synthetic" / "png")
    assert len(again) == 11 and all(again[path] == pixels for path, pixels in pairs.items() if path.suffix == ".png")
    line = refused(
        "train_stage2", *trained.stage2, "--num_samples=21", says=["20 masks, --num_samples=21", "train_stage1.py"]
    )
    assert "--num_samples=21 first" in line


def test_a_larger_steps_goes_on(trained, monkeypatch):
    seen = []
    replace_stage1_step(
        monkeypatch, lambda *_: lambda number, _: seen.append(int(number)) or {"loss": tf.constant(0.0)}
    )
    succeeded(
        "train_stage1",
        *trained.data,
        "--image_size=64",
        "--batch_size=2",
        "--epochs=1",
        "--num_samples=3",
        "--checkpoint=last",
    )
    assert seen == [2, 3]  # 8 images in batches of 2
    assert read_manifest(trained.out / "stage1" / "masks")["steps"] == 4


def test_interrupted_training_is_saved_and_goes_on(fresh, monkeypatch):
    for number, status, step in ((signal.SIGTERM, 143, 3), (signal.SIGINT, 130, 4)):
        replace_stage1_step(monkeypatch, unreal_step(step - 1, lambda number=number: os.kill(os.getpid(), number)))
        found, _, err = call("train_stage1", *fresh.flags)
        assert found == status and f"stopped at step {step} and saved; the same command goes on from there" in err
        assert "Traceback" not in err and (fresh.out / "stage1" / "checkpoints" / f"ckpt-{step}.index").exists()
        assert not (fresh.out / "stage1" / "masks").exists()
    refused("train_stage2", *fresh.flags[:3], says=["stage1/masks: not there", "train_stage1.py"])
    refused("evaluate", f"--synthetic_dir={fresh.out}", says=["synthetic: not there", "train_stage2.py"])
    replace_stage1_step(monkeypatch, unreal_step(3, lambda: pytest.fail("began anew")))
    assert "2 masks in" in succeeded("train_stage1", *fresh.flags)


def test_ctrl_c_while_samples_are_made_leaves_the_old_ones(trained, monkeypatch):
    before = contents(trained.out / "stage1" / "masks")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(write, "_encode", interrupted)
    status, _, err = call("train_stage1", *trained.stage1[:-1], "--num_samples=9")
    assert status == 130 and "stopped" in err
    assert contents(trained.out / "stage1" / "masks") == before
    assert not list((trained.out / "stage1").glob(".masks*"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_dry_run_shows_the_plan_and_writes_nothing(trained, clinic, tmp_path, name):
    before = contents(tmp_path)
    words = [f"--synthetic_dir={trained.out}"] if name == "evaluate" else getattr(trained, name.removeprefix("train_"))
    shown = succeeded(name, *words, "--dry_run")
    assert contents(tmp_path) == before
    assert "8 training samples" in shown and re.search(r"length \d+ steps of \d+ images", shown)
    if name != "evaluate":
        networks = ["generator", "discriminator"]
        assert "learning_rate" in shown and re.findall(r"(\w+) [\d,]+ parameters", shown) == networks
        elsewhere = tmp_path / "elsewhere"
        if name == "train_stage1":
            words = [words[0], f"--data_dir={elsewhere}", f"--out_dir={elsewhere}", "--image_size=64", "--dry_run"]
            shown = succeeded(name, *words, "--model=flow")
            assert re.findall(r"(\w+) [\d,]+ parameters", shown) == ["generator"]
            assert "eyes (not prepared): 8 training samples, {'train': 8, 'test': 2}" in shown
            assert not elsewhere.exists()


def test_another_report_of_the_same_trainings_without_real_images(trained, monkeypatch):
    monkeypatch.setattr(segmenter.loop, "_run", lambda *_: pytest.fail("trained again"))
    succeeded("evaluate", f"--synthetic_dir={trained.out}", "--unet_steps=2", "--repeats=1", "--noreal_images")
    page = (trained.out / "report" / "report.html").read_text(encoding="utf-8")
    assert STEM not in page and not (trained.out / "report" / "figures" / "nearest_masks.png").exists()


# ---------------------------------------------------------------- bad input: data and flags


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_a_wrong_flag_and_a_missing_set_answer_within_two_seconds(original, tmp_path, name):
    missing = ["--data=drive", f"--data_dir={tmp_path}", f"--out_dir={tmp_path / 'out'}"]
    missing += [f"--synthetic_dir={original.out}"] if name == "evaluate" else []
    for words, status, says in (
        (["--help"], 0, "--data_dir"),
        (["--nonsense=1"], 1, "nonsense"),
        (missing, 1, "https://drive.grand-challenge.org"),
    ):
        seconds = []
        while len(seconds) < 3 and min(seconds, default=9) > 2:
            began = time.monotonic()
            found = subprocess.run(
                [sys.executable, ROOT / f"{name}.py", *words], capture_output=True, text=True, cwd=tmp_path
            )
            seconds.append(time.monotonic() - began)
        assert min(seconds) < 2, (words, seconds)
        assert found.returncode == status and says in (found.stderr if status else found.stdout)
        assert found.stderr.count("\n") == status and "Traceback" not in found.stderr
    assert list(tmp_path.iterdir()) == []


def test_wrong_layouts_and_lone_images_leave_nothing_behind(tmp_path):
    where = [f"--data_dir={tmp_path / 'private'}", f"--out_dir={tmp_path / 'out'}"]
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    lone, orphan = make_set(tmp_path / "lone", 6), make_set(tmp_path / "orphan", 6)
    (lone / "masks" / f"{STEM}_3.png").unlink()
    (orphan / "images" / f"{STEM}_3.png").unlink()
    (orphan / "fov" / f"{STEM}_3.png").unlink()
    before = contents(tmp_path)
    for name in ("train_stage1", "train_stage2"):
        for data, says in (
            (tmp_path / "nowhere", ["nowhere", "images/ and masks/"]),
            (tmp_path / "empty", ["empty", "images/", "rename"]),
            (tmp_path / "file", ["file"]),
            (lone, [f"{STEM}_3.png", "mask", "add it"]),
            (orphan, [f"{STEM}_3.png", "has no image"]),
        ):
            refused(name, f"--data={data}", *where, says=says)
    assert contents(tmp_path) == before and not (tmp_path / "out").exists() and not (tmp_path / "private").exists()


def test_unreadable_image_stops_or_is_left_out_all_along(fresh, tmp_path, monkeypatch):
    folder = make_set(tmp_path / "set", 7)
    (folder / "images" / f"{STEM}_2.png").write_bytes(b"\x89PNG no more")
    words = [f"--data={folder}", f"--data_dir={tmp_path / 'private'}", *fresh.flags[2:]]
    refused("train_stage1", *words, says=[f"{STEM}_2.png", "--skip_bad_files"])
    assert not fresh.out.exists() and not contents(tmp_path / "private")
    monkeypatch.setattr(stage2, "make_step", unreal_step())
    with pytest.warns(UserWarning, match="1 unreadable files left out"):
        succeeded("train_stage1", *words, "--skip_bad_files")
    succeeded("train_stage2", *words[:3], "--steps=1")
    succeeded("evaluate", f"--synthetic_dir={fresh.out}", "--benchmarks=copies")
    assert len(json.loads((fresh.out / "report" / "report.json").read_text())["copies"]["nearest_training_mask"]) == 2


def test_fewer_images_than_a_batch(fresh):
    words = [word for word in fresh.flags if not word.startswith(("--batch_size", "--steps"))]
    refused(
        "train_stage1", *words, "--preset=paper", "--batch_size=32", says=["has 8 images", "--batch_size=8 or less"]
    )
    assert not fresh.out.exists()  # so that the same command with --batch_size=8 finds no other settings there


def test_stage_2_wants_stage_1_first_and_of_the_same_data(trained, tmp_path):
    elsewhere = [*trained.data[:2], f"--out_dir={tmp_path / 'new'}"]
    refused("train_stage2", *elsewhere, says=["new/stage1", "train_stage1.py"])
    assert not (tmp_path / "new").exists()
    before = contents(trained.out)
    refused("train_stage2", "--data=phantom", *trained.data[1:], says=["eyes", "--data=phantom", "same to both"])
    refused("train_stage2", *trained.stage2, "--num_samples=4", says=["3 masks, --num_samples=4", "train_stage1.py"])
    other = make_set(tmp_path / "eyes", 9)
    settings = json.loads((trained.out / "stage1" / "flags.json").read_text()) | {"data": str(other)}
    (trained.out / "stage1" / "flags.json").write_text(json.dumps(settings))
    before = contents(trained.out)
    refused("train_stage2", f"--data={other}", *trained.data[1:], says=["has changed since stage 1", "--overwrite"])
    assert contents(trained.out) == before


@pytest.mark.parametrize("missing", ["filter", "sampled_step"])
def test_masks_of_an_earlier_version_are_refused(trained, missing):
    path = trained.out / "stage1" / "masks" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest[missing]
    path.write_text(json.dumps(manifest))
    before = contents(trained.out)
    for more in ([], ["--dry_run"], ["--overwrite"]):
        refused(
            "train_stage2",
            *trained.stage2,
            *more,
            says=["stage1/masks", "earlier version", "train_stage1.py --overwrite"],
        )
    assert contents(trained.out) == before


# ---------------------------------------------------------------- bad input: what is in the folder


def test_changed_flags_are_named_and_change_nothing(trained):
    before = contents(trained.out)
    refused("train_stage1", *trained.stage1, "--seed=7", says=["seed was 0 and is now 7", "--overwrite", "--out_dir"])
    refused(
        "train_stage1",
        *trained.data,
        says=["batch_size was 2 and is now 16", "image_size was [64, 64] and is now [128, 128]"],
    )
    refused("train_stage1", *trained.stage1, "--model=flow", says="model was 'dcgan' and is now 'flow'")
    refused("train_stage2", *trained.stage2, "--preset=pix2pix", says="preset was 'small_data' and is now 'pix2pix'")
    assert contents(trained.out) == before


def test_two_runs_in_one_folder_at_once(trained):
    before = contents(trained.out)
    commands = {"stage1": trained.stage1, "stage2": trained.stage2, "report": [f"--synthetic_dir={trained.out}"]}
    for name, (folder, words) in zip(SCRIPTS, commands.items(), strict=True):
        with open(trained.out / folder / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            refused(name, *words, says=[trained.out / folder, "another run is working here"])
            refused(name, *words, "--overwrite", says="another run is working here")
    assert contents(trained.out) == before


def test_files_of_somebody_else_are_left_alone(trained):
    for folder in (trained.out / "stage1", trained.out / "report"):
        shutil.rmtree(folder)
        folder.mkdir()
        (folder / "thesis.tex").write_text("years of work")
    for overwrite in ([], ["--overwrite"]):
        refused("train_stage1", *trained.stage1, *overwrite, says=["stage1 holds files that are not of a run"])
        words = [f"--synthetic_dir={trained.out / 'synthetic'}", *trained.data]
        refused("evaluate", *words, *overwrite, says=["report holds files that are not of a run"])
    for folder in (trained.out / "stage1", trained.out / "report"):
        assert (folder / "thesis.tex").read_text() == "years of work"


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
    line = refused(
        "train_stage1", *trained.stage1[:-2], "--steps=9", "--num_samples=3", says=[folder / "ckpt-2", "--overwrite"]
    )
    assert "not a checkpoint of this model, or damaged" in line
    after = contents(trained.out)
    assert {path.name for path in after if after[path] != before.get(path)} <= {
        "flags.json"
    } and before.keys() == after.keys()


def test_a_loss_that_is_not_a_number(fresh, monkeypatch):
    replace_stage1_step(monkeypatch, unreal_step(3, lambda: float("nan")))
    says = [
        "step 4",
        "not finite (loss nan)",
        "checkpoint of step 2 kept",
        "--precision=float32",
        "--seed",
        "--overwrite",
    ]
    refused("train_stage1", *fresh.flags, says=says)
    assert not (fresh.out / "stage1" / "masks").exists()
    assert [path.name for path in (fresh.out / "stage1" / "checkpoints").glob("*.index")] == ["ckpt-2.index"]


def test_full_disk(trained, monkeypatch):
    def full(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "out/x; No space left on device")

    before = contents(trained.out)
    with monkeypatch.context() as patch:
        patch.setattr(tf.io.TFRecordWriter, "write", full)
        says = ["masks: could not be written", "No space left on device", "what was there before is unchanged"]
        refused("train_stage1", *trained.stage1[:-1], "--num_samples=9", says=says)
    count, really = itertools.count(), Image.Image.save

    def nearly_full(self, path, *rest, **options):
        if ".png.tmp" in str(path) and next(count) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return really(self, path, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", nearly_full)
        refused("train_stage2", *trained.stage2, "--num_samples=2", says=["png", "No space left on device"])
    after = contents(trained.out)
    for folder in ("stage1/masks", "stage1/checkpoints", "stage2/checkpoints"):
        kept = {path for path in before if path.is_relative_to(trained.out / folder)}
        assert kept == {path for path in after if path.is_relative_to(trained.out / folder)}
        assert all(before[path] == after[path] for path in kept)
    assert not [path for path in trained.out.rglob("*") if ".tmp" in path.name or ".new-" in path.name]
    assert len(samples(trained.out / "synthetic")) == 2
    assert "2 pairs in" in succeeded("train_stage2", *trained.stage2, "--num_samples=2")  # and not: already done


# ---------------------------------------------------------------- bad input: evaluate


def test_evaluate_on_what_is_no_data_set(trained, tmp_path):
    (tmp_path / "holidays").mkdir()
    save(tmp_path / "holidays" / "beach.png", eye(0)[0])
    before = contents(tmp_path)
    out = f"--out_dir={tmp_path / 'new'}"
    refused("evaluate", f"--synthetic_dir={tmp_path / 'nowhere'}", out, says=["nowhere", "no such folder"])
    for given in ([], [trained.data[0]]):
        refused(
            "evaluate", f"--synthetic_dir={tmp_path / 'holidays'}", out, *given, says=["holidays is not a data set"]
        )
    refused(
        "evaluate",
        f"--synthetic_dir={trained.out / 'stage1' / 'masks'}",
        *trained.data,
        says=["masks", "have no image"],
    )
    refused(
        "evaluate",
        f"--synthetic_dir={trained.out}",
        "--benchmarks=fame",
        says=["'fame'", "segmentation, distribution, fidelity, morphology, copies"],
    )
    assert contents(tmp_path) == before
    shard = next((trained.out / "synthetic").glob("*.tfrecord-*"))
    shard.write_bytes(shard.read_bytes()[:-9])
    refused("evaluate", f"--synthetic_dir={trained.out}", says=[shard.name, "damaged", "--overwrite"])


def test_evaluate_a_tfds_folder_of_another_program(trained, tmp_path):
    folder = tmp_path / "theirs"
    shutil.copytree(trained.out / "synthetic", folder)
    (folder / "manifest.json").unlink()
    refused("evaluate", f"--synthetic_dir={folder}", *trained.data, says="has lost its manifest.json")
    info = json.loads((folder / "dataset_info.json").read_text()) | {"moduleName": "their.module"}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    out = tmp_path / "new"
    refused("evaluate", f"--synthetic_dir={folder}", f"--out_dir={out}", says=["theirs", "give --data"])
    assert not out.exists()
    words = [f"--synthetic_dir={folder}", *trained.data[:2], f"--out_dir={out}", "--benchmarks=distribution,copies"]
    assert "report.html" in succeeded("evaluate", *words)
    report = json.loads((out / "report" / "report.json").read_text())
    assert report["synthetic"] is None and len(report["copies"]["nearest_training_mask"]) == 3


def test_unlabelled_test_images_are_said_and_holdout_mends_it(original, tmp_path, monkeypatch):
    make_drive(tmp_path / "data")
    shutil.copytree(original.out / "synthetic", tmp_path / "set")
    words = [
        f"--synthetic_dir={tmp_path / 'set'}",
        "--data=drive",
        f"--data_dir={tmp_path / 'data'}",
        f"--out_dir={tmp_path / 'out'}",
    ]
    words += ["--benchmarks=segmentation,distribution,fidelity,privacy", "--repeats=1"]
    shown = " ".join(succeeded("evaluate", *words).split())
    report = json.loads((tmp_path / "out" / "report" / "report.json").read_text())
    assert report["segmentation"].keys() == {"unavailable"}
    assert report["distribution"]["kl_intensity"]["synthetic_vs_held_out"]["grey"] > 0  # of their photographs
    references = [report["fidelity"][name]["protocol"]["reference"] for name in ("photographs", "masks")]
    assert references == ["held-out real set", "random halves of the real set"]
    page = (tmp_path / "out" / "report" / "report.html").read_text(encoding="utf-8")
    for text in (report["segmentation"]["unavailable"], shown, " ".join(page.split())):
        assert "nothing to test on" in text and "--holdout=5" in text
    assert "0.000" not in shown

    def untrained(folder, samples, steps, seed, *_):
        tf.keras.utils.set_random_seed(seed)
        return unet(3, 1, 4), {"seconds": 1.0}

    monkeypatch.setattr(segmenter, "train", untrained)
    succeeded("evaluate", *words, "--holdout=2")
    mended = json.loads((tmp_path / "out" / "report" / "report.json").read_text())
    assert mended["segmentation"]["test_images"] == 2 and mended["segmentation"]["real_pairs"] == 4
    assert mended["real"]["test_split"] == "2 groups held out of the training images"


def test_stage_2_of_large_images_is_wider(trained, monkeypatch):
    words = [*(word for word in trained.stage2 if "steps" not in word), "--dry_run"]
    shutil.rmtree(trained.out / "stage2")

    def parameters():
        plan = dict(line.split(maxsplit=1) for line in succeeded("train_stage2", *words).splitlines())
        return int(plan["generator"].split()[0].replace(",", ""))

    small = parameters()
    monkeypatch.setattr("synthmed_tf.networks.painter.LARGE", 64)
    assert parameters() > 3 * small


def test_evaluate_against_another_set_leaves_the_labels_of_its_own(trained, tmp_path):
    path = trained.out / "stage1" / "flags.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"labels": "gone.csv"}))
    words = [f"--synthetic_dir={trained.out}", "--dry_run"]
    refused("evaluate", *words, says="gone.csv")
    make_set(tmp_path / "other")
    assert "training samples" in succeeded("evaluate", *words, f"--data={tmp_path / 'other'}")


def test_evaluate_the_shared_folder_alone_holds_out_what_its_manifest_says(original, clinic, tmp_path):
    shutil.copytree(original.out / "synthetic", tmp_path / "set")
    path = tmp_path / "set" / "manifest.json"
    manifest = json.loads(path.read_text())
    held_out = {"test_split": "3 groups held out of the training images", "counts": {"train": 7, "test": 3}}
    manifest["real"] |= {"holdout": 3} | held_out
    path.write_text(json.dumps(manifest))
    words = [f"--synthetic_dir={tmp_path / 'set'}", f"--data={clinic / 'eyes'}", f"--data_dir={tmp_path / 'private'}"]
    assert "7 training samples" in succeeded("evaluate", *words, f"--out_dir={tmp_path / 'out'}", "--dry_run")
    refused("evaluate", *words, "--holdout=2", says=["holdout was 3 and is now 2", "may have been learned from"])


def test_evaluate_refuses_held_out_images_that_may_have_been_learned_from(original, clinic, tmp_path):
    shutil.copytree(clinic / "eyes", tmp_path / "eyes")
    words = [f"--data={tmp_path / 'eyes'}", f"--data_dir={tmp_path / 'private'}", "--dry_run"]
    both = (
        [f"--synthetic_dir={original.out}", f"--out_dir={original.out}"],
        [f"--synthetic_dir={original.out / 'synthetic'}"],
    )
    for where in both:
        assert "training samples" in succeeded("evaluate", *where, *words)
    for kind in ("images", "masks", "fov"):  # every fifth in sorted order are others now
        path = next((tmp_path / "eyes" / kind).iterdir())
        new = path.with_name(f"0{path.suffix}")
        if kind == "images":
            Image.fromarray(255 - np.asarray(Image.open(path))).save(new)
        else:
            shutil.copy(path, new)
    assert "(not prepared)" in succeeded("evaluate", *both[0], *words)  # the split is compared once it is written
    prepare(str(tmp_path / "eyes"), tmp_path / "private", (64, 64), out_dir=original.out)
    refused("evaluate", *both[0], *words, says=["counts was", "its files are others"])
    refused("evaluate", *both[1], *words, says="counts was")


def test_photographs_of_other_channels_are_refused_before_anything_is_trained(trained, tmp_path):
    shutil.rmtree(trained.out / "stage2")
    for index in range(3):
        save(tmp_path / "grey" / "images" / f"{index}.png", eye(index)[0][..., 1])
    (tmp_path / "grey" / "grades.csv").write_text("file,grade\n0.png,1\n1.png,1\n2.png,2\n")
    words = [word for word in trained.stage2 if not word.startswith("--data=")]
    said = "images of 1 channels, those of .*eyes, which the masks are learned from, have 3"
    line = refused("train_stage2", *words, f"--data={tmp_path / 'grey'}", says="give a set of as many")
    assert re.search(said, line) and not (trained.out / "stage2").exists()
