"""Anybody's own set: images with masks, one sub-folder a class, or images with a table of labels.

FOLDER/images/a.png, FOLDER/masks/a.png, where there are fields of view FOLDER/fov/a.png, paired by the stem of the
file name: no split, see `datasets.load`. FOLDER/train/images/a.png, ..., FOLDER/test/images/b.png, ...: a split of
one's own.

FOLDER/normal/a.png, FOLDER/tumour/b.png, ...: one sub-folder a class, named like the class; no split.
FOLDER/train/normal/a.png, ..., FOLDER/test/tumour/b.png, ...: a split of one's own; val/ and valid/ count as train/.

FOLDER/images/a.png, FOLDER/labels.csv (any name): a table with one row an image. One column names the file, another
one the class; columns "group", "patient", "patient_id" or "slide" (images that belong together) and "split" (train,
val or test) may follow.
"""

from pathlib import Path

from synthmed_tf.datasets.files import (
    Entry,
    disk_file,
    has_image_suffix,
    is_system_file,
    list_files,
    printable,
    read_table,
    sample_id,
)
from synthmed_tf.images import IMAGE_SUFFIXES
from synthmed_tf.sample import InputError

_SUFFIXES = ", ".join(IMAGE_SUFFIXES)
_LAYOUT = (
    "allowed are images/ and masks/, and fov/ if there are fields of view; or one sub-folder a class; both in the folder or in its "
    "train/ and test/; or images/ and one CSV table of labels"
)
_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "train",
    "valid": "train",
    "validation": "train",
    "test": "test",
}
_GROUPS = ("group", "patient", "patient_id", "slide")  # names of columns, _ or space


def entries(folder, labels=None):
    """Lists the samples of a folder. Links are followed; ids are the stems, with odd characters replaced.

    Each file is its own group unless a table says otherwise, so put the images of one patient all into train/ or all
    into test/. Where test/ has no masks/ folder, the test images come without. Images in the folder's own sub-folders
    count as classes, or as images of the table if `labels` is given.

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
    tables = sorted(path for path in folder.glob("*.[cC][sS][vV]") if not is_system_file(path.name))
    has_images = (folder / "images").is_dir()
    classes = {} if has_images else _classes(folder)
    if (
        labels is not None
        or (tables and has_images and not (folder / "masks").is_dir())
        or (tables and not classes and _loose(folder))
    ):
        return _from_table(folder, tables, labels)
    if has_images:
        if (folder / "train" / "images").is_dir() or (folder / "test" / "images").is_dir():
            raise InputError(
                f"{printable(folder)}: has images/ and also train/ or test/; {_LAYOUT}, not both; move one away"
            )
        return _entries(folder, None)
    if classes and tables:
        raise InputError(
            f"{printable(folder)}: has the table {printable(tables[0].name)} and sub-folders with images, and either could tell the "
            "classes; --labels=COLUMN takes a column of the table; or move the table away, and the sub-folders are the classes"
        )
    if classes:
        return _from_classes(classes)
    if not (folder / "train" / "images").is_dir():
        raise InputError(f"{printable(folder)}: has no images/ and no train/images/; {_LAYOUT}; rename its folders")
    listed = _entries(folder / "train", "train")
    return listed + (_entries(folder / "test", "test") if (folder / "test" / "images").is_dir() else [])


def _classes(folder):
    """{folder of one class: split or None}, empty unless the layout is that of classes."""
    places = _subfolders(folder)
    splits = {place: _SPLITS[place.name.lower()] for place in places if place.name.lower() in _SPLITS}
    if not splits:
        found = dict.fromkeys((place for place in places if place.name not in ("masks", "fov")), None)
        return found if any(_loose(place) for place in found) else {}
    if any((place / "images").is_dir() for place in splits):
        return {}
    if others := [place for place in places if place not in splits]:
        raise InputError(
            f"{printable(others[0])}: lies beside {min(splits).name}/; {_LAYOUT}; move it into one of these, or away"
        )
    return {place: split for parent, split in splits.items() for place in _subfolders(parent)}


def _subfolders(folder):
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_system_file(path.name))


def _loose(folder):
    """Whether images lie in the folder itself."""
    return any(has_image_suffix(path.name) and path.is_file() for path in folder.iterdir())


def _from_classes(classes):
    found = []
    for place, split in classes.items():
        images = _by_stem(place)
        if not images:
            raise InputError(
                f"{printable(place)}: a class without images; allowed are {_SUFFIXES} files; put them there, or remove it"
            )
        parts = [place.parent.name, place.name] if split else [place.name]
        for stem in sorted(images):
            id = sample_id("_".join([*parts, stem]))
            found.append(Entry(id, id, split, images[stem], label=printable(place.name)))
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
    images = {path: file for path, file in list_files(place).items() if has_image_suffix(path)}
    if not images:
        raise InputError(f"{printable(place)}: holds no image; allowed are {_SUFFIXES} files; put them there")
    table = disk_file(tables[0])
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
    used = {column.lower().replace(" ", "_"): column for column in columns if column != file_column}
    group_column = next((used[name] for name in _GROUPS if name in used and used[name] != labels), None)
    split_column = used.get("split") if used.get("split") != labels else None
    label_column = _label_column(table, columns, {file_column, group_column, split_column}, len(rows), named, labels)

    found = {}
    for line, row in rows:
        where, cell = f"{table.name}: line {line}", row.get(file_column, "")
        path = names.get(_plain(cell))
        if path is None:
            raise InputError(f"{where}: no image {cell!r} in {printable(place)}; add it, or remove the line")
        if path in found:
            raise InputError(f"{where}: names {cell!r} for the second time; allowed is one row an image; remove one")
        id = sample_id(path.rsplit(".", 1)[0].replace("/", "_"))
        group = row.get(group_column) if group_column else id
        split = _SPLITS.get(row.get(split_column, "").lower()) if split_column else None
        if not group or (split_column and split is None):
            column = split_column if group else group_column
            allowed = "train, val or test" if group else "a name"
            raise InputError(f"{where}: {column} is {row.get(column, '')!r}, allowed is {allowed}; fill it in")
        found[path] = Entry(id, group, split, images[path], label=row.get(label_column) or None)
    if lacking := sorted(set(images) - set(found)):
        raise InputError(
            f"{images[lacking[0]].name}: has no row in {table.name} ({len(lacking)} of {len(images)} images have none); add it, or "
            "remove the image"
        )
    if all(entry.label is None for entry in found.values()):
        raise InputError(
            f"{table.name}: its column {label_column!r} is empty; fill in the classes, or name another column by --labels"
        )
    return [found[path] for path in sorted(found)]


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
