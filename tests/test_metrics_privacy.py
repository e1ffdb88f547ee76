import numpy as np
import pytest
from skimage.transform import resize
from sklearn.metrics import roc_auc_score

from synthmed_tf.datasets.phantoms import fundus
from synthmed_tf.evaluation import privacy_audit
from synthmed_tf.metrics import likeness, mask_distance, membership, near_copies, planted, symmetries
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


@pytest.mark.parametrize("surround", likeness.VIEWS.values(), ids=likeness.VIEWS)
def test_thumbnails_have_no_mean_unit_norm_and_nothing_outside_the_field_of_view(surround):
    view = np.zeros((80, 80, 1), np.uint8)
    view[10:70, 20:60] = 1
    (found,) = likeness.make_thumbnails(faces(1), [view], surround)
    assert found.shape == (likeness.SIDE, likeness.SIDE) and found.dtype == np.float32
    assert abs(found.sum()) < 1e-4 and np.linalg.norm(found) == pytest.approx(1, abs=1e-5)
    outside = resize(view[..., 0].astype(float), found.shape) < 0.2
    assert not found[outside].any()


@pytest.mark.parametrize("surround", likeness.VIEWS.values(), ids=likeness.VIEWS)
def test_thumbnails_of_one_grey_are_empty_and_sixteen_bits_or_another_brightness_change_nothing(surround):
    assert not likeness.make_thumbnails([np.full((70, 90, 1), 77, np.uint8)], None, surround).any()
    (deep,) = faces(1, dtype=np.uint16)
    darker = (deep // 2 + 5000).astype(np.uint16)
    eight = (deep >> 8).astype(np.uint8)
    first, second, third = likeness.make_thumbnails([deep, darker, eight], None, surround)
    assert (first * second).sum() > 0.995 and (first * third).sum() > 0.995


def test_structure_tells_apart_what_shading_alone_makes_alike():
    vignette = np.hypot(*np.mgrid[-1:1:96j, -1:1:96j])[..., None]
    images = [np.uint8(200 - 90 * vignette + 20 * RNG.normal(size=(96, 96, 1)).clip(-2, 2)) for _ in range(2)]
    alike = {
        name: likeness.compare(*(likeness.make_thumbnails([image], None, surround) for image in images))[0][0, 0]
        for name, surround in likeness.VIEWS.items()
    }
    assert alike["shading"] > 0.8 and alike["structure"] < 0.2


def test_likeness_is_the_largest_correlation_over_turns_mirrors_and_shifts_by_brute_force():
    ours, theirs = (likeness.make_thumbnails(faces(3, seed=seed)) for seed in (1, 2))
    found, symmetry = likeness.compare(ours, theirs)
    for row, query in enumerate(ours):
        for column, reference in enumerate(theirs):
            best = -1
            for turns in range(4):
                for mirrored in (reference, reference.T):
                    turned = np.rot90(mirrored, turns)
                    for down in range(-likeness.SHIFT, likeness.SHIFT + 1):
                        for right in range(-likeness.SHIFT, likeness.SHIFT + 1):
                            moved = np.zeros_like(query)
                            for y in range(likeness.SIDE):
                                if 0 <= y - down < likeness.SIDE:
                                    from_x = slice(max(0, -right), likeness.SIDE - max(0, right))
                                    to_x = slice(max(0, right), likeness.SIDE - max(0, -right))
                                    moved[y, to_x] = query[y - down, from_x]
                            best = max(best, (moved * turned).sum() / np.linalg.norm(moved))
            assert found[row, column] == pytest.approx(best, abs=1e-5)
            turned = symmetries.transform(reference, symmetry[row, column])
            assert likeness.compare(query[None], turned[None])[0][0, 0] == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("symmetry", range(8))
def test_a_turned_copy_is_found_with_the_turn_that_undoes_it(symmetry):
    reference = likeness.make_thumbnails(faces(1))
    found, kind = likeness.compare(symmetries.transform(reference[0], symmetry)[None], reference)
    assert found[0, 0] == pytest.approx(1, abs=1e-5) and kind[0, 0] == symmetry
    if symmetry > 3:
        assert (
            likeness.compare(symmetries.transform(reference[0], symmetry)[None], reference, square=False)[0][0, 0] < 0.9
        )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(80, 80), (64, 96)])
def test_planted_copies_keep_size_and_depth_and_differ_from_the_original(dtype, size):
    images, views = faces(9, size, 1, dtype=dtype), [np.ones((*size, 1), np.uint8)] * 9
    found = planted.disguise_images(images, views)
    assert set(found) == {"turned or mirrored", "shifted", "recoloured", "noisy", "all of these"}
    for disguised, seen in found.values():
        assert all(
            each.shape == (*size, 1) and each.dtype == dtype and view.shape == each.shape
            for each, view in zip(disguised, seen, strict=True)
        )
        assert not any(np.array_equal(each, image) for each, image in zip(disguised, images, strict=True))
    again = planted.disguise_images(images, views)
    assert all(np.array_equal(a, b) for name in found for a, b in zip(found[name][0], again[name][0]))
    assert planted.disguise_images(images[:1], [None])["all of these"][1] == [None]


def test_the_shift_of_a_planted_copy_by_hand():
    image = np.arange(100 * 50, dtype=np.uint16).reshape(100, 50, 1)
    ((found,), _) = planted.disguise_images([image], [None])["shifted"]
    assert np.array_equal(found[2:, :-1], image[:-2, 1:]) and np.array_equal(found[0, :-1], image[0, 1:])


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


def test_near_copies_by_chance_in_closed_form():
    rng = np.random.default_rng(2)
    assert near_copies.estimate_chance(rng.random((9, 5)), range(9)) == pytest.approx(1 / 10)
    pairs = rng.random((9, 9))
    pairs = np.where(np.eye(9, dtype=bool), -1, pairs + pairs.T)
    assert near_copies.estimate_chance(pairs, range(9), among=True) == pytest.approx(2 / 10)
    # Three images of each patient that are all but the same count for one
    groups = np.repeat(range(3), 3)
    assert near_copies.estimate_chance(np.repeat(rng.random((3, 5)), 3, 0), groups) == pytest.approx(1 / 4)
    pairs = np.repeat(np.repeat([[-1, 0.5, 0.3], [0.5, -1, 0.2], [0.3, 0.2, -1]], 3, 0), 3, 1)
    assert near_copies.estimate_chance(pairs, groups, among=True) == pytest.approx(2 / 4)


def test_in_one_set_of_twenty_more_are_near_copies_than_at_most_by_chance():
    rng = np.random.default_rng(0)
    control, others = rng.random((4000, 20)).max(1), rng.random((4000, 300))
    shares = np.mean(others > control[:, None], axis=1)
    assert np.mean(shares > near_copies.bound_chance(1 / 21)) == pytest.approx(0.05, abs=0.01)
    assert np.mean(shares) == pytest.approx(1 / 21, rel=0.05) and np.mean(shares > 1 / 21) > 0.3
    assert near_copies.bound_chance(0) == 0 and near_copies.bound_chance(0.5) == pytest.approx(0.95)


@pytest.mark.parametrize("among", [False, True])
def test_near_copies_by_chance_are_as_many_as_other_patients_have(among):
    rng, groups = np.random.default_rng(5), np.repeat(range(6), 4)
    expected, found = [], []
    for _ in range(500):
        patient = rng.normal(size=(7, 3))
        faces = patient[[*groups, 6]] + 0.5 * rng.normal(size=(25, 3))  # six patients of four images, one of one
        other = faces[:24] if among else rng.normal(size=(5, 3))
        alike = -np.linalg.norm(faces[:, None] - other, axis=-1) / 100
        control = np.where(np.equal.outer(groups, groups), -1, alike[:24]) if among else alike[:24]
        found.append(alike[24].max() > control.max())
        expected.append(near_copies.estimate_chance(control, groups, among))
    assert np.mean(expected) == pytest.approx(np.mean(found), abs=0.05)


def test_the_likest_of_many_is_the_one_that_all_comparisons_find(monkeypatch):
    monkeypatch.setattr(likeness, "MANY", 20)
    ours, theirs = likeness.make_thumbnails(faces(5, seed=1)), likeness.make_thumbnails(faces(60, seed=2))
    moved = [
        likeness._shifted(symmetries.transform(theirs[index], index % 8)[None], 2, -1)[0] for index in range(40, 60)
    ]
    ours = np.concatenate([ours, moved])
    full, turned = likeness.compare(ours, theirs)
    done = []
    found, symmetry = likeness.find_most_similar(ours, theirs, progress=done.append)
    compared = found > -1
    assert sum(done) == 25 and (compared.sum(1) == likeness.CANDIDATES).all()
    np.testing.assert_allclose(found.max(1), full.max(1), atol=1e-6)
    np.testing.assert_allclose(found[compared], full[compared], atol=1e-6)
    assert (symmetry[compared] == turned[compared]).all() and (found.argmax(1)[5:] == range(40, 60)).all()
    apart = RNG.random(full.shape) < 0.5
    np.testing.assert_allclose(
        likeness.find_most_similar(ours, theirs, True, apart)[0].max(1), np.where(apart, full, -1).max(1), atol=1e-6
    )
    few = likeness.find_most_similar(ours, theirs[:9], True, apart[:, :9])[0]
    np.testing.assert_allclose(few, np.where(apart, full, -1)[:, :9], atol=1e-6)


def drawn(index):
    """The vessels of a phantom eye, as a mask of 128 x 128."""
    return np.uint8(resize(fundus.draw_fundus(index).mask[..., 0].astype(float), (128, 128)) > 0.3)[..., None]


def test_mask_thumbnails_have_no_mean_and_unit_norm_and_stay_alike_where_lines_are_moved_by_their_width():
    mask = drawn(0)
    first, moved = likeness.make_mask_thumbnails([mask, np.roll(mask, 2, 1)])
    assert first.shape == (likeness.SIDE, likeness.SIDE) and abs(first.sum()) < 1e-3
    assert np.linalg.norm(first) == pytest.approx(1, abs=1e-5)
    assert (first * moved).sum() > 0.8 and mask_distance.measure_distances([mask], [np.roll(mask, 2, 1)])[0, 0] > 0.4
    assert not likeness.make_mask_thumbnails([np.zeros((128, 96, 1), np.uint8)]).any()


def test_planted_masks_by_hand():
    dot = np.zeros((100, 100, 1), np.uint8)
    dot[20, 80] = 1
    found = {name: masks[0] for name, masks in planted.disguise_masks([dot]).items()}
    assert all(each.shape == dot.shape and each.dtype == np.uint8 for each in found.values())
    assert np.argwhere(found["shifted"][..., 0]).tolist() == [[23, 77]]
    assert found["turned or mirrored"][79, 19].all() and found["turned or mirrored"].sum() == 1
    square = np.zeros((101, 101, 1), np.uint8)
    square[40:61, 40:61] = 1
    ((scaled,), (tilted,)) = (planted.disguise_masks([square])[name] for name in ("scaled", "tilted"))
    assert scaled.sum() == pytest.approx(square.sum() * planted.SCALED**2, rel=0.1)
    assert tilted[50, 50] and tilted.sum() == pytest.approx(square.sum(), rel=0.05)
    top = np.argwhere(tilted[..., 0])  # the corner that comes first lies beside the one it was
    assert abs(abs(top[0][1] - 50) - abs(10 - 10 * np.tan(np.deg2rad(planted.TILTED)))) <= 2
    assert planted.disguise_masks([dot[:, :60]])["all of these"][0].shape == (100, 60, 1)


def test_masks_that_were_moved_tilted_and_scaled_are_found_and_other_eyes_are_not():
    training, test, other = (
        [Sample(f"{name}{index}", mask=drawn(index)) for index in range(start, start + 8)]
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


def test_masks_crossed_of_two_training_masks_are_found_by_their_halves():
    training, test = (
        [Sample(f"{name}{index}", mask=drawn(index), group=f"{name}{index}") for index in range(start, start + 8)]
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
    training, test, other = (samples(name, faces(16, seed=seed)) for seed, name in enumerate(("r", "t", "s"), 5))
    disguised = planted.disguise_images([sample.image for sample in training], [None] * 16)["all of these"][0]
    for view in likeness.VIEWS:
        caught = privacy_audit.audit_images(training, samples("s", disguised), test)[view]
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
    pictures = faces(10)
    training = [
        Sample(f"r{index}", image, group=str(index // 2))
        for index, image in enumerate([each for image in pictures[:5] for each in (image, image)])
    ]
    found = privacy_audit.audit_images(training, samples("s", pictures[5:]), [])
    for view in likeness.VIEWS:
        assert found[view]["control_to_training"]["max"] < 0.95  # not the other picture of the same patient
        assert found[view]["membership"] is None and found[view]["closer_to_training"] is None
        # Of 5 patients the likest two are such a pair as 2 of 6 would be in
        assert found[view]["by_chance"] == pytest.approx(5 * 2 / 6)
    assert found["protocol"]["held_out"] == 0
    alone = privacy_audit.audit_images(
        [Sample(f"r{index}", image, group="a") for index, image in enumerate(pictures[:5])],
        samples("s", pictures[5:]),
        [],
    )
    # Of one patient the other images are the control
    assert all(alone[view]["near_copies"] < 5 for view in likeness.VIEWS)
    assert all(alone[view]["by_chance"] == pytest.approx(5 * 2 / 6) for view in likeness.VIEWS)
    assert privacy_audit.audit_images(training[:1], samples("s", pictures[5:]), []) == {
        "unavailable": privacy_audit.ALONE
    }


def test_what_was_left_out_is_told(monkeypatch):
    monkeypatch.setattr(privacy_audit, "MOST", 6)
    monkeypatch.setattr(privacy_audit, "MOST_RELABELLED", 4)
    training, test, other = (samples(name, faces(9, seed=seed)) for seed, name in enumerate(("r", "t", "s"), 5))
    found = privacy_audit.audit_images(training, other, test)["protocol"]
    assert [found[name] for name in ("training", "synthetic", "held_out")] == [6, 6, 6]
    assert found["of"] == dict.fromkeys(("training", "synthetic", "held_out"), 9)
    assert found["relabelled"] == dict.fromkeys(("training", "synthetic", "held_out"), 4)


def test_a_fundus_photograph_is_found_among_others_in_every_disguise():
    eyes = [fundus.draw_fundus(index) for index in range(8)]
    small = [np.uint8(resize(eye.image, (128, 128), preserve_range=True)) for eye in eyes]
    views = [np.uint8(resize(eye.field_of_view, (128, 128), order=0, preserve_range=True)) for eye in eyes]
    for surround in likeness.VIEWS.values():
        originals = likeness.make_thumbnails(small, views, surround)
        for disguised in planted.disguise_images(small, views).values():
            assert np.array_equal(
                likeness.compare(likeness.make_thumbnails(*disguised, surround), originals)[0].argmax(1), np.arange(8)
            )
