"""Photographs without masks -> pairs, by a U-Net that learned from another set (P1 § Data)."""

import dataclasses

import numpy as np
from scipy import ndimage
from tqdm import tqdm

from synthmed_tf.metrics import f1
from synthmed_tf.papers import segmenter
from synthmed_tf.records.read import Records
from synthmed_tf.records.write import write_records
from synthmed_tf.runs import is_current
from synthmed_tf.training.checkpoints import checkpoint_sha256

ANNOTATION_STEPS = 2000  # of the U-Net that makes masks for photographs without
RIM = 0.02  # of the longer side


def annotated(folder, photographs, teachers, seed):
    """Photographs without masks -> pairs, by a U-Net that learned from another set (P1 § Data,
    which did so for MESSIDOR).

    Args:
      folder: pathlib.Path of stage 2; gets segmenter/, the training of the U-Net, and pairs/.
      photographs: records.Records without masks.
      teachers: records.Records with images and masks.
      seed: of the U-Net's training.

    Returns:
      records.Records of the pairs: private, as the photographs are.
    """
    model, result = segmenter.train(folder / "segmenter", [teachers], ANNOTATION_STEPS, seed, name="segmenter")
    made_by = {
        "checkpoint_sha256": checkpoint_sha256(result["checkpoint"]),
        "photographs": photographs.manifest["shards"],
    }
    if not is_current(folder / "pairs", len(photographs), **made_by):
        truth = [s.mask for s in teachers], [s.field_of_view for s in teachers]
        threshold = f1.choose_threshold([*segmenter.predict(model, teachers)], *truth)
        probabilities = zip(photographs, segmenter.predict(model, photographs), strict=True)
        pairs = (
            dataclasses.replace(sample, mask=without_rim(values >= threshold, sample.field_of_view), label=None)
            for sample, values in tqdm(probabilities, "masks by the segmenter", len(photographs))
        )
        name = f"{photographs.manifest['name']}_annotated"
        source = (
            f"photographs of {photographs.manifest['name']}, masks by a U-Net trained on {teachers.manifest['name']}"
        )
        write_records(folder / "pairs", name, pairs, source=source, extra=made_by | {"threshold": threshold})
    return Records(folder / "pairs")


def without_rim(mask, field_of_view):
    """The mask less what lies within RIM of the border of the field of view,
    where a U-Net takes a cut edge for a vessel.

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
