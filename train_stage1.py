#!/usr/bin/env python3
"""Stage 1: noise -> masks. Trains DCGAN on the masks of a real set and makes synthetic masks.

DCGAN is the network of P1 (Guibas et al. 2017), with what makes 20 masks suffice; --preset=paper leaves that out.
With --target=image, noise -> images at once, written to OUT_DIR/synthetic: for labelled images, by DCGAN or PGGAN (P2,
Kovalev & Kazlouski 2019), and as P1's single-GAN baseline. --model=flow is a rectified flow, no GAN.

    train_stage1.py --data=drive                     the real set in data/drive; results in out/stage1
    train_stage1.py --data=/my/set --image_size=256  any folder with images/ and masks/
    train_stage1.py --data=drive --num_samples=1000  more masks from the model that is there
    train_stage1.py --data=drive --target=image --out_dir=out/single
                                                     the single-GAN baseline, for evaluate.py --baseline_dir
    train_stage1.py --data=nih --target=image --image_size=64
                                                     a labelled set of the same size and classes; --noconditional: one
                                                     model a class

Run it again to continue; a finished run says that it is finished.
Next: train_stage2.py (with --target=image: evaluate.py).
"""

import re
from pathlib import Path

from synthmed_tf import settings
from synthmed_tf.datasets import sources
from synthmed_tf.sample import InputError
from synthmed_tf.settings import Flag

NUM_SAMPLES = 200  # masks, or images without labels
FLAGS = {
    "Data": (
        Flag("data", str, "drive", settings.SETS, True),
        Flag("data_dir", str, "data", "folder that holds the data sets as downloaded; private", True),
        Flag("out_dir", str, "out", "folder for all results; the three scripts chain through it", True),
        Flag("image_size", str, None,
            "pixels, as N or HEIGHTxWIDTH, multiples of 16 from 64 to 4096; default 128", True),
        Flag("holdout", int, 0,
            "hold out N patients (or files) to learn from as test images (for DRIVE, whose test labels may be missing)",
            least=0),
        Flag("labels", str, None, settings.LABELS),
        Flag("group_column", str, None, settings.GROUP_COLUMN),
        Flag("chest_xrays", bool, None, settings.CHEST_XRAYS),
        Flag("mask_foreground", ("bright", "dark"), None, settings.MASK_FOREGROUND),
        Flag("skip_bad_files", bool, False, "leave out unreadable files, with a counted warning, instead of stopping"),
    ),
    "Network": (
        Flag("target", ("mask", "image"), "mask",
            "mask: masks, on which stage 2 paints photographs; image: one network makes images at once, without stage "
            "2", True),
        Flag("model", ("dcgan", "pggan", "flow"), None,
            "dcgan (default): Radford et al. 2016; pggan: Karras et al. 2018, which grows from 4 x 4 pixels, the "
            "default for labelled images in colour but with --preset=paper; flow: a rectified flow, no GAN, slower, "
            "somewhat better",
            True),
        Flag("preset", ("small_data", "paper"), "small_data",
            "small_data: with what makes few images suffice (docs/SMALL_DATA.md); paper: as P1 and P2 have it", True),
        Flag("conditional", bool, None,
            "labelled images: one class-conditional model (default), or --noconditional: one model a class, in "
            "OUT_DIR/stage1/NUMBER_CLASS"),
    ),
    "Settings": (  # of the network, where the method's own are not wanted; --dry_run shows them
        Flag("steps", int, None,
            "training steps in all; give more to continue. Masks that begin to copy end it sooner", True, 1),
        Flag("batch_size", int, None, "images a step", least=1),
        Flag("level_images", int, None,
            "pggan: real images shown at each size that it grows through; further steps train the last one", least=1),
        Flag("latent", int, None, "length of the noise vector", least=1),
        Flag("width", float, None, "times the paper's channels", least=0.01, most=4),
        Flag("learning_rate", float, None, "Adam's step size", least=0, most=1),
        Flag("rate_decay", int, None, "small_data: N: the rate is divided by 1 + step / N; 0: constant", least=0),
        Flag("beta1", float, None, "Adam's decay of the first moment", least=0, most=0.9999),
        Flag("beta2", float, None, "pggan, flow: Adam's decay of the second moment", least=0, most=0.99999),
        Flag("r1", float, None, "dcgan, small_data: gamma of the gradient penalty R1; 0: none", least=0),
        Flag("average", float, None, "what a step keeps of the averaged weights", least=0, most=0.99999),
    ),
    "Samples": (
        Flag("num_samples", int, None,
            "how many masks or images to make; default 200, of labelled images as many as the real set has to train "
            "on", True, 1),
        Flag("checkpoint", str, "best",
            "whose weights make them: best, the newest with nearly the least distance to real samples (within 3 %, of "
            "images 10 %) whose masks do not copy; last; or a number of steps"),
        Flag("label_distribution", ("real", "balanced"), "real",
            "classes of labelled images: as in the real set, or as many of each"),
        Flag("hash_filter", bool, True,
            "redraw labelled images that lie farther from the real ones of their class than 95 % of these do (average "
            "hash; P2 § 3.2)"),
    ),
    "Run": settings.RUN,
}  # fmt: skip
METHOD = [flag.name for flag in FLAGS["Settings"]]  # which override the settings of a method


def main(flags):
    flags.data = sources.locate_set(flags.data)
    sources.check_set(
        flags.data, flags.data_dir, labels=flags.labels, group_column=flags.group_column,
        chest_xrays=flags.chest_xrays, needs_masks=flags.target == "mask",
    )  # fmt: skip
    flags.image_size = flags.image_size or (128, 128)

    from synthmed_tf import methods, runs
    from synthmed_tf.datasets import prepare
    from synthmed_tf.publishing import stage_output
    from synthmed_tf.records.read import require_features
    from synthmed_tf.smalldata import checkpoint_choice
    from synthmed_tf.training import hardware

    real = prepare.prepare_training_split(
        flags.data, flags.data_dir, flags.image_size, out_dir=flags.out_dir, labels=flags.labels,
        group_column=flags.group_column, chest_xrays=flags.chest_xrays, mask_foreground=flags.mask_foreground,
        holdout=flags.holdout, skip_bad_files=flags.skip_bad_files, seed=flags.seed, dry_run=flags.dry_run,
    )  # fmt: skip
    require_features(real, flags.target)
    is_labelled = decide_conditional(flags, real)
    channels = real.manifest["channels"]
    flags.model = flags.model or methods.choose_model(flags, is_labelled, channels)
    flags.num_samples = flags.num_samples or (len(real) if is_labelled else NUM_SAMPLES)
    class_names = real.class_names if flags.conditional else ()
    parts = {"": real}  # training samples by model
    if flags.conditional is False:
        parts = {name: [sample for sample in real if sample.label == name] for name in real.class_names}
        parts = {name: samples for name, samples in parts.items() if samples}
    chosen = {
        name: methods.choose_for_stage1(flags, METHOD, len(samples), channels=channels, is_labelled=is_labelled)
        for name, samples in parts.items()
    }
    strategy, flags.precision = hardware.set_up(
        flags.precision or hardware.choose_precision(flags.preset), flags.strategy
    )

    folder, (method, own, examples_class) = Path(flags.out_dir) / "stage1", next(iter(chosen.values()))
    recorded = settings.record(flags, own, prepared=real.folder.name)
    if flags.dry_run:
        runs.check(folder, recorded, flags.overwrite)
        few = examples_class(real.pictured, [], flags.target, own.batch_size, flags.seed, class_names)
        methods.print_plan(flags, METHOD, real, method, own, few)
        return
    with runs.claim(folder, recorded, flags.overwrite):
        print(methods.describe_network(flags.preset, flags.target, flags.model, "field_of_view" in real.features))
        samplers, results = {}, {}
        for number, (name, samples) in enumerate(parts.items(), 1):
            method, own, examples_class = chosen[name]
            title = f"class {number} of {len(parts)}: {name}" if name else "stage 1"
            place = folder / name_folder(number, name) if name else folder
            length = f"{own.steps} steps of {own.batch_size}"
            print(f"{title}: {len(samples)} {flags.target}s of {real.manifest['name']}, {length} -> {place}")
            learned, held_out = checkpoint_choice.divide(samples, flags.seed)
            examples = examples_class(learned, held_out, flags.target, own.batch_size, flags.seed, class_names)
            samplers[name], results[name] = method.train(
                place, examples, own, flags.seed, watch=checkpoint_choice.make_measurement, checkpoint=flags.checkpoint,
                strategy=strategy, name=title,
            )  # fmt: skip
        if flags.target == "mask":
            stage_output.write_masks(flags, recorded, real, samplers[""], results, own.steps)
        else:
            stage_output.write_images(flags, recorded, real, samplers, results, is_labelled)


def decide_conditional(flags, real):
    """Sets flags.conditional: True, False, or None without labelled images. Returns whether images are labelled.

    Raises:
      InputError: --conditional and nothing that it could mean.
    """
    is_labelled = flags.target == "image" and bool(real.class_names)
    if flags.conditional and not is_labelled:
        why = f"the images of {flags.data} have no labels; leave it out"
        why = "masks have no classes; give --target=image" if real.class_names else why
        raise InputError(f"--conditional: {why}")
    flags.conditional = flags.conditional is not False if is_labelled else None
    return is_labelled


def name_folder(number, name):
    """Where in stage1/ the model of a class lies: its number, and its name without what a file name cannot hold."""
    return "_".join([str(number), *re.findall(r"[\w-]+", name)])[:100]


if __name__ == "__main__":
    settings.run("train_stage1", __doc__, FLAGS, main)
