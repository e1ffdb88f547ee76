"""A run's folder: one run at a time, changed settings are named, nobody else's files are touched."""

import errno
import fcntl
import json
import os
from pathlib import Path

import numpy as np
import pytest

from synthmed_tf import runs
from synthmed_tf.records.write import write_records
from synthmed_tf.sample import InputError, Sample

SETTINGS = {
    "seed": 1,
    "steps": 5,
    "data": "drive",
    "image_size": (64, 64),
    "out_dir": "a",
    "num_samples": 3,
    "given": {"seed"},
}


def claimed(folder, overwrite=False, **changes):
    with runs.claim(folder, SETTINGS | changes, overwrite):
        return json.loads((folder / "flags.json").read_text())


def test_the_settings_of_an_earlier_script(tmp_path):
    with pytest.raises(InputError, match="train_stage1.py"):
        runs.read(tmp_path)
    (tmp_path / "flags.json").write_text('{"data": "drive"}')
    assert runs.read(tmp_path) == {"data": "drive"}
    for content, says in (('{"data": "dri', "cannot be read.*--overwrite"), ("[1]", "holds no settings.*--overwrite")):
        (tmp_path / "flags.json").write_text(content)
        with pytest.raises(InputError, match=f"flags.json: {says}"):
            runs.read(tmp_path)


def test_claim_keeps_the_settings_and_lets_length_and_places_change(tmp_path):
    folder = tmp_path / "a" / "b"
    kept = {key: value for key, value in SETTINGS.items() if key != "given"} | {"image_size": [64, 64]}
    assert claimed(folder) == kept
    assert claimed(folder, dry_run=False, given={"steps"}) == kept
    assert claimed(folder, steps=9, num_samples=8, out_dir="b", data_dir="c")["steps"] == 9


def test_changed_settings_are_named_and_change_nothing(tmp_path):
    before = claimed(tmp_path)
    with pytest.raises(InputError) as caught:
        claimed(tmp_path, seed=2, image_size=(64, 80), steps=9, extra=True)
    message = str(caught.value)
    assert "seed was 1 and is now 2" in message and "image_size was [64, 64] and is now [64, 80]" in message
    assert "extra was None and is now True" in message and "--overwrite" in message
    assert "steps" not in message and "\n" not in message
    assert json.loads((tmp_path / "flags.json").read_text()) == before


def test_overwrite_clears_the_folder(tmp_path):
    claimed(tmp_path / "run")
    (tmp_path / "run" / "checkpoints").mkdir()
    (tmp_path / "run" / "checkpoints" / "ckpt-1.index").write_text("")
    (tmp_path / "run" / "metrics.jsonl").write_text("")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run" / "samplers").symlink_to(tmp_path / "elsewhere")
    assert claimed(tmp_path / "run", overwrite=True, seed=2)["seed"] == 2
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [".lock", "flags.json"]
    assert (tmp_path / "elsewhere").is_dir()


def test_an_overwrite_that_was_stopped_can_be_done_again(tmp_path, monkeypatch):
    claimed(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("")
    entries, unlink = sorted(tmp_path.iterdir()), Path.unlink

    def killed(path):
        if path.name == "metrics.jsonl":
            raise KeyboardInterrupt
        unlink(path)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "iterdir", lambda _: iter(entries))
        patch.setattr(Path, "unlink", killed)
        claimed(tmp_path, overwrite=True)
    assert claimed(tmp_path, overwrite=True, seed=2)["seed"] == 2


def test_a_claim_that_was_stopped_or_found_the_disk_full_can_be_made_again(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(InputError, match="flags.json: could not be written .No space left on device"):
            claimed(tmp_path)
    (tmp_path / "flags.json.4711.tmp").write_text("{")  # as a kill leaves it
    claimed(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "flags.json"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_somebody_elses_is_left_alone(tmp_path, overwrite):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="holds files that are not of a run of this program"):
        claimed(tmp_path, overwrite)
    assert (tmp_path / "thesis.tex").read_text() == "years of work" and not (tmp_path / "flags.json").exists()


@pytest.mark.parametrize("content", ['{"seed": 1', "", "\x00"])
def test_unreadable_settings(tmp_path, content):
    claimed(tmp_path)
    (tmp_path / "flags.json").write_text(content)
    with pytest.raises(InputError, match="flags.json: not readable.*--overwrite"):
        claimed(tmp_path)
    assert claimed(tmp_path, overwrite=True)["seed"] == 1


@pytest.mark.parametrize("name", ["run[1]", "run\\1"])
def test_a_folder_that_no_checkpoint_could_be_read_from_is_refused_before_anything_is_written(tmp_path, name):
    with pytest.raises(InputError, match=r"\[ or .* in its name"), runs.claim(tmp_path / name / "stage1", SETTINGS):
        pass
    assert not list(tmp_path.iterdir())


def test_one_run_at_a_time_in_a_folder(tmp_path):
    with runs.claim(tmp_path, SETTINGS):
        for overwrite in (False, True):
            with pytest.raises(InputError, match="another run is working here"):
                claimed(tmp_path, overwrite)
    with pytest.raises(RuntimeError), runs.claim(tmp_path, SETTINGS):
        raise RuntimeError("ended badly")
    claimed(tmp_path)


def test_what_claim_would_refuse_is_known_before_and_nothing_is_written(tmp_path):
    runs.check(tmp_path / "new", SETTINGS)
    assert not list(tmp_path.iterdir())
    claimed(tmp_path / "run")
    runs.check(tmp_path / "run", SETTINGS)
    runs.check(tmp_path / "run", SETTINGS | {"seed": 2}, overwrite=True)
    with pytest.raises(InputError, match="seed was 1 and is now 2"):
        runs.check(tmp_path / "run", SETTINGS | {"seed": 2})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(InputError, match="not of a run"):
        runs.check(tmp_path / "mine", SETTINGS)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_file_system_without_locks_is_told_of_and_used(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match="no locks on this file system; run one command at a time"):
        assert claimed(tmp_path)["seed"] == 1


def some_masks(count):
    return [Sample(f"synthetic-{i:06d}", mask=np.zeros([64, 64, 1], np.uint8), seed=3) for i in range(count)]


def test_is_current_asks_for_the_count_and_the_checkpoints(tmp_path):
    assert not runs.is_current(tmp_path / "set", 2, checkpoint_sha256="ab")
    write_records(
        tmp_path / "set", "set", some_masks(2), source="test", extra={"checkpoint_sha256": "ab", "stage1": {"steps": 5}}
    )
    assert runs.is_current(tmp_path / "set", 2, checkpoint_sha256="ab", stage1={"steps": 5})
    assert not runs.is_current(tmp_path / "set", 3, checkpoint_sha256="ab")
    assert not runs.is_current(tmp_path / "set", 2, checkpoint_sha256="cd")
    assert not runs.is_current(tmp_path / "set", 2, checkpoint_sha256="ab", stage1={"steps": 6})
    shard = next((tmp_path / "set").glob("*.tfrecord*"))
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + b"?")
    assert not runs.is_current(tmp_path / "set", 2, checkpoint_sha256="ab")
    shard.unlink()
    assert not runs.is_current(tmp_path / "set", 2, checkpoint_sha256="ab")
