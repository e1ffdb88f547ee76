"""Crop and resize keep intensities, the area of masks and their connectedness."""

import numpy as np
import pytest
from made_masks import components, tree
from PIL import Image

from synthmed_tf.images import resize
from synthmed_tf.images.decode import read_image
from synthmed_tf.images.resize import Box, crop_resize, crop_resize_mask, fit_box, uncrop


def test_frame_box_is_the_smallest_of_its_aspect_around_the_field_of_view():
    field = np.zeros((100, 200, 1), np.uint8)
    field[20:60, 30:130] = 1  # 40 high, 100 wide
    assert fit_box(100, 200, (64, 64), field) == Box(-10, 30, 100, 100)
    assert fit_box(100, 200, (64, 128), field) == Box(15, 30, 50, 100)
    assert fit_box(100, 200, (128, 64), field) == Box(-60, 30, 200, 100)


def test_frame_box_without_field_of_view_is_the_whole_frame():
    assert fit_box(100, 200, (50, 100)) == Box(0, 0, 100, 200)
    assert fit_box(100, 200, (64, 64)) == Box(0, 0, 100, 200)
    assert fit_box(100, 200, (64, 64), np.zeros((100, 200, 1), np.uint8)) == Box(0, 0, 100, 200)


@pytest.mark.parametrize("dtype, top", [(np.uint8, 255), (np.uint16, 65535)])
def test_crop_resize_keeps_intensities_and_dtype(dtype, top):
    for level in (0, 7, top):
        image = np.full((90, 70, 3), level, dtype)
        resized = crop_resize(image, Box(5, 5, 60, 60), (32, 32))
        assert resized.dtype == dtype and (resized == level).all()
    noise = np.random.default_rng(0).integers(top // 3, top // 2, (80, 80, 1)).astype(dtype)
    resized = crop_resize(noise, Box(0, 0, 80, 80), (20, 20))
    assert resized.min() >= noise.min() and resized.max() <= noise.max()  # no ringing
    assert abs(resized.mean() / noise.mean() - 1) < 0.01
    assert resized.std() < noise.std() / 2  # antialiased: picking pixels would keep the spread


def test_crop_pads_with_zeros_and_the_native_size_is_left_alone():
    image = np.random.default_rng(0).integers(1, 255, (8, 6, 3)).astype(np.uint8)
    padded = crop_resize(image, Box(-2, -3, 12, 12), (12, 12))
    assert (padded[2:10, 3:9] == image).all() and padded.sum() == image.sum()
    assert (crop_resize(image, Box(20, 20, 4, 4), (4, 4)) == 0).all()  # a box beside the image


def test_uncrop_is_the_inverse_place():
    box = Box(-10, 20, 100, 80)
    smooth = np.add.outer(np.arange(90.0), 2 * np.arange(120.0)).astype(np.float32)[..., None] / 400
    small = resize._resize(resize._crop(smooth, box)[..., 0], (50, 40), Image.Resampling.BOX)
    back = uncrop(small, box, (90, 120))
    assert back.shape == (90, 120) and back.dtype == np.float32
    assert (back[:, :20] == 0).all() and (back[:, 100:] == 0).all()  # outside the box
    np.testing.assert_allclose(back[3:85, 25:95], smooth[3:85, 25:95, 0], atol=0.01)


@pytest.mark.parametrize("size", [(64, 64), (96, 128), (128, 96), (300, 300), (600, 700)])
def test_mask_keeps_area_and_stays_in_one_piece(size):
    mask = tree(300, 340)
    box = fit_box(300, 340, size)
    resized = crop_resize_mask(mask, box, size)
    assert resized.shape == (*size, 1) and resized.dtype == np.uint8 and set(np.unique(resized)) == {0, 1}
    assert abs(resized.mean() / (mask.sum() / (box.height * box.width)) - 1) < 0.005
    assert components(resized) == components(mask) == 1
    assert (resized == crop_resize_mask(mask, box, size)).all()


def test_mask_is_where_the_mask_was():
    mask = tree(300, 300)
    resized = crop_resize_mask(mask, Box(0, 0, 300, 300), (100, 100))
    coverage = mask.reshape(100, 3, 100, 3).sum(axis=(1, 3))
    assert coverage[resized[..., 0] == 1].min() > 0  # nothing on pixels that the mask does not touch
    assert resized[coverage == 9].mean() > 0.9


def test_empty_full_and_tiny_masks():
    box = Box(0, 0, 200, 200)
    assert crop_resize_mask(np.zeros((200, 200, 1), np.uint8), box, (64, 64)).sum() == 0
    assert crop_resize_mask(np.ones((200, 200, 1), np.uint8), box, (64, 64)).all()
    speck = np.zeros((200, 200, 1), np.uint8)
    speck[100, 100] = 1
    assert crop_resize_mask(speck, box, (64, 64)).sum() == 1  # never lost altogether
    dust = (np.random.default_rng(0).random((200, 200, 1)) < 0.02).astype(np.uint8)  # every piece under half a pixel
    assert abs(crop_resize_mask(dust, box, (64, 64)).mean() / dust.mean() - 1) < 0.02


@pytest.mark.parametrize("size", [128, 256])
def test_vessels_of_real_drive(real_data, size):
    before = after = naive = 0
    for number in range(21, 41):
        folder = real_data / "drive" / "training"
        mask = (read_image(folder / "1st_manual" / f"{number}_manual1.gif") > 0).astype(np.uint8)
        field = (read_image(folder / "mask" / f"{number}_training_mask.gif") > 0).astype(np.uint8)
        box = fit_box(*mask.shape[:2], (size, size), field)
        cropped = resize._crop(mask, box)
        resized = crop_resize_mask(mask, box, (size, size))
        assert abs(resized.mean() / cropped.mean() - 1) < 0.02
        before, after = before + components(cropped), after + components(resized)
        coverage = resize._resize(cropped[..., 0], (size, size), Image.Resampling.BOX)
        naive += components((coverage >= np.quantile(coverage, 1 - cropped.mean()))[..., None])
    print(f"{size} pixels, 20 training masks: {before} pieces before, {after} after, {naive} by threshold")
    assert 0.7 * before <= after <= before and naive > 10 * before
