"""What was seen in the files of a set, in at most ten short lines."""

import collections

import numpy as np

from synthmed_tf.datasets.load import name_kind
from synthmed_tf.datasets.sources import DATASETS
from synthmed_tf.datasets.split import list_some

SHOWN = 4  # classes that are told of one by one


def summarise(data, name, entries, described, seen, pixel_range):
    """Lines of text, at most ten, without names of files.

    Args:
      data: as for `load_samples`. name: of the set.
      entries: from `split_entries`. described: Description of their records.
      seen, pixel_range: from `inspect.look_at`.
    """
    counts = ", ".join(f"{count} {split}" for split, count in described.counts.items())
    rows = [
        ("split", f"{counts}; {described.test_split}"),
        ("sizes", _tell_sizes(seen)),
        ("pixels", name_kind(8 if seen[0].image.bits == 8 else 16, seen[0].image.channels)),
        ("range", _tell_range(seen, pixel_range)),
        ("masks", _tell_masks([one for one in seen if one.mask])),
        ("groups", _tell_groups(data, entries)),
        ("classes", _tell_classes(entries, described)),
        ("content", _tell_content(seen)),
        ("copies", _tell_copies(seen)),
    ]
    head = f"looked at {len(seen)} of {len(entries)} images of {name}"
    return [head, *(f"  {title:8} {text}" for title, text in rows if text)]


def _tell_sizes(seen):
    """Width x height in pixels."""
    sizes = collections.Counter((one.image.width, one.image.height) for one in seen).most_common()
    most = "x".join(map(str, sizes[0][0]))
    if len(sizes) == 1:
        return f"{most} pixels"
    ends = ["x".join(map(str, size)) for size in sorted((size for size, _ in sizes), key=np.prod)[:: len(sizes) - 1]]
    return f"{len(sizes)} sizes from {ends[0]} to {ends[1]} pixels, {sizes[0][1]} images of {most}"


def _tell_range(seen, pixel_range):
    least, most = min(one.image.least for one in seen), max(one.image.most for one in seen)
    top = 255 if max(one.image.bits for one in seen) == 8 else 65535
    if pixel_range == (0, top):
        return f"pixels are {least:g} to {most:g} of {top}, and stay as they are (factor 1)"
    low, high = pixel_range
    factor = f"all {f'less {low:g}, then ' if low else ''}times {top / (high - low):.4g}"
    return f"pixels are {least:g} to {most:g}; {low:g} to {high:g} becomes 0 to {top}: {factor}"


def _tell_masks(masks):
    if not masks:
        return ""
    levels = collections.Counter(tuple(one.mask.levels) for one in masks if len(one.mask.levels) == 2).most_common()
    kinds = [f"{low:g} and {high:g}{f' in {count} files' if len(levels) > 1 else ''}" for (low, high), count in levels]
    shares = [one.share for one in masks]
    brightness = "darker" if masks[0].entry.is_dark_foreground else "brighter"
    ends = f"{min(shares):.1%} to {max(shares):.1%}"
    return f"levels {list_some(kinds, 2)}; the {brightness}, foreground, covers {np.mean(shares):.1%} ({ends})"


def _tell_groups(data, entries):
    count, columns = len({entry.group for entry in entries}), {entry.group_column for entry in entries} - {None}
    if columns:
        return f"{count}, by {min(columns)!r}"
    if count < len(entries):
        return f"{count}, by the names that the set gives"
    return "each image alone" + ("" if data in DATASETS else ": no column names patients")


def _tell_classes(entries, described):
    """Each class with its training and test images, or how many there are; those without test images."""
    if not described.class_names:
        return ""
    counts = collections.Counter((entry.split, entry.label) for entry in entries)
    pairs = [(name, counts["train", name], counts["test", name]) for name in described.class_names]
    untested = [name for name, _, test in pairs if not test]
    text = ", ".join(f"{name} {train} + {test}" for name, train, test in pairs)
    if len(pairs) > SHOWN:
        ends = [f"{min(numbers)} to {max(numbers)}" for numbers in list(zip(*pairs, strict=True))[1:]]
        text = f"{len(pairs)} of {ends[0]} + {ends[1]}"
    return f"{text} (training + test)" + (f"; without test images: {list_some(untested)}" if untested else "")


def _tell_content(seen):
    """How many images and masks are constant."""
    constant = sum(one.image.least == one.image.most for one in seen)
    shares = [one.share for one in seen if one.mask]
    masks = f", {shares.count(0)} masks empty, {shares.count(1)} full" if shares else ""
    return f"{constant} images of one value{masks}"


def _tell_copies(seen):
    """How many images are there before, and how many of them in the other split."""
    splits, repeats = collections.defaultdict(list), 0
    for one in seen:
        repeats += one.image.digest in splits
        splits[one.image.digest].append(one.entry.split)
    across = sum(len(set(found)) == 2 for found in splits.values())
    return f"{repeats} images repeat another one" + (f", {across} of them in training and test" if across else "")
