#!/usr/bin/env python3
"""Stage 2: masks -> photographs. Trains pix2pix on real pairs and paints a photograph on each mask of stage 1.

pix2pix is the network of P1 (Guibas et al. 2017, after Isola et al. 2017), with what makes 20 pairs suffice.
--preset=pix2pix leaves that out, and so does --preset=vess2ret, the version of Costa et al. 2017.

    train_stage2.py                                  after train_stage1.py with the same --out_dir, on the same data
    train_stage2.py --data=idrid                     after train_stage1.py --data=drive: photographs without masks
                                                     get theirs from a U-Net that learns from the first set, as in P1
    train_stage2.py --preset=pix2pix                 made for 256 pixels, which is stage 1's to say; vess2ret for 512

Run it again to continue; a finished run says that it is finished. OUT_DIR/synthetic alone is meant to be shared.
Next: evaluate.py --synthetic_dir=OUT_DIR.
"""

from pathlib import Path

from synthmed_tf import settings
from synthmed_tf.datasets import sources
from synthmed_tf.sample import InputError
from synthmed_tf.settings import Flag

FLAGS = {
    "Data": (
        Flag("data", str, None, settings.SETS + "; default: that of stage 1", True),
        Flag("data_dir", str, "data", "folder that holds the data sets as downloaded; private", True),
        Flag("out_dir", str, "out", "folder for all results; the three scripts chain through it", True),
        Flag("labels", str, None,
            "photographs without masks in a folder with a table: its label column, if it has several"),
        Flag("group_column", str, None, settings.GROUP_COLUMN + "; of stage 1's set: as there"),
    ),
    "Network": (
        Flag("preset", ("small_data", "vess2ret", "pix2pix"), "small_data",
            "small_data: with what makes few pairs suffice (docs/SMALL_DATA.md); vess2ret, pix2pix: as their papers "
            "have it", True),
    ),
    "Settings": (  # of the network, where the method's own are not wanted; --dry_run shows them
        Flag("steps", int, None,
            "training steps in all; a larger number goes on. vess2ret's are updates of one network, 20 of D, then 20 "
            "of G", True, 1),
        Flag("batch_size", int, None, "pairs a step", least=1),
        Flag("learning_rate", float, None, "Adam's step size", least=0, most=1),
        Flag("discriminator_rate", float, None, "small_data: that of the discriminator's Adam", least=0, most=1),
        Flag("beta1", float, None, "Adam's decay of the first moment", least=0, most=0.9999),
        Flag("l1", float, None, "weight of L1", least=0),
        Flag("feature_matching", float, None, "weight of feature matching; 0: none", least=0),
        Flag("most_accurate", float, None,
            "the discriminator learns while it is right about at most this share of patches", least=0, most=1),
        Flag("jitter", int, None, "pixels of 256 that a pair is enlarged by before a random crop", least=0, most=256),
        Flag("average", float, None, "what a step keeps of the averaged weights", least=0, most=0.99999),
    ),
    "Samples": (
        Flag("num_samples", int, None, "how many pairs to write; default: one for each mask of stage 1", True, 1),
        Flag("checkpoint", str, None,
            "whose weights paint them: best (the latest whose KID is at most twice the least; small_data's default), "
            "last (the papers'), or a number of steps"),
    ),
    "Run": settings.RUN,
}  # fmt: skip
METHOD = [flag.name for flag in FLAGS["Settings"]]  # which override the settings of a method


def main(flags):
    out = Path(flags.out_dir)
    first = read_stage1(flags, out / "stage1")
    sources.check_set(flags.data, flags.data_dir, labels=flags.labels, group_column=flags.group_column)

    from synthmed_tf import methods, runs
    from synthmed_tf.papers import annotation
    from synthmed_tf.publishing import stage_output
    from synthmed_tf.smalldata import checkpoint_choice
    from synthmed_tf.training import hardware

    masks = open_masks(out / "stage1" / "masks", flags)
    teachers, real = open_real(flags, first)  # what the masks come from; what is painted like
    method, own, pairs_class = methods.choose_for_stage2(flags, METHOD, len(real), first["image_size"])
    flags.checkpoint = flags.checkpoint or method.CHECKPOINT
    strategy, flags.precision = hardware.set_up(
        flags.precision or hardware.choose_precision(flags.preset), flags.strategy
    )

    folder, photographs = out / "stage2", None
    kept = {name: first[name] for name in ("image_size", "holdout")}
    recorded = settings.record(flags, own, prepared=real.folder.name, **kept)
    if flags.dry_run:
        runs.check(folder, recorded, flags.overwrite)
        methods.print_plan(flags, METHOD, real, method, own, pairs_class(real.pictured, own.batch_size, flags.seed))
        return
    with runs.claim(folder, recorded, flags.overwrite):
        model = "pix2pix" if flags.preset == "small_data" else flags.preset
        print(methods.describe_network(flags.preset, "photograph", model, has_views=True))
        length = f"{own.steps} steps of {own.batch_size}"
        print(f"stage 2: {len(real)} pairs of {real.manifest['name']}, {length} -> {folder}")
        if real is not teachers:
            photographs = real.manifest
            real = annotation.annotate(folder, real, teachers, flags.seed)
        pairs = pairs_class(real, own.batch_size, flags.seed)
        watch = checkpoint_choice.make_painting_measurement(real, masks)
        painter, result = method.train(
            folder, pairs, own, flags.seed, watch=watch, checkpoint=flags.checkpoint, strategy=strategy
        )
        stage_output.write_pairs(flags, recorded, real, painter, result, masks, photographs)


def read_stage1(flags, folder):
    """What stage 1 was run with; the set and its place are stage 1's where the user names none.

    Raises:
      InputError: stage 1 was not run here, or made photographs at once.
    """
    from synthmed_tf import runs

    first = runs.read(folder)
    if first["target"] == "image":
        raise InputError(
            f"{folder}: its GAN makes photographs at once (--target=image), so there is nothing to paint; run "
            f"evaluate.py --synthetic_dir={flags.out_dir}, or train_stage1.py with another --out_dir"
        )
    flags.data, first["data"] = sources.locate_set(flags.data), sources.locate_set(first["data"])
    for name in {"data", "data_dir"} - flags.given:
        setattr(flags, name, first[name])
    if flags.data == first["data"]:
        if "group_column" in flags.given and flags.group_column != first.get("group_column"):
            raise InputError(
                f"--group_column={flags.group_column}: stage 1 was run with --group_column="
                f"{first.get('group_column') or ''}; leave it out"
            )
        flags.group_column = first.get("group_column")
    flags.given.add("data")  # in the manifest's commands each says its own
    return first


def open_masks(folder, flags):
    """The records.Records of stage 1's masks; as many as wanted, or InputError."""
    from synthmed_tf.records.read import Records

    if not folder.is_dir():
        raise InputError(f"{folder}: not there; run train_stage1.py again, it goes on where it stopped")
    try:
        masks = Records(folder)
    except InputError as error:
        raise InputError(f"{error}: train_stage1.py, which goes on where it stopped") from None
    flags.num_samples = flags.num_samples or len(masks)
    if flags.num_samples > len(masks):
        raise InputError(
            f"{folder}: {len(masks)} masks, --num_samples={flags.num_samples}; run train_stage1.py "
            f"--num_samples={flags.num_samples} first"
        )
    return masks


def open_real(flags, first):
    """(training split of stage 1's set, that of the photographs: the same, or one without masks).

    Raises:
      InputError: they do not fit each other, or stage 1.
    """
    from synthmed_tf.datasets import prepare
    from synthmed_tf.datasets.plan import Plan
    from synthmed_tf.records.read import require_features

    is_same = first["data"] == flags.data
    if not is_same and sources.has_masks(flags.data, flags.data_dir, flags.labels, flags.group_column):
        raise InputError(
            f"stage 1 was run on --data={first['data']}, now --data={flags.data}; give the same to both stages"
        )
    options = {name: first[name] for name in ("skip_bad_files", "chest_xrays", "seed")}
    options |= {"out_dir": flags.out_dir, "dry_run": flags.dry_run}
    place = flags.data_dir, tuple(first["image_size"])
    own = {name: first.get(name) for name in ("holdout", "group_column", "mask_foreground")}
    teachers = prepare.prepare_training_split(first["data"], *place, **own, **options)
    if teachers.folder.name != first["prepared"] and not isinstance(teachers, Plan):
        raise InputError(
            f"{teachers.folder}: the real set, or how this program prepares it, has changed since stage 1 "
            f"({first['prepared']}); run train_stage1.py --overwrite"
        )
    require_features(teachers, "image", "mask")
    if is_same:
        return teachers, teachers
    columns = {"labels": flags.labels, "group_column": flags.group_column}
    real = prepare.prepare_training_split(flags.data, *place, **columns, **options)
    require_features(real, "image")
    channels = [split.manifest["channels"] for split in (teachers, real)]
    if channels[0] != channels[1]:
        raise InputError(
            f"{flags.data}: images of {channels[1]} channels, those of {first['data']}, which the masks are learned "
            f"from, have {channels[0]}; give a set of as many"
        )
    return teachers, real


if __name__ == "__main__":
    settings.run("train_stage2", __doc__, FLAGS, main)
