#!/usr/bin/env python3
"""Is the synthetic set useful, faithful and private? Writes report.json and report.html and prints the main numbers.

    evaluate.py --synthetic_dir=out/                      what the other two scripts left in out/
    evaluate.py --synthetic_dir=/tfds/folder --data=drive another program's set against DRIVE
    evaluate.py --synthetic_dir=out/ --noreal_images      a report without pictures of real images
    evaluate.py --synthetic_dir=out/ --baseline_dir=one/  beside a single GAN's set (train_stage1.py --target=image)

Trains U-Nets (paper P1), or classifiers where the images have classes (paper P2), on real, on synthetic and on both,
and tests them on real test images. Run again, it goes on where it stopped.
"""

import itertools
import time
from pathlib import Path

from synthmed_tf import flags
from synthmed_tf.datasets.load import load_samples
from synthmed_tf.datasets.sources import check_set, get_set_name
from synthmed_tf.sample import InputError

NOTHING_TO_TEST_ON = (
    "The test images of {} have no masks, so there is nothing to test on. Hold out training images in their place: run "
    "train_stage1.py with --holdout=5 and another --out_dir, and then the other two scripts with that --out_dir."
)
BENCHMARKS = ("segmentation", "distribution", "fidelity", "morphology", "copies", "privacy", "classification")
MODELS = ("vgg16", "knn", "svm", "random_forest")


def synthetic_set(given):
    """The folder of the synthetic set in `given`, an OUT_DIR or that folder itself."""
    folder = given / "synthetic" if (given / "synthetic").is_dir() else given
    if folder == given and (given / "stage1").is_dir():
        raise InputError(
            f"{given / 'synthetic'}: not there; run train_stage2.py (after --target=image train_stage1.py) with the same "
            "--out_dir first"
        )
    return folder


def main(settings):
    for flag, known in (("benchmarks", BENCHMARKS), ("models", MODELS)):
        if unknown := [name for name in settings[flag] or [] if name not in known]:
            raise InputError(f"--{flag}={','.join(settings[flag])}: {unknown[0]!r} is none of {', '.join(known)}")
    ages = {name: flags.years(name, settings[name]) for name in ("young", "mature")}
    for flag in ("vgg_weights", "inception_weights"):
        if settings[flag] and not Path(settings[flag]).is_file():
            raise InputError(f"--{flag}={settings[flag]}: no such file; give Keras's HDF5 file, or leave the flag out")
    given = Path(settings["synthetic_dir"] or settings["out_dir"])
    folder = synthetic_set(given)
    baseline_folder = synthetic_set(Path(settings["baseline_dir"])) if settings["baseline_dir"] else None
    if folder != given and "out_dir" not in settings["given"]:
        settings["out_dir"] = str(given)
    first = flags.read_settings(given / "stage1") if (given / "stage1" / "flags.json").exists() else {}
    if "data_dir" not in settings["given"]:
        settings["data_dir"] = first.get("data_dir", settings["data_dir"])

    from synthmed_tf.records.atomic import write_json
    from synthmed_tf.records.manifest import read_manifest
    from synthmed_tf.records.read import Records

    is_foreign = (folder / "features.json").exists() and not (folder / "manifest.json").exists()
    manifest = {} if is_foreign else read_manifest(folder)
    learned = manifest.get("real", {})
    is_same = settings["data"] is None or get_set_name(settings["data"]) == learned.get("name")
    described = {"data": learned.get("name")} | learned | first
    # Another set has labels of its own
    for name in ("data", "holdout", "skip_bad_files", *("labels", "chest_xrays") * is_same):
        if name not in settings["given"]:
            settings[name] = described.get(name, settings[name])
    settings["holdout"] = settings["holdout"] or 0
    if settings["data"] is None:
        raise InputError(f"{folder}: does not say which real set it stands for; give --data")
    check_set(settings["data"], settings["data_dir"], labels=settings["labels"], chest_xrays=settings["chest_xrays"])
    second = {}
    photographs = manifest.get("photographs") and [manifest["photographs"]["name"], settings["data_dir"]]
    if photographs and (given / "stage2" / "flags.json").exists():
        second = flags.read_settings(given / "stage2")
        photographs = [second["data"], settings["data_dir"] if "data_dir" in settings["given"] else second["data_dir"]]
    if photographs:
        column = manifest["photographs"].get("labels")
        check_set(*photographs, labels=column)

    from synthmed_tf import synthesis
    from synthmed_tf.datasets.plan import Plan
    from synthmed_tf.datasets.prepare import crop_sample, prepare, prepare_training_split
    from synthmed_tf.datasets.split import LEFT_OUT, check_split
    from synthmed_tf.evaluation import classification_benchmark, segmentation_benchmark, similarity
    from synthmed_tf.evaluation.baseline import WithViews, applicable, measure, open_baseline
    from synthmed_tf.reporting import html, table
    from synthmed_tf.training import classifier, loop, segmenter

    began = time.monotonic()
    synthetic = Records(folder)
    synthesis.require(synthetic, "image")
    baseline = open_baseline(baseline_folder, synthetic) if baseline_folder else None
    size = synthetic[0].image.shape[:2]
    options = {name: settings[name] for name in ("labels", "chest_xrays", "holdout", "skip_bad_files")}
    place = {"out_dir": Path(settings["out_dir"]), "dry_run": settings["dry_run"]}
    real = prepare_training_split(settings["data"], settings["data_dir"], size, **place, **options)
    prepared = real.folder
    has_masks = "mask" in synthetic.features
    synthesis.require(real, "image", *["mask"] * has_masks)
    channels = synthetic[0].image.shape[2], real.manifest["channels"]
    if channels[0] != channels[1]:
        raise InputError(f"{folder}: {channels[0]} channels, the real set {prepared} has {channels[1]}")
    benchmarks, unavailable = applicable(settings["benchmarks"], real, synthetic)
    if "classification" in benchmarks:
        classification_benchmark.check_classes(real, synthetic)
    if is_same and not isinstance(real, Plan):
        check_split(learned, real.manifest, "prepared" in first and (first["prepared"], prepared.name))
    shown = WithViews(synthetic, real)  # what is compared
    report_dir = Path(settings["report_dir"] or Path(settings["out_dir"]) / "report")
    _, settings["precision"] = loop.set_up(settings["precision"])
    if settings["dry_run"]:
        length = {"batch_size": segmenter.BATCH_SIZE, "steps": settings["unet_steps"]}
        if "segmentation" not in benchmarks:
            length = {"batch_size": classifier.BATCH_SIZE, "steps": settings["vgg_steps"], "epochs": classifier.EPOCHS}
        settings |= length
        flags.print_plan(settings, real, *flags.steps_and_epochs(settings, len(real)))
        return

    with loop.claim(report_dir, {}, settings["overwrite"]):
        report = {
            "schema_version": 1,
            "command": flags.command("evaluate", settings),
            "real": real.manifest,
            "synthetic": synthetic.manifest,
            "real_images_shown": settings["real_images"],
            **unavailable,
        }
        held_out = Records(prepared, "test") if "test" in real.manifest["counts"] else []
        against = {"real": real, "held_out": held_out, "benchmarks": benchmarks}
        if real.manifest.get("test_split", "").startswith(LEFT_OUT):  # photographs need no masks to be compared
            samples = load_samples(settings["data"], settings["data_dir"], **options)  # the test split comes first
            unlabelled = itertools.takewhile(lambda sample: sample.split == "test", samples)
            against["photographs"] = real, [crop_sample(sample, size) for sample in unlabelled]
        against |= {name: settings[name] for name in ("seed", "inception_weights")}
        if photographs:
            how = {
                "skip_bad_files": settings["skip_bad_files"],
                "chest_xrays": settings["chest_xrays"],
                "labels": column,
            }
            other = prepare(*photographs, size, out_dir=Path(settings["out_dir"]), **how)
            report["photographs"] = read_manifest(other)
            names = "prepared" in second and (second["prepared"], other.name)
            check_split(manifest["photographs"], report["photographs"], names)
            has_test = "test" in report["photographs"]["counts"]
            against["photographs"] = Records(other, "train"), Records(other, "test") if has_test else []
        if "classification" in benchmarks:  # first, as it keeps what is done
            budget = {"steps": settings["vgg_steps"], "weights": settings["vgg_weights"]}
            budget |= {name: settings[name] for name in ("models", "repeats", "seed")}
            trainings = report_dir / "classification"
            report["classification"] = classification_benchmark.measure(
                trainings, real, synthetic, held_out, ages, **budget
            )
        report |= measure(shown, **against)
        if "fidelity" in benchmarks and "radiographs" in real.manifest:
            report["lungs"] = similarity.distorted_bodies(real, synthetic, held_out)
        if baseline is not None:
            compared = measure(WithViews(baseline, real), **against)
            report["baseline"] = {"synthetic": baseline.manifest, **compared}
        if "segmentation" in benchmarks:
            samples = load_samples(settings["data"], settings["data_dir"], **options)
            test = [sample for sample in samples if sample.split == "test" and sample.mask is not None]
            if test:
                budget = {name: settings[f"unet_{name}"] for name in ("steps", "levels", "width")}
                budget |= {name: settings[name] for name in ("repeats", "seed")}
                trainings = report_dir / "segmentation"
                report["segmentation"] = segmentation_benchmark.benchmark(trainings, real, shown, test, size, **budget)
            else:
                report["segmentation"] = {"unavailable": NOTHING_TO_TEST_ON.format(real.manifest["name"])}
        report["wall_seconds"] = round(time.monotonic() - began, 1)
        write_json(report_dir / "report.json", report)
        path = html.write(report_dir, prepared, folder, baseline_folder)
        print(table.text(report))
        print(f"\nreport: {path}")


if __name__ == "__main__":
    flags.main("evaluate", __doc__, main)
