"""Is a labelled synthetic set useful?

The same classifiers trained on real, on synthetic and on both, tested on real images (P2 table 3).
"""

import collections
import hashlib
import json
import math
import shutil
import statistics
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from synthmed_tf.datasets import study_groups
from synthmed_tf.metrics import accuracy, bootstrap, local_binary_patterns
from synthmed_tf.records.atomic import write_json
from synthmed_tf.sample import InputError
from synthmed_tf.training import classical, classifier

MODELS = ("vgg16", "knn", "svm", "random_forest")  # P2 § 3.2
ARMS = ("real", "synthetic", "real_and_synthetic")
NOTHING_TO_TEST_ON = (
    "{} has no test images. Hold out training images: run train_stage1.py with --holdout=5 and another --out_dir."
)
NO_TASK = (
    "The classes {} allow no task of two classes; give other --labels, or for study groups other --young and --mature."
)
MOST_TRAINING, MOST_TEST = 8000, 2000  # images of a task, P2 table 2

# Of a set; a group is None where it is not known
Images = collections.namedtuple("Images", "name pixels labels groups digest")
# Of a set: indices, and their class and group as numbers
Part = collections.namedtuple("Part", "name chosen truth groups")


def check_classes(real, synthetic):
    """Refuses two Records whose classes do not fit.

    Raises:
      InputError: one of them has no classes, or theirs differ.
    """
    for some in (real, synthetic):
        if not some.class_names:
            raise InputError(
                f"{some.folder}: has no classes, so nothing can be told apart; leave classification out of --benchmarks"
            )
    ours, theirs = (set(some.class_names) for some in (synthetic, real))
    if ours != theirs:
        odd = ((ours - theirs, synthetic), (theirs - ours, real))
        only = "; ".join(f"{', '.join(map(repr, sorted(names)))} only in {some.folder}" for names, some in odd if names)
        raise InputError(
            f"the synthetic and the real set have other classes: {only}; give the --labels that the synthetic set was made with"
        )


def measure(folder, real, synthetic, test, ages, **options):
    """`benchmark` of the tasks that the classes allow, or {"unavailable": why}.

    Args:
      real, synthetic: Records; test: the same, or empty.
      ages: {"young", "mature": (first, last age in years)}, see `study_groups.list_tasks`.
      options: of `benchmark`.
    """
    if not len(test):
        return {"unavailable": NOTHING_TO_TEST_ON.format(real.manifest["name"])}
    tasks = study_groups.list_tasks(real.class_names, **ages)
    if not tasks:
        return {"unavailable": NO_TASK.format(", ".join(real.class_names))}
    return benchmark(folder, real, synthetic, test, tasks=tasks, **options)


def benchmark(folder, real, synthetic, test, *, tasks, repeats, models=MODELS, steps=None, weights=None, seed=0):
    """Trains every model for every task on the arms and tests them on real images.

    The arms are real, synthetic and real_and_synthetic. Half of what real_and_synthetic sees is real, however many
    synthetic images there are, so that many do not drown the few real ones: VGG16's batches are mixed so, and the
    classical models learn from at most as many synthetic images as real ones. VGG16 trains as many steps in each arm.
    What a training is chosen by, VGG16's best weights or the radii and parameters of the others, is measured on images
    of its own arm that no group shares with those it learns from.

    All sets are balanced, as in P2: as many images of each class within a target class, and as many of each target
    class, drawn at random anew for each repeat. The test images of a task are drawn once. Trainings that are done are
    not done again.

    Args:
      folder: pathlib.Path; keeps the trainings and the features.
      real, synthetic, test: sequences of Samples with image and label, all of one size; group is used where it is
        known.
      tasks: {task: {class name: target class}}, see `study_groups.list_tasks`.
      repeats: trainings per model and arm, with seeds seed, seed + 1, ...
      models: names among MODELS.
      steps: training steps of each VGG16; None: as many as P2's 20 epochs of the real images.
      weights: path of pretrained weights of VGG16, or None.

    Returns:
      The "classification" part of report.json.

    Raises:
      InputError: no image of a class, too few to learn from, images of several sizes, or a group in training and test.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    named = {"real": "the real training images", "synthetic": "the synthetic set", "test": "the real test images"}
    sets = _alike(
        {key: _read(named[key], samples) for key, samples in (("real", real), ("synthetic", synthetic), ("test", test))}
    )
    if both := {*sets["real"].groups} & {*sets["test"].groups} - {None}:
        raise InputError(
            f"{len(both)} patients or slides have images both to learn from and to test on, {min(both)!r} for one; split the set by them"
        )
    features = {} if {*models} <= {"vgg16"} else {name: _features(folder, images) for name, images in sets.items()}
    weights_digest = _digest(Path(weights).read_bytes()) if weights else None

    # What each task learns from and is tested on, a repeat at a time; how long its VGG16 trains
    drawn, steps_of = {}, {}
    for task, classes in tasks.items():
        drawn[task] = [_draw(sets, classes, seed, repeat) for repeat in range(repeats)]
        learned = len(drawn[task][0]["real"][0].chosen) * (classical.FOLDS - 1) / classical.FOLDS
        steps_of[task] = steps or math.ceil(classifier.EPOCHS * learned / classifier.BATCH_SIZE)

    def run(task, model, arm, repeat):
        parts, (tested,) = drawn[task][repeat][arm], drawn[task][repeat]["test"]
        known = [tasks[task], *(sets[part.name].digest for part in (*parts, tested)), _digest(tested.chosen)]
        known += [steps_of[task], weights_digest] if model == "vgg16" else []
        name = f"{task}-{model}-{arm}-seed{seed + repeat}-{_digest(json.dumps(known).encode())}".replace(" ", "_")
        done = folder / f"{name}.json"
        if done.exists():
            return json.loads(done.read_text(encoding="utf-8"))
        if model == "vgg16":
            shown = f"VGG16 ({task}, {arm.replace('_', ' ')}, {repeat + 1}/{repeats})"
            result = _vgg16(folder / name, sets, parts, tested, steps_of[task], seed + repeat, shown, weights)
        else:
            result = _classical(model, features, parts, tested, seed + repeat)
        result["values"] = np.round(result["values"], 6).tolist()
        write_json(done, result)
        shutil.rmtree(folder / name / "checkpoints", ignore_errors=True)  # VGG16's are large, and done with
        return result

    runs = {}
    for model in sorted(models, key="vgg16".__eq__):  # the longest last
        jobs = [(task, model, arm, repeat) for task in tasks for repeat in range(repeats) for arm in ARMS]
        for job in jobs if model == "vgg16" else tqdm(jobs, desc=model.replace("_", " "), unit="training"):
            runs[job] = run(*job)

    def of(task, model, arm, key):
        return [runs[task, model, arm, repeat][key] for repeat in range(repeats)]

    found = {}
    for task in tasks:
        (tested,) = drawn[task][0]["test"]
        values = {
            model: {arm: [np.array(run) for run in of(task, model, arm, "values")] for arm in ARMS} for model in models
        }
        found[task] = {model: _compare(values[model], tested.truth, tested.groups, seed) for model in models}
    each = {
        key: {task: {model: {arm: of(task, model, arm, key) for arm in ARMS} for model in models} for task in tasks}
        for key in ("parameters", "seconds")
    }
    return {
        "tasks": found,
        "image_size": list(sets["real"].pixels.shape[1:3]),
        "repeats": repeats,
        "steps": steps_of if "vgg16" in models else {},
        "vgg_weights": Path(weights).name if weights else None,
        "classes": tasks,
        "counts": {task: {arm: _counts(sets, drawn[task][0][arm]) for arm in (*ARMS, "test")} for task in tasks},
        "groups": {name: len({*sets[name].groups} - {None}) or None for name in ("real", "test")},
        **each,
    }


def balanced(images, classes, seed, most):
    """Which images to take: as many of each target class, and of each class within one (but for one where there are too
    few images for both).

    Args:
      images: Images. classes: {class name: target class}. seed: int or list of them. most: images in all.

    Returns:
      [count] int, in the order of the set.

    Raises:
      InputError: there is no image of a class.
    """
    members = collections.defaultdict(list)
    for name, target in classes.items():
        members[target].append(np.flatnonzero(images.labels == name))
        if not len(members[target][-1]):
            raise InputError(
                f"{images.name} hold no image of the class {name!r}; give more images, or other --labels that leave it out"
            )
    multiple = math.lcm(*map(len, members.values()))
    per_target = min(most // len(members), *(len(each) * min(map(len, each)) for each in members.values()))
    per_target = per_target // multiple * multiple or per_target
    random = np.random.default_rng(seed)
    chosen = [
        random.permutation(which)[: per_target // len(each) + (place < per_target % len(each))]
        for each in members.values()
        for place, which in enumerate(each)
    ]
    return np.sort(np.concatenate(chosen))


def _draw(sets, classes, seed, repeat):
    """{arm or "test": [Part of each set]} of one repeat."""

    def part(name, most, *random):
        images = sets[name]
        chosen = balanced(images, classes, random, most)
        truth = np.array([_numbers(classes)[label] for label in images.labels[chosen]])
        names = [
            f"image {index}" if images.groups[index] is None else f"group {images.groups[index]}" for index in chosen
        ]
        return Part(name, chosen, truth, np.unique(names, return_inverse=True)[1])

    real = part("real", MOST_TRAINING, seed + repeat, 0)
    return {
        "real": [real],
        "synthetic": [part("synthetic", MOST_TRAINING, seed + repeat, 1)],
        "real_and_synthetic": [real, part("synthetic", len(real.chosen), seed + repeat, 1)],
        "test": [part("test", MOST_TEST, seed, 2)],
    }


def _vgg16(folder, sets, parts, tested, steps, seed, shown, weights):
    """{"values": [images, classes], "parameters", "seconds"} of one training."""
    learn, check = [], []
    for part in parts:
        pixels = sets[part.name].pixels[part.chosen]
        split = next(classical.folds(part.truth, part.groups, seed).split(part.truth, part.truth, part.groups))
        for which, indices in zip((learn, check), split, strict=True):
            which.append((pixels[indices], part.truth[indices]))
    model, done = classifier.train(folder, learn, check, tested.truth.max() + 1, steps, seed, shown, weights)
    values = classifier.predict(model, sets[tested.name].pixels[tested.chosen])
    return {
        "values": values,
        "parameters": {"validation_loss": done["validation_loss"]},
        "seconds": round(done["seconds"], 1),
    }


def _classical(model, features, parts, tested, seed):
    """The same of another model."""
    began = time.monotonic()
    known = np.concatenate([features[part.name][part.chosen] for part in parts])
    truth = np.concatenate([part.truth for part in parts])
    # No group in two sets
    groups = np.concatenate([part.groups + place * MOST_TRAINING for place, part in enumerate(parts)])
    fitted, chosen = classical.train(model, known, truth, groups, seed)
    values = classical.predict(fitted, features[tested.name][tested.chosen])
    return {"values": values, "parameters": chosen, "seconds": round(time.monotonic() - began, 1)}


def _compare(arms, truth, groups, seed):
    """Of one task and model:
    {arm: {metric: {"mean", "sd", "runs", "interval"}}, "relative_drop", "relative_drop_interval"}.
    """
    found, drawn = {}, {}
    for arm, runs in arms.items():
        drawn[arm] = accuracy.bootstrapped(runs, truth, groups, seed)
        each = [accuracy.scores(values, truth) for values in runs]
        found[arm] = {
            metric: _summary([scores[metric] for scores in each]) | {"interval": bootstrap.interval(drawn[arm][metric])}
            for metric in accuracy.METRICS
        }
    drop = accuracy.relative_drop(*(found[arm]["accuracy"]["mean"] for arm in ("real", "synthetic")))
    drops = accuracy.relative_drop(*(drawn[arm]["accuracy"] for arm in ("real", "synthetic")))
    found["relative_drop"] = float(drop) if np.isfinite(drop) else None
    return found | {"relative_drop_interval": bootstrap.interval(drops)}


def _summary(runs):
    return {"mean": statistics.fmean(runs), "sd": statistics.stdev(runs) if len(runs) > 1 else None, "runs": runs}


def _read(name, samples):
    samples = list(samples)
    shapes = {sample.image.shape for sample in samples}
    if len(shapes) > 1:
        two = " and ".join(map(str, sorted(shapes)[:2]))
        raise InputError(f"{name} are of several sizes, {two} for two; classifiers need one")
    pixels = np.stack([sample.image for sample in samples])
    labels, groups = (np.array([getattr(sample, key) for sample in samples], object) for key in ("label", "group"))
    return Images(name, pixels, labels, groups, _digest(pixels, json.dumps([*labels, *groups]).encode()))


def _alike(sets):
    """16-bit images beside 8-bit ones lose their lower byte:
    patterns of neighbouring pixels are finer in the one than in the other.
    """
    if len({images.pixels.dtype for images in sets.values()}) == 1:
        return sets
    return {
        name: images._replace(pixels=(images.pixels >> 8).astype(np.uint8), digest=f"{images.digest}-8bit")
        if images.pixels.dtype == np.uint16
        else images
        for name, images in sets.items()
    }


def _features(folder, images):
    """lbp_features of a set, kept in the folder."""
    path = folder / f"lbp-{images.digest}.npy"
    if path.exists():
        return np.load(path, allow_pickle=False)
    bar = tqdm(images.pixels, desc=f"patterns of {images.name}", unit="image")
    features = local_binary_patterns.lbp_features(bar)
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        np.save(file, features)
    temporary.rename(path)
    return features


def _numbers(classes):
    """{class name: number of its target class}."""
    targets = sorted(set(classes.values()))
    return {name: targets.index(target) for name, target in classes.items()}


def _counts(sets, parts):
    """{class name: how many images}, of several Parts together."""
    found = collections.Counter(label for part in parts for label in sets[part.name].labels[part.chosen])
    return dict(sorted(found.items()))


def _digest(*parts):
    """8 hexadecimal digits of bytes or arrays: other data are another training."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:8]
