"""How far the students of a run agree with its teacher, from the passes that score them.

Features are sampled while a network is scored, so that no frame is seen twice.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from fast import TopologicalLoss
from train.core.distributed import gather_objects
from train.evaluation.evaluate import Visit
from train.evaluation.feature_agreement import (
    NUM_SAMPLES,
    FeatureLoss,
    SampledFeatures,
    distance_correlation,
    own_other,
)
from train.evaluation.metrics import mean_known
from train.evaluation.training_overlap import sequence_of
from train.networks.protocol import Network, NetworkOutput

MAX_FRAMES: Final = 8
"""Frames whose features are compared, evenly spread: the own/other test takes about 3 s of a core
for eight of them. An ablation compares all."""

SEED: Final = 0
"""Draws the voxels and the other clouds: the same for every network of every run."""

_RULE: Final = SampledFeatures(SEED, NUM_SAMPLES, {})

LOSSES: Final[Mapping[str, Mapping[str, str]]] = {
    "edges": {"loss": "edges", "normalisation": "rms"},
    "pwcd": {"loss": "pwcd", "normalisation": "l2"},
}
"""Losses of the own/other test, as options of `fast.TopologicalLoss`."""


class FeatureSampler:
    """Keeps features of the last decoder stage at sampled voxels, for each network of a run.

    Parameters
    ----------
    names
        Of all frames that are scored, in index order.
    """

    def __init__(self, names: Sequence[str]) -> None:
        chosen = np.linspace(0, len(names) - 1, min(len(names), MAX_FRAMES)).round().astype(int)
        self.names = [names[index] for index in chosen]
        self._found: dict[str, dict[str, Tensor]] = {}

    def visit(self, role: str, network: Network) -> Visit:
        """Return what `evaluate` is to call while it scores a network."""
        found = self._found.setdefault(role, {})
        wanted = frozenset(self.names)

        def sample(name: str, output: NetworkOutput) -> None:
            if name in wanted:
                found[name] = _RULE.drawn(network, name, output)

        return sample

    def gathered(self) -> dict[str, dict[str, Tensor]]:
        """Return role -> frame -> (S, C) of all processes; all of them call this.

        Frames are in the order of `names`; those that could not be read are missing.
        """
        everywhere: dict[str, dict[str, Tensor]] = {role: {} for role in self._found}
        for part in gather_objects(self._found):
            for role, found in part.items():
                everywhere[role] |= found
        return {
            role: {name: found[name] for name in self.names if name in found}
            for role, found in everywhere.items()
        }


def agreement(teacher: Mapping[str, Tensor], student: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return how far a student's features agree with the teacher's.

    Parameters
    ----------
    teacher, student
        Frame -> (S, C) features at the same voxels, from one `FeatureSampler`.

    Returns
    -------
    dict
        JSON values. `frames`: how many were compared; `not_finite`: how many were left out because
        a feature is NaN or infinite; `scenes`: of how many sequences; `distance_correlation`: the
        mean over the frames that have one, else None; `own_other`: name of a loss -> ratio, see
        `OwnOther.ratio`; empty where all frames are of one sequence.
    """
    both = [name for name in teacher if name in student]
    names = [name for name in both if _finite(teacher[name]) and _finite(student[name])]
    scenes = [sequence_of(name) for name in names]
    ratios: dict[str, float | None] = {}
    if len(set(scenes)) > 1:
        ratios = {
            word: own_other(
                _loss(options),
                [teacher[name] for name in names],
                [student[name] for name in names],
                groups=scenes,
                seed=SEED,
            ).ratio
            for word, options in LOSSES.items()
        }
    return {
        "frames": len(names),
        "not_finite": len(both) - len(names),
        "scenes": len(set(scenes)),
        "distance_correlation": mean_known(
            distance_correlation(teacher[name], student[name]) for name in names
        ),
        "own_other": ratios,
    }


def _finite(features: Tensor) -> bool:
    return bool(features.isfinite().all())


def _loss(options: Mapping[str, str]) -> FeatureLoss:
    loss = TopologicalLoss(num_samples=NUM_SAMPLES, **options)  # type: ignore[arg-type]

    def of_features(teacher: Tensor, student: Tensor) -> Tensor:
        with torch.no_grad():
            value: Tensor = loss(teacher, student, torch.tensor([len(student)]))
        return value

    return of_features
