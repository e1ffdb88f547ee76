import dataclasses

import numpy as np
import pytest
from pictures import make_pairs
from sklearn.metrics import f1_score, recall_score

from synthmed_tf.evaluation import segmentation_benchmark
from synthmed_tf.networks.unet import build_unet
from synthmed_tf.papers import segmenter


class Trained:
    """Stands for a U-Net: remembers what it learned from."""

    def __init__(self, samples):
        self.ids = {sample.id[0] for sample in samples}

    def count_params(self):
        return 1


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
    real, synthetic, test = make_pairs("r", 4), make_pairs("s", 6), make_pairs("t", 3)
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
    test = make_pairs("t", 8)
    paired = [dataclasses.replace(sample, group=str(i // 2)) for i, sample in enumerate(test) for _ in range(4)]
    alone = [dataclasses.replace(sample, group=None) for sample in paired]
    widths = [
        np.diff(
            segmentation_benchmark.benchmark(
                tmp_path, make_pairs("r", 4), make_pairs("s", 6), images, (16, 16), steps=5, repeats=1
            )["intervals"]["real"]
        )
        for images in (paired, alone)
    ]
    assert widths[0] > 1.3 * widths[1]


def test_the_first_50_of_more_pairs_are_an_arm_of_their_own(trained, tmp_path):
    real, synthetic, test = make_pairs("r", 4), make_pairs("s", 51), make_pairs("t", 3)
    report = segmentation_benchmark.benchmark(tmp_path, real, synthetic, test, (16, 16), steps=5, repeats=2)
    assert [ids for _, _, ids in trained].count([f"s{i}" for i in range(50)]) == 2
    real_f1, ours = (report["arms"][arm]["f1"]["fov_pooled"]["mean"] for arm in ("real", "synthetic_50"))
    assert report["ratio_50"] == pytest.approx(ours / real_f1) and len(trained) == 8
    assert trained[3][0] == "U-Net 4/8 (synthetic_50)"


def test_unets_are_as_deep_and_wide_as_asked_for_and_others_are_not_taken_for_them(tmp_path, monkeypatch):
    monkeypatch.setattr(segmenter, "BATCH_SIZE", 1)
    sets = make_pairs("r", 2), make_pairs("s", 2), make_pairs("t", 1)
    for levels, width, trained in ((1, 2, 3), (2, 2, 6), (1, 3, 9), (1, 2, 9)):
        report = segmentation_benchmark.benchmark(
            tmp_path, *sets, (16, 16), steps=1, repeats=1, levels=levels, width=width
        )
        parameters = build_unet(3, levels, width).count_params()
        assert report["unet"] == {"levels": levels, "width": width, "parameters": parameters, "precision": "float32"}
        assert len(list(tmp_path.iterdir())) == trained
