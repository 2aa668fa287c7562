"""What lines a street beyond its sidewalks: lots with houses, green or cars, and rows behind."""

import numpy as np

from train.simulation.simulator import buildings, objects, plants, vehicles
from train.simulation.simulator.course import Course
from train.simulation.simulator.heavy import add_truck
from train.simulation.simulator.parts import Parts, chance, uniform
from train.simulation.simulator.scene import Frame, SceneBuilder
from train.simulation.simulator.surfaces import Kind, Material


def line_side(course: Course, scene: SceneBuilder, side: float, rng: np.random.Generator) -> None:
    """Put up one side: lot after lot, then what stands behind them."""
    lots = [
        (stretch.start_m, stretch.end_m, kind)
        for stretch, kind in course.layout.open_lots
        if course.arm == 0 and stretch.side == side
    ]
    for first, last in course.stretches(side, 0.6):
        along = first
        while along < last - 3.0:
            lot = next((lot for lot in lots if lot[0] <= along < lot[1]), None)
            end = min(last, next((lot[0] for lot in lots if along < lot[0] < last), last))
            if lot is not None:
                width = min(lot[1], last) - along
                _open_lot(course, scene, side, along + width / 2, width, rng)
            else:
                width = _lot_width(course, rng)
                # What is left at the end goes to the last lot, so that none is a sliver.
                if end - along - width < 6.0:
                    width = end - along
                if width >= 3.0:
                    _lot(course, scene, side, along + width / 2, width, rng)
            along += max(width, 0.5)
    if course.arm == 0:
        _fill_behind(course, scene, side, rng)


def _lot_width(course: Course, rng: np.random.Generator) -> float:
    setting = course.layout.setting
    if setting == "town":
        return uniform(rng, 8, 18)
    return uniform(rng, 16, 36) if setting == "arterial" else uniform(rng, 9, 24)


def _lot(
    course: Course,
    scene: SceneBuilder,
    side: float,
    middle: float,
    width: float,
    rng: np.random.Generator,
) -> None:
    built = {"suburb": 0.45, "town": 0.8, "arterial": 0.4}[course.layout.setting]
    if not chance(rng, built) or width < 5.0:
        _green_lot(course, scene, side, middle, width, rng)
    elif course.layout.setting == "arterial" and width > 14 and chance(rng, 0.6):
        _hall_lot(course, scene, side, middle, width, rng)
    else:
        _house_lot(course, scene, side, middle, width, rng)


def _facing(course: Course, side: float, along: float, across: float) -> Frame:
    """Return a frame beside the course that looks at it."""
    return course.frame(along, side * across, -side * np.pi / 2)


def _house_lot(
    course: Course,
    scene: SceneBuilder,
    side: float,
    middle: float,
    width: float,
    rng: np.random.Generator,
) -> None:
    """Put up a building behind a front yard with a fence, a hedge, a wall or nothing."""
    town = course.layout.setting == "town"
    outer = course.outer(side)
    shares = [0.75, 0.15, 0.1, 0.0] if town else [0.05, 0.15, 0.35, 0.45]
    yard = float(rng.choice([0.0, 1.5, 3.5, 6.0], p=shares))
    gap = 0.0 if town and chance(rng, 0.8) else float(rng.choice([0.0, 1.5, 3.5]))
    half = (width - gap) / 2
    storeys = int(rng.integers(2, 6)) if town else int(rng.choice([1, 2, 3], p=[0.3, 0.5, 0.2]))
    front, depth = _facing(course, side, middle, outer + yard), uniform(rng, 7, 12)
    buildings.add_house(
        scene,
        front,
        rng,
        half,
        depth,
        storeys,
        shop=yard == 0 and town and chance(rng, 0.45),
        room_m=yard,
    )
    # With what may stand out of its front.
    out = min(yard, 1.0)
    body = Frame(*front.at((out - depth) / 2, 0.0, 0.0), front.yaw)
    course.taken.record(body, (out + depth) / 2, half)
    if yard <= 0:
        return
    _border(course, scene, side, outer + 0.15, middle, half, rng)
    if gap > 3.0:
        drive = middle + width / 2 - 1.6
        place = course.frame(drive, side * (outer + 3.0), np.pi / 2)
        if chance(rng, 0.5) and course.taken.take(place, 2.5, 1.0):
            vehicles.add_car(scene, place, rng)
        gate = _facing(course, side, drive, outer + 7.5)
        deep = Frame(*gate.at(-3.0, 0.0, 0.0), gate.yaw)
        if chance(rng, 0.4) and course.taken.take(deep, 3.0, 1.7):
            buildings.add_garage(scene, gate, rng, 1.6)
    for _ in range(int(rng.integers(2, 8))):
        place = course.frame(
            middle + uniform(rng, -0.45, 0.45) * (width - gap),
            side * (outer + uniform(rng, 0.35, 0.8) * yard),
        )
        if yard > 2.5 and chance(rng, 0.3) and course.taken.take(place, 0.3, 0.3):
            plants.add_tree(scene, place, rng, size=uniform(rng, 0.5, 0.9))
        else:
            plants.add_bush(scene, place, rng, size=uniform(rng, 0.5, 0.6 + 0.25 * yard))


def _border(
    course: Course,
    scene: SceneBuilder,
    side: float,
    across: float,
    middle: float,
    half_width: float,
    rng: np.random.Generator,
) -> None:
    """Separate a yard from the sidewalk, leaving a gate open."""
    choice = rng.random()
    if choice >= 0.95 or half_width < 1.5:
        return
    gate = uniform(rng, -0.6, 0.6) * half_width
    height = uniform(rng, 1.0, 2.3)
    for low, high in ((-half_width, gate - 0.6), (gate + 0.6, half_width)):
        half = (high - low) / 2
        if half < 0.4:
            continue
        frame = course.frame(middle + (low + high) / 2, side * across)
        if choice < 0.25:
            fence = Parts(scene, frame, Kind.FENCE)
            passes = uniform(rng, 0.4, 0.75)
            fence.mesh((0.0, 0.0, height / 2), (half, 0.02, height / 2), passes, Material.METAL)
            for along in np.arange(-half, half, 2.2):
                fence.post((float(along), 0.0), 0.03, 0.0, height + 0.05, Material.METAL)
        elif choice < 0.36:
            fence = Parts(scene, frame, Kind.FENCE)
            boards = (half, 0.03, height / 2)
            fence.mesh((0.0, 0.0, height / 2), boards, uniform(rng, 0.02, 0.3), Material.WOOD)
        elif choice < 0.87:
            hedge = course.frame(middle + (low + high) / 2, side * (across + 0.35))
            plants.add_hedge(scene, hedge, rng, half, height)
        else:
            wall = Parts(scene, frame, Kind.WALL)
            wall.box((0.0, 0.0, 0.35), (half, 0.12, 0.45), Material.BRICK)
            if chance(rng, 0.5):
                fence = Parts(scene, frame, Kind.FENCE)
                fence.mesh((0.0, 0.0, 1.15), (half, 0.02, 0.35), 0.6, Material.METAL)


def _green_lot(
    course: Course,
    scene: SceneBuilder,
    side: float,
    middle: float,
    width: float,
    rng: np.random.Generator,
) -> None:
    """Leave a lot green: trees and bushes, perhaps a fence in front."""
    outer = course.outer(side)
    if chance(rng, 0.65):
        _border(course, scene, side, outer + 0.15, middle, width / 2, rng)
    if chance(rng, 0.95):
        _thicket(course, scene, side, middle, width, rng)
    for _ in range(int(rng.integers(7, 18) * min(width, 24.0) / 16)):
        place = course.frame(
            middle + uniform(rng, -0.48, 0.48) * width, side * (outer + uniform(rng, 1.2, 16.0))
        )
        if chance(rng, 0.5):
            if course.taken.take(place, 0.3, 0.3):
                plants.add_tree(scene, place, rng)
        else:
            plants.add_bush(scene, place, rng)


def _thicket(
    course: Course,
    scene: SceneBuilder,
    side: float,
    middle: float,
    width: float,
    rng: np.random.Generator,
) -> None:
    """Let a strip beside the sidewalk grow wild."""
    deep, tall = uniform(rng, 1.0, 3.5), uniform(rng, 1.0, 2.4)
    along = middle - width / 2 + 0.8
    while along < middle + width / 2 - 0.8:
        across = side * (course.outer(side) + 1.2 + uniform(rng, 0.0, 1.0) * deep)
        size = tall * uniform(rng, 0.6, 1.2)
        plants.add_bush(scene, course.frame(along, across), rng, size=size)
        along += uniform(rng, 0.5, 1.1) * tall


def _hall_lot(
    course: Course,
    scene: SceneBuilder,
    side: float,
    middle: float,
    width: float,
    rng: np.random.Generator,
) -> None:
    """Put up a hall behind a few cars."""
    outer = course.outer(side)
    setback = float(rng.choice([1.0, 7.0, 12.0]))
    front = _facing(course, side, middle, outer + setback)
    depth = uniform(rng, 8, 14)
    buildings.add_hall(scene, front, rng, 0.46 * width, depth)
    middle_of_it = Frame(*front.at(-depth / 2, 0.0, 0.0), front.yaw)
    course.taken.record(middle_of_it, depth / 2, 0.46 * width)
    if setback > 6:
        for along in np.arange(middle - 0.4 * width, middle + 0.4 * width, 2.9):
            if chance(rng, 0.35):
                turn = float(rng.choice([-1.0, 1.0])) * np.pi / 2
                place = course.frame(float(along), side * (outer + 3.4), turn)
                if course.taken.take(place, 2.5, 1.0):
                    vehicles.add_car(scene, place, rng)
    place = course.frame(middle, side * (outer + 0.6))
    if chance(rng, 0.4) and course.taken.take(place, 0.3, 1.7):
        objects.add_big_sign(scene, place, rng)


def _open_lot(
    course: Course,
    scene: SceneBuilder,
    side: float,
    middle: float,
    width: float,
    rng: np.random.Generator,
) -> None:
    """Leave a paved or gravel lot open: cars side by side, a lorry, bushes at its back."""
    outer = course.outer(side)
    occupied = uniform(rng, 0.15, 0.7)
    slots = np.arange(middle - 0.5 * width + 2.4, middle + 0.5 * width - 1.5, 2.8)
    for along in slots[rng.random(len(slots)) < occupied]:
        turn = float(rng.choice([-1.0, 1.0])) * np.pi / 2 + float(rng.normal(scale=0.03))
        frame = course.frame(float(along), side * (outer + 7.0), turn)
        if not course.taken.take(frame, 2.6, 1.0):
            continue
        if chance(rng, 0.9):
            vehicles.add_car(scene, frame, rng)
        else:
            vehicles.add_trailer(scene, frame, rng)
    lorry = course.frame(middle, side * (outer + 13.5))
    if width > 16 and chance(rng, 0.25) and course.taken.take(lorry, 4.6, 1.3):
        add_truck(scene, lorry, rng)
    for _ in range(int(rng.integers(2, 6))):
        along = middle + uniform(rng, -0.5, 0.5) * width
        place = course.frame(along, side * (outer + uniform(rng, 16.5, 19.0)))
        plants.add_bush(scene, place, rng)
    lamp = _facing(course, side, middle, outer + 11.0)
    if chance(rng, 0.5) and course.taken.take(lamp, 0.2, 0.2):
        objects.add_lamp(scene, lamp, rng)


def _fill_behind(
    course: Course, scene: SceneBuilder, side: float, rng: np.random.Generator
) -> None:
    """Put a second row of houses and, behind everything, trees."""
    outer = course.outer(side)
    for first, last in course.stretches(side, 18.0):
        along = first
        while along < last:
            width = uniform(rng, 10, 26)
            middle = along + width / 2
            place = _facing(course, side, middle, outer + uniform(rng, 20, 27))
            body = Frame(*place.at(-4.5, 0.0, 0.0), place.yaw)
            free = chance(rng, 0.5) and course.taken.take(body, 4.5, 0.4 * width)
            if free and middle < last:
                storeys = int(rng.integers(1, 4))
                buildings.add_house(scene, place, rng, 0.4 * width, 9.0, storeys)
            for _ in range(int(rng.integers(0, 3))):
                place = course.frame(
                    middle + uniform(rng, -0.5, 0.5) * width, side * (outer + uniform(rng, 15, 19))
                )
                if course.taken.take(place, 0.3, 0.3):
                    plants.add_tree(scene, place, rng)
            along += width
    wood = Parts(scene, course.frame(0.0, 0.0), Kind.VEGETATION)
    for first, last in course.stretches(side, 2.0):
        for tree in np.arange(first, last, uniform(rng, 3.0, 6.5)):
            across = side * (outer + 38 + float(rng.normal(scale=2.0)))
            place = course.frame(float(tree), across)
            wood = Parts(scene, place, Kind.VEGETATION)
            for _ in range(5):
                size = uniform(rng, 0.6, 1.6)
                at = (uniform(rng, -1.6, 1.6), uniform(rng, -1.6, 1.6), uniform(rng, 0.5, 4.5))
                wood.leaves(at, (size, size, 0.8 * size), uniform(rng, 0.4, 1.0))
