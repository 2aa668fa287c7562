"""Figure 4: what persistence sees of a cloud: the complex as it grows, barcode and diagram."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Final

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.studies.figures.figure_file import Drawn, rounded
from benchmarks.studies.figures.palette import BLACK, SKY
from benchmarks.studies.figures.shapes import shape
from fast import normalise, pairwise_distances, rips_persistence
from fast.plot import plot_barcode, plot_diagram

NAME: Final = "figure4"
NAME_OF_TEACHER: Final = "figure4-teacher"
SHAPE: Final = "two circles"
NUM_FEATURES: Final = 256
_LENGTHS: Final = (0.2, 0.4, 0.6, 0.9)

Pairs = NDArray[np.float64]


def diagrams(distances: torch.Tensor) -> list[Pairs]:
    """Return the (birth, death) rows of dimensions 0 and 1 of a cloud, (K, 2) each."""
    return [found.cloud(0).pairs for found in rips_persistence(distances)]


def make() -> Drawn:
    """Return the figure of a cloud of two circles: two loops, as anyone can see."""
    points = shape(SHAPE)
    distances = pairwise_distances(torch.from_numpy(points))
    found = diagrams(distances)
    figure = Figure(figsize=(12, 5.9), layout="constrained")
    top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, 1.6))[:, 0]
    for axis, length in zip(top.subplots(1, len(_LENGTHS)), _LENGTHS, strict=True):
        _draw_complex(axis, points, distances.numpy(), length)
    _draw_diagrams(bottom.subplots(1, 2, width_ratios=(2, 1)), found, _LENGTHS)
    return Drawn(_numbers(SHAPE, len(points), found), figure)


def make_of_features(features: torch.Tensor, source: Mapping[str, Any]) -> Drawn:
    """Return the figure of a teacher's features.

    Parameters
    ----------
    features
        (N, C) of the last decoder stage, at sampled voxels of a frame.
    source
        Which network and frame, as plain values, for the record.
    """
    points = normalise(features.double(), "l2")
    found = diagrams(pairwise_distances(points))
    numbers = {**source, **_numbers("features", len(points), found)}
    return Drawn(numbers, picture_of_features(numbers))


def picture_of_features(numbers: Mapping[str, Any]) -> Figure:
    """Return the picture of a figure's numbers, those of `make_of_features`."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    found = [np.array(pairs, dtype=np.float64).reshape(-1, 2) for pairs in numbers["pairs"]]
    _draw_diagrams(figure.subplots(1, 2, width_ratios=(2, 1)), found, ())
    figure.suptitle(
        f"{numbers['points']} features of the teacher's last decoder stage, each of length 1",
        fontsize=11,
    )
    return figure


def _numbers(name: str, num_points: int, found: Sequence[Pairs]) -> dict[str, Any]:
    return {
        "cloud": name,
        "points": num_points,
        "pairs": [[[rounded(b), rounded(d)] for b, d in pairs] for pairs in found],
    }


def _draw_complex(
    axis: Axes, points: NDArray[np.float64], distances: NDArray[np.float64], length: float
) -> None:
    """Draw the triangles and edges that are no longer than `length`."""
    near = distances <= length
    edges = [(i, j) for i, j in combinations(range(len(points)), 2) if near[i, j]]
    triangles = [
        (i, j, k) for i, j in edges for k in range(j + 1, len(points)) if near[i, k] and near[j, k]
    ]
    # One color for all of them: hundreds of see-through triangles would add up to black.
    axis.add_collection(
        PolyCollection([points[list(t)] for t in triangles], facecolors=SKY, linewidths=0, zorder=1)
    )
    axis.add_collection(
        LineCollection([points[list(e)] for e in edges], colors="0.45", linewidths=0.3, zorder=2)
    )
    axis.plot(*points.T, "o", ms=2.5, color=BLACK, zorder=3)
    axis.set_title(f"edges up to $\\epsilon$ = {length:g}", fontsize=10)
    axis.set(aspect="equal", xticks=[], yticks=[])


def _draw_diagrams(axes: Sequence[Axes], found: Sequence[Pairs], lengths: Sequence[float]) -> None:
    """Draw the barcode and the persistence diagram."""
    barcode, diagram = axes
    components, loops = found
    endless = np.array([[0.0, np.inf]])  # the component that never dies
    drawn = [np.concatenate([components, endless]), loops]
    plot_barcode(drawn, barcode)
    plot_diagram(drawn, diagram)
    for length in lengths:
        barcode.axvline(length, color="0.6", lw=0.7, ls=":")
    barcode.set(title="barcode", xlabel="edge length $\\epsilon$, the diameter")
    diagram.set(title="persistence diagram")


def summary(numbers: Mapping[str, Any]) -> str:
    """Return what the figure shows, in a sentence or two."""
    components, loops = numbers["pairs"]
    lasting = sorted((death - birth for birth, death in loops), reverse=True)
    longest = ", ".join(f"{value:.2g}" for value in lasting[:3])
    return (
        f"{numbers['points']} points: {len(components)} merges of components, {len(loops)} loops"
        + (f", the longest lasting {longest}" if lasting else "")
    )
