"""What stands at crossings: lights, signs, islands' posts, who waits in the arms of the street."""

import numpy as np

from train.simulation.simulator import heavy, objects, people, two_wheelers, vehicles
from train.simulation.simulator.footprints import Footprints
from train.simulation.simulator.layout import Crossing, Layout
from train.simulation.simulator.parts import Parts, chance, uniform
from train.simulation.simulator.scene import SceneBuilder
from train.simulation.simulator.surfaces import Kind, Material

_WAITING = (Kind.CAR, Kind.TRUCK, Kind.BUS, Kind.MOTORCYCLIST, Kind.BICYCLIST)
_WAITING_SHARES = (0.62, 0.06, 0.04, 0.1, 0.18)


def equip(layout: Layout, scene: SceneBuilder, taken: Footprints, rng: np.random.Generator) -> None:
    """Put up every crossing's lights or signs, and let some wait there."""
    for crossing in layout.crossings:
        if crossing.lights:
            _signals(layout, scene, crossing, rng)
        else:
            for arm in crossing.arms:
                # Give way: the sign faces who comes out of the arm.
                side = -arm * (crossing.half_m + 0.4)
                place = (crossing.along_m + side, arm * (layout.curb(arm) + 4.6))
                frame = layout.frame(*place, arm * np.pi / 2)
                objects.add_sign(scene, frame, rng)
            if not layout.median_m and layout.half_road_m > 3.5 and crossing.zebra:
                _refuge(layout, scene, crossing)
        if chance(rng, 0.6):
            arm = crossing.arms[0]
            corner = crossing.along_m + crossing.reach_m - 0.4, arm * (layout.curb(arm) + 0.5)
            objects.add_street_name(scene, layout.frame(*corner))
        for arm in crossing.arms:
            _queue(layout, scene, taken, crossing, arm, rng)
            _wait_to_cross(layout, scene, taken, crossing, arm, rng)


def _signals(
    layout: Layout, scene: SceneBuilder, crossing: Crossing, rng: np.random.Generator
) -> None:
    """Put lights before the crossing on the main street's right-hand sides, and in the arms."""
    long_arm = layout.half_road_m > 5.0
    for sense in (1.0, -1.0):
        side = -sense
        along = crossing.along_m - sense * (crossing.half_m + 4.6)
        facing = layout.frame(along, side * (layout.curb(side) + 0.4), np.pi if sense > 0 else 0.0)
        # Seen from the light, which looks at the driver, the carriageway is to its right.
        reach = (layout.parking[side] + 0.6 * layout.half_road_m) if long_arm else 0.0
        objects.add_traffic_light(scene, facing, rng, arm_m=-reach)
    for arm in crossing.arms:
        along = crossing.along_m - arm * (crossing.half_m + 0.5)
        place = layout.frame(along, arm * (layout.curb(arm) + 3.4), arm * np.pi / 2)
        objects.add_traffic_light(scene, place, rng)


def _refuge(layout: Layout, scene: SceneBuilder, crossing: Crossing) -> None:
    for side in (1.0, -1.0):
        along = crossing.along_m + side * (crossing.half_m + 6.4)
        frame = layout.frame(along, 0.0, 0.0 if side > 0 else np.pi)
        Parts(scene, frame, Kind.POLE).post((0.0, 0.0), 0.04, 0.0, 1.3, Material.METAL)
        sign = Parts(scene, frame, Kind.SIGN).shifted(0.05, 0.0, np.pi / 2)
        sign.wheel((0.0, 0.0, 1.1), 0.25, 0.012, Material.REFLECTOR)


def _queue(
    layout: Layout,
    scene: SceneBuilder,
    taken: Footprints,
    crossing: Crossing,
    arm: float,
    rng: np.random.Generator,
) -> None:
    """Let some vehicles stand at the stop line of an arm."""
    if not chance(rng, 0.5 if crossing.lights else 0.3):
        return
    across = layout.curb(arm) + 4.6
    lane = crossing.along_m - arm * crossing.half_m / 2
    for _ in range(int(rng.integers(1, 4))):
        kind = _WAITING[int(rng.choice(len(_WAITING), p=_WAITING_SHARES))]
        length = {Kind.CAR: 4.6, Kind.TRUCK: 8.4, Kind.BUS: 12.2}.get(kind, 2.0)
        frame = layout.frame(lane, arm * (across + length / 2), -arm * np.pi / 2)
        wide = 1.25 if length > 5.0 else (0.95 if kind == Kind.CAR else 0.4)
        if across + length > 45.0 or not taken.take(frame, length / 2, wide):
            return
        if kind == Kind.CAR:
            vehicles.add_car(scene, frame, rng)
        elif kind == Kind.TRUCK:
            heavy.add_truck(scene, frame, rng)
        elif kind == Kind.BUS:
            heavy.add_bus(scene, frame, rng, Kind.BUS)
        else:
            two_wheelers.add_rider(scene, frame, rng, kind)
        across += length + uniform(rng, 1.2, 2.5)


def _wait_to_cross(
    layout: Layout,
    scene: SceneBuilder,
    taken: Footprints,
    crossing: Crossing,
    arm: float,
    rng: np.random.Generator,
) -> None:
    """Let some people stand at the curb before the stripes."""
    if not crossing.zebra or not chance(rng, 0.5):
        return
    for _ in range(int(rng.integers(1, 4))):
        sense = 1.0 if chance(rng, 0.5) else -1.0
        along = crossing.along_m + sense * (crossing.half_m + uniform(rng, 3.2, 4.2))
        across = arm * (layout.curb(arm) + uniform(rng, 0.4, 1.0))
        turn = -arm * np.pi / 2 + uniform(rng, -0.5, 0.5)
        kind = Kind.CHILD if chance(rng, 0.2) else Kind.PERSON
        frame = layout.frame(along, across, turn)
        if taken.take(frame, 0.25, 0.3):
            people.add_person(scene, frame, rng, kind)
