"""Networks of stage 2 that are linear in each pixel, so that their training steps are worked out by hand."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

from synthmed_tf.networks.layers import SeededDropout


def sgd():
    """{name of a network: gradient descent at rate 1}."""
    return {name: tf.keras.optimizers.SGD(1.0, jit_compile=False) for name in ("generator", "discriminator")}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.log1p(np.exp(x))


def wedge(height=64, width=64):
    """A vessel that gets thicker to the right, [height, width, 1]."""
    rows, columns = np.mgrid[:height, :width]
    return (abs(rows - height / 2) < 1 + columns / 12).astype(np.uint8)[..., None]


def build_generator(planes=1, has_dropout=False):
    """Photographs a * mask + c of any size, the mask being the first plane of the condition."""
    condition, seed = tf.keras.Input([None, None, planes]), tf.keras.Input([2], dtype=tf.int32)
    initial = tf.keras.initializers.RandomNormal(0, 0.3, seed=1)
    photograph = tf.keras.layers.Conv2D(3, 1, kernel_initializer=initial)(condition[..., :1])
    photograph = SeededDropout(0.5, index=0)([photograph, seed]) if has_dropout else photograph
    return tf.keras.Model([condition, seed], photograph)


def build_discriminator():
    """Logits w * pair + b of single pixels; the activation changes nothing."""
    pair = tf.keras.Input([None, None, 4])
    initial = tf.keras.initializers.RandomNormal(0, 0.3, seed=1)
    return tf.keras.Model(
        pair, tf.keras.layers.LeakyReLU(1.0)(tf.keras.layers.Conv2D(1, 1, kernel_initializer=initial)(pair))
    )


def draw_stack(seed, size=8, is_viewed=False):
    """Two photographs and their masks, [2, size, size, 4], and a field of view of all pixels where asked for."""
    random = np.random.default_rng(seed)
    masks = random.choice([-1.0, 1.0], [2, size, size, 1])
    parts = random.uniform(-1, 1, [2, size, size, 3]), masks, np.ones_like(masks)
    return np.concatenate(parts if is_viewed else parts[:2], -1, dtype=np.float32)


def check_step(step, generator, discriminator, stack, l1_weight, shown=None):
    """Checks a step by gradient descent at rate 1 against equations 1 to 4 of Isola et al. 2017, worked out by hand.

    Args:
      step: function (step number, stack) -> losses. stack: [batch, height, width, 4 or 5] that it is called with.
      shown: what the networks see of it; the stack itself if not given.
    """
    photograph, mask = (
        part.reshape(-1, part.shape[-1]) for part in np.split(stack if shown is None else shown, [3], -1)
    )
    mask = mask[:, :1]
    (a, c), (w, b) = ([value.copy() for value in model.get_weights()] for model in (generator, discriminator))
    a, w = a[0, 0], w[0, 0]
    fake = mask @ a + c
    on_real, on_fake = (np.concatenate([mask, colours], -1) @ w + b for colours in (photograph, fake))
    losses = {
        "discriminator": (softplus(-on_real).mean() + softplus(on_fake).mean()) / 2,
        "adversarial": softplus(-on_fake).mean(),
        "l1": np.abs(photograph - fake).mean(),
    }
    to_fake = -sigmoid(-on_fake) @ w[1:].T / len(fake) + l1_weight * np.sign(fake - photograph) / fake.size
    to_w = sigmoid(on_fake) * np.concatenate([mask, fake], -1) - sigmoid(-on_real) * np.concatenate(
        [mask, photograph], -1
    )

    reported = step(tf.constant(3, tf.int64), stack)

    assert reported.keys() == losses.keys()
    np.testing.assert_allclose([reported[name] for name in losses], [*losses.values()], rtol=1e-4)
    new_a, new_c = generator.get_weights()
    np.testing.assert_allclose(new_a[0, 0], a - mask.T @ to_fake, atol=1e-4)
    np.testing.assert_allclose(new_c, c - to_fake.sum(0), atol=1e-4)
    np.testing.assert_allclose(discriminator.get_weights()[0][0, 0], w - to_w.mean(0)[:, None] / 2, atol=1e-4)


def check_replicas(method, folder):
    """Checks that two replicas with half a batch each learn and log what one learns from all of it."""
    tests = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": str(tests.parent), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = sys.executable, tests / "replicas_worker.py", method, folder
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    before, one, two = (np.load(folder / f"{name}.npz") for name in ("before", "1", "2"))
    assert one.files == two.files and len(one.files) >= 6
    for name in one.files:
        np.testing.assert_allclose(one[name], two[name], rtol=1e-5, atol=1e-5, err_msg=name)
    assert all((before[name] != one[name]).any() for name in before.files)


def check_epsilon(optimizer_of, epsilon):
    """Checks an optimizer by the first step of a tiny gradient, which shows its epsilon.

    The formula is that of torch/optim's adam.lua and of Keras 1.2: epsilon is added to the root of the mean, before
    the mean is corrected.

    Args:
      optimizer_of: function of a model -> Adam with rate 1 and beta2 0.999.
    """
    layer = tf.keras.Sequential([tf.keras.layers.Dense(1, kernel_initializer="zeros", use_bias=False)])
    layer.build([None, 1])
    optimizer_of(layer).apply_gradients([(tf.constant([[1e-7]]), layer.trainable_variables[0])])
    root = np.sqrt(1e-3) * 1e-7
    np.testing.assert_allclose(layer.get_weights()[0][0, 0], -root / (root + epsilon), rtol=1e-3)
