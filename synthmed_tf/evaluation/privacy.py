"""Is the synthetic set private? Nearest training mask of each synthetic mask (P1 fig. 4)."""

import numpy as np

from synthmed_tf.metrics import copies


def nearest_training_masks(training, synthetic, test):
    """The "copies" part of report.json.

    Args:
      training, synthetic, test: sequences of Samples with masks of one size; test, the control, may be empty.
    """
    masks = [sample.mask for sample in training]
    index, distance, symmetry = copies.nearest_masks([sample.mask for sample in synthetic], masks)
    report = {
        "nearest_training_mask": [
            {"synthetic_id": sample.id, "training_id": training[int(i)].id, "distance": float(d), "symmetry": int(s)}
            for sample, i, d, s in zip(synthetic, index, distance, symmetry, strict=True)
        ],
        "synthetic_to_training": _extent(distance),
        "test_to_training": _extent(copies.nearest_masks([sample.mask for sample in test], masks)[1])
        if len(test)
        else None,
    }
    for name, samples in (("synthetic", synthetic), ("real", training)):
        pair = copies.closest_pair([sample.mask for sample in samples])
        ids = pair and [samples[i].id for i in pair[:2]]
        report[f"closest_{name}_pair"] = pair and {"distance": pair[2], "ids": ids}
    return report


def _extent(distances):
    return {"min": float(np.min(distances)), "median": float(np.median(distances))}
