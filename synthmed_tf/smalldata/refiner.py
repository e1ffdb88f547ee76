"""The last steps of a flow of photographs at once, by a network that learns from a discriminator:
cells with edges, where the flow paints a haze.

A flow that has not trained for days still says the mean of all details that may be there. Its network therefore goes on
learning, for one time alone, to make of a noisy photograph one that a discriminator of patches takes for real (the last
step of Xiao et al. 2022, "Tackling the Generative Learning Trilemma with Denoising Diffusion GANs"). Layout, colours
and variety remain those of the flow, whose first steps it leaves as they are.
"""

import tensorflow as tf

from synthmed_tf import losses
from synthmed_tf.networks import flow, painter
from synthmed_tf.smalldata.painter import may_learn
from synthmed_tf.training import loop
from synthmed_tf.training.average import RunningAverage

STEPS = 1000  # no more than the flow has
LEARNING_RATE, DISCRIMINATOR_RATE = 4e-4, 2e-4  # these and the rest as stage 2's in small_data
BETA1, AVERAGE, MOST_ACCURATE = 0.5, 0.99, 0.8
L1 = 5.0  # beside the discriminator


def train(folder, model, time, examples, seed, steps):
    """Trains the refiner of a flow, or goes on where it stopped.

    Args:
      folder: pathlib.Path of this training alone.
      model: flow.Flow of images, trained.
      time: of the flow, where the refiner goes on; 1 is noise.
      examples: training.examples.Examples that the flow learned from.
      seed: initial weights and every step are a function of it.
      steps: steps in all.

    Returns:
      (the averaged network, with the inputs and the output of the flow's, loop.fit's dict).
    """
    *size, channels = model.shape
    classes = model.classes
    tf.keras.utils.set_random_seed(seed)
    refiner, averaged = (flow.build_denoiser(size, channels, classes) for _ in range(2))
    refiner.set_weights(model.averaged.get_weights())
    discriminator = painter.build_discriminator(size, classes, channels)
    models = {"refiner": refiner, "discriminator": discriminator}
    optimizers = {}
    for (name, network), rate in zip(models.items(), (LEARNING_RATE, DISCRIMINATOR_RATE), strict=True):
        optimizers[name] = tf.keras.optimizers.Adam(rate, BETA1, jit_compile=False)
        optimizers[name].build(network.trainable_variables)

    @tf.function
    def step(number, rows, *labels):
        key_noise, key_show = loop.draw_keys(seed, number)
        real = examples.show(rows, key_show)
        noise = tf.random.stateless_normal(tf.shape(real), key_noise)
        planes = [tf.broadcast_to(each[:, None, None], [*tf.unstack(tf.shape(real))[:3], classes]) for each in labels]
        with tf.GradientTape(persistent=True) as tape:
            fake = refiner(
                [(1 - time) * real + time * noise, tf.fill(tf.shape(real)[:1], time), *labels], training=True
            )
            real_logits, fake_logits = (
                discriminator(tf.concat([*planes, each], -1), training=True) for each in (real, fake)
            )
            d_loss = losses.discriminator_cross_entropy(real_logits, fake_logits) / 2
            adversarial, l1 = losses.generator_non_saturating(fake_logits), losses.l1(real, fake)
            weighted = {
                "discriminator": may_learn(real_logits, fake_logits, MOST_ACCURATE) * d_loss,
                "refiner": adversarial + L1 * l1,
            }
        for name, loss in weighted.items():
            variables = models[name].trainable_variables
            optimizers[name].apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return {"discriminator": d_loss, "adversarial": adversarial, "l1": l1}

    state = models | {f"{name}_optimizer": optimizer for name, optimizer in optimizers.items()}
    average = RunningAverage(refiner, averaged, AVERAGE)
    return averaged, loop.fit(folder, step, examples.batch, state, steps, name="refiner", average=average)
