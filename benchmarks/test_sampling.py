"""Topology-preserving sampling beside other farthest point samplers, and Figure 7."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

import fast
import reference
from benchmarks.clouds import FloatArray, cloud
from benchmarks.harness import SMOKE_POINTS, Case, Job, Measure, Optional
from benchmarks.outputs import EXACT_POINTS, IntArray
from benchmarks.schema import Suite


@dataclass(frozen=True)
class Sampler(Optional):
    """A sampler: (points, how many) -> indices; it starts at the first point."""

    distribution: str | None
    sample: Callable[[torch.Tensor, int], Any]
    threaded: bool


def _fpsample(points: torch.Tensor, num_samples: int) -> Any:
    # Its bucket samplers stop at 8 channels, its npdu samplers are not farthest point sampling.
    import fpsample

    return fpsample.fps_sampling(points.numpy(), num_samples, start_idx=0)


def _torch_cluster(points: torch.Tensor, num_samples: int) -> Any:
    from torch_cluster import fps

    return fps(points, ratio=num_samples / len(points), random_start=False)


def _pytorch3d(points: torch.Tensor, num_samples: int) -> Any:
    from pytorch3d.ops import sample_farthest_points

    return sample_farthest_points(points[None], K=num_samples)[1][0]


def _random(points: torch.Tensor, num_samples: int) -> Any:
    # Without replacement and without touching all N: why the paper's curve is flat.
    generator = np.random.default_rng(0)
    return generator.choice(len(points), num_samples, replace=False, shuffle=False)


SAMPLERS = {
    "fast": Sampler(None, lambda p, m: fast.topology_preserving_sampling(p, m)[0], True),
    "fpsample": Sampler("fpsample", _fpsample, False),
    "torch_cluster": Sampler("torch-cluster", _torch_cluster, True),
    "pytorch3d": Sampler("pytorch3d", _pytorch3d, True),
}
RANDOM = Sampler(None, _random, False)


def sampling_case(
    suite: Suite, name: str, sampler: Sampler, num_points: int, num_samples: int, threads: int
) -> Case:
    num_samples = min(num_samples, num_points // 2)

    def build() -> Job:
        points = torch.from_numpy(cloud("features", num_points))

        def check(output: Any) -> None:
            indices = np.asarray(output, dtype=np.int64)
            assert indices.shape == (num_samples,)
            assert len(np.unique(indices)) == num_samples
            assert 0 <= indices.min() <= indices.max() < num_points
            if name != "random":
                _assert_farthest(points.numpy(), indices)

        return Job(lambda: sampler.sample(points, num_samples), check)

    return Case(
        suite=suite, op="sampling", implementation=name, yields="indices", build=build,
        num_points=num_points, num_samples=num_samples,
        threads=threads if sampler.threaded else 1,
    )  # fmt: skip


def _assert_farthest(points: FloatArray, indices: IntArray) -> None:
    """Assert that each sample is (to rounding) the farthest from those before it, in float64."""
    exact = points.astype(np.float64)
    if len(points) <= EXACT_POINTS:
        want, _ = reference.topology_preserving_sampling(exact, len(indices))
        np.testing.assert_array_equal(indices, want)
    assert indices[0] == 0
    squares = (exact * exact).sum(axis=1)
    nearest = np.full(len(exact), np.inf)
    for chosen in range(len(indices) - 1):
        centre = indices[chosen]
        to_centre = squares + squares[centre] - 2 * (exact @ exact[centre])
        np.minimum(nearest, to_centre, out=nearest)
        # The features have length 1, so float32 squares are right to about 1e-6.
        assert nearest[indices[chosen + 1]] >= nearest.max() - 1e-5


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.sizes(30_000)
def test_farthest_point_sampling(
    name: str, num_points: int, threads: int, measure: Measure
) -> None:
    """30,000 points of 64 channels to 1,024."""
    sampler = SAMPLERS[name]
    measure(
        lambda n: sampling_case("sampling", name, sampler, n, 1024, threads), num_points, sampler
    )


@pytest.mark.parametrize("name", ["fast", "random"])
@pytest.mark.sizes(1_000, 3_000, 10_000, 30_000, 100_000)
def test_figure7(name: str, num_points: int, threads: int, measure: Measure) -> None:
    """Random against topology-preserving sampling to 128 points."""
    sampler = RANDOM if name == "random" else SAMPLERS[name]
    measure(lambda n: sampling_case("figure7", name, sampler, n, 128, threads), num_points)


def test_the_check_refuses_a_random_sample() -> None:
    points = cloud("features", SMOKE_POINTS)
    with pytest.raises(AssertionError):
        _assert_farthest(points, np.arange(SMOKE_POINTS // 2))
