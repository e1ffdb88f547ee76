"""A run killed by SIGKILL and resumed ends with the same bytes as one that was not: checkpoints and records alike."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

STEPS = 14
METHODS = ("dcgan", "flow", "pggan", "painter", "pix2pix", "segmenter")
KILLS = int(os.environ.get("SYNTHMED_KILLS", "1"))  # at as many random steps is each training killed


def work(folder, kill_at, *methods):
    worker = Path(__file__).with_name("train_worker.py")
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, worker, folder, str(STEPS), str(kill_at), *methods], capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    result = work(folder, -1, *METHODS)
    assert result.returncode == 0, result.stderr[-2000:]
    return folder


@pytest.mark.slow
def test_killed_and_resumed_runs_end_with_the_same_bytes(uninterrupted, tmp_path):
    for repeat in range(KILLS):
        folder = tmp_path / str(repeat)
        for method in METHODS:
            kill_at = random.SystemRandom().randrange(1, STEPS)
            result = work(folder, kill_at, method)
            assert result.returncode == -signal.SIGKILL, result.stderr[-2000:]
            assert not (folder / f"{method}.npz").exists()
            print(f"repeat {repeat}: {method} killed at step {kill_at}")
        result = work(folder, -1, *METHODS)
        assert result.returncode == 0, result.stderr[-2000:]
        for method in METHODS:
            expected, resumed = np.load(uninterrupted / f"{method}.npz"), np.load(folder / f"{method}.npz")
            assert expected.files == resumed.files and len(expected.files) > 10
            assert all(expected[name].tobytes() == resumed[name].tobytes() for name in expected.files), method
            shards = sorted((uninterrupted / f"{method}_made").glob("*.tfrecord-*"))
            assert shards or method == "segmenter"
            for shard in shards:
                assert shard.read_bytes() == (folder / f"{method}_made" / shard.name).read_bytes(), method
