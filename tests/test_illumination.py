"""smalldata/illumination.py: surfaces by least squares, and the distribution that illuminations are drawn from."""

import numpy as np
from scipy import stats

from synthmed_tf.datasets.phantoms import fundus, vessels
from synthmed_tf.datasets.prepare import crop_sample
from synthmed_tf.smalldata import illumination


def test_an_illumination_is_the_quadratic_surface_inside_the_field_of_view_and_the_deviation_from_it():
    random = np.random.default_rng(0)
    photographs = random.normal(size=[2, 8, 6, 3]).astype(np.float32)
    inside = (random.random([2, 8, 6, 1]) < 0.6).astype(np.float32)
    described, plain = (illumination.describe(photographs, inside, has_view).numpy() for has_view in (True, False))
    y, x = (grid.ravel() for grid in np.meshgrid(np.linspace(-1, 1, 8), np.linspace(-1, 1, 6), indexing="ij"))
    surfaces = np.stack([np.ones(48), y, x, y * y, y * x, x * x], -1)
    for index in range(2):
        is_seen = inside[index].ravel() > 0
        colours = photographs[index].reshape(48, 3)[is_seen]
        coefficients = np.linalg.lstsq(surfaces[is_seen], colours, rcond=None)[0]
        rest = colours - surfaces[is_seen] @ coefficients
        np.testing.assert_allclose(described[index, :18], coefficients.ravel(), atol=0.01)
        np.testing.assert_allclose(described[index, 18:], np.sqrt((rest**2).mean(0)), atol=1e-3)
        np.testing.assert_allclose(plain[index], [*colours.mean(0), *colours.std(0)], atol=1e-4)
    for has_view in (True, False):
        assert (illumination.describe(photographs, 0 * inside, has_view).numpy() == 0).all()


def test_planes_of_a_quadratic_photograph_are_the_photograph_and_of_the_mirrored_its_mirror_image():
    y, x = np.meshgrid(np.linspace(-1, 1, 8), np.linspace(-1, 1, 6), indexing="ij")
    photograph = np.stack([0.3 - 0.2 * x + 0.1 * x * y, 0.1 * y + 0.2 * y * y - x * x], -1)[None].astype(np.float32)
    mask = np.ones([1, 8, 6, 1], np.float32)
    lit = illumination.describe(photograph, mask, True).numpy()
    planes, mirrored = (illumination.make_planes(mask, row, True).numpy() for row in (lit, illumination.mirror(lit)))
    np.testing.assert_allclose(planes, np.concatenate([mask, photograph, 0 * photograph], -1), atol=1e-3)
    np.testing.assert_allclose(mirrored[..., 1:3], photograph[:, :, ::-1], atol=1e-3)


def test_planes_without_a_field_of_view_are_mean_and_deviation():
    planes = illumination.make_planes(np.zeros([1, 4, 5, 1], np.float32), np.float32([[0.1, 0.2, 0.3, 0.4]]), False)
    np.testing.assert_allclose(planes, np.broadcast_to([0, 0.1, 0.2, 0.3, 0.4], [1, 4, 5, 5]), atol=1e-6)


def test_fitted_illuminations_are_those_of_eyes_turned_one_way_with_less_spread():
    eyes = [crop_sample(fundus.draw_fundus(index), (64, 64)) for index in range(5)]
    photographs = np.stack([eye.image / np.float32(127.5) - 1 for eye in eyes])
    masks = np.stack([eye.mask for eye in eyes])
    inside = np.stack([eye.field_of_view for eye in eyes]).astype(np.float32)
    is_right = np.array([vessels.draw_anatomy(index).disc[0] > vessels.CENTRE[0] for index in range(5)])
    assert is_right.any() and not is_right.all()
    left, left_masks, left_inside = (
        np.where(is_right[:, None, None, None], part[:, :, ::-1], part) for part in (photographs, masks, inside)
    )
    described = illumination.describe(left, left_inside, True).numpy()

    mean, factor = illumination.fit(photographs, masks, inside, True)

    np.testing.assert_allclose(mean, described.mean(0), atol=1e-5)
    np.testing.assert_allclose(factor @ factor.T, 0.64 * np.cov(described.T), atol=1e-5)
    mirrored = illumination.fit(photographs[:, :, ::-1], masks[:, :, ::-1], inside[:, :, ::-1], True)
    for same, expected in zip(mirrored, (mean, factor), strict=True):
        np.testing.assert_allclose(same, expected, atol=1e-4)
    plain = illumination.describe(photographs, inside, False).numpy()  # as of a set without fields of view
    plain_mean, plain_factor = illumination.fit(photographs, masks, inside, False)
    np.testing.assert_allclose(plain_mean, plain.mean(0), atol=1e-5)
    np.testing.assert_allclose(plain_factor @ plain_factor.T, np.cov(plain.T), atol=1e-5)
    alone, still = illumination.fit(left[:1], left_masks[:1], left_inside[:1], True)
    np.testing.assert_allclose(alone, described[0], atol=1e-5)
    assert abs(still).max() < 0.001


def test_drawn_illuminations_have_the_mean_and_covariance_that_they_are_drawn_from():
    mean, factor = np.array([0.3, -0.2]), np.array([[0.2, 0.0], [-0.1, 0.05]])
    drawn = np.stack([illumination.draw(mean, factor, 3, index)[0] for index in range(512)])
    np.testing.assert_allclose(drawn.mean(0), mean, atol=0.002)
    kept = stats.norm.expect(lambda value: np.clip(value, -2, 2) ** 2)  # of the variance, by the clipping
    np.testing.assert_allclose(np.cov(drawn.T), kept * factor @ factor.T, atol=0.001)
    normal = np.linalg.solve(factor, (drawn - mean).T)
    assert np.abs(normal).max() <= 2.001 and len(np.unique(drawn[:, 0])) > 450
    below = np.stack([illumination.draw(mean, factor, 3, index)[0] for index in range(-512, 0)])
    assert not np.isclose(drawn, below[::-1]).all(1).any()  # the first below 0 is -1


def test_an_illumination_is_a_function_of_seed_and_index():
    mean, factor = np.zeros(21), np.eye(21)
    first = illumination.draw(mean, factor, 3, 5)
    assert first.shape == (1, 21) and first.dtype == np.float32
    assert (first == illumination.draw(mean, factor, 3, 5)).all()
    assert (first != illumination.draw(mean, factor, 3, 6)).any() and (
        first != illumination.draw(mean, factor, 4, 5)
    ).any()
