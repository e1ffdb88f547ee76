"""Missing sets are told at once, and what is not asked for is not imported."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from raw_sets import PEOPLE, make_classes, make_idrid, make_nih, refused

from synthmed_tf.datasets.sources import check_set
from synthmed_tf.sample import InputError


def test_missing_sets_say_where_to_get_them(tmp_path):
    for data, site in (
        ("drive", "https://drive.grand-challenge.org"),
        ("chase_db1", "https://researchdata.kingston.ac.uk/96/"),
        ("bubil", "https://www.cs.bu.edu/~betke/BiomedicalImageSegmentation/"),
    ):
        with pytest.raises(InputError) as caught:
            check_set(data, tmp_path)
        assert (
            site in str(caught.value)
            and str(tmp_path / data) in str(caught.value)
            and "--data_dir" in str(caught.value)
        )
        (tmp_path / data).mkdir()
        with pytest.raises(InputError, match="https"):
            check_set(data, tmp_path)


def test_check_answers_quickly_and_without_heavy_imports(tmp_path):
    program = (
        "import sys, time\n"
        "from synthmed_tf.datasets.sources import check_set\n"
        "from synthmed_tf.sample import InputError\n"
        "start = time.perf_counter()\n"
        "for data in ('drive', 'chase_db1', 'bubil', 'phantom', 'nothing', sys.argv[1]):\n"
        "    try:\n"
        "        check_set(data, sys.argv[1])\n"
        "    except InputError:\n"
        "        pass\n"
        "heavy = [name for name in ('tensorflow', 'scipy', 'skimage') if name in sys.modules]\n"
        "print(time.perf_counter() - start, heavy)\n"
    )
    root = Path(__file__).resolve().parents[1]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], cwd=root, capture_output=True, text=True, check=True
    )
    seconds, heavy = done.stdout.split(" ", 1)
    assert heavy.strip() == "[]" and float(seconds) < 2
    assert time.perf_counter() - start < 5  # the interpreter and numpy; 0.3 s on an idle machine


def test_check_of_a_large_folder_is_quick(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for index in range(5000):
            (tmp_path / folder / f"{index}.png").touch()
    start = time.thread_time()
    check_set(str(tmp_path), "")
    assert time.thread_time() - start < 5  # a quarter of a second; minutes if it grew with the square


ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    "data, site, what",
    [("idrid", "https://ieee-dataport.org/", "B. Disease Grading.zip"), ("messidor", "adcis.net", "Base11.zip")],
)
def test_missing_photographs_say_where_to_get_them(tmp_path, data, site, what):
    refused([site, what, str(tmp_path / data), "--data_dir"], data, tmp_path)
    (tmp_path / data / "train").mkdir(parents=True)
    refused([site, what, str(tmp_path / data)], data, tmp_path)


def test_stage_1_says_at_once_that_there_are_no_masks(tmp_path):
    make_idrid(tmp_path / "data" / "idrid")
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, ROOT / "train_stage1.py", "--data=idrid"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("train_stage1: error: --data=idrid: its images have no masks")
    assert time.perf_counter() - start < 5 and not (tmp_path / "out").exists()  # nothing prepared


def test_check_wants_masks_only_where_asked(tmp_path):
    make_idrid(tmp_path / "idrid")
    check_set("idrid", tmp_path)
    with pytest.raises(InputError, match="no masks"):
        check_set("idrid", tmp_path, needs_masks=True)
    check_set("phantom", tmp_path, needs_masks=True)


ROOT = Path(__file__).resolve().parents[1]


def test_flag_errors_are_one_line_and_quick(tmp_path):
    make_classes(tmp_path / "own")
    command = [sys.executable, "train_stage1.py", "--target=image", f"--out_dir={tmp_path / 'out'}", "--dry_run"]
    for words, says in (
        (["--data=drive", "--labels=x_norm"], "drive has no choice of classes"),
        ([f"--data={tmp_path / 'own'}", "--labels=finding"], "found none for --labels=finding"),
        (["--data=nih", f"--data_dir={tmp_path}"], "NIH ChestX-ray14 is not there"),
    ):
        done = subprocess.run([*command, *words], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 1 and says in done.stderr and done.stderr.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_check_of_labelled_sets_imports_nothing_heavy(tmp_path):
    make_nih(tmp_path / "nih", PEOPLE * 2)
    program = (
        "import sys\nfrom synthmed_tf.datasets.sources import check_set\ncheck_set('nih', sys.argv[1])\n"
        "print([name for name in ('tensorflow', 'scipy', 'skimage', 'h5py') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
