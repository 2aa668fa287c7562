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
        self._add(
            "log",
            scene,
            logfile=_log(scene),
            vehicle="simulated",
            date_captured=_FIRST_TIME.date().isoformat(),
            location="",
        )
        self._add(
            "calibrated_sensor",
            scene,
            sensor_token=self.token("sensor", "LIDAR_TOP"),
            **_translation_and_rotation(mount),
            camera_intrinsic=[],
        )
        for camera in cameras:
            if self._scenes == 1:
                self._add("sensor", camera.name, channel=camera.name, modality="camera")
            self._add(
                "calibrated_sensor",
                scene,
                camera.name,
                sensor_token=self.token("sensor", camera.name),
                **_translation_and_rotation(camera.mount),
                camera_intrinsic=camera.intrinsic.tolist(),
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

    def add_keyframe(
        self, scene: str, number: int, num_keyframes: int, pose: NDArray[np.float64]
    ) -> tuple[str, str]:
        """Add a keyframe and return where its points and its labels belong, below the data root.

        Parameters
        ----------
        scene
            The scene that was added last.
        number
            Of the keyframe in it.
        num_keyframes
            Of the scene.
        pose
            (4, 4): from the vehicle's frame to the world.
        """
        time_us = self._time_us(number)
        token = self.token("sample_data", scene, number)
        points = f"samples/LIDAR_TOP/{_log(scene)}__LIDAR_TOP__{time_us}.pcd.bin"
        labels = f"lidarseg/{VERSION}/{token}_lidarseg.bin"
        before = number > 0
        after = number + 1 < num_keyframes
        self._add(
            "sample",
            scene,
            number,
            timestamp=time_us,
            prev=self.token("sample", scene, number - 1) if before else "",
            next=self.token("sample", scene, number + 1) if after else "",
            scene_token=self.token("scene", scene),
        )
        self._tables["ego_pose"].append(
            {"token": token, "timestamp": time_us, **_translation_and_rotation(pose)}
        )
        self._add(
            "sample_data",
            scene,
            number,
            sample_token=self.token("sample", scene, number),
            ego_pose_token=token,
            calibrated_sensor_token=self.token("calibrated_sensor", scene),
            timestamp=time_us,
            fileformat="pcd",
            is_key_frame=True,
            height=0,
            width=0,
            filename=points,
            prev=self.token("sample_data", scene, number - 1) if before else "",
            next=self.token("sample_data", scene, number + 1) if after else "",
        )
        self._tables["lidarseg"].append(
            {"token": token, "sample_data_token": token, "filename": labels}
        )
        return points, labels

    def add_image(
        self,
        scene: str,
        number: int,
        num_keyframes: int,
        camera: PinholeCamera,
        before_us: int,
        pose: NDArray[np.float64],
    ) -> str:
        """Add a camera's image to a keyframe; return where it belongs, below the data root.

        Parameters
        ----------
        scene, number, num_keyframes
            As for `add_keyframe`, which was called for this keyframe.
        camera
            Which took it.
        before_us
            How long before the sweep's time.
        pose
            (4, 4): from the vehicle's frame to the world when it was taken.
        """
        time_us = self._time_us(number) - before_us
        name = camera.name
        token = self.token("sample_data", scene, number, name)
        path = f"samples/{name}/{_log(scene)}__{name}__{time_us}.jpg"
        before = number > 0
        after = number + 1 < num_keyframes
        self._tables["ego_pose"].append(
            {"token": token, "timestamp": time_us, **_translation_and_rotation(pose)}
        )
        self._add(
            "sample_data",
            scene,
            number,
            name,
            sample_token=self.token("sample", scene, number),
            ego_pose_token=token,
            calibrated_sensor_token=self.token("calibrated_sensor", scene, name),
            timestamp=time_us,
            fileformat="jpg",
            is_key_frame=True,
            height=camera.height,
            width=camera.width,
            filename=path,
            prev=self.token("sample_data", scene, number - 1, name) if before else "",
            next=self.token("sample_data", scene, number + 1, name) if after else "",
        )
        return path

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
