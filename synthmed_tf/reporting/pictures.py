"""Which figures a report has, drawn from report.json and the records: {file name: PNG bytes}."""

import dataclasses
import io

from PIL import Image

from synthmed_tf.metrics.symmetries import transform
from synthmed_tf.records.read import Records
from synthmed_tf.reporting import figures, values
from synthmed_tf.reporting.spelling import spell_number
from synthmed_tf.sample import InputError

EXAMPLES = 5  # real and synthetic pairs shown
LEFT_BY_STAGE_1 = ("rejected.png", "growth.png")  # beside the synthetic set: P2's figures 1b and 2
MOST_PIXELS = 2**25  # of such a picture
FILES = (
    "scores.png",
    "accuracies.png",
    "classes.png",
    "intensity.png",
    "nearest_masks.png",
    "nearest_images.png",
    "examples.png",
    "baseline.png",
    *LEFT_BY_STAGE_1,
)


def draw_pictures(report, real_dir, synthetic_dir, baseline_dir=None):
    """{file name: PNG bytes} of the figures that a report has the numbers for and may show.

    Args:
      report: dict, the content of report.json.
      real_dir, synthetic_dir, baseline_dir: folders of records. Without "real_images_shown" real_dir is not opened.
    """
    synthetic = Records(synthetic_dir)
    real = Records(real_dir, split="train") if report["real_images_shown"] else []
    drawn = _draw_numbers(report)
    if synthetic.class_names:
        sets = {"real": real} if real and real.class_names else {}
        counts = {label: _count_classes(records) for label, records in (sets | {"synthetic": synthetic}).items()}
        drawn["classes.png"] = figures.class_counts(counts)
    if real:
        drawn |= _draw_nearest(report, real, synthetic)
    shown = _spread(synthetic, EXAMPLES)
    drawn["examples.png"] = figures.examples({"real": _spread(real, EXAMPLES), "synthetic": shown})
    if baseline_dir:
        sets = {"baseline": _spread(Records(baseline_dir), EXAMPLES), "synthetic": shown}
        photographs = {label: [dataclasses.replace(s, mask=None) for s in samples] for label, samples in sets.items()}
        drawn["baseline.png"] = figures.examples(photographs)
    return {file: figures.png(figure) for file, figure in drawn.items()} | read_pictures(
        synthetic_dir.parent / "stage1"
    )


def read_pictures(folder):
    """{file name: PNG bytes} of the pictures that stage 1 left in a folder.

    Raises:
      InputError: a file there is no picture, or has more than MOST_PIXELS.
    """
    contents = {}
    for file in LEFT_BY_STAGE_1:
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
                f"{folder / file}: is no picture that train_stage1.py made ({error}); delete it and "
                "run evaluate.py again"
            ) from error
        contents[file] = buffer.getvalue()
    return contents


def _draw_numbers(report):
    """{file name: Figure} of what needs no records."""
    drawn = {}
    if values.is_measured(segmentation := report.get("segmentation")):
        if panels := _list_panels(segmentation):
            drawn["scores.png"] = figures.scores(panels)
    if values.is_measured(classification := report.get("classification")):
        drawn["accuracies.png"] = figures.accuracies(classification["tasks"])
    if values.is_measured(distribution := report.get("distribution")):
        drawn["intensity.png"] = figures.intensity_distribution(distribution["histograms"])
    return drawn


def _draw_nearest(report, real, synthetic):
    """{file name: Figure} of synthetic masks and images beside the training ones that they are nearest to."""
    drawn = {}
    if values.is_measured(copies := report.get("copies")):
        rows = values.choose_shown(copies)
        captions = [f"{letter}: {spell_number(row['distance'])}" for letter, row in zip("ABCDEF", rows)]
        drawn["nearest_masks.png"] = figures.nearest_masks(_pair(rows, real, synthetic, "mask", captions))
    # Where stage 2 learned from other photographs, the pairs are not in these records
    if values.is_measured(privacy := report.get("privacy")) and "photographs" not in report:
        rows = privacy["structure"]["likest"]
        captions = [spell_number(row["likeness"], ".2f") for row in rows]
        drawn["nearest_images.png"] = figures.nearest_images(_pair(rows, real, synthetic, "image", captions))
    return drawn


def _pair(rows, real, synthetic, field, captions):
    """[(synthetic, training, caption)] of the masks or images that rows of report.json name."""
    generated = _find_by_id(synthetic, {row["synthetic_id"] for row in rows})
    training = _find_by_id(real, {row["training_id"] for row in rows})
    return [
        (
            getattr(generated[row["synthetic_id"]], field),
            transform(getattr(training[row["training_id"]], field), row["symmetry"]),
            caption,
        )
        for row, caption in zip(rows, captions, strict=True)
    ]


def _count_classes(records):
    """{class name: how many samples}, from the manifest where there is one."""
    if records.manifest is not None:
        counts = records.manifest["class_counts"]
        splits = counts if records.split is None else [records.split]
        return {name: sum(counts[split].get(name, 0) for split in splits) for name in records.class_names}
    counts = dict.fromkeys(records.class_names, 0)
    for sample in records:
        counts[sample.label] += 1
    return counts


def _list_panels(segmentation):
    """[(title, {arm: F1 of each run}, F1 of the second observer or None)], see figures.scores."""
    native = segmentation["native"]
    observer = native["second_observer"] and native["second_observer"]["f1"]["fov_pooled"]
    size = "{} x {} pixels".format(*segmentation["image_size"])
    panels = []
    for title, arms, human in (
        (f"at {size}", segmentation["arms"], None),
        ("at native resolution", native["arms"], observer),
    ):
        runs = {
            arm: [f1 for f1 in arms[arm]["f1"]["fov_pooled"]["runs"] if f1 is not None]
            for arm in values.list_arms(segmentation)
        }
        if any(runs.values()):
            panels.append((title, runs, human))
    return panels


def _find_by_id(records, ids):
    """{id: Sample} of those of the records whose ids are asked for."""
    samples = {}
    for index in range(len(records)):
        if records[index].id in ids:
            samples[records[index].id] = records[index]
            if len(samples) == len(ids):
                return samples
    missing = min(ids - samples.keys())
    raise InputError(
        f"{records.folder} does not hold the sample {missing!r} that report.json names; run evaluate.py again"
    )


def _spread(records, count):
    """Up to `count` samples at even steps."""
    return [records[index * len(records) // count] for index in range(count)] if len(records) > count else list(records)
