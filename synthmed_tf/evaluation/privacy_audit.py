"""Is the synthetic set private? Near copies, membership, and the nearest training mask of each mask (P1 fig. 4)."""

import dataclasses

import numpy as np

from synthmed_tf.metrics import likeness, mask_distance, membership, near_copies, planted
from synthmed_tf.progress import show_progress
from synthmed_tf.sample import spaced

MOST = 8000  # of one set, at even steps: 8,000 with 8,000 took 17 minutes a view on two busy cores (in full: 102)
MOST_RELABELLED = 1000  # of one set, where real images are relabelled or guessed at
PLANTED = 100  # training images that copies are planted of
SHOWN = 6  # of the most similar pairs
ALONE = "There is one training image and no held-out one, so nothing tells how alike different images are."


def audit_images(training, synthetic, test, seed=0):
    """The "privacy" part of report.json. For each of metrics.likeness.VIEWS it has

      "control_to_training", "synthetic_to_training": {"max", "median"} of the likeness of each image to the most
        similar training image. The control are held-out images; without any, training images beside those of other
        patients.
      "near_copies": how many synthetic images are more like a training image than every image of the control is.
      "near_copy_list": which, the most similar first: [{"synthetic_id", "likeness"}].
      "by_chance": how many would be if they were other images of the same kind, metrics.near_copies.estimate_chance.
      "by_chance_at_most": how many at most in 95 of 100 such sets, metrics.near_copies.bound_chance.
      "closer_to_training": metrics.membership.measure_closeness; None without held-out images.
      "membership": metrics.membership.measure_membership; None without held-out images.
      "caught": {disguise: share of planted copies that are near copies by this, of their own original},
        metrics.planted.disguise_images.
      "likest": the SHOWN most similar pairs, [{"synthetic_id", "training_id", "likeness", "symmetry"}].

    "protocol" tells how many images were compared, and under "of" how many there are. "relabelled" are those that
    count for "closer_to_training" and, the real ones, for "membership".

    Args:
      training, synthetic, test: sequences of Samples with an image; test, the control, may be empty.
      seed: of subsets, relabellings, bootstrap and the noise on planted copies.

    Returns:
      The dict, or {"unavailable": why} where there is nothing to compare with.
    """

    def disguise(samples):
        images, views = [sample.image for sample in samples], [sample.field_of_view for sample in samples]
        return {
            name: [dataclasses.replace(samples[0], image=image, field_of_view=view) for image, view in zip(*copies)]
            for name, copies in planted.disguise_images(images, views, seed).items()
        }

    def make_thumbnail(surround):
        return lambda sample: likeness.make_thumbnails([sample.image], [sample.field_of_view], surround)[0]

    thumbnails = {view: make_thumbnail(surround) for view, surround in likeness.VIEWS.items()}
    square = len(set(training[0].image.shape[:2])) == 1
    return _audit(training, synthetic, test, thumbnails, disguise, square, seed)


def audit_masks(training, synthetic, test, seed=0):
    """The "copies" part of report.json.

    Distances are 1 - Dice, see metrics.mask_distance. "likeness" is what `audit_images` tells of one view, by the
    correlation of blurred masks, with its own "protocol" and planted copies that were shifted, tilted and scaled.
    "halves" is the same of `Halves`, since a mask may be recombined from halves of several. The same distance and
    likeness decide which masks are rejected when a set is made, so near copies in such a set say little.

    Args:
      training, synthetic, test: sequences of Samples with masks of one size; test, the control, may be empty.
      seed: of subsets, relabellings and bootstrap.
    """

    def disguise(samples):
        ways = planted.disguise_masks([sample.mask for sample in samples])
        return {name: [dataclasses.replace(samples[0], mask=mask) for mask in masks] for name, masks in ways.items()}

    thumbnails = {"masks": lambda sample: likeness.make_mask_thumbnails([sample.mask])[0]}
    square = len(set(training[0].mask.shape[:2])) == 1
    sets = training, synthetic, test
    report = _measure_distances(*sets)
    for name, parts in (("likeness", sets), ("halves", [Halves(samples) for samples in sets])):
        audit = {"unavailable": ALONE}
        if len(training) > 1 or len(test):
            audit = _audit(*parts, thumbnails, disguise, square, seed)
            audit |= audit.pop("masks")
        report[name] = audit
    return report


class Halves:
    """The halves of the masks of a sequence of Samples, as Samples; see metrics.likeness.cut_halves."""

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return 2 * len(self.samples)

    def __getitem__(self, index):
        sample = self.samples[index // 2]
        return dataclasses.replace(sample, mask=likeness.cut_halves(sample.mask)[index % 2])


def _measure_distances(training, synthetic, test):
    """The part of `audit_masks` that is told in distances."""
    masks = [sample.mask for sample in training]
    index, distance, symmetry = mask_distance.find_nearest([sample.mask for sample in synthetic], masks)
    to_test = mask_distance.find_nearest([sample.mask for sample in test], masks)[1] if len(test) else None
    report = {
        "nearest_training_mask": [
            {"synthetic_id": sample.id, "training_id": training[int(i)].id, "distance": float(d), "symmetry": int(s)}
            for sample, i, d, s in zip(synthetic, index, distance, symmetry, strict=True)
        ],
        "synthetic_to_training": _least_and_median(distance),
        "test_to_training": None if to_test is None else _least_and_median(to_test),
    }
    for name, samples in (("synthetic", synthetic), ("real", training)):
        pair = mask_distance.find_closest_pair([sample.mask for sample in samples])
        ids = pair and [samples[i].id for i in pair[:2]]
        report[f"closest_{name}_pair"] = pair and {"distance": pair[2], "ids": ids}
    return report


def _audit(training, synthetic, test, thumbnails, disguise, square, seed):
    """`audit_images` for any small pictures.

    Args:
      thumbnails: {view: function of a Sample}.
      disguise: function of a list of training Samples that returns {disguise: list of Samples}.
      square: whether the images are.
    """
    if len(training) == 1 and not len(test):
        return {"unavailable": ALONE}
    audit = _Audit(training, synthetic, test, thumbnails, disguise, square, seed)
    with show_progress(total=audit.count_queries() * len(thumbnails), desc="near copies", unit="image") as bar:
        report = {view: audit.measure(view, bar.update) for view in thumbnails}
    return report | {"protocol": audit.describe_protocol(len(training), len(synthetic), len(test))}


class _Audit:
    """Small pictures of the sets and of planted copies, and what they tell, a view at a time."""

    def __init__(self, training, synthetic, test, thumbnails, disguise, square, seed):
        self.square, self.seed = square, seed
        self.sets = [_Pictures(samples, thumbnails) for samples in (training, synthetic, test)]
        self.training, self.synthetic, self.held_out = self.sets
        self.originals = spaced(range(len(self.training.ids)), PLANTED)
        copies = disguise([training[self.training.taken[index]] for index in self.originals])
        self.copies = {name: _Pictures(samples, thumbnails) for name, samples in copies.items()}
        self.control = self.held_out if len(test) else self.training
        # Where all are of one patient, the other images are the control
        is_alone = len(set(self.control.groups)) == 1 and not len(test)
        self.patients = self.control.ids if is_alone else self.control.groups
        self.relabelled = [np.array(spaced(range(len(part.ids)), MOST_RELABELLED), int) for part in self.sets]

    def count_queries(self):
        """Pictures that are compared with a whole set, in one view."""
        relabelled = sum(map(len, self.relabelled)) if self.held_out.ids else 0
        planted_copies = len(self.originals) * len(self.copies)
        return len(self.synthetic.ids) + len(self.control.ids) + planted_copies + relabelled

    def measure(self, view, progress):
        """What report.json says of one view; progress is called with the number of pictures compared."""

        def compare(queries, references, apart=None):
            return likeness.find_most_similar(queries.small[view], references.small[view], self.square, apart, progress)

        among = not self.held_out.ids
        apart = np.not_equal.outer(self.patients, self.patients) if among else None
        control = compare(self.control, self.training, apart)[0]
        threshold, chance = control.max(), near_copies.estimate_chance(control, self.patients, among)
        report = {"control_to_training": _most_and_median(control.max(1))}
        del control
        to_training, symmetry = compare(self.synthetic, self.training)
        count = len(self.synthetic.ids)
        report |= {
            "synthetic_to_training": _most_and_median(to_training.max(1)),
            "near_copies": int((to_training.max(1) > threshold).sum()),
            "near_copy_list": _list_near_copies(self.synthetic.ids, to_training.max(1), threshold),
            "by_chance": count * chance,
            "by_chance_at_most": int(count * near_copies.bound_chance(chance)),
            **self.look_for_traces(view, progress),
            "likest": _list_most_similar(self.synthetic.ids, self.training.ids, to_training, symmetry),
        }
        del to_training, symmetry
        caught = {}
        for name, copies in self.copies.items():
            alike = compare(copies, self.training)[0]
            is_caught = (alike.max(1) > threshold) & (alike.argmax(1) == self.originals)
            caught[name] = float(np.mean(is_caught))
        return report | {"caught": caught}

    def look_for_traces(self, view, progress):
        """{"closer_to_training", "membership"}; None without held-out images."""
        if not self.held_out.ids:
            return {"closer_to_training": None, "membership": None}
        training, synthetic, held_out = (
            part.small[view][indices] for part, indices in zip(self.sets, self.relabelled, strict=True)
        )
        real, count = np.concatenate([training, held_out]), len(training)
        groups = np.concatenate([self.training.groups[self.relabelled[0]], self.held_out.groups[self.relabelled[2]]])
        guesses = likeness.find_most_similar(real, self.synthetic.small[view], self.square, None, progress)[0].max(1)
        alike = []
        for start in range(0, len(synthetic), likeness.CHUNK):
            alike.append(likeness.compare(synthetic[start : start + likeness.CHUNK], real, self.square)[0])
            progress(len(alike[-1]))
        to_training, to_held_out = np.split(np.concatenate(alike), [count], 1)
        return {
            "closer_to_training": membership.measure_closeness(to_training, to_held_out, groups, self.seed),
            "membership": membership.measure_membership(guesses[:count], guesses[count:], groups, self.seed),
        }

    def describe_protocol(self, *sizes):
        """How many images were compared; sizes are those of the training, synthetic and held-out set."""
        names = ("training", "synthetic", "held_out")
        return {
            "control": "held-out images" if self.held_out.ids else "training images beside those of other patients",
            **{name: len(part.ids) for name, part in zip(names, self.sets, strict=True)},
            "of": dict(zip(names, sizes, strict=True)),
            "relabelled": {name: len(part) for name, part in zip(names, self.relabelled, strict=True)},
            "planted": len(self.originals),
            "side": likeness.SIDE,
            "shift": likeness.SHIFT,
            "seed": self.seed,
        }


class _Pictures:
    """What is kept of at most MOST Samples of a set: their places, ids, groups and small pictures."""

    def __init__(self, samples, thumbnails):
        self.taken = spaced(range(len(samples)), MOST)
        self.ids, groups, self.small = [], [], {view: [] for view in thumbnails}
        for index in self.taken:
            sample = samples[index]
            self.ids.append(sample.id)
            groups.append(f"{sample.split} {sample.group or sample.id}")
            for view, thumbnail in thumbnails.items():
                self.small[view].append(thumbnail(sample))
        self.groups = np.array(groups, str)
        self.small = {view: np.array(pictures, np.float32) for view, pictures in self.small.items()}


def _list_near_copies(ids, alike, threshold):
    rows = [row for row in np.argsort(-alike, kind="stable") if alike[row] > threshold]
    return [{"synthetic_id": ids[row], "likeness": float(alike[row])} for row in rows]


def _list_most_similar(synthetic_ids, training_ids, alike, symmetry):
    pairs = []
    for row in np.argsort(-alike.max(1), kind="stable")[:SHOWN]:
        column = int(alike[row].argmax())
        numbers = {"likeness": float(alike[row, column]), "symmetry": int(symmetry[row, column])}
        pairs.append({"synthetic_id": synthetic_ids[row], "training_id": training_ids[column], **numbers})
    return pairs


def _most_and_median(values):
    return {"max": float(np.max(values)), "median": float(np.median(values))}


def _least_and_median(values):
    return {"min": float(np.min(values)), "median": float(np.median(values))}
