"""Mask <-> smooth fields (distance and centreline), which a generator learns from a few masks. Numpy in, numpy out."""

import numpy as np

CENTRELINE_WEIGHT = 0.3  # how much a centreline counts beside the wall; the ridge of a thin vessel blurs first
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
    """Mask -> two smooth fields. The first says how wide a vessel is, the second that it goes on.

    The ridge of a vessel of one pixel lies a hair above 0 in a distance field. What moves, shrinks or generates the
    field breaks such a vessel into beads. Around its centreline a vessel of any width stands out alike.

    Args:
      mask: [h, w, 1] in {0, 1}.
      scale: pixels, as for `make_distance_field`.
      width: pixels; how wide a centreline shows. The wider, the sooner two vessels side by side run into one.

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
    """Two fields, see `make_fields` -> mask: what lies within the walls, and the centrelines, one pixel wide or more.

    Args:
      fields: [height, width, 2] float; the first may be a probability of mask instead.
      wall: what the first field and `weight` of the second, taken to 0 to 1, together exceed within the walls.
      ridge: what the second field exceeds where there is a centreline.
      smallest: pixels; pieces (8-connected) of fewer are left out, but never the largest one.
      joining: add only those parts of the centrelines that join two pieces; see `join_pieces`.

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
    """Adds to a mask those parts of the lines that join two of its pieces, the shortest first, no two pieces twice.

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
    """Numbers the 8-connected pieces of a mask [height, width].

    Returns:
      ([height, width] int, 0 outside and from 1 on within the pieces; [count] int, their sizes in pixels).
    """
    from scipy import ndimage

    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    return labels, np.bincount(labels.ravel())[1:]


def measure_thickness(masks):
    """Measures the mean thickness of vessels: the area over the length of the skeleton, of all masks together.

    Args:
      masks: [count, height, width, 1] in {0, 1}.

    Returns:
      float in pixels, 1 or more; 0 where all masks are empty.
    """
    from skimage.morphology import skeletonize

    length = sum(int(skeletonize(mask[..., 0] > 0).sum()) for mask in masks)
    return float(np.count_nonzero(masks)) / length if length else 0.0


def find_wall(masks_at, thickness):
    """Finds by bisection where the wall has to be for masks of this mean thickness.

    Args:
      masks_at: function wall -> masks [count, height, width, 1] in {0, 1}, thinner the higher the wall is.
      thickness: their `measure_thickness`, pixels.

    Returns:
      float, the one of ten walls that comes nearest.
    """
    low, high, tried = -0.5, 0.8, []
    for _ in range(10):
        wall = (low + high) / 2
        excess = measure_thickness(masks_at(wall)) - thickness
        tried.append((abs(excess), wall))
        low, high = (wall, high) if excess > 0 else (low, wall)
    return min(tried)[1]
