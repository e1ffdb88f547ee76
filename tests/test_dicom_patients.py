"""Patients of DICOM files that no table names."""

import numpy as np
import pytest
from raw_sets import grey, save, write_table

from synthmed_tf.datasets.dicom_patients import TAG
from synthmed_tf.datasets.sources import list_entries

pydicom = pytest.importorskip("pydicom")


def make(folder, patients):
    """FOLDER/images/0.dcm, ... and masks; patients: PatientID of each, None: the tag lacks."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for index, patient in enumerate(patients):
        save(folder / "masks" / f"{index}.png", grey())
        meta = pydicom.dataset.FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = (
            pydicom.uid.ExplicitVRLittleEndian,
            "1.2.840.10008.5.1.4.1.1.1",
        )
        meta.MediaStorageSOPInstanceUID = "1.2.3"
        film = pydicom.dataset.FileDataset("film", {}, file_meta=meta, preamble=b"\0" * 128)
        if patient is not None:
            film.PatientID = patient
        film.PixelData = np.zeros((4, 4), np.uint16).tobytes()
        film["PixelData"].VR = "OW"
        film.save_as(folder / "images" / f"{index}.dcm", enforce_file_format=True)
    return str(folder)


def test_films_of_one_patient_stay_together(tmp_path):
    entries = list_entries(make(tmp_path, ["A", "B", "A", "B", "C"]), "")
    assert [entry.group for entry in entries] == ["A", "B", "A", "B", "C"]
    assert {entry.group_column for entry in entries} == {TAG} and all(entry.is_from_table for entry in entries)
    assert [entry.group for entry in list_entries(str(tmp_path), "", group_column="none")] == list("01234")
    write_table(tmp_path / "t.csv", [("file", "patient"), *([f"{index}.dcm", "xyxyx"[index]] for index in range(5))])
    assert [entry.group for entry in list_entries(str(tmp_path), "")] == list("xyxyx")  # a table goes before


@pytest.mark.parametrize(
    "patients", [["A"] * 4, ["A", "B", "C", "D"], [None] * 4, ["ANON", "ANON", "ANON", "ANON"], [""] * 4]
)
def test_numbers_that_tell_nothing(patients, tmp_path):
    entries = list_entries(make(tmp_path, patients), "")
    assert [(entry.group, entry.is_from_table) for entry in entries] == [(str(i), False) for i in range(4)]


def test_files_without_a_patient_among_others(tmp_path):
    with pytest.warns(UserWarning, match="1 of 4 DICOM files have no PatientID.*name the patients in a table"):
        entries = list_entries(make(tmp_path, ["A", "A", "B", None]), "")
    assert [entry.group for entry in entries] == list("0123")


def test_files_that_are_damaged(tmp_path):
    make(tmp_path, ["A", "A"])
    (tmp_path / "images" / "0.dcm").write_bytes(b"x")
    assert [entry.group for entry in list_entries(str(tmp_path), "")] == ["0", "1"]
