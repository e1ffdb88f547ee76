"""Local binary patterns against scikit-image and by hand; folds that cut no group."""

import numpy as np
import pytest
from skimage.feature import local_binary_pattern

from synthmed_tf.papers import lbp


def test_patterns_are_those_of_scikit_image():
    images = np.random.default_rng(0).integers(0, 255, [3, 24, 20, 1], dtype=np.uint8)
    found = lbp.count_patterns(images)
    assert found.shape == (3, 18 + 26 + 34) and found[:, :18].sum(1) == pytest.approx([1, 1, 1])
    expected = local_binary_pattern(images[1, ..., 0], 24, 3, "uniform")[3:-3, 3:-3]
    np.testing.assert_allclose(found[1, 18:44], [np.mean(expected == kind) for kind in range(26)])
    np.testing.assert_array_equal(lbp.count_patterns(images, (3,)), found[:, 18:44])


def test_patterns_of_a_flat_image_and_of_a_turned_one():
    flat = lbp.count_patterns(np.full([1, 16, 16, 1], 7, np.uint8), (2,))[0]
    assert flat[16] == 1 and flat.sum() == 1  # all 16 neighbours are as bright
    image = np.random.default_rng(0).integers(0, 255, [20, 20, 1], dtype=np.uint8)
    straight, turned = lbp.count_patterns([image, np.rot90(image)])
    # Rotation-invariant, but for rounding of the circle's points
    np.testing.assert_allclose(straight, turned, atol=0.02)


def test_patterns_know_neither_depth_nor_a_grey_picture_in_colours():
    images = np.random.default_rng(0).integers(0, 255, [2, 20, 20, 1], dtype=np.uint8)
    found = lbp.count_patterns(images)
    np.testing.assert_array_equal(lbp.count_patterns(images.astype(np.uint16) * 257), found)
    np.testing.assert_array_equal(lbp.count_patterns(np.repeat(images, 3, 3)), found)
    colours = np.random.default_rng(1).integers(0, 255, [1, 20, 20, 3], dtype=np.uint8)
    grey = np.rint(colours @ [0.299, 0.587, 0.114]).astype(np.uint8)[..., None]
    np.testing.assert_array_equal(lbp.count_patterns(colours), lbp.count_patterns(grey))


def test_images_too_small_for_the_radius():
    with pytest.raises(ValueError, match="above 8 pixels"):
        lbp.count_patterns(np.zeros([1, 8, 30, 1], np.uint8))


def test_folds_never_cut_a_group_and_keep_the_classes():
    classes = np.array([0, 1] * 30)
    groups = np.arange(60) // 4
    for learned, held in lbp.make_folds(classes, groups, 0).split(classes, classes, groups):
        assert not set(groups[learned]) & set(groups[held])
        assert abs(classes[held].mean() - 0.5) < 0.01


def test_columns_are_those_of_the_radii():
    features = np.concatenate([np.full([2, 8 * radius + 2], radius) for radius in (2, 3, 4)], 1)
    assert (lbp.list_columns(features, (3,)) == 3).all() and lbp.list_columns(features, (3,)).shape == (2, 26)
    assert (lbp.list_columns(features, (2, 3, 4)) == features).all()
