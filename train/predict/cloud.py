"""A class and class probabilities for every point of a cloud.

Shape letters: N points.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from train.data.batch import collate
from train.data.frame import IN_CHANNELS, LidarFrame
from train.data.transforms import ClipRange, clip, voxelize
from train.evaluation.network_pass import SINGLE_PASS, Precision, TTATransform, point_probabilities


def predict(
    model: nn.Module,
    points: NDArray[np.floating],
    grid_size_m: float,
    *,
    views: Sequence[TTATransform] = SINGLE_PASS,
    precision: Precision = "fp32",
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the class and the class probabilities of every point of a cloud.

    Parameters
    ----------
    model
        Maps a batch to logits, such as a `Segmentor`. Runs where its parameters are, in evaluation
        mode, and is put back into its own mode afterwards.
    points
        [N, 4] x, y, z in meters and strength, as in training (about 0 to 1); N at least 1.
    grid_size_m
        The voxels' edge: that of training, `ModelMetadata.grid_size_m`.
    views
        One for a single pass; several for test-time augmentation, see `TEST_TIME_AUGMENTATIONS`:
        the probabilities are the mean over the views.
    precision
        "bf16" runs the network under autocast, as `--precision bf16` does in training.

    Returns
    -------
    labels : ndarray
        [N] int64 train ids: the most probable class.
    probabilities : ndarray
        [N, classes] float32; rows sum to 1. Points in one voxel have equal rows in a single pass.

    Raises
    ------
    ValueError
        If the shape is another, the cloud is empty, a value is not finite, or there is no view.
    UserError
        If the grid size is not positive or far too small for the cloud, or the network's logits are
        not finite.

    Notes
    -----
    A voxel is represented by its point nearest to the center. (Pointcept's tester also runs every
    other point of a voxel in further passes; this does not.)
    """
    points = np.asarray(points)
    if points.ndim != 2 or points.shape[1] != IN_CHANNELS:
        raise ValueError(
            f"predict: points has shape {points.shape}, must be (N, 4): x, y, z in meters and "
            "strength (0 where there is none)"
        )
    if len(points) == 0:
        raise ValueError("predict: points is empty; give at least one point")
    with np.errstate(over="ignore"):  # what is too large for float32 is infinite, and refused
        points = points.astype(np.float32)
    if not np.isfinite(points).all():
        raise ValueError("predict: points has a NaN or infinite entry; remove those points")
    path = Path("points")
    return predict_frame(
        model,
        LidarFrame(points[:, :3], points[:, 3:], None, path.name, path),
        grid_size_m,
        views=views,
        precision=precision,
    )


def predict_frame(
    model: nn.Module,
    frame: LidarFrame,
    grid_size_m: float,
    *,
    clip_range_m: ClipRange | None = None,
    views: Sequence[TTATransform] = SINGLE_PASS,
    precision: Precision = "fp32",
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return what `predict` does for a frame of any dataset; its labels are not looked at.

    Points beyond the box `clip_range_m` are moved onto its faces first, as in training.
    """
    if not views:
        raise ValueError("predict: views is empty; give SINGLE_PASS or several views")
    if clip_range_m is not None:
        frame = clip(frame, clip_range_m)
    frame = dataclasses.replace(frame, segment=None)
    was_training = model.training
    model.eval()
    try:
        batches = (collate([voxelize(view.of(frame), grid_size_m)]) for view in views)
        device = next(model.parameters()).device
        probabilities = point_probabilities(model, batches, device, frame.path, precision).numpy()
    finally:
        model.train(was_training)
    return probabilities.argmax(axis=1), probabilities.astype(np.float32)
