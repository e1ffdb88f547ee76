import numpy as np
import pytest
import tensorflow as tf

from synthmed_tf import augment
from synthmed_tf.datasets.phantoms import fundus
from synthmed_tf.datasets.prepare import crop_sample
from synthmed_tf.smalldata.fields import label_pieces

RNG = np.random.default_rng(0)
STILL = {"rotation": 0.0, "zoom": 1.0, "aspect": 0.0, "elastic": 0.0, "flip": (False, False)}
SEED = tf.constant([3, 4])


def blobs(count, height=33, width=41, channels=1, seed=0):
    """Smooth images in [0, 1]."""
    noise = np.random.default_rng(seed).normal(size=[count, 5, 5, channels])
    images = tf.image.resize(noise.astype(np.float32), [height, width], method="bicubic").numpy()
    return (images - images.min()) / np.ptp(images)


def warp(images, seed=SEED, **options):
    return augment.random_warp(tf.constant(images), seed, **options).numpy()


# ---------------------------------------------------------------- crossed


def eyes(*discs, side=40):
    """Fields of eyes whose vessels are one line through the disc's column, 1 above its row and 0.5 below;
    a field of view of its own number.
    """
    fields = np.full([len(discs), side, side, 2], -1.0, np.float32)
    for number, (row, column) in enumerate(discs):
        fields[number, :row, column, 0] = 1 - number / 10
        fields[number, row:, column, 0] = 0.5 - number / 10
        fields[number, ..., 1] = np.arange(side)[:, None] + number
    return fields, np.array(discs)


@pytest.mark.parametrize("second", [(18, 12), (21, 8)])
def test_crossed_eyes_have_one_upper_half_and_another_lower_half_whose_discs_meet(second):
    fields, discs = eyes((20, 10), second)
    before = fields.copy()
    made = [augment.crossed(fields, discs, np.array([0]), [0, index])[0] for index in range(40)]
    assert all(
        (np.delete(each[..., 0], 10, 1) == -1).all() and (each[..., 1] == fields[0, ..., 1]).all() for each in made
    )
    values = {
        tuple(np.unique(np.float64(each[rows, 10, 0]).round(3))[0] for rows in (slice(4, 17), slice(23, 36)))
        for each in made
    }
    # One half of the first eye, where it was, and either half of the second
    assert values == {(1.0, 0.4), (1.0, 0.9), (0.4, 0.5), (0.9, 0.5)}
    assert (fields == before).all()


def test_crossed_eyes_are_a_function_of_the_seed_and_never_of_one_eye_twice():
    fields, discs = eyes((20, 10), (20, 10), (20, 10))
    chosen = np.arange(3).repeat(20)
    found = augment.crossed(fields, discs, chosen, [0, 1])
    assert (found == augment.crossed(fields, discs, chosen, [0, 1])).all()
    assert (found != augment.crossed(fields, discs, chosen, [0, 2])).any()
    halves = np.array([[1.0, 0.5], [0.9, 0.4], [0.8, 0.3]], np.float32)  # above and below
    made = found[:, [10, 30], 10, 0]
    own = (made[..., None] == halves[chosen][:, None]).any(2)
    assert (own.sum(1) == 1).all() and ((made == halves[chosen]) == own).all()
    assert [len(np.unique(row)) for row in made.T] == [6, 6]


def test_they_meet_where_the_fewest_vessels_are():
    fields, discs = eyes((20, 10), (20, 10), side=41)
    fields[:, 18:23, 12:, 0] = 1.0
    fields[:, 22, 12:, 0] = fields[:, 18, 12:, 0] = -1.0
    columns = [augment.crossed(fields, discs, np.array([0]), [0, index])[0, :, 10, 0] for index in range(8)]
    put_in = [np.isin(np.float64(column).round(3), (0.4, 0.9)) for column in columns]
    below = np.arange(41) >= 18
    assert {tuple(rows) for rows in put_in} == {tuple(below), tuple(~below)}


@pytest.mark.parametrize("other", [(20, 20), (9, 10)])
def test_eyes_whose_discs_are_far_from_all_others_stay_whole(other):
    """Upside down the second one's lies in row 19 or 30."""
    fields, discs = eyes((20, 10), other)
    found = augment.crossed(fields, discs, np.array([0, 1]).repeat(8), [0, 1])
    assert (found == fields[np.array([0, 1]).repeat(8)]).all()


# ---------------------------------------------------------------- random_warp


def test_nothing_asked_for_changes_nothing():
    images = blobs(3)
    np.testing.assert_allclose(warp(images, **STILL), images, atol=1e-6)


@pytest.mark.parametrize(("flip", "axes"), [((True, False), (1,)), ((False, True), (2,)), ((True, True), (1, 2))])
def test_flips_go_the_way_asked_for_about_half_of_the_time(flip, axes):
    images = blobs(64, 9, 8)
    warped = warp(images, **STILL | {"flip": flip})
    choices = [images]
    for axis in axes:
        choices += [np.flip(choice, axis) for choice in choices]
    which = np.array([[np.allclose(w, c[i], atol=1e-5) for c in choices] for i, w in enumerate(warped)])
    assert (which.sum(1) == 1).all()
    expected = len(images) / len(choices)
    assert (abs(which.sum(0) - expected) < 4 * expected**0.5).all(), which.sum(0)


def test_a_warp_is_a_function_of_the_seed_and_differs_within_a_batch():
    images = np.repeat(blobs(1), 3, axis=0)
    first = warp(images)
    assert (first == warp(images)).all()
    assert np.abs(first - warp(images, tf.constant([3, 5]))).max() > 0.05
    assert np.abs(first[0] - first[1]).max() > 0.05 and np.abs(first[1] - first[2]).max() > 0.05


def test_channels_go_together_and_no_new_values_appear():
    images = blobs(4)
    warped = warp(np.concatenate([images, 1 - 2 * images, np.full_like(images, 0.7)], -1), flip=(True, True))
    np.testing.assert_allclose(warped[..., 1], 1 - 2 * warped[..., 0], atol=1e-5)
    np.testing.assert_allclose(warped[..., 2], 0.7, atol=1e-6)
    assert images.min() - 1e-5 <= warped[..., 0].min() and warped[..., 0].max() <= images.max() + 1e-5


def affine_of(**options):
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
    matrices = affine_of(rotation=20.0)
    angles = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    assert 15 < np.abs(angles).max() <= 20.01 and angles.min() < -10 and angles.max() > 10 and abs(angles.mean()) < 6
    np.testing.assert_allclose(matrices @ matrices.transpose(0, 2, 1), np.repeat(np.eye(2)[None], 64, 0), atol=1e-3)


def test_zoom_only_magnifies():
    scales = affine_of(zoom=1.25)
    np.testing.assert_allclose(scales[:, 0, 0], scales[:, 1, 1], atol=1e-4)
    assert 1 / 1.25 - 1e-4 <= scales[:, 0, 0].min() < 0.85 and 0.95 < scales[:, 0, 0].max() <= 1 + 1e-4


def test_aspect_stretches_height_against_width_and_keeps_the_area():
    matrices = affine_of(aspect=0.2)
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
    images = blobs(2)
    np.testing.assert_allclose(warp(images, enlarged=2)[:, 4:-4, 4:-4], warp(images)[:, 4:-4, 4:-4], atol=0.02)
    np.testing.assert_allclose(warp(images, enlarged=2, **STILL)[:, 2:-2, 2:-2], images[:, 2:-2, 2:-2], atol=0.01)


def test_a_graph_with_unknown_batch_gives_the_same_numbers():
    images = blobs(2, channels=2)
    function = tf.function(
        lambda x: augment.random_warp(x, SEED), input_signature=[tf.TensorSpec([None, None, None, None], tf.float32)]
    )
    np.testing.assert_allclose(function(images), warp(images), atol=1e-5)


# ---------------------------------------------------------------- jitter_and_mirror


def jitter(photographs, masks, seed, pixels=30):
    pair = augment.jitter_and_mirror(tf.constant(photographs), tf.constant(masks), tf.constant([seed, 0]), pixels)
    return [part.numpy() for part in pair]


def test_jitter_is_a_crop_of_the_enlarged_image_mirrored_or_not():
    photographs, masks = blobs(1, 64, 96, channels=2), blobs(1, 64, 96, channels=1, seed=1)
    size = [64 + 7, 96 + 11]  # 256 -> 286: Isola et al. 2017, appendix 6.2
    methods = (photographs, "bilinear"), (masks, "nearest")
    larger = np.concatenate([tf.image.resize(part, size, method=method)[0] for part, method in methods], -1)
    found = []
    for seed in range(12):
        pair = jitter(photographs, masks, seed)
        assert [part.shape for part in pair] == [(1, 64, 96, 2), (1, 64, 96, 1)]
        jittered = np.concatenate(pair, -1)[0]
        for mirrored in (False, True):
            picture = jittered[:, ::-1] if mirrored else jittered
            found += [
                (seed, top, left, mirrored)
                for top in range(8)
                for left in range(12)
                if np.abs(picture - larger[top : top + 64, left : left + 96]).max() < 1e-6
            ]
    assert [row[0] for row in found] == list(range(12))  # exactly one place each
    assert {row[3] for row in found} == {False, True}
    assert len({row[1:3] for row in found}) > 6


def test_jitter_at_the_papers_size():
    image = tf.zeros([1, 256, 256, 3])
    with tf.Graph().as_default() as graph:
        augment.jitter_and_mirror(tf.zeros([1, 256, 256, 3]), tf.zeros([1, 256, 256, 2]), tf.constant([0, 0]), 30)
        sizes = [tuple(op.outputs[0].shape) for op in graph.get_operations() if op.type.startswith("Resize")]
    assert sizes == [(1, 286, 286, 3), (1, 286, 286, 2)]
    assert augment.jitter_and_mirror(image, image, tf.constant([0, 0]), 0) == (image, image)


@pytest.mark.parametrize("side", [88, 208])
def test_jittered_vessels_stay_whole_and_lie_where_their_photographs_show_them(side):
    """Masks in a frame that no crop reaches: phantoms of eyes, and dots of which most touch another at a corner."""
    vessels = [crop_sample(fundus.draw_fundus(index), (side, side)).mask for index in range(2)]
    dots = RNG.random([2, side, side, 1]) < 0.3
    masks = np.pad(np.concatenate([vessels, dots]), [(0, 0), (24, 24), (24, 24), (0, 0)]) * np.float32(2) - 1
    enlarged = 1 + (side + 48) * 30 // 256 / (side + 48)
    for seed in range(3):
        photographs, jittered = jitter(masks, masks, seed)
        for before, after in zip(masks > 0, jittered > 0, strict=True):
            assert label_pieces(after[..., 0])[1].size == label_pieces(before[..., 0])[1].size
            assert after.sum() == pytest.approx(before.sum() * enlarged**2, rel=0.02)
        assert set(np.unique(jittered)) == {-1, 1}
        assert np.mean((photographs > 0) == (jittered > 0)) > 0.95
