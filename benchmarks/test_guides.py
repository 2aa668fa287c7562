"""What the guides' examples cost: ours, and torch-topological doing the same on one thread.

Processor time of the one thread: what else runs on the machine adds little to it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

import fast
import reference
from benchmarks.clouds import FloatArray, cloud
from benchmarks.gradients import definition, moved_apart
from benchmarks.guides_page import AUTOENCODER, LOOP, MONITOR, REPLACED, SIZES, UNEQUAL
from benchmarks.harness import SMOKE_POINTS, Case, Job, Measure
from benchmarks.machine import cores
from benchmarks.peers import PEERS, their_rips

Work = Callable[[], Any]

LONG = 0.1
"""Persistence above which the monitor counts a loop."""
NUM_CLOUDS = 64


@dataclass(frozen=True)
class Task:
    """What a guide does: the data, how each side does it, and what must come out."""

    data: str
    ours: Callable[[int], Work]
    theirs: Callable[[int], Work]
    check: Callable[[Any, int, str], None]
    channels: int
    batch: int = 1


def _tensor(points: FloatArray) -> torch.Tensor:
    return torch.from_numpy(points).requires_grad_()


def _with_gradient(loss: torch.Tensor, leaf: torch.Tensor) -> tuple[float, FloatArray]:
    (gradient,) = torch.autograd.grad(loss, leaf)
    return loss.item(), gradient.numpy()


# A topological autoencoder


def linked_circles(num_points: int) -> tuple[FloatArray, FloatArray]:
    """Return the points of two linked circles in space, and codes of them in the plane."""
    rng = np.random.default_rng(0)
    angles = 2 * np.pi * rng.random(num_points)
    sides, zero = np.arange(num_points) % 2, np.zeros(num_points)
    flat = np.column_stack([np.cos(angles), np.sin(angles), zero])
    upright = np.column_stack([1 + np.cos(angles), zero, np.sin(angles)])
    data = np.where(sides[:, None] == 0, flat, upright) + 0.02 * rng.normal(size=(num_points, 3))
    return data.astype(np.float32), (data @ rng.normal(size=(3, 2))).astype(np.float32)


def _our_signature(num_points: int) -> Work:
    data, codes = linked_circles(num_points)
    teacher, student = torch.from_numpy(data), _tensor(codes)
    return lambda: _with_gradient(
        fast.signature_loss(teacher, student, dim_weights=(1, 1)).sum(), student
    )


def _their_signature(num_points: int) -> Work:
    from torch_topological.nn import SignatureLoss

    data, codes = linked_circles(num_points)
    teacher, student = torch.from_numpy(data), _tensor(codes)
    rips = their_rips()
    loss = SignatureLoss(p=2, normalise=False, dimensions=[0, 1])
    return lambda: _with_gradient(
        loss([teacher, rips(teacher)], [student, rips(student)]).sum(), student
    )


def _check_signature(output: Any, num_points: int, name: str) -> None:
    """Ours is the mean of squares over critical edges, theirs half the norm over pairs."""
    data, codes = linked_circles(num_points)
    spaces = [reference.pairwise_distances(each.astype(np.float64)) for each in (data, codes)]
    want = 0.0
    for diagrams in map(definition, (data, codes)):
        for diagram in diagrams:
            columns = [e for e in (diagram.death_edges, diagram.birth_edges) if e is not None]
            deaths, *births = (
                spaces[1][edges[:, 0], edges[:, 1]] - spaces[0][edges[:, 0], edges[:, 1]]
                for edges in columns
            )
            if name == "fast":
                want += float(np.square(np.concatenate([deaths, *births])).mean())
                continue
            lengths = [
                np.abs(np.subtract(*(s[e[:, 0], e[:, 1]] for e in columns)))
                if births
                else s[columns[0][:, 0], columns[0][:, 1]]
                for s in spaces
            ]
            want += 0.5 * float(np.linalg.norm(lengths[1] - lengths[0]))
    value, gradient = output
    assert value == pytest.approx(want, rel=1e-4)
    assert gradient.shape == codes.shape
    assert np.abs(gradient).max() > 0


# A loop that is kept


def _largest_loop(pairs: torch.Tensor) -> torch.Tensor:
    return (pairs[..., 1] - pairs[..., 0]).max()


def _our_loop(num_points: int) -> Work:
    points = _tensor(cloud("circle", num_points))
    return lambda: _with_gradient(
        _largest_loop(fast.rips_persistence_of_points(points)[1].pairs), points
    )


def _their_loop(num_points: int) -> Work:
    points, rips = _tensor(cloud("circle", num_points)), their_rips()
    return lambda: _with_gradient(_largest_loop(rips(points)[1].diagram), points)


def _check_loop(output: Any, num_points: int, name: str) -> None:
    points = cloud("circle", num_points).astype(np.float64)
    loops = definition(points)[1]
    lasting = loops.pairs[:, 1] - loops.pairs[:, 0]
    largest = [int(np.argmax(lasting))]
    assert loops.birth_edges is not None
    assert loops.death_edges is not None
    want = moved_apart(
        points,
        [(loops.death_edges[largest], np.ones(1)), (loops.birth_edges[largest], -np.ones(1))],
    )
    value, gradient = output
    assert value == pytest.approx(lasting.max(), rel=1e-4)
    np.testing.assert_allclose(gradient, want, atol=1e-4)


# A monitor


def _summaries(components: torch.Tensor, loops: torch.Tensor) -> list[float]:
    """Total persistence of both, entropy of the components, number of long loops."""
    lasting = loops[:, 1] - loops[:, 0]
    shares = components[:, 1] / components[:, 1].sum()
    entropy = -(shares * shares.log()).sum()
    return torch.stack(
        [components[:, 1].sum(), lasting.sum(), entropy, (lasting > LONG).sum()]
    ).tolist()


def _our_monitor(num_points: int) -> Work:
    points = torch.from_numpy(cloud("features", num_points))

    def look() -> list[float]:
        components, loops = fast.rips_persistence_of_points(points)
        return torch.cat(
            [
                fast.total_persistence(components.pairs),
                fast.total_persistence(loops.pairs),
                fast.persistent_entropy(components.pairs),
                (loops.deaths - loops.births > LONG).sum(dim=1),
            ]
        ).tolist()

    return look


def _their_monitor(num_points: int) -> Work:
    points = torch.from_numpy(cloud("features", num_points))
    rips = their_rips()
    return lambda: _summaries(*(each.diagram for each in rips(points)))


def _check_monitor(output: Any, num_points: int, name: str) -> None:
    want = _summaries(
        *(torch.from_numpy(d.pairs) for d in definition(cloud("features", num_points)))
    )
    assert output == pytest.approx(want, rel=1e-4)


# Clouds of unequal size


def unequal_clouds(num_points: int) -> list[FloatArray]:
    """Return clouds in space of 8 points up to `num_points`, which the last one has."""
    sizes = np.linspace(8, num_points, NUM_CLOUDS).astype(int)
    return [cloud("cube", int(size), seed) for seed, size in enumerate(sizes)]


def _our_sizes(num_points: int) -> Work:
    clouds = unequal_clouds(num_points)
    sizes = [len(points) for points in clouds]
    padded = torch.nn.utils.rnn.pad_sequence(list(map(torch.from_numpy, clouds)), batch_first=True)
    padded.requires_grad_()

    def total() -> tuple[float, FloatArray]:
        components, loops = fast.rips_persistence_of_points(padded, sizes=sizes)
        lasting = fast.total_persistence(loops.pairs, mask=loops.mask)
        return _with_gradient((components.deaths.sum(dim=1) + lasting).sum(), padded)

    return total


def _their_sizes(num_points: int) -> Work:
    clouds = [_tensor(points) for points in unequal_clouds(num_points)]
    rips = their_rips()

    def total() -> tuple[float, FloatArray]:
        parts = [part.diagram for found in rips(clouds) for part in found]
        loss = torch.stack([(pairs[:, 1] - pairs[:, 0]).sum() for pairs in parts]).sum()
        gradients = torch.autograd.grad(loss, clouds)
        padded = torch.nn.utils.rnn.pad_sequence(list(gradients), batch_first=True)
        return loss.item(), padded.numpy()

    return total


def _check_sizes(output: Any, num_points: int, name: str) -> None:
    clouds = unequal_clouds(num_points)
    found = [diagram for points in clouds for diagram in definition(points)]
    value, gradient = output
    assert value == pytest.approx(sum(np.diff(d.pairs).sum() for d in found), rel=1e-4)
    for points, rows in zip(clouds, gradient, strict=True):
        assert np.abs(rows[: len(points)]).max() > 0
        assert not rows[len(points) :].any()


# The other library's face


def _clouds_in_space(num_points: int) -> torch.Tensor:
    return torch.from_numpy(np.stack([cloud("cube", num_points, s) for s in range(NUM_CLOUDS)]))


def _our_face(num_points: int) -> Work:
    clouds = _clouds_in_space(num_points)
    return lambda: fast.diagrams_to_torch_topological(fast.rips_persistence_of_points(clouds))


def _their_face(num_points: int) -> Work:
    clouds, rips = _clouds_in_space(num_points), their_rips()
    return lambda: rips(clouds)


def _check_face(output: Any, num_points: int, name: str) -> None:
    assert len(output) == NUM_CLOUDS
    for seed in (0, NUM_CLOUDS - 1):
        want = definition(cloud("cube", num_points, seed))
        for each, diagram in zip(output[seed], want, strict=True):
            rows = np.array(sorted(each.diagram.tolist()))
            np.testing.assert_allclose(rows, sorted(diagram.pairs.tolist()), atol=1e-5)


TASKS = {
    AUTOENCODER: Task("linked circles", _our_signature, _their_signature, _check_signature, 2),
    LOOP: Task("circle", _our_loop, _their_loop, _check_loop, 2),
    MONITOR: Task("features", _our_monitor, _their_monitor, _check_monitor, 64),
    UNEQUAL: Task("cube", _our_sizes, _their_sizes, _check_sizes, 3, NUM_CLOUDS),
    REPLACED: Task("cube", _our_face, _their_face, _check_face, 3, NUM_CLOUDS),
}


def guide_case(op: str, name: str, num_points: int) -> Case:
    """Return a guide's example by one implementation."""
    task = TASKS[op]

    def build() -> Job:
        work = (task.ours if name == "fast" else task.theirs)(num_points)

        def run() -> tuple[Any, float]:
            begin = time.process_time()
            output = work()
            return output, time.process_time() - begin

        return Job(
            run, lambda timed: task.check(timed[0], num_points, name), lambda timed: timed[1]
        )

    return Case(
        suite="guides", op=op, implementation=name, yields="what the guide needs", build=build,
        data=task.data, num_points=num_points, channels=task.channels, batch=task.batch,
        threads=1, max_dim=1,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["fast", "torch-topological"])
@pytest.mark.parametrize("op", TASKS)
@pytest.mark.sizes(*SIZES)
def test_a_guides_example(op: str, name: str, num_points: int, measure: Measure) -> None:
    """On one core: torch-topological is right on one thread alone (`peers.py`)."""
    with cores(1):
        measure(lambda n: guide_case(op, name, n), num_points, PEERS[name])


@pytest.mark.parametrize("op", TASKS)
def test_the_checks_refuse_another_result(op: str) -> None:
    job = guide_case(op, "fast", SMOKE_POINTS).build()
    timed = job.run()
    job.check(timed)
    with pytest.raises(AssertionError):
        TASKS[op].check(timed[0], SMOKE_POINTS + 8, "fast")
