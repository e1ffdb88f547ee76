"""publishing/synthetic_set.py: a trained generator -> Samples, with classes in their shares and filtered by class."""

import functools
import itertools
import json

import numpy as np
import pytest

from synthmed_tf.images.field_of_view import estimate_field_of_view
from synthmed_tf.papers import hash_filter
from synthmed_tf.publishing import synthetic_set
from synthmed_tf.records.write import write_records
from synthmed_tf.sample import Sample
from synthmed_tf.smalldata import pixel_noise
from synthmed_tf.training.sampler import CHUNK, Sampler

RNG = np.random.default_rng(0)
NAMES = "female 18-38", "male 18-38", "../evil: name"
SHADES = np.array([-0.9, -0.2, 0.5])  # brightness of each class, from -1 to 1


def islice(stream, count):
    return list(itertools.islice(stream, count))


def threshold_noise(noise, labels=None):
    """Masks of 8 x 8 pixels."""
    return (np.reshape(noise, [-1, 8, 8, 1]) > 0).astype(np.uint8)


def disc(size=64):
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    return (np.hypot(rows, columns) < 0.44 * size)[..., None]


# ---------------------------------------------------------------- without labels


def test_samples_are_the_samplers_pictures_in_order():
    sampler = Sampler((64,), threshold_noise, 3)
    samples = islice(synthetic_set.draw(sampler, "mask"), 2 * CHUNK + 5)
    assert [sample.id for sample in samples] == [f"synthetic-{i:06d}" for i in range(len(samples))]
    assert len({sample.mask.tobytes() for sample in samples}) == len(samples)
    for index, sample in enumerate(samples):
        assert (sample.mask == sampler.draw([index])[0]).all()
        assert sample.seed == 3 and sample.mask.dtype == np.uint8
        assert sample.image is sample.field_of_view is sample.label is sample.group is None
    first = next(synthetic_set.draw(Sampler((64,), threshold_noise, 4), "mask"))
    assert (first.mask != samples[0].mask).any()


@pytest.mark.parametrize("with_view", [True, False])
def test_the_field_of_view_of_a_photograph_is_estimated_from_it(with_view):
    def paint(noise, labels=None):
        colours = np.clip(150 + 20 * np.reshape(noise, [-1, 1, 1, 3]), 60, 255)
        return (colours * disc()).astype(np.uint8)

    for sample in islice(synthetic_set.draw(Sampler((3,), paint, 0), "image", with_view), 2):
        if with_view:
            assert (sample.field_of_view == estimate_field_of_view(sample.image)).all()
            assert 0.5 < sample.field_of_view.mean() < 0.7
        else:
            assert sample.field_of_view is None


# ---------------------------------------------------------------- the order of the classes


RANDOM_SHARES = [np.random.default_rng(seed).integers(1, 60, 2 + seed // 2).tolist() for seed in range(20)]


@pytest.mark.parametrize(
    "shares", [[5], [1, 1], [3, 1], [6, 4, 2], [1, 1, 1, 97], [13, 7, 5, 3, 2, 1], [100, 99, 1, 1], *RANDOM_SHARES]
)
def test_every_prefix_has_the_classes_in_their_shares_to_less_than_one(shares):
    shares = {f"c{i}": share for i, share in enumerate(shares)}
    total, drawn = sum(shares.values()), dict.fromkeys(shares, 0)
    for n, name in enumerate(itertools.islice(synthetic_set.order_classes(shares), 2 * total), 1):
        drawn[name] += 1
        assert all(abs(drawn[other] - n * shares[other] / total) < 1 for other in shares)
        if n % total == 0:
            assert drawn == {other: n // total * shares[other] for other in shares}


# ---------------------------------------------------------------- labelled sets


class LabelledSamples(list):
    class_names = NAMES


def labelled(counts):
    """So many real Samples of each class, of 16 x 16 pixels."""
    labels = np.repeat(NAMES, counts)
    images = [RNG.integers(0, 40, [16, 16, 1], np.uint8) + np.uint8(80 * NAMES.index(name)) for name in labels]
    return LabelledSamples(Sample(f"r{i}", images[i], label=str(name)) for i, name in enumerate(labels))


def paint_shades(noise, labels=None, shade=None):
    """Noise of the brightness of its class."""
    level = np.asarray(labels) @ SHADES if shade is None else np.full(len(noise), shade)
    values = np.tanh(np.reshape(noise, [-1, 16, 16, 1])) * 0.1 + level[:, None, None, None]
    return np.rint((values + 1) * 127.5).astype(np.uint8)


CONDITIONAL = dict.fromkeys(NAMES, Sampler((256,), paint_shades, 3, classes=3))
ONE_A_CLASS = {
    name: Sampler((256,), functools.partial(paint_shades, shade=shade), 3)
    for name, shade in zip(NAMES, SHADES, strict=True)
}


def draw_labelled(samplers, count, real, is_balanced=False, with_hash_filter=False, with_pixel_noise=False):
    tally, rejected = {}, []
    shares = synthetic_set.count_shares(real, is_balanced)
    stream = synthetic_set.draw_labelled(
        samplers, real, shares=shares, with_hash_filter=with_hash_filter, with_pixel_noise=with_pixel_noise,
        tally=tally, rejected=rejected,
    )  # fmt: skip
    return islice(stream, count), tally, rejected


def count_labels(samples):
    return [sum(sample.label == name for sample in samples) for name in NAMES]


@pytest.mark.parametrize("samplers", [CONDITIONAL, ONE_A_CLASS], ids=["conditional", "one a class"])
def test_a_labelled_set_has_the_real_distribution_and_the_right_pictures(samplers):
    real = labelled((6, 4, 2))
    samples, *_ = draw_labelled(samplers, 12, real)
    assert [sample.id for sample in samples] == [f"synthetic-{i:06d}" for i in range(12)]
    assert count_labels(samples) == [6, 4, 2]
    for sample in samples:
        assert abs(sample.image.mean() / 127.5 - 1 - SHADES[NAMES.index(sample.label)]) < 0.05
        assert sample.seed == 3 and sample.group is None
    assert len({sample.image.tobytes() for sample in samples}) == 12
    more, *_ = draw_labelled(samplers, 40, real)
    for one, other in zip(samples, more):
        assert one.label == other.label and (one.image == other.image).all()
    balanced, *_ = draw_labelled(samplers, 9, real, is_balanced=True)
    assert count_labels(balanced) == [3, 3, 3]


def test_classes_without_a_real_image_are_not_drawn_and_seeds_differ():
    real = labelled((3, 0, 2))
    assert synthetic_set.count_shares(real, False) == {NAMES[0]: 3, NAMES[2]: 2}
    assert synthetic_set.count_shares(real, True) == {NAMES[0]: 1, NAMES[2]: 1}
    samples, tally, _ = draw_labelled(CONDITIONAL, 10, real)
    assert count_labels(samples) == [6, 0, 4] and tally["classes"].keys() == {NAMES[0], NAMES[2]}
    others, *_ = draw_labelled(dict.fromkeys(NAMES, Sampler((256,), paint_shades, 4, classes=3)), 10, real)
    assert all((one.image != two.image).any() for one, two in zip(samples, others, strict=True))


def test_each_class_is_filtered_by_its_own_real_images_and_counted():
    bright = [np.where(np.arange(256) < 60 + i, 200, 20).astype(np.uint8).reshape(16, 16, 1) for i in range(30)]
    drawn = [sample.image for sample in islice(synthetic_set.draw(CONDITIONAL[NAMES[0]], "image", False, (0, "")), 130)]
    real = [Sample(f"a{i}", image, label=NAMES[0]) for i, image in enumerate(drawn[100:])]
    real += [Sample(f"b{i}", image, label=NAMES[1]) for i, image in enumerate(bright)]  # nothing like the sampler's
    real = LabelledSamples(real)
    samples, tally, rejected = draw_labelled(CONDITIONAL, 20, real, with_hash_filter=True)
    assert count_labels(samples) == [10, 10, 0]
    first, second = tally["classes"].values()
    assert first["rate"] < 0.5 and first["too_far"] == 0
    assert second == {"candidates": 100, "rejected": 90, "too_far": 10, "rate": 1.0}
    assert tally["candidates"] == first["candidates"] + 100 and tally["rejected"] == first["rejected"] + 90
    assert len(rejected) == hash_filter.REJECTED_SHOWN and NAMES[1] in {sample.label for sample in rejected}
    fewer, *_ = draw_labelled(CONDITIONAL, 7, real, with_hash_filter=True)
    assert all((one.image == two.image).all() for one, two in zip(fewer, samples))


def test_each_class_gets_the_pixel_noise_of_its_own(monkeypatch):
    monkeypatch.setattr(pixel_noise, "MEASURED", 8)
    levels = dict(zip(NAMES, (0.02, 0.06, 0.1), strict=True))
    real = LabelledSamples(
        Sample(f"{name}{i}", np.clip(RNG.normal(127.5, 255 * level, [64, 64, 1]), 0, 255).astype(np.uint8), label=name)
        for name, level in levels.items()
        for i in range(8)
    )
    grey = Sampler((1,), lambda noise, labels=None: np.full([len(noise), 64, 64, 1], 127, np.uint8), 3)
    samples, *_ = draw_labelled(dict.fromkeys(NAMES, grey), 12, real, with_pixel_noise=True)
    for sample in samples:
        assert sample.image.std() / 255 == pytest.approx(levels[sample.label], rel=0.08)


# ---------------------------------------------------------------- pairs


def paint_photograph(mask, index):
    """Vessels dark, the rest by the index, all within a disc."""
    return ((150 + index - 50 * mask) * disc() * np.ones(3)).astype(np.uint8)


def draw_masks(count):
    rng = np.random.default_rng(0)
    masks = (rng.random([count, 64, 64, 1]) < 0.2).astype(np.uint8)
    return [Sample(f"synthetic-{i:06d}", mask=mask, seed=3) for i, mask in enumerate(masks)]


def test_photographs_are_painted_with_mask_and_index():
    masks = draw_masks(3)
    pairs = list(synthetic_set.paint(paint_photograph, iter(masks), False))
    for index, (pair, mask) in enumerate(zip(pairs, masks, strict=True)):
        assert (pair.id, pair.seed, pair.field_of_view) == (mask.id, 3, None)
        assert (pair.image == paint_photograph(mask.mask, index)).all() and (pair.mask == mask.mask).all()


def test_of_a_mask_only_what_lies_in_the_photographs_field_of_view_is_kept():
    masks = draw_masks(2)
    for pair, mask in zip(synthetic_set.paint(paint_photograph, masks, True), masks, strict=True):
        expected = estimate_field_of_view(pair.image)
        assert (pair.field_of_view == expected).all() and 0.5 < expected.mean() < 0.7
        assert pair.mask.dtype == np.uint8 and (pair.mask == np.where(expected, mask.mask, 0)).all()
        assert (pair.mask != mask.mask).any()


# ---------------------------------------------------------------- the manifest


def test_what_a_synthetic_set_says_of_the_real_one_names_no_file(tmp_path):
    extra = {"fields_of_view": "none", "test_split": "official", "holdout": 0, "fingerprint": "ab"}
    extra |= {"data": "/clinic/eyes", "data_dir": "/clinic", "labels": "grade"}
    masks = draw_masks(2)
    manifest = write_records(tmp_path / "set", "eyes", synthetic_set.paint(paint_photograph, masks, False),
                             source="/clinic/eyes", extra=extra)  # fmt: skip
    described = synthetic_set.describe_real(manifest)
    said = json.dumps(described)
    assert "clinic" not in said and "synthetic-0" not in said and "fingerprint" not in described
    assert (described["name"], described["counts"], described["labels"]) == ("eyes", {"train": 2}, "grade")
    assert "chest_xrays" not in described
