"""The files of an Entry -> a Sample at native resolution."""

from typing import NamedTuple

import numpy as np

from synthmed_tf.images.decode import read_picture
from synthmed_tf.images.field_of_view import estimate_field_of_view
from synthmed_tf.images.pixel_range import NUMBERS, Picture, bring_to_range
from synthmed_tf.sample import InputError, Sample, UnreadableImage

MASKS = ("mask", "field_of_view", "second_mask")  # the fields of an Entry, and of a Sample, that are masks


class Mask(NamedTuple):
    """What a mask file holds.

    Attributes:
      pixels: [height, width, 1] uint8 in {0, 1}.
      levels: the one or two numbers that its pixels are, the mean of the channels; ascending.
      note: see images.pixel_range.Picture.
    """

    pixels: np.ndarray
    levels: tuple
    note: str | None


class Decoded(NamedTuple):
    """What the files of an Entry hold: the Picture, and the Masks by their names in MASKS, None for missing ones."""

    picture: Picture
    masks: dict


def read_mask(file, is_dark_foreground=False):
    """Reads a mask of two levels, whichever they are; the brighter is the foreground.

    Returns:
      Mask.

    Raises:
      UnreadableImage; InputError: more than two levels, or a single one that does not say which it is.
    """
    picture = _read(file, is_mask=True)
    pixels = 65535 - picture.pixels if picture.is_inverted else picture.pixels
    is_whole = picture.bits != NUMBERS
    brightness = pixels.sum(axis=-1, keepdims=True, dtype=np.int64 if is_whole else np.float64)
    levels = np.flatnonzero(np.bincount(brightness.ravel())) if is_whole else np.unique(brightness)
    is_colourful = False  # whether pixels of equal brightness differ
    if len(levels) <= 2 and pixels.shape[-1] > 1:
        is_colourful = any(np.ptp(pixels[brightness[..., 0] == level], axis=0).any() for level in levels)
    if len(levels) > 2 or is_colourful:
        hint = " (JPEG blurs masks)" if file.name.lower().endswith((".jpg", ".jpeg")) else ""
        raise InputError(
            f"{file.name}: a mask with {'several colours' if is_colourful else f'{len(levels)} levels'}{hint}, "
            "allowed are two, such as 0 and 255; threshold it and save it as PNG"
        )
    if len(levels) == 1 and pixels.max() not in (0, 1, 255, 65535):
        raise InputError(
            f"{file.name}: a mask of the single level {pixels.max()}, which may be fore- or background; allowed are "
            "0, 1 and 255 there; save it anew"
        )
    threshold = levels[0] if len(levels) == 2 else 0
    foreground = ((brightness > threshold) != is_dark_foreground).astype(np.uint8)
    return Mask(foreground, tuple(float(level) / pixels.shape[-1] for level in levels), picture.note)


def decode_entry(entry):
    """The Decoded files of an Entry.

    Raises:
      UnreadableImage; InputError: mask of another size than its image, or of more than two levels.
    """
    picture = _read(entry.image)
    if entry.is_xray and picture.pixels.shape[2] > 1:  # grey saved as colour
        grey = np.rint(picture.pixels.mean(axis=-1, keepdims=True)).astype(picture.pixels.dtype)
        picture = picture._replace(pixels=grey)
    masks = {}
    for name in MASKS:
        file = getattr(entry, name)
        masks[name] = read_mask(file, entry.is_dark_foreground and name != "field_of_view") if file else None
        if file and masks[name].pixels.shape[:2] != picture.pixels.shape[:2]:
            own, wanted = ("x".join(map(str, one.pixels.shape[1::-1])) for one in (masks[name], picture))
            raise InputError(
                f"{file.name}: has {own} pixels (width x height), {entry.image.name} has {wanted}; allowed are "
                "equal sizes; resize one, or remove the pair"
            )
    return Decoded(picture, masks)


def read_entry(entry, split, pixel_range=None):
    """Decodes the files of an Entry; a field of view that a fundus photograph lacks is estimated.

    Args:
      pixel_range: images.pixel_range.PixelRange of the set; None: all that uint8 or uint16 can hold.

    Returns:
      Sample at native resolution.

    Raises:
      What `decode_entry` raises.
    """
    picture, masks = decode_entry(entry)
    image = bring_to_range(picture, pixel_range)
    masks = {name: mask and mask.pixels for name, mask in masks.items()}
    if masks["field_of_view"] is None and entry.is_fundus:
        masks["field_of_view"] = estimate_field_of_view(image)
    return Sample(id=entry.id, image=image, group=entry.group, label=entry.label, split=split, **masks)


def _read(file, is_mask=False):
    """The Picture of a File, see `read_picture`."""
    try:
        stream = file.open()
    except OSError as error:
        raise UnreadableImage(
            f"{file.name}: cannot be opened ({error.strerror}); mend it, or leave such files out by --skip_bad_files"
        ) from error
    with stream:
        return read_picture(file.name, stream, is_mask)
