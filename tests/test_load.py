"""What is loaded comes in order, whole, and once."""

import numpy as np
import pytest
from PIL import Image
from raw_sets import load, make_classes, refused, save, save_pair

from synthmed_tf.datasets.fingerprint import fingerprint_set
from synthmed_tf.datasets.load import load_samples
from synthmed_tf.datasets.sources import check_set
from synthmed_tf.datasets.split import split_entries
from synthmed_tf.sample import InputError, UnreadableImage


@pytest.fixture
def own(tmp_path):
    """A folder of one's own with seven pairs."""
    folder = tmp_path / "own"
    for stem in "abcdefg":
        save_pair(folder, stem)
    return folder


def test_mixed_kinds_of_images(own):
    save(own / "images" / "c.png", np.zeros((24, 20), np.uint8))
    refused(["images/c.png", "8-bit grey", "8-bit colour"], own)


def test_skip_bad_files_counts_them_in_one_warning(own):
    for stem in "ab":
        path = own / "images" / f"{stem}.png"
        path.write_bytes(path.read_bytes()[:200])
    (own / "masks" / "c.png").write_bytes(b"no image")
    refused("cannot be read", own)
    with pytest.warns(UserWarning) as caught:
        samples = list(load_samples(str(own), "", skip_bad_files=True))
    assert sorted(sample.id for sample in samples) == ["d", "e", "f", "g"]
    assert len(caught) == 1 and "3 unreadable files" in str(caught[0].message) and "a.png" in str(caught[0].message)
    for path in (own / "images").iterdir():
        path.write_bytes(b"")
    with pytest.warns(UserWarning, match="7 unreadable"), pytest.raises(InputError, match="none of its 7"):
        list(load_samples(str(own), "", skip_bad_files=True))


def test_copies_do_not_straddle_the_split(own):
    e = np.asarray(Image.open(own / "images" / "e.png"))  # e is the test sample
    save(own / "images" / "a.png", e)  # its image, another mask
    save(own / "masks" / "b.png", np.asarray(Image.open(own / "masks" / "e.png")))  # its mask, another image
    save(own / "images" / "c.tif", e)  # its image and mask, in another format
    (own / "images" / "c.png").unlink()
    save(own / "masks" / "c.png", np.asarray(Image.open(own / "masks" / "e.png")) // 255)
    for folder in ("images", "masks"):  # a repeat within the training split
        save(own / folder / "g.png", np.asarray(Image.open(own / folder / "f.png")))
    with pytest.warns(UserWarning, match="4 copies"):
        samples = list(load_samples(str(own), ""))
    assert [(sample.id, sample.split) for sample in samples] == [("e", "test"), ("d", "train"), ("f", "train")]


def test_empty_masks_are_no_copies(own):
    for stem in "aeg":
        save(own / "masks" / f"{stem}.png", np.zeros((24, 20), np.uint8))
    assert len(load(own)) == 7


def test_loading_is_lazy(own):
    (own / "images" / "g.png").write_bytes(b"broken")
    samples = load_samples(str(own), "")
    assert next(samples).id == "e"
    with pytest.raises(UnreadableImage):
        list(samples)


def test_phantom_is_always_there(tmp_path):
    check_set("phantom", tmp_path)
    assert fingerprint_set("phantom", tmp_path) == fingerprint_set("phantom", tmp_path / "other")
    sample = next(iter(load_samples("phantom", tmp_path)))
    assert sample.split == "train" and sample.mask.any() and sample.field_of_view.any()


def test_copies_do_not_straddle_the_split_of_classes(tmp_path):
    make_classes(tmp_path)
    test = [entry for entry in split_entries(str(tmp_path), "") if entry.split == "test"]
    train = next(entry for entry in split_entries(str(tmp_path), "") if entry.split == "train")
    train.image.path.write_bytes(test[0].image.path.read_bytes())
    with pytest.warns(UserWarning, match="1 copies"):
        samples = list(load_samples(str(tmp_path), ""))
    assert train.id not in {sample.id for sample in samples} and test[0].id in {sample.id for sample in samples}
