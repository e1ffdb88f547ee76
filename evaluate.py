#!/usr/bin/env python3
"""Is the synthetic set useful, faithful and private? Writes report.json and report.html and prints the main numbers.

    evaluate.py --synthetic_dir=out/                      what the other two scripts left in out/
    evaluate.py --synthetic_dir=/their/set --data=drive   another program's set, PNG files or TFDS, against DRIVE
    evaluate.py --synthetic_dir=out/ --noreal_images      a report without pictures of real images
    evaluate.py --synthetic_dir=out/ --baseline_dir=one/  beside a single GAN's set (train_stage1.py --target=image)

Trains U-Nets (paper P1), or classifiers where the images have classes (paper P2), on real, on synthetic and on both,
and tests them on real test images. Run again, it goes on where it stopped.
"""

import json
import time
import warnings
from pathlib import Path

from synthmed_tf import settings
from synthmed_tf.sample import InputError
from synthmed_tf.settings import Flag

BENCHMARKS = ("segmentation", "distribution", "fidelity", "morphology", "copies", "privacy", "classification")
MODELS = ("vgg16", "knn", "svm", "random_forest")
FLAGS = {
    "Data": (
        Flag("synthetic_dir", str, None,
            "the OUT_DIR of the other two scripts, a synthetic set, or one of another program: a TFDS folder, or image "
            "files as --data reads them; default OUT_DIR",
            True),
        Flag("data", str, None, f"the real set: {settings.SETS}; not needed for a set made by these scripts", True),
        Flag("data_dir", str, "data", "folder that holds the data sets as downloaded; private", True),
        Flag("out_dir", str, "out", "folder for all results; SYNTHETIC_DIR if all of a run is there", True),
        Flag("baseline_dir", str, None,
            "a second synthetic set to put beside it: the OUT_DIR of train_stage1.py --target=image, or the set itself",
            True),
        Flag("report_dir", str, None, "where the report goes; default OUT_DIR/report"),
        Flag("holdout", int, None,
            "hold out N patients (or files) to learn from as test images (for DRIVE, whose test labels may be missing)",
            least=0),
        Flag("labels", str, None, settings.LABELS),
        Flag("group_column", str, None, settings.GROUP_COLUMN),
        Flag("chest_xrays", bool, None, settings.CHEST_XRAYS),
        Flag("mask_foreground", ("bright", "dark"), None, settings.MASK_FOREGROUND),
        Flag("skip_bad_files", bool, False, "leave out unreadable files, with a counted warning, instead of stopping"),
    ),
    "Evaluation": (
        Flag("benchmarks", list, None,
            f"which to run, comma separated: {', '.join(BENCHMARKS)}; default: all that the set allows", True),
        Flag("repeats", int, 3, "U-Nets or classifiers trained for each arm, each from its own seed", True, 1),
        Flag("unet_steps", int, 600, "training steps of each U-Net", True, 1),
        Flag("unet_levels", int, 3, "poolings of each U-Net; Ronneberger et al. 2015 have 4", least=1, most=4),
        Flag("unet_width", int, 16,
            "its channels at full size, doubled at each level; Ronneberger et al. 2015 have 64", least=1),
        Flag("models", list, list(MODELS), "classifiers to train, comma separated", True),
        Flag("vgg_steps", int, None, "training steps of each VGG16; default: 20 passes over the real images", least=1),
        Flag("vgg_weights", str, None,
            "pretrained weights of VGG16: Keras's HDF5 file without the top; default: random ones"),
        Flag("inception_weights", str, None,
            "weights of InceptionV3, Keras's HDF5 file without the top, to measure FID and KID by too; default: not "
            "measured"),
        Flag("young", str, "18-38", "first and last age of the younger age group, for study groups of chest X-rays"),
        Flag("mature", str, "48-68", "the same of the older one"),
        Flag("real_images", bool, True, "show pictures of real images in the report, which is private then", True),
    ),
    "Run": (
        settings.SEED,
        Flag("precision", settings.PRECISIONS, "auto", "auto: bfloat16 where hardware has it, else float32"),
        settings.OVERWRITE,
        Flag("dry_run", bool, False, "write nothing: print data and settings, and stop"),
    ),
}  # fmt: skip


def main(flags):
    check_flags(flags)
    ages = {name: settings.parse_years(name, getattr(flags, name)) for name in ("young", "mature")}

    from synthmed_tf.evaluation import sets as evaluated

    found = evaluated.find(flags)

    from synthmed_tf import runs
    from synthmed_tf.evaluation import baseline, classification_benchmark, segmentation_benchmark, similarity
    from synthmed_tf.records.atomic import write_json
    from synthmed_tf.reporting.headline import headline
    from synthmed_tf.reporting.page import write_page
    from synthmed_tf.training import hardware

    began = time.monotonic()
    sets = evaluated.open_sets(flags, found)
    benchmarks, unavailable = baseline.choose_benchmarks(flags.benchmarks, sets.real, sets.synthetic)
    if "classification" in benchmarks:
        classification_benchmark.check_classes(sets.real, sets.synthetic)
    flags.benchmarks, (_, flags.precision) = benchmarks, hardware.set_up(flags.precision)
    folder = Path(flags.report_dir or Path(flags.out_dir) / "report")
    if flags.dry_run:
        runs.check(folder, {}, flags.overwrite)
        settings.print_plan(data=sets.describe(), evaluation=sorted(vars(flags).items()))
        return

    with runs.claim(folder, {}, flags.overwrite):
        warn_of_replacing(folder / "report.json", benchmarks)
        sets.open_controls(flags, found)
        report = {
            "schema_version": 1,
            "command": settings.format_command("evaluate", flags),
            "real": sets.real.manifest,
            "synthetic": sets.synthetic.manifest,
            "real_images_shown": flags.real_images,
            **unavailable,
        }
        if sets.other_manifest:
            report["photographs"] = sets.other_manifest
        against = {"real": sets.real, "held_out": sets.held_out, "photographs": sets.photographs}
        against |= {"benchmarks": benchmarks, "seed": flags.seed, "inception_weights": flags.inception_weights}
        if "classification" in benchmarks:  # first, as it keeps what is done
            report["classification"] = classification_benchmark.measure(
                folder / "classification", sets.real, sets.synthetic, sets.held_out, ages, steps=flags.vgg_steps,
                weights=flags.vgg_weights, models=flags.models, repeats=flags.repeats, seed=flags.seed,
            )  # fmt: skip
        report |= baseline.compare_with_real(sets.compared, **against)
        if "fidelity" in benchmarks and "radiographs" in sets.real.manifest:
            report["lungs"] = similarity.count_distorted_bodies(sets.real, sets.synthetic, sets.held_out)
        if sets.baseline is not None:
            measured = baseline.compare_with_real(baseline.WithViews(sets.baseline, sets.real), **against)
            report["baseline"] = {"synthetic": sets.baseline.manifest, **measured}
        if "segmentation" in benchmarks:
            report["segmentation"] = segmentation_benchmark.measure(
                folder / "segmentation", sets.real, sets.compared, sets.native_test(flags), sets.size,
                steps=flags.unet_steps, levels=flags.unet_levels, width=flags.unet_width, repeats=flags.repeats,
                seed=flags.seed,
            )  # fmt: skip
        report["wall_seconds"] = round(time.monotonic() - began, 1)
        write_json(folder / "report.json", report)
        baseline_folder = sets.baseline and sets.baseline.folder
        page = write_page(folder, sets.real.folder, sets.synthetic.folder, baseline_folder)
        print(headline(report, page))


def warn_of_replacing(path, benchmarks):
    """Warns where a report holds more than this run measures, as it will be replaced."""
    try:
        lost = [name for name in BENCHMARKS if name in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError):
        return
    if lost := [name for name in lost if name not in benchmarks]:
        warnings.warn(
            f"{path}: held {', '.join(lost)} too; the new report does not. --report_dir=FOLDER keeps both", stacklevel=2
        )


def check_flags(flags):
    """Raises InputError for names that are none, and for files of weights that are not there."""
    for flag, known in (("benchmarks", BENCHMARKS), ("models", MODELS)):
        if unknown := [name for name in getattr(flags, flag) or [] if name not in known]:
            words = ",".join(getattr(flags, flag))
            raise InputError(f"--{flag}={words}: {unknown[0]!r} is none of {', '.join(known)}")
    for flag in ("vgg_weights", "inception_weights"):
        path = getattr(flags, flag)
        if path and not Path(path).is_file():
            raise InputError(f"--{flag}={path}: no such file; give Keras's HDF5 file, or leave the flag out")


if __name__ == "__main__":
    settings.run("evaluate", __doc__, FLAGS, main)
