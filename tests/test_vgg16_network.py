import numpy as np
import pytest

from synthmed_tf.networks.vgg16 import build_vgg16
from synthmed_tf.sample import InputError


def test_vgg16_is_that_of_keras_with_a_small_head():
    model = build_vgg16((32, 48, 3), 2, [100.0] * 3, [50.0] * 3)
    assert model.count_params() == 14_714_688 + 2 * 512 + 2  # Keras's without the top, and the head
    grey = build_vgg16((32, 32, 1), 3, [100.0], [50.0])
    assert grey.output_shape == (None, 3) and grey.count_params() == 14_714_688 - 2 * 9 * 64 + 3 * 512 + 3
    kernel = grey.get_layer("vgg16").get_layer("block3_conv2").kernel.numpy()
    assert kernel.std() == pytest.approx(np.sqrt(2 / (9 * 256)), rel=0.02)  # He et al. 2015
    with pytest.raises(InputError, match="32 pixels a side or more, these have 16 x 64"):
        build_vgg16((16, 64, 3), 2, [0.0] * 3, [1.0] * 3)


def test_pretrained_weights_are_taken_and_others_refused(tmp_path):
    from tensorflow.keras.applications import VGG16
    from tensorflow.keras.applications.vgg16 import preprocess_input

    theirs = VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    theirs.save_weights(tmp_path / "notop.h5")
    model = build_vgg16((32, 32, 1), 2, [0.0], [1.0], tmp_path / "notop.h5")
    image = np.random.default_rng(0).uniform(0, 255, [1, 32, 32, 1]).astype(np.float32)
    features = theirs(preprocess_input(np.repeat(image, 3, 3))).numpy().mean((1, 2))
    head = model.get_layer("logits")
    np.testing.assert_allclose(model(image), features @ head.kernel.numpy(), rtol=1e-4, atol=1e-5)
    (tmp_path / "holiday.h5").write_bytes(b"beach")
    with pytest.raises(InputError, match="holiday.h5: not the weights of VGG16") as caught:
        build_vgg16((32, 32, 3), 2, [0.0] * 3, [1.0] * 3, tmp_path / "holiday.h5")
    assert "\n" not in str(caught.value)
