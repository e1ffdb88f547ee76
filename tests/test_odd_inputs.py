"""What odd and hostile sets give: an error of one line, a counted warning, or the line of the look that tells it."""

import io
import re
import shutil
import warnings

import numpy as np
import pytest
from odd_inputs import (
    GREY,
    LABELS,
    RGB,
    TABLE,
    X,
    Y,
    as_bytes,
    bar,
    classes,
    content,
    cut,
    draw,
    image,
    images,
    make_bomb,
    make_classes,
    make_dicom,
    make_labelled,
    make_pairs,
    mask,
    masks,
    pairs,
    put,
    rename_masks,
    rewrite,
    rows,
    setter,
    table,
)
from PIL import Image

from synthmed_tf.datasets.prepare import prepare
from synthmed_tf.sample import InputError

# (name, how the set is made, what is told; options of `prepare`)
ODD = [
    # files that are no images, or not the ones that are meant
    ("cut short", pairs(lambda f: cut(f / "images" / "3.png")), "error: .*3.png: cannot be read as an image"),
    ("text", content(b"hello"), "cannot be read as an image"),
    ("pickle", content(b"\x80\x04\x95cos\nsystem\n"), "cannot be read as an image"),
    ("WebP", content(as_bytes(GREY, "WEBP")), "cannot be read as an image"),
    ("SVG beside", pairs(lambda f: put(f, "images/11.svg", b"<svg/>")), "error: .*11.svg: not an image file"),
    (
        "declares 10 gigapixels",
        pairs(lambda f: make_bomb(f / "images" / "3.png")),
        "error: .*3.png: declares more than 89478485 pixels",
    ),
    (
        "GIF of two pictures",
        content(as_bytes(GREY, "GIF", save_all=True, append_images=[GREY.rotate(90)])),
        "error: .*holds 2 pages",
    ),
    (
        "TIFF of two pages",
        content(as_bytes(GREY, "TIFF", save_all=True, append_images=[GREY])),
        "error: .*holds 2 pages",
    ),
    (
        "broken link",
        pairs(lambda f: ((f / "images/3.png").unlink(), (f / "images/3.png").symlink_to("gone"))),
        "error: .*a broken link",
    ),
    (
        "folder called x.png",
        pairs(lambda f: ((f / "images/3.png").unlink(), (f / "images/3.png").mkdir())),
        "error: .*3.png: a folder",
    ),
    (
        "link to /dev/zero",
        pairs(lambda f: ((f / "images/3.png").unlink(), (f / "images/3.png").symlink_to("/dev/zero"))),
        "error: .*3.png",
    ),
    ("skipped", pairs(lambda f: cut(f / "images" / "3.png")), "looked at 9 of 10", {"skip_bad_files": True}),
    (
        "all are bad",
        pairs(lambda f: [cut(p) for p in (f / "images").iterdir()]),
        "error: .*none of its 10 images could be read",
        {"skip_bad_files": True},
    ),
    # kinds of pixels
    ("colour among grey", image(np.asarray(RGB.rotate(90))), "error: .*3.png: 8-bit colour, but .* is 8-bit grey"),
    ("16 bits among 8", image(draw(3, 65535, np.uint16)), "error: .*16-bit grey, but"),
    (
        "16-bit colour",
        image(np.stack([draw(i, 65535, np.uint16) for i in range(3)], -1), ending="tif"),
        "error: .*16-bit colour",
    ),
    (
        "CMYK",
        pairs(
            lambda f: [
                put(f, f"images/{i}.png", as_bytes(RGB.convert("CMYK").rotate(9 * i), "TIFF")) for i in range(10)
            ]
        ),
        "8-bit colour",
    ),
    (
        "palettes",
        pairs(lambda f: [put(f, f"images/{i}.png", as_bytes(RGB.rotate(9 * i).quantize(8), "PNG")) for i in range(10)]),
        "8-bit grey",
    ),
    ("bits", images(lambda i: draw(i) > 127), "pixels are 0 to 255"),
    (
        "one pixel",
        pairs(lambda f: [rewrite(f, p, 3, np.uint8([[255]])) for p in ("images", "masks")]),
        "warning: .*1 of 10 images have one value",
    ),
    (
        "turned by the camera",
        content(
            as_bytes(GREY, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0")
        ),
        "looked at 10 of 10",
    ),
    (
        "several sizes",
        pairs(lambda f: [rewrite(f, p, 3, np.tile(a, (2, 1))) for p, a in (("images", draw(3)), ("masks", bar(3)))]),
        "2 sizes from 32x32 to 32x64",
    ),
    (
        "NaN",
        image(np.full((32, 32), np.nan, np.float32), ending="tif"),
        "error: .*3.tif: some pixels are infinite or no numbers",
    ),
    ("complex", image(draw(3).astype(np.complex64), ending="tif"), "error: .*cannot be read as an image"),
    ("volume", image(np.stack([draw(i) for i in range(9)]), ending="tif"), "error: .*holds 9 pages"),
    # ranges
    ("10 bits in 16", images(lambda i: draw(i, 1000, np.uint16)), "0 to 1023 becomes 0 to 65535: all times 64.06"),
    ("12 bits in 16", images(lambda i: draw(i, 4000, np.uint16)), "0 to 4095 becomes 0 to 65535: all times 16"),
    ("8 bits in 16", images(lambda i: draw(i, 250, np.uint16)), "all times 257"),
    ("fractions", images(lambda i: draw(i, 1, np.float32), ending="tif"), r"all times 6.554e\+04"),
    (
        "Hounsfield units",
        images(lambda i: draw(i, 3000, np.int16) - 1000, ending="tif"),
        "-1000 to 2000 becomes 0 to 65535",
    ),
    ("32 bits", images(lambda i: draw(i, 10**6, np.int32), ending="tif"), r"0 to 1e\+06 becomes 0 to 65535"),
    (
        "a dark image",
        pairs(lambda f: rewrite(f, "images", 3, draw(3, 9))),
        "warning: .*1 of 10 images keep to the darkest",
    ),
    ("all are dark", images(lambda i: draw(i, 9)), "0 to 15 becomes 0 to 255: all times 17"),
    (
        "dead pixels",
        images(lambda i: np.where(X + Y == 0, 65535, draw(i, 4000, np.uint16)).astype(np.uint16)),
        "warning: .*few others reach from 0 to 65535",
    ),
    # no content
    (
        "a black image",
        image(np.zeros((32, 32), np.uint8)),
        r"warning: .*1 of 10 images have one value throughout \(images/3.png\)",
    ),
    ("all are black", images(lambda i: np.zeros((32, 32), np.uint8)), "error: .*all 10 images have one value"),
    (
        "a speck",
        image(np.where(X == 0, 200, 0).astype(np.uint8) * (np.arange(32)[:, None] == 0).astype(np.uint8)),
        "warning: .*1 of 10 images have one value but for a thousandth",
    ),
    (
        "an empty mask",
        mask(np.zeros((32, 32), np.uint8)),
        r"warning: .*1 of 10 masks have no foreground \(masks/3.png\)",
    ),
    ("a full mask", mask(np.full((32, 32), 255, np.uint8)), "warning: .*1 of 10 masks are all foreground"),
    ("all masks empty", masks(lambda i: np.zeros((32, 32), np.uint8)), "error: .*all 10 masks are empty or full"),
    ("all masks full", masks(lambda i: np.full((32, 32), 255, np.uint8)), "error: .*all 10 masks are empty or full"),
    # masks
    ("three levels", mask((X // 12 * 100).astype(np.uint8)), "error: .*a mask with 3 levels"),
    (
        "blurred by JPEG",
        pairs(lambda f: rewrite(f, "masks", 3, (bar(3) * 255).astype(np.uint8), "jpg")),
        "error: .*JPEG blurs masks",
    ),
    ("coloured", mask(np.stack([bar(3), bar(3), ~bar(3)], -1).astype(np.uint8) * 255), "85 and 170 in 1 files"),
    ("red on black", masks(lambda i: np.stack([bar(i), 0 * X, 0 * X], -1).astype(np.uint8) * 255), "levels 0 and 85;"),
    ("0 and 1", masks(lambda i: bar(i).astype(np.uint8)), "levels 0 and 1;"),
    ("0 and 1 in one", mask(bar(3).astype(np.uint8)), "0 and 1 in 1 files"),
    ("a level of 7", mask(np.full((32, 32), 7, np.uint8)), "error: .*the single level 7"),
    ("other size", mask(np.tile(bar(3), (2, 2))), "error: .*has 64x64 pixels"),
    (
        "inside out",
        masks(lambda i: ~bar(i)),
        "warning: .*10 of 10 masks have most of the picture.*--mask_foreground=dark",
    ),
    (
        "half inside out",
        masks(lambda i: bar(i) ^ (i % 2 == 0)),
        "error: .*5 of 10 masks have most of the picture as foreground",
    ),
    ("said to be dark", masks(lambda i: ~bar(i)), "the darker, foreground, covers 18.8%", {"mask_foreground": "dark"}),
    ("bool TIFF", masks(lambda i: bar(i), ending="tif"), "warning: .*10 TIFF masks say that 0 is white"),
    (
        "0 is white",
        masks(lambda i: bar(i).astype(np.uint8) * 255, ending="tif", photometric="miniswhite"),
        "warning: .*10 TIFF masks say that 0 is white",
    ),
    ("float masks", masks(lambda i: bar(i).astype(np.float32), ending="tif"), "levels 0 and 1;"),
    ("missing", pairs(lambda f: (f / "masks/3.png").unlink()), "error: .*images/3.png: has no mask"),
    ("of no image", pairs(lambda f: (f / "images/3.png").unlink()), "error: .*masks/3.png: has no image"),
    ("two of one image", pairs(lambda f: shutil.copy(f / "masks/3.png", f / "masks/3.tif")), "error: .*same stem"),
    (
        "two images of one name",
        pairs(lambda f: shutil.copy(f / "images/3.png", f / "images/3.bmp")),
        "error: .*same stem",
    ),
    (
        "field of view of one",
        pairs(lambda f: put(f, "fov/3.png", as_bytes(GREY.convert("1"), "PNG"))),
        "error: .*has no field of view",
    ),
    # names and layouts
    (
        "capital endings",
        pairs(lambda f: [p.rename(p.with_suffix(".PNG")) for p in (f / "images").iterdir()]),
        "foreground, covers 18.8%",
    ),
    (
        "capital folders",
        pairs(lambda f: [(f / n).rename(f / n.title()) for n in ("images", "masks")]),
        "foreground, covers 18.8%",
    ),
    ("images and labels", pairs(lambda f: (f / "masks").rename(f / "labels")), "foreground, covers 18.8%"),
    (
        "img and gt",
        pairs(lambda f: ((f / "images").rename(f / "img"), (f / "masks").rename(f / "gt"))),
        "foreground, covers 18.8%",
    ),
    ("1st_manual", pairs(lambda f: (f / "masks").rename(f / "1st_manual")), "foreground, covers 18.8%"),
    ("_mask", rename_masks("{}_mask"), "foreground, covers 18.8%"),
    ("_segmentation", rename_masks("{}_segmentation"), "foreground, covers 18.8%"),
    ("mask_", rename_masks("mask_{}"), "foreground, covers 18.8%"),
    (
        "a line break in a name",
        pairs(lambda f: [(f / n / "3.png").rename(f / n / "3\n.png") for n in ("images", "masks")]),
        "foreground, covers 18.8%",
    ),
    (
        "an escape in a name",
        pairs(lambda f: cut((f / "images/3.png").rename(f / "images/\x1b[2J.png"))),
        r"error: .*\\x1b\[2J.png",
    ),
    (
        "bytes that are no text",
        pairs(lambda f: (f / "images/3.png").rename((f / "images").as_posix() + "/\udcff.png")),
        "error: .*masks/3.png: has no image",
    ),
    (
        "accents composed and not",
        pairs(
            lambda f: (
                (f / "images/3.png").rename(f / "images/\u00e9.png"),
                (f / "masks/3.png").rename(f / "masks/e\u0301.png"),
            )
        ),
        "foreground, covers 18.8%",
    ),
    (
        "spaces",
        pairs(lambda f: [(f / n / "3.png").rename(f / n / " 3 .png") for n in ("images", "masks")]),
        "foreground, covers 18.8%",
    ),
    (
        "system files",
        pairs(lambda f: [put(f, p) for p in ("images/Thumbs.db", "images/.DS_Store", "__MACOSX/a.png", "desktop.ini")]),
        "foreground, covers 18.8%",
    ),
    ("a set within", lambda f: make_pairs(f / "my" / "set"), "error: .*has no images/"),
    ("nothing", lambda f: f.mkdir(parents=True), "error: .*has no images/"),
    ("one pair", lambda f: make_pairs(f, 1), "warning: .*no test images"),
    ("four pairs", lambda f: make_pairs(f, 4), "warning: .*no test images.*--holdout=N"),
    (
        "a pair twice",
        pairs(lambda f: [shutil.copy(f / n / "3.png", f / n / "33.png") for n in ("images", "masks")]),
        "1 images repeat another one, 1 of them in training and test",
    ),
    (
        "images in train/ again in test/",
        lambda f: (make_pairs(f / "train"), make_pairs(f / "test", 4)),
        "4 images repeat another one, 4 of them",
    ),
    (
        "test/ without masks",
        lambda f: (make_pairs(f / "train"), make_pairs(f / "test"), shutil.rmtree(f / "test/masks")),
        "warning: .*test images without masks",
    ),
    ("images/ and train/", pairs(lambda f: make_pairs(f / "train")), "error: .*has images/ and also train/"),
    ("images alone", pairs(lambda f: shutil.rmtree(f / "masks")), "content  0 images of one value$"),
    ("masks alone", pairs(lambda f: shutil.rmtree(f / "images")), "error: .*has no images/"),
    ("images/ empty", pairs(lambda f: [p.unlink() for p in (f / "images").iterdir()]), "error: .*holds no image"),
    ("too much held out", make_pairs, "error: --holdout=10: allowed are 1 to 9", {"holdout": 10}),
    # classes
    (
        "class of one image",
        classes(lambda f: put(f, "c/1.png", as_bytes(GREY.rotate(180), "PNG"))),
        r"warning: .*1 classes have no test images \(c\)",
    ),
    ("empty class", classes(lambda f: (f / "c").mkdir()), "error: .*a class without images"),
    ("one class", classes(lambda f: shutil.rmtree(f / "b")), "looked at 5 of 5"),
    (
        "test/ without a class",
        lambda f: (make_classes(f / "train"), make_classes(f / "test"), shutil.rmtree(f / "test/b")),
        r"warning: .*1 classes have no test images \(b\)",
    ),
    (
        "class of test/ alone",
        lambda f: (make_classes(f / "train"), make_classes(f / "test"), (f / "test/b").rename(f / "test/c")),
        "error: .*'c' has test images but no training images",
    ),
    (
        "images beside classes",
        classes(lambda f: put(f, "x.png", as_bytes(GREY, "PNG"))),
        "warning: .*1 images lie beside",
    ),
    (
        "masks among classes",
        classes(lambda f: [shutil.copy(p, p.with_stem(p.stem + "_mask")) for p in [*f.glob("*/*")]]),
        "warning: .*10 files among the images of classes are named as masks",
    ),
    (
        "an image in two classes",
        classes(lambda f: shutil.copy(f / "a/0.png", f / "b/00.png")),
        "1 images repeat another one",
    ),
    (
        "folder a patient",
        lambda f: [put(f, f"patient{i}/{i}.png", as_bytes(Image.fromarray(draw(i)), "PNG")) for i in range(10)],
        "warning: .*10 sub-folders are taken for classes and called as patients",
    ),
    ("a line break in a class", classes(lambda f: (f / "b").rename(f / "b\nc")), r"error: .*the class 'b\\nc'"),
    # tables
    ("patients", table(rows()), "groups   5, by 'patient'", LABELS),
    ("semicolons", table(text=TABLE.replace(",", ";")), "groups   5, by 'patient'", LABELS),
    ("tabs", table(text=TABLE.replace(",", "\t"), name="t.tsv"), "groups   5, by 'patient'", LABELS),
    ("sep=;", table(text="sep=;\n" + TABLE.replace(",", ";")), "groups   5, by 'patient'", LABELS),
    ("carriage returns", table(text=TABLE.replace("\n", "\r")), "groups   5, by 'patient'", LABELS),
    ("UTF-16", table(text=TABLE.encode("utf-16")), "groups   5, by 'patient'", LABELS),
    ("NUL", table(text=TABLE.replace("p3", "p\0")), "error: .*NUL", LABELS),
    ("Latin-1", table(text=TABLE.replace("p3", "p\u00e9").encode("latin-1")), "error: .*not written in UTF-8", LABELS),
    ("no rows", table(text="file,label\n"), "error: .*none of its columns", LABELS),
    ("empty table", table(text=""), "error: .*none of its columns", LABELS),
    ("a row too many", table(rows(("99.png", "a", "p"))), "error: .*line 12: no image '99.png'", LABELS),
    ("a row twice", table(rows(("3.png", "a", "p3"))), "error: .*line 12: names '3.png' for the second time", LABELS),
    ("a row too few", table(rows(count=9)), "error: .*9.png: has no row", LABELS),
    (
        "headings twice",
        table(rows(heading=("file", "label", "label"))),
        "error: .*two columns are called 'label'",
        LABELS,
    ),
    (
        "more cells than headings",
        table(text=TABLE + ",x,y"),
        "error: .*line 11: 'x' stands beyond its 3 columns",
        LABELS,
    ),
    (
        "a cell of no patient",
        table(rows()[:-1] + [("9.png", "b", "")]),
        "warning: .*1 of 10 images have no patient",
        LABELS,
    ),
    (
        "a cell of no class",
        table(rows()[:-1] + [("9.png", "", "p4")]),
        "warning: .*1 of 10 images are in no class",
        LABELS,
    ),
    ("no such column", table(rows()), "error: --labels=grade: .*no such column", {"labels": "grade"}),
    (
        "Patientennummer",
        table(rows(heading=("Datei", "label", "Patientennummer"))),
        "groups   5, by 'Patientennummer'",
        LABELS,
    ),
    (
        "a column that may be patients",
        table(rows(heading=("file", "label", "who"))),
        "warning: .*'who' repeats.*--group_column=who",
        LABELS,
    ),
    ("named", table(rows(heading=("file", "label", "who"))), "groups   5, by 'who'", LABELS | {"group_column": "who"}),
    ("none", table(rows()), "each image alone", LABELS | {"group_column": "none"}),
    (
        "a patient in train and test",
        table([(*r, s) for r, s in zip(rows(), ["split", *["train", "test"] * 5], strict=True)]),
        "error: .*its group 'p0' is in train and in test",
        LABELS,
    ),
    (
        "odd split",
        table([(*r, s) for r, s in zip(rows(), ["split", *["learn"] * 10], strict=True)]),
        "error: .*line 2: split is 'learn'",
        LABELS,
    ),
    ("a formula", table(rows()[:-1] + [("9.png", "=cmd|' /C calc'!A0", "p4")]), "without test images: =cmd", LABELS),
    (
        "path that climbs out",
        table(rows()[:-1] + [("../../etc/passwd", "a", "p4")]),
        r"error: .*line 11: no image '\.\./\.\./etc/passwd'",
        LABELS,
    ),
    (
        "Excel workbook",
        lambda f: (make_labelled(f, rows()), put(f, "labels.xlsx", b"PK\3\4")),
        "warning: .*1 spreadsheets are not read",
        LABELS,
    ),
    (
        "two tables",
        lambda f: (make_labelled(f, rows()), put(f, "more.csv", TABLE.encode())),
        "error: .*one CSV table of labels is needed",
        LABELS,
    ),
    # DICOM
    ("DICOM", make_dicom, "pixels are 0 to 65535 of 65535"),
    (
        "window that clips all",
        lambda f: make_dicom(f, setter(WindowCenter=20, WindowWidth=10)),
        "warning: .*10 DICOM windows clip nearly all pixels",
    ),
    (
        "window of width 0",
        lambda f: make_dicom(f, setter(WindowCenter=20, WindowWidth=0)),
        "pixels are 0 to 65535 of 65535",
    ),
    (
        "window of words",
        lambda f: make_dicom(f, setter(WindowCenter=["2000", "100"], WindowWidth=["4000", "50"])),
        "16-bit grey",
    ),
    (
        "too many bits stored",
        lambda f: make_dicom(f, setter(BitsStored=16, HighBit=15)),
        "0 to 4095 becomes 0 to 65535: all times 16",
    ),
    (
        "too few bits stored",
        lambda f: make_dicom(f, setter(BitsStored=8, HighBit=7)),
        "warning: .*10 DICOM files hold more than their BitsStored",
    ),
    (
        "empty tags",
        lambda f: make_dicom(f, setter(RescaleSlope=None, RescaleIntercept=None, WindowCenter=None)),
        "pixels are 0 to 65535 of 65535",
    ),
    (
        "white is 0",
        lambda f: make_dicom(f, setter(PhotometricInterpretation="MONOCHROME1")),
        "pixels are 0 to 65535 of 65535",
    ),
    (
        "some white is 0",
        lambda f: make_dicom(f, lambda d, i: setter(PhotometricInterpretation=f"MONOCHROME{1 + i % 2}")(d, i)),
        "pixels are 0 to 65535 of 65535",
    ),
    ("pixels cut short", lambda f: make_dicom(f, setter(Rows=64)), "error: .*cannot be read as DICOM"),
    ("no pixels", lambda f: make_dicom(f, lambda d, i: delattr(d, "PixelData")), "error: .*cannot be read as DICOM"),
    ("absurd size", lambda f: make_dicom(f, setter(Rows=65535, Columns=65535)), "error: .*declares 4294836225 pixels"),
    ("several frames", lambda f: make_dicom(f, setter(NumberOfFrames=2, Rows=16)), "error: .*2 frames"),
    (
        "patients in DICOM",
        lambda f: make_dicom(f, lambda d, i: setter(PatientID=f"P{i // 2}")(d, i)),
        "groups   5, by 'DICOM PatientID'",
    ),
]


def tell(folder, options):
    """All that is told of a set: the look, warnings, or the error; what else happens is a fault."""
    stream, told = io.StringIO(), []
    with warnings.catch_warnings(record=True) as caught, pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("always")
        patch.setattr("sys.stdout", stream)
        try:
            prepare(str(folder), str(folder), (64, 64), out_dir=str(folder.parent / "out"), dry_run=True, **options)
        except InputError as error:
            told = [f"error: {error}"]
    return [*stream.getvalue().splitlines(), *(f"warning: {each.message}" for each in caught), *told]


@pytest.mark.parametrize(
    ("name", "build", "says", "options"), [(*row, {})[:4] for row in ODD], ids=[row[0] for row in ODD]
)
def test_an_odd_set_is_told_of(tmp_path, name, build, says, options):
    build(tmp_path / "set")
    told = tell(tmp_path / "set", options)
    assert all(line.isprintable() for line in told)
    assert any(re.search(says, line) for line in told), "\n".join(told)
