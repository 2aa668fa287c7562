"""Training batches with their teacher's outputs on disk, the same for every variant of a seed.

Shape letters: N voxels, N_s at stage s.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from train.core.atomic_write import atomic_write, make_folder
from train.core.console import Progress
from train.core.device import to_device
from train.core.errors import UserError
from train.core.tensor_file import read_tensors
from train.data.batch import Batch
from train.data.labels import hide_labels
from train.engine.loop import BatchSource
from train.methods.targets import KeptTargets, TeacherTargets, compute_targets
from train.methods.terms import TargetChoice
from train.networks.protocol import Network

FORMAT: Final = "topodistill-kept-batch-1"

_FIELDS: Final = ("feat", "coord", "grid_coord", "offset", "segment")
_SEEDS: Final = 1_000_003
"""How far apart the seeds of two runs' curves are; a batch's is its number further."""


@dataclass(frozen=True, kw_only=True)
class KeptBatches(BatchSource):
    """A seed's batches, the same for every variant, each seen once an epoch.

    What a batch is, and in which order the curves of its stages come, depends on the seed and its
    number alone, so that rows of the kept targets are the voxels of a student's stages.

    Attributes
    ----------
    folder
        Where the batches are; one seed, one teacher.
    number
        How many there are.
    seed
        Of the run.
    student
        Makes the geometry; in training mode.
    device
        Where batches go.
    with_targets
        Whether batches bring the teacher's targets; without, for a method that has no teacher.
    labeled
        The frames that have labels; None for all.
    """

    folder: Path
    number: int
    seed: int
    student: Network
    device: torch.device
    with_targets: bool = True
    labeled: frozenset[str] | None = None

    def path(self, index: int) -> Path:
        """Return the file of a batch."""
        return self.folder / f"batch-{index:05d}.pt"

    def missing(self) -> list[int]:
        """Return the batches that are not there yet."""
        return [index for index in range(self.number) if not self.path(index).is_file()]

    def make(self, batches: Iterable[Batch], teacher: Network, choice: TargetChoice) -> None:
        """Run the teacher on batches and keep what is wanted of it; those that are there stay.

        Parameters
        ----------
        batches
            All `number` collated batches in order.
        teacher
            Frozen, in evaluation mode, on the device.
        choice
            All that any variant wants.

        Raises
        ------
        UserError
            If the disk is full, or teacher and student do not share a geometry.
        """
        if teacher.geometry_key != self.student.geometry_key or teacher.geometry_key is None:
            raise UserError(
                "--keep: outputs of a teacher can be kept for a student that shares its geometry "
                f"alone, and {type(teacher).__name__} and {type(self.student).__name__} do not; "
                "give --keep 0"
            )
        make_folder(self.folder, "--output")
        missing = set(self.missing())
        progress = Progress("teacher's outputs", self.number, done=0)
        try:
            for index, batch in enumerate(batches):
                if index in missing:
                    self._write(index, batch, teacher, choice)
                progress.advance({})
        finally:
            progress.close()

    def _write(self, index: int, batch: Batch, teacher: Network, choice: TargetChoice) -> None:
        plain = {name: batch[name] for name in _FIELDS}
        moved = to_device(plain, self.device)
        geometry = self._geometry(index, moved)
        targets = compute_targets(teacher, moved, geometry, choice)
        content = {
            "format": FORMAT,
            "names": list(batch.names),
            "batch": plain,
            "logits": targets.logits.cpu(),
            "features": to_device(targets.features, torch.device("cpu")),
            "saliency": to_device(targets.saliency, torch.device("cpu")),
        }
        with atomic_write(self.path(index)) as unfinished:
            torch.save(content, unfinished)

    def _geometry(self, index: int, batch: Mapping[str, Tensor]) -> Any:
        """Return the batch's geometry, with curves in an order that the seed alone decides."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEEDS * (self.seed + 1) + index)
            return self.student.prepare(batch)

    def read(self, index: int) -> Batch:
        """Return a batch on the device, with its geometry and targets.

        Raises
        ------
        UserError
            If its file is missing or damaged.
        """
        content = read_tensors(self.path(index), FORMAT, "kept batch")
        batch = to_device(content["batch"], self.device)
        targets = None
        if self.with_targets:
            targets = TeacherTargets(
                content["logits"].to(self.device),
                to_device(content["features"], self.device),
                to_device(content["saliency"], self.device),
            )
        kept = KeptTargets(self._geometry(index, batch), targets)
        made = Batch(batch, names=tuple(content["names"]), kept=kept)
        return made if self.labeled is None else hide_labels(made, self.labeled)

    def ends(self, epochs: int) -> list[int]:
        """Return how many steps there are up to the end of each pass."""
        return [self.number * (epoch + 1) for epoch in range(epochs)]

    def batches(self, epoch_ends: Sequence[int], done: int) -> Iterator[Batch]:
        """Yield the batches of all passes after the first `done`, each pass in its own order."""
        for epoch in range(len(epoch_ends)):
            generator = torch.Generator().manual_seed(_SEEDS * (self.seed + 1) - 1 - epoch)
            order = torch.randperm(self.number, generator=generator).tolist()
            for place, index in enumerate(order):
                if epoch * self.number + place >= done:
                    yield self.read(index)
