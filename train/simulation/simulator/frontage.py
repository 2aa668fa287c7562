"""What lines a street beyond its sidewalks: lots with houses, green or cars, and rows behind.

Houses, halls and garages are drawn in a frame that stands before the middle of the front and looks
away from it: forward is towards the street.
"""

from typing import Final

import numpy as np

from train.simulation.simulator import objects, vehicles
from train.simulation.simulator.parts import Parts, Spot, pick_below
from train.simulation.simulator.roadside import Roadside
from train.simulation.simulator.scene import Shape
from train.simulation.simulator.surfaces import Kind, Material
from train.simulation.simulator.vehicles import add_truck

_BUILT: Final = {"suburb": 0.45, "town": 0.8, "arterial": 0.4}
"""Share of the lots with a building, by setting."""

_LOT_M: Final = {"suburb": (9, 24), "town": (8, 18), "arterial": (16, 36)}

_BORDERS: Final = {"wire": 0.25, "boards": 0.36, "hedge": 0.87, "wall": 0.95}
_ROOFS: Final = {"flat": 0.2, "ridged": 0.75, "gabled": 1.0}
"""Shares, each above the one before, of what is between a yard and the sidewalk (above all,
nothing) and of roofs."""

STOREY_M: Final = 2.9

_WALLS: Final = (
    *(Material.PLASTER, Material.BRIGHT_PLASTER, Material.DARK_PLASTER),
    *(Material.BRICK, Material.PLASTER),
)


def line_side(at: Roadside) -> None:
    """Put up one side: lot after lot, then what stands behind them."""
    lots = [
        (stretch.start_m, stretch.end_m)
        for stretch, _ in at.layout.open_lots
        if at.arm == 0 and stretch.side == at.side
    ]
    for first, last in at.stretches(0.6):
        along = first
        while along < last - 3.0:
            lot = next((lot for lot in lots if lot[0] <= along < lot[1]), None)
            end = min(last, next((lot[0] for lot in lots if along < lot[0] < last), last))
            if lot is not None:
                width = min(lot[1], last) - along
                _open_lot(at, along + width / 2, width)
            else:
                width = at.uniform(*_LOT_M[at.layout.setting])
                # What is left at the end goes to the last lot, so that none is a sliver.
                if end - along - width < 6.0:
                    width = end - along
                if width >= 3.0:
                    _lot(at, along + width / 2, width)
            along += max(width, 0.5)
    if at.arm == 0:
        _fill_behind(at)


def _lot(at: Roadside, middle: float, width: float) -> None:
    setting = at.layout.setting
    if not at.chance(_BUILT[setting]) or width < 5.0:
        _green_lot(at, middle, width)
    elif setting == "arterial" and width > 14 and at.chance(0.6):
        _hall_lot(at, middle, width)
    else:
        _house_lot(at, middle, width)


def _house_lot(at: Roadside, middle: float, width: float) -> None:
    """Put up a building behind a front yard with a fence, a hedge, a wall or nothing."""
    rng, town = at.rng, at.layout.setting == "town"
    shares = [0.75, 0.15, 0.1, 0.0] if town else [0.05, 0.15, 0.35, 0.45]
    yard = float(rng.choice([0.0, 1.5, 3.5, 6.0], p=shares))
    gap = 0.0 if town and at.chance(0.8) else float(rng.choice([0.0, 1.5, 3.5]))
    half = (width - gap) / 2
    storeys = int(rng.integers(2, 6)) if town else int(rng.choice([1, 2, 3], p=[0.3, 0.5, 0.2]))
    front, depth = at.facing(middle, at.outer + yard), at.uniform(7, 12)
    shop = yard == 0 and town and at.chance(0.45)
    add_house(front, half, depth, storeys, shop=shop, room_m=yard)
    # With what may stand out of its front.
    out = min(yard, 1.0)
    body = front.moved((out - depth) / 2, 0.0).frame
    at.taken.record(body, (out + depth) / 2, half)
    if yard <= 0:
        return
    _border(at, at.outer + 0.15, middle, half)
    if gap > 3.0:
        drive = middle + width / 2 - 1.6
        if at.chance(0.5):
            place = at.spot(drive, at.outer + 3.0, np.pi / 2)
            at.put(place, (2.5, 1.0), vehicles.add_car)
        gate = at.facing(drive, at.outer + 7.5)
        if at.chance(0.4) and at.take(gate.moved(-3.0, 0.0), 3.0, 1.7):
            add_garage(gate, 1.6)
    for _ in range(int(rng.integers(2, 8))):
        along = middle + at.uniform(-0.45, 0.45) * (width - gap)
        place = at.spot(along, at.outer + at.uniform(0.35, 0.8) * yard)
        if yard > 2.5 and at.chance(0.3) and at.take(place, 0.3, 0.3):
            objects.add_tree(place, size=at.uniform(0.5, 0.9))
        else:
            objects.add_bush(place, size=at.uniform(0.5, 0.6 + 0.25 * yard))


def _border(at: Roadside, out: float, middle: float, half_width: float) -> None:
    """Separate a yard from the sidewalk, leaving a gate open."""
    border = pick_below(at.rng, _BORDERS)
    if not border or half_width < 1.5:
        return
    gate = at.uniform(-0.6, 0.6) * half_width
    height = at.uniform(1.0, 2.3)
    for low, high in ((-half_width, gate - 0.6), (gate + 0.6, half_width)):
        half, along = (high - low) / 2, middle + (low + high) / 2
        if half < 0.4:
            continue
        spot, upper = at.spot(along, out), (0.0, 0.0, height / 2)
        if border == "wire":
            fence = spot.parts(Kind.FENCE)
            fence.mesh(upper, (half, 0.02, height / 2), at.uniform(0.4, 0.75), Material.METAL)
            for post in np.arange(-half, half, 2.2):
                fence.post((float(post), 0.0), 0.03, 0.0, height + 0.05, Material.METAL)
        elif border == "boards":
            fence = spot.parts(Kind.FENCE)
            fence.mesh(upper, (half, 0.03, height / 2), at.uniform(0.02, 0.3), Material.WOOD)
        elif border == "hedge":
            objects.add_hedge(at.spot(along, out + 0.35), half, height)
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
            objects.add_bush(place)
        else:
            at.put(place, (0.3, 0.3), objects.add_tree)


def _thicket(at: Roadside, middle: float, width: float) -> None:
    """Let a strip beside the sidewalk grow wild."""
    deep, tall = at.uniform(1.0, 3.5), at.uniform(1.0, 2.4)
    along = middle - width / 2 + 0.8
    while along < middle + width / 2 - 0.8:
        out = at.outer + 1.2 + at.uniform(0.0, 1.0) * deep
        size = tall * at.uniform(0.6, 1.2)
        objects.add_bush(at.spot(along, out), size=size)
        along += at.uniform(0.5, 1.1) * tall


def _hall_lot(at: Roadside, middle: float, width: float) -> None:
    """Put up a hall behind a few cars."""
    setback = float(at.rng.choice([1.0, 7.0, 12.0]))
    front = at.facing(middle, at.outer + setback)
    depth = at.uniform(8, 14)
    add_hall(front, 0.46 * width, depth)
    at.taken.record(front.moved(-depth / 2, 0.0).frame, depth / 2, 0.46 * width)
    if setback > 6:
        for along in np.arange(middle - 0.4 * width, middle + 0.4 * width, 2.9):
            if at.chance(0.35):
                turn = float(at.rng.choice([-1.0, 1.0])) * np.pi / 2
                at.put(at.spot(float(along), at.outer + 3.4, turn), (2.5, 1.0), vehicles.add_car)
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
        objects.add_bush(at.spot(along, at.outer + at.uniform(16.5, 19.0)))
    lamp = at.facing(middle, at.outer + 11.0)
    if at.chance(0.5) and at.take(lamp, 0.2, 0.2):
        objects.add_lamp(lamp)


def _fill_behind(at: Roadside) -> None:
    """Put a second row of houses and, behind everything, trees."""
    for first, last in at.stretches(18.0):
        along = first
        while along < last:
            width = at.uniform(10, 26)
            middle = along + width / 2
            house = at.facing(middle, at.outer + at.uniform(20, 27))
            free = at.chance(0.5) and at.take(house.moved(-4.5, 0.0), 4.5, 0.4 * width)
            if free and middle < last:
                storeys = int(at.rng.integers(1, 4))
                add_house(house, 0.4 * width, 9.0, storeys)
            for _ in range(int(at.rng.integers(0, 3))):
                beside = middle + at.uniform(-0.5, 0.5) * width
                tree = at.spot(beside, at.outer + at.uniform(15, 19))
                at.put(tree, (0.3, 0.3), objects.add_tree)
            along += width
    at.spot(0.0, 0.0).parts(Kind.VEGETATION)  # takes a group's number, as streets always did
    for first, last in at.stretches(2.0):
        for along in np.arange(first, last, at.uniform(3.0, 6.5)):
            out = at.outer + 38 + float(at.rng.normal(scale=2.0))
            wood = at.spot(float(along), out).parts(Kind.VEGETATION)
            for _ in range(5):
                size = at.uniform(0.6, 1.6)
                place = (at.uniform(-1.6, 1.6), at.uniform(-1.6, 1.6), at.uniform(0.5, 4.5))
                wood.leaves(place, (size, size, 0.8 * size), at.uniform(0.4, 1.0))


def add_house(
    spot: Spot,
    half_width: float,
    depth: float,
    storeys: int,
    *,
    shop: bool = False,
    room_m: float = 9.0,
) -> None:
    """Add a house whose front lies at the frame: walls, roof, and what stands out of the front.

    Parameters
    ----------
    spot
        Where it goes, and what decides its looks.
    half_width, depth, storeys
        Its size, meters and storeys.
    shop
        Whether its ground floor is a shop.
    room_m
        How far porches and the like may come forward.
    """
    house = spot.parts(Kind.BUILDING)
    wall = _WALLS[spot.rng.integers(len(_WALLS))]
    height = storeys * STOREY_M + spot.uniform(0.1, 0.6)
    bays = (spot.uniform(2.1, 3.4), spot.uniform(0.32, 0.6), spot.uniform(100.0, 110.0))
    body = (depth / 2, half_width, height / 2 + 0.3)
    house.solid(Shape.FACADE, (-depth / 2, 0.0, height / 2 - 0.3), body, wall, *bays)
    _add_roof(house, half_width, depth, height)
    if shop:
        awning = [(0.0, 2.9), (1.1, 2.5), (1.1, 2.55), (0.0, 3.05)]
        house.prism(awning, 0.7 * half_width, Material.CLOTH)
        house.box((0.06, 0.0, 3.35), (0.08, 0.6 * half_width, 0.22), Material.PLASTIC)
    elif room_m > 1.4 and spot.chance(0.45):
        _add_porch(house, half_width)
    if storeys >= 2 and spot.chance(0.4):
        _add_balconies(house, half_width, storeys)
    if spot.chance(0.5):
        side = half_width - 0.15 if spot.chance(0.5) else 0.15 - half_width
        house.post((0.07, side), 0.05, 0.0, height, Material.METAL)
    if spot.chance(0.3):
        # A part of the front that stands out over its whole height.
        out = min(spot.uniform(0.25, 0.9), 0.6 * room_m + 0.1)
        half = min(spot.uniform(1.0, 2.2), 0.5 * half_width)
        place = (out / 2, spot.uniform(-0.5, 0.5) * half_width, height / 2 - 0.5)
        body = (out / 2, half, height / 2)
        house.solid(Shape.FACADE, place, body, wall, half, 0.6, 100.3)


def _add_roof(house: Parts, half_width: float, depth: float, height: float) -> None:
    """Add a roof: flat with a parapet, ridged along the front, or with its gable to the front."""
    form = pick_below(house.rng, _ROOFS)
    rise = house.uniform(0.35, 0.6)
    if form == "flat":
        parapet = (-depth / 2, 0.0, height + 0.15)
        house.box(parapet, (depth / 2 + 0.1, half_width + 0.1, 0.15), Material.CONCRETE)
        return
    if form == "ridged":
        top = rise * depth / 2 + height
        corners = [(-depth - 0.4, height - 0.15), (0.45, height - 0.15), (-depth / 2, top)]
        house.prism(corners, half_width + 0.25, Material.TILE)
        ridge = -depth / 2
    else:
        top = min(rise * half_width, 4.0) + height
        corners = [(-half_width - 0.35, height - 0.15), (half_width + 0.35, height - 0.15)]
        turned = house.shifted(-depth / 2, 0.0, np.pi / 2)
        turned.prism([*corners, (0.0, top)], depth / 2 + 0.35, Material.TILE)
        ridge = house.uniform(-0.7, -0.3) * depth
    if house.chance(0.7):
        chimney = (ridge, house.uniform(-0.15, 0.15) * half_width, top)
        house.box(chimney, (0.3, 0.4, 0.8), Material.BRICK)


def _add_porch(house: Parts, half_width: float) -> None:
    """Add steps and a canopy on posts before the door."""
    left, out = house.uniform(-0.5, 0.5) * half_width, house.uniform(0.7, 1.4)
    porch = house.shifted(0.0, left)
    porch.box((out / 2, 0.0, 0.0), (out / 2, 0.9, 0.18), Material.CONCRETE)
    porch.box((out / 2, 0.0, 2.45), (out / 2, 1.0, 0.07), Material.TILE)
    if out > 1.0:
        porch.both().post((out - 0.1, 0.85), 0.06, 0.0, 2.4, Material.WOOD)


def _add_balconies(house: Parts, half_width: float, storeys: int) -> None:
    """Add balconies with railings, one above the other."""
    half, out = min(house.uniform(1.1, 2.2), 0.7 * half_width), house.uniform(0.9, 1.5)
    left = house.uniform(-0.4, 0.4) * half_width
    for storey in range(1, min(storeys, 4)):
        floor = storey * STOREY_M + 0.05
        house.box((out / 2, left, floor), (out / 2, half, 0.09), Material.CONCRETE)
        rail = (out - 0.02, left, floor + 0.55)
        if house.chance(0.5):
            house.mesh(rail, (0.02, half, 0.5), 0.6, Material.METAL)
        else:
            house.box(rail, (0.03, half, 0.45), Material.PLASTER)


def add_hall(spot: Spot, half_width: float, depth: float) -> None:
    """Add a hall, such as of a supermarket or a workshop: few openings, gates, a canopy."""
    hall = spot.parts(Kind.BUILDING)
    height = spot.uniform(5.0, 8.5)
    material = Material.STEEL if spot.chance(0.4) else Material.BRIGHT_PLASTER
    body = (depth / 2, half_width, height / 2 + 0.3)
    hall.box((-depth / 2, 0.0, height / 2 - 0.3), body, material)
    for along in np.arange(-half_width + 2.0, half_width - 2.0, spot.uniform(4.5, 8.0)):
        if spot.chance(0.5):
            hall.box((0.03, float(along), 1.9), (0.06, 1.6, 1.9), Material.METAL)
        else:
            hall.box((0.02, float(along), 2.0), (0.05, 1.7, 1.0), Material.GLASS)
    if spot.chance(0.5):
        hall.box((1.0, 0.0, 3.9), (1.1, 0.6 * half_width, 0.15), Material.METAL)
    hall.box((0.1, 0.0, height - 0.8), (0.12, 0.3 * half_width, 0.45), Material.PLASTIC)


def add_garage(spot: Spot, half: float) -> None:
    """Add a garage of half a width, with its gate in front."""
    garage = spot.parts(Kind.BUILDING)
    height = spot.uniform(2.3, 2.8)
    garage.box((-3.0, 0.0, height / 2), (3.0, half, height / 2), Material.PLASTER)
    garage.box((-2.9, 0.0, height + 0.05), (3.1, half + 0.12, 0.08), Material.TILE)
    garage.box((0.02, 0.0, 1.05), (0.03, half - 0.25, 1.05), Material.METAL)
