import fcntl
import json

import numpy as np
import pytest

from synthmed_tf import runs
from synthmed_tf.records.write import write_records
from synthmed_tf.sample import InputError, Sample

SETTINGS = {"steps": 5, "seed": 0, "image_size": (64, 80), "data_dir": "data"}


def kept(folder):
    return json.loads((folder / "flags.json").read_text())


def claimed(folder, **changes):
    """Claims the folder for a run with these settings, which leaves a file there; returns its flags.json."""
    with runs.claim(folder, SETTINGS | changes):
        (folder / "weights").write_text("old")
    return kept(folder)


def test_the_settings_of_an_earlier_script(tmp_path):
    with pytest.raises(InputError, match="train_stage1.py"):
        runs.read(tmp_path)
    (tmp_path / "flags.json").write_text('{"data": "drive"}')
    assert runs.read(tmp_path) == {"data": "drive"}
    (tmp_path / "flags.json").write_text('{"data": "dri')
    with pytest.raises(InputError, match="flags.json: cannot be read.*--overwrite"):
        runs.read(tmp_path)
    (tmp_path / "flags.json").write_text("[1]")
    with pytest.raises(InputError, match="holds no settings.*--overwrite"):
        runs.read(tmp_path)


def test_a_claim_keeps_the_settings_but_not_how_it_was_called(tmp_path):
    more = {"given": {"seed"}, "overwrite": False, "dry_run": False}
    with runs.claim(tmp_path / "new" / "run", SETTINGS | more):
        assert kept(tmp_path / "new" / "run") == SETTINGS | {"image_size": [64, 80]}
    assert runs.read(tmp_path / "new" / "run")["seed"] == 0


def test_a_run_goes_on_with_the_same_settings_and_may_go_farther_or_move(tmp_path):
    claimed(tmp_path)
    changes = {"steps": 9, "num_samples": 3, "data_dir": "/elsewhere", "out_dir": "x", "checkpoint": "last"}
    assert claimed(tmp_path, **changes)["steps"] == 9 and kept(tmp_path)["data_dir"] == "/elsewhere"


def test_settings_that_decide_the_result_are_named_where_they_differ(tmp_path):
    claimed(tmp_path)
    with pytest.raises(InputError) as caught:
        claimed(tmp_path, seed=7, latent=100)
    for text in ("latent was None and is now 100", "seed was 0 and is now 7", "--out_dir", "--overwrite"):
        assert text in str(caught.value)
    assert kept(tmp_path) == SETTINGS | {"image_size": [64, 80]} and (tmp_path / "weights").exists()


def test_overwrite_throws_away_what_a_run_left(tmp_path):
    claimed(tmp_path)
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "1.png").write_text("")
    with runs.claim(tmp_path, SETTINGS | {"seed": 7}, overwrite=True):
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "flags.json"]
    assert kept(tmp_path)["seed"] == 7


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_of_somebody_else_are_left_alone(tmp_path, overwrite):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="files that are not of a run"):
        with runs.claim(tmp_path, SETTINGS, overwrite):
            raise AssertionError("claimed")
    assert (tmp_path / "thesis.tex").read_text() == "years of work" and not (tmp_path / "flags.json").exists()


def test_a_damaged_record_of_settings_is_said(tmp_path):
    claimed(tmp_path)
    (tmp_path / "flags.json").write_text('{"seed": ')
    with pytest.raises(InputError, match="not readable as JSON; --overwrite"):
        claimed(tmp_path)
    with runs.claim(tmp_path, SETTINGS, overwrite=True):
        pass
    assert kept(tmp_path)["seed"] == 0


def test_what_a_killed_claim_left_is_cleared(tmp_path):
    (tmp_path / "flags.json.123.tmp").write_text("{")
    claimed(tmp_path)
    assert not list(tmp_path.glob("*.tmp"))


def test_one_run_at_a_time(tmp_path):
    with runs.claim(tmp_path, SETTINGS):
        for overwrite in (False, True):
            with pytest.raises(InputError, match="another run is working here"):
                with runs.claim(tmp_path, SETTINGS, overwrite):
                    raise AssertionError("claimed twice")
    claimed(tmp_path)  # the first one has ended
    with open(tmp_path / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(InputError, match="another run is working here"):
            claimed(tmp_path)


@pytest.mark.parametrize("name", ["run[1]", "run\\1"])
def test_names_of_folders_that_tensorflow_takes_for_a_pattern(tmp_path, name):
    with pytest.raises(InputError, match="give another"):
        claimed(tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_set_is_current_while_its_number_and_its_weights_are_the_same(tmp_path):
    assert not runs.is_current(tmp_path / "set", 3)
    masks = [Sample(f"{index}", mask=np.full([4, 4, 1], index, np.uint8)) for index in range(2)]
    write_records(tmp_path / "set", "set", masks, source="test", extra={"checkpoint_sha256": "ab"})
    assert runs.is_current(tmp_path / "set", 2) and runs.is_current(tmp_path / "set", 2, checkpoint_sha256="ab")
    assert not runs.is_current(tmp_path / "set", 3) and not runs.is_current(tmp_path / "set", 2, checkpoint_sha256="c")
    assert not runs.is_current(tmp_path / "set", 2, refined_sha256="ab")
