"""What stands along a curb: parked vehicles, lamps, signs, trees, furniture, racks, people."""

import numpy as np

from train.simulation.simulator import objects, people, plants, two_wheelers, vehicles
from train.simulation.simulator.course import Roadside
from train.simulation.simulator.heavy import add_bus, add_truck
from train.simulation.simulator.surfaces import Kind, Material


def park(at: Roadside) -> None:
    """Fill the parking strip, if there is one, with gaps."""
    if at.parking <= 0:
        return
    along = at.course.start_m + 3
    occupied = at.uniform(0.1, 0.65)
    while along < at.course.end_m:
        length = 5.0
        if at.is_free(along, 6.5) and at.chance(occupied):
            # Some park against the traffic.
            against = np.pi if at.chance(0.12) else 0.0
            turn = float(at.rng.normal(scale=0.03)) + (np.pi if at.side > 0 else 0.0) + against
            out = at.curb - at.parking / 2 + float(at.rng.normal(scale=0.1))
            choice = at.rng.random()
            half = 4.6 if 0.88 <= choice < 0.92 else (1.6 if choice >= 0.95 else 2.6)
            middle = along - 2.5 + half
            if not at.take(at.spot(middle, out, turn), half, 0.95):
                length = 1.5
            elif choice < 0.88:
                length = vehicles.add_car(at.spot(along, out, turn))
            elif choice < 0.92:
                length = 9.2
                add_truck(at.spot(middle, out, turn))
            elif choice < 0.95:
                vehicles.add_trailer(at.spot(along, out, turn))
            else:
                length = 3.5
                for shift in np.arange(-0.9, 1.0, 0.9)[: int(at.rng.integers(1, 4))]:
                    slanted = at.spot(middle + float(shift), out, 1.2 * -at.side)
                    two_wheelers.add_motorcycle(slanted)
        along += length + at.uniform(0.8, 1.8)


def furnish(at: Roadside) -> None:
    """Put lamps at even distances, and in between whatever a sidewalk holds."""
    start, end = at.course.start_m, at.course.end_m
    town = at.course.layout.setting == "town"
    spacing = at.uniform(28, 48)
    for along in np.arange(start + at.uniform(0, spacing), end, spacing):
        if at.is_free(float(along), 1.5):
            lamp = at.facing(float(along), at.curb + 0.4)
            if at.take(lamp, 0.15, 0.15):
                objects.add_lamp(lamp)
    trees = at.uniform(7, 13) if at.course.walk[at.side] > 2.2 and at.chance(0.45) else 0.0
    if trees:
        size = at.uniform(0.8, 1.2)
        for along in np.arange(start + at.uniform(1, trees), end, trees):
            if at.is_free(float(along), 3.0) and at.chance(0.85):
                tree = at.spot(float(along), at.curb + 0.65)
                if at.take(tree, 0.3, 0.3):
                    plants.add_street_tree(tree, size)
    along = start + at.uniform(0, 8)
    while along < end:
        if at.is_free(along, 2.5):
            _put_one(at, along, town=town)
        along += at.uniform(4, 9) if town else at.uniform(5, 12)


def _put_one(at: Roadside, along: float, *, town: bool) -> None:
    """Put one thing, or somebody, on the sidewalk."""
    walk = at.course.walk[at.side]
    choice = at.rng.random()
    at_curb = at.spot(along, at.curb + 0.4)
    at_back = at.spot(along, at.curb + walk - 0.35, float(at.rng.normal(scale=0.1)))
    if choice < 0.17:
        facing = np.pi if at.side < 0 else 0.0
        if at.chance(0.06):
            objects.add_big_sign(at.spot(along, at.curb + walk, facing))
        elif at.take(at_curb, 0.15, 0.3):
            frame = at_curb.frame
            objects.add_sign(at_curb.at(frame._replace(yaw=frame.yaw + facing)))
    elif choice < 0.38:
        if at.take(at_curb, 1.7, 0.3):
            objects.add_street_furniture(at_curb)
    elif choice < (0.46 if town else 0.41):
        # Leaning on a wall or fence at the back of the sidewalk.
        if at.take(at_back, 1.0, 0.3):
            two_wheelers.add_bicycle(at_back)
    elif choice < (0.5 if town else 0.42):
        if walk > 2.2:
            add_rack(at, along)
    elif choice < (0.53 if town else 0.45):
        if at.take(at_back, 1.2, 0.4):
            objects.add_bins(at_back)
    elif choice < (0.6 if town else 0.475):
        _stand_together(at, along, at.curb + 0.55 * walk)


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
            two_wheelers.add_bicycle(at.spot(along - shift, out, turn))


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
    shelter = at.facing(along, at.curb + at.course.walk[at.side] - 0.8)
    if not at.take(shelter, 0.8, 2.6):
        return
    objects.add_shelter(shelter)
    for _ in range(int(at.rng.integers(1, 5))):
        spot = at.spot(along + at.uniform(-2.5, 2.5), at.curb + at.uniform(0.5, 1.2))
        yaw = spot.frame.yaw - at.side * np.pi / 2 + at.uniform(-0.7, 0.7)
        spot = spot.at(spot.frame._replace(yaw=yaw))
        if at.take(spot, 0.3, 0.3):
            people.add_person(spot)
    if at.parking > 0 and at.chance(0.5):
        bus = at.spot(along, at.curb - 1.4, np.pi if at.side > 0 else 0.0)
        if at.take(bus, 6.2, 1.3):
            add_bus(bus, Kind.BUS)


def add_guard_rail(at: Roadside, span: tuple[float, float]) -> None:
    """Put a guard rail with its posts between carriageway and sidewalk."""
    for along in np.arange(*span, 4.0):
        rail = at.spot(float(along) + 2.0, at.curb + 0.3).parts(Kind.FENCE)
        rail.box((0.0, 0.0, 0.6), (2.0, 0.04, 0.16), Material.METAL)
        rail.post((0.0, 0.0), 0.06, 0.0, 0.7, Material.METAL)
