"""Data sets: raw files -> Samples at native resolution. DATASETS is the table of them; any folder is one as well."""

import collections
import dataclasses
import functools
import hashlib
import os
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from tqdm import tqdm

from synthmed_tf import records
from synthmed_tf.datasets import (
    bubil,
    chase_db1,
    drive,
    folder,
    idrid,
    messidor,
    nih,
    pcam,
    phantom,
    phantom_histology,
    phantom_xray,
    shenzhen,
    slides,
)
from synthmed_tf.datasets.files import read_entry, sample_id
from synthmed_tf.dicom import says_burned_in
from synthmed_tf.images import DICOM_SUFFIXES, UnreadableImage
from synthmed_tf.radiographs import normalise
from synthmed_tf.sample import InputError

BUILT_IN = {"phantom": phantom, "phantom_xray": phantom_xray, "phantom_histology": phantom_histology}  # drawn, not read
DATASETS = {
    **BUILT_IN,
    "drive": drive,
    "chase_db1": chase_db1,
    "bubil": bubil,
    "idrid": idrid,
    "messidor": messidor,
    "nih": nih,
    "shenzhen": shenzhen,
    "pcam": pcam,
}
WITH_LABELS = ("nih", "shenzhen", "phantom_xray")  # whose entries() takes labels: age bins
TEST_SHARE = 0.2  # of each class, where a labelled set has no split


def load(
    data,
    data_dir,
    *,
    labels=None,
    chest_xrays=False,
    holdout=0,
    skip_bad_files=False,
    seed=0,
    then=None,
    processes=1,
    entries=None,
):
    """Loads a data set, one Sample at a time, at native resolution.

    The split is the official one. Sets without (bubil, a folder without train/ and test/): every fifth group in sorted
    order, the 5th, 10th, ..., is test; messidor is all train. Labelled sets without one (the subsets of nih and pcam,
    shenzhen, a folder of classes): groups in an order that is drawn once and for all, always one of the class with the
    smallest share of test images, until each class has a fifth there, and none more than half; a class of a single
    group is all train, with a warning. Images of a labelled set that are in none of its classes are left out, with a
    warning that counts them. The test split comes first: a training sample whose image or mask is in it is left out,
    and so is an exact repeat of a pair; a warning at the end counts them.

    Args:
      data: a name in DATASETS, or the path of a folder (see folder.py and slides.py).
      data_dir: the folder that holds the named sets.
      labels: what the classes are: for nih and shenzhen age bins (see `study_groups.parse_bins`), for a folder with a
        table its label column; None: the default bins, or the only such column. Other sets take none.
      chest_xrays: whether the images of a folder are radiographs of the chest; those of nih and shenzhen always are.
      holdout: if not 0, this many groups of the training images are the test split in place of the official one. For
        DRIVE without test labels. In a labelled set they are drawn evenly from all classes.
      skip_bad_files: leave out unreadable files, counted in a warning at the end.
      seed: draws the held-out groups; used by holdout alone. All commands of one experiment must give the same.
      then: function of a Sample, whose results come instead of the Samples; it can be pickled.
      processes: how many read; 1: this one, as of files in a zip. What comes does not depend on it.
      entries: what `split_entries` returned, if that is known.

    Returns:
      Iterator[Sample]. Ids are unique. Radiographs are grey, their brightness normalised by the lungs at native size
      (P2 § 2.1 resizes first; percentiles hardly depend on the size); a warning at the end counts those whose lungs are
      not found, and another one DICOM files that say that there is writing in them. Official test images without
      masks, and all of idrid and messidor, have mask None.

    Raises:
      InputError: what `check` raises, now; unreadable files, mask of another size or of more than two levels, images of
        different kinds, when it is their turn.
    """
    if entries is None:
        entries = split_entries(data, data_dir, holdout, seed, labels)
    if chest_xrays:
        entries = [entry._replace(is_radiograph=True) for entry in entries]
    if data in BUILT_IN:
        entries = sorted(entries, key=lambda entry: entry.split == "test")
        samples = (BUILT_IN[data].read_entry(entry, entry.split) for entry in entries)
        return (then(sample) if then else sample for sample in samples)
    return _load(entries, data, skip_bad_files, then, processes)


def check(data, data_dir, *, labels=None, chest_xrays=False, needs_masks=False):
    """Checks that a data set is there and has the right layout; decodes no image.

    Raises:
      InputError: saying where to get it and what to put where; with chest_xrays also a named set, with needs_masks one
        without masks.
    """
    if not data:
        raise InputError("--data=: no name; give the name of a set or the path of a folder")
    if chest_xrays and data in DATASETS:
        raise InputError(
            f"--chest_xrays: {data} is read as what it is; allowed is the flag with a folder of your own; leave it out, or give --nochest_xrays where a synthetic set brings it along"
        )
    list_entries(data, data_dir, labels)
    if needs_masks and not has_masks(data, data_dir, labels):
        raise InputError(
            f"--data={data}: its images have no masks, which this stage learns from; allowed are sets with masks, such "
            "as drive, chase_db1 or a folder with images/ and masks/; give one of them, or --target=image"
        )


def name_of(data):
    """What prepared records and manifests call the set: itself, or the folder's name."""
    return data if data in DATASETS else sample_id(Path(data).resolve().name)


def has_masks(data, data_dir, labels=None):
    """Whether any image of a data set has a mask; decodes nothing. Arguments are those of `load`."""
    return data == "phantom" or any(entry.mask is not None for entry in list_entries(data, data_dir, labels))


def fingerprint(data, data_dir, labels=None, known=None, entries=None):
    """12 hexadecimal digits that change when an image or mask comes, goes or changes, or a label.

    In labelled sets, and where a table tells it, also when a group or an own split changes. A copy of a set, elsewhere
    or of another time, has the same.

    Args:
      data, data_dir, labels: as for `load`.
      known: dict {absolute path: [size, time, SHA-256]} of files that have been read before; brought up to date. One
        whose size and time are the same is not read again.
      entries: what `list_entries` returned, if that is known.
    """
    entries = list_entries(data, data_dir, labels) if entries is None else entries
    if data in BUILT_IN:
        facts = [f"{BUILT_IN[data].VERSION} {BUILT_IN[data].COUNT}"]
    else:
        root = Path(data_dir) if data in DATASETS else Path(data)
        fields = ("image", "mask", "field_of_view", "second_mask")
        files = [getattr(entry, field) for entry in entries for field in fields]
        digests = _digests(
            {os.path.relpath(file.path, root): file.path for file in files if file}, {} if known is None else known
        )
        facts = [f"{name} {digests[name]}" for name in sorted(digests)]
    for entry in entries:
        if entry.label is not None:
            facts.append(f"{entry.id} {entry.label}" + ("" if entry.is_fundus else f" {entry.group} {entry.split}"))
        elif entry.is_from_table:
            facts.append(f"{entry.id} {entry.group} {entry.split}")
    text = "\n".join([data if data in DATASETS else "folder", *facts])
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:12]


def _digests(paths, known):
    """{name: SHA-256} for {name: path}; "unreadable" for files that cannot be read. See `fingerprint` for `known`."""
    digests = {}
    for name, path in tqdm(paths.items(), "looking for changes", unit="file", delay=2):
        try:
            stat = path.stat()
            stamp, place = [stat.st_size, stat.st_mtime_ns], os.path.abspath(path)
            if known.get(place, [])[:2] != stamp:
                known[place] = [*stamp, records.sha256(path)]
            digests[name] = known[place][2]
        except OSError:
            digests[name] = "unreadable"
    return digests


def list_entries(data, data_dir, labels=None):
    """The files.Entry list of a set, in the order of the loader; built-in ones have no files.

    Raises InputError like `check`.
    """
    try:
        if data in WITH_LABELS:
            entries = DATASETS[data].entries(data_dir, labels)
        elif data in DATASETS:
            if labels is not None:
                raise InputError(
                    f"--labels={labels}: {data} has no choice of classes; allowed is the flag with {', '.join(WITH_LABELS)} and a "
                    "folder with a table of labels; leave it out"
                )
            entries = DATASETS[data].entries(data_dir)
        elif Path(data).is_dir():
            entries = slides.entries(data) if slides.is_folder_of_slides(data) else folder.entries(data, labels)
        else:
            raise InputError(
                f"--data={data}: no such data set or folder; allowed are {', '.join(DATASETS)}, or the path of a "
                "folder with images/ and masks/, with one sub-folder a class, with images/ and a CSV table of labels, or with slides"
            )
    except OSError as error:
        raise InputError(
            f"{error.filename or data}: cannot be read ({error.strerror}); mend its access rights or name"
        ) from error
    files, splits = {}, {}
    for entry in entries:
        if entry.id in files:
            raise InputError(
                f"{entry.image.name}: same id {entry.id!r} as {files[entry.id].name}; ids are unique, rename one of them"
            )
        if splits.setdefault(entry.group, entry.split) != entry.split:
            raise InputError(
                f"{entry.image.name}: its group {entry.group!r} is in train and in test; move it to one of them"
            )
        files[entry.id] = entry.image
    if is_labelled(entries):
        _check_classes(data, entries)
    return entries


def is_labelled(entries):
    """Whether entries are a set of labelled images:
    with classes, and no fundus photographs, whose grades are a by-product.
    """
    return any(entry.label is not None and not entry.is_fundus for entry in entries)


def _check_classes(data, entries):
    splits = {}
    for entry in entries:
        if entry.label is not None:
            splits.setdefault(entry.label, set()).add(entry.split)
    if len(splits) == 1:
        raise InputError(
            f"{data}: all images are of one class, {min(splits)!r}; classes are two or more: add another one"
        )
    for label in sorted(splits):
        if splits[label] == {"test"}:
            raise InputError(
                f"{data}: the class {label!r} has test images but no training images; add some, or leave the class out"
            )


def split_entries(data, data_dir, holdout=0, seed=0, labels=None, entries=None):
    """`list_entries`, or `entries` if that is known, with "train" or "test" in every split and a class where there are
    any, see `load`; test comes first.
    """
    entries = list_entries(data, data_dir, labels) if entries is None else entries
    labelled = is_labelled(entries)
    if labelled and (
        odd := [entry.image.name if entry.image else entry.id for entry in entries if entry.label is None]
    ):
        chosen = f" of --labels={labels}" if labels is not None else ""
        warnings.warn(
            f"{data}: {len(odd)} of {len(entries)} images are in no class{chosen} and left out ({_some(odd)})",
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
    """The groups held out of a labelled set: `holdout` of them, or 0: until TEST_SHARE of each class is; see `load`."""
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
        warnings.warn(f"{data}: {len(untested)} classes have no test images ({_some(untested)})", stacklevel=3)
    return held_out


class _Read(NamedTuple):
    """What one entry's files hold."""

    result: Any  # the Sample, or what `then` makes of it
    kind: tuple  # (dtype, channels) of the image
    contents: tuple  # digests of image and mask; None: no mask
    tested: tuple  # those of them that no training sample may have
    has_lungs: bool
    is_inscribed: bool  # a DICOM file says that there is writing in it


def _read(entry, skip_bad_files, then):
    """The _Read of an entry; with skip_bad_files an UnreadableImage instead of raising it."""
    try:
        sample = read_entry(entry, entry.split)
    except UnreadableImage as error:
        if skip_bad_files:
            return error
        raise
    has_lungs = True
    if entry.is_radiograph:
        image, has_lungs = normalise(sample.image)
        sample = dataclasses.replace(sample, image=image)
    arrays = sample.image, sample.mask
    contents = tuple(map(_digest, arrays))
    tested = [digest for digest, array in zip(contents, arrays, strict=True) if array is not None and np.ptp(array)]
    kind = sample.image.dtype, sample.image.shape[2]
    is_inscribed = False
    if entry.image.name.lower().endswith(DICOM_SUFFIXES):
        with entry.image.open() as stream:
            is_inscribed = says_burned_in(stream)
    return _Read(then(sample) if then else sample, kind, contents, tuple(tested), has_lungs, is_inscribed)


def _load(entries, data, skip_bad_files, then, processes):
    unreadable, copies, lungless, inscribed, first = [], [], [], [], None
    pairs, tested = set(), set()  # digests of the pairs so far, and of the test split's images and masks
    read_one = functools.partial(_read, skip_bad_files=skip_bad_files, then=then)
    if processes == 1 or any(entry.image.path.suffix.lower() == ".zip" for entry in entries):
        reading = map(read_one, entries)
    else:
        reading = Parallel(processes, return_as="generator")(delayed(read_one)(entry) for entry in entries)
    for entry, read in zip(entries, reading, strict=True):
        if isinstance(read, UnreadableImage):
            unreadable.append(str(read).split(": ")[0])
            continue
        lungless += [] if read.has_lungs else [entry.image.name]
        first = first or (read.kind, entry.image.name)
        if read.kind != first[0]:
            raise InputError(
                f"{entry.image.name}: {_kind_name(*read.kind)}, but {first[1]} is {_kind_name(*first[0])}; allowed is one "
                "kind in a set; convert the images to one"
            )
        if read.contents in pairs or (entry.split == "train" and not tested.isdisjoint(read.contents)):
            copies.append(entry.image.name)
            continue
        pairs.add(read.contents)
        inscribed += [entry.image.name] if read.is_inscribed else []
        if entry.split == "test":
            tested.update(read.tested)
        yield read.result
    if unreadable:
        warnings.warn(f"{data}: {len(unreadable)} unreadable files left out ({_some(unreadable)})", stacklevel=2)
    if copies:
        warnings.warn(f"{data}: {len(copies)} copies of other images or masks left out ({_some(copies)})", stacklevel=2)
    if lungless:
        warnings.warn(
            f"{data}: {len(lungless)} of {len(entries)} images: lungs not found, normalised by the whole frame ({_some(lungless)})",
            stacklevel=2,
        )
    if inscribed:
        warnings.warn(
            f"{data}: {len(inscribed)} DICOM files say that there is writing in their pixels ({_some(inscribed)}); a generator may "
            "learn a name that is printed there: look at them, and paint it over or remove them",
            stacklevel=2,
        )
    if unreadable and not pairs:
        raise InputError(
            f"{data}: none of its {len(unreadable)} images could be read; run without --skip_bad_files to see why"
        )


def _digest(array):
    if array is None:
        return None
    return hashlib.sha256(repr((array.shape, array.dtype)).encode() + array.tobytes()).digest()


def _kind_name(dtype, channels):
    return f"{'16' if dtype == np.uint16 else '8'}-bit {'grey' if channels == 1 else 'colour'}"


def _some(names, most=3):
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
