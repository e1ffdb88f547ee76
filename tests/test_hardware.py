"""Precision and strategy follow the hardware."""

import pytest
import tensorflow as tf

from synthmed_tf.sample import InputError
from synthmed_tf.training import hardware


def test_precision_auto_follows_the_hardware(monkeypatch):
    for capable in (True, False):
        monkeypatch.setattr(hardware, "_computes_bfloat16", lambda capable=capable: capable)
        assert hardware.set_up("auto")[1] == ("mixed_bfloat16" if capable else "float32")
    assert tf.keras.mixed_precision.global_policy().name == "float32"


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="there is a GPU here")
def test_mirrored_without_a_gpu():
    with pytest.raises(InputError, match="--strategy=mirrored"):
        hardware.set_up(strategy="mirrored")
