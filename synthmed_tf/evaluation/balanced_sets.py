"""Sets of labelled images as arrays, and as many images of each class drawn from them (P2 table 2)."""

import collections
import hashlib
import json
import math
import warnings

import numpy as np

from synthmed_tf.datasets.files import list_some
from synthmed_tf.sample import InputError

# A whole set: [images, height, width, channels], their labels and groups (None where a group is unknown), a digest
Images = collections.namedtuple("Images", "name pixels labels groups digest")
# Images drawn from a set: indices into it, their target classes and groups as numbers
Part = collections.namedtuple("Part", "name chosen truth groups")


def read_sets(real, synthetic, test):
    """The three sets as {"real", "synthetic", "test": Images}, of one size each and all of one depth.

    Args:
      real, synthetic, test: sequences of Samples with image and label.

    Raises:
      InputError: images of several sizes in a set, or a group with images in real and test.
    """
    sets = {
        "real": _read("the real training images", real),
        "synthetic": _read("the synthetic set", synthetic),
        "test": _read("the real test images", test),
    }
    if both := {*sets["real"].groups} & {*sets["test"].groups} - {None}:
        raise InputError(
            f"{len(both)} patients or slides have images both to learn from and to test on, {min(both)!r} for one; "
            "split the set by them"
        )
    if len({images.pixels.dtype for images in sets.values()}) > 1:
        sets = {name: _in_8_bits(images) for name, images in sets.items()}
    return sets


def keep_measurable(tasks, sets):
    """The tasks without what cannot be tested, and a warning that counts the classes that are left out.

    A class needs an image in each set, a target class real and synthetic images of two groups to learn from, a task two
    target classes.

    Args:
      tasks: {task: {class name: target class}}. sets: {"real", "synthetic", "test": Images}.
    """
    kept = {}
    for task, classes in tasks.items():
        classes = {c: target for c, target in classes.items() if all((s.labels == c).any() for s in sets.values())}
        for images in (sets["real"], sets["synthetic"]):
            groups = collections.defaultdict(set)  # of each target class
            for place, (label, group) in enumerate(zip(images.labels, images.groups, strict=True)):
                groups[classes.get(label)].add(place if group is None else group)
            classes = {c: target for c, target in classes.items() if len(groups[target]) > 1}
        kept[task] = classes
    if left_out := sorted({c for task in tasks for c in tasks[task].keys() - kept[task].keys()}):
        warnings.warn(
            f"{len(left_out)} classes are left out of the classification ({list_some(left_out)}): each needs real test "
            "images, two synthetic ones, and training images of two patients",
            stacklevel=2,
        )
    return {task: classes for task, classes in kept.items() if len(set(classes.values())) > 1}


def draw(sets, classes, seed, repeat, most_training, most_test):
    """What each arm learns from in one repeat, and the test images, which are the same in all repeats.

    Args:
      sets: {"real", "synthetic", "test": Images}.
      classes: {class name: target class}.
      seed, repeat: of the training images; the test images depend on seed alone.
      most_training, most_test: images in all.

    Returns:
      {"real", "synthetic", "real_and_synthetic", "test": [Part of each set]}. Both arms of one set learn from the same
      real images; real_and_synthetic has at most as many synthetic ones.

    Raises:
      InputError: there is no image of a class.
    """

    def draw_part(name, most, *random):
        images = sets[name]
        chosen = balance(images, classes, random, most)
        truth = np.array([_numbers(classes)[label] for label in images.labels[chosen]])
        names = [
            f"image {index}" if images.groups[index] is None else f"group {images.groups[index]}" for index in chosen
        ]
        return Part(name, chosen, truth, np.unique(names, return_inverse=True)[1])

    real = draw_part("real", most_training, seed + repeat, 0)
    return {
        "real": [real],
        "synthetic": [draw_part("synthetic", most_training, seed + repeat, 1)],
        "real_and_synthetic": [real, draw_part("synthetic", len(real.chosen), seed + repeat, 1)],
        "test": [draw_part("test", most_test, seed, 2)],
    }


def balance(images, classes, seed, most):
    """Draws as many images of each target class, and within one as many of each class.

    Where there are fewer images than classes, some classes of a target class have one image less.

    Args:
      images: Images.
      classes: {class name: target class}.
      seed: int or list of them.
      most: images in all.

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
                f"{images.name} hold no image of the class {name!r}; give more images, or other --labels that leave it "
                "out"
            )
    multiple = math.lcm(*map(len, members.values()))
    per_target = min(most // len(members), *(len(parts) * min(map(len, parts)) for parts in members.values()))
    per_target = per_target // multiple * multiple or per_target
    random = np.random.default_rng(seed)
    chosen = [
        random.permutation(indices)[: per_target // len(parts) + (place < per_target % len(parts))]
        for parts in members.values()
        for place, indices in enumerate(parts)
    ]
    return np.sort(np.concatenate(chosen))


def count_classes(sets, parts):
    """{class name: images} of several Parts together."""
    counts = collections.Counter(label for part in parts for label in sets[part.name].labels[part.chosen])
    return dict(sorted(counts.items()))


def digest(*parts):
    """8 hexadecimal digits of bytes or arrays: other data are another training."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part)
    return sha.hexdigest()[:8]


def _read(name, samples):
    samples = list(samples)
    shapes = {sample.image.shape for sample in samples}
    if len(shapes) > 1:
        two = " and ".join(map(str, sorted(shapes)[:2]))
        raise InputError(f"{name} are of several sizes, {two} for two; classifiers need one")
    pixels = np.stack([sample.image for sample in samples])
    labels, groups = (np.array([getattr(sample, key) for sample in samples], object) for key in ("label", "group"))
    return Images(name, pixels, labels, groups, digest(pixels, json.dumps([*labels, *groups]).encode()))


def _in_8_bits(images):
    """16-bit images without their lower byte: their patterns of neighbouring pixels are finer than those of 8 bits."""
    if images.pixels.dtype != np.uint16:
        return images
    return images._replace(pixels=(images.pixels >> 8).astype(np.uint8), digest=f"{images.digest}-8bit")


def _numbers(classes):
    """{class name: number of its target class}."""
    targets = sorted(set(classes.values()))
    return {name: targets.index(target) for name, target in classes.items()}
