"""report.json -> what the terminal shows of it: a line for each benchmark, what to act on, and where the page is."""

import textwrap

from synthmed_tf.reporting import beside_baseline, values
from synthmed_tf.reporting.spelling import spell_brackets, spell_mean, spell_number, spell_percent

MOST_LINES = 15
WIDTH = 100  # columns
INDENT = " " * 17  # of a line that goes on


def headline(report, page):
    """At most MOST_LINES lines, each of at most WIDTH columns but for the path, ASCII where names are.

    Args:
      report: dict, the content of report.json. Sections may be missing or {"unavailable": why}.
      page: path of report.html.
    """
    lines = _wrap(_describe_sets(report), 2)
    for name, summarise in SUMMARIES.items():
        if values.is_measured(report.get(name)):
            lines += _wrap(f"  {name:<15}{summarise(report[name])}", 1)
    if report.get("baseline"):
        lines += _wrap(f"  {'baseline':<15}{_summarise_baseline(report)}", 1)
    warnings = [line for warning in list_warnings(report) for line in _wrap(f"Warning: {warning}", 4)]
    room = MOST_LINES - 1 - len(lines)
    if len(warnings) > room:
        warnings = [*warnings[: room - 1], "... more warnings stand in report.html"]
    is_private = report["real_images_shown"] and not values.is_drawn(report)
    private = " (private: pictures of real patients)" if is_private else ""
    return "\n".join([*lines, *warnings, f"Report{private}: {page}"])


def list_warnings(report):
    """Sentences on what the user must act on: near copies beyond chance, a blind audit, what could not be measured."""
    warnings = []
    if values.is_measured(report.get("privacy")):
        warnings += _warn_of_copies(values.list_views(report["privacy"]), "privacy", "images")
    if values.is_measured(copies := report.get("copies")) and values.is_measured(copies["likeness"]):
        warnings += _warn_of_copies(values.list_audits(copies), "copies", "masks")
        judgement = values.judge_masks(copies)
        if judgement == "membership":
            warnings.append("the synthetic masks are more like those that were learned from than like others.")
        if judgement == "blind":
            warnings.append("the audit of masks misses copies that were planted, so it does not rule copies out.")
    reasons = {}
    for name in SUMMARIES:
        if report.get(name) and not values.is_measured(report[name]):
            reasons.setdefault(report[name]["unavailable"], []).append(name)
    return warnings + [f"no {', '.join(names)}. {reason}" for reason, names in reasons.items()]


def _warn_of_copies(audits, section, what):
    outstanding = {name: audit for name, audit in audits.items() if values.stands_out(audit)}
    if not outstanding:
        return []
    where = ", ".join(f"{section}.{name}.near_copy_list" for name in outstanding)
    return [
        f"more near copies of training {what} than chance gives. "
        f"Leave out the {values.count_listed(outstanding)} that report.json lists under {where}."
    ]


def _describe_sets(report):
    counts = values.count_samples(report)
    size = "{} x {} pixels".format(*report["real"]["image_size"])
    made = "synthetic" if counts["synthetic"] is None else f"{counts['synthetic']} synthetic"
    return (
        f"{report['real']['name']}: {made} beside {counts['real']} real images of {size}; "
        f"held out: {counts['test'] or 'none'}"
    )


def _summarise_segmentation(segmentation):
    synthetic, real = (
        spell_mean(segmentation["arms"][arm]["f1"]["fov_pooled"], sign="+/-") for arm in ("synthetic", "real")
    )
    ratio = f"{spell_number(segmentation['ratio'])} {spell_brackets(segmentation['ratio_interval'])}".rstrip()
    return f"F1 {synthetic} (after real pairs {real}); ratio {ratio}"


def _summarise_classification(classification):
    drops = values.list_drops(classification)
    if not drops:
        return "no classifier was right once after real images"
    worst = drops[-1]
    arms = classification["tasks"][worst["task"]][worst["model"]]
    synthetic, real = (spell_number(arms[arm]["accuracy"]["mean"]) for arm in ("synthetic", "real"))
    return (
        f"accuracy {synthetic} (real {real}): lost {spell_percent(worst['drop'])}, most of {len(drops)} "
        f"({values.MODELS[worst['model']]}, {worst['task']})"
    )


def _summarise_distribution(distribution):
    kl = distribution["kl_intensity"]
    matched, floor = (spell_mean(kl[pair]["grey"], ".2g", "+/-") for pair in ("synthetic_vs_half", "real_vs_real"))
    return f"KL of grey levels {matched} (real halves {floor})"


def _summarise_fidelity(fidelity):
    def spell(kind, metric, key):
        return spell_number(fidelity[kind][metric][key]["mean"], ".2f")

    cells = [
        (spell(kind, metric, "synthetic_vs_real"), spell(kind, metric, "real_vs_real"))
        for kind in ("photographs", "masks")
        if kind in fidelity
        for metric in ("precision", "coverage")
    ]
    (precision, floor), coverage, *of_masks = cells
    line = f"precision {precision} (real {floor}), coverage {coverage[0]} ({coverage[1]})"
    return line + (f"; masks {', '.join(f'{value} ({floor})' for value, floor in of_masks)}" if of_masks else "")


def _summarise_morphology(morphology):
    near, count = values.count_near_shapes(morphology)
    return f"{near} of {count} measures of shape within twice the distance of real test masks"


def _summarise_copies(copies):
    audits = list(values.list_audits(copies).values())
    if not audits:
        floor = copies["test_to_training"]
        nearest = spell_number(copies["synthetic_to_training"]["min"])
        return f"nearest training mask at {nearest} (real test masks {spell_number(floor['min']) if floor else 'none'})"
    masks, halves = audits
    return (
        f"near copies: {masks['near_copies']} of {masks['protocol']['synthetic']} masks "
        f"(chance: up to {masks['by_chance_at_most']}), {halves['near_copies']} of {halves['protocol']['synthetic']} "
        f"halves ({halves['by_chance_at_most']})"
    )


def _summarise_privacy(privacy):
    structure, shading = values.list_views(privacy).values()
    return (
        f"near copies: {structure['near_copies']} of {privacy['protocol']['synthetic']} by structure "
        f"(chance: up to {structure['by_chance_at_most']}), {shading['near_copies']} by shading "
        f"({shading['by_chance_at_most']})"
    )


def _summarise_lungs(lungs):
    floor = "none held out" if lungs["held_out"] is None else f"held-out real {spell_percent(lungs['held_out'])}"
    return f"{spell_percent(lungs['synthetic'])} of the X-rays have a distorted body ({floor})"


def _summarise_baseline(report):
    judgements = [row["judgement"] for row in beside_baseline.compare_with_baseline(report)]
    if not judgements:
        return "no number that both sets have; run evaluate.py with --benchmarks=distribution,fidelity"
    better, equal, worse = (judgements.count(judgement) for judgement in ("better", "equal", "worse"))
    return f"better on {better} of {len(judgements)} shared numbers, equal on {equal}, worse on {worse}"


SUMMARIES = {
    "segmentation": _summarise_segmentation,
    "classification": _summarise_classification,
    "distribution": _summarise_distribution,
    "fidelity": _summarise_fidelity,
    "morphology": _summarise_morphology,
    "copies": _summarise_copies,
    "privacy": _summarise_privacy,
    "lungs": _summarise_lungs,
}


def _wrap(text, most):
    """A text as at most `most` lines; what does not fit is cut, and what cannot be printed becomes "?"."""
    text = "".join(character if character.isprintable() else "?" for character in text)
    return textwrap.wrap(
        text,
        WIDTH,
        subsequent_indent=INDENT if text.startswith(" ") else "  ",
        break_on_hyphens=False,  # --flags stay whole
        max_lines=most,
        placeholder=" ...",
    )
