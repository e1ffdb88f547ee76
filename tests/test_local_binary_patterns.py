"""Local binary patterns counted otherwise."""

import numpy as np
import pytest
from skimage.feature import local_binary_pattern

from synthmed_tf.metrics import local_binary_patterns


def test_patterns_are_those_of_scikit_image():
    images = np.random.default_rng(0).integers(0, 255, [3, 24, 20, 1], dtype=np.uint8)
    found = local_binary_patterns.count_patterns(images)
    assert found.shape == (3, 18 + 26 + 34) and found[:, :18].sum(1) == pytest.approx([1, 1, 1])
    expected = local_binary_pattern(images[1, ..., 0], 24, 3, "uniform")[3:-3, 3:-3]
    np.testing.assert_allclose(found[1, 18:44], [np.mean(expected == kind) for kind in range(26)])


def test_patterns_of_a_flat_image_and_of_a_turned_one():
    flat = local_binary_patterns.count_patterns(np.full([1, 16, 16, 1], 7, np.uint8))[0, :18]
    assert flat[16] == 1 and flat.sum() == 1  # all 16 neighbours are as bright
    image = np.random.default_rng(0).integers(0, 255, [20, 20, 1], dtype=np.uint8)
    straight, turned = local_binary_patterns.count_patterns([image, np.rot90(image)])
    # Rotation-invariant, but for rounding of the circle's points
    np.testing.assert_allclose(straight, turned, atol=0.02)


def test_patterns_know_neither_depth_nor_a_grey_picture_in_colours():
    images = np.random.default_rng(0).integers(0, 255, [2, 20, 20, 1], dtype=np.uint8)
    found = local_binary_patterns.count_patterns(images)
    np.testing.assert_array_equal(local_binary_patterns.count_patterns(images.astype(np.uint16) * 257), found)
    np.testing.assert_array_equal(local_binary_patterns.count_patterns(np.repeat(images, 3, 3)), found)
    colours = np.random.default_rng(1).integers(0, 255, [1, 20, 20, 3], dtype=np.uint8)
    grey = np.rint(colours @ [0.299, 0.587, 0.114]).astype(np.uint8)[..., None]
    np.testing.assert_array_equal(
        local_binary_patterns.count_patterns(colours), local_binary_patterns.count_patterns(grey)
    )


def test_images_too_small_for_the_radius():
    with pytest.raises(ValueError, match="above 8 pixels"):
        local_binary_patterns.count_patterns(np.zeros([1, 8, 30, 1], np.uint8))
