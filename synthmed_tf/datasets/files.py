"""What the loaders share: where the files of a sample lie (on disk or in a zip), and how they become a Sample."""

import csv
import functools
import hashlib
import io
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from synthmed_tf.images.field_of_view import estimate_field_of_view
from synthmed_tf.images.read import IMAGE_SUFFIXES, read_image
from synthmed_tf.progress import show_progress
from synthmed_tf.sample import InputError, Sample, UnreadableImage

MAX_MEMBER_BYTES = 256 * 2**20  # of one file in a zip; DRIVE's largest, the zip in the zip, has 15 MB
MAX_MEMBERS = 100_000
SPLITS = {  # what a sub-folder, or a cell of a table, may be called -> the split that it is
    "train": "train",
    "training": "train",
    "val": "train",
    "valid": "train",
    "validation": "train",
    "test": "test",
}
_SYSTEM_FILES = ("thumbs.db", "desktop.ini", "__macosx")


class File(NamedTuple):
    """A file on disk or in a zip."""

    name: str  # as messages show it
    path: Path  # on disk: the file itself or the zip that holds it
    open: Callable[[], BinaryIO]


class Entry(NamedTuple):
    """Where the files of one sample lie. Everything about it that is known before an image is decoded."""

    id: str
    group: str
    split: str | None  # "train" or "test"; None: the set has no official split
    image: File | None  # None: the sample is drawn, not read
    mask: File | None = None
    field_of_view: File | None = None
    second_mask: File | None = None
    label: str | None = None  # None in a set whose other entries have one: in none of its classes, to be left out
    is_fundus: bool = False  # a field of view that does not ship can be estimated
    is_radiograph: bool = False  # brightness is normalised by what lies in the lungs
    is_dark_foreground: bool = False  # the lower of a mask's two levels is the foreground
    is_from_table: bool = False  # group and split are not told by the files' names alone


def is_system_file(name):
    """Whether a file is one that operating systems leave behind and nobody means as an image."""
    return name.startswith(".") or name.lower() in _SYSTEM_FILES


def printable(path):
    """A path as one line of text: control characters and bytes that are no text become escapes."""
    text = str(path)
    return text if text.isprintable() else "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def subfolders(folder):
    """The paths of a folder's own folders in order, but for those of operating systems."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_system_file(path.name))


def split_folders(folder):
    """{sub-folder: "train" or "test"} of those that are called like a split."""
    return {path: SPLITS[path.name.lower()] for path in subfolders(folder) if path.name.lower() in SPLITS}


def class_name(text, where):
    """`text`, the name of a class, which stands in `where`.

    Raises:
      InputError: it would not be one line of text.
    """
    if text != text.strip() or not text.isprintable():
        raise InputError(
            f"{where}: the class {text!r}; allowed are names without line breaks, control characters and blanks at the "
            "ends; rename it"
        )
    return text


def disk_file(path):
    """The File of a path on disk; links are followed."""
    path = Path(path)
    if not path.is_file():
        what = "a broken link" if path.is_symlink() else "not a file"
        raise InputError(f"{printable(path)}: {what}; mend or remove it")
    return File(printable(path), path, functools.partial(open, path, "rb"))


def list_files(folder, zip_names=()):
    """Lists a folder and what is in some zips in it, as if these had been unpacked there. Reads no image.

    Args:
      folder: Path.
      zip_names: lower-case names of zips that count if they are there. A zip of these names inside one counts as well.

    Returns:
      dict: path below folder with / -> File. What is unpacked wins over what is in a zip.

    Raises:
      InputError: a zip that is damaged, or has members that climb out of it or declare absurd sizes.
    """
    listed, zips, progress = {}, [], show_progress(desc=f"listing {printable(folder)}", unit="file", delay=2)
    for parent, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        depth = len(Path(parent).relative_to(folder).parts)
        folders[:] = [] if depth >= 4 else sorted(name for name in folders if not is_system_file(name))
        for name in sorted(names):
            progress.update()
            path = Path(parent, name)
            if name.lower() in zip_names:
                zips.append(path)
            elif not is_system_file(name):
                listed[path.relative_to(folder).as_posix()] = disk_file(path)
    progress.close()
    for path in zips:
        for name, file in _list_zip(path, printable(path), path, zip_names).items():
            listed.setdefault(name, file)
    return listed


def _raise(error):
    raise error


def _list_zip(path, shown, source, zip_names):
    """The files in a zip. path: on disk; shown: in messages; source: path, or BytesIO of a zip that lies in the zip."""
    try:
        archive = zipfile.ZipFile(source)
        members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise InputError(f"{shown}: not a readable zip ({error}); download it again or unpack it by hand") from error
    if len(members) > MAX_MEMBERS:
        raise InputError(f"{shown}: holds {len(members)} files, allowed are {MAX_MEMBERS}; unpack it by hand")
    listed = {}
    for member in members:
        parts = member.filename.replace("\\", "/").split("/")
        if ".." in parts or parts[0] == "" or ":" in parts[0]:
            raise InputError(
                f"{shown}: member {member.filename!r} climbs out of the zip; allowed are paths below it: not the "
                "official file, download it again"
            )
        if member.file_size > MAX_MEMBER_BYTES:
            raise InputError(
                f"{shown}: member {member.filename!r} declares {member.file_size} bytes, allowed are "
                f"{MAX_MEMBER_BYTES}: not the official file, download it again"
            )
        if member.is_dir() or any(is_system_file(part) for part in parts):
            continue
        name = printable(f"{shown}/{member.filename}")
        read = functools.partial(_open_member, archive, member, name)
        if parts[-1].lower() in zip_names:
            listed |= _list_zip(path, name, read(), ())
        else:
            listed["/".join(parts)] = File(name, path, read)
    return listed


def _open_member(archive, member, name):
    try:
        return io.BytesIO(archive.read(member))  # stops with an error at the declared size, which has been checked
    except Exception as error:  # a decompressor of hostile bytes may raise anything
        raise UnreadableImage(
            f"{name}: cannot be unpacked ({error}); download the zip again, or leave such files out by --skip_bad_files"
        ) from error


def by_name(listed, pattern):
    """{file name: File} of what `list_files` found, in whichever folder, under names of a pattern.

    Raises:
      InputError: two files of one name.
    """
    found = {}
    for path, file in listed.items():
        name = path.rsplit("/", 1)[-1]
        if re.fullmatch(pattern, name):
            if name in found:
                raise InputError(
                    f"{file.name}: same name as {found[name].name}; allowed is one file of a name; remove one"
                )
            found[name] = file
    return found


def sample_id(stem):
    """A file's stem with odd characters replaced by _; a changed one gets a hash to stay unique."""
    clean = re.sub(r"[^A-Za-z0-9._-]+", "_", stem)
    return clean if clean == stem else f"{clean}-{hashlib.sha256(os.fsencode(stem)).hexdigest()[:8]}"


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
    if entry.is_radiograph and image.shape[2] > 1:  # grey saved as colour
        image = np.rint(image.mean(axis=-1, keepdims=True)).astype(image.dtype)
    masks = {}
    for name in ("mask", "field_of_view", "second_mask"):
        file = getattr(entry, name)
        masks[name] = read_mask(file, entry.is_dark_foreground and name != "field_of_view") if file else None
        if file and masks[name].shape[:2] != image.shape[:2]:
            found, wanted = ("x".join(map(str, array.shape[1::-1])) for array in (masks[name], image))
            raise InputError(
                f"{file.name}: has {found} pixels (width x height), {entry.image.name} has {wanted}; allowed are "
                "equal sizes; resize one, or remove the pair"
            )
    if masks["field_of_view"] is None and entry.is_fundus:
        masks["field_of_view"] = estimate_field_of_view(image)
    return Sample(id=entry.id, image=image, group=entry.group, label=entry.label, split=split, **masks)


def read_table(table, errors="strict"):
    """Reads a CSV file, separated by commas, or by semicolons if its first line has one.

    Args:
      table: File.
      errors: "replace" where letters that are not UTF-8 do not matter.

    Returns:
      [column], [(line number, {column: cell})], stripped of spaces; without rows that are empty, and without cells
      beyond the last column.

    Raises:
      InputError: it cannot be read.
    """
    try:
        with table.open() as stream:
            text = stream.read().decode("utf-8-sig", errors=errors)
        if "\0" in text:
            raise UnicodeError("NUL")
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if ";" in text.partition("\n")[0] else ",")
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except UnicodeError as error:
        raise InputError(
            f"{table.name}: its letters are not written in UTF-8 ({error}); in a spreadsheet program save it as CSV UTF-8"
        ) from error
    except (OSError, csv.Error) as error:
        raise InputError(f"{table.name}: cannot be read as a table ({error}); save it as CSV again") from error
    columns = [printable(column) for column in rows[0][1]] if rows else []
    return columns, [(line, dict(zip(columns, cells))) for line, cells in rows[1:] if any(cells)]


def read_grades(tables, images, highest, left_out=()):
    """Reads the diabetic-retinopathy grades of photographs from CSV files, one row a photograph.

    Args:
      tables: Files, separated by commas or semicolons, with the columns "Image name" and "Retinopathy grade"; further
        columns and empty rows do not matter, and names may end like an image file or not.
      images: {stem: File} of the photographs.
      highest: the highest grade there is.
      left_out: stems whose rows do not matter.

    Returns:
      dict: stem -> "0" ... str(highest), for all of `images`.

    Raises:
      InputError: not such a table, another grade, a photograph graded twice or not at all, a grade without photograph.
    """
    grades = {}
    for table in tables:
        columns, rows = read_table(table, errors="replace")  # names of clinics, which have accents
        if not {"image name", "retinopathy grade"} <= {name.lower() for name in columns}:
            raise InputError(
                f"{table.name}: no columns 'Image name' and 'Retinopathy grade' in its first line; allowed is a CSV "
                "file that has them; save it as CSV again"
            )
        for line, cells in rows:
            row = {name.lower(): cell for name, cell in cells.items()}
            name, grade = row.get("image name", ""), row.get("retinopathy grade", "")
            stem = name.rsplit(".", 1)[0] if has_image_suffix(name) else name
            if stem in left_out:
                continue
            where = f"{table.name}: line {line}"
            if grade not in map(str, range(highest + 1)):
                raise InputError(f"{where}: retinopathy grade {grade!r}, allowed are 0 to {highest}; mend it")
            if stem in grades:
                raise InputError(
                    f"{where}: grades {stem} for the second time; allowed is one grade an image; remove one"
                )
            if stem not in images:
                raise InputError(f"{where}: grades {stem!r}, but no such image is there; add it, or remove the line")
            grades[stem] = grade
    lacking = sorted(set(images) - set(grades))
    if lacking:
        raise InputError(
            f"{images[lacking[0]].name}: has no grade in {tables[0].name}{' and so on' if len(tables) > 1 else ''} "
            f"({len(lacking)} of {len(images)} images have none); add its line, or remove it"
        )
    return grades


def _read(file, is_mask=False):
    try:
        stream = file.open()
    except OSError as error:
        raise UnreadableImage(
            f"{file.name}: cannot be opened ({error.strerror}); mend it, or leave such files out by --skip_bad_files"
        ) from error
    with stream:
        return read_image(file.name, stream, is_mask)


def has_image_suffix(name):
    """Whether a file's name ends like one of images.IMAGE_SUFFIXES."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def is_nameless_dicom(path):
    """Whether a file is DICOM by its content and not by its name, as scanners write them."""
    if has_image_suffix(path.name) or not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"
