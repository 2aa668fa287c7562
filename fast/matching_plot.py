"""A picture of two diagrams and of which pair is compared with which, for `fast.plot`.

Shape letters: K pairs, M matches.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fast.plot_input import (
    COLORS,
    DASHES,
    GUIDE_COLOR,
    MARKERS,
    OneDiagram,
    Pairs,
    add_legend,
    as_axes,
    as_matches,
    one_diagram,
    value_range,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIRST_COLOR, SECOND_COLOR = COLORS[:2]

Places = tuple[Pairs, Pairs]
"""Where the pairs of a diagram are drawn (K, 2), and where each goes if it has no partner."""


def plot_matching(
    first: OneDiagram,
    second: OneDiagram,
    matches: Tensor | NDArray[Any] | None = None,
    ax: "Axes | None" = None,
    *,
    cloud: int | None = None,
    names: tuple[str, str] = ("first", "second"),
) -> "Axes":
    """Draw two diagrams of one dimension and which pair is compared with which.

    Parameters
    ----------
    first, second
        Diagrams as in `plot_diagram`, with finite deaths.
    matches
        What `wasserstein_matching` returns: for each pair of `first` its partner in `second`, -1
        for the diagonal, where the rest of `second` goes too. Or (M, 2) rows (pair of first, pair
        of second), as GUDHI returns them. None: what `persistence_weighted_chamfer` compares: each
        pair of either diagram with the nearest pair of the other, the lowest index at ties, or with
        the diagonal where that is nearer.
    ax
        Where to draw; None: new axes of pyplot.
    cloud
        Which cloud of a batch, of both diagrams; needed where there are several.
    names
        Of the two diagrams, for the legend.

    Returns
    -------
    Axes
        The axes, equally scaled; components, whose births are all 0, in two columns. Given matches
        are gray lines; nearest ones have the color of the diagram whose pair asks, those of
        `second` dashed.

    Raises
    ------
    ValueError
        If the diagrams differ in dimension, a death is infinite, or `matches` names a pair that is
        not there.
    ImportError
        If matplotlib is not installed.
    """
    name = "plot_matching"
    one, other = (
        one_diagram(name, argument, value, cloud, None)
        for argument, value in (("first", first), ("second", second))
    )
    if None not in (one.dim, other.dim) and one.dim != other.dim:
        raise ValueError(
            f"{name}: first has dimension {one.dim} and second {other.dim}; pass diagrams of one"
        )
    for argument, each in (("first", one), ("second", other)):
        if each.is_array and each.essential_births.size:
            raise ValueError(
                f"{name}: {argument} has an infinite death, which matches nothing finite; "
                "pass the finite pairs"
            )
    if matches is None:
        lines: list[tuple[NDArray[np.int64], dict[str, Any]]] = [
            (_nearest(one.pairs, other.pairs), {"color": FIRST_COLOR}),
            (_nearest(other.pairs, one.pairs)[:, ::-1], {"color": SECOND_COLOR, "ls": DASHES}),
        ]
    else:
        lines = [
            (as_matches(name, matches, len(one.pairs), len(other.pairs)), {"color": "0.4"}),
        ]
    axes = as_axes(name, ax)
    draw = _draw_columns if one.dim == other.dim == 0 else _draw_plane
    places = draw(axes, one.pairs, other.pairs, names)
    for rows, look in lines:
        _draw_lines(axes, rows, places, **look)
    for (ends, _), marker, color, label in zip(
        places, MARKERS, (FIRST_COLOR, SECOND_COLOR), names, strict=False
    ):
        axes.plot(*ends.T, marker, ms=5, mfc="white", color=color, label=label, zorder=3)
    if draw is _draw_plane:  # columns have their names below them
        add_legend(axes, loc="lower right")
    return axes


def _draw_plane(
    axes: "Axes", one: Pairs, other: Pairs, names: tuple[str, str]
) -> tuple[Places, Places]:
    """Prepare axes of birth and death; a pair without a partner goes to its foot."""
    del names
    low, high = value_range([one, other])
    margin = 0.04 * (high - low)
    end = high + margin
    axes.plot([low, end], [low, end], color=GUIDE_COLOR, lw=0.8, zorder=0, label="_diagonal")
    axes.set(xlim=(low - margin, end), ylim=(low - margin, end), aspect="equal")
    axes.set(xlabel="birth (diameter)", ylabel="death (diameter)")
    first, second = (
        (pairs, np.repeat(pairs.mean(axis=1, keepdims=True), 2, axis=1)) for pairs in (one, other)
    )
    return first, second


def _draw_columns(
    axes: "Axes", one: Pairs, other: Pairs, names: tuple[str, str]
) -> tuple[Places, Places]:
    """Prepare axes of deaths for components, whose births are all 0: a column per diagram.

    A death without a partner gets a short line outwards.
    """
    axes.set(xlim=(-0.35, 1.35), xticks=[0, 1], ylabel="death (diameter); births are 0")
    axes.set_xticklabels(names)
    axes.set_ylim(bottom=0, top=1.05 * value_range([one, other])[1])
    first, second = (
        (np.column_stack([0 * deaths + at, deaths]), np.column_stack([0 * deaths + foot, deaths]))
        for deaths, at, foot in ((one[:, 1], 0.0, -0.15), (other[:, 1], 1.0, 1.15))
    )
    return first, second


def _nearest(pairs: Pairs, others: Pairs) -> NDArray[np.int64]:
    """Return rows (pair, nearest other), the latter -1 where the diagonal is nearer."""
    found = np.full((len(pairs), 2), -1)
    found[:, 0] = np.arange(len(pairs))
    if len(others):
        costs = np.square(pairs[:, None] - others[None]).sum(axis=2)
        nearest = costs.argmin(axis=1)
        to_diagonal = np.square(pairs[:, 1] - pairs[:, 0]) / 2
        # On equality the match wins, as in persistence_weighted_chamfer.
        is_match = costs[found[:, 0], nearest] <= to_diagonal
        found[:, 1] = np.where(is_match, nearest, -1)
    return found


def _draw_lines(
    axes: "Axes", rows: NDArray[np.int64], places: tuple[Places, Places], **look: Any
) -> None:
    """Draw a thin line for each match (pair of the first, pair of the second), -1 for none."""
    from matplotlib.collections import LineCollection

    (first, first_feet), (second, second_feet) = places
    segments = [
        (first[i] if i >= 0 else second_feet[j], second[j] if j >= 0 else first_feet[i])
        for i, j in rows.tolist()
        if max(i, j) >= 0
    ]
    axes.add_collection(LineCollection(segments, linewidths=0.9, zorder=2, **look))
