"""An index of the cameras' key frames: what the tables say of them, joined once and kept.

Shape letters: M images.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.frame import CameraImage
from train.data.index import Index, cached_index
from train.data.nuscenes.tables import Row, read_rows, table_files, utf_8

_INDEX_VERSION: Final = 1
_LIDAR: Final = "/LIDAR_TOP/"
_CAMERA: Final = "CAM_"
_TABLES: Final = ("calibrated_sensor", "sample_data", "ego_pose")
_NO_CALIBRATION: Final = np.full((3, 3), np.nan)
_NO_PLACE: Final = np.full((4, 4), np.nan)


def camera_index(root: Path, version: str, cache_dir: Path | None) -> Index:
    """Return what a version's tables say of the images beside its LiDAR keyframes.

    Parameters
    ----------
    root
        The data root.
    version
        The folder of tables below it.
    cache_dir
        See `cached_index`.

    Returns
    -------
    Index
        In the order of "token" (M,), that of the LiDAR keyframe's sample_data row, and of channels:
        "channel" (M,), "image" (M,) its file below the root, "timestamp_us" (M,), "size" (M, 2)
        width and height, "intrinsic" (M, 3, 3) and "pose" (M, 4, 4), world from camera. Of an
        image without usable calibration these are NaN: it is refused when its frame is read.

    Raises
    ------
    UserError
        If a table is missing, damaged, or points to what is not there.
    """
    tables = table_files(root, version, _TABLES)
    return cached_index(
        root,
        f"nuscenes-{version}-cameras",
        list(tables.values()),
        lambda: _build(tables),
        cache_dir,
        version=_INDEX_VERSION,
    )


def _build(tables: Mapping[str, Path]) -> Index:
    """Join the tables; of the largest only the keyframes' rows are ever held."""
    lidar_of: dict[str, str] = {}
    rows: list[tuple[str, Row]] = []
    for row in read_rows(tables["sample_data"]):
        if not row.flag("is_key_frame"):
            continue
        name = row.file_name()
        if _LIDAR in f"/{name}":
            lidar_of[row.token("sample_token")] = row.token()
        elif channel := _channel(name):
            rows.append((channel, row))
    rows = [entry for entry in rows if entry[1].token("sample_token") in lidar_of]
    mounting = {row.token(): row for row in read_rows(tables["calibrated_sensor"])}
    wanted = {row.token("ego_pose_token") for _, row in rows}
    ego = {token: row for row in read_rows(tables["ego_pose"]) if (token := row.token()) in wanted}
    keyed = sorted(
        ((lidar_of[row.token("sample_token")], channel, row) for channel, row in rows),
        key=lambda entry: entry[:2],
    )
    calibrations = [_calibration(row, mounting, ego, tables) for _, _, row in keyed]
    return {
        "token": utf_8(token for token, _, _ in keyed),
        "channel": utf_8(channel for _, channel, _ in keyed),
        "image": utf_8(row.file_name() for _, _, row in keyed),
        "timestamp_us": np.array([row.integer("timestamp") for _, _, row in keyed], np.int64),
        "size": np.array(
            [(row.integer("width"), row.integer("height")) for _, _, row in keyed], np.int64
        ).reshape(-1, 2),
        "intrinsic": np.array([matrix for matrix, _ in calibrations]).reshape(-1, 3, 3),
        "pose": np.array([pose for _, pose in calibrations]).reshape(-1, 4, 4),
    }


def _channel(file_name: str) -> str:
    """Return the camera that an image's folder is named after; "" if it is no camera's."""
    # The folder is the channel, which saves a join over the largest table.
    parts = file_name.split("/")
    return parts[-2] if len(parts) > 1 and parts[-2].startswith(_CAMERA) else ""


def _calibration(
    row: Row, mounting: Mapping[str, Row], ego: Mapping[str, Row], tables: Mapping[str, Path]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return an image's intrinsics and its pose in the world; NaN where they cannot be used."""
    sensor = row.found("calibrated_sensor_token", mounting, tables["calibrated_sensor"])
    place = row.found("ego_pose_token", ego, tables["ego_pose"])
    values = sensor.values.get("camera_intrinsic")
    numbers = values if isinstance(values, list) else []
    flat = [entry for line in numbers if isinstance(line, list) for entry in line]
    usable = len(numbers) == 3 and len(flat) == 9 and all(_is_number(entry) for entry in flat)
    intrinsic = np.array(flat, dtype=np.float64).reshape(3, 3) if usable else _NO_CALIBRATION
    try:
        pose = place.transform() @ sensor.transform()
    except UserError:
        # One camera's; said when a frame with this image is read, so that such can be skipped.
        pose = _NO_PLACE
    return intrinsic, pose


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9


class KeyframeImages:
    """The images beside some LiDAR keyframes.

    Parameters
    ----------
    root, version, cache_dir
        As for `camera_index`.

    Raises
    ------
    UserError
        As `camera_index`, or if the tables have no images.
    """

    def __init__(self, root: Path, version: str, cache_dir: Path | None) -> None:
        self._root = root
        index = camera_index(root, version, cache_dir)
        if not len(index["token"]):
            raise UserError(
                f"{root / version / 'sample_data.json'}: has no key frame of a camera ({_CAMERA}*) "
                "beside its frames; unpack it again, or choose a method that needs no images"
            )
        self._index = index

    def files(self, token: bytes) -> tuple[Path, ...]:
        """Return the image files of a keyframe, by its token."""
        return tuple(
            self._root / name.decode() for name in self._index["image"][self._rows(token)].tolist()
        )

    def of(
        self, token: bytes, timestamp_us: int, pose: NDArray[np.float64]
    ) -> tuple[CameraImage, ...]:
        """Return the images of a keyframe.

        Parameters
        ----------
        token, timestamp_us
            The keyframe's, and its time.
        pose
            (4, 4): world from lidar at that time.

        Raises
        ------
        UserError
            If a calibration cannot be used, or an image belongs to another time.
        """
        index = self._index
        images = []
        for row in range(*self._rows(token).indices(len(index["token"]))):
            width, height = index["size"][row].tolist()
            images.append(
                CameraImage(
                    name=index["channel"][row].decode(),
                    intrinsic=index["intrinsic"][row],
                    camera_from_points=_inverse(index["pose"][row]) @ pose,
                    width=width,
                    height=height,
                    time_offset_s=(int(index["timestamp_us"][row]) - timestamp_us) * 1e-6,
                    encoded=self._root / index["image"][row].decode(),
                )
            )
        return tuple(images)

    def _rows(self, token: bytes) -> slice:
        tokens = self._index["token"]
        return slice(
            *(int(np.searchsorted(tokens, token, side=side)) for side in ("left", "right"))
        )


def missing_files(images: KeyframeImages, tokens: Sequence[bytes]) -> dict[bytes, Path]:
    """Return the first missing image file of each keyframe that lacks one, by token."""
    missing = {}
    for token in tokens:
        for path in images.files(token):
            if not path.is_file():
                missing[token] = path
                break
    return missing


def _inverse(pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the inverse of a rigid transform; NaN stays NaN, and scaling is not made up for."""
    rotation = pose[:3, :3].T
    inverse = np.eye(4)
    inverse[:3, :3] = rotation
    inverse[:3, 3] = -rotation @ pose[:3, 3]
    return inverse
