"""How faithful and how diverse is a synthetic set, beside what real images reach? numpy in, numbers out.

None of these figures notices copies of training images: metrics/likeness.py does.
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
    set random halves of the real one take both parts. The figures depend on the sizes of the sets, so the larger of the
    synthetic and the real set is compared in random subsets as large as the smaller one. The whole synthetic set is
    compared too, without a floor: with more images coverage rises, and recall falls because their balls shrink.

    FEATURES are standardised by real and held-out images together: by one of the two, the other looks wider than it
    is, and the floor's KID is no longer 0 on average. Other features are taken as they are, and have an FID too.

    Args:
      real: [n, d] features of the real images that the generator was trained on.
      synthetic: [m, d] features.
      held_out: [l, d] features of real images that it was not trained on, or None.
      seed: of the subsets and halves.
      features: {"name", "description"} of what was taken of the images.

    Returns:
      {metric: {"synthetic_vs_real", "real_vs_real", "all_synthetic_vs_real"}} for the METRICS and "fid", each {"mean",
      "sd", "runs"} over the subsets, sd with runs - 1 in the denominator (None where there is only one subset to draw).
      The sd is of the draw of subsets and halves, not of another reference. Where a set is too small for
      prdc.NEIGHBOURS, mean and sd are None and runs is empty. A random MOST of the images in a set are used.
      Also "protocol", which describes features, reference, sizes and seed.
    """
    rng = np.random.default_rng(seed)
    everything = real if held_out is None else np.concatenate([real, held_out])

    def draw(images):
        images = rng.permutation(images)[:MOST]
        return standardise(images, everything) if features is FEATURES else images

    real, synthetic = draw(real), draw(synthetic)
    if held_out is None:
        others, references = zip(*[np.array_split(rng.permutation(real), 2) for _ in range(SUBSETS)])
    else:
        others, references = [real] * SUBSETS, [draw(held_out)] * SUBSETS
    size = min(len(others[0]), len(synthetic))
    candidates = {
        "synthetic_vs_real": ([synthetic] * SUBSETS, size),
        "real_vs_real": (others, size),
        "all_synthetic_vs_real": ([synthetic] * SUBSETS, len(synthetic)),
    }
    metrics = METRICS if features is FEATURES else (*METRICS, "fid")
    runs = {
        name: _score_subsets(references, *sets, rng, metrics, held_out is None) for name, sets in candidates.items()
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
    figures = {
        metric: {name: _summarise([s[metric] for s in scores]) for name, scores in runs.items()} for metric in metrics
    }
    return figures | {"protocol": protocol}


def _score_subsets(references, candidates, size, rng, metrics, are_halves):
    """[{metric: figure}] of a random subset of each candidate against its reference; of one, if all are the same."""
    if min(size, len(references[0])) <= prdc.NEIGHBOURS:
        return []
    is_random = are_halves or len(candidates[0]) > size
    pairs = list(zip(references, candidates))[: SUBSETS if is_random else 1]
    return [_score(reference, rng.permutation(candidate)[:size], metrics) for reference, candidate in pairs]


def _score(real, fake, metrics):
    shares = *prdc.precision_recall(real, fake), *prdc.density_coverage(real, fake)
    figures = dict(zip(METRICS, (*shares, kid_fid.kid(real, fake))))
    return figures | ({"fid": kid_fid.fid(real, fake)} if "fid" in metrics else {})


def _summarise(values):
    return {
        "mean": float(np.mean(values)) if values else None,
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "runs": values,
    }
