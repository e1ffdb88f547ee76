"""Records are read on demand, from any thread; damage never passes."""

import concurrent.futures

import numpy as np
import pytest
from made_records import a_shard, assert_same, make_samples, open_fails

from synthmed_tf.records import read
from synthmed_tf.records.read import Records
from synthmed_tf.records.write import write_records
from synthmed_tf.sample import InputError


@pytest.fixture
def folder(tmp_path):
    """A data set of 10 pairs in several shards."""
    write_records(tmp_path / "set", "noise", make_samples(), source="made", shard_bytes=8000)
    return tmp_path / "set"


def test_framing_is_tensorflows_own(folder):
    import tensorflow as tf

    shards = sorted(folder.glob("*.tfrecord-*"))
    assert len(shards) > 2
    for shard in shards:
        data = shard.read_bytes()
        expected = [bytes(record.numpy()) for record in tf.data.TFRecordDataset(str(shard))]  # also checks the CRCs
        assert [data[offset : offset + length] for offset, length in read._find_frames(shard)] == expected


def test_read_from_many_threads(folder):
    expected = list(Records(folder))
    found = Records(folder)
    order = np.random.default_rng(0).integers(0, len(found), 200).tolist()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for index, sample in zip(order, pool.map(found.__getitem__, order), strict=True):
            assert_same(sample, expected[index])


def test_cached_arrays_cannot_be_changed(folder):
    sample = Records(folder)[0]
    for pixels in (sample.image, sample.mask):
        with pytest.raises(ValueError, match="read-only"):
            pixels[0] = 1


def test_cache_is_bounded(folder, monkeypatch):
    found = Records(folder)
    size = found[0].image.nbytes + found[0].mask.nbytes
    monkeypatch.setattr(read, "CACHE_BYTES", 3 * size)
    for _ in range(2):
        assert len(list(found)) == 10
    assert len(found._cache) == 3


@pytest.mark.parametrize("where", [0, 5, 40, -1])
def test_flipped_byte(folder, where):
    shard = a_shard(folder)
    data = bytearray(shard.read_bytes())
    data[where] ^= 1
    shard.write_bytes(data)
    open_fails(folder, shard.name, "damaged", "made it again")
    Records(folder, "test")  # the other split is whole


@pytest.mark.parametrize("left", [0, 7, 100, -1])
def test_truncated_shard(folder, left):
    shard = a_shard(folder)
    shard.write_bytes(shard.read_bytes()[:left])
    open_fails(folder, shard.name, "damaged")
    with pytest.raises(InputError):
        Records(folder, "train", verify=False)


def test_no_such_split(folder):
    open_fails(folder, "no split 'validation'", "train", split="validation")


def test_features_that_are_missing_are_named(folder):
    read.require_features(Records(folder), "image", "mask")
    with pytest.raises(InputError, match="set: the samples have no field_of_view.*give another set"):
        read.require_features(Records(folder), "mask", "field_of_view")
