"""The average-hash filter of P2 § 3.2: images that are too unlike every real one are regenerated."""

import numpy as np
from PIL import Image

HASH_SIDE = 16  # P2 § 3.2
REAL_SHARE = 0.95  # share of real images that would pass
MOST_TRIES = 10  # candidates for one sample
REJECTED_SHOWN = 16  # samples


def compute_hash(image):
    """Which of 16 x 16 pixels are brighter than their mean (P2 § 3.2): the average hash of the ImageHash library.

    Args:
      image: [height, width, 1 or 3] uint8 or uint16.

    Returns:
      [256] bool.
    """
    image = to_eight_bits(image)
    image = Image.fromarray(np.squeeze(image, -1) if image.shape[-1] == 1 else image)
    pixels = np.asarray(image.convert("L").resize([HASH_SIDE, HASH_SIDE], Image.Resampling.LANCZOS))
    return (pixels > pixels.mean()).ravel()


def to_eight_bits(image):
    """uint8 or uint16 -> uint8."""
    return (image // 257).astype(np.uint8) if image.dtype == np.uint16 else image


def choose_threshold(hashes):
    """The Hamming distance to the nearest other one that REAL_SHARE of the hashes keep to.

    Args:
      hashes: [n, bits] bool.

    Returns:
      int; None if there is one hash only.
    """
    if len(hashes) < 2:
        return None
    nearest = []
    for index, bits in enumerate(hashes):
        distances = (hashes != bits).sum(1)
        distances[index] = hashes.shape[1]
        nearest.append(distances.min())
    return int(np.quantile(nearest, REAL_SHARE, method="higher"))


def keep_similar(candidates, hashes, tallies, rejected):
    """Passes on images whose average hash lies as near to a real one's as real ones lie to each other. P2 § 3.2.

    P2 so checked "for correct global body shape", and does not say its threshold. Here it is `choose_threshold` of the
    real images, which one in 20 real images would not pass. For each one wanted MOST_TRIES candidates are looked at. If
    all are rejected, the nearest is passed on all the same, and counted in "too_far".

    Args:
      candidates: endless iterator of Samples with an image.
      hashes: [n, bits] of the real images of the class, see `compute_hash`.
      tallies: dicts whose "candidates", "rejected", "too_far" grow; "rate" is the share of candidates that did not
        pass.
      rejected: list that gets rejected Samples, up to REJECTED_SHOWN.

    Yields:
      Samples. The i-th does not depend on how many are asked for.
    """
    threshold = choose_threshold(hashes)
    tries, best = 0, None
    for sample in candidates:
        tries += 1
        distance = (hashes != compute_hash(sample.image)).sum(1).min()
        is_far = threshold is not None and distance > threshold
        if best is None or distance < best[0]:
            best = distance, sample
        if is_far and len(rejected) < REJECTED_SHOWN:
            rejected.append(sample)
        if is_far and tries < MOST_TRIES:
            continue
        for tally in tallies:
            tally["candidates"] += tries
            tally["rejected"] += tries - 1
            tally["too_far"] += int(is_far)
            tally["rate"] = round((tally["rejected"] + tally["too_far"]) / tally["candidates"], 4)
        yield best[1]
        tries, best = 0, None


def describe(tally):
    """One line: what `keep_similar` did."""
    by_class = ", ".join(f"{name} {counts['rate']:.0%}" for name, counts in tally["classes"].items())
    return (
        f"{tally['rejected']} of {tally['candidates']} images rejected by their average hash: farther from every real "
        f"one than real ones are from each other; not like real ones: {tally['rate']:.0%} ({by_class})"
    )
