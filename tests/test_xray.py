"""X-ray phantoms: what gender and age do to a chest can be learned, and not from brightness."""

import collections

import numpy as np
import pytest
from drawn_phantoms import accuracy, draw, logistic
from sklearn.decomposition import PCA

from synthmed_tf.datasets import study_groups
from synthmed_tf.datasets.phantoms import xray
from synthmed_tf.sample import InputError


@pytest.fixture(scope="module")
def xrays():
    """(entries, images [n, 256, 256] in [0, 1]) of eight rounds to train on and four to test on."""
    rounds, first = xray.ROUND, xray.TRAINING
    entries = xray.list_entries(None)
    entries = entries[: 8 * rounds] + entries[first : first + 4 * rounds]
    return entries, draw(xray, entries)[..., 0] / np.float32(65535)


def test_xrays_have_more_than_eight_bits():
    assert len(np.unique(xray.draw_xray(3))) > 10000


def test_labels_follow_from_gender_age_and_bins():
    found = xray.list_entries(None)
    assert {entry.label for entry in found} == {
        f"{gender} {first}-{last}"
        for gender in study_groups.GENDERS
        for first, last in study_groups.BINS["young_mature"]
    }
    for bins in ("x_norm", "18-30,60-68"):
        for number, entry in enumerate(xray.list_entries(None, labels=bins)):
            person = xray.draw_person(xray.find_patient(number))
            assert entry.label == study_groups.label_person(*person, study_groups.parse_bins(bins))
            assert entry.id == found[number].id and entry.group == found[number].group
    assert any(entry.label is None for entry in xray.list_entries(None, labels="18-30,60-68"))
    with pytest.raises(InputError, match="age bins"):
        xray.list_entries(None, labels="old")


def test_every_third_patient_has_two_xrays_that_differ():
    xrays = collections.defaultdict(list)
    for number in range(xray.COUNT):
        xrays[xray.find_patient(number)].append(number)
    assert len(xrays) == 450 and sorted(xrays) == list(range(450))
    assert collections.Counter(map(len, xrays.values())) == {1: 300, 2: 150}
    first, second = next(pair for pair in xrays.values() if len(pair) == 2)
    assert not np.array_equal(xray.draw_xray(first), xray.draw_xray(second))


def test_traits_differ_between_groups_on_average_and_overlap():
    bodies = [xray.draw_anatomy(patient) for patient in range(450)]
    men, women = ([body for body in bodies if body.gender == gender] for gender in ("male", "female"))
    young, mature = (
        [b for b in bodies if low <= b.age <= high] for low, high in (study_groups.YOUNG, study_groups.MATURE)
    )
    for trait, less, more in (
        ("thorax", women, men),
        ("rib", women, men),
        ("breast", men, women),
        ("cardiothoracic", young, mature),
        ("knob", young, mature),
        ("vessels", young, mature),
        ("bone", mature, young),
    ):
        low, high = (np.array([getattr(body, trait) for body in group]) for group in (less, more))
        assert low.mean() + 0.5 * low.std() < high.mean(), trait
        assert low.max() > np.quantile(high, 0.25), trait


def test_lungs_are_dark_between_bright_tissue_and_the_surround_is_black(xrays):
    mean = xrays[1].mean(0)
    right, left, middle = mean[110:140, 75:95].mean(), mean[110:140, 165:185].mean(), mean[110:140, 122:134].mean()
    liver, corners = mean[200:220, 80:110].mean(), mean[:20, :40].mean()
    assert corners < 0.15 < max(right, left) < 0.55 < min(middle, liver)


def test_gender_and_age_can_be_learned_but_not_from_brightness(xrays):
    entries, images = xrays
    small = images.reshape(len(images), 64, 4, 64, 4).mean((2, 4))
    found = study_groups.list_tasks({entry.label for entry in entries})
    assert set(found) == {"gender", "age group"}
    for task, classes in found.items():
        learned = accuracy(logistic(PCA(50, random_state=0)), small, entries, classes)
        brightness = accuracy(logistic(), images.mean((1, 2)), entries, classes)
        assert 0.75 < learned < 0.99, (task, learned)
        assert brightness < 0.7, (task, brightness)
