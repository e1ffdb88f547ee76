"""The one training loop: restore, progress, logs, checkpoints, interruption. What a step does is the stages' business."""

import contextlib
import fcntl
import functools
import json
import math
import shutil
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from synthmed_tf.records.atomic import replace_text, write_json
from synthmed_tf.sample import InputError

SAVE_EVERY = 250  # steps between checkpoints
GRID_EVERY = 500  # steps between pictures of samples, and measurements
SAMPLERS_KEPT = 6  # newest weights that samples can be made with, besides the best
CLOSE = 0.1  # of the least distance measured: no difference
ORIGINAL = 0.95  # of originality: the 20 real test masks of DRIVE have 0.957
COPYING = 2  # measurements running below ORIGINAL end a training
AVERAGE_EVERY = 10  # steps between two updates of the averaged weights; decay ** 10 then is the same average

_REMEDY = "stopped, with the checkpoint of step {} kept. Try --overwrite with --precision=float32 or another --seed"

# What may differ when a command is run again: how far to go and where things lie, not what is computed.
_FREE_TO_CHANGE = {
    "steps",
    "epochs",
    "num_samples",
    "label_distribution",
    "hash_filter",
    "data_dir",
    "out_dir",
    "checkpoint",
}


def set_up(precision="float32", strategy="default"):
    """Makes TensorFlow deterministic, sets the precision policy, and returns (tf.distribute strategy, policy name).

    On CPUs oneDNN and Eigen give the same bits in every run with the same number of threads, and TensorFlow's op
    determinism would make them single-threaded (half the speed on 2 cores), so it is switched on for GPUs alone.

    `auto` is mixed_bfloat16 where that is faster (CPUs with amx_bf16, AMD's with avx512_bf16, GPUs of compute
    capability 8 and up), else float32. Intel's avx512_bf16 without amx_bf16 takes 1.3 to 1.6 times as long as its
    float32: docs/RESULTS.md.

    Raises:
      InputError: `mirrored` without a GPU.
    """
    if tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()
    if precision == "auto":
        precision = "mixed_bfloat16" if _computes_bfloat16() else "float32"
    tf.keras.mixed_precision.set_global_policy(precision)
    if strategy == "mirrored":
        if not tf.config.list_logical_devices("GPU"):
            raise InputError("--strategy=mirrored: TensorFlow sees no GPU here; leave the flag out")
        return tf.distribute.MirroredStrategy(), precision
    return tf.distribute.get_strategy(), precision


def _computes_bfloat16():
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        return tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))[0] >= 8
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            words = set(file.read().split())
    except FileNotFoundError:
        return False
    return "amx_bf16" in words or {"AuthenticAMD", "avx512_bf16"} <= words


@contextlib.contextmanager
def claim(folder, settings, overwrite=False):
    """Holds `folder` for one run at a time and keeps its flags.json.

    A folder that another run made is gone on with only if `settings` agree with its flags.json in all that decides the
    result; with `overwrite` its contents are thrown away first.

    Raises:
      InputError: another process works in the folder, the settings differ (the message names them), or the path holds a
        "[" or a backslash, which TensorFlow takes for a pattern when it reads a checkpoint.
    """
    if {"[", "\\"} & {*str(folder)}:
        raise InputError(
            f"{folder}: TensorFlow reads no checkpoint below a folder with [ or \\ in its name; give another"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{folder}: another run is working here; wait for it, or give another --out_dir") from None
        kept = folder / "flags.json"
        new = {key: value for key, value in settings.items() if key not in ("given", "overwrite", "dry_run")}
        new = json.loads(json.dumps(new))
        for left in folder.glob("flags.json.*.tmp"):  # of a claim that was killed
            left.unlink()
        others = [entry for entry in folder.iterdir() if entry.name != ".lock"]
        if others and not kept.exists():
            raise InputError(
                f"{folder} holds files that are not of a run of this program; move them, or give another folder"
            )
        if overwrite:
            for entry in sorted(others, key=lambda entry: entry == kept):  # last what says whose the folder is
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        if kept.exists():
            try:
                old = json.loads(kept.read_text(encoding="utf-8"))
            except ValueError:
                raise InputError(f"{kept}: not readable as JSON; --overwrite starts this folder again") from None
            changed = [
                f"{name} was {old.get(name)!r} and is now {new.get(name)!r}"
                for name in sorted((old.keys() | new.keys()) - _FREE_TO_CHANGE)
                if old.get(name) != new.get(name)
            ]
            if changed:
                raise InputError(
                    f"{folder} holds a run with other settings: {'; '.join(changed)}. Give those again, another "
                    f"--out_dir, or --overwrite"
                )
        write_json(kept, new)
        yield


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
    close=CLOSE,
    which="best",
):
    """Trains until `steps` steps are done, from wherever the newest checkpoint in the folder stands, or until samples that
    were original copy the training set: the longer such a network trains, the more they do (docs/TRIALS.md). The latter
    only if `which` is "best".

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
        there, below ORIGINAL says that samples copy the training set, and distances with different "masks" are not
        compared. None: nothing is measured.
      sampler: model whose weights are kept at each measurement that has a distance, see `restore_sampler`.
      before: function step number -> None, called before each step and outside of the strategy. What it changes must be
        in the checkpoint or be a function of the step number.
      name: shown in the progress line.
      strategy: tf.distribute strategy; the batch is split over its replicas.
      close, which: for `restore_sampler`, whose weights are never thrown away.

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
    _mend_list(folder / "checkpoints")
    manager = tf.train.CheckpointManager(checkpoint, str(folder / "checkpoints"), max_to_keep=2)
    if manager.latest_checkpoint:
        with _restored(manager.latest_checkpoint, f"--overwrite starts {folder} again"):
            checkpoint.restore(manager.latest_checkpoint).assert_consumed()
    start = int(counter)
    log = _Log(folder, start)
    originality = [
        line["originality"] for line in _logged(folder) if line["step"] % GRID_EVERY == 0 and "originality" in line
    ]
    if which not in ("best", "last") and int(which) not in _measured(folder):
        if not (int(which) % GRID_EVERY == 0 or int(which) == steps) or not start < int(which) <= steps:
            kept = f", there are those of {', '.join(map(str, sorted(_measured(folder))))}" if start else ""
            raise InputError(
                f"--checkpoint={which}: weights are kept after each {GRID_EVERY} steps and the last one, {steps}{kept}; "
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
                    f"{folder}: step {index + 1}: a loss is not finite ({_words(losses)}); {_REMEDY.format(_step_of(manager))}"
                )
            done = index + 1 == steps
            looks = (index + 1) % GRID_EVERY == 0 or done
            measured = {}
            if measure and looks:
                measured, warning = measure()
                if "distance" in measured:
                    prefix = folder / "samplers" / f"ckpt-{index + 1}"
                    with _saved(prefix, manager):
                        tf.train.Checkpoint(model=sampler).write(str(prefix))
                if "originality" in measured and (index + 1) % GRID_EVERY == 0:
                    originality.append(measured["originality"])
                    done = done or copies()
            if grid and looks:
                log.picture(index + 1, grid())
            log.add(index + 1, losses | measured, always=done or bool(measured))
            bar.update()
            bar.set_postfix_str(f"{warning}{_speed(bar, images_per_step)} {_words(losses)}", refresh=False)
            if (index + 1) % SAVE_EVERY == 0 or done or interruption.signal:
                if not _is_finite(state):  # the losses are from before the update
                    raise InputError(
                        f"{folder}: step {index + 1}: weights are not finite; {_REMEDY.format(_step_of(manager))}"
                    )
                log.flush()
                with _saved(folder / "checkpoints" / f"ckpt-{index + 1}", manager):
                    manager.save(checkpoint_number=index + 1)
                _forget_samplers(folder, close, which)
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


def restore_sampler(folder, sampler, which="best", close=CLOSE):
    """Gives `sampler` the weights that `fit` kept at one of its measurements.

    Args:
      folder: of the run.
      sampler: the model that `fit` was given.
      which: "best": the newest of those whose distance hardly differs from the least, where only those count whose
        samples are original (or the most original), and what was measured at the end of a run that then went on does not;
        "last"; or a number of steps.
      close: share of the least distance that is no difference.

    Returns:
      (step, prefix of the checkpoint).

    Raises:
      InputError: no weights were kept at that step, the message names the steps; or none at all; or they are damaged.
    """
    measured = _measured(folder)
    if not measured:  # a run of an earlier version
        raise InputError(f"{folder}: no weights to make samples with were kept; --overwrite starts it again")
    step = {"last": max(measured), "best": _choice(measured, close)[1]}.get(which, which)
    if not str(step).isdigit() or int(step) not in measured:
        raise InputError(
            f"--checkpoint={which}: {folder / 'samplers'} holds the weights of steps {', '.join(map(str, sorted(measured)))}; "
            "give one of those, best or last"
        )
    prefix = str(folder / "samplers" / f"ckpt-{int(step)}")
    with _restored(prefix, f"give another --checkpoint, or --overwrite starts {folder} again"):
        tf.train.Checkpoint(model=sampler).read(prefix).assert_existing_objects_matched()
    return int(step), prefix


def _choice(measured, close):
    """The steps of the least distance, and of the best weights: see `restore_sampler`.

    Distances are of few samples, so of those that hardly differ the longest trained is taken.
    """
    newest = max(measured)
    masks = measured[newest].get("masks")  # of stage 2; distances of other masks are others. Old lines do not say
    distances = {
        step: line["distance"]
        for step, line in measured.items()
        if (step % GRID_EVERY == 0 or step == newest) and line.get("masks", masks) == masks
    }
    originality = {step: measured[step].get("originality", 1.0) for step in distances}
    enough = min(ORIGINAL, max(originality.values()))
    distances = {step: distance for step, distance in distances.items() if originality[step] >= enough}
    least = min(distances, key=lambda step: (distances[step], -step))
    return least, max(step for step in distances if distances[step] <= distances[least] + close * abs(distances[least]))


def _copies(originality):
    return len(originality) > COPYING and max(originality[-COPYING:]) < ORIGINAL <= max(originality)


def _say_copies(name, step, originality):
    values = ", ".join(f"{value:.2f}" for value in originality[-COPYING:])
    print(
        f"{name} ends at step {step}: samples come too near to the training set, and would come nearer (originality {values}; "
        f"{ORIGINAL} is asked for)",
        file=sys.stderr,
    )


def _measured(folder):
    """{step: its line of metrics.jsonl} of the weights that are kept."""
    kept = {int(path.stem.rsplit("-", 1)[1]) for path in (folder / "samplers").glob("ckpt-*.index")}
    return {line["step"]: line for line in _logged(folder) if line["step"] in kept and "distance" in line}


def _logged(folder):
    """The lines of metrics.jsonl, but those that are damaged."""
    lines, path = [], folder / "metrics.jsonl"
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):
            lines.append(json.loads(line))
    return lines


def _forget_samplers(folder, close, which):
    measured = _measured(folder)
    lasting = {step: line for step, line in measured.items() if step % GRID_EVERY == 0}  # if the run goes on
    chosen = [step for some in (measured, lasting) if some for step in _choice(some, close)]
    for step in sorted(measured)[:-SAMPLERS_KEPT]:
        if step not in chosen and str(step) != which:
            for path in (folder / "samplers").glob(f"ckpt-{step}.*"):
                path.unlink()


def _is_finite(state):
    models = [model for model in state.values() if isinstance(model, tf.keras.Model)]
    return all(bool(tf.reduce_all(tf.math.is_finite(weight))) for model in models for weight in model.weights)


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


def _mend_list(folder):
    """Lists the newest checkpoint of a folder again if TensorFlow's list is lost or damaged, instead of starting anew."""
    found = sorted(folder.glob("ckpt-*.index"), key=lambda path: int(path.stem.rsplit("-", 1)[1]))
    try:
        listed = tf.train.get_checkpoint_state(str(folder))
    except ValueError:  # an empty list
        listed = None
    if found and not listed:
        tf.compat.v1.train.update_checkpoint_state(str(folder), found[-1].stem)


@contextlib.contextmanager
def _saved(prefix, manager):
    kept = _step_of(manager)
    try:
        yield
    except tf.errors.OpError as error:  # for one: the disk is full
        for left in prefix.parent.glob(f"{prefix.name}[._]*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        raise InputError(
            f"{prefix.parent}: could not be written ({' '.join(error.message.split())[:300]}); the checkpoint of step "
            f"{kept} is kept: free space on the disk and run the same command again"
        ) from None


@contextlib.contextmanager
def _restored(prefix, remedy):
    try:
        yield
    except (AssertionError, ValueError, IndexError, tf.errors.OpError) as error:  # IndexError: a truncated file
        reason = str(error).strip().splitlines()[0][:200]
        raise InputError(f"{prefix}: not a checkpoint of this model, or damaged ({reason}); {remedy}") from None


def _step_of(manager):
    return int(manager.latest_checkpoint.rsplit("-", 1)[1]) if manager.latest_checkpoint else "none"


def _speed(bar, images_per_step):
    rate = bar.format_dict["rate"]
    return f"{rate * images_per_step:.1f} images/s" if rate else ""


def _words(losses):
    return " ".join(f"{key} {value:.3g}" for key, value in losses.items())


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


class _Log:
    """metrics.jsonl, cut back to the step that a run goes on from, and TensorBoard events, which are not."""

    def __init__(self, folder, start):
        self.path = folder / "metrics.jsonl"
        self.folder = folder
        self.text = "".join(json.dumps(line) + "\n" for line in _logged(folder) if line["step"] <= start)
        if self.path.exists() and self.path.read_text(encoding="utf-8", errors="replace") != self.text:
            replace_text(self.path, self.text)
        try:
            self.events = tf.summary.create_file_writer(str(folder / "events"))
        except tf.errors.OpError as error:  # for one: the disk is full
            raise InputError(
                f"{folder / 'events'}: could not be written ({' '.join(error.message.split())[:300]}); free space on the "
                "disk and run the same command again"
            ) from None

    def add(self, step, values, always):
        if step % 10 and not always:
            return
        self.text += json.dumps({"step": step, **{key: round(value, 6) for key, value in values.items()}}) + "\n"
        with self.events.as_default(step):
            for key, value in values.items():
                tf.summary.scalar(key, value)

    def picture(self, step, image):
        from PIL import Image

        (self.folder / "samples").mkdir(exist_ok=True)
        Image.fromarray(np.squeeze(image)).save(self.folder / "samples" / f"{step:07d}.png")
        with self.events.as_default(step):
            tf.summary.image("samples", image[None])

    def flush(self):
        replace_text(self.path, self.text)
        self.events.flush()


def keys(seed, number):
    """Two keys, [2] int32 each, that are a function of seed, step number and replica."""
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    key = tf.random.experimental.stateless_fold_in([seed, tf.cast(number, tf.int32)], replica)
    return tf.unstack(tf.random.experimental.stateless_split(key, 2), num=2)


def picture_grid(images, columns=8):
    """[count, height, width, channels] uint8 -> one picture with `columns` images a row and 2 pixels between them."""
    count, height, width, channels = images.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    sheet = np.full([rows * (height + 2) - 2, columns * (width + 2) - 2, channels], 128, np.uint8)
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + 2), (index % columns) * (width + 2)
        sheet[top : top + height, left : left + width] = image
    return sheet
