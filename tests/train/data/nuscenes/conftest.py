"""A small nuScenes folder, written by the test's own few lines and not by the simulator."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from train.data.nuscenes.classes import CATEGORY_NAMES


def token(*what: object) -> str:
    """Return a token as nuScenes has them."""
    return hashlib.md5(repr(what).encode(), usedforsecurity=False).hexdigest()


def write_table(folder: Path, name: str, rows: list[dict[str, object]]) -> Path:
    """Write a table as the download has it: every entry on a line of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(rows, indent=0))
    return path


def edit_table(path: Path, change: Callable[[list[dict[str, object]]], object]) -> None:
    """Change a table's rows in place."""
    rows = json.loads(path.read_text())
    change(rows)
    path.write_text(json.dumps(rows, indent=0))


@pytest.fixture
def write_root(tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of a version's tables and files; it gives the data root.

    The n-th keyframe of a scene has n + 3 points. Category numbers run backwards (31 is noise), so
    that nobody gets away with trusting the usual order.
    """

    def write(
        scenes: Mapping[str, int], version: str = "v1.0-trainval", *, labeled: bool = True
    ) -> Path:
        root = tmp_path / "nuscenes"
        rng = np.random.default_rng(0)
        sample, sample_data, ego_pose, lidarseg = [], [], [], []
        for scene, count in scenes.items():
            # The last comes first in the tables: their order is nobody's promise.
            for number in reversed(range(count)):
                time = 1_500_000_000_000_000 + number * 500_000
                this = token(scene, number)
                sample.append(
                    {"token": token("sample", this), "timestamp": time, "prev": "", "next": "",
                     "scene_token": token("scene", scene)}
                )  # fmt: skip
                for key, sensor, place in (
                    (this, "LIDAR_TOP", "samples"),
                    (token("frame", this), "LIDAR_TOP", "sweeps"),
                    (token("image", this), "CAM_FRONT", "samples"),
                ):
                    ending = "jpg" if sensor == "CAM_FRONT" else "pcd.bin"
                    sample_data.append(
                        {"token": key, "sample_token": token("sample", this),
                         "ego_pose_token": key, "calibrated_sensor_token": token(sensor, scene),
                         "timestamp": time, "fileformat": ending[:3],
                         "is_key_frame": place == "samples", "height": 0, "width": 0,
                         "filename": f"{place}/{sensor}/{scene}__{sensor}__{time}.{ending}",
                         "prev": "", "next": ""}
                    )  # fmt: skip
                    ego_pose.append(
                        {"token": key, "timestamp": time, "rotation": [1.0, 0.0, 0.0, 0.0],
                         "translation": [100.0 + number, 200, 0.0]}
                    )  # fmt: skip
                points = rng.uniform(-40, 40, (number + 3, 5)).astype("<f4")
                points[:, 3] = rng.integers(0, 256, len(points))
                points[:, 4] = rng.integers(0, 32, len(points))
                path = root / f"samples/LIDAR_TOP/{scene}__LIDAR_TOP__{time}.pcd.bin"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(points.tobytes())
                if labeled:
                    name = f"lidarseg/{version}/{this}_lidarseg.bin"
                    lidarseg.append({"token": this, "sample_data_token": this, "filename": name})
                    (root / name).parent.mkdir(parents=True, exist_ok=True)
                    labels = rng.integers(0, 32, len(points)).astype(np.uint8)
                    (root / name).write_bytes(labels.tobytes())
        folder = root / version
        write_table(
            folder, "scene",
            [{"token": token("scene", name), "name": name, "nbr_samples": count, "description": ""}
             for name, count in scenes.items()],
        )  # fmt: skip
        write_table(folder, "sample", sample)
        write_table(folder, "sample_data", sample_data)
        write_table(folder, "ego_pose", ego_pose)
        write_table(
            folder, "calibrated_sensor",
            [{"token": token(sensor, name), "sensor_token": token(sensor),
              "translation": [1.0, 0.0, 2.0], "camera_intrinsic": [],
              "rotation": [0.5**0.5, 0.0, 0.0, -(0.5**0.5)]}
             for name in scenes for sensor in ("LIDAR_TOP", "CAM_FRONT")],
        )  # fmt: skip
        write_table(
            folder, "category",
            [{"token": token(name), "name": name, "description": "", "index": 31 - number}
             for number, name in enumerate(CATEGORY_NAMES)],
        )  # fmt: skip
        write_table(folder, "lidarseg", lidarseg)
        return root

    return write
