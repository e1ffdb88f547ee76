import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from synthmed_tf.metrics import membership

RNG = np.random.default_rng(0)


def test_membership_is_the_area_under_the_curve_by_scikit_learn():
    training, held_out = RNG.random(12), RNG.random(9)
    found = membership.measure_membership(training, held_out)
    assert found["mean"] == pytest.approx(roc_auc_score([1] * 12 + [0] * 9, [*training, *held_out]))
    assert found["interval"][0] < found["mean"] < found["interval"][1]
    sixfold = np.repeat(training, 6), np.repeat(held_out, 6)  # of each patient six images that say the same
    together, alone = (
        np.diff(membership.measure_membership(*sixfold, groups=groups)["interval"])[0]
        for groups in (np.repeat(range(21), 6), None)
    )
    assert together > 1.8 * alone > 0  # the square root of six, but for the ends of the scale


def test_how_many_are_given_away_where_one_guess_about_a_held_out_image_is_wrong_by_hand():
    found = membership.measure_membership(np.array([0.9, 0.75, 0.7, 0.3, 0.1]), np.array([0.8, 0.7, 0.2, 0.0]))
    assert found["false_positive_rate"] == 1 / 4 and found["true_positive_rate"] == 2 / 5
    draws = np.random.default_rng(1).random((200, 9))
    rates = [membership.measure_membership(each[:5], each[5:])["true_positive_rate"] for each in draws]
    assert np.mean(rates) == pytest.approx(found["true_positives_by_chance"], abs=0.05)
    assert membership.measure_membership(np.array([0.3, 0.9]), np.array([0.5]))["true_positive_rate"] == 1


def test_closer_to_training_by_hand_and_its_chance():
    to_training = np.array([[0.9, 0.1], [0.2, 0.3], [0.5, 0.4], [0.6, 0.2]])
    to_held_out = np.array([[0.5, 0.4], [0.8, 0.1], [0.5, 0.2], [0.1, 0.3]])
    found = membership.measure_closeness(to_training, to_held_out)
    assert found["share"] == pytest.approx((1 + 0 + 0.5 + 1) / 4)
    assert found["chance"][0] <= 0.5 <= found["chance"][1]
    rng = np.random.default_rng(7)
    honest = rng.random((300, 60)), rng.random((300, 20))  # thrice as many training images bring them no nearer
    found = membership.measure_closeness(*honest)
    assert found["share"] == pytest.approx(0.5, abs=0.06) and found["chance"][0] < found["share"] < found["chance"][1]
    leaking = membership.measure_closeness(honest[0] + 0.5, honest[1])
    assert leaking["share"] > leaking["chance"][1]
    # One slide on each side: relabelling can but swap them
    swapped = membership.measure_closeness(to_training, to_held_out, groups=["a", "a", "b", "b"])
    assert swapped["share"] == 0.625 and swapped["chance"] == [0.375, 0.625]


def test_the_chance_of_being_closer_to_training_holds_for_slides_of_many_images():
    rng, outside = np.random.default_rng(3), {"slides": 0, "images": 0}
    groups = np.repeat(range(8), 20)
    for _ in range(15):  # what is alike is a slide's colour, of no slide more than of another
        alike = rng.random((20, 8))[:, groups] + rng.normal(0, 1, 8)[groups] + 0.01 * rng.random((20, 160))
        for name, of in (("slides", groups), ("images", None)):
            found = membership.measure_closeness(alike[:, :80], alike[:, 80:], of)
            outside[name] += not found["chance"][0] <= found["share"] <= found["chance"][1]
    assert outside["slides"] <= 2 and outside["images"] >= 4
