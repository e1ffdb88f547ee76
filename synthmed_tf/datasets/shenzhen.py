"""Shenzhen Hospital chest X-rays: 662 frontal X-rays of as many people with age and sex, about half with tuberculosis.

Jaeger et al. 2014, Two public chest X-ray datasets for computer-aided screening of pulmonary diseases, Quant. Imaging
Med. Surg. 4(6):475. It has no official split. Its classes here are the study groups of P2's table 1 (study_groups.py);
findings play no part.
"""

import re
from pathlib import Path

from synthmed_tf.datasets import study_groups
from synthmed_tf.datasets.files import Entry, index_by_name, list_files
from synthmed_tf.datasets.spreadsheets import read_table
from synthmed_tf.sample import InputError

FOLDERS = ("shenzhen", "Shenzhen", "ChinaSet_AllFiles")
_TABLES = ("metadata.csv", "shenzhen_metadata.csv")
_GENDER = re.compile(r"\b(?:(?P<female>f|fem\w*|woman)|(?P<male>m|ma?le?|man))\b", re.IGNORECASE)
_READING_BYTES = 2000  # of a reading are looked at; the official ones have a few lines
_WHERE = (
    "get ChinaSet_AllFiles.zip at https://lhncbc.nlm.nih.gov/LHC-downloads/downloads.html and put its folders "
    "CXR_png and ClinicalReadings, unpacked, into {}"
)


def list_entries(data_dir, labels=None):
    """Lists the X-rays of Shenzhen under data_dir/shenzhen: CXR_png/CHNCXR_0001_0.png, ..., or in any other folder.

    Age and sex are in ClinicalReadings/CHNCXR_0001_0.txt and so on, or in metadata.csv with the columns study_id, sex
    and age.

    Args:
      data_dir: the folder that holds the named sets.
      labels: age bins, see `study_groups.parse_bins`; None: study_groups.DEFAULT.

    Returns:
      list of Entry; each X-ray is its own group, label the study group, None where the age is in no bin or the reading
      does not tell age and sex.

    Raises:
      InputError: missing, or an X-ray without reading and without row.
    """
    folders = [Path(data_dir, name) for name in FOLDERS]
    folder = next((path for path in folders if path.is_dir()), folders[0])
    where = _WHERE.format(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: the Shenzhen X-rays are not there; {where}, or name another folder by --data_dir")
    listed = list_files(folder)
    images = index_by_name(listed, r"CHNCXR_\d{4}_[01]\.png")
    if not images:
        raise InputError(f"{folder}: no CHNCXR_0001_0.png and so on in it or in its folders; {where}")
    readings = index_by_name(listed, r"CHNCXR_\d{4}_[01]\.txt")
    people = {}
    for table in (listed[name] for name in _TABLES if name in listed):
        for _, row in read_table(table)[1]:
            people.setdefault(row.get("study_id"), f"{row.get('sex')} {row.get('age')}")
    xrays = []
    for name in sorted(images):
        id = name[:-4]
        if f"{id}.txt" in readings:
            with readings[f"{id}.txt"].open() as stream:
                people[name] = stream.read(_READING_BYTES).decode(errors="replace")
        if name not in people:
            raise InputError(f"{images[name].name}: has no ClinicalReadings/{id}.txt, which tells age and sex; {where}")
        xrays.append((Entry(id, id, None, images[name], is_xray=True), *_parse_person(people[name])))
    return study_groups.label_xrays("shenzhen", xrays, labels)


def _parse_person(reading):
    """A reading such as "male 45yrs" or "Femal , 16month" -> (gender, age in years), None where it does not tell."""
    match = _GENDER.search(reading)
    return match and match.lastgroup, study_groups.parse_age(reading)
