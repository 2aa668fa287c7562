"""The tables of a simulated nuScenes: all that the download has, and only what is true of it."""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from train.data.nuscenes.classes import CATEGORY_NAMES
from train.simulation.simulator.camera import PinholeCamera

VERSION: Final = "v1.0-trainval"
KEYFRAME_PERIOD_US: Final = 500_000

_FIRST_TIME: Final = datetime(2018, 1, 1, tzinfo=UTC)
_SCENE_PERIOD_US: Final = 3_600_000_000
_NAMES: Final = (
    "attribute",
    "calibrated_sensor",
    "category",
    "ego_pose",
    "instance",
    "lidarseg",
    "log",
    "map",
    "sample",
    "sample_annotation",
    "sample_data",
    "scene",
    "sensor",
    "visibility",
)


class SimulatedTables:
    """Collects the rows of all tables.

    Parameters
    ----------
    seed
        The simulation's; tokens depend on it.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._scenes = 0
        self._scene, self._num_keyframes = "", 0
        self._tables: dict[str, list[dict[str, Any]]] = {name: [] for name in _NAMES}
        self._add("sensor", "LIDAR_TOP", channel="LIDAR_TOP", modality="lidar")
        for index, name in enumerate(CATEGORY_NAMES):
            self._add("category", name, name=name, description="", index=index)

    def add_scene(
        self,
        scene: str,
        num_keyframes: int,
        mount: NDArray[np.float64],
        cameras: Sequence[PinholeCamera] = (),
    ) -> None:
        """Add a scene, its log and the sensors as they are mounted; its keyframes are to follow.

        Parameters
        ----------
        scene
            Its name.
        num_keyframes
            How many will be added.
        mount
            (4, 4): from the lidar's frame to the vehicle's.
        cameras
            The same for every scene.
        """
        self._scenes += 1
        self._scene, self._num_keyframes = scene, num_keyframes
        date = _FIRST_TIME.date().isoformat()
        self._add(
            "log", scene, logfile=_log(scene), vehicle="simulated", date_captured=date, location=""
        )
        self._calibrate("LIDAR_TOP", (scene,), mount, [])
        for camera in cameras:
            if self._scenes == 1:
                self._add("sensor", camera.name, channel=camera.name, modality="camera")
            self._calibrate(
                camera.name, (scene, camera.name), camera.mount, camera.intrinsic.tolist()
            )
        self._add(
            "scene",
            scene,
            log_token=self.token("log", scene),
            nbr_samples=num_keyframes,
            first_sample_token=self.token("sample", scene, 0),
            last_sample_token=self.token("sample", scene, num_keyframes - 1),
            name=scene,
            description="Simulated",
        )

    def add_keyframe(self, number: int, pose: NDArray[np.float64]) -> tuple[str, str]:
        """Add a keyframe and return where its points and its labels belong, below the data root.

        Parameters
        ----------
        number
            Of the keyframe in the scene that was added last.
        pose
            (4, 4): from the vehicle's frame to the world.
        """
        time_us, scene = self._time_us(number), self._scene
        self._add(
            "sample",
            scene,
            number,
            timestamp=time_us,
            **self._neighbors("sample", number),
            scene_token=self.token("scene", scene),
        )
        points = f"samples/LIDAR_TOP/{_log(scene)}__LIDAR_TOP__{time_us}.pcd.bin"
        token = self._add_data(number, (), time_us, pose, points, "pcd", (0, 0))
        labels = f"lidarseg/{VERSION}/{token}_lidarseg.bin"
        self._tables["lidarseg"].append(
            {"token": token, "sample_data_token": token, "filename": labels}
        )
        return points, labels

    def add_image(
        self, number: int, camera: PinholeCamera, before_us: int, pose: NDArray[np.float64]
    ) -> str:
        """Add a camera's image to a keyframe; return where it belongs, below the data root.

        Parameters
        ----------
        number
            As for `add_keyframe`, which was called for this keyframe.
        camera
            Which took it.
        before_us
            How long before the sweep's time.
        pose
            (4, 4): from the vehicle's frame to the world when it was taken.
        """
        time_us, name = self._time_us(number) - before_us, camera.name
        path = f"samples/{name}/{_log(self._scene)}__{name}__{time_us}.jpg"
        size = (camera.height, camera.width)
        self._add_data(number, (name,), time_us, pose, path, "jpg", size)
        return path

    def _calibrate(
        self, sensor: str, row: tuple[str, ...], mount: NDArray[np.float64], intrinsic: list[Any]
    ) -> None:
        """Add how a sensor is mounted in a scene."""
        self._add(
            "calibrated_sensor",
            *row,
            sensor_token=self.token("sensor", sensor),
            **_translation_and_rotation(mount),
            camera_intrinsic=intrinsic,
        )

    def _add_data(
        self,
        number: int,
        camera: tuple[str, ...],
        time_us: int,
        pose: NDArray[np.float64],
        path: str,
        file_format: str,
        size: tuple[int, int],
    ) -> str:
        """Add a file of a keyframe, of a camera or of the lidar; return its token."""
        row = (self._scene, number, *camera)
        token = self.token("sample_data", *row)
        self._tables["ego_pose"].append(
            {"token": token, "timestamp": time_us, **_translation_and_rotation(pose)}
        )
        self._add(
            "sample_data",
            *row,
            sample_token=self.token("sample", self._scene, number),
            ego_pose_token=token,
            calibrated_sensor_token=self.token("calibrated_sensor", self._scene, *camera),
            timestamp=time_us,
            fileformat=file_format,
            is_key_frame=True,
            height=size[0],
            width=size[1],
            filename=path,
            **self._neighbors("sample_data", number, *camera),
        )
        return token

    def _neighbors(self, table: str, number: int, *row: str) -> dict[str, str]:
        """Return the tokens of the keyframes before and after one, empty where there is none."""
        before, after = number > 0, number + 1 < self._num_keyframes
        return {
            "prev": self.token(table, self._scene, number - 1, *row) if before else "",
            "next": self.token(table, self._scene, number + 1, *row) if after else "",
        }

    def _time_us(self, number: int) -> int:
        """Return when a keyframe of the scene that was added last is."""
        first_us = int(_FIRST_TIME.timestamp()) * 1_000_000 + self._scenes * _SCENE_PERIOD_US
        return first_us + number * KEYFRAME_PERIOD_US

    def write(self, folder: Path) -> None:
        """Write all tables into a new folder."""
        folder.mkdir()
        for name, rows in self._tables.items():
            (folder / f"{name}.json").write_text(json.dumps(rows, indent=0))

    def token(self, table: str, *row: object) -> str:
        """Return the token of a row: 32 hexadecimal digits, the same for the same seed."""
        text = json.dumps([self._seed, table, *row])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def _add(self, table: str, *row: object, **values: object) -> None:
        self._tables[table].append({"token": self.token(table, *row), **values})


def _log(scene: str) -> str:
    """Return what the recording that a scene is from is called."""
    return f"simulated-{scene}"


def _translation_and_rotation(pose: NDArray[np.float64]) -> dict[str, list[float]]:
    """Return a pose (4, 4) as tables have it: meters, and a quaternion w, x, y, z."""
    turn = pose[:3, :3]
    xx, yy, zz = np.diag(turn)
    squares = 1.0 + np.array([xx + yy + zz, xx - yy - zz, yy - xx - zz, zz - xx - yy])
    # Each row is the quaternion times four times one of its parts: the largest is well away from 0.
    differences = [turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]
    xy, xz, yz = turn[0, 1] + turn[1, 0], turn[0, 2] + turn[2, 0], turn[1, 2] + turn[2, 1]
    rows = [
        [squares[0], *differences],
        [differences[0], squares[1], xy, xz],
        [differences[1], xy, squares[2], yz],
        [differences[2], xz, yz, squares[3]],
    ]
    quaternion = np.array(rows[int(np.argmax(squares))])
    quaternion /= np.linalg.norm(quaternion)
    return {"translation": pose[:3, 3].tolist(), "rotation": quaternion.tolist()}
