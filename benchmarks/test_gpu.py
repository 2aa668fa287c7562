"""The GPU rows, for `gpu_check.sh`: 24 clouds forward and backward, sampling, the whole loss.

Checked against the CPU path, which the other cases hold against everybody else. A call is timed
until the device has finished.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import fast
from benchmarks.clouds import FAMILIES, cloud, distances
from benchmarks.gradients import TOLERANCE, differentiate
from benchmarks.harness import Case, Job, Measure

pytestmark = pytest.mark.gpu

NUM_CLOUDS = 24
NUM_FRAMES = 12
NUM_SAMPLES = 1024


@pytest.fixture(autouse=True)
def device() -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")


def finished(call: Callable[[], Any]) -> Callable[[], Any]:
    """Return the call, waiting for the device."""

    def run() -> Any:
        output = call()
        torch.cuda.synchronize()
        return output

    return run


def on_both(make: Callable[[int], np.ndarray], count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a batch on the CPU and on the GPU, both leaves that want a gradient."""
    batch = torch.from_numpy(np.stack([make(seed) for seed in range(count)]))
    return batch.requires_grad_(), batch.detach().cuda().requires_grad_()


def assert_same(got: list[fast.BatchedDiagram], want: list[fast.BatchedDiagram]) -> None:
    """Assert every field, bit for bit."""
    for mine, theirs in zip(got, want, strict=True):
        for field in ("births", "deaths", "counts", "num_essential", "birth_edges", "death_edges",
                      "death_simplices"):  # fmt: skip
            assert torch.equal(getattr(mine, field).detach().cpu(), getattr(theirs, field)), field


def rips_case(direction: str, family: str, num_points: int, threads: int) -> Case:
    def build() -> Job:
        on_cpu, on_gpu = on_both(lambda seed: distances(family, num_points, seed), NUM_CLOUDS)
        want = fast.rips_persistence(on_cpu)
        if direction == "forward":
            matrices = on_gpu.detach()
            return Job(
                finished(lambda: fast.rips_persistence(matrices)),
                lambda got: assert_same(got, want),
            )

        def backward(output: list[fast.BatchedDiagram], leaf: torch.Tensor) -> Any:
            return differentiate([(d.births[d.mask], d.deaths[d.mask]) for d in output], leaf)

        def check(grad: torch.Tensor) -> None:
            expected = backward(want, on_cpu)()
            torch.testing.assert_close(
                grad.cpu(), expected, rtol=0, atol=TOLERANCE * float(expected.abs().max())
            )

        return Job(finished(backward(fast.rips_persistence(on_gpu), on_gpu)), check)

    return Case(
        suite="gpu", op="rips", implementation="fast",
        yields="edges, triangles" if direction == "forward" else "gradient", build=build,
        direction="forward" if direction == "forward" else "backward", data=family,
        num_points=num_points, channels=None, batch=NUM_CLOUDS, threads=threads, max_dim=1,
        device="cuda",
    )  # fmt: skip


def sampling_case(num_points: int, threads: int) -> Case:
    """Return the sampling of one network's features of all frames."""
    num_samples = min(NUM_SAMPLES, num_points // 2)

    def build() -> Job:
        on_cpu, on_gpu = on_both(lambda seed: cloud("features", num_points, seed), NUM_FRAMES)
        points = on_gpu.detach()

        def check(output: tuple[torch.Tensor, torch.Tensor]) -> None:
            want = fast.topology_preserving_sampling(on_cpu.detach(), num_samples)
            for got, expected in zip(output, want, strict=True):
                assert torch.equal(got.cpu(), expected)

        return Job(finished(lambda: fast.topology_preserving_sampling(points, num_samples)), check)

    return Case(
        suite="gpu", op="sampling", implementation="fast", yields="indices, radii", build=build,
        num_points=num_points, num_samples=num_samples, batch=NUM_FRAMES, threads=threads,
        device="cuda",
    )  # fmt: skip


def loss_case(num_points: int, threads: int) -> Case:
    """Return forward and backward of the loss of frames that lie one after another."""
    num_samples = min(NUM_SAMPLES, num_points)

    def build() -> Job:
        teacher, _ = on_both(lambda seed: cloud("features", num_points, seed), NUM_FRAMES)
        student, _ = on_both(lambda seed: cloud("features", num_points, 100 + seed), NUM_FRAMES)
        offset = torch.arange(1, NUM_FRAMES + 1) * num_points
        module = fast.TopologicalLoss(num_samples=num_samples)
        target = teacher.detach().flatten(0, 1).cuda()
        leaf = student.detach().flatten(0, 1).cuda().requires_grad_()
        ends = offset.cuda()

        def run() -> tuple[torch.Tensor, torch.Tensor]:
            value = module(target, leaf, ends)
            (grad,) = torch.autograd.grad(value, leaf)
            return value.detach(), grad

        def check(output: tuple[torch.Tensor, torch.Tensor]) -> None:
            # Rows divided by their length on the GPU: the CPU rounds otherwise, and two points
            # that are almost equally far might change places. All else has the same bits.
            rows = [fast.normalise(features) for features in (target, leaf)]
            of_teacher, of_student = (each.detach().cpu() for each in rows)
            of_student.requires_grad_()
            plain = fast.TopologicalLoss(num_samples=num_samples, normalisation="none")
            value = plain(of_teacher, of_student, offset)
            (grad,) = torch.autograd.grad(value, of_student)
            (grad,) = torch.autograd.grad(rows[1], leaf, grad.cuda())
            np.testing.assert_allclose(output[0].item(), value.item(), rtol=1e-5)
            error = float((output[1] - grad).norm() / grad.norm())
            assert error < 1e-4, error

        return Job(finished(run), check)

    return Case(
        suite="gpu", op="topological_loss", implementation="fast", yields="loss, gradient",
        build=build, direction="backward", num_points=num_points, num_samples=num_samples,
        batch=NUM_FRAMES, threads=threads, max_dim=1, device="cuda",
    )  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.sizes(1024)
def test_rips_of_24_clouds(
    direction: str, family: str, num_points: int, threads: int, measure: Measure
) -> None:
    measure(lambda n: rips_case(direction, family, n, threads), num_points)


@pytest.mark.sizes(30_000, 120_000)
def test_sampling_of_12_frames(num_points: int, threads: int, measure: Measure) -> None:
    measure(lambda n: sampling_case(n, threads), num_points)


@pytest.mark.sizes(30_000)
def test_topological_loss_of_12_frames(num_points: int, threads: int, measure: Measure) -> None:
    measure(lambda n: loss_case(n, threads), num_points)
