"""Random inputs: generic clouds and diagrams without ties, and small integers full of them."""

import hypothesis.extra.numpy as npst
import numpy as np
from hypothesis import strategies as st

from reference.distances import pairwise_distances

seeds = st.integers(0, 2**32 - 1)


@st.composite
def clouds(draw, min_points: int = 1, max_points: int = 8, max_channels: int = 3) -> np.ndarray:
    """Return generic points: normal coordinates from a drawn seed."""
    shape = draw(st.integers(min_points, max_points)), draw(st.integers(1, max_channels))
    return np.random.default_rng(draw(seeds)).normal(size=shape)


@st.composite
def symmetric_integers(draw, num_points: int, low: int, high: int) -> np.ndarray:
    """Return a symmetric integer matrix with a zero diagonal, as float64."""
    upper = draw(npst.arrays(np.int64, (num_points, num_points), elements=st.integers(low, high)))
    upper = np.triu(upper, k=1)
    return (upper + upper.T).astype(np.float64)


@st.composite
def tied_distances(draw, min_points: int = 0, max_points: int = 7) -> np.ndarray:
    """Return a matrix of small integers: ties everywhere, zeros and broken triangles included."""
    return draw(symmetric_integers(draw(st.integers(min_points, max_points)), 0, 5))


@st.composite
def generic_distances(draw, min_points: int = 1, max_points: int = 8) -> np.ndarray:
    """Return the distances of a generic cloud."""
    return pairwise_distances(draw(clouds(min_points, max_points)))


@st.composite
def generic_diagrams(draw, min_pairs: int = 0, max_pairs: int = 5) -> np.ndarray:
    """Return (birth, death) rows without ties."""
    rng = np.random.default_rng(draw(seeds))
    births, persistence = rng.random((2, draw(st.integers(min_pairs, max_pairs))))
    return np.column_stack([births, births + persistence])


@st.composite
def tied_diagrams(draw, min_pairs: int = 0, max_pairs: int = 5) -> np.ndarray:
    """Return (birth, death) rows of small integers, equal ones included."""
    size = draw(st.integers(min_pairs, max_pairs))
    births = draw(npst.arrays(np.int64, size, elements=st.integers(0, 4)))
    persistence = draw(npst.arrays(np.int64, size, elements=st.integers(1, 4)))
    return np.column_stack([births, births + persistence]).astype(np.float64)
