#!/usr/bin/env python3
"""Stage 2: masks -> photographs. Trains pix2pix on real pairs and paints a photograph on each mask of stage 1.

pix2pix is the network of P1 (Guibas et al. 2017, after Isola et al. 2017), with what makes 20 pairs suffice.
--preset=pix2pix is without, and so is --preset=vess2ret, the version of Costa et al. 2017.

    train_stage2.py                                  after train_stage1.py with the same --out_dir, on the same data
    train_stage2.py --data=idrid                     after train_stage1.py --data=drive: photographs without masks
                                                     get theirs from a U-Net that learns from the first set, as in P1
    train_stage2.py --preset=pix2pix                 made for 256 pixels, which is stage 1's to say; vess2ret for 512

Run again, it goes on where it stopped; done, it says so. OUT_DIR/synthetic is the only folder meant to be shared.
Next: evaluate.py --synthetic_dir=OUT_DIR.
"""

from pathlib import Path

from synthmed_tf import flags
from synthmed_tf.datasets.sources import check_set, has_masks
from synthmed_tf.sample import InputError

NETWORKS = {
    "small_data": (
        "pix2pix (Isola et al. 2017; P1); added for small sets: a lighter generator with resize convolutions and instance "
        "norm, given noise and the light; warped pairs, feature matching, a discriminator that waits while it wins, "
        "averaged weights (--preset=pix2pix: without)"
    ),
    "pix2pix": "pix2pix (Isola et al. 2017)",
    "vess2ret": "vess2ret (Costa et al. 2017; P1)",
}


def main(settings):
    out = Path(settings["out_dir"])
    folder = out / "stage2"
    is_there = (out / "stage1" / "flags.json").exists()
    first = flags.read_settings(out / "stage1") if is_there or settings["data"] is None else {}
    settings |= {name: first[name] for name in first.keys() & {"data", "data_dir"} - settings["given"]}
    settings["given"].add("data")  # of the commands in the manifest each says its own
    check_set(settings["data"], settings["data_dir"], labels=settings["labels"])
    settings = flags.apply_preset(settings, flags.STAGE2_PRESETS)

    from synthmed_tf import runs, synthesis
    from synthmed_tf.datasets.plan import Plan
    from synthmed_tf.datasets.prepare import prepare_training_split
    from synthmed_tf.papers.annotation import annotate
    from synthmed_tf.progress import show_progress
    from synthmed_tf.records.read import Records
    from synthmed_tf.records.write import write_records
    from synthmed_tf.training import hardware, stage2
    from synthmed_tf.training.checkpoints import checkpoint_sha256

    first = first or flags.read_settings(out / "stage1")
    if first.get("target") == "image":
        raise InputError(
            f"{out / 'stage1'}: its GAN makes photographs at once (--target=image), so there is nothing to paint; run "
            f"evaluate.py --synthetic_dir={out}, or train_stage1.py with another --out_dir"
        )
    if not (out / "stage1" / "masks").is_dir():
        raise InputError(
            f"{out / 'stage1' / 'masks'}: not there; run train_stage1.py again, it goes on where it stopped"
        )
    masks = Records(out / "stage1" / "masks")
    if "sampled_step" not in masks.manifest or "too_near" not in masks.manifest.get("filter", {}):
        raise InputError(f"{masks.folder}: made by an earlier version of this program; run train_stage1.py --overwrite")
    same = first["data"] == settings["data"]
    if not same and has_masks(settings["data"], settings["data_dir"], settings["labels"]):
        raise InputError(
            f"{masks.folder}: made from --data={first['data']}, now --data={settings['data']}; give the same to both stages"
        )
    settings["image_size"], settings["holdout"] = tuple(first["image_size"]), first["holdout"]
    settings |= stage2.for_size(settings)
    options = {"out_dir": out, "skip_bad_files": first["skip_bad_files"], "chest_xrays": first.get("chest_xrays")}
    options["dry_run"] = settings["dry_run"]
    place = settings["data_dir"], settings["image_size"]
    teachers = prepare_training_split(first["data"], *place, holdout=first["holdout"], **options)
    if teachers.folder.name != first["prepared"] and not isinstance(teachers, Plan):
        raise InputError(
            f"{teachers.folder}: the real set, or how this program prepares it, has changed since stage 1 ({first['prepared']}); "
            "run train_stage1.py --overwrite"
        )
    count = settings["num_samples"] or len(masks)
    if count > len(masks):
        raise InputError(
            f"{masks.folder}: {len(masks)} masks, --num_samples={count}; run train_stage1.py --num_samples={count} first"
        )
    synthesis.require(teachers, "image", "mask")
    real = teachers if same else prepare_training_split(settings["data"], *place, labels=settings["labels"], **options)
    synthesis.require(real, "image")
    channels = [each.manifest["channels"] for each in (teachers, real)]
    if channels[0] != channels[1]:
        raise InputError(
            f"{settings['data']}: images of {channels[1]} channels, those of {first['data']}, which the masks are learned from, "
            f"have {channels[0]}; give a set of as many"
        )
    steps, epochs = flags.steps_and_epochs(settings, len(real))
    strategy, settings["precision"] = hardware.set_up(settings["precision"], settings["strategy"])
    settings["prepared"] = real.folder.name

    if settings["dry_run"]:
        networks = stage2.build(settings, real.manifest["channels"])
        flags.print_plan(
            settings, real, steps, epochs, generator=networks.generator, discriminator=networks.discriminator
        )
        return

    with runs.claim(folder, settings, settings["overwrite"]):
        print(f"network: {NETWORKS[settings['preset']]}")
        print(f"stage 2: {len(real)} pairs of {real.manifest['name']}, {steps} steps ({epochs:.0f} epochs) -> {folder}")
        manifest = real.manifest
        if not same:
            real = annotate(folder, real, teachers, settings["seed"])
        networks, result = stage2.train(folder, real, settings, steps, strategy, masks)
        synthetic = out / "synthetic"
        digest = checkpoint_sha256(result["sampler"])
        keys = "flags", "steps", "sampled_step", "checkpoint_sha256", "refined_sha256"
        stage1 = {key: masks.manifest[key] for key in keys if key in masks.manifest}
        # The threshold is measured on real masks, and stays here
        counted = ("candidates", "rejected", "too_near")
        stage1["filter"] = {key: masks.manifest["filter"][key] for key in counted}
        if runs.is_current(synthetic, count, checkpoint_sha256=digest, stage1=stage1) and (synthetic / "png").is_dir():
            print(f"already done: {count} pairs in {synthetic}. A larger --steps or --num_samples goes on from here")
            return
        with_view = "field_of_view" in real.features
        samples = show_progress(synthesis.pairs(networks, masks[:count], settings, with_view), "pairs", total=count)
        extra = {
            "command": flags.command("train_stage2", settings),
            "commands": [masks.manifest["command"], flags.command("train_stage2", settings)],
            "flags": flags.shareable(settings),
            "steps": result["step"],
            "sampled_step": result["sampled_step"],
            "checkpoint_sha256": digest,
            "stage1": stage1,
            "real": masks.manifest["real"],
        }
        if not same:
            extra["photographs"] = synthesis.describe_real(manifest)
        write_records(
            synthetic,
            f"{manifest['name']}_synthetic",
            samples,
            source="synthetic: stage 1, then stage 2",
            extra=extra,
        )
        synthesis.write_png(synthetic / "png", Records(synthetic))
        print(
            f"{count} pairs in {synthetic}, also as PNG files in {synthetic / 'png'}. Next: evaluate.py --synthetic_dir={out}"
        )


if __name__ == "__main__":
    flags.main("train_stage2", __doc__, main)
