"""The figures against closed forms and slow references; the features against planted faults."""

import numpy as np
import pytest
from scipy import linalg, ndimage
from skimage.morphology import disk, skeletonize
from sklearn.neighbors import NearestNeighbors

from synthmed_tf.datasets.phantoms import fundus
from synthmed_tf.images.resize import crop_resize, crop_resize_mask, fit_box
from synthmed_tf.metrics import features, fidelity, kid_fid, prdc


def column(*values):
    return np.array(values, float)[:, None]


def normal(count, dimensions=4, seed=0, shift=0.0):
    return np.random.default_rng(seed).normal(shift, 1, (count, dimensions))


# ---------------------------------------------------------------- the figures


def test_by_hand_in_one_dimension():
    # to the nearest neighbour: balls [-1, 1], [0, 2], [1, 5], [3, 17] and [-1.5, 4.5], [1.5, 7.5], [-7.5, 1.5]
    real, fake = column(0, 1, 3, 10), column(1.5, 4.5, -3)
    precision, recall = prdc.precision_recall(real, fake, k=1)
    assert (precision, recall) == pytest.approx((2 / 3, 3 / 4))
    assert prdc.density_coverage(real, fake, k=1) == pytest.approx(((2 + 2 + 0) / 3, 3 / 4))
    # (x y + 1)^3: within {0, 1} 1, within {0, 2} 1, across 1, 1, 1, 27
    assert kid_fid.kid(column(0, 1), column(0, 2)) == pytest.approx(1 + 1 - 2 * 30 / 4)


def test_borders_belong_to_the_balls():
    assert prdc.precision_recall(column(0, 2), column(4, 6), k=1) == (0.5, 0.5)
    assert prdc.density_coverage(column(0, 2), column(4, 6), k=1) == (0.5, 0.5)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_balls_agree_with_a_search_one_by_one(k):
    real, fake = normal(23), normal(31, seed=1, shift=0.5)
    radii = [NearestNeighbors(n_neighbors=k).fit(x).kneighbors()[0][:, -1] for x in (real, fake)]
    real_balls = np.array([[np.linalg.norm(x - y) <= r for y in fake] for x, r in zip(real, radii[0])])
    fake_balls = np.array([[np.linalg.norm(x - y) <= r for x in real] for y, r in zip(fake, radii[1])])
    expected = (np.mean([column.any() for column in real_balls.T]), np.mean([column.any() for column in fake_balls.T]))
    assert prdc.precision_recall(real, fake, k) == pytest.approx(expected)
    expected = (real_balls.sum() / (k * 31), np.mean([row.any() for row in real_balls]))
    assert prdc.density_coverage(real, fake, k) == pytest.approx(expected)


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
    # Of a singular product the root is not unique, its trace is: that of the roots of the eigenvalues
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


def test_identical_sets():
    real = normal(20)
    assert prdc.precision_recall(real, real) == (1.0, 1.0)
    density, coverage = prdc.density_coverage(real, real)
    assert density == pytest.approx(4 / 3)  # every ball holds its centre and its 3 neighbours
    assert coverage == 1.0
    assert prdc.precision_recall(real[[0] * 9], real[[0] * 9]) == (1.0, 1.0)  # balls of radius 0


def test_far_clusters():
    real, fake = normal(20), normal(30, seed=1, shift=100.0)
    assert prdc.precision_recall(real, fake) == prdc.density_coverage(real, fake) == (0.0, 0.0)
    assert kid_fid.kid(real, fake) > 1e9


def test_collapsed_set_has_precision_but_no_recall_and_little_coverage():
    real = normal(20, 20)
    assert prdc.precision_recall(real, real[[4] * 50] + 1e-6) == (1.0, 0.0)
    assert prdc.density_coverage(real, real[[4] * 50] + 1e-6)[1] <= 0.5


@pytest.mark.parametrize("n, m, k", [(20, 20, 3), (12, 30, 2)])
def test_expected_values_for_two_samples_of_one_distribution(n, m, k):
    rng = np.random.default_rng(0)
    pairs = [(rng.normal(size=(n, 5)), rng.normal(size=(m, 5))) for _ in range(1500)]
    values = np.array([(*prdc.density_coverage(x, y, k), kid_fid.kid(x, y)) for x, y in pairs])
    missed = np.prod([(n - i) / (m + n - i) for i in range(1, k + 1)])
    error = values.std(axis=0) / np.sqrt(len(values))
    assert (np.abs(values.mean(axis=0) - [1, 1 - missed, 0]) < 4 * error).all()


def test_figures_fall_with_the_distance():
    real = normal(200)
    shifted = [normal(200, seed=1, shift=shift) for shift in (0, 0.7, 1.4, 2.8)]
    figures = [(*prdc.precision_recall(real, x), *prdc.density_coverage(real, x)) for x in shifted]
    assert (np.diff(figures, axis=0) <= 0).all()  # recall keeps up at first: far fakes have wide balls
    assert (np.array(figures[-1]) < 0.15).all() and min(figures[0]) > 0.8
    assert (np.diff([kid_fid.kid(real, x) for x in shifted]) > 0).all()


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="more than 3 images"):
        prdc.precision_recall(normal(9), normal(3))
    with pytest.raises(ValueError, match="more than 3 images"):
        prdc.density_coverage(normal(3), normal(9))
    with pytest.raises(ValueError, match="two images"):
        kid_fid.kid(normal(9), normal(1))
    with pytest.raises(ValueError, match="two images"):
        kid_fid.fid(normal(1), normal(9))


# ---------------------------------------------------------------- the comparison with its floor


def means(found, name):
    return {metric: found[metric][name]["mean"] for metric in fidelity.METRICS}


def test_floor_is_the_training_set_against_the_held_out_set():
    train, synthetic, held_out = normal(20), normal(100, seed=1, shift=0.5), normal(20, seed=2)
    found = fidelity.compare(train, synthetic, held_out)
    real, fake, reference = (
        features.standardise(x, np.concatenate([train, held_out])) for x in (train, synthetic, held_out)
    )
    for name, candidate in (("real_vs_real", real), ("all_synthetic_vs_real", fake)):
        each = *prdc.precision_recall(reference, candidate), *prdc.density_coverage(reference, candidate)
        assert means(found, name) == pytest.approx(
            dict(zip(fidelity.METRICS, (*each, kid_fid.kid(reference, candidate))))
        )
        assert all(
            len(found[metric][name]["runs"]) == 1 and found[metric][name]["sd"] is None for metric in means(found, name)
        )
    assert found["protocol"]["reference"] == "held-out real set"
    assert (found["protocol"]["reference_size"], found["protocol"]["subset_size"]) == (20, 20)
    subsets = found["kid"]["synthetic_vs_real"]
    assert len(subsets["runs"]) == fidelity.SUBSETS == len(set(subsets["runs"]))
    assert subsets["mean"] == pytest.approx(np.mean(subsets["runs"]))
    assert subsets["sd"] == pytest.approx(np.std(subsets["runs"], ddof=1))


def test_floor_shrinks_to_a_smaller_synthetic_set():
    found = fidelity.compare(normal(30), normal(10, seed=1), normal(20, seed=2))
    assert (found["protocol"]["reference_size"], found["protocol"]["subset_size"]) == (20, 10)
    assert len(found["recall"]["real_vs_real"]["runs"]) == fidelity.SUBSETS
    assert len(found["recall"]["synthetic_vs_real"]["runs"]) == 1
    assert means(found, "synthetic_vs_real") == pytest.approx(means(found, "all_synthetic_vs_real"))


def test_without_a_held_out_set_halves_are_the_floor():
    real = normal(41)
    found = fidelity.compare(real, normal(200, seed=1, shift=1.0), seed=3)
    again, other = (fidelity.compare(real, normal(200, seed=1, shift=1.0), seed=seed) for seed in (3, 4))
    assert found == again != other
    assert found["protocol"]["reference"] == "random halves of the real set"
    assert (found["protocol"]["reference_size"], found["protocol"]["subset_size"]) == (20, 21)
    floor = means(found, "real_vs_real")
    assert abs(floor["kid"]) < 0.1 and floor["coverage"] == pytest.approx(0.9, abs=0.08)
    assert means(found, "synthetic_vs_real")["kid"] > 0.5
    assert means(found, "synthetic_vs_real")["coverage"] < floor["coverage"] - 0.2


def test_order_of_the_images_does_not_decide():
    train, held_out = normal(20), normal(20, seed=2)
    # 20 of the first 100 would do well
    sorted_set = np.concatenate([normal(100, seed=1), normal(100, seed=3, shift=9.0)])
    found = fidelity.compare(train, sorted_set, held_out)
    assert 0.3 < means(found, "synthetic_vs_real")["precision"] < 0.55
    assert np.std(found["precision"]["synthetic_vs_real"]["runs"]) > 0


def test_other_features_are_taken_as_they_are_and_have_an_fid():
    train, synthetic, held_out = normal(20), normal(30, seed=1, shift=0.5), normal(20, seed=2)
    described = {"name": "of a network", "description": "Numbers."}
    found = fidelity.compare(train, synthetic, held_out, features=described)
    assert found["protocol"]["features"] == described
    assert found["fid"]["real_vs_real"]["mean"] == pytest.approx(kid_fid.fid(held_out, train))
    assert found["fid"]["all_synthetic_vs_real"]["mean"] == pytest.approx(kid_fid.fid(held_out, synthetic))
    assert found["kid"]["real_vs_real"]["mean"] == pytest.approx(kid_fid.kid(held_out, train))
    assert len(found["fid"]["synthetic_vs_real"]["runs"]) == fidelity.SUBSETS
    assert "fid" not in fidelity.compare(train, synthetic, held_out)


def test_large_sets_are_thinned_at_random(monkeypatch):
    monkeypatch.setattr(fidelity, "MOST", 50)
    sorted_set = np.concatenate([normal(100, seed=1), normal(100, seed=3, shift=9.0)])
    found = fidelity.compare(normal(60), sorted_set, normal(60, seed=2))
    assert (found["protocol"]["reference_size"], found["protocol"]["subset_size"]) == (50, 50)
    assert 0.25 < means(found, "all_synthetic_vs_real")["precision"] < 0.65


@pytest.mark.parametrize("sizes", [(3, 50, 20), (20, 3, 20), (20, 50, 3), (7, 50, None)])
def test_without_neighbours_there_are_no_figures(sizes):
    sets = [None if size is None else normal(size, seed=size) for size in sizes]
    found = fidelity.compare(*sets)
    for metric in fidelity.METRICS:
        assert found[metric]["real_vs_real"] == {"mean": None, "sd": None, "runs": []}


def test_standardising_limits_features_that_hardly_vary():
    real = np.stack([np.linspace(0, 1, 11), np.full(11, 0.5)], axis=1)
    found = features.standardise(np.array([[0.5, 0.5], [1.0, 0.6]]), real)
    assert found == pytest.approx(np.array([[0, 0], [0.5 / real[:, 0].std(), 10]]))


# ---------------------------------------------------------------- features


@pytest.fixture(scope="module")
def eyes():
    """40 phantoms at 128 pixels: masks, photographs, fields of view. The first 20 are the held-out reference."""
    samples = [fundus.draw_fundus(index) for index in range(40)]
    box = fit_box(*samples[0].image.shape[:2], (128, 128), samples[0].field_of_view)
    masks = [crop_resize_mask(sample.mask, box, (128, 128)) for sample in samples]
    photographs = [crop_resize(sample.image, box, (128, 128)) for sample in samples]
    views = [(crop_resize(s.field_of_view * np.uint8(255), box, (128, 128)) > 127).astype(np.uint8) for s in samples]
    return np.stack(masks), np.stack(photographs), np.stack(views)


@pytest.fixture(scope="module")
def mask_sets(eyes):
    found = features.describe_masks(eyes[0])
    return found[:20], found[20:]


@pytest.fixture(scope="module")
def photograph_sets(eyes):
    found = features.describe_photographs(eyes[1], eyes[2])
    return found[:20], found[20:]


def broken(masks):
    """Gaps 5 pixels wide at 60 places of each tree."""
    rng, found = np.random.default_rng(0), masks.copy()
    for mask in found[..., 0]:
        gaps = np.zeros(mask.shape, bool)
        gaps[tuple(rng.permutation(np.argwhere(skeletonize(mask > 0)))[:60].T)] = True
        mask[ndimage.binary_dilation(gaps, disk(2))] = 0
    return found


def speckled(masks):
    return masks ^ (np.random.default_rng(0).random(masks.shape) < 0.02)


MASK_FAULTS = {
    "broken": broken,
    "one pixel thicker to one side": lambda masks: np.maximum(masks, np.roll(masks, 1, axis=2)),
    "thinned to a line": lambda masks: np.stack([skeletonize(mask[..., 0])[..., None] for mask in masks]),
    "turned": lambda masks: np.rot90(masks, axes=(1, 2)),
    "shifted": lambda masks: np.roll(masks, 32, axis=1),
    "speckled": speckled,
}


@pytest.mark.parametrize("fault", MASK_FAULTS)
def test_faulty_masks_are_told_from_honest_ones(eyes, mask_sets, fault):
    found = fidelity.compare(mask_sets[1], features.describe_masks(MASK_FAULTS[fault](eyes[0][20:])), mask_sets[0])
    assert_told_apart(found, precision=0.6, coverage=0.6, kid=1.5)


def checkerboard(photographs, period, height):
    y, x = np.indices(photographs.shape[1:3]) // (period // 2)
    return np.clip(photographs + height * (1 - 2 * ((x + y) % 2))[..., None], 0, 255).astype(np.uint8)


def without_vessels(photographs, masks):
    smooth = ndimage.median_filter(photographs, (1, 11, 11, 1))
    return np.where(ndimage.binary_dilation(masks, np.ones((1, 3, 3, 1))), smooth, photographs)


PHOTOGRAPH_FAULTS = {
    "blurred": lambda photographs, _: ndimage.gaussian_filter(photographs, (0, 1, 1, 0)),
    "checkerboard of 2 pixels": lambda photographs, _: checkerboard(photographs, 2, 3),
    "checkerboard of 4 pixels": lambda photographs, _: checkerboard(photographs, 4, 4),
    "noisy": lambda photographs, _: np.clip(
        photographs + np.random.default_rng(0).normal(0, 6, photographs.shape), 0, 255
    ).astype(np.uint8),
    "without vessels": without_vessels,
}


@pytest.mark.parametrize("fault", PHOTOGRAPH_FAULTS)
def test_faulty_photographs_are_told_from_honest_ones(eyes, photograph_sets, fault):
    masks, photographs, views = (each[20:] for each in eyes)
    faulty = features.describe_photographs(PHOTOGRAPH_FAULTS[fault](photographs, masks), views)
    assert_told_apart(
        fidelity.compare(photograph_sets[1], faulty, photograph_sets[0]), precision=0.5, coverage=0.5, kid=5
    )


def assert_told_apart(found, precision, coverage, kid):
    honest, faulty = means(found, "real_vs_real"), means(found, "synthetic_vs_real")
    assert honest["precision"] - faulty["precision"] > precision
    assert honest["coverage"] - faulty["coverage"] > coverage
    assert faulty["kid"] - honest["kid"] > kid


def test_honest_phantoms_are_at_the_level_of_one_distribution(mask_sets, photograph_sets):
    for reference, other in (mask_sets, photograph_sets):
        floor = means(fidelity.compare(other, other, reference), "real_vs_real")
        assert min(floor["precision"], floor["recall"], floor["density"], floor["coverage"]) > 0.7
        assert abs(floor["kid"]) < 0.5


def test_repeated_images_are_told_by_recall_and_coverage(mask_sets, photograph_sets):
    for reference, other in (mask_sets, photograph_sets):
        for kept in (1, 3):
            found = fidelity.compare(other, other[np.arange(200) % kept], reference)
            honest, collapsed = means(found, "real_vs_real"), means(found, "synthetic_vs_real")
            assert collapsed["recall"] < 0.1 < honest["recall"] - 0.5
            assert collapsed["coverage"] < honest["coverage"] - (0.5 if kept == 1 else 0.25)
            assert collapsed["kid"] > honest["kid"]


def test_features_lie_in_the_unit_interval_and_repeat(eyes, mask_sets, photograph_sets):
    for found, count in ((np.concatenate(mask_sets), 91), (np.concatenate(photograph_sets), 123)):
        assert found.shape == (40, count) and found.dtype == np.float64
        assert found.min() >= 0 and found.max() <= 1
        assert (found.std(axis=0) > 0).mean() > 0.9
    assert np.array_equal(features.describe_masks(list(eyes[0][:2, ..., 0])), mask_sets[0][:2])


def test_masks_and_grey_photographs_have_the_same_features(eyes, mask_sets):
    assert np.array_equal(features.describe_photographs(eyes[0][:3] * np.uint8(255)), mask_sets[0][:3])


def test_sixteen_bits_are_scaled(eyes):
    photographs = eyes[1][:2]
    assert features.describe_photographs(photographs.astype(np.uint16) * 257) == pytest.approx(
        features.describe_photographs(photographs), abs=1e-12
    )


def test_noise_outside_the_field_of_view_does_not_count(eyes):
    photographs, views = eyes[1][:2], eyes[2][:2]
    noise = np.random.default_rng(0).integers(0, 256, photographs.shape, np.uint8)
    noisy = np.where(views, photographs, noise)
    assert np.array_equal(
        features.describe_photographs(noisy, views), features.describe_photographs(photographs * views)
    )
    assert not np.allclose(features.describe_photographs(noisy), features.describe_photographs(photographs))


def test_cells_are_means_and_standard_deviations():
    image = np.random.default_rng(0).integers(0, 256, (64, 32, 3), np.uint8)
    found = features.describe_photographs([image])[0]
    cells = (image / 255).reshape(4, 16, 4, 8, 3)
    grey = cells @ [0.299, 0.587, 0.114]
    assert found[:48] == pytest.approx(cells.mean(axis=(1, 3)).ravel())
    assert found[48:64] == pytest.approx(grey.std(axis=(1, 3)).ravel(), abs=1e-6)


def test_orientations_tell_stripes_apart_and_patterns_do_not():
    y, x = np.indices((64, 64))
    stripes = [((np.cos(angle) * x + np.sin(angle) * y) % 8 < 3).astype(np.uint8) for angle in (0, np.pi / 2)]
    upright, level = features.describe_masks(stripes)
    orientations = upright[32:64].reshape(4, 8), level[32:64].reshape(4, 8)
    assert [set(each.argmax(axis=1)) for each in orientations] == [{0}, {4}]  # the gradient is across the stripes
    assert upright[64:] == pytest.approx(level[64:])


def test_empty_images_have_features():
    for found in (features.describe_masks(np.zeros((2, 16, 17))), features.describe_masks(np.ones((2, 16, 17)))):
        assert np.isfinite(found).all() and not found[:, 16:].round(6).any()


@pytest.mark.parametrize(
    "photographs, message",
    [
        ([], "no images"),
        ([np.zeros((20, 20, 3))], "uint8 or uint16"),
        ([np.zeros((20, 20, 2), np.uint8)], "uint8 or uint16"),
        ([np.zeros((20, size, 3), np.uint8) for size in (20, 21)], "one size"),
        ([np.zeros((20, 20, channels), np.uint8) for channels in (1, 3)], "same channels"),
        ([np.zeros((15, 20, 3), np.uint8)], "at least 16"),
    ],
)
def test_photographs_that_do_not_fit_are_refused(photographs, message):
    with pytest.raises(ValueError, match=message):
        features.describe_photographs(photographs)


@pytest.mark.parametrize("mask", [np.full((20, 20), 255), np.full((20, 20), 0.5), np.zeros((20, 20, 3)), np.zeros(20)])
def test_masks_that_do_not_fit_are_refused(mask):
    with pytest.raises(ValueError, match="expected"):
        features.describe_masks([mask])


# ---------------------------------------------------------------- real images


def test_drive_masks_against_warped_repeated_and_broken_ones(real_data):
    import tensorflow as tf

    from synthmed_tf import augment
    from synthmed_tf.datasets.load import load_samples
    from synthmed_tf.datasets.prepare import crop_sample

    samples = [crop_sample(sample, (128, 128)) for sample in load_samples("drive", real_data)]
    train, test = (np.stack([s.mask for s in samples if s.split == split]) for split in ("train", "test"))
    mild = dict(rotation=5.0, zoom=1.05, aspect=0.03, elastic=0.006)
    warped = np.concatenate(
        [augment.random_warp(tf.constant(train, tf.float32), [7, step], **mild).numpy() >= 0.5 for step in range(3)]
    )
    real, held_out = features.describe_masks(train), features.describe_masks(test)
    sets = {"warped": warped, "broken": broken(train), "repeated": train[[3] * 60]}
    found = {name: fidelity.compare(real, features.describe_masks(masks), held_out) for name, masks in sets.items()}
    floor = means(found["warped"], "real_vs_real")
    figures = {name: means(each, "synthetic_vs_real") for name, each in found.items()}
    assert min(floor["precision"], floor["recall"], floor["coverage"]) > 0.8 and abs(floor["kid"]) < 0.5
    assert min(figures["warped"][metric] for metric in ("precision", "recall", "coverage")) > 0.5
    assert figures["warped"]["kid"] < 1.5 < figures["broken"]["kid"] < figures["repeated"]["kid"]
    assert figures["broken"]["coverage"] < 0.5
    assert figures["repeated"]["recall"] == 0 and figures["repeated"]["coverage"] < 0.15
