"""How alike two images, or two masks, are: the correlation of small pictures of them. numpy in, numbers out."""

import numpy as np
from scipy import ndimage
from skimage.transform import resize_local_mean

from synthmed_tf.metrics.grey import LUMA
from synthmed_tf.metrics.symmetries import SYMMETRIES, transform

SIDE = 64  # pixels of a thumbnail, whatever the images' aspect ratio
SHIFT = 2  # thumbnail pixels either way
# {what is compared: radius of the surround, as a standard deviation in thumbnail pixels}. Structure is lines and edges
# relative to their surround, which tell one person from another. Shading is all that is bright and dark, which also
# holds the large forms.
VIEWS = {"structure": 2.0, "shading": None}
LEAST_CONTRAST = 0.01  # of the brightest surround, so that noise on flat ground does not become structure
BLUR = 1.5  # thumbnail pixels, of masks: lines that lie beside each other count as alike
MANY = 500  # references, above which they are looked through at a coarse size first
COARSE = 2  # thumbnail pixels a side that are one at that size
CANDIDATES = 16  # references that are then compared in full
CHUNK = 64  # pictures compared at a time


def make_thumbnails(images, fields_of_view=None, surround=None):
    """Small grey pictures of one mean and contrast, whose products are correlations.

    Args:
      images: iterable of [height, width, channels] uint8 or uint16, channels 1 or 3 (red, green, blue).
      fields_of_view: iterable of [height, width, 1] in {0, 1} or None, one an image; outside a thumbnail is 0. None:
        everywhere.
      surround: one of the values of VIEWS. A number: each pixel is taken less the mean around it and over the standard
        deviation around it, both weighted by a Gaussian of so many thumbnail pixels. None: as it is.

    Returns:
      [count, SIDE, SIDE] float32 of mean 0 in the field of view and norm 1; 0 everywhere for an image of one grey.
    """
    views = fields_of_view if fields_of_view is not None else iter(lambda: None, 0)
    return np.stack([_shrink(image, view, surround) for image, view in zip(images, views)])


def _shrink(image, view, surround):
    grey = image / np.iinfo(image.dtype).max @ np.float64(LUMA if image.shape[-1] == 3 else (1,))
    inside = np.ones(grey.shape) if view is None else np.asarray(view, float)[..., 0]
    share = resize_local_mean(inside, (SIDE, SIDE))
    weight = (share > 0.5).astype(float)
    grey = np.divide(resize_local_mean(grey * inside, (SIDE, SIDE)), share, out=np.zeros_like(share), where=weight > 0)
    if surround is not None:
        around = _average_around(grey, weight, surround)
        detail = (grey - around) * weight
        spread = np.sqrt(_average_around(detail**2, weight, surround))
        grey = detail / (spread + LEAST_CONTRAST * max(around.max(), LEAST_CONTRAST))
    return _standardise(grey, weight)


def make_mask_thumbnails(masks):
    """Small blurred pictures of masks, as `make_thumbnails` are of images.

    Whether lines lie upon each other, as Dice asks, tells a mask from its copy that was moved by a line's width, which
    looks the same to everybody. Blurred, that copy stays alike, and so does one that was tilted or scaled a little.

    Args:
      masks: iterable of [height, width, 1] in {0, 1}.

    Returns:
      [count, SIDE, SIDE] float32 of mean 0 and norm 1; 0 everywhere for an empty or a full mask.
    """
    everywhere = np.ones((SIDE, SIDE))
    small = [resize_local_mean(np.asarray(mask, float)[..., 0], (SIDE, SIDE)) for mask in masks]
    return np.stack([_standardise(ndimage.gaussian_filter(picture, BLUR), everywhere) for picture in small])


def cut_halves(mask):
    """The upper and the lower half of a mask, each in the middle of an empty mask of its size.

    Args:
      mask: [height, width, 1]. The middle one of an odd number of rows is left out.

    Returns:
      [upper, lower], each of the mask's shape.
    """
    rows = len(mask) // 2
    top = (len(mask) - rows) // 2
    halves = []
    for half in (mask[:rows], mask[-rows:]):
        halves.append(np.zeros_like(mask))
        halves[-1][top : top + rows] = half
    return halves


def _standardise(grey, weight):
    grey = (grey - (grey * weight).sum() / max(weight.sum(), 1)) * weight
    norm = np.linalg.norm(grey)
    return (grey / norm if norm > 1e-6 else np.zeros_like(grey)).astype(np.float32)


def _average_around(values, weight, surround):
    sums, weights = (ndimage.gaussian_filter(array, surround, mode="constant") for array in (values * weight, weight))
    return np.divide(sums, weights, out=np.zeros_like(sums), where=weights > 1e-3)


def compare(queries, references, square=True):
    """The correlation of pictures, the largest over the 8 flips and rotations and over shifts of up to SHIFT pixels.

    Args:
      queries: [n, SIDE, SIDE] from `make_thumbnails`. 26 times their memory is needed.
      references: [m, SIDE, SIDE] likewise.
      square: whether the images are; others are not turned by 90 degrees.

    Returns:
      (likeness, symmetry): [n, m] float32 in [-1, 1], 1 for the same picture; [n, m] int8 into symmetries.SYMMETRIES,
      such that transform(reference, symmetry) is what the query is like.
    """
    shifts = range(-SHIFT, SHIFT + 1)
    moved = np.stack([_shift(queries, down, right) for down in shifts for right in shifts]).reshape(-1, SIDE * SIDE)
    likeness = np.full((len(queries), len(references)), -1, np.float32)
    symmetry = np.zeros(likeness.shape, np.int8)
    for kind in _symmetries(square):
        turned = np.stack([transform(picture, kind) for picture in references]).reshape(-1, SIDE * SIDE)
        correlation = (moved @ turned.T).reshape(-1, *likeness.shape).max(0)
        symmetry[correlation > likeness] = kind
        likeness = np.maximum(likeness, correlation)
    return likeness, symmetry


def find_most_similar(queries, references, square=True, apart=None, progress=lambda count: None):
    """`compare` of each picture with those that it may be most like, in chunks, for sets of thousands.

    Where there are more than MANY references, all are compared at 1 / COARSE of the size, over the flips and rotations
    and over shifts of 0 or SHIFT pixels. The CANDIDATES that are most similar so are compared in full.

    Args:
      queries, references, square: see `compare`.
      apart: [n, m] bool, which pairs to compare; None: all.
      progress: called with the number of queries done since the last call.

    Returns:
      (likeness, symmetry) as from `compare`; -1 for pairs that were not compared in full.
    """
    likeness = np.full((len(queries), len(references)), -1, np.float32)
    symmetry = np.zeros(likeness.shape, np.int8)
    are_many = len(references) > MANY
    kinds = _symmetries(square) if are_many else ()
    small = [_shrink_rows(np.stack([transform(picture, kind) for picture in references])) for kind in kinds]
    for start in range(0, len(queries), CHUNK):
        rows = slice(start, start + CHUNK)
        part = queries[rows]
        if are_many:
            coarse = _compare_coarsely(part, small)
            if apart is not None:
                coarse[~apart[rows]] = -2
            for row, columns in enumerate(np.argpartition(-coarse, CANDIDATES - 1, 1)[:, :CANDIDATES], start):
                full = compare(queries[row : row + 1], references[columns], square)
                likeness[row, columns], symmetry[row, columns] = full[0][0], full[1][0]
        else:
            likeness[rows], symmetry[rows] = compare(part, references, square)
        progress(len(part))
    if apart is not None:
        likeness[~apart] = -1
    return likeness, symmetry


def _compare_coarsely(queries, turned):
    """[n, m] correlation of queries [n, SIDE, SIDE] with references as rows of `_shrink_rows`, one array a symmetry."""
    shifts = (-SHIFT, 0, SHIFT)
    moved = np.concatenate([_shrink_rows(_shift(queries, down, right)) for down in shifts for right in shifts])
    return np.max([(moved @ rows.T).reshape(-1, len(queries), len(rows)).max(0) for rows in turned], 0)


def _shrink_rows(pictures):
    """Pictures [n, SIDE, SIDE] as rows of 1 / COARSE of the size, of norm 1."""
    small = SIDE // COARSE
    rows = pictures.reshape(-1, small, COARSE, small, COARSE).mean((2, 4)).reshape(-1, small**2)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)


def _shift(pictures, down, right):
    """Pictures [n, SIDE, SIDE] moved by whole pixels, 0 where nothing moved to, again of norm 1."""
    padded = np.pad(pictures, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)))
    moved = padded[:, SHIFT - down : SHIFT - down + SIDE, SHIFT - right : SHIFT - right + SIDE]
    norms = np.linalg.norm(moved, axis=(1, 2), keepdims=True)
    return np.divide(moved, norms, out=np.zeros_like(moved), where=norms > 0)


def _symmetries(square):
    return range(len(SYMMETRIES) if square else 4)
