"""Data sets: raw files -> Samples at native resolution."""

import dataclasses
import functools
import hashlib
import warnings
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed

from synthmed_tf.datasets.entries import read_entry
from synthmed_tf.datasets.sources import BUILT_IN
from synthmed_tf.datasets.split import list_some, split_entries
from synthmed_tf.images.decode import DICOM_SUFFIXES
from synthmed_tf.images.dicom import says_burned_in
from synthmed_tf.images.lungs import normalise_by_lungs
from synthmed_tf.sample import InputError, UnreadableImage


def load_samples(
    data,
    data_dir,
    *,
    labels=None,
    group_column=None,
    chest_xrays=False,
    mask_foreground=None,
    holdout=0,
    skip_bad_files=False,
    seed=0,
    pixel_range=None,
    then=None,
    processes=1,
    entries=None,
):
    """Loads a data set, one Sample at a time, at native resolution.

    The split is the official one. In sets without (bubil, a folder without train/ and test/) every fifth group in
    sorted order is test; messidor is all train.

    Labelled sets without a split are the subsets of nih and pcam, shenzhen, and a folder of classes. Their groups are
    taken in an order that is drawn once and for all, always one of the class with the smallest share of test images.
    That ends when each class has a fifth there; none gives more than half. A class of a single group is all train, with
    a warning. Images in none of the classes are left out, with a warning that counts them.

    The test split comes first. A training sample whose image or mask is in it is left out, and so is an exact repeat
    of a pair; a warning at the end counts them.

    Args:
      data: a name in DATASETS, or the path of a folder (see folder.py and slides.py).
      data_dir: the folder that holds the named sets.
      labels: what the classes are: for nih and shenzhen age bins (see `study_groups.parse_bins`), for a folder with a
        table its label column; None: the default bins, or the only such column. Other sets take none.
      group_column: for a folder with a table the column that says what belongs together; "none": nothing does; None:
        the one whose heading says so. Named sets take none.
      chest_xrays: whether the images of a folder are X-rays of the chest; those of nih and shenzhen always are.
      mask_foreground: "dark" where the darker level of a folder's masks is the foreground.
      holdout: if not 0, this many groups of the training images are the test split in place of the official one, for
        DRIVE without test labels. In a labelled set they are drawn evenly from all classes.
      skip_bad_files: leave out unreadable files, counted in a warning at the end.
      seed: draws the groups of a holdout, and nothing else. All commands of one experiment must give the same.
      pixel_range: PixelRange of the set, as `inspect.look_at` finds it; None: all that the files can hold.
      then: function of a Sample, whose results come instead of the Samples; it can be pickled.
      processes: how many read. With 1, and for files in a zip, it is this one. What comes does not depend on it.
      entries: what `split_entries` returned, if that is known.

    Returns:
      Iterator[Sample]. Ids are unique. Official test images without masks, and all of idrid and messidor, have mask
      None. X-rays are grey, and the lungs normalise their brightness at native size (P2 § 2.1 resizes first;
      percentiles hardly depend on the size). A warning at the end counts X-rays whose lungs are not found, another one
      DICOM files that say that there is writing in them.

    Raises:
      InputError: what `check_set` raises, now; when it is their turn unreadable files, a mask of another size or of
        more than two levels, images of different kinds.
    """
    if entries is None:
        entries = split_entries(data, data_dir, holdout, seed, labels, group_column=group_column)
    if chest_xrays:
        entries = [entry._replace(is_xray=True) for entry in entries]
    if mask_foreground == "dark":
        entries = [entry._replace(is_dark_foreground=True) for entry in entries]
    if data in BUILT_IN:
        entries = sorted(entries, key=lambda entry: entry.split == "test")
        samples = (BUILT_IN[data].read_entry(entry, entry.split) for entry in entries)
        return (then(sample) if then else sample for sample in samples)
    read_one = functools.partial(_read, skip_bad_files=skip_bad_files, pixel_range=pixel_range, then=then)
    return _read_all(entries, data, read_one, processes)


class _Reading(NamedTuple):
    """What one entry's files hold."""

    result: Any  # the Sample, or what `then` makes of it
    kind: tuple  # (bits, channels) of the image
    contents: tuple  # digests of image and mask; None: no mask
    tested: tuple  # those of them that no training sample may have
    has_lungs: bool
    is_inscribed: bool  # a DICOM file says that there is writing in it


def _read(entry, skip_bad_files, pixel_range, then):
    """The _Reading of an entry; with skip_bad_files an UnreadableImage instead of raising it."""
    try:
        sample = read_entry(entry, entry.split, pixel_range)
    except UnreadableImage as error:
        if skip_bad_files:
            return error
        raise
    has_lungs = True
    if entry.is_xray:
        image, has_lungs = normalise_by_lungs(sample.image)
        sample = dataclasses.replace(sample, image=image)
    arrays = sample.image, sample.mask
    contents = tuple(map(hash_pixels, arrays))
    tested = [digest for digest, array in zip(contents, arrays, strict=True) if array is not None and np.ptp(array)]
    kind = 8 * sample.image.itemsize, sample.image.shape[2]
    is_inscribed = False
    if entry.image.name.lower().endswith(DICOM_SUFFIXES):
        with entry.image.open() as stream:
            is_inscribed = says_burned_in(stream)
    return _Reading(then(sample) if then else sample, kind, contents, tuple(tested), has_lungs, is_inscribed)


class _Tally:
    """Counts what is left out while a data set is read, and what is to be looked at.

    Attributes:
      unreadable, copies, lungless, inscribed: names of files.
      contents: digests of the (image, mask) that came. tested: of the test split's images and masks, one by one.
    """

    def __init__(self):
        self.unreadable, self.copies, self.lungless, self.inscribed = [], [], [], []
        self.first = None  # (kind, name) of the first image
        self.contents, self.tested = set(), set()

    def takes(self, entry, reading):
        """Counts what an entry's files hold; returns whether it is neither unreadable nor a copy.

        Raises:
          InputError: the image is of another kind than the first one.
        """
        if isinstance(reading, UnreadableImage):
            self.unreadable.append(str(reading).split(": ")[0])
            return False
        name = entry.image.name
        self.lungless += [] if reading.has_lungs else [name]
        self.first = self.first or (reading.kind, name)
        check_kind(reading.kind, name, *self.first)
        is_tested = entry.split == "train" and not self.tested.isdisjoint(reading.contents)
        if reading.contents in self.contents or is_tested:
            self.copies.append(name)
            return False
        self.contents.add(reading.contents)
        self.inscribed += [name] if reading.is_inscribed else []
        if entry.split == "test":
            self.tested.update(reading.tested)
        return True

    def warn(self, data, count):
        """Warns of what was counted among `count` entries.

        Raises:
          InputError: not one image could be read.
        """
        for names, text in (
            (self.unreadable, "{} unreadable files left out ({})"),
            (self.copies, "{} copies of other images or masks left out ({})"),
            (self.lungless, f"{{}} of {count} images: lungs not found, normalised by the whole frame ({{}})"),
            (
                self.inscribed,
                "{} DICOM files say that there is writing in their pixels ({}); a generator may learn a name that is "
                "printed there: look at them, and paint it over or remove them",
            ),
        ):
            if names:
                warnings.warn(f"{data}: {text.format(len(names), list_some(names))}", stacklevel=3)
        if self.unreadable and not self.contents:
            raise InputError(
                f"{data}: none of its {len(self.unreadable)} images could be read; run without --skip_bad_files to see "
                "why"
            )


def map_entries(function, entries, processes):
    """Iterator of what a function, which can be pickled, makes of each Entry, in as many processes. Zips take one."""
    if processes == 1 or any(entry.image.path.suffix.lower() == ".zip" for entry in entries):
        return map(function, entries)
    return Parallel(processes, return_as="generator")(delayed(function)(entry) for entry in entries)


def _read_all(entries, data, read_one, processes):
    tally = _Tally()
    for entry, reading in zip(entries, map_entries(read_one, entries, processes), strict=True):
        if tally.takes(entry, reading):
            yield reading.result
    tally.warn(data, len(entries))


def hash_pixels(array):
    """SHA-256 of an array, its shape and its type; None of None."""
    if array is None:
        return None
    return hashlib.sha256(repr((array.shape, array.dtype)).encode() + array.tobytes()).digest()


def check_kind(kind, name, first_kind, first_name):
    """Raises InputError where an image is of another kind than the first. Kinds: (bits, channels). Names: of files."""
    if kind != first_kind:
        raise InputError(
            f"{name}: {name_kind(*kind)}, but {first_name} is {name_kind(*first_kind)}; allowed is one kind in a set; "
            "convert the images to one"
        )


def name_kind(bits, channels):
    """8 or 16 bits and 1 or 3 channels in words."""
    return f"{bits}-bit {'grey' if channels == 1 else 'colour'}"
