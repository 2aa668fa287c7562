"""Draws one object part by part, in its own frame: forward, left, up."""

import math
from collections.abc import Sequence

import numpy as np

from train.simulation.simulator.scene import Frame, SceneBuilder, Shape
from train.simulation.simulator.surfaces import THINGS, Kind, Material

Place = tuple[float, float, float]


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Return a number between two."""
    return low + (high - low) * rng.random()


def chance(rng: np.random.Generator, share: float) -> bool:
    """Return true in this share of all cases."""
    return bool(rng.random() < share)


class Parts:
    """The parts of one object.

    Parameters
    ----------
    scene
        Where they are collected.
    frame
        Where the object stands.
    kind
        What all its parts are; what is a thing gets a number of its own.
    """

    def __init__(self, scene: SceneBuilder, frame: Frame, kind: Kind) -> None:
        self._scene, self._frame, self.kind = scene, frame, kind
        self._instance = scene.new_instance() if kind in THINGS else 0
        self._group = scene.new_group()

    def shifted(self, forward: float, left: float, turn: float = 0.0, up: float = 0.0) -> "Parts":
        """Return a way to draw more parts of the same object, about another place of it."""
        other = object.__new__(Parts)
        other._scene, other.kind, other._instance = self._scene, self.kind, self._instance
        other._group = self._group
        other._frame = Frame(*self._frame.at(forward, left, up), self._frame.yaw + turn)
        return other

    def _add(
        self,
        shape: Shape,
        place: Place,
        half: Place,
        material: Material,
        *,
        extra: Place = (0.0, 0.0, 0.0),
        turn: float = 0.0,
    ) -> None:
        self._scene.add(
            shape,
            self._frame,
            place,
            half,
            self.kind,
            material,
            instance=self._instance,
            extra=extra,
            turn=turn,
            group=self._group,
        )

    def box(self, place: Place, half: Place, material: Material, *, turn: float = 0.0) -> None:
        """Add a box with its center at `place`, given half its sizes."""
        self._add(Shape.BOX, place, half, material, turn=turn)

    def post(
        self,
        place: tuple[float, float],
        radius: float,
        low: float,
        high: float,
        material: Material,
    ) -> None:
        """Add an upright cylinder at (forward, left), from a height to another."""
        half = (high - low) / 2
        self._add(Shape.CYLINDER, (*place, low + half), (radius, radius, half), material)

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
        half = (radius, half_width, radius)
        self._add(Shape.WHEEL, place, half, material, extra=(passes, 0.0, 0.0))

    def ball(self, place: Place, half: Place, material: Material) -> None:
        """Add an ellipsoid."""
        self._add(Shape.ELLIPSOID, place, half, material)

    def leaves(
        self,
        place: Place,
        half: Place,
        free_path_m: float,
        material: Material = Material.FOLIAGE,
    ) -> None:
        """Add a porous ellipsoid, of foliage or of anything as loose."""
        self._add(Shape.FOLIAGE, place, half, material, extra=(free_path_m, 0.0, 0.0))

    def hedge(self, place: Place, half: Place, free_path_m: float) -> None:
        """Add a porous box of foliage."""
        self._add(Shape.HEDGE, place, half, Material.FOLIAGE, extra=(free_path_m, 0.0, 0.0))

    def mesh(self, place: Place, half: Place, passes: float, material: Material) -> None:
        """Add a box that lets a share of the rays pass, such as a wire fence."""
        self._add(Shape.MESH, place, half, material, extra=(passes, 0.0, 0.0))

    def facade(
        self,
        place: Place,
        half: Place,
        material: Material,
        *,
        bay_m: float,
        windows: float,
        phase_m: float,
    ) -> None:
        """Add a box with windows and doors."""
        self._add(Shape.FACADE, place, half, material, extra=(bay_m, windows, phase_m))

    def prism(
        self,
        profile: Sequence[tuple[float, float]],
        half_width: float,
        material: Material,
        *,
        narrowing: float = 0.0,
        left: float = 0.0,
    ) -> None:
        """Add a convex side view, extruded to both sides; see `SceneBuilder.add_prism`."""
        self._scene.add_prism(
            Frame(*self._frame.at(0.0, left, 0.0), self._frame.yaw),
            profile,
            half_width,
            self.kind,
            material,
            instance=self._instance,
            narrowing=narrowing,
            group=self._group,
        )

    def beam(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        thickness: float,
        material: Material,
        *,
        left: float = 0.0,
        half_width: float | None = None,
    ) -> None:
        """Add a straight limb between two places (forward, up), `thickness` to either side of it.

        Its half width is its thickness if not given.
        """
        forward, up = end[0] - start[0], end[1] - start[1]
        length = math.hypot(forward, up)
        across, along = -up / length * thickness, forward / length * thickness
        self.prism(
            [
                (start[0] - across, start[1] - along),
                (end[0] - across, end[1] - along),
                (end[0] + across, end[1] + along),
                (start[0] + across, start[1] + along),
            ],
            thickness if half_width is None else half_width,
            material,
            left=left,
        )
