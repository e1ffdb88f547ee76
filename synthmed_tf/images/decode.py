"""Image files -> arrays."""

import logging
import warnings
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from synthmed_tf.images.dicom import read_dicom
from synthmed_tf.images.pixel_range import (
    FLAT_PALETTE,
    INVERTING_PALETTE,
    ZERO_IS_WHITE,
    Picture,
    bring_to_range,
)
from synthmed_tf.sample import InputError, UnreadableImage

DICOM_SUFFIXES = (".dcm", ".dicom")
IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".gif", *DICOM_SUFFIXES)
_FORMATS = ("PNG", "TIFF", "JPEG", "BMP", "GIF")  # Pillow's decoders for them; no others are tried on a user's bytes
_BITS, _PHOTOMETRIC, _DESCRIPTION, _SAMPLES = 258, 262, 270, 277  # tags of TIFF 6.0
_RESOLUTION, _UNIT, _SOFTWARE, _KIND = 282, 296, 305, 339
_SIGNED = 2  # the _KIND of numbers; 3: fractions


def read_image(path, stream=None, is_mask=False):
    """`read_picture` as [height, width, channels] uint8 or uint16; arguments and errors are the same.

    Intensities are never scaled, but for those of DICOM files (.dcm, .dicom), see `read_dicom`. What has a sign, a
    fraction or more than 16 bits is rounded and clipped to 0 to 65535.
    """
    return bring_to_range(read_picture(path, stream, is_mask))


def read_picture(path, stream=None, is_mask=False):
    """Reads an image file.

    Palettes become grey or colours, 1-bit becomes 0 and 255, transparency is dropped, the camera's EXIF rotation is
    applied.

    Args:
      path: file name; appears in messages.
      stream: binary file object that holds the bytes, where they do not lie in a file of their own (a zip's member).
      is_mask: what was drawn counts, not what is shown. That is the opacity where all that can be seen has one colour;
        the index where a palette has one colour or inverts all greys; and the stored bit, in TIFFs of tifffile and
        ImageJ whose tag says that 0 is white.

    Returns:
      Picture.

    Raises:
      UnreadableImage: missing, truncated, not an image, or a decompression bomb (over Pillow's limit of 89 megapixels).
      InputError: a readable image of a kind that is not supported: several pages or frames, 16-bit colour, values that
        are no numbers.
    """
    if str(path).lower().endswith(DICOM_SUFFIXES):
        return read_dicom(path, stream)
    decoded = _decode(path, stream, is_mask)
    if decoded.pages > 1:
        raise InputError(f"{path}: holds {decoded.pages} pages, allowed is one; save each as a file of its own")
    if decoded.is_deep_colour:
        raise InputError(
            f"{path}: 16-bit colour or transparency, or colour of fractions; allowed are grey and 8-bit colour; "
            "convert it"
        )
    values = decoded.values
    if values.dtype != np.uint8:
        if not np.isfinite(values).all():
            raise InputError(
                f"{path}: some pixels are infinite or no numbers (NaN); allowed are numbers; put one in their place"
            )
        is_whole = values.dtype.kind in "iu" and values.min() >= 0 and values.max() <= 65535
        values = values.astype(np.uint16 if is_whole else np.float64)
    return Picture(values.reshape(values.shape[0], values.shape[1], -1), decoded.is_inverted, decoded.note)


class _Decoded(NamedTuple):
    """What an image file holds."""

    values: np.ndarray  # [height, width] or [height, width, 3]
    pages: int
    is_deep_colour: bool  # more than 8 bits in several channels, of which Pillow keeps 8
    is_inverted: bool  # more than 8 bits with white as 0: Pillow inverts 8 bits alone
    note: str | None


def _decode(path, stream, is_mask):
    """The _Decoded of an image file. Arguments and errors are those of `read_picture`."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            # Pillow maps a file that it opens itself into memory, and scrambles turned TIFFs
            with open(path, "rb") if stream is None else stream as file:
                try:
                    with Image.open(file, formats=_FORMATS) as image:
                        return _load(image, is_mask)
                except UnidentifiedImageError:
                    return _decode_numbers(file)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise UnreadableImage(
                f"{path}: declares more than {Image.MAX_IMAGE_PIXELS} pixels, the most that is read: a damaged or "
                "hostile file; resize or remove it, or leave such files out by --skip_bad_files"
            ) from error
        except Exception as error:  # a parser of hostile bytes may raise anything
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UnreadableImage(
                f"{path}: cannot be read as an image ({reason}); allowed are readable {', '.join(IMAGE_SUFFIXES)} "
                "files; replace it, or leave such files out by --skip_bad_files"
            ) from error


def _load(image, is_mask):
    """The _Decoded of an image that Pillow has opened."""
    pages = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # MPO: a JPEG with previews
    tags = image.tag_v2 if image.format == "TIFF" else {}
    is_deep, kinds = max(tags.get(_BITS, (1,))) > 8, tags.get(_KIND, ())
    is_deep_colour = is_deep and tags.get(_SAMPLES, 1) > 1
    if image.tile and image.mode in ("RGB", "RGBA", "LA"):
        is_deep_colour |= ";16" in str(image.tile[0][3])
    image.load()
    image, note = ImageOps.exif_transpose(image), None
    if is_mask:
        image, note = _find_drawing(image, tags)
    values = np.asarray(_make_grey_or_colour(image))
    if not is_deep and _SIGNED in kinds:
        values = values.view(np.int8)  # Pillow takes -1 for 255
    if values.dtype == np.int32 and tags.get(_BITS) == (32,) and _SIGNED not in kinds:
        values = values.view(np.uint32)
    is_inverted = values.dtype != np.uint8 and tags.get(_PHOTOMETRIC) == 0 and note is None
    return _Decoded(values, pages, is_deep_colour, is_inverted, note)


def _decode_numbers(file):
    """The _Decoded of a grey TIFF of numbers that Pillow does not read: 64 bits, fractions of 16."""
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # the error tells
    file.seek(0)
    if file.read(2) not in (b"II", b"MM"):
        raise ValueError("cannot identify image file")
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages[0]
        if page.size > Image.MAX_IMAGE_PIXELS:
            raise Image.DecompressionBombError
        if page.dtype is None or page.dtype.kind not in "iuf":
            raise ValueError("cannot identify image file")
        is_colour = len(page.shape) != 2
        return _Decoded(
            np.zeros((1, 1)) if is_colour else page.asarray(), len(tiff.pages), is_colour, page.photometric == 0, None
        )


def _find_drawing(image, tags):
    """(a mask's Pillow image without what only says how it is shown, what was read so), see `read_picture`."""
    if image.mode in ("P", "PA", "LA", "RGBA", "RGBa", "La"):
        seen = image.convert("LA" if image.mode == "La" else image.mode).convert("RGBA")
        *colours, opacity = seen.getextrema()
        if opacity == (0, 255) and image.mode != "P":  # what cannot be seen has no colour
            visible = np.asarray(seen)[np.asarray(seen.getchannel("A")) > 0]
            colours = list(zip(visible.min(0)[:3], visible.max(0)[:3], strict=True))
        if all(low == high for low, high in colours) and opacity[0] < opacity[1]:
            return seen.getchannel("A"), None
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        used = [index for _, index in image.getcolors(256) if index < len(palette)]
        is_inverting = np.array_equal(palette, np.repeat(255 - np.arange(256), 3).reshape(-1, 3))
        if is_inverting or (len(used) > 1 and not np.ptp(palette[used], axis=0).any()):
            return Image.fromarray(np.asarray(image)), INVERTING_PALETTE if is_inverting else FLAT_PALETTE
    if tags.get(_PHOTOMETRIC) == 0 and _is_array(tags):
        if image.mode in ("1", "L"):  # which Pillow has inverted
            image = ImageOps.invert(image.convert("L"))
        return image, ZERO_IS_WHITE
    return image, None


def _is_array(tags):
    """Whether tifffile or ImageJ wrote a TIFF: its stored numbers are the array, whatever the tag says of white."""
    software, description = str(tags.get(_SOFTWARE, "")), str(tags.get(_DESCRIPTION, ""))
    is_unsigned = not software and not description and tags.get(_UNIT) == 1 and tags.get(_RESOLUTION) == 1
    return software.startswith("tifffile") or description.startswith(('{"shape":', "ImageJ=")) or is_unsigned


def _make_grey_or_colour(image):
    """A Pillow image of any mode without palette and transparency, see `read_picture`."""
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        used = palette[[index for _, index in image.getcolors(256) if index < len(palette)]]
        return image.convert("L" if (used == used[:, :1]).all() else "RGB")
    if image.mode in ("1", "LA"):
        return image.convert("L")
    if image.mode in ("PA", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"):
        return image.convert("RGB")
    return image
