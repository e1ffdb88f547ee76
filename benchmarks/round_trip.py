"""What stage 1's fields lose: real masks -> warped fields -> halved or not -> masks again,
against the masks they came from.

    python benchmarks/round_trip.py DATA_DIR SIZE [SIZE ...]      for example: data 128 256

Real DRIVE, training masks, each warped twice. Shapes are distances of metrics/morphology.py, in standard deviations of
the real masks; fidelity is that of the report, against the official test masks. The first row is the floor, test masks
against training masks. The others are about what a generator that learns from such fields can reach.
"""

import sys

import numpy as np
import tensorflow as tf

from synthmed_tf import augment, images, records
from synthmed_tf.datasets.prepare import prepare
from synthmed_tf.metrics import fidelity, morphology
from synthmed_tf.training import calibration, stage1

RIDGE = 0.5
# Scale of the wall and width of the centreline in pixels of 128, how many times smaller the fields are, weight of the
# centreline
VARIANTS = (
    (3.0, 1.5, 1, images.CENTRELINE_WEIGHT),
    (3.0, 1.5, 2, images.CENTRELINE_WEIGHT),
    (3.0, 0.75, 1, images.CENTRELINE_WEIGHT),
    (3.0, 0.75, 1, 0.0),
)
FIDELITY = ("precision", "recall", "density", "coverage", "kid")


def turned(sample):
    """Mask and field of view with the optic disc on the left."""
    pair = np.concatenate([sample.mask, sample.field_of_view], -1)
    return pair[:, ::-1] if images.disc_is_right(sample.mask) else pair


def main(data_dir, *sizes):
    for size in map(int, sizes):
        prepared = prepare("drive", data_dir, (size, size), out_dir="out")
        real, test = (list(records.Records(prepared, split)) for split in ("train", "test"))
        view = calibration.common_view(real)
        described = [morphology.statistics(sample.mask, sample.field_of_view) for sample in real]
        known, held_out = (fidelity.mask_features([sample.mask for sample in some]) for some in (real, test))
        thickness = images.area_to_length([sample.mask for sample in real])
        pairs = np.stack([turned(sample) for sample in real])
        print(f"\n| {size} pixels |", " | ".join((*morphology.STATISTICS, "mean", *FIDELITY)), "|")
        print("|---" * (len(morphology.STATISTICS) + len(FIDELITY) + 2) + "|")

        def row(name, masks, against):
            found = [morphology.statistics(mask, view) for mask in masks]
            distances = [entry["distance"] for entry in morphology.distances(described, found).values()]
            measured = fidelity.compare(known, fidelity.mask_features(masks), held_out)
            figures = [
                *distances,
                calibration.mean_distance(described, found),
                *(measured[key][against]["mean"] for key in FIDELITY),
            ]
            cells = ["-" if figure is None else f"{figure:.2f}" for figure in figures]  # None: real masks do not differ
            print(f"| {name} |", " | ".join(cells), "|", flush=True)

        row("floor", [sample.mask for sample in test], "real_vs_real")
        for scale, width, stride, weight in VARIANTS:
            pixels = size / 128
            fields = np.stack(
                [images.wall_and_centreline(pair[..., :1], scale * pixels, width * pixels) for pair in pairs]
            )
            warped = [augment.random_warp(fields, [1, turn], zoom=1.04, elastic=0.015) for turn in range(2)]
            warped = tf.concat([tf.where(pairs[..., 1:] > 0, each, -1.0) for each in warped], 0)
            warped = stage1.enlarge(stage1.reduce(warped, stride), stride).numpy()

            def masks_at(wall, warped=warped, weight=weight):
                return np.stack(
                    [images.mask_from_wall_and_centreline(each, wall, RIDGE, weight=weight) for each in warped]
                )

            made = masks_at(images.wall_of(masks_at, thickness)) & view
            mirrored = np.random.default_rng(0).random(len(made)) < 0.5  # as when sampling
            made = [mask[:, ::-1] if is_mirrored else mask for mask, is_mirrored in zip(made, mirrored)]
            row(
                f"fields of {size // stride}, centrelines of {width * pixels}, weight {weight}",
                made,
                "synthetic_vs_real",
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
