"""What the pictures of `fast.plot` take: diagrams in any of their forms, checked, and axes.

Shape letters: K pairs, M matches.
"""

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fast.diagram import BatchedDiagram
from reference.diagram import Diagram

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito, "Color Universal Design" (2008), by dimension; markers tell them apart in gray.
COLORS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
MARKERS: Final = ("o", "s", "^", "D")
DASHES: Final = (0, (1.8, 1.0))
GUIDE_COLOR: Final = "0.65"  # the diagonal and the line of classes that never die

Pairs = NDArray[np.float64]
OneDiagram = BatchedDiagram | Diagram | Tensor | NDArray[Any]
"""A diagram of one dimension; an array has (birth, death) rows (K, 2), a death may be inf."""


@dataclass(frozen=True)
class Shown:
    """What is drawn of one diagram.

    `essential_births`: where classes without a death are born, if that is known; `num_unplaced`:
    how many others there are. The edges are None for an array.
    """

    dim: int | None
    pairs: Pairs
    essential_births: NDArray[np.float64]
    num_unplaced: int = 0
    birth_edges: NDArray[np.int64] | None = None
    death_edges: NDArray[np.int64] | None = None

    @property
    def is_array(self) -> bool:
        """Whether it has no edges."""
        return self.death_edges is None

    @property
    def color(self) -> str:
        """The color of its dimension."""
        return COLORS[(self.dim or 0) % len(COLORS)]

    @property
    def marker(self) -> str:
        """The marker of its dimension."""
        return MARKERS[(self.dim or 0) % len(MARKERS)]

    @property
    def finite_values(self) -> NDArray[np.float64]:
        """Every finite birth and death."""
        return np.concatenate([self.pairs.ravel(), self.essential_births])

    @property
    def label(self) -> str:
        """Its dimension, and how many classes never die, for a legend."""
        name = "pairs" if self.dim is None else f"H{self.dim}"
        essential = self.essential_births.size + self.num_unplaced
        return f"{name} ({essential} essential)" if essential else name


def one_per_dimension(
    function: str, diagrams: OneDiagram | Sequence[OneDiagram], cloud: int | None
) -> list[Shown]:
    """Return what is drawn of each dimension."""
    if isinstance(diagrams, BatchedDiagram | Diagram | Tensor | np.ndarray):
        return [one_diagram(function, "diagrams", diagrams, cloud, None)]
    if isinstance(diagrams, str | Mapping) or not isinstance(diagrams, Sequence) or not diagrams:
        raise ValueError(
            f"{function}: diagrams is {_described(diagrams)}; pass a diagram, or a list with one "
            "per dimension"
        )
    found = [
        one_diagram(function, f"diagrams[{place}]", each, cloud, place)
        for place, each in enumerate(diagrams)
    ]
    dimensions = [each.dim for each in found]
    for place, dim in enumerate(dimensions):
        if dim in dimensions[:place]:
            raise ValueError(
                f"{function}: diagrams has dimension {dim} twice; pass one diagram per dimension "
                "(plot_matching draws two of one)"
            )
    return found


def one_diagram(
    function: str, argument: str, value: OneDiagram, cloud: int | None, dim: int | None
) -> Shown:
    """Return what is drawn of a diagram; `dim` is that of an array."""
    if isinstance(value, BatchedDiagram):
        if cloud is None and len(value) != 1:
            raise ValueError(
                f"{function}: {argument} has {len(value)} clouds; say which, e.g. cloud=0"
            )
        index = 0 if cloud is None else cloud
        if not -len(value) <= index < len(value):
            raise ValueError(
                f"{function}: cloud is {index}, but {argument} has {len(value)} cloud(s); "
                f"pass 0 to {len(value) - 1}"
            )
        value = value.cloud(index)
    if isinstance(value, Diagram):
        pairs = _as_rows(function, argument, value.pairs)
        # A component is born at 0; a loop that never dies has left no birth.
        num_placed = value.num_essential if value.dim == 0 else 0
        return Shown(
            value.dim, pairs, np.zeros(num_placed), value.num_essential - num_placed,
            value.birth_edges, value.death_edges,
        )  # fmt: skip
    if isinstance(value, Tensor | np.ndarray):
        rows = _as_rows(function, argument, as_array(value))
        is_finite = np.isfinite(rows[:, 1])
        return Shown(dim, rows[is_finite], rows[~is_finite, 0])
    raise ValueError(
        f"{function}: {argument} is {_described(value)}; pass a BatchedDiagram, a Diagram, or an "
        "array of (birth, death) rows"
    )


def _as_rows(function: str, argument: str, rows: Pairs) -> Pairs:
    """Return (birth, death) rows that can be drawn."""
    if rows.ndim != 2 or rows.shape[1] != 2:
        raise ValueError(
            f"{function}: {argument} has shape {rows.shape}; pass (birth, death) rows, (K, 2)"
        )
    wrong = ~np.isfinite(rows[:, 0]) | ~(rows[:, 1] >= rows[:, 0])  # NaN compares False
    if wrong.any():
        birth, death = rows[wrong][0].tolist()
        raise ValueError(
            f"{function}: {argument} has the pair ({birth:g}, {death:g}); births must be finite, "
            "and no death before its birth"
        )
    return rows


def as_array(value: Tensor | NDArray[Any]) -> NDArray[np.float64]:
    """Return a tensor or an array as numpy's, in float64."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().double().numpy()
    return np.asarray(value, dtype=np.float64)


def as_matches(
    function: str, matches: Tensor | NDArray[Any], num_first: int, num_second: int
) -> NDArray[np.int64]:
    """Return rows (pair of first, pair of second), -1 for the diagonal, of partners or of rows."""
    given = matches.detach().cpu().numpy() if isinstance(matches, Tensor) else np.asarray(matches)
    is_list = given.ndim == 1 and len(given) >= num_first and not (given[num_first:] != -1).any()
    if given.dtype.kind not in "iu" or not (is_list or (given.ndim == 2 and given.shape[1] == 2)):
        raise ValueError(
            f"{function}: matches is {given.dtype} of shape {given.shape}; pass a partner for each "
            f"of the {num_first} pairs of first (-1: the diagonal), as wasserstein_matching "
            "returns, or integer rows (pair of first, pair of second)"
        )
    rows = given.astype(np.int64)
    if is_list:
        rows = np.column_stack([np.arange(num_first), rows[:num_first]])
        left = np.setdiff1d(np.arange(num_second), rows[:, 1])
        rows = np.concatenate([rows, np.column_stack([np.full_like(left, -1), left])])
    for column, (argument, count) in enumerate((("first", num_first), ("second", num_second))):
        wrong = (rows[:, column] < -1) | (rows[:, column] >= count)
        if wrong.any():
            raise ValueError(
                f"{function}: matches names pair {rows[wrong][0, column]} of {argument}, which has "
                f"{count}; pass -1 (the diagonal) to {count - 1}"
            )
    return rows


def as_axes(function: str, ax: "Axes | None", projection: str | None = None) -> "Axes":
    """Return the axes that were given, or new ones of pyplot."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ImportError(
            f"{function} needs matplotlib, which is not installed: pip install 'topodistill[plot]'"
        )
    if ax is not None:
        return ax
    pyplot = importlib.import_module("matplotlib.pyplot")
    new: Axes = pyplot.figure(layout="constrained").add_subplot(projection=projection)
    return new


def value_range(values: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """Return the least and the largest of all values, 0 among them; never equal."""
    together = np.concatenate([np.zeros(1), *(each.ravel() for each in values)])
    low, high = float(together.min()), float(together.max())
    return (low, high) if high > low else (low, low + 1.0)


def _described(value: object) -> str:
    return f"a {type(value).__name__}" + (" without entries" if value in ([], ()) else "")


def add_legend(axes: "Axes", *entries: Any, loc: Any) -> Any:
    """Add a legend that lies inside the axes: small axes get small letters, few columns, or both.

    `entries` are handles and labels; none: those of the axes.
    """
    labels = entries[1] if entries else axes.get_legend_handles_labels()[1]
    above = loc == "upper center"
    columns = range(len(labels), 0, -1) if above else [1]
    width, height = (0.92, 0.4) if above else (0.65, 0.35)  # a strip, or a corner
    axes.apply_aspect()
    for size in ("medium", "small", "x-small", "xx-small", 4):
        for ncols in columns:
            legend = axes.legend(*entries, frameon=False, loc=loc, ncols=ncols, fontsize=size)
            inner, outer = legend.get_window_extent(), axes.get_window_extent()
            if inner.width <= width * outer.width and inner.height <= height * outer.height:
                return legend
    return legend
