"""P2's table 3 for several synthetic sets of one real set, and what more or fewer images give.

    python benchmarks/p2_tables.py FOLDER table dcgan=OUT_DIR pggan=OUT_DIR ... [--models=knn,svm,random_forest]
    python benchmarks/p2_tables.py FOLDER curves dcgan=OUT_DIR [--models=vgg16] [--task=gender]

OUT_DIR is that of train_stage1.py --target=image. `table` gives, for each task and model, the accuracy that real
training images give, what is lost by each synthetic set, and the accuracy of real images and the first set together.
`curves` gives accuracies by 1, 2 and 4 times as many synthetic images as real ones, and by 10, 30 and 100 % of the real
ones, alone and with as many of the first set. FOLDER keeps what is trained, so a command goes on where it stopped, and
gets curves.png.
"""

import argparse
import json
from pathlib import Path

import matplotlib.pyplot as plt

from synthmed_tf import runs
from synthmed_tf.datasets import study_groups
from synthmed_tf.datasets.prepare import prepare
from synthmed_tf.evaluation import classification_benchmark as benchmark
from synthmed_tf.records.read import Records
from synthmed_tf.training import hardware

SHARES = 0.1, 0.3, 1.0  # of the real images
TIMES = 1, 2, 4  # as many synthetic images as real ones


def open_real(folder, out_dir):
    """(training, test) Records of the real set that OUT_DIR was made from, at its size."""
    flags = runs.read(Path(out_dir) / "stage1")
    names = ("labels", "group_column", "chest_xrays", "holdout", "skip_bad_files", "seed")
    options = {name: flags[name] for name in names if name in flags}
    prepared = prepare(flags["data"], flags["data_dir"], tuple(flags["image_size"]), out_dir=folder, **options)
    return Records(prepared, "train"), Records(prepared, "test")


def cell(scores):
    low, high = scores["accuracy"]["interval"]
    return f"{scores['accuracy']['mean']:.3f} [{low:.3f}, {high:.3f}]"


def print_table(folder, sets, real, test, tasks, options):
    """Prints a row for each task and model, in Markdown."""
    names = list(sets)
    first = benchmark.benchmark(folder, real, sets[names[0]], test, tasks=tasks, **options)
    others = {
        name: benchmark.benchmark(folder, real, sets[name], test, tasks=tasks, arms=("real", "synthetic"), **options)
        for name in names[1:]
    }
    measured = {names[0]: first} | others
    print(
        "| task | model | real accuracy |", " | ".join(f"lost by {name}" for name in names), f"| real and {names[0]} |"
    )
    print("|---" * (len(names) + 4) + "|")
    for task in tasks:
        for model in options["models"]:
            drops = []
            for found in measured.values():
                scores = found["tasks"][task][model]
                low, high = scores["relative_drop_interval"]
                drops.append(f"{scores['relative_drop']:.1%} [{low:.1%}, {high:.1%}]")
            scores = first["tasks"][task][model]
            print("|", " | ".join([task, model, cell(scores["real"]), *drops, cell(scores["real_and_synthetic"])]), "|")
    return measured


def print_curves(folder, synthetic, real, test, tasks, options):
    """Prints a row for each task, model and number of images, in Markdown, and draws folder/curves.png."""
    (task,) = tasks
    members = sum(sample.label in tasks[task] for sample in real)
    steps = options.pop("steps")
    points = {}  # (model, arm): [(images, accuracy)]
    print("| task | model | learned from | images | accuracy |\n|---|---|---|---|---|")

    def measure(arms, most, arm_names):
        found = benchmark.benchmark(
            folder, real, synthetic, test, tasks=tasks, arms=arms, most_training=most, steps=steps, **options
        )
        for model in options["models"]:
            for arm, name in zip(arms, arm_names, strict=True):
                scores, count = found["tasks"][task][model][arm], sum(found["counts"][task][arm].values())
                points.setdefault((model, name), []).append((count, scores["accuracy"]))
                print(f"| {task} | {model} | {name} | {count:,} | {cell(scores)} |", flush=True)

    for share in SHARES:
        measure(("real", "real_and_synthetic"), round(share * members), ("real", "real and as many synthetic"))
    for times in TIMES:
        measure(("synthetic",), times * members, ("synthetic",))
    figure, panels = plt.subplots(1, len(options["models"]), figsize=(4 * len(options["models"]), 3), squeeze=False)
    for panel, model in zip(panels[0], options["models"], strict=True):
        for (other, name), values in points.items():
            if other == model:
                counts, scores = zip(*values, strict=True)
                means = [score["mean"] for score in scores]
                low, high = ([abs(score["interval"][end] - score["mean"]) for score in scores] for end in (0, 1))
                panel.errorbar(counts, means, (low, high), marker="o", capsize=3, label=name)
        panel.set(
            xscale="log", xlabel="images to learn from", ylabel="accuracy on real test images", title=f"{task}, {model}"
        )
        panel.legend()
    figure.tight_layout()
    figure.savefig(folder / "curves.png", dpi=80)
    return {f"{model}, {name}": values for (model, name), values in points.items()}


def main(*words):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("what", choices=("table", "curves"))
    parser.add_argument("sets", nargs="+", metavar="NAME=OUT_DIR")
    parser.add_argument("--models", default=",".join(benchmark.MODELS))
    parser.add_argument("--task", help="one of the tasks; default: all, of curves the first")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, help="of each VGG16; default: 20 epochs of the real images")
    options = parser.parse_args(words)
    options.folder.mkdir(parents=True, exist_ok=True)
    places = dict(word.split("=", 1) for word in options.sets)
    hardware.set_up("auto")
    real, test = open_real(options.folder, next(iter(places.values())))
    sets = {name: Records(Path(place) / "synthetic") for name, place in places.items()}
    tasks = study_groups.list_tasks(real.class_names)
    chosen = options.task or (next(iter(tasks)) if options.what == "curves" else None)
    tasks = {name: classes for name, classes in tasks.items() if chosen in (None, name)}
    how = {"models": options.models.split(","), "repeats": options.repeats, "steps": options.steps}
    if options.what == "table":
        result = print_table(options.folder, sets, real, test, tasks, how)
    else:
        result = print_curves(options.folder, next(iter(sets.values())), real, test, tasks, how)
    (options.folder / f"{options.what}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    import sys

    main(*sys.argv[1:])
