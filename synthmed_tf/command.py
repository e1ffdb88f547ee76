"""The command `synthmed`: the three scripts, wherever the package is installed."""

import runpy
import sys
from pathlib import Path

SCRIPTS = {
    "train_stage1": "noise -> masks; with --target=image noise -> images",
    "train_stage2": "masks -> photographs",
    "evaluate": "is the synthetic set useful, faithful and private?",
}


def main():
    """Runs the script that the first word of the command line names, with the other words."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        print(format_help())
        return
    if name not in SCRIPTS:
        print(f"synthmed: error: {name!r} is none of {', '.join(SCRIPTS)} (see --help)", file=sys.stderr)
        raise SystemExit(1)
    sys.argv = sys.argv[1:]
    runpy.run_path(str(find_script(name)), run_name="__main__")


def find_script(name):
    """The path of a script: beside the package in a checkout, inside it where a wheel was installed."""
    package = Path(__file__).parent
    paths = [folder / f"{name}.py" for folder in (package / "scripts", package.parent)]
    return next(path for path in paths if path.is_file())


def format_help():
    """What `synthmed --help` prints."""
    lines = ["synthmed COMMAND [flags]: synthetic medical images and a report on them. In this order:", ""]
    lines += [f"  {name:14}{text}" for name, text in SCRIPTS.items()]
    return "\n".join([*lines, "", "synthmed COMMAND --help shows the flags, with examples."])
