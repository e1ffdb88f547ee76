import time

import numpy as np
import pytest
import sklearn.metrics
from PIL import Image

from synthmed_tf.metrics import f1


def images(rng, sizes, decimals=2):
    """Predictions with many ties, masks and fields of view of the given sizes."""
    masks = [(rng.random(size) < 0.2).astype(np.uint8) for size in sizes]
    predicted = [np.clip(rng.normal(0.35 + 0.3 * mask, 0.2), 0, 1).round(decimals).astype(np.float32) for mask in masks]
    views = [(rng.random(size) < 0.7).astype(np.uint8) for size in sizes]
    return predicted, masks, views


def reference(predicted, mask, threshold):
    """The same scores by scikit-learn."""
    binary = predicted >= np.float32(threshold)
    return {
        "f1": sklearn.metrics.f1_score(mask, binary),
        "f1_macro": sklearn.metrics.f1_score(mask, binary, average="macro"),
        "auc_roc": sklearn.metrics.roc_auc_score(mask, predicted),
        "auc_pr": sklearn.metrics.average_precision_score(mask, predicted),
        "sensitivity": sklearn.metrics.recall_score(mask, binary),
        "specificity": sklearn.metrics.recall_score(mask, binary, pos_label=0),
        "accuracy": sklearn.metrics.accuracy_score(mask, binary),
    }


def test_scores_agree_with_scikit_learn_under_all_three_conventions():
    predicted, masks, views = images(np.random.default_rng(0), [(23, 31), (40, 17), (16, 16)])
    views[2] = None
    found = f1.score(predicted, masks, views, 0.5)
    seen = [np.ones_like(m, bool) if v is None else v.astype(bool) for m, v in zip(masks, views)]
    inside = [(p[s], m[s]) for p, m, s in zip(predicted, masks, seen)]
    pooled = reference(*map(np.concatenate, zip(*inside)), 0.5)
    whole = reference(np.concatenate([p.ravel() for p in predicted]), np.concatenate([m.ravel() for m in masks]), 0.5)
    each = [reference(p, m, 0.5) for p, m in inside]
    assert set(found) == set(f1.METRICS) == set(pooled)
    for metric, values in found.items():
        assert tuple(values) == f1.CONVENTIONS
        assert values["fov_pooled"] == pytest.approx(pooled[metric], abs=1e-12)
        assert values["whole_image"] == pytest.approx(whole[metric], abs=1e-12)
        assert values["fov_per_image"] == pytest.approx(np.mean([image[metric] for image in each]), abs=1e-12)


def test_scores_by_hand():
    predicted = [np.float32([[0.9, 0.8], [0.3, 0.1]])]
    masks = [np.uint8([[1, 0], [1, 0]])]
    found = {m: v["whole_image"] for m, v in f1.score(predicted, masks, [None], 0.5).items()}
    assert found["sensitivity"] == found["specificity"] == found["accuracy"] == found["f1"] == found["f1_macro"] == 0.5
    assert found["auc_roc"] == 0.75  # of the four (vessel, background) pairs three are in order
    assert found["auc_pr"] == pytest.approx((1 + 2 / 3) / 2)


def test_a_value_equal_to_the_threshold_is_vessel():
    predicted, masks = [np.float32([[0.7, 0.1]])], [np.uint8([[1, 0]])]
    assert f1.score(predicted, masks, [None], 0.7)["f1"]["fov_pooled"] == 1.0


def test_undefined_scores_are_none_and_do_not_enter_the_mean_over_images():
    empty, full = np.zeros((4, 4), np.uint8), np.ones((4, 4), np.uint8)
    found = f1.score([np.float32(empty)], [empty], [None], 0.5)
    for metric in ("f1", "f1_macro", "auc_roc", "auc_pr", "sensitivity"):
        assert set(found[metric].values()) == {None}
    assert found["specificity"]["fov_pooled"] == found["accuracy"]["fov_pooled"] == 1.0
    two = f1.score([np.float32(empty), np.float32(full)], [empty, full], [None, None], 0.5)
    assert two["f1"]["fov_per_image"] == 1.0
    nothing_seen = f1.score([np.float32(full)], [full], [empty], 0.5)
    assert nothing_seen["accuracy"]["fov_pooled"] is None and nothing_seen["accuracy"]["whole_image"] == 1.0


@pytest.mark.parametrize("dtype", [np.uint8, bool])
def test_a_second_observer_has_scores_but_no_auc(dtype):
    rng = np.random.default_rng(1)
    first, second = rng.random((2, 30, 30, 1)) < 0.3
    found = f1.score([second.astype(dtype)], [first.astype(np.uint8)], [None], 0.9)
    assert found["f1"]["fov_pooled"] == pytest.approx(sklearn.metrics.f1_score(first.ravel(), second.ravel()))
    assert set(found["auc_roc"].values()) == set(found["auc_pr"].values()) == {None}


def test_best_threshold_maximises_f1_inside_the_field_of_view():
    predicted, masks, views = images(np.random.default_rng(2), [(40, 40), (30, 50)])
    threshold = f1.choose_threshold(predicted, masks, views)
    pooled = np.concatenate([p[v == 1] for p, v in zip(predicted, views)])
    truth = np.concatenate([m[v == 1] for m, v in zip(masks, views)])
    every = {value: sklearn.metrics.f1_score(truth, pooled >= value) for value in np.unique(pooled)}
    assert every[np.float32(threshold)] == pytest.approx(max(every.values()), abs=1e-12)
    assert f1.score(predicted, masks, views, threshold)["f1"]["fov_pooled"] == pytest.approx(
        max(every.values()), abs=1e-12
    )


def test_best_threshold_without_any_vessel_is_the_uninformed_one():
    assert f1.choose_threshold([np.float32([[0.2]])], [np.uint8([[0]])], [None]) == 0.5


@pytest.mark.parametrize(
    "predicted, mask, view, message",
    [
        (np.zeros((4, 5)), np.zeros((5, 4), int), None, "image 0: prediction"),
        (np.zeros((4, 4)), np.full((4, 4), 255), None, "mask must hold 0 and 1"),
        (np.full((4, 4), np.nan), np.zeros((4, 4), int), None, "not be NaN"),
        (np.full((4, 4), 1.5), np.zeros((4, 4), int), None, r"lie in \[0, 1\]"),
        (np.zeros((4, 4)), np.zeros((4, 4), int), np.ones((3, 4), int), "view"),
    ],
)
def test_input_that_does_not_fit_is_refused(predicted, mask, view, message):
    with pytest.raises(ValueError, match=message):
        f1.score([predicted], [mask], [view], 0.5)


def test_drives_second_observer_scores_what_the_literature_says(real_data):
    def read(folder):
        files = sorted((real_data / "drive" / "test" / folder).iterdir())
        return [(np.asarray(Image.open(file).convert("L")) > 127).astype(np.uint8) for file in files]

    if not (real_data / "drive" / "test" / "2nd_manual").is_dir():
        pytest.skip(f"{real_data}/drive has no second observer")
    found = f1.score(read("2nd_manual"), read("1st_manual"), read("mask"), 0.5)
    # Fraz et al. 2012, "An ensemble classification-based approach ...", table III: second human observer on DRIVE.
    for metric, published in (("sensitivity", 0.7760), ("specificity", 0.9724), ("accuracy", 0.9472)):
        assert found[metric]["fov_per_image"] == pytest.approx(published, abs=2e-4)


def test_twenty_drive_sized_images_take_less_than_fifteen_seconds():
    predicted, masks, views = images(np.random.default_rng(3), [(584, 565)] * 20, decimals=7)
    start = time.process_time()
    f1.score(predicted, masks, views, 0.5)
    assert time.process_time() - start < 15


def test_counts_pool_to_the_f1_of_scikit_learn():
    rng = np.random.default_rng(0)
    masks = [(rng.random([9, 7, 1]) < 0.4).astype(np.uint8) for _ in range(5)]
    views = [(rng.random([9, 7, 1]) < 0.7).astype(np.uint8) for _ in range(4)] + [None]
    probabilities = [rng.random([9, 7]).astype(np.float32) for _ in range(5)]
    counted = f1.count_pixels(probabilities, masks, views, 0.6)
    for index in range(5):
        seen = np.ones([9, 7], bool) if views[index] is None else views[index][..., 0] > 0
        truth, found = masks[index][..., 0][seen], probabilities[index][seen] >= 0.6
        (_, fp), (fn, tp) = sklearn.metrics.confusion_matrix(truth, found)
        assert counted[index].tolist() == [tp, fp, fn]
        assert f1.pooled_f1(counted[index : index + 1]) == pytest.approx(sklearn.metrics.f1_score(truth, found))
    whole = f1.score(probabilities, masks, views, 0.6)["f1"]["fov_pooled"]
    assert f1.pooled_f1(counted) == pytest.approx(whole)
    assert np.isnan(f1.pooled_f1(np.zeros([3, 3])))


def test_bootstrap_of_f1_by_hand():
    """One image is all right and one all wrong: a quarter of the draws is all right and a quarter all wrong."""
    right, wrong = [4, 0, 0], [0, 3, 1]
    drawn = f1.score_draws([[right, wrong]], seed=1)
    values, counts = np.unique(drawn.round(9), return_counts=True)
    assert values == pytest.approx([0, 8 / 12, 1])
    assert counts / len(drawn) == pytest.approx([0.25, 0.5, 0.25], abs=0.05)
    assert set(f1.score_draws([[right, wrong]], ["a", "a"])) == {8 / 12}
    of_two = f1.score_draws([[right, wrong], [wrong, wrong]], seed=1)
    assert of_two == pytest.approx(drawn / 2)
