"""Study groups: P2's table 1 counted by hand, and the tasks of its table 2."""

import pytest

from synthmed_tf.datasets import study_groups
from synthmed_tf.sample import InputError


@pytest.mark.parametrize(
    ("name", "bins", "last"), [("x_norm_l", 15, (67, 77)), ("x_norm", 17, (66, 68)), ("x_norm_2", 25, (66, 67))]
)
def test_bins_of_the_paper(name, bins, last):
    found = study_groups.parse_bins(name)
    assert len(found) == bins and found[0][0] == 18 and found[-1] == last
    assert all(a[1] + 1 == b[0] for a, b in zip(found, found[1:]))  # every age of the range is in exactly one


def test_own_bins():
    bins = study_groups.parse_bins("50-60, 18-38")
    assert bins == ((18, 38), (50, 60))
    assert study_groups.label_person("female", 38, bins) == "female 18-38"
    assert study_groups.label_person("male", 39, bins) is None


@pytest.mark.parametrize("text", ["young", "18-", "38-18", "18-38,38-40", ""])
def test_bins_that_are_none(text):
    with pytest.raises(InputError, match="--labels="):
        study_groups.parse_bins(text)


def test_tasks_of_study_groups():
    names = [
        f"{gender} {first}-{last}" for gender in study_groups.GENDERS for first, last in study_groups.BINS["x_norm_l"]
    ]
    tasks = study_groups.list_tasks(names)
    assert tasks["gender"]["male 67-77"] == "male" and len(tasks["gender"]) == 30
    assert tasks["age group"]["female 34-36"] == "young" and tasks["age group"]["female 61-66"] == "mature"
    # They reach beyond 18-38 or 48-68
    assert not {"male 37-39", "male 40-44", "male 45-49", "male 67-77"} & tasks["age group"].keys()


def test_tasks_of_other_classes():
    assert study_groups.list_tasks(["normal", "tumour"]) == {"class": {"normal": "normal", "tumour": "tumour"}}
    assert study_groups.list_tasks(["female 18-38"]) == {}


def test_ages_in_years():
    found = [study_groups.parse_age(text) for text in ("058Y", "7", "18M", "011D", "60 weeks", "121", "20100503", "")]
    assert found == [58, 7, 1, 0, 1, None, None, None]
    texts = ("45 M", "45 mo", "-5", "F-34", "F 2019-05-01 34y", "1/5/2019 M 34", "taken 2019/05")
    assert [study_groups.parse_age(text) for text in texts] == [45, 3, None, 34, 34, 34, None]
