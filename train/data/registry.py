"""Which datasets there are, and how each is opened and simulated."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from train.data import semantickitti
from train.data.simulate import SimulatedData
from train.data.submission import Submission
from train.data.sweep import SweepSource
from train.errors import UserError
from train.metrics import SEMANTICKITTI_RULE, BenchmarkRule


class Opener(Protocol):
    """How a dataset's sweeps are opened; the same for all datasets."""

    def __call__(
        self,
        root: Path | str,
        split: str = "training",
        *,
        sequences: Sequence[str] = (),
        require_labels: bool = True,
        cache_dir: Path | None = None,
    ) -> SweepSource:
        """Return the sweeps of a split, or of the sequences that are named, whatever their split.

        `cache_dir` is where an index may be kept; None leaves the place to the dataset.
        """


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset as the training command sees it.

    Attributes
    ----------
    name
        What `--dataset` says.
    class_names
        In the order of train ids.
    sequence_word
        What the dataset calls a drive.
    open
        Gives a `SweepSource`.
    list_sequences
        `list_sequences(root)` names the sequences that are there, of all splits.
    simulate
        `simulate(root, *, num_sweeps, num_validation_sweeps, seed, azimuth_steps)` makes data.
    benchmark_rule
        How the benchmark's own tool takes the mean.
    submission
        `submission(output, source)` collects predictions for the benchmark's server.
    submission_suffix
        Of the file that it writes.
    sensor_origin_m
        Where the main sensor is in the frame of the points; pictures look from there.
    forward_deg
        The vehicle's heading in that frame, from x towards y.
    """

    name: str
    class_names: tuple[str, ...]
    sequence_word: str
    open: Opener
    list_sequences: Callable[[Path], tuple[str, ...]]
    simulate: Callable[..., SimulatedData]
    benchmark_rule: BenchmarkRule
    submission: Callable[[Path, SweepSource], Submission]
    submission_suffix: str
    sensor_origin_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    forward_deg: float = 0.0


DATASETS: Final = {
    spec.name: spec
    for spec in (
        DatasetSpec(
            name="semantickitti",
            class_names=semantickitti.CLASS_NAMES,
            sequence_word="sequence",
            open=semantickitti.SemanticKitti,
            list_sequences=semantickitti.list_sequences,
            simulate=semantickitti.simulate_semantickitti,
            benchmark_rule=SEMANTICKITTI_RULE,
            submission=semantickitti.SemanticKittiSubmission,
            submission_suffix=".zip",
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
