"""Anybody's own set: images with masks, one sub-folder a class, images with a table of labels, or photographs alone.

FOLDER/images/a.png, FOLDER/masks/a.png, where there are fields of view FOLDER/fov/a.png, paired by the stem of the
file name: no split, see `load.load_samples`. FOLDER/train/images/a.png, ..., FOLDER/test/images/b.png, ...: a split of
one's own; val/ and so on count as train/. A table as below, but for the class, says which images belong together.
Other names of these folders and files are in pairing.py. FOLDER/images/a.png or FOLDER/a.png: photographs alone.

FOLDER/normal/a.png, FOLDER/tumour/b.png, ...: one sub-folder a class, named like the class; no split.
FOLDER/train/normal/a.png, ..., FOLDER/test/tumour/b.png, ...: a split of one's own.

FOLDER/images/a.png, FOLDER/labels.csv (any name): a table with one row an image. One column names the file, another
one the class; columns "split" (train, val or test) and, for images that belong together, one of those that
group_columns.py tells of may follow.
"""

import unicodedata
import warnings
from pathlib import Path

from synthmed_tf.datasets import pairing
from synthmed_tf.datasets.dicom_patients import add_patients
from synthmed_tf.datasets.files import (
    SPLITS,
    Entry,
    check_class_name,
    find_split_folders,
    get_file,
    has_image_suffix,
    is_nameless_dicom,
    is_system_file,
    list_some,
    list_subfolders,
    make_id,
    show_path,
)
from synthmed_tf.datasets.group_columns import are_persons
from synthmed_tf.datasets.table_of_labels import TABLE_SUFFIXES, add_groups, find_tables, list_table_entries
from synthmed_tf.images.decode import IMAGE_SUFFIXES
from synthmed_tf.progress import show_progress
from synthmed_tf.sample import InputError

_SUFFIXES = ", ".join(IMAGE_SUFFIXES)
_LAYOUT = (
    "allowed are images/ and masks/, and fov/ if there are fields of view; or one sub-folder a class; both in the "
    "folder or in its train/ and test/; or images/ and one CSV table of labels; or photographs alone"
)


def list_entries(folder, labels=None, group_column=None):
    """Lists the samples of a folder. Links are followed; ids are the stems, with odd characters replaced.

    Each file is its own group unless a table or the DICOM files say otherwise. Where test/ has no masks, the test
    images come without. Images in the folder's own sub-folders count as classes, or as images of the table if `labels`
    is given. The images of a single sub-folder have no class.

    Args:
      folder: path.
      labels: the column of the table that holds the classes; None: its only one beside the file name, group and split.
      group_column: the column of the table that says what belongs together; "none": each image stands alone; None: the
        one whose heading says so.

    Returns:
      list of Entry; with classes, label is set. It is None where the table's cell is empty. Where a name is in two of
      train/, test/ and so on, all ids begin with the name of their folder.

    Raises:
      InputError: wrong or ambiguous layout, a file that is no image, image without mask and the reverse, two files of
        one stem, an empty class, image without row and the reverse, or a column that is not there.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{show_path(folder)}: no such folder; {_LAYOUT}; name it by --data")
    tables = find_tables(folder)
    places, parts = pairing.find_places(folder), _find_parts(folder)
    if parts and places and places.images != folder and not pairing.is_called_images(places.images.name):
        places = None  # not meant as a set
    if labels is not None or (tables and places and not _has_masks(places) and not parts):
        return list_table_entries(folder, tables, labels, group_column)
    if places and parts:
        raise InputError(
            f"{show_path(folder)}: has {places.images.name}/ and also train/ or test/; {_LAYOUT}, not both; move one "
            "away"
        )
    classes = {} if places or parts else _find_classes(folder)
    if classes and tables and group_column is None:
        raise InputError(
            f"{show_path(folder)}: has the table {show_path(tables[0].name)} and sub-folders with images, and "
            "either could tell the classes; --labels=COLUMN takes a column of the table; --group_column=COLUMN, of "
            "patients, or --group_column=none takes the sub-folders; or move the table away"
        )
    if classes:
        listed = _list_class_entries(folder, classes)
    elif places:
        listed = _list_pairs(places, None, places.images == folder)
    elif any(split == "train" for split, _ in parts.values()):
        listed = _list_parts(parts)
    else:
        raise InputError(f"{show_path(folder)}: has no images/ and no train/images/; {_LAYOUT}; rename its folders")
    listed = add_groups(listed, folder, tables, group_column)
    if group_column is not None or any(entry.group_column for entry in listed):
        return listed
    return add_patients(listed, show_path(folder))


def _find_parts(folder):
    """{folder of a split: ("train" or "test", its Places or None)}; {} where none of them has Places."""
    parts = {place: (split, pairing.find_places(place)) for place, split in find_split_folders(folder).items()}
    return parts if any(places for _, places in parts.values()) else {}


def _has_masks(places):
    """Whether there is a folder of masks, or masks lie among the images."""
    return places.masks or pairing.split_off_masks({path.stem: path for path in places.images.iterdir()})[1]


def _list_parts(parts):
    """Entries of train/, test/ and so on, the former first. parts: from `_find_parts`."""
    if lacking := next((place for place, (_, places) in parts.items() if not places), None):
        there = next(place for place, (_, places) in parts.items() if places)
        raise InputError(f"{show_path(lacking)}: has no images/, {there.name}/ has; put them there, or move it away")
    listed = [
        (place, entry)
        for place, (split, places) in sorted(parts.items(), key=lambda part: part[1][0], reverse=True)
        for entry in _list_pairs(places, split, places.images == place)
    ]
    if any(entry.mask for _, entry in listed) and (
        lacking := next((place for place, entry in listed if entry.split == "train" and not entry.mask), None)
    ):
        there = next(place for place, entry in listed if entry.mask)
        raise InputError(
            f"{show_path(lacking)}: has images but no masks/, {there.name}/ has; put one mask for each image there"
        )
    if len({entry.id for _, entry in listed}) == len(listed):
        return [entry for _, entry in listed]
    names = [(entry, f"{place.name}_{entry.group}") for place, entry in listed]
    return [entry._replace(id=make_id(name), group=name) for entry, name in names]


def _find_classes(folder):
    """{folder of one class: split or None}, empty unless the layout is that of classes."""
    places, splits = list_subfolders(folder), find_split_folders(folder)
    if not splits:
        classes = dict.fromkeys((place for place in places if not pairing.is_folder_of_masks(place)), None)
        if not any(pairing.has_images(place) for place in classes):
            return {}
        if len(classes) < len(places):
            odd = next(place for place in places if place not in classes)
            raise InputError(
                f"{show_path(odd)}: lies beside folders of classes; {_LAYOUT}; move it away, or rename it if it "
                "is a class"
            )
        return classes
    if others := [place for place in places if place not in splits]:
        raise InputError(
            f"{show_path(others[0])}: lies beside {min(splits).name}/; {_LAYOUT}; move it into one of these, or away"
        )
    return {place: split for parent, split in splits.items() for place in list_subfolders(parent)}


def _list_class_entries(folder, classes):
    """Entries of the images of each class. classes: {folder of one class: split or None}."""
    entries, masks = [], []
    names = {place: unicodedata.normalize("NFC", place.name) for place in classes}
    has_classes = len(set(names.values())) > 1
    for place, split in classes.items():
        images, masks_beside = pairing.split_off_masks(_index_by_stem(place))
        masks += [file.name for file in masks_beside.values()]
        label = check_class_name(names[place], show_path(place))
        if not images:
            raise InputError(
                f"{show_path(place)}: a class without images; allowed are {_SUFFIXES} files; put them there, or "
                "move it away"
            )
        parts = [place.parent.name, place.name] if split else [place.name]
        for stem in sorted(images):
            id = make_id("_".join([*parts, stem]))
            entries.append(Entry(id, id, split, images[stem], label=label if has_classes else None))
    loose = [show_path(path) for path in sorted(folder.iterdir()) if path.is_file() and has_image_suffix(path.name)]
    if has_classes and are_persons(persons := sorted(set(names.values()))):
        warnings.warn(
            f"{show_path(folder)}: its {len(persons)} sub-folders are taken for classes and called as patients are "
            f"({list_some(persons)}); if they are, put the images into images/ and name their patients in a table",
            stacklevel=3,
        )
    for left_out, text in (
        (masks, "files among the images of classes are named as masks of images beside them, and left out"),
        (loose, "images lie beside the folders of classes, and are left out"),
    ):
        if left_out:
            warnings.warn(f"{show_path(folder)}: {len(left_out)} {text} ({list_some(left_out)})", stacklevel=3)
    return entries


def _list_pairs(places, split, is_root=False):
    """Entries of images, with masks and fields of view where there are any. is_root: see `_index_by_stem`."""
    if not is_root:
        pairing.check_no_others(places.images.parent, places)
    images, folders = _index_by_stem(places.images, is_root), places._asdict()
    if not images:
        raise InputError(f"{show_path(places.images)}: holds no image; allowed are {_SUFFIXES} files; put them there")
    others = {kind: place for kind, place in folders.items() if kind != "images"}
    files = {kind: None if place is None else _index_by_stem(place) for kind, place in others.items()}
    if files["masks"] is None:
        images, among = pairing.split_off_masks(images)
        files["masks"], folders["masks"] = among or None, places.images
    pairs = {}
    for kind, what in (("masks", "mask"), ("fields", "field of view")):
        pairs[kind] = dict.fromkeys(images, (None, None))
        if files[kind] is not None:
            pairs[kind] = pairing.pair_masks(images, files[kind], (places.images, folders[kind]), what)
    seconds = pairing.match_second(images, files["second_masks"] or {})
    entries = []
    for stem in sorted(images):
        (mask, second), (field, _) = pairs["masks"][stem], pairs["fields"][stem]
        entries.append(Entry(make_id(stem), stem, split, images[stem], mask, field, seconds.get(stem, second)))
    return entries


def _index_by_stem(folder, is_root=False):
    """{stem: File} of a folder of images.

    What is neither an image nor the operating system's own is an error; with is_root, in the set's folder itself, it is
    a counted warning, but for tables.
    """
    files, odd = {}, []
    for path in show_progress(sorted(folder.iterdir()), f"listing {show_path(folder)}", unit="file", delay=2):
        if is_system_file(path.name):
            continue
        if path.is_dir() or not has_image_suffix(path.name):
            if is_root and not is_nameless_dicom(path):
                odd += [] if path.name.lower().endswith(TABLE_SUFFIXES) else [show_path(path)]
                continue
            what, remedy = _name_odd(path, folder.name)
            raise InputError(f"{show_path(path)}: {what}; allowed in {folder.name}/ are {_SUFFIXES} files; {remedy}")
        if path.stem in files:
            raise InputError(
                f"{show_path(path)}: same stem as {files[path.stem].name}; allowed is one file a stem; rename one"
            )
        files[path.stem] = get_file(path)
    if odd:
        warnings.warn(
            f"{show_path(folder)}: {len(odd)} files beside the images are none and not read ({list_some(odd)})",
            stacklevel=3,
        )
    return files


def _name_odd(path, parent):
    """(what a path among images is, what to do) where it is no image file."""
    if path.is_dir():
        is_split = path.name.lower() in SPLITS
        remedy = f"make it {path.name}/{parent}/" if is_split else f"move its images into {parent}/, or it away"
        return "a folder", remedy
    if path.name.lower().endswith(TABLE_SUFFIXES):
        return "not an image file", f"move the table out of {parent}/, into the folder above"
    return "not an image file", "rename it to .dcm" if is_nameless_dicom(path) else "convert it, or move it away"
