"""Fundus phantoms: retinal photographs grown from a branching vessel model, with their vessel masks. No download.

The vessels obey Murray's law of radii (Murray 1926, The physiological principle of minimum work I, PNAS 12:207) and of
angles (Murray 1926, ... applied to the angle of branching of arteries, J. Gen. Physiol. 9:835). Lengths are pixels;
points are (x, y), pixel [row, column] having its centre at (column, row). Colours, sizes and the vessel area (an eighth
of the field of view) are fitted by eye to DRIVE (Staal et al. 2004).
"""

import dataclasses
import heapq
import itertools
import math
from typing import NamedTuple

import numpy as np

from synthmed_tf.datasets.files import Entry
from synthmed_tf.sample import Sample

VERSION = 1  # part of the fingerprint of prepared sets: raise it whenever a pixel of any phantom changes
COUNT = 40  # 20 to train on, 20 to test on, as in DRIVE
HEIGHT, WIDTH = 288, 280  # about half of DRIVE's 584 x 565
FIELD_RADIUS = 133.0  # DRIVE: 540 of 565 pixels wide
CENTRE = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
SEED = 20170906  # all randomness is a function of (SEED, index, stage): 0 anatomy, 1 vessels, 2 photograph
STEP = 2.0  # length of one step of growth
THINNEST = 0.55  # smallest radius: a vessel about one pixel wide
REACH = 13.0  # vessels feel their neighbours up to this distance


class Anatomy(NamedTuple):
    """The landmarks of one eye. side is the direction from the disc to the fovea along x: 1 right, -1 left."""

    side: int
    disc: np.ndarray  # (x, y)
    disc_radius: float
    fovea: np.ndarray  # (x, y)


class Branch(NamedTuple):
    """A vessel between two branchings. parent is an index into the list of branches, -1 in the optic disc."""

    kind: str  # "artery" or "vein"
    parent: int
    radius: float
    points: np.ndarray  # [n, 2], n >= 2, outwards, the first one being the parent's last


def draw_anatomy(index: int) -> Anatomy:
    """Draws the landmarks of phantom `index`. In a 45 degree photograph disc and fovea are 0.7 field radii apart."""
    rng = np.random.default_rng([SEED, index, 0])
    side = 1 if rng.random() < 0.5 else -1
    disc = CENTRE + FIELD_RADIUS * np.array([-side * rng.uniform(0.62, 0.80), rng.uniform(-0.10, 0.10)])
    fovea = disc + FIELD_RADIUS * np.array([side * rng.uniform(0.66, 0.78), rng.uniform(0.02, 0.10)])
    return Anatomy(side, disc, FIELD_RADIUS * rng.uniform(0.135, 0.17), fovea)


def compute_murray_angles(parent: float, first: float, second: float) -> tuple[float, float]:
    """Angles in radians, both positive, by which daughters of these radii turn off to either side (Murray 1926)."""
    cosines = [(parent**4 + a**4 - b**4) / (2 * parent**2 * a**2) for a, b in ((first, second), (second, first))]
    return math.acos(min(1.0, cosines[0])), math.acos(min(1.0, cosines[1]))


def grow_vessels(index: int) -> list[Branch]:
    """Grows the arteries and veins of phantom `index` from the disc to the rim, the thickest vessel first.

    Every branching has two daughters with r0^3 = r1^3 + r2^3, whose first steps turn off by `compute_murray_angles`. In between
    a vessel turns by a smoothed random walk (its tortuosity), towards its course and away from its neighbours. It ends
    at the rim, at the fovea, at the horizontal raphe, before a vessel of its own kind, or when too thin to branch.
    """
    rng = np.random.default_rng([SEED, index, 1])
    eye = draw_anatomy(index)
    mirror = np.array([eye.side, 1])  # growth happens in an eye whose fovea is to the right of its disc at (0, 0)
    (rim_x, rim_y), (fovea_x, fovea_y) = (CENTRE - eye.disc) * mirror, (eye.fovea - eye.disc) * mirror
    fovea_radius = rng.uniform(0.09, 0.14) * FIELD_RADIUS
    power = rng.uniform(2.2, 3.2)  # arcades follow |y|^power = k x: the larger, the steeper they rise
    arch = rng.uniform(0.48, 0.66, 2) * FIELD_RADIUS  # height of the superior and inferior arcade above the fovea
    tortuosity = rng.uniform(0.025, 0.075)  # radians a step
    calibre = rng.uniform(0.78, 1.05)
    area, budget = 0.0, rng.uniform(0.085, 0.125) * math.pi * FIELD_RADIUS**2  # once it is spent, branching ends

    branches, queue, order = [], [], itertools.count()
    laid, count = np.zeros((5, 10000)), 0  # x, y, radius, is vein, branch of every point so far

    def plant(kind, parent, radius, start, heading, guide):
        """guide: (sign of y, k) of an arcade, a fixed heading, or None for a vessel that finds its own way."""
        heapq.heappush(queue, (-radius, next(order), kind, parent, radius, start, heading, guide))

    def course(x, y, guide):
        """Heading that a vessel should have at (x, y)."""
        if isinstance(guide, tuple):
            sign, k = guide
            y = max(sign * y, 1.0)
            slope = power * y ** (power - 1)
            offset = (y**power - k * x) / math.hypot(k, slope)
            return sign * (math.atan2(k, slope) - max(-1.0, min(1.0, offset / 15)))
        if guide is not None:
            return guide
        if x > 0 and abs(y) ** power < arch[int(y > 0)] ** power / fovea_x * x:  # within the arcades: towards the raphe
            distance = math.hypot(fovea_x - x, fovea_y - y) + 1e-9
            return math.atan2((fovea_y - y) / distance, (fovea_x - x) / distance + 1.2)
        return math.atan2(y - fovea_y / 2, x - fovea_x / 2)  # outside: towards the rim

    for kind, thick, shift in (("vein", 2.4, rng.uniform(3, 9)), ("artery", 1.8, -rng.uniform(3, 9))):
        for sign, height in zip((-1, 1), arch):
            start = rng.normal(0, 1.5, 2) + [0.3 * shift - 1.5, 0]
            guide = sign, (height + shift + rng.normal(0, 3)) ** power / fovea_x
            plant(kind, -1, thick * calibre * rng.uniform(0.92, 1.08), start, sign * rng.uniform(1.4, 1.9), guide)
            nasal = sign * rng.uniform(2.1, 2.8)
            plant(kind, -1, thick * calibre * rng.uniform(0.45, 0.65), start, nasal, nasal)
            if rng.random() < 0.7:
                plant(kind, -1, rng.uniform(0.65, 0.95), start, sign * rng.uniform(0.3, 0.8), None)

    while queue:
        _, _, kind, parent, radius, (x, y), heading, guide = heapq.heappop(queue)
        me, free, vein = len(branches), guide is None, kind == "vein"
        splits = radius > THINNEST * 2 ** (1 / 3) and area < budget
        length = rng.uniform(14, 38) if splits else rng.uniform(15, 60) if free else 3 * FIELD_RADIUS
        walk = rng.normal(0, tortuosity / math.sqrt(radius), int(length / STEP))
        hemisphere = math.copysign(x > 2 * eye.disc_radius, y - fovea_y)  # temporal vessels stay in theirs
        points, curvature, ended = [(x, y)], 0.0, False
        for step, bend in enumerate(walk):
            if step > 0:  # the first step keeps Murray's angle
                curvature = 0.8 * curvature + bend
                turn = course(x, y, guide) - heading
                turn = curvature + math.atan2(math.sin(turn), math.cos(turn)) * (0.06 if free else 0.25)
                if free:
                    dx, dy = laid[0, :count] - x, laid[1, :count] - y
                    near = np.flatnonzero((dx * dx + dy * dy < REACH**2) & (laid[4, :count] != me))
                    dx, dy, radii, veins, owners = dx[near], dy[near], *laid[2:, near]
                    ahead = dx * math.cos(heading) + dy * math.sin(heading)
                    across = dy * math.cos(heading) - dx * math.sin(heading)
                    distance, alike = np.sqrt(dx * dx + dy * dy) + 0.5, veins == vein
                    turn -= 0.12 * (across / distance**2 * (ahead > -2) * np.where(alike, 1.0, 0.4)).sum()
                    touching = alike & (owners != parent) & (ahead > abs(across)) & (distance < radius + radii + 3.5)
                    if step > 3 and touching.any():
                        ended = True
                        break
                heading += max(-0.35, min(0.35, turn))
            x, y = x + STEP * math.cos(heading), y + STEP * math.sin(heading)
            points.append((x, y))
            laid[:, count] = x, y, radius, vein, me
            count, area = count + 1, area + 2 * radius * STEP
            ended = math.hypot(x - rim_x, y - rim_y) > FIELD_RADIUS - 1 or (
                free and (math.hypot(x - fovea_x, y - fovea_y) < fovea_radius or hemisphere * (y - fovea_y) < -2)
            )
            if ended:
                break
        branches.append(Branch(kind, parent, radius, eye.disc + np.array(points) * mirror))
        if splits and not ended:
            second = min(max(radius * rng.uniform(0.3, 0.75), THINNEST), radius / 2 ** (1 / 3))
            first = (radius**3 - second**3) ** (1 / 3)
            sign = rng.choice((-1, 1))
            turns = compute_murray_angles(radius, first, second)
            plant(kind, me, first, (x, y), heading - sign * turns[0], guide)
            plant(kind, me, second, (x, y), heading + sign * turns[1], None)
    return branches


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
    coverage, depth = _draw(rng, grow_vessels(index))
    return Sample(
        id=f"phantom_{index:02d}",
        image=_photograph(rng, draw_anatomy(index), depth, x, y, from_centre),
        mask=((coverage > 0.5) & inside)[..., None].astype(np.uint8),
        field_of_view=inside[..., None].astype(np.uint8),
        group=f"phantom_{index:02d}",
        split="train" if index < COUNT // 2 else "test",
    )


def _draw(rng, branches):
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


def _clouds(rng, cell):
    """Smooth noise [288, 280] of unit variance with features of about `cell` pixels."""
    from scipy import ndimage

    grid = rng.normal(size=(HEIGHT // cell + 4, WIDTH // cell + 4))
    field = ndimage.zoom(grid, cell, order=2)[cell : cell + HEIGHT, cell : cell + WIDTH]
    return (field - field.mean()) / field.std()


def _photograph(rng, eye, depth, x, y, from_centre):
    """Renders the fundus behind vessels of optical depth [288, 280] as a noisy photograph, [288, 280, 3] uint8.

    Colours are (red, green, blue); everything but the disc multiplies, as absorption and illumination do.
    """
    from scipy import ndimage

    red = rng.uniform(140, 225)
    base = np.array([red, red * rng.uniform(0.43, 0.58), red * rng.uniform(0.24, 0.38)])
    mottle = 0.035 * _clouds(rng, 40) + 0.03 * _clouds(rng, 14) + 0.025 * _clouds(rng, 5)
    choroid = np.exp(-np.abs(_clouds(rng, 12)) * 2.5) * rng.uniform(0.0, 0.12)  # ridges: choroidal pattern
    scene = base * np.exp((mottle + choroid)[..., None] * [0.7, 1.2, 1.3])

    fovea = np.hypot(x - eye.fovea[0], y - eye.fovea[1]) / FIELD_RADIUS
    macula = rng.uniform(0.15, 0.3) * np.exp(-((fovea / 0.30) ** 2))
    macula += rng.uniform(0.25, 0.5) * np.exp(-((fovea / 0.10) ** 2))
    scene *= np.exp(-macula[..., None] * [0.5, 1.0, 0.9])

    # optic disc: pale rim, paler cup; nerve fibres shine in streaks that leave it
    tilt, stretch, cup_share = rng.uniform(-0.3, 0.3), rng.uniform(1.0, 1.15), rng.uniform(0.3, 0.6)
    dx, dy = x - eye.disc[0], y - eye.disc[1]
    a, b = dx * math.cos(tilt) + dy * math.sin(tilt), dy * math.cos(tilt) - dx * math.sin(tilt)
    rho = np.hypot(a * stretch, b) / eye.disc_radius + 0.03 * _clouds(rng, 20)
    cup_rho = np.hypot(a - eye.side * 2.5, b) / (eye.disc_radius * cup_share)
    streaks = np.interp(np.arctan2(dy, dx), np.linspace(-math.pi, math.pi, 90), rng.normal(0, 1, 90))
    fibres = np.exp(-((rho / 2.4) ** 2)) * (0.08 + 0.05 * streaks)
    scene *= np.exp(fibres[..., None] * [0.35, 0.8, 0.6])
    disc, cup = 1 / (1 + np.exp((rho - 1) * 16)), 1 / (1 + np.exp((cup_rho - 1) * 6))
    pale = base * ([1.32, 1.75, 1.5] + cup[..., None] * [0.1, 0.5, 0.9]) * np.exp(0.05 * _clouds(rng, 8))[..., None]
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
