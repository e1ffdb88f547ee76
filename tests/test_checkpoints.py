"""Which weights are kept and chosen; checkpoints that are damaged, of another model, or do not fit on the disk."""

import json
import resource

import pytest
import tensorflow as tf
from linear_run import Run, list_checkpoints, restore
from tqdm import tqdm

from synthmed_tf.sample import InputError
from synthmed_tf.training import checkpoints, loop


@pytest.fixture(autouse=True)
def seldom(monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY", 4)
    monkeypatch.setattr(checkpoints, "MEASURE_EVERY", 4)


def test_the_best_the_last_and_any_kept_weights_can_be_sampled_with(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY", 2)
    monkeypatch.setattr(checkpoints, "MEASURE_EVERY", 2)
    monkeypatch.setattr(checkpoints, "SAMPLERS_KEPT", 2)
    distances = {2: 0.9, 4: 0.3, 6: 0.5, 8: 0.32, 10: 0.7, 12: 0.6, 13: 0.8}
    sampler = tf.keras.Sequential([tf.keras.Input([1]), tf.keras.layers.Dense(1)])
    steps = iter(sorted(distances))

    def measure():
        step = next(steps)
        sampler.layers[0].kernel.assign([[float(step)]])
        return {"distance": distances[step]}, "LOW " if step == 12 else ""

    Run(tmp_path).fit(13, measure=measure, sampler=sampler)
    kept = sorted(int(path.stem.split("-")[1]) for path in (tmp_path / "samplers").glob("*.index"))
    assert kept == [4, 8, 12, 13]  # the least, the latest that is hardly more, and the newest
    for which, step in (("best", 8), ("last", 13), ("12", 12)):
        found, prefix = restore(tmp_path, sampler, which)
        assert found == step and prefix.endswith(f"ckpt-{step}") and float(sampler.layers[0].kernel[0, 0]) == step
    with pytest.raises(InputError, match="--checkpoint=6: .* of steps 4, 8, 12, 13; give one of those, best or last"):
        restore(tmp_path, sampler, "6")
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {line["step"]: line["distance"] for line in lines if "distance" in line} == {10: 0.7, 13: 0.8} | {
        step: distances[step] for step in (2, 4, 6, 8, 12)
    }


@pytest.mark.parametrize("first, best, last", [(1.0, 4, 8), (0.95, 4, 8), (0.93, 6, 10)])
def test_weights_that_copy_are_the_best_only_where_all_do_and_then_those_that_do_least(
    tmp_path, monkeypatch, first, best, last
):
    monkeypatch.setattr(loop, "SAVE_EVERY", 2)
    monkeypatch.setattr(checkpoints, "MEASURE_EVERY", 2)
    monkeypatch.setattr(checkpoints, "SAMPLERS_KEPT", 1)
    measured = {2: (0.9, first), 4: (0.5, first), 6: (0.4, 0.94), 8: (0.3, 0.9), 10: (0.6, 0.5)}
    sampler = tf.keras.Sequential([tf.keras.Input([1]), tf.keras.layers.Dense(1)])
    found = iter(sorted(measured))

    def measure():
        return dict(zip(("distance", "originality"), measured[next(found)], strict=True)), ""

    Run(tmp_path).fit(10, measure=measure, sampler=sampler)
    assert restore(tmp_path, sampler, "best")[0] == best
    assert restore(tmp_path, sampler, "last")[0] == last


def test_weights_that_are_asked_for_by_their_step_are_kept_or_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "SAMPLERS_KEPT", 1)
    run = Run(tmp_path)
    measure = lambda: ({"distance": 9 - run.seen[-1] / 10}, "")  # noqa: E731
    for which, steps in (("9", 30), ("0", 30), ("32", 30)):
        with pytest.raises(
            InputError, match=f"--checkpoint={which}: weights are kept after each 4 steps and the last one, 30;"
        ):
            run.fit(steps, measure=measure, sampler=run.model, choice=which)
    assert not run.seen
    run.fit(30, measure=measure, sampler=run.model, choice="8")
    assert restore(tmp_path, run.model, "8")[0] == 8
    again = Run(tmp_path)
    for which in ("8", "30"):
        again.fit(30, sampler=again.model, choice=which)
    with pytest.raises(InputError, match="there are those of 8,.* 30; give one of those"):
        again.fit(40, sampler=again.model, choice="12")
    assert not again.seen


def test_a_run_that_went_on_chooses_as_one_that_was_as_long_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY", 2)
    monkeypatch.setattr(checkpoints, "MEASURE_EVERY", 2)
    monkeypatch.setattr(checkpoints, "SAMPLERS_KEPT", 1)
    distances = {2: 0.3, 4: 0.9, 5: 0.1, 6: 0.5, 8: 0.8, 9: 0.4}
    for lengths, best in (([5], 5), ([5, 9], 2), ([9], 2)):
        folder = tmp_path / "-".join(map(str, lengths))
        for steps in lengths:
            run = Run(folder)
            measure = lambda run=run: ({"distance": distances[run.seen[-1] + 1]}, "")  # noqa: E731
            run.fit(steps, measure=measure, sampler=run.model)
        assert restore(folder, run.model)[0] == best


@pytest.mark.parametrize("masks, best", [(1, 8), (2, 4)])
def test_distances_to_other_masks_do_not_count(tmp_path, masks, best):
    for steps, measured in ((4, {"distance": 0.3, "masks": masks}), (8, {"distance": 0.9, "masks": 2})):
        run = Run(tmp_path)
        run.fit(steps, measure=lambda measured=measured: (measured, ""), sampler=run.model)
    assert restore(tmp_path, run.model)[0] == best
    assert restore(tmp_path, run.model, "4")[0] == 4


def test_a_run_that_kept_no_weights_to_sample_with_says_so(tmp_path):
    run = Run(tmp_path)
    run.fit(4)
    for which in ("best", "last", "4"):
        with pytest.raises(InputError, match="no weights to make samples with were kept; --overwrite"):
            restore(tmp_path, run.model, which)


def test_weights_to_make_samples_with_are_kept_where_a_distance_was_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "MEASURE_EVERY", 1)
    run, found = Run(tmp_path), iter([{}, {"diversity": 1.0}, {"distance": 0.5}, {}])
    run.fit(4, measure=lambda: (next(found), ""), sampler=run.model)
    assert [path.name for path in (tmp_path / "samplers").glob("*.index")] == ["ckpt-3.index"]
    assert restore(tmp_path, run.model, "last")[0] == 3


def test_checkpoint_of_another_model(tmp_path):
    Run(tmp_path).fit(4)
    with pytest.raises(InputError, match="ckpt-4: not a checkpoint of this model, or damaged .*--overwrite"):
        Run(tmp_path, units=3).fit(6)
    with pytest.raises(InputError, match="ckpt-4: not a checkpoint of this model, or damaged"):
        Run(tmp_path, average=False).fit(6)
    last = Run(tmp_path)
    last.fit(6)
    assert last.seen == [4, 5]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "index", "missing"])
def test_damaged_checkpoint_is_said_and_never_silently_begun_again(tmp_path, damage):
    Run(tmp_path).fit(8)
    folder = tmp_path / "checkpoints"
    data, index = folder / "ckpt-8.data-00000-of-00001", folder / "ckpt-8.index"
    if damage == "truncated":
        data.write_bytes(data.read_bytes()[:-40])
    elif damage == "flipped":
        data.write_bytes(bytes(byte ^ 0xFF for byte in data.read_bytes()))
    elif damage == "index":
        index.write_bytes(b"not an index")
    else:
        data.unlink()
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    run = Run(tmp_path)
    with pytest.raises(InputError) as caught:
        run.fit(12)
    message = str(caught.value)
    assert (
        str(folder / "ckpt-8") in message and "damaged" in message and "--overwrite" in message and "\n" not in message
    )
    assert run.seen == []
    assert {path: path.read_bytes() for path in folder.iterdir()} == kept


@pytest.mark.parametrize("content", [None, b"", b"\x00garbage"])
def test_a_run_whose_list_of_checkpoints_is_lost_goes_on_from_the_newest(tmp_path, content):
    Run(tmp_path).fit(12)
    listed = tmp_path / "checkpoints" / "checkpoint"
    listed.unlink() if content is None else listed.write_bytes(content)
    again = Run(tmp_path)
    assert again.fit(12)["checkpoint"].endswith("ckpt-12") and again.seen == []
    again = Run(tmp_path)
    again.fit(16)
    assert again.seen == [12, 13, 14, 15] and "ckpt-16.index" in list_checkpoints(tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "index", "missing", "other model"])
def test_damaged_weights_to_sample_with_are_said(tmp_path, damage):
    run = Run(tmp_path)
    run.fit(4, measure=lambda: ({"distance": 1.0}, ""), sampler=run.model)
    data, index = (tmp_path / "samplers" / f"ckpt-4.{end}" for end in ("data-00000-of-00001", "index"))
    if damage == "truncated":
        data.write_bytes(data.read_bytes()[:-8])
    elif damage == "index":
        index.write_bytes(b"not an index")
    elif damage == "missing":
        data.unlink()
    other = Run(tmp_path, units=3 if damage == "other model" else 2)
    with pytest.raises(
        InputError, match=r"samplers/ckpt-4: not a .* or damaged \(.*--checkpoint, or --overwrite"
    ) as caught:
        restore(tmp_path, other.model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("what", ["checkpoints", "samplers"])
def test_full_disk_while_saving_is_one_line_and_the_last_checkpoint_stays(tmp_path, monkeypatch, what):
    run = Run(tmp_path)
    run.fit(4, measure=lambda: ({"distance": 1.0}, ""), sampler=run.model)
    monkeypatch.setattr(loop, "show_progress", lambda **options: tqdm(**options | {"disable": True}))  # writes a file
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = sorted((tmp_path / what).iterdir())
    run = Run(tmp_path)
    run.before = lambda index: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1])) if index == 7 else None
    options = {"measure": lambda: ({"distance": 1.0}, ""), "sampler": tf.keras.Sequential([tf.keras.layers.Dense(300)])}
    options["sampler"].build([None, 3])
    try:
        with pytest.raises(InputError) as caught:
            run.fit(12, **(options if what == "samplers" else {}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    message = str(caught.value)
    assert str(tmp_path / what) in message and "File too large" in message and "step 4 is kept" in message
    assert "\n" not in message and sorted((tmp_path / what).iterdir()) == before
    again = Run(tmp_path)
    again.fit(5)
    assert again.seen == [4]


def test_checkpoint_sha256_depends_on_all_values_and_not_on_how_often_they_were_saved(tmp_path):
    one, two = tf.Variable([1.0, 2.0]), tf.Variable(3)
    checkpoint = tf.train.Checkpoint(one=one, two=two)
    saved = [checkpoint.save(tmp_path / name) for name in ("a", "b")]
    first, second = map(checkpoints.hash_checkpoint, saved)
    assert first == second and len(first) == 64 and saved[0] != saved[1]
    others = []
    for variable, value in ((one, [1.0, 2.1]), (two, 4)):
        variable.assign(value)
        others.append(checkpoints.hash_checkpoint(checkpoint.write(str(tmp_path / "c"))))
    others.append(checkpoints.hash_checkpoint(tf.train.Checkpoint(two=one, one=two).write(str(tmp_path / "d"))))
    assert len({first, *others}) == 4
