"""The 8 flips and rotations of an image. numpy in, numpy out."""

import numpy as np

SYMMETRIES = (  # what `transform` does, by its number; the odd turns exist for square masks only
    "as it is",
    "turned by 180 degrees",
    "mirrored left to right",
    "mirrored top to bottom",
    "turned by 90 degrees",
    "turned by 270 degrees",
    "mirrored on the main diagonal",
    "mirrored on the other diagonal",
)


def transform(image, symmetry):
    """An image under one of the 8 flips and rotations.

    Args:
      image: [height, width, ...].
      symmetry: index into SYMMETRIES.
    """
    diagonal = np.swapaxes(image, 0, 1)
    return (
        image,
        image[::-1, ::-1],
        image[:, ::-1],
        image[::-1],
        diagonal[::-1],
        diagonal[:, ::-1],
        diagonal,
        diagonal[::-1, ::-1],
    )[symmetry]
