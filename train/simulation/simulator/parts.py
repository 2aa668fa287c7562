"""Draws one object part by part, in its own frame: forward, left, up."""

import math
from collections.abc import Mapping, Sequence
from copy import copy
from typing import NamedTuple, TypeVar

import numpy as np

from train.simulation.simulator.scene import Frame, SceneBuilder, Shape
from train.simulation.simulator.surfaces import THINGS, Kind, Material

Place = tuple[float, float, float]
Point = tuple[float, float]
Picked = TypeVar("Picked")


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Return a number between two."""
    return low + (high - low) * rng.random()


def chance(rng: np.random.Generator, share: float) -> bool:
    """Return true in this share of all cases."""
    return bool(rng.random() < share)


def either_side(rng: np.random.Generator) -> float:
    """Return 1 or -1."""
    return 1.0 if chance(rng, 0.5) else -1.0


def pick(rng: np.random.Generator, shares: Mapping[Picked, float]) -> Picked:
    """Return one of some things, each in its share of all cases."""
    return list(shares)[int(rng.choice(len(shares), p=list(shares.values())))]


def pick_below(rng: np.random.Generator, limits: Mapping[str, float]) -> str:
    """Return the first name whose limit lies above a number drawn from [0, 1), "" if none does."""
    number = rng.random()
    return next((name for name, limit in limits.items() if number < limit), "")


class Spot(NamedTuple):
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

    def uniform(self, low: float, high: float) -> float:
        """Return a number between two."""
        return low + (high - low) * self.rng.random()

    def chance(self, share: float) -> bool:
        """Return true in this share of all cases."""
        return bool(self.rng.random() < share)

    def at(self, frame: Frame) -> "Spot":
        """Return another place in the same scene."""
        return self._replace(frame=frame)

    def moved(self, forward: float, left: float, up: float = 0.0, *, turn: float = 0.0) -> "Spot":
        """Return a place given in the axes of this one, turned by `turn`."""
        return self.at(Frame(*self.frame.at(forward, left, up), self.frame.yaw + turn))

    def parts(self, kind: Kind) -> "Parts":
        """Return a way to draw an object here, part by part."""
        return Parts(self, kind)


class Parts:
    """The parts of one object.

    Parameters
    ----------
    spot
        Where it is drawn.
    kind
        What all its parts are; what is a thing gets a number of its own.
    """

    def __init__(self, spot: Spot, kind: Kind) -> None:
        self.spot, self.kind = spot, kind
        self.rng, self.uniform, self.chance = spot.rng, spot.uniform, spot.chance
        instance = spot.scene.new_instance() if kind in THINGS else 0
        self._numbers = {"instance": instance, "group": spot.scene.new_group()}
        self._side = 1.0

    def shifted(self, forward: float, left: float, turn: float = 0.0, up: float = 0.0) -> "Parts":
        """Return a way to draw more parts of the same object, about another place of it."""
        other = copy(self)
        other.spot = self.spot.moved(forward, left, up, turn=turn)
        return other

    def sides(self, first: float = -1.0) -> "tuple[Parts, Parts]":
        """Return two ways to draw: on the side that is asked for (1 the left), and mirrored."""
        both = copy(self), copy(self)
        both[0]._side, both[1]._side = first, -first
        return both

    def solid(
        self, shape: Shape, place: Place, half: Place, material: Material, *extra: float
    ) -> None:
        """Add any primitive with its center at `place`; `half` and `extra` as `Shape` says."""
        scene, frame = self.spot.scene, self.spot.frame
        place = (place[0], self._side * place[1], place[2])
        scene.add(shape, frame, place, half, self.kind, material, extra=extra, **self._numbers)

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
        """Add a convex side view, extruded to both sides; see `SceneBuilder.add_prism`."""
        scene, frame = self.spot.scene, self.spot.moved(0.0, self._side * left).frame
        scene.add_prism(
            frame, profile, half_width, self.kind, material, narrowing=narrowing, **self._numbers
        )

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
