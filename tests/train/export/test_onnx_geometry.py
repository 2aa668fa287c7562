"""The exported tables, made by numpy alone, against the network's own hierarchy."""

import ast
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from train.core.errors import UserError
from train.data.frame import LidarFrame
from train.data.transforms import clip, voxelize
from train.export import onnx_geometry
from train.export.onnx_geometry import GeometryError, Plan, build_tables, input_names
from train.networks.ptv3 import build_hierarchy

PLAN = Plan(5, ("z", "z-trans", "hilbert", "hilbert-trans"), (4, 3, 2, 2, 1), 16, "main")


def surface(count, seed, side=40):
    """Return distinct voxels near a wavy floor, in any order."""
    rng = np.random.default_rng(seed)
    flat = rng.integers(0, side, (30 * count + 30, 3))
    flat[:, 2] = 3 + 2 * np.sin(flat[:, 0] / 5) + rng.integers(0, 2, len(flat))
    grid = rng.permutation(np.unique(flat, axis=0))[:count]
    assert len(grid) == count
    return grid - grid.min(axis=0)


def hierarchy_of(grid, plan):
    coord = torch.from_numpy(0.05 * grid)
    return build_hierarchy(
        {
            "feat": torch.zeros(len(grid), 4),
            "coord": coord,
            "grid_coord": torch.from_numpy(grid),
            "offset": torch.tensor([len(grid)]),
        },
        num_stages=plan.num_stages,
        orders=plan.orders,
        depth_rule=plan.depth_rule,
    )


# One voxel, one patch less one, one patch, one more, several, no multiple; many.
@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 48, 333, 1000])
@pytest.mark.parametrize("rule", ["main", "v1.5.1"])
def test_every_table_is_that_of_the_hierarchy(count, rule):
    plan = dataclasses.replace(PLAN, depth_rule=rule)
    grid = surface(count, seed=count)
    tables = build_tables(grid, plan)
    hierarchy = hierarchy_of(grid, plan)
    assert set(tables) == set(input_names(plan)[1:])
    assert {table.dtype for table in tables.values()} == {np.dtype(np.int32)}
    np.testing.assert_array_equal(tables["stem_neighbors"], hierarchy.table(0, 5).rows.T)
    for stage, level in enumerate(hierarchy.levels):
        np.testing.assert_array_equal(
            tables[f"neighbors_{stage}"], hierarchy.table(stage, 3).rows.T
        )
        patches, place = tables[f"patches_{stage}"], tables[f"patch_place_{stage}"]
        assert len(patches) == len(place) == plan.curves[stage]
        for curve in range(plan.curves[stage]):
            wanted = hierarchy.patches(stage, curve, plan.patch_size)
            np.testing.assert_array_equal(patches[curve].ravel(), wanted.slots)
            np.testing.assert_array_equal(place[curve], wanted.slot_of_row)
        if stage:
            parent, children = tables[f"parent_{stage}"], tables[f"children_{stage}"]
            np.testing.assert_array_equal(parent, level.cluster)
            for row, members in enumerate(children):
                assert set(members) == set(np.flatnonzero(parent == row))


def test_a_cloud_in_one_cell_stays_one_voxel_at_every_stage():
    tables = build_tables(np.zeros((1, 3), dtype=np.int64), PLAN)
    for stage in range(5):
        assert tables[f"neighbors_{stage}"].tolist() == [[1] * 13 + [0] + [1] * 13]
        assert tables[f"patches_{stage}"].shape == (PLAN.curves[stage], 1, 1)


def test_a_table_says_which_voxels_touch():
    """By a set of voxels, which shares no code with either builder."""
    grid = surface(200, seed=3)
    row_of = {tuple(voxel): row for row, voxel in enumerate(grid.tolist())}
    table = onnx_geometry.neighbor_table(grid, 5)
    places = [(k // 25 - 2, k // 5 % 5 - 2, k % 5 - 2) for k in range(125)]
    for row, voxel in enumerate(grid.tolist()):
        wanted = [row_of.get(tuple(np.add(voxel, place)), 200) for place in places]
        assert table[row].tolist() == wanted


@pytest.mark.parametrize("box", [None, (-3.0, -2.0, -1.0, 3.0, 2.0, 0.5)])
def test_voxels_are_those_of_training(box):
    rng = np.random.default_rng(5)
    points = rng.normal(0, 2, (3000, 4)).astype(np.float32)
    points[:500, :3] = points[500:1000, :3]  # equally near: the first one counts
    frame = LidarFrame(points[:, :3], points[:, 3:], None, "points", Path("points"))
    wanted = voxelize(frame if box is None else clip(frame, box), 0.3)
    found = onnx_geometry.voxelize(points, 0.3, box)
    np.testing.assert_array_equal(found.grid_coord, wanted.grid_coord)
    np.testing.assert_array_equal(found.inverse, wanted.inverse)
    np.testing.assert_array_equal(found.feat, np.c_[wanted.coord, wanted.strength])
    assert found.feat.dtype == np.float32
    assert len(found.feat) < 2500


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (np.zeros((0, 3), int), "must be whole numbers of shape"),
        (np.zeros((4, 2), int), "must be whole numbers of shape"),
        (np.zeros((4, 3)), "is float64"),
        (np.array([[0, 0, 0], [-2, 0, 0]]), "negative entry -2"),
        (np.zeros((2, 3), int), "a voxel twice"),
        (np.array([[0, 0, 0], [65535, 0, 0]]), "65536 voxels along an axis, the curves hold 65535"),
    ],
)
def test_voxels_that_no_curve_holds_are_refused_in_one_line(grid, message):
    with pytest.raises(GeometryError, match=message) as raised:
        build_tables(grid, PLAN)
    assert "\n" not in str(raised.value)


def test_the_largest_cloud_that_the_curves_hold_is_taken():
    grid = np.array([[0, 0, 0], [65534, 65534, 65534]])
    tables = build_tables(grid, PLAN)
    np.testing.assert_array_equal(
        tables["patches_0"][2].ravel(), hierarchy_of(grid, PLAN).patches(0, 2, 16).slots
    )


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((3, 3)), r"shape \(3, 3\)"),
        (np.zeros((0, 4)), r"shape \(0, 4\)"),
        (np.full((2, 4), np.nan), "NaN"),
        (np.array([[0, 0, 0, 0], [1e4, 0, 0, 0]]), r"100001 voxels along .* \(they are 0.1 m\)"),
    ],
)
def test_points_that_are_none_are_refused(points, message):
    with pytest.raises(GeometryError, match=message):
        onnx_geometry.voxelize(points, 0.1)


def test_training_refuses_the_same_cloud():
    far = np.array([[0, 0, 0], [65535 * 0.5, 0, 0]], dtype=np.float32)
    frame = LidarFrame(far, np.zeros((2, 1), np.float32), None, "far", Path("far"))
    with pytest.raises(UserError, match="more than 65535"):
        voxelize(frame, 0.5)
    with pytest.raises(GeometryError, match="the curves hold 65535"):
        onnx_geometry.voxelize(np.c_[far, np.zeros(2)], 0.5)


def test_the_file_needs_numpy_alone():
    tree = ast.parse(Path(onnx_geometry.__file__).read_text())
    names = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
    }
    assert names == {"collections", "dataclasses", "typing", "numpy"}


def test_names_and_rules_that_do_not_exist_are_refused():
    grid = np.zeros((1, 3), int)
    with pytest.raises(GeometryError, match="no curve is called 'peano'"):
        build_tables(grid, dataclasses.replace(PLAN, orders=("peano",)))
    with pytest.raises(GeometryError, match="depth rule is 'v2'"):
        build_tables(grid, dataclasses.replace(PLAN, depth_rule="v2"))
