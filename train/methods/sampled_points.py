"""The points of each cloud whose relations are compared: those that the topology compares.

Shape letters: N points of all clouds, M samples of a cloud, B clouds, C channels (T teacher, S
student).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from fast import normalise
from fast.modules import cloud_sizes
from fast.normalisation import Normalisation
from fast.sampling import Sampling, choose_points, key_of_call
from train.config import require
from train.core.streams import CallStream
from train.methods.stage_term import StageTermConfig


@dataclass(frozen=True, kw_only=True)
class SampledConfig(StageTermConfig):
    """Which points are compared, by the names of `--method topology-gradient`."""

    num_samples: int = 1024
    """Points of a cloud that are compared with each other."""
    normalization: Literal["l2", "none", "center_maxnorm", "diameter", "rms"] = "l2"
    """How features are normalized before sampling and comparison."""
    sampling: Literal["farthest", "random", "mixed"] = "farthest"
    """How points are sampled: farthest-point, uniformly, or half by each."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.num_samples >= 2, "method.num-samples", self.num_samples, "at least 2 points")


class SampledPoints(nn.Module):
    """Normalizes and samples both networks' features as `fast.TopologicalLoss` does.

    With equal options, and as many calls before, the samples are the same points in the same order,
    so that methods differ in what they compare and not in where.

    Parameters
    ----------
    num_samples
        M: points of each cloud to keep; a smaller cloud keeps all of its own.
    normalization
        See `fast.normalise`.
    sampling
        See `fast.sample_points`; the teacher's features choose farthest points, and the number of
        the call, a part of the module's state, chooses random ones.
    """

    sampling_calls: Tensor

    def __init__(self, num_samples: int, normalization: Normalisation, sampling: Sampling) -> None:
        super().__init__()
        self.num_samples, self.normalization = num_samples, normalization
        self.sampling: Sampling = sampling
        if sampling != "farthest":
            self.register_buffer("sampling_calls", torch.zeros((), dtype=torch.int64))

    def extra_repr(self) -> str:
        """Return the options, for the module's repr."""
        return f"{self.num_samples}, {self.normalization!r}, {self.sampling!r}"

    def forward(
        self, teacher_features: Tensor, student_features: Tensor, offset: Tensor
    ) -> list[tuple[Tensor, Tensor]]:
        """Return the samples' normalized features, (M, T) and (M, S) for each cloud.

        Parameters
        ----------
        teacher_features, student_features
            (N, T) and (N, S): the same points, clouds one after another. No gradient reaches the
            teacher.
        offset
            (B,) int64: where each cloud ends.

        Returns
        -------
        list of (Tensor, Tensor)
            One per cloud, in float32 at least.
        """
        sizes = cloud_sizes("SampledPoints", offset, len(student_features))
        with torch.autocast(teacher_features.device.type, enabled=False):
            with torch.no_grad():
                teachers = [
                    normalise(cloud, self.normalization)
                    for cloud in torch.split(teacher_features, sizes)
                ]
                key = None
                if self.sampling != "farthest":
                    key = key_of_call(CallStream.POINTS, self.sampling_calls)
                    self.sampling_calls += 1
                counts = [min(self.num_samples, size) for size in sizes]
                chosen, _ = choose_points(teachers, counts, 0, None, self.sampling, key)
            students = [
                normalise(cloud, self.normalization)
                for cloud in torch.split(student_features, sizes)
            ]
        return [
            (teacher[points], student[points])
            for teacher, student, points in zip(teachers, students, chosen, strict=True)
        ]
