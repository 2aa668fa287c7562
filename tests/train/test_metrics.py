"""Scores against confusion matrices worked out by hand."""

import pytest
import torch

from train.metrics import ConfusionMatrix


def matrix(truth, prediction, names=("a", "b", "c")):
    result = ConfusionMatrix(names)
    result.add(torch.tensor(truth), torch.tensor(prediction))
    return result


def test_iou_is_hits_over_union():
    scores = matrix([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 2]).scores()
    # a: 2 hits, union 3; b: 1 hit, union 3; c: 1 hit, union 2.
    assert scores["iou"] == pytest.approx({"a": 2 / 3, "b": 1 / 3, "c": 1 / 2})
    assert scores["miou"] == pytest.approx(0.5)
    assert scores["accuracy"] == pytest.approx(4 / 6)


def test_a_class_nobody_named_has_no_iou_and_counts_as_zero_only_in_the_official_mean():
    scores = matrix([0, 1], [0, 1]).scores()
    assert scores["iou"]["c"] is None
    assert scores["miou"] == 1.0
    assert scores["miou_all_classes"] == pytest.approx(2 / 3)


def test_a_class_only_predicted_has_iou_zero():
    assert matrix([0, 0], [0, 2]).scores()["iou"] == {"a": 0.5, "b": None, "c": 0.0}


def test_ignored_points_are_neither_misses_nor_false_alarms():
    with_ignored = matrix([0, -1, 1, -1], [0, 1, 1, 2])
    without = matrix([0, 1], [0, 1])
    assert with_ignored.scores() == without.scores()


def test_counts_add_up_over_sweeps():
    whole = matrix([0, 1, 2, 2], [0, 2, 2, 1])
    parts = ConfusionMatrix(("a", "b", "c"))
    parts.add(torch.tensor([0, 1]), torch.tensor([0, 2]))
    parts.add(torch.tensor([2, 2]), torch.tensor([2, 1]))
    assert torch.equal(whole.counts, parts.counts)


def test_nothing_labelled_has_no_score():
    scores = matrix([-1, -1], [0, 1]).scores()
    assert (scores["miou"], scores["miou_all_classes"], scores["accuracy"]) == (None, None, None)


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        ([0, 1], [0], "2 labels for 1 predictions"),
        ([0, 3], [0, 0], "truth has ids from 0 to 3, outside 0 to 2"),
        ([0, 1], [0, -1], "prediction has ids from -1 to 0, outside 0 to 2"),
    ],
)
def test_bad_ids_are_refused(truth, prediction, message):
    with pytest.raises(ValueError, match=message):
        matrix(truth, prediction)
