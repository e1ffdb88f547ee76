"""Is a synthetic set faithful? Intensities (P1 § Evaluation Metrics), features, shapes and lungs, beside floors."""

from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

from synthmed_tf.images.lungs import find_lung_hull
from synthmed_tf.metrics import body_shape, features, fidelity, kl, shapes
from synthmed_tf.progress import show_progress
from synthmed_tf.records.atomic import hash_file
from synthmed_tf.sample import spaced

MOST_LUNGS = 2000  # X-rays of a set whose lungs are looked for, at even steps
INCEPTION_BATCH = 8  # images
INCEPTION_NAME = "photographs, Inception"
INCEPTION_DESCRIPTION = (
    "The 2,048 features before the last layer of Keras's InceptionV3, of images resized to 299 x 299 pixels (bicubic, "
    "antialiased). They cannot be set beside FID or KID on the Inception of 2015, which most papers report."
)


def compare_intensities(real, synthetic, held_out=(), seed=0):
    """The "distribution" part of report.json: divergences of intensities, a channel at a time.

    KL(real || synthetic) has two floors: a random half of the real set against the other one, and against as many
    synthetic images (fewer than half where there are fewer). KL(held-out || synthetic) has the floor
    KL(held-out || real), since a set can have the light of what it learned from and of nothing else.

    Args:
      real, synthetic: sequences of Samples with an image; inside their fields of view where they have one.
      held_out: sequence of real Samples that were not learned from; may be empty.
      seed: of the random halves.
    """
    (real_images, real_views), (images, views) = _split(real), _split(synthetic)
    histograms = {
        "real": kl.count_intensities(real_images, real_views),
        "synthetic": kl.count_intensities(images, views),
    }
    others = kl.count_intensities(*_split(held_out)) if len(held_out) else {}
    halves = {"size": min(len(real) // 2, len(synthetic)), "seed": seed}

    def diverge(p, q):
        return {channel: kl.kl_divergence(p[channel], q[channel]) for channel in sorted(p.keys() & q.keys())}

    return {
        "kl_intensity": {
            "synthetic_vs_real": diverge(histograms["real"], histograms["synthetic"]),
            "synthetic_vs_held_out": diverge(others, histograms["synthetic"]),
            "real_vs_held_out": diverge(others, histograms["real"]),
            "real_vs_real": kl.compare_halves(real_images, real_views, **halves),
            "synthetic_vs_half": kl.compare_halves(real_images, real_views, others=images, other_views=views, **halves),
        },
        "histograms": {
            name: {channel: counts.tolist() for channel, counts in channels.items()}
            for name, channels in histograms.items()
        },
        "smoothing": kl.SMOOTHING,
    }


def compare_features(training, synthetic, test, seed=0, photographs=None, inception_weights=None):
    """The "fidelity" part of report.json: metrics.fidelity.compare of each kind of features.

    The kinds are "photographs", "masks" where all sets have them, and with weights "photographs, Inception".

    Args:
      training, synthetic, test: sequences of Samples; test, the reference, may be empty.
      seed: of the random subsets.
      photographs: (training, test) to compare the photographs with, where these are not those of `training` and `test`.
      inception_weights: path, see networks.inception.

    Raises:
      InputError: a file that does not hold the weights.
    """
    sets = {"photographs": photographs or (training, test)}
    functions = {"photographs": _describe_photographs}
    if all(samples[0].mask is not None for samples in (training, synthetic, test) if len(samples)):
        sets["masks"], functions["masks"] = (training, test), _describe_masks
    if inception_weights:
        from synthmed_tf.networks.inception import build_inception

        network = build_inception(synthetic[0].image.shape, inception_weights)
        sets[INCEPTION_NAME] = sets["photographs"]
        functions[INCEPTION_NAME] = lambda samples, bar: _run_inception(network, samples, seed, bar)
    total = sum(
        min(len(samples), fidelity.MOST if name == INCEPTION_NAME else len(samples))
        for name, pair in sets.items()
        for samples in (synthetic, *pair)
    )
    figures = {}
    with show_progress(total=total, desc="features", unit="image") as bar:
        for name, (learned, others) in sets.items():
            describe = functions[name]
            reference = describe(others, bar) if len(others) else None
            kind = _cite_inception(inception_weights) if name == INCEPTION_NAME else features.FEATURES
            figures[name] = fidelity.compare(
                describe(learned, bar), describe(synthetic, bar), reference, seed=seed, features=kind
            )
    return figures


def compare_shapes(training, synthetic, test):
    """The "morphology" part of report.json: metrics.shapes.compare with the training masks.

    Fields of view are counted where all three sets have them.

    Args:
      training, synthetic, test: sequences of Samples with masks of one size; test, the floor, may be empty.
    """
    has_views = all(samples[0].field_of_view is not None for samples in (training, synthetic, test) if len(samples))
    with show_progress(total=len(training) + len(synthetic) + len(test), desc="mask shapes", unit="mask") as bar:

        def describe(samples):
            for sample in samples:
                bar.update()
                yield shapes.describe(sample.mask, sample.field_of_view if has_views else None)

        sets = [list(describe(samples)) for samples in (training, synthetic, test)]
    return shapes.compare(*sets)


def count_distorted_bodies(training, synthetic, test):
    """The "lungs" part of report.json: X-rays whose lungs are missing or unusual (P2 § 4; `metrics.body_shape`).

    Args:
      training, synthetic, test: sequences of Samples; test, the floor, may be empty.

    Returns:
      {"synthetic": share, "held_out": share, or None without test}; {} where training X-rays show no lungs.
    """
    parts = [spaced(samples, MOST_LUNGS) for samples in (training, synthetic, test)]
    bar = show_progress([sample.image for part in parts for sample in part], desc="lungs", unit="image")
    described = Parallel(-1)(delayed(_describe_lungs)(image) for image in bar)
    ends = np.cumsum([len(part) for part in parts])
    real, *others = np.split(np.array(described), ends[:-1])
    distorted = [body_shape.find_distorted(real, part) if len(part) else None for part in others]
    if distorted[0] is None:
        return {}
    synthetic_share, held_out_share = (None if flags is None else float(flags.mean()) for flags in distorted)
    return {"synthetic": synthetic_share, "held_out": held_out_share}


def _describe_lungs(image):
    return body_shape.describe(find_lung_hull(image))


def _describe_photographs(samples, bar):
    images, views = _split(samples)
    return features.describe_photographs(_count(images, bar), views)


def _describe_masks(samples, bar):
    return features.describe_masks(_count((sample.mask for sample in samples), bar))


def _run_inception(network, samples, seed, bar):
    """[count, 2048] of a random metrics.fidelity.MOST of the samples: a network takes its time."""
    drawn = np.random.default_rng(seed).permutation(len(samples))[: fidelity.MOST]
    outputs = []
    for start in range(0, len(drawn), INCEPTION_BATCH):
        batch = [samples[int(index)] for index in drawn[start : start + INCEPTION_BATCH]]
        pictures = np.stack([features.blacken_surround(sample.image, sample.field_of_view) for sample in batch])
        outputs.append(network(pictures.astype(np.float32), training=False).numpy())
        bar.update(len(batch))
    return np.concatenate(outputs).astype(np.float64)


def _cite_inception(weights):
    return {
        "name": "Inception",
        "description": INCEPTION_DESCRIPTION,
        "weights": Path(weights).name,
        "weights_sha256": hash_file(Path(weights)),
    }


def _count(values, bar):
    for value in values:
        bar.update()
        yield value


def _split(samples):
    """(images, fields of view) of samples."""
    return [sample.image for sample in samples], [sample.field_of_view for sample in samples]
