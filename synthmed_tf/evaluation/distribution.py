"""Is the synthetic set faithful? Divergence of intensities (P1 § Evaluation Metrics), fidelity and diversity,
with their floors.
"""

from tqdm import tqdm

from synthmed_tf.metrics import distribution, fidelity


def intensity(real, synthetic, held_out=(), seed=0):
    """The "distribution" part of report.json:
    KL(real || synthetic) a channel, and of a random half of the real set to the other one and to as many synthetic
    images; and with held-out images KL(held-out || synthetic) and, as its floor, KL(held-out || real), since a set can
    have the light of what it learned from and of nothing else.

    Args:
      real, synthetic: sequences of Samples with an image; inside their fields of view where they have one.
      held_out: sequence of real Samples that were not learned from; may be empty.
      seed: of the random halves.
    """
    (real_images, real_views), (images, views) = _images(real), _images(synthetic)
    histograms = {
        "real": distribution.intensity_histograms(real_images, real_views),
        "synthetic": distribution.intensity_histograms(images, views),
    }
    others = distribution.intensity_histograms(*_images(held_out)) if len(held_out) else {}

    def divergence(p, q):
        return {channel: distribution.kl_divergence(p[channel], q[channel]) for channel in sorted(p.keys() & q.keys())}

    return {
        "kl_intensity": {
            "synthetic_vs_real": divergence(histograms["real"], histograms["synthetic"]),
            "synthetic_vs_held_out": divergence(others, histograms["synthetic"]),
            "real_vs_held_out": divergence(others, histograms["real"]),
            "real_vs_real": distribution.real_vs_half(real_images, real_views, seed=seed),
            "synthetic_vs_half": distribution.real_vs_half(
                real_images, real_views, others=images, other_views=views, seed=seed
            ),
        },
        "histograms": {
            name: {key: counts.tolist() for key, counts in each.items()} for name, each in histograms.items()
        },
        "smoothing": distribution.SMOOTHING,
    }


def fidelity_and_diversity(training, synthetic, test, seed=0, photographs=None):
    """The "fidelity" part of report.json:
    metrics.fidelity.compare for photographs, and for masks where all sets have them.

    Args:
      training, synthetic, test: sequences of Samples; test, the reference, may be empty.
      seed: of the random subsets.
      photographs: (training, test) to compare the photographs with, where it is not with those of `training` and
        `test`.
    """
    sets = {"photographs": photographs or (training, test)}
    if all(samples[0].mask is not None for samples in (training, synthetic, test) if len(samples)):
        sets["masks"] = training, test
    total = sum(len(synthetic) + len(learned) + len(others) for learned, others in sets.values())
    with tqdm(total=total, desc="features", unit="image") as bar:

        def features(name, samples):
            def counted(values):
                for value in values:
                    bar.update()
                    yield value

            if name == "masks":
                return fidelity.mask_features(counted(sample.mask for sample in samples))
            images, views = _images(samples)
            return fidelity.photograph_features(counted(images), views)

        figures = {}
        for name, (learned, others) in sets.items():
            held_out = features(name, others) if len(others) else None
            figures[name] = fidelity.compare(features(name, learned), features(name, synthetic), held_out, seed=seed)
    return figures


def _images(samples):
    return [sample.image for sample in samples], [sample.field_of_view for sample in samples]
