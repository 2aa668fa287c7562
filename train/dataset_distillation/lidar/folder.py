"""A small set of frames on disk: the KITTI layout with its class map, and the generator's file.

FOLDER/sequences/distilled/velodyne/000000.bin, labels/000000.label   the frames, in meters
FOLDER/sequences/held-out/...    real frames to validate on, where there are any
FOLDER/class_map.yaml            what the labels mean, and which frames are for what
FOLDER/generator.safetensors     of DD3D: the frames at any resolution
FOLDER/distill.json              with which options, the distances, the numbers stored
FOLDER/frames.png                beside real ones

Shape letters: N points.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from train.core import provenance
from train.core.atomic_write import atomic_write
from train.core.distributed import is_first_process
from train.core.errors import UserError
from train.data.frame import IGNORE_INDEX
from train.data.readers.class_map import ClassMap
from train.dataset_distillation.distill import build_rotator
from train.dataset_distillation.generator import (
    PointGenerator,
    load_generator,
    pays_from,
    save_generator,
)
from train.dataset_distillation.lidar.frames import FrameClouds
from train.dataset_distillation.lidar.make import (
    MadeFrames,
    RealFrames,
    canonical_frames,
    generated_frames,
)
from train.dataset_distillation.lidar.picture import draw_frames
from train.dataset_distillation.make import GENERATOR_NAME, REPORT_NAME
from train.dataset_distillation.networks.segmenters import HEIGHT
from train.dataset_distillation.options import DistillOptions, RotatorOptions
from train.simulation.kitti_layout import CLASS_MAP_FILE, class_map_yaml

PICTURE_NAME: Final = "frames.png"
DISTILLED: Final = "distilled"
HELD_OUT: Final = "held-out"
FACTS_VERSION: Final = 1
"""Of what a generator's file says about frames; a reader refuses every other one."""

_UNLABELED: Final = 0


def write_frame_folder(folder: Path, splits: Mapping[str, FrameClouds]) -> None:
    """Write frames in the KITTI layout, over those that this wrote before.

    Parameters
    ----------
    folder
        There already.
    splits
        `DISTILLED` and maybe `HELD_OUT`, of the same classes.

    Raises
    ------
    UserError
        If the folder holds drives that this did not write, or a file cannot be written.
    """
    refuse_frames_of_others(folder)
    class_map = class_map_of(next(iter(splits.values())).class_names)
    for name in (DISTILLED, HELD_OUT):
        _remove_frames(folder / "sequences" / name)
    for name, frames in splits.items():
        _write_drive(folder / "sequences" / name, frames, class_map)
    of_split = {"training": (DISTILLED,), "validation": (HELD_OUT,) if HELD_OUT in splits else ()}
    with atomic_write(folder / CLASS_MAP_FILE) as unfinished:
        unfinished.write_text(class_map_yaml(class_map, of_split), encoding="utf-8")


def refuse_frames_of_others(folder: Path) -> None:
    """Refuse a folder whose drives have our names and were not written by this command.

    Raises
    ------
    UserError
        Names one. A folder that this command wrote to has its report.
    """
    if (folder / REPORT_NAME).is_file():
        return
    for name in (DISTILLED, HELD_OUT):
        drive = folder / "sequences" / name
        if any(_frame_files(drive / part) for part in ("velodyne", "labels")):
            raise UserError(
                f"{drive}: holds frames that this command did not write; give another --output"
            )


def class_map_of(class_names: tuple[str, ...]) -> ClassMap:
    """Return a class map whose ids are the train ids plus one; 0 is no class."""
    ids = range(1, len(class_names) + 1)
    names = dict(zip(ids, class_names, strict=True))
    return ClassMap(
        source=f"the class map {CLASS_MAP_FILE}",
        class_names=class_names,
        raw_names={_UNLABELED: "unlabeled", **names},
        raw_to_train={_UNLABELED: IGNORE_INDEX, **{raw: raw - 1 for raw in ids}},
        train_to_raw=tuple(ids),
        ignored_raw=_UNLABELED,
        unknown_cure="distill again",
    )


def write_made_frames(
    folder: Path, made: MadeFrames, real: RealFrames, options: DistillOptions, data: str
) -> None:
    """Write a small set with its generator, report and picture; the first process does.

    Parameters
    ----------
    folder
        There already.
    made
        The set.
    real
        What it stands for; its held-out frames are written, too.
    options
        How it was made.
    data
        What the user calls the real set.

    Raises
    ------
    UserError
        As `write_frame_folder`.
    """
    if not is_first_process():
        return
    refuse_frames_of_others(folder)
    plain = json.loads(json.dumps(asdict(options)))
    made_from: dict[str, Any] = {"data": data, "options": plain}
    report: dict[str, Any] = {
        "made_from": made_from,
        "frames": len(made.frames),
        "points": made.frames.clouds.num_points,
        "range_m": made.frames.meters,
        "points_by_class": dict(
            zip(made.frames.class_names, made.frames.class_counts().tolist(), strict=True)
        ),
        "losses": list(made.losses),
        "seconds": round(made.seconds, 1),
        "numbers_stored": made.numbers_stored,
        "versions": provenance.versions(),
        **provenance.commit(),
    }
    if made.generator is not None:
        report["smaller_from_clouds_per_class"] = pays_from(
            made.generator.spec, made.frames.clouds.num_points
        )
        weights = made.rotator.weights
        facts = {
            "version": FACTS_VERSION,
            "meters": made.frames.meters,
            "height": HEIGHT,
            "strengths": made.strengths.tolist(),
        }
        save_generator(
            folder / GENERATOR_NAME,
            made.generator,
            {
                **made_from,
                "rotator_weights": None if weights is None else weights.tolist(),
                "frames": facts,
            },
        )
    # The report first: it says that the frames below it are ours to replace.
    with atomic_write(folder / REPORT_NAME) as unfinished:
        unfinished.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    splits = {DISTILLED: made.frames}
    if real.test is not None:
        splits[HELD_OUT] = canonical_frames(real.test, made.rotator)
    write_frame_folder(folder, splits)
    columns = {"real": canonical_frames(real.train, made.rotator), options.method: made.frames}
    draw_frames(folder / PICTURE_NAME, columns, each=2 if len(made.frames) > 1 else 1)


def is_of_frames(file: Path) -> bool:
    """Return whether a generator's file is of LiDAR frames rather than of objects.

    Raises
    ------
    UserError
        If the file is no generator of this version.
    """
    return "frames" in load_generator(file)[1]


def load_frames(file: Path, points: int, seed: int) -> FrameClouds:
    """Return the frames of a generator's file at any resolution.

    Parameters
    ----------
    file
        What `write_made_frames` wrote.
    points
        Of each frame, at least 2.
    seed
        Of the noise.

    Raises
    ------
    UserError
        If the file is none of this version, or `points` is too small.
    """
    generator, made_from = load_generator(file)
    try:
        facts = made_from["frames"]
        found, known = (facts["version"], facts["height"]), (FACTS_VERSION, HEIGHT)
        if found != known:
            raise UserError(
                f"{file}: its frames are of version {found[0]} with heights times {found[1]}, this "
                f"version reads {known[0]} with {known[1]:g}; distill again"
            )
        rotator = build_rotator(
            DistillOptions(rotator=RotatorOptions(**made_from["options"]["rotator"]))
        )
        if rotator.weights is not None:
            with torch.no_grad():
                rotator.weights.copy_(torch.tensor(made_from["rotator_weights"]))
        meters = float(facts["meters"])
        strengths = _table(facts["strengths"], generator)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{file}: does not say what its frames need ({error}); distill again"
        ) from error
    return generated_frames(generator, rotator, strengths, meters, points, seed)


def sample_frames_again(file: Path, folder: Path, points: int, seed: int) -> FrameClouds:
    """Write the frames of a generator's file at another resolution; return them.

    Parameters
    ----------
    file, points, seed
        As of `load_frames`.
    folder
        There already.

    Raises
    ------
    UserError
        As `load_frames` and `write_frame_folder`.
    """
    frames = load_frames(file, points, seed)
    refuse_frames_of_others(folder)
    report = {
        "made_from": {"generator": str(file)},
        "points": points,
        "seed": seed,
        "range_m": frames.meters,
    }
    with atomic_write(folder / REPORT_NAME) as unfinished:
        unfinished.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    write_frame_folder(folder, {DISTILLED: frames})
    return frames


def _table(rows: Any, generator: PointGenerator) -> NDArray[np.float32]:
    table = np.array(rows, dtype=np.float32)
    if table.ndim != 2 or len(table) != len(generator.spec.part_names) or table.shape[1] < 2:
        raise ValueError(f"strengths of shape {table.shape}")
    return table


def _remove_frames(drive: Path) -> None:
    """Remove the frames of an earlier set, and their folders."""
    for part in (drive / "velodyne", drive / "labels"):
        if part.is_dir():
            for file in _frame_files(part):
                file.unlink()
            part.rmdir()
    if drive.is_dir():
        drive.rmdir()


def _frame_files(part: Path) -> list[Path]:
    return sorted(path for path in part.glob("*") if path.suffix in (".bin", ".label"))


def _write_drive(drive: Path, frames: FrameClouds, class_map: ClassMap) -> None:
    for name in ("velodyne", "labels"):
        (drive / name).mkdir(parents=True, exist_ok=True)
    values = np.concatenate([frames.coord_m, frames.strength[..., None]], axis=2).astype("<f4")
    for number, (points, segment) in enumerate(zip(values, frames.segment, strict=True)):
        with atomic_write(drive / "velodyne" / f"{number:06d}.bin") as unfinished:
            unfinished.write_bytes(points.tobytes())
        with atomic_write(drive / "labels" / f"{number:06d}.label") as unfinished:
            unfinished.write_bytes(class_map.raw_ids(segment).astype("<u4").tobytes())
