"""Simulated sweeps in nuScenes' own layout: tables, keyframes and lidarseg labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from train.core.errors import UserError
from train.data.dataset_spec import SimulatedData
from train.data.nuscenes import SPEC
from train.data.nuscenes.classes import CATEGORY_NAMES, CATEGORY_TO_TRAIN
from train.data.nuscenes.splits import SCENES
from train.simulation.camera_images import (
    label_lookup,
    street_looks,
    take_images,
    write_pair,
)
from train.simulation.labels import CATEGORY_OF_KIND, by_kind
from train.simulation.nuscenes_tables import KEYFRAME_PERIOD_US, VERSION, SimulatedTables
from train.simulation.simulator.camera import PinholeCamera, nuscenes_cameras
from train.simulation.simulator.drive import drive
from train.simulation.simulator.models import hdl32
from train.simulation.simulator.sensor import Returns, SpinningLidar
from train.simulation.simulator.traffic import SPEED_M_S
from train.simulation.write import simulate

_MOST_KEYFRAMES: Final = 40  # of a scene: 20 s
_USUAL_KEYFRAMES: Final = 4
_TILT_DEG: Final = 0.4

TRAIN_ID_OF_KIND: Final = {
    kind: CATEGORY_TO_TRAIN[category] for kind, category in CATEGORY_OF_KIND.items()
}
"""What a pixel of each kind is to a network."""


def simulate_nuscenes(
    root: Path | str,
    *,
    num_sweeps: int = 8,
    num_validation_sweeps: int = 2,
    seed: int = 0,
    azimuth_steps: int = 500,
    cameras: bool = False,
) -> SimulatedData:
    """Write simulated sweeps in nuScenes' layout, or find that they are there already.

    The scenes bear names of the official training and validation splits. A real one has 40
    keyframes, 20 s at 2 Hz; simulated ones end after 4, so that few sweeps show many streets, or
    after as many as it takes when the split's names run out. There are no boxes: the tables of
    annotations are empty.

    Parameters
    ----------
    root
        The folder to make; it may exist if it is empty or holds the same simulation.
    num_sweeps, num_validation_sweeps
        How many keyframes the scenes for training and for validation have together, at least 1
        each.
    seed
        At least 0.
    azimuth_steps
        Columns a turn, 32 rays each; a real HDL-32E has 1080, and 500 give some 14,000 points a
        sweep.
    cameras
        Whether to write key frames of six cameras too, and a label image beside each. Points and
        labels are the same without.

    Raises
    ------
    UserError
        As `train.simulation.write.simulate`, and if the official scenes cannot hold so many sweeps.
    """
    return simulate(
        root,
        dataset="nuscenes",
        training=_share_out("num_sweeps", num_sweeps, SCENES["training"][VERSION]),
        validation=_share_out(
            "num_validation_sweeps", num_validation_sweeps, SCENES["validation"][VERSION]
        ),
        seed=seed,
        azimuth_steps=azimuth_steps,
        write=_write,
        count=lambda folder, scene: len(SPEC.open(folder, sequences=[scene], cameras=cameras)),
        extra={"cameras": True} if cameras else None,
    )


def _share_out(argument: str, count: int, scenes: Sequence[str]) -> dict[str, int]:
    """Return how many keyframes each scene gets."""
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
    for number, (scene, count) in enumerate(settings["sweeps"].items()):
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
    looks, lookup = street_looks(seed), label_lookup(TRAIN_ID_OF_KIND)
    for stop in drive(count, seed, spacing_m=spacing, sweeps_a_street=count):
        motion = stop.motion(lidar.period_s, _TILT_DEG)
        points, labels = nuscenes_bytes(lidar.scan(stop.scene, motion, stop.rng))
        # A sweep is dated, and its pose is given, at the end of its turn.
        pose = motion.poses(np.array([1.0]))[0]
        points_name, labels_name = tables.add_keyframe(stop.index, pose)
        (folder / points_name).write_bytes(points)
        (folder / labels_name).write_bytes(labels)
        images = take_images(cameras, lidar, stop.scene, motion, looks, lookup, (*seed, stop.index))
        for image in images:
            before_us = round((1.0 - image.share) * lidar.period_s * 1e6)
            name = tables.add_image(stop.index, image.camera, before_us, image.world_from_vehicle)
            write_pair(folder / name, image)


def nuscenes_bytes(returns: Returns) -> tuple[bytes, bytes]:
    """Return the contents of a sweep's `.pcd.bin` and `_lidarseg.bin` files.

    Points are listed as they are fired: column after column, each from the lowest beam, ring 0, up.
    """
    names = {kind: CATEGORY_NAMES.index(name) for kind, name in CATEGORY_OF_KIND.items()}
    lookup = by_kind(names).astype(np.uint8)
    ring = 31 - returns.row
    order = np.lexsort((ring, returns.column))
    points = np.column_stack([returns.coord, returns.intensity, ring])[order]
    return points.astype("<f4").tobytes(), lookup[returns.kind[order]].tobytes()
