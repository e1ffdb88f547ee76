"""Trained generator and seeds -> synthetic Samples, and the synthetic set as files for people."""

import csv
import dataclasses
import itertools
import shutil
from fractions import Fraction

import numpy as np
import tensorflow as tf
from PIL import Image

from synthmed_tf import grain
from synthmed_tf.images.field_of_view import estimate_field_of_view
from synthmed_tf.metrics import features, kid_fid
from synthmed_tf.papers.hash_filter import average_hash, keep_similar, to_eight_bits
from synthmed_tf.progress import show_progress
from synthmed_tf.sample import InputError, Sample, spaced
from synthmed_tf.training import stage2
from synthmed_tf.training.log import draw_grid

NOISE_MEASURED = 64  # real and synthetic photographs of a class
CHUNK = 16  # masks made at once, aligned to the index, so that sample i has the same bits whoever makes it


def from_noise(networks, settings, count, start=0, with_field_of_view=False, label=None):
    """Masks, or photographs, number `start` to `count` - 1 from a trained stage 1.

    Args:
      networks: stage1.Stage1.
      settings: of the training; seed, warp.
      count: how many there are in all; None: endless.
      start: the first one wanted.
      with_field_of_view: estimate each photograph's field of view from the photograph itself.
      label: (index of a class, name) of the samples; None: they have none.

    Yields:
      Sample with a mask or an image, whichever networks.target says; a function of (seed, class, index) alone. With
      warp the generator of masks knows eyes turned one way only, and half of the masks are mirrored back.
    """
    seed = settings["seed"]
    class_index, class_name = label or (None, None)
    first_key = [seed, -2 if label is None else -1000 - class_index]
    is_told = label is not None and networks.typical is not None
    labels = tf.one_hot(tf.fill([CHUNK], class_index), networks.typical.shape[1]) if is_told else None
    for first in itertools.count(start // CHUNK * CHUNK, CHUNK):
        if count is not None and first >= count:
            return
        keys = [tf.random.experimental.stateless_fold_in(first_key, index) for index in range(first, first + CHUNK)]
        noise = tf.stack([tf.random.stateless_normal(networks.noise_shape, key) for key in keys])
        made = networks.pictures(networks.draw(noise, labels))
        for index in range(max(first, start), first + CHUNK if count is None else min(first + CHUNK, count)):
            picture = made[index - first]
            is_mirrored = tf.random.stateless_uniform([], keys[index - first] + 1) < 0.5
            if networks.target == "mask" and settings["warp"] and is_mirrored:
                picture = np.ascontiguousarray(picture[:, ::-1])
            view = estimate_field_of_view(picture) if with_field_of_view else None
            parts = {networks.target: picture, "field_of_view": view, "label": class_name}
            yield Sample(id=f"synthetic-{index:06d}", **parts, seed=seed)


def labelled(models, real, settings, count, tally, rejected, with_field_of_view=False):
    """A labelled set: `count` photographs,
    with the classes of the real set or as many of each (settings["label_distribution"]).

    Sample i does not depend on count: its class follows from `class_order`, and each class has a stream of candidates
    of its own. With settings["grain"] they get the noise that real ones of the class have and they lack, see `noisy`;
    with settings["hash_filter"] those that `keep_similar` rejects are made anew.

    Args:
      models: {class name: stage1.Stage1}, in the order of the classes; a conditional model stands there for each.
      real: sequence of labelled training Samples.
      settings: of the training; seed, label_distribution, grain, hash_filter.
      count: how many.
      tally: dict that gets "candidates", "rejected", "too_far" and "rate", over all and in "classes" for each class;
        see `keep_similar`.
      rejected: list that gets up to REJECTED_SHOWN rejected Samples.
      with_field_of_view: see `from_noise`.

    Yields:
      Samples with a label, with ids numbered from 0.
    """
    of_class = {name: [sample for sample in real if sample.label == name] for name in models}
    of_class = {name: samples for name, samples in of_class.items() if samples}
    nothing = {"candidates": 0, "rejected": 0, "too_far": 0, "rate": 0.0}
    tally |= nothing | {"classes": {name: dict(nothing) for name in of_class}}
    streams = {}
    for index, name in enumerate(models):
        if name in of_class:
            streams[name] = from_noise(models[name], settings, None, 0, with_field_of_view, (index, name))
    if settings["grain"]:
        streams = noisy(streams, of_class, settings["seed"])
    if settings["hash_filter"]:
        for name in streams:
            hashes = np.stack([average_hash(sample.image) for sample in of_class[name]])
            streams[name] = keep_similar(streams[name], hashes, [tally, tally["classes"][name]], rejected)
    is_balanced = settings["label_distribution"] == "balanced"
    shares = {name: 1 if is_balanced else len(samples) for name, samples in of_class.items()}
    for index, name in enumerate(itertools.islice(class_order(shares), count)):
        yield dataclasses.replace(next(streams[name]), id=f"synthetic-{index:06d}")


def noisy(streams, real, seed):
    """Photographs with the pixel noise that real ones have more of,
    where KID says that it makes the set more like the real one.

    A generator learns to leave out what cannot be foreseen, and patterns of neighbouring pixels tell its photographs by
    that (P2's LBP). Where fine detail is lacking that is no noise, as ribs are in radiographs, noise makes them no
    better. The levels, by brightness, are those of each class; whether there is noise is decided for all of them at
    once, as else it would tell the classes apart. Measured are the first NOISE_MEASURED candidates of each class.

    Args:
      streams: {class name: iterator of Samples with an image}; see `from_noise`.
      real: {class name: training Samples with an image}, of which at most NOISE_MEASURED count, at even steps.
      seed: the noise of the i-th candidate of a class is a function of it, the class and i.

    Returns:
      {class name: iterator of Samples}, with noise or as they come.
    """
    some = {name: spaced(each, NOISE_MEASURED) for name, each in real.items()}
    first = {name: list(itertools.islice(stream, NOISE_MEASURED)) for name, stream in streams.items()}
    levels = {}
    for name in streams:
        wanted, found = (grain.noise_levels(sample.image for sample in samples[name]) for samples in (some, first))
        levels[name] = np.sqrt(np.maximum(0, wanted**2 - found**2))

    def add(name, samples):
        key = [seed, -2000 - list(streams).index(name)]
        for index, sample in enumerate(samples):
            folded = tf.random.experimental.stateless_fold_in(key, index)
            yield dataclasses.replace(sample, image=grain.with_noise(sample.image, levels[name], folded))

    def described(sets):
        samples = [sample for each in sets.values() for sample in each]
        return features.photograph_features([each.image for each in samples], [each.field_of_view for each in samples])

    originals = described(some)

    def distance(sets):
        return kid_fid.kid(*(features.standardise(each, originals) for each in (originals, described(sets))))

    helps = len(originals) > 1 and distance({name: add(name, each) for name, each in first.items()}) < distance(first)
    everything = {name: itertools.chain(first[name], stream) for name, stream in streams.items()}
    return {name: add(name, each) for name, each in everything.items()} if helps else everything


def class_order(shares):
    """Endless order of classes in which every prefix of n has each class n times its share, to less than one.

    Tijdeman 1980, "The chairman assignment problem": of the classes that may come without running ahead, the one whose
    time is up first. After as many as the shares sum up to, or a multiple, the numbers are exact.

    Args:
      shares: {class name: positive int}, in any unit.
    """
    total, slack = sum(shares.values()), Fraction(1, 2 * len(shares) - 2) if len(shares) > 1 else Fraction(1)
    shares = {name: Fraction(share, total) for name, share in shares.items()}
    made = dict.fromkeys(shares, 0)
    for n in itertools.count(1):
        allowed = [name for name in shares if shares[name] * n - made[name] >= slack]
        name = min(allowed, key=lambda name: (made[name] + 1 - slack) / shares[name])
        made[name] += 1
        yield name


def pairs(networks, mask_samples, settings, with_field_of_view):
    """Photographs for masks, one at a time: sample i is a function of (its mask, seed, i) alone.

    Args:
      networks: stage2.Stage2.
      mask_samples: iterable of Samples from `from_noise`, from index 0 on.
      settings: of the training; seed.
      with_field_of_view: estimate each photograph's field of view from the photograph itself (no real one is ever
        copied).

    Yields:
      Sample with an image, a mask, and field_of_view where asked for; what of the mask lies outside of it is left out,
      as photographs of another set than the masks' may show less of the eye.
    """
    for index, sample in enumerate(mask_samples):
        photograph = stage2.translate(networks, sample.mask[None], [settings["seed"], index])[0]
        if not with_field_of_view:
            yield dataclasses.replace(sample, image=photograph)
            continue
        view = estimate_field_of_view(photograph)
        yield dataclasses.replace(sample, image=photograph, mask=sample.mask * view, field_of_view=view)


def write_png(folder, samples):
    """Writes images/, masks/ where there are any, and index.csv, with labels where there are any, under `folder`, for
    people and for other tools; all or nothing.

    Args:
      folder: pathlib.Path; replaced.
      samples: sequence of synthetic Samples.

    Raises:
      InputError: the disk is full or the folder cannot be written.
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        kinds = {"image": "images", "mask": "masks"}
        kinds = {part: kind for part, kind in kinds.items() if getattr(samples[0], part) is not None}
        for kind in kinds.values():
            (temporary / kind).mkdir(parents=True)
        with open(temporary / "index.csv", "w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            labelled = samples[0].label is not None
            table.writerow(["id", *kinds, *["label"] * labelled, "seed"])
            for sample in show_progress(samples, desc="PNG files", unit="pair", disable=len(samples) < 500):
                for part, kind in kinds.items():
                    pixels = getattr(sample, part) * np.uint8(255 if part == "mask" else 1)
                    Image.fromarray(np.squeeze(pixels)).save(temporary / kind / f"{sample.id}.png")
                files = (f"{kind}/{sample.id}.png" for kind in kinds.values())
                table.writerow([sample.id, *files, *[sample.label] * labelled, sample.seed])
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    except OSError as error:
        raise InputError(
            f"{folder}: could not be written ({error.strerror}); free space on the disk and run the command again"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_grid(path, samples):
    """Writes the images of Samples side by side as one 8-bit picture; without any, there is no such file."""
    path.unlink(missing_ok=True)
    if samples:
        sheet = draw_grid(np.stack([to_eight_bits(sample.image) for sample in samples]))
        Image.fromarray(np.squeeze(sheet)).save(path)


def require(real, *features):
    """Raises InputError unless the real records hold these features."""
    for feature in features:
        if feature not in real.features:
            raise InputError(f"{real.folder}: the samples have no {feature}, which is needed here; give another set")


def describe_real(manifest):
    """What a synthetic set's manifest says of the real set: nothing of a single image, no path, no file name."""
    keys = ("name", "counts", "image_size", "channels", "fields_of_view", "test_split", "holdout")
    return {key: manifest[key] for key in keys} | {
        key: manifest[key] for key in ("labels", "chest_xrays", "class_counts") if key in manifest
    }
