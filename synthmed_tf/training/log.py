"""What a training tells while it runs: metrics.jsonl, TensorBoard events, the progress line, pictures of samples."""

import contextlib
import json

import numpy as np
import tensorflow as tf
from PIL import Image

from synthmed_tf.records.atomic import replace_text
from synthmed_tf.sample import InputError


class Log:
    """metrics.jsonl, cut back to the step that a run goes on from, and TensorBoard events, which are not."""

    def __init__(self, folder, start):
        self.path = folder / "metrics.jsonl"
        self.folder = folder
        self.text = "".join(json.dumps(line) + "\n" for line in read_metrics(folder) if line["step"] <= start)
        if self.path.exists() and self.path.read_text(encoding="utf-8", errors="replace") != self.text:
            replace_text(self.path, self.text)
        try:
            self.events = tf.summary.create_file_writer(str(folder / "events"))
        except tf.errors.OpError as error:  # for one: the disk is full
            raise InputError(
                f"{folder / 'events'}: could not be written ({' '.join(error.message.split())[:300]}); free space on the "
                "disk and run the same command again"
            ) from None

    def add(self, step, values, always):
        if step % 10 and not always:
            return
        self.text += json.dumps({"step": step, **{key: round(value, 6) for key, value in values.items()}}) + "\n"
        with self.events.as_default(step):
            for key, value in values.items():
                tf.summary.scalar(key, value)

    def picture(self, step, image):
        (self.folder / "samples").mkdir(exist_ok=True)
        Image.fromarray(np.squeeze(image)).save(self.folder / "samples" / f"{step:07d}.png")
        with self.events.as_default(step):
            tf.summary.image("samples", image[None])

    def flush(self):
        replace_text(self.path, self.text)
        self.events.flush()


def read_metrics(folder):
    """The lines of metrics.jsonl, but those that are damaged."""
    lines, path = [], folder / "metrics.jsonl"
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):
            lines.append(json.loads(line))
    return lines


def describe_speed(bar, images_per_step):
    rate = bar.format_dict["rate"]
    return f"{rate * images_per_step:.1f} images/s" if rate else ""


def describe_losses(losses):
    return " ".join(f"{key} {value:.3g}" for key, value in losses.items())


def picture_grid(images, columns=8):
    """[count, height, width, channels] uint8 -> one picture with `columns` images a row and 2 pixels between them."""
    count, height, width, channels = images.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    sheet = np.full([rows * (height + 2) - 2, columns * (width + 2) - 2, channels], 128, np.uint8)
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + 2), (index % columns) * (width + 2)
        sheet[top : top + height, left : left + width] = image
    return sheet
