import numpy as np
import pytest
from pictures import draw_blobs, draw_vessels
from skimage.transform import resize

from synthmed_tf.datasets.phantoms import fundus
from synthmed_tf.metrics import likeness, mask_distance, planted, symmetries

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("surround", likeness.VIEWS.values(), ids=likeness.VIEWS)
def test_thumbnails_have_no_mean_unit_norm_and_nothing_outside_the_field_of_view(surround):
    view = np.zeros((80, 80, 1), np.uint8)
    view[10:70, 20:60] = 1
    (found,) = likeness.make_thumbnails(draw_blobs(1), [view], surround)
    assert found.shape == (likeness.SIDE, likeness.SIDE) and found.dtype == np.float32
    assert abs(found.sum()) < 1e-4 and np.linalg.norm(found) == pytest.approx(1, abs=1e-5)
    outside = resize(view[..., 0].astype(float), found.shape) < 0.2
    assert not found[outside].any()


@pytest.mark.parametrize("surround", likeness.VIEWS.values(), ids=likeness.VIEWS)
def test_thumbnails_of_one_grey_are_empty_and_sixteen_bits_or_another_brightness_change_nothing(surround):
    assert not likeness.make_thumbnails([np.full((70, 90, 1), 77, np.uint8)], None, surround).any()
    (deep,) = draw_blobs(1, dtype=np.uint16)
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
    ours, theirs = (likeness.make_thumbnails(draw_blobs(3, seed=seed)) for seed in (1, 2))
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
    reference = likeness.make_thumbnails(draw_blobs(1))
    found, kind = likeness.compare(symmetries.transform(reference[0], symmetry)[None], reference)
    assert found[0, 0] == pytest.approx(1, abs=1e-5) and kind[0, 0] == symmetry
    if symmetry > 3:
        assert (
            likeness.compare(symmetries.transform(reference[0], symmetry)[None], reference, square=False)[0][0, 0] < 0.9
        )


def test_the_most_similar_of_many_is_the_one_that_all_comparisons_find(monkeypatch):
    monkeypatch.setattr(likeness, "MANY", 20)
    ours, theirs = likeness.make_thumbnails(draw_blobs(5, seed=1)), likeness.make_thumbnails(draw_blobs(60, seed=2))
    moved = [likeness._shift(symmetries.transform(theirs[index], index % 8)[None], 2, -1)[0] for index in range(40, 60)]
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


def test_mask_thumbnails_have_no_mean_and_unit_norm_and_stay_alike_where_lines_are_moved_by_their_width():
    mask = draw_vessels(0)
    first, moved = likeness.make_mask_thumbnails([mask, np.roll(mask, 2, 1)])
    assert first.shape == (likeness.SIDE, likeness.SIDE) and abs(first.sum()) < 1e-3
    assert np.linalg.norm(first) == pytest.approx(1, abs=1e-5)
    assert (first * moved).sum() > 0.8 and mask_distance.measure_distances([mask], [np.roll(mask, 2, 1)])[0, 0] > 0.4
    assert not likeness.make_mask_thumbnails([np.zeros((128, 96, 1), np.uint8)]).any()


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
