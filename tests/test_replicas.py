"""Two replicas with half of a batch each: the same step of a GAN, and each its own noise of a flow."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from stage1_helpers import make_sgd, reduce_by_hand, show_plainly

from synthmed_tf.smalldata import dcgan, flow
from synthmed_tf.training import loop


def train_one_step(folder):
    """One step of a tiny DCGAN and a tiny flow, alone and on two replicas; in a process that has two devices."""
    import test_dcgan
    import test_flow

    rows = np.random.default_rng(1).uniform(-1, 1, [4, 6, 4, 2]).astype(np.float32)
    rows[..., 1] = rows[..., 1] > -0.5
    for strategy in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])):
        count = strategy.num_replicas_in_sync
        for method in ("dcgan", "flow"):
            with strategy.scope():
                tf.keras.utils.set_random_seed(2)
                if method == "dcgan":
                    models = dict(zip(("generator", "discriminator"), test_dcgan.build_tiny_gan(), strict=True))
                else:
                    models = {"generator": test_flow.build_linear((6, 4))}
                optimizers = {name: make_sgd() for name in models}
                for name, model in models.items():
                    optimizers[name].build(model.trainable_variables)
            if method == "dcgan":
                settings = dcgan.MaskSettings(latent=2, r1=0.7)
                step = dcgan.make_step(*models.values(), optimizers, test_dcgan.PLAIN, settings, 4)
            else:
                model = test_flow.build_flow(models["generator"], (6, 4))
                step = flow.make_step(model, optimizers["generator"], show_plainly, 4)
            place = Path(folder) / f"{method}-{count}"
            place.mkdir()
            loop.fit(place, step, lambda index: (rows,), models, 1, strategy=strategy)
            weights = {f"{n}-{i}": w for n, model in models.items() for i, w in enumerate(model.get_weights())}
            np.savez(place / "weights.npz", rows=rows, **weights)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder where `train_one_step` has saved: (method, replicas) -> (weights, losses)."""
    folder = tmp_path_factory.mktemp("replicas")
    tests = Path(__file__).parent
    path = os.pathsep.join([str(tests.parent), str(tests)])
    done = subprocess.run(
        [sys.executable, __file__, str(folder)], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr[-3000:]

    def read(method, count):
        place = folder / f"{method}-{count}"
        return np.load(place / "weights.npz"), json.loads((place / "metrics.jsonl").read_text())

    return read


def test_two_replicas_do_the_same_step_of_a_gan(trained):
    (alone, losses_alone), (shared, losses_shared) = (trained("dcgan", count) for count in (1, 2))
    for name in alone.files:
        if name != "generator-0":  # the generator's kernel depends on z, which is the replica's own
            np.testing.assert_allclose(alone[name], shared[name], atol=1e-5, err_msg=name)
    assert losses_alone.keys() == losses_shared.keys() and len(losses_alone) >= 3
    np.testing.assert_allclose([*losses_alone.values()], [*losses_shared.values()], atol=2e-6)


@pytest.mark.parametrize("count", [1, 2])
def test_each_replica_of_a_flow_has_noise_and_times_of_its_own(trained, count):
    from test_flow import step_by_hand

    weights, logged = trained("flow", count)
    real = reduce_by_hand(weights["rows"])
    parts = [step_by_hand(real[replica::count], 4, 0, replica) for replica in range(count)]
    loss, gradients = (np.mean(values, 0) for values in zip(*parts))
    np.testing.assert_allclose([weights[f"generator-{i}"] for i in range(3)], [0.7, -0.4, 0.2] - gradients, atol=1e-5)
    np.testing.assert_allclose(logged["velocity"], loss, rtol=1e-5)


if __name__ == "__main__":
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    train_one_step(sys.argv[1])
