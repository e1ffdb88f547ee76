"""Image files -> arrays."""

import warnings
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from synthmed_tf.images.dicom import read_dicom
from synthmed_tf.sample import InputError, UnreadableImage

DICOM_SUFFIXES = (".dcm", ".dicom")
IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".gif", *DICOM_SUFFIXES)
_FORMATS = ("PNG", "TIFF", "JPEG", "BMP", "GIF")  # Pillow's decoders for them; no others are tried on a user's bytes


def read_image(path, stream=None, is_mask=False):
    """Reads an image file.

    Palettes become grey or colours, 1-bit becomes 0 and 255, transparency is dropped, the camera's EXIF rotation is
    applied. Intensities are never scaled, but for those of DICOM files (.dcm, .dicom), see `read_dicom`.

    Args:
      path: file name; appears in messages.
      stream: binary file object that holds the bytes, where they do not lie in a file of their own (a zip's member).
      is_mask: where all pixels have one colour and not one opacity, the opacity is what was drawn, and returned.

    Returns:
      [height, width, channels], uint8 or uint16 (16-bit grey), channels 1 or 3.

    Raises:
      UnreadableImage: missing, truncated, not an image, or a decompression bomb (over Pillow's limit of 89 megapixels).
      InputError: a readable image of a kind that is not supported: several pages, 16-bit colour, other numbers.
    """
    if str(path).lower().endswith(DICOM_SUFFIXES):
        return read_dicom(path, stream)
    decoded = _decode(path, stream, is_mask)
    if decoded.pages > 1:
        raise InputError(f"{path}: holds {decoded.pages} pages, allowed is one; save each as a file of its own")
    if decoded.is_deep_colour:
        raise InputError(
            f"{path}: 16-bit colour or transparency, allowed are 8-bit colour and 8- or 16-bit grey; convert it"
        )
    values = np.asarray(decoded.image)
    if decoded.is_signed_byte or values.dtype != np.uint8:
        if decoded.is_signed_byte or values.dtype.kind not in "iu" or values.min() < 0 or values.max() > 65535:
            numbers = "int8" if decoded.is_signed_byte else f"{values.dtype} from {values.min()} to {values.max()}"
            raise InputError(f"{path}: pixels are {numbers}, allowed are 8- and 16-bit whole numbers; convert it")
        values = values.astype(np.uint16)
    if decoded.is_inverted:
        values = 65535 - values
    return values.reshape(values.shape[0], values.shape[1], -1)


class _Decoded(NamedTuple):
    """What Pillow makes of a file."""

    image: Image.Image  # grey or colour
    pages: int
    is_deep_colour: bool  # more than 8 bits in several channels, of which Pillow keeps 8
    is_signed_byte: bool  # Pillow takes -1 for 255
    is_inverted: bool  # 16 bits with white as 0: Pillow inverts 8 bits alone


def _decode(path, stream, is_mask):
    """The _Decoded of an image file. Arguments and errors are those of `read_image`."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            # Pillow maps a file that it opens itself into memory, and scrambles turned TIFFs
            with open(path, "rb") if stream is None else stream as file, Image.open(file, formats=_FORMATS) as image:
                pages = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # MPO: a JPEG with previews
                tags = image.tag_v2 if image.format == "TIFF" else {}  # bits, samples, colours and kind of numbers
                is_deep = max(tags.get(258, (1,))) > 8
                is_deep_colour = is_deep and tags.get(277, 1) > 1
                if image.tile and image.mode in ("RGB", "RGBA", "LA"):
                    is_deep_colour |= ";16" in str(image.tile[0][3])
                is_signed_byte = not is_deep and 2 in tags.get(339, ())
                image.load()
                is_inverted = image.mode == "I;16" and tags.get(262) == 0
                image = _make_grey_or_colour(ImageOps.exif_transpose(image), is_mask)
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
    return _Decoded(image, pages, is_deep_colour, is_signed_byte, is_inverted)


def _make_grey_or_colour(image, is_mask):
    """A Pillow image of any mode without palette and transparency, see `read_image`."""
    if image.mode == "La":
        image = image.convert("LA")
    if is_mask and image.mode in ("P", "PA", "LA", "RGBA", "RGBa"):
        seen = image.convert("RGBA")
        *colours, opacity = seen.getextrema()
        if all(low == high for low, high in colours) and opacity[0] < opacity[1]:
            return seen.getchannel("A")
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        used = palette[[index for _, index in image.getcolors(256) if index < len(palette)]]
        return image.convert("L" if (used == used[:, :1]).all() else "RGB")
    if image.mode in ("1", "LA"):
        return image.convert("L")
    if image.mode in ("PA", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"):
        return image.convert("RGB")
    return image
