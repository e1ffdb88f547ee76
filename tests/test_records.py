"""Records: what is written comes back, with this project and with tensorflow_datasets, and damage never passes."""

import collections
import concurrent.futures
import errno
import json
import os
import socket
import subprocess
import sys
import weakref

import numpy as np
import pytest

import synthmed_tf
from synthmed_tf.records import read, write
from synthmed_tf.records.atomic import write_json
from synthmed_tf.records.manifest import SCHEMA_VERSION, find_git_commit, read_manifest
from synthmed_tf.records.read import Records
from synthmed_tf.records.write import write_records
from synthmed_tf.sample import InputError, Sample
from synthmed_tf.training import batches
from synthmed_tf.training.batches import draw_batch_indices


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


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


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


# ---------------------------------------------------------------- round trip


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


def test_real_tfds_reads_the_same_arrays(tmp_path, kind):
    tfds = pytest.importorskip("tensorflow_datasets", reason="extra tfds is not installed")
    samples = {sample.id: sample for sample in make_samples(**kind)}
    write_records(tmp_path / "set", "my-set 2", samples.values(), source="made", shard_bytes=5000)
    builder = tfds.builder_from_directory(str(tmp_path / "set"))
    ours = Records(tmp_path / "set")
    assert set(builder.info.features) == set(ours.features)
    assert {split: info.num_examples for split, info in builder.info.splits.items()} == ours.manifest["counts"]
    for split in ("train", "test"):
        found = [example["id"].decode() for example in tfds.as_numpy(builder.as_dataset(split=split))]
        assert sorted(found) == sorted(s.id for s in samples.values() if s.split == split)
        for example in tfds.as_numpy(builder.as_dataset(split=split)):
            expected = samples[example["id"].decode()]
            for key in ("mask", "field_of_view"):
                assert (key in example) == (getattr(expected, key) is not None)
                if key in example:
                    assert np.array_equal(example[key], 255 * getattr(expected, key))
            if expected.image is not None:
                assert example["image"].dtype == expected.image.dtype
                assert np.array_equal(example["image"], expected.image)
            if expected.label is not None:
                assert builder.info.features["label"].int2str(int(example["label"])) == expected.label
            assert example.get("seed") == expected.seed


def test_opens_the_folder_of_another_program(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets", reason="extra tfds is not installed")
    samples = list(make_samples(classes=("a", "b"), fields=("image", "mask")))
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "mask": tfds.features.Image(shape=(24, 32, 1)),
            "label": tfds.features.ClassLabel(names=["a", "b"]),
            "id": tfds.features.Text(),
            "age": tfds.features.Scalar(dtype=np.int64),
            "group": tfds.features.Scalar(dtype=np.int64),  # of another kind than ours: not read
        }
    )

    def examples(split):
        for s in samples:
            if s.split == split:
                yield s.id, {"image": s.image, "mask": s.mask, "label": s.label, "id": s.id, "age": 40, "group": 7}

    class Foreign(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path = None

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, _):
            return {split: examples(split) for split in ("train", "test")}

        def _generate_examples(self):
            raise NotImplementedError

    builder = Foreign(data_dir=str(tmp_path))
    builder.download_and_prepare()
    found = Records(builder.data_dir, "test")
    assert found.manifest is None and found.class_names == ["a", "b"]
    assert set(found.features) == {"image", "mask", "label", "id"}
    expected = {s.id: s for s in samples if s.split == "test"}
    assert len(found) == len(expected)
    for sample in found:
        assert_same(sample, expected[sample.id])
    with pytest.raises(InputError, match="manifest.json"):
        read_manifest(builder.data_dir)


def test_manifest_tells_what_is_there(tmp_path):
    samples = make_samples(fields=("image", "mask", "seed"), classes=("healthy", "ill"), size=(24, 32))
    extra = {"command": ["train_stage2.py", "--data=drive"], "flags": {"seed": 3}}
    names = ["ill", "healthy", "unseen"]
    manifest = write_records(tmp_path / "set", "noise", samples, source={"data": "x"}, extra=extra, class_names=names)
    assert manifest["schema_version"] == SCHEMA_VERSION
    assert manifest["counts"] == {"train": 7, "test": 3}
    assert manifest["class_counts"]["train"] == {"ill": 4, "healthy": 3, "unseen": 0}
    assert manifest["class_counts"]["test"] == {"ill": 1, "healthy": 2, "unseen": 0}
    assert manifest["class_names"] == Records(tmp_path / "set").class_names == names
    assert manifest["image_size"] == [24, 32] and manifest["channels"] == 3
    assert manifest["command"] == extra["command"] and manifest["source"] == {"data": "x"}
    assert set(manifest["versions"]) == {"python", "tensorflow", "numpy", "synthmed_tf"}
    assert manifest["git_commit"] is None or len(manifest["git_commit"]) == 40
    for file, digest in manifest["shards"].items():
        assert subprocess.check_output(["sha256sum", tmp_path / "set" / file], text=True).split()[0] == digest


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


def test_groups_for_all_samples_or_none(tmp_path):
    samples = [
        replaced(sample, group=None if sample.id.startswith("004") else sample.group) for sample in make_samples()
    ]
    with pytest.raises(InputError, match="has group, sample .* has none"):
        write_records(tmp_path / "set", "noise", samples, source="made", keep_groups=True)
    write_records(tmp_path / "set", "noise", samples, source="made")


def test_real_tfds_reads_the_groups(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets", reason="extra tfds is not installed")
    samples = {sample.id: sample for sample in make_samples(fields=("image",), classes=("a", "b"))}
    write_records(tmp_path / "set", "my set", samples.values(), source="made", keep_groups=True)
    builder = tfds.builder_from_directory(str(tmp_path / "set"))
    assert set(builder.info.features) == {"image", "label", "id", "group"}
    found = [example for split in ("train", "test") for example in tfds.as_numpy(builder.as_dataset(split=split))]
    assert len(found) == len(samples)
    assert all(example["group"].decode() == samples[example["id"].decode()].group for example in found)


def test_same_samples_give_the_same_bytes_however_often_written(tmp_path, folder):
    before = content(folder)
    write_records(folder, "noise", make_samples(), source="made", shard_bytes=8000)  # swapped in over the old one
    write_records(tmp_path / "elsewhere", "noise", make_samples(), source="made", shard_bytes=8000)
    assert content(folder) == before == content(tmp_path / "elsewhere")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["elsewhere", "set"]


def test_framing_is_tensorflows_own(folder):
    import tensorflow as tf

    shards = sorted(folder.glob("*.tfrecord-*"))
    assert len(shards) > 2
    for shard in shards:
        data = shard.read_bytes()
        expected = [bytes(record.numpy()) for record in tf.data.TFRecordDataset(str(shard))]  # also checks the CRCs
        assert [data[offset : offset + length] for offset, length in read._find_frames(shard)] == expected


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


def test_git_commit_is_that_of_the_checkout():
    root = os.path.dirname(os.path.dirname(os.path.abspath(synthmed_tf.__file__)))
    answer = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True)
    if answer.returncode or not os.path.exists(os.path.join(root, ".git")):
        assert find_git_commit() is None
    else:
        assert find_git_commit() == answer.stdout.strip()


# ---------------------------------------------------------------- batches


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


# ---------------------------------------------------------------- folders that are damaged


def open_fails(folder, *patterns, split="train"):
    with pytest.raises(InputError) as error:
        Records(folder, split)
    message = str(error.value)
    assert "\n" not in message and str(folder) in message
    for pattern in patterns:
        assert pattern in message, message


def test_other_schema_version(folder):
    edit_json(folder / "manifest.json", schema_version=SCHEMA_VERSION + 1)
    open_fails(folder, "manifest.json", "schema version 2", "reads 1", "--overwrite")


@pytest.mark.parametrize("where", [0, 5, 40, -1])
def test_flipped_byte(folder, where):
    shard = a_shard(folder)
    data = bytearray(shard.read_bytes())
    data[where] ^= 1
    shard.write_bytes(data)
    open_fails(folder, shard.name, "damaged", "--overwrite")
    Records(folder, "test")  # the other split is whole


@pytest.mark.parametrize("left", [0, 7, 100, -1])
def test_truncated_shard(folder, left):
    shard = a_shard(folder)
    shard.write_bytes(shard.read_bytes()[:left])
    open_fails(folder, shard.name, "damaged")
    with pytest.raises(InputError):
        Records(folder, "train", verify=False)


def test_missing_shard(folder):
    shard = a_shard(folder)
    shard.unlink()
    open_fails(folder, shard.name, "missing")


def test_shard_left_out_of_the_manifest(folder):
    manifest = read_manifest(folder)
    del manifest["shards"][a_shard(folder).name]
    edit_json(folder / "manifest.json", **manifest)
    open_fails(folder, "records and 7 are announced")


def test_missing_manifest(folder):
    (folder / "manifest.json").unlink()
    open_fails(folder, "manifest.json", "not a data set")
    with pytest.raises(InputError, match="not a data set"):
        read_manifest(folder)


def test_no_folder_and_empty_folder(tmp_path):
    open_fails(tmp_path / "nowhere", "no such folder")
    open_fails(tmp_path, "manifest.json", "not a data set")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema_version": 1}', "\xff\x00"])
def test_damaged_manifest(folder, text):
    (folder / "manifest.json").write_bytes(text.encode("latin-1"))
    open_fails(folder, "manifest.json")


def test_manifest_that_points_outside(folder, tmp_path):
    edit_json(folder / "manifest.json", shards={"../x-train.tfrecord-00000-of-00001": "0"})
    open_fails(folder, "manifest.json", "damaged")
    for feature in ({"kind": "surprise"}, {"kind": "image"}, {"kind": "image", "shape": [4, 4, 3]}, 3):
        edit_json(folder / "manifest.json", shards={}, features={"image": feature})
        open_fails(folder, "manifest.json", "damaged (no valid feature image)")
    edit_json(folder / "manifest.json", features={"label": {"kind": "classLabel"}})
    open_fails(folder, "manifest.json", "damaged (no valid class_names)")


def test_no_such_split(folder):
    open_fails(folder, "no split 'validation'", "train", split="validation")


@pytest.mark.parametrize("file", ["features.json", "dataset_info.json"])
@pytest.mark.parametrize("text", ["{", "{}", '{"featuresDict": {"features": {"image": {"text": {}}}}, "splits": 3}'])
def test_damaged_foreign_folder(folder, file, text):
    (folder / "manifest.json").unlink()
    edit_json(folder / "dataset_info.json", moduleName="another.program")
    assert len(Records(folder)) == 10
    (folder / file).write_text(text)
    open_fails(folder)


def test_foreign_classes_that_do_not_fit(tmp_path):
    folder = tmp_path / "set"
    write_records(folder, "noise", make_samples(classes=("a", "b")), source="made")
    (folder / "manifest.json").unlink()
    edit_json(folder / "dataset_info.json", moduleName="another.program")
    assert Records(folder).class_names == ["a", "b"]
    (folder / "label.labels.txt").write_bytes("ä\nö\n".encode("latin-1"))
    open_fails(folder, "label.labels.txt: not UTF-8 text")
    described = (folder / "features.json").read_text()
    for count in ("30000000", "0", "-1"):
        (folder / "features.json").write_text(described.replace('"numClasses": "2"', f'"numClasses": "{count}"'))
        open_fails(folder, "features.json", f"label has {count} classes")


@pytest.mark.parametrize(
    ("channels", "top", "message"), [(1, 255, None), (1, 1, None), (1, 2, "two levels"), (3, 255, "one channel")]
)
def test_foreign_masks(folder, channels, top, message):
    """A mask may hold 0 and 255, or 0 and 1, in one channel; anything else is refused."""
    import tensorflow as tf

    write_records(folder, "noise", [Sample(id="a", mask=np.eye(4, dtype=np.uint8)[..., None])], source="made")
    (folder / "manifest.json").unlink()
    edit_json(folder / "dataset_info.json", moduleName="another.program")
    pixels = np.zeros([4, 4, channels], np.uint8)
    pixels[0, 0], pixels[1, 1] = top, min(top, 1) if top < 3 else top
    png = tf.train.Feature(bytes_list=tf.train.BytesList(value=[tf.io.encode_png(pixels).numpy()]))
    name = tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"a"]))
    with tf.io.TFRecordWriter(str(a_shard(folder))) as writer:
        writer.write(
            tf.train.Example(features=tf.train.Features(feature={"mask": png, "id": name})).SerializeToString()
        )
    if channels == 3:
        text = (folder / "features.json").read_text()
        (folder / "features.json").write_text(text.replace('"1"', '"3"'))
    if message is None:
        assert Records(folder)[0].mask.sum() == 2
        return
    with pytest.raises(InputError, match=message) as error:
        list(Records(folder))
    assert str(folder) in str(error.value) and "\n" not in str(error.value)


# ---------------------------------------------------------------- samples that do not fit


def mask_value_2(sample):
    mask = sample.mask.copy()
    mask[0, 0] = 2
    return replaced(sample, mask=mask)


MISFITS = {
    "mask of another size": (lambda s: replaced(s, mask=s.mask[:-1]), "mask is 23x32 pixels.*24x32"),
    "sample of another size": (lambda s: replaced(s, image=s.image[:-1], mask=s.mask[:-1]), "one size.*--image_size"),
    "grey among colour": (lambda s: replaced(s, image=s.image[..., :1]), r"\[24, 32, 1\].*\[24, 32, 3\]"),
    "two channels": (lambda s: replaced(s, image=s.image[..., :2]), "1 or 3"),
    "no channel axis": (lambda s: replaced(s, mask=s.mask[..., 0]), "height, width, 1"),
    "16 bits among 8": (lambda s: replaced(s, image=s.image.astype(np.uint16)), "uint16.*uint8"),
    "floats": (lambda s: replaced(s, image=s.image / 255), "float64"),
    "mask of 0 and 255": (lambda s: replaced(s, mask=s.mask * np.uint8(255)), "255, allowed are 0 and 1"),
    "mask with a 2": (mask_value_2, "up to 2, allowed are 0 and 1"),
    "no mask": (lambda s: replaced(s, mask=None), "005é has none"),
    "no image": (lambda s: replaced(s, image=None), "005é has none"),
    "a field of view": (lambda s: replaced(s, field_of_view=s.mask), "005é has field_of_view, sample 000é has none"),
    "a label": (lambda s: replaced(s, label="a"), "005é has label"),
    "id twice": (lambda s: replaced(s, id="000é"), "two samples have the id '000é'"),
    "empty id": (lambda s: replaced(s, id=""), "non-empty"),
    "split that climbs out": (lambda s: replaced(s, split="../x"), "split '../x'"),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_sample_that_does_not_fit(tmp_path, folder, misfit):
    change, message = MISFITS[misfit]
    before = content(folder)
    samples = [change(sample) if i == 5 else sample for i, sample in enumerate(make_samples())]
    for target in (folder, tmp_path / "new"):
        with pytest.raises(InputError, match=message):
            write_records(target, "noise", samples, source="made")
    assert content(folder) == before
    assert os.listdir(tmp_path) == ["set"]


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


# ---------------------------------------------------------------- writing that fails


def test_full_disk_while_writing(tmp_path, folder, monkeypatch):
    import tensorflow as tf

    class FullAfterThree(tf.io.TFRecordWriter):
        written = 0

        def write(self, record):
            FullAfterThree.written += 1
            if FullAfterThree.written > 3:
                raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")
            super().write(record)

    monkeypatch.setattr(tf.io, "TFRecordWriter", FullAfterThree)
    leaves_the_old(tmp_path, folder, "No space left on device")


@pytest.mark.parametrize("function", ["fsync", "rename"])
def test_full_disk_at_the_end(tmp_path, folder, monkeypatch, function):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, function, full)
    leaves_the_old(tmp_path, folder, "No space left on device")


def test_failed_swap_puts_the_old_folder_back(tmp_path, folder, monkeypatch):
    rename = os.rename

    def full(source, target):
        if target.name in ("set", "new") and ".new-" in source.name:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rename(source, target)

    monkeypatch.setattr(os, "rename", full)
    leaves_the_old(tmp_path, folder, "Input/output error")


def test_full_disk_when_the_manifest_is_written(tmp_path, folder, monkeypatch):
    def full(path, text):
        if path.name == "manifest.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        path.write_text(text)

    monkeypatch.setattr(write, "write_text", full)
    leaves_the_old(tmp_path, folder, "No space left on device")


def leaves_the_old(tmp_path, folder, reason):
    before = content(folder)
    for target in (folder, tmp_path / "new"):
        with pytest.raises(InputError) as error:
            write_records(target, "noise", make_samples(start=50), source="made", shard_bytes=8000)
        message = str(error.value)
        assert reason in message and str(target) in message and "--out_dir" in message and "\n" not in message
    assert content(folder) == before
    assert os.listdir(tmp_path) == ["set"]
    assert len(Records(folder)) == 10


def test_the_operating_system_refuses_more_bytes(tmp_path):
    """RLIMIT_FSIZE makes the operating system itself refuse the bytes, in a process of its own."""
    program = (
        "import resource, signal, sys\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "from test_records import make_samples\n"
        "from synthmed_tf import sample\n"
        "from synthmed_tf.records.write import write_records\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "try:\n"
        "    write_records(sys.argv[1], 'noise', make_samples(40, size=(64, 64)), source='made')\n"
        "except sample.InputError as error:\n"
        "    print(error)\n"
    )
    root = os.path.dirname(os.path.dirname(os.path.abspath(synthmed_tf.__file__)))
    answer = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "set", os.path.dirname(__file__)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert "could not be written" in answer.stdout, answer.stderr
    assert os.listdir(tmp_path) == []


def test_interrupted_writer_leaves_nothing(tmp_path, folder):
    def interrupted():
        yield from make_samples(4)
        raise KeyboardInterrupt

    before = content(folder)
    with pytest.raises(KeyboardInterrupt):
        write_records(folder, "noise", interrupted(), source="made")
    assert content(folder) == before and os.listdir(tmp_path) == ["set"]


def test_killed_writers_are_cleared_away(tmp_path, folder):
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()  # its number is free now
    host = socket.gethostname()
    half = tmp_path / f".set.new-{host}-{process.pid}"
    half.mkdir()
    (half / "noise-train.tfrecord-00000").write_bytes(b"half")
    alive = tmp_path / f".set.new-{host}-{os.getppid()}"
    alive.mkdir()
    folder.rename(tmp_path / f".set.old-{host}-{process.pid}")  # killed between the two renames
    with pytest.raises(InputError):
        write_records(folder, "noise", [], source="made")
    assert sorted(os.listdir(tmp_path)) == sorted(["set", alive.name])
    assert len(Records(folder)) == 10


def test_strangers_files_are_not_overwritten(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    for target in (tmp_path / "mine", tmp_path / "mine" / "thesis.tex"):
        with pytest.raises(InputError, match="--out_dir"):
            write_records(target, "noise", make_samples(), source="made")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"


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


def test_json_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_json(path, {"b": [1, 2], "a": "ü"})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": "ü", "b": [1, 2]}

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match="a.json: could not be written .No space left on device"):
        write_json(path, {"a": "new"})
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": "ü", "b": [1, 2]}
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
