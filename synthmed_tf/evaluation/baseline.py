"""A synthetic set, and a second one beside it (P1 figure 7), against the real set in all that needs no training."""

import collections.abc
import dataclasses

from synthmed_tf.evaluation import privacy_audit, similarity
from synthmed_tf.images.field_of_view import estimate_field_of_view
from synthmed_tf.records.read import Records, require_features
from synthmed_tf.sample import InputError

OF_MASKS = ("segmentation", "morphology", "copies")
NO_MASKS = "The synthetic set has no masks, so nothing can learn to find them from it, and there are none to compare."
NO_CLASSES = "The synthetic set has no classes, so nothing can learn to tell them apart from it."


def choose_benchmarks(asked, real, synthetic):
    """Which benchmarks fit a synthetic set.

    Args:
      asked: names of benchmarks; None: all that fit, and those of masks too for a set without masks and classes.
      real, synthetic: Records.

    Returns:
      (set of the names to run, {name: {"unavailable": why}} of the others that were asked for).
    """
    has_masks, has_classes = "mask" in synthetic.features, bool(synthetic.class_names)
    if asked is None:
        of_classes = ["classification"] if has_classes and real.class_names else []
        of_masks = OF_MASKS if has_masks or not of_classes else []
        asked = ["distribution", "fidelity", "privacy", *of_classes, *of_masks]
    reasons = {} if has_masks else dict.fromkeys(OF_MASKS, NO_MASKS)
    reasons |= {} if has_classes else {"classification": NO_CLASSES}
    return set(asked) - reasons.keys(), {name: {"unavailable": reasons[name]} for name in asked if name in reasons}


def compare_with_real(synthetic, *, real, held_out, benchmarks, seed, photographs=None, inception_weights=None):
    """The parts of report.json that need no training: {benchmark: what its own function returns}.

    Args:
      synthetic: sequence of Samples with an image. Without masks, what compares masks is left out.
      real: sequence of Samples, those that the generator was trained on; with masks if the synthetic ones have them.
      held_out: sequence of real Samples that it was not trained on, the same; may be empty.
      benchmarks: names among "distribution", "fidelity", "morphology", "copies", "privacy"; others are left out.
      seed: of all that is random.
      photographs: (real, held_out) to compare the photographs with, where stage 2 learned from another set than stage
        1, or where held-out photographs have no masks.
      inception_weights: path, see networks.inception; None: no figures on its features.
    """
    learned, others = photographs or (real, held_out)
    functions = {
        "distribution": lambda: similarity.compare_intensities(learned, synthetic, others, seed),
        "fidelity": lambda: similarity.compare_features(
            real, synthetic, held_out, seed, (learned, others), inception_weights
        ),
        "privacy": lambda: privacy_audit.audit_images(learned, synthetic, others, seed),
    }
    if synthetic[0].mask is not None:
        functions["morphology"] = lambda: similarity.compare_shapes(real, synthetic, held_out)
        functions["copies"] = lambda: privacy_audit.audit_masks(real, synthetic, held_out, seed)
    return {name: function() for name, function in functions.items() if name in benchmarks}


class WithViews(collections.abc.Sequence):
    """A synthetic set whose samples have a field of view where the real ones have one.

    The set of another program has none, and its dark surrounds would be compared with what a camera sees.

    Args:
      synthetic, real: Records.
    """

    def __init__(self, synthetic, real):
        self.samples = synthetic
        self.lacks = "field_of_view" in real.features and "field_of_view" not in synthetic.features

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        sample = self.samples[index]
        if not self.lacks:
            return sample
        return dataclasses.replace(sample, field_of_view=estimate_field_of_view(sample.image))


def open_baseline(folder, synthetic):
    """The Records of the baseline in `folder`, which must have images of the size and channels of the synthetic set.

    Args:
      folder: pathlib.Path.
      synthetic: Records.

    Raises:
      InputError: not a data set, no images, or images of another size or with other channels.
    """
    baseline = Records(folder)
    require_features(baseline, "image")
    theirs, ours = ("{} x {} pixels with {} channels".format(*set_[0].image.shape) for set_ in (baseline, synthetic))
    if theirs != ours:
        raise InputError(
            f"{folder}: images of {theirs}, those of the synthetic set {synthetic.folder} are of {ours}; make the "
            "baseline again with the same --data and --image_size"
        )
    return baseline
