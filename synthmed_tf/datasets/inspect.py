"""What is read is looked at: each file of a set is decoded once, before anything is learned, and told of in ten lines.

What cannot be right is an error. What may be wrong is a counted warning, with the flag that decides it.
"""

import collections
import functools
import os
import warnings
from typing import NamedTuple

import numpy as np

from synthmed_tf.datasets.entries import decode_entry
from synthmed_tf.datasets.files import show_path
from synthmed_tf.datasets.load import check_kind, hash_pixels, map_entries
from synthmed_tf.datasets.sources import DATASETS
from synthmed_tf.datasets.split import list_some
from synthmed_tf.images.pixel_range import choose_range
from synthmed_tf.progress import show_progress
from synthmed_tf.sample import InputError, UnreadableImage, spaced

VERSION = 1  # of what is remembered of a file: raise it whenever files are read or looked at differently
MOST = 100  # images that a dry run looks at, where nothing is remembered of them
TAIL = 0.001  # share of the pixels that may be brighter, or darker, than what is called nearly all
DARK = 1 / 16  # an image is told of that keeps to less of the set's range: four bits of twelve
MIDDLE = 1 / 3, 2 / 3  # shares of foreground between these may be of either polarity


class ImageFacts(NamedTuple):
    """What was seen in an image file, before pixels are brought to the set's range."""

    height: int
    width: int
    channels: int
    bits: int  # see Picture
    least: float
    most: float
    low: float  # but for TAIL, pixels are not darker
    high: float  # but for TAIL, pixels are not brighter
    digest: str  # of the pixels
    note: str | None  # see Picture


class MaskFacts(NamedTuple):
    """What was seen in a mask file. bright: the share of its brighter level, 0 or 1 where there is one alone."""

    levels: list
    bright: float
    digest: str
    note: str | None


class Seen(NamedTuple):
    """An Entry and what was seen in its files."""

    entry: object
    image: ImageFacts
    mask: MaskFacts | None

    @property
    def share(self):
        """The share of foreground in the mask."""
        return 1 - self.mask.bright if self.entry.is_dark_foreground else self.mask.bright


def look_at(data, entries, hashed, *, mask_foreground=None, skip_bad_files=False, dry_run=False, processes=1):
    """Looks at the files of a set.

    Args:
      data: as for `load_samples`.
      entries: from `split_entries`, as they will be read.
      hashed: see `fingerprint.fingerprint_set`. What is seen of a file is remembered there, behind its SHA-256.
      mask_foreground: as for `load_samples`; if given, masks that seem to be inside out are no error.
      skip_bad_files: unreadable files do not count.
      dry_run: look at no more than MOST images, at even steps, unless all are remembered.

    Returns:
      (list of Seen, PixelRange of the set). Warnings tell of what may be wrong.

    Raises:
      InputError: unreadable files; images of several kinds; images of one value each, or masks without fore- or
        background, throughout; levels that are foreground in some masks and background in others; masks of which some
        have most of the picture as foreground and the others little.
    """
    remembered = {entry.id: _recall(entry, hashed) for entry in entries}
    if dry_run and not all(remembered.values()):
        entries = spaced(entries, MOST)
    new = [entry for entry in entries if not remembered[entry.id]]
    look = functools.partial(_look, skip_bad_files=skip_bad_files)
    progress = show_progress(
        zip(new, map_entries(look, new, processes), strict=True), f"looking at {len(new)} images", total=len(new),
        unit="image", delay=2,
    )  # fmt: skip
    for entry, facts in progress:
        remembered[entry.id] = facts
        if facts:
            _remember(entry, facts, hashed)
    seen = [Seen(entry, *remembered[entry.id]) for entry in entries if remembered[entry.id]]
    if not seen:
        raise InputError(
            f"{data}: none of its {len(entries)} images could be read; run without --skip_bad_files to see why"
        )
    for one in seen:
        check_kind(_find_kind(one), one.entry.image.name, _find_kind(seen[0]), seen[0].entry.image.name)
    _check_content(data, seen)
    pixel_range = _find_range(data, seen)
    if data not in DATASETS:
        _check_levels(seen)
        _check_polarity(data, [one for one in seen if one.mask and len(one.mask.levels) == 2], mask_foreground)
    return seen, pixel_range


def _look(entry, skip_bad_files):
    """(ImageFacts, MaskFacts or None) of an Entry; None instead of an UnreadableImage with skip_bad_files."""
    try:
        picture, masks = decode_entry(entry)
    except UnreadableImage:
        if skip_bad_files:
            return None
        raise
    pixels, mask = picture.pixels, masks["mask"]
    if pixels.dtype == np.float64:
        low, high = np.quantile(pixels, [TAIL, 1 - TAIL])
    else:
        below = np.cumsum(np.bincount(pixels.ravel()))
        low, high = np.searchsorted(below, [TAIL * pixels.size, (1 - TAIL) * pixels.size])
    ends = [float(value) for value in (pixels.min(), pixels.max(), low, high)]
    image = ImageFacts(*pixels.shape, picture.bits, *ends, hash_pixels(pixels).hex()[:16], picture.note)
    if mask is None:
        return image, None
    share = float(mask.pixels.mean())
    bright = 1 - share if entry.is_dark_foreground else share
    return image, MaskFacts(list(mask.levels), bright, hash_pixels(mask.pixels).hex()[:16], mask.note)


def _is_own_file(file):
    return file.name == show_path(file.path)  # else it lies in another one, as a tile does


def _remember(entry, facts, hashed):
    for file, part in zip((entry.image, entry.mask), facts, strict=True):
        if file and _is_own_file(file) and (place := os.path.abspath(file.path)) in hashed:
            hashed[place] = [*hashed[place][:3], [VERSION, entry.is_xray, *part]]


def _recall(entry, hashed):
    """What `_remember` kept of an Entry; None where that is not all of it, or was changed."""
    facts = []
    for file, kind in ((entry.image, ImageFacts), (entry.mask, MaskFacts)):
        if file is None:
            facts.append(None)
            continue
        kept = hashed.get(os.path.abspath(file.path), [None] * 3)[3:] if _is_own_file(file) else []
        if len(kept) != 1 or not isinstance(kept[0], list) or kept[0][:2] != [VERSION, entry.is_xray]:
            return None
        part = kept[0][2:]
        numbers = [*part[0], *part[1:-2]] if kind is MaskFacts and part and isinstance(part[0], list) else part[:-2]
        if len(part) != len(kind._fields) or not all(isinstance(value, int | float) for value in numbers):
            return None
        facts.append(kind(*part))
    return tuple(facts)


def _find_kind(seen):
    return 8 if seen.image.bits == 8 else 16, seen.image.channels


def _check_content(data, seen):
    """Raises InputError where no image or no mask shows anything; warns where some do not."""
    masks = [one for one in seen if one.mask]
    constant = [one for one in seen if one.image.least == one.image.most]
    nearly = [one for one in seen if one.image.low == one.image.high and one.image.least < one.image.most]
    empty, full = ([one for one in masks if one.share == share] for share in (0, 1))
    for bare, whole, name, what in (
        (constant, seen, "image", "images have one value throughout"),
        (empty + full, masks, "mask", "masks are empty or full"),
    ):
        if bare and len(bare) == len(whole):
            raise InputError(
                f"{data}: all {len(bare)} {what} ({_list(bare, name)}), so there is nothing to learn; allowed are "
                "files that show something; look at them, and export them again"
            )
    for bare, whole, name, what in (
        (constant, seen, "image", "images have one value throughout"),
        (nearly, seen, "image", "images have one value but for a thousandth of their pixels"),
        (empty, masks, "mask", "masks have no foreground"),
        (full, masks, "mask", "masks are all foreground"),
    ):
        if bare:
            counted = f"{len(bare)} of {len(whole)} {what}"
            warnings.warn(f"{data}: {counted} ({_list(bare, name)}); look at them", stacklevel=4)
    for name, remedy in (("image", "look at the samples"), ("mask", "--mask_foreground=dark takes the other level")):
        notes = collections.defaultdict(list)
        for one in seen:
            if (facts := getattr(one, name)) and facts.note:
                notes[facts.note].append(one)
        for note, noted in notes.items():
            warnings.warn(f"{data}: {len(noted)} {note} ({_list(noted, name)}); {remedy}", stacklevel=4)


def _list(seen, name):
    """The first files of Seens as text: of their images, or of their masks."""
    return list_some(["/".join(getattr(one.entry, name).name.split("/")[-2:]) for one in seen])


def _find_range(data, seen):
    """The PixelRange of the set; warns where a few pixels set it, and of images that keep to little of it."""
    images = [one.image for one in seen]
    bits, least, most = (max(facts.bits for facts in images), min(f.least for f in images), max(f.most for f in images))
    pixel_range = choose_range(bits, least, most)
    width = pixel_range.high - pixel_range.low
    low, high = min(facts.low for facts in images), max(facts.high for facts in images)
    if least < most and high - low < width / 4:
        warnings.warn(
            f"{data}: nearly all pixels lie between {low:g} and {high:g}, and few others reach from {least:g} to "
            f"{most:g}, which sets the range; look for markers or dead pixels, and clip them",
            stacklevel=4,
        )
        return pixel_range
    varied = [one for one in seen if one.image.low < one.image.high]
    dark = [one for one in varied if one.image.high - pixel_range.low < width * DARK]
    if dark:
        warnings.warn(
            f"{data}: {len(dark)} of {len(seen)} images keep to the darkest sixteenth of the set's range "
            f"({_list(dark, 'image')}); if they have other units or fewer bits than the others, convert them",
            stacklevel=4,
        )
    return pixel_range


def _check_levels(seen):
    """Raises InputError where a level is foreground in one mask and background in another."""
    backgrounds, foregrounds = {}, {}  # {level: the first mask file}
    for one in seen:
        if one.mask:
            levels, name = sorted(one.mask.levels, reverse=one.entry.is_dark_foreground), one.entry.mask.name
            if len(levels) == 2 or not one.share:
                backgrounds.setdefault(levels[0], name)
            if len(levels) == 2 or one.share:
                foregrounds.setdefault(levels[-1], name)
    if both := sorted(backgrounds.keys() & foregrounds.keys()):
        raise InputError(
            f"{foregrounds[both[0]]}: its foreground has the level {both[0]:g}, which is the background of "
            f"{backgrounds[both[0]]}; allowed are the same levels in all masks; save them anew with 0 and 255"
        )


def _check_polarity(data, masks, mask_foreground):
    """Raises InputError where some masks seem to be inside out; warns where any, or all, may be. masks: Seen."""
    large, others = ([one for one in masks if (one.share > 1 / 2) == is_large] for is_large in (True, False))
    if not large:
        return
    counted = f"{len(large)} of {len(masks)} masks have most of the picture as foreground ({_list(large, 'mask')})"
    if others and mask_foreground is None and not any(MIDDLE[0] < one.share < MIDDLE[1] for one in masks):
        raise InputError(
            f"{data}: {counted} and the others less than a third ({_list(others, 'mask')}), so some seem to be inside "
            "out; allowed is one polarity: invert those, or give --mask_foreground=bright if all are right"
        )
    mean, other = np.mean([one.share for one in masks]), "bright" if masks[0].entry.is_dark_foreground else "dark"
    if mean > 1 / 2 and mask_foreground is None:
        warnings.warn(
            f"{data}: {counted}, {mean:.0%} on average: it may be the background; --mask_foreground={other} takes the "
            f"other level, --mask_foreground={'dark' if other == 'bright' else 'bright'} says that all is right",
            stacklevel=4,
        )
    elif others:
        warnings.warn(f"{data}: {counted}, the others do not ({_list(others, 'mask')}); look at them", stacklevel=4)
