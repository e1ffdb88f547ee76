"""How faithful and how diverse is a synthetic set? Precision, recall, density, coverage, KID and FID.

numpy in, numbers out. The features of this file (FEATURES) are fixed formulas: nothing is learned, random or
downloaded. Figures on them compare with each other and with the real-against-real floor beside them, not with figures
on Inception features, which networks/inception.py makes for whoever has its weights. None of these figures notices
copies of training images: that is what metrics/copies.py is for.
"""

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist
from skimage.feature import hog, local_binary_pattern
from skimage.transform import resize_local_mean

from synthmed_tf.metrics.distribution import LUMA

FEATURES = {
    "name": "texture and layout",
    "description": (
        "Fixed formulas, nothing learned or downloaded, on images at their own size: mean of each channel and standard "
        "deviation of grey in 4 x 4 cells; histograms of 8 gradient orientations in 2 x 2 cells; square roots of the "
        "shares of the uniform local binary patterns at radius 1, 2 and 4 pixels. Each is standardised by its mean and "
        "standard deviation (at least 0.01) over all real images."
    ),
}
METRICS = ("precision", "recall", "density", "coverage", "kid")
ENOUGH_FOR_FID = 2048  # images: with fewer the covariance of 2,048 features is singular and FID too large
# k. Naeem et al. 2020 take 5; of only 20 images 5 neighbours are a quarter and coverage saturates (expected value
# 0.98 for two samples of one distribution, by their lemma 2; 0.89 with 3, which Kynkäänniemi et al. 2019 take).
NEIGHBOURS = 3
SUBSETS = 20  # random subsets, or random halves, that a figure is averaged over
MOST = 2048  # images of one set that are looked at: distances take memory and time with the square of it
SMALLEST_SD = 0.01  # all features lie in [0, 1]; one that hardly varies in the real set must not outweigh all others
CELLS, ORIENTATIONS, ORIENTATION_CELLS = 4, 8, 2
PATTERN_SCALES = ((0, 1), (1, 2), (2, 4))  # (sigma of the Gaussian, radius), pixels
PATTERN_STEPS = 4080  # grey levels that patterns are compared in, 16 a level of an 8-bit image: no rounding noise


def photograph_features(images, fields_of_view=None):
    """Features of photographs, as FEATURES describes them.

    The patterns are those of Ojala et al. 2002 (rotation-invariant, uniform, 8 neighbours), the orientations those of
    Dalal & Triggs 2005 with the whole image as one block, after a Gaussian of 1 pixel. Mirroring changes the
    features: a set of left and right eyes is to be compared with one of left and right eyes.

    Args:
      images: iterable of [height, width, channels] uint8 or uint16, channels 1 or 3 (red, green, blue), of one size:
        scales are in pixels. At least 16 x 16.
      fields_of_view: iterable of [height, width, 1] in {0, 1} or None, one an image; outside of it pixels are taken
        as black, since cameras leave noise there and generators do not. None: everywhere for all images.

    Returns:
      [count, 75 + 16 channels] float64 in [0, 1]: 91 or 123 features.

    Raises:
      ValueError: no images, or other dtypes, channels or sizes.
    """
    views = fields_of_view if fields_of_view is not None else iter(lambda: None, 0)
    return _stack(visible(image, view) for image, view in zip(images, views))


def visible(image, field_of_view=None):
    """A photograph as features are taken of it: [height, width, channels] float64 in [0, 1], black outside of the
    field of view. Arguments and errors are those of `photograph_features`, for one image.
    """
    image = np.asarray(image)
    if image.dtype not in (np.dtype(np.uint8), np.dtype(np.uint16)) or image.ndim != 3 or image.shape[2] not in (1, 3):
        raise ValueError(f"expected [height, width, 1 or 3] uint8 or uint16, found {image.shape} {image.dtype}")
    if field_of_view is not None:
        image = image * (np.asarray(field_of_view).reshape(*image.shape[:2], 1) != 0)
    return image / np.iinfo(image.dtype).max


def mask_features(masks):
    """The same features of masks.

    Args:
      masks: iterable of [height, width, 1] or [height, width] in {0, 1}, of one size, at least 16 x 16.

    Returns:
      [count, 91] float64 in [0, 1].

    Raises:
      ValueError: no masks, other values or shapes, or several sizes.
    """
    return _stack(_mask(mask) for mask in masks)


def standardise(features, real):
    """The features less the mean of the real ones, over their standard deviation or SMALLEST_SD where that is larger.

    Args:
      features: [count, d].
      real: [n, d], the features of all real images.
    """
    return (features - real.mean(axis=0)) / np.maximum(real.std(axis=0), SMALLEST_SD)


def precision_recall(real, fake, k=NEIGHBOURS):
    """Precision and recall of Kynkäänniemi et al. 2019 (equations 1 and 2).

    Precision is the share of fakes that lie in a ball around a real image, recall the share of real images that lie
    in a ball around a fake; each ball reaches to the k-th nearest neighbour of its centre within the same set, border
    included.

    Args:
      real: [n, d], n > k.
      fake: [m, d], m > k.
      k: number of neighbours.

    Returns:
      (precision, recall), each in [0, 1].

    Raises:
      ValueError: k images or fewer in a set.
    """
    distances = cdist(real, fake)
    precision = (distances <= _radii(real, k)[:, None]).any(axis=0).mean()
    recall = (distances <= _radii(fake, k)).any(axis=1).mean()
    return float(precision), float(recall)


def density_coverage(real, fake, k=NEIGHBOURS):
    """Density and coverage of Naeem et al. 2020 (section 3, density and coverage), balls as in `precision_recall`.

    Density is the number of real balls that a fake lies in, over k, averaged over the fakes. Coverage is the share of
    real balls that hold a fake. For two samples of one distribution density is 1 on average (their lemma 1) and
    coverage 1 - (n - 1) ... (n - k) / ((m + n - 1) ... (m + n - k)) (their lemma 2).

    Args:
      real: [n, d], n > k.
      fake: [m, d], m >= 1.
      k: number of neighbours.

    Returns:
      (density, coverage): density in [0, n / k], coverage in [0, 1].

    Raises:
      ValueError: k real images or fewer.
    """
    inside = cdist(real, fake) <= _radii(real, k)[:, None]
    return float(inside.sum() / (k * len(fake))), float(inside.any(axis=1).mean())


def kid(real, fake):
    """Kernel distance of Bińkowski et al. 2018: unbiased squared maximum mean discrepancy, kernel (x . y / d + 1)^3.

    The estimate is that of Gretton et al. 2012 (equation 3). It is 0 on average for two samples of one distribution,
    so single values may be negative.

    Args:
      real: [n, d], n >= 2.
      fake: [m, d], m >= 2.

    Raises:
      ValueError: fewer than two images in a set.
    """
    if min(len(real), len(fake)) < 2:
        raise ValueError(f"KID needs two images or more in each set, found {len(real)} and {len(fake)}")
    return float(_mean_kernel_within(real) + _mean_kernel_within(fake) - 2 * _kernel(real, fake).mean())


def fid(real, fake):
    """Fréchet distance of Heusel et al. 2017 (equation 6) between normal distributions with the means and covariances
    of the two sets: |m - n|^2 + trace(C + D - 2 (C D)^(1/2)), covariances with count - 1 in the denominator.

    Few images make it too large (Chong & Forsyth 2020), the more so the more features there are: of fewer than
    ENOUGH_FOR_FID compare it with that of sets as large. The trace of the root is the sum of the singular values of
    the product of both centred sets, hence of their triangular factors, so that no root of a singular matrix is taken.

    Args:
      real: [n, d], n >= 2.
      fake: [m, d], m >= 2.

    Returns:
      The distance, at least 0 but for rounding.

    Raises:
      ValueError: fewer than two images in a set.
    """
    if min(len(real), len(fake)) < 2:
        raise ValueError(f"FID needs two images or more in each set, found {len(real)} and {len(fake)}")
    ours, theirs = ((each - each.mean(axis=0)) / np.sqrt(len(each) - 1) for each in (real, fake))
    r, s = (np.linalg.qr(each, mode="r") for each in (ours, theirs))
    roots = np.linalg.norm(r @ s.T, "nuc")
    means = ((real.mean(axis=0) - fake.mean(axis=0)) ** 2).sum()
    return float(means + (ours**2).sum() + (theirs**2).sum() - 2 * roots)


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
        if min(size, len(references[0])) <= NEIGHBOURS:
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
        "neighbours": NEIGHBOURS,
        "reference": "random halves of the real set" if held_out is None else "held-out real set",
        "reference_size": len(references[0]),
        "subset_size": size,
        "subsets": SUBSETS,
        "seed": seed,
    }
    return {**figures, "protocol": protocol}


def _scores(real, fake, metrics):
    values = dict(zip(METRICS, (*precision_recall(real, fake), *density_coverage(real, fake), kid(real, fake))))
    return values | ({"fid": fid(real, fake)} if "fid" in metrics else {})


def _summary(values):
    return {
        "mean": float(np.mean(values)) if values else None,
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "runs": values,
    }


def _radii(features, k):
    """Distance of each of [n, d] to its k-th nearest neighbour among the others."""
    if len(features) <= k:
        raise ValueError(f"{k} neighbours need more than {k} images in a set, found {len(features)}")
    return np.partition(cdist(features, features), k, axis=1)[:, k]  # the nearest is the image itself


def _kernel(x, y):
    return (x @ y.T / x.shape[1] + 1) ** 3


def _mean_kernel_within(x):
    values = _kernel(x, x)
    return (values.sum() - np.trace(values)) / (len(x) * (len(x) - 1))


def _mask(mask):
    mask = np.asarray(mask)
    if mask.ndim not in (2, 3) or mask.shape[2:] not in ((), (1,)) or not np.isin(mask, (0, 1)).all():
        raise ValueError(f"expected [height, width, 1] in {{0, 1}}, found {mask.shape} {mask.dtype}")
    return mask.reshape(*mask.shape[:2], 1).astype(np.float64)


def _stack(images):
    found, shapes = [], set()
    for image in images:
        shapes.add(image.shape)
        if len(shapes) > 1:
            raise ValueError(f"images must have one size and the same channels, found {sorted(shapes)}")
        found.append(_features(image))
    if not found:
        raise ValueError("no images to take features of")
    return np.stack(found)


def _features(image):
    """[height, width, channels] float64 in [0, 1] -> [75 + 16 channels]."""
    height, width, channels = image.shape
    if min(height, width) < 16:
        raise ValueError(f"features need images of at least 16 x 16 pixels, found {height} x {width}")
    grey = image @ np.float64(LUMA) if channels == 3 else image[..., 0]
    means = resize_local_mean(image, (CELLS, CELLS), channel_axis=-1)
    grey_mean, square = (resize_local_mean(each, (CELLS, CELLS)) for each in (grey, grey**2))
    spread = np.sqrt(np.maximum(square - grey_mean**2, 0))
    orientations = hog(
        gaussian_filter(grey, 1),
        orientations=ORIENTATIONS,
        pixels_per_cell=(height // ORIENTATION_CELLS, width // ORIENTATION_CELLS),
        cells_per_block=(ORIENTATION_CELLS, ORIENTATION_CELLS),
        block_norm="L2",
    )
    patterns = [_patterns(gaussian_filter(grey, sigma) if sigma else grey, radius) for sigma, radius in PATTERN_SCALES]
    return np.concatenate([means.ravel(), spread.ravel(), orientations, *patterns])


def _patterns(grey, radius):
    """Square roots of the shares of 9 kinds of places, those left out that are no brighter than any neighbour.

    Flat places are among those: their share says how much background there is, and would hide what the vessels look
    like.
    """
    levels = np.rint(grey * PATTERN_STEPS).astype(np.int32)
    kinds = local_binary_pattern(levels, 8, radius, "uniform")[radius:-radius, radius:-radius].astype(int)
    counts = np.delete(np.bincount(kinds.ravel(), minlength=10), 8)
    return np.sqrt(counts / max(counts.sum(), 1))
