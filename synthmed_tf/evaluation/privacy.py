"""Is the synthetic set private? Nearest training mask of each synthetic mask (P1 fig. 4), near copies of images,
and membership.
"""

import numpy as np
from tqdm import tqdm

from synthmed_tf.metrics import copies, privacy
from synthmed_tf.sample import spaced

MOST = 1000  # images of one set that are compared, at even steps
PLANTED = 100  # training images that copies are planted of
CHUNK = 64  # images compared at a time
SHOWN = 6  # of the likest pairs


def images(training, synthetic, test, seed=0):
    """The "privacy" part of report.json: for each of metrics.privacy.VIEWS

      "synthetic_to_training", "control_to_training": {"max", "median"} of the likeness of each to its likest training
        image, see metrics.privacy.likeness. The control are held-out images; without any, training images beside those
        of other patients.
      "near_copies": how many synthetic images are more like a training image than every image of the control is.
      "by_chance": how many would be if they were other images of the same kind, which is all of them over the number
        of the control plus one.
      "closer_to_training": metrics.privacy.closer_to_training.
      "membership": metrics.privacy.membership; None without held-out images.
      "caught": {disguise: share of planted copies that are near copies by this, of their own original},
        metrics.privacy.planted.
      "likest": the SHOWN likest pairs, [{"synthetic_id", "training_id", "likeness", "symmetry"}].

    and "protocol".

    Args:
      training, synthetic, test: sequences of Samples with an image; test, the control, may be empty.
      seed: of subsets, relabellings, bootstrap and the noise on planted copies.
    """
    training, synthetic, test = (spaced(samples, MOST) for samples in (training, synthetic, test))
    some = spaced(training, PLANTED)
    originals = [training.index(sample) for sample in some]
    disguised = privacy.planted([sample.image for sample in some], [sample.field_of_view for sample in some], seed)
    groups = np.array([f"{sample.split} {sample.group or sample.id}" for sample in (*training, *test)])
    square = len(set(training[0].image.shape[:2])) == 1
    total = len(test or training) + len(some) * len(disguised) + len(synthetic) * (2 if test else 1)
    report = {}
    with tqdm(total=total * len(privacy.VIEWS), desc="near copies", unit="image") as bar:

        def compared(ours, theirs):
            """privacy.likeness in chunks."""
            found = []
            for start in range(0, len(ours), CHUNK):
                found.append(privacy.likeness(ours[start : start + CHUNK], theirs, square))
                bar.update(len(found[-1][0]))
            return [np.concatenate(each) for each in zip(*found, strict=True)]

        for view, surround in privacy.VIEWS.items():
            learned, made, held_out = (_thumbnails(samples, surround) for samples in (training, synthetic, test))
            to_training, symmetry = compared(made, learned)
            control = compared(held_out if test else learned, learned)[0]
            if not test:
                same = np.equal.outer(groups, groups)
                # Of one patient alone, the other images
                control[np.eye(len(groups), dtype=bool) if same.all() else same] = -1
            threshold = control.max()
            caught = {}
            for name, (pictures, views) in disguised.items():
                found = compared(privacy.thumbnails(pictures, views, surround), learned)[0]
                caught[name] = float(np.mean((found.max(1) > threshold) & (found.argmax(1) == originals)))
            report[view] = {
                "synthetic_to_training": _most_and_median(to_training.max(1)),
                "control_to_training": _most_and_median(control.max(1)),
                "near_copies": int((to_training.max(1) > threshold).sum()),
                "by_chance": len(made) / (len(control) + 1),
                "closer_to_training": None,
                "membership": None,
                "caught": caught,
                "likest": _likest(synthetic, training, to_training, symmetry),
            }
            if test:
                to_held_out = compared(made, held_out)[0]
                report[view]["closer_to_training"] = privacy.closer_to_training(to_training, to_held_out, seed)
                report[view]["membership"] = privacy.membership(to_training, to_held_out, groups, seed)
    protocol = {
        "control": "held-out images" if test else "training images beside those of other patients",
        "synthetic": len(synthetic),
        "training": len(training),
        "held_out": len(test),
        "planted": len(some),
        "side": privacy.SIDE,
        "shift": privacy.SHIFT,
        "seed": seed,
    }
    return report | {"protocol": protocol}


def _thumbnails(samples, surround):
    images, views = [sample.image for sample in samples], [sample.field_of_view for sample in samples]
    return privacy.thumbnails(images, views, surround) if samples else None


def _likest(synthetic, training, likeness, symmetry):
    rows = []
    for row in np.argsort(-likeness.max(1), kind="stable")[:SHOWN]:
        column = int(likeness[row].argmax())
        alike = {"likeness": float(likeness[row, column]), "symmetry": int(symmetry[row, column])}
        rows.append({"synthetic_id": synthetic[row].id, "training_id": training[column].id, **alike})
    return rows


def _most_and_median(values):
    return {"max": float(np.max(values)), "median": float(np.median(values))}


def nearest_training_masks(training, synthetic, test):
    """The "copies" part of report.json.

    Args:
      training, synthetic, test: sequences of Samples with masks of one size; test, the control, may be empty.
    """
    masks = [sample.mask for sample in training]
    index, distance, symmetry = copies.nearest_masks([sample.mask for sample in synthetic], masks)
    report = {
        "nearest_training_mask": [
            {"synthetic_id": sample.id, "training_id": training[int(i)].id, "distance": float(d), "symmetry": int(s)}
            for sample, i, d, s in zip(synthetic, index, distance, symmetry, strict=True)
        ],
        "synthetic_to_training": _extent(distance),
        "test_to_training": _extent(copies.nearest_masks([sample.mask for sample in test], masks)[1])
        if len(test)
        else None,
    }
    for name, samples in (("synthetic", synthetic), ("real", training)):
        pair = copies.closest_pair([sample.mask for sample in samples])
        ids = pair and [samples[i].id for i in pair[:2]]
        report[f"closest_{name}_pair"] = pair and {"distance": pair[2], "ids": ids}
    return report


def _extent(distances):
    return {"min": float(np.min(distances)), "median": float(np.median(distances))}
