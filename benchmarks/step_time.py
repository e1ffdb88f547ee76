"""Seconds a training step of stage 2's presets, on noise: best and median of some steps after the first two.

python benchmarks/step_time.py PRESET SIZE BATCH PRECISION [STEPS]      for example: pix2pix 256 1 auto
"""

import math
import statistics
import sys
import time

import tensorflow as tf

from synthmed_tf import flags
from synthmed_tf.training import loop, stage2


def main(preset, size, batch, precision, steps=10):
    _, policy = loop.set_up(precision)
    settings = stage2.for_size(
        {**flags.STAGE2_PRESETS[preset], "preset": preset, "seed": 0, "image_size": (int(size), int(size))}
    )
    networks = stage2.build(settings, channels=3)
    optimizers = [
        stage2.make_optimizer(settings, 2e-4, model) for model in (networks.generator, networks.discriminator)
    ]
    if settings["in_turn"]:
        updates = stage2.make_vess2ret_steps(networks, optimizers, settings)
    else:
        updates = [stage2.make_step(networks, optimizers, settings)]
    pairs = tf.random.stateless_uniform([int(batch), int(size), int(size), 4], [0, 0], -1, 1)
    pairs = tf.concat([pairs, tf.ones_like(pairs[..., :1])], -1)  # the field of view is everywhere
    seconds = []
    for index in range(int(steps) + 2):
        began = time.monotonic()
        losses = {}
        for parts, step in zip((len(updates), 1), updates):  # vess2ret's D is given two batches
            losses |= {name: float(loss) for name, loss in step(tf.constant(index, tf.int64), *[pairs] * parts).items()}
        seconds.append((time.monotonic() - began) / len(updates))
        if not all(map(math.isfinite, losses.values())):
            raise SystemExit(f"step {index}: a loss is not finite: {losses}")
    print(
        f"{preset} {size} pixels batch {batch} --precision={precision} ({policy}), G {networks.generator.count_params():,} "
        f"D {networks.discriminator.count_params():,} parameters: best {min(seconds[2:]):.3f} s, "
        f"median {statistics.median(seconds[2:]):.3f} s a step"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
