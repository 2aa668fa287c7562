"""Score a network on whole frames: every raw point gets the prediction of its voxel.

Several processes share the frames, each scored once, and their counts are summed as whole numbers:
the scores are those of one process to the last bit.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from train.core.console import Progress
from train.core.device import to_device
from train.core.distributed import agree, current_world, gather_objects, peer_failed
from train.core.errors import UserError
from train.core.interrupts import reader_ignores_stop
from train.data.batch import AnyBatch, Batch, SkippedFrames, collate, shard_indices
from train.data.dataset_spec import BenchmarkRule
from train.data.loader import EvaluationFrames
from train.evaluation.augmented_frames import AugmentedFrame, AugmentedFrames
from train.evaluation.metrics import ConfusionMatrix
from train.evaluation.network_pass import (
    TEST_TIME_AUGMENTATIONS,
    Precision,
    arithmetic,
    network_input,
    point_probabilities,
)
from train.networks.protocol import NetworkOutput

Item = TypeVar("Item")
Visit = Callable[[str, NetworkOutput], None]
"""Called with the name of a frame and what the network returned for it."""


def evaluate(
    model: nn.Module,
    frames: EvaluationFrames,
    class_names: tuple[str, ...],
    rule: BenchmarkRule,
    device: torch.device,
    *,
    title: str,
    num_workers: int = 0,
    skipped: SkippedFrames | None = None,
    precision: Precision = "fp32",
    visit: Visit | None = None,
    augmentation: str | None = None,
) -> dict[str, Any]:
    """Return the scores of a network on labeled frames, one forward pass each if nothing is said.

    Every process of a run calls this at the same point, and gets the scores of all frames.

    Parameters
    ----------
    model
        On `device`; put into evaluation mode, and back afterwards.
    frames
        Whole frames with labels, not augmented, not cropped: all of them, also with several
        processes.
    class_names
        Names of the training ids.
    rule
        The benchmark's, for `benchmark_miou`.
    device
        Where the batches go.
    title
        What the progress bar says.
    num_workers
        Processes that read frames, for each process of the run.
    skipped
        Gets the frames that could not be read, if `frames` leaves such out: those of all processes.
    precision
        "bf16" runs the network under autocast.
    visit
        Sees what the network returns, of the frames of this process: other numbers of the same
        passes. Of single ones alone.
    augmentation
        A name of `TEST_TIME_AUGMENTATIONS`: the mean of several passes over each frame is scored,
        seen otherwise each time. These numbers are reported apart from single passes.

    Returns
    -------
    dict
        The scores of `ConfusionMatrix.scores`, and `frames` (those scored), `points`, `voxels`,
        `seconds` (wall time of the pass, reading included), `confusion` (C lists of C labeled
        points: rows are the truth, columns the predictions) and `by_frame` (the mIoU of each frame
        by its name), all plain JSON values. Of augmented frames no `voxels`, which differ from view
        to view, but `augmentation` (its name) and `passes` (how many a frame).

    Raises
    ------
    UserError
        If a frame cannot be read by some process, and such frames are not left out; if the
        augmentation is unknown, or the output of a network that is asked with one is not finite.
    """
    matrix = ConfusionMatrix(class_names, rule)
    reading: dict[str, Any] = {"skipped": skipped, "precision": precision}
    loading: dict[str, Any] = {"num_workers": num_workers}
    if augmentation is not None:
        if augmentation not in TEST_TIME_AUGMENTATIONS:
            known = ", ".join(TEST_TIME_AUGMENTATIONS)
            raise UserError(f"augmentation {augmentation!r} is unknown; use {known}")
        views = TEST_TIME_AUGMENTATIONS[augmentation]

        def predict_mean(seen: AugmentedFrame) -> tuple[Tensor, Tensor, int]:
            probabilities = point_probabilities(model, seen.views, device, seen.names[0], precision)
            return seen.views[0]["raw_segment"], probabilities.argmax(dim=1), 0

        loading |= {"batch_size": None, "collate_fn": _as_it_is}
        augmented = AugmentedFrames(frames, views)
        scores = score_shards(
            augmented, predict_mean, model, matrix, device, title=title, loading=loading, **reading
        )
        del scores["voxels"]
        return {**scores, "augmentation": augmentation, "passes": len(views)}

    def predict(batch: Batch) -> tuple[Tensor, Tensor, int]:
        output = model(to_device(network_input(batch), device))
        if visit is not None:
            visit(batch.names[0], output)
        logits = output.logits
        return batch["raw_segment"], logits.argmax(dim=1).cpu()[batch["inverse"]], len(logits)

    loading |= {"batch_size": 1, "collate_fn": collate}
    return score_shards(
        frames, predict, model, matrix, device, title=title, loading=loading, **reading
    )


def _as_it_is(item: Any) -> Any:
    return item


def over_share(
    model: nn.Module,
    device: torch.device,
    frames: Iterable[Item],
    visit: Callable[[Item], None],
    *,
    title: str,
    number: int,
    skipped: SkippedFrames,
    precision: Precision,
) -> None:
    """Visit this process's frames, in evaluation mode and without gradients; all processes call it.

    Parameters
    ----------
    model
        Put into evaluation mode, and back afterwards.
    device
        Where the network runs, for `precision`.
    frames
        Read one after the other.
    visit
        Asks the network about each of them, under autocast for "bf16".
    title, number
        What the progress bar says, and of how many frames.
    skipped
        Shared by all processes at the end.

    Raises
    ------
    UserError
        Of any process; the others raise that it failed.
    """
    failure: BaseException | None = None
    was_training = model.training
    model.eval()
    progress = Progress(title, number)
    try:
        for frame in frames:
            # The others stop at once, not when they are through with their frames.
            if peer_failed():
                break
            with torch.no_grad(), arithmetic(device, precision):
                visit(frame)
            progress.advance({})
    except BaseException as error:
        failure = error
    finally:
        progress.close()
        model.train(was_training)
    # One process may have larger frames, or a slower disk.
    agree(failure, patient=True)
    skipped.share()


def score_shards(
    dataset: Dataset[Any],
    predict: Callable[[AnyBatch], tuple[Tensor, Tensor, int]],
    model: nn.Module,
    matrix: ConfusionMatrix,
    device: torch.device,
    *,
    title: str,
    loading: dict[str, Any],
    skipped: SkippedFrames | None,
    precision: Precision,
) -> dict[str, Any]:
    """Score this process's share of a dataset, and return the scores of all processes' shares.

    Parameters
    ----------
    dataset
        One frame per index; the same one on every process.
    predict
        Called without gradients with what the loader gives for a frame; returns the labels and the
        predictions of its points, on the host, and its number of voxels.
    model
        Put into evaluation mode, and back afterwards.
    matrix
        Gets the counts of all processes.
    device
        Where the network runs, for `precision`.
    title
        What the progress bar says.
    loading
        Options of the loader.
    skipped
        Gets the frames that could not be read.
    precision
        "bf16" runs `predict` under autocast.

    Returns
    -------
    dict
        As `evaluate` says.
    """
    skipped = SkippedFrames() if skipped is None else skipped
    indices = shard_indices(len(dataset), current_world())  # type: ignore[arg-type]
    batches = DataLoader(Subset(dataset, indices), worker_init_fn=reader_ignores_stop, **loading)
    counts = torch.zeros(3, dtype=torch.int64)
    by_frame: dict[str, float | None] = {}

    def add(batch: Any) -> None:
        truth, prediction, voxels = predict(batch)
        of_frame = ConfusionMatrix(matrix.class_names, matrix.rule)
        of_frame.add(truth, prediction)
        matrix.merge(of_frame)
        by_frame[batch.names[0]] = of_frame.miou()
        counts.add_(torch.tensor([1, len(prediction), voxels]))

    started = time.monotonic()
    over_share(
        model,
        device,
        (batch for batch in skipped.watch(batches) if batch.names),
        add,
        title=title,
        number=len(indices),
        skipped=skipped,
        precision=precision,
    )
    summed = matrix.sum_over_processes(counts)
    # By name: which process scored a frame must not show in the order.
    everywhere = {name: miou for part in gather_objects(by_frame) for name, miou in part.items()}
    return {
        **matrix.scores(),
        **dict(zip(("frames", "points", "voxels"), summed.tolist(), strict=True)),
        "seconds": time.monotonic() - started,
        "confusion": matrix.counts.tolist(),
        "by_frame": dict(sorted(everywhere.items())),
    }
