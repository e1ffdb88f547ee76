import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage
from stage1_helpers import draw_eyes

from synthmed_tf.smalldata import decoder
from synthmed_tf.smalldata.fields import make_fields


class Blur:
    """In the place of a flow: redraws fields as a blur of them, and notes what it was asked for."""

    def __init__(self):
        self.calls = []

    def redraw(self, fields, seed, left_out):
        self.calls.append((len(fields), tuple(seed), left_out))
        return ndimage.gaussian_filter(fields, (0, 1.0, 1.0, 0))


def make_eye_fields(first, count):
    """Fields of eyes whose right fifth is outside the field of view, and full of vessels in the mask."""
    fields = np.stack([make_fields(eye.mask, 3.0) for eye in draw_eyes(count, first=first)])
    view = np.ones_like(fields[..., :1])
    view[:, :, 52:] = 0
    return np.concatenate([np.where(view > 0, fields, 1), view], -1)


def dice(mask, wanted):
    return 2 * (mask & wanted).sum() / (mask.sum() + wanted.sum())


def test_the_decoder_undoes_what_the_flow_does_to_fields(tmp_path, monkeypatch):
    monkeypatch.setattr(decoder, "BATCH_SIZE", 4)
    learned, new = make_eye_fields(0, 4), make_eye_fields(4, 3)
    blur = Blur()
    model, result = decoder.train(tmp_path, blur.redraw, learned, 1, 100)
    assert result["step"] == 100 and len(blur.calls) == decoder.BATCHES
    counts, seeds, shares = (set(values) for values in zip(*blur.calls))
    assert shares == set(decoder.LEFT_OUT) and len(seeds) == decoder.BATCHES and counts == {decoder.BATCH_SIZE}
    blurred = Blur().redraw(np.where(new[..., 2:] > 0, new[..., :2], -1), [0, 0], 0)
    wanted = (new[..., :1] > 0)[:, :, :50]
    decoded = (model(blurred).numpy() > 0)[:, :, :50]
    by_a_wall = max(dice((blurred[..., :1] > wall)[:, :, :50], wanted) for wall in np.linspace(-0.9, 0.9, 37))
    assert dice(decoded, wanted) > by_a_wall + 0.05


def test_a_decoder_trained_in_two_parts_has_the_bits_of_one_trained_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(decoder, "CROP", 32)
    fields = make_eye_fields(0, 2)
    schedules = decoder.tf.keras.optimizers.schedules
    monkeypatch.setattr(schedules, "CosineDecay", lambda rate, _: rate)  # it ends with the steps
    at_once, _ = decoder.train(tmp_path / "a", Blur().redraw, fields, 1, 12)
    decoder.train(tmp_path / "b", Blur().redraw, fields, 1, 5)
    in_parts, result = decoder.train(tmp_path / "b", Blur().redraw, fields, 1, 12)
    again, _ = decoder.train(tmp_path / "a", None, fields, 1, 12)  # is read
    assert result["step"] == 12
    for weights in zip(at_once.get_weights(), in_parts.get_weights(), again.get_weights(), strict=True):
        assert weights[0].tobytes() == weights[1].tobytes() == weights[2].tobytes()


def test_the_receptive_field_of_the_decoder_is_19_pixels():
    model = decoder.build()
    for kernel in model.trainable_variables[::2]:
        kernel.assign(tf.abs(kernel))  # so that nothing cancels out
    fields = tf.Variable(tf.ones([1, 41, 41, 2]))
    with tf.GradientTape() as tape:
        centre = model(fields)[0, 20, 20, 0]
    rows, columns = np.nonzero(tape.gradient(centre, fields).numpy().any(-1)[0])
    assert rows.min() == columns.min() == 11 and rows.max() == columns.max() == 29


@pytest.mark.parametrize("size", [(17, 23), (32, 64)])
def test_the_decoder_takes_any_size(size):
    assert decoder.build()(tf.zeros([2, *size, 2])).shape == (2, *size, 1)
