"""metrics.jsonl survives damage and a full disk; TensorBoard's curves; pictures of samples."""

import errno
import os

import numpy as np
import pytest
import tensorflow as tf
from linear_run import Run, list_steps, restore

from synthmed_tf.sample import InputError
from synthmed_tf.training import checkpoints, log, loop


@pytest.fixture(autouse=True)
def seldom(monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY", 4)
    monkeypatch.setattr(checkpoints, "MEASURE_EVERY", 4)


@pytest.mark.parametrize("damage", [b"\x00\x00\n", b'{"step": 8, "dis', b'{"step": \xff\n'])
def test_a_damaged_line_of_the_log_costs_no_more_than_that_line(tmp_path, damage):
    run = Run(tmp_path)
    run.fit(8, measure=lambda: ({"distance": 1.0}, ""), sampler=run.model)
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(damage)
    assert restore(tmp_path, run.model)[0] == 8
    Run(tmp_path).fit(10)
    assert list_steps(tmp_path) == [4, 8, 10]


def test_a_log_is_cut_back_whole_or_not_at_all(tmp_path, monkeypatch):
    Run(tmp_path).fit(4)
    log = tmp_path / "metrics.jsonl"
    before = log.stat()
    Run(tmp_path).fit(4)
    assert (log.stat().st_ino, log.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)  # nothing had to go
    with open(log, "a") as file:
        file.write('{"step": 5, "loss": 1.0}\n')
    content = log.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(InputError, match="metrics.jsonl: could not be written .No space left on device"):
            Run(tmp_path).fit(6)
    assert log.read_bytes() == content and not list(tmp_path.glob("*.tmp"))
    Run(tmp_path).fit(6)
    assert list_steps(tmp_path) == [4, 6]


def test_pictures_of_samples(tmp_path):
    Run(tmp_path).fit(6, measure=lambda: ({}, ""))
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == ["0000004.png", "0000006.png"]


def test_a_grid_of_pictures_by_hand():
    images = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1) * np.ones([5, 3, 2, 3], np.uint8)
    sheet = log.draw_grid(images, columns=3)
    assert sheet.shape == (2 * 3 + 2, 3 * 2 + 2 * 2, 3)
    for index, (top, left) in enumerate([(0, 0), (0, 4), (0, 8), (5, 0), (5, 4)]):
        assert (sheet[top : top + 3, left : left + 2] == index).all()
    assert (sheet[3:5] == 128).all() and (sheet[:, 2:4] == 128).all() and (sheet[5:, 8:] == 128).all()


def test_a_checksum_is_logged_and_no_curve(tmp_path):
    run = Run(tmp_path)
    run.fit(4, measure=lambda: ({"distance": 0.5, "masks": 2**31}, ""), sampler=run.model)
    assert log.read_metrics(tmp_path)[-1]["masks"] == 2**31
    (events,) = (tmp_path / "events").iterdir()
    tags = {value.tag for event in tf.compat.v1.train.summary_iterator(str(events)) for value in event.summary.value}
    assert tags == {"loss", "distance", "samples"}
