"""Phantoms with labels: chest X-rays and histology tiles that can be told apart by what they show,
and not by brightness or colour.
"""

import collections
import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from skimage.color import rgb2gray, rgb2hed
from skimage.feature import local_binary_pattern
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from synthmed_tf.datasets import study_groups
from synthmed_tf.datasets.fingerprint import fingerprint_set
from synthmed_tf.datasets.load import load_samples
from synthmed_tf.datasets.phantoms import histology, xray
from synthmed_tf.datasets.prepare import prepare
from synthmed_tf.datasets.sources import BUILT_IN, check_set, has_masks
from synthmed_tf.datasets.split import split_entries
from synthmed_tf.records.manifest import read_manifest
from synthmed_tf.sample import InputError

SETS = {"phantom_xray": xray, "phantom_histology": histology}
KINDS = {"phantom_xray": ((256, 256, 1), np.uint16), "phantom_histology": ((96, 96, 3), np.uint8)}


def draw(module, entries):
    return np.stack([module.read_entry(entry, entry.split).image for entry in entries])


@pytest.fixture(scope="module")
def films():
    """(entries, images [n, 256, 256] in [0, 1]) of eight rounds to train on and four to test on."""
    rounds, first = xray.ROUND, xray.TRAINING
    entries = xray.list_entries(None)
    entries = entries[: 8 * rounds] + entries[first : first + 4 * rounds]
    return entries, draw(xray, entries)[..., 0] / np.float32(65535)


@pytest.fixture(scope="module")
def tiles():
    """(entries, images [n, 96, 96, 3] uint8) of six slides to train on and three to test on, 24 tiles each."""
    entries = [
        entry
        for slide in (0, 1, 2, 3, 4, 5, 10, 11, 12)
        for entry in histology.list_entries(None)[slide * 40 : slide * 40 + 24]
    ]
    return entries, draw(histology, entries)


def accuracy(model, features, entries, classes):
    """Of a model trained on the training split and tested on the test split. classes: {label: class}, others left out."""
    features = np.reshape(features, (len(entries), -1))
    chosen = {
        split: [n for n, entry in enumerate(entries) if entry.split == split and entry.label in classes]
        for split in ("train", "test")
    }
    truth = {split: [classes[entries[n].label] for n in chosen[split]] for split in chosen}
    return model.fit(features[chosen["train"]], truth["train"]).score(features[chosen["test"]], truth["test"])


def logistic(*steps):
    return make_pipeline(*steps, StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))


# ---------------------------------------------------------------- both sets


@pytest.mark.parametrize("name", SETS)
def test_sizes_types_and_ranges(name):
    shape, dtype = KINDS[name]
    for entry in SETS[name].list_entries(None)[::150]:
        sample = SETS[name].read_entry(entry, "train")
        assert sample.image.shape == shape and sample.image.dtype == dtype
        assert sample.mask is None and sample.field_of_view is None
        assert (sample.id, sample.label, sample.group) == (entry.id, entry.label, entry.group)
        low, high = np.percentile(sample.image, [1, 99]) / np.iinfo(dtype).max
        assert low < 0.4 and high > 0.7


def test_films_have_more_than_eight_bits():
    assert len(np.unique(xray.draw_xray(3))) > 10000


@pytest.mark.parametrize("name", SETS)
def test_splits_keep_groups_whole_and_classes_balanced(name):
    entries = SETS[name].list_entries(None)
    assert len(entries) == len({entry.id for entry in entries}) == SETS[name].COUNT == 600
    of_group = collections.defaultdict(set)
    for entry in entries:
        of_group[entry.group].add(entry.split)
    assert all(len(splits) == 1 for splits in of_group.values())
    for split, total in (("train", 400), ("test", 200)):
        counts = collections.Counter(entry.label for entry in entries if entry.split == split)
        assert len(set(counts.values())) == 1, "as many of each class"
        assert sorted(counts) == sorted({entry.label for entry in entries})
        assert abs(sum(counts.values()) - total) <= 8


@pytest.mark.parametrize("name", SETS)
def test_an_image_is_a_pure_function_of_its_number_also_in_another_process_without_tensorflow(name):
    def digests():
        chosen = SETS[name].list_entries(None)[7::300]
        return [hashlib.sha256(image.tobytes()).hexdigest() for image in draw(SETS[name], chosen)]

    code = (
        f"import sys, json, hashlib; from synthmed_tf.datasets import {name} as module;"
        "images = [module.read_entry(entry, '').image for entry in module.list_entries(None)[307::-300]];"
        "assert 'tensorflow' not in sys.modules;"
        "print(json.dumps([hashlib.sha256(image.tobytes()).hexdigest() for image in images][::-1]))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert digests() == digests() == json.loads(run.stdout)


@pytest.mark.parametrize("name", SETS)
def test_the_table_of_sets_knows_them(name, tmp_path):
    check_set(name, tmp_path)
    assert not has_masks(name, tmp_path)
    with pytest.raises(InputError, match="no masks"):
        check_set(name, tmp_path, needs_masks=True)
    assert fingerprint_set(name, tmp_path) == fingerprint_set(name, "elsewhere")
    sample = next(load_samples(name, tmp_path))
    assert sample.split == "train" and sample.label and sample.group
    assert len({fingerprint_set(each, tmp_path) for each in BUILT_IN}) == 3


@pytest.mark.parametrize("name, of_group", [("phantom_xray", (1, 2)), ("phantom_histology", (40,))])
def test_held_out_groups_are_whole(name, of_group, tmp_path):
    entries = split_entries(name, tmp_path, holdout=3)
    held_out = collections.Counter(entry.group for entry in entries if entry.split == "test")
    assert len(held_out) == 3 and set(held_out.values()) <= set(of_group)
    assert not held_out.keys() & {entry.group for entry in entries if entry.split == "train"}


@pytest.mark.parametrize("name, classes", [("phantom_xray", 6), ("phantom_histology", 2)])
def test_prepared_sets_name_their_classes_in_order(name, classes, tmp_path, monkeypatch):
    few = SETS[name].list_entries(None)[:12] + SETS[name].list_entries(None)[-12:]
    monkeypatch.setattr(SETS[name], "entries", lambda data_dir, labels=None: few)
    manifest = read_manifest(prepare(name, tmp_path, (64, 64), out_dir=tmp_path / "out"))
    names = manifest["class_names"]
    assert names == sorted({entry.label for entry in few}) and len(names) == classes
    assert manifest["counts"] == {"train": 12, "test": 12}
    assert manifest["test_split"] == "official" and manifest["fields_of_view"] == "none"


# ---------------------------------------------------------------- X-rays


def test_labels_follow_from_gender_age_and_bins():
    found = xray.list_entries(None)
    assert {entry.label for entry in found} == {
        f"{gender} {first}-{last}"
        for gender in study_groups.GENDERS
        for first, last in study_groups.BINS["young_mature"]
    }
    for bins in ("x_norm", "18-30,60-68"):
        for film, entry in enumerate(xray.list_entries(None, labels=bins)):
            person = xray.draw_person(xray.find_patient(film))
            assert entry.label == study_groups.label_person(*person, study_groups.parse_bins(bins))
            assert entry.id == found[film].id and entry.group == found[film].group
    assert any(entry.label is None for entry in xray.list_entries(None, labels="18-30,60-68"))
    with pytest.raises(InputError, match="age bins"):
        xray.list_entries(None, labels="old")


def test_every_third_patient_has_two_films_that_differ():
    films = collections.defaultdict(list)
    for film in range(xray.COUNT):
        films[xray.find_patient(film)].append(film)
    assert len(films) == 450 and sorted(films) == list(range(450))
    assert collections.Counter(map(len, films.values())) == {1: 300, 2: 150}
    first, second = next(pair for pair in films.values() if len(pair) == 2)
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


def test_lungs_are_dark_between_bright_tissue_and_the_surround_is_black(films):
    mean = films[1].mean(0)
    right, left, middle = mean[110:140, 75:95].mean(), mean[110:140, 165:185].mean(), mean[110:140, 122:134].mean()
    liver, corners = mean[200:220, 80:110].mean(), mean[:20, :40].mean()
    assert corners < 0.15 < max(right, left) < 0.55 < min(middle, liver)


def test_gender_and_age_can_be_learned_but_not_from_brightness(films):
    entries, images = films
    small = images.reshape(len(images), 64, 4, 64, 4).mean((2, 4))
    found = study_groups.list_tasks({entry.label for entry in entries})
    assert set(found) == {"gender", "age group"}
    for task, classes in found.items():
        learned = accuracy(logistic(PCA(50, random_state=0)), small, entries, classes)
        brightness = accuracy(logistic(), images.mean((1, 2)), entries, classes)
        assert 0.75 < learned < 0.99, (task, learned)
        assert brightness < 0.7, (task, brightness)


# ---------------------------------------------------------------- histology


def test_tumour_can_be_learned_from_texture_but_not_from_colour(tiles):
    entries, images = tiles
    classes = {name: name for name in histology.CLASSES}
    grey = [np.uint8(rgb2gray(image) * 255) for image in images]  # P2: histology in grey
    texture = [
        [np.bincount(local_binary_pattern(each, 8, radius, "uniform").astype(int).ravel(), minlength=10)]
        for each in grey
        for radius in (2, 3, 4)
    ]
    learned = accuracy(RandomForestClassifier(200, random_state=0), texture, entries, classes)
    assert 0.75 < learned < 0.99, learned
    colour = accuracy(logistic(), images.mean((1, 2)), entries, classes)
    brightness = accuracy(logistic(), images.mean((1, 2, 3)), entries, classes)
    assert colour < 0.75 and brightness < 0.7, (colour, brightness)


def test_nuclei_take_haematoxylin_and_what_surrounds_them_eosin(tiles):
    """By scikit-image's own colour deconvolution: dark pixels hold more haematoxylin than others, pink ones more eosin."""
    for image in tiles[1][::20]:
        haematoxylin, eosin, _ = np.moveaxis(rgb2hed(image), -1, 0)
        grey = rgb2gray(image)
        nuclei, glass = grey < np.quantile(grey, 0.1), grey > np.quantile(grey, 0.9)
        assert haematoxylin[nuclei].mean() > haematoxylin[~nuclei].mean() + 0.05
        assert eosin[~nuclei & ~glass].mean() > eosin[glass].mean()


def test_tumour_nuclei_are_larger_paler_and_less_alike_than_lymphocytes():
    lymphocyte, tumour = histology.LYMPHOCYTE, histology.TUMOUR
    assert tumour.radius[0] > lymphocyte.radius[1]
    assert sum(tumour.dark) < sum(lymphocyte.dark)
    for trait in ("radius", "stretch", "dark"):
        assert np.ptp(getattr(tumour, trait)) > np.ptp(getattr(lymphocyte, trait)), trait


def test_slides_differ_in_colour_and_hold_both_classes(tiles):
    entries, images = tiles
    colours = collections.defaultdict(list)
    for entry, image in zip(entries, images, strict=True):
        colours[entry.group].append(image.mean((0, 1)))
    means = np.array([np.mean(each, 0) for each in colours.values()])
    assert (np.ptp(means, axis=0) > 10).all()
    for group in colours:
        assert collections.Counter(e.label for e in entries if e.group == group) == {"normal": 12, "tumour": 12}
