import base64
import copy
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from synthmed_tf.evaluation import baseline, privacy_audit
from synthmed_tf.metrics import f1, features, fidelity, kid_fid, kl, shapes
from synthmed_tf.records.read import Records
from synthmed_tf.records.write import write_records
from synthmed_tf.reporting import figures, html, table, words
from synthmed_tf.sample import InputError, Sample

HOSTILE = '<script>alert("1")</script>&\x1b[31m'
ARMS = {"real": 0.80, "synthetic": 0.77, "real_and_synthetic": 0.81, "synthetic_50": 0.76}


def made_samples(count, prefix, seed, size=(64, 64), channels=3, splits=("train",)):
    """Blobs that are brighter where the mask is."""
    rng = np.random.default_rng(seed)
    found = []
    for split in splits:
        for index in range(count):
            rows, columns = (np.sin(rng.uniform(2, 4) * np.linspace(0, 6, n) + rng.uniform(0, 6)) for n in size)
            mask = (rows[:, None] + columns > 1.2).astype(np.uint8)[..., None]
            image = np.clip(90 + 60 * mask + rng.normal(0, 15, (*size, channels)), 0, 255).astype(np.uint8)
            name = f"{prefix}{split}{index}"
            found.append(
                Sample(name, image, mask, np.ones_like(mask), split=split, seed=index if prefix == "s" else None)
            )
    return found


def spread(values):
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "sd": sd, "runs": list(values)}


def arms(shift=0.0, repeats=3):
    return {
        arm: {
            metric: {c: spread([value + shift + 0.01 * k + 0.002 * run for run in range(repeats)]) for k, c in enumerate(f1.CONVENTIONS)}
            for metric in f1.METRICS
        }
        for arm, value in ARMS.items()
    }  # fmt: skip


def made_report(tmp_path, *, size=(64, 64), channels=3, name="drive", hostile=False):
    """A well-formed report.json with random records;
    returns (report dict, report folder, real folder, synthetic folder).
    """
    real = made_samples(8, "r", 0, size, channels, ("train", "test"))
    synthetic = made_samples(12, "s", 1, size, channels)
    if hostile:
        real[0] = Sample(**{**vars(real[0]), "id": HOSTILE})
        synthetic[0] = Sample(**{**vars(synthetic[0]), "id": HOSTILE, "mask": real[0].mask})
    extra = {
        "command": f"train_stage2.py --data={HOSTILE if hostile else name}",
        "checkpoint_sha256": "abc123" * 10,
        "flags": {"steps": 2000},
    }
    real_manifest = write_records(tmp_path / "real", name, real, source="made for a test")
    synthetic_manifest = write_records(
        tmp_path / "synthetic", f"synthmed_{name}", synthetic, source="generator", extra=extra
    )
    train, test = real[:8], real[8:]
    histograms = {
        key: {c: h.tolist() for c, h in kl.intensity_histograms([s.image for s in samples]).items()}
        for key, samples in (("real", train), ("synthetic", synthetic))
    }
    human = {m: {c: None if m.startswith("auc") else 0.788 for c in f1.CONVENTIONS} for m in f1.METRICS}
    report = {
        "schema_version": 1,
        "command": "evaluate.py --synthetic_dir=out/",
        "real": real_manifest,
        "synthetic": synthetic_manifest,
        "segmentation": {
            "image_size": list(size), "steps": 400, "repeats": 3, "unet": {"levels": 3, "width": 16, "parameters": 482_000},
            "test_images": 8, "synthetic_pairs": 12, "real_pairs": 8, "arms": arms(), "ratio": 0.9625,
            "agreement": arms(-0.1)["real"],
            "thresholds": {arm: [0.41, 0.44, 0.46] for arm in ARMS}, "seconds": {arm: [61.0, 62.0, 63.0] for arm in ARMS},
            "native": {"arms": arms(-0.03), "second_observer": human},
        },
        "distribution": {
            "kl_intensity": {
                "synthetic_vs_real": {c: kl.kl_divergence(histograms["real"][c], histograms["synthetic"][c]) for c in histograms["real"]},
                "synthetic_vs_held_out": {"grey": 0.021, "red": 0.4}, "real_vs_held_out": {"grey": 0.064, "red": 0.3},
                "real_vs_real": kl.real_vs_half([s.image for s in train]),
                "synthetic_vs_half": kl.real_vs_half([s.image for s in train], others=[s.image for s in synthetic]),
            },
            "histograms": histograms,
            "smoothing": kl.SMOOTHING,
        },
        "fidelity": {
            "photographs": fidelity.compare(*(features.photograph_features([s.image for s in some]) for some in (train, synthetic, test))),
            "masks": fidelity.compare(*(features.mask_features([s.mask for s in some]) for some in (train, synthetic, test))),
        },
        "morphology": shapes.distances(*([shapes.statistics(s.mask) for s in some] for some in (train, synthetic, test))),
        "copies": privacy_audit.nearest_training_masks(train, synthetic, test),
        "privacy": privacy_audit.images(train, synthetic, test),
        "wall_seconds": 754.2,
        "real_images_shown": True,
    }  # fmt: skip
    (tmp_path / "report").mkdir()
    return report, tmp_path / "report", tmp_path / "real", tmp_path / "synthetic"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return made_report(tmp_path_factory.mktemp("made"))


def written(report, folder, *records_dirs):
    (folder / "report.json").write_text(json.dumps(report))
    path = html.write(folder, *records_dirs)
    assert path == folder / "report.html"
    page = path.read_text(encoding="utf-8")
    text = re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL))
    assert not re.search(r"\b(nan|None|inf|Undefined)\b", text), "a missing number must be said in words"
    return page, text


@pytest.fixture(scope="module")
def page_of_made(made):
    """(page, its text, {figure file: bytes}) of the whole report."""
    return *written(*made), {file.name: file.read_bytes() for file in (made[1] / "figures").iterdir()}


def pictures(page):
    return [base64.b64decode(data) for data in re.findall(r'src="data:image/png;base64,([^"]+)"', page)]


def test_the_page_says_what_the_numbers_say_and_needs_no_other_file(made, page_of_made):
    report = made[0]
    page, text, files = page_of_made
    assert "PRIVATE: contains pictures of real patients" in text
    assert sorted(pictures(page)) == sorted(files.values())
    assert not re.search(r"<script|<link|@import|url\(|https?://", page)
    assert "learned from 8 real pairs finds vessels in 8 real test images with F1 0.802 ± 0.002" in text
    assert "12 synthetic pairs alone reaches 0.772 ± 0.002, which is 96 % of that, and with both 0.812 ± 0.002" in text
    grey = report["distribution"]["kl_intensity"]["synthetic_vs_real"]["grey"]
    assert f"KL divergence of {grey:.3g}" in text and "4.759" in text and "4.212e-04" in text
    assert "Held-out images differ from the synthetic ones by 0.021, from those learned from by 0.064" in text
    assert "0.4 0.3" in text and text.count("none held out") == 4  # green and blue
    known = [entry for entry in report["morphology"].values() if None not in (entry["distance"], entry["floor"])]
    near = sum(entry["distance"] <= 2 * entry["floor"] for entry in known)
    assert text.count(f"In {near} of {len(known)} measures of shape the masks are at most twice as far") == 2
    assert "0.8205" in text and "0.9816" in text and "second person" in text and "0.788" in text
    assert "synthetic images with F1 0.702 ± 0.002, those of the real test images with 0.802 ± 0.002" in text
    assert "macro" in text and "0.8877" in text and "0.8988" in text
    for name in f1.CONVENTIONS:
        assert words.CONVENTION_NAMES[name] in text
    assert "abc123" in text and "train_stage2.py --data=drive" in text and "evaluate.py --synthetic_dir=out/" in text
    assert "13 minutes" in text


def test_every_tag_is_closed_and_every_picture_described(page_of_made):
    class Checker(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open, self.described = [], []

        def handle_starttag(self, tag, attributes):
            if tag not in ("meta", "img", "br"):
                self.open.append(tag)
            if tag == "img":
                self.described.append(dict(attributes)["alt"])

        def handle_endtag(self, tag):
            while self.open[-1] != tag:  # only what HTML lets one leave open
                assert self.open.pop() in ("li", "p", "td", "th", "tr", "dt", "dd")
            self.open.pop()

    checker = Checker()
    checker.feed(page_of_made[0])
    assert checker.open == [] and len(checker.described) == len(page_of_made[2]) == 5 and all(checker.described)


def test_without_real_images_no_picture_and_no_id_of_one_is_left(made, page_of_made):
    report, folder, _, synthetic = made
    before = page_of_made[2]
    for file, content in before.items():  # as an earlier run left them
        (folder / "figures").mkdir(exist_ok=True)
        (folder / "figures" / file).write_bytes(content)
    page, text = written(copy.deepcopy(report) | {"real_images_shown": False}, folder, None, synthetic)
    assert "PRIVATE" not in text and "left out" in text
    assert not re.search(r"\brtrain\d", page)
    after = {file.name: file.read_bytes() for file in (folder / "figures").iterdir()}
    assert sorted(after) == ["examples.png", "intensity.png", "scores.png"] and len(pictures(page)) == 3
    assert after["examples.png"] != before["examples.png"] and before["examples.png"] not in pictures(page)


def test_what_is_missing_is_said_in_words(made):
    report, *where = made
    report = copy.deepcopy(report)
    report["segmentation"]["arms"] = arms(repeats=1)
    report["segmentation"]["repeats"] = 1
    report["segmentation"]["native"]["second_observer"] = None
    report["segmentation"]["arms"]["synthetic"]["auc_roc"]["fov_pooled"] = {"mean": None, "sd": None, "runs": [None]}
    report["segmentation"]["ratio"] = None
    report["distribution"]["kl_intensity"]["real_vs_real"] = {
        channel: {"mean": None, "sd": None, "runs": []} for channel in ("grey", "red", "green", "blue")
    }
    report["copies"]["test_to_training"] = None
    report["copies"]["closest_real_pair"] = None
    report["wall_seconds"] = None
    _, text = written(report, *where)
    assert "trained once, so no spread is known" in text and "reaches 0.770, and with both" in text
    assert "no masks by a second person, so there is no human line" in text
    assert "not defined" in text and "too few real images" in text
    assert "no real test masks" in text and "fewer than two masks" in text
    lines = table.text(report)
    assert "one run, spread unknown" in lines and "not defined" in lines and "none to measure" in lines

    report["segmentation"] = {"unavailable": "The test images have no labels; give --holdout=5."}
    del report["distribution"], report["copies"], report["privacy"]
    page, text = written(report, *where)
    assert text.count("The test images have no labels; give --holdout=5.") == 2
    assert (
        "Run evaluate.py with --benchmarks=copies" in text
        and "--benchmarks=privacy" in text
        and len(pictures(page)) == 1
    )
    lines = table.text(report)
    assert "--holdout=5" in lines and "--benchmarks=distribution" in lines


def set_of_numbers(value):
    """The sections of one set in which every number is `value` and every floor 0.5."""
    entry, floor = {"mean": value, "sd": 0.01, "runs": [value]}, spread([0.5])
    kl = {"synthetic_vs_real": {"grey": 9}, "synthetic_vs_half": {"grey": entry}, "real_vs_real": {"grey": floor}}
    figures = {metric: {"synthetic_vs_real": entry, "real_vs_real": floor} for metric in fidelity.METRICS}
    return {
        "distribution": {"kl_intensity": kl},
        "fidelity": {"photographs": {**figures, "protocol": {"subset_size": 8}}},
        "morphology": {"end_points": {"distance": value, "floor": 0.5}},
        "copies": {
            "synthetic_to_training": {"min": value, "median": value},
            "test_to_training": None,
            "nearest_training_mask": [],
        },
    }


def test_better_goes_by_the_direction_of_each_number():
    report = set_of_numbers(0.6) | {"baseline": {"synthetic": None} | set_of_numbers(0.4)}
    higher = {f"{metric} of photographs" for metric in ("precision", "recall", "density", "coverage")}
    higher |= {"smallest distance to training masks", "median distance to training masks"}
    lower = {"KL of intensities, grey", "KID of photographs", "distance of shapes, end points"}
    rows = {row[0]: row[1:] for row in table.shared(report)}
    assert rows.keys() == higher | lower
    for name, (direction, ours, theirs, _, verdict) in rows.items():
        assert (direction, verdict) == (("higher", "better") if name in higher else ("lower", "worse"))
        assert (ours["mean"], theirs["mean"]) == (0.6, 0.4)
    lines = " ".join(table.text(report).split())
    assert "synthetic set better on 6 of 9 shared numbers; worse: KL of intensities, grey 0.6 (baseline 0.4)," in lines
    turned = report["baseline"] | {"baseline": set_of_numbers(0.6) | {"synthetic": None}}
    assert all((row[-1] == "worse") == (row[0] in higher) for row in table.shared(turned))
    same = set_of_numbers(0.6) | {"baseline": {"synthetic": None} | set_of_numbers(0.6)}
    assert {row[-1] for row in table.shared(same)} == {"equal"}
    assert "better on 0 of 9" in table.text(same)
    for ours, theirs, worse in ((0.9, 0.7, lower), (0.1, 0.3, higher)):  # beyond the floor of 0.5 none is better
        beyond = set_of_numbers(ours) | {"baseline": {"synthetic": None} | set_of_numbers(theirs)}
        verdicts = [(row[0] in worse, row[-1]) for row in table.shared(beyond) if row[4]]
        assert {verdict for is_worse, verdict in verdicts if is_worse} == {"worse"}
        assert {verdict for is_worse, verdict in verdicts if not is_worse} == {"equal"}
    near = set_of_numbers(0.6) | {"baseline": {"synthetic": None} | set_of_numbers(0.609)}
    verdicts = {row[0]: row[-1] for row in table.shared(near)}
    assert verdicts["KID of photographs"] == verdicts["KL of intensities, grey"] == "equal"  # their sd is 0.01
    assert verdicts["distance of shapes, end points"] == "better"  # which has none


def test_fid_of_few_images_comes_with_a_warning():
    few, many = (
        fidelity.compare(
            *(np.random.default_rng(seed).normal(size=(count, 3)) for seed in range(3)), features=features.FEATURES | {}
        )
        for count in (20, kid_fid.ENOUGH_FOR_FID)
    )
    for found, warned in ((few, True), (many, False)):
        report = {"fidelity": {"photographs, Inception": found}}
        ((title, how, rows),) = words.fidelity_tables(report["fidelity"])
        spelt = table.mean_sd(found["fid"]["synthetic_vs_real"], ".3g", "±")
        assert any(meaning.startswith("FID") and cells[0] == spelt for meaning, cells in rows)
        lines = table.text(report)
        assert f"FID on Inception: {table.number(found['fid']['synthetic_vs_real']['mean'], '.3g')} (" in lines
        assert ("FID of 20 images is too large" in how) == ("FID of 20 images is too large" in lines) == warned
        assert max(map(len, lines.splitlines())) <= 100
    report = {
        "fidelity": {"photographs, Inception": few},
        "baseline": {"synthetic": None, "fidelity": {"photographs, Inception": few}},
    }
    assert ("FID of photographs, Inception", "lower") in {row[:2] for row in table.shared(report)}


def test_numbers_that_one_set_lacks_are_not_compared():
    def compared(theirs):
        report = set_of_numbers(0.6) | {"baseline": {"synthetic": None} | theirs}
        return {row[0] for row in table.shared(report)}, table.text(report), words.beside(report)["verdict"]

    names, lines, verdict = compared({"distribution": set_of_numbers(0.7)["distribution"]})
    assert names == {"KL of intensities, grey"} and lines.endswith("better on 1 of 1 shared numbers")
    assert "better than the baseline on 1 of the 1" in verdict
    undefined = set_of_numbers(0.4)["fidelity"]
    for metric in fidelity.METRICS:  # as fidelity.compare says it of three images
        undefined["photographs"][metric]["synthetic_vs_real"] = {"mean": None, "sd": None, "runs": []}
    for nothing in ({}, {"fidelity": undefined}, {"fidelity": {"unavailable": "Too few."}}):
        names, lines, verdict = compared(nothing)
        assert names == set() and "no number that both" in lines and "no number that both" in verdict


def test_what_makes_the_baseline_another_comparison_is_said():
    def learned(holdout):
        return {"real": {"name": "drive", "counts": {"train": 20 - holdout}, "holdout": holdout}}

    def notes(ours, theirs, size=8):
        report = set_of_numbers(0.6) | {"synthetic": ours, "baseline": {"synthetic": theirs} | set_of_numbers(0.4)}
        report["baseline"]["fidelity"]["photographs"]["protocol"]["subset_size"] = size
        found = table.unlike(report)
        assert all(note in " ".join(table.text(report).split()) for note in found)
        return found

    assert notes(learned(5), learned(5)) == notes(learned(5), None) == []
    (note,) = notes(learned(5), learned(0))
    assert "drive (20 images, holdout 0)" in note and "drive (15 images, holdout 5)" in note
    (note,) = notes(learned(5), learned(5), size=5)
    assert "8 of the synthetic set, 5 of the baseline" in note


def test_a_baseline_stands_beside_the_set_and_leaves_no_picture_behind(made, tmp_path):
    report, folder, real, synthetic = made
    photographs = [Sample(s.id, s.image, None, s.field_of_view, seed=0) for s in made_samples(12, "b", 2)]
    extra = {"commands": ["train_stage1.py --target=image"]}
    manifest = write_records(tmp_path / "single", "single", photographs, source="stage 1", extra=extra)
    sets = [list(Records(real, split)) for split in ("train", "test")]
    benchmarks = ("distribution", "fidelity", "morphology", "copies")
    measured = baseline.measure(photographs, real=sets[0], held_out=sets[1], benchmarks=benchmarks, seed=0)
    assert measured.keys() == {"distribution", "fidelity"}
    report = copy.deepcopy(report) | {"baseline": {"synthetic": manifest, **measured}}
    for shown in (True, False):
        page, text = written(
            report | {"real_images_shown": shown}, folder, real if shown else None, synthetic, tmp_path / "single"
        )
        picture = (folder / "figures" / "baseline.png").read_bytes()
        assert picture in pictures(page) and len(pictures(page)) == 4 + 2 * shown
        assert "Beside the baseline" in text and "train_stage1.py --target=image" in text
        assert re.search(r"better than the baseline on \d+ of the 11 numbers", text)
        assert "KL of intensities, red lower" in text and "recall of photographs higher" in text
        assert "of masks higher" not in text  # the baseline has none
        assert shown or not re.search(r"\brtrain\d", page)
    lines = table.text(report)
    assert max(map(len, lines.splitlines())) <= 100 and lines.isascii() and "of 11 shared numbers" in lines
    _, text = written(*made)
    assert "Beside the baseline" not in text and not (folder / "figures" / "baseline.png").exists()


def test_nan_in_the_report_is_no_number():
    for value in (None, float("nan"), float("inf")):
        assert table.number(value) == table.mean_sd({"mean": value, "sd": None}) == "not defined"
    assert table.mean_sd({"mean": 0.5, "sd": float("nan")}) == table.mean_sd({"mean": 0.5, "sd": None}) == "0.500"


def test_hostile_names_are_shown_as_text(tmp_path):
    report, *where = made_report(tmp_path, hostile=True)
    report["real"]["name"] = HOSTILE
    page, _ = written(report, *where)
    assert "<script" not in page and page.count("&lt;script&gt;") >= 4  # title, heading, table of copies, command
    assert "\x1b" not in table.text(report)


@pytest.mark.parametrize("size, channels, name", [((64, 96), 1, "bubil"), ((96, 64), 3, "my own folder")])
def test_grey_and_non_square_sets_of_other_names(tmp_path, size, channels, name):
    report, *where = made_report(tmp_path, size=size, channels=channels, name=name)
    page, text = written(report, *where)
    assert ("finds cells in" if name == "bubil" else "finds structures in") in text
    assert "IterNet" not in text and len(pictures(page)) == 5
    rows = re.findall(r'<th scope="row">(grey|red|green|blue)</th>', page)
    assert rows == (["grey", "red", "green", "blue"] if channels == 3 else ["grey"])


def test_the_audit_of_images_says_what_it_found_and_what_it_can_find(made, page_of_made):
    report, _, text = made[0], *page_of_made[:2]
    near = [report["privacy"][view]["near_copies"] for view in ("structure", "shading")]
    assert (
        f"Of 12 synthetic images {near[0]} by structure and {near[1]} by shading are more like a training image than every held-out image is"
        in text
    )
    printed = table.text(report)
    lines = {
        line.split("  ")[1]: line for line in printed[printed.index("Private?") :].splitlines() if line[:2] == "  "
    }
    assert f"{near[0]} (1.3, 3)" in lines["near copies of 12 images (by chance, at most)"]
    auc = report["privacy"]["shading"]["membership"]
    assert lines["AUC of guessing who was learned from"].endswith(
        f"{auc['mean']:.2f} [{auc['interval'][0]:.2f}, {auc['interval'][1]:.2f}]"
    )
    assert f"{100 * report['privacy']['structure']['caught']['noisy']:.1f} %" in lines["planted copies found: noisy"]
    alone = copy.deepcopy(report)
    for view in ("structure", "shading"):
        alone["privacy"][view] |= {"closer_to_training": None, "membership": None}
    alone["privacy"]["protocol"]["held_out"] = 0
    assert "than training images of different patients are like one another" in words.private(alone["privacy"])
    assert "none to measure" in table.text(alone) and "AUC" not in words.private(alone["privacy"])
    assert words.private({"unavailable": privacy_audit.ALONE}) == words.NOT_COMPARED


def test_who_is_surely_given_away_and_how_many_were_compared_is_said(made, page_of_made):
    report, text = copy.deepcopy(made[0]), page_of_made[1]
    sure = [report["privacy"][view]["membership"]["true_positive_rate"] for view in ("structure", "shading")]
    assert (
        f"if wrong about one of 8 held-out images only, they find {100 * sure[0]:.1f} % by structure and {100 * sure[1]:.1f} % by shading "
        "of the training images (22.2 % by chance)"
    ) in text
    every = "Compared: all 12 synthetic images with all 8 training images, and all 8 held-out images."
    assert every in text and every in table.text(report) and every not in words.private(report["privacy"])
    report["privacy"]["protocol"]["of"] |= {"training": 20_000, "synthetic": 9000}
    some = "Compared: 12 of 9,000 synthetic images with 8 of 20,000 training images, and all 8 held-out images; nothing is said of the others."
    assert some in " ".join(table.text(report).split()) and some in words.private(report["privacy"])
    report["privacy"]["protocol"]["relabelled"] |= {"training": 5}
    assert "5 of 20,000 training and all 8 held-out ones were taken" in " ".join(table.text(report).split())


def test_near_copies_are_counted_on_the_page_and_listed_in_the_json_alone(made):
    report, *where = made
    report = copy.deepcopy(report)
    listed = [{"synthetic_id": f"strain{index}", "likeness": 0.9} for index in range(3)]
    report["privacy"]["structure"]["near_copy_list"] = listed[:2]
    report["privacy"]["shading"]["near_copy_list"] = listed[1:]
    report["copies"]["likeness"]["near_copy_list"] = report["copies"]["halves"]["near_copy_list"] = listed[:1]
    for part, most in (
        (report["privacy"]["structure"], 2),
        (report["privacy"]["shading"], 1),
        *((report["copies"][key], 2) for key in ("likeness", "halves")),
    ):
        part |= {"near_copies": 2, "by_chance_at_most": most}
    _, text = written(report, *where)
    assert (
        "3 of the synthetic images are more like a training one than all of the control: report.json lists them" in text
    )
    assert "privacy.structure.near_copy_list and privacy_audit.shading.near_copy_list" in text
    assert (
        "1 of the synthetic masks is more like" in text
        and "under copies.likeness.near_copy_list and copies.halves.near" in text
    )
    assert "Leave them out before the set is shared." in text and text.count(words.EXPECTED) == 1  # of masks
    for part in (
        report["privacy"]["structure"],
        report["privacy"]["shading"],
        *(report["copies"][key] for key in ("likeness", "halves")),
    ):
        part["near_copy_list"] = []
    _, text = written(report, *where)
    assert "near_copy_list" not in text


def test_masks_are_said_not_to_be_copied_only_by_an_audit_that_finds_planted_copies(made):
    part = copy.deepcopy(made[0]["copies"])
    nothing = {"near_copies": 2, "by_chance": 1.3, "by_chance_at_most": 3, "caught": {"shifted": 0.9, "tilted": 1.0}}
    part["likeness"] |= nothing | {"membership": part["likeness"]["membership"] | {"mean": 0.5, "interval": [0.3, 0.7]}}
    part["halves"] |= part["likeness"] | {"protocol": part["halves"]["protocol"]}
    assert "so there is no sign that masks are copied" in words.copied(part)
    assert "finds 90 to 100 % of the copies planted" in words.copied(part)
    for worse, said in (
        ({"near_copies": 4}, "4 of 12 synthetic masks are more like a training mask than every real test mask is (by chance 1.3,"),
        ({"near_copies": 4}, "so look at those before the set is shared"),
        ({"caught": {"shifted": 0.5, "tilted": 1.0}}, "misses copies that were planted"),
        ({"membership": part["likeness"]["membership"] | {"interval": [0.6, 0.9]}}, "more like those that were learned from"),
    ):  # fmt: skip
        found = words.copied(part | {"likeness": part["likeness"] | worse})
        assert said in found and "no sign" not in found
    of_halves = words.copied(part | {"halves": part["halves"] | {"near_copies": 4}})
    assert "so are 4 of their 24 halves beside halves (by chance 1.3, in 95 % of cases at most 3), so look" in of_halves
    assert "rejected by this very distance" in words.copied(part, True)
    assert "rejected by this very distance" not in words.copied(part) and "does not see a copy" in words.copied(part)
    alone = words.copied(part | {"likeness": {"unavailable": privacy_audit.ALONE}})
    assert privacy_audit.ALONE in alone and "no sign" not in alone


def test_a_set_whose_masks_were_filtered_is_said_to_be(made):
    report, *where = made
    report = copy.deepcopy(report)
    report["synthetic"]["stage1"] = {"filter": {"candidates": 20, "rejected": 8, "too_near": 0}}
    _, text = written(report, *where)
    assert "Masks were rejected by this very distance when the set was made" in text
    report["copies"]["likeness"] = report["privacy"] = {"unavailable": privacy_audit.ALONE}
    _, text = written(report, *where)
    assert (
        f"Likeness was not measured: {privacy_audit.ALONE}" in text and f"Not measured: {privacy_audit.ALONE}" in text
    )
    assert "likeness" not in table.text(report)


def test_the_copies_figure_shows_the_training_mask_turned(made):
    rows = html._shown_rows(made[0]["copies"])
    assert [row["distance"] for row in rows[:3]] == sorted(
        r["distance"] for r in made[0]["copies"]["nearest_training_mask"]
    )[:3]
    assert len({row["synthetic_id"] for row in rows}) == 6
    overlay = figures._overlay(np.array([[True, True, False, False]]), np.array([[True, False, True, False]]))
    assert overlay[0, 0].tolist() == [0, 0, 0] and overlay[0, 3].tolist() == [255, 255, 255]
    assert len({tuple(pixel) for pixel in overlay[0].tolist()}) == 4


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "is missing"),
        ("{", "cannot be read"),
        ('{"schema_version": 99}', "schema version 99"),
        ("[]", "schema version None"),
    ],
)
def test_a_report_that_cannot_be_read_is_one_line(tmp_path, content, message):
    if content is not None:
        (tmp_path / "report.json").write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        html.write(tmp_path, tmp_path, tmp_path)
    assert "report.json" in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "report.html").exists()


def test_records_that_do_not_belong_to_the_report_are_refused(made):
    report, *where = made
    report = copy.deepcopy(report)
    report["copies"]["nearest_training_mask"][0] |= {"training_id": "elsewhere", "distance": 0.0}
    with pytest.raises(InputError, match="does not hold the sample 'elsewhere'"):
        written(report, *where)


def test_the_terminal_table_is_plain_and_narrow(made):
    lines = table.text(made[0]).splitlines()
    assert max(map(len, lines)) <= 100 and "\n".join(lines).isascii()
    by_name = {line.split("  ")[1].strip() if line.startswith("  ") else line[:10].strip(): line for line in lines}
    assert "0.802 +/- 0.002" in by_name["real"] and "0.772 +/- 0.002" in by_name["synthetic"]
    assert "0.702 +/- 0.002" in by_name["agreement"]
    assert "0.788" in by_name["a second person"] and "(" not in by_name["both"]
    long = copy.deepcopy(made[0])
    long["real"]["name"] = "x" * 300
    long["segmentation"] = {"unavailable": "word " * 60}
    assert max(map(len, table.text(long).splitlines())) <= 100


def classified(tmp_path, classes=("normal", "tumour"), repeats=2):
    """A report of a set with classes: numbers made up, k-NN undefined in nothing, VGG16 losing 0.1 of 0.8."""
    rng = np.random.default_rng(0)

    def samples(count, prefix, splits=("train",)):
        return [
            Sample(
                f"{prefix}{split}{index}",
                rng.integers(0, 255, (64, 64, 1), dtype=np.uint8),
                label=classes[index % len(classes)],
                split=split,
            )
            for split in splits
            for index in range(count)
        ]

    def entry(mean):
        return {"mean": mean, "sd": 0.01, "runs": [mean] * repeats, "interval": [mean - 0.05, mean + 0.05]}

    def arms(real, synthetic):
        found = {
            arm: {metric: entry(mean) for metric in ("accuracy", "balanced_accuracy", "auc")}
            for arm, mean in (("real", real), ("synthetic", synthetic), ("real_and_synthetic", 0.82))
        }
        return found | {"relative_drop": 1 - synthetic / real, "relative_drop_interval": [-0.02, 0.2]}

    counts = {
        "real": {name: 4 for name in classes},
        "synthetic": {name: 6 for name in classes},
        "real_and_synthetic": {name: 8 for name in classes},
        "test": {name: 4 for name in classes},
    }
    run = {"radii": [2, 3, 4], "n_neighbors": 5, "accuracy": 0.8123456, "folds": 4}
    chosen = {"vgg16": {"validation_loss": 0.5}, "knn": run}
    manifest = write_records(tmp_path / "real", "tiles", samples(8, "r", ("train", "test")), source="made")
    filtered = {
        "candidates": 200,
        "rejected": 90,
        "too_far": 10,
        "classes": {
            name: {"candidates": 100, "rejected": 40 + place, "too_far": 0} for place, name in enumerate(classes)
        },
    }
    synthetic = write_records(
        tmp_path / "out" / "synthetic", "set", samples(12, "s"), source="made", extra={"filter": filtered}
    )
    images = [sample.image for sample in Records(tmp_path / "real", "train")]
    (tmp_path / "report").mkdir()
    report = {
        "schema_version": 1, "command": "evaluate.py", "real": manifest, "synthetic": synthetic, "real_images_shown": True,
        "classification": {
            "tasks": {"class": {"vgg16": arms(0.8, 0.7), "knn": arms(0.75, 0.74)}}, "image_size": [64, 64], "repeats": repeats, "steps": {"class": 438},
            "vgg_weights": None, "classes": {"class": {name: name for name in classes}}, "counts": {"class": counts}, "groups": {"real": None, "test": None},
            "parameters": {"class": {model: {arm: [values] * repeats for arm in counts if arm != "test"} for model, values in chosen.items()}},
            "seconds": {},
        },
        "distribution": {
            "kl_intensity": {"synthetic_vs_real": {"grey": 0.1}, "real_vs_real": kl.real_vs_half(images)},
            "histograms": {key: {"grey": [1] * 256} for key in ("real", "synthetic")}, "smoothing": kl.SMOOTHING,
        },
    }  # fmt: skip
    return report, tmp_path / "report", tmp_path / "real", tmp_path / "out" / "synthetic"


def test_a_page_about_classes_is_p2s_table_3(tmp_path):
    report, *where = classified(tmp_path)
    page, text = written(report, *where)
    assert "lose between 1.3 % (k-NN, class) and 12.5 % (VGG16, class) of the accuracy" in text
    assert re.search(
        r"VGG16 0.800 ± 0.010 0.750 to 0.850 0.700 ± 0.010 0.650 to 0.750 12.5 % -2.0 to 20.0 0.820 ± 0.010 0.770 to 0.870 0.96 and 0.93 3.1 %",
        text,
    )
    assert "k-NN 0.750" in text and "0.94 and 0.87 7.4 %" in text and "lymph node tiles" in text
    assert "by class 8 12 16 8 438" in text and "radii 2 3 4, n neighbors 5, accuracy 0.812, folds 4" in text
    assert (
        "too few images of a class for five folds everywhere: 4 were used" in text
        and "does not name patients or slides" in text
    )
    assert (
        "Of 200 images made, 100 (50.0 %) had a wrong overall shape" in text
        and "Most in the class tumour: 41.0 %" in text
    )
    for word in ("vessel", "masks", "F1", "Mask"):
        assert not re.search(rf"\b{word}\b", text), word
    assert "copied from the training images was not measured" in text
    assert {file.name for file in (where[0] / "figures").iterdir()} == {
        "accuracies.png",
        "classes.png",
        "examples.png",
        "intensity.png",
    }
    lines = table.text(report)
    assert max(map(len, lines.splitlines())) <= 100 and lines.isascii()
    assert "class VGG16 0.800 [0.750, 0.850] 0.700 [0.650, 0.750] 12.5 % 0.820 [0.770, 0.870]" in " ".join(
        lines.split()
    )
    assert "Of 200 images made" in lines and "Copied?" not in lines and "up to 8 real and 12 synthetic images" in lines


def test_the_page_about_classes_shows_what_stage_1_left_and_nothing_real_unasked(tmp_path):
    report, *where = classified(tmp_path)
    stage1 = tmp_path / "out" / "stage1"
    stage1.mkdir()
    for file, level in (("rejected.png", 60), ("growth.png", 90)):
        Image.fromarray(np.full((20, 30), level, np.uint8)).save(stage1 / file)
    page, text = written(report, *where)
    shown = {file: (where[0] / "figures" / file).read_bytes() for file in ("rejected.png", "growth.png", "classes.png")}
    assert all(picture in pictures(page) for picture in shown.values()) and len(pictures(page)) == 6
    assert (
        "figure 1b of P2" in text
        and "figure 2 of P2" in text
        and "in the real training set and in the synthetic set" in text
    )
    page, text = written(report | {"real_images_shown": False}, where[0], None, where[2])
    assert (
        shown["growth.png"] in pictures(page)
        and shown["classes.png"] not in pictures(page)
        and "Images of each class in the synthetic set" in text
    )

    (stage1 / "growth.png").write_bytes(b"beach")
    with pytest.raises(InputError, match="growth.png: is no picture") as caught:
        html.write(*where)
    assert "\n" not in str(caught.value)
    for file in ("rejected.png", "growth.png"):
        (stage1 / file).unlink()
    written(report, *where)
    assert not (where[0] / "figures" / "rejected.png").exists()


def test_classes_that_were_not_measured_and_hostile_ones(tmp_path):
    hostile = HOSTILE.replace("\x1b", "") + "$x_{$"
    report, *where = classified(tmp_path, (hostile, "tumour"), repeats=1)
    page, text = written(report, *where)
    assert "<script" not in page and "that of one training" in text
    report["classification"] = {"unavailable": "tiles has no test images."}
    _, text = written(report, *where)
    assert text.count("tiles has no test images.") == 2 and "vessel" not in text
    assert "tiles has no test images." in table.text(report)


def test_what_the_filter_rejected_is_told():
    found = {"candidates": 320, "rejected": 118, "too_near": 2}
    report = {"synthetic": {"stage1": {"filter": found}}}
    (sentence,) = table.filtered(report)
    assert "Of 320 masks made, 118 were rejected" in sentence and "2 are there all the same" in sentence
    assert "Of 320 masks" in table.text(report)
    assert "all the same" not in table.filtered({"synthetic": {"stage1": {"filter": found | {"too_near": 0}}}})[0]
    assert table.filtered({"synthetic": {}}) == table.filtered({}) == []
    (sentence,) = table.filtered({"lungs": {"synthetic": 0.12, "held_out": 0.05}})
    assert sentence.startswith("12.0 % of the synthetic") and "5.0 % of the held-out" in sentence
