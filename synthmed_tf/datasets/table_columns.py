"""What the columns of a table beside images are: file names, classes, the split, and what belongs together."""

import re
import warnings

from synthmed_tf.datasets import group_columns
from synthmed_tf.datasets.file_names import FileNames
from synthmed_tf.datasets.files import SPLITS, has_image_suffix, list_some
from synthmed_tf.datasets.spreadsheets import read_table
from synthmed_tf.sample import InputError


class Table:
    """A table beside images.

    Attributes:
      name: as messages show it. columns, rows: from `spreadsheets.read_table`.
      counts: {column: number of images that it names}.
      file_column, split_column, group_column: what names the images, the split, the groups; None where none does.
      grouping: columns whose headings say that they tell what belongs together.
      candidates: columns that may tell it, where none is known to.
    """

    def __init__(self, file, images, labels, group_column, errors="strict"):
        """file: File. images: {path: File}. labels, group_column: of `folder.list_entries`. errors: of `read_table`."""
        self.file, self.name, self.images, self.names = file, file.name, images, FileNames(images)
        self.columns, self.rows = read_table(file, errors)
        cells = {column: [row.get(column, "") for _, row in self.rows] for column in self.columns}
        self.split_column = _find_split({c: cells[c] for c in cells if c not in (labels, group_column)})
        splits = [self._tell_split(row) for _, row in self.rows]
        self.counts = {
            column: len({self.names.find(*pair) for pair in set(zip(values, splits, strict=True))} - {None})
            for column, values in cells.items()
        }
        free = {column: cells[column] for column in cells if column not in (labels, self.split_column)}
        grouping = group_columns.find_named(free)
        self.file_column = max(
            (column for column in free if column != group_column),
            key=lambda column: (self.counts[column], sum(map(has_image_suffix, cells[column])), column not in grouping),
            default=None,
        )
        free.pop(self.file_column, None)
        self.grouping = [column for column in grouping if column in free]
        self.group_column = group_column if group_column != "none" else None
        self.candidates = []
        if group_column is None:
            self.group_column = next(iter(self.grouping), None)
            self.candidates = [] if self.grouping else group_columns.find_candidates(free)

    def find(self, row, column):
        """The path of the image that a row names in a column, or None."""
        return self.names.find(row.get(column, ""), self._tell_split(row))

    def _tell_split(self, row):
        return SPLITS.get(row.get(self.split_column, "").lower()) if self.split_column else None

    def check(self, place):
        """Raises InputError where the columns are not what they must be. place: the images' folder, for messages."""
        if double := next((column for column in self.columns if self.columns.count(column) > 1), None):
            raise InputError(f"{self.name}: two columns are called {double!r}; allowed are different names; rename one")
        if self.group_column and self.group_column not in self.columns:
            raise InputError(
                f"--group_column={self.group_column}: {self.name} has no such column; allowed are "
                f"{', '.join([*self.columns, 'none'])}; give one of them"
            )
        if not self.counts.get(self.file_column):
            others = "other columns" if self.group_column else "columns"
            raise InputError(
                f"{self.name}: none of its {others} ({', '.join(self.columns) or 'none'}) names images of {place}, "
                f"such as {next(iter(self.images))!r}; add a column of file names"
            )
        for line, row in self.rows:
            if "" in row:
                raise InputError(
                    f"{self.name}: line {line}: {row[''][0]!r} stands beyond its {len(self.columns)} columns; put "
                    "cells that hold the delimiter into quotes"
                )

    def choose_label_column(self, labels):
        """The column of the classes: `labels`, or else the only one that is no other and does not name all images.

        None where there is no other column. A warning says where it might hold the names of patients.
        """
        taken = {self.file_column, self.split_column, self.group_column, *self.grouping}
        left = [column for column in self.columns if column not in taken and self.counts[column] < len(self.rows)]
        if labels is not None and labels not in self.columns:
            columns = ", ".join(self.columns)
            raise InputError(f"--labels={labels}: {self.name} has no such column; its columns are {columns}")
        if labels is None and len(left) > 1:
            raise InputError(
                f"{self.name}: which column holds the classes? Say --labels=COLUMN; there are {', '.join(left)}"
            )
        if labels is None and not left:
            others = ", ".join(self.columns)
            warnings.warn(
                f"{self.name}: no column holds classes, so the images have none; if one of {others} does, give "
                "--labels=COLUMN",
                stacklevel=3,
            )
        if labels is None and left and left == self.candidates:
            self.warn_of_candidates("is taken for the classes and ", f"if its values are classes, --labels={left[0]}")
        return labels if labels is not None else next(iter(left), None)

    def warn_of_candidates(self, what="", otherwise="if not, --group_column=none"):
        """Warns of the columns that may tell what belongs together. what: the first one is beside."""
        if not self.candidates or not self.counts.get(self.file_column):
            return
        column, *more = self.candidates
        values = len({row.get(column, "") for _, row in self.rows})
        so_do = f" (so do {list_some(more)})" if more else ""
        warnings.warn(
            f"{self.name}: its column {column!r} {what}repeats as names of patients do{so_do}: {values} values in "
            f"{len(self.rows)} rows; if it tells which images belong together, give --group_column={column}; "
            f"{otherwise}",
            stacklevel=4,
        )


def _find_split(cells):
    """The column of the split: called so, or with nothing but names of splits. cells: {column: [cell]}."""
    called = [column for column in cells if re.sub("[^a-z]", "", column.lower()) == "split"]
    told = [column for column, values in cells.items() if _are_splits({value.lower() for value in values})]
    return next(iter(called + told), None)


def _are_splits(values):
    return values <= SPLITS.keys() and {SPLITS[value] for value in values} == {"train", "test"}
