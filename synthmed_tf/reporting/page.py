"""report.json and records -> report.html, one file that needs no other, and the PNG files of its figures.

The words of the page stand in templates/, one file a section. Python computes what is put into them.
"""

import base64
import contextlib
import json
import os
from pathlib import Path

from synthmed_tf.metrics.kid_fid import ENOUGH_FOR_FID
from synthmed_tf.metrics.shapes import STATISTICS
from synthmed_tf.metrics.symmetries import SYMMETRIES
from synthmed_tf.reporting import beside_baseline, pictures, published, rows, spelling, values
from synthmed_tf.sample import InputError

SCHEMA_VERSION = 1  # of report.json
TEMPLATES = Path(__file__).parent / "templates"
BENCHMARKS = ("segmentation", "classification", "distribution", "fidelity", "morphology", "copies", "privacy")
OTHER_PARTS = ("lungs", "photographs", "baseline")  # of report.json, where there is something to say


def write_page(report_dir, real_dir, synthetic_dir, baseline_dir=None):
    """Draws report_dir/report.html and report_dir/figures/*.png from report_dir/report.json.

    Where report.json says "real_images_shown": false, no picture of a real image or mask and no id of one is written,
    figures of an earlier run that hold some are deleted, and real_dir is not opened.

    Args:
      report_dir: folder that holds report.json.
      real_dir: records of the real set, training split included.
      synthetic_dir: records of the synthetic set. The pictures in the folder stage1 beside it are shown too.
      baseline_dir: records of the baseline, where report.json has one.

    Returns:
      Path of report.html.

    Raises:
      InputError: report.json is missing, damaged, of another schema, or names samples that the records do not hold; the
        folder cannot be written.
    """
    report_dir = Path(report_dir)
    report = read_report(report_dir / "report.json")
    drawn = pictures.draw_pictures(report, real_dir, synthetic_dir, baseline_dir)
    page = render(report, drawn)
    try:
        folder = report_dir / "figures"
        folder.mkdir(exist_ok=True)
        for file in pictures.FILES:
            with contextlib.suppress(FileNotFoundError):
                (folder / file).unlink()
        for file, content in drawn.items():
            (folder / file).write_bytes(content)
        temporary = report_dir / "report.html.tmp"
        temporary.write_text(page, encoding="utf-8")
        os.replace(temporary, report_dir / "report.html")
    except OSError as error:
        raise InputError(
            f"{report_dir}: the report cannot be written ({error.strerror}); free some space or "
            "choose another --report_dir"
        ) from error
    return report_dir / "report.html"


def read_report(path):
    """The dict in a report.json.

    Raises:
      InputError: it is missing, damaged or of another schema.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing; run evaluate.py, which writes it") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); run evaluate.py again") from error
    version = report.get("schema_version") if isinstance(report, dict) else None
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{path} has schema version {version}, this program reads {SCHEMA_VERSION}; run evaluate.py again"
        )
    return report


def render(report, drawn):
    """The page as text.

    Args:
      report: dict, the content of report.json. Sections may be missing or {"unavailable": why}.
      drawn: {file name: PNG bytes}; figures that are not there are left out.
    """
    return _open_templates().get_template("page.html.j2").render(
        {key: report.get(key) for key in BENCHMARKS + OTHER_PARTS},
        report=report,
        name=report["real"]["name"],
        structure=values.STRUCTURES.get(report["real"]["name"], "structure"),
        shows={key: values.shows_benchmark(report, key) for key in BENCHMARKS},
        real_images_shown=report["real_images_shown"],
        is_drawn=values.is_drawn(report),
        figures={file: base64.b64encode(content).decode() for file, content in drawn.items()},
        is_filtered=values.find_rejections(report)["masks"] is not None,
    )  # fmt: skip


def _open_templates():
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,  # ids, commands and names come from files and are shown as text, whatever they hold
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": spelling.spell_number,
        "mean": spelling.spell_mean,
        "percent": spelling.spell_percent,
        "brackets": spelling.spell_brackets,
        "span": spelling.spell_span,
        "duration": spelling.spell_duration,
    }
    environment.tests |= {
        "measured": values.is_measured,
        "outstanding": values.stands_out,
        "thinned": values.is_thinned,
        "finite": spelling.is_number,
    }
    environment.globals |= {
        "values": values,
        "rows": rows,
        "beside": beside_baseline,
        "published": published,
        "symmetries": SYMMETRIES,
        "statistics": STATISTICS,
        "enough_for_fid": ENOUGH_FOR_FID,
    }
    return environment
