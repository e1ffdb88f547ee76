"""The three scripts run within a test's own process, as starting TensorFlow takes longer than all they do there."""

import contextlib
import importlib.util
import io
import re
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
STEM = "SECRETpatient"  # in the file names of the real images
STAGE1 = "--image_size=64", "--width=0.1", "--batch_size=2", "--steps=2", "--num_samples=3"
STAGE2 = "--batch_size=1", "--steps=2"
UNETS = "--unet_steps=2", "--unet_levels=2", "--unet_width=4", "--repeats=1"


def load(name):
    """The module of a script."""
    spec = importlib.util.spec_from_file_location(f"script_{name}", ROOT / f"{name}.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def call(name, *words):
    """Runs a script; returns (exit status, stdout, stderr). A traceback is an exception here."""
    from synthmed_tf import settings

    script = load(name)
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", [f"{name}.py", *map(str, words)])
        patch.setattr(warnings, "formatwarning", warnings.formatwarning)  # which run replaces
        try:
            settings.run(name, script.__doc__, script.FLAGS, script.main)
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


def samples(folder):
    """The Samples of a folder of records."""
    from synthmed_tf.records.read import Records

    return list(Records(folder))


@contextlib.contextmanager
def little_work():
    """Networks without graphs, since few steps take less time than tracing them; few samples to measure."""
    import tensorflow as tf

    from synthmed_tf.networks import flow as flow_network
    from synthmed_tf.smalldata import checkpoint_choice, dcgan, decoder, flow, threshold

    small = (
        (flow_network, "CHANNELS", (8, 8)),
        (flow, "STEPS", 4),
        (decoder, "BATCHES", 3),
        (dcgan, "SETTLING_BATCHES", 2),
        (checkpoint_choice, "LEAST_SAMPLES", 8),
        (checkpoint_choice, "PAINTED", 4),
        (threshold, "DRAWN", 8),
    )
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in small:
            assert hasattr(module, name)
            patch.setattr(module, name, value)
        tf.config.run_functions_eagerly(True)
        yield
        tf.config.run_functions_eagerly(False)


def unreal_step(at=None, do=None):
    """Stands for a make_step: a step that learns nothing, and does `do()` at step `at`."""
    import tensorflow as tf

    def make_step(*_):
        def step(number, *_):
            loss = do() if number == at else None
            return {"loss": tf.constant(0.5 if loss is None else loss)}

        return step

    return make_step


# ---------------------------------------------------------------- real sets


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
    """A folder with images/, masks/ and fov/."""
    for index in range(count):
        for kind, pixels in zip(("images", "masks", "fov"), eye(index), strict=True):
            save(folder / kind / f"{STEM}_{index}.png", pixels)
    return folder


def make_classes(folder, count=6):
    """A folder with a sub-folder of grey images for each of two classes."""
    for label in ("sick", "well"):
        for index in range(count):
            save(folder / label / f"{label}{index}.png", eye(index + 50 * (label == "sick"))[0][..., 1])
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


GRADES = "file,grade\n" + "".join(f"{index}.png,{index % 2}\n" for index in range(10))


def make_photographs(folder, table=GRADES):
    """A folder with ten photographs without masks in images/, and a table of labels."""
    for index in range(10):
        save(folder / "images" / f"{index}.png", eye(index)[0])
    (folder / "labels.csv").write_text(table)
    return folder


def flags_of(clinic, out):
    """The flags of the commands on the folder `clinic`/eyes, see conftest.py."""
    data = [f"--data={clinic / 'eyes'}", f"--data_dir={clinic / 'private'}", f"--out_dir={out}"]
    return types.SimpleNamespace(out=out, data=data, stage1=[*data, *STAGE1], stage2=[*data, *STAGE2])
