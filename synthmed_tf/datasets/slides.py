"""Whole-slide images: cut into tiles of 256 pixels that show tissue (P2 § 2.2). Needs OpenSlide (the extra `wsi`).

FOLDER/CLASS/a.svs, ...: a tile has the class of its slide. FOLDER/slides/a.tif, ... and FOLDER/masks/a.tif, ...: a tile
is "tumour" where its part of the mask has any foreground (more than 0), else "normal"; masks are of the slide's aspect,
at any size. The same in FOLDER/train/ and FOLDER/test/: a split of one's own; val/ and so on count as train/.
"""

import functools
import io
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from synthmed_tf.datasets.files import (
    Entry,
    File,
    check_class_name,
    find_split_folders,
    get_file,
    is_system_file,
    list_subfolders,
    make_id,
    show_path,
)
from synthmed_tf.images.decode import read_image
from synthmed_tf.progress import show_progress
from synthmed_tf.sample import InputError, UnreadableImage

TILE = 256  # pixels, P2 § 2.2, at the slide's full resolution
# A slide gives at most so many of each class. P2 took 50,000 from 270 normal slides and 50,000 from 130 with metastases
TILES_PER_SLIDE = 200
TISSUE = 0.5  # least share of a tile that is tissue
# Otsu's threshold stays within these bounds, or noise would cut a slide in two that is all white or all tissue
_SATURATION = 0.05, 0.15
# Tissue and masks are looked for on the finest level that is not larger: 4 pixels a tile side on the largest slides
_MAX_LEVEL_PIXELS = 2**24
_SLIDE_SUFFIXES = (".svs", ".ndpi", ".mrxs")
_TIFF_SUFFIXES = (".tif", ".tiff")
_LAYOUT = (
    "allowed are one folder of slides a class, or slides/ and masks/ paired by stem, of .svs, .ndpi, .mrxs and "
    "tiled .tif files; both in the folder or in its train/ and test/"
)


def is_folder_of_slides(folder):
    """Whether a folder, or its train/ or test/, holds slides/, or folders whose first file is a slide.

    A slide is a .svs, .ndpi or .mrxs file, or a TIFF of several pages.
    """
    folder = Path(folder)
    if (folder / "slides").is_dir() or (folder / "images").is_dir():
        return (folder / "slides").is_dir()
    if any(_is_slide(path) for place in list_subfolders(folder) for path in _list_files(place)[:1]):
        return True
    return any(is_folder_of_slides(place) for place in find_split_folders(folder))


def list_entries(folder):
    """Lists the tiles of a folder of slides. Reads a small level of each slide, and tiles only when they are opened.

    Tiles lie in a grid from the top left corner, without overlap. TILES_PER_SLIDE of each class are drawn at random
    from those that are tissue at least by half, a function of the slide's name alone. Tissue is what is more saturated
    than Otsu's threshold, within bounds.

    Returns:
      list of Entry, group: the slide; id: SLIDE_ROW_COLUMN in tiles; split None unless there is train/ or test/.

    Raises:
      InputError: OpenSlide is not installed, wrong layout, a slide without mask and the reverse, an unreadable or flat
        slide, a mask of another aspect, or no tissue in any slide.
    """
    folder = Path(folder)
    splits = {} if (folder / "slides").is_dir() else find_split_folders(folder)
    if splits and (others := sorted(set(list_subfolders(folder)) - set(splits))):
        raise InputError(f"{show_path(others[0])}: lies beside {min(splits).name}/; {_LAYOUT}; move it there, or away")
    listed = [(*slide, split) for place, split in (splits or {folder: None}).items() for slide in _list_slides(place)]
    entries = []
    for path, mask, label, split in show_progress(listed, "looking for tissue", unit="slide", delay=2):
        files = [get_file(file) for file in (path, mask) if file]
        stamp = tuple((file.path.stat().st_size, file.path.stat().st_mtime_ns) for file in files)
        group = make_id(path.stem)
        for row, column, is_tumour in _choose_tiles(path, mask, stamp):
            name = f"{show_path(path)}, tile {row} {column}"
            tile = File(name, path, functools.partial(_open_tile, path, stamp, row, column))
            text = label or ("tumour" if is_tumour else "normal")
            entries.append(Entry(f"{group}_{row}_{column}", group, split, tile, label=text))
    if not entries:
        raise InputError(
            f"{show_path(folder)}: no tile of its {len(listed)} slides shows tissue; {_LAYOUT}; put others there"
        )
    return entries


def _list_slides(folder):
    """[(path of a slide, path of its mask or None, its class or None)] of a folder, see the module."""
    if not (folder / "slides").is_dir():
        if loose := next((path for path in _list_files(folder) if _is_slide(path)), None):
            raise InputError(f"{show_path(loose)}: lies beside the folders of the classes; {_LAYOUT}; move it into one")
        return [
            (path, None, check_class_name(place.name, show_path(place)))
            for place in list_subfolders(folder)
            for path in _list_files(place)
        ]
    slides = {path.stem: path for path in _list_files(folder / "slides")}
    masks = {path.stem: path for path in _list_files(folder / "masks")} if (folder / "masks").is_dir() else {}
    for stem in sorted(set(slides) ^ set(masks)):
        path, lacking = (slides[stem], "mask") if stem in slides else (masks[stem], "slide")
        raise InputError(f"{show_path(path)}: has no {lacking}; {_LAYOUT}; add it (for no tumour an empty mask)")
    return [(slides[stem], masks[stem], None) for stem in sorted(slides)]


def _list_files(folder):
    """The files of a folder in order; the folders that belong to .mrxs files are passed over."""
    return sorted(path for path in folder.iterdir() if not path.is_dir() and not is_system_file(path.name))


def _is_slide(path):
    if path.suffix.lower() not in _TIFF_SUFFIXES:
        return path.suffix.lower() in _SLIDE_SUFFIXES
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=["TIFF"]) as image:
                return image.n_frames > 1
    except Image.DecompressionBombError:
        return True  # too large for anything but a slide
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, OverflowError):
        return False  # reading it as an image will say why


@functools.lru_cache(maxsize=8)
def _open_slide(path, stamp):
    """The OpenSlide of a file. stamp: its size and time, so that a changed file is opened again."""
    try:
        import openslide
    except (ImportError, OSError) as error:
        raise InputError(f"{show_path(path)}: reading slides needs OpenSlide; pip install synthmed_tf[wsi]") from error
    try:
        return openslide.OpenSlide(path)
    except openslide.OpenSlideError as error:
        raise InputError(
            f"{show_path(path)}: not a readable slide ({_give_reason(error)}); {_LAYOUT}; move it away, and get "
            "another copy"
        ) from error


def _give_reason(error):
    return " ".join(str(error).split())[:200] or type(error).__name__


def _read_level(slide, path):
    """The finest level of at most _MAX_LEVEL_PIXELS: [height, width, 3] uint8, white where the scanner saw nothing."""
    import openslide

    fitting = [i for i, (width, height) in enumerate(slide.level_dimensions) if width * height <= _MAX_LEVEL_PIXELS]
    if not fitting:
        smallest = "x".join(map(str, slide.level_dimensions[-1]))
        raise InputError(
            f"{show_path(path)}: its smallest level has {smallest} pixels; allowed are pyramids with a smaller one"
        )
    try:
        pixels = slide.read_region((0, 0), fitting[0], slide.level_dimensions[fitting[0]])
    except openslide.OpenSlideError as error:
        _open_slide.cache_clear()  # a handle that has failed once fails for ever
        raise InputError(
            f"{show_path(path)}: damaged ({_give_reason(error)}); move it away, and get another copy"
        ) from error
    return _put_on_white(pixels)


def _put_on_white(image):
    """RGBA Pillow image -> [height, width, 3] uint8."""
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image).convert("RGB"))


@functools.lru_cache(maxsize=4096)
def _choose_tiles(path, mask_path, stamp):
    """Tuple of (row, column, whether the mask has foreground there) of the tiles that are taken from one slide."""
    from skimage.filters import threshold_otsu

    slide = _open_slide(path, stamp[0])
    width, height = slide.dimensions
    grid = height // TILE, width // TILE
    if grid[0] * grid[1] > _MAX_LEVEL_PIXELS:
        raise InputError(
            f"{show_path(path)}: declares {width}x{height} pixels: a damaged or hostile file; move it away"
        )
    if 0 in grid:
        return ()
    level = _read_level(slide, path).astype(np.float32)
    saturation = np.ptp(level, axis=-1) / np.maximum(level.max(axis=-1), 1)
    is_tissue = saturation > np.clip(threshold_otsu(saturation), *_SATURATION)
    tiles = _measure_shares(is_tissue, slide.dimensions, grid) >= TISSUE
    is_tumour = np.zeros(grid, bool)
    if mask_path:
        mask = _read_mask(mask_path, stamp[1])
        if abs(mask.shape[1] * height / (mask.shape[0] * width) - 1) > 0.02:
            shown = f"{mask.shape[1]}x{mask.shape[0]}"
            raise InputError(
                f"{show_path(mask_path)}: has {shown} pixels and its slide {width}x{height}; allowed is one aspect"
            )
        is_tumour = _measure_shares(mask, slide.dimensions, grid) > 0
    chosen = []
    for foreground in (False, True):
        places = np.argwhere(tiles & (is_tumour == foreground))
        order = np.random.default_rng(
            [zlib.crc32(path.stem.encode(errors="surrogateescape")), int(foreground)]
        ).permutation(len(places))
        chosen += [(int(row), int(column), foreground) for row, column in places[np.sort(order[:TILES_PER_SLIDE])]]
    return tuple(chosen)


def _measure_shares(plane, dimensions, grid):
    """[height, width] bool of a slide of dimensions (width, height) -> [rows, columns], the share of each tile."""
    (height, width), (rows, columns) = plane.shape, grid
    covered = (
        0,
        0,
        min(columns * TILE * width / dimensions[0], width),
        min(rows * TILE * height / dimensions[1], height),
    )
    plane = Image.fromarray(plane.astype(np.float32))
    return np.array(plane.resize((columns, rows), Image.Resampling.BOX, box=covered))


def _read_mask(path, stamp):
    """[height, width] bool. What OpenSlide does not know, such as PNG, is read as an image."""
    try:
        slide = _open_slide(path, stamp)
    except InputError:
        return read_image(path, is_mask=True).max(axis=-1) > 0
    return _read_level(slide, path).max(axis=-1) > 0


def _open_tile(path, stamp, row, column):
    """A stream with the tile as PNG."""
    import openslide

    try:
        pixels = _open_slide(path, stamp[0]).read_region((column * TILE, row * TILE), 0, (TILE, TILE))
    except openslide.OpenSlideError as error:
        _open_slide.cache_clear()  # a handle that has failed once fails for ever
        raise UnreadableImage(
            f"{show_path(path)}, tile {row} {column}: damaged ({_give_reason(error)}); get another copy, or leave "
            "such tiles out by --skip_bad_files"
        ) from error
    stream = io.BytesIO()
    Image.fromarray(_put_on_white(pixels)).save(stream, "PNG", compress_level=1)
    stream.seek(0)
    return stream
