"""Stage 1 of labelled photographs:
conditional models, one model a class, labelled sets, and the command.
"""

import contextlib
import csv
import dataclasses
import gc
import importlib.util
import io
import itertools
import json
import weakref
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from synthmed_tf import augment, flags, grain, synthesis
from synthmed_tf.datasets import prepare
from synthmed_tf.images.pixels import to_uint16
from synthmed_tf.networks import dcgan, flow, resize_dcgan
from synthmed_tf.papers import hash_filter
from synthmed_tf.records.manifest import read_manifest
from synthmed_tf.records.read import Records
from synthmed_tf.records.write import write_records
from synthmed_tf.sample import InputError, Sample
from synthmed_tf.training import checkpoints, loop, stage1

ROOT = Path(__file__).resolve().parents[1]
RNG = np.random.default_rng(0)
NAMES = ["female 18-38", "male 18-38", "../evil: name"]


def labelled_images(counts=(6, 4, 2), side=16, dtype=np.uint8, channels=1):
    """Noise whose brightness is its class."""
    for index, name in enumerate(np.repeat(NAMES, counts)):
        image = RNG.integers(0, 40, [side, side, channels]) + 80 * NAMES.index(name)
        yield Sample(
            f"r{index}",
            image.astype(dtype) * (257 if dtype == np.uint16 else 1),
            label=str(name),
            group=f"SECRET{index}",
        )


# ---------------------------------------------------------------- conditional networks


NETWORKS = {"dcgan": (dcgan, (64, 64)), "resize_dcgan": (resize_dcgan, (64, 64))}


@pytest.mark.parametrize("model", NETWORKS)
def test_a_gans_images_and_logits_depend_on_the_class(model, monkeypatch):
    monkeypatch.setattr(dcgan, "MAX_CHANNELS", 8)
    network, size = NETWORKS[model]
    generator, discriminator = (
        network.build_generator(size, 1, 6, classes=3),
        network.build_discriminator(size, 1, classes=3),
    )
    z, labels = np.repeat(RNG.normal(size=[1, 6]), 3, 0), np.eye(3)
    made = generator([z, labels], training=True).numpy()
    assert min(np.abs(made[i] - made[j]).max() for i, j in ((0, 1), (0, 2), (1, 2))) > 1e-3
    x = np.repeat(RNG.uniform(-1, 1, [1, *size, 1]), 3, 0)
    logits, without = (discriminator([x, scale * labels], training=False).numpy() for scale in (1, 0))
    assert len(np.unique(logits.round(5))) == 3 and np.ptp(without) < 1e-5
    np.testing.assert_allclose(
        discriminator([x, 2 * labels], training=False) - without, 2 * (logits - without), atol=1e-5
    )


@pytest.mark.parametrize("model", NETWORKS)
def test_a_new_gans_images_depend_more_on_z_than_on_the_class(model, monkeypatch):
    monkeypatch.setattr(dcgan, "MAX_CHANNELS", 8)
    network, size = NETWORKS[model]
    z, labels = np.repeat(RNG.normal(size=[8, 64]), 3, 0), np.tile(np.eye(3), [8, 1])
    made = network.build_generator(size, 1, 64, classes=3)([z, labels], training=True).numpy().reshape(8, 3, -1)
    assert made.std(0).mean() > 4 * made.std(1).mean() > 0


def test_a_flows_images_depend_on_the_class():
    network, plain = (flow.build_denoiser((32, 32), 1, classes) for classes in (2, 0))
    assert network.count_params() - plain.count_params() == 2 * 128 and len(plain.inputs) == 2
    for weight in network.trainable_weights:
        if not np.abs(weight).max():  # at first its last layers make nothing
            weight.assign(tf.random.stateless_normal(weight.shape, [1, 2]) * 0.3)
    x = RNG.normal(size=[1, 32, 32, 1]).repeat(2, 0)
    found = network([x, np.full(2, 0.5), np.eye(2)]).numpy()
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_batches_carry_the_labels_of_their_images_and_fakes_get_the_same(tmp_path, monkeypatch, eagerly):
    real, seen = list(labelled_images(side=64)), []
    settings = settings_of("--model=dcgan", "--batch_size=4") | {"image_size": (64, 64), "width": 1 / 64}
    monkeypatch.setattr(
        loop, "fit", lambda folder, step, batch, *_, **__: seen.extend(batch(i) for i in range(6)) or {"step": 6}
    )
    monkeypatch.setattr(checkpoints, "restore_sampler", lambda *_: (6, "prefix"))
    networks, _ = stage1.train(tmp_path, real, settings, 6, class_names=NAMES)
    again = list(seen)
    stage1.train(tmp_path, real, settings, 6, class_names=NAMES)
    fields = stage1.real_fields(real, settings)
    for index, (stack, labels) in enumerate(again):
        assert stack.shape == (4, 64, 64, 2) and labels.shape == (4, 3) and (labels.sum(1) == 1).all()
        for image, label in zip(stack, labels, strict=True):
            place = next(i for i, field in enumerate(fields) if (field == image).all())
            assert NAMES[label.argmax()] == real[place].label
        assert (seen[6 + index][1] == labels).all()  # a function of seed and step
    assert np.concatenate([labels for _, labels in again]).sum(0).tolist() == [12, 8, 4]  # two epochs
    assert (networks.typical.argmax(1) == np.repeat([0, 1, 2], [6, 4, 2])).all()
    assert networks.typical_labels(6).sum(0).tolist() == [3, 2, 1]

    told = []

    class Network:
        trainable_variables = [tf.Variable(1.0)]
        output_shape = (None, 64, 64, 1)

        def __call__(self, inputs, training):
            told.append(inputs[1])
            return self.trainable_variables[0] * inputs[0]

    networks = stage1.Stage1("image", Network(), None, Network(), (64, 64, 1), 1, 1)
    optimizers = {name: tf.keras.optimizers.SGD(0.1, jit_compile=False) for name in networks.trained}
    for optimizer, network in zip(optimizers.values(), networks.trained.values()):
        optimizer.build(network.trainable_variables)
    stage1.make_gan_step(networks, optimizers, settings | {"r1": 0.0, "warp": False})(
        tf.constant(0, tf.int64), *again[0]
    )
    assert len(told) == 3 and all((each == again[0][1]).all() for each in told)


# ---------------------------------------------------------------- what is real


def test_warps_of_radiographs_never_mirror_those_of_tiles_move_every_pixel_whole_and_masks_without_views_mirror():
    grey, tile = next(labelled_images(side=24)), next(labelled_images(side=24, channels=3))
    assert stage1.warp_of(Sample("a", tile.image, field_of_view=grey.image, label="1")) == {}
    assert stage1.warp_of(Sample("a", grey.image, mask=grey.image)) == {"flip": (False, True)}
    assert stage1.warp_of(grey)["flip"] == (False, False) and "quarter_turns" not in stage1.warp_of(grey)
    ramp = np.linspace(-1, 1, 24, dtype=np.float32)[None, None, :, None] * np.ones([16, 24, 1, 1], np.float32)
    warped = augment.random_warp(ramp, [1, 2], zoom=1.04, **{"elastic": 0.015} | stage1.warp_of(grey)).numpy()
    assert (np.diff(warped[:, 4:-4, 4:-4, 0], axis=2).mean((1, 2)) > 0).all()  # bright stays on the right

    picture = RNG.uniform(-1, 1, [24, 24, 3]).astype(np.float32)
    eight = [np.rot90(each, turns) for each in (picture, picture[::-1]) for turns in range(4)]
    found = augment.random_warp(picture[None].repeat(64, 0), [1, 2], **stage1.warp_of(tile)).numpy()
    taken = [min(range(8), key=lambda i: np.abs(eight[i] - each).max()) for each in found]
    assert max(np.abs(eight[i] - each).max() for i, each in zip(taken, found)) < 1e-4 and set(taken) == set(range(8))
    wide = Sample("a", tile.image[:16], label="1")
    assert stage1.warp_of(wide)["quarter_turns"] is False


def test_photographs_of_16_bits_stay_so():
    deep = np.array([[0, 1, 2, 30000], [32767, 32768, 65534, 65535]], np.uint16)[..., None]
    field = stage1.real_fields([Sample("a", deep)], {"target": "image", "warp": True, "field_scale": 0.0})[..., :1]
    found = stage1.Stage1("image", None, None, None, (), 1, 1, dtype="uint16").pictures(field)
    assert found.dtype == np.uint16 and (found[0] == deep).all()
    assert to_uint16([-2.0, -1.0, 0.0, 1.0, 2.0]).tolist() == [0, 0, 32768, 65535, 65535]


# ---------------------------------------------------------------- the order of the classes


@pytest.mark.parametrize(
    "shares", [[5], [1, 1], [3, 1], [6, 4, 2], [1, 1, 1, 97], [13, 7, 5, 3, 2, 1], [100, 99, 1, 1]]
)
def test_every_prefix_has_the_classes_in_their_shares_to_less_than_one(shares):
    shares = {f"c{i}": share for i, share in enumerate(shares)}
    total, made = sum(shares.values()), dict.fromkeys(shares, 0)
    for n, name in enumerate(itertools.islice(synthesis.class_order(shares), 3 * total), 1):
        made[name] += 1
        assert all(abs(made[each] - n * shares[each] / total) < 1 for each in shares)
        if n % total == 0:
            assert made == {each: n // total * shares[each] for each in shares}


def test_the_order_of_random_shares_is_as_close():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        shares = {str(i): int(share) for i, share in enumerate(rng.integers(1, 60, rng.integers(2, 12)))}
        total, made = sum(shares.values()), dict.fromkeys(shares, 0)
        for n, name in enumerate(itertools.islice(synthesis.class_order(shares), total), 1):
            made[name] += 1
            assert all(abs(made[each] - n * shares[each] / total) < 1 for each in shares)
        assert made == shares


# ---------------------------------------------------------------- labelled sets


def picture(ones):
    """[16, 16, 1] whose average hash has those ones."""
    is_bright = np.isin(np.arange(256), list(ones))
    return np.where(is_bright, 200, 20).astype(np.uint8).reshape(16, 16, 1)


def settings_of(*words):
    given = flags.parse("train_stage1", "", ["train_stage1.py", "--target=image", *words])
    return flags.apply_preset(given, flags.STAGE1_PRESETS) | {"image_size": (16, 16)}


def painter(shade=None):
    """A conditional model (a model of one class: `shade`) that paints noise of the brightness of its class."""
    z, label = tf.keras.Input([256]), tf.keras.Input([3])
    level = tf.reduce_sum(label * [-0.9, -0.2, 0.5], -1) if shade is None else tf.fill(tf.shape(z)[:1], shade)
    image = tf.reshape(tf.tanh(z) * 0.1 + level[:, None], [-1, 16, 16, 1])
    model = tf.keras.Model([z, label] if shade is None else z, image)
    typical = np.eye(3, dtype=np.float32) if shade is None else None
    return stage1.Stage1("image", model, None, tf.keras.Sequential(), (256,), 1, 1, typical=typical)


SET = {"seed": 3, "warp": True, "label_distribution": "real", "grain": False, "hash_filter": False}


def labelled_set(models, count, real=None, **settings):
    tally, rejected = {}, []
    samples = synthesis.labelled(models, real or list(labelled_images()), SET | settings, count, tally, rejected)
    return list(samples), tally, rejected


@pytest.mark.parametrize("one_a_class", [True, False])
def test_a_labelled_set_has_the_real_distribution_and_the_right_pictures(one_a_class):
    model = painter()
    models = (
        dict(zip(NAMES, [painter(shade) for shade in (-0.9, -0.2, 0.5)]))
        if one_a_class
        else dict.fromkeys(NAMES, model)
    )
    samples, tally, _ = labelled_set(models, 12)
    assert [sample.id for sample in samples] == [f"synthetic-{i:06d}" for i in range(12)]
    assert [sum(sample.label == name for sample in samples) for name in NAMES] == [6, 4, 2]
    for sample in samples:
        shade = sample.image.mean() / 127.5 - 1
        assert abs(shade - dict(zip(NAMES, (-0.9, -0.2, 0.5)))[sample.label]) < 0.05
        assert sample.seed == 3 and sample.group is None
    assert len({sample.image.tobytes() for sample in samples}) == 12
    more, *_ = labelled_set(models, 40)
    for one, other in zip(samples, more):
        assert one.label == other.label and (one.image == other.image).all()
    balanced, *_ = labelled_set(models, 9, label_distribution="balanced")
    assert [sum(sample.label == name for sample in balanced) for name in NAMES] == [3, 3, 3]


def test_classes_without_a_real_image_are_not_made_and_seeds_differ():
    models = dict.fromkeys(NAMES, painter())
    real = list(labelled_images((3, 0, 2)))
    samples, tally, _ = labelled_set(models, 10, real)
    assert {sample.label for sample in samples} == {NAMES[0], NAMES[2]} and tally["classes"].keys() == {
        NAMES[0],
        NAMES[2],
    }
    other, *_ = labelled_set(models, 10, real, seed=4)
    assert all((one.image != two.image).any() for one, two in zip(samples, other))


def test_each_class_is_filtered_by_its_own_real_images_and_counted():
    models = dict.fromkeys(NAMES, painter())
    like_model = [sample.image for sample in labelled_set(models, 300)[0] if sample.label == NAMES[0]][100:]
    real = [Sample(f"a{i}", image, label=NAMES[0]) for i, image in enumerate(like_model[:30])]
    real += [Sample(f"b{i}", picture(range(60 + i)), label=NAMES[1]) for i in range(30)]  # nothing like the model's
    samples, tally, rejected = labelled_set(models, 20, real, hash_filter=True)
    assert [sum(sample.label == name for sample in samples) for name in NAMES] == [10, 10, 0]
    first, second = tally["classes"].values()
    assert first["rate"] < 0.5 and first["too_far"] == 0
    assert second == {"candidates": 100, "rejected": 90, "too_far": 10, "rate": 1.0}
    assert tally["candidates"] == first["candidates"] + 100 and tally["rejected"] == first["rejected"] + 90
    assert {sample.label for sample in rejected} == {NAMES[0], NAMES[1]} or len(rejected) == hash_filter.REJECTED_SHOWN
    fewer, *_ = labelled_set(models, 7, real, hash_filter=True)
    assert all((one.image == two.image).all() for one, two in zip(fewer, samples))


def shot(level, count, dtype=np.uint8):
    """Photographs of an even grey with noise of `level`, white being 1."""
    white = np.iinfo(dtype).max
    for index in range(count):
        noise = np.random.default_rng([1, index]).normal(0.5, level, [64, 64, 1])
        yield Sample(f"{index}", np.clip(np.rint(noise * white), 0, white).astype(dtype))


def noisy(made, real, seed=3):
    return synthesis.noisy({"a": iter(made)}, {"a": real}, seed)["a"]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_photographs_get_the_noise_that_they_lack(dtype):
    real = list(shot(0.05, 100, dtype))
    made = list(noisy(shot(0.03, 80, dtype), real))
    assert len(made) == 80 and made[0].image.dtype == dtype
    deviations = [sample.image.std() / np.iinfo(dtype).max for sample in made]
    np.testing.assert_allclose(deviations, 0.05, rtol=0.1)
    np.testing.assert_allclose(np.mean(deviations), 0.05, rtol=0.02)
    again = itertools.islice(noisy(shot(0.03, 80, dtype), real), 70)
    assert all((one.image == two.image).all() for one, two in zip(again, made))
    assert (next(noisy(shot(0.03, 80, dtype), real, seed=4)).image != made[0].image).any()


def test_photographs_with_as_much_noise_as_real_ones_stay_as_they_are():
    made = list(shot(0.05, 90))
    assert list(noisy(made, list(shot(0.03, 10)))) == made


def test_fine_detail_that_is_no_noise_is_not_replaced_by_noise():
    def checked(contrast, count):
        checks = contrast * (np.add.outer(np.arange(64), np.arange(64)) % 2)[..., None]
        for sample in shot(0.01, count):
            yield dataclasses.replace(sample, image=(sample.image + checks).astype(np.uint8))

    real, made = list(checked(60, 20)), list(checked(40, 70))
    middle = slice(2, 6)
    assert (
        grain.noise_levels(each.image for each in real)[middle]
        > 1.2 * grain.noise_levels(each.image for each in made)[middle]
    ).all()
    assert list(noisy(made, real)) == made


def test_each_class_of_a_labelled_set_gets_the_noise_of_its_own():
    levels = dict(zip(NAMES, (0.02, 0.06, 0.1)))
    real = [dataclasses.replace(each, label=name) for name, level in levels.items() for each in shot(level, 8)]
    z = tf.keras.Input([4])
    grey = tf.keras.Model(z, 0.0 * tf.reshape(z[:, :1], [-1, 1, 1, 1]) + tf.zeros([64, 64, 1]))
    models = dict.fromkeys(NAMES, stage1.Stage1("image", grey, None, tf.keras.Sequential(), (4,), 1, 1))
    for sample in labelled_set(models, 12, real, grain=True)[0]:
        assert sample.image.std() / 255 == pytest.approx(levels[sample.label], rel=0.08)


# ---------------------------------------------------------------- flags


def test_labelled_photographs_are_conditional_unless_told_otherwise():
    for words, expected in (([], True), (["--conditional"], True), (["--noconditional"], False)):
        settings = settings_of(*words)
        flags.apply_classes(settings, NAMES, 1)
        assert settings["conditional"] is expected
    for words in ([], ["--noconditional"]):
        settings = settings_of(*words)
        flags.apply_classes(settings, None, 1)
        assert settings["conditional"] is None
    with pytest.raises(InputError, match="--conditional: .*no labels"):
        flags.apply_classes(settings_of("--conditional"), None, 1)
    with pytest.raises(InputError, match="--conditional: .*--target=image"):
        flags.apply_classes(settings_of("--conditional") | {"target": "mask"}, NAMES, 1)


@pytest.mark.parametrize(("words", "channels", "latent", "epochs"), [
    ([], 1, 512, 60), (["--noconditional"], 1, 512, 30), ([], 3, 256, 10), (["--noconditional"], 3, 256, 10),
])  # fmt: skip
def test_numbers_of_p2(words, channels, latent, epochs):
    for model in ("dcgan", "pggan"):
        settings = settings_of("--preset=paper", f"--model={model}", *words)
        flags.apply_classes(settings, NAMES, channels)
        assert settings["latent"] == latent and settings["batch_size"] == 32
        assert settings["epochs" if model == "dcgan" else "level_epochs"] == epochs
        rates = settings["learning_rate"], settings["beta1"], settings["beta2"]
        assert rates == ((2e-4, 0.5, 0.999) if model == "dcgan" else (1e-3, 0.0, 0.99))
        levels = 1 if model == "dcgan" else 3
        assert flags.steps_and_epochs(settings, 32_000) == (levels * epochs * 1000, levels * epochs)
    given = settings_of("--preset=paper", "--steps=7", *words)
    flags.apply_classes(given, NAMES, channels)
    assert flags.steps_and_epochs(given, 320)[0] == 7


def test_the_papers_preset_takes_no_fewer_steps_than_p2s_shortest_training(capsys):
    def steps(count, *words, channels=1):
        settings = settings_of("--preset=paper", *words)
        flags.apply_classes(settings, NAMES, channels)
        return flags.steps_and_epochs(settings, count)[0]

    assert steps(71_026 // 30 + 1, "--noconditional") == 2220  # a group of X-Norm-L
    assert steps(71_026) == 133_174 and steps(40_000, channels=3) == 12_500  # X-Norm-L, tiles of a class
    assert capsys.readouterr().out == ""
    assert steps(652) == steps(57, "--noconditional") == steps(57, channels=3) == 2220
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 3 and "2,220 steps" in said[0] and "instead of 60 epochs of 652 images" in said[0]
    assert steps(57, "--epochs=16") == 29 and steps(57, "--steps=5") == 5
    assert steps(57, "--model=pggan", "--level_epochs=16") == 3 * 29 and capsys.readouterr().out == ""
    assert steps(57, "--model=pggan") == 3 * 2220  # 4, 8 and 16 pixels
    assert "instead of 60 epochs a level of 57 images" in capsys.readouterr().out


# ---------------------------------------------------------------- the command


@pytest.fixture
def command(tmp_path, monkeypatch, eagerly):
    """Runs train_stage1.py on a labelled set of 16 x 16 pixels; returns what it printed."""
    monkeypatch.setitem(
        flags.SMALL_DATA_MODELS,
        "pggan",
        flags.SMALL_DATA_MODELS["pggan"] | {"width": 1 / 64, "latent": 4, "level_images": 8, "steps": 6},
    )
    monkeypatch.setattr(stage1, "SETTLING_BATCHES", 1)
    facts = {"fields_of_view": "none", "test_split": "none", "holdout": 0}
    names = sorted(NAMES)
    write_records(
        tmp_path / "prepared", "chests", labelled_images(dtype=np.uint16), source="x", class_names=names, extra=facts
    )
    monkeypatch.setattr(prepare, "prepare", lambda *_, **__: tmp_path / "prepared")
    spec = importlib.util.spec_from_file_location("script", ROOT / "train_stage1.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    def run(*words):
        argv = [
            "train_stage1.py",
            "--data=phantom",
            "--target=image",
            "--batch_size=4",
            f"--out_dir={tmp_path / 'out'}",
            *words,
        ]
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            script.main(flags.parse("train_stage1", "", argv) | {"image_size": (16, 16)})
        return out.getvalue()

    run.out = tmp_path / "out"
    return run


def test_the_command_makes_a_labelled_set_of_the_same_size_and_classes(command):
    said = command("--model=pggan")
    assert "12 images in" in said and "rejected by their average hash" in said
    made = Records(command.out / "synthetic")
    manifest, names = made.manifest, sorted(NAMES)
    assert made.class_names == names and manifest["real"]["class_counts"] == {
        "train": {NAMES[2]: 2, NAMES[0]: 6, NAMES[1]: 4}
    }
    assert manifest["class_counts"]["train"] == {NAMES[2]: 2, NAMES[0]: 6, NAMES[1]: 4}
    assert made[0].image.dtype == np.uint16 and made[0].group is None
    assert manifest["filter"]["classes"].keys() == set(NAMES) and "threshold" not in json.dumps(manifest["filter"])
    assert manifest["filter"]["candidates"] >= 12 and len(manifest["checkpoint_sha256"]) == 64
    assert manifest["flags"]["conditional"] is True and manifest["steps"] == manifest["sampled_step"] == 6
    with open(command.out / "synthetic" / "png" / "index.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["label"], row["seed"]) for row in rows] == [(sample.label, "0") for sample in made]
    picture = np.asarray(Image.open(command.out / "synthetic" / "png" / rows[3]["image"]))
    assert picture.dtype == np.uint16 and (picture == made[3].image[..., 0]).all()
    assert Image.open(command.out / "stage1" / "growth.png").size == (8 * 18 - 2, 3 * 18 - 2)
    if manifest["filter"]["rejected"] + manifest["filter"]["too_far"]:
        assert (command.out / "stage1" / "rejected.png").exists()
    assert not any(
        "SECRET" in path.read_text(errors="replace")
        for path in (command.out / "synthetic").rglob("*")
        if path.is_file()
    )

    assert "already done: 12" in command("--model=pggan")
    command("--model=pggan", "--num_samples=20", "--label_distribution=real")
    more = Records(command.out / "synthetic")
    assert len(more) == 20 and all((one.image == two.image).all() for one, two in zip(made, more))
    command("--model=pggan", "--label_distribution=balanced", "--nohash_filter")
    balanced = read_manifest(command.out / "synthetic")
    assert set(balanced["class_counts"]["train"].values()) == {4} and "filter" not in balanced
    with pytest.raises(InputError, match="conditional was True and is now False"):
        command("--model=pggan", "--noconditional")


def test_one_model_a_class_each_in_its_folder(command, monkeypatch):
    judges, build, labelled = [], stage1.build, synthesis.labelled

    def built(*args):
        networks = build(*args)
        judges.append(weakref.ref(networks.discriminator))
        return networks

    def sampled(*args):
        gc.collect()
        assert len(judges) == 3 and not any(judge() for judge in judges)  # out of memory, unlike the generators
        return labelled(*args)

    monkeypatch.setattr(stage1, "build", built)
    monkeypatch.setattr(synthesis, "labelled", sampled)
    monkeypatch.setattr(
        "synthmed_tf.training.average.AVERAGE_EVERY", 1
    )  # else all classes would still have the weights that all begin with
    said = command("--model=pggan", "--noconditional")
    folders = sorted(path.name for path in (command.out / "stage1").iterdir() if path.is_dir())
    assert folders == ["1_evil_name", "2_female_18-38", "3_male_18-38"]
    assert "class 2 of 3: female 18-38: 6 images" in said
    made = Records(command.out / "synthetic")
    assert made.manifest["class_counts"]["train"] == {NAMES[2]: 2, NAMES[0]: 6, NAMES[1]: 4}
    digests = made.manifest["checkpoint_sha256"]
    assert digests.keys() == set(NAMES) and len(set(digests.values())) == 3
    assert made.manifest["steps"] == dict.fromkeys(NAMES, 6)
    assert "already done: 12" in command("--model=pggan", "--noconditional")
