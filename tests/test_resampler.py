"""Bilinear sampling without tensorflow-addons."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from synthmed_tf.smalldata.resampler import resample, resample_by_tensorflow


def draw(seed=0):
    """Images and places in their frame, corners and whole pixels among them."""
    random = np.random.default_rng(seed)
    images = random.normal(size=(2, 7, 9, 3)).astype(np.float32)
    places = random.uniform(0, [8, 6], size=(2, 5, 4, 2)).astype(np.float32)
    places[0, 0] = [[0, 0], [8, 6], [8, 0], [3, 2]]
    return images, places


@pytest.mark.parametrize("sample", [resample, resample_by_tensorflow])
def test_values_are_scipys_linear_interpolation(sample):
    images, places = draw()
    sampled = sample(tf.constant(images), tf.constant(places)).numpy()
    for image, place, found in zip(images, places, sampled, strict=True):
        for channel in range(3):
            expected = ndimage.map_coordinates(image[..., channel], [place[..., 1], place[..., 0]], order=1)
            np.testing.assert_allclose(found[..., channel], expected, atol=1e-6)


def test_both_have_the_same_gradients():
    images, places = (tf.constant(values) for values in draw(1))
    gradients = []
    for sample in (resample, resample_by_tensorflow):
        with tf.GradientTape() as tape:
            tape.watch(images)
            total = tf.reduce_sum(sample(images, places) ** 2)
        gradients.append(tape.gradient(total, images))
    np.testing.assert_allclose(*gradients, atol=1e-6)
