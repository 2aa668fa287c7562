"""The frames that a report shows: which, and with which predictions."""

import numpy as np
import pytest
import torch

from tests.train.conftest import NUM_CLASSES, _room
from train.data.dataset_spec import SEMANTICKITTI_RULE, DatasetSpec
from train.networks.protocol import NetworkOutput
from train.report.frames import best_and_worst, picture_frames


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
