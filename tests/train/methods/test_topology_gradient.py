"""The paper's method: each loss part alone reaches the whole student and nothing of the teacher."""

import copy
import dataclasses
import math

import pytest
import torch

from train.core.errors import UserError
from train.data.batch import Batch
from train.engine.train_step import BatchShare, TrainStep
from train.methods.losses import NonFiniteLoss
from train.methods.topology_gradient import (
    TopologyGradient,
    TopologyGradientConfig,
    other_cloud_rows,
    permuted_rows,
)
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
        value.with_tensors(feat=value["feat"].double())
        if isinstance(value, Batch)
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
    for module in (method.topological_loss, method.saliency_loss):
        monkeypatch.setattr(module, "forward", None)  # a call would fail
    monkeypatch.setattr("train.methods.kd.kl_distillation", None)
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
    assert 0 < stats["gradient_entropies"][0] < 1


def test_what_has_no_number_is_left_out_of_the_record(teacher, student, batch):
    config = dataclasses.replace(only("topology"), diagram_distance="edges")
    stats = compute(config, teacher, student, batch)["topology"].stats
    assert "gradient_entropies" not in stats
    assert all(isinstance(number, torch.Tensor) for number in stats.values())


def test_the_entropy_of_the_transport_may_be_relative(teacher, student, batch):
    student.eval()
    values = []
    for relative in (False, True):
        config = TopologyGradientConfig(
            saliency=0.0,
            distillation=0.0,
            num_samples=60,
            diagram_distance="sinkhorn",
            sinkhorn_relative=relative,
        )
        method = TopologyGradient(config, student, teacher)
        assert method.topological_loss.options.sinkhorn_relative is relative
        values.append(method(student, teacher, batch)["topology"].value)
    assert not torch.isclose(*values)


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


# ---- a weight that is balanced ------------------------------------------------------------------


def test_a_balanced_topology_has_its_share_of_the_gradient(teacher, student, batch):
    config = TopologyGradientConfig(num_samples=100, topology_balance=0.25, saliency=2.0)
    method = TopologyGradient(config, student, teacher)
    terms = method(student, teacher, batch)
    parameters = list(student.parameters())

    def norm(*names):
        value = sum(terms[name].weight * value_of(terms[name]) for name in names)
        gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
        return torch.cat([g.flatten() for g in gradients if g is not None]).norm().item()

    others = norm("segmentation", "saliency", "distillation")
    assert norm("topology") / others == pytest.approx(0.25, rel=1e-3)
    assert terms["topology"].stats["weight"].item() == pytest.approx(terms["topology"].weight)
    assert "teacher_pairs" in terms["topology"].stats


def test_a_step_takes_the_measurement_into_the_balance(teacher, student, batch):
    config = TopologyGradientConfig(num_samples=100, topology_balance=0.25, saliency=0.0)
    method = TopologyGradient(config, student, teacher)
    output = TrainStep(student, method, teacher)(batch, BatchShare())
    calls, log_ratio, measured = method.balance.get_extra_state().tolist()
    assert (calls, measured) == (1, 1)
    weight = 0.25 * math.exp(log_ratio)
    assert output.numbers["topology_stats/weight"].item() == pytest.approx(weight)
    numbers = output.numbers
    want = numbers["segmentation"] + weight * numbers["topology"] + numbers["distillation"]
    torch.testing.assert_close(output.total.detach(), want)


def test_a_fixed_weight_has_no_balance(teacher, student):
    method = TopologyGradient(TopologyGradientConfig(), student, teacher)
    assert method.balance is None
    assert not any("balance" in name for name in method.state_dict())


# ---- the placebo --------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(4, 7, 2), (3, 3), (1, 5)])
def test_another_clouds_rows_are_of_the_next_cloud_and_as_many(sizes):
    offset = torch.tensor(sizes).cumsum(0)
    rows = other_cloud_rows(offset)
    assert rows.dtype == torch.int64
    assert len(rows) == sum(sizes)
    cloud_of = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    assert torch.equal(cloud_of[rows], (cloud_of + 1) % len(sizes))
    for cloud, size in enumerate(sizes):
        other = sizes[(cloud + 1) % len(sizes)]
        counts = rows[cloud_of == cloud].unique(return_counts=True)[1]
        # No row twice as long as there is one left.
        assert len(counts) == min(size, other)
        assert counts.max() - counts.min() <= 1
    assert torch.equal(other_cloud_rows(offset), rows)


def test_another_clouds_rows_are_in_no_order():
    rows = other_cloud_rows(torch.tensor([100, 200]))[:100] - 100
    assert (rows.diff() == 1).sum() < 10
    assert abs(torch.corrcoef(torch.stack([rows.double(), torch.arange(100.0)]))[0, 1]) < 0.3


def test_permuted_rows_stay_in_their_cloud_and_leave_their_places():
    rows = permuted_rows(torch.tensor([100, 250]))
    assert sorted(rows[:100].tolist()) == list(range(100))
    assert sorted(rows[100:].tolist()) == list(range(100, 250))
    assert (rows == torch.arange(250)).sum() < 10
    assert torch.equal(rows, permuted_rows(torch.tensor([100, 250])))


def test_a_permuted_target_is_the_clouds_own_in_another_order(teacher, student, batch):
    """Diagrams do not know the order of points, and distances at edges do."""
    student.eval()
    values = {}
    for distance in ("pwcd", "edges"):
        for target in ("own", "permuted"):
            config = TopologyGradientConfig(
                num_samples=4096,
                normalization="rms",
                saliency=0.0,
                diagram_distance=distance,
                topology_target=target,
            )
            method = TopologyGradient(config, student, teacher)
            value = method(student, teacher, batch)["topology"].value
            values[distance, target] = float(value.detach())
    assert values["pwcd", "permuted"] == pytest.approx(values["pwcd", "own"], rel=1e-3)
    assert values["edges", "permuted"] > 1.2 * values["edges", "own"]


def test_a_single_cloud_has_no_other():
    with pytest.raises(UserError, match=r"--method\.topology-target other .* the batch has one"):
        other_cloud_rows(torch.tensor([5]))


def test_a_placebo_changes_the_topology_alone(teacher, student, batch):
    student.eval()
    terms = {}
    for target in ("own", "other"):
        config = TopologyGradientConfig(num_samples=100, topology_target=target)
        torch.manual_seed(1)
        terms[target] = compute(config, teacher, student, batch)
    for name in PARTS:
        equal = torch.equal(terms["own"][name].value, terms["other"][name].value)
        assert equal == (name != "topology"), name


def test_a_placebo_is_compared_with_the_next_clouds_features(teacher, student, batch, monkeypatch):
    student.eval()
    config = TopologyGradientConfig(num_samples=100, topology_target="other")
    method = TopologyGradient(config, student, teacher)
    seen = []
    original = method.topological_loss.forward

    def recorded(target, features, offset, **options):
        seen.append((target, features, offset))
        return original(target, features, offset, **options)

    monkeypatch.setattr(method.topological_loss, "forward", recorded)
    torch.manual_seed(1)
    method(student, teacher, batch)
    torch.manual_seed(1)
    geometry = student.prepare(batch)
    with torch.no_grad():
        of_teacher = teacher(batch, geometry).features["dec0"]
        of_student = student(batch, geometry).features["dec0"]
    ((target, features, offset),) = seen
    assert torch.equal(target, of_teacher[other_cloud_rows(batch["offset"])])
    assert torch.equal(features, of_student)
    assert torch.equal(offset, batch["offset"])


# ---- what else can be chosen --------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"normalization": "rms"},
        {"sampling": "random"},
        {"sampling": "mixed"},
        {"diagram_distance": "edges"},
        {"sample_on": "student"},
    ],
)
def test_each_choice_gives_another_topology_with_a_gradient(changes, teacher, student, batch):
    student.eval()
    values = []
    for options in ({}, changes):
        config = TopologyGradientConfig(
            topology=1.0, saliency=0.0, distillation=0.0, num_samples=60, **options
        )
        torch.manual_seed(1)
        term = compute(config, teacher, student, batch)["topology"]
        values.append(term.value)
    assert not torch.isclose(*values)
    (gradient,) = torch.autograd.grad(values[1], student.backbone.embedding.stem.conv.weight)
    assert gradient.abs().max() > 0


def test_without_a_shared_order_maps_of_other_voxels_are_compared(batch):
    """A student that is its own teacher has nothing to align, unless rows are other voxels."""
    torch.manual_seed(4)
    student = build_segmentor("tiny-student", 4, shuffle_orders="always").eval()
    teacher = build_segmentor("tiny-student", 4).eval().requires_grad_(False)
    teacher.load_state_dict(student.state_dict())

    def saliency(stage, shared):
        torch.manual_seed(2)
        config = TopologyGradientConfig(
            topology=0.0, distillation=0.0, saliency_stages=(stage,), shared_order=shared
        )
        return float(compute(config, teacher, student, batch)["saliency"].value.detach())

    for stage in ("dec0", "dec2"):
        assert saliency(stage, True) == 0.0
    # Other curves give other patches, so that features change a little; rows of dec0 are the
    # batch's own in either network.
    assert 0.0 < 5 * saliency("dec0", False) < saliency("dec2", False)
