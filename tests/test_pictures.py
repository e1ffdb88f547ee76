import copy
import json

import numpy as np
import pytest
from made_reports import make_classified, make_report, read_pictures, write
from PIL import Image

from synthmed_tf.reporting import pictures
from synthmed_tf.sample import InputError


def test_records_that_do_not_belong_to_the_report_are_refused(tmp_path):
    report, _, real, synthetic = make_report(tmp_path)
    report = copy.deepcopy(report)
    report["copies"]["nearest_training_mask"][0] |= {"training_id": "elsewhere", "distance": 0.0}
    with pytest.raises(InputError, match="does not hold the sample 'elsewhere'"):
        pictures.draw_pictures(report, real, synthetic)


def test_classes_have_the_figures_of_classes(tmp_path):
    report, *where = make_classified(tmp_path)
    expected = {"accuracies.png", "classes.png", "examples.png", "intensity.png"}
    assert pictures.draw_pictures(report, *where[1:]).keys() == expected


def test_what_stage_1_left_is_shown_and_nothing_real_unasked(tmp_path):
    report, *where = make_classified(tmp_path)
    stage1 = tmp_path / "out" / "stage1"
    stage1.mkdir()
    for file, level in (("rejected.png", 60), ("growth.png", 90)):
        Image.fromarray(np.full((20, 30), level, np.uint8)).save(stage1 / file)
    html, text = write(report, *where)
    shown = {file: (where[0] / "figures" / file).read_bytes() for file in ("rejected.png", "growth.png", "classes.png")}
    assert all(picture in read_pictures(html) for picture in shown.values()) and len(read_pictures(html)) == 6
    assert "figure 1b of P2" in text and "figure 2 of P2" in text
    assert "in the real training set and in the synthetic set" in text
    html, text = write(report | {"real_images_shown": False}, where[0], None, where[2])
    assert shown["growth.png"] in read_pictures(html) and shown["classes.png"] not in read_pictures(html)
    assert "Images of each class in the synthetic set" in text

    (stage1 / "growth.png").write_bytes(b"beach")
    with pytest.raises(InputError, match="growth.png: is no picture") as caught:
        pictures.read_pictures(stage1)
    assert "\n" not in str(caught.value)
    for file in ("rejected.png", "growth.png"):
        (stage1 / file).unlink()
    write(json.loads((where[0] / "report.json").read_text()), where[0], None, where[2])
    assert not (where[0] / "figures" / "rejected.png").exists()
