import numpy as np
import pytest
from scipy.spatial.distance import dice

from synthmed_tf.metrics import mask_distance, symmetries


def masks(count, height=12, width=12, seed=0):
    return (np.random.default_rng(seed).random((count, height, width)) < 0.3).astype(np.uint8)


@pytest.mark.parametrize("shape, kinds", [((12, 12), 8), ((12, 9), 4)])
@pytest.mark.parametrize("chunk_bytes", [1, 3000, 2**26])
def test_nearest_masks_agree_with_a_search_one_by_one(monkeypatch, shape, kinds, chunk_bytes):
    monkeypatch.setattr(mask_distance, "CHUNK_BYTES", chunk_bytes)
    queries, references = masks(7, *shape), masks(5, *shape, seed=1)
    index, distance, symmetry = mask_distance.find_nearest(queries[..., None], list(references))
    for row, query in enumerate(queries):
        every = np.array(
            [[dice(query.ravel(), symmetries.transform(r, k).ravel()) for r in references] for k in range(kinds)]
        )
        assert distance[row] == pytest.approx(every.min(), abs=1e-12)
        assert (symmetry[row], index[row]) == np.unravel_index(every.argmin(), every.shape)


def test_a_turned_copy_is_found():
    references = masks(6)
    for kind in range(8):
        index, distance, symmetry = mask_distance.find_nearest([symmetries.transform(references[4], kind)], references)
        assert (index[0], distance[0], symmetry[0]) == (4, 0.0, kind)


def test_distance_by_hand_and_empty_masks():
    full, half, empty = np.ones((2, 2), int), np.int64([[1, 1], [0, 0]]), np.zeros((2, 2), int)
    assert mask_distance.find_nearest([half], [full])[1][0] == pytest.approx(1 - 2 * 2 / 6)
    assert mask_distance.find_nearest([empty], [full])[1][0] == 1.0
    assert mask_distance.find_nearest([empty], [full, empty])[1][0] == 0.0


@pytest.mark.parametrize("chunk_bytes", [1, 2000, 2**26])
def test_closest_pair(monkeypatch, chunk_bytes):
    monkeypatch.setattr(mask_distance, "CHUNK_BYTES", chunk_bytes)
    several = masks(9)
    several[7] = np.rot90(several[2])
    several[7, 0, 0] ^= 1
    first, second, distance = mask_distance.find_closest_pair(several)
    assert (first, second) == (2, 7)
    assert distance == pytest.approx(dice(np.rot90(several[2]).ravel(), several[7].ravel()))
    assert mask_distance.find_closest_pair(several[:1]) is None


def test_masks_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="one size"):
        mask_distance.find_nearest(masks(2), masks(2, 10, 10))
    with pytest.raises(ValueError, match="one size"):
        mask_distance.find_closest_pair([np.zeros((3, 3)), np.zeros((4, 4))])
    with pytest.raises(ValueError, match="no masks"):
        mask_distance.find_nearest(masks(2), [])
    assert [len(part) for part in mask_distance.find_nearest([], masks(2))] == [0, 0, 0]


@pytest.mark.parametrize("chunk_bytes", [1, 3000, 2**26])
def test_distances_are_those_of_every_pair(monkeypatch, chunk_bytes):
    monkeypatch.setattr(mask_distance, "CHUNK_BYTES", chunk_bytes)
    queries, references = masks(7), masks(5, seed=1)
    by_hand = [
        [min(dice(query.ravel(), symmetries.transform(r, kind).ravel()) for kind in range(8)) for r in references]
        for query in queries
    ]
    np.testing.assert_allclose(mask_distance.measure_distances(queries, list(references)), by_hand, atol=1e-12)
    np.testing.assert_array_equal(
        mask_distance.measure_distances(queries, queries), mask_distance.measure_distances(queries, queries).T
    )
    assert mask_distance.measure_distances([], references).shape == (0, 5) and mask_distance.measure_distances(
        queries, []
    ).shape == (
        7,
        0,
    )
