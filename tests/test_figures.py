import numpy as np

from synthmed_tf.reporting import figures


def test_two_masks_laid_over_each_other_have_four_colours_and_what_they_share_is_black():
    overlay = figures._overlay(np.array([[True, True, False, False]]), np.array([[True, False, True, False]]))
    assert overlay[0, 0].tolist() == [0, 0, 0] and overlay[0, 3].tolist() == [255, 255, 255]
    assert len({tuple(pixel) for pixel in overlay[0].tolist()}) == 4
