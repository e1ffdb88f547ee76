import numpy as np
import pytest
import tensorflow as tf

from synthmed_tf.smalldata.warp import warp_at_random

STILL = {"rotation": 0.0, "zoom": 1.0, "aspect": 0.0, "elastic": 0.0, "flip": (False, False)}
SEED = tf.constant([3, 4])


def draw_blobs(count, height=33, width=41, channels=1, seed=0):
    """Smooth images in [0, 1]."""
    noise = np.random.default_rng(seed).normal(size=[count, 5, 5, channels])
    images = tf.image.resize(noise.astype(np.float32), [height, width], method="bicubic").numpy()
    return (images - images.min()) / np.ptp(images)


def warp(images, seed=SEED, **options):
    return warp_at_random(tf.constant(images), seed, **options).numpy()


def test_nothing_asked_for_changes_nothing():
    images = draw_blobs(3)
    np.testing.assert_allclose(warp(images, **STILL), images, atol=1e-6)


@pytest.mark.parametrize(("flip", "axes"), [((True, False), (1,)), ((False, True), (2,)), ((True, True), (1, 2))])
def test_flips_go_the_way_asked_for_about_half_of_the_time(flip, axes):
    images = draw_blobs(64, 9, 8)
    warped = warp(images, **STILL | {"flip": flip})
    choices = [images]
    for axis in axes:
        choices += [np.flip(choice, axis) for choice in choices]
    which = np.array([[np.allclose(w, c[i], atol=1e-5) for c in choices] for i, w in enumerate(warped)])
    assert (which.sum(1) == 1).all()
    expected = len(images) / len(choices)
    assert (abs(which.sum(0) - expected) < 4 * expected**0.5).all(), which.sum(0)


def test_a_warp_is_a_function_of_the_seed_and_differs_within_a_batch():
    images = np.repeat(draw_blobs(1), 3, axis=0)
    first = warp(images)
    assert (first == warp(images)).all()
    assert np.abs(first - warp(images, tf.constant([3, 5]))).max() > 0.05
    assert np.abs(first[0] - first[1]).max() > 0.05 and np.abs(first[1] - first[2]).max() > 0.05


def test_channels_go_together_and_no_new_values_appear():
    images = draw_blobs(4)
    warped = warp(np.concatenate([images, 1 - 2 * images, np.full_like(images, 0.7)], -1), flip=(True, True))
    np.testing.assert_allclose(warped[..., 1], 1 - 2 * warped[..., 0], atol=1e-5)
    np.testing.assert_allclose(warped[..., 2], 0.7, atol=1e-6)
    assert images.min() - 1e-5 <= warped[..., 0].min() and warped[..., 0].max() <= images.max() + 1e-5


def measure_affine(**options):
    """The linear map [count, 2, 2] of 64 warps, measured: two channels that hold y and x come back as their sources."""
    side = 41
    y, x = np.meshgrid(*[np.arange(side, dtype=np.float32) - side // 2] * 2, indexing="ij")
    warped = warp(np.repeat(np.stack([y, x], -1)[None], 64, axis=0), **STILL | options)
    centre = warped[:, side // 2, side // 2]
    np.testing.assert_allclose(centre, 0, atol=1e-4)  # the centre stays
    reach = slice(side // 2 - 10, side // 2 + 11)
    along_y, along_x = warped[:, reach, side // 2], warped[:, side // 2, reach]
    return np.stack([(along_y[:, -1] - along_y[:, 0]) / 20, (along_x[:, -1] - along_x[:, 0]) / 20], -1)


def test_rotation_stays_within_its_degrees_and_keeps_lengths():
    matrices = measure_affine(rotation=20.0)
    angles = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    assert 15 < np.abs(angles).max() <= 20.01 and angles.min() < -10 and angles.max() > 10 and abs(angles.mean()) < 6
    np.testing.assert_allclose(matrices @ matrices.transpose(0, 2, 1), np.repeat(np.eye(2)[None], 64, 0), atol=1e-3)


def test_zoom_only_magnifies():
    scales = measure_affine(zoom=1.25)
    np.testing.assert_allclose(scales[:, 0, 0], scales[:, 1, 1], atol=1e-4)
    assert 1 / 1.25 - 1e-4 <= scales[:, 0, 0].min() < 0.85 and 0.95 < scales[:, 0, 0].max() <= 1 + 1e-4


def test_aspect_stretches_height_against_width_and_keeps_the_area():
    matrices = measure_affine(aspect=0.2)
    np.testing.assert_allclose(np.linalg.det(matrices), 1, atol=1e-3)
    ratio = matrices[:, 0, 0] / matrices[:, 1, 1]
    assert np.exp(-0.2) - 1e-3 <= ratio.min() < 0.9 and 1.1 < ratio.max() <= np.exp(0.2) + 1e-3


def test_elastic_displacements_have_the_standard_deviation_asked_for_and_do_not_fold():
    height, width = 60, 90
    y, x = np.meshgrid(np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32), indexing="ij")
    grid = np.repeat(np.stack([y, x], -1)[None], 48, axis=0)
    moved = (warp(grid, **STILL | {"elastic": 0.01}) - grid)[:, 10:-10, 10:-10]
    sd = moved.std((0, 1, 2)) / (height, width)
    assert ((0.005 < sd) & (sd < 0.012)).all(), sd  # of the coarse field; less between its nodes
    assert abs(moved.mean()) < 0.2
    assert np.diff(moved[..., 0], axis=1).min() > -1 and np.diff(moved[..., 1], axis=2).min() > -1  # nothing folds over


def test_outside_the_frame_the_image_is_mirrored():
    image = np.tile(np.arange(31, dtype=np.float32)[None, :, None, None], [16, 1, 31, 1])
    warped = warp(image, **STILL | {"rotation": 30.0})
    assert warped.min() >= 0 and warped.max() <= 30
    for edge in (warped[:, 0], warped[:, -1]):  # clamped, these would hold the outermost value over a long stretch
        assert ((edge < 0.01) | (edge > 29.99)).mean() < 0.15


def test_enlarged_images_keep_their_texture():
    texture = np.random.default_rng(1).normal(size=[4, 40, 40, 1]).astype(np.float32)
    kept = {n: warp(texture, enlarged=n, **STILL | {"rotation": 20.0})[:, 8:-8, 8:-8].std() for n in (1, 2)}
    # Bilinear: (1 - 2 / 3 t (1 - t))^2, t uniform
    assert kept[1] == pytest.approx(2 / 3, abs=0.05) and 0.75 < kept[2] < 1
    images = draw_blobs(2)
    np.testing.assert_allclose(warp(images, enlarged=2)[:, 4:-4, 4:-4], warp(images)[:, 4:-4, 4:-4], atol=0.02)
    np.testing.assert_allclose(warp(images, enlarged=2, **STILL)[:, 2:-2, 2:-2], images[:, 2:-2, 2:-2], atol=0.01)


def test_a_graph_with_unknown_batch_gives_the_same_numbers():
    images = draw_blobs(2, channels=2)
    function = tf.function(
        lambda x: warp_at_random(x, SEED), input_signature=[tf.TensorSpec([None, None, None, None], tf.float32)]
    )
    np.testing.assert_allclose(function(images), warp(images), atol=1e-5)
