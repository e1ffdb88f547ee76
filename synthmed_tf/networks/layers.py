"""Layers and initialisers that several networks share.

Every normalisation here computes its statistics in float32, whatever the precision policy. Weights are drawn from
Keras's global generator: call tf.keras.utils.set_random_seed before building a network to fix them.
"""

import tensorflow as tf

# Standard deviation of the initial scales of batch norm: published code of Radford et al. 2016 and Isola et al. 2017
SCALE_SD = 0.02
# Length of a generator's class vector, times that of z; with 1 DCGAN drew one picture a class
CLASS_LENGTH = 0.1
LEAK = 0.2  # slope of every LeakyReLU: Radford et al. 2016, section 3; Isola et al. 2017, section 6.1


def check_size(image_size):
    """Raises ValueError where a side of (height, width) is below 64 or no multiple of 16."""
    height, width = image_size
    if min(height, width) < 64 or height % 16 or width % 16:
        raise ValueError(f"image size {height}x{width}: both sides must be multiples of 16, 64 or more")


def normal_002():
    """N(0, 0.02) for kernels: Radford et al. 2016, section 4; Isola et al. 2017, section 6.2. One object per layer."""
    return tf.keras.initializers.RandomNormal(0.0, 0.02)


def leaky_relu():
    """LeakyReLU with slope 0.2, in float32: CPUs compute it in bfloat16 twenty times slower."""
    return tf.keras.layers.LeakyReLU(LEAK, dtype="float32")


def batch_norm(scale_sd=0.0):
    """Batch norm with moving averages for use at test time. Its scale is drawn from N(1, scale_sd)."""
    initializer = tf.keras.initializers.RandomNormal(1.0, scale_sd)
    return tf.keras.layers.BatchNormalization(  # 0.9 and 1e-5: carpedm20/DCGAN-tensorflow, ops.py
        momentum=0.9, epsilon=1e-5, gamma_initializer=initializer, dtype="float32"
    )


class BatchStatisticsNormalization(tf.keras.layers.Layer):
    """Batch norm that uses the statistics of the batch at hand at test time too, and so has no moving averages.

    With batch 1 this is instance norm. Isola et al. 2017, section 3.3. The scale is drawn from N(1, scale_sd).
    """

    def __init__(self, scale_sd=0.0, dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)
        self.scale_sd = scale_sd

    def build(self, input_shape):
        initializer = tf.keras.initializers.RandomNormal(1.0, self.scale_sd)
        self.scale = self.add_weight("scale", shape=input_shape[-1:], initializer=initializer)
        self.shift = self.add_weight("shift", shape=input_shape[-1:], initializer="zeros")

    def call(self, inputs):
        return tf.compat.v1.nn.fused_batch_norm(inputs, self.scale, self.shift, epsilon=1e-5)[0]


class SeededDropout(tf.keras.layers.Layer):
    """Dropout whose mask is a function of a seed and of the layer's index, not of any hidden state.

    Inputs: [x, seed], seed [1, 2] int32, one for the batch. Active when called with training=True; else the identity.
    """

    def __init__(self, rate, index, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate
        self.index = index

    def call(self, inputs, training=None):
        values, seed = inputs
        if not training:
            return values
        seed = tf.random.experimental.stateless_fold_in(seed[0], self.index)
        keep = tf.random.stateless_uniform(tf.shape(values), seed) >= self.rate
        return tf.where(keep, values / (1 - self.rate), tf.zeros_like(values))


class CropLike(tf.keras.layers.Layer):
    """[x, reference] -> x cut at the bottom and right to the height and width of the reference."""

    def call(self, inputs):
        values, reference = inputs
        shape = tf.shape(reference)
        return tf.ensure_shape(values[:, : shape[1], : shape[2]], [None, *reference.shape[1:3], values.shape[-1]])


class MinibatchStandardDeviation(tf.keras.layers.Layer):
    """Adds a channel: the standard deviation over groups of samples, averaged over the map.

    Karras et al. 2018, section 3. A batch that `group_size` does not divide is one group.
    """

    def __init__(self, group_size=4, **kwargs):
        super().__init__(**kwargs)
        self.group_size = group_size

    def call(self, inputs):
        batch, height, width, features = tf.unstack(tf.shape(inputs))
        group = tf.where(batch % self.group_size == 0, self.group_size, batch)
        grouped = tf.reshape(tf.cast(inputs, tf.float32), [group, batch // group, height, width, features])
        deviation = tf.sqrt(tf.math.reduce_variance(grouped, axis=0) + 1e-8)  # 1e-8: Karras et al. 2018, published code
        average = tf.reduce_mean(deviation, axis=[1, 2, 3])
        channel = tf.broadcast_to(tf.tile(average, [group])[:, None, None, None], [batch, height, width, 1])
        return tf.concat([inputs, tf.cast(channel, inputs.dtype)], axis=-1)


def upscale(images, times=2):
    """[batch, height, width, c] -> `times` as large, nearest. Karras et al. 2018, section 3 and appendix A.1.

    Not UpSampling2D, whose gradient no GPU computes deterministically in TensorFlow 2.15.
    """
    return tf.repeat(tf.repeat(images, times, 1), times, 2) if times > 1 else images


class Upscale(tf.keras.layers.Layer):
    """`upscale` by 2."""

    def call(self, inputs):
        return upscale(inputs)


def upsample_and_convolve(inputs, kernel):
    """Nearest upsampling by 2, then a convolution with `kernel` [3, 3, out, in], as one transposed convolution."""
    kernel = kernel[::-1, ::-1]
    fused = tf.add_n([tf.pad(kernel, [[i, 1 - i], [j, 1 - j], [0, 0], [0, 0]]) for i in range(2) for j in range(2)])
    (batch, height, width), filters = tf.unstack(tf.shape(inputs))[:3], kernel.shape[2]
    outputs = tf.nn.conv2d_transpose(inputs, fused, [batch, 2 * height, 2 * width, filters], strides=2, padding="SAME")
    return tf.ensure_shape(outputs, [None, *(side and 2 * side for side in inputs.shape[1:3]), filters])


def join_class(z, classes):
    """Begins a generator: returns (the inputs of its model, z with the class beside it).

    The one-hot class becomes a learned vector of as many numbers as z, which begins CLASS_LENGTH times as long. Mirza &
    Osindero 2014, section 3.2, leave the encoding open.

    Args:
      z: Keras input [batch, latent].
      classes: number of classes; 0: z is all there is.
    """
    if not classes:
        return z, z
    label = tf.keras.Input([classes], name="label")
    return [z, label], tf.keras.layers.Concatenate()([z, embed_class(label, z.shape[-1], CLASS_LENGTH)])


def embed_class(label, size, deviation):
    """One-hot [batch, classes] -> the class's learned vector [batch, size], drawn from N(0, deviation)."""
    initializer = tf.keras.initializers.RandomNormal(0.0, deviation)
    return tf.keras.layers.Dense(size, use_bias=False, kernel_initializer=initializer)(label)


def judge(image, features, classes, initializer=None):
    """Ends a discriminator: returns (the inputs of its model, logit [batch, 1] float32, real > 0).

    The logit is linear in the features. With classes the scalar product of the features and a learned vector of the
    class is added: the projection discriminator, f = y^T V phi(x) + psi(phi(x)) (Miyato & Koyama 2018, section 3).

    Args:
      image: Keras input. features: [batch, size], made of it. classes: number of classes, given one-hot; 0: none.
      initializer: of the linear layer; Keras's own if not given.
    """
    logit = tf.keras.layers.Dense(1, kernel_initializer=initializer or "glorot_uniform", dtype="float32")(features)
    if not classes:
        return image, logit
    label = tf.keras.Input([classes], name="label")
    vector = embed_class(label, features.shape[-1], features.shape[-1] ** -0.5)
    projection = tf.keras.layers.Dot(axes=1, dtype="float32")([features, vector])
    return [image, label], logit + projection
