"""What moves through a street: vehicles in its lanes, riders beside them, people on foot."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from train.simulation.simulator import people, vehicles
from train.simulation.simulator.layout import Lane, Layout
from train.simulation.simulator.parts import Chance, Point, Spot, pick
from train.simulation.simulator.roadside import Footprints
from train.simulation.simulator.scene import SceneBuilder
from train.simulation.simulator.surfaces import Kind

SPEED_M_S: Final = 8.0
"""How fast the sensor drives, and with it its lane."""

_JAMS: Final = {"suburb": 0.1, "town": 0.25, "arterial": 0.25}
_WALKERS_EVERY_M: Final = {"suburb": 80.0, "town": 24.0, "arterial": 80.0}
_GAPS_M: Final = {"suburb": (35.0, 220.0), "town": (18.0, 110.0), "arterial": (16.0, 90.0)}


class _Vehicle(NamedTuple):
    """A kind of vehicle in a lane: its share and length, and what stands for it in a queue."""

    share: float
    length_m: float
    standing: Kind
    standing_m: float


_VEHICLES: Final = {
    Kind.MOVING_CAR: _Vehicle(0.79, 5.0, Kind.CAR, 5.0),
    Kind.MOVING_TRUCK: _Vehicle(0.06, 9.2, Kind.TRUCK, 9.2),
    Kind.MOVING_BUS: _Vehicle(0.03, 12.4, Kind.BUS, 12.4),
    Kind.MOVING_BENDY_BUS: _Vehicle(0.02, 18.2, Kind.BUS, 12.4),
    Kind.MOVING_TRAILER: _Vehicle(0.04, vehicles.SEMITRAILER_M, Kind.CAR, 5.0),
    Kind.MOVING_MOTORCYCLIST: _Vehicle(0.06, 2.2, Kind.MOTORCYCLIST, 2.2),
    Kind.MOVING_TRAM: _Vehicle(0.14, 26.0, Kind.TRAM, 26.0),
}
"""What drives in lanes; trams, the last, only where there are rails."""

_CROSSING: Final = {Kind.MOVING_CAR: 0.86, Kind.MOVING_TRUCK: 0.06, Kind.MOVING_MOTORCYCLIST: 0.08}
_WALKERS: Final = {
    Kind.MOVING_PERSON: 0.71,
    Kind.ANIMAL: 0.1,
    Kind.STROLLER: 0.07,
    Kind.WHEELCHAIR: 0.08,
    Kind.PERSONAL_MOBILITY: 0.04,
}
_GROUPS: Final = {1: 0.55, 2: 0.27, 3: 0.12, 4: 0.06}
"""Shares of what drives in arms, of who walks first in a group, of how many walk together."""


@dataclass(frozen=True)
class Mover:
    """Something that moves, in a straight line on the street's map.

    Attributes
    ----------
    what
        Its kind; a trailer comes with what pulls it, a stroller or a dog with its person.
    along_m, across_m
        Where its middle is at time 0.
    speed_m_s, sideways_m_s
        Along the street, negative for what comes towards the sensor; across it, to the left.
    seed, reach_m
        What decides its looks, and half its length.
    """

    what: Kind
    along_m: float
    across_m: float
    speed_m_s: float
    sideways_m_s: float
    seed: int
    reach_m: float

    def at(self, time_s: float) -> tuple[float, float]:
        """Return where it is along and across the street."""
        along = self.along_m + self.speed_m_s * time_s
        return along, self.across_m + self.sideways_m_s * time_s

    def draw(self, layout: Layout, scene: SceneBuilder, time_s: float) -> None:
        """Add it to a scene as it is at a moment."""
        rng = np.random.default_rng(self.seed)
        turn = float(np.arctan2(self.sideways_m_s, self.speed_m_s))
        spot = Spot(scene, layout.frame(*self.at(time_s), turn), rng)
        traveled = float(np.hypot(self.speed_m_s, self.sideways_m_s)) * time_s
        if self.what in _ON_FOOT:
            phase = people.stride_phase(traveled) + spot.uniform(0, 2 * np.pi)
            _draw_walker(spot, self.what, phase)
        elif self.what == Kind.MOVING_BICYCLIST:
            pedals = traveled / 0.9 + spot.uniform(0, 2 * np.pi)
            people.add_rider(spot, self.what, phase=pedals)
        elif self.what == Kind.MOVING_TRAILER:
            _draw_with_trailer(spot)
        else:
            DRAW[self.what](spot, self.what)


_COMPANIONS: Final = {Kind.ANIMAL: people.add_dog, Kind.STROLLER: people.add_stroller}
_ON_WHEELS: Final = {
    Kind.WHEELCHAIR: people.add_wheelchair,
    Kind.PERSONAL_MOBILITY: people.add_scooter_rider,
}
_ON_FOOT: Final = frozenset({Kind.MOVING_PERSON, Kind.MOVING_CHILD, *_COMPANIONS, *_ON_WHEELS})

DRAW: Final[Mapping[Kind, Callable[[Spot, Kind], object]]] = {
    Kind.MOVING_CAR: vehicles.add_car,
    Kind.CAR: vehicles.add_car,
    Kind.MOVING_TRUCK: vehicles.add_truck,
    Kind.TRUCK: vehicles.add_truck,
    Kind.MOVING_BUS: vehicles.add_bus,
    Kind.MOVING_BENDY_BUS: vehicles.add_bus,
    Kind.BUS: vehicles.add_bus,
    Kind.MOVING_TRAM: vehicles.add_tram,
    Kind.TRAM: vehicles.add_tram,
    Kind.MOVING_MOTORCYCLIST: people.add_rider,
    Kind.MOTORCYCLIST: people.add_rider,
    Kind.BICYCLIST: people.add_rider,
}
"""What draws a vehicle of each kind."""


def _draw_walker(spot: Spot, kind: Kind, phase: float) -> None:
    if kind in _ON_WHEELS:
        _ON_WHEELS[kind](spot)
        return
    people.add_person(spot, Kind.MOVING_PERSON if kind in _COMPANIONS else kind, phase=phase)
    if kind in _COMPANIONS:
        beside = spot.moved(0.9, 0.45, turn=spot.uniform(-0.3, 0.3))
        _COMPANIONS[kind](beside if kind == Kind.ANIMAL else spot.moved(0.95, 0.0))


def _draw_with_trailer(spot: Spot) -> None:
    if spot.chance(0.5):
        vehicles.add_semitrailer(spot)
    else:
        length = vehicles.add_car(spot.moved(3.2, 0.0), Kind.MOVING_CAR, style="off-road")
        back = spot.moved(3.2 - length / 2 - 3.4, 0.0)
        vehicles.add_trailer(back, Kind.MOVING_TRAILER)


def plan_traffic(layout: Layout, rng: np.random.Generator) -> list[Mover]:
    """Return what moves during a drive; none of it touches another or the sensor's vehicle."""
    planned = [_sensor(layout), *_Planner(layout, rng).everything()]
    return _apart(planned, layout.length_m / SPEED_M_S)[1:]


def _sensor(layout: Layout) -> Mover:
    """Return the sensor's own vehicle."""
    return Mover(Kind.MOVING_CAR, 0.0, layout.sensor_lane.across_m, SPEED_M_S, 0.0, 0, reach_m=3.5)


def keep_clear(layout: Layout, movers: list[Mover], taken: Footprints) -> None:
    """Take all the ground that movers and the sensor's vehicle pass over during a drive."""
    duration = layout.length_m / SPEED_M_S
    for mover in (_sensor(layout), *movers):
        thin = 0.3 if mover.reach_m < 1.5 else 1.3
        heading = float(np.arctan2(mover.sideways_m_s, mover.speed_m_s))
        travel = float(np.hypot(mover.speed_m_s, mover.sideways_m_s)) * duration
        # The way is a chain of short pieces, since the street bends.
        pieces = 1 + int(travel / 6.0)
        for number in range(pieces):
            place = mover.at(duration * (number + 0.5) / pieces)
            frame = layout.frame(*place, heading)
            taken.record(frame, mover.reach_m + travel / pieces / 2, thin)


@dataclass(frozen=True)
class _Planner(Chance):
    """Draws what may move in a street, whether or not there is room for all of it."""

    layout: Layout
    rng: np.random.Generator

    def everything(self) -> Iterator[Mover]:
        """Yield all, what matters most first."""
        layout = self.layout
        # A queue, or a tram at its stop that holds up who is behind it.
        jam = self.chance(_JAMS[layout.setting])
        jam = jam or (layout.tram and self.chance(0.35))
        for lane in layout.lanes:
            yield from self._lane_traffic(lane, stands=jam and lane.sense < 0)
        for more in (self._cross_traffic, self._cyclists, self._walkers, self._crossers):
            yield from more()

    def _mover(self, what: Kind, place: Point, speeds: Point, reach_m: float) -> Mover:
        """Return a mover with looks of its own; its place and speeds go along and across."""
        return Mover(what, *place, *speeds, int(self.rng.integers(1 << 62)), reach_m)

    def _lane_traffic(self, lane: Lane, *, stands: bool) -> Iterator[Mover]:
        """Yield who drives in a lane, or stands in a queue there, at safe distances."""
        layout = self.layout
        speed = 0.0 if stands else lane.sense * SPEED_M_S * (1.0 if lane.sense > 0 else 0.9)
        travel = abs(speed) * layout.length_m / SPEED_M_S
        along = layout.start_m - (travel if lane.sense > 0 else 0.0) + self.uniform(0, 30)
        last = layout.end_m + (travel if lane.sense < 0 else 0.0)
        inner = abs(lane.across_m) <= min(abs(other.across_m) for other in layout.lanes) + 0.1
        kinds = list(_VEHICLES) if layout.tram and inner else list(_VEHICLES)[:-1]
        weights = np.array([_VEHICLES[kind].share for kind in kinds])
        shares = dict(zip(kinds, weights / weights.sum(), strict=True))
        while along < last:
            kind = pick(self.rng, shares)
            vehicle = _VEHICLES[kind]
            reach = (vehicle.standing_m if stands else vehicle.length_m) / 2
            across = lane.across_m + float(self.rng.normal(scale=0.12))
            middle = along + reach
            gaps = ((each.along_m, each.half_m + reach + 1.0) for each in layout.crossings)
            crossed = any(abs(middle - along_m) < gap_m for along_m, gap_m in gaps)
            # Nobody stands where others cross; who stands still faces where the lane leads.
            if not (stands and crossed):
                pace = speed if speed else lane.sense * 1e-9
                what = vehicle.standing if stands else kind
                yield self._mover(what, (middle, across), (pace, 0.0), reach)
            along += 2 * reach
            along += self.uniform(*((1.5, 9) if stands else _GAPS_M[layout.setting]))

    def _cross_traffic(self) -> Iterator[Mover]:
        """Yield who drives in the arms of cross streets, towards the main street or away."""
        for crossing in self.layout.crossings:
            for arm in crossing.arms:
                start = self.layout.curb(arm) + 8.0
                for outwards, low, high in ((1.0, start, 40.0), (-1.0, start + 30.0, 58.0)):
                    if not self.chance(0.3) or low > high:
                        continue
                    kind = pick(self.rng, _CROSSING)
                    along = crossing.along_m + outwards * arm * crossing.half_m / 2
                    across = arm * self.uniform(low, high)
                    speed = outwards * arm * self.uniform(3.0, 6.0)
                    reach = _VEHICLES[kind].length_m / 2
                    yield self._mover(kind, (along, across), (0.0, speed), reach)

    def _cyclists(self) -> Iterator[Mover]:
        layout = self.layout
        for _ in range(max(2, int((layout.end_m - layout.start_m) / 80))):
            side = self.either_side()
            along = self.uniform(layout.start_m, layout.end_m)
            across = side * (layout.half_road_m - self.uniform(0.4, 0.6))
            speed = -side * self.uniform(3.5, 6.0)
            kind = Kind.PERSONAL_MOBILITY if self.chance(0.12) else Kind.MOVING_BICYCLIST
            yield self._mover(kind, (along, across), (speed, 0.0), 1.0)

    def _walkers(self) -> Iterator[Mover]:
        """Yield groups that walk along the sidewalks."""
        layout = self.layout
        length_m = layout.end_m - layout.start_m
        for _ in range(max(3, int(length_m / _WALKERS_EVERY_M[layout.setting]))):
            side = self.either_side()
            along = self.uniform(layout.start_m, layout.end_m)
            low, high = layout.curb(side) + 1.0, layout.outer(side) - 0.4
            across = side * self.uniform(min(low, high), max(low, high))
            pace = self.uniform(0.9, 1.5) * self.either_side()
            if not _walkable(layout, side, along, pace):
                continue
            for number in range(pick(self.rng, _GROUPS)):
                if number == 0:
                    kind = pick(self.rng, _WALKERS)
                else:
                    kind = Kind.MOVING_CHILD if self.chance(0.3) else Kind.MOVING_PERSON
                behind = 0.7 * (number // 2) + self.uniform(0.0, 0.2)
                place = (along - behind, across - side * 0.6 * (number % 2))
                # A group keeps together, so all of it has one pace.
                yield self._mover(kind, place, (pace, 0.0), 0.28)

    def _crossers(self) -> Iterator[Mover]:
        """Yield who walks over the stripes of the main street or of a arm."""
        layout = self.layout
        for crossing in layout.crossings:
            for _ in range(int(self.rng.integers(0, 4)) if crossing.zebra else 0):
                sense = self.either_side()
                pace = self.uniform(0.9, 1.5)
                kind = Kind.MOVING_CHILD if self.chance(0.15) else Kind.MOVING_PERSON
                if self.chance(0.5):
                    end = self.either_side()
                    along = crossing.along_m + end * (crossing.half_m + self.uniform(1.4, 3.8))
                    across = -sense * self.uniform(0.0, layout.half_road_m + 1.0)
                    speeds = (0.0, sense * pace)
                else:
                    arm = crossing.arms[int(self.rng.integers(len(crossing.arms)))]
                    across = arm * (layout.curb(arm) + self.uniform(0.7, 2.8))
                    along = crossing.along_m - sense * self.uniform(0.0, crossing.half_m + 1.0)
                    speeds = (sense * pace, 0.0)
                yield self._mover(kind, (along, across), speeds, 0.28)


def _walkable(layout: Layout, side: float, along: float, pace: float) -> bool:
    """Return whether nothing interrupts the sidewalk where somebody walks during the drive."""
    travel = pace * layout.length_m / SPEED_M_S
    low, high = min(along, along + travel) - 1.0, max(along, along + travel) + 1.0
    return all(last < low or high < first for first, last in layout.blocked(side))


def _apart(planned: list[Mover], duration_s: float) -> list[Mover]:
    """Return those that never come close to one that is listed before them."""
    times = np.linspace(0.0, duration_s, 17)
    paths = np.array([[mover.at(float(time)) for time in times] for mover in planned])
    reach, wide = np.array([_half_sizes(mover) for mover in planned]).T
    kept: list[int] = []
    for number in range(len(planned)):
        gap = np.abs(paths[kept] - paths[number])
        close = gap[..., 0] < (reach[kept] + reach[number] + 0.15)[:, None]
        close &= gap[..., 1] < (wide[kept] + wide[number])[:, None]
        if not close.any():
            kept.append(number)
    return [planned[number] for number in kept]


def _half_sizes(mover: Mover) -> tuple[float, float]:
    """Return how far something reaches along the street and across it."""
    wide = 1.0
    if mover.reach_m < 1.5:
        wide = 0.28 if mover.what in _ON_FOOT else 0.35
    if abs(mover.sideways_m_s) > abs(mover.speed_m_s):
        return wide, mover.reach_m
    return mover.reach_m, wide
