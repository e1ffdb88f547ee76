"""Stage 1: noise -> geometry (P1 § Stage-I GAN), by a GAN or by a rectified flow;
or, as a baseline, noise -> photograph.

A flow (Liu et al. 2023, "Flow Straight and Fast"; the same as Lipman et al. 2023 with straight paths) learns the
velocity at which noise becomes an image along a straight line, by regression: nothing in it can win against anything
else, and no mode is lost.

Of labelled photographs a conditional model is told the class (P2 § 3.1: "gender-age label of each image was encoded and
passed to generator and discriminator networks"), as a one-hot vector [batch, classes] float32. Generated ones get the
classes of the real ones in their batch.
"""

import collections
import dataclasses
import functools

import numpy as np
import tensorflow as tf

from synthmed_tf import augment, losses
from synthmed_tf.images.field_of_view import fill_outside
from synthmed_tf.images.pixels import to_integers, to_uint8
from synthmed_tf.networks import dcgan, flow, pggan, resize_dcgan
from synthmed_tf.sample import spaced
from synthmed_tf.smalldata.fields import make_fields, make_mask, threshold_distance_field
from synthmed_tf.smalldata.recombine import find_disc, is_disc_right
from synthmed_tf.training import batches, calibration, checkpoints, decoder, loop, refiner
from synthmed_tf.training.average import RunningAverage
from synthmed_tf.training.growth import growth_of
from synthmed_tf.training.log import draw_grid

# Steps between two R1 penalties, each weighted as much more (lazy regularisation: Karras et al. 2020 § 3.1)
R1_EVERY = 8
GRADIENT_PENALTY = 10.0  # lambda: Gulrajani et al. 2017, section 4; Karras et al. 2018, appendix A.1
DRIFT = 0.001  # Karras et al. 2018, appendix A.1
WARM_UP = 200  # steps
# Of the least distance of masks: no difference. With a tenth later weights were taken, whose masks copied more (docs/TRIALS.md)
CLOSE = 0.03
FLOW_STEPS = 24  # from noise to image
# Of the noise at each of these steps: without it vessels wind, and masks are less like real ones (docs/TRIALS.md)
FRESH = 0.7
REFINED = 0.7  # of these steps, which a refiner does
EARLIEST = 0.05  # time
# Towards noise, of the times that are learned and stepped through (Esser et al. 2024, equation 23): what makes a mask
# is its layout, which is decided there, and what makes a photograph is its detail (docs/TRIALS.md).
FLOW_SHIFT = {"mask": 3.0, "image": 1.0}
DECODED_AT_ONCE = 8
HELD_OUT = 256  # images of a large set that its generator is measured against and does not learn from
LEAST_DIVIDED = 8 * HELD_OUT
SETTLING_BATCHES, SETTLING_BATCH = 24, 16  # the first batch's share of the moving averages ends as 0.9^24 = 8 %


@dataclasses.dataclass
class Stage1:
    """The networks of stage 1 and how masks, or photographs, are put to them.

    Attributes:
      target: "mask", or "image" for a single network that makes the photograph at once (P1 figure 7).
      generator: of a GAN: z [batch, latent] -> fields [batch, height / stride, width / stride, channels] in (-1, 1);
        of a flow: (fields with noise mixed in, time [batch] in [0, 1], 1 being noise) -> fields.
      averaged: the generator whose weights are the running average; None where the preset has none.
      discriminator: fields -> logit [batch, 1]; None: a flow, or no longer needed.
      noise_shape: of one sample's noise, (latent,) or that of its fields.
      stride: 2 where fields are made at half the size, as the flow's are where they keep what a mask shows; else 1.
      channels: of a mask 1, positive inside (paper), or 2, as make_fields makes them (small_data); of a
        photograph its own.
      rule: arguments of make_mask; see calibration.calibrate.
      decoder: fields -> logits of a mask, see training/decoder.py; None: masks are made of the fields themselves.
      refiner: of a flow of photographs, does the last REFINED of its steps at once, see training/refiner.py; None: the
        flow does them.
      typical: one-hot classes [n, classes] as they are distributed in the training set; None: not conditional.
      dtype: of photographs, "uint8" or "uint16".
      warp: options of augment.random_warp, see `warp_of`; {}: as for eyes.
      stage: of a PGGAN, the (level, alpha) that samples are made at; see growth.Growth.
    """

    target: str
    generator: tf.keras.Model
    averaged: tf.keras.Model | None
    discriminator: tf.keras.Model | None
    noise_shape: tuple
    stride: int
    channels: int
    rule: dict = dataclasses.field(default_factory=dict)
    decoder: tf.keras.Model | None = None
    refiner: tf.keras.Model | None = None
    typical: np.ndarray | None = None
    dtype: str = "uint8"
    warp: dict = dataclasses.field(default_factory=dict)
    stage: tuple = ()

    def __post_init__(self):
        self._drawn = tf.function(self._draw)

    @property
    def sampler(self):
        """The generator that makes samples."""
        return self.averaged or self.generator

    @property
    def is_flow(self):
        """Whether noise has the shape of fields; a GAN's is one vector."""
        return len(self.noise_shape) > 1

    def draw(self, noise, labels=None, fresh=None):
        """Noise [batch, *noise_shape] from N(0, 1) -> fields, with the sampler's weights.

        Args:
          labels: one-hot classes [batch, classes] of a conditional model; None: those of the training set, in its
            order.
          fresh: of a flow, the share of the noise that is drawn anew at each step, as a function of `noise` (Song et
            al. 2021, "Denoising Diffusion Implicit Models", equation 12); None: FRESH; 0: Euler's method, by which near
            noises lead to near fields.
        """
        if labels is None and self.typical is not None:
            labels = self.typical_labels(noise.shape[0])
        labels = () if labels is None else (tf.convert_to_tensor(labels, tf.float32),)
        if self.stage:
            level, alpha = self.stage
            made = self.sampler(together(noise, *labels), level=level, alpha=alpha, training=False)
            return pggan.upscale(made, 2 ** (self.sampler.last_level - level))
        fresh = FRESH if fresh is None else fresh
        if self.refiner is None:
            return self._drawn(noise, labels, fresh, tf.zeros_like(noise), tf.constant(0), tf.constant(FLOW_STEPS))
        last = first_refined()
        fields = self._drawn(noise, labels, fresh, tf.zeros_like(noise), tf.constant(0), tf.constant(last))
        return self.refiner([fields, tf.fill(noise.shape[:1], self.time_after(last)), *labels], training=False)

    def time_after(self, steps):
        """Of a flow, after so many of FLOW_STEPS: 1 after none, 0 after all."""
        return shifted(1 - steps / FLOW_STEPS, FLOW_SHIFT[self.target])

    def redraw(self, fields, seed, left_out):
        """Fields at full size [batch, height, width, channels], mixed with as much noise as there is after a share
        `left_out` of a flow's steps, and drawn anew by the others.
        """
        fields = reduce(tf.convert_to_tensor(fields, tf.float32), self.stride)
        noise = tf.random.stateless_normal(fields.shape, seed)
        first = tf.constant(round(left_out * FLOW_STEPS))
        return enlarge(self._drawn(noise, (), FRESH, fields, first, tf.constant(FLOW_STEPS)), self.stride).numpy()

    def _draw(self, noise, labels, fresh, known, first, last):
        if not self.is_flow:
            return self.sampler(together(noise, *labels), training=False)
        times = self.time_after(tf.range(0.0, FLOW_STEPS + 1))
        fields = (1 - times[first]) * known + times[first] * noise
        keys = tf.bitcast(tf.reshape(noise, [tf.shape(noise)[0], -1])[:, :2], tf.int32)
        for index in tf.range(first, last):
            now, after = times[index], times[index + 1]
            clean = self.sampler([fields, tf.fill(tf.shape(noise)[:1], now), *labels], training=False)
            old = (fields - (1 - now) * clean) / now
            new = tf.map_fn(lambda key: self._noise(key, index), keys, fn_output_signature=tf.float32)  # noqa: B023 (called at once)
            fields = (1 - after) * clean + after * (np.sqrt(1 - fresh**2) * old + fresh * new)
        return fields

    def _noise(self, key, index):
        return tf.random.stateless_normal(self.noise_shape, tf.random.experimental.stateless_fold_in(key, index))

    def typical_labels(self, count):
        """One-hot classes [count, classes] at even steps through the training set; None without classes."""
        return None if self.typical is None else self.typical[np.arange(count) * len(self.typical) // count]

    @property
    def trained(self):
        """{name: model} of what learns."""
        models = {"generator": self.generator, "discriminator": self.discriminator}
        return {name: model for name, model in models.items() if model is not None}

    def pictures(self, fields):
        """Fields as the generator makes them -> masks in {0, 1}, or photographs, [batch, height, width,
        channels] of `dtype`.
        """
        if self.target == "mask":
            return self.masks(fields)
        return to_integers(fields, self.dtype)

    def masks(self, fields):
        """Fields as the generator makes them -> masks [batch, height, width, 1] uint8 in {0, 1}."""
        return self.masks_of(self.decoded(fields))

    def decoded(self, fields):
        """Fields as the generator makes them -> at full size;
        with a decoder the first one is the probability of mask instead.
        """
        fields = enlarge(fields, self.stride).numpy()
        if self.decoder is not None:
            parts = np.array_split(fields, range(DECODED_AT_ONCE, len(fields), DECODED_AT_ONCE))
            logits = np.concatenate([self.decoder(part, training=False).numpy() for part in parts])
            fields[..., :1] = 1 / (1 + np.exp(-logits))
        return fields

    def masks_of(self, decoded):
        """What `decoded` returns -> masks [batch, height, width, 1] uint8 in {0, 1}, by the rule."""
        if self.channels == 1:
            return threshold_distance_field(decoded)
        return np.stack([make_mask(each, **self.rule) for each in decoded])

    def settle(self, seed):
        """Gives the averaged generator's batch norms the statistics that its own weights have.

        Those of the generator as it is trained, or their average, are others, and masks come out foggy (Izmailov et al.
        2018, "Averaging Weights Leads to Wider Optima", section 3.2).
        """
        if self.averaged is None or self.is_flow or self.stage:  # flow and PGGAN have no batch norms
            return
        labels = () if self.typical is None else (self.typical_labels(SETTLING_BATCHES * SETTLING_BATCH),)
        for index in range(SETTLING_BATCHES):
            z = tf.random.stateless_normal([SETTLING_BATCH, *self.noise_shape], [seed, -5 - index])
            self.averaged(together(z, *(each[index::SETTLING_BATCHES] for each in labels)), training=True)


def together(*parts):
    """What a network is given: the inputs in a list, or the only one."""
    return list(parts) if len(parts) > 1 else parts[0]


def build(settings, photograph_channels=3, classes=0):
    """Builds the networks that `settings` ask for:
    target, model, image_size, half_size, latent, average, of a dcgan or pggan width.

    Args:
      photograph_channels: 1 or 3.
      classes: number of classes of a conditional model; 0: not conditional.
    """
    size = field_size(settings)
    stride = settings["image_size"][0] // size[0]
    channels = {"mask": 2 if settings["field_scale"] else 1, "image": photograph_channels}[settings["target"]]
    noise_shape = (settings["latent"],)
    if settings["model"] == "flow":
        generator, discriminator = functools.partial(flow.build_denoiser, size, channels, classes), None
        noise_shape = (*size, channels)
    else:
        make_generator, make_discriminator = {
            "dcgan": (dcgan.build_generator, dcgan.build_discriminator),
            "pggan": (pggan.Generator, pggan.Discriminator),
        }[settings["model"]]
        if settings["model"] == "dcgan" and settings["resize"]:
            make_generator, make_discriminator = resize_dcgan.build_generator, resize_dcgan.build_discriminator
        generator = functools.partial(make_generator, size, channels, settings["latent"], classes, settings["width"])
        discriminator = make_discriminator(size, channels, classes, settings["width"])
    averaged = generator() if settings["average"] else None
    return Stage1(settings["target"], generator(), averaged, discriminator, noise_shape, stride, channels)


def field_size(settings):
    """(height, width) that the fields are made at: a flow learns half of 256 pixels sooner (docs/TRIALS.md)."""
    halves = tuple(side // 2 for side in settings["image_size"])
    fits = all(side >= 128 and side % 32 == 0 for side in halves)
    return halves if settings["half_size"] and fits else settings["image_size"]


def enlarge(fields, stride):
    """[batch, height, width, c] -> `stride` times the size, bicubic."""
    if stride == 1:
        return tf.convert_to_tensor(fields)
    return tf.image.resize(fields, [side * stride for side in fields.shape[1:3]], method="bicubic")


def reduce(fields, stride):
    """[batch, height, width, c] -> means over stride x stride pixels."""
    return tf.nn.avg_pool2d(fields, stride, stride, "VALID") if stride > 1 else fields


def train(folder, real, settings, steps, strategy=None, class_names=(), name="stage 1"):
    """Trains stage 1 on the masks of `real`, or on its photographs, or goes on where it stopped.

    Args:
      folder: pathlib.Path of the run.
      real: Records, or another sequence, of real samples with what settings["target"] says.
      settings: resolved flags and preset; see flags.STAGE1_PRESETS.
      steps: steps in all.
      strategy: tf.distribute strategy.
      class_names: the labels of `real`, if the model is to be conditional.
      name: shown in the progress line.

    Returns:
      (Stage1 whose sampler has the weights that settings["checkpoint"] names, loop.fit's dict with more entries:
      "sampled_step", the step of those weights, "sampler", the prefix of their checkpoint, and with a decoder or
      refiner "refined", that of its).

    Raises:
      InputError: what loop.fit raises.
    """
    strategy = strategy or tf.distribute.get_strategy()
    batch_size, seed = settings["batch_size"], settings["seed"]
    growth = growth_of(settings, len(real))
    real, held_out = divided(real, seed)
    compared = held_out or spaced(real, calibration.MEASURED_SAMPLES)
    fields = real_fields(real, settings)
    discs = None
    if settings["crossed"] and settings["target"] == "mask" and real[0].field_of_view is not None:
        discs = np.array([find_disc(each[..., :1] > 0) for each in fields])
    tf.keras.utils.set_random_seed(seed)  # the initial weights
    with strategy.scope():
        networks = build(settings, fields.shape[-1] - 1, len(class_names))
        models = networks.trained
        optimizers = {name: make_optimizer(settings, model) for name, model in models.items()}
    if class_names:
        labels = one_hot(real, class_names)
        networks.typical = one_hot(held_out, class_names) if held_out else labels
    networks.warp = warp_of(real[0])
    if settings["target"] == "image":
        networks.dtype = real[0].image.dtype.name
    replicas = strategy.num_replicas_in_sync
    if growth:
        step = [
            (first, make_gan_step(networks, optimizers, settings, replicas, level, alpha))
            for first, level, alpha in growth.phases()
        ]
    else:
        make_step = make_flow_step if networks.is_flow else make_gan_step
        step = make_step(networks, optimizers, settings, replicas)

    def batch(index):
        chosen = batches.draw_batch_indices(len(fields), batch_size, seed, index)
        some = fields[chosen] if discs is None else augment.crossed(fields, discs, chosen, [seed, 3, index])
        return (some, *([labels[chosen]] if class_names else []))

    def before(index):
        if index and growth.begins(index):
            networks.stage = growth.at(index - 1)
            growth.save_row(folder, networks.stage[0], grid(8))
        if growth.changes(index):
            for optimizer in optimizers.values():
                forget(optimizer)
        networks.stage = growth.at(index)

    measure = calibration.measurement(networks, compared, settings)
    fixed = tf.random.stateless_normal([16, *networks.noise_shape], [seed, -1])
    state = models | {f"{name}_optimizer": optimizer for name, optimizer in optimizers.items()}

    def grid(count=16):
        labels = np.eye(len(class_names))[np.arange(count) % len(class_names)] if class_names else None
        fields = networks.draw(fixed[:count], labels)
        return draw_grid(networks.masks(fields) * np.uint8(255) if networks.target == "mask" else to_uint8(fields))

    average = None
    if networks.averaged:  # a PGGAN's is as long from the first step on: Karras et al. 2018, published code
        average = RunningAverage(networks.generator, networks.averaged, settings["average"], not growth)
    close = CLOSE if settings["target"] == "mask" else checkpoints.CLOSE
    sampling = checkpoints.Sampling(networks.sampler, grid, measure, settings["checkpoint"], close)
    result = loop.fit(
        folder,
        step,
        batch,
        state,
        steps,
        name=name,
        average=average,
        sampling=sampling,
        before=before if growth else None,
        strategy=strategy,
    )
    chosen = checkpoints.restore_sampler(folder, sampling)
    result["sampled_step"], result["sampler"] = chosen
    if growth:
        networks.stage = growth.at(result["sampled_step"] - 1)
        growth.save_picture(folder, grid(8))
    if settings["refined"] and settings["target"] == "image":
        place, time = folder / f"refiner-{result['sampled_step']}", networks.time_after(first_refined())
        show = functools.partial(shown, networks=networks, settings=settings)
        networks.refiner, trained = refiner.train(
            place, networks, time, batch, show, settings, min(steps, refiner.STEPS)
        )
        result["refined"] = trained["checkpoint"]
    elif settings["refined"] and networks.channels == 2:
        steps, known = min(steps, decoder.STEPS), real_fields(compared, settings)
        place = folder / f"decoder-{result['sampled_step']}-{steps}"  # whose rate is a function of the steps
        networks.decoder, trained = decoder.train(place, networks, known, settings, steps)
        result["refined"] = trained["checkpoint"]
    calibration.calibrate(networks, compared, settings)
    return networks, result


def divided(real, seed):
    """Of a large set, what a generator learns from and what it is measured against: HELD_OUT images or a few more, all
    those of some patients or slides.

    Args:
      real: sequence of training Samples. seed: which patients or slides.

    Returns:
      (sequence of Samples, list of Samples that is empty where there are fewer than LEAST_DIVIDED).
    """
    if len(real) < LEAST_DIVIDED:
        return real, []
    members = collections.defaultdict(list)
    for sample in real:
        members[sample.group or sample.id].append(sample)
    held_out, groups = [], sorted(members)
    for index in np.random.default_rng([seed, 5]).permutation(len(groups)):
        if len(held_out) < HELD_OUT:
            held_out += members.pop(groups[index])
    return [sample for group in members.values() for sample in group], held_out


def one_hot(samples, class_names):
    """Labels of Samples -> [count, classes] float32."""
    return np.eye(len(class_names), dtype=np.float32)[[list(class_names).index(sample.label) for sample in samples]]


def real_fields(real, settings):
    """The masks, or photographs in [-1, 1], as stage 1 sees them, with their fields of view.

    With field_scale, given for images of 128 pixels or less, each mask is make_fields's two fields;
    without, one of -1 and 1. With warp (small_data), masks of eyes are all turned so that the side with the thicker
    vessels, where the optic disc is, is on the left, and photographs go on beyond their fields of view, of which each pixel then
    is the share of light that passes (fill_outside).

    Returns:
      [count, height, width, channels + 1] float32: the fields in [-1, 1]; the field of view in {0, 1}, or in [0, 1].
    """
    fields = []
    for sample in real:
        inside = sample.field_of_view
        if settings["target"] == "image":
            photograph = sample.image / (np.iinfo(sample.image.dtype).max / 2) - 1
            if settings["warp"]:
                photograph, inside = fill_outside(photograph, inside)
            inside = np.ones_like(photograph[..., :1]) if inside is None else inside
            fields.append(np.concatenate([photograph, inside], -1, dtype=np.float32))
            continue
        mask = sample.mask
        inside = np.ones_like(mask) if inside is None else inside
        if settings["warp"] and sample.field_of_view is not None and is_disc_right(mask):
            mask, inside = mask[:, ::-1], inside[:, ::-1]
        scale = settings["field_scale"] * max(1, min(mask.shape[:2]) / 128)
        field = make_fields(mask, scale, scale / 2) if scale else mask * 2.0 - 1
        fields.append(np.concatenate([field, inside], -1, dtype=np.float32))
    return np.stack(fields)


class Rate(tf.keras.optimizers.schedules.LearningRateSchedule):
    """rate / (1 + step / decay), warmed up over WARM_UP steps.

    Without the warm-up Adam's first updates are as long as the rate whatever the gradients say. It does not depend on
    the number of steps, so a longer run is the continuation of a shorter one; by the decay the masks of two
    neighbouring checkpoints become alike.
    """

    def __init__(self, rate, decay):
        self.rate, self.decay = rate, decay

    def __call__(self, step):
        step = tf.cast(step, tf.float32)
        return self.rate / (1 + step / self.decay) * tf.minimum((step + 1) / WARM_UP, 1.0)


def make_optimizer(settings, model):
    """Adam with the preset's settings, built for the variables of `model`;
    the rate is a `Rate` where rate_decay is not 0.
    """
    rate = settings["learning_rate"]
    if settings["rate_decay"]:
        rate = Rate(rate, settings["rate_decay"])
    # Karras et al. 2018, appendix A.1; Radford et al. 2016, published code. The flow's is Keras's.
    epsilon = 1e-7 if settings["model"] == "flow" else 1e-8
    optimizer = tf.keras.optimizers.Adam(rate, settings["beta1"], settings["beta2"], epsilon, jit_compile=False)
    optimizer.build(model.trainable_variables)
    return optimizer


def forget(optimizer):
    """Sets an optimiser's moments and its number of updates to 0, at the start and at the end of each fade.

    Karras et al. 2018, published code: train.py resets where the floor or the ceiling of the level changes.
    """
    for variable in optimizer.variables:
        if variable is not optimizer._learning_rate:
            variable.assign(tf.zeros_like(variable))


def make_gan_step(networks, optimizers, settings, replicas=1, level=None, alpha=None):
    """The training step of a GAN: (step number, [batch, height, width, channels + 1] from real_fields,
    classes if any) -> losses.

    One update of the discriminator and one of the generator, both on the same fake images (Radford et al. 2016 leave it
    open). Of a PGGAN it is the Wasserstein game with gradient penalty and drift (Karras et al. 2018, appendix A.1);
    else cross entropy, non-saturating, with R1 every R1_EVERY steps where settings["r1"] > 0.

    Args:
      level: of a PGGAN, the level to train; None: of another network.
      alpha: function step number -> share of that level; None: 1. Real images are faded as the generator's are.
    """
    generator, discriminator = networks.generator, networks.discriminator
    is_wasserstein = level is not None
    if is_wasserstein:
        every, weight = 1, GRADIENT_PENALTY
    else:
        every, weight = R1_EVERY, settings["r1"] / 2

    @tf.function
    def step(number, stack, *labels):
        key_z, key_warp = loop.draw_keys(settings["seed"], number)
        real = shown(stack, key_warp, networks, settings)
        z = tf.random.stateless_normal([tf.shape(real)[0], *networks.noise_shape], key_z)
        at = {}
        if level is not None:
            at = {"level": level, "alpha": alpha and alpha(number)}
            real = pggan.downscale(real, 2 ** (generator.last_level - level))
            if alpha:
                real = pggan.fade(pggan.upscale(pggan.downscale(real)), real, at["alpha"])

        def critic(pictures):
            return discriminator(together(pictures, *labels), training=True, **at)

        with tf.GradientTape(persistent=True) as tape:
            fake = generator(together(z, *labels), training=True, **at)
            real_logits, fake_logits = critic(real), critic(fake)
            if is_wasserstein:
                d_loss = losses.wasserstein_critic(real_logits, fake_logits) + DRIFT * losses.drift(real_logits)
                g_loss = losses.wasserstein_generator(fake_logits)
            else:
                d_loss = losses.discriminator_cross_entropy(real_logits, fake_logits)
                g_loss = losses.generator_non_saturating(fake_logits)
            d_loss, g_loss = d_loss / replicas, g_loss / replicas
        d_gradients = tape.gradient(d_loss, discriminator.trainable_variables)
        g_gradients = tape.gradient(g_loss, generator.trainable_variables)
        if weight:

            def add_penalty():
                with tf.GradientTape() as outer:
                    if is_wasserstein:
                        shares = tf.random.stateless_uniform([tf.shape(real)[0], 1, 1, 1], key_z + 1)
                        penalty = losses.gradient_penalty(critic, real, fake, shares)
                    else:
                        penalty = losses.r1_penalty(critic, real)
                    penalty *= every * weight / replicas
                more = outer.gradient(penalty, discriminator.trainable_variables)
                return [a if b is None else a + b for a, b in zip(d_gradients, more, strict=True)]

            d_gradients = tf.cond(number % every == 0, add_penalty, lambda: d_gradients) if every > 1 else add_penalty()
        update(optimizers["discriminator"], d_gradients, discriminator)
        update(optimizers["generator"], g_gradients, generator)
        return {"discriminator": d_loss * replicas, "generator": g_loss * replicas}

    return step


def update(optimizer, gradients, model):
    """Applies the gradients to the variables that have one: those of a PGGAN's other levels have none."""
    pairs = zip(gradients, model.trainable_variables, strict=True)
    optimizer.apply_gradients([pair for pair in pairs if pair[0] is not None])


def make_flow_step(networks, optimizers, settings, replicas=1):
    """The training step of a rectified flow:
    (step number, [batch, height, width, channels + 1] from real_fields, classes if any) -> losses.

    The velocity (x - network) / t at x = (1 - t) real + t noise is to be noise - real (Liu et al. 2023, equation 1):
    the squared error of the network's image over t^2. Below EARLIEST it counts as at EARLIEST. The times of a batch are
    spread evenly over [0, 1], at a random offset, before they are shifted.
    """
    network = networks.generator

    @tf.function
    def step(number, stack, *labels):
        key_noise, key_warp = loop.draw_keys(settings["seed"], number)
        real = shown(stack, key_warp, networks, settings)
        batch = tf.shape(real)[0]
        noise = tf.random.stateless_normal(tf.shape(real), key_noise)
        times = tf.random.stateless_uniform([], key_noise + 1) + tf.range(tf.cast(batch, tf.float32)) / tf.cast(
            batch, tf.float32
        )
        times = shifted(times % 1.0, FLOW_SHIFT[networks.target])
        mixed = tf.reshape(times, [-1, 1, 1, 1])
        with tf.GradientTape() as tape:
            found = network([(1 - mixed) * real + mixed * noise, times, *labels], training=True)
            weight = 1 / tf.maximum(mixed, EARLIEST)
            loss = losses.squared_error(weight * found, weight * real) / replicas
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizers["generator"].apply_gradients(zip(gradients, network.trainable_variables, strict=True))
        return {"velocity": loss * replicas}

    return step


def first_refined():
    """How many of FLOW_STEPS a flow does itself where there is a refiner."""
    return FLOW_STEPS - round(REFINED * FLOW_STEPS)


def shifted(times, shift):
    """Times in [0, 1], 1 being noise, moved towards noise by a factor of their odds.

    Esser et al. 2024, "Scaling Rectified Flow Transformers", equation 23.
    """
    return shift * times / (1 + (shift - 1) * times)


def shown(stack, key, networks, settings):
    """What a network is shown of a batch from real_fields: warped where settings["warp"], at the size of the fields."""
    real, inside = stack[..., :-1], stack[..., -1:]
    if settings["target"] == "mask" or not settings["warp"]:
        real = tf.where(inside > 0, real, -1.0)
    if settings["warp"]:
        options = {"zoom": 1.04, "elastic": 0.015, "flip": (False, settings["target"] == "image")} | networks.warp
        real = augment.random_warp(real, key, **options)
        real = inside * (real + 1) - 1
    return reduce(real, networks.stride)


def warp_of(sample):
    """How real masks or photographs of a set like this Sample are warped where settings["warp"]:
    what differs from the warps of eyes.

    Without a field of view masks are mirrored at random, as generated ones are (synthesis.from_noise): cells that were
    learned one way round were copied sooner (docs/TRIALS.md). Radiographs, labelled ones in grey, are turned and bent a
    little and never mirrored: the heart is on the left. Labelled tiles in colour have neither top nor bottom, and are
    seen in their eight orientations, with each pixel as it is.
    """
    if sample.field_of_view is not None:
        return {}
    if sample.label is None:
        return {"flip": (False, True)}
    if sample.image.shape[-1] == 1:
        return {"rotation": 4.0, "aspect": 0.04, "elastic": 0.006, "flip": (False, False), "enlarged": 2}
    square = sample.image.shape[0] == sample.image.shape[1]
    return {"rotation": 0.0, "zoom": 1.0, "aspect": 0.0, "elastic": 0.0, "flip": (True, True), "quarter_turns": square}
