"""evaluate.py as a user runs it. Which sets it compares is in test_sets.py."""

import fcntl
import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from script_runs import STAGE1, STEM, UNETS, contents, make_classes, make_drive, make_set, refused, succeeded

import evaluate
from synthmed_tf.networks.unet import build_unet
from synthmed_tf.papers import segmenter
from synthmed_tf.records.manifest import read_manifest
from synthmed_tf.records.write import write_records
from synthmed_tf.sample import Sample
from synthmed_tf.training.checkpoints import hash_checkpoint

SCRIPT = "evaluate"
BENCHMARKS = "distribution", "fidelity", "morphology", "copies", "privacy"
pytestmark = pytest.mark.usefixtures("little_work")


def report_of(out):
    return json.loads((out / "report" / "report.json").read_text())


def page_of(out):
    return (out / "report" / "report.html").read_text(encoding="utf-8")


def untrained(folder, samples, steps, seed, *_):
    """Stands for segmenter.train."""
    tf.keras.utils.set_random_seed(seed)
    return build_unet(3, 1, 4), {"seconds": 1.0}


# ---------------------------------------------------------------- what comes out


def test_a_report_and_its_headline(original):
    report = report_of(original.out)
    assert report.keys() >= {"segmentation", *BENCHMARKS} and "classification" not in report
    scores = report["segmentation"]["arms"]["synthetic"]["f1"]
    assert report["segmentation"]["test_images"] == 2 and 0 <= scores["fov_pooled"]["mean"] <= 1
    network = report["segmentation"]["unet"]
    assert (network["levels"], network["width"]) == (2, 4)
    assert report["synthetic"] == read_manifest(original.out / "synthetic") and report["real"]["name"] == "eyes"
    assert sorted(report["command"].split()) == sorted(["evaluate.py", *UNETS]) and report["wall_seconds"] > 0
    assert (original.out / "report" / "report.html").stat().st_size > 10_000
    printed = original.printed[2]
    assert str(original.out / "report" / "report.html") in printed and "F1" in printed


def test_photographs_alone_are_evaluated_as_far_as_it_goes(fresh):
    succeeded("train_stage1", *fresh.stage1, "--target=image")
    printed = succeeded(SCRIPT, f"--synthetic_dir={fresh.out}", *UNETS)
    report = report_of(fresh.out)
    for name in ("segmentation", "copies", "morphology"):
        assert "has no masks" in report[name]["unavailable"]
    assert report["distribution"]["kl_intensity"]["synthetic_vs_real"]["grey"] > 0 and "has no masks" in printed


def test_a_baseline_is_measured_as_the_set_that_it_stands_beside(trained, tmp_path):
    """Here photographs alone by a flow, then the set itself, whose numbers must be the same."""
    single = tmp_path / "single"
    command = [*trained.data[:2], f"--out_dir={single}", *STAGE1, "--target=image", "--model=flow"]
    command.remove("--width=0.1")
    succeeded("train_stage1", *command)
    manifest = read_manifest(single / "synthetic")
    refiner = single / "stage1" / "refiner-2" / "checkpoints" / "ckpt-2"
    assert manifest["flags"]["model"] == "flow" and manifest["refined_sha256"] == hash_checkpoint(refiner)
    words = [f"--synthetic_dir={trained.out}", f"--benchmarks={','.join(BENCHMARKS)}"]
    alone, before = report_of(trained.out), contents(single)
    assert "baseline" not in alone and "Beside the baseline" not in page_of(trained.out)

    printed = " ".join(succeeded(SCRIPT, *words, f"--baseline_dir={single}", "--noreal_images").split())
    beside = report_of(trained.out)
    assert beside["baseline"]["synthetic"] == manifest and contents(single) == before
    assert beside["baseline"].keys() == {"synthetic", "distribution", "fidelity", "privacy"}
    assert beside["command"].startswith("evaluate.py --benchmarks=") and "single" not in beside["command"]
    assert all(beside[name] == alone[name] for name in BENCHMARKS)
    kl = [part["distribution"]["kl_intensity"] for part in (beside, beside["baseline"])]
    assert kl[0]["real_vs_real"] == kl[1]["real_vs_real"] and kl[0]["synthetic_vs_real"] != kl[1]["synthetic_vs_real"]
    assert kl[0]["real_vs_held_out"] == kl[1]["real_vs_held_out"]
    pairs = [
        (kl[0][name][channel], kl[1][name][channel])
        for name in ("synthetic_vs_real", "synthetic_vs_held_out")
        for channel in kl[0][name]
    ]
    assert (
        f"better on {sum(ours < theirs for ours, theirs in pairs)} of 8 shared numbers" in printed
    )  # too few images for others
    figures = {path.name for path in (trained.out / "report" / "figures").iterdir()}
    assert figures == {"baseline.png", "examples.png", "intensity.png"}
    page = page_of(trained.out)
    assert "Beside the baseline" in page and STEM not in page and str(single) not in page

    printed = " ".join(succeeded(SCRIPT, *words, f"--baseline_dir={trained.out / 'synthetic'}").split())
    same = report_of(trained.out)
    assert all(same["baseline"][name] == same[name] for name in ("synthetic", *BENCHMARKS))
    assert "better on 0 of" in printed


def test_another_report_of_the_same_trainings_without_real_images(trained, monkeypatch):
    monkeypatch.setattr(segmenter.loop, "_run", lambda *_: pytest.fail("trained again"))
    succeeded(SCRIPT, f"--synthetic_dir={trained.out}", *UNETS, "--noreal_images")
    assert STEM not in page_of(trained.out)
    assert not (trained.out / "report" / "figures" / "nearest_masks.png").exists()


def test_a_set_of_another_program(trained, tmp_path):
    folder = tmp_path / "theirs"
    shutil.copytree(trained.out / "synthetic", folder)
    (folder / "manifest.json").unlink()
    path = folder / "dataset_info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"moduleName": "their.module"}))
    out = tmp_path / "new"
    refused(SCRIPT, f"--synthetic_dir={folder}", f"--out_dir={out}", says=["theirs", "give --data"])
    assert not out.exists()
    words = [f"--synthetic_dir={folder}", *trained.data[:2], f"--out_dir={out}", "--benchmarks=distribution,copies"]
    assert "report.html" in succeeded(SCRIPT, *words)
    assert report_of(out)["synthetic"] is None and len(report_of(out)["copies"]["nearest_training_mask"]) == 3


def test_test_images_without_masks_are_said_and_holdout_mends_it(original, tmp_path, monkeypatch):
    make_drive(tmp_path / "data")
    shutil.copytree(original.out / "synthetic", tmp_path / "set")
    out = tmp_path / "out"
    words = [
        f"--synthetic_dir={tmp_path / 'set'}",
        "--data=drive",
        f"--data_dir={tmp_path / 'data'}",
        f"--out_dir={out}",
    ]
    words += ["--benchmarks=segmentation,distribution,fidelity", "--repeats=1"]
    printed = " ".join(succeeded(SCRIPT, *words).split())
    report = report_of(out)
    assert report["segmentation"].keys() == {"unavailable"}
    assert report["distribution"]["kl_intensity"]["synthetic_vs_held_out"]["grey"] > 0  # to their photographs
    references = [report["fidelity"][name]["protocol"]["reference"] for name in ("photographs", "masks")]
    assert references == ["held-out real set", "random halves of the real set"]
    for text in (report["segmentation"]["unavailable"], printed, " ".join(page_of(out).split())):
        assert "nothing to test on" in text and "--holdout=5" in text
    assert "0.000" not in printed

    monkeypatch.setattr(segmenter, "train", untrained)
    succeeded(SCRIPT, *words, "--holdout=2")
    mended = report_of(out)
    assert mended["segmentation"]["test_images"] == 2 and mended["segmentation"]["real_pairs"] == 4
    assert mended["real"]["test_split"] == "2 groups held out of the training images"


@pytest.mark.parametrize("tested", [0, 1, 2])
def test_what_few_test_images_allow_is_measured(tested, original, tmp_path, monkeypatch):
    monkeypatch.setattr(segmenter, "train", untrained)
    eyes = make_set(tmp_path / "few", 5)
    for split, count in (("train", 5 - tested), ("test", tested)):
        for kind in ("images", "masks", "fov") if count else ():
            (eyes / split / kind).mkdir(parents=True)
            for path in sorted((eyes / kind).iterdir())[:count]:
                path.rename(eyes / split / kind / path.name)
    for kind in ("images", "masks", "fov"):
        (eyes / kind).rmdir()
    words = [f"--synthetic_dir={original.out / 'synthetic'}", f"--data={eyes}", f"--data_dir={tmp_path}"]
    with pytest.warns(UserWarning, match=f"{tested} test images: precision" if tested else "no test images"):
        succeeded(SCRIPT, *words, f"--out_dir={tmp_path / 'out'}", "--repeats=1", "--dry_run")
    succeeded(SCRIPT, *words, f"--out_dir={tmp_path / 'out'}", "--repeats=1")
    report = report_of(tmp_path / "out")
    assert report["distribution"]["kl_intensity"]["synthetic_vs_real"]["grey"] > 0
    assert report["privacy"]["structure"]["near_copies"] >= 0 and report["copies"]["synthetic_to_training"]
    assert report["fidelity"]["masks"]["precision"]["synthetic_vs_real"]["mean"] is None
    assert report["segmentation"].get("test_images", 0) == tested and "report" in page_of(tmp_path / "out")


def test_the_seed_of_all_three_scripts_holds_out_the_same_images(fresh, tmp_path, monkeypatch):
    """Stage 1's seed divides; evaluate finds it, be it given another one or a folder that was shared alone."""
    data = [fresh.data[0], f"--data_dir={tmp_path / 'private'}"]
    succeeded("train_stage1", *fresh.stage1, *data, "--holdout=3", "--seed=7", "--target=image")
    (prepared,) = (tmp_path / "private" / "prepared").glob("eyes-*")
    shutil.copytree(fresh.out / "synthetic", tmp_path / "shared")
    alone = [f"--synthetic_dir={tmp_path / 'shared'}", *data, f"--out_dir={tmp_path / 'out'}"]
    for words in ([f"--synthetic_dir={fresh.out}"], [f"--synthetic_dir={fresh.out}", "--seed=1"], alone):
        assert f"{prepared}: " in succeeded(SCRIPT, *words, "--dry_run")
    succeeded(SCRIPT, *alone, "--benchmarks=distribution")
    assert report_of(tmp_path / "out")["real"]["holdout_seed"] == 7
    assert [*(tmp_path / "private" / "prepared").glob("eyes-*")] == [prepared]


def test_dry_run_shows_the_plan_and_writes_nothing(trained, tmp_path):
    before = contents(tmp_path)
    printed = succeeded(SCRIPT, f"--synthetic_dir={trained.out}", "--dry_run", "--unet_steps=9")
    assert contents(tmp_path) == before
    assert re.findall(r"^(\w+):$", printed, re.MULTILINE) == ["data", "evaluation"]
    assert "3 samples" in printed and "'train': 8" in printed and "64 x 64" in printed
    assert re.search(r"unet_steps  9$", printed, re.MULTILINE)


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--benchmarks=fame"], ["'fame'", "segmentation, distribution, fidelity, morphology, copies"]),
        (["--models=svm,oracle"], ["'oracle'", "vgg16, knn, svm, random_forest"]),
        (["--vgg_weights=nowhere.h5"], ["--vgg_weights=nowhere.h5: no such file", "Keras"]),
        (["--inception_weights=nowhere.h5"], ["--inception_weights=nowhere.h5: no such file"]),
        (["--young=38-18"], ["--young=38-18", "18-38"]),
        (["--baseline_dir=nowhere"], ["nowhere", "no such folder"]),
    ],
)
def test_flags_that_name_nothing(original, words, says):
    before = contents(original.out)
    refused(SCRIPT, f"--synthetic_dir={original.out}", *words, says=says)
    assert contents(original.out) == before


def test_what_is_no_data_set(trained, tmp_path):
    (tmp_path / "holidays").mkdir()
    before = contents(tmp_path)
    out = f"--out_dir={tmp_path / 'new'}"
    refused(SCRIPT, f"--synthetic_dir={tmp_path / 'nowhere'}", out, says=["nowhere", "no such folder"])
    holidays = f"--synthetic_dir={tmp_path / 'holidays'}"
    refused(SCRIPT, holidays, out, says=["holidays: does not say which real set", "--data"])
    refused(SCRIPT, holidays, *trained.data, out, says=["holidays: has no images/", "photographs alone"])
    masks = f"--synthetic_dir={trained.out / 'stage1' / 'masks'}"
    refused(SCRIPT, masks, *trained.data, says=["masks", "have no image"])
    assert contents(tmp_path) == before


def test_a_class_that_the_synthetic_set_lacks_is_said_before_anything_is_trained(tmp_path):
    grades = make_classes(tmp_path / "grades")
    words = [f"--data={grades}", f"--data_dir={tmp_path}", f"--out_dir={tmp_path / 'out'}"]
    images = [Sample(f"{index}", np.zeros([64, 64, 1], np.uint8), label="sick") for index in range(2)]
    write_records(tmp_path / "set", "set", images, source="test", class_names=["sick", "ill"])
    refused(SCRIPT, f"--synthetic_dir={tmp_path / 'set'}", *words, says=["class"])
    assert not (tmp_path / "out" / "report").exists()


def test_two_runs_in_one_folder_at_once(trained):
    before = contents(trained.out)
    words = [f"--synthetic_dir={trained.out}"]
    with open(trained.out / "report" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        refused(SCRIPT, *words, says=[trained.out / "report", "another run is working here"])
        refused(SCRIPT, *words, "--overwrite", says="another run is working here")
    assert contents(trained.out) == before


def test_files_of_somebody_else_are_left_alone(trained):
    shutil.rmtree(trained.out / "report")
    (trained.out / "report").mkdir()
    (trained.out / "report" / "thesis.tex").write_text("years of work")
    for overwrite in ([], ["--overwrite"]):
        words = [f"--synthetic_dir={trained.out / 'synthetic'}", *trained.data, *overwrite]
        refused(SCRIPT, *words, says=["report holds files that are not of a run"])
    assert (trained.out / "report" / "thesis.tex").read_text() == "years of work"


def test_what_a_narrower_report_lacks_is_said(tmp_path):
    (tmp_path / "report.json").write_text(json.dumps({"segmentation": {}, "privacy": {}, "real": {}}))
    with pytest.warns(UserWarning, match="report.json: held segmentation too.*--report_dir"):
        evaluate.warn_of_replacing(tmp_path / "report.json", ["privacy"])
