#!/usr/bin/env python3
"""Stage 1: noise -> masks. Trains DCGAN on the masks of a real set and makes synthetic masks.

DCGAN is the network of P1 (Guibas et al. 2017), with what makes 20 masks suffice; --preset=paper is without.
With --target=image, noise -> images at once, written to OUT_DIR/synthetic: for labelled images, by DCGAN or PGGAN (P2,
Kovalev & Kazlouski 2019), and as P1's single-GAN baseline. --model=flow is a rectified flow, no GAN.

    train_stage1.py --data=drive                     the real set in data/drive; results in out/stage1
    train_stage1.py --data=/my/set --image_size=256  any folder with images/ and masks/
    train_stage1.py --data=drive --num_samples=1000  more masks from the model that is there
    train_stage1.py --data=drive --target=image --out_dir=out/single
                                                     the single-GAN baseline, for evaluate.py --baseline_dir
    train_stage1.py --data=nih --target=image --image_size=64
                                                     a labelled set of the same size and classes; --noconditional: one
                                                     model a class

Run again, it goes on where it stopped; done, it says so. Next: train_stage2.py (with --target=image: evaluate.py).
"""

import re
import warnings
from pathlib import Path

from synthmed_tf import flags
from synthmed_tf.datasets.sources import check_set

NUM_SAMPLES = 200  # of masks, and of photographs without labels
NETWORKS = {
    "dcgan": "DCGAN (Radford et al. 2016; P1, P2)",
    "pggan": "PGGAN (Karras et al. 2018; P2)",
    "flow": "rectified flow (Liu et al. 2023), no GAN",
}
ADDED = {  # to the papers' networks, by target
    "mask": {
        "dcgan": (
            "warped masks as distance fields, resize convolutions, a discriminator without batch norm and with minibatch "
            "standard deviation, a light gradient penalty, averaged weights, a quarter of the width"
        ),
        "pggan": "warped masks as distance fields, an eighth of the width",
    },
    "image": {
        "dcgan": "warped images, averaged weights, a quarter of the width",
        "pggan": "warped images, an eighth of the width",
    },
}


def main(settings):
    check_set(
        settings["data"],
        settings["data_dir"],
        labels=settings["labels"],
        chest_xrays=settings["chest_xrays"],
        needs_masks=settings["target"] != "image",
    )
    settings["image_size"] = settings["image_size"] or (128, 128)
    out = Path(settings["out_dir"])
    folder = out / "stage1"

    from synthmed_tf import runs, synthesis
    from synthmed_tf.datasets.prepare import prepare_training_split
    from synthmed_tf.progress import show_progress
    from synthmed_tf.records.read import Records
    from synthmed_tf.records.write import write_records
    from synthmed_tf.smalldata.copy_filter import reject_copies
    from synthmed_tf.training import hardware, stage1
    from synthmed_tf.training.checkpoints import checkpoint_sha256

    real = prepare_training_split(
        settings["data"], settings["data_dir"], settings["image_size"], out_dir=out, labels=settings["labels"],
        chest_xrays=settings["chest_xrays"], holdout=settings["holdout"], skip_bad_files=settings["skip_bad_files"],
        dry_run=settings["dry_run"],
    )  # fmt: skip
    channels = real.manifest["channels"]
    settings["model"] = settings["model"] or flags.default_model(settings, real.class_names, channels)
    settings = flags.apply_preset(settings, flags.STAGE1_PRESETS)
    target = settings["target"]
    synthesis.require(real, target)
    flags.apply_classes(settings, real.class_names, channels)
    labelled = settings["conditional"] is not None
    settings["num_samples"] = settings["num_samples"] or (len(real) if labelled else NUM_SAMPLES)
    class_names = real.class_names if settings["conditional"] else ()
    parts = {"": real}  # what a model each learns from
    if settings["conditional"] is False:
        parts = {name: [sample for sample in real if sample.label == name] for name in real.class_names}
        parts = {name: part for name, part in parts.items() if part}
    own = {name: dict(settings) if name else settings for name in parts}  # a class may be smaller than a batch
    plans = {name: flags.steps_and_epochs(own[name], len(part)) for name, part in parts.items()}
    strategy, settings["precision"] = hardware.set_up(settings["precision"], settings["strategy"])
    settings["prepared"] = real.folder.name

    if settings["dry_run"]:
        networks = stage1.build(settings, channels, len(class_names))
        name = next(iter(plans))  # where there is one model a class, the first
        settings["batch_size"] = own[name]["batch_size"]
        flags.print_plan(settings, real, *plans[name], **networks.trained)
        return

    with runs.claim(folder, settings, settings["overwrite"]):
        models, results = {}, {}
        print(network_text(settings, real.features))
        for number, (name, part) in enumerate(parts.items(), 1):
            steps, epochs = plans[name]
            title = f"class {number} of {len(parts)}: {name}" if name else "stage 1"
            place = folder / folder_name(number, name) if name else folder
            print(
                f"{title}: {len(part)} {target}s of {real.manifest['name']}, {steps} steps ({epochs:.0f} epochs) -> {place}"
            )
            models[name], results[name] = stage1.train(place, part, own[name], steps, strategy, class_names, title)
            models[name].discriminator = None  # one a class would be much memory
        made = folder / "masks" if target == "mask" else out / "synthetic"
        trained = {
            "steps": {name: result["step"] for name, result in results.items()},
            "sampled_step": {name: result["sampled_step"] for name, result in results.items()},
            "checkpoint_sha256": {name: checkpoint_sha256(result["sampler"]) for name, result in results.items()},
        }
        if settings["refined"]:
            trained["refined_sha256"] = {name: checkpoint_sha256(result["refined"]) for name, result in results.items()}
        if "" in parts:
            trained = {key: values[""] for key, values in trained.items()}
        decides = {key: value for key, value in trained.items() if key.endswith("_sha256")}
        if labelled:
            decides |= {name: settings[name] for name in ("label_distribution", "hash_filter")}
        count = settings["num_samples"]
        if runs.is_current(made, count, **decides) and (target == "mask" or (made / "png").is_dir()):
            ended = any(results[name]["step"] < steps for name, (steps, _) in plans.items())  # as masks copy
            larger = "--num_samples" if ended else "--steps or --num_samples"
            print(f"already done: {count} {target}s in {made}. A larger {larger} goes on from here")
            return
        with_view = target == "image" and "field_of_view" in real.features
        tally, rejected = {}, []
        if labelled:
            models = {name: models.get(name, models.get("")) for name in real.class_names}
            samples = synthesis.labelled(models, real, settings, count, tally, rejected, with_view)
        elif target == "mask":
            samples = reject_copies(synthesis.from_noise(models[""], settings, None), real, count, tally)
        else:
            samples = synthesis.from_noise(models[""], settings, count, with_field_of_view=with_view)
        extra = (
            trained
            | decides
            | {
                "command": flags.command("train_stage1", settings),
                "commands": [flags.command("train_stage1", settings)],
                "flags": flags.shareable(settings),
                "real": synthesis.describe_real(real.manifest),
            }
        )
        extra |= {"filter": tally} if target == "mask" or (labelled and settings["hash_filter"]) else {}
        name = f"{real.manifest['name']}_{'masks' if target == 'mask' else 'synthetic'}"
        write_records(
            made, name, show_progress(samples, f"{target}s", total=count), source=f"stage 1, {target}s", extra=extra,
            class_names=real.class_names if labelled else None,
        )  # fmt: skip
        if target == "mask":
            say_copies(tally, count)
        elif labelled and settings["hash_filter"]:
            say_filtered(tally, count)
            synthesis.write_grid(folder / "rejected.png", rejected)
        if target == "image":
            synthesis.write_png(made / "png", Records(made))
        following = "train_stage2.py" if target == "mask" else f"evaluate.py --synthetic_dir={out}"
        weights = f"by the weights of step {trained['sampled_step']}" if "" in parts else "one model a class"
        print(f"{count} {target}s in {made}, samples of the training in {folder}, {weights}. Next: {following}")


def network_text(settings, features):
    """One line: the network, and what is added to the paper's. features: of the real set."""
    added = ADDED[settings["target"]].get(settings["model"])
    if settings["preset"] == "paper" or not added:
        return f"network: {NETWORKS[settings['model']]}"
    if settings["target"] == "mask" and "field_of_view" in features:
        added = f"halves of two eyes joined, {added}"
    return f"network: {NETWORKS[settings['model']]}; added for small sets: {added} (--preset=paper: without)"


def folder_name(number, name):
    """Where in stage1/ the model of a class lies: its number, and its name without what a file name cannot hold."""
    return "_".join([str(number), *re.findall(r"[\w-]+", name)])[:100]


def say_copies(tally, count):
    """Prints what smalldata/copy_filter.py did."""
    print(
        f"{tally['rejected']} of {tally['candidates']} masks rejected: nearer to a training mask than the two nearest training masks are to each other ({tally['threshold']:.3f}), or more like a training mask than the two most similar ({tally['most_alike']:.3f}), or by a half more like a half of one ({tally['halves_most_alike']:.3f})"
    )
    if tally["too_near"]:
        warnings.warn(
            f"{tally['too_near']} of {count} masks are kept although they are as near to a training mask; look at them before the set is shared"
        )


def say_filtered(tally, count):
    """Prints what papers/hash_filter.py did."""
    by_class = ", ".join(f"{name} {each['rate']:.0%}" for name, each in tally["classes"].items())
    print(
        f"{tally['rejected']} of {tally['candidates']} photographs rejected by their average hash: farther from every real one than real ones are from each other; not like real ones: {tally['rate']:.0%} ({by_class})"
    )
    if tally["too_far"]:
        warnings.warn(f"{tally['too_far']} of {count} photographs are kept although they are as far: ten in a row were")


if __name__ == "__main__":
    flags.main("train_stage1", __doc__, main)
