"""Tiny frames of five lidars, and folders that hold them in either format."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from train.data.waymo.frame import Calibration, Frame, Laser, LaserName
from train.data.waymo.write import write_segment_v1, write_segment_v2

Split = Mapping[str, Sequence[Frame]]


def rotation(roll: float, pitch: float, yaw: float) -> np.ndarray:
    """Return Rz(yaw) Ry(pitch) Rx(roll) as the product of three textbook matrices."""
    cr, sr, cp, sp = np.cos(roll), np.sin(roll), np.cos(pitch), np.sin(pitch)
    cy, sy = np.cos(yaw), np.sin(yaw)
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def transform(angles: Sequence[float], offset: Sequence[float]) -> np.ndarray:
    """Return a 4 x 4 matrix of roll, pitch, yaw and an offset."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(*angles)
    matrix[:3, 3] = offset
    return matrix


def tiny_frame(
    context: str = "seg_a",
    timestamp: int = 1000,
    *,
    labeled: bool = True,
    lasers: Sequence[LaserName] = tuple(LaserName),
    seed: int = 0,
) -> Frame:
    """Return a frame of random ranges: TOP 4 x 6 with listed beams, the others 2 x 3 without."""
    rng = np.random.default_rng([seed, timestamp])
    place = np.array([-4e4, 2.5e4, 50.0])
    found = []
    for name in lasers:
        top = name == LaserName.TOP
        shape = (4, 6) if top else (2, 3)
        calibration = Calibration(
            transform([0.01, -0.02, float(name)], [1.0, 0.5 * name, 2.0]),
            np.array([-0.3, -0.1, 0.0, 0.04]) if top else None,
            -0.3 if top else -1.5,
            0.04 if top else 0.5,
        )
        returns = []
        for share in (0.8, 0.3):
            image = np.full((*shape, 4), -1.0, dtype=np.float32)
            hit = rng.random(shape) < share
            hit[0, 0] = True
            image[hit, 0] = rng.uniform(2, 70, int(hit.sum()))
            image[hit, 1] = rng.gamma(1.0, 0.3, int(hit.sum()))
            returns.append(image)
        pixel_pose = np.empty((*shape, 6), dtype=np.float32)
        pixel_pose[..., :3] = rng.normal([0, 0, 0.7], 0.01, (*shape, 3))
        pixel_pose[..., 3:] = place + rng.normal(0, 0.3, (*shape, 3))
        # As in the dataset, some pixels of a column share a pose; others do not.
        pixel_pose[1] = pixel_pose[0]
        labels = [rng.integers(0, 23, (*shape, 2)).astype(np.int32) for _ in range(2)]
        found.append(
            Laser(
                name,
                calibration,
                (returns[0], returns[1]),
                pixel_pose if top else None,
                (labels[0], labels[1]) if top and labeled else (None, None),
            )
        )
    return Frame(context, timestamp, transform([0.01, 0.0, 0.7], place), tuple(found))


def tiny_split(labels: Mapping[str, Sequence[bool]]) -> dict[str, list[Frame]]:
    """Return frames of some segments, each with or without labels."""
    return {
        context: [
            tiny_frame(context, 1_000 + 100 * number, labeled=labeled, seed=len(context))
            for number, labeled in enumerate(has_labels)
        ]
        for context, has_labels in labels.items()
    }


def write_split(folder: Path, data_format: str, split: Split, **options: int) -> None:
    """Write the segments of a split."""
    for context, frames in split.items():
        if data_format == "v1":
            name = f"segment-{context}_with_camera_labels.tfrecord"
            write_segment_v1(folder / name, frames)
        else:
            write_segment_v2(folder, context, frames, **options)


@pytest.fixture
def write_root(tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of a data root: `write_root("v1", training={"seg": [True, False]})`."""

    def write(data_format: str, **splits: Mapping[str, Sequence[bool]]) -> Path:
        root = tmp_path / data_format
        for folder, labels in splits.items():
            write_split(root / folder, data_format, tiny_split(labels))
        return root

    return write
