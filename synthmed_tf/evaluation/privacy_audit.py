"""Is the synthetic set private? Nearest training mask of each synthetic mask (P1 fig. 4), near copies of images,
and membership.
"""

import dataclasses

import numpy as np
from tqdm import tqdm

from synthmed_tf.metrics import likeness, mask_distance, membership, near_copies, planted
from synthmed_tf.sample import spaced

MOST = 8000  # of one set, at even steps: 8,000 with 8,000 took 17 minutes a view on two busy cores (in full: 102)
MOST_RELABELLED = 1000  # of one set, where real images are relabelled or guessed at
PLANTED = 100  # training images that copies are planted of
SHOWN = 6  # of the likest pairs
ALONE = "There is one training image and no held-out one, so nothing tells how alike different images are."


def images(training, synthetic, test, seed=0):
    """The "privacy" part of report.json: for each of metrics.likeness.VIEWS

      "synthetic_to_training", "control_to_training": {"max", "median"} of the likeness of each to its likest training
        image, see metrics.likeness.likest. The control are held-out images; without any, training images beside those
        of other patients.
      "near_copies": how many synthetic images are more like a training image than every image of the control is.
      "near_copy_list": which, the likest first: [{"synthetic_id", "likeness"}].
      "by_chance": how many would be if they were other images of the same kind, metrics.near_copies.by_chance.
      "by_chance_at_most": how many at most in 95 of 100 such sets, metrics.near_copies.most_by_chance.
      "closer_to_training": metrics.membership.closer_to_training.
      "membership": metrics.membership.membership; None without held-out images.
      "caught": {disguise: share of planted copies that are near copies by this, of their own original},
        metrics.planted.planted.
      "likest": the SHOWN likest pairs, [{"synthetic_id", "training_id", "likeness", "symmetry"}].

    and "protocol", where "of" is how many images there are, beside the numbers of those that were compared, and
    "relabelled" how many of them counted for "closer_to_training" and, of the real ones, for "membership".

    Args:
      training, synthetic, test: sequences of Samples with an image; test, the control, may be empty.
      seed: of subsets, relabellings, bootstrap and the noise on planted copies.

    Returns:
      The dict, or {"unavailable": why} where there is nothing to compare with.
    """

    def disguise(some):
        ways = planted.planted([sample.image for sample in some], [sample.field_of_view for sample in some], seed)
        return {
            name: [dataclasses.replace(some[0], image=image, field_of_view=view) for image, view in zip(*found)]
            for name, found in ways.items()
        }

    def thumbnail(surround):
        return lambda sample: likeness.thumbnails([sample.image], [sample.field_of_view], surround)[0]

    thumbnails = {view: thumbnail(surround) for view, surround in likeness.VIEWS.items()}
    square = len(set(training[0].image.shape[:2])) == 1
    return _audit(training, synthetic, test, thumbnails, disguise, square, seed)


def _audit(training, synthetic, test, thumbnails, disguise, square, seed):
    """`images` for any small pictures: thumbnails is {view: function of a Sample}, disguise a function of a list of
    training Samples that returns {disguise: list of Samples}.
    """
    if len(training) == 1 and not len(test):
        return {"unavailable": ALONE}
    learned, made, held_out = (_Pictured(samples, thumbnails) for samples in (training, synthetic, test))
    originals = spaced(range(len(learned.ids)), PLANTED)
    disguised = {
        name: _Pictured(samples, thumbnails)
        for name, samples in disguise([training[learned.taken[index]] for index in originals]).items()
    }
    control = held_out if len(test) else learned
    # Of one patient alone, the other images are the control
    patients = control.ids if len(set(control.groups)) == 1 and not len(test) else control.groups
    apart = None if len(test) else np.not_equal.outer(patients, patients)
    parts = [np.array(spaced(range(len(each.ids)), MOST_RELABELLED), int) for each in (learned, made, held_out)]
    groups = np.concatenate([learned.groups[parts[0]], held_out.groups[parts[2]]])
    total = len(made.ids) + len(control.ids) + len(originals) * len(disguised)
    total += (len(parts[1]) + len(groups)) * bool(len(test))
    report = {}
    with tqdm(total=total * len(thumbnails), desc="near copies", unit="image") as bar:
        for view in thumbnails:

            def compared(ours, theirs, apart=None, view=view):
                return likeness.likest(ours.small[view], theirs.small[view], square, apart, bar.update)

            of_control = compared(control, learned, apart)[0]
            threshold = of_control.max()
            chance = near_copies.by_chance(of_control, patients, not len(test))
            report[view] = {"control_to_training": _most_and_median(of_control.max(1))}
            del of_control
            to_training, symmetry = compared(made, learned)
            report[view] |= {
                "synthetic_to_training": _most_and_median(to_training.max(1)),
                "near_copies": int((to_training.max(1) > threshold).sum()),
                "near_copy_list": _listed(made.ids, to_training.max(1), threshold),
                "by_chance": len(made.ids) * chance,
                "by_chance_at_most": int(len(made.ids) * near_copies.most_by_chance(chance)),
                "closer_to_training": None,
                "membership": None,
                "caught": {},
                "likest": _likest(made.ids, learned.ids, to_training, symmetry),
            }
            del to_training, symmetry
            for name, copied in disguised.items():
                found = compared(copied, learned)[0]
                caught = (found.max(1) > threshold) & (found.argmax(1) == originals)
                report[view]["caught"][name] = float(np.mean(caught))
            if len(test):
                some = [each.small[view][part] for each, part in zip((learned, made, held_out), parts, strict=True)]
                real = np.concatenate([some[0], some[2]])
                guessed = likeness.likest(real, made.small[view], square, None, bar.update)[0].max(1)
                count = len(parts[0])
                report[view]["membership"] = membership.membership(guessed[:count], guessed[count:], groups, seed)
                alike = []
                for start in range(0, len(some[1]), likeness.CHUNK):
                    alike.append(likeness.likeness(some[1][start : start + likeness.CHUNK], real, square)[0])
                    bar.update(len(alike[-1]))
                both = np.split(np.concatenate(alike), [count], 1)
                report[view]["closer_to_training"] = membership.closer_to_training(*both, groups, seed)
    names = ("training", "synthetic", "held_out")
    protocol = {
        "control": "held-out images" if len(test) else "training images beside those of other patients",
        **{name: len(each.ids) for name, each in zip(names, (learned, made, held_out), strict=True)},
        "of": {name: len(each) for name, each in zip(names, (training, synthetic, test), strict=True)},
        "relabelled": {name: len(part) for name, part in zip(names, parts, strict=True)},
        "planted": len(originals),
        "side": likeness.SIDE,
        "shift": likeness.SHIFT,
        "seed": seed,
    }
    return report | {"protocol": protocol}


class _Pictured:
    """What is kept of a set: of at most MOST of its Samples the places, ids, groups and small pictures."""

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
        self.small = {view: np.array(each, np.float32) for view, each in self.small.items()}


def _listed(ids, likeness, threshold):
    rows = [row for row in np.argsort(-likeness, kind="stable") if likeness[row] > threshold]
    return [{"synthetic_id": ids[row], "likeness": float(likeness[row])} for row in rows]


def _likest(synthetic_ids, training_ids, likeness, symmetry):
    rows = []
    for row in np.argsort(-likeness.max(1), kind="stable")[:SHOWN]:
        column = int(likeness[row].argmax())
        alike = {"likeness": float(likeness[row, column]), "symmetry": int(symmetry[row, column])}
        rows.append({"synthetic_id": synthetic_ids[row], "training_id": training_ids[column], **alike})
    return rows


def _most_and_median(values):
    return {"max": float(np.max(values)), "median": float(np.median(values))}


def nearest_training_masks(training, synthetic, test, seed=0):
    """The "copies" part of report.json.

    Distances are 1 - Dice, see metrics.mask_distance. "likeness" is the audit by the correlation of blurred masks, with planted
    copies that were shifted, tilted and scaled: as one view of `images`, with its own "protocol". "halves" is the same
    of `Halves`, as a mask may be made of parts of several (augment.crossed). By distance and by likeness, also of
    halves, beside other training masks, synthesis.no_copies rejects masks, so of a set that went through it near copies
    say little.

    Args:
      training, synthetic, test: sequences of Samples with masks of one size; test, the control, may be empty.
      seed: of subsets, relabellings and bootstrap.
    """
    masks = [sample.mask for sample in training]
    index, distance, symmetry = mask_distance.nearest_masks([sample.mask for sample in synthetic], masks)
    report = {
        "nearest_training_mask": [
            {"synthetic_id": sample.id, "training_id": training[int(i)].id, "distance": float(d), "symmetry": int(s)}
            for sample, i, d, s in zip(synthetic, index, distance, symmetry, strict=True)
        ],
        "synthetic_to_training": _extent(distance),
        "test_to_training": _extent(mask_distance.nearest_masks([sample.mask for sample in test], masks)[1])
        if len(test)
        else None,
    }
    for name, samples in (("synthetic", synthetic), ("real", training)):
        pair = mask_distance.closest_pair([sample.mask for sample in samples])
        ids = pair and [samples[i].id for i in pair[:2]]
        report[f"closest_{name}_pair"] = pair and {"distance": pair[2], "ids": ids}

    def disguise(some):
        ways = planted.planted_masks([sample.mask for sample in some])
        return {name: [dataclasses.replace(some[0], mask=mask) for mask in found] for name, found in ways.items()}

    thumbnails = {"masks": lambda sample: likeness.mask_thumbnails([sample.mask])[0]}
    square = len(set(training[0].mask.shape[:2])) == 1
    sets = training, synthetic, test
    for name, parts in (("likeness", sets), ("halves", [Halves(samples) for samples in sets])):
        found = {"unavailable": ALONE}
        if len(training) > 1 or len(test):
            found = _audit(*parts, thumbnails, disguise, square, seed)
            found |= found.pop("masks")
        report[name] = found
    return report


class Halves:
    """The halves of the masks of some Samples, as Samples; see metrics.likeness.halves."""

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return 2 * len(self.samples)

    def __getitem__(self, index):
        sample = self.samples[index // 2]
        return dataclasses.replace(sample, mask=likeness.halves(sample.mask)[index % 2])


def _extent(distances):
    return {"min": float(np.min(distances)), "median": float(np.median(distances))}
