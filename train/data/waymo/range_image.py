"""Range images to points in the vehicle's frame, and predictions back to images.

Points come lidar by lidar in the order of their numbers, first the first returns of all lidars,
then the second ones; within an image row by row.

Shape letters: N points, H rows, W columns.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.core.compiled import compiled
from train.data.frame import IGNORE_INDEX
from train.data.waymo.classes import CLASS_NAMES
from train.data.waymo.frame import Calibration, Frame, FrameError, Laser, LaserName

MAX_RANGE_M: Final = 1000.0
"""No return lies further out; what claims to is a damaged file."""

NO_PIXEL: Final = -1
"""The `top_pixel` of a point of another lidar."""

_MAX_OFFSET_M: Final = 100.0
"""More than a lidar's place on the vehicle, and the way driven in one turn."""

_NO_POSES = np.zeros((0, 0, 6), dtype=np.float32)


@dataclass(frozen=True)
class Points:
    """The points of a frame.

    Attributes
    ----------
    coord
        (N, 3) float32 meters, x forward, y left, z up, in the vehicle's frame at the frame's pose.
    strength
        (N, 1) float32: tanh of the intensity.
    segment
        (N,) int64 train ids, `IGNORE_INDEX` for points of lidars other than TOP; None without
        labels.
    top_pixel
        (N,) int64: return * H * W + row * W + column of TOP's image; `NO_PIXEL` for other lidars.
    top_shape
        (H, W) of TOP's image; (0, 0) if TOP saw nothing.
    """

    coord: NDArray[np.float32]
    strength: NDArray[np.float32]
    segment: NDArray[np.int64] | None
    top_pixel: NDArray[np.int64]
    top_shape: tuple[int, int]


def points(frame: Frame) -> Points:
    """Return the points of a frame.

    Raises
    ------
    FrameError
        If there is no point, a lidar comes twice, images of a lidar differ in shape, TOP has no
        pixel poses, a value is NaN, infinite or out of range, or a label is unknown.
    """
    lasers = sorted(frame.lasers, key=lambda laser: laser.name)
    if len({laser.name for laser in lasers}) != len(lasers):
        raise FrameError("a lidar comes twice")
    images = [
        (laser, index, image)
        for index in range(2)
        for laser in lasers
        if (image := laser.returns[index]) is not None
    ]
    counts = [_checked_count(laser, index, image) for laser, index, image in images]
    total = sum(counts)
    if total == 0:
        raise FrameError("no lidar has a point")
    coord = np.empty((total, 3), dtype=np.float32)
    intensity = np.empty((total, 1), dtype=np.float32)
    top_pixel = np.full(total, NO_PIXEL, dtype=np.int64)
    labeled = any(label is not None for laser in lasers for label in laser.labels)
    segment = np.full(total, IGNORE_INDEX, dtype=np.int64) if labeled else None
    top_shape = (0, 0)
    to_vehicle = np.linalg.inv(frame.pose)
    end = 0
    for (laser, index, image), count in zip(images, counts, strict=True):
        start, end = end, end + count
        pixel = np.empty(count, dtype=np.int64)
        _place(
            image,
            *_directions(laser.calibration, image.shape[0], image.shape[1]),
            laser.calibration.extrinsic,
            _NO_POSES if laser.pixel_pose is None else laser.pixel_pose,
            to_vehicle,
            coord[start:end],
            intensity[start:end, 0],
            pixel,
        )
        if laser.name != LaserName.TOP:
            continue
        top_shape = (image.shape[0], image.shape[1])
        top_pixel[start:end] = pixel + index * image.shape[0] * image.shape[1]
        label = laser.labels[index]
        if segment is not None and label is not None:
            segment[start:end] = _train_ids(label[..., 1].reshape(-1)[pixel])
    if not np.isfinite(intensity).all():
        raise FrameError(f"{int((~np.isfinite(intensity)).sum())} intensities are no numbers")
    limit = MAX_RANGE_M + _MAX_OFFSET_M
    if not (coord.min() >= -limit and coord.max() <= limit):
        placed = (np.abs(coord) <= limit).all(axis=1)
        raise FrameError(
            f"{int((~placed).sum())} points lie further from the vehicle than any lidar reaches; "
            "the poses of TOP's pixels do not belong to the frame's pose"
        )
    return Points(coord, np.tanh(intensity), segment, top_pixel, top_shape)


def _checked_count(laser: Laser, index: int, image: NDArray[np.float32]) -> int:
    """Return how many points an image has after looking at its shape and its ranges."""
    what = f"return {index + 1} of {laser.name.name}"
    first = next(other for other in laser.returns if other is not None)
    if image.shape != first.shape:
        raise FrameError(f"{what} has shape {image.shape}, the first return {first.shape}")
    if laser.name == LaserName.TOP and laser.pixel_pose is None:
        raise FrameError("TOP has no pixel poses (v1: range_image_pose_compressed, v2: lidar_pose)")
    for other, name in ((laser.pixel_pose, "pixel poses"), (laser.labels[index], "labels")):
        if other is not None and other.shape[:2] != image.shape[:2]:
            raise FrameError(
                f"the {name} of {what} have shape {other.shape}, the range image {image.shape}"
            )
    kept, bad = _count(image, MAX_RANGE_M)
    if bad:
        raise FrameError(
            f"{bad} pixels of {what} have a range that is no number or beyond {MAX_RANGE_M:g} m"
        )
    return int(kept)


def _directions(
    calibration: Calibration, height: int, width: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (cos, sin) of each row's inclination (H, 2) and of each column's azimuth (W, 2)."""
    inclination = calibration.rows(height)
    extrinsic = calibration.extrinsic
    turned = np.arctan2(extrinsic[1, 0], extrinsic[0, 0])
    azimuth = ((width - np.arange(width) - 0.5) / width * 2.0 - 1.0) * np.pi - turned
    return (
        np.stack([np.cos(inclination), np.sin(inclination)], axis=1),
        np.stack([np.cos(azimuth), np.sin(azimuth)], axis=1),
    )


def _train_ids(raw: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return train ids of raw classes; refuse those that there are not."""
    unknown = (raw < 0) | (raw > len(CLASS_NAMES))
    if unknown.any():
        ids = np.unique(raw[unknown]).tolist()
        shown = ", ".join(map(str, ids[:8])) + (", ..." if len(ids) > 8 else "")
        raise FrameError(
            f"{int(unknown.sum())} labels have ids that Waymo does not have ({shown}); known are "
            f"0 to {len(CLASS_NAMES)}"
        )
    return raw.astype(np.int64) - 1


@compiled()
def _count(image: NDArray[np.float32], max_range_m: float) -> tuple[int, int]:
    """Return how many pixels have a range above 0, and how many one that cannot be."""
    kept, bad = 0, 0
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            distance = image[row, column, 0]
            if distance > 0.0:
                kept += 1
            if not distance <= max_range_m:
                bad += 1
    return kept, bad


@compiled()
def _place(
    image: NDArray[np.float32],
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    extrinsic: NDArray[np.float64],
    poses: NDArray[np.float32],
    to_vehicle: NDArray[np.float64],
    coord: NDArray[np.float32],
    intensity: NDArray[np.float32],
    pixel: NDArray[np.int64],
) -> None:
    """Fill in coordinates, intensities and pixel numbers of an image's points, all in float64."""
    height, width = image.shape[0], image.shape[1]
    e, v = extrinsic, to_vehicle
    # Roll, pitch and yaw of the last pixel in each column, and their cosines and sines.
    angles = np.full((poses.shape[1], 3), np.nan, dtype=np.float32)
    turns = np.empty((poses.shape[1], 3, 2))
    count = 0
    for row in range(height):
        cos_inclination, sin_inclination = rows[row, 0], rows[row, 1]
        for column in range(width):
            distance = np.float64(image[row, column, 0])
            if not distance > 0.0:
                continue
            flat = distance * cos_inclination
            x0, y0 = flat * columns[column, 0], flat * columns[column, 1]
            z0 = distance * sin_inclination
            x = e[0, 0] * x0 + e[0, 1] * y0 + e[0, 2] * z0 + e[0, 3]
            y = e[1, 0] * x0 + e[1, 1] * y0 + e[1, 2] * z0 + e[1, 3]
            z = e[2, 0] * x0 + e[2, 1] * y0 + e[2, 2] * z0 + e[2, 3]
            if len(poses):
                # Where the vehicle was when this pixel was measured: Rz(yaw) Ry(pitch) Rx(roll).
                # A column is measured at one time: mostly the angles are those of the row above.
                if (
                    poses[row, column, 0] != angles[column, 0]
                    or poses[row, column, 1] != angles[column, 1]
                    or poses[row, column, 2] != angles[column, 2]
                ):
                    angles[column] = poses[row, column, :3]
                    for axis in range(3):
                        angle = np.float64(angles[column, axis])
                        turns[column, axis, 0], turns[column, axis, 1] = (
                            np.cos(angle),
                            np.sin(angle),
                        )
                cr, sr = turns[column, 0, 0], turns[column, 0, 1]
                cp, sp = turns[column, 1, 0], turns[column, 1, 1]
                cy, sy = turns[column, 2, 0], turns[column, 2, 1]
                y, z = cr * y - sr * z, sr * y + cr * z
                x, z = cp * x + sp * z, cp * z - sp * x
                x, y = cy * x - sy * y, sy * x + cy * y
                x += np.float64(poses[row, column, 3])
                y += np.float64(poses[row, column, 4])
                z += np.float64(poses[row, column, 5])
                x, y, z = (
                    v[0, 0] * x + v[0, 1] * y + v[0, 2] * z + v[0, 3],
                    v[1, 0] * x + v[1, 1] * y + v[1, 2] * z + v[1, 3],
                    v[2, 0] * x + v[2, 1] * y + v[2, 2] * z + v[2, 3],
                )
            coord[count, 0], coord[count, 1], coord[count, 2] = x, y, z
            intensity[count] = image[row, column, 1]
            pixel[count] = row * width + column
            count += 1
