"""What a page shows: charts as sound SVG, always the same, and which frames."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from tests.train.conftest import NUM_CLASSES, _room
from train.data.dataset_spec import SEMANTICKITTI_RULE, DatasetSpec
from train.networks.protocol import NetworkOutput
from train.report.charts import averaged, line_chart, running_mean, stacked_columns
from train.report.frames import best_and_worst, picture_frames


def elements(chart, kind):
    """Return the elements of a kind: a chart that is no XML fails here."""
    return [each for each in ElementTree.fromstring(chart).iter() if each.tag.endswith("}" + kind)]


def texts(chart):
    return [each.text.strip() for each in elements(chart, "text")]


def drawn(chart, variable):
    """Return the corners of every path in one of the page's colors."""
    return [
        [(float(x), float(y)) for x, y in re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", path.get("d"))]
        for path in elements(chart, "path")
        if f"var(--{variable})" in path.get("style", "")
    ]


def test_many_values_become_the_means_of_equal_parts():
    assert averaged([1, 2, 3, 4, 5, 6], 3) == [1.5, 3.5, 5.5]
    assert averaged([1, 2], 3) == [1, 2]
    assert len(averaged(list(range(1000)), 7)) == 7
    assert running_mean([1, 2, 3, 4], 2) == [1, 1.5, 2.5, 3.5]


def test_a_line_goes_through_its_values_and_the_axis_has_0():
    chart = line_chart("a < b", [11, 12, 13], [0.0, 1.0, 0.5], smooth=False)
    (line,) = drawn(chart, "c0")
    (x1, y1), (x2, y2), (x3, y3) = line
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.1)
    assert y2 < y3 < y1, "what is larger is further up"
    assert y1 - y2 == pytest.approx(2 * (y3 - y2), abs=0.2)
    # The axis: its lowest line is at the height of the first value, its highest at the second's.
    heights = [each[0][1] for each in drawn(chart, "rule")]
    assert (max(heights), min(heights)) == pytest.approx((y1, y2), abs=0.1)
    assert {"a < b", "11", "13", "0.00", "1.00", "step"} <= set(texts(chart))


def test_a_smooth_line_has_its_steps_faint_and_their_running_mean():
    steps, mean = drawn(line_chart("x", [1, 2, 3], [3.0, 1.0, 3.0]), "c0")
    assert steps[0] == mean[0]
    assert mean[1][1] == pytest.approx((steps[0][1] + steps[1][1]) / 2, abs=0.1)


def test_a_line_of_one_value_is_a_dot_and_values_that_are_not_finite_are_left_out():
    assert len(elements(line_chart("x", [5], [2.0]), "use")) == 1
    chart = line_chart("x", [1, 2, 3], [float("nan"), 1.0, 2.0], smooth=False)
    assert len(drawn(chart, "c0")[0]) == 2
    assert {"2", "3"} <= set(texts(chart))
    with pytest.raises(ValueError, match="no finite value"):
        line_chart("x", [1], [float("inf")])


def test_columns_stack_to_their_sum_and_say_their_shares():
    chart = stacked_columns("shares", [10, 20], ["a&b", "c"], [[0.25, 0.75], [1.0, 0.0]])
    spans = [
        (max(y for _, y in corners), min(y for _, y in corners))
        for color in ("c0", "c1")
        for corners in drawn(chart, color)
    ]
    heights = [bottom - top for bottom, top in spans]
    assert spans[2][0] == pytest.approx(spans[0][1], abs=0.2), "the second on the first"
    assert heights[0] + heights[2] == pytest.approx(heights[1] + heights[3], abs=0.2)
    assert heights[2] == pytest.approx(3 * heights[0], abs=0.3)
    said = [each.text for each in elements(chart, "title")]
    assert said == ["a&b: 25%", "a&b: 100%", "c: 75%", "c: 0%"]
    assert {"step 10", "step 20", "50%"} <= set(texts(chart))
    with pytest.raises(ValueError, match="rows of another length"):
        stacked_columns("x", [1], ["a"], [[0.5, 0.5]])


def test_the_same_numbers_give_the_same_text_in_variables_of_the_page():
    chart = line_chart("$x$ & y", [1, 2], [1.0, 2.0])
    assert chart == line_chart("$x$ & y", [1, 2], [1.0, 2.0])
    assert chart.startswith('<svg role="img" aria-label="$x$ &amp; y" ')
    assert "$x$ & y" in texts(chart)
    assert "<metadata" not in chart
    assert not re.search("#[0-9a-f]{6}", chart.replace('xlink:href="#', ""))
    assert "id=" not in re.sub("<defs>.*?</defs>", "", chart, flags=re.DOTALL)


# ---- the frames that are shown -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by_frame", "shown"),
    [
        (
            {"a": 0.3, "b": 0.9, "c": 0.1, "d": None, "e": 0.5},
            {"best": "b", "in between": "a", "worst": "c"},
        ),
        ({"a": 0.3, "b": 0.2}, {"best": "a", "in between": "b"}),
        ({"a": 0.3}, {"best": "a"}),
        ({"b": 0.3, "a": 0.3, "c": 0.3}, {"best": "c", "in between": "b", "worst": "a"}),
        ({"a": None}, {}),
        ({}, {}),
    ],
)
def test_the_best_the_worst_and_one_in_between_are_shown_once_each(by_frame, shown):
    assert best_and_worst(by_frame) == shown


class Fixed(torch.nn.Module):
    """A network that takes every voxel for one class."""

    def __init__(self, label):
        super().__init__()
        self.scores = torch.nn.Parameter(torch.eye(NUM_CLASSES)[label])

    def forward(self, batch):
        return NetworkOutput(self.scores.detach().expand(len(batch["coord"]), -1), {}, {})


class Rooms:
    names = ("room/1", "room/2")

    def __getitem__(self, index):
        return _room(index + 1, None)


SPEC = DatasetSpec(
    name="rooms",
    class_names=("floor", "wall", "ball", "nothing"),
    sequence_word="room",
    reader=lambda *_: Rooms(),
    list_sequences=lambda _: (),
    benchmark_rule=SEMANTICKITTI_RULE,
)


def test_every_point_of_the_frame_has_each_networks_class():
    networks = {"teacher": Fixed(1), "student": Fixed(0)}
    (found,) = picture_frames(
        {"worst": "room/2"}, Rooms(), networks, SPEC, grid_size_m=0.2, clip_range_m=None
    )
    room = _room(2, None)
    assert (found.place, found.name) == ("worst", "room/2")
    assert np.array_equal(found.coord, room.coord)
    assert np.array_equal(found.truth, room.segment)
    assert {role: set(labels) for role, labels in found.predictions.items()} == {
        "teacher": {1},
        "student": {0},
    }
    # All points for the floor: its IoU is its share of the labeled points; two classes have 0.
    labeled = room.segment[room.segment >= 0]
    assert found.miou["student"] == pytest.approx((labeled == 0).mean() / 3)
    assert found.miou["teacher"] == pytest.approx((labeled == 1).mean() / 3)
