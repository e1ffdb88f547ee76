"""NIH ChestX-ray14 in its official layout, with made files, and the real subset."""

import collections

import numpy as np
import pytest
from PIL import Image
from raw_sets import PEOPLE, edit, grey, load, make_nih, quiet_split, refused, save, shares

from synthmed_tf.datasets import load as load_module
from synthmed_tf.datasets.load import load_samples
from synthmed_tf.datasets.sources import list_entries

GROUPS = ["female 18-38", "male 18-38", "female 39-47", "male 39-47", "female 48-68", "male 48-68"]


@pytest.fixture(autouse=True)
def no_normalisation(monkeypatch):
    """Pixels stay as they are in the files: how brightness is normalised is for tests/test_lungs.py."""
    monkeypatch.setattr(load_module, "normalise_by_lungs", lambda image: (image, True))


@pytest.mark.parametrize("age", ["{:03d}Y", "{}"])  # as in the releases of 2017 and 2020
def test_nih_as_it_ships(tmp_path, age):
    make_nih(tmp_path / "nih", PEOPLE * 2, age=age)
    samples = load("nih", tmp_path)
    assert len(samples) == 24
    for id, sample in samples.items():
        patient = int(id[:8])
        assert (sample.group, sample.label) == (str(patient), GROUPS[(patient - 1) % 6])
        assert sample.split == ("test" if patient > 10 else "train")
        assert sample.image.shape == (12, 10, 1) and sample.mask is None and sample.field_of_view is None
        path = tmp_path / "nih" / f"images_{1 + patient % 2:03d}" / "images" / f"{id}.png"
        assert (sample.image[..., 0] == np.asarray(Image.open(path))).all()


def test_nih_own_bins_leave_the_others_out(tmp_path):
    make_nih(tmp_path / "nih", [("F", 18), ("F", 38), ("M", 38), ("M", 39), ("F", 17), ("M", 18)], xrays=1, lists=False)
    entries, said = quiet_split("nih", tmp_path, labels="18-38")
    assert sorted(entry.label for entry in entries) == ["female 18-38"] * 2 + ["male 18-38"] * 2
    assert "2 of 6 images are in no class of --labels=18-38" in said and "00000004_000.png" in said
    refused("none of the 6 images of nih has an age in these bins", "nih", tmp_path, labels="90-99")
    refused(["all images are of one class", "female 17-17"], "nih", tmp_path, labels="17-17")
    refused("age bins must not overlap", "nih", tmp_path, labels="18-38,30-40")


def test_ages_that_are_typing_errors(tmp_path):
    make_nih(tmp_path / "nih", [("F", 20), ("M", 20), ("F", 414), ("M", 20)], xrays=1, lists=False)
    entries, said = quiet_split("nih", tmp_path, labels="0-999")
    assert len(entries) == 3 and "1 of 4 images" in said


def test_nih_of_any_folders_and_with_some_archives_only(tmp_path):
    make_nih(tmp_path / "nih", PEOPLE * 2)
    official = list_entries("nih", tmp_path)
    for path in (tmp_path / "nih").glob("images_002/images/*.png"):
        path.unlink()
    assert [e.id for e in list_entries("nih", tmp_path)] == [e.id for e in official if int(e.id[:8]) % 2 == 0]

    make_nih(tmp_path / "other" / "NIH", PEOPLE * 2, table="metadata.csv")
    for folder in (tmp_path / "other" / "NIH").glob("images_*"):
        (folder / "images").rename(tmp_path / "other" / "NIH" / f"of_{folder.name}")
    assert [e[:3] for e in list_entries("nih", tmp_path / "other")] == [e[:3] for e in official]


def test_nih_that_does_not_fit(tmp_path):
    folder = tmp_path / "nih"
    refused(["NIH ChestX-ray14 is not there", "nihcc.app.box.com", str(folder), "--data_dir"], "nih", tmp_path)
    folder.mkdir()
    refused("no Data_Entry_2017_v2020.csv", "nih", tmp_path)
    make_nih(folder)
    table = folder / "Data_Entry_2017.csv"
    right = table.read_text()
    edit(table, "00000002_001.png", "00000009_001.png")
    refused(["00000002_001.png: has no row in", "1 of 12 images have none"], "nih", tmp_path)
    table.write_text(right)
    edit(table, "00000002_001.png", "00000002_000.png")
    refused(["Data_Entry_2017.csv: line 5", "second time"], "nih", tmp_path)
    table.write_text(right.replace(",2,030Y", ",,030Y"))
    refused(["line 4", "has no Patient ID"], "nih", tmp_path)
    table.write_text(right.replace("Patient Age", "Age"))
    refused(["no column 'Patient Age'", "Image Index, Finding Labels"], "nih", tmp_path)
    table.write_text(right)
    (folder / "test_list.txt").rename(tmp_path / "test_list.txt")
    refused(["has train_val_list.txt and no test_list.txt"], "nih", tmp_path)
    (folder / "test_list.txt").write_text("00000006_000.png")
    refused("neither in train_val_list.txt nor in test_list.txt", "nih", tmp_path)
    (folder / "test_list.txt").write_text(
        "\n".join(f"{patient:08d}_00{number}.png" for patient in (4, 5, 6) for number in (0, 1))
    )
    edit(folder / "train_val_list.txt", "00000004_000.png", "")
    edit(folder / "test_list.txt", "00000004_001.png", "00000001_000.png")
    edit(folder / "train_val_list.txt", "00000001_000.png", "00000004_001.png")
    refused(["its group", "is in train and in test"], "nih", tmp_path)
    save(folder / "more" / "00000001_000.png", grey())
    refused("00000001_000.png: same name as", "nih", tmp_path)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P"])
def test_xrays_saved_in_colour_are_grey(tmp_path, mode):
    make_nih(tmp_path / "nih", PEOPLE * 2)
    path = tmp_path / "nih" / "images_002" / "images" / "00000001_000.png"
    pixels = np.asarray(Image.open(path))
    Image.fromarray(pixels).convert(mode).save(path)
    assert (load("nih", tmp_path)["00000001_000"].image[..., 0] == pixels).all()


def test_real_nih(real_data):
    everybody = list_entries("nih", real_data, "0-120")
    assert len(everybody) == 961 and len({entry.group for entry in everybody}) == 653  # SOURCE.md
    assert collections.Counter(entry.label for entry in everybody) == {"male 0-120": 504, "female 0-120": 457}
    adults, said = quiet_split("nih", real_data, labels="18-120")
    assert len(adults) == 961 - 93 and said.startswith("nih: 93 of 961 images are in no class")
    entries, _ = quiet_split("nih", real_data)
    assert sorted(shares(entries)) == sorted(GROUPS)
    assert all(0.19 < share < 0.23 for share in shares(entries).values())
    with pytest.warns(UserWarning):
        samples = list(load_samples("nih", real_data))
    assert len(samples) == len(entries) - 1  # 00002658_001 and _002 are the same file
    assert all(s.image.shape == (256, 256, 1) and s.image.dtype == np.uint8 for s in samples)


@pytest.mark.parametrize("labels", ["x_norm_l", "x_norm", "x_norm_2"])
def test_real_nih_in_the_papers_bins(real_data, labels):
    entries, _ = quiet_split("nih", real_data, labels=labels)
    assert all(0 < share <= 0.5 for share in shares(entries).values())
