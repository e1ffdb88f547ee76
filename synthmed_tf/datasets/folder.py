"""Anybody's own set: images with masks, one sub-folder a class, or images with a table of labels.

FOLDER/images/a.png, FOLDER/masks/a.png, where there are fields of view FOLDER/fov/a.png, paired by the stem of the
file name: no split, see `load.load_samples`. FOLDER/train/images/a.png, ..., FOLDER/test/images/b.png, ...: a split of
one's own; val/ and so on count as train/. A table as below, but for the class, says which images belong together.

FOLDER/normal/a.png, FOLDER/tumour/b.png, ...: one sub-folder a class, named like the class; no split.
FOLDER/train/normal/a.png, ..., FOLDER/test/tumour/b.png, ...: a split of one's own.

FOLDER/images/a.png, FOLDER/labels.csv (any name): a table with one row an image. One column names the file, another
one the class; columns "split" (train, val or test) and, for images that belong together, "group", "patient_id",
"subject", "slide" or the like may follow.
"""

from pathlib import Path

from synthmed_tf.datasets.files import (
    Entry,
    check_class_name,
    find_split_folders,
    get_file,
    has_image_suffix,
    is_nameless_dicom,
    is_system_file,
    list_subfolders,
    make_id,
    show_path,
)
from synthmed_tf.datasets.table_of_labels import add_groups, list_table_entries
from synthmed_tf.images.decode import IMAGE_SUFFIXES
from synthmed_tf.progress import show_progress
from synthmed_tf.sample import InputError

_SUFFIXES = ", ".join(IMAGE_SUFFIXES)
_LAYOUT = (
    "allowed are images/ and masks/, and fov/ if there are fields of view; or one sub-folder a class; both in the "
    "folder or in its train/ and test/; or images/ and one CSV table of labels"
)


def list_entries(folder, labels=None):
    """Lists the samples of a folder. Links are followed; ids are the stems, with odd characters replaced.

    Each file is its own group unless a table says otherwise, so without one put the images of one patient all into
    train/ or all into test/. Where test/ has no masks/ folder, the test images come without. Images in the folder's own
    sub-folders count as classes, or as images of the table if `labels` is given.

    Args:
      folder: path.
      labels: the column of the table that holds the classes; None: its only one beside the file name, group and split.

    Returns:
      list of Entry; with classes, label is set. It is None where the table's cell is empty.

    Raises:
      InputError: wrong or ambiguous layout, a file that is no image, image without mask and the reverse, two files of
        one stem, an empty class, image without row and the reverse, or a column that is not there.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{show_path(folder)}: no such folder; {_LAYOUT}; name it by --data")
    for place in (folder, *find_split_folders(folder)):
        for odd in list_subfolders(place):
            if odd.name != odd.name.lower() in ("images", "masks", "fov"):
                raise InputError(f"{show_path(odd)}: these names are in lower case; rename it {odd.name.lower()}")
    tables = sorted(path for path in folder.glob("*.[cC][sS][vV]") if not is_system_file(path.name))
    has_images = (folder / "images").is_dir()
    classes = {} if has_images else _find_classes(folder)
    if (
        labels is not None
        or (tables and has_images and not (folder / "masks").is_dir())
        or (tables and not classes and _has_images(folder))
    ):
        return list_table_entries(folder, tables, labels)
    parts = {place: split for place, split in find_split_folders(folder).items() if (place / "images").is_dir()}
    if has_images:
        if parts:
            raise InputError(
                f"{show_path(folder)}: has images/ and also train/ or test/; {_LAYOUT}, not both; move one away"
            )
        return add_groups(_list_pairs(folder, None), folder, tables)
    if classes and tables:
        raise InputError(
            f"{show_path(folder)}: has the table {show_path(tables[0].name)} and sub-folders with images, and "
            "either could tell the classes; --labels=COLUMN takes a column of the table; or move the table away, and "
            "the sub-folders are the classes"
        )
    if classes:
        return _list_class_entries(classes)
    if "train" not in parts.values():
        raise InputError(f"{show_path(folder)}: has no images/ and no train/images/; {_LAYOUT}; rename its folders")
    if empty := sorted(set(find_split_folders(folder)) - set(parts)):
        raise InputError(f"{show_path(empty[0])}: has no images/, {min(parts).name}/ has; put them there, or remove it")
    listed = [
        entry for place in sorted(parts, key=parts.get, reverse=True) for entry in _list_pairs(place, parts[place])
    ]
    return add_groups(listed, folder, tables)


def _find_classes(folder):
    """{folder of one class: split or None}, empty unless the layout is that of classes."""
    places, splits = list_subfolders(folder), find_split_folders(folder)
    if not splits:
        classes = dict.fromkeys((place for place in places if place.name not in ("masks", "fov")), None)
        if not any(_has_images(place) for place in classes):
            return {}
        if len(classes) < len(places):
            odd = next(place for place in places if place not in classes)
            raise InputError(
                f"{show_path(odd)}: lies beside folders of classes; {_LAYOUT}; move it away, or rename it if it "
                "is a class"
            )
        return classes
    if any((place / "images").is_dir() for place in splits):
        return {}
    if others := [place for place in places if place not in splits]:
        raise InputError(
            f"{show_path(others[0])}: lies beside {min(splits).name}/; {_LAYOUT}; move it into one of these, or away"
        )
    return {place: split for parent, split in splits.items() for place in list_subfolders(parent)}


def _has_images(folder):
    """Whether images lie in the folder itself."""
    return any(path.is_file() and (has_image_suffix(path.name) or is_nameless_dicom(path)) for path in folder.iterdir())


def _list_class_entries(classes):
    """Entries of the images of each class. classes: {folder of one class: split or None}."""
    entries = []
    for place, split in classes.items():
        images, label = _index_by_stem(place), check_class_name(place.name, show_path(place))
        if not images:
            raise InputError(
                f"{show_path(place)}: a class without images; allowed are {_SUFFIXES} files; put them there, or "
                "remove it"
            )
        parts = [place.parent.name, place.name] if split else [place.name]
        for stem in sorted(images):
            id = make_id("_".join([*parts, stem]))
            entries.append(Entry(id, id, split, images[stem], label=label))
    return entries


def _list_pairs(folder, split):
    """Entries of images/ with masks/ and fov/, paired by stem."""
    images = _index_by_stem(folder / "images")
    if not images:
        shown = show_path(folder / "images")
        raise InputError(f"{shown}: holds no image; allowed are {_SUFFIXES} files; put them there")
    masks = _index_by_stem(folder / "masks") if (folder / "masks").is_dir() else None
    fields = _index_by_stem(folder / "fov") if (folder / "fov").is_dir() else None
    if masks is None and split != "test":
        raise InputError(
            f"{show_path(folder)}: has images/ but no masks/ and no table of labels; {_LAYOUT}; put one "
            "mask for each image there"
        )
    for others, name, what in ((masks, "masks", "mask"), (fields, "fov", "field of view")):
        for stem in sorted(set(images) ^ set(others)) if others is not None else ():
            file, lacking, place = (images[stem], what, name) if stem in images else (others[stem], "image", "images")
            raise InputError(
                f"{file.name}: has no {lacking}, looked for {show_path(folder / place / stem)} with any of the endings "
                f"{_SUFFIXES}; add it with the same stem, or remove this one"
            )
    return [
        Entry(make_id(stem), stem, split, images[stem], masks and masks[stem], fields and fields[stem])
        for stem in sorted(images)
    ]


def _index_by_stem(folder):
    """{stem: File} of a folder of images; what is neither an image nor the operating system's own is an error."""
    files = {}
    for path in show_progress(sorted(folder.iterdir()), f"listing {show_path(folder)}", unit="file", delay=2):
        if is_system_file(path.name):
            continue
        if path.is_dir() or not has_image_suffix(path.name):
            what = "a folder" if path.is_dir() else "not an image file"
            remedy = "rename it to .dcm" if is_nameless_dicom(path) else "convert or remove it"
            raise InputError(f"{show_path(path)}: {what}; allowed in {folder.name}/ are {_SUFFIXES} files; {remedy}")
        if path.stem in files:
            raise InputError(
                f"{show_path(path)}: same stem as {files[path.stem].name}; allowed is one file a stem; rename one"
            )
        files[path.stem] = get_file(path)
    return files
