"""Can an attacker who has the synthetic set tell which images its generator learned from? numpy in, numbers out."""

import numpy as np

from synthmed_tf.metrics import accuracy, bootstrap

SUBSETS = 20
RELABELLINGS = 200


def measure_closeness(to_training, to_held_out, groups=None, seed=0):
    """The share of synthetic images that are more like a training image than like a held-out one.

    It is 0.5 if training left no trace. The larger one of two sets holds the most similar image more often, so random
    subsets of the smaller one's size are compared.

    Args:
      to_training: [synthetic, n] likeness.
      to_held_out: [synthetic, m] likeness.
      groups: [n + m] patient or slide of the training and then of the held-out images, none on both sides. Images of
        one patient are alike, so they are relabelled together. None: each image is its own.
      seed: of the subsets and relabellings.

    Returns:
      {"share": in [0, 1], "chance": [low, high]}: between these lies the share in 95 of 100 random relabellings of the
      real patients as training and held-out ones. Synthetic images are not independent of one another, so the interval
      is of the real ones.
    """
    alike, count = np.concatenate([to_training, to_held_out], 1), to_training.shape[1]
    of_image = np.unique(np.arange(alike.shape[1]) if groups is None else groups, return_inverse=True)[1]
    patients, trained = of_image.max() + 1, len(np.unique(of_image[:count]))
    rng = np.random.default_rng(seed)

    def measure_share(is_training):
        parts = np.flatnonzero(is_training), np.flatnonzero(~is_training)
        size = min(map(len, parts))
        runs = []
        for _ in range(1 if len(parts[0]) == len(parts[1]) else SUBSETS):
            ours, theirs = (alike[:, rng.choice(part, size, replace=False)].max(1) for part in parts)
            runs.append(np.mean((ours > theirs) + (ours == theirs) / 2))
        return np.mean(runs)

    share = measure_share(np.arange(alike.shape[1]) < count)
    chance = [measure_share(rng.permutation(patients)[of_image] < trained) for _ in range(RELABELLINGS)]
    return {"share": float(share), "chance": np.quantile(chance, (0.025, 0.975)).tolist()}


def measure_membership(training, held_out, groups=None, seed=0):
    """How well the likeness to the most similar synthetic image tells whether a real image was learned from.

    Membership inference by distance: Hilprecht et al. 2019, "Monte Carlo and Reconstruction Membership Inference
    Attacks against Generative Models"; Chen et al. 2020, "GAN-Leaks". An attacker who is right about few images, but
    sure of them, does harm at an AUC near 0.5. Hence also how many training images are given away where hardly any
    guess is wrong: Carlini et al. 2022, "Membership Inference Attacks From First Principles", section 4.

    Args:
      training: [n] likeness to the most similar synthetic image.
      held_out: [m] likewise, m >= 1.
      groups: [n + m] patient or slide of the training and then of the held-out images, drawn together; None: each image
        is its own.
      seed: of the bootstrap.

    Returns:
      {"mean": AUC in [0, 1], 0.5 for guessing, "interval": 95 % of 1,000 bootstrap draws, "false_positive_rate": 1 / m,
      the smallest rate that m images tell from 0, "true_positive_rate": share of training images above all held-out
      images but the most similar one, "true_positives_by_chance": that share if both were alike, 2 / (m + 1)}.
    """
    values = np.concatenate([training, held_out])
    truth = np.repeat([1, 0], [len(training), len(held_out)])
    both = np.stack([-values, values], 1)
    draws = accuracy.score_draws([both], truth, groups, seed)
    allowed = np.sort(held_out)[-2] if len(held_out) > 1 else -np.inf
    return {
        "mean": float(accuracy.score(both, truth)["auc"]),
        "interval": bootstrap.compute_interval(draws["auc"]),
        "false_positive_rate": 1 / len(held_out),
        "true_positive_rate": float(np.mean(training > allowed)),
        "true_positives_by_chance": 2 / (len(held_out) + 1),
    }
