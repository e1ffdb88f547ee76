"""synthmed_tf: synthetic medical images from dual GANs, with a report on their use, faithfulness and privacy."""

import os
import sys

__version__ = "0.1.0"

if sys.version_info >= (3, 12):  # TensorFlow there has Keras 3 as tf.keras; this package is written for Keras 2
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
