"""BU-BIL in its layouts, with made files."""

import numpy as np
from raw_sets import load, refused, same_samples, save, splits


def test_bubil_cell_is_one_and_both_layouts(tmp_path):
    for number in range(1, 8):
        cell = np.zeros((20, 24), bool)
        cell[5:9, number : number + 6] = True
        for top in (tmp_path / "short" / "bubil", tmp_path / "long" / "bubil" / "BU-BIL_Dataset1"):
            save(top / "RawImages" / f"B{number:02}.png", np.full((20, 24), number, np.uint8))
            save(top / "GoldStandard" / f"seg_B{number:02}.png", ~cell)  # the cell is 0 in the files
    short, long = load("bubil", tmp_path / "short"), load("bubil", tmp_path / "long")
    same_samples(short, long)
    assert splits(short) == {f"B{number:02}": "test" if number == 5 else "train" for number in (5, 1, 2, 3, 4, 6, 7)}
    assert short["B01"].mask[5:9, 1:7].all() and short["B01"].mask.sum() == 24
    (tmp_path / "short" / "bubil" / "GoldStandard" / "seg_B03.png").unlink()
    refused(["B03.png: has no mask"], "bubil", tmp_path / "short")
