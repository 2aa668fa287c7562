"""The paper's method: each loss part alone reaches the whole student and nothing of the teacher."""

import copy

import pytest
import torch

from train.config import LossConfig
from train.methods import TopologyGradientDistillation
from train.methods.losses import NonFiniteLoss
from train.networks.ptv3 import build_segmentor

PARTS = ("segmentation", "topology", "saliency", "distillation")


def only(part):
    """A configuration in which just `part` is distilled (the cross-entropy is always computed)."""
    weights = {name: float(name == part) for name in PARTS[1:]}
    return LossConfig(**weights, num_samples=200)


def compute(config, teacher, student, batch):
    hierarchy = student.build_hierarchy(batch)
    return TopologyGradientDistillation(config)(teacher, student, batch, hierarchy)


def has_no_gradient_by_construction(name, part):
    """Name the biases that a batch normalization takes away again, as it does all constants.

    In PTv3 these are the bias of the projection before each of them (pooling, both branches of
    unpooling), and, where drop path drops no row, the last bias of every stage whose output is only
    read through such a projection: all but dec0, and in the decoder only if no saliency is taken.
    """
    before_norm = ("down.proj.bias", "up.proj.0.bias", "up.proj_skip.0.bias")
    ends_stage = name.endswith("mlp.0.fc2.bias") and not name.startswith("dec.dec0")
    read_directly = part == "saliency" and name.startswith("dec.")
    return name.endswith(before_norm) or (ends_stage and not read_directly)


def in_float64(*values):
    """Networks and batches in double precision, where a zero gradient stands out from rounding."""
    return [
        {name: v.double() if name == "feat" else v for name, v in value.items()}
        if isinstance(value, dict)
        else value.double()
        for value in values
    ]


def gradients_of(part, teacher, student, batch):
    result = compute(only(part), teacher, student, batch)
    getattr(result.parts, part).backward()
    return {name: p.grad for name, p in student.backbone.named_parameters()}


@pytest.mark.parametrize("part", PARTS)
def test_each_part_alone_reaches_every_weight_of_the_students_backbone(part, teacher, batch):
    student = build_segmentor("tiny-student", teacher.num_classes, drop_path=0.0).train()
    gradients = gradients_of(part, *in_float64(teacher, student, batch))
    assert len(gradients) > 100
    largest = max(gradient.abs().max() for gradient in gradients.values())
    for name, gradient in gradients.items():
        relative = gradient.abs().max() / largest
        if has_no_gradient_by_construction(name, part):
            assert relative < 1e-12, (name, relative)
        else:
            assert relative > 1e-9, (name, relative)


@pytest.mark.parametrize("part", PARTS)
def test_no_part_reaches_the_teacher(part, teacher, student, batch):
    before = copy.deepcopy(teacher.state_dict())
    gradients_of(part, teacher, student, batch)
    assert all(p.grad is None for p in teacher.parameters())
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())


def test_the_check_sees_a_detached_part(teacher, student, batch, monkeypatch):
    """The published code's fault: the topology term is computed from detached features."""
    method = TopologyGradientDistillation(only("topology"))
    original = method.topological_loss.forward_with_report
    monkeypatch.setattr(
        method.topological_loss,
        "forward_with_report",
        lambda target, features, offset: original(target, features.detach(), offset),
    )
    result = method(teacher, student, batch, student.build_hierarchy(batch))
    with pytest.raises(RuntimeError, match="does not require grad"):
        result.parts.topology.backward()


def test_a_weight_of_zero_skips_the_part(teacher, student, batch):
    config = LossConfig(topology=0.0, saliency=0.0, distillation=0.0)
    result = compute(config, teacher, student, batch)
    assert set(result.parts.as_numbers()) == {"segmentation", "total"}
    assert result.topology is None
    assert torch.equal(result.parts.total, result.parts.segmentation)


def test_the_total_is_the_weighted_sum(teacher, student, batch):
    config = LossConfig(topology=8.0, saliency=2.0, distillation=0.5, num_samples=100)
    parts = compute(config, teacher, student, batch).parts
    want = parts.segmentation + 8 * parts.topology + 2 * parts.saliency + 0.5 * parts.distillation
    torch.testing.assert_close(parts.total, want)


def test_a_student_equal_to_its_teacher_has_nothing_left_to_learn_from_it(teacher, batch):
    student = copy.deepcopy(teacher).requires_grad_(True)
    parts = compute(LossConfig(num_samples=100), teacher, student, batch).parts
    for name in PARTS[1:]:
        assert getattr(parts, name).abs() < 1e-6, name


@pytest.mark.parametrize("part", PARTS[1:])
def test_a_step_along_the_gradient_lowers_the_part(part, teacher, student, batch):
    student.eval()  # the same function before and after the step: no drop path, fixed statistics
    before = gradients_of(part, teacher, student, batch)
    value = getattr(compute(only(part), teacher, student, batch).parts, part)
    norm = sum(float((g**2).sum()) for g in before.values()) ** 0.5
    with torch.no_grad():
        for parameter in student.backbone.parameters():
            parameter -= 1e-2 / norm * parameter.grad
    after = getattr(compute(only(part), teacher, student, batch).parts, part)
    assert after < value


def test_features_that_are_no_numbers_stop_at_the_first_part(teacher, student, batch):
    with torch.no_grad():
        student.seg_head.bias.fill_(float("nan"))
    with pytest.raises(NonFiniteLoss, match="segmentation part of the loss is nan"):
        compute(LossConfig(), teacher, student, batch)


def test_the_report_says_what_the_topological_part_saw(teacher, student, batch):
    report = compute(only("topology"), teacher, student, batch).topology
    assert report.teacher_covering_radius > 0
    assert report.teacher_pairs[0] > 0
