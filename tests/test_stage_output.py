"""publishing/stage_output.py: what the training scripts leave, and what their manifests say of it."""

import csv
import json
import types

import numpy as np
import pytest

from synthmed_tf.publishing import stage_output
from synthmed_tf.records.manifest import read_manifest
from synthmed_tf.records.read import Records
from synthmed_tf.records.write import write_records
from synthmed_tf.sample import Sample
from synthmed_tf.training import checkpoints
from synthmed_tf.training.sampler import Sampler

RNG = np.random.default_rng(0)
FACTS = {"fields_of_view": "none", "test_split": "none", "holdout": 0}
RESULT = {"step": 30, "sampled_step": 20, "sampler": "weights"}
NAMES = ["sick", "well"]


@pytest.fixture(autouse=True)
def digests(monkeypatch):
    """The digest of a checkpoint is its path."""
    monkeypatch.setattr(checkpoints, "hash_checkpoint", lambda prefix: f"sha256 of {prefix}")


def flags_of(tmp_path, count, **others):
    """Flags of a script, as far as they are read here, and all that is recorded of the run."""
    values = {"data": "/clinic/SECRETeyes", "data_dir": "/clinic", "out_dir": str(tmp_path / "out")}
    values |= {"num_samples": count, "seed": 3, "model": "dcgan", "label_distribution": "real", "hash_filter": True}
    flags = types.SimpleNamespace(**values | others, given={"data", "num_samples"})
    return flags, values | others | {"latent": 64}


def write_real(tmp_path, parts, name="eyes", class_names=None):
    samples = [Sample(f"SECRET{i}", **part, group=f"SECRET{i}") for i, part in enumerate(parts)]
    write_records(tmp_path / name, name, samples, source="x", class_names=class_names, extra=FACTS)
    return Records(tmp_path / name)


def draw_masks(count):
    """Masks that are so alike that no mask of noise is a copy of one."""
    common = RNG.random([1, 16, 16, 1]) < 0.2
    return (common ^ (RNG.random([count, 16, 16, 1]) < 0.02)).astype(np.uint8)


def holds_secret(folder):
    return any(b"SECRET" in path.read_bytes() or "SECRET" in path.name for path in folder.rglob("*") if path.is_file())


def paint_masks(noise, labels=None):
    return (np.reshape(noise, [-1, 16, 16, 1]) > 1).astype(np.uint8)


# ---------------------------------------------------------------- masks


def write_masks(tmp_path, real, count, paint=paint_masks, result=RESULT):
    flags, recorded = flags_of(tmp_path, count)
    stage_output.write_masks(flags, recorded, real, Sampler((256,), paint, 3), {"": result}, 30)
    return Records(tmp_path / "out" / "stage1" / "masks")


def test_masks_and_what_their_manifest_says(tmp_path, capsys):
    real = write_real(tmp_path, [{"mask": mask} for mask in draw_masks(4)])
    masks = write_masks(tmp_path, real, 3)
    assert [sample.id for sample in masks] == [f"synthetic-{i:06d}" for i in range(3)]
    manifest = masks.manifest
    assert manifest["command"] == "train_stage1.py --data=SECRETeyes --num_samples=3"
    assert manifest["commands"] == [manifest["command"]]
    assert (manifest["steps"], manifest["sampled_step"]) == (30, 20)
    assert manifest["checkpoint_sha256"] == "sha256 of weights" and "refined_sha256" not in manifest
    assert manifest["flags"]["latent"] == 64 and not {"data_dir", "out_dir"} & manifest["flags"].keys()
    assert manifest["real"]["name"] == "eyes" and manifest["filter"]["rejected"] == 0
    assert "0 of 3 masks rejected" in capsys.readouterr().out and "/clinic" not in json.dumps(manifest)


def test_masks_that_are_there_are_left_and_more_begin_with_them(tmp_path, capsys):
    real = write_real(tmp_path, [{"mask": mask} for mask in draw_masks(4)])
    first = list(write_masks(tmp_path, real, 3))
    capsys.readouterr()
    before = (tmp_path / "out" / "stage1" / "masks" / "manifest.json").stat().st_mtime_ns
    write_masks(tmp_path, real, 3)
    assert (tmp_path / "out" / "stage1" / "masks" / "manifest.json").stat().st_mtime_ns == before
    assert "already done: 3 masks" in capsys.readouterr().out
    more = write_masks(tmp_path, real, 5)
    assert all((one.mask == two.mask).all() for one, two in zip(first, more))
    others = write_masks(tmp_path, real, 5, result=RESULT | {"sampler": "other weights", "refined": "refiner"})
    assert others.manifest["checkpoint_sha256"] == "sha256 of other weights"
    assert others.manifest["refined_sha256"] == "sha256 of refiner"


def test_masks_that_copy_are_replaced_and_a_sampler_of_copies_alone_is_told_of(tmp_path):
    masks = draw_masks(4)
    real = write_real(tmp_path, [{"mask": mask} for mask in masks])

    def copy_often(noise, labels=None):  # every second one
        return np.stack([masks[0] if i % 2 else fresh for i, fresh in enumerate(paint_masks(noise))])

    filtered = write_masks(tmp_path, real, 3, copy_often)
    assert not any((sample.mask == masks[0]).all() for sample in filtered)
    assert filtered.manifest["filter"]["rejected"] == 2
    with pytest.warns(UserWarning, match="4 of 4 masks are kept although"):
        write_masks(tmp_path, real, 4, lambda noise, labels=None: masks[:1].repeat(len(noise), 0))


# ---------------------------------------------------------------- images


def paint_images(noise, labels=None):
    values = 100 + 20 * np.reshape(noise, [-1, 16, 16, 1])
    return np.clip(values, 0, 255).astype(np.uint8)


def write_images(tmp_path, real, count, samplers, results, is_labelled=True, **others):
    flags, recorded = flags_of(tmp_path, count, **others)
    stage_output.write_images(flags, recorded, real, samplers, results, is_labelled)
    return Records(tmp_path / "out" / "synthetic")


def labelled_images(count, scale=20):
    images = np.clip(100 + scale * RNG.normal(size=[count, 16, 16, 1]), 0, 255).astype(np.uint8)
    return [{"image": image, "label": NAMES[i % 3 == 0]} for i, image in enumerate(images)]


def test_a_labelled_set_and_what_its_manifest_says(tmp_path, capsys):
    real = write_real(tmp_path, labelled_images(30), class_names=NAMES)
    (tmp_path / "out" / "stage1").mkdir(parents=True)
    samplers, results = {"": Sampler((256,), paint_images, 3, classes=2)}, {"": RESULT}
    images = write_images(tmp_path, real, 6, samplers, results)
    manifest = images.manifest
    assert images.class_names == NAMES and manifest["class_counts"] == {"train": {"sick": 4, "well": 2}}
    assert manifest["real"]["class_counts"] == {"train": {"sick": 20, "well": 10}}
    assert (manifest["steps"], manifest["checkpoint_sha256"]) == (30, "sha256 of weights")
    assert manifest["label_distribution"] == "real" and manifest["hash_filter"] is True
    assert manifest["filter"]["classes"].keys() == set(NAMES) and "threshold" not in json.dumps(manifest["filter"])
    assert manifest["filter"]["candidates"] >= 6 and "rejected by their average hash" in capsys.readouterr().out
    with open(tmp_path / "out" / "synthetic" / "png" / "index.csv", newline="") as file:
        assert [row["label"] for row in csv.DictReader(file)] == [sample.label for sample in images]
    assert (tmp_path / "out" / "stage1" / "rejected.png").exists() == bool(manifest["filter"]["rejected"])

    write_images(tmp_path, real, 6, samplers, results)
    assert "already done: 6 images" in capsys.readouterr().out
    more = write_images(tmp_path, real, 9, samplers, results)
    assert all((one.image == two.image).all() for one, two in zip(images, more))
    balanced = write_images(
        tmp_path, real, 6, samplers, results, label_distribution="balanced", hash_filter=False
    ).manifest
    assert set(balanced["class_counts"]["train"].values()) == {3} and "filter" not in balanced


def test_one_model_a_class_has_a_digest_a_class(tmp_path, capsys):
    real = write_real(tmp_path, labelled_images(30), class_names=NAMES)
    samplers = dict.fromkeys(NAMES, Sampler((256,), paint_images, 3))
    results = {name: RESULT | {"sampler": name, "step": 30 + len(name)} for name in NAMES}
    manifest = write_images(tmp_path, real, 6, samplers, results, hash_filter=False).manifest
    assert manifest["checkpoint_sha256"] == {name: f"sha256 of {name}" for name in NAMES}
    assert manifest["steps"] == {"sick": 34, "well": 34} and manifest["sampled_step"] == {"sick": 20, "well": 20}
    assert "one model a class" in capsys.readouterr().out
    write_images(tmp_path, real, 6, samplers, results, hash_filter=False)
    assert "already done: 6" in capsys.readouterr().out


def test_images_unlike_real_ones_are_told_of_and_shown(tmp_path):
    flat = [{"image": np.uint8(100 + np.arange(256) // 32).reshape(16, 16, 1), "label": name} for name in NAMES * 2]
    real = write_real(tmp_path, flat, class_names=NAMES)
    (tmp_path / "out" / "stage1").mkdir(parents=True)
    samplers, results = {"": Sampler((256,), paint_images, 3, classes=2)}, {"": RESULT}
    with pytest.warns(UserWarning, match="4 of 4 images are kept although they are as far"):
        manifest = write_images(tmp_path, real, 4, samplers, results).manifest
    assert manifest["filter"]["rejected"] == 36 and manifest["filter"]["rate"] == 1.0
    assert (tmp_path / "out" / "stage1" / "rejected.png").exists()


def test_images_without_labels_are_not_filtered(tmp_path, capsys):
    real = write_real(tmp_path, [{"image": part["image"]} for part in labelled_images(4)])
    samplers = {"": Sampler((256,), paint_images, 3)}
    images = write_images(tmp_path, real, 5, samplers, {"": RESULT}, is_labelled=False)
    assert len(images) == 5 and "filter" not in images.manifest and images[0].label is None
    assert "by the weights of step 20" in capsys.readouterr().out
    assert not (tmp_path / "out" / "stage1" / "rejected.png").exists()


# ---------------------------------------------------------------- pairs


def paint_pair(mask, index):
    return np.clip(mask * 100 + index, 0, 255).astype(np.uint8) * np.ones(3, np.uint8)


def test_pairs_and_what_their_manifest_says(tmp_path, capsys):
    images = RNG.integers(0, 256, [4, 16, 16, 3], np.uint8)
    pairs = [{"image": image, "mask": mask} for image, mask in zip(images, draw_masks(4), strict=True)]
    real = write_real(tmp_path, pairs)
    masks = write_masks(tmp_path, real, 4)
    flags, recorded = flags_of(tmp_path, 3)
    stage_output.write_pairs(flags, recorded, real, paint_pair, RESULT, masks)
    synthetic = Records(tmp_path / "out" / "synthetic")
    for index, (pair, mask) in enumerate(zip(synthetic, masks)):
        assert (pair.mask == mask.mask).all() and (pair.image == paint_pair(mask.mask, index)).all()
    manifest = synthetic.manifest
    assert len(synthetic) == 3 and manifest["commands"] == [
        "train_stage1.py --data=SECRETeyes --num_samples=4",
        "train_stage2.py --data=SECRETeyes --num_samples=3",
    ]
    assert manifest["command"] == manifest["commands"][1] and manifest["name"] == "eyes_synthetic"
    # The filter's thresholds are measured on real masks
    assert manifest["stage1"]["filter"].keys() == {"candidates", "rejected", "too_near"}
    assert manifest["stage1"]["checkpoint_sha256"] == "sha256 of weights" and "photographs" not in manifest
    assert len(list((tmp_path / "out" / "synthetic" / "png").rglob("*.png"))) == 6
    capsys.readouterr()
    stage_output.write_pairs(flags, recorded, real, paint_pair, RESULT, masks)
    assert "already done: 3 pairs" in capsys.readouterr().out

    facts = real.manifest | {"name": "grades"}
    stage_output.write_pairs(flags, recorded, real, paint_pair, RESULT | {"sampler": "x"}, masks, facts)
    manifest = read_manifest(tmp_path / "out" / "synthetic")
    assert manifest["photographs"]["name"] == "grades" and manifest["real"]["name"] == "eyes"
    assert manifest["name"] == "grades_synthetic"


def test_nothing_real_is_in_what_is_shared(tmp_path):
    real = write_real(tmp_path, labelled_images(9), class_names=NAMES)
    samplers = {"": Sampler((256,), paint_images, 3, classes=2)}
    flags = {"data": "/clinic/eyes", "hash_filter": False}
    write_images(tmp_path, real, 4, samplers, {"": RESULT}, **flags)
    assert not holds_secret(tmp_path / "out" / "synthetic")
