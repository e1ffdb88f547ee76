"""The kernel distance KID and the Fréchet distance FID. numpy in, numbers out."""

import numpy as np

ENOUGH_FOR_FID = 2048  # images: with fewer the covariance of 2,048 features is singular and FID too large


def kid(real, fake):
    """Kernel distance of Bińkowski et al. 2018: unbiased squared maximum mean discrepancy, kernel (x . y / d + 1)^3.

    The estimate is that of Gretton et al. 2012 (equation 3). It is 0 on average for two samples of one distribution,
    so single values may be negative.

    Args:
      real: [n, d], n >= 2.
      fake: [m, d], m >= 2.

    Raises:
      ValueError: fewer than two images in a set.
    """
    if min(len(real), len(fake)) < 2:
        raise ValueError(f"KID needs two images or more in each set, found {len(real)} and {len(fake)}")
    return float(_average_kernel_within(real) + _average_kernel_within(fake) - 2 * _compute_kernel(real, fake).mean())


def fid(real, fake):
    """Fréchet distance of Heusel et al. 2017 (equation 6) between normal distributions fitted to the two sets.

    It is |m - n|^2 + trace(C + D - 2 (C D)^(1/2)) of means m, n and covariances C, D with count - 1 in the denominator.
    Few images make it too large (Chong & Forsyth 2020), the more so the more features there are: with fewer than
    ENOUGH_FOR_FID, compare it with that of sets as large. The trace of the root is the sum of the singular values of
    the product of both centred sets, hence of their triangular factors. So no root of a singular matrix is taken.

    Args:
      real: [n, d], n >= 2.
      fake: [m, d], m >= 2.

    Returns:
      The distance, at least 0 but for rounding.

    Raises:
      ValueError: fewer than two images in a set.
    """
    if min(len(real), len(fake)) < 2:
        raise ValueError(f"FID needs two images or more in each set, found {len(real)} and {len(fake)}")
    ours, theirs = ((features - features.mean(axis=0)) / np.sqrt(len(features) - 1) for features in (real, fake))
    r, s = (np.linalg.qr(centred, mode="r") for centred in (ours, theirs))
    roots = np.linalg.norm(r @ s.T, "nuc")
    means = ((real.mean(axis=0) - fake.mean(axis=0)) ** 2).sum()
    return float(means + (ours**2).sum() + (theirs**2).sum() - 2 * roots)


def _compute_kernel(x, y):
    return (x @ y.T / x.shape[1] + 1) ** 3


def _average_kernel_within(x):
    values = _compute_kernel(x, x)
    return (values.sum() - np.trace(values)) / (len(x) * (len(x) - 1))
