"""What rays can hit: solids, porous volumes and a ground, as flat arrays that the ray caster reads.

World frame: x along the street, y to the left, z up, meters.

Shape letters: P primitives, K planes of all polytopes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from train.simulation.simulator.ground import Ground
from train.simulation.simulator.surfaces import Kind, Material


class Shape(IntEnum):
    """The ray caster's primitives; `extra` means what each line says."""

    BOX = 0  # half sizes
    CYLINDER = 1  # upright: radius, radius, half height
    WHEEL = 2  # axis along y: radius, half width, radius; extra: the share that passes
    ELLIPSOID = 3  # half axes
    FOLIAGE = 4  # a porous ellipsoid; extra: mean free path in meters
    HEDGE = 5  # a porous box; extra: mean free path in meters
    MESH = 6  # a box that lets rays through; extra: the share that passes
    FACADE = 7  # a box with windows and doors; extra: bay width, window share, phase in meters
    POLYTOPE = 8  # half spaces in local coordinates; extra: first plane, number of planes


class Solids(NamedTuple):
    """The arrays of a `Scene` that compiled functions read."""

    shape: NDArray[np.int64]
    kind: NDArray[np.int64]
    material: NDArray[np.int64]
    instance: NDArray[np.int64]
    center: NDArray[np.float64]
    half: NDArray[np.float64]
    extra: NDArray[np.float64]
    cos_yaw: NDArray[np.float64]
    sin_yaw: NDArray[np.float64]
    planes: NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """A world as arrays.

    Attributes
    ----------
    ground
        The ground.
    shape, kind, material, instance
        (P,) int64 each; instance 0 for what is not counted.
    center, half, extra
        (P, 3) float64.
    yaw
        (P,) float64.
    planes
        (K, 4): local half spaces n.p <= d of all polytopes.
    group
        (P,) int64: the same for the parts that were drawn as one object, counted or not.
    """

    ground: Ground
    shape: NDArray[np.int64]
    kind: NDArray[np.int64]
    material: NDArray[np.int64]
    instance: NDArray[np.int64]
    center: NDArray[np.float64]
    half: NDArray[np.float64]
    extra: NDArray[np.float64]
    yaw: NDArray[np.float64]
    planes: NDArray[np.float64]
    group: NDArray[np.int64]

    @cached_property
    def solids(self) -> Solids:
        """What the ray caster reads."""
        words = (self.shape, self.kind, self.material, self.instance)
        sizes = (self.center, self.half, self.extra)
        return Solids(*words, *sizes, np.cos(self.yaw), np.sin(self.yaw), self.planes)


class Frame(NamedTuple):
    """Where an object stands: its ground point and heading."""

    x: float
    y: float
    z: float
    yaw: float

    def at(self, forward: float, left: float, up: float) -> tuple[float, float, float]:
        """Return the world position of a point given in the object's own axes."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        x, y = self.x + cos * forward - sin * left, self.y + sin * forward + cos * left
        return x, y, self.z + up


class SceneBuilder:
    """Collects primitives; objects are drawn in their own frame.

    Parameters
    ----------
    first_instance
        The number of the first counted object.
    """

    def __init__(self, *, first_instance: int = 1) -> None:
        self._rows: list[tuple[int, int, int, int, int]] = []
        self._numbers: list[list[float]] = []
        self._planes: list[tuple[float, float, float, float]] = []
        self._next_instance = first_instance
        self._next_group = 1

    def copy(self) -> "SceneBuilder":
        """Return a builder that goes on from here and leaves this one as it is."""
        other = SceneBuilder(first_instance=self._next_instance)
        other._rows, other._numbers = self._rows.copy(), self._numbers.copy()
        other._planes = self._planes.copy()
        other._next_group = self._next_group
        return other

    def new_instance(self) -> int:
        """Return a number that no other object of this scene has."""
        self._next_instance += 1
        return self._next_instance - 1

    def new_group(self) -> int:
        """Return a number for the parts of one more object."""
        self._next_group += 1
        return self._next_group - 1

    def add(
        self,
        shape: Shape,
        frame: Frame,
        place: tuple[float, float, float],
        half: tuple[float, float, float],
        kind: Kind,
        material: Material,
        *,
        instance: int = 0,
        extra: tuple[float, ...] = (),
        turn: float = 0.0,
        group: int = 0,
    ) -> None:
        """Add a primitive with its center at `place` of the frame, turned by `turn` more."""
        self._rows.append((int(shape), int(kind), int(material), instance, group))
        padded = (*extra, 0.0, 0.0, 0.0)[:3]
        self._numbers.append([*frame.at(*place), *half, *padded, frame.yaw + turn])

    def add_planes(self, planes: Sequence[tuple[float, float, float, float]]) -> tuple[int, int]:
        """Add the half spaces of a polytope; return the first one's number and how many."""
        self._planes.extend(planes)
        return len(self._planes) - len(planes), len(planes)

    def build(self, ground: Ground) -> Scene:
        """Return the collected primitives as arrays."""
        rows = np.array(self._rows, dtype=np.int64).reshape(-1, 5)
        numbers = np.array(self._numbers, dtype=np.float64).reshape(-1, 10)
        shape, kind, material, instance, group = rows.T.copy()
        center, half, extra = numbers[:, :9].reshape(-1, 3, 3).swapaxes(0, 1).copy()
        yaw, planes = numbers[:, 9].copy(), np.array(self._planes, dtype=np.float64).reshape(-1, 4)
        words = (shape, kind, material, instance)
        return Scene(ground, *words, center, half, extra, yaw, planes, group)
