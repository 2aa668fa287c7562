"""Scores of one pass: of each point once, in any precision, on any number of processes."""

import pytest
import torch

from tests.train.conftest import NUM_CLASSES
from tests.train.evaluation.rooms import CLASSES, Rooms
from tests.train.processes import run_processes, values_of
from train.core.errors import UserError
from train.data.batch import SkippedFrames
from train.data.dataset_spec import NUSCENES_RULE, SEMANTICKITTI_RULE, WAYMO_RULE
from train.data.kitti_layout import OWN_DATA_RULE
from train.data.loader import EvaluationFrames
from train.evaluation.evaluate import evaluate
from train.evaluation.metrics import ConfusionMatrix
from train.evaluation.network_pass import TEST_TIME_AUGMENTATIONS, point_probabilities
from train.networks.protocol import NetworkOutput
from train.networks.ptv3 import build_segmentor
from train.predict.cloud import predict_frame

CPU = torch.device("cpu")
GRID_SIZE_M = 0.2


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


def scores(source, model, *, skip=False, clip=None, tta=None, **options):
    skip = "skip" if skip else "stop"
    frames = EvaluationFrames(source, GRID_SIZE_M, clip_range_m=clip, on_bad_frame=skip)
    options |= {"title": "x", "augmentation": tta}
    return evaluate(model, frames, CLASSES, SEMANTICKITTI_RULE, CPU, **options) | {"seconds": 0}


def sharded(count, broken, tta):
    skipped = SkippedFrames()
    source = Rooms(range(count), broken)
    return scores(source, Scored().train(), skip=True, skipped=skipped, tta=tta), skipped.messages


@pytest.mark.parametrize(
    ("size", "count", "broken", "tta"),
    [
        pytest.param(2, 5, (), None, id="a share each"),
        pytest.param(3, 5, (1, 4), None, id="all frames of one cannot be read"),
        pytest.param(3, 2, (), None, id="no frames for one"),
        pytest.param(2, 3, (0,), "rotations", id="augmented"),
    ],
)
def test_processes_have_the_scores_of_one(size, count, broken, tta):
    expected, messages = sharded(count, broken, tta)
    assert expected["frames"] == count - len(broken)
    assert expected["points"] == 1200 * expected["frames"]
    assert expected["miou"] > 0
    for found, skipped in values_of(run_processes(size, sharded, count, broken, tta)):
        assert found == expected
        assert skipped == messages
    assert set(messages) == {f"room/{number}" for number in broken}


def test_the_frames_scores_and_the_confusion_are_those_of_the_predictions():
    model, seen = Scored(), {}
    found = scores(Rooms((4, 1)), model, visit=lambda name, output: seen.update({name: output}))
    assert sorted(seen) == list(found["by_frame"]) == ["room/1", "room/4"]
    total = ConfusionMatrix(CLASSES, SEMANTICKITTI_RULE)
    for number in (4, 1):
        voxels = EvaluationFrames(Rooms((number,)), GRID_SIZE_M)[0]
        labels = seen[f"room/{number}"].logits.argmax(dim=1)[torch.from_numpy(voxels.inverse)]
        alone = ConfusionMatrix(CLASSES, SEMANTICKITTI_RULE)
        for matrix in (total, alone):
            matrix.add(torch.from_numpy(voxels.raw_segment), labels)
        assert found["by_frame"][f"room/{number}"] == alone.miou()
    assert found["by_frame"]["room/1"] != found["by_frame"]["room/4"]
    assert found["confusion"] == total.counts.tolist()
    assert sum(map(sum, found["confusion"])) == found["labeled_points"]


def real_network():
    torch.manual_seed(1)
    return scores(Rooms(range(3)), build_segmentor("tiny-student", NUM_CLASSES))


def test_a_network_with_batch_norm_scores_the_same_on_processes():
    expected = real_network()
    assert values_of(run_processes(2, real_network)) == [expected] * 2


def stopping():
    # Only the second process meets the bad frame, at once; the first has seconds to go.
    frames = Rooms(range(240), broken=(1,), seconds=0.5)
    model = Scored().train()
    try:
        scores(frames, model)
    finally:
        assert model.training


def test_an_error_on_one_process_ends_all_soon():
    outcomes = run_processes(3, stopping)
    assert [outcome.kind for outcome in outcomes] == ["PeerFailed", "UserError", "PeerFailed"]
    assert outcomes[0].error == "process 1: room/1: is damaged"
    # The others have 40 s of reading before them.
    assert max(outcome.seconds for outcome in outcomes) < 20


@pytest.mark.parametrize("tta", [None, "rotations"], ids=["single", "augmented"])
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
    for tta in (None, "rotations"):
        model.dtypes.clear()
        half = scores(Rooms(range(1)), model, precision="bf16", tta=tta)
        assert model.dtypes == {torch.bfloat16}
        assert half["points"] == 1200


@pytest.mark.parametrize("name", list(TEST_TIME_AUGMENTATIONS))
@pytest.mark.parametrize("clip", [None, (-2.0, -2.0, -1.0, 2.0, 2.0, 1.0)])
def test_scores_of_augmented_frames_are_those_of_their_predictions(student, name, clip):
    rooms, views = Rooms((1, 2)), TEST_TIME_AUGMENTATIONS[name]
    got = scores(rooms, student, tta=name, clip=clip)
    assert student.training, "the mode it had"
    total = ConfusionMatrix(CLASSES, SEMANTICKITTI_RULE)
    for room in rooms:
        labels, _ = predict_frame(student, room, GRID_SIZE_M, clip_range_m=clip, views=views)
        total.add(torch.from_numpy(room.segment), torch.from_numpy(labels))
    want = total.scores()
    assert {key: got[key] for key in want} == want
    assert (got["augmentation"], got["passes"]) == (name, len(views))
    assert (got["frames"], got["points"]) == (2, sum(len(room.coord) for room in rooms))


def test_a_single_pass_is_scored_otherwise_and_says_nothing_of_augmentation(student):
    single = scores(Rooms((1, 2)), student)
    assert "augmentation" not in single
    assert single["miou"] != scores(Rooms((1, 2)), student, tta="rotations")["miou"]


def test_workers_read_the_same_augmented_frames(student):
    alone, helped = (scores(Rooms((1, 2)), student, tta="rotations", num_workers=n) for n in (0, 1))
    assert alone == helped


def test_an_augmented_frame_that_cannot_be_read_stops_or_is_listed(student):
    source = Rooms((1, 2), broken=(1,))
    with pytest.raises(UserError, match="room/1: is damaged"):
        scores(source, student, tta="rotations")
    skipped = SkippedFrames()
    got = scores(source, student, tta="rotations", skip=True, skipped=skipped)
    assert got["frames"] == 1
    assert skipped.messages == {"room/1": "room/1: is damaged"}


def test_what_cannot_be_augmented_is_refused(student):
    with pytest.raises(UserError, match="'turns' is unknown; use rotations, scales-flips, scales"):
        scores(Rooms((1, 2)), student, tta="turns")
    with pytest.raises(ValueError, match="batches is empty"):
        point_probabilities(student, [], CPU, "room")
    with torch.no_grad():
        student.seg_head.bias.fill_(float("nan"))
    with pytest.raises(UserError, match="room/1: the network's output has NaN"):
        scores(Rooms((1, 2)), student, tta="rotations")


def matrix(truth, prediction, names=("a", "b", "c"), rule=SEMANTICKITTI_RULE):
    result = ConfusionMatrix(names, rule)
    result.add(torch.tensor(truth), torch.tensor(prediction))
    return result


def test_iou_is_hits_over_union():
    scores = matrix([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 2]).scores()
    # a: 2 hits, union 3; b: 1 hit, union 3; c: 1 hit, union 2.
    assert scores["iou"] == pytest.approx({"a": 2 / 3, "b": 1 / 3, "c": 1 / 2})
    assert scores["miou"] == pytest.approx(0.5)
    assert scores["accuracy"] == pytest.approx(4 / 6)


def test_without_a_benchmark_no_mean_is_named_after_one():
    named = matrix([0, 1], [0, 1]).scores().keys()
    assert named - matrix([0, 1], [0, 1], rule=OWN_DATA_RULE).scores().keys() == {"benchmark_miou"}


# By hand: a has 1 hit and 1 miss or none (2 points, one without a prediction), b 1 hit, c nobody.
@pytest.mark.parametrize(
    ("rule", "iou_of_a", "mean"),
    [
        # As the tools compute it: KITTI adds 1e-15 to unions, nuScenes zeroes row and column 0 and
        # takes the nanmean, Waymo gives an empty union 1.
        pytest.param(SEMANTICKITTI_RULE, 1 / 2, (1 / 2 + 1 + 0) / 3, id="semantickitti"),
        pytest.param(NUSCENES_RULE, 1, (1 + 1) / 2, id="nuscenes"),
        pytest.param(WAYMO_RULE, 1 / 2, (1 / 2 + 1 + 1) / 3, id="waymo"),
    ],
)
def test_each_benchmark_has_its_own_rule_for_empty_unions_and_abstentions(rule, iou_of_a, mean):
    scores = matrix([0, 0, 1, -1], [0, -1, 1, 2], rule=rule).scores()
    assert scores["iou"] == {"a": pytest.approx(iou_of_a), "b": 1.0, "c": None}
    assert scores["benchmark_miou"] == pytest.approx(mean)
    assert scores["miou"] == pytest.approx((iou_of_a + 1) / 2)
    assert scores["accuracy"] == pytest.approx(2 / 3)


def test_a_class_only_predicted_has_iou_zero():
    assert matrix([0, 0], [0, 2]).scores()["iou"] == {"a": 0.5, "b": None, "c": 0.0}


def test_ignored_points_are_neither_misses_nor_false_alarms():
    with_ignored = matrix([0, -1, 1, -1], [0, 1, 1, 2])
    without = matrix([0, 1], [0, 1])
    assert with_ignored.scores() == without.scores()


def test_counts_add_up_over_frames():
    whole = matrix([0, 1, 2, 2], [0, 2, 2, 1])
    parts = ConfusionMatrix(("a", "b", "c"), SEMANTICKITTI_RULE)
    parts.add(torch.tensor([0, 1]), torch.tensor([0, 2]))
    parts.add(torch.tensor([2, 2]), torch.tensor([2, 1]))
    assert torch.equal(whole.counts, parts.counts)


def test_merged_counts_are_those_of_all_frames():
    truths, guesses = ([0, 1], [2, 2, -1]), ([0, -1], [2, 1, 0])
    whole, merged = (ConfusionMatrix(("a", "b", "c"), WAYMO_RULE) for _ in range(2))
    for truth, guess in zip(truths, guesses, strict=True):
        whole.add(torch.tensor(truth), torch.tensor(guess))
        merged.merge(matrix(truth, guess, rule=WAYMO_RULE))
    assert merged.scores() == whole.scores()
    assert whole.scores()["labeled_points"] == 4
    with pytest.raises(ValueError, match="other classes"):
        merged.merge(ConfusionMatrix(("a", "b"), WAYMO_RULE))


def test_the_common_mean_is_over_classes_that_more_than_half_of_the_frames_have():
    scored = ConfusionMatrix(("a", "b", "c"), SEMANTICKITTI_RULE)
    # a is in three of four frames, b in two, c in one and in the predictions.
    for truth, guess in (([0, 0], [0, 2]), ([0, 1], [0, 1]), ([1, 0], [1, 0]), ([2, -1], [2, 0])):
        scored.add(torch.tensor(truth), torch.tensor(guess))
    scores = scored.scores()
    assert scores["common_classes"] == ["a"]
    assert scores["common_miou"] == pytest.approx(3 / 4)
    assert scores["miou"] == pytest.approx((3 / 4 + 1 + 1 / 2) / 3)


def test_nothing_labeled_has_no_score():
    scores = matrix([-1, -1], [0, 1]).scores()
    names = ("miou", "benchmark_miou", "common_miou", "accuracy")
    assert [scores[name] for name in names] == [None] * 4
    assert scores["common_classes"] == []


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        ([0, 1], [0], "2 labels for 1 predictions"),
        ([0, 3], [0, 0], "truth has ids from 0 to 3, outside 0 to 2"),
        ([0, 1], [0, -2], "prediction has ids from -2 to 0, outside 0 to 2"),
    ],
)
def test_bad_ids_are_refused(truth, prediction, message):
    with pytest.raises(ValueError, match=message):
        matrix(truth, prediction)
