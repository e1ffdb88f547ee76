"""settings.py: P2's epochs as steps, and batches of small sets."""

import pytest

from synthmed_tf.sample import InputError
from synthmed_tf.settings import P2_LEAST_STEPS, count_steps, fit_batch


@pytest.mark.parametrize(("epochs", "count", "batch_size", "steps"), [
    (30, 71_026 // 30 + 1, 32, P2_LEAST_STEPS),  # a group of X-Norm-L: P2's shortest training
    (60, 71_026, 32, 133_174),  # all of X-Norm-L
    (10, 40_000, 32, 12_500),  # tiles of a class
    (30, 10_000, 7, 42_858),  # a last batch that is not full counts
])  # fmt: skip
def test_epochs_become_steps(epochs, count, batch_size, steps, capsys):
    assert count_steps(epochs, count, batch_size) == steps
    assert capsys.readouterr().out == ""


def test_no_training_is_shorter_than_p2s_shortest_and_that_is_said(capsys):
    assert count_steps(60, 652, 32) == count_steps(10, 57, 32, "epochs a level") == P2_LEAST_STEPS == 2220
    first, second = capsys.readouterr().out.splitlines()
    assert "2,220 steps" in first and "instead of 60 epochs of 652 images" in first
    assert "instead of 10 epochs a level of 57 images" in second


def test_a_batch_holds_no_more_than_there_are_images(capsys):
    assert fit_batch(32, 32, False, "eyes") == fit_batch(32, 33, True, "eyes") == 32
    assert capsys.readouterr().out == ""
    assert fit_batch(32, 31, False, "eyes") == 31
    assert "batches of 31" in capsys.readouterr().out
    with pytest.raises(InputError, match="--batch_size=32: .*eyes has 31 images.*--batch_size=31 or less"):
        fit_batch(32, 31, True, "eyes")
