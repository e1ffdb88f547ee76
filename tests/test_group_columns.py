"""Columns of patients under any usual name, and those that repeat as names of patients do."""

import pytest

from synthmed_tf.datasets.group_columns import find_candidates, find_named

PAIRS = [f"p{index // 2}" for index in range(10)]
ALONE = [f"p{index}" for index in range(10)]
KINDS = ["left", "right"] * 5
NAMED = (
    "pid|PID|patient_id|PatientID|Patient ID|PATIENTID|patient.id|Patient's ID|patients|subject|sub|SUBJECT_NO|subj_id|"
    "mrn|case|case_id|id_patient|ID paciente|Nº paciente|paciente|numero_patient|numéro du patient|paziente|"
    "ID del paziente|patientennummer|Patienten-ID|Patienten_Nr|Probandennummer|Fallnummer|Fall-Nr.|"
    "pacjent|potilas_id|ID пациента|"
    "患者ID|患者番号|病人编号|환자번호|症例番号|participant_id|person|donor|animal_id|mouse|hasta_no|pt|PatID|hashed_patient|"
    "lesion_id|isic lesion|lesion|Läsion|eye|eye_id|eyeID|slide|slide_id|wsi|Präparat-Nr.|specimen id|biopsy|tumor_id|"
    "study_uid|StudyInstanceUID|SeriesInstanceUID|AccessionNumber|exam_id|visit|sample_id|block"
).split("|")
TOLD = (
    "Patient Age|PatientAge|Patient Gender|PatientSex|Patientenalter|Patientengeschlecht|âge du patient|患者年齢|"
    "patient weight|Patient Position|study date|StudyDate|study description|lesion_type|lesion size|age|edad|sex|"
    "label|class|diagnosis|"
    "age_group|sub_type|subtype|image_id|SOPInstanceUID|eye side|hospital|personal|subjective|caption|pixels|tier list"
).split("|")


@pytest.mark.parametrize("heading", NAMED)
def test_headings_that_name_what_belongs_together(heading):
    assert find_named({"x": ALONE, heading: PAIRS}) == [heading]


@pytest.mark.parametrize("heading", TOLD)
def test_headings_that_tell_something_else(heading):
    shown = {"personal", "subjective", "caption", "tier list"}  # nor does another word say what they are
    assert find_named({heading: KINDS if heading in shown else PAIRS}) == ([heading] if heading == "personal" else [])


@pytest.mark.parametrize("heading", ["eye", "lesion", "eye_id", "tumor", "tier", "study arm", "sub"])
def test_kinds_are_no_groups(heading):
    assert find_named({heading: KINDS}) == [] and find_candidates({heading: KINDS}) == []


def test_the_widest_comes_first():
    headings = "slide_id", "StudyInstanceUID", "eye_id", "lesion_id", "case_id", "Patient", "group"
    assert find_named(dict.fromkeys(headings, PAIRS)) == [*headings[::-1][:5], "StudyInstanceUID", "slide_id"]


@pytest.mark.parametrize(
    ("cells", "is_candidate"),
    [
        (PAIRS, True),
        ([str(index // 3) for index in range(300)], True),
        ([*ALONE, *ALONE], True),
        (ALONE, False),
        (KINDS, False),
        (["a", "b", "c", "d", "e"] * 60, False),  # five hospitals
        ([f"{index // 2}.5" for index in range(10)], False),  # a measurement
        (["", "unknown", "NA", "-", "n/a"] * 4, False),
        ([f"p{index}" for index in range(400)] * 1 + ["p0"], False),
        (["x"] * 60 + [f"p{index // 2}" for index in range(40)], False),
    ],
)
def test_columns_that_repeat_as_names_of_patients_do(cells, is_candidate):
    assert find_candidates({"who": cells}) == ["who"] * is_candidate
    assert find_candidates({"age": cells, "sex": cells, "diagnosis": cells, "StudyDate": cells}) == []


def test_a_heading_of_persons_is_a_candidate_if_anything_repeats():
    assert find_candidates({"patient so-and-so": ["a", "a", *ALONE]}) == ["patient so-and-so"]
