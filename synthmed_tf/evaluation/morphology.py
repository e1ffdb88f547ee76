"""Are the synthetic masks shaped like real ones? Vessel statistics beside their real-against-real floor."""

from tqdm import tqdm

from synthmed_tf.metrics import morphology


def shapes(training, synthetic, test):
    """The "morphology" part of report.json:
    metrics.morphology.distances from the training masks, a statistic at a time.

    Fields of view are counted where all three sets have them.

    Args:
      training, synthetic, test: sequences of Samples with masks of one size; test, the floor, may be empty.
    """
    has_views = all(samples[0].field_of_view is not None for samples in (training, synthetic, test) if len(samples))
    with tqdm(total=len(training) + len(synthetic) + len(test), desc="mask shapes", unit="mask") as bar:

        def measured(samples):
            for sample in samples:
                bar.update()
                yield morphology.statistics(sample.mask, sample.field_of_view if has_views else None)

        sets = [list(measured(samples)) for samples in (training, synthetic, test)]
    return morphology.distances(*sets)
