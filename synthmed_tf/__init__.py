"""synthmed_tf: synthetic medical images from dual GANs, with a report on their use, faithfulness and privacy."""

import os
import sys

__version__ = "0.1.0"

# TensorFlow for Python 3.12 and later has Keras 3, unless this says Keras 2, for which this package is written
if sys.version_info >= (3, 12) and "TF_USE_LEGACY_KERAS" not in os.environ:
    if "tensorflow" in sys.modules:
        raise ImportError(
            "import synthmed_tf before tensorflow, which then takes Keras 2; or set TF_USE_LEGACY_KERAS=1"
        )
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
