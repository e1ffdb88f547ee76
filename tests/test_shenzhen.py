"""The Shenzhen X-rays in their official layout, with made files, and the real subset."""

import collections

import pytest
from raw_sets import grey, quiet_split, refused, save, shares, write_table

from synthmed_tf.datasets.sources import list_entries

GROUPS = ["female 18-38", "male 18-38", "female 39-47", "male 39-47", "female 48-68", "male 48-68"]


@pytest.mark.parametrize(
    ("reading", "label"),
    [
        ("male 45yrs\nnormal", "male 39-47"),
        ("Female , 33 yrs\r\nSTB of both lungs\r\n", "female 18-38"),
        ("femal 32yrs", "female 18-38"),
        ("FEMALE  68years  \nright upper PTB", "female 48-68"),
        ("M 38", "male 18-38"),
        ("Patient's Sex: F\nPatient's Age: 058Y", "female 48-68"),
        ("38 male", "male 18-38"),
        ("male 240 months", "male 18-38"),
        ("male 20month", None),  # 1 year
        ("female 64days", None),
        ("female 17yrs", None),
        ("normal", None),
        ("", None),
    ],
)
def test_readings_in_all_their_ways(tmp_path, reading, label):
    folder = tmp_path / "shenzhen"
    texts = {"CHNCXR_0001_0": "male 20yrs", "CHNCXR_0002_1": "female 20yrs", "CHNCXR_0662_1": reading}
    for name, text in texts.items():
        save(folder / "CXR_png" / f"{name}.png", grey())
        (folder / "ClinicalReadings").mkdir(exist_ok=True)
        (folder / "ClinicalReadings" / f"{name}.txt").write_text(text, newline="")
    entries = {entry.id: entry for entry in list_entries("shenzhen", tmp_path)}
    assert entries.keys() == texts.keys()
    assert all((entry.group, entry.split) == (id, None) and entry.is_xray for id, entry in entries.items())
    assert entries["CHNCXR_0662_1"].label == label


def test_shenzhen_that_does_not_fit(tmp_path):
    folder = tmp_path / "shenzhen"
    refused(["are not there", "lhncbc.nlm.nih.gov", str(folder)], "shenzhen", tmp_path)
    folder.mkdir()
    refused("no CHNCXR_0001_0.png and so on", "shenzhen", tmp_path)
    save(folder / "CXR_png" / "CHNCXR_0001_0.png", grey())
    refused("CHNCXR_0001_0.png: has no ClinicalReadings/CHNCXR_0001_0.txt", "shenzhen", tmp_path)
    write_table(folder / "metadata.csv", [["study_id", "sex", "age"], ["CHNCXR_0001_0.png", "Male", "45"]])
    refused("one class, 'male 39-47'", "shenzhen", tmp_path)


def test_real_shenzhen(real_data):
    everybody = list_entries("shenzhen", real_data, "0-17,18-120")
    counts = collections.Counter(entry.label for entry in everybody)
    assert len(everybody) == 566 and counts["male 0-17"] + counts["female 0-17"] == 24  # SOURCE.md
    assert counts["male 0-17"] + counts["male 18-120"] == 389
    entries, _ = quiet_split("shenzhen", real_data)
    assert sorted(shares(entries)) == sorted(GROUPS) and all(0.19 < share < 0.23 for share in shares(entries).values())
