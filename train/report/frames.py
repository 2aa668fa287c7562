"""Chooses the frames that a report shows, the best and the worst among them, and predicts them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from train.data.dataset_spec import DatasetSpec
from train.data.frame import FrameSource
from train.data.transforms import ClipRange
from train.evaluation.metrics import ConfusionMatrix
from train.networks.protocol import Network
from train.predict.cloud import predict_frame


@dataclass(frozen=True, eq=False)
class PicturedFrame:
    """A frame, its labels, and what each network says of it.

    Attributes
    ----------
    place
        Why it is shown: "best", "in between", "worst".
    name
        The frame's.
    coord
        (N, 3) float32 meters.
    truth
        (N,) int64 train ids, `IGNORE_INDEX` where the label does not count.
    predictions
        Role -> (N,) int64 train ids.
    miou
        Role -> mIoU of this frame alone, None where nothing is labeled.
    """

    place: str
    name: str
    coord: NDArray[np.float32]
    truth: NDArray[np.int64]
    predictions: Mapping[str, NDArray[np.int64]]
    miou: Mapping[str, float | None]


def best_and_worst(by_frame: Mapping[str, float | None]) -> dict[str, str]:
    """Return place -> name of the frames to show, at most three; all different.

    Parameters
    ----------
    by_frame
        Name -> mIoU of the frame; those without one are never shown. Of equal ones the first by
        name counts as the worse.
    """
    scored = sorted((miou, name) for name, miou in by_frame.items() if miou is not None)
    places = {"best": len(scored) - 1, "in between": (len(scored) - 1) // 2, "worst": 0}
    shown: dict[str, str] = {}
    for place, at in places.items():
        if scored and scored[at][1] not in shown.values():
            shown[place] = scored[at][1]
    return shown


def picture_frames(
    shown: Mapping[str, str],
    source: FrameSource,
    networks: Mapping[str, Network],
    spec: DatasetSpec,
    *,
    grid_size_m: float,
    clip_range_m: ClipRange | None,
) -> tuple[PicturedFrame, ...]:
    """Return the frames with the networks' predictions, one forward pass each.

    Parameters
    ----------
    shown
        Place -> name, as `best_and_worst` returns them.
    source
        Where the frames are.
    networks
        By role; each runs where it is.
    spec
        The dataset.
    grid_size_m, clip_range_m
        As in training.

    Raises
    ------
    UserError
        If a frame cannot be read.
    KeyError
        If a name is not the source's.
    """
    index_of = {name: index for index, name in enumerate(source.names)}
    found = []
    for place, name in shown.items():
        frame = source[index_of[name]]
        if frame.segment is None:
            raise ValueError(f"picture_frames: frame {name} has a score and no labels")
        predictions, miou = {}, {}
        for role, network in networks.items():
            labels, _ = predict_frame(network, frame, grid_size_m, clip_range_m=clip_range_m)
            matrix = ConfusionMatrix(spec.class_names, spec.benchmark_rule)
            matrix.add(torch.from_numpy(frame.segment), torch.from_numpy(labels))
            predictions[role], miou[role] = labels, matrix.miou()
        found.append(PicturedFrame(place, name, frame.coord, frame.segment, predictions, miou))
    return tuple(found)
