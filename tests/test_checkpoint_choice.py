import numpy as np
import pytest
from stage1_helpers import draw_eyes, wedge

from synthmed_tf.images.pixels import to_uint8
from synthmed_tf.metrics import likeness
from synthmed_tf.sample import Sample
from synthmed_tf.smalldata import checkpoint_choice
from synthmed_tf.training.examples import Examples
from synthmed_tf.training.sampler import Sampler


def measure(real, pictures, target, class_names=()):
    """What is measured of a generator that makes `pictures`, each as often, beside these real ones."""

    def paint(noise, labels=None):
        return pictures[np.arange(len(noise)) % len(pictures)]

    examples = Examples(real, [], target, 2, 0, class_names)
    sampler = Sampler((3,), paint, 0, len(class_names))
    return checkpoint_choice.make_measurement(examples, sampler)()


@pytest.fixture(scope="module")
def measured():
    """(masks of 24 eyes, {name: what is measured of such samples beside the first 12})."""
    eyes = draw_eyes(24)
    masks = np.stack([eye.mask for eye in eyes])
    broken = masks[12:] * (np.random.default_rng(0).random(masks[12:].shape) < 0.8).astype(np.uint8)
    sets = {
        "real": masks[12:],
        "broken": broken,
        "repeated": masks[:1].repeat(12, 0),
        "empty": 0 * masks[:12],
        "copied": masks[:12],
    }
    real = [Sample(eye.id, mask=eye.mask) for eye in eyes[:12]]
    return masks, {name: measure(real, pictures, "mask") for name, pictures in sets.items()}


def test_the_distance_tells_real_masks_from_broken_and_from_repeated_ones(measured):
    distance = {name: values["distance"] for name, (values, _) in measured[1].items()}
    assert distance["real"] < 0.6 * min(distance["broken"], distance["repeated"], distance["empty"])


def test_repeated_masks_are_not_diverse_and_that_is_said(measured):
    diversity = {name: values["diversity"] for name, (values, _) in measured[1].items()}
    assert diversity["real"] > 0.9 and diversity["repeated"] == diversity["empty"] == 0
    assert [name for name, (_, warning) in measured[1].items() if warning] == ["repeated", "empty"]


def test_copies_are_not_original(measured):
    masks, originality = measured[0], {name: values["originality"] for name, (values, _) in measured[1].items()}
    assert max(originality["copied"], originality["repeated"]) < 1e-5
    assert 0.9 < originality["real"] < 1.1 < originality["empty"]
    small = likeness.make_mask_thumbnails(masks)
    alike = [likeness.compare(small[i : i + 1], np.delete(small[:12], i, 0))[0].max() for i in range(12)]
    most_similar = likeness.compare(small[12:], small[:12])[0].max(1)
    expected = (1 - np.median(most_similar)) / (1 - np.median(alike))
    assert originality["real"] == pytest.approx(expected, rel=0.03)  # 64 samples of these 12, not each as often


def test_images_are_measured_by_kid_and_have_no_originality():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, [24, 32, 32, 1], np.uint8)
    real = [Sample(str(i), image) for i, image in enumerate(images[:12])]
    (alike, _), (dark, _) = (measure(real, pictures, "image") for pictures in (images[12:], images[12:] // 4))
    assert alike.keys() == {"distance", "diversity"} and abs(alike["distance"]) < 0.1 * dark["distance"]


def test_a_class_of_one_picture_is_low_diversity_however_varied_the_others_are():
    pictures = np.random.default_rng(0).uniform(-1, 1, [64, 32, 32, 1]).astype(np.float32)
    is_second = (np.arange(64) // 32)[:, None, None, None]
    real = [Sample(str(i), to_uint8(picture), label="ab"[i // 32]) for i, picture in enumerate(pictures)]
    values, warning = measure(real, to_uint8(pictures), "image", "ab")
    assert values["diversity"] == pytest.approx(1) and not warning
    values, warning = measure(real, to_uint8(pictures * (1 - is_second)), "image", "ab")
    assert values["diversity"] == 0 and "LOW DIVERSITY 0.00" in warning


def test_pictures_are_drawn_of_the_classes_that_real_ones_have():
    real = [Sample(str(i), np.full([32, 32, 1], i, np.uint8), label="aab"[i % 3]) for i in range(12)]
    drawn = []

    def paint(noise, labels):
        drawn.append(labels)
        return np.zeros([len(noise), 32, 32, 1], np.uint8)

    examples = Examples(real, [], "image", 2, 0, ("a", "b"))
    checkpoint_choice.make_measurement(examples, Sampler((3,), paint, 0, 2))()
    assert (np.concatenate(drawn) == examples.list_typical_labels(checkpoint_choice.LEAST_SAMPLES)).all()


@pytest.mark.parametrize("target", ["mask", "image"])
@pytest.mark.parametrize("count", [1, 3])
def test_nothing_is_measured_beside_one_picture_or_equal_ones(target, count):
    real = [Sample(str(i), wedge().repeat(3, -1) * np.uint8(9), wedge()) for i in range(count)]
    pictures = np.zeros([1, 64, 64, {"mask": 1, "image": 3}[target]], np.uint8)
    assert measure(real, pictures, target) == ({"distance": 0.0}, "")


def test_whole_patients_of_a_large_set_are_held_out_to_measure_against(monkeypatch):
    monkeypatch.setattr(checkpoint_choice, "HELD_OUT", 8)
    monkeypatch.setattr(checkpoint_choice, "LEAST_DIVIDED", 60)
    samples = [Sample(str(index), group=f"patient {index // 3}" if index < 30 else None) for index in range(60)]
    learned, held_out = checkpoint_choice.divide(samples, 0)
    assert 8 <= len(held_out) <= 10 and sorted(s.id for s in [*learned, *held_out]) == sorted(s.id for s in samples)
    assert not {s.group for s in learned} & {s.group for s in held_out} - {None}
    assert checkpoint_choice.divide(samples, 0) == (learned, held_out) != checkpoint_choice.divide(samples, 1)
    assert checkpoint_choice.divide(samples[1:], 0) == (samples[1:], [])
