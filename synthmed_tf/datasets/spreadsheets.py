"""Tables that come with images, as CSV files."""

import csv
import io

from synthmed_tf.datasets.files import has_image_suffix, show_path
from synthmed_tf.sample import InputError


def read_table(table, errors="strict"):
    """Reads a CSV file, separated by commas, or by semicolons if its first line has one.

    Args:
      table: File.
      errors: "replace" where letters that are not UTF-8 do not matter.

    Returns:
      [column], [(line number, {column: cell})], stripped of spaces; without rows that are empty, and without cells
      beyond the last column.

    Raises:
      InputError: it cannot be read.
    """
    try:
        with table.open() as stream:
            text = stream.read().decode("utf-8-sig", errors=errors)
        if "\0" in text:
            raise UnicodeError("NUL")
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if ";" in text.partition("\n")[0] else ",")
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except UnicodeError as error:
        raise InputError(
            f"{table.name}: its letters are not written in UTF-8 ({error}); in a spreadsheet program save it as CSV "
            "UTF-8"
        ) from error
    except (OSError, csv.Error) as error:
        raise InputError(f"{table.name}: cannot be read as a table ({error}); save it as CSV again") from error
    columns = [show_path(column) for column in rows[0][1]] if rows else []
    return columns, [(line, dict(zip(columns, cells))) for line, cells in rows[1:] if any(cells)]


def read_grades(tables, images, highest, left_out=()):
    """Reads the diabetic-retinopathy grades of photographs from CSV files, one row a photograph.

    Args:
      tables: Files, separated by commas or semicolons, with the columns "Image name" and "Retinopathy grade"; further
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
                    f"{where}: grades {stem} for the second time; allowed is one grade an image; remove one"
                )
            if stem not in images:
                raise InputError(f"{where}: grades {stem!r}, but no such image is there; add it, or remove the line")
            grades[stem] = grade
    lacking = sorted(set(images) - set(grades))
    if lacking:
        raise InputError(
            f"{images[lacking[0]].name}: has no grade in {tables[0].name}{' and so on' if len(tables) > 1 else ''} "
            f"({len(lacking)} of {len(images)} images have none); add its line, or remove it"
        )
    return grades
