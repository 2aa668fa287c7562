"""What lines a street: parked vehicles, curb furniture, lots with houses or green, rows behind."""

import numpy as np

from train.data.simulator import objects, vehicles
from train.data.simulator.layout import Layout
from train.data.simulator.scene import SceneBuilder, Shape
from train.data.simulator.surfaces import Kind, Material


def line_side(layout: Layout, scene: SceneBuilder, side: float, rng: np.random.Generator) -> None:
    """Put up one side: parked vehicles, curb furniture, then lot after lot."""
    inner, outer = layout.sidewalk(side)
    _park(layout, scene, side, inner, rng)
    _furnish(layout, scene, side, inner, rng)
    for first, last in layout.between_crossings(3.0):
        along = first
        while along < last:
            width = float(rng.uniform(9, 24))
            # What is left at the end goes to the last lot, so that none is a sliver.
            if last - along - width < 6.0:
                width = last - along
            middle = along + width / 2
            if layout.is_open(middle, side * (outer + 4.0)):
                _open_lot(layout, scene, side, outer, middle, width, rng)
            elif rng.random() < 0.6:
                _house_lot(layout, scene, side, outer, middle, width, rng)
            else:
                _green_lot(layout, scene, side, outer, middle, width, rng)
            along += width
    _fill_behind(layout, scene, side, outer, rng)


def _fill_behind(
    layout: Layout, scene: SceneBuilder, side: float, outer: float, rng: np.random.Generator
) -> None:
    """Put a second row of houses and, behind everything, a line of trees."""
    along = layout.start_m
    while along < layout.end_m:
        width = float(rng.uniform(10, 26))
        middle = along + width / 2
        if rng.random() < 0.45 and not layout.in_crossing(middle, width / 2 + 1.0):
            height = float(rng.uniform(4, 9))
            depth = outer + float(rng.uniform(20, 32))
            scene.add(
                Shape.FACADE,
                layout.frame(middle, side * depth, float(rng.normal(scale=0.1))),
                (0.0, 0.0, height / 2 - 0.5),
                (0.4 * width, 4.5, height / 2 + 0.5),
                Kind.BUILDING,
                Material.PLASTER,
                extra=(float(rng.uniform(2.2, 3.6)), 0.45, 103.0),
            )
        row = outer + float(rng.uniform(32, 42))
        for tree in np.arange(along, along + width, float(rng.uniform(2.5, 6.0))):
            size = float(rng.uniform(1.3, 3.2))
            scene.add(
                Shape.FOLIAGE,
                layout.frame(float(tree), side * (row + float(rng.normal(scale=1.5)))),
                (0.0, 0.0, size + float(rng.uniform(-0.6, 1.2))),
                (size, size, size * float(rng.uniform(0.8, 1.5))),
                Kind.VEGETATION,
                Material.FOLIAGE,
                extra=(float(rng.uniform(0.4, 1.2)), 0.0, 0.0),
            )
        for _ in range(int(rng.integers(0, 3))):
            place = layout.frame(
                middle + float(rng.uniform(-0.5, 0.5)) * width,
                side * (outer + float(rng.uniform(14, 32))),
            )
            objects.add_tree(scene, place, rng)
        along += width


def _park(
    layout: Layout, scene: SceneBuilder, side: float, inner: float, rng: np.random.Generator
) -> None:
    """Fill the parking strip, if there is one, with gaps."""
    ground = layout.ground
    strip = ground.parking_left_m if side > 0 else ground.parking_right_m
    if strip <= 0:
        return
    along = layout.start_m + 3
    occupied = float(rng.uniform(0.15, 0.6))
    while along < layout.end_m:
        if not layout.in_crossing(along, 5.0) and rng.random() < occupied:
            turn = float(rng.normal(scale=0.03)) + (np.pi if side > 0 else 0.0)
            across = side * (inner - strip / 2 + float(rng.normal(scale=0.1)))
            frame = layout.frame(along, across, turn)
            choice = rng.random()
            if choice < 0.86:
                vehicles.add_car(scene, frame, rng)
            elif choice < 0.91:
                vehicles.add_truck(scene, frame, rng)
                along += 3.0
            elif choice < 0.95:
                vehicles.add_trailer(scene, frame, rng)
            else:
                vehicles.add_motorcycle(scene, frame)
        along += float(rng.uniform(5.8, 7.2))


def _furnish(
    layout: Layout, scene: SceneBuilder, side: float, inner: float, rng: np.random.Generator
) -> None:
    """Put lamps, signs, bins and trees along the curb, bicycles and people on the sidewalk."""
    along = layout.start_m + float(rng.uniform(0, 20))
    trees = rng.random() < 0.5
    while along < layout.end_m:
        if not layout.in_crossing(along, 2.0):
            towards_road = -side * np.pi / 2
            curbside = layout.frame(along, side * (inner + 0.35), towards_road)
            choice = rng.random()
            if choice < 0.22:
                objects.add_lamp(scene, curbside, rng)
            elif choice < 0.40:
                facing = np.pi if side < 0 else 0.0
                objects.add_sign(scene, layout.frame(along, side * (inner + 0.35), facing), rng)
            elif choice < 0.52:
                along_curb = layout.frame(along, side * (inner + 0.4))
                objects.add_street_furniture(scene, along_curb, rng)
            elif choice < 0.64:
                leaning = float(rng.normal(scale=0.2))
                vehicles.add_bicycle(scene, layout.frame(along, side * (inner + 1.9), leaning))
            elif choice < 0.72:
                objects.add_person(
                    scene,
                    layout.frame(along, side * (inner + 1.2), float(rng.uniform(0, 6.28))),
                    rng,
                )
            elif trees:
                objects.add_tree(scene, layout.frame(along, side * (inner + 0.5)), rng)
        along += float(rng.uniform(5, 11))
    for middle, half in layout.crossings:
        corner = layout.frame(middle - half - 1.0, side * (inner + 0.5), np.pi)
        objects.add_traffic_light(scene, corner)


def _house_lot(
    layout: Layout,
    scene: SceneBuilder,
    side: float,
    outer: float,
    middle: float,
    width: float,
    rng: np.random.Generator,
) -> None:
    """Put up a building behind a front yard with a fence, a hedge, a wall or nothing."""
    yard = float(rng.choice([0.0, 1.5, 3.0, 5.0], p=[0.2, 0.2, 0.3, 0.3]))
    depth, height = float(rng.uniform(7, 12)), float(rng.uniform(4, 13))
    gap = float(rng.choice([0.0, 1.5, 3.5]))
    front = outer + yard
    frame = layout.frame(middle, side * (front + depth / 2))
    material = Material.PLASTER if rng.random() < 0.6 else Material.BRICK
    bay = float(rng.uniform(2.2, 3.6))
    scene.add(
        Shape.FACADE,
        frame,
        (0.0, 0.0, height / 2 - 0.3),
        ((width - gap) / 2, depth / 2, height / 2 + 0.3),
        Kind.BUILDING,
        material,
        extra=(bay, float(rng.uniform(0.35, 0.6)), float(rng.uniform(100, 110))),
    )
    if rng.random() < 0.4:
        # A bay or an entrance that stands out of the facade.
        out = float(rng.uniform(0.3, 1.2)) if yard > 0 else 0.25
        scene.add(
            Shape.BOX,
            frame,
            (float(rng.uniform(-0.3, 0.3)) * width, -side * (depth / 2 + out / 2), 1.6),
            (float(rng.uniform(0.6, 1.5)), out / 2, 1.9),
            Kind.BUILDING,
            material,
        )
    if yard <= 0:
        return
    _border(layout, scene, side, outer + 0.15, middle, (width - gap) / 2, rng)
    if gap > 3.0 and rng.random() < 0.6:
        drive = layout.frame(middle + width / 2 - 0.3, side * (outer + 3.0), np.pi / 2)
        vehicles.add_car(scene, drive, rng)
    for _ in range(int(rng.integers(1, 7))):
        place = layout.frame(
            middle + float(rng.uniform(-0.4, 0.4)) * width,
            side * (outer + float(rng.uniform(0.4, 1.0)) * yard),
        )
        if rng.random() < 0.2 and yard > 2.5:
            objects.add_tree(scene, place, rng)
        else:
            objects.add_bush(scene, place, rng)


def _border(
    layout: Layout,
    scene: SceneBuilder,
    side: float,
    across: float,
    middle: float,
    half_width: float,
    rng: np.random.Generator,
) -> None:
    """Separate a yard from the sidewalk."""
    choice = rng.random()
    frame = layout.frame(middle, side * across)
    height = float(rng.uniform(0.8, 1.7))
    if choice < 0.33:
        scene.add(
            Shape.MESH,
            frame,
            (0.0, 0.0, height / 2),
            (half_width, 0.02, height / 2),
            Kind.FENCE,
            Material.METAL,
            extra=(0.55, 0.0, 0.0),
        )
    elif choice < 0.46:
        scene.add(
            Shape.BOX,
            frame,
            (0.0, 0.0, height / 2),
            (half_width, 0.03, height / 2),
            Kind.FENCE,
            Material.WOOD,
        )
    elif choice < 0.84:
        scene.add(
            Shape.HEDGE,
            frame,
            (0.0, side * 0.35, height / 2),
            (half_width, 0.35, height / 2),
            Kind.VEGETATION,
            Material.FOLIAGE,
            extra=(0.12, 0.0, 0.0),
        )
    elif choice < 0.93:
        scene.add(
            Shape.BOX,
            frame,
            (0.0, 0.0, 0.35),
            (half_width, 0.12, 0.45),
            Kind.WALL,
            Material.BRICK,
        )


def _green_lot(
    layout: Layout,
    scene: SceneBuilder,
    side: float,
    outer: float,
    middle: float,
    width: float,
    rng: np.random.Generator,
) -> None:
    """Leave a lot green: trees and bushes, perhaps a fence in front."""
    if rng.random() < 0.6:
        _border(layout, scene, side, outer + 0.15, middle, width / 2, rng)
    for _ in range(int(rng.integers(5, 14))):
        place = layout.frame(
            middle + float(rng.uniform(-0.5, 0.5)) * width,
            side * (outer + float(rng.uniform(1.0, 16.0))),
        )
        if rng.random() < 0.5:
            objects.add_tree(scene, place, rng)
        else:
            objects.add_bush(scene, place, rng)


def _open_lot(
    layout: Layout,
    scene: SceneBuilder,
    side: float,
    outer: float,
    middle: float,
    width: float,
    rng: np.random.Generator,
) -> None:
    """Leave a paved or gravel lot open: a few cars, a lorry, bushes at its back."""
    slots = np.arange(middle - 0.4 * width, middle + 0.4 * width, 3.0)
    for along in slots[rng.random(len(slots)) < 0.3]:
        frame = layout.frame(float(along), side * (outer + 7.0), np.pi / 2)
        if rng.random() < 0.85:
            vehicles.add_car(scene, frame, rng)
        else:
            vehicles.add_trailer(scene, frame, rng)
    for _ in range(int(rng.integers(2, 6))):
        along = middle + float(rng.uniform(-0.5, 0.5)) * width
        place = layout.frame(along, side * (outer + float(rng.uniform(15.0, 18.0))))
        objects.add_bush(scene, place, rng)
