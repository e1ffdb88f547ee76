"""BU-BIL data set 1: 35 phase-contrast images of rat smooth muscle cells, one cell each; P1's second data set.

Gurari et al. 2015, How to collect segmentations for biomedical images?, WACV. In its mask files the cell is 0.
"""

import re
from pathlib import Path

from synthmed_tf.datasets.files import Entry, list_files
from synthmed_tf.sample import InputError

_IMAGE = re.compile(r"(?:.*/)?RawImages/(B\d\d)\.png", re.IGNORECASE)
_MASK = re.compile(r"(?:.*/)?GoldStandard/seg_(B\d\d)\.png", re.IGNORECASE)
_WHERE = (
    "get data set 1 (rat smooth muscle cells) at https://www.cs.bu.edu/~betke/BiomedicalImageSegmentation/ and put "
    "its folders RawImages and GoldStandard into {}"
)


def list_entries(data_dir):
    """Lists RawImages/B01.png, GoldStandard/seg_B01.png, ... under data_dir/bubil/BU-BIL_Dataset1 or data_dir/bubil.

    Returns:
      list of Entry without official split. B02 is a palette image of another size.

    Raises:
      InputError: missing or incomplete.
    """
    top = Path(data_dir, "bubil")
    folder = top / "BU-BIL_Dataset1" if (top / "BU-BIL_Dataset1").is_dir() else top
    where = _WHERE.format(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: BU-BIL data set 1 is not there; {where}, or name another folder by --data_dir")
    images, masks = {}, {}
    for path, file in list_files(folder).items():
        for pattern, files in ((_IMAGE, images), (_MASK, masks)):
            if match := pattern.fullmatch(path):
                if match[1] in files:
                    raise InputError(f"{file.name}: {match[1]} is there twice, also as {files[match[1]].name}; {where}")
                files[match[1]] = file
    if not images:
        raise InputError(f"{folder}: no RawImages/B01.png and so on in it; {where}")
    for name in sorted(set(images) ^ set(masks)):
        if name in images:
            raise InputError(f"{images[name].name}: has no mask GoldStandard/seg_{name}.png; {where}")
        raise InputError(f"{masks[name].name}: has no image RawImages/{name}.png; {where}")
    return [Entry(name, name, None, images[name], masks[name], is_dark_foreground=True) for name in sorted(images)]
