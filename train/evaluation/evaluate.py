"""Score a network on whole sweeps: every raw point gets the prediction of its voxel."""

import time
from typing import Any

import torch
from torch.utils.data import DataLoader

from train.core.console import Progress
from train.core.device import to_device
from train.data.benchmark_rule import BenchmarkRule
from train.data.collate import collate
from train.data.loader import EvaluationFrames
from train.data.skipping import SkippedFrames
from train.evaluation.metrics import ConfusionMatrix
from train.networks.ptv3 import Segmentor


def evaluate(
    model: Segmentor,
    sweeps: EvaluationFrames,
    class_names: tuple[str, ...],
    rule: BenchmarkRule,
    device: torch.device,
    *,
    title: str,
    num_workers: int = 0,
    skipped: SkippedFrames | None = None,
) -> dict[str, Any]:
    """Return the scores of a network on labeled sweeps, one forward pass each.

    Parameters
    ----------
    model
        On `device`; put into evaluation mode, and back afterwards.
    sweeps
        Whole sweeps with labels, not augmented, not cropped.
    class_names
        Names of the training ids.
    rule
        The benchmark's, for `benchmark_miou`.
    device
        Where the batches go.
    title
        What the progress bar says.
    num_workers
        Processes that read sweeps.
    skipped
        Is told of the sweeps that could not be read, if `sweeps` leaves such out.

    Returns
    -------
    dict
        The scores of `ConfusionMatrix.scores`, and `sweeps` (those scored), `points`, `voxels`,
        `seconds` (wall time of the pass, reading included), all plain JSON values.
    """
    matrix = ConfusionMatrix(class_names, rule)
    skipped = SkippedFrames() if skipped is None else skipped
    scored = points = voxels = 0
    was_training = model.training
    model.eval()
    progress = Progress(title, len(sweeps))
    started = time.monotonic()
    loader = DataLoader(
        sweeps, batch_size=1, collate_fn=collate, num_workers=num_workers, shuffle=False
    )
    try:
        for batch in skipped.watch(loader):
            with torch.no_grad():
                logits = model(to_device(batch, device)).logits
            prediction = logits.argmax(dim=1).cpu()[batch["inverse"]]
            matrix.add(batch["raw_segment"], prediction)
            scored += 1
            points += len(prediction)
            voxels += len(logits)
            progress.advance({})
    finally:
        progress.close()
        model.train(was_training)
    return {
        **matrix.scores(),
        "sweeps": scored,
        "points": points,
        "voxels": voxels,
        "seconds": time.monotonic() - started,
    }
