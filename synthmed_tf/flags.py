"""The flags that the three scripts share, and the presets:
named sets of flag defaults that a flag given by the user wins over.
"""

import json
import os
import re
import sys
import textwrap
import warnings
from pathlib import Path

from absl import flags

from synthmed_tf.images.resize import count_halvings
from synthmed_tf.sample import InputError

STAGE1_PRESETS = {
    # What makes a few dozen masks work: fields of walls and centrelines, canonical orientation, warped real masks of two
    # eyes each, and a model of the next table.
    "small_data": dict(target="mask", checkpoint="best", batch_size=16, field_scale=3.0, warp=True, crossed=True, grain=False),
    # Radford et al. 2016 § 4 (z 100), with P2's batch (§ 3.1).
    "paper": dict(target="mask", checkpoint="best", model="dcgan", latent=100, batch_size=32, steps=3000, learning_rate=2e-4, rate_decay=0, beta1=0.5, beta2=0.999,
                  width=1.0, resize=False, r1=0.0, average=0.0, field_scale=0.0, half_size=False, warp=False, crossed=False, grain=False, refined=False),
}  # fmt: skip

SMALL_DATA_MODELS = {  # what small_data adds for each model of masks
    # A quarter of Radford's channels: an eleventh of the time.
    "dcgan": dict(latent=100, steps=2500, width=0.25, resize=True, learning_rate=4e-4, rate_decay=2000, beta1=0.5, beta2=0.999, r1=0.3, average=0.998, half_size=False, refined=False),
    # An eighth of the paper's width; the steps that growth leaves over train the last level.
    "pggan": dict(latent=64, steps=4000, level_images=8000, width=0.125, learning_rate=1e-3, rate_decay=0, beta1=0.0, beta2=0.99, r1=0.0, average=0.995, half_size=False, refined=False),
    "flow": dict(latent=0, steps=5000, learning_rate=1e-3, rate_decay=2000, beta1=0.9, beta2=0.99, r1=0.0, average=0.998, half_size=True, refined=True),
}  # fmt: skip

SMALL_DATA_IMAGES = {  # what is otherwise for --target=image: the paper's DCGAN at a quarter of its width; noise for the flow's images
    "dcgan": dict(resize=False, steps=8000, learning_rate=2e-4, rate_decay=0, r1=0.0, average=0.995),
    "pggan": {},
    "flow": dict(grain=True),
}  # fmt: skip

PAPER_MODELS = {  # what paper has otherwise for these models
    # Karras et al. 2018 appendix A.1: latent 512, Adam 1e-3, 0, 0.99, average 0.999. P2 § 3.1: 30 epochs at each level.
    "pggan": dict(latent=512, level_epochs=30, learning_rate=1e-3, beta1=0.0, beta2=0.99, average=0.999),
}  # fmt: skip

STAGE2_PRESETS = {
    "small_data": dict(checkpoint="best", batch_size=4, steps=4000, learning_rate=4e-4, discriminator_rate=2e-4, in_turn=0, most_accurate=0.8, beta1=0.5, epsilon=1e-7, l1=150.0, feature_matching=30.0, average=0.99, warp=True, jitter=0, light=True, noise=True, grain=True),
    # Costa et al. 2017 § 3.3 and their train.py: 100 epochs, batch 1; 20 updates of D, then 20 of G, in turn (samples_per_batch).
    "vess2ret": dict(checkpoint="last", batch_size=1, epochs=100, learning_rate=2e-4, discriminator_rate=2e-4, in_turn=20, most_accurate=1.0, beta1=0.5, epsilon=1e-8, l1=100.0, feature_matching=0.0, average=0.0, warp=False, jitter=0, light=False, noise=False, grain=False),
    # Isola et al. 2017 appendix 6.2: 200 epochs, batch 1, load 286 and crop 256, mirror.
    "pix2pix": dict(checkpoint="last", batch_size=1, epochs=200, learning_rate=2e-4, discriminator_rate=2e-4, in_turn=0, most_accurate=1.0, beta1=0.5, epsilon=1e-8, l1=100.0, feature_matching=0.0, average=0.0, warp=False, jitter=30, light=False, noise=False, grain=False),
}  # fmt: skip

# Steps of P2's shortest training, § 3.1 and table 1: 30 epochs of a group of X-Norm-L, 71,026 / 30 films, batches of 32.
# Preset paper takes no fewer: P2's epochs of a few dozen images are no training.
P2_LEAST_STEPS = 2220

PAPER_STEPS = {  # stage 2's presets: steps that their papers took, and how
    "vess2ret": (120_000, "100 epochs of 600 updates of each network"),  # Costa et al. 2017: 614 pairs, less 614 % 20
    "pix2pix": (80_000, "200 epochs of 400 pairs"),  # Isola et al. 2017 appendix 6.2, facades
}

LARGEST = 4096  # pixels a side of images
_PRIVATE = {
    "data_dir",
    "out_dir",
    "report_dir",
    "synthetic_dir",
    "baseline_dir",
    "given",
    "prepared",
    "overwrite",
    "dry_run",
    "vgg_weights",
    "inception_weights",
}


_KINDS = {"string": "TEXT", "int": "N", "comma separated list of strings": "A,B,..."}


def define(script, values):
    """Registers the flags of one script in `values`, an absl FlagValues; returns
    {group title: [flag names]} for the help.
    """
    groups = {}

    def group(title):
        def add(kind, name, default, text, **options):
            kind(name=name, default=default, help=text, flag_values=values, **options)
            groups.setdefault(title, []).append(name)

        return add

    number, word, switch, choice = flags.DEFINE_integer, flags.DEFINE_string, flags.DEFINE_boolean, flags.DEFINE_enum
    first, second, evaluates = (script == name for name in ("train_stage1", "train_stage2", "evaluate"))

    add = group("Data")
    sets = (
        "phantom (built in), drive, chase_db1, bubil, idrid, messidor; with classes nih, shenzhen, pcam, phantom_xray and "
        "phantom_histology (built in); or the path of a folder with images/ and masks/, with one sub-folder a class, with images/ and a "
        "CSV table of labels, or with whole slides"
    )
    if evaluates:
        add(word, "data", None, f"the real set: {sets}; not needed for a set made by these scripts")
    else:
        add(word, "data", "drive" if first else None, sets + "; default: that of stage 1" * second)
    add(word, "data_dir", "data", "folder that holds the data sets as downloaded; private")
    text = "folder for all results; the three scripts chain through it"
    add(word, "out_dir", "out", text + "; if not given, SYNTHETIC_DIR if all of a run is there" * evaluates)
    if first:
        add(
            word, "image_size", None, f"pixels, as N or HEIGHTxWIDTH, multiples of 16 from 64 to {LARGEST}; default 128"
        )
    if not second:
        text = "hold out N groups of training images as test images (for DRIVE, whose test labels may be missing)"
        add(number, "holdout", None if evaluates else 0, text, lower_bound=0)
    text = "photographs without masks in a folder with a table: its label column, if it has several"
    if not second:
        text = (
            "what the classes are. nih, shenzhen, phantom_xray: age bins (with both genders), young_mature (default), x_norm_l, x_norm, x_norm_2, or "
            "years such as 18-38,48-68; others are left out. A folder with a table: its label column, if it has several"
        )
    add(word, "labels", None, text)
    if not second:
        text = "the images of your folder are frontal chest X-rays: brightness is normalised by the lungs (P2 § 2.1), as that of nih and shenzhen always is"
        add(switch, "chest_xrays", None, text)
        add(switch, "skip_bad_files", False, "leave out unreadable files, with a counted warning, instead of stopping")

    add = group("Model")
    if first:
        text = "mask (default): masks, on which stage 2 paints photographs; image: one network makes images at once, without stage 2"
        add(choice, "target", None, text, enum_values=["mask", "image"])
        text = (
            "dcgan: Radford et al. 2016 (default but for labelled images in colour); pggan: Karras et al. 2018, which "
            "grows from 4 x 4 pixels (their default); flow: a rectified flow, no GAN, slower and somewhat better"
        )
        add(choice, "model", None, text, enum_values=[*SMALL_DATA_MODELS])
        text = "labelled images: one class-conditional model (default), or --noconditional: one model a class, in OUT_DIR/stage1/NUMBER_CLASS"
        add(switch, "conditional", None, text)
    if not evaluates:
        presets = list(STAGE1_PRESETS if first else STAGE2_PRESETS)
        text = "defaults of the networks and their training; see docs/PRESETS.md"
        add(choice, "preset", "small_data", text, enum_values=presets)

    add = group("Training")
    if not evaluates:
        text = "steps in all; a larger number goes on. vess2ret's are updates of one network, 20 of D, then 20 of G"
        text = "steps in all; a larger number goes on. Masks that begin to copy end it sooner" if first else text
        add(number, "steps", None, text, lower_bound=1)
        add(number, "epochs", None, "the same in passes over the training images; not both", lower_bound=1)
        add(number, "batch_size", None, "images a step; the preset's if not given", lower_bound=1)
    if first:
        text = "pggan: real images shown at each size that it grows through; further steps train the last one. The preset's if not given"
        add(number, "level_images", None, text, lower_bound=1)
        add(number, "level_epochs", None, "pggan: the same in passes over the training images; not both", lower_bound=1)
        text = "how many masks or photographs to make; default 200, of labelled photographs as many as the real set has to train on"
        add(number, "num_samples", None, text, lower_bound=1)
        text = "classes of labelled photographs: as in the real set, or as many of each"
        add(choice, "label_distribution", "real", text, enum_values=["real", "balanced"])
        text = "make labelled photographs anew that are less like real ones of their class than real ones are (average hash)"
        add(switch, "hash_filter", True, text)
    if second:
        text = "how many pairs to write; default: one for each mask of stage 1"
        add(number, "num_samples", None, text, lower_bound=1)
    if not evaluates:
        best = (
            "the latest whose KID is at most twice the least"
            if second
            else "the latest within 3 % (images: 10 %) of the least distance to the training set, where masks do not copy it"
        )
        text = f"whose weights make them: best ({best}; measured while training), last, or a number of steps"
        add(word, "checkpoint", None, text)

    add = group("Evaluation")
    if evaluates:
        text = "the OUT_DIR of the other two scripts, a synthetic set, or a TFDS folder of another program; default OUT_DIR"
        add(word, "synthetic_dir", None, text)
        text = (
            "a second synthetic set to put beside it: the OUT_DIR of train_stage1.py --target=image, or the set itself"
        )
        add(word, "baseline_dir", None, text)
        add(word, "report_dir", None, "where the report goes; default OUT_DIR/report")
        text = "which to run, comma separated: segmentation, distribution, fidelity, morphology, copies (of masks), privacy, classification; default: all that the set allows"
        add(flags.DEFINE_list, "benchmarks", None, text)
        add(number, "unet_steps", 600, "training steps of each U-Net", lower_bound=1)
        text = "poolings of each U-Net; Ronneberger et al. 2015 have 4"
        add(number, "unet_levels", 3, text, lower_bound=1, upper_bound=6)  # 64 pixels, the smallest crop, are 2 ** 6
        text = "its channels at full size, doubled at each level; Ronneberger et al. 2015 have 64"
        add(number, "unet_width", 16, text, lower_bound=1)
        add(number, "repeats", 3, "U-Nets or classifiers trained for each arm, each from its own seed", lower_bound=1)
        add(flags.DEFINE_list, "models", "vgg16,knn,svm,random_forest", "classifiers to train, comma separated")
        add(
            number,
            "vgg_steps",
            None,
            "training steps of each VGG16; default: 20 passes over the real images",
            lower_bound=1,
        )
        text = "pretrained weights of VGG16: Keras's HDF5 file without the top; default: random ones"
        add(word, "vgg_weights", None, text)
        text = "weights of InceptionV3, Keras's HDF5 file without the top, to measure FID and KID by too; default: not measured"
        add(word, "inception_weights", None, text)
        add(word, "young", "18-38", "first and last age of the younger age group, for study groups of chest X-rays")
        add(word, "mature", "48-68", "the same of the older one")
        add(switch, "real_images", True, "show pictures of real images in the report, which is private then")

    add = group("Run")
    add(number, "seed", 0, "the whole run is a function of it", lower_bound=0, upper_bound=2**31 - 1)
    precisions = ["auto", "float32", "mixed_bfloat16"]
    text = "auto: bfloat16 where hardware has it, else float32"
    text += ". Default auto, paper presets float32" * (not evaluates)
    add(choice, "precision", "auto" if evaluates else None, text, enum_values=precisions)
    if not evaluates:
        text = "mirrored: split each batch over all GPUs"
        add(choice, "strategy", "default", text, enum_values=["default", "mirrored"])
    add(switch, "overwrite", False, "throw away what is in this script's output folders and start again")
    text = f"prepare nothing, print settings, data{', parameter counts' * (not evaluates)} and steps, and stop"
    add(switch, "dry_run", False, text)
    add(switch, "help", False, "show this", short_name="h")
    return groups


def help_text(doc, groups, values):
    """The script's docstring and its flags by group, one screen."""
    lines = [doc.strip(), ""]
    for title, names in groups.items():
        lines.append(f"{title}:")
        for name in names:
            flag = values[name]
            choices = "{" + "|".join(flag.parser.enum_values) + "}" if hasattr(flag.parser, "enum_values") else ""
            default = "" if flag.default is None else f" [{flag.default_as_str.strip(chr(39))}]"
            head = f"  --[no]{name}" if flag.boolean else f"  --{name}={choices or _KINDS[flag.flag_type()]}"
            text = textwrap.wrap(re.sub(r"^<\S+>: ", "", flag.help) + ("" if flag.boolean else default), 88)
            lines += [head, *("      " + line for line in text)]
        lines.append("")
    return "\n".join(lines)


def parse(script, doc, argv):
    """Parses a command line into a dict of flag values.

    Args:
      script: "train_stage1", "train_stage2" or "evaluate".
      doc: the script's docstring, printed by --help.
      argv: sys.argv.

    Returns:
      dict name -> value as given or default; presets are not applied yet. "given" holds the names that the user gave.

    Raises:
      InputError: an unknown flag, a value that does not fit, or a word that is no flag.
    """
    values = flags.FlagValues()
    groups = define(script, values)
    try:
        rest = values(argv)[1:]
    except flags.Error as error:
        raise InputError(f"{str(error).strip()} (see --help)") from None
    if rest:
        raise InputError(f"unexpected argument {rest[0]!r}: flags look like --data=drive (see --help)")
    if values["help"].value:
        print(help_text(doc, groups, values))
        raise SystemExit(0)
    settings = {name: values[name].value for names in groups.values() for name in names if name != "help"}
    settings["given"] = {name for name in settings if values[name].present}
    if settings.get("image_size"):
        settings["image_size"] = image_size(settings["image_size"])
    if settings["data"] and os.sep in settings["data"]:
        settings["data"] = os.path.abspath(settings["data"])  # however it was spelt, the same set
    if not re.fullmatch(r"best|last|\d+", settings.get("checkpoint") or "best"):
        raise InputError(f"--checkpoint={settings['checkpoint']}: give best, last or a number of steps")
    for one, other in (("steps", "epochs"), ("level_images", "level_epochs")):
        if settings.get(one) and settings.get(other):
            raise InputError(f"--{one} and --{other} say the same thing twice: give one of them")
    return settings


def image_size(text):
    """ "128" or "96x128" -> (height, width).

    Raises:
      InputError: not of that form, below 64 or above LARGEST, or no multiple of 16 (four halvings is the least that the
        networks do).
    """
    match = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", str(text))
    if not match:
        raise InputError(f"--image_size={text}: give pixels as N or HEIGHTxWIDTH, for example 128 or 96x128")
    size = int(match[1]), int(match[2] or match[1])
    if min(size) < 64 or max(size) > LARGEST or size[0] % 16 or size[1] % 16:
        raise InputError(f"--image_size={text}: both sides must be multiples of 16 from 64 to {LARGEST}")
    return size


def years(name, text):
    """The flag --name=18-38 -> (18, 38).

    Raises:
      InputError: not of that form, or the last age comes before the first.
    """
    match = re.fullmatch(r"(\d{1,3})-(\d{1,3})", text)
    if not match or int(match[1]) > int(match[2]):
        raise InputError(f"--{name}={text}: give a first and a last age in years, for example 18-38")
    return int(match[1]), int(match[2])


def default_model(settings, class_names, channels):
    """The model of stage 1 where the user names none: dcgan, and in small_data pggan for labelled images in colour."""
    is_labelled_colour = settings["target"] == "image" and class_names and channels == 3
    return "pggan" if is_labelled_colour and settings["preset"] == "small_data" else "dcgan"


def apply_preset(settings, presets):
    """Fills in the preset's values where the user gave none; adds the preset's own settings beside the flags. The papers'
    presets compute in float32, as the papers did.

    Raises:
      InputError: preset paper of a model that is not the papers'.
    """
    preset = {"precision": "auto" if settings["preset"] == "small_data" else "float32"} | presets[settings["preset"]]
    if "target" in preset and settings["preset"] == "small_data":
        preset["model"] = settings["model"] or "dcgan"
        preset |= SMALL_DATA_MODELS[preset["model"]]
        if settings["target"] == "image":
            preset |= SMALL_DATA_IMAGES[preset["model"]]
    elif "target" in preset and settings["model"] == "flow":
        raise InputError("--preset=paper --model=flow: the flow is no network of the papers; leave out one of the two")
    elif "target" in preset and settings["model"] in PAPER_MODELS:
        preset |= PAPER_MODELS[settings["model"]]
        del preset["steps"]  # as many as the levels take
    for one, other in (("steps", "epochs"), ("level_images", "level_epochs")):
        if settings.get(one) or settings.get(other):
            preset.pop(one, None), preset.pop(other, None)
    if settings.get("target") == "image":
        preset |= {"half_size": False, "field_scale": 0.0}  # photographs are no smooth fields
    return settings | {name: value for name, value in preset.items() if settings.get(name) is None}


def apply_classes(settings, class_names, channels):
    """Fills in what depends on the real set's classes:
    whether the model is conditional, and P2's numbers in preset paper (§ 3.1).

    Args:
      settings: from `apply_preset`; changed.
      class_names: labels of the real set, None where it has none.
      channels: of its images.

    Raises:
      InputError: --conditional and nothing that it could mean.
    """
    if settings["target"] != "image" or not class_names:
        if settings["conditional"]:
            what = (
                "masks have no classes; give --target=image"
                if class_names
                else f"the images of {settings['data']} have no labels; leave it out"
            )
            raise InputError(f"--conditional: {what}")
        settings["conditional"] = None
        return
    settings["conditional"] = settings["conditional"] is not False
    if settings["preset"] == "paper":
        colour = channels == 3
        epochs = 10 if colour else 60 if settings["conditional"] else 30
        numbers = {"latent": 256 if colour else 512}
        if settings["model"] != "pggan":
            numbers |= {} if {"steps", "epochs"} & settings["given"] else {"steps": None, "epochs": epochs}
        elif not {"level_images", "level_epochs"} & settings["given"]:
            numbers |= {"level_epochs": epochs}
        settings |= numbers


def level_steps(settings, count):
    """Steps of a pggan at each level, for a training set of `count` images."""
    shown = settings["level_images"] or settings["level_epochs"] * count
    return max(-(-shown // settings["batch_size"]), _least_steps(settings, "level_images", "level_epochs"))


def _least_steps(settings, *names):
    """P2_LEAST_STEPS in preset paper, unless the user gave one of the flags `names`; else 0."""
    return P2_LEAST_STEPS if settings.get("preset") == "paper" and not {*names} & settings["given"] else 0


def steps_and_epochs(settings, count):
    """(steps, epochs as float) of a run over `count` images, whichever of the two was given.

    A preset's batch that is larger than the set is made as large as the set, in `settings` too. A pggan takes at least
    the steps in which it grows to full size; more train its last level. Vess2ret's epoch is as many updates of each of
    its two networks, which learn in turn, as there are images: twice as many steps. Prints where a paper's preset takes
    more steps than its epochs are, or fewer than the paper took.

    Raises:
      InputError: fewer images than the batch that the user gave, unless each is warped anew; fewer steps than a pggan
        grows in.
    """
    batch = settings["batch_size"]
    if count < batch and not settings.get("warp", True):
        if "batch_size" in settings["given"]:
            raise InputError(
                f"--batch_size={batch}: the training split of {settings['data']} has {count} images, fewer than a batch; "
                f"give --batch_size={count} or less"
            )
        print(f"batches of {count}, as there are no more training images (the preset has {batch})")
        batch = settings["batch_size"] = count
    if settings.get("model") != "pggan":
        networks = 2 if settings.get("in_turn") else 1
        steps = settings["steps"] or -(-settings["epochs"] * count * networks // batch)
        if not settings["steps"] and steps < _least_steps(settings, "epochs"):
            _say_least(f"{settings['epochs']} epochs", count)
            steps = P2_LEAST_STEPS
        taken, what = PAPER_STEPS.get(settings.get("preset"), (0, ""))
        if steps < taken:
            print(f"{steps:,} steps; the paper of {settings['preset']} took {taken:,} ({what}): --steps={taken}")
        return steps, steps * batch / count / networks
    levels, each = count_halvings(settings["image_size"]) + 1, level_steps(settings, count)
    if settings["level_epochs"] and each > -(-settings["level_epochs"] * count // batch):
        _say_least(f"{settings['level_epochs']} epochs a level", count)
    steps = settings["steps"] or -(-(settings["epochs"] or 0) * count // batch)
    grown = (levels - 1) * each + each // 2 + 1
    if not {"steps", "epochs"} & settings["given"]:
        steps = max(steps, levels * each)
    elif steps < grown:
        raise InputError(
            f"--steps={steps}: a pggan of {levels} levels of {each} steps has its full size after {grown}; give as many or more, or "
            f"shorter levels (--level_images={each * batch} now)"
        )
    return steps, steps * batch / count


def _say_least(epochs, count):
    print(
        f"{P2_LEAST_STEPS:,} steps, as many as P2's shortest training took, instead of {epochs} of {count} images, which "
        "would be fewer"
    )


def read_settings(folder):
    """The settings that an earlier script left in folder/flags.json.

    Raises:
      InputError: there are none, or they cannot be read.
    """
    path = Path(folder) / "flags.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path}: not there; run train_stage1.py and then train_stage2.py with the same --out_dir first"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); run that script again with --overwrite") from None
    if not isinstance(settings, dict):
        raise InputError(f"{path}: holds no settings; run that script again with --overwrite")
    return settings


def shareable(settings):
    """The settings without paths: what may stand in a manifest that leaves the house."""
    kept = {name: value for name, value in settings.items() if name not in _PRIVATE}
    return kept | {"data": Path(settings["data"]).name}


def command(script, settings):
    """The command line with the flags that the user gave, without paths."""
    given = {name: value for name, value in shareable(settings).items() if name in settings["given"]}
    words = [
        f"--{name}={'x'.join(map(str, value)) if isinstance(value, tuple) else value}" for name, value in given.items()
    ]
    return " ".join([f"{script}.py", *words])


def print_plan(settings, real, steps, epochs, **networks):
    """What --dry_run shows: every setting, the data found, the parameters of each network, the steps.

    real: the Records of the training split, or the Plan of it.
    """
    for name in sorted(settings.keys() - {"given"}):
        print(f"{name:>20} {settings[name]}")
    print(f"{'real set':>20} {real.folder}: {len(real)} training samples, {real.manifest['counts']}")
    for split, counts in real.manifest.get("class_counts", {}).items():
        print(f"{split:>20} {', '.join(f'{count} {name}' for name, count in counts.items())}")
    for name, network in networks.items():
        print(f"{name:>20} {network.count_params():,} parameters")
    print(f"{'length':>20} {steps} steps of {settings['batch_size']} images = {epochs:.1f} epochs")


def main(script, doc, run):
    """Runs one script: parses, calls run(settings), and turns InputError into one line on stderr and exit status 1."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.formatwarning = lambda message, *_: f"{script}: warning: {message}\n"
    try:
        run(parse(script, doc, sys.argv))
    except InputError as error:
        print(f"{script}: error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print(
            f"{script}: stopped; the same command goes on from the last checkpoint, or prepares the data anew",
            file=sys.stderr,
        )
        raise SystemExit(130) from None
    except OSError as error:
        if error.errno is None:
            raise
        print(f"{script}: error: {error.filename or Path.cwd()}: {error.strerror}", file=sys.stderr)
        raise SystemExit(1) from None
