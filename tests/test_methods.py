"""methods.py: which training file and which settings the flags ask for."""

import dataclasses

import pytest
import script_runs

from synthmed_tf import methods, settings
from synthmed_tf.papers import dcgan as paper_dcgan
from synthmed_tf.papers import pggan as paper_pggan
from synthmed_tf.papers import pix2pix, vess2ret
from synthmed_tf.sample import InputError
from synthmed_tf.settings import P2_LEAST_STEPS
from synthmed_tf.smalldata import dcgan, flow, painter, pggan
from synthmed_tf.smalldata.warped_examples import MaskFields, WarpedImages
from synthmed_tf.smalldata.warped_pairs import WarpedPairs
from synthmed_tf.training.examples import Examples
from synthmed_tf.training.pairs import Pairs

STAGE1, STAGE2 = script_runs.load("train_stage1"), script_runs.load("train_stage2")


def choose_stage1(*words, count=400, channels=1, is_labelled=False):
    """What of_stage1 returns for a command line, resolved as train_stage1.py does it."""
    flags = settings.parse("", STAGE1.FLAGS, ["train_stage1.py", *words])
    flags.image_size = flags.image_size or (128, 128)
    flags.model = flags.model or methods.choose_model(flags, is_labelled, channels)
    flags.conditional = flags.conditional is not False if is_labelled else None
    return methods.choose_for_stage1(flags, STAGE1.METHOD, count, channels=channels, is_labelled=is_labelled)


def choose_stage2(*words, count=20, image_size=(128, 128)):
    """What of_stage2 returns for a command line."""
    flags = settings.parse("", STAGE2.FLAGS, ["train_stage2.py", *words])
    return methods.choose_for_stage2(flags, STAGE2.METHOD, count, image_size)


# ---------------------------------------------------------------- stage 1


@pytest.mark.parametrize(("words", "expected"), [
    ([], (dcgan, dcgan.MaskSettings(), MaskFields)),
    (["--model=flow"], (flow, flow.Settings(), MaskFields)),
    (["--target=image"], (dcgan, dcgan.ImageSettings(), WarpedImages)),
    (["--target=image", "--model=dcgan"], (dcgan, dcgan.ImageSettings(), WarpedImages)),
    (["--target=image", "--model=flow"], (flow, flow.Settings(), WarpedImages)),
    (["--preset=paper"], (paper_dcgan, paper_dcgan.Settings(), Examples)),
    (["--preset=paper", "--target=image"], (paper_dcgan, paper_dcgan.Settings(), Examples)),
])  # fmt: skip
def test_method_settings_and_what_it_is_shown(words, expected):
    assert choose_stage1(*words) == expected


def test_a_pggan_trains_as_many_steps_as_its_levels_take():
    for words, shown in (([], MaskFields), (["--target=image"], WarpedImages)):
        method, own, examples_class = choose_stage1("--model=pggan", "--image_size=64", *words)
        assert (method, examples_class) == (pggan, shown)
        assert own == pggan.Settings(steps=max(4000, 5 * 8000 // 16))
    assert choose_stage1("--model=pggan", "--level_images=160000", "--image_size=64")[1].steps == 50_000
    method, own, examples_class = choose_stage1("--model=pggan", "--preset=paper", "--image_size=64", "--target=image")
    assert (method, examples_class) == (paper_pggan, Examples) and own.steps == 5 * P2_LEAST_STEPS
    assert choose_stage1("--model=pggan", "--image_size=256", "--preset=paper")[1].steps == 7 * P2_LEAST_STEPS
    with pytest.raises(InputError, match="--steps=40: a pggan of 5 levels"):
        choose_stage1("--model=pggan", "--steps=40", "--image_size=64")


@pytest.mark.parametrize(("words", "is_labelled", "channels", "model"), [
    ([], False, 3, dcgan),
    (["--target=image"], False, 3, dcgan),  # P1's single-GAN baseline
    (["--target=image"], True, 1, dcgan),
    (["--target=image"], True, 3, pggan),
    (["--target=image", "--model=dcgan"], True, 3, dcgan),
    (["--target=image", "--preset=paper"], True, 3, paper_dcgan),
])  # fmt: skip
def test_the_default_is_dcgan_but_for_labelled_images_in_colour(words, is_labelled, channels, model):
    assert choose_stage1(*words, is_labelled=is_labelled, channels=channels)[0] is model


@pytest.mark.parametrize(("words", "channels", "latent", "epochs"), [
    ([], 1, 512, 60), (["--noconditional"], 1, 512, 30), ([], 3, 256, 10), (["--noconditional"], 3, 256, 10),
])  # fmt: skip
def test_numbers_of_p2_by_class_and_colour(words, channels, latent, epochs):
    """Kovalev & Kazlouski 2019, § 3.1."""
    given = {"is_labelled": True, "channels": channels}
    words = ["--target=image", "--preset=paper", "--image_size=64", *words]
    own = choose_stage1(*words, count=32_000, **given)[1]
    assert own == paper_dcgan.Settings(latent=latent, steps=epochs * 1000)
    assert (own.batch_size, own.learning_rate, own.beta1) == (32, 2e-4, 0.5)
    own = choose_stage1(*words, "--model=pggan", count=32_000, **given)[1]
    level_images, steps = epochs * 32_000, 5 * epochs * 1000
    assert own == paper_pggan.Settings(latent=latent, level_images=level_images, steps=steps)
    assert (own.batch_size, own.learning_rate, own.beta1, own.beta2) == (32, 1e-3, 0.0, 0.99)
    assert choose_stage1(*words, "--steps=7", count=320, **given)[1].steps == 7


def test_p2s_epochs_of_few_images_are_no_fewer_steps_than_its_shortest_training(capsys):
    words = "--target=image", "--preset=paper"
    assert choose_stage1(*words, count=652, is_labelled=True)[1].steps == P2_LEAST_STEPS
    assert "instead of 60 epochs of 652 images" in capsys.readouterr().out
    assert choose_stage1(*words, "--model=pggan", count=57, is_labelled=True)[1].steps == 6 * P2_LEAST_STEPS
    assert "instead of 60 epochs a level of 57 images" in capsys.readouterr().out


def test_flags_of_the_users_override_settings():
    own = choose_stage1("--steps=7", "--r1=0", "--width=0.5", "--average=0.9")[1]
    assert own == dataclasses.replace(dcgan.MaskSettings(), steps=7, r1=0.0, width=0.5, average=0.9)
    own = choose_stage1("--target=image", "--preset=paper", "--latent=8", "--batch_size=4", is_labelled=True)[1]
    assert (own.latent, own.batch_size) == (8, 4)


@pytest.mark.parametrize(("words", "says"), [
    (["--beta2=0.5"], "--beta2: this network has no such setting; it has steps, batch_size"),
    (["--model=flow", "--latent=8"], "--latent"),
    (["--model=flow", "--r1=1"], "--r1"),
    (["--model=pggan", "--rate_decay=10"], "--rate_decay"),
    (["--level_images=10"], "--level_images"),
    (["--preset=paper", "--average=0.9"], "--average"),
    (["--preset=paper", "--model=flow"], "no network of the papers"),
])  # fmt: skip
def test_what_a_method_does_not_have_is_refused(words, says):
    with pytest.raises(InputError, match=says):
        choose_stage1(*words)


def test_batches_of_the_papers_hold_no_more_than_there_are_and_warped_ones_may(capsys):
    assert choose_stage1("--preset=paper", count=31)[1].batch_size == 31
    assert "batches of 31" in capsys.readouterr().out
    own = choose_stage1("--preset=paper", "--target=image", "--model=pggan", "--image_size=64", count=9)[1]
    assert own.batch_size == 9 and own.level_images == 9 * P2_LEAST_STEPS
    with pytest.raises(InputError, match="31 images.*--batch_size=31 or less"):
        choose_stage1("--preset=paper", "--batch_size=32", count=31)
    for words in ([], ["--target=image"]):
        assert choose_stage1("--batch_size=32", *words, count=31)[1].batch_size == 32


def test_papers_networks_have_the_papers_width_and_no_penalty():
    assert (dcgan.MaskSettings().width, paper_dcgan.Settings().width, paper_pggan.Settings().width) == (0.25, 1.0, 1.0)
    assert dcgan.MaskSettings().latent == paper_dcgan.Settings().latent == 100
    assert dcgan.ImageSettings().r1 == 0
    fields = {field.name for field in dataclasses.fields(paper_dcgan.Settings)}
    assert not fields & {"r1", "average", "rate_decay"}


# ---------------------------------------------------------------- stage 2


def test_the_painter_matches_features_of_large_images_alone():
    assert choose_stage2() == (painter, painter.Settings(), WarpedPairs)
    own = choose_stage2(image_size=(64, 128))[1]
    assert own == painter.Settings(l1=50.0, feature_matching=0.0)
    assert choose_stage2("--l1=9", "--steps=3", image_size=(64, 64))[1] == dataclasses.replace(own, l1=9.0, steps=3)


@pytest.mark.parametrize(("preset", "method", "epochs", "updates", "paper_steps"), [
    ("pix2pix", pix2pix, 200, 1, 80_000), ("vess2ret", vess2ret, 100, 2, 120_000),  # vess2ret: D and G in turn
])  # fmt: skip
def test_the_papers_pairs_are_shown_for_their_epochs(preset, method, epochs, updates, paper_steps, capsys):
    chosen, own, pairs_class = choose_stage2(f"--preset={preset}")
    assert (chosen, pairs_class) == (method, Pairs) and method.CHECKPOINT == "last"  # they chose none by a number
    assert (own.batch_size, own.epochs, own.l1, own.learning_rate) == (1, epochs, 100.0, 2e-4)
    assert own.steps == 20 * epochs * updates == 4000
    said = capsys.readouterr().out
    assert "4,000 steps" in said and f"{paper_steps:,}" in said and f"--steps={paper_steps}" in said
    own = choose_stage2(f"--preset={preset}", "--batch_size=3", count=7)[1]
    assert own.steps == -(-7 * epochs * updates // 3)
    capsys.readouterr()
    assert choose_stage2(f"--preset={preset}", f"--steps={paper_steps}")[1].steps == paper_steps
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("words", "says"), [
    (["--preset=vess2ret", "--jitter=3"], "--jitter"),
    (["--preset=pix2pix", "--feature_matching=1"], "--feature_matching"),
    (["--jitter=3"], "--jitter"),
    (["--preset=pix2pix", "--batch_size=21"], "20 images.*--batch_size=20 or less"),
])  # fmt: skip
def test_what_a_method_of_stage_2_does_not_have_is_refused(words, says):
    with pytest.raises(InputError, match=says):
        choose_stage2(*words)


# ---------------------------------------------------------------- words


def test_text_names_the_network_and_what_is_added():
    assert methods.describe_network("paper", "mask", "dcgan", True) == "network: DCGAN (Radford et al. 2016; P1, P2)"
    said = methods.describe_network("small_data", "mask", "dcgan", True)
    assert "halves of two eyes joined, warped masks" in said and said.endswith("(--preset=paper: without)")
    assert "halves" not in methods.describe_network("small_data", "mask", "dcgan", False)
    assert methods.describe_network("small_data", "photograph", "pix2pix", True).endswith("(--preset=pix2pix: without)")
    assert (
        methods.describe_network("small_data", "image", "flow", False)
        == "network: rectified flow (Liu et al. 2023), no GAN"
    )
