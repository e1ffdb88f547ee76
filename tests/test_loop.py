"""A run that is killed, stopped or goes on ends as one that was not; what ends a run otherwise."""

import functools
import os
import signal

import numpy as np
import pytest
import tensorflow as tf
from linear_run import Run, list_checkpoints, list_steps

from synthmed_tf.sample import InputError
from synthmed_tf.training import checkpoints, loop


@pytest.fixture(autouse=True)
def seldom(monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY", 4)
    monkeypatch.setattr(checkpoints, "MEASURE_EVERY", 4)


def send(number, at):
    def before(index):
        if index == at:
            os.kill(os.getpid(), number)

    return before


def test_interrupted_runs_end_with_the_bits_of_one_that_was_not(tmp_path):
    whole = Run(tmp_path / "whole")
    result = whole.fit(23)
    assert whole.seen == list(range(23)) and result["step"] == 23 and result["checkpoint"].endswith("ckpt-23")
    assert list_checkpoints(whole.folder) == ["ckpt-20.index", "ckpt-23.index"]
    assert list_steps(whole.folder) == [10, 20, 23]

    parts = tmp_path / "parts"
    for number, at, status in ((signal.SIGTERM, 5, 143), (signal.SIGINT, 12, 130), (signal.SIGTERM, 13, 143)):
        with pytest.raises(SystemExit) as caught:
            Run(parts, send(number, at)).fit(23)
        assert caught.value.code == status
        assert list_checkpoints(parts)[-1] == f"ckpt-{at + 1}.index" or f"ckpt-{at + 1}.index" in list_checkpoints(
            parts
        )
    last = Run(parts)
    last.fit(23)
    assert last.seen == list(range(14, 23))
    assert last.bytes() == whole.bytes()
    assert list_steps(parts) == [10, 20, 23]
    digests = [checkpoints.hash_checkpoint(folder / "checkpoints" / "ckpt-23") for folder in (parts, whole.folder)]
    assert digests[0] == digests[1] != checkpoints.hash_checkpoint(whole.folder / "checkpoints" / "ckpt-20")


def test_a_killed_run_goes_on_from_its_newest_checkpoint_and_cuts_the_log_back(tmp_path):
    def die(index):
        if index == 10:
            raise RuntimeError("as if the power had failed")

    with pytest.raises(RuntimeError):
        Run(tmp_path, die).fit(14)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 10, "loss": 1.0}\n{"step": 12, "lo')  # as a flush that was cut off leaves it
    again = Run(tmp_path)
    again.fit(14)
    assert again.seen == list(range(8, 14)) and list_steps(tmp_path) == [10, 14]


def test_a_finished_run_does_nothing_and_a_longer_one_goes_on(tmp_path):
    first = Run(tmp_path)
    first.fit(6)
    again = Run(tmp_path)
    result = again.fit(6)
    assert again.seen == [] and result["step"] == 6 and result["checkpoint"].endswith("ckpt-6")
    assert again.bytes() == first.bytes()
    longer = Run(tmp_path)
    assert longer.fit(9)["step"] == 9 and longer.seen == [6, 7, 8]
    assert Run(tmp_path).fit(2)["step"] == 9  # fewer steps than are done: nothing is undone


def test_signals_are_as_before_after_a_run_and_a_second_ctrl_c_stops_at_once(tmp_path):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    run = Run(tmp_path)

    def twice(index):
        if index == 1:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    run.before = twice
    with pytest.raises(KeyboardInterrupt):
        run.fit(5)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert list_checkpoints(tmp_path) == []


def test_a_training_ends_where_samples_that_were_original_copy_twice_running(tmp_path, capsys):
    originality = {4: 1.0, 7: 0.9, 8: 0.94, 12: 0.95, 16: 0.94, 20: 0.9, 24: 1.0}  # of step 7 only if 7 are the last
    runs = {}
    for lengths in ([30], [7, 30, 40]):
        for steps in lengths:
            run = runs[len(lengths)] = Run(tmp_path / str(len(lengths)))
            measure = lambda run=run: ({"originality": originality[run.seen[-1] + 1]}, "")  # noqa: E731
            result = run.fit(steps, measure=measure, name="stage 1")
            assert result["step"] == min(steps, 20) and result["checkpoint"].endswith(f"ckpt-{result['step']}")
            ended = "stage 1 ends at step 20: samples come too near" in (said := capsys.readouterr().err)
            assert ended == (steps > 20) and ("0.94, 0.90" in said) == ended
    assert not run.seen and runs[1].bytes() == runs[3].bytes()
    originality |= {step: 0.5 for step in range(28, 32)}
    asked_for = Run(tmp_path / "1")
    measure = lambda: ({"originality": originality[asked_for.seen[-1] + 1]}, "")  # noqa: E731
    assert asked_for.fit(30, measure=measure, choice="last")["step"] == 30


def test_of_a_list_of_steps_each_is_taken_from_its_first_number_on(tmp_path):
    for first_numbers, stops, expected in (
        ([0, 3, 4], [2, 6], [0, 0, 0, 1, 2, 2]),  # goes on with the right one
        ([0, 0], [2], [1, 1]),
    ):
        taken = []

        def step(level, number, images):
            taken.append((int(number), level))
            return {"loss": tf.constant(0.0)}

        for stop in stops:
            run = Run(tmp_path / str(len(expected)))
            run.step = [(first, functools.partial(step, level)) for level, first in enumerate(first_numbers)]
            run.fit(stop)
        assert taken == list(enumerate(expected))


def test_before_each_step_a_function_is_called_with_its_number(tmp_path):
    run, called = Run(tmp_path), []
    run.before = lambda index: called.append(("step", index))
    run.fit(2, before=lambda index: called.append(("before", index)))
    run.fit(3, before=lambda index: called.append(("before", index)))
    assert called == [(what, index) for index in range(3) for what in ("before", "step")]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint_before_it(tmp_path, bad):
    run = Run(tmp_path)
    good = run.step
    run.step = lambda number, images: {**good(number, images), "other": tf.constant(bad if number == 6 else 0.0)}
    with pytest.raises(InputError) as caught:
        run.fit(9)
    message = str(caught.value)
    assert (
        str(tmp_path) in message
        and "step 7" in message
        and "checkpoint of step 4 kept" in message
        and "\n" not in message
    )
    assert "other" in message and "--seed" in message
    assert list_checkpoints(tmp_path) == ["ckpt-4.index"]
    again = Run(tmp_path)
    again.fit(5)
    assert again.seen == [4] and all(np.isfinite(weight).all() for weight in again.model.get_weights())
