"""training/pairs.py: real photographs and masks as batches of numbers."""

import numpy as np
import pytest

from synthmed_tf.sample import Sample
from synthmed_tf.training.pairs import SHOWN, Pairs

SEED = 4


def draw_samples(count=5, dtype=np.uint8, channels=3):
    random = np.random.default_rng(0)
    white, inside = np.iinfo(dtype).max, np.ones([16, 32, 1], np.uint8)
    return [
        Sample(
            str(index),
            random.integers(0, white + 1, [16, 32, channels], dtype=dtype),
            random.integers(0, 2, [16, 32, 1], dtype=np.uint8),
            inside,
        )
        for index in range(count)
    ]


@pytest.mark.parametrize(("dtype", "channels", "half"), [(np.uint8, 3, 127.5), (np.uint16, 1, 32767.5)])
def test_pairs_are_photographs_and_masks_as_they_are(dtype, channels, half):
    samples = draw_samples(dtype=dtype, channels=channels)
    pairs = Pairs(samples, 2, SEED)
    assert pairs.image_size == (16, 32) and pairs.channels == channels and pairs.dtype == dtype.__name__
    assert pairs.photographs.dtype == pairs.masks.dtype == np.float32
    np.testing.assert_allclose(pairs.photographs, [sample.image / half - 1 for sample in samples], atol=1e-6)
    assert (pairs.masks == [np.where(sample.mask, 1, -1) for sample in samples]).all()


def test_batches_are_functions_of_seed_and_step_and_each_epoch_holds_each_pair_once():
    samples = draw_samples()
    pairs, same, other = Pairs(samples, 2, SEED), Pairs(samples, 2, SEED), Pairs(samples, 2, SEED + 1)
    for step in range(5):
        (stack,), chosen = pairs.batch(step), pairs.chosen(step)
        assert stack.shape == (2, 16, 32, 4) and stack.dtype == np.float32 and (stack == same.batch(step)[0]).all()
        assert (stack[..., :3] == pairs.photographs[chosen]).all() and (stack[..., 3:] == pairs.masks[chosen]).all()
    order = np.concatenate([pairs.chosen(step) for step in range(5)])
    assert sorted(order[:5]) == sorted(order[5:]) == list(range(5))
    assert (order != np.concatenate([other.chosen(step) for step in range(5)])).any()
    assert (pairs.chosen(1, 4) == order[4:8]).all() and len(pairs.chosen(0, 3)) == 3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_picture_of_samples_has_masks_what_is_painted_and_real_photographs(dtype):
    samples, painted = draw_samples(3, dtype), []

    def paint(mask, index):
        painted.append((mask, index))
        return np.full([16, 32, 3], 10 * index * (257 if dtype == np.uint16 else 1), dtype)

    picture = Pairs(samples, 1, SEED).draw_grid(paint)

    assert picture.shape == (3 * 18 - 2, SHOWN * 34 - 2, 3) and picture.dtype == np.uint8
    assert [index for _, index in painted] == list(range(SHOWN))
    for column, place in enumerate((0, 0, 0, 0, 1, 1, 1, 2)):  # at even steps from the first pair to the last
        assert (painted[column][0] == (samples[place].mask > 0)).all()
        cell = picture[:, 34 * column : 34 * column + 32]
        mask, photograph, original = (cell[18 * row : 18 * row + 16] for row in range(3))
        assert (mask == 255 * samples[place].mask).all() and (photograph == 10 * column).all()
        assert np.abs(original - samples[place].image / (257 if dtype == np.uint16 else 1)).max() <= 0.51
