"""IDRiD, disease grading: 516 fundus photographs of 4288x2848 pixels with a diabetic-retinopathy grade, official split.

Porwal et al. 2018, Indian Diabetic Retinopathy Image Dataset (IDRiD): a database for diabetic retinopathy screening
research, Data 3(3):25. It ships without vessel masks and fields of view and does not name the patients. Six files are
there twice, three of them with two grades and one of these in both splits: `load_samples` leaves six copies out.
"""

import re
from pathlib import Path

from synthmed_tf.datasets.files import Entry, list_files
from synthmed_tf.datasets.spreadsheets import read_grades
from synthmed_tf.sample import InputError

FOLDERS = ("idrid", "IDRiD", "IDRID")
HIGHEST_GRADE = 4
_ZIPS = ("b. disease grading.zip", "b.%20disease%20grading.zip")
_SPLITS = {  # split: its official folder, its table
    "train": ("a. Training Set", "a. IDRiD_Disease Grading_Training Labels.csv"),
    "test": ("b. Testing Set", "b. IDRiD_Disease Grading_Testing Labels.csv"),
}
_IMAGE = re.compile(r"(?:.*/)?([^/]+)/(IDRiD_\d{3})\.(?:jpe?g|png|tiff?|bmp)", re.IGNORECASE)
_OTHER_PARTS = re.compile(r"(?:.*/)?(?:A\.[^/]*Segmentation|C\.[^/]*Localization)/.*")  # the same photographs
_WHERE = (
    'get "B. Disease Grading.zip" at https://ieee-dataport.org/open-access/indian-diabetic-retinopathy-image-dataset-'
    "idrid (free registration) and put it, packed or unpacked, into {}"
)


def list_entries(data_dir):
    """Lists the photographs of IDRiD under data_dir/idrid: the official folders, packed or not, or train/ and test/.

    Official are "1. Original Images/a. Training Set/IDRiD_001.jpg", "b. Testing Set" and, anywhere, the two tables of
    "2. Groundtruths". Numbers begin again in the test split, so the split is in the id; each image is its own group.

    Returns:
      list of Entry without masks; label is the grade, "0" (none) to "4" (proliferative).

    Raises:
      InputError: missing, incomplete, a grade without photograph and the reverse, or an unreadable or hostile zip.
    """
    folders = [Path(data_dir, name) for name in FOLDERS]
    folder = next((path for path in folders if path.is_dir()), folders[0])
    where = _WHERE.format(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: IDRiD is not there; {where}, or name another folder by --data_dir")
    files = {path: file for path, file in list_files(folder, _ZIPS).items() if not _OTHER_PARTS.fullmatch(path)}
    listed = []
    for split, (place, table) in _SPLITS.items():
        images, tables = {}, [file for path, file in files.items() if path.rsplit("/", 1)[-1] == table]
        for path, file in files.items():
            if (match := _IMAGE.fullmatch(path)) and match[1] in (place, split):
                images.setdefault(match[2], file)
        if split == "train" and not images:
            raise InputError(f"{folder}: no {place}/IDRiD_001.jpg and so on in it or in a zip in it; {where}")
        if images and not tables:
            raise InputError(f"{folder}: no {table} for its {len(images)} images; {where}")
        grades = read_grades(tables[:1], images, HIGHEST_GRADE)
        for name in sorted(images):
            id = f"{name}_{split}"
            listed.append(Entry(id, id, split, images[name], label=grades[name], is_fundus=True))
    return listed
