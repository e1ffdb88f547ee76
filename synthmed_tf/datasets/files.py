"""What the sources share: where the files of a sample lie, on disk or in a zip."""

import functools
import hashlib
import io
import os
import re
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from synthmed_tf.images.decode import IMAGE_SUFFIXES
from synthmed_tf.progress import show_progress
from synthmed_tf.sample import InputError, UnreadableImage

MAX_MEMBER_BYTES = 256 * 2**20  # one file in a zip; DRIVE's largest, the zip in the zip, has 15 MB
MAX_MEMBERS = 100_000
SPLITS = {  # what a sub-folder or a cell of a table may be called -> the split that it means
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
    is_xray: bool = False  # brightness is normalised by what lies in the lungs
    is_dark_foreground: bool = False  # the lower of a mask's two levels is the foreground
    is_from_table: bool = False  # group and split are not told by the files' names alone
    group_column: str | None = None  # the column of a table, or the DICOM tag, that the group was read from


def is_system_file(name):
    """Whether a file is one that operating systems leave behind and nobody means as an image."""
    return name.startswith(".") or name.lower() in _SYSTEM_FILES


def show_path(path):
    """A path as one line of text: control characters and bytes that are no text become escapes."""
    text = str(path)
    return text if text.isprintable() else "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def list_some(names, most=3):
    """The first of the names as text, and whether there are more."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def list_subfolders(folder):
    """The paths of a folder's own folders in order, but for those of operating systems."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_system_file(path.name))


def find_split_folders(folder):
    """{sub-folder: "train" or "test"} of those that are called like a split."""
    return {path: SPLITS[path.name.lower()] for path in list_subfolders(folder) if path.name.lower() in SPLITS}


def check_class_name(text, where):
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


def get_file(path):
    """The File of a path on disk; links are followed."""
    path = Path(path)
    if not path.is_file():
        what = "a broken link" if path.is_symlink() else "not a file"
        raise InputError(f"{show_path(path)}: {what}; mend it, or move it away")
    return File(show_path(path), path, functools.partial(open, path, "rb"))


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
    listed, zips, progress = {}, [], show_progress(desc=f"listing {show_path(folder)}", unit="file", delay=2)
    for parent, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        depth = len(Path(parent).relative_to(folder).parts)
        folders[:] = [] if depth >= 4 else sorted(name for name in folders if not is_system_file(name))
        for name in sorted(names):
            progress.update()
            path = Path(parent, name)
            if name.lower() in zip_names:
                zips.append(path)
            elif not is_system_file(name):
                listed[path.relative_to(folder).as_posix()] = get_file(path)
    progress.close()
    for path in zips:
        for name, file in _list_zip(path, show_path(path), path, zip_names).items():
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
        name = show_path(f"{shown}/{member.filename}")
        read = functools.partial(_open_member, archive, member, name)
        if parts[-1].lower() in zip_names:
            listed |= _list_zip(path, name, read(), ())
        else:
            listed["/".join(parts)] = File(name, path, read)
    return listed


def _open_member(archive, member, name):
    """A stream with the bytes of a zip's member. name: as messages show it."""
    try:
        return io.BytesIO(archive.read(member))  # stops with an error at the declared size, which has been checked
    except Exception as error:  # a decompressor of hostile bytes may raise anything
        raise UnreadableImage(
            f"{name}: cannot be unpacked ({error}); download the zip again, or leave such files out by --skip_bad_files"
        ) from error


def index_by_name(listed, pattern):
    """{file name: File} of what `list_files` files, in whichever folder, under names of a pattern.

    Raises:
      InputError: two files of one name.
    """
    files = {}
    for path, file in listed.items():
        name = path.rsplit("/", 1)[-1]
        if re.fullmatch(pattern, name):
            if name in files:
                raise InputError(
                    f"{file.name}: same name as {files[name].name}; allowed is one file of a name; move one away"
                )
            files[name] = file
    return files


def make_id(stem):
    """A file's stem with odd characters replaced by _; a changed one gets a hash to stay unique."""
    clean = re.sub(r"[^A-Za-z0-9._-]+", "_", stem)
    return clean if clean == stem else f"{clean}-{hashlib.sha256(os.fsencode(stem)).hexdigest()[:8]}"


def fold_name(name):
    """A name of a file or folder as it compares: in Unicode's normal form C, without the case of letters."""
    return unicodedata.normalize("NFC", name).casefold()


def has_image_suffix(name):
    """Whether a file's name ends like one of IMAGE_SUFFIXES."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def is_nameless_dicom(path):
    """Whether a file is DICOM by its content and not by its name, as scanners write them."""
    if has_image_suffix(path.name) or not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"
