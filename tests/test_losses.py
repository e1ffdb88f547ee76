import numpy as np
import tensorflow as tf

from synthmed_tf import losses


def _sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def _logits(*shape, seed=0):
    return np.random.default_rng(seed).normal(0, 2, shape)


def test_discriminator_cross_entropy_is_the_closed_form():
    real, fake = _logits(4, 6, 6, 1), _logits(4, 6, 6, 1, seed=1)
    expected = -np.log(_sigmoid(real)).mean() - np.log(1 - _sigmoid(fake)).mean()
    np.testing.assert_allclose(losses.discriminator_cross_entropy(real, fake), expected, rtol=1e-5)
    np.testing.assert_allclose(losses.discriminator_cross_entropy([0.0], [0.0]), 2 * np.log(2), rtol=1e-6)


def test_generator_loss_is_minus_log_d_and_not_log_one_minus_d():
    fake = _logits(8, 1)
    np.testing.assert_allclose(losses.generator_non_saturating(fake), -np.log(_sigmoid(fake)).mean(), rtol=1e-5)
    np.testing.assert_allclose(losses.generator_non_saturating([0.0]), np.log(2), rtol=1e-6)
    logit = tf.Variable([-10.0])  # a fake that D is sure of: log(1 - D) would give no gradient, -log D gives -1
    with tf.GradientTape() as tape:
        loss = losses.generator_non_saturating(logit)
    np.testing.assert_allclose(tape.gradient(loss, logit), [-1.0], atol=1e-4)


def test_a_good_discriminator_has_a_small_loss_and_the_reverse_a_large_one():
    good, bad = losses.discriminator_cross_entropy([5.0], [-5.0]), losses.discriminator_cross_entropy([-5.0], [5.0])
    assert good < 0.02 and bad > 9.9


def test_logits_of_any_size_and_precision_give_a_finite_float32():
    for logit in (-1e4, 1e4):
        loss = losses.discriminator_cross_entropy([logit], [logit])
        np.testing.assert_allclose(loss, 1e4)
    assert losses.generator_non_saturating(tf.zeros([3, 1], tf.bfloat16)).dtype == tf.float32
    np.testing.assert_allclose(losses.logistic([3.0], True), np.log1p(np.exp(-3)), rtol=1e-6)
    np.testing.assert_allclose(losses.logistic([3.0], False), np.log1p(np.exp(3)), rtol=1e-6)


def test_l1_is_the_mean_absolute_difference():
    images, targets = _logits(2, 5, 4, 3), _logits(2, 5, 4, 3, seed=1)
    np.testing.assert_allclose(losses.l1(images, targets), np.abs(images - targets).mean(), rtol=1e-6)


def test_feature_matching_is_the_mean_of_l1_over_layers_and_moves_no_target():
    own, target = (
        [tf.Variable(tf.cast(_logits(2, size, size, 3, seed=seed), tf.float32)) for size in (4, 2)] for seed in (0, 1)
    )
    with tf.GradientTape() as tape:
        loss = losses.feature_matching(own, target)
    expected = np.mean([np.abs(a.numpy() - b.numpy()).mean() for a, b in zip(own, target, strict=True)])
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    assert [gradient is None for gradient in tape.gradient(loss, [*own, *target])] == [False, False, True, True]


def test_squared_error_is_the_mean_square_of_the_difference():
    values, targets = _logits(2, 5, 4, 3), _logits(2, 5, 4, 3, seed=1)
    variable = tf.Variable(values, dtype=tf.float32)
    with tf.GradientTape() as tape:
        loss = losses.squared_error(variable, targets)
    np.testing.assert_allclose(loss, np.square(targets - values).mean(), rtol=1e-6)
    np.testing.assert_allclose(
        tape.gradient(loss, variable), 2 * (values - targets) / values.size, rtol=1e-4, atol=1e-7
    )
    thirds = tf.cast(tf.fill([100], 1 / 3), tf.bfloat16)
    found = losses.squared_error(thirds, np.zeros(100))
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, float(thirds[0]) ** 2, rtol=1e-6)  # squared and summed in float32


def test_r1_penalty_of_linear_and_quadratic_critics():
    images = tf.constant(_logits(3, 4, 5, 2), tf.float32)
    slope = tf.Variable(_logits(4, 5, 2, seed=1), dtype=tf.float32)
    with tf.GradientTape() as tape:  # D(x) = a.x has the gradient a everywhere
        penalty = losses.r1_penalty(lambda x: tf.reduce_sum(slope * x, [1, 2, 3]), images)
    np.testing.assert_allclose(penalty, np.square(slope).sum(), rtol=1e-5)
    np.testing.assert_allclose(tape.gradient(penalty, slope), 2 * slope, rtol=1e-5)
    quadratic = losses.r1_penalty(lambda x: 0.5 * tf.reduce_sum(x**2, [1, 2, 3]), images)  # gradient x
    np.testing.assert_allclose(quadratic, np.square(images).sum((1, 2, 3)).mean(), rtol=1e-5)


def test_r1_penalty_sums_over_a_map_of_logits():
    images = tf.ones([2, 4, 4, 1])
    np.testing.assert_allclose(losses.r1_penalty(lambda x: 3.0 * x, images), 9.0 * 16)


def test_segmentation_cross_entropy_is_the_weighted_closed_form():
    logits, rng = _logits(2, 6, 7, 1), np.random.default_rng(2)
    masks, weights = rng.integers(0, 2, logits.shape), rng.uniform(0, 3, logits.shape)
    pixelwise = -masks * np.log(_sigmoid(logits)) - (1 - masks) * np.log(1 - _sigmoid(logits))
    expected = (weights * pixelwise).sum() / weights.sum()
    np.testing.assert_allclose(losses.segmentation_cross_entropy(logits, masks, weights), expected, rtol=1e-5)


def test_segmentation_cross_entropy_ignores_what_is_outside_the_field_of_view():
    logits, masks = _logits(1, 4, 4, 1), np.ones([1, 4, 4, 1])
    inside = np.zeros_like(masks)
    inside[:, :2] = 1
    spoiled = np.where(inside > 0, logits, 1e3)
    first = losses.segmentation_cross_entropy(logits, masks, inside)
    np.testing.assert_array_equal(first, losses.segmentation_cross_entropy(spoiled, masks, inside))
    assert losses.segmentation_cross_entropy(logits, masks, np.zeros_like(masks)) == 0


def test_wasserstein_losses_are_differences_of_means():
    real, fake = _logits(8, 1), _logits(8, 1, seed=1)
    np.testing.assert_allclose(losses.wasserstein_critic(real, fake), fake.mean() - real.mean(), rtol=1e-5)
    np.testing.assert_allclose(losses.wasserstein_generator(fake), -fake.mean(), rtol=1e-5)
    np.testing.assert_allclose(losses.drift(real), (real**2).mean(), rtol=1e-5)


def test_gradient_penalty_of_a_linear_critic_is_the_square_of_its_slope_less_one():
    rng = np.random.default_rng(0)
    real, fake = tf.unstack(tf.constant(rng.normal(size=[2, 3, 4, 5, 2]), tf.float32))
    shares = rng.uniform(size=[3, 1, 1, 1]).astype(np.float32)
    for length in (0.25, 1.0, 3.0):  # of the gradient, everywhere
        w = rng.normal(size=[4, 5, 2])
        w = tf.Variable(length * w / np.linalg.norm(w), dtype=tf.float32)
        with tf.GradientTape() as tape:
            penalty = losses.gradient_penalty(lambda x: tf.reduce_sum(w * x, [1, 2, 3])[:, None], real, fake, shares)
        np.testing.assert_allclose(penalty, (length - 1) ** 2, atol=1e-5)
        np.testing.assert_allclose(tape.gradient(penalty, w), 2 * (length - 1) * w / length, atol=1e-4)


def test_gradient_penalty_is_taken_between_real_and_fake_images():
    real, fake = tf.fill([2, 1, 1, 1], 3.0), tf.fill([2, 1, 1, 1], -1.0)
    shares = np.float32([0.25, 1.0]).reshape(2, 1, 1, 1)  # at 0 and at 3
    penalty = losses.gradient_penalty(lambda x: tf.square(x[:, 0, 0]), real, fake, shares)  # slope 2 x
    np.testing.assert_allclose(penalty, ((0 - 1) ** 2 + (6 - 1) ** 2) / 2, rtol=1e-5)
