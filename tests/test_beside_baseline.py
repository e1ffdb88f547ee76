from made_reports import set_of_numbers

from synthmed_tf.metrics import fidelity
from synthmed_tf.reporting import beside_baseline

HIGHER = {f"{metric} of photographs" for metric in ("precision", "recall", "density", "coverage")}
HIGHER |= {"smallest distance to training masks", "median distance to training masks"}
LOWER = {"KL of intensities, grey", "KID of photographs", "distance of shapes, end points"}


def compare(ours, theirs):
    report = set_of_numbers(ours) | {"baseline": {"synthetic": None} | set_of_numbers(theirs)}
    return {row["number"]: row for row in beside_baseline.compare_with_baseline(report)}


def test_better_goes_by_the_direction_of_each_number():
    rows = compare(0.6, 0.4)
    assert rows.keys() == HIGHER | LOWER
    for name, row in rows.items():
        assert (row["direction"], row["judgement"]) == (("higher", "better") if name in HIGHER else ("lower", "worse"))
        assert (row["synthetic"]["mean"], row["baseline"]["mean"]) == (0.6, 0.4)
    assert all((row["judgement"] == "worse") == (name in HIGHER) for name, row in compare(0.4, 0.6).items())
    assert {row["judgement"] for row in compare(0.6, 0.6).values()} == {"equal"}


def test_beyond_the_floor_and_within_the_spread_nothing_is_better():
    for ours, theirs, worse in ((0.9, 0.7, LOWER), (0.1, 0.3, HIGHER)):  # the floor is 0.5
        for name, row in compare(ours, theirs).items():
            if row["floor"]:
                assert row["judgement"] == ("worse" if name in worse else "equal")
    near = {name: row["judgement"] for name, row in compare(0.6, 0.609).items()}
    assert near["KID of photographs"] == near["KL of intensities, grey"] == "equal"  # their sd is 0.01
    assert near["distance of shapes, end points"] == "better"  # which has none


def test_numbers_that_one_set_lacks_are_not_compared():
    def compared(theirs):
        report = set_of_numbers(0.6) | {"baseline": {"synthetic": None} | theirs}
        return {row["number"] for row in beside_baseline.compare_with_baseline(report)}

    assert compared({"distribution": set_of_numbers(0.7)["distribution"]}) == {"KL of intensities, grey"}
    undefined = set_of_numbers(0.4)["fidelity"]
    for metric in fidelity.METRICS:  # as fidelity.compare says it of three images
        undefined["photographs"][metric]["synthetic_vs_real"] = {"mean": None, "sd": None, "runs": []}
    for nothing in ({}, {"fidelity": undefined}, {"fidelity": {"unavailable": "Too few."}}):
        assert compared(nothing) == set()


def test_fid_is_compared_where_both_sets_have_it():
    entry = {"mean": 9.0, "sd": None}
    inception = {"photographs, Inception": {"fid": {"synthetic_vs_real": entry, "real_vs_real": entry}}}
    (row,) = beside_baseline.compare_with_baseline({"fidelity": inception, "baseline": {"fidelity": inception}})
    assert (row["number"], row["direction"]) == ("FID of photographs, Inception", "lower")


def test_what_makes_the_baseline_another_comparison():
    def differ(ours, theirs, size=8, masks=0):
        report = set_of_numbers(0.6) | {"synthetic": ours, "baseline": {"synthetic": theirs} | set_of_numbers(0.4)}
        report["baseline"]["fidelity"]["photographs"]["protocol"]["subset_size"] = size
        report["baseline"]["copies"]["nearest_training_mask"] = [None] * masks
        return beside_baseline.find_differences(report)

    def learned(holdout):
        return {"real": {"name": "drive", "counts": {"train": 20 - holdout}, "holdout": holdout}}

    same = {"learned": None, "compared": None, "masks": None}
    assert differ(learned(5), learned(5)) == differ(learned(5), None) == same
    assert differ(learned(5), learned(0)) == same | {"learned": [learned(5)["real"], learned(0)["real"]]}
    assert differ(learned(5), learned(5), size=5) == same | {"compared": [8, 5]}
    assert differ(learned(5), learned(5), masks=3) == same | {"masks": [0, 3]}
