"""What report.html says about the numbers of report.json: its sentences and the rows of its tables, as plain text."""

from synthmed_tf.metrics.accuracy import relative_drop
from synthmed_tf.metrics.f1 import METRICS
from synthmed_tf.metrics.shapes import STATISTICS
from synthmed_tf.reporting import table

STRUCTURES = {"drive": "vessel", "chase_db1": "vessel", "phantom": "vessel", "bubil": "cell"}  # what a mask marks
METRIC_NAMES = {
    "f1": "F1",
    "f1_macro": "macro F1",
    "auc_roc": "AUC-ROC",
    "auc_pr": "AUC-PR",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "accuracy": "accuracy",
}
FIDELITY_NAMES = {
    "precision": "precision: synthetic images that look real",
    "density": "density: how deep among the real ones they lie",
    "recall": "recall: real images that the synthetic set could have made",
    "coverage": "coverage: real images with a synthetic one nearby",
    "kid": "KID: distance of the two sets, 0 = none",
    "fid": "FID: another such distance",
}
CONVENTION_NAMES = {
    "fov_pooled": "Inside the field of view, all images pooled",
    "fov_per_image": "Inside the field of view, mean of the images",
    "whole_image": "Whole image, black surround included, pooled",
}
P2_SETS = {"class": "lymph node tiles, normal or tumour", "gender": "chest X-rays", "age group": "chest X-rays"}
ARM_NAMES = {"real": "real", "synthetic": "synthetic", "real_and_synthetic": "both"}
NOT_COMPARED = "Whether images are copied from the training images was not measured."
FILTERED = (
    "Masks are rejected by their likeness, whole and by halves, to training masks when a set is made, so guesses say more "
    "than copies. "
)
EXPECTED = "As many are expected of honest images, so none of them stands out."
CAUGHT = 0.9  # least share of each kind of planted copies that an audit must find for its silence to mean something
LITERATURE = (  # on DRIVE at native resolution, inside the field of view, pooled: who, F1, AUC-ROC
    ("U-Net (Alom et al. 2018; orobix/retina-unet)", "0.814 to 0.816", "0.9755 to 0.979"),
    ("IterNet (Li et al. 2020)", "0.8205", "0.9816"),
)


def summary(report, structure):
    """What the report says of useful, faithful and private; `structure` is what a mask marks, in the singular."""
    segmentation, classification, distribution, morphology, copies, privacy = (
        table.section(report, key)
        for key in ("segmentation", "classification", "distribution", "morphology", "copies", "privacy")
    )
    painted_after = (report.get("photographs") or {}).get("name")
    return [
        useful(segmentation, structure) if table.shows(report, "segmentation") else told_apart(classification),
        faithful(distribution, morphology, painted_after),
        f"{copied(copies, is_filtered(report)) + ' ' if table.shows(report, 'copies') else ''}{private(privacy)}",
    ]


def useful(segmentation, structure):
    """The first sentence of the summary; `structure` is what a mask marks, in the singular."""
    if "unavailable" in segmentation:
        return f"How useful the set is was not measured: {segmentation['unavailable']}"
    found = {
        arm: table.mean_sd(table.score(segmentation["arms"], arm), sign="±") for arm in table.arms_of(segmentation)
    }
    ratio = segmentation.get("ratio")
    share = "" if ratio is None else f", which is {100 * ratio:.0f} % of that"
    return (
        f"A network that learned from {segmentation['real_pairs']} real pairs finds {structure}s in "
        f"{segmentation['test_images']} real test images with F1 {found['real']}; the same network that learned from "
        f"{segmentation['synthetic_pairs']} synthetic pairs alone reaches {found['synthetic']}{share}, and with both {found['real_and_synthetic']}."
    )


def told_apart(classification):
    """The first sentence of the summary where there are classes."""
    if "unavailable" in classification:
        return f"How useful the set is was not measured: {classification['unavailable']}"
    drops = table.extreme_drops(classification)
    if drops is None:
        return "No classifier that learned from real images was right once, so there is nothing to compare the synthetic set with."

    def of(drop):
        share, task, model = drop
        return f"{table.percent(share)} ({table.MODELS[model]}, {task}{', a gain' if share < 0 else ''})"

    least, most = drops
    lost = f"{of(most)} in the one comparison made" if least == most else f"between {of(least)} and {of(most)}"
    return (
        f"Tested on real images, classifiers that learned from synthetic images alone lose {lost} of the accuracy that the same classifiers "
        f"reach after learning from real ones; P2 lost {table.P2_DROPS}."
    )


def classification_rows(classification):
    """[(task, its classes, [(model, real, synthetic, drop, both, P2's real and synthetic, P2's drop)])],
    each cell (number, interval).
    """
    if "unavailable" in classification:
        return []
    found = []
    for task, models in classification["tasks"].items():
        rows = []
        for model, arms in table.in_order(models):
            real, synthetic, both = (_with_interval(arms[arm]["accuracy"]) for arm in ARM_NAMES)
            drop = table.percent(arms["relative_drop"]), _interval(arms["relative_drop_interval"], 100, ".1f")
            theirs = table.P2_TABLE_3.get(task, {}).get(model)
            p2 = (
                (f"{theirs[0]:.2f} and {theirs[1]:.2f}", table.percent(relative_drop(*theirs)))
                if theirs
                else ("none", "none")
            )
            rows.append((table.MODELS[model], real, synthetic, drop, both, *p2))
        targets = [*dict.fromkeys(classification["classes"][task].values())]
        beside = f"; P2: {P2_SETS[task]}" if task in P2_SETS else ""
        found.append((task, f"{' or '.join(targets) if len(targets) < 4 else f'{len(targets)} classes'}{beside}", rows))
    return found


def other_score_rows(classification):
    """[(task, model, [balanced accuracy and AUC of each arm])]."""
    if "unavailable" in classification:
        return []
    return [
        (
            task,
            table.MODELS[model],
            [_with_interval(arms[arm][metric], ".2f") for metric in ("balanced_accuracy", "auc") for arm in ARM_NAMES],
        )
        for task, models in classification["tasks"].items()
        for model, arms in table.in_order(models)
    ]


def learned_rows(classification):
    """[(task, real, synthetic, both, tested on, steps of VGG16)]: how many images."""
    if "unavailable" in classification:
        return []
    return [
        (
            task,
            *(sum(counts[arm].values()) for arm in (*ARM_NAMES, "test")),
            f"{classification['steps'].get(task) or 'none'}",
        )
        for task, counts in classification["counts"].items()
    ]


def parameter_rows(classification):
    """[(task, model, learned from, the parameters of each training)]."""
    if "unavailable" in classification:
        return []
    return [
        (task, table.MODELS[model], ARM_NAMES[arm], "; ".join(map(_parameters, runs)))
        for task, models in classification["parameters"].items()
        for model, arms in table.in_order(models)
        for arm, runs in arms.items()
    ]


def drop_meaning(classification):
    """What the relative drop means, and how far this run can tell, in one paragraph."""
    if "unavailable" in classification:
        return ""
    tested = min(sum(counts["test"].values()) for counts in classification["counts"].values())
    return (
        "The relative drop is the share of the accuracy that is lost by learning from synthetic images alone: (real − synthetic) / real. "
        "At 0 the synthetic set teaches as much as the real one, below 0 more. Guessing is right one time in as many as there are classes, "
        "in two for two classes, so a drop is small wherever the real images teach little: read it beside the accuracies. A drop "
        "whose interval holds 0 cannot be told from none. The intervals say how much another draw of test images would change a number; "
        f"with {tested} test images {'they are wide' if tested < 500 else 'they are what they are'}."
    )


def protocol(classification):
    """How the classifiers were trained, in one paragraph."""
    if "unavailable" in classification:
        return ""
    size, repeats = "{} × {} pixels".format(*classification["image_size"]), classification["repeats"]
    models = {model for each in classification["tasks"].values() for model in each}
    sentences = [
        f"Images of {size}. Each number is {f'the mean of {repeats} trainings with other random draws' if repeats > 1 else 'that of one training'}; "
        "behind it the interval that holds 95 % of what test images drawn with replacement give"
        + (", those of one patient or slide drawn together." if classification["groups"]["test"] else "."),
        "All sets are balanced: as many images of each target class, and within it of each class that makes it up.",
        "Half of what “both” learns from is real.",
    ]
    sentences.append(
        f"No patient or slide has images both to learn from and to test on ({classification['groups']['real']} to learn from, "
        f"{classification['groups']['test']} to test on)."
        if classification["groups"]["real"] and classification["groups"]["test"]
        else "The set does not name patients or slides, so images of one may lie on both sides."
    )
    if "vgg16" in models:
        weights = classification["vgg_weights"]
        start = f"pretrained weights ({weights})" if weights else "random weights"
        sentences.append(
            f"VGG16 starts from {start}, trains as long in each arm, on images mirrored and moved a little at random, and keeps the weights of "
            "the lowest loss on training images that it does not learn from, a fifth where there are enough, held back by patient where patients are known."
        )
    if models - {"vgg16"}:
        sentences.append(
            f"{'The others' if 'vgg16' in models else 'They'} learn from local binary patterns of radius 2, 3, 4 or all three in grey; radius and parameters are chosen by "
            "cross-validation on the training images alone."
        )
        others = [
            arms for each in classification["parameters"].values() for model, arms in each.items() if model != "vgg16"
        ]
        folds = {run["folds"] for arms in others for runs in arms.values() for run in runs}
        if folds != {5}:
            sentences.append(
                f"There were too few images of a class for five folds everywhere: {' and '.join(map(str, sorted(folds)))} were used."
            )
    return " ".join(sentences)


def _with_interval(entry, spec=".3f"):
    return table.mean_sd(entry, spec, "±"), _interval(entry["interval"], 1, spec)


def _interval(limits, factor, spec):
    return f"{limits[0] * factor:{spec}} to {limits[1] * factor:{spec}}" if limits else "not defined"


def _parameters(run):
    parts = []
    for name, value in run.items():
        text = (
            " ".join(map(str, value))
            if isinstance(value, list)
            else f"{value:.3g}"
            if isinstance(value, float)
            else str(value)
        )
        parts.append(f"{name.replace('_', ' ')} {text}")
    return ", ".join(parts)


def faithful(distribution, morphology, painted_after=None):
    """The second sentence of the summary; painted_after:
    the name of the set that stage 2 learned from, where it is another.
    """
    if "unavailable" in distribution:
        return f"How faithful the images are was not measured: {distribution['unavailable']}"
    kl = distribution["kl_intensity"]
    ours, floor = kl["synthetic_vs_real"].get("grey"), kl["real_vs_real"].get("grey") or {}
    halves = (
        "there were too few real images to compare two halves of them"
        if floor.get("mean") is None
        else f"two random halves of the real images differ by {table.mean_sd(floor, '.2g', '±')}"
    )
    matched = kl.get("synthetic_vs_half", {}).get("grey")
    if matched and matched["mean"] is not None:
        halves += f", a half of them and as many synthetic ones by {table.mean_sd(matched, '.2g', '±')}"
    if "grey" in kl.get("synthetic_vs_held_out", {}):
        halves += ". Held-out images differ from the synthetic ones by {}, from those learned from by {}".format(
            *table.to_held_out(kl, "grey")
        )
    return (
        f"The grey levels of the synthetic images differ from those of the real ones{f' of {painted_after}' if painted_after else ''} by a KL divergence of "
        f"{table.number(ours, '.3g')} (0 would be the same distribution); {halves}. {shapes(morphology) or ''}".rstrip()
    )


def fidelity_tables(fidelity):
    """[(title, protocol in words, [(metric, [synthetic, floor, all synthetic])])]."""
    if "unavailable" in fidelity:
        return []
    tables = []
    for name, figures in fidelity.items():
        protocol, rows = figures["protocol"], []
        for metric, meaning in FIDELITY_NAMES.items():
            if metric in figures:
                keys = ("synthetic_vs_real", "real_vs_real", "all_synthetic_vs_real")
                spec = ".3g" if metric in table.DISTANCES else ".2f"
                rows.append((meaning, [table.mean_sd(figures[metric][key], spec, "±") for key in keys]))
        how = (
            f"Reference: {protocol['reference']}, {protocol['reference_size']} images. Sets of {protocol['subset_size']} are "
            f"compared with it, up to {protocol['subsets']} random ones; {protocol['neighbours']} nearest neighbours. "
            f"{protocol['features']['description']} {table.too_few_for_fid(figures) or ''}"
        )
        tables.append((name, how, rows))
    return tables


def shape_rows(morphology):
    """[(what is measured, unit, real, synthetic, distance, floor)]."""
    if "unavailable" in morphology:
        return []
    rows = []
    for name, entry in morphology.items():
        what, unit = STATISTICS[name]
        real, synthetic = (table.mean_sd(entry[key], ".3g", "±") for key in ("real", "synthetic"))
        rows.append((what, unit, real, synthetic, *(table.number(entry[key], ".2f") for key in ("distance", "floor"))))
    return rows


def shapes(morphology):
    """How many statistics lie near their floor, in one sentence; None where there is nothing to count."""
    near, known = (0, 0) if "unavailable" in morphology else table.within_floor(morphology)
    if not known:
        return None
    return f"In {near} of {known} measures of shape the masks are at most twice as far from the training masks as real test masks are."


def is_filtered(report):
    """Whether masks that lay too near to a training mask were rejected when the set was made."""
    return bool(((report.get("synthetic") or {}).get("stage1") or {}).get("filter"))


def copied(copies, filtered=False):
    """The third sentence of the summary: how many synthetic masks are near copies, and what the audit would find.

    Args:
      copies: the section of the report.
      filtered: see `is_filtered`.
    """
    if "unavailable" in copies:
        return f"Whether masks are copied was not measured: {copies['unavailable']}"
    likeness = copies["likeness"]
    if "unavailable" in likeness:
        return f"Whether masks are copied was not measured: {likeness['unavailable']} {distance(copies, filtered)}"
    protocol, near, halves = likeness["protocol"], likeness["near_copies"], copies["halves"]
    control = "every real test mask is" if protocol["held_out"] else "training masks of other patients are"
    guessed = halves["membership"]
    by_half = f"By halves of masks the AUC is {table.number(guessed['mean'], '.2f')}. " if guessed else ""
    return (
        f"{near} of {protocol['synthetic']} synthetic masks {'is' if near == 1 else 'are'} more like a training mask than {control} "
        f"({_chance(likeness)}), and so are {halves['near_copies']} of their {halves['protocol']['synthetic']} halves beside halves ({_chance(halves)}), {_verdict(likeness, halves)}. "
        f"{FILTERED if filtered else ''}{_guess({'': likeness}, protocol, 'masks')}{by_half}The audit finds {_caught([likeness, halves])} % of the copies planted to test it. "
        f"{distance(copies, filtered)}"
    )


def _verdict(*views):
    if any(map(_stands_out, views)):
        return "so look at those before the set is shared"
    if any(each["membership"] and (each["membership"]["interval"] or [0])[0] > 0.5 for each in views):
        return "but the synthetic masks are more like those that were learned from than like others"
    if min(share for each in views for share in each["caught"].values()) < CAUGHT:
        return "but the audit misses copies that were planted to test it, so this does not say that there are none"
    return "so there is no sign that masks are copied"


def _stands_out(view):
    return view["near_copies"] > view["by_chance_at_most"]


def _chance(view):
    return f"by chance {table.number(view['by_chance'], '.1f')}, in 95 % of cases at most {view['by_chance_at_most']}"


def distance(copies, filtered):
    """How near masks lie to training masks by 1 - Dice, and what that is worth; arguments as of `copied`."""
    rows, controls = copies["nearest_training_mask"], copies.get("test_to_training")
    closest = (
        f"closest {table.number(copies['synthetic_to_training']['min'])}, where 0 is the same mask and 1 shares nothing"
    )
    worth = (
        "masks were rejected by this very distance when the set was made, so it shows no copies that are left"
        if filtered
        else "it does not see a copy that was shifted a little"
    )
    if not controls:
        return (
            f"By plain distance the {len(rows)} synthetic masks were compared with the training masks ({closest}), but there are no real "
            f"test masks to tell how near an honest new mask comes; {worth}."
        )
    nearer = sum(row["distance"] < controls["min"] for row in rows)
    return (
        f"By plain distance {nearer} {'lies' if nearer == 1 else 'lie'} nearer to a training mask ({closest}) than the nearest real "
        f"test mask does ({table.number(controls['min'])}); {worth}."
    )


def private(privacy):
    """Whether images are near copies, whether an attacker can tell what was learned from,
    and what the audit would find.
    """
    if "unavailable" in privacy:
        return NOT_COMPARED
    structure, shading, protocol = privacy["structure"], privacy["shading"], privacy["protocol"]
    control = (
        "every held-out image is"
        if protocol["held_out"]
        else "training images of different patients are like one another"
    )
    chances = " and ".join(
        dict.fromkeys(map(_chance, (structure, shading)))
    )  # each view's own if patients have several
    return (
        f"Of {protocol['synthetic']} synthetic images {structure['near_copies']} by structure and {shading['near_copies']} by shading are more like a training "
        f"image than {control} ({chances}). "
        f"{_guess({' by structure': structure, ' by shading': shading}, protocol, 'images')}"
        f"The audit finds {_caught([structure, shading])} % of the copies planted to test it."
        f"{' ' + table.compared(protocol, 'images') if table.is_thinned(protocol) else ''}"
    )


def _guess(views, protocol, what):
    """What an attacker knows, for {" by view": part of the report}; nothing where there is no control."""
    found = {name: each["membership"] for name, each in views.items()}
    if not all(found.values()):
        return ""
    aucs = " and ".join(f"{table.number(each['mean'], '.2f')}{name}" for name, each in found.items())
    shares = " and ".join(f"{table.percent(each['true_positive_rate'])}{name}" for name, each in found.items())
    chance = table.percent(next(iter(found.values()))["true_positives_by_chance"])
    return (
        f"Whoever guesses by likeness which {what} were learned from is right with AUC {aucs}, where 0.5 is chance; if wrong about "
        f"one of {protocol['relabelled']['held_out']} held-out {what} only, they find {shares} of the training {what} ({chance} by chance). "
    )


def _caught(views):
    shares = [share for each in views for share in each["caught"].values()]
    return " to ".join(dict.fromkeys(f"{100 * share:.0f}" for share in (min(shares), max(shares))))


def listed(part, key, what):
    """Where to find the near copies, in one sentence; None where there are none.

    Args:
      part: {name: part of report.json with a "near_copy_list"}.
      key: of these in report.json.
      what: "images" or "masks".
    """
    ids = {row["synthetic_id"] for each in part.values() for row in each.get("near_copy_list", [])}
    if not ids:
        return None
    where = " and ".join(f"{key}.{name}.near_copy_list" for name in part)
    leave = "Leave {} out before the set is shared." if any(
        each.get("near_copy_list") and _stands_out(each) for each in part.values()
    ) else EXPECTED  # fmt: skip
    are = f"1 of the synthetic {what} is" if len(ids) == 1 else f"{len(ids)} of the synthetic {what} are"
    return (
        f"{are} more like a training one than all of the control: report.json lists {'it' if len(ids) == 1 else 'them'}, with the likeness, "
        f"under {where}. {leave.format('it' if len(ids) == 1 else 'them')}"
    )


def score_tables(segmentation):
    """[{"title", "columns", "groups": [(convention, [(metric, cells)])]}] at training size and at native resolution."""
    if "unavailable" in segmentation:
        return []
    native = segmentation.get("native") or {}
    size = "{} × {} pixels".format(*segmentation["image_size"])
    found = []
    for title, arms, observer in (
        (f"At the size of the training images, {size}", segmentation["arms"], None),
        ("At the native resolution of each photograph", native.get("arms"), native.get("second_observer")),
    ):
        if not arms:
            continue
        groups = []
        for convention, convention_name in CONVENTION_NAMES.items():
            rows = []
            for metric in METRICS:
                cells = [
                    table.mean_sd(table.score(arms, arm, metric, convention), sign="±")
                    for arm in table.arms_of(segmentation)
                ]
                if observer:
                    auc = metric.startswith("auc")
                    human = (observer.get(metric) or {}).get(convention)
                    cells.append("none" if auc and human is None else table.number(human))
                rows.append((METRIC_NAMES[metric], cells))
            groups.append((convention_name, rows))
        columns = [f"learned from {label}" for label in table.arms_of(segmentation).values()] + (
            ["second person"] if observer else []
        )
        found.append({"title": title, "columns": columns, "groups": groups})
    return found


def unet(segmentation):
    """The settings of the segmentation network in two sentences."""
    if "unavailable" in segmentation:
        return ""
    unet, repeats = segmentation["unet"], segmentation["repeats"]
    thresholds = [value for values in (segmentation.get("thresholds") or {}).values() for value in values]
    chosen = f" (here {min(thresholds):.2f} to {max(thresholds):.2f})" if thresholds else ""
    seconds = [value for values in (segmentation.get("seconds") or {}).values() for value in values]
    took = f", about {sum(seconds) / len(seconds) / 60:.1f} minutes each" if seconds else ""
    times = "trained once, so no spread is known" if repeats == 1 else f"trained {repeats} times from different seeds"
    return (
        f"The network is a U-Net of {unet['levels']} levels and width {unet['width']} with {unet['parameters']:,} parameters, "
        f"{segmentation['steps']:,} training steps in each arm{took}, {times}. The threshold above which a pixel counts as "
        f"marked was chosen on the training images of each run, never on test images{chosen}."
    )


def agreement(segmentation, structure):
    """Whether the synthetic photographs show what their masks say, None where it was not measured."""
    scores = segmentation.get("agreement")
    if not scores:
        return None
    f1, missed, extra = (scores[metric]["fov_pooled"] for metric in ("f1", "sensitivity", "specificity"))
    real = table.score(segmentation["arms"], "real")
    return (
        f"Do the synthetic images show what their masks say? The networks that learned from real pairs find the {structure}s of the "
        f"synthetic images with F1 {table.mean_sd(f1, sign='±')}, those of the real test images with {table.mean_sd(real, sign='±')}. "
        f"A lower number for the synthetic ones would mean {structure}s that are missing or faint (sensitivity "
        f"{table.mean_sd(missed, sign='±')}) or painted where the mask has none (specificity {table.mean_sd(extra, sign='±')}); "
        f"a much higher one, that they are drawn more plainly than in real images."
    )


def literature(segmentation):
    """[(who, F1, AUC-ROC)] at native resolution in the field of view:
    ours first, then the human, then the published ones.
    """
    native = segmentation.get("native") or {}
    if not native.get("arms"):
        return []
    rows = [
        (
            f"this run, learned from {label if arm == 'real_and_synthetic' else label + ' pairs'}",
            *(table.mean_sd(table.score(native["arms"], arm, m), sign="±") for m in ("f1", "auc_roc")),
        )
        for arm, label in table.arms_of(segmentation).items()
    ]
    if observer := native.get("second_observer"):
        rows.append(
            (
                "a second person (second observer)",
                table.number(observer["f1"]["fov_pooled"]),
                "none: a person gives yes or no",
            )
        )
    return rows + list(LITERATURE)


def macro(segmentation):
    """Vessel F1 in the field of view and macro F1 on whole images, beside P1's: [(label, ours, ours, P1)]."""
    if "unavailable" in segmentation:
        return []
    arms = segmentation["arms"]
    return [
        (
            f"learned from {arm}",
            table.mean_sd(table.score(arms, arm), sign="±"),
            table.mean_sd(table.score(arms, arm, "f1_macro", "whole_image"), sign="±"),
            table.P1_F1[arm],
        )
        for arm in ("real", "synthetic")
    ]


def kl_rows(distribution):
    """[(channel, synthetic against real, as many of them against half of the real, half against half, synthetic against
    held-out, real against held-out)].
    """
    if "unavailable" in distribution:
        return []
    kl = distribution["kl_intensity"]
    ours = kl["synthetic_vs_real"]
    return [
        (
            channel,
            table.number(ours[channel], ".3g"),
            *(table.mean_sd(kl.get(of, {}).get(channel), ".2g", "±") for of in ("synthetic_vs_half", "real_vs_real")),
            *table.to_held_out(kl, channel),
        )
        for channel in ("grey", "red", "green", "blue")
        if channel in ours
    ]


def copy_rows(copies):
    """[(what is compared, smallest distance, median distance)]."""
    if "unavailable" in copies:
        return []
    rows = []
    for label, key in (
        ("synthetic masks to their nearest training mask", "synthetic_to_training"),
        ("real test masks to their nearest training mask", "test_to_training"),
    ):
        found = copies.get(key)
        rows.append(
            (
                label,
                *((table.number(found["min"]), table.number(found["median"])) if found else ("none to measure", "")),
            )
        )
    for label, key in (
        ("the two synthetic masks most alike", "closest_synthetic_pair"),
        ("the two real masks most alike", "closest_real_pair"),
    ):
        pair = copies.get(key)
        rows.append((label, table.number(pair["distance"]) if pair else "fewer than two masks", ""))
    return rows


def beside(report):
    """{"verdict", "notes", "rows"} of the section about the baseline, None without one.

    Rows are (number, which is better, synthetic set, baseline, floor, verdict).
    """
    if not report.get("baseline"):
        return None
    rows = table.shared(report)
    better, equal = (sum(row[-1] == judged for row in rows) for judged in ("better", "equal"))
    verdict = (
        f"The synthetic set is better than the baseline on {better} of the {len(rows)} numbers that both have"
        f"{f', and as good on {equal}: they differ by no more than their spread, or both are as good as real images are' if equal else ''}."
        if rows
        else "There is no number that both have; run evaluate.py with --benchmarks=distribution,fidelity."
    )
    cells = [
        (name, direction, *("none" if each is None else table.mean_sd(each, ".3g", "±") for each in three), judged)
        for name, direction, *three, judged in rows
    ]
    return {"verdict": verdict, "notes": table.unlike(report), "rows": cells}


def duration(seconds):
    """Seconds in words, None where they are not known."""
    if seconds is None:
        return None
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"


def provenance(report, shown):
    """[(title, [(key, value)])]. Without real images the real set's entries are its counts and versions only."""
    real, synthetic = report.get("real") or {}, report.get("synthetic")
    if not shown:
        real = {
            key: real[key]
            for key in ("name", "counts", "image_size", "channels", "versions", "git_commit")
            if key in real
        }
    left_out = ("shards", "features", "schema_version")
    found = [("This report", [("command", str(report.get("command", "unknown")))])]
    baseline = [("Baseline", report["baseline"]["synthetic"])] if report.get("baseline") else []
    others = (
        [("Photographs that stage 2 learned from", report["photographs"])]
        if shown and report.get("photographs")
        else []
    )
    for title, manifest in (("Synthetic set", synthetic), *baseline, ("Real set", real), *others):
        rows = list(_flatten({key: value for key, value in (manifest or {}).items() if key not in left_out}))
        found.append((title, rows or [("manifest", "none: another program made this set")]))
    return found


def _flatten(value, key=""):
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flatten(inner, f"{key} · {name}" if key else str(name))
    elif isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        for place, inner in enumerate(value, 1):
            yield from _flatten(inner, f"{key} {place}")
    else:
        yield key, "unknown" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
