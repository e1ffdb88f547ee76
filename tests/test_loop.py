import errno
import functools
import json
import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tqdm import tqdm

from synthmed_tf import runs
from synthmed_tf.sample import InputError
from synthmed_tf.training import checkpoints, hardware, log, loop


@pytest.fixture(autouse=True)
def seldom(monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY", 4)
    monkeypatch.setattr(checkpoints, "MEASURE_EVERY", 4)


class Run:
    """A linear model on a folder, built anew as a new process would; `before` is called with every step's number."""

    def __init__(self, folder, before=lambda index: None, units=2, average=True):
        tf.keras.utils.set_random_seed(5)
        self.folder, self.before, self.seen, self.average = folder, before, [], 0.9 if average else None
        self.model, self.averaged = (
            tf.keras.Sequential([tf.keras.Input([3]), tf.keras.layers.Dense(units)]) for _ in range(2)
        )
        self.optimizer = tf.keras.optimizers.Adam(0.1, jit_compile=False)
        self.optimizer.build(self.model.trainable_variables)

    def step(self, number, images):
        self.seen.append(int(number))
        self.before(int(number))
        with tf.GradientTape() as tape:
            noise = tf.random.stateless_normal([4, 1], [7, int(number)])
            loss = tf.reduce_mean((self.model(images) - noise) ** 2)
        variables = self.model.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return {"loss": loss}

    def fit(self, steps, **options):
        def batch(index):
            return (np.random.default_rng(index).normal(size=[4, 3]).astype(np.float32),)

        average = (self.model, self.averaged, self.average) if self.average else None
        state = {"model": self.model, "optimizer": self.optimizer}
        return loop.fit(self.folder, self.step, batch, state, steps, images_per_step=4, average=average, **options)

    def bytes(self):
        values = self.model.variables + self.averaged.variables + self.optimizer.variables
        return [np.asarray(value).tobytes() for value in values]


def send(number, at):
    def before(index):
        if index == at:
            os.kill(os.getpid(), number)

    return before


def kept_checkpoints(folder):
    return sorted(path.name for path in (folder / "checkpoints").glob("*.index"))


def logged(folder):
    return [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


# ---------------------------------------------------------------- going on


def test_interrupted_runs_end_with_the_bits_of_one_that_was_not(tmp_path):
    whole = Run(tmp_path / "whole")
    result = whole.fit(23)
    assert whole.seen == list(range(23)) and result["step"] == 23 and result["checkpoint"].endswith("ckpt-23")
    assert kept_checkpoints(whole.folder) == ["ckpt-20.index", "ckpt-23.index"]
    assert logged(whole.folder) == [10, 20, 23]

    parts = tmp_path / "parts"
    for number, at, status in ((signal.SIGTERM, 5, 143), (signal.SIGINT, 12, 130), (signal.SIGTERM, 13, 143)):
        with pytest.raises(SystemExit) as caught:
            Run(parts, send(number, at)).fit(23)
        assert caught.value.code == status
        assert kept_checkpoints(parts)[-1] == f"ckpt-{at + 1}.index" or f"ckpt-{at + 1}.index" in kept_checkpoints(
            parts
        )
    last = Run(parts)
    last.fit(23)
    assert last.seen == list(range(14, 23))
    assert last.bytes() == whole.bytes()
    assert logged(parts) == [10, 20, 23]
    digests = [checkpoints.checkpoint_sha256(folder / "checkpoints" / "ckpt-23") for folder in (parts, whole.folder)]
    assert digests[0] == digests[1] != checkpoints.checkpoint_sha256(whole.folder / "checkpoints" / "ckpt-20")


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
    assert again.seen == list(range(8, 14)) and logged(tmp_path) == [10, 14]


@pytest.mark.parametrize("damage", [b"\x00\x00\n", b'{"step": 8, "dis', b'{"step": \xff\n'])
def test_a_damaged_line_of_the_log_costs_no_more_than_that_line(tmp_path, damage):
    run = Run(tmp_path)
    run.fit(8, measure=lambda: ({"distance": 1.0}, ""), sampler=run.model)
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(damage)
    assert checkpoints.restore_sampler(tmp_path, run.model)[0] == 8
    Run(tmp_path).fit(10)
    assert logged(tmp_path) == [4, 8, 10]


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
    assert logged(tmp_path) == [4, 6]


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
    assert kept_checkpoints(tmp_path) == []


def test_average_is_a_running_mean_of_the_weights_that_is_shorter_at_first(tmp_path):
    run = Run(tmp_path)
    seen = {}
    run.before = lambda index: seen.setdefault(index, (run.model.get_weights(), run.averaged.get_weights()))
    run.fit(65)
    expected = seen[0][0]
    shares = [1 / 10, 2 / 11, 3 / 12, 4 / 13, 0.9**10, 0.9**10]  # 5 / 14 is more than 0.9^10
    for number, kept in enumerate(shares, start=1):
        for old, same in zip(expected, seen[10 * number - 1][1], strict=True):
            np.testing.assert_allclose(same, old, rtol=1e-5, atol=1e-6)
        new, averaged = seen[10 * number]
        expected = [kept * a + (1 - kept) * b for a, b in zip(expected, new, strict=True)]
        for found, value in zip(averaged, expected, strict=True):
            np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-6)
    assert np.abs(expected[0] - seen[60][0][0]).max() > 1e-3


def test_a_decay_below_the_ramp_is_the_average_from_the_first_update_on(tmp_path):
    run = Run(tmp_path)
    start = run.model.get_weights()
    run.average = 0.5
    run.fit(10)
    kept = 0.5**10
    for averaged, old, new in zip(run.averaged.get_weights(), start, run.model.get_weights(), strict=True):
        np.testing.assert_allclose(averaged, kept * old + (1 - kept) * new, rtol=1e-5, atol=1e-7)


def test_an_average_that_is_as_long_from_the_first_update_on(tmp_path):
    run = Run(tmp_path)
    start = run.model.get_weights()
    run.fit(10, short_at_first=False)
    kept = 0.9**10
    for averaged, old, new in zip(run.averaged.get_weights(), start, run.model.get_weights(), strict=True):
        np.testing.assert_allclose(averaged, kept * old + (1 - kept) * new, rtol=1e-5, atol=1e-7)


def test_the_average_has_the_statistics_of_the_newest_model(tmp_path):
    run = Run(tmp_path)
    for model in (run.model, run.averaged):
        model.add(tf.keras.layers.BatchNormalization(center=False, scale=False))
    run.before = lambda index: run.model.layers[-1].moving_mean.assign([index, -index])
    run.fit(25)
    assert run.averaged.layers[-1].moving_mean.numpy().tolist() == [19, -19]  # of the last update, after 20 steps


def test_pictures_of_samples(tmp_path):
    Run(tmp_path).fit(6, grid=lambda: np.zeros([8, 9, 1], np.uint8))
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == ["0000004.png", "0000006.png"]


def test_the_best_the_last_and_any_kept_weights_can_be_sampled_with(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY", 2)
    monkeypatch.setattr(checkpoints, "MEASURE_EVERY", 2)
    monkeypatch.setattr(checkpoints, "SAMPLERS_KEPT", 2)
    distances = {2: 0.9, 4: 0.3, 6: 0.5, 8: 0.32, 10: 0.7, 12: 0.6, 13: 0.8}
    sampler = tf.keras.Sequential([tf.keras.Input([1]), tf.keras.layers.Dense(1)])
    steps = iter(sorted(distances))

    def measure():
        step = next(steps)
        sampler.layers[0].kernel.assign([[float(step)]])
        return {"distance": distances[step]}, "LOW " if step == 12 else ""

    Run(tmp_path).fit(13, measure=measure, sampler=sampler)
    kept = sorted(int(path.stem.split("-")[1]) for path in (tmp_path / "samplers").glob("*.index"))
    assert kept == [4, 8, 12, 13]  # the least, the latest that is hardly more, and the newest
    for which, step in (("best", 8), ("last", 13), ("12", 12)):
        found, prefix = checkpoints.restore_sampler(tmp_path, sampler, which)
        assert found == step and prefix.endswith(f"ckpt-{step}") and float(sampler.layers[0].kernel[0, 0]) == step
    with pytest.raises(InputError, match="--checkpoint=6: .* of steps 4, 8, 12, 13; give one of those, best or last"):
        checkpoints.restore_sampler(tmp_path, sampler, "6")
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {line["step"]: line["distance"] for line in lines if "distance" in line} == {10: 0.7, 13: 0.8} | {
        step: distances[step] for step in (2, 4, 6, 8, 12)
    }


@pytest.mark.parametrize("first, best, last", [(1.0, 4, 8), (0.95, 4, 8), (0.93, 6, 10)])
def test_weights_that_copy_are_the_best_only_where_all_do_and_then_those_that_do_least(
    tmp_path, monkeypatch, first, best, last
):
    monkeypatch.setattr(loop, "SAVE_EVERY", 2)
    monkeypatch.setattr(checkpoints, "MEASURE_EVERY", 2)
    monkeypatch.setattr(checkpoints, "SAMPLERS_KEPT", 1)
    measured = {2: (0.9, first), 4: (0.5, first), 6: (0.4, 0.94), 8: (0.3, 0.9), 10: (0.6, 0.5)}
    sampler = tf.keras.Sequential([tf.keras.Input([1]), tf.keras.layers.Dense(1)])
    found = iter(sorted(measured))

    def measure():
        return dict(zip(("distance", "originality"), measured[next(found)], strict=True)), ""

    Run(tmp_path).fit(10, measure=measure, sampler=sampler)
    assert checkpoints.restore_sampler(tmp_path, sampler, "best")[0] == best
    assert checkpoints.restore_sampler(tmp_path, sampler, "last")[0] == last


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
    assert asked_for.fit(30, measure=measure, which="last")["step"] == 30


def test_weights_that_are_asked_for_by_their_step_are_kept_or_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "SAMPLERS_KEPT", 1)
    run = Run(tmp_path)
    measure = lambda: ({"distance": 9 - run.seen[-1] / 10}, "")  # noqa: E731
    for which, steps in (("9", 30), ("0", 30), ("32", 30)):
        with pytest.raises(
            InputError, match=f"--checkpoint={which}: weights are kept after each 4 steps and the last one, 30;"
        ):
            run.fit(steps, measure=measure, sampler=run.model, which=which)
    assert not run.seen
    run.fit(30, measure=measure, sampler=run.model, which="8")
    assert checkpoints.restore_sampler(tmp_path, run.model, "8")[0] == 8
    again = Run(tmp_path)
    for which in ("8", "30"):
        again.fit(30, sampler=again.model, which=which)
    with pytest.raises(InputError, match="there are those of 8,.* 30; give one of those"):
        again.fit(40, sampler=again.model, which="12")
    assert not again.seen


def test_a_run_that_went_on_chooses_as_one_that_was_as_long_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY", 2)
    monkeypatch.setattr(checkpoints, "MEASURE_EVERY", 2)
    monkeypatch.setattr(checkpoints, "SAMPLERS_KEPT", 1)
    distances = {2: 0.3, 4: 0.9, 5: 0.1, 6: 0.5, 8: 0.8, 9: 0.4}
    for lengths, best in (([5], 5), ([5, 9], 2), ([9], 2)):
        folder = tmp_path / "-".join(map(str, lengths))
        for steps in lengths:
            run = Run(folder)
            measure = lambda run=run: ({"distance": distances[run.seen[-1] + 1]}, "")  # noqa: E731
            run.fit(steps, measure=measure, sampler=run.model)
        assert checkpoints.restore_sampler(folder, run.model)[0] == best


@pytest.mark.parametrize("masks, best", [({"masks": 1}, 8), ({"masks": 2}, 4), ({}, 4)])  # old lines do not say
def test_distances_to_other_masks_do_not_count(tmp_path, masks, best):
    for steps, measured in ((4, {"distance": 0.3, **masks}), (8, {"distance": 0.9, "masks": 2})):
        run = Run(tmp_path)
        run.fit(steps, measure=lambda measured=measured: (measured, ""), sampler=run.model)
    assert checkpoints.restore_sampler(tmp_path, run.model)[0] == best
    assert checkpoints.restore_sampler(tmp_path, run.model, "4")[0] == 4


def test_a_run_that_kept_no_weights_to_sample_with_says_so(tmp_path):
    run = Run(tmp_path)
    run.fit(4)
    for which in ("best", "last", "4"):
        with pytest.raises(InputError, match="no weights to make samples with were kept; --overwrite"):
            checkpoints.restore_sampler(tmp_path, run.model, which)


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


def test_weights_to_make_samples_with_are_kept_where_a_distance_was_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "MEASURE_EVERY", 1)
    run, found = Run(tmp_path), iter([{}, {"diversity": 1.0}, {"distance": 0.5}, {}])
    run.fit(4, measure=lambda: (next(found), ""), sampler=run.model)
    assert [path.name for path in (tmp_path / "samplers").glob("*.index")] == ["ckpt-3.index"]
    assert checkpoints.restore_sampler(tmp_path, run.model, "last")[0] == 3


def test_picture_grid_by_hand():
    images = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1) * np.ones([5, 3, 2, 3], np.uint8)
    sheet = log.picture_grid(images, columns=3)
    assert sheet.shape == (2 * 3 + 2, 3 * 2 + 2 * 2, 3)
    for index, (top, left) in enumerate([(0, 0), (0, 4), (0, 8), (5, 0), (5, 4)]):
        assert (sheet[top : top + 3, left : left + 2] == index).all()
    assert (sheet[3:5] == 128).all() and (sheet[:, 2:4] == 128).all() and (sheet[5:, 8:] == 128).all()


# ---------------------------------------------------------------- what goes wrong


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
    assert kept_checkpoints(tmp_path) == ["ckpt-4.index"]
    again = Run(tmp_path)
    again.fit(5)
    assert again.seen == [4] and all(np.isfinite(weight).all() for weight in again.model.get_weights())


def test_checkpoint_of_another_model(tmp_path):
    Run(tmp_path).fit(4)
    with pytest.raises(InputError, match="ckpt-4: not a checkpoint of this model, or damaged .*--overwrite"):
        Run(tmp_path, units=3).fit(6)
    with pytest.raises(InputError, match="ckpt-4: not a checkpoint of this model, or damaged"):
        Run(tmp_path, average=False).fit(6)
    last = Run(tmp_path)
    last.fit(6)
    assert last.seen == [4, 5]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "index", "missing"])
def test_damaged_checkpoint_is_said_and_never_silently_begun_again(tmp_path, damage):
    Run(tmp_path).fit(8)
    folder = tmp_path / "checkpoints"
    data, index = folder / "ckpt-8.data-00000-of-00001", folder / "ckpt-8.index"
    if damage == "truncated":
        data.write_bytes(data.read_bytes()[:-40])
    elif damage == "flipped":
        data.write_bytes(bytes(byte ^ 0xFF for byte in data.read_bytes()))
    elif damage == "index":
        index.write_bytes(b"not an index")
    else:
        data.unlink()
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    run = Run(tmp_path)
    with pytest.raises(InputError) as caught:
        run.fit(12)
    message = str(caught.value)
    assert (
        str(folder / "ckpt-8") in message and "damaged" in message and "--overwrite" in message and "\n" not in message
    )
    assert run.seen == []
    assert {path: path.read_bytes() for path in folder.iterdir()} == kept


@pytest.mark.parametrize("content", [None, b"", b"\x00garbage"])
def test_a_run_whose_list_of_checkpoints_is_lost_goes_on_from_the_newest(tmp_path, content):
    Run(tmp_path).fit(12)
    listed = tmp_path / "checkpoints" / "checkpoint"
    listed.unlink() if content is None else listed.write_bytes(content)
    again = Run(tmp_path)
    assert again.fit(12)["checkpoint"].endswith("ckpt-12") and again.seen == []
    again = Run(tmp_path)
    again.fit(16)
    assert again.seen == [12, 13, 14, 15] and "ckpt-16.index" in kept_checkpoints(tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "index", "missing", "other model"])
def test_damaged_weights_to_sample_with_are_said(tmp_path, damage):
    run = Run(tmp_path)
    run.fit(4, measure=lambda: ({"distance": 1.0}, ""), sampler=run.model)
    data, index = (tmp_path / "samplers" / f"ckpt-4.{end}" for end in ("data-00000-of-00001", "index"))
    if damage == "truncated":
        data.write_bytes(data.read_bytes()[:-8])
    elif damage == "index":
        index.write_bytes(b"not an index")
    elif damage == "missing":
        data.unlink()
    other = Run(tmp_path, units=3 if damage == "other model" else 2)
    with pytest.raises(
        InputError, match=r"samplers/ckpt-4: not a .* or damaged \(.*--checkpoint, or --overwrite"
    ) as caught:
        checkpoints.restore_sampler(tmp_path, other.model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("what", ["checkpoints", "samplers"])
def test_full_disk_while_saving_is_one_line_and_the_last_checkpoint_stays(tmp_path, monkeypatch, what):
    run = Run(tmp_path)
    run.fit(4, measure=lambda: ({"distance": 1.0}, ""), sampler=run.model)
    monkeypatch.setattr(loop, "tqdm", lambda **options: tqdm(**options, disable=True))  # its output is a file here
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = sorted((tmp_path / what).iterdir())
    run = Run(tmp_path)
    run.before = lambda index: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1])) if index == 7 else None
    options = {"measure": lambda: ({"distance": 1.0}, ""), "sampler": tf.keras.Sequential([tf.keras.layers.Dense(300)])}
    options["sampler"].build([None, 3])
    try:
        with pytest.raises(InputError) as caught:
            run.fit(12, **(options if what == "samplers" else {}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    message = str(caught.value)
    assert str(tmp_path / what) in message and "File too large" in message and "step 4 is kept" in message
    assert "\n" not in message and sorted((tmp_path / what).iterdir()) == before
    again = Run(tmp_path)
    again.fit(5)
    assert again.seen == [4]


# ---------------------------------------------------------------- the folder


SETTINGS = {
    "seed": 1,
    "steps": 5,
    "data": "drive",
    "image_size": (64, 64),
    "out_dir": "a",
    "num_samples": 3,
    "given": {"seed"},
}


def claimed(folder, overwrite=False, **changes):
    with runs.claim(folder, SETTINGS | changes, overwrite):
        return json.loads((folder / "flags.json").read_text())


def test_claim_keeps_the_settings_and_lets_length_and_places_change(tmp_path):
    folder = tmp_path / "a" / "b"
    kept = {key: value for key, value in SETTINGS.items() if key != "given"} | {"image_size": [64, 64]}
    assert claimed(folder) == kept
    assert claimed(folder, dry_run=False, given={"steps"}) == kept
    assert claimed(folder, steps=9, epochs=2, num_samples=8, out_dir="b", data_dir="c")["steps"] == 9


def test_changed_settings_are_named_and_change_nothing(tmp_path):
    before = claimed(tmp_path)
    with pytest.raises(InputError) as caught:
        claimed(tmp_path, seed=2, image_size=(64, 80), steps=9, extra=True)
    message = str(caught.value)
    assert "seed was 1 and is now 2" in message and "image_size was [64, 64] and is now [64, 80]" in message
    assert "extra was None and is now True" in message and "--overwrite" in message
    assert "steps" not in message and "\n" not in message
    assert json.loads((tmp_path / "flags.json").read_text()) == before


def test_overwrite_clears_the_folder(tmp_path):
    claimed(tmp_path / "run")
    (tmp_path / "run" / "checkpoints").mkdir()
    (tmp_path / "run" / "checkpoints" / "ckpt-1.index").write_text("")
    (tmp_path / "run" / "metrics.jsonl").write_text("")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run" / "samplers").symlink_to(tmp_path / "elsewhere")
    assert claimed(tmp_path / "run", overwrite=True, seed=2)["seed"] == 2
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [".lock", "flags.json"]
    assert (tmp_path / "elsewhere").is_dir()


def test_an_overwrite_that_was_stopped_can_be_done_again(tmp_path, monkeypatch):
    claimed(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("")
    entries, unlink = sorted(tmp_path.iterdir()), Path.unlink

    def killed(path):
        if path.name == "metrics.jsonl":
            raise KeyboardInterrupt
        unlink(path)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "iterdir", lambda _: iter(entries))
        patch.setattr(Path, "unlink", killed)
        claimed(tmp_path, overwrite=True)
    assert claimed(tmp_path, overwrite=True, seed=2)["seed"] == 2


def test_a_claim_that_was_stopped_or_found_the_disk_full_can_be_made_again(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(InputError, match="flags.json: could not be written .No space left on device"):
            claimed(tmp_path)
    (tmp_path / "flags.json.4711.tmp").write_text("{")  # as a kill leaves it
    claimed(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "flags.json"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_somebody_elses_is_left_alone(tmp_path, overwrite):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="holds files that are not of a run of this program"):
        claimed(tmp_path, overwrite)
    assert (tmp_path / "thesis.tex").read_text() == "years of work" and not (tmp_path / "flags.json").exists()


@pytest.mark.parametrize("content", ['{"seed": 1', "", "\x00"])
def test_unreadable_settings(tmp_path, content):
    claimed(tmp_path)
    (tmp_path / "flags.json").write_text(content)
    with pytest.raises(InputError, match="flags.json: not readable.*--overwrite"):
        claimed(tmp_path)
    assert claimed(tmp_path, overwrite=True)["seed"] == 1


@pytest.mark.parametrize("name", ["run[1]", "run\\1"])
def test_a_folder_that_no_checkpoint_could_be_read_from_is_refused_before_anything_is_written(tmp_path, name):
    with pytest.raises(InputError, match=r"\[ or .* in its name"), runs.claim(tmp_path / name / "stage1", SETTINGS):
        pass
    assert not list(tmp_path.iterdir())


def test_one_run_at_a_time_in_a_folder(tmp_path):
    with runs.claim(tmp_path, SETTINGS):
        for overwrite in (False, True):
            with pytest.raises(InputError, match="another run is working here"):
                claimed(tmp_path, overwrite)
    with pytest.raises(RuntimeError), runs.claim(tmp_path, SETTINGS):
        raise RuntimeError("ended badly")
    claimed(tmp_path)


# ---------------------------------------------------------------- setting up


def test_precision_auto_follows_the_hardware(monkeypatch):
    for capable in (True, False):
        monkeypatch.setattr(hardware, "_computes_bfloat16", lambda capable=capable: capable)
        assert hardware.set_up("auto")[1] == ("mixed_bfloat16" if capable else "float32")
    assert tf.keras.mixed_precision.global_policy().name == "float32"


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="there is a GPU here")
def test_mirrored_without_a_gpu():
    with pytest.raises(InputError, match="--strategy=mirrored"):
        hardware.set_up(strategy="mirrored")
