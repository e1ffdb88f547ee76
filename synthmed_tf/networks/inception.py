"""InceptionV3: Szegedy et al. 2016, as in tf.keras.applications, for the features of KID and FID."""

import tensorflow as tf

from synthmed_tf.sample import InputError

SIZE = 299  # pixels a side that its weights were learned at
FILE = "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"  # as Keras publishes the weights


def build_inception(shape, weights):
    """Image -> the 2,048 features before the last layer, in float32 whatever the precision of the run.

    The weights are those of Keras. Heusel et al. 2017 took an Inception of 2015 and enlarged images otherwise, so their
    figures cannot be set beside these. Images are resized by a bicubic kernel that does not alias, as Parmar et al.
    2022 § 3 ask for.

    Args:
      shape: (height, width, channels) of the images, 1 or 3 channels (red, green, blue); one is repeated to three.
      weights: path of Keras's HDF5 file without the top, FILE.

    Returns:
      Model: [batch, height, width, channels] float32 in [0, 1] -> [batch, 2048] float32.

    Raises:
      InputError: a file that does not hold the weights.
    """
    policy = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("float32")
    try:
        body = tf.keras.applications.InceptionV3(
            include_top=False, weights=None, input_shape=(SIZE, SIZE, 3), pooling="avg"
        )
        image = x = tf.keras.Input(shape, name="image")
        if shape[2] == 1:
            x = tf.keras.layers.Concatenate()([x, x, x])
        x = tf.clip_by_value(tf.image.resize(x, (SIZE, SIZE), "bicubic", antialias=True), 0, 1)
        features = tf.keras.Model(image, body(2 * x - 1), name="inception")
        body.load_weights(weights)
    except (OSError, ValueError) as error:
        raise InputError(
            f"--inception_weights={weights}: not the weights of InceptionV3 without its top "
            f"({str(error).splitlines()[0]}); give Keras's file {FILE}, or leave the flag out"
        ) from None
    finally:
        tf.keras.mixed_precision.set_global_policy(policy)
    return features
