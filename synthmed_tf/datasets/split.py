"""Which images are to learn from and which are held out to test with."""

import collections
import warnings

import numpy as np

from synthmed_tf.datasets.sources import is_labelled, list_entries
from synthmed_tf.sample import InputError

TEST_SHARE = 0.2  # of each class, where a labelled set has no split
LEFT_OUT = "left out"  # how a manifest's test_split begins if test images lack masks that training images have
DRAWN = "every fifth", "a fifth", *map(str, range(1, 10))  # how it begins if the split is ours; of holdout a number


def split_entries(data, data_dir, holdout=0, seed=0, labels=None, entries=None):
    """`list_entries`, or `entries` if that is known, with "train" or "test" in every split and a class where there are
    any, see `load_samples`; test comes first.
    """
    entries = list_entries(data, data_dir, labels) if entries is None else entries
    labelled = is_labelled(entries)
    if labelled and (
        odd := [entry.image.name if entry.image else entry.id for entry in entries if entry.label is None]
    ):
        chosen = f" of --labels={labels}" if labels is not None else ""
        warnings.warn(
            f"{data}: {len(odd)} of {len(entries)} images are in no class{chosen} and left out ({list_some(odd)})",
            stacklevel=2,
        )
        entries = [entry for entry in entries if entry.label is not None]
    if holdout:
        entries = [entry for entry in entries if entry.split != "test"]
        if labelled:
            held_out = _held_out_of_each_class(data, entries, holdout, seed)
        else:
            held_out = _held_out([entry.group for entry in entries], holdout, seed)
    elif labelled:
        held_out = _held_out_of_each_class(data, [entry for entry in entries if entry.split is None])
    else:
        held_out = set(sorted({entry.group for entry in entries if entry.split is None})[4::5])
    entries = [
        entry._replace(split="test" if entry.split == "test" or entry.group in held_out else "train")
        for entry in entries
    ]
    return sorted(entries, key=lambda entry: entry.split != "test")


def _held_out(groups, holdout, seed):
    groups = sorted(set(groups))
    if not 0 < holdout < len(groups):
        raise InputError(
            f"--holdout={holdout}: allowed are 1 to {len(groups) - 1}, as there are {len(groups)} groups of training "
            "images"
        )
    return set(np.random.default_rng(seed).permutation(groups)[:holdout].tolist())


def _held_out_of_each_class(data, entries, holdout=0, seed=0):
    """The groups held out of a labelled set: `holdout` of them, or 0: until TEST_SHARE of each class is; see `load_samples`."""
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
            f"--holdout={holdout}: allowed are 1 to {len(held_out)}, as there are {len(groups)} groups of training images and "
            "each class keeps half of its images to train on"
        )
    if entries and (untested := [label for label in sorted(images) if not tested[label]]):
        warnings.warn(f"{data}: {len(untested)} classes have no test images ({list_some(untested)})", stacklevel=3)
    return held_out


def list_some(names, most=3):
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def check_split(learned, manifest, names=None):
    """Refuses held-out images that a generator may have learned from: where no split comes with a set, it is drawn from
    the images that are there, and other images or another holdout give another one.

    Args:
      learned: what the synthetic set's manifest says of the real set that was learned from.
      manifest: of the real set now.
      names: (of the prepared folder then, now), where the former is known.

    Raises:
      InputError: the message says what differs.
    """
    if not any(each.get("test_split", "").startswith(DRAWN) for each in (learned, manifest)):
        return
    changed = [
        f"{key} was {learned[key]!r} and is now {manifest[key]!r}"
        for key in ("holdout", "test_split", "counts")
        if key in learned and learned[key] != manifest[key]
    ]
    if names and names[0] != names[1]:
        changed.append(f"its files are others ({names[0]}, now {names[1]})")
    if changed:
        raise InputError(
            f"{manifest['name']}: not the real set that was learned from: {'; '.join(changed)}. So what is held out now may "
            "have been learned from. Give the set, --holdout and --labels as they were, or run all three scripts again"
        )
