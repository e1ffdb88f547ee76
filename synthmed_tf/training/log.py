"""What a training tells while it runs: metrics.jsonl, TensorBoard events, pictures of samples, progress words."""

import contextlib
import json

import numpy as np
import tensorflow as tf
from PIL import Image

from synthmed_tf.records.atomic import replace_text
from synthmed_tf.sample import InputError

LOG_EVERY = 10  # steps
CHECKSUMS = {"masks"}  # entries that say which distances can be compared; no curves


class Log:
    """metrics.jsonl, cut back to the step that a run goes on from, and TensorBoard events, which are not.

    Attributes:
      lines: of metrics.jsonl, dicts of "step" and numbers.
      warning: of the newest measurement, for the progress line.
    """

    def __init__(self, folder, start):
        self.folder, self.path, self.warning = folder, folder / "metrics.jsonl", ""
        self.lines = [line for line in read_metrics(folder) if line["step"] <= start]
        if self.path.exists() and self.path.read_text(encoding="utf-8", errors="replace") != self._text():
            replace_text(self.path, self._text())
        try:
            self.events = tf.summary.create_file_writer(str(folder / "events"))
        except tf.errors.OpError as error:  # for one: the disk is full
            raise InputError(
                f"{folder / 'events'}: could not be written ({' '.join(error.message.split())[:300]}); free space on "
                "the disk and run the same command again"
            ) from None

    def add(self, step, values, always):
        """Adds the numbers of a step, each LOG_EVERY steps or `always`."""
        if step % LOG_EVERY and not always:
            return
        self.lines.append({"step": step, **{key: round(value, 6) for key, value in values.items()}})
        with self.events.as_default(step):
            for key, value in values.items():
                if key not in CHECKSUMS:
                    tf.summary.scalar(key, value)

    def add_picture(self, step, picture):
        """Adds a picture of samples, [height, width, channels] uint8."""
        (self.folder / "samples").mkdir(exist_ok=True)
        Image.fromarray(np.squeeze(picture)).save(self.folder / "samples" / f"{step:07d}.png")
        with self.events.as_default(step):
            tf.summary.image("samples", picture[None])

    def flush(self):
        """Writes what was added to disk."""
        replace_text(self.path, self._text())
        self.events.flush()

    def _text(self):
        return "".join(json.dumps(line) + "\n" for line in self.lines)


def read_metrics(folder):
    """The lines of a run's metrics.jsonl as dicts, without those that are damaged."""
    lines, path = [], folder / "metrics.jsonl"
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):
            lines.append(json.loads(line))
    return lines


def describe_speed(bar, images_per_step):
    """ "12.5 images/s", or "" while the bar knows no rate."""
    rate = bar.format_dict["rate"]
    return f"{rate * images_per_step:.1f} images/s" if rate else ""


def describe_losses(losses):
    """ "discriminator 0.69 generator 1.2"."""
    return " ".join(f"{key} {value:.3g}" for key, value in losses.items())


def draw_grid(images, columns=8):
    """[count, height, width, channels] uint8 -> one picture with `columns` images a row and 2 pixels between them."""
    count, height, width, channels = images.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    sheet = np.full([rows * (height + 2) - 2, columns * (width + 2) - 2, channels], 128, np.uint8)
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + 2), (index % columns) * (width + 2)
        sheet[top : top + height, left : left + width] = image
    return sheet
