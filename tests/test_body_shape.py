import numpy as np
import pytest

from synthmed_tf.datasets.phantoms import xray
from synthmed_tf.evaluation.similarity import count_distorted_bodies
from synthmed_tf.images.lungs import find_lung_hull
from synthmed_tf.metrics import body_shape
from synthmed_tf.sample import Sample


@pytest.fixture(scope="module")
def xrays():
    return [xray.draw_xray(index) for index in range(60)]


def test_the_hull_is_described_in_shares_of_the_frame():
    hull = np.zeros([40, 20], bool)
    hull[10:31, 4:15] = True
    expected = [21 * 11 / 800, 9 / 20, 20 / 40, 10 / 20, 20 / 40]
    assert body_shape.describe(hull) == pytest.approx(expected)
    assert np.isnan(body_shape.describe(None)).all()


def test_as_many_real_ones_as_said_are_usual_and_lungs_elsewhere_are_not():
    rng = np.random.default_rng(0)
    real = rng.normal(0.5, 0.05, [1000, 5])
    assert body_shape.find_distorted(real, real).mean() == pytest.approx(1 - body_shape.USUAL, abs=2e-3)
    others = np.stack([real.mean(0), real.mean(0) + [0, 0.3, 0, 0, 0], np.full(5, np.nan)])
    assert body_shape.find_distorted(real, others).tolist() == [False, True, True]
    assert body_shape.find_distorted(np.full([50, 5], np.nan), others) is None


def test_distorted_bodies_are_seen(xrays):
    def describe(images):
        return [body_shape.describe(find_lung_hull(image)) for image in images]

    real, honest = describe(xrays[:40]), xrays[40:]
    broken = [np.roll(image, image.shape[0] // 4, 0) for image in honest] + [image[::-1] for image in honest]
    assert body_shape.find_distorted(real, describe(honest)).mean() < 0.3
    assert body_shape.find_distorted(real, describe(broken)).mean() > 0.8
    training, synthetic = (
        [Sample(str(i), image=image) for i, image in enumerate(images)] for images in (xrays[:40], broken)
    )
    shares = count_distorted_bodies(training, synthetic, training)
    assert shares["synthetic"] > 0.8 and shares["held_out"] == pytest.approx(0.05)
    assert count_distorted_bodies(training, synthetic, [])["held_out"] is None
