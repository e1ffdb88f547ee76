"""Folders and files are whole or not there, whatever fails."""

import errno
import json
import os
import socket
import subprocess
import sys

import pytest
from made_records import content, make_samples

import synthmed_tf
from synthmed_tf.records import write
from synthmed_tf.records.atomic import write_json
from synthmed_tf.records.read import Records
from synthmed_tf.records.write import write_records
from synthmed_tf.sample import InputError


@pytest.fixture
def folder(tmp_path):
    """A data set of 10 pairs in several shards."""
    write_records(tmp_path / "set", "noise", make_samples(), source="made", shard_bytes=8000)
    return tmp_path / "set"


def test_full_disk_while_writing(tmp_path, folder, monkeypatch):
    import tensorflow as tf

    class FullAfterThree(tf.io.TFRecordWriter):
        written = 0

        def write(self, record):
            FullAfterThree.written += 1
            if FullAfterThree.written > 3:
                raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")
            super().write(record)

    monkeypatch.setattr(tf.io, "TFRecordWriter", FullAfterThree)
    leaves_the_old(tmp_path, folder, "No space left on device")


@pytest.mark.parametrize("function", ["fsync", "rename"])
def test_full_disk_at_the_end(tmp_path, folder, monkeypatch, function):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, function, full)
    leaves_the_old(tmp_path, folder, "No space left on device")


def test_failed_swap_puts_the_old_folder_back(tmp_path, folder, monkeypatch):
    rename = os.rename

    def full(source, target):
        if target.name in ("set", "new") and ".new-" in source.name:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rename(source, target)

    monkeypatch.setattr(os, "rename", full)
    leaves_the_old(tmp_path, folder, "Input/output error")


def test_full_disk_when_the_manifest_is_written(tmp_path, folder, monkeypatch):
    def full(path, text):
        if path.name == "manifest.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        path.write_text(text)

    monkeypatch.setattr(write, "write_text", full)
    leaves_the_old(tmp_path, folder, "No space left on device")


def leaves_the_old(tmp_path, folder, reason):
    before = content(folder)
    for target in (folder, tmp_path / "new"):
        with pytest.raises(InputError) as error:
            write_records(target, "noise", make_samples(start=50), source="made", shard_bytes=8000)
        message = str(error.value)
        assert reason in message and str(target) in message and "--out_dir" in message and "\n" not in message
    assert content(folder) == before
    assert os.listdir(tmp_path) == ["set"]
    assert len(Records(folder)) == 10


def test_the_operating_system_refuses_more_bytes(tmp_path):
    """RLIMIT_FSIZE makes the operating system itself refuse the bytes, in a process of its own."""
    program = (
        "import resource, signal, sys\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "from made_records import make_samples\n"
        "from synthmed_tf import sample\n"
        "from synthmed_tf.records.write import write_records\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "try:\n"
        "    write_records(sys.argv[1], 'noise', make_samples(40, size=(64, 64)), source='made')\n"
        "except sample.InputError as error:\n"
        "    print(error)\n"
    )
    root = os.path.dirname(os.path.dirname(os.path.abspath(synthmed_tf.__file__)))
    answer = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "set", os.path.dirname(__file__)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert "could not be written" in answer.stdout, answer.stderr
    assert os.listdir(tmp_path) == []


def test_interrupted_writer_leaves_nothing(tmp_path, folder):
    def interrupted():
        yield from make_samples(4)
        raise KeyboardInterrupt

    before = content(folder)
    with pytest.raises(KeyboardInterrupt):
        write_records(folder, "noise", interrupted(), source="made")
    assert content(folder) == before and os.listdir(tmp_path) == ["set"]


def test_killed_writers_are_cleared_away(tmp_path, folder):
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()  # its number is free now
    host = socket.gethostname()
    half = tmp_path / f".set.new-{host}-{process.pid}"
    half.mkdir()
    (half / "noise-train.tfrecord-00000").write_bytes(b"half")
    alive = tmp_path / f".set.new-{host}-{os.getppid()}"
    alive.mkdir()
    folder.rename(tmp_path / f".set.old-{host}-{process.pid}")  # killed between the two renames
    with pytest.raises(InputError):
        write_records(folder, "noise", [], source="made")
    assert sorted(os.listdir(tmp_path)) == sorted(["set", alive.name])
    assert len(Records(folder)) == 10


def test_strangers_files_are_not_overwritten(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    for target in (tmp_path / "mine", tmp_path / "mine" / "thesis.tex"):
        with pytest.raises(InputError, match="--out_dir"):
            write_records(target, "noise", make_samples(), source="made")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"


def test_json_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_json(path, {"b": [1, 2], "a": "ü"})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": "ü", "b": [1, 2]}

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match="a.json: could not be written .No space left on device"):
        write_json(path, {"a": "new"})
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": "ü", "b": [1, 2]}
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
