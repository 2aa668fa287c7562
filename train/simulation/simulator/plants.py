"""Trees, bushes and hedges, drawn in their own frame: forward, left, up.

A crown is many small porous balls: one big one would show as a ball in every sweep.
"""

import numpy as np

from train.simulation.simulator.parts import Point, Spot
from train.simulation.simulator.surfaces import Kind, Material


def add_tree(spot: Spot, *, size: float | None = None) -> None:
    """Add a tree of any form: round, tall and narrow, a conifer, bare, or young with a stake.

    Parameters
    ----------
    spot
        Where it goes, and what decides its looks.
    size
        About 1 for a street tree; None for any.
    """
    size = spot.uniform(0.7, 1.4) if size is None else size
    form = spot.rng.random()
    if form < 0.62:
        _round(spot, size)
    elif form < 0.74:
        _narrow(spot, size)
    elif form < 0.86:
        _conifer(spot, size)
    elif form < 0.94:
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
        leaves.leaves(
            (
                float(direction[0]) * half[0] * reach,
                float(direction[1]) * half[0] * reach,
                middle + float(direction[2]) * half[1] * reach,
            ),
            (
                size * spot.uniform(0.7, 1.3),
                size * spot.uniform(0.7, 1.3),
                size * spot.uniform(0.5, 0.9),
            ),
            free_path * spot.uniform(0.6, 1.6),
        )


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


def _narrow(spot: Spot, size: float) -> None:
    tall = spot.uniform(2.5, 4.5) * size
    _trunk(spot, spot.uniform(0.08, 0.15), tall)
    half = (spot.uniform(0.5, 0.9), tall)
    _crown(spot, 0.6 + tall, half, int(26 + 8 * size), (0.2, 0.5))


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
        place = (
            spot.uniform(-1.0, 1.0) * size,
            spot.uniform(-1.0, 1.0) * size,
            clear + spot.uniform(1.0, 3.0) * size,
        )
        half = (0.9 * size, 0.9 * size, 0.8 * size)
        twigs.leaves(place, half, spot.uniform(3.0, 7.0))


def _young(spot: Spot) -> None:
    _trunk(spot, spot.uniform(0.03, 0.05), 2.2)
    stake = spot.parts(Kind.OTHER_OBJECT)
    for left in (-0.35, 0.35):
        stake.post((0.0, left), 0.03, 0.0, 1.5, Material.WOOD)
    half = (spot.uniform(0.4, 0.7), spot.uniform(0.5, 0.9))
    _crown(spot, spot.uniform(2.3, 2.8), half, 8, (0.2, 0.4))


def add_bush(spot: Spot, *, size: float | None = None) -> None:
    """Add a bush: porous clumps near the ground; `size` is about 1, any if None."""
    size = spot.uniform(0.5, 1.6) if size is None else size
    leaves = spot.parts(Kind.VEGETATION)
    free_path = spot.uniform(0.1, 0.3)
    for _ in range(int(spot.rng.integers(5, 11))):
        half = spot.uniform(0.18, 0.5) * size
        place = (
            float(spot.rng.normal(scale=0.38 * size)),
            float(spot.rng.normal(scale=0.38 * size)),
            spot.uniform(0.1, 1.1) * size,
        )
        flat = (half * spot.uniform(0.8, 1.4), half * spot.uniform(0.8, 1.4), half)
        leaves.leaves(place, flat, free_path)


def add_hedge(spot: Spot, half_length: float, height: float, half_width: float = 0.35) -> None:
    """Add a hedge along the frame: a trimmed core, and clumps that make its faces uneven."""
    hedge = spot.parts(Kind.VEGETATION)
    core = (half_length, 0.8 * half_width, 0.46 * height)
    hedge.hedge((0.0, 0.0, 0.46 * height), core, 0.15)
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
