"""The one training loop: restore, progress, logs, checkpoints, interruption. What a step does is the stages' business."""

import functools
import json
import math
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import tensorflow as tf
from tqdm import tqdm

from synthmed_tf.records.atomic import write_json
from synthmed_tf.sample import InputError
from synthmed_tf.training import checkpoints
from synthmed_tf.training.log import Log, describe_losses, describe_speed, read_metrics

SAVE_EVERY = 250  # steps between checkpoints
COPYING = 2  # measurements running below checkpoints.ORIGINAL end a training
AVERAGE_EVERY = 10  # steps between two updates of the averaged weights; decay ** 10 then is the same average

_REMEDY = "stopped, with the checkpoint of step {} kept. Try --overwrite with --precision=float32 or another --seed"


def fit(
    folder,
    step,
    batch,
    state,
    steps,
    *,
    images_per_step,
    average=None,
    short_at_first=True,
    grid=None,
    measure=None,
    sampler=None,
    before=None,
    name="",
    strategy=None,
    close=checkpoints.CLOSE,
    which="best",
):
    """Trains until `steps` steps are done, from wherever the newest checkpoint in the folder stands, or until samples
    that were original copy the training set: the longer such a network trains, the more they do. The latter only if
    `which` is "best".

    Killed at any moment and called again, it ends with the same bits, because `step` and `batch` are functions of the
    step number alone and everything else that changes is in the checkpoint.

    Args:
      folder: pathlib.Path; gets checkpoints/, samples/, events/ and metrics.jsonl.
      step: function (step number [] int64, *batch) -> dict of scalar float32 losses; a tf.function. Or a list of
        (number of its first step, such a function), since a strategy runs none that chooses one.
      batch: function step number -> tuple of arrays, called in a background thread one step ahead.
      state: dict name -> model or optimiser, all built; what a checkpoint holds.
      steps: total number of steps, not steps from here.
      images_per_step: real images in a step, for the speed shown.
      average: (model, averaged model, decay per step) or None.
      short_at_first: whether the average is shorter at first, by TensorFlow's rule (1 + updates) / (10 + updates).
      grid: function () -> [height, width, channels] uint8 picture of samples, or None.
      measure: function () -> (dict of floats for the log, warning for the progress line or ""), as often as pictures
        are made; "distance" among the floats is what the best weights have little of, "originality", where it is
        there, below checkpoints.ORIGINAL says that samples copy the training set, and distances with different "masks"
        are not compared. None: nothing is measured.
      sampler: model whose weights are kept at each measurement that has a distance, see `checkpoints.restore_sampler`.
      before: function step number -> None, called before each step and outside of the strategy. What it changes must be
        in the checkpoint or be a function of the step number.
      name: shown in the progress line.
      strategy: tf.distribute strategy; the batch is split over its replicas.
      close, which: for `checkpoints.restore_sampler`, whose weights are never thrown away.

    Returns:
      {"step": steps done, "seconds": of training in all calls, "checkpoint": path of the newest checkpoint}.

    Raises:
      InputError: a loss is not finite (the newest checkpoint is from before it), the checkpoint is of another model, or
        no weights will be kept at the step `which`.
      SystemExit: 130 after Ctrl-C, 143 after SIGTERM; the state is saved first.
    """
    strategy = strategy or tf.distribute.get_strategy()
    counter = tf.Variable(0, dtype=tf.int64, trainable=False)
    if average:
        model, averaged, decay = average
        averaged.set_weights(model.get_weights())
        state = {**state, "average": averaged}
        decay = tf.constant(decay**AVERAGE_EVERY, tf.float32)

        @tf.function
        def update_average():
            updates = tf.cast(counter // AVERAGE_EVERY, tf.float32)
            kept = tf.minimum(decay, (1 + updates) / (10 + updates)) if short_at_first else decay
            for old, new in zip(averaged.trainable_variables, model.trainable_variables, strict=True):
                old.assign(new + kept * (old - new))
            for old, new in zip(averaged.non_trainable_variables, model.non_trainable_variables, strict=True):
                old.assign(new)

    checkpoint = tf.train.Checkpoint(step=counter, **state)
    checkpoints.mend_list(folder / "checkpoints")
    manager = tf.train.CheckpointManager(checkpoint, str(folder / "checkpoints"), max_to_keep=2)
    if manager.latest_checkpoint:
        with checkpoints.restoring(manager.latest_checkpoint, f"--overwrite starts {folder} again"):
            checkpoint.restore(manager.latest_checkpoint).assert_consumed()
    start = int(counter)
    log = Log(folder, start)
    originality = [
        line["originality"]
        for line in read_metrics(folder)
        if line["step"] % checkpoints.MEASURE_EVERY == 0 and "originality" in line
    ]
    if which not in ("best", "last") and int(which) not in checkpoints.read_measured(folder):
        if not (int(which) % checkpoints.MEASURE_EVERY == 0 or int(which) == steps) or not start < int(which) <= steps:
            kept = (
                f", there are those of {', '.join(map(str, sorted(checkpoints.read_measured(folder))))}"
                if start
                else ""
            )
            raise InputError(
                f"--checkpoint={which}: weights are kept after each {checkpoints.MEASURE_EVERY} steps and the last one, {steps}{kept}; "
                "give one of those, best or last"
            )
    copies = functools.partial(_copies, originality) if which == "best" else lambda: False
    clock = folder / "seconds.json"
    began = time.monotonic() - (json.loads(clock.read_text(encoding="utf-8")) if start and clock.exists() else 0)
    if start >= steps or copies():
        if start < steps:
            _say_copies(name, start, originality)
        return {"step": start, "seconds": time.monotonic() - began, "checkpoint": manager.latest_checkpoint}

    bar = tqdm(
        total=steps,
        initial=start,
        desc=name,
        unit="step",
        dynamic_ncols=True,
        mininterval=1 if sys.stderr.isatty() else 20,
    )
    with _Interruption() as interruption, ThreadPoolExecutor(1) as ahead, bar:
        upcoming, warning = ahead.submit(batch, start), ""
        for index in range(start, steps):
            arrays = upcoming.result()
            if index + 1 < steps:
                upcoming = ahead.submit(batch, index + 1)
            if before:
                before(index)
            losses = _run(strategy, step, index, arrays)
            if average and (index + 1) % AVERAGE_EVERY == 0:
                update_average()
            counter.assign(index + 1)
            losses = {key: float(value) for key, value in losses.items()}
            if not all(math.isfinite(value) for value in losses.values()):
                raise InputError(
                    f"{folder}: step {index + 1}: a loss is not finite ({describe_losses(losses)}); {_REMEDY.format(checkpoints.step_of(manager))}"
                )
            done = index + 1 == steps
            looks = (index + 1) % checkpoints.MEASURE_EVERY == 0 or done
            measured = {}
            if measure and looks:
                measured, warning = measure()
                if "distance" in measured:
                    prefix = folder / "samplers" / f"ckpt-{index + 1}"
                    with checkpoints.saving(prefix, manager):
                        tf.train.Checkpoint(model=sampler).write(str(prefix))
                if "originality" in measured and (index + 1) % checkpoints.MEASURE_EVERY == 0:
                    originality.append(measured["originality"])
                    done = done or copies()
            if grid and looks:
                log.picture(index + 1, grid())
            log.add(index + 1, losses | measured, always=done or bool(measured))
            bar.update()
            bar.set_postfix_str(
                f"{warning}{describe_speed(bar, images_per_step)} {describe_losses(losses)}", refresh=False
            )
            if (index + 1) % SAVE_EVERY == 0 or done or interruption.signal:
                if not checkpoints.is_finite(state):  # the losses are from before the update
                    raise InputError(
                        f"{folder}: step {index + 1}: weights are not finite; {_REMEDY.format(checkpoints.step_of(manager))}"
                    )
                log.flush()
                with checkpoints.saving(folder / "checkpoints" / f"ckpt-{index + 1}", manager):
                    manager.save(checkpoint_number=index + 1)
                checkpoints.forget_samplers(folder, close, which)
                write_json(clock, round(time.monotonic() - began, 1))
            if interruption.signal:
                bar.close()
                print(f"stopped at step {index + 1} and saved; the same command goes on from there", file=sys.stderr)
                raise SystemExit(128 + interruption.signal)
            if done:
                break
    if int(counter) < steps:
        _say_copies(name, int(counter), originality)
    return {"step": int(counter), "seconds": time.monotonic() - began, "checkpoint": manager.latest_checkpoint}


def _copies(originality):
    return len(originality) > COPYING and max(originality[-COPYING:]) < checkpoints.ORIGINAL <= max(originality)


def _say_copies(name, step, originality):
    values = ", ".join(f"{value:.2f}" for value in originality[-COPYING:])
    print(
        f"{name} ends at step {step}: samples come too near to the training set, and would come nearer (originality {values}; "
        f"{checkpoints.ORIGINAL} is asked for)",
        file=sys.stderr,
    )


def step_at(step, index):
    """The step function of step number `index`, see `fit`."""
    return [each for first, each in step if first <= index][-1] if isinstance(step, list) else step


def _run(strategy, step, index, arrays):
    step = step_at(step, index)
    number = tf.constant(index, tf.int64)
    if strategy.num_replicas_in_sync == 1:
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


class _Interruption:
    """Notes Ctrl-C and SIGTERM, so that the step under way ends and is saved. A second Ctrl-C stops at once."""

    signal = 0

    def __enter__(self):
        self.old = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _note(self, number, _frame):
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number

    def __exit__(self, *_):
        for number, handler in self.old.items():
            signal.signal(number, handler)


def keys(seed, number):
    """Two keys, [2] int32 each, that are a function of seed, step number and replica."""
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    key = tf.random.experimental.stateless_fold_in([seed, tf.cast(number, tf.int32)], replica)
    return tf.unstack(tf.random.experimental.stateless_split(key, 2), num=2)
