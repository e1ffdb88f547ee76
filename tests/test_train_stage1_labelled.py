"""train_stage1.py on labelled images: class-conditional, and one model a class."""

import contextlib
import gc
import io
import types
import weakref

import numpy as np
import pytest
import script_runs
from PIL import Image

from synthmed_tf import settings
from synthmed_tf.datasets import prepare
from synthmed_tf.papers import pggan
from synthmed_tf.publishing import stage_output
from synthmed_tf.records.read import Records
from synthmed_tf.records.write import write_records
from synthmed_tf.sample import InputError, Sample
from synthmed_tf.smalldata import checkpoint_choice
from synthmed_tf.training import average

RNG = np.random.default_rng(0)
NAMES = sorted(["female 18-38", "male 18-38", "../evil: name"])
COUNTS = dict(zip(NAMES, (2, 6, 4), strict=True))
SCRIPT = script_runs.load("train_stage1")


def parse(*words):
    return settings.parse("", SCRIPT.FLAGS, ["train_stage1.py", *words])


# ---------------------------------------------------------------- flags


@pytest.mark.parametrize(("words", "expected"), [
    (["--target=image"], True), (["--target=image", "--conditional"], True),
    (["--target=image", "--noconditional"], False), ([], None),
])  # fmt: skip
def test_labelled_images_are_class_conditional_unless_told_otherwise(words, expected):
    flags = parse(*words)
    assert SCRIPT.decide_conditional(flags, types.SimpleNamespace(class_names=NAMES)) == (expected is not None)
    assert flags.conditional is expected


def test_without_labels_nothing_is_class_conditional():
    unlabelled = types.SimpleNamespace(class_names=None)
    for words in ([], ["--noconditional"]):
        flags = parse("--target=image", *words)
        assert not SCRIPT.decide_conditional(flags, unlabelled) and flags.conditional is None
    with pytest.raises(InputError, match="--conditional: .*no labels"):
        SCRIPT.decide_conditional(parse("--target=image", "--conditional"), unlabelled)
    with pytest.raises(InputError, match="--conditional: .*--target=image"):
        SCRIPT.decide_conditional(parse("--conditional"), types.SimpleNamespace(class_names=NAMES))


# ---------------------------------------------------------------- the command


@pytest.fixture
def command(tmp_path, monkeypatch, eagerly):
    """Runs the script on a labelled set of 16 x 16 pixels, with a PGGAN of three levels; returns what it printed."""
    monkeypatch.setattr(checkpoint_choice, "LEAST_SAMPLES", 12)
    images = {name: RNG.integers(0, 40, [count, 16, 16, 1]) + 80 * i for i, (name, count) in enumerate(COUNTS.items())}
    samples = [
        Sample(f"{name}{i}", np.uint16(257 * image), label=name, group=f"SECRET{name}{i}")
        for name, images in images.items()
        for i, image in enumerate(images)
    ]
    facts = {"fields_of_view": "none", "test_split": "none", "holdout": 0}
    write_records(tmp_path / "prepared", "chests", samples, source="x", class_names=NAMES, extra=facts)
    monkeypatch.setattr(prepare, "prepare_training_split", lambda *_, **__: Records(tmp_path / "prepared"))
    sizes = "--width=0.015625", "--latent=4", "--level_images=4", "--batch_size=4", "--steps=3"

    def run(*words):
        flags = parse("--data=phantom_xray", "--target=image", "--model=pggan", f"--out_dir={run.out}", *sizes, *words)
        flags.image_size = 16, 16
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            SCRIPT.main(flags)
        return out.getvalue()

    run.out = tmp_path / "out"
    return run


def test_a_labelled_set_of_the_same_size_and_classes(command):
    said = command()
    assert "12 images in" in said and "rejected by their average hash" in said
    drawn = Records(command.out / "synthetic")
    assert drawn.class_names == NAMES and drawn.manifest["class_counts"]["train"] == COUNTS
    assert drawn[0].image.dtype == np.uint16 and drawn[0].group is None
    assert drawn.manifest["flags"]["conditional"] is True
    assert drawn.manifest["steps"] == drawn.manifest["sampled_step"] == 3
    picture = np.asarray(Image.open(command.out / "synthetic" / "png" / "images" / f"{drawn[3].id}.png"))
    assert picture.dtype == np.uint16 and (picture == drawn[3].image[..., 0]).all()
    assert Image.open(command.out / "stage1" / "growth.png").size == (8 * 18 - 2, 3 * 18 - 2)
    assert not any(b"SECRET" in content for content in script_runs.contents(command.out / "synthetic").values())

    assert "already done: 12" in command()
    command("--num_samples=20")
    more = Records(command.out / "synthetic")
    assert len(more) == 20 and all((one.image == two.image).all() for one, two in zip(drawn, more))
    with pytest.raises(InputError, match="conditional was True and is now False"):
        command("--noconditional")


def test_one_model_a_class_each_in_its_folder(command, monkeypatch):
    judges, build, write_images = [], pggan.build, stage_output.write_images

    def build_and_watch(*arguments):
        networks = build(*arguments)
        judges.append(weakref.ref(networks[1]))
        return networks

    def check_and_write(*arguments):
        gc.collect()
        assert len(judges) == 3 and not any(judge() for judge in judges)  # out of memory, unlike the generators
        return write_images(*arguments)

    monkeypatch.setattr(pggan, "build", build_and_watch)
    monkeypatch.setattr(stage_output, "write_images", check_and_write)
    monkeypatch.setattr(average, "AVERAGE_EVERY", 1)  # else all classes would have the weights that all begin with
    said = command("--noconditional")
    folders = sorted(path.name for path in (command.out / "stage1").iterdir() if path.is_dir())
    assert folders == ["1_evil_name", "2_female_18-38", "3_male_18-38"]
    assert "class 2 of 3: female 18-38: 6 images" in said
    drawn = Records(command.out / "synthetic")
    assert drawn.manifest["class_counts"]["train"] == COUNTS and drawn.manifest["steps"] == dict.fromkeys(NAMES, 3)
    digests = drawn.manifest["checkpoint_sha256"]
    assert digests.keys() == set(NAMES) and len(set(digests.values())) == 3
    monkeypatch.setattr(stage_output, "write_images", write_images)
    assert "already done: 12" in command("--noconditional")
