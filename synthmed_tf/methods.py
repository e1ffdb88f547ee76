"""Which training file the flags ask for, and its settings: the only place where methods are chosen."""

import dataclasses

from synthmed_tf import settings
from synthmed_tf.papers import dcgan as paper_dcgan
from synthmed_tf.papers import pggan as paper_pggan
from synthmed_tf.papers import pix2pix, vess2ret
from synthmed_tf.sample import InputError
from synthmed_tf.smalldata import dcgan, flow, painter, pggan
from synthmed_tf.smalldata.warped_examples import MaskFields, WarpedImages
from synthmed_tf.smalldata.warped_pairs import WarpedPairs
from synthmed_tf.training import estimate
from synthmed_tf.training.examples import Examples
from synthmed_tf.training.pairs import Pairs

NETWORKS = {
    "dcgan": "DCGAN (Radford et al. 2016; P1, P2)",
    "pggan": "PGGAN (Karras et al. 2018; P2)",
    "flow": "rectified flow (Liu et al. 2023), no GAN",
    "pix2pix": "pix2pix (Isola et al. 2017; P1)",
    "vess2ret": "vess2ret (Costa et al. 2017; P1)",
}
ADDED = {  # to the papers' networks, by target and model
    ("mask", "dcgan"): "warped masks as distance fields, resize convolutions, a discriminator without batch norm and "
    "with minibatch standard deviation, a light gradient penalty, averaged weights, a quarter of the width",
    ("mask", "pggan"): "warped masks as distance fields, an eighth of the width",
    ("image", "dcgan"): "warped images, averaged weights, a quarter of the width",
    ("image", "pggan"): "warped images, an eighth of the width",
    ("photograph", "pix2pix"): "a lighter generator with resize convolutions and instance norm, given noise and the "
    "light; warped pairs, feature matching, a discriminator that waits while it wins, averaged weights",
}  # fmt: skip


def choose_model(flags, is_labelled, channels):
    """The model of stage 1 where the user names none: dcgan, and in small_data pggan for labelled images in colour."""
    is_small_colour = flags.preset == "small_data" and flags.target == "image" and is_labelled and channels == 3
    return "pggan" if is_small_colour else "dcgan"


def choose_for_stage1(flags, names, count, *, channels, is_labelled):
    """The method that stage 1 trains.

    Args:
      flags: of train_stage1.py, with a model; `names` of those that override settings.
      count: training samples. channels: of the real images. is_labelled: whether images with classes are learned.

    Returns:
      (module with `train`, its settings, class of training.examples that it is shown).

    Raises:
      InputError: the flags fit no method, or not this number of samples.
    """
    is_pggan = flags.model == "pggan"
    if flags.preset == "small_data":
        shown = MaskFields if flags.target == "mask" else WarpedImages
        dcgan_settings = dcgan.MaskSettings() if flags.target == "mask" else dcgan.ImageSettings()
        method, own = {
            "dcgan": (dcgan, dcgan_settings),
            "pggan": (pggan, pggan.Settings()),
            "flow": (flow, flow.Settings()),
        }[flags.model]
    elif flags.model == "flow":
        raise InputError("--preset=paper --model=flow: the flow is no network of the papers; leave out one of the two")
    else:
        shown, method = Examples, paper_pggan if is_pggan else paper_dcgan
        batch_size = flags.batch_size or method.Settings().batch_size
        batch_size = settings.fit_batch(batch_size, count, flags.batch_size is not None, flags.data)
        own = method.Settings(batch_size=batch_size)
        if is_labelled or is_pggan:
            own = method.make_p2_settings(count, is_labelled and channels == 3, flags.conditional, batch_size)
    own = settings.override(own, flags, names)
    if is_pggan:
        own = method.set_steps(own, flags.image_size, flags.steps is not None)
    return method, own, shown


def choose_for_stage2(flags, names, count, image_size):
    """The method that stage 2 trains: (module with `train`, its settings, class of training.pairs that it is shown).

    Args:
      flags: of train_stage2.py; `names` of those that override settings. count: training pairs.

    Raises:
      InputError: the flags fit no method, or not this number of pairs.
    """
    if flags.preset == "small_data":
        return painter, settings.override(painter.choose_settings(image_size), flags, names), WarpedPairs
    method = {"pix2pix": pix2pix, "vess2ret": vess2ret}[flags.preset]
    own = settings.override(method.Settings(), flags, names)
    batch_size = settings.fit_batch(own.batch_size, count, flags.batch_size is not None, flags.data)
    return method, method.set_steps(dataclasses.replace(own, batch_size=batch_size), count), Pairs


def describe_network(preset, target, model, has_views):
    """One line: the network, and what is added to the paper's.

    Args:
      target: "mask", "image", or "photograph" of stage 2. has_views: whether real masks have fields of view.
    """
    added = ADDED.get((target, model))
    if preset != "small_data" or not added:
        return f"network: {NETWORKS[model]}"
    if target == "mask" and has_views:
        added = f"halves of two eyes joined, {added}"
    without = "pix2pix" if target == "photograph" else "paper"
    return f"network: {NETWORKS[model]}; added for small sets: {added} (--preset={without}: without)"


def print_plan(flags, names, real, method, own, few):
    """Prints what --dry_run shows: data, network, training and run, with the time and memory of some steps, tried.

    Args:
      flags: of the script; `names` of those that override settings.
      real: Records of the training split, or the Plan of it.
      method, own: from `choose_for_stage1` or `choose_for_stage2`.
      few: Examples or Pairs of a few samples, which the steps are tried on.
    """
    parameters, seconds, gigabytes = estimate.measure(method, few, own, flags.seed)
    counts = ", ".join(f"{count} {split}" for split, count in real.manifest["counts"].items())
    data = [("set", f"{real.folder}: {counts}"), ("image size", " x ".join(map(str, few.image_size)))]
    for split, classes in real.manifest.get("class_counts", {}).items():
        data.append((split, ", ".join(f"{count} {name}" for name, count in classes.items())))
    time = f"{own.steps * seconds / 60:.0f} min here ({seconds:.2f} s a step), without measuring and drawing samples"
    training = [
        *settings.describe(own),
        ("passes", f"{own.steps * own.batch_size / len(real):.1f} over the training samples"),
        ("time", time),
        ("memory", f"{gigabytes:.1f} GB"),
    ]
    settings.print_plan(
        data=data,
        network=[(name, f"{count:,} parameters") for name, count in parameters.items()],
        training=training,
        run=sorted((name, value) for name, value in vars(flags).items() if name not in {*names, "given"}),
    )
