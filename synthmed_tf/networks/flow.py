"""Denoising network of a rectified flow: a U-Net that knows the time, as in Ho et al. 2020 (appendix B).

Three things make it fit two CPU cores. It works on blocks of pixels. It gives the image and not the velocity, so that
no noise has to pass through its narrow layers (Li & He 2025, "Back to Basics: Let Denoising Generative Models
Denoise"). Its norms are root mean squares over channels (Zhang & Sennrich 2019).
"""

import tensorflow as tf
from tensorflow.keras import layers

from synthmed_tf.networks.layers import Upscale, embed_class

CHANNELS = (32, 64, 96, 128)  # of maps of blocks, of maps half as large, ...
ATTENDED = 16  # greatest shorter side of maps with self-attention
HEADS = 4
FREQUENCIES, HIGHEST = 16, 6.0  # sines and cosines of the time, of frequency exp(0) to exp(6)


class RootMeanSquareNormalization(layers.Layer):
    """x / sqrt(mean of x^2 over channels), times a learned gain a channel, in float32.

    Zhang & Sennrich 2019, equation 4.
    """

    def build(self, input_shape):
        self.gain = self.add_weight("gain", shape=input_shape[-1:], initializer="ones", experimental_autocast=False)

    def call(self, inputs):
        x = tf.cast(inputs, tf.float32)
        x *= tf.math.rsqrt(tf.reduce_mean(tf.square(x), -1, keepdims=True) + 1e-6) * self.gain
        return tf.cast(x, inputs.dtype)


def choose_block_size(image_size):
    """Side of the blocks in pixels: 4 from 192 pixels up where both sides are multiples of 32, else 2."""
    return 4 if min(image_size) >= 192 and all(side % 32 == 0 for side in image_size) else 2


def build_denoiser(image_size, channels=2, classes=0):
    """(x [batch, height, width, channels], time [batch]), float32 -> the image that x is made of, as x; 0 at first.

    Args:
      image_size: (height, width), multiples of 16 from 32 up.
      classes: if not 0, there is a third input, the one-hot class [batch, classes]; its learned vector is added to the
        time's.
    """
    block = choose_block_size(image_size)
    image, time = layers.Input([*image_size, channels], name="image"), layers.Input([], name="time")
    angles = time[:, None] * tf.exp(tf.linspace(0.0, HIGHEST, FREQUENCIES))
    style = layers.Concatenate(dtype="float32")([tf.sin(angles), tf.cos(angles)])
    style = layers.Dense(128, activation="swish")(style)
    inputs = [image, time]
    if classes:
        inputs.append(layers.Input([classes], name="label"))
        style += embed_class(inputs[-1], 128, 1.0)
    style = layers.Dense(128, activation="swish")(style)

    def residual(x, features):
        shortcut = x if x.shape[-1] == features else layers.Conv2D(features, 1)(x)
        x = layers.Conv2D(features, 3, padding="same")(_activate(x))
        scale, shift = (
            layers.Reshape([1, 1, features])(layers.Dense(features, kernel_initializer="zeros")(style))
            for _ in range(2)
        )
        x = layers.Activation("swish")(RootMeanSquareNormalization()(x) * (1 + scale) + shift)
        x = shortcut + layers.Conv2D(features, 3, padding="same", kernel_initializer="zeros")(x)
        return _attend(x) if min(x.shape[1:3]) <= ATTENDED else x

    x = layers.Conv2D(CHANNELS[0], 3, padding="same")(tf.nn.space_to_depth(image, block))
    skips = []
    for features in CHANNELS:
        x = residual(layers.AveragePooling2D()(x) if skips else x, features)
        skips.append(x)
    x = residual(x, CHANNELS[-1])
    for features in reversed(CHANNELS):
        skip = skips.pop()
        if x.shape[1] != skip.shape[1]:
            x = Upscale()(layers.Conv2D(features, 1)(x))
        x = residual(layers.Concatenate()([x, skip]), features)
    x = layers.Conv2D(channels * block**2, 3, padding="same", kernel_initializer="zeros", dtype="float32")(_activate(x))
    return tf.keras.Model(inputs, tf.nn.depth_to_space(x, block), name="denoiser")


def _activate(x):
    return layers.Activation("swish")(RootMeanSquareNormalization()(x))


def _attend(x):
    """Adds self-attention over all places. Vaswani et al. 2017, section 3.2."""
    height, width, features = x.shape[1:]
    places = layers.Reshape([height * width, features])(RootMeanSquareNormalization()(x))
    return x + layers.Reshape([height, width, features])(
        layers.MultiHeadAttention(HEADS, features // HEADS)(places, places)
    )
