"""Trains a U-Net on the 20 real DRIVE images at their native resolution and tests it on the 20 official test images.

The figure that literature gives for U-Nets is F1 0.814-0.816, AUC-ROC 0.975-0.979, in the field of view, pooled.

    python benchmarks/unet_on_drive.py DATA_DIR OUT_DIR [STEPS]
"""

import json
import sys
import time
from pathlib import Path

from synthmed_tf.datasets.load import load_samples
from synthmed_tf.metrics import f1
from synthmed_tf.papers import segmenter
from synthmed_tf.records.atomic import write_json
from synthmed_tf.training import hardware


def main(data_dir, out_dir, steps=4000):
    hardware.set_up()
    samples = list(load_samples("drive", Path(data_dir)))
    training = [sample for sample in samples if sample.split == "train"]
    test = [sample for sample in samples if sample.split == "test"]
    began = time.monotonic()
    model, _ = segmenter.train(Path(out_dir), [training], int(steps), seed=0)
    seconds = time.monotonic() - began

    def parts(chosen):
        return (
            [*segmenter.predict(model, chosen)],
            [sample.mask for sample in chosen],
            [sample.field_of_view for sample in chosen],
        )

    threshold = f1.choose_threshold(*parts(training))
    scores = f1.score(*parts(test), threshold)
    result = {"steps": int(steps), "training_seconds": round(seconds), "threshold": threshold, "scores": scores}
    write_json(Path(out_dir) / "result.json", result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
