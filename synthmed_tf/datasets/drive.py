"""DRIVE: 40 fundus photographs of 565x584 pixels, vessels by two observers, fields of view, official split 20/20.

Staal et al. 2004, Ridge-based vessel segmentation in color images of the retina, IEEE TMI 23:501. The official test.zip
of today holds no vessel masks: its images then come without.
"""

import re
from pathlib import Path

from synthmed_tf.datasets.files import Entry, list_files
from synthmed_tf.sample import InputError

FOLDERS = ("drive", "DRIVE")
_ZIPS = ("training.zip", "test.zip", "datasets.zip", "drive.zip")
_SUFFIX = r"\.(?:tiff?|gif|png|bmp|jpe?g)"
_KINDS = {  # official file names
    "image": r"images/(\d\d)_(?:training|test)" + _SUFFIX,
    "mask": r"1st_manual/(\d\d)_manual1" + _SUFFIX,
    "second_mask": r"2nd_manual/(\d\d)_manual2" + _SUFFIX,
    "field_of_view": r"mask/(\d\d)_(?:training|test)_mask" + _SUFFIX,
}
_PATTERN = re.compile(r"(?:.*/)?(?P<split>training|test)/(?P<rest>[^/]+/[^/]+)", re.IGNORECASE)
_WHERE = (
    "get training.zip and test.zip at https://drive.grand-challenge.org (free registration) and put them, packed or "
    "unpacked, into {}"
)


def list_entries(data_dir):
    """Lists the samples of DRIVE under data_dir/drive, unpacked (training/images/21_training.tif, ...) or as zips.

    Returns:
      list of Entry. mask is None for all test images where their labels are missing.

    Raises:
      InputError: missing, incomplete, or an unreadable or hostile zip.
    """
    folders = [Path(data_dir, name) for name in FOLDERS]
    folder = next((path for path in folders if path.is_dir()), folders[0])
    where = _WHERE.format(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: DRIVE is not there; {where}, or name another folder by --data_dir")
    files = {"training": {kind: {} for kind in _KINDS}, "test": {kind: {} for kind in _KINDS}}
    for path, file in list_files(folder, _ZIPS).items():
        if match := _PATTERN.fullmatch(path):
            for kind, pattern in _KINDS.items():
                if number := re.fullmatch(pattern, match["rest"], re.IGNORECASE):
                    files[match["split"].lower()][kind].setdefault(number[1], file)
    for split, kinds in files.items():
        if split == "training" and not kinds["image"]:
            raise InputError(f"{folder}: no training/images/21_training.tif and so on in it or in a zip in it; {where}")
        for kind, folder_name in (("mask", "1st_manual"), ("field_of_view", "mask")):
            missing = sorted(set(kinds["image"]) - set(kinds[kind]))
            if missing and (kinds[kind] or (split, kind) == ("training", "mask")):
                file = kinds["image"][missing[0]].name
                raise InputError(
                    f"{file}: has no file in {split}/{folder_name} ({len(missing)} of {len(kinds['image'])} have "
                    f"none); unpack the download again: {where}"
                )
    return [
        Entry(
            id=f"{number}_{split}",
            group=number,
            split="train" if split == "training" else "test",
            image=kinds["image"][number],
            is_fundus=True,
            **{kind: kinds[kind].get(number) for kind in ("mask", "second_mask", "field_of_view")},
        )
        for split, kinds in files.items()
        for number in sorted(kinds["image"])
    ]
