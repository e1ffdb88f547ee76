"""The KL divergence of pixel intensities under each convention that P1 leaves open, beside the values that it prints.

    python benchmarks/kl_conventions.py SYNTHETIC_DIR DATA_DIR
    for example: out/synthetic data

Prints a table, in nats, of grey levels: the photographs in SYNTHETIC_DIR, a TFDS folder, against DRIVE's 20 training
photographs (real) at the same size, and these against the 20 test photographs.
"""

import sys
from pathlib import Path

from synthmed_tf.datasets.load import load_samples
from synthmed_tf.datasets.prepare import crop_sample
from synthmed_tf.images.field_of_view import estimate_field_of_view
from synthmed_tf.metrics import kl
from synthmed_tf.records.read import Records

BINS = (256, 64, 32)
ADDED = {  # to the count of each bin
    "nothing": lambda counts: 0,
    "1": lambda counts: 1,
    f"{kl.SMOOTHING:g} of all": lambda counts: kl.SMOOTHING * counts.sum(),
}


def divergence(p, q, bins, added):
    """KL(p || q) of counts [256] in so many equal bins, each with added(counts) more; inf where q has an empty one."""
    binned = [counts.reshape(bins, -1).sum(1) for counts in (p, q)]
    return kl.kl_divergence(*(counts + added(counts) for counts in binned), smoothing=0)


def field_of_view(sample):
    """The field of view [height, width, 1] of a Sample, estimated from its photograph where it has none."""
    return estimate_field_of_view(sample.image) if sample.field_of_view is None else sample.field_of_view


def rows(synthetic, training, test):
    """(where, bins, added, KL(real || synthetic), its reverse, KL(training || test), its reverse) by each convention.

    Args:
      synthetic, training, test: sequences of Samples with an image.
    """
    for where, view_of in (("frame", lambda sample: None), ("field of view", field_of_view)):
        s, t, u = (
            kl.count_intensities([sample.image for sample in samples], [view_of(sample) for sample in samples])["grey"]
            for samples in (synthetic, training, test)
        )
        for bins in BINS:
            for name, added in ADDED.items():
                yield where, bins, name, *(divergence(*pair, bins, added) for pair in ((t, s), (s, t), (t, u), (u, t)))


def main(synthetic_dir, data_dir):
    synthetic = Records(Path(synthetic_dir))
    size = synthetic[0].image.shape[:2]
    real = {"train": [], "test": []}
    for sample in load_samples("drive", Path(data_dir)):
        real[sample.split].append(crop_sample(sample, size))
    print(
        "| pixels of the | bins | added to each | real, synthetic | synthetic, real | training, test | test, training |"
    )
    print("|---" * 7 + "|")
    for where, bins, name, *figures in rows(synthetic, *real.values()):
        print(f"| {where} | {bins} | {name} |", " | ".join(f"{value:.3g}" for value in figures), "|")
    print("| P1 § 10 | not said | not said | 4.759, direction not said | | 4.212e-4, of random subsets | |")


if __name__ == "__main__":
    main(*sys.argv[1:])
