"""The lines that tell what was seen in a set."""

from synthmed_tf.datasets.files import Entry, File
from synthmed_tf.datasets.inspect import ImageFacts, MaskFacts, Seen
from synthmed_tf.datasets.plan import Description
from synthmed_tf.datasets.summary import summarise
from synthmed_tf.images.pixel_range import PixelRange


def make_seen(index, split="train", width=60, digest=None, levels=(0, 255), bright=0.1, **given):
    entry = Entry(str(index), given.pop("group", str(index)), split, File(f"{index}.png", None, None), **given)
    image = ImageFacts(40, width, 3, 8, 0, 250, 1, 240, digest or str(index), None)
    return Seen(entry, image, MaskFacts(list(levels), bright, "", None) if levels else None)


def tell(seen, names=None, pixel_range=(0, 255), data="own"):
    entries = [one.entry for one in seen]
    counts = {split: sum(entry.split == split for entry in entries) for split in ("train", "test")}
    described = Description(counts, names, False, "none", "every fifth group")
    lines = summarise(data, "own", entries, described, seen, PixelRange(*pixel_range))
    assert len(lines) <= 10
    return {line.split()[0]: " ".join(line.split()[1:]) for line in lines}


def test_pairs():
    told = tell([*(make_seen(index) for index in range(4)), make_seen(4, "test", width=50, bright=0.3, levels=(0, 1))])
    assert told == {
        "looked": "at 5 of 5 images of own",
        "split": "4 train, 1 test; every fifth group",
        "sizes": "2 sizes from 50x40 to 60x40 pixels, 4 images of 60x40",
        "pixels": "8-bit colour",
        "range": "pixels are 0 to 250 of 255, and stay as they are (factor 1)",
        "masks": "levels 0 and 255 in 4 files, 0 and 1 in 1 files; the brighter, foreground, covers 14.0% (10.0% to "
        "30.0%)",
        "groups": "each image alone: no column names patients",
        "content": "0 images of one value, 0 masks empty, 0 full",
        "copies": "0 images repeat another one",
    }


def test_dark_foreground_groups_and_copies():
    seen = [make_seen(0, is_dark_foreground=True, group="p", group_column="pid", digest="same")]
    seen += [make_seen(1, "test", is_dark_foreground=True, group="q", group_column="pid", digest="same")]
    told = tell([*seen, make_seen(2, is_dark_foreground=True, group="p", group_column="pid", bright=0.0, levels=[0])])
    assert told["groups"] == "2, by 'pid'" and "the darker, foreground, covers 93.3%" in told["masks"]
    assert told["copies"] == "1 images repeat another one, 1 of them in training and test"
    assert told["content"] == "0 images of one value, 0 masks empty, 1 full"
    told = tell([make_seen(index, group=str(index // 2)) for index in range(4)], data="nih")
    assert told["groups"] == "2, by the names that the set gives"


def test_classes():
    few = [make_seen(index, "train" if index else "test", levels=None, label="ab"[index % 2]) for index in range(5)]
    assert tell(few, ["a", "b"])["classes"] == "a 2 + 1, b 2 + 0 (training + test); without test images: b"
    many = [make_seen(index, levels=None, label=f"c{index % 6}") for index in range(9)]
    told = tell(many, [f"c{index}" for index in range(6)])
    assert told["classes"] == "6 of 1 to 2 + 0 to 0 (training + test); without test images: c0, c1, c2, ..."
    assert "masks" not in told
