import numpy as np
import pytest
import scipy.stats
from PIL import Image

from synthmed_tf.metrics import kl


def test_histograms_count_every_channel_inside_the_field_of_view():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (9, 7, 3), np.uint8) for _ in range(3)]
    views = [(rng.random((9, 7, 1)) < 0.5).astype(np.uint8), None, np.ones((9, 7, 1), np.uint8)]
    found = kl.count_intensities(images, views)
    assert list(found) == ["grey", "red", "green", "blue"]
    kept = np.concatenate([images[0][views[0][:, :, 0] == 1], images[1].reshape(-1, 3), images[2].reshape(-1, 3)])
    for index, channel in enumerate(("red", "green", "blue")):
        assert np.array_equal(found[channel], np.histogram(kept[:, index], np.arange(257))[0])
    assert found["grey"].sum() == len(kept)


def test_grey_is_pillows_grey():
    image = np.random.default_rng(1).integers(0, 256, (40, 40, 3), np.uint8)
    ours = np.repeat(np.arange(256), kl.count_intensities([image])["grey"])
    theirs = np.sort(np.asarray(Image.fromarray(image).convert("L")).ravel().astype(int))
    assert np.abs(ours - theirs).max() <= 1  # Pillow rounds in fixed point


def test_sixteen_bits_are_binned_by_their_upper_byte():
    image = np.uint16([[0, 255, 256, 65535]])[:, :, None]
    found = kl.count_intensities([image])
    assert list(found) == ["grey"] and found["grey"][[0, 1, 255]].tolist() == [2, 1, 1]


def test_kl_agrees_with_scipy_and_by_hand():
    rng = np.random.default_rng(2)
    p, q = rng.integers(0, 50, (2, 256))
    smooth_p, smooth_q = (h / h.sum() + 1e-4 for h in (p, q))
    assert kl.kl_divergence(p, q, 1e-4) == pytest.approx(scipy.stats.entropy(smooth_p, smooth_q), rel=1e-12)
    assert kl.kl_divergence([1, 1], [1, 3], 1e-15) == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(2 / 3))
    assert kl.kl_divergence(p, 7 * p, 1e-4) == pytest.approx(0, abs=1e-12)
    assert kl.kl_divergence([1, 0, 1], [1, 2, 1], 0) == pytest.approx(np.log(2))
    assert kl.kl_divergence([1, 2, 1], [1, 0, 1], 0) == np.inf


def test_kl_of_disjoint_histograms_is_finite_and_known():
    p, q = np.eye(2)[:, :, None].repeat(128, axis=2).reshape(2, 256)  # 128 bins each, none in common
    expected = np.log((1 / 128 + 1e-6) / 1e-6) * (1 - 2 * 128e-6 / (1 + 256e-6))
    assert kl.kl_divergence(p, q) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "p, q, smoothing",
    [([1, 2], [1, 2, 3], 1e-6), ([0, 0], [1, 1], 1e-6), ([1, -1], [1, 1], 1e-6), ([1, 1], [1, 1], -1e-6)],
)
def test_kl_refuses_what_is_no_histogram(p, q, smoothing):
    with pytest.raises(ValueError):
        kl.kl_divergence(p, q, smoothing)


def test_real_vs_real_is_a_seeded_floor_below_another_set(monkeypatch):
    monkeypatch.setattr(kl, "REPEATS", 6)
    rng = np.random.default_rng(3)
    images = [np.clip(rng.normal(100, 20, (32, 32, 3)), 0, 255).astype(np.uint8) for _ in range(11)]
    brighter = [np.clip(image + 60.0, 0, 255).astype(np.uint8) for image in images]
    floor = kl.compare_halves(images, seed=4)
    assert floor == kl.compare_halves(images, seed=4) != kl.compare_halves(images, seed=5)
    real, other = kl.count_intensities(images), kl.count_intensities(brighter)
    for channel, values in floor.items():
        assert len(values["runs"]) == 6
        assert values["mean"] == pytest.approx(np.mean(values["runs"]))
        assert values["sd"] == pytest.approx(np.std(values["runs"], ddof=1))
        assert 0 < values["mean"] < 0.1 * kl.kl_divergence(real[channel], other[channel])


def test_as_many_images_of_the_same_kind_are_as_far_as_the_other_half(monkeypatch):
    """Images are of many brightnesses: ten of them differ from ten by chance, which a hundred do not."""
    monkeypatch.setattr(kl, "REPEATS", 40)
    rng = np.random.default_rng(0)

    def eyes(count):
        return [
            np.full((8, 8, 1), level, np.uint8) + rng.integers(0, 20, (8, 8, 1), dtype=np.uint8)
            for level in rng.integers(60, 120, count)
        ]

    real, others = eyes(20), eyes(400)
    floor, matched = (kl.compare_halves(real, others=o)["grey"]["mean"] for o in (None, others))
    everything = kl.kl_divergence(*(kl.count_intensities(each)["grey"] for each in (real, others)))
    assert matched == pytest.approx(floor, rel=0.25) and everything < 0.6 * floor
    few, alike = (kl.compare_halves(real, others=o, size=3)["grey"] for o in (others[:3], None))
    assert alike["mean"] == pytest.approx(few["mean"], rel=0.25) and alike["mean"] > 1.5 * floor
    colour = [np.repeat(each, 3, -1) for each in others]
    assert kl.compare_halves(real, others=colour).keys() == {"grey"}


def test_real_vs_real_of_one_image_is_undefined():
    floor = kl.compare_halves([np.zeros((4, 4, 1), np.uint8)])
    assert floor == {"grey": {"mean": None, "sd": None, "runs": []}}


@pytest.mark.parametrize(
    "images",
    [[], [np.zeros((4, 4, 3))], [np.zeros((4, 4, 2), np.uint8)], [np.zeros((4, 4, c), np.uint8) for c in (1, 3)]],
)
def test_images_that_do_not_fit_are_refused(images):
    with pytest.raises(ValueError):
        kl.count_intensities(images)
