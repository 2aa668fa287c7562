"""A street with everything on it, and a drive through one after the other, stopping for frames."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from train.simulation.simulator import curbside
from train.simulation.simulator.frontage import line_side
from train.simulation.simulator.layout import Layout
from train.simulation.simulator.objects import add_bush, add_lamp, add_tree
from train.simulation.simulator.roadside import Footprints, Site, roadsides
from train.simulation.simulator.scene import Frame, Scene, SceneBuilder
from train.simulation.simulator.sensor import Motion, moving_along
from train.simulation.simulator.traffic import SPEED_M_S, keep_clear, plan_traffic

FRAMES_A_STREET = 4
"""Usual number of stops in a street before the next one."""


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
        self.traffic = plan_traffic(self.layout, rng)
        self._standing = SceneBuilder(first_instance=first_instance)
        chance = np.random.default_rng(standing_seed)
        site = Site(self.layout, self._standing, chance, Footprints())
        keep_clear(self.layout, self.traffic, site.taken)
        # What matters most comes first: where it stands, nothing else will.
        curbside.equip(site)
        sides = roadsides(site)
        curbside.happen(*sides[:2])
        for side in sides:
            line_side(side)
            curbside.park(side)
            curbside.furnish(side)
        _plant_median(site)

    def sensor_frame(self, along_m: float) -> Frame:
        """Return where the sensor's foot is, in the middle of its lane, and where it is headed."""
        return self.layout.frame(along_m, self.layout.sensor_lane.across_m)

    def scene_at(self, time_s: float) -> Scene:
        """Return the world at a moment: what stands, and what moves where it is then."""
        scene = self._standing.copy()
        for moving in self.traffic:
            moving.draw(self.layout, scene, time_s)
        return scene.build(self.layout.ground)


def _plant_median(site: Site) -> None:
    """Put lamps, trees or bushes on the median between the carriageways, if there is one."""
    layout = site.layout
    if not layout.median_m:
        return
    style = int(site.rng.integers(3))
    for along in np.arange(layout.start_m, layout.end_m, site.uniform(8, 16)):
        if any(abs(along - each.along_m) < each.half_m + 7.0 for each in layout.crossings):
            continue
        spot = site.place(float(along), 0.0, np.pi / 2)
        if style == 0:
            add_lamp(spot)
        elif style == 1 and layout.median_m > 1.0:
            add_tree(spot, size=0.8)
        else:
            add_bush(spot, size=0.5 * layout.median_m)


@dataclass(frozen=True)
class Stop:
    """Where and when a frame is taken.

    Attributes
    ----------
    index
        Number of the frame in the drive.
    along_m, time_s
        How far into the street, and since when in it, at the driving speed.
    scene, rng
        The street at that time, and the frame's own source of chance.
    """

    index: int
    street: Street
    along_m: float
    time_s: float
    scene: Scene
    rng: np.random.Generator

    def motion(self, period_s: float, tilt_deg: float) -> Motion:
        """Return the way of the vehicle, which rocks by `tilt_deg`, during a turn about now."""
        way = {"speed_m_s": SPEED_M_S, "period_s": period_s, "tilt_deg": tilt_deg}
        return moving_along(self.street.sensor_frame, self.along_m, **way, rng=self.rng)


def drive(
    count: int,
    seed: Sequence[int],
    *,
    spacing_m: float = 10.0,
    frames_a_street: int = FRAMES_A_STREET,
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
    frames_a_street
        How many stops there are in a street before the next one.
    """
    street, first_instance = None, 1
    for index in range(count):
        turn, on_street = divmod(index, frames_a_street)
        if street is None or on_street == 0:
            rng = np.random.default_rng([0, *seed, turn])
            street = Street(frames_a_street * spacing_m, rng, first_instance=first_instance)
        along = on_street * spacing_m
        time = along / SPEED_M_S
        scene = street.scene_at(time)
        first_instance = max(first_instance, int(scene.instance.max(initial=0)) + 1)
        yield Stop(index, street, along, time, scene, np.random.default_rng([1, *seed, index]))
