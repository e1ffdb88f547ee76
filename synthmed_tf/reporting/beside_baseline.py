"""The synthetic set beside a baseline, a second synthetic set that was measured in the same way (P1 figure 7)."""

from synthmed_tf.metrics.fidelity import METRICS
from synthmed_tf.reporting.spelling import is_number
from synthmed_tf.reporting.values import is_measured

CHANNELS = ("grey", "red", "green", "blue")
DISTANCES = ("kid", "fid")  # of metrics.kid_fid, where the others are shares: less is better


def compare_with_baseline(report):
    """What the synthetic set and the baseline were both measured by.

    Beyond the floor, which real images reach, nothing is better: one picture again and again has a higher density than
    real images, and noise lies farther from training masks. Numbers that are not defined for one set are left out.

    Returns:
      [{"number", "direction": "lower" or "higher" is better, "synthetic", "baseline", "floor", "judgement"}]; the three
      are {"mean", perhaps "sd"}, the floor may be None. The judgement on the synthetic set is "better", "worse" or,
      where the means differ by no more than the larger spread, "equal".
    """
    rows, of_set, of_baseline = [], _list_measures(report), _list_measures(report["baseline"])
    for measure, (direction, synthetic, floor) in of_set.items():
        baseline = of_baseline[measure][1] if measure in of_baseline else {"mean": None}
        if is_number(synthetic["mean"]) and is_number(baseline["mean"]):
            row = {"number": measure, "direction": direction, "synthetic": synthetic, "baseline": baseline}
            rows.append(row | {"floor": floor, "judgement": _judge(direction, synthetic, baseline, floor)})
    return rows


def find_differences(report):
    """What else than quality makes the numbers of the baseline other ones.

    Returns:
      {"learned": real manifests, "compared": images compared at a time, "masks": masks}, each a pair (of the synthetic
      set, of the baseline); None where both are the same or one is not known.
    """
    parts = report, report["baseline"]
    learned = [(part["synthetic"] or {}).get("real") for part in parts]
    described = [real and (real["name"], real["counts"].get("train"), real.get("holdout", 0)) for real in learned]
    compared = [
        part["fidelity"]["photographs"]["protocol"]["subset_size"]
        for part in parts
        if is_measured(part.get("fidelity"))
    ]
    masks = [len(part["copies"]["nearest_training_mask"]) for part in parts if is_measured(part.get("copies"))]
    return {
        "learned": learned if all(learned) and described[0] != described[1] else None,
        "compared": compared if len(set(compared)) > 1 else None,
        "masks": masks if len(set(masks)) > 1 else None,
    }


def _judge(direction, synthetic, baseline, floor):
    means = [synthetic["mean"], baseline["mean"]]
    if floor and is_number(floor["mean"]):
        means = [(min if direction == "higher" else max)(mean, floor["mean"]) for mean in means]
    gain = (means[0] - means[1]) * (1 if direction == "higher" else -1)
    spread = max(entry.get("sd") or 0 for entry in (synthetic, baseline))
    return "equal" if abs(gain) <= spread else "better" if gain > 0 else "worse"


def _list_measures(part):
    """{number: ("lower" or "higher" is better, {"mean"}, floor {"mean"} or None)} of a report or its baseline."""
    measures = {}
    sections = ("distribution", "fidelity", "morphology", "copies")
    lists = (_list_divergences, _list_fidelity, _list_shapes, _list_distances)
    for key, list_section in zip(sections, lists, strict=True):
        if is_measured(part.get(key)):
            measures |= list_section(part[key])
    return measures


def _list_divergences(distribution):
    kl, measures = distribution["kl_intensity"], {}
    for channel in CHANNELS:
        synthetic = kl["synthetic_vs_half"].get(channel, {"mean": None})
        measures[f"KL of intensities, {channel}"] = "lower", synthetic, kl["real_vs_real"].get(channel)
        held_out = [{"mean": kl[pair].get(channel)} for pair in ("synthetic_vs_held_out", "real_vs_held_out")]
        measures[f"KL to held-out images, {channel}"] = "lower", *held_out
    return measures


def _list_fidelity(fidelity):
    measures = {}
    for kind, figures in fidelity.items():
        for metric in (*METRICS, "fid"):
            label, direction = (metric.upper(), "lower") if metric in DISTANCES else (metric, "higher")
            if metric in figures:
                entries = (figures[metric][key] for key in ("synthetic_vs_real", "real_vs_real"))
                measures[f"{label} of {kind}"] = direction, *entries
    return measures


def _list_shapes(morphology):
    return {
        f"distance of shapes, {statistic.replace('_', ' ')}": (
            "lower",
            {"mean": entry["distance"]},
            {"mean": entry["floor"]},
        )
        for statistic, entry in morphology.items()
    }


def _list_distances(copies):
    measures = {}
    for key, label in (("min", "smallest"), ("median", "median")):
        floor = copies["test_to_training"] and {"mean": copies["test_to_training"][key]}
        synthetic = {"mean": copies["synthetic_to_training"][key]}
        measures[f"{label} distance to training masks"] = "higher", synthetic, floor
    return measures
