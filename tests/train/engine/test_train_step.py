"""A step: the same gradient in parts, the numbers of its log, what stops it, what it copies."""

import copy
import math
from collections import Counter

import pytest
import torch

from tests.train.networks.ptv3.test_host_copies import HostCopies
from tests.train.processes import run_processes
from tests.train.toys import Hint, HintConfig, build_toy
from train.config import MethodConfig, OptimConfig, RunConfig
from train.core.distributed import current_world, gather_objects
from train.core.errors import UserError
from train.data.batch import Batch, split_batch
from train.engine import train_step as stepper_module
from train.engine.optimizer import make_optimizer
from train.engine.train_step import (
    BatchShare,
    TrainStep,
    TrainTask,
    first_not_finite,
    shares,
    to_host,
)
from train.methods.affinity import Affinity, AffinityConfig
from train.methods.feature import FeatureConfig, FeatureHint
from train.methods.kd import KDConfig, SoftenedLogits
from train.methods.losses import require_finite
from train.methods.none import CrossEntropy
from train.methods.rkd import RelationalKD, RelationalKDConfig
from train.methods.terms import LossTerm
from train.methods.topology_gradient import TopologyGradient, TopologyGradientConfig

CPU = torch.device("cpu")
NUM_CLASSES = 4
# Voxels and labeled voxels of each cloud: no two parts of the batch weigh the same.
SIZES, LABELED = (60, 25, 40), (50, 2, 40)


def clouds(dtype=torch.float64):
    """A batch of three clouds, as `collate` gives it."""
    generator = torch.Generator().manual_seed(2)
    total = sum(SIZES)
    feat = 10 * torch.randn(total, 4, generator=generator, dtype=dtype)
    segment = torch.randint(NUM_CLASSES, (total,), generator=generator)
    ends = torch.tensor(SIZES).cumsum(0)
    for end, size, labeled in zip(ends.tolist(), SIZES, LABELED, strict=True):
        segment[end - size + labeled : end] = -1
    tensors = {
        "feat": feat,
        "coord": feat[:, :3],
        "grid_coord": torch.arange(3 * total).reshape(total, 3),
        "offset": ends,
        "segment": segment,
    }
    return Batch(tensors, names=("a", "b", "c"))


def make_toys(dtype=torch.float64):
    torch.manual_seed(1)
    student = build_toy("small", NUM_CLASSES, 4).to(dtype)
    teacher = build_toy("wide", NUM_CLASSES, 4).to(dtype).eval().requires_grad_(False)
    return student, teacher


def paper(**weights):
    off = {"topology": 0.0, "saliency": 0.0, "distillation": 0.0}
    return TopologyGradientConfig(**{**off, **weights}, num_samples=20)


def take(stepper, batch, number):
    """Take a step; every process calls it."""
    names = [name for each in gather_objects(batch.names) for name in each]
    return stepper.step(batch, number, names)


def make_stepper(method, student, teacher, **options):
    """A stepper whose learning rate is so small that the weights stay what they are."""
    optim = OptimConfig(lr=1e-30, block_lr=1e-30, weight_decay=0.0, **options)
    config = RunConfig(dataset="rooms", optim=optim)
    task = TrainTask("student", student, method.to(torch.float64), teacher, 1)
    optimizer, scheduler = make_optimizer(student, method, optim, 100)
    return stepper_module.Stepper(task, config, CPU, optimizer, scheduler)


METHODS = {
    "cross-entropy": (CrossEntropy, MethodConfig()),
    "lovasz": (CrossEntropy, MethodConfig(segmentation="ce+lovasz")),
    "kd": (SoftenedLogits, KDConfig(temperature=2.0)),
    "kd on labeled voxels": (SoftenedLogits, KDConfig(kd_ignore=True)),
    "topology": (TopologyGradient, paper(topology=8.0)),
    # Weighed by the voxels of the part, which is right for stages at the batch's voxels. Coarser
    # stages of PTv3 are in parts about, not exactly, what they are together.
    "saliency": (TopologyGradient, paper(saliency=3.0)),
    "hint": (Hint, HintConfig(hint_weight=0.5)),
    "rkd": (RelationalKD, RelationalKDConfig(num_samples=20, angle_samples=8)),
    "affinity": (Affinity, AffinityConfig(num_samples=20)),
    "feature": (FeatureHint, FeatureConfig()),
}


def gradients(name, parts):
    student, teacher = make_toys()
    kind, config = METHODS[name]
    torch.manual_seed(4)
    method = kind(config, student, teacher)
    stepper = make_stepper(method, student, teacher, accumulate=parts)
    numbers, any_labeled = take(stepper, clouds(), 1)
    assert any_labeled
    return numbers, [p.grad for p in stepper.parameters]


@pytest.mark.parametrize("name", sorted(METHODS.keys() - {"lovasz"}))
@pytest.mark.parametrize("parts", [2, 3, 9])
def test_a_step_in_parts_has_the_gradient_of_the_whole(name, parts):
    want, whole = gradients(name, 1)
    got, added = gradients(name, parts)
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-12)
    assert max(gradient.abs().max() for gradient in whole) > 1e-4
    for one, other in zip(added, whole, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-12)


def test_lovasz_of_parts_is_not_lovasz_of_the_whole():
    """It is no mean over points: whoever adds up parts trains on another loss, about as large."""
    want, _ = gradients("lovasz", 1)
    got, _ = gradients("lovasz", 2)
    assert got["segmentation"] != pytest.approx(want["segmentation"], rel=1e-6)
    assert got["segmentation"] == pytest.approx(want["segmentation"], rel=0.2)


def test_shares_of_a_step_add_up_and_are_exact_on_one_process():
    whole, any_labeled = shares([clouds()])
    assert whole == [BatchShare()]
    assert any_labeled
    parts = split_batch(clouds(), 2)
    found, _ = shares(parts)
    assert [part.names for part in parts] == [("a", "b"), ("c",)]
    assert [share.labeled for share in found] == [52 / 92, 40 / 92]
    assert [share.points for share in found] == [85 / 125, 40 / 125]
    assert [share.clouds for share in found] == [2 / 3, 1 / 3]
    unlabeled = clouds().with_tensors(segment=torch.full((sum(SIZES),), -1))
    assert shares([unlabeled]) == ([BatchShare(labeled=0.0)], False)


# ---- the norms of the terms' gradients ----------------------------------------------------------


def test_logged_gradient_norms_are_those_of_autograd(teacher, student, batch):
    student.double().eval()
    teacher.double()
    batch = batch.with_tensors(feat=batch["feat"].double())
    config = TopologyGradientConfig(topology=8.0, saliency=2.0, distillation=0.5, num_samples=100)
    method = TopologyGradient(config, student, teacher)
    output = TrainStep(student, method, teacher)(batch, BatchShare(), with_gradient_norms=True)
    found = to_host(output.numbers)["gradient_norms"]
    terms = method(student, teacher, batch)
    assert list(found) == list(terms)
    parameters = list(student.parameters())
    for name, term in terms.items():
        weighted = term.weight * term.value.sum()
        direct = torch.autograd.grad(weighted, parameters, retain_graph=True, allow_unused=True)
        norm = math.sqrt(sum(float((g**2).sum()) for g in direct if g is not None))
        assert found[name] == pytest.approx(norm, rel=1e-9), name
        assert norm > 0
    # The total's own gradient, which comes after, is whole.
    output.total.backward()
    of_total = torch.autograd.grad(
        sum(t.weight * t.value.sum() for t in terms.values()), parameters
    )
    for parameter, gradient in zip(parameters, of_total, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_norms_are_logged_at_the_steps_that_are_asked_for():
    student, teacher = make_toys()
    stepper = make_stepper(Hint(HintConfig(), student, teacher), student, teacher)
    object.__setattr__(stepper.config, "log_gradient_norms_every", 3)
    logged = [step for step in range(1, 8) if "gradient_norms" in take(stepper, clouds(), step)[0]]
    assert logged == [3, 6]


# ---- what is not finite -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "want"),
    [
        ({}, None),
        ({"total": 1.0, "topology_stats": {"pairs": [3.0, 0.0]}}, None),
        ({"total": 1.0, "topology_stats": {"pairs": [3.0, -math.inf]}}, "topology_stats pairs"),
        ({"topology": math.inf, "total": math.nan}, "topology"),
        ({"gradient_norms": {"hint": math.nan}}, "gradient_norms hint"),
    ],
)
def test_the_first_number_that_is_not_finite_is_named(numbers, want):
    found = first_not_finite(numbers)
    assert (found and found[0]) == want
    assert found is None or not math.isfinite(found[1])


class Broken(Hint):
    """Goes wrong at the third step, in one of several places."""

    where = "term"
    steps = 0

    def forward(self, student, teacher, batch):
        terms = super().forward(student, teacher, batch)
        self.steps += 1
        if self.steps < 3:
            return terms
        value = terms["hint"].value
        weights = self.adapter.weight if "adapter" in self.where else student.top.weight
        # The root's value is 0, its derivative 0 times infinity.
        root = (0 * weights).sum().sqrt()
        value = value + root if "gradient" in self.where else value * math.nan
        if self.where == "seen at once":
            require_finite("hint", value)
        return terms | {"hint": LossTerm(value, 1.0)}


@pytest.mark.parametrize(
    ("where", "named"),
    [
        ("seen at once", "the hint part of the loss is nan"),
        ("seen with the other numbers", "the hint part of the loss is nan"),
        ("gradient of the network", "the gradient_norm part of the loss is nan"),
        ("gradient of the adapter", "the gradient_norm part of the loss is nan"),
    ],
)
@pytest.mark.parametrize("parts", [1, 2])
def test_what_is_not_finite_stops_before_any_weight_is_changed(where, named, parts, monkeypatch):
    monkeypatch.setattr(Broken, "where", where)
    student, teacher = make_toys()
    stepper = make_stepper(
        Broken(HintConfig(), student, teacher), student, teacher, accumulate=parts
    )
    stepper.optimizer.param_groups[0]["lr"] = stepper.optimizer.param_groups[1]["lr"] = 1e-3
    step = 0
    while stepper.task.method.steps + parts < 3:
        step += 1
        take(stepper, clouds(), step)
    before = copy.deepcopy(stepper.module.state_dict())
    moments = copy.deepcopy(stepper.optimizer.state_dict()["state"])
    with pytest.raises(UserError) as stopped:
        take(stepper, clouds(), step + 1)
    assert f"student training stopped at step {step + 1}: {named}; frames of the step: a, b, c" in (
        str(stopped.value)
    )
    assert "--resume --optim.lr 2.5e-31" in str(stopped.value)
    for name, tensor in stepper.module.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    torch.testing.assert_close(stepper.optimizer.state_dict()["state"], moments, rtol=0, atol=0)


def broken_on_the_second(where):
    """A step of two processes, of which the second has a term that is no number."""
    Broken.where = where
    torch.set_default_dtype(torch.float64)
    student, teacher = make_toys()
    method = Broken(HintConfig(), student, teacher)
    rank = current_world().rank
    method.steps = 2 * rank
    stepper = make_stepper(method, student, teacher)
    own = split_batch(clouds(), 2)[rank]
    take(stepper, own, 1)


@pytest.mark.parametrize("where", ["seen at once", "seen with the other numbers"])
def test_all_processes_stop_and_name_the_term_and_every_frame_of_the_step(where):
    outcomes = run_processes(2, broken_on_the_second, where)
    for outcome in outcomes:
        assert outcome.kind == "UserError", outcome.trace
        assert "stopped at step 1: the hint part of the loss is nan" in outcome.error
        assert "frames of the step: a, b, c." in outcome.error


# ---- what leaves the device ---------------------------------------------------------------------


def test_the_numbers_of_a_step_leave_the_device_in_one_copy(monkeypatch):
    copies = []

    def counted(numbers):
        with HostCopies() as seen:
            found = to_host(numbers)
        copies.append(seen.seen)
        return found

    monkeypatch.setattr(stepper_module, "to_host", counted)
    student, teacher = make_toys()
    stepper = make_stepper(
        TopologyGradient(paper(topology=1.0, saliency=1.0, distillation=1.0), student, teacher),
        student,
        teacher,
        accumulate=3,
    )
    for step in (1, 2):
        take(stepper, clouds(), step)
    assert copies == [Counter(tolist=1)] * 2


def test_numbers_come_back_nested_and_as_they_were():
    numbers = {
        "total": torch.tensor(1.5),
        "topology_stats/pairs": torch.tensor([3, 4]),
        "topology_stats/radius": torch.tensor(0.25, dtype=torch.float64),
    }
    assert to_host(numbers) == {
        "total": 1.5,
        "topology_stats": {"pairs": [3.0, 4.0], "radius": 0.25},
    }
    assert to_host({}) == {}


@pytest.mark.parametrize("name", ["cross-entropy", "kd", "hint", "feature"])
def test_a_step_looks_at_no_value_of_the_device(name):
    """Tensors without values: whatever looks at one is an error."""
    student, teacher = make_toys()
    kind, config = METHODS[name]
    step = TrainStep(student, kind(config, student, teacher).double(), teacher)
    teacher.to("meta")
    step.to("meta")
    batch = {n: v.to("meta") if isinstance(v, torch.Tensor) else v for n, v in clouds().items()}
    output = step(batch, BatchShare(labeled=0.5, points=0.5, clouds=0.5))
    output.total.backward()
    assert output.total.device.type == "meta"
    assert all(parameter.grad is not None for parameter in step.parameters())
    assert all(not number.requires_grad for number in output.numbers.values())


def test_only_what_is_trained_belongs_to_the_step():
    student, teacher = make_toys()
    hint = Hint(HintConfig(), student, teacher)
    names = dict(TrainStep(student, hint, teacher).named_parameters())
    assert {name.split(".")[0] for name in names} == {"student", "method"}
    assert len(names) == len(list(student.parameters())) + 2


def test_a_method_without_a_term_is_a_bug_that_names_it():
    class Empty(CrossEntropy):
        def forward(self, student, teacher, batch):
            return {}

    student, _ = make_toys()
    step = TrainStep(student, Empty(MethodConfig(), student, None), None)
    with pytest.raises(ValueError, match=r"Empty\.forward returned no term"):
        step(clouds(), BatchShare())
