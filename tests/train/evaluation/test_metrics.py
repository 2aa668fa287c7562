"""Scores against confusion matrices worked out by hand."""

import pytest
import torch

from train.data.dataset_spec import NUSCENES_RULE, SEMANTICKITTI_RULE, WAYMO_RULE
from train.evaluation.metrics import ConfusionMatrix


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


def test_counts_add_up_over_sweeps():
    whole = matrix([0, 1, 2, 2], [0, 2, 2, 1])
    parts = ConfusionMatrix(("a", "b", "c"), SEMANTICKITTI_RULE)
    parts.add(torch.tensor([0, 1]), torch.tensor([0, 2]))
    parts.add(torch.tensor([2, 2]), torch.tensor([2, 1]))
    assert torch.equal(whole.counts, parts.counts)


def test_merged_counts_are_those_of_all_sweeps():
    truths, guesses = ([0, 1], [2, 2, -1]), ([0, -1], [2, 1, 0])
    whole, merged = (ConfusionMatrix(("a", "b", "c"), WAYMO_RULE) for _ in range(2))
    for truth, guess in zip(truths, guesses, strict=True):
        whole.add(torch.tensor(truth), torch.tensor(guess))
        merged.merge(matrix(truth, guess, rule=WAYMO_RULE))
    assert merged.scores() == whole.scores()
    assert whole.scores()["labeled_points"] == 4
    with pytest.raises(ValueError, match="other classes"):
        merged.merge(ConfusionMatrix(("a", "b"), WAYMO_RULE))


def test_the_common_mean_is_over_classes_that_more_than_half_of_the_sweeps_have():
    scored = ConfusionMatrix(("a", "b", "c"), SEMANTICKITTI_RULE)
    # a is in three of four sweeps, b in two, c in one and in the predictions.
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
