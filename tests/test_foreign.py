"""Synthetic sets of other programs are opened as files, or as TFDS folders of several sizes."""

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from synthmed_tf.evaluation.foreign import open_synthetic
from synthmed_tf.publishing import png_files
from synthmed_tf.records.read import Records
from synthmed_tf.records.write import write_records
from synthmed_tf.sample import InputError, Sample


def draw(index, size=(32, 48), channels=3):
    return np.random.default_rng(index).integers(0, 256, [*size, channels]).astype(np.uint8)


def test_pairs_as_files_are_the_pixels_that_were_written(tmp_path):
    pairs = [Sample(f"s{i}", draw(i), (draw(i + 9, channels=1) > 127).astype(np.uint8), seed=1) for i in range(3)]
    write_records(tmp_path / "set", "pairs", pairs, source="test")
    png_files.write(tmp_path / "png", Records(tmp_path / "set"))
    opened = open_synthetic(tmp_path / "png")
    assert [sample.id for sample in opened] == ["s0", "s1", "s2"]
    for sample, pair in zip(opened, pairs, strict=True):
        assert (sample.image == pair.image).all() and (sample.mask == pair.mask).all()


@pytest.mark.parametrize("has_table", [True, False])
def test_classes_are_those_of_the_folders_or_of_the_table(tmp_path, has_table):
    labels = ["b", "a", "b", "a"]
    if has_table:
        samples = [Sample(f"s{i}", draw(i), label=label, seed=1) for i, label in enumerate(labels)]
        write_records(tmp_path / "set", "tiles", samples, source="test")
        png_files.write(tmp_path / "png", Records(tmp_path / "set"))
    else:
        for i, label in enumerate(labels):
            (tmp_path / "png" / label).mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw(i)).save(tmp_path / "png" / label / f"s{i}.png")
    opened = open_synthetic(tmp_path / "png")
    assert opened.class_names == ["a", "b"]
    assert {sample.id.rsplit("s", 1)[1]: sample.label for sample in opened} == dict(zip("0123", labels, strict=True))


def test_copies_stay_and_other_sizes_are_resized_and_told(tmp_path):
    (tmp_path / "images").mkdir()
    for i, size in enumerate([(32, 48), (32, 48), (64, 96)]):
        Image.fromarray(np.full([*size, 3], 7 * (i // 2) + 80, np.uint8)).save(tmp_path / "images" / f"{i}.png")
    Image.fromarray(draw(5)).save(tmp_path / "images" / "3.png")
    with pytest.warns(UserWarning, match="1 of 4 images do not have 48x32 pixels, and are resized"):
        opened = open_synthetic(tmp_path)
    assert [sample.image.shape for sample in opened] == [(32, 48, 3)] * 4
    assert (opened[0].image == opened[1].image).all() and (opened[2].image == 87).all()


def test_a_tfds_folder_of_several_sizes(tmp_path):
    shape = {"dimensions": ["-1", "-1", "3"]}
    images = [draw(0), draw(1), draw(2, (64, 64))]
    with tf.io.TFRecordWriter(str(tmp_path / "other-train.tfrecord-00000-of-00001")) as writer:
        for image in images:
            png = tf.io.encode_png(image).numpy()
            feature = {"image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[png]))}
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    content = {"image": {"image": {"dtype": "uint8", "encodingFormat": "png", "shape": shape}}}
    (tmp_path / "features.json").write_text(json.dumps({"featuresDict": {"features": content}}))
    info = {"name": "other", "splits": [{"name": "train", "shardLengths": ["3"]}]}
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    with pytest.warns(UserWarning, match="1 of 3 images do not have 48x32 pixels"):
        opened = open_synthetic(tmp_path)
    assert [sample.image.shape for sample in opened] == [(32, 48, 3)] * 3 and (opened[1].image == images[1]).all()


def test_a_folder_without_images_is_one_line(tmp_path):
    with pytest.raises(InputError, match="images/ and masks/"):
        open_synthetic(tmp_path)
