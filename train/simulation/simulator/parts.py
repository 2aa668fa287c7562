"""Draws one object part by part, in its own frame: forward, left, up."""

import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from train.simulation.simulator.scene import Frame, SceneBuilder, Shape
from train.simulation.simulator.surfaces import THINGS, Kind, Material

Place = tuple[float, float, float]
Point = tuple[float, float]
Picked = TypeVar("Picked")


class Chance:
    """What has a source of chance, `rng`, draws from it in plain words."""

    rng: np.random.Generator

    def uniform(self, low: float, high: float) -> float:
        """Return a number between two."""
        return low + (high - low) * self.rng.random()

    def chance(self, share: float) -> bool:
        """Return true in this share of all cases."""
        return bool(self.rng.random() < share)

    def either_side(self) -> float:
        """Return 1 or -1."""
        return 1.0 if self.chance(0.5) else -1.0


def pick(rng: np.random.Generator, shares: Mapping[Picked, float]) -> Picked:
    """Return one of some things, each in its share of all cases."""
    return list(shares)[int(rng.choice(len(shares), p=list(shares.values())))]


def pick_below(rng: np.random.Generator, limits: Mapping[str, float]) -> str:
    """Return the first name whose limit lies above a number drawn from [0, 1), "" if none does."""
    number = rng.random()
    return next((name for name, limit in limits.items() if number < limit), "")


@dataclass(frozen=True)
class Spot(Chance):
    """Where an object is drawn, and what decides its looks.

    Attributes
    ----------
    scene
        Where its parts are collected.
    frame
        Where it stands.
    rng
        Source of chance.
    """

    scene: SceneBuilder
    frame: Frame
    rng: np.random.Generator

    def at(self, frame: Frame) -> "Spot":
        """Return another place in the same scene."""
        return Spot(self.scene, frame, self.rng)

    def moved(self, forward: float, left: float, up: float = 0.0, *, turn: float = 0.0) -> "Spot":
        """Return a place given in the axes of this one, turned by `turn`."""
        return self.at(Frame(*self.frame.at(forward, left, up), self.frame.yaw + turn))

    def parts(self, kind: Kind) -> "Parts":
        """Return a way to draw an object here, part by part."""
        return Parts(self, kind)


class Parts(Chance):
    """The parts of one object.

    Parameters
    ----------
    spot
        Where it is drawn.
    kind
        What all its parts are; what is a thing gets a number of its own.
    """

    def __init__(self, spot: Spot, kind: Kind) -> None:
        self.spot, self.kind, self.rng = spot, kind, spot.rng
        instance = spot.scene.new_instance() if kind in THINGS else 0
        self._numbers = {"instance": instance, "group": spot.scene.new_group()}
        self._sides: tuple[float, ...] = (1.0,)

    def shifted(self, forward: float, left: float, turn: float = 0.0, up: float = 0.0) -> "Parts":
        """Return a way to draw more parts of the same object, about another place of it."""
        other = copy(self)
        other.spot = self.spot.moved(forward, left, up, turn=turn)
        return other

    def both(self, first: float = -1.0) -> "Parts":
        """Return a way to draw each part on the side asked for (1 the left), then mirrored."""
        other = copy(self)
        other._sides = (first, -first)
        return other

    def sides(self, first: float = -1.0) -> "tuple[Parts, Parts]":
        """Return two ways to draw: one side's parts after all of the other's; see `both`."""
        one, other = copy(self), copy(self)
        one._sides, other._sides = (first,), (-first,)
        return one, other

    def solid(
        self, shape: Shape, place: Place, half: Place, material: Material, *extra: float
    ) -> None:
        """Add any primitive with its center at `place`; `half` and `extra` as `Shape` says."""
        scene, frame = self.spot.scene, self.spot.frame
        for side in self._sides:
            at = (place[0], side * place[1], place[2])
            scene.add(shape, frame, at, half, self.kind, material, extra=extra, **self._numbers)

    def box(self, place: Place, half: Place, material: Material) -> None:
        """Add a box with its center at `place`, given half its sizes."""
        self.solid(Shape.BOX, place, half, material)

    def post(
        self, place: Point, radius: float, low: float, high: float, material: Material
    ) -> None:
        """Add an upright cylinder at (forward, left), from a height to another."""
        half = (high - low) / 2
        self.solid(Shape.CYLINDER, (*place, low + half), (radius, radius, half), material)

    def wheel(
        self,
        place: Place,
        radius: float,
        half_width: float,
        material: Material = Material.RUBBER,
        *,
        passes: float = 0.0,
    ) -> None:
        """Add a wheel that rolls forward and lets a share of the rays pass."""
        self.solid(Shape.WHEEL, place, (radius, half_width, radius), material, passes)

    def ball(self, place: Place, half: Place, material: Material) -> None:
        """Add an ellipsoid."""
        self.solid(Shape.ELLIPSOID, place, half, material)

    def leaves(self, place: Place, half: Place, free_path_m: float) -> None:
        """Add a porous ellipsoid of foliage."""
        self.solid(Shape.FOLIAGE, place, half, Material.FOLIAGE, free_path_m)

    def mesh(self, place: Place, half: Place, passes: float, material: Material) -> None:
        """Add a box that lets a share of the rays pass, such as a wire fence."""
        self.solid(Shape.MESH, place, half, material, passes)

    def prism(
        self,
        profile: Sequence[Point],
        half_width: float,
        material: Material,
        *,
        narrowing: float = 0.0,
        left: float = 0.0,
    ) -> None:
        """Add a convex side view, extruded to both sides.

        The profile's corners (forward, up) go counter-clockwise seen from the right hand side
        (forward to the right). Half the width is that at the lowest corner; it shrinks by
        `narrowing` for each meter up.
        """
        corners = [(float(forward), float(up)) for forward, up in profile]
        low, high = min(up for _, up in corners), max(up for _, up in corners)
        back, front = min(forward for forward, _ in corners), max(forward for forward, _ in corners)
        middle, level = (back + front) / 2, (low + high) / 2
        planes = []
        for (x0, z0), (x1, z1) in zip(corners, [*corners[1:], corners[0]], strict=True):
            length = math.hypot(x1 - x0, z1 - z0)
            nx, nz = (z1 - z0) / length, (x0 - x1) / length
            planes.append((nx, 0.0, nz, nx * (x0 - middle) + nz * (z0 - level)))
        slope = math.hypot(1.0, narrowing)
        reach = (half_width - narrowing * (level - low)) / slope
        planes += [(0.0, side / slope, narrowing / slope, reach) for side in (1.0, -1.0)]
        half = ((front - back) / 2, half_width, (high - low) / 2)
        for side in self._sides:
            extra = self.spot.scene.add_planes(planes)
            there = self.shifted(0.0, side * left)
            there._sides = (1.0,)
            there.solid(Shape.POLYTOPE, (middle, 0.0, level), half, material, *extra)

    def beam(
        self,
        start: Point,
        end: Point,
        thickness: float,
        material: Material,
        *,
        left: float = 0.0,
        half_width: float | None = None,
    ) -> None:
        """Add a straight limb between two places (forward, up), `thickness` to either side of it.

        Its half width is its thickness if not given.
        """
        (f0, u0), (f1, u1) = start, end
        length = math.hypot(f1 - f0, u1 - u0)
        across, along = -(u1 - u0) / length * thickness, (f1 - f0) / length * thickness
        corners = [
            (f0 - across, u0 - along),
            (f1 - across, u1 - along),
            (f1 + across, u1 + along),
            (f0 + across, u0 + along),
        ]
        self.prism(corners, thickness if half_width is None else half_width, material, left=left)
