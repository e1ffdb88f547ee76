import hashlib

import numpy as np
import pytest
import tensorflow as tf
from pictures import make_pairs

from synthmed_tf.evaluation import similarity
from synthmed_tf.metrics import fidelity, kid_fid, shapes
from synthmed_tf.networks import inception
from synthmed_tf.sample import Sample


def test_shapes_are_measured_in_the_fields_of_view_where_all_have_them():
    training, synthetic, test = make_pairs("r", 4), make_pairs("s", 6), make_pairs("t", 3)
    inside, whole = (
        np.mean([shapes.describe(sample.mask, view)["area_fraction"] for sample, view in zip(synthetic, views)])
        for views in ([sample.field_of_view for sample in synthetic], [None] * 6)
    )
    found = similarity.compare_shapes(training, synthetic, test)["area_fraction"]
    assert found["synthetic"]["mean"] == pytest.approx(inside) and found["floor"] is not None
    blind = [Sample(sample.id, sample.image, sample.mask) for sample in test]
    found = similarity.compare_shapes(training, synthetic, blind)["area_fraction"]
    assert found["synthetic"]["mean"] == pytest.approx(whole) != inside
    assert similarity.compare_shapes(training, synthetic, [])["area_fraction"]["floor"] is None


def test_held_out_images_tell_light_that_is_only_of_the_training_images():
    def grey(*levels):
        return [Sample(f"{level}", np.full([4, 4, 1], level, np.uint8)) for level in levels]

    found = similarity.compare_intensities(grey(10, 20), grey(20, 20, 30, 30), grey(20, 30))["kl_intensity"]
    assert found["synthetic_vs_held_out"]["grey"] == pytest.approx(0, abs=1e-9)
    p, q = np.full(256, 1e-6), np.full(256, 1e-6)
    p[[20, 30]] += 0.5
    q[[10, 20]] += 0.5
    assert found["real_vs_held_out"]["grey"] == pytest.approx(np.sum(p * np.log(p / q)) / p.sum())
    assert found["synthetic_vs_real"]["grey"] > 1
    alone = similarity.compare_intensities(grey(10), grey(20))["kl_intensity"]
    assert alone["synthetic_vs_held_out"] == alone["real_vs_held_out"] == {}


def test_inception_sees_photographs_inside_their_field_of_view(monkeypatch, tmp_path):
    training, synthetic, test = make_pairs("r", 5), make_pairs("s", 6), make_pairs("t", 4)
    monkeypatch.setattr(
        inception, "build_inception", lambda shape, weights: lambda images, training: tf.reduce_mean(images[..., 0], 1)
    )
    monkeypatch.setattr(fidelity, "MOST", 5)
    (tmp_path / "notop.h5").write_bytes(b"weights")
    found = similarity.compare_features(training, synthetic, test, 3, inception_weights=tmp_path / "notop.h5")
    assert list(found) == ["photographs", "masks", "photographs, Inception"]
    figures = found["photographs, Inception"]
    seen = [
        np.stack([(sample.image * sample.field_of_view / 255)[..., 0].mean(0) for sample in samples])
        for samples in (test, training)
    ]
    assert figures["fid"]["real_vs_real"]["mean"] == pytest.approx(kid_fid.fid(*seen), rel=1e-5)
    features = figures["protocol"]["features"]
    assert features["weights"] == "notop.h5" and features["weights_sha256"] == hashlib.sha256(b"weights").hexdigest()
    del found["photographs, Inception"]
    assert found == similarity.compare_features(training, synthetic, test, 3)
