import numpy as np
import pytest

from synthmed_tf.datasets.phantoms import xray
from synthmed_tf.evaluation.similarity import distorted_bodies
from synthmed_tf.metrics import lungs
from synthmed_tf.sample import Sample


@pytest.fixture(scope="module")
def films():
    return [xray.draw_xray(index) for index in range(60)]


def test_the_hull_is_described_in_shares_of_the_frame(monkeypatch):
    hull = np.zeros([40, 20], bool)
    hull[10:31, 4:15] = True
    monkeypatch.setattr(lungs, "lung_hull", lambda image: hull)
    expected = [21 * 11 / 800, 9 / 20, 20 / 40, 10 / 20, 20 / 40]
    assert lungs.describe(None) == pytest.approx(expected)
    monkeypatch.setattr(lungs, "lung_hull", lambda image: None)
    assert np.isnan(lungs.describe(None)).all()


def test_as_many_real_ones_as_said_are_usual_and_lungs_elsewhere_are_not():
    rng = np.random.default_rng(0)
    real = rng.normal(0.5, 0.05, [1000, 5])
    assert lungs.find_distorted(real, real).mean() == pytest.approx(1 - lungs.USUAL, abs=2e-3)
    others = np.stack([real.mean(0), real.mean(0) + [0, 0.3, 0, 0, 0], np.full(5, np.nan)])
    assert lungs.find_distorted(real, others).tolist() == [False, True, True]
    assert lungs.find_distorted(np.full([50, 5], np.nan), others) is None


def test_distorted_bodies_are_seen(films):
    real = [lungs.describe(image) for image in films[:40]]
    broken = [np.roll(image, image.shape[0] // 4, 0) for image in films[40:]] + [image[::-1] for image in films[40:]]
    assert lungs.find_distorted(real, [lungs.describe(image) for image in films[40:]]).mean() < 0.3
    assert lungs.find_distorted(real, [lungs.describe(image) for image in broken]).mean() > 0.8
    training, synthetic = (
        [Sample(str(i), image=image) for i, image in enumerate(some)] for some in (films[:40], broken)
    )
    found = distorted_bodies(training, synthetic, training)
    assert found["synthetic"] > 0.8 and found["held_out"] == pytest.approx(0.05)
    assert distorted_bodies(training, synthetic, [])["held_out"] is None
