"""Scores of one pass: of each point once, in any precision, on any number of processes."""

import functools
import time

import pytest
import torch

from tests.train.conftest import NUM_CLASSES, _room
from tests.train.processes import run_processes, values_of
from train.core.errors import UserError
from train.data.batch import SkippedFrames
from train.data.dataset_spec import SEMANTICKITTI_RULE
from train.data.loader import EvaluationFrames
from train.evaluation.evaluate import evaluate
from train.evaluation.evaluate_tta import evaluate_tta
from train.evaluation.metrics import ConfusionMatrix
from train.networks.protocol import NetworkOutput
from train.networks.ptv3 import build_segmentor

CLASSES = ("floor", "wall", "ball", "nothing")
CPU = torch.device("cpu")


class Rooms:
    """Labeled rooms by their numbers; some cannot be read."""

    skipped_unlabeled = 0

    def __init__(self, numbers, broken=(), seconds=0.0):
        self.numbers, self.broken, self.seconds = numbers, broken, seconds
        self.names = [f"room/{number}" for number in numbers]

    def __len__(self):
        return len(self.numbers)

    def __getitem__(self, index):
        time.sleep(self.seconds)
        if self.numbers[index] in self.broken:
            raise UserError(f"room/{self.numbers[index]}: is damaged")
        return _room(self.numbers[index], None)


class Scored(torch.nn.Module):
    """A network whose logits depend on the cell and vary between points."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.layer = torch.nn.Linear(4, NUM_CLASSES)
        self.fields = []
        self.dtypes = set()

    def forward(self, batch):
        self.fields.append(set(batch))
        logits = self.layer(batch["feat"])
        self.dtypes.add(logits.dtype)
        return NetworkOutput(logits, {}, {})


def scores(source, model, *, skip=False, skipped=None, tta=False, **options):
    sweeps = EvaluationFrames(source, 0.2, on_bad_sweep="skip" if skip else "stop")
    score = functools.partial(evaluate_tta, augmentation="rotations") if tta else evaluate
    return score(
        model, sweeps, CLASSES, SEMANTICKITTI_RULE, CPU, title="x", skipped=skipped, **options
    ) | {"seconds": 0}


def sharded(count, broken, tta):
    skipped = SkippedFrames()
    source = Rooms(range(count), broken)
    return scores(source, Scored().train(), skip=True, skipped=skipped, tta=tta), skipped.messages


@pytest.mark.parametrize(
    ("size", "count", "broken", "tta"),
    [
        pytest.param(2, 5, (), False, id="a share each"),
        pytest.param(3, 5, (1, 4), False, id="all sweeps of one cannot be read"),
        pytest.param(3, 2, (), False, id="no sweeps for one"),
        pytest.param(2, 3, (0,), True, id="augmented"),
    ],
)
def test_processes_have_the_scores_of_one(size, count, broken, tta):
    expected, messages = sharded(count, broken, tta)
    assert expected["sweeps"] == count - len(broken)
    assert expected["points"] == 1200 * expected["sweeps"]
    assert expected["miou"] > 0
    for found, skipped in values_of(run_processes(size, sharded, count, broken, tta)):
        assert found == expected
        assert skipped == messages
    assert set(messages) == {f"room/{number}" for number in broken}


def test_the_sweeps_scores_and_the_confusion_are_those_of_the_predictions():
    model, seen = Scored(), {}
    found = scores(Rooms((4, 1)), model, visit=lambda name, output: seen.update({name: output}))
    assert sorted(seen) == list(found["by_sweep"]) == ["room/1", "room/4"]
    total = ConfusionMatrix(CLASSES, SEMANTICKITTI_RULE)
    for number in (4, 1):
        voxels = EvaluationFrames(Rooms((number,)), 0.2)[0]
        labels = seen[f"room/{number}"].logits.argmax(dim=1)[torch.from_numpy(voxels.inverse)]
        alone = ConfusionMatrix(CLASSES, SEMANTICKITTI_RULE)
        for matrix in (total, alone):
            matrix.add(torch.from_numpy(voxels.raw_segment), labels)
        assert found["by_sweep"][f"room/{number}"] == alone.miou()
    assert found["by_sweep"]["room/1"] != found["by_sweep"]["room/4"]
    assert found["confusion"] == total.counts.tolist()
    assert sum(map(sum, found["confusion"])) == found["labeled_points"]


def real_network():
    torch.manual_seed(1)
    return scores(Rooms(range(3)), build_segmentor("tiny-student", NUM_CLASSES))


def test_a_network_with_batch_norm_scores_the_same_on_processes():
    expected = real_network()
    assert values_of(run_processes(2, real_network)) == [expected] * 2


def stopping():
    # Only the second process meets the bad sweep, at once; the first has seconds to go.
    sweeps = Rooms(range(240), broken=(1,), seconds=0.5)
    model = Scored().train()
    try:
        scores(sweeps, model)
    finally:
        assert model.training


def test_an_error_on_one_process_ends_all_soon():
    outcomes = run_processes(3, stopping)
    assert [outcome.kind for outcome in outcomes] == ["PeerFailed", "UserError", "PeerFailed"]
    assert outcomes[0].error == "process 1: room/1: is damaged"
    # The others have 40 s of reading before them.
    assert max(outcome.seconds for outcome in outcomes) < 20


@pytest.mark.parametrize("tta", [False, True], ids=["single", "augmented"])
def test_the_network_gets_what_it_needs_and_no_more(tta):
    model = Scored()
    scores(Rooms(range(1)), model, tta=tta)
    assert len(model.fields) == (4 if tta else 1)
    for fields in model.fields:
        assert fields >= {"feat", "coord", "grid_coord", "offset"}
        assert not fields & {"inverse", "raw_segment", "raw_offset", "segment"}


def test_precision_is_that_of_the_network():
    model = Scored()
    scores(Rooms(range(1)), model)
    assert model.dtypes == {torch.float32}
    for tta in (False, True):
        model.dtypes.clear()
        half = scores(Rooms(range(1)), model, precision="bf16", tta=tta)
        assert model.dtypes == {torch.bfloat16}
        assert half["points"] == 1200
