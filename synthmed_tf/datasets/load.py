"""Data sets: raw files -> Samples at native resolution."""

import dataclasses
import functools
import hashlib
import warnings
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed

from synthmed_tf.datasets.files import read_entry
from synthmed_tf.datasets.sources import BUILT_IN
from synthmed_tf.datasets.split import list_some, split_entries
from synthmed_tf.images.dicom import says_burned_in
from synthmed_tf.images.lungs import normalise_by_lungs
from synthmed_tf.images.read import DICOM_SUFFIXES
from synthmed_tf.sample import InputError, UnreadableImage


def load_samples(
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
      InputError: what `check_set` raises, now; unreadable files, mask of another size or of more than two levels, images of
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
        image, has_lungs = normalise_by_lungs(sample.image)
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
        warnings.warn(f"{data}: {len(unreadable)} unreadable files left out ({list_some(unreadable)})", stacklevel=2)
    if copies:
        warnings.warn(
            f"{data}: {len(copies)} copies of other images or masks left out ({list_some(copies)})", stacklevel=2
        )
    if lungless:
        warnings.warn(
            f"{data}: {len(lungless)} of {len(entries)} images: lungs not found, normalised by the whole frame ({list_some(lungless)})",
            stacklevel=2,
        )
    if inscribed:
        warnings.warn(
            f"{data}: {len(inscribed)} DICOM files say that there is writing in their pixels ({list_some(inscribed)}); a generator may "
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
