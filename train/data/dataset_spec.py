"""What a dataset is to the commands: how it is opened, scored, simulated and submitted."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from train.core.errors import UserError
from train.data.benchmark_rule import BenchmarkRule
from train.data.frame import FrameSource
from train.data.open_options import OpenOptions
from train.data.submission import Submission


@dataclass(frozen=True)
class SimulatedData:
    """Where simulated frames are, and which of them are for what.

    Attributes
    ----------
    root
        The data root to give to the loader.
    training_sequences, validation_sequences
        The sequences that were written.
    reused
        True if an earlier run had written the same frames already.
    """

    root: Path
    training_sequences: tuple[str, ...]
    validation_sequences: tuple[str, ...]
    reused: bool


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """A dataset as the commands see it; each dataset's folder exports one as `SPEC`.

    Attributes
    ----------
    name
        What `--dataset` says.
    class_names
        In the order of train ids.
    sequence_word
        What the dataset calls a drive.
    reader
        `reader(root, options)` opens the frames; see `open`.
    list_sequences
        `list_sequences(root)` names the sequences that are there, of all splits.
    benchmark_rule
        How the benchmark's own tool takes the mean.
    simulator
        "module:function" that writes simulated frames in the dataset's own format, called as
        `simulate` says; imported when it is called. None: the dataset cannot be simulated.
    submission
        `submission(output, source, account)` collects predictions for the benchmark's server;
        `account` is the user's name there, for those that want it in the file. None: there is no
        server.
    submission_suffix
        Of the file that it writes.
    submission_needs_account
        Whether the server refuses a file without the user's account.
    sensor_origin_m
        Where the main sensor is in the frame of the points; pictures look from there.
    forward_deg
        The vehicle's heading in that frame, from x towards y.
    ground_z_m
        Where a level street lies in that frame; None if that differs from vehicle to vehicle.
    slow_to_decode
        Whether decoding a frame takes longer than all that follows, so that decoded frames are kept
        on disk unless a flag says otherwise.
    has_cameras
        Whether `reader` and `simulator` know cameras.
    """

    name: str
    class_names: tuple[str, ...]
    sequence_word: str
    reader: Callable[[Path, OpenOptions], FrameSource]
    list_sequences: Callable[[Path], tuple[str, ...]]
    benchmark_rule: BenchmarkRule
    simulator: str | None = None
    submission: Callable[[Path, FrameSource, str], Submission] | None = None
    submission_suffix: str = ""
    submission_needs_account: bool = False
    sensor_origin_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    forward_deg: float = 0.0
    ground_z_m: float | None = None
    slow_to_decode: bool = False
    has_cameras: bool = False

    def open(
        self,
        root: Path | str,
        split: str = "training",
        *,
        sequences: Sequence[str] = (),
        require_labels: bool = True,
        cache_dir: Path | None = None,
        strict: bool = True,
        cameras: bool = False,
    ) -> FrameSource:
        """Return the frames under a data root that `OpenOptions` with these values chooses.

        Raises
        ------
        UserError
            As `OpenOptions`; or if the data is laid out otherwise, damaged, or not there.
        """
        options = OpenOptions(
            split=split,
            sequences=sequences,
            require_labels=require_labels,
            cache_dir=cache_dir,
            strict=strict,
            cameras=cameras,
        )
        return self.reader(Path(root), options)

    def simulate(
        self,
        root: Path,
        *,
        num_sweeps: int,
        num_validation_sweeps: int,
        azimuth_steps: int,
        seed: int,
        cameras: bool = False,
    ) -> SimulatedData:
        """Write simulated frames under `root`, or find that they are there; images if asked for.

        Raises
        ------
        UserError
            If the dataset has no simulator, or no cameras where images are asked for, an option is
            out of range, or `root` holds other data.
        """
        if self.simulator is None:
            raise UserError(
                f"--simulate: {self.name} has no simulator; give --data-root with real frames"
            )
        self.check_cameras(cameras)
        module, function = self.simulator.split(":")
        simulated: SimulatedData = getattr(importlib.import_module(module), function)(
            root,
            num_sweeps=num_sweeps,
            num_validation_sweeps=num_validation_sweeps,
            azimuth_steps=azimuth_steps,
            seed=seed,
            **({"cameras": True} if cameras else {}),
        )
        return simulated

    def check_cameras(self, wanted: bool) -> None:
        """Refuse to look for images in a dataset that has none.

        Raises
        ------
        UserError
            If cameras are wanted and there are none.
        """
        if wanted and not self.has_cameras:
            raise UserError(
                f"--dataset {self.name}: its frames come without camera images; choose nuscenes, "
                "waymo or semantickitti, or a method that needs none"
            )
