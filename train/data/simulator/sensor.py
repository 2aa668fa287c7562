"""A spinning LiDAR: its beams, and what makes its returns differ from exact ray lengths.

Shape letters: A azimuth columns, B beams, N returns.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from train.data.simulator.raycast import cast
from train.data.simulator.scene import OPTICS, Frame, Material, Scene


def hdl64_elevations_deg() -> NDArray[np.float64]:
    """Return an HDL-64E's 64 beam angles, highest first: a fine upper and a coarse lower half."""
    return np.concatenate([np.linspace(2.0, -8.33, 32), np.linspace(-8.83, -24.8, 32)])


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
    """

    elevations_deg: NDArray[np.float64] = field(default_factory=hdl64_elevations_deg)
    azimuth_steps: int = 2000
    height_m: float = 1.73
    reach_m: float = 80.0
    range_noise_m: float = 0.02
    azimuth_noise_deg: float = 0.01
    half_signal_m: float = 75.0
    remission_step: float = 0.01

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
        directions = self._directions(rng)
        turn = _rotation_z(frame.yaw)
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
        remission = base * np.clip(hits.cosine, 0.02, 1.0) ** falloff
        remission *= np.clip(1.0 + spread * rng.normal(size=shape), 0.0, 3.0)
        range_m = hits.range_m + self.range_noise_m * rng.normal(size=shape)
        range_m += rough * rng.normal(size=shape)
        with np.errstate(invalid="ignore"):
            signal = np.maximum(base * np.sqrt(hits.cosine), 0.002) / 0.25
            lost = 1.0 - 1.0 / (1.0 + (hits.range_m / (self.half_signal_m * np.sqrt(signal))) ** 6)
        chance = rng.random((2, *shape))
        seen = np.isfinite(hits.range_m) & (chance[0] >= dropout) & (chance[1] >= lost)
        seen &= (range_m > 0.9) & (range_m < self.reach_m)
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

    def _directions(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return (A, B, 3) unit vectors in the sensor's axes, with the azimuth's jitter."""
        columns = np.arange(self.azimuth_steps) * (2 * np.pi / self.azimuth_steps)
        jitter = np.deg2rad(self.azimuth_noise_deg) * rng.normal(
            size=(self.azimuth_steps, len(self.elevations_deg))
        )
        azimuth = columns[:, None] + jitter
        elevation = np.broadcast_to(np.deg2rad(self.elevations_deg), azimuth.shape)
        return np.stack(
            [
                np.cos(elevation) * np.cos(azimuth),
                np.cos(elevation) * np.sin(azimuth),
                np.sin(elevation),
            ],
            axis=-1,
        )


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


def _rotation_z(angle: float) -> NDArray[np.float64]:
    """Return the rotation about z."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
