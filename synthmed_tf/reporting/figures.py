"""The pictures of a report: P1's figures 3, 4, 5 and 7 from our own run, scores as dots, counts as bars.

Returns matplotlib Figures.

Colours are Okabe and Ito's (2008), which colour-blind readers tell apart; line styles and labels say the same in grey
print.
"""

import io

import numpy as np

from synthmed_tf.reporting.values import ARMS, MODELS

REAL, SYNTHETIC, BOTH = "#0072B2", "#D55E00", "#009E73"
WIDTH = 7.2  # inches of a figure, and so of a printed page without its margins
PIXELS_PER_INCH = 160


def png(figure):
    """The bytes of a Figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=PIXELS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def intensity_distribution(histograms):
    """P1 figure 3: share of pixels at each intensity, real against synthetic, one panel a channel.

    Args:
      histograms: {"real": {channel: [256] counts}, "synthetic": the same}.
    """
    channels = [channel for channel in histograms["real"] if channel in histograms["synthetic"]]
    figure = _figure(2.6 * -(-len(channels) // 2) if len(channels) > 1 else 3)
    grid = (1, 1) if len(channels) == 1 else (-(-len(channels) // 2), 2)
    for panel, channel in enumerate(channels, 1):
        axes = figure.add_subplot(*grid, panel)
        for key, colour, style in (("real", REAL, "-"), ("synthetic", SYNTHETIC, "--")):
            counts = np.asarray(histograms[key][channel], np.float64)
            axes.plot(100 * counts / max(counts.sum(), 1), style, color=colour, linewidth=1.3, label=key)
        axes.set(title=channel, xlim=(-3, 258), ylim=(0, None), xlabel="intensity", ylabel="% of pixels")
        axes.title.set_fontsize("medium")
        axes.spines[["top", "right"]].set_visible(False)
        if panel == 1:
            axes.legend(frameon=False)
    return figure


def nearest_masks(triples):
    """P1 figure 4: generated masks, their nearest training mask, and the two laid over each other.

    Args:
      triples: [(synthetic mask, training mask, caption)], masks [height, width, 1] in {0, 1}, the training mask turned
        so that it lies nearest.
    """
    height, width = triples[0][0].shape[:2]
    figure = _figure(WIDTH / len(triples) * height / width * 3 + 0.3)
    rows = ("generated", "nearest in training", "both")
    axes = figure.subplots(3, len(triples), squeeze=False)
    for column, (synthetic, training, caption) in enumerate(triples):
        ours, theirs = np.squeeze(synthetic, -1).astype(bool), np.squeeze(training, -1).astype(bool)
        _show(axes[0, column], 255 - 255 * ours.astype(np.uint8)[..., None], caption)
        _show(axes[1, column], 255 - 255 * theirs.astype(np.uint8)[..., None])
        _show(axes[2, column], _overlay(ours, theirs))
    for axis, label in zip(axes[:, 0], rows):
        axis.set_ylabel(label)
    return figure


def nearest_images(triples):
    """Synthetic images above the training images that they are most like.

    Args:
      triples: [(synthetic image, training image, caption)], images [height, width, channels] uint8 or uint16, the
        training image turned so that it is most similar.
    """
    height, width = triples[0][0].shape[:2]
    figure = _figure(WIDTH / len(triples) * height / width * 2 + 0.3)
    axes = figure.subplots(2, len(triples), squeeze=False)
    for column, (synthetic, training, caption) in enumerate(triples):
        _show(axes[0, column], synthetic, caption)
        _show(axes[1, column], training)
    for axis, label in zip(axes[:, 0], ("synthetic", "most similar in training")):
        axis.set_ylabel(label)
    return figure


def examples(sets):
    """P1 figures 5 and 7: the images of each set with their masks, one set above the other.

    Args:
      sets: {"real", "synthetic" or "baseline": list of Sample}; all but one may be empty. Images and masks are shown
        where the first sample has them.
    """
    rows = []  # (label, [pictures])
    for label, samples in sets.items():
        if samples and samples[0].image is not None:
            rows.append((f"{label} image", [sample.image for sample in samples]))
        if samples and samples[0].mask is not None:
            rows.append((f"{label} mask", [255 - 255 * sample.mask for sample in samples]))
    columns = max(len(pictures) for _, pictures in rows)
    height, width = rows[0][1][0].shape[:2]
    figure = _figure(WIDTH / columns * height / width * len(rows) + 0.2)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, (label, pictures) in zip(axes, rows):
        for axis in line[len(pictures) :]:
            axis.set_visible(False)
        for axis, picture in zip(line, pictures):
            _show(axis, picture)
        line[0].set_ylabel(label)
    return figure


def scores(panels):
    """Every run's F1 as a dot, one row an arm, one panel a resolution.

    Args:
      panels: [(title, {arm: [F1 of each run]}, F1 of the second observer or None)], in the order of values.ARMS.
    """
    figure = _figure(1.9)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (title, arms, observer) in zip(axes, panels):
        labels = [ARMS[arm] for arm in arms]
        for row, arm in enumerate(arms):
            colour = {"real": REAL, "real_and_synthetic": BOTH}.get(arm, SYNTHETIC)
            axis.plot(arms[arm], [row] * len(arms[arm]), "o", color=colour, markersize=7, alpha=0.7)
        if observer is not None:
            axis.axvline(observer, color="black", linestyle=":", linewidth=1.2)
            axis.text(observer, -0.75, "second person ", ha="right", va="center", fontsize="small")
        axis.set(
            title=title, yticks=range(len(labels)), yticklabels=labels, ylim=(len(labels) - 0.5, -1.1), xlabel="F1"
        )
        axis.title.set_fontsize("medium")
        axis.grid(axis="x", alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0.15)
    return figure


def accuracies(tasks):
    """Accuracy of each model and arm with its interval, one panel a task.

    Args:
      tasks: {task: {model: {arm: {"accuracy": {"mean", "interval"}}}}}, as in report.json.
    """
    arms = (("real", REAL, "o"), ("synthetic", SYNTHETIC, "s"), ("real_and_synthetic", BOTH, "^"))
    models = [model for model in MODELS if all(model in scores for scores in tasks.values())]
    figure = _figure(0.9 + 0.5 * len(models))
    axes = figure.subplots(1, len(tasks), squeeze=False, sharey=True)[0]
    for axis, (task, scores) in zip(axes, tasks.items()):
        for offset, (arm, colour, marker) in zip((-0.22, 0, 0.22), arms):
            entries = [scores[model][arm]["accuracy"] for model in models]
            rows, means = [row + offset for row in range(len(models))], [entry["mean"] for entry in entries]
            for row, entry in zip(rows, entries):
                axis.plot(entry["interval"], [row, row], "-", color=colour, linewidth=1.3)
            axis.plot(means, rows, marker, color=colour, markersize=6, label=ARMS[arm])
        axis.set(
            title=task,
            yticks=range(len(models)),
            yticklabels=[MODELS[model] for model in models],
            xlabel="accuracy",
        )
        axis.set_ylim(len(models) - 0.5, -0.5)
        axis.title.set_fontsize("medium")
        axis.grid(axis="x", alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, title="learned from"
    )
    return figure


def class_counts(sets):
    """How many samples of each class a set has, as bars.

    Args:
      sets: {"real", "synthetic": {class name: count}}; the classes are those of all sets.
    """
    names = [*dict.fromkeys(name for counts in sets.values() for name in counts)]
    figure = _figure(0.9 + (0.16 + 0.14 * len(sets)) * len(names))
    axis = figure.add_subplot()
    height = 0.8 / len(sets)
    for place, (label, counts) in enumerate(sets.items()):
        rows = [row + (place - (len(sets) - 1) / 2) * height for row in range(len(names))]
        bars = axis.barh(
            rows,
            [counts.get(name, 0) for name in names],
            height,
            color={"real": REAL}.get(label, SYNTHETIC),
            label=label,
        )
        axis.bar_label(bars, padding=3, fontsize="small")
    labels = [name if len(name) <= 40 else name[:39] + "…" for name in names]
    axis.set(yticks=range(len(names)), yticklabels=labels, ylim=(len(names) - 0.5, -0.5), xlabel="images")
    axis.margins(x=0.1)
    for text in axis.get_yticklabels():
        text.set_parse_math(False)  # names come from files: a $ is a $
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def _overlay(ours, theirs):
    """[height, width, 3] uint8: white ground, the generated mask in one colour, the training mask in another,
    both black.
    """
    picture = np.full((*ours.shape, 3), 255, np.uint8)
    for where, colour in ((ours, SYNTHETIC), (theirs, REAL), (ours & theirs, "#000000")):
        picture[where] = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return picture


def _show(axis, picture, title=None):
    picture = (picture >> 8).astype(np.uint8) if picture.dtype == np.uint16 else picture
    if picture.shape[2] == 1:
        picture = np.repeat(picture, 3, axis=2)
    axis.imshow(picture, interpolation="antialiased")
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    if title:
        axis.set_title(title, fontsize="small")


def _figure(height):
    from matplotlib.figure import Figure  # without pyplot: the Agg canvas, no display, no global state

    return Figure(figsize=(WIDTH, height), layout="constrained")
