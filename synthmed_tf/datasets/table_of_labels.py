"""The table in a folder of one's own: the class of each image, and which images belong together. See folder.py."""

import re

from synthmed_tf.datasets.files import (
    SPLITS,
    Entry,
    check_class_name,
    get_file,
    has_image_suffix,
    is_nameless_dicom,
    list_files,
    make_id,
    show_path,
)
from synthmed_tf.datasets.spreadsheets import read_table
from synthmed_tf.images.decode import IMAGE_SUFFIXES
from synthmed_tf.sample import InputError

_SUFFIXES = ", ".join(IMAGE_SUFFIXES)
# What a column of groups may be called, by its letters alone: "Patient-ID" is patientid. Earlier patterns count first
_GROUPS = [
    re.compile(f"(?:{name})(?:id|uid|instanceuid|name|number|no|nr|key|code)?")
    for name in ("group", "patient|mrn|person|subject|participant|surname|lastname|fullname", "case", "study", "slide")
]


def list_table_entries(folder, tables, labels):
    """Entries of a folder of images whose classes a table tells.

    Args:
      tables: paths of the CSV files that lie in the folder.
      labels: the column of the classes, or None.
    """
    shown = show_path(folder)
    if (folder / "masks").is_dir():
        raise InputError(
            f"{shown}: has masks/, and images with masks have no classes; leave --labels={labels} out, or move masks/ "
            "away"
        )
    if len(tables) != 1:
        names = " and ".join(show_path(path.name) for path in tables) or f"none for --labels={labels}"
        raise InputError(
            f"{shown}: one CSV table of labels is needed, found {names}; put one there and move others away, or "
            "leave the flag out"
        )
    place = folder / "images" if (folder / "images").is_dir() else folder
    listed = list_files(place)
    images = {path: file for path, file in listed.items() if has_image_suffix(path)}
    if not images:
        are_nameless = any(is_nameless_dicom(file.path) for file in listed.values())
        remedy = "rename its DICOM files to .dcm" if are_nameless else "put them there"
        raise InputError(f"{show_path(place)}: holds no image; allowed are {_SUFFIXES} files; {remedy}")
    rows = _read_rows(get_file(tables[0]), images, place, labels)
    entries = []
    for path in sorted(rows):
        _, group, split, label = rows[path]
        id = make_id(path.rsplit(".", 1)[0].replace("/", "_"))
        entries.append(Entry(id, group or id, split, images[path], label=label))
    return entries


def add_groups(listed, folder, tables):
    """Entries of images with masks, with the groups and the split of the table beside them that has such columns."""
    tables = [get_file(path) for path in tables]
    telling = [table for table in tables if any(_find_group_and_split(read_table(table, errors="replace")[0]))]
    if not telling:
        return listed
    if len(telling) > 1:
        raise InputError(
            f"{telling[1].name}: tells groups or a split, as {telling[0].name} does; move one of them away"
        )
    places = {entry.image.path.relative_to(folder).as_posix(): entry for entry in listed}
    rows = _read_rows(telling[0], {path: places[path].image for path in places}, folder, has_classes=False)
    entries = []
    for path, entry in places.items():
        where, group, split, _ = rows[path]
        if entry.split and split not in (None, entry.split):
            raise InputError(f"{where}: the split is {split}, but {entry.image.name} lies in {entry.split}; mend one")
        entries.append(entry._replace(group=group or entry.group, split=split or entry.split, is_from_table=True))
    return entries


def _read_rows(table, images, place, labels=None, has_classes=True):
    """{path of an image: (where its row is, group, split, class)}, None for what the table does not tell."""
    columns, rows = read_table(table)
    names = _index_images(images)
    named = {
        column: len({names.get(_strip_path(row.get(column, ""))) for _, row in rows} - {None}) for column in columns
    }
    candidates = [column for column in columns if column != labels]
    file_column = max(candidates, key=named.get, default=None)  # the first of them, if several name as many
    if not named.get(file_column):
        raise InputError(
            f"{table.name}: none of its columns ({', '.join(columns) or 'none'}) names images of {show_path(place)}, "
            f"such as {next(iter(images))!r}; add a column of file names"
        )
    group_columns, split_column = _find_group_and_split([column for column in candidates if column != file_column])
    label_column = None
    if has_classes:
        taken = {file_column, split_column, *group_columns}
        label_column = _choose_label_column(table, columns, taken, len(rows), named, labels)
    contents = {}
    for line, row in rows:
        where, cell = f"{table.name}: line {line}", row.get(file_column, "")
        path = names.get(_strip_path(cell))
        if path is None:
            raise InputError(f"{where}: no image {cell!r} in {show_path(place)}; add it, or remove the line")
        if path in contents:
            raise InputError(f"{where}: names {cell!r} for the second time; allowed is one row an image; remove one")
        contents[path] = where, *_read_cells(where, row, next(iter(group_columns), None), split_column, label_column)
    if lacking := sorted(set(images) - set(contents)):
        raise InputError(
            f"{images[lacking[0]].name}: has no row in {table.name} ({len(lacking)} of {len(images)} images have "
            "none); add it, or remove the image"
        )
    if has_classes and all(label is None for *_, label in contents.values()):
        raise InputError(
            f"{table.name}: its column {label_column!r} is empty; fill in the classes, or name another column by "
            "--labels"
        )
    return contents


def _read_cells(where, row, group_column, split_column, label_column):
    """(group, split, class) of a row, None where there is no such column, or the cell of the class is empty."""
    group = row.get(group_column, "") if group_column else None
    split = SPLITS.get(row.get(split_column, "").lower()) if split_column else None
    if group == "" or (split_column and split is None):
        column, allowed = (group_column, "a name") if group == "" else (split_column, "train, val or test")
        raise InputError(f"{where}: {column} is {row.get(column, '')!r}, allowed is {allowed}; fill it in")
    label = check_class_name(row.get(label_column, ""), where) or None if label_column else None
    return group, split, label


def _find_group_and_split(columns):
    """(columns that tell what belongs together, the most telling first; the column of the split, or None)."""
    letters = {column: re.sub("[^a-z]", "", column.lower()) for column in columns}
    groups = [column for pattern in _GROUPS for column in columns if pattern.fullmatch(letters[column])]
    return groups, next((column for column in columns if letters[column] == "split"), None)


def _index_images(images):
    """{what a table may call an image: its path}: the path, with or without images/, or a unique file name or stem."""
    shorter = {}
    for path in images:
        name = path.rsplit("/", 1)[-1]
        for call in {name, name.rsplit(".", 1)[0]}:
            shorter.setdefault(call, set()).add(path)
    names = {call: paths.pop() for call, paths in shorter.items() if len(paths) == 1}
    return names | {f"images/{path}": path for path in images} | {path: path for path in images}


def _strip_path(cell):
    """A cell of the column of file names, as `_index_images` calls a file."""
    return cell.replace("\\", "/").removeprefix("./")


def _choose_label_column(table, columns, taken, count, named, labels):
    """The column of the classes: `labels`, or else the only one that is neither taken nor names all images."""
    left = [column for column in columns if column and column not in taken and named[column] < count]
    if labels is not None and labels not in columns:
        raise InputError(f"--labels={labels}: {table.name} has no such column; its columns are {', '.join(columns)}")
    if labels is None and len(left) != 1:
        choice = f"there are {', '.join(left)}" if left else "there is none"
        raise InputError(f"{table.name}: which column holds the classes? Say --labels=COLUMN; {choice}")
    return labels if labels is not None else left[0]
