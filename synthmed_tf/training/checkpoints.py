"""A training's checkpoints: how they are written and restored, and which weights are kept to make samples with."""

import contextlib
import dataclasses
import hashlib
import shutil
from collections.abc import Callable

import tensorflow as tf

from synthmed_tf.sample import InputError
from synthmed_tf.training import log

MEASURE_EVERY = 500  # steps between pictures of samples, and measurements
SAMPLERS_KEPT = 6  # newest weights that samples can be made with, besides the best
TOLERANCE = 0.1  # share of the least distance that is no difference
ORIGINAL = 0.95  # least originality of samples that do not copy; the 20 real test masks of DRIVE have 0.957


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How a training looks at its samples, and whose weights make them in the end.

    Attributes:
      model: makes samples. Its weights are kept at each measurement that has a distance.
      draw_picture: function () -> [height, width, channels] uint8 picture of samples, each MEASURE_EVERY steps.
      measure: function () -> (dict of floats for the log, warning for the progress line or ""), as often; or None.
        "distance" is to the training set. "originality" below ORIGINAL says that samples copy the training set.
        Distances with different "masks" are not compared.
      choice: "best", "last" or a number of steps, see `restore_sampler`.
      tolerance: share of the least distance that is no difference.
    """

    model: tf.keras.Model
    draw_picture: Callable
    measure: Callable | None
    choice: str = "best"
    tolerance: float = TOLERANCE


class Checkpoints:
    """The two newest checkpoints of a run, in FOLDER/checkpoints.

    Args:
      folder: pathlib.Path of the run.
      state: dict name -> model, optimiser or variable, all built.
    """

    def __init__(self, folder, state):
        self.folder, self.state = folder, state
        _list_newest(folder / "checkpoints")
        self.checkpoint = tf.train.Checkpoint(**state)
        self.manager = tf.train.CheckpointManager(self.checkpoint, str(folder / "checkpoints"), max_to_keep=2)

    @property
    def newest(self):
        """Path of the newest checkpoint; None without one."""
        return self.manager.latest_checkpoint

    def restore(self):
        """Gives the state its values in the newest checkpoint, if there is one.

        Raises:
          InputError: the checkpoint is of another model, or damaged.
        """
        if self.newest:
            with _explaining(self.newest, f"--overwrite starts {self.folder} again"):
                self.checkpoint.restore(self.newest).assert_consumed()

    def save(self, step):
        """Writes the checkpoint of a step.

        Raises:
          InputError: weights are not finite, or the disk is full; the checkpoint before it is kept.
        """
        models = [model for model in self.state.values() if isinstance(model, tf.keras.Model)]
        if not all(bool(tf.reduce_all(tf.math.is_finite(weight))) for model in models for weight in model.weights):
            raise self.not_finite(step, "weights are not finite")
        with self._writing(self.folder / "checkpoints" / f"ckpt-{step}"):
            self.manager.save(checkpoint_number=step)

    def save_sampler(self, step, model):
        """Keeps the weights that samples are made with, in FOLDER/samplers.

        Raises:
          InputError: the disk is full; the newest checkpoint is kept.
        """
        prefix = self.folder / "samplers" / f"ckpt-{step}"
        with self._writing(prefix):
            tf.train.Checkpoint(model=model).write(str(prefix))

    def not_finite(self, step, problem):
        """The InputError of a training that has gone wrong."""
        return InputError(
            f"{self.folder}: step {step}: {problem}; stopped, with the checkpoint of step {self._newest_step()} kept. "
            "Try --overwrite with --precision=float32 or another --seed"
        )

    def _newest_step(self):
        return int(self.newest.rsplit("-", 1)[1]) if self.newest else "none"

    @contextlib.contextmanager
    def _writing(self, prefix):
        kept = self._newest_step()
        try:
            yield
        except tf.errors.OpError as error:  # for one: the disk is full
            for left in prefix.parent.glob(f"{prefix.name}[._]*"):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            raise InputError(
                f"{prefix.parent}: could not be written ({' '.join(error.message.split())[:300]}); the checkpoint of "
                f"step {kept} is kept: free space on the disk and run the same command again"
            ) from None


def check_choice(folder, sampling, start, steps):
    """Raises InputError if sampling.choice is a step whose weights are not kept and will not be.

    Args:
      folder: of the run. start: steps done. steps: steps in all.
    """
    choice, kept = sampling.choice, read_measured(folder)
    if choice in ("best", "last") or int(choice) in kept:
        return
    is_measured = int(choice) % MEASURE_EVERY == 0 or int(choice) == steps
    if not is_measured or not start < int(choice) <= steps:
        ready = f", there are those of {_join_numbers(kept)}" if start else ""
        raise InputError(
            f"--checkpoint={choice}: weights are kept after each {MEASURE_EVERY} steps and the last one, "
            f"{steps}{ready}; give one of those, best or last"
        )


def restore_sampler(folder, sampling):
    """Gives sampling.model the weights that sampling.choice names, of those that `loop.fit` kept.

    "best" are the newest whose distance hardly differs from the least. Only weights whose samples are original count,
    or the most original ones; what was measured at the end of a run that then went on does not. "last" are the newest.

    Returns:
      {"sampled_step": step, "sampler": prefix of the checkpoint}.

    Raises:
      InputError: no weights were kept at that step, the message names the steps; or none at all; or they are damaged.
    """
    choice, measured = sampling.choice, read_measured(folder)
    if not measured:
        raise InputError(f"{folder}: no weights to make samples with were kept; --overwrite starts it again")
    step = {"last": max(measured), "best": _choose_best(measured, sampling.tolerance)[1]}.get(choice, choice)
    if int(step) not in measured:
        raise InputError(
            f"--checkpoint={choice}: {folder / 'samplers'} holds the weights of steps {_join_numbers(measured)}; give "
            "one of those, best or last"
        )
    prefix = str(folder / "samplers" / f"ckpt-{int(step)}")
    with _explaining(prefix, f"give another --checkpoint, or --overwrite starts {folder} again"):
        tf.train.Checkpoint(model=sampling.model).read(prefix).assert_existing_objects_matched()
    return {"sampled_step": int(step), "sampler": prefix}


def forget_samplers(folder, sampling):
    """Removes kept weights but the newest, the best, and those that sampling.choice names."""
    measured = read_measured(folder)
    lasting = {step: line for step, line in measured.items() if step % MEASURE_EVERY == 0}  # if the run goes on
    best = [step for lines in (measured, lasting) if lines for step in _choose_best(lines, sampling.tolerance)]
    for step in sorted(measured)[:-SAMPLERS_KEPT]:
        if step not in best and str(step) != sampling.choice:
            for path in (folder / "samplers").glob(f"ckpt-{step}.*"):
                path.unlink()


def read_measured(folder):
    """{step: its line of metrics.jsonl} of the weights that are kept."""
    kept = {int(path.stem.rsplit("-", 1)[1]) for path in (folder / "samplers").glob("ckpt-*.index")}
    return {line["step"]: line for line in log.read_metrics(folder) if line["step"] in kept and "distance" in line}


def hash_checkpoint(prefix):
    """SHA-256 over what a checkpoint holds, in the order of the names. Its files also tell how often it was saved."""
    digest, reader = hashlib.sha256(), tf.train.load_checkpoint(str(prefix))
    for name in sorted(reader.get_variable_to_shape_map()):
        if not name.startswith(("save_counter", "_CHECKPOINTABLE_OBJECT_GRAPH")):
            digest.update(name.encode() + reader.get_tensor(name).tobytes())
    return digest.hexdigest()


def _choose_best(measured, tolerance):
    """(step of the least distance, step of the best weights): see `restore_sampler`.

    Distances are of few samples, so of those that hardly differ the longest trained is taken.
    """
    newest = max(measured)
    masks = measured[newest].get("masks")  # distances to other masks are others
    distances = {
        step: line["distance"]
        for step, line in measured.items()
        if (step % MEASURE_EVERY == 0 or step == newest) and line.get("masks") == masks
    }
    originality = {step: measured[step].get("originality", 1.0) for step in distances}
    enough = min(ORIGINAL, max(originality.values()))
    distances = {step: distance for step, distance in distances.items() if originality[step] >= enough}
    least = min(distances, key=lambda step: (distances[step], -step))
    highest = distances[least] + tolerance * abs(distances[least])
    return least, max(step for step in distances if distances[step] <= highest)


def _list_newest(folder):
    """Lists the newest checkpoint again where TensorFlow's list is lost or damaged: a run would start anew."""
    paths = sorted(folder.glob("ckpt-*.index"), key=lambda path: int(path.stem.rsplit("-", 1)[1]))
    try:
        listed = tf.train.get_checkpoint_state(str(folder))
    except ValueError:  # an empty list
        listed = None
    if paths and not listed:
        tf.compat.v1.train.update_checkpoint_state(str(folder), paths[-1].stem)


@contextlib.contextmanager
def _explaining(prefix, remedy):
    try:
        yield
    except (AssertionError, ValueError, IndexError, tf.errors.OpError) as error:  # IndexError: a truncated file
        reason = str(error).strip().splitlines()[0][:200]
        raise InputError(f"{prefix}: not a checkpoint of this model, or damaged ({reason}); {remedy}") from None


def _join_numbers(steps):
    return ", ".join(map(str, sorted(steps)))
