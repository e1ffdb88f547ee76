"""KID against a double sum and moments, FID against closed forms and the root of a product of covariances."""

import numpy as np
import pytest
from scipy import linalg

from synthmed_tf.metrics import kid_fid


def column(*values):
    return np.array(values, float)[:, None]


def normal(count, dimensions=4, seed=0, shift=0.0):
    return np.random.default_rng(seed).normal(shift, 1, (count, dimensions))


def test_kid_by_hand_in_one_dimension():
    # (x y + 1)^3: within {0, 1} 1, within {0, 2} 1, across 1, 1, 1, 27
    assert kid_fid.kid(column(0, 1), column(0, 2)) == pytest.approx(1 + 1 - 2 * 30 / 4)


def test_kid_agrees_with_a_double_sum():
    real, fake = normal(9), normal(7, seed=1, shift=0.4)

    def kernel(x, y):
        return (sum(a * b for a, b in zip(x, y)) / 4 + 1) ** 3

    within = [sum(kernel(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j) for x in (real, fake)]
    across = sum(kernel(x, y) for x in real for y in fake)
    assert kid_fid.kid(real, fake) == pytest.approx(within[0] / 72 + within[1] / 42 - 2 * across / 63)


def test_kid_of_shifted_gaussians():
    # (x y + 1)^3 = sum_j binom(3, j) x^j y^j: the distance is 3 dm1^2 + 3 dm2^2 + dm3^2 of the first three moments,
    # which are 0, 1, 0 for N(0, 1) and 1, 2, 4 for N(1, 1)
    real, fake = normal(4000, 1), normal(4000, 1, seed=1, shift=1.0)
    assert kid_fid.kid(real, fake) == pytest.approx(3 + 3 + 16, rel=0.1)


def test_kid_rises_with_the_distance():
    real = normal(200)
    assert (np.diff([kid_fid.kid(real, normal(200, seed=1, shift=shift)) for shift in (0, 0.7, 1.4, 2.8)]) > 0).all()
    assert kid_fid.kid(normal(20), normal(30, seed=1, shift=100.0)) > 1e9


@pytest.mark.parametrize("n, m", [(20, 20), (12, 30)])
def test_kid_of_two_samples_of_one_distribution_is_0_on_average(n, m):
    rng = np.random.default_rng(0)
    values = np.array([kid_fid.kid(rng.normal(size=(n, 5)), rng.normal(size=(m, 5))) for _ in range(1500)])
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(len(values))


def test_fid_by_hand_in_one_dimension():
    # means 1 and 4, variances 2 and 8: (4 - 1)^2 + 2 + 8 - 2 sqrt(2 * 8)
    assert kid_fid.fid(column(0, 2), column(2, 6)) == pytest.approx(9 + 10 - 8)
    assert kid_fid.fid(column(0, 2), column(2, 0)) == pytest.approx(0)


@pytest.mark.parametrize("n, m", [(40, 25), (7, 5), (7, 30)])  # d = 12: covariances of full rank, and singular ones
def test_fid_agrees_with_the_root_of_the_product_of_the_covariances(n, m):
    real = normal(n, 12) @ np.random.default_rng(3).normal(size=(12, 12))
    fake = normal(m, 12, seed=1, shift=0.4)
    product = np.cov(real.T) @ np.cov(fake.T)
    root = linalg.sqrtm(product).real if min(n, m) > 12 else None
    # The root of a singular product is not unique, its trace is: that of the roots of the eigenvalues
    trace = np.trace(root) if root is not None else np.sqrt(np.abs(linalg.eigvals(product))).sum()
    expected = ((real.mean(0) - fake.mean(0)) ** 2).sum() + np.trace(np.cov(real.T)) + np.trace(np.cov(fake.T))
    assert kid_fid.fid(real, fake) == pytest.approx(expected - 2 * trace, rel=1e-5)
    assert kid_fid.fid(fake, real) == pytest.approx(kid_fid.fid(real, fake))


def test_fid_of_two_gaussians_and_its_bias_in_few_images():
    real, fake = normal(20000, 4), normal(20000, 4, seed=1, shift=1.0) * 2
    # means 0 and 2, standard deviations 1 and 2, in four dimensions
    assert kid_fid.fid(real, fake) == pytest.approx(4 * (2**2 + (2 - 1) ** 2), rel=0.05)
    sizes = (10, 40, 160)
    of_one_distribution = [kid_fid.fid(normal(size, 20), normal(size, 20, seed=1)) for size in sizes]
    assert (np.diff(of_one_distribution) < 0).all() and of_one_distribution[-1] > 0.5


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="two images"):
        kid_fid.kid(normal(9), normal(1))
    with pytest.raises(ValueError, match="two images"):
        kid_fid.fid(normal(1), normal(9))
