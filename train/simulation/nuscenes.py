"""Simulated frames in nuScenes' own layout: keyframes, lidarseg labels, and tables.

The tables are all that the download has, and say only what is true of a simulation.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.dataset_spec import SimulatedData
from train.data.nuscenes import SPEC
from train.data.nuscenes.classes import CATEGORY_NAMES, CATEGORY_TO_TRAIN
from train.data.nuscenes.layout import SCENES
from train.simulation.camera_images import street_looks, take_images, write_pair
from train.simulation.simulator.camera import PinholeCamera, nuscenes_cameras
from train.simulation.simulator.drive import drive
from train.simulation.simulator.models import hdl32
from train.simulation.simulator.sensor import Returns, SpinningLidar
from train.simulation.simulator.surfaces import Kind
from train.simulation.simulator.traffic import SPEED_M_S
from train.simulation.write import simulate

_MOST_KEYFRAMES: Final = 40  # of a scene: 20 s
_USUAL_KEYFRAMES: Final = 4
_TILT_DEG: Final = 0.4

VERSION: Final = "v1.0-trainval"
KEYFRAME_PERIOD_US: Final = 500_000

_FIRST_TIME: Final = datetime(2018, 1, 1, tzinfo=UTC)
_SCENE_PERIOD_US: Final = 3_600_000_000
_NAMES: Final = (
    *("attribute", "calibrated_sensor", "category", "ego_pose", "instance", "lidarseg", "log"),
    *("map", "sample", "sample_annotation", "sample_data", "scene", "sensor", "visibility"),
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

        The mount (4, 4) goes from the lidar's frame to the vehicle's. Cameras are the same for
        every scene.
        """
        self._scenes += 1
        self._scene, self._num_keyframes = scene, num_keyframes
        taken = {"date_captured": _FIRST_TIME.date().isoformat(), "location": ""}
        self._add("log", scene, logfile=f"simulated-{scene}", vehicle="simulated", **taken)
        self._calibrate("LIDAR_TOP", (scene,), mount, [])
        for camera in cameras:
            if self._scenes == 1:
                self._add("sensor", camera.name, channel=camera.name, modality="camera")
            intrinsic = camera.intrinsic.tolist()
            self._calibrate(camera.name, (scene, camera.name), camera.mount, intrinsic)
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

        It has a number in the scene that was added last; the pose (4, 4) goes from the vehicle's
        frame to the world.
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
        points = f"samples/LIDAR_TOP/simulated-{scene}__LIDAR_TOP__{time_us}.pcd.bin"
        token = self._add_data(number, (), time_us, pose, points, "pcd", (0, 0))
        labels = f"lidarseg/{VERSION}/{token}_lidarseg.bin"
        row = {"token": token, "sample_data_token": token, "filename": labels}
        self._tables["lidarseg"].append(row)
        return points, labels

    def add_image(
        self, number: int, camera: PinholeCamera, before_us: int, pose: NDArray[np.float64]
    ) -> str:
        """Add a camera's image to a keyframe; return where it belongs, below the data root.

        `add_keyframe` was called for this keyframe. The image was taken so long before the frame's
        time, when the pose went from the vehicle's frame to the world.
        """
        time_us, name = self._time_us(number) - before_us, camera.name
        path = f"samples/{name}/simulated-{self._scene}__{name}__{time_us}.jpg"
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
        at = {"token": token, "timestamp": time_us, **_translation_and_rotation(pose)}
        self._tables["ego_pose"].append(at)
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


def simulate_nuscenes(
    root: Path | str,
    *,
    num_frames: int = 8,
    num_validation_frames: int = 2,
    seed: int = 0,
    azimuth_steps: int = 500,
    cameras: bool = False,
) -> SimulatedData:
    """Write simulated frames in nuScenes' layout, or find that they are there already.

    The scenes bear names of the official training and validation splits. A real one has 40
    keyframes, 20 s at 2 Hz; simulated ones end after 4, so that few frames show many streets, or
    after as many as it takes when the split's names run out. There are no boxes: the tables of
    annotations are empty.

    Parameters
    ----------
    root
        The folder to make; it may exist if it is empty or holds the same simulation.
    num_frames, num_validation_frames
        How many keyframes the scenes for training and for validation have together, at least 1
        each.
    seed
        At least 0.
    azimuth_steps
        Columns a turn, 32 rays each; a real HDL-32E has 1080, and 500 give some 14,000 points a
        frame.
    cameras
        Whether to write key frames of six cameras too, and a label image beside each. Points and
        labels are the same without.

    Raises
    ------
    UserError
        As `train.simulation.write.simulate`, and if the official scenes cannot hold so many frames.
    """
    return simulate(
        root,
        dataset="nuscenes",
        training=_share_out("num_frames", num_frames, "training"),
        validation=_share_out("num_validation_frames", num_validation_frames, "validation"),
        seed=seed,
        azimuth_steps=azimuth_steps,
        write=_write,
        count=lambda folder, scene: len(SPEC.open(folder, sequences=[scene], cameras=cameras)),
        cameras=cameras,
    )


def _share_out(argument: str, count: int, part: str) -> dict[str, int]:
    """Return how many keyframes each scene of a part gets."""
    scenes = SCENES[part][VERSION]
    most = _MOST_KEYFRAMES * len(scenes)
    if count > most:
        raise UserError(
            f"simulate_nuscenes: {argument} is {count}; the {len(scenes)} official scenes of "
            f"{_MOST_KEYFRAMES} keyframes hold at most {most}"
        )
    each = max(_USUAL_KEYFRAMES, -(-count // len(scenes)))
    starts = range(0, count, each)
    # An impossible count is left for the shared writer to refuse.
    return {
        name: min(each, count - start) for name, start in zip(scenes, starts, strict=False)
    } or {scenes[0]: count}


def _write(folder: Path, settings: dict[str, Any]) -> None:
    """Write all scenes."""
    seed = settings["seed"]
    tables = SimulatedTables(seed)
    for name in ("samples/LIDAR_TOP", f"lidarseg/{VERSION}"):
        (folder / name).mkdir(parents=True)
    lidar = hdl32(settings["azimuth_steps"])
    cameras = nuscenes_cameras() if settings.get("cameras") else ()
    for camera in cameras:
        (folder / "samples" / camera.name).mkdir()
    for number, (scene, count) in enumerate(settings["frames"].items()):
        _write_scene(folder, tables, (lidar, cameras), scene, count, (seed, number))
    tables.write(folder / VERSION)


def _write_scene(
    folder: Path,
    tables: SimulatedTables,
    sensors: tuple[SpinningLidar, Sequence[PinholeCamera]],
    scene: str,
    count: int,
    seed: Sequence[int],
) -> None:
    """Drive through a street, write a keyframe twice a second."""
    spacing = SPEED_M_S * KEYFRAME_PERIOD_US * 1e-6
    lidar, cameras = sensors
    tables.add_scene(scene, count, lidar.mount, cameras)
    looks = street_looks(seed)
    for stop in drive(count, seed, spacing_m=spacing, frames_a_street=count):
        motion = stop.motion(lidar.period_s, _TILT_DEG)
        points, labels = nuscenes_bytes(lidar.scan(stop.scene, motion, stop.rng))
        # A frame is dated, and its pose is given, at the end of its turn.
        pose = motion.poses(np.array([1.0]))[0]
        points_name, labels_name = tables.add_keyframe(stop.index, pose)
        (folder / points_name).write_bytes(points)
        (folder / labels_name).write_bytes(labels)
        seen, image_seed = (cameras, lidar, stop.scene, motion, looks), (*seed, stop.index)
        for image in take_images(*seen, lambda kind: CATEGORY_TO_TRAIN[kind.nuscenes], image_seed):
            before_us = round((1.0 - image.share) * lidar.period_s * 1e6)
            name = tables.add_image(stop.index, image.camera, before_us, image.world_from_vehicle)
            write_pair(folder / name, image)


def nuscenes_bytes(returns: Returns) -> tuple[bytes, bytes]:
    """Return the contents of a frame's `.pcd.bin` and `_lidarseg.bin` files.

    Points are listed as they are fired: column after column, each from the lowest beam, ring 0, up.
    """
    lookup = np.array([CATEGORY_NAMES.index(kind.nuscenes) for kind in Kind], dtype=np.uint8)
    ring = 31 - returns.row
    order = np.lexsort((ring, returns.column))
    points = np.column_stack([returns.coord, returns.intensity, ring])[order]
    return points.astype("<f4").tobytes(), lookup[returns.kind[order]].tobytes()


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
