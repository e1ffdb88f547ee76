#!/usr/bin/env python3
"""Stage 1: noise -> geometry. Trains a generator on the masks of a real set and makes synthetic masks.

With --target=image, the single-GAN baseline: noise -> photograph at once, and OUT_DIR/synthetic is written here.

    train_stage1.py --data=drive                     the real set in data/drive; results in out/stage1
    train_stage1.py --data=/my/set --image_size=256  any folder with images/ and masks/
    train_stage1.py --data=drive --num_samples=1000  more masks from the model that is there
    train_stage1.py --data=drive --target=image --out_dir=out/single

Run again, it goes on where it stopped; done, it says so. Next: train_stage2.py (with --target=image: evaluate.py).
"""

import warnings
from pathlib import Path

from synthmed_tf import datasets, flags


def main(settings):
    datasets.check(settings["data"], settings["data_dir"], labels=settings["labels"], needs_masks=settings["target"] != "image")
    settings = flags.apply_preset(settings, flags.STAGE1_PRESETS)
    settings["image_size"] = settings["image_size"] or (128, 128)
    out = Path(settings["out_dir"])
    folder = out / "stage1"

    from tqdm import tqdm

    from synthmed_tf import records, synthesis
    from synthmed_tf.datasets.prepare import prepare
    from synthmed_tf.training import loop, stage1

    prepared = prepare(
        settings["data"], settings["data_dir"], settings["image_size"], out_dir=out, labels=settings["labels"],
        holdout=settings["holdout"], skip_bad_files=settings["skip_bad_files"],
    )  # fmt: skip
    real = records.Records(prepared, "train")
    target = settings["target"]
    synthesis.require(real, target)
    steps, epochs = flags.steps_and_epochs(settings, len(real))
    strategy, settings["precision"] = loop.set_up(settings["precision"], settings["strategy"])
    settings["prepared"] = prepared.name

    if settings["dry_run"]:
        networks = stage1.build(settings, real.manifest["channels"])
        flags.print_plan(settings, real, steps, epochs, **networks.trained)
        return

    with loop.claim(folder, settings, settings["overwrite"]):
        print(f"stage 1: {len(real)} {target}s of {real.manifest['name']}, {steps} steps ({epochs:.0f} epochs) -> {folder}")
        networks, result = stage1.train(folder, real, settings, steps, strategy)
        count = settings["num_samples"]
        made = folder / "masks" if target == "mask" else out / "synthetic"
        digest = synthesis.checkpoint_sha256(result["sampler"])
        if synthesis.is_current(made, count, checkpoint_sha256=digest) and (target == "mask" or (made / "png").is_dir()):
            print(f"already done: {count} {target}s in {made}. A larger --steps or --num_samples goes on from here")
            return
        with_view = target == "image" and "field_of_view" in real.features
        tally = {}
        if target == "mask":
            samples = synthesis.no_copies(synthesis.from_noise(networks, settings, None), real, count, tally)
        else:
            samples = synthesis.from_noise(networks, settings, count, with_field_of_view=with_view)
        extra = {
            "command": flags.command("train_stage1", settings),
            "commands": [flags.command("train_stage1", settings)],
            "flags": flags.shareable(settings),
            "steps": result["step"],
            "sampled_step": result["sampled_step"],
            "checkpoint_sha256": digest,
            "real": synthesis.describe_real(real.manifest),
        }
        extra |= {"filter": tally} if target == "mask" else {}
        name = f"{real.manifest['name']}_{'masks' if target == 'mask' else 'synthetic'}"
        records.write(made, name, tqdm(samples, f"{target}s", count), source=f"stage 1, {target}s", extra=extra)
        if tally:
            print(f"{tally['rejected']} of {tally['candidates']} masks rejected: nearer to a training mask, or to one made before, than the two nearest training masks are to each other ({tally['threshold']:.3f})")
        for kind, what in (("too_near", "a training mask; look at them before the set is shared"), ("too_alike", "one made before")):
            if tally.get(kind):
                warnings.warn(f"{tally[kind]} of {count} masks are kept although they are as near to {what}")
        if target == "image":
            synthesis.write_png(made / "png", records.Records(made))
        following = "train_stage2.py" if target == "mask" else f"evaluate.py --synthetic_dir={out}"
        print(f"{count} {target}s in {made}, samples of the training in {folder / 'samples'}, by the weights of step {result['sampled_step']}. Next: {following}")


if __name__ == "__main__":
    flags.main("train_stage1", __doc__, main)
