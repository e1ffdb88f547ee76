"""Is a synthetic set useful? A U-Net trained on real, synthetic and both kinds, tested on real images (P1 § U-net)."""

import collections
import hashlib
import statistics

import numpy as np
import tensorflow as tf

from synthmed_tf.datasets.prepare import crop_sample
from synthmed_tf.images.resize import fit_box, uncrop
from synthmed_tf.metrics import bootstrap, f1
from synthmed_tf.papers import segmenter

NOTHING_TO_TEST_ON = (
    "The test images of {} have no masks, so there is nothing to test on. Hold out training images in their place: run "
    "train_stage1.py with --holdout=5 and another --out_dir, and then the other two scripts with that --out_dir."
)
P1_PAIRS = 50  # P1 section 10
MOST = 200  # training pairs that a threshold is chosen on, and synthetic pairs that the agreement is measured on

# What one U-Net reaches: scores at the benchmark's size and at native resolution, counts as of `f1.count_pixels`
Run = collections.namedtuple("Run", "scores native counts threshold seconds")


def measure(folder, real, synthetic, test, image_size, **options):
    """`benchmark`, or {"unavailable": why}."""
    if not test:
        return {"unavailable": NOTHING_TO_TEST_ON.format(real.manifest["name"])}
    return benchmark(folder, real, synthetic, test, image_size, **options)


def benchmark(folder, real, synthetic, test, image_size, *, steps, repeats, seed=0, levels=3, width=16):
    """Trains the arms and tests them at the set's size and at native resolution.

    The arms are real, synthetic, real_and_synthetic and, beside more than P1_PAIRS synthetic pairs, synthetic_50: the
    first 50 of them. A step of real_and_synthetic sees what the real arm sees and as many crops of synthetic pairs.
    So many synthetic pairs do not drown the few real ones.

    The threshold is chosen on pairs that the arm was trained on, real ones where it has some. "agreement" scores what
    the U-Nets of the real arm see in the synthetic photographs against their masks: vessels without a mask and masks
    without a vessel. "intervals" tell what other test images might have given, by the same bootstrap draws in all arms.
    A training that is finished is not repeated.

    Args:
      folder: pathlib.Path; each training has a folder of its own under it.
      real, synthetic: sequences of Samples with image and mask, all of image_size.
      test: list of native Samples with image and mask, and their second_mask where there is one.
      image_size: (height, width).
      steps: training steps of each U-Net.
      repeats: trainings per arm, with seeds seed, seed + 1, ...
      levels, width: of each U-Net, see networks.unet.

    Returns:
      The "segmentation" part of report.json.
    """
    arms = {"real": [real], "synthetic": [synthetic], "real_and_synthetic": [real, synthetic]}
    if len(synthetic) > P1_PAIRS:
        arms["synthetic_50"] = [synthetic[:P1_PAIRS]]
    frame, precision = Frame(test, image_size), tf.keras.mixed_precision.global_policy().name
    runs, agreement = {arm: [] for arm in arms}, []
    for repeat in range(repeats):
        for place, (arm, sets) in enumerate(arms.items(), start=1):
            how = f"unet{levels}x{width}", precision, f"seed{seed + repeat}", f"steps{steps}"
            name = "-".join([arm, *how, *map(_digest, sets)])
            label = f"U-Net {repeat * len(arms) + place}/{repeats * len(arms)} ({arm})"
            model, result = segmenter.train(folder / name, sets, steps, seed + repeat, label, levels, width)
            threshold = f1.choose_threshold(*_predict(model, sets[0][:MOST]))
            runs[arm].append(_test(model, frame, threshold, round(result["seconds"], 1)))
            if arm == "real":
                agreement.append(f1.score(*_predict(model, synthetic[:MOST]), threshold))
    return {
        "image_size": list(image_size),
        "steps": steps,
        "repeats": repeats,
        "unet": {"levels": levels, "width": width, "parameters": model.count_params(), "precision": precision},
        "test_images": len(test),
        "real_pairs": len(real),
        "synthetic_pairs": len(synthetic),
        "agreement": _summarise(agreement),
        **_report_arms(runs, frame, seed),
    }


def _test(model, frame, threshold, seconds):
    probabilities = [*segmenter.predict(model, frame.small)]
    small = probabilities, frame.masks, frame.views, threshold
    native = f1.score(frame.to_native(probabilities), frame.native_masks, frame.native_views, threshold)
    return Run(f1.score(*small), native, f1.count_pixels(*small), threshold, seconds)


def _report_arms(runs, frame, seed):
    """What report.json says about the arms: {arm: [Run of each repeat]} -> {key: numbers of each arm, or of two}."""
    scores = {arm: _summarise([run.scores for run in trained]) for arm, trained in runs.items()}
    draws = {arm: f1.score_draws([run.counts for run in trained], frame.groups, seed) for arm, trained in runs.items()}
    return {
        "arms": scores,
        "thresholds": {arm: [run.threshold for run in trained] for arm, trained in runs.items()},
        "native": {
            "arms": {arm: _summarise([run.native for run in trained]) for arm, trained in runs.items()},
            "second_observer": frame.score_second_observer(),
        },
        "intervals": {arm: bootstrap.compute_interval(values) for arm, values in draws.items()},
        **_compare_arms({arm: scores[arm]["f1"]["fov_pooled"]["mean"] for arm in runs}, draws),
        "seconds": {arm: [run.seconds for run in trained] for arm, trained in runs.items()},
    }


def _compare_arms(means, draws):
    """Ratios to the real arm, and the gain of both over it, with their intervals.

    Args:
      means: {arm: F1, or None where it is undefined}.
      draws: {arm: [draws] F1}.

    Returns:
      {"ratio", "ratio_interval", "gain", "gain_interval"}, and the same of "ratio_50" where that arm was trained.
    """
    means = {arm: np.float64(np.nan if value is None else value) for arm, value in means.items()}
    with np.errstate(divide="ignore", invalid="ignore"):
        pairs = {
            "ratio": [values["synthetic"] / values["real"] for values in (means, draws)],
            "gain": [values["real_and_synthetic"] - values["real"] for values in (means, draws)],
        }
        if "synthetic_50" in means:
            pairs["ratio_50"] = [values["synthetic_50"] / values["real"] for values in (means, draws)]
    return {name: float(value) if np.isfinite(value) else None for name, (value, _) in pairs.items()} | {
        f"{name}_interval": bootstrap.compute_interval(drawn) for name, (_, drawn) in pairs.items()
    }


class Frame:
    """The test images at the size of the benchmark, and the way back to native pixels."""

    def __init__(self, test, image_size):
        self.test = test
        self.small = [crop_sample(sample, image_size) for sample in test]
        self.masks = [sample.mask for sample in self.small]
        self.views = [sample.field_of_view for sample in self.small]
        self.native_masks = [sample.mask for sample in test]
        self.native_views = [sample.field_of_view for sample in test]
        self.boxes = [fit_box(*sample.mask.shape[:2], image_size, sample.field_of_view) for sample in test]
        # A name for each group, so that np.unique can sort them
        self.groups = [f"alone {i}" if sample.group is None else sample.group for i, sample in enumerate(test)]

    def to_native(self, probabilities):
        """Probabilities at the benchmark's size -> at each image's own size, 0 outside the field of view."""
        native = []
        for values, box, sample in zip(probabilities, self.boxes, self.test, strict=True):
            values = uncrop(values, box, sample.mask.shape[:2])
            native.append(values if sample.field_of_view is None else values * sample.field_of_view[..., 0])
        return native

    def score_second_observer(self):
        """Scores of the second observer against the first at native resolution; None where there is no second."""
        if any(sample.second_mask is None for sample in self.test):
            return None
        return f1.score([sample.second_mask for sample in self.test], self.native_masks, self.native_views, 0.5)


def _digest(samples):
    """8 hexadecimal digits of the samples' pixels: other data are another training."""
    digest = hashlib.sha256()
    for sample in samples:
        for part in (sample.image, sample.mask, sample.field_of_view):
            digest.update(b"" if part is None else part.tobytes())
    return digest.hexdigest()[:8]


def _predict(model, samples):
    """(probabilities, masks, fields of view) of samples, as `f1.score` takes them."""
    masks, views = [sample.mask for sample in samples], [sample.field_of_view for sample in samples]
    return [*segmenter.predict(model, samples)], masks, views


def _summarise(runs):
    """[scores of each run] -> {metric: {convention: {"mean", "sd", "runs"}}}."""

    def summarise_values(values):
        defined = [value for value in values if value is not None]
        mean = statistics.fmean(defined) if defined else None
        return {"mean": mean, "sd": statistics.stdev(defined) if len(defined) > 1 else None, "runs": values}

    return {
        metric: {convention: summarise_values([run[metric][convention] for run in runs]) for convention in conventions}
        for metric, conventions in runs[0].items()
    }
