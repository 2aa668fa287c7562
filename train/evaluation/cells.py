"""Structure of a labeled cloud: points near a border, occupied cells, components of cells.

Shape letters: N points, K cells, E pairs of neighboring cells.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.core.compiled import compiled

CELL_SIZE_M: Final = 0.2
"""Edge of the cells that components are made of."""

BOUNDARY_RADIUS_M: Final = 0.3
"""How near a point of another class makes a boundary point."""

_AXIS_BITS: Final = 21  # three axes fit into one int64
_MAX_CELLS: Final = (1 << _AXIS_BITS) - 1  # one is left free between a row's end and the next

# Of two opposite neighbors one is enough: a pair is found from its first cell.
_HALF_OF_26: Final = tuple(
    (x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1) if (x, y, z) > (0, 0, 0)
)


@dataclass(frozen=True)
class OccupiedCells:
    """The cells of a grid that hold points, and which of them touch.

    Attributes
    ----------
    cell_of_point
        (N,) int32: the cell of each point. Cells are numbered in lexicographic order.
    pairs
        (2, E) int32: cells that share a face, an edge or a corner (26 neighbors), each pair once,
        the smaller number first.
    num_cells
        K.
    """

    cell_of_point: NDArray[np.int32]
    pairs: NDArray[np.int32]
    num_cells: int


def occupied_cells(coord: NDArray[np.floating], cell_size_m: float = CELL_SIZE_M) -> OccupiedCells:
    """Return the cells that points lie in.

    Parameters
    ----------
    coord
        (N, 3) meters, finite; N may be 0.
    cell_size_m
        The cells' edge; their borders lie on whole multiples of it. A point on a border belongs to
        the upper cell.

    Raises
    ------
    ValueError
        If a coordinate is not finite, the shape is another, or there are more than 2**21 - 1 cells
        along an axis.
    """
    key, _ = _cell_keys(coord, cell_size_m, "occupied_cells")
    keys, cell_of_point = np.unique(key, return_inverse=True)
    first, second = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for x, y, z in _HALF_OF_26:
        wanted = keys + ((x << 2 * _AXIS_BITS) + (y << _AXIS_BITS) + z)
        found = np.searchsorted(keys, wanted)
        found[found == len(keys)] = 0
        there = np.flatnonzero(keys[found] == wanted)
        first.append(there)
        second.append(found[there])
    pairs = np.stack([np.concatenate(first), np.concatenate(second)])
    return OccupiedCells(cell_of_point.astype(np.int32), pairs.astype(np.int32), len(keys))


def majority_label(
    cell_of_point: NDArray[np.int32], label: NDArray[np.int64], num_cells: int, num_classes: int
) -> NDArray[np.int64]:
    """Return the label that most points of each cell have.

    Parameters
    ----------
    cell_of_point
        (N,) int32, the cell of each point.
    label
        (N,) int64, below `num_classes`; negative where a point has no vote.
    num_cells, num_classes
        K, and how many labels there are.

    Returns
    -------
    (K,) int64
        Of labels with equally many points the lowest; -1 for a cell without votes.
    """
    votes = label >= 0
    ballot = np.bincount(
        cell_of_point[votes].astype(np.int64) * num_classes + label[votes],
        minlength=num_cells * num_classes,
    ).reshape(num_cells, num_classes)
    winner = ballot.argmax(axis=1) if num_cells else np.zeros(0, dtype=np.int64)
    winner[~ballot.any(axis=1)] = -1
    return winner.astype(np.int64)


def component_roots(pairs: NDArray[np.int32], label: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each cell the first cell of its connected component of equal labels.

    Parameters
    ----------
    pairs
        (2, E) int32, neighboring cells.
    label
        (K,) int64; a cell with a negative label is connected to none.

    Returns
    -------
    (K,) int64
        The smallest cell number of the component; two cells are in one component if and only if
        theirs are equal.
    """
    roots: NDArray[np.int64] = _union(pairs[0], pairs[1], label)
    return roots


@compiled(nogil=True)  # pragma: no cover
def _union(first, second, label):  # type: ignore[no-untyped-def]
    """Join pairs of equal labels; a root is always the smallest cell of its tree."""
    parent = np.arange(len(label))
    for e in range(len(first)):
        a, b = first[e], second[e]
        if label[a] < 0 or label[a] != label[b]:
            continue
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        while parent[b] != b:
            parent[b] = parent[parent[b]]
            b = parent[b]
        if a < b:
            parent[b] = a
        else:
            parent[a] = b
    for cell in range(len(parent)):
        # Parents are smaller, so that the parent's is a root by now.
        parent[cell] = parent[parent[cell]]
    return parent


def boundary_mask(
    coord: NDArray[np.floating],
    truth: NDArray[np.int64],
    radius_m: float = BOUNDARY_RADIUS_M,
) -> NDArray[np.bool_]:
    """Return which points have a point of another class near them.

    Parameters
    ----------
    coord
        (N, 3) meters, finite; N may be 0.
    truth
        (N,) int64 true labels. A point with a negative one is no boundary point and makes none.
    radius_m
        How near, this distance included.

    Returns
    -------
    (N,) bool
        True for a labeled point with a differently labeled point within the radius.

    Raises
    ------
    ValueError
        As `occupied_cells`, or if the lengths differ.
    """
    if truth.shape != (len(coord),):
        raise ValueError(f"boundary_mask: {truth.shape} labels for {len(coord)} points")
    labeled = np.flatnonzero(truth >= 0)
    # A hair more than the radius: rounding cannot put points this near two cells apart.
    key, points = _cell_keys(coord[labeled], radius_m * (1.0 + 1e-6), "boundary_mask")
    order = np.argsort(key, kind="stable")
    keys, starts = np.unique(key[order], return_index=True)
    near = np.zeros(len(truth), dtype=np.bool_)
    near[labeled[order]] = _mixed(
        np.ascontiguousarray(points[order]),
        truth[labeled][order],
        keys,
        np.append(starts, len(order)),
        radius_m * radius_m,
    )
    return near


@compiled(nogil=True)  # pragma: no cover
def _mixed(points, label, keys, starts, squared_radius):  # type: ignore[no-untyped-def]
    """Return which of the points, sorted by cell, have another label within the radius."""
    near = np.zeros(len(points), dtype=np.bool_)
    for here in range(len(keys)):
        for x in range(-1, 2):
            for y in range(-1, 2):
                lowest = keys[here] + (x << 2 * _AXIS_BITS) + (y << _AXIS_BITS) - 1
                there = np.searchsorted(keys, lowest)
                while there < len(keys) and keys[there] <= lowest + 2:
                    # Each pair of cells is seen from both sides: a point learns of its own only.
                    for i in range(starts[here], starts[here + 1]):
                        if near[i]:
                            continue
                        for j in range(starts[there], starts[there + 1]):
                            if label[j] == label[i]:
                                continue
                            dx = points[i, 0] - points[j, 0]
                            dy = points[i, 1] - points[j, 1]
                            dz = points[i, 2] - points[j, 2]
                            if dx * dx + dy * dy + dz * dz <= squared_radius:
                                near[i] = True
                                break
                    there += 1
    return near


def _cell_keys(
    coord: NDArray[np.floating], cell_size_m: float, caller: str
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return each point's cell as one number, z fastest, and the points in double precision."""
    if coord.ndim != 2 or coord.shape[1] != 3:
        raise ValueError(f"{caller}: coord has shape {coord.shape}, must be (N, 3)")
    points = coord.astype(np.float64)
    if not np.isfinite(points).all():
        raise ValueError(f"{caller}: coord has a coordinate that is not finite")
    if not len(points):
        return np.zeros(0, dtype=np.int64), points
    cell = np.floor(points / cell_size_m)
    cell -= cell.min(axis=0)
    if cell.max() >= _MAX_CELLS:
        raise ValueError(
            f"{caller}: coord spans {cell.max() + 1:.0f} cells of {cell_size_m:g} m along an axis, "
            f"more than {_MAX_CELLS}"
        )
    x, y, z = cell.astype(np.int64).T
    return (x << 2 * _AXIS_BITS) + (y << _AXIS_BITS) + z, points
