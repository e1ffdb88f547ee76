"""Histology phantoms: tiles of lymph nodes stained with haematoxylin and eosin, normal or with tumour. No download.

Normal tiles hold lymphocytes (small, round, dark, packed), now and then the larger pale cells of a germinal centre;
tumour tiles a nest of large pale irregular nuclei with cytoplasm, lymphocytes around it. Both hold connective tissue
and gaps. Stain, focus and section thickness differ from slide to slide, and each slide has as many tiles of either
class, so that colour does not tell the classes apart. Absorbance adds up (Beer-Lambert). Lengths are pixels of about a
micrometre. Fitted by eye to PCam (Veeling et al. 2018).
"""

from typing import NamedTuple

import numpy as np

from synthmed_tf.datasets.files import Entry
from synthmed_tf.sample import Sample

VERSION = 1  # part of the fingerprint of prepared sets: raise it whenever a pixel of any tile changes
TILES_PER_SLIDE = 40  # 20 normal, 20 with tumour
TRAINING_SLIDES, TEST_SLIDES = 10, 5
COUNT = (TRAINING_SLIDES + TEST_SLIDES) * TILES_PER_SLIDE
SIZE = 96  # pixels, as in PCam
CLASSES = ("normal", "tumour")
SEED = 20180921  # all randomness is a function of (SEED, slide, 0) for the stain and of (SEED, tile, 1) for the tile
HAEMATOXYLIN = np.array([0.65, 0.70, 0.29])  # Ruifrok & Johnston 2001, absorbance in red, green, blue
EOSIN = np.array([0.07, 0.99, 0.11])  # Ruifrok & Johnston 2001


class Stain(NamedTuple):
    """How a slide was made and scanned."""

    haematoxylin: np.ndarray  # [3] absorbance of a dark nucleus
    eosin: np.ndarray  # [3] absorbance of dense connective tissue
    light: np.ndarray  # [3] grey of empty glass
    blur: float  # pixels


class Kind(NamedTuple):
    """Cells of one kind. Ranges are (least, most)."""

    radius: tuple[float, float]  # of the nucleus
    room: float  # centres are at least this many radii apart
    stretch: tuple[float, float]  # length / width of the nucleus
    rough: float  # how far the outline strays from an ellipse, relative to the radius
    dark: tuple[float, float]  # haematoxylin within the nucleus
    clumps: float  # contrast of the chromatin
    rim: float  # contrast of the nuclear membrane
    nucleolus: float
    cytoplasm: tuple[float, float]  # eosin around the nucleus


LYMPHOCYTE = Kind((2.9, 3.7), 1.95, (1.0, 1.25), 0.04, (0.75, 1.10), 0.30, 0.0, 0.0, (0.10, 0.25))
CENTROBLAST = Kind((3.7, 5.2), 2.15, (1.0, 1.35), 0.05, (0.40, 0.75), 0.40, 0.25, 0.3, (0.20, 0.40))
TUMOUR = Kind((4.0, 7.4), 2.20, (1.0, 1.70), 0.07, (0.28, 0.75), 0.45, 0.30, 0.6, (0.25, 0.55))
MITOSIS = Kind((2.8, 3.8), 3.50, (1.8, 3.0), 0.15, (1.20, 1.50), 0.20, 0.0, 0.0, (0.10, 0.20))
FIBROBLAST = Kind((2.2, 3.2), 4.00, (1.8, 3.20), 0.04, (0.65, 1.00), 0.20, 0.0, 0.0, (0.30, 0.50))


def list_entries(data_dir):
    """Lists the tiles without drawing them, normal and tumour in turn. data_dir is not read.

    Returns:
      list of Entry; group is the slide, label "normal" or "tumour".
    """
    entries = []
    for tile in range(COUNT):
        slide = tile // TILES_PER_SLIDE
        entries.append(
            Entry(
                id=f"phantom_histology_{tile:03d}",
                group=f"slide_{slide:02d}",
                split="train" if slide < TRAINING_SLIDES else "test",
                image=None,
                label=CLASSES[tile % 2],
            )
        )
    return entries


def read_entry(entry, split):
    """Draws the tile of an Entry. Returns: Sample with image [96, 96, 3] uint8."""
    return Sample(id=entry.id, image=draw_tile(int(entry.id[-3:])), label=entry.label, group=entry.group, split=split)


def draw_stain(slide):
    """Draws the stain of a slide: how strong, how blue or red, on which glass, in which focus."""
    rng = np.random.default_rng([SEED, slide, 0])
    haematoxylin = HAEMATOXYLIN * rng.uniform(1.5, 2.1) * rng.uniform([0.9, 0.95, 0.7], [1.15, 1.05, 1.7])
    eosin = EOSIN * rng.uniform(0.55, 0.95) + rng.uniform([0.02, 0, 0.10], [0.10, 0, 0.30])
    return Stain(
        haematoxylin, eosin, rng.uniform(225, 248) * rng.uniform([0.98] * 3, [1.0] * 3), rng.uniform(0.35, 0.75)
    )


def draw_tile(tile):
    """Draws a tile, a pure function of its number: even numbers are normal, odd ones tumour.

    Returns:
      [96, 96, 3] uint8, empty glass bright.
    """
    from scipy import ndimage

    slide = draw_stain(tile // TILES_PER_SLIDE)
    rng = np.random.default_rng([SEED, tile, 1])
    haematoxylin, eosin = _draw_section(rng, CLASSES[tile % 2])
    thickness = rng.normal(1, 0.08)
    absorbance = thickness * (haematoxylin[..., None] * slide.haematoxylin + eosin[..., None] * slide.eosin)
    sharpness = slide.blur * rng.uniform(0.85, 1.2)
    absorbance = ndimage.gaussian_filter(absorbance, (sharpness, sharpness, 0), truncate=3)
    image = slide.light * np.exp(-absorbance) + rng.normal(0, 2.0, absorbance.shape)
    return np.round(np.clip(image, 0, 255)).astype(np.uint8)


def _draw_clouds(rng, cell):
    """Smooth noise [96, 96] of unit variance with features of about `cell` pixels."""
    from scipy import ndimage

    field = ndimage.gaussian_filter(rng.standard_normal((SIZE, SIZE)), cell / 2, mode="wrap", truncate=3)
    return (field - field.mean()) / field.std()


def _threshold(field, share):
    """Where a field is highest: a region, [96, 96] in {0, 1}, that covers a share of the tile."""
    return field > np.quantile(field, 1 - share) if share > 0 else np.zeros(field.shape, bool)


def _draw_section(rng, label):
    """Amounts of haematoxylin and eosin, two arrays [96, 96], 0 or more."""
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2.0
    # what lies where: a nest of larger cells, a band of connective tissue, gaps
    larger = TUMOUR if label == "tumour" else CENTROBLAST
    share = rng.uniform(0.45, 1.0) if label == "tumour" else max(0.0, rng.uniform(-0.9, 0.8))
    nest = _threshold(_draw_clouds(rng, 30) - (np.hypot(x, y) / 40) ** 2, share)  # PCam: tumour is in the centre
    turn = rng.uniform(0, np.pi)
    across = y * np.cos(turn) - x * np.sin(turn)
    waves = _draw_clouds(rng, 24)
    band = np.abs(across + 6 * waves - rng.uniform(-40, 40)) < max(0.0, rng.uniform(-10, 14))
    gap = _threshold(_draw_clouds(rng, 16) - 1.5 * nest, max(0.0, rng.uniform(-0.15, 0.15)))

    density = rng.uniform(0, 1)
    centres, kinds = _scatter_cells(rng, nest, band, larger, 1.3 - 0.3 * density)
    kept = ~gap[tuple(np.clip(centres.astype(int), 0, SIZE - 1).T)] & (rng.random(len(centres)) < 0.8 + 0.2 * density)
    centres, kinds = centres[kept], [kind for kind, keep in zip(kinds, kept) if keep]
    haematoxylin, eosin = _draw_cells(rng, centres, kinds, turn)

    fibres = np.sin((across + 5 * waves + 1.5 * _draw_clouds(rng, 6)) * rng.uniform(1.2, 1.9)) * 0.25 + 0.75
    eosin = np.where(band, np.maximum(eosin, fibres * rng.uniform(0.6, 1.0)), eosin)
    eosin = np.maximum(eosin * (1 + 0.3 * _draw_clouds(rng, 3)) + 0.06 * _draw_clouds(rng, 10), 0) + 0.03
    empty = gap & (haematoxylin < 0.3)
    return haematoxylin, np.where(empty, 0.02, eosin)


def _scatter_cells(rng, nest, band, larger, spread):
    """Throws cells until none fits any more: centres [n, 2] (row, column) and the Kind of each."""
    from scipy.spatial.distance import cdist

    margin, tries = 6, 800
    places = rng.uniform(-margin, SIZE + margin, (tries, 2))
    rows, columns = np.clip(places.astype(int), 0, SIZE - 1).T
    in_nest, in_band, chance = nest[rows, columns], band[rows, columns], rng.random(tries)
    distances = np.empty(tries)
    kinds = []
    for number in range(tries):
        kind = LYMPHOCYTE
        if in_band[number]:
            kind = FIBROBLAST
        elif in_nest[number] and chance[number] > 0.12:  # the others are lymphocytes that strayed into the nest
            kind = MITOSIS if larger is TUMOUR and chance[number] > 0.98 else larger
        kinds.append(kind)
        distances[number] = kind.room * sum(kind.radius) / 2 * spread
    close = cdist(places, places) < (distances[:, None] + distances) / 2
    alive, chosen = np.ones(tries, bool), []
    for number in range(tries):
        if alive[number]:
            chosen.append(number)
            alive &= ~close[number]
    return places[chosen], [kinds[number] for number in chosen]


def _draw_cells(rng, centres, kinds, turn):
    """Draws cells: haematoxylin and eosin [96, 96]. Each pixel belongs to the nucleus into which it lies deepest."""
    from scipy.spatial import cKDTree

    draw = {
        name: np.array([rng.uniform(*getattr(kind, name)) for kind in kinds])
        for name in ("radius", "stretch", "dark", "cytoplasm")
    }
    fixed = {
        name: np.array([getattr(kind, name) for kind in kinds]) for name in ("rough", "clumps", "rim", "nucleolus")
    }
    fibrous = np.array([kind is FIBROBLAST for kind in kinds])
    angle = np.where(fibrous, turn + rng.normal(0, 0.2, len(kinds)), rng.uniform(0, np.pi, len(kinds)))
    waves = rng.normal(size=(2, len(kinds))) + 1j * rng.normal(size=(2, len(kinds)))  # two and three lobes
    waves *= fixed["rough"]
    offset = rng.normal(0, 0.3, len(kinds)) + 1j * rng.normal(0, 0.3, len(kinds))

    pixels = np.stack(np.mgrid[:SIZE, :SIZE], -1).reshape(-1, 2).astype(float)
    distance, nearest = cKDTree(centres).query(pixels, 2)
    delta = (pixels[:, None] - centres[nearest]) @ [1j, 1]
    delta *= np.exp(-1j * angle)[nearest]
    root = np.sqrt(draw["stretch"])[nearest]
    place = delta.real / root + 1j * delta.imag * root  # within the ellipse made round
    rho, radius = np.abs(place), draw["radius"][nearest]
    unit = place / np.maximum(rho, 1e-6)
    depth = radius * (1 + (waves[0, nearest] * unit * unit + waves[1, nearest] * unit * unit * unit).real) - rho
    best = depth.argmax(1)[:, None]
    cell = np.take_along_axis(nearest, best, 1)[:, 0]
    depth, place, radius = (np.take_along_axis(values, best, 1)[:, 0] for values in (depth, place, radius))

    clumps = _draw_clouds(rng, 2.2).ravel()
    chromatin = draw["dark"][cell] * (1 + fixed["clumps"][cell] * 0.5 * clumps)
    chromatin += fixed["rim"][cell] * np.exp(-(((depth - 0.8) / 0.7) ** 2))
    chromatin += fixed["nucleolus"][cell] * np.exp(-((np.abs(place - offset[cell] * radius) / 1.1) ** 2))
    haematoxylin = np.clip(depth + 0.5, 0, 1) * np.maximum(chromatin, 0.1)

    border = np.exp(-(((distance[:, 1] - distance[:, 0]) / 1.2) ** 2))  # cells part where two centres are equally near
    eosin = draw["cytoplasm"][cell] * (1 - 0.35 * border) * np.exp(-np.maximum(-depth - radius, 0) / 6)
    return haematoxylin.reshape(SIZE, SIZE), eosin.reshape(SIZE, SIZE)
