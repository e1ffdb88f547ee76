"""Samples that do not fit are refused, and nothing is left behind."""

import os

import numpy as np
import pytest
from made_records import content, make_samples, replaced

from synthmed_tf.records.write import write_records
from synthmed_tf.sample import InputError


@pytest.fixture
def folder(tmp_path):
    """A data set of 10 pairs in several shards."""
    write_records(tmp_path / "set", "noise", make_samples(), source="made", shard_bytes=8000)
    return tmp_path / "set"


def test_groups_for_all_samples_or_none(tmp_path):
    samples = [
        replaced(sample, group=None if sample.id.startswith("004") else sample.group) for sample in make_samples()
    ]
    with pytest.raises(InputError, match="has group, sample .* has none"):
        write_records(tmp_path / "set", "noise", samples, source="made", keep_groups=True)
    write_records(tmp_path / "set", "noise", samples, source="made")


def mask_value_2(sample):
    mask = sample.mask.copy()
    mask[0, 0] = 2
    return replaced(sample, mask=mask)


MISFITS = {
    "mask of another size": (lambda s: replaced(s, mask=s.mask[:-1]), "mask is 23x32 pixels.*24x32"),
    "sample of another size": (lambda s: replaced(s, image=s.image[:-1], mask=s.mask[:-1]), "one size.*--image_size"),
    "grey among colour": (lambda s: replaced(s, image=s.image[..., :1]), r"\[24, 32, 1\].*\[24, 32, 3\]"),
    "two channels": (lambda s: replaced(s, image=s.image[..., :2]), "1 or 3"),
    "no channel axis": (lambda s: replaced(s, mask=s.mask[..., 0]), "height, width, 1"),
    "16 bits among 8": (lambda s: replaced(s, image=s.image.astype(np.uint16)), "uint16.*uint8"),
    "floats": (lambda s: replaced(s, image=s.image / 255), "float64"),
    "mask of 0 and 255": (lambda s: replaced(s, mask=s.mask * np.uint8(255)), "255, allowed are 0 and 1"),
    "mask with a 2": (mask_value_2, "up to 2, allowed are 0 and 1"),
    "no mask": (lambda s: replaced(s, mask=None), "005é has none"),
    "no image": (lambda s: replaced(s, image=None), "005é has none"),
    "a field of view": (lambda s: replaced(s, field_of_view=s.mask), "005é has field_of_view, sample 000é has none"),
    "a label": (lambda s: replaced(s, label="a"), "005é has label"),
    "id twice": (lambda s: replaced(s, id="000é"), "two samples have the id '000é'"),
    "empty id": (lambda s: replaced(s, id=""), "non-empty"),
    "split that climbs out": (lambda s: replaced(s, split="../x"), "split '../x'"),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_sample_that_does_not_fit(tmp_path, folder, misfit):
    change, message = MISFITS[misfit]
    before = content(folder)
    samples = [change(sample) if i == 5 else sample for i, sample in enumerate(make_samples())]
    for target in (folder, tmp_path / "new"):
        with pytest.raises(InputError, match=message):
            write_records(target, "noise", samples, source="made")
    assert content(folder) == before
    assert os.listdir(tmp_path) == ["set"]
