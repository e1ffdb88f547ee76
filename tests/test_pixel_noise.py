"""smalldata/pixel_noise.py: its measurement on pictures of known noise, and to which sets it is given back."""

import dataclasses
import itertools

import numpy as np
import pytest

from synthmed_tf.sample import Sample
from synthmed_tf.smalldata import pixel_noise

CENTRES = (np.arange(pixel_noise.BRIGHTNESSES) + 0.5) / pixel_noise.BRIGHTNESSES


# ---------------------------------------------------------------- noise_levels


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_noise_levels_are_the_deviations_of_noise_on_a_smooth_picture_by_its_brightness(dtype):
    """A ramp whose noise grows with brightness; the mean of three channels has a third of the variance."""
    ramp, random, white = np.linspace(0.1, 0.9, 256)[:, None, None], np.random.default_rng(0), np.iinfo(dtype).max
    photographs = [
        np.rint((ramp * (1 + 0.08 * random.normal(size=[256, 256, 3]))).clip(0, 1) * white).astype(dtype)
        for _ in range(3)
    ]
    levels = pixel_noise.measure_levels(photographs)
    assert levels.shape == (pixel_noise.BRIGHTNESSES,)
    np.testing.assert_allclose(levels[1:-1], 0.08 * CENTRES[1:-1] / np.sqrt(3), rtol=0.08)


@pytest.mark.parametrize(("height", "width"), [(64, 96), (65, 97), (63, 64)])
def test_noise_is_measured_on_pictures_of_any_size(height, width):
    random = np.random.default_rng(0)
    photographs = [np.rint(255 * (0.5 + random.normal(0, 0.1, [height, width, 1]))) for _ in range(8)]
    levels = pixel_noise.measure_levels(photograph.clip(0, 255).astype(np.uint8) for photograph in photographs)
    np.testing.assert_allclose(levels[3:5], 0.1, rtol=0.06)


def test_a_brightness_that_does_not_occur_gets_the_level_of_the_nearest():
    random = np.random.default_rng(0)
    photograph = np.rint(255 * (0.3 + random.normal(0, 0.02, [128, 128, 1]))).astype(np.uint8)
    np.testing.assert_allclose(pixel_noise.measure_levels([photograph]), 0.02, rtol=0.05)


def test_an_even_picture_and_an_even_slope_have_no_noise():
    assert pixel_noise.measure_levels([np.full([64, 64, 3], 7, np.uint8)]).max() < 1e-9
    slope = np.add.outer(np.arange(128), np.arange(128)).astype(np.uint8)[..., None]
    assert pixel_noise.measure_levels([slope]).max() < 1e-9


def test_wavelet_filters_keep_the_energy_and_the_high_one_sees_neither_level_nor_slope():
    low, high = np.array(pixel_noise.LOW_PASS), np.array(pixel_noise.HIGH_PASS)
    assert low.sum() == pytest.approx(2**0.5) and (low**2).sum() == pytest.approx(1)
    assert low @ high == pytest.approx(0) and low[:2] @ low[2:] == pytest.approx(0)
    assert high.sum() == pytest.approx(0) and high @ np.arange(4) == pytest.approx(0)


@pytest.mark.parametrize("rows", [4, 16, 17])
def test_filtering_and_halving_by_hand(rows):
    values, taps = np.random.default_rng(0).normal(size=[rows, 3]), (1.0, 10.0, 100.0, 1000.0)
    mirrored = np.concatenate([values[::-1], values, values[::-1]])  # row 0 is number `rows`
    halved = pixel_noise.filter_and_halve(values, taps)
    assert halved.shape == ((rows + 3) // 2, 3)
    for index, row in enumerate(halved):
        newest = rows + 2 * index + 1
        np.testing.assert_allclose(row, sum(tap * mirrored[newest - back] for back, tap in enumerate(taps)))


# ---------------------------------------------------------------- with_noise


def test_added_noise_is_white_and_grey_and_stays_in_range():
    photograph = np.full([128, 128, 3], 128, np.uint8)
    levels = np.full(pixel_noise.BRIGHTNESSES, 0.1)
    noisy = pixel_noise.add_white_noise(photograph, levels, [1, 2])
    assert noisy.dtype == np.uint8 and (noisy == noisy[..., :1]).all()
    assert noisy.std() / 255 == pytest.approx(0.1, rel=0.03)
    neighbours = np.corrcoef(noisy[1:, :, 0].ravel(), noisy[:-1, :, 0].ravel())[0, 1]
    assert abs(neighbours) < 0.03
    assert (pixel_noise.add_white_noise(photograph, levels, [1, 2]) == noisy).all()
    assert (pixel_noise.add_white_noise(photograph, levels, [1, 3]) != noisy).any()
    bright = pixel_noise.add_white_noise(np.full([64, 64, 1], 65535, np.uint16), levels, [1, 2])
    assert bright.dtype == np.uint16 and bright.max() == 65535 and bright.min() > 30000  # clipped, not wrapped round


def test_added_noise_is_that_of_the_brightness_around():
    photograph = np.repeat(np.uint8([60, 250]), 64)[:, None, None] * np.ones([1, 128, 1], np.uint8)
    levels = np.linspace(0.1, 0.0, pixel_noise.BRIGHTNESSES)
    noise = pixel_noise.add_white_noise(photograph, levels, [1, 2]) / 255 - photograph / 255
    assert noise[:60].std() == pytest.approx(np.interp(60 / 255, CENTRES, levels), rel=0.03) and not noise[68:].any()


# ---------------------------------------------------------------- add_noise


def draw_grey(level, count, dtype=np.uint8):
    """Photographs of an even grey with noise of `level`, white being 1."""
    white = np.iinfo(dtype).max
    for index in range(count):
        noise = np.random.default_rng([1, index]).normal(0.5, level, [64, 64, 1])
        yield Sample(f"{index}", np.clip(np.rint(noise * white), 0, white).astype(dtype))


def add_noise(drawn, real, seed=3):
    return pixel_noise.add_noise({"a": iter(drawn)}, {"a": real}, seed)["a"]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_photographs_get_the_noise_that_they_lack(dtype):
    real = list(draw_grey(0.05, 100, dtype))
    noisy = list(add_noise(draw_grey(0.03, 80, dtype), real))
    assert [sample.id for sample in noisy] == [str(index) for index in range(80)] and noisy[0].image.dtype == dtype
    deviations = [sample.image.std() / np.iinfo(dtype).max for sample in noisy]
    np.testing.assert_allclose(deviations, 0.05, rtol=0.1)
    np.testing.assert_allclose(np.mean(deviations), 0.05, rtol=0.02)
    again = list(itertools.islice(add_noise(draw_grey(0.03, 80, dtype), real), 70))
    assert len(again) == 70 and all((one.image == two.image).all() for one, two in zip(again, noisy))
    assert (next(add_noise(draw_grey(0.03, 80, dtype), real, seed=4)).image != noisy[0].image).any()


@pytest.mark.parametrize("count", [1, 10])
def test_photographs_with_as_much_noise_as_real_ones_stay_as_they_are(count):
    drawn = list(draw_grey(0.05, 90))
    assert list(add_noise(drawn, list(draw_grey(0.03, count)))) == drawn


def test_fine_detail_that_is_no_noise_is_not_replaced_by_noise():
    def draw_checks(contrast, count):
        checks = contrast * (np.add.outer(np.arange(64), np.arange(64)) % 2)[..., None]
        for sample in draw_grey(0.01, count):
            yield dataclasses.replace(sample, image=(sample.image + checks).astype(np.uint8))

    real, drawn = list(draw_checks(60, 20)), list(draw_checks(40, 70))
    wanted, present = (pixel_noise.measure_levels(sample.image for sample in samples)[2:6] for samples in (real, drawn))
    assert (wanted > 1.2 * present).all()
    assert list(add_noise(drawn, real)) == drawn


def test_each_class_gets_the_noise_of_its_own():
    levels = {"a": 0.02, "b": 0.06, "c": 0.1}
    real = {name: list(draw_grey(level, 8)) for name, level in levels.items()}
    streams = {name: draw_grey(0.0, 6) for name in levels}
    noisy = {name: list(stream) for name, stream in pixel_noise.add_noise(streams, real, 3).items()}
    for name, samples in noisy.items():
        for sample in samples:
            assert sample.image.std() / 255 == pytest.approx(levels[name], rel=0.08)
    shapes = [(sample.image / 255 - 0.5).ravel() for name in levels for sample in noisy[name][:2]]
    assert np.abs(np.corrcoef(shapes) - np.eye(6)).max() < 0.1  # no two have the same noise
