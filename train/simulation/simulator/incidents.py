"""What a street holds now and then: building sites, police, an ambulance, dogs, litter, steam."""

import numpy as np

from train.simulation.simulator import curbside, heavy, objects, people, vehicles
from train.simulation.simulator.course import Roadside
from train.simulation.simulator.layout import Stretch
from train.simulation.simulator.surfaces import Kind

_NEAR_M = 45.0


def happen(left: Roadside, right: Roadside) -> None:
    """Put up what this street has of all that beside the main street."""
    course, layout = left.course, left.course.layout
    for works in layout.works:
        _works(left if works.side > 0 else right, works)
    if left.chance(0.5 if layout.setting != "suburb" else 0.3):
        curbside.add_bus_stop(*_place(left, right, 7.0))
    if left.chance(0.2):
        _police(*_place(left, right, 5.0))
    if left.chance(0.13):
        at, along = _place(left, right, 5.0)
        spot = at.spot(along, at.curb + (-1.1 if at.parking > 0 else 0.9), _with_traffic(at))
        if at.take(spot, 3.0, 1.1):
            vehicles.add_car(spot, Kind.AMBULANCE)
    for share, add in (
        (0.55, objects.add_debris),
        (0.4, objects.add_vapour),
        (0.2, objects.add_bins),
    ):
        for _ in range(int(left.rng.integers(1, 3)) if left.chance(share) else 0):
            at, along = _place(left, right, 2.0)
            spot = at.spot(along, at.curb + at.uniform(0.3, 0.9), at.uniform(0, 6.28))
            if at.take(spot, 0.7, 0.5):
                add(spot)
    if left.chance(0.3):
        curbside.add_rack(*_place(left, right, 3.0))
    if layout.setting != "town" and left.parking == 0 and left.chance(0.25):
        start = left.uniform(-_NEAR_M, layout.length_m)
        span = (start, start + left.uniform(12, 40))
        for first, last in course.stretches(1.0, 4.0):
            low, high = max(first, span[0]), min(last, span[1])
            if high - low > 8.0:
                curbside.add_guard_rail(left, (low, high - 4.0))


def _place(left: Roadside, right: Roadside, margin_m: float) -> tuple[Roadside, float]:
    """Return a side and a place along it near where the sensor drives, clear of cross streets."""
    for _ in range(50):
        at = left if left.chance(0.5) else right
        along = at.uniform(-_NEAR_M, at.course.layout.length_m + _NEAR_M)
        if at.is_free(along, margin_m):
            return at, along
    # Cross streets never take all: the far end of the street is always free.
    return left, left.course.end_m - margin_m


def _with_traffic(at: Roadside) -> float:
    """Return the turn of who stands on this side as its lanes lead."""
    return np.pi if at.side > 0 else 0.0


def _police(at: Roadside, along: float) -> None:
    """Park a police car at the curb, its crew beside it."""
    out = at.curb + (-1.05 if at.parking > 0 else 0.95)
    car = at.spot(along, out, _with_traffic(at))
    if not at.take(car, 2.5, 1.0):
        return
    vehicles.add_car(car, Kind.POLICE_CAR)
    for number in range(int(at.rng.integers(1, 3))):
        beside = along + (3.2 if number else -3.2) + at.uniform(-0.5, 0.5)
        spot = at.spot(beside, out + at.uniform(0.0, 1.0), at.uniform(0, 6.28))
        if at.take(spot, 0.3, 0.3):
            people.add_person(spot, Kind.POLICE_OFFICER)


def _works(at: Roadside, works: Stretch) -> None:
    """Close off a building site and fill it with machines, workers and heaps."""
    start, end = works.start_m, works.end_m
    inner, outer = at.course.half_road_m + 0.35, at.outer + 2.0
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
    at.course.taken.record(machine.frame, 2.6, 1.3)
    heavy.add_construction_vehicle(machine)
    for _ in range(int(at.rng.integers(1, 5))):
        along = middle + float(at.rng.choice([-1.0, 1.0])) * at.uniform(2.8, (end - start) / 2)
        along = min(max(along, start + 0.8), end - 0.8)
        spot = at.spot(along, at.uniform(inner + 0.8, outer - 0.5), at.uniform(0, 6.28))
        if at.take(spot, 0.3, 0.3):
            people.add_person(spot, Kind.CONSTRUCTION_WORKER)
    for _ in range(int(at.rng.integers(1, 4))):
        objects.add_debris(at.spot(at.uniform(start + 1, end - 1), outer - 0.6))
    facing = np.pi if at.side < 0 else 0.0
    objects.add_sign(at.spot(before - sense * 14.0, at.curb + 0.4, facing))
