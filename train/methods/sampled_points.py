"""The points of each cloud whose relations are compared: those that the topology compares.

Shape letters: N points of all clouds, M samples of a cloud, B clouds, C channels (T teacher, S
student).
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from fast import normalise
from fast.modules import cloud_sizes
from fast.options import SamplingOptions
from fast.sampling import choose_points, key_of_call
from train.config import refused_as_flags, require
from train.core.streams import CallStream
from train.methods.stage_term import StageTerm, StageTermConfig
from train.networks.protocol import Network


@dataclass(frozen=True, kw_only=True)
class SampledConfig(SamplingOptions, StageTermConfig):
    """Which points are compared, by the options of `--method topology-gradient`."""

    def __post_init__(self) -> None:
        StageTermConfig.__post_init__(self)
        with refused_as_flags("method"):
            SamplingOptions.__post_init__(self)
        require(self.num_samples >= 2, "method.num-samples", self.num_samples, "at least 2 points")


class SampledPoints(nn.Module):
    """Normalizes and samples both networks' features as `fast.TopologicalLoss` does.

    With equal options, and as many calls before, the samples are the same points in the same order,
    so that methods differ in what they compare and not in where. The teacher's features choose
    farthest points, and the number of the call, a part of the module's state, chooses random ones.
    """

    sampling_calls: Tensor

    def __init__(self, options: SamplingOptions) -> None:
        super().__init__()
        self.options = options
        if options.sampling != "farthest":
            self.register_buffer("sampling_calls", torch.zeros((), dtype=torch.int64))

    def extra_repr(self) -> str:
        """Return the options, for the module's repr."""
        options = self.options
        return f"{options.num_samples}, {options.normalization!r}, {options.sampling!r}"

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
        options = self.options
        sizes = cloud_sizes("SampledPoints", offset, len(student_features))
        with torch.autocast(teacher_features.device.type, enabled=False):
            with torch.no_grad():
                teachers = [
                    normalise(cloud, options.normalization)
                    for cloud in torch.split(teacher_features, sizes)
                ]
                key = None
                if options.sampling != "farthest":
                    key = key_of_call(CallStream.POINTS, self.sampling_calls)
                    self.sampling_calls += 1
                counts = [min(options.num_samples, size) for size in sizes]
                chosen, _ = choose_points(teachers, counts, 0, None, options.sampling, key)
            students = [
                normalise(cloud, options.normalization)
                for cloud in torch.split(student_features, sizes)
            ]
        return [
            (teacher[points], student[points])
            for teacher, student, points in zip(teachers, students, chosen, strict=True)
        ]


class SampledTerm(StageTerm):
    """A term on the relations of sampled points; a subclass says which."""

    Config = SampledConfig

    def __init__(
        self,
        config: SampledConfig,
        student: Network,
        teacher: Network | None,
        *,
        artifacts: Path | None = None,
    ) -> None:
        super().__init__(config, student, teacher, artifacts=artifacts)
        self.sampled_points = SampledPoints(config)
