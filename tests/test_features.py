"""The features against formulas written otherwise, and against planted faults."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.morphology import disk, skeletonize

from synthmed_tf.datasets.phantoms import fundus
from synthmed_tf.images.resize import crop_resize, crop_resize_mask, fit_box
from synthmed_tf.metrics import features, fidelity


def means(found, name):
    return {metric: found[metric][name]["mean"] for metric in fidelity.METRICS}


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


def test_drive_masks_against_warped_repeated_and_broken_ones(real_data):
    import tensorflow as tf

    from synthmed_tf.datasets.load import load_samples
    from synthmed_tf.datasets.prepare import crop_sample
    from synthmed_tf.smalldata import warp

    samples = [crop_sample(sample, (128, 128)) for sample in load_samples("drive", real_data)]
    train, test = (np.stack([s.mask for s in samples if s.split == split]) for split in ("train", "test"))
    mild = dict(rotation=5.0, zoom=1.05, aspect=0.03, elastic=0.006)
    warped = np.concatenate(
        [warp.warp_at_random(tf.constant(train, tf.float32), [7, step], **mild).numpy() >= 0.5 for step in range(3)]
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


def test_standardising_limits_features_that_hardly_vary():
    real = np.stack([np.linspace(0, 1, 11), np.full(11, 0.5)], axis=1)
    found = features.standardise(np.array([[0.5, 0.5], [1.0, 0.6]]), real)
    assert found == pytest.approx(np.array([[0, 0], [0.5 / real[:, 0].std(), 10]]))
