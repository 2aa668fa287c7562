"""What lines a street beyond its sidewalks: lots with houses, green or cars, and rows behind."""

from typing import Final

import numpy as np

from train.simulation.simulator import buildings, objects, plants, vehicles
from train.simulation.simulator.course import Roadside
from train.simulation.simulator.heavy import add_truck
from train.simulation.simulator.surfaces import Kind, Material

_BUILT: Final = {"suburb": 0.45, "town": 0.8, "arterial": 0.4}
"""Share of the lots with a building, by setting."""

_LOT_M: Final = {"suburb": (9, 24), "town": (8, 18), "arterial": (16, 36)}

_WIRE, _BOARDS, _HEDGE, _WALL = 0.25, 0.36, 0.87, 0.95
"""What is between a yard and the sidewalk, as shares one above the other; above all, nothing."""


def line_side(at: Roadside) -> None:
    """Put up one side: lot after lot, then what stands behind them."""
    lots = [
        (stretch.start_m, stretch.end_m)
        for stretch, _ in at.course.layout.open_lots
        if at.course.arm == 0 and stretch.side == at.side
    ]
    for first, last in at.course.stretches(at.side, 0.6):
        along = first
        while along < last - 3.0:
            lot = next((lot for lot in lots if lot[0] <= along < lot[1]), None)
            end = min(last, next((lot[0] for lot in lots if along < lot[0] < last), last))
            if lot is not None:
                width = min(lot[1], last) - along
                _open_lot(at, along + width / 2, width)
            else:
                width = at.uniform(*_LOT_M[at.course.layout.setting])
                # What is left at the end goes to the last lot, so that none is a sliver.
                if end - along - width < 6.0:
                    width = end - along
                if width >= 3.0:
                    _lot(at, along + width / 2, width)
            along += max(width, 0.5)
    if at.course.arm == 0:
        _fill_behind(at)


def _lot(at: Roadside, middle: float, width: float) -> None:
    setting = at.course.layout.setting
    if not at.chance(_BUILT[setting]) or width < 5.0:
        _green_lot(at, middle, width)
    elif setting == "arterial" and width > 14 and at.chance(0.6):
        _hall_lot(at, middle, width)
    else:
        _house_lot(at, middle, width)


def _house_lot(at: Roadside, middle: float, width: float) -> None:
    """Put up a building behind a front yard with a fence, a hedge, a wall or nothing."""
    rng, town = at.rng, at.course.layout.setting == "town"
    shares = [0.75, 0.15, 0.1, 0.0] if town else [0.05, 0.15, 0.35, 0.45]
    yard = float(rng.choice([0.0, 1.5, 3.5, 6.0], p=shares))
    gap = 0.0 if town and at.chance(0.8) else float(rng.choice([0.0, 1.5, 3.5]))
    half = (width - gap) / 2
    storeys = int(rng.integers(2, 6)) if town else int(rng.choice([1, 2, 3], p=[0.3, 0.5, 0.2]))
    front, depth = at.facing(middle, at.outer + yard), at.uniform(7, 12)
    shop = yard == 0 and town and at.chance(0.45)
    buildings.add_house(front, half, depth, storeys, shop=shop, room_m=yard)
    # With what may stand out of its front.
    out = min(yard, 1.0)
    body = front.moved((out - depth) / 2, 0.0).frame
    at.course.taken.record(body, (out + depth) / 2, half)
    if yard <= 0:
        return
    _border(at, at.outer + 0.15, middle, half)
    if gap > 3.0:
        drive = middle + width / 2 - 1.6
        place = at.spot(drive, at.outer + 3.0, np.pi / 2)
        if at.chance(0.5) and at.take(place, 2.5, 1.0):
            vehicles.add_car(place)
        gate = at.facing(drive, at.outer + 7.5)
        if at.chance(0.4) and at.take(gate.moved(-3.0, 0.0), 3.0, 1.7):
            buildings.add_garage(gate, 1.6)
    for _ in range(int(rng.integers(2, 8))):
        along = middle + at.uniform(-0.45, 0.45) * (width - gap)
        place = at.spot(along, at.outer + at.uniform(0.35, 0.8) * yard)
        if yard > 2.5 and at.chance(0.3) and at.take(place, 0.3, 0.3):
            plants.add_tree(place, size=at.uniform(0.5, 0.9))
        else:
            plants.add_bush(place, size=at.uniform(0.5, 0.6 + 0.25 * yard))


def _border(at: Roadside, out: float, middle: float, half_width: float) -> None:
    """Separate a yard from the sidewalk, leaving a gate open."""
    choice = at.rng.random()
    if choice >= _WALL or half_width < 1.5:
        return
    gate = at.uniform(-0.6, 0.6) * half_width
    height = at.uniform(1.0, 2.3)
    for low, high in ((-half_width, gate - 0.6), (gate + 0.6, half_width)):
        half, along = (high - low) / 2, middle + (low + high) / 2
        if half < 0.4:
            continue
        spot, upper = at.spot(along, out), (0.0, 0.0, height / 2)
        if choice < _WIRE:
            fence = spot.parts(Kind.FENCE)
            fence.mesh(upper, (half, 0.02, height / 2), at.uniform(0.4, 0.75), Material.METAL)
            for post in np.arange(-half, half, 2.2):
                fence.post((float(post), 0.0), 0.03, 0.0, height + 0.05, Material.METAL)
        elif choice < _BOARDS:
            fence = spot.parts(Kind.FENCE)
            fence.mesh(upper, (half, 0.03, height / 2), at.uniform(0.02, 0.3), Material.WOOD)
        elif choice < _HEDGE:
            plants.add_hedge(at.spot(along, out + 0.35), half, height)
        else:
            wall = spot.parts(Kind.WALL)
            wall.box((0.0, 0.0, 0.35), (half, 0.12, 0.45), Material.BRICK)
            if at.chance(0.5):
                fence = spot.parts(Kind.FENCE)
                fence.mesh((0.0, 0.0, 1.15), (half, 0.02, 0.35), 0.6, Material.METAL)


def _green_lot(at: Roadside, middle: float, width: float) -> None:
    """Leave a lot green: trees and bushes, perhaps a fence in front."""
    if at.chance(0.65):
        _border(at, at.outer + 0.15, middle, width / 2)
    if at.chance(0.95):
        _thicket(at, middle, width)
    for _ in range(int(at.rng.integers(7, 18) * min(width, 24.0) / 16)):
        along = middle + at.uniform(-0.48, 0.48) * width
        place = at.spot(along, at.outer + at.uniform(1.2, 16.0))
        if not at.chance(0.5):
            plants.add_bush(place)
        elif at.take(place, 0.3, 0.3):
            plants.add_tree(place)


def _thicket(at: Roadside, middle: float, width: float) -> None:
    """Let a strip beside the sidewalk grow wild."""
    deep, tall = at.uniform(1.0, 3.5), at.uniform(1.0, 2.4)
    along = middle - width / 2 + 0.8
    while along < middle + width / 2 - 0.8:
        out = at.outer + 1.2 + at.uniform(0.0, 1.0) * deep
        size = tall * at.uniform(0.6, 1.2)
        plants.add_bush(at.spot(along, out), size=size)
        along += at.uniform(0.5, 1.1) * tall


def _hall_lot(at: Roadside, middle: float, width: float) -> None:
    """Put up a hall behind a few cars."""
    setback = float(at.rng.choice([1.0, 7.0, 12.0]))
    front = at.facing(middle, at.outer + setback)
    depth = at.uniform(8, 14)
    buildings.add_hall(front, 0.46 * width, depth)
    at.course.taken.record(front.moved(-depth / 2, 0.0).frame, depth / 2, 0.46 * width)
    if setback > 6:
        for along in np.arange(middle - 0.4 * width, middle + 0.4 * width, 2.9):
            if at.chance(0.35):
                turn = float(at.rng.choice([-1.0, 1.0])) * np.pi / 2
                place = at.spot(float(along), at.outer + 3.4, turn)
                if at.take(place, 2.5, 1.0):
                    vehicles.add_car(place)
    place = at.spot(middle, at.outer + 0.6)
    if at.chance(0.4) and at.take(place, 0.3, 1.7):
        objects.add_big_sign(place)


def _open_lot(at: Roadside, middle: float, width: float) -> None:
    """Leave a paved or gravel lot open: cars side by side, a lorry, bushes at its back."""
    occupied = at.uniform(0.15, 0.7)
    slots = np.arange(middle - 0.5 * width + 2.4, middle + 0.5 * width - 1.5, 2.8)
    for along in slots[at.rng.random(len(slots)) < occupied]:
        turn = float(at.rng.choice([-1.0, 1.0])) * np.pi / 2 + float(at.rng.normal(scale=0.03))
        place = at.spot(float(along), at.outer + 7.0, turn)
        if not at.take(place, 2.6, 1.0):
            continue
        if at.chance(0.9):
            vehicles.add_car(place)
        else:
            vehicles.add_trailer(place)
    lorry = at.spot(middle, at.outer + 13.5)
    if width > 16 and at.chance(0.25) and at.take(lorry, 4.6, 1.3):
        add_truck(lorry)
    for _ in range(int(at.rng.integers(2, 6))):
        along = middle + at.uniform(-0.5, 0.5) * width
        plants.add_bush(at.spot(along, at.outer + at.uniform(16.5, 19.0)))
    lamp = at.facing(middle, at.outer + 11.0)
    if at.chance(0.5) and at.take(lamp, 0.2, 0.2):
        objects.add_lamp(lamp)


def _fill_behind(at: Roadside) -> None:
    """Put a second row of houses and, behind everything, trees."""
    for first, last in at.course.stretches(at.side, 18.0):
        along = first
        while along < last:
            width = at.uniform(10, 26)
            middle = along + width / 2
            house = at.facing(middle, at.outer + at.uniform(20, 27))
            free = at.chance(0.5) and at.take(house.moved(-4.5, 0.0), 4.5, 0.4 * width)
            if free and middle < last:
                storeys = int(at.rng.integers(1, 4))
                buildings.add_house(house, 0.4 * width, 9.0, storeys)
            for _ in range(int(at.rng.integers(0, 3))):
                beside = middle + at.uniform(-0.5, 0.5) * width
                tree = at.spot(beside, at.outer + at.uniform(15, 19))
                if at.take(tree, 0.3, 0.3):
                    plants.add_tree(tree)
            along += width
    at.spot(0.0, 0.0).parts(Kind.VEGETATION)  # takes a group's number, as streets always did
    for first, last in at.course.stretches(at.side, 2.0):
        for along in np.arange(first, last, at.uniform(3.0, 6.5)):
            out = at.outer + 38 + float(at.rng.normal(scale=2.0))
            wood = at.spot(float(along), out).parts(Kind.VEGETATION)
            for _ in range(5):
                size = at.uniform(0.6, 1.6)
                place = (at.uniform(-1.6, 1.6), at.uniform(-1.6, 1.6), at.uniform(0.5, 4.5))
                wood.leaves(place, (size, size, 0.8 * size), at.uniform(0.4, 1.0))
