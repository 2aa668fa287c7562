"""Points drawn evenly on the outer surface of what a scene is made of.

Shape letters: N points, P primitives, K planes of a polytope.
"""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from train.dataset_distillation.objects.meshes import sample_triangles, triangle_areas
from train.simulation.simulator.scene import Scene, Shape

Floats = NDArray[np.float64]

_POROUS = frozenset({Shape.FOLIAGE, Shape.HEDGE, Shape.MESH})
_BALLS = frozenset({Shape.ELLIPSOID, Shape.FOLIAGE})
_WITHIN = 1e-6
_DEEP = 0.35
"""How far into foliage a point may lie, as a share of the radius: leaves are no shell."""
_ROUNDS = 40


def sample_surface(
    scene: Scene, number: int, rng: np.random.Generator
) -> tuple[Floats, NDArray[np.int64]]:
    """Return points (N, 3) on a scene's primitives, inside no other one, and on which each is.

    In world coordinates in meters; the ground is left out. ValueError if there is no surface to be
    seen.
    """
    solids = [_Solid(scene, index) for index in range(len(scene.shape))]
    weights = np.array([solid.area() for solid in solids])
    if not weights.sum() > 0:
        raise ValueError("sample_surface: the scene has no surface")
    points = np.zeros((0, 3))
    primitive = np.zeros(0, dtype=np.int64)
    for _ in range(_ROUNDS):
        counts = rng.multinomial(2 * number, weights / weights.sum())
        found = np.concatenate(
            [solid.sample(int(count), rng) for solid, count in zip(solids, counts, strict=True)]
        )
        on = np.repeat(np.arange(len(solids)), counts)
        free = found[:, 2] >= 0.0  # what is sunk into the ground is not seen
        for index, solid in enumerate(solids):
            if not solid.porous:
                free &= ~(solid.holds(found) & (on != index))
        points = np.concatenate([points, found[free]])
        primitive = np.concatenate([primitive, on[free]])
        if len(points) >= number:
            chosen = rng.permutation(len(points))[:number]
            return points[chosen], primitive[chosen]
    raise ValueError(f"sample_surface: only {len(points)} of {number} points are to be seen")


class _Solid:
    """One primitive of a scene, in its own axes."""

    def __init__(self, scene: Scene, index: int) -> None:
        self.shape = Shape(int(scene.shape[index]))
        self.center, self.half = scene.center[index], scene.half[index]
        passes = float(scene.extra[index, 0])
        self.passes = passes if self.shape in (Shape.MESH, Shape.WHEEL) else 0.0
        self.porous = self.shape in _POROUS or self.passes > 0.0
        cos, sin = np.cos(scene.yaw[index]), np.sin(scene.yaw[index])
        self.turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        # The axis of what is round about one.
        self.along = {Shape.CYLINDER: 2, Shape.WHEEL: 1}.get(self.shape)
        self.planes = np.zeros((0, 4))
        if self.shape == Shape.POLYTOPE:
            first, count = (int(value) for value in scene.extra[index, :2])
            self.planes = scene.planes[first : first + count]
        self.vertices, self.triangles = self._faces()

    def area(self) -> float:
        """Return the outer area, less for what rays pass through."""
        x, y, z = self.half
        if self.along is not None:
            radius, half = x, self.half[self.along]
            area = 2 * np.pi * radius * (2 * half + radius)
        elif self.shape in _BALLS:
            # Knud Thomsen's formula, within 1.2 %: enough to share points out.
            p = 1.6075
            mean = ((x * y) ** p + (x * z) ** p + (y * z) ** p) / 3
            area = 4 * np.pi * mean ** (1 / p)
        else:
            area = float(triangle_areas(self.vertices, self.triangles).sum())
        return float(area * (1.0 - self.passes))

    def sample(self, number: int, rng: np.random.Generator) -> Floats:
        """Return points on the surface, (number, 3) in the world."""
        if number == 0:
            return np.zeros((0, 3))
        if self.along is not None:
            local = self._on_cylinder(self.along, number, rng)
        elif self.shape in _BALLS:
            local = self._on_ellipsoid(number, rng)
        else:
            local = sample_triangles(self.vertices, self.triangles, number, rng)
        return np.asarray(local @ self.turn.T + self.center)

    def holds(self, points: Floats) -> NDArray[np.bool_]:
        """Return which points lie inside, a surface not counted."""
        local = (points - self.center) @ self.turn
        if self.shape == Shape.POLYTOPE:
            inside = local @ self.planes[:, :3].T < self.planes[:, 3] - _WITHIN
            return np.asarray(inside.all(axis=1))
        if self.along is not None:
            across, along = np.hypot(local[:, 0], local[:, 3 - self.along]), local[:, self.along]
            radius, half = self.half[0] - _WITHIN, self.half[self.along] - _WITHIN
            return np.asarray((across < radius) & (np.abs(along) < half))
        if self.shape in _BALLS:
            return np.asarray(((local / self.half) ** 2).sum(axis=1) < 1.0 - _WITHIN)
        return np.asarray((np.abs(local) < self.half - _WITHIN).all(axis=1))

    def _on_cylinder(self, axis: int, number: int, rng: np.random.Generator) -> Floats:
        radius, half = self.half[0], self.half[axis]
        angle = rng.uniform(0.0, 2 * np.pi, number)
        on_side = rng.random(number) < 2 * half / (2 * half + radius)
        reach = np.where(on_side, radius, radius * np.sqrt(rng.random(number)))
        along = np.where(
            on_side, rng.uniform(-half, half, number), rng.choice([-half, half], number)
        )
        columns = [reach * np.cos(angle), reach * np.sin(angle)]
        columns.insert(axis, along)
        return np.stack(columns, axis=1)

    def _on_ellipsoid(self, number: int, rng: np.random.Generator) -> Floats:
        found = np.zeros((0, 3))
        while len(found) < number:
            unit = rng.normal(size=(2 * number + 8, 3))
            unit /= np.linalg.norm(unit, axis=1, keepdims=True)
            # How much area a spot of the unit sphere becomes, at most 1.
            stretch = np.linalg.norm(unit / self.half, axis=1) * self.half.min()
            found = np.concatenate([found, unit[rng.random(len(unit)) < stretch]])
        found = found[:number]
        if self.shape == Shape.FOLIAGE:
            found = found * (1.0 - _DEEP * rng.random((number, 1)))
        return np.asarray(found * self.half)

    def _faces(self) -> tuple[Floats, NDArray[np.int64]]:
        """Return the triangles of a box or a polytope; none for what is round."""
        if self.along is not None or self.shape in _BALLS:
            return np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64)
        planes = self.planes
        if self.shape != Shape.POLYTOPE:
            sides = np.concatenate([np.eye(3), -np.eye(3)])
            planes = np.column_stack([sides, np.tile(self.half, 2)])
        return polytope_triangles(planes)


def polytope_triangles(planes: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Return vertices and triangles of a bounded intersection of half spaces n.p <= d, (K, 4)."""
    corners = []
    for three in combinations(range(len(planes)), 3):
        normals = planes[list(three), :3]
        if abs(np.linalg.det(normals)) < 1e-9:
            continue
        corner = np.linalg.solve(normals, planes[list(three), 3])
        if (planes[:, :3] @ corner <= planes[:, 3] + 1e-7).all():
            corners.append(corner)
    vertices = np.array(corners).reshape(-1, 3)
    triangles = []
    for normal, offset in zip(planes[:, :3], planes[:, 3], strict=True):
        on = np.flatnonzero(np.abs(vertices @ normal - offset) < 1e-6)
        if len(on) < 3:
            continue
        middle = vertices[on].mean(axis=0)
        # Any two directions of the face's plane: corners are put in order around its middle.
        first = np.cross(normal, np.eye(3)[np.abs(normal).argmin()])
        second = np.cross(normal, first)
        around = vertices[on] - middle
        order = on[np.argsort(np.arctan2(around @ second, around @ first), kind="stable")]
        triangles += [(order[0], order[k], order[k + 1]) for k in range(1, len(order) - 1)]
    return vertices, np.array(triangles, dtype=np.int64).reshape(-1, 3)
