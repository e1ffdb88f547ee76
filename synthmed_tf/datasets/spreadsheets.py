"""Tables that come with images, as text with separated cells."""

import codecs
import csv
import io
import itertools
import re
import unicodedata

from synthmed_tf.datasets.files import has_image_suffix, show_path
from synthmed_tf.sample import InputError

FIRST_ROWS = 50  # of a table tell what separates its cells
_DELIMITERS = ",;\t|"


def read_table(table, errors="strict"):
    """Reads a CSV file: UTF-8, or UTF-16 that says so, as Excel's Unicode text; lines end in any way.

    Cells are separated by what a first line "sep=;" names, or else by what gives the first rows as many cells each as
    their headings: commas, semicolons, tabs or bars.

    Args:
      table: File.
      errors: "replace" where letters that are not UTF-8 do not matter.

    Returns:
      [column], [(line number, {column: cell})], stripped of spaces and in Unicode's normal form C; without rows that
      are empty and columns without a heading. What stands beyond the last heading is a list under "".

    Raises:
      InputError: it cannot be read.
    """
    try:
        with table.open() as stream:
            content = stream.read()
        is_utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16" if is_utf_16 else "utf-8-sig", errors=errors)
        if "\0" in text:
            raise UnicodeError("NUL")
        text = unicodedata.normalize("NFC", text)
        named = re.match(r"""["']?sep=(.)["']?[ \t]*(?:\r\n|\r|\n)""", text, re.IGNORECASE)
        delimiter = named[1] if named else _find_delimiter(text)
        rows = [(line, [cell.strip() for cell in row]) for line, row in _read_rows(text, delimiter)]
    except UnicodeError as error:
        raise InputError(
            f"{table.name}: its letters are not written in UTF-8 ({error}); in a spreadsheet program save it as CSV "
            "UTF-8"
        ) from error
    except (OSError, csv.Error) as error:
        raise InputError(f"{table.name}: cannot be read as a table ({error}); save it as CSV again") from error
    (_, headings), *rows = rows[1 if named else 0 :] or [(1, [])]
    headings = [show_path(heading) for heading in headings]
    contents = []
    for line, cells in rows:
        if any(cells):
            row = {heading: cell for heading, cell in zip(headings, cells) if heading}
            beyond = [cell for cell in cells[len(headings) :] if cell]
            contents.append((line, row | ({"": beyond} if beyond else {})))
    return [heading for heading in headings if heading], contents


def _read_rows(text, delimiter):
    """Yields (line number, cells) of each row."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=delimiter != "\t")
    for row in reader:
        yield reader.line_num, row


def _find_delimiter(text):
    """The one of _DELIMITERS that most of the first rows agree about; a comma where there is a single column."""

    def count_agreeing(delimiter):
        (_, headings), *rows = [*itertools.islice(_read_rows(text, delimiter), FIRST_ROWS)] or [(1, [])]
        rows = [row for _, row in rows if any(row)]
        if len(headings) < 2:
            return -1, 0
        return sum(len(row) == len(headings) for row in rows) / max(len(rows), 1), len(headings)

    return max(_DELIMITERS, key=count_agreeing)


def read_grades(tables, images, highest, left_out=()):
    """Reads the diabetic-retinopathy grades of photographs from CSV files, one row a photograph.

    Args:
      tables: Files, see `read_table`, with the columns "Image name" and "Retinopathy grade"; further
        columns and empty rows do not matter, and names may end like an image file or not.
      images: {stem: File} of the photographs.
      highest: the highest grade there is.
      left_out: stems whose rows do not matter.

    Returns:
      dict: stem -> "0" ... str(highest), for all of `images`.

    Raises:
      InputError: not such a table, another grade, a photograph graded twice or not at all, a grade without photograph.
    """
    grades = {}
    for table in tables:
        columns, rows = read_table(table, errors="replace")  # names of clinics, which have accents
        if not {"image name", "retinopathy grade"} <= {name.lower() for name in columns}:
            raise InputError(
                f"{table.name}: no columns 'Image name' and 'Retinopathy grade' in its first line; allowed is a CSV "
                "file that has them; save it as CSV again"
            )
        for line, cells in rows:
            row = {name.lower(): cell for name, cell in cells.items()}
            name, grade = row.get("image name", ""), row.get("retinopathy grade", "")
            stem = name.rsplit(".", 1)[0] if has_image_suffix(name) else name
            if stem in left_out:
                continue
            where = f"{table.name}: line {line}"
            if grade not in map(str, range(highest + 1)):
                raise InputError(f"{where}: retinopathy grade {grade!r}, allowed are 0 to {highest}; mend it")
            if stem in grades:
                raise InputError(
                    f"{where}: grades {stem} for the second time; allowed is one grade an image; take one row out"
                )
            if stem not in images:
                raise InputError(f"{where}: grades {stem!r}, but no such image is there; add it, or take the row out")
            grades[stem] = grade
    lacking = sorted(set(images) - set(grades))
    if lacking:
        raise InputError(
            f"{images[lacking[0]].name}: has no grade in {tables[0].name}{' and so on' if len(tables) > 1 else ''} "
            f"({len(lacking)} of {len(images)} images have none); add its line, or move the image away"
        )
    return grades
