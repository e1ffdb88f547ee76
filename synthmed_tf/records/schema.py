"""What the samples of a data set hold, and whether each of them holds the same."""

import re

from synthmed_tf.records.manifest import KINDS, PICTURES
from synthmed_tf.sample import InputError


def find_features(sample):
    """Feature name -> {"kind", and for pictures "shape" [height, width, channels] and "dtype"}."""
    features = {}
    for key in PICTURES:
        if (pixels := getattr(sample, key)) is not None:
            features[key] = {"kind": "image", "shape": list(pixels.shape), "dtype": pixels.dtype.name}
    if not features.keys() & {"image", "mask"}:
        raise InputError(f"sample {sample.id} has neither image nor mask; give it at least one")
    others = ("label", "id", "group", "seed")
    features |= {key: {"kind": KINDS[key]} for key in others if getattr(sample, key) is not None}
    return features


def check_fits(sample, features, first_id):
    """Raises InputError unless `sample` is well formed and has the `features` of the first sample."""
    if not isinstance(sample.id, str) or not sample.id:
        raise InputError(f"a sample has the id {sample.id!r}; an id is a non-empty text")
    if not re.fullmatch(r"\w+", sample.split):
        raise InputError(f"sample {sample.id}: split {sample.split!r}; a split is a word such as train or test")
    if sample.label is not None and (sample.label != sample.label.strip() or len(sample.label.splitlines()) != 1):
        raise InputError(f"sample {sample.id}: label {sample.label!r}; a label is one line of text, rename the class")
    for key in KINDS:
        has = getattr(sample, key) is not None
        if has != (key in features):
            odd, others = (sample.id, first_id) if has else (first_id, sample.id)
            raise InputError(
                f"sample {odd} has {key}, sample {others} has none; all samples of a data set hold the same: "
                "add what is missing, or leave the odd ones out"
            )
    size = None
    for key in PICTURES:
        pixels = getattr(sample, key)
        if pixels is not None:
            _check_pixels(sample.id, key, pixels, size, features[key], first_id)
            size = pixels.shape[:2]


def _check_pixels(id, key, pixels, size, feature, first_id):
    """Raises InputError unless one picture of a sample is as it should be.

    Args:
      id, key, pixels: of the sample, in PICTURES, the array itself.
      size: (height, width) of the sample's pictures so far; None: it is the first one.
      feature: what the first sample, first_id, has under this key.
    """
    shown = f"sample {id}: {key} is {pixels.dtype} {list(pixels.shape)}"
    channels, dtypes = ((1, 3), ("uint8", "uint16")) if key == "image" else ((1,), ("uint8",))
    if pixels.ndim != 3 or pixels.shape[2] not in channels or pixels.dtype.name not in dtypes or 0 in pixels.shape:
        raise InputError(
            f"{shown}, allowed is {' or '.join(dtypes)} [height, width, {' or '.join(map(str, channels))}]; "
            "convert the file"
        )
    if size is not None and pixels.shape[:2] != size:
        raise InputError(
            f"sample {id}: {key} is {_show_size(pixels.shape)} pixels and what it belongs to {_show_size(size)}; "
            "the pictures of one sample have one size, mend the files"
        )
    if list(pixels.shape) != feature["shape"] or pixels.dtype.name != feature["dtype"]:
        raise InputError(
            f"{shown} and that of sample {first_id} {feature['dtype']} {feature['shape']}; one data set has one size, "
            "depth and channel count: resize with --image_size, or convert the odd files"
        )
    if key != "image" and pixels.max() > 1:
        raise InputError(
            f"sample {id}: {key} holds values up to {pixels.max()}, allowed are 0 and 1; save it with two levels"
        )


def _show_size(shape):
    return f"{shape[0]}x{shape[1]}"
