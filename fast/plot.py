"""Pictures of diagrams, barcodes, critical edges and matchings, on matplotlib's axes.

matplotlib is the extra `topodistill[plot]`, imported when a picture is drawn. Filtration values
are diameters, in the unit of the distances. Shape letters: N points, K pairs.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fast.diagram import BatchedDiagram
from fast.matching_plot import plot_matching
from fast.plot_input import (
    DASHES,
    GUIDE_COLOR,
    OneDiagram,
    Pairs,
    Shown,
    as_array,
    as_axes,
    one_per_dimension,
    value_range,
)
from reference.diagram import Diagram

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_barcode", "plot_critical_edges", "plot_diagram", "plot_matching"]

MIN_WIDTH, MAX_WIDTH = 0.8, 4.0
"""Points: lines of a pair of no persistence, and of the largest of its dimension."""


def plot_diagram(
    diagrams: OneDiagram | Sequence[OneDiagram],
    ax: "Axes | None" = None,
    *,
    cloud: int | None = None,
) -> "Axes":
    """Draw persistence diagrams: a point per pair, birth across and death upwards.

    Parameters
    ----------
    diagrams
        One diagram, or one per dimension as `rips_persistence` returns them: `BatchedDiagram`,
        `reference.Diagram`, or (K, 2) arrays of (birth, death) rows, whose dimension is their place
        in the list.
    ax
        Where to draw; None: new axes of pyplot.
    cloud
        Which cloud of a batch; needed where there are several.

    Returns
    -------
    Axes
        The axes, equally scaled, with a legend of the dimensions. Deaths at infinity are drawn on
        a dashed line at the top, and so are the components that never die. A `Diagram` does not
        keep the birth of an essential class above dimension 0: the legend counts it.

    Raises
    ------
    ValueError
        If a diagram is not of pairs, a dimension occurs twice, or `cloud` names none.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> square = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> axes = plot_diagram(rips_persistence_of_points(square))
    >>> axes.figure.savefig("square.png")
    """
    found = one_per_dimension("plot_diagram", diagrams, cloud)
    axes = as_axes("plot_diagram", ax)
    low, high = value_range([each.finite_values for each in found])
    margin = 0.04 * (high - low)
    top = high + 2.5 * margin
    end = high + margin
    axes.plot([low, end], [low, end], color=GUIDE_COLOR, lw=0.8, zorder=0, label="_diagonal")
    if any(each.essential_births.size or each.num_unplaced for each in found):
        axes.axhline(top, color=GUIDE_COLOR, lw=0.8, ls="--", zorder=0, label="_infinity")
        axes.annotate(
            "$\\infty$", (1, top), xycoords=("axes fraction", "data"), va="center",
            xytext=(3, 0), textcoords="offset points", fontsize=11,
        )  # fmt: skip
        end = top + margin
    for each in found:
        births = np.concatenate([each.pairs[:, 0], each.essential_births])
        deaths = np.concatenate([each.pairs[:, 1], np.full(each.essential_births.size, top)])
        axes.plot(
            births, deaths, each.marker, ms=4.5, mfc="none", color=each.color, label=each.label,
            clip_on=False,
        )  # fmt: skip
    axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, end), aspect="equal")
    axes.set(xlabel="birth (diameter)", ylabel="death (diameter)")
    axes.legend(frameon=False, loc="lower right")
    return axes


def plot_barcode(
    diagrams: OneDiagram | Sequence[OneDiagram],
    ax: "Axes | None" = None,
    *,
    cloud: int | None = None,
) -> "Axes":
    """Draw barcodes: a line per pair from birth to death, dimension over dimension.

    Parameters
    ----------
    diagrams, ax, cloud
        As in `plot_diagram`.

    Returns
    -------
    Axes
        The axes. In each dimension the shortest bar is lowest. Bars without a death end in an
        arrow at the right edge.

    Raises
    ------
    ValueError, ImportError
        As `plot_diagram`.
    """
    found = one_per_dimension("plot_barcode", diagrams, cloud)
    axes = as_axes("plot_barcode", ax)
    low, high = value_range([each.finite_values for each in found])
    right = high + 0.06 * (high - low)
    gap = 2 + sum(len(each.pairs) for each in found) // 40
    base = 0
    for each in found:
        order = np.lexsort((each.pairs[:, 1], each.pairs[:, 1] - each.pairs[:, 0]))
        endless = np.sort(each.essential_births)[::-1]
        begins = np.concatenate([each.pairs[order, 0], endless])
        ends = np.concatenate([each.pairs[order, 1], np.full(endless.size, right)])
        heights = base + np.arange(begins.size)
        axes.hlines(heights, begins, ends, color=each.color, lw=1.1, label=each.label)
        if endless.size:
            axes.plot(
                ends[order.size :], heights[order.size :], ">", ms=4, color=each.color,
                label="_infinity", clip_on=False,
            )  # fmt: skip
        base += begins.size + gap
    axes.set(xlim=(low, right), ylim=(-2, max(base - gap + 2, 3)), yticks=[], xlabel="diameter")
    # From the top as the bars are; beside them, where no bar is hidden.
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        handles[::-1], labels[::-1], frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5)
    )
    return axes


def plot_critical_edges(
    points: Tensor | NDArray[Any],
    diagrams: BatchedDiagram | Diagram | Sequence[BatchedDiagram | Diagram],
    ax: "Axes | None" = None,
    *,
    cloud: int | None = None,
) -> "Axes":
    """Draw a cloud with the edges at which its features are born (dashed) and die (solid).

    Parameters
    ----------
    points
        (N, 2) or (N, 3), the cloud that the diagrams are of. Of a padded batch: its own rows.
    diagrams
        One diagram, or one per dimension: `BatchedDiagram` or `reference.Diagram`, which know their
        edges.
    ax
        Where to draw; None: new axes of pyplot. A cloud in 3-D needs axes with projection="3d".
    cloud
        Which cloud of the diagrams' batch; needed where there are several.

    Returns
    -------
    Axes
        The axes, equally scaled. The wider an edge, the larger the persistence of its pair, against
        the largest of its dimension. Components have no birth edge.

    Raises
    ------
    ValueError
        If the points are not of two or three coordinates or fewer than the edges need, a diagram
        does not know its edges, or `ax` does not fit the points.
    ImportError
        If matplotlib is not installed.
    """
    name = "plot_critical_edges"
    places = as_array(points)
    if places.ndim != 2 or places.shape[1] not in (2, 3):
        raise ValueError(
            f"{name}: points has shape {places.shape}; pass one cloud in the plane or in space, "
            "(N, 2) or (N, 3)"
        )
    found = one_per_dimension(name, diagrams, cloud)
    for each in found:
        largest = int(each.death_edges.max(initial=-1)) if each.death_edges is not None else -1
        if each.death_edges is None or (each.death_edges < 0).any():
            raise ValueError(
                f"{name}: diagrams holds a diagram without critical edges; pass what "
                "rips_persistence returned"
            )
        if largest >= len(places):
            raise ValueError(
                f"{name}: points has {len(places)} rows, but diagrams has an edge to vertex "
                f"{largest}; pass the points that the diagram was computed from"
            )
    in_space = places.shape[1] == 3
    axes = as_axes(name, ax, projection="3d" if in_space else None)
    if in_space != (axes.name == "3d"):
        raise ValueError(
            f'{name}: ax has projection "{axes.name}" and points has {places.shape[1]} '
            'coordinates; make axes with subplot(projection="3d") for three, plain ones for two'
        )
    for each in found:
        _draw_edges(axes, places, each)
    axes.plot(*places.T, "o", ms=3, color="black", zorder=3, label="_points")
    names = "xyz"[: places.shape[1]]
    axes.set(**{f"{letter}label": letter for letter in names}, aspect="equal")
    _add_edge_legend(axes, found, None if in_space else (1.01, 1.0))
    return axes


def _draw_edges(axes: "Axes", points: Pairs, shown: Shown) -> None:
    """Draw a diagram's birth edges (dashed) and death edges (solid), the lasting ones wider."""
    if not len(shown.pairs):
        return
    persistence = shown.pairs[:, 1] - shown.pairs[:, 0]
    widths = MIN_WIDTH + (MAX_WIDTH - MIN_WIDTH) * persistence / max(persistence.max(), 1e-300)
    kinds: list[tuple[str, NDArray[np.int64] | None, Any]] = [("death", shown.death_edges, "solid")]
    if shown.dim:
        kinds.append(("birth", shown.birth_edges, DASHES))
    for kind, edges, style in kinds:
        segments = list(points[edges])
        look: dict[str, Any] = {
            "colors": shown.color,
            "linewidths": widths,
            "linestyles": [style],
            "alpha": 0.9,
            "label": f"_H{shown.dim} {kind} edges",
        }
        if points.shape[1] == 3:
            from mpl_toolkits.mplot3d.art3d import Line3DCollection

            axes.add_collection(Line3DCollection(segments, **look))
        else:
            from matplotlib.collections import LineCollection

            axes.add_collection(LineCollection(segments, zorder=2, **look))


def _add_edge_legend(
    axes: "Axes", found: Sequence[Shown], anchor: tuple[float, float] | None
) -> None:
    """Add a legend of lines of one width; beside the axes at `anchor`, or inside."""
    from matplotlib.lines import Line2D

    handles = []
    for each in found:
        if len(each.pairs):
            for kind, style in (("birth", DASHES), ("death", "solid"))[not each.dim :]:
                label = f"H{each.dim} {kind} edge"
                handles.append(Line2D([], [], color=each.color, lw=2, ls=style, label=label))
    if handles:
        axes.legend(handles=handles, frameon=False, loc="upper left", bbox_to_anchor=anchor)
