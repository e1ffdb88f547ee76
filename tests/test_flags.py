import errno
import json
import sys
from pathlib import Path

import pytest
from absl import flags as absl_flags

from synthmed_tf import flags
from synthmed_tf.sample import InputError

SCRIPTS = ("train_stage1", "train_stage2", "evaluate")
SHARED = {"data", "data_dir", "out_dir", "seed", "precision", "overwrite", "dry_run"}


def parse(*words, script="train_stage1"):
    return flags.parse(script, "A script.", [f"{script}.py", *words])


def resolved(*words, script="train_stage1"):
    presets = flags.STAGE1_PRESETS if script == "train_stage1" else flags.STAGE2_PRESETS
    return flags.apply_preset(parse(*words, script=script), presets)


# ---------------------------------------------------------------- parsing


@pytest.mark.parametrize("script", SCRIPTS)
def test_defaults_are_what_design_2_promises(script):
    settings = parse(script=script)
    assert settings.keys() >= SHARED
    assert (settings["data_dir"], settings["out_dir"], settings["seed"]) == ("data", "out", 0)
    assert settings["data"] == ("drive" if script == "train_stage1" else None)
    assert settings["given"] == set() and "help" not in settings


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_flag_has_a_default_that_its_own_parser_accepts_and_a_line_of_help(script):
    values = absl_flags.FlagValues()
    groups = flags.define(script, values)
    text = flags.help_text("What it does.", groups, values)
    assert text.startswith("What it does.")
    for names in groups.values():
        for name in names:
            assert f"--{name}=" in text or f"--[no]{name}" in text
            assert len(values[name].help) > 5
    assert max(map(len, text.splitlines())) <= 120 and len(text.splitlines()) < 80


def test_labels_of_the_command_line_reach_the_manifest_as_they_are():
    settings = parse("--data=nih", "--labels=18-38,48-68")
    assert settings["labels"] == "18-38,48-68" and parse()["labels"] is None
    assert parse("--labels=x_norm", script="evaluate")["labels"] == "x_norm"
    assert flags.shareable(settings)["labels"] == "18-38,48-68"
    assert flags.command("train_stage1", settings).endswith("--labels=18-38,48-68")


def test_given_flags_are_known_by_name_whatever_their_value():
    settings = parse("--seed=0", "--num_samples", "7", "--dry_run", "--nooverwrite")
    assert settings["given"] == {"seed", "num_samples", "dry_run", "overwrite"}
    assert settings["num_samples"] == 7 and settings["dry_run"] is True and settings["overwrite"] is False
    assert parse("--benchmarks=copies,distribution", script="evaluate")["benchmarks"] == ["copies", "distribution"]


@pytest.mark.parametrize(
    ("script", "words", "says"),
    [
        ("train_stage1", ["--setps=3"], ["setps", "steps"]),
        ("train_stage2", ["--image_size=64"], ["image_size"]),  # stage 2 takes it from stage 1
        ("train_stage1", ["--steps=many"], ["steps", "many"]),
        ("train_stage1", ["--steps=0"], ["steps", "0"]),
        ("train_stage1", ["--batch_size=-1"], ["batch_size", "-1"]),
        ("train_stage1", ["--steps"], ["steps"]),
        ("train_stage1", ["--seed=2147483648"], ["seed"]),
        ("train_stage1", ["--holdout=-1"], ["holdout"]),
        ("train_stage2", ["--chest_xrays"], ["chest_xrays"]),  # that too
        ("train_stage1", ["--preset=pix2pix"], ["preset", "small_data", "paper"]),
        ("train_stage2", ["--preset=paper"], ["preset", "vess2ret", "pix2pix"]),
        ("train_stage1", ["--precision=float16"], ["precision", "mixed_bfloat16"]),
        ("train_stage1", ["--dry_run=perhaps"], ["dry_run", "perhaps"]),
        ("train_stage1", ["--noseed"], ["noseed"]),
        ("train_stage1", ["drive"], ["drive", "--data=drive"]),
        ("train_stage1", ["--image_size=100"], ["--image_size=100", "multiples of 16"]),
        ("train_stage1", ["--image_size=48000"], ["--image_size=48000", "4096"]),
        ("train_stage1", ["--steps=5", "--epochs=1"], ["--steps", "--epochs"]),
        ("evaluate", ["--repeats=0"], ["repeats"]),
    ],
)
def test_a_wrong_command_line_is_one_line_that_names_the_flag(script, words, says):
    with pytest.raises(InputError) as caught:
        parse(*words, script=script)
    assert "\n" not in str(caught.value)
    for word in says:
        assert word in str(caught.value)


@pytest.mark.parametrize("word", ["--help", "-h"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_help_goes_to_stdout_and_succeeds(script, word, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(word, script=script)
    assert caught.value.code == 0
    shown = capsys.readouterr()
    assert "--out_dir=TEXT" in shown.out and shown.err == ""


@pytest.mark.parametrize(
    ("text", "size"),
    [("64", (64, 64)), ("96x128", (96, 128)), ("512", (512, 512)), (128, (128, 128)), ("80x64", (80, 64))],
)
def test_image_sizes(text, size):
    assert flags.image_size(text) == size


@pytest.mark.parametrize(
    "text", ["48", "64x48", "100", "128x", "x64", "64X64", "64.0", "-64", "", "64x64x3", "1000000", " 64"]
)
def test_impossible_image_sizes(text):
    with pytest.raises(InputError, match="--image_size="):
        flags.image_size(text)


def test_age_groups():
    assert flags.years("young", "18-38") == (18, 38) and flags.years("mature", "50-50") == (50, 50)
    for text in ("", "18", "38-18", "18-38-48", "a-b", "1000-1001"):
        with pytest.raises(InputError, match="--young=.*18-38"):
            flags.years("young", text)


# ---------------------------------------------------------------- presets, steps


@pytest.mark.parametrize("script", SCRIPTS[:2])
def test_a_preset_fills_in_what_was_not_given_and_nothing_else(script):
    presets = flags.STAGE1_PRESETS if script == "train_stage1" else flags.STAGE2_PRESETS
    for name, preset in presets.items():
        settings = resolved(f"--preset={name}", script=script)
        assert all(settings[key] == value for key, value in preset.items())
        given = resolved(f"--preset={name}", "--batch_size=3", script=script)
        assert given["batch_size"] == 3
        assert {key for key in settings if given[key] != settings[key]} == {"batch_size", "given"}
        assert parse(f"--preset={name}", script=script)["batch_size"] is None


@pytest.mark.parametrize(
    ("words", "model"),
    [
        ([], "dcgan"),
        (["--target=mask"], "dcgan"),
        (["--model=flow"], "flow"),
        (["--model=pggan"], "pggan"),
    ],
)
def test_small_data_has_settings_of_its_own_for_each_model(words, model):
    settings = resolved(*words)
    assert settings["model"] == model
    assert settings == settings | flags.SMALL_DATA_MODELS[model]
    given = resolved(*words, "--steps=7")
    assert given["steps"] == 7 and given["learning_rate"] == settings["learning_rate"]
    assert resolved(*words, "--epochs=2")["steps"] is None


@pytest.mark.parametrize(
    ("words", "class_names", "channels", "model"),
    [
        ([], None, 3, "dcgan"),
        (["--target=image"], None, 3, "dcgan"),  # P1's single-GAN baseline
        (["--target=image"], ["sick", "well"], 1, "dcgan"),
        (["--target=image"], ["sick", "well"], 3, "pggan"),
        (["--target=image", "--preset=paper"], ["sick", "well"], 3, "dcgan"),
        ([], ["sick", "well"], 3, "dcgan"),  # masks have no classes
    ],
)
def test_the_default_is_dcgan_but_for_labelled_images_in_colour(words, class_names, channels, model):
    assert flags.default_model(parse(*words), class_names, channels) == model


def test_the_papers_preset_is_of_dcgan():
    assert resolved("--preset=paper")["model"] == resolved("--preset=paper", "--target=image")["model"] == "dcgan"


def test_photographs_are_no_smooth_fields_whatever_the_model():
    for words in ([], ["--model=flow"], ["--model=dcgan"], ["--preset=paper"]):
        settings = resolved("--target=image", *words)
        assert settings["half_size"] is False and settings["field_scale"] == 0.0
    assert resolved("--model=flow")["half_size"] is True and resolved()["field_scale"] > 0


def test_numbers_of_the_papers_presets():
    paper = resolved("--preset=paper")
    assert paper["model"] == "dcgan" and paper["latent"] == 100  # P1, Stage-I GAN
    assert (paper["learning_rate"], paper["beta1"], paper["batch_size"]) == (2e-4, 0.5, 32)  # Radford et al. 2016; P2
    assert not paper["warp"] and not paper["r1"] and not paper["average"] and not paper["field_scale"]
    for preset, batch, epochs, l1, rate in (
        ("vess2ret", 1, 100, 100.0, 2e-4), ("pix2pix", 1, 200, 100.0, 2e-4),
    ):  # fmt: skip
        found = resolved(f"--preset={preset}", script="train_stage2")
        assert (found["batch_size"], found["epochs"], found["l1"], found["learning_rate"]) == (batch, epochs, l1, rate)
        assert found["steps"] is None and not found["warp"]
        assert found["checkpoint"] == "last"  # they chose none by a number


@pytest.mark.parametrize(
    ("script", "preset", "precision"),
    [
        ("train_stage1", "small_data", "auto"),
        ("train_stage1", "paper", "float32"),
        ("train_stage2", "small_data", "auto"),
        ("train_stage2", "vess2ret", "float32"),
        ("train_stage2", "pix2pix", "float32"),
    ],
)
def test_the_papers_presets_compute_in_float32_unless_told_otherwise(script, preset, precision):
    assert resolved(f"--preset={preset}", script=script)["precision"] == precision
    for given in ("auto", "mixed_bfloat16", "float32"):
        assert resolved(f"--preset={preset}", f"--precision={given}", script=script)["precision"] == given
    assert parse(script="evaluate")["precision"] == "auto"  # it has no preset


def test_presets_set_the_same_flags():
    growth = {"level_images", "level_epochs"}  # of a pggan alone
    shared = flags.STAGE1_PRESETS["small_data"] | {"model": None}
    small = [
        shared | {key: preset[key] for key in preset.keys() - growth} for preset in flags.SMALL_DATA_MODELS.values()
    ]
    for presets in ([flags.STAGE1_PRESETS["paper"], *small], flags.STAGE2_PRESETS.values()):
        # Width: of a dcgan and a pggan; resize: of a dcgan
        first, *others = ({*preset} - {"steps", "epochs", "width", "resize"} for preset in presets)
        assert all(other == first for other in others)


@pytest.mark.parametrize("script", ["train_stage1", "train_stage2"])
def test_whose_weights_make_samples_can_be_chosen(script):
    assert resolved(script=script)["checkpoint"] == "best"
    assert resolved("--checkpoint=500", script=script)["checkpoint"] == "500"
    assert "checkpoint" not in parse(script="evaluate")


def test_steps_or_epochs_given_replace_either_of_the_preset():
    assert flags.steps_and_epochs(resolved("--epochs=3", "--batch_size=4"), 10) == (8, 3.2)  # 30 images in batches of 4
    assert flags.steps_and_epochs(resolved("--steps=5", "--preset=paper"), 64) == (5, 2.5)
    assert flags.steps_and_epochs(resolved("--preset=paper"), 40) == (3000, 2400.0)
    assert flags.steps_and_epochs(resolved("--preset=paper", "--epochs=3"), 64) == (6, 3.0)
    for model in ("flow", "dcgan"):
        steps = flags.SMALL_DATA_MODELS[model]["steps"]
        assert flags.steps_and_epochs(resolved(f"--model={model}"), 8) == (steps, 2.0 * steps)  # batches of 16
    assert flags.steps_and_epochs(resolved("--epochs=1", "--preset=pix2pix", script="train_stage2"), 7) == (7, 1.0)
    # D and G in turn
    assert flags.steps_and_epochs(resolved("--epochs=3", "--preset=vess2ret", script="train_stage2"), 7) == (42, 3.0)
    assert flags.steps_and_epochs(resolved("--steps=7", "--preset=vess2ret", script="train_stage2"), 7) == (7, 0.5)


@pytest.mark.parametrize(("preset", "steps", "taken"), [("pix2pix", 4000, 80_000), ("vess2ret", 4000, 120_000)])
def test_a_shorter_training_than_the_papers_is_said(preset, steps, taken, capsys):
    settings = resolved(f"--preset={preset}", script="train_stage2")
    assert flags.steps_and_epochs(settings, 20)[0] == steps
    said = capsys.readouterr().out
    assert f"{steps:,} steps" in said and f"{taken:,}" in said and f"--steps={taken}" in said
    flags.steps_and_epochs(resolved(f"--preset={preset}", f"--steps={taken}", script="train_stage2"), 20)
    assert capsys.readouterr().out == ""


def test_fewer_images_than_a_batch(capsys):
    settings = resolved("--preset=paper", "--steps=5")
    assert settings["batch_size"] == 32 and flags.steps_and_epochs(settings, 32) == (5, 5.0)
    assert flags.steps_and_epochs(settings, 31) == (5, 5.0) and settings["batch_size"] == 31
    assert "batches of 31" in capsys.readouterr().out
    with pytest.raises(InputError, match="31 images.*--batch_size=31 or less"):
        flags.steps_and_epochs(resolved("--preset=paper", "--steps=5", "--batch_size=32"), 31)


def test_dcgan_in_the_small_data_preset_has_the_papers_latent_size_and_a_quarter_of_its_width():
    small, paper = resolved("--model=dcgan"), resolved("--preset=paper")
    assert small["latent"] == paper["latent"] == 100
    assert (small["width"], paper["width"], resolved("--preset=paper", "--model=pggan")["width"]) == (0.25, 1.0, 1.0)


# ---------------------------------------------------------------- what is kept, and what may leave the house


def test_manifests_hold_no_path():
    words = [
        "--data=/secret/clinic/eyes",
        "--data_dir=/secret/data",
        "--out_dir=/secret/out",
        "--image_size=64x80",
        "--steps=9",
    ]
    settings = resolved(*words)
    kept = json.dumps(flags.shareable(settings))
    assert "secret" not in kept and "clinic" not in kept
    assert flags.shareable(settings)["data"] == "eyes" and flags.shareable(settings)["steps"] == 9
    command = flags.command("train_stage1", settings)
    assert command.startswith("train_stage1.py ") and "secret" not in command
    assert set(command.split()[1:]) == {"--data=eyes", "--image_size=64x80", "--steps=9"}
    report = parse(
        "--synthetic_dir=/secret/out", "--report_dir=/secret/report", "--repeats=1", "--data=drive", script="evaluate"
    )
    assert flags.command("evaluate", report).split() == ["evaluate.py", "--data=drive", "--repeats=1"]


def test_settings_of_an_earlier_script(tmp_path):
    with pytest.raises(InputError, match="train_stage1.py"):
        flags.read_settings(tmp_path)
    (tmp_path / "flags.json").write_text('{"data": "drive"}')
    assert flags.read_settings(tmp_path) == {"data": "drive"}
    (tmp_path / "flags.json").write_text('{"data": "dri')
    with pytest.raises(InputError, match="flags.json: cannot be read.*--overwrite"):
        flags.read_settings(tmp_path)


# ---------------------------------------------------------------- main


def ended(monkeypatch, capsys, error, *words):
    """(exit status, stderr) of a script whose body raises `error`."""

    def run(settings):
        raise error

    monkeypatch.setattr(sys, "argv", ["train_stage1.py", *words])
    with pytest.raises(SystemExit) as caught:
        flags.main("train_stage1", "Doc.", run)
    return caught.value.code, capsys.readouterr().err


def test_bad_input_is_one_line_and_status_1(monkeypatch, capsys):
    assert ended(monkeypatch, capsys, InputError("a.png: is no image")) == (
        1,
        "train_stage1: error: a.png: is no image\n",
    )
    status, line = ended(monkeypatch, capsys, None, "--nonsense")
    assert status == 1 and line.startswith("train_stage1: error: ") and line.count("\n") == 1


def test_what_the_operating_system_refuses_is_one_line(monkeypatch, capsys):
    error = PermissionError(errno.EACCES, "Permission denied", "/root/out")
    assert ended(monkeypatch, capsys, error) == (1, "train_stage1: error: /root/out: Permission denied\n")
    status, line = ended(monkeypatch, capsys, OSError(errno.ENOSPC, "No space left on device"))
    assert status == 1 and str(Path.cwd()) in line and "No space left" in line


def test_ctrl_c_outside_of_a_training_is_one_line_and_status_130(monkeypatch, capsys):
    status, line = ended(monkeypatch, capsys, KeyboardInterrupt())
    assert status == 130 and line.startswith("train_stage1: ") and line.count("\n") == 1


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch):
    def run(settings):
        raise ValueError("a bug")

    monkeypatch.setattr(sys, "argv", ["train_stage1.py"])
    with pytest.raises(ValueError, match="a bug"):
        flags.main("train_stage1", "Doc.", run)


def test_main_hands_over_what_was_parsed(monkeypatch):
    found = []
    monkeypatch.setattr(sys, "argv", ["train_stage2.py", "--num_samples=4"])
    flags.main("train_stage2", "Doc.", found.append)
    assert found[0]["num_samples"] == 4 and found[0]["given"] == {"num_samples"}


def test_the_flow_has_no_preset_of_a_paper():
    with pytest.raises(InputError, match="no network of the papers"):
        resolved("--preset=paper", "--model=flow")
