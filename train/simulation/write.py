"""Puts simulated frames on disk, whole or not at all, and finds those that are there already."""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from train.core.bounded import read_json
from train.core.errors import UserError
from train.data.dataset_spec import RECORD, SimulatedData

SIMULATOR_VERSION: Final = 4
"""Raised whenever the same seed gives other frames than before."""


def simulate(
    root: Path | str,
    *,
    dataset: str,
    training: Mapping[str, int],
    validation: Mapping[str, int],
    seed: int,
    azimuth_steps: int,
    write: Callable[[Path, dict[str, Any]], None],
    count: Callable[[Path, str], int],
    cameras: bool = False,
    extra: Mapping[str, Any] | None = None,
) -> SimulatedData:
    """Let a dataset's writer fill a folder, or find that it is filled already.

    Nothing appears under `root` before everything is written. The same arguments give the same
    bytes.

    Parameters
    ----------
    root
        The folder to make; it may exist if it is empty or holds the same simulation.
    dataset
        Its name.
    training, validation
        How many frames each sequence gets, at least 1 each.
    seed
        At least 0.
    azimuth_steps
        Columns a turn of the sensor, at least 16.
    write
        `write(folder, settings)` writes the dataset into a new folder. `settings` is what the
        record will hold: "dataset", "simulator_version", "seed", "azimuth_steps", "frames" (all
        sequences with their counts, training first), `extra`, and "cameras" if there are any.
    count
        `count(root, sequence)` says how many frames of a sequence are on disk.
    cameras
        Whether images are written.
    extra
        More settings that decide what is written.

    Raises
    ------
    UserError
        If an argument is out of range, or the folder holds anything else or cannot be written.
    """
    for name, value, least in (
        ("num_frames", min(training.values(), default=0), 1),
        ("num_validation_frames", min(validation.values(), default=0), 1),
        ("seed", seed, 0),
        ("azimuth_steps", azimuth_steps, 16),
    ):
        if value < least:
            raise UserError(f"simulate_{dataset}: {name} must be at least {least}, not {value}")
    root = Path(root)
    settings: dict[str, Any] = {
        "dataset": dataset,
        "simulator_version": SIMULATOR_VERSION,
        "seed": seed,
        "azimuth_steps": azimuth_steps,
        "frames": {**training, **validation},
        **(extra or {}),
        **({"cameras": True} if cameras else {}),
    }
    reused = _already_there(root, settings, count)
    if not reused:
        try:
            reused = not _write(root, settings, write, count)
        except OSError as error:
            raise UserError(
                f"{root}: simulated data cannot be written ({error.strerror}: {error.filename}); "
                "make room or choose another --data-root"
            ) from error
    return SimulatedData(root, tuple(training), tuple(validation), reused=reused)


def _write(
    root: Path,
    settings: dict[str, Any],
    write: Callable[[Path, dict[str, Any]], None],
    count: Callable[[Path, str], int],
) -> bool:
    """Write everything, then move it into place; return False if somebody else was faster."""
    root.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{root.name}.partial-", dir=root.parent))
    try:
        # The temporary folder is readable by its owner alone; the one inside has usual rights.
        fresh = work / "data"
        fresh.mkdir()
        write(fresh, settings)
        (fresh / RECORD).write_text(json.dumps(settings, indent=2) + "\n")
        try:
            fresh.rename(root)
        except OSError:
            # Another process may have finished the same simulation meanwhile.
            if not _already_there(root, settings, count):
                raise
            return False
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return True


def _already_there(root: Path, settings: dict[str, Any], count: Callable[[Path, str], int]) -> bool:
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
        found = read_json(record)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{record}: cannot be read ({error}); remove {root} and simulate again"
        ) from error
    if isinstance(found, dict) and "sweeps" in found:  # the word for frames in older records
        found["frames"] = found.pop("sweeps")
    if isinstance(found, dict) and "cameras" not in settings:
        # Who asks for no images can do with frames that have some: the points are the same.
        found.pop("cameras", None)
    elif isinstance(found, dict) and "cameras" not in found:
        raise UserError(
            f"{root}: holds simulated frames without camera images, which are needed here; remove "
            "it, or choose another --data-root"
        )
    if found != settings:
        raise UserError(
            f"{root}: holds another simulation ({_differences(found, settings)}); remove it, "
            "choose another --data-root, or use its settings"
        )
    for sequence, wanted in settings["frames"].items():
        on_disk = count(root, sequence)
        if on_disk != wanted:
            raise UserError(
                f"{root}: sequence {sequence} has {on_disk} frames, {RECORD} says {wanted}; "
                f"remove {root} and simulate again"
            )
    return True


def _differences(found: object, wanted: dict[str, Any]) -> str:
    """Return which settings differ, in words."""
    if not isinstance(found, dict):
        return f"{RECORD} is no record of ours"
    keys = [key for key in wanted if found.get(key) != wanted[key]]
    differences = [
        f"{key} {_counted(found.get(key))} instead of {_counted(wanted[key])}" for key in keys
    ]
    return ", ".join(differences) or f"{RECORD} has unknown entries"


def _counted(value: object) -> object:
    """Return a setting as a line can show it: of frames by sequence, how many of each there are."""
    if not isinstance(value, dict):
        return value
    return f"{sum(value.values())} in {len(value)} sequences"
