"""A run killed by SIGKILL and resumed ends with the same bytes as one that was not,
weights and generated records alike.
"""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

STEPS = 14
TRAININGS = ("stage1", "flow", "pggan", "stage2", "pix2pix", "unet")
KILLS = int(os.environ.get("SYNTHMED_KILLS", "1"))  # at as many random steps is each training killed


def work(folder, kill_at, *trainings):
    worker = Path(__file__).with_name("train_worker.py")
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, worker, folder, str(STEPS), str(kill_at), *trainings], capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    result = work(folder, -1, *TRAININGS)
    assert result.returncode == 0, result.stderr[-2000:]
    return folder


@pytest.mark.slow
def test_killed_and_resumed_runs_end_with_the_same_bytes(uninterrupted, tmp_path):
    for repeat in range(KILLS):
        folder = tmp_path / str(repeat)
        for training in TRAININGS:
            kill_at = random.SystemRandom().randrange(1, STEPS)
            result = work(folder, kill_at, training)
            assert result.returncode == -signal.SIGKILL, result.stderr[-2000:]
            assert not (folder / f"{training}.npz").exists()
            print(f"repeat {repeat}: {training} killed at step {kill_at}")
        result = work(folder, -1, *TRAININGS)
        assert result.returncode == 0, result.stderr[-2000:]
        for training in TRAININGS:
            expected, found = np.load(uninterrupted / f"{training}.npz"), np.load(folder / f"{training}.npz")
            assert expected.files == found.files
            assert all(expected[name].tobytes() == found[name].tobytes() for name in expected.files), training
        for made in ("stage1_masks", "flow_masks", "pggan_images", "stage2_pairs", "pix2pix_pairs"):
            shards = sorted((uninterrupted / made).glob("*.tfrecord-*"))
            assert shards and all(shard.read_bytes() == (folder / made / shard.name).read_bytes() for shard in shards)
