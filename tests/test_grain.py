"""smalldata/grain.py: spectra and fields against closed forms."""

import numpy as np
import pytest
from scipy import ndimage

from synthmed_tf.sample import Sample
from synthmed_tf.smalldata import grain

RNG = np.random.default_rng(0)
EVERYWHERE, NOWHERE = np.ones([64, 64, 1]), np.zeros([64, 64, 1])


def spectrum_of(fields):
    return grain.measure_spectrum(fields, [NOWHERE] * len(fields), [EVERYWHERE] * len(fields))[0]


def draws(response, count, spread=0.0):
    return np.stack([grain.draw(response, spread, [3, index]) for index in range(count)])


def frequencies():
    return np.hypot(*np.meshgrid(np.fft.fftfreq(grain.PATCH), np.fft.fftfreq(grain.PATCH)))


def test_white_noise_has_the_spectrum_of_its_covariance():
    mixing = np.array([[2.0, 0, 0], [1, 1, 0], [0.5, 0, 0.3]])
    power = spectrum_of(RNG.normal(size=[40, 64, 64, 3]) @ mixing.T)
    high = power[frequencies() > 0.15]
    np.testing.assert_allclose(high.mean(0), mixing @ mixing.T, atol=0.15)
    assert np.abs(high.std(0)).max() < 0.5  # flat
    assert power[0, 0, 0, 0].real < 0.1 * high[:, 0, 0].mean().real
    np.testing.assert_allclose(power, np.conj(np.swapaxes(power, -1, -2)), atol=1e-9)


def test_a_drawn_field_has_the_spectrum_it_was_made_from():
    fields = ndimage.gaussian_filter(RNG.normal(size=[40, 64, 64, 2]), (0, 1.2, 0.6, 0)) @ np.array(
        [[0.2, 0.1], [0, 0.1]]
    )
    power = spectrum_of(fields)
    response = grain.compute_response(grain.make_filter(power), 64, 64)
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
    return grain.compute_response(
        grain.make_filter(np.tile(np.eye(1), [grain.PATCH, grain.PATCH, 1, 1])), height, width
    )


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
    power, spread = grain.measure_spectrum(fields, [NOWHERE] * 60, [EVERYWHERE] * 60)
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
    kernel = grain.make_filter(power - np.eye(2) * 2)
    response = grain.compute_response(kernel, 64, 64)
    np.testing.assert_allclose(np.abs(response[0, 0]), np.sqrt(2), atol=1e-5)
    np.testing.assert_allclose(np.abs(response[1]), 0, atol=1e-5)


def test_marked_structures_and_what_lies_outside_are_no_grain():
    photograph, mask, inside = RNG.normal(0, 0.1, [64, 64, 1]), np.zeros([64, 64, 1]), np.ones([64, 64, 1])
    before, _ = grain.measure_spectrum([photograph], [mask], [inside])
    mask[30:33, :] = 1
    marked = photograph - 5.0 * mask
    power, _ = grain.measure_spectrum([marked], [mask], [inside])
    assert power.real.mean() == pytest.approx(before.real.mean(), rel=0.15)
    assert grain.measure_spectrum([marked], [0 * mask], [inside])[0].real.mean() > 10 * before.real.mean()
    inside[:, :16] = 0
    outside = photograph - 5.0 * (1 - inside)
    assert grain.measure_spectrum([outside], [0 * mask], [inside])[0].real.mean() == pytest.approx(
        before.real.mean(), rel=0.15
    )


def test_without_background_there_is_no_grain():
    power, spread = grain.measure_spectrum([RNG.normal(size=[64, 64, 3])], [EVERYWHERE], [EVERYWHERE])
    assert power.shape == (grain.PATCH, grain.PATCH, 3, 3) and not power.any() and spread == 0
    response = grain.compute_response(grain.make_filter(power), 64, 64)
    assert not draws(response, 1).any()


def deviation_of(response):
    """Standard deviation of the grain that a response gives to each of three channels, by Parseval's theorem."""
    return np.sqrt((np.abs(response) ** 2).sum((0, 1)).mean() / 3)


def noisy_discs(deviation, dtype=np.uint8):
    """Photographs [64, 64, 3] of a grey disc with noise of that deviation, white being black + 2; black beyond it."""
    white, (rows, columns) = np.iinfo(dtype).max, np.mgrid[:64, :64] - 31.5
    disc = (np.hypot(rows, columns) < 30).astype(np.uint8)[..., None]
    noise = np.random.default_rng(1).normal(1, deviation, [12, 64, 64, 3])
    return [np.clip(np.rint(values / 2 * white), 0, white).astype(dtype) * disc for values in noise], disc


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_missing_grain_is_what_photographs_have_and_painted_ones_lack(dtype):
    photographs, disc = noisy_discs(0.12, dtype)
    masks = [np.zeros([64, 64, 1], np.uint8) for _ in photographs]
    for shift, mask in enumerate(masks):
        mask[30 + shift : 33 + shift] = 1
    real = [Sample("a", *parts, disc) for parts in zip(photographs, masks, strict=True)]
    missing = {
        share: deviation_of(grain.find_missing(real, noisy_discs(0.12 * share, dtype)[0])[0])
        for share in (0, 0.5**0.5, 1)
    }
    assert missing[0] == pytest.approx(0.12, rel=0.1)
    assert missing[0.5**0.5] == pytest.approx(0.12 * 0.5**0.5, rel=0.15)  # variances add
    assert missing[1] < 0.001
    response, spread = grain.find_missing(real, photographs)
    assert response.shape == (3, 3, 64, 64) and spread < 0.1
    without_view = [Sample("a", *parts) for parts in zip(photographs, masks, strict=True)]
    flat = [np.full_like(photograph, 9) for photograph in photographs]
    assert deviation_of(grain.find_missing(without_view, flat)[0]) > missing[0]  # the edge of the disc counts
