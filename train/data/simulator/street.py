"""A street with everything that stands on it, and what moves through it."""

from dataclasses import dataclass

import numpy as np

from train.data.simulator import objects, vehicles
from train.data.simulator.frontage import line_side
from train.data.simulator.layout import Layout
from train.data.simulator.scene import Frame, Scene, SceneBuilder
from train.data.simulator.surfaces import Kind

_LANE_SPEED_M_S = 8.0


@dataclass(frozen=True)
class Traffic:
    """Something that moves with one of the two lanes, or beside them.

    Attributes
    ----------
    what
        Its kind.
    along_m, across_m
        Where it is at time 0.
    speed_m_s
        Along the street, negative for what comes towards the sensor.
    seed
        Decides its looks.
    """

    what: Kind
    along_m: float
    across_m: float
    speed_m_s: float
    seed: int


class Street:
    """A street at any moment.

    Parameters
    ----------
    length_m
        How far the sensor drives; the street goes on beyond both ends.
    rng
        The only source of chance.
    first_instance
        The number of its first counted object.
    """

    def __init__(
        self, length_m: float, rng: np.random.Generator, *, first_instance: int = 1
    ) -> None:
        self.layout = Layout(length_m, rng)
        standing_seed = int(rng.integers(1 << 62))
        self.traffic = _plan_traffic(self.layout, rng)
        self._standing = SceneBuilder(first_instance=first_instance)
        chance = np.random.default_rng(standing_seed)
        for side in (1.0, -1.0):
            line_side(self.layout, self._standing, side, chance)

    def sensor_frame(self, along_m: float) -> Frame:
        """Return where the sensor's foot is, in the middle of its lane, and where it is headed."""
        return self.layout.frame(along_m, -self.layout.ground.half_road_m / 2)

    def scene_at(self, time_s: float) -> Scene:
        """Return the world at a moment: what stands, and what moves where it is then."""
        scene = self._standing.copy()
        for moving in self.traffic:
            along = moving.along_m + moving.speed_m_s * time_s
            turn = 0.0 if moving.speed_m_s >= 0 else np.pi
            frame = self.layout.frame(along, moving.across_m, turn)
            chance = np.random.default_rng(moving.seed)
            if moving.what == Kind.MOVING_CAR:
                vehicles.add_car(scene, frame, chance, Kind.MOVING_CAR)
            elif moving.what in (Kind.MOVING_TRUCK, Kind.MOVING_BUS):
                vehicles.add_truck(scene, frame, chance, moving.what)
            elif moving.what == Kind.MOVING_PERSON:
                objects.add_person(scene, frame, chance, Kind.MOVING_PERSON)
            else:
                vehicles.add_rider(scene, frame, moving.what, chance)
        return scene.build(self.layout.ground)


def _plan_traffic(layout: Layout, rng: np.random.Generator) -> list[Traffic]:
    """Return what moves: two lanes whose members keep their distances, riders, walkers."""
    plan = []
    lane = layout.ground.half_road_m / 2
    reach = layout.end_m - layout.start_m
    for across, speed in ((-lane, _LANE_SPEED_M_S), (lane, -0.9 * _LANE_SPEED_M_S)):
        first, last = layout.start_m - reach * (speed > 0), layout.end_m + reach * (speed < 0)
        along = first + float(rng.uniform(0, 30))
        while along < last:
            # Nobody drives where the sensor itself is.
            if across > 0 or abs(along) > 14.0:
                kind = Kind(
                    rng.choice(
                        [
                            Kind.MOVING_CAR,
                            Kind.MOVING_TRUCK,
                            Kind.MOVING_BUS,
                            Kind.MOVING_MOTORCYCLIST,
                        ],
                        p=[0.89, 0.04, 0.02, 0.05],
                    )
                )
                plan.append(Traffic(kind, along, across, speed, int(rng.integers(1 << 62))))
            along += float(rng.uniform(22, 110))
    edge = layout.ground.half_road_m - 0.5
    for _ in range(max(2, int(reach / 60))):
        side = 1.0 if rng.random() < 0.5 else -1.0
        along = float(rng.uniform(layout.start_m, layout.end_m))
        plan.append(
            Traffic(
                Kind.MOVING_BICYCLIST, along, side * edge, -side * 4.0, int(rng.integers(1 << 62))
            )
        )
    for _ in range(max(3, int(reach / 30))):
        side = 1.0 if rng.random() < 0.5 else -1.0
        along = float(rng.uniform(layout.start_m, layout.end_m))
        across = side * (layout.sidewalk(side)[0] + float(rng.uniform(0.5, 1.8)))
        speed = float(rng.choice([-1.2, 1.2]))
        plan.append(Traffic(Kind.MOVING_PERSON, along, across, speed, int(rng.integers(1 << 62))))
    return plan
