"""Where a vehicle is while its sensor turns: poses that a column of rays can be fired from.

Vehicle frame: on the ground below the sensor, x forward, y left, z up, meters.

Shape letters: K knots, S moments.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.simulation.simulator.scene import Frame

_KNOTS: Final = 5


@dataclass(frozen=True)
class Motion:
    """A vehicle's way during one turn.

    Attributes
    ----------
    knots
        (K, 6) float64: x, y, z in meters, roll, pitch, yaw in radians, at even steps of time from
        the turn's first moment to its last; straight lines in between.
    """

    knots: NDArray[np.float64]

    @classmethod
    def still(cls, frame: Frame) -> "Motion":
        """Return the motion of a vehicle that stands level."""
        return cls(np.array([[frame.x, frame.y, frame.z, 0.0, 0.0, frame.yaw]]))

    def states(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return x, y, z, roll, pitch, yaw (S, 6) at moments, as shares of the turn from 0 to 1."""
        if len(self.knots) == 1:
            return np.repeat(self.knots, len(shares), axis=0)
        times = np.linspace(0.0, 1.0, len(self.knots))
        columns = [np.interp(shares, times, column) for column in self.knots.T]
        return np.stack(columns, axis=1)

    def poses(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the transforms (S, 4, 4) from the vehicle's frame to the world."""
        states = self.states(shares)
        poses = np.zeros((len(shares), 4, 4))
        poses[:, :3, :3] = rotations(states[:, 3], states[:, 4], states[:, 5])
        poses[:, :3, 3] = states[:, :3]
        poses[:, 3, 3] = 1.0
        return poses


def moving_along(
    frame_at: Callable[[float], Frame],
    along_m: float,
    *,
    speed_m_s: float,
    period_s: float,
    tilt_deg: float,
    rng: np.random.Generator,
) -> Motion:
    """Return the motion of a vehicle that follows a street.

    Parameters
    ----------
    frame_at
        Where the vehicle is, given how far along the street.
    along_m
        How far it is in the middle of the turn.
    speed_m_s
        Along the street.
    period_s
        What the turn takes.
    tilt_deg
        Deviation of its roll and its pitch from the street's: how it rocks on its wheels.
    rng
        Decides them, once for the turn.
    """
    roll, pitch = np.deg2rad(tilt_deg) * rng.normal(size=2)
    half = speed_m_s * period_s / 2
    frames = [frame_at(float(s)) for s in along_m + np.linspace(-half, half, _KNOTS)]
    x, y, z, yaw = np.array(frames, dtype=np.float64).T
    # The slope under the wheels, not that of the few centimeters between two knots.
    back, ahead = frame_at(along_m - 1.5), frame_at(along_m + 1.5)
    slope = (ahead.z - back.z) / max(float(np.hypot(ahead.x - back.x, ahead.y - back.y)), 1e-9)
    level = np.ones(_KNOTS)
    return Motion(
        np.stack(
            [x, y, z, roll * level, (pitch - np.arctan(slope)) * level, np.unwrap(yaw)], axis=1
        )
    )


def rotations(
    roll: NDArray[np.float64], pitch: NDArray[np.float64], yaw: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return Rz(yaw) Ry(pitch) Rx(roll), (S, 3, 3): a positive pitch lowers the nose."""
    cx, cy, cz = np.cos(roll), np.cos(pitch), np.cos(yaw)
    sx, sy, sz = np.sin(roll), np.sin(pitch), np.sin(yaw)
    rows = [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
        [-sy, cy * sx, cy * cx],
    ]
    return np.moveaxis(np.array(rows), -1, 0)
