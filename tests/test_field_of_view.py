"""The field of view of made discs and of real photographs."""

import numpy as np
import pytest
from PIL import Image

from synthmed_tf.images.decode import read_image
from synthmed_tf.images.field_of_view import estimate_field_of_view


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_field_of_view_of_a_made_disc():
    y, x = np.mgrid[:200, :240]
    disc = (((y - 100) ** 2 + (x - 120) ** 2 < 110**2) * 1).astype(np.uint8)  # cut by the frame above and below
    rng = np.random.default_rng(0)
    image = disc[..., None] * np.array([180, 90, 40]) + rng.integers(0, 12, (200, 240, 3))
    image[90:110, 60:90] = 0  # a dark spot inside
    for scale in (1, 3):
        large = image.astype(np.uint8).repeat(scale, 0).repeat(scale, 1)
        field = estimate_field_of_view(large)
        assert field.shape == (*large.shape[:2], 1) and field.dtype == np.uint8
        assert dice(field[..., 0], disc.repeat(scale, 0).repeat(scale, 1)) > 0.985
    field = estimate_field_of_view((image * 200).clip(0, 65535).astype(np.uint16))
    assert dice(field[..., 0], disc) > 0.985


@pytest.mark.parametrize("size", [64, 128, 256])
def test_field_of_view_is_as_large_as_the_disc_at_any_size(size):
    radius = 0.42 * size
    y, x = np.mgrid[: 8 * size, : 8 * size] / 8 - size / 2 + 1 / 16
    disc = Image.fromarray((np.hypot(y, x) < radius).astype(np.float32)).resize((size, size), Image.Resampling.BOX)
    image = np.rint(np.array(disc)[..., None] * [180, 90, 40]).astype(np.uint8)
    assert estimate_field_of_view(image).sum() == pytest.approx(np.pi * radius**2, rel=0.01)


def test_frame_without_dark_surround_is_all_field_of_view():
    bright = np.random.default_rng(0).integers(100, 200, (60, 60, 3)).astype(np.uint8)
    for image in (bright, np.zeros_like(bright), np.full((4, 4, 1), 9, np.uint8)):
        assert estimate_field_of_view(image).all()


def test_estimated_field_of_view_is_that_of_drive(real_data):
    for number in (21, 26, 30, 35):
        folder = real_data / "drive" / "training"
        official = (read_image(folder / "mask" / f"{number}_training_mask.gif") > 0).astype(np.uint8)
        assert dice(estimate_field_of_view(read_image(folder / "images" / f"{number}_training.tif")), official) > 0.98
