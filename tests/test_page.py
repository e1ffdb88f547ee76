import copy
import re
from html.parser import HTMLParser

import pytest
from made_reports import HOSTILE, make_arms, make_classified, make_report, make_samples, read_pictures, write

from synthmed_tf.evaluation import baseline as measuring
from synthmed_tf.evaluation import privacy_audit
from synthmed_tf.metrics import f1, kid_fid
from synthmed_tf.records.read import Records
from synthmed_tf.records.write import write_records
from synthmed_tf.reporting import page, published, rows, spelling
from synthmed_tf.sample import InputError, Sample

PROSE = {"p", "li", "dd", "figcaption"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_report(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def page_of_made(made):
    """(page, its text, {figure file: bytes}) of the whole report."""
    return *write(*made), {file.name: file.read_bytes() for file in (made[1] / "figures").iterdir()}


class Reader(HTMLParser):
    """Checks that tags are closed, and collects the prose: not what is quoted from report.json, nor tables."""

    def __init__(self, html):
        super().__init__()
        self.open, self.described, self.prose = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        if tag in PROSE:
            self.prose.append("")
        if tag not in ("meta", "img", "br"):
            self.open.append("quoted" if ("class", "quoted") in attributes else tag)
        if tag == "img":
            self.described.append(dict(attributes)["alt"])

    def handle_endtag(self, tag):
        closed = self.open.pop()
        assert closed in (tag, "quoted"), (closed, tag)

    def handle_data(self, data):
        if PROSE & {*self.open} and not {"quoted", "table"} & {*self.open}:
            self.prose[-1] += data

    def sentences(self):
        for text in self.prose:
            yield from re.split(r"(?<=[.!?]) (?=[A-Z0-9“(±])", re.sub(r"\s+", " ", text).strip())


def count_numbers(sentence):
    """How many numbers a sentence has: a mean with its spread is one, and names of figures and years are none."""
    bare = re.sub(r"± [\d.e-]+|\[[^]]*\]|\b(19|20)\d\d\b|figure \w+|table \d|section [\d.]+|95 %", "", sentence)
    return len(re.findall(r"(?<![\w.])-?\d[\d,.]*", bare))


def render(report):
    return " ".join(page.render(report, {}).split())


def check_sentences(html):
    sentences = list(Reader(html).sentences())
    assert len(sentences) > 50
    for sentence in sentences:
        assert len([word for word in sentence.split() if re.search(r"\w", word)]) <= 25, sentence
        assert count_numbers(sentence) <= 2, sentence


def test_the_page_says_what_the_numbers_say_and_needs_no_other_file(made, page_of_made):
    report = made[0]
    html, text, files = page_of_made
    assert "PRIVATE: contains pictures of real patients" in text
    assert sorted(read_pictures(html)) == sorted(files.values())
    assert not re.search(r"<script|<link|@import|url\(|https?://", html)
    assert "from 8 real pairs" in text and "from 12 synthetic pairs alone" in text
    assert "After real pairs F1 is 0.802 ± 0.002; after synthetic pairs it is 0.772 ± 0.002" in text
    assert "That is 96 % of what real pairs give. After both it is 0.812 ± 0.002" in text
    kl = report["distribution"]["kl_intensity"]
    assert f"to all synthetic ones it is {kl['synthetic_vs_real']['grey']:.3g}" in text
    assert f"halves of the real images differ by {spelling.spell_mean(kl['real_vs_real']['grey'], '.2g')}" in text
    assert "4.759" in text and "4.212e-04" in text
    assert "Held-out images differ from the synthetic ones by 0.021, from those learned from by 0.064" in text
    assert "0.4 0.3" in text and text.count("none held out") == 4  # green and blue
    shapes = [entry for entry in report["morphology"].values() if None not in (entry["distance"], entry["floor"])]
    near = sum(entry["distance"] <= 2 * entry["floor"] for entry in shapes)
    assert text.count(f"In {near} of {len(shapes)} measures of shape the masks are at most twice as far") == 2
    assert "0.8205" in text and "0.9816" in text and "second person" in text and "0.788" in text
    assert "of the synthetic images with F1 0.702 ± 0.002" in text and "they find with 0.802 ± 0.002" in text
    assert "0.9625" not in text and "0.963 0.900 to 1.010" in text and "0.950 not defined" in text
    assert "0.013 -0.020 to 0.030" in text  # what both gains
    ratio = 0.792 / 0.822  # macro F1, whole image: its convention adds 0.02
    assert f"in all likelihood: 0.988) {ratio:.3f}" in text and "0.8877" in text and "0.8988" in text
    for name in f1.CONVENTIONS:
        assert rows.CONVENTION_NAMES[name] in text
    assert "482,000" in text and "0.41 to 0.46" in text and "minutes a training 1.0" in text
    assert "abc123" in text and "train_stage2.py --data=drive" in text and "evaluate.py --synthetic_dir=out/" in text
    assert "13 minutes" in text


def test_tags_are_closed_pictures_described_and_sentences_short(page_of_made):
    reader = Reader(page_of_made[0])
    assert reader.open == []
    assert len(reader.described) == len(page_of_made[2]) == 5 and all(reader.described)
    check_sentences(page_of_made[0])


def test_without_real_images_no_picture_and_no_id_of_one_is_left(made, page_of_made):
    report, folder, _, synthetic = made
    before = page_of_made[2]
    for file, content in before.items():  # as an earlier run left them
        (folder / "figures").mkdir(exist_ok=True)
        (folder / "figures" / file).write_bytes(content)
    html, text = write(copy.deepcopy(report) | {"real_images_shown": False}, folder, None, synthetic)
    assert "PRIVATE" not in text and "left out" in text
    assert not re.search(r"\brtrain\d", html.split('<table class="provenance">')[0] + html)
    after = {file.name: file.read_bytes() for file in (folder / "figures").iterdir()}
    assert sorted(after) == ["examples.png", "intensity.png", "scores.png"] and len(read_pictures(html)) == 3
    assert after["examples.png"] != before["examples.png"] and before["examples.png"] not in read_pictures(html)
    check_sentences(html)


def test_numbers_that_are_missing_are_said_in_words(made):
    report, *where = made
    report = copy.deepcopy(report)
    report["segmentation"] |= {"arms": make_arms(repeats=1), "repeats": 1, "ratio": None, "ratio_interval": None}
    report["segmentation"]["native"]["second_observer"] = None
    report["segmentation"]["arms"]["synthetic"]["auc_roc"]["fov_pooled"] = {"mean": None, "sd": None, "runs": [None]}
    nothing = {channel: {"mean": None, "sd": None, "runs": []} for channel in ("grey", "red", "green", "blue")}
    report["distribution"]["kl_intensity"]["real_vs_real"] = nothing
    report["copies"]["test_to_training"] = report["copies"]["closest_real_pair"] = None
    report["wall_seconds"] = None
    _, text = write(report, *where)
    assert "trained once, so no spread is known" in text and "it is 0.770. After both" in text
    assert "no masks by a second person, so there is no human line" in text
    assert "not defined" in text and "too few real images" in text
    assert "no real test masks" in text and "fewer than two masks" in text and "none to measure" in text


def test_parts_that_are_missing_are_said_in_words(made):
    report, *where = made
    report = copy.deepcopy(report)
    report["segmentation"] = {"unavailable": "The test images have no labels; give --holdout=5."}
    for name in ("distribution", "copies", "privacy", "fidelity", "morphology"):
        del report[name]
    html, text = write(report, *where)
    assert text.count("The test images have no labels; give --holdout=5.") == 2 and len(read_pictures(html)) == 1
    for name in ("distribution", "copies", "privacy", "fidelity", "morphology"):
        assert f"Run evaluate.py with --benchmarks={name} to measure it." in text
    report["copies"] = copy.deepcopy(made[0]["copies"])
    report["copies"]["likeness"] = report["copies"]["halves"] = report["privacy"] = {"unavailable": privacy_audit.ALONE}
    report["synthetic"] = None  # another program made the set
    _, text = write(report, *where)
    assert (
        f"Likeness was not measured. {privacy_audit.ALONE}" in text and f"Not measured. {privacy_audit.ALONE}" in text
    )
    assert "unknown: another program made them" in text and "none: another program made this set" in text


def test_fid_of_few_images_comes_with_a_warning(made):
    few = copy.deepcopy(made[0]["fidelity"]["photographs"])
    few["fid"] = {
        key: {"mean": 12.34, "sd": None} for key in ("synthetic_vs_real", "real_vs_real", "all_synthetic_vs_real")
    }
    many = few | {"protocol": few["protocol"] | {"subset_size": kid_fid.ENOUGH_FOR_FID}}
    for measured, is_warned in ((few, True), (many, False)):
        html = render(made[0] | {"fidelity": {"photographs, Inception": measured}})
        assert "12.3" in html and ("images is too large" in html) == is_warned and "Heusel" in html


def test_a_baseline_stands_beside_the_set_and_leaves_no_picture_behind(made, tmp_path):
    report, folder, real, synthetic = made
    photographs = [Sample(s.id, s.image, None, s.field_of_view, seed=0) for s in make_samples(12, "b", 2)]
    extra = {"commands": ["train_stage1.py --target=image"]}
    manifest = write_records(tmp_path / "single", "single", photographs, source="stage 1", extra=extra)
    sets = [list(Records(real, split)) for split in ("train", "test")]
    benchmarks = ("distribution", "fidelity", "morphology", "copies")
    measured = measuring.compare_with_real(photographs, real=sets[0], held_out=sets[1], benchmarks=benchmarks, seed=0)
    assert measured.keys() == {"distribution", "fidelity"}
    report = copy.deepcopy(report) | {"baseline": {"synthetic": manifest, **measured}}
    for shown in (True, False):
        folders = real if shown else None, synthetic, tmp_path / "single"
        html, text = write(report | {"real_images_shown": shown}, folder, *folders)
        picture = (folder / "figures" / "baseline.png").read_bytes()
        assert picture in read_pictures(html) and len(read_pictures(html)) == 4 + 2 * shown
        assert "Beside the baseline" in text and "train_stage1.py --target=image" in text
        assert re.search(r"better than the baseline on \d+ of the 11 numbers", text)
        assert "KL of intensities, red lower" in text and "recall of photographs higher" in text
        assert "of masks higher" not in text  # the baseline has none
        assert shown or not re.search(r"\brtrain\d", html)
        check_sentences(html)
    _, text = write(*made)
    assert "Beside the baseline" not in text and not (folder / "figures" / "baseline.png").exists()


def test_what_makes_the_baseline_another_comparison_is_said(made):
    real = {"name": "drive", "counts": {"train": 15}, "holdout": 5}
    report = made[0] | {"synthetic": made[0]["synthetic"] | {"real": real}}
    theirs = {"real": real | {"counts": {"train": 20}, "holdout": 0}}
    baseline = {"synthetic": theirs, "copies": made[0]["copies"] | {"nearest_training_mask": []}}
    html = render(report | {"baseline": baseline})
    assert "The two learned from other real images." in html
    assert "drive (15 images, holdout 5)" in html and "drive (20 images, holdout 0)" in html
    assert "The synthetic set has 12 masks, the baseline 0." in html
    assert "learned from other real images" not in render(made[0] | {"baseline": baseline})


def test_hostile_names_are_shown_as_text(tmp_path):
    report, *where = make_report(tmp_path, hostile=True)
    report["real"]["name"] = HOSTILE
    report["segmentation"] = {"unavailable": HOSTILE}
    html, _ = write(report, *where)
    assert "<script" not in html and html.count("&lt;script&gt;") >= 6  # title, heading, reason, copies, command


@pytest.mark.parametrize("size, channels, name", [((64, 96), 1, "bubil"), ((96, 64), 3, "my own folder")])
def test_grey_and_non_square_sets_of_other_names(tmp_path, size, channels, name):
    report, *where = make_report(tmp_path, size=size, channels=channels, name=name)
    html, text = write(report, *where)
    assert ("to find cells from" if name == "bubil" else "to find structures from") in text
    assert "IterNet" not in text and len(read_pictures(html)) == 5
    channel_rows = re.findall(r'<th scope="row">(grey|red|green|blue)</th>', html)
    assert channel_rows == (["grey", "red", "green", "blue"] if channels == 3 else ["grey"])


def test_the_audit_of_images_says_what_it_found_and_what_it_can_find(made, page_of_made):
    audits, text = made[0]["privacy"], page_of_made[1]
    for view in ("structure", "shading"):
        audit = audits[view]
        assert (
            f"By {view}, {audit['near_copies']} of 12 synthetic images are more like a training image than every "
            "held-out" in text
        )
        assert f"{audit['near_copies']} of 12 ({audit['by_chance']:.1f}, {audit['by_chance_at_most']})" in text
        low, high = audit["membership"]["interval"]
        assert f"{audit['membership']['mean']:.2f} [{low:.2f}, {high:.2f}]" in text
        assert f"{100 * audit['membership']['true_positive_rate']:.1f} % (22.2 %)" in text
    caught = [100 * audits[view]["caught"]["noisy"] for view in ("structure", "shading")]
    assert f"planted copies found: noisy {caught[0]:.1f} % {caught[1]:.1f} %" in text
    alone = copy.deepcopy(made[0])
    for view in ("structure", "shading"):
        alone["privacy"][view] |= {"closer_to_training": None, "membership": None}
    alone["privacy"]["protocol"] |= {"held_out": 0, "of": {"training": 8, "synthetic": 12, "held_out": 0}}
    html = render(alone)
    assert "than training images of different patients are like one another" in html and "none to measure" in html


def test_how_many_were_compared_is_said(made, page_of_made):
    assert "synthetic images compared all 12 all 12" in page_of_made[1]
    assert "held-out images compared all 8 all 8" in page_of_made[1] and "taken for" not in page_of_made[1]
    report = copy.deepcopy(made[0])
    report["privacy"]["protocol"]["of"] |= {"training": 20_000, "synthetic": 9000}
    report["privacy"]["protocol"]["relabelled"] |= {"training": 5}
    html = render(report)
    assert "12 of 9,000" in html and "8 of 20,000" in html and "5 of 20,000" in html and "taken for guesses" in html
    assert "Nothing is said of the images that were not compared." in html


def test_near_copies_are_counted_on_the_page_and_listed_in_the_json_alone(made):
    report = copy.deepcopy(made[0])
    rows_of_list = [{"synthetic_id": f"strain{index}", "likeness": 0.9} for index in range(3)]
    report["privacy"]["structure"] |= {"near_copies": 2, "by_chance_at_most": 2, "near_copy_list": rows_of_list[:2]}
    report["privacy"]["shading"] |= {"near_copies": 2, "by_chance_at_most": 1, "near_copy_list": rows_of_list[1:]}
    for name in ("likeness", "halves"):
        report["copies"][name] |= {"near_copies": 1, "by_chance_at_most": 2, "near_copy_list": rows_of_list[:1]}
    text = render(report)
    assert "3 of the synthetic images are more like a training one than all of the control" in text
    assert "privacy.structure.near_copy_list and privacy.shading.near_copy_list" in text
    assert (
        "1 of the synthetic masks is more like" in text and "copies.likeness.near_copy_list and copies.halves" in text
    )
    assert text.count("leave them out before the set is shared") == 1
    assert text.count("Chance gives as many, so none of them stands out") == 1  # of masks
    for part in (
        report["privacy"]["structure"],
        report["privacy"]["shading"],
        *(report["copies"][k] for k in ("likeness", "halves")),
    ):
        part["near_copy_list"] = []
    assert "near_copy_list" not in render(report)


@pytest.mark.parametrize(
    "worse, sentence",
    [
        ({}, "So there is no sign that masks are copied."),
        ({"near_copies": 4}, "Look at those before the set is shared."),
        ({"caught": {"shifted": 0.5, "tilted": 1.0}}, "the audit misses copies that were planted"),
        (
            {"membership": {"mean": 0.7, "interval": [0.6, 0.9]}},
            "more like those that were learned from than like others",
        ),
    ],
)
def test_masks_are_said_not_to_be_copied_only_by_an_audit_that_finds_planted_copies(made, worse, sentence):
    report = copy.deepcopy(made[0])
    quiet = {"near_copies": 2, "by_chance": 1.3, "by_chance_at_most": 3, "caught": {"shifted": 0.9, "tilted": 1.0}}
    for name in ("likeness", "halves"):
        report["copies"][name] |= quiet
        report["copies"][name]["membership"] |= {"mean": 0.5, "interval": [0.3, 0.7]}
    membership = report["copies"]["likeness"]["membership"] | worse.get("membership", {})
    report["copies"]["likeness"] |= worse | {"membership": membership}
    text = render(report)
    assert sentence in text and ("no sign" in text) == (not worse)
    assert f"{worse.get('near_copies', 2)} of 12 synthetic masks are more like a training mask than every real" in text
    assert "So are 2 of their 24 halves" in text and "Chance alone gives 1.3 on average" in text
    assert "rejected by this very distance" not in text


def test_what_the_filters_rejected_is_told(made):
    report = made[0] | {"lungs": {"synthetic": 0.12, "held_out": 0.05}}
    report["synthetic"] = made[0]["synthetic"] | {
        "stage1": {"filter": {"candidates": 320, "rejected": 118, "too_near": 2}}
    }
    text = html = render(report)
    assert "Of 320 masks made, 118 were rejected" in text and "2 rejected ones are there all the same" in text
    assert "Masks were rejected by this very distance when the set was made" in text
    assert "12.0 % of the synthetic X-rays" in text and "Of the held-out real ones it is 5.0 %" in text
    check_sentences(html)


def test_a_page_about_classes_is_p2s_table_3(tmp_path):
    report, *where = make_classified(tmp_path)
    html, text = write(report, *where)
    assert "The most that is lost is 12.5 % of the accuracy (VGG16, class)" in text
    assert "The least that is lost is 1.3 % of the accuracy (k-NN, class)" in text
    assert (
        "VGG16 0.800 ± 0.010 0.750 to 0.850 0.700 ± 0.010 0.650 to 0.750 12.5 % -2.0 to 20.0 "
        "0.820 ± 0.010 0.770 to 0.870 0.96 and 0.93 3.1 %"
    ) in text
    assert "k-NN 0.750" in text and "0.94 and 0.87 7.4 %" in text and "lymph node tiles" in text
    assert "by class 8 12 16 8 438" in text and "radii 2 3 4, n neighbors 5, accuracy 0.812, folds 4" in text
    assert "too few images of a class for five folds everywhere: 4 were used" in text
    assert "does not name patients or slides" in text
    assert "Of 200 images made, 100 had a wrong overall shape" in text and "That is 50.0 %" in text
    assert "Most were in the class tumour: 41.0 %" in text
    for word in ("vessel", "masks", "F1", "Mask"):
        assert not re.search(rf"\b{word}\b", text), word
    assert "copied from the training images was not measured" in text
    check_sentences(html)


def test_p2s_drops_are_those_of_its_table():
    drops = {"vgg16": [], "others": []}
    for models in published.P2_TABLE_3.values():
        for model, (real, artificial) in models.items():
            drops[model if model == "vgg16" else "others"].append(100 * (1 - artificial / real))
    template = (page.TEMPLATES / "summary.html.j2").read_text()
    assert f"P2 lost {min(drops['vgg16']):.1f} to {max(drops['vgg16']):.1f} % with VGG16." in template
    assert f"it lost {min(drops['others']):.1f} to {max(drops['others']):.1f} %." in template


def test_classes_that_were_not_measured_and_hostile_ones(tmp_path):
    hostile = HOSTILE.replace("\x1b", "") + "$x_{$"
    report, *where = make_classified(tmp_path, (hostile, "tumour"), repeats=1)
    html, text = write(report, *where)
    assert "<script" not in html and "that of one training" in text
    report["classification"] = {"unavailable": "tiles has no test images."}
    _, text = write(report, *where)
    assert text.count("tiles has no test images.") == 2 and "vessel" not in text


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
        page.write_page(tmp_path, tmp_path, tmp_path)
    assert "report.json" in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "report.html").exists()
