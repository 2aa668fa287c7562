"""Simulated drives in Waymo's own formats: range images of five lidars, poses, calibrations.

Shape letters: H rows, W columns, N returns.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.dataset_spec import SimulatedData
from train.data.waymo import SPEC
from train.data.waymo.frame import (
    Calibration,
    CameraCalibration,
    CameraName,
    Frame,
    Laser,
    LaserName,
    Shot,
)
from train.data.waymo.write import write_segment_v1, write_segment_v2
from train.simulation.camera_images import pair_path, street_looks, take_images, write_pair
from train.simulation.simulator import models
from train.simulation.simulator.camera import PinholeCamera, waymo_cameras
from train.simulation.simulator.drive import Stop, drive
from train.simulation.simulator.sensor import Motion, Returns, SpinningLidar
from train.simulation.simulator.surfaces import THINGS, Kind
from train.simulation.simulator.traffic import SPEED_M_S
from train.simulation.write import simulate

Format = Literal["v1", "v2"]

ELONGATION_STEP_M: Final = 0.00585532144
"""Elongations in the dataset are whole multiples of it."""

LABELLED_A_SEGMENT: Final = 4
"""So many labeled frames a segment has; every second one is followed by one without labels."""

# Waymo's camera frame has x forward, y left, z up: what the optical frame's axes are in it.
_OPTICAL_FROM_CAMERA: Final = np.array(
    [[0.0, -1.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)
_FRAMES_A_GROUP: Final = 2
_FRAME_S: Final = 0.1
_TILT_DEG: Final = 0.2
_SHORT_RANGE: Final = {
    LaserName.FRONT: ((4.07, 0.0, 0.69), 0.0),
    LaserName.SIDE_RIGHT: ((3.25, -1.025, 0.98), -90.0),
    LaserName.SIDE_LEFT: ((3.25, 1.025, 0.98), 90.0),
    LaserName.REAR: ((-1.155, 0.0, 0.47), 180.0),
}
"""Where the small lidars sit (meters) and where they look (degrees)."""


@dataclass(frozen=True)
class _World:
    """Where in the world a segment's street lies, and when; where nobody drew boxes.

    Worlds are kilometers wide, so that poses in float32 are as coarse as the dataset's. The zone is
    x from, x to, y from, y to, in the street's own coordinates.
    """

    from_street: NDArray[np.float64]
    no_label_zone: tuple[float, float, float, float]
    start_micros: int


@dataclass(frozen=True)
class _Segment:
    """A segment of a name while its frames are made; label images go below the data root."""

    context: str
    seed: tuple[int, ...]
    lidars: Mapping[LaserName, SpinningLidar]
    cameras: tuple[PinholeCamera, ...] = ()
    root: Path = Path()

    @cached_property
    def world(self) -> _World:
        """Where it lies."""
        return _draw_world(np.random.default_rng([2, *self.seed]))

    def frames(self, count: int) -> Iterator[Frame]:
        """Yield the frames: `count` with labels, some without in between."""
        for stop in drive(count, self.seed):
            yield self.frame(stop, labeled=True)
            if stop.index % 2 == 0:
                along_m, time_s = stop.along_m + SPEED_M_S * _FRAME_S, stop.time_s + _FRAME_S
                scene = stop.street.scene_at(time_s)
                later = replace(stop, along_m=along_m, time_s=time_s, scene=scene)
                yield self.frame(later, labeled=False)

    def frame(self, stop: Stop, *, labeled: bool) -> Frame:
        """Return what all lidars and cameras see in one turn of TOP."""
        motion = stop.motion(self.lidars[LaserName.TOP].period_s, _TILT_DEG)
        lasers = []
        for name, lidar in self.lidars.items():
            returns = lidar.scan(stop.scene, motion, stop.rng)
            if name == LaserName.TOP:
                lasers.append(_top(lidar, returns, motion, self.world, labeled=labeled))
            else:
                lasers.append(_short_range(name, lidar, returns))
        # Real frames do not list them in the order of their numbers either.
        lasers = lasers[1:] + lasers[:1]
        micros = self.world.start_micros + round(stop.time_s * 1e6)
        pose = self.world.from_street @ motion.poses(np.array([0.5]))[0]
        frame = Frame(self.context, micros, pose, tuple(lasers))
        return replace(frame, shots=tuple(self._shots(stop, motion, frame, labeled=labeled)))

    def _shots(self, stop: Stop, motion: Motion, frame: Frame, *, labeled: bool) -> Iterator[Shot]:
        """Yield what the cameras see while TOP turns; write each with its label image, too."""
        lidar = self.lidars[LaserName.TOP]
        seen = (self.cameras, lidar, stop.scene, motion, street_looks(self.seed))
        seed = (*self.seed, stop.index, int(labeled))
        for image in take_images(*seen, lambda kind: kind.waymo - 1, seed):
            camera = image.camera
            write_pair(pair_path(self.root, frame.name, camera.name), image)
            focal, middle = camera.focal_px, (camera.width / 2, camera.height / 2)
            intrinsic = np.array([focal, focal, *middle, 0.0, 0.0, 0.0, 0.0, 0.0])
            mount, size = camera.mount @ _OPTICAL_FROM_CAMERA, (camera.width, camera.height)
            pose = self.world.from_street @ image.world_from_vehicle
            # The frame's time is that of the turn's middle.
            time_s = frame.timestamp_micros * 1e-6 + (image.share - 0.5) * lidar.period_s
            calibration = CameraCalibration(intrinsic, mount, *size)
            yield Shot(CameraName[camera.name], calibration, image.jpeg, pose, time_s)


def simulate_waymo(
    root: Path | str,
    *,
    num_frames: int = 8,
    num_validation_frames: int = 2,
    seed: int = 0,
    azimuth_steps: int = 600,
    file_format: Format = "v2",
    cameras: bool = False,
) -> SimulatedData:
    """Write simulated frames in Waymo's layout, or find that they are there already.

    Parameters
    ----------
    root
        The folder to make; it may exist if it is empty or holds the same simulation.
    num_frames, num_validation_frames
        How many labeled frames `training/` and `validation/` get, at least 1 each. A segment has
        up to four, each in a street of its own, and some frames without labels besides.
    seed
        At least 0.
    azimuth_steps
        Columns of TOP's range image; a real one has 2650 and the other lidars' have 600, which
        shrink in proportion. 600 give some 40,000 points a frame.
    file_format
        "v2" for parquet tables, "v1" for TFRecord files. Both hold the same frames.
    cameras
        Whether frames have the images of five cameras too; a label image for each lies
        beside the image once more, in `camera_images/`. Points and labels are the same without.

    Raises
    ------
    UserError
        As `train.simulation.write.simulate`, or if there is no such format.
    """
    if file_format not in get_args(Format):
        raise UserError(f"simulate_waymo: file_format must be v1 or v2, not {file_format!r}")
    return simulate(
        root,
        dataset="waymo",
        training=_segments(num_frames, 0),
        validation=_segments(num_validation_frames, 1),
        seed=seed,
        azimuth_steps=azimuth_steps,
        write=_write,
        count=lambda folder, context: len(SPEC.open(folder, sequences=[context])),
        cameras=cameras,
        extra={"file_format": file_format},
    )


def _segments(num_frames: int, split: int) -> dict[str, int]:
    """Return the names of a split's segments, each with its number of labeled frames."""
    names = {}
    for number, first in enumerate(range(0, max(num_frames, 1), LABELLED_A_SEGMENT)):
        name = f"{10**17 * (split + 1) + number}_{number:04d}_000_{number + 20:04d}_000"
        names[name] = min(LABELLED_A_SEGMENT, num_frames - first)
    return names


def _write(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write all segments."""
    lidars = waymo_lidars(settings["azimuth_steps"])
    cameras = waymo_cameras() if settings.get("cameras") else ()
    for context, count in settings["frames"].items():
        split, number = int(context[0]) - 1, int(context.split("_")[0][1:])
        split_folder = folder / ("training", "validation")[split]
        seed = (settings["seed"], split, number)
        frames = _Segment(context, seed, lidars, cameras, folder).frames(count)
        if settings["file_format"] == "v1":
            name = f"segment-{context}_with_camera_labels.tfrecord"
            write_segment_v1(split_folder / name, frames)
        else:
            write_segment_v2(
                split_folder,
                context,
                frames,
                frames_per_group=_FRAMES_A_GROUP,
                cameras=bool(cameras),
            )


def waymo_lidars(azimuth_steps: int) -> dict[LaserName, SpinningLidar]:
    """Return the five lidars; the small ones' columns shrink in proportion to TOP's."""
    share = azimuth_steps / models.WAYMO_TOP_AZIMUTH_STEPS
    step = models.WAYMO_SHORT_COLUMN_STEP
    columns = step * max(1, round(share * models.WAYMO_SHORT_AZIMUTH_STEPS / step))
    short = {
        name: models.waymo_short_range(place, yaw_deg, columns)
        for name, (place, yaw_deg) in _SHORT_RANGE.items()
    }
    return {LaserName.TOP: models.waymo_top(azimuth_steps), **short}


def _draw_world(rng: np.random.Generator) -> _World:
    """Return a place in the world."""
    yaw = float(rng.uniform(-np.pi, np.pi))
    from_street = np.eye(4)
    from_street[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    from_street[:3, 3] = [*rng.uniform(-5000.0, 5000.0, size=2), rng.uniform(-50.0, 150.0)]
    start, side = float(rng.uniform(-60.0, 40.0)), float(rng.choice([-1.0, 1.0]))
    low, high = sorted((side * 18.0, side * 80.0))
    micros = 1_500_000_000_000_000 + int(rng.integers(10**14))
    return _World(from_street, (start, start + 60.0, low, high), micros)


def _top(
    lidar: SpinningLidar, returns: Returns, motion: Motion, world: _World, *, labeled: bool
) -> Laser:
    """Return TOP's images, poses and labels."""
    shape = (len(lidar.elevations_deg), lidar.azimuth_steps)
    poses = motion.poses(lidar.shares)
    at = poses[returns.column] @ lidar.mount
    place = np.einsum("nij,nj->ni", at[:, :2, :3], returns.coord) + at[:, :2, 3]
    x_from, x_to, y_from, y_to = world.no_label_zone
    inside = (place >= (x_from, y_from)) & (place < (x_to, y_to))
    zone = np.where(inside.all(axis=1), 1.0, -1.0)
    labels = _label_images(shape, returns) if labeled else (None, None)
    inclinations = np.deg2rad(lidar.elevations_deg[::-1])
    # The outer edges of the outermost beams.
    lowest = float(inclinations[0] - (inclinations[1] - inclinations[0]) / 2)
    highest = float(inclinations[-1] + (inclinations[-1] - inclinations[-2]) / 2)
    calibration = Calibration(lidar.mount, inclinations, lowest, highest)
    images = _range_images(shape, returns, returns.row, returns.column, zone)
    pixel_poses = _pixel_poses(shape[0], motion.states(lidar.shares), world)
    return Laser(LaserName.TOP, calibration, images, pixel_poses, labels)


def _short_range(name: LaserName, lidar: SpinningLidar, returns: Returns) -> Laser:
    """Return a small lidar's images: its few rays in the pixels that they go through."""
    rows, columns = models.WAYMO_SHORT_ROW_STEP, models.WAYMO_SHORT_COLUMN_STEP
    shape = (models.WAYMO_SHORT_ROWS, lidar.azimuth_steps * columns)
    zone = np.full(len(returns.row), -1.0)
    row = returns.row * rows + rows // 2
    column = returns.column * columns + columns // 2
    calibration = Calibration(lidar.mount, None, float(np.deg2rad(-90)), float(np.deg2rad(30)))
    return Laser(name, calibration, _range_images(shape, returns, row, column, zone))


def _range_images(
    shape: tuple[int, int],
    returns: Returns,
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    zone: NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return both returns' images (H, W, 4), -1 where nothing returned."""
    # Intensities in the dataset have the upper 16 bits of a float32 alone.
    intensity = (returns.intensity.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    elongation = np.round(returns.elongation_m / ELONGATION_STEP_M) * ELONGATION_STEP_M
    values = np.stack([returns.range_m, intensity, elongation, zone], axis=1)
    images = np.full((2, *shape, 4), -1.0, dtype=np.float32)
    images[returns.number - 1, row, column] = values
    return images[0], images[1]


def _label_images(
    shape: tuple[int, int], returns: Returns
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return both returns' labels (H, W, 2): instance, class; 0 where nothing returned."""
    lookup = np.array([kind.waymo for kind in Kind])
    counted = np.array([kind in THINGS for kind in Kind])
    instance = np.where(counted[returns.kind], returns.instance, 0)
    images = np.zeros((2, *shape, 2), dtype=np.int32)
    values = np.stack([instance, lookup[returns.kind]], axis=1)
    images[returns.number - 1, returns.row, returns.column] = values
    return images[0], images[1]


def _pixel_poses(height: int, states: NDArray[np.float64], world: _World) -> NDArray[np.float32]:
    """Return where the vehicle was at each pixel (H, W, 6): roll, pitch, yaw, x, y, z."""
    turn = world.from_street
    place = states[:, :3] @ turn[:3, :3].T + turn[:3, 3]
    # The world is turned about z alone, which adds to the yaw; it is kept within a half turn.
    yaw = states[:, 5] + np.arctan2(turn[1, 0], turn[0, 0])
    angles = np.stack([states[:, 3], states[:, 4], (yaw + np.pi) % (2 * np.pi) - np.pi], axis=1)
    row = np.concatenate([angles, place], axis=1).astype(np.float32)
    return np.broadcast_to(row, (height, *row.shape)).copy()
