"""Pictures of diagrams and of what is made of them, on matplotlib's axes.

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
    COLORS,
    DASHES,
    GUIDE_COLOR,
    OneDiagram,
    Pairs,
    Shown,
    add_legend,
    as_array,
    as_axes,
    one_per_dimension,
    value_range,
)
from reference.diagram import Diagram
from reference.image_scale import ImageScale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "plot_barcode",
    "plot_critical_edges",
    "plot_curves",
    "plot_diagram",
    "plot_image",
    "plot_matching",
]

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
    add_legend(axes, loc="lower right")  # below the diagonal there are no pairs
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
    bars = max(base - gap + 2, 3)
    axes.set(xlim=(low, right), ylim=(-2, bars), yticks=[], xlabel="diameter")
    # From the top as the bars are; above them, where no bar is hidden.
    handles, labels = axes.get_legend_handles_labels()
    _add_legend_above(axes, handles[::-1], labels[::-1])
    return axes


def plot_image(
    image: Tensor | NDArray[Any], ax: "Axes | None" = None, *, scale: ImageScale | None = None
) -> "Axes":
    """Draw a persistence image: birth across, persistence upwards, dark where pairs are.

    Parameters
    ----------
    image
        (R, C), one image of `persistence_image`.
    ax
        Where to draw; None: new axes of pyplot.
    scale
        That of the image, for the numbers at the axes; None: they count pixels.

    Returns
    -------
    Axes
        The axes; a color bar of the image's values stands inside, above the picture.

    Raises
    ------
    ValueError
        If the image is not of two axes, has an entry that is not finite, or is not of the scale's
        resolution.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> loops = torch.tensor([[1.0, 2.0], [1.0, 4.0]])
    >>> scale = fit_persistence_image(loops, weight="linear", birth_margin=3)
    >>> axes = plot_image(persistence_image(loops, scale), scale=scale)
    """
    name = "plot_image"
    pixels = as_array(image)
    if pixels.ndim != 2 or not pixels.size or not np.isfinite(pixels).all():
        raise ValueError(
            f"{name}: image has shape {pixels.shape}; pass one image of finite pixels, (R, C), "
            "e.g. images[0]"
        )
    if scale is not None and pixels.shape != (scale.resolution[1], scale.resolution[0]):
        raise ValueError(
            f"{name}: image has shape {pixels.shape}; scale has the resolution {scale.resolution} "
            "(births, persistences), pass the image's own"
        )
    axes = as_axes(name, ax)
    rows, columns = pixels.shape
    ends = [(0.0, columns - 1.0), (0.0, rows - 1.0)]
    if scale is not None:
        ends = [scale.birth_range, scale.persistence_range]
    sides: list[float] = []
    for (low, high), count in zip(ends, (columns, rows), strict=True):
        # Pixels lie at the ends; a range that is one number has none.
        half = (high - low) / (2 * max(count - 1, 1)) or 0.5
        sides += [low - half, high + half]
    left, right, bottom, top = sides
    drawn = axes.imshow(
        pixels, origin="lower", extent=(left, right, bottom, top), aspect="auto", cmap="Blues"
    )
    axes.set(xlabel="birth (diameter)", ylabel="persistence")
    if scale is None:
        axes.set(xlabel="birth (pixel)", ylabel="persistence (pixel)")
    axes.set(ylim=(bottom, top + 0.22 * (top - bottom)))  # room for the bar
    bar = axes.inset_axes((0.25, 0.93, 0.5, 0.04))
    axes.figure.colorbar(drawn, cax=bar, orientation="horizontal")
    bar.tick_params(labelsize="small", length=2, pad=1)
    bar.locator_params(nbins=3)
    return axes


def plot_curves(
    curves: Tensor | NDArray[Any],
    grid: Tensor | NDArray[Any],
    ax: "Axes | None" = None,
    *,
    names: Sequence[str] | None = None,
    label: str = "height",
) -> "Axes":
    """Draw functions of the filtration value: landscapes or Betti curves, one line each.

    Parameters
    ----------
    curves
        (L, G), e.g. the landscapes of one cloud, or (G,), e.g. one Betti curve.
    grid
        (G,) the filtration values.
    ax
        Where to draw; None: new axes of pyplot.
    names
        Of the lines, for the legend; None: the landscape's ranks, from 1, and none for one line.
    label
        What the values are, beside the axis upwards.

    Returns
    -------
    Axes
        The axes. Landscapes get fainter by rank; named lines have colors.

    Raises
    ------
    ValueError
        If the shapes do not fit together, or an entry is not finite.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> pairs = torch.tensor([[0.0, 4.0], [1.0, 3.0]])
    >>> grid = default_grid(pairs, 9)
    >>> axes = plot_curves(persistence_landscape(pairs, grid=grid, num_landscapes=2), grid)
    """
    name = "plot_curves"
    lines, values = np.atleast_2d(as_array(curves)), as_array(grid)
    fits = lines.ndim == 2 and values.ndim == 1 and lines.shape[1] == len(values) > 0
    if not fits or not (np.isfinite(lines).all() and np.isfinite(values).all()):
        raise ValueError(
            f"{name}: curves has shape {as_array(curves).shape} and grid {values.shape}; pass the "
            "finite curves of one cloud, (L, G) or (G,), and their grid, (G,)"
        )
    ranks = [f"landscape {rank + 1}" for rank in range(len(lines))]
    called = ranks if names is None else list(names)
    if len(called) != len(lines):
        raise ValueError(f"{name}: names has {len(called)} entries; pass {len(lines)}, one a line")
    axes = as_axes(name, ax)
    for place, (line, each) in enumerate(zip(lines, called, strict=True)):
        look: dict[str, Any] = {"color": COLORS[place % len(COLORS)]}
        if names is None:
            look = {"color": COLORS[0], "alpha": 1 - 0.65 * place / max(len(lines) - 1, 1)}
        axes.plot(values, line, lw=1.4, label=each, **look)
    axes.set(xlabel="diameter", ylabel=label, xlim=(values[0], values[-1]))
    if names is not None or len(lines) > 1:
        _add_legend_above(axes, *axes.get_legend_handles_labels())
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
    _add_edge_legend(axes, found)
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


def _add_edge_legend(axes: "Axes", found: Sequence[Shown]) -> None:
    """Add a legend of lines of one width."""
    from matplotlib.lines import Line2D

    handles = []
    for each in found:
        if len(each.pairs):
            for kind, style in (("birth", DASHES), ("death", "solid"))[not each.dim :]:
                label = f"H{each.dim} {kind} edge"
                handles.append(Line2D([], [], color=each.color, lw=2, ls=style, label=label))
    if handles:
        _add_legend_above(axes, handles, [str(each.get_label()) for each in handles])


def _add_legend_above(axes: "Axes", handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Add a legend at the top of the axes, and room for it above what is drawn."""
    if not labels:
        return
    low, high = axes.get_ylim()
    for _ in range(4):  # axes of equal scale get narrower with more room, and the legend too
        legend = add_legend(axes, handles, labels, loc="upper center")
        if axes.name == "3d":
            return  # there is room above
        share = legend.get_window_extent().height / axes.get_window_extent().height
        axes.set_ylim(low, low + (high - low) / max(1 - share - 0.04, 0.3))
