"""What an exported PTv3 takes as input, made from a point cloud with numpy alone.

`topodistill export` copies this file beside the network as ``geometry.py``; it needs numpy and
nothing of topodistill. Features and voxels come from `voxelize`, all other inputs of the network
from `build_tables`.

Shape letters: N points, V_s voxels at stage s, R curves of a stage, P patches, L slots of a patch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

MAX_DEPTH = 16
"""Bits an axis that the curves hold."""

CURVES = ("z", "z-trans", "hilbert", "hilbert-trans")
DEPTH_RULES = ("main", "v1.5.1")

CHILDREN = 8
"""Finer voxels that a coarse one can have."""

# Masks that spread the low 16 bits of a number so that bit i lands on bit 3 i.
_SPREAD_STEPS = (
    (32, 0x1F00000000FFFF),
    (16, 0x1F0000FF0000FF),
    (8, 0x100F00F00F00F00F),
    (4, 0x10C30C30C30C30C3),
    (2, 0x1249249249249249),
)


class GeometryError(ValueError):
    """Says in one line what is wrong with a cloud and what to do about it."""


@dataclass(frozen=True)
class Plan:
    """Which tables a network wants; its export says so.

    Attributes
    ----------
    num_stages
        Resolutions; each but the first halves that of the one before.
    orders
        Curves by name; block i of a stage attends along curve i modulo their number.
    curves
        How many of the curves each stage uses.
    patch_size
        Voxels that attend to each other.
    depth_rule
        ``"main"`` or ``"v1.5.1"``: how many bits the curves have for a given extent.
    """

    num_stages: int
    orders: tuple[str, ...]
    curves: tuple[int, ...]
    patch_size: int
    depth_rule: str

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "Plan":
        """Return the plan that an export's metadata describe.

        Raises
        ------
        KeyError, TypeError
            If a value is missing or of another kind.
        GeometryError
            If no network has it.
        """
        plan = cls(
            values["num_stages"],
            tuple(values["orders"]),
            tuple(values["curves"]),
            values["patch_size"],
            values["depth_rule"],
        )
        sizes = (plan.num_stages, plan.patch_size, *plan.curves)
        if (
            not all(type(size) is int and 1 <= size < 1 << 20 for size in sizes)
            or len(plan.curves) != plan.num_stages
            or max(plan.curves) > len(plan.orders)
            or not all(order in CURVES for order in plan.orders)
            or plan.depth_rule not in DEPTH_RULES
        ):
            raise GeometryError(f"no network has the geometry {plan}")
        return plan


@dataclass(frozen=True)
class Voxels:
    """A cloud with one point for each occupied voxel.

    Attributes
    ----------
    feat
        [V, 4] float32 x, y, z in meters and strength of the voxel's point.
    grid_coord
        [V, 3] int64 voxel indices from 0.
    inverse
        [N] int64 the voxel of every point: ``logits[inverse]`` has a row for each point.
    """

    feat: np.ndarray
    grid_coord: np.ndarray
    inverse: np.ndarray


def voxelize(
    points: np.ndarray, grid_size_m: float, clip_range_m: tuple[float, ...] | None = None
) -> Voxels:
    """Return a cloud's voxels, each with its point nearest to the center.

    Parameters
    ----------
    points
        [N, 4] x, y, z in meters and strength, N at least 1.
    grid_size_m
        The voxels' edge, as in training.
    clip_range_m
        Lower corner, upper corner of the box that points are moved into, as in training; None: no
        box.

    Raises
    ------
    GeometryError
        If the shape is another, the cloud is empty, an entry is not finite, or the cloud has more
        voxels along an axis than the curves hold.
    """
    points = np.asarray(points, dtype=np.float32)
    if points.ndim != 2 or points.shape[1] != 4 or len(points) == 0:
        raise GeometryError(
            f"points have shape {points.shape}, must be (N, 4) with N at least 1: x, y, z in "
            "meters and strength"
        )
    if not np.isfinite(points).all():
        raise GeometryError("points have a NaN or infinite entry; drop those points")
    coord, strength = points[:, :3], points[:, 3:]
    if clip_range_m is not None:
        box = np.array(clip_range_m, dtype=np.float32)
        coord = np.clip(coord, box[:3], box[3:])
    scaled = coord.T.astype(np.float64, order="C") / grid_size_m
    cell = np.floor(scaled)
    scaled -= cell
    cell -= cell.min(axis=1, keepdims=True)
    _check_extent(float(cell.max()), grid_size_m)
    grid = cell.astype(np.int64)
    key = (grid[0] << (2 * MAX_DEPTH)) | (grid[1] << MAX_DEPTH) | grid[2]
    from_center = ((scaled - 0.5) ** 2).sum(axis=0)
    by_key = np.lexsort((from_center, key))  # of equally near points the first
    starts = np.diff(key[by_key], prepend=-1) > 0
    pick = by_key[starts]
    inverse = np.empty(len(key), dtype=np.int64)
    inverse[by_key] = np.cumsum(starts) - 1
    feat = np.concatenate([coord[pick], strength[pick]], axis=1)
    return Voxels(feat, np.ascontiguousarray(grid[:, pick].T), inverse)


def build_tables(grid_coord: np.ndarray, plan: Plan) -> dict[str, np.ndarray]:
    """Return every input of the network but ``feat``, by name.

    Parameters
    ----------
    grid_coord
        [V_0, 3] whole numbers from 0, each voxel once, one cloud.
    plan
        Of the network.

    Returns
    -------
    dict of str to ndarray
        All int32. ``stem_neighbors`` [V_0, 125] and ``neighbors_s`` [V_s, 27]: the row of the voxel
        at each place of a cube around every voxel (z runs fastest), V_s where there is none.
        ``patches_s`` [R, P, L]: the rows that attend to each other, L = min(V_s, patch size); where
        V_s is no multiple of L the last patch borrows rows of the one before.
        ``patch_place_s`` [R, V_s]: where in its curve's patches a voxel's own result is, patch * L
        + slot. ``children_s`` [V_s, 8], s from 1: the voxels of stage s - 1 in each voxel, the
        first one repeated where there are fewer. ``parent_s`` [V_{s-1}]: the other way round.

    Raises
    ------
    GeometryError
        If there are no voxels, an index is negative, a voxel comes twice, or the cloud is larger
        than the curves hold.
    """
    grid = _checked(grid_coord)
    depth = curve_depth(int(grid.max()), plan.depth_rule)
    if depth > MAX_DEPTH:
        _check_extent(float(grid.max()) + 1.0, None)
    code = np.stack([curve_code(grid, name, depth) for name in plan.orders])
    stem = neighbor_table(grid, 5)
    tables = {"stem_neighbors": stem}
    for stage in range(plan.num_stages):
        order = np.argsort(code, axis=1, kind="stable")
        tables[f"neighbors_{stage}"] = neighbor_table(grid, 3) if stage else _inner_cube(stem)
        slots, places = _patches(order[: plan.curves[stage]], plan.patch_size)
        tables[f"patches_{stage}"], tables[f"patch_place_{stage}"] = slots, places
        if stage + 1 < plan.num_stages:
            # Once the curve has a single cell left there is nothing more to halve.
            shift = 1 if depth > 0 else 0
            depth -= shift
            grid, code, children, parent = _pooled(grid, code, order[0], shift)
            tables[f"children_{stage + 1}"], tables[f"parent_{stage + 1}"] = children, parent
    return tables


def input_names(plan: Plan) -> tuple[str, ...]:
    """Return the names of the network's inputs in their order; ``feat`` is the first."""
    names = ["feat", "stem_neighbors"]
    for stage in range(plan.num_stages):
        if stage:
            names += [f"children_{stage}", f"parent_{stage}"]
        names += [f"neighbors_{stage}", f"patches_{stage}", f"patch_place_{stage}"]
    return tuple(names)


def curve_depth(max_grid_coord: int, rule: str) -> int:
    """Return the bits an axis needs; "main" counts one cell more than there are voxels."""
    if rule not in DEPTH_RULES:
        raise GeometryError(f"depth rule is {rule!r}, must be 'main' or 'v1.5.1'")
    return (max_grid_coord + (rule == "main")).bit_length()


def curve_code(grid: np.ndarray, name: str, depth: int) -> np.ndarray:
    """Return the place of each voxel along a curve: [V] int64.

    Parameters
    ----------
    grid
        [V, 3] int64 in [0, 2^depth).
    name
        ``"z"`` (Morton) or ``"hilbert"`` (J. Skilling, AIP Conf. Proc. 707, 2004); with ``-trans``
        x and y are exchanged first.
    depth
        Bits an axis.
    """
    if name not in CURVES:
        raise GeometryError(f"no curve is called {name!r}")
    kind, _, swapped = name.partition("-")
    x, y, z = (grid[:, axis].copy() for axis in ((1, 0, 2) if swapped else (0, 1, 2)))
    if kind == "z":
        return _interleaved(x, y, z)
    axes = [x, y, z]
    for bit in range(depth - 1, -1, -1):
        low = (1 << bit) - 1
        for axis in range(3):
            is_set = (axes[axis] >> bit) & 1 == 1
            swap = np.where(is_set, 0, (axes[0] ^ axes[axis]) & low)
            axes[0] ^= np.where(is_set, low, swap)
            if axis:
                axes[axis] ^= swap
    code = _interleaved(*axes)
    shift = 1
    while shift < 3 * depth:  # from Gray code to binary
        code ^= code >> shift
        shift *= 2
    return code


def neighbor_table(grid: np.ndarray, side: int) -> np.ndarray:
    """Return the row of the voxel at each place of a cube around every voxel: [V, side^3] int32.

    Parameters
    ----------
    grid
        [V, 3] int64, not negative, rows differ.
    side
        Of the cube, odd. Place k is at (k // side^2, k // side % side, k % side) - side // 2.

    Notes
    -----
    Keys in which z runs fastest make the cells above each other of a column consecutive: one binary
    search a column, then steps. Half of the columns are searched, the others mirror them.
    """
    radius, count = side // 2, len(grid)
    # Room for cells beyond the border, so that no key stands for two cells.
    _, wide, high = (int(extent) + 1 + 2 * radius for extent in grid.max(axis=0))
    key = (grid[:, 0] * wide + grid[:, 1]) * high + grid[:, 2]
    row = np.argsort(key, kind="stable")
    key = key[row]
    table = np.full((side**3, count), count, dtype=np.int32)
    table[side**3 // 2] = np.arange(count)
    key_or_end = np.append(key, np.iinfo(np.int64).max)
    place = 0
    for dx in range(-radius, 1):
        for dy in range(-radius, radius + 1):
            if (dx, dy) > (0, 0):
                break
            lowest = key + (dx * wide + dy) * high - radius
            at = np.searchsorted(key, lowest)
            for dz in range(side if (dx, dy) < (0, 0) else radius):
                is_there = key_or_end[at] == lowest + dz
                here, there = row[is_there], row[at[is_there]]
                table[place, here] = there
                table[side**3 - 1 - place, there] = here
                at += is_there
                place += 1
    return np.ascontiguousarray(table.T)


def _checked(grid_coord: np.ndarray) -> np.ndarray:
    grid = np.asarray(grid_coord)
    if grid.ndim != 2 or grid.shape[1] != 3 or len(grid) == 0 or grid.dtype.kind not in "iu":
        raise GeometryError(
            f"grid_coord is {grid.dtype} of shape {grid.shape}, must be whole numbers of shape "
            "(V, 3) with V at least 1"
        )
    grid = grid.astype(np.int64)
    if grid.min() < 0:
        raise GeometryError(
            f"grid_coord has the negative entry {grid.min()}; subtract the smallest on each axis"
        )
    _check_extent(float(grid.max()), None)
    key = (grid[:, 0] << (2 * MAX_DEPTH)) | (grid[:, 1] << MAX_DEPTH) | grid[:, 2]
    if len(np.unique(key)) < len(key):
        raise GeometryError("grid_coord has a voxel twice; give each voxel one row (see voxelize)")
    return grid


def _check_extent(largest: float, grid_size_m: float | None) -> None:
    """Refuse a cloud whose voxel indices have more bits than the curves."""
    limit = (1 << MAX_DEPTH) - 2
    if largest > limit:
        hint = "drop the points far away, or take larger voxels"
        if grid_size_m is not None:
            hint += f" (they are {grid_size_m:g} m)"
        raise GeometryError(
            f"the cloud has {largest + 1:.0f} voxels along an axis, the curves hold {limit + 1}; "
            f"{hint}"
        )


def _interleaved(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the words whose bits 3 i + 2, 3 i + 1, 3 i are bit i of x, y, z."""
    spread = []
    for axis in (x, y, z):
        for shift, mask in _SPREAD_STEPS:
            axis = (axis | (axis << shift)) & mask
        spread.append(axis)
    return (spread[0] << 2) | (spread[1] << 1) | spread[2]


def _inner_cube(table: np.ndarray) -> np.ndarray:
    """Return the 3 x 3 x 3 places of a 5 x 5 x 5 table."""
    cube = table.reshape(-1, 5, 5, 5)[:, 1:4, 1:4, 1:4]
    return np.ascontiguousarray(cube.reshape(-1, 27))


def _patches(order: np.ndarray, patch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut curves [R, V] into patches: rows [R, P, L] and where each row's result is [R, V]."""
    num_curves, count = order.shape
    length = min(count, patch_size)
    slot = np.arange(-(-count // length) * length)
    # A voxel's own result is in the slot of its place; what is beyond the end is borrowed.
    slots = order[:, np.where(slot < count, slot, slot - length)]
    places = np.empty((num_curves, count), dtype=np.int32)
    np.put_along_axis(places, order, np.arange(count, dtype=np.int32)[None], axis=1)
    return slots.reshape(num_curves, -1, length).astype(np.int32), places


def _pooled(
    grid: np.ndarray, code: np.ndarray, along: np.ndarray, shift: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Merge voxels that share a cell twice as wide; rows are in the order of the first curve."""
    cell = code[0, along] >> (3 * shift)
    starts = np.diff(cell, prepend=-1) > 0
    index = np.cumsum(starts) - 1
    first = np.flatnonzero(starts)
    member = along[first]
    parent = np.empty(len(along), dtype=np.int32)
    parent[along] = index
    children = np.repeat(member[:, None], CHILDREN, axis=1).astype(np.int32)
    children[index, np.arange(len(along)) - first[index]] = along
    return grid[member] >> shift, code[:, member] >> (3 * shift), children, parent
