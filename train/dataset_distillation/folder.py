"""A small set on disk: a folder that is read like any other, and the generator's file.

FOLDER/objects.json, train.npz   objects; see `objects.folder`
FOLDER/sequences, class_map.yaml LiDAR frames; see `frames.folder`
FOLDER/generator.safetensors     of DD3D: the clouds at any resolution
FOLDER/distill.json              with which options, the distances, the numbers stored
FOLDER/clouds.png or frames.png  beside real ones
FOLDER/state.pt                  where a stopped distillation is
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
from train.dataset_distillation.clouds import PointClouds
from train.dataset_distillation.frames.folder import (
    DISTILLED,
    HELD_OUT,
    REPORT_NAME,
    refuse_frames_of_others,
    write_frame_folder,
)
from train.dataset_distillation.generator import (
    PointGenerator,
    load_generator,
    pays_from,
    save_generator,
)
from train.dataset_distillation.make import SmallSet, sampled
from train.dataset_distillation.networks.segmenters import HEIGHT
from train.dataset_distillation.objects.read import write_folder
from train.dataset_distillation.options import DistillOptions, RotatorOptions
from train.dataset_distillation.prepare import Prepared, canonical
from train.dataset_distillation.rotator import Rotator

GENERATOR_NAME: Final = "generator.safetensors"
STATE_NAME: Final = "state.pt"
OBJECTS_PICTURE: Final = "clouds.png"
FRAMES_PICTURE: Final = "frames.png"
FACTS_VERSION: Final = 1
"""Of what a generator's file says about frames; a reader refuses every other one."""


def write_made(
    folder: Path, made: SmallSet, real: Prepared, options: DistillOptions, data: str
) -> None:
    """Write a small set with its generator, report and picture; the first process does.

    Held-out frames of the real set are written, too; `data` is what the user calls it. UserError if
    a file cannot be written, or the folder, which is there, holds frames of others.
    """
    if not is_first_process():
        return
    frames = made.clouds.meters is not None
    if frames:
        refuse_frames_of_others(folder)
    made_from = {"data": data, "options": json.loads(json.dumps(asdict(options)))}
    report = {
        "made_from": made_from,
        "losses": list(made.losses),
        "seconds": round(made.seconds, 1),
        "numbers_stored": made.numbers_stored,
        **_sizes(made.clouds),
        "versions": provenance.versions(),
        **provenance.commit(),
    }
    if made.generator is not None:
        report["smaller_from_clouds_per_class"] = pays_from(
            made.generator.spec, made.clouds.num_points
        )
        weights = made.rotator.weights
        made_from["rotator_weights"] = None if weights is None else weights.tolist()
        more: dict[str, Any] = {}
        if made.strengths is not None:
            facts = {"version": FACTS_VERSION, "meters": made.clouds.meters, "height": HEIGHT}
            more = {"frames": facts | {"strengths": made.strengths.tolist()}}
        save_generator(folder / GENERATOR_NAME, made.generator, made_from | more)
    from train.dataset_distillation import pictures  # loads matplotlib: not for --help

    # The report first: it says that the frames below it are ours to replace.
    _write_json(folder / REPORT_NAME, report)
    seen = canonical(real.train, made.rotator if frames else real.rotator)
    columns, each = {"real": seen, options.method: made.clouds}, 1
    if frames:
        splits = {DISTILLED: made.clouds}
        if real.test is not None:
            splits[HELD_OUT] = canonical(real.test, made.rotator)
        write_frame_folder(folder, splits)
        each += len(made.clouds) > 1
        pictures.draw_frames(folder / FRAMES_PICTURE, columns, each=each)
    else:
        write_folder(folder, {"train": made.clouds}, made_from)
        each += options.clouds_per_class > 1
        pictures.draw_clouds(folder / OBJECTS_PICTURE, columns, each=each)


def add_to_report(folder: Path, more: Mapping[str, Any]) -> None:
    """Add plain values, such as scores, to the report that `write_made` wrote."""
    path = folder / REPORT_NAME
    _write_json(path, json.loads(path.read_text(encoding="utf-8")) | dict(more))


def load_clouds(file: Path, points: int, seed: int) -> tuple[PointClouds, dict[str, Any]]:
    """Return the clouds of a generator's file at any resolution, and what they were made from.

    The seed is of the noise. UserError if the file is none of this version, or there is one point.
    """
    generator, made_from = load_generator(file)
    facts, strengths, meters = made_from.get("frames"), None, None
    try:
        if facts is not None:
            _check_version(file, facts)
            strengths, meters = _strengths(facts["strengths"], generator), float(facts["meters"])
        rotator = _rotator(made_from)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{file}: does not say what its clouds need ({error}); distill again"
        ) from error
    return sampled(generator, rotator, points, seed, strengths, meters), made_from


def sample_again(file: Path, folder: Path, points: int, seed: int) -> PointClouds:
    """Write the clouds of a generator's file at another resolution; return them.

    See `load_clouds`; UserError, too, if the folder, which is there, holds frames of others.
    """
    clouds, made_from = load_clouds(file, points, seed)
    more = {"points": points, "seed": seed}
    if clouds.meters is None:
        write_folder(folder, {"train": clouds}, made_from | more)
        return clouds
    refuse_frames_of_others(folder)
    report = {"made_from": {"generator": str(file)}, **more, "range_m": clouds.meters}
    _write_json(folder / REPORT_NAME, report)
    write_frame_folder(folder, {DISTILLED: clouds})
    return clouds


def _rotator(made_from: Mapping[str, Any]) -> Rotator:
    rotator = RotatorOptions(**made_from["options"]["rotator"]).build()
    if rotator.weights is not None:
        with torch.no_grad():
            rotator.weights.copy_(torch.tensor(made_from["rotator_weights"]))
    return rotator


def _check_version(file: Path, facts: Mapping[str, Any]) -> None:
    found, known = (facts["version"], facts["height"]), (FACTS_VERSION, HEIGHT)
    if found != known:
        raise UserError(
            f"{file}: its frames are of version {found[0]} with heights times {found[1]}, this "
            f"version reads {known[0]} with {known[1]:g}; distill again"
        )


def _strengths(rows: Any, generator: PointGenerator) -> NDArray[np.float32]:
    table = np.array(rows, dtype=np.float32)
    if table.ndim != 2 or len(table) != len(generator.spec.part_names) or table.shape[1] < 2:
        raise ValueError(f"strengths of shape {table.shape}")
    return table


def _sizes(clouds: PointClouds) -> dict[str, Any]:
    """Return what a report says of a set's sizes."""
    if clouds.meters is None:
        return {"coordinates": clouds.points.size}
    return {
        "frames": len(clouds),
        "points": clouds.num_points,
        "range_m": clouds.meters,
        "points_by_class": dict(zip(clouds.part_names, clouds.part_counts().tolist(), strict=True)),
    }


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    with atomic_write(path) as unfinished:
        unfinished.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
