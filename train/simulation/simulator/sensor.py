"""A spinning LiDAR, how it looks around, and where its vehicle is while it turns.

Vehicle frame: on the ground below the sensor, x forward, y left, z up, meters.

Shape letters: A azimuth columns, B beams, R rays (A x B), N returns, K knots, S moments.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from train.simulation.simulator.echoes import Echoes, EchoModel
from train.simulation.simulator.raycast import Hits, cast
from train.simulation.simulator.scene import Frame, Scene
from train.simulation.simulator.surfaces import Kind, Material

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

    def states(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return x, y, z, roll, pitch, yaw (S, 6) at moments, as shares of the turn from 0 to 1."""
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
    along_m, speed_m_s, period_s
        How far it is in the middle of the turn, how fast it goes, what the turn takes.
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
    tilt = np.full((2, _KNOTS), [[roll], [pitch - np.arctan(slope)]])
    return Motion(np.stack([x, y, z, *tilt, np.unwrap(yaw)], axis=1))


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


class Shadow(NamedTuple):
    """A part of the vehicle that hides what lies behind it, an ellipse of directions."""

    azimuth_deg: float
    elevation_deg: float
    half_azimuth_deg: float
    half_elevation_deg: float


class Roof(NamedTuple):
    """The vehicle's own roof, a rectangle below the sensor that it sees."""

    below_m: float
    ahead_m: float
    behind_m: float
    half_width_m: float


@dataclass(frozen=True)
class SpinningLidar:
    """How a sensor looks around, where it sits, and what its echoes are like.

    The sensor's axes are those in which its dataset gives points. Azimuths count from x towards y.

    Attributes
    ----------
    elevations_deg
        (B,) beam angles, the highest first.
    echo
        Ranges, intensities, losses.
    beam_heights_m
        (B,) how far above the sensor's origin a beam starts; None for all at the origin.
    azimuth_steps
        Columns a turn.
    first_azimuth_deg
        Where a turn starts; the first column looks half a step further.
    clockwise
        Which way it turns, seen from above.
    azimuth_quantum_deg
        Azimuths of columns are multiples of it; 0 for exact ones.
    azimuth_noise_deg
        Deviation of a ray's azimuth.
    beam_offset_deg
        Deviation of the beams' true elevations from the nominal ones, the same in every turn.
    mount
        (4, 4) from the sensor's axes to the vehicle's.
    period_s
        What a turn takes; 0 if all rays are fired at once, in the turn's middle.
    seen_from
        The moment, as a share of the turn, from whose place all points are given; None if each is
        given from where the sensor was when it fired.
    by_beam
        Whether returns are listed one beam after the other, each from straight ahead to the left,
        instead of in the order of time.
    shadows
        Directions hidden by the vehicle itself.
    shadow_shift_deg
        Beams start in turn left and right of the axis, so that shadows, which near things cast,
        are shifted this far one way and the other.
    roof
        What of the vehicle the sensor sees, None for nothing.
    lists_misses
        Whether rays that nothing came back from are listed too, as returns of the own vehicle at
        range 0.
    unit
        The sensor's number: another one has other gains and offsets.
    """

    elevations_deg: NDArray[np.float64]
    echo: EchoModel = field(default_factory=EchoModel)
    beam_heights_m: NDArray[np.float64] | None = None
    azimuth_steps: int = 1000
    first_azimuth_deg: float = -180.0
    clockwise: bool = False
    azimuth_quantum_deg: float = 0.0
    azimuth_noise_deg: float = 0.0
    beam_offset_deg: float = 0.0
    mount: NDArray[np.float64] = field(default_factory=lambda: np.eye(4))
    period_s: float = 0.1
    seen_from: float | None = None
    by_beam: bool = False
    shadows: tuple[Shadow, ...] = ()
    shadow_shift_deg: float = 0.0
    roof: Roof | None = None
    lists_misses: bool = False
    unit: int = 0

    @property
    def shares(self) -> NDArray[np.float64]:
        """When each column is fired, (A,), as a share of the turn."""
        if self.period_s == 0.0:
            return np.full(self.azimuth_steps, 0.5)
        return (np.arange(self.azimuth_steps) + 0.5) / self.azimuth_steps

    def scan(
        self, scene: Scene, motion: Motion, rng: np.random.Generator, *, threads: int | None = None
    ) -> "Returns":
        """Return what one turn sees; what moves by itself stands still meanwhile.

        Parameters
        ----------
        scene
            The world in the middle of the turn.
        motion
            The vehicle's.
        rng
            Noise, dropout, what porous volumes let through.
        threads
            How many share the work; numba's setting if None. The result does not depend on it.
        """
        unit = np.random.default_rng(self.unit)
        gains = 1.0 + self.echo.beam_spread * unit.normal(size=len(self.elevations_deg))
        offset_deg = self.beam_offset_deg * unit.normal(size=len(self.elevations_deg))
        azimuth, elevation = self._angles(offset_deg, rng)
        level = np.cos(elevation)
        ahead, aside = level * np.cos(azimuth), level * np.sin(azimuth)
        directions = np.stack([ahead, aside, np.sin(elevation)], axis=-1)
        starts = np.zeros_like(directions)
        if self.beam_heights_m is not None:
            starts[..., 2] = self.beam_heights_m
        poses = motion.poses(self.shares) @ self.mount
        hits = cast(
            scene,
            _move(poses, starts),
            _turn(poses, directions),
            reach_m=self.echo.reach_m,
            seed=int(rng.integers(1 << 31)),
            threads=threads,
        )
        if self.roof is not None:
            self._see_roof(self.roof, directions, hits)
        hidden = self._hidden(np.rad2deg(azimuth), np.rad2deg(elevation))
        echoes = self.echo.of(hits, gains, hidden, rng)
        if self.lists_misses:
            # What a beam reports of nothing is its own.
            levels = np.exp(unit.normal(2.0, 1.3, size=len(gains)))
            levels = np.minimum(levels, self.echo.intensity_top)
            echoes[0] = echoes[0].put(~echoes[0].seen, 0.0, np.round(levels), Kind.OWN_VEHICLE)
        order = self._order(azimuth)
        parts = []
        for number, echo in enumerate(echoes, start=1):
            index = order[echo.seen.reshape(-1)[order]]
            at = directions.reshape(-1, 3)[index] * echo.range_m.reshape(-1)[index, None]
            at += starts.reshape(-1, 3)[index]
            if self.seen_from is not None:
                place = motion.poses(np.array([self.seen_from]))[0] @ self.mount
                back = np.linalg.inv(place) @ poses
                at = _move(back[index // len(self.elevations_deg)], at[:, None])[:, 0]
            parts.append(_gather(echo, index, number, at, len(self.elevations_deg)))
        return Returns(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _order(self, azimuth: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the rays' numbers (R,), column times B plus beam, in the order of listing."""
        rays = np.arange(azimuth.size).reshape(azimuth.shape)
        if not self.by_beam:
            return rays.reshape(-1)
        to_the_left = np.argsort(self._columns() % (2 * np.pi), kind="stable")
        return np.asarray(rays[to_the_left].T.reshape(-1))

    def _see_roof(self, roof: Roof, directions: NDArray[np.float64], hits: Hits) -> None:
        """Let rays that meet the roof end there."""
        x, y, z = np.moveaxis(_turn(self.mount[None], directions), -1, 0)
        to_roof = np.where(z < 0, roof.below_m / np.maximum(-z, 1e-9), np.inf)
        with np.errstate(invalid="ignore"):
            met = (to_roof * x <= roof.ahead_m) & (to_roof * x >= -roof.behind_m)
            met &= (np.abs(to_roof * y) <= roof.half_width_m) & (to_roof < hits.range_m)
        hits.range_m[met], hits.cosine[met], hits.instance[met] = to_roof[met], -z[met], 0
        hits.kind[met], hits.material[met] = int(Kind.OWN_VEHICLE), int(Material.BRIGHT_PAINT)

    def _hidden(
        self, azimuth_deg: NDArray[np.float64], elevation_deg: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Return which rays end at the vehicle itself."""
        hidden = np.zeros(azimuth_deg.shape, dtype=np.bool_)
        side = np.where(np.arange(len(self.elevations_deg)) % 2 == 0, 1.0, -1.0)
        for shadow in self.shadows:
            apart = azimuth_deg - shadow.azimuth_deg - self.shadow_shift_deg * side
            apart = (apart + 180.0) % 360.0 - 180.0
            hidden |= (apart / shadow.half_azimuth_deg) ** 2 + (
                (elevation_deg - shadow.elevation_deg) / shadow.half_elevation_deg
            ) ** 2 < 1.0
        return hidden

    def _columns(self) -> NDArray[np.float64]:
        """Return where each column looks, (A,) radians."""
        turned = (np.arange(self.azimuth_steps) + 0.5) * (360.0 / self.azimuth_steps)
        azimuth_deg = self.first_azimuth_deg + (-turned if self.clockwise else turned)
        if self.azimuth_quantum_deg > 0.0:
            steps = np.round(azimuth_deg / self.azimuth_quantum_deg)
            azimuth_deg = steps * self.azimuth_quantum_deg
        return np.asarray(np.deg2rad(azimuth_deg))

    def _angles(
        self, offset_deg: NDArray[np.float64], rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return azimuth and elevation (A, B) of all rays in the sensor's axes, radians."""
        shape = (self.azimuth_steps, len(self.elevations_deg))
        noise = np.deg2rad(self.azimuth_noise_deg) * rng.normal(size=shape)
        beams = np.deg2rad(self.elevations_deg + offset_deg)
        return self._columns()[:, None] + noise, np.broadcast_to(beams, shape)


class Returns(NamedTuple):
    """What a turn saw: first returns, then second ones, each in the sensor's order of listing.

    Attributes
    ----------
    coord
        (N, 3) float32 in the sensor's axes, meters.
    range_m
        (N,) float32 along the ray.
    intensity
        (N,) float32 as the sensor reports it.
    elongation_m
        (N,) float32: how much longer the echo is than the pulse.
    row, column
        (N,) int64: the beam, 0 the highest, and the column, 0 the first in time.
    number
        (N,) int64: 1 for first returns, 2 for second ones.
    kind, instance
        (N,) int64.
    """

    coord: NDArray[np.float32]
    range_m: NDArray[np.float32]
    intensity: NDArray[np.float32]
    elongation_m: NDArray[np.float32]
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    number: NDArray[np.int64]
    kind: NDArray[np.int64]
    instance: NDArray[np.int64]


def _gather(
    echo: Echoes, index: NDArray[np.int64], number: int, coord: NDArray[np.float64], beams: int
) -> Returns:
    """Return some rays' echoes as returns."""
    echo = Echoes._make(cells.reshape(-1)[index] for cells in echo)
    numbers = (each.astype(np.float32) for each in (coord, *echo[:3]))
    cells = (index % beams, index // beams, np.full(len(index), number))
    return Returns._make([*numbers, *cells, echo.kind, echo.instance])


def _turn(poses: NDArray[np.float64], vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the vectors (A, B, 3) of each column, rotated by its pose (A or 1, 4, 4)."""
    x, y, z = (vectors[..., axis, None] for axis in range(3))
    along_x, along_y, along_z = (poses[:, None, :3, axis] for axis in range(3))
    return x * along_x + y * along_y + z * along_z


def _move(poses: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the points (A, B, 3) of each column, moved by its pose (A or 1, 4, 4)."""
    return _turn(poses, points) + poses[:, None, :3, 3]
