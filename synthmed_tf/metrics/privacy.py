"""Does a synthetic set give away the images that its generator learned from? Near copies and membership. numpy in,
numbers out.
"""

import numpy as np
from scipy import ndimage
from skimage.transform import resize_local_mean

from synthmed_tf.metrics import bootstrap, classification
from synthmed_tf.metrics.copies import SYMMETRIES, transform
from synthmed_tf.metrics.distribution import LUMA

SIDE = 64  # pixels of a thumbnail, whatever the images' aspect ratio
SHIFT = 2  # thumbnail pixels either way
# What of a picture is compared, by the radius (standard deviation in thumbnail pixels) of what counts as its surround:
# lines and edges relative to their surround, which tell one person from another; or all that is bright and dark, None,
# which also holds the large forms.
VIEWS = {"structure": 2.0, "shading": None}
LEAST_CONTRAST = 0.01  # of the brightest surround: flat ground has no structure, noise in it is not made one
SUBSETS = 20
RELABELLINGS = 200
NOISE = 0.04  # of the grey range; GAMMA, CONTRAST and MOVED: what a planted copy is put through
GAMMA, CONTRAST, MOVED = 1.3, 0.8, 0.02


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
      (likeness, symmetry): [n, m] float32 in [-1, 1], 1 for the same picture; [n, m] int8 into copies.SYMMETRIES, such
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


def _shifts():
    return range(-SHIFT, SHIFT + 1)


def _shifted(pictures, down, right):
    """Pictures [n, SIDE, SIDE] moved by whole pixels, 0 where nothing moved to, again of norm 1."""
    padded = np.pad(pictures, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)))
    moved = padded[:, SHIFT - down : SHIFT - down + SIDE, SHIFT - right : SHIFT - right + SIDE]
    norms = np.linalg.norm(moved, axis=(1, 2), keepdims=True)
    return np.divide(moved, norms, out=np.zeros_like(moved), where=norms > 0)


def closer_to_training(to_training, to_held_out, seed=0):
    """The share of synthetic images that are more like a training image than like a held-out one;
    0.5 if training left no trace.

    As the larger one of two sets holds the likest image more often, random subsets of the smaller one's size are
    compared.

    Args:
      to_training: [synthetic, n] likeness. to_held_out: [synthetic, m] likeness.
      seed: of the subsets and relabellings.

    Returns:
      {"share": in [0, 1], "chance": [low, high]}: between these lies the share in 95 of 100 random relabellings of the
      real images as training and held-out ones. Synthetic images are not independent of one another, so the interval is
      of the real images.
    """
    alike, count = np.concatenate([to_training, to_held_out], 1), to_training.shape[1]
    size = min(count, to_held_out.shape[1])
    rng = np.random.default_rng(seed)

    def share(order):
        runs = []
        for _ in range(1 if 2 * size == len(order) else SUBSETS):
            ours, theirs = (
                alike[:, rng.choice(part, size, replace=False)].max(1) for part in (order[:count], order[count:])
            )
            runs.append(np.mean((ours > theirs) + (ours == theirs) / 2))
        return np.mean(runs)

    found = share(np.arange(alike.shape[1]))
    chance = [share(rng.permutation(alike.shape[1])) for _ in range(RELABELLINGS)]
    return {"share": float(found), "chance": [float(each) for each in np.quantile(chance, (0.025, 0.975))]}


def membership(to_training, to_held_out, groups=None, seed=0):
    """How well an attacker who has the synthetic set tells whether an image was learned from:
    by its likeness to the likest synthetic one.

    (Membership inference by distance: Hilprecht et al. 2019, "Monte Carlo and Reconstruction Membership Inference
    Attacks against Generative Models"; Chen et al. 2020, "GAN-Leaks".)

    Args:
      to_training: [synthetic, n] likeness. to_held_out: [synthetic, m] likeness.
      groups: [n + m] patient or slide of the training and then of the held-out images, drawn together; None: each image
        is its own.
      seed: of the bootstrap.

    Returns:
      {"mean": AUC in [0, 1], 0.5 for guessing, "interval": 95 % of 1,000 bootstrap draws}.
    """
    values = np.concatenate([to_training.max(0), to_held_out.max(0)])
    truth = np.repeat([1, 0], [to_training.shape[1], to_held_out.shape[1]])
    both = np.stack([-values, values], 1)
    drawn = classification.bootstrapped([both], truth, groups, seed)
    return {"mean": float(classification.scores(both, truth)["auc"]), "interval": bootstrap.interval(drawn["auc"])}


def planted(images, fields_of_view, seed=0):
    """Copies of images as somebody might disguise them, or a generator misremember:
    an audit that does not find them is none.

    Args:
      images: list of [height, width, channels] uint8 or uint16. fields_of_view: list of [height, width, 1] in {0, 1} or
        None.
      seed: of the noise.

    Returns:
      {what was done: (images, fields of view)}.
    """
    rng = np.random.default_rng(seed)
    square = images[0].shape[0] == images[0].shape[1]

    def turned(picture, index):
        return transform(picture, 1 + index % ((len(SYMMETRIES) if square else 4) - 1))

    def shifted(picture, _):
        rows, columns = (max(1, round(MOVED * side)) for side in picture.shape[:2])
        return np.pad(picture, ((rows, 0), (0, columns), (0, 0)), "edge")[: picture.shape[0], columns:]

    def recoloured(picture, _):
        top = np.iinfo(picture.dtype).max
        return ((picture / top) ** GAMMA * CONTRAST * top).astype(picture.dtype)

    def noisy(picture, _):
        top = np.iinfo(picture.dtype).max
        return np.clip(picture + rng.normal(0, NOISE * top, picture.shape), 0, top).astype(picture.dtype)

    ways = {"turned or mirrored": [turned], "shifted": [shifted], "recoloured": [recoloured], "noisy": [noisy]}
    ways["all of these"] = [turned, shifted, recoloured, noisy]
    found = {}
    for name, steps in ways.items():
        copies, views = [], []
        for index, (copy, view) in enumerate(zip(images, fields_of_view, strict=True)):
            for step in steps:
                copy = step(copy, index)
                view = step(view, index) if view is not None and step in (turned, shifted) else view
            copies.append(copy)
            views.append(view)
        found[name] = copies, views
    return found
