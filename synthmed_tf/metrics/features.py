"""Features of photographs and of masks, by fixed formulas. numpy in, numbers out.

Nothing is learned, random or downloaded. Figures on these features compare with each other and with their floor of real
against real, not with figures on Inception features, which networks/inception.py makes from its weights.
"""

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.feature import hog, local_binary_pattern
from skimage.transform import resize_local_mean

from synthmed_tf.metrics.grey import LUMA

FEATURES = {
    "name": "texture and layout",
    "description": (
        "Fixed formulas, nothing learned or downloaded, on images at their own size: mean of each channel and standard "
        "deviation of grey in 4 x 4 cells; histograms of 8 gradient orientations in 2 x 2 cells; square roots of the "
        "shares of the uniform local binary patterns at radius 1, 2 and 4 pixels. Each is standardised by its mean and "
        "standard deviation (at least 0.01) over all real images."
    ),
}
SMALLEST_SD = 0.01  # all features lie in [0, 1]; one that hardly varies in the real set must not outweigh all others
CELLS, ORIENTATIONS, ORIENTATION_CELLS = 4, 8, 2
PATTERN_SCALES = ((0, 1), (1, 2), (2, 4))  # (sigma of the Gaussian, radius), pixels
PATTERN_STEPS = 4080  # grey levels that patterns are compared in, 16 a level of an 8-bit image: no rounding noise


def describe_photographs(images, fields_of_view=None):
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
    return _describe_all(blacken_surround(image, view) for image, view in zip(images, views))


def blacken_surround(image, field_of_view=None):
    """A photograph as features are taken of it: black outside of the field of view.

    Arguments and errors are those of `describe_photographs`, for one image.

    Returns:
      [height, width, channels] float64 in [0, 1].
    """
    image = np.asarray(image)
    if image.dtype not in (np.dtype(np.uint8), np.dtype(np.uint16)) or image.ndim != 3 or image.shape[2] not in (1, 3):
        raise ValueError(f"expected [height, width, 1 or 3] uint8 or uint16, found {image.shape} {image.dtype}")
    if field_of_view is not None:
        image = image * (np.asarray(field_of_view).reshape(*image.shape[:2], 1) != 0)
    return image / np.iinfo(image.dtype).max


def describe_masks(masks):
    """The same features of masks.

    Args:
      masks: iterable of [height, width, 1] or [height, width] in {0, 1}, of one size, at least 16 x 16.

    Returns:
      [count, 91] float64 in [0, 1].

    Raises:
      ValueError: no masks, other values or shapes, or several sizes.
    """
    return _describe_all(_to_image(mask) for mask in masks)


def standardise(features, real):
    """The features less the mean of the real ones, over their standard deviation or SMALLEST_SD where that is larger.

    Args:
      features: [count, d].
      real: [n, d], the features of all real images.
    """
    return (features - real.mean(axis=0)) / np.maximum(real.std(axis=0), SMALLEST_SD)


def _to_image(mask):
    mask = np.asarray(mask)
    if mask.ndim not in (2, 3) or mask.shape[2:] not in ((), (1,)) or not np.isin(mask, (0, 1)).all():
        raise ValueError(f"expected [height, width, 1] in {{0, 1}}, found {mask.shape} {mask.dtype}")
    return mask.reshape(*mask.shape[:2], 1).astype(np.float64)


def _describe_all(images):
    features, shapes = [], set()
    for image in images:
        shapes.add(image.shape)
        if len(shapes) > 1:
            raise ValueError(f"images must have one size and the same channels, found {sorted(shapes)}")
        features.append(_describe(image))
    if not features:
        raise ValueError("no images to take features of")
    return np.stack(features)


def _describe(image):
    """[height, width, channels] float64 in [0, 1] -> [75 + 16 channels]."""
    height, width, channels = image.shape
    if min(height, width) < 16:
        raise ValueError(f"features need images of at least 16 x 16 pixels, found {height} x {width}")
    grey = image @ np.float64(LUMA) if channels == 3 else image[..., 0]
    means = resize_local_mean(image, (CELLS, CELLS), channel_axis=-1)
    grey_mean, square = (resize_local_mean(values, (CELLS, CELLS)) for values in (grey, grey**2))
    spread = np.sqrt(np.maximum(square - grey_mean**2, 0))
    orientations = hog(
        gaussian_filter(grey, 1),
        orientations=ORIENTATIONS,
        pixels_per_cell=(height // ORIENTATION_CELLS, width // ORIENTATION_CELLS),
        cells_per_block=(ORIENTATION_CELLS, ORIENTATION_CELLS),
        block_norm="L2",
    )
    patterns = [
        _count_patterns(gaussian_filter(grey, sigma) if sigma else grey, radius) for sigma, radius in PATTERN_SCALES
    ]
    return np.concatenate([means.ravel(), spread.ravel(), orientations, *patterns])


def _count_patterns(grey, radius):
    """Square roots of the shares of 9 kinds of places, those left out that are no brighter than any neighbour.

    Flat places are among those: their share says how much background there is, and would hide what the vessels look
    like.
    """
    levels = np.rint(grey * PATTERN_STEPS).astype(np.int32)
    kinds = local_binary_pattern(levels, 8, radius, "uniform")[radius:-radius, radius:-radius].astype(int)
    counts = np.delete(np.bincount(kinds.ravel(), minlength=10), 8)
    return np.sqrt(counts / max(counts.sum(), 1))
