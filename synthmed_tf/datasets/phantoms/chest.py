"""What X-rays meet in the chest of an X-ray phantom: soft tissue, lungs, heart, breasts and bones.

Lengths: the frame reaches from -1 to 1, x to the right (the patient's left), y downwards.
"""

import math

import numpy as np

SIZE = 256  # pixels, P2 § 2.1


def _edge(distance, softness):
    """From 0 outside to 1 inside of a border, by the signed distance from it."""
    inside = distance * np.float32(0.5 / softness)
    np.tanh(inside, out=inside)
    inside += 1
    inside *= 0.5
    return inside


def _ball(squared):
    """Thickness of a ball of radius 1 at a squared distance from its axis."""
    thickness = 1 - squared
    np.maximum(thickness, 0, out=thickness)
    return np.sqrt(thickness, out=thickness)


def _tube(distance, radius):
    """Thickness of a hollow bone at a distance from its axis: its cortex shows as two bright lines."""
    squared = (distance * np.float32(1 / radius)) ** 2
    return _ball(squared) - 0.4 * _ball(squared * 1.8)


def draw_chest(rng, body, x, y):
    """Density that the rays meet, [256, 256] float32: 0 in air, about 1 in soft tissue as thick as a chest.

    Args:
      body: xray.Anatomy of the patient.
      x, y: [256, 256] float32, the pixels' centres in the patient's frame.
    """
    across = x - np.float32(body.scoliosis) * np.sin(3 * y)  # from the spine
    away, left = np.abs(across), (x > 0).astype(np.float32)  # left of the patient
    breath = body.base - rng.uniform(-0.02, 0.05)  # how deep this patient breathed in for this X-ray
    height = breath + 0.1 - body.apex
    down = (y - body.apex) / np.float32(height)  # 0 at the tips of the lungs, 1 at their lowest points
    knob_y = body.apex + 0.40
    thick, tissue = _draw_outline(rng, body, x, y)

    # lungs: air between the rib cage, the mediastinum and the diaphragm
    cage = np.float32(body.thorax) * _ball((1 - np.clip(down, 0, 1)) ** 2.5) ** np.float32(0.8) + np.float32(1e-3)
    u = away / cage
    dome_x = (away / np.float32(body.thorax) - 0.5) / 0.56
    dome_y = breath + 0.02 * left + body.dome * (dome_x**2 - 0.35) - 0.03 * (1 - left)
    lung = np.sqrt(_ball(u * u * u)) * _edge(cage - away, 0.008) * _edge(dome_y - y, 0.009)
    lung *= _edge(away - 0.10 - 0.16 * np.exp(-np.maximum(down, 0) * 14), 0.015)
    solid = _draw_mediastinum(rng, body, x, y, away, left, breath)
    lung *= 1 - solid
    density = tissue - np.float32(rng.uniform(0.60, 0.70)) * lung * thick
    density += 0.10 * solid
    density -= 0.15 * _edge(0.036 - np.abs(across + 0.008), 0.006) * _edge(knob_y + 0.08 - y, 0.02)
    density += 0.18 * _edge(y - dome_y, 0.05) * _edge(cage - away + 0.06, 0.04)  # liver, spleen
    bubble = ((x - 0.30) / rng.uniform(0.08, 0.16)) ** 2 + ((y - breath - 0.14) / rng.uniform(0.03, 0.07)) ** 2
    density -= np.float32(rng.uniform(0, 0.2)) * _edge(1 - bubble, 0.08) * _edge(y - dome_y - 0.03, 0.008)

    density += np.float32(0.5 * body.vessels) * _draw_markings(rng, body, x, y) * lung
    for hilum_x, hilum_y in _place_hila(body):
        spread = ((x - hilum_x) / 0.07) ** 2 + ((y - hilum_y) / 0.11) ** 2
        density += np.float32(0.16 * body.vessels) * np.exp(-spread) * lung
    if body.breast > 0.02:
        density += _draw_breasts(rng, body, y, away, left)
    return density + np.float32(body.bone) * _draw_bones(rng, body, across, away, y, u, down, height)


def _draw_outline(rng, body, x, y):
    """(how thick the body is at each height, the soft tissue within neck, shoulders, armpits and flanks)."""
    flank = body.thorax + body.flank
    armpit = rng.uniform(-0.12, 0.08)
    outline_y = [-1.1, -0.84, -0.72, -0.58, -0.40, armpit - 0.05, armpit + 0.06, armpit + 0.3, 1.1]
    outline = [0.22, 0.24, 0.48, 0.88, 1.15, 1.10, flank + 0.1, flank, flank - 0.02]
    fine = np.linspace(-1.3, 1.3, 261)
    smooth = np.convolve(np.pad(np.interp(fine, outline_y, outline), 8, "edge"), np.hanning(17) / 8, "valid")
    width = np.interp(y, fine, smooth).astype(np.float32)
    thick = np.interp(y, [-1, -0.7, -0.4, 0.5, 1], [0.95, 0.72, 0.90, 1.0, 1.05]).astype(np.float32)
    return thick, thick * np.sqrt(_ball(np.square(np.square(x / width))))


def _draw_mediastinum(rng, body, x, y, away, left, breath):
    """Where heart and great vessels take the air's place: [256, 256] float32 in [0, 1]."""
    reach = body.cardiothoracic * body.thorax  # half the heart's width
    heart_y = breath - 0.13
    lean = x - np.float32(0.24 * reach) - np.float32(body.heart_tilt) * (y - heart_y)
    lean = lean / np.float32(reach) / (0.9 + 0.35 * (y - heart_y))  # a pear: wider below
    heart = lean**2 + ((y - heart_y) / rng.uniform(0.30, 0.34)) ** 2
    solid = _edge(1 - heart, 0.06) * (0.75 + 0.25 * _ball(heart))
    knob_x, knob_y = 0.05 + 0.5 * body.knob, body.apex + 0.40
    knob = (x - knob_x) ** 2 + ((y - knob_y) * 0.9) ** 2
    solid = np.maximum(solid, 0.8 * _edge(1 - knob / body.knob**2, 0.1))
    artery = ((x - 0.11) / 0.08) ** 2 + ((y - knob_y - 0.18) / 0.13) ** 2
    solid = np.maximum(solid, 0.7 * _edge(1 - artery, 0.12))
    aorta = _edge(0.09 + body.aorta + 0.02 * np.sin(5 * y) - x, 0.008) * _edge(y - knob_y, 0.02) * left
    solid = np.maximum(solid, 0.6 * aorta)
    cava = _edge(0.11 - away, 0.012) * _edge(y - knob_y + 0.05, 0.04)
    return np.maximum(solid, 0.7 * cava)


def _draw_breasts(rng, body, y, away, left):
    """Density of breasts, or of pectoral muscles: [256, 256] float32."""
    from scipy import ndimage

    sag = y - np.float32(body.breast_place[1]) - np.float32(rng.normal(0, 0.015)) * left
    shape = ((away - body.breast_place[0]) / body.breast_radius) ** 2
    shape += (sag / (body.breast_radius * (0.8 + 1.5 * (sag < 0).astype(np.float32)))) ** 2
    glands = ndimage.gaussian_filter(rng.standard_normal(y.shape, np.float32), 1.4, truncate=3)
    return np.float32(body.breast) * (0.45 + 0.13 * glands) * _ball(shape)


def _draw_bones(rng, body, across, away, y, u, down, height):
    """Density of ribs, clavicles, shoulder blades and spine, [256, 256] float32."""
    spacing = np.float32(height / 9.6)
    slant = np.float32(body.slant) * (0.75 + 0.5 * down)
    fall = slant * (0.22 * np.minimum(u, 1.1) ** 2.2 - 0.05 * np.sin(math.pi * np.minimum(u, 1)))
    inside = _edge(1.03 - u, 0.012) * _edge(1.12 - down, 0.03)
    start = np.float32(body.apex - 0.055)
    back = (y - fall - start) / spacing
    ribs = _tube((back - np.floor(back) - 0.5) * spacing, body.rib) * (back > 0) * _edge(u - 0.08, 0.03)
    front = (y - slant * (0.20 + 0.30 * (1 - u)) - start) / spacing  # from the flank down towards the breastbone
    ribs += (
        0.4
        * _tube((front - np.floor(front) - 0.5) * spacing, 1.15 * body.rib)
        * (front > 0)
        * (front < 6)
        * _edge(u - 0.5, 0.06)
    )
    bones = 0.19 * ribs * inside
    bones += 0.10 * np.exp(-(((u - 1.01) / 0.035) ** 2)) * _edge(down - 0.12, 0.05) * _edge(1.15 - down, 0.05)

    tilt, lift = rng.uniform(0.08, 0.26), rng.uniform(-0.03, 0.04)
    along = away - 0.05
    clavicle = y - (body.apex + 0.17 + lift) + tilt * along - 0.03 * np.sin(9.5 * along) + 0.02 * across
    bones += (
        0.26 * _tube(clavicle, 0.032 + 0.012 * np.exp(-along / 0.07)) * _edge(along, 0.01) * _edge(0.78 - along, 0.03)
    )

    border = away - rng.uniform(0.62, 0.74) + 0.12 * (y + 0.1) ** 2
    blade = _edge(border, 0.01) * (0.05 + 0.09 * np.exp(-np.abs(border) / 0.02))
    bones += blade * _edge(0.10 - y - 0.8 * border, 0.02) * _edge(y - body.apex - 0.1, 0.03)
    bones += 0.16 * _edge(1 - ((away - 1.0) ** 2 + (y + 0.5) ** 2) / 0.13**2, 0.1)

    level = y * np.float32(2 * math.pi / (0.9 * spacing)) + rng.uniform(0, 6)
    spine = _ball((across / 0.078) ** 2) * (0.17 + 0.035 * np.cos(level))
    pedicles = np.exp(-(((away - 0.045) / 0.012) ** 2)) * (0.5 + 0.5 * np.cos(level + 1))
    return bones + spine + 0.05 * pedicles


def _place_hila(body):
    """(x, y) of the two roots of the lungs: [2, 2]."""
    return np.array([[-0.17, body.apex + 0.61], [0.19, body.apex + 0.57]])


def _draw_markings(rng, body, x, y):
    """Arteries and veins of the lungs: trees that branch from the hila. [256, 256] float32, 0 to about 1."""
    from scipy import ndimage

    towards = np.linspace(-1.35, 1.35, 9)  # headings of the first branches, from straight outwards
    start = np.repeat(_place_hila(body), len(towards), 0) + rng.normal(0, 0.02, (2 * len(towards), 2))
    heading = np.concatenate([math.pi - towards, towards]) + rng.normal(0, 0.12, 2 * len(towards))
    steps = np.linspace(0, 1, 24)
    points, weights = [], []
    for level, weight in enumerate((4.2, 2.4, 1.1, 0.65)):
        angle = heading[:, None] + rng.normal(0, 0.35, (len(start), 1)) * steps
        stride = rng.uniform(0.005, 0.01, (len(start), 1)) * 0.85**level
        path = start[..., None] + np.cumsum([stride * np.cos(angle), stride * np.sin(angle)], -1).swapaxes(0, 1)
        points.append(path.swapaxes(0, 1).reshape(2, -1))
        weights.append(np.full(points[-1].shape[1], weight, np.float32))
        start = np.repeat(path[..., -1], 2, 0)
        heading = np.repeat(angle[:, -1], 2) + np.tile([-1, 1], len(angle)) * rng.uniform(0.2, 0.6, 2 * len(angle))
    # from the patient's frame to pixels: the pose is affine, so three corners of the frame give it
    corner = np.array([x[0, 0], y[0, 0]])
    frame = np.array([[x[0, -1], x[-1, 0]], [y[0, -1], y[-1, 0]]]) - corner[:, None]
    total = np.zeros((SIZE, SIZE), np.float32)
    for few, sigma in ((slice(2), 1.3), (slice(2, None), 0.7)):  # wide vessels, thin vessels
        places = np.linalg.solve(frame / (SIZE - 1), np.concatenate(points[few], 1) - corner[:, None])
        columns, rows = np.clip(np.round(places), 0, SIZE - 1).astype(int)
        hits = np.bincount(rows * SIZE + columns, np.concatenate(weights[few]), SIZE**2).reshape(SIZE, SIZE)
        total += ndimage.gaussian_filter(hits.astype(np.float32), sigma, truncate=3)
    return np.minimum(total * 0.16, 1)
