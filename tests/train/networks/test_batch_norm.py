"""Processes with parts of a batch have the statistics and gradients of one with all of it."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from tests.train.conftest import NUM_CLASSES, _room
from tests.train.processes import run_processes, values_of
from train.core.distributed import current_world
from train.data.batch import collate
from train.data.transforms import voxelize
from train.networks.batch_norm import (
    SynchronizedBatchNorm1d,
    average_batch_norm_statistics,
    leaving_out_rows,
    synchronize_batch_norm,
)
from train.networks.ptv3 import build_segmentor

CHANNELS = 5


def rows_of(sizes, far=0.0):
    """Return the parts of a batch; the processes' means differ."""
    rng = np.random.default_rng(0)
    return [
        torch.from_numpy(rng.normal(far + place, 1.0 + place, (size, CHANNELS)))
        for place, size in enumerate(sizes)
    ]


def layer_of(**options):
    torch.manual_seed(0)
    layer = nn.BatchNorm1d(CHANNELS, dtype=torch.float64, **options).train()
    if layer.weight is not None:
        nn.init.normal_(layer.weight)
        nn.init.normal_(layer.bias)
    return layer


def twice(layer, rows, weights):
    """Return what a loss on outputs and on a gradient of outputs gives: its own gradients."""
    rows = rows.clone().requires_grad_()
    out = layer(rows)
    first = (weights * out**3).sum()
    (saliency,) = torch.autograd.grad(first, rows, create_graph=True)
    loss = first + (weights * saliency**2).sum() + saliency.abs().sum()
    loss.backward()
    found = {"out": out, "saliency": saliency, "rows": rows.grad}
    if layer.weight is not None:
        found |= {"weight.grad": layer.weight.grad, "bias.grad": layer.bias.grad}
    state = {name: value.double() for name, value in layer.state_dict().items()}
    return {name: value.detach() for name, value in {**found, **state}.items()}


def part_of(parts, weights, options, steps):
    layer = layer_of(**options)
    synchronize_batch_norm(layer)
    assert type(layer) is SynchronizedBatchNorm1d
    rank = current_world().rank
    for _ in range(steps):
        layer.zero_grad()
        found = twice(layer, parts[rank], weights[rank])
    return found


@pytest.mark.parametrize(
    ("sizes", "far", "options"),
    [
        pytest.param((7, 4), 0.0, {}, id="two"),
        pytest.param((6, 1, 9), 0.0, {"momentum": 0.01, "eps": 1e-3}, id="ragged"),
        pytest.param((6, 0, 9), 0.0, {"momentum": None}, id="one without rows"),
        pytest.param((6, 5), 1e3, {"affine": False}, id="far from zero"),
        pytest.param((1, 1), 0.0, {}, id="one row each"),
    ],
)
def test_processes_equal_one_with_the_joint_rows(sizes, far, options):
    parts = rows_of(sizes, far)
    weights = [part[:, :1].sin() for part in parts]
    layer = layer_of(**options)
    for _ in range(2):
        layer.zero_grad()
        want = twice(layer, torch.cat(parts), torch.cat(weights))
    found = values_of(run_processes(len(sizes), part_of, parts, weights, options, 2))
    # Far from zero the joint computation itself has fewer digits.
    tolerance = {"rtol": 1e-12, "atol": 1e-12} if far == 0.0 else {"rtol": 1e-8, "atol": 1e-8}
    for name in ("out", "saliency", "rows"):
        joint = torch.cat([part[name] for part in found])
        torch.testing.assert_close(
            joint, want[name], msg=lambda m, n=name: f"{n}: {m}", **tolerance
        )
    for name in {"weight.grad", "bias.grad"} & set(want):
        total = sum(part[name] for part in found)
        torch.testing.assert_close(total, want[name], **tolerance)
    for name in layer.state_dict():
        for part in found:
            torch.testing.assert_close(part[name], want[name], **tolerance)
            assert part[name].equal(found[0][name]), "the same bits on all"


class Saliency(nn.Module):
    """A network whose wrapped forward pass differentiates it, as a distillation step does."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(4)
        self.layers = nn.Sequential(
            nn.Linear(CHANNELS, 8), nn.BatchNorm1d(8), nn.GELU(),
            nn.Linear(8, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Linear(8, 3),
        ).double()  # fmt: skip

    def forward(self, rows):
        hidden = self.layers[:3](rows)
        out = self.layers[3:](hidden)
        (saliency,) = torch.autograd.grad(out.square().sum(), hidden, create_graph=True)
        return out.sin().sum() + saliency.abs().sum(1).sqrt().sum()


def trained(parts, left_out=False):
    """Train on the process's part; the one process of the test itself has all parts."""
    world = current_world()
    model = Saliency()
    synchronize_batch_norm(model)
    wrapped = DistributedDataParallel(model) if world.size > 1 else model
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for _ in range(5):
        optimizer.zero_grad()
        if world.size == 1:
            wrapped(torch.cat(parts)).backward()
        elif world.rank < len(parts):
            (world.size * wrapped(parts[world.rank])).backward()  # DDP takes the mean
        else:
            assert left_out
            with leaving_out_rows(model):
                (0.0 * wrapped(parts[0] + 5.0)).backward()
        optimizer.step()
    assert all(layer.counts_rows for layer in model.modules() if hasattr(layer, "counts_rows"))
    return {name: value.double() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("idle", [0, 1])
def test_training_under_ddp_is_that_of_one_process(idle):
    parts = rows_of((9, 4))
    want = trained(parts)
    before = Saliency().state_dict()
    assert not want["layers.0.weight"].equal(before["layers.0.weight"])
    for found in values_of(run_processes(2 + idle, trained, parts, idle == 1)):
        for name, value in want.items():
            torch.testing.assert_close(found[name], value, rtol=1e-11, atol=1e-11)


def network_gradients(numbers):
    torch.manual_seed(1)
    model = build_segmentor("tiny-student", NUM_CLASSES, drop_path=0.0).double().train()
    world = current_world()
    if world.size > 1:
        synchronize_batch_norm(model)
        numbers = numbers[world.rank : world.rank + 1]
    rooms = [_room(number, None) for number in numbers]
    batch = collate([voxelize(room, 0.2) for room in rooms])
    batch = batch.with_tensors(**{name: batch[name].double() for name in ("feat", "coord")})
    torch.manual_seed(5)  # the curves are shuffled alike
    model(batch).logits.sin().sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return gradients, dict(model.named_buffers())


def test_a_point_transformer_on_processes_has_the_gradients_of_one():
    want, want_buffers = network_gradients([1, 2])
    (first, buffers), (second, _) = values_of(run_processes(2, network_gradients, [1, 2]))
    assert set(first) == set(want)
    for name, gradient in want.items():
        torch.testing.assert_close(first[name] + second[name], gradient, rtol=1e-8, atol=1e-8)
    for name, buffer in want_buffers.items():
        torch.testing.assert_close(buffers[name], buffer, rtol=1e-10, atol=1e-12)


def too_few(rows):
    layer = layer_of()
    synchronize_batch_norm(layer)
    layer(rows[current_world().rank])


def test_a_single_row_of_all_processes_is_refused_by_all():
    for outcome in run_processes(2, too_few, rows_of((1, 0))):
        assert outcome.kind == "ValueError"
        assert "1 rows on all processes together" in outcome.error
    for outcome in run_processes(2, too_few, [torch.ones(2, CHANNELS, 3)] * 2):
        assert "must be (N, C)" in outcome.error


def half_precision(rows):
    layer = layer_of().float()
    synchronize_batch_norm(layer)
    out = layer(rows[current_world().rank].bfloat16())
    return str(out.dtype), out.float(), layer.running_var


def test_half_precision_keeps_statistics_in_full():
    parts = rows_of((50, 60))
    layer = layer_of().float()
    want = layer(torch.cat(parts).bfloat16())
    found = values_of(run_processes(2, half_precision, parts))
    assert {value[0] for value in found} == {"torch.bfloat16"} == {str(want.dtype)}
    torch.testing.assert_close(
        torch.cat([value[1] for value in found]), want.float(), rtol=1e-2, atol=1e-2
    )
    torch.testing.assert_close(found[0][2], layer.running_var, rtol=1e-5, atol=1e-5)


def test_one_process_and_evaluation_are_those_of_torch():
    (rows,) = rows_of((8,))
    for training in (True, False):
        layer = layer_of()
        want = copy.deepcopy(layer).train(training)
        synchronize_batch_norm(layer)
        layer.train(training)
        assert layer(rows).equal(want(rows))
        for name, value in want.state_dict().items():
            assert layer.state_dict()[name].equal(value)


def evaluated(rows):
    layer = layer_of()
    synchronize_batch_norm(layer)
    layer.eval()
    return layer(rows[0][: 3 * current_world().rank])  # no exchange: not even one with all rows


def test_evaluation_exchanges_nothing():
    parts = rows_of((8,))
    want = layer_of().eval()(parts[0])
    for rank, out in enumerate(values_of(run_processes(2, evaluated, parts))):
        torch.testing.assert_close(out, want[: 3 * rank], rtol=1e-14, atol=1e-14)


def test_synchronizing_keeps_the_network_and_its_keys():
    model = build_segmentor("tiny-student", NUM_CLASSES)
    keys, parameters = list(model.state_dict()), list(model.parameters())
    momenta = [m.momentum for m in model.modules() if isinstance(m, nn.BatchNorm1d)]
    synchronize_batch_norm(model)
    synchronize_batch_norm(model)
    assert list(model.state_dict()) == keys
    assert all(now is before for now, before in zip(model.parameters(), parameters, strict=True))
    layers = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d)]
    assert {type(layer) for layer in layers} == {SynchronizedBatchNorm1d}
    assert [layer.momentum for layer in layers] == momenta
    with pytest.raises(ValueError, match="1 is a BatchNorm2d; only BatchNorm1d"):
        synchronize_batch_norm(nn.Sequential(nn.Linear(1, 1), nn.BatchNorm2d(3)))


# Averages


def averaged(parts):
    torch.manual_seed(0)
    model = nn.Sequential(layer_of(momentum=0.3), nn.Linear(5, 5).double(), layer_of())
    world = current_world()
    for step in range(4):
        model(parts[world.rank][step : step + 5])
    before = {name: value.clone() for name, value in model.named_buffers()}
    average_batch_norm_statistics(model)
    after = {name: value.clone() for name, value in model.named_buffers()}
    return before, after


def test_statistics_are_averaged_over_the_processes():
    found = values_of(run_processes(3, averaged, rows_of((9, 9, 9))))
    for name in found[0][0]:
        mean = sum(before[name].double() for before, _ in found) / 3
        for before, after in found:
            torch.testing.assert_close(after[name].double(), mean, rtol=1e-14, atol=0.0)
            assert after[name].dtype == before[name].dtype
            if "running" in name:
                assert not after[name].equal(before[name])
            assert after[name].equal(found[0][1][name]), "the same bits on all"


def test_one_process_keeps_its_statistics():
    before, after = averaged(rows_of((9,)))
    assert all(after[name].equal(before[name]) for name in before)
    average_batch_norm_statistics(nn.Linear(2, 2))


def averaging_twice(parts):
    results = []
    for early in (False, True):
        layer = layer_of(momentum=0.3)
        for step in range(4):
            layer(parts[current_world().rank][step : step + 5])
            if early and step == 1:
                average_batch_norm_statistics(layer)
        average_batch_norm_statistics(layer)
        results.append(layer.running_var.clone())
    return results


def test_an_average_in_between_changes_nothing_in_the_end():
    for once, again in values_of(run_processes(2, averaging_twice, rows_of((9, 9)))):
        torch.testing.assert_close(once, again, rtol=1e-13, atol=0.0)
