"""What the tests of the networks share."""

import numpy as np
import tensorflow as tf

from synthmed_tf.networks import layers

CONVOLUTIONS = (tf.keras.layers.Conv2D, tf.keras.layers.Conv2DTranspose)  # the second is a subclass of the first
NORMS = (tf.keras.layers.BatchNormalization, tf.keras.layers.GroupNormalization, layers.BatchStatisticsNormalization)


def select(model, kinds):
    return [layer for layer in model.layers if isinstance(layer, kinds)]


def describe(convolution):
    return convolution.kernel_size[0], convolution.strides[0], convolution.filters


def draw_noise(*shape, seed=0):
    return tf.constant(np.random.default_rng(seed).uniform(-1, 1, shape), tf.float32)
