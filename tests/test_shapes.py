import time

import networkx
import numpy as np
import pytest
from scipy import ndimage
from skimage import draw
from skimage.measure import euler_number
from skimage.morphology import skeletonize

from synthmed_tf.datasets.load import load_samples
from synthmed_tf.datasets.prepare import crop_sample
from synthmed_tf.metrics import shapes


def canvas(*parts, size=96):
    mask = np.zeros((size, size, 1), np.uint8)
    for rows, columns in parts:
        mask[rows, columns] = 1
    return mask


def arc(radius, degrees=180, thickness=0.5, size=128):
    """A circular arc around the middle of the frame, 2 * thickness pixels wide."""
    y, x = np.mgrid[:size, :size] - size // 2
    angle = np.degrees(np.arctan2(-y, x)) % 360
    return ((np.abs(np.hypot(y, x) - radius) <= thickness) & (angle <= degrees)).astype(np.uint8)


def blobs(seed, size=64, share=0.35):
    """Ragged network with loops, islands and branches."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), 1.2)
    return (np.abs(noise) < np.quantile(np.abs(noise), share)).astype(np.uint8)


def networks():
    return [blobs(seed) for seed in range(6)]


# ---------------------------------------------------------------- one mask


@pytest.mark.parametrize("width", range(1, 10))
@pytest.mark.parametrize("turned", [False, True])
def test_a_straight_bar_has_its_own_width(width, turned):
    bar = canvas((slice(20, 20 + width), slice(10, 80)))
    found = shapes.describe(bar.swapaxes(0, 1) if turned else bar)
    assert (found["width_mean"], found["width_sd"]) == (width, 0)
    assert found["area_fraction"] == width * 70 / 96**2
    assert (found["end_points"], found["branch_points"], found["components"]) == (2, 0, 1)
    assert 69 - width <= found["skeleton_length"] <= 69  # from the first pixel's centre to the last one's
    assert found["tortuosity"] == pytest.approx(1)


@pytest.mark.parametrize("width", [2, 3, 4.5, 6])
@pytest.mark.parametrize("degrees", [10, 22.5, 37, 45])
def test_a_slanting_bar(width, degrees):
    along = np.array([np.sin(np.radians(degrees)), np.cos(np.radians(degrees))])
    y, x = np.mgrid[:128, :128] - 63.5
    mask = (np.abs(y * along[1] - x * along[0]) <= width / 2) & (np.abs(y * along[0] + x * along[1]) <= 50)
    found = shapes.describe(mask)
    assert found["width_mean"] == pytest.approx(mask.sum() / 100, abs=0.5)
    assert found["branch_points"] == 0 and found["tortuosity"] == pytest.approx(1, abs=0.01)


def test_diagonal_steps_count_the_root_of_two():
    line = canvas((np.arange(10, 41), np.arange(10, 41)))
    assert shapes.describe(line)["skeleton_length"] == pytest.approx(30 * np.sqrt(2))
    corner = canvas((slice(10, 31), 10), (30, slice(10, 51)))
    assert 60 - 2 + np.sqrt(2) <= shapes.describe(corner)["skeleton_length"] + 1e-9 <= 60 + 1e-9


@pytest.mark.parametrize("width", [1, 2, 3, 5, 7])
def test_a_cross_has_one_branch_point_and_four_ends(width):
    cross = canvas((slice(10, 80), slice(40, 40 + width)), (slice(40, 40 + width), slice(10, 80)))
    found = shapes.describe(cross)
    assert (found["branch_points"], found["end_points"], found["components"]) == (1, 4, 1)
    assert found["tortuosity"] == pytest.approx(1)
    assert found["skeleton_length"] == pytest.approx(138, abs=4 * width)


def test_a_diagonal_cross_and_a_tee():
    steps = np.arange(-20, 21)
    found = shapes.describe(canvas((48 + steps, 48 + steps), (48 + steps, 48 - steps)))
    assert (found["branch_points"], found["end_points"]) == (1, 4)
    tee = shapes.describe(canvas((30, slice(10, 81)), (slice(30, 61), 45)))
    assert (tee["branch_points"], tee["end_points"]) == (1, 3)
    assert tee["skeleton_length"] == pytest.approx(100, abs=0.5)


@pytest.mark.parametrize("radius, tolerance", [(10, 0.03), (25, 0.015), (50, 0.01)])
def test_tortuosity_of_a_half_circle_is_half_pi(radius, tolerance):
    found = shapes.describe(arc(radius))
    assert found["tortuosity"] == pytest.approx(np.pi / 2, rel=tolerance)
    assert found["branch_points"] == 0 and found["end_points"] == 2


@pytest.mark.parametrize("radius", [15, 25, 50])
@pytest.mark.parametrize("thickness", [1.5, 2.5])
def test_tortuosity_of_a_thick_half_circle(radius, thickness):
    found = shapes.describe(arc(radius, 180, thickness))
    half = np.pi / 2 - thickness / radius  # thinning takes up to half the width from either end
    assert 0.985 * half / np.sin(half) < found["tortuosity"] < 1.01 * np.pi / 2
    assert found["width_mean"] == pytest.approx(2 * thickness, abs=0.5)


@pytest.mark.parametrize("degrees", [60, 90, 270])
def test_tortuosity_of_other_arcs(degrees):
    half = np.radians(degrees) / 2
    assert shapes.describe(arc(50, degrees))["tortuosity"] == pytest.approx(half / np.sin(half), rel=0.015)


def test_tortuosity_is_weighted_by_arc_length():
    mask = canvas((100, slice(10, 111)), size=200)
    mask[:90, 20:110, 0] |= arc(40, 180, size=200)[20:110, 55:145]
    line, half = 100, np.pi * 40
    expected = (line * 1 + half * np.pi / 2) / (line + half)
    assert shapes.describe(mask)["tortuosity"] == pytest.approx(expected, rel=0.015)


def test_closed_loops_and_short_branches_have_no_tortuosity():
    ring = arc(30, 360)
    found = shapes.describe(ring)
    assert found["tortuosity"] is None and (found["end_points"], found["branch_points"]) == (0, 0)
    assert 2 * np.pi * 30 < found["skeleton_length"] < 1.06 * 2 * np.pi * 30
    ring[64, 94:120] = 1  # a ring on a stick: the stick alone is a branch
    found = shapes.describe(ring)
    assert (found["branch_points"], found["end_points"]) == (1, 1) and found["tortuosity"] == pytest.approx(1)
    for length, expected in ((10, None), (12, 1.0)):
        assert shapes.describe(canvas((5, slice(0, length))))["tortuosity"] == expected


def test_components_touch_at_corners():
    assert shapes.describe(canvas((5, 5), (6, 6), (6, 9)))["components"] == 2


def test_a_lone_pixel():
    found = shapes.describe(canvas((5, 5)))
    assert found["skeleton_length"] == found["end_points"] == found["branch_points"] == 0
    assert (found["components"], found["width_mean"], found["tortuosity"]) == (1, 1, None)
    assert found["fractal_dimension"] == pytest.approx(0, abs=1e-12)


def test_fractal_dimension_of_known_figures():
    def dimension(mask):
        return shapes.describe(mask)["fractal_dimension"]

    assert dimension(np.ones((64, 64))) == pytest.approx(2)
    assert dimension(canvas((slice(7, 71), slice(3, 67)), size=128)) == pytest.approx(2)
    assert dimension(np.eye(64)) == pytest.approx(1)
    assert dimension(canvas((77, slice(0, 128)), size=128)) == pytest.approx(1)
    row, column = np.mgrid[:256, :256]
    assert dimension((row & column) == 0) == pytest.approx(np.log2(3))  # Sierpinski's triangle


@pytest.mark.parametrize("mask", networks())
def test_the_skeleton_graph_agrees_with_a_walk_from_pixel_to_pixel(monkeypatch, mask):
    monkeypatch.setattr(shapes, "SMOOTHINGS", 0)
    skeleton = {(int(y), int(x)) for y, x in np.argwhere(skeletonize(np.pad(mask, 1), method="lee"))}
    graph = networkx.Graph()
    graph.add_nodes_from(skeleton)
    for y, x in skeleton:
        for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
            corner = {(y + dy, x), (y, x + dx)} & skeleton if dy and dx else set()
            if (y + dy, x + dx) in skeleton and not corner:
                graph.add_edge((y, x), (y + dy, x + dx), length=np.hypot(dy, dx))
    forks = [pixel for pixel, degree in graph.degree if degree >= 3]
    touching = networkx.Graph([(a, b) for a in forks for b in forks if np.abs(np.subtract(a, b)).max() <= 1])
    cluster = {pixel: i for i, each in enumerate(networkx.connected_components(touching)) for pixel in each}
    total = weight = 0
    for start in graph:
        for step in graph[start]:
            if graph.degree[start] == 2 or (start in cluster and cluster[start] == cluster.get(step)):
                continue
            path = [start, step]
            while graph.degree[path[-1]] == 2:
                path.append(next(pixel for pixel in graph[path[-1]] if pixel != path[-2]))
            length = networkx.path_weight(graph, path, "length")
            if length >= 10 and cluster.get(start, start) != cluster.get(path[-1], path[-1]):
                total += length**2 / np.hypot(*np.subtract(start, path[-1]))  # each branch from both of its ends
                weight += length
    found = shapes.describe(mask)
    assert found["skeleton_length"] == pytest.approx(graph.size("length"))
    assert found["end_points"] == sum(degree == 1 for _, degree in graph.degree)
    assert found["branch_points"] == len(set(cluster.values())) > 5
    assert found["tortuosity"] == pytest.approx(total / weight) and weight


@pytest.mark.parametrize("mask", networks())
def test_the_skeleton_keeps_the_pieces_and_holes_of_the_mask(mask):
    skeleton = skeletonize(np.pad(mask, 1), method="lee")
    assert ndimage.label(skeleton, np.ones((3, 3)))[1] == shapes.describe(mask)["components"] > 1
    assert euler_number(skeleton, 2) == euler_number(np.pad(mask, 1), 2)


@pytest.mark.parametrize("mask", networks())
def test_loops_are_pieces_less_the_euler_number(mask):
    found = shapes.describe(mask)
    assert found["loops"] == found["components"] - euler_number(np.pad(mask, 1), 2) > 5


def test_loops_of_known_figures():
    ring = arc(30, 360, thickness=1)
    assert shapes.describe(ring)["loops"] == 1
    assert shapes.describe(arc(30, 300))["loops"] == 0
    ring[64, 20:110] = 1  # a bar across
    assert shapes.describe(ring)["loops"] == 2
    diamond = canvas((10, 11), (11, [10, 12]), (12, 11))  # closed at its corners
    assert shapes.describe(diamond)["loops"] == 1
    assert shapes.describe(canvas((0, slice(0, 20)), (slice(0, 20), 0)))["loops"] == 0  # the frame closes nothing


def test_moving_the_vessels_changes_nothing():
    expected = None
    for top, left in ((0, 0), (5, 32), (31, 7), (32, 32)):
        mask = np.zeros((96, 96), bool)
        mask[top : top + 64, left : left + 64] = blobs(3)
        expected = expected or shapes.describe(mask)
        assert shapes.describe(mask) == pytest.approx(expected)


def test_turning_the_vessels_changes_little():
    mask = blobs(4)
    expected = shapes.describe(mask)
    for turned in (np.rot90(mask), mask[::-1], mask[:, ::-1], mask.T):
        found = shapes.describe(turned)
        assert found["area_fraction"] == expected["area_fraction"]
        assert (found["components"], found["loops"]) == (expected["components"], expected["loops"])
        for name in ("skeleton_length", "width_mean", "fractal_dimension", "tortuosity"):
            assert found[name] == pytest.approx(expected[name], rel=0.05), name


def test_an_empty_and_a_full_mask():
    undefined = ("width_mean", "width_sd", "fractal_dimension", "tortuosity")
    empty = shapes.describe(np.zeros((32, 32)))
    assert list(empty) == list(shapes.STATISTICS)
    assert empty == {name: None if name in undefined else 0 for name in shapes.STATISTICS}
    full = shapes.describe(np.ones((32, 32)))
    assert list(full) == list(shapes.STATISTICS)
    assert (full["area_fraction"], full["components"], full["loops"]) == (1, 1, 0)
    assert full["fractal_dimension"] == pytest.approx(2) and full["skeleton_length"] < 3


def test_only_what_lies_in_the_field_of_view_counts():
    mask = canvas((20, slice(0, 96)), (70, slice(0, 96)))
    view = np.zeros_like(mask)
    view[:48, :50] = 1
    found = shapes.describe(mask, view)
    assert found["area_fraction"] == 50 / (48 * 50)
    assert (found["components"], found["skeleton_length"]) == (1, 49)
    assert shapes.describe(mask, np.zeros_like(mask))["area_fraction"] is None


@pytest.mark.parametrize(
    "mask, view, says",
    [
        (np.full((4, 4), 255), None, "0 and 1"),
        (np.full((4, 4), np.nan), None, "0 and 1"),
        (np.zeros((4, 4, 3)), None, "height, width"),
        (np.zeros(4), None, "height, width"),
        (np.zeros((4, 4)), np.zeros((4, 5)), "one size"),
        (np.zeros((4, 4)), np.full((4, 4), 2), "field of view"),
    ],
)
def test_masks_that_do_not_fit_are_refused(mask, view, says):
    with pytest.raises(ValueError, match=says):
        shapes.describe(mask, view)


# ---------------------------------------------------------------- two sets of masks


def every(*values):
    return [dict.fromkeys(shapes.STATISTICS, value) for value in values]


def test_distances_by_hand():
    found = shapes.compare(every(1, 2, 6), every(4, 2, 9), every(0, 6))
    assert list(found) == list(shapes.STATISTICS)
    sd = np.sqrt((4 + 1 + 9) / 2)
    for each in found.values():
        assert each["real"] == {"mean": 3, "sd": pytest.approx(sd)}
        assert each["synthetic"] == {"mean": 5, "sd": pytest.approx(np.std([4, 2, 9], ddof=1))}
        assert each["distance"] == pytest.approx((1 + 2 + 3) / 3 / sd)  # sorted: 1 to 2, 2 to 4, 6 to 9
        # a half each at 0 and 6: 1/3 moves by 1, 1/6 by 2, 1/6 by 4, 1/3 not at all
        assert each["floor"] == pytest.approx((1 / 3 + 2 / 6 + 4 / 6) / sd)


def test_a_shift_by_one_standard_deviation_is_one():
    values = np.random.default_rng(0).normal(5, 3, 40)
    found = shapes.compare(every(*values), every(*(values + values.std(ddof=1))), every(*values[::-1]))
    assert found["tortuosity"]["distance"] == pytest.approx(1)
    assert found["tortuosity"]["floor"] == pytest.approx(0, abs=1e-12)


def test_undefined_values_are_left_out():
    full = shapes.compare(every(1, 2), every(3, 5))
    gaps = shapes.compare(every(1, None, 2), every(None, 3, 5), every(None))
    assert full == gaps and gaps["width_mean"]["floor"] is None
    none = shapes.compare(every(1, 2), every(None))["width_mean"]
    assert none["synthetic"] == {"mean": None, "sd": None} and none["distance"] is None


def test_real_values_without_spread():
    found = shapes.compare(every(0.1, 0.1, 0.1), every(0.1, 0.1), every(0.3))["width_mean"]
    assert found["real"] == {"mean": pytest.approx(0.1), "sd": 0}
    assert (found["distance"], found["floor"]) == (0, None)
    single = shapes.compare(every(2), every(1, 3))["width_mean"]
    assert (single["real"]["sd"], single["distance"]) == (None, None)


def test_no_masks_to_compare_are_refused():
    for real, synthetic in (([], every(1)), (every(1), [])):
        with pytest.raises(ValueError, match="must be some"):
            shapes.compare(real, synthetic)


# ---------------------------------------------------------------- vessels


def test_drive_is_plausible_and_its_two_halves_are_near(real_data):
    found = {"train": [], "test": [], "thick": []}
    for sample in load_samples("drive", real_data):
        if sample.mask is None:
            pytest.skip(f"{real_data}/drive has no test masks")
        sample = crop_sample(sample, (128, 128))
        found[sample.split].append(shapes.describe(sample.mask, sample.field_of_view))
        if sample.split == "test":
            thick = ndimage.binary_dilation(sample.mask[..., 0], np.ones((2, 2)))
            found["thick"].append(shapes.describe(thick, sample.field_of_view[..., 0]))
    ranges = {
        "area_fraction": (0.07, 0.2),  # 12 % of the field of view on average
        "skeleton_length": (800, 2200),  # area over the width of one to two pixels
        "branch_points": (30, 200),
        "end_points": (30, 150),
        "components": (1, 20),
        "loops": (5, 70),
        "width_mean": (1, 1.6),
        "width_sd": (0.2, 0.8),
        "fractal_dimension": (1.2, 1.7),
        "tortuosity": (1, 1.15),
    }
    for values in found["train"] + found["test"]:
        for name, (low, high) in ranges.items():
            assert low <= values[name] <= high, name
    compared = shapes.compare(found["train"], found["thick"], found["test"])
    assert all(0 < each["floor"] < 0.8 for each in compared.values())
    assert compared["width_mean"]["distance"] > 5 * compared["width_mean"]["floor"]
    assert compared["area_fraction"]["distance"] > 3 * compared["area_fraction"]["floor"]


def test_a_thousand_networks_of_256_pixels_would_take_less_than_five_minutes():
    mask = np.zeros((256, 256), bool)
    rng = np.random.default_rng(0)
    for _ in range(60):
        mask[draw.line(*rng.integers(0, 256, 4))] = 1
    start = time.process_time()
    for _ in range(10):
        shapes.describe(mask)
    assert time.process_time() - start < 3
