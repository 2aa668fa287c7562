"""Part `sanitize` of gpu_check.sh: every kernel on small clouds, for compute-sanitizer to watch.

python -m benchmarks.gpu_sanitize --out DIR
"""

import sys
from functools import partial

import torch

import fast
from benchmarks.gpu_parts import Part, run_part


def body(part: Part) -> None:
    """Run diagrams, sampling and losses, with ties and duplicates, and compare with the CPU."""
    sizes = (12,) if part.small else (12, 40, 130)
    for n in sizes:
        for dtype in (torch.float32, torch.float64):
            with part.case(f"{n} points, {dtype}"):
                one_size(part, n, dtype)


def one_size(part: Part, n: int, dtype: torch.dtype) -> None:
    """Compare everything at one size."""
    generator = torch.Generator().manual_seed(n)
    lattice = torch.randint(4, (2, n, 3), generator=generator).to(dtype)
    cloud = torch.rand(2, n, 3, generator=generator, dtype=dtype)
    found = [each for points in (lattice, cloud) for each in everything(points.to(part.device))]
    wanted = [each for points in (lattice, cloud) for each in everything(points)]
    pairs = zip(found, wanted, strict=True)
    wrong = [place for place, (got, want) in enumerate(pairs) if not torch.equal(got.cpu(), want)]
    part.check(f"{n} points, {dtype}", not wrong, compared=len(wanted), wrong=wrong)


def everything(points: torch.Tensor) -> list[torch.Tensor]:
    """Return what the kernels make of clouds (B, N, C): whole numbers, and floats to the bit."""
    distances = fast.pairwise_distances(points)
    diagrams = fast.rips_persistence(distances)
    found = [distances]
    for diagram in diagrams:
        found += [diagram.births, diagram.deaths, diagram.death_simplices, diagram.counts]
    picked, radii = fast.topology_preserving_sampling(points, points.shape[1] // 2)
    found += [picked, radii, fast.covering_radius(points[0], picked[0, :3])]
    found.append(fast.normalise(points[0], "diameter"))
    return found


main = partial(run_part, "gpu_sanitize", body, __doc__ or "")

if __name__ == "__main__":
    sys.exit(main())
