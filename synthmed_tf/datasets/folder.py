"""Anybody's own set: a folder with images/ and masks/, paired by the stem of the file name.

FOLDER/images/a.png, FOLDER/masks/a.png, where there are fields of view FOLDER/fov/a.png: no split, see `datasets.load`.
FOLDER/train/images/a.png, ..., FOLDER/test/images/b.png, ...: a split of one's own.
"""

from pathlib import Path

from synthmed_tf.datasets.files import Entry, disk_file, has_image_suffix, is_system_file, printable, sample_id
from synthmed_tf.images import IMAGE_SUFFIXES
from synthmed_tf.sample import InputError

_SUFFIXES = ", ".join(IMAGE_SUFFIXES)
_LAYOUT = (
    "allowed are images/ and masks/, and fov/ if there are fields of view, in the folder or in its train/ and test/"
)


def entries(folder):
    """Lists the samples of a folder. Links are followed; ids are the stems, with odd characters replaced.

    Each file is its own group, so put the images of one patient all into train/ or all into test/. Where test/ has no
    masks/ folder, the test images come without.

    Returns:
      list of Entry.

    Raises:
      InputError: wrong layout, a file that is no image, image without mask and the reverse, two files of one stem.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{printable(folder)}: no such folder; {_LAYOUT}; name it by --data")
    if (folder / "images").is_dir():
        if (folder / "train" / "images").is_dir() or (folder / "test" / "images").is_dir():
            raise InputError(
                f"{printable(folder)}: has images/ and also train/ or test/; {_LAYOUT}, not both; move one away"
            )
        return _entries(folder, None)
    if not (folder / "train" / "images").is_dir():
        raise InputError(f"{printable(folder)}: has no images/ and no train/images/; {_LAYOUT}; rename its folders")
    listed = _entries(folder / "train", "train")
    return listed + (_entries(folder / "test", "test") if (folder / "test" / "images").is_dir() else [])


def _entries(folder, split):
    images = _by_stem(folder / "images")
    if not images:
        shown = printable(folder / "images")
        raise InputError(f"{shown}: holds no image; allowed are {_SUFFIXES} files; put them there")
    masks = _by_stem(folder / "masks") if (folder / "masks").is_dir() else None
    fields = _by_stem(folder / "fov") if (folder / "fov").is_dir() else None
    if masks is None and split != "test":
        raise InputError(
            f"{printable(folder)}: has images/ but no masks/; {_LAYOUT}; put one mask for each image there"
        )
    for found, name, what in ((masks, "masks", "mask"), (fields, "fov", "field of view")):
        for stem in sorted(set(images) ^ set(found)) if found is not None else ():
            file, lacking, place = (images[stem], what, name) if stem in images else (found[stem], "image", "images")
            raise InputError(
                f"{file.name}: has no {lacking}, looked for {printable(folder / place / stem)} with any of the endings "
                f"{_SUFFIXES}; add it with the same stem, or remove this one"
            )
    return [
        Entry(sample_id(stem), stem, split, images[stem], masks and masks[stem], fields and fields[stem])
        for stem in sorted(images)
    ]


def _by_stem(folder):
    """{stem: File} of a folder of images; what is neither an image nor the operating system's own is an error."""
    found = {}
    for path in sorted(folder.iterdir()):
        if is_system_file(path.name):
            continue
        if path.is_dir() or not has_image_suffix(path.name):
            what = "a folder" if path.is_dir() else "not an image file"
            raise InputError(
                f"{printable(path)}: {what}; allowed in {folder.name}/ are {_SUFFIXES} files; convert or remove it"
            )
        if path.stem in found:
            raise InputError(
                f"{printable(path)}: same stem as {found[path.stem].name}; allowed is one file a stem; rename one"
            )
        found[path.stem] = disk_file(path)
    return found
