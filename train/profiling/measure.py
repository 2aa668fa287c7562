"""Measure what the networks cost on a frame: the record that pages and plots are made from."""

import dataclasses
import os
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from train.core import provenance
from train.core.console import logger
from train.core.device import describe_device
from train.core.errors import UserError
from train.data.frame import LidarFrame
from train.data.semantickitti import FILES
from train.data.transforms import VoxelFrame, voxelize
from train.networks.litept import LitePTConfig
from train.networks.ptv3.hierarchy_segmentor import HierarchySegmentor
from train.profiling import macs, timing

SCHEMA = 2
BATCH_CLOUDS = 12  # the paper's batch on nuScenes and Waymo
BATCH_REPEATS = 2
SPCONV_PLAIN = {"convolution": "spconv", "attention": "plain"}
SHARES = (8, 4, 2, 1)  # default sizes: the frame's voxels divided by these


@dataclass(frozen=True)
class Request:
    """A checked command line.

    Attributes
    ----------
    output
        Folder of the record.
    device, precision
        Where and in what the networks run.
    frame_path
        A SemanticKITTI `.bin`; None for a simulated frame.
    grid_size_m
        Edge of the voxels.
    voxels
        Sizes to measure at, increasing; empty for shares of the frame.
    models
        Names of `timing.CONFIGS`.
    repeats
        Timed passes of each network at each size.
    """

    output: Path
    device: torch.device
    precision: timing.Precision
    frame_path: Path | None
    grid_size_m: float
    voxels: tuple[int, ...]
    models: tuple[str, ...]
    repeats: int


def read_frame(path: Path | None) -> LidarFrame:
    """Read a `.bin` file, or simulate a frame of an HDL-64E (the same one every time)."""
    if path is not None:
        coord, strength, _ = FILES.read_points(path)
        return LidarFrame(coord, strength, None, path.name, path)
    with tempfile.TemporaryDirectory() as folder:
        from train.simulation.semantickitti import simulate_semantickitti  # loads numba

        simulate_semantickitti(folder, num_frames=1, num_validation_frames=1, azimuth_steps=2000)
        found = Path(folder) / "sequences" / "00" / "velodyne" / "000000.bin"
        coord, strength, _ = FILES.read_points(found)
    return LidarFrame(coord, strength, None, "simulated", Path("simulated"))


def nearest(frame: VoxelFrame, num_voxels: int) -> dict[str, Any]:
    """Return the batch of the voxels nearest to the sensor, as arrays on the host."""
    distance = (frame.coord.astype(np.float64) ** 2).sum(axis=1)
    keep = np.sort(np.argsort(distance, kind="stable")[:num_voxels])
    coord, grid = frame.coord[keep], frame.grid_coord[keep]
    return {
        "feat": np.concatenate([coord, frame.strength[keep]], axis=1),
        "coord": coord,
        "grid_coord": grid - grid.min(axis=0),
        "offset": np.array([num_voxels]),
    }


def describe_network(name: str) -> dict[str, Any]:
    """Return the shape of a network (Table 8's upper half), counted from the network itself."""
    config = timing.CONFIGS[name]
    model = timing.make_network(name, torch.device("cpu"))
    shape = dataclasses.asdict(config)
    if isinstance(config, LitePTConfig):  # heads where there is attention
        for side in ("enc", "dec"):
            shape[f"{side}_heads"] = tuple(
                width // config.head_width if config.parts(side, stage)[1] else 0
                for stage, width in enumerate(shape[f"{side}_channels"])
            )
    kept = ("depths", "channels", "heads")
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        **{f"{side}_{what}": shape[f"{side}_{what}"] for side in ("enc", "dec") for what in kept},
        "patch_size": config.patch_size,
    }


def measure_model(name: str, request: Request, batches: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a network's part of the record: its shape, and what it costs at every size."""
    sizes = []
    for arrays in batches:
        logger.info(f"{name}: {len(arrays['coord']):,} voxels")
        sizes.append(measure_size(name, request, arrays))
    logger.info(f"{name}: operators")
    model = timing.make_network(name, request.device)
    batch = timing.to_batch(batches[-1], request.device)
    operators = timing.operators(model, batch, request.precision)
    return {
        **describe_network(name),
        "sizes": sizes,
        "batch": measure_batch(model, request, batches[0]),
        "operators": operators,
        "spconv_plain": measure_spconv_plain(name, request, batches),
    }


def measure_batch(
    model: HierarchySegmentor, request: Request, arrays: dict[str, Any]
) -> dict[str, Any]:
    """Return what one batch of several clouds costs, at the smallest size."""
    one = timing.to_batch(arrays, request.device)
    several = timing.repeat(one, BATCH_CLOUDS)
    logger.info(f"a batch of {BATCH_CLOUDS} clouds of {len(arrays['coord']):,} voxels")
    repeats = min(request.repeats, BATCH_REPEATS)
    return {
        "clouds": BATCH_CLOUDS,
        "voxels_each": len(arrays["coord"]),
        "repeats": repeats,
        "seconds": timing.time_passes(model, several, repeats, request.precision, one),
    }


def measure_spconv_plain(
    name: str, request: Request, batches: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return seconds and peak of the same network by spconv's convolution and plain attention.

    That is how the official modules compute where there is no GPU. `missing` says why it was not
    measured.
    """
    if request.device.type != "cpu" or request.precision != "float32":
        return {"missing": "measured on a CPU, in float32, alone"}
    try:
        model = timing.make_network(name, request.device, **SPCONV_PLAIN)
    except UserError as error:
        return {"missing": str(error)}
    logger.info(f"{name}: the same by spconv and plain attention")
    first, whole = (timing.to_batch(batches[at], request.device) for at in (0, -1))
    return {
        "repeats": 1,
        "seconds": timing.time_passes(model, whole, 1, request.precision, first),
        "memory": timing.peak_memory(
            name, batches[-1], request.device, request.precision, **SPCONV_PLAIN
        ),
    }


def measure_size(name: str, request: Request, arrays: dict[str, Any]) -> dict[str, Any]:
    """Return what a network costs on one batch; nothing stays on the device afterwards."""
    memory = timing.peak_memory(name, arrays, request.device, request.precision)
    batch = timing.to_batch(arrays, request.device)
    model = timing.make_network(name, request.device)
    config = model.config
    geometry = macs.geometry_of(model.prepare_whole(batch), config.patch_size)
    counts = macs.count_operations(
        config, geometry, in_channels=timing.IN_CHANNELS, num_classes=timing.NUM_CLASSES
    )
    return {
        "geometry": dataclasses.asdict(geometry),
        "operations": counts,
        "seconds": timing.time_network(model, batch, request.repeats, request.precision),
        "memory": memory,
    }


def measure(request: Request, command: str) -> dict[str, Any]:
    """Measure and return the record.

    Raises
    ------
    UserError
        If the frame cannot be read or is smaller than a size asked for, or memory is short.
    """
    load = round(os.getloadavg()[0], 2)
    frame = read_frame(request.frame_path)
    voxelized = voxelize(frame, request.grid_size_m)
    whole = len(voxelized.coord)
    sizes = request.voxels or tuple(sorted({max(1, whole // share) for share in SHARES}))
    if sizes[-1] > whole:
        raise UserError(
            f"--voxels: {sizes[-1]} is more than the {whole} voxels of the frame at "
            f"--grid-size-m {request.grid_size_m:g}; give less, or a finer grid"
        )
    batches = [nearest(voxelized, size) for size in sizes]
    return {
        "schema": SCHEMA,
        "utc": datetime.now(UTC).isoformat(timespec="seconds"),
        **provenance.commit(),
        "command": command,
        "versions": provenance.versions(),
        "device": describe_device(request.device),
        "on_gpu": request.device.type == "cuda",
        "processor": provenance.processor(),
        "threads": torch.get_num_threads(),
        "load_1m_before": load,
        "precision": request.precision,
        "repeats": request.repeats,
        "warm_ups": timing.WARM_UPS[request.device.type],
        "input": {
            "name": frame.name,
            "points": len(frame.coord),
            "grid_size_m": request.grid_size_m,
            "voxels": whole,
        },
        "conventions": {
            name: {
                "parts": convention.parts,
                "voxels": convention.voxels,
                "giga_macs": {
                    size: macs.convention_totals(convention, size) for size in macs.PAPER_TOTALS
                },
            }
            for name, convention in macs.CONVENTIONS.items()
        },
        "models": {name: measure_model(name, request, batches) for name in request.models},
    }
