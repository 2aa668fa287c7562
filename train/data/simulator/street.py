"""Lays out a street: its cross-section, what lines both its sides, what stands and moves on it."""

from dataclasses import dataclass

import numpy as np

from train.data.simulator import objects
from train.data.simulator.raycast import ground_height
from train.data.simulator.scene import Frame, Ground, Kind, Material, Scene, SceneBuilder, Shape

_MARGIN_M = 110.0
_LANE_SPEED_M_S = 8.0


@dataclass(frozen=True)
class Traffic:
    """Something that moves with one of the two lanes."""

    what: Kind
    along_m: float
    across_m: float
    speed_m_s: float
    seed: int


class Street:
    """A street with everything that does not move, and the list of what does.

    Parameters
    ----------
    length_m
        How far the sensor drives; the street goes on beyond both ends.
    rng
        The only source of chance.
    first_instance
        The number of its first counted object.
    """

    def __init__(
        self, length_m: float, rng: np.random.Generator, *, first_instance: int = 1
    ) -> None:
        self.first_instance = first_instance
        self.start_m, self.end_m = -_MARGIN_M, length_m + _MARGIN_M
        self.ground = _lay_ground(self.start_m, self.end_m, rng)
        self._rng = rng
        self._static_seed = int(rng.integers(1 << 62))
        self.traffic = self._plan_traffic()

    def lane_m(self) -> float:
        """Return where the middle of the sensor's lane is, across the street."""
        return -self.ground.half_road_m / 2

    def frame(self, along_m: float, across_m: float, turn: float = 0.0) -> Frame:
        """Return the frame of something on the ground, headed along the street plus `turn`."""
        x, y, heading = self.ground.to_world(along_m, across_m)
        height = ground_height(x, y, self.ground.packed(), self.ground.crossings, self.ground.zones)
        return Frame(x, y, float(height), heading + turn)

    def scene_at(self, time_s: float) -> Scene:
        """Return the world at a moment: what stands, and what moves where it is then."""
        scene = SceneBuilder(first_instance=self.first_instance)
        rng = np.random.default_rng(self._static_seed)
        for side in (1.0, -1.0):
            self._line_side(scene, side, rng)
        for moving in self.traffic:
            along = moving.along_m + moving.speed_m_s * time_s
            turn = 0.0 if moving.speed_m_s >= 0 else np.pi
            frame = self.frame(along, moving.across_m, turn)
            chance = np.random.default_rng(moving.seed)
            if moving.what == Kind.MOVING_CAR:
                objects.add_car(scene, frame, chance, Kind.MOVING_CAR)
            elif moving.what in (Kind.MOVING_TRUCK, Kind.BUS):
                objects.add_truck(scene, frame, chance, moving.what)
            elif moving.what == Kind.MOVING_PERSON:
                objects.add_person(scene, frame, chance, Kind.MOVING_PERSON)
            else:
                objects.add_rider(scene, frame, moving.what, chance)
        return scene.build(self.ground)

    def in_crossing(self, along_m: float, margin_m: float = 0.0) -> bool:
        """Return whether a place along the street lies in a cross street."""
        return any(
            abs(along_m - middle) < half + margin_m for middle, half in self.ground.crossings
        )

    def _between_crossings(self, margin_m: float) -> list[tuple[float, float]]:
        """Return the stretches of street without a cross street, at least 6 m long."""
        stretches, along = [], self.start_m
        for middle, half in self.ground.crossings:
            stretches.append((along, float(middle - half - margin_m)))
            along = float(middle + half + margin_m)
        stretches.append((along, self.end_m))
        return [(first, last) for first, last in stretches if last - first >= 6.0]

    def _plan_traffic(self) -> list[Traffic]:
        """Return what moves: two lanes whose members keep their distances, riders, walkers."""
        rng, plan = self._rng, []
        lane = self.ground.half_road_m / 2
        reach = self.end_m - self.start_m
        for across, speed in ((-lane, _LANE_SPEED_M_S), (lane, -0.9 * _LANE_SPEED_M_S)):
            first, last = self.start_m - reach * (speed > 0), self.end_m + reach * (speed < 0)
            along = first + float(rng.uniform(0, 30))
            while along < last:
                # Nobody drives where the sensor itself is.
                if across > 0 or abs(along) > 14.0:
                    kind = Kind(
                        rng.choice(
                            [Kind.MOVING_CAR, Kind.MOVING_TRUCK, Kind.BUS, Kind.MOTORCYCLIST],
                            p=[0.89, 0.04, 0.02, 0.05],
                        )
                    )
                    plan.append(Traffic(kind, along, across, speed, int(rng.integers(1 << 62))))
                along += float(rng.uniform(22, 110))
        edge = self.ground.half_road_m - 0.5
        for _ in range(max(2, int(reach / 60))):
            side = 1.0 if rng.random() < 0.5 else -1.0
            along = float(rng.uniform(self.start_m, self.end_m))
            plan.append(
                Traffic(Kind.BICYCLIST, along, side * edge, -side * 4.0, int(rng.integers(1 << 62)))
            )
        for _ in range(max(3, int(reach / 30))):
            side = 1.0 if rng.random() < 0.5 else -1.0
            along = float(rng.uniform(self.start_m, self.end_m))
            across = side * (self._sidewalk(side)[0] + float(rng.uniform(0.5, 1.8)))
            speed = float(rng.choice([-1.2, 1.2]))
            plan.append(
                Traffic(Kind.MOVING_PERSON, along, across, speed, int(rng.integers(1 << 62)))
            )
        return plan

    def _sidewalk(self, side: float) -> tuple[float, float]:
        """Return the inner and outer edge of a side's sidewalk, as distances from the middle."""
        ground = self.ground
        if side > 0:
            inner = ground.half_road_m + ground.parking_left_m
            return inner, inner + ground.sidewalk_left_m
        inner = ground.half_road_m + ground.parking_right_m
        return inner, inner + ground.sidewalk_right_m

    def _line_side(self, scene: SceneBuilder, side: float, rng: np.random.Generator) -> None:
        """Put up one side: parked vehicles, curb furniture, then lot after lot."""
        inner, outer = self._sidewalk(side)
        self._park(scene, side, inner, rng)
        self._furnish(scene, side, inner, rng)
        for first, last in self._between_crossings(3.0):
            along = first
            while along < last:
                width = float(rng.uniform(9, 24))
                # What is left at the end goes to the last lot, so that none is a sliver.
                if last - along - width < 6.0:
                    width = last - along
                middle = along + width / 2
                if self._is_open(middle, side * (outer + 4.0)):
                    self._open_lot(scene, side, outer, middle, width, rng)
                elif rng.random() < 0.6:
                    self._house_lot(scene, side, outer, middle, width, rng)
                else:
                    self._green_lot(scene, side, outer, middle, width, rng)
                along += width
        self._fill_behind(scene, side, outer, rng)

    def _fill_behind(
        self, scene: SceneBuilder, side: float, outer: float, rng: np.random.Generator
    ) -> None:
        """Put a second row of houses and, behind everything, a line of trees."""
        along = self.start_m
        while along < self.end_m:
            width = float(rng.uniform(10, 26))
            middle = along + width / 2
            if rng.random() < 0.45 and not self.in_crossing(middle, width / 2 + 1.0):
                height = float(rng.uniform(4, 9))
                depth = outer + float(rng.uniform(20, 32))
                scene.add(
                    Shape.FACADE,
                    self.frame(middle, side * depth, float(rng.normal(scale=0.1))),
                    (0.0, 0.0, height / 2 - 0.5),
                    (0.4 * width, 4.5, height / 2 + 0.5),
                    Kind.BUILDING,
                    Material.PLASTER,
                    extra=(float(rng.uniform(2.2, 3.6)), 0.45, 103.0),
                )
            row = outer + float(rng.uniform(32, 42))
            for tree in np.arange(along, along + width, float(rng.uniform(2.5, 6.0))):
                size = float(rng.uniform(1.3, 3.2))
                scene.add(
                    Shape.FOLIAGE,
                    self.frame(float(tree), side * (row + float(rng.normal(scale=1.5)))),
                    (0.0, 0.0, size + float(rng.uniform(-0.6, 1.2))),
                    (size, size, size * float(rng.uniform(0.8, 1.5))),
                    Kind.VEGETATION,
                    Material.FOLIAGE,
                    extra=(float(rng.uniform(0.4, 1.2)), 0.0, 0.0),
                )
            for _ in range(int(rng.integers(0, 3))):
                place = self.frame(
                    middle + float(rng.uniform(-0.5, 0.5)) * width,
                    side * (outer + float(rng.uniform(14, 32))),
                )
                objects.add_tree(scene, place, rng)
            along += width

    def _park(
        self, scene: SceneBuilder, side: float, inner: float, rng: np.random.Generator
    ) -> None:
        """Fill the parking strip, if there is one, with gaps."""
        ground = self.ground
        strip = ground.parking_left_m if side > 0 else ground.parking_right_m
        if strip <= 0:
            return
        along = self.start_m + 3
        occupied = float(rng.uniform(0.15, 0.6))
        while along < self.end_m:
            if not self.in_crossing(along, 5.0) and rng.random() < occupied:
                turn = float(rng.normal(scale=0.03)) + (np.pi if side > 0 else 0.0)
                across = side * (inner - strip / 2 + float(rng.normal(scale=0.1)))
                frame = self.frame(along, across, turn)
                choice = rng.random()
                if choice < 0.86:
                    objects.add_car(scene, frame, rng)
                elif choice < 0.91:
                    objects.add_truck(scene, frame, rng)
                    along += 3.0
                elif choice < 0.95:
                    objects.add_trailer(scene, frame, rng)
                else:
                    objects.add_motorcycle(scene, frame)
            along += float(rng.uniform(5.8, 7.2))

    def _furnish(
        self, scene: SceneBuilder, side: float, inner: float, rng: np.random.Generator
    ) -> None:
        """Put lamps, signs, bins and trees along the curb, bicycles and people on the sidewalk."""
        along = self.start_m + float(rng.uniform(0, 20))
        trees = rng.random() < 0.5
        while along < self.end_m:
            if not self.in_crossing(along, 2.0):
                towards_road = -side * np.pi / 2
                curbside = self.frame(along, side * (inner + 0.35), towards_road)
                choice = rng.random()
                if choice < 0.22:
                    objects.add_lamp(scene, curbside, rng)
                elif choice < 0.40:
                    facing = np.pi if side < 0 else 0.0
                    objects.add_sign(scene, self.frame(along, side * (inner + 0.35), facing), rng)
                elif choice < 0.52:
                    along_curb = self.frame(along, side * (inner + 0.4))
                    objects.add_street_furniture(scene, along_curb, rng)
                elif choice < 0.64:
                    leaning = float(rng.normal(scale=0.2))
                    objects.add_bicycle(scene, self.frame(along, side * (inner + 1.9), leaning))
                elif choice < 0.72:
                    objects.add_person(
                        scene,
                        self.frame(along, side * (inner + 1.2), float(rng.uniform(0, 6.28))),
                        rng,
                    )
                elif trees:
                    objects.add_tree(scene, self.frame(along, side * (inner + 0.5)), rng)
            along += float(rng.uniform(5, 11))
        for middle, half in self.ground.crossings:
            corner = self.frame(middle - half - 1.0, side * (inner + 0.5), np.pi)
            objects.add_traffic_light(scene, corner)

    def _house_lot(
        self,
        scene: SceneBuilder,
        side: float,
        outer: float,
        middle: float,
        width: float,
        rng: np.random.Generator,
    ) -> None:
        """Put up a building behind a front yard with a fence, a hedge, a wall or nothing."""
        yard = float(rng.choice([0.0, 1.5, 3.0, 5.0], p=[0.2, 0.2, 0.3, 0.3]))
        depth, height = float(rng.uniform(7, 12)), float(rng.uniform(4, 13))
        gap = float(rng.choice([0.0, 1.5, 3.5]))
        front = outer + yard
        frame = self.frame(middle, side * (front + depth / 2))
        material = Material.PLASTER if rng.random() < 0.6 else Material.BRICK
        bay = float(rng.uniform(2.2, 3.6))
        scene.add(
            Shape.FACADE,
            frame,
            (0.0, 0.0, height / 2 - 0.3),
            ((width - gap) / 2, depth / 2, height / 2 + 0.3),
            Kind.BUILDING,
            material,
            extra=(bay, float(rng.uniform(0.35, 0.6)), float(rng.uniform(100, 110))),
        )
        if rng.random() < 0.4:
            # A bay or an entrance that stands out of the facade.
            out = float(rng.uniform(0.3, 1.2)) if yard > 0 else 0.25
            scene.add(
                Shape.BOX,
                frame,
                (float(rng.uniform(-0.3, 0.3)) * width, -side * (depth / 2 + out / 2), 1.6),
                (float(rng.uniform(0.6, 1.5)), out / 2, 1.9),
                Kind.BUILDING,
                material,
            )
        if yard <= 0:
            return
        self._border(scene, side, outer + 0.15, middle, (width - gap) / 2, rng)
        if gap > 3.0 and rng.random() < 0.6:
            drive = self.frame(middle + width / 2 - 0.3, side * (outer + 3.0), np.pi / 2)
            objects.add_car(scene, drive, rng)
        for _ in range(int(rng.integers(1, 7))):
            place = self.frame(
                middle + float(rng.uniform(-0.4, 0.4)) * width,
                side * (outer + float(rng.uniform(0.4, 1.0)) * yard),
            )
            if rng.random() < 0.2 and yard > 2.5:
                objects.add_tree(scene, place, rng)
            else:
                objects.add_bush(scene, place, rng)

    def _border(
        self,
        scene: SceneBuilder,
        side: float,
        across: float,
        middle: float,
        half_width: float,
        rng: np.random.Generator,
    ) -> None:
        """Separate a yard from the sidewalk."""
        choice = rng.random()
        frame = self.frame(middle, side * across)
        height = float(rng.uniform(0.8, 1.7))
        if choice < 0.33:
            scene.add(
                Shape.MESH,
                frame,
                (0.0, 0.0, height / 2),
                (half_width, 0.02, height / 2),
                Kind.FENCE,
                Material.METAL,
                extra=(0.55, 0.0, 0.0),
            )
        elif choice < 0.46:
            scene.add(
                Shape.BOX,
                frame,
                (0.0, 0.0, height / 2),
                (half_width, 0.03, height / 2),
                Kind.FENCE,
                Material.WOOD,
            )
        elif choice < 0.84:
            scene.add(
                Shape.HEDGE,
                frame,
                (0.0, side * 0.35, height / 2),
                (half_width, 0.35, height / 2),
                Kind.VEGETATION,
                Material.FOLIAGE,
                extra=(0.12, 0.0, 0.0),
            )
        elif choice < 0.93:
            scene.add(
                Shape.BOX,
                frame,
                (0.0, 0.0, 0.35),
                (half_width, 0.12, 0.45),
                Kind.WALL,
                Material.BRICK,
            )

    def _green_lot(
        self,
        scene: SceneBuilder,
        side: float,
        outer: float,
        middle: float,
        width: float,
        rng: np.random.Generator,
    ) -> None:
        """Leave a lot green: trees and bushes, perhaps a fence in front."""
        if rng.random() < 0.6:
            self._border(scene, side, outer + 0.15, middle, width / 2, rng)
        for _ in range(int(rng.integers(5, 14))):
            place = self.frame(
                middle + float(rng.uniform(-0.5, 0.5)) * width,
                side * (outer + float(rng.uniform(1.0, 16.0))),
            )
            if rng.random() < 0.5:
                objects.add_tree(scene, place, rng)
            else:
                objects.add_bush(scene, place, rng)

    def _open_lot(
        self,
        scene: SceneBuilder,
        side: float,
        outer: float,
        middle: float,
        width: float,
        rng: np.random.Generator,
    ) -> None:
        """Leave a paved or gravel lot open: a few cars, a lorry, bushes at its back."""
        slots = np.arange(middle - 0.4 * width, middle + 0.4 * width, 3.0)
        for along in slots[rng.random(len(slots)) < 0.3]:
            frame = self.frame(float(along), side * (outer + 7.0), np.pi / 2)
            if rng.random() < 0.85:
                objects.add_car(scene, frame, rng)
            else:
                objects.add_trailer(scene, frame, rng)
        for _ in range(int(rng.integers(2, 6))):
            along = middle + float(rng.uniform(-0.5, 0.5)) * width
            place = self.frame(along, side * (outer + float(rng.uniform(15.0, 18.0))))
            objects.add_bush(scene, place, rng)

    def _is_open(self, along: float, across: float) -> bool:
        """Return whether a zone, and so no building, covers a place."""
        return any(
            start <= along < end and low <= across < high
            for start, end, low, high, _, _ in self.ground.zones
        )


def _lay_ground(start_m: float, end_m: float, rng: np.random.Generator) -> Ground:
    """Draw a cross-section, bends, cross streets and zones."""
    crossings = []
    along = start_m + float(rng.uniform(30, 80))
    while along < end_m:
        crossings.append((along, float(rng.uniform(2.8, 4.0))))
        along += float(rng.uniform(60, 130))
    half_road = float(rng.uniform(2.9, 4.2))
    left = float(rng.choice([0.0, 2.1], p=[0.3, 0.7]))
    right = float(rng.choice([0.0, 2.1], p=[0.4, 0.6]))
    walk_left, walk_right = float(rng.uniform(1.8, 3.4)), float(rng.uniform(1.8, 3.4))
    zones = []
    along = start_m
    while along < end_m:
        side = 1.0 if rng.random() < 0.5 else -1.0
        beyond = half_road + (left + walk_left if side > 0 else right + walk_right)
        span = float(rng.uniform(12, 25))
        kind = Kind.OTHER_GROUND if rng.random() < 0.7 else Kind.PARKING
        low, high = sorted((side * beyond, side * (beyond + 18.0)))
        zones.append((along, along + span, low, high, float(kind), 1.0))
        along += span + float(rng.uniform(30, 90))
    return Ground(
        half_road_m=half_road,
        parking_left_m=left,
        parking_right_m=right,
        sidewalk_left_m=walk_left,
        sidewalk_right_m=walk_right,
        curb_m=float(rng.uniform(0.08, 0.15)),
        bend_m=float(rng.uniform(0, 12)),
        bend_length_m=float(rng.uniform(45, 90)),
        hill_m=float(rng.uniform(0, 0.8)),
        hill_length_m=float(rng.uniform(60, 120)),
        bump_m=float(rng.uniform(0.02, 0.08)),
        marking_m=float(rng.choice([0.0, 0.12])),
        crossings=np.array(crossings, dtype=np.float64).reshape(-1, 2),
        zones=np.array(zones, dtype=np.float64).reshape(-1, 6),
    )
