"""How stage 1's samples are judged while it trains:
by which rule fields become masks, and how far samples are from the training set.
"""

import numpy as np
import tensorflow as tf
from scipy.spatial.distance import pdist

from synthmed_tf.metrics import features, kid_fid, likeness, shapes
from synthmed_tf.smalldata.fields import find_wall, label_pieces, measure_thickness

CALIBRATION_SAMPLES = 32
RIDGES = (0.5, 0.25, 0.0)
KEPT_AREA = 0.9  # of generated masks
MEASURED_SAMPLES = AT_ONCE = 64
LOW_DIVERSITY = 0.6  # of the real set's; one picture for every z has 0, masks of DRIVE that vary had 0.9


def calibrate(networks, real, settings):
    """Sets `networks.rule`, by which fields become masks, so that generated masks are like real ones.

    Vessels are one or two pixels wide at usual sizes, so a field that is wrong by a tenth makes them twice as thick.
    The wall (with a decoder, its probability of mask) is where CALIBRATION_SAMPLES generated masks have, over all of
    them, the real training masks' ratio of area to length; the smallest piece is what leaves as many pieces a mask as
    real ones have, or KEPT_AREA of the area, whichever comes nearer to the real masks; the ridge is that of RIDGES with
    the least mean distance of metrics.shapes.

    Args:
      networks: Stage1 that makes wall and centreline; with others, nothing is done.
      real: sequence of Samples of the training set.
      settings: of the training; seed.
    """
    if networks.target != "mask" or networks.channels == 1:
        return
    noise = tf.random.stateless_normal([CALIBRATION_SAMPLES, *networks.noise_shape], [settings["seed"], -3])
    decoded = networks.decoded(networks.draw(noise))
    fixed = {"weight": 0.0, "joining": True} if networks.decoder is not None else {}
    thickness = measure_thickness([sample.mask for sample in real])
    pieces = np.mean([len(label_pieces(sample.mask[..., 0])[1]) for sample in real])
    view, described = common_view(real), [shapes.describe(sample.mask, sample.field_of_view) for sample in real]
    tried = []
    for ridge in RIDGES:

        def masks_at(wall, ridge=ridge):
            networks.rule = {"wall": wall, "ridge": ridge} | fixed
            return networks.masks_of(decoded)

        masks = masks_at(find_wall(masks_at, thickness))
        sizes = np.sort(np.concatenate([label_pieces(mask[..., 0])[1] for mask in masks]))[::-1]
        wanted = round(pieces * len(masks))
        for kept in {wanted, max(wanted, np.searchsorted(np.cumsum(sizes), KEPT_AREA * sizes.sum()) + 1)}:
            networks.rule = networks.rule | {"smallest": int(sizes[kept - 1]) if 0 < kept < len(sizes) else 1}
            found = [shapes.describe(mask, view) for mask in networks.masks_of(decoded)]
            tried.append((mean_distance(described, found), ridge, networks.rule))
    networks.rule = min(tried, key=lambda entry: (*entry[:2], entry[2]["smallest"]))[2]


def mean_distance(real, found):
    """Mean of metrics.shapes's distances between the statistics of two sets of masks; 0 where there are none."""
    distances = [entry["distance"] for entry in shapes.compare(real, found).values()]
    return float(np.mean([each for each in distances if each is not None] or [0.0]))


def common_view(real):
    """The field of view that most of the samples have in common [height, width, 1] in {0, 1};
    None where they have none.
    """
    views = [sample.field_of_view for sample in real]
    return np.mean(views, 0).round().astype(np.uint8) if views[0] is not None else None


def measurement(networks, real, settings):
    """Returns the function that loop.fit measures stage 1 with, on MEASURED_SAMPLES samples, or as many as `real` has
    if these are more, and `real`, of the training set; see `stage1.divided`.

    It settles and calibrates the networks first. "distance" tells the best checkpoint: for masks the mean of
    metrics.shapes's distances, which neither broken nor repeated masks make small; for photographs KID on
    metrics.fidelity's features. (P1 and P2 chose by eye.) "diversity" is the mean Bray-Curtis distance between two
    samples, which for masks is 1 - Dice, over that between two real ones, of a conditional model that of the class
    where it is least. "originality", of masks alone, is how unlike the likest training mask a generated one is, 1 - the
    median of metrics.likeness, over how unlike the likest other one a training mask is: masks of new eyes have
    about 1, and copies less (cf. authenticity in Alaa et al. 2022, "How Faithful is your Synthetic Data?").
    Where the real ones do not differ, or are one, nothing is measured and every distance is 0. A PGGAN is measured once
    it has grown.
    """
    part = settings["target"]
    views, view = [sample.field_of_view for sample in real], common_view(real)  # samples have none of their own
    count = max(MEASURED_SAMPLES, len(real))
    noise = tf.random.stateless_normal([count, *networks.noise_shape], [settings["seed"], -4])

    def describe(pictures, views):
        if part == "image":
            return features.describe_photographs(pictures, views)
        return [shapes.describe(*pair) for pair in zip(pictures, views)]

    def variety(pictures):
        labels = networks.typical_labels(len(pictures))
        kinds = np.zeros(len(pictures), int) if labels is None else labels.argmax(1)
        rows = pictures.reshape(len(pictures), -1).astype(np.float64)
        apart = {kind: pdist(rows[kinds == kind], "braycurtis") for kind in np.unique(kinds)}
        # Two empty masks are the same
        return {kind: float(np.nan_to_num(each).mean()) for kind, each in apart.items() if len(each)}

    originals = np.stack([getattr(sample, part) for sample in real])
    described = describe(originals, views)
    varied = {kind: apart for kind, apart in variety(originals).items() if apart}
    own = 0.0
    if part == "mask" and len(real) > 1:
        small, square = likeness.make_mask_thumbnails(originals), originals.shape[1] == originals.shape[2]
        alike = likeness.compare(small, small, square)[0]
        np.fill_diagonal(alike, -1)
        own = 1 - float(np.median(alike.max(1)))

    def measure():
        # No weights to make samples with yet
        if networks.stage and networks.stage != (networks.sampler.last_level, None):
            return {}, ""
        networks.settle(settings["seed"])
        calibrate(networks, real, settings)
        labels = networks.typical_labels(count)
        parts = [slice(first, first + AT_ONCE) for first in range(0, count, AT_ONCE)]
        made = [networks.draw(noise[part], None if labels is None else labels[part]) for part in parts]
        made = np.concatenate([networks.pictures(fields) for fields in made])
        found = describe(made, [view] * len(made))
        if not varied:
            return {"distance": 0.0}, ""
        if part == "image":
            distance = kid_fid.kid(*(features.standardise(each, described) for each in (described, found)))
        else:
            distance = mean_distance(described, found)
        found_variety = variety(made)
        diversity = min(found_variety[kind] / apart for kind, apart in varied.items())
        warning = f"LOW DIVERSITY {diversity:.2f} of the real set's " if diversity < LOW_DIVERSITY else ""
        measured = {"distance": float(distance), "diversity": diversity}
        if own > 1e-4:  # of training masks that are there twice nothing is known
            alike = likeness.find_most_similar(likeness.make_mask_thumbnails(made), small, square)[0]
            measured["originality"] = (1 - float(np.median(alike.max(1)))) / own
        return measured, warning

    return measure
