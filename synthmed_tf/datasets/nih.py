"""NIH ChestX-ray14: 112,120 frontal chest X-rays of 30,805 patients with age and gender, official split by patient.

Wang et al. 2017, ChestX-ray8: hospital-scale chest X-ray database and benchmarks, CVPR, 3462-3471. Its classes here
are the study groups of P2's table 1 (study_groups.py). Findings and the view (PA or AP) play no part.
"""

from pathlib import Path

from synthmed_tf.datasets import study_groups
from synthmed_tf.datasets.files import Entry, index_by_name, list_files
from synthmed_tf.datasets.spreadsheets import read_table
from synthmed_tf.sample import InputError

FOLDERS = ("nih", "NIH", "ChestX-ray14", "CXR8")
_TABLES = (
    "data_entry_2017_v2020.csv",
    "data_entry_2017.csv",
    "sample_labels.csv",
    "metadata.csv",
)  # the first one there
_LISTS = {"train_val_list.txt": "train", "test_list.txt": "test"}
_GENDERS = {"F": "female", "M": "male"}
_WHERE = (
    "get images_01.tar.gz and so on, Data_Entry_2017_v2020.csv, train_val_list.txt and test_list.txt at "
    "https://nihcc.app.box.com/v/ChestXray-NIHCC and put them, unpacked, into {}"
)


def list_entries(data_dir, labels=None):
    """Lists the X-rays of NIH under data_dir/nih: images_001/images/00000001_000.png, ..., or in any other folders.

    The first table that is there counts, of Data_Entry_2017_v2020.csv, Data_Entry_2017.csv, sample_labels.csv and
    metadata.csv, which have the same columns. Rows whose image is not there do not matter, so some of the archives are
    enough. train_val_list.txt and test_list.txt are the official split; without them the set has none.

    Args:
      data_dir: the folder that holds the named sets.
      labels: age bins, see `study_groups.parse_bins`; None: study_groups.DEFAULT.

    Returns:
      list of Entry; group is the patient, label the study group, None where the age is in no bin.

    Raises:
      InputError: missing, a table without the columns needed, an image without row, or one of the two lists alone.
    """
    folders = [Path(data_dir, name) for name in FOLDERS]
    folder = next((path for path in folders if path.is_dir()), folders[0])
    where = _WHERE.format(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: NIH ChestX-ray14 is not there; {where}, or name another folder by --data_dir")
    listed = list_files(folder)
    images = index_by_name(listed, r"\d{8}_\d{3}\.png")
    others = {path.rsplit("/", 1)[-1].lower(): file for path, file in listed.items()}
    table = next((others[name] for name in _TABLES if name in others), None)
    if not images or table is None:
        lacking = "00000001_000.png and so on" if table else "Data_Entry_2017_v2020.csv"
        raise InputError(f"{folder}: no {lacking} in it or in its folders; {where}")
    splits = _read_splits(folder, others, where)
    people = _read_people(table, images)
    if lacking := sorted(set(images) - set(people)):
        raise InputError(
            f"{images[lacking[0]].name}: has no row in {table.name} ({len(lacking)} of {len(images)} images have "
            "none); add it, or move the image away"
        )
    if splits and (unlisted := sorted(set(images) - set(splits))):
        raise InputError(
            f"{images[unlisted[0]].name}: neither in train_val_list.txt nor in test_list.txt; download them again"
        )
    xrays = []
    for name in sorted(people):
        patient, gender, age = people[name]
        xrays.append((Entry(name[:-4], patient, splits.get(name), images[name], is_xray=True), gender, age))
    return study_groups.label_xrays("nih", xrays, labels)


def _read_people(table, images):
    """{file name: (patient, gender, age in years)} of the images; gender and age None where the table does not tell."""
    columns, rows = read_table(table)
    sex = "Patient Sex" if "Patient Sex" in columns else "Patient Gender"
    if lacking := [name for name in ("Image Index", "Patient ID", "Patient Age", sex) if name not in columns]:
        raise InputError(
            f"{table.name}: no column {lacking[0]!r}, it has {', '.join(columns) or 'none'}; download it again"
        )
    people = {}
    for line, row in rows:
        name = row.get("Image Index")
        if name not in images:
            continue
        if name in people or not row.get("Patient ID"):
            what = "names the image for the second time" if name in people else "has no Patient ID"
            raise InputError(
                f"{table.name}: line {line}: {what}; allowed is one row an image, with its patient; mend it"
            )
        gender = _GENDERS.get(row.get(sex, "")[:1].upper())
        people[name] = row["Patient ID"], gender, study_groups.parse_age(row.get("Patient Age", ""))
    return people


def _read_splits(folder, others, where):
    """{file name: "train" or "test"} by the official lists, empty without them."""
    there = [name for name in _LISTS if name in others]
    if len(there) == 1:
        (lacking,) = set(_LISTS) - set(there)
        raise InputError(
            f"{folder}: has {there[0]} and no {lacking}; allowed are both, the official split, or none; {where}"
        )
    splits = {}
    for name in there:
        with others[name].open() as stream:
            splits |= dict.fromkeys(stream.read().decode(errors="replace").split(), _LISTS[name])
    return splits
