"""How faithful and how diverse is a synthetic set? Its figures beside their real-against-real floor. numpy in, numbers out.

None of these figures notices copies of training images: that is what metrics/likeness.py is for.
"""

import numpy as np

from synthmed_tf.metrics import kid_fid, prdc
from synthmed_tf.metrics.features import FEATURES, standardise

METRICS = ("precision", "recall", "density", "coverage", "kid")
SUBSETS = 20  # random subsets, or random halves, that a figure is averaged over
MOST = 2048  # images of one set that are looked at: distances take memory and time with the square of it


def compare(real, synthetic, held_out=None, *, seed=0, features=FEATURES):
    """The figures of a synthetic set beside those of real images, against the same real reference.

    The reference is the held-out set, and the floor is what the real set itself gets against it. Without a held-out
    set random halves of the real one take both parts. The figures depend on the sizes of the sets, so the synthetic
    set is compared in random subsets as large as the set of the floor; where it is the smaller one, the floor is
    taken in subsets of its size. The whole synthetic set is compared too, without a floor: with more images coverage
    rises, and recall falls because their balls shrink.

    FEATURES are standardised by real and held-out images together: by one of the two, the other looks wider than it
    is, and the floor's KID is no longer 0 on average (0.16 for masks and 0.27 for photographs in random halves of the
    40 of DRIVE). Others are taken as they are, as is usual of Inception's, and have an FID too.

    Args:
      real: [n, d] features of the real images that the generator was trained on.
      synthetic: [m, d] features.
      held_out: [l, d] features of real images that it was not trained on, or None.
      seed: of the subsets and halves.
      features: {"name", "description"} of what was taken of the images.

    Returns:
      {metric: {"synthetic_vs_real", "real_vs_real", "all_synthetic_vs_real"}} for the METRICS and "fid", each {"mean", "sd",
      "runs"} over the subsets, sd with runs - 1 in the denominator (None where there is only one subset to draw). The
      sd is of the draw of subsets and halves; with a held-out set it does not tell how much another reference would
      change. Where a set is so small that it has no NEIGHBOURS, mean and sd are None and runs is empty.
      Also "protocol": {"features", "neighbours", "reference", "reference_size", "subset_size", "subsets", "seed"};
      subsets is the largest number of runs. Of more than MOST images in a set a random MOST are used.
    """
    everything = real if held_out is None else np.concatenate([real, held_out])
    rng = np.random.default_rng(seed)
    metrics = METRICS if features is FEATURES else (*METRICS, "fid")

    def prepared(images):
        drawn = rng.permutation(images)[:MOST]
        return standardise(drawn, everything) if features is FEATURES else drawn

    real, synthetic = prepared(real), prepared(synthetic)
    if held_out is None:
        others, references = zip(*[np.array_split(rng.permutation(real), 2) for _ in range(SUBSETS)])
    else:
        others, references = [real] * SUBSETS, [prepared(held_out)] * SUBSETS
    synthetics = [synthetic] * SUBSETS
    size = min(len(others[0]), len(synthetic))

    def runs(candidates, size):
        if min(size, len(references[0])) <= prdc.NEIGHBOURS:
            return []
        drawn = held_out is None or len(candidates[0]) > size  # else every run would be the same
        pairs = list(zip(references, candidates))[: SUBSETS if drawn else 1]
        return [_scores(reference, rng.permutation(candidate)[:size], metrics) for reference, candidate in pairs]

    found = {
        "synthetic_vs_real": runs(synthetics, size),
        "real_vs_real": runs(others, size),
        "all_synthetic_vs_real": runs(synthetics, len(synthetic)),
    }
    figures = {
        metric: {name: _summary([run[metric] for run in each]) for name, each in found.items()} for metric in metrics
    }
    protocol = {
        "features": features,
        "neighbours": prdc.NEIGHBOURS,
        "reference": "random halves of the real set" if held_out is None else "held-out real set",
        "reference_size": len(references[0]),
        "subset_size": size,
        "subsets": SUBSETS,
        "seed": seed,
    }
    return {**figures, "protocol": protocol}


def _scores(real, fake, metrics):
    values = dict(
        zip(METRICS, (*prdc.precision_recall(real, fake), *prdc.density_coverage(real, fake), kid_fid.kid(real, fake)))
    )
    return values | ({"fid": kid_fid.fid(real, fake)} if "fid" in metrics else {})


def _summary(values):
    return {
        "mean": float(np.mean(values)) if values else None,
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "runs": values,
    }
