"""VGG16 (P2 § 3.2): Simonyan & Zisserman 2015, configuration D, as in tf.keras.applications, with a small head."""

import tensorflow as tf

from synthmed_tf.sample import InputError

SMALLEST = 32  # pixels a side: five poolings


def build_vgg16(shape, classes, mean, deviation, weights=None):
    """Image -> one logit a class. 14.7 million parameters.

    P2 does not say how its network begins and ends. Here the mean of the features over the image goes to one dense
    layer: the two of 4096 units of Simonyan & Zisserman have eight times as many parameters as all convolutions. Random
    weights are those of He et al. 2015: with Keras's own (Glorot & Bengio 2010) the signal fades on its way through 13
    convolutions.

    Args:
      shape: (height, width, channels) of the images: at least SMALLEST pixels a side, 1 or 3 channels (red, green,
        blue).
      classes: number of classes.
      mean, deviation: [channels] of the training images, in [0, 255]; with random weights the network subtracts the one
        (Simonyan & Zisserman 2015 § 2.1) and divides by the other.
      weights: path of pretrained convolutions, Keras's HDF5 file without the top ("notop"). Pixels are then prepared as
        for ImageNet, and one channel is repeated to three. None: random weights.

    Returns:
      Model: [batch, height, width, channels] float32 in [0, 255] -> [batch, classes] float32 logits.

    Raises:
      InputError: images that are too small, or a file that does not hold the weights.
    """
    if min(shape[:2]) < SMALLEST:
        raise InputError(
            f"VGG16 needs images of {SMALLEST} pixels a side or more, these have {shape[0]} x {shape[1]}; leave it out "
            "of --models"
        )
    image = x = tf.keras.Input(shape, name="image")
    if weights is None:
        x = tf.keras.layers.Normalization(mean=list(mean), variance=[max(value, 1.0) ** 2 for value in deviation])(x)
        body = tf.keras.applications.VGG16(include_top=False, weights=None, input_shape=shape)
        for layer in body.layers:
            if layer.weights:
                layer.kernel.assign(tf.keras.initializers.HeNormal()(layer.kernel.shape))
    else:
        if shape[2] == 1:
            x = tf.keras.layers.Concatenate()([x, x, x])
        x = tf.keras.applications.vgg16.preprocess_input(x)
        body = tf.keras.applications.VGG16(include_top=False, weights=None, input_shape=(*shape[:2], 3))
        try:
            body.load_weights(weights)
        except (OSError, ValueError) as error:
            raise InputError(
                f"--vgg_weights={weights}: not the weights of VGG16 without its top ({str(error).splitlines()[0]}); "
                "give Keras's file vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5, or leave the flag out"
            ) from None
    features = tf.keras.layers.GlobalAveragePooling2D(dtype="float32")(body(x))
    return tf.keras.Model(image, tf.keras.layers.Dense(classes, dtype="float32", name="logits")(features), name="vgg16")
