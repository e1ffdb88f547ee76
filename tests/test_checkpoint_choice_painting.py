"""What a checkpoint of stage 2 is worth: smalldata/checkpoint_choice.py, `make_painting_measurement`."""

import dataclasses
import functools

import numpy as np
import pytest
from scipy import ndimage

from synthmed_tf.datasets.phantoms import fundus
from synthmed_tf.datasets.prepare import crop_sample
from synthmed_tf.sample import Sample
from synthmed_tf.smalldata import checkpoint_choice


@functools.lru_cache
def draw_eye(index):
    return crop_sample(fundus.draw_fundus(index), (64, 64))


def draw_eyes(count):
    return [draw_eye(index) for index in range(count)]


def watch(real, eyes):
    """`make_painting_measurement` of real eyes and the masks of others."""
    return checkpoint_choice.make_painting_measurement(
        real, [Sample(str(i), mask=eye.mask) for i, eye in enumerate(eyes)]
    )


def measure(watched, eyes, photographs):
    """What is measured of a painter that paints these photographs on the eyes' masks, and which it painted."""
    painted = []

    def paint(mask, index):
        assert (mask == eyes[index].mask).all()
        painted.append(index)
        return photographs[index]

    measured, warning = watched(paint)()
    assert warning == ""
    return measured, painted


@pytest.mark.parametrize("has_views", [True, False])
def test_stage_2_is_measured_by_how_far_its_photographs_are_from_real_ones(has_views):
    eyes = draw_eyes(32)
    if not has_views:
        eyes = [dataclasses.replace(eye, field_of_view=None) for eye in eyes]
    real, others = eyes[:16], eyes[16:]
    random = np.random.default_rng(0)
    sets = {
        "other eyes": [eye.image for eye in others],
        "blurred": [ndimage.gaussian_filter(eye.image, (1.5, 1.5, 0)) for eye in others],
        "noisy": [np.clip(eye.image + random.normal(0, 12, [64, 64, 3]), 0, 255).astype(np.uint8) for eye in others],
        "flat": [np.broadcast_to(eye.image.mean((0, 1)), eye.image.shape).astype(np.uint8) for eye in others],
    }
    watched, distances = watch(real, others), {}
    for name, photographs in sets.items():
        measured, painted = measure(watched, others, photographs)
        assert measured.keys() == {"distance", "masks"} and painted == list(range(16))
        distances[name] = measured["distance"]
    assert abs(distances["other eyes"]) < 0.1 * min(distances[name] for name in ("blurred", "noisy", "flat"))


def test_against_one_photograph_stage_2_is_not_measured():
    eyes = draw_eyes(2)
    photographs = [eye.image for eye in eyes]
    measured = [measure(watch(*sets), sets[1], photographs) for sets in ((eyes[:1], eyes), (eyes, eyes[:1]))]
    assert [values["distance"] for values, _ in measured] == [0.0, 0.0]
    assert not any(painted for _, painted in measured)
    assert measured[0][0]["masks"] != measured[1][0]["masks"]  # by which loop.fit knows other masks


def test_at_most_so_many_masks_are_painted(monkeypatch):
    monkeypatch.setattr(checkpoint_choice, "PAINTED", 3)
    eyes = draw_eyes(4)
    measured, painted = measure(watch(eyes, eyes), eyes, [eye.image for eye in eyes])
    assert painted == [0, 1, 2]
    same, _ = measure(watch(eyes, eyes[:3]), eyes, [eye.image for eye in eyes])
    assert measured["masks"] == same["masks"] and measured["distance"] == same["distance"]
