import numpy as np
import pytest
from pictures import draw_blobs

from synthmed_tf.metrics import planted


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(80, 80), (64, 96)])
def test_planted_copies_keep_size_and_depth_and_differ_from_the_original(dtype, size):
    images, views = draw_blobs(9, size, 1, dtype=dtype), [np.ones((*size, 1), np.uint8)] * 9
    found = planted.disguise_images(images, views)
    assert set(found) == {"turned or mirrored", "shifted", "recoloured", "noisy", "all of these"}
    for disguised, seen in found.values():
        assert all(
            each.shape == (*size, 1) and each.dtype == dtype and view.shape == each.shape
            for each, view in zip(disguised, seen, strict=True)
        )
        assert not any(np.array_equal(each, image) for each, image in zip(disguised, images, strict=True))
    again = planted.disguise_images(images, views)
    assert all(np.array_equal(a, b) for name in found for a, b in zip(found[name][0], again[name][0]))
    assert planted.disguise_images(images[:1], [None])["all of these"][1] == [None]


def test_the_shift_of_a_planted_copy_by_hand():
    image = np.arange(100 * 50, dtype=np.uint16).reshape(100, 50, 1)
    ((found,), _) = planted.disguise_images([image], [None])["shifted"]
    assert np.array_equal(found[2:, :-1], image[:-2, 1:]) and np.array_equal(found[0, :-1], image[0, 1:])


def test_planted_masks_by_hand():
    dot = np.zeros((100, 100, 1), np.uint8)
    dot[20, 80] = 1
    found = {name: masks[0] for name, masks in planted.disguise_masks([dot]).items()}
    assert all(each.shape == dot.shape and each.dtype == np.uint8 for each in found.values())
    assert np.argwhere(found["shifted"][..., 0]).tolist() == [[23, 77]]
    assert found["turned or mirrored"][79, 19].all() and found["turned or mirrored"].sum() == 1
    square = np.zeros((101, 101, 1), np.uint8)
    square[40:61, 40:61] = 1
    ((scaled,), (tilted,)) = (planted.disguise_masks([square])[name] for name in ("scaled", "tilted"))
    assert scaled.sum() == pytest.approx(square.sum() * planted.SCALED**2, rel=0.1)
    assert tilted[50, 50] and tilted.sum() == pytest.approx(square.sum(), rel=0.05)
    top = np.argwhere(tilted[..., 0])  # the corner that comes first lies beside the one it was
    assert abs(abs(top[0][1] - 50) - abs(10 - 10 * np.tan(np.deg2rad(planted.TILTED)))) <= 2
    assert planted.disguise_masks([dot[:, :60]])["all of these"][0].shape == (100, 60, 1)


@pytest.mark.parametrize("dtype, top", [(np.uint8, 40), (np.uint16, 4095), (np.uint16, 700)])
def test_noise_and_colours_of_a_dark_set_are_shares_of_its_own_range(dtype, top):
    bright = draw_blobs(6, (64, 64), 1, dtype=dtype)
    white = np.iinfo(dtype).max
    dark = [np.rint(image / white * top).astype(dtype) for image in bright]
    own, width = planted.measure_range(dark)
    assert 0.9 * top < own <= top and planted.measure_range(bright) == (white, white)
    dark[0].flat[:3] = white  # dead pixels
    assert planted.measure_range(dark) == (own, width)
    copies = planted.disguise_images(dark, [None] * 6)
    noise = np.concatenate([(a.astype(float) - b)[b > 0.3 * top] for a, b in zip(copies["noisy"][0][1:], dark[1:])])
    assert noise.std() == pytest.approx(planted.NOISE * width, rel=0.1, abs=0.5)
    recoloured = copies["recoloured"][0][1]
    np.testing.assert_allclose(recoloured, (dark[1] / own) ** planted.GAMMA * planted.CONTRAST * own, atol=1)


def test_the_noise_of_a_set_far_from_0_is_a_share_of_what_its_pixels_span():
    images = [image // 16 + np.uint16(30_000) for image in draw_blobs(4, (64, 64), 1, dtype=np.uint16)]
    white, width = planted.measure_range(images)
    assert white == 65535 and 3600 < width < 4096
