import ast
import os
import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="the notebooks extra is not installed: pip install .[notebooks]")

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NAMES = ["1_data_and_records", "2_two_stages", "3_report", "4_labelled_images"]
MAX_BYTES = 300_000  # of a notebook with its outputs
MAX_SECONDS = 900  # of one cell
SHORTER = 10  # times fewer training steps in the test than in the notebook


def _code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def _with_fewer_steps(line):
    names, numbers = line[0].split("#")[0].split(" = ")
    return f"{names} = {', '.join(str(int(number) // SHORTER) for number in numbers.split(','))}"


def test_the_notebooks_are_there():
    assert [path.stem for path in NOTEBOOKS] == NAMES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_small_executed_in_order_and_without_errors(path):
    assert path.stat().st_size < MAX_BYTES
    cells = _code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output.output_type == "error"]
    assert "Traceback" not in "".join(output.text for output in outputs if output.output_type == "stream")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_defines_nothing_that_belongs_into_the_package(path):
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for cell in _code_cells(path):
        for node in ast.walk(ast.parse(cell.source)):  # plain Python: no magics, no shell
            if isinstance(node, definitions):
                assert node.end_lineno - node.lineno < 3, f"{path.name} defines {node.name}, which is not trivial"


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_top_to_bottom_in_an_empty_folder(path, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="the notebooks extra is not installed: pip install .[notebooks]")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.source = re.sub(
            r"^.*\bSTEPS.* = .*# of this notebook.*$", _with_fewer_steps, cell.source, flags=re.MULTILINE
        )
    kernel = {"timeout": MAX_SECONDS, "kernel_name": "python3", "resources": {"metadata": {"path": str(tmp_path)}}}
    nbclient.NotebookClient(notebook, **kernel).execute()  # raises CellExecutionError with the cell and its traceback
    assert not list(tmp_path.iterdir())  # everything was written to a temporary folder
