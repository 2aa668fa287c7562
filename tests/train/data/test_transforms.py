"""Augmentation keeps what it must, voxels hold the points they should, crops stay within bounds."""

import dataclasses
import math
import re
from collections import defaultdict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.train.data.damage import refused, refused_at
from train.data.batch import collate
from train.data.frame import LidarFrame
from train.data.transforms import (
    MAX_GRID,
    PAPER_AUGMENTATION,
    Augmentation,
    VoxelFrame,
    augment,
    clip,
    crop,
    voxelize,
)
from train.networks.ptv3.hierarchy import build_hierarchy

NOTHING = Augmentation(
    rotation_probability=0.0,
    scale_min=1.0,
    scale_max=1.0,
    flip_x_probability=0.0,
    flip_y_probability=0.0,
    jitter_sigma_m=0.0,
)
SEEDS = range(400)
# Four standard deviations of a share of 400 at p = 0.5.
HALF = pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(len(SEEDS)))


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def make_frame(coord: np.ndarray) -> LidarFrame:
    count = len(coord)
    return LidarFrame(
        coord=np.asarray(coord, dtype=np.float32),
        strength=np.arange(count, dtype=np.float32)[:, None],
        segment=np.arange(count, dtype=np.int64) % 19,
        name="made",
        path=Path("made.bin"),
    )


# ------------------------------------------------------------------ augmentation


def test_the_defaults_are_the_paper_s_with_the_rulings():
    assert dataclasses.asdict(PAPER_AUGMENTATION) == {
        "rotation_probability": 0.5,
        "rotation_max_deg": 180.0,
        "scale_min": 0.9,
        "scale_max": 1.1,
        "flip_x_probability": 0.5,
        "flip_y_probability": 0.5,
        "jitter_sigma_m": 0.005,
        "jitter_clip_m": 0.02,
    }


def test_only_coordinates_change_unless_all_is_off_and_the_input_stays(frame):
    before = frame.coord.copy()
    np.testing.assert_array_equal(augment(frame, rng(0), NOTHING).coord, before)
    out = augment(frame, rng(0), PAPER_AUGMENTATION)
    np.testing.assert_array_equal(frame.coord, before)
    assert not np.array_equal(out.coord, before)
    assert out.strength is frame.strength
    assert out.segment is frame.segment
    assert out.coord.dtype == np.float32


def test_rotation_keeps_heights_radii_and_handedness(frame):
    turned = dataclasses.replace(NOTHING, rotation_probability=1.0)
    for seed in range(20):
        out = augment(frame, rng(seed), turned)
        np.testing.assert_array_equal(out.coord[:, 2], frame.coord[:, 2])
        before, after = (np.hypot(s.coord[:, 0], s.coord[:, 1]) for s in (frame, out))
        np.testing.assert_allclose(after, before, rtol=1e-6)
        # The same angle for every point, in the same sense: as complex numbers, one factor.
        factor = (out.coord[:, 0] + 1j * out.coord[:, 1]) / (
            frame.coord[:, 0] + 1j * frame.coord[:, 1]
        )
        np.testing.assert_allclose(factor, factor[0], atol=1e-4)


def test_rotation_happens_half_of_the_time_and_reaches_all_angles():
    point = make_frame(np.array([[1.0, 0.0, 0.0]]))
    angles = []
    for seed in SEEDS:
        x, y, _ = augment(
            point, rng(seed), dataclasses.replace(NOTHING, rotation_probability=0.5)
        ).coord[0]
        angles.append(math.degrees(math.atan2(y, x)))
    turned = np.array([angle for angle in angles if angle != 0.0])
    assert len(turned) / len(angles) == HALF
    # Uniform over the full circle: the four quadrants hold a quarter each, within 5 deviations.
    share, _ = np.histogram(turned, bins=[-180, -90, 0, 90, 180])
    np.testing.assert_allclose(share / len(turned), 0.25, atol=5 * 0.433 / math.sqrt(len(turned)))


@pytest.mark.parametrize("most", [0.0, 1.0, 90.0, 170.0])
def test_rotation_stays_within_its_bound_and_uses_it(most: float):
    point = make_frame(np.array([[1.0, 0.0, 0.0]]))
    only = dataclasses.replace(NOTHING, rotation_probability=1.0, rotation_max_deg=most)
    turned = np.array([augment(point, rng(seed), only).coord[0] for seed in SEEDS])
    angles = np.degrees(np.arctan2(turned[:, 1], turned[:, 0]))
    assert 0.98 * most <= np.abs(angles).max() <= most + 1e-4
    assert angles.min() <= 0.0 <= angles.max()


def test_scaling_is_one_factor_within_range_and_uses_the_range(frame):
    only = dataclasses.replace(NOTHING, scale_min=0.9, scale_max=1.1)
    factors = []
    for seed in SEEDS:
        ratio = augment(frame, rng(seed), only).coord / frame.coord
        np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-5)
        factors.append(float(ratio[0, 0]))
    assert 0.9 - 1e-6 <= min(factors) < 0.905
    assert 1.095 < max(factors) <= 1.1 + 1e-6


@pytest.mark.parametrize(("axis", "name"), [(0, "flip_x_probability"), (1, "flip_y_probability")])
def test_flips_change_one_sign_half_of_the_time(frame, axis: int, name: str):
    only = dataclasses.replace(NOTHING, **{name: 0.5})
    mirrored = frame.coord.copy()
    mirrored[:, axis] *= -1
    flips = 0
    for seed in SEEDS:
        out = augment(frame, rng(seed), only).coord
        flipped = bool(np.array_equal(out, mirrored))
        assert flipped or np.array_equal(out, frame.coord)
        flips += flipped
    assert flips / len(SEEDS) == HALF


def test_flips_are_independent_of_each_other():
    point = make_frame(np.array([[1.0, 1.0, 0.0]]))
    both = dataclasses.replace(NOTHING, flip_x_probability=0.5, flip_y_probability=0.5)
    corners = [tuple(augment(point, rng(seed), both).coord[0, :2]) for seed in SEEDS]
    for corner in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        assert corners.count(corner) / len(SEEDS) == pytest.approx(0.25, abs=4 * 0.433 / 20)


def test_jitter_is_clipped_and_has_the_right_size():
    still = make_frame(np.zeros((20_000, 3)))
    small = dataclasses.replace(NOTHING, jitter_sigma_m=0.005)
    noise = augment(still, rng(0), small).coord
    assert np.abs(noise).max() <= np.float32(0.02)
    assert noise.std() == pytest.approx(0.005, rel=0.02)
    assert abs(noise.mean()) < 1e-4
    # Most values hit the bound when the deviation is large, and none is beyond.
    wide = augment(still, rng(0), dataclasses.replace(NOTHING, jitter_sigma_m=1.0)).coord
    assert np.abs(wide).max() == np.float32(0.02)
    assert (np.abs(wide) == np.float32(0.02)).mean() > 0.9


def test_jitter_comes_last_so_that_its_bound_holds_after_scaling(frame):
    still = dataclasses.replace(PAPER_AUGMENTATION, jitter_sigma_m=0.0)
    for seed in range(20):
        moved = augment(frame, rng(seed), PAPER_AUGMENTATION).coord
        unmoved = augment(frame, rng(seed), still).coord
        difference = np.abs(moved - unmoved)
        assert 0.01 < difference.max() <= 0.02 + 1e-6


def test_the_same_generator_gives_the_same_frame(frame):
    first = augment(frame, rng(5), PAPER_AUGMENTATION).coord
    np.testing.assert_array_equal(first, augment(frame, rng(5), PAPER_AUGMENTATION).coord)
    assert not np.array_equal(first, augment(frame, rng(6), PAPER_AUGMENTATION).coord)


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        ("rotation_probability", [1.5, math.nan]),
        ("flip_x_probability", [-0.1]),
        ("flip_y_probability", [2.0]),
        ("rotation_max_deg", [181.0, -1.0]),
        ("scale_min", [0.0, 1.2]),
        ("scale_max", [math.inf]),
        ("jitter_sigma_m", [-0.1]),
        ("jitter_clip_m", [math.nan]),
        ("grid_size_m", [0.0, -0.05, math.nan, math.inf]),
        ("clip_range_m", [
            (0, 0, 0), (0, 0, 0, 1, 1, -1), (0, 0, math.nan, 1, 1, 1), (0, 0, 0, 1, math.inf, 1),
        ]),
        ("max_voxels", [0]),
    ],
)  # fmt: skip
def test_an_impossible_setting_is_named(frame, setting: str, values: list):
    use = {
        "grid_size_m": lambda value: voxelize(frame, value),
        "clip_range_m": lambda value: clip(frame, value),
        "max_voxels": lambda value: crop(voxelize(frame, 0.5), value, rng(0)),
    }.get(setting, lambda value: Augmentation(**{setting: value}))
    for value in values:
        refused(partial(use, value), setting)


# ------------------------------------------------------------------ clipping


def test_clipping_moves_points_onto_the_box_and_drops_none(frame):
    box = (-1.0, -2.0, -0.5, 1.5, 2.5, 0.5)
    out = clip(frame, box)
    assert len(out.coord) == len(frame.coord)
    for axis in range(3):
        expected = [min(max(v, box[axis]), box[axis + 3]) for v in frame.coord[:, axis].tolist()]
        np.testing.assert_array_equal(out.coord[:, axis], np.float32(expected))


# ------------------------------------------------------------------ voxels

cells_and_places = st.lists(
    st.tuples(*[st.integers(-40, 40)] * 3, *[st.integers(0, 7)] * 3), min_size=1, max_size=60
)


@given(rows=cells_and_places, seed=st.none() | st.integers(0, 100))
def test_every_point_lands_in_the_voxel_that_contains_it(rows, seed: int | None):
    # In eighths of a quarter meter every position is exact, so the cell is known by construction.
    table = np.array(rows)
    cell, eighth = table[:, :3], table[:, 3:]
    frame = make_frame((cell + eighth / 8) * 0.25)
    voxels = voxelize(frame, 0.25, rng=None if seed is None else rng(seed))
    expected = cell - cell.min(axis=0)
    np.testing.assert_array_equal(voxels.grid_coord[voxels.inverse], expected)
    assert sorted(map(tuple, voxels.grid_coord.tolist())) == sorted(
        {tuple(row) for row in expected.tolist()}
    )


@pytest.mark.parametrize("grid_size", [0.05, 0.1, 0.5, 0.3])
def test_voxels_agree_with_a_dictionary_of_cells(frame, grid_size: float):
    members = defaultdict(set)
    for index, point in enumerate(frame.coord.tolist()):
        members[tuple(math.floor(value / grid_size) for value in point)].add(index)
    voxels = voxelize(frame, grid_size)
    by_voxel = defaultdict(set)
    for index, voxel in enumerate(voxels.inverse.tolist()):
        by_voxel[voxel].add(index)
    assert sorted(map(sorted, by_voxel.values())) == sorted(map(sorted, members.values()))
    assert sorted(by_voxel) == list(range(len(voxels.coord)))


@pytest.mark.parametrize("grid_size", [0.05, 0.1, 0.3])
def test_points_on_voxel_faces_go_where_double_precision_puts_them(grid_size: float):
    line = (np.arange(-1600, 1600) * grid_size).astype(np.float32)
    frame = make_frame(np.stack([line, 0 * line, 0 * line], axis=1))
    cell = np.array([math.floor(value / grid_size) for value in line.tolist()])
    voxels = voxelize(frame, grid_size)
    np.testing.assert_array_equal(voxels.grid_coord[voxels.inverse, 0], cell - cell.min())


@pytest.mark.parametrize("seed", [None, 0])
def test_rows_are_unique_start_at_zero_and_are_sorted(frame, seed):
    grid = voxelize(frame, 0.2, rng=None if seed is None else rng(seed)).grid_coord
    assert grid.dtype == np.int64
    assert grid.min(axis=0).tolist() == [0, 0, 0]
    rows = list(map(tuple, grid.tolist()))
    assert rows == sorted(set(rows))


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_a_voxel_shows_one_of_its_own_points_whole(frame, seed):
    voxels = voxelize(frame, 0.5, rng=None if seed is None else rng(seed))
    rows = {tuple(row): index for index, row in enumerate(frame.coord.tolist())}
    for voxel, row in enumerate(voxels.coord.tolist()):
        index = rows[tuple(row)]
        assert voxels.inverse[index] == voxel
        assert voxels.strength[voxel] == frame.strength[index]
        assert voxels.segment[voxel] == frame.segment[index]


def test_without_chance_the_point_nearest_to_the_center_is_picked(frame):
    voxels = voxelize(frame, 0.5)
    coord = frame.coord.astype(np.float64)
    away = np.linalg.norm(coord - (np.floor(coord / 0.5) + 0.5) * 0.5, axis=1)
    several = 0
    for voxel in range(len(voxels.coord)):
        members = np.flatnonzero(voxels.inverse == voxel)
        several += len(members) > 1
        nearest = members[np.argmin(away[members])]
        np.testing.assert_array_equal(voxels.coord[voxel], frame.coord[nearest])
    assert several > 100
    # Of equally near ones the first.
    frame = make_frame(np.array([[0.75, 0.5, 0.5], [0.25, 0.5, 0.5], [0.5, 0.75, 0.5]]))
    voxels = voxelize(frame, 1.0)
    assert voxels.strength[:, 0].tolist() == [0.0]


def test_by_chance_every_member_is_picked_equally_often():
    coord = np.array([[0.1, 0.1, 0.1], [0.5, 0.5, 0.5], [0.9, 0.9, 0.9], [5.5, 0.5, 0.5]])
    counts = np.zeros(4)
    for seed in range(900):
        picked = voxelize(make_frame(coord), 1.0, rng=rng(seed)).strength[:, 0].astype(int)
        counts[picked] += 1
    # The lone point is always there; the others a third each, within 4 deviations.
    assert counts[3] == 900
    np.testing.assert_allclose(counts[:3], 300, atol=4 * math.sqrt(900 * 2 / 9))


def test_labels_of_all_points_are_kept_and_may_be_absent(frame):
    voxels = voxelize(frame, 0.5)
    np.testing.assert_array_equal(voxels.raw_segment, frame.segment)
    bare = voxelize(dataclasses.replace(frame, segment=None), 0.5)
    assert bare.segment is None
    assert bare.raw_segment is None


def test_a_grid_too_fine_for_the_codes_says_which_would_do():
    frame = make_frame(np.array([[0.0, 0.0, 0.0], [100.0, 0.0, 0.0]]))
    refused_at("made.bin", lambda: voxelize(frame, 0.001), "needs 100001 ", "at least 0.0016")
    assert voxelize(frame, 0.0016).grid_coord.max() < 1 << 16


@pytest.mark.parametrize("length_m", [70.0, 99.9, 131.068, 655.34, 4000.0])
def test_the_grid_size_that_is_named_is_large_enough(length_m: float):
    frame = make_frame(np.array([[0.3, 0.0, 0.0], [0.3 + length_m, 0.0, 0.0]]))
    named = float(re.search(r"at least (\S+),", refused(lambda: voxelize(frame, 0.001)))[1])
    assert voxelize(frame, named).grid_coord.max() < MAX_GRID
    assert named < 1.2 * length_m / MAX_GRID


def test_what_voxelize_lets_pass_the_network_s_curves_take_and_no_more():
    widest = np.array([[0.5, 0.5, 0.5], [MAX_GRID - 0.5, 0.5, 0.5]])
    batch = collate([voxelize(make_frame(widest), 1.0)])
    assert batch["grid_coord"].max() == MAX_GRID - 1
    build_hierarchy(batch)
    wider = make_frame(widest + np.array([[0, 0, 0], [1, 0, 0]]))
    said = "at grid_size_m=1 ", " needs 65536 voxels"
    refused_at("made.bin", lambda: voxelize(wider, 1.0), *said)
    batch["grid_coord"][1, 0] += 1
    with pytest.raises(ValueError, match="the curves end at"):
        build_hierarchy(batch)


def test_an_empty_or_infinite_frame_is_refused():
    for coord, said in ((np.zeros((0, 3)), "no points"), ([[0.0, math.nan, 0.0]], "not finite")):
        refused_at("made.bin", partial(voxelize, make_frame(coord), 0.05), said)


@pytest.mark.real_data
def test_the_real_frame_s_voxels_cover_every_point(real_data: Path):
    path = real_data / "semantickitti/dev/sequences/00/velodyne/000000.bin"
    coord = np.fromfile(path, "<f4").reshape(-1, 4)[:, :3]
    voxels = voxelize(make_frame(coord), 0.05)
    cells = np.floor(coord.astype(np.float64) / 0.05)
    assert len(voxels.coord) == len(np.unique(cells, axis=0)) == 91_767
    np.testing.assert_array_equal(voxels.grid_coord[voxels.inverse], cells - cells.min(axis=0))


# ------------------------------------------------------------------ crop


def check_consistent(voxels: VoxelFrame) -> None:
    """Check that every point of the crop still lies in its voxel."""
    assert sorted(set(voxels.inverse.tolist())) == list(range(len(voxels.coord)))
    assert voxels.grid_coord.min(axis=0).tolist() == [0, 0, 0]
    assert len(voxels.raw_segment) == len(voxels.inverse)


@given(seed=st.integers(0, 1000), most=st.integers(1, 400))
def test_a_crop_stays_within_its_bound(seed: int, most: int):
    coord = rng(seed).uniform(-2, 2, (300, 3))
    voxels = crop(voxelize(make_frame(coord), 0.5), most, rng(seed + 1))
    total = len(voxelize(make_frame(coord), 0.5).coord)
    assert len(voxels.coord) == min(most, total)
    check_consistent(voxels)


def test_a_crop_keeps_the_voxels_nearest_to_one_of_them(frame):
    whole = voxelize(frame, 0.25)
    cut = crop(whole, 200, rng(0))
    kept = {tuple(row) for row in cut.coord.tolist()}
    coord = whole.coord.astype(np.float64)
    balls = []
    for center in coord:
        near = np.argsort(np.linalg.norm(coord - center, axis=1), kind="stable")[:200]
        balls.append({tuple(row) for row in whole.coord[near].tolist()})
    assert kept in balls


def test_a_crop_drops_the_points_of_dropped_voxels_and_no_others(frame):
    whole = voxelize(frame, 0.5)
    cut = crop(whole, 50, rng(3))
    kept = {tuple(row) for row in cut.coord.tolist()}
    stays = [tuple(whole.coord[voxel].tolist()) in kept for voxel in whole.inverse]
    np.testing.assert_array_equal(cut.raw_segment, whole.raw_segment[stays])
    rows = [tuple(whole.coord[voxel].tolist()) for voxel in whole.inverse[stays]]
    assert [tuple(cut.coord[voxel].tolist()) for voxel in cut.inverse] == rows
    # Voxels keep their neighborhood: only the origin moves.
    shift = {
        tuple((whole.grid_coord[i] - cut.grid_coord[j]).tolist())
        for j, row in enumerate(cut.coord.tolist())
        for i in np.flatnonzero((whole.coord == np.float32(row)).all(axis=1))
    }
    assert len(shift) == 1
    check_consistent(cut)


def test_crops_differ_from_one_generator_to_the_next_and_what_is_small_is_not_cropped(frame):
    whole = voxelize(frame, 0.25)
    first = crop(whole, 100, rng(0)).coord
    np.testing.assert_array_equal(first, crop(whole, 100, rng(0)).coord)
    assert not np.array_equal(first, crop(whole, 100, rng(1)).coord)
    assert crop(whole, len(whole.coord), rng(0)) is whole
