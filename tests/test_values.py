import copy

import pytest
from made_reports import ARMS, make_arms, make_classification

from synthmed_tf.reporting import values

QUIET = {
    "near_copies": 2,
    "by_chance_at_most": 3,
    "caught": {"shifted": 0.9, "tilted": 1.0},
    "near_copy_list": [],
    "membership": {"mean": 0.5, "interval": [0.3, 0.7]},
}


def test_a_part_is_measured_unless_it_is_missing_or_says_why_not():
    assert values.is_measured({"ratio": 1})
    assert not any(map(values.is_measured, (None, {}, {"unavailable": "No masks."})))


def test_masks_are_spoken_of_but_where_there_are_classes_only():
    assert values.shows_benchmark({}, "segmentation") and not values.shows_benchmark({}, "classification")
    assert not values.shows_benchmark({"classification": {}}, "copies")
    assert values.shows_benchmark({"classification": {}, "copies": {}}, "copies")


def test_samples_are_counted_where_their_manifest_is_known():
    report = {"real": {"counts": {"train": 20, "test": 5}}, "synthetic": {"counts": {"train": 50}}}
    assert values.count_samples(report) == {"real": 20, "synthetic": 50, "test": 5}
    foreign = {"real": {"counts": {"train": 20}}, "synthetic": None}
    assert values.count_samples(foreign) == {"real": 20, "synthetic": None, "test": 0}


def test_the_macro_ratio_is_that_of_whole_images():
    segmentation = {"arms": make_arms()}
    shift = 0.02 + 0.002  # of the third convention, of the mean of three runs
    ratio = (ARMS["synthetic"] + shift) / (ARMS["real"] + shift)
    assert values.compute_macro_ratio(segmentation) == pytest.approx(ratio)
    segmentation["arms"]["synthetic"]["f1_macro"]["whole_image"]["mean"] = None
    assert values.compute_macro_ratio(segmentation) is None
    assert [*values.list_arms(segmentation)] == ["real", "synthetic_50", "synthetic", "real_and_synthetic"]


def test_drops_come_the_least_first_and_undefined_ones_not_at_all():
    classification = make_classification(("normal", "tumour"), 1)
    assert [(drop["model"], round(drop["drop"], 4)) for drop in values.list_drops(classification)] == [
        ("knn", 0.0133),
        ("vgg16", 0.125),
    ]
    classification["tasks"]["class"]["knn"]["relative_drop"] = None
    assert [drop["model"] for drop in values.list_drops(classification)] == ["vgg16"]
    assert values.list_folds(classification) == [4]
    assert [model for model, _ in values.order_models({"svm": 1, "vgg16": 2, "knn": 3})] == ["vgg16", "knn", "svm"]


def test_near_shapes_are_those_within_twice_their_floor():
    pairs = ((0.2, 0.1), (0.21, 0.1), (0.0, 0.0), (None, 0.1), (0.1, None))
    morphology = {str(index): {"distance": distance, "floor": floor} for index, (distance, floor) in enumerate(pairs)}
    assert values.count_near_shapes(morphology) == (2, 3)


@pytest.mark.parametrize(
    "worse, judgement",
    [
        ({}, "none"),
        ({"near_copies": 4}, "copies"),
        ({"caught": {"shifted": 0.89, "tilted": 1.0}}, "blind"),
        ({"membership": {"mean": 0.7, "interval": [0.51, 0.9]}}, "membership"),
        ({"membership": {"mean": 0.7, "interval": None}}, "none"),
        ({"membership": None}, "none"),
    ],
)
@pytest.mark.parametrize("part", ["likeness", "halves"])
def test_masks_are_judged_whole_and_by_halves(worse, judgement, part):
    copies = {"likeness": copy.deepcopy(QUIET), "halves": copy.deepcopy(QUIET)}
    copies[part] |= worse
    assert values.judge_masks(copies) == judgement


def test_what_an_audit_catches_and_lists():
    audits = {"structure": QUIET | {"near_copy_list": [{"synthetic_id": "a"}, {"synthetic_id": "b"}]}}
    audits["shading"] = QUIET | {"caught": {"noisy": 0.25}, "near_copy_list": [{"synthetic_id": "b"}]}
    assert values.find_caught(audits.values()) == (0.25, 1.0)
    assert values.count_listed(audits) == 2
    assert not values.stands_out(QUIET) and values.stands_out(QUIET | {"near_copies": 4})
    assert values.is_thinned({"training": 5, "of": {"training": 6}})
    assert not values.is_thinned({"training": 6, "of": {"training": 6}})


def test_shown_masks_are_the_nearest_and_those_around_the_median():
    distances = [0.9, 0.1, 0.5, 0.3, 0.7, 0.2, 0.4, 0.6, 0.8, 1.0]
    copies = {"nearest_training_mask": [{"distance": d} for d in distances], "test_to_training": {"min": 0.35}}
    assert [row["distance"] for row in values.choose_shown(copies)] == [0.1, 0.2, 0.3, 0.5, 0.6, 0.7]
    assert values.count_nearer(copies) == 3


def test_rejections_of_masks_and_of_images():
    assert values.find_rejections({"synthetic": None}) == {"masks": None, "images": None}
    masks = {"candidates": 320, "rejected": 118, "too_near": 2}
    report = {"synthetic": {"stage1": {"filter": masks}, "filter": {"candidates": 0}}}
    assert values.find_rejections(report) == {"masks": {"candidates": 320, "rejected": 118, "kept": 2}, "images": None}
    classes = {name: {"candidates": 100, "rejected": rejected, "too_far": 1} for name, rejected in (("a", 4), ("b", 9))}
    images = {"candidates": 200, "rejected": 13, "too_far": 2, "classes": classes}
    assert values.find_rejections({"synthetic": {"filter": images}})["images"] == {
        "candidates": 200,
        "rejected": 15,
        "kept": 2,
        "worst": ("b", 0.1),
    }
    alone = images | {"classes": {"a": classes["a"]}}
    assert values.find_rejections({"synthetic": {"filter": alone}})["images"]["worst"] is None


def test_a_set_is_drawn_only_if_stage_2_too_learned_from_phantoms():
    phantom, eyes = {"data": "phantom"}, {"data": "idrid"}
    assert values.is_drawn({"real": phantom}) and values.is_drawn({"real": phantom, "photographs": phantom})
    assert not values.is_drawn({"real": eyes}) and not values.is_drawn({"real": phantom, "photographs": eyes})
