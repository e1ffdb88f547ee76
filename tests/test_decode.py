"""Image files of all kinds, and hostile ones."""

import functools
import struct
import zlib

import numpy as np
import pytest
import skimage.io
import tifffile
from PIL import Image, ImageOps

from synthmed_tf.images.decode import read_image, read_picture
from synthmed_tf.images.pixel_range import FLAT_PALETTE, INVERTING_PALETTE, NUMBERS, ZERO_IS_WHITE, bring_to_range
from synthmed_tf.sample import InputError, UnreadableImage


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
    ],
)
def test_tiffs_that_pillow_would_cut_to_8_bits_are_refused(tmp_path, pixels, options, says):
    tifffile.imwrite(tmp_path / "a.tif", np.array(pixels), **options)
    with pytest.raises(InputError, match=f"a.tif: .*{says}.*allowed are grey and 8-bit.*convert it"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("byteorder", "<>")
@pytest.mark.parametrize("kind", ["int8", "int16", "int32", "int64", "uint32", "float16", "float32", "float64"])
def test_numbers_of_all_kinds(tmp_path, kind, byteorder):
    least = 0 if kind[0] == "u" else -100
    numbers = (np.arange(48).reshape(6, 8) * 4 + least).astype(kind)
    if numbers.itemsize > 2:
        numbers = numbers * (2**24 if kind == "uint32" else 1000)  # more than 16 bits
    tifffile.imwrite(tmp_path / "a.tif", numbers, byteorder=byteorder)
    picture = read_picture(tmp_path / "a.tif")
    assert picture.pixels.dtype == np.float64 and picture.bits == NUMBERS and not picture.is_inverted
    assert (picture.pixels[..., 0] == numbers).all()


def write_with_palette(palette):
    def write(path, bits):
        image = Image.fromarray(bits.astype(np.uint8) * (len(palette) // 3 - 1)).convert("L").convert("P")
        image.putdata(list(bits.astype(int).ravel() * (len(palette) // 3 - 1)))
        image.putpalette(palette)
        image.save(path)

    return write


def write_opacity(drawn, around):
    def write(path, bits):
        Image.fromarray(np.where(bits[..., None], np.uint8(drawn), np.uint8(around))).save(path)

    return write


INVERTING = np.repeat(255 - np.arange(256), 3).tolist()  # what ImageJ calls an inverting look-up table


@pytest.mark.parametrize(
    "name, write, note",
    [
        ("a.tif", tifffile.imwrite, ZERO_IS_WHITE),
        ("a.tif", functools.partial(tifffile.imwrite, compression="zlib"), ZERO_IS_WHITE),
        ("a.tif", functools.partial(tifffile.imwrite, software=False, metadata=None), ZERO_IS_WHITE),
        ("a.tif", lambda p, m: tifffile.imwrite(p, np.uint8(m * 255), photometric="miniswhite"), ZERO_IS_WHITE),
        ("a.tif", lambda p, m: tifffile.imwrite(p, np.uint16(m * 65535), photometric="miniswhite"), ZERO_IS_WHITE),
        (
            "a.tif",
            lambda p, m: tifffile.imwrite(
                p, np.uint8(m * 255), photometric="miniswhite", software="", description="ImageJ=1.54", metadata=None
            ),
            ZERO_IS_WHITE,
        ),
        ("a.tif", lambda p, m: skimage.io.imsave(p, np.uint8(m), check_contrast=False), None),
        ("a.tif", lambda p, m: tifffile.imwrite(p, np.float32(m)), None),
        ("a.tif", lambda p, m: tifffile.imwrite(p, np.int16(m)), None),
        ("a.tif", lambda p, m: Image.fromarray(m).save(p), None),
        ("a.tif", lambda p, m: Image.fromarray(m).save(p, compression="group4"), None),
        ("a.tif", lambda p, m: Image.fromarray(m).save(p, tiffinfo={262: 0}), None),
        ("a.tif", lambda p, m: Image.fromarray(np.uint8(m * 255)).save(p, tiffinfo={262: 0}), None),
        ("a.png", write_with_palette([0] * 768), FLAT_PALETTE),
        ("a.gif", write_with_palette([255] * 6), FLAT_PALETTE),
        ("a.png", write_with_palette(INVERTING), INVERTING_PALETTE),
        ("a.png", write_with_palette([0, 0, 0, 200, 0, 0]), None),
        ("a.png", write_opacity((0, 0, 0, 255), (0, 0, 0, 0)), None),
        ("a.png", write_opacity((0, 0, 0, 255), (255, 255, 255, 0)), None),
        ("a.png", write_opacity((255, 255, 255, 255), (0, 0, 0, 0)), None),
        ("a.png", write_opacity((255, 0, 0, 255), (0, 0, 0, 255)), None),
    ],
)
def test_a_mask_is_what_was_drawn(tmp_path, name, write, note):
    bits = np.zeros((20, 24), bool)
    bits[3:6, 2:9] = True
    write(tmp_path / name, bits)
    picture = read_picture(tmp_path / name, is_mask=True)
    brightness = bring_to_range(picture).max(axis=-1) if picture.bits != NUMBERS else picture.pixels[..., 0]
    assert ((brightness > brightness.min()) == bits).all() and picture.note == note


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
    for bad in (np.nan, np.inf):
        tifffile.imwrite(tmp_path / "nan.tif", np.array([[0.5, bad]], np.float32))
        with pytest.raises(InputError, match="nan.tif: some pixels are infinite or no numbers.*put one in their place"):
            read_image(tmp_path / "nan.tif")
    tifffile.imwrite(tmp_path / "colour.tif", np.zeros((4, 4, 3), np.float32), photometric="rgb")
    with pytest.raises(InputError, match="colour of fractions; allowed are grey and 8-bit colour; convert it"):
        read_image(tmp_path / "colour.tif")
    pages = [Image.new("L", (4, 4), level) for level in (0, 255)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(InputError, match="2 pages"):
        read_image(tmp_path / "pages.tif")
