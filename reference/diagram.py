"""A persistence diagram of one cloud and one dimension, with the simplices that made it.

Shape letters: K pairs.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64


@dataclass(frozen=True, eq=False, kw_only=True)
class Diagram:
    """The finite pairs of positive persistence in one homology dimension.

    Row k of every array belongs to pair k. `rips_persistence` sorts the rows by (rank of the
    death edge, rank of the birth edge, death simplex).

    Attributes
    ----------
    dim
        Homology dimension: 0 components, 1 loops, 2 voids.
    births, deaths
        Filtration values (diameters), in the unit of the distances. Copies of entries of the
        distance matrix; births are 0 in dimension 0.
    birth_edges
        Vertices (smaller, larger) of the longest edge of the simplex that creates the class:
        births[k] is its length. (-1, -1) in dimension 0, where a vertex creates the class.
    death_edges
        The same for the simplex that destroys the class: deaths[k] is its length.
    death_simplices
        Increasing vertices of the destroying simplex: the edge itself in dimension 0, a triangle
        in dimension 1, a tetrahedron in dimension 2.
    num_essential
        How many classes of this dimension never die (with a threshold: were not dead there).
        They have no row: the paper compares finite pairs only.

    Raises
    ------
    ValueError
        If the arrays disagree about K or about the dimension.
    """

    dim: int
    births: Float64[np.ndarray, " k"]
    deaths: Float64[np.ndarray, " k"]
    birth_edges: Int64[np.ndarray, "k 2"]
    death_edges: Int64[np.ndarray, "k 2"]
    death_simplices: Int64[np.ndarray, "k v"]
    num_essential: int = 0

    def __post_init__(self) -> None:
        k = len(self.births)
        shapes = {
            "births": (k,),
            "deaths": (k,),
            "birth_edges": (k, 2),
            "death_edges": (k, 2),
            "death_simplices": (k, self.dim + 2),
        }
        for name, shape in shapes.items():
            if (found := getattr(self, name).shape) != shape:
                raise ValueError(
                    f"Diagram: {name} has shape {found}; "
                    f"{k} pairs of dimension {self.dim} need {shape}"
                )

    def __len__(self) -> int:
        """Return the number of pairs, K."""
        return len(self.births)

    @property
    def pairs(self) -> Float64[np.ndarray, "k 2"]:
        """(birth, death) rows: the points of the diagram."""
        return np.column_stack([self.births, self.deaths])
