"""The networks' sparse convolution beside the CPU wheel of spconv, checked against numpy first."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.clouds import FloatArray
from benchmarks.harness import SMOKE_POINTS, Case, Job, Measure, Optional
from train.networks.ptv3.conv_backends import ConvBackend, make_convolution
from train.networks.ptv3.convolution_spconv import (
    allow_nondeterministic_threads,
    load_spconv,
    spconv_sites,
)
from train.networks.ptv3.neighbors import neighbor_table

IntArray = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

CHANNELS = 64
GRID_SIZE_M = 0.05


@dataclass(frozen=True)
class Convolver(Optional):
    """An implementation; spconv also on one thread, where it makes no mistake."""

    distribution: str | None
    form: ConvBackend
    threaded: bool = True


CONVOLVERS = {
    "ours": Convolver(None, "torch"),
    "spconv": Convolver("spconv", "spconv"),
    "spconv, one thread": Convolver("spconv", "spconv", threaded=False),
}


@lru_cache(maxsize=2)
def scene(num_voxels: int) -> IntArray:
    """Return the voxels nearest to a sensor of 64 rays 1.7 m above a floor between two walls."""
    azimuth = np.linspace(-np.pi, np.pi, 2000, endpoint=False)[:, None]
    slope = np.tan(np.deg2rad(np.linspace(-25.0, 3.0, 64)))[None, :]
    with np.errstate(divide="ignore"):
        to_wall = 6.0 / np.abs(np.sin(azimuth)) + 0 * slope
        to_floor = np.where(slope < 0, -1.7 / slope, np.inf)
    reach = np.minimum(np.minimum(to_wall, to_floor), 80.0)
    points = np.stack([reach * np.cos(azimuth), reach * np.sin(azimuth), reach * slope], axis=-1)
    points = points.reshape(-1, 3) + np.random.default_rng(0).normal(0, 0.02, (points.size // 3, 3))
    grid = np.unique(np.floor(points / GRID_SIZE_M).astype(np.int64), axis=0)
    assert len(grid) >= num_voxels, "the scene has too few voxels"
    nearest = np.argsort((grid.astype(np.float64) ** 2).sum(axis=1), kind="stable")[:num_voxels]
    grid = grid[np.sort(nearest)]
    return np.asarray(grid - grid.min(axis=0))


def partners(grid: IntArray, tap: int) -> tuple[IntArray, IntArray]:
    """Return rows p and q with grid[q] = grid[p] + the tap's offset, found by a dictionary."""
    offset = np.array([tap // 9, tap // 3 % 3, tap % 3]) - 1
    row_of = {tuple(voxel): row for row, voxel in enumerate(grid.tolist())}
    found = [
        (here, row_of[voxel])
        for here, voxel in enumerate(map(tuple, (grid + offset).tolist()))
        if voxel in row_of
    ]
    here, there = np.array(found, dtype=np.int64).reshape(-1, 2).T
    return here, there


@lru_cache(maxsize=2)
def _answers(num_voxels: int) -> dict[str, FloatArray]:
    """Return output and gradients in float64, tap after tap."""
    grid = scene(num_voxels)
    feat, weight, bias, slope = (tensor.double().numpy() for tensor in _operands(num_voxels))
    flat = weight.reshape(CHANNELS, 27, CHANNELS)
    out = np.zeros((num_voxels, CHANNELS)) + bias
    grad_feat, grad_weight = np.zeros_like(feat), np.zeros_like(flat)
    for tap in range(27):
        here, there = partners(grid, tap)
        out[here] += feat[there] @ flat[:, tap].T
        grad_feat[there] += slope[here] @ flat[:, tap]
        grad_weight[:, tap] = slope[here].T @ feat[there]
    return {
        "out": out,
        "feat": grad_feat,
        "weight": grad_weight.reshape(weight.shape),
        "bias": slope.sum(axis=0),
    }


def _operands(num_voxels: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return features, weight, bias and the gradient that the output gets."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    weight = draw(CHANNELS, 3, 3, 3, CHANNELS) / (27 * CHANNELS) ** 0.5
    return draw(num_voxels, CHANNELS), weight, draw(CHANNELS), draw(num_voxels, CHANNELS)


def _wrong_rows(got: Tensor, want: FloatArray) -> int:
    """Count rows that are further from the answer than float32 sums of 30,000 products can be."""
    error = np.abs(got.detach().double().numpy() - want).reshape(len(want), -1).max(axis=1)
    return int((error > 1e-4 * np.abs(want).max()).sum())


def convolution_case(name: str, direction: Any, num_points: int, threads: int) -> Case:
    convolver = CONVOLVERS[name]
    own_threads = threads if convolver.threaded else 1

    def build() -> Job:
        feat, weight, bias, slope = _operands(num_points)
        grid = torch.from_numpy(scene(num_points))
        cloud = torch.zeros(num_points, dtype=torch.long)
        layer = make_convolution(convolver.form, CHANNELS, CHANNELS, 3, bias=True)
        layer.load_state_dict({"weight": weight, "bias": bias})
        is_ours = convolver.form == "torch"
        neighbors = neighbor_table(grid, cloud, 3) if is_ours else spconv_sites(grid, cloud, 1)
        leaves = {"feat": feat.requires_grad_(), **dict(layer.named_parameters())}
        out = on(own_threads, lambda: layer(feat, neighbors))  # spconv finds its neighbors here

        def backward() -> dict[str, Tensor]:
            grads = torch.autograd.grad(out, list(leaves.values()), slope, retain_graph=True)
            return dict(zip(leaves, grads, strict=True))

        def check(found: dict[str, Tensor]) -> str | None:
            want = _answers(num_points)
            wrong = {
                what: f"{number} of {len(got)} rows of {what}"
                for what, got in found.items()
                if (number := _wrong_rows(got, want[what]))
            }
            if wrong and name == "spconv" and own_threads > 1:
                return f"{', '.join(wrong.values())} are wrong"
            assert not wrong, ", ".join(wrong.values())
            return None

        run = backward if direction == "backward" else lambda: {"out": layer(feat, neighbors)}
        return Job(lambda: on(own_threads, run), check)

    return _case("convolution", name, num_points, own_threads, build, direction=direction)


def search_case(name: str, num_points: int, threads: int) -> Case:
    convolver = CONVOLVERS[name]
    own_threads = threads if convolver.threaded else 1

    def build() -> Job:
        grid = torch.from_numpy(scene(num_points))
        cloud = torch.zeros(num_points, dtype=torch.long)

        def ours() -> int:
            return neighbor_table(grid, cloud, 3).num_pairs // 2

        def theirs() -> int:
            sites, spconv = spconv_sites(grid, cloud, 1), load_spconv()
            three, one = [3] * 3, [1] * 3
            _, _, counts = spconv.ops.get_indice_pairs(
                sites.indices, 1, sites.spatial_shape, spconv.ConvAlgo.Native, three, one, one,
                one, [0] * 3, True,
            )  # fmt: skip
            return int(counts.sum())  # of the taps before the centre; the others mirror them

        def check(num_pairs: int) -> None:
            want = sum(len(partners(scene(num_points), tap)[0]) for tap in range(13))
            assert num_pairs == want

        run = ours if convolver.form == "torch" else theirs
        return Job(lambda: on(own_threads, run), check)

    return _case("neighbours", name, num_points, own_threads, build)


def _case(
    op: str, name: str, num_points: int, threads: int, build: Callable[[], Job], **more: Any
) -> Case:
    return Case(
        suite="convolution", op=op, implementation=name, yields="features", build=build,
        num_points=num_points, threads=threads, channels=CHANNELS, data="scene", **more,
    )  # fmt: skip


def on(threads: int, call: Callable[[], Any]) -> Any:
    """Return what a call returns on so many of torch's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with allow_nondeterministic_threads():
            return call()
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("name", CONVOLVERS)
@pytest.mark.sizes(30_000)
def test_convolution(
    name: str, direction: str, num_points: int, threads: int, measure: Measure
) -> None:
    """3 x 3 x 3, 64 channels, its neighbors known."""
    measure(lambda n: convolution_case(name, direction, n, threads), num_points, CONVOLVERS[name])


@pytest.mark.parametrize("name", CONVOLVERS)
@pytest.mark.sizes(30_000)
def test_neighbor_search(name: str, num_points: int, threads: int, measure: Measure) -> None:
    """Once for all layers of a resolution."""
    measure(lambda n: search_case(name, n, threads), num_points, CONVOLVERS[name])


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_the_check_refuses_another_kernel(direction: str) -> None:
    job = convolution_case("ours", direction, SMOKE_POINTS, 1).build()
    found = job.run()
    job.check(found)
    with pytest.raises(AssertionError, match="rows of"):
        job.check({what: tensor.flip(0) for what, tensor in found.items()})
