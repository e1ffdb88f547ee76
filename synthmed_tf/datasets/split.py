"""Which images are to learn from and which are held out to test with."""

import collections
import warnings

import numpy as np

from synthmed_tf.datasets.files import list_some
from synthmed_tf.datasets.sources import is_labelled, list_entries
from synthmed_tf.sample import InputError

TEST_SHARE = 0.2  # what part of each class is held out where a labelled set has no split
LEFT_OUT = "left out"  # how a manifest's test_split begins if test images lack the masks that training images have
# How a manifest's test_split begins if the split was drawn here; a holdout begins with its number
DRAWN = "every fifth", "a fifth", *map(str, range(1, 10))


def split_entries(data, data_dir, holdout=0, seed=0, labels=None, entries=None, group_column=None):
    """Lists a set with "train" or "test" in every split and, where there are classes, a class; test comes first.

    How the split is made tells `load_samples`, whose arguments these are.

    Args:
      entries: what `list_entries` returned, if that is known.

    Returns:
      list of files.Entry.
    """
    entries = list_entries(data, data_dir, labels, group_column) if entries is None else entries
    has_classes = is_labelled(entries)
    if has_classes:
        entries = _leave_out_unlabelled(data, entries, labels)
    if holdout:
        entries = [entry for entry in entries if entry.split != "test"]
        if has_classes:
            held_out = _hold_out_of_each_class(data, entries, holdout, seed)
        else:
            held_out = _hold_out([entry.group for entry in entries], holdout, seed)
    elif has_classes:
        held_out = _hold_out_of_each_class(data, [entry for entry in entries if entry.split is None])
    else:
        held_out = set(sorted({entry.group for entry in entries if entry.split is None})[4::5])
    entries = [
        entry._replace(split="test" if entry.split == "test" or entry.group in held_out else "train")
        for entry in entries
    ]
    return sorted(entries, key=lambda entry: entry.split != "test")


def warn_of_few(data, entries, is_drawn):
    """Warns of what evaluate.py cannot measure for want of images.

    Args:
      entries: from `split_entries`. is_drawn: whether that drew the split; it has told of classes without test images.
    """
    from synthmed_tf.metrics.prdc import NEIGHBOURS

    train, test = ([entry for entry in entries if entry.split == split] for split in ("train", "test"))
    patients = collections.defaultdict(set)  # of the training images of each class
    for entry in train:
        patients[entry.label].add(entry.group)
    can_hold_out = len({entry.group for entry in train}) > 1
    remedy = "; --holdout=N holds out N patients or files" if can_hold_out else ""
    least_test = NEIGHBOURS + 1
    least_train = least_test if test else 2 * least_test  # halves of them are compared
    measures, told = "precision, recall, density, coverage and KID", []
    if not test:
        told.append(f"no test images: no segmenter or classifier and no attack can be tested{remedy}")
    elif any(entry.mask for entry in train) and any(entry.mask is None for entry in test):
        told.append(f"test images without masks: no segmenter can be tested{remedy}")
    if len(test) > len({entry.group for entry in test}) == 1:
        told.append(f"test images of one patient give no intervals{remedy}")
    if 0 < len(test) < least_test:
        told.append(f"{len(test)} test images: {measures} need {least_test}, and are left out{remedy}")
    if 0 < len(train) < least_train:
        told.append(f"{len(train)} training images: {measures} need {least_train}, and are left out")
    if is_labelled(entries):
        untested = sorted(patients.keys() - {entry.label for entry in test})
        if untested and test and not is_drawn:
            told.append(
                f"{len(untested)} classes have no test images ({list_some(untested)}), and are left out of the "
                f"classification{remedy}"
            )
        if few := sorted(label for label, groups in patients.items() if len(groups) < 2):
            told.append(f"classifiers need training images of two patients, and lack them in {list_some(few)}")
    for text in told:
        warnings.warn(f"{data}: {text}", stacklevel=2)


def _leave_out_unlabelled(data, entries, labels):
    odd = [entry.image.name if entry.image else entry.id for entry in entries if entry.label is None]
    if odd:
        chosen = f" of --labels={labels}" if labels is not None else ""
        warnings.warn(
            f"{data}: {len(odd)} of {len(entries)} images are in no class{chosen} and left out ({list_some(odd)})",
            stacklevel=3,
        )
    return [entry for entry in entries if entry.label is not None]


def _hold_out(groups, holdout, seed):
    """The groups that are held out: `holdout` of them, drawn by the seed."""
    groups = sorted(set(groups))
    if not 0 < holdout < len(groups):
        raise InputError(
            f"--holdout={holdout}: allowed are 1 to {len(groups) - 1}, as there are {len(groups)} groups of training "
            "images"
        )
    return set(np.random.default_rng(seed).permutation(groups)[:holdout].tolist())


def _hold_out_of_each_class(data, entries, holdout=0, seed=0):
    """The groups held out of a labelled set, see `load_samples`. holdout: their number; 0: TEST_SHARE of each class."""
    groups = {}  # group: {class: number of images}
    for entry in entries:
        groups.setdefault(entry.group, collections.Counter())[entry.label] += 1
    names = sorted(groups)
    order = [names[index] for index in np.random.default_rng(seed).permutation(len(names))]
    images, tested = collections.Counter(), collections.Counter()  # of each class
    waiting = collections.defaultdict(collections.deque)
    for group in order:
        images.update(groups[group])
        for label in groups[group]:
            waiting[label].append(group)
    held_out = set()
    while waiting and (not holdout or len(held_out) < holdout):
        label = min(sorted(waiting), key=lambda name: tested[name] / images[name])
        if not holdout and tested[label] >= TEST_SHARE * images[label]:
            break
        group = waiting[label].popleft()
        if not waiting[label]:
            del waiting[label]
        if group not in held_out and all(tested[name] + n <= images[name] / 2 for name, n in groups[group].items()):
            held_out.add(group)
            tested.update(groups[group])
    if len(held_out) < holdout:
        raise InputError(
            f"--holdout={holdout}: allowed are 1 to {len(held_out)}, as there are {len(groups)} groups of training "
            "images and each class keeps half of its images to train on"
        )
    if entries and (untested := [label for label in sorted(images) if not tested[label]]):
        warnings.warn(f"{data}: {len(untested)} classes have no test images ({list_some(untested)})", stacklevel=3)
    return held_out


def check_split(learned, manifest, names=None):
    """Refuses held-out images that a generator may have learned from.

    Where no split comes with a set, it is drawn from the images that are there. Other images, another holdout or
    another seed give another split.

    Args:
      learned: what the synthetic set's manifest says of the real set that was learned from.
      manifest: of the real set now.
      names: (of the prepared folder then, now), where the former is known.

    Raises:
      InputError: the message says what differs.
    """
    if not any(real.get("test_split", "").startswith(DRAWN) for real in (learned, manifest)):
        return
    changed = [
        f"{key} was {learned.get(key)!r} and is now {manifest.get(key)!r}"
        for key in ("holdout", "holdout_seed", "test_split", "counts", "group_column")
        if (key in learned or key == "group_column") and learned.get(key) != manifest.get(key)
    ]
    if names and names[0] != names[1]:
        changed.append(f"its files are others ({names[0]}, now {names[1]})")
    if changed:
        raise InputError(
            f"{manifest['name']}: not the real set that was learned from: {'; '.join(changed)}. So what is held out "
            "now may have been learned from. Give the set, --holdout, --labels and --group_column as they were, or "
            "run all three scripts again"
        )
