"""Is the synthetic set useful? The same U-Net trained on real, on synthetic and on both,
tested on real images (P1 § U-net).
"""

import hashlib
import statistics

import numpy as np

from synthmed_tf.datasets.prepare import crop_sample
from synthmed_tf.images.resize import fit_box, uncrop
from synthmed_tf.metrics import bootstrap, f1
from synthmed_tf.training import segmenter

P1_PAIRS = 50  # P1 section 10
MOST = 200  # training pairs that a threshold is chosen on, and synthetic pairs that the agreement is measured on


def benchmark(folder, real, synthetic, test, image_size, *, steps, repeats, seed=0, levels=3, width=16):
    """Trains the arms and tests them at the set's size and at native resolution.

    The arms are real, synthetic, real_and_synthetic and, where there are more synthetic pairs than P1_PAIRS,
    synthetic_50: the first 50 of them. In each step real_and_synthetic sees what the real arm sees and as many crops of
    synthetic pairs, so that many of these do not drown the few real ones.

    "intervals" say what other test images might have given: 95 % of 1,000 draws of the test images with replacement, of
    F1 in each arm, of the ratios and of the gain of both over real alone, the same draws in all arms.

    The threshold is chosen on pairs that the arm was trained on, real ones where it has some. "agreement" scores what
    the U-Nets of the real arm find in the synthetic photographs against the masks these were made from: vessels without
    a mask and masks without a vessel. Arms whose trainings are done are not trained again.

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
    frame = Frame(test, image_size)
    small, native, thresholds, seconds = ({arm: [] for arm in arms} for _ in range(4))
    agreement, counts = [], {arm: [] for arm in arms}
    for repeat in range(repeats):
        for place, arm in enumerate(arms, start=1):
            how = f"unet{levels}x{width}", f"seed{seed + repeat}", f"steps{steps}"
            name = "-".join([arm, *how, *map(_digest, arms[arm])])
            label = f"U-Net {repeat * len(arms) + place}/{repeats * len(arms)} ({arm})"
            model, result = segmenter.train(folder / name, arms[arm], steps, seed + repeat, label, levels, width)
            threshold = f1.best_threshold(*_predictions(model, arms[arm][0][:MOST]))
            if arm == "real":
                agreement.append(f1.scores(*_predictions(model, synthetic[:MOST]), threshold))
            probabilities = [*segmenter.predict(model, frame.small)]
            small[arm].append(f1.scores(probabilities, frame.masks, frame.views, threshold))
            counts[arm].append(f1.counts(probabilities, frame.masks, frame.views, threshold))
            native[arm].append(
                f1.scores(frame.to_native(probabilities), frame.native_masks, frame.native_views, threshold)
            )
            thresholds[arm].append(threshold)
            seconds[arm].append(round(result["seconds"], 1))
    summary = {arm: _summary(runs) for arm, runs in small.items()}
    groups = [f"alone {index}" if sample.group is None else sample.group for index, sample in enumerate(test)]
    drawn = {arm: f1.bootstrapped(runs, groups, seed) for arm, runs in counts.items()}

    return {
        "image_size": list(image_size),
        "steps": steps,
        "repeats": repeats,
        "unet": {"levels": levels, "width": width, "parameters": model.count_params()},
        "test_images": len(test),
        "real_pairs": len(real),
        "synthetic_pairs": len(synthetic),
        "arms": summary,
        "agreement": _summary(agreement),
        "thresholds": thresholds,
        "native": {
            "arms": {arm: _summary(runs) for arm, runs in native.items()},
            "second_observer": frame.second_observer(),
        },
        "intervals": {arm: bootstrap.interval(values) for arm, values in drawn.items()},
        **_compared({arm: summary[arm]["f1"]["fov_pooled"]["mean"] for arm in arms}, drawn),
        "seconds": seconds,
    }


def _compared(f1, drawn):
    """F1 {arm: number or None} and draws of it {arm: [draws]} -> {"ratio", "ratio_interval", "gain", "gain_interval"},
    and the ratio of 50 pairs where it is known.
    """
    f1 = {arm: np.float64(np.nan if value is None else value) for arm, value in f1.items()}
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {
            "ratio": [values["synthetic"] / values["real"] for values in (f1, drawn)],
            "gain": [values["real_and_synthetic"] - values["real"] for values in (f1, drawn)],
        }
        if "synthetic_50" in f1:
            found["ratio_50"] = [values["synthetic_50"] / values["real"] for values in (f1, drawn)]
    return {name: float(value) if np.isfinite(value) else None for name, (value, _) in found.items()} | {
        f"{name}_interval": bootstrap.interval(draws) for name, (_, draws) in found.items()
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

    def to_native(self, probabilities):
        """Probabilities at the benchmark's size -> at each image's own size, 0 outside the field of view."""
        native = []
        for values, box, sample in zip(probabilities, self.boxes, self.test, strict=True):
            values = uncrop(values, box, sample.mask.shape[:2])
            native.append(values if sample.field_of_view is None else values * sample.field_of_view[..., 0])
        return native

    def second_observer(self):
        """Scores of the second observer against the first at native resolution; None where there is no second."""
        if any(sample.second_mask is None for sample in self.test):
            return None
        return f1.scores([sample.second_mask for sample in self.test], self.native_masks, self.native_views, 0.5)


def _digest(samples):
    """8 hexadecimal digits of the samples' pixels: other data are another training."""
    digest = hashlib.sha256()
    for sample in samples:
        for part in (sample.image, sample.mask, sample.field_of_view):
            digest.update(b"" if part is None else part.tobytes())
    return digest.hexdigest()[:8]


def _predictions(model, samples):
    return [*segmenter.predict(model, samples)], [s.mask for s in samples], [s.field_of_view for s in samples]


def _summary(runs):
    """[scores of each run] -> {metric: {convention: {"mean", "sd", "runs"}}}."""

    def entry(values):
        known = [value for value in values if value is not None]
        mean = statistics.fmean(known) if known else None
        return {"mean": mean, "sd": statistics.stdev(known) if len(known) > 1 else None, "runs": values}

    return {
        metric: {convention: entry([run[metric][convention] for run in runs]) for convention in conventions}
        for metric, conventions in runs[0].items()
    }
