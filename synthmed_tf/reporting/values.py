"""The numbers that the page and the headline state beside those that stand in report.json as they are."""

from synthmed_tf.datasets.sources import BUILT_IN
from synthmed_tf.metrics.likeness import VIEWS
from synthmed_tf.reporting.spelling import is_number

ARMS = {"real": "real", "synthetic_50": "50 synthetic", "synthetic": "synthetic", "real_and_synthetic": "both"}
MODELS = {"vgg16": "VGG16", "knn": "k-NN", "svm": "SVM", "random_forest": "random forest"}  # in the order of P2 table 3
STRUCTURES = {"drive": "vessel", "chase_db1": "vessel", "phantom": "vessel", "bubil": "cell"}  # what a mask marks
SHAPES_NEAR = 2  # times its floor, up to which the distance of a measure of shape counts as near
LEAST_CAUGHT = 0.9  # share of each kind of planted copies that an audit must find for its silence to mean something


def is_measured(part):
    """Whether a part of report.json is there and holds numbers."""
    return bool(part) and "unavailable" not in part


def shows_benchmark(report, key):
    """Whether a report has something to say of a benchmark.

    Classes are spoken of only where there are some, masks always but where there are classes only.
    """
    return key in report or (key != "classification" and "classification" not in report)


def is_drawn(report):
    """Whether the real images, and the photographs of stage 2, are phantoms: no patient is behind them."""
    manifests = [report["real"], report.get("photographs") or report["real"]]
    return all(manifest.get("data") in BUILT_IN for manifest in manifests)


def count_samples(report):
    """{"real": training images, "synthetic": images or None where another program made them, "test": images}."""
    real, synthetic = report["real"]["counts"], report.get("synthetic")
    made = sum(synthetic["counts"].values()) if synthetic else None
    return {"real": real["train"], "synthetic": made, "test": real.get("test", 0)}


# ---------------------------------------------------------------- usefulness


def list_arms(segmentation):
    """{arm: label} of the arms of a segmentation benchmark, in the order of the tables."""
    return {arm: label for arm, label in ARMS.items() if arm in segmentation["arms"]}


def compute_macro_ratio(segmentation):
    """Macro F1 on whole images, synthetic / real: in all likelihood the measure of P1 section 10. None: undefined."""
    synthetic, real = (segmentation["arms"][arm]["f1_macro"]["whole_image"]["mean"] for arm in ("synthetic", "real"))
    return synthetic / real if real and synthetic is not None else None


def order_models(models):
    """[(model, value)] of {model: value}, in the order of P2's table 3."""
    return [(model, models[model]) for model in MODELS if model in models]


def list_drops(classification):
    """[{"drop", "task", "model"}] of all relative drops that are defined, the least first."""
    drops = [
        {"drop": arms["relative_drop"], "task": task, "model": model}
        for task, models in classification["tasks"].items()
        for model, arms in models.items()
        if is_number(arms["relative_drop"])
    ]
    return sorted(drops, key=lambda entry: entry["drop"])


def list_folds(classification):
    """The numbers of folds that radii and parameters were chosen by, in rising order."""
    trainings = (
        training
        for models in classification["parameters"].values()
        for model, arms in models.items()
        if model != "vgg16"
        for runs in arms.values()
        for training in runs
    )
    return sorted({training["folds"] for training in trainings})


# ---------------------------------------------------------------- faithfulness


def count_near_shapes(morphology):
    """(measures whose distance is at most SHAPES_NEAR times their floor, measures that have both)."""
    pairs = [(entry["distance"], entry["floor"]) for entry in morphology.values()]
    pairs = [(distance, floor) for distance, floor in pairs if is_number(distance) and is_number(floor)]
    return sum(distance <= SHAPES_NEAR * floor for distance, floor in pairs), len(pairs)


# ---------------------------------------------------------------- privacy


def list_audits(copies):
    """{name: audit} of the audits of masks by likeness that were made."""
    return {key: copies[key] for key in ("likeness", "halves") if is_measured(copies[key])}


def list_views(privacy):
    """{name: audit} of the audits of images."""
    return {view: privacy[view] for view in VIEWS}


def stands_out(audit):
    """Whether there are more near copies than chance gives."""
    return audit["near_copies"] > audit["by_chance_at_most"]


def find_caught(audits):
    """(least, greatest) share of planted copies of one kind that the audits find."""
    shares = [share for audit in audits for share in audit["caught"].values()]
    return min(shares), max(shares)


def judge_masks(copies):
    """What the audits of masks say: "copies", "membership", "blind" or, where there is no sign of copies, "none"."""
    audits = list_audits(copies).values()
    if any(map(stands_out, audits)):
        return "copies"
    if any(audit["membership"] and (audit["membership"]["interval"] or [0])[0] > 0.5 for audit in audits):
        return "membership"
    return "blind" if find_caught(audits)[0] < LEAST_CAUGHT else "none"


def count_listed(audits):
    """How many synthetic images or masks the lists of near copies of {name: audit} name."""
    return len({row["synthetic_id"] for audit in audits.values() for row in audit["near_copy_list"]})


def is_thinned(protocol):
    """Whether an audit left some images or masks out."""
    return any(protocol[name] < count for name, count in protocol["of"].items())


def count_nearer(copies):
    """How many synthetic masks lie nearer to a training mask than the nearest real test mask does."""
    return sum(row["distance"] < copies["test_to_training"]["min"] for row in copies["nearest_training_mask"])


def choose_shown(copies):
    """The rows of the three nearest training masks, and of three around the median."""
    rows = sorted(copies["nearest_training_mask"], key=lambda row: row["distance"])
    middle = max(3, len(rows) // 2 - 1)
    return rows[:3] + rows[middle : middle + 3]


# ---------------------------------------------------------------- what the filters did


def find_rejections(report):
    """What the filters rejected when the set was made.

    Returns:
      {"masks", "images"}: {"candidates", "rejected", "kept": rejected ones that are there for lack of a better one},
      with "worst" (class, share) of images of several classes; None where no filter was at work.
    """
    manifest = report.get("synthetic") or {}
    masks, images = (manifest.get("stage1") or {}).get("filter"), manifest.get("filter")
    rejections = {"masks": None, "images": None}
    if masks:
        rejections["masks"] = {key: masks[key] for key in ("candidates", "rejected")} | {"kept": masks["too_near"]}
    if images and images.get("candidates"):
        kept = images["too_far"]
        rejections["images"] = {"candidates": images["candidates"], "rejected": images["rejected"] + kept, "kept": kept}
        rejections["images"]["worst"] = _find_worst_class(images.get("classes", {}))
    return rejections


def _find_worst_class(classes):
    """(class, share of its images that the filter rejected) of the worst class; None without several."""
    shares = {
        name: (counts["rejected"] + counts["too_far"]) / counts["candidates"]
        for name, counts in classes.items()
        if counts["candidates"]
    }
    worst = max(shares, key=shares.get, default=None)
    return (worst, shares[worst]) if len(shares) > 1 and shares[worst] else None
