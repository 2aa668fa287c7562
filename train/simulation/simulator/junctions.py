"""What stands at crossings: lights, signs, islands' posts, who waits in the arms of the street."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from train.simulation.simulator import heavy, objects, people, two_wheelers, vehicles
from train.simulation.simulator.course import Footprints
from train.simulation.simulator.layout import Crossing, Layout
from train.simulation.simulator.parts import Spot, chance, uniform
from train.simulation.simulator.scene import SceneBuilder
from train.simulation.simulator.surfaces import Kind, Material

_WAITING: Final = {
    Kind.CAR: (0.62, 4.6, 0.95),
    Kind.TRUCK: (0.06, 8.4, 1.25),
    Kind.BUS: (0.04, 12.2, 1.25),
    Kind.MOTORCYCLIST: (0.1, 2.0, 0.4),
    Kind.BICYCLIST: (0.18, 2.0, 0.4),
}
"""Who waits at a stop line: share, length and half width in meters."""


def equip(layout: Layout, scene: SceneBuilder, taken: Footprints, rng: np.random.Generator) -> None:
    """Put up every crossing's lights or signs, and let some wait there."""
    for crossing in layout.crossings:
        at = _Junction(layout, crossing, scene, taken, rng)
        if crossing.lights:
            at.signals()
        else:
            at.signs()
        if chance(rng, 0.6):
            arm = crossing.arms[0]
            objects.add_street_name(at.spot(crossing.along_m + crossing.reach_m - 0.4, arm, 0.5))
        for arm in crossing.arms:
            at.queue(arm)
            at.wait_to_cross(arm)


@dataclass(frozen=True)
class _Junction:
    """A crossing while things are put there."""

    layout: Layout
    crossing: Crossing
    scene: SceneBuilder
    taken: Footprints
    rng: np.random.Generator

    def spot(self, along_m: float, arm: float, beyond_m: float, turn: float = 0.0) -> Spot:
        """Return a place along the main street, so far beyond its curb on an arm's side."""
        across = arm * (self.layout.curb(arm) + beyond_m)
        frame = self.layout.frame(along_m, across, turn)
        return Spot(self.scene, frame, self.rng)

    def signals(self) -> None:
        """Put lights before the crossing on the main street's right sides, and in the arms."""
        layout, half, middle = self.layout, self.crossing.half_m, self.crossing.along_m
        long_arm = layout.half_road_m > 5.0
        for sense in (1.0, -1.0):
            turn = np.pi if sense > 0 else 0.0
            # Seen from the light, which looks at the driver, the carriageway is to its right.
            reach = (layout.parking[-sense] + 0.6 * layout.half_road_m) if long_arm else 0.0
            light = self.spot(middle - sense * (half + 4.6), -sense, 0.4, turn)
            objects.add_traffic_light(light, arm_m=-reach)
        for arm in self.crossing.arms:
            along = middle - arm * (half + 0.5)
            objects.add_traffic_light(self.spot(along, arm, 3.4, arm * np.pi / 2))

    def signs(self) -> None:
        """Put signs that say who gives way at the arms, and islands' posts."""
        layout, crossing = self.layout, self.crossing
        for arm in crossing.arms:
            # The sign faces who comes out of the arm.
            along = crossing.along_m - arm * (crossing.half_m + 0.4)
            objects.add_sign(self.spot(along, arm, 4.6, arm * np.pi / 2))
        if not layout.median_m and layout.half_road_m > 3.5 and crossing.zebra:
            for side in (1.0, -1.0):
                along = crossing.along_m + side * (crossing.half_m + 6.4)
                frame = layout.frame(along, 0.0, 0.0 if side > 0 else np.pi)
                island = Spot(self.scene, frame, self.rng)
                island.parts(Kind.POLE).post((0.0, 0.0), 0.04, 0.0, 1.3, Material.METAL)
                sign = island.parts(Kind.SIGN).shifted(0.05, 0.0, np.pi / 2)
                sign.wheel((0.0, 0.0, 1.1), 0.25, 0.012, Material.REFLECTOR)

    def queue(self, arm: float) -> None:
        """Let some vehicles stand at the stop line of an arm."""
        if not chance(self.rng, 0.5 if self.crossing.lights else 0.3):
            return
        across = self.layout.curb(arm) + 4.6
        lane = self.crossing.along_m - arm * self.crossing.half_m / 2
        kinds, shares = list(_WAITING), [row[0] for row in _WAITING.values()]
        for _ in range(int(self.rng.integers(1, 4))):
            kind = kinds[int(self.rng.choice(len(kinds), p=shares))]
            _, length, half_width = _WAITING[kind]
            frame = self.layout.frame(lane, arm * (across + length / 2), -arm * np.pi / 2)
            if across + length > 45.0 or not self.taken.take(frame, length / 2, half_width):
                return
            spot = Spot(self.scene, frame, self.rng)
            if kind == Kind.CAR:
                vehicles.add_car(spot)
            elif kind == Kind.TRUCK:
                heavy.add_truck(spot)
            elif kind == Kind.BUS:
                heavy.add_bus(spot, Kind.BUS)
            else:
                two_wheelers.add_rider(spot, kind)
            across += length + uniform(self.rng, 1.2, 2.5)

    def wait_to_cross(self, arm: float) -> None:
        """Let some people stand at the curb before the stripes."""
        rng = self.rng
        if not self.crossing.zebra or not chance(rng, 0.5):
            return
        for _ in range(int(rng.integers(1, 4))):
            sense = 1.0 if chance(rng, 0.5) else -1.0
            reach = self.crossing.half_m + uniform(rng, 3.2, 4.2)
            beyond = uniform(rng, 0.4, 1.0)
            turn = -arm * np.pi / 2 + uniform(rng, -0.5, 0.5)
            kind = Kind.CHILD if chance(rng, 0.2) else Kind.PERSON
            spot = self.spot(self.crossing.along_m + sense * reach, arm, beyond, turn)
            if self.taken.take(spot.frame, 0.25, 0.3):
                people.add_person(spot, kind)
