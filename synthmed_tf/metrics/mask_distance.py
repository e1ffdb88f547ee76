"""Is a mask a copy of another? Their distance over all flips and rotations (P1 figure 4). numpy in, numbers out."""

import numpy as np

from synthmed_tf.metrics.symmetries import SYMMETRIES, transform

CHUNK_BYTES = 64 * 2**20  # of one block of masks as float32


def find_nearest(queries, references):
    """For each query the nearest reference over the 8 flips and rotations (4 where height and width differ).

    The distance is 1 - Dice = 1 - 2 |A and B| / (|A| + |B|), in [0, 1]: 0 for the same mask, 1 for no pixel in common.
    Two empty masks are the same mask.

    Args:
      queries: [n, height, width] or [n, height, width, 1] in {0, 1}, array or list.
      references: [m, height, width] likewise, m >= 1, of the same height and width.

    Returns:
      (index, distance, symmetry): [n] int64 into references, [n] float64, [n] int64 into SYMMETRIES, such that
      transform(references[index], symmetry) is what lies nearest to the query. Ties go to the first symmetry, then to
      the first reference.

    Raises:
      ValueError: no references, or masks of different sizes.
    """
    queries, references = _stack(queries), _stack(references)
    if not len(references):
        raise ValueError("no masks to compare with")
    if len(queries) and queries.shape[1:] != references.shape[1:]:
        raise ValueError(f"masks must have one size, found {queries.shape[1:]} and {references.shape[1:]}")
    index = np.zeros(len(queries), np.int64)
    distance = np.full(len(queries), np.inf)
    symmetry = np.zeros(len(queries), np.int64)
    for rows, columns, kind, distances in _compare_blocks(queries, references):
        best = distances.argmin(axis=1)
        least = distances[np.arange(len(best)), best]
        nearer = least < distance[rows]
        index[rows] = np.where(nearer, best + columns.start, index[rows])
        symmetry[rows] = np.where(nearer, kind, symmetry[rows])
        distance[rows] = np.where(nearer, least, distance[rows])
    return index, distance, symmetry


def measure_distances(queries, references):
    """The distance, as in `find_nearest`, of every query to every reference.

    Args:
      queries: [n, height, width] or [n, height, width, 1] in {0, 1}, array or list.
      references: [m, height, width] likewise, of the same height and width.

    Returns:
      [n, m] float64 in [0, 1].
    """
    queries, references = _stack(queries), _stack(references)
    distances = np.full([len(queries), len(references)], np.inf)
    if len(references):
        for rows, columns, _, block in _compare_blocks(queries, references):
            distances[rows, columns] = np.minimum(distances[rows, columns], block)
    return distances


def find_closest_pair(masks):
    """The two masks of one set that lie nearest to each other, distance and symmetries as in `find_nearest`.

    A distance near 0 means that the set holds the same picture twice (a collapsed generator).

    Args:
      masks: [n, height, width] or [n, height, width, 1] in {0, 1}, array or list.

    Returns:
      (first, second, distance) with first < second; None for fewer than two masks.
    """
    masks = _stack(masks)
    closest = None
    for rows, columns, _, distances in _compare_blocks(masks, masks, is_triangle=True):
        later = np.arange(columns.start, columns.stop) > np.arange(rows.start, rows.stop)[:, None]
        distances = np.where(later, distances, np.inf)
        first, second = np.unravel_index(distances.argmin(), distances.shape)
        if distances[first, second] < (closest[2] if closest else np.inf):
            closest = int(first) + rows.start, int(second) + columns.start, float(distances[first, second])
    return closest


def _compare_blocks(queries, references, is_triangle=False):
    """Yields (rows, columns, symmetry, distances [rows, columns]) for all blocks and symmetries."""
    if not len(queries):
        return
    height, width = queries.shape[1:]
    size = max(1, CHUNK_BYTES // (4 * height * width))
    kinds = range(len(SYMMETRIES) if height == width else 4)
    for rows in _cut(len(queries), size):
        block = queries[rows].reshape(rows.stop - rows.start, -1).astype(np.float32)
        area = block.sum(axis=1, dtype=np.float64)[:, None]
        for kind in kinds:
            for columns in _cut(len(references), size):
                if is_triangle and columns.stop <= rows.start:
                    continue  # the lower triangle says the same
                turned = np.stack([transform(mask, kind) for mask in references[columns]])
                other = turned.reshape(len(turned), -1).astype(np.float32)
                areas = area + other.sum(axis=1, dtype=np.float64)
                overlap = 2 * (block @ other.T).astype(np.float64)
                yield rows, columns, kind, 1 - np.divide(overlap, areas, out=np.ones_like(areas), where=areas > 0)


def _cut(count, size):
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _stack(masks):
    if not len(masks):
        return np.zeros((0, 0, 0), bool)
    arrays = [np.asarray(mask, bool) for mask in masks]
    if len({array.shape for array in arrays}) > 1:
        raise ValueError(f"masks must have one size, found {sorted({array.shape for array in arrays})}")
    return np.stack([array.reshape(array.shape[:2]) for array in arrays])
