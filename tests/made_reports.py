"""Reports to test on: well-formed report.json with random records, one of masks and one of classes."""

import base64
import json
import re

import numpy as np

from synthmed_tf.evaluation import privacy_audit
from synthmed_tf.metrics import f1, features, fidelity, kl, shapes
from synthmed_tf.records.read import Records
from synthmed_tf.records.write import write_records
from synthmed_tf.reporting import page
from synthmed_tf.sample import Sample

HOSTILE = '<script>alert("1")</script>&\x1b[31m'
ARMS = {"real": 0.80, "synthetic": 0.77, "real_and_synthetic": 0.81, "synthetic_50": 0.76}


def make_samples(count, prefix, seed, size=(64, 64), channels=3, splits=("train",)):
    """Blobs that are brighter where the mask is."""
    rng = np.random.default_rng(seed)
    samples = []
    for split in splits:
        for index in range(count):
            rows, columns = (np.sin(rng.uniform(2, 4) * np.linspace(0, 6, n) + rng.uniform(0, 6)) for n in size)
            mask = (rows[:, None] + columns > 1.2).astype(np.uint8)[..., None]
            image = np.clip(90 + 60 * mask + rng.normal(0, 15, (*size, channels)), 0, 255).astype(np.uint8)
            number = index if prefix == "s" else None
            samples.append(Sample(f"{prefix}{split}{index}", image, mask, np.ones_like(mask), split=split, seed=number))
    return samples


def spread(values):
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "sd": sd, "runs": list(values)}


def make_arms(shift=0.0, repeats=3):
    return {
        arm: {
            metric: {
                c: spread([value + shift + 0.01 * k + 0.002 * run for run in range(repeats)])
                for k, c in enumerate(f1.CONVENTIONS)
            }
            for metric in f1.METRICS
        }
        for arm, value in ARMS.items()
    }


def make_segmentation(size):
    human = {m: {c: None if m.startswith("auc") else 0.788 for c in f1.CONVENTIONS} for m in f1.METRICS}
    return {
        "image_size": list(size),
        "steps": 400,
        "repeats": 3,
        "unet": {"levels": 3, "width": 16, "parameters": 482_000},
        "test_images": 8,
        "synthetic_pairs": 12,
        "real_pairs": 8,
        "arms": make_arms(),
        "ratio": 0.9625,
        "ratio_interval": [0.9, 1.01],
        "ratio_50": 0.95,
        "ratio_50_interval": None,
        "gain": 0.0125,
        "gain_interval": [-0.02, 0.03],
        "agreement": make_arms(-0.1)["real"],
        "thresholds": {arm: [0.41, 0.44, 0.46] for arm in ARMS},
        "seconds": {arm: [61.0, 62.0, 63.0] for arm in ARMS},
        "native": {"arms": make_arms(-0.03), "second_observer": human},
    }


def make_report(tmp_path, *, size=(64, 64), channels=3, name="drive", hostile=False):
    """(report, report folder, real folder, synthetic folder) of pairs of image and mask."""
    real = make_samples(8, "r", 0, size, channels, ("train", "test"))
    synthetic = make_samples(12, "s", 1, size, channels)
    if hostile:
        real[0] = Sample(**{**vars(real[0]), "id": HOSTILE})
        synthetic[0] = Sample(**{**vars(synthetic[0]), "id": HOSTILE, "mask": real[0].mask})
    command = f"train_stage2.py --data={HOSTILE if hostile else name}"
    extra = {"command": command, "checkpoint_sha256": "abc123" * 10, "flags": {"steps": 2000}}
    real_manifest = write_records(tmp_path / "real", name, real, source="made for a test")
    synthetic_manifest = write_records(
        tmp_path / "synthetic", f"synthmed_{name}", synthetic, source="made", extra=extra
    )
    train, test = real[:8], real[8:]
    histograms = {
        key: {c: h.tolist() for c, h in kl.count_intensities([s.image for s in samples]).items()}
        for key, samples in (("real", train), ("synthetic", synthetic))
    }
    report = {
        "schema_version": 1,
        "command": "evaluate.py --synthetic_dir=out/",
        "real": real_manifest,
        "synthetic": synthetic_manifest,
        "segmentation": make_segmentation(size),
        "distribution": {
            "kl_intensity": {
                "synthetic_vs_real": {
                    c: kl.kl_divergence(histograms["real"][c], histograms["synthetic"][c]) for c in histograms["real"]
                },
                "synthetic_vs_held_out": {"grey": 0.021, "red": 0.4},
                "real_vs_held_out": {"grey": 0.064, "red": 0.3},
                "real_vs_real": kl.compare_halves([s.image for s in train]),
                "synthetic_vs_half": kl.compare_halves([s.image for s in train], others=[s.image for s in synthetic]),
            },
            "histograms": histograms,
            "smoothing": kl.SMOOTHING,
        },
        "fidelity": {
            "photographs": fidelity.compare(
                *(features.describe_photographs([s.image for s in part]) for part in (train, synthetic, test))
            ),
            "masks": fidelity.compare(
                *(features.describe_masks([s.mask for s in part]) for part in (train, synthetic, test))
            ),
        },
        "morphology": shapes.compare(*([shapes.describe(s.mask) for s in part] for part in (train, synthetic, test))),
        "copies": privacy_audit.audit_masks(train, synthetic, test),
        "privacy": privacy_audit.audit_images(train, synthetic, test),
        "wall_seconds": 754.2,
        "real_images_shown": True,
    }
    (tmp_path / "report").mkdir()
    return report, tmp_path / "report", tmp_path / "real", tmp_path / "synthetic"


def make_classification(classes, repeats):
    """The classification part: VGG16 loses 0.1 of 0.8, k-NN 0.01 of 0.75."""

    def entry(mean):
        return {"mean": mean, "sd": 0.01, "runs": [mean] * repeats, "interval": [mean - 0.05, mean + 0.05]}

    def arms(real, synthetic):
        scores = {
            arm: {metric: entry(mean) for metric in ("accuracy", "balanced_accuracy", "auc")}
            for arm, mean in (("real", real), ("synthetic", synthetic), ("real_and_synthetic", 0.82))
        }
        return scores | {"relative_drop": 1 - synthetic / real, "relative_drop_interval": [-0.02, 0.2]}

    counts = {
        arm: dict.fromkeys(classes, count)
        for arm, count in (("real", 4), ("synthetic", 6), ("real_and_synthetic", 8), ("test", 4))
    }
    training = {"radii": [2, 3, 4], "n_neighbors": 5, "accuracy": 0.8123456, "folds": 4}
    chosen = {"vgg16": {"validation_loss": 0.5}, "knn": training}
    return {
        "tasks": {"class": {"vgg16": arms(0.8, 0.7), "knn": arms(0.75, 0.74)}},
        "image_size": [64, 64],
        "repeats": repeats,
        "steps": {"class": 438},
        "vgg_weights": None,
        "classes": {"class": {name: name for name in classes}},
        "counts": {"class": counts},
        "groups": {"real": None, "test": None},
        "parameters": {
            "class": {model: {arm: [run] * repeats for arm in counts if arm != "test"} for model, run in chosen.items()}
        },
        "seconds": {},
    }


def make_classified(tmp_path, classes=("normal", "tumour"), repeats=2):
    """(report, report folder, real folder, synthetic folder) of images with classes."""
    rng = np.random.default_rng(0)

    def samples(count, prefix, splits=("train",)):
        return [
            Sample(
                f"{prefix}{split}{index}",
                rng.integers(0, 255, (64, 64, 1), dtype=np.uint8),
                label=classes[index % len(classes)],
                split=split,
            )
            for split in splits
            for index in range(count)
        ]

    rejected = {name: {"candidates": 100, "rejected": 40 + k, "too_far": 0} for k, name in enumerate(classes)}
    extra = {"filter": {"candidates": 200, "rejected": 90, "too_far": 10, "classes": rejected}}
    manifest = write_records(tmp_path / "real", "tiles", samples(8, "r", ("train", "test")), source="made")
    synthetic = write_records(tmp_path / "out" / "synthetic", "set", samples(12, "s"), source="made", extra=extra)
    images = [sample.image for sample in Records(tmp_path / "real", "train")]
    halves = kl.compare_halves(images)
    (tmp_path / "report").mkdir()
    report = {
        "schema_version": 1,
        "command": "evaluate.py",
        "real": manifest,
        "synthetic": synthetic,
        "real_images_shown": True,
        "classification": make_classification(classes, repeats),
        "distribution": {
            "kl_intensity": {
                "synthetic_vs_real": {"grey": 0.1},
                "real_vs_real": halves,
                "synthetic_vs_half": halves,
                "synthetic_vs_held_out": {},
                "real_vs_held_out": {},
            },
            "histograms": {key: {"grey": [1] * 256} for key in ("real", "synthetic")},
            "smoothing": kl.SMOOTHING,
        },
    }
    return report, tmp_path / "report", tmp_path / "real", tmp_path / "out" / "synthetic"


def set_of_numbers(value):
    """The sections of one set in which every number is `value` and every floor 0.5."""
    entry, floor = {"mean": value, "sd": 0.01, "runs": [value]}, spread([0.5])
    kl = {"synthetic_vs_real": {"grey": 9}, "synthetic_vs_half": {"grey": entry}, "real_vs_real": {"grey": floor}}
    kl |= {"synthetic_vs_held_out": {}, "real_vs_held_out": {}}
    figures = {metric: {"synthetic_vs_real": entry, "real_vs_real": floor} for metric in fidelity.METRICS}
    return {
        "distribution": {"kl_intensity": kl},
        "fidelity": {"photographs": {**figures, "protocol": {"subset_size": 8}}},
        "morphology": {"end_points": {"distance": value, "floor": 0.5}},
        "copies": {
            "synthetic_to_training": {"min": value, "median": value},
            "test_to_training": None,
            "nearest_training_mask": [],
            "likeness": {"unavailable": "One image alone."},
            "halves": {"unavailable": "One image alone."},
        },
    }


def write(report, folder, *records_dirs):
    """(page, its text) after report.json was written and drawn from."""
    (folder / "report.json").write_text(json.dumps(report))
    path = page.write_page(folder, *records_dirs)
    assert path == folder / "report.html"
    return path.read_text(encoding="utf-8"), read_text(path.read_text(encoding="utf-8"))


def read_text(html):
    text = re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]*>", " ", html, flags=re.DOTALL))
    assert not re.search(r"\b(nan|None|inf|Undefined)\b", text), "a missing number must be said in words"
    return re.sub(r" ([.,;:])", r"\1", text)


def read_pictures(html):
    return [base64.b64decode(data) for data in re.findall(r'src="data:image/png;base64,([^"]+)"', html)]
