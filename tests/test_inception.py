import numpy as np
import pytest
import tensorflow as tf
from skimage.transform import resize

from synthmed_tf.networks import inception
from synthmed_tf.sample import InputError


def test_inception_is_that_of_keras_in_float32_with_given_weights(tmp_path):
    theirs = tf.keras.applications.InceptionV3(
        include_top=False, weights=None, input_shape=(299, 299, 3), pooling="avg"
    )
    theirs.save_weights(tmp_path / "notop.h5")
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 255, [1, 299, 299, 3]).astype(np.float32)
    expected = theirs(tf.keras.applications.inception_v3.preprocess_input(image.copy()))
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        network = inception.build_inception((299, 299, 3), tmp_path / "notop.h5")
        assert tf.keras.mixed_precision.global_policy().name == "mixed_bfloat16"
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    np.testing.assert_allclose(network(image / 255, training=False), expected, rtol=1e-3, atol=1e-5)
    grey = rng.uniform(0, 1, [1, 64, 48, 1]).astype(np.float32)
    resized = resize(grey[0, ..., 0], (299, 299), order=3)  # scikit-image's bicubic spline is another, near one
    network = inception.build_inception((64, 48, 1), tmp_path / "notop.h5")
    seen = network.layers[-2].output
    seen = tf.keras.Model(network.input, seen)(grey)[0].numpy()
    assert seen.shape == (299, 299, 3) and (seen == seen[..., :1]).all()
    assert -1 <= seen.min() and seen.max() <= 1
    assert np.abs(seen[..., 0] - (2 * resized - 1)).mean() < 0.1
    (tmp_path / "holiday.h5").write_bytes(b"beach")
    with pytest.raises(InputError, match="holiday.h5: not the weights of InceptionV3") as caught:
        inception.build_inception((64, 48, 1), tmp_path / "holiday.h5")
    assert "\n" not in str(caught.value)
