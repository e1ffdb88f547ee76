"""Fundus phantoms: the properties that make them a segmentation task."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from synthmed_tf.datasets.load import load_samples
from synthmed_tf.datasets.phantoms import fundus, vessels


@pytest.fixture(scope="module")
def samples():
    return list(load_samples("phantom", None))


def distance_from(point):
    y, x = np.mgrid[: vessels.HEIGHT, : vessels.WIDTH]
    return np.hypot(x - point[0], y - point[1])


def digest(sample):
    return hashlib.sha256(sample.image.tobytes() + sample.mask.tobytes() + sample.field_of_view.tobytes()).hexdigest()


def test_forty_samples_in_two_halves(samples):
    assert len(samples) == fundus.COUNT == 40
    assert [sample.split for sample in samples] == ["train"] * 20 + ["test"] * 20
    assert len({sample.id for sample in samples}) == len({sample.group for sample in samples}) == 40
    for sample in samples:
        assert sample.image.shape == (288, 280, 3) and sample.image.dtype == np.uint8
        for mask in (sample.mask, sample.field_of_view):
            assert mask.shape == (288, 280, 1) and mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 1}


def test_a_phantom_is_a_pure_function_of_its_index(samples):
    for index in (31, 3, 31):
        assert digest(fundus.draw_fundus(index)) == digest(samples[index])


def test_another_process_makes_the_same_phantom_without_tensorflow(samples):
    code = (
        "import sys, hashlib; from synthmed_tf.datasets.phantoms import fundus; s = fundus.draw_fundus(5);"
        "assert 'tensorflow' not in sys.modules;"
        "print(hashlib.sha256(s.image.tobytes() + s.mask.tobytes() + s.field_of_view.tobytes()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert run.stdout.strip() == digest(samples[5])


def test_no_two_phantoms_are_alike(samples):
    masks = np.array([sample.mask[..., 0] for sample in samples], np.float32)
    flat, mirrored = masks.reshape(40, -1), masks[:, :, ::-1].reshape(40, -1)
    sizes = flat.sum(1)
    for other in (flat, mirrored):
        dice = 2 * (flat @ other.T) / (sizes[:, None] + sizes)
        np.fill_diagonal(dice, 0)
        assert dice.max() < 0.5
    colours = np.array([sample.image[sample.field_of_view[..., 0] > 0].mean(0) for sample in samples])
    assert (np.ptp(colours, axis=0) > [60, 30, 20]).all()


def test_field_of_view_is_a_disc_with_everything_inside(samples):
    expected = distance_from(vessels.CENTRE) < vessels.FIELD_RADIUS
    for sample in samples:
        np.testing.assert_array_equal(sample.field_of_view[..., 0] > 0, expected)
        assert not (sample.mask > sample.field_of_view).any()
        assert sample.image[distance_from(vessels.CENTRE) > vessels.FIELD_RADIUS + 4].mean() < 10
        assert sample.image[distance_from(vessels.CENTRE) < vessels.FIELD_RADIUS - 4].mean() > 40


def test_vessel_area_is_that_of_drive(samples):
    shares = np.array([sample.mask.sum() / sample.field_of_view.sum() for sample in samples])
    assert 0.10 < shares.mean() < 0.14
    assert shares.min() > 0.08 and shares.max() < 0.15


def test_mask_hangs_together_at_the_disc_and_reaches_the_rim(samples):
    for index, sample in enumerate(samples):
        eye = vessels.draw_anatomy(index)
        parts, count = ndimage.label(sample.mask[..., 0], np.ones((3, 3)))
        in_disc = distance_from(eye.disc) < eye.disc_radius
        assert set(np.unique(parts[in_disc])) >= set(range(1, count + 1))
        assert sample.mask[distance_from(vessels.CENTRE) > vessels.FIELD_RADIUS - 2].any()


def test_fovea_is_darker_and_disc_brighter_than_their_surroundings(samples):
    for index, sample in enumerate(samples):
        eye = vessels.draw_anatomy(index)
        seen = (sample.field_of_view > sample.mask)[..., 0]
        grey = sample.image.mean(-1)
        fovea, disc = distance_from(eye.fovea), distance_from(eye.disc) / eye.disc_radius
        assert grey[seen & (fovea < 8)].mean() < 0.9 * grey[seen & (fovea > 30) & (fovea < 50)].mean()
        assert grey[seen & (disc < 0.8)].mean() > 1.2 * grey[seen & (disc > 1.3) & (disc < 2)].mean()


def test_thresholding_the_green_channel_is_not_enough(samples):
    """Within 0.85-0.93, where DRIVE's 20 training images have 0.87; a U-Net must have something to learn."""
    scores, labels = [], []
    for sample in samples:
        seen = sample.field_of_view[..., 0] > 0
        weight = ndimage.gaussian_filter(seen.astype(float), 6)
        background = ndimage.gaussian_filter(sample.image[..., 1] * seen.astype(float), 6) / np.maximum(weight, 1e-3)
        scores.append((background - sample.image[..., 1])[seen])
        labels.append(sample.mask[..., 0][seen])
    assert 0.85 < roc_auc_score(np.concatenate(labels), np.concatenate(scores)) < 0.93


def test_thinnest_vessels_show_less_than_wide_ones(samples):
    contrasts = {"thin": [], "wide": []}
    for index, sample in enumerate(samples[:10]):
        green = sample.image[..., 1].astype(float)
        relative = green / ndimage.median_filter(green, 15)
        for branch in vessels.grow_vessels(index):
            name = "thin" if branch.radius < 0.7 else "wide" if branch.radius > 1.4 else None
            columns, rows = np.round(branch.points[1:-1]).astype(int).T
            seen = np.hypot(columns - vessels.CENTRE[0], rows - vessels.CENTRE[1]) < vessels.FIELD_RADIUS - 10
            if name:
                contrasts[name].extend(1 - relative[rows[seen], columns[seen]])
    assert 0.02 < np.mean(contrasts["thin"]) < 0.5 * np.mean(contrasts["wide"])
