"""Generated values become whole numbers."""

import numpy as np

from synthmed_tf.images.pixels import to_uint8, to_uint16


def test_generated_values_to_whole_numbers():
    values = np.array([-1.5, -1, 0, 1 / 32767.5, 1, 1.5], np.float32)
    assert to_uint8(values).tolist() == [0, 0, 128, 128, 255, 255]
    deep = to_uint16(values)
    assert deep.dtype == np.uint16 and deep.tolist() == [0, 0, 32768, 32768, 65535, 65535]
    every = np.arange(65536)
    assert (to_uint16((every / 32767.5 - 1).astype(np.float32)) == every).all()
