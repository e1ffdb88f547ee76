"""Tables as spreadsheet programs and scripts write them."""

import io
from pathlib import Path

import pytest

from synthmed_tf.datasets.files import File
from synthmed_tf.datasets.spreadsheets import read_table
from synthmed_tf.sample import InputError

COLUMNS, ROWS = ["file", "Patient ID", "note"], [["a.png", "1", "x, y; z"], ["b.png", "2", "caf\u00e9"]]


def read(content):
    return read_table(File("t.csv", Path("t.csv"), lambda: io.BytesIO(content)))


def write(delimiter=",", end="\n", before="", quote='"', columns=COLUMNS):
    lines = [columns, *ROWS]
    return before + "".join(delimiter.join(f"{quote}{cell}{quote}" for cell in line) + end for line in lines)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_any_delimiter_ending_and_encoding(delimiter, end, encoding):
    for before in ("", f"sep={delimiter}{end}", f'"sep={delimiter}"{end}', f"SEP={delimiter}{end}"):
        columns, rows = read(write(delimiter, end, before).encode(encoding))
        assert columns == COLUMNS and [list(row.values()) for _, row in rows] == ROWS
        assert [line for line, _ in rows] == ([3, 4] if before else [2, 3])


@pytest.mark.parametrize(
    ("text", "columns", "cells"),
    [
        ("file\na.png\nb.png\n", ["file"], [["a.png"], ["b.png"]]),
        ("file;pid\na.png;1,5\nb.png;2,5\n", ["file", "pid"], [["a.png", "1,5"], ["b.png", "2,5"]]),
        ("file,pid\na;b,1\nc;d,2\n", ["file", "pid"], [["a;b", "1"], ["c;d", "2"]]),
        ('"file;x","pid"\na,1\n', ["file;x", "pid"], [["a", "1"]]),
        ("file;label, in words\na;ill\nb;well\n", ["file", "label, in words"], [["a", "ill"], ["b", "well"]]),
        ("file,pid,,\na,1,,\n,,,\nb,2,,\n", ["file", "pid"], [["a", "1"], ["b", "2"]]),
        (",file\n0,a\n1,b\n", ["file"], [["a"], ["b"]]),  # with the numbers of a data frame's rows
        (' file , "pid"\n a , "1, 2"\n', ["file", "pid"], [["a", "1, 2"]]),
        ("file,pid\na\nb,2\n", ["file", "pid"], [["a"], ["b", "2"]]),
        ("cafe\u0301\nx\n", ["caf\u00e9"], [["x"]]),
        ("", [], []),
        ("sep=;\n", [], []),
    ],
)
def test_odd_tables(text, columns, cells):
    found, rows = read(text.encode())
    assert found == columns and [list(row.values()) for _, row in rows] == cells


def test_cells_beyond_the_last_heading_are_kept_apart():
    assert read(b"file,label\na,ill, severe\nb,well,\n")[1] == [
        (2, {"file": "a", "label": "ill", "": ["severe"]}),
        (3, {"file": "b", "label": "well"}),
    ]


@pytest.mark.parametrize(
    "content", ["file\ncaf\u00e9".encode("latin-1"), "file\na".encode("utf-16-le"), b"a\0b", b"\xff\xfea"]
)
def test_letters_that_cannot_be_known(content):
    with pytest.raises(InputError, match="t.csv: its letters are not written in UTF-8.*save it as CSV UTF-8"):
        read(content)
