"""Writes simulated sweeps to disk in a dataset's own layout, to be read back by its own loader."""

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from train.data.semantickitti import SemanticKitti
from train.data.simulator.sensor import Returns, SpinningLidar
from train.data.simulator.street import Street
from train.data.simulator.surfaces import Kind
from train.errors import UserError

SIMULATOR_VERSION: Final = 3
"""Raised whenever the same seed gives other sweeps than before."""

RECORD: Final = "simulation.json"
"""The file in the data root that says how its sweeps were made."""

_SPACING_M = 10.0
_SPEED_M_S = 8.0
_SWEEPS_A_STREET = 4

LABELLED_M: Final = 50.0
"""Nothing further out is labelled in the dataset: in a real sweep all beyond is id 0."""

SEMANTICKITTI_IDS: Final = {
    Kind.ROAD: 40,
    Kind.LANE_MARKING: 60,
    Kind.PARKING: 44,
    Kind.CURB: 48,
    Kind.SIDEWALK: 48,
    Kind.OTHER_GROUND: 49,
    Kind.TERRAIN: 72,
    Kind.BUILDING: 50,
    Kind.FENCE: 51,
    Kind.WALL: 52,
    Kind.VEGETATION: 70,
    Kind.TRUNK: 71,
    Kind.POLE: 80,
    Kind.SIGN: 81,
    Kind.TRAFFIC_LIGHT: 99,
    Kind.CAR: 10,
    Kind.MOVING_CAR: 252,
    Kind.TRUCK: 18,
    Kind.MOVING_TRUCK: 258,
    Kind.BUS: 257,
    Kind.TRAILER: 20,
    Kind.BICYCLE: 11,
    Kind.MOTORCYCLE: 15,
    Kind.PERSON: 30,
    Kind.MOVING_PERSON: 254,
    Kind.BICYCLIST: 253,
    Kind.MOTORCYCLIST: 255,
    Kind.CONE: 99,
    Kind.OTHER_OBJECT: 99,
}
"""SemanticKITTI's raw id for everything that the simulator can draw."""


@dataclass(frozen=True)
class SimulatedData:
    """Where simulated sweeps are, and which of them are for what.

    Attributes
    ----------
    root
        The data root to give to the loader.
    training_sequences, validation_sequences
        The sequences that were written.
    reused
        True if an earlier run had made the same sweeps already.
    """

    root: Path
    training_sequences: tuple[str, ...]
    validation_sequences: tuple[str, ...]
    reused: bool


def simulate_semantickitti(
    root: Path | str,
    *,
    num_sweeps: int = 8,
    num_validation_sweeps: int = 2,
    seed: int = 0,
    azimuth_steps: int = 500,
) -> SimulatedData:
    """Write simulated sweeps in SemanticKITTI's layout, or find that they are there already.

    Nothing appears under `root` before everything is written. The same arguments give the same
    bytes.

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
        Columns a turn, 64 rays each; a real HDL-64E has about 2000, and 500 give some 28,000
        points a sweep.

    Raises
    ------
    UserError
        If an argument is out of range, or the folder holds anything else or cannot be written.
    """
    for name, value, least in (
        ("num_sweeps", num_sweeps, 1),
        ("num_validation_sweeps", num_validation_sweeps, 1),
        ("seed", seed, 0),
        ("azimuth_steps", azimuth_steps, 16),
    ):
        if value < least:
            raise UserError(f"simulate_semantickitti: {name} must be at least {least}, not {value}")
    root = Path(root)
    counts = {"00": num_sweeps, "08": num_validation_sweeps}
    settings: dict[str, Any] = {
        "dataset": "semantickitti",
        "simulator_version": SIMULATOR_VERSION,
        "seed": seed,
        "azimuth_steps": azimuth_steps,
        "sweeps": counts,
    }
    reused = _already_there(root, settings)
    if not reused:
        try:
            reused = not _write(root, settings)
        except OSError as error:
            raise UserError(
                f"{root}: simulated data cannot be written ({error.strerror}: {error.filename}); "
                "make room or choose another --data-root"
            ) from error
    return SimulatedData(root, ("00",), ("08",), reused=reused)


def _write(root: Path, settings: dict[str, Any]) -> bool:
    """Write all sequences, then move them into place; return False if somebody else was faster."""
    root.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{root.name}.partial-", dir=root.parent))
    try:
        # The temporary folder is readable by its owner alone; the one inside has usual rights.
        fresh = work / "data"
        lidar = SpinningLidar(azimuth_steps=settings["azimuth_steps"])
        for number, (sequence, count) in enumerate(settings["sweeps"].items()):
            seed = (settings["seed"], number)
            _write_sequence(fresh / "sequences" / sequence, lidar, count, seed)
        (fresh / RECORD).write_text(json.dumps(settings, indent=2) + "\n")
        try:
            fresh.rename(root)
        except OSError:
            # Another process may have finished the same simulation meanwhile.
            if not _already_there(root, settings):
                raise
            return False
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return True


def _already_there(root: Path, settings: dict[str, Any]) -> bool:
    """Return whether the folder holds just this simulation; refuse one that holds anything else."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    if not root.is_dir():
        raise UserError(f"{root}: is a file; choose another --data-root for the simulated data")
    record = root / RECORD
    if not record.is_file():
        raise UserError(
            f"{root}: holds data that the simulator did not write; leave out --simulate to train "
            "on it, or choose another --data-root"
        )
    try:
        found = json.loads(record.read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{record}: cannot be read ({error}); remove {root} and simulate again"
        ) from error
    if found != settings:
        raise UserError(
            f"{root}: holds another simulation ({_differences(found, settings)}); remove it, "
            "choose another --data-root, or use its settings"
        )
    for sequence, count in settings["sweeps"].items():
        on_disk = len(SemanticKitti(root, [sequence]))
        if on_disk != count:
            raise UserError(
                f"{root}: sequence {sequence} has {on_disk} sweeps, {RECORD} says {count}; "
                f"remove {root} and simulate again"
            )
    return True


def _differences(found: object, wanted: dict[str, Any]) -> str:
    """Return which settings differ, in words."""
    if not isinstance(found, dict):
        return f"{RECORD} is no record of ours"
    keys = [key for key in wanted if found.get(key) != wanted[key]]
    return ", ".join(f"{key} {found.get(key)} instead of {wanted[key]}" for key in keys) or (
        f"{RECORD} has unknown entries"
    )


def _write_sequence(folder: Path, lidar: SpinningLidar, count: int, seed: Sequence[int]) -> None:
    """Drive, write a sweep every few metres, and turn into another street now and then."""
    (folder / "velodyne").mkdir(parents=True)
    (folder / "labels").mkdir()
    street, first_instance = None, 1
    for index in range(count):
        rng = np.random.default_rng([1, *seed, index])
        turn, on_street = divmod(index, _SWEEPS_A_STREET)
        if street is None or on_street == 0:
            street = Street(
                _SWEEPS_A_STREET * _SPACING_M,
                np.random.default_rng([0, *seed, turn]),
                first_instance=first_instance,
            )
        along = on_street * _SPACING_M
        scene = street.scene_at(along / _SPEED_M_S)
        first_instance = max(first_instance, int(scene.instance.max(initial=0)) + 1)
        frame = street.sensor_frame(along)
        returns = lidar.scan(scene, frame, rng)
        points, labels = semantickitti_bytes(returns)
        (folder / "velodyne" / f"{index:06d}.bin").write_bytes(points)
        (folder / "labels" / f"{index:06d}.label").write_bytes(labels)


def semantickitti_bytes(returns: Returns) -> tuple[bytes, bytes]:
    """Return the contents of a sweep's `.bin` and `.label` files."""
    lookup = np.zeros(len(Kind), dtype=np.uint32)
    for kind, raw in SEMANTICKITTI_IDS.items():
        lookup[kind] = raw
    points = np.concatenate([returns.coord, returns.remission[:, None]], axis=1)
    # 16 bits hold the instance; after 65,535 objects of a sequence numbers are used again.
    instance = np.where(returns.instance > 0, (returns.instance - 1) % 0xFFFF + 1, 0)
    labels = lookup[returns.kind] | (instance.astype(np.uint32) << np.uint32(16))
    labels[np.linalg.norm(returns.coord, axis=1) > LABELLED_M] = 0
    return points.astype("<f4").tobytes(), labels.astype("<u4").tobytes()
