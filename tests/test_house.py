"""The house of docs: sizes, names and imports. An exception is a line here, with its reason."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "synthmed_tf"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
SCRIPTS = sorted(ROOT.glob("*.py"))
TESTS = sorted((ROOT / "tests").glob("*.py"))
MOST_LINES, MOST_LINES_OF_TEST, MOST_LINES_OF_FUNCTION, MOST_COLUMNS = 300, 500, 60, 120
# From above: each room imports from itself and from rooms below. Files beside the rooms are listed by their names.
ROOMS = [
    {"command", "methods"},
    {"evaluation", "reporting", "publishing"},
    {"papers", "smalldata"},
    {"training"},
    {"datasets"},
    {"runs"},
    {"records", "images", "metrics", "networks"},
    {"losses", "settings"},
    {"progress", "sample"},
]
EXCEPTIONS = {}  # {(rule, what): why}


def allowed(rule, offenders):
    """The offenders without an exception; fails where an exception is no longer needed."""
    excepted = {what for kind, what in EXCEPTIONS if kind == rule}
    assert excepted <= set(offenders), f"no longer an exception: {excepted - set(offenders)}"
    return {what: value for what, value in offenders.items() if what not in excepted}


def name_of(path):
    return str(path.relative_to(ROOT))


def test_at_most_five_exceptions():
    assert len(EXCEPTIONS) <= 5


def test_files_are_short():
    long = {}
    for paths, most in ((MODULES + SCRIPTS, MOST_LINES), (TESTS, MOST_LINES_OF_TEST)):
        counts = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
        long |= {name: count for name, count in counts.items() if count > most}
    assert not allowed("file", long)


def test_functions_are_short():
    long = {}
    for path in MODULES + SCRIPTS:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                count = node.end_lineno - node.lineno + 1 - docstring_lines(node)
                limit = 80 if path in SCRIPTS and node.name == "main" else MOST_LINES_OF_FUNCTION
                if count > limit:
                    long[f"{name_of(path)} {node.name}"] = count
    assert not allowed("function", long)


def docstring_lines(node):
    first = node.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return first.end_lineno - first.lineno + 1 if is_docstring else 0


def test_lines_are_short():
    wide = {}
    for path in MODULES + SCRIPTS + TESTS:
        lines = path.read_text(encoding="utf-8").splitlines()
        wide |= {f"{name_of(path)} {n}": len(line) for n, line in enumerate(lines, 1) if len(line) > MOST_COLUMNS}
    assert not allowed("line", wide)


def test_names_of_modules_differ():
    """A method may have one name in papers/, networks/ and smalldata/."""
    rooms = {}
    for path in MODULES:
        rooms.setdefault(path.stem, []).append(path.relative_to(PACKAGE).parts[0])
    twice = {name: where for name, where in rooms.items() if len(where) > 1}
    twice = {n: w for n, w in twice.items() if len(set(w)) < len(w) or not {*w} <= {"papers", "networks", "smalldata"}}
    assert not allowed("name", twice)


def imports_of(path):
    """Names of this package's modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "synthmed_tf":
            for alias in node.names:
                yield ".".join([*node.module.split(".")[1:], alias.name])
        elif isinstance(node, ast.Import):
            yield from (a.name.removeprefix("synthmed_tf.") for a in node.names if a.name.startswith("synthmed_tf."))


def test_no_room_imports_from_above():
    upward = {}
    for path in MODULES:
        own = floor(path.relative_to(PACKAGE).parts[0].removesuffix(".py"))
        for module in imports_of(path):
            if floor(module.split(".")[0]) < own:
                upward[f"{name_of(path)} {module}"] = own
    assert not allowed("import", upward)


def floor(room):
    return next(index for index, rooms in enumerate(ROOMS) if room in rooms)


def test_papers_know_nothing_of_small_data():
    for path in (PACKAGE / "papers").glob("*.py"):
        assert not [module for module in imports_of(path) if module.startswith("smalldata")], path.name


def test_nothing_imports_a_script():
    scripts = {path.stem for path in SCRIPTS}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert not scripts & set(names), path.name


@pytest.mark.parametrize(("method", "most_modules", "most_lines"), [("dcgan", 12, 420), ("pggan", 14, 650)])
def test_a_method_is_read_in_three_files(method, most_modules, most_lines):
    """A reader goes script -> training file -> network file; importing the training file loads little besides."""
    files = ROOT / "train_stage1.py", PACKAGE / "papers" / f"{method}.py", PACKAGE / "networks" / f"{method}.py"
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files) <= most_lines
    program = (
        f"import sys, synthmed_tf.papers.{method}\n"
        "print([n for n, m in sys.modules.items() if n.startswith('synthmed_tf') and not hasattr(m, '__path__')])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = ast.literal_eval(done.stdout.strip().splitlines()[-1])
    assert len(modules) <= most_modules, modules


def test_each_module_can_be_imported_before_all_others():
    program = (
        "import importlib, pkgutil, sys\n"
        "import synthmed_tf, tensorflow\n"
        "for module in [*pkgutil.walk_packages(synthmed_tf.__path__, 'synthmed_tf.')]:\n"
        "    for name in [name for name in sys.modules if name.startswith('synthmed_tf')]:\n"
        "        del sys.modules[name]\n"
        "    importlib.import_module(module.name)\n"
        "    print(module.name)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "synthmed_tf.papers.dcgan" in done.stdout.split()
