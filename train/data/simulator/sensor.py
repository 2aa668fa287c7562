"""A spinning LiDAR: its beams, and what makes its returns differ from exact ray lengths.

Shape letters: A azimuth columns, B beams, N returns.
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from train.data.simulator.raycast import cast
from train.data.simulator.scene import Frame, Scene
from train.data.simulator.surfaces import OPTICS, Material


def hdl64_elevations_deg() -> NDArray[np.float64]:
    """Return an HDL-64E's 64 beam angles, highest first: a fine upper and a coarse lower half.

    As KITTI's recordings show them (median elevation of each ring of a real sweep, evened out); the
    maker's nominal field is +2 to -24.8 degrees.
    """
    return np.concatenate([np.linspace(2.5, -7.8, 32), np.linspace(-8.4, -23.8, 32)])


class Shadow(NamedTuple):
    """A part of the vehicle that hides what lies behind it, an ellipse of directions."""

    azimuth_deg: float
    elevation_deg: float
    half_azimuth_deg: float
    half_elevation_deg: float


STATION_WAGON: Final = (
    Shadow(-2.0, -25.0, 23.0, 5.0),
    Shadow(-68.0, -19.5, 9.0, 2.8),
    Shadow(-127.0, -18.0, 4.0, 2.6),
    Shadow(-158.0, -17.0, 5.0, 4.2),
    Shadow(180.0, -25.0, 40.0, 7.5),
    Shadow(162.0, -16.0, 5.0, 3.6),
    Shadow(133.0, -19.5, 4.5, 2.4),
    Shadow(90.0, -26.0, 22.0, 2.2),
)
"""What a car with a roof rack hides: bonnet, tail, rack and other instruments."""


@dataclass(frozen=True)
class SpinningLidar:
    """How a sensor looks around and what it gets wrong.

    Attributes
    ----------
    elevations_deg
        (B,) beam angles.
    azimuth_steps
        Columns a turn.
    height_m
        Above the ground.
    reach_m
        The furthest return.
    range_noise_m
        Deviation of a range.
    azimuth_noise_deg
        Deviation of a ray's azimuth.
    half_signal_m
        Where half of the returns of a surface that remits 0.25 get lost.
    remission_step
        Remissions are whole multiples of it.
    tilt_deg
        Deviation of the vehicle's pitch and roll from one turn to the next.
    beam_spread, beam_offset_deg
        Deviation of the beams' gains and of their true angles from the nominal ones; both are the
        sensor's own and the same in every turn.
    stray_share
        Share of the rays at an object's edge that return from between it and what is behind.
    shadows
        Directions hidden by the vehicle itself.
    unit
        The sensor's number: another one has other gains and offsets.
    """

    elevations_deg: NDArray[np.float64] = field(default_factory=hdl64_elevations_deg)
    azimuth_steps: int = 2000
    height_m: float = 1.73
    reach_m: float = 80.0
    range_noise_m: float = 0.02
    azimuth_noise_deg: float = 0.01
    half_signal_m: float = 75.0
    remission_step: float = 0.01
    tilt_deg: float = 0.4
    beam_spread: float = 0.06
    beam_offset_deg: float = 0.06
    stray_share: float = 0.2
    shadows: tuple[Shadow, ...] = STATION_WAGON
    unit: int = 64

    def scan(self, scene: Scene, frame: Frame, rng: np.random.Generator) -> "Returns":
        """Return what one turn sees.

        Parameters
        ----------
        scene
            The world.
        frame
            Where the sensor's foot is and where it is headed.
        rng
            Noise, dropout, what porous volumes let through.
        """
        unit = np.random.default_rng(self.unit)
        gain = 1.0 + self.beam_spread * unit.normal(size=len(self.elevations_deg))
        offset_deg = self.beam_offset_deg * unit.normal(size=len(self.elevations_deg))
        azimuth, elevation = self._angles(offset_deg, rng)
        directions = np.stack(
            [
                np.cos(elevation) * np.cos(azimuth),
                np.cos(elevation) * np.sin(azimuth),
                np.sin(elevation),
            ],
            axis=-1,
        )
        pitch, roll = np.deg2rad(self.tilt_deg) * rng.normal(size=2)
        turn = _rotation(frame.yaw, pitch, roll)
        origin = np.array([frame.x, frame.y, frame.z + self.height_m])
        hits = cast(
            scene,
            origin,
            directions @ turn.T,
            reach_m=self.reach_m,
            seed=int(rng.integers(1 << 31)),
        )
        optics = np.array([OPTICS[material] for material in Material])
        base, spread, falloff, dropout, rough = optics[hits.material].transpose(2, 0, 1)
        shape = hits.range_m.shape
        cosine = np.clip(hits.cosine, 0.02, 1.0)
        # Weak echoes are reported weaker than their surface: with range, the more so at grazing
        # incidence. Fitted to a real sweep's medians of road, buildings and vegetation.
        faint = 1.0 + (np.minimum(hits.range_m, self.reach_m) / (45.0 * cosine**0.2)) ** 4
        remission = gain * base * cosine**falloff / faint
        remission *= np.clip(1.0 + spread * rng.normal(size=shape), 0.0, 3.0)
        range_m = self._stray(hits.range_m, rng)
        range_m += self.range_noise_m * rng.normal(size=shape)
        range_m += rough * rng.normal(size=shape)
        with np.errstate(invalid="ignore"):
            signal = np.maximum(base * np.sqrt(hits.cosine), 0.002) / 0.25
            lost = 1.0 - 1.0 / (1.0 + (hits.range_m / (self.half_signal_m * np.sqrt(signal))) ** 6)
        chance = rng.random((2, *shape))
        seen = np.isfinite(hits.range_m) & (chance[0] >= dropout) & (chance[1] >= lost)
        seen &= (range_m > 0.9) & (range_m < self.reach_m)
        seen &= ~self._hidden(np.rad2deg(azimuth), np.rad2deg(elevation))
        # Files list one beam after the other, each turning from straight ahead to the left.
        seen = seen.T
        points = directions.transpose(1, 0, 2)[seen] * range_m.T[seen][:, None]
        steps = np.round(np.clip(remission.T[seen], 0.0, 0.99) / self.remission_step)
        return Returns(
            coord=points.astype(np.float32),
            remission=(steps * self.remission_step).astype(np.float32),
            kind=hits.kind.T[seen],
            instance=hits.instance.T[seen],
        )

    def _stray(self, range_m: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        """Return ranges of which some, just before a step back, come from further behind.

        A beam that is half on an edge returns one echo from somewhere in between.
        """
        behind = np.roll(range_m, -1, axis=0)
        with np.errstate(invalid="ignore"):
            step = behind - range_m
        edge = np.isfinite(step) & (step > 0.3) & (step < 4.0)
        edge &= rng.random(range_m.shape) < self.stray_share
        return np.where(
            edge, range_m + np.where(edge, step, 0.0) * rng.random(range_m.shape), range_m
        )

    def _hidden(
        self, azimuth_deg: NDArray[np.float64], elevation_deg: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Return which rays end at the vehicle itself."""
        hidden = np.zeros(azimuth_deg.shape, dtype=np.bool_)
        for shadow in self.shadows:
            apart = (azimuth_deg - shadow.azimuth_deg + 180.0) % 360.0 - 180.0
            hidden |= (apart / shadow.half_azimuth_deg) ** 2 + (
                (elevation_deg - shadow.elevation_deg) / shadow.half_elevation_deg
            ) ** 2 < 1.0
        return hidden

    def _angles(
        self, offset_deg: NDArray[np.float64], rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return azimuth and elevation (A, B) of all rays in the sensor's axes, radians."""
        columns = np.arange(self.azimuth_steps) * (2 * np.pi / self.azimuth_steps)
        jitter = np.deg2rad(self.azimuth_noise_deg) * rng.normal(
            size=(self.azimuth_steps, len(self.elevations_deg))
        )
        azimuth = columns[:, None] + jitter
        beams = np.deg2rad(self.elevations_deg + offset_deg)
        return azimuth, np.broadcast_to(beams, azimuth.shape)


@dataclass(frozen=True)
class Returns:
    """What a turn saw, beam by beam from the top.

    Attributes
    ----------
    coord
        (N, 3) float32 in the sensor's axes.
    remission
        (N,) float32, 0 to 0.99.
    kind, instance
        (N,) int64.
    """

    coord: NDArray[np.float32]
    remission: NDArray[np.float32]
    kind: NDArray[np.int64]
    instance: NDArray[np.int64]


def _rotation(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """Return the rotation by roll about x, then pitch about y, then yaw about z."""
    (cz, cy, cx), (sz, sy, sx) = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    about_z = np.array([[cz, -sz, 0.0], [sz, cz, 0.0], [0.0, 0.0, 1.0]])
    about_y = np.array([[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]])
    about_x = np.array([[1.0, 0.0, 0.0], [0.0, cx, -sx], [0.0, sx, cx]])
    return np.asarray(about_z @ about_y @ about_x)
