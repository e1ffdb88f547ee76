"""CHASE_DB1: 28 fundus photographs of 999x960 pixels, both eyes of 14 children, vessels by two observers.

Fraz et al. 2012, An ensemble classification-based approach applied to retinal blood vessel segmentation, IEEE Trans.
Biomed. Eng. 59:2538. It ships without split and fields of view. The usual split is kept: first
20 images (children 1-10) train, last 8 test.
"""

import re
from pathlib import Path

from synthmed_tf.datasets.files import Entry, list_files
from synthmed_tf.sample import InputError

FOLDERS = ("chase_db1", "CHASEDB1", "CHASE_DB1")
_TRAINING_CHILDREN = 10  # the usual split, e.g. Li et al. 2016, A cross-modality learning approach, IEEE TMI 35:109
_SUFFIX = r"\.(?i:jpe?g|png|tiff?|bmp|gif)"
_KINDS = {  # file names; the folder they lie in does not matter
    "image": r"Image_(\d\d[LR])" + _SUFFIX,
    "mask": r"Image_(\d\d[LR])_1stHO" + _SUFFIX,
    "second_mask": r"Image_(\d\d[LR])_2ndHO" + _SUFFIX,
    "field_of_view": r"mask_(\d\d[LR])" + _SUFFIX,
}
_WHERE = "get CHASEDB1.zip at https://researchdata.kingston.ac.uk/96/ and put it, packed or unpacked, into {}"


def list_entries(data_dir):
    """Lists the samples of CHASE_DB1 under data_dir/chase_db1: Image_01L.jpg, Image_01L_1stHO.png, ...

    Returns:
      list of Entry; mask_01L.png and so on are taken as fields of view where somebody has added them.

    Raises:
      InputError: missing, incomplete, or an unreadable or hostile zip.
    """
    folders = [Path(data_dir, name) for name in FOLDERS]
    folder = next((path for path in folders if path.is_dir()), folders[0])
    where = _WHERE.format(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: CHASE_DB1 is not there; {where}, or name another folder by --data_dir")
    files = {kind: {} for kind in _KINDS}
    for path, file in list_files(folder, ("chasedb1.zip", "chase_db1.zip")).items():
        for kind, pattern in _KINDS.items():
            if match := re.fullmatch(pattern, path.rsplit("/", 1)[-1]):
                files[kind].setdefault(match[1], file)
    if not files["image"]:
        raise InputError(f"{folder}: no Image_01L.jpg and so on in it or in a zip in it; {where}")
    for kind, example in (("mask", "Image_{}_1stHO.png"), ("field_of_view", "mask_{}.png")):
        missing = sorted(set(files["image"]) - set(files[kind]))
        if missing and (kind == "mask" or files[kind]):
            raise InputError(
                f"{files['image'][missing[0]].name}: has no {example.format(missing[0])} ({len(missing)} of "
                f"{len(files['image'])} have none); unpack the download again: {where}"
            )
    return [
        Entry(
            id=f"Image_{eye}",
            group=eye[:2],
            split="train" if int(eye[:2]) <= _TRAINING_CHILDREN else "test",
            image=files["image"][eye],
            is_fundus=True,
            **{kind: files[kind].get(eye) for kind in ("mask", "second_mask", "field_of_view")},
        )
        for eye in sorted(files["image"])
    ]
