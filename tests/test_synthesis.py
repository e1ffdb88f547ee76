import csv
import errno
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from synthmed_tf import runs, synthesis
from synthmed_tf.datasets.phantoms import fundus
from synthmed_tf.datasets.prepare import crop_sample
from synthmed_tf.images.field_of_view import estimate_field_of_view
from synthmed_tf.metrics import likeness, planted
from synthmed_tf.records.read import Records
from synthmed_tf.records.write import write_records
from synthmed_tf.sample import InputError, Sample
from synthmed_tf.smalldata import copy_filter
from synthmed_tf.training import stage1, stage2
from synthmed_tf.training.checkpoints import checkpoint_sha256

SETTINGS = {"seed": 3, "warp": False}


def stage1_of(function, stride=1):
    """A GAN whose generator is a function of z [batch, 64]."""
    z, unused = tf.keras.Input([64]), tf.keras.Sequential()
    return stage1.Stage1("mask", tf.keras.Model(z, function(z)), None, unused, (64,), stride, channels=1)


def flow_of(function):
    """A flow whose velocity is a function of the fields [batch, 8, 6, 1] and the time [batch, 1, 1, 1]."""
    fields, time = tf.keras.Input([8, 6, 1]), tf.keras.Input([])
    times = time[:, None, None, None]
    network = tf.keras.Model([fields, time], fields - times * function(fields, times))
    return stage1.Stage1("mask", network, None, None, (8, 6, 1), 1, channels=1)


def as_noise(z):
    return tf.reshape(z, [-1, 8, 8, 1])


def made(networks, count, start=0, **settings):
    return list(synthesis.from_noise(networks, SETTINGS | settings, count, start))


def pixels(samples):
    return [sample.mask.tobytes() for sample in samples]


# ---------------------------------------------------------------- masks


@pytest.mark.parametrize("model", ["gan", "flow"])
def test_mask_i_is_a_function_of_seed_and_i_alone(model):
    if model == "gan":  # samples of both depend on what shares their batch
        networks = stage1_of(lambda z: as_noise(z - tf.reduce_mean(z, 0)))
    else:
        networks = flow_of(lambda x, t: tf.reduce_mean(x, 0) + t)
    few, many = made(networks, 5, warp=True), made(networks, 37, warp=True)
    assert pixels(few) == pixels(many)[:5]
    assert pixels(made(networks, 37, start=18, warp=True)) == pixels(many)[18:]
    assert pixels(made(networks, 20, start=19, warp=True)) == pixels(many)[19:20]
    assert [sample.id for sample in many] == [f"synthetic-{i:06d}" for i in range(37)]
    assert len(set(pixels(many))) == 37
    assert pixels(made(networks, 5, seed=4)) != pixels(few)
    assert made(networks, 3, start=3) == []


def test_masks_are_well_formed_and_carry_their_seed():
    for sample in made(stage1_of(as_noise), 3):
        assert sample.mask.shape == (8, 8, 1) and sample.mask.dtype == np.uint8
        assert set(np.unique(sample.mask)) == {0, 1}
        assert sample.seed == 3 and sample.image is None and sample.field_of_view is None and sample.group is None


@pytest.mark.parametrize(("shift", "share"), [(0.0, 0.5), (1.0, 0.1587), (-1.0, 0.8413)])
@pytest.mark.parametrize("model", ["gan", "flow"])
def test_noise_is_standard_normal(model, shift, share, monkeypatch):  # whose distribution function gives the shares
    monkeypatch.setattr(stage1, "FRESH", 0.0)
    networks = stage1_of(lambda z: as_noise(z) - shift) if model == "gan" else flow_of(lambda x, t: 0 * x + shift)
    values = np.stack([sample.mask for sample in made(networks, 64)])
    assert abs(values.mean() - share) < 4 * (share * (1 - share) / values.size) ** 0.5
    assert abs(values.mean(0) - share).max() < 6 * (share * (1 - share) / 64) ** 0.5  # at every place


def test_with_warp_half_of_the_masks_are_mirrored_and_without_none():
    left = np.zeros([8, 8, 1], np.float32)
    left[2, :3] = 1
    networks = stage1_of(lambda z: 0 * as_noise(z) + left)
    assert all((sample.mask == left).all() for sample in made(networks, 40))
    turned = made(networks, 200, warp=True)
    is_left = np.array([(sample.mask == left).all() for sample in turned])
    is_right = np.array([(sample.mask == left[:, ::-1]).all() for sample in turned])
    assert (is_left ^ is_right).all() and abs(is_right.mean() - 0.5) < 4 * 0.5 / 200**0.5


def test_half_size_fields_come_back_at_full_size():
    assert made(stage1_of(as_noise, stride=2), 1)[0].mask.shape == (16, 16, 1)


def test_samples_come_from_the_average_where_there_is_one():
    networks = stage1_of(as_noise)
    networks.averaged = stage1_of(lambda z: 0 * as_noise(z) + 1).generator
    assert all(sample.mask.all() for sample in made(networks, 2))


# ---------------------------------------------------------------- the filter


def dots(*places):
    """A mask of 16 x 16 with those pixels; none lies on a symmetry's axis, so few pixels tell masks apart."""
    mask = np.zeros([16, 16, 1], np.uint8)
    for row, column in places:
        mask[row, column] = 1
    return mask


def passed(masks, real, count, tally=None):
    """Masks of a stream, repeated endlessly, that the filter passes on."""
    candidates = (Sample(f"c{i}", mask=masks[i % len(masks)]) for i in itertools.count())
    real = [Sample(f"r{i}", mask=mask) for i, mask in enumerate(real)]
    return list(copy_filter.no_copies(candidates, real, count, {} if tally is None else tally))


REAL = [dots((0, 1), (0, 2)), dots((0, 1), (0, 3))]  # Dice 1/2: the threshold is 1/2
COPY, NEAR = dots((1, 0), (2, 0)), dots((0, 1), (0, 2), (5, 9))  # turned; with a dot more: distance 1 - 4/5
FRESH = [dots((3, i), (4, 9 + i), (6, 2 + 2 * i)) for i in range(3)]
LIKENESS = likeness.compare(likeness.make_mask_thumbnails(REAL), likeness.make_mask_thumbnails(REAL))[0]
HALVES = [half for mask in REAL for half in likeness.cut_halves(mask)]
LIKENESS_OF_HALVES = likeness.compare(likeness.make_mask_thumbnails(HALVES), likeness.make_mask_thumbnails(HALVES))[0]
THRESHOLDS = {
    "threshold": 0.5,
    "most_alike": pytest.approx(max(LIKENESS[0, 1], LIKENESS[1, 0]), abs=1e-6),
    "halves_most_alike": pytest.approx(
        max(LIKENESS_OF_HALVES[:2, 2:].max(), LIKENESS_OF_HALVES[2:, :2].max()), abs=1e-6
    ),
}


def test_filter_rejects_copies_of_real_masks():
    tally = {}
    found = passed([COPY, FRESH[0], COPY[:, ::-1], NEAR, FRESH[1], FRESH[2]], REAL, 3, tally)
    assert [(sample.mask == fresh).all() for sample, fresh in zip(found, FRESH, strict=True)] == [True] * 3
    assert [sample.id for sample in found] == [f"synthetic-{i:06d}" for i in range(3)]
    assert tally == THRESHOLDS | {"candidates": 6, "rejected": 3, "too_near": 0}


def test_filter_rejects_disguised_copies():
    *real, fresh = (crop_sample(fundus.draw_fundus(index), (64, 64)).mask for index in range(9))
    ways = planted.disguise_masks(real[:2])
    for disguise in ("turned or mirrored", "shifted", "tilted", "scaled"):
        tally = {}
        (found,) = passed([*ways[disguise], fresh], real, 1, tally)
        assert (found.mask == fresh).all() and tally["rejected"] == 2, disguise


def test_a_mask_that_is_there_twice_does_not_let_copies_pass():
    *real, fresh = (crop_sample(fundus.draw_fundus(index), (64, 64)).mask for index in range(9))
    shifted = planted.disguise_masks(real[:3])["shifted"]
    tallies = [{}, {}]
    for twice, tally in zip(
        ([], [real[0], real[4][::-1], np.zeros_like(fresh), np.zeros_like(fresh)]), tallies, strict=True
    ):
        (found,) = passed([*shifted, fresh], [*real, *twice], 1, tally)
        assert (found.mask == fresh).all() and tally["rejected"] == 3
    assert tallies[0] == pytest.approx(tallies[1], abs=1e-6)


def test_filter_rejects_masks_crossed_of_two_real_ones():
    *real, fresh = (crop_sample(fundus.draw_fundus(index), (64, 64)).mask for index in range(9))
    crossed = [np.concatenate([real[index][:32], real[index + 1][32:]]) for index in range(7)]
    tally = {}
    (found,) = passed([*crossed, fresh], real, 1, tally)
    assert (found.mask == fresh).all() and tally["rejected"] == 7
    small, learned = likeness.make_mask_thumbnails(crossed), likeness.make_mask_thumbnails(real)
    assert (likeness.find_most_similar(small, learned)[0].max(1) < tally["most_alike"]).any()  # their halves alone tell


@pytest.mark.parametrize("groups, expected", [("aab", "different"), ("abc", "all"), ("aaa", "all")])
def test_masks_of_one_patient_do_not_say_how_alike_patients_are(groups, expected):
    masks = [crop_sample(fundus.draw_fundus(index), (64, 64)).mask for index in range(2)]
    masks.insert(1, np.roll(masks[0], 1, 0))
    real, tally = [Sample(str(i), mask=mask, group=groups[i]) for i, mask in enumerate(masks)], {}
    next(synthesis.no_copies(itertools.repeat(Sample("c", mask=FRESH[0].repeat(4, 0).repeat(4, 1))), real, 1, tally))
    small = likeness.make_mask_thumbnails(masks)
    alike = likeness.compare(small, small)[0]
    np.fill_diagonal(alike, -1)
    assert alike.max() > 0.95 > max(alike[2].max(), alike[:, 2].max())
    found = {"different": max(alike[2].max(), alike[:, 2].max()), "all": alike.max()}
    assert tally["most_alike"] == pytest.approx(found[expected], abs=1e-5)


def test_tries_that_were_not_needed_are_left_for_later_masks():
    tally = {}
    found = passed([*FRESH, *[COPY] * 36, dots((15, 15))], REAL, 4, tally)  # of 4 x 10 candidates the last one
    assert (found[3].mask == dots((15, 15))).all()
    assert tally == THRESHOLDS | {"candidates": 40, "rejected": 36, "too_near": 0}
    passed([*FRESH, *[COPY] * 37, dots((15, 15))], REAL, 4, tally)
    assert (tally["candidates"], tally["too_near"]) == (40, 1)


def test_filter_ends_with_a_generator_that_makes_one_mask_only():
    tally = {}
    found = passed([NEAR], REAL, 4, tally)
    assert len(found) == 4 and tally["too_near"] == 4
    assert tally["candidates"] == 4 * copy_filter.MOST_TRIES == tally["rejected"] + 4


def test_filter_keeps_the_farthest_of_what_it_must_keep():
    found = passed([COPY] * 7 + [NEAR] + [COPY] * 2, REAL, 1)
    assert (found[0].mask == NEAR).all()


def test_filtered_mask_i_does_not_depend_on_how_many_are_made():
    rng = np.random.default_rng(0)
    stream = [dots(*rng.integers(0, 16, [6, 2])) for _ in range(400)]
    many, few = (passed(stream, stream[:2], count) for count in (40, 17))
    assert pixels(many)[:17] == pixels(few)


def test_without_two_real_masks_to_measure_by_nothing_is_rejected():
    tally = {}
    assert len(passed([COPY], [COPY], 3, tally)) == 3 and tally["rejected"] == 0


# ---------------------------------------------------------------- pairs


class Painter:
    """Stands for a generator: mask grey, background by the seed, all within a disc; remembers what it was called with."""

    def __init__(self):
        self.calls = []

    def __call__(self, inputs, training):
        condition, seed = np.asarray(inputs[0]), np.asarray(inputs[1])
        self.calls.append((condition, seed, training))
        rows, columns = np.mgrid[: condition.shape[1], : condition.shape[2]]
        inside = ((rows - 31.5) ** 2 + (columns - 31.5) ** 2 < 28**2)[None, :, :, None]
        return tf.constant(
            np.where(inside, 0.3 * condition + 0.01 * seed[0, 1], -1) * np.ones(3, np.float32), tf.float32
        )


def some_masks(count):
    rng = np.random.default_rng(0)
    return [
        Sample(f"synthetic-{i:06d}", mask=(rng.random([64, 64, 1]) < 0.2).astype(np.uint8), seed=3)
        for i in range(count)
    ]


@pytest.mark.parametrize("training", [True, False])
def test_pairs_are_translated_one_at_a_time_with_seed_and_index(training):
    painter = Painter()
    networks, masks = stage2.Stage2(painter, None, training), some_masks(3)
    pairs = list(synthesis.pairs(networks, iter(masks), {"seed": 7}, True))
    for index, (pair, mask, (condition, seed, was_training)) in enumerate(
        zip(pairs, masks, painter.calls, strict=True)
    ):
        assert condition.shape == (1, 64, 64, 1) and (condition[0] == 2.0 * mask.mask - 1).all()
        assert seed.tolist() == [[7, index]] and was_training is training
        assert pair.id == mask.id and pair.seed == 3
        assert pair.image.dtype == np.uint8 and pair.image.shape == (64, 64, 3)
        expected = estimate_field_of_view(pair.image)
        assert (pair.field_of_view == expected).all() and 0.5 < expected.mean() < 0.7
        assert (
            pair.mask.dtype == np.uint8
            and (pair.mask == np.where(expected, mask.mask, 0)).all()
            and (pair.mask != mask.mask).any()
        )
        assert pair.image[32, 32, 0] == round((0.3 * condition[0, 32, 32, 0] + 0.01 * index + 1) * 127.5)
    fewer = list(synthesis.pairs(networks, masks[:2], {"seed": 7}, False))
    assert [pair.image.tobytes() for pair in fewer] == [pair.image.tobytes() for pair in pairs[:2]]
    assert fewer[0].field_of_view is None and (fewer[0].mask == masks[0].mask).all()


# ---------------------------------------------------------------- files


def some_pairs(count, channels=3, dtype=np.uint8):
    rng = np.random.default_rng(1)
    for index, sample in enumerate(some_masks(count)):
        image = rng.integers(0, np.iinfo(dtype).max, [64, 64, channels]).astype(dtype)
        yield Sample(f"synthetic-{index:06d}", image, sample.mask, seed=3)


@pytest.mark.parametrize(("channels", "dtype"), [(3, np.uint8), (1, np.uint8), (1, np.uint16)])
def test_png_files_are_the_samples_and_the_table_lists_them(tmp_path, channels, dtype):
    samples = list(some_pairs(3, channels, dtype))
    synthesis.write_png(tmp_path / "png", samples)
    with open(tmp_path / "png" / "index.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [sample.id for sample in samples]
    for row, sample in zip(rows, samples, strict=True):
        assert row["seed"] == "3"
        assert (np.asarray(Image.open(tmp_path / "png" / row["image"])) == np.squeeze(sample.image)).all()
        assert (np.asarray(Image.open(tmp_path / "png" / row["mask"])) == sample.mask[..., 0] * 255).all()
        assert Path(row["image"]).name == Path(row["mask"]).name  # so that the folder is a data set for --data again
    assert len(list((tmp_path / "png").rglob("*.png"))) == 6
    synthesis.write_png(tmp_path / "png", samples[:1])
    assert len(list((tmp_path / "png").rglob("*.png"))) == 2 and [path.name for path in tmp_path.iterdir()] == ["png"]


def test_full_disk_while_png_files_are_written(tmp_path, monkeypatch):
    samples = list(some_pairs(3))
    synthesis.write_png(tmp_path / "png", samples[:2])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    saved, count = Image.Image.save, itertools.count()

    def save(self, path, **options):
        if next(count) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        saved(self, path, **options)

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(InputError, match="png: could not be written .No space left on device"):
        synthesis.write_png(tmp_path / "png", samples)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_is_current_asks_for_the_count_and_the_checkpoints(tmp_path):
    assert not synthesis.is_current(tmp_path / "set", 2, checkpoint_sha256="ab")
    write_records(
        tmp_path / "set", "set", some_pairs(2), source="test", extra={"checkpoint_sha256": "ab", "stage1": {"steps": 5}}
    )
    assert runs.is_current(tmp_path / "set", 2, checkpoint_sha256="ab", stage1={"steps": 5})
    assert not runs.is_current(tmp_path / "set", 3, checkpoint_sha256="ab")
    assert not runs.is_current(tmp_path / "set", 2, checkpoint_sha256="cd")
    assert not runs.is_current(tmp_path / "set", 2, checkpoint_sha256="ab", stage1={"steps": 6})


def test_require_names_what_is_missing(tmp_path):
    write_records(tmp_path / "set", "set", some_masks(2), source="test")
    real = Records(tmp_path / "set")
    synthesis.require(real, "mask")
    with pytest.raises(InputError, match="set: the samples have no image.*give another set"):
        synthesis.require(real, "mask", "image")


def test_what_a_synthetic_set_says_of_the_real_one_names_no_file(tmp_path):
    extra = {
        "fields_of_view": "none",
        "test_split": "official",
        "holdout": 0,
        "data": "/clinic/eyes",
        "data_dir": "/clinic",
        "fingerprint": "ab",
    }
    manifest = write_records(tmp_path / "set", "eyes", some_pairs(2), source="/clinic/eyes", extra=extra)
    said = json.dumps(synthesis.describe_real(manifest))
    assert "clinic" not in said and "synthetic-0" not in said and '"name": "eyes"' in said


def test_checkpoint_sha256_depends_on_all_values_and_not_on_how_often_they_were_saved(tmp_path):
    one, two = tf.Variable([1.0, 2.0]), tf.Variable(3)
    checkpoint = tf.train.Checkpoint(one=one, two=two)
    saved = [checkpoint.save(tmp_path / name) for name in ("a", "b")]
    first, second = map(checkpoint_sha256, saved)
    assert first == second and len(first) == 64 and saved[0] != saved[1]
    others = []
    for variable, value in ((one, [1.0, 2.1]), (two, 4)):
        variable.assign(value)
        others.append(checkpoint_sha256(checkpoint.write(str(tmp_path / "c"))))
    others.append(checkpoint_sha256(tf.train.Checkpoint(two=one, one=two).write(str(tmp_path / "d"))))
    assert len({first, *others}) == 4
