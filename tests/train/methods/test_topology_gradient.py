"""The paper's method: each loss part alone reaches the whole student and nothing of the teacher."""

import copy

import pytest
import torch

from train.core.errors import UserError
from train.engine.train_step import BatchShare, TrainStep
from train.methods.losses import NonFiniteLoss
from train.methods.topology_gradient import TopologyGradient, TopologyGradientConfig
from train.networks.ptv3 import build_segmentor

PARTS = ("segmentation", "topology", "saliency", "distillation")


def only(part):
    """A configuration in which just `part` is distilled (the cross-entropy is always computed)."""
    weights = {name: float(name == part) for name in PARTS[1:]}
    return TopologyGradientConfig(**weights, num_samples=200)


def compute(config, teacher, student, batch):
    return TopologyGradient(config, student, teacher)(student, teacher, batch)


def value_of(term):
    """One number: the saliency is a sum over stages."""
    return term.value.sum()


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
    value_of(compute(only(part), teacher, student, batch)[part]).backward()
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
    method = TopologyGradient(only("topology"), student, teacher)
    original = method.topological_loss.forward
    monkeypatch.setattr(
        method.topological_loss,
        "forward",
        lambda target, features, *rest, **options: original(
            target, features.detach(), *rest, **options
        ),
    )
    terms = method(student, teacher, batch)
    with pytest.raises(RuntimeError, match="does not require grad"):
        terms["topology"].value.backward()


def test_a_weight_of_zero_skips_the_part(teacher, student, batch, monkeypatch):
    config = TopologyGradientConfig(topology=0.0, saliency=0.0, distillation=0.0)
    method = TopologyGradient(config, student, teacher)
    for module in (method.topological_loss, method.saliency_loss, method.distillation_loss):
        monkeypatch.setattr(module, "forward", None)  # a call would fail
    assert set(method(student, teacher, batch)) == {"segmentation"}


def test_the_total_is_the_weighted_sum(teacher, student, batch):
    config = TopologyGradientConfig(topology=8.0, saliency=2.0, distillation=0.5, num_samples=100)
    step = TrainStep(student, TopologyGradient(config, student, teacher), teacher)
    output = step(batch, BatchShare())
    numbers = output.numbers
    want = (
        numbers["segmentation"]
        + 8 * numbers["topology"]
        + 2 * numbers["saliency"]
        + 0.5 * numbers["distillation"]
    )
    torch.testing.assert_close(output.total, want)
    assert torch.equal(numbers["total"], output.total)


def test_a_student_equal_to_its_teacher_has_nothing_left_to_learn_from_it(teacher, batch):
    student = copy.deepcopy(teacher).requires_grad_(True)
    terms = compute(TopologyGradientConfig(num_samples=100), teacher, student, batch)
    for name in PARTS[1:]:
        assert value_of(terms[name]).abs() < 1e-6, name


@pytest.mark.parametrize("part", PARTS[1:])
def test_a_step_along_the_gradient_lowers_the_part(part, teacher, student, batch):
    student.eval()  # the same function before and after the step: no drop path, fixed statistics
    before = gradients_of(part, teacher, student, batch)
    value = value_of(compute(only(part), teacher, student, batch)[part])
    norm = sum(float((g**2).sum()) for g in before.values()) ** 0.5
    with torch.no_grad():
        for parameter in student.backbone.parameters():
            parameter -= 1e-2 / norm * parameter.grad
    after = value_of(compute(only(part), teacher, student, batch)[part])
    assert after < value


def test_features_that_are_no_numbers_stop_at_the_first_part(teacher, student, batch):
    with torch.no_grad():
        student.seg_head.bias.fill_(float("nan"))
    with pytest.raises(NonFiniteLoss, match="segmentation part of the loss is nan"):
        compute(TopologyGradientConfig(), teacher, student, batch)


def test_the_record_says_what_the_topological_part_saw(teacher, student, batch):
    stats = compute(only("topology"), teacher, student, batch)["topology"].stats
    assert stats["teacher_covering_radius"] > 0
    assert stats["teacher_pairs"][0] > 0


@pytest.mark.parametrize("part", ["saliency", "distillation"])
def test_a_teachers_graph_starts_at_the_first_stage_that_is_needed(part, teacher, student, batch):
    """Before the decoder nothing is kept for a backward pass, without saliency nothing at all."""
    started = {}
    teacher.backbone.register_forward_hook(
        lambda module, inputs, stages: started.update(
            {name: features.requires_grad for name, features in stages.items()}
        )
    )
    compute(only(part), teacher, student, batch)
    with_graph = {name for name, has in started.items() if has}
    assert with_graph == (set(teacher.decoder_stages) if part == "saliency" else set())


def test_a_stage_that_is_not_there_or_not_one_is_refused(teacher, student):
    for changes, message in (
        ({"topology_stage": "enc9"}, "no such stage; choose among enc0"),
        ({"topology_stage": "decoder"}, "--method.topology-stage decoder: names 4 stages"),
        ({"saliency_stages": ("decoder", "dec7")}, "--method.saliency-stages decoder dec7"),
    ):
        with pytest.raises(UserError, match=message):
            TopologyGradient(TopologyGradientConfig(**changes), student, teacher)
