"""`synthmed COMMAND` is COMMAND.py."""

import sys
from pathlib import Path

import pytest

from synthmed_tf import command

ROOT = Path(__file__).resolve().parents[1]


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["synthmed", *words])
    command.main()


def test_help_names_all_scripts(monkeypatch, capsys):
    for words in ((), ("--help",), ("-h",)):
        run(monkeypatch, *words)
        printed = capsys.readouterr().out
        assert all(path.stem in printed for path in ROOT.glob("*.py") if path.name != "setup.py")


@pytest.mark.parametrize("name", command.SCRIPTS)
def test_a_command_is_its_script(monkeypatch, capsys, name):
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, name, "--help")
    assert ended.value.code == 0 and f"{name}.py --" in capsys.readouterr().out


def test_another_word_is_one_line(monkeypatch, capsys):
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "stage1")
    assert ended.value.code == 1 and "train_stage1, train_stage2, evaluate" in capsys.readouterr().err


def test_scripts_are_found_where_a_wheel_puts_them(monkeypatch, tmp_path):
    (tmp_path / "synthmed_tf" / "scripts").mkdir(parents=True)
    (tmp_path / "synthmed_tf" / "scripts" / "evaluate.py").touch()
    monkeypatch.setattr(command, "__file__", str(tmp_path / "synthmed_tf" / "command.py"))
    assert command.find_script("evaluate") == tmp_path / "synthmed_tf" / "scripts" / "evaluate.py"
