"""report.json and records -> report.html, one file that needs no other, and the PNG files of its figures."""

import base64
import contextlib
import dataclasses
import io
import json
import os
from pathlib import Path

from PIL import Image

from synthmed_tf.metrics import symmetries
from synthmed_tf.metrics.likeness import VIEWS
from synthmed_tf.records.read import Records
from synthmed_tf.reporting import figures, table, words
from synthmed_tf.sample import InputError

SCHEMA_VERSION = 1  # of report.json
EXAMPLES = 5  # real and synthetic pairs shown
FIGURE_FILES = (
    "scores.png",
    "accuracies.png",
    "classes.png",
    "intensity.png",
    "nearest_masks.png",
    "nearest_images.png",
    "examples.png",
    "baseline.png",
)
PICTURE_FILES = ("rejected.png", "growth.png")  # that stage 1 left beside the synthetic set: P2's figures 1b and 2
MOST_PIXELS = 2**25  # of such a picture


def write(report_dir, real_dir, synthetic_dir, baseline_dir=None):
    """Draws report_dir/report.html and report_dir/figures/*.png from report_dir/report.json.

    Where report.json says "real_images_shown": false, no picture of a real image or mask and no id of one is written,
    figures of an earlier run that hold some are deleted, and real_dir is not opened.

    Args:
      report_dir: folder that holds report.json.
      real_dir: records of the real set, training split included.
      synthetic_dir: records of the synthetic set. PICTURE_FILES in the folder stage1 beside it are shown too.
      baseline_dir: records of the baseline, where report.json has one.

    Returns:
      Path of report.html.

    Raises:
      InputError: report.json is missing, damaged, of another schema, or names samples that the records do not hold; the
        folder cannot be written.
    """
    report_dir = Path(report_dir)
    report = _read(report_dir / "report.json")
    drawn = {
        file: figures.png(figure) for file, figure in _figures(report, real_dir, synthetic_dir, baseline_dir).items()
    }
    drawn |= _pictures(Path(synthetic_dir).parent / "stage1")
    page = _template().render(_context(report, drawn))
    try:
        folder = report_dir / "figures"
        folder.mkdir(exist_ok=True)
        for file in FIGURE_FILES + PICTURE_FILES:
            with contextlib.suppress(FileNotFoundError):
                (folder / file).unlink()
        for file, content in drawn.items():
            (folder / file).write_bytes(content)
        temporary = report_dir / "report.html.tmp"
        temporary.write_text(page, encoding="utf-8")
        os.replace(temporary, report_dir / "report.html")
    except OSError as error:
        raise InputError(
            f"{report_dir}: the report cannot be written ({error.strerror}); free some space or choose another --report_dir"
        ) from error
    return report_dir / "report.html"


def _read(path):
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing; run evaluate.py, which writes it") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); run evaluate.py again") from error
    found = report.get("schema_version") if isinstance(report, dict) else None
    if found != SCHEMA_VERSION:
        raise InputError(
            f"{path} has schema version {found}, this program reads {SCHEMA_VERSION}; run evaluate.py again"
        )
    return report


# ---------------------------------------------------------------- figures


def _figures(report, real_dir, synthetic_dir, baseline_dir):
    """{file name: Figure}, those that the report has the numbers for and may show."""
    shown = bool(report.get("real_images_shown"))
    synthetic = Records(synthetic_dir)
    real = Records(real_dir, split="train") if shown else []
    drawn = {}
    segmentation, distribution, copied = (table.section(report, k) for k in ("segmentation", "distribution", "copies"))
    if "unavailable" not in segmentation and (panels := _score_panels(segmentation)):
        drawn["scores.png"] = figures.scores(panels)
    classification = table.section(report, "classification")
    if "unavailable" not in classification:
        drawn["accuracies.png"] = figures.accuracies(classification["tasks"])
    if synthetic.class_names:
        sets = {"real": real, "synthetic": synthetic} if real and real.class_names else {"synthetic": synthetic}
        drawn["classes.png"] = figures.class_counts({label: _class_counts(each) for label, each in sets.items()})
    if "unavailable" not in distribution:
        drawn["intensity.png"] = figures.intensity_distribution(distribution["histograms"])
    if shown and (rows := _shown_rows(copied)):
        ours = _by_id(synthetic, {row["synthetic_id"] for row in rows})
        theirs = _by_id(real, {row["training_id"] for row in rows})
        drawn["nearest_masks.png"] = figures.nearest_masks(
            [
                (
                    ours[row["synthetic_id"]].mask,
                    symmetries.transform(theirs[row["training_id"]].mask, row["symmetry"]),
                    f"{letter}: {table.number(row['distance'])}",
                )
                for letter, row in zip("ABCDEF", rows)
            ]
        )
    privacy = table.section(report, "privacy")
    if shown and "photographs" not in report and (rows := privacy.get("structure", {}).get("likest")):
        ours = _by_id(synthetic, {row["synthetic_id"] for row in rows})
        theirs = _by_id(real, {row["training_id"] for row in rows})
        drawn["nearest_images.png"] = figures.nearest_images(
            [
                (
                    ours[row["synthetic_id"]].image,
                    symmetries.transform(theirs[row["training_id"]].image, row["symmetry"]),
                    table.number(row["likeness"], ".2f"),
                )
                for row in rows
            ]
        )
    ours = _spread(synthetic, EXAMPLES)
    drawn["examples.png"] = figures.examples({"real": _spread(real, EXAMPLES), "synthetic": ours})
    if baseline_dir:
        pair = {"baseline": _spread(Records(baseline_dir), EXAMPLES), "synthetic": ours}
        photographs = {label: [dataclasses.replace(s, mask=None) for s in samples] for label, samples in pair.items()}
        drawn["baseline.png"] = figures.examples(photographs)
    return drawn


def _pictures(folder):
    """{file: PNG bytes} of the PICTURE_FILES in a folder."""
    found = {}
    for file in PICTURE_FILES:
        if not (folder / file).is_file():
            continue
        try:
            with Image.open(folder / file, formats=["PNG"]) as picture:
                if picture.width * picture.height > MOST_PIXELS:
                    raise ValueError(f"{picture.width} x {picture.height} pixels")
                buffer = io.BytesIO()
                picture.convert("RGB").save(buffer, "png")  # nothing but pixels
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise InputError(
                f"{folder / file}: is no picture that train_stage1.py made ({error}); delete it and run evaluate.py again"
            ) from error
        found[file] = buffer.getvalue()
    return found


def _class_counts(records):
    """{class name: how many samples}, from the manifest where there is one."""
    if records.manifest is not None:
        counts = records.manifest["class_counts"]
        splits = counts if records.split is None else [records.split]
        return {name: sum(counts[split].get(name, 0) for split in splits) for name in records.class_names}
    counts = dict.fromkeys(records.class_names, 0)
    for sample in records:
        counts[sample.label] += 1
    return counts


def _score_panels(segmentation):
    size = "{} x {} pixels".format(*segmentation["image_size"])
    native = segmentation.get("native") or {}
    observer = ((native.get("second_observer") or {}).get("f1") or {}).get("fov_pooled")
    panels = []
    for title, arms, human in (
        (f"at {size}", segmentation["arms"], None),
        ("at native resolution", native.get("arms"), observer),
    ):
        runs = {
            arm: [v for v in table.score(arms, arm).get("runs", []) if v is not None]
            for arm in table.arms_of(segmentation)
        }
        if any(runs.values()):
            panels.append((title, runs, human))
    return panels


def _shown_rows(copied):
    """Of all nearest training masks the three closest and the three around the median."""
    rows = sorted(copied.get("nearest_training_mask", []), key=lambda row: row["distance"])
    middle = max(3, len(rows) // 2 - 1)
    return rows[:3] + rows[middle : middle + 3]


def _by_id(records, ids):
    found = {}
    for index in range(len(records)):
        if records[index].id in ids:
            found[records[index].id] = records[index]
            if len(found) == len(ids):
                return found
    missing = min(ids - found.keys())
    raise InputError(
        f"{records.folder} does not hold the sample {missing!r} that report.json names; run evaluate.py again"
    )


def _spread(records, count):
    """Up to `count` samples at even steps."""
    return [records[index * len(records) // count] for index in range(count)] if len(records) > count else list(records)


# ---------------------------------------------------------------- the page


def _template():
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # ids, commands and names come from files and are shown as text, whatever they hold
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")


def _context(report, drawn):
    segmentation, distribution, copied = (table.section(report, k) for k in ("segmentation", "distribution", "copies"))
    shown = bool(report.get("real_images_shown"))
    structure = words.STRUCTURES.get(table.name(report), "structure")
    classification = table.section(report, "classification")
    return {
        "name": table.name(report),
        "is_drive": table.name(report) == "drive",
        "structure": structure,
        "sizes": table.sizes(report),
        "real_images_shown": shown,
        "shows": {key: table.shows(report, key) for key in ("segmentation", "classification", "morphology", "copies")},
        "classification": classification,
        "drop_meaning": words.drop_meaning(classification),
        "protocol": words.protocol(classification),
        "classification_rows": words.classification_rows(classification),
        "other_score_rows": words.other_score_rows(classification),
        "learned_rows": words.learned_rows(classification),
        "parameter_rows": words.parameter_rows(classification),
        "summary": words.summary(report, structure),
        "segmentation": segmentation,
        "score_tables": words.score_tables(segmentation),
        "unet": words.unet(segmentation),
        "agreement": words.agreement(segmentation, structure),
        "literature": words.literature(segmentation),
        "macro": words.macro(segmentation),
        "distribution": distribution,
        "kl_rows": words.kl_rows(distribution),
        "fidelity": table.section(report, "fidelity"),
        "fidelity_tables": words.fidelity_tables(table.section(report, "fidelity")),
        "morphology": table.section(report, "morphology"),
        "shape_rows": words.shape_rows(table.section(report, "morphology")),
        "shapes": words.shapes(table.section(report, "morphology")),
        "copies": copied,
        "privacy": table.section(report, "privacy"),
        "privacy_rows": table.privacy_rows(table.section(report, "privacy")),
        "mask_rows": table.mask_rows(copied),
        "is_filtered": words.is_filtered(report),
        "images_listed": words.listed(
            {view: part for view, part in table.section(report, "privacy").items() if view in VIEWS},
            "privacy",
            "images",
        ),
        "masks_listed": words.listed(
            {key: copied[key] for key in ("likeness", "halves") if key in copied}, "copies", "masks"
        ),
        "compared": table.compared,
        "filtered": table.filtered(report),
        "copy_rows": words.copy_rows(copied),
        "baseline": words.beside(report),
        "nearest": list(zip("ABCDEF", _shown_rows(copied))) if shown else [],
        "symmetries": symmetries.SYMMETRIES,
        "figures": {file: base64.b64encode(content).decode() for file, content in drawn.items()},
        "provenance": words.provenance(report, shown),
        "duration": words.duration(report.get("wall_seconds")),
        "p1_f1": table.P1_F1,
        "measured": table.measured,
        "macro_ratio": None if "unavailable" in segmentation else table.macro_ratio(segmentation),
        "p1_kl": table.P1_KL,
        "number": table.number,
    }
