"""What each ingredient of small_data's stage 1 adds: the same budget with one of them left out at a time.

    python benchmarks/stage1_ablations.py DATA_DIR OUT_DIR [SIZE] [STEPS] [SEEDS] [NAME ...]
    for example: data ablations 128 4000 1

Real DRIVE. Prints one row of a table for each: distance of the shapes (mean of metrics/morphology.py's distances to the
official training masks), coverage and density of the official test masks, both with the floor last, diversity, the
closest two of 200 masks, the share of 200 that lies nearer to a training mask than every test mask does, the median
likeness to the likest training mask (metrics/privacy.py), and seconds.
Goes on where it stopped.
"""

import json
import sys
from pathlib import Path

import numpy as np

from synthmed_tf import flags, records, synthesis
from synthmed_tf.datasets.prepare import prepare
from synthmed_tf.metrics import copies, fidelity, morphology, privacy
from synthmed_tf.training import calibration, loop, stage1

MADE = 200
ABLATIONS = {
    "all of small_data": {},
    "masks of -1 and 1, no fields": {"field_scale": 0.0},
    "eyes as they are, not crossed": {"crossed": False},
    "no warps, no turning of eyes": {"warp": False, "crossed": False},
    "no running average": {"average": 0.0},
    "no decay of the rate": {"rate_decay": 0},
    "weights of the last step": {"checkpoint": "last"},
    "no decoder": {"refined": False},
    "--model=dcgan": {"model": "dcgan"},
    "--preset=paper": {"preset": "paper"},
}


def figures(masks, views, real, test, compared="synthetic_vs_real"):
    """The columns of the table for some masks: floats.

    compared: of metrics.fidelity.compare; "real_vs_real" is its floor.
    """
    described = [
        [morphology.statistics(mask, view) for mask, view in zip(some, of, strict=True)]
        for some, of in ((masks, views), ([s.mask for s in real], [s.field_of_view for s in real]))
    ]
    features = [fidelity.mask_features(some) for some in ([s.mask for s in real], masks, [s.mask for s in test])]
    found = fidelity.compare(*features)
    training = [sample.mask for sample in real]
    small = [privacy.mask_thumbnails(some) for some in (masks, training)]
    alike = privacy.likest(*small, square=training[0].shape[0] == training[0].shape[1])[0]
    nearest, control = (copies.nearest_masks(some, training)[1] for some in (masks, [s.mask for s in test]))
    return {
        "shapes": calibration.mean_distance(described[1], described[0]),
        "coverage": found["coverage"][compared]["mean"],
        "density": found["density"][compared]["mean"],
        "closest two": copies.closest_pair(masks)[2],
        "copies": float(np.mean(nearest < control.min())),
        "likeness": float(np.median(alike.max(1))),
    }


def main(data_dir, out_dir, size="128", steps="4000", seeds="1", *names):
    size = int(size), int(size)
    prepared = prepare("drive", data_dir, size, out_dir=out_dir)
    real, test = list(records.Records(prepared, "train")), list(records.Records(prepared, "test"))
    view = calibration.common_view(real)
    rows = {}
    for name in names or ABLATIONS:
        for seed in range(int(seeds)):
            asked = dict.fromkeys(("model", "target", "epochs")) | {"preset": "small_data", "steps": int(steps)}
            settings = flags.apply_preset(asked | ABLATIONS[name], flags.STAGE1_PRESETS)
            settings |= ABLATIONS[name] | {"seed": seed, "image_size": size}
            folder = Path(out_dir) / f"{'_'.join(name.split())}-{size[0]}-{steps}-seed{seed}"
            _, settings["precision"] = loop.set_up(settings["precision"])
            with loop.claim(folder, settings):
                networks, result = stage1.train(folder, real, settings, int(steps))
            masks = [sample.mask for sample in synthesis.from_noise(networks, settings, MADE)]
            row = figures(masks, [view] * MADE, real, test)
            lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
            sampled = next(line for line in lines if line["step"] == result["sampled_step"])
            rows.setdefault(name, []).append(row | {"diversity": sampled["diversity"], "seconds": result["seconds"]})
    floor = figures([s.mask for s in test], [s.field_of_view for s in test], real, test, "real_vs_real")
    rows["real test masks"] = [floor]
    columns = ["shapes", "coverage", "density", "diversity", "closest two", "copies", "likeness", "seconds"]
    print("| left out |", " | ".join(columns), "|")
    print("|---" * (len(columns) + 1) + "|")
    for name, runs in rows.items():
        cells = [[run[key] for run in runs if key in run] for key in columns]
        print(f"| {name} |", " | ".join(f"{np.mean(cell):.3g}" if cell else "" for cell in cells), "|")


if __name__ == "__main__":
    main(*sys.argv[1:])
