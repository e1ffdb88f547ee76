"""The rows of the page's larger tables, as text: report.json -> cells."""

from synthmed_tf.metrics.accuracy import relative_drop
from synthmed_tf.metrics.f1 import METRICS
from synthmed_tf.reporting import published
from synthmed_tf.reporting.spelling import spell_mean, spell_number, spell_percent, spell_span
from synthmed_tf.reporting.values import MODELS, list_arms, order_models

METRIC_NAMES = {
    "f1": "F1",
    "f1_macro": "macro F1",
    "auc_roc": "AUC-ROC",
    "auc_pr": "AUC-PR",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "accuracy": "accuracy",
}
CONVENTION_NAMES = {
    "fov_pooled": "Inside the field of view, all images pooled",
    "fov_per_image": "Inside the field of view, mean of the images",
    "whole_image": "Whole image, black surround included, pooled",
}
ARM_NAMES = {"real": "real", "synthetic": "synthetic", "real_and_synthetic": "both"}  # of the classification benchmark
LEFT_OUT = ("shards", "features", "schema_version")  # of a manifest
SHOWN_WITHOUT_IMAGES = ("name", "counts", "image_size", "channels", "versions", "git_commit")  # of the real manifest


def list_scores(segmentation, arms, observer=None):
    """[(convention, [(metric, cells)])] of `arms`, a part of `segmentation`, and of a second observer."""
    groups = []
    for convention, convention_name in CONVENTION_NAMES.items():
        rows = []
        for metric in METRICS:
            cells = [spell_mean(arms[arm][metric][convention]) for arm in list_arms(segmentation)]
            if observer:
                score = observer[metric][convention]
                cells.append("none" if metric.startswith("auc") and score is None else spell_number(score))
            rows.append((METRIC_NAMES[metric], cells))
        groups.append((convention_name, rows))
    return groups


def list_literature(segmentation):
    """[(who, F1, AUC-ROC)] at native resolution in the field of view: this run, the second observer, published ones."""
    native = segmentation["native"]
    rows = [
        (
            f"this run, learned from {label if arm == 'real_and_synthetic' else label + ' pairs'}",
            *(spell_mean(native["arms"][arm][metric]["fov_pooled"]) for metric in ("f1", "auc_roc")),
        )
        for arm, label in list_arms(segmentation).items()
    ]
    if observer := native["second_observer"]:
        score = spell_number(observer["f1"]["fov_pooled"])
        rows.append(("a second person (second observer)", score, "none: a person gives yes or no"))
    return rows + list(published.LITERATURE)


def list_accuracies(classification):
    """[(task, its classes, [(model, real, synthetic, drop, both, P2's real and synthetic, P2's drop)])].

    The cells of this run are (number, interval).
    """
    groups = []
    for task, models in classification["tasks"].items():
        rows = []
        for model, arms in order_models(models):
            real, synthetic, both = (_spell_with_interval(arms[arm]["accuracy"]) for arm in ARM_NAMES)
            drop = spell_percent(arms["relative_drop"]), spell_span(arms["relative_drop_interval"], ".1f", 100)
            theirs = published.P2_TABLE_3.get(task, {}).get(model)
            p2 = ("none", "none")
            if theirs:
                p2 = f"{theirs[0]:.2f} and {theirs[1]:.2f}", spell_percent(relative_drop(*theirs))
            rows.append((MODELS[model], real, synthetic, drop, both, *p2))
        targets = [*dict.fromkeys(classification["classes"][task].values())]
        beside = f"; P2: {published.P2_IMAGES[task]}" if task in published.P2_IMAGES else ""
        classes = " or ".join(targets) if len(targets) < 4 else f"{len(targets)} classes"
        groups.append((task, f"{classes}{beside}", rows))
    return groups


def list_other_scores(classification):
    """[(task and model, balanced accuracy of each arm, AUC of each arm)], each cell (number, interval)."""
    return [
        (
            f"{task}: {MODELS[model]}",
            *(
                _spell_with_interval(arms[arm][metric], ".2f")
                for metric in ("balanced_accuracy", "auc")
                for arm in ARM_NAMES
            ),
        )
        for task, models in classification["tasks"].items()
        for model, arms in order_models(models)
    ]


def list_counts(classification):
    """[(task, real, synthetic, both, tested on, training steps of VGG16)]: how many images."""
    return [
        (
            f"by {task}",
            *(sum(counts[arm].values()) for arm in (*ARM_NAMES, "test")),
            classification["steps"].get(task) or "none",
        )
        for task, counts in classification["counts"].items()
    ]


def list_parameters(classification):
    """[(task and model, learned from, the parameters of each training)]."""
    return [
        (f"{task}: {MODELS[model]}", ARM_NAMES[arm], "; ".join(map(_spell_parameters, trainings)))
        for task, models in classification["parameters"].items()
        for model, arms in order_models(models)
        for arm, trainings in arms.items()
    ]


def list_provenance(report):
    """[(title, [(key, value)])] of the manifests. Without real images, the real set's are counts and versions only."""
    real, synthetic, photographs = report["real"], report["synthetic"], report.get("photographs")
    if not report["real_images_shown"]:
        real = {key: real[key] for key in SHOWN_WITHOUT_IMAGES if key in real}
        photographs = None
    manifests = [("Synthetic set", synthetic), ("Real set", real)]
    if report.get("baseline"):
        manifests.insert(1, ("Baseline", report["baseline"]["synthetic"]))
    if photographs:
        manifests.append(("Photographs that stage 2 learned from", photographs))
    groups = [("This report", [("command", report["command"])])]
    for title, manifest in manifests:
        rows = list(_flatten({key: value for key, value in (manifest or {}).items() if key not in LEFT_OUT}))
        groups.append((title, rows or [("manifest", "none: another program made this set")]))
    return groups


def _spell_with_interval(entry, spec=".3f"):
    return spell_mean(entry, spec), spell_span(entry["interval"], spec)


def _spell_parameters(training):
    parts = []
    for name, value in training.items():
        if isinstance(value, float):
            value = f"{value:.3g}"
        elif isinstance(value, list):
            value = " ".join(map(str, value))
        parts.append(f"{name.replace('_', ' ')} {value}")
    return ", ".join(parts)


def _flatten(value, key=""):
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flatten(inner, f"{key} · {name}" if key else str(name))
    elif isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        for place, inner in enumerate(value, 1):
            yield from _flatten(inner, f"{key} {place}")
    else:
        yield key, "unknown" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
