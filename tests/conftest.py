"""What all tests share. Nothing here imports TensorFlow, so collection stays quick."""

import os
import shutil
import sys
import types
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before any test imports TensorFlow

import pytest  # noqa: E402
import script_runs  # noqa: E402

import synthmed_tf  # noqa: E402, F401  before any test imports TensorFlow: it chooses Keras 2


def pytest_collection_modifyitems(items):
    """Files with slow tests come first, so that no process is left alone with them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def real_data():
    """The folder of real data sets: $SYNTHMED_DATA_DIR, or ../shared/data beside the repository."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SYNTHMED_DATA_DIR") or default)
    if not folder.is_dir():
        pytest.skip(f"no real data: looked for the folder {folder} (set SYNTHMED_DATA_DIR to where it is)")
    return folder


@pytest.fixture(autouse=True)
def in_float32():
    """After each test the precision policy is what it was: scripts that run in a test set it for the whole process."""
    yield
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].keras.mixed_precision.set_global_policy("float32")


@pytest.fixture
def eagerly():
    """No graphs: a few steps of tiny networks take less time than tracing them."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


# ---------------------------------------------------------------- the three scripts


@pytest.fixture(scope="module")
def little_work():
    """See script_runs.little_work."""
    with script_runs.little_work():
        yield


@pytest.fixture(scope="session")
def clinic(tmp_path_factory):
    """A folder with a real set of ten eyes in eyes/, two of which are held out; the prepared data go to private/."""
    folder = tmp_path_factory.mktemp("clinic")
    script_runs.make_set(folder / "eyes")
    return folder


@pytest.fixture(scope="session")
def original(clinic, tmp_path_factory):
    """All three scripts, run for two steps; never written to again. Has `out`, and `printed` by each."""
    flags = script_runs.flags_of(clinic, tmp_path_factory.mktemp("original") / "out")
    with script_runs.little_work():
        printed = [
            script_runs.succeeded("train_stage1", *flags.stage1),
            script_runs.succeeded("train_stage2", *flags.stage2),
            script_runs.succeeded("evaluate", f"--synthetic_dir={flags.out}", *script_runs.UNETS),
        ]
    return types.SimpleNamespace(out=flags.out, printed=printed)


@pytest.fixture
def trained(original, clinic, tmp_path):
    """A copy of it: `out`, and `data`, `stage1` and `stage2`, the flags of its commands."""
    shutil.copytree(original.out, tmp_path / "out")
    return script_runs.flags_of(clinic, tmp_path / "out")


@pytest.fixture
def fresh(clinic, tmp_path, monkeypatch):
    """Flags of a stage 1 of five steps that has not run yet; its steps learn nothing, and are saved every second."""
    from synthmed_tf.papers import dcgan as paper_dcgan
    from synthmed_tf.smalldata import dcgan, flow
    from synthmed_tf.training import loop

    monkeypatch.setattr(loop, "SAVE_EVERY", 2)
    for method in (dcgan, paper_dcgan, flow):
        monkeypatch.setattr(method, "make_step", script_runs.unreal_step())
    flags = script_runs.flags_of(clinic, tmp_path / "fresh")
    flags.stage1 = [*flags.stage1[:-2], "--steps=5", "--num_samples=2"]
    return flags
