"""Cells, components and borders, against searches that try everything."""

import itertools

import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from train.evaluation.cells import (
    boundary_mask,
    component_roots,
    majority_label,
    occupied_cells,
)


def box(seed, *, extent=1.0, count=250, offset=0.0):
    points = np.random.default_rng(seed).uniform(0, extent, (count, 3)) + offset
    return points.astype(np.float32)


def lattice(seed, step, count=120, offset=0.0):
    """Points on a lattice: distances and cell borders are hit exactly, points repeat."""
    whole = np.random.default_rng(seed).integers(-4, 5, (count, 3))
    return (whole * step + offset).astype(np.float32)


CLOUDS = [
    pytest.param(box(0), id="box"),
    pytest.param(box(1, offset=-500.0), id="negative and far"),
    pytest.param(box(2, extent=0.3), id="crowded"),
    pytest.param(box(3, extent=4.0), id="sparse"),
    pytest.param(lattice(4, 0.2), id="on the borders of cells"),
    pytest.param(lattice(5, 0.1, offset=1000.0), id="lattice far away"),
    pytest.param(lattice(6, 0.3), id="at the radius"),
    pytest.param(box(7, count=1), id="one point"),
    pytest.param(box(8, count=0), id="no points"),
]


@pytest.mark.parametrize("coord", CLOUDS)
def test_cells_and_their_neighbors(coord):
    cells = occupied_cells(coord, 0.2)
    names = [tuple(row) for row in np.floor(coord.astype(np.float64) / 0.2).astype(int)]
    assert cells.num_cells == len(set(names))
    name_of = dict(zip(cells.cell_of_point.tolist(), names, strict=True))
    assert [name_of[cell] for cell in cells.cell_of_point] == names
    assert [name_of[cell] for cell in range(cells.num_cells)] == sorted(set(names))
    expected = {
        (a, b)
        for a, b in itertools.combinations(range(cells.num_cells), 2)
        if max(abs(p - q) for p, q in zip(name_of[a], name_of[b], strict=True)) == 1
    }
    found = list(zip(*cells.pairs.tolist(), strict=True))
    assert len(found) == len(expected)
    assert set(found) == expected


@pytest.mark.oracle
@pytest.mark.parametrize("coord", CLOUDS)
@pytest.mark.parametrize("num_labels", [1, 2, 5])
def test_components_are_scipy_s(coord, num_labels):
    cells = occupied_cells(coord, 0.2)
    size = cells.num_cells
    label = np.random.default_rng(1).integers(-1, num_labels, size)
    roots = component_roots(cells.pairs, label)
    first, second = cells.pairs
    same = (label[first] == label[second]) & (label[first] >= 0)
    graph = coo_matrix((np.ones(same.sum()), (first[same], second[same])), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    smallest = {}
    for cell, number in enumerate(component.tolist()):
        smallest.setdefault(number, cell)
    assert roots.tolist() == [smallest[number] for number in component.tolist()]


def test_a_long_component_met_in_any_order_has_one_root():
    pairs = np.array([(cell, cell + 1) for cell in range(200)], dtype=np.int32)
    for seed in range(5):
        shuffled = np.random.default_rng(seed).permutation(pairs).T.copy()
        assert set(component_roots(shuffled, np.zeros(201, dtype=np.int64)).tolist()) == {0}


@pytest.mark.parametrize("coord", CLOUDS)
@pytest.mark.parametrize("radius_m", [0.1, 0.3])
def test_boundary_points_are_those_with_another_class_in_reach(coord, radius_m):
    truth = np.random.default_rng(2).integers(-1, 3, len(coord))
    # In patches, or every point of a crowd would be one.
    truth[coord[:, 0] < np.median(coord[:, 0]) if len(coord) else []] = 1
    points = coord.astype(np.float64)
    squared = ((points[:, None] - points[None]) ** 2).sum(-1)
    other = (truth[:, None] != truth[None]) & (truth >= 0)[:, None] & (truth >= 0)[None]
    expected = (other & (squared <= radius_m * radius_m)).any(axis=1)
    assert np.array_equal(boundary_mask(coord, truth, radius_m), expected)


def test_the_boundary_by_hand():
    x = np.array([0.0, 0.25, 0.5, 1.0, 1.1, 2.0, 2.1])
    coord = np.stack([x, np.zeros(7), np.zeros(7)], axis=1)
    truth = np.array([0, 0, 1, 1, -1, 2, 2])
    # 0.25 and 0.5 see each other, and 0.0 is out of reach of 0.5; the label of 1.1 does not count.
    expected = [False, True, True, False, False, False, False]
    assert boundary_mask(coord, truth, 0.3).tolist() == expected
    assert boundary_mask(coord, truth, 0.25).tolist() == expected  # this distance included
    assert not boundary_mask(coord, truth, 0.2).any()


def test_the_majority_of_each_cell():
    cell = np.array([0, 0, 0, 1, 1, 2, 2, 2, 3])
    label = np.array([1, 1, 0, 2, 1, -1, -1, 0, -1])
    # Cell 1 is a tie; in cell 2 the only vote wins; cell 3 has none, cell 4 no points.
    assert majority_label(cell, label, 5, 3).tolist() == [1, 1, 0, -1, -1]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    "function", [occupied_cells, lambda coord: boundary_mask(coord, np.zeros(2, dtype=np.int64))]
)
def test_coordinates_that_no_grid_can_hold(function, value):
    with pytest.raises(ValueError, match="not finite"):
        function(np.array([[0.0, 0.0, 0.0], [value, 0.0, 0.0]]))
    with pytest.raises(ValueError, match=r"cells of 0\.[23] m along an axis"):
        function(np.array([[0.0, 0.0, 0.0], [0.0, 1e6, 0.0]]))
    with pytest.raises(ValueError, match=r"must be \(N, 3\)"):
        function(np.zeros((2, 2)))


def test_the_widest_grid_keeps_its_ends_apart():
    # One cell more, and the last along z would be beside the first of the next row.
    def ends(last):
        corners = [[0, 0, 0], [0, 0, last], [0, 1, 0], [0, 1, last], [1, last, last]]
        return (np.array(corners) + 0.5) * 0.5

    cells = occupied_cells(ends((1 << 21) - 2), 0.5)
    assert set(zip(*cells.pairs.tolist(), strict=True)) == {(0, 2), (1, 3)}
    with pytest.raises(ValueError, match="coord spans 2097152 cells"):
        occupied_cells(ends((1 << 21) - 1), 0.5)


def test_labels_are_one_for_each_point():
    with pytest.raises(ValueError, match="labels for 3 points"):
        boundary_mask(np.zeros((3, 3)), np.zeros(2, dtype=np.int64))
