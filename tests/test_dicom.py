"""DICOM files made by pydicom, against the closed forms of DICOM PS3.3 C.11."""

import importlib.util
import io
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthmed_tf import settings
from synthmed_tf.datasets.load import load_samples
from synthmed_tf.datasets.prepare import prepare
from synthmed_tf.images.decode import read_image, read_picture
from synthmed_tf.images.pixel_range import UNFIT_BITS, UNUSED_WINDOW, bring_to_range
from synthmed_tf.records.read import Records
from synthmed_tf.sample import InputError, UnreadableImage

pydicom = pytest.importorskip("pydicom")

NAME = "DOE^JOHN"
TRACES = NAME.encode(), b"PID-4711", b"19700101"  # long enough not to be among weights by chance
STORED = np.arange(48, dtype=np.uint16).reshape(6, 8) * 85  # 0 to 3995, 12 bits


def make(path, stored=STORED, bits=12, photometric="MONOCHROME2", tags=None, **more):
    """A file of 16 bits allocated, uncompressed unless tags say otherwise."""
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = pydicom.uid.DigitalXRayImageStorageForPresentation
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3.4"
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = NAME, "PID-4711", "19700101"
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, photometric
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 * stored.itemsize, bits, bits - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    dataset.add_new("PixelData", "OW", stored.tobytes())
    for tag, value in ((tags or {}) | more).items():
        dataset.add_new(tag, "US", value) if isinstance(tag, int) else setattr(dataset, tag, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def read(path):
    """Reads with no warning; 16 bits, one channel."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = read_image(path)
    assert image.dtype == np.uint16 and image.shape[2:] == (1,)
    return image[..., 0]


def window(values, center, width):
    """PS3.3 C.11.2.1.2.1, to 0..65535."""
    return np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1) * 65535


def same(image, expected):
    np.testing.assert_allclose(image, expected, atol=0.51)  # rounded


def test_the_range_of_the_bits_stored_is_stretched_to_16_bits(tmp_path):
    same(read(make(tmp_path / "a.dcm")), STORED * 65535.0 / 4095)
    same(read(make(tmp_path / "b.dcm", STORED, 16)), STORED)
    same(read(make(tmp_path / "c.dcm", (STORED % 256).astype(np.uint8), 8)), STORED % 256 * 257)
    signed = (STORED.astype(np.int16) - 2000).clip(-2048, 2047)
    same(read(make(tmp_path / "d.DCM", signed)), (signed + 2048) * 65535.0 / 4095)


def test_monochrome1_is_inverted(tmp_path):
    same(read(make(tmp_path / "a.dcm", photometric="MONOCHROME1")), 65535 - STORED * 65535.0 / 4095)
    shown = read(make(tmp_path / "b.dcm", photometric="MONOCHROME1", WindowCenter=2000, WindowWidth=1000))
    same(shown, 65535 - window(STORED, 2000, 1000))


def test_window_after_slope_and_intercept(tmp_path):
    tags = {"RescaleSlope": 2, "RescaleIntercept": -1000}
    same(read(make(tmp_path / "a.dcm", **tags)), STORED * 65535.0 / 4095)  # a slope alone changes nothing
    same(read(make(tmp_path / "b.dcm", WindowCenter=0, WindowWidth=3000, **tags)), window(STORED * 2.0 - 1000, 0, 3000))
    falling = read(make(tmp_path / "c.dcm", WindowCenter=-2000, WindowWidth=1500, RescaleSlope=-1, RescaleIntercept=0))
    same(falling, window(-1.0 * STORED, -2000, 1500))
    several = read(make(tmp_path / "d.dcm", WindowCenter=[1500, 9], WindowWidth=[900, 9]))
    same(several, window(STORED, 1500, 900))  # the first
    sigmoid = read(make(tmp_path / "e.dcm", WindowCenter=1500, WindowWidth=900, VOILUTFunction="SIGMOID"))
    same(sigmoid, 65535 / (1 + np.exp(-4 * (STORED - 1500.0) / 900)))


@pytest.mark.parametrize(
    "tags",
    [
        {"WindowCenter": "nan", "WindowWidth": 900},
        {"WindowCenter": 1500, "WindowWidth": "inf"},
        {"WindowCenter": 1500, "WindowWidth": 0},
        {"WindowCenter": 1500, "WindowWidth": -900, "VOILUTFunction": "SIGMOID"},
        {"WindowCenter": 1500, "WindowWidth": 900, "VOILUTFunction": "CUBIC"},
    ],
)
def test_a_window_that_makes_no_sense_is_none(tmp_path, tags):
    same(read(make(tmp_path / "a.dcm", **tags)), STORED * 65535.0 / 4095)


FILM = STORED // 2 + 600
DEEP = STORED * np.uint16(2)  # 0 to 7990, 13 bits


@pytest.mark.parametrize(
    "stored, bits, tags, expected, note",
    [
        (FILM, 12, {"WindowCenter": 127, "WindowWidth": 255}, FILM * 65535.0 / 4095, UNUSED_WINDOW),
        (FILM, 12, {"WindowCenter": 9000, "WindowWidth": 255}, FILM * 65535.0 / 4095, UNUSED_WINDOW),
        (
            FILM,
            12,
            {"WindowCenter": 127, "WindowWidth": 255, "VOILUTFunction": "SIGMOID"},
            FILM * 65535.0 / 4095,
            UNUSED_WINDOW,
        ),
        (
            FILM,
            12,
            {"WindowCenter": [127, 2000], "WindowWidth": [255, 4000]},
            window(FILM, 2000, 4000),
            None,
        ),
        (STORED, 12, {"WindowCenter": 2000, "WindowWidth": 500}, window(STORED, 2000, 500), None),  # clips 7 of 8
        (DEEP, 12, {}, DEEP, UNFIT_BITS),
        (DEEP, 8, {}, DEEP, UNFIT_BITS),
        (DEEP, 12, {0x60000102: 13}, DEEP % 4096 * 65535.0 / 4095, None),  # an overlay in the other bits
        (np.array([[0, 4095, 2048]], np.int16), 12, {}, np.array([[2048, 2047, 0]]) * 65535.0 / 4095, None),  # 0, -1
        (DEEP.astype(np.int16) - 4000, 12, {}, DEEP + 28768.0, UNFIT_BITS),
    ],
)
def test_windows_and_bits_that_do_not_fit_the_pixels(tmp_path, stored, bits, tags, expected, note):
    make(tmp_path / "a.dcm", stored, bits, tags=tags)
    same(read(tmp_path / "a.dcm"), expected)
    assert read_picture(tmp_path / "a.dcm").note == note


@pytest.mark.parametrize(
    "tags",
    [
        {"RescaleSlope": None, "RescaleIntercept": None},
        {"RescaleSlope": 1, "RescaleIntercept": None},
        {"WindowCenter": None, "WindowWidth": None},
        {"WindowCenter": 127, "WindowWidth": None},
        {"WindowCenter": None, "WindowWidth": 255},
        {"PhotometricInterpretation": None},
        {"SamplesPerPixel": None, "NumberOfFrames": None, "PlanarConfiguration": None},
        {"PixelRepresentation": None, "HighBit": None},
        {"BitsAllocated": None},
        {"VOILUTFunction": None, "VOILUTSequence": None, "ModalityLUTSequence": None},
    ],
)
def test_an_empty_tag_is_as_if_it_were_not_there(tmp_path, tags):
    same(read(make(tmp_path / "a.dcm", **tags)), STORED * 65535.0 / 4095)


def test_a_slope_or_an_intercept_alone(tmp_path):
    tags = {"WindowCenter": 1000, "WindowWidth": 4000}
    same(
        read(make(tmp_path / "a.dcm", RescaleSlope=2, RescaleIntercept=None, **tags)), window(STORED * 2.0, 1000, 4000)
    )
    same(read(make(tmp_path / "b.dcm", RescaleIntercept=-500, **tags)), window(STORED - 500.0, 1000, 4000))


def test_bits_stored_that_are_empty_are_those_allocated(tmp_path):
    same(read(make(tmp_path / "a.dcm", BitsStored=None, HighBit=None)), STORED)


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL", None])
def test_colour(tmp_path, photometric, planar):
    colours = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    coded = np.asarray(Image.fromarray(colours).convert("YCbCr")) if photometric == "YBR_FULL" else colours
    data = np.moveaxis(coded, -1, 0) if planar else coded
    tags = {"SamplesPerPixel": 3, "PlanarConfiguration": planar, "PixelData": data.tobytes()}
    make(tmp_path / "a.dcm", colours[..., 0], 8, photometric, **tags)
    image = read_image(tmp_path / "a.dcm")
    assert image.shape == (6, 8, 3) and image.dtype == np.uint8
    np.testing.assert_allclose(image.astype(int), colours, atol=3 if photometric == "YBR_FULL" else 0)


@pytest.mark.parametrize("bits", [8, 16])
def test_palette(tmp_path, bits):
    index = (np.arange(48) % 4).astype(np.uint8).reshape(6, 8)
    palette = np.array([[0, 0, 0], [255, 0, 0], [10, 200, 30], [255, 255, 255]], f"<u{bits // 8}")
    tags = {}
    for channel, name in enumerate(("Red", "Green", "Blue")):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [4, 0, bits]
        tags[f"{name}PaletteColorLookupTableData"] = (palette[:, channel] * (257 if bits == 16 else 1)).tobytes()
    make(tmp_path / "a.dcm", index, 8, "PALETTE COLOR", **tags)
    assert (read_image(tmp_path / "a.dcm") == palette.astype(np.uint8)[index]).all()


def test_without_a_window_monochrome1_is_inverted_within_the_range_of_the_set(tmp_path):
    picture = read_picture(make(tmp_path / "a.dcm", STORED, 16, "MONOCHROME1"))
    assert picture.is_inverted
    same(bring_to_range(picture, (0, 4095))[..., 0], 65535 - STORED * 65535.0 / 4095)


def test_table_of_interest(tmp_path):
    table = pydicom.Dataset()
    table.add_new("LUTDescriptor", "US", [4096, 0, 16])
    table.add_new("LUTData", "OW", (65535 - np.arange(4096) * 16).astype("<u2").tobytes())
    same(read(make(tmp_path / "a.dcm", VOILUTSequence=[table])), 65535 - STORED * 16.0)


def test_compressed_files(tmp_path, monkeypatch):
    def compressed(name, uid, data):
        dataset = pydicom.dcmread(make(tmp_path / name, (STORED % 256).astype(np.uint8), 8))
        dataset.file_meta.TransferSyntaxUID = uid
        dataset.PixelData = pydicom.encaps.encapsulate([data])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        dataset.save_as(tmp_path / name)
        return tmp_path / name

    dataset = pydicom.dcmread(make(tmp_path / "rle.dcm"))
    dataset.compress(pydicom.uid.RLELossless)
    dataset.save_as(tmp_path / "rle.dcm")
    same(read(tmp_path / "rle.dcm"), STORED * 65535.0 / 4095)
    with pytest.raises(InputError, match="JPEG Lossless.*no decoder is installed") as caught:
        read(compressed("lossless.dcm", pydicom.uid.JPEGLosslessSV1, b"\xff\xd8\xff\xd9"))
    assert "\n" not in str(caught.value)
    jpeg = io.BytesIO()
    Image.new("L", (120, 90)).save(jpeg, "JPEG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 8000)
    with pytest.raises(UnreadableImage, match="decompression bomb"):  # 10800 pixels that claim to be 6x8
        read(compressed("bomb.dcm", pydicom.uid.JPEGBaseline8Bit, jpeg.getvalue()))


@pytest.mark.parametrize(
    "tags, says",
    [
        ({"NumberOfFrames": 2, "PixelData": STORED.tobytes() * 2}, "2 frames"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "3 channels, 16 bits, 'RGB'"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "BitsAllocated": 8}, "cannot be read as DICOM"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "No suitable Palette"),
        ({"PhotometricInterpretation": "TRANSPARENCY"}, "'TRANSPARENCY'"),
        ({"Rows": 60_000, "Columns": 60_000}, "declares 3600000000 pixels"),
        ({"Rows": 60, "Columns": 80}, "cannot be read as DICOM"),
        ({"BitsAllocated": 32}, "32 bits"),
        ({"RescaleSlope": 0, "RescaleIntercept": 0}, "RescaleSlope is 0"),
        ({"PixelData": STORED.tobytes() * 2}, "cannot be read as DICOM"),
    ],
)
def test_unsupported_and_hostile_tags(tmp_path, tags, says):
    make(tmp_path / "a.dcm", **tags)
    with pytest.raises(InputError, match=says) as caught:
        read(tmp_path / "a.dcm")
    assert str(caught.value).startswith(str(tmp_path / "a.dcm")) and "\n" not in str(caught.value)
    assert NAME not in str(caught.value)


def test_truncated_damaged_and_missing_files(tmp_path):
    content = make(tmp_path / "a.dcm").read_bytes()
    for length in (0, 3, 140, 300, len(content) - 1):
        (tmp_path / "a.dcm").write_bytes(content[:length])
        with pytest.raises(UnreadableImage, match="--skip_bad_files"):
            read(tmp_path / "a.dcm")
    rng = np.random.default_rng(0)
    for _ in range(40):  # whatever the damage: an image or an InputError of one line, nothing else, no warning
        damaged = bytearray(content)
        for place in rng.integers(128, len(content), 6):
            damaged[place] = rng.integers(0, 256)
        (tmp_path / "a.dcm").write_bytes(damaged)
        try:
            read(tmp_path / "a.dcm")
        except InputError as error:
            assert "\n" not in str(error) and NAME not in str(error)
    with pytest.raises(UnreadableImage, match="No such file"):
        read(tmp_path / "missing.dcm")
    deflated = pydicom.dcmread(make(tmp_path / "b.dcm"))
    deflated.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    deflated.save_as(tmp_path / "b.dcm")
    with pytest.raises(UnreadableImage, match="deflated"):
        read(tmp_path / "b.dcm")


def test_files_with_writing_in_them_are_counted_in_one_warning(tmp_path):
    rng = np.random.default_rng(0)
    for name, says in (("a/1", "YES"), ("a/2", "NO"), ("b/1", "yes"), ("b/2", "")):
        (tmp_path / name[0]).mkdir(exist_ok=True)
        stored = rng.integers(0, 4096, (8, 8)).astype(np.uint16)
        make(tmp_path / f"{name}.dcm", stored, **({"BurnedInAnnotation": says} if says else {}))
    with pytest.warns(UserWarning) as caught:
        assert len(list(load_samples(str(tmp_path), ""))) == 4
    (said,) = [str(each.message) for each in caught if "writing" in str(each.message)]
    assert "2 DICOM files" in said and "a/1.dcm" in said and "b/1.dcm" in said


def test_without_pydicom(tmp_path, monkeypatch):
    make(tmp_path / "a.dcm")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(InputError, match=r"pip install synthmed_tf\[dicom\]"):
        read_image(tmp_path / "a.dcm")


def test_16_bit_files_become_16_bit_records_without_a_trace_of_the_patient(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "own" / "masks").mkdir(parents=True)
    (tmp_path / "own" / "images").mkdir()
    for stem in "abcde":
        make(tmp_path / "own" / "images" / f"{stem}.dcm", rng.integers(0, 4096, (64, 64)).astype(np.uint16))
        Image.fromarray(rng.integers(0, 2, (64, 64)).astype(np.uint8) * 255).save(
            tmp_path / "own" / "masks" / f"{stem}.png"
        )
    assert NAME.encode() in (tmp_path / "own" / "images" / "a.dcm").read_bytes()
    folder = prepare(str(tmp_path / "own"), tmp_path / "data", (64, 64), out_dir=tmp_path / "out")
    for sample in Records(folder):
        stored = pydicom.dcmread(tmp_path / "own" / "images" / f"{sample.id}.dcm").pixel_array
        assert sample.image.dtype == np.uint16
        same(sample.image[..., 0], stored * 65535.0 / 4095)
    written = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert len(written) > 3
    for path in written:
        assert not any(trace in path.read_bytes() for trace in TRACES)


def test_a_synthetic_set_of_dicom_files_has_16_bits_and_no_trace_of_a_patient(tmp_path, eagerly):
    rng = np.random.default_rng(0)
    for name in ("sick", "well"):
        (tmp_path / "own" / name).mkdir(parents=True)
        for stem in "abcdefgh":
            make(tmp_path / "own" / name / f"{name}_{stem}.dcm", rng.integers(0, 4096, (32, 32)).astype(np.uint16))
    spec = importlib.util.spec_from_file_location("script", Path(__file__).parent.parent / "train_stage1.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    words = [
        f"--data={tmp_path / 'own'}",
        f"--data_dir={tmp_path / 'data'}",
        f"--out_dir={tmp_path / 'out'}",
        *("--target=image", "--model=pggan", "--batch_size=4", "--steps=6", "--level_images=8"),
        *("--width=0.016", "--latent=4"),
    ]
    flags = settings.parse("", script.FLAGS, ["train_stage1.py", *words])
    flags.image_size = 16, 16
    script.main(flags)
    made = Records(tmp_path / "out" / "synthetic")
    assert len(made) >= 12 and {sample.label for sample in made} == {"sick", "well"}
    assert all(sample.image.dtype == np.uint16 for sample in made)
    pictures = sorted((tmp_path / "out" / "synthetic" / "png").rglob("*.png"))
    assert pictures and np.asarray(Image.open(pictures[0])).dtype == np.uint16
    written = [path for base in ("data", "out") for path in (tmp_path / base).rglob("*") if path.is_file()]
    assert len(written) > 20
    for path in written:
        assert not any(trace in path.read_bytes() for trace in TRACES), path
