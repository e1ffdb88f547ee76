"""papers/annotation.py: masks for photographs without (P1 § Data), by a U-Net of another set."""

import numpy as np
import pytest
import tensorflow as tf

from synthmed_tf.papers import annotation, segmenter
from synthmed_tf.records.read import Records
from synthmed_tf.records.write import write_records
from synthmed_tf.sample import Sample

RNG = np.random.default_rng(0)


def disc(radius, size=100):
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    return (np.hypot(rows, columns) < radius).astype(np.uint8)[..., None]


def test_the_rim_of_the_field_of_view_holds_no_vessel():
    everywhere = np.ones([100, 100], bool)
    kept = annotation.remove_rim(everywhere, disc(40))
    assert kept.dtype == np.uint8 and kept.shape == (100, 100, 1)
    assert (kept[disc(37) > 0] == 1).all() and not kept[disc(38.6) == 0].any()  # 2 % of 100 pixels
    assert not annotation.remove_rim(~everywhere, disc(40)).any()


def test_a_frame_that_cuts_the_field_of_view_is_its_rim_and_without_one_there_is_no_rim():
    everywhere = np.ones([100, 50], bool)
    kept = annotation.remove_rim(everywhere, np.ones([100, 50, 1], np.uint8))
    assert kept[2:-2, 2:-2].all() and kept.sum() == 96 * 46
    assert annotation.remove_rim(everywhere, None).all()


@pytest.fixture
def sets(tmp_path, monkeypatch):
    """(photographs, teachers), and a U-Net that has learned that vessels are bright: probability = brightness."""
    learned = []

    def train(folder, sets, steps, seed, name):
        learned.append((folder, [samples.manifest["name"] for samples in sets], steps, seed))
        prefix = str(folder / "ckpt")
        tf.train.Checkpoint(weight=tf.Variable(1.0)).write(prefix)
        return "model", {"checkpoint": prefix}

    def predict(model, samples):
        for sample in samples:
            learned.append(model)
            yield sample.image[..., 0] / np.float32(255)

    monkeypatch.setattr(segmenter, "train", train)
    monkeypatch.setattr(segmenter, "predict", predict)
    view = np.ones([16, 16, 1], np.uint8)
    masks = [(RNG.random([16, 16, 1]) < 0.3).astype(np.uint8) for _ in range(3)]
    pairs = [Sample(str(i), 100 + 50 * mask, mask, view) for i, mask in enumerate(masks)]  # so 150 is a vessel
    write_records(tmp_path / "teachers", "teachers", pairs, source="x")
    images = [RNG.integers(0, 256, [16, 16, 1], np.uint8) for _ in range(4)]
    photographs = [Sample(f"p{i}", image, field_of_view=view, label="ab"[i % 2]) for i, image in enumerate(images)]
    write_records(tmp_path / "photographs", "photographs", photographs, source="x")
    return Records(tmp_path / "photographs"), Records(tmp_path / "teachers"), learned


def test_photographs_get_the_masks_that_the_other_sets_threshold_gives(sets, tmp_path):
    photographs, teachers, learned = sets
    pairs = annotation.annotate(tmp_path / "stage2", photographs, teachers, 5)
    assert learned[0] == (tmp_path / "stage2" / "segmenter", ["teachers"], annotation.STEPS, 5)
    assert pairs.manifest["threshold"] == pytest.approx(150 / 255) and pairs.manifest["name"] == "photographs_annotated"
    for pair, photograph in zip(pairs, photographs, strict=True):
        assert (pair.image == photograph.image).all() and pair.label is None
        assert (pair.field_of_view == photograph.field_of_view).all()
        assert (pair.mask == (photograph.image >= 150)).all()  # 2 % of 16 pixels is no rim


def test_photographs_that_have_masks_by_these_weights_keep_them(sets, tmp_path, monkeypatch):
    photographs, teachers, learned = sets
    first = annotation.annotate(tmp_path / "stage2", photographs, teachers, 5)
    predictions = len(learned)
    again = annotation.annotate(tmp_path / "stage2", photographs, teachers, 5)
    assert len(learned) == predictions + 1  # the U-Net alone was asked for again
    assert all((one.mask == two.mask).all() for one, two in zip(first, again, strict=True))
    others = [
        Sample(f"p{i}", 255 - sample.image, field_of_view=sample.field_of_view) for i, sample in enumerate(photographs)
    ]
    write_records(tmp_path / "others", "others", others, source="x")
    fresh = annotation.annotate(tmp_path / "stage2", Records(tmp_path / "others"), teachers, 5)
    assert any((one.mask != two.mask).any() for one, two in zip(first, fresh, strict=True))
