"""Stage 2: geometry -> photograph. pix2pix (Isola et al. 2017; P1 § Stage-II GAN; Costa et al. 2017)."""

import dataclasses
import zlib

import numpy as np
import tensorflow as tf
from scipy import stats
from scipy.stats import qmc

from synthmed_tf import augment, grain, losses
from synthmed_tf.images.field_of_view import estimate_field_of_view, fill_outside
from synthmed_tf.images.pixels import to_integers, to_uint8
from synthmed_tf.metrics import fidelity
from synthmed_tf.networks import painter, pix2pix, vess2ret
from synthmed_tf.sample import spaced
from synthmed_tf.smalldata.fields import find_wall, make_fields, make_mask, measure_thickness
from synthmed_tf.smalldata.recombine import is_disc_right
from synthmed_tf.training import batches, checkpoints, loop
from synthmed_tf.training.average import RunningAverage
from synthmed_tf.training.log import draw_grid

GRID = 8  # pairs in a picture of samples
MEASURED = 32  # synthetic and real photographs
# Of the least KID: of so few it wavers by half, and is least while vessels are faint; where the discriminator wins it
# is far more
CLOSE = 1.0
# Pixels of the shorter side, from which on small_data matches features: BU-BIL's cells at 64 came out faint by it
MATCHED = 128
SMALL_IMAGES = {"l1": 50.0, "feature_matching": 0.0}  # what it does below
FIELD_SCALE = 2.0  # pixels
# Of the real photographs' spread in colours, which drawn ones have: the truncation of Karras et al. 2019, "A Style-Based
# Generator Architecture for Generative Adversarial Networks", section B. By 1 some are lit as no eye is (docs/TRIALS.md).
TRUNCATION = 0.8
RIDGE = 0.5  # of a warped centreline
NOISE_SCALES = (1, 4, 16)  # pixels


@dataclasses.dataclass
class Stage2:
    """The networks of stage 2.

    Attributes:
      generator: [mask [batch, height, width, 1] in {background, 1}, seed [1, 2] int32] -> photograph [batch, height,
        width, c] in (-1, 1). Where it is told the colours, they follow the mask as 2c planes; where it gets noise, one
        plane of that comes last.
      discriminator: mask and photograph, in one tensor of 1 + c channels -> logits [batch, rows, columns, 1], one a
        patch.
      noise: whether the generator gets N(0, 1) at each pixel, for texture that the mask does not decide.
      colours: from `fit_colours`, where the generator is told the colours; None where it is not.
      training_at_test_time: whether photographs are made with dropout and batch statistics on, as Isola et al. 2017 do.
      background: what a mask is where no vessel is, -1 or 0.
      averaged: the generator with averaged weights, which then makes the photographs; None without.
      grain: what is added to a generated photograph inside its field of view, arguments of grain.draw; () where nothing
        is.
      has_view: whether photographs have a field of view.
      dtype: of photographs, "uint8" or "uint16".
    """

    generator: tf.keras.Model
    discriminator: tf.keras.Model
    training_at_test_time: bool
    noise: bool = False
    colours: tuple | None = None
    background: float = -1.0
    averaged: tf.keras.Model | None = None
    grain: tuple = ()
    has_view: bool = False
    dtype: str = "uint8"

    @property
    def sampler(self):
        """The generator that makes photographs."""
        return self.averaged or self.generator


def build(settings, channels):
    """Builds the preset's networks for photographs of `channels` channels."""
    size = settings["image_size"]
    network = {"small_data": painter, "vess2ret": vess2ret, "pix2pix": pix2pix}[settings["preset"]]
    planes = 1 + 2 * channels * settings["light"] + len(NOISE_SCALES) * settings["noise"]
    return Stage2(
        network.build_generator(size, planes, channels),
        network.build_discriminator(size, in_channels=1, out_channels=channels),
        network.TRAINING_AT_TEST_TIME,
        settings["noise"],
        background=network.BACKGROUND,
        averaged=network.build_generator(size, planes, channels) if settings["average"] else None,
    )


def train(folder, real, settings, steps, strategy=None, masks=()):
    """Trains stage 2 on the pairs of `real`, or goes on where it stopped.

    Args:
      folder: pathlib.Path of the run.
      real: Records of real samples with image and mask.
      settings: resolved flags and preset; see flags.STAGE2_PRESETS.
      steps: steps in all.
      strategy: tf.distribute strategy.
      masks: sequence of synthetic Samples to paint and measure while training, see `measurement`; may be empty.

    Returns:
      (Stage2, loop.fit's dict). With `masks` the sampler has the weights that settings["checkpoint"] names, and the
      dict two more entries: "sampled_step", the step of those weights, and "sampler", the prefix of their checkpoint.

    Raises:
      InputError: what loop.fit raises.
    """
    strategy = strategy or tf.distribute.get_strategy()
    seed = settings["seed"]
    pairs = real_pairs(real, settings["warp"])
    tf.keras.utils.set_random_seed(seed)  # the initial weights
    with strategy.scope():
        networks = build(settings, pairs.shape[-1] - 3)
        rates = settings["learning_rate"], settings["discriminator_rate"]
        models = networks.generator, networks.discriminator
        optimizers = [make_optimizer(settings, rate, model) for rate, model in zip(rates, models, strict=True)]
    networks.has_view, networks.dtype = real[0].field_of_view is not None, real[0].image.dtype.name
    if settings["light"]:
        networks.colours = fit_colours(pairs, networks.has_view)
    step, batch = training_of(networks, optimizers, settings, pairs, steps, strategy.num_replicas_in_sync)

    def grid():
        some = pairs[np.linspace(0, len(pairs) - 1, GRID).astype(int)]
        masks, photographs = np.sign(some[..., -3:-2]), some[..., -1:] * (some[..., :-3] + 1) - 1
        fakes = np.concatenate([painted(networks, mask[None] > 0, [seed, i]) for i, mask in enumerate(masks)])
        shown = np.concatenate([np.repeat(masks, photographs.shape[-1], -1), fakes, photographs])
        return draw_grid(to_uint8(shown), GRID)

    state = {
        "generator": networks.generator,
        "discriminator": networks.discriminator,
        "generator_optimizer": optimizers[0],
        "discriminator_optimizer": optimizers[1],
    }
    average = RunningAverage(networks.generator, networks.averaged, settings["average"]) if networks.averaged else None
    measure = measurement(networks, real, masks[:MEASURED], settings) if len(masks) else None
    choice = settings["checkpoint"] if len(masks) else "best"
    sampling = checkpoints.Sampling(networks.sampler, grid, measure, choice, CLOSE)
    result = loop.fit(
        folder,
        step,
        batch,
        state,
        steps,
        name="stage 2",
        average=average,
        sampling=sampling,
        strategy=strategy,
    )
    if len(masks):
        chosen = checkpoints.restore_sampler(folder, sampling)
        result["sampled_step"], result["sampler"] = chosen
    if settings["grain"]:
        networks.grain = missing_grain(networks, real, seed)
    return networks, result


def missing_grain(networks, real, seed):
    """The grain that real photographs have and those painted for their masks lack:
    (grain.response, spread), to add when sampling.

    Not added while training: the discriminator then won, and KID was twice as large after 1,000 steps at 256 pixels.
    """
    some = spaced(real, MEASURED)
    masks = [sample.mask for sample in some]
    inside = [np.ones_like(sample.mask) if sample.field_of_view is None else sample.field_of_view for sample in some]
    networks.grain = ()
    half = np.iinfo(networks.dtype).max / 2
    made = [translate(networks, mask[None], [seed, -1 - index])[0] / half for index, mask in enumerate(masks)]
    originals = [sample.image / half for sample in some]
    (power, spread), (painted, _) = grain.spectrum(originals, masks, inside), grain.spectrum(made, masks, inside)
    return grain.response(grain.filter_of(power - painted), *masks[0].shape[:2]), spread


def measurement(networks, real, masks, settings):
    """Returns the function that loop.fit measures stage 2 with: "distance" is KID on metrics.fidelity's features,
    "masks" a checksum of the masks, of which there may be others when a run goes on.

    Compared are photographs of synthetic masks, which is what stage 2 is for, with at most MEASURED of the training
    photographs. (P1 and P2 chose by eye.) Where there are not two of either, every distance is 0.
    """
    seed, some = settings["seed"], spaced(real, MEASURED)
    originals = fidelity.photograph_features(
        [sample.image for sample in some], [sample.field_of_view for sample in some]
    )
    with_views = some[0].field_of_view is not None
    checksum = zlib.crc32(np.packbits([sample.mask for sample in masks]))

    def measure():
        if min(len(some), len(masks)) < 2:
            return {"distance": 0.0, "masks": checksum}, ""
        if settings["grain"]:
            networks.grain = missing_grain(networks, real, seed)
        made = [translate(networks, sample.mask[None], [seed, i])[0] for i, sample in enumerate(masks)]
        found = fidelity.photograph_features(
            made, [estimate_field_of_view(each) if with_views else None for each in made]
        )
        distance = fidelity.kid(*(fidelity.standardise(each, originals) for each in (originals, found)))
        return {"distance": distance, "masks": checksum}, ""

    return measure


def real_pairs(real, filled=False):
    """[count, height, width, channels + 3] float32:
    photograph in [-1, 1], make_fields, field of view in {0, 1}.

    With filled, photographs go on beyond their fields of view, of which each pixel then is the share of light that
    passes: fill_outside.
    """
    pairs = []
    for sample in real:
        photograph = sample.image.astype(np.float32) / (np.iinfo(sample.image.dtype).max / 2) - 1
        inside = np.ones_like(sample.mask) if sample.field_of_view is None else sample.field_of_view
        photograph, inside = fill_outside(photograph, sample.field_of_view) if filled else (photograph, inside)
        fields = make_fields(sample.mask, FIELD_SCALE)
        pairs.append(np.concatenate([photograph, fields, inside], -1, dtype=np.float32))
    return np.stack(pairs)


def warped(pairs, seed, wall):
    """Photographs and masks, bent alike at random, of pairs from `real_pairs`.

    The rim is the camera's, and stays where it is and as dark as it is. A mask is warped as its two fields, and is
    where the first lies above `wall` or the second has a ridge: so the masks that the networks learn from are as thick,
    and in as many pieces, as those they will paint. (What is interpolated between a thin vessel and its surround lies
    below any wall, so that by the wall alone a mask of DRIVE falls to 75 pieces.) None is enlarged: vessels would be
    wider than the camera shows them.

    Args:
      pairs: [batch, height, width, channels + 3] from `real_pairs`. seed: [2] ints; the warp is a function of it.
      wall: see `wall_of_warped`.

    Returns:
      [batch, height, width, channels + 2] float32: photograph in [-1, 1], mask in {-1, 1}, field of view in {0, 1}.
    """
    inside = pairs[..., -1:]
    moved = _warp(tf.constant(pairs[..., :-1]), tf.constant(seed, tf.int32)).numpy()
    photograph = inside * (np.clip(moved[..., :-2], -1, 1) + 1) - 1
    mask = np.where(inside > 0, _masks(moved[..., -2:], wall), 0) * 2.0 - 1
    return np.concatenate([photograph, mask, inside > 0], -1, dtype=np.float32)


def wall_of_warped(pairs, seed):
    """The wall by which warped masks are on average as thick as those of `pairs`, see `warped`."""
    pairs = np.asarray(pairs)
    moved = _warp(tf.constant(pairs[..., :-1]), tf.constant([seed, -1], tf.int32)).numpy()
    return find_wall(lambda wall: _masks(moved[..., -2:], wall), measure_thickness(pairs[..., -3:-2] > 0))


@tf.function
def _warp(stack, seed):
    return augment.random_warp(stack, seed, rotation=20.0, elastic=0.008, flip=(True, True), enlarged=2)


def _masks(fields, wall):
    return np.stack([make_mask(each, wall, RIDGE, weight=0.0) for each in fields])


def translate(networks, masks, seed):
    """Photographs for masks, made as each preset's paper does at test time.

    Args:
      networks: Stage2.
      masks: [1, height, width, 1] bool or {0, 1}; one at a time, so that batch statistics are its own.
      seed: [2] ints; dropout, colours, noise and grain are a function of it.

    Returns:
      [1, height, width, channels] of networks.dtype.
    """
    return to_integers(painted(networks, masks, seed), networks.dtype)


def painted(networks, masks, seed):
    """As `translate`, not rounded yet: [1, height, width, channels] float32 in [-1, 1], and by the grain beyond."""
    condition = np.where(masks, np.float32(1), np.float32(networks.background))
    if networks.colours is not None:
        colours = drawn_colours(*networks.colours, *seed)
        if networks.has_view and is_disc_right(masks[0] > 0):
            colours = mirrored(colours)
        condition = with_colours(condition, colours, networks.has_view)
    if networks.noise:
        condition = with_noise(condition, tf.random.experimental.stateless_fold_in(seed, 1))
    photograph = networks.sampler(
        [condition, tf.constant([seed], tf.int32)], training=networks.training_at_test_time
    ).numpy()
    if networks.grain:
        texture = grain.draw(*networks.grain, tf.random.experimental.stateless_fold_in(seed, 2)).numpy()
        inside = estimate_field_of_view(to_uint8(photograph[0])) if networks.has_view else 1
        photograph = photograph + texture * inside
    return photograph


def colours_of(photographs, inside, has_view):
    """The quadratic surface that each channel lies about inside the field of view, and its deviation from that; without
    a field of view its mean and deviation, as what fills the middle of a frame would bend a surface.

    Small_data's generator is told them: a mask does not say how bright an eye is, and while the brightness is wrong by
    more than the vessels' contrast, the sign of every pixel's error, which is L1's gradient, says nothing about
    vessels. When sampling, colours are drawn from the normal distribution fitted to the real ones (`drawn_colours`), so
    the set varies in colour too.

    Args:
      photographs: [batch, height, width, c] float32. inside: [batch, height, width, 1] in {0, 1}.

    Returns:
      [batch, 7c] float32: for each function of `_surfaces` its coefficients, one a channel; the standard deviations.
      Without a field of view [batch, 2c].
    """
    surfaces = _surfaces(*photographs.shape[1:3], has_view)
    gram = tf.einsum("bhwo,hwi,hwj->bij", inside, surfaces, surfaces) + 1e-3 * tf.eye(surfaces.shape[-1])
    coefficients = tf.linalg.solve(gram, tf.einsum("bhwc,hwi->bic", photographs * inside, surfaces))
    rest = (photographs - tf.einsum("hwi,bic->bhwc", surfaces, coefficients)) * inside
    squares = tf.math.divide_no_nan(tf.reduce_sum(tf.square(rest), [1, 2]), tf.reduce_sum(inside, [1, 2]))
    return tf.concat([tf.reshape(coefficients, [tf.shape(coefficients)[0], -1]), tf.sqrt(squares)], -1)


def _surfaces(height, width, has_view):
    """[height, width, 6]: 1, y, x, y^2, yx and x^2, y and x from -1 to 1. Without a field of view 1 alone."""
    y, x = tf.meshgrid(tf.linspace(-1.0, 1.0, height), tf.linspace(-1.0, 1.0, width), indexing="ij")
    return tf.stack([tf.ones_like(x), y, x, y * y, y * x, x * x][: None if has_view else 1], -1)


def mirrored(colours):
    """Colours [batch, 7c] of photographs with a field of view mirrored left to right."""
    signs = np.repeat(np.float32([1, 1, -1, 1, -1, 1, 1]), colours.shape[-1] // 7)
    return colours * signs


def fit_colours(pairs, has_view):
    """The normal distribution that colours are drawn from: that of the colours of pairs from `real_pairs`, eyes turned
    so that the disc is on the left and with TRUNCATION of their spread (of images without fields of view, whose colours are
    fewer numbers, all of it).

    Returns:
      (mean [7c], factor [7c, 7c]), or with 2c as in `colours_of`, the covariance being factor @ factor.T.
    """
    if has_view:
        pairs = np.stack([pair[:, ::-1] if is_disc_right(pair[..., -3:-2] > 0) else pair for pair in pairs])
    photographs, inside = pairs[..., -1:] * (pairs[..., :-3] + 1) - 1, np.sign(pairs[..., -1:])
    known = colours_of(photographs, inside, has_view).numpy()
    spread = np.cov(known, rowvar=False) if len(known) > 1 else np.zeros([known.shape[1]] * 2)
    factor = np.linalg.cholesky(spread + 1e-6 * np.eye(len(spread)))
    return known.mean(0), TRUNCATION * factor if has_view else factor


def drawn_colours(mean, factor, seed, index):
    """Colours number `index` of those that are drawn from the normal distribution of mean [d] and covariance factor @
    factor.T.

    The draws are a scrambled Sobol sequence (Owen 1998), so that a set of some hundred has the mean and the spread of
    the distribution, where independent ones stray from both. None is more than 2 standard deviations out, as no real
    colours are near there.

    Args:
      mean: [d]. factor: [d, d].
      seed: of the scrambling.
      index: of the draw; those below 0, which nobody samples with, are another sequence.

    Returns:
      [1, d] float32.
    """
    sequence = qmc.Sobol(len(mean), rng=np.random.default_rng([seed, index < 0]))
    if before := index if index >= 0 else -1 - index:
        sequence.fast_forward(before)
    normal = np.clip(stats.norm.ppf(sequence.random(1)[0]), -2, 2)
    return (mean + factor @ normal).astype(np.float32)[None]


def with_colours(masks, colours, has_view):
    """Masks [batch, height, width, 1] and colours as from `colours_of` -> [batch, height, width, 1 + 2c]: surfaces,
    deviations.
    """
    functions = _surfaces(*masks.shape[1:3], has_view)
    channels = colours.shape[-1] // (functions.shape[-1] + 1)
    coefficients = tf.reshape(colours[:, :-channels], [-1, functions.shape[-1], channels])
    surfaces = tf.einsum("hwi,bic->bhwc", functions, coefficients)
    return tf.concat([masks, surfaces, tf.ones_like(surfaces) * colours[:, None, None, -channels:]], -1)


def with_noise(condition, key):
    """[batch, height, width, c] and a plane of noise for each of NOISE_SCALES, which are smooth over so many pixels.

    N(0, 1) before it is made smooth; a function of key [2] int32. -> [batch, height, width, c + len(NOISE_SCALES)].
    """
    batch, height, width = tf.unstack(tf.shape(condition))[:3]
    planes = []
    for index, scale in enumerate(NOISE_SCALES):
        noise = tf.random.stateless_normal([batch, height // scale, width // scale, 1], key + index)
        planes.append(tf.image.resize(noise, [height, width], method="bicubic") if scale > 1 else noise)
    return tf.concat([condition, *planes], -1)


def for_size(settings):
    """`settings`, with SMALL_IMAGES in small_data below MATCHED."""
    small = settings["preset"] == "small_data" and min(settings["image_size"]) < MATCHED
    return settings | SMALL_IMAGES if small else settings


def make_optimizer(settings, rate, model):
    """The preset's Adam with this learning rate, built for the variables of `model`.

    The papers' epsilon is that of their frameworks, 1e-8: torch/optim's adam.lua (Isola et al.) and Keras 1.2's
    optimizers.py (Costa et al.). Small_data's is today's default of Keras.
    """
    optimizer = tf.keras.optimizers.Adam(rate, settings["beta1"], epsilon=settings["epsilon"], jit_compile=False)
    optimizer.build(model.trainable_variables)
    return optimizer


def training_of(networks, optimizers, settings, pairs, steps, replicas=1):
    """What loop.fit needs to train the preset on pairs from `real_pairs`: (its step or list of steps, its batch)."""
    if settings["in_turn"]:
        return vess2ret_training(networks, optimizers, settings, pairs, steps, replicas)
    seed = settings["seed"]
    wall = wall_of_warped(spaced(pairs, MEASURED), seed) if settings["warp"] else None

    def batch(index):
        chosen = batches.draw_batch_indices(len(pairs), settings["batch_size"], seed, index)
        return (warped(pairs[chosen], [seed, index], wall) if settings["warp"] else np.delete(pairs[chosen], -2, -1),)

    return make_step(networks, optimizers, settings, replicas), batch


def make_step(networks, optimizers, settings, replicas=1):
    """The training step: (step number, [batch, height, width, channels + 2]:
    photograph, mask, field of view as from `warped`) -> losses.

    Isola et al. 2017 eq. 1-4: one update of D (cross entropy, halved as in their § 3.3) and one of G
    (non-saturating + l1 * L1), both on the same fake photographs. Small_data adds the feature matching of Wang et al.
    2018, so that a fake photograph looks to D like the real one of its mask, and D, which soon tells 20 photographs
    from fakes by something, goes on teaching. D then sees fakes inside the field of view alone: its rim is the same in
    all warps, which G cannot know.
    """
    generator, discriminator = networks.generator, painter.with_features(networks.discriminator)
    seed, jitter = settings["seed"], settings["jitter"]

    @tf.function
    def step(number, stack):
        key_augment, key_dropout = loop.draw_keys(seed, number)
        photograph, masks = augment.jitter_and_mirror(stack[..., :-2], stack[..., -2:], key_augment, jitter)
        mask, inside = tf.where(masks[..., :1] > 0, 1.0, -1.0), masks[..., 1:]
        condition = mask
        if settings["light"]:
            condition = with_colours(mask, colours_of(photograph, inside, networks.has_view), networks.has_view)
        condition = with_noise(condition, key_dropout) if settings["noise"] else condition
        with tf.GradientTape(persistent=True) as tape:
            fake = generator([condition, key_dropout[None]], training=True)
            shown = inside * (fake + 1) - 1 if settings["feature_matching"] else fake
            real_logits, real_features = discriminator(tf.concat([mask, photograph], -1), training=True)
            fake_logits, fake_features = discriminator(tf.concat([mask, shown], -1), training=True)
            d_loss = losses.discriminator_cross_entropy(real_logits, fake_logits) / 2
            adversarial = losses.generator_non_saturating(fake_logits)
            l1 = losses.l1(photograph, fake)
            learning = may_learn(real_logits, fake_logits, settings["most_accurate"])
            g_loss = adversarial + settings["l1"] * l1
            if settings["feature_matching"]:
                g_loss += settings["feature_matching"] * losses.feature_matching(fake_features, real_features)
            scaled = learning * d_loss / replicas, g_loss / replicas
        for optimizer, loss, model in zip(optimizers[::-1], scaled, (networks.discriminator, generator), strict=True):
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return {"discriminator": d_loss, "adversarial": adversarial, "l1": l1}

    return step


def vess2ret_training(networks, optimizers, settings, pairs, steps, replicas=1):
    """As `training_of`: in_turn updates of D, then as many of G, and so on (Costa et al.'s train.py, train_iteration).

    Each update of D takes two pairs, one for its mask and one that is real, each update of G one. So an epoch, as many
    updates of each as there are pairs, shows G each pair once and D each pair twice.
    """
    in_turn = settings["in_turn"]

    def batch(index):
        turn, place = divmod(index, in_turn)
        update, parts = turn // 2 * in_turn + place, 1 if turn % 2 else 2
        chosen = batches.draw_batch_indices(len(pairs), parts * settings["batch_size"], settings["seed"], update)
        return tuple(np.split(np.delete(pairs[chosen], -2, -1), parts))

    both = make_vess2ret_steps(networks, optimizers, settings, replicas)
    return [(first, both[turn % 2]) for turn, first in enumerate(range(0, steps, in_turn))], batch


def make_vess2ret_steps(networks, optimizers, settings, replicas=1):
    """The training steps of Costa et al.'s code, one of D and one of G.

    D (train.py, discriminator_generator): the mean of its cross entropies on real pairs and on fakes of other masks. The
    fakes are made by model.predict, without dropout. G (models.py, pix2pix): non-saturating + l1 * L1, with dropout,
    while D stays as it is.

    Returns:
      (step number, pairs whose masks are painted, pairs that are real) -> losses;
      (step number, pairs) -> losses. Pairs are [batch, height, width, channels + 2]: photograph, mask, field of view.
    """
    generator, discriminator, seed = networks.generator, networks.discriminator, settings["seed"]

    def mask_and_photograph(stack):
        return tf.where(stack[..., -2:-1] > 0, 1.0, networks.background), stack[..., :-2]

    @tf.function
    def discriminator_step(number, others, real):
        _, key = loop.draw_keys(seed, number)
        mask, _ = mask_and_photograph(others)
        fake = generator([mask, key[None]], training=False)
        with tf.GradientTape() as tape:
            real_logits = discriminator(tf.concat(mask_and_photograph(real), -1), training=True)
            fake_logits = discriminator(tf.concat([mask, fake], -1), training=True)
            loss = losses.discriminator_cross_entropy(real_logits, fake_logits) / 2
            scaled = loss / replicas
        variables = discriminator.trainable_variables
        optimizers[1].apply_gradients(zip(tape.gradient(scaled, variables), variables, strict=True))
        return {"discriminator": loss}

    @tf.function
    def generator_step(number, stack):
        _, key = loop.draw_keys(seed, number)
        mask, photograph = mask_and_photograph(stack)
        with tf.GradientTape() as tape:
            fake = generator([mask, key[None]], training=True)
            adversarial = losses.generator_non_saturating(discriminator(tf.concat([mask, fake], -1), training=True))
            l1 = losses.l1(photograph, fake)
            scaled = (adversarial + settings["l1"] * l1) / replicas
        variables = generator.trainable_variables
        optimizers[0].apply_gradients(zip(tape.gradient(scaled, variables), variables, strict=True))
        return {"adversarial": adversarial, "l1": l1}

    return discriminator_step, generator_step


def may_learn(real_logits, fake_logits, most_accurate):
    """1 where the discriminator is right about at most so large a share of a step's patches, on all replicas, else 0.

    Wu et al. 2016, "Learning a Probabilistic Latent Space of Object Shapes via 3D Generative-Adversarial Modeling",
    section 3.1, with the accuracy of the step itself. Sooner or later D knows 20 photographs by heart; G then learns
    nothing from it, and vessels vanish.
    """
    right = tf.concat([real_logits > 0, fake_logits < 0], 0)
    accuracy = tf.reduce_mean(tf.cast(right, tf.float32))
    accuracy = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, accuracy)
    return tf.cast(accuracy <= most_accurate, tf.float32)
