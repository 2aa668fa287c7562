"""Simulated sweeps in SemanticKITTI's own layout."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from train.data.dataset_spec import SimulatedData
from train.data.semantickitti import SPEC
from train.data.semantickitti.camera_images import DriveCalibration, calibration_text
from train.data.semantickitti.classes import RAW_TO_TRAIN
from train.simulation.camera_images import label_lookup, street_looks, take_images, write_pair
from train.simulation.labels import SEMANTICKITTI_IDS, by_kind
from train.simulation.simulator.camera import PinholeCamera, kitti_cameras
from train.simulation.simulator.drive import SWEEPS_A_STREET, drive
from train.simulation.simulator.models import hdl64
from train.simulation.simulator.sensor import Returns, SpinningLidar
from train.simulation.write import simulate

_TILT_DEG: Final = 0.4

LABELLED_M: Final = 50.0
"""Nothing further out is labeled in the dataset: in a real sweep all beyond is id 0."""

_LABELS: Final = label_lookup({kind: RAW_TO_TRAIN[raw] for kind, raw in SEMANTICKITTI_IDS.items()})


def simulate_semantickitti(
    root: Path | str,
    *,
    num_sweeps: int = 8,
    num_validation_sweeps: int = 2,
    seed: int = 0,
    azimuth_steps: int = 500,
    cameras: bool = False,
) -> SimulatedData:
    """Write simulated sweeps in SemanticKITTI's layout, or find that they are there already.

    Parameters
    ----------
    root
        The folder to make; it may exist if it is empty or holds the same simulation.
    num_sweeps, num_validation_sweeps
        How many sweeps sequence 00 (training) and 08 (validation) get, at least 1 each. The two
        are drives through different streets; four sweeps are taken in each street.
    seed
        At least 0.
    azimuth_steps
        Columns a turn, 64 rays each; a real HDL-64E has 2150, and 500 give some 28,000 points
        a sweep.
    cameras
        Whether to write the left color camera's images (`image_2/`, `calib.txt`), too, and a label
        image beside each. Points and labels are the same without.

    Raises
    ------
    UserError
        As `train.simulation.write.simulate`.
    """
    return simulate_in_semantickitti_s_layout(
        root,
        dataset="semantickitti",
        num_sweeps=num_sweeps,
        num_validation_sweeps=num_validation_sweeps,
        seed=seed,
        azimuth_steps=azimuth_steps,
        write=write_sequences,
        cameras=cameras,
    )


def simulate_in_semantickitti_s_layout(
    root: Path | str,
    *,
    dataset: str,
    num_sweeps: int,
    num_validation_sweeps: int,
    seed: int,
    azimuth_steps: int,
    write: Callable[[Path, dict[str, Any]], None],
    cameras: bool = False,
) -> SimulatedData:
    """Let `write` write sequences 00 (training) and 08 (validation), see `simulate`."""
    return simulate(
        root,
        dataset=dataset,
        training={"00": num_sweeps},
        validation={"08": num_validation_sweeps},
        seed=seed,
        azimuth_steps=azimuth_steps,
        write=write,
        count=lambda folder, sequence: len(SPEC.open(folder, sequences=[sequence])),
        extra={"cameras": True} if cameras else None,
    )


def write_sequences(folder: Path, settings: dict[str, Any]) -> None:
    """Write all sequences into a new folder; `settings` as `simulate` gives them."""
    lidar = hdl64(settings["azimuth_steps"])
    for number, (sequence, count) in enumerate(settings["sweeps"].items()):
        _write_sequence(
            folder / "sequences" / sequence,
            lidar,
            count,
            (settings["seed"], number),
            kitti_cameras() if settings.get("cameras") else (),
        )


def _write_sequence(
    folder: Path,
    lidar: SpinningLidar,
    count: int,
    seed: Sequence[int],
    cameras: Sequence[PinholeCamera],
) -> None:
    """Write a drive's sweeps, and the cameras' images if there are any."""
    (folder / "velodyne").mkdir(parents=True)
    (folder / "labels").mkdir()
    for stop in drive(count, seed):
        motion = stop.motion(lidar.period_s, _TILT_DEG)
        returns = lidar.scan(stop.scene, motion, stop.rng)
        points, labels = semantickitti_bytes(returns)
        (folder / "velodyne" / f"{stop.index:06d}.bin").write_bytes(points)
        (folder / "labels" / f"{stop.index:06d}.label").write_bytes(labels)
        looks = street_looks((*seed, stop.index // SWEEPS_A_STREET))
        images = take_images(
            cameras, lidar, stop.scene, motion, looks, _LABELS, (*seed, stop.index)
        )
        for image in images:
            write_pair(folder / image.camera.name / f"{stop.index:06d}.png", image)
    for camera in cameras:
        calibration = DriveCalibration(camera.intrinsic, np.linalg.inv(camera.mount) @ lidar.mount)
        text = calibration_text(calibration)
        (folder / "calib.txt").write_text(text, encoding="ascii")


def semantickitti_bytes(returns: Returns) -> tuple[bytes, bytes]:
    """Return the contents of a sweep's `.bin` and `.label` files."""
    lookup = by_kind(SEMANTICKITTI_IDS).astype(np.uint32)
    points = np.concatenate([returns.coord, returns.intensity[:, None]], axis=1)
    # 16 bits hold the instance; after 65,535 objects of a sequence numbers are used again.
    instance = np.where(returns.instance > 0, (returns.instance - 1) % 0xFFFF + 1, 0)
    labels = lookup[returns.kind] | (instance.astype(np.uint32) << np.uint32(16))
    labels[np.linalg.norm(returns.coord, axis=1) > LABELLED_M] = 0
    return points.astype("<f4").tobytes(), labels.astype("<u4").tobytes()
