"""Trees, bushes and hedges, drawn in their own frame: forward, left, up.

A crown is many small porous balls: one big one would show as a ball in every sweep.
"""

import numpy as np

from train.simulation.simulator.parts import Parts, chance, uniform
from train.simulation.simulator.scene import Frame, SceneBuilder
from train.simulation.simulator.surfaces import Kind, Material


def add_tree(
    scene: SceneBuilder, frame: Frame, rng: np.random.Generator, *, size: float | None = None
) -> None:
    """Add a tree of any form: round, tall and narrow, a conifer, bare, or young with a stake.

    Parameters
    ----------
    scene, frame, rng
        Where it goes, and what decides its looks.
    size
        About 1 for a street tree; None for any.
    """
    size = uniform(rng, 0.7, 1.4) if size is None else size
    form = rng.random()
    if form < 0.62:
        _round(scene, frame, rng, size)
    elif form < 0.74:
        _narrow(scene, frame, rng, size)
    elif form < 0.86:
        _conifer(scene, frame, rng, size)
    elif form < 0.94:
        _bare(scene, frame, rng, size)
    else:
        _young(scene, frame, rng)


def add_street_tree(
    scene: SceneBuilder, frame: Frame, rng: np.random.Generator, size: float
) -> None:
    """Add a tree that people and cars pass under, or a young one that will grow to be such."""
    if chance(rng, 0.12):
        _young(scene, frame, rng)
    elif chance(rng, 0.1):
        _bare(scene, frame, rng, size)
    else:
        _round(scene, frame, rng, size, clear_m=2.4)


def _trunk(
    scene: SceneBuilder, frame: Frame, rng: np.random.Generator, radius: float, high: float
) -> None:
    trunk = Parts(scene, frame, Kind.TRUNK)
    trunk.post((0.0, 0.0), radius, -0.3, high, Material.BARK)
    if radius > 0.15:
        trunk.post((0.0, 0.0), 1.35 * radius, -0.3, uniform(rng, 0.15, 0.4), Material.BARK)


def _crown(
    scene: SceneBuilder,
    frame: Frame,
    rng: np.random.Generator,
    middle: float,
    half: tuple[float, float],
    count: int,
    clump: tuple[float, float],
) -> None:
    """Add clumps inside an upright ellipsoid (half sizes: level, upright), most near its skin."""
    leaves = Parts(scene, frame, Kind.VEGETATION)
    free_path = uniform(rng, 0.25, 0.8)
    for _ in range(count):
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        reach = float(rng.random() ** 0.4) * 0.85
        size = uniform(rng, *clump)
        leaves.leaves(
            (
                float(direction[0]) * half[0] * reach,
                float(direction[1]) * half[0] * reach,
                middle + float(direction[2]) * half[1] * reach,
            ),
            (
                size * uniform(rng, 0.7, 1.3),
                size * uniform(rng, 0.7, 1.3),
                size * uniform(rng, 0.5, 0.9),
            ),
            free_path * uniform(rng, 0.6, 1.6),
        )


def _round(
    scene: SceneBuilder,
    frame: Frame,
    rng: np.random.Generator,
    size: float,
    *,
    clear_m: float = 0.0,
) -> None:
    clear = max(uniform(rng, 1.4, 2.6) * size, clear_m)
    spread, tall = uniform(rng, 1.5, 3.0) * size, uniform(rng, 1.6, 3.0) * size
    radius = uniform(rng, 0.07, 0.17) * size
    _trunk(scene, frame, rng, radius, clear + 0.6 * tall)
    branches = Parts(scene, frame, Kind.TRUNK)
    for turn in rng.uniform(0, 2 * np.pi, size=int(rng.integers(2, 5))):
        fork = branches.shifted(0.0, 0.0, float(turn))
        tip = (uniform(rng, 0.4, 0.7) * spread, clear + uniform(rng, 0.5, 1.0) * tall)
        fork.beam((0.0, clear * uniform(rng, 0.8, 1.0)), tip, 0.35 * radius, Material.BARK)
    count = int(8 + 5 * spread * tall * 0.7)
    _crown(scene, frame, rng, clear + tall, (spread, tall), min(count, 34), (0.35, 1.0))


def _narrow(scene: SceneBuilder, frame: Frame, rng: np.random.Generator, size: float) -> None:
    tall = uniform(rng, 2.5, 4.5) * size
    _trunk(scene, frame, rng, uniform(rng, 0.08, 0.15), tall)
    half = (uniform(rng, 0.5, 0.9), tall)
    _crown(scene, frame, rng, 0.6 + tall, half, int(26 + 8 * size), (0.2, 0.5))


def _conifer(scene: SceneBuilder, frame: Frame, rng: np.random.Generator, size: float) -> None:
    tall, spread = uniform(rng, 5.0, 9.0) * size, uniform(rng, 1.1, 1.9) * size
    _trunk(scene, frame, rng, uniform(rng, 0.1, 0.2), 0.7 * tall)
    leaves = Parts(scene, frame, Kind.VEGETATION)
    up = uniform(rng, 0.5, 1.2)
    while up < tall:
        width = spread * (1.0 - up / tall) + 0.2
        for turn in np.arange(4) * 1.571 + uniform(rng, 0.0, 2.0):
            place = (0.45 * width * float(np.cos(turn)), 0.45 * width * float(np.sin(turn)), up)
            wide = width * uniform(rng, 0.45, 0.8)
            half = (wide, wide, uniform(rng, 0.2, 0.3) + 0.1 * width)
            leaves.leaves(place, half, uniform(rng, 0.3, 0.7))
        up += uniform(rng, 0.5, 0.8)


def _bare(scene: SceneBuilder, frame: Frame, rng: np.random.Generator, size: float) -> None:
    clear, radius = uniform(rng, 1.5, 2.5) * size, uniform(rng, 0.1, 0.2) * size
    _trunk(scene, frame, rng, radius, clear + 0.2 * size)
    wood = Parts(scene, frame, Kind.TRUNK)
    for turn in rng.uniform(0, 2 * np.pi, size=int(rng.integers(5, 9))):
        fork = wood.shifted(0.0, 0.0, float(turn))
        knee = (uniform(rng, 0.4, 0.9) * size, clear + uniform(rng, 0.4, 1.4) * size)
        tip = (knee[0] + uniform(rng, 0.2, 0.9) * size, knee[1] + uniform(rng, 0.6, 1.6) * size)
        fork.beam((0.0, clear * uniform(rng, 0.8, 1.1)), knee, 0.4 * radius, Material.BARK)
        fork.beam(knee, tip, 0.2 * radius, Material.BARK)
    # Twigs are too fine to draw: a loose haze stands for them.
    twigs = Parts(scene, frame, Kind.VEGETATION)
    for _ in range(5):
        place = (
            uniform(rng, -1.0, 1.0) * size,
            uniform(rng, -1.0, 1.0) * size,
            clear + uniform(rng, 1.0, 3.0) * size,
        )
        half = (0.9 * size, 0.9 * size, 0.8 * size)
        twigs.leaves(place, half, uniform(rng, 3.0, 7.0))


def _young(scene: SceneBuilder, frame: Frame, rng: np.random.Generator) -> None:
    _trunk(scene, frame, rng, uniform(rng, 0.03, 0.05), 2.2)
    stake = Parts(scene, frame, Kind.OTHER_OBJECT)
    for left in (-0.35, 0.35):
        stake.post((0.0, left), 0.03, 0.0, 1.5, Material.WOOD)
    half = (uniform(rng, 0.4, 0.7), uniform(rng, 0.5, 0.9))
    _crown(scene, frame, rng, uniform(rng, 2.3, 2.8), half, 8, (0.2, 0.4))


def add_bush(
    scene: SceneBuilder, frame: Frame, rng: np.random.Generator, *, size: float | None = None
) -> None:
    """Add a bush: porous clumps near the ground; `size` is about 1, any if None."""
    size = uniform(rng, 0.5, 1.6) if size is None else size
    leaves = Parts(scene, frame, Kind.VEGETATION)
    free_path = uniform(rng, 0.1, 0.3)
    for _ in range(int(rng.integers(5, 11))):
        half = uniform(rng, 0.18, 0.5) * size
        place = (
            float(rng.normal(scale=0.38 * size)),
            float(rng.normal(scale=0.38 * size)),
            uniform(rng, 0.1, 1.1) * size,
        )
        flat = (half * uniform(rng, 0.8, 1.4), half * uniform(rng, 0.8, 1.4), half)
        leaves.leaves(place, flat, free_path)


def add_hedge(
    scene: SceneBuilder,
    frame: Frame,
    rng: np.random.Generator,
    half_length: float,
    height: float,
    half_width: float = 0.35,
) -> None:
    """Add a hedge along the frame: a trimmed core, and clumps that make its faces uneven."""
    hedge = Parts(scene, frame, Kind.VEGETATION)
    core = (half_length, 0.8 * half_width, 0.46 * height)
    hedge.hedge((0.0, 0.0, 0.46 * height), core, 0.15)
    wild = chance(rng, 0.35)
    for along in np.arange(-half_length, half_length, 0.9):
        size = uniform(rng, 0.25, 0.4) * (1.3 if wild else 1.0)
        place = (
            float(along) + uniform(rng, 0.0, 0.8),
            uniform(rng, -0.45, 0.45) * half_width,
            uniform(rng, 0.45, 0.85 if wild else 0.75) * height,
        )
        half = (1.5 * size, half_width * uniform(rng, 0.8, 1.05), 0.8 * size)
        hedge.leaves(place, half, 0.15)
