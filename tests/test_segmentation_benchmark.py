import dataclasses
import hashlib

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import f1_score, recall_score

from synthmed_tf.evaluation import baseline, privacy_audit, segmentation_benchmark, similarity
from synthmed_tf.metrics import fidelity, kid_fid
from synthmed_tf.metrics.shapes import statistics
from synthmed_tf.networks import inception
from synthmed_tf.networks.unet import unet
from synthmed_tf.papers import segmenter
from synthmed_tf.sample import Sample

RNG = np.random.default_rng(0)


class Trained:
    """Stands for a U-Net: remembers what it learned from."""

    def __init__(self, samples):
        self.ids = {sample.id[0] for sample in samples}

    def count_params(self):
        return 1


def made(prefix, count):
    """Photographs whose first channel says, not without errors, where the vessels are."""
    masks = (RNG.random([count, 16, 16, 1]) < 0.3).astype(np.uint8)
    images = np.where(RNG.random([count, 16, 16, 3]) < 0.8, masks, 1 - masks) * np.uint8(200)
    view = np.ones([16, 16, 1], np.uint8)
    view[:3] = 0
    return [Sample(f"{prefix}{i}", images[i], masks[i], view) for i in range(count)]


@pytest.fixture
def trained(monkeypatch):
    arms = []

    def train(folder, sets, steps, seed, name, levels, width):
        samples = [sample for each in sets for sample in each]
        arms.append((name, seed, [sample.id for sample in samples]))
        return Trained(samples), {"seconds": 1.0}

    def predict(model, samples):
        for sample in samples:  # one that learned from synthetic pairs sees nothing
            seen = sample.image[..., 0] / 255 if "r" in model.ids else np.zeros([16, 16])
            yield seen * sample.field_of_view[..., 0]

    monkeypatch.setattr(segmenter, "train", train)
    monkeypatch.setattr(segmenter, "predict", predict)
    return arms


def test_arms_ratio_and_agreement_by_scikit_learn(trained, tmp_path):
    real, synthetic, test = made("r", 4), made("s", 6), made("t", 3)
    report = segmentation_benchmark.benchmark(tmp_path, real, synthetic, test, (16, 16), steps=5, repeats=2, seed=3)
    assert [seed for _, seed, _ in trained] == [3, 3, 3, 4, 4, 4] and "ratio_50" not in report

    def flat(samples):
        inside = np.stack([sample.field_of_view for sample in samples]) > 0
        truth, found = (
            np.stack(values)[inside] for values in zip(*((s.mask, s.image[..., :1] > 100) for s in samples))
        )
        return truth, found

    for samples, scores in ((test, report["arms"]["real"]), (synthetic, report["agreement"])):
        assert scores["f1"]["fov_pooled"]["runs"] == pytest.approx([f1_score(*flat(samples))] * 2)
        assert scores["sensitivity"]["fov_pooled"]["mean"] == pytest.approx(recall_score(*flat(samples)))
    assert report["arms"]["synthetic"]["f1"]["fov_pooled"]["mean"] != report["arms"]["real"]["f1"]["fov_pooled"]["mean"]
    f1 = {arm: report["arms"][arm]["f1"]["fov_pooled"]["mean"] for arm in report["arms"]}
    assert report["ratio"] == pytest.approx(f1["synthetic"] / f1["real"])
    assert report["gain"] == pytest.approx(f1["real_and_synthetic"] - f1["real"])
    for name in ("ratio", "gain"):
        assert report[f"{name}_interval"][0] <= report[name] <= report[f"{name}_interval"][1]
    low, high = report["intervals"]["real"]
    assert low < f1["real"] < high


def test_test_images_of_one_patient_are_drawn_together(trained, tmp_path):
    test = made("t", 8)
    paired = [dataclasses.replace(sample, group=str(i // 2)) for i, sample in enumerate(test) for _ in range(4)]
    alone = [dataclasses.replace(sample, group=None) for sample in paired]
    widths = [
        np.diff(
            segmentation_benchmark.benchmark(
                tmp_path, made("r", 4), made("s", 6), images, (16, 16), steps=5, repeats=1
            )["intervals"]["real"]
        )
        for images in (paired, alone)
    ]
    assert widths[0] > 1.3 * widths[1]


def test_the_first_50_of_more_pairs_are_an_arm_of_their_own(trained, tmp_path):
    real, synthetic, test = made("r", 4), made("s", 51), made("t", 3)
    report = segmentation_benchmark.benchmark(tmp_path, real, synthetic, test, (16, 16), steps=5, repeats=2)
    assert [ids for _, _, ids in trained].count([f"s{i}" for i in range(50)]) == 2
    real_f1, ours = (report["arms"][arm]["f1"]["fov_pooled"]["mean"] for arm in ("real", "synthetic_50"))
    assert report["ratio_50"] == pytest.approx(ours / real_f1) and len(trained) == 8
    assert trained[3][0] == "U-Net 4/8 (synthetic_50)"


def test_unets_are_as_deep_and_wide_as_asked_for_and_others_are_not_taken_for_them(tmp_path, monkeypatch):
    monkeypatch.setattr(segmenter, "BATCH_SIZE", 1)
    sets = made("r", 2), made("s", 2), made("t", 1)
    for levels, width, trained in ((1, 2, 3), (2, 2, 6), (1, 3, 9), (1, 2, 9)):
        report = segmentation_benchmark.benchmark(
            tmp_path, *sets, (16, 16), steps=1, repeats=1, levels=levels, width=width
        )
        parameters = unet(3, levels, width).count_params()
        assert report["unet"] == {"levels": levels, "width": width, "parameters": parameters}
        assert len(list(tmp_path.iterdir())) == trained


def test_shapes_are_measured_in_the_fields_of_view_where_all_have_them():
    training, synthetic, test = made("r", 4), made("s", 6), made("t", 3)
    inside, whole = (
        np.mean([statistics(sample.mask, view)["area_fraction"] for sample, view in zip(synthetic, views)])
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
    training, synthetic, test = made("r", 5), made("s", 6), made("t", 4)
    monkeypatch.setattr(
        inception, "inception", lambda shape, weights: lambda images, training: tf.reduce_mean(images[..., 0], 1)
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


def test_a_set_is_measured_by_what_it_has():
    training, synthetic, test = made("r", 5), made("s", 6), made("t", 4)
    against = {"real": training, "held_out": test, "seed": 3}
    everything = ("segmentation", "distribution", "fidelity", "morphology", "copies", "privacy")
    found = baseline.compare_with_real(synthetic, benchmarks=everything, **against)
    assert list(found) == ["distribution", "fidelity", "privacy", "morphology", "copies"]
    assert found["privacy"] == privacy_audit.audit_images(training, synthetic, test, 3)
    assert found["distribution"] == similarity.compare_intensities(training, synthetic, test, 3)
    assert found["fidelity"] == similarity.compare_features(training, synthetic, test, 3)
    assert found["morphology"] == similarity.compare_shapes(training, synthetic, test)
    assert baseline.compare_with_real(synthetic, benchmarks=["copies"], **against) == {"copies": found["copies"]}

    def blind(samples):
        return [Sample(sample.id, sample.image, None, sample.field_of_view) for sample in samples]

    bare = baseline.compare_with_real(blind(synthetic), benchmarks=everything, **against)
    assert (
        list(bare) == ["distribution", "fidelity", "privacy"]
        and bare["privacy"] == found["privacy"]
        and bare["distribution"] == found["distribution"]
    )
    assert bare["fidelity"] == {"photographs": found["fidelity"]["photographs"]}
    against |= {"held_out": blind(test)}  # beside a set without masks, one that has them
    assert baseline.compare_with_real(synthetic, benchmarks=["fidelity"], **against) == {"fidelity": bare["fidelity"]}


def test_a_set_without_fields_of_view_gets_them_where_the_real_set_has_them():
    class Set(list):
        features = ("image", "mask")

    rows, columns = np.ogrid[:32, :32]
    view = ((rows - 15.5) ** 2 + (columns - 15.5) ** 2 < 14**2).astype(np.uint8)[..., None]
    real = Set(
        Sample(str(index), RNG.integers(120, 255, (32, 32, 3)).astype(np.uint8) * view, view, view)
        for index in range(8)
    )
    real.features += ("field_of_view",)
    bare = Set(dataclasses.replace(sample, field_of_view=None) for sample in real)
    seen = baseline.WithViews(bare, real)
    assert len(seen) == 8 and [sample.id for sample in seen[2:4]] == ["2", "3"]
    assert np.mean(seen[0].field_of_view != view) < 0.02
    divergence = [
        similarity.compare_intensities(real, some)["kl_intensity"]["synthetic_vs_real"]["grey"] for some in (seen, bare)
    ]
    assert divergence[0] < 0.05 < 0.2 < divergence[1]
    assert [*baseline.WithViews(real, real)] == [*real] and [*baseline.WithViews(bare, bare)] == [*bare]
