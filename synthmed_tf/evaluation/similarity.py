"""Is the synthetic set faithful? Divergence of intensities (P1 § Evaluation Metrics), fidelity and diversity,
with their floors.
"""

from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from tqdm import tqdm

from synthmed_tf.metrics import features, fidelity, kl, lungs, shapes
from synthmed_tf.records.atomic import hash_file
from synthmed_tf.sample import spaced

MOST_LUNGS = 2000  # X-rays of a set whose lungs are looked for, at even steps
INCEPTION_BATCH = 8  # images
INCEPTION_NAME = "photographs, Inception"
INCEPTION_DESCRIPTION = (
    "The 2,048 features before the last layer of Keras's InceptionV3, of images resized to 299 x 299 pixels (bicubic, "
    "antialiased). They cannot be set beside FID or KID on the Inception of 2015, which most papers report."
)


def intensity(real, synthetic, held_out=(), seed=0):
    """The "distribution" part of report.json:
    KL(real || synthetic) a channel, and of a random half of the real set to the other one and to as many synthetic
    images (of fewer than half where there are fewer synthetic ones); and with held-out images KL(held-out || synthetic)
    and, as its floor, KL(held-out || real), since a set can have the light of what it learned from and of nothing else.

    Args:
      real, synthetic: sequences of Samples with an image; inside their fields of view where they have one.
      held_out: sequence of real Samples that were not learned from; may be empty.
      seed: of the random halves.
    """
    (real_images, real_views), (images, views) = _images(real), _images(synthetic)
    histograms = {
        "real": kl.intensity_histograms(real_images, real_views),
        "synthetic": kl.intensity_histograms(images, views),
    }
    others = kl.intensity_histograms(*_images(held_out)) if len(held_out) else {}

    halves = {"size": min(len(real) // 2, len(synthetic)), "seed": seed}

    def divergence(p, q):
        return {channel: kl.kl_divergence(p[channel], q[channel]) for channel in sorted(p.keys() & q.keys())}

    return {
        "kl_intensity": {
            "synthetic_vs_real": divergence(histograms["real"], histograms["synthetic"]),
            "synthetic_vs_held_out": divergence(others, histograms["synthetic"]),
            "real_vs_held_out": divergence(others, histograms["real"]),
            "real_vs_real": kl.real_vs_half(real_images, real_views, **halves),
            "synthetic_vs_half": kl.real_vs_half(real_images, real_views, others=images, other_views=views, **halves),
        },
        "histograms": {
            name: {key: counts.tolist() for key, counts in each.items()} for name, each in histograms.items()
        },
        "smoothing": kl.SMOOTHING,
    }


def fidelity_and_diversity(training, synthetic, test, seed=0, photographs=None, inception_weights=None):
    """The "fidelity" part of report.json:
    metrics.fidelity.compare for photographs, for masks where all sets have them, and with weights for photographs on
    Inception's features too ("photographs, Inception").

    Args:
      training, synthetic, test: sequences of Samples; test, the reference, may be empty.
      seed: of the random subsets.
      photographs: (training, test) to compare the photographs with, where it is not with those of `training` and
        `test`.
      inception_weights: path, see networks.inception.

    Raises:
      InputError: a file that does not hold the weights.
    """
    sets = {"photographs": photographs or (training, test)}
    if all(samples[0].mask is not None for samples in (training, synthetic, test) if len(samples)):
        sets["masks"] = training, test
    if inception_weights:
        from synthmed_tf.networks.inception import inception

        network = inception(synthetic[0].image.shape, inception_weights)
        inception_features = {
            "name": "Inception",
            "description": INCEPTION_DESCRIPTION,
            "weights": Path(inception_weights).name,
            "weights_sha256": hash_file(Path(inception_weights)),
        }
        sets[INCEPTION_NAME] = sets["photographs"]
    total = sum(
        min(len(samples), fidelity.MOST if name == INCEPTION_NAME else len(samples))
        for name, each in sets.items()
        for samples in (synthetic, *each)
    )
    with tqdm(total=total, desc="features", unit="image") as bar:

        def described(name, samples):
            def counted(values):
                for value in values:
                    bar.update()
                    yield value

            if name == "masks":
                return features.mask_features(counted(sample.mask for sample in samples))
            if name == INCEPTION_NAME:
                return _inception_features(network, samples, seed, bar)
            images, views = _images(samples)
            return features.photograph_features(counted(images), views)

        figures = {}
        for name, (learned, others) in sets.items():
            held_out = described(name, others) if len(others) else None
            kind = inception_features if name == INCEPTION_NAME else features.FEATURES
            figures[name] = fidelity.compare(
                described(name, learned), described(name, synthetic), held_out, seed=seed, features=kind
            )
    return figures


def mask_shapes(training, synthetic, test):
    """The "morphology" part of report.json:
    metrics.shapes.distances from the training masks, a statistic at a time.

    Fields of view are counted where all three sets have them.

    Args:
      training, synthetic, test: sequences of Samples with masks of one size; test, the floor, may be empty.
    """
    has_views = all(samples[0].field_of_view is not None for samples in (training, synthetic, test) if len(samples))
    with tqdm(total=len(training) + len(synthetic) + len(test), desc="mask shapes", unit="mask") as bar:

        def measured(samples):
            for sample in samples:
                bar.update()
                yield shapes.statistics(sample.mask, sample.field_of_view if has_views else None)

        sets = [list(measured(samples)) for samples in (training, synthetic, test)]
    return shapes.distances(*sets)


def distorted_bodies(training, synthetic, test):
    """The "lungs" part of report.json: the share of X-rays whose lungs are missing, or where those of training X-rays
    hardly ever are (P2 § 4; `metrics.lungs`).

    Args:
      training, synthetic, test: sequences of Samples; test, the floor, may be empty.

    Returns:
      {"synthetic": share, "held_out": share, or None without test}; {} where training X-rays show no lungs.
    """
    parts = [spaced(samples, MOST_LUNGS) for samples in (training, synthetic, test)]
    bar = tqdm([sample.image for part in parts for sample in part], desc="lungs", unit="image")
    described = Parallel(-1)(delayed(lungs.describe)(image) for image in bar)
    ends = np.cumsum([len(part) for part in parts])
    real, made, held_out = np.split(np.array(described), ends[:-1])
    found = [lungs.distorted(real, others) if len(others) else None for others in (made, held_out)]
    if found[0] is None:
        return {}
    return {name: None if each is None else float(each.mean()) for name, each in zip(("synthetic", "held_out"), found)}


def _inception_features(network, samples, seed, bar):
    """[count, 2048] of a random metrics.fidelity.MOST of the samples: a network takes its time."""
    drawn = np.random.default_rng(seed).permutation(len(samples))[: fidelity.MOST]
    found = []
    for start in range(0, len(drawn), INCEPTION_BATCH):
        batch = [samples[int(index)] for index in drawn[start : start + INCEPTION_BATCH]]
        pictures = np.stack([features.visible(each.image, each.field_of_view) for each in batch])
        found.append(network(pictures.astype(np.float32), training=False).numpy())
        bar.update(len(batch))
    return np.concatenate(found).astype(np.float64)


def _images(samples):
    return [sample.image for sample in samples], [sample.field_of_view for sample in samples]
