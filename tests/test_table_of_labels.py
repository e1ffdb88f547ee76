"""Tables beside images of one's own: classes, groups and splits."""

import pytest
from raw_sets import edit, grey, load, make_table, quiet_split, refused, save, save_pair, shares, splits, write_table

from synthmed_tf.datasets.fingerprint import fingerprint_set
from synthmed_tf.datasets.sources import list_entries
from synthmed_tf.datasets.split import split_entries


@pytest.fixture
def own(tmp_path):
    """A folder of one's own with seven pairs."""
    folder = tmp_path / "own"
    for stem in "abcdefg":
        save_pair(folder, stem)
    return folder


def test_a_table_beside_masks_tells_groups_and_split(own):
    first = fingerprint_set(str(own), "")
    (own / "notes.csv").write_bytes("name,Größe\na.png,3\n".encode("latin-1"))  # tells neither
    assert fingerprint_set(str(own), "") == first
    rows = [f"{stem}.png,p{index // 2}" for index, stem in enumerate("abcdefg")]
    (own / "patients.csv").write_text("\n".join(["file,Patient ID", *rows]))
    assert [entry.group for entry in list_entries(str(own), "")] == "p0 p0 p1 p1 p2 p2 p3".split()
    grouped = fingerprint_set(str(own), "")
    (own / "patients.csv").write_text("\n".join(["file,split", *(f"images/{s}.png,train" for s in "abcdef"), "g,test"]))
    assert splits(load(own)) == {"g": "test", **dict.fromkeys("abcdef", "train")}
    assert len({first, grouped, fingerprint_set(str(own), "")}) == 3
    (own / "patients.csv").write_text("file,patient\na,1\n")
    refused(["b.png: has no row in", "patients.csv"], own)
    (own / "more.csv").write_text("file,group\na,1\n")
    refused("tells groups or a split, as", own)


def test_a_table_beside_train_and_test_tells_groups(tmp_path):
    for stem, split in zip("abc", ("train", "train", "test"), strict=True):
        save_pair(tmp_path / split, stem)
    (tmp_path / "t.csv").write_text("file,subject\na,1\ntrain/images/b.png,1\nc.png,2\n")
    assert [sample.group for sample in load(tmp_path).values()] == ["2", "1", "1"]
    (tmp_path / "t.csv").write_text("file,subject\na,1\nb,1\nc.png,1\n")
    refused("its group '1' is in train and in test", tmp_path)
    (tmp_path / "t.csv").write_text("file,split\na,train\nb,test\nc.png,test\n")
    refused(["t.csv: line 3: the split is test", "train/images/b.png lies in train"], tmp_path)


def test_a_table_of_labels(tmp_path):
    rows = [[f"{i}.png", "ill" if i % 3 else "well"] for i in range(15)]
    samples = load(make_table(tmp_path, rows))
    assert {f"{id}.png": s.label for id, s in samples.items()} == dict(rows)
    assert shares(samples.values()) == {"ill": 0.2, "well": 0.2}


@pytest.mark.parametrize("call", ["images/{}.png", "{}.png", "{}", "./images/{}.png", "images\\{}.png"])
def test_what_a_table_may_call_an_image(tmp_path, call):
    make_table(tmp_path, [[f"{i}.png", i % 2] for i in range(4)])
    write_table(tmp_path / "labels.csv", [["class", "name"], *([i % 2, call.format(i)] for i in range(4))])
    assert {entry.id: entry.label for entry in list_entries(tmp_path, "")} == {
        "0": "0",
        "1": "1",
        "2": "0",
        "3": "1",
    }


def test_a_table_with_groups_and_split(tmp_path):
    rows = [
        ["a.png", "ill", "p1", "Train"],
        ["b.png", "ill", "p1", "val"],
        ["c.png", "well", "p2", "train"],
        ["d.png", "well", "p3", "test"],
    ]
    make_table(tmp_path, rows, ("path", "finding", "Patient ID", "split"))
    found = {entry.id: (entry.label, entry.group, entry.split) for entry in list_entries(tmp_path, "")}
    assert found == {
        "a": ("ill", "p1", "train"),
        "b": ("ill", "p1", "train"),
        "c": ("well", "p2", "train"),
        "d": ("well", "p3", "test"),
    }
    edit(tmp_path / "labels.csv", "p3,test", "p2,test")
    refused(["its group 'p2' is in train and in test"], tmp_path)
    edit(tmp_path / "labels.csv", "p2,test", "p2,none")
    refused(["labels.csv: line 5: split is 'none'", "train, val or test"], tmp_path)
    edit(tmp_path / "labels.csv", "p2,none", ",test")
    with pytest.warns(UserWarning, match="1 of 4 images have no Patient ID .*d.png.* a patient of its own"):
        assert list_entries(tmp_path, "")[3].group == "d"


@pytest.mark.parametrize(
    "column",
    [
        "PatientID",
        "patient-id",
        "PATIENT_NAME",
        "subject",
        "case_id",
        "participant_id",
        "Person Name",
        "study_id",
        "group",
    ],
)
def test_a_column_of_patients_whatever_it_is_called(tmp_path, column):
    rows = [[f"{i}.png", f"p{i // 2}", "ab"[i % 2]] for i in range(10)]
    make_table(tmp_path, rows, ("file", column, "finding"))
    for labels in (None, "finding"):
        entries = split_entries(str(tmp_path), "", labels=labels)
        assert {entry.id: entry.group for entry in entries} == {row[0][:-4]: row[1] for row in rows}
        assert {entry.label for entry in entries} == {"a", "b"} and len(shares(entries)) == 2
    make_table(tmp_path, [row[:2] for row in rows], ("file", column))
    with pytest.warns(UserWarning, match="no column holds classes, so the images have none"):
        entries = list_entries(tmp_path, "")  # names of patients are no classes
    assert {(entry.label, entry.group) for entry in entries} == {(None, row[1]) for row in rows}
    assert {entry.label for entry in list_entries(tmp_path, "", column)} == {row[1] for row in rows}


def test_the_patient_counts_before_the_study(tmp_path):
    rows = [[f"{i}.png", f"s{i}", f"p{i // 2}", "ab"[i % 2]] for i in range(10)]
    make_table(tmp_path, rows, ("file", "study_id", "Patient", "finding"))
    assert {entry.group for entry in list_entries(tmp_path, "")} == {f"p{i}" for i in range(5)}


def test_tables_that_are_not_utf_8(tmp_path):
    make_table(tmp_path, [[f"{i}.png", ("Tumör", "Tumür")[i % 2]] for i in range(4)])
    text = (tmp_path / "labels.csv").read_text(encoding="utf-8")
    assert {entry.label for entry in list_entries(tmp_path, "")} == {"Tumör", "Tumür"}
    for encoding in ("latin-1", "utf-16-le"):
        (tmp_path / "labels.csv").write_bytes(text.encode(encoding))
        refused(["labels.csv", "save it as CSV UTF-8"], tmp_path)


def test_a_choice_of_label_columns(tmp_path):
    rows = [[f"{i}.png", "FM"[i % 2], "ill" if i < 5 else "well", ""] for i in range(10)]
    make_table(tmp_path, rows, ("file", "sex", "finding", "empty"))
    assert load(tmp_path, labels="sex")["3"].label == "M" and load(tmp_path, labels="finding")["3"].label == "ill"
    prints = [fingerprint_set(str(tmp_path), "", labels) for labels in ("sex", "finding")]
    assert prints[0] != prints[1]
    refused(["labels.csv: which column holds the classes?", "--labels=COLUMN", "sex, finding, empty"], tmp_path)
    refused(["--labels=age", "no such column", "file, sex, finding, empty"], tmp_path, labels="age")
    refused("its column 'empty' is empty", tmp_path, labels="empty")


def test_images_beside_a_table_or_in_folders_of_patients(tmp_path):
    for name in ("p1/1.png", "p1/2.png", "p2/1.png", "p3/1.png"):
        save(tmp_path / name, grey())
    rows = [["p1/1.png", "a"], ["p1/2.png", "b"], ["p2/1.png", "a"], ["p3/1.png", "b"]]
    write_table(tmp_path / "labels.CSV", [("path", "kind"), *rows])
    assert {e.id: e.label for e in list_entries(tmp_path, "", "kind")} == {
        path.replace("/", "_").removesuffix(".png"): label for path, label in rows
    }
    write_table(tmp_path / "labels.CSV", [("path", "kind"), ["1.png", "a"]])  # three of them
    refused("none of its columns (path, kind) names images", tmp_path, labels="kind")


def test_images_in_the_folder_itself(tmp_path):
    make_table(tmp_path, [["a.png", "x"], ["b.png", "y"]])
    for path in (tmp_path / "images").iterdir():
        path.rename(tmp_path / path.name)
    (tmp_path / "images").rmdir()
    assert {entry.id: entry.label for entry in list_entries(tmp_path, "")} == {"a": "x", "b": "y"}


def test_tables_that_do_not_fit(tmp_path):
    rows = [[f"{i}.png", "ab"[i % 2]] for i in range(10)]
    table = make_table(tmp_path, rows) / "labels.csv"
    save(tmp_path / "images" / "new.png", grey())
    refused(["new.png: has no row in", "1 of 11 images have none"], tmp_path)
    write_table(table, [("file", "finding"), *rows, ["new.png", "a"], ["newer.png", "b"]])
    refused(["labels.csv: line 13: no image 'newer.png'", "take the row out"], tmp_path)
    write_table(table, [("file", "finding"), *rows, ["new.png", "a"], ["images/new.png", "b"]])
    refused(["line 13", "second time"], tmp_path)
    write_table(table, [("file", "finding"), *([*row[:1], "a"] for row in [*rows, ["new.png"]])])
    refused("all images are of one class, 'a'", tmp_path)
    write_table(table, [("file",), *([row[0]] for row in rows)])
    table.write_text("")
    refused("none of its columns (none) names images", tmp_path)
    table.write_text('file,"two\nlines"\nelsewhere/x.png,a\n')
    refused("none of its columns (file, two\\nlines)", tmp_path)
    write_table(tmp_path / "more.csv", rows)
    refused("found labels.csv and more.csv", tmp_path)
    (tmp_path / "Label").mkdir()
    refused("has Label/, and images with masks have no classes", tmp_path, labels="finding")


def test_rows_without_a_class_are_left_out(tmp_path):
    make_table(tmp_path, [[f"{i}.png", "ab"[i % 2] if i else ""] for i in range(11)])
    entries, said = quiet_split(str(tmp_path), "")
    assert len(entries) == 10 and "1 of 11 images are in no class" in said
