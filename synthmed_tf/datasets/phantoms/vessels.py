"""Vessels of the fundus phantoms, grown from the optic disc to the rim of the field of view.

They obey Murray's law of radii (Murray 1926, The physiological principle of minimum work I, PNAS 12:207) and of angles
(Murray 1926, ... applied to the angle of branching of arteries, J. Gen. Physiol. 9:835). Lengths are pixels; points
are (x, y), pixel [row, column] having its centre at (column, row). Sizes and the vessel area (an eighth of the field of
view) are fitted by eye to DRIVE (Staal et al. 2004).
"""

import heapq
import itertools
import math
from typing import NamedTuple

import numpy as np

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


class _Vessel(NamedTuple):
    """A vessel that is to grow. The one with the least `order` grows first: the thickest, then the first planted."""

    order: tuple[float, int]
    kind: str
    parent: int
    radius: float
    start: tuple[float, float]
    heading: float  # radians
    guide: tuple[int, float] | float | None  # (sign of y, k) of an arcade, a fixed heading, or None: its own way


def grow_vessels(index: int) -> list[Branch]:
    """Grows the arteries and veins of phantom `index` from the disc to the rim, the thickest vessel first.

    Every branching has two daughters with r0^3 = r1^3 + r2^3, whose first steps turn off by `compute_murray_angles`.
    In between a vessel turns by a smoothed random walk (its tortuosity), towards its course and away from its
    neighbours. It ends at the rim, at the fovea, at the horizontal raphe, before a vessel of its own kind, or when too
    thin to branch.
    """
    tree = _Tree(index)
    tree.plant_trunks()
    while tree.queue:
        tree.grow(heapq.heappop(tree.queue))
    return tree.branches


class _Tree:
    """The vessels of one eye while they grow, in a frame with the disc at (0, 0) and the fovea to the right of it."""

    def __init__(self, index):
        self.rng = rng = np.random.default_rng([SEED, index, 1])
        self.eye = eye = draw_anatomy(index)
        self.mirror = np.array([eye.side, 1])
        self.rim = (CENTRE - eye.disc) * self.mirror
        self.fovea = (eye.fovea - eye.disc) * self.mirror
        self.fovea_radius = rng.uniform(0.09, 0.14) * FIELD_RADIUS
        self.power = rng.uniform(2.2, 3.2)  # arcades follow |y|^power = k x: the larger, the steeper they rise
        self.arch = rng.uniform(0.48, 0.66, 2) * FIELD_RADIUS  # height of upper and lower arcade above the fovea
        self.tortuosity = rng.uniform(0.025, 0.075)  # radians a step
        self.calibre = rng.uniform(0.78, 1.05)
        self.area = 0.0
        self.budget = rng.uniform(0.085, 0.125) * math.pi * FIELD_RADIUS**2  # once it is spent, branching ends
        self.branches, self.queue, self.counter = [], [], itertools.count()
        self.laid, self.count = np.zeros((5, 10000)), 0  # x, y, radius, is vein, branch of every point so far

    def plant(self, kind, parent, radius, start, heading, guide):
        order = -radius, next(self.counter)
        heapq.heappush(self.queue, _Vessel(order, kind, parent, radius, start, heading, guide))

    def plant_trunks(self):
        """Plants what leaves the disc: two arcades of either kind, vessels to the nose and to the fovea."""
        rng = self.rng
        for kind, thick, shift in (("vein", 2.4, rng.uniform(3, 9)), ("artery", 1.8, -rng.uniform(3, 9))):
            for sign, height in zip((-1, 1), self.arch):
                start = rng.normal(0, 1.5, 2) + [0.3 * shift - 1.5, 0]
                guide = sign, (height + shift + rng.normal(0, 3)) ** self.power / self.fovea[0]
                radius = thick * self.calibre * rng.uniform(0.92, 1.08)
                self.plant(kind, -1, radius, start, sign * rng.uniform(1.4, 1.9), guide)
                nasal = sign * rng.uniform(2.1, 2.8)
                self.plant(kind, -1, thick * self.calibre * rng.uniform(0.45, 0.65), start, nasal, nasal)
                if rng.random() < 0.7:
                    self.plant(kind, -1, rng.uniform(0.65, 0.95), start, sign * rng.uniform(0.3, 0.8), None)

    def grow(self, vessel):
        """Grows a vessel to its end or to its branching, and plants its daughters."""
        rng, radius, heading, (x, y) = self.rng, vessel.radius, vessel.heading, vessel.start
        is_free = vessel.guide is None
        splits = radius > THINNEST * 2 ** (1 / 3) and self.area < self.budget
        length = rng.uniform(14, 38) if splits else rng.uniform(15, 60) if is_free else 3 * FIELD_RADIUS
        bends = rng.normal(0, self.tortuosity / math.sqrt(radius), int(length / STEP))
        hemisphere = math.copysign(x > 2 * self.eye.disc_radius, y - self.fovea[1])  # temporal vessels stay in theirs
        points, curvature, has_ended = [(x, y)], 0.0, False
        for step, bend in enumerate(bends):
            if step > 0:  # the first step keeps Murray's angle
                curvature = 0.8 * curvature + bend
                turn = self.find_course(x, y, vessel.guide) - heading
                turn = curvature + math.atan2(math.sin(turn), math.cos(turn)) * (0.06 if is_free else 0.25)
                if is_free:
                    push, is_touching = self.feel_neighbours(x, y, heading, vessel)
                    turn -= push
                    if step > 3 and is_touching:
                        has_ended = True
                        break
                heading += max(-0.35, min(0.35, turn))
            x, y = x + STEP * math.cos(heading), y + STEP * math.sin(heading)
            points.append((x, y))
            self.lay(x, y, vessel)
            has_ended = self.is_at_its_end(x, y, is_free, hemisphere)
            if has_ended:
                break
        self.branches.append(Branch(vessel.kind, vessel.parent, radius, self.eye.disc + np.array(points) * self.mirror))
        if splits and not has_ended:
            self.fork(vessel, (x, y), heading)

    def find_course(self, x, y, guide):
        """Heading that a vessel should have at (x, y)."""
        fovea_x, fovea_y = self.fovea
        if isinstance(guide, tuple):
            sign, k = guide
            y = max(sign * y, 1.0)
            slope = self.power * y ** (self.power - 1)
            offset = (y**self.power - k * x) / math.hypot(k, slope)
            return sign * (math.atan2(k, slope) - max(-1.0, min(1.0, offset / 15)))
        if guide is not None:
            return guide
        is_within_arcades = x > 0 and abs(y) ** self.power < self.arch[int(y > 0)] ** self.power / fovea_x * x
        if is_within_arcades:  # towards the raphe
            distance = math.hypot(fovea_x - x, fovea_y - y) + 1e-9
            return math.atan2((fovea_y - y) / distance, (fovea_x - x) / distance + 1.2)
        return math.atan2(y - fovea_y / 2, x - fovea_x / 2)  # towards the rim

    def feel_neighbours(self, x, y, heading, vessel):
        """(turn in radians by which points laid near (x, y) push, whether one of the vessel's kind is just ahead)."""
        dx, dy = self.laid[0, : self.count] - x, self.laid[1, : self.count] - y
        near = np.flatnonzero((dx * dx + dy * dy < REACH**2) & (self.laid[4, : self.count] != len(self.branches)))
        dx, dy, radii, veins, owners = dx[near], dy[near], *self.laid[2:, near]
        ahead = dx * math.cos(heading) + dy * math.sin(heading)
        across = dy * math.cos(heading) - dx * math.sin(heading)
        distance, alike = np.sqrt(dx * dx + dy * dy) + 0.5, veins == (vessel.kind == "vein")
        push = 0.12 * (across / distance**2 * (ahead > -2) * np.where(alike, 1.0, 0.4)).sum()
        touching = alike & (owners != vessel.parent) & (ahead > abs(across)) & (distance < vessel.radius + radii + 3.5)
        return push, touching.any()

    def lay(self, x, y, vessel):
        self.laid[:, self.count] = x, y, vessel.radius, vessel.kind == "vein", len(self.branches)
        self.count += 1
        self.area += 2 * vessel.radius * STEP

    def is_at_its_end(self, x, y, is_free, hemisphere):
        """Whether (x, y) is at the rim, or for a vessel without guide at the fovea or across the raphe."""
        if math.hypot(x - self.rim[0], y - self.rim[1]) > FIELD_RADIUS - 1:
            return True
        is_at_fovea = math.hypot(x - self.fovea[0], y - self.fovea[1]) < self.fovea_radius
        return is_free and (is_at_fovea or hemisphere * (y - self.fovea[1]) < -2)

    def fork(self, vessel, place, heading):
        """Plants the two daughters of the vessel that has grown last."""
        rng, radius, parent = self.rng, vessel.radius, len(self.branches) - 1
        second = min(max(radius * rng.uniform(0.3, 0.75), THINNEST), radius / 2 ** (1 / 3))
        first = (radius**3 - second**3) ** (1 / 3)
        sign = rng.choice((-1, 1))
        turns = compute_murray_angles(radius, first, second)
        self.plant(vessel.kind, parent, first, place, heading - sign * turns[0], vessel.guide)
        self.plant(vessel.kind, parent, second, place, heading + sign * turns[1], None)
