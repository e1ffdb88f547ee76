import numpy as np

from synthmed_tf.smalldata.rate import WARM_UP, FallingRate


def test_the_rate_warms_up_and_decays():
    rate = FallingRate(2e-3, 1000)
    for step, expected in ((0, 1 / 200), (99, 0.5 / 1.099), (199, 1 / 1.199), (1000, 1 / 2), (9000, 1 / 10)):
        np.testing.assert_allclose(rate(step), 2e-3 * expected, rtol=1e-6)
    assert WARM_UP == 200


def test_the_rate_is_halved_in_as_many_steps_as_its_decay():
    np.testing.assert_allclose(FallingRate(1e-3, 700)(700), 5e-4, rtol=1e-6)
