"""Which datasets there are, and how each is opened and simulated."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from train.data import nuscenes, semantickitti, waymo
from train.data.simulate import SimulatedData
from train.data.submission import Submission
from train.data.sweep import SweepSource
from train.errors import UserError
from train.metrics import NUSCENES_RULE, SEMANTICKITTI_RULE, WAYMO_RULE, BenchmarkRule


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
        strict: bool = True,
    ) -> SweepSource:
        """Return the sweeps of a split, or of the sequences that are named, whatever their split.

        `cache_dir` is where an index may be kept; None leaves the place to the dataset. `strict`
        refuses what opening shows to be damaged; otherwise it is left out and in `unreadable`.
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
        `submission(output, source, account)` collects predictions for the benchmark's server;
        `account` is the user's name there, for those that want it in the file.
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
    submission: Callable[[Path, SweepSource, str], Submission]
    submission_suffix: str
    sensor_origin_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    forward_deg: float = 0.0


def _semantickitti_submission(output: Path, source: SweepSource, account: str) -> Submission:
    del account
    return semantickitti.SemanticKittiSubmission(output, source)


def _nuscenes_submission(output: Path, source: SweepSource, account: str) -> Submission:
    del account
    return nuscenes.NuScenesSubmission(output, source)


def _waymo_submission(output: Path, source: SweepSource, account: str) -> Submission:
    if not isinstance(source, waymo.Waymo):
        raise TypeError(f"submission: source must be a Waymo, not a {type(source).__name__}")
    return waymo.WaymoSubmission(
        output, source, account_name=account, method_name="topology and gradient distillation"
    )


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
            submission=_semantickitti_submission,
            submission_suffix=".zip",
        ),
        DatasetSpec(
            name="nuscenes",
            class_names=nuscenes.CLASS_NAMES,
            sequence_word="scene",
            open=nuscenes.NuScenes,
            list_sequences=nuscenes.list_scenes,
            simulate=nuscenes.simulate_nuscenes,
            benchmark_rule=NUSCENES_RULE,
            submission=_nuscenes_submission,
            submission_suffix=".zip",
            forward_deg=90.0,
        ),
        DatasetSpec(
            name="waymo",
            class_names=waymo.CLASS_NAMES,
            sequence_word="segment",
            open=waymo.Waymo,
            list_sequences=waymo.list_sequences,
            simulate=waymo.simulate_waymo,
            benchmark_rule=WAYMO_RULE,
            submission=_waymo_submission,
            submission_suffix=".bin",
            sensor_origin_m=(1.43, 0.0, 2.18),
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
