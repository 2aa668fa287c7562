"""Scores with test-time augmentation are those of the predictions that `predict` makes."""

import importlib.util
from pathlib import Path

import pytest
import torch

from train.core.errors import UserError
from train.data.batch import SkippedFrames
from train.data.dataset_spec import SEMANTICKITTI_RULE
from train.data.loader import EvaluationFrames
from train.evaluation.evaluate import evaluate
from train.evaluation.metrics import ConfusionMatrix
from train.evaluation.network_pass import TEST_TIME_AUGMENTATIONS, point_probabilities
from train.predict.cloud import predict_frame

GRID_SIZE_M = 0.2
CLASSES = ("floor", "wall", "ball", "nothing")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def rooms():
    """Two labeled rooms, from the file of fixtures beside this one."""
    spec = importlib.util.spec_from_file_location(
        "rooms", Path(__file__).parents[1] / "conftest.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [module._room(seed, Path("room")) for seed in (1, 2)]


class Source:
    """A source of rooms, one of which may be unreadable."""

    skipped_unlabeled = 0

    def __init__(self, rooms, broken=()):
        self.rooms, self.broken = rooms, broken
        self.names = [room.name for room in rooms]

    def __len__(self):
        return len(self.rooms)

    def __getitem__(self, index):
        if index in self.broken:
            raise UserError("room: is damaged")
        return self.rooms[index]


def scores(student, source, *, name="rotations", **options):
    frames = EvaluationFrames(source, GRID_SIZE_M, **options.pop("reading", {}))
    return evaluate(
        student, frames, CLASSES, SEMANTICKITTI_RULE, CPU, title="x", augmentation=name, **options
    )


@pytest.mark.parametrize("name", list(TEST_TIME_AUGMENTATIONS))
@pytest.mark.parametrize("clip_range_m", [None, (-2.0, -2.0, -1.0, 2.0, 2.0, 1.0)])
def test_the_scores_are_those_of_the_augmented_predictions(student, rooms, name, clip_range_m):
    got = scores(student, Source(rooms), name=name, reading={"clip_range_m": clip_range_m})
    assert student.training, "the mode it had"
    matrix = ConfusionMatrix(CLASSES, SEMANTICKITTI_RULE)
    for room in rooms:
        labels, _ = predict_frame(
            student, room, GRID_SIZE_M, clip_range_m=clip_range_m,
            views=TEST_TIME_AUGMENTATIONS[name],
        )  # fmt: skip
        matrix.add(torch.from_numpy(room.segment), torch.from_numpy(labels))
    want = matrix.scores()
    assert {key: got[key] for key in want} == want
    assert (got["augmentation"], got["passes"]) == (name, len(TEST_TIME_AUGMENTATIONS[name]))
    assert (got["frames"], got["points"]) == (2, sum(len(room.coord) for room in rooms))


def test_a_single_pass_is_scored_otherwise_and_says_nothing_of_augmentation(student, rooms):
    frames = EvaluationFrames(Source(rooms), GRID_SIZE_M)
    single = evaluate(student, frames, CLASSES, SEMANTICKITTI_RULE, CPU, title="x")
    assert "augmentation" not in single
    assert single["miou"] != scores(student, Source(rooms))["miou"]


def test_workers_read_the_same(student, rooms):
    alone, helped = (scores(student, Source(rooms), num_workers=n) for n in (0, 1))
    assert alone | {"seconds": 0} == helped | {"seconds": 0}


def test_a_frame_that_cannot_be_read_stops_or_is_listed(student, rooms):
    source = Source(rooms, broken=[0])
    with pytest.raises(UserError, match="room: is damaged"):
        scores(student, source)
    skipped = SkippedFrames()
    got = scores(student, source, reading={"on_bad_frame": "skip"}, skipped=skipped)
    assert got["frames"] == 1
    assert skipped.messages == {"room/1": "room: is damaged"}


def test_what_cannot_be_done_is_refused(student, rooms):
    with pytest.raises(UserError, match="'turns' is unknown; use rotations, scales-flips, scales"):
        scores(student, Source(rooms), name="turns")
    with pytest.raises(ValueError, match="batches is empty"):
        point_probabilities(student, [], CPU, "room")
    with torch.no_grad():
        student.seg_head.bias.fill_(float("nan"))
    with pytest.raises(UserError, match="room/1: the network's output has NaN"):
        scores(student, Source(rooms))
