"""Processes that share the frames of an evaluation count what one counts, each point once."""

import functools

import pytest
import torch

from tests.train.distributed.small_fit import CPU, GRID_SIZE_M, Fit, Rooms, build
from tests.train.processes import run_processes, values_of
from train.data.dataset_spec import SEMANTICKITTI_RULE
from train.data.loader import EvaluationFrames
from train.evaluation.evaluate import evaluate

CLASSES = ("floor", "wall", "ball", "other")


class FiveRooms(Rooms):
    """The first five."""

    names = Rooms.names[:5]


def counted():
    """Return the counts of all frames, and the scores, on a network with batch norm."""
    scores = evaluate(
        build("student", Fit(double=False)),
        EvaluationFrames(FiveRooms(), GRID_SIZE_M),
        CLASSES,
        SEMANTICKITTI_RULE,
        CPU,
        title="x",
    )
    return torch.tensor(scores["confusion"]), scores | {"seconds": 0.0}


@functools.cache
def alone():
    (found,) = values_of(run_processes(1, counted))
    return found


@pytest.mark.parametrize("size", [2, 3])
def test_counts_are_those_of_one_process(size):
    counts, scores = alone()
    rooms = FiveRooms()
    labels = torch.cat([torch.from_numpy(rooms[index].segment) for index in range(5)])
    labeled = int((labels >= 0).sum())
    assert counts.dtype == torch.int64
    assert 0 < int(counts.sum()) == labeled < len(labels)
    assert counts.count_nonzero() > 3, "several classes, taken for each other"
    for found, found_scores in values_of(run_processes(size, counted)):
        assert found.equal(counts)
        assert found_scores == scores
