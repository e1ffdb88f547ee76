"""How alike two images, or two masks, are: the correlation of small pictures of them. numpy in, numbers out."""

import numpy as np
from scipy import ndimage
from skimage.transform import resize_local_mean

from synthmed_tf.metrics.grey import LUMA
from synthmed_tf.metrics.symmetries import SYMMETRIES, transform

SIDE = 64  # pixels of a thumbnail, whatever the images' aspect ratio
SHIFT = 2  # thumbnail pixels either way
# What of a picture is compared, by the radius (standard deviation in thumbnail pixels) of what counts as its surround:
# lines and edges relative to their surround, which tell one person from another; or all that is bright and dark, None,
# which also holds the large forms.
VIEWS = {"structure": 2.0, "shading": None}
LEAST_CONTRAST = 0.01  # of the brightest surround: flat ground has no structure, noise in it is not made one
BLUR = 1.5  # thumbnail pixels, of masks: lines that lie beside each other count as alike
COARSE = 2  # thumbnail pixels a side that are one where many pictures are looked through
MANY = 500  # references, above which
CANDIDATES = 16  # of those looked through are compared in full
CHUNK = 64  # pictures compared at a time


def thumbnails(images, fields_of_view=None, surround=None):
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
    return np.stack([_thumbnail(image, view, surround) for image, view in zip(images, views)])


def _thumbnail(image, view, surround):
    grey = image / np.iinfo(image.dtype).max @ np.float64(LUMA if image.shape[-1] == 3 else (1,))
    inside = np.ones(grey.shape) if view is None else np.asarray(view, float)[..., 0]
    share = resize_local_mean(inside, (SIDE, SIDE))
    weight = (share > 0.5).astype(float)
    grey = np.divide(resize_local_mean(grey * inside, (SIDE, SIDE)), share, out=np.zeros_like(share), where=weight > 0)
    if surround is not None:
        around = _mean_around(grey, weight, surround)
        detail = (grey - around) * weight
        spread = np.sqrt(_mean_around(detail**2, weight, surround))
        grey = detail / (spread + LEAST_CONTRAST * max(around.max(), LEAST_CONTRAST))
    return _comparable(grey, weight)


def mask_thumbnails(masks):
    """Small blurred pictures of masks, as `thumbnails` are of images.

    Whether lines lie upon each other, as Dice asks, tells a mask from its copy that was moved by a line's width, which
    looks the same to everybody. Blurred, that copy stays alike, and so does one that was tilted or scaled a little.

    Args:
      masks: iterable of [height, width, 1] in {0, 1}.

    Returns:
      [count, SIDE, SIDE] float32 of mean 0 and norm 1; 0 everywhere for an empty or a full mask.
    """
    small = [resize_local_mean(np.asarray(mask, float)[..., 0], (SIDE, SIDE)) for mask in masks]
    return np.stack([_comparable(ndimage.gaussian_filter(each, BLUR), np.ones_like(each)) for each in small])


def halves(mask):
    """The upper and the lower half of a mask [height, width, 1], of an odd number of rows without the middle one, each
    in the middle of an empty mask of its size.
    """
    rows = len(mask) // 2
    top = (len(mask) - rows) // 2
    found = []
    for half in (mask[:rows], mask[-rows:]):
        found.append(np.zeros_like(mask))
        found[-1][top : top + rows] = half
    return found


def _comparable(grey, weight):
    grey = (grey - (grey * weight).sum() / max(weight.sum(), 1)) * weight
    norm = np.linalg.norm(grey)
    return (grey / norm if norm > 1e-6 else np.zeros_like(grey)).astype(np.float32)


def _mean_around(values, weight, surround):
    sums, weights = (ndimage.gaussian_filter(each, surround, mode="constant") for each in (values * weight, weight))
    return np.divide(sums, weights, out=np.zeros_like(sums), where=weights > 1e-3)


def likeness(queries, references, square=True):
    """How alike pictures are: their correlation,
    the largest over the 8 flips and rotations and over shifts of up to SHIFT pixels.

    Args:
      queries: [n, SIDE, SIDE] from `thumbnails`. 26 times their memory is needed.
      references: [m, SIDE, SIDE] likewise.
      square: whether the images are; others are not turned by 90 degrees.

    Returns:
      (likeness, symmetry): [n, m] float32 in [-1, 1], 1 for the same picture; [n, m] int8 into symmetries.SYMMETRIES, such
      that transform(reference, symmetry) is what the query is like.
    """
    moved = np.stack([_shifted(queries, down, right) for down in _shifts() for right in _shifts()]).reshape(
        -1, SIDE * SIDE
    )
    best = np.full((len(queries), len(references)), -1, np.float32)
    kind = np.zeros(best.shape, np.int8)
    for symmetry in range(len(SYMMETRIES) if square else 4):
        turned = np.stack([transform(each, symmetry) for each in references]).reshape(-1, SIDE * SIDE)
        found = (moved @ turned.T).reshape(-1, *best.shape).max(0)
        kind[found > best] = symmetry
        best = np.maximum(best, found)
    return best, kind


def likest(queries, references, square=True, apart=None, progress=lambda count: None):
    """`likeness` of each picture to those that it may be most like, in chunks, for sets of thousands.

    Of more than MANY references, the CANDIDATES that are likest at 1 / COARSE of the size, over the flips and
    rotations and over shifts of 0 or SHIFT pixels, are compared in full.

    Args:
      queries, references, square: see `likeness`.
      apart: [n, m] bool, which pairs to compare; None: all.
      progress: called with the number of queries done since the last call.

    Returns:
      (likeness, symmetry) as from `likeness`; -1 for pairs that were not compared in full.
    """
    alike = np.full((len(queries), len(references)), -1, np.float32)
    symmetry = np.zeros(alike.shape, np.int8)
    many = len(references) > MANY
    turned = range(len(SYMMETRIES) if square else 4) if many else ()
    small = [_coarse(np.stack([transform(each, kind) for each in references])) for kind in turned]
    for start in range(0, len(queries), CHUNK):
        rows = slice(start, start + CHUNK)
        part = queries[rows]
        if many:
            steps = (-SHIFT, 0, SHIFT)
            moved = np.concatenate([_coarse(_shifted(part, down, right)) for down in steps for right in steps])
            coarse = np.max([(moved @ each.T).reshape(-1, len(part), len(references)).max(0) for each in small], 0)
            if apart is not None:
                coarse[~apart[rows]] = -2
            for row, columns in enumerate(np.argpartition(-coarse, CANDIDATES - 1, 1)[:, :CANDIDATES], start):
                found = likeness(queries[row : row + 1], references[columns], square)
                alike[row, columns], symmetry[row, columns] = found[0][0], found[1][0]
        else:
            alike[rows], symmetry[rows] = likeness(part, references, square)
        progress(len(part))
    if apart is not None:
        alike[~apart] = -1
    return alike, symmetry


def _coarse(pictures):
    """Pictures [n, SIDE, SIDE] as rows of 1 / COARSE of the size, of norm 1."""
    small = SIDE // COARSE
    rows = pictures.reshape(-1, small, COARSE, small, COARSE).mean((2, 4)).reshape(-1, small**2)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)


def _shifts():
    return range(-SHIFT, SHIFT + 1)


def _shifted(pictures, down, right):
    """Pictures [n, SIDE, SIDE] moved by whole pixels, 0 where nothing moved to, again of norm 1."""
    padded = np.pad(pictures, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)))
    moved = padded[:, SHIFT - down : SHIFT - down + SIDE, SHIFT - right : SHIFT - right + SIDE]
    norms = np.linalg.norm(moved, axis=(1, 2), keepdims=True)
    return np.divide(moved, norms, out=np.zeros_like(moved), where=norms > 0)
