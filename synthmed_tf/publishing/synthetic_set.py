"""A trained generator -> the Samples of a synthetic set, and what its manifest says of where it comes from."""

import dataclasses
import itertools
from fractions import Fraction

import numpy as np

from synthmed_tf.images.field_of_view import estimate_field_of_view
from synthmed_tf.papers import hash_filter
from synthmed_tf.sample import Sample
from synthmed_tf.smalldata import pixel_noise
from synthmed_tf.training.sampler import CHUNK


def draw(sampler, target, with_view=False, label=None):
    """Samples 0, 1, 2, ... of a generator, endless.

    Args:
      sampler: training.sampler.Sampler.
      target: "mask" or "image".
      with_view: estimate each photograph's field of view from the photograph itself; no real one is ever copied.
      label: (number of the class, its name) of the samples; None: they have none.

    Yields:
      Sample; number i is a function of (seed, class, i) alone.
    """
    number, name = label or (None, None)
    for first in itertools.count(0, CHUNK):
        for place, picture in enumerate(sampler.draw(range(first, first + CHUNK), number)):
            view = estimate_field_of_view(picture) if with_view else None
            parts = {target: picture, "field_of_view": view, "label": name}
            yield Sample(id=f"synthetic-{first + place:06d}", **parts, seed=sampler.seed)


def draw_labelled(samplers, real, *, shares, with_hash_filter, with_pixel_noise, tally, rejected, with_view=False):
    """Samples of a labelled set, endless: their classes come in `order_classes`, each class from candidates of its own.

    Args:
      samplers: {class name: Sampler}, in the order of the classes; a class-conditional one stands there for each.
      real: sequence of labelled training Samples.
      shares: {class name: share}, classes without real samples left out.
      with_hash_filter: regenerate what the hash filter rejects (P2 § 3.2).
      with_pixel_noise: add noise where it makes images more like real ones, see `pixel_noise.add`.
      tally: dict that gets "candidates", "rejected", "too_far" and "rate", over all and in "classes" for each class.
      rejected: list that gets some rejected Samples.
      with_view: see `draw`.

    Yields:
      Samples with a label; number i does not depend on how many are drawn.
    """
    members = {name: [sample for sample in real if sample.label == name] for name in shares}
    nothing = {"candidates": 0, "rejected": 0, "too_far": 0, "rate": 0.0}
    tally |= nothing | {"classes": {name: dict(nothing) for name in shares}}
    streams = {
        name: draw(sampler, "image", with_view, (number, name))
        for number, (name, sampler) in enumerate(samplers.items())
        if name in shares
    }
    if with_pixel_noise:
        streams = pixel_noise.add_noise(streams, members, next(iter(samplers.values())).seed)
    if with_hash_filter:
        for name in streams:
            hashes = np.stack([hash_filter.compute_hash(sample.image) for sample in members[name]])
            streams[name] = hash_filter.keep_similar(streams[name], hashes, [tally, tally["classes"][name]], rejected)
    for index, name in enumerate(order_classes(shares)):
        yield dataclasses.replace(next(streams[name]), id=f"synthetic-{index:06d}")


def count_shares(real, is_balanced):
    """{class: how many real samples it has, or 1 for each}, in the order of their names in the records."""
    counts = {name: sum(sample.label == name for sample in real) for name in real.class_names}
    return {name: 1 if is_balanced else count for name, count in counts.items() if count}


def order_classes(shares):
    """Endless order of classes in which every prefix of n has each class n times its share, to less than one.

    Tijdeman 1980, "The chairman assignment problem": of the classes that may come without running ahead, the one whose
    time is up first. After as many as the shares sum up to, or a multiple, the numbers are exact.

    Args:
      shares: {class name: positive int}, in any unit.
    """
    total, slack = sum(shares.values()), Fraction(1, 2 * len(shares) - 2) if len(shares) > 1 else Fraction(1)
    shares = {name: Fraction(share, total) for name, share in shares.items()}
    drawn = dict.fromkeys(shares, 0)
    for n in itertools.count(1):
        allowed = [name for name in shares if shares[name] * n - drawn[name] >= slack]
        name = min(allowed, key=lambda name: (drawn[name] + 1 - slack) / shares[name])
        drawn[name] += 1
        yield name


def paint(painter, masks, with_view):
    """Photographs for masks: number i is a function of (its mask, seed, i) alone.

    Args:
      painter: function (mask, index) -> photograph.
      masks: iterable of Samples with masks, from index 0 on.
      with_view: estimate each photograph's field of view from the photograph itself.

    Yields:
      Sample with an image, a mask, and a field of view where asked for. What of the mask lies outside of it is left
      out, as photographs of another set than the masks' may show less of the eye.
    """
    for index, sample in enumerate(masks):
        photograph = painter(sample.mask, index)
        if not with_view:
            yield dataclasses.replace(sample, image=photograph)
            continue
        view = estimate_field_of_view(photograph)
        yield dataclasses.replace(sample, image=photograph, mask=sample.mask * view, field_of_view=view)


def describe_real(manifest):
    """What a synthetic set's manifest says of the real set: nothing of a single image, no path, no file name."""
    keys = ("name", "counts", "image_size", "channels", "fields_of_view", "test_split", "holdout")
    optional = ("labels", "group_column", "chest_xrays", "mask_foreground", "class_counts")
    return {key: manifest[key] for key in keys} | {key: manifest[key] for key in optional if key in manifest}
