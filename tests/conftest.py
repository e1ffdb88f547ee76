"""What all tests share. Nothing here imports TensorFlow, so collection stays quick."""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before any test imports TensorFlow

import pytest  # noqa: E402


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
    """After each test the precision policy is what it was: scripts that run within a test set it for the whole process."""
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
