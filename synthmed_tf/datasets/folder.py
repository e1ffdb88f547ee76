"""Anybody's own set: images with masks, one sub-folder a class, or images with a table of labels.

FOLDER/images/a.png, FOLDER/masks/a.png, where there are fields of view FOLDER/fov/a.png, paired by the stem of the
file name: no split, see `datasets.load`. FOLDER/train/images/a.png, ..., FOLDER/test/images/b.png, ...: a split of
one's own; val/ and so on count as train/. A table as below, but for the class, says which images belong together.

FOLDER/normal/a.png, FOLDER/tumour/b.png, ...: one sub-folder a class, named like the class; no split.
FOLDER/train/normal/a.png, ..., FOLDER/test/tumour/b.png, ...: a split of one's own.

FOLDER/images/a.png, FOLDER/labels.csv (any name): a table with one row an image. One column names the file, another
one the class; columns "split" (train, val or test) and, for images that belong together, "group", "patient_id",
"subject", "slide" or the like may follow.
"""

import re
from pathlib import Path

from synthmed_tf.datasets.files import (
    SPLITS,
    Entry,
    class_name,
    disk_file,
    has_image_suffix,
    is_nameless_dicom,
    is_system_file,
    list_files,
    printable,
    read_table,
    sample_id,
    split_folders,
    subfolders,
)
from synthmed_tf.images.read import IMAGE_SUFFIXES
from synthmed_tf.progress import show_progress
from synthmed_tf.sample import InputError

_SUFFIXES = ", ".join(IMAGE_SUFFIXES)
_LAYOUT = (
    "allowed are images/ and masks/, and fov/ if there are fields of view; or one sub-folder a class; both in the folder or in its "
    "train/ and test/; or images/ and one CSV table of labels"
)
# Columns of what belongs together, by their letters alone: "Patient-ID" is patientid. The first of these counts
_GROUPS = [
    re.compile(f"(?:{name})(?:id|uid|instanceuid|name|number|no|nr|key|code)?")
    for name in ("group", "patient|mrn|person|subject|participant|surname|lastname|fullname", "case", "study", "slide")
]


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
        raise InputError(f"{printable(folder)}: no such folder; {_LAYOUT}; name it by --data")
    for place in (folder, *split_folders(folder)):
        for odd in subfolders(place):
            if odd.name != odd.name.lower() in ("images", "masks", "fov"):
                raise InputError(f"{printable(odd)}: these names are in lower case; rename it {odd.name.lower()}")
    tables = sorted(path for path in folder.glob("*.[cC][sS][vV]") if not is_system_file(path.name))
    has_images = (folder / "images").is_dir()
    classes = {} if has_images else _classes(folder)
    if (
        labels is not None
        or (tables and has_images and not (folder / "masks").is_dir())
        or (tables and not classes and _loose(folder))
    ):
        return _from_table(folder, tables, labels)
    parts = {place: split for place, split in split_folders(folder).items() if (place / "images").is_dir()}
    if has_images:
        if parts:
            raise InputError(
                f"{printable(folder)}: has images/ and also train/ or test/; {_LAYOUT}, not both; move one away"
            )
        return _with_groups(_entries(folder, None), folder, tables)
    if classes and tables:
        raise InputError(
            f"{printable(folder)}: has the table {printable(tables[0].name)} and sub-folders with images, and either could tell the "
            "classes; --labels=COLUMN takes a column of the table; or move the table away, and the sub-folders are the classes"
        )
    if classes:
        return _from_classes(classes)
    if "train" not in parts.values():
        raise InputError(f"{printable(folder)}: has no images/ and no train/images/; {_LAYOUT}; rename its folders")
    if empty := sorted(set(split_folders(folder)) - set(parts)):
        raise InputError(f"{printable(empty[0])}: has no images/, {min(parts).name}/ has; put them there, or remove it")
    listed = [entry for place in sorted(parts, key=parts.get, reverse=True) for entry in _entries(place, parts[place])]
    return _with_groups(listed, folder, tables)


def _classes(folder):
    """{folder of one class: split or None}, empty unless the layout is that of classes."""
    places, splits = subfolders(folder), split_folders(folder)
    if not splits:
        found = dict.fromkeys((place for place in places if place.name not in ("masks", "fov")), None)
        if not any(_loose(place) for place in found):
            return {}
        if len(found) < len(places):
            odd = next(place for place in places if place not in found)
            raise InputError(
                f"{printable(odd)}: lies beside folders of classes; {_LAYOUT}; move it away, or rename it if it is a class"
            )
        return found
    if any((place / "images").is_dir() for place in splits):
        return {}
    if others := [place for place in places if place not in splits]:
        raise InputError(
            f"{printable(others[0])}: lies beside {min(splits).name}/; {_LAYOUT}; move it into one of these, or away"
        )
    return {place: split for parent, split in splits.items() for place in subfolders(parent)}


def _loose(folder):
    """Whether images lie in the folder itself."""
    return any(path.is_file() and (has_image_suffix(path.name) or is_nameless_dicom(path)) for path in folder.iterdir())


def _from_classes(classes):
    found = []
    for place, split in classes.items():
        images, label = _by_stem(place), class_name(place.name, printable(place))
        if not images:
            raise InputError(
                f"{printable(place)}: a class without images; allowed are {_SUFFIXES} files; put them there, or remove it"
            )
        parts = [place.parent.name, place.name] if split else [place.name]
        for stem in sorted(images):
            id = sample_id("_".join([*parts, stem]))
            found.append(Entry(id, id, split, images[stem], label=label))
    return found


def _from_table(folder, tables, labels):
    shown = printable(folder)
    if (folder / "masks").is_dir():
        raise InputError(
            f"{shown}: has masks/, and images with masks have no classes; leave --labels={labels} out, or move masks/ away"
        )
    if len(tables) != 1:
        names = " and ".join(printable(path.name) for path in tables) or f"none for --labels={labels}"
        raise InputError(
            f"{shown}: one CSV table of labels is needed, found {names}; put one there and move others away, or leave the flag out"
        )
    place = folder / "images" if (folder / "images").is_dir() else folder
    listed = list_files(place)
    images = {path: file for path, file in listed.items() if has_image_suffix(path)}
    if not images:
        are_nameless = any(is_nameless_dicom(file.path) for file in listed.values())
        remedy = "rename its DICOM files to .dcm" if are_nameless else "put them there"
        raise InputError(f"{printable(place)}: holds no image; allowed are {_SUFFIXES} files; {remedy}")
    rows = _read_rows(disk_file(tables[0]), images, place, labels)
    found = []
    for path in sorted(rows):
        _, group, split, label = rows[path]
        id = sample_id(path.rsplit(".", 1)[0].replace("/", "_"))
        found.append(Entry(id, group or id, split, images[path], label=label))
    return found


def _read_rows(table, images, place, labels=None, has_classes=True):
    """{path of an image: (where its row is, group, split, class)}, None for what the table does not tell."""
    columns, rows = read_table(table)
    names = _names(images)
    named = {column: len({names.get(_plain(row.get(column, ""))) for _, row in rows} - {None}) for column in columns}
    candidates = [column for column in columns if column != labels]
    file_column = max(candidates, key=named.get, default=None)  # the first of them, if several name as many
    if not named.get(file_column):
        raise InputError(
            f"{table.name}: none of its columns ({', '.join(columns) or 'none'}) names images of {printable(place)}, such as "
            f"{next(iter(images))!r}; add a column of file names"
        )
    group_columns, split_column = _group_and_split([column for column in candidates if column != file_column])
    group_column = next(iter(group_columns), None)
    if has_classes:
        taken = {file_column, split_column, *group_columns}
        label_column = _label_column(table, columns, taken, len(rows), named, labels)
    found = {}
    for line, row in rows:
        where, cell = f"{table.name}: line {line}", row.get(file_column, "")
        path = names.get(_plain(cell))
        if path is None:
            raise InputError(f"{where}: no image {cell!r} in {printable(place)}; add it, or remove the line")
        if path in found:
            raise InputError(f"{where}: names {cell!r} for the second time; allowed is one row an image; remove one")
        group = row.get(group_column, "") if group_column else None
        split = SPLITS.get(row.get(split_column, "").lower()) if split_column else None
        if group == "" or (split_column and split is None):
            column = group_column if group == "" else split_column
            allowed = "a name" if group == "" else "train, val or test"
            raise InputError(f"{where}: {column} is {row.get(column, '')!r}, allowed is {allowed}; fill it in")
        label = class_name(row.get(label_column, ""), where) or None if has_classes else None
        found[path] = where, group, split, label
    if lacking := sorted(set(images) - set(found)):
        raise InputError(
            f"{images[lacking[0]].name}: has no row in {table.name} ({len(lacking)} of {len(images)} images have none); add it, or "
            "remove the image"
        )
    if has_classes and all(label is None for *_, label in found.values()):
        raise InputError(
            f"{table.name}: its column {label_column!r} is empty; fill in the classes, or name another column by --labels"
        )
    return found


def _group_and_split(columns):
    """(columns that tell what belongs together, the most telling first; the column of the split, or None)."""
    letters = {column: re.sub("[^a-z]", "", column.lower()) for column in columns}
    groups = [column for pattern in _GROUPS for column in columns if pattern.fullmatch(letters[column])]
    return groups, next((column for column in columns if letters[column] == "split"), None)


def _with_groups(listed, folder, tables):
    """Entries of images with masks, with the groups and the split of the table beside them that has such columns."""
    tables = [disk_file(path) for path in tables]
    telling = [table for table in tables if any(_group_and_split(read_table(table, errors="replace")[0]))]
    if not telling:
        return listed
    if len(telling) > 1:
        raise InputError(
            f"{telling[1].name}: tells groups or a split, as {telling[0].name} does; move one of them away"
        )
    places = {entry.image.path.relative_to(folder).as_posix(): entry for entry in listed}
    rows = _read_rows(telling[0], {path: places[path].image for path in places}, folder, has_classes=False)
    found = []
    for path, entry in places.items():
        where, group, split, _ = rows[path]
        if entry.split and split not in (None, entry.split):
            raise InputError(f"{where}: the split is {split}, but {entry.image.name} lies in {entry.split}; mend one")
        found.append(entry._replace(group=group or entry.group, split=split or entry.split, is_from_table=True))
    return found


def _names(images):
    """{what a table may call an image: its path}: the path, with or without images/, or a unique file name or stem."""
    shorter = {}
    for path in images:
        name = path.rsplit("/", 1)[-1]
        for call in {name, name.rsplit(".", 1)[0]}:
            shorter.setdefault(call, set()).add(path)
    names = {call: paths.pop() for call, paths in shorter.items() if len(paths) == 1}
    return names | {f"images/{path}": path for path in images} | {path: path for path in images}


def _plain(cell):
    return cell.replace("\\", "/").removeprefix("./")


def _label_column(table, columns, taken, count, named, labels):
    """The column of the classes: `labels`, or else the only one that is neither taken nor names all images."""
    left = [column for column in columns if column and column not in taken and named[column] < count]
    if labels is not None and labels not in columns:
        raise InputError(f"--labels={labels}: {table.name} has no such column; its columns are {', '.join(columns)}")
    if labels is None and len(left) != 1:
        raise InputError(
            f"{table.name}: which column holds the classes? Say --labels=COLUMN; {'there are ' + ', '.join(left) if left else 'there is none'}"
        )
    return labels if labels is not None else left[0]


def _entries(folder, split):
    images = _by_stem(folder / "images")
    if not images:
        shown = printable(folder / "images")
        raise InputError(f"{shown}: holds no image; allowed are {_SUFFIXES} files; put them there")
    masks = _by_stem(folder / "masks") if (folder / "masks").is_dir() else None
    fields = _by_stem(folder / "fov") if (folder / "fov").is_dir() else None
    if masks is None and split != "test":
        raise InputError(
            f"{printable(folder)}: has images/ but no masks/ and no table of labels; {_LAYOUT}; put one mask for each image there"
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
    for path in show_progress(sorted(folder.iterdir()), f"listing {printable(folder)}", unit="file", delay=2):
        if is_system_file(path.name):
            continue
        if path.is_dir() or not has_image_suffix(path.name):
            what = "a folder" if path.is_dir() else "not an image file"
            remedy = "rename it to .dcm" if is_nameless_dicom(path) else "convert or remove it"
            raise InputError(f"{printable(path)}: {what}; allowed in {folder.name}/ are {_SUFFIXES} files; {remedy}")
        if path.stem in found:
            raise InputError(
                f"{printable(path)}: same stem as {found[path.stem].name}; allowed is one file a stem; rename one"
            )
        found[path.stem] = disk_file(path)
    return found
