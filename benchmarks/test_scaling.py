"""How the cost grows with N; Figure 8 (H1 against H2); the first call of a process."""

import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from benchmarks.harness import SMOKE_POINTS, Case, Job, Measure
from benchmarks.machine import ROOT
from benchmarks.peers import PEERS
from benchmarks.rips_cases import large_case, rips_case, rips_of_points_case


@pytest.mark.parametrize(("family", "max_dim"), [("features", 1), ("cube", 1), ("features", 0)])
@pytest.mark.sizes(128, 256, 512, 1024, 2048, 4096)
def test_cost_over_points(
    family: str, max_dim: int, num_points: int, threads: int, measure: Measure
) -> None:
    measure(lambda n: rips_case("scaling", "fast", family, n, threads, max_dim), num_points)


@pytest.mark.parametrize("family", ["features", "cube"])
@pytest.mark.sizes(8192, 16_384)
def test_cost_of_large_clouds(family: str, num_points: int, threads: int, measure: Measure) -> None:
    """From distances, where no other library is asked for the same."""
    measure(lambda n: large_case(family, n, threads), num_points)


@pytest.mark.sizes(4096, 16_384)
def test_cost_of_features_without_distances(
    num_points: int, threads: int, measure: Measure
) -> None:
    measure(lambda n: rips_of_points_case("features", n, threads), num_points)


@pytest.mark.parametrize("family", ["cube", "circle"])
@pytest.mark.sizes(4096, 16_384, 100_000)
def test_cost_without_distances(
    family: str, num_points: int, threads: int, measure: Measure
) -> None:
    measure(lambda n: rips_of_points_case(family, n, threads), num_points)


@pytest.mark.parametrize(
    ("name", "family", "max_dim"),
    [
        ("fast", "features", 1),
        ("ripser.py", "features", 1),
        ("ripser.py", "features", 2),
        *(
            (name, family, 2)
            for family in ("features", "cube", "sphere3")
            for name in ("fast", "giotto-ph, one thread")
        ),
    ],
)
@pytest.mark.sizes(50, 100, 200)
def test_figure8(
    name: str, family: str, max_dim: int, num_points: int, threads: int, measure: Measure
) -> None:
    """H1 and H2; giotto-ph says critical edges, as we do, ripser.py values."""
    measure(
        lambda n: rips_case("figure8", name, family, n, threads, max_dim), num_points, PEERS[name]
    )


FIRST_CALL = """
import torch, fast
square = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
print([d.counts.tolist() for d in fast.rips_persistence(fast.pairwise_distances(square))])
"""


def first_call(folder: Path | None) -> str:
    """Start Python, with kernels in a folder's cache, else in the usual one; return its output."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    if folder is not None:
        environment["NUMBA_CACHE_DIR"] = str(folder)
    return subprocess.run(
        [sys.executable, "-c", FIRST_CALL],
        env=environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


@functools.cache
def checked_first_call() -> str:
    """Start Python once for both cases: the small check compiles nothing in either."""
    return first_call(None)


def first_call_case(
    cache: str, folder: Path | None, num_points: int, threads: int, *, smallest: bool
) -> Case:
    """From starting Python to the first diagram: kernels compiled, or loaded from the cache."""

    def check(printed: str) -> None:
        assert printed == "[[3], [1]]\n"

    return Case(
        suite="first-call", op=f"rips, {cache}", implementation="fast",
        yields="edges, triangles", data="square",
        build=lambda: Job(checked_first_call if smallest else lambda: first_call(folder), check),
        num_points=num_points, channels=2, threads=threads, max_dim=1, once=folder is not None,
    )  # fmt: skip


@pytest.mark.parametrize("cache", ["kernels compiled", "kernels cached"])
@pytest.mark.sizes(4)
def test_first_call(
    cache: str, num_points: int, threads: int, measure: Measure, tmp_path: Path
) -> None:
    def case_of(size: int) -> Case:
        # The small check that comes first may use the cache: it would compile for nothing.
        compiles = cache == "kernels compiled" and size == num_points == 4
        folder = tmp_path if compiles else None
        return first_call_case(cache, folder, 4, threads, smallest=size == SMOKE_POINTS)

    measure(case_of, num_points)


FIRST_DIAGRAM = """
import time, torch
torch.set_num_threads({threads})
begin = time.process_time()
import fast
points = torch.randn({num_points}, 3, generator=torch.Generator().manual_seed(0))
diagrams = fast.rips_persistence(fast.pairwise_distances(points))
print(*(diagram.counts.item() for diagram in diagrams), time.process_time() - begin)
"""


def first_diagram(num_points: int, threads: int, folder: Path | None) -> list[str]:
    """Return pairs in H0 and H1, and CPU seconds; kernels come from a new cache in `folder`."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    if folder is not None:
        environment["NUMBA_CACHE_DIR"] = tempfile.mkdtemp(dir=folder)
    program = FIRST_DIAGRAM.format(num_points=num_points, threads=threads)
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    ).stdout.split()


@pytest.mark.parametrize("cache", ["kernels compiled", "kernels cached"])
@pytest.mark.sizes(64, 1024)
def test_first_diagram(
    cache: str, num_points: int, threads: int, measure: Measure, tmp_path: Path
) -> None:
    """CPU seconds beyond `import torch`, in fresh processes."""

    def case_of(size: int) -> Case:
        folder = tmp_path if cache == "kernels compiled" and size == num_points else None

        def check(printed: list[str]) -> None:
            assert int(printed[0]) == size - 1
            assert int(printed[1]) > 0

        return Case(
            suite="first-call", op=f"rips, N = {size}, {cache}, CPU seconds beyond torch",
            implementation="fast", yields="edges, triangles", data="normal",
            build=lambda: Job(
                lambda: first_diagram(size, threads, folder), check, lambda said: float(said[2])
            ),
            num_points=size, channels=3, threads=threads, max_dim=1,
        )  # fmt: skip

    measure(case_of, num_points)
