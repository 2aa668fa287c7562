"""What an exported network scores and how long it takes, beside the network in torch: `--score`."""

import copy
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from train.core import provenance
from train.core.atomic_write import atomic_write
from train.core.console import logger
from train.core.errors import UserError
from train.data.batch import Batch, collate
from train.data.dataset_spec import BenchmarkRule, dataset_spec
from train.data.frame import SomeFrames
from train.data.loader import EvaluationFrames
from train.evaluation.evaluate import score_shards
from train.evaluation.metrics import ConfusionMatrix
from train.evaluation.network_pass import network_input
from train.export.onnx_export import require_packages, require_ptv3
from train.export.onnx_network import plan_of
from train.export.onnx_runner import ExportedNetwork, ExportError
from train.export.options import Options
from train.export.source import open_frames, open_network_to_export
from train.networks.ptv3.segmentor import Segmentor
from train.networks.weights import checksum

SCORES: Final = "scores.json"
RECORD_FORMAT: Final = "topodistill-export-scores-2"


def score(options: Options, folder: Path) -> None:
    """Score and time the export in a folder beside --checkpoint; write its scores.json.

    Raises
    ------
    UserError
        If the export is damaged, made from other weights, or scored already.
    """
    require_packages()
    path = folder / SCORES
    if path.exists() and not options.overwrite:
        raise UserError(f"--score {folder}: has {SCORES} already; add --overwrite")
    exported = open_export(folder, num_threads=torch.get_num_threads())
    network, metadata = open_network_to_export(options)
    segmentor = require_ptv3(network)
    require_same_weights(exported, segmentor, folder)
    frames = open_frames(options, metadata, "validation", labels=True)
    spec = dataset_spec(metadata.dataset, metadata.layout)
    latency = time_export(exported, segmentor, frames, repeats=options.repeats)
    scores = None
    if not options.untrained:
        chosen = first_frames(frames, options.max_frames)
        scores = score_export(exported, segmentor, chosen, spec.class_names, spec.benchmark_rule)
    chosen_by = (
        f"{spec.sequence_word}s {', '.join(options.sequences)}"
        if options.sequences
        else f"{options.split or 'validation'} split"
    )
    kind = "" if metadata.simulated_seed is None else "simulated "
    record = {
        "format": RECORD_FORMAT,
        "export_id": exported.metadata["export_id"],
        "scored": f"the {kind}{chosen_by}",
        "scores": scores,
        "latency": latency,
        "rounding": rounding_of_export(exported, segmentor, frames),
        "versions": {
            name: provenance.version(name) for name in ("topodistill", "torch", "onnxruntime")
        },
        "remark": options.remark,
        **provenance.commit(),
    }
    with atomic_write(path) as unfinished:
        unfinished.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    for line in _said(scores, latency):
        sys.stdout.write(f"{line}\n")
    logger.info(f"wrote {path}")


def _said(scores: Mapping[str, Any] | None, latency: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the command prints."""
    if scores is not None and scores["loss_of_miou"] is not None:
        yield (
            f"mIoU: torch {100 * scores['torch']['miou']:.2f}, exported "
            f"{100 * scores['exported']['miou']:.2f}, loss {100 * scores['loss_of_miou']:+.2f}; "
            f"same class {100 * scores['same_class']:.3f} %, largest difference of a logit "
            f"{scores['largest_difference']:.2g}"
        )
    seconds = latency["seconds"]
    yield (
        f"seconds for {latency['voxels']:,} voxels: torch {seconds['torch_geometry']:.3f} + "
        f"{seconds['torch_network']:.3f}, exported {seconds['exported_geometry']:.3f} + "
        f"{seconds['exported_network']:.3f} (geometry + network, {latency['threads']} threads)"
    )


def open_export(folder: Path, *, num_threads: int | None = None) -> ExportedNetwork:
    """Return an exported network to run here.

    Raises
    ------
    UserError
        If its files do not belong together, or another version exported it.
    """
    try:
        return ExportedNetwork(folder, num_threads=num_threads)
    except ExportError as error:
        raise UserError(f"{error}") from error


def require_same_weights(exported: ExportedNetwork, network: Segmentor, folder: Path) -> None:
    """Refuse a network that is not the one an export was made from.

    Raises
    ------
    UserError
        If weights or form differ.
    """
    found, wanted = checksum(network), exported.metadata["weights_checksum"]
    if found != wanted or plan_of(network) != exported.plan:
        raise UserError(
            f"{folder}: was exported from weights {wanted}, --checkpoint has {found}; give the "
            "checkpoint that it was exported from"
        )


def score_export(
    exported: ExportedNetwork,
    network: Segmentor,
    frames: EvaluationFrames,
    class_names: tuple[str, ...],
    rule: BenchmarkRule,
) -> dict[str, Any]:
    """Score an export and its network in torch on the same labeled frames.

    Parameters
    ----------
    exported, network
        Of the same weights.
    frames
        Whole frames with labels.
    class_names, rule
        Of their dataset.

    Returns
    -------
    dict
        "torch" and "exported": `ConfusionMatrix.scores` and what `score_shards` counts;
        "loss_of_miou": the former's mIoU minus the latter's, a share of 1; "same_class": the share
        of voxels that both give the same class; "largest_difference": of a logit.
    """
    device = torch.device("cpu")
    compared = {"voxels": 0, "same": 0, "largest": 0.0}

    def in_torch(batch: Batch) -> tuple[Tensor, Tensor, int]:
        logits = network(network_input(batch)).logits
        return batch["raw_segment"], logits.argmax(dim=1)[batch["inverse"]], len(logits)

    def in_onnx(batch: Batch) -> tuple[Tensor, Tensor, int]:
        found = torch.from_numpy(
            exported.logits(batch["feat"].numpy(), batch["grid_coord"].numpy())
        )
        wanted = network(network_input(batch)).logits
        compared["voxels"] += len(found)
        compared["same"] += int((found.argmax(1) == wanted.argmax(1)).sum())
        compared["largest"] = max(compared["largest"], float((found - wanted).abs().max()))
        return batch["raw_segment"], found.argmax(dim=1)[batch["inverse"]], len(found)

    scores: dict[str, Any] = {}
    for name, predict in (("torch", in_torch), ("exported", in_onnx)):
        found = score_shards(
            frames,
            predict,
            network,
            ConfusionMatrix(class_names, rule),
            device,
            title=f"{name} scores",
            loading={"batch_size": 1, "collate_fn": collate, "num_workers": 0},
            skipped=None,
            precision="fp32",
        )
        for field in ("confusion", "by_frame", "seconds"):
            del found[field]
        scores[name] = found
    miou = [scores[name]["miou"] for name in ("torch", "exported")]
    return {
        **scores,
        "loss_of_miou": None if None in miou else miou[0] - miou[1],
        "same_class": compared["same"] / compared["voxels"],
        "largest_difference": compared["largest"],
    }


@torch.no_grad()
def rounding_of_export(
    exported: ExportedNetwork, network: Segmentor, frames: EvaluationFrames
) -> dict[str, float]:
    """Compare an export and its network in float32 torch with the network in float64.

    Parameters
    ----------
    exported, network
        Of the same weights.
    frames
        At least one; the first is looked at.

    Returns
    -------
    dict
        "logit": the largest in absolute value; "torch", "exported": the largest difference of a
        logit from float64's.
    """
    network.eval()
    batch = network_input(collate([frames[0]]))
    single = network(batch).logits
    given = torch.from_numpy(exported.logits(batch["feat"].numpy(), batch["grid_coord"].numpy()))
    wide = {
        name: value.double() if isinstance(value, Tensor) and value.is_floating_point() else value
        for name, value in batch.items()
    }
    exact = copy.deepcopy(network).double()(wide).logits
    return {
        "logit": float(exact.abs().max()),
        "torch": float((single.double() - exact).abs().max()),
        "exported": float((given.double() - exact).abs().max()),
    }


@torch.no_grad()
def time_export(
    exported: ExportedNetwork, network: Segmentor, frames: EvaluationFrames, *, repeats: int
) -> dict[str, Any]:
    """Time an export and its network in torch by turns, on the first frame.

    Parameters
    ----------
    exported
        Made with as many threads as torch has.
    network
        In evaluation mode afterwards.
    frames
        At least one.
    repeats
        Timed passes of each, after one that warms up.

    Returns
    -------
    dict
        "voxels"; the smallest of `repeats` seconds by name: "torch_geometry" (curves, pooling,
        neighbors, patches), "torch_network", "exported_geometry" (the same in numpy),
        "exported_network"; "threads", "repeats", "processor".
    """
    network.eval()
    batch = network_input(collate([frames[0]]))
    feat, grid_coord = batch["feat"].numpy(), batch["grid_coord"].numpy()
    state: dict[str, Any] = {}
    calls: dict[str, Callable[[], object]] = {
        "torch_geometry": lambda: state.update(hierarchy=network.prepare_whole(batch)),
        "torch_network": lambda: network(batch, state["hierarchy"]),
        "exported_geometry": lambda: state.update(inputs=exported.inputs(feat, grid_coord)),
        "exported_network": lambda: exported.run(state["inputs"]),
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(repeats + 1):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            if number:
                seconds[name].append(time.perf_counter() - begin)
    return {
        "voxels": len(feat),
        "seconds": {name: min(values) for name, values in seconds.items()},
        "threads": torch.get_num_threads(),
        "repeats": repeats,
        "processor": provenance.processor(),
    }


def first_frames(frames: EvaluationFrames, count: int | None) -> EvaluationFrames:
    """Return a copy with so many of the frames, evenly spaced; all of them for None."""
    if count is None or count >= len(frames):
        return frames
    chosen = copy.copy(frames)
    places = np.linspace(0, len(frames) - 1, count).round().astype(int).tolist()
    chosen.source = SomeFrames(frames.source, places)
    return chosen
