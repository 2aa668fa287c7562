"""KITTI's left color camera beside a frame: `image_2/NNNNNN.png` and `calib.txt`.

`Tr` brings points to the frame of camera 0, and `P2` these to the pixels of camera 2: its first
three columns are the intrinsics, the fourth is where the camera sits, times the intrinsics. Images
are rectified, have no rolling shutter to speak of, and are taken when the lidar looks ahead, which
is the moment that the dataset's frames are given for.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.files import check_size, read_bytes, reading
from train.data.frame import CameraImage
from train.data.image_files import image_size

CAMERA: Final = "image_2"
ENDINGS: Final = (".png", ".jpg")
_CALIBRATION: Final = "calib.txt"
_MAX_BYTES: Final = 1 << 16


@dataclass(frozen=True)
class DriveCalibration:
    """What a drive's calib.txt says of the left color camera.

    Attributes
    ----------
    intrinsic
        (3, 3) float64, pixels.
    camera_from_points
        (4, 4) float64.
    """

    intrinsic: NDArray[np.float64]
    camera_from_points: NDArray[np.float64]


def read_calibration(path: Path) -> DriveCalibration:
    """Return what a calib.txt says of camera 2.

    Raises
    ------
    UserError
        If it cannot be read, or has no line `P2` or `Tr` of 12 numbers.
    """
    data = read_bytes(path, lambda size: check_size(path, size, _MAX_BYTES, "a calibration"))
    matrices: dict[str, NDArray[np.float64]] = {}
    for line in data.decode("ascii", errors="replace").splitlines():
        name, _, rest = line.partition(":")
        if name.strip() in ("P2", "Tr"):
            matrices[name.strip()] = _matrix(path, name.strip(), rest.split())
    for name in ("P2", "Tr"):
        if name not in matrices:
            raise UserError(
                f"{path}: has no line {name}; give the calibration of the odometry benchmark "
                "(P0 to P3 and Tr)"
            )
    projection, moved = matrices["P2"], np.eye(4)
    moved[:3] = matrices["Tr"]
    intrinsic = projection[:, :3]
    if abs(np.linalg.det(intrinsic)) > 1e-9:
        moved[:3, 3] += np.linalg.solve(intrinsic, projection[:, 3])
    return DriveCalibration(intrinsic, moved)


def image_path(points: Path) -> Path:
    """Return the image beside a frame's file of points.

    Raises
    ------
    UserError
        If it is not there.
    """
    folder = points.parent.parent / CAMERA
    with reading(folder):
        for ending in ENDINGS:
            path = folder / f"{points.stem}{ending}"
            if path.is_file():
                return path
    raise UserError(
        f"{folder / points.stem}{ENDINGS[0]}: no such image; download the color images of KITTI's "
        "odometry benchmark into the sequences, or choose a method that needs none"
    )


def drive_image(path: Path, calibration: DriveCalibration) -> CameraImage:
    """Return an image of a drive, not decoded.

    Raises
    ------
    UserError
        If it is no image, or the calibration cannot be used.
    """
    # The calibration does not say it, and the drives differ.
    width, height = image_size(path)
    return CameraImage(
        name=CAMERA,
        intrinsic=calibration.intrinsic,
        camera_from_points=calibration.camera_from_points,
        width=width,
        height=height,
        time_offset_s=0.0,
        encoded=path,
    )


def calibration_path(points: Path) -> Path:
    """Return the calibration of the drive that a file of points is of."""
    return points.parent.parent / _CALIBRATION


def calibration_text(calibration: DriveCalibration) -> str:
    """Return the contents of a calib.txt; all four cameras are said to be this one."""
    projection = np.concatenate([calibration.intrinsic, np.zeros((3, 1))], axis=1)
    moved = calibration.camera_from_points[:3]
    lines = [*((f"P{number}", projection) for number in range(4)), ("Tr", moved)]
    return "".join(
        f"{name}: {' '.join(f'{value:.12e}' for value in matrix.reshape(-1))}\n"
        for name, matrix in lines
    )


def _matrix(path: Path, name: str, words: list[str]) -> NDArray[np.float64]:
    try:
        values = np.array([float(word) for word in words])
    except ValueError as error:
        raise UserError(f"{path}: line {name} holds no numbers ({error}); copy it again") from error
    if len(values) != 12 or not np.isfinite(values).all():
        raise UserError(f"{path}: line {name} has not 12 finite numbers; copy it again")
    return values.reshape(3, 4)
