"""How long a training would take, and how much memory: a few steps of it, timed."""

import contextlib
import dataclasses
import io
import math
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

STEPS = 6  # tried; the first ones trace the network
NETWORKS = "generator", "discriminator"


def measure(method, shown, settings, seed, steps=STEPS):
    """Trains a few steps in a temporary folder.

    Args:
      method: module with `train`. shown: what it trains on, an Examples or Pairs; its `batch` is timed.
      settings: of the method, with `steps` replaced here.

    Returns:
      ({network: number of parameters}, seconds a step, the median of the last half of the steps, GB of memory that this
      process has needed).
    """
    times, batch = [], shown.batch

    def timed_batch(step):
        times.append(time.monotonic())
        return batch(step)

    shown.batch = timed_batch

    def watch(*_):
        return lambda: ({"distance": 0.0}, "")

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        few = dataclasses.replace(settings, steps=steps)
        if hasattr(settings, "level_images"):  # a PGGAN: its last level, which takes longest, after one step a level
            few = dataclasses.replace(settings, steps=steps + 10, level_images=settings.batch_size)
        _, result = method.train(Path(folder), shown, few, seed, watch=watch, name="estimate")
        variables = tf.train.list_variables(result["checkpoint"])
    parameters = dict.fromkeys(NETWORKS, 0)
    for name, shape in variables:
        network = name.split("/")[0]
        if network in NETWORKS and ".OPTIMIZER_SLOT" not in name:
            parameters[network] += math.prod(shape)
    seconds = float(np.median(np.diff(times)[-(steps // 2) :]))
    parameters = {network: count for network, count in parameters.items() if count}  # a flow has no discriminator
    return parameters, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
