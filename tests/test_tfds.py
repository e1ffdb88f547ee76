"""TensorFlow Datasets reads what is written, and what other programs write is read."""

import numpy as np
import pytest
from made_records import KINDS, a_shard, assert_same, edit_json, make_samples, open_fails

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


def test_real_tfds_reads_the_groups(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets", reason="extra tfds is not installed")
    samples = {sample.id: sample for sample in make_samples(fields=("image",), classes=("a", "b"))}
    write_records(tmp_path / "set", "my set", samples.values(), source="made", keep_groups=True)
    builder = tfds.builder_from_directory(str(tmp_path / "set"))
    assert set(builder.info.features) == {"image", "label", "id", "group"}
    found = [example for split in ("train", "test") for example in tfds.as_numpy(builder.as_dataset(split=split))]
    assert len(found) == len(samples)
    assert all(example["group"].decode() == samples[example["id"].decode()].group for example in found)


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
