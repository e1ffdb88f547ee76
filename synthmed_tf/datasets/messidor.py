"""MESSIDOR: 1,200 fundus photographs (1440x960 to 2304x1536 pixels); P1's stage 2 learnt from them.

Decencière et al. 2014, Feedback on a publicly distributed image database: the Messidor database, Image Analysis &
Stereology 33:231. It ships without vessel masks, fields of view and split. Its grades (0 to 3) ship as Excel files,
which are not read: save them as CSV, or the photographs have no labels. The official errata are applied: 13 photographs
of Base33 that are there under a second name are left out, and four grades are corrected.
"""

import re
from pathlib import Path

from synthmed_tf.datasets.files import Entry, list_files
from synthmed_tf.datasets.spreadsheets import read_grades
from synthmed_tf.sample import InputError

FOLDERS = ("messidor", "MESSIDOR", "Messidor")
HIGHEST_GRADE = 3
BASES = tuple(f"Base{department}{part}" for department in (1, 2, 3) for part in (1, 2, 3, 4))
# One name of each of the 13 pairs in the erratum of 16 August 2017. Two of the pairs have different grades, and the
# erratum of 9 February 2018 does not say which is right: the name that stays keeps its own.
DUPLICATES = {
    f"{name}_0400_PP"
    for name in (
        "20051202_54744 20051202_40508 20051202_41238 20051202_41260 20051202_54530 20051205_33025 20051202_55607 "
        "20051202_41034 20051205_35099 20051202_54555 20051205_35110 20051202_54611 20051202_55498"
    ).split()
}
CORRECTED_GRADES = {
    "20051020_63045_0100_PP": "0",  # Base11, erratum of 31 August 2016
    "20051020_64007_0100_PP": "3",  # Base11, erratum of 24 October 2016
    "20051020_63936_0100_PP": "1",  # Base11, the same
    "20060523_48477_0100_PP": "3",  # Base13, the same
}
_IMAGE = re.compile(r"(?:.*/)?(\d{8}_\d+_\d{4}_PP)\.(?:tiff?|png|jpe?g|bmp)", re.IGNORECASE)
_TABLE = re.compile(r"(?:.*/)?Annotation[_ ]Base\d\d\.csv", re.IGNORECASE)
_WHERE = (
    "get Base11.zip to Base34.zip at https://www.adcis.net/en/third-party/messidor/ (free registration) and put them, "
    "packed or unpacked, into {}"
)


def list_entries(data_dir):
    """Lists the photographs of MESSIDOR under data_dir/messidor: Base11/20051019_38557_0100_PP.tif, ..., packed or not.

    The Bases may be incomplete. Annotation_Base11.csv and so on, beside the Bases or in them, give the labels.

    Returns:
      list of Entry without masks, all of them train: the two eyes of a patient are not told apart, so that photographs
      held out could show an eye's fellow. Each is its own group. label is None without CSV files.

    Raises:
      InputError: missing, CSV files for some of the photographs only, a grade without photograph, or an unreadable or
        hostile zip.
    """
    folders = [Path(data_dir, name) for name in FOLDERS]
    folder = next((path for path in folders if path.is_dir()), folders[0])
    where = _WHERE.format(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: MESSIDOR is not there; {where}, or name another folder by --data_dir")
    images, tables = {}, {}
    for path, file in list_files(folder, tuple(f"{base}.zip".lower() for base in BASES)).items():
        if match := _IMAGE.fullmatch(path):
            if match[1] not in DUPLICATES:
                images.setdefault(match[1], file)
        elif _TABLE.fullmatch(path):
            tables.setdefault(path.rsplit("/", 1)[-1].lower().replace(" ", "_"), file)
    if not images:
        raise InputError(f"{folder}: no Base11/20051019_38557_0100_PP.tif and so on in it or in a zip in it; {where}")
    grades = {}
    if tables:
        grades = read_grades(list(tables.values()), images, HIGHEST_GRADE, left_out=DUPLICATES)
        grades |= {name: grade for name, grade in CORRECTED_GRADES.items() if name in images}
    return [Entry(name, name, "train", images[name], label=grades.get(name), is_fundus=True) for name in sorted(images)]
