"""DICOM X-rays -> 16-bit grey images. Needs pydicom (the extra `dicom`). Nothing but pixels leaves this file."""

import io
import warnings

import numpy as np
from PIL import Image

from synthmed_tf.sample import InputError, UnreadableImage

MAX_BYTES = 2**29  # a file has at most: twice what the pixels allowed take in 16 bits, and room for the rest
_MODULES = r"pydicom|synthmed_tf\.images\.dicom"  # their warnings are not shown
_DEFLATED = b"1.2.840.10008.1.2.1.99"  # transfer syntax: such files unpack to any size before a tag can be read
_TAGS = (  # all that is ever parsed: no name, number or date of a patient
    "SamplesPerPixel PhotometricInterpretation NumberOfFrames Rows Columns PlanarConfiguration BitsAllocated "
    "BitsStored HighBit PixelRepresentation RescaleSlope RescaleIntercept ModalityLUTSequence WindowCenter WindowWidth "
    "VOILUTFunction VOILUTSequence LUTDescriptor LUTData PixelData"
).split()


def read_dicom(path, stream=None):
    """Reads a DICOM file of one grey frame as it is meant to be seen.

    Stored values go through the modality's table or slope and intercept, then through the first window or table of
    interest (DICOM PS3.3 C.11.1 and C.11.2) to the 16-bit range; without a window that makes sense the range of what
    BitsStored can hold is stretched to it. MONOCHROME1 is inverted, so that air is dark.

    Args:
      path: file name; appears in messages.
      stream: binary file object that holds the bytes, where they do not lie in a file of their own.

    Returns:
      [height, width, 1] uint16.

    Raises:
      UnreadableImage: missing, truncated, not DICOM, deflated, or larger than images may be.
      InputError: pydicom is not installed; several frames, colour, other numbers, or a compression without a decoder.
    """
    try:
        import pydicom
    except ImportError as error:
        raise InputError(
            f"{path}: reading DICOM needs pydicom; pip install synthmed_tf[dicom], or convert to 16-bit PNG"
        ) from error
    pydicom.config.logger.propagate = False  # its warnings quote values of tags
    dataset = _parse(path, stream)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=_MODULES)
            warnings.simplefilter("error", Image.DecompressionBombWarning)  # a JPEG larger than Rows x Columns
            pixels = _show(dataset)
            return pixels.reshape(dataset.Rows, dataset.Columns, 1)  # fails where there are more frames than one
    except Exception as error:
        raise _make_error(path, error) from error


def _parse(path, stream):
    """The pydicom data set of a file that holds one grey frame; its pixels are not decoded yet."""
    import pydicom
    from pydicom.pixels import get_decoder

    try:
        with open(path, "rb") if stream is None else stream as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        if _DEFLATED in content:
            raise ValueError("deflated as a whole")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=_MODULES)
            dataset = pydicom.dcmread(io.BytesIO(content), specific_tags=_TAGS)
            frames, samples = int(dataset.get("NumberOfFrames") or 1), int(dataset.get("SamplesPerPixel") or 1)
            photometric, bits = str(dataset.PhotometricInterpretation), int(dataset.BitsAllocated)
            count = int(dataset.Rows) * int(dataset.Columns)
            compression = dataset.file_meta.TransferSyntaxUID
            has_decoder = not compression.is_compressed or get_decoder(compression).is_available
    except Exception as error:  # a parser of hostile bytes may raise anything
        raise _make_error(path, error) from error
    if count > Image.MAX_IMAGE_PIXELS:
        raise UnreadableImage(
            f"{path}: declares {count} pixels, allowed are {Image.MAX_IMAGE_PIXELS}: a damaged or hostile file; "
            "resize or remove it, or leave such files out by --skip_bad_files"
        )
    if frames != 1 or samples != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2") or bits not in (8, 16):
        content = f"{frames} frames of {samples} channels, {bits} bits, {photometric[:16]!r}"
        raise InputError(f"{path}: {content}; allowed is one grey frame of 8 or 16 bits; convert it to 16-bit PNG")
    if not has_decoder:
        raise InputError(
            f"{path}: compressed as {compression.name[:60]!r}, for which no decoder is installed; decompress it with "
            "dcmtk's dcmdjpeg or dcmdjpls, or pip install pylibjpeg[all]"
        )
    return dataset


def says_burned_in(stream):
    """Whether a readable DICOM file (binary file object) says that there is writing in its pixels, such as a name."""
    import pydicom

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=_MODULES)
            dataset = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=["BurnedInAnnotation"])
            return str(dataset.get("BurnedInAnnotation")).upper() == "YES"
    except Exception:  # a parser of hostile bytes may raise anything
        return False


def _show(dataset):
    """The pixels of a pydicom data set as they are meant to be seen: [height, width] uint16, air dark."""
    from pydicom.pixels import apply_modality_lut, apply_voi, apply_windowing

    stored = dataset.pixel_array
    values = apply_modality_lut(stored, dataset)
    if not np.isfinite(values).all():
        raise ValueError("RescaleSlope or RescaleIntercept is no number")
    if dataset.get("VOILUTSequence"):
        values = apply_voi(np.rint(values).astype(np.int64), dataset)
        low, high = 0, 2 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1
    elif window := _find_window(dataset):
        values = apply_windowing(values, window)
        low, high = 0, 65535
    elif dataset.get("ModalityLUTSequence"):
        low, high = 0, 2 ** int(dataset.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    else:
        first = -(2 ** (int(dataset.BitsStored) - 1)) if dataset.PixelRepresentation else 0
        ends = np.array([first, first + 2 ** int(dataset.BitsStored) - 1])
        low, high = sorted(apply_modality_lut(ends, dataset))
    if not high > low:
        raise ValueError("RescaleSlope is 0")
    share = np.clip((values - np.float64(low)) / (high - low), 0, 1)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        share = 1 - share
    return np.rint(share * 65535).astype(np.uint16)


def _find_window(dataset):
    """The first window as a data set of its own, or None where there is none that means anything.

    Alone it maps to the 16-bit range, whatever the slope and the bits stored.
    """
    import pydicom

    tags = "WindowCenter", "WindowWidth"
    numbers = np.concatenate([np.ravel(dataset.get(tag))[:1].astype(float) for tag in tags])  # of None: not a number
    function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
    if len(numbers) < 2 or not np.isfinite(numbers).all() or function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        return None
    if numbers[1] <= 0 or (function == "LINEAR" and numbers[1] < 1):
        return None
    window = pydicom.Dataset()
    window.PhotometricInterpretation, window.BitsStored, window.PixelRepresentation = "MONOCHROME2", 16, 0
    window.VOILUTFunction = function
    for tag in tags:
        window[tag] = dataset[tag]
    return window


def _make_error(path, error):
    """The UnreadableImage that says why a file is not read."""
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200] or type(error).__name__
    return UnreadableImage(
        f"{path}: cannot be read as DICOM ({reason}); replace it, or leave such files out by --skip_bad_files"
    )
