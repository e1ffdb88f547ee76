"""Settings of a method as a frozen dataclass, flags of a script as a table; help, overriding and --dry_run for both."""

import dataclasses
import math
import os
import re
import sys
import textwrap
import types
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags as absl_flags

from synthmed_tf.sample import InputError

LARGEST_SIDE = 4096  # pixels
# Flags that name places or say how to run: they tell nothing about the set, and stay out of what is shared
PATHS = {"data_dir", "out_dir", "report_dir", "synthetic_dir", "baseline_dir", "vgg_weights", "inception_weights"}
PRIVATE = PATHS | {"given", "overwrite", "dry_run", "prepared"}
# Steps of P2's shortest training, § 3.1 and table 1: 30 epochs of a group of X-Norm-L, 71,026 / 30 images, batches of
# 32. P2's epochs of a few dozen images would be no training.
P2_LEAST_STEPS = 2220
_KINDS = {int: "N", float: "X", str: "TEXT", list: "A,B,...", bool: ""}


class Flag(NamedTuple):
    """A flag of a script.

    Attributes:
      name: what it is called. default: its value, None: decided later.
      kind: int, float, str, bool, list (of words), or a tuple of the allowed words.
      help: what it means, with its unit.
      is_common: shown by --help; others by --helpfull alone.
      least, most: the numbers allowed.
    """

    name: str
    kind: Any
    default: Any
    help: str
    is_common: bool = False
    least: float | None = None
    most: float | None = None


SETS = (
    "phantom (built in), drive, chase_db1, bubil, idrid, messidor; with classes nih, shenzhen, pcam, phantom_xray and "
    "phantom_histology (built in); or the path of a folder with images/ and masks/, with one sub-folder a class, with "
    "images/ and a CSV table of labels, with photographs alone, or with whole slides"
)
LABELS = (
    "what the classes are. nih, shenzhen, phantom_xray: age bins (with both genders), young_mature (default), "
    "x_norm_l, x_norm, x_norm_2, or years such as 18-38,48-68; others are left out. A folder with a table: its label "
    "column, if it has several"
)
GROUP_COLUMN = (
    "a folder with a table: the column that names patients; none: each image stands alone; default: found by heading"
)
CHEST_XRAYS = "your folder's images are frontal chest X-rays: the lungs normalise their brightness (P2 § 2.1)"
MASK_FOREGROUND = (
    "which of the two levels of your folder's masks is the foreground; default bright. If given, masks of which some "
    "seem to be inside out are taken as they are"
)
SEED = Flag("seed", int, 0, "same seed, same result", True, 0, 2**31 - 1)
OVERWRITE = Flag("overwrite", bool, False, "throw away what is in this script's output folders and start again")
PRECISIONS = "auto", "float32", "mixed_bfloat16"
RUN = (
    SEED,
    Flag("precision", PRECISIONS, None, "default: auto, bfloat16 where hardware has it; papers' presets float32"),
    Flag("strategy", ("default", "mirrored"), "default", "mirrored: split each batch over all GPUs"),
    OVERWRITE,
    Flag("dry_run", bool, False, "write nothing: print data, network, training, time and memory, and stop", True),
)


def setting(default, text):
    """A field of a settings dataclass: its default, and what it means, with its unit and source."""
    return dataclasses.field(default=default, metadata={"help": text})


def run(script, doc, groups, main):
    """Runs a script: parses its flags and calls main(flags). An InputError is one line on stderr and exit status 1.

    Args:
      script: its name. doc: its docstring, which --help begins with.
      groups: {title: [Flag]}.
      main: function of a namespace with a value a flag, and `given`, the set of names that the user gave.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    said = set()

    def format_once(message, *_):  # imports that change filters would let a warning come twice
        line = f"{script}: warning: {message}\n"
        return "" if line in said or said.add(line) else line

    warnings.formatwarning = format_once
    try:
        main(parse(doc, groups, sys.argv))
    except InputError as error:
        print(f"{script}: error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        again = "the same command goes on from the last checkpoint, or prepares the data anew"
        print(f"{script}: stopped; {again}", file=sys.stderr)
        raise SystemExit(130) from None
    except OSError as error:
        if error.errno is None:
            raise
        print(f"{script}: error: {error.filename or Path.cwd()}: {error.strerror}", file=sys.stderr)
        raise SystemExit(1) from None


def parse(doc, groups, argv):
    """Parses a command line; arguments are those of `run`, and sys.argv.

    Raises:
      InputError: an unknown flag, a value that does not fit, or a word that is no flag.
      SystemExit: after --help or --helpfull.
    """
    values = absl_flags.FlagValues()
    for flag in (flag for flags in groups.values() for flag in flags):
        _define(flag, values)
    for name, text in (("help", "show the common flags"), ("helpfull", "show all flags")):
        short = "h" if name == "help" else None
        absl_flags.DEFINE_boolean(name, False, text, flag_values=values, short_name=short)
    try:
        words = values(argv)[1:]
    except absl_flags.Error as error:
        raise InputError(f"{str(error).strip()} (see --help)") from None
    if words:
        raise InputError(f"unexpected argument {words[0]!r}: flags look like --data=drive (see --help)")
    if values["help"].value or values["helpfull"].value:
        print(format_help(doc, groups, is_full=values["helpfull"].value))
        raise SystemExit(0)
    flags = types.SimpleNamespace(**{flag.name: values[flag.name].value for each in groups.values() for flag in each})
    for name, value in vars(flags).items():
        if value in ("", []) or (isinstance(value, float) and not math.isfinite(value)):
            what = "a finite number" if value else "a value, or leave the flag out"
            raise InputError(f"--{name}={value or ''}: give {what}")
    flags.given = {name for name in vars(flags) if values[name].present}
    if getattr(flags, "image_size", None):
        flags.image_size = parse_image_size(flags.image_size)
    for name in PATHS & vars(flags).keys():  # the shell leaves the ~ of --data_dir=~/data as it is
        setattr(flags, name, getattr(flags, name) and os.path.expanduser(getattr(flags, name)))
    if not re.fullmatch(r"best|last|\d+", getattr(flags, "checkpoint", None) or "best"):
        raise InputError(f"--checkpoint={flags.checkpoint}: give best, last or a number of steps")
    return flags


def _define(flag, values):
    options = {"flag_values": values}
    if isinstance(flag.kind, tuple):
        absl_flags.DEFINE_enum(flag.name, flag.default, flag.kind, flag.help, **options)
        return
    if flag.least is not None:
        options |= {"lower_bound": flag.least}
    if flag.most is not None:
        options |= {"upper_bound": flag.most}
    define = {
        int: absl_flags.DEFINE_integer,
        float: absl_flags.DEFINE_float,
        bool: absl_flags.DEFINE_boolean,
        list: absl_flags.DEFINE_list,
        str: absl_flags.DEFINE_string,
    }[flag.kind]
    define(flag.name, flag.default, flag.help, **options)


def format_help(doc, groups, is_full):
    """The script's docstring and its flags by group: the common ones, or all."""
    lines = [doc.strip(), ""]
    for title, flags in groups.items():
        shown = [flag for flag in flags if flag.is_common or is_full]
        lines += [f"{title}:"] * bool(shown)
        for flag in shown:
            kind = "{" + "|".join(flag.kind) + "}" if isinstance(flag.kind, tuple) else _KINDS[flag.kind]
            head = f"  --[no]{flag.name}" if flag.kind is bool else f"  --{flag.name}={kind}"
            is_told = flag.default is None or flag.kind is bool
            default = "" if is_told else f" [{','.join(flag.default) if flag.kind is list else flag.default}]"
            lines += [head, *("      " + line for line in textwrap.wrap(flag.help + default, 88))]
        lines += [""] * bool(shown)
    return "\n".join(lines if is_full else [*lines, "--helpfull shows all flags."])


def parse_image_size(text):
    """ "128" or "96x128" -> (height, width).

    Raises:
      InputError: not of that form, below 64 or above LARGEST_SIDE, or no multiple of 16 (four halvings is the least
        that the networks do).
    """
    match = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", str(text))
    if not match:
        raise InputError(f"--image_size={text}: give pixels as N or HEIGHTxWIDTH, for example 128 or 96x128")
    size = int(match[1]), int(match[2] or match[1])
    if min(size) < 64 or max(size) > LARGEST_SIDE or size[0] % 16 or size[1] % 16:
        raise InputError(f"--image_size={text}: both sides must be multiples of 16 from 64 to {LARGEST_SIDE}")
    return size


def parse_years(name, text):
    """The flag --name=18-38 -> (18, 38).

    Raises:
      InputError: not of that form, or the last age comes before the first.
    """
    match = re.fullmatch(r"(\d{1,3})-(\d{1,3})", text)
    if not match or int(match[1]) > int(match[2]):
        raise InputError(f"--{name}={text}: give a first and a last age in years, for example 18-38")
    return int(match[1]), int(match[2])


def override(settings, flags, names):
    """Settings of a method with the values that the user gave by flags of the same names.

    Args:
      settings: an instance of the method's dataclass.
      names: flags that set fields of methods.

    Raises:
      InputError: the method has no such field.
    """
    fields = {field.name for field in dataclasses.fields(settings)}
    values = {name: getattr(flags, name) for name in names if getattr(flags, name) is not None}
    if odd := sorted(values.keys() - fields):
        has = ", ".join(name for name in names if name in fields)
        raise InputError(f"--{odd[0]}: this network has no such setting; it has {has}; leave it out")
    return dataclasses.replace(settings, **values)


def count_steps(epochs, count, batch_size, what="epochs"):
    """Steps of P2's epochs over `count` images, but no fewer than P2_LEAST_STEPS; prints where these are more."""
    steps = -(-epochs * count // batch_size)
    if steps < P2_LEAST_STEPS:
        print(
            f"{P2_LEAST_STEPS:,} steps, as many as P2's shortest training took, instead of {epochs} {what} of {count} "
            "images, which would be fewer"
        )
    return max(steps, P2_LEAST_STEPS)


def fit_batch(batch_size, count, is_given, data):
    """The batch of a training on images that are not warped: the preset's, or all `count` images where these are fewer.

    Raises:
      InputError: the user gave the batch, and there are fewer images.
    """
    if batch_size <= count:
        return batch_size
    if is_given:
        raise InputError(
            f"--batch_size={batch_size}: the training split of {data} has {count} images, fewer than a batch; "
            f"give --batch_size={count} or less"
        )
    print(f"batches of {count}, as there are no more training images (the preset has {batch_size})")
    return count


def record(flags, settings, **others):
    """All that decides a run, as one dict for flags.json and manifests: flags, the method's settings, and others."""
    kept = {name: value for name, value in vars(flags).items() if name != "given"}
    kept["data_dir"] = os.path.abspath(flags.data_dir)  # later commands may be run elsewhere
    return kept | dataclasses.asdict(settings) | others


def keep_shareable(recorded):
    """What `record` returned, without paths: what may stand in a manifest that leaves the house."""
    kept = {name: value for name, value in recorded.items() if name not in PRIVATE}
    return kept | {"data": Path(recorded["data"]).name}


def format_command(script, flags):
    """The command line with the flags that the user gave, without paths."""
    given = keep_shareable({name: value for name, value in vars(flags).items() if name in flags.given | {"data"}})
    words = [f"--{name}={_word(value)}" for name, value in given.items() if name in flags.given]
    return " ".join([f"{script}.py", *words])


def _word(value):
    if isinstance(value, list):
        return ",".join(value)
    return "x".join(map(str, value)) if isinstance(value, tuple) else value


def describe(settings):
    """[(name, "value: meaning")] of the fields of a method's settings, for --dry_run."""
    fields = dataclasses.fields(settings)
    return [(field.name, f"{getattr(settings, field.name)}: {field.metadata['help']}") for field in fields]


def print_plan(**groups):
    """Prints what --dry_run shows: groups of (name, text)."""
    for title, rows in groups.items():
        print(f"{title}:")
        for name, text in rows:
            print(f"  {name:>18}  {text}")
