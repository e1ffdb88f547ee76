"""The shape of vessel masks in numbers, and the distance of two sets of masks in each. numpy in, numbers out.

The statistics do not depend on where in the frame the vessels lie. Lengths are in pixels of the mask, so only masks of
one size can be compared, and area fractions only if all masks come with a field of view or none does. What lies outside
the frame or the field of view counts as background.
"""

from statistics import fmean, stdev

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.csgraph import connected_components
from scipy.stats import wasserstein_distance
from skimage.morphology import skeletonize

STATISTICS = {  # name: (what it is, unit)
    "area_fraction": ("vessel area over the area of the field of view", "ratio"),
    "skeleton_length": ("length of the centrelines", "pixels"),
    "branch_points": ("points where centrelines meet", "count"),
    "end_points": ("points where a centreline ends", "count"),
    "components": ("connected pieces of the mask", "count"),
    "loops": ("holes of the mask: vessels that close a loop or cross twice", "count"),
    "width_mean": ("vessel width, mean along the centrelines", "pixels"),
    "width_sd": ("vessel width, standard deviation along the centrelines", "pixels"),
    "fractal_dimension": ("box-counting dimension of the mask", "dimensionless"),
    "tortuosity": ("arc length over chord of the branches, mean weighted by arc length", "ratio"),
}
COUNTS = ("skeleton_length", "branch_points", "end_points", "components", "loops")  # 0 where there is no vessel
SHORTEST_BRANCH = 10  # pixels; the chord of a shorter branch says more about the pixel grid than about the vessel
# Steps from pixel to pixel make a slanting straight line up to 8 % too long. Moved to the mean of itself and its two
# neighbours three times over, an inner pixel loses its stairs: straight lines of 100 pixels come out below 1.006, half
# circles of radius 8 and 55 pixels at 0.975 and 0.997 of pi / 2.
SMOOTHINGS = 3
_EIGHT = np.ones((3, 3))  # pixels that touch at a corner are neighbours, too


def describe(mask, field_of_view=None):
    """The STATISTICS of one mask.

    The skeleton is that of Lee, Kashyap and Chu 1994 (CVGIP 56:462) and is not pruned. Two of its pixels are joined if
    they share an edge, or a corner but no third pixel of the skeleton that shares an edge with both.

      area_fraction: vessel pixels over pixels of the field of view.
      skeleton_length: sum over the joins, 1 along rows and columns and sqrt(2) on diagonals. A lone pixel has length 0.
      branch_points: skeleton pixels with three joins or more; those that touch count once.
      end_points: skeleton pixels with one join.
      components: 8-connected.
      loops: 4-connected pieces of the background that vessels enclose: components minus the Euler number.
      width_mean, width_sd: see `_measure_widths`; over the skeleton pixels that are no end points, since there the
        vessel's end is nearer than its walls.
      fractal_dimension: see `_count_boxes`.
      tortuosity: see `_measure_tortuosity`. It is 1 for straight vessels.

    Args:
      mask: [height, width] or [height, width, 1] in {0, 1}, vessel = 1.
      field_of_view: the same shape in {0, 1}; None: the whole frame.

    Returns:
      {name: float, or None where undefined}. An empty mask has 0 for area fraction, length and counts and None for the
      rest. Also None: the area fraction of an empty field of view, the widths where all skeleton pixels are end points,
      the dimension in a frame below 8 pixels, and the tortuosity without a branch to measure.

    Raises:
      ValueError: shapes that do not fit, or values outside {0, 1}.
    """
    mask = _to_plane(mask, "mask")
    view = np.ones_like(mask) if field_of_view is None else _to_plane(field_of_view, "field of view")
    if mask.shape != view.shape:
        raise ValueError(f"mask {mask.shape} and field of view {view.shape} must have one size")
    mask = mask & view
    numbers = dict.fromkeys(STATISTICS)
    numbers["area_fraction"] = float(mask.sum() / view.sum()) if view.any() else None
    if not mask.any():
        return numbers | dict.fromkeys(COUNTS, 0.0)
    vessels = mask[ndimage.find_objects(mask.astype(np.uint8))[0]]
    dimension = _count_boxes(vessels, max(mask.shape) / 4)
    return numbers | _measure(np.pad(vessels, 1)) | {"fractal_dimension": dimension}


def compare(real, synthetic, floor=None):
    """How far two sets of masks are apart in each of the STATISTICS.

    The distance is the 1-Wasserstein distance between the two sets of values, over the standard deviation of the real
    ones: 1 means that the distributions lie as far apart as real masks spread. Two small samples of one distribution
    are apart as well (two of 20 normal values by 0.39 on average, 20 and 200 by 0.30), which is what the floor is for.
    Undefined values (None) are left out.

    Args:
      real, synthetic: lists of what `describe` returns; masks of one size, fields of view for all or none.
      floor: the same for real masks that are not among `real` (the official test masks); None or empty: no floor.

    Returns:
      {name: {"real": {"mean", "sd"}, "synthetic": {"mean", "sd"}, "distance", "floor"}}, floor being the distance of
      the floor's masks to the real ones. sd has n - 1 in the denominator. None where there are too few defined values,
      and for a distance where the real values have no spread; equal distributions are then still 0 apart.

    Raises:
      ValueError: no real or no synthetic masks.
    """
    if not len(real) or not len(synthetic):
        raise ValueError(f"{len(real)} real and {len(synthetic)} synthetic masks: there must be some of both")
    result = {}
    for name in STATISTICS:
        reals, synthetics, floors = (
            [mask[name] for mask in masks if mask[name] is not None] for masks in (real, synthetic, floor or [])
        )
        result[name] = {
            "real": _summarise(reals),
            "synthetic": _summarise(synthetics),
            "distance": _measure_distance(reals, synthetics),
            "floor": _measure_distance(reals, floors),
        }
    return result


def _to_plane(array, name):
    array = np.asarray(array)
    plane = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if plane.ndim != 2:
        raise ValueError(f"{name} must be [height, width] or [height, width, 1], found {array.shape}")
    if not np.isin(plane, (0, 1)).all():
        raise ValueError(f"{name} must hold 0 and 1 only, found {plane.min()} to {plane.max()}")
    return plane.astype(bool)


def _measure(mask):
    """The statistics that need the skeleton, and the counts, of a mask with an empty rim."""
    skeleton = skeletonize(mask, method="lee").astype(bool)
    places, edges, lengths = _join(skeleton)
    degrees = np.bincount(edges.ravel(), minlength=len(places))
    forks = np.zeros(mask.shape, bool)
    forks[skeleton] = degrees >= 3
    clusters, count = ndimage.label(forks, _EIGHT)
    widths = _measure_widths(mask)[skeleton][degrees != 1]
    return {
        "skeleton_length": float(lengths.sum()),
        "branch_points": float(count),
        "end_points": float((degrees == 1).sum()),
        "components": float(ndimage.label(mask, _EIGHT)[1]),
        "loops": float(ndimage.label(~mask)[1] - 1),
        "width_mean": float(widths.mean()) if widths.size else None,
        "width_sd": float(widths.std()) if widths.size else None,
        "tortuosity": _measure_tortuosity(places, edges, degrees, clusters[skeleton]),
    }


def _join(skeleton):
    """(places [n, 2], edges [m, 2] as indices into places, lengths [m]) of a skeleton with an empty rim."""
    on, row = skeleton.ravel(), skeleton.shape[1]
    pixels = np.flatnonzero(on)
    edges = []
    for step, sideways in ((1, None), (row, None), (row + 1, 1), (row - 1, -1)):
        joined = on[pixels + step]
        if sideways is not None:
            joined &= ~on[pixels + sideways] & ~on[pixels + row]
        edges.append(np.stack([pixels[joined], pixels[joined] + step], axis=1))
    lengths = np.repeat([1, 1, np.sqrt(2), np.sqrt(2)], list(map(len, edges)))
    return np.argwhere(skeleton), np.searchsorted(pixels, np.concatenate(edges)), lengths


def _measure_widths(mask):
    """[height, width] twice the distance to the background, on a grid of half pixels, the largest within each pixel.

    On the skeleton these are as many half pixels to one wall as there are whole pixels between both. A bar along the
    grid, n pixels wide, has width n, for odd and even n; one along the diagonal lies within half a pixel of its own.
    """
    height, width = mask.shape
    halves = ndimage.distance_transform_edt(mask.repeat(2, axis=0).repeat(2, axis=1))
    return halves.reshape(height, 2, width, 2).max(axis=(1, 3))


def _count_boxes(mask, largest):
    """The box-counting dimension (Masters 2004, Annual Review of Biomedical Engineering 6:427).

    It is minus the slope of log(occupied boxes) over log(box size), by least squares, of the mask itself. Boxes of 1,
    2, 4, ... pixels up to `largest` are laid from the top left corner.
    """
    sizes, counts = [], []
    while 2 ** len(sizes) <= largest:
        sizes.append(2 ** len(sizes))
        counts.append(np.count_nonzero(mask))
        mask = np.pad(mask, [(0, side % 2) for side in mask.shape])
        mask = mask[::2, ::2] | mask[1::2, ::2] | mask[::2, 1::2] | mask[1::2, 1::2]
    return -float(np.polyfit(np.log(sizes), np.log(counts), 1)[0]) if len(sizes) > 1 else None


def _measure_tortuosity(places, edges, degrees, clusters):
    """Arc length over chord of the branches (Lotmar et al. 1979, Graefe's Archive 211:49), mean weighted by arc length.

    Branches run between branch points and end points. Those of SHORTEST_BRANCH pixels or more count, after SMOOTHINGS;
    closed loops, which begin and end at one point, do not.

    Args:
      places, edges: from `_join`.
      degrees: [n] joins of each pixel.
      clusters: [n] the number of the branch point that a pixel is part of, 0 elsewhere.
    """
    count, fork, end = len(places), degrees >= 3, np.flatnonzero(degrees == 1)
    neighbours = _build_adjacency(edges, count)
    for _ in range(SMOOTHINGS):
        places = np.where(degrees[:, None] == 2, (places + neighbours @ places) / 3, places)
    branch = connected_components(_build_adjacency(edges[~fork[edges].any(axis=1)], count))[1]
    edges = edges[~fork[edges].all(axis=1)]
    edges = np.where(fork[edges[:, 1:]], edges[:, ::-1], edges)  # a fork comes first
    arcs = np.bincount(branch[edges[:, 1]], np.linalg.norm(places[edges[:, 0]] - places[edges[:, 1]], axis=1), count)
    from_fork = edges[fork[edges[:, 0]]]
    tips = np.concatenate([from_fork[:, 0], end])  # every branch has two, a closed curve without branch points none
    owners = np.concatenate([branch[from_fork[:, 1]], branch[end]])
    order = np.argsort(owners)
    first, last = tips[order].reshape(-1, 2).T
    arcs = arcs[owners[order][::2]]
    measured = (arcs >= SHORTEST_BRANCH) & ((clusters[first] != clusters[last]) | (clusters[first] == 0))
    if not measured.any():
        return None
    chords = np.linalg.norm(places[first] - places[last], axis=1)[measured]
    return float(np.average(arcs[measured] / chords, weights=arcs[measured]))


def _build_adjacency(edges, count):
    both = np.concatenate([edges, edges[:, ::-1]])
    return sparse.csr_array((np.ones(len(both)), both.T), (count, count))


def _summarise(values):
    return {"mean": fmean(values) if values else None, "sd": stdev(values) if len(values) > 1 else None}


def _measure_distance(real, other):
    if not real or not other:
        return None
    distance = float(wasserstein_distance(real, other))
    sd = _summarise(real)["sd"]
    return distance / sd if sd else (0.0 if distance == 0 else None)
