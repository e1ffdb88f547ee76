"""DICOM files -> pixels, 16-bit grey or 8-bit colour, and nothing else. Needs pydicom (the extra `dicom`)."""

import io
import warnings

import numpy as np
from PIL import Image

from synthmed_tf.images.pixel_range import UNFIT_BITS, UNUSED_WINDOW, Picture
from synthmed_tf.sample import InputError, UnreadableImage

MAX_BYTES = 2**29  # a file has at most: twice what the pixels allowed take in 16 bits, and room for the rest
_MODULES = r"pydicom|synthmed_tf\.images\.dicom"  # their warnings are not shown
_DEFLATED = b"1.2.840.10008.1.2.1.99"  # transfer syntax: such files unpack to any size before a tag can be read
_TAGS = (  # all that is ever parsed: no name, number or date of a patient
    "SamplesPerPixel PhotometricInterpretation NumberOfFrames Rows Columns PlanarConfiguration BitsAllocated "
    "BitsStored HighBit PixelRepresentation RescaleSlope RescaleIntercept ModalityLUTSequence WindowCenter WindowWidth "
    "VOILUTFunction VOILUTSequence LUTDescriptor LUTData PixelData"
).split()
for _colour in ("Red", "Green", "Blue"):
    _TAGS += [f"{_colour}PaletteColorLookupTable{part}" for part in ("Descriptor", "Data")]
    _TAGS += [f"Segmented{_colour}PaletteColorLookupTableData"]
_OVERLAY = 0x60000102  # OverlayBitPosition of the first overlay, 0 where it lies elsewhere
_TAGS.append(_OVERLAY)
_GREY, _COLOUR = ("MONOCHROME1", "MONOCHROME2"), ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
CLIPPED = 0.95  # a window that makes black or white of this share of the pixels is a mistake


def read_dicom(path, stream=None):
    """Reads a DICOM file of one frame as it is meant to be seen. A tag that is there and empty is as if it were not.

    Grey: stored values go through the modality's table or slope and intercept, then through the first window or table
    of interest (DICOM PS3.3 C.11.1 and C.11.2) that makes sense to the 16-bit range. Without any the range of what
    BitsStored can hold is stretched to it, or that of all allocated bits where pixels need more than BitsStored. A
    window that makes black or white of CLIPPED of the pixels makes no sense. MONOCHROME1 is inverted, so that air is
    dark. Colour of 8 bits is RGB, in whatever way it is coded, also by a palette.

    Args:
      path: file name; appears in messages.
      stream: binary file object that holds the bytes, where they do not lie in a file of their own.

    Returns:
      Picture of [height, width, 1] uint16, or [height, width, 3] uint8.

    Raises:
      UnreadableImage: missing, truncated, not DICOM, deflated, or larger than images may be.
      InputError: pydicom is not installed; several frames, other numbers, or a compression without a decoder.
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
            if dataset.PhotometricInterpretation in _GREY:
                picture, channels = _show(dataset), 1
            else:
                picture, channels = Picture(_show_colours(dataset)), 3
            # fails where there are more frames than one
            return picture._replace(pixels=picture.pixels.reshape(dataset.Rows, dataset.Columns, channels))
    except Exception as error:
        raise _make_error(path, error) from error


def _parse(path, stream):
    """The pydicom data set of a file that holds one frame; its pixels are not decoded yet."""
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
            count = int(dataset.Rows) * int(dataset.Columns)
            _fill_in(dataset, count)
            frames, samples = int(dataset.get("NumberOfFrames", 1)), int(dataset.SamplesPerPixel)
            photometric, bits = str(dataset.PhotometricInterpretation), int(dataset.BitsAllocated)
            compression = dataset.file_meta.TransferSyntaxUID
            has_decoder = not compression.is_compressed or get_decoder(compression).is_available
    except Exception as error:  # a parser of hostile bytes may raise anything
        raise _make_error(path, error) from error
    if count > Image.MAX_IMAGE_PIXELS:
        raise UnreadableImage(
            f"{path}: declares {count} pixels, allowed are {Image.MAX_IMAGE_PIXELS}: a damaged or hostile file; "
            "resize or remove it, or leave such files out by --skip_bad_files"
        )
    is_grey = samples == 1 and photometric in (*_GREY, "PALETTE COLOR") and bits in (8, 16)
    if frames != 1 or not (is_grey or (samples == 3 and photometric in _COLOUR and bits == 8)):
        content = f"{frames} frames of {samples} channels, {bits} bits, {photometric[:16]!r}"
        raise InputError(
            f"{path}: {content}; allowed is one frame, grey of 8 or 16 bits or colour of 8; convert it to PNG files"
        )
    if not has_decoder:
        raise InputError(
            f"{path}: compressed as {compression.name[:60]!r}, for which no decoder is installed; decompress it with "
            "dcmtk's dcmdjpeg or dcmdjpls, or pip install pylibjpeg[all]"
        )
    return dataset


def _fill_in(dataset, count):
    """Removes empty tags, and adds what they, and absent ones, are without being said. count: of pixels."""
    for element in list(dataset):
        if element.is_empty:
            del dataset[element.tag]
    usual = {"SamplesPerPixel": 1}
    samples = int(dataset.get("SamplesPerPixel", 1))
    usual |= {"PhotometricInterpretation": "MONOCHROME2" if samples == 1 else "RGB", "PixelRepresentation": 0}
    usual |= {"PlanarConfiguration": 0} if samples > 1 else {}
    if "BitsAllocated" not in dataset:
        usual |= {"BitsAllocated": 8 * min(2, len(dataset.PixelData) // max(count * samples, 1))}
    for tag, value in usual.items():
        if tag not in dataset:
            setattr(dataset, tag, value)
    if ("RescaleSlope" in dataset) != ("RescaleIntercept" in dataset):
        tag, value = ("RescaleIntercept", 0) if "RescaleSlope" in dataset else ("RescaleSlope", 1)
        setattr(dataset, tag, value)
    if not 0 < int(dataset.get("BitsStored", 0)) <= int(dataset.BitsAllocated):
        dataset.BitsStored = dataset.BitsAllocated
    if "HighBit" not in dataset:
        dataset.HighBit = dataset.BitsStored - 1


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
    """The Picture of a grey pydicom data set: [height, width] uint16."""
    from pydicom.pixels import apply_modality_lut, apply_voi, apply_windowing

    (stored, bits), is_inverted = _decode(dataset), dataset.PhotometricInterpretation == "MONOCHROME1"
    note = None if bits == dataset.BitsStored else UNFIT_BITS
    values = apply_modality_lut(stored, dataset)
    if not np.isfinite(values).all():
        raise ValueError("RescaleSlope or RescaleIntercept is no number")
    if dataset.get("VOILUTSequence"):
        shown = apply_voi(np.rint(values).astype(np.int64), dataset)
        ends = 0, 2 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1
        return Picture(_stretch(shown, ends, is_inverted))
    for window in _list_windows(dataset):
        shown = _stretch(apply_windowing(values, window), (0, 65535), is_inverted)
        is_clipped = np.abs(shown / 65535 - 0.5) > 0.499  # by a thousandth, as a sigmoid has no ends
        if is_clipped.mean() < CLIPPED or not np.ptp(stored):
            return Picture(shown)
        note = UNUSED_WINDOW
    if dataset.get("ModalityLUTSequence"):
        ends = 0, 2 ** int(dataset.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    else:
        first = -(2 ** (bits - 1)) if dataset.PixelRepresentation else 0
        ends = sorted(apply_modality_lut(np.array([first, first + 2**bits - 1]), dataset))
    if not ends[1] > ends[0]:
        raise ValueError("RescaleSlope is 0")
    return Picture(_stretch(values, ends), is_inverted, note)


def _decode(dataset):
    """(stored values as [height, width] of integers, how many bits they have): BitsStored, or all that are allocated.

    An overlay may lie in the other bits (DICOM PS3.5 8.1.1), or what a device that does not fill them in left there.
    """
    dataset.pixel_array_options(correct_unused_bits=False)
    values, bits = dataset.pixel_array, int(dataset.BitsStored)
    unused = 8 * values.itemsize - bits
    corrected = values << unused >> unused
    has_overlay = _OVERLAY in dataset and dataset[_OVERLAY].value
    is_unsigned_within = (values.view(f"u{values.itemsize}") < 2**bits).all()
    if has_overlay or is_unsigned_within or np.array_equal(corrected, values):
        return corrected, bits
    return values, int(dataset.BitsAllocated)


def _stretch(values, ends, is_inverted=False):
    """Values between two ends -> [height, width] uint16, 0 to 65535."""
    share = np.clip((values - np.float64(ends[0])) / (ends[1] - ends[0]), 0, 1)
    return np.rint((1 - share if is_inverted else share) * 65535).astype(np.uint16)


def _show_colours(dataset):
    """The pixels of a pydicom data set in colour: [height, width, 3] uint8."""
    from pydicom.pixels import apply_color_lut, pixel_array

    if dataset.PhotometricInterpretation != "PALETTE COLOR":
        return pixel_array(dataset)  # RGB, whatever it was
    colours = apply_color_lut(dataset.pixel_array, dataset)[..., :3]
    is_deep = colours.dtype == np.uint16 and colours.max(initial=0) > 255  # else 8 bits in words of 16
    return (colours >> 8 if is_deep else colours).astype(np.uint8)


def _list_windows(dataset):
    """The windows that may mean something, each as a data set of its own.

    Alone it maps to the 16-bit range, whatever the slope and the bits stored.
    """
    import pydicom

    function = str(dataset.get("VOILUTFunction", "LINEAR")).upper()
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        return
    pairs = zip(*(np.ravel(dataset.get(tag, [])) for tag in ("WindowCenter", "WindowWidth")), strict=False)
    for center, width in pairs:
        numbers = [float(value) if str(value).strip() else np.nan for value in (center, width)]
        if not np.isfinite(numbers).all() or numbers[1] <= 0 or (function == "LINEAR" and numbers[1] < 1):
            continue
        window = pydicom.Dataset()
        window.PhotometricInterpretation, window.BitsStored, window.PixelRepresentation = "MONOCHROME2", 16, 0
        window.VOILUTFunction, window.WindowCenter, window.WindowWidth = function, center, width
        yield window


def _make_error(path, error):
    """The UnreadableImage that says why a file is not read."""
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200] or type(error).__name__
    return UnreadableImage(
        f"{path}: cannot be read as DICOM ({reason}); replace it, or leave such files out by --skip_bad_files"
    )
