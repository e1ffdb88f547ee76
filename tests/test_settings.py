import dataclasses
import errno
import functools
import importlib
import json
import os
import resource
import subprocess
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
import script_runs

from synthmed_tf import settings
from synthmed_tf.datasets.sources import locate_set
from synthmed_tf.records.write import write_records
from synthmed_tf.sample import InputError, Sample
from synthmed_tf.settings import Flag

SCRIPTS = ("train_stage1", "train_stage2", "evaluate")
SHARED = {"data", "data_dir", "out_dir", "seed", "precision", "overwrite", "dry_run"}
# The numbers of passes that pix2pix and vess2ret took are no flag: --steps says how long a training is
NO_FLAG = {"epochs"}


@functools.cache
def groups_of(script):
    return script_runs.load(script).FLAGS


def parse(*words, script="train_stage1"):
    return settings.parse("A script.", groups_of(script), [f"{script}.py", *words])


def refusal(*words, script="train_stage1"):
    """The message of the InputError that a command line ends in."""
    with pytest.raises(InputError) as caught:
        parse(*words, script=script)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@dataclasses.dataclass(frozen=True)
class Method:
    latent: int = settings.setting(100, "length of z")
    rate_decay: int = settings.setting(2000, "steps in which the learning rate is halved")


# ---------------------------------------------------------------- parse


@pytest.mark.parametrize("script", SCRIPTS)
def test_defaults_are_what_the_three_lines_of_the_readme_need(script):
    flags = parse(script=script)
    assert vars(flags).keys() >= SHARED
    assert (flags.data_dir, flags.out_dir, flags.seed) == ("data", "out", 0)
    assert flags.data == ("drive" if script == "train_stage1" else None)
    assert flags.given == set() and not hasattr(flags, "help")


def test_given_flags_are_known_by_name_whatever_their_value():
    flags = parse("--seed=0", "--num_samples", "7", "--dry_run", "--nooverwrite")
    assert flags.given == {"seed", "num_samples", "dry_run", "overwrite"}
    assert flags.num_samples == 7 and flags.dry_run is True and flags.overwrite is False
    assert parse("--benchmarks=copies,distribution", script="evaluate").benchmarks == ["copies", "distribution"]
    assert parse("--width=0.5").width == 0.5 and parse("--image_size=64x80").image_size == (64, 80)


def test_a_set_is_the_same_however_its_folder_is_spelt(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "eyes").mkdir()
    (tmp_path / "link").symlink_to("eyes")
    words = "./eyes", "../" + tmp_path.name + "/eyes", tmp_path / "eyes/", "eyes", "eyes/", "~/eyes", "link", "./link/."
    assert {locate_set(parse(f"--data={word}").data) for word in words} == {os.path.realpath(tmp_path / "eyes")}
    monkeypatch.chdir(tmp_path / "eyes")
    assert locate_set(".") == locate_set(str(tmp_path / "eyes"))
    (tmp_path / "eyes" / "drive").mkdir()
    assert locate_set("drive") == "drive" and locate_set("eyes") == "eyes"  # the name of a set; nothing there
    flags = parse("--data_dir=~/data", "--out_dir=~/out")
    assert (flags.data_dir, flags.out_dir) == (str(tmp_path / "data"), str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("script", "words", "says"),
    [
        ("train_stage1", ["--setps=3"], ["setps", "steps"]),
        ("train_stage2", ["--image_size=64"], ["image_size"]),  # stage 2 takes it from stage 1
        ("train_stage1", ["--steps=many"], ["steps", "many"]),
        ("train_stage1", ["--steps=0"], ["steps", "0"]),
        ("train_stage1", ["--epochs=3"], ["epochs"]),
        ("train_stage1", ["--batch_size=-1"], ["batch_size", "-1"]),
        ("train_stage1", ["--learning_rate=-1"], ["learning_rate", "-1"]),
        ("train_stage1", ["--learning_rate=nan"], ["learning_rate", "finite"]),
        ("train_stage1", ["--width=0"], ["width", "0.01, 4"]),
        ("train_stage1", ["--image_size="], ["--image_size=", "leave the flag out"]),
        ("train_stage1", ["--checkpoint="], ["--checkpoint=", "leave the flag out"]),
        ("evaluate", ["--benchmarks="], ["--benchmarks=", "leave the flag out"]),
        ("evaluate", ["--baseline_dir="], ["--baseline_dir=", "leave the flag out"]),
        ("evaluate", ["--unet_levels=7"], ["unet_levels"]),
        ("train_stage1", ["--average=1"], ["average"]),
        ("train_stage2", ["--l1=inf"], ["l1", "finite"]),
        ("train_stage1", ["--steps"], ["steps"]),
        ("train_stage1", ["--seed=2147483648"], ["seed"]),
        ("train_stage1", ["--holdout=-1"], ["holdout"]),
        ("train_stage2", ["--chest_xrays"], ["chest_xrays"]),  # that too
        ("train_stage1", ["--preset=pix2pix"], ["preset", "small_data", "paper"]),
        ("train_stage2", ["--preset=paper"], ["preset", "vess2ret", "pix2pix"]),
        ("train_stage1", ["--precision=float16"], ["precision", "mixed_bfloat16"]),
        ("train_stage1", ["--dry_run=perhaps"], ["dry_run", "perhaps"]),
        ("train_stage1", ["--noseed"], ["noseed"]),
        ("train_stage1", ["drive"], ["drive", "--data=drive"]),
        ("train_stage1", ["--image_size=100"], ["--image_size=100", "multiples of 16"]),
        ("train_stage1", ["--image_size=48000"], ["--image_size=48000", "4096"]),
        ("train_stage1", ["--checkpoint=newest"], ["--checkpoint=newest", "best, last or a number"]),
        ("evaluate", ["--checkpoint=best"], ["checkpoint"]),
        ("evaluate", ["--repeats=0"], ["repeats"]),
    ],
)
def test_a_wrong_command_line_is_one_line_that_names_the_flag(script, words, says):
    message = refusal(*words, script=script)
    for word in says:
        assert word in message


def test_whose_weights_make_samples_can_be_chosen():
    assert parse().checkpoint == "best" and parse("--checkpoint=500").checkpoint == "500"
    assert parse(script="train_stage2").checkpoint is None  # which the method decides
    assert not hasattr(parse(script="evaluate"), "checkpoint")


@pytest.mark.parametrize(
    ("text", "size"),
    [("64", (64, 64)), ("96x128", (96, 128)), ("512", (512, 512)), (128, (128, 128)), ("80x64", (80, 64))],
)
def test_image_sizes(text, size):
    assert settings.parse_image_size(text) == size


@pytest.mark.parametrize(
    "text", ["48", "64x48", "100", "128x", "x64", "64X64", "64.0", "-64", "", "64x64x3", "1000000", " 64"]
)
def test_impossible_image_sizes(text):
    with pytest.raises(InputError, match="--image_size="):
        settings.parse_image_size(text)


def test_age_groups():
    assert settings.parse_years("young", "18-38") == (18, 38) and settings.parse_years("mature", "50-50") == (50, 50)
    for text in ("", "18", "38-18", "18-38-48", "a-b", "1000-1001"):
        with pytest.raises(InputError, match="--young=.*18-38"):
            settings.parse_years("young", text)


# ---------------------------------------------------------------- help


@pytest.mark.parametrize("word", ["--help", "-h", "--helpfull"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_help_goes_to_stdout_and_succeeds(script, word, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(word, script=script)
    assert caught.value.code == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("A script.") and "--out_dir=TEXT" in printed.out and printed.err == ""
    assert ("--precision" in printed.out) == (word == "--helpfull")
    assert ("--helpfull shows all flags" in printed.out) == (word != "--helpfull")


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_shows_the_ten_flags_that_people_use_and_helpfull_shows_all(script):
    groups = groups_of(script)
    names = [flag.name for flags in groups.values() for flag in flags]
    short, full = (settings.format_help("A script.", groups, is_full) for is_full in (False, True))
    shown = {
        text: [name for name in names if f"--{name}=" in text or f"--[no]{name}\n" in text] for text in (short, full)
    }
    assert 8 <= len(shown[short]) <= 12 and shown[full] == names and len(set(names)) == len(names)
    assert max(map(len, full.splitlines())) <= 120 and len(short.splitlines()) < 60
    assert all(len(flag.help) > 5 for flags in groups.values() for flag in flags)


def test_a_flag_is_shown_with_its_kind_its_words_and_its_default():
    flags = (
        Flag("steps", int, 7, "training steps", True),
        Flag("target", ("mask", "image"), "mask", "what is made", True),
        Flag("models", list, ["knn", "svm"], "classifiers", True),
        Flag("dry_run", bool, False, "write nothing", True),
        Flag("width", float, None, "share of the channels"),
    )
    lines = settings.format_help("A script.", {"Run": flags[:4], "Rare": flags[4:]}, False).splitlines()
    assert lines[:4] == ["A script.", "", "Run:", "  --steps=N"] and lines[4].strip() == "training steps [7]"
    assert lines[5:7] == ["  --target={mask|image}", "      what is made [mask]"]
    assert lines[7:9] == ["  --models=A,B,...", "      classifiers [knn,svm]"]
    assert lines[9:11] == ["  --[no]dry_run", "      write nothing"] and "Rare:" not in lines
    assert "  --width=X\n      share of the channels" in settings.format_help("", {"Rare": flags[4:]}, True)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_a_wrong_flag_and_a_missing_set_are_answered_before_tensorflow_is_imported(tmp_path, script):
    """Within two seconds, of the processor's time as others may be at work."""
    (tmp_path / "here").mkdir()
    missing = ["--data=drive", f"--data_dir={tmp_path / 'here'}", f"--out_dir={tmp_path / 'out'}"]
    if script == "train_stage2":
        (tmp_path / "out" / "stage1").mkdir(parents=True)
        (tmp_path / "out" / "stage1" / "flags.json").write_text('{"target": "mask", "data": "drive", "data_dir": "x"}')
    if script == "evaluate":
        image = np.zeros([64, 64, 3], np.uint8)
        write_records(tmp_path / "set", "set", [Sample("a", image)], source="test")
        missing.append(f"--synthetic_dir={tmp_path / 'set'}")
    program = (
        "import runpy, sys\n"
        "sys.argv = sys.argv[1:]\n"
        "try:\n"
        "    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "finally:\n"
        "    assert 'tensorflow' not in sys.modules\n"
    )
    before = script_runs.contents(tmp_path)
    for words, status, says in (
        (["--help"], 0, "--data_dir"),
        (["--nonsense=1"], 1, "nonsense"),
        (missing, 1, "https://drive.grand-challenge.org"),
    ):
        command = [sys.executable, "-c", program, script_runs.ROOT / f"{script}.py", *words]
        began = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path / "here")
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == status and says in (done.stderr if status else done.stdout), done.stderr
        assert done.stderr.count("\n") == status and "Traceback" not in done.stderr
        assert ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime < 2, words
    assert script_runs.contents(tmp_path) == before


# ---------------------------------------------------------------- settings of the methods


def methods():
    """(script, settings dataclass) of every method."""
    rooms = {"papers": "dcgan pggan pix2pix vess2ret", "smalldata": "dcgan flow painter pggan"}
    for room, names in rooms.items():
        for name in names.split():
            module = importlib.import_module(f"synthmed_tf.{room}.{name}")
            script = "train_stage2" if name in ("pix2pix", "vess2ret", "painter") else "train_stage1"
            for value in vars(module).values():
                if dataclasses.is_dataclass(value) and value.__name__.endswith("Settings"):
                    yield script, value


def test_every_setting_of_every_method_has_a_flag_and_a_meaning():
    seen = {script: set() for script in SCRIPTS[:2]}
    for script, method in methods():
        flags = {flag.name: flag for flag in groups_of(script)["Settings"]}
        for field in dataclasses.fields(method):
            seen[script].add(field.name)
            assert len(field.metadata["help"]) > 5
            if field.name not in NO_FLAG:
                assert flags[field.name].default is None, (method, field.name)
                assert flags[field.name].kind is {"int": int, "float": float}.get(field.type, field.type)
    assert len([*methods()]) == 9
    for script, names in seen.items():  # and no flag is of no method
        assert {flag.name for flag in groups_of(script)["Settings"]} == names - NO_FLAG
        assert script_runs.load(script).METHOD == [flag.name for flag in groups_of(script)["Settings"]]


def test_flags_override_settings_of_the_same_name():
    names = ["latent", "rate_decay", "r1"]
    flags = types.SimpleNamespace(latent=7, rate_decay=None, r1=None)
    assert settings.override(Method(), flags, names) == Method(latent=7)
    flags = types.SimpleNamespace(latent=None, rate_decay=0, r1=None)
    assert settings.override(Method(), flags, names) == Method(rate_decay=0)  # given, though it is 0
    assert settings.override(Method(), flags, ["latent"]) == Method()


def test_a_setting_that_the_method_does_not_have_is_refused():
    flags = types.SimpleNamespace(latent=7, rate_decay=None, r1=0.0)
    with pytest.raises(InputError, match="--r1: this network has no such setting; it has latent, rate_decay; leave"):
        settings.override(Method(), flags, ["latent", "rate_decay", "r1"])


def test_settings_are_described_with_their_meaning(capsys):
    rows = settings.describe(Method(latent=7))
    assert rows[0] == ("latent", "7: length of z") and [name for name, _ in rows] == ["latent", "rate_decay"]
    settings.print_plan(training=rows, run=[("seed", 3)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "training:" and lines[1].split(maxsplit=1) == ["latent", "7: length of z"]
    assert lines[3] == "run:" and lines[4].split() == ["seed", "3"]


# ---------------------------------------------------------------- what is kept, and what may leave the house


def test_manifests_hold_no_path():
    words = ["--data=/secret/clinic/eyes", "--data_dir=/secret/data", "--out_dir=/secret/out", "--image_size=64x80"]
    flags = parse(*words, "--rate_decay=9")
    recorded = settings.record(flags, Method(rate_decay=9), prepared="eyes-64x80-secret")
    assert recorded["out_dir"] == "/secret/out" and recorded["prepared"] == "eyes-64x80-secret"
    assert recorded["latent"] == 100  # the method's own, which the flag leaves open
    kept = settings.keep_shareable(recorded)
    assert "secret" not in json.dumps(kept) and "clinic" not in json.dumps(kept)
    assert (kept["data"], kept["latent"], kept["rate_decay"]) == ("eyes", 100, 9)
    command = settings.format_command("train_stage1", flags)
    assert command.startswith("train_stage1.py ") and "secret" not in command
    assert set(command.split()[1:]) == {"--data=eyes", "--image_size=64x80", "--rate_decay=9"}
    words = ["--synthetic_dir=/secret/out", "--report_dir=/secret/report", "--repeats=1", "--data=drive"]
    report = parse(*words, "--models=knn,svm", script="evaluate")
    assert settings.format_command("evaluate", report).split() == [
        "evaluate.py", "--data=drive", "--repeats=1", "--models=knn,svm",
    ]  # fmt: skip


def test_labels_of_the_command_line_reach_the_manifest_as_they_are():
    flags = parse("--data=nih", "--labels=18-38,48-68")
    assert flags.labels == "18-38,48-68" and parse().labels is None
    assert settings.keep_shareable(settings.record(flags, Method()))["labels"] == "18-38,48-68"
    assert settings.format_command("train_stage1", flags).endswith("--labels=18-38,48-68")


def test_every_flag_that_holds_a_place_is_private():
    for script in SCRIPTS:
        names = {flag.name for flags in groups_of(script).values() for flag in flags}
        places = {name for name in names if name.endswith(("_dir", "_weights"))}
        assert places and places <= settings.PRIVATE


# ---------------------------------------------------------------- run


def ended(monkeypatch, capsys, error, *words):
    """(exit status, stderr) of a script whose body raises `error`."""

    def main(flags):
        raise error

    monkeypatch.setattr(sys, "argv", ["train_stage1.py", *words])
    with pytest.raises(SystemExit) as caught:
        settings.run("train_stage1", "Doc.", groups_of("train_stage1"), main)
    return caught.value.code, capsys.readouterr().err


def test_bad_input_is_one_line_and_status_1(monkeypatch, capsys):
    says = "train_stage1: error: a.png: is no image\n"
    assert ended(monkeypatch, capsys, InputError("a.png: is no image")) == (1, says)
    status, line = ended(monkeypatch, capsys, None, "--nonsense")
    assert status == 1 and line.startswith("train_stage1: error: ") and line.count("\n") == 1


def test_what_the_operating_system_refuses_is_one_line(monkeypatch, capsys):
    error = PermissionError(errno.EACCES, "Permission denied", "/root/out")
    assert ended(monkeypatch, capsys, error) == (1, "train_stage1: error: /root/out: Permission denied\n")
    status, line = ended(monkeypatch, capsys, OSError(errno.ENOSPC, "No space left on device"))
    assert status == 1 and str(Path.cwd()) in line and "No space left" in line


def test_ctrl_c_outside_of_a_training_is_one_line_and_status_130(monkeypatch, capsys):
    status, line = ended(monkeypatch, capsys, KeyboardInterrupt())
    assert status == 130 and line.startswith("train_stage1: ") and line.count("\n") == 1


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch):
    def main(flags):
        raise ValueError("a bug")

    monkeypatch.setattr(sys, "argv", ["train_stage1.py"])
    with pytest.raises(ValueError, match="a bug"):
        settings.run("train_stage1", "Doc.", groups_of("train_stage1"), main)


def test_main_is_handed_what_was_parsed(monkeypatch):
    handed = []
    monkeypatch.setattr(sys, "argv", ["train_stage2.py", "--num_samples=4"])
    settings.run("train_stage2", "Doc.", groups_of("train_stage2"), handed.append)
    assert handed[0].num_samples == 4 and handed[0].given == {"num_samples"}


def test_a_warning_is_printed_once(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train_stage1.py"])
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # which run replaces
    settings.run("train_stage1", "A script.", groups_of("train_stage1"), lambda flags: None)
    lines = [warnings.formatwarning(text, UserWarning, "file", 1) for text in ("a", "b", "a")]
    assert lines == ["train_stage1: warning: a\n", "train_stage1: warning: b\n", ""]
