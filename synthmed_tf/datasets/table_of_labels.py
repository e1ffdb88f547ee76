"""The table in a folder of one's own: the class of each image, and which images belong together. See folder.py."""

import warnings
from typing import NamedTuple

from synthmed_tf.datasets.files import (
    SPLITS,
    Entry,
    check_class_name,
    get_file,
    has_image_suffix,
    is_nameless_dicom,
    is_system_file,
    list_files,
    list_some,
    make_id,
    show_path,
)
from synthmed_tf.datasets.group_columns import names_nothing
from synthmed_tf.datasets.pairing import find_places
from synthmed_tf.datasets.table_columns import Table
from synthmed_tf.images.decode import IMAGE_SUFFIXES
from synthmed_tf.sample import InputError

TABLE_SUFFIXES = (".csv", ".tsv")
_UNREAD_TABLES = (".xlsx", ".xls", ".ods")
_SUFFIXES = ", ".join(IMAGE_SUFFIXES)


class Row(NamedTuple):
    """What the table tells of an image; None for what it does not tell."""

    where: str  # for messages
    group: str | None
    split: str | None
    label: str | None


def find_tables(folder):
    """Paths of the tables in a folder. A warning counts spreadsheets, which are not read."""
    paths = [path for path in sorted(folder.iterdir()) if path.is_file() and not is_system_file(path.name)]
    if unread := [show_path(path.name) for path in paths if path.name.lower().endswith(_UNREAD_TABLES)]:
        warnings.warn(
            f"{show_path(folder)}: {len(unread)} spreadsheets are not read ({list_some(unread)}); save as CSV what "
            "tells of patients or classes",
            stacklevel=3,
        )
    return [path for path in paths if path.name.lower().endswith(TABLE_SUFFIXES)]


def list_table_entries(folder, tables, labels, group_column=None):
    """Entries of a folder of images whose classes a table tells, or whose groups where it has no column of classes.

    Args:
      tables: paths of the tables that lie in the folder.
      labels: the column of the classes, or None.
      group_column: see `folder.list_entries`.
    """
    shown = show_path(folder)
    places = find_places(folder)
    if places and places.masks:
        name = places.masks.name
        raise InputError(
            f"{shown}: has {name}/, and images with masks have no classes; leave --labels={labels} out, or move "
            f"{name}/ away"
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
    table = Table(get_file(tables[0]), images, labels, group_column)
    table.check(show_path(place))
    label_column = table.choose_label_column(labels)
    if label_column not in table.candidates:
        table.warn_of_candidates()
    rows = _read_rows(table, show_path(place), label_column)
    entries = []
    for path in sorted(rows):
        id, row = make_id(path.rsplit(".", 1)[0].replace("/", "_")), rows[path]
        split = _join_splits(row, SPLITS.get(path.split("/")[0].lower()), images[path])
        group = id if row.group is None else row.group
        entries.append(Entry(id, group, split, images[path], label=row.label, group_column=table.group_column))
    return entries


def add_groups(listed, folder, tables, group_column=None):
    """Entries with the groups and the split of the table beside them that tells them.

    Args:
      listed: Entries of images in `folder`. tables, group_column: as for `list_table_entries`.
    """
    places = {entry.image.path.relative_to(folder).as_posix(): entry for entry in listed}
    images = {path: entry.image for path, entry in places.items()}
    read = [Table(get_file(path), images, None, group_column, errors="replace") for path in tables]
    if group_column in (None, "none"):
        telling = [table for table in read if table.split_column or table.group_column]
    else:
        telling = [table for table in read if group_column in table.columns]
        if not telling:
            columns = [column for table in read for column in table.columns]
            raise InputError(
                f"--group_column={group_column}: no table beside the images has such a column; allowed are "
                f"{', '.join([*columns, 'none'])}; give one of them"
            )
    if len(telling) > 1:
        raise InputError(f"{telling[1].name}: tells groups or a split, as {telling[0].name} does; move one away")
    for table in read:
        table.warn_of_candidates()
    if not telling:
        return listed
    table = Table(telling[0].file, images, None, group_column)
    table.check(show_path(folder))
    rows = _read_rows(table, show_path(folder))
    return [
        entry._replace(
            group=entry.group if rows[path].group is None else rows[path].group,
            split=_join_splits(rows[path], entry.split, entry.image),
            group_column=table.group_column,
            is_from_table=True,
        )
        for path, entry in places.items()
    ]


def _join_splits(row, split, image):
    """The split of an image, by its row or its folder; InputError where they differ."""
    if split and row.split not in (None, split):
        raise InputError(f"{row.where}: the split is {row.split}, but {image.name} lies in {split}; mend one")
    return row.split or split


def _read_rows(table, place, label_column=None):
    """{path of an image: its Row}. table: a Table that was checked. place: the images' folder, for messages."""
    rows, groups, alone = {}, {}, []  # groups: {without the case of letters: as it is first spelt}
    for line, cells in table.rows:
        where, cell, path = (
            f"{table.name}: line {line}",
            cells.get(table.file_column, ""),
            table.find(cells, table.file_column),
        )
        if path is None:
            raise InputError(
                f"{where}: no image {cell!r} in {place}, or several; add it, name it by its path, or take the row out"
            )
        if path in rows:
            raise InputError(
                f"{where}: names {cell!r} for the second time; allowed is one row an image; take one row out"
            )
        split = SPLITS.get(cells.get(table.split_column, "").lower())
        if table.split_column and split is None:
            text = cells.get(table.split_column, "")
            raise InputError(f"{where}: {table.split_column} is {text!r}, allowed is train, val or test; fill it in")
        label = check_class_name(cells.get(label_column, ""), where) or None
        group = cells.get(table.group_column, "")
        group = None if names_nothing(group) else groups.setdefault(group.casefold(), group)
        alone += [table.images[path].name] if group is None else []
        rows[path] = Row(where, group, split, label)
    if lacking := sorted(set(table.images) - set(rows)):
        raise InputError(
            f"{table.images[lacking[0]].name}: has no row in {table.name} ({len(lacking)} of {len(table.images)} "
            "images have none); add it, or move the image away"
        )
    if label_column and all(row.label is None for row in rows.values()):
        raise InputError(
            f"{table.name}: its column {label_column!r} is empty; fill in the classes, or name another column by "
            "--labels"
        )
    if table.group_column and alone:
        warnings.warn(
            f"{table.name}: {len(alone)} of {len(rows)} images have no {table.group_column} ({list_some(alone)}), and "
            "each counts as a patient of its own; fill it in where several are of one",
            stacklevel=4,
        )
    return rows
