"""The files of an Entry -> a Sample at native resolution."""

import numpy as np

from synthmed_tf.images.decode import read_image
from synthmed_tf.images.field_of_view import estimate_field_of_view
from synthmed_tf.sample import InputError, Sample, UnreadableImage


def read_mask(file, is_dark_foreground=False):
    """Reads a mask of two levels, whichever they are; the brighter is the foreground.

    Returns:
      [height, width, 1] uint8 in {0, 1}.

    Raises:
      UnreadableImage; InputError: more than two levels, or a single one that does not say which it is.
    """
    pixels = _read(file, is_mask=True)
    brightness = pixels.sum(axis=-1, keepdims=True, dtype=np.int64)
    levels = np.flatnonzero(np.bincount(brightness.ravel()))
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
    return ((brightness > threshold) != is_dark_foreground).astype(np.uint8)


def read_entry(entry, split):
    """Decodes the files of an Entry; a field of view that a fundus photograph lacks is estimated.

    Returns:
      Sample at native resolution.

    Raises:
      UnreadableImage; InputError: mask of another size than its image, or of more than two levels.
    """
    image = _read(entry.image)
    if entry.is_xray and image.shape[2] > 1:  # grey saved as colour
        image = np.rint(image.mean(axis=-1, keepdims=True)).astype(image.dtype)
    masks = {}
    for name in ("mask", "field_of_view", "second_mask"):
        file = getattr(entry, name)
        masks[name] = read_mask(file, entry.is_dark_foreground and name != "field_of_view") if file else None
        if file and masks[name].shape[:2] != image.shape[:2]:
            own, wanted = ("x".join(map(str, array.shape[1::-1])) for array in (masks[name], image))
            raise InputError(
                f"{file.name}: has {own} pixels (width x height), {entry.image.name} has {wanted}; allowed are "
                "equal sizes; resize one, or remove the pair"
            )
    if masks["field_of_view"] is None and entry.is_fundus:
        masks["field_of_view"] = estimate_field_of_view(image)
    return Sample(id=entry.id, image=image, group=entry.group, label=entry.label, split=split, **masks)


def _read(file, is_mask=False):
    """The pixels of a File, see `read_image`."""
    try:
        stream = file.open()
    except OSError as error:
        raise UnreadableImage(
            f"{file.name}: cannot be opened ({error.strerror}); mend it, or leave such files out by --skip_bad_files"
        ) from error
    with stream:
        return read_image(file.name, stream, is_mask)
