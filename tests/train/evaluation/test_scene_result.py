"""Results of scenes: they add up as their frames do, and come back from a record."""

import functools
import json
import operator

import pytest

from train.data.dataset_spec import WAYMO_RULE
from train.evaluation.evaluate_structure import SceneResult
from train.evaluation.feature_agreement import OwnOther
from train.evaluation.structure import PER_CLASS, StructureCounts

NAMES = ("a", "b")


def counts(hits):
    numbers = {name: [0, 0] for name in PER_CLASS}
    numbers |= {"truth": [10, 0], "predicted": [10, 0], "hits": [hits, 0]}
    return StructureCounts.from_json({"frames": 1, **numbers})


FIRST = SceneResult(counts(10), (0.5, 0.2), {"edges": OwnOther((1.0, 1.0), (2.0, 2.0))})
SECOND = SceneResult(counts(5), (0.8,), {"edges": OwnOther((1.0,), (6.0,))})


def test_results_add_up_as_a_bootstrap_takes_them():
    # The first scene twice: 25 hits, union 30 + 30 - 25; own 5 over other 14.
    total = functools.reduce(operator.add, (FIRST, SECOND, FIRST))
    assert total.counts == 2 * FIRST.counts + SECOND.counts
    scores = total.scores(NAMES, WAYMO_RULE, {"thin_iou": ("a",)})
    assert scores["miou"] == scores["thin_iou"] == pytest.approx(25 / 35)
    assert scores["distance_correlation"] == pytest.approx((0.7 + 0.8 + 0.7) / 5)
    assert scores["own_other_edges"] == pytest.approx(5 / 14)


def test_a_result_comes_back_from_its_record():
    total = FIRST + SECOND
    assert SceneResult.from_json(json.loads(json.dumps(total.to_json()))) == total


def test_without_a_teacher_there_is_no_agreement():
    scores = SceneResult(counts(3), (), {}).scores(NAMES, WAYMO_RULE)
    assert scores["distance_correlation"] is None
    assert not [name for name in scores if name.startswith("own_other")]


def test_what_does_not_add_up_is_refused():
    with pytest.raises(ValueError, match=r"tests of \['edges'\] and of \[\] do not add up"):
        FIRST + SceneResult(counts(3), (), {})
    with pytest.raises(ValueError, match="correlations"):
        SceneResult.from_json({"counts": {}, "own_other": {}})
    with pytest.raises(ValueError, match="other_thing"):
        SceneResult.from_json({**FIRST.to_json(), "other_thing": 1})
