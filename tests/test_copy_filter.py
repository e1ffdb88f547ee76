"""smalldata/copy_filter.py: no mask of a synthetic set copies a training mask, however disguised."""

import itertools

import numpy as np
import pytest

from synthmed_tf.datasets.phantoms import fundus
from synthmed_tf.datasets.prepare import crop_sample
from synthmed_tf.metrics import likeness, planted
from synthmed_tf.sample import Sample
from synthmed_tf.smalldata import copy_filter


@pytest.fixture(scope="module")
def eyes():
    """Masks of nine eyes."""
    return [crop_sample(fundus.draw_fundus(index), (64, 64)).mask for index in range(9)]


def dots(*places):
    """A mask of 16 x 16 with those pixels; none lies on a symmetry's axis, so few pixels tell masks apart."""
    mask = np.zeros([16, 16, 1], np.uint8)
    for row, column in places:
        mask[row, column] = 1
    return mask


def pass_on(masks, real, count, tally=None):
    """Masks of a stream, repeated endlessly, that the filter passes on."""
    candidates = (Sample(f"c{i}", mask=masks[i % len(masks)]) for i in itertools.count())
    real = [Sample(f"r{i}", mask=mask) for i, mask in enumerate(real)]
    return list(copy_filter.reject_copies(candidates, real, count, {} if tally is None else tally))


REAL = [dots((0, 1), (0, 2)), dots((0, 1), (0, 3))]  # Dice 1/2: the threshold is 1/2
COPY, NEAR = dots((1, 0), (2, 0)), dots((0, 1), (0, 2), (5, 9))  # turned; with a dot more: distance 1 - 4/5
FRESH = [dots((3, i), (4, 9 + i), (6, 2 + 2 * i)) for i in range(3)]
LIKENESS = likeness.compare(likeness.make_mask_thumbnails(REAL), likeness.make_mask_thumbnails(REAL))[0]
HALVES = [half for mask in REAL for half in likeness.cut_halves(mask)]
LIKENESS_OF_HALVES = likeness.compare(likeness.make_mask_thumbnails(HALVES), likeness.make_mask_thumbnails(HALVES))[0]
THRESHOLDS = {
    "threshold": 0.5,
    "most_alike": pytest.approx(max(LIKENESS[0, 1], LIKENESS[1, 0]), abs=1e-6),
    "halves_most_alike": pytest.approx(
        max(LIKENESS_OF_HALVES[:2, 2:].max(), LIKENESS_OF_HALVES[2:, :2].max()), abs=1e-6
    ),
}


def test_filter_rejects_copies_of_real_masks():
    tally = {}
    kept = pass_on([COPY, FRESH[0], COPY[:, ::-1], NEAR, FRESH[1], FRESH[2]], REAL, 3, tally)
    assert [(sample.mask == fresh).all() for sample, fresh in zip(kept, FRESH, strict=True)] == [True] * 3
    assert [sample.id for sample in kept] == [f"synthetic-{i:06d}" for i in range(3)]
    assert tally == THRESHOLDS | {"candidates": 6, "rejected": 3, "too_near": 0}


def test_filter_rejects_disguised_copies(eyes):
    *real, fresh = eyes
    ways = planted.disguise_masks(real[:2])
    for disguise in ("turned or mirrored", "shifted", "tilted", "scaled"):
        tally = {}
        (kept,) = pass_on([*ways[disguise], fresh], real, 1, tally)
        assert (kept.mask == fresh).all() and tally["rejected"] == 2, disguise


def test_a_mask_that_is_there_twice_does_not_let_copies_pass(eyes):
    *real, fresh = eyes
    shifted = planted.disguise_masks(real[:3])["shifted"]
    tallies = [{}, {}]
    for twice, tally in zip(
        ([], [real[0], real[4][::-1], np.zeros_like(fresh), np.zeros_like(fresh)]), tallies, strict=True
    ):
        (kept,) = pass_on([*shifted, fresh], [*real, *twice], 1, tally)
        assert (kept.mask == fresh).all() and tally["rejected"] == 3
    assert tallies[0] == pytest.approx(tallies[1], abs=1e-6)


def test_filter_rejects_recombined_halves_of_two_real_masks(eyes):
    *real, fresh = eyes
    recombined = [np.concatenate([real[index][:32], real[index + 1][32:]]) for index in range(7)]
    tally = {}
    (kept,) = pass_on([*recombined, fresh], real, 1, tally)
    assert (kept.mask == fresh).all() and tally["rejected"] == 7
    small, learned = likeness.make_mask_thumbnails(recombined), likeness.make_mask_thumbnails(real)
    assert (likeness.find_most_similar(small, learned)[0].max(1) < tally["most_alike"]).any()  # their halves alone tell


@pytest.mark.parametrize("groups, expected", [("aab", "different"), ("abc", "all"), ("aaa", "all")])
def test_masks_of_one_patient_do_not_say_how_alike_patients_are(eyes, groups, expected):
    masks = eyes[:2]
    masks.insert(1, np.roll(masks[0], 1, 0))
    real, tally = [Sample(str(i), mask=mask, group=groups[i]) for i, mask in enumerate(masks)], {}
    next(
        copy_filter.reject_copies(
            itertools.repeat(Sample("c", mask=FRESH[0].repeat(4, 0).repeat(4, 1))), real, 1, tally
        )
    )
    small = likeness.make_mask_thumbnails(masks)
    alike = likeness.compare(small, small)[0]
    np.fill_diagonal(alike, -1)
    assert alike.max() > 0.95 > max(alike[2].max(), alike[:, 2].max())
    limits = {"different": max(alike[2].max(), alike[:, 2].max()), "all": alike.max()}
    assert tally["most_alike"] == pytest.approx(limits[expected], abs=1e-5)


def test_tries_that_were_not_needed_are_left_for_later_masks():
    tally = {}
    kept = pass_on([*FRESH, *[COPY] * 36, dots((15, 15))], REAL, 4, tally)  # of 4 x 10 candidates the last one
    assert (kept[3].mask == dots((15, 15))).all()
    assert tally == THRESHOLDS | {"candidates": 40, "rejected": 36, "too_near": 0}
    pass_on([*FRESH, *[COPY] * 37, dots((15, 15))], REAL, 4, tally)
    assert (tally["candidates"], tally["too_near"]) == (40, 1)


def test_filter_ends_with_a_generator_that_makes_one_mask_only():
    tally = {}
    kept = pass_on([NEAR], REAL, 4, tally)
    assert len(kept) == 4 and tally["too_near"] == 4
    assert tally["candidates"] == 4 * copy_filter.MOST_TRIES == tally["rejected"] + 4


def test_filter_keeps_the_farthest_of_what_it_must_keep():
    kept = pass_on([COPY] * 7 + [NEAR] + [COPY] * 2, REAL, 1)
    assert (kept[0].mask == NEAR).all()


def test_filtered_mask_i_does_not_depend_on_how_many_are_made():
    rng = np.random.default_rng(0)
    stream = [dots(*rng.integers(0, 16, [6, 2])) for _ in range(200)]
    many, few = (pass_on(stream, stream[:2], count) for count in (20, 9))
    assert [sample.mask.tobytes() for sample in many[:9]] == [sample.mask.tobytes() for sample in few]


def test_without_two_real_masks_to_measure_by_nothing_is_rejected():
    tally = {}
    assert len(pass_on([COPY], [COPY], 3, tally)) == 3 and tally["rejected"] == 0


def test_the_tally_says_how_many_were_rejected_and_by_which_thresholds():
    tally = {}
    pass_on([COPY, FRESH[0]], REAL, 1, tally)
    said = copy_filter.describe(tally)
    assert said.startswith("1 of 2 masks rejected") and "(0.500)" in said
    assert f"({tally['most_alike']:.3f})" in said and f"({tally['halves_most_alike']:.3f})" in said
