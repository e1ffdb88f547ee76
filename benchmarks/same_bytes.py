"""Does a change of the code change what is made? Runs the commands, some steps each; prints a digest of each result.

    python benchmarks/same_bytes.py [--data_dir=data] [--only=NAME,...] > before.txt      then, after the change:
    python benchmarks/same_bytes.py [--data_dir=data] [--only=NAME,...] | diff before.txt -

The digest of a training is over the pixels of all images and masks that it makes, that of an evaluation over the
numbers in report.json. Digests are the same on one machine with one number of threads. DRIVE is left out where it is
not in DATA_DIR. Takes some 15 minutes.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FEW = "--image_size=64", "--num_samples=12"
STAGE1, STAGE2, EVALUATE = "train_stage1.py", "train_stage2.py", "evaluate.py"
UNETS = "--unet_steps=20", "--repeats=1"
CLASSIFIERS = "--vgg_steps=4", "--repeats=1"
IMAGES = (STAGE1, "--target=image", *FEW)
# {name: commands, each a tuple of words}; those of a name share an OUT_DIR
RUNS = {
    "default": (
        (STAGE1, "--data=phantom", "--steps=40", *FEW),
        (STAGE2, "--data=phantom", "--steps=30"),
        (EVALUATE, *UNETS),
    ),
    "flow": ((STAGE1, "--data=phantom", "--model=flow", "--steps=20", *FEW),),
    "pggan": ((STAGE1, "--data=phantom", "--model=pggan", "--steps=30", "--level_images=64", *FEW),),
    "papers": (
        (STAGE1, "--data=phantom", "--preset=paper", "--steps=4", *FEW),
        (STAGE2, "--data=phantom", "--preset=vess2ret", "--steps=44"),
    ),
    "pix2pix": (
        (STAGE1, "--data=phantom", "--steps=10", *FEW),
        (STAGE2, "--data=phantom", "--preset=pix2pix", "--steps=10"),
    ),
    "baseline": ((*IMAGES, "--data=phantom", "--steps=20"),),
    "xray": (
        (*IMAGES, "--data=phantom_xray", "--steps=40"),
        (EVALUATE, *CLASSIFIERS),
    ),
    "xray_a_class": ((*IMAGES, "--data=phantom_xray", "--labels=18-68", "--noconditional", "--steps=10"),),
    "xray_flow": ((*IMAGES, "--data=phantom_xray", "--model=flow", "--steps=10"),),
    "xray_paper": ((*IMAGES, "--data=phantom_xray", "--preset=paper", "--model=dcgan", "--steps=4"),),
    "histology": (
        (*IMAGES, "--data=phantom_histology", "--steps=30", "--level_images=64"),
        (EVALUATE, *CLASSIFIERS, "--models=knn,random_forest"),
    ),
    "drive": (
        (STAGE1, "--data=drive", "--steps=40", *FEW),
        (STAGE2, "--data=drive", "--steps=30"),
        (EVALUATE, *UNETS),
    ),
}
NO_RESULT = {"seconds", "command", "commands", "versions", "git_commit", "shards", "flags"}  # parts of report.json


def digest_of_pixels(folder):
    """SHA-256 of the pixels of a synthetic set, or of masks, in the order of their records."""
    from synthmed_tf.records.read import Records

    digest = hashlib.sha256()
    for sample in Records(folder):
        for pixels in (sample.image, sample.mask, sample.field_of_view):
            digest.update(b"-" if pixels is None else pixels.tobytes())
        digest.update(str(sample.label).encode())
    return digest.hexdigest()[:16]


def numbers_of(value, path=""):
    """Yields (path, number) of all numbers in a part of report.json that the images decide."""
    if isinstance(value, dict):
        for key in sorted(value.keys() - NO_RESULT):
            yield from numbers_of(value[key], f"{path}/{key}")
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from numbers_of(each, f"{path}/{index}")
    elif isinstance(value, int | float):
        yield path, float(value)


def digests_of(out, command):
    """[(what, digest)] of what one command has written to `out`."""
    if command[0] == EVALUATE:
        report = json.loads((out / "report" / "report.json").read_text(encoding="utf-8"))
        parts = {key: list(numbers_of(value)) for key, value in report.items() if isinstance(value, dict)}
        parts = {key: numbers for key, numbers in parts.items() if numbers and key not in ("real", "synthetic")}
        return [(key, hashlib.sha256(repr(parts[key]).encode()).hexdigest()[:16]) for key in sorted(parts)]
    folder = out / "synthetic" if command[0] == STAGE2 or "--target=image" in command else out / "stage1" / "masks"
    return [(folder.name, digest_of_pixels(folder))]


def main(*words):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", default="data")
    parser.add_argument("--only", default=",".join(RUNS))
    options = parser.parse_args(words)
    data_dir = Path(options.data_dir).resolve()
    names = options.only.split(",")
    if "drive" in names and not (data_dir / "drive").is_dir():
        print(f"DRIVE is left out: no {data_dir / 'drive'}", file=sys.stderr)
        names.remove("drive")
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            for command in RUNS[name]:
                place = data_dir if name == "drive" else Path(folder, "data")
                done = subprocess.run(
                    [sys.executable, *command, f"--data_dir={place}", f"--out_dir={folder}/out"],
                    cwd=ROOT,
                    capture_output=True,
                    text=True,
                )
                if done.returncode:
                    raise SystemExit(f"{name}: {' '.join(command)} failed:\n{done.stderr}")
                for what, digest in digests_of(Path(folder, "out"), command):
                    print(f"{name} {command[0]} {what} {digest}", flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main(*sys.argv[1:])
