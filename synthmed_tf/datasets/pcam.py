"""PatchCamelyon: 327,680 tiles of lymph nodes of 96x96 pixels, normal or with tumour in the middle; official split.

Veeling et al. 2018, Rotation equivariant CNNs for digital pathology, MICCAI, arXiv:1806.03962; cut from the slides of
Camelyon16, as P2's tiles are. 327,680 tiles, half of them tumour.
"""

import functools
import io
import re
from pathlib import Path

import numpy as np
from PIL import Image

from synthmed_tf.datasets.files import Entry, File, list_files, make_id, show_path
from synthmed_tf.datasets.spreadsheets import read_table
from synthmed_tf.images.decode import IMAGE_SUFFIXES
from synthmed_tf.sample import InputError, UnreadableImage

FOLDERS = ("pcam", "PCam", "pcamv1")
CLASSES = ("normal", "tumour")
_FILE = "camelyonpatch_level_2_split_{}_{}"
_PARTS = {"train": "train", "valid": "train", "test": "test"}
_TILE = (96, 96, 3)
_MOST_TILES = 2**20  # official files hold up to 2**18; a hostile one may declare any number in no space
_FOLDER = re.compile(r"(?:.*/)?(normal|tumou?r)/([^/]+)", re.IGNORECASE)
_WHERE = (
    "get camelyonpatch_level_2_split_train_x.h5.gz, ..._train_y.h5.gz, ..._train_meta.csv and the same of valid and "
    "test at https://github.com/basveeling/pcam, gunzip them, and put them into {}"
)


def list_entries(data_dir):
    """Lists the tiles of PCam under data_dir/pcam, which holds HDF5 files or folders normal/ and tumor/ of images.

    The HDF5 files of train are needed; valid counts as train. With the meta tables (column wsi) the slide is the group,
    without them each tile is. Tiles are read one at a time.

    Image files below a folder extra/ are left out. So a subset that is kept as balanced/normal, balanced/tumor and
    extra/normal has as many tumour tiles as normal ones, as P2's sets and PCam itself have. To learn from all of them,
    put them into a folder of your own with one sub-folder a class.

    Returns:
      list of Entry with the labels "normal" and "tumour". Image files have no official split, and each is its own
      group.

    Raises:
      InputError: missing, incomplete, still packed, or HDF5 files of another content.
    """
    folders = [Path(data_dir, name) for name in FOLDERS]
    folder = next((path for path in folders if path.is_dir()), folders[0])
    where = _WHERE.format(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: PatchCamelyon is not there; {where}, or name another folder by --data_dir")
    listed = list_files(folder)
    files = {path.rsplit("/", 1)[-1]: file for path, file in listed.items()}
    if any(_FILE.format(part, "x.h5") in files for part in _PARTS):
        return _list_tiles(folder, files, where)
    if packed := [file.name for name, file in files.items() if re.fullmatch(_FILE.format(r"\w+", r"x\.h5\.gz"), name)]:
        raise InputError(f"{packed[0]}: still packed; allowed are .h5 files: gunzip it and the others beside it")
    entries = []
    for path, file in listed.items():
        match = _FOLDER.fullmatch(path)
        if match and match[2].lower().endswith(IMAGE_SUFFIXES) and "extra" not in path.lower().split("/"):
            id = make_id(match[2].rsplit(".", 1)[0])
            entries.append(Entry(id, id, None, file, label=CLASSES[match[1].lower() != "normal"]))
    if not entries:
        raise InputError(
            f"{folder}: no camelyonpatch_level_2_split_train_x.h5 and no normal/ and tumor/ with images; {where}"
        )
    return sorted(entries, key=lambda entry: entry.id)


def _list_tiles(folder, files, where):
    """Entries of the tiles in the HDF5 files. files: {file name: File}. where: what to get, for messages."""
    has_test = _FILE.format("test", "x.h5") in files
    entries = []
    for part, split in _PARTS.items():
        x, y = (files.get(_FILE.format(part, f"{kind}.h5")) for kind in "xy")
        if x is None and y is None and part != "train":
            continue
        if x is None or y is None:
            raise InputError(f"{folder}: no {_FILE.format(part, 'x.h5' if x is None else 'y.h5')} in it; {where}")
        tumour = _read_labels(x, y)
        ids = [f"{part}_{index:06d}" for index in range(len(tumour))]
        meta = files.get(_FILE.format(part, "meta.csv"))
        slides = _read_slides(meta, len(ids)) if meta else ids
        for index, (id, slide) in enumerate(zip(ids, slides, strict=True)):
            tile = File(f"{x.name}, tile {index}", x.path, functools.partial(_open_tile, x.path, index))
            entries.append(Entry(id, slide, split if has_test else None, tile, label=CLASSES[int(tumour[index])]))
    return entries


def _read_labels(x, y):
    """[n] bool, whether each tile is tumour; checks what both files hold."""
    try:
        tiles, labels = _open_dataset(x.path, "x"), _open_dataset(y.path, "y")
        if (
            tiles.shape[1:] != _TILE
            or tiles.dtype != np.uint8
            or len(tiles) > _MOST_TILES
            or labels.shape not in ((len(tiles), 1, 1, 1), (len(tiles),))
            or labels.dtype.kind not in "iu"
        ):
            raise InputError(
                f"{x.name}: x is {tiles.dtype} {list(tiles.shape)} and y {labels.dtype} {list(labels.shape)}, "
                f"allowed are uint8 [n, 96, 96, 3] and [n, 1, 1, 1], n up to {_MOST_TILES}: not the official "
                "files, download them again"
            )
        values = labels[()].ravel()
    except (OSError, KeyError, AttributeError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{x.name} or {y.name}: not a readable HDF5 file with x or y ({reason}); download it again"
        ) from error
    if not np.isin(values, (0, 1)).all():
        raise InputError(f"{y.name}: holds labels other than 0 and 1: not the official file, download it again")
    return values == 1


def _read_slides(meta, count):
    """[count] slide of each tile, from a meta table."""
    columns, rows = read_table(meta)
    slides = [row.get("wsi") for _, row in rows]
    if len(slides) != count or not all(slides):
        raise InputError(
            f"{meta.name}: {len(slides)} rows, columns {', '.join(columns)}; allowed is one row for each of the "
            f"{count} tiles, with its slide in the column wsi; download it again, or move it away and each tile is "
            "its own group"
        )
    return slides


@functools.lru_cache(maxsize=6)  # an open file for each of the official six: opening takes longer than reading a tile
def _open_hdf5(path, modified):
    import h5py

    file = h5py.File(path, "r")
    for key in ("x", "y"):  # a hostile file may have another file's bytes read as its own
        is_link = isinstance(file.get(key, getlink=True), (h5py.ExternalLink, h5py.SoftLink))
        content = None if is_link else file.get(key)
        if is_link or (isinstance(content, h5py.Dataset) and (content.external or content.is_virtual)):
            raise OSError(f"{key} lies in another file, or is a link, which is not followed")
    return file


def _open_dataset(path, key):
    return _open_hdf5(path, path.stat().st_mtime_ns)[key]


def _open_tile(path, index):
    """One tile as an uncompressed image file in memory, which is what a File opens."""
    try:
        pixels = _open_dataset(path, "x")[index]
    except (OSError, KeyError, ValueError, IndexError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UnreadableImage(
            f"{show_path(path)}, tile {index}: cannot be read ({reason}); download the file again, or leave such "
            "tiles out by --skip_bad_files"
        ) from error
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="BMP")
    stream.seek(0)
    return stream
