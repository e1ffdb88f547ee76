"""Builders of sets as people have them, or as somebody hostile makes them: functions of a folder."""

import io
import struct
import zlib

import numpy as np
import tifffile
from PIL import Image

Y, X = np.mgrid[:32, :32]


def draw(index, top=255, dtype=np.uint8):
    """A grey picture of waves [32, 32] from 0 to `top`."""
    waves = np.sin(X / 5 + index) + np.cos(Y / (4 + index % 3))
    return ((waves - waves.min()) / np.ptp(waves) * top).astype(dtype)


def bar(index):
    """A mask [32, 32] bool, a tenth to a third of it foreground."""
    return (X > 8) & (X < 13 + index % 5)


def make_pairs(folder, count=10):
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for index in range(count):
        Image.fromarray(draw(index)).save(folder / "images" / f"{index}.png")
        Image.fromarray(bar(index)).save(folder / "masks" / f"{index}.png")


def make_classes(folder, count=10):
    for index in range(count):
        place = folder / "ab"[index % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(index)).save(place / f"{index}.png")


def make_labelled(folder, rows=None, name="labels.csv", text=None, count=10):
    """images/ and a table: rows of cells, or text or bytes."""
    (folder / "images").mkdir(parents=True)
    for index in range(count):
        Image.fromarray(draw(index)).save(folder / "images" / f"{index}.png")
    text = "\n".join(",".join(row) for row in rows) if text is None else text
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def rows(*more, heading=("file", "label", "patient"), count=10):
    return [heading, *((f"{i}.png", "ab"[i % 2], f"p{i // 2}") for i in range(count)), *more]


def rewrite(folder, part, index, array, ending="png", **options):
    """Replaces an image or a mask by an array, written by Pillow, or by tifffile where the ending is tif."""
    (folder / part / f"{index}.png").unlink()
    path = folder / part / f"{index}.{ending}"
    if ending == "tif":
        tifffile.imwrite(path, array, **options)
    else:
        Image.fromarray(array).save(path, **options)
    return path


def rewrite_all(folder, part, make, ending="png", **options):
    for index in range(10):
        rewrite(folder, part, index, make(index), ending, **options)


def put(folder, path, content=b""):
    path = folder / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def cut(path, share=0.5):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def make_bomb(path, side=100_000):
    """A PNG of few bytes that declares side x side pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))


def make_dicom(folder, change=lambda film, index: None, count=10, dtype=np.uint16, top=4095):
    """images/*.dcm with masks/; `change` alters each pydicom data set before it is written."""
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    make_pairs(folder, count)
    for index in range(count):
        (folder / "images" / f"{index}.png").unlink()
        film = pydicom.Dataset()
        film.file_meta = pydicom.dataset.FileMetaDataset()
        film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        film.file_meta.MediaStorageSOPClassUID = film.SOPClassUID = SecondaryCaptureImageStorage
        film.file_meta.MediaStorageSOPInstanceUID = film.SOPInstanceUID = f"1.2.{index + 1}"
        film.Rows = film.Columns = 32
        film.SamplesPerPixel, film.PhotometricInterpretation, film.PixelRepresentation = 1, "MONOCHROME2", 0
        bits = 8 * np.dtype(dtype).itemsize
        film.BitsAllocated, film.BitsStored, film.HighBit = bits, 12 if bits == 16 else bits, 11 if bits == 16 else 7
        film.PixelData = draw(index, top, dtype).tobytes()
        film["PixelData"].VR = "OW"
        change(film, index)
        film.save_as(folder / "images" / f"{index}.dcm", enforce_file_format=True)


def setter(**values):
    """A `change` for make_dicom that sets attributes."""

    def change(film, _):
        for name, value in values.items():
            setattr(film, name, value)

    return change


def pairs(change):
    def build(folder):
        make_pairs(folder)
        change(folder)

    return build


def rename_masks(pattern):
    return pairs(lambda f: [path.rename(path.with_stem(pattern.format(path.stem))) for path in (f / "masks").iterdir()])


def classes(change):
    def build(folder):
        make_classes(folder)
        change(folder)

    return build


def table(*arguments, **options):
    return lambda folder: make_labelled(folder, *arguments, **options)


def masks(make, **options):
    return pairs(lambda folder: rewrite_all(folder, "masks", make, **options))


def images(make, **options):
    return pairs(lambda folder: rewrite_all(folder, "images", make, **options))


def image(array, **options):
    return pairs(lambda folder: rewrite(folder, "images", 3, array, **options))


def mask(array, **options):
    return pairs(lambda folder: rewrite(folder, "masks", 3, array, **options))


def as_bytes(picture, kind, **options):
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def content(data):
    return pairs(lambda folder: put(folder, "images/3.png", data))


GREY = Image.fromarray(draw(3))
RGB = GREY.convert("RGB")
PALETTE = RGB.quantize(8)
TABLE = "\n".join(",".join(row) for row in rows())
LABELS = {"labels": "label"}
