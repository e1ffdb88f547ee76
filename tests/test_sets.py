"""evaluation/sets.py: which sets are compared."""

import json
import shutil
import types
from pathlib import Path

import numpy as np
import pytest
import script_runs
from PIL import Image
from script_runs import contents, eye, make_classes, make_drive, make_photographs, make_set, save

from synthmed_tf import settings
from synthmed_tf.datasets.plan import Plan
from synthmed_tf.datasets.prepare import prepare
from synthmed_tf.evaluation import sets
from synthmed_tf.publishing.synthetic_set import describe_real
from synthmed_tf.records.manifest import read_manifest
from synthmed_tf.records.read import Records
from synthmed_tf.records.write import write_records
from synthmed_tf.sample import InputError, Sample

FLAGS = script_runs.load("evaluate").FLAGS


def parse(*words):
    return settings.parse("", FLAGS, ["evaluate.py", *map(str, words)])


def found(*words):
    """(flags, what `find` says)."""
    flags = parse(*words)
    return flags, sets.find(flags)


def opened(*words):
    """(flags, Sets)."""
    flags, place = found(*words)
    return flags, sets.open_sets(flags, place)


def write_pairs(folder, prepared, **extra):
    """A synthetic set of two pairs whose manifest says that it stands for a prepared set."""
    pairs = [
        Sample(f"synthetic-{index}", *(np.resize(part, [64, 64, part.size // 5760]) for part in (photograph, mask > 0)))
        for index, (photograph, mask, _) in enumerate([eye(80), eye(81)])
    ]
    pairs = [Sample(pair.id, pair.image, pair.mask.astype(np.uint8)) for pair in pairs]
    real = {"real": describe_real(read_manifest(prepared))}
    write_records(folder, "pairs", pairs, source="test", extra=real | extra)
    return folder


def keep(folder, **flags):
    folder.mkdir(parents=True)
    (folder / "flags.json").write_text(
        json.dumps({name: str(v) if isinstance(v, Path) else v for name, v in flags.items()})
    )


@pytest.fixture
def run(tmp_path):
    """A run's OUT_DIR with the set that it learned from and the one that it made: out, eyes, private, prepared."""
    places = types.SimpleNamespace(out=tmp_path / "out", eyes=make_set(tmp_path / "eyes"), private=tmp_path / "private")
    places.prepared = prepare(str(places.eyes), places.private, (64, 64), out_dir=places.out, holdout=3, seed=7)
    both = {"data_dir": places.private, "prepared": places.prepared.name}
    options = {"holdout": 3, "labels": None, "chest_xrays": None, "skip_bad_files": False}
    keep(places.out / "stage1", data=places.eyes, seed=7, **both, **options)
    keep(places.out / "stage2", data=places.eyes, seed=2, **both)
    write_pairs(places.out / "synthetic", places.prepared, flags={"seed": 2}, stage1={"flags": {"seed": 7}})
    return places


# ---------------------------------------------------------------- find


def test_a_set_is_found_in_a_run_or_by_itself(tmp_path):
    (tmp_path / "run" / "synthetic").mkdir(parents=True)
    assert sets.find_synthetic(tmp_path / "run") == tmp_path / "run" / "synthetic"
    assert sets.find_synthetic(tmp_path / "run" / "synthetic") == tmp_path / "run" / "synthetic"
    assert sets.find_synthetic(tmp_path / "nowhere") == tmp_path / "nowhere"  # which opening it refuses
    (tmp_path / "begun" / "stage1").mkdir(parents=True)
    with pytest.raises(InputError, match="begun/synthetic: not there; run train_stage2.py"):
        sets.find_synthetic(tmp_path / "begun")


def test_flags_that_are_not_given_are_those_of_stage_1(run):
    path = run.out / "stage1" / "flags.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"skip_bad_files": True}))
    flags, place = found(f"--synthetic_dir={run.out}")
    assert place.folder == run.out / "synthetic" and place.is_same and place.other is None and place.seed == 7
    assert (flags.data, flags.data_dir, flags.out_dir) == (str(run.eyes), str(run.private), str(run.out))
    assert (flags.holdout, flags.labels, flags.skip_bad_files) == (3, None, True)
    flags, _ = found(f"--synthetic_dir={run.out}", f"--out_dir={run.private}", "--holdout=2", "--noskip_bad_files")
    assert (flags.out_dir, flags.holdout, flags.skip_bad_files) == (str(run.private), 2, False)


@pytest.mark.parametrize("changed", [{"seed": 8}, {"data": "drive"}])
def test_a_set_of_an_earlier_stage_1_is_not_compared_with_the_real_set_of_a_later_one(run, changed):
    path = run.out / "synthetic" / "manifest.json"
    made = {"seed": 7, "data": run.eyes.name, "steps": 5}  # how far it went may differ
    path.write_text(json.dumps(json.loads(path.read_text()) | {"stage1": {"flags": made}}))
    found(f"--synthetic_dir={run.out}")
    path = run.out / "stage1" / "flags.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"steps": 9} | changed))
    ((name, value),) = changed.items()
    with pytest.raises(InputError, match=f"earlier run of stage 1 .*{name} was .* and is now .*{value}.*train_stage2"):
        found(f"--synthetic_dir={run.out}")


def test_the_seed_of_the_held_out_images_is_that_of_stage_1(run, tmp_path):
    """Not evaluate's, nor stage 2's; and a folder that was shared alone says it by its manifest."""
    assert found(f"--synthetic_dir={run.out}", "--seed=5")[1].seed == 7
    shutil.copytree(run.out / "synthetic", tmp_path / "shared")
    words = f"--synthetic_dir={tmp_path / 'shared'}", f"--data={run.eyes}", f"--data_dir={run.private}"
    flags, place = found(*words, "--seed=5", f"--out_dir={tmp_path / 'new'}")
    assert place.seed == 7 and flags.holdout == 3
    assert opened(*words, f"--out_dir={tmp_path / 'new'}")[1].real.folder == run.prepared


def test_images_made_by_one_gan_were_divided_by_its_own_seed(tmp_path):
    eyes = make_set(tmp_path / "eyes")
    prepared = prepare(str(eyes), tmp_path, (64, 64), out_dir=tmp_path, holdout=3, seed=4)
    write_pairs(tmp_path / "set", prepared, flags={"seed": 4})
    words = f"--synthetic_dir={tmp_path / 'set'}", f"--data={eyes}", f"--data_dir={tmp_path}"
    assert found(*words)[1].seed == 4


def test_another_real_set_has_labels_of_its_own(run, tmp_path):
    path = run.out / "stage1" / "flags.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"labels": "gone.csv"}))
    with pytest.raises(InputError, match="gone.csv"):
        found(f"--synthetic_dir={run.out}")
    flags, place = found(f"--synthetic_dir={run.out}", f"--data={make_set(tmp_path / 'other')}")
    assert flags.labels is None and not place.is_same


def test_photographs_of_another_set_are_found_as_stage_2_was_given_them(run, tmp_path):
    photographs = make_photographs(tmp_path / "photographs")
    learned = {"name": "photographs", "labels": None}
    write_pairs(tmp_path / "new", run.prepared, photographs=learned)
    shutil.rmtree(run.out / "synthetic")
    (tmp_path / "new").rename(run.out / "synthetic")
    path = run.out / "stage2" / "flags.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"data": str(photographs)}))
    _, place = found(f"--synthetic_dir={run.out}")
    assert place.other == (str(photographs), str(run.private), {"labels": None, "group_column": None})
    shutil.rmtree(photographs)
    with pytest.raises(InputError, match="photographs"):
        found(f"--synthetic_dir={run.out}")


def test_what_is_no_data_set(run, tmp_path):
    save(tmp_path / "holidays" / "beach.png", eye(0)[0])
    before = contents(tmp_path)
    with pytest.raises(InputError, match="nowhere.*no such folder"):
        found(f"--synthetic_dir={tmp_path / 'nowhere'}")
    with pytest.raises(InputError, match="holidays: does not say which real set it stands for; give --data"):
        found(f"--synthetic_dir={tmp_path / 'holidays'}")
    assert found(f"--synthetic_dir={tmp_path / 'holidays'}", f"--data={run.eyes}")[1].manifest == {}
    assert contents(tmp_path) == before


def test_a_tfds_folder_of_another_program_needs_the_name_of_the_real_set(run, tmp_path):
    theirs = run.out / "synthetic"
    (theirs / "manifest.json").unlink()
    with pytest.raises(InputError, match="has lost its manifest.json"):
        opened(f"--synthetic_dir={theirs}", f"--data={run.eyes}", f"--data_dir={run.private}")
    path = theirs / "dataset_info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"moduleName": "their.module"}))
    with pytest.raises(InputError, match="synthetic: does not say which real set.*give --data"):
        found(f"--synthetic_dir={theirs}")
    words = f"--synthetic_dir={theirs}", f"--data={run.eyes}", f"--data_dir={run.private}", f"--out_dir={tmp_path}"
    _, opened_sets = opened(*words)
    assert len(opened_sets.synthetic) == 2 and opened_sets.synthetic.manifest is None
    # Its dark surrounds are left out of what is compared, as the real ones' are
    assert opened_sets.synthetic[0].field_of_view is None and opened_sets.compared[0].field_of_view is not None


# ---------------------------------------------------------------- open_sets


def test_sets_are_opened_with_their_controls(run):
    flags, opened_sets = opened(f"--synthetic_dir={run.out}")
    assert len(opened_sets.synthetic) == 2 and opened_sets.size == (64, 64) and opened_sets.baseline is None
    assert opened_sets.real.folder == run.prepared and len(opened_sets.real) == 7 and opened_sets.held_out == []
    opened_sets.open_controls(flags, sets.find(flags))
    assert {sample.split for sample in opened_sets.held_out} == {"test"} and len(opened_sets.held_out) == 3
    assert opened_sets.photographs is None
    native = opened_sets.native_test(flags)
    assert [sample.id for sample in native] == [sample.id for sample in opened_sets.held_out]
    assert all(sample.image.shape == (80, 72, 3) for sample in native)
    rows = dict(opened_sets.describe())
    assert rows["synthetic set"].endswith("2 samples") and rows["image size"] == "64 x 64"


def test_a_dry_run_prepares_nothing(run, tmp_path):
    shutil.rmtree(run.private)
    before = contents(tmp_path)
    _, opened_sets = opened(f"--synthetic_dir={run.out}", "--dry_run")
    assert isinstance(opened_sets.real, Plan) and len(opened_sets.real) == 7 and contents(tmp_path) == before


@pytest.mark.parametrize("with_run", [True, False])
def test_held_out_images_that_may_have_been_learned_from_are_refused(run, tmp_path, with_run):
    words = [f"--synthetic_dir={run.out if with_run else run.out / 'synthetic'}", f"--out_dir={run.out}"]
    words += [f"--data={run.eyes}", f"--data_dir={run.private}"]
    with pytest.raises(InputError, match="holdout was 3 and is now 2.*may have been learned from"):
        opened(*words, "--holdout=2")
    assert len(opened(*words)[1].real) == 7
    for kind in ("images", "masks", "fov"):  # one eye more
        path = run.eyes / kind / "0.png"
        shutil.copy(next((run.eyes / kind).iterdir()), path)
        if kind == "images":
            Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    with pytest.raises(InputError, match="its files are others" if with_run else "counts was"):
        opened(*words)


def test_sets_that_do_not_fit_each_other_are_refused(run, tmp_path):
    data = [f"--data={run.eyes}", f"--data_dir={run.private}", f"--out_dir={run.out}"]
    masks = [Sample("a", mask=np.ones([64, 64, 1], np.uint8))]
    write_records(tmp_path / "masks", "masks", masks, source="test")
    with pytest.raises(InputError, match="masks.*have no image"):
        opened(f"--synthetic_dir={tmp_path / 'masks'}", *data)
    grey = [Sample("a", np.zeros([64, 64, 1], np.uint8))]
    write_records(tmp_path / "grey", "grey", grey, source="test")
    with pytest.raises(InputError, match="grey: 1 channels, the real set .* has 3"):
        opened(f"--synthetic_dir={tmp_path / 'grey'}", *data)
    pairs = [Sample("a", np.zeros([64, 64, 3], np.uint8), np.ones([64, 64, 1], np.uint8))]
    write_records(tmp_path / "pairs", "pairs", pairs, source="test")
    photographs = make_photographs(tmp_path / "photographs")
    with pytest.raises(InputError, match="mask"):  # which are not there to be compared with
        opened(f"--synthetic_dir={tmp_path / 'pairs'}", f"--data={photographs}", *data[1:])


def test_a_damaged_synthetic_set_is_refused(run):
    shard = next((run.out / "synthetic").glob("*.tfrecord-*"))
    shard.write_bytes(shard.read_bytes()[:-9])
    with pytest.raises(InputError, match=f"{shard.name}.*damaged.*run the command that made it again"):
        opened(f"--synthetic_dir={run.out}")


@pytest.mark.parametrize(
    ("name", "shape", "says"),
    [
        ("small", (48, 64, 3), "48 x 64 pixels with 3 channels, .* 64 x 64 pixels with 3 channels.*--image_size"),
        ("grey", (64, 64, 1), "64 x 64 pixels with 1 channels, .* 64 x 64 pixels with 3 channels.*--image_size"),
        ("nowhere", None, "nowhere: no such folder"),
    ],
)
def test_a_baseline_that_does_not_fit_is_refused(run, tmp_path, name, shape, says):
    if shape:
        write_records(tmp_path / name, name, [Sample("a", np.zeros(shape, np.uint8))], source="test")
    with pytest.raises(InputError, match=says):
        opened(f"--synthetic_dir={run.out}", f"--baseline_dir={tmp_path / name}")


def test_held_out_photographs_need_no_masks_to_be_compared(tmp_path):
    """DRIVE as it is downloaded today: test images without labels."""
    make_drive(tmp_path)
    prepared = prepare("drive", tmp_path, (64, 64), out_dir=tmp_path)
    write_pairs(tmp_path / "set", prepared)
    flags, opened_sets = opened(
        f"--synthetic_dir={tmp_path / 'set'}", f"--data_dir={tmp_path}", f"--out_dir={tmp_path}"
    )
    opened_sets.open_controls(flags, sets.find(flags))
    assert opened_sets.held_out == [] and opened_sets.native_test(flags) == []
    real, others = opened_sets.photographs
    assert real is opened_sets.real and [sample.image.shape for sample in others] == [(64, 64, 3)] * 2


def test_photographs_of_another_set_are_compared_with_their_own(run, tmp_path):
    photographs = make_photographs(tmp_path / "photographs")
    theirs = prepare(str(photographs), run.private, (64, 64), out_dir=run.out)
    path = run.out / "stage2" / "flags.json"
    path.write_text(json.dumps({"data": str(photographs), "data_dir": str(run.private), "prepared": theirs.name}))
    shutil.rmtree(run.out / "synthetic")
    write_pairs(run.out / "synthetic", run.prepared, photographs=describe_real(read_manifest(theirs)))
    flags, opened_sets = opened(f"--synthetic_dir={run.out}")
    opened_sets.open_controls(flags, sets.find(flags))
    assert opened_sets.real.folder == run.prepared and opened_sets.other_manifest["name"] == "photographs"
    learned, others = opened_sets.photographs
    assert len(learned) == 8 and isinstance(learned, Records) and len(others) == 2


def test_labelled_images_have_no_masks_to_be_tested_with(tmp_path):
    grades = make_classes(tmp_path / "grades")
    prepared = prepare(str(grades), tmp_path, (64, 64), out_dir=tmp_path)
    images = [Sample(name, np.zeros([64, 64, 1], np.uint8), label=name) for name in ("sick", "well")]
    about = {"real": describe_real(read_manifest(prepared))}
    write_records(tmp_path / "set", "set", images, source="test", extra=about, class_names=["sick", "well"])
    words = f"--synthetic_dir={tmp_path / 'set'}", f"--data={grades}", f"--data_dir={tmp_path}", f"--out_dir={tmp_path}"
    flags, opened_sets = opened(*words)
    assert opened_sets.real.class_names == ["sick", "well"] and opened_sets.native_test(flags) == []


def test_native_test_images_have_the_range_and_the_foreground_of_the_prepared_ones(tmp_path):
    for index in range(5):  # every fifth is a test image
        photograph, mask, _ = eye(index)
        save(tmp_path / "deep" / "images" / f"{index}.png", photograph[..., 0].astype(np.uint16) * 16)
        save(tmp_path / "deep" / "masks" / f"{index}.png", np.where(mask > 0, 0, 255).astype(np.uint8))
    options = {"out_dir": tmp_path, "mask_foreground": "dark"}
    prepared = prepare(str(tmp_path / "deep"), tmp_path, (64, 64), **options)
    real = {"real": describe_real(read_manifest(prepared))}
    write_records(tmp_path / "set", "set", Records(prepared)[:2], source="test", extra=real)
    words = f"--synthetic_dir={tmp_path / 'set'}", f"--data={tmp_path / 'deep'}", f"--data_dir={tmp_path}"
    flags, opened_sets = opened(*words, f"--out_dir={tmp_path}")
    assert opened_sets.real.folder == prepared and read_manifest(prepared)["pixel_range"] == [0, 4095]
    (native,) = opened_sets.native_test(flags)
    photograph, mask, _ = eye(4)
    assert (native.image[..., 0] == np.rint(photograph[..., 0].astype(float) * 16 / 4095 * 65535)).all()
    assert (native.mask[..., 0] == (mask > 0)).all()
