"""What a checkpoint of stage 1 is worth: how far its samples are from training samples, and how varied they are.

P1 and P2 chose by eye.
"""

import collections
import zlib

import numpy as np
import tensorflow as tf
from scipy.spatial.distance import pdist

from synthmed_tf.images.field_of_view import estimate_field_of_view
from synthmed_tf.metrics import features, kid_fid, likeness, shapes
from synthmed_tf.sample import spaced
from synthmed_tf.smalldata import threshold

LEAST_SAMPLES = AT_ONCE = 64
PAINTED = 32  # photographs of stage 2
LOW_DIVERSITY = 0.6  # of the real set's; one picture for every z has 0, masks of DRIVE that vary had 0.9
HELD_OUT = 256  # images of a large set that its generator does not learn from, and is measured against
LEAST_DIVIDED = 8 * HELD_OUT


def divide(real, seed):
    """Divides a large set into what a generator learns from and what it is measured against.

    Args:
      real: sequence of training Samples. seed: which patients or slides are held out.

    Returns:
      (sequence of Samples, list of HELD_OUT Samples or a few more, all those of some patients or slides; empty where
      there are fewer than LEAST_DIVIDED).
    """
    if len(real) < LEAST_DIVIDED:
        return real, []
    members = collections.defaultdict(list)
    for sample in real:
        members[sample.group or sample.id].append(sample)
    held_out, groups = [], sorted(members)
    for index in np.random.default_rng([seed, 5]).permutation(len(groups)):
        if len(held_out) < HELD_OUT:
            held_out += members.pop(groups[index])
    return [sample for group in members.values() for sample in group], held_out


def make_measurement(examples, sampler):
    """The function by which loop.fit measures stage 1: () -> ({name: number}, a warning or "").

    As many samples as are watched, LEAST_SAMPLES at least, are compared with the watched real ones:
    * distance: of masks the mean distance of shapes (metrics), which neither broken nor repeated masks make small; of
      images KID on the feature space of the report.
    * diversity: mean Bray-Curtis distance between two samples over that between two real ones, of the class where it is
      least. For masks that is 1 - Dice.
    * originality, of masks: how unlike its most similar training mask a sample is, over how unlike its most similar
      other one
      a training mask is; medians. Masks of new eyes have about 1 (cf. authenticity, Alaa et al. 2022).

    Where the real ones do not differ, or are one, every distance is 0.
    """
    watched, target = examples.watched, examples.target
    views, view = [sample.field_of_view for sample in watched], threshold.find_common_view(watched)
    count = max(LEAST_SAMPLES, len(watched))
    noise = tf.random.stateless_normal([count, *sampler.noise_shape], [sampler.seed, -4])
    labels = examples.list_typical_labels(count)
    originals = np.stack([getattr(sample, target) for sample in watched])
    described = _describe(originals, views, target)
    real_diversity = {name: value for name, value in _diversity(originals, examples).items() if value}
    originality = _Originality(originals) if target == "mask" and len(watched) > 1 else None

    def measure():
        parts = [slice(first, first + AT_ONCE) for first in range(0, count, AT_ONCE)]
        samples = np.concatenate(
            [sampler.paint(noise[part], None if labels is None else labels[part]) for part in parts]
        )
        if not real_diversity:
            return {"distance": 0.0}, ""
        drawn = _describe(samples, [view] * count, target)
        if target == "image":
            distance = kid_fid.kid(*(features.standardise(values, described) for values in (described, drawn)))
        else:
            distance = threshold.average_distances(described, drawn)
        diversity = _diversity(samples, examples)
        least = min(diversity[name] / value for name, value in real_diversity.items())
        warning = f"LOW DIVERSITY {least:.2f} of the real set's " if least < LOW_DIVERSITY else ""
        measured = {"distance": float(distance), "diversity": least}
        return measured | (originality.of(samples) if originality else {}), warning

    return measure


def make_painting_measurement(real, masks):
    """As `make_measurement`, of stage 2: a function (paint) -> the function by which loop.fit measures it.

    distance is KID between at most PAINTED photographs painted on synthetic masks, which is what stage 2 is for, and as
    many training photographs; "masks" a checksum of these masks, as there may be others when a run goes on. Where
    there are not two of either, every distance is 0.

    Args:
      real: sequence of training Samples with image and mask. masks: sequence of synthetic Samples.
    """
    real, masks = spaced(real, PAINTED), masks[:PAINTED]
    views = [sample.field_of_view for sample in real]
    originals = features.describe_photographs([sample.image for sample in real], views)
    checksum = zlib.crc32(np.packbits([sample.mask for sample in masks]))

    def watch(paint):
        def measure():
            if min(len(real), len(masks)) < 2:
                return {"distance": 0.0, "masks": checksum}, ""
            painted = [paint(sample.mask, index) for index, sample in enumerate(masks)]
            estimated = [None if views[0] is None else estimate_field_of_view(image) for image in painted]
            drawn = features.describe_photographs(painted, estimated)
            distance = kid_fid.kid(*(features.standardise(values, originals) for values in (originals, drawn)))
            return {"distance": distance, "masks": checksum}, ""

        return measure

    return watch


def _describe(pictures, views, target):
    """What a distance is measured on: features [n, d] of images, shape statistics of masks."""
    if target == "image":
        return features.describe_photographs(pictures, views)
    return [shapes.describe(*pair) for pair in zip(pictures, views, strict=True)]


def _diversity(pictures, examples):
    """{class: mean Bray-Curtis distance between two pictures} where there are two."""
    labels = examples.list_typical_labels(len(pictures))
    classes = np.zeros(len(pictures), int) if labels is None else labels.argmax(1)
    rows = pictures.reshape(len(pictures), -1).astype(np.float64)
    distances = {name: pdist(rows[classes == name], "braycurtis") for name in np.unique(classes)}
    # Two empty masks are the same
    return {name: float(np.nan_to_num(values).mean()) for name, values in distances.items() if len(values)}


class _Originality:
    """Of masks beside training masks, see `make_measurement`."""

    def __init__(self, training):
        self.thumbnails, self.square = likeness.make_mask_thumbnails(training), training.shape[1] == training.shape[2]
        alike = likeness.compare(self.thumbnails, self.thumbnails, self.square)[0]
        np.fill_diagonal(alike, -1)
        self.of_training = 1 - float(np.median(alike.max(1)))

    def of(self, masks):
        if self.of_training < 1e-4:  # training masks that are there twice tell nothing
            return {}
        alike = likeness.find_most_similar(likeness.make_mask_thumbnails(masks), self.thumbnails, self.square)[0]
        return {"originality": (1 - float(np.median(alike.max(1)))) / self.of_training}
