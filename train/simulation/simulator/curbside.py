"""What stands along a curb: parked vehicles, furniture, people; and what a street has now and then.

At crossings: lights, signs, islands' posts, who waits. Elsewhere: building sites, police, litter.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from train.simulation.simulator import objects, people, vehicles
from train.simulation.simulator.layout import Crossing, Stretch
from train.simulation.simulator.parts import Spot, pick, pick_below
from train.simulation.simulator.roadside import Roadside, Site
from train.simulation.simulator.surfaces import Kind, Material
from train.simulation.simulator.traffic import DRAW

_NEAR_M: Final = 45.0
_WAITING: Final = {
    Kind.CAR: (0.62, 4.6, 0.95),
    Kind.TRUCK: (0.06, 8.4, 1.25),
    Kind.BUS: (0.04, 12.2, 1.25),
    Kind.MOTORCYCLIST: (0.1, 2.0, 0.4),
    Kind.BICYCLIST: (0.18, 2.0, 0.4),
}
"""Who waits at a stop line: share, length and half width in meters."""

_PARKED: Final = {"car": 0.88, "lorry": 0.92, "trailer": 0.95, "motorcycles": 1.0}
_HALF_SLOT_M: Final = {"car": 2.6, "lorry": 4.6, "trailer": 2.6, "motorcycles": 1.6}
_ON_SIDEWALKS: Final = ("sign", "item", "bicycle", "rack", "bins", "group")
_IN_TOWNS: Final = dict(zip(_ON_SIDEWALKS, (0.17, 0.38, 0.46, 0.5, 0.53, 0.6), strict=True))
_ELSEWHERE: Final = dict(zip(_ON_SIDEWALKS, (0.17, 0.38, 0.41, 0.42, 0.45, 0.475), strict=True))
"""Shares, each above the one before, of what is parked, and of what stands on sidewalks in towns
and elsewhere; above all, nothing."""


def park(at: Roadside) -> None:
    """Fill the parking strip, if there is one, with gaps."""
    if at.parking <= 0:
        return
    along = at.start_m + 3
    occupied = at.uniform(0.1, 0.65)
    while along < at.end_m:
        length = 5.0
        if at.is_free(along, 6.5) and at.chance(occupied):
            # Some park against the traffic.
            against = np.pi if at.chance(0.12) else 0.0
            turn = float(at.rng.normal(scale=0.03)) + at.with_traffic + against
            out = at.curb - at.parking / 2 + float(at.rng.normal(scale=0.1))
            what = pick_below(at.rng, _PARKED)
            half = _HALF_SLOT_M[what]
            middle = along - 2.5 + half
            if not at.take(at.spot(middle, out, turn), half, 0.95):
                length = 1.5
            elif what == "car":
                length = vehicles.add_car(at.spot(along, out, turn))
            elif what == "lorry":
                length = 9.2
                vehicles.add_truck(at.spot(middle, out, turn))
            elif what == "trailer":
                vehicles.add_trailer(at.spot(along, out, turn))
            else:
                length = 3.5
                for shift in np.arange(-0.9, 1.0, 0.9)[: int(at.rng.integers(1, 4))]:
                    people.add_motorcycle(at.spot(middle + float(shift), out, -1.2 * at.side))
        along += length + at.uniform(0.8, 1.8)


def furnish(at: Roadside) -> None:
    """Put lamps at even distances, and in between whatever a sidewalk holds."""
    start, end, town = at.start_m, at.end_m, at.layout.setting == "town"
    spacing = at.uniform(28, 48)
    for along in np.arange(start + at.uniform(0, spacing), end, spacing):
        if at.is_free(float(along), 1.5):
            at.put(at.facing(float(along), at.curb + 0.4), (0.15, 0.15), objects.add_lamp)
    trees = at.uniform(7, 13) if at.walk > 2.2 and at.chance(0.45) else 0.0
    if trees:
        size = at.uniform(0.8, 1.2)
        for along in np.arange(start + at.uniform(1, trees), end, trees):
            if at.is_free(float(along), 3.0) and at.chance(0.85):
                tree = at.spot(float(along), at.curb + 0.65)
                at.put(tree, (0.3, 0.3), objects.add_street_tree, size)
    along = start + at.uniform(0, 8)
    while along < end:
        if at.is_free(along, 2.5):
            _put_one(at, along, town=town)
        along += at.uniform(4, 9) if town else at.uniform(5, 12)


def _put_one(at: Roadside, along: float, *, town: bool) -> None:
    """Put one thing, or somebody, on the sidewalk."""
    what = pick_below(at.rng, _IN_TOWNS if town else _ELSEWHERE)
    at_curb = at.spot(along, at.curb + 0.4)
    at_back = at.spot(along, at.curb + at.walk - 0.35, float(at.rng.normal(scale=0.1)))
    if what == "sign":
        facing = np.pi if at.side < 0 else 0.0
        if at.chance(0.06):
            objects.add_big_sign(at.spot(along, at.curb + at.walk, facing))
        elif at.take(at_curb, 0.15, 0.3):
            frame = at_curb.frame
            objects.add_sign(at_curb.at(frame._replace(yaw=frame.yaw + facing)))
    elif what == "item":
        at.put(at_curb, (1.7, 0.3), objects.add_street_furniture)
    elif what == "bicycle":
        # Leaning on a wall or fence at the back of the sidewalk.
        at.put(at_back, (1.0, 0.3), people.add_bicycle)
    elif what == "rack" and at.walk > 2.2:
        add_rack(at, along)
    elif what == "bins":
        at.put(at_back, (1.2, 0.4), objects.add_bins)
    elif what == "group":
        _stand_together(at, along, at.curb + 0.55 * at.walk)


def add_rack(at: Roadside, along: float) -> None:
    """Put up hoops across the sidewalk's inner half, with bicycles at some of them."""
    count, pitch, out = int(at.rng.integers(3, 7)), 0.9, at.curb + 1.0
    rack = at.spot(along, out, np.pi / 2)
    if not at.take(rack, 1.0, 0.5 * count * pitch):
        return
    objects.add_bicycle_rack(rack, count, pitch)
    for number in range(count):
        if at.chance(0.6):
            left = (number - (count - 1) / 2) * pitch
            shift = left + (0.16 if at.chance(0.5) else -0.16)
            turn = np.pi / 2 + (np.pi if at.chance(0.5) else 0.0)
            turn += float(at.rng.normal(scale=0.06))
            people.add_bicycle(at.spot(along - shift, out, turn))


def _stand_together(at: Roadside, along: float, out: float) -> None:
    """Put one or a few who stand and face one another; some are children."""
    count = int(at.rng.integers(1, 4))
    start = at.uniform(0, 2 * np.pi)
    if not at.take(at.spot(along, out), 0.8, 0.8):
        return
    for number in range(count):
        turn = start + 2 * np.pi * number / count
        reach = 0.5 if count > 1 else 0.0
        across = at.side * out - reach * float(np.sin(turn))
        spot = at.spot(along - reach * float(np.cos(turn)), at.side * across, turn)
        kind = Kind.CHILD if count > 1 and at.chance(0.2) else Kind.PERSON
        people.add_person(spot, kind)


def add_bus_stop(at: Roadside, along: float) -> None:
    """Put up a shelter with who waits there, and a bus before it where there is room."""
    shelter = at.facing(along, at.curb + at.walk - 0.8)
    if not at.take(shelter, 0.8, 2.6):
        return
    objects.add_shelter(shelter)
    for _ in range(int(at.rng.integers(1, 5))):
        spot = at.spot(along + at.uniform(-2.5, 2.5), at.curb + at.uniform(0.5, 1.2))
        yaw = spot.frame.yaw - at.side * np.pi / 2 + at.uniform(-0.7, 0.7)
        at.put(spot.at(spot.frame._replace(yaw=yaw)), (0.3, 0.3), people.add_person)
    if at.parking > 0 and at.chance(0.5):
        bus = at.spot(along, at.curb - 1.4, at.with_traffic)
        at.put(bus, (6.2, 1.3), vehicles.add_bus, Kind.BUS)


def add_guard_rail(at: Roadside, span: tuple[float, float]) -> None:
    """Put a guard rail with its posts between carriageway and sidewalk."""
    for along in np.arange(*span, 4.0):
        rail = at.spot(float(along) + 2.0, at.curb + 0.3).parts(Kind.FENCE)
        rail.box((0.0, 0.0, 0.6), (2.0, 0.04, 0.16), Material.METAL)
        rail.post((0.0, 0.0), 0.06, 0.0, 0.7, Material.METAL)


def equip(site: Site) -> None:
    """Put up every crossing's lights or signs, and let some wait there."""
    for crossing in site.layout.crossings:
        at = _Junction(site.layout, site.scene, site.rng, site.taken, crossing)
        if crossing.lights:
            at.signals()
        else:
            at.signs()
        if at.chance(0.6):
            arm = crossing.arms[0]
            objects.add_street_name(at.spot(crossing.along_m + crossing.reach_m - 0.4, arm, 0.5))
        for arm in crossing.arms:
            at.queue(arm)
            at.wait_to_cross(arm)


@dataclass(frozen=True)
class _Junction(Site):
    """A crossing while things are put there."""

    crossing: Crossing

    def spot(self, along_m: float, arm: float, beyond_m: float, turn: float = 0.0) -> Spot:
        """Return a place along the main street, so far beyond its curb on a arm's side."""
        return self.place(along_m, arm * (self.layout.curb(arm) + beyond_m), turn)

    def signals(self) -> None:
        """Put lights before the crossing on the main street's right sides, and in the arms."""
        layout, half, middle = self.layout, self.crossing.half_m, self.crossing.along_m
        long_arm = layout.half_road_m > 5.0
        for sense in (1.0, -1.0):
            turn = np.pi if sense > 0 else 0.0
            # Seen from the light, which looks at the driver, the carriageway is to its right.
            reach = (layout.parking[-sense] + 0.6 * layout.half_road_m) if long_arm else 0.0
            light = self.spot(middle - sense * (half + 4.6), -sense, 0.4, turn)
            objects.add_traffic_light(light, arm_m=-reach)
        for arm in self.crossing.arms:
            along = middle - arm * (half + 0.5)
            objects.add_traffic_light(self.spot(along, arm, 3.4, arm * np.pi / 2))

    def signs(self) -> None:
        """Put signs that say who gives way at the arms, and islands' posts."""
        layout, crossing = self.layout, self.crossing
        for arm in crossing.arms:
            # The sign faces who comes out of the arm.
            along = crossing.along_m - arm * (crossing.half_m + 0.4)
            objects.add_sign(self.spot(along, arm, 4.6, arm * np.pi / 2))
        if not layout.median_m and layout.half_road_m > 3.5 and crossing.zebra:
            for side in (1.0, -1.0):
                along = crossing.along_m + side * (crossing.half_m + 6.4)
                island = self.place(along, 0.0, 0.0 if side > 0 else np.pi)
                island.parts(Kind.POLE).post((0.0, 0.0), 0.04, 0.0, 1.3, Material.METAL)
                sign = island.parts(Kind.SIGN).shifted(0.05, 0.0, np.pi / 2)
                sign.wheel((0.0, 0.0, 1.1), 0.25, 0.012, Material.REFLECTOR)

    def queue(self, arm: float) -> None:
        """Let some vehicles stand at the stop line of a arm."""
        if not self.chance(0.5 if self.crossing.lights else 0.3):
            return
        across = self.layout.curb(arm) + 4.6
        lane = self.crossing.along_m - arm * self.crossing.half_m / 2
        shares = {kind: row[0] for kind, row in _WAITING.items()}
        for _ in range(int(self.rng.integers(1, 4))):
            kind = pick(self.rng, shares)
            _, length, half_width = _WAITING[kind]
            spot = self.place(lane, arm * (across + length / 2), -arm * np.pi / 2)
            if across + length > 45.0 or not self.take(spot, length / 2, half_width):
                return
            DRAW[kind](spot, kind)
            across += length + self.uniform(1.2, 2.5)

    def wait_to_cross(self, arm: float) -> None:
        """Let some people stand at the curb before the stripes."""
        if not self.crossing.zebra or not self.chance(0.5):
            return
        for _ in range(int(self.rng.integers(1, 4))):
            sense = self.either_side()
            reach = self.crossing.half_m + self.uniform(3.2, 4.2)
            beyond = self.uniform(0.4, 1.0)
            turn = -arm * np.pi / 2 + self.uniform(-0.5, 0.5)
            kind = Kind.CHILD if self.chance(0.2) else Kind.PERSON
            spot = self.spot(self.crossing.along_m + sense * reach, arm, beyond, turn)
            self.put(spot, (0.25, 0.3), people.add_person, kind)


def happen(left: Roadside, right: Roadside) -> None:
    """Put up what this street has of all that beside the main street."""
    layout = left.layout
    for works in layout.works:
        _works(left if works.side > 0 else right, works)
    if left.chance(0.5 if layout.setting != "suburb" else 0.3):
        add_bus_stop(*_place(left, right, 7.0))
    if left.chance(0.2):
        _police(*_place(left, right, 5.0))
    if left.chance(0.13):
        at, along = _place(left, right, 5.0)
        spot = at.spot(along, at.curb + (-1.1 if at.parking > 0 else 0.9), at.with_traffic)
        at.put(spot, (3.0, 1.1), vehicles.add_car, Kind.AMBULANCE)
    for share, add in (
        (0.55, objects.add_debris),
        (0.4, objects.add_vapour),
        (0.2, objects.add_bins),
    ):
        for _ in range(int(left.rng.integers(1, 3)) if left.chance(share) else 0):
            at, along = _place(left, right, 2.0)
            spot = at.spot(along, at.curb + at.uniform(0.3, 0.9), at.uniform(0, 6.28))
            at.put(spot, (0.7, 0.5), add)
    if left.chance(0.3):
        add_rack(*_place(left, right, 3.0))
    if layout.setting != "town" and left.parking == 0 and left.chance(0.25):
        start = left.uniform(-_NEAR_M, layout.length_m)
        span = (start, start + left.uniform(12, 40))
        for first, last in left.stretches(4.0):
            low, high = max(first, span[0]), min(last, span[1])
            if high - low > 8.0:
                add_guard_rail(left, (low, high - 4.0))


def _place(left: Roadside, right: Roadside, margin_m: float) -> tuple[Roadside, float]:
    """Return a side and a place along it near where the sensor drives, clear of cross streets."""
    for _ in range(50):
        at = left if left.chance(0.5) else right
        along = at.uniform(-_NEAR_M, at.layout.length_m + _NEAR_M)
        if at.is_free(along, margin_m):
            return at, along
    # Cross streets never take all: the far end of the street is always free.
    return left, left.end_m - margin_m


def _police(at: Roadside, along: float) -> None:
    """Park a police car at the curb, its crew beside it."""
    out = at.curb + (-1.05 if at.parking > 0 else 0.95)
    car = at.spot(along, out, at.with_traffic)
    if not at.take(car, 2.5, 1.0):
        return
    vehicles.add_car(car, Kind.POLICE_CAR)
    for number in range(int(at.rng.integers(1, 3))):
        beside = along + (3.2 if number else -3.2) + at.uniform(-0.5, 0.5)
        spot = at.spot(beside, out + at.uniform(0.0, 1.0), at.uniform(0, 6.28))
        at.put(spot, (0.3, 0.3), people.add_person, Kind.POLICE_OFFICER)


def _works(at: Roadside, works: Stretch) -> None:
    """Close off a building site and fill it with machines, workers and heaps."""
    start, end = works.start_m, works.end_m
    inner, outer = at.half_road_m + 0.35, at.outer + 2.0
    for along in np.arange(start + 1.0, end - 1.0, 2.05):
        if at.chance(0.85):
            objects.add_barrier(at.spot(float(along), inner, float(at.rng.normal(scale=0.05))))
    for along in (start, end):
        for out in np.arange(inner + 1.0, outer, 2.05):
            objects.add_barrier(at.spot(along, float(out), np.pi / 2))
    # Cones lead the traffic past, closer to the curb the further away.
    sense = -at.side
    before = start if sense > 0 else end
    for number in range(int(at.rng.integers(5, 10))):
        along = before - sense * (1.0 + 1.6 * number)
        objects.add_cone(at.spot(along, min(inner - 0.2 + 0.12 * number, at.curb + 0.2)))
    for _ in range(int(at.rng.integers(2, 6))):
        objects.add_cone(at.spot(at.uniform(start, end), inner - 0.35))
    middle = (start + end) / 2 + at.uniform(-2, 2)
    turn = float(at.rng.choice([0.0, np.pi])) + at.uniform(-0.3, 0.3)
    machine = at.spot(middle, (inner + outer) / 2 + 0.5, turn)
    at.taken.record(machine.frame, 2.6, 1.3)
    vehicles.add_construction_vehicle(machine)
    for _ in range(int(at.rng.integers(1, 5))):
        along = middle + float(at.rng.choice([-1.0, 1.0])) * at.uniform(2.8, (end - start) / 2)
        along = min(max(along, start + 0.8), end - 0.8)
        spot = at.spot(along, at.uniform(inner + 0.8, outer - 0.5), at.uniform(0, 6.28))
        at.put(spot, (0.3, 0.3), people.add_person, Kind.CONSTRUCTION_WORKER)
    for _ in range(int(at.rng.integers(1, 4))):
        objects.add_debris(at.spot(at.uniform(start + 1, end - 1), outer - 0.6))
    facing = np.pi if at.side < 0 else 0.0
    objects.add_sign(at.spot(before - sense * 14.0, at.curb + 0.4, facing))
