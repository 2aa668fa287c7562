"""Which datasets there are, and how each is opened and simulated."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from train.data import semantickitti
from train.data.simulate import SimulatedData, simulate_semantickitti
from train.data.sweep import SweepSource
from train.errors import UserError


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset as the training command sees it.

    Attributes
    ----------
    name
        What `--dataset` says.
    class_names
        In the order of train ids.
    training_sequences, validation_sequences
        The official splits.
    open
        `open(root, sequences, *, require_labels=True)` gives a `SweepSource`.
    list_sequences
        `list_sequences(root)` names the sequences that are there.
    simulate
        `simulate(root, *, num_sweeps, num_validation_sweeps, seed, azimuth_steps)` makes data.
    """

    name: str
    class_names: tuple[str, ...]
    training_sequences: tuple[str, ...]
    validation_sequences: tuple[str, ...]
    open: Callable[..., SweepSource]
    list_sequences: Callable[[Path], tuple[str, ...]]
    simulate: Callable[..., SimulatedData]

    def open_training(self, root: Path, sequences: Sequence[str] | None = None) -> SweepSource:
        """Return the labelled training sweeps, of the official split if no sequences are given."""
        return self.open(root, self.training_sequences if sequences is None else sequences)

    def open_validation(self, root: Path, sequences: Sequence[str] | None = None) -> SweepSource:
        """Return the labelled validation sweeps, of the official split if none are given."""
        return self.open(root, self.validation_sequences if sequences is None else sequences)


DATASETS: Final = {
    spec.name: spec
    for spec in (
        DatasetSpec(
            name="semantickitti",
            class_names=semantickitti.CLASS_NAMES,
            training_sequences=semantickitti.TRAIN_SEQUENCES,
            validation_sequences=semantickitti.VALIDATION_SEQUENCES,
            open=semantickitti.SemanticKitti,
            list_sequences=semantickitti.list_sequences,
            simulate=simulate_semantickitti,
        ),
    )
}


def dataset_spec(name: str) -> DatasetSpec:
    """Return a dataset by name.

    Raises
    ------
    UserError
        If there is no such dataset; the message lists those there are.
    """
    if name not in DATASETS:
        raise UserError(f"unknown dataset {name!r}; known: {', '.join(sorted(DATASETS))}")
    return DATASETS[name]
