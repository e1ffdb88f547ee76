"""Batches are a function of seed and step."""

import numpy as np
import pytest
from made_records import make_samples

from synthmed_tf.records.read import Records
from synthmed_tf.records.write import write_records
from synthmed_tf.sample import InputError
from synthmed_tf.training import batches
from synthmed_tf.training.batches import draw_batch_indices


@pytest.fixture
def folder(tmp_path):
    """A data set of 10 pairs in several shards."""
    write_records(tmp_path / "set", "noise", make_samples(), source="made", shard_bytes=8000)
    return tmp_path / "set"


@pytest.mark.parametrize(("count", "batch_size"), [(10, 3), (10, 10), (7, 5), (20, 1), (1, 1), (64, 32), (3, 8)])
def test_every_sample_once_an_epoch(count, batch_size):
    epochs = 6
    steps = -(-count * epochs // batch_size)
    stream = np.concatenate([draw_batch_indices(count, batch_size, 5, step) for step in range(steps)])
    for epoch in range(epochs):
        assert sorted(stream[epoch * count : (epoch + 1) * count]) == list(range(count))
        order = np.random.default_rng([5, epoch]).permutation(count)
        assert np.array_equal(stream[epoch * count : (epoch + 1) * count], order)


def test_batches_are_a_function_of_seed_and_step_alone():
    steps = list(range(40))
    forward = {step: draw_batch_indices(13, 4, 1, step) for step in steps}
    batches._draw_epoch_order.cache_clear()
    for step in np.random.default_rng(0).permutation(steps).tolist():
        indices = draw_batch_indices(13, 4, 1, step)
        assert indices.dtype == np.int64 and indices.shape == (4,)
        assert np.array_equal(indices, forward[step])
        indices[:] = -1  # what a caller does to a batch does not reach the next one
    assert any(not np.array_equal(draw_batch_indices(13, 4, 2, step), forward[step]) for step in steps)


def test_a_step_reads_its_own_records_only(folder):
    found = Records(folder, "train")
    wanted = draw_batch_indices(len(found), 2, seed=0, step=1001).tolist()
    expected = {found[i].id for i in wanted}
    found = Records(folder, "train")
    for index, (path, _, offset, length) in enumerate(found._places):  # nobody can read what is zeroed
        if index not in wanted:
            with open(path, "r+b") as file:
                file.seek(offset)
                file.write(bytes(length))
    assert {found[i].id for i in wanted} == expected
    with pytest.raises(InputError):
        found[next(i for i in range(len(found)) if i not in wanted)]
