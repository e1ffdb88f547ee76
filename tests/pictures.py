"""Pictures, masks and pairs that several tests make."""

import numpy as np
from skimage.transform import resize

from synthmed_tf.datasets.phantoms import fundus
from synthmed_tf.sample import Sample

RNG = np.random.default_rng(0)


def draw_blobs(count, size=(80, 80), channels=3, seed=0, dtype=np.uint8):
    """Pictures of soft blobs, all different."""
    rng = np.random.default_rng(seed)
    top = np.iinfo(dtype).max
    pictures = []
    for _ in range(count):
        coarse = resize(rng.random((14, 14, channels)), (*size, channels), order=3)
        pictures.append((np.clip(coarse, 0, 1) * top).astype(dtype))
    return pictures


def draw_vessels(index):
    """The vessels of a phantom eye, as a mask of 128 x 128."""
    return np.uint8(resize(fundus.draw_fundus(index).mask[..., 0].astype(float), (128, 128)) > 0.3)[..., None]


def make_samples(prefix, images, **given):
    return [Sample(f"{prefix}{index}", image, **given) for index, image in enumerate(images)]


def make_pairs(prefix, count):
    """Photographs whose first channel says, not without errors, where the vessels are."""
    masks = (RNG.random([count, 16, 16, 1]) < 0.3).astype(np.uint8)
    images = np.where(RNG.random([count, 16, 16, 3]) < 0.8, masks, 1 - masks) * np.uint8(200)
    view = np.ones([16, 16, 1], np.uint8)
    view[:3] = 0
    return [Sample(f"{prefix}{i}", images[i], masks[i], view) for i in range(count)]
