"""How far a student's features have the teacher's structure, and whether of the cloud at hand.

Shape letters: N points, S sampled points, C channels of either network.
"""

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from train.core.errors import UserError
from train.core.streams import Stream
from train.networks.protocol import NetworkOutput

NUM_SAMPLES: Final = 512
"""Points of a cloud whose features are compared."""

FeatureLoss = Callable[[Tensor, Tensor], Tensor | float]
"""Called with a teacher's and a student's features, as many rows of each; returns one number."""


def sampled_rows(num_rows: int, *, name: str, seed: int, num_samples: int = NUM_SAMPLES) -> Tensor:
    """Return which rows of a cloud's features are compared: uniform, without repetition.

    Parameters
    ----------
    num_rows
        N, at least 1.
    name
        The cloud's: which rows are drawn depends on it and the seed, not on other clouds.
    seed
        At least 0.
    num_samples
        At least 1; all rows of a smaller cloud are taken.

    Returns
    -------
    Tensor
        (S,) int64 on the CPU, in increasing order.
    """
    if num_rows < 1 or num_samples < 1 or seed < 0:
        raise ValueError(
            f"sampled_rows: needs num_rows and num_samples of at least 1 and a seed of at least 0, "
            f"not {num_rows}, {num_samples} and {seed}"
        )
    rng = np.random.default_rng([Stream.COMPARED_ROWS, seed, zlib.crc32(name.encode())])
    rows = rng.choice(num_rows, size=min(num_samples, num_rows), replace=False)
    return torch.from_numpy(np.sort(rows).astype(np.int64))


@dataclass(frozen=True)
class SampledFeatures:
    """A network's features at sampled points of clouds: small enough to keep for many students.

    Attributes
    ----------
    seed, num_samples
        What `sampled_rows` drew the points with.
    by_name
        Cloud's name -> (S, C) float32 on the CPU, rows in the order of `sampled_rows`.
    """

    seed: int
    num_samples: int
    by_name: Mapping[str, Tensor]

    def drawn(self, network: nn.Module, name: str, output: NetworkOutput) -> Tensor:
        """Return (S, C) float32 of a `Network`'s last decoder stage, for the cloud of this name."""
        features: Tensor = output.features[network.decoder_stages[-1]]  # type: ignore[index]
        rows = sampled_rows(len(features), name=name, seed=self.seed, num_samples=self.num_samples)
        return features[rows.to(features.device)].float().cpu()


def distance_correlation(teacher_features: Tensor, student_features: Tensor) -> float | None:
    """Return how alike the distances between a cloud's points are in two networks' features.

    Parameters
    ----------
    teacher_features, student_features
        (S, C_t) and (S, C_s), finite, of the same points.

    Returns
    -------
    float or None
        Pearson's correlation of the Euclidean distances between all pairs of points; None with
        fewer than three points, or where all distances of one network are equal.

    Raises
    ------
    ValueError
        If the numbers of rows differ, or a feature is not finite.

    Notes
    -----
    Mantel's statistic [1]_, not the distance correlation of Székely and Rizzo. It does not change
    when features are rotated, shifted or scaled as a whole. O(S^2) memory and time, in double
    precision.

    References
    ----------
    .. [1] N. Mantel, "The detection of disease clustering and a generalized regression approach",
       Cancer Research 27 (1967).
    """
    _require_rows("distance_correlation", teacher_features, student_features)
    if len(teacher_features) < 3:
        return None
    centered = []
    for features in (teacher_features, student_features):
        distances = torch.pdist(features.detach().double())
        apart = distances - distances.mean()
        norm = apart.norm()
        # What rounding leaves of equal distances says nothing.
        if float(norm) <= 1e-12 * float(distances.norm()):
            return None
        centered.append(apart / norm)
    return min(1.0, max(-1.0, float(centered[0] @ centered[1])))


@dataclass(frozen=True)
class OwnOther:
    """The loss of a trained student to the teacher at its own clouds, and at others.

    Attributes
    ----------
    own, other
        Of each cloud.
    """

    own: tuple[float, ...]
    other: tuple[float, ...]

    @property
    def ratio(self) -> float | None:
        """Mean loss to the own clouds over that to others; None where the latter is 0.

        Well under 1 for a target that says something about the cloud; about 1 for one that any
        cloud would do for.
        """
        below = math.fsum(self.other)
        return math.fsum(self.own) / below if below != 0 else None


def own_other(
    loss: FeatureLoss,
    teachers: Sequence[Tensor],
    students: Sequence[Tensor],
    *,
    groups: Sequence[str] | None = None,
    seed: int = 0,
) -> OwnOther:
    """Return the loss of each student's cloud to the teacher at this cloud and at another.

    Parameters
    ----------
    loss
        Called with the teacher's and the student's features; must not depend on where the clouds
        come from.
    teachers, students
        Each held-out cloud's features, (N, C_t) and (N, C_s), N of its own, at least 1.
    groups
        Each cloud's scene: the other cloud is then the next one of another scene, since frames of
        one scene are nearly the same cloud. None: the next one. After the last comes the first.
    seed
        Draws the rows: a loss often depends on their number, so that all clouds enter with as many
        as the smallest has.

    Raises
    ------
    UserError
        If there is no other cloud.
    ValueError
        If lengths do not fit, a cloud is empty, or the loss is not finite.
    """
    if len(teachers) != len(students):
        raise ValueError(
            f"own_other: {len(teachers)} clouds of the teacher, {len(students)} of the student"
        )
    scenes = [str(number) for number in range(len(teachers))] if groups is None else list(groups)
    if len(scenes) != len(teachers):
        raise ValueError(f"own_other: {len(scenes)} groups for {len(teachers)} clouds")
    require_others(scenes)
    for teacher, student in zip(teachers, students, strict=True):
        _require_rows("own_other", teacher, student)
    size = min(len(teacher) for teacher in teachers)
    if size == 0:
        raise ValueError("own_other: a cloud has no rows")
    rng = np.random.default_rng([Stream.COMPARED_PAIRS, seed])
    # In random order: rows that lie alike in two clouds would pair like with like.
    rows = [torch.from_numpy(rng.permutation(len(teacher))[:size]) for teacher in teachers]
    sampled = [teacher[of_cloud] for teacher, of_cloud in zip(teachers, rows, strict=True)]
    own: list[float] = []
    other: list[float] = []
    for number, student in enumerate(students):
        following = (np.arange(1, len(scenes)) + number) % len(scenes)
        partner = next(int(at) for at in following if scenes[at] != scenes[number])
        features = student[rows[number]]
        for losses, at in ((own, number), (other, partner)):
            value = float(loss(sampled[at], features))
            if not math.isfinite(value):
                raise ValueError(
                    f"own_other: the loss of cloud {number} to the teacher at cloud {at} is {value}"
                )
            losses.append(value)
    return OwnOther(tuple(own), tuple(other))


def require_others(scenes: Sequence[str]) -> None:
    """Refuse clouds of which none has another to be compared with.

    Raises
    ------
    UserError
        If all are of one scene.
    """
    if len(set(scenes)) < 2:
        raise UserError(
            f"the own/other test has {len(scenes)} validation frames of {len(set(scenes))} "
            "scene(s), but needs another cloud to compare with: validate on at least two scenes"
        )


def _require_rows(caller: str, teacher: Tensor, student: Tensor) -> None:
    if teacher.ndim != 2 or student.ndim != 2 or len(teacher) != len(student):
        raise ValueError(
            f"{caller}: features of shapes {tuple(teacher.shape)} and {tuple(student.shape)} are "
            "not rows of the same points"
        )
    for name, features in (("teacher", teacher), ("student", student)):
        if not bool(features.isfinite().all()):
            raise ValueError(f"{caller}: the {name}'s features are not finite")
