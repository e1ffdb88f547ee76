"""DCGAN for a few dozen masks: Radford et al. 2016 with three changes. Without them 20 masks give few different ones.

* The generator enlarges by nearest upsampling and a convolution instead of a transposed convolution, which leaves
  checkerboards (Odena et al. 2016, "Deconvolution and Checkerboard Artifacts"), and has one convolution more at full
  size.
* The discriminator has no batch norm, by which it would know a batch of fakes from its statistics.
* It sees how much a batch varies (minibatch standard deviation: Karras et al. 2018, section 3), and so masks that
  repeat themselves.

Widths, depth and kernels of the discriminator are those of networks/dcgan.py; the generator's kernels are 3 x 3, with
the initial weights of He et al. 2015.
"""

import tensorflow as tf

from synthmed_tf.networks.dcgan import KERNEL, compute_channels, compute_depth
from synthmed_tf.networks.layers import (
    SCALE_SD,
    MinibatchStandardDeviation,
    batch_norm,
    join_class,
    judge,
    leaky_relu,
    normal_002,
    upsample_and_convolve,
)


def build_generator(image_size, channels=2, latent=100, classes=0, width=1.0, name="generator"):
    """Noise -> fields.

    Args:
      image_size: (height, width) in pixels, multiples of 16 from 64 up; ValueError otherwise.
      channels: of the fields.
      latent: length of the noise vector.
      classes: if not 0, the inputs are [z, one-hot class [batch, classes]].
      width: times Radford's channels.

    Returns:
      Model: z [batch, latent] float32 -> [batch, height, width, channels] float32 in (-1, 1). Call with training=False
        at test time: batch norm then uses its moving averages, so a sample depends on its z alone.
    """
    filters = compute_channels(image_size, width)
    rows, columns = (side // 2 ** compute_depth(image_size) for side in image_size)
    z = tf.keras.Input([latent], name="z")
    inputs, x = join_class(z, classes)
    x = tf.keras.layers.Dense(rows * columns * filters[0], use_bias=False, kernel_initializer=normal_002())(x)
    x = tf.keras.layers.Reshape([rows, columns, filters[0]])(x)
    x = tf.keras.layers.ReLU()(batch_norm(SCALE_SD)(x))
    for count in [*filters[1:], filters[-1] // 2]:
        x = tf.keras.layers.ReLU()(batch_norm(SCALE_SD)(UpsampleConv2D(count)(x)))
    x = tf.keras.layers.Conv2D(channels, 3, padding="same", kernel_initializer=normal_002())(x)
    return tf.keras.Model(inputs, tf.keras.layers.Activation("tanh", dtype="float32")(x), name=name)


def build_discriminator(image_size, channels=2, classes=0, width=1.0, name="discriminator"):
    """Fields -> logit.

    Args:
      image_size, channels, classes, width: as for `build_generator`.

    Returns:
      Model: [batch, height, width, channels] float32 in [-1, 1] -> [batch, 1] float32 logits, real > 0.
    """
    image = tf.keras.Input([*image_size, channels], name="image")
    x = image
    for filters in reversed(compute_channels(image_size, width)):
        x = leaky_relu()(tf.keras.layers.Conv2D(filters, KERNEL, 2, "same", kernel_initializer=normal_002())(x))
    x = MinibatchStandardDeviation(group_size=4)(x)  # 4: Karras et al. 2018, appendix A.1
    return tf.keras.Model(*judge(image, tf.keras.layers.Flatten()(x), classes, normal_002()), name=name)


class UpsampleConv2D(tf.keras.layers.Layer):
    """Nearest upsampling by 2, then a 3x3 convolution without bias, as one transposed convolution.

    The four pixels that a nearest-upsampled pixel becomes see the same value, so the two layers are a 4x4 transposed
    convolution of stride 2 whose kernel is the 3x3 one summed over shifts by one pixel (Karras et al. 2018, published
    code: fused upscale). The same numbers in less than half of the operations, and no checkerboard (Odena et al. 2016).
    """

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, input_shape):
        shape = [3, 3, self.filters, input_shape[-1]]
        deviation = (2 / (9 * input_shape[-1])) ** 0.5  # He et al. 2015, eq. 10
        self.kernel = self.add_weight(
            "kernel", shape=shape, initializer=tf.keras.initializers.RandomNormal(0.0, deviation)
        )

    def call(self, inputs):
        return upsample_and_convolve(inputs, tf.cast(self.kernel, inputs.dtype))
