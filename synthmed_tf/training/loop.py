"""The one training loop: restore, step, measure, log, save, stop. What a step computes is each method's own affair."""

import contextlib
import json
import math
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import tensorflow as tf

from synthmed_tf.progress import show_progress
from synthmed_tf.records.atomic import write_json
from synthmed_tf.sample import InputError
from synthmed_tf.training import checkpoints
from synthmed_tf.training.log import Log, describe_losses, describe_speed

SAVE_EVERY = 250  # steps between checkpoints
COPYING = 2  # measurements running whose samples copy the training set end a training


def fit(folder, step, batch, state, steps, *, name="", average=None, sampling=None, before=None, strategy=None):
    """Trains until `steps` steps are done, from wherever the newest checkpoint in the folder stands.

    Killed at any moment and called again, it ends with the same bits: `step` and `batch` are functions of the step
    number alone, and everything else that changes is in the checkpoint. Where sampling.choice is "best", it ends sooner
    if samples that were original copy the training set, as they would copy it more and more.

    Args:
      folder: pathlib.Path; gets checkpoints/, samplers/, samples/, events/ and metrics.jsonl.
      step: tf.function (step number [] int64, *batch) -> dict of scalar float32 losses. Or a list of (number of its
        first step, such a function), since a strategy runs none that chooses one.
      batch: function step number -> tuple of arrays, called in a background thread one step ahead.
      state: dict name -> built model, optimiser or variable; what a checkpoint holds.
      steps: total number of steps, not steps from here.
      name: shown in the progress line.
      average: average.RunningAverage, whose second model becomes part of the state; or None.
      sampling: checkpoints.Sampling; None: nobody looks at samples.
      before: function step number -> None, called before each step and outside of the strategy.
      strategy: tf.distribute strategy; the batch is split over its replicas.

    Returns:
      {"step": steps done, "seconds": of training in all calls, "checkpoint": path of the newest checkpoint}.

    Raises:
      InputError: losses or weights are not finite, or the checkpoint is of another model; as checkpoints.check_choice.
      SystemExit: 130 after Ctrl-C, 143 after SIGTERM; the state is saved first.
    """
    done = tf.Variable(0, dtype=tf.int64, trainable=False)
    if average:
        average.begin()
        state = {**state, "average": average.averaged}
    saved = checkpoints.Checkpoints(folder, {"step": done, **state})
    saved.restore()
    if sampling:
        checkpoints.check_choice(folder, sampling, int(done), steps)
    log, clock = Log(folder, int(done)), _Clock(folder, int(done))
    todo = range(0) if _is_copying(sampling, log) else range(int(done), steps)
    with _Interruption() as interruption, _reading_ahead(batch, todo) as batches, _open_bar(name, todo, steps) as bar:
        for index, arrays in batches:
            if before:
                before(index)
            losses = _run(strategy, step, index, arrays)
            if average:
                average.follow(index)
            done.assign(index + 1)
            losses = _read_losses(losses, index + 1, saved)
            measured = _look_at_samples(sampling, index + 1, steps, saved, log)
            log.add(index + 1, losses | measured, always=index + 1 == steps or bool(measured))
            _show(bar, log.warning, losses, images=len(arrays[0]))
            is_end = index + 1 == steps or bool(interruption.signal) or (bool(measured) and _is_copying(sampling, log))
            if (index + 1) % SAVE_EVERY == 0 or is_end:
                _save(saved, log, clock, sampling, index + 1)
            if is_end:
                break
    interruption.exit_if_asked(int(done))
    if int(done) < steps:
        _say_copying(name, int(done), log)
    return {"step": int(done), "seconds": clock.read(), "checkpoint": saved.newest}


def choose_step(step, index):
    """The step function of step number `index`, see `fit`."""
    return [function for first, function in step if first <= index][-1] if isinstance(step, list) else step


def draw_keys(seed, number):
    """Two keys, [2] int32 each, that are a function of seed, step number and replica."""
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    key = tf.random.experimental.stateless_fold_in([seed, tf.cast(number, tf.int32)], replica)
    return tf.unstack(tf.random.experimental.stateless_split(key, 2), num=2)


def update(optimizer, gradients, model):
    """Applies gradients to the trainable variables of `model`; on several GPUs the mean of theirs.

    Args:
      gradients: list, one a variable; None: the variable stays as it is, as those of a PGGAN's other levels.
    """
    count = tf.distribute.get_replica_context().num_replicas_in_sync
    if count > 1:  # an optimiser sums over GPUs
        gradients = [None if gradient is None else gradient / count for gradient in gradients]
    pairs = zip(gradients, model.trainable_variables, strict=True)
    optimizer.apply_gradients([pair for pair in pairs if pair[0] is not None])


@contextlib.contextmanager
def _reading_ahead(batch, todo):
    """Yields an iterator over (step number, its batch); the next batch is made in a background thread."""
    with ThreadPoolExecutor(1) as ahead:

        def read():
            upcoming = ahead.submit(batch, todo.start) if todo else None
            for index in todo:
                arrays = upcoming.result()
                if index + 1 in todo:
                    upcoming = ahead.submit(batch, index + 1)
                yield index, arrays

        yield read()


def _open_bar(name, todo, steps):
    return show_progress(total=steps, initial=todo.start, desc=name, unit="step", disable=not todo)


def _run(strategy, step, index, arrays):
    """Runs step number `index` on all replicas; returns its losses."""
    step = choose_step(step, index)
    number = tf.constant(index, tf.int64)
    if strategy is None or strategy.num_replicas_in_sync == 1:
        return step(number, *arrays)
    count = strategy.num_replicas_in_sync
    if len(arrays[0]) % count:
        raise InputError(
            f"--batch_size={len(arrays[0])}: must be a multiple of the {count} GPUs, or give --strategy=default"
        )
    parts = tuple(
        strategy.experimental_distribute_values_from_function(
            lambda context, array=array: array[context.replica_id_in_sync_group :: count]
        )
        for array in arrays
    )
    losses = strategy.run(step, args=(number, *parts))
    return {key: strategy.reduce(tf.distribute.ReduceOp.MEAN, value, axis=None) for key, value in losses.items()}


def _read_losses(losses, number, saved):
    """Losses as floats. Raises InputError if one is not finite."""
    losses = {key: float(value) for key, value in losses.items()}
    if not all(math.isfinite(value) for value in losses.values()):
        raise saved.not_finite(number, f"a loss is not finite ({describe_losses(losses)})")
    return losses


def _look_at_samples(sampling, number, steps, saved, log):
    """Measures samples, keeps the weights that made them and logs a picture, where that is due after `number` steps.

    Returns:
      What was measured: dict of floats.
    """
    if not sampling or number % checkpoints.MEASURE_EVERY and number < steps:
        return {}
    measured = {}
    if sampling.measure:
        measured, log.warning = sampling.measure()
    if "distance" in measured:
        saved.save_sampler(number, sampling.model)
    log.add_picture(number, sampling.draw_picture())
    return measured


def _show(bar, warning, losses, images):
    bar.update()
    bar.set_postfix_str(f"{warning}{describe_speed(bar, images)} {describe_losses(losses)}", refresh=False)


def _save(saved, log, clock, sampling, number):
    log.flush()
    saved.save(number)
    if sampling:
        checkpoints.forget_samplers(saved.folder, sampling)
    clock.save()


def _is_copying(sampling, log):
    """Whether samples were original, have copied in the last COPYING measurements, and the best weights are wanted."""
    if not sampling or sampling.choice != "best":
        return False
    originality = _list_originality(log)
    return len(originality) > COPYING and max(originality[-COPYING:]) < checkpoints.ORIGINAL <= max(originality)


def _list_originality(log):
    lines = [line for line in log.lines if line["step"] % checkpoints.MEASURE_EVERY == 0]
    return [line["originality"] for line in lines if "originality" in line]


def _say_copying(name, step, log):
    values = ", ".join(f"{value:.2f}" for value in _list_originality(log)[-COPYING:])
    print(
        f"{name} ends at step {step}: samples come too near to the training set, and would come nearer (originality "
        f"{values}; {checkpoints.ORIGINAL} is asked for)",
        file=sys.stderr,
    )


class _Clock:
    """Seconds of training in all calls, kept in seconds.json."""

    def __init__(self, folder, start):
        self.path = folder / "seconds.json"
        before = 0
        with contextlib.suppress(OSError, ValueError):  # not there, or cut short
            before = float(json.loads(self.path.read_text(encoding="utf-8"))) if start else 0
        self.began = time.monotonic() - before

    def read(self):
        return time.monotonic() - self.began

    def save(self):
        write_json(self.path, round(self.read(), 1))


class _Interruption:
    """Notes Ctrl-C and SIGTERM, so that the step under way ends and is saved. A second Ctrl-C stops at once."""

    signal = 0

    def __enter__(self):
        self.handlers = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _note(self, number, _frame):
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number

    def __exit__(self, *_):
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    def exit_if_asked(self, step):
        if self.signal:
            print(f"stopped at step {step} and saved; the same command goes on from there", file=sys.stderr)
            raise SystemExit(128 + self.signal)
