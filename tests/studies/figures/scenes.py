"""Frames with made-up predictions, for the figures that show networks."""

from pathlib import Path

import numpy as np
import torch

from benchmarks.studies.figures.networks import Shown, Trained
from train.data.dataset_spec import dataset_spec
from train.data.frame import LidarFrame
from train.data.loader import EvaluationFrames


class Empty:
    """A source of no frames: the figures get theirs ready made."""

    names, skipped_unlabeled, unreadable = (), 0, {}

    def __len__(self) -> int:
        return 0

    def __getitem__(self, index: int) -> LidarFrame:
        raise IndexError(index)

    def files(self, index: int) -> tuple[Path, ...]:
        raise IndexError(index)


def trained():
    """No networks, of SemanticKITTI."""
    return Trained(dataset_spec("semantickitti"), EvaluationFrames(Empty()), {}, {})


def shown(name="08/000000", *, roles=("teacher", "student", "student alone"), points=1000):
    """A square of 48 m of road and building; all networks are right everywhere."""
    rng = np.random.default_rng(0)
    coord = np.c_[rng.uniform(-24, 24, (points, 2)), rng.uniform(0, 3, points)].astype(np.float32)
    truth = np.where(coord[:, 0] > 10, 12, 8).astype(np.int64)
    truth[:20] = -1
    predictions = {role: np.where(truth < 0, 8, truth) for role in roles}
    voxels = truth[: points // 2]
    means = torch.from_numpy(np.eye(19)[np.maximum(voxels, 0)]).float()
    features = {
        role: means + 0.1 * torch.randn(means.shape, generator=torch.Generator().manual_seed(place))
        for place, role in enumerate(roles)
    }
    return Shown(name, coord, truth, predictions, voxels, features)


def wrong_where(scene, role, where):
    """Let a network be wrong at some points; returns how many of them count."""
    scene.predictions[role][where] = 0
    return int((where & (scene.truth >= 0)).sum())
