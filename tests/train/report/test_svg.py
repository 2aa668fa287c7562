"""Charts are sound SVG with the numbers in their places."""

import re
from xml.etree import ElementTree

import pytest

from train.report.svg import (
    averaged,
    confusion_chart,
    line_chart,
    nice_ticks,
    running_mean,
    stacked_columns,
)


def elements(chart, kind):
    """Return the elements of a kind: a chart that is no XML fails here."""
    return [each for each in ElementTree.fromstring(chart).iter() if each.tag.endswith("}" + kind)]


def texts(chart):
    return [each.text for each in elements(chart, "text")]


@pytest.mark.parametrize(
    ("high", "ticks"),
    [(1.0, [0, 0.25, 0.5, 0.75, 1.0]), (3.3, [0, 1, 2, 3, 4]), (0.0, [0, 0.25, 0.5, 0.75, 1.0]),
     (71, [0, 20, 40, 60, 80]), (2e-4, [0, 5e-5, 1e-4, 1.5e-4, 2e-4])],
)  # fmt: skip
def test_ticks_are_round_and_reach_the_top(high, ticks):
    assert nice_ticks(high) == pytest.approx(ticks)


def test_many_values_become_the_means_of_equal_parts():
    assert averaged([1, 2, 3, 4, 5, 6], 3) == [1.5, 3.5, 5.5]
    assert averaged([1, 2], 3) == [1, 2]
    assert len(averaged(list(range(1000)), 7)) == 7
    assert running_mean([1, 2, 3, 4], 2) == [1, 1.5, 2.5, 3.5]


def test_a_line_goes_through_its_values():
    chart = line_chart("a < b", [11, 12, 13], [0.0, 1.0, 0.5], smooth=False)
    (line,) = elements(chart, "polyline")
    spots = [tuple(map(float, p.split(","))) for p in line.get("points").split()]
    (x1, y1), (x2, y2), (x3, y3) = spots
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.1)
    assert y2 < y3 < y1, "what is larger is further up"
    assert y1 - y2 == pytest.approx(2 * (y3 - y2), abs=0.2)
    # The axis: 0 is at the height of the first value, 1 at that of the second.
    heights = {t.text: float(t.get("y")) for t in elements(chart, "text")}
    assert heights["0"] == pytest.approx(y1 + 4, abs=0.1)
    assert heights["1"] == pytest.approx(y2 + 4, abs=0.1)
    assert "a < b" in texts(chart)


def test_a_line_of_one_value_is_a_dot_and_values_that_are_not_finite_are_left_out():
    assert len(elements(line_chart("x", [5], [2.0]), "circle")) == 1
    chart = line_chart("x", [1, 2, 3], [float("nan"), 1.0, 2.0], smooth=False)
    assert "nan" not in chart
    with pytest.raises(ValueError, match="no finite value"):
        line_chart("x", [1], [float("inf")])


def test_columns_stack_to_their_sum():
    chart = stacked_columns("shares", [10, 20], ["a&b", "c"], [[0.25, 0.75], [1.0, 0.0]])
    rects = elements(chart, "rect")
    heights = [float(rect.get("height")) for rect in rects]
    tops = [float(rect.get("y")) for rect in rects]
    assert tops[1] + heights[1] == pytest.approx(tops[0], abs=0.2), "the second on the first"
    assert heights[0] + heights[1] == pytest.approx(heights[2] + heights[3], abs=0.2)
    assert heights[1] == pytest.approx(3 * heights[0], abs=0.3)
    assert rects[0].find("{*}title").text == "a&b: 25%"
    assert {"step 10", "step 20"} <= set(texts(chart))
    with pytest.raises(ValueError, match="rows of another length"):
        stacked_columns("x", [1], ["a"], [[0.5, 0.5]])


def test_a_confusion_matrix_has_shares_of_rows_and_leaves_out_what_never_occurs():
    counts = [[6, 2, 0, 0], [0, 0, 0, 0], [1, 0, 3, 0], [0, 0, 0, 0]]
    chart = confusion_chart(["road", "only predicted", "car", "never"], counts)
    said = [each.text for each in elements(chart, "title")]
    assert said == [
        "road taken for road: 75.0%",
        "road taken for only predicted: 25.0%",
        "road taken for car: 0.0%",
        "car taken for road: 25.0%",
        "car taken for only predicted: 0.0%",
        "car taken for car: 75.0%",
    ]
    opacity = [float(x) for x in re.findall(r'fill-opacity="([0-9.]+)"', chart)]
    assert opacity == [0.75, 0.25, 0.0, 0.25, 0.0, 0.75]
    assert "never" not in chart
    assert [rect.get("class") for rect in elements(chart, "rect")][1::2] == [
        "hit", "miss", "miss", "miss", "miss", "hit",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="3 names"):
        confusion_chart(["a", "b", "c"], counts)
