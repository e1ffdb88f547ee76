"""PGGAN: Karras et al. 2018, "Progressive Growing of GANs for Improved Quality, Stability, and Variation", table 2.

Generator and discriminator hold the layers of all levels. Level 0 makes 4 x 4 pixels, and each further one twice as
many a side. The networks are called with a level, and with alpha while that level is faded in. Sides that are no powers
of two begin with what is left after as many halvings as both sides allow.

As in the published code, pooling comes before the bias and the activation of the layer in front of it.
"""

import tensorflow as tf

from synthmed_tf.images.resize import count_halvings
from synthmed_tf.networks.layers import (
    CLASS_LENGTH,
    MinibatchStandardDeviation,
    leaky_relu,
    upsample_and_convolve,
    upscale,
)

MOST_FEATURES, FEATURE_BASE = 512, 8192  # Karras et al. 2018, table 2; published code: fmap_max, fmap_base
GAIN = 2**0.5  # He et al. 2015, equation 10; Karras et al. 2018, section 4.1
FIRST_GAIN = 2**0.5 / 4  # of the generator's first layer: published code


def count_features(level, width=1.0):
    """Feature maps of a level: min(8192 / 2^(level + 1), 512) times `width`; level -1 is D's last hidden layer."""
    return max(1, round(width * min(FEATURE_BASE / 2 ** (level + 1), MOST_FEATURES)))


def compute_level_size(image_size, level):
    """(height, width) in pixels of the images of a level."""
    return tuple(side >> (count_halvings(image_size) - level) for side in image_size)


def pixel_norm(x):
    """x / sqrt(mean of x^2 over the last axis + 1e-8), in float32. Karras et al. 2018, section 4.2."""
    values = tf.cast(x, tf.float32)
    return tf.cast(values * tf.math.rsqrt(tf.reduce_mean(tf.square(values), -1, keepdims=True) + 1e-8), x.dtype)


def downscale(images, times=2):
    """[batch, height, width, c] -> means over times x times pixels. Karras et al. 2018, appendix A.1."""
    return tf.nn.avg_pool2d(images, times, times, "VALID") if times > 1 else images


def fade(old, new, alpha):
    """(1 - alpha) old + alpha new. Karras et al. 2018, figure 2."""
    alpha = tf.cast(alpha, new.dtype)
    return old + alpha * (new - old)


class EqualizedDense(tf.keras.layers.Layer):
    """Dense layer whose weights are drawn from N(0, 1) and scaled at run time by gain / sqrt(inputs).

    Karras et al. 2018, section 4.1.
    """

    def __init__(self, units, gain=GAIN, use_bias=True, **kwargs):
        super().__init__(**kwargs)
        self.units, self.gain, self.use_bias = units, gain, use_bias

    def build(self, input_shape):
        self.scale = self.gain / input_shape[-1] ** 0.5
        initializer = tf.keras.initializers.RandomNormal(0.0, 1.0)
        self.kernel = self.add_weight("kernel", [input_shape[-1], self.units], initializer=initializer)
        self.bias = self.add_weight("bias", [self.units], initializer="zeros") if self.use_bias else 0.0

    def call(self, inputs):
        return inputs @ (self.kernel * self.scale) + self.bias


class EqualizedConv2D(tf.keras.layers.Layer):
    """Convolution with bias, padded with zeros, scaled as EqualizedDense is.

    Nearest upsampling comes before it, or average pooling after it, where `resampling` says so.

    Args:
      filters, size: of the kernel, size 1 or 3.
      gain: see EqualizedDense.
      resampling: "up", "down" or None; size 3 alone.
    """

    def __init__(self, filters, size=3, gain=GAIN, resampling=None, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.size, self.gain, self.resampling = filters, size, gain, resampling

    def build(self, input_shape):
        inputs = input_shape[-1]
        self.scale = self.gain / (self.size**2 * inputs) ** 0.5
        initializer = tf.keras.initializers.RandomNormal(0.0, 1.0)
        self.kernel = self.add_weight("kernel", [self.size, self.size, inputs, self.filters], initializer=initializer)
        self.bias = self.add_weight("bias", [self.filters], initializer="zeros")

    def call(self, inputs):
        kernel = self.kernel * self.scale
        if self.resampling == "up":
            outputs = upsample_and_convolve(inputs, tf.transpose(kernel, [0, 1, 3, 2]))
        elif self.resampling == "down":  # 3x3 and the mean of four are one 4x4 convolution of stride 2
            shifts = [(i, j) for i in range(2) for j in range(2)]
            kernel = tf.add_n([tf.pad(kernel, [[i, 1 - i], [j, 1 - j], [0, 0], [0, 0]]) for i, j in shifts]) / 4
            outputs = tf.nn.conv2d(inputs, kernel, 2, "SAME")
        else:
            outputs = tf.nn.conv2d(inputs, kernel, 1, "SAME")
        return tf.nn.bias_add(outputs, self.bias)


class Generator(tf.keras.Model):
    """z of N(0, 1) [batch, latent], or [z, one-hot class] -> images of a level, float32, without tanh.

    z is normalised. Beside it stands a learned vector of the class, normalised to layers.CLASS_LENGTH times its length.

    Args:
      image_size: (height, width) of the last level, multiples of 8 from 16 up.
      channels: of the image. latent: length of z. classes: 0: none.
      width: factor on the number of feature maps; 1 in the paper.
    """

    def __init__(self, image_size, channels=1, latent=512, classes=0, width=1.0, name="generator"):
        super().__init__(name=name)
        self.last_level = count_halvings(image_size)
        self.base = compute_level_size(image_size, 0)
        first = count_features(0, width)
        self.class_vector = EqualizedDense(latent, classes**0.5, use_bias=False) if classes else None
        self.first = EqualizedDense(self.base[0] * self.base[1] * first, FIRST_GAIN, use_bias=False)
        self.first_bias = self.add_weight("first_bias", [first], initializer="zeros")
        self.blocks = [[EqualizedConv2D(first)]]
        for level in range(1, self.last_level + 1):
            count = count_features(level, width)
            self.blocks.append([EqualizedConv2D(count, resampling="up"), EqualizedConv2D(count)])
        self.to_image = [EqualizedConv2D(channels, 1, gain=1.0, dtype="float32") for _ in self.blocks]
        self.activation = leaky_relu()
        z = tf.zeros([1, latent])
        # Makes every variable, so that a checkpoint holds them from the first step on
        for level in range(self.last_level + 1):
            self([z, tf.zeros([1, classes])] if classes else z, level=level)

    def call(self, inputs, level=None, alpha=None, training=None):
        """Images of `level` (the last one if None); with alpha in [0, 1] faded in from the level below."""
        z, *label = tf.nest.flatten(inputs)
        level = self.last_level if level is None else level
        z = pixel_norm(z)
        if label:
            z = tf.concat([z, CLASS_LENGTH * pixel_norm(self.class_vector(label[0]))], -1)
        x = tf.reshape(self.first(z), [-1, *self.base, self.first_bias.shape[0]])
        x = pixel_norm(self.activation(tf.nn.bias_add(x, self.first_bias)))
        for block in self.blocks[: level + 1]:
            before = x
            for convolution in block:
                x = pixel_norm(self.activation(convolution(x)))
        image = self.to_image[level](x)
        return image if alpha is None else fade(upscale(self.to_image[level - 1](before)), image, alpha)


class Discriminator(tf.keras.Model):
    """Images of a level [batch, height, width, channels], or [images, one-hot class] -> logit [batch, 1], real > 0.

    The class enters as in layers.judge; the arguments are those of Generator.
    """

    def __init__(self, image_size, channels=1, classes=0, width=1.0, name="discriminator"):
        super().__init__(name=name)
        self.last_level = count_halvings(image_size)
        levels = range(self.last_level + 1)
        self.from_image = [EqualizedConv2D(count_features(level, width), 1) for level in levels]
        self.blocks = [
            [
                EqualizedConv2D(count_features(level, width)),
                EqualizedConv2D(count_features(level - 1, width), resampling="down"),
            ]
            for level in levels[1:]
        ]
        self.deviation = MinibatchStandardDeviation(group_size=4)  # Karras et al. 2018, published code
        self.last = EqualizedConv2D(count_features(0, width))
        hidden = count_features(-1, width)
        self.hidden = EqualizedDense(hidden)
        self.logit = EqualizedDense(1, gain=1.0, dtype="float32")
        self.class_vector = (
            EqualizedDense(hidden, (classes / hidden) ** 0.5, use_bias=False, dtype="float32") if classes else None
        )
        self.activation = leaky_relu()
        for level in levels:
            image = tf.zeros([1, *compute_level_size(image_size, level), channels])
            self([image, tf.zeros([1, classes])] if classes else image, level=level)

    def call(self, inputs, level=None, alpha=None, training=None):
        """Logits of images of `level` (the last one if None); with alpha in [0, 1] faded in from the level below."""
        image, *label = tf.nest.flatten(inputs)
        level = self.last_level if level is None else level
        x = self.activation(self.from_image[level](image))
        for place in range(level, 0, -1):
            for convolution in self.blocks[place - 1]:
                x = self.activation(convolution(x))
            if place == level and alpha is not None:
                x = fade(self.activation(self.from_image[level - 1](downscale(image))), x, alpha)
        x = self.activation(self.last(self.deviation(x)))
        x = self.activation(self.hidden(tf.reshape(x, [-1, x.shape[1] * x.shape[2] * x.shape[3]])))
        logit = self.logit(x)
        if label:
            logit += tf.reduce_sum(self.class_vector(label[0]) * tf.cast(x, tf.float32), -1, keepdims=True)
        return logit
