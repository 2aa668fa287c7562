"""Figure 10's diagrams equal Ripser's, and a difference of one step of float32 would be seen."""

import sys

import numpy as np
import pytest

from benchmarks.studies.figures import ripser_equality
from benchmarks.studies.figures.ripser_equality import are_equal, compare, make, page, summary
from benchmarks.studies.figures.shapes import SHAPES, shape
from train.core.errors import UserError

pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module")
def numbers():
    return make().numbers


def test_all_shapes_are_there_and_equal(numbers):
    assert {row["shape"] for row in numbers["rows"]} == set(SHAPES)
    assert [row["dimension"] for row in numbers["rows"]] == [0, 1] * len(SHAPES)
    for row in numbers["rows"]:
        assert row["ours"] == row["ripser"] > 0
        assert row["largest_difference"] == 0.0
    assert are_equal(numbers)
    assert "equal to the last bit" in summary(numbers)


def test_shapes_have_the_topology_that_they_are_called_after(numbers):
    def lasting(name, above):
        return sum(d - b > above for b, d in compare(shape(name))[1].ours)

    assert lasting("circle", 0.5) == 1
    assert lasting("two circles", 0.3) == 2
    assert lasting("torus", 0.9) == 1  # the way around; the tube's loop is shorter
    merges = compare(shape("clusters"))[0].ours[:, 1]
    assert (merges > 1).sum() == 3
    assert len(np.unique(shape("duplicates"), axis=0)) == len(shape("duplicates")) / 3
    assert set(compare(shape("ties"))[0].ours[:, 1]) == {1.0}


def broken(monkeypatch, change):
    right = ripser_equality.ripser_pairs

    def wrong(distances):
        diagrams = right(distances)
        return [diagrams[0], change(diagrams[1])]

    monkeypatch.setattr(ripser_equality, "ripser_pairs", wrong)
    return compare(shape("circle"))[1]


def test_one_step_of_float32_is_seen(monkeypatch):
    def step(pairs):
        changed = pairs.copy()
        changed[0, 1] = np.nextafter(np.float32(changed[0, 1]), np.float32(9))
        return changed

    assert 0 < broken(monkeypatch, step).largest_difference < 1e-6


def test_a_missing_pair_is_seen(monkeypatch):
    found = broken(monkeypatch, lambda pairs: pairs[1:])
    assert found.largest_difference is None
    row = {"shape": "circle", "points": 60, "channels": 2, "dimension": 1}
    row |= {"ours": 1, "ripser": 0, "zero_persistence": 0, "largest_difference": None}
    assert not are_equal({"rows": [row]})
    assert summary({"rows": [row]}) == "1 of 1 diagrams differ: circle H1"
    assert "| counts differ |" in page({"rows": [row]}, "figure10.png")


def test_pairs_of_persistence_zero_are_dropped_and_counted(monkeypatch):
    found = broken(monkeypatch, lambda pairs: np.concatenate([pairs, [[0.5, 0.5]]]))
    assert (found.zero, found.largest_difference) == (1, 0.0)


def test_the_page_has_a_row_for_every_diagram(numbers):
    text = page(numbers, "figure10.png")
    assert text.count("\n| ") == 2 + len(numbers["rows"])
    assert "dropped on both sides" in text


def test_without_ripser_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ripser", None)
    with pytest.raises(
        UserError, match=r"figure10 needs ripser.*pip install 'topodistill\[test\]'"
    ):
        make()
