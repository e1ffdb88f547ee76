"""CHASE_DB1 in its layout, with made files, and the real one."""

import numpy as np
from raw_sets import RNG, load, save, splits

from synthmed_tf.datasets.load import load_samples
from synthmed_tf.datasets.split import split_entries


def test_chase_db1_as_it_ships(tmp_path):
    y, x = np.mgrid[:60, :64]
    disc = (y - 30) ** 2 + (x - 32) ** 2 < 26**2
    flat = tmp_path / "CHASEDB1"
    for child in (1, 10, 11):
        for eye in "LR":
            photograph = np.where(disc, RNG.integers(120, 200, disc.shape), 2)[..., None].repeat(3, -1).astype(np.uint8)
            save(flat / f"Image_{child:02}{eye}.jpg", photograph)
            for observer in ("1stHO", "2ndHO"):
                save(flat / f"Image_{child:02}{eye}_{observer}.png", RNG.random((60, 64)) < 0.2)
    samples = load("chase_db1", tmp_path)
    assert splits(samples) == {
        f"Image_{child:02}{eye}": "test" if child == 11 else "train" for child in (11, 1, 10) for eye in "LR"
    }
    assert {sample.group for sample in samples.values()} == {"01", "10", "11"}
    assert all(sample.second_mask is not None for sample in samples.values())
    for sample in samples.values():  # estimated
        field = sample.field_of_view[..., 0]
        assert 2 * (field & disc).sum() / (field.sum() + disc.sum()) > 0.95


def test_real_chase_db1_and_bubil(real_data):
    entries = split_entries("chase_db1", real_data)
    assert [sum(entry.split == split for entry in entries) for split in ("train", "test")] == [20, 8]
    sample = next(load_samples("chase_db1", real_data))
    assert sample.image.shape == (960, 999, 3) and 0.04 < sample.mask.mean() < 0.1 and sample.second_mask is not None

    samples = load("bubil", real_data)
    assert len(samples) == 35 and sum(sample.split == "test" for sample in samples.values()) == 7
    assert samples["B02"].image.shape == (1030, 1300, 1)  # a grey palette
    assert all(0.005 < sample.mask.mean() < 0.13 for sample in samples.values())  # SOURCE.md: 1-12 % of the frame
