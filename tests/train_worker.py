"""Trains one stage for a few steps in a process of its own; kills itself by SIGKILL where told to.

Used by test_resume.py.

python train_worker.py FOLDER STEPS KILL_AT TRAINING [TRAINING ...]     KILL_AT -1: never
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from synthmed_tf import flags, synthesis  # noqa: E402
from synthmed_tf.papers import segmenter  # noqa: E402
from synthmed_tf.records.write import write_records  # noqa: E402
from synthmed_tf.sample import Sample  # noqa: E402
from synthmed_tf.training import batches, calibration, checkpoints, hardware, loop, segmenter, stage1, stage2  # noqa: E402  # noqa: E402

SETTINGS = {"image_size": (64, 64), "seed": 3}


def samples(count=6):
    """Discs with a bar through them: enough to train on, no meaning."""
    random = np.random.default_rng(7)
    rows, columns = np.mgrid[:64, :64]
    inside = ((rows - 31.5) ** 2 + (columns - 31.5) ** 2 < 30**2).astype(np.uint8)[..., None]
    for index in range(count):
        mask = (abs(rows - columns + random.integers(-20, 20)) < 3).astype(np.uint8)[..., None] * inside
        image = (random.integers(60, 120, [64, 64, 3]) - 40 * mask) * inside
        yield Sample(id=f"{index}", image=image.astype(np.uint8), mask=mask, field_of_view=inside)


def train_stage1(folder, real, steps, name="stage1", words=()):
    given = flags.parse("train_stage1", "", ["train_stage1.py", "--batch_size=4", *words])
    settings = flags.apply_preset(given, flags.STAGE1_PRESETS) | SETTINGS
    networks, _ = stage1.train(folder / name, real, settings, steps)
    write_records(folder / f"{name}_masks", "masks", synthesis.from_noise(networks, settings, 5), source="test")
    return [*networks.trained.values(), networks.averaged]


def train_flow(folder, real, steps):
    return train_stage1(folder, real, steps, "flow", ["--model=flow"])


def train_pggan(folder, real, steps):
    """Grows from 4 to 16 pixels in steps 0, 4 and 8; conditional."""
    words = ["train_stage1.py", "--target=image", "--model=pggan", "--batch_size=4", "--level_images=16"]
    settings = flags.apply_preset(flags.parse("train_stage1", "", words), flags.STAGE1_PRESETS) | {
        "image_size": (16, 16),
        "seed": 3,
        "width": 1 / 32,
    }
    tiles = [Sample(sample.id, sample.image[24:40, 24:40], label="ab"[i % 2]) for i, sample in enumerate(real)]
    networks, _ = stage1.train(folder / "pggan", tiles, settings, steps, class_names="ab")
    made = synthesis.labelled(dict.fromkeys("ab", networks), tiles, settings, 5, {}, [])
    write_records(folder / "pggan_images", "images", made, source="test")
    return [*networks.trained.values(), networks.averaged]


def train_stage2(folder, real, steps, name="stage2", preset="small_data"):
    settings = {**flags.STAGE2_PRESETS[preset], **SETTINGS, "preset": preset, "batch_size": 1}
    networks, _ = stage2.train(folder / name, real, settings, steps)
    pairs = synthesis.pairs(networks, real[:2], settings, True)
    write_records(folder / f"{name}_pairs", "pairs", pairs, source="test")
    return [networks.generator, networks.sampler, networks.discriminator]


def train_pix2pix(folder, real, steps):
    return train_stage2(folder, real, steps, "pix2pix", "pix2pix")


def train_unet(folder, real, steps):
    return [segmenter.train(folder / "unet", [real], steps, seed=3)[0]]


def main(folder, steps, kill_at, *trainings):
    folder = Path(folder)
    hardware.set_up()
    loop.SAVE_EVERY = checkpoints.MEASURE_EVERY = 4
    stage1.FLOW_STEPS = stage1.SETTLING_BATCHES = 3
    calibration.MEASURED_SAMPLES = calibration.CALIBRATION_SAMPLES = 8
    real = list(samples())
    original = batches.draw_batch_indices

    def draw(count, batch_size, seed, step):
        if step == int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(count, batch_size, seed, step)

    batches.draw_batch_indices = draw
    for training in trainings:
        models = globals()[f"train_{training}"](folder, real, int(steps))
        weights = [weight for model in models for weight in model.get_weights()]
        np.savez(folder / f"{training}.npz", *weights)


if __name__ == "__main__":
    main(*sys.argv[1:])
