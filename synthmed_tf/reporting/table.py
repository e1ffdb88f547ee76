"""report.json -> the headline as a plain table for the terminal, and how every number of a report is spelt."""

import math

from synthmed_tf.metrics.fidelity import METRICS
from synthmed_tf.metrics.kid_fid import ENOUGH_FOR_FID
from synthmed_tf.metrics.likeness import VIEWS

ARMS = {"real": "real", "synthetic_50": "50 synthetic", "synthetic": "synthetic", "real_and_synthetic": "both"}
DISTANCES = ("kid", "fid")  # of metrics.kid_fid, where the others are shares: less is better
WIDTH = 100  # columns of the terminal table
P1_F1 = {"synthetic": 0.8877, "real": 0.8988}  # P1 section 10, on DRIVE
P1_KL = {"synthetic_vs_real": 4.759, "real_vs_real": 4.212e-4}  # P1 section 10, on DRIVE
MODELS = {"vgg16": "VGG16", "knn": "k-NN", "svm": "SVM", "random_forest": "random forest"}
P2_TABLE_3 = {  # P2 table 3: accuracy trained on real, on artificial images
    "class": {"vgg16": (0.96, 0.93), "knn": (0.94, 0.87), "svm": (0.90, 0.85), "random_forest": (0.93, 0.86)},
    "gender": {"vgg16": (0.90, 0.88), "knn": (0.84, 0.78), "svm": (0.82, 0.74), "random_forest": (0.83, 0.72)},
    "age group": {"vgg16": (0.86, 0.83), "knn": (0.80, 0.73), "svm": (0.79, 0.71), "random_forest": (0.80, 0.70)},
}
P2_DROPS = "2.2 to 3.5 % with VGG16, 5.6 to 13.3 % with the others"  # P2 table 3; its text rounds them to 5.5 and 13.25


def text(report):
    """The headline of a report as plain text of at most 100 columns, ASCII where the name of the data set is.

    Args:
      report: dict, the content of report.json. Sections may be missing or {"unavailable": why}.
    """
    lines = [f"{name(report)}: {sizes(report)}", ""]
    if shows(report, "segmentation"):
        lines += _useful(section(report, "segmentation")) + [""]
    if shows(report, "classification"):
        lines += _told_apart(section(report, "classification")) + [""]
    lines += _faithful(section(report, "distribution"))
    lines += _fidelity(section(report, "fidelity"))
    if shows(report, "morphology"):
        lines += _shapes(section(report, "morphology"))
    if shows(report, "copies"):
        lines += ["", *_copied(section(report, "copies"))]
    lines += [f"  {line}" for line in filtered(report)]
    lines += ["", *_private(section(report, "privacy"))]
    lines += _baseline(report)
    return "\n".join(part for line in lines for part in _wrap(_printable(line)))


def arms_of(segmentation):
    """{arm: label} of the arms that a segmentation benchmark has, in the order of the tables."""
    return {arm: label for arm, label in ARMS.items() if arm in segmentation["arms"]}


def section(report, key):
    """A section of the report, or {"unavailable": why} where it is missing."""
    return report.get(key) or {"unavailable": f"Run evaluate.py with --benchmarks={key} to measure it."}


def shows(report, key):
    """Whether a report has something to say of a benchmark:
    of classes only if it has them, of masks unless it has classes only.
    """
    return key in report or (key != "classification" and "classification" not in report)


def name(report):
    """Name of the real data set."""
    return str((report.get("real") or {}).get("name", "unnamed data set"))


def sizes(report):
    """Image size and counts in words."""
    segmentation, classification = section(report, "segmentation"), section(report, "classification")
    size = segmentation.get("image_size") or (report.get("synthetic") or {}).get("image_size")
    parts = [f"{size[0]} x {size[1]} pixels"] if size else []
    if "unavailable" not in segmentation:
        parts += [
            f"{segmentation['real_pairs']} real and {segmentation['synthetic_pairs']} synthetic pairs to learn from",
            f"{segmentation['test_images']} real images to test on",
        ]
    if "unavailable" not in classification:
        most = {
            arm: max(sum(counts[arm].values()) for counts in classification["counts"].values())
            for arm in ("real", "synthetic", "test")
        }
        parts += [
            f"up to {most['real']} real and {most['synthetic']} synthetic images to learn from, {most['test']} real images to test on"
        ]
    return ", ".join(parts) or "sizes unknown"


def number(value, spec=".3f"):
    """A number in words where it is none: None, NaN and infinities are "not defined"."""
    return format(value, spec) if _is_number(value) else "not defined"


def mean_sd(entry, spec=".3f", sign="+/-"):
    """{"mean", "sd"} as "0.761 +/- 0.004"; the mean alone where one run has no spread."""
    if not entry or not _is_number(entry.get("mean")):
        return "not defined"
    spread = f" {sign} {entry['sd']:{spec}}" if _is_number(entry.get("sd")) else ""
    return f"{entry['mean']:{spec}}{spread}"


def score(arms, arm, metric="f1", convention="fov_pooled"):
    """arms[arm][metric][convention], {} where any of them is missing."""
    return (((arms or {}).get(arm) or {}).get(metric) or {}).get(convention) or {}


def runs_in_words(repeats):
    """What stands behind a "+/-"."""
    return "one run, spread unknown" if repeats == 1 else f"mean +/- sd of {repeats} runs"


def _useful(segmentation):
    if "unavailable" in segmentation:
        return ["Useful?    " + segmentation["unavailable"]]
    native = segmentation.get("native") or {}
    columns = (  # heading, arms, metric, convention
        ("F1", segmentation["arms"], "f1", "fov_pooled"),
        ("AUC-ROC", segmentation["arms"], "auc_roc", "fov_pooled"),
        ("macro F1, whole", segmentation["arms"], "f1_macro", "whole_image"),
        ("native F1", native.get("arms"), "f1", "fov_pooled"),
    )
    columns = [column for column in columns if column[1]]
    row = "  {:<20}" + "{:>19}" * len(columns)
    lines = [
        f"Useful?    F1 and AUC on real test images, pooled in the field of view; {runs_in_words(segmentation['repeats'])}",
        row.format("learned from", *(column[0] for column in columns)),
    ]
    for arm, label in arms_of(segmentation).items():
        lines.append(row.format(label, *(mean_sd(score(arms, arm, *which)) for _, arms, *which in columns)))
    if observer := native.get("second_observer"):
        cells = [
            number(observer.get("f1", {}).get("fov_pooled")) if arms is native["arms"] else ""
            for _, arms, *_ in columns
        ]
        lines.append(row.format("a second person", *cells))
    with_50 = f", with 50 pairs {measured(segmentation, 'ratio_50')}" if "ratio_50" in segmentation else ""
    lines.append(f"  synthetic / real   {measured(segmentation, 'ratio')}{with_50}")
    lines.append(
        f"  the same, macro F1 {number(macro_ratio(segmentation))}   (P1 on DRIVE, in all likelihood: 0.888 / 0.899 = 0.988)"
    )
    if "gain" in segmentation:
        lines.append(
            f"  both less real     {measured(segmentation, 'gain')}   [what 95 % of other draws of the test images give]"
        )
    if agreement := segmentation.get("agreement"):
        found = mean_sd(agreement["f1"]["fov_pooled"])
        lines.append(f"  agreement          {found}   (learned from real, tested on the synthetic pairs: F1)")
    return lines


def macro_ratio(segmentation):
    """Macro F1 on whole images, synthetic / real: by all likelihood the measure of P1 section 10. None: undefined."""
    synthetic, real = (
        score(segmentation["arms"], arm, "f1_macro", "whole_image").get("mean") for arm in ("synthetic", "real")
    )
    return synthetic / real if real and synthetic is not None else None


def measured(section, name, spec=".3f"):
    """The number `name` of a part of the report and, where it was measured, its interval."""
    return f"{number(section.get(name), spec)} {extent(section.get(f'{name}_interval'), spec)}".rstrip()


def _told_apart(classification):
    if "unavailable" in classification:
        return ["Useful?    " + classification["unavailable"]]
    row = "  {:<10}{:<14}{:>21}{:>21}{:>9}{:>21}"
    repeats = classification["repeats"]
    behind = f"mean of {repeats} trainings" if repeats > 1 else "one training"
    lines = [
        f"Useful?    accuracy on real test images [95 % interval], {behind} each",
        row.format("task", "learned from", "real", "synthetic", "drop", "both"),
    ]
    for task, models in classification["tasks"].items():
        for model, arms in in_order(models):
            found = [arms[arm]["accuracy"] for arm in ("real", "synthetic", "real_and_synthetic")]
            cells = [f"{number(entry['mean'])} {extent(entry['interval'])}" for entry in found]
            lines.append(row.format(task, MODELS[model], *cells[:2], percent(arms["relative_drop"]), cells[2]))
    return [*lines, f"  P2, on its own images, lost {P2_DROPS}"]


def in_order(models):
    """[(model, value)] of {model: value}, in the order of P2's table 3."""
    return [(model, models[model]) for model in MODELS if model in models]


def extent(interval, spec=".3f"):
    """[low, high] as text, nothing where there is none."""
    return f"[{interval[0]:{spec}}, {interval[1]:{spec}}]" if interval else ""


def percent(share):
    """A share as a percentage with one digit."""
    return number(None if share is None else 100 * share, ".1f") + (" %" if _is_number(share) else "")


def extreme_drops(classification):
    """((drop, task, model) of the least, the same of the greatest) relative drop; None where none is defined."""
    found = [
        (arms["relative_drop"], task, model)
        for task, models in classification["tasks"].items()
        for model, arms in models.items()
        if _is_number(arms["relative_drop"])
    ]
    return (min(found), max(found)) if found else None


def _faithful(distribution):
    if "unavailable" in distribution:
        return ["Faithful?  " + distribution["unavailable"]]
    kl = distribution["kl_intensity"]
    ours, floor = number(kl["synthetic_vs_real"].get("grey"), ".3g"), mean_sd(kl["real_vs_real"].get("grey"), ".2g")
    matched = mean_sd(kl.get("synthetic_vs_half", {}).get("grey"), ".2g")
    others = "no image is held out"
    if "grey" in kl.get("synthetic_vs_held_out", {}):
        others = "held-out images: to synthetic ones {}, to those learned from {}".format(*to_held_out(kl, "grey"))
    return [
        f"Faithful?  KL(real || synthetic) of grey levels {ours}",
        f"  two halves of the real set {floor}; a half and as many synthetic images {matched}",
        f"  {others}",
        f"  P1 on DRIVE: {P1_KL['synthetic_vs_real']} and {P1_KL['real_vs_real']:.3e}",
    ]


def to_held_out(kl, channel):
    """KL(held-out || synthetic) and KL(held-out || real) of report.json's "kl_intensity", in words."""
    values = [kl.get(of, {}).get(channel) for of in ("synthetic_vs_held_out", "real_vs_held_out")]
    return [number(value, ".3g") if value is not None else "none held out" for value in values]


def _fidelity(fidelity):
    if "unavailable" in fidelity:
        return ["  fidelity and diversity: " + fidelity["unavailable"]]
    row = "  {:<23}" + " {:>14}" * len(METRICS)
    lines = [row.format("synthetic (floor)", *METRICS)]
    for kind, figures in fidelity.items():
        cells = {}
        for metric in (*METRICS, "fid"):
            if metric in figures:
                spec = ".3g" if metric in DISTANCES else ".2f"
                ours, floor = (figures[metric][key]["mean"] for key in ("synthetic_vs_real", "real_vs_real"))
                cells[metric] = f"{number(ours, spec)} ({number(floor, spec)})"
        lines.append(row.format(kind, *(cells[metric] for metric in METRICS)))
        if "fid" in cells:
            lines.append(f"  FID on Inception: {cells['fid']}. {too_few_for_fid(figures) or ''}".rstrip())
    return lines


def too_few_for_fid(figures):
    """A warning where a part of report.json's "fidelity" has an FID of few images; else None."""
    size = figures["protocol"]["subset_size"]
    if "fid" not in figures or size >= ENOUGH_FOR_FID:
        return None
    return f"FID of {size} images is too large, as of any fewer than {ENOUGH_FOR_FID:,}: set it beside its floor alone."


def within_floor(morphology):
    """(statistics whose distance is at most twice its floor, statistics that have both)."""
    known = [entry for entry in morphology.values() if _is_number(entry["distance"]) and _is_number(entry["floor"])]
    return sum(entry["distance"] <= 2 * entry["floor"] for entry in known), len(known)


def _shapes(morphology):
    if "unavailable" in morphology:
        return ["  shapes of masks: " + morphology["unavailable"]]
    near, known = within_floor(morphology)
    found = [
        f"{key} {number(entry['distance'], '.2f')} ({number(entry['floor'], '.2f')})"
        for key, entry in morphology.items()
    ]
    verdict = f"{near} of {known} lie within twice their floor" if known else "no floor to compare with"
    return [f"  shapes of masks, distance in real standard deviations (floor): {', '.join(found)}; {verdict}"]


def filtered(report):
    """Sentences: what the filters did to the masks of stage 1 and to the images of a single GAN, and how many X-rays have a
    distorted body.
    """
    manifest = report.get("synthetic") or {}
    sentences = []
    if found := (manifest.get("stage1") or {}).get("filter"):
        kept = found["too_near"]
        near = f"; {kept} are there all the same, as there was no better one" if kept else ""
        sentences.append(
            f"Of {found['candidates']} masks made, {found['rejected']} were rejected, as they lie nearer to a training mask "
            f"than the two nearest training masks do to each other, or are, or have a half that is, more like one "
            f"than the two most similar training masks are{near}."
        )
    if (found := manifest.get("filter")) and found.get("candidates"):
        refused = found["rejected"] + found.get("too_far", 0)
        kept = (
            f"; {found['too_far']} of them are there all the same, as there was no better one"
            if found.get("too_far")
            else ""
        )
        classes = {name: each for name, each in found.get("classes", {}).items() if each["candidates"]}
        shares = {name: (each["rejected"] + each["too_far"]) / each["candidates"] for name, each in classes.items()}
        most = max(shares, key=shares.get, default=None)
        worst = f" Most in the class {most}: {percent(shares[most])}." if len(shares) > 1 and shares[most] else ""
        sentences.append(
            f"Of {found['candidates']} images made, {refused} ({percent(refused / found['candidates'])}) had a wrong overall shape by their average "
            f"hash{kept} (P2 section 3.2; it saw 40 to 60 % with its DCGANs).{worst}"
        )
    if found := report.get("lungs"):
        floor = f", {percent(found['held_out'])} of the held-out real ones" if found["held_out"] is not None else ""
        sentences.append(
            f"{percent(found['synthetic'])} of the synthetic X-rays have a distorted body by the place and size of their lungs{floor}."
        )
    return sentences


def _copied(copies):
    if "unavailable" in copies:
        return ["Copied?    " + copies["unavailable"]]
    rows = (("synthetic masks", "synthetic_to_training"), ("real test masks", "test_to_training"))
    lines = ["Copied?    distance to the nearest training mask, 0 = the same, 1 = nothing in common"]
    for label, key in rows:
        found = copies.get(key)
        values = f"closest {number(found['min'])}, median {number(found['median'])}" if found else "none to measure"
        lines.append(f"  {label:<20}{values}")
    pairs = [
        (label, copies.get(key))
        for label, key in (("synthetic", "closest_synthetic_pair"), ("real", "closest_real_pair"))
    ]
    alike = ", ".join(f"{label} {number(pair['distance']) if pair else 'fewer than two'}" for label, pair in pairs)
    lines += [f"  {'two most alike':<20}{alike}"]
    if "unavailable" in copies.get("likeness", {"unavailable": ""}):
        return lines
    row = "  {:<44}{:>26}"
    lines += ["  likeness to the likest training mask, 1 = the same mask; this sees copies that were moved a little"]
    lines += [row.format(*cells) for cells in mask_rows(copies)]
    return lines + [f"  {compared(copies['likeness']['protocol'], 'masks')}"]


def _private(privacy):
    if "unavailable" in privacy:
        return ["Private?   " + privacy["unavailable"]]
    row = "  {:<44}" + "{:>26}" * len(VIEWS)
    lines = ["Private?   likeness of images to the likest training image, 1 = the same picture", row.format("", *VIEWS)]
    lines += [row.format(*cells) for cells in privacy_rows(privacy)]
    return lines + [f"  {compared(privacy['protocol'], 'images')}"]


def is_thinned(protocol):
    """Whether an audit left some images out."""
    return any(protocol[name] < count for name, count in protocol["of"].items())


def compared(protocol, what):
    """How many images, or masks, an audit compared, in a sentence."""

    def some(name, counts):
        of = protocol["of"][name]
        return f"all {of:,}" if counts[name] == of else f"{counts[name]:,} of {of:,}"

    others = "; nothing is said of the others" if is_thinned(protocol) else ""
    held_out = f", and {some('held_out', protocol)} held-out {what}" if protocol["held_out"] else ""
    sentence = f"Compared: {some('synthetic', protocol)} synthetic {what} with {some('training', protocol)} training {what}{held_out}{others}."
    fewer = protocol["relabelled"]
    if protocol["held_out"] and any(fewer[name] < protocol[name] for name in fewer):
        guessed, nearer = (
            " and ".join(f"{some(name, fewer)} {label}" for name, label in names)
            for names in (
                (("training", "training"), ("held_out", "held-out ones")),
                (("synthetic", "synthetic ones"),),
            )
        )
        sentence += f" For the guesses, and for what is nearer, {guessed} were taken; for the latter {nearer}."
    return sentence


def mask_rows(copies):
    """[(what, one cell)] of the audit of masks and of their halves by likeness."""
    audits = (("masks", copies.get("likeness")), ("halves of masks", copies.get("halves")))
    return [
        row
        for what, found in audits
        if found and "unavailable" not in found
        for row in _audit_rows([found], found["protocol"], what)
    ]


def privacy_rows(privacy):
    """[(what, one cell for each of metrics.likeness.VIEWS)] of the audit of images."""
    if "unavailable" in privacy:
        return []
    return _audit_rows([privacy[view] for view in VIEWS], privacy["protocol"], "images")


def _audit_rows(found, protocol, what):
    def cells(key, text):
        return ["none to measure" if each[key] is None else text(each[key]) for each in found]

    def likeness(entry):
        return f"{number(entry['max'])}, {number(entry['median'])}"

    def share(entry):
        return f"{number(entry['share'], '.2f')} ({' to '.join(number(each, '.2f') for each in entry['chance'])})"

    def auc(entry):
        return f"{number(entry['mean'], '.2f')} {extent(entry['interval'], '.2f')}"

    def sure(entry):
        return f"{percent(entry['true_positive_rate'])} ({percent(entry['true_positives_by_chance'])})"

    control = f"held-out {what}" if protocol["held_out"] else f"training {what} of other patients"
    wrong = f"found with 1 of {protocol['relabelled']['held_out']} held-out wrong (by chance)"
    near = [
        f"{each['near_copies']} ({number(each['by_chance'], '.1f')}, {each['by_chance_at_most']})" for each in found
    ]
    return [
        (f"synthetic {what}: likest, median", *cells("synthetic_to_training", likeness)),
        (f"{control}: likest, median", *cells("control_to_training", likeness)),
        (f"near copies of {protocol['synthetic']} {what} (by chance, at most)", *near),
        ("nearer to training than held-out (by chance)", *cells("closer_to_training", share)),
        ("AUC of guessing who was learned from", *cells("membership", auc)),
        *([(wrong, *cells("membership", sure))] if protocol["held_out"] else []),
        *(
            (f"planted copies found: {name}", *(percent(each["caught"][name]) for each in found))
            for name in found[0]["caught"]
        ),
    ]


def shared(report):
    """What the synthetic set and the baseline were both measured by.

    Returns:
      [(number, "lower" or "higher", synthetic set, baseline, floor, verdict)], the three {"mean", perhaps "sd"} or
      None, lower or higher being better; the verdict on the synthetic set is "better", "worse" or, where the means
      differ by no more than the larger spread, "equal". Beyond the floor, which real images reach, nothing is better:
      one picture again and again has a higher density than real images, and noise lies farther from training masks.
      Numbers that are not defined for one of the two sets are left out.
    """
    rows, of_set, of_baseline = [], _measures(report), _measures(report["baseline"])
    for measure, (direction, ours, floor) in of_set.items():
        theirs = of_baseline[measure][1] if measure in of_baseline else {"mean": None}
        if _is_number(ours["mean"]) and _is_number(theirs["mean"]):
            means = [ours["mean"], theirs["mean"]]
            if floor and _is_number(floor["mean"]):
                means = [(min if direction == "higher" else max)(mean, floor["mean"]) for mean in means]
            gain = (means[0] - means[1]) * (1 if direction == "higher" else -1)
            spread = max(each.get("sd") or 0 for each in (ours, theirs))
            verdict = "equal" if abs(gain) <= spread else "better" if gain > 0 else "worse"
            rows.append((measure, direction, ours, theirs, floor, verdict))
    return rows


def unlike(report):
    """Sentences on what else than quality makes the numbers of the baseline other ones."""
    found = []
    learned = [(manifest or {}).get("real") for manifest in (report.get("synthetic"), report["baseline"]["synthetic"])]
    if all(learned):
        ours, theirs = (
            f"{real.get('name')} ({real.get('counts', {}).get('train')} images, holdout {real.get('holdout', 0)})"
            for real in learned
        )
        if ours != theirs:
            found.append(f"The baseline learned from other real images, {theirs}, than the synthetic set, {ours}.")
    fidelity, copies = (
        [_measured(part, key) for part in (report, report["baseline"])] for key in ("fidelity", "copies")
    )
    for what, counts, changes in (
        (
            "Images compared at a time",
            [each["photographs"]["protocol"]["subset_size"] for each in fidelity if each],
            "precision, recall, density and coverage change",
        ),
        (
            "Masks",
            [len(each["nearest_training_mask"]) for each in copies if each],
            "the smallest distance and the distances of shapes shrink",
        ),
    ):
        if len(set(counts)) > 1:
            found.append(
                f"{what}: {counts[0]} of the synthetic set, {counts[1]} of the baseline; {changes} with that number alone."
            )
    return found


def _measured(part, key):
    """A section of the report, {} where it is missing or unavailable."""
    return {} if "unavailable" in section(part, key) else part[key]


def _measures(part):
    """{number: ("lower" or "higher" is better, {"mean"}, floor {"mean"} or None)} of a report or its baseline."""
    found = {}
    if kl := _measured(part, "distribution").get("kl_intensity"):
        for channel in ("grey", "red", "green", "blue"):
            ours = kl.get("synthetic_vs_half", {}).get(channel, {"mean": None})
            found[f"KL of intensities, {channel}"] = ("lower", ours, kl["real_vs_real"].get(channel))
            others = [{"mean": kl.get(of, {}).get(channel)} for of in ("synthetic_vs_held_out", "real_vs_held_out")]
            found[f"KL to held-out images, {channel}"] = ("lower", *others)
    for kind, figures in _measured(part, "fidelity").items():
        for metric in (*METRICS, "fid"):
            label, direction = (metric.upper(), "lower") if metric in DISTANCES else (metric, "higher")
            if metric in figures:
                ours, floor = (figures[metric][key] for key in ("synthetic_vs_real", "real_vs_real"))
                found[f"{label} of {kind}"] = (direction, ours, floor)
    for statistic, entry in _measured(part, "morphology").items():
        label = f"distance of shapes, {statistic.replace('_', ' ')}"
        found[label] = ("lower", {"mean": entry["distance"]}, {"mean": entry["floor"]})
    if copies := _measured(part, "copies"):
        for key, label in (("min", "smallest"), ("median", "median")):
            floor = copies["test_to_training"] and {"mean": copies["test_to_training"][key]}
            found[f"{label} distance to training masks"] = (
                "higher",
                {"mean": copies["synthetic_to_training"][key]},
                floor,
            )
    return found


def _baseline(report):
    if not report.get("baseline"):
        return []
    rows = shared(report)
    if not rows:
        return ["", "Baseline   no number that both sets have; run evaluate.py with --benchmarks=distribution,fidelity"]
    found = {
        wanted: [
            f"{measure} {number(ours['mean'], '.3g')} (baseline {number(theirs['mean'], '.3g')})"
            for measure, _, ours, theirs, _, verdict in rows
            if verdict == wanted
        ]
        for wanted in ("better", "equal", "worse")
    }
    line = f"Baseline   synthetic set better on {len(found['better'])} of {len(rows)} shared numbers"
    return [
        "",
        line + "".join(f"; {verdict}: {', '.join(found[verdict])}" for verdict in ("equal", "worse") if found[verdict]),
        *(f"  {note}" for note in unlike(report)),
    ]


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _printable(line):
    return "".join(character if character.isprintable() else "?" for character in line)


def _wrap(line):
    """Breaks a line at blanks, or within a word that is itself too long, keeping the blanks inside of a row."""
    while len(line) > WIDTH:
        cut = line.rfind(" ", 20, WIDTH + 1)
        cut = cut if cut > 0 else WIDTH
        yield line[:cut].rstrip()
        line = "  " + line[cut:].lstrip()
    yield line
