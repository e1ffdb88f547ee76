"""Each script of benchmarks/ runs, on a few eyes of the built-in phantom in the place of DRIVE."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthmed_tf.datasets.load import load_samples
from synthmed_tf.datasets.phantoms import fundus
from synthmed_tf.datasets.prepare import crop_sample, prepare
from synthmed_tf.papers import segmenter
from synthmed_tf.records.atomic import write_json
from synthmed_tf.records.write import write_records
from synthmed_tf.sample import Sample

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a script with some of its constants changed, and returns what it prints."""
    monkeypatch.setattr(fundus, "COUNT", 12)
    monkeypatch.setattr(segmenter, "BATCH_SIZE", 2)

    def run(name, *words, **constants):
        spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
        script = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(script)
        script.prepare = lambda _, *args, **options: prepare("phantom", *args, **options)
        script.load_samples = lambda _, *args, **options: load_samples("phantom", *args, **options)
        for key, value in constants.items():
            assert hasattr(script, key)
            setattr(script, key, value)
        script.main(*map(str, words))
        return capsys.readouterr().out

    return run


def rows(printed):
    """The rows of a table in Markdown, without its first two: {name: cells}."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in printed.splitlines() if line[:1] == "|"]
    return {name: others for name, *others in cells[2:]}


def test_every_benchmark_is_tested():
    tested = {name.removeprefix("test_") for name in globals()}
    assert {path.stem for path in (ROOT / "benchmarks").glob("*.py")} <= tested


def test_kl_conventions(run, tmp_path):
    """Halves of photographs in two greys: the other half lies outside the field of view."""
    spec = importlib.util.spec_from_file_location("kl_conventions", ROOT / "benchmarks" / "kl_conventions.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    view = np.repeat(np.uint8([0, 1]), 8).reshape(2, 8, 1)

    def photographs(bright):  # pixels of 200 inside, the others are 203
        image = np.zeros([2, 8, 1], np.uint8)
        image[1] = np.where(np.arange(8) < bright, 200, 203)[:, None]
        return [Sample("a", image, field_of_view=view)]

    found = {row[:3]: row[3:] for row in script.rows(photographs(2), photographs(4), photographs(8))}
    assert len(found) == 2 * 3 * 3
    inside = found["field of view", 256, "nothing"]
    expected = [np.log(2) / 2 + np.log(2 / 3) / 2, np.log(1 / 2) / 4 + 3 * np.log(3 / 2) / 4, np.inf, np.log(2)]
    assert inside == pytest.approx(expected)
    whole = found["frame", 256, "nothing"]
    assert whole == pytest.approx([value / 2 for value in expected])  # the other half is black in all
    added = found["field of view", 256, "1"]
    p, q, rest = np.array([5, 5]) / 264, np.array([3, 7]) / 264, 254 / 264
    assert added[0] == pytest.approx(np.sum(p * np.log(p / q))) and p.sum() + rest == 1
    share = found["field of view", 256, "1e-06 of all"]
    assert share[:2] == pytest.approx(expected[:2], rel=1e-3) and np.log(1e6) / 2 - 1 < share[2] < np.log(1e6) / 2
    for bins in (64, 32):  # 200 and 203 are in one of them
        assert [*found["field of view", bins, "nothing"]] == [0, 0, 0, 0]

    eyes = (crop_sample(fundus.draw_fundus(index), (64, 64)) for index in range(6))
    write_records(tmp_path / "synthetic", "synthetic", eyes, source="test")
    printed = run("kl_conventions", tmp_path / "synthetic", tmp_path)
    assert printed.count("\n| frame | ") == printed.count("\n| field of view | ") == 9 and "4.759" in printed


def test_unet_on_drive(run, tmp_path):
    printed = run("unet_on_drive", tmp_path, tmp_path, 1)
    assert json.loads(printed) == json.loads((tmp_path / "result.json").read_text())


@pytest.mark.parametrize("what", ["table", "curves"])
def test_p2_tables(tmp_path, monkeypatch, capsys, what):
    """Bright and dark images, told apart by whoever learned from images of the class that they are said to be of."""
    spec = importlib.util.spec_from_file_location("p2_tables", ROOT / "benchmarks" / "p2_tables.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(script, "SHARES", (0.5, 1.0))
    random, levels = np.random.default_rng(0), {"bright": 3, "dark": 250}  # of grain
    images = {
        name: [random.integers(0, level, [64, 64], np.uint8) for _ in range(14)] for name, level in levels.items()
    }
    for name, pixels in images.items():
        (tmp_path / "tiles" / name).mkdir(parents=True)
        for index, picture in enumerate(pixels):
            Image.fromarray(picture).save(tmp_path / "tiles" / name / f"{name}{index}.png")
    samples = [
        Sample(f"{name}{index}", picture[::-1, :, None], label=name)
        for name, pixels in images.items()
        for index, picture in enumerate(pixels)
    ]
    for out in (tmp_path / "dcgan", tmp_path / "pggan"):
        write_records(out / "synthetic", "set", samples, source="test", class_names=["bright", "dark"])
        (out / "stage1").mkdir()
        flags = {"data": str(tmp_path / "tiles"), "data_dir": str(tmp_path), "image_size": [64, 64]}
        write_json(out / "stage1" / "flags.json", flags)
    sets = [f"{name}={tmp_path / name}" for name in ("dcgan", "pggan")]
    script.main(str(tmp_path / "results"), what, *sets, "--models=knn", "--repeats=1")
    printed = capsys.readouterr().out
    assert (tmp_path / "results" / f"{what}.json").exists()
    if what == "table":
        assert [*rows(printed)] == ["class"] and "| class | knn | 1.000 [1.000, 1.000] | 0.0% [0.0%, 0.0%] |" in printed
    else:
        lines = [line for line in printed.splitlines() if line.startswith("| class | knn |")]
        learned = [line.split(" | ")[2] for line in lines]
        assert learned == ["real", "real and as many synthetic"] * 2 + ["synthetic"] * 3
        assert (tmp_path / "results" / "curves.png").stat().st_size > 1000


def test_same_bytes(tmp_path, monkeypatch):
    """A digest changes with a pixel, a label or a number of the report, and not with what a run took or was called."""
    spec = importlib.util.spec_from_file_location("same_bytes", ROOT / "benchmarks" / "same_bytes.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    def digests(value=3, label="a", mean=0.5, seconds=1.0):
        out = tmp_path / "out"
        sample = Sample("a", np.full([4, 4, 1], value, np.uint8), label=label)
        write_records(out / "synthetic", "set", [sample], source="test")
        write_json(out / "report" / "report.json", {"fidelity": {"kid": {"mean": mean}, "seconds": seconds}})
        commands = ("train_stage1.py", "--target=image"), ("evaluate.py",)
        return [digest for command in commands for _, digest in script.digests_of(out, command)]

    (tmp_path / "out" / "report").mkdir(parents=True)
    pixels, numbers = digests()
    assert digests(seconds=2.0) == [pixels, numbers]
    for other in ({"value": 4}, {"label": "b"}):
        assert digests(**other)[0] != pixels and digests(**other)[1] == numbers
    assert digests(mean=0.6)[1] != numbers

    monkeypatch.setattr(script, "RUNS", {"one": (("train_stage1.py", "--no_such_flag"),)})
    with pytest.raises(SystemExit, match="no_such_flag"):
        script.main("--only=one")
