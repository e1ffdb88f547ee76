"""Trains a method for a few steps in a process of its own; kills itself by SIGKILL where told to.

Used by test_resume.py.

python train_worker.py FOLDER STEPS KILL_AT METHOD [METHOD ...]     KILL_AT -1: never
"""

import dataclasses
import itertools
import os
import signal
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import tensorflow as tf  # noqa: E402

from synthmed_tf.papers import pix2pix, segmenter  # noqa: E402
from synthmed_tf.publishing import synthetic_set  # noqa: E402
from synthmed_tf.records.write import write_records  # noqa: E402
from synthmed_tf.sample import Sample  # noqa: E402
from synthmed_tf.smalldata import checkpoint_choice, dcgan, flow, painter, pggan, threshold  # noqa: E402
from synthmed_tf.smalldata.warped_examples import MaskFields, WarpedImages  # noqa: E402
from synthmed_tf.smalldata.warped_pairs import WarpedPairs  # noqa: E402
from synthmed_tf.training import batches, checkpoints, hardware, loop  # noqa: E402
from synthmed_tf.training.pairs import Pairs  # noqa: E402

SIZE, SEED = (64, 64), 3


def samples(count=6):
    """Discs with a bar through them: enough to train on, no meaning."""
    random = np.random.default_rng(7)
    rows, columns = np.mgrid[:64, :64]
    inside = ((rows - 31.5) ** 2 + (columns - 31.5) ** 2 < 30**2).astype(np.uint8)[..., None]
    for index in range(count):
        mask = (abs(rows - columns + random.integers(-20, 20)) < 3).astype(np.uint8)[..., None] * inside
        image = (random.integers(60, 120, [64, 64, 3]) - 40 * mask) * inside
        yield Sample(id=f"{index}", image=image.astype(np.uint8), mask=mask, field_of_view=inside)


def train_masks(folder, real, method, settings, name):
    settings = dataclasses.replace(settings, batch_size=4)
    examples = MaskFields(real, [], "mask", 4, SEED)
    sampler, result = method.train(folder / name, examples, settings, SEED, watch=checkpoint_choice.make_measurement)
    masks = itertools.islice(synthetic_set.draw(sampler, "mask"), 5)
    write_records(folder / f"{name}_made", "masks", masks, source="test")
    return result


def train_dcgan(folder, real, steps):
    return train_masks(folder, real, dcgan, dcgan.MaskSettings(steps=steps), "dcgan")


def train_flow(folder, real, steps):
    return train_masks(folder, real, flow, flow.Settings(steps=steps), "flow")


def train_pggan(folder, real, steps):
    """Grows from 4 to 16 pixels in steps 0, 4 and 8; conditional."""
    tiles = [Sample(sample.id, sample.image[24:40, 24:40], label="ab"[i % 2]) for i, sample in enumerate(real)]
    settings = pggan.set_steps(pggan.Settings(steps=steps, batch_size=4, level_images=16, width=1 / 32), (16, 16), True)
    examples = WarpedImages(tiles, [], "image", 4, SEED, "ab")
    sampler, result = pggan.train(folder / "pggan", examples, settings, SEED, watch=checkpoint_choice.make_measurement)
    images = synthetic_set.draw_labelled(
        dict.fromkeys("ab", sampler), tiles, shares={"a": 1, "b": 1}, with_hash_filter=True, with_pixel_noise=False,
        tally={}, rejected=[],
    )  # fmt: skip
    images = itertools.islice(images, 5)
    write_records(folder / "pggan_made", "images", images, source="test", class_names=["a", "b"])
    return result


def train_pairs(folder, real, method, settings, pairs_class, name):
    watch = checkpoint_choice.make_painting_measurement(real, real[:2])
    pairs = pairs_class(real, settings.batch_size, SEED)
    paint, result = method.train(folder / name, pairs, settings, SEED, watch=watch)
    write_records(folder / f"{name}_made", "pairs", synthetic_set.paint(paint, real[:2], True), source="test")
    return result


def train_painter(folder, real, steps):
    settings = dataclasses.replace(painter.choose_settings(SIZE), steps=steps, batch_size=1)
    return train_pairs(folder, real, painter, settings, WarpedPairs, "painter")


def train_pix2pix(folder, real, steps):
    return train_pairs(folder, real, pix2pix, pix2pix.Settings(steps=steps), Pairs, "pix2pix")


def train_segmenter(folder, real, steps):
    return segmenter.train(folder / "segmenter", [real], steps, seed=SEED)[1]


def main(folder, steps, kill_at, *methods):
    folder = Path(folder)
    hardware.set_up()
    loop.SAVE_EVERY = checkpoints.MEASURE_EVERY = 4
    flow.STEPS = dcgan.SETTLING_BATCHES = 3
    checkpoint_choice.LEAST_SAMPLES = threshold.DRAWN = 8
    real = list(samples())
    original = batches.draw_batch_indices

    def draw(count, batch_size, seed, step):
        if step == int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(count, batch_size, seed, step)

    batches.draw_batch_indices = draw
    for method in methods:
        result = globals()[f"train_{method}"](folder, real, int(steps))
        reader = tf.train.load_checkpoint(result["checkpoint"])
        names = sorted(reader.get_variable_to_shape_map())
        values = {name: reader.get_tensor(name) for name in names if not name.startswith(("save_counter", "_CHECK"))}
        np.savez(folder / f"{method}.npz", **{name.replace("/", "|"): value for name, value in values.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
