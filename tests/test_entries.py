"""Masks and images of all kinds become Samples, or are refused."""

import warnings

import numpy as np
import pytest
from PIL import Image
from raw_sets import RNG, load, refused, save, save_pair


@pytest.fixture
def own(tmp_path):
    """A folder of one's own with seven pairs."""
    folder = tmp_path / "own"
    for stem in "abcdefg":
        save_pair(folder, stem)
    return folder


@pytest.mark.parametrize("levels", [(0, 255), (0, 1), (3, 200), (1, 2)])
def test_mask_of_any_two_levels(own, levels):
    bits = RNG.integers(0, 2, (24, 20))
    save(own / "masks" / "a.png", np.array(levels, np.uint8)[bits])
    assert (load(own)["a"].mask[..., 0] == bits).all()


def test_masks_in_colour_16_bit_palette_and_1_bit(own):
    bits = RNG.integers(0, 2, (24, 20))
    save(own / "masks" / "a.png", np.array([[0, 0, 0], [255, 0, 0]], np.uint8)[bits])
    save(own / "masks" / "b.png", np.array([0, 65535], np.uint16)[bits])
    palette = Image.fromarray(bits.astype(np.uint8)).convert("P")
    palette.putpalette([255, 255, 255, 0, 0, 0])  # index 0 is white: what looks bright is foreground
    palette.save(own / "masks" / "c.png")
    save(own / "masks" / "d.png", bits.astype(bool))
    save(own / "masks" / "e.png", np.zeros((24, 20), np.uint8))
    save(own / "masks" / "f.png", np.full((24, 20), 255, np.uint8))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a, b, d have one mask and so do not count as copies: their images differ
        samples = load(own)
    for stem, expected in (
        ("a", bits),
        ("b", bits),
        ("c", 1 - bits),
        ("d", bits),
        ("e", 0 * bits),
        ("f", 0 * bits + 1),
    ):
        assert (samples[stem].mask[..., 0] == expected).all(), stem


def test_masks_drawn_in_the_opacity(own):
    bits = RNG.integers(0, 2, (24, 20)).astype(np.uint8)
    bits[0, :2] = 0, 1
    for stem, mode, colour in (("a", "RGBA", (9, 9, 9)), ("b", "LA", (0,))):
        planes = [Image.new("L", (20, 24), level) for level in colour]
        Image.merge(mode, [*planes, Image.fromarray(bits * 255)]).save(own / "masks" / f"{stem}.png")
    samples = load(own)
    assert all((samples[stem].mask[..., 0] == bits).all() for stem in "ab")
    Image.merge("LA", [Image.fromarray(1 - bits), Image.fromarray(bits)]).save(own / "masks" / "a.png")
    assert (load(own)["a"].mask[..., 0] == 1 - bits).all()  # where both differ, the colour is the mask


@pytest.mark.parametrize("suffix", ["tif", "bmp", "gif", "jpg", "JPG", "jpeg"])
def test_image_formats(own, suffix):
    (own / "images" / "a.png").unlink()
    save(own / "images" / f"a.{suffix}", RNG.integers(0, 255, (24, 20)).astype(np.uint8))
    for stem in "bcdefg":
        save(own / "images" / f"{stem}.png", RNG.integers(0, 255, (24, 20)).astype(np.uint8))
    assert load(own)["a"].image.shape == (24, 20, 1)


def test_16_bit_images_keep_their_depth(tmp_path):
    deep = RNG.integers(0, 65535, (24, 20)).astype(np.uint16)
    save_pair(tmp_path, "a", deep)
    image = load(tmp_path)["a"].image
    assert image.dtype == np.uint16 and (image[..., 0] == deep).all()


def test_size_mismatch(own):
    save(own / "masks" / "b.png", np.zeros((24, 21), np.uint8))
    refused(["masks/b.png", "21x24", "20x24"], own)


def test_mask_with_more_than_two_levels(own):
    mask = np.zeros((24, 20), np.uint8)
    mask[0, 0], mask[1, 1] = 100, 200
    save(own / "masks" / "b.png", mask)
    refused(["masks/b.png", "3 levels", "allowed are two", "PNG"], own)
    colours = np.zeros((24, 20, 3), np.uint8)
    colours[:12, :, 0], colours[12:, :, 2] = 255, 255  # equally bright, yet two colours
    save(own / "masks" / "b.png", colours)
    refused(["masks/b.png", "several colours"], own)
    save(own / "masks" / "b.png", np.full((24, 20), 77, np.uint8))
    refused(["masks/b.png", "single level 77"], own)
    save(own / "masks" / "b.png", np.full((24, 20, 3), (0, 0, 200), np.uint8))
    refused(["masks/b.png", "single level 200"], own)


def test_jpeg_mask_says_what_jpeg_does(own):
    mask = np.asarray(Image.open(own / "masks" / "b.png"))
    (own / "masks" / "b.png").unlink()
    save(own / "masks" / "b.jpg", mask)
    refused(["masks/b.jpg", "JPEG blurs masks", "save it as PNG"], own)
