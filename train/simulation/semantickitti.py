"""Simulated frames in SemanticKITTI's own layout, or in that layout with a class map."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from train.data.dataset_spec import SimulatedData
from train.data.readers.class_map_file import CLASS_MAP_FILE, class_map_yaml
from train.data.semantickitti import SPEC
from train.data.semantickitti.camera_images import DriveCalibration, calibration_text
from train.data.semantickitti.classes import CLASS_MAP, RAW_TO_TRAIN
from train.simulation.camera_images import street_looks, take_images, write_pair
from train.simulation.simulator.camera import PinholeCamera, kitti_cameras
from train.simulation.simulator.drive import FRAMES_A_STREET, drive
from train.simulation.simulator.models import hdl64
from train.simulation.simulator.sensor import Returns, SpinningLidar
from train.simulation.simulator.surfaces import Kind
from train.simulation.write import simulate

_TILT_DEG: Final = 0.4

LABELLED_M: Final = 50.0
"""Nothing further out is labeled in the dataset: in a real frame all beyond is id 0."""

_SPLIT: Final = {"training": ("00",), "validation": ("08",)}


def simulate_semantickitti(
    root: Path | str,
    *,
    num_frames: int = 8,
    num_validation_frames: int = 2,
    seed: int = 0,
    azimuth_steps: int = 500,
    cameras: bool = False,
) -> SimulatedData:
    """Write simulated frames in SemanticKITTI's layout, or find that they are there already.

    Parameters
    ----------
    root
        The folder to make; it may exist if it is empty or holds the same simulation.
    num_frames, num_validation_frames
        How many frames sequence 00 (training) and 08 (validation) get, at least 1 each. The two
        are drives through different streets; four frames are taken in each street.
    seed
        At least 0.
    azimuth_steps
        Columns a turn, 64 rays each; a real HDL-64E has 2150, and 500 give some 28,000 points
        a frame.
    cameras
        Whether to write the left color camera's images (`image_2/`, `calib.txt`), too, and a label
        image beside each. Points and labels are the same without.

    Raises
    ------
    UserError
        As `train.simulation.write.simulate`.
    """
    counts = (num_frames, num_validation_frames)
    return _simulate("semantickitti", root, counts, seed, azimuth_steps, _write, cameras=cameras)


def simulate_kitti_layout(
    root: Path | str,
    *,
    num_frames: int = 8,
    num_validation_frames: int = 2,
    seed: int = 0,
    azimuth_steps: int = 500,
) -> SimulatedData:
    """Write the frames of `simulate_semantickitti` for the same arguments, and a class map.

    Raises
    ------
    UserError
        As `train.simulation.write.simulate`.
    """
    counts = (num_frames, num_validation_frames)
    return _simulate("kitti-layout", root, counts, seed, azimuth_steps, _write_with_class_map)


def _simulate(
    dataset: str,
    root: Path | str,
    counts: tuple[int, int],
    seed: int,
    azimuth_steps: int,
    write: Callable[[Path, dict[str, Any]], None],
    *,
    cameras: bool = False,
) -> SimulatedData:
    return simulate(
        root,
        dataset=dataset,
        training={"00": counts[0]},
        validation={"08": counts[1]},
        seed=seed,
        azimuth_steps=azimuth_steps,
        write=write,
        count=lambda folder, sequence: len(SPEC.open(folder, sequences=[sequence])),
        cameras=cameras,
    )


def _write_with_class_map(folder: Path, settings: dict[str, Any]) -> None:
    _write(folder, settings)
    (folder / CLASS_MAP_FILE).write_text(class_map_yaml(CLASS_MAP, _SPLIT), encoding="utf-8")


def _write(folder: Path, settings: dict[str, Any]) -> None:
    """Write all sequences into a new folder; `settings` as `simulate` gives them."""
    lidar = hdl64(settings["azimuth_steps"])
    cameras = kitti_cameras() if settings.get("cameras") else ()
    for number, (sequence, count) in enumerate(settings["frames"].items()):
        seed = (settings["seed"], number)
        _write_sequence(folder / "sequences" / sequence, lidar, count, seed, cameras)


def _write_sequence(
    folder: Path,
    lidar: SpinningLidar,
    count: int,
    seed: Sequence[int],
    cameras: Sequence[PinholeCamera],
) -> None:
    """Write a drive's frames, and the cameras' images if there are any."""
    (folder / "velodyne").mkdir(parents=True)
    (folder / "labels").mkdir()
    for stop in drive(count, seed):
        motion = stop.motion(lidar.period_s, _TILT_DEG)
        points, labels = semantickitti_bytes(lidar.scan(stop.scene, motion, stop.rng))
        (folder / "velodyne" / f"{stop.index:06d}.bin").write_bytes(points)
        (folder / "labels" / f"{stop.index:06d}.label").write_bytes(labels)
        looks = street_looks((*seed, stop.index // FRAMES_A_STREET))
        seen, image_seed = (cameras, lidar, stop.scene, motion, looks), (*seed, stop.index)
        for image in take_images(*seen, lambda kind: RAW_TO_TRAIN[kind.semantickitti], image_seed):
            write_pair(folder / image.camera.name / f"{stop.index:06d}.png", image)
    for camera in cameras:
        calibration = DriveCalibration(camera.intrinsic, np.linalg.inv(camera.mount) @ lidar.mount)
        text = calibration_text(calibration)
        (folder / "calib.txt").write_text(text, encoding="ascii")


def semantickitti_bytes(returns: Returns) -> tuple[bytes, bytes]:
    """Return the contents of a frame's `.bin` and `.label` files."""
    lookup = np.array([kind.semantickitti for kind in Kind], dtype=np.uint32)
    points = np.concatenate([returns.coord, returns.intensity[:, None]], axis=1)
    # 16 bits hold the instance; after 65,535 objects of a sequence numbers are used again.
    instance = np.where(returns.instance > 0, (returns.instance - 1) % 0xFFFF + 1, 0)
    labels = lookup[returns.kind] | (instance.astype(np.uint32) << np.uint32(16))
    labels[np.linalg.norm(returns.coord, axis=1) > LABELLED_M] = 0
    return points.astype("<f4").tobytes(), labels.astype("<u4").tobytes()
