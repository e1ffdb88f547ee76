import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps
from scipy import ndimage
from skimage.morphology import skeletonize

from synthmed_tf.datasets.phantoms import fundus, vessels
from synthmed_tf.images import resize
from synthmed_tf.images.decode import read_image
from synthmed_tf.images.field_of_view import estimate_field_of_view
from synthmed_tf.images.pixels import to_uint8, to_uint16
from synthmed_tf.images.resize import Box, crop_resize, crop_resize_mask, fit_box, uncrop
from synthmed_tf.sample import InputError, UnreadableImage
from synthmed_tf.smalldata.fields import (
    CENTRELINE_WEIGHT,
    find_wall,
    join_pieces,
    label_pieces,
    make_distance_field,
    make_fields,
    make_mask,
    measure_thickness,
    threshold_distance_field,
)
from synthmed_tf.smalldata.recombine import find_disc, is_disc_right


def tree(height, width):
    """A made vessel tree: a thick trunk with branches one pixel wide, one piece, and a speck beside it."""
    mask = np.zeros((height, width, 1), np.uint8)
    mask[:, width // 2 : width // 2 + 9] = 1
    for row in range(12, height - 12, 24):
        mask[row, 10 : width - 10] = 1
    return mask


def components(mask):
    return ndimage.label(mask[..., 0], np.ones((3, 3)))[1]


# ---------------------------------------------------------------- crop and resize


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


def test_generated_values_to_whole_numbers():
    values = np.array([-1.5, -1, 0, 1 / 32767.5, 1, 1.5], np.float32)
    assert to_uint8(values).tolist() == [0, 0, 128, 128, 255, 255]
    deep = to_uint16(values)
    assert deep.dtype == np.uint16 and deep.tolist() == [0, 0, 32768, 32768, 65535, 65535]
    every = np.arange(65536)
    assert (to_uint16((every / 32767.5 - 1).astype(np.float32)) == every).all()


# ---------------------------------------------------------------- masks


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


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_distance_field_is_the_closed_form_of_a_half_plane(scale):
    mask = np.zeros((20, 30, 1), np.uint8)
    mask[:, 15:] = 1
    field = make_distance_field(mask, scale)
    assert field.dtype == np.float32 and np.abs(field).max() < 1
    expected = np.tanh((np.arange(30) - 14.5) / scale)
    np.testing.assert_allclose(field[..., 0], np.broadcast_to(expected, (20, 30)), atol=2e-6)


def test_distance_field_and_back():
    masks = [tree(64, 80), np.zeros((16, 16, 1), np.uint8), np.ones((16, 16, 1), np.uint8)]
    for mask in [*masks, (np.random.default_rng(0).random((33, 31, 1)) < 0.5).astype(np.uint8)]:
        field = make_distance_field(mask, 3.0)
        assert field.shape == mask.shape and np.abs(field).max() < 1
        assert (threshold_distance_field(field) == mask).all()


def test_wall_and_centreline_of_a_bar():
    mask = np.zeros([9, 40, 1], np.uint8)
    mask[3:6, 4:36] = 1  # three pixels thick: the middle row is the centreline
    fields = make_fields(mask, 2.0)
    assert fields.dtype == np.float32 and fields.shape == (9, 40, 2)
    np.testing.assert_array_equal(fields[..., :1], make_distance_field(mask, 2.0))
    expected = 2 * np.exp(-((np.array([4, 3, 2, 1, 0, 1, 2, 3, 4]) / 1.5) ** 2)) - 1
    np.testing.assert_allclose(fields[:, 20, 1], expected, atol=1e-6)
    assert (make_mask(fields) == mask).all()


def test_a_vessel_that_dips_below_the_wall_goes_on_along_its_centreline():
    mask = np.zeros([9, 40, 1], np.uint8)
    mask[4, 4:36] = 1
    fields = make_fields(mask, 2.0)
    fields[:, 18:22, 0] -= 0.5
    assert not threshold_distance_field(fields)[4, 18:22, 0].any()
    assert (make_mask(fields) == mask).all()


@pytest.mark.parametrize("wall", [-0.3, 0.0, 0.2, 0.4])
def test_a_centreline_adds_its_weight_to_the_wall(wall):
    # None above the skeleton's 0
    fields = np.stack(np.meshgrid(np.linspace(-1, 1, 41), np.linspace(-1, -0.01, 37)), -1)
    expected = fields[..., 0] > wall - CENTRELINE_WEIGHT / 2 * (fields[..., 1] + 1)
    assert (make_mask(fields, wall)[..., 0] == expected).mean() > 0.995  # but for rounding
    nowhere = np.stack([fields[..., 0], np.full_like(fields[..., 0], -1)], -1)  # no centreline: the wall alone
    assert (make_mask(nowhere, wall)[..., 0] == (nowhere[..., 0] > wall)).all()


@pytest.mark.parametrize(("ridge", "ends"), [(0.0, 30), (0.25, 30), (0.5, 20), (0.75, 10), (1.0, 0)])
def test_centrelines_are_taken_where_they_exceed_the_ridge(ridge, ends):
    fields = np.full([9, 40, 2], -1.0)
    fields[4, :10, 1], fields[4, 10:20, 1], fields[4, 20:30, 1] = 0.9, 0.6, 0.3  # fades out
    expected = np.zeros([9, 40, 1], np.uint8)
    expected[4, :ends] = 1
    assert (make_mask(fields, wall=1.0, ridge=ridge) == expected).all()


def pieces_of_5_3_and_1():
    """Fields whose mask by the wall alone is a row, a diagonal and a dot."""
    fields = np.full([9, 9, 2], -1.0)
    fields[1, 1:6, 0] = fields[[4, 5, 6], [2, 3, 4], 0] = fields[8, 8, 0] = 1.0
    return fields


def test_pieces_hang_together_at_corners_too():
    mask = pieces_of_5_3_and_1()[..., 0] > 0
    labels, sizes = label_pieces(mask)
    assert sizes.tolist() == [5, 3, 1] and (labels > 0).tolist() == mask.tolist()
    assert (labels[1, 1:6] == 1).all() and labels[4, 2] == labels[5, 3] == labels[6, 4] == 2 and labels[8, 8] == 3
    assert label_pieces(0 * mask)[1].tolist() == []


@pytest.mark.parametrize(("smallest", "kept"), [(1, 9), (2, 8), (3, 8), (4, 5), (5, 5), (6, 5), (1000, 5)])
def test_pieces_smaller_than_the_smallest_are_left_out_but_never_the_largest(smallest, kept):
    fields = pieces_of_5_3_and_1()
    mask = make_mask(fields, 0.0, smallest=smallest)
    assert mask.dtype == np.uint8 and mask.shape == (9, 9, 1) and mask.sum() == kept
    assert (mask <= make_mask(fields, 0.0)).all()
    twice = make_mask(np.concatenate([fields, fields]), 0.0, smallest=smallest)
    assert (twice == np.concatenate([mask, mask])).all()  # of two largest both stay


@pytest.mark.parametrize("smallest", [1, 5])
def test_no_pieces_leave_an_empty_mask(smallest):
    nothing = np.full([6, 7, 2], -1.0)
    assert not make_mask(nothing, smallest=smallest).any()


def row(length, *parts):
    """[1, length] bool, True in these ranges."""
    found = np.zeros([1, length], bool)
    for first, last in parts:
        found[0, first:last] = True
    return found


def test_lines_that_join_two_pieces_are_added_and_others_are_not():
    mask, lines = row(40, (2, 8), (12, 18), (30, 34)), row(40, (4, 22), (28, 40))
    # Of 18 to 22, 28 to 30 and 34 to 40 each touches one piece
    assert (join_pieces(mask, lines) == row(40, (2, 18), (30, 34))).all()
    assert (join_pieces(mask, row(40)) == mask).all() and not join_pieces(row(40), lines).any()
    assert (join_pieces(mask, row(40, (0, 40))) == row(40, (2, 34))).all()
    diagonal = np.eye(9, dtype=bool)
    ends = diagonal & (np.arange(9) % 8 == 0)
    assert (join_pieces(ends, diagonal) == diagonal).all()


def test_joining_closes_no_loop_and_leaves_out_the_longest_of_a_ring():
    ring = np.ones([12, 20], bool)
    ring[1:-1, 1:-1] = False
    gaps = np.zeros_like(ring)
    gaps[0, 4:6] = gaps[0, 14:17] = gaps[11, 9:13] = True  # of 2, 3 and 4 pixels between three pieces
    expected = ring.copy()
    expected[11, 9:13] = False
    assert (join_pieces(ring & ~gaps, ring) == expected).all()


def test_a_mask_is_joined_along_the_ridge_alone():
    fields = np.full([9, 40, 2], -1.0)
    fields[4, 2:12, 0] = fields[4, 16:30, 0] = 1.0
    fields[4, 2:36, 1] = 0.6
    found = {ridge: make_mask(fields, 0.0, ridge, joining=True) for ridge in (0.5, 0.7)}
    assert found[0.5][4, :, 0].tolist() == row(40, (2, 30))[0].tolist() and found[0.5].sum() == 28
    assert found[0.7][4, :, 0].tolist() == row(40, (2, 12), (16, 30))[0].tolist()


def test_area_to_length_of_bars_and_of_nothing():
    masks = np.zeros([2, 9, 40, 1], np.uint8)
    masks[0, 4, 4:36] = 1
    masks[1, 4, 4:12] = 1
    assert measure_thickness(masks) == 1
    masks[1, 3:6, 4:12] = 1
    assert measure_thickness(masks) == (32 + 24) / (32 + skeletonize(masks[1, ..., 0] > 0).sum())
    assert measure_thickness(0 * masks) == 0


def test_wall_and_centreline_of_nothing():
    empty = np.zeros([8, 8, 1], np.uint8)
    fields = make_fields(empty, 2.0)
    assert (fields < -0.99).all() and (make_mask(fields) == empty).all()


# ---------------------------------------------------------------- field of view


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


# ---------------------------------------------------------------- reading


def test_read_image_kinds(tmp_path):
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
    colour = np.stack([grey, 255 - grey, grey // 2], axis=-1)
    deep = grey.astype(np.uint16) * 257

    def saved(name, image, **options):
        image.save(tmp_path / name, **options)
        return read_image(tmp_path / name)

    for name in ("a.png", "a.tif", "a.bmp", "a.gif"):
        assert (saved(name, Image.fromarray(grey)) == grey[..., None]).all()
    for name in ("c.png", "c.tif", "c.bmp"):
        assert (saved(name, Image.fromarray(colour)) == colour).all()
    for name in ("d.png", "d.tif"):
        read = saved(name, Image.fromarray(deep))
        assert read.dtype == np.uint16 and (read == deep[..., None]).all()
    assert np.unique(saved("bits.png", Image.fromarray(grey > 100))).tolist() == [0, 255]
    alpha = np.concatenate([colour, np.full((6, 8, 1), 128, np.uint8)], axis=-1)
    assert (saved("alpha.png", Image.fromarray(alpha)) == colour).all()
    assert (saved("la.png", Image.fromarray(grey).convert("LA")) == grey[..., None]).all()

    palette = Image.fromarray(grey // 5 % 2).convert("P")
    palette.putpalette([0, 0, 0, 255, 255, 255])
    assert (saved("grey_palette.png", palette) == (grey // 5 % 2 * 255)[..., None]).all()
    palette.putpalette([255, 0, 0, 0, 0, 255])
    assert (saved("colour_palette.png", palette)[0, 0] == [255, 0, 0]).all()

    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to see it upright
    assert saved("turned.jpg", Image.fromarray(colour), exif=exif).shape == (8, 6, 3)
    assert read_image(tmp_path / "no such folder name", (tmp_path / "a.png").open("rb")).shape == (6, 8, 1)


def png(width, height, depth=8, colour=0, data=b""):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "name, content, says",
    [
        ("bomb.png", png(50_000, 50_000), "pixels"),
        ("half_bomb.png", png(10_000, 10_000), "pixels"),
        ("empty.png", b"", "cannot be read"),
        ("text.png", b"<html>not found</html>", "cannot be read"),
        ("no_data.png", png(64, 64), "cannot be read"),
        ("script.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "cannot be read"),
    ],
)
def test_hostile_files(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableImage, match=says) as caught:
        read_image(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name)) and "\n" not in str(caught.value)
    assert "--skip_bad_files" in str(caught.value)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.gif", "a.bmp"])
def test_truncated_and_damaged_files(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(UnreadableImage):
        read_image(tmp_path / name)
    rng = np.random.default_rng(1)
    for _ in range(40):  # whatever the damage: an image or an InputError, nothing else
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 8):
            damaged[place] = rng.integers(0, 256)
        (tmp_path / name).write_bytes(damaged)
        try:
            assert read_image(tmp_path / name).ndim == 3
        except InputError as error:
            assert "\n" not in str(error)


RAMP = np.arange(0, 65536, 1024, np.uint16).reshape(8, 8)


def test_what_is_white_in_a_16_bit_tiff_is_white(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", RAMP, photometric="miniswhite")
    tifffile.imwrite(tmp_path / "b.tif", (RAMP >> 8).astype(np.uint8), photometric="miniswhite", compression="zlib")
    deep, shallow = (read_image(tmp_path / name)[..., 0] for name in ("a.tif", "b.tif"))
    assert deep.dtype == np.uint16 and (deep == 65535 - RAMP).all() and (shallow == 255 - (RAMP >> 8)).all()


@pytest.mark.parametrize(
    "pixels, options, says",
    [
        ([RAMP] * 3, {"photometric": "rgb", "planarconfig": "separate"}, "16-bit colour"),
        (np.stack([RAMP] * 4, -1), {"photometric": "separated"}, "16-bit colour"),
        ((RAMP >> 8).astype(np.uint8).view(np.int8), {}, "int8"),
    ],
)
def test_tiffs_that_pillow_would_cut_to_8_bits_are_refused(tmp_path, pixels, options, says):
    tifffile.imwrite(tmp_path / "a.tif", np.array(pixels), **options)
    with pytest.raises(InputError, match=f"a.tif: .*{says}.*allowed are 8.*convert it"):
        read_image(tmp_path / "a.tif")


def test_premultiplied_grey_and_turned_tiffs(tmp_path):
    grey = (RAMP >> 8).astype(np.uint8)[:6]
    opaque = np.stack([grey, np.full_like(grey, 255)], -1)
    tifffile.imwrite(tmp_path / "a.tif", opaque, photometric="minisblack", extrasamples=["assocalpha"])
    assert (read_image(tmp_path / "a.tif")[..., 0] == grey).all()
    Image.fromarray(grey).save(tmp_path / "b.tif", tiffinfo={274: 6})
    assert (read_image(tmp_path / "b.tif")[..., 0] == np.rot90(grey, -1)).all()


def test_odd_exif_is_an_unreadable_image(tmp_path, monkeypatch):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.jpg")

    def fails(image):
        raise AttributeError("'IFDRational' object has no attribute 'encode'")  # what Pillow said to a fuzzed file

    monkeypatch.setattr(ImageOps, "exif_transpose", fails)
    with pytest.raises(UnreadableImage, match="a.jpg: cannot be read as an image"):
        read_image(tmp_path / "a.jpg")


def test_unsupported_kinds_say_so(tmp_path):
    with pytest.raises(UnreadableImage, match="No such file"):
        read_image(tmp_path / "missing.png")
    (tmp_path / "deep.png").write_bytes(png(4, 4, depth=16, colour=2, data=(b"\0" + bytes(24)) * 4))
    with pytest.raises(InputError, match="16-bit colour"):
        read_image(tmp_path / "deep.png")
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(InputError, match="float32"):
        read_image(tmp_path / "float.tif")
    pages = [Image.new("L", (4, 4), level) for level in (0, 255)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(InputError, match="2 pages"):
        read_image(tmp_path / "pages.tif")


def test_the_wall_of_a_thickness():
    """Bars of a distance field that rises by 0.1 a pixel:
    the wall w leaves (0.8 - w) / 0.1 pixels on either side of the middle.
    """
    distance = np.abs(np.arange(41) - 20)
    field = np.broadcast_to(0.8 - 0.1 * distance[:, None], [41, 400])

    def masks_at(wall):
        return (field > wall)[None, ..., None]

    for half in (1, 3, 5):
        thickness = measure_thickness(masks_at(0.75 - 0.1 * half))
        wall = find_wall(masks_at, thickness)
        assert measure_thickness(masks_at(wall)) == pytest.approx(thickness)
        assert 0.8 - 0.1 * (half + 1) - 1e-6 <= wall < 0.8 - 0.1 * half + 1e-6


def test_the_wall_of_a_thickness_out_of_reach_is_the_nearest():
    fields = np.full([1, 8, 8, 1], -0.9)
    assert find_wall(lambda wall: fields > wall, 3.0) < -0.49


def test_disc_is_right():
    fork = np.zeros([64, 64, 1], np.uint8)
    fork[30:34, 40:60] = fork[32, 4:40] = 1
    assert is_disc_right(fork) and not is_disc_right(fork[:, ::-1])
    assert not is_disc_right(np.zeros([64, 64, 1], np.uint8))
    for index in range(8):
        is_right = vessels.draw_anatomy(index).disc[0] > vessels.CENTRE[0]
        assert is_disc_right(fundus.draw_fundus(index).mask) == is_right, index


def test_disc_place():
    fork = np.zeros([64, 64, 1], np.uint8)
    fork[30:34, 40:60] = fork[32, 4:40] = 1
    row, column = find_disc(fork)
    assert 29 <= row <= 34 and 42 <= column <= 58
    assert len(find_disc(np.zeros([64, 64, 1], np.uint8))) == 2
    for index in range(8):
        (row, column), disc = find_disc(fundus.draw_fundus(index).mask), vessels.draw_anatomy(index).disc
        assert np.hypot(row - disc[1], column - disc[0]) < 0.1 * vessels.WIDTH, index
