import numpy as np
import pytest
from skimage.transform import resize
from sklearn.metrics import roc_auc_score

from synthmed_tf.datasets import phantom
from synthmed_tf.evaluation import privacy as audit
from synthmed_tf.metrics import copies, privacy
from synthmed_tf.sample import Sample

RNG = np.random.default_rng(0)


def faces(count, size=(80, 80), channels=3, seed=0, dtype=np.uint8):
    """Pictures of soft blobs, each its own."""
    rng = np.random.default_rng(seed)
    top = np.iinfo(dtype).max
    found = []
    for _ in range(count):
        coarse = resize(rng.random((14, 14, channels)), (*size, channels), order=3)
        found.append((np.clip(coarse, 0, 1) * top).astype(dtype))
    return found


def samples(prefix, images, **given):
    return [Sample(f"{prefix}{index}", image, **given) for index, image in enumerate(images)]


@pytest.mark.parametrize("surround", privacy.VIEWS.values(), ids=privacy.VIEWS)
def test_thumbnails_have_no_mean_unit_norm_and_nothing_outside_the_field_of_view(surround):
    view = np.zeros((80, 80, 1), np.uint8)
    view[10:70, 20:60] = 1
    (found,) = privacy.thumbnails(faces(1), [view], surround)
    assert found.shape == (privacy.SIDE, privacy.SIDE) and found.dtype == np.float32
    assert abs(found.sum()) < 1e-4 and np.linalg.norm(found) == pytest.approx(1, abs=1e-5)
    outside = resize(view[..., 0].astype(float), found.shape) < 0.2
    assert not found[outside].any()


@pytest.mark.parametrize("surround", privacy.VIEWS.values(), ids=privacy.VIEWS)
def test_thumbnails_of_one_grey_are_empty_and_sixteen_bits_or_another_brightness_change_nothing(surround):
    assert not privacy.thumbnails([np.full((70, 90, 1), 77, np.uint8)], None, surround).any()
    (deep,) = faces(1, dtype=np.uint16)
    darker = (deep // 2 + 5000).astype(np.uint16)
    eight = (deep >> 8).astype(np.uint8)
    first, second, third = privacy.thumbnails([deep, darker, eight], None, surround)
    assert (first * second).sum() > 0.995 and (first * third).sum() > 0.995


def test_structure_tells_apart_what_shading_alone_makes_alike():
    vignette = np.hypot(*np.mgrid[-1:1:96j, -1:1:96j])[..., None]
    images = [np.uint8(200 - 90 * vignette + 20 * RNG.normal(size=(96, 96, 1)).clip(-2, 2)) for _ in range(2)]
    alike = {
        name: privacy.likeness(*(privacy.thumbnails([image], None, surround) for image in images))[0][0, 0]
        for name, surround in privacy.VIEWS.items()
    }
    assert alike["shading"] > 0.8 and alike["structure"] < 0.2


def test_likeness_is_the_largest_correlation_over_turns_mirrors_and_shifts_by_brute_force():
    ours, theirs = (privacy.thumbnails(faces(3, seed=seed)) for seed in (1, 2))
    found, symmetry = privacy.likeness(ours, theirs)
    for row, query in enumerate(ours):
        for column, reference in enumerate(theirs):
            best = -1
            for turns in range(4):
                for mirrored in (reference, reference.T):
                    turned = np.rot90(mirrored, turns)
                    for down in range(-privacy.SHIFT, privacy.SHIFT + 1):
                        for right in range(-privacy.SHIFT, privacy.SHIFT + 1):
                            moved = np.zeros_like(query)
                            for y in range(privacy.SIDE):
                                if 0 <= y - down < privacy.SIDE:
                                    from_x = slice(max(0, -right), privacy.SIDE - max(0, right))
                                    to_x = slice(max(0, right), privacy.SIDE - max(0, -right))
                                    moved[y, to_x] = query[y - down, from_x]
                            best = max(best, (moved * turned).sum() / np.linalg.norm(moved))
            assert found[row, column] == pytest.approx(best, abs=1e-5)
            turned = copies.transform(reference, symmetry[row, column])
            assert privacy.likeness(query[None], turned[None])[0][0, 0] == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("symmetry", range(8))
def test_a_turned_copy_is_found_with_the_turn_that_undoes_it(symmetry):
    reference = privacy.thumbnails(faces(1))
    found, kind = privacy.likeness(copies.transform(reference[0], symmetry)[None], reference)
    assert found[0, 0] == pytest.approx(1, abs=1e-5) and kind[0, 0] == symmetry
    if symmetry > 3:
        assert privacy.likeness(copies.transform(reference[0], symmetry)[None], reference, square=False)[0][0, 0] < 0.9


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(80, 80), (64, 96)])
def test_planted_copies_keep_size_and_depth_and_differ_from_the_original(dtype, size):
    images, views = faces(9, size, 1, dtype=dtype), [np.ones((*size, 1), np.uint8)] * 9
    found = privacy.planted(images, views)
    assert set(found) == {"turned or mirrored", "shifted", "recoloured", "noisy", "all of these"}
    for disguised, seen in found.values():
        assert all(
            each.shape == (*size, 1) and each.dtype == dtype and view.shape == each.shape
            for each, view in zip(disguised, seen, strict=True)
        )
        assert not any(np.array_equal(each, image) for each, image in zip(disguised, images, strict=True))
    again = privacy.planted(images, views)
    assert all(np.array_equal(a, b) for name in found for a, b in zip(found[name][0], again[name][0]))
    assert privacy.planted(images[:1], [None])["all of these"][1] == [None]


def test_the_shift_of_a_planted_copy_by_hand():
    image = np.arange(100 * 50, dtype=np.uint16).reshape(100, 50, 1)
    ((found,), _) = privacy.planted([image], [None])["shifted"]
    assert np.array_equal(found[2:, :-1], image[:-2, 1:]) and np.array_equal(found[0, :-1], image[0, 1:])


def test_membership_is_the_area_under_the_curve_by_scikit_learn():
    to_training, to_held_out = RNG.random((30, 12)), RNG.random((30, 9))
    found = privacy.membership(to_training, to_held_out)
    truth, scores = [1] * 12 + [0] * 9, np.concatenate([to_training.max(0), to_held_out.max(0)])
    assert found["mean"] == pytest.approx(roc_auc_score(truth, scores))
    assert found["interval"][0] < found["mean"] < found["interval"][1]
    wide = privacy.membership(
        np.repeat(to_training, 2, 1), to_held_out, groups=[*np.repeat(range(12), 2), *range(12, 21)]
    )
    assert np.subtract(*wide["interval"]) < 0.7 * np.subtract(
        *privacy.membership(np.repeat(to_training, 2, 1), to_held_out)["interval"]
    )


def test_closer_to_training_by_hand_and_its_chance():
    to_training = np.array([[0.9, 0.1], [0.2, 0.3], [0.5, 0.4], [0.6, 0.2]])
    to_held_out = np.array([[0.5, 0.4], [0.8, 0.1], [0.5, 0.2], [0.1, 0.3]])
    found = privacy.closer_to_training(to_training, to_held_out)
    assert found["share"] == pytest.approx((1 + 0 + 0.5 + 1) / 4)
    assert found["chance"][0] <= 0.5 <= found["chance"][1]
    honest = RNG.random((300, 60)), RNG.random((300, 20))  # thrice as many training images bring them no nearer
    found = privacy.closer_to_training(*honest)
    assert found["share"] == pytest.approx(0.5, abs=0.06) and found["chance"][0] < found["share"] < found["chance"][1]
    leaking = privacy.closer_to_training(honest[0] + 0.5, honest[1])
    assert leaking["share"] > leaking["chance"][1]


def test_a_generator_that_copies_is_caught_and_one_that_does_not_is_not():
    training, test, other = (samples(name, faces(16, seed=seed)) for seed, name in enumerate(("r", "t", "s"), 5))
    disguised = privacy.planted([sample.image for sample in training], [None] * 16)["all of these"][0]
    for view in privacy.VIEWS:
        caught = audit.images(training, samples("s", disguised), test)[view]
        assert (
            caught["near_copies"] == 16
            and caught["membership"]["mean"] == 1
            and caught["closer_to_training"]["share"] == 1
        )
        assert caught["likest"][0]["training_id"][1:] == caught["likest"][0]["synthetic_id"][1:]
        honest = audit.images(training, other, test)[view]
        assert (
            honest["near_copies"] <= 5
            and 0.2 < honest["membership"]["mean"] < 0.8
            and honest["by_chance"] == pytest.approx(16 / 17)
        )
        assert set(honest["caught"].values()) == {1.0}


def test_without_held_out_images_other_patients_are_the_control():
    pictures = faces(10)
    training = [
        Sample(f"r{index}", image, group=str(index // 2))
        for index, image in enumerate([each for image in pictures[:5] for each in (image, image)])
    ]
    found = audit.images(training, samples("s", pictures[5:]), [])
    for view in privacy.VIEWS:
        assert found[view]["control_to_training"]["max"] < 0.95  # not the other picture of the same patient
        assert found[view]["membership"] is None and found[view]["closer_to_training"] is None
    assert found["protocol"]["held_out"] == 0
    alone = audit.images(
        [Sample(f"r{index}", image, group="a") for index, image in enumerate(pictures[:5])],
        samples("s", pictures[5:]),
        [],
    )
    # Of one patient the other images are the control
    assert all(alone[view]["near_copies"] < 5 for view in privacy.VIEWS)


def test_a_fundus_photograph_is_found_among_others_in_every_disguise():
    eyes = [phantom.fundus(index) for index in range(8)]
    small = [np.uint8(resize(eye.image, (128, 128), preserve_range=True)) for eye in eyes]
    views = [np.uint8(resize(eye.field_of_view, (128, 128), order=0, preserve_range=True)) for eye in eyes]
    for surround in privacy.VIEWS.values():
        originals = privacy.thumbnails(small, views, surround)
        for disguised in privacy.planted(small, views).values():
            assert np.array_equal(
                privacy.likeness(privacy.thumbnails(*disguised, surround), originals)[0].argmax(1), np.arange(8)
            )
