"""MESSIDOR in its official layout, with made files."""

import zipfile
from pathlib import Path

from raw_sets import load, make_messidor, refused, same_samples, save_photograph, write_grades

from synthmed_tf.datasets import messidor


def test_messidor_as_it_ships(tmp_path):
    made = make_messidor(tmp_path / "messidor", messidor.BASES, 1)
    for base in made:
        (tmp_path / "messidor" / f"Annotation_{base}.xls").write_bytes(b"not read")
    samples = load("messidor", tmp_path)
    assert set(samples) == {Path(name).stem for names in made.values() for name in names} and len(samples) == 12
    for id, sample in samples.items():
        assert (sample.split, sample.label, sample.mask, sample.group) == ("train", None, None, id)
        assert 0 < sample.field_of_view.mean() < 1
    held_out = [sample.split for sample in load("messidor", tmp_path, holdout=2).values()]
    assert sorted(held_out) == ["test"] * 2 + ["train"] * 10


def test_messidor_zips_are_the_same_set(tmp_path):
    made = make_messidor(tmp_path / "plain" / "messidor")
    write_grades(tmp_path / "plain" / "messidor" / "Base12" / "Annotation_Base12.csv", [[made["Base12"][0], "3"]])
    for base in ("Base11", "Base33"):
        rows = [[name, "1"] for name in made[base]]
        write_grades(tmp_path / "plain" / "messidor" / f"Annotation_{base}.csv", rows)
    refused(["has no grade in", "2 of 9"], "messidor", tmp_path / "plain")
    rows = [[name, "2"] for name in made["Base12"]]
    write_grades(tmp_path / "plain" / "messidor" / "Base12" / "Annotation_Base12.csv", rows)
    plain = load("messidor", tmp_path / "plain")
    assert sorted(sample.label for sample in plain.values()) == ["1"] * 6 + ["2"] * 3

    zipped = tmp_path / "zipped" / "MESSIDOR"
    zipped.mkdir(parents=True)
    for base, prefix in (("Base11", ""), ("Base12", "Base12/"), ("Base33", "")):  # flat, and with the folder
        with zipfile.ZipFile(zipped / f"{base}.zip", "w") as archive:
            for file in sorted((tmp_path / "plain" / "messidor" / base).iterdir()):
                archive.write(file, prefix + file.name)
    for base in ("Base11", "Base33"):
        name = f"Annotation_{base}.csv"
        (zipped / name).write_bytes((tmp_path / "plain" / "messidor" / name).read_bytes())
    same_samples(plain, load("messidor", tmp_path / "zipped"))


def test_messidor_tables_as_spreadsheets_save_them(tmp_path):
    made = make_messidor(tmp_path / "messidor", ("Base11", "Base21"))
    header = ("Image name", "Ophthalmologic department", "Retinopathy grade", "Risk of macular edema ")
    for base, delimiter in (("Base11", ","), ("Base21", ";")):
        rows = [[name, "Hôpital Lariboisière", str(index), "0"] for index, name in enumerate(made[base])]
        write_grades(tmp_path / "messidor" / f"Annotation_{base}.csv", rows, header, delimiter=delimiter)
    samples = load("messidor", tmp_path)
    for base in made:
        assert [samples[Path(name).stem].label for name in made[base]] == ["0", "1", "2"]
    rows = [[name, "", "4", "0"] for name in made["Base11"]]
    write_grades(tmp_path / "messidor" / "Annotation_Base11.csv", rows, header)
    refused(["Annotation_Base11.csv: line 2", "'4'", "0 to 3"], "messidor", tmp_path)


def test_messidor_errata(tmp_path):
    """Grades of 31 August and 24 October 2016; names and pairs of 16 August 2017 and 9 February 2018."""
    folder = tmp_path / "messidor"
    wrong = {
        "20051020_63045_0100_PP": ("Base11", "3", "0"),
        "20051020_64007_0100_PP": ("Base11", "1", "3"),
        "20051020_63936_0100_PP": ("Base11", "3", "1"),
        "20060523_48477_0100_PP": ("Base13", "2", "3"),
        "20051202_55626_0400_PP": ("Base33", "2", "2"),  # the same photograph as the next one
        "20051205_33025_0400_PP": ("Base33", "3", None),
        "20051202_55562_0400_PP": ("Base33", "1", "1"),  # and this one as the next
        "20051202_54611_0400_PP": ("Base33", "1", None),
    }
    for name, (base, _, _) in wrong.items():
        save_photograph(folder / base / f"{name}.tif")
    for base in ("Base11", "Base13", "Base33"):
        rows = [[f"{name}.tif", grade, "0"] for name, (place, grade, _) in wrong.items() if place == base]
        write_grades(folder / f"Annotation_{base}.csv", rows)
    samples = load("messidor", tmp_path)
    assert {id: sample.label for id, sample in samples.items()} == {
        name: right for name, (_, _, right) in wrong.items() if right
    }
    assert len(messidor.DUPLICATES) == 13


def test_messidor_names_that_are_not_its_own(tmp_path):
    save_photograph(tmp_path / "messidor" / "Base11" / "holiday.tif")
    refused(["no Base11/20051019_38557_0100_PP.tif", "adcis.net"], "messidor", tmp_path)
