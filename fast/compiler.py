"""The CPU's kernels are compiled ahead of their first call: `topodistill warm-up`."""

import argparse
import sys
from collections.abc import Sequence

import torch

from fast.distances import pairwise_distances
from fast.distillation import topological_loss
from fast.rips import rips_persistence

_DESCRIPTION = (
    "Compile the kernels of diagrams and losses now, about a minute, so that no later process "
    "waits for them; at once where they are compiled already."
)
_SIZES = (64, 128, 256, 1024)  # one of each kind of kernel for stored distances


def warm_up() -> None:
    """Compile the CPU's kernels of diagrams and losses, in float32, or load them from the cache.

    Otherwise the first call of each does so, some seconds of it, and says so on stderr. What is
    compiled is kept: in `NUMBA_CACHE_DIR` if that is set, else beside the package or, where it
    cannot be written, in the user's cache. Clouds of 6,144 points and more, float64,
    dimension 2 and distances between diagrams compile a little more when they are first used.

    Raises
    ------
    RuntimeError
        If numba finds no folder to keep what it compiles.

    Examples
    --------
    >>> warm_up()
    """
    generator = torch.Generator().manual_seed(0)
    for size in _SIZES:
        points = torch.randn(size, 3, generator=generator, requires_grad=True)
        for max_dim in range(2):
            diagrams = rips_persistence(pairwise_distances(points), max_dim)
            torch.autograd.grad(torch.stack([each.deaths.sum() for each in diagrams]).sum(), points)
    student = torch.randn(128, 4, generator=generator, requires_grad=True)
    torch.autograd.grad(topological_loss(student.detach().flip(1), student, 64), student)


def say_when_compiling() -> None:
    """Have it said on stderr, once, that kernels are compiled: ours, or those of `train`."""
    import fast.kernels.numba_cpu  # noqa: F401  (loads numba)


def main(arguments: Sequence[str]) -> int:
    """Warm up: the command `topodistill warm-up`, which needs nothing but the package itself."""
    parser = argparse.ArgumentParser("topodistill warm-up", description=_DESCRIPTION)
    parser.parse_args(arguments)
    warm_up()
    sys.stdout.write("the kernels are compiled\n")
    return 0
