"""Which sets are compared: the synthetic one, the real one that it stands for, held-out images, a baseline."""

import dataclasses
import itertools
from pathlib import Path
from typing import NamedTuple

from synthmed_tf import runs, settings
from synthmed_tf.datasets import sources
from synthmed_tf.datasets.load import load_samples
from synthmed_tf.datasets.plan import Plan
from synthmed_tf.datasets.prepare import crop_sample, prepare, prepare_training_split
from synthmed_tf.datasets.split import LEFT_OUT, check_split
from synthmed_tf.evaluation.baseline import WithViews, open_baseline
from synthmed_tf.evaluation.foreign import is_of_files, open_synthetic
from synthmed_tf.records.manifest import read_manifest
from synthmed_tf.records.read import Records, require_features
from synthmed_tf.sample import InputError


class Found(NamedTuple):
    """What `find` found before anything is read in earnest.

    Attributes:
      folder: of the synthetic set. manifest: of it, {} for another program's.
      stage1, stage2: what the training scripts were run with, {} where that is not known.
      is_same: whether the real set is the one that was learned from.
      other: (data, data_dir, {"labels", "group_column"}) of the photographs, where stage 2 learned from another set, or
        None.
      seed: that the real set is divided by.
    """

    folder: Path
    manifest: dict
    stage1: dict
    stage2: dict
    is_same: bool
    other: tuple | None
    seed: int


def find(flags):
    """Finds the synthetic set and the real one that it stands for, and fills in the flags that say so.

    Raises:
      InputError: one of them is not there.
    """
    given = Path(flags.synthetic_dir or flags.out_dir)
    folder = find_synthetic(given)
    if folder != given and "out_dir" not in flags.given:
        flags.out_dir = str(given)
    stage1, stage2 = (runs.read(given / s) if (given / s / "flags.json").exists() else {} for s in ("stage1", "stage2"))
    if "data_dir" not in flags.given:
        flags.data_dir = stage1.get("data_dir", flags.data_dir)
    is_foreign = not (folder / "manifest.json").exists() and (
        (folder / "features.json").exists() or is_of_files(folder)
    )
    manifest = {} if is_foreign else read_manifest(folder)
    learned = manifest.get("real", {})
    if stage1:
        _check_is_current(folder, manifest, stage1)
    flags.data = sources.locate_set(flags.data)
    is_same = flags.data is None or sources.get_set_name(flags.data) == learned.get("name")
    described = {"data": learned.get("name")} | learned | stage1
    # Another set has labels of its own
    own = "labels", "group_column", "chest_xrays", "mask_foreground"
    for name in ("data", "holdout", "skip_bad_files", *own * is_same):
        if name not in flags.given:
            setattr(flags, name, described.get(name, getattr(flags, name)))
    flags.holdout = flags.holdout or 0
    if flags.data is None:
        raise InputError(f"{folder}: does not say which real set it stands for; give --data")
    columns = {"labels": flags.labels, "group_column": flags.group_column}
    sources.check_set(flags.data, flags.data_dir, **columns, chest_xrays=flags.chest_xrays)
    other = None
    if photographs := manifest.get("photographs"):
        place = flags.data_dir if "data_dir" in flags.given else stage2.get("data_dir", flags.data_dir)
        other = stage2.get("data", photographs["name"]), place, {name: photographs.get(name) for name in columns}
        sources.check_set(*other[:2], **other[2])
    by_stage1 = stage1 or manifest.get("stage1", manifest).get("flags", {})  # stage 2 may have had another seed
    seed = by_stage1.get("seed", flags.seed)
    return Found(folder, manifest, stage1, stage2, is_same, other, seed)


def _check_is_current(folder, manifest, stage1):
    """Raises InputError where stage 1 was run anew since the set was made: its real set may be another one."""
    made, now = manifest.get("stage1", manifest).get("flags", {}), settings.keep_shareable(stage1)
    changed = [
        f"{name} was {made[name]!r} and is now {now[name]!r}"
        for name in sorted(made.keys() & now.keys() - runs.FREE_TO_CHANGE)
        if made[name] != now[name]
    ]
    if changed:
        raise InputError(
            f"{folder}: is of an earlier run of stage 1 ({'; '.join(changed)}); run train_stage2.py (after "
            "--target=image train_stage1.py) again, or give --synthetic_dir another set"
        )


def find_synthetic(given):
    """The folder of the synthetic set in `given`, an OUT_DIR or that folder itself."""
    folder = given / "synthetic" if (given / "synthetic").is_dir() else given
    if folder == given and (given / "stage1").is_dir():
        raise InputError(
            f"{given / 'synthetic'}: not there; run train_stage2.py (after --target=image train_stage1.py) with the "
            "same --out_dir first"
        )
    return folder


@dataclasses.dataclass
class Sets:
    """The sets of an evaluation.

    Attributes:
      synthetic: Records. compared: the same, with fields of view where the real ones have them.
      real: Records of the training split, or the Plan of it. baseline: Records of a second synthetic set, or None.
      held_out: Records of the test split, [] where there is none.
      photographs: (real, held-out) to compare photographs with, where these are others; None.
      other_manifest: of the set whose photographs stage 2 learned from, where that is another one.
    """

    synthetic: Records
    compared: WithViews
    real: Records
    baseline: Records | None
    split: dict
    held_out: Records | list = dataclasses.field(default_factory=list)
    photographs: tuple | None = None
    other_manifest: dict | None = None

    @property
    def size(self):
        """(height, width) in pixels."""
        return self.synthetic[0].image.shape[:2]

    def describe(self):
        """[(name, text)] for --dry_run."""
        return [
            ("synthetic set", f"{self.synthetic.folder}: {len(self.synthetic)} samples"),
            ("real set", f"{self.real.folder}: {self.real.manifest['counts']}"),
            ("image size", " x ".join(map(str, self.size))),
        ]

    def open_controls(self, flags, found):
        """Opens the held-out images, and the photographs of another set."""
        if "test" in self.real.manifest["counts"]:
            self.held_out = Records(self.real.folder, "test")
        if self.real.manifest.get("test_split", "").startswith(LEFT_OUT):  # photographs need no masks to be compared
            samples = self.load(flags)  # the test split comes first
            test = itertools.takewhile(lambda sample: sample.split == "test", samples)
            self.photographs = self.real, [crop_sample(sample, self.size) for sample in test]
        if found.other:
            data, data_dir, columns = found.other
            options = {name: self.split[name] for name in ("skip_bad_files", "chest_xrays", "seed")}
            folder = prepare(data, data_dir, self.size, out_dir=flags.out_dir, **columns, **options)
            self.other_manifest = read_manifest(folder)
            names = "prepared" in found.stage2 and (found.stage2["prepared"], folder.name)
            check_split(found.manifest["photographs"], self.other_manifest, names)
            test = Records(folder, "test") if "test" in self.other_manifest["counts"] else []
            self.photographs = Records(folder, "train"), test

    def load(self, flags):
        """The real Samples at native size, their pixels brought to the range that the prepared ones have."""
        pixel_range = self.real.manifest.get("pixel_range")
        return load_samples(flags.data, flags.data_dir, pixel_range=pixel_range, **self.split)

    def native_test(self, flags):
        """The real test Samples with masks, at native size."""
        return [sample for sample in self.load(flags) if sample.split == "test" and sample.mask is not None]


def open_sets(flags, found):
    """Opens the synthetic set, the real training split, prepared if need be, and the baseline.

    Raises:
      InputError: they do not fit each other, or the real set is not the one that was learned from.
    """
    synthetic = open_synthetic(found.folder)
    require_features(synthetic, "image")
    baseline = open_baseline(find_synthetic(Path(flags.baseline_dir)), synthetic) if flags.baseline_dir else None
    names = "labels", "group_column", "chest_xrays", "mask_foreground", "holdout", "skip_bad_files"
    split = {name: getattr(flags, name) for name in names} | {"seed": found.seed}
    size, place = synthetic[0].image.shape[:2], {"out_dir": flags.out_dir, "dry_run": flags.dry_run}
    real = prepare_training_split(flags.data, flags.data_dir, size, **place, **split)
    require_features(real, "image", *["mask"] * ("mask" in synthetic.features))
    channels = synthetic[0].image.shape[2], real.manifest["channels"]
    if channels[0] != channels[1]:
        raise InputError(f"{found.folder}: {channels[0]} channels, the real set {real.folder} has {channels[1]}")
    if found.is_same and not isinstance(real, Plan):
        names = "prepared" in found.stage1 and (found.stage1["prepared"], real.folder.name)
        check_split(found.manifest.get("real", {}), real.manifest, names)
    return Sets(synthetic, WithViews(synthetic, real), real, baseline, split)
