"""Parts: intervals of noise, frozen norms, scores by hand, and a distillation that learns them."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.train.dataset_distillation.conftest import hammers
from tests.train.dataset_distillation.test_distill import mean_distance
from train.core.errors import UserError
from train.dataset_distillation.distill import Distillation, check_task
from train.dataset_distillation.generator import generate, noise_intervals
from train.dataset_distillation.matcher import Matcher, matched_network, settle_norms
from train.dataset_distillation.networks.pointnet import PointNet
from train.dataset_distillation.options import DistillOptions
from train.dataset_distillation.training import (
    PartTraining,
    fixed_draw,
    mean_part_iou,
    train_and_score,
)

CPU = torch.device("cpu")


def test_intervals_are_as_wide_as_the_parts_and_fill_the_line():
    intervals = noise_intervals(hammers(3, 0))
    assert [[part for part, _, _ in own] for own in intervals] == [[0, 1], [0, 2]]
    for own in intervals:
        assert own[0][1] == 0.0
        assert own[-1][2] == 1.0
        assert own[0][2] == own[1][1] == pytest.approx(1 / 3)


def test_frozen_norms_have_the_clouds_own_statistics():
    torch.manual_seed(0)
    network = matched_network("parts", hammers(2, 0), (8, 16, 32))
    points = torch.from_numpy(hammers(4, 1).points)
    settle_norms(network, points)
    assert not network.training
    with torch.no_grad():
        hidden = network.layers[0](points.transpose(1, 2))
    norm = network.norms[0]
    torch.testing.assert_close(norm.running_mean, hidden.mean(dim=(0, 2)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_var, hidden.var(dim=(0, 2)), rtol=1e-4, atol=1e-5)
    # One cloud's logits no longer depend on what stands beside it.
    with torch.no_grad():
        torch.testing.assert_close(network(points[:1]), network(points)[:1], rtol=1e-4, atol=1e-5)


def test_the_mean_part_iou_by_hand():
    clouds = hammers(1, 0, points=6)  # parts 0 0 1 1 1 1 and 0 0 2 2 2 2
    perfect, classes = mean_part_iou(list(clouds.parts), clouds)
    assert (perfect, classes) == (1.0, [1.0, 1.0])
    found = [np.array([0, 1, 1, 1, 1, 1]), np.array([2, 2, 2, 2, 2, 2])]
    score, classes = mean_part_iou(found, clouds)
    assert classes == [pytest.approx((1 / 2 + 4 / 5) / 2), pytest.approx((0 + 4 / 6) / 2)]
    assert score == pytest.approx(np.mean(classes))


def test_a_segmenter_learns_the_parts():
    score, network = train_and_score(
        fixed_draw(hammers(6, 0)),
        hammers(3, 9),
        PartTraining(epochs=40, batch_size=6, test_every=10, widths=(16, 32, 64), weight_decay=0.0),
        CPU,
    )
    assert score.last > 0.8
    assert score.best >= score.last
    assert len(score.found) == 2
    assert isinstance(network, PointNet)


OPTIONS = DistillOptions(
    task="parts",
    points=30,
    iterations=25,
    outer=4,
    inner=1,
    real_batch=4,
    width=32,
    w0=30.0,
    lr=1e-3,
    widths=(8, 16, 32),
)


def test_a_distillation_of_parts_learns_where_they_are():
    real = hammers(6, 0)
    distillation = Distillation(real, OPTIONS, CPU)
    before = mean_distance(distillation)
    found = distillation.run()
    assert mean_distance(distillation) < 0.97 * before
    points, labels, parts = generate(found.synthetic.generator, 300, seed=0)
    assert labels.tolist() == [0, 1]
    assert set(parts[0].tolist()) == {0, 1}
    assert set(parts[1].tolist()) == {0, 2}
    assert (parts[0] == 0).double().mean() == pytest.approx(1 / 3, abs=0.1)
    assert points.shape == (2, 300, 3)


def test_free_coordinates_keep_the_parts_of_the_clouds_they_were():
    real = hammers(3, 0)
    options = dataclasses.replace(OPTIONS, method="gradient-matching", iterations=1)
    found = Distillation(real, options, CPU).run()
    assert set(found.synthetic.parts[1].tolist()) == {0, 2}


def test_local_and_global_steps_alternate(monkeypatch):
    """Local ones look at one part of a class, on odd steps."""
    asked = []
    plain = Matcher.distance

    def watched(self, network, label, made, real, part):
        asked.append((label, part))
        return plain(self, network, label, made, real, part)

    monkeypatch.setattr(Matcher, "distance", watched)
    Distillation(hammers(3, 0), dataclasses.replace(OPTIONS, iterations=1), CPU).run()
    assert [part for _, part in asked[:2] + asked[4:6]] == [None] * 4
    for label, part in asked[2:4] + asked[6:8]:
        assert part in ({0, 1}, {0, 2})[label]


def test_clouds_without_parts_are_refused():
    bare = dataclasses.replace(hammers(2, 0), parts=None, part_names=())
    with pytest.raises(UserError, match="have no parts"):
        check_task("parts", bare)
    real = hammers(2, 0)
    parts = real.parts.copy()
    parts[real.labels == 1] = -1
    with pytest.raises(UserError, match="class axe"):
        check_task("parts", dataclasses.replace(real, parts=parts))
    check_task("classes", bare)
