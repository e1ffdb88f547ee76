import itertools
import warnings

import numpy as np
import pytest
from PIL import Image

from synthmed_tf.datasets.load import load_samples
from synthmed_tf.datasets.prepare import prepare
from synthmed_tf.datasets.sources import check_set
from synthmed_tf.images import lungs as module
from synthmed_tf.images.decode import read_image
from synthmed_tf.images.lungs import HIGH, LOW, SIDE, draw_hull, draw_hull_sheet, find_lung_hull, normalise_by_lungs
from synthmed_tf.records.manifest import read_manifest
from synthmed_tf.records.read import Records
from synthmed_tf.sample import InputError


def made_chest(height=200, width=180, dtype=np.uint8, seed=0):
    """(image, lungs): two dark ellipses in a bright body before dark air, with noise; P2's 12 bits or so in uint16."""
    y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    lungs = np.hypot((x - 0.3) / 0.12, (y - 0.45) / 0.28) < 1
    lungs |= np.hypot((x - 0.7) / 0.12, (y - 0.45) / 0.28) < 1
    brightness = np.where(np.abs(x - 0.5) < 0.45, 0.6 + 0.15 * np.exp(-(((x - 0.5) / 0.08) ** 2)), 0.05)
    brightness[lungs] = 0.3
    brightness += np.random.default_rng(seed).normal(0, 0.01, brightness.shape)
    top = 230 if dtype == np.uint8 else 4095
    return np.rint(brightness.clip(0, 1) * top).astype(dtype)[..., None], lungs


def overlap(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(200, 180), (64, 64), (150, 300)])
def test_hull_of_made_lungs(shape, dtype):
    from skimage.morphology import convex_hull_image

    image, lungs = made_chest(*shape, dtype)
    hull = find_lung_hull(image)
    assert hull.dtype == bool and hull.shape == shape
    assert overlap(hull, convex_hull_image(lungs)) > 0.9


def test_shortcuts_give_what_scikit_image_and_scipy_give():
    """Grey closings and thresholds against binary openings; areas against regionprops; the pair against all pairs."""
    from scipy import ndimage
    from skimage.measure import regionprops
    from skimage.morphology import disk

    side = SIDE
    for seed in range(4):
        chest = made_chest(side, side, seed=seed)[0][..., 0] + np.random.default_rng(seed).normal(0, 60, (side, side))
        smooth = ndimage.gaussian_filter(chest.astype(np.float32), 1.5)
        dark = module._find_dark(smooth, spine=48)
        thresholds = np.percentile(module._cut_middle(smooth), module._THRESHOLDS).astype(np.float32)
        expected = [
            ndimage.binary_opening((smooth < threshold) & (abs(np.arange(side) - 48) > 1), disk(radius))
            for threshold in thresholds
            for radius in (0, 2, 3)
        ]
        assert (dark == expected).all()

        regions = [
            region
            for plane in expected
            for region in regionprops(ndimage.label(plane)[0])
            if 0.03 < region.area / side**2 < 0.3 and region.bbox[0] and region.bbox[1] and region.bbox[3] < side
        ]
        found = list(module._find_regions(dark))
        assert [(top, left) for _, top, left in found] == [region.bbox[:2] for region in regions]
        for (region, _, _), reference in zip(found, regions, strict=True):
            assert (region == reference.image).all()
            assert module._measure_convex_area(region) == reference.area_convex
            assert (module._fill(region) == reference.image_filled).all()

        scale = smooth / smooth.std()
        sides = [], []
        for each in found:
            lung = module._Lung(*each, 48)
            sides[int(lung.column > 48)].append(lung)
        pair = module._choose_pair(*sides, scale)
        for lungs in sides:
            best = -np.inf
            for lung in lungs:
                if lung.most < best:
                    lung.score = -np.inf  # what cannot become the best of its side is left out
                elif lung.exceeds(-np.inf, scale):
                    best = max(best, lung.score)

        def score(left, right):
            unlike = np.log(left.shape[0] / right.shape[0]) / 0.4, (left.shape[2] - right.shape[2]) / 0.06
            return left.score + right.score - np.square(unlike).sum() / 2

        assert pair == max(itertools.product(*sides), key=lambda pair: score(*pair))


def test_linear_contrast_does_not_matter():
    image, _ = made_chest(dtype=np.uint16)
    hull = find_lung_hull(image)
    assert (find_lung_hull(image * np.uint16(16)) == hull).all()
    assert overlap(find_lung_hull(image + np.uint16(30_000)), hull) > 0.99


@pytest.mark.parametrize("dtype, top", [(np.uint8, 255), (np.uint16, 65535)])
def test_the_percentiles_go_where_they_should(dtype, top):
    image, _ = made_chest(dtype=dtype)
    result, found = normalise_by_lungs(image)
    assert found and result.dtype == dtype and result.shape == image.shape
    hull = find_lung_hull(image)
    low, high = np.percentile(result[hull], (5, 95))
    assert abs(low - LOW * top) <= 2 and abs(high - HIGH * top) <= 2
    shares = np.polyfit(image[hull].ravel().astype(float), result[hull].ravel().astype(float), 1, full=True)
    assert shares[1][0] / hull.sum() < 0.1 + (top / 255) ** 2 * 0.1  # a straight line, but for rounding
    again, _ = normalise_by_lungs(image // 2 + 10)  # another exposure
    assert np.abs(again[hull].astype(int) - result[hull]).max() <= 0.03 * top


def test_without_lungs_the_whole_frame_counts():
    ramp = np.tile(np.arange(100, 200, dtype=np.uint8), (100, 1))[..., None]
    result, found = normalise_by_lungs(ramp)
    assert not found and find_lung_hull(ramp) is None
    scale = (HIGH - LOW) * 255 / (0.9 * 99)  # percentiles of 100 ... 199: 104.95 and 194.05
    np.testing.assert_allclose(result[0, :, 0], (ramp[0, :, 0] - 104.95) * scale + LOW * 255, atol=0.51)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_constant_and_tiny_images(dtype):
    for image in (np.zeros((30, 40, 1), dtype), np.full((1, 1, 1), 7, dtype), np.full((200, 200, 1), 250, dtype)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            result, found = normalise_by_lungs(image)
        assert not found and (result == image).all()
    noise = np.random.default_rng(0).integers(0, 255, (100, 100, 1)).astype(dtype)
    assert find_lung_hull(noise) is None


def test_colour_becomes_grey():
    image, _ = made_chest()
    assert (normalise_by_lungs(image.repeat(3, -1))[0] == normalise_by_lungs(image)[0]).all()


def test_drawing():
    image = np.full((20, 30, 1), 257 * 100, np.uint16)
    hull = np.zeros((20, 30), bool)
    hull[5:10, 5:20] = True
    picture = draw_hull(image, hull)
    red = (picture == [255, 0, 0]).all(axis=-1)
    assert red.sum() == 7 * 17 - 5 * 15 and not red[hull].any() and (picture[~red] == 100).all()
    assert (draw_hull(image, None) == 100).all()
    assert draw_hull_sheet([image] * 5).shape == (40, 120, 3)


def test_a_folder_of_chest_xrays(tmp_path, capsys):
    """16 bits are kept, the lungs are drawn beside the prepared folder, and what has none is counted."""
    chests = tmp_path / "chests"
    for name in ("images", "masks"):
        (chests / name).mkdir(parents=True)
    for i in range(4):
        chest = made_chest(dtype=np.uint16, seed=i)[0] if i else np.full((200, 180, 1), 9, np.uint16)
        Image.fromarray(chest[..., 0]).save(chests / "images" / f"{i}.png")
        mask = np.where(np.arange(200)[:, None] < 40 + 20 * i, np.uint8(255), np.uint8(0)).repeat(180, 1)
        Image.fromarray(mask).save(chests / "masks" / f"{i}.png")
    with pytest.warns(UserWarning, match="1 of 4 images: lungs not found, normalised by the whole frame"):
        loaded = {sample.id: sample.image for sample in load_samples(chests, tmp_path, chest_xrays=True)}
    raw = read_image(chests / "images" / "1.png")
    assert (loaded["1"] == normalise_by_lungs(raw)[0]).all() and loaded["1"].dtype == np.uint16
    assert (loaded["0"] == 9).all()
    with pytest.warns(UserWarning, match="lungs not found"):
        place = prepare(str(chests), tmp_path, (96, 96), out_dir=tmp_path / "out", chest_xrays=True)
    assert read_manifest(place)["chest_xrays"] is True
    assert all(sample.image.dtype == np.uint16 for sample in Records(place))
    picture = place.with_name(f"{place.name}-lungs.png")
    assert str(picture) in capsys.readouterr().out and not (tmp_path / "out").exists()
    sheet = np.asarray(Image.open(picture))
    assert sheet.shape == (96, 4 * 96, 3) and (sheet == [255, 0, 0]).all(axis=-1).any()
    assert sorted(path.name for path in place.parent.iterdir()) == [".chests-files.json", place.name, picture.name]
    plain = prepare(str(chests), tmp_path, (96, 96), out_dir=tmp_path / "out")  # another folder, brightness as it is
    assert plain != place and not plain.with_name(f"{plain.name}-lungs.png").exists()
    assert (Records(plain)[1].image != Records(place)[1].image).any()
    with pytest.raises(InputError, match="--chest_xrays: nih is read as what it is"):
        check_set("nih", tmp_path, chest_xrays=True)


def test_real_chests(real_data):
    """Of every 60th image of NIH and Shenzhen nearly all have lungs,
    whose hulls are as large and as central as lungs are.
    """
    paths = sorted(path for place in ("nih/*", "shenzhen/images") for path in real_data.glob(f"{place}/*.png"))[::60]
    hulls = [find_lung_hull(read_image(path)[..., :1]) for path in paths]
    found = [hull for hull in hulls if hull is not None]
    print(f"lungs found in {len(found)} of {len(paths)} radiographs")
    assert len(found) >= 0.9 * len(paths)
    shares = np.array([hull.mean() for hull in found])
    assert np.mean((shares > 0.2) & (shares < 0.6)) > 0.9
    assert all(0.35 < np.nonzero(hull)[1].mean() / hull.shape[1] < 0.65 for hull in found)
