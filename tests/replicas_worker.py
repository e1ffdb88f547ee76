"""Trains a method of stage 2 on four pairs, once on one replica and once on two, and saves weights and losses.

Used by linear_networks.py. A process of its own, as TensorFlow divides the processor before anything else.

python replicas_worker.py METHOD FOLDER      FOLDER gets before.npz, 1.npz and 2.npz
"""

import sys
from pathlib import Path

import linear_networks
import numpy as np
import tensorflow as tf

from synthmed_tf.papers import pix2pix, vess2ret
from synthmed_tf.smalldata import painter
from synthmed_tf.training import log, loop

SEED = 4


def pix2pix_steps(*networks):
    return pix2pix.make_step(*networks, pix2pix.Settings(jitter=0), SEED)


def vess2ret_steps(*networks):
    of_d, of_g = vess2ret.make_steps(*networks, vess2ret.Settings(), SEED)
    return [(0, of_d), (1, of_g)]


def painter_steps(*networks):
    return painter.make_step(*networks, False, painter.Settings(feature_matching=0.0), SEED)


def train(folder, method, replicas, strategy):
    stack = np.concatenate([linear_networks.draw_stack(seed, 16, method == "painter") for seed in (1, 2)])
    # The first replica's pairs are all told right, the second's are not: on all together the discriminator learns
    stack[..., :3] = np.abs(stack[..., :3]) * np.float32([1, -1, 1, -1])[:, None, None, None]
    make_steps = {"pix2pix": pix2pix_steps, "vess2ret": vess2ret_steps, "painter": painter_steps}[method]
    with strategy.scope():
        planes = 1 + 2 * 3 + len(painter.NOISE_SCALES) if method == "painter" else 1
        models = {
            "generator": linear_networks.build_generator(planes),
            "discriminator": linear_networks.build_discriminator(),
        }
        models["generator"].set_weights([np.full([1, 1, 1, 3], 0.01), np.full(3, -0.5)])
        models["discriminator"].set_weights([np.reshape([0.01, 1.0, 1.0, 1.0], [1, 1, 4, 1]), np.zeros(1)])
        optimizers = linear_networks.sgd()
        for name, model in models.items():
            optimizers[name].build(model.trainable_variables)
    save(folder / "before.npz", models)

    def batch(index):
        return (stack, stack[::-1]) if method == "vess2ret" and not index else (stack,)

    run = folder / f"run{replicas}"
    run.mkdir()
    steps = make_steps(*models.values(), optimizers)
    count = 2 if method == "vess2ret" else 1
    loop.fit(run, steps, batch, models, count, strategy=strategy)
    losses = {f"loss {name}": value for line in log.read_metrics(run) for name, value in line.items()}
    save(folder / f"{replicas}.npz", models, **losses)


def save(path, models, **others):
    weights = {f"{name} {i}": value for name, model in models.items() for i, value in enumerate(model.get_weights())}
    np.savez(path, **weights, **others)


if __name__ == "__main__":
    device = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
    for replicas, strategy in (
        (1, tf.distribute.get_strategy()),
        (2, tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])),
    ):
        train(Path(sys.argv[2]), sys.argv[1], replicas, strategy)
