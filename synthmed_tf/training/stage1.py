"""Stage 1: noise -> geometry (P1 § Stage-I GAN), by a GAN or by a rectified flow; or, as a baseline, noise -> photograph.

A flow (Liu et al. 2023, "Flow Straight and Fast"; the same as Lipman et al. 2023 with straight paths) learns the velocity at which
noise becomes an image along a straight line, by regression: nothing in it can win against anything else, and no mode is lost.
"""

import dataclasses
import functools

import numpy as np
import tensorflow as tf
from scipy.spatial.distance import pdist

from synthmed_tf import augment, images, losses, records
from synthmed_tf.metrics import fidelity, morphology
from synthmed_tf.networks import dcgan, flow, selfmod
from synthmed_tf.training import loop

R1_EVERY = 8  # steps between two R1 penalties, each weighted as much more (lazy regularisation: Karras et al. 2020 § 3.1)
R1_SIDE = 64  # pixels, up to which r1 is what the preset says; beyond in proportion
WARM_UP = 200  # steps
FLOW_STEPS = 24  # of Euler from noise to image
EARLIEST = 0.05  # time
FLOW_SHIFT = 3.0  # towards noise, of the times that are learned and stepped through: Esser et al. 2024, equation 23
CALIBRATION_SAMPLES = 32
RIDGES = (0.5, 0.25, 0.0)
KEPT_AREA = 0.9  # of generated masks
SETTLING_BATCHES, SETTLING_BATCH = 24, 16  # the first batch's share of the moving averages ends as 0.9^24 = 8 %
MEASURED_SAMPLES = 64
LOW_DIVERSITY = 0.6  # of the real set's; one picture for every z has 0, masks of DRIVE that vary had 0.9


@dataclasses.dataclass
class Stage1:
    """The networks of stage 1 and how masks, or photographs, are put to them.

    Attributes:
      target: "mask", or "image" for a single network that makes the photograph at once (P1 figure 7).
      generator: of a GAN: z [batch, latent] -> fields [batch, height / stride, width / stride, channels] in (-1, 1); of a
        flow: (fields with noise mixed in, time [batch] in [0, 1], 1 being noise) -> fields.
      averaged: the generator whose weights are the running average; None where the preset has none.
      discriminator: fields -> logit [batch, 1]; None: a flow.
      noise_shape: of one sample's noise, (latent,) or that of its fields.
      stride: fields are smooth, so small_data makes them at half the size (2) where they keep what a mask shows.
      channels: of a mask 1, positive inside (paper), or 2, as images.wall_and_centreline makes them (small_data); of a
        photograph its own.
      rule: wall, ridge and smallest of images.mask_from_wall_and_centreline; see `calibrate`.
    """

    target: str
    generator: tf.keras.Model
    averaged: tf.keras.Model | None
    discriminator: tf.keras.Model | None
    noise_shape: tuple
    stride: int
    channels: int
    rule: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        self.draw = tf.function(self._draw)

    @property
    def sampler(self):
        """The generator that makes samples."""
        return self.averaged or self.generator

    def _draw(self, noise):
        """Noise [batch, *noise_shape] from N(0, 1) -> fields, with the sampler's weights. `draw` is the same as a tf.function."""
        if self.discriminator is not None:
            return self.sampler(noise, training=False)
        fields, times = noise, shifted(tf.linspace(1.0, 0.0, FLOW_STEPS + 1))
        for index in tf.range(FLOW_STEPS):
            now, after = times[index], times[index + 1]
            clean = self.sampler([fields, tf.fill(tf.shape(noise)[:1], now)], training=False)
            fields = clean + (fields - clean) * after / now
        return fields

    @property
    def trained(self):
        """{name: model} of what learns."""
        models = {"generator": self.generator, "discriminator": self.discriminator}
        return {name: model for name, model in models.items() if model is not None}

    def pictures(self, fields):
        """Fields as the generator makes them -> masks in {0, 1}, or photographs; uint8 [batch, height, width, channels]."""
        return self.masks(fields) if self.target == "mask" else images.to_uint8(fields)

    def masks(self, fields):
        """Fields as the generator makes them -> masks [batch, height, width, 1] uint8 in {0, 1}."""
        fields = enlarge(fields, self.stride).numpy()
        if self.channels == 1:
            return images.mask_from_field(fields)
        return np.stack([images.mask_from_wall_and_centreline(field, **self.rule) for field in fields])


def build(settings, photograph_channels=3):
    """Builds the networks that `settings` ask for: target, model, image_size, half_size, latent, average."""
    size = field_size(settings)
    stride = settings["image_size"][0] // size[0]
    channels = {"mask": 2 if settings["field_scale"] else 1, "image": photograph_channels}[settings["target"]]
    noise_shape = (settings["latent"],)
    if settings["model"] == "flow":
        generator, discriminator = functools.partial(flow.denoiser, size, channels), None
        noise_shape = (*size, channels)
    else:
        network = {"dcgan": dcgan, "selfmod": selfmod}[settings["model"]]
        generator = functools.partial(network.generator, size, channels, settings["latent"])
        discriminator = network.discriminator(size, channels)
    averaged = generator() if settings["average"] else None
    return Stage1(settings["target"], generator(), averaged, discriminator, noise_shape, stride, channels)


def field_size(settings):
    """(height, width) that the fields are made at; a GAN failed at more than 64 pixels, a flow did not."""
    smallest, multiple = {"dcgan": (64, 16), "selfmod": (32, 8), "flow": (256, 32)}[settings["model"]]
    halves = tuple(side // 2 for side in settings["image_size"])
    fits = settings["half_size"] and all(side >= smallest and side % multiple == 0 for side in halves)
    return halves if fits else settings["image_size"]


def calibrate(networks, real, settings):
    """Sets `networks.rule`, by which fields become masks, so that generated masks are like real ones.

    Vessels are one or two pixels wide at usual sizes, so a field that is wrong by a tenth makes them twice as thick. The wall
    is where CALIBRATION_SAMPLES generated masks have, over all of them, the real training masks' ratio of area to length;
    the smallest piece is what leaves as many pieces a mask as real ones have, or KEPT_AREA of the area, whichever comes nearer to
    the real masks; the ridge is that of RIDGES with the least
    mean distance of metrics.morphology.

    Args:
      networks: Stage1 that makes wall and centreline; with others, nothing is done.
      real: sequence of Samples of the training set.
      settings: of the training; seed.
    """
    if networks.target != "mask" or networks.channels == 1:
        return
    noise = tf.random.stateless_normal([CALIBRATION_SAMPLES, *networks.noise_shape], [settings["seed"], -3])
    fields = networks.draw(noise)
    thickness = images.area_to_length([sample.mask for sample in real])
    pieces = np.mean([len(images.pieces_of(sample.mask[..., 0])[1]) for sample in real])
    view, described = common_view(real), [morphology.statistics(sample.mask, sample.field_of_view) for sample in real]
    tried = []
    for ridge in RIDGES:
        low, high = -0.5, 0.5 + images.CENTRELINE_WEIGHT
        walls = []
        for _ in range(10):
            networks.rule = {"wall": (low + high) / 2, "ridge": ridge}
            excess = images.area_to_length(networks.masks(fields)) - thickness
            walls.append((abs(excess), networks.rule["wall"]))
            low, high = (networks.rule["wall"], high) if excess > 0 else (low, networks.rule["wall"])
        networks.rule["wall"] = min(walls)[1]
        masks = networks.masks(fields)
        sizes = np.sort(np.concatenate([images.pieces_of(mask[..., 0])[1] for mask in masks]))[::-1]
        wanted = round(pieces * len(masks))
        for kept in {wanted, max(wanted, np.searchsorted(np.cumsum(sizes), KEPT_AREA * sizes.sum()) + 1)}:
            networks.rule = networks.rule | {"smallest": int(sizes[kept - 1]) if 0 < kept < len(sizes) else 1}
            found = [morphology.statistics(mask, view) for mask in networks.masks(fields)]
            tried.append((mean_distance(described, found), ridge, networks.rule))
    networks.rule = min(tried, key=lambda entry: (*entry[:2], entry[2]["smallest"]))[2]


def mean_distance(real, found):
    """Mean of metrics.morphology's distances between the statistics of two sets of masks; 0 where there are none."""
    distances = [entry["distance"] for entry in morphology.distances(real, found).values()]
    return float(np.mean([each for each in distances if each is not None] or [0.0]))


def common_view(real):
    """The field of view that most of the samples have in common [height, width, 1] in {0, 1}; None where they have none."""
    views = [sample.field_of_view for sample in real]
    return np.mean(views, 0).round().astype(np.uint8) if views[0] is not None else None


def settle(networks, settings):
    """Gives the averaged generator's batch norms the statistics that its own weights have.

    Those of the generator as it is trained, or their average, are others, and masks come out foggy (Izmailov et al. 2018,
    "Averaging Weights Leads to Wider Optima", section 3.2).
    """
    if networks.averaged is None or networks.discriminator is None:  # a flow has no batch norms
        return
    for index in range(SETTLING_BATCHES):
        z = tf.random.stateless_normal([SETTLING_BATCH, *networks.noise_shape], [settings["seed"], -5 - index])
        networks.averaged(z, training=True)


def enlarge(fields, stride):
    """[batch, height, width, c] -> `stride` times the size, bicubic."""
    if stride == 1:
        return tf.convert_to_tensor(fields)
    return tf.image.resize(fields, [side * stride for side in fields.shape[1:3]], method="bicubic")


def reduce(fields, stride):
    """[batch, height, width, c] -> means over stride x stride pixels."""
    return tf.nn.avg_pool2d(fields, stride, stride, "VALID") if stride > 1 else fields


def train(folder, real, settings, steps, strategy=None):
    """Trains stage 1 on the masks of `real`, or on its photographs, or goes on where it stopped.

    Args:
      folder: pathlib.Path of the run.
      real: records.Records of real samples with what settings["target"] says.
      settings: resolved flags and preset; see flags.STAGE1_PRESETS.
      steps: steps in all.
      strategy: tf.distribute strategy.

    Returns:
      (Stage1 whose sampler has the weights that settings["checkpoint"] names, loop.fit's dict with two more entries:
      "sampled_step", the step of those weights, and "sampler", the prefix of their checkpoint).

    Raises:
      InputError: what loop.fit raises.
    """
    strategy = strategy or tf.distribute.get_strategy()
    batch_size, seed = settings["batch_size"], settings["seed"]
    fields = real_fields(real, settings)
    tf.keras.utils.set_random_seed(seed)  # the initial weights
    with strategy.scope():
        networks = build(settings, fields.shape[-1] - 1)
        models = networks.trained
        optimizers = {name: make_optimizer(settings, model) for name, model in models.items()}
    make_step = make_gan_step if networks.discriminator is not None else make_flow_step
    step = make_step(networks, optimizers, settings, strategy.num_replicas_in_sync)

    def batch(index):
        chosen = [records.batch_indices(len(fields), 1, seed, index * batch_size + i)[0] for i in range(batch_size)]
        return (fields[chosen],)

    count = min(len(real), MEASURED_SAMPLES)
    some = [real[index * len(real) // count] for index in range(count)]  # at even steps: enough to measure against
    measure = measurement(networks, some, settings)
    fixed = tf.random.stateless_normal([16, *networks.noise_shape], [seed, -1])
    state = models | {f"{name}_optimizer": optimizer for name, optimizer in optimizers.items()}

    def grid():
        pictures = networks.pictures(networks.draw(fixed))
        return loop.picture_grid(pictures * np.uint8(255) if networks.target == "mask" else pictures)

    average = (networks.generator, networks.averaged, settings["average"]) if networks.averaged else None
    result = loop.fit(
        folder,
        step,
        batch,
        state,
        steps,
        images_per_step=batch_size,
        average=average,
        grid=grid,
        measure=measure,
        sampler=networks.sampler,
        name="stage 1",
        strategy=strategy,
    )
    result["sampled_step"], result["sampler"] = loop.restore_sampler(folder, networks.sampler, settings["checkpoint"])
    calibrate(networks, some, settings)
    return networks, result


def real_fields(real, settings):
    """The masks, or photographs in [-1, 1], as stage 1 sees them, with their fields of view.

    With field_scale, given for images of 128 pixels or less, each mask is images.wall_and_centreline's two fields; without, one of -1 and 1. With warp (small_data),
    eyes are all turned so that the side with the thicker vessels, where the optic disc is, is on the left.

    Returns:
      [count, height, width, channels + 1] float32: the fields in [-1, 1]; the field of view in {0, 1}.
    """
    fields = []
    for sample in real:
        inside = sample.field_of_view
        if settings["target"] == "image":
            photograph = sample.image / (np.iinfo(sample.image.dtype).max / 2) - 1
            inside = np.ones_like(photograph[..., :1]) if inside is None else inside
            fields.append(np.concatenate([photograph, inside], -1, dtype=np.float32))
            continue
        mask = sample.mask
        inside = np.ones_like(mask) if inside is None else inside
        if settings["warp"] and sample.field_of_view is not None and disc_is_right(mask):
            mask, inside = mask[:, ::-1], inside[:, ::-1]
        scale = settings["field_scale"] * max(1, min(mask.shape[:2]) / 128)
        field = images.wall_and_centreline(mask, scale, scale / 2) if scale else mask * 2.0 - 1
        fields.append(np.concatenate([field, inside], -1, dtype=np.float32))
    return np.stack(fields)


def measurement(networks, real, settings):
    """Returns the function that loop.fit measures stage 1 with, on MEASURED_SAMPLES samples and `real`, of the training set.

    It settles and calibrates the networks first. "distance" tells the best checkpoint: for masks the mean of metrics.morphology's
    distances, which neither broken nor repeated masks make small; for photographs KID on metrics.fidelity's features. (P1 and
    P2 chose by eye.) "diversity" is the mean Bray-Curtis distance between two samples, which for masks is 1 - Dice, over that
    between two real ones. Where the real ones do not differ, or are one, nothing is measured and every distance is 0.
    """
    part = settings["target"]
    views, view = [sample.field_of_view for sample in real], common_view(real)  # samples have none of their own
    noise = tf.random.stateless_normal([MEASURED_SAMPLES, *networks.noise_shape], [settings["seed"], -4])

    def describe(pictures, views):
        if part == "image":
            return fidelity.photograph_features(pictures, views)
        return [morphology.statistics(*pair) for pair in zip(pictures, views)]

    def variety(pictures):
        apart = pdist(pictures.reshape(len(pictures), -1).astype(np.float64), "braycurtis")
        return float(np.nan_to_num(apart, nan=0.0).mean())  # two empty masks are the same

    originals = np.stack([getattr(sample, part) for sample in real])
    described = describe(originals, views)
    varied = variety(originals) if len(real) > 1 else 0.0

    def measure():
        settle(networks, settings)
        calibrate(networks, real, settings)
        made = networks.pictures(networks.draw(noise))
        found = describe(made, [view] * len(made))
        if not varied:
            return {"distance": 0.0}, ""
        if part == "image":
            distance = fidelity.kid(*(fidelity.standardise(each, described) for each in (described, found)))
        else:
            distance = mean_distance(described, found)
        diversity = variety(made) / varied
        warning = f"LOW DIVERSITY {diversity:.2f} of the real set's " if diversity < LOW_DIVERSITY else ""
        return {"distance": float(distance), "diversity": diversity}, warning

    return measure


def disc_is_right(mask):
    """Whether the optic disc is in the right half: vessels are thickest where they leave it.

    Args:
      mask: [height, width, 1] in {0, 1}.
    """
    from scipy import ndimage

    thickness = ndimage.distance_transform_edt(mask[..., 0]) ** 3
    columns = np.arange(mask.shape[1]) - (mask.shape[1] - 1) / 2
    return float((thickness.sum(0) * columns).sum()) > 0


class Rate(tf.keras.optimizers.schedules.LearningRateSchedule):
    """rate / (1 + step / decay), warmed up over WARM_UP steps.

    Without the warm-up Adam's first updates are as long as the rate whatever the gradients say. It does not depend on the
    number of steps, so a longer run is the continuation of a shorter one; by the decay the masks of two neighbouring
    checkpoints become alike.
    """

    def __init__(self, rate, decay):
        self.rate, self.decay = rate, decay

    def __call__(self, step):
        step = tf.cast(step, tf.float32)
        return self.rate / (1 + step / self.decay) * tf.minimum((step + 1) / WARM_UP, 1.0)


def make_optimizer(settings, model):
    """Adam with the preset's settings, built for the variables of `model`; the rate is a `Rate` where rate_decay is not 0."""
    rate = settings["learning_rate"]
    if settings["rate_decay"]:
        rate = Rate(rate, settings["rate_decay"])
    optimizer = tf.keras.optimizers.Adam(rate, settings["beta1"], settings["beta2"], jit_compile=False)
    optimizer.build(model.trainable_variables)
    return optimizer


def make_gan_step(networks, optimizers, settings, replicas=1):
    """The training step of a GAN: (step number, [batch, height, width, channels + 1] from real_fields) -> losses.

    One update of the discriminator (cross entropy; with R1 every R1_EVERY steps where settings["r1"] > 0) and one of the
    generator (non-saturating), both on the same fake masks (Radford et al. 2016 leave it open).
    """
    generator, discriminator = networks.generator, networks.discriminator
    r1 = settings["r1"] * max(1, min(generator.output_shape[1:3]) / R1_SIDE)

    @tf.function
    def step(number, stack):
        key_z, key_warp = _keys(settings["seed"], number)
        real = shown(stack, key_warp, networks, settings)
        z = tf.random.stateless_normal([tf.shape(real)[0], *networks.noise_shape], key_z)

        with tf.GradientTape(persistent=True) as tape:
            fake = generator(z, training=True)
            real_logits, fake_logits = discriminator(real, training=True), discriminator(fake, training=True)
            d_loss = losses.discriminator_cross_entropy(real_logits, fake_logits) / replicas
            g_loss = losses.generator_non_saturating(fake_logits) / replicas
        d_gradients = tape.gradient(d_loss, discriminator.trainable_variables)
        g_gradients = tape.gradient(g_loss, generator.trainable_variables)
        if r1:

            def add_penalty():
                with tf.GradientTape() as outer:
                    penalty = losses.r1_penalty(lambda x: discriminator(x, training=True), real)
                    penalty *= R1_EVERY * r1 / 2 / replicas
                more = outer.gradient(penalty, discriminator.trainable_variables)
                return [a if b is None else a + b for a, b in zip(d_gradients, more, strict=True)]

            d_gradients = tf.cond(number % R1_EVERY == 0, add_penalty, lambda: d_gradients)
        optimizers["discriminator"].apply_gradients(zip(d_gradients, discriminator.trainable_variables, strict=True))
        optimizers["generator"].apply_gradients(zip(g_gradients, generator.trainable_variables, strict=True))
        return {"discriminator": d_loss * replicas, "generator": g_loss * replicas}

    return step


def make_flow_step(networks, optimizers, settings, replicas=1):
    """The training step of a rectified flow: (step number, [batch, height, width, channels + 1] from real_fields) -> losses.

    The velocity (x - network) / t at x = (1 - t) real + t noise is to be noise - real (Liu et al. 2023, equation 1): the squared
    error of the network's image over t^2. Below EARLIEST it counts as at EARLIEST. The times of a batch are spread evenly over
    [0, 1], at a random offset, before they are shifted.
    """
    network = networks.generator

    @tf.function
    def step(number, stack):
        key_noise, key_warp = _keys(settings["seed"], number)
        real = shown(stack, key_warp, networks, settings)
        batch = tf.shape(real)[0]
        noise = tf.random.stateless_normal(tf.shape(real), key_noise)
        times = tf.random.stateless_uniform([], key_noise + 1) + tf.range(tf.cast(batch, tf.float32)) / tf.cast(batch, tf.float32)
        times = shifted(times % 1.0)
        mixed = tf.reshape(times, [-1, 1, 1, 1])
        with tf.GradientTape() as tape:
            found = network([(1 - mixed) * real + mixed * noise, times], training=True)
            weight = 1 / tf.maximum(mixed, EARLIEST)
            loss = losses.squared_error(weight * found, weight * real) / replicas
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizers["generator"].apply_gradients(zip(gradients, network.trainable_variables, strict=True))
        return {"velocity": loss * replicas}

    return step


def shifted(times):
    """Times in [0, 1], 1 being noise, moved towards noise, where the layout of a large image is decided.

    Esser et al. 2024, "Scaling Rectified Flow Transformers", equation 23.
    """
    return FLOW_SHIFT * times / (1 + (FLOW_SHIFT - 1) * times)


def shown(stack, key, networks, settings):
    """What a network is shown of a batch from real_fields: warped where settings["warp"], at the size of the fields."""
    real, inside = stack[..., :-1], stack[..., -1:]
    real = tf.where(inside > 0, real, -1.0)
    if settings["warp"]:
        real = augment.random_warp(real, key, zoom=1.04, elastic=0.015, flip=(False, settings["target"] == "image"))
        real = inside * (real + 1) - 1
    return reduce(real, networks.stride)


def _keys(seed, number):
    """Two keys, [2] int32 each, that are a function of seed, step and replica."""
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    key = tf.random.experimental.stateless_fold_in([seed, tf.cast(number, tf.int32)], replica)
    return tf.unstack(tf.random.experimental.stateless_split(key, 2), num=2)
