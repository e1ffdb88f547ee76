"""The KL divergence of the pixel intensities of two image sets (P1 section 9 and figure 3). numpy in, numbers out."""

import numpy as np
from scipy import special

from synthmed_tf.metrics.grey import LUMA

BINS = 256  # one a grey level of an 8-bit image; 16-bit images are binned by their upper byte
# Additive (Lidstone) smoothing, as a share of all pixels: P1 does not name one, and without it an intensity that only
# one set has makes the divergence infinite. 1e-6 is about one pixel of the 20 DRIVE images at 256 x 256 (0.9 million
# pixels inside the field of view), so it is Laplace's add-one there, and does not move with the number or size of the
# images.
SMOOTHING = 1e-6
REPEATS = 10  # random halves


def count_intensities(images, fields_of_view=None):
    """Counts of pixel intensities inside the field of view, over all images together.

    Args:
      images: iterable of [height, width, channels] uint8 or uint16, channels 1 or 3 (red, green, blue), the same for
        all.
      fields_of_view: iterable of [height, width, 1] in {0, 1} or None, one an image; None: everywhere for all images.

    Returns:
      {"grey": [256] int64} for one channel; {"grey", "red", "green", "blue"} for three.

    Raises:
      ValueError: no images, other dtypes, other channels or mixed ones.
    """
    return _add_up(_count_each(images, fields_of_view))


def kl_divergence(p, q, smoothing=SMOOTHING):
    """KL(p || q) = sum_i p_i ln(p_i / q_i), in nats (P1 section 9).

    The real set is p and the synthetic one q; P1 does not say which is which. Both histograms are scaled to sum 1,
    `smoothing` is added to every bin, and they are scaled to sum 1 again.

    Args:
      p, q: [bins] counts or shares, each with a positive sum.
      smoothing: share of all pixels that is added to every bin. With 0 the divergence is infinite where q lacks an
        intensity that p has.

    Raises:
      ValueError: empty or negative histograms, lengths that differ, negative smoothing.
    """
    p, q = np.asarray(p, np.float64), np.asarray(q, np.float64)
    if p.shape != q.shape or p.ndim != 1:
        raise ValueError(f"histograms must have the same length, found {p.shape} and {q.shape}")
    if min(p.min(), q.min()) < 0 or not p.sum() > 0 or not q.sum() > 0:
        raise ValueError("histograms must not be negative or empty")
    if not smoothing >= 0:
        raise ValueError(f"smoothing must be 0 or more, found {smoothing}")
    p = (p / p.sum() + smoothing) / (1 + smoothing * p.size)
    q = (q / q.sum() + smoothing) / (1 + smoothing * q.size)
    return float(special.rel_entr(p, q).sum())


def compare_halves(images, fields_of_view=None, *, others=None, other_views=None, size=None, seed=0):
    """KL between random halves of a set (P1 section 10), REPEATS times: the floor of the divergence.

    With another set, a half is compared with as many images of that set, to be put beside the floor: fewer images
    diverge more, whatever they show. Where the other set has fewer, both need the same `size`.

    Args:
      images, fields_of_view: as for `count_intensities`.
      others, other_views: another set, of which random images take the place of the second half; None: the floor.
      size: images on either side; None: half of the set.
      seed: of the random halves; no image is on both sides.

    Returns:
      {channel: {"mean", "sd", "runs": [REPEATS]}}, sd with REPEATS - 1 in the denominator. With fewer than two images
      there are no halves: mean and sd are None and runs is empty.
    """
    histograms = _count_each(images, fields_of_view)
    theirs = None if others is None else _count_each(others, other_views)
    channels = histograms[0].keys() & (theirs or histograms)[0].keys()
    size = size or len(histograms) // 2
    rng = np.random.default_rng(seed)
    runs = {channel: [] for channel in sorted(channels)}
    for _ in range(REPEATS if len(histograms) > 1 else 0):
        order = rng.permutation(len(histograms))
        first = [histograms[index] for index in order[:size]]
        second = [histograms[index] for index in order[size : 2 * size]]
        if theirs is not None:
            second = [theirs[index] for index in rng.permutation(len(theirs))[:size]]
        first, second = _add_up(first), _add_up(second)
        for channel, values in runs.items():
            values.append(kl_divergence(first[channel], second[channel]))
    return {
        channel: {
            "mean": float(np.mean(values)) if values else None,
            "sd": float(np.std(values, ddof=1)) if values else None,
            "runs": values,
        }
        for channel, values in runs.items()
    }


def _count_each(images, fields_of_view):
    """[histograms of each image]."""
    views = fields_of_view if fields_of_view is not None else iter(lambda: None, 0)
    histograms = [_count(image, view) for image, view in zip(images, views)]
    if not histograms:
        raise ValueError("no images to take a histogram of")
    if len({tuple(channels) for channels in histograms}) > 1:
        raise ValueError("images must have the same channels, found grey and colour ones")
    return histograms


def _count(image, field_of_view):
    image = np.asarray(image)
    if image.dtype not in (np.dtype(np.uint8), np.dtype(np.uint16)) or image.ndim != 3 or image.shape[2] not in (1, 3):
        raise ValueError(f"expected [height, width, 1 or 3] uint8 or uint16, found {image.shape} {image.dtype}")
    pixels = image.reshape(-1, image.shape[2])
    if field_of_view is not None:
        pixels = pixels[np.asarray(field_of_view).reshape(-1).astype(bool)]
    if image.dtype == np.uint16:
        pixels = pixels >> 8
    if image.shape[2] == 1:
        return {"grey": np.bincount(pixels[:, 0], minlength=BINS)}
    grey = np.rint(pixels @ np.float32(LUMA)).astype(np.int64)
    colours = {name: np.bincount(pixels[:, i], minlength=BINS) for i, name in enumerate(("red", "green", "blue"))}
    return {"grey": np.bincount(grey, minlength=BINS), **colours}


def _add_up(histograms):
    return {channel: np.sum([counts[channel] for counts in histograms], axis=0) for channel in histograms[0]}
