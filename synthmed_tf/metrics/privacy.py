"""Does a synthetic set give away the images, or masks, that its generator learned from? Near copies and membership.
numpy in, numbers out.
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
BLUR = 1.5  # thumbnail pixels, of masks: lines that lie beside each other count as alike
COARSE = 2  # thumbnail pixels a side that are one where many pictures are looked through
MANY = 500  # references, above which
CANDIDATES = 16  # of those looked through are compared in full
CHUNK = 64  # pictures compared at a time
SUBSETS = 20
RELABELLINGS = 200
NOISE = 0.04  # of the grey range; GAMMA, CONTRAST and MOVED: what a planted copy is put through
GAMMA, CONTRAST, MOVED = 1.3, 0.8, 0.02
MASK_MOVED, TILTED, SCALED = 0.03, 5, 0.95  # share of the side, degrees, times: what a planted mask is put through


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


def closer_to_training(to_training, to_held_out, groups=None, seed=0):
    """The share of synthetic images that are more like a training image than like a held-out one;
    0.5 if training left no trace.

    As the larger one of two sets holds the likest image more often, random subsets of the smaller one's size are
    compared.

    Args:
      to_training: [synthetic, n] likeness. to_held_out: [synthetic, m] likeness.
      groups: [n + m] patient or slide of the training and then of the held-out images, relabelled together, since those
        of one patient are alike; none on both sides. None: each image is its own.
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

    def share(is_training):
        parts = np.flatnonzero(is_training), np.flatnonzero(~is_training)
        size = min(map(len, parts))
        runs = []
        for _ in range(1 if len(parts[0]) == len(parts[1]) else SUBSETS):
            ours, theirs = (alike[:, rng.choice(part, size, replace=False)].max(1) for part in parts)
            runs.append(np.mean((ours > theirs) + (ours == theirs) / 2))
        return np.mean(runs)

    found = share(np.arange(alike.shape[1]) < count)
    chance = [share(rng.permutation(patients)[of_image] < trained) for _ in range(RELABELLINGS)]
    return {"share": float(found), "chance": [float(each) for each in np.quantile(chance, (0.025, 0.975))]}


def membership(training, held_out, groups=None, seed=0):
    """How well an attacker who has the synthetic set tells whether an image was learned from:
    by its likeness to the likest synthetic one.

    (Membership inference by distance: Hilprecht et al. 2019, "Monte Carlo and Reconstruction Membership Inference
    Attacks against Generative Models"; Chen et al. 2020, "GAN-Leaks". An attacker who is right about few, but sure of
    them, does harm at an AUC near 0.5; hence also how many are found where hardly any guess is wrong: Carlini et al.
    2022, "Membership Inference Attacks From First Principles", section 4.)

    Args:
      training: [n] likeness to the likest synthetic image. held_out: [m] likewise, m >= 1.
      groups: [n + m] patient or slide of the training and then of the held-out images, drawn together; None: each image
        is its own.
      seed: of the bootstrap.

    Returns:
      {"mean": AUC in [0, 1], 0.5 for guessing, "interval": 95 % of 1,000 bootstrap draws, "false_positive_rate": 1 / m,
      the smallest rate that m images tell from 0, "true_positive_rate": share of training images above all held-out
      images but the likest, "true_positives_by_chance": that share if both were alike, 2 / (m + 1)}.
    """
    values = np.concatenate([training, held_out])
    truth = np.repeat([1, 0], [len(training), len(held_out)])
    both = np.stack([-values, values], 1)
    drawn = classification.bootstrapped([both], truth, groups, seed)
    allowed = np.sort(held_out)[-2] if len(held_out) > 1 else -np.inf
    return {
        "mean": float(classification.scores(both, truth)["auc"]),
        "interval": bootstrap.interval(drawn["auc"]),
        "false_positive_rate": 1 / len(held_out),
        "true_positive_rate": float(np.mean(training > allowed)),
        "true_positives_by_chance": 2 / (len(held_out) + 1),
    }


def by_chance(control, groups, among=False):
    """How probable it is that one more image of the same kind, of one more patient, is a near copy:
    more like a training image than all of the control.

    The likest image of all may be anybody's: with as many patients as images, the new one's with probability 1 in
    (control + 1), or 2 in (control + 1) where the control is the training images themselves, as two images make a
    likest pair. Of patients with several images each is left out in turn, to see how many of them would be above the
    others.

    Args:
      control: [n, m] likeness to the training images.
      groups: [n] patient or slide of each image of the control, two at least if among is true.
      among: whether the control is the training images, compared with those of other patients; -1 for the others.

    Returns:
      A number in [0, 1], 0 where the likest pair is there twice.
    """
    groups = np.asarray(groups)
    row, column = np.unravel_index(control.argmax(), control.shape)
    shares = 0.0  # of any other patient, it is 0
    for name in {groups[row], groups[column]} if among else {groups[row]}:
        rest = groups != name
        threshold = control[rest].max(initial=-1, where=rest if among else True)
        shares += np.mean(control[~rest].max(1) > threshold)
    return float(shares / (len(np.unique(groups)) + 1))


def most_by_chance(share):
    """Which share of other images of the same kind are near copies at most, in 95 of 100 sets. Near copies come in numbers:
    where the control happens to lie far from the training images, many are, so their mean says little.

    Args:
      share: in [0, 1), as of `by_chance`; 1 / (n + 1) of a control of n, of which all lie below the share x of others
        with probability (1 - x) ** n.
    """
    return 1 - 0.05 ** (share / (1 - share))


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


def planted_masks(masks):
    """Copies of masks as somebody might disguise them, or a generator that warps what it learned from might make them.

    Args:
      masks: list of [height, width, 1] uint8 in {0, 1}.

    Returns:
      {what was done: masks}.
    """
    square = masks[0].shape[0] == masks[0].shape[1]

    def moved(mask, index, turned, degrees, scale, share):
        mask = transform(mask, 1 + index % ((len(SYMMETRIES) if square else 4) - 1)) if turned else mask
        sides, angle = np.array(mask.shape[:2]), np.deg2rad(degrees)
        matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
        centre = (sides - 1) / 2
        offset = centre - matrix @ (centre + share * sides * (1, -1))
        return ndimage.affine_transform(mask[..., 0], matrix, offset, order=0)[..., None]

    ways = {
        "turned or mirrored": (True, 0, 1, 0),
        "shifted": (False, 0, 1, MASK_MOVED),
        "tilted": (False, TILTED, 1, 0),
        "scaled": (False, 0, SCALED, 0),
        "all of these": (True, TILTED, SCALED, MASK_MOVED),
    }
    return {name: [moved(mask, index, *way) for index, mask in enumerate(masks)] for name, way in ways.items()}
