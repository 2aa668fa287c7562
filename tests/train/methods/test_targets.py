"""The teacher's targets: kept ones are as good as those that are computed at once."""

from dataclasses import replace

import pytest
import torch

from tests.train.toys import build_toy
from train.config import MethodConfig
from train.data.batch import Batch
from train.methods.none import CrossEntropy
from train.methods.targets import KeptTargets, TeacherTargets, compute_targets, geometry_and_targets
from train.methods.terms import TargetChoice


def test_what_is_not_wanted_is_not_there_and_what_is_has_no_gradient(teacher, batch):
    geometry = teacher.prepare(batch)
    lean = compute_targets(teacher, batch, geometry, TargetChoice())
    assert (lean.features, lean.saliency) == ({}, {})
    choice = TargetChoice(features=("enc1", "dec0"), saliency=("dec2", "dec0"))
    full = compute_targets(teacher, batch, geometry, choice)
    assert list(full.features) == ["enc1", "dec0"]
    assert list(full.saliency) == ["dec2", "dec0"]
    assert torch.equal(full.logits, lean.logits)
    with torch.no_grad():
        output = teacher(batch, geometry)
    for stage, features in full.features.items():
        assert torch.equal(features, output.features[stage])
    for stage, maps in full.saliency.items():
        assert maps.shape == output.features[stage].shape[:1]
        assert 0 <= maps.min() <= maps.max() <= 1
        assert maps.std() > 0
    for tensor in (full.logits, *full.features.values(), *full.saliency.values()):
        assert not tensor.requires_grad


def test_maps_are_of_the_loss_that_is_chosen(teacher, batch):
    geometry = teacher.prepare(batch)
    each = [
        compute_targets(
            teacher, batch, geometry, TargetChoice(saliency=("dec0",), segmentation=kind)
        ).saliency["dec0"]
        for kind in ("ce", "ce+lovasz")
    ]
    assert not torch.allclose(*each)


def test_neither_targets_nor_a_teacher_is_an_error():
    student = build_toy("small", 4, 4)
    batch = {"feat": torch.randn(5, 4), "offset": torch.tensor([5])}
    for given in (batch, Batch(batch, kept=KeptTargets(None, None))):
        with pytest.raises(ValueError, match="no kept targets, and no teacher"):
            geometry_and_targets(student, None, given, TargetChoice())


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (TargetChoice(features=("dec0", "dec1")), "no features of dec1"),
        (TargetChoice(saliency=("dec2",)), "no saliency of dec2"),
    ],
)
def test_kept_targets_that_lack_a_stage_are_refused(choice, message):
    targets = TeacherTargets(torch.zeros(5, 4), {"dec0": torch.zeros(5, 2)})
    with pytest.raises(ValueError, match=message):
        geometry_and_targets(
            build_toy("small", 4, 4), None, Batch(kept=KeptTargets(None, targets)), choice
        )


def test_a_student_alone_takes_a_kept_geometry(student, batch, monkeypatch):
    student.eval()
    method = CrossEntropy(MethodConfig(), student, None)
    torch.manual_seed(1)
    want = method(student, None, batch)["segmentation"].value
    torch.manual_seed(1)
    geometry = student.prepare(batch)
    monkeypatch.setattr(student, "prepare", None)  # a call would fail
    kept = replace(batch, kept=KeptTargets(geometry, None))
    assert torch.equal(method(student, None, kept)["segmentation"].value, want)
