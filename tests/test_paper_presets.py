"""Each preset of the papers trains at full width for a few steps, by the commands, on built-in sets at 64 pixels."""

import json
import shutil

import pytest
from script_runs import samples, succeeded

from synthmed_tf.datasets.phantoms import fundus, xray
from synthmed_tf.papers import vess2ret
from synthmed_tf.records.manifest import read_manifest
from synthmed_tf.records.read import Records
from synthmed_tf.smalldata import checkpoint_choice


@pytest.fixture(scope="module", autouse=True)
def few_images():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fundus, "COUNT", 8)
        patch.setattr(xray, "COUNT", 48)
        patch.setattr(xray, "TRAINING", 24)
        patch.setattr(checkpoint_choice, "LEAST_SAMPLES", 4)
        yield


@pytest.fixture(scope="module")
def masks(tmp_path_factory):
    """The OUT_DIR of two masks by P1's DCGAN, trained for two steps."""
    out = tmp_path_factory.mktemp("masks") / "out"
    words = ["--data=phantom", f"--data_dir={out}", f"--out_dir={out}", "--image_size=64", "--num_samples=2"]
    succeeded("train_stage1", *words, "--preset=paper", "--steps=2", "--batch_size=2")
    return out


def test_dcgan_makes_masks(masks):
    manifest = read_manifest(masks / "stage1" / "masks")
    expected = {"model": "dcgan", "width": 1.0, "latent": 100, "precision": "float32"}
    assert manifest["flags"].items() >= expected.items() and manifest["steps"] == 2
    assert [mask.mask.shape for mask in samples(masks / "stage1" / "masks")] == [(64, 64, 1)] * 2


@pytest.mark.parametrize(("preset", "paper_steps"), [("pix2pix", "80,000"), ("vess2ret", "120,000")])
def test_masks_become_photographs(masks, tmp_path, monkeypatch, preset, paper_steps):
    monkeypatch.setattr(vess2ret, "IN_TURN", 1)
    out = tmp_path / "out"
    shutil.copytree(masks, out)
    said = succeeded("train_stage2", f"--out_dir={out}", f"--preset={preset}", "--steps=2")
    assert f"2 steps; {preset}'s paper took {paper_steps}" in said
    pairs = samples(out / "synthetic")
    assert [pair.image.shape for pair in pairs] == [(64, 64, 3)] * 2
    for pair, mask in zip(pairs, samples(out / "stage1" / "masks"), strict=True):
        assert (pair.mask == mask.mask * pair.field_of_view).all()
    flags = read_manifest(out / "synthetic")["flags"]
    assert flags["precision"] == "float32" and flags["batch_size"] == 1
    logged = json.loads((out / "stage2" / "metrics.jsonl").read_text().splitlines()[-1])
    assert logged["step"] == 2 and logged["l1"] > 0


@pytest.mark.parametrize(
    ("model", "length", "steps"),
    [
        ("dcgan", "--steps=2", 2),
        pytest.param("pggan", "--level_images=2", 5, marks=pytest.mark.slow),  # one step at each of five levels
    ],
)
def test_labelled_images_are_made_at_once(tmp_path, eagerly, model, length, steps):
    words = ["--data=phantom_xray", f"--data_dir={tmp_path}", f"--out_dir={tmp_path / 'out'}", "--image_size=64"]
    words += ["--target=image", "--preset=paper", f"--model={model}", length, "--batch_size=2"]
    succeeded("train_stage1", *words, "--num_samples=2", "--nohash_filter")
    drawn = Records(tmp_path / "out" / "synthetic")
    assert [sample.image.shape for sample in drawn] == [(64, 64, 1)] * 2
    expected = {"latent": 512, "width": 1.0, "conditional": True, "precision": "float32"}
    assert drawn.manifest["steps"] == steps and drawn.manifest["flags"].items() >= expected.items()
