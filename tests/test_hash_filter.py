"""papers/hash_filter.py: the average hash by hand; what the filter passes on and what it counts."""

import itertools

import numpy as np
import pytest

from synthmed_tf.papers import hash_filter
from synthmed_tf.sample import Sample

RNG = np.random.default_rng(0)


def bits(*ones):
    """[256] bool, True at those places."""
    values = np.zeros(256, bool)
    values[list(ones)] = True
    return values


def picture(ones):
    """[16, 16, 1] whose average hash is bits(*ones)."""
    return np.where(bits(*ones), 200, 20).astype(np.uint8).reshape(16, 16, 1)


REAL = [hash_filter.compute_hash(picture(range(count))) for count in (100, 104, 110)]  # threshold 6
GOOD, NEARLY, BAD = range(99), range(90), range(120, 220)  # 1, 10 and more away


def pass_on(stream, count, hashes=REAL):
    """(ids of what the filter passes on of a stream that is repeated endlessly, tally, ids of the rejected)."""
    tallies, rejected = [{"candidates": 0, "rejected": 0, "too_far": 0} for _ in range(2)], []
    candidates = (Sample(f"c{i}", picture(ones)) for i, ones in enumerate(itertools.cycle(stream)))
    samples = list(itertools.islice(hash_filter.keep_similar(candidates, np.stack(hashes), tallies, rejected), count))
    assert tallies[0] == tallies[1]
    return [sample.id for sample in samples], tallies[0], [sample.id for sample in rejected]


def test_average_hash_of_an_image_of_its_own_size_by_hand():
    grey = RNG.integers(0, 256, [16, 16, 1]).astype(np.uint8)
    expected = (grey > grey.mean()).ravel()
    assert (hash_filter.compute_hash(grey) == expected).all()
    assert (hash_filter.compute_hash(grey.astype(np.uint16) * 257) == expected).all()


def test_average_hash_of_colours_is_that_of_their_luma():
    colours = RNG.integers(0, 256, [16, 16, 3]).astype(np.uint8)
    luma = colours @ np.array([19595, 38470, 7471]) + 2**15 >> 16  # ITU-R BT.601 in 16 bits, as Pillow has it
    assert (hash_filter.compute_hash(colours) == hash_filter.compute_hash(luma[..., None].astype(np.uint8))).all()


@pytest.mark.parametrize("side", [2, 5, 12])
def test_average_hash_of_large_pixels_is_that_of_small_ones(side):
    pixels = RNG.choice([0, 255], [16, 16, 1]).astype(np.uint8)
    average_hash = hash_filter.compute_hash(pixels.repeat(side, 0).repeat(side, 1))
    assert average_hash.shape == (256,) and (average_hash == (pixels > 0).ravel()).all()


def test_threshold_is_what_95_of_100_real_images_keep_to():
    hashes = np.stack([bits(*range(i)) for i in range(0, 50, 2)])  # each 2 from its neighbour
    assert hash_filter.choose_threshold(hashes) == 2
    odd = np.stack([*hashes, bits(*range(200, 230))])  # one of 26 is far from all: 1 in 20 may be
    assert hash_filter.choose_threshold(odd) == 2
    assert hash_filter.choose_threshold(np.stack([bits(), bits(*range(9))])) == 9
    assert hash_filter.choose_threshold(bits()[None]) is None
    nearest = [min((a != b).sum() for j, b in enumerate(odd) if i != j) for i, a in enumerate(odd)]
    assert np.mean(np.array(nearest) <= hash_filter.choose_threshold(odd)) >= 0.95


def test_what_is_farther_from_real_images_than_they_from_each_other_is_rejected():
    ids, tally, rejected = pass_on([GOOD, BAD, NEARLY, GOOD, GOOD, BAD], 3)
    assert ids == ["c0", "c3", "c4"] and rejected == ["c1", "c2"]
    assert tally == {"candidates": 5, "rejected": 2, "too_far": 0, "rate": 0.4}
    assert pass_on([GOOD, BAD, NEARLY, GOOD, GOOD, BAD], 2)[0] == ids[:2]


def test_a_generator_that_makes_no_real_shape_is_no_endless_loop_and_the_nearest_is_kept():
    ids, tally, rejected = pass_on([BAD, BAD, BAD, NEARLY, BAD], 2)
    assert ids == ["c3", "c13"] and len(rejected) == hash_filter.REJECTED_SHOWN
    assert tally == {"candidates": 20, "rejected": 18, "too_far": 2, "rate": 1.0}


def test_without_a_second_real_image_nothing_is_rejected():
    ids, tally, rejected = pass_on([BAD], 3, REAL[:1])
    assert len(ids) == 3 and tally["rejected"] == tally["rate"] == 0 and not rejected


@pytest.mark.parametrize("rate", [0.4, 0.0])
def test_the_tally_says_what_was_rejected_by_class(rate):
    counts = {"candidates": 5, "rejected": 2, "too_far": 0, "rate": rate}
    said = hash_filter.describe(counts | {"classes": {"sick": counts, "well": counts}})
    assert "2 of 5 images rejected by their average hash" in said
    assert said.endswith(f"{rate:.0%} (sick {rate:.0%}, well {rate:.0%})")
