"""papers/pix2pix.py: a step by hand, jitter, what paints and with which weights."""

import linear_networks
import numpy as np
import pytest
import tensorflow as tf
from linear_networks import build_discriminator, build_generator, wedge

from synthmed_tf.datasets.phantoms import fundus
from synthmed_tf.datasets.prepare import crop_sample
from synthmed_tf.images import pixels
from synthmed_tf.papers import pix2pix
from synthmed_tf.sample import Sample
from synthmed_tf.smalldata.fields import label_pieces
from synthmed_tf.training import checkpoints
from synthmed_tf.training.pairs import Pairs

SEED = 4


# ---------------------------------------------------------------- the step


@pytest.mark.parametrize("l1", [100.0, 1.0])
def test_a_step_is_the_algorithm_by_hand(l1):
    networks, settings = (build_generator(), build_discriminator()), pix2pix.Settings(l1=l1, jitter=0)
    step = pix2pix.make_step(*networks, linear_networks.sgd(), settings, SEED)
    linear_networks.check_step(step, *networks, linear_networks.draw_stack(0), l1)


def test_jittered_pairs_stay_pairs():
    """Constant pictures stay what they are."""
    networks, stack = (
        (build_generator(), build_discriminator()),
        np.tile(np.float32([0.5, 0.2, -0.3, 1.0]), [1, 8, 8, 1]),
    )
    step = pix2pix.make_step(*networks, linear_networks.sgd(), pix2pix.Settings(jitter=64), SEED)
    linear_networks.check_step(step, *networks, stack, pix2pix.Settings.l1)


def test_jitter_and_dropout_are_functions_of_seed_and_step(eagerly):
    generator, discriminator = build_generator(has_dropout=True), build_discriminator()
    models, stack = (generator, discriminator), linear_networks.draw_stack(0)
    before = [model.get_weights() for model in models]

    def weights_after(number, seed, jitter):
        for model, weights in zip(models, before, strict=True):
            model.set_weights(weights)
        settings = pix2pix.Settings(jitter=jitter)
        pix2pix.make_step(*models, linear_networks.sgd(), settings, seed)(tf.constant(number, tf.int64), stack)
        return np.concatenate([weight.ravel() for model in models for weight in model.get_weights()])

    for jitter in (0, 64):
        first = weights_after(3, SEED, jitter)
        assert (first == weights_after(3, SEED, jitter)).all()
        assert (first != weights_after(4, SEED, jitter)).any() and (first != weights_after(3, 5, jitter)).any()


def test_two_replicas_with_half_a_batch_each_do_the_same_step(tmp_path):
    linear_networks.check_replicas("pix2pix", tmp_path)


def test_adam_is_that_of_the_paper_with_the_epsilon_of_its_framework():
    optimizer = pix2pix.make_optimizer(pix2pix.Settings(), build_generator())
    assert isinstance(optimizer, tf.keras.optimizers.Adam) and float(optimizer.learning_rate) == pytest.approx(2e-4)
    assert (optimizer.beta_1, optimizer.beta_2) == (0.5, 0.999)
    settings = pix2pix.Settings(learning_rate=1.0)
    linear_networks.check_epsilon(lambda model: pix2pix.make_optimizer(settings, model), 1e-8)


def test_steps_are_epochs_unless_given_and_fewer_than_the_papers_are_told(capsys):
    assert pix2pix.set_steps(pix2pix.Settings(), 400).steps == pix2pix.PAPER_STEPS and not capsys.readouterr().out
    assert pix2pix.set_steps(pix2pix.Settings(batch_size=3), 20).steps == 1334  # 200 * 20 / 3, rounded up
    assert "1,334 steps" in (told := capsys.readouterr().out) and "--steps=80000" in told
    assert pix2pix.set_steps(pix2pix.Settings(steps=7), 400).steps == 7


# ---------------------------------------------------------------- jitter_and_mirror


def draw_blobs(height, width, channels, seed):
    """A smooth image [1, height, width, channels] in [0, 1]."""
    noise = np.random.default_rng(seed).normal(size=[1, 5, 5, channels])
    image = tf.image.resize(noise.astype(np.float32), [height, width], method="bicubic").numpy()
    return (image - image.min()) / np.ptp(image)


def jitter(photographs, masks, seed, enlargement=30):
    pair = pix2pix.jitter_and_mirror(tf.constant(photographs), tf.constant(masks), tf.constant([seed, 0]), enlargement)
    return [part.numpy() for part in pair]


def test_jitter_is_a_crop_of_the_enlarged_image_mirrored_or_not():
    photographs, masks = draw_blobs(64, 96, 2, seed=0), draw_blobs(64, 96, 1, seed=1)
    size = [64 + 7, 96 + 11]  # 256 -> 286: Isola et al. 2017, appendix 6.2
    methods = (photographs, "bilinear"), (masks, "nearest")
    larger = np.concatenate([tf.image.resize(part, size, method=method)[0] for part, method in methods], -1)
    places = []
    for seed in range(12):
        pair = jitter(photographs, masks, seed)
        assert [part.shape for part in pair] == [(1, 64, 96, 2), (1, 64, 96, 1)]
        jittered = np.concatenate(pair, -1)[0]
        for is_mirrored in (False, True):
            picture = jittered[:, ::-1] if is_mirrored else jittered
            places += [
                (seed, top, left, is_mirrored)
                for top in range(8)
                for left in range(12)
                if np.abs(picture - larger[top : top + 64, left : left + 96]).max() < 1e-6
            ]
    assert [place[0] for place in places] == list(range(12))  # exactly one a seed
    assert {place[3] for place in places} == {False, True}
    assert len({place[1:3] for place in places}) > 6


def test_jitter_at_the_papers_size():
    image = tf.zeros([1, 256, 256, 3])
    with tf.Graph().as_default() as graph:
        pix2pix.jitter_and_mirror(tf.zeros([1, 256, 256, 3]), tf.zeros([1, 256, 256, 2]), tf.constant([0, 0]), 30)
        sizes = [tuple(op.outputs[0].shape) for op in graph.get_operations() if op.type.startswith("Resize")]
    assert sizes == [(1, 286, 286, 3), (1, 286, 286, 2)]
    assert pix2pix.jitter_and_mirror(image, image, tf.constant([0, 0]), 0) == (image, image)


@pytest.mark.parametrize("side", [88, 208])
def test_jittered_vessels_stay_whole_and_lie_where_their_photographs_show_them(side):
    """Masks in a frame that no crop reaches: phantoms of eyes, and dots of which most touch another at a corner."""
    vessels = [crop_sample(fundus.draw_fundus(index), (side, side)).mask for index in range(2)]
    dots = np.random.default_rng(0).random([2, side, side, 1]) < 0.3
    masks = np.pad(np.concatenate([vessels, dots]), [(0, 0), (24, 24), (24, 24), (0, 0)]) * np.float32(2) - 1
    enlarged = 1 + (side + 48) * 30 // 256 / (side + 48)
    for seed in range(3):
        photographs, jittered = jitter(masks, masks, seed)
        for before, after in zip(masks > 0, jittered > 0, strict=True):
            assert label_pieces(after[..., 0])[1].size == label_pieces(before[..., 0])[1].size
            assert after.sum() == pytest.approx(before.sum() * enlarged**2, rel=0.02)
        assert set(np.unique(jittered)) == {-1, 1}
        assert np.mean((photographs > 0) == (jittered > 0)) > 0.95


# ---------------------------------------------------------------- training


def draw_pairs(dtype=np.uint8):
    """Three photographs of noise, each with a mask."""
    random, white = np.random.default_rng(1), np.iinfo(dtype).max
    noise = random.integers(0, white + 1, [3, 8, 8, 3], dtype=dtype)
    return Pairs([Sample(str(i), image, np.roll(wedge(8, 8), i, 0)) for i, image in enumerate(noise)], 1, SEED)


def train(folder, generator, pairs, watch, steps=1, checkpoint=pix2pix.CHECKPOINT):
    """pix2pix.train with linear networks, measured after each step."""
    settings = pix2pix.Settings(steps=steps, learning_rate=0.1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "MEASURE_EVERY", 1)
        patch.setattr(pix2pix, "build", lambda *_: (generator, build_discriminator()))
        return pix2pix.train(folder, pairs, settings, SEED, watch=watch, checkpoint=checkpoint)


def test_photographs_are_painted_with_the_weights_that_checkpoint_names(tmp_path, eagerly):
    generator, pairs, weights, painters = build_generator(), draw_pairs(), {}, []
    distances = iter([0.1, 0.19, 0.3])

    def watch(paint):
        def measure():
            weights[len(weights) + 1] = generator.get_weights()
            return {"distance": next(distances)}, ""

        painters.append(paint)
        return measure

    for checkpoint, step in (("best", 2), ("last", 3), ("1", 1)):
        paint, result = train(tmp_path, generator, pairs, watch, 3, checkpoint)
        assert result["step"] == 3 and paint is painters[-1]
        assert result["sampled_step"] == step and result["sampler"] == str(tmp_path / "samplers" / f"ckpt-{step}")
        for weight, expected in zip(generator.get_weights(), weights[step], strict=True):
            np.testing.assert_array_equal(weight, expected)
    assert len(weights) == 3 and (weights[1][0] != weights[2][0]).any() and (weights[2][0] != weights[3][0]).any()
    assert train(tmp_path, generator, pairs, watch, 3)[1]["sampled_step"] == 3  # the paper's are the last
    assert len(list((tmp_path / "samples").iterdir())) == 3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_photographs_are_painted_with_dropout_on_as_a_function_of_mask_seed_and_index(tmp_path, eagerly, dtype):
    generator, mask = build_generator(has_dropout=True), wedge(8, 8)
    paint, _ = train(tmp_path, generator, draw_pairs(dtype), lambda _: lambda: ({"distance": 0.0}, ""))
    a, c = generator.get_weights()
    whole = 2 * ((2.0 * mask - 1) * a[0, 0, 0] + c)  # dropout makes the others twice as large
    photographs = [paint(mask, index) for index in (0, 1, 0)]
    for photograph in photographs:
        assert photograph.dtype == dtype
        is_dropped = photograph == pixels.to_integers(0.0, dtype.__name__)
        assert 0.3 < is_dropped.mean() < 0.7
        expected = pixels.to_integers(np.where(is_dropped, 0, whole), dtype.__name__)
        assert np.abs(photograph.astype(int) - expected).max() <= 1
    assert (photographs[0] == photographs[2]).all() and (photographs[0] != photographs[1]).any()
    assert (paint(mask > 0, 0) == photographs[0]).all()
