import numpy as np
import pytest
import tensorflow as tf

from synthmed_tf.training import log
from synthmed_tf.training.sampler import CHUNK, Sampler, encode_one_hot


def make_sampler(paint=None, **options):
    """Masks of 8 x 8 pixels, where the noise is above 0 unless `paint` says otherwise."""

    def threshold(noise, labels=None):
        return (np.reshape(noise, [-1, 8, 8, 1]) > 0).astype(np.uint8)

    return Sampler((64,), paint or threshold, **{"seed": 3} | options)


def draw_all(sampler, count, label=None):
    indices = [range(first, min(first + CHUNK, count)) for first in range(0, count, CHUNK)]
    return np.concatenate([sampler.draw(list(part), label) for part in indices])


def test_picture_i_is_a_function_of_seed_class_and_index_alone():
    def paint(noise, labels=None):  # depends on what shares the batch
        return ((noise - tf.reduce_mean(noise, 0)).numpy().reshape(-1, 8, 8, 1) > 0).astype(np.uint8)

    sampler = make_sampler(paint, mirrors=True)
    many = draw_all(sampler, 37)
    assert (sampler.draw([18, 20, 21]) == many[[18, 20, 21]]).all()
    assert (sampler.draw([36]) == many[36]).all()
    assert len({picture.tobytes() for picture in many}) == 37
    others = draw_all(make_sampler(paint, seed=4, mirrors=True), 5), draw_all(sampler, 5, 0), draw_all(sampler, 5, 1)
    assert all((other != many[:5]).any() for other in others) and (others[1] != others[2]).any()


@pytest.mark.parametrize(("shift", "share"), [(0.0, 0.5), (1.0, 0.1587), (-1.0, 0.8413)])
def test_noise_is_standard_normal(shift, share):  # whose distribution function gives the shares
    sampler = make_sampler(lambda noise, labels: (np.reshape(noise, [-1, 8, 8, 1]) > shift).astype(np.uint8))
    values = draw_all(sampler, 64)
    assert abs(values.mean() - share) < 4 * (share * (1 - share) / values.size) ** 0.5
    assert abs(values.mean(0) - share).max() < 6 * (share * (1 - share) / 64) ** 0.5  # at every place


def test_half_of_the_pictures_are_mirrored_where_asked_for():
    left = np.zeros([8, 8, 1], np.uint8)
    left[2, :3] = 1

    def paint(noise, labels):
        return np.repeat(left[None], len(noise), 0)

    assert (draw_all(make_sampler(paint), 40) == left).all()
    turned = draw_all(make_sampler(paint, mirrors=True), 200)
    is_left, is_right = ((turned == side).all((1, 2, 3)) for side in (left, left[:, ::-1]))
    assert (is_left ^ is_right).all() and abs(is_right.mean() - 0.5) < 4 * 0.5 / 200**0.5


def test_pictures_are_painted_of_their_class():
    def paint(noise, labels):
        assert labels.shape == (CHUNK, 3) and labels.dtype == np.float32
        return np.broadcast_to(labels.argmax(1)[:, None, None, None], [CHUNK, 2, 2, 1]).astype(np.uint8)

    sampler = make_sampler(paint, classes=3)
    assert [np.unique(sampler.draw([4, 5], label)).tolist() for label in range(3)] == [[0], [1], [2]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_grid_has_the_same_noise_each_time_and_classes_in_turn(dtype):
    calls = []

    def paint(noise, labels):
        calls.append((noise.numpy(), labels))
        values = labels.argmax(1) * (256 if dtype == np.uint16 else 1)
        return np.broadcast_to(values[:, None, None, None], [len(noise), 2, 2, 1]).astype(dtype)

    sampler = make_sampler(paint, classes=3)
    grid = sampler.draw_grid()
    expected = np.broadcast_to((np.arange(16) % 3)[:, None, None, None], [16, 2, 2, 1]).astype(np.uint8)
    assert grid.dtype == np.uint8 and (grid == log.draw_grid(expected)).all()
    sampler.draw_grid(4)
    (first, labels), (few, _) = calls
    assert (first[:4] == few).all() and len(few) == 4 and labels.argmax(1).tolist() == [i % 3 for i in range(16)]


def test_a_sampler_without_classes_is_given_no_labels():
    labels_given = []

    def paint(noise, labels):
        labels_given.append(labels)
        return np.zeros([len(noise), 2, 2, 1], np.uint8)

    sampler = make_sampler(paint)
    sampler.draw_grid()
    sampler.draw([0])
    assert labels_given == [None, None]


def test_one_hot():
    assert encode_one_hot([2, 0], 3).tolist() == [[0, 0, 1], [1, 0, 0]] and encode_one_hot([0], 1).dtype == np.float32
