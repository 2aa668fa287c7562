"""Score a network's structure: one pass over whole frames, counts for each frame and scene.

What the truth alone decides is found once (`PreparedFrames`) and what the teacher says is kept at
sampled points (`sample_features`), so that many students are scored at the cost of their passes.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import torch
from torch import Tensor, nn

from train.core.device import to_device
from train.core.distributed import current_world, gather_objects
from train.core.errors import UserError
from train.data.batch import BadFrame, SkippedFrames, collate, shard_indices
from train.data.loader import EvaluationFrames
from train.evaluation.evaluate import over_share
from train.evaluation.feature_agreement import (
    NUM_SAMPLES,
    FeatureLoss,
    OwnOther,
    SampledFeatures,
    distance_correlation,
    own_other,
    require_others,
)
from train.evaluation.metrics import mean_known
from train.evaluation.network_pass import Precision
from train.evaluation.structure import (
    FrameStructure,
    StructureCounts,
    count_structure,
    frame_structure,
)
from train.evaluation.training_overlap import sequence_of
from train.networks.protocol import Network, NetworkOutput

Visited = TypeVar("Visited")

_NETWORK_INPUT: Final = ("feat", "coord", "grid_coord", "offset")


@dataclass(frozen=True)
class PreparedFrame:
    """A frame as a network and the scores need it.

    Attributes
    ----------
    name
        The frame's.
    batch
        The network's input, on the CPU.
    inverse
        (N,) int64: the voxel that each point lies in.
    structure
        Of all points.
    """

    name: str
    batch: dict[str, Tensor]
    inverse: Tensor
    structure: FrameStructure


class PreparedFrames:
    """Frames with the structure of their truth.

    Parameters
    ----------
    frames
        Whole frames with labels.
    num_classes
        Of the training ids.
    keep
        Keep each prepared frame in memory (about 4 MB for one of 40,000 points) for the next
        network; otherwise it is read and prepared again.
    """

    def __init__(self, frames: EvaluationFrames, num_classes: int, *, keep: bool = False) -> None:
        self.frames = frames
        self.num_classes = num_classes
        self.keep = keep
        self._kept: dict[int, PreparedFrame] = {}

    @property
    def names(self) -> list[str]:
        """The frames' names, in index order."""
        return list(self.frames.source.names)

    def __len__(self) -> int:
        """Return how many frames there are."""
        return len(self.frames)

    def __getitem__(self, index: int) -> PreparedFrame:
        """Return one frame.

        Raises
        ------
        UserError
            If it cannot be read, or has no labels.
        """
        if index in self._kept:
            return self._kept[index]
        frame = self.frames.source[index]
        if frame.segment is None:
            raise UserError(f"{frame.path}: frame {frame.name} has no labels to score against")
        batch = collate([self.frames.voxelized(frame)])
        prepared = PreparedFrame(
            name=frame.name,
            batch={name: batch[name] for name in _NETWORK_INPUT},
            inverse=batch["inverse"],
            # Where the points are, not where clipping moves them for the network.
            structure=frame_structure(frame.coord, frame.segment, self.num_classes),
        )
        if self.keep:
            self._kept[index] = prepared
        return prepared


@dataclass(frozen=True)
class StructureEvaluation:
    """What one network's pass over some frames gave.

    Attributes
    ----------
    counts
        Of each frame that was scored, by name, in index order.
    correlations
        The distance correlation with the teacher of each frame, None where it has none; empty
        without a teacher.
    own_other
        Name of a loss -> its own/other test; clouds in the order of `counts`.
    """

    counts: dict[str, StructureCounts]
    correlations: dict[str, float | None]
    own_other: dict[str, OwnOther]

    def total(self) -> StructureCounts:
        """Return the counts of all frames; there is at least one."""
        return StructureCounts.total(self.counts.values(), self._num_classes)

    def scenes(self) -> dict[str, StructureCounts]:
        """Return the counts of each scene (sequence, segment, scene), in order of appearance."""
        parts: dict[str, list[StructureCounts]] = {}
        for name, counts in self.counts.items():
            parts.setdefault(sequence_of(name), []).append(counts)
        return {
            scene: StructureCounts.total(own, self._num_classes) for scene, own in parts.items()
        }

    def distance_correlation(self) -> float | None:
        """Return the mean over the frames that have one."""
        return mean_known(self.correlations.values())

    @property
    def _num_classes(self) -> int:
        return next(iter(self.counts.values())).num_classes


def evaluate_structure(
    network: nn.Module,
    frames: PreparedFrames,
    device: torch.device,
    *,
    title: str,
    teacher: SampledFeatures | None = None,
    losses: Mapping[str, FeatureLoss] | None = None,
    precision: Precision = "fp32",
    skipped: SkippedFrames | None = None,
) -> StructureEvaluation:
    """Return the structure counts of a network's predictions, one forward pass for each frame.

    Every process of a run calls this at the same point, and gets the counts of all frames.

    Parameters
    ----------
    network
        On `device`; put into evaluation mode, and back afterwards. A `Network` where there is a
        teacher.
    frames
        Whole frames; hand the same object, with `keep`, to the calls for many networks.
    device
        Where the batches go.
    title
        What the progress bar says.
    teacher
        From `sample_features` on the same frames: adds the distance correlation between its and the
        network's features of the last decoder stage.
    losses
        Name -> the loss of an own/other test on these features, on the CPU; needs `teacher`.
    precision
        "bf16" runs the network under autocast.
    skipped
        Gets the frames that could not be read, if the frames leave such out.

    Raises
    ------
    UserError
        If a frame cannot be read, and such are not left out; if losses are given and all frames are
        of one scene; if no frame could be read.
    ValueError
        If losses are given without a teacher, or the teacher's features are not of these frames.
    """
    if losses and teacher is None:
        raise ValueError("evaluate_structure: losses compare with a teacher, and none is given")
    if losses:
        require_others([sequence_of(name) for name in frames.names])

    def count(frame: PreparedFrame, output: NetworkOutput) -> tuple[StructureCounts, Tensor | None]:
        prediction = output.logits.argmax(dim=1).cpu()[frame.inverse]
        features = None if teacher is None else teacher.drawn(network, frame.name, output)
        return count_structure(frame.structure, prediction.numpy()), features

    found = _each_frame(network, frames, device, count, title, precision, skipped)
    if not found:
        raise UserError("no validation frame could be read; see the messages above")
    counts = {name: of_frame for name, (of_frame, _) in found.items()}
    if teacher is None:
        return StructureEvaluation(counts, {}, {})
    names = list(found)
    students = {name: features for name, (_, features) in found.items() if features is not None}
    for name in names:
        of_teacher = teacher.by_name.get(name)
        if of_teacher is None or len(of_teacher) != len(students[name]):
            raise ValueError(
                f"evaluate_structure: the teacher's features are not those of frame {name}"
            )
    correlations = {
        name: distance_correlation(teacher.by_name[name], students[name]) for name in names
    }
    tests = {
        word: own_other(
            loss,
            [teacher.by_name[name] for name in names],
            [students[name] for name in names],
            groups=[sequence_of(name) for name in names],
            seed=teacher.seed,
        )
        for word, loss in (losses or {}).items()
    }
    return StructureEvaluation(counts, correlations, tests)


def sample_features(
    network: Network,
    frames: PreparedFrames,
    device: torch.device,
    *,
    title: str,
    num_samples: int = NUM_SAMPLES,
    seed: int = 0,
    precision: Precision = "fp32",
    skipped: SkippedFrames | None = None,
) -> SampledFeatures:
    """Return a network's last decoder features at sampled voxels of each frame.

    Parameters
    ----------
    network
        Usually the teacher; on `device`.
    frames
        Whole frames.
    device
        Where the batches go.
    title
        What the progress bar says.
    num_samples, seed
        How many voxels of a frame at most, and what draws them.
    precision, skipped
        As of `evaluate_structure`.
    """
    rule = SampledFeatures(seed, num_samples, {})

    def sample(frame: PreparedFrame, output: NetworkOutput) -> Tensor:
        return rule.drawn(network, frame.name, output)

    found = _each_frame(network, frames, device, sample, title, precision, skipped)
    return SampledFeatures(seed, num_samples, found)


def _each_frame(
    network: nn.Module,
    frames: PreparedFrames,
    device: torch.device,
    visit: Callable[[PreparedFrame, NetworkOutput], Visited],
    title: str,
    precision: Precision,
    skipped: SkippedFrames | None,
) -> dict[str, Visited]:
    """Return what `visit` makes of each frame, by name, on every process for those of all."""
    skipped = SkippedFrames() if skipped is None else skipped
    indices = shard_indices(len(frames), current_world())
    found: dict[int, tuple[str, Visited]] = {}

    def readable() -> Iterator[tuple[int, PreparedFrame]]:
        for index in indices:
            try:
                frame = frames[index]
            except UserError as error:
                if frames.frames.on_bad_frame == "stop":
                    raise
                skipped.add([BadFrame(frames.names[index], str(error))])
            else:
                yield index, frame

    def see(item: tuple[int, PreparedFrame]) -> None:
        index, frame = item
        found[index] = frame.name, visit(frame, network(to_device(frame.batch, device)))

    over_share(
        network,
        device,
        readable(),
        see,
        title=title,
        number=len(indices),
        skipped=skipped,
        precision=precision,
    )
    everywhere: dict[int, tuple[str, Visited]] = {}
    for part in gather_objects(found):
        everywhere |= part
    return dict(everywhere[index] for index in sorted(everywhere))
