"""The synthetic set as PNG files, for people and for other tools."""

import csv
import shutil

import numpy as np
from PIL import Image

from synthmed_tf.progress import show_progress
from synthmed_tf.sample import InputError
from synthmed_tf.training import log


def write(folder, samples):
    """Writes images/, masks/ where there are any, and index.csv, with labels where there are any; all or nothing.

    Args:
      folder: pathlib.Path; replaced.
      samples: sequence of synthetic Samples.

    Raises:
      InputError: the disk is full or the folder cannot be written.
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        kinds = {"image": "images", "mask": "masks"}
        kinds = {part: kind for part, kind in kinds.items() if getattr(samples[0], part) is not None}
        for kind in kinds.values():
            (temporary / kind).mkdir(parents=True)
        with open(temporary / "index.csv", "w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            labelled = samples[0].label is not None
            table.writerow(["id", *kinds, *["label"] * labelled, "seed"])
            for sample in show_progress(samples, desc="PNG files", unit="pair", disable=len(samples) < 500):
                for part, kind in kinds.items():
                    pixels = getattr(sample, part) * np.uint8(255 if part == "mask" else 1)
                    Image.fromarray(np.squeeze(pixels)).save(temporary / kind / f"{sample.id}.png")
                files = (f"{kind}/{sample.id}.png" for kind in kinds.values())
                table.writerow([sample.id, *files, *[sample.label] * labelled, sample.seed])
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    except OSError as error:
        raise InputError(
            f"{folder}: could not be written ({error.strerror}); free space on the disk and run the command again"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def count_images(folder):
    """How many images `write` has left in a folder and are still there."""
    return sum(1 for _ in (folder / "images").glob("*.png"))


def write_grid(path, samples):
    """Writes the images of Samples side by side as one 8-bit picture; without any, there is no such file."""
    path.unlink(missing_ok=True)
    if samples:
        images = np.stack([sample.image for sample in samples])
        images = (images // 257).astype(np.uint8) if images.dtype == np.uint16 else images
        Image.fromarray(np.squeeze(log.draw_grid(images))).save(path)
