"""Stage 2's presets on the same budget: the same minutes of training on the same machine.

    python benchmarks/stage2_presets.py DATA_DIR OUT_DIR MASKS [MINUTES] [PRESET ...]
    for example: data presets out/stage1/masks 6

Real DRIVE, at the size of MASKS, a folder of masks that train_stage1.py made. Prints one row of a table for each
preset: steps in these minutes, L1 between the photographs of the official test masks and the real ones (grey levels of
255, in the field of view), KID of the photographs of 200 synthetic masks against the test photographs, F1 on the test
images of a U-Net trained on these pairs (600 steps, seed 0, in the field of view, pooled), and of what a U-Net trained
on the real pairs finds in them against their masks. OUT_DIR/presets.png has SHOWN of the masks above their photographs,
one row a preset. Goes on where it stopped.
"""

import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from synthmed_tf import flags, records, synthesis
from synthmed_tf.datasets.prepare import prepare
from synthmed_tf.metrics import fidelity, segmentation
from synthmed_tf.training import loop, segmenter, stage2

MADE, SHOWN = 200, 6
TIMED = 4  # steps
UNET_STEPS = 600


def steps_in(seconds, real, settings):
    """How many training steps take so long, their warps included: the best of TIMED steps after the first one, which
    builds the graph, of even and of odd number, as vess2ret's two kinds of step are then.
    """
    pairs = stage2.real_pairs(real, settings["warp"])
    networks = stage2.build(settings, pairs.shape[-1] - 3)
    rates = settings["learning_rate"], settings["discriminator_rate"]
    models = networks.generator, networks.discriminator
    optimizers = [stage2.make_optimizer(settings, *pair) for pair in zip(rates, models, strict=True)]
    settings, count = settings | {"in_turn": min(settings["in_turn"], 1)}, 2 + 2 * TIMED
    step, batch = stage2.training_of(networks, optimizers, settings, pairs, count)
    times = []
    for index in range(count):
        began = time.monotonic()
        loop.step_at(step, index)(np.int64(index), *batch(index))
        times.append(time.monotonic() - began)
    return max(1, round(2 * seconds / (min(times[2::2]) + min(times[3::2]))))


def f1(model, samples, threshold):
    """F1 of the vessels in the field of view, pooled over `samples`."""
    truth = [sample.mask for sample in samples], [sample.field_of_view for sample in samples]
    return segmentation.scores([*segmenter.predict(model, samples)], *truth, threshold)["f1"]["fov_pooled"]


def threshold_of(model, samples):
    """The threshold that maximises F1 on `samples`, those that the model was trained on."""
    truth = [sample.mask for sample in samples], [sample.field_of_view for sample in samples]
    return segmentation.best_threshold([*segmenter.predict(model, samples)], *truth)


def main(data_dir, out_dir, masks, minutes="6", *presets):
    loop.set_up("auto")
    masks, out = records.Records(masks), Path(out_dir)
    size = tuple(masks[0].mask.shape[:2])
    prepared = prepare("drive", data_dir, size, out_dir=out_dir)
    real, test = records.Records(prepared, "train"), list(records.Records(prepared, "test"))
    features = [
        fidelity.photograph_features([s.image for s in some], [s.field_of_view for s in some]) for some in (real, test)
    ]
    everything = np.concatenate(features)
    teacher, _ = segmenter.train(out / "unet-real", [real], UNET_STEPS, 0, name="U-Net (real)")
    real_threshold = threshold_of(teacher, list(real))

    rows, pictures = [], [np.repeat(sample.mask * np.uint8(255), 3, -1) for sample in masks[:SHOWN]]
    for preset in presets or flags.STAGE2_PRESETS:
        settings = flags.apply_preset(dict.fromkeys(("steps", "epochs")) | {"preset": preset}, flags.STAGE2_PRESETS)
        settings |= {"image_size": size, "seed": 0, "batch_size": min(settings["batch_size"], len(real))}
        settings = stage2.for_size(settings)
        _, settings["precision"] = loop.set_up(settings["precision"])
        folder = out / f"{preset}-{minutes}min"
        steps = (
            flags.read_settings(folder)["steps"]
            if (folder / "flags.json").exists()
            else steps_in(60 * float(minutes), real, settings)
        )
        settings |= {"steps": steps, "given": set(), "data": "drive"}
        with loop.claim(folder, settings):
            networks, result = stage2.train(folder, real, settings, steps)
            made = list(synthesis.pairs(networks, masks[:MADE], settings, with_field_of_view=True))
            pictures += [sample.image for sample in made[:SHOWN]]
            painted = [
                stage2.translate(networks, sample.mask[None], [1, index])[0] for index, sample in enumerate(test)
            ]
            errors = [
                np.abs(image.astype(float) - sample.image)[sample.field_of_view[..., 0] > 0].mean()
                for image, sample in zip(painted, test, strict=True)
            ]
            found = fidelity.photograph_features([s.image for s in made], [s.field_of_view for s in made])
            distance = fidelity.kid(*(fidelity.standardise(each, everything) for each in (features[1], found)))
            loop.set_up("auto")
            model, _ = segmenter.train(folder / "unet", [made], UNET_STEPS, 0, name=f"U-Net ({preset})")
            own = f1(model, test, threshold_of(model, made))
        rows.append(
            (preset, steps, result["seconds"], np.mean(errors), distance, own, f1(teacher, made, real_threshold))
        )
    Image.fromarray(loop.picture_grid(np.stack(pictures), SHOWN)).save(out / "presets.png")
    print("| preset | steps | seconds | L1 | KID | F1 | agreement |")
    print("|---|---|---|---|---|---|---|")
    for preset, steps, *figures in rows:
        print(f"| {preset} | {steps} |", " | ".join(f"{value:.3g}" for value in figures), "|")
    floor = fidelity.kid(*(fidelity.standardise(each, everything) for each in features))
    print(f"| real training pairs | | | | {floor:.3g} | {f1(teacher, test, real_threshold):.3g} | |")


if __name__ == "__main__":
    main(*sys.argv[1:])
