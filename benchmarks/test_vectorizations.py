"""Distances and vectorizations of a batch of loop diagrams: ours and GUDHI's.

GUDHI's functions run on one thread, ours on those of the run.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

import fast
import reference
from benchmarks.clouds import FloatArray, cloud
from benchmarks.harness import SMOKE_POINTS, Case, Job, Measure, Optional

TOGETHER = 16
"""Diagrams of one call of ours; GUDHI's functions take them one by one, or in a list."""
GRID = np.linspace(0.0, 1.0, 100)
LANDSCAPES = 5
LINES = 50


@dataclass(frozen=True)
class Diagrams:
    """Two batches of diagrams, as tensors with masks and as lists of arrays."""

    first: fast.BatchedDiagram
    second: fast.BatchedDiagram

    @property
    def arrays(self) -> list[tuple[FloatArray, FloatArray]]:
        both = (
            [each.double().numpy() for each in batch.to_list()]
            for batch in (self.first, self.second)
        )
        return list(zip(*both, strict=True))

    @property
    def pairs_and_masks(self) -> dict[str, Any]:
        return {
            "first": self.first.pairs, "first_mask": self.first.mask,
            "second": self.second.pairs, "second_mask": self.second.mask,
        }  # fmt: skip


def diagrams(num_points: int) -> Diagrams:
    """Loops of clouds in the unit cube; of the large ones about half as many as points."""
    batches = []
    for seed in (0, TOGETHER):
        points = [cloud("cube", num_points, seed + i) for i in range(TOGETHER)]
        batches.append(fast.rips_persistence_of_points(torch.from_numpy(np.stack(points)))[1])
    return Diagrams(*batches)


def _assigned(first: FloatArray, second: FloatArray) -> float:
    """W_2 in the largest coordinate, by scipy's assignment of the completed diagrams."""
    m, k = len(first), len(second)
    cost = np.zeros((m + k, k + m))
    cost[:m, :k] = np.abs(first[:, None] - second).max(axis=-1) ** 2
    cost[:m, k:] = (np.diff(first) / 2) ** 2
    cost[m:, :k] = (np.diff(second).T / 2) ** 2
    return float(np.sqrt(cost[linear_sum_assignment(cost)].sum()))


# Operation -> what it must be, of a pair of arrays.
WANTED: dict[str, Callable[[FloatArray, FloatArray], Any]] = {
    "wasserstein_distance": _assigned,
    "sliced_wasserstein": lambda first, second: reference.sliced_wasserstein(
        first, second, num_directions=LINES
    ),
    "persistent_entropy": lambda first, _: reference.persistent_entropy(first),
    "persistence_landscape": lambda first, _: reference.persistence_landscape(
        first, grid=GRID, num_landscapes=LANDSCAPES
    ),
    "betti_curve": lambda first, _: reference.betti_curve(first, grid=GRID),
}
OPS = tuple(WANTED)


def _ours(op: str, given: Diagrams) -> Callable[[], Any]:
    two = given.pairs_and_masks
    one: dict[str, Any] = {"pairs": given.first.pairs, "mask": given.first.mask}
    grid = torch.from_numpy(GRID)
    calls: dict[str, Callable[[], torch.Tensor]] = {
        "wasserstein_distance": lambda: fast.wasserstein_distance(**two),
        "sliced_wasserstein": lambda: fast.sliced_wasserstein(**two, num_directions=LINES),
        "persistent_entropy": lambda: fast.persistent_entropy(**one),
        "persistence_landscape": lambda: fast.persistence_landscape(
            **one, grid=grid, num_landscapes=LANDSCAPES
        ),
        "betti_curve": lambda: fast.betti_curve(**one, grid=grid),
    }
    call = calls[op]
    return lambda: call().numpy()


def _gudhi(op: str, given: Diagrams) -> Callable[[], Any]:
    """GUDHI's, in our units: landscapes are sqrt(2) times as high there."""
    from gudhi import representations, wasserstein

    both = given.arrays
    firsts = [first for first, _ in both]
    if op == "wasserstein_distance":
        return lambda: [
            wasserstein.wasserstein_distance(*pair, order=2, internal_p=np.inf) for pair in both
        ]
    if op == "sliced_wasserstein":
        distance = representations.SlicedWassersteinDistance(num_directions=LINES)
        return lambda: [distance(*pair) for pair in both]
    if op == "persistent_entropy":
        entropy = representations.Entropy().fit(firsts)
        return lambda: entropy.transform(firsts)[:, 0]
    if op == "betti_curve":
        curve = representations.BettiCurve(predefined_grid=GRID).fit(firsts)
        return lambda: curve.transform(firsts)
    landscape = representations.Landscape(
        num_landscapes=LANDSCAPES, resolution=len(GRID), sample_range=[GRID[0], GRID[-1]]
    ).fit(firsts)
    shape = len(firsts), LANDSCAPES, len(GRID)
    return lambda: landscape.transform(firsts).reshape(shape) / np.sqrt(2)


@dataclass(frozen=True)
class Maker(Optional):
    """A way to all of it, and what it needs."""

    distribution: str | None
    prepare: Callable[[str, Diagrams], Callable[[], Any]]


MAKERS = {"fast": Maker(None, _ours), "GUDHI": Maker("gudhi", _gudhi)}


def vectorization_case(name: str, op: str, num_points: int, threads: int) -> Case:
    def build() -> Job:
        given = diagrams(num_points)
        want = np.array([WANTED[op](*pair) for pair in given.arrays])

        def check(got: Any) -> str | None:
            if name == "GUDHI" and op == "sliced_wasserstein":
                # A mean over the first 49 of the 50 lines.
                np.testing.assert_allclose(got, want, rtol=0.05)
                return "GUDHI leaves out the last line"
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
            return None

        return Job(MAKERS[name].prepare(op, given), check)

    return Case(
        suite="vectorizations", op=op, implementation=name, yields="values", build=build,
        data="cube", channels=3, num_points=num_points, threads=threads if name == "fast" else 1,
        max_dim=1, batch=TOGETHER,
    )  # fmt: skip


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("op", OPS)
@pytest.mark.sizes(64, 256)
def test_a_batch(name: str, op: str, num_points: int, threads: int, measure: Measure) -> None:
    measure(lambda n: vectorization_case(name, op, n, threads), num_points, MAKERS[name])


@pytest.mark.parametrize("op", OPS)
def test_the_check_refuses_what_is_of_other_diagrams(op: str) -> None:
    job = vectorization_case("fast", op, SMOKE_POINTS, 1).build()
    values = job.run()
    job.check(values)
    with pytest.raises(AssertionError):
        job.check(values[::-1])
