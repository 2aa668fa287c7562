"""Persistence diagrams of a batch of clouds in one dimension, padded to equal length.

Shape letters: B clouds, K pairs of the cloud that has most.
"""

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from fast.checks import as_counted_pairs, as_list, as_precise, refuse_two_devices
from reference.diagram import Diagram

_MOST_COUNTS_SHOWN = 8

Masks = tuple[Any, Any] | None
"""Which rows are pairs, of the first diagrams and of the second; None: all of either."""


@dataclass(frozen=True, eq=False, kw_only=True)
class BatchedDiagram:
    """The finite pairs of positive persistence of B clouds in one homology dimension.

    Row k of cloud b is a pair if `mask[b, k]`; the rows of a cloud come first and are sorted by
    (rank of the death edge, rank of the birth edge), as in `reference.diagram.Diagram`. Padding
    is 0 in births and deaths, -1 in the integer fields.

    Made by `rips_persistence`; or by `from_list` of what others computed, in their order and
    without edges. `len`, indexing and loops go over clouds.

    Attributes
    ----------
    dim
        Homology dimension: 0 components, 1 loops, 2 voids.
    births, deaths
        (B, K) filtration values (diameters), copies of entries of the distance matrix, in its
        dtype, and differentiable in it. Births are 0 in dimension 0.
    mask
        (B, K) bool: which rows are pairs.
    counts
        (B,) int64: how many pairs each cloud has.
    birth_edges, death_edges
        (B, K, 2) int64 vertices (smaller, larger) of the edge whose length is the birth, the
        death. Birth edges are -1 in dimension 0, where a vertex creates the class.
    death_simplices
        (B, K, dim + 2) int64, increasing vertices of the simplex that destroys the class.
    num_essential
        (B,) int64: how many classes never die, or with a threshold were not dead there. They
        have no row.
    """

    dim: int
    births: Tensor
    deaths: Tensor
    mask: Tensor
    counts: Tensor
    birth_edges: Tensor
    death_edges: Tensor
    death_simplices: Tensor
    num_essential: Tensor

    @classmethod
    def from_list(cls, diagrams: Sequence[Any], dim: int) -> "BatchedDiagram":
        """Return the diagrams of several clouds, given as (birth, death) rows.

        Parameters
        ----------
        diagrams
            One per cloud, at least one: tensors or arrays (K_b, 2), floating point, or lists of
            (birth, death). Tensors keep their gradient.
        dim
            Homology dimension of all of them.

        Returns
        -------
        BatchedDiagram
            The rows that the class holds, in the order given: rows whose death is `inf` are left
            out and counted in `num_essential`, rows with birth = death are left out. Where a pair
            comes from is not known: edges and simplices are -1, and losses that need them refuse
            it.

        Raises
        ------
        ValueError
            If something is not of (birth, death) rows, has a NaN or an infinite birth or a death
            before its birth, or diagrams are on several devices.

        Examples
        --------
        >>> BatchedDiagram.from_list([[(0.5, 1.0)], [(0.5, 2.0), (0.75, 1.0)]], dim=1)
        BatchedDiagram(dim=1, pairs=[1, 2], dtype=torch.float64, device=cpu)
        """
        clouds = as_list(
            "BatchedDiagram",
            "diagrams",
            diagrams,
            "a list of (birth, death) rows, one for each cloud",
        )
        rows = [as_rows(f"diagrams[{i}]", each) for i, each in enumerate(clouds)]
        return padded_diagram(dim, rows, [torch.full((len(each), 4), -1) for each in rows])

    def to_list(self) -> list[Tensor]:
        """Return each cloud's pairs (K_b, 2), with their gradient and without padding.

        Examples
        --------
        >>> batch = BatchedDiagram.from_list([torch.tensor([[0.5, 1.0]]), torch.empty(0, 2)], dim=1)
        >>> batch.to_list()
        [tensor([[0.5000, 1.0000]]), tensor([], size=(0, 2))]
        """
        return [pairs[mask] for pairs, mask in zip(self.pairs, self.mask, strict=True)]

    def __len__(self) -> int:
        """Return the number of clouds, B."""
        return len(self.counts)

    def __getitem__(self, clouds: Any) -> "BatchedDiagram":
        """Return the diagrams of some clouds; of one, as a batch of one.

        `clouds` is a number, a slice, or numbers or a bool mask in a list, array or tensor. Padding
        stays as wide as it is, so that nothing waits for a GPU.

        Examples
        --------
        >>> batch = BatchedDiagram.from_list([[(0.5, 1.0)], [(0.5, 2.0), (0.75, 1.0)]], dim=1)
        >>> batch[1]
        BatchedDiagram(dim=1, pairs=[2], dtype=torch.float64, device=cpu)
        >>> batch[[1, 0, 1]].counts
        tensor([2, 1, 2])
        """
        if isinstance(clouds, (list, range, np.ndarray)):
            empty = torch.int64 if not len(clouds) else None
            clouds = torch.as_tensor(np.asarray(clouds), dtype=empty)
        if isinstance(clouds, Tensor) and clouds.ndim == 1:
            # Numbers and masks alike: torch checks them, and says what is wrong.
            chosen = clouds.to(self.counts.device)
        elif isinstance(clouds, slice):
            return self._with_each(lambda field: field[clouds])
        else:
            try:
                number = operator.index(clouds)
            except TypeError:
                raise IndexError(
                    f"BatchedDiagram: the index is {clouds!r}; pass a cloud's number, a slice, or "
                    "several numbers or a bool mask in a list or tensor"
                ) from None
            if not -len(self) <= number < len(self):
                raise IndexError(
                    f"BatchedDiagram: the index is {number}; there are {len(self)} cloud(s), pass "
                    f"{-len(self)} to {len(self) - 1}"
                )
            number %= len(self)
            return self._with_each(lambda field: field[number : number + 1])
        return self._with_each(lambda field: field[chosen])

    def __iter__(self) -> "Iterator[BatchedDiagram]":
        """Yield each cloud's diagram as a batch of one."""
        return (self[number] for number in range(len(self)))

    def __repr__(self) -> str:
        """Return dimension, number of pairs of each cloud, dtype and device."""
        found = f"clouds={len(self)}"
        if self.counts.device.type != "meta":  # there, no number can be read
            counts = self.counts.tolist()
            if len(counts) <= _MOST_COUNTS_SHOWN:
                found = f"pairs={counts}"
            else:
                found += f", pairs={min(counts)} to {max(counts)}"
        return (
            f"BatchedDiagram(dim={self.dim}, {found}, "
            f"dtype={self.deaths.dtype}, device={self.deaths.device})"
        )

    def to(self, *args: Any, **kwargs: Any) -> "BatchedDiagram":
        """Return the diagrams on another device, of another dtype, or both; as `Tensor.to`.

        A dtype is that of births and deaths, floating point; the integer fields keep theirs.

        Raises
        ------
        ValueError
            If the dtype is no float32 or float64.

        Examples
        --------
        >>> BatchedDiagram.from_list([[(0.5, 1.0)]], dim=1).to(torch.float32)
        BatchedDiagram(dim=1, pairs=[1], dtype=torch.float32, device=cpu)
        """
        births = self.births.to(*args, **kwargs)
        if births.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"BatchedDiagram.to: dtype is {births.dtype}, which does not tell lengths apart; "
                "pass torch.float32 or torch.float64"
            )
        moved = self._with_each(lambda field: field.to(births.device))
        return replace(moved, births=births, deaths=self.deaths.to(*args, **kwargs))

    def detach(self) -> "BatchedDiagram":
        """Return the diagrams without their gradient."""
        return self._with_each(Tensor.detach)

    def _with_each(self, function: Callable[[Tensor], Tensor]) -> "BatchedDiagram":
        """Return the diagrams with a function applied to every field but `dim`."""
        changed: dict[str, Any] = {
            field.name: function(getattr(self, field.name))
            for field in fields(self)
            if field.name != "dim"
        }
        return replace(self, **changed)

    @property
    def pairs(self) -> Tensor:
        """(B, K, 2) rows (birth, death), differentiable; read them under `mask`."""
        return torch.stack([self.births, self.deaths], dim=-1)

    def cloud(self, index: int) -> Diagram:
        """Return one cloud's diagram as numpy arrays, without padding and gradient."""
        count = int(self.counts[index])

        def rows(field: Tensor) -> Tensor:
            return field[index, :count].detach().cpu()

        return Diagram(
            dim=self.dim,
            births=rows(self.births).double().numpy(),
            deaths=rows(self.deaths).double().numpy(),
            birth_edges=rows(self.birth_edges).numpy(),
            death_edges=rows(self.death_edges).numpy(),
            death_simplices=rows(self.death_simplices).numpy(),
            num_essential=int(self.num_essential[index]),
        )


def as_rows(argument: str, value: Any) -> Tensor:
    """Return (birth, death) rows (K, 2), no death before its birth; deaths may be inf."""
    name = "BatchedDiagram"
    if not isinstance(value, Tensor):
        array = np.asarray(value, dtype=None if isinstance(value, np.ndarray) else np.float64)
        value = torch.as_tensor(array.reshape(-1, 2) if not array.size else array)
    rows = as_precise(name, argument, value)
    if rows.ndim != 2 or rows.shape[1] != 2:
        raise ValueError(
            f"{name}: {argument} has shape {tuple(rows.shape)}; pass (birth, death) rows, (K, 2)"
        )
    births, deaths = rows.detach().unbind(dim=1)
    refused = ~births.isfinite() | ~(deaths >= births)  # NaN compares False
    if rows.device.type == "cpu" and bool(refused.any()):
        raise ValueError(
            f"{name}: {argument} has the pair {tuple(rows[refused][0].tolist())}; pass finite "
            "births, no death before its birth (inf for a class that never dies)"
        )
    return rows


def padded_diagram(dim: int, rows: list[Tensor], edges: list[Tensor]) -> BatchedDiagram:
    """Return a batch of (K_b, 2) pairs with their edges (K_b, 4), those of births first."""
    if not rows:
        raise ValueError("BatchedDiagram: diagrams is empty; pass at least one cloud")
    if len({each.device for each in rows}) > 1:
        devices = sorted({str(each.device) for each in rows})
        raise ValueError(
            f"BatchedDiagram: diagrams are on {' and '.join(devices)}; move them to one"
        )
    device = rows[0].device
    dtype = torch.float64 if any(each.dtype == torch.float64 for each in rows) else torch.float32
    kept = [(each[:, 1] > each[:, 0]) & each[:, 1].isfinite() for each in rows]
    pairs = [each[keep].to(dtype) for each, keep in zip(rows, kept, strict=True)]
    ends = [each.to(device)[keep] for each, keep in zip(edges, kept, strict=True)]
    counts = torch.tensor([len(each) for each in pairs], device=device)
    births, deaths = pad_sequence(pairs, batch_first=True).unbind(dim=-1)
    critical = pad_sequence(ends, batch_first=True, padding_value=-1)
    return BatchedDiagram(
        dim=operator.index(dim),
        births=births,
        deaths=deaths,
        mask=torch.arange(births.shape[1], device=device) < counts[:, None],
        counts=counts,
        birth_edges=critical[..., :2],
        death_edges=critical[..., 2:],
        death_simplices=critical.new_full((*births.shape, dim + 2), -1),
        num_essential=torch.stack([each[:, 1].isinf().sum() for each in rows]),
    )


def rows_of(
    function: str, argument: str, value: Any, mask: Any, mask_argument: str = "mask"
) -> tuple[Any, Any]:
    """Return what a function is given as `value`: a diagram's pairs and mask, or rows and theirs.

    Rows are not checked here.
    """
    if isinstance(value, BatchedDiagram):
        if mask is not None:
            raise ValueError(
                f"{function}: {mask_argument} is given beside a BatchedDiagram, which has its own; "
                "leave it out"
            )
        return value.pairs, value.mask
    if not isinstance(value, (Tensor, np.ndarray)):
        several = isinstance(value, (list, tuple)) and value
        cure = "a BatchedDiagram, or a tensor of (birth, death) rows, (..., K, 2)"
        if several and all(isinstance(each, BatchedDiagram) for each in value):
            cure = f"one dimension, e.g. {argument}[0]"
        elif several:
            cure = "BatchedDiagram.from_list(rows, dim)"
        raise TypeError(f"{function}: {argument} is a {type(value).__name__}; pass {cure}")
    return value, mask


def two_masks(
    function: str, arguments: tuple[str, str], mask: Any, named: dict[str, Any]
) -> tuple[tuple[Any, Any], tuple[str, str]]:
    """Return the masks of two diagrams, and under which names they were given.

    `named` are keywords beside `mask`: the masks of earlier code, each by its argument's name.
    """
    names = (f"{arguments[0]}_mask", f"{arguments[1]}_mask")
    other = next((name for name in named if name not in names), None)
    if other is not None:
        raise TypeError(f"{function}: there is no argument {other}; masks are mask=(one, other)")
    if named and mask is None:
        return (named.get(names[0]), named.get(names[1])), names
    if named or not (mask is None or (isinstance(mask, (tuple, list)) and len(mask) == 2)):
        given = f"given beside {next(iter(named))}" if named else f"a {type(mask).__name__}"
        raise ValueError(
            f"{function}: mask is {given}; pass the mask of {arguments[0]} and of {arguments[1]}, "
            "(one, other), None for all rows"
        )
    return ((None, None) if mask is None else (mask[0], mask[1])), ("mask[0]", "mask[1]")


def as_two_diagrams(
    function: str,
    arguments: tuple[str, str],
    first: Any,
    second: Any,
    mask: Masks,
    named: dict[str, Any],
    *,
    double: bool = True,
) -> tuple[Tensor, Tensor, Tensor, Tensor, torch.dtype]:
    """Return `as_counted_pairs` of two batches of one shape: pairs, masks, and whose dtype."""
    masks, names = two_masks(function, arguments, mask, named)
    refuse_two_dimensions(function, arguments, first, second)
    sides = []
    for argument, value, its_mask, name in zip(
        arguments, (first, second), masks, names, strict=True
    ):
        rows, its_mask = rows_of(function, argument, value, its_mask, name)
        sides.append((argument, as_precise(function, argument, rows), its_mask, name))
    (_, one, _, _), (_, other, _, _) = sides
    refuse_two_devices(function, **{argument: rows for argument, rows, _, _ in sides})
    pairs, counted = zip(
        *(
            as_counted_pairs(function, argument, rows, its, mask_argument=name, double=double)
            for argument, rows, its, name in sides
        ),
        strict=True,
    )
    refuse_two_batches(function, arguments, one, other, 2)
    return *pairs, *counted, one.dtype


def refuse_two_dimensions(
    function: str, arguments: tuple[str, str], first: Any, second: Any
) -> None:
    """Raise if two diagrams are of two homology dimensions; of rows it is not known."""
    both = isinstance(first, BatchedDiagram) and isinstance(second, BatchedDiagram)
    if both and first.dim != second.dim:
        raise ValueError(
            f"{function}: {arguments[1]} is of dimension {second.dim} and {arguments[0]} of "
            f"dimension {first.dim}; pass diagrams of one"
        )


def refuse_two_batches(
    function: str, arguments: tuple[str, str], first: Tensor, second: Tensor, of_a_cloud: int
) -> None:
    """Raise if two tensors differ in dtype, or in shape before a cloud's own axes."""
    if first.shape[:-of_a_cloud] != second.shape[:-of_a_cloud] or first.dtype != second.dtype:
        raise ValueError(
            f"{function}: {arguments[1]} is {second.dtype} of shape {tuple(second.shape)}; "
            f"{arguments[0]} is {first.dtype} of shape {tuple(first.shape)}, pass one dtype and "
            "one batch shape"
        )
