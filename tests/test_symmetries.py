import numpy as np

from synthmed_tf.metrics import symmetries


def test_the_eight_transforms_are_the_symmetries_of_the_square():
    image = np.arange(9).reshape(3, 3)
    turned = [symmetries.transform(image, kind) for kind in range(len(symmetries.SYMMETRIES))]
    assert len({array.tobytes() for array in turned}) == 8
    group = {np.rot90(base, k).tobytes() for base in (image, image[:, ::-1]) for k in range(4)}
    assert {array.tobytes() for array in turned} == group
    assert np.array_equal(turned[1], np.rot90(image, 2)) and np.array_equal(turned[2], np.fliplr(image))
    assert np.array_equal(turned[4], np.rot90(image)) and np.array_equal(turned[5], np.rot90(image, 3))
    colour = np.arange(27).reshape(3, 3, 3)
    assert np.array_equal(symmetries.transform(colour, 4), np.rot90(colour))
