"""Is the synthetic set faithful? Divergence of the pixel intensities beside its real-against-real floor (P1 § Evaluation Metrics)."""

from synthmed_tf.metrics import distribution


def intensity(real, synthetic, seed=0):
    """The "distribution" part of report.json: KL(real || synthetic) a channel, the same between random halves of the real set.

    Args:
      real, synthetic: sequences of Samples with an image; inside their fields of view where they have one.
      seed: of the random halves.
    """
    (real_images, real_views), (images, views) = _images(real), _images(synthetic)
    histograms = {
        "real": distribution.intensity_histograms(real_images, real_views),
        "synthetic": distribution.intensity_histograms(images, views),
    }
    shared = histograms["real"].keys() & histograms["synthetic"].keys()
    return {
        "kl_intensity": {
            "synthetic_vs_real": {
                channel: distribution.kl_divergence(histograms["real"][channel], histograms["synthetic"][channel])
                for channel in sorted(shared)
            },
            "real_vs_real": distribution.real_vs_real(real_images, real_views, seed=seed),
        },
        "histograms": {
            name: {key: counts.tolist() for key, counts in each.items()} for name, each in histograms.items()
        },
        "smoothing": distribution.SMOOTHING,
    }


def _images(samples):
    return [sample.image for sample in samples], [sample.field_of_view for sample in samples]
