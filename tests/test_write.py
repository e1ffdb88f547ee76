"""What is written comes back, and the same samples give the same bytes."""

import collections
import os
import weakref

import pytest
from made_records import KINDS, assert_same, content, make_samples, replaced

from synthmed_tf.records.manifest import read_manifest
from synthmed_tf.records.read import Records
from synthmed_tf.records.write import write_records
from synthmed_tf.sample import InputError, Sample


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.fixture
def folder(tmp_path):
    """A data set of 10 pairs in several shards."""
    write_records(tmp_path / "set", "noise", make_samples(), source="made", shard_bytes=8000)
    return tmp_path / "set"


def test_what_is_written_comes_back(tmp_path, kind):
    samples = list(make_samples(**kind))
    manifest = write_records(tmp_path / "set", "noise", samples, source="made", shard_bytes=5000)
    assert manifest == read_manifest(tmp_path / "set")
    for split in ("train", "test"):
        expected = [sample for sample in samples if sample.split == split]
        found = Records(tmp_path / "set", split)
        assert len(found) == len(expected) == manifest["counts"][split]
        for a, b in zip(found, expected, strict=True):
            assert_same(a, b)
            assert a.group is None and a.second_mask is None
    everything = Records(tmp_path / "set")
    assert sorted(s.id for s in everything) == [s.id for s in samples]
    assert everything[-1] is everything[len(samples) - 1]
    assert [s.id for s in everything[2:5]] == [everything[i].id for i in (2, 3, 4)]
    with pytest.raises(IndexError):
        everything[len(samples)]


def test_what_the_samples_count_while_they_are_made_is_in_the_manifest(tmp_path):
    tally = {"made": 0}

    def counted():
        for sample in make_samples():
            tally["made"] += 1
            yield sample

    manifest = write_records(tmp_path / "set", "noise", counted(), source="made", extra={"filter": tally})
    made, tally["made"] = tally["made"], -1
    assert made > 1 and manifest["filter"] == {"made": made} == read_manifest(tmp_path / "set")["filter"]
    read = iter(make_samples())
    with pytest.raises(TypeError):
        write_records(tmp_path / "other", "noise", read, source="made", extra={"filter": {1, 2}})
    assert len(list(read)) == made and not (tmp_path / "other").exists()  # refused before the first sample


def test_patient_never_reaches_the_disk_unless_asked_for(tmp_path):
    write_records(tmp_path / "set", "noise", make_samples(), source="made")
    assert not any(b"patient" in data for data in content(tmp_path / "set").values())
    write_records(tmp_path / "set", "noise", make_samples(), source="made", keep_groups=True)
    assert any(b"patient 3" in data for data in content(tmp_path / "set").values())
    assert read_manifest(tmp_path / "set")["features"]["group"] == {"kind": "text"}
    assert [sample.group for sample in Records(tmp_path / "set", "test")] == [
        "patient 2",
        "patient 5",
        "patient 8",
    ]


def test_group_of_a_synthetic_sample_is_refused(tmp_path):
    samples = make_samples(fields=("image", "seed"))
    with pytest.raises(InputError, match="synthetic sample 000é with its group"):
        write_records(tmp_path / "set", "noise", samples, source="made", keep_groups=True)
    assert list(tmp_path.iterdir()) == []


def test_same_samples_give_the_same_bytes_however_often_written(tmp_path, folder):
    before = content(folder)
    write_records(folder, "noise", make_samples(), source="made", shard_bytes=8000)  # swapped in over the old one
    write_records(tmp_path / "elsewhere", "noise", make_samples(), source="made", shard_bytes=8000)
    assert content(folder) == before == content(tmp_path / "elsewhere")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["elsewhere", "set"]


def test_samples_are_streamed(tmp_path):
    """At no time do more than two samples live, so a set larger than memory can be written."""
    alive = weakref.WeakSet()

    def stream():
        for sample in make_samples(30):
            alive.add(sample)
            yield sample
            del sample
            assert len(alive) <= 2

    write_records(tmp_path / "set", "noise", stream(), source="made")


def test_labels_that_do_not_fit(tmp_path):
    with pytest.raises(InputError, match=r"label 'b', allowed are \['a'\]"):
        write_records(tmp_path / "x", "noise", make_samples(classes=("a", "b")), source="made", class_names=["a"])
    with pytest.raises(InputError, match="one line of text"):
        write_records(tmp_path / "x", "noise", make_samples(classes=("a", "b\nc")), source="made")
    assert os.listdir(tmp_path) == []


def test_nothing_to_write(tmp_path):
    with pytest.raises(InputError, match="no samples"):
        write_records(tmp_path / "x", "noise", [], source="made")
    with pytest.raises(InputError, match="neither image nor mask"):
        write_records(tmp_path / "x", "noise", [Sample(id="a")], source="made")
    assert os.listdir(tmp_path) == []


def test_reserved_manifest_entries(tmp_path):
    with pytest.raises(ValueError, match="shards"):
        write_records(tmp_path / "set", "noise", make_samples(), source="made", extra={"shards": {}})
    assert os.listdir(tmp_path) == []


def test_ids_count_over_all_splits(tmp_path):
    samples = list(make_samples(3))
    counted = collections.Counter(sample.split for sample in samples)
    assert len(counted) == 2
    with pytest.raises(InputError, match="two samples"):
        write_records(tmp_path / "x", "noise", [*samples, replaced(samples[0], split="test")], source="made")
