"""A training's checkpoints: how they are written, which weights are kept to make samples with, how they are restored."""

import contextlib
import hashlib
import shutil

import tensorflow as tf

from synthmed_tf.sample import InputError
from synthmed_tf.training import log

MEASURE_EVERY = 500  # steps between pictures of samples, and measurements
SAMPLERS_KEPT = 6  # newest weights that samples can be made with, besides the best
CLOSE = 0.1  # of the least distance measured: no difference
ORIGINAL = 0.95  # of originality: the 20 real test masks of DRIVE have 0.957


def restore_sampler(folder, sampler, which="best", close=CLOSE):
    """Gives `sampler` the weights that `fit` kept at one of its measurements.

    Args:
      folder: of the run.
      sampler: the model that `fit` was given.
      which: "best": the newest of those whose distance hardly differs from the least, where only those count whose
        samples are original (or the most original), and what was measured at the end of a run that then went on does
        not; "last"; or a number of steps.
      close: share of the least distance that is no difference.

    Returns:
      (step, prefix of the checkpoint).

    Raises:
      InputError: no weights were kept at that step, the message names the steps; or none at all; or they are damaged.
    """
    measured = read_measured(folder)
    if not measured:  # a run of an earlier version
        raise InputError(f"{folder}: no weights to make samples with were kept; --overwrite starts it again")
    step = {"last": max(measured), "best": _choice(measured, close)[1]}.get(which, which)
    if not str(step).isdigit() or int(step) not in measured:
        raise InputError(
            f"--checkpoint={which}: {folder / 'samplers'} holds the weights of steps {', '.join(map(str, sorted(measured)))}; "
            "give one of those, best or last"
        )
    prefix = str(folder / "samplers" / f"ckpt-{int(step)}")
    with restoring(prefix, f"give another --checkpoint, or --overwrite starts {folder} again"):
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
        if (step % MEASURE_EVERY == 0 or step == newest) and line.get("masks", masks) == masks
    }
    originality = {step: measured[step].get("originality", 1.0) for step in distances}
    enough = min(ORIGINAL, max(originality.values()))
    distances = {step: distance for step, distance in distances.items() if originality[step] >= enough}
    least = min(distances, key=lambda step: (distances[step], -step))
    return least, max(step for step in distances if distances[step] <= distances[least] + close * abs(distances[least]))


def read_measured(folder):
    """{step: its line of metrics.jsonl} of the weights that are kept."""
    kept = {int(path.stem.rsplit("-", 1)[1]) for path in (folder / "samplers").glob("ckpt-*.index")}
    return {line["step"]: line for line in log.read_metrics(folder) if line["step"] in kept and "distance" in line}


def forget_samplers(folder, close, which):
    measured = read_measured(folder)
    lasting = {step: line for step, line in measured.items() if step % MEASURE_EVERY == 0}  # if the run goes on
    chosen = [step for some in (measured, lasting) if some for step in _choice(some, close)]
    for step in sorted(measured)[:-SAMPLERS_KEPT]:
        if step not in chosen and str(step) != which:
            for path in (folder / "samplers").glob(f"ckpt-{step}.*"):
                path.unlink()


def is_finite(state):
    models = [model for model in state.values() if isinstance(model, tf.keras.Model)]
    return all(bool(tf.reduce_all(tf.math.is_finite(weight))) for model in models for weight in model.weights)


def mend_list(folder):
    """Lists the newest checkpoint of a folder again if TensorFlow's list is lost or damaged, instead of starting anew."""
    found = sorted(folder.glob("ckpt-*.index"), key=lambda path: int(path.stem.rsplit("-", 1)[1]))
    try:
        listed = tf.train.get_checkpoint_state(str(folder))
    except ValueError:  # an empty list
        listed = None
    if found and not listed:
        tf.compat.v1.train.update_checkpoint_state(str(folder), found[-1].stem)


@contextlib.contextmanager
def saving(prefix, manager):
    kept = step_of(manager)
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
def restoring(prefix, remedy):
    try:
        yield
    except (AssertionError, ValueError, IndexError, tf.errors.OpError) as error:  # IndexError: a truncated file
        reason = str(error).strip().splitlines()[0][:200]
        raise InputError(f"{prefix}: not a checkpoint of this model, or damaged ({reason}); {remedy}") from None


def step_of(manager):
    return int(manager.latest_checkpoint.rsplit("-", 1)[1]) if manager.latest_checkpoint else "none"


def checkpoint_sha256(prefix):
    """SHA-256 over what a checkpoint holds, in the order of the names. Its files also tell how often it was saved."""
    digest, reader = hashlib.sha256(), tf.train.load_checkpoint(str(prefix))
    for name in sorted(reader.get_variable_to_shape_map()):
        if not name.startswith(("save_counter", "_CHECKPOINTABLE_OBJECT_GRAPH")):
            digest.update(name.encode() + reader.get_tensor(name).tobytes())
    return digest.hexdigest()
