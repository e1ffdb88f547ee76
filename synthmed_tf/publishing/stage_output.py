"""What the two training scripts leave: stage 1's masks, and the synthetic set, with their manifests."""

import itertools
import warnings
from pathlib import Path

from synthmed_tf import runs, settings
from synthmed_tf.papers import hash_filter
from synthmed_tf.progress import show_progress
from synthmed_tf.publishing import png_files, synthetic_set
from synthmed_tf.records.read import Records
from synthmed_tf.records.write import write_records
from synthmed_tf.smalldata import copy_filter
from synthmed_tf.training import checkpoints


def describe_training(results):
    """Manifest entries that say which weights make the samples: {name: value}, or {name: {class: value}}.

    Args:
      results: {class name, or "" of one model for all: dict that a method's train returned}.
    """
    entries = {"steps": {name: result["step"] for name, result in results.items()}}
    entries["sampled_step"] = {name: result["sampled_step"] for name, result in results.items()}
    for key, checkpoint in (("checkpoint_sha256", "sampler"), ("refined_sha256", "refined")):
        if all(checkpoint in result for result in results.values()):
            entries[key] = {name: checkpoints.hash_checkpoint(result[checkpoint]) for name, result in results.items()}
    return {key: values[""] for key, values in entries.items()} if "" in results else entries


def describe_command(script, flags, recorded, real):
    """Manifest entries that say how a set was made."""
    command = settings.format_command(script, flags)
    described = synthetic_set.describe_real(real.manifest)
    return {"command": command, "commands": [command], "flags": settings.keep_shareable(recorded), "real": described}


def write_masks(flags, recorded, real, sampler, results, steps):
    """Writes OUT_DIR/stage1/masks: flags.num_samples masks that copy no training mask."""
    folder, count = Path(flags.out_dir) / "stage1" / "masks", flags.num_samples
    entries = describe_training(results)
    decides = {key: value for key, value in entries.items() if key.endswith("_sha256")}
    if runs.is_current(folder, count, **decides):
        larger = "--num_samples" if results[""]["step"] < steps else "--steps or --num_samples"
        print(f"already done: {count} masks in {folder}. A larger {larger} goes on from here")
        return
    tally = {}
    samples = copy_filter.reject_copies(synthetic_set.draw(sampler, "mask"), real, count, tally)
    entries |= describe_command("train_stage1", flags, recorded, real) | {"filter": tally}
    name = f"{real.manifest['name']}_masks"
    write_records(
        folder, name, show_progress(samples, "masks", total=count, unit="mask"), source="stage 1, masks", extra=entries
    )
    print(copy_filter.describe(tally))
    if tally["too_near"]:
        warnings.warn(
            f"{tally['too_near']} of {count} masks are kept although they are as near to a training mask; look at them "
            "before the set is shared",
            stacklevel=1,
        )
    step = entries["sampled_step"]
    print(
        f"{count} masks in {folder}, samples of the training in {folder.parent}, by the weights of step {step}. Next: "
        "train_stage2.py"
    )


def write_images(flags, recorded, real, samplers, results, is_labelled):
    """Writes OUT_DIR/synthetic: flags.num_samples images, with labels where the real ones have some."""
    out, count = Path(flags.out_dir), flags.num_samples
    folder, private = out / "synthetic", out / "stage1"
    entries = describe_training(results)
    decides = {key: value for key, value in entries.items() if key.endswith("_sha256")}
    if is_labelled:
        decides |= {"label_distribution": flags.label_distribution, "hash_filter": flags.hash_filter}
    if runs.is_current(folder, count, **decides) and png_files.count_images(folder / "png") == count:
        print(f"already done: {count} images in {folder}. A larger --steps or --num_samples goes on from here")
        return
    with_view = "field_of_view" in real.features
    entries |= decides | describe_command("train_stage1", flags, recorded, real)
    tally, rejected = {}, []
    if is_labelled:
        samples = synthetic_set.draw_labelled(
            {name: samplers.get(name, samplers.get("")) for name in real.class_names}, real,
            shares=synthetic_set.count_shares(real, flags.label_distribution == "balanced"),
            with_hash_filter=flags.hash_filter, with_pixel_noise=flags.model == "flow", tally=tally, rejected=rejected,
            with_view=with_view,
        )  # fmt: skip
        entries |= {"filter": tally} if flags.hash_filter else {}
    else:
        samples = synthetic_set.draw(samplers[""], "image", with_view)
    samples = show_progress(itertools.islice(samples, count), "images", total=count, unit="image")
    class_names = real.class_names if is_labelled else None
    name = f"{real.manifest['name']}_synthetic"
    write_records(folder, name, samples, source="stage 1, images", extra=entries, class_names=class_names)
    if is_labelled and flags.hash_filter:
        print(hash_filter.describe(tally))
        if tally["too_far"]:
            warnings.warn(
                f"{tally['too_far']} of {count} images are kept although they are as far: ten in a row were",
                stacklevel=1,
            )
        png_files.write_grid(private / "rejected.png", rejected)
    png_files.write(folder / "png", Records(folder))
    weights = f"by the weights of step {entries['sampled_step']}" if "" in results else "one model a class"
    print(
        f"{count} images in {folder}, samples of the training in {private}, {weights}. Next: evaluate.py "
        f"--synthetic_dir={out}"
    )


def write_pairs(flags, recorded, real, painter, result, masks, photographs=None):
    """Writes OUT_DIR/synthetic: a photograph for each of flags.num_samples masks.

    Args:
      real: records.Records that stage 2 learned from.
      masks: records.Records of stage 1.
      photographs: manifest of the set whose photographs were learned from, where it is another one than the masks'.
    """
    folder, count = Path(flags.out_dir) / "synthetic", flags.num_samples
    keys = "flags", "steps", "sampled_step", "checkpoint_sha256", "refined_sha256"
    stage1 = {key: masks.manifest[key] for key in keys if key in masks.manifest}
    # The filter's thresholds are measured on real masks, and stay in stage1/
    stage1["filter"] = {key: masks.manifest["filter"][key] for key in ("candidates", "rejected", "too_near")}
    entries = describe_training({"": result}) | {"stage1": stage1}
    is_done = runs.is_current(folder, count, checkpoint_sha256=entries["checkpoint_sha256"], stage1=stage1)
    if is_done and png_files.count_images(folder / "png") == count:
        print(f"already done: {count} pairs in {folder}. A larger --steps or --num_samples goes on from here")
        return
    command = settings.format_command("train_stage2", flags)
    entries |= {"command": command, "commands": [masks.manifest["command"], command]}
    entries |= {"flags": settings.keep_shareable(recorded), "real": masks.manifest["real"]}
    entries |= {"photographs": synthetic_set.describe_real(photographs)} if photographs else {}
    samples = synthetic_set.paint(painter, masks[:count], "field_of_view" in real.features)
    name = (photographs or real.manifest)["name"]
    source = "synthetic: stage 1, then stage 2"
    write_records(
        folder,
        f"{name}_synthetic",
        show_progress(samples, "pairs", total=count, unit="pair"),
        source=source,
        extra=entries,
    )
    png_files.write(folder / "png", Records(folder))
    print(
        f"{count} pairs in {folder}, also as PNG files in {folder / 'png'}. Next: evaluate.py "
        f"--synthetic_dir={flags.out_dir}"
    )
