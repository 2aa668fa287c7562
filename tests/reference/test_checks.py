"""Each assertion helper goes red when it should."""

import dataclasses

import numpy as np
import pytest

from reference.rips import rips_persistence
from tests.reference.checks import (
    assert_gradient,
    assert_same_diagram,
    assert_same_points,
    partner_margin,
    smallest_gap,
)

POINTS = np.array([[0.0, 5.0], [1.0, 2.0]])


def test_the_same_points_in_any_order_are_the_same():
    assert_same_points(POINTS[::-1], POINTS)
    assert_same_points(np.empty((0, 2)), [])


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param([(0.0, 2.0), (1.0, 5.0)], id="deaths swapped"),
        pytest.param([(0.0, 5.0)], id="pair missing"),
        pytest.param([(0.0, 5.0), (1.0, 2.0), (1.0, 2.0)], id="pair twice"),
        pytest.param([(0.0, 5.0), (1.0, np.nextafter(2.0, 3.0))], id="one ulp"),
        pytest.param([(0.0, 5.0), (1.0, np.nan)], id="NaN"),
    ],
)
def test_broken_points_are_caught(broken):
    with pytest.raises(AssertionError):
        assert_same_points(np.array(broken), POINTS)


SQUARE = np.array([[0, 1, 2, 1], [1, 0, 1, 2], [2, 1, 0, 1], [1, 2, 1, 0]], dtype=float)


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize(
    "name", ["births", "deaths", "birth_edges", "death_edges", "death_simplices"]
)
def test_a_diagram_with_one_wrong_entry_is_caught(dim, name):
    diagram = rips_persistence(SQUARE)[dim]
    assert_same_diagram(diagram, diagram)
    wrong = getattr(diagram, name).copy()
    wrong.flat[-1] = np.nextafter(wrong.flat[-1], 9) if wrong.dtype == float else wrong.flat[-1] + 1
    with pytest.raises(AssertionError, match=name):
        assert_same_diagram(dataclasses.replace(diagram, **{name: wrong}), diagram)


def test_a_diagram_with_another_dimension_or_essential_count_is_caught():
    components, loops = rips_persistence(SQUARE[:1, :1])
    with pytest.raises(AssertionError):
        assert_same_diagram(components, dataclasses.replace(components, num_essential=0))
    with pytest.raises(AssertionError):
        assert_same_diagram(components, dataclasses.replace(loops, num_essential=1))


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param([[2.0, -4.0]], id="sign"),
        pytest.param([[1.0, 2.0]], id="half"),
        pytest.param([[4.0, 2.0]], id="swapped"),
        pytest.param([[2.0, 0.0]], id="missing"),
        pytest.param([2.0, 4.0], id="shape"),
        pytest.param([[2.0, np.nan]], id="NaN"),
    ],
)
def test_a_wrong_gradient_is_caught(wrong):
    at = np.array([[1.0, 2.0]])
    assert_gradient(lambda x: float(np.sum(x**2)), at, 2 * at)
    with pytest.raises(AssertionError):
        assert_gradient(lambda x: float(np.sum(x**2)), at, np.array(wrong))


def test_the_smallest_gap():
    assert smallest_gap(np.array([[3.0, 0.0], [1.0, 7.0]])) == 1.0
    assert smallest_gap(np.array([2.0, 2.0])) == 0.0
    assert smallest_gap(np.array([2.0])) == np.inf


def test_the_margin_to_another_partner():
    one, two = np.array([[0.0, 2.0]]), np.array([[0.0, 3.0]])
    assert partner_margin(one, two) == 1.0  # the cost 1 and the diagonal's 2
    assert partner_margin(one, two, 2.0) == 0.0
    assert partner_margin(one, np.empty((0, 2))) == np.inf
