"""Houses, halls and garages, drawn in a frame that stands before the middle of the front.

It looks away from the house: forward is towards the street.
"""

import numpy as np

from train.simulation.simulator.parts import Parts, Spot
from train.simulation.simulator.surfaces import Kind, Material

STOREY_M = 2.9

_WALLS = (
    Material.PLASTER,
    Material.BRIGHT_PLASTER,
    Material.DARK_PLASTER,
    Material.BRICK,
    Material.PLASTER,
)


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
    house.facade(
        (-depth / 2, 0.0, height / 2 - 0.3),
        (depth / 2, half_width, height / 2 + 0.3),
        wall,
        bay_m=spot.uniform(2.1, 3.4),
        windows=spot.uniform(0.32, 0.6),
        phase_m=spot.uniform(100.0, 110.0),
    )
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
        out, half = (
            min(spot.uniform(0.25, 0.9), 0.6 * room_m + 0.1),
            min(spot.uniform(1.0, 2.2), 0.5 * half_width),
        )
        left = spot.uniform(-0.5, 0.5) * half_width
        house.facade(
            (out / 2, left, height / 2 - 0.5),
            (out / 2, half, height / 2),
            wall,
            bay_m=half,
            windows=0.6,
            phase_m=100.3,
        )


def _add_roof(house: Parts, half_width: float, depth: float, height: float) -> None:
    """Add a roof: flat with a parapet, ridged along the front, or with its gable to the front."""
    form = house.rng.random()
    rise = house.uniform(0.35, 0.6)
    if form < 0.2:
        parapet = (-depth / 2, 0.0, height + 0.15)
        house.box(parapet, (depth / 2 + 0.1, half_width + 0.1, 0.15), Material.CONCRETE)
        return
    if form < 0.75:
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
        for side in (-0.85, 0.85):
            porch.post((out - 0.1, side), 0.06, 0.0, 2.4, Material.WOOD)


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
    hall.box(
        (-depth / 2, 0.0, height / 2 - 0.3), (depth / 2, half_width, height / 2 + 0.3), material
    )
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
