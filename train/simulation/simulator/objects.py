"""What stands beside a street: lamps, signs, lights, furniture, cones, plants; forward, left, up.

A crown is many small porous balls: one big one would show as a ball in every frame.
"""

import numpy as np

from train.simulation.simulator.parts import Parts, Point, Spot, pick_below
from train.simulation.simulator.scene import Shape
from train.simulation.simulator.surfaces import Kind, Material

_TREES = {"round": 0.62, "narrow": 0.74, "conifer": 0.86, "bare": 0.94, "young": 1.0}
_SIGNS = {"round": 0.5, "square": 0.75, "triangle": 1.0}
_BARRIERS = {"boards": 0.45, "concrete": 0.75, "fence": 1.0}
_DEBRIS = {"cardboard": 0.4, "bag": 0.75, "plank": 1.0}
"""Shares of their forms, each above the one before."""


def add_lamp(spot: Spot) -> None:
    """Add a street lamp whose arm reaches forward, or one with its light on top."""
    lamp = spot.parts(Kind.POLE)
    if spot.chance(0.65):
        radius, height = spot.uniform(0.06, 0.1), spot.uniform(6.0, 9.0)
        lamp.post((0.0, 0.0), 1.5 * radius, 0.0, 1.1, Material.METAL)
        lamp.post((0.0, 0.0), radius, 0.0, height, Material.METAL)
        reach = spot.uniform(0.8, 2.2)
        lamp.beam((0.0, height - 0.05), (reach, height + 0.3), 0.035, Material.METAL)
        lamp.box((reach + 0.3, 0.0, height + 0.3), (0.4, 0.13, 0.06), Material.PLASTIC)
    else:
        height = spot.uniform(3.5, 4.6)
        lamp.post((0.0, 0.0), 0.055, 0.0, height, Material.METAL)
        lamp.ball((0.0, 0.0, height + 0.2), (0.24, 0.24, 0.22), Material.PLASTIC)


def _add_plate(sign: Parts, up: float, half_width: float, half_height: float) -> None:
    """Add a square plate that reflects to the front and is bare metal behind."""
    half = (0.012, half_width, half_height)
    sign.box((0.05, 0.0, up), half, Material.REFLECTOR)
    sign.box((0.03, 0.0, up), half, Material.METAL)


def add_sign(spot: Spot) -> None:
    """Add a traffic sign or two on a post, facing along the frame."""
    height = spot.uniform(2.1, 2.7)
    spot.parts(Kind.POLE).post((0.0, 0.0), 0.035, 0.0, height + 0.35, Material.METAL)
    sign = spot.parts(Kind.SIGN)
    turned = sign.shifted(0.05, 0.0, np.pi / 2)
    form, size = pick_below(spot.rng, _SIGNS), spot.uniform(0.29, 0.36)
    if form == "round":
        # A round plate is a wheel turned by a quarter.
        turned.wheel((0.0, 0.0, height), size, 0.012, Material.REFLECTOR)
        turned.wheel((0.0, 0.02, height), size, 0.012, Material.METAL)
    elif form == "square":
        _add_plate(sign, height, size, size)
    else:
        low, high = height - 0.6 * size, height + 1.1 * size
        corners = [(-1.1 * size, low), (1.1 * size, low), (0.0, high)]
        turned.prism(corners, 0.012, Material.REFLECTOR)
        turned.prism(corners, 0.012, Material.METAL, left=0.02)
    if spot.chance(0.3):
        _add_plate(sign, height - 0.62, 0.3, 0.13)


def add_street_name(spot: Spot) -> None:
    """Add a post with the name plates of two streets."""
    spot.parts(Kind.POLE).post((0.0, 0.0), 0.03, 0.0, 2.7, Material.METAL)
    plates = spot.parts(Kind.SIGN)
    plates.box((0.0, 0.0, 2.6), (0.012, 0.45, 0.09), Material.REFLECTOR)
    plates.box((0.0, 0.0, 2.4), (0.45, 0.012, 0.09), Material.REFLECTOR)


def add_big_sign(spot: Spot) -> None:
    """Add a direction sign on two posts, facing along the frame."""
    half, height = spot.uniform(0.9, 1.6), spot.uniform(0.5, 0.9)
    posts = spot.parts(Kind.POLE)
    for left in (-0.7 * half, 0.7 * half):
        posts.post((0.0, left), 0.05, 0.0, 2.0 + 2 * height, Material.METAL)
    plate = spot.parts(Kind.SIGN)
    plate.box((0.09, 0.0, 2.0 + height), (0.015, half, height), Material.REFLECTOR)
    plate.box((0.06, 0.0, 2.0 + height), (0.015, half, height), Material.METAL)


def _add_lights(spot: Spot, up: float, count: int = 3) -> None:
    """Add a housing with its lenses' hoods that faces forward, its middle at `up`."""
    light = spot.parts(Kind.TRAFFIC_LIGHT)
    light.box((0.0, 0.0, up), (0.1, 0.15, 0.16 * count), Material.BLACK_PAINT)
    light.box((0.06, 0.0, up), (0.012, 0.24, 0.16 * count + 0.1), Material.DARK_PAINT)
    for number in range(count):
        lens = up + 0.31 * (number - (count - 1) / 2)
        light.box((0.18, 0.0, lens + 0.11), (0.1, 0.11, 0.012), Material.BLACK_PAINT)
        light.ball((0.1, 0.0, lens), (0.03, 0.1, 0.1), Material.PLASTIC)


def add_traffic_light(spot: Spot, *, arm_m: float = 0.0) -> None:
    """Add a traffic light that faces forward, one for walkers, and one over the road on a arm.

    The arm reaches so far to the frame's left, if negative to its right; 0 is for none.
    """
    pole = spot.parts(Kind.POLE)
    height = 5.4 if arm_m else spot.uniform(3.0, 3.6)
    pole.post((0.0, 0.0), 0.09 if arm_m else 0.06, 0.0, height, Material.METAL)
    _add_lights(spot.moved(0.18, 0.0), 2.75)
    _add_lights(spot.moved(0.0, 0.2, turn=np.pi / 2), 2.45, 2)
    if arm_m:
        sideways = spot.moved(0.0, 0.0, turn=np.pi / 2).parts(Kind.POLE)
        sideways.beam((0.0, height - 0.1), (arm_m, height + 0.25), 0.05, Material.METAL)
        _add_lights(spot.moved(0.15, 0.95 * arm_m), height + 0.15)


def add_street_furniture(spot: Spot) -> None:
    """Add a bin, bollards, a switch cabinet, a bench, a hydrant, a letter box or planters."""
    item = spot.parts(Kind.OTHER_OBJECT)
    choice = int(spot.rng.integers(7))
    if choice == 0:
        item.post((0.0, 0.0), 0.04, 0.0, 1.1, Material.METAL)
        item.post((0.0, 0.16), 0.17, 0.55, 1.05, Material.DARK_PAINT)
    elif choice == 1:
        for forward in (-3.0, -1.5, 0.0, 1.5, 3.0):
            item.post((forward, 0.0), 0.06, 0.0, 0.9, Material.METAL)
    elif choice == 2:
        item.box((0.0, 0.0, 0.6), (spot.uniform(0.4, 0.8), 0.2, 0.6), Material.PLASTIC)
    elif choice == 3:
        item.box((0.0, 0.0, 0.45), (0.8, 0.22, 0.04), Material.WOOD)
        item.box((0.0, -0.22, 0.7), (0.8, 0.03, 0.22), Material.WOOD)
        item.box((-0.6, 0.0, 0.2), (0.05, 0.2, 0.2), Material.WOOD)
        item.box((0.6, 0.0, 0.2), (0.05, 0.2, 0.2), Material.WOOD)
    elif choice == 4:
        item.post((0.0, 0.0), 0.12, 0.0, 0.65, Material.BRIGHT_PAINT)
        item.ball((0.0, 0.0, 0.68), (0.13, 0.13, 0.12), Material.BRIGHT_PAINT)
    elif choice == 5:
        item.post((0.0, 0.0), 0.04, 0.0, 0.9, Material.METAL)
        item.box((0.0, 0.0, 1.15), (0.28, 0.2, 0.32), Material.BRIGHT_PAINT)
    else:
        leaves = spot.parts(Kind.VEGETATION)
        for forward in (-1.2, 1.2):
            item.box((forward, 0.0, 0.3), (0.5, 0.3, 0.3), Material.CONCRETE)
            for shift in (-0.25, 0.25):
                leaves.leaves((forward + shift, 0.0, 0.75), (0.35, 0.3, 0.28), 0.2)


def add_bicycle_rack(spot: Spot, count: int, pitch_m: float) -> None:
    """Add hoops to lean bicycles on, one every `pitch_m` to the left, each along the frame."""
    rack = spot.parts(Kind.BICYCLE_RACK)
    for number in range(count):
        left = (number - (count - 1) / 2) * pitch_m
        for forward in (-0.38, 0.38):
            rack.post((forward, left), 0.025, 0.0, 0.82, Material.METAL)
        rack.box((0.0, left, 0.8), (0.38, 0.025, 0.025), Material.METAL)


def add_bins(spot: Spot) -> None:
    """Add wheeled bins put out for collection, or a shopping cart."""
    if spot.chance(0.2):
        cart = spot.parts(Kind.PUSHABLE)
        cart.mesh((0.0, 0.0, 0.75), (0.42, 0.27, 0.22), 0.5, Material.METAL)
        cart.box((-0.48, 0.0, 1.0), (0.02, 0.26, 0.02), Material.PLASTIC)
        for forward in (-0.35, 0.35):
            cart.both().wheel((forward, 0.22, 0.07), 0.07, 0.02)
        cart.box((0.0, 0.0, 0.3), (0.4, 0.24, 0.02), Material.METAL)
        return
    for number in range(int(spot.rng.integers(1, 4))):
        lean = spot.uniform(-0.3, 0.3)
        dustbin = spot.parts(Kind.PUSHABLE).shifted(0.65 * number, 0.0, lean)
        body = [(-0.22, 0.08), (0.2, 0.08), (0.28, 0.95), (-0.3, 0.95)]
        dustbin.prism(body, 0.27, Material.DARK_PAINT)
        dustbin.box((0.0, 0.0, 1.0), (0.33, 0.29, 0.05), Material.PLASTIC)
        dustbin.both().wheel((-0.28, 0.22, 0.1), 0.1, 0.03)


def add_debris(spot: Spot) -> None:
    """Add what lies about: cardboard, bags, rubble, planks."""
    for _ in range(int(spot.rng.integers(2, 7))):
        place = (spot.uniform(-0.8, 0.8), spot.uniform(-0.5, 0.5))
        piece = spot.parts(Kind.DEBRIS).shifted(*place, spot.uniform(0.0, 3.1))
        form = pick_below(spot.rng, _DEBRIS)
        if form == "cardboard":
            half = (spot.uniform(0.1, 0.35), spot.uniform(0.1, 0.25), spot.uniform(0.06, 0.25))
            piece.box((0.0, 0.0, half[2]), half, Material.WOOD)
        elif form == "bag":
            size = spot.uniform(0.15, 0.32)
            piece.ball((0.0, 0.0, 0.7 * size), (size, 0.9 * size, 0.8 * size), Material.BLACK_PAINT)
        else:
            piece.box((0.0, 0.0, 0.05), (spot.uniform(0.4, 1.2), 0.09, 0.04), Material.WOOD)


def add_vapour(spot: Spot) -> None:
    """Add a thin cloud, of steam from a drain or of exhaust: it sends back a stray echo or two."""
    cloud = spot.parts(Kind.OUTLIER)
    for number in range(3):
        size = spot.uniform(0.25, 0.45) * (1.0 + 0.5 * number)
        place = (0.3 * number, spot.uniform(-0.2, 0.2), 0.3 + 0.5 * number)
        free_path = spot.uniform(4.0, 9.0)
        cloud.solid(Shape.FOLIAGE, place, (size, size, size), Material.VAPOUR, free_path)


def add_cone(spot: Spot) -> None:
    """Add a traffic cone: a foot, and three rings that narrow."""
    cone = spot.parts(Kind.CONE)
    tall = spot.uniform(0.5, 0.95)
    cone.box((0.0, 0.0, 0.02), (0.19, 0.19, 0.02), Material.RUBBER)
    for number, material in enumerate((Material.PLASTIC, Material.REFLECTOR, Material.PLASTIC)):
        low = 0.04 + number * tall / 3
        cone.post((0.0, 0.0), 0.15 - 0.045 * number, low, low + tall / 3, material)


def add_barrier(spot: Spot) -> None:
    """Add 2 m of what closes off a building site: boards on feet, a fence, or concrete."""
    barrier = spot.parts(Kind.BARRIER)
    form = pick_below(spot.rng, _BARRIERS)
    if form == "boards":
        for forward in (-0.85, 0.85):
            barrier.box((forward, 0.0, 0.06), (0.06, 0.35, 0.06), Material.RUBBER)
            barrier.box((forward, 0.0, 0.5), (0.03, 0.03, 0.5), Material.PLASTIC)
        barrier.box((0.0, 0.0, 0.92), (1.0, 0.02, 0.13), Material.REFLECTOR)
        barrier.box((0.0, 0.0, 0.35), (1.0, 0.02, 0.08), Material.REFLECTOR)
    elif form == "concrete":
        foot = [(-0.3, 0.0), (0.3, 0.0), (0.22, 0.25), (0.1, 0.8), (-0.1, 0.8), (-0.22, 0.25)]
        barrier.shifted(0.0, 0.0, np.pi / 2).prism(foot, 1.0, Material.CONCRETE)
    else:
        for forward in (-0.95, 0.95):
            barrier.box((forward, 0.0, 0.07), (0.1, 0.3, 0.07), Material.CONCRETE)
            barrier.post((forward, 0.0), 0.02, 0.0, 2.0, Material.METAL)
        barrier.mesh((0.0, 0.0, 1.05), (0.95, 0.01, 0.9), 0.72, Material.METAL)
        barrier.box((0.0, 0.0, 1.97), (0.95, 0.02, 0.02), Material.METAL)


def add_shelter(spot: Spot) -> None:
    """Add a bus stop: a shelter open to the front, its bench, and the stop's sign."""
    shelter = spot.parts(Kind.SHELTER)
    half = spot.uniform(1.6, 2.4)
    for left in (-half, 0.0, half):
        shelter.post((-0.6, left), 0.04, 0.0, 2.4, Material.METAL)
    shelter.box((0.0, 0.0, 2.45), (0.8, half + 0.15, 0.06), Material.METAL)
    shelter.box((-0.62, 0.0, 1.2), (0.012, half, 0.95), Material.GLASS)
    shelter.both().box((-0.15, half, 1.2), (0.45, 0.03, 0.95), Material.PLASTIC)
    shelter.box((-0.35, 0.0, 0.45), (0.2, half - 0.4, 0.03), Material.WOOD)
    stop = spot.moved(0.5, half + 1.2)
    stop.parts(Kind.POLE).post((0.0, 0.0), 0.035, 0.0, 2.6, Material.METAL)
    stop.parts(Kind.SIGN).box((0.0, 0.0, 2.4), (0.22, 0.015, 0.25), Material.REFLECTOR)


def add_tree(spot: Spot, *, size: float | None = None) -> None:
    """Add a tree of any form: round, tall and narrow, a conifer, bare, or young with a stake.

    Its size is about 1 for a street tree; any if None.
    """
    size = spot.uniform(0.7, 1.4) if size is None else size
    form = pick_below(spot.rng, _TREES)
    if form == "round":
        _round(spot, size)
    elif form == "narrow":
        tall = spot.uniform(2.5, 4.5) * size
        _trunk(spot, spot.uniform(0.08, 0.15), tall)
        half = (spot.uniform(0.5, 0.9), tall)
        _crown(spot, 0.6 + tall, half, int(26 + 8 * size), (0.2, 0.5))
    elif form == "conifer":
        _conifer(spot, size)
    elif form == "bare":
        _bare(spot, size)
    else:
        _young(spot)


def add_street_tree(spot: Spot, size: float) -> None:
    """Add a tree that people and cars pass under, or a young one that will grow to be such."""
    if spot.chance(0.12):
        _young(spot)
    elif spot.chance(0.1):
        _bare(spot, size)
    else:
        _round(spot, size, clear_m=2.4)


def _trunk(spot: Spot, radius: float, high: float) -> None:
    trunk = spot.parts(Kind.TRUNK)
    trunk.post((0.0, 0.0), radius, -0.3, high, Material.BARK)
    if radius > 0.15:
        trunk.post((0.0, 0.0), 1.35 * radius, -0.3, spot.uniform(0.15, 0.4), Material.BARK)


def _crown(spot: Spot, middle: float, half: Point, count: int, clump: Point) -> None:
    """Add clumps inside an upright ellipsoid (half sizes: level, upright), most near its skin."""
    leaves = spot.parts(Kind.VEGETATION)
    free_path = spot.uniform(0.25, 0.8)
    for _ in range(count):
        direction = spot.rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        reach = float(spot.rng.random() ** 0.4) * 0.85
        size = spot.uniform(*clump)
        x, y, z = direction.tolist()
        place = (x * half[0] * reach, y * half[0] * reach, middle + z * half[1] * reach)
        around = (size * spot.uniform(0.7, 1.3), size * spot.uniform(0.7, 1.3))
        sizes = (*around, size * spot.uniform(0.5, 0.9))
        leaves.leaves(place, sizes, free_path * spot.uniform(0.6, 1.6))


def _round(spot: Spot, size: float, *, clear_m: float = 0.0) -> None:
    clear = max(spot.uniform(1.4, 2.6) * size, clear_m)
    spread, tall = spot.uniform(1.5, 3.0) * size, spot.uniform(1.6, 3.0) * size
    radius = spot.uniform(0.07, 0.17) * size
    _trunk(spot, radius, clear + 0.6 * tall)
    branches = spot.parts(Kind.TRUNK)
    for turn in spot.rng.uniform(0, 2 * np.pi, size=int(spot.rng.integers(2, 5))):
        fork = branches.shifted(0.0, 0.0, float(turn))
        tip = (spot.uniform(0.4, 0.7) * spread, clear + spot.uniform(0.5, 1.0) * tall)
        fork.beam((0.0, clear * spot.uniform(0.8, 1.0)), tip, 0.35 * radius, Material.BARK)
    count = int(8 + 5 * spread * tall * 0.7)
    _crown(spot, clear + tall, (spread, tall), min(count, 34), (0.35, 1.0))


def _conifer(spot: Spot, size: float) -> None:
    tall, spread = spot.uniform(5.0, 9.0) * size, spot.uniform(1.1, 1.9) * size
    _trunk(spot, spot.uniform(0.1, 0.2), 0.7 * tall)
    leaves = spot.parts(Kind.VEGETATION)
    up = spot.uniform(0.5, 1.2)
    while up < tall:
        width = spread * (1.0 - up / tall) + 0.2
        for turn in np.arange(4) * 1.571 + spot.uniform(0.0, 2.0):
            place = (0.45 * width * float(np.cos(turn)), 0.45 * width * float(np.sin(turn)), up)
            wide = width * spot.uniform(0.45, 0.8)
            half = (wide, wide, spot.uniform(0.2, 0.3) + 0.1 * width)
            leaves.leaves(place, half, spot.uniform(0.3, 0.7))
        up += spot.uniform(0.5, 0.8)


def _bare(spot: Spot, size: float) -> None:
    clear, radius = spot.uniform(1.5, 2.5) * size, spot.uniform(0.1, 0.2) * size
    _trunk(spot, radius, clear + 0.2 * size)
    wood = spot.parts(Kind.TRUNK)
    for turn in spot.rng.uniform(0, 2 * np.pi, size=int(spot.rng.integers(5, 9))):
        fork = wood.shifted(0.0, 0.0, float(turn))
        knee = (spot.uniform(0.4, 0.9) * size, clear + spot.uniform(0.4, 1.4) * size)
        tip = (knee[0] + spot.uniform(0.2, 0.9) * size, knee[1] + spot.uniform(0.6, 1.6) * size)
        fork.beam((0.0, clear * spot.uniform(0.8, 1.1)), knee, 0.4 * radius, Material.BARK)
        fork.beam(knee, tip, 0.2 * radius, Material.BARK)
    # Twigs are too fine to draw: a loose haze stands for them.
    twigs = spot.parts(Kind.VEGETATION)
    for _ in range(5):
        aside = (spot.uniform(-1.0, 1.0) * size, spot.uniform(-1.0, 1.0) * size)
        place = (*aside, clear + spot.uniform(1.0, 3.0) * size)
        half = (0.9 * size, 0.9 * size, 0.8 * size)
        twigs.leaves(place, half, spot.uniform(3.0, 7.0))


def _young(spot: Spot) -> None:
    _trunk(spot, spot.uniform(0.03, 0.05), 2.2)
    spot.parts(Kind.OTHER_OBJECT).both().post((0.0, 0.35), 0.03, 0.0, 1.5, Material.WOOD)
    half = (spot.uniform(0.4, 0.7), spot.uniform(0.5, 0.9))
    _crown(spot, spot.uniform(2.3, 2.8), half, 8, (0.2, 0.4))


def add_bush(spot: Spot, *, size: float | None = None) -> None:
    """Add a bush: porous clumps near the ground; `size` is about 1, any if None."""
    size = spot.uniform(0.5, 1.6) if size is None else size
    leaves = spot.parts(Kind.VEGETATION)
    free_path = spot.uniform(0.1, 0.3)
    for _ in range(int(spot.rng.integers(5, 11))):
        half = spot.uniform(0.18, 0.5) * size
        aside = (spot.rng.normal(scale=0.38 * size), spot.rng.normal(scale=0.38 * size))
        place = (*aside, spot.uniform(0.1, 1.1) * size)
        flat = (half * spot.uniform(0.8, 1.4), half * spot.uniform(0.8, 1.4), half)
        leaves.leaves(place, flat, free_path)


def add_hedge(spot: Spot, half_length: float, height: float, half_width: float = 0.35) -> None:
    """Add a hedge along the frame: a trimmed core, and clumps that make its faces uneven."""
    hedge = spot.parts(Kind.VEGETATION)
    core = (half_length, 0.8 * half_width, 0.46 * height)
    hedge.solid(Shape.HEDGE, (0.0, 0.0, 0.46 * height), core, Material.FOLIAGE, 0.15)
    wild = spot.chance(0.35)
    for along in np.arange(-half_length, half_length, 0.9):
        size = spot.uniform(0.25, 0.4) * (1.3 if wild else 1.0)
        place = (
            float(along) + spot.uniform(0.0, 0.8),
            spot.uniform(-0.45, 0.45) * half_width,
            spot.uniform(0.45, 0.85 if wild else 0.75) * height,
        )
        half = (1.5 * size, half_width * spot.uniform(0.8, 1.05), 0.8 * size)
        hedge.leaves(place, half, 0.15)
