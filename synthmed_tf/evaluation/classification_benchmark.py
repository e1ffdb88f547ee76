"""Is a labelled synthetic set useful?

The same classifiers trained on real, on synthetic and on both, tested on real images (P2 table 3).
"""

import json
import math
import shutil
import statistics
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from synthmed_tf.datasets import study_groups
from synthmed_tf.evaluation import balanced_sets
from synthmed_tf.metrics import accuracy, bootstrap
from synthmed_tf.papers import lbp, vgg16
from synthmed_tf.progress import show_progress
from synthmed_tf.records.atomic import write_json
from synthmed_tf.sample import InputError

MODELS = ("vgg16", "knn", "svm", "random_forest")  # P2 § 3.2
ARMS = ("real", "synthetic", "real_and_synthetic")
NOTHING_TO_TEST_ON = (
    "{} has no test images. Hold out training images: run train_stage1.py with --holdout=5 and another --out_dir."
)
NO_TASK = (
    "The classes {} allow no task of two classes; give other --labels, or for study groups other --young and --mature."
)
TOO_FEW = (
    "The {} test images are of fewer than two classes that have synthetic images and training images of two patients. "
    "Add images of each class, or hold out others: run train_stage1.py with --holdout=5 and another --out_dir."
)
MOST_TRAINING, MOST_TEST = 8000, 2000  # images of a task, P2 table 2


def check_classes(real, synthetic):
    """Refuses two Records whose classes do not fit.

    Raises:
      InputError: one of them has no classes, or theirs differ.
    """
    for samples in (real, synthetic):
        if not samples.class_names:
            raise InputError(
                f"{samples.folder}: has no classes, so nothing can be told apart; leave classification out of "
                "--benchmarks"
            )
    ours, theirs = (set(samples.class_names) for samples in (synthetic, real))
    if ours != theirs:
        lacking = ((ours - theirs, synthetic), (theirs - ours, real))
        only = "; ".join(
            f"{', '.join(map(repr, sorted(names)))} only in {samples.folder}" for names, samples in lacking if names
        )
        raise InputError(
            f"the synthetic and the real set have other classes: {only}; give the --labels that the synthetic set was "
            "made with"
        )


def measure(folder, real, synthetic, test, ages, **options):
    """`benchmark` of the tasks that the classes allow, or {"unavailable": why}.

    Args:
      real, synthetic: Records.
      test: the same, or empty.
      ages: {"young", "mature": (first, last age in years)}, see `study_groups.list_tasks`.
      options: of `benchmark`.
    """
    if not len(test):
        return {"unavailable": NOTHING_TO_TEST_ON.format(real.manifest["name"])}
    tasks = study_groups.list_tasks(real.class_names, **ages)
    if not tasks:
        return {"unavailable": NO_TASK.format(", ".join(real.class_names))}
    return benchmark(folder, real, synthetic, test, tasks=tasks, **options)


def benchmark(
    folder,
    real,
    synthetic,
    test,
    *,
    tasks,
    repeats,
    models=MODELS,
    arms=ARMS,
    most_training=MOST_TRAINING,
    steps=None,
    weights=None,
    seed=0,
):
    """Trains every model for every task on the arms and tests them on real images.

    Half of what real_and_synthetic sees is real, however many synthetic images there are, so that many do not drown
    the few real ones. Sets are balanced, as in P2: as many images of each target class, drawn anew for each repeat,
    the test images once. VGG16 trains as many steps in each arm. A training that is finished is not repeated.

    Args:
      folder: pathlib.Path; keeps the trainings and the features.
      real, synthetic, test: sequences of Samples with image and label, all of one size, and group where it is known.
      tasks: {task: {class name: target class}}, see `study_groups.list_tasks`.
      repeats: trainings per model and arm, with seeds seed, seed + 1, ...
      models: names among MODELS.
      arms: names among ARMS.
      most_training: images of a task that an arm learns from; real_and_synthetic has as many of each kind.
      steps: training steps of each VGG16; None: as many as P2's 20 epochs of the real images.
      weights: path of pretrained weights of VGG16, or None.

    Returns:
      The "classification" part of report.json, without classes that cannot be tested; {"unavailable": why} where none
      can.

    Raises:
      InputError: images of several sizes, or a group in training and test.
    """
    trainings = Trainings(folder, real, synthetic, test, tasks, repeats, most_training, steps, weights, seed)
    if not trainings.tasks:
        return {"unavailable": TOO_FEW.format(len(test))}
    results = trainings.run_all(models, arms)

    def collect(key):
        return {
            task: {
                model: {arm: [results[task, model, arm, repeat][key] for repeat in range(repeats)] for arm in arms}
                for model in models
            }
            for task in trainings.tasks
        }

    return trainings.describe(models, arms) | {
        "tasks": {
            task: {model: _compare_arms(values, trainings.tested(task), seed) for model, values in of_models.items()}
            for task, of_models in collect("values").items()
        },
        "parameters": collect("parameters"),
        "seconds": collect("seconds"),
    }


class Trainings:
    """The trainings of one benchmark, each kept in a file of `folder`. Arguments are those of `benchmark`."""

    def __init__(self, folder, real, synthetic, test, tasks, repeats, most_training, steps, weights, seed):
        self.folder, self.repeats, self.seed = Path(folder), repeats, seed
        self.folder.mkdir(parents=True, exist_ok=True)
        self.weights = Path(weights) if weights else None
        self.weights_digest = balanced_sets.digest(self.weights.read_bytes()) if weights else None
        self.most_training = most_training
        self.sets = balanced_sets.read_sets(real, synthetic, test)
        self.tasks = balanced_sets.keep_measurable(tasks, self.sets)
        self.features = {}
        self.drawn = {
            task: [
                balanced_sets.draw(self.sets, classes, seed, repeat, most_training, MOST_TEST)
                for repeat in range(repeats)
            ]
            for task, classes in self.tasks.items()
        }
        self.steps = {task: steps or _count_steps(draws[0]["real"][0]) for task, draws in self.drawn.items()}

    def tested(self, task):
        """The Part of the test images of a task."""
        return self.drawn[task][0]["test"][0]

    def run_all(self, models, arms):
        """{(task, model, arm, repeat): result of `run`}."""
        if {*models} - {"vgg16"}:
            self.features = {name: _describe(self.folder, images) for name, images in self.sets.items()}
        results = {}
        for model in sorted(models, key="vgg16".__eq__):  # the longest last
            jobs = [(task, model, arm, repeat) for task in self.tasks for repeat in range(self.repeats) for arm in arms]
            for job in jobs if model == "vgg16" else show_progress(jobs, desc=model.replace("_", " "), unit="training"):
                results[job] = self.run(*job)
        return results

    def run(self, task, model, arm, repeat):
        """{"values": [images, classes], "parameters", "seconds"} of one training, from its file if it is finished."""
        parts, tested = self.drawn[task][repeat][arm], self.tested(task)
        digests = [self.sets[part.name].digest for part in (*parts, tested)]
        content = [self.tasks[task], self.most_training, *digests, balanced_sets.digest(tested.chosen)]
        if model == "vgg16":
            content += [self.steps[task], self.weights_digest, tf.keras.mixed_precision.global_policy().name]
        digest = balanced_sets.digest(json.dumps(content).encode())
        name = f"{task}-{model}-{arm}-seed{self.seed + repeat}-{digest}".replace(" ", "_")
        path = self.folder / f"{name}.json"
        if path.exists():
            return json.loads(path.read_text(encoding="utf-8"))
        if model == "vgg16":
            label = f"VGG16 ({task}, {arm.replace('_', ' ')}, {repeat + 1}/{self.repeats})"
            result = self.train_vgg16(self.folder / name, parts, tested, self.steps[task], self.seed + repeat, label)
        else:
            result = self.train_classical(model, parts, tested, self.seed + repeat)
        result["values"] = np.round(result["values"], 6).tolist()
        write_json(path, result)
        shutil.rmtree(self.folder / name / "checkpoints", ignore_errors=True)  # VGG16's are large, and done with
        return result

    def train_vgg16(self, folder, parts, tested, steps, seed, label):
        """Trains VGG16; its best weights are chosen on images of its own arm whose groups it does not learn from."""
        learn, check = [], []
        for part in parts:
            pixels = self.sets[part.name].pixels[part.chosen]
            split = next(lbp.make_folds(part.truth, part.groups, seed).split(part.truth, part.truth, part.groups))
            for images, indices in zip((learn, check), split, strict=True):
                images.append((pixels[indices], part.truth[indices]))
        classes = tested.truth.max() + 1
        model, fit = vgg16.train(folder, learn, check, classes, steps, seed, label, self.weights)
        values = vgg16.predict(model, self.sets[tested.name].pixels[tested.chosen])
        parameters = {"validation_loss": fit["validation_loss"]}
        return {"values": values, "parameters": parameters, "seconds": round(fit["seconds"], 1)}

    def train_classical(self, model, parts, tested, seed):
        """Trains another model; its radii and parameters are chosen on folds of its own arm that cut no group."""
        began = time.monotonic()
        features = np.concatenate([self.features[part.name][part.chosen] for part in parts])
        truth = np.concatenate([part.truth for part in parts])
        # No group in two sets
        groups = np.concatenate([part.groups + place * len(features) for place, part in enumerate(parts)])
        fitted, parameters = lbp.train(model, features, truth, groups, seed)
        values = lbp.predict(fitted, self.features[tested.name][tested.chosen])
        return {"values": values, "parameters": parameters, "seconds": round(time.monotonic() - began, 1)}

    def describe(self, models, arms):
        """What report.json says of the sets and settings."""
        groups = {name: {*self.sets[name].groups} - {None} for name in ("real", "test")}
        return {
            "image_size": list(self.sets["real"].pixels.shape[1:3]),
            "repeats": self.repeats,
            "steps": self.steps if "vgg16" in models else {},
            "vgg_weights": self.weights.name if self.weights else None,
            "classes": self.tasks,
            "counts": {
                task: {arm: balanced_sets.count_classes(self.sets, draws[0][arm]) for arm in (*arms, "test")}
                for task, draws in self.drawn.items()
            },
            "groups": {name: len(names) or None for name, names in groups.items()},
        }


def _count_steps(real):
    """Training steps of P2's epochs of a Part, without the fold that the best weights are chosen on."""
    learned = len(real.chosen) * (lbp.FOLDS - 1) / lbp.FOLDS
    return math.ceil(vgg16.EPOCHS * learned / vgg16.BATCH_SIZE)


def _compare_arms(values, tested, seed):
    """The scores of one task and model, and what is lost by learning from synthetic images.

    Args:
      values: {arm: [[images, classes] of each repeat]}.
      tested: Part of the test images.
      seed: of the bootstrap.

    Returns:
      {arm: {metric: {"mean", "sd", "runs", "interval"}}, "relative_drop", "relative_drop_interval"}; the last two are
      None without the real and the synthetic arm.
    """
    scores, draws = {}, {}
    for arm, runs in values.items():
        runs = [np.array(run) for run in runs]
        draws[arm] = accuracy.score_draws(runs, tested.truth, tested.groups, seed)
        of_runs = [accuracy.score(run, tested.truth) for run in runs]
        scores[arm] = {
            metric: _summarise([run[metric] for run in of_runs])
            | {"interval": bootstrap.compute_interval(draws[arm][metric])}
            for metric in accuracy.METRICS
        }
    if not {"real", "synthetic"} <= values.keys():
        return scores | {"relative_drop": None, "relative_drop_interval": None}
    drop = accuracy.relative_drop(*(scores[arm]["accuracy"]["mean"] for arm in ("real", "synthetic")))
    drops = accuracy.relative_drop(*(draws[arm]["accuracy"] for arm in ("real", "synthetic")))
    return scores | {
        "relative_drop": float(drop) if np.isfinite(drop) else None,
        "relative_drop_interval": bootstrap.compute_interval(drops),
    }


def _summarise(runs):
    return {"mean": statistics.fmean(runs), "sd": statistics.stdev(runs) if len(runs) > 1 else None, "runs": runs}


def _describe(folder, images):
    """The local binary patterns of a set, kept in the folder."""
    path = folder / f"lbp-{images.digest}.npy"
    if path.exists():
        return np.load(path, allow_pickle=False)
    bar = show_progress(images.pixels, desc=f"patterns of {images.name}", unit="image")
    features = lbp.count_patterns(bar)
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        np.save(file, features)
    temporary.rename(path)
    return features
