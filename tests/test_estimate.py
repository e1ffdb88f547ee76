import contextlib
import dataclasses
import sys
import time
import types

import numpy as np
import pytest
import tensorflow as tf

from synthmed_tf.papers import dcgan
from synthmed_tf.sample import Sample
from synthmed_tf.training import estimate
from synthmed_tf.training.examples import Examples


@dataclasses.dataclass(frozen=True)
class Settings:
    batch_size: int = 2
    steps: int = 1_000_000


@dataclasses.dataclass(frozen=True)
class GrowingSettings(Settings):
    level_images: int = 71_040


class Method:
    """Stands for a module: a "training" whose first steps take longer, as tracing does."""

    def __init__(self, first, others):
        self.first, self.others, self.folder, self.settings = first, others, None, None

    def train(self, folder, shown, settings, seed, *, watch, name):
        self.folder, self.settings = folder, settings
        assert seed == 3 and watch(None, None)()[0] == {"distance": 0.0} == watch(None)()[0]
        print("progress", file=sys.stderr)
        for step in range(settings.steps):
            shown.batch(step)
            time.sleep(self.first if step < 2 else self.others)
        models = {name: tf.keras.Sequential([tf.keras.layers.Dense(size, input_shape=[5])]) for name, size in SIZES}
        prefix = tf.train.Checkpoint(**models, step=tf.Variable(0)).write(str(folder / "ckpt"))
        return None, {"checkpoint": prefix}


SIZES = ("generator", 10), ("discriminator", 2), ("average", 10)


def test_a_few_steps_are_timed_without_those_that_trace():
    method, shown = Method(0.2, 0.02), types.SimpleNamespace(batch=lambda step: None)
    parameters, seconds, gigabytes = estimate.measure(method, shown, Settings(), 3)
    assert parameters == {"generator": 60, "discriminator": 12}  # the average is the generator once more
    assert 0.02 <= seconds < 0.2 and 0.05 < gigabytes < 1000
    assert method.settings == Settings(steps=estimate.STEPS) and not method.folder.exists()


def test_a_network_that_grows_is_timed_at_its_full_size():
    method, shown = Method(0, 0), types.SimpleNamespace(batch=lambda step: None)
    estimate.measure(method, shown, GrowingSettings(), 3, steps=4)
    assert method.settings == GrowingSettings(steps=14, level_images=2)  # one step a level, of ten at most


def test_nothing_is_shown_while_it_is_tried(capsys):
    estimate.measure(Method(0, 0), types.SimpleNamespace(batch=lambda step: None), Settings(), 3)
    assert capsys.readouterr().err == ""


def test_an_error_leaves_no_folder_behind():
    method, shown = Method(0, 0), types.SimpleNamespace(batch=lambda step: 1 / 0)
    with contextlib.suppress(ZeroDivisionError):
        estimate.measure(method, shown, Settings(), 3)
    assert not method.folder.exists()


@pytest.mark.usefixtures("eagerly")
def test_parameters_are_those_of_the_networks():
    settings = dcgan.Settings(width=0.05, batch_size=2)
    few = Examples([Sample("a", mask=np.eye(64, dtype=np.uint8)[..., None])], [], "mask", 2, 0)
    parameters, seconds, _ = estimate.measure(dcgan, few, settings, 0, steps=2)
    networks = dcgan.build((64, 64), 1, 0, settings)
    assert parameters == {
        name: network.count_params() for name, network in zip(("generator", "discriminator"), networks, strict=True)
    }
    assert seconds > 0
