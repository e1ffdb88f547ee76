from synthmed_tf.reporting import spelling


def test_nan_in_the_report_is_no_number():
    for value in (None, float("nan"), float("inf"), True):
        assert spelling.spell_number(value) == spelling.spell_mean({"mean": value, "sd": None}) == "not defined"
        assert spelling.spell_percent(value) == "not defined" and not spelling.is_number(value)
    assert spelling.spell_mean({"mean": 0.5, "sd": float("nan")}) == "0.500"
    assert spelling.spell_mean({"mean": 0.5, "sd": None}) == "0.500" and spelling.spell_mean(None) == "not defined"


def test_numbers_spreads_and_intervals():
    assert spelling.spell_mean({"mean": 0.76149, "sd": 0.004}) == "0.761 ± 0.004"
    assert spelling.spell_mean({"mean": 0.76, "sd": 0.1}, ".2g", "+/-") == "0.76 +/- 0.1"
    assert spelling.spell_percent(-0.0421) == "-4.2 %" and spelling.spell_percent(0.5, ".0f") == "50 %"
    assert spelling.spell_brackets([0.5, 1]) == "[0.500, 1.000]" and spelling.spell_brackets(None) == ""
    assert (
        spelling.spell_span([-0.02, 0.2], ".1f", 100) == "-2.0 to 20.0" and spelling.spell_span(None) == "not defined"
    )
    assert spelling.spell_duration(119) == "119 seconds" and spelling.spell_duration(754.2) == "13 minutes"
