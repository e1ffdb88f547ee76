import numpy as np
import pytest
import tensorflow as tf
from network_parts import CONVOLUTIONS, draw_noise, select

from synthmed_tf.networks import unet


def test_unet_has_484145_parameters():
    assert unet.build_unet().count_params() == 484_145
    blocks = [(3, 16), (16, 32), (32, 64), (64, 128), (128, 64), (64, 32), (32, 16)]
    convolutions = sum(9 * a * b + 9 * b * b + 8 * b for a, b in blocks)
    upward = sum(4 * a * b + b for a, b in blocks[4:])
    assert unet.build_unet().count_params() == convolutions + upward + 16 + 1


@pytest.mark.parametrize(("levels", "width"), [(1, 4), (2, 8), (4, 4)])
def test_unet_takes_any_size(levels, width):
    model = unet.build_unet(in_channels=1, levels=levels, width=width)
    for size in [(64, 64), (37, 53), (1, 9)]:
        assert model(draw_noise(1, *size, 1)).shape == (1, *size, 1)
    assert max(layer.filters for layer in select(model, CONVOLUTIONS)) == width * 2**levels


def test_unet_sees_the_same_whatever_lies_far_away():
    tf.keras.utils.set_random_seed(1)
    model = unet.build_unet(in_channels=1, levels=1, width=4)
    image = draw_noise(1, 48, 40, 1)
    np.testing.assert_allclose(model(image)[:, 16:28, 16:28], model(image[:, :44, :36])[:, 16:28, 16:28], atol=1e-5)
