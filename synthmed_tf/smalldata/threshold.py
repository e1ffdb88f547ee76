"""By which rule generated fields become masks: the one that leaves them as thick and as whole as real masks are."""

import numpy as np
import tensorflow as tf

from synthmed_tf.metrics import shapes
from synthmed_tf.smalldata.fields import find_wall, label_pieces, make_mask, measure_thickness

DRAWN = 32  # generated masks that the rule is found on
RIDGES = 0.5, 0.25, 0.0  # of the centreline, tried
KEPT_AREA = 0.9  # of generated masks


def draw_fields(generate, noise_shape, seed):
    """Fields of DRAWN samples [n, height, width, 2] by a generator, function noise -> fields; the same in each call."""
    noise = tf.random.stateless_normal([DRAWN, *noise_shape], [seed, -3])
    return np.asarray(generate(noise))


def calibrate(fields, real, fixed):
    """The rule, arguments of make_mask, by which masks of the fields are like real ones.

    Vessels are one or two pixels wide at usual sizes, so a field that is wrong by a tenth makes them twice as thick.
    The wall is where all generated masks together have the real ones' ratio of area to length. The smallest piece is
    what leaves as many pieces a mask as real ones have, or KEPT_AREA of the area, whichever comes nearer to the real
    masks. The ridge is that of RIDGES with the least mean distance of shapes.

    Args:
      fields: [n, height, width, 2].
      real: sequence of training Samples.
      fixed: dict of arguments that are not searched for.
    """
    thickness = measure_thickness([sample.mask for sample in real])
    pieces = np.mean([len(label_pieces(sample.mask[..., 0])[1]) for sample in real])
    view, statistics = find_common_view(real), [shapes.describe(sample.mask, sample.field_of_view) for sample in real]

    def masks_by(rule):
        return np.stack([make_mask(field, **rule) for field in fields])

    candidates = []
    for ridge in RIDGES:
        rule = {"ridge": ridge} | fixed
        wall = find_wall(lambda wall, rule=rule: masks_by(rule | {"wall": wall}), thickness)
        rule |= {"wall": wall}
        masks = masks_by(rule)
        sizes = np.sort(np.concatenate([label_pieces(mask[..., 0])[1] for mask in masks]))[::-1]
        wanted = round(pieces * len(masks))
        for count in {wanted, max(wanted, np.searchsorted(np.cumsum(sizes), KEPT_AREA * sizes.sum()) + 1)}:
            rule = rule | {"smallest": int(sizes[count - 1]) if 0 < count < len(sizes) else 1}
            distance = average_distances(statistics, [shapes.describe(mask, view) for mask in masks_by(rule)])
            candidates.append((distance, ridge, rule["smallest"], rule))
    return min(candidates, key=lambda candidate: candidate[:3])[3]


def average_distances(real, synthetic):
    """Mean distance between the shape statistics of two sets of masks; 0 where there are none."""
    distances = [entry["distance"] for entry in shapes.compare(real, synthetic).values()]
    return float(np.mean([distance for distance in distances if distance is not None] or [0.0]))


def find_common_view(samples):
    """The field of view that most of the samples have in common [height, width, 1] in {0, 1}; None: they have none."""
    views = [sample.field_of_view for sample in samples]
    return np.mean(views, 0).round().astype(np.uint8) if views[0] is not None else None
