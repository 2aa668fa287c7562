"""Read submissions back, as the benchmarks' servers would: by the frame's name, its train ids."""

import zipfile
from pathlib import Path

import numpy as np

from train.data.semantickitti.classes import TRAIN_TO_RAW
from train.data.waymo.frame_proto import read_integers
from train.data.waymo.protobuf import Message
from train.data.waymo.source import Waymo


def entries(path: Path) -> dict[str, bytes]:
    """Return what is in a zip."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def read_semantickitti(path: Path) -> dict[str, np.ndarray]:
    """Return the train ids of `sequences/SS/predictions/NNNNNN.label`."""
    train_of = {raw: train for train, raw in enumerate(TRAIN_TO_RAW)}
    found = {}
    for name, content in entries(path).items():
        first, sequence, second, file = name.split("/")
        assert (first, second) == ("sequences", "predictions")
        raw = np.frombuffer(content, "<u4").tolist()
        found[f"{sequence}/{file.removesuffix('.label')}"] = np.array([train_of[id] for id in raw])
    return found


def read_nuscenes(path: Path) -> dict[str, np.ndarray]:
    """Return the train ids of `lidarseg/SET/TOKEN_lidarseg.bin`."""
    return {
        Path(name).name.removesuffix("_lidarseg.bin"): np.frombuffer(content, np.uint8) - 1
        for name, content in entries(path).items()
        if name.startswith("lidarseg/")
    }


def waymo_images(path: Path) -> dict[str, np.ndarray]:
    """Return the train ids in TOP's images, (2, H, W), -1 where there are none."""
    results = Message(path.read_bytes(), (10,)).content(10)
    found = {}
    for part in Message(results, (1,)).contents(1):
        frame = Message(part, (1, 2, 3))
        laser = Message(frame.content(1), (1, 2, 3))
        matrices = (Message(laser.content(number), (6,)).content(6) for number in (2, 3))
        images = np.stack([read_integers(matrix, 2, "labels")[..., 1] for matrix in matrices])
        found[f"{frame.text(2)}/{frame.integer(3)}"] = images.astype(np.int64) - 1
    return found


def read_waymo(path: Path, source: Waymo) -> dict[str, np.ndarray]:
    """Return the train ids of points, -1 for those of lidars other than TOP."""
    found = {}
    for name, images in waymo_images(path).items():
        pixel = source.points_of(name).top_pixel
        found[name] = np.where(pixel >= 0, images.reshape(-1)[pixel], -1)
        assert (images >= 0).sum() == (pixel >= 0).sum(), "labels where no point is"
    return found
