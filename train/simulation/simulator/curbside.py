"""What stands along a curb: parked vehicles, lamps, signs, trees, furniture, racks, people."""

import numpy as np

from train.simulation.simulator import objects, people, plants, two_wheelers, vehicles
from train.simulation.simulator.course import Course
from train.simulation.simulator.heavy import add_bus, add_truck
from train.simulation.simulator.parts import Parts, chance, uniform
from train.simulation.simulator.scene import SceneBuilder
from train.simulation.simulator.surfaces import Kind, Material


def park(course: Course, scene: SceneBuilder, side: float, rng: np.random.Generator) -> None:
    """Fill the parking strip, if there is one, with gaps."""
    strip = course.parking[side]
    if strip <= 0:
        return
    curb = course.curb(side)
    along = course.start_m + 3
    occupied = uniform(rng, 0.1, 0.65)
    while along < course.end_m:
        length = 5.0
        if course.is_free(side, along, 6.5) and chance(rng, occupied):
            # Some park against the traffic.
            against = np.pi if chance(rng, 0.12) else 0.0
            turn = float(rng.normal(scale=0.03)) + (np.pi if side > 0 else 0.0) + against
            across = side * (curb - strip / 2 + float(rng.normal(scale=0.1)))
            frame = course.frame(along, across, turn)
            choice = rng.random()
            half = 4.6 if 0.88 <= choice < 0.92 else (1.6 if choice >= 0.95 else 2.6)
            middle = along - 2.5 + half
            if not course.taken.take(course.frame(middle, across, turn), half, 0.95):
                length = 1.5
            elif choice < 0.88:
                length = vehicles.add_car(scene, frame, rng)
            elif choice < 0.92:
                length = 9.2
                add_truck(scene, course.frame(middle, across, turn), rng)
            elif choice < 0.95:
                vehicles.add_trailer(scene, frame, rng)
            else:
                length = 3.5
                for shift in np.arange(-0.9, 1.0, 0.9)[: int(rng.integers(1, 4))]:
                    slanted = course.frame(middle + float(shift), across, 1.2 * -side)
                    two_wheelers.add_motorcycle(scene, slanted, rng)
        along += length + uniform(rng, 0.8, 1.8)


def furnish(course: Course, scene: SceneBuilder, side: float, rng: np.random.Generator) -> None:
    """Put lamps at even distances, and in between whatever a sidewalk holds."""
    curb, walk = course.curb(side), course.walk[side]
    town = course.layout.setting == "town"
    spacing = uniform(rng, 28, 48)
    for along in np.arange(course.start_m + uniform(rng, 0, spacing), course.end_m, spacing):
        if course.is_free(side, float(along), 1.5):
            towards_road = -side * np.pi / 2
            frame = course.frame(float(along), side * (curb + 0.4), towards_road)
            if course.taken.take(frame, 0.15, 0.15):
                objects.add_lamp(scene, frame, rng)
    trees = uniform(rng, 7, 13) if walk > 2.2 and chance(rng, 0.45) else 0.0
    if trees:
        size = uniform(rng, 0.8, 1.2)
        for along in np.arange(course.start_m + uniform(rng, 1, trees), course.end_m, trees):
            if course.is_free(side, float(along), 3.0) and chance(rng, 0.85):
                frame = course.frame(float(along), side * (curb + 0.65))
                if not course.taken.take(frame, 0.3, 0.3):
                    continue
                plants.add_street_tree(scene, frame, rng, size)
    along = course.start_m + uniform(rng, 0, 8)
    while along < course.end_m:
        if course.is_free(side, along, 2.5):
            _put_one(course, scene, side, along, rng, town=town)
        along += uniform(rng, 4, 9) if town else uniform(rng, 5, 12)


def _put_one(
    course: Course,
    scene: SceneBuilder,
    side: float,
    along: float,
    rng: np.random.Generator,
    *,
    town: bool,
) -> None:
    """Put one thing, or somebody, on the sidewalk."""
    curb, walk = course.curb(side), course.walk[side]
    choice = rng.random()
    at_curb = course.frame(along, side * (curb + 0.4))
    at_back = course.frame(along, side * (curb + walk - 0.35), float(rng.normal(scale=0.1)))
    if choice < 0.17:
        facing = np.pi if side < 0 else 0.0
        if chance(rng, 0.06):
            objects.add_big_sign(scene, course.frame(along, side * (curb + walk), facing), rng)
        elif course.taken.take(at_curb, 0.15, 0.3):
            objects.add_sign(scene, at_curb._replace(yaw=at_curb.yaw + facing), rng)
    elif choice < 0.38:
        if course.taken.take(at_curb, 1.7, 0.3):
            objects.add_street_furniture(scene, at_curb, rng)
    elif choice < (0.46 if town else 0.41):
        # Leaning on a wall or fence at the back of the sidewalk.
        if course.taken.take(at_back, 1.0, 0.3):
            two_wheelers.add_bicycle(scene, at_back, rng)
    elif choice < (0.5 if town else 0.42):
        if walk > 2.2:
            add_rack(course, scene, side, along, rng)
    elif choice < (0.53 if town else 0.45):
        if course.taken.take(at_back, 1.2, 0.4):
            objects.add_bins(scene, at_back, rng)
    elif choice < (0.6 if town else 0.475):
        stand_together(course, scene, along, side * (curb + 0.55 * walk), rng)


def add_rack(
    course: Course, scene: SceneBuilder, side: float, along: float, rng: np.random.Generator
) -> None:
    """Put up hoops across the sidewalk's inner half, with bicycles at some of them."""
    count, pitch = int(rng.integers(3, 7)), 0.9
    across = side * (course.curb(side) + 1.0)
    frame = course.frame(along, across, np.pi / 2)
    if not course.taken.take(frame, 1.0, 0.5 * count * pitch):
        return
    objects.add_bicycle_rack(scene, frame, count, pitch)
    for number in range(count):
        if chance(rng, 0.6):
            left = (number - (count - 1) / 2) * pitch
            shift = left + (0.16 if chance(rng, 0.5) else -0.16)
            turn = np.pi / 2 + (np.pi if chance(rng, 0.5) else 0.0)
            place = course.frame(along - shift, across, turn + float(rng.normal(scale=0.06)))
            two_wheelers.add_bicycle(scene, place, rng)


def stand_together(
    course: Course,
    scene: SceneBuilder,
    along: float,
    across: float,
    rng: np.random.Generator,
    *,
    most: int = 3,
) -> None:
    """Put one or a few who stand and face one another; some are children."""
    count = int(rng.integers(1, most + 1))
    start = uniform(rng, 0, 2 * np.pi)
    if not course.taken.take(course.frame(along, across), 0.8, 0.8):
        return
    for number in range(count):
        turn = start + 2 * np.pi * number / count
        reach = 0.5 if count > 1 else 0.0
        frame = course.frame(
            along - reach * float(np.cos(turn)), across - reach * float(np.sin(turn)), turn
        )
        kind = Kind.CHILD if count > 1 and chance(rng, 0.2) else Kind.PERSON
        people.add_person(scene, frame, rng, kind)


def add_bus_stop(
    course: Course, scene: SceneBuilder, side: float, along: float, rng: np.random.Generator
) -> None:
    """Put up a shelter with who waits there, and a bus before it where there is room."""
    curb, walk = course.curb(side), course.walk[side]
    frame = course.frame(along, side * (curb + walk - 0.8), -side * np.pi / 2)
    if not course.taken.take(frame, 0.8, 2.6):
        return
    objects.add_shelter(scene, frame, rng)
    for _ in range(int(rng.integers(1, 5))):
        place = course.frame(
            along + uniform(rng, -2.5, 2.5), side * (curb + uniform(rng, 0.5, 1.2))
        )
        stand = place._replace(yaw=place.yaw - side * np.pi / 2 + uniform(rng, -0.7, 0.7))
        if course.taken.take(stand, 0.3, 0.3):
            people.add_person(scene, stand, rng)
    if course.parking[side] > 0 and chance(rng, 0.5):
        turn = np.pi if side > 0 else 0.0
        bus = course.frame(along, side * (curb - 1.4), turn)
        if course.taken.take(bus, 6.2, 1.3):
            add_bus(scene, bus, rng, Kind.BUS)


def add_guard_rail(
    course: Course, scene: SceneBuilder, side: float, span: tuple[float, float]
) -> None:
    """Put a guard rail with its posts between carriageway and sidewalk."""
    for along in np.arange(*span, 4.0):
        frame = course.frame(float(along) + 2.0, side * (course.curb(side) + 0.3))
        rail = Parts(scene, frame, Kind.FENCE)
        rail.box((0.0, 0.0, 0.6), (2.0, 0.04, 0.16), Material.METAL)
        rail.post((0.0, 0.0), 0.06, 0.0, 0.7, Material.METAL)
