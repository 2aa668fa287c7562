"""A drive: through one street after the other, stopping for a sweep every few meters."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from train.simulation.simulator.scene import Scene
from train.simulation.simulator.street import Street

SPEED_M_S = 8.0

SWEEPS_A_STREET = 4
"""Usual number of stops in a street before the next one."""


@dataclass(frozen=True)
class Stop:
    """Where and when a sweep is taken.

    Attributes
    ----------
    index
        Number of the sweep in the drive.
    street
        What is around.
    along_m, time_s
        How far into the street, and since when in it, at the driving speed.
    scene
        The street at that time.
    rng
        The sweep's own source of chance.
    """

    index: int
    street: Street
    along_m: float
    time_s: float
    scene: Scene
    rng: np.random.Generator


def drive(
    count: int,
    seed: Sequence[int],
    *,
    spacing_m: float = 10.0,
    sweeps_a_street: int = SWEEPS_A_STREET,
) -> Iterator[Stop]:
    """Yield stops; the same for the same seed.

    Parameters
    ----------
    count
        How many.
    seed
        Decides everything.
    spacing_m
        From one stop to the next.
    sweeps_a_street
        How many stops there are in a street before the next one.
    """
    street, first_instance = None, 1
    for index in range(count):
        turn, on_street = divmod(index, sweeps_a_street)
        if street is None or on_street == 0:
            street = Street(
                sweeps_a_street * spacing_m,
                np.random.default_rng([0, *seed, turn]),
                first_instance=first_instance,
            )
        along = on_street * spacing_m
        time = along / SPEED_M_S
        scene = street.scene_at(time)
        first_instance = max(first_instance, int(scene.instance.max(initial=0)) + 1)
        yield Stop(index, street, along, time, scene, np.random.default_rng([1, *seed, index]))
