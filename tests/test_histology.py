"""Histology phantoms: tumour can be learned from texture, and not from colour."""

import collections

import numpy as np
import pytest
from drawn_phantoms import accuracy, draw, logistic
from skimage.color import rgb2gray, rgb2hed
from skimage.feature import local_binary_pattern
from sklearn.ensemble import RandomForestClassifier

from synthmed_tf.datasets.phantoms import histology


@pytest.fixture(scope="module")
def tiles():
    """(entries, images [n, 96, 96, 3] uint8) of six slides to train on and three to test on, 24 tiles each."""
    entries = [
        entry
        for slide in (0, 1, 2, 3, 4, 5, 10, 11, 12)
        for entry in histology.list_entries(None)[slide * 40 : slide * 40 + 24]
    ]
    return entries, draw(histology, entries)


def test_tumour_can_be_learned_from_texture_but_not_from_colour(tiles):
    entries, images = tiles
    classes = {name: name for name in histology.CLASSES}
    grey = [np.uint8(rgb2gray(image) * 255) for image in images]  # P2: histology in grey
    texture = [
        [np.bincount(local_binary_pattern(each, 8, radius, "uniform").astype(int).ravel(), minlength=10)]
        for each in grey
        for radius in (2, 3, 4)
    ]
    learned = accuracy(RandomForestClassifier(200, random_state=0), texture, entries, classes)
    assert 0.75 < learned < 0.99, learned
    colour = accuracy(logistic(), images.mean((1, 2)), entries, classes)
    brightness = accuracy(logistic(), images.mean((1, 2, 3)), entries, classes)
    assert colour < 0.75 and brightness < 0.7, (colour, brightness)


def test_nuclei_take_haematoxylin_and_what_surrounds_them_eosin(tiles):
    """In the colour deconvolution of scikit-image dark pixels hold more haematoxylin, and pink ones more eosin."""
    for image in tiles[1][::20]:
        haematoxylin, eosin, _ = np.moveaxis(rgb2hed(image), -1, 0)
        grey = rgb2gray(image)
        nuclei, glass = grey < np.quantile(grey, 0.1), grey > np.quantile(grey, 0.9)
        assert haematoxylin[nuclei].mean() > haematoxylin[~nuclei].mean() + 0.05
        assert eosin[~nuclei & ~glass].mean() > eosin[glass].mean()


def test_tumour_nuclei_are_larger_paler_and_less_alike_than_lymphocytes():
    lymphocyte, tumour = histology.LYMPHOCYTE, histology.TUMOUR
    assert tumour.radius[0] > lymphocyte.radius[1]
    assert sum(tumour.dark) < sum(lymphocyte.dark)
    for trait in ("radius", "stretch", "dark"):
        assert np.ptp(getattr(tumour, trait)) > np.ptp(getattr(lymphocyte, trait)), trait


def test_slides_differ_in_colour_and_hold_both_classes(tiles):
    entries, images = tiles
    colours = collections.defaultdict(list)
    for entry, image in zip(entries, images, strict=True):
        colours[entry.group].append(image.mean((0, 1)))
    means = np.array([np.mean(each, 0) for each in colours.values()])
    assert (np.ptp(means, axis=0) > 10).all()
    for group in colours:
        assert collections.Counter(e.label for e in entries if e.group == group) == {"normal": 12, "tumour": 12}
