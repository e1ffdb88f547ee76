"""Trained generator and seeds -> synthetic Samples, and the synthetic set as files for people."""

import csv
import dataclasses
import hashlib
import itertools
import shutil
from fractions import Fraction

import imagehash
import numpy as np
import tensorflow as tf
from PIL import Image
from scipy import ndimage
from tqdm import tqdm

from synthmed_tf import grain
from synthmed_tf.images.field_of_view import estimate_field_of_view
from synthmed_tf.metrics import f1, features, kid_fid, likeness, mask_distance
from synthmed_tf.records.manifest import read_manifest
from synthmed_tf.records.read import Records
from synthmed_tf.records.write import write_records
from synthmed_tf.sample import InputError, Sample, spaced
from synthmed_tf.training import loop, segmenter, stage2

ANNOTATION_STEPS = 2000  # of the U-Net that makes masks for photographs without
RIM = 0.02  # of the longer side
MOST_TRIES = 10  # candidates for one sample; for one mask on average
REPEATED = 1e-6  # distance of a mask to itself
MOST_COMPARED = 2000  # training masks that a candidate is compared with
HASH_SIDE = 16  # P2 § 3.2
REAL_SHARE = 0.95  # of real images that the hash filter would let pass
REJECTED_SHOWN = 16
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
    with settings["hash_filter"] those that `like_real` rejects are made anew.

    Args:
      models: {class name: stage1.Stage1}, in the order of the classes; a conditional model stands there for each.
      real: sequence of labelled training Samples.
      settings: of the training; seed, label_distribution, grain, hash_filter.
      count: how many.
      tally: dict that gets "candidates", "rejected", "too_far" and "rate", over all and in "classes" for each class;
        see `like_real`.
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
            streams[name] = like_real(streams[name], hashes, [tally, tally["classes"][name]], rejected)
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


def average_hash(image):
    """Average hash of a photograph [height, width, 1 or 3] uint8 or uint16, by the ImageHash library: [256] bool.

    P2 § 3.2.
    """
    image = _eight_bits(image)
    return imagehash.average_hash(
        Image.fromarray(np.squeeze(image, -1) if image.shape[-1] == 1 else image), HASH_SIDE
    ).hash.ravel()


def _eight_bits(image):
    return (image // 257).astype(np.uint8) if image.dtype == np.uint16 else image


def hash_threshold(hashes):
    """The Hamming distance to the nearest other one that REAL_SHARE of the hashes [n, bits] keep to;
    None if there is no other.
    """
    if len(hashes) < 2:
        return None
    nearest = []
    for index, each in enumerate(hashes):
        distances = (hashes != each).sum(1)
        distances[index] = hashes.shape[1]
        nearest.append(distances.min())
    return int(np.quantile(nearest, REAL_SHARE, method="higher"))


def like_real(candidates, hashes, tallies, rejected):
    """Those photographs of an endless stream whose average hash lies as near to a real one's as real ones lie to each
    other. P2 § 3.2.

    P2 so checked "for correct global body shape", and does not say its threshold. Here it is `hash_threshold` of the
    real images, which one in 20 real images would not pass. For each one wanted MOST_TRIES candidates are looked at; if
    all are rejected, the nearest is passed on all the same, and counted in "too_far".

    Args:
      candidates: iterator of Samples with an image.
      hashes: [n, bits] of the real images of the class, see `average_hash`.
      tallies: dicts whose "candidates", "rejected", "too_far" grow; "rate" is the share of candidates that did not
        pass.
      rejected: list that gets rejected Samples, up to REJECTED_SHOWN.

    Yields:
      Samples. The i-th does not depend on how many are asked for.
    """
    threshold = hash_threshold(hashes)
    tries, best = 0, None
    for sample in candidates:
        tries += 1
        distance = (hashes != average_hash(sample.image)).sum(1).min()
        is_far = threshold is not None and distance > threshold
        if best is None or distance < best[0]:
            best = distance, sample
        if is_far and len(rejected) < REJECTED_SHOWN:
            rejected.append(sample)
        if is_far and tries < MOST_TRIES:
            continue
        for tally in tallies:
            tally["candidates"] += tries
            tally["rejected"] += tries - 1
            tally["too_far"] += int(is_far)
            tally["rate"] = round((tally["rejected"] + tally["too_far"]) / tally["candidates"], 4)
        yield best[1]
        tries, best = 0, None


def no_copies(candidates, real, count, tally):
    """Those masks of an endless stream that copy no training mask.

    A candidate is rejected where it lies nearer to a training mask than the two nearest training masks of different
    patients lie to each other: P2's filter (§ 3.2, threshold from the real images' distances among themselves) with the
    distance of metrics/mask_distance.py, which suits masks. So is one that is more like a training mask than the two most
    similar of different patients are, by the likeness of metrics/likeness.py, which a shift or a tilt does not hide; and
    one of which a half is more like a half of a training mask than the two most similar halves of different patients
    are, as a generator learns from halves of several eyes (augment.crossed). Of MOST_TRIES candidates for each one
    wanted, those that were not needed are left for later ones. If all are rejected, the one least like the training
    masks is passed on all the same, so that a generator that makes nothing else ends, and is told of.

    Args:
      candidates: iterator of Samples with a mask; see `from_noise`.
      real: sequence of training Samples with a mask; of more than MOST_COMPARED as many at even steps are looked at.
      count: how many to pass on.
      tally: dict that gets "threshold" (1 - Dice), "most_alike" and "halves_most_alike" (likeness), "candidates",
        "rejected", and "too_near", the number of those passed on all the same.

    Yields:
      Samples, with their ids numbered anew from 0. Sample i does not depend on count.
    """
    training = spaced(real, MOST_COMPARED)
    distances = mask_distance.distances([sample.mask for sample in training], [sample.mask for sample in training])
    # One that is there twice, as of two photographs of one eye, says nothing of how alike two eyes are
    kept = [index for index, row in enumerate(distances) if row[:index].min(initial=1.0) > REPEATED]
    training, distances = [training[index] for index in kept], distances[np.ix_(kept, kept)]
    training, patients = zip(*((sample.mask, sample.group or sample.id) for sample in training))
    square = len(set(training[0].shape[:2])) == 1
    if len(set(patients)) == 1:  # as in the audit, its other masks are the control
        patients = range(len(patients))
    pairs_of_two = np.not_equal.outer(patients, patients)
    threshold = distances.min(initial=1.0, where=pairs_of_two) if pairs_of_two.any() else 0.0
    learned, limits = [], []
    for parts in (1, 2):
        learned.append(likeness.mask_thumbnails(_in_parts(training, parts)))
        of_part = np.repeat(patients, parts)
        apart = np.not_equal.outer(of_part, of_part)
        limits.append(float(likeness.likest(learned[-1], learned[-1], square, apart)[0].max()) if apart.any() else 1.0)
    tally |= {"threshold": float(threshold), "most_alike": limits[0], "halves_most_alike": limits[1]}
    tally |= dict.fromkeys(("candidates", "rejected", "too_near"), 0)
    done, best = 0, None
    while done < count:
        chunk = list(itertools.islice(candidates, CHUNK))
        masks = [sample.mask for sample in chunk]
        to_training = mask_distance.distances(masks, training).min(1)
        excess = []  # of likeness over the limit
        for parts, references, limit in zip((1, 2), learned, limits, strict=True):
            small = likeness.mask_thumbnails(_in_parts(masks, parts))
            alike = likeness.likest(small, references, square)[0].reshape(len(masks), -1).max(1)
            excess.append(np.minimum(alike, 1) - limit)  # rounding exceeds 1
        excess = np.max(excess, 0)
        for index, sample in enumerate(chunk):
            if done == count:
                return
            tally["candidates"] += 1
            is_copy = bool(to_training[index] < threshold or excess[index] > 0)
            rank = not is_copy, -excess[index]
            if best is None or rank > best[0]:
                best = rank, sample
            if is_copy and tally["candidates"] < MOST_TRIES * (done + 1):
                continue
            tally["rejected"] = tally["candidates"] - (done + 1)
            tally["too_near"] += not best[0][0]
            yield dataclasses.replace(best[1], id=f"synthetic-{done:06d}")
            done, best = done + 1, None


def _in_parts(masks, parts):
    return masks if parts == 1 else [half for mask in masks for half in likeness.halves(mask)]


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


def annotated(folder, photographs, teachers, seed):
    """Photographs without masks -> pairs, by a U-Net that learned from another set (P1 § Data,
    which did so for MESSIDOR).

    Args:
      folder: pathlib.Path of stage 2; gets segmenter/, the training of the U-Net, and pairs/.
      photographs: Records without masks.
      teachers: Records with images and masks.
      seed: of the U-Net's training.

    Returns:
      Records of the pairs: private, as the photographs are.
    """
    model, result = segmenter.train(folder / "segmenter", [teachers], ANNOTATION_STEPS, seed, name="segmenter")
    made_by = {
        "checkpoint_sha256": checkpoint_sha256(result["checkpoint"]),
        "photographs": photographs.manifest["shards"],
    }
    if not is_current(folder / "pairs", len(photographs), **made_by):
        truth = [s.mask for s in teachers], [s.field_of_view for s in teachers]
        threshold = f1.best_threshold([*segmenter.predict(model, teachers)], *truth)
        probabilities = zip(photographs, segmenter.predict(model, photographs), strict=True)
        pairs = (
            dataclasses.replace(sample, mask=without_rim(values >= threshold, sample.field_of_view), label=None)
            for sample, values in tqdm(probabilities, "masks by the segmenter", len(photographs))
        )
        name = f"{photographs.manifest['name']}_annotated"
        source = (
            f"photographs of {photographs.manifest['name']}, masks by a U-Net trained on {teachers.manifest['name']}"
        )
        write_records(folder / "pairs", name, pairs, source=source, extra=made_by | {"threshold": threshold})
    return Records(folder / "pairs")


def without_rim(mask, field_of_view):
    """The mask less what lies within RIM of the border of the field of view,
    where a U-Net takes a cut edge for a vessel.

    Args:
      mask: [height, width] bool.
      field_of_view: [height, width, 1] in {0, 1}, or None: all of the frame, whose edges are no rim.

    Returns:
      [height, width, 1] uint8 in {0, 1}.
    """
    if field_of_view is not None:
        inside = np.pad(field_of_view[..., 0], 1)  # beyond the frame it is dark
        mask = mask & (ndimage.distance_transform_edt(inside)[1:-1, 1:-1] > RIM * max(mask.shape))
    return mask.astype(np.uint8)[..., None]


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
            for sample in tqdm(samples, desc="PNG files", unit="pair", disable=len(samples) < 500):
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
        sheet = loop.picture_grid(np.stack([_eight_bits(sample.image) for sample in samples]))
        Image.fromarray(np.squeeze(sheet)).save(path)


def is_current(folder, count, **checkpoints):
    """Whether `folder` holds `count` samples whose manifest has these entries (SHA-256 of checkpoints)."""
    if not (folder / "manifest.json").exists():
        return False
    manifest = read_manifest(folder)
    return sum(manifest["counts"].values()) == count and all(
        manifest.get(key) == value for key, value in checkpoints.items()
    )


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


def checkpoint_sha256(prefix):
    """SHA-256 over what a checkpoint holds, in the order of the names. Its files also tell how often it was saved."""
    digest, reader = hashlib.sha256(), tf.train.load_checkpoint(str(prefix))
    for name in sorted(reader.get_variable_to_shape_map()):
        if not name.startswith(("save_counter", "_CHECKPOINTABLE_OBJECT_GRAPH")):
            digest.update(name.encode() + reader.get_tensor(name).tobytes())
    return digest.hexdigest()
