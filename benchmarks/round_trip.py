"""What stage 1's fields lose: real masks -> warped fields -> halved or not -> masks again, against the masks they came from.

    python benchmarks/round_trip.py DATA_DIR SIZE [SIZE ...]      for example: data 128 256

Real DRIVE, training masks. Each figure is a distance of metrics/morphology.py, in standard deviations of the real masks; the first
row is the floor, official test masks against training masks. No generator is better than the row that it learns from.
"""

import sys

import numpy as np
import tensorflow as tf
from skimage.morphology import skeletonize

from synthmed_tf import augment, images, records
from synthmed_tf.datasets.prepare import prepare
from synthmed_tf.metrics import morphology
from synthmed_tf.training import stage1

VARIANTS = (  # scale and width in pixels of 128, fields' share of the size, weight of the centreline, ridge
    (3.0, 1.5, 2, 0.0, 0.0),
    (3.0, 1.5, 2, images.CENTRELINE_WEIGHT, 0.0),
    (3.0, 1.5, 1, 0.0, 0.0),
    (3.0, 1.5, 1, images.CENTRELINE_WEIGHT, 0.5),
    (3.0, 1.5, 2, images.CENTRELINE_WEIGHT, 0.5),
)


def masks_of(fields, weight, ridge, thickness):
    """Fields -> masks as images.mask_from_wall_and_centreline does, the wall where the mean thickness is `thickness`."""
    centrelines = np.stack([skeletonize(field[..., 1] > ridge) for field in fields])[..., None]
    height = fields[..., :1] + weight * (fields[..., 1:] + 1) / 2
    low, high = -0.9, 0.9
    for _ in range(8):
        wall = (low + high) / 2
        masks = ((height > wall) | centrelines).astype(np.uint8)
        low, high = (wall, high) if images.area_to_length(masks) > thickness else (low, wall)
    return masks


def main(data_dir, *sizes):
    for size in map(int, sizes):
        prepared = prepare("drive", data_dir, (size, size), out_dir="out")
        real, test = records.Records(prepared, "train"), records.Records(prepared, "test")
        views = np.stack([sample.field_of_view for sample in real])
        described = [morphology.statistics(sample.mask, sample.field_of_view) for sample in real]
        held_out = [morphology.statistics(sample.mask, sample.field_of_view) for sample in test]
        thickness = images.area_to_length([sample.mask for sample in real])
        print(f"\n| {size} pixels |", " | ".join(morphology.STATISTICS), "|")
        print("|---" * (len(morphology.STATISTICS) + 1) + "|")

        def row(name, found, described=described):
            distances = morphology.distances(described, found)
            print(f"| {name} |", " | ".join(f"{entry['distance']:.2f}" for entry in distances.values()), "|", flush=True)

        row("floor", held_out)
        for scale, width, stride, weight, ridge in VARIANTS:
            pixels = size / 128
            fields = np.stack([images.wall_and_centreline(s.mask, scale * pixels, width * pixels) for s in real])
            fields = augment.random_warp(fields, [1, 2], zoom=1.05, aspect=0.05, elastic=0.006, flip=(True, False))
            fields = tf.where(views > 0, fields, -1.0)
            fields = stage1.enlarge(stage1.reduce(fields, stride), stride).numpy()
            made = masks_of(fields, weight, ridge, thickness) & views
            row(
                f"fields of {size // stride}, weight {weight}, ridge {ridge}",
                [morphology.statistics(*pair) for pair in zip(made, views, strict=True)],
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
