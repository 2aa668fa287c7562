"""What a street holds now and then: building sites, police, an ambulance, dogs, litter, steam."""

import numpy as np

from train.simulation.simulator import curbside, heavy, objects, people, vehicles
from train.simulation.simulator.course import Course
from train.simulation.simulator.layout import Stretch
from train.simulation.simulator.parts import chance, uniform
from train.simulation.simulator.scene import SceneBuilder
from train.simulation.simulator.surfaces import Kind

_NEAR_M = 45.0


def happen(course: Course, scene: SceneBuilder, rng: np.random.Generator) -> None:
    """Put up what this street has of all that; `course` is the main street."""
    layout = course.layout
    for works in layout.works:
        _works(course, scene, works, rng)
    town = layout.setting == "town"
    if chance(rng, 0.5 if layout.setting != "suburb" else 0.3):
        side, along = _place(course, rng, 7.0)
        curbside.add_bus_stop(course, scene, side, along, rng)
    if chance(rng, 0.2):
        _police(course, scene, rng)
    if chance(rng, 0.13):
        side, along = _place(course, rng, 5.0)
        across = side * (course.curb(side) - 1.1)
        turn = np.pi if side > 0 else 0.0
        beside = across if course.parking[side] > 0 else side * (course.curb(side) + 0.9)
        frame = course.frame(along, beside, turn)
        if course.taken.take(frame, 3.0, 1.1):
            vehicles.add_car(scene, frame, rng, Kind.AMBULANCE)
    for share, add in (
        (0.55, objects.add_debris),
        (0.4, objects.add_vapour),
        (0.2, objects.add_bins),
    ):
        for _ in range(int(rng.integers(1, 3)) if chance(rng, share) else 0):
            side, along = _place(course, rng, 2.0)
            across = side * (course.curb(side) + uniform(rng, 0.3, 0.9))
            frame = course.frame(along, across, uniform(rng, 0, 6.28))
            if course.taken.take(frame, 0.7, 0.5):
                add(scene, frame, rng)
    if chance(rng, 0.3):
        side, along = _place(course, rng, 3.0)
        curbside.add_rack(course, scene, side, along, rng)
    if not town and course.parking[1.0] == 0 and chance(rng, 0.25):
        start = uniform(rng, -_NEAR_M, layout.length_m)
        span = (start, start + uniform(rng, 12, 40))
        for first, last in course.stretches(1.0, 4.0):
            low, high = max(first, span[0]), min(last, span[1])
            if high - low > 8.0:
                curbside.add_guard_rail(course, scene, 1.0, (low, high - 4.0))


def _place(course: Course, rng: np.random.Generator, margin_m: float) -> tuple[float, float]:
    """Return a side and a place along it near where the sensor drives, clear of cross streets."""
    for _ in range(50):
        side = 1.0 if chance(rng, 0.5) else -1.0
        along = uniform(rng, -_NEAR_M, course.layout.length_m + _NEAR_M)
        if course.is_free(side, along, margin_m):
            return side, along
    # Cross streets never take all: the far end of the street is always free.
    return 1.0, course.end_m - margin_m


def _police(course: Course, scene: SceneBuilder, rng: np.random.Generator) -> None:
    """Park a police car at the curb, its crew beside it."""
    side, along = _place(course, rng, 5.0)
    turn = np.pi if side > 0 else 0.0
    strip = course.parking[side] > 0
    across = course.curb(side) + (-1.05 if strip else 0.95)
    frame = course.frame(along, side * across, turn)
    if not course.taken.take(frame, 2.5, 1.0):
        return
    vehicles.add_car(scene, frame, rng, Kind.POLICE_CAR)
    for number in range(int(rng.integers(1, 3))):
        place = course.frame(
            along + (3.2 if number else -3.2) + uniform(rng, -0.5, 0.5),
            side * (across + uniform(rng, 0.0, 1.0)),
            uniform(rng, 0, 6.28),
        )
        if course.taken.take(place, 0.3, 0.3):
            people.add_person(scene, place, rng, Kind.POLICE_OFFICER)


def _works(course: Course, scene: SceneBuilder, works: Stretch, rng: np.random.Generator) -> None:
    """Close off a building site and fill it with machines, workers and heaps."""
    side, start, end = works.side, works.start_m, works.end_m
    inner, outer = course.half_road_m + 0.35, course.outer(side) + 2.0
    for along in np.arange(start + 1.0, end - 1.0, 2.05):
        if chance(rng, 0.85):
            frame = course.frame(float(along), side * inner, float(rng.normal(scale=0.05)))
            objects.add_barrier(scene, frame, rng)
    for along in (start, end):
        for across in np.arange(inner + 1.0, outer, 2.05):
            frame = course.frame(along, side * float(across), np.pi / 2)
            objects.add_barrier(scene, frame, rng)
    # Cones lead the traffic past, closer to the curb the further away.
    sense = -side
    for number in range(int(rng.integers(5, 10))):
        along = (start if sense > 0 else end) - sense * (1.0 + 1.6 * number)
        across = side * min(inner - 0.2 + 0.12 * number, course.curb(side) + 0.2)
        objects.add_cone(scene, course.frame(along, across), rng)
    for _ in range(int(rng.integers(2, 6))):
        place = course.frame(uniform(rng, start, end), side * (inner - 0.35))
        objects.add_cone(scene, place, rng)
    middle = (start + end) / 2 + uniform(rng, -2, 2)
    deep = (inner + outer) / 2 + 0.5
    turn = float(rng.choice([0.0, np.pi])) + uniform(rng, -0.3, 0.3)
    machine = course.frame(middle, side * deep, turn)
    course.taken.record(machine, 2.6, 1.3)
    heavy.add_construction_vehicle(scene, machine, rng)
    for _ in range(int(rng.integers(1, 5))):
        along = middle + float(rng.choice([-1.0, 1.0])) * uniform(rng, 2.8, (end - start) / 2)
        place = course.frame(
            min(max(along, start + 0.8), end - 0.8),
            side * uniform(rng, inner + 0.8, outer - 0.5),
            uniform(rng, 0, 6.28),
        )
        if course.taken.take(place, 0.3, 0.3):
            people.add_person(scene, place, rng, Kind.CONSTRUCTION_WORKER)
    for _ in range(int(rng.integers(1, 4))):
        place = course.frame(uniform(rng, start + 1, end - 1), side * (outer - 0.6))
        objects.add_debris(scene, place, rng)
    facing = np.pi if side < 0 else 0.0
    warning = (start if sense > 0 else end) - sense * 14.0
    objects.add_sign(scene, course.frame(warning, side * (course.curb(side) + 0.4), facing), rng)
