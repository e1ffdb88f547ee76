"""Grain: spectra and fields against closed forms."""

import numpy as np
import pytest
from scipy import ndimage

from synthmed_tf import grain

RNG = np.random.default_rng(0)
EVERYWHERE, NOWHERE = np.ones([64, 64, 1]), np.zeros([64, 64, 1])


def spectrum_of(fields):
    return grain.spectrum(fields, [NOWHERE] * len(fields), [EVERYWHERE] * len(fields))[0]


def draws(response, count, spread=0.0):
    return np.stack([grain.draw(response, spread, [3, index]) for index in range(count)])


def frequencies():
    return np.hypot(*np.meshgrid(np.fft.fftfreq(grain.PATCH), np.fft.fftfreq(grain.PATCH)))


def test_white_noise_has_the_spectrum_of_its_covariance():
    mixing = np.array([[2.0, 0, 0], [1, 1, 0], [0.5, 0, 0.3]])
    found = spectrum_of(RNG.normal(size=[40, 64, 64, 3]) @ mixing.T)
    high = found[frequencies() > 0.15]
    np.testing.assert_allclose(high.mean(0), mixing @ mixing.T, atol=0.15)
    assert np.abs(high.std(0)).max() < 0.5  # flat
    assert found[0, 0, 0, 0].real < 0.1 * high[:, 0, 0].mean().real
    np.testing.assert_allclose(found, np.conj(np.swapaxes(found, -1, -2)), atol=1e-9)


def test_a_drawn_field_has_the_spectrum_it_was_made_from():
    fields = ndimage.gaussian_filter(RNG.normal(size=[40, 64, 64, 2]), (0, 1.2, 0.6, 0)) @ np.array(
        [[0.2, 0.1], [0, 0.1]]
    )
    power = spectrum_of(fields)
    response = grain.response(grain.filter_of(power), 64, 64)
    drawn = draws(response, 40)
    assert drawn.shape == (40, 64, 64, 2) and drawn.dtype == np.float32
    again = spectrum_of(drawn)
    middle = (frequencies() > 0.1) & (frequencies() < 0.3)
    np.testing.assert_allclose(again[middle].mean(0), power[middle].mean(0), rtol=0.1)
    local = fields - ndimage.gaussian_filter(fields, (0, grain.LOCAL, grain.LOCAL, 0))  # the local mean is no grain
    np.testing.assert_allclose(drawn.var((0, 1, 2)), local.var((0, 1, 2)), rtol=0.05)
    assert np.corrcoef(drawn[..., 0].ravel(), drawn[..., 1].ravel())[0, 1] == pytest.approx(
        np.corrcoef(fields[..., 0].ravel(), fields[..., 1].ravel())[0, 1], abs=0.05
    )
    # Smoother from row to row
    assert drawn[:, :-1].ravel() @ drawn[:, 1:].ravel() > drawn[:, :, :-1].ravel() @ drawn[:, :, 1:].ravel()


def flat(height, width):
    return grain.response(grain.filter_of(np.tile(np.eye(1), [grain.PATCH, grain.PATCH, 1, 1])), height, width)


def test_a_field_is_a_function_of_its_key():
    response = flat(64, 96)
    first, same, other = (grain.draw(response, 0.3, key).numpy() for key in ([1, 2], [1, 2], [1, 3]))
    assert first.shape == (64, 96, 1) and (first == same).all()
    assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.05
    white = draws(response, 1)[0]
    assert (
        white.std() == pytest.approx(1, abs=0.03)
        and abs(np.corrcoef(white[1:].ravel(), white[:-1].ravel())[0, 1]) < 0.05
    )


def test_amplitudes_vary_as_the_photographs_do():
    fields = RNG.normal(size=[60, 64, 64, 1]) * np.exp(RNG.normal(0, 0.3, [60, 1, 1, 1]))
    power, spread = grain.spectrum(fields, [NOWHERE] * 60, [EVERYWHERE] * 60)
    assert spread == pytest.approx(0.3, rel=0.25)
    assert power[frequencies() > 0.15].real.mean() == pytest.approx(
        np.exp(2 * np.log(fields.std((1, 2, 3))).mean()), rel=0.1
    )
    levels = np.log(draws(flat(64, 64), 200, 0.3).std((1, 2, 3)))
    assert levels.std() == pytest.approx(0.29, rel=0.2) and np.abs(levels).max() < 0.65 and abs(levels.mean()) < 0.06
    assert np.log(draws(flat(64, 64), 20).std((1, 2, 3))).std() < 0.03


def test_black_and_saturated_ground_does_not_count():
    fields = RNG.normal(0, 0.1, [10, 64, 64, 1])
    half_black = fields.copy()
    half_black[:, :, :32] = RNG.normal(-1, 1e-6, [10, 64, 32, 1])
    assert spectrum_of(half_black).real.mean() == pytest.approx(spectrum_of(fields).real.mean(), rel=0.3)


def test_a_bright_lesion_hardly_counts():
    clean = RNG.normal(size=[10, 64, 64, 1])
    spotted = clean.copy()
    spotted[0, 28:36, 28:36] += 100
    # 17 times by the plain mean
    assert spectrum_of(spotted).real.mean() == pytest.approx(spectrum_of(clean).real.mean(), rel=0.5)


def test_what_another_spectrum_has_more_is_left_out():
    power = np.tile(np.diag([4.0, 1.0]).astype(complex), [grain.PATCH, grain.PATCH, 1, 1])
    kernel = grain.filter_of(power - np.eye(2) * 2)
    response = grain.response(kernel, 64, 64)
    np.testing.assert_allclose(np.abs(response[0, 0]), np.sqrt(2), atol=1e-5)
    np.testing.assert_allclose(np.abs(response[1]), 0, atol=1e-5)


def test_marked_structures_and_what_lies_outside_are_no_grain():
    photograph, mask, inside = RNG.normal(0, 0.1, [64, 64, 1]), np.zeros([64, 64, 1]), np.ones([64, 64, 1])
    before, _ = grain.spectrum([photograph], [mask], [inside])
    mask[30:33, :] = 1
    marked = photograph - 5.0 * mask
    found, _ = grain.spectrum([marked], [mask], [inside])
    assert found.real.mean() == pytest.approx(before.real.mean(), rel=0.15)
    assert grain.spectrum([marked], [0 * mask], [inside])[0].real.mean() > 10 * before.real.mean()
    inside[:, :16] = 0
    outside = photograph - 5.0 * (1 - inside)
    assert grain.spectrum([outside], [0 * mask], [inside])[0].real.mean() == pytest.approx(before.real.mean(), rel=0.15)


def test_without_background_there_is_no_grain():
    found, spread = grain.spectrum([RNG.normal(size=[64, 64, 3])], [EVERYWHERE], [EVERYWHERE])
    assert found.shape == (grain.PATCH, grain.PATCH, 3, 3) and not found.any() and spread == 0
    response = grain.response(grain.filter_of(found), 64, 64)
    assert not draws(response, 1).any()


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535)])
def test_noise_levels_are_the_deviations_of_noise_on_a_smooth_picture_by_its_brightness(dtype, white):
    """A ramp whose noise grows with brightness; the mean of three channels has a third of the variance."""
    ramp = np.linspace(0.1, 0.9, 256)[:, None, None]
    photographs = [
        np.rint((ramp * (1 + 0.08 * RNG.normal(size=[256, 256, 3]))).clip(0, 1) * white).astype(dtype) for _ in range(3)
    ]
    centres = (np.arange(grain.BRIGHTNESSES) + 0.5) / grain.BRIGHTNESSES
    np.testing.assert_allclose(grain.noise_levels(photographs)[1:-1], 0.08 * centres[1:-1] / np.sqrt(3), rtol=0.08)


def test_of_a_brightness_that_does_not_occur_the_nearest_is_known():
    photograph = np.rint(255 * (0.3 + RNG.normal(0, 0.02, [128, 128, 1]))).astype(np.uint8)
    np.testing.assert_allclose(grain.noise_levels([photograph]), 0.02, rtol=0.05)
    assert grain.noise_levels([np.full([64, 64, 3], 7, np.uint8)]).max() < 1e-9


def test_added_noise_is_white_and_grey_and_stays_in_range():
    photograph = np.full([128, 128, 3], 128, np.uint8)
    levels = np.full(grain.BRIGHTNESSES, 0.1)
    noisy = grain.with_noise(photograph, levels, [1, 2])
    assert noisy.dtype == np.uint8 and (noisy == noisy[..., :1]).all()
    assert noisy.std() / 255 == pytest.approx(0.1, rel=0.03)
    neighbours = np.corrcoef(noisy[1:, :, 0].ravel(), noisy[:-1, :, 0].ravel())[0, 1]
    assert abs(neighbours) < 0.03
    assert (grain.with_noise(photograph, levels, [1, 2]) == noisy).all() and (
        grain.with_noise(photograph, levels, [1, 3]) != noisy
    ).any()
    bright = grain.with_noise(np.full([64, 64, 1], 65535, np.uint16), levels, [1, 2])
    assert bright.max() == 65535 and bright.min() > 30000  # clipped, not wrapped round


def test_added_noise_is_that_of_the_brightness_around():
    photograph = np.repeat(np.uint8([60, 250]), 64)[:, None, None] * np.ones([1, 128, 1], np.uint8)
    noise = grain.with_noise(photograph, np.linspace(0.1, 0.0, grain.BRIGHTNESSES), [1, 2]) / 255 - photograph / 255
    assert noise[:60].std() == pytest.approx(0.1 * (1 - (60 / 255 * 8 - 0.5) / 7), rel=0.03) and not noise[68:].any()


def test_wavelet_filters_keep_the_energy_and_the_high_one_sees_neither_level_nor_slope():
    low, high = np.array(grain.LOW_PASS), np.array(grain.HIGH_PASS)
    assert low.sum() == pytest.approx(2**0.5) and (low**2).sum() == pytest.approx(1)
    assert low @ high == pytest.approx(0) and low[:2] @ low[2:] == pytest.approx(0)
    assert high.sum() == pytest.approx(0) and high @ np.arange(4) == pytest.approx(0)


@pytest.mark.parametrize("rows", [4, 16, 17])
def test_filtering_and_halving_by_hand(rows):
    values, taps = np.random.default_rng(0).normal(size=[rows, 3]), (1.0, 10.0, 100.0, 1000.0)
    mirrored = np.concatenate([values[::-1], values, values[::-1]])  # row 0 is number `rows`
    found = grain.filter_and_halve(values, taps)
    assert found.shape == ((rows + 3) // 2, 3)
    for index, row in enumerate(found):
        newest = rows + 2 * index + 1
        np.testing.assert_allclose(row, sum(tap * mirrored[newest - back] for back, tap in enumerate(taps)))
