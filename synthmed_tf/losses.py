"""Losses: five-line pure functions, each with its equation number. All return a float32 scalar.

Logits are any float type and shape, larger = more real (or: vessel); they are cast to float32 before anything is
summed.

P1 (Guibas et al. 2017, section "Stage-I GAN") prints D's loss as log(D(G(z))) + log(1 - D(x)) and G's as log(1 - D(x)):
the labels of D the other way round, and a generator loss that no generator enters. The standard reading is what is
meant and what DCGAN and pix2pix use, and what stands here: D minimises its cross entropy, G the non-saturating loss.
"""

import tensorflow as tf


def discriminator_cross_entropy(real_logits, fake_logits):
    """-mean log D(x) - mean log(1 - D(G(z))), D = sigmoid(logit). Goodfellow et al. 2014, eq. 1, with D's sign."""
    return logistic(real_logits, True) + logistic(fake_logits, False)


def generator_non_saturating(fake_logits):
    """-mean log D(G(z)), D = sigmoid(logit). Goodfellow et al. 2014, section 3, below eq. 1."""
    return logistic(fake_logits, True)


def logistic(logits, real):
    """Mean logistic loss: softplus(-logit) where `real`, else softplus(logit)."""
    logits = tf.cast(logits, tf.float32)
    return tf.reduce_mean(tf.nn.softplus(-logits if real else logits))


def l1(images, targets):
    """Mean |target - image| over batch, pixels and channels. Isola et al. 2017, eq. 3 (as a mean, as in their code)."""
    return tf.reduce_mean(tf.abs(tf.cast(targets, tf.float32) - tf.cast(images, tf.float32)))


def feature_matching(features, targets):
    """Mean of L1 over the layers of a discriminator; the targets get no gradient. Wang et al. 2018, "High-Resolution
    Image Synthesis and Semantic Manipulation with Conditional GANs", eq. 4 (there with a sum over layers).

    Args:
      features, targets: lists of what each layer makes of fake and of real images, of the same shapes.
    """
    return tf.add_n([l1(own, tf.stop_gradient(target)) for own, target in zip(features, targets, strict=True)]) / len(
        features
    )


def squared_error(values, targets):
    """Mean (target - value)^2 over batch, pixels and channels. Liu et al. 2023, "Flow Straight and Fast", eq. 1."""
    return tf.reduce_mean(tf.square(tf.cast(targets, tf.float32) - tf.cast(values, tf.float32)))


def r1_penalty(critic, real_images):
    """E[|grad_x D(x)|^2] on real images, to be multiplied by gamma / 2. Mescheder et al. 2018, eq. 9.

    Args:
      critic: function of the images that returns logits [batch, ...]; a map of logits is summed over.
      real_images: [batch, height, width, channels] float32.
    """
    with tf.GradientTape() as tape:
        tape.watch(real_images)
        total = tf.reduce_sum(tf.cast(critic(real_images), tf.float32))
    gradients = tf.cast(tape.gradient(total, real_images), tf.float32)
    return tf.reduce_mean(tf.reduce_sum(tf.square(gradients), axis=[1, 2, 3]))


def wasserstein_critic(real_logits, fake_logits):
    """mean D(G(z)) - mean D(x), which the critic minimises. Gulrajani et al. 2017, eq. 3, without its penalty."""
    return tf.reduce_mean(tf.cast(fake_logits, tf.float32)) - tf.reduce_mean(tf.cast(real_logits, tf.float32))


def wasserstein_generator(fake_logits):
    """-mean D(G(z)). Gulrajani et al. 2017, algorithm 1, line 11."""
    return -tf.reduce_mean(tf.cast(fake_logits, tf.float32))


def drift(real_logits):
    """E[D(x)^2], to be multiplied by 0.001: keeps the critic's output near 0. Karras et al. 2018, appendix A.1."""
    return tf.reduce_mean(tf.square(tf.cast(real_logits, tf.float32)))


def gradient_penalty(critic, real_images, fake_images, shares):
    """E[(|grad_x D(x)| - 1)^2] at x = share real + (1 - share) fake, to be multiplied by 10.

    Gulrajani et al. 2017, eq. 3.

    Args:
      critic: function of the images that returns logits [batch, 1].
      real_images, fake_images: [batch, height, width, channels] float32.
      shares: [batch, 1, 1, 1] float32, uniform in [0, 1].
    """
    mixed = shares * real_images + (1 - shares) * fake_images
    with tf.GradientTape() as tape:
        tape.watch(mixed)
        total = tf.reduce_sum(tf.cast(critic(mixed), tf.float32))
    squares = tf.reduce_sum(tf.square(tf.cast(tape.gradient(total, mixed), tf.float32)), axis=[1, 2, 3])
    return tf.reduce_mean(tf.square(tf.sqrt(squares + 1e-12) - 1))  # 1e-12: the root has no derivative at 0


def segmentation_cross_entropy(logits, masks, weights):
    """Weighted mean of the pixelwise cross entropy. Ronneberger et al. 2015, eq. 1 (two classes, so one logit).

    Args:
      logits: [batch, height, width, 1], vessel > 0.
      masks: the same shape, in [0, 1], vessel = 1.
      weights: the same shape, >= 0; 0 outside the field of view. All 0 gives the loss 0.
    """
    logits, masks, weights = (tf.cast(values, tf.float32) for values in (logits, masks, weights))
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=masks, logits=logits)
    return tf.math.divide_no_nan(tf.reduce_sum(weights * losses), tf.reduce_sum(weights))
