"""Diagrams in other libraries' layouts, from and to batches: giotto, GUDHI, torch-topological.

No other library is needed: what has their layout is read. In all of them, a class that never dies
has the death `inf`; it is left out and counted in `num_essential`, and is not written back, because
where it was born is not kept. Shape letters: B clouds, K pairs.
"""

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fast.checks import as_choice, as_list
from fast.diagram import BatchedDiagram, as_rows, padded_diagram


class PersistenceInformation(NamedTuple):
    """One dimension of one cloud, with the fields of torch-topological's class of this name.

    Attributes
    ----------
    pairing
        int64 array: (K, 3) in dimension 0, a vertex (-1: all are born at 0) and the two ends of
        the death edge; (K, 4) above, the ends of the birth edge and of the death edge.
    diagram
        (K, 2) tensor of (birth, death) rows, with their gradient.
    dimension
        Homology dimension.
    """

    pairing: np.ndarray[Any, Any]
    diagram: Tensor
    dimension: int


def diagrams_from_giotto(diagrams: Any) -> list[BatchedDiagram]:
    """Return one batch per dimension, from giotto-tda's array or giotto-ph's dictionaries.

    Parameters
    ----------
    diagrams
        giotto-tda: an array or tensor (B, K, 3), or (K, 3) for one cloud, of (birth, death,
        dimension) rows; rows with birth = death are its padding. giotto-ph: what `ripser_parallel`
        returns, or a list of those; ripser.py's has the same layout.

    Returns
    -------
    list[BatchedDiagram]
        Dimension 0 to the highest there is, without edges (`BatchedDiagram.from_list`).

    Raises
    ------
    ValueError
        If the layout is another, or a row is no pair.

    Examples
    --------
    >>> diagrams_from_giotto(np.array([[[0.0, 1.0, 0.0], [0.0, 2.0, 0.0], [1.0, 1.5, 1.0]]]))
    [BatchedDiagram(dim=0, pairs=[2], dtype=torch.float64, device=cpu),
     BatchedDiagram(dim=1, pairs=[1], dtype=torch.float64, device=cpu)]
    """
    name = "diagrams_from_giotto"
    if isinstance(diagrams, Mapping):
        diagrams = [diagrams]
    if not isinstance(diagrams, (Tensor, np.ndarray)):
        diagrams = as_list(name, "diagrams", diagrams, "an array (B, K, 3), or dictionaries")
        if not all(isinstance(each, Mapping) and "dgms" in each for each in diagrams):
            raise ValueError(
                f"{name}: diagrams is a {type(diagrams).__name__}; pass an array (B, K, 3), or "
                "what ripser_parallel returns, with the key 'dgms'"
            )
        return _by_dimension(name, [list(each["dgms"]) for each in diagrams], None)
    batch = torch.as_tensor(diagrams)
    if batch.ndim not in (2, 3) or batch.shape[-1] != 3:
        raise ValueError(
            f"{name}: diagrams has shape {tuple(batch.shape)}; pass (birth, death, dimension) "
            "rows, (B, K, 3)"
        )
    batch = batch[None] if batch.ndim == 2 else batch
    highest = int(batch[..., 2].max()) if batch.numel() else 0
    clouds = [[rows[rows[:, 2] == dim, :2] for dim in range(highest + 1)] for rows in batch]
    return _by_dimension(name, clouds, None)


def diagrams_to_giotto(diagrams: Sequence[BatchedDiagram]) -> np.ndarray[Any, Any]:
    """Return giotto-tda's array of batches of several dimensions.

    Parameters
    ----------
    diagrams
        One per dimension, of the same clouds.

    Returns
    -------
    np.ndarray
        (B, K, 3) float64 (birth, death, dimension) rows, the dimensions one after another; a cloud
        that has fewer pairs than another gets rows (0, 0, dimension).

    Raises
    ------
    ValueError
        If the batches differ in their number of clouds, or there are none.

    Examples
    --------
    >>> loops = BatchedDiagram.from_list([[(1.0, 1.5)], []], dim=1)
    >>> diagrams_to_giotto([loops])
    array([[[1. , 1.5, 1. ]],
    <BLANKLINE>
           [[0. , 0. , 1. ]]])
    """
    _refuse_other_clouds("diagrams_to_giotto", diagrams)
    parts = []
    for each in diagrams:
        pairs = each.pairs.detach().where(each.mask[..., None], 0.0).double().cpu().numpy()
        parts.append(np.concatenate([pairs, np.full((*pairs.shape[:2], 1), each.dim)], axis=2))
    return np.concatenate(parts, axis=1)


def diagrams_from_gudhi(
    diagrams: Sequence[Any], dims: Sequence[int] | None = None
) -> list[BatchedDiagram]:
    """Return one batch per dimension, from what GUDHI returns for several clouds.

    Parameters
    ----------
    diagrams
        One entry per cloud: `SimplexTree.persistence()`, a list of (dimension, (birth, death)); or
        one array (K, 2) per dimension, as `gudhi.sklearn.RipsPersistence` returns them.
    dims
        Of which dimensions the arrays are, or which to keep of a list; None: from 0 on, all.

    Returns
    -------
    list[BatchedDiagram]
        In the order of `dims`, without edges (`BatchedDiagram.from_list`).

    Raises
    ------
    ValueError
        If the layout is another, or a row is no pair.

    Notes
    -----
    Of one dimension alone (`RipsPersistence(homology_dimensions=1)`) there is one array per cloud:
    `BatchedDiagram.from_list(arrays, dim=1)`. GUDHI's Rips filtration values are diameters, as
    here; those of its alpha complexes are squared radii.

    Examples
    --------
    >>> diagrams_from_gudhi([[(1, (1.0, 1.5)), (0, (0.0, float("inf"))), (0, (0.0, 1.0))]])
    [BatchedDiagram(dim=0, pairs=[1], dtype=torch.float64, device=cpu),
     BatchedDiagram(dim=1, pairs=[1], dtype=torch.float64, device=cpu)]
    """
    name = "diagrams_from_gudhi"
    clouds = [
        as_list(name, f"diagrams[{i}]", each, "a cloud's diagrams")
        for i, each in enumerate(as_list(name, "diagrams", diagrams, "a list of clouds' diagrams"))
    ]
    if any(_is_list_of_classes(each) for each in clouds):
        refused = next((each for each in clouds if each and not _is_list_of_classes(each)), None)
        if refused is not None:
            raise ValueError(
                f"{name}: diagrams has {refused[0]!r} beside (dimension, (birth, death)); pass one "
                "layout for all clouds"
            )
        highest = max(dim for cloud in clouds for dim, _ in cloud)
        chosen = range(highest + 1) if dims is None else dims
        clouds = [
            [[pair for found, pair in cloud if found == dim] for dim in chosen] for cloud in clouds
        ]
        dims = list(chosen)
    return _by_dimension(name, clouds, dims)


def diagrams_to_gudhi(
    diagrams: Sequence[BatchedDiagram], layout: Literal["persistence", "arrays"] = "persistence"
) -> list[Any]:
    """Return batches of several dimensions as GUDHI would, cloud by cloud.

    Parameters
    ----------
    diagrams
        One per dimension, of the same clouds.
    layout
        "persistence": a list of (dimension, (birth, death)), as `SimplexTree.persistence()`, which
        GUDHI's plots take. "arrays": one float64 array (K, 2) per dimension, as
        `gudhi.sklearn.RipsPersistence`, which `gudhi.representations` take.

    Returns
    -------
    list
        One entry per cloud, in that layout.

    Raises
    ------
    ValueError
        If the batches differ in their number of clouds, there are none, or the layout is unknown.

    Examples
    --------
    >>> loops = BatchedDiagram.from_list([[(1.0, 1.5)], []], dim=1)
    >>> diagrams_to_gudhi([loops])
    [[(1, (1.0, 1.5))], []]
    """
    name = "diagrams_to_gudhi"
    as_choice(name, "layout", layout, ("persistence", "arrays"))
    _refuse_other_clouds(name, diagrams)
    each = [[rows.detach().double().cpu() for rows in batch.to_list()] for batch in diagrams]
    clouds = [list(cloud) for cloud in zip(*each, strict=True)]
    if layout == "arrays":
        return [[rows.numpy() for rows in cloud] for cloud in clouds]
    dims = [batch.dim for batch in diagrams]
    return [
        [
            (dim, (birth, death))
            for dim, rows in zip(dims, cloud, strict=True)
            for birth, death in rows.tolist()
        ]
        for cloud in clouds
    ]


def diagrams_from_torch_topological(informations: Sequence[Any]) -> list[BatchedDiagram]:
    """Return one batch per dimension, from what torch-topological's `VietorisRipsComplex` returns.

    Parameters
    ----------
    informations
        One list per cloud, or a single list, of objects with the fields of
        `PersistenceInformation`.

    Returns
    -------
    list[BatchedDiagram]
        With births and deaths that keep their gradient and the edges of the pairing, each
        (smaller, larger) vertex. Death simplices are -1.

    Raises
    ------
    ValueError
        If the clouds differ in their dimensions, a row is no pair, or a pairing is not that of a
        Vietoris-Rips complex (of others take the diagrams alone, by `BatchedDiagram.from_list`).

    Examples
    --------
    >>> loop = PersistenceInformation(
    ...     np.array([[4, 3, 0, 2]]), torch.tensor([[1.0, 1.5]]), dimension=1
    ... )
    >>> diagrams_from_torch_topological([loop])[0].birth_edges
    tensor([[[3, 4]]])
    """
    name = "diagrams_from_torch_topological"
    given = as_list(name, "informations", informations, "a list, what a module returns")
    clouds = [given] if given and hasattr(given[0], "diagram") else given
    dims = [[int(each.dimension) for each in cloud] for cloud in clouds]
    if any(found != dims[0] for found in dims):
        refused = next(found for found in dims if found != dims[0])
        raise ValueError(
            f"{name}: informations has a cloud of dimensions {refused} beside one of {dims[0]}; "
            "pass the same of every cloud"
        )
    batches = []
    for place, dim in enumerate(dims[0]):
        rows, edges = [], []
        for i, cloud in enumerate(clouds):
            pairing = torch.as_tensor(np.asarray(cloud[place].pairing)).long()
            rows.append(as_rows(f"informations[{i}][{place}].diagram", cloud[place].diagram))
            if pairing.shape != (len(rows[-1]), 3 if dim == 0 else 4):
                raise ValueError(
                    f"{name}: informations[{i}][{place}].pairing has shape {tuple(pairing.shape)}; "
                    f"{len(rows[-1])} pairs of dimension {dim} of a Vietoris-Rips complex have "
                    f"{(len(rows[-1]), 3 if dim == 0 else 4)}, of another complex pass the "
                    "diagrams to BatchedDiagram.from_list"
                )
            if dim == 0:
                births = torch.full((len(pairing), 2), -1)
            else:
                births = pairing[:, :2].sort(dim=1).values
            edges.append(torch.cat([births, pairing[:, -2:].sort(dim=1).values], dim=1))
        batches.append(padded_diagram(dim, rows, edges))
    return batches


def diagrams_to_torch_topological(
    diagrams: Sequence[BatchedDiagram],
) -> list[list[PersistenceInformation]]:
    """Return batches of several dimensions as torch-topological's `VietorisRipsComplex` would.

    Parameters
    ----------
    diagrams
        One per dimension, of the same clouds.

    Returns
    -------
    list[list[PersistenceInformation]]
        Per cloud one for each dimension, which torch-topological's losses take.

    Raises
    ------
    ValueError
        If the batches differ in their number of clouds, or there are none.

    Examples
    --------
    >>> points = torch.tensor([[0.0], [3.0]])
    >>> cloud, = diagrams_to_torch_topological(rips_persistence_of_points(points, 0))
    >>> cloud[0].pairing, cloud[0].diagram
    (array([[-1,  0,  1]]), tensor([[0., 3.]]))
    """
    _refuse_other_clouds("diagrams_to_torch_topological", diagrams)
    clouds: list[list[PersistenceInformation]] = [[] for _ in range(len(diagrams[0]))]
    for batch in diagrams:
        births = batch.birth_edges[..., :1] if batch.dim == 0 else batch.birth_edges
        pairings = torch.cat([births, batch.death_edges], dim=-1).cpu()
        masks = batch.mask.cpu()
        for cloud, rows, pairing, mask in zip(
            clouds, batch.to_list(), pairings, masks, strict=True
        ):
            cloud.append(PersistenceInformation(pairing[mask].numpy(), rows, batch.dim))
    return clouds


def _is_list_of_classes(cloud: list[Any]) -> bool:
    """Return whether a cloud is a list of (dimension, (birth, death))."""
    return bool(cloud) and all(len(each) == 2 and isinstance(each[0], Integral) for each in cloud)


def _by_dimension(
    function: str, clouds: list[list[Any]], dims: Sequence[int] | None
) -> list[BatchedDiagram]:
    """Return a batch per dimension of clouds that have one entry (K, 2) for each."""
    if not clouds:
        raise ValueError(f"{function}: diagrams is empty; pass at least one cloud")
    chosen = list(range(max(map(len, clouds)))) if dims is None else list(dims)
    for i, cloud in enumerate(clouds):
        if len(cloud) != len(chosen):
            raise ValueError(
                f"{function}: diagrams[{i}] has {len(cloud)} dimension(s); pass {len(chosen)}, as "
                f"{'other clouds have' if dims is None else 'dims says'}"
            )
    return [
        BatchedDiagram.from_list([cloud[place] for cloud in clouds], dim)
        for place, dim in enumerate(chosen)
    ]


def _refuse_other_clouds(function: str, diagrams: Sequence[BatchedDiagram]) -> None:
    """Raise if the batches are not of as many clouds, or there is none."""
    sizes = [len(each) for each in diagrams]
    if not sizes or len(set(sizes)) > 1:
        raise ValueError(
            f"{function}: diagrams are of {sizes} clouds; pass one batch per dimension, of the "
            "same clouds"
        )
