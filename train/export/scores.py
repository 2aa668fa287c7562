"""What `--score` of the export command does: an exported network measured beside torch."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch

from train.core import provenance
from train.core.atomic_write import atomic_write
from train.core.console import logger
from train.core.errors import UserError
from train.data.registry import dataset_spec
from train.export.onnx_export import require_packages, require_ptv3
from train.export.onnx_score import (
    first_frames,
    open_export,
    require_same_weights,
    rounding_of_export,
    score_export,
    time_export,
)
from train.export.options import Options
from train.export.source import open_frames, open_network_to_export

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
    spec = dataset_spec(metadata.dataset, vars(options.data))
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
