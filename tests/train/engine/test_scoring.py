"""How a run's networks are scored and predicted with: in the arithmetic of their training."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from train.config import RunConfig
from train.data.batch import SkippedFrames
from train.engine import scoring
from train.predict import submit


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("tta", ["none", "rotations"])
def test_scores_are_computed_in_the_run_s_precision(monkeypatch, precision, tta):
    asked = []

    def score(*arguments, precision, **options):
        asked.append(precision)
        return {}

    monkeypatch.setattr(scoring, "evaluate", score)
    spec = SimpleNamespace(class_names=("a",), benchmark_rule=None)
    scoring.Scorer(
        RunConfig(dataset="waymo", precision=precision),
        SimpleNamespace(validation=(), spec=spec),
        torch.device("cpu"),
        SkippedFrames(),
    ).score(torch.nn.Identity(), "x", tta)
    assert asked == [precision]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_predictions_for_a_server_are_too(monkeypatch, precision):
    asked = []

    def predict_frame(*arguments, precision, **options):
        asked.append(precision)
        return np.zeros(1), None

    monkeypatch.setattr(submit, "predict_frame", predict_frame)
    writer = SimpleNamespace(add=lambda *frame: None, finish=lambda: "file")
    planned = SimpleNamespace(
        path=None, source=[None], spec=SimpleNamespace(submission=lambda *options: writer)
    )
    card = SimpleNamespace(grid_size_m=0.1, clip_range_m=None)
    config = RunConfig(dataset="waymo", precision=precision)
    submit.write_submission(planned, torch.nn.Identity(), card, "student", config)
    assert asked == [precision]
