"""Triangle meshes: reading OFF files, and points drawn evenly on the surface.

Shape letters: V vertices, F triangles, N points.
"""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.core.bounded import decimal_numbers, whole_number
from train.core.errors import UserError
from train.data.files import read_bytes

_FARTHEST: Final = 1e100  # whose square is finite


def read_off(path: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Read an OFF file: vertices (V, 3) and triangles (F, 3), fans of faces with more corners.

    ModelNet40 has files whose first line is "OFF490 518 0", without the line break after OFF.
    UserError if the file is no OFF file, or damaged.
    """
    words = read_bytes(path).split()
    if not words or not words[0].upper().startswith(b"OFF"):
        raise UserError(f"{path}: no OFF file (it does not begin with OFF); leave it out")
    glued = words[0][3:]
    words = [*([glued] if glued else []), *words[1:]]
    try:
        num_vertices, num_faces = _index(words[0]), _index(words[1])
        end = 3 + 3 * num_vertices
        vertices = decimal_numbers(words[3:end]).reshape(num_vertices, 3)
        triangles: list[tuple[int, int, int]] = []
        at = end
        for _ in range(num_faces):
            count = _index(words[at])
            corners = [_index(word) for word in words[at + 1 : at + 1 + count]]
            if len(corners) != count:
                raise ValueError("a face lacks corners")
            triangles += [
                (corners[0], corners[k], corners[k + 1]) for k in range(1, len(corners) - 1)
            ]
            at += 1 + len(corners)
    except (ValueError, IndexError) as error:
        raise UserError(f"{path}: a damaged OFF file ({error}); leave it out") from error
    if not np.abs(vertices).max(initial=0.0) < _FARTHEST:
        raise UserError(f"{path}: a damaged OFF file (a vertex is not finite); leave it out")
    faces = np.array(triangles, dtype=np.int64).reshape(-1, 3)
    if len(faces) == 0 or faces.min() < 0 or faces.max() >= num_vertices:
        raise UserError(
            f"{path}: a damaged OFF file (its faces do not fit its vertices); leave it out"
        )
    return vertices, faces


def _index(word: bytes) -> int:
    number = whole_number(word)
    if number is None:
        raise ValueError(f"{word[:80]!r} is no count and no index")
    return number


def triangle_areas(
    vertices: NDArray[np.float64], triangles: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the area of each triangle, (F,)."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    return np.asarray(np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2)


def sample_triangles(
    vertices: NDArray[np.float64],
    triangles: NDArray[np.int64],
    number: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return points spread evenly over the area of a mesh, (number, 3).

    ValueError if it has no area.
    """
    areas = triangle_areas(vertices, triangles)
    total = areas.sum()
    if not (np.isfinite(total) and total > 0):
        raise ValueError(f"sample_triangles: the mesh has an area of {total}")
    chosen = triangles[rng.choice(len(triangles), size=number, p=areas / total)]
    # Square roots spread the points evenly over a triangle: Osada et al., "Shape distributions".
    u, v = np.sqrt(rng.random((number, 1))), rng.random((number, 1))
    a, b, c = (vertices[chosen[:, k]] for k in range(3))
    return np.asarray((1 - u) * a + u * (1 - v) * b + u * v * c)
