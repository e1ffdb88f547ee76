from made_reports import make_classification, make_segmentation

from synthmed_tf.metrics import f1
from synthmed_tf.reporting import published, rows


def test_scores_have_a_group_for_each_convention_and_a_column_for_each_arm():
    segmentation = make_segmentation((64, 64))
    groups = rows.list_scores(segmentation, segmentation["native"]["arms"], segmentation["native"]["second_observer"])
    assert [convention for convention, _ in groups] == [rows.CONVENTION_NAMES[name] for name in f1.CONVENTIONS]
    lines = dict(groups[0][1])
    assert len(lines) == len(f1.METRICS)
    assert lines["F1"] == ["0.772 ± 0.002", "0.732 ± 0.002", "0.742 ± 0.002", "0.782 ± 0.002", "0.788"]
    assert lines["AUC-ROC"][-1] == "none" and len(rows.list_scores(segmentation, segmentation["arms"])[0][1][0][1]) == 4


def test_this_run_stands_above_the_second_person_and_the_literature():
    literature = rows.list_literature(make_segmentation((64, 64)))
    assert literature[0] == ("this run, learned from real pairs", "0.772 ± 0.002", "0.772 ± 0.002")
    assert literature[3][0] == "this run, learned from both" and literature[4][1] == "0.788"
    assert literature[5:] == [*published.LITERATURE]


def test_rows_of_classes():
    classification = make_classification(("normal", "tumour"), 2)
    ((task, classes, lines),) = rows.list_accuracies(classification)
    assert (task, classes) == ("class", "normal or tumour; P2: lymph node tiles, normal or tumour")
    assert [line[0] for line in lines] == ["VGG16", "k-NN"]
    assert lines[0][3] == ("12.5 %", "-2.0 to 20.0") and lines[0][5:] == ("0.96 and 0.93", "3.1 %")
    assert rows.list_counts(classification) == [("by class", 8, 12, 16, 8, 438)]
    scores = rows.list_other_scores(classification)[0]
    assert scores[0] == "class: VGG16" and scores[1] == scores[4] == ("0.80 ± 0.01", "0.75 to 0.85")
    parameters = rows.list_parameters(classification)
    assert parameters[0] == ("class: VGG16", "real", "validation loss 0.5; validation loss 0.5")
    assert "radii 2 3 4, n neighbors 5, accuracy 0.812, folds 4" in parameters[3][2]
    several = make_classification(("a", "b", "c", "d"), 1)
    assert rows.list_accuracies(several)[0][1].startswith("4 classes")


def test_provenance_is_flat_and_without_images_holds_counts_and_versions_only():
    real = {"name": "drive", "counts": {"train": 8}, "data_dir": "/patients", "shards": {"a": "b"}}
    synthetic = {"stage1": {"steps": 4, "none": None}, "levels": [{"size": 4}, {"size": 8}], "sizes": [1, 2]}
    report = {"command": "evaluate.py", "real": real, "synthetic": synthetic, "photographs": real}
    shown = dict(rows.list_provenance(report | {"real_images_shown": True}))
    assert shown["This report"] == [("command", "evaluate.py")]
    synthetic = shown["Synthetic set"]
    assert ("stage1 · steps", "4") in synthetic and ("stage1 · none", "unknown") in synthetic
    assert ("levels 2 · size", "8") in shown["Synthetic set"] and ("sizes", "1, 2") in shown["Synthetic set"]
    assert shown["Real set"][-1] == ("data_dir", "/patients") and "Photographs that stage 2 learned from" in shown
    hidden = dict(
        rows.list_provenance(report | {"real_images_shown": False, "synthetic": None, "baseline": {"synthetic": real}})
    )
    assert hidden["Real set"] == [("name", "drive"), ("counts · train", "8")]
    assert "Photographs that stage 2 learned from" not in hidden and "Baseline" in hidden
    assert hidden["Synthetic set"] == [("manifest", "none: another program made this set")]
