"""Columns of a table beside images: which is taken, which might be, and the flag that decides."""

import pytest
from raw_sets import grey, load, make_table, refused, save, save_pair, write_table

from synthmed_tf.datasets.fingerprint import fingerprint_set
from synthmed_tf.datasets.sources import list_entries

WHO = [f"{index // 2}" for index in range(10)]


@pytest.fixture
def pairs(tmp_path):
    """Ten pairs and a table whose column says nothing by its heading."""
    for index in range(10):
        save_pair(tmp_path, f"im{index:02}")
    rows = [[f"im{index:02}.png", who, "x"] for index, who in enumerate(WHO)]
    write_table(tmp_path / "table.csv", [("file", "who", "note"), *rows])
    return tmp_path


def groups(folder, **options):
    return [entry.group for entry in list_entries(str(folder), "", **options)]


@pytest.mark.parametrize("heading", ["pid", "Patientennummer", "lesion_id", "患者ID", "eye_id"])
def test_pairs_of_one_patient_stay_together(pairs, heading):
    write_table(pairs / "table.csv", [("file", heading), *([f"im{i:02}.png", who] for i, who in enumerate(WHO))])
    samples = load(pairs)
    assert [samples[f"im{index:02}"].group for index in range(10)] == WHO
    assert {entry.group_column for entry in list_entries(str(pairs), "")} == {heading}
    entries = list_entries(str(pairs), "", group_column="none")
    assert len({entry.group for entry in entries}) == 10 and not any(entry.group_column for entry in entries)


def test_a_column_that_repeats_is_named_in_a_warning_whose_remedies_help(pairs):
    with pytest.warns(UserWarning) as caught:
        assert len(set(groups(pairs))) == 10
    said = str(caught[0].message)
    assert "its column 'who' repeats as names of patients do: 5 values in 10 rows" in said
    for words in ("--group_column=who", "--group_column=none"):
        assert words in said
    assert [load(pairs, group_column="who")[f"im{index:02}"].group for index in range(10)] == WHO
    assert len({sample.group for sample in load(pairs, group_column="none").values()}) == 10
    prints = [
        fingerprint_set(str(pairs), "", entries=list_entries(str(pairs), "", None, name)) for name in ("who", "none")
    ]
    assert prints[0] != prints[1]


def test_a_column_that_is_not_there(pairs):
    line = refused(
        ["--group_column=whom: no table beside the images has such a column", "give one of them"],
        pairs,
        group_column="whom",
    )
    assert "allowed are file, who, note, none" in line
    write_table(pairs / "more.csv", [("file", "site"), *([f"im{index:02}.png", "x"] for index in range(10))])
    assert groups(pairs, group_column="who") == WHO and set(groups(pairs, group_column="site")) == {"x"}
    refused(["--group_column=x: nih says itself", "leave it out"], "nih", group_column="x")


def test_without_a_table(tmp_path):
    save_pair(tmp_path, "a")
    refused(["--group_column=pid: no table beside the images", "allowed are none"], tmp_path, group_column="pid")
    assert groups(tmp_path, group_column="none") == ["a"]


def test_classes_and_a_column_that_may_name_patients(tmp_path):
    rows = [[f"im{index:02}.png", "ab"[index % 2], who] for index, who in enumerate(WHO)]
    make_table(tmp_path, rows, ("file", "label", "who"))
    refused(["which column holds the classes?", "label, who"], tmp_path)
    with pytest.warns(UserWarning, match="its column 'who' repeats as names of patients do.*--group_column=who"):
        assert len(set(groups(tmp_path, labels="label"))) == 10
    assert groups(tmp_path, labels="label", group_column="who") == WHO == groups(tmp_path, group_column="who")
    refused("--group_column=whom: ", tmp_path, labels="label", group_column="whom")
    write_table(tmp_path / "labels.csv", [("file", "who"), *([row[0], row[2]] for row in rows)])
    with pytest.warns(UserWarning, match="'who' is taken for the classes and repeats.*--labels=who"):
        assert {entry.label for entry in list_entries(str(tmp_path), "")} == set(WHO)
    assert len({sample.label for sample in load(tmp_path, labels="who").values()}) == 5  # the remedy


def test_names_of_patients_in_several_spellings(pairs):
    cells = ["P1", "p1", "P1 ", "jose\u0301", "jos\u00e9", "", "unknown", "N/A", "-", "2"]
    write_table(pairs / "table.csv", [("file", "patient"), *([f"im{i:02}.png", cell] for i, cell in enumerate(cells))])
    with pytest.warns(
        UserWarning, match="4 of 10 images have no patient .*im05.png, .*, and each counts as a patient of"
    ):
        found = groups(pairs)
    assert found == ["P1", "P1", "P1", "jos\u00e9", "jos\u00e9", "im05", "im06", "im07", "im08", "2"]


def test_the_column_of_files_is_the_one_that_looks_so(tmp_path):
    """Numbers of patients may be names of files too."""
    order = [3, 1, 0, 2]
    make_table(tmp_path, [[f"{i}.png", i] for i in range(4)])
    for heading in ("pid", "number"):
        write_table(
            tmp_path / "labels.csv",
            [(heading, "image", "label"), *([n, f"{i}.png", "ab"[i % 2]] for i, n in enumerate(order))],
        )
        assert [entry.label for entry in list_entries(str(tmp_path), "", "label")] == ["a", "b", "a", "b"]
    write_table(
        tmp_path / "labels.csv", [("pid", "image", "label"), *([n, i, "ab"[i % 2]] for i, n in enumerate(order))]
    )
    assert [entry.label for entry in list_entries(str(tmp_path), "", "label")] == ["a", "b", "a", "b"]


def test_splits_by_what_they_are_called_or_hold(tmp_path):
    rows = [[f"{i}.png", "ab"[i % 2], "test" if i > 5 else "Train"] for i in range(8)]
    for heading in ("split", "Split", "subset", "fold"):
        make_table(tmp_path, rows, ("file", "label", heading))
        assert [entry.split for entry in list_entries(str(tmp_path), "")] == ["train"] * 6 + ["test"] * 2
    for split in ("train", "test"):  # the folders say it too
        make_table(tmp_path / "own", [[f"{split}/{i}.png", "ab"[i % 2]] for i in range(4)])
    write_table(
        tmp_path / "own" / "labels.csv",
        [("file", "label"), *([f"{s}/{i}.png", "ab"[i % 2]] for s in ("train", "test") for i in range(4))],
    )
    assert {(entry.id.split("_")[0], entry.split) for entry in list_entries(str(tmp_path / "own"), "")} == {
        ("train", "train"), ("test", "test"),
    }  # fmt: skip


def test_tables_that_cannot_be_right(tmp_path):
    table = make_table(tmp_path, [[f"{i}.png", "ab"[i % 2]] for i in range(4)]) / "labels.csv"
    table.write_text("file,label,label\n" + "".join(f"{i}.png,a,b\n" for i in range(4)))
    refused(["two columns are called 'label'", "rename one"], tmp_path, labels="label")
    table.write_text("file,label\n0.png,ill, severe\n" + "".join(f"{i}.png,b\n" for i in range(1, 4)))
    refused(["line 2: 'severe' stands beyond its 2 columns", "into quotes"], tmp_path)
    table.write_text('file,label\n0.png,"ill, severe"\n' + "".join(f"{i}.png,b\n" for i in range(1, 4)))
    assert list_entries(str(tmp_path), "")[0].label == "ill, severe"  # the remedy


def test_spreadsheets_are_not_passed_over_in_silence(tmp_path):
    save(tmp_path / "images" / "a.png", grey())
    (tmp_path / "patients.XLSX").touch()
    with pytest.warns(UserWarning, match="1 spreadsheets are not read .patients.XLSX.; save as CSV"):
        list_entries(str(tmp_path), "")


def test_tables_with_tabs(tmp_path):
    make_table(tmp_path, [[f"{i}.png", "ab"[i % 2]] for i in range(4)])
    text = (tmp_path / "labels.csv").read_text().replace(",", "\t")
    (tmp_path / "labels.csv").rename(tmp_path / "labels.TSV")
    (tmp_path / "labels.TSV").write_bytes(text.encode("utf-16"))
    assert [entry.label for entry in list_entries(str(tmp_path), "")] == ["a", "b", "a", "b"]
