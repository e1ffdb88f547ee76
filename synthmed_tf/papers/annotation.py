"""Masks for photographs without, by a U-Net that learned from another set: P1 § Data did so for MESSIDOR."""

import dataclasses

import numpy as np
from scipy import ndimage

from synthmed_tf.metrics import f1
from synthmed_tf.papers import segmenter
from synthmed_tf.progress import show_progress
from synthmed_tf.records.read import Records
from synthmed_tf.records.write import write_records
from synthmed_tf.runs import is_current
from synthmed_tf.training.checkpoints import hash_checkpoint

STEPS = 2000  # of the U-Net; P1 does not say
RIM = 0.02  # of the longer side


def annotate(folder, photographs, teachers, seed):
    """Photographs without masks -> pairs.

    Args:
      folder: pathlib.Path of stage 2; gets segmenter/, the training of the U-Net, and pairs/.
      photographs: Records without masks.
      teachers: Records with images and masks.
      seed: of the U-Net's training.

    Returns:
      Records of the pairs: private, as the photographs are.
    """
    model, result = segmenter.train(folder / "segmenter", [teachers], STEPS, seed, name="segmenter")
    made_by = {
        "checkpoint_sha256": hash_checkpoint(result["checkpoint"]),
        "photographs": photographs.manifest["shards"],
    }
    if not is_current(folder / "pairs", len(photographs), **made_by):
        masks, views = [sample.mask for sample in teachers], [sample.field_of_view for sample in teachers]
        threshold = f1.choose_threshold([*segmenter.predict(model, teachers)], masks, views)
        probabilities = zip(photographs, segmenter.predict(model, photographs), strict=True)
        pairs = (
            dataclasses.replace(sample, mask=remove_rim(values >= threshold, sample.field_of_view), label=None)
            for sample, values in show_progress(probabilities, "masks by the segmenter", total=len(photographs))
        )
        name, teacher = photographs.manifest["name"], teachers.manifest["name"]
        source = f"photographs of {name}, masks by a U-Net trained on {teacher}"
        extra = made_by | {"threshold": threshold}
        write_records(folder / "pairs", f"{name}_annotated", pairs, source=source, extra=extra)
    return Records(folder / "pairs")


def remove_rim(mask, field_of_view):
    """The mask without what lies within RIM of the border of the field of view: a U-Net takes that edge for a vessel.

    Args:
      mask: [height, width] bool.
      field_of_view: [height, width, 1] in {0, 1}, or None: all of the frame, whose edges are no rim.

    Returns:
      [height, width, 1] uint8 in {0, 1}.
    """
    if field_of_view is not None:
        inside = np.pad(field_of_view[..., 0], 1)  # beyond the frame it is dark
        mask = mask & (ndimage.distance_transform_edt(inside)[1:-1, 1:-1] > RIM * max(mask.shape))
    return mask.astype(np.uint8)[..., None]
