"""Fundus phantoms: retinal photographs drawn around grown vessels, with their vessel masks. No download.

Lengths are pixels; points are (x, y), pixel [row, column] having its centre at (column, row). Colours are fitted by eye
to DRIVE (Staal et al. 2004).
"""

import dataclasses
import math

import numpy as np

from synthmed_tf.datasets.files import Entry
from synthmed_tf.datasets.phantoms.vessels import (
    CENTRE,
    FIELD_RADIUS,
    HEIGHT,
    SEED,
    STEP,
    THINNEST,
    WIDTH,
    draw_anatomy,
    grow_vessels,
)
from synthmed_tf.sample import Sample

VERSION = 1  # part of the fingerprint of prepared sets: raise it whenever a pixel of any phantom changes
COUNT = 40  # 20 to train on, 20 to test on, as in DRIVE


def draw_fundus(index: int) -> Sample:
    """Makes phantom `index` (0 or greater), a pure function of it; below 20 it is a training image, else a test image.

    Returns:
      Sample with image [288, 280, 3] uint8, mask and field_of_view [288, 280, 1] uint8 in {0, 1}. The mask is where
      vessels cover more than half of a pixel, as drawn; the thinnest of them hardly show in the photograph.
    """
    rng = np.random.default_rng([SEED, index, 2])
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    from_centre = np.hypot(x - CENTRE[0], y - CENTRE[1])
    inside = from_centre < FIELD_RADIUS
    coverage, depth = _draw_vessels(rng, grow_vessels(index))
    return Sample(
        id=f"phantom_{index:02d}",
        image=_draw_photograph(rng, draw_anatomy(index), depth, x, y, from_centre),
        mask=((coverage > 0.5) & inside)[..., None].astype(np.uint8),
        field_of_view=inside[..., None].astype(np.uint8),
        group=f"phantom_{index:02d}",
        split="train" if index < COUNT // 2 else "test",
    )


def _draw_vessels(rng, branches):
    """Draws the branches: coverage [288, 280] in [0, 1] and optical depth [288, 280], about 1 in a thick vein."""
    coverage = np.zeros((HEIGHT, WIDTH))
    depths = {"artery": np.zeros((HEIGHT, WIDTH)), "vein": np.zeros((HEIGHT, WIDTH))}
    parents = {branch.parent for branch in branches}
    for number, branch in enumerate(branches):
        visibility = rng.uniform(0.7, 1.1) * (1 - math.exp(-((branch.radius / 1.2) ** 1.3)))
        starts, ends = branch.points[:-1], branch.points[1:]
        tip = branch.radius if number in parents else THINNEST
        radii = np.linspace(branch.radius, tip, len(starts))
        lows = np.maximum(np.minimum(starts, ends) - branch.radius - 1, 0).astype(int)
        highs = np.maximum(np.maximum(starts, ends) + branch.radius + 3, 0).astype(int)
        for (x, y), (ux, uy), radius, (left, top), (right, bottom) in zip(starts, ends - starts, radii, lows, highs):
            box = slice(top, min(bottom, HEIGHT)), slice(left, min(right, WIDTH))
            px, py = np.arange(box[1].start, box[1].stop) - x, np.arange(box[0].start, box[0].stop)[:, None] - y
            along = np.minimum(np.maximum((px * ux + py * uy) / STEP**2, 0), 1)
            distance = np.hypot(px - along * ux, py - along * uy)
            coverage[box] = np.maximum(coverage[box], np.minimum(radius + 0.5 - distance, 1))
            profile = visibility * np.sqrt(np.maximum(1 - (distance / (radius + 0.4)) ** 2, 0))  # of a cylinder
            if branch.kind == "artery":  # paler, and the wider ones with a central reflex
                profile *= 0.72 - 0.35 * (radius > 1) * np.exp(-((distance / (0.4 * radius)) ** 2))
            depths[branch.kind][box] = np.maximum(depths[branch.kind][box], profile)
    return coverage, depths["artery"] + depths["vein"]


def _draw_clouds(rng, cell):
    """Smooth noise [288, 280] of unit variance with features of about `cell` pixels."""
    from scipy import ndimage

    grid = rng.normal(size=(HEIGHT // cell + 4, WIDTH // cell + 4))
    field = ndimage.zoom(grid, cell, order=2)[cell : cell + HEIGHT, cell : cell + WIDTH]
    return (field - field.mean()) / field.std()


def _draw_photograph(rng, eye, depth, x, y, from_centre):
    """Renders the fundus behind vessels of optical depth [288, 280] as a noisy photograph, [288, 280, 3] uint8.

    Colours are (red, green, blue); everything but the disc multiplies, as absorption and illumination do.
    """
    from scipy import ndimage

    red = rng.uniform(140, 225)
    base = np.array([red, red * rng.uniform(0.43, 0.58), red * rng.uniform(0.24, 0.38)])
    mottle = 0.035 * _draw_clouds(rng, 40) + 0.03 * _draw_clouds(rng, 14) + 0.025 * _draw_clouds(rng, 5)
    choroid = np.exp(-np.abs(_draw_clouds(rng, 12)) * 2.5) * rng.uniform(0.0, 0.12)  # ridges: choroidal pattern
    scene = base * np.exp((mottle + choroid)[..., None] * [0.7, 1.2, 1.3])

    fovea = np.hypot(x - eye.fovea[0], y - eye.fovea[1]) / FIELD_RADIUS
    macula = rng.uniform(0.15, 0.3) * np.exp(-((fovea / 0.30) ** 2))
    macula += rng.uniform(0.25, 0.5) * np.exp(-((fovea / 0.10) ** 2))
    scene *= np.exp(-macula[..., None] * [0.5, 1.0, 0.9])

    # optic disc: pale rim, paler cup; nerve fibres shine in streaks that leave it
    tilt, stretch, cup_share = rng.uniform(-0.3, 0.3), rng.uniform(1.0, 1.15), rng.uniform(0.3, 0.6)
    dx, dy = x - eye.disc[0], y - eye.disc[1]
    a, b = dx * math.cos(tilt) + dy * math.sin(tilt), dy * math.cos(tilt) - dx * math.sin(tilt)
    rho = np.hypot(a * stretch, b) / eye.disc_radius + 0.03 * _draw_clouds(rng, 20)
    cup_rho = np.hypot(a - eye.side * 2.5, b) / (eye.disc_radius * cup_share)
    streaks = np.interp(np.arctan2(dy, dx), np.linspace(-math.pi, math.pi, 90), rng.normal(0, 1, 90))
    fibres = np.exp(-((rho / 2.4) ** 2)) * (0.08 + 0.05 * streaks)
    scene *= np.exp(fibres[..., None] * [0.35, 0.8, 0.6])
    disc, cup = 1 / (1 + np.exp((rho - 1) * 16)), 1 / (1 + np.exp((cup_rho - 1) * 6))
    pale = (
        base * ([1.32, 1.75, 1.5] + cup[..., None] * [0.1, 0.5, 0.9]) * np.exp(0.05 * _draw_clouds(rng, 8))[..., None]
    )
    scene += (pale - scene) * (0.93 * disc)[..., None]

    scene *= np.exp(-rng.uniform(0.7, 1.15) * depth[..., None] * [0.30, 0.62, 0.42])

    # illumination: off-centre, browner at the periphery, often a bright crescent at one side of the rim
    light = CENTRE + rng.uniform(-0.4, 0.4, 2) * FIELD_RADIUS
    falloff = (np.hypot(x - light[0], y - light[1]) / FIELD_RADIUS) ** 2
    scene *= 1.06 - falloff[..., None] * rng.uniform(0.12, 0.36) * np.array([1.0, 0.85, 0.75])
    angle = np.arctan2(y - CENTRE[1], x - CENTRE[0]) - rng.uniform(-math.pi, math.pi)
    crescent = np.exp(-(((FIELD_RADIUS - from_centre) / 6) ** 2)) * np.maximum(np.cos(angle), 0) ** 2
    scene *= np.exp(crescent[..., None] * rng.uniform(-0.1, 0.4) * np.array([0.4, 1.0, 1.0]))
    aperture = np.clip((FIELD_RADIUS - from_centre) / 2.5 + 0.5, 0, 1)[..., None]  # slightly soft rim
    scene = scene * aperture + np.array([6.0, 4.0, 5.0])

    sharpness = rng.uniform(0.4, 0.75)
    scene = ndimage.gaussian_filter(scene, (sharpness, sharpness, 0))
    noise = rng.normal(0, rng.uniform(2.0, 3.5), (HEIGHT, WIDTH, 1)) + rng.normal(0, 1.0, (HEIGHT, WIDTH, 3))
    chroma = ndimage.gaussian_filter(rng.normal(0, 6.0, (HEIGHT, WIDTH, 2)), (2, 2, 0))  # as JPEG leaves it
    noise += chroma @ np.array([[1.0, -0.4, -0.3], [-0.3, -0.2, 1.2]])
    return np.clip(np.round(scene + noise * (0.25 + 0.75 * aperture)), 0, 255).astype(np.uint8)


def list_entries(data_dir):
    """Lists the 40 phantoms without drawing them, 20 train and then 20 test. data_dir is not read."""
    ids = [f"phantom_{index:02d}" for index in range(COUNT)]
    return [Entry(id, id, "train" if index < COUNT // 2 else "test", None) for index, id in enumerate(ids)]


def read_entry(entry, split):
    """Draws the phantom of an Entry."""
    return dataclasses.replace(draw_fundus(int(entry.id[-2:])), split=split)
