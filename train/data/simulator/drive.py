"""A drive: through one street after the other, stopping for a sweep every few metres."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from train.data.simulator.scene import Scene
from train.data.simulator.street import Street

SPEED_M_S = 8.0

_SPACING_M = 10.0
_SWEEPS_A_STREET = 4


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


def drive(count: int, seed: Sequence[int]) -> Iterator[Stop]:
    """Yield `count` stops, four in a street; the same for the same seed."""
    street, first_instance = None, 1
    for index in range(count):
        turn, on_street = divmod(index, _SWEEPS_A_STREET)
        if street is None or on_street == 0:
            street = Street(
                _SWEEPS_A_STREET * _SPACING_M,
                np.random.default_rng([0, *seed, turn]),
                first_instance=first_instance,
            )
        along = on_street * _SPACING_M
        time = along / SPEED_M_S
        scene = street.scene_at(time)
        first_instance = max(first_instance, int(scene.instance.max(initial=0)) + 1)
        yield Stop(index, street, along, time, scene, np.random.default_rng([1, *seed, index]))
