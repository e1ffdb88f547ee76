"""Mask <-> smooth fields (distance and centreline), which a generator learns from a few masks. Numpy in, numpy out."""

import numpy as np

CENTRELINE_WEIGHT = 0.3  # of the centreline beside the wall: the ridge of a thin vessel is the first thing that blurs
_MAX_FIELD = 1 - 2.0**-20  # distance fields stay inside the open interval, where atanh is finite in float32


def make_distance_field(mask, scale):
    """Mask -> distance field, which a convolutional generator can move smoothly.

    Args:
      mask: [h, w, 1] in {0, 1}.
      scale: pixels; the distance at which the field reaches tanh(1) = 0.76.

    Returns:
      [h, w, 1] float32 in (-1, 1): tanh(d / scale), d the Euclidean distance in pixels to the outline (half a pixel
      beyond the last pixel of the region), positive inside the mask. Without an outline d is infinite.
    """
    from scipy import ndimage

    inside = np.asarray(mask)[..., 0] > 0
    if inside.all() or not inside.any():
        return np.full(mask.shape, _MAX_FIELD if inside.all() else -_MAX_FIELD, np.float32)
    distance = np.where(
        inside, ndimage.distance_transform_edt(inside) - 0.5, 0.5 - ndimage.distance_transform_edt(~inside)
    )
    return np.clip(np.tanh(distance / scale), -_MAX_FIELD, _MAX_FIELD).astype(np.float32)[..., None]


def threshold_distance_field(field):
    """Distance field -> uint8 mask of the same shape in {0, 1}; undoes `make_distance_field` exactly."""
    return (np.asarray(field) > 0).astype(np.uint8)


def make_fields(mask, scale, width=1.5):
    """Mask -> two smooth fields, of which the first says how wide a vessel is and the second that it goes on.

    The ridge of a vessel of one pixel lies a hair above 0 in a distance field, and whatever moves or shrinks or
    generates the field breaks it into beads. Around the centreline a vessel of any width stands out alike.

    Args:
      mask: [h, w, 1] in {0, 1}.
      scale: pixels, of the distance field.
      width: pixels, of the centreline; the wider, the sooner two vessels side by side run into one.

    Returns:
      [h, w, 2] float32 in [-1, 1]: `make_distance_field`; 2 exp(-(d / width)^2) - 1, d the distance in pixels to
      the skeleton of the mask.
    """
    from scipy import ndimage
    from skimage.morphology import skeletonize

    skeleton = skeletonize(np.asarray(mask)[..., 0] > 0)
    distance = ndimage.distance_transform_edt(~skeleton) if skeleton.any() else np.full(skeleton.shape, np.inf)
    centreline = 2 * np.exp(-((distance / width) ** 2)) - 1
    return np.concatenate([make_distance_field(mask, scale), centreline[..., None]], -1, dtype=np.float32)


def make_mask(fields, wall=CENTRELINE_WEIGHT / 2, ridge=0.0, smallest=1, weight=CENTRELINE_WEIGHT, joining=False):
    """The mask of `make_fields`'s fields:
    what lies within the walls, and the centrelines, at least one pixel wide.

    Args:
      fields: [height, width, 2] float; the first may be a probability of mask instead.
      wall: what the first field and `weight` of the second, taken to 0 to 1, together exceed within the walls.
      ridge: what the second field exceeds where there is a centreline.
      smallest: pixels; pieces (8-connected) of fewer are left out, but never the largest one.
      joining: of the centrelines, only what joins two pieces; see `join_pieces`.

    Returns:
      [height, width, 1] uint8 in {0, 1}.
    """
    from skimage.morphology import skeletonize

    height = fields[..., 0] + weight * (fields[..., 1] + 1) / 2
    walls, centreline = height > wall, skeletonize(fields[..., 1] > ridge)
    mask = join_pieces(walls, centreline) if joining else walls | centreline
    if smallest > 1:
        pieces, sizes = label_pieces(mask)
        kept = sizes >= min(smallest, sizes.max(initial=0))
        mask = np.concatenate([[False], kept])[pieces]
    return mask.astype(np.uint8)[..., None]


def join_pieces(mask, lines):
    """A mask and those parts of the lines outside of it that join two of its pieces, the shortest first,
    and no two pieces twice.

    So what is broken becomes whole, and no loop is closed (Kruskal 1956: a spanning forest).

    Args:
      mask: [height, width] bool. lines: [height, width] bool, a pixel wide; pieces of both are 8-connected.

    Returns:
      [height, width] bool.
    """
    from scipy import ndimage
    from scipy.cluster.hierarchy import DisjointSet

    whole, neighbours = mask.copy(), np.ones((3, 3))
    (pieces, sizes), (gaps, lengths) = label_pieces(mask), label_pieces(lines & ~mask)
    boxes, together = ndimage.find_objects(gaps), DisjointSet(range(1, len(sizes) + 1))
    for gap in np.argsort(lengths, kind="stable"):
        box = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in boxes[gap])
        part = gaps[box] == gap + 1
        touched = np.unique(pieces[box][ndimage.binary_dilation(part, neighbours) & mask[box]])
        if len({together[piece] for piece in touched}) > 1:
            whole[box] |= part
            for piece in touched[1:]:
                together.merge(touched[0], piece)
    return whole


def label_pieces(mask):
    """The 8-connected pieces of a mask [height, width]: (labels from 1 on [height, width], their sizes in pixels)."""
    from scipy import ndimage

    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    return labels, np.bincount(labels.ravel())[1:]


def measure_thickness(masks):
    """Area over skeleton length of all masks together, in pixels: the mean thickness of vessels.

    Args:
      masks: [count, height, width, 1] in {0, 1}.

    Returns:
      float, 1 or more; 0 where all masks are empty.
    """
    from skimage.morphology import skeletonize

    length = sum(int(skeletonize(mask[..., 0] > 0).sum()) for mask in masks)
    return float(np.count_nonzero(masks)) / length if length else 0.0


def find_wall(masks_at, thickness):
    """Where the wall has to be for masks of this mean thickness, by bisection.

    Args:
      masks_at: function wall -> masks [count, height, width, 1] in {0, 1}, thinner the higher the wall is.
      thickness: their `measure_thickness`, pixels.

    Returns:
      float, of the ten walls tried the one that comes nearest.
    """
    low, high, tried = -0.5, 0.8, []
    for _ in range(10):
        wall = (low + high) / 2
        excess = measure_thickness(masks_at(wall)) - thickness
        tried.append((abs(excess), wall))
        low, high = (wall, high) if excess > 0 else (low, wall)
    return min(tried)[1]
