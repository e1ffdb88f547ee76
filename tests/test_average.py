"""The running average against its closed form."""

import numpy as np
import tensorflow as tf
from linear_run import Run


def test_average_is_a_running_mean_of_the_weights_that_is_shorter_at_first(tmp_path):
    run = Run(tmp_path)
    seen = {}
    run.before = lambda index: seen.setdefault(index, (run.model.get_weights(), run.averaged.get_weights()))
    run.fit(65)
    expected = seen[0][0]
    shares = [1 / 10, 2 / 11, 3 / 12, 4 / 13, 0.9**10, 0.9**10]  # 5 / 14 is more than 0.9^10
    for number, kept in enumerate(shares, start=1):
        for old, same in zip(expected, seen[10 * number - 1][1], strict=True):
            np.testing.assert_allclose(same, old, rtol=1e-5, atol=1e-6)
        new, averaged = seen[10 * number]
        expected = [kept * a + (1 - kept) * b for a, b in zip(expected, new, strict=True)]
        for found, value in zip(averaged, expected, strict=True):
            np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-6)
    assert np.abs(expected[0] - seen[60][0][0]).max() > 1e-3


def test_a_decay_below_the_ramp_is_the_average_from_the_first_update_on(tmp_path):
    run = Run(tmp_path)
    start = run.model.get_weights()
    run.decay = 0.5
    run.fit(10)
    kept = 0.5**10
    for averaged, old, new in zip(run.averaged.get_weights(), start, run.model.get_weights(), strict=True):
        np.testing.assert_allclose(averaged, kept * old + (1 - kept) * new, rtol=1e-5, atol=1e-7)


def test_an_average_that_is_as_long_from_the_first_update_on(tmp_path):
    run = Run(tmp_path)
    start = run.model.get_weights()
    run.fit(10, is_short_at_first=False)
    kept = 0.9**10
    for averaged, old, new in zip(run.averaged.get_weights(), start, run.model.get_weights(), strict=True):
        np.testing.assert_allclose(averaged, kept * old + (1 - kept) * new, rtol=1e-5, atol=1e-7)


def test_the_average_has_the_statistics_of_the_newest_model(tmp_path):
    run = Run(tmp_path)
    for model in (run.model, run.averaged):
        model.add(tf.keras.layers.BatchNormalization(center=False, scale=False))
    run.before = lambda index: run.model.layers[-1].moving_mean.assign([index, -index])
    run.fit(25)
    assert run.averaged.layers[-1].moving_mean.numpy().tolist() == [19, -19]  # of the last update, after 20 steps
