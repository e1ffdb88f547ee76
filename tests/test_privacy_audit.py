import numpy as np
import pytest
from pictures import draw_blobs, draw_vessels, make_samples

from synthmed_tf.evaluation import privacy_audit
from synthmed_tf.metrics import likeness, planted
from synthmed_tf.sample import Sample


def test_masks_that_were_moved_tilted_and_scaled_are_found_and_other_eyes_are_not():
    training, test, other = (
        [Sample(f"{name}{index}", mask=draw_vessels(index)) for index in range(start, start + 8)]
        for name, start in (("r", 0), ("t", 8), ("s", 16))
    )
    disguised = planted.disguise_masks([sample.mask for sample in training])["all of these"]
    thieves = [Sample(f"s{index}", mask=mask) for index, mask in enumerate(disguised)]
    found = privacy_audit.audit_masks(training, thieves, test)
    by_distance = [row["distance"] < found["test_to_training"]["min"] for row in found["nearest_training_mask"]]
    assert found["likeness"]["near_copies"] == 8 and sum(by_distance) < 8
    assert found["likeness"]["membership"]["mean"] == 1 == found["likeness"]["closer_to_training"]["share"]
    assert {row["synthetic_id"] for row in found["likeness"]["near_copy_list"]} == {f"s{index}" for index in range(8)}
    assert set(found["likeness"]["caught"].values()) == {1.0}
    assert found["halves"]["near_copies"] >= 8 and found["halves"]["protocol"]["of"]["synthetic"] == 16
    honest = privacy_audit.audit_masks(training, other, test)["likeness"]
    assert honest["near_copies"] <= 4 and honest["membership"]["mean"] < 0.85
    assert honest["by_chance"] == pytest.approx(8 / 9) and honest["protocol"]["of"]["synthetic"] == 8
    alone = privacy_audit.audit_masks(training[:1], other, [])
    assert alone["likeness"] == alone["halves"] == {"unavailable": privacy_audit.ALONE}


def test_masks_recombined_of_two_training_masks_are_found_by_their_halves():
    training, test = (
        [
            Sample(f"{name}{index}", mask=draw_vessels(index), group=f"{name}{index}")
            for index in range(start, start + 8)
        ]
        for name, start in (("r", 0), ("t", 8))
    )
    rows = len(training[0].mask) // 2
    mixed = [np.concatenate([a.mask[:rows], b.mask[rows:]]) for a, b in zip(training, [*training[1:], training[0]])]
    found = privacy_audit.audit_masks(training, [Sample(f"s{i}", mask=mask) for i, mask in enumerate(mixed)], test)
    assert found["likeness"]["near_copies"] < 8 and found["halves"]["near_copies"] == 16
    assert found["halves"]["membership"]["mean"] == 1 and found["halves"]["protocol"]["held_out"] == 16
    upper, lower = privacy_audit.Halves(training)[2], privacy_audit.Halves(training)[3]
    assert upper.id == lower.id == "r1" and upper.group == "r1"
    middle = slice(rows // 2, rows // 2 + rows)
    assert (upper.mask[middle] == training[1].mask[:rows]).all() and (
        lower.mask[middle] == training[1].mask[-rows:]
    ).all()
    assert upper.mask.sum() + lower.mask.sum() == training[1].mask.sum()


def test_a_generator_that_copies_is_caught_and_one_that_does_not_is_not():
    training, test, other = (
        make_samples(name, draw_blobs(16, seed=seed)) for seed, name in enumerate(("r", "t", "s"), 5)
    )
    disguised = planted.disguise_images([sample.image for sample in training], [None] * 16)["all of these"][0]
    for view in likeness.VIEWS:
        caught = privacy_audit.audit_images(training, make_samples("s", disguised), test)[view]
        assert (
            caught["near_copies"] == 16
            and caught["membership"]["mean"] == 1
            and caught["closer_to_training"]["share"] == 1
        )
        assert caught["likest"][0]["training_id"][1:] == caught["likest"][0]["synthetic_id"][1:]
        honest = privacy_audit.audit_images(training, other, test)[view]
        assert (
            honest["near_copies"] <= 5
            and 0.2 < honest["membership"]["mean"] < 0.8
            and honest["by_chance"] == pytest.approx(16 / 17)
        )
        listed = caught["near_copy_list"]
        assert {row["synthetic_id"] for row in listed} == {f"s{index}" for index in range(16)}
        assert [row["likeness"] for row in listed] == sorted((row["likeness"] for row in listed), reverse=True)
        assert min(row["likeness"] for row in listed) > caught["control_to_training"]["max"]
        assert len(honest["near_copy_list"]) == honest["near_copies"]
        assert set(honest["caught"].values()) == {1.0}


def test_without_held_out_images_other_patients_are_the_control():
    pictures = draw_blobs(10)
    training = [
        Sample(f"r{index}", image, group=str(index // 2))
        for index, image in enumerate([each for image in pictures[:5] for each in (image, image)])
    ]
    found = privacy_audit.audit_images(training, make_samples("s", pictures[5:]), [])
    for view in likeness.VIEWS:
        assert found[view]["control_to_training"]["max"] < 0.95  # not the other picture of the same patient
        assert found[view]["membership"] is None and found[view]["closer_to_training"] is None
        # The most similar pair of 5 patients is such a pair as 2 of 6 would be in
        assert found[view]["by_chance"] == pytest.approx(5 * 2 / 6)
    assert found["protocol"]["held_out"] == 0
    alone = privacy_audit.audit_images(
        [Sample(f"r{index}", image, group="a") for index, image in enumerate(pictures[:5])],
        make_samples("s", pictures[5:]),
        [],
    )
    # Where all are of one patient, the other images are the control
    assert all(alone[view]["near_copies"] < 5 for view in likeness.VIEWS)
    assert all(alone[view]["by_chance"] == pytest.approx(5 * 2 / 6) for view in likeness.VIEWS)
    assert privacy_audit.audit_images(training[:1], make_samples("s", pictures[5:]), []) == {
        "unavailable": privacy_audit.ALONE
    }


def test_what_was_left_out_is_told(monkeypatch):
    monkeypatch.setattr(privacy_audit, "MOST", 6)
    monkeypatch.setattr(privacy_audit, "MOST_RELABELLED", 4)
    training, test, other = (
        make_samples(name, draw_blobs(9, seed=seed)) for seed, name in enumerate(("r", "t", "s"), 5)
    )
    found = privacy_audit.audit_images(training, other, test)["protocol"]
    assert [found[name] for name in ("training", "synthetic", "held_out")] == [6, 6, 6]
    assert found["of"] == dict.fromkeys(("training", "synthetic", "held_out"), 9)
    assert found["relabelled"] == dict.fromkeys(("training", "synthetic", "held_out"), 4)


def test_the_audit_of_a_dark_set_finds_noisy_copies():
    training, test = (
        make_samples(name, [image // 16 for image in draw_blobs(16, channels=1, seed=seed, dtype=np.uint16)])
        for seed, name in enumerate(("r", "t"), 5)
    )
    audit = privacy_audit.audit_images(training, training, test)
    assert audit["structure"]["caught"]["noisy"] == 1 == audit["shading"]["caught"]["noisy"]
