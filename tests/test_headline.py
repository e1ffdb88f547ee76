import copy

import pytest
from made_reports import HOSTILE, make_classification, make_segmentation, set_of_numbers

from synthmed_tf.reporting import headline as reporting

ALL = (
    "segmentation",
    "classification",
    "distribution",
    "fidelity",
    "morphology",
    "copies",
    "privacy",
    "lungs",
    "baseline",
)


def make_audit(near=2, most=3, **more):
    return {
        "near_copies": near,
        "by_chance_at_most": most,
        "caught": {"shifted": 1.0},
        "protocol": {"synthetic": 12},
        "membership": {"mean": 0.5, "interval": [0.3, 0.7]},
        "near_copy_list": [{"synthetic_id": f"s{index}"} for index in range(near)],
    } | more


def make_whole_report():
    report = set_of_numbers(0.6)
    report["copies"] |= {"likeness": make_audit(), "halves": make_audit(1)}
    report["fidelity"]["masks"] = report["fidelity"]["photographs"]
    real = {"name": "drive", "image_size": [64, 64], "counts": {"train": 8, "test": 5}}
    return report | {
        "real": real,
        "synthetic": {"counts": {"train": 12}},
        "real_images_shown": True,
        "segmentation": make_segmentation((64, 64)),
        "classification": make_classification(("normal", "tumour"), 2),
        "privacy": {"structure": make_audit(), "shading": make_audit(0), "protocol": {"synthetic": 12}},
        "lungs": {"synthetic": 0.12, "held_out": 0.05},
        "baseline": {"synthetic": None} | set_of_numbers(0.4),
    }


def show(report):
    lines = reporting.headline(report, "out/report/report.html").splitlines()
    assert len(lines) <= 15 and max(map(len, lines)) <= 100
    assert lines[-1].startswith("Report") and lines[-1].endswith(": out/report/report.html")
    return lines


def test_each_benchmark_that_ran_has_a_line_with_its_number_beside_the_floor():
    lines = show(make_whole_report())
    assert lines[0] == "drive: 12 synthetic beside 8 real images of 64 x 64 pixels; held out: 5"
    assert [line.split()[0] for line in lines[1:-1]] == [*ALL] and "\n".join(lines).isascii()
    by_name = {line.split()[0]: line for line in lines}
    assert "F1 0.772 +/- 0.002 (after real pairs 0.802 +/- 0.002)" in by_name["segmentation"]
    assert "ratio 0.963 [0.900, 1.010]" in by_name["segmentation"]
    assert "accuracy 0.700 (real 0.800): lost 12.5 %" in by_name["classification"]
    assert "most of 2 (VGG16, class)" in by_name["classification"]
    assert "0.6 +/- 0.01 (real halves 0.5)" in by_name["distribution"]
    assert "precision 0.60 (real 0.50), coverage 0.60 (0.50); masks 0.60 (0.50)" in by_name["fidelity"]
    assert "1 of 1 measures" in by_name["morphology"]
    assert "2 of 12 masks (chance: up to 3), 1 of 12 halves (3)" in by_name["copies"]
    assert "2 of 12 by structure (chance: up to 3), 0 by shading (3)" in by_name["privacy"]
    assert "12.0 % of the X-rays" in by_name["lungs"] and "real 5.0 %" in by_name["lungs"]
    assert "better on 6 of 9 shared numbers, equal on 0, worse on 3" in by_name["baseline"]
    assert "private" in lines[-1]


@pytest.mark.parametrize("missing", ALL)
def test_a_benchmark_that_did_not_run_has_no_line(missing):
    report = make_whole_report()
    del report[missing]
    assert [line.split()[0] for line in show(report)[1:-1]] == [name for name in ALL if name != missing]
    assert "private" not in show(report | {"real_images_shown": False})[-1]


def test_what_could_not_be_measured_is_told_once_with_its_reason():
    report = make_whole_report()
    report |= {
        name: {"unavailable": "No masks; give --holdout=5."} for name in ("segmentation", "morphology", "copies")
    }
    shown = " ".join(show(report))
    assert shown.count("No masks; give --holdout=5.") == 1 and "no segmentation, morphology, copies." in shown
    assert "KL of grey levels" in shown


def test_near_copies_beyond_chance_and_a_blind_audit_are_warned_of():
    report = make_whole_report()
    assert reporting.list_warnings(report) == []
    worse = copy.deepcopy(report)
    worse["privacy"]["shading"] = make_audit(4)
    (warning,) = reporting.list_warnings(worse)
    assert "training images" in warning and "Leave out the 4" in warning and "privacy.shading.near_copy_list" in warning
    assert " ".join(warning.split()) in " ".join(" ".join(show(worse)).split())
    worse = copy.deepcopy(report)
    worse["copies"]["halves"] = make_audit(5)
    (warning,) = reporting.list_warnings(worse)
    assert "training masks" in warning and "Leave out the 5" in warning and "copies.halves.near_copy_list" in warning
    for change, words in (
        ({"caught": {"shifted": 0.5}}, "misses copies that were planted"),
        ({"membership": {"mean": 0.7, "interval": [0.6, 0.8]}}, "more like those that were learned from"),
    ):
        worse["copies"]["halves"] = make_audit(**change)
        (warning,) = reporting.list_warnings(worse)
        assert words in warning


def test_many_and_long_warnings_and_hostile_names_leave_fifteen_plain_lines():
    report = make_whole_report()
    report["real"] |= {"name": HOSTILE + "x" * 300}
    report |= {name: {"unavailable": f"{name} {HOSTILE} " + "word " * 99} for name in ALL[2:6]}
    report["privacy"]["shading"] = make_audit(4)
    lines = show(report)
    assert "\x1b" not in "".join(lines) and "more warnings" in lines[-2] and len(lines) == 15
    assert any("Leave out the 4" in line or "near copies of training images" in line for line in lines)


def test_numbers_that_are_undefined_are_said_in_words():
    report = make_whole_report()
    report["segmentation"] |= {"ratio": None, "ratio_interval": None}
    report["copies"] |= {"likeness": {"unavailable": "Alone."}, "halves": {"unavailable": "Alone."}}
    report["classification"]["tasks"] = {"class": {"knn": {"relative_drop": None}}}
    report["lungs"]["held_out"] = report["synthetic"] = None
    report["baseline"] = {"synthetic": None}
    shown = " ".join(show(report))
    assert "ratio not defined" in shown and "nearest training mask at 0.600 (real test masks none)" in shown
    assert "no classifier was right once" in shown and "none held out" in shown and "no number that both" in shown
    assert "drive: synthetic beside 8 real images" in shown and "None" not in shown


def test_a_report_on_phantoms_or_without_real_pictures_is_not_called_private():
    report = make_whole_report()
    assert "private" in show(report)[-1]
    assert "private" not in show(report | {"real_images_shown": False})[-1]
    assert "private" not in show(report | {"real": report["real"] | {"data": "phantom_xray"}})[-1]
