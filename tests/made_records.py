"""Samples of noise, and data set folders of them."""

import json

import numpy as np
import pytest

from synthmed_tf.records.read import Records
from synthmed_tf.records.write import write_records
from synthmed_tf.sample import InputError, Sample


def make_samples(count=10, size=(24, 32), channels=3, dtype="uint8", fields=("image", "mask"), classes=(), start=0):
    """Noise samples, every third one of the test split."""
    for i in range(start, start + count):
        rng = np.random.default_rng(i)
        mask, field = rng.integers(0, 2, (2, *size, 1), dtype=np.uint8)
        image = rng.integers(0, np.iinfo(dtype).max, (*size, channels), dtype=dtype, endpoint=True)
        yield Sample(
            id=f"{i:03d}é",
            image=image if "image" in fields else None,
            mask=mask if "mask" in fields else None,
            field_of_view=field if "field_of_view" in fields else None,
            label=classes[i % len(classes)] if classes else None,
            group=f"patient {i}",
            split="test" if i % 3 == 2 else "train",
            second_mask=mask,
            seed=2**62 + i if "seed" in fields else None,
        )


def replaced(sample, **changes):
    return Sample(**{**{key: getattr(sample, key) for key in sample.__dataclass_fields__}, **changes})


def assert_same(found, expected):
    for key in ("id", "label", "split", "seed"):
        assert getattr(found, key) == getattr(expected, key)
    for key in ("image", "mask", "field_of_view"):
        a, b = getattr(found, key), getattr(expected, key)
        assert (a is None) == (b is None), key
        if a is not None:
            assert a.dtype == b.dtype and np.array_equal(a, b), key


KINDS = {
    "image, mask, field of view": dict(fields=("image", "mask", "field_of_view")),
    "mask alone": dict(fields=("mask", "seed")),
    "labelled uint16 image": dict(fields=("image",), dtype="uint16", channels=1, classes=("no finding", "tumour")),
    "colour uint16 image": dict(fields=("image",), dtype="uint16"),
    "synthetic pair with seed": dict(fields=("image", "mask", "seed"), classes=("b", "a")),
    "not square, one channel": dict(fields=("image", "mask"), size=(17, 65), channels=1),
}


@pytest.fixture
def folder(tmp_path):
    """A data set of 10 pairs in several shards."""
    write_records(tmp_path / "set", "noise", make_samples(), source="made", shard_bytes=8000)
    return tmp_path / "set"


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def a_shard(folder, split="train"):
    return sorted(folder.glob(f"*-{split}.tfrecord-*"))[0]


def edit_json(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def open_fails(folder, *patterns, split="train"):
    with pytest.raises(InputError) as error:
        Records(folder, split)
    message = str(error.value)
    assert "\n" not in message and str(folder) in message
    for pattern in patterns:
        assert pattern in message, message
