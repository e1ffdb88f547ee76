"""The classification benchmark on made images whose classes differ by texture, or not at all."""

import json
import shutil

import numpy as np
import pytest
from script_runs import refused, succeeded

from synthmed_tf.datasets import prepare, sources
from synthmed_tf.evaluation import classification_benchmark
from synthmed_tf.papers import lbp
from synthmed_tf.papers import vgg16 as training
from synthmed_tf.records.read import Records
from synthmed_tf.records.write import write_records
from synthmed_tf.sample import InputError, Sample

CLASSIC = ("knn", "svm", "random_forest")
CLASS = {"smooth": "smooth", "rough": "rough"}


@pytest.fixture(autouse=True)
def small_grids(monkeypatch):
    """The radii, and one parameter of each model."""
    monkeypatch.setattr(lbp, "RADIUS_SETS", ((2,), (2, 3, 4)))
    monkeypatch.setattr(
        lbp, "GRIDS", {"knn": {"n_neighbors": [1, 9]}, "svm": {"C": [1]}, "random_forest": {"n_estimators": [10]}}
    )


def made(count, seed, labels=("smooth", "rough"), *, groups=None, size=32, channels=1, dtype=np.uint8, split="train"):
    """Samples in turn of each label; those with an odd place in `labels` are noise,
    the others a slope with a little noise.
    """
    rng = np.random.default_rng(seed)
    top = np.iinfo(dtype).max
    found = []
    for index in range(count):
        place = index % len(labels)
        slope = np.linspace(0.3, 0.6, size)[:, None] + rng.normal(0, 0.15 if place % 2 else 0.01, (size, size))
        image = np.repeat(np.clip(slope, 0, 1)[..., None] * top, channels, 2).astype(dtype)
        group = None if groups is None else f"{split}{seed}-{index // groups}"
        found.append(Sample(f"{split}{seed}-{index}", image, label=labels[place], group=group, split=split))
    return found


def run(tmp_path, real, synthetic, test, models=CLASSIC, repeats=2, tasks=None, **more):
    tasks = tasks or {"class": CLASS}
    return classification_benchmark.benchmark(
        tmp_path, real, synthetic, test, tasks=tasks, models=models, repeats=repeats, **more
    )


def test_textures_are_told_apart_and_a_set_of_nonsense_is_not(tmp_path):
    real, test = made(24, 0, groups=2), made(20, 1, groups=2, split="test")
    nonsense = [
        Sample(s.id, s.image, label=label) for s, label in zip(made(24, 2), ["smooth", "smooth", "rough", "rough"] * 6)
    ]
    good, bad = (run(tmp_path, real, synthetic, test) for synthetic in (made(24, 3), nonsense))
    for model in CLASSIC:
        entry = good["tasks"]["class"][model]
        for arm in classification_benchmark.ARMS:
            assert entry[arm]["accuracy"] == {"mean": 1.0, "sd": 0.0, "runs": [1.0, 1.0], "interval": [1.0, 1.0]}
            assert entry[arm]["auc"]["mean"] == entry[arm]["balanced_accuracy"]["mean"] == 1.0
        assert entry["relative_drop"] == 0 and entry["relative_drop_interval"] == [0, 0]
        lost = bad["tasks"]["class"][model]
        assert lost["synthetic"]["accuracy"]["mean"] < 0.85 and lost["relative_drop"] == pytest.approx(
            1 - lost["synthetic"]["accuracy"]["mean"]
        )
        assert all(
            chosen["folds"] == 5 and set(chosen["radii"]) <= {2, 3, 4}
            for chosen in good["parameters"]["class"][model]["real"]
        )
    assert good["counts"]["class"] == {
        "real": {"rough": 12, "smooth": 12}, "synthetic": {"rough": 12, "smooth": 12},
        "real_and_synthetic": {"rough": 24, "smooth": 24},
        "test": {"rough": 10, "smooth": 10},
    }  # fmt: skip
    assert good["groups"] == {"real": 12, "test": 10} and good["image_size"] == [32, 32] and good["repeats"] == 2
    json.dumps(good)


def test_shuffled_labels_give_chance(tmp_path):
    """Nothing of the test images, or of the order of the images, reaches the training: 0.5 lies within the interval."""
    rng = np.random.default_rng(5)

    def shuffled(samples):
        return [
            Sample(s.id, s.image, label=label, group=s.group, split=s.split)
            for s, label in zip(samples, rng.permutation([s.label for s in samples]))
        ]

    real, test = shuffled(made(60, 0, groups=3)), shuffled(made(60, 1, groups=3, split="test"))
    found = run(tmp_path, real, made(10, 3), test, repeats=1)["tasks"]["class"]
    for model in CLASSIC:
        for metric in ("accuracy", "balanced_accuracy", "auc"):
            low, high = found[model]["real"][metric]["interval"]
            assert low <= 0.5 <= high and high < 0.85


def test_a_finished_benchmark_is_not_run_again(tmp_path, monkeypatch):
    sets = made(12, 0), made(12, 1), made(8, 2, split="test")
    first = run(tmp_path, *sets, models=["knn"], repeats=1)
    monkeypatch.setattr(lbp, "train", None)
    monkeypatch.setattr(lbp, "count_patterns", None)
    assert run(tmp_path, *sets, models=["knn"], repeats=1) == first
    with pytest.raises(TypeError):  # another set is another training
        run(tmp_path, sets[0], made(12, 7), sets[2], models=["knn"], repeats=1)


def test_other_test_images_are_another_training(tmp_path):
    """The test images are drawn by the seed: results of another draw have their truth in another order."""
    real, synthetic = made(12, 0), made(12, 1)
    test = [sample for sample in made(24, 2, split="test") if sample.label == "rough"][:4] + made(20, 3, split="test")
    for seed in (0, 1):
        found = run(tmp_path, real, synthetic, test, models=["knn"], repeats=2, seed=seed)
        alone = run(tmp_path / str(seed), real, synthetic, test, models=["knn"], repeats=2, seed=seed)
        assert found["tasks"] == alone["tasks"]


def test_many_synthetic_images_do_not_drown_the_real_ones(tmp_path):
    found = run(tmp_path, made(10, 0), made(40, 1), made(8, 2, split="test"), models=["knn"], repeats=1)
    assert found["counts"]["class"]["synthetic"] == {"rough": 20, "smooth": 20}
    assert found["counts"]["class"]["real_and_synthetic"] == {"rough": 10, "smooth": 10}


def test_arms_and_training_images_are_as_many_as_asked_for(tmp_path):
    sets = made(24, 0), made(24, 1), made(8, 2, split="test")
    options = {"models": ["knn"], "repeats": 1}
    few = run(tmp_path, *sets, arms=["real", "real_and_synthetic"], most_training=12, **options)
    counts = {"real": {"rough": 6, "smooth": 6}, "real_and_synthetic": {"rough": 12, "smooth": 12}}
    assert few["counts"]["class"] == counts | {"test": {"rough": 4, "smooth": 4}}
    scores = few["tasks"]["class"]["knn"]
    assert scores.keys() == {*counts, "relative_drop", "relative_drop_interval"} and scores["relative_drop"] is None
    trained = len(list(tmp_path.glob("*.json")))
    every = run(tmp_path, *sets, **options)  # trainings on fewer images are not taken for these
    assert trained == 2 and len(list(tmp_path.glob("*.json"))) == 5
    assert every["counts"]["class"]["real"] == {"rough": 12, "smooth": 12}


def test_two_tasks_of_study_groups_in_16_bits_beside_8(tmp_path):
    names = ["female 18-38", "male 18-38", "female 48-68", "male 48-68"]  # the odd ones, rough ones, are the men
    tasks = {
        "gender": {name: name.split()[0] for name in names},
        "age group": {name: name.split()[1] for name in names},
    }
    real, test = made(24, 0, names, dtype=np.uint16), made(16, 1, names, dtype=np.uint16, split="test")
    found = run(tmp_path, real, made(24, 2, names), test, models=["knn"], repeats=1, tasks=tasks)
    assert found["tasks"]["gender"]["knn"]["synthetic"]["accuracy"]["mean"] == 1.0
    assert found["tasks"]["age group"]["knn"]["real"]["accuracy"]["mean"] < 0.9 and found["classes"] == tasks


def test_few_images_make_fewer_folds_and_one_cannot_be_measured(tmp_path):
    test = made(4, 2, split="test")
    found = run(tmp_path, made(6, 0), made(8, 1), test, models=["knn"], repeats=1)
    assert [found["parameters"]["class"]["knn"][arm][0]["folds"] for arm in classification_benchmark.ARMS] == [3, 4, 5]
    for real, synthetic in ((made(2, 0), made(8, 1)), (made(8, 0, groups=8), made(8, 1)), (made(8, 0), made(2, 1))):
        with pytest.warns(UserWarning, match="2 classes are left out of the classification .*, .*: each needs"):
            found = run(tmp_path, real, synthetic, test, models=["knn"], repeats=1)
        assert "The 4 test images are of fewer than two classes" in found["unavailable"]


def test_a_class_without_test_images_leaves_the_others_measurable(tmp_path):
    names = ["a", "b", "c"]
    sets = made(12, 0, names), made(12, 1, names)
    test = [sample for sample in made(12, 2, names, split="test") if sample.label != "c"]
    with pytest.warns(UserWarning, match="1 classes are left out of the classification .c.: each needs real test"):
        found = run(tmp_path, *sets, test, models=["knn"], repeats=1, tasks={"class": {name: name for name in names}})
    assert found["classes"] == {"class": {"a": "a", "b": "b"}} and found["counts"]["class"]["test"] == {"a": 4, "b": 4}


def test_a_patient_in_training_and_test_is_refused(tmp_path):
    real, test = made(8, 0, groups=2), made(8, 0, groups=2)
    with pytest.raises(
        InputError, match="4 patients or slides have images both to learn from and to test on, 'train0-0'"
    ):
        run(tmp_path, real, made(8, 1), test)


def test_images_of_several_sizes_are_refused(tmp_path):
    with pytest.raises(InputError, match="the synthetic set are of several sizes"):
        run(tmp_path, made(4, 0), [*made(4, 1), *made(4, 2, size=48)], made(4, 3))


def test_sets_with_other_classes_are_refused(tmp_path):
    def written(name, samples):
        write_records(tmp_path / name, name, samples, source="made")
        return Records(tmp_path / name)

    real, other = written("real", made(4, 0)), written("other", made(4, 1, ["smooth", "tumour"]))
    classification_benchmark.check_classes(real, real)
    with pytest.raises(InputError, match="'tumour' only in .*other; 'rough' only in .*real"):
        classification_benchmark.check_classes(real, other)
    bare = written("bare", [Sample(s.id, s.image) for s in made(2, 0)])
    with pytest.raises(InputError, match="bare: has no classes"):
        classification_benchmark.check_classes(real, bare)


def test_vgg16_in_the_benchmark(tmp_path, monkeypatch):
    """With a network that remembers what it was shown in place of VGG16."""
    shown = []

    def train(folder, learn, check, classes, steps, seed, name, weights):
        shown.append((learn, check, steps, seed))
        assert classes == 2 and weights is None
        return None, {"seconds": 1.0, "validation_loss": 0.5}

    def predict(model, images):
        rough = images.reshape(len(images), -1).std(1) > 30
        return np.stack([rough, ~rough], 1).astype(np.float32)  # classes in alphabetical order: rough, smooth

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(training, "predict", predict)
    found = run(
        tmp_path, made(40, 0, groups=2), made(40, 1), made(8, 2, split="test"), models=["vgg16"], repeats=2, seed=4
    )
    assert found["tasks"]["class"]["vgg16"]["real"]["accuracy"]["runs"] == [1.0, 1.0]
    # 20 epochs of 32 images in batches of 32
    assert found["steps"] == {"class": 20} and {steps for _, _, steps, _ in shown} == {20}
    assert [seed for *_, seed in shown] == [4, 4, 4, 5, 5, 5]
    for learn, check, *_ in shown:
        for (images, truth), (held, held_truth) in zip(learn, check, strict=True):
            assert (len(images), len(held)) == (32, 8) and truth.mean() == held_truth.mean() == 0.5
            assert not {image.tobytes() for image in images} & {image.tobytes() for image in held}
    assert [len(learn) for learn, *_ in shown] == [1, 1, 2] * 2


# ---------------------------------------------------------------- evaluate.py


@pytest.fixture
def labelled(tmp_path, monkeypatch):
    """OUT_DIR of a synthetic set with classes, whose real set is as good as prepared."""
    real = [*made(12, 0, size=64, groups=2), *made(8, 1, size=64, groups=2, split="test")]
    write_records(tmp_path / "prepared", "tiles", real, source="made")
    synthetic = made(12, 2, size=64)
    filtered = {
        "candidates": 20,
        "rejected": 7,
        "too_far": 1,
        "rate": 0.4,
        "classes": {
            name: {"candidates": 10, "rejected": count, "too_far": 0} for name, count in (("smooth", 7), ("rough", 1))
        },
    }
    extra = {"real": {"name": "tiles"}, "filter": filtered}
    write_records(tmp_path / "out" / "synthetic", "synthmed_tiles", synthetic, source="made", extra=extra)
    monkeypatch.setattr(sources, "check_set", lambda *_, **__: None)
    monkeypatch.setattr(prepare, "prepare", lambda *_, **__: tmp_path / "prepared")
    return tmp_path / "out"


def test_evaluate_of_a_set_with_classes(labelled, tmp_path):
    words = [f"--synthetic_dir={labelled}", "--models=knn,svm", "--repeats=1"]
    printed = succeeded("evaluate", *words)
    report = json.loads((labelled / "report" / "report.json").read_text())
    assert report.keys() >= {"classification", "distribution", "fidelity"} and not report.keys() & {
        "segmentation",
        "morphology",
        "copies",
    }
    assert report["classification"]["tasks"]["class"].keys() == {"knn", "svm"}
    assert "classification accuracy 1.000 (real 1.000" in printed and "  copies" not in printed
    page = (labelled / "report" / "report.html").read_text(encoding="utf-8")
    assert "By class: rough or smooth" in page and "vessel" not in page and "masks" not in page

    theirs = tmp_path / "theirs"
    shutil.copytree(labelled / "synthetic", theirs)
    (theirs / "manifest.json").unlink()
    info = json.loads((theirs / "dataset_info.json").read_text()) | {"moduleName": "their.module"}
    (theirs / "dataset_info.json").write_text(json.dumps(info))
    succeeded(
        "evaluate",
        f"--synthetic_dir={theirs}",
        "--data=tiles",
        f"--out_dir={tmp_path / 'new'}",
        "--models=knn",
        "--repeats=1",
        "--benchmarks=classification",
    )
    assert json.loads((tmp_path / "new" / "report" / "report.json").read_text())["synthetic"] is None
    (theirs / "label.labels.txt").write_text("smooth\nnormal\n")
    refused(
        "evaluate",
        f"--synthetic_dir={theirs}",
        "--data=tiles",
        says=["'normal' only in", "'rough' only in", "--labels"],
    )


def test_evaluate_says_what_it_would_do_with_classes(labelled):
    printed = succeeded("evaluate", f"--synthetic_dir={labelled}", "--dry_run")
    assert "12 samples" in printed and "vgg16" in printed and not (labelled / "report").exists()


def test_evaluate_of_classes_without_test_images(labelled, tmp_path):
    shutil.rmtree(tmp_path / "prepared")
    write_records(tmp_path / "prepared", "tiles", made(8, 0, size=64), source="made")
    printed = succeeded("evaluate", f"--synthetic_dir={labelled}", "--models=knn", "--benchmarks=classification")
    assert "tiles has no test images" in " ".join(printed.split()) and "--holdout=5" in printed


@pytest.mark.parametrize(
    "word, says",
    [
        ("--models=knn,cnn", ["--models=knn,cnn", "'cnn'", "random_forest"]),
        ("--young=adult", ["--young=adult", "18-38"]),
        ("--mature=68-48", ["--mature=68-48"]),
        ("--vgg_weights=/nowhere.h5", ["/nowhere.h5: no such file"]),
        ("--inception_weights=/nowhere.h5", ["/nowhere.h5: no such file"]),
        ("--vgg_steps=0", ["vgg_steps"]),
        ("--benchmarks=segmentation,fame", ["'fame'", "classification"]),
    ],
)
def test_wrong_flags_of_the_benchmark_are_one_line(word, says):
    refused("evaluate", "--synthetic_dir=out", word, says=says)
