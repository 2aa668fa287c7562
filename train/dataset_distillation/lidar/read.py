"""Opens the frames of a dataset, real or simulated, through its own source, and reads some."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from train.core.console import logger
from train.core.distributed import first_process_first
from train.core.errors import UserError
from train.data.registry import dataset_spec
from train.dataset_distillation.lidar.frames import FrameClouds, FrameOptions, read_frames


@dataclass(frozen=True, kw_only=True)
class FrameData:
    """Which frames are read.

    Attributes
    ----------
    dataset
        A name of `train.data.registry.DATASETS`.
    root
        The data root.
    train_sequences, validation_sequences
        None for the official split.
    layout
        Options of `kitti-layout`, by name.
    take
        What is taken of each training frame.
    test_most
        Frames that are held out to be scored on, at most; 0 for none.
    simulate
        Write simulated frames to `root` first.
    simulated_frames, simulated_test_frames, azimuth_steps, seed
        Of the simulation.
    """

    dataset: str
    root: Path
    train_sequences: tuple[str, ...] = ()
    validation_sequences: tuple[str, ...] = ()
    layout: Mapping[str, Any] = field(default_factory=dict)
    take: FrameOptions = field(default_factory=FrameOptions)
    test_most: int = 32
    simulate: bool = False
    simulated_frames: int = 32
    simulated_test_frames: int = 16
    azimuth_steps: int = 400
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a negative number of frames."""
        if self.test_most < 0:
            raise UserError(f"--test-frames {self.test_most}: 0 or more")


def read_frame_data(
    wanted: FrameData, *, needs_test: bool = False
) -> tuple[FrameClouds, FrameClouds | None]:
    """Return training frames, and held-out ones of other sequences where there are any.

    Parameters
    ----------
    wanted
        Which.
    needs_test
        Refuse data without held-out frames; otherwise the log says why there are none.

    Raises
    ------
    UserError
        If the dataset is unknown, its frames cannot be opened, or `frame_clouds` refuses them.
    """
    spec = dataset_spec(wanted.dataset, wanted.layout)
    train_sequences, test_sequences = wanted.train_sequences, wanted.validation_sequences
    if needs_test and not wanted.test_most:
        raise UserError("--test-frames 0: there is nothing to score on; give at least 1")
    with first_process_first():
        if wanted.simulate:
            made = spec.simulate(
                wanted.root,
                num_sweeps=wanted.simulated_frames,
                num_validation_sweeps=wanted.simulated_test_frames,
                azimuth_steps=wanted.azimuth_steps,
                seed=wanted.seed,
            )
            train_sequences, test_sequences = made.training_sequences, made.validation_sequences
        source = spec.open(wanted.root, "training", sequences=train_sequences)
        train = read_frames(source, spec.class_names, wanted.take)
        if not wanted.test_most:
            return train, None
        try:
            held_out = spec.open(wanted.root, "validation", sequences=test_sequences)
        except UserError as error:
            if needs_test or test_sequences:
                raise
            logger.info(f"no held-out frames: {error}")
            return train, None
        if shared := sorted(set(source.names) & set(held_out.names)):
            raise UserError(
                f"{wanted.root}: frame {shared[0]} and {len(shared) - 1} more are both trained on "
                "and held out; name other --validation-sequences"
            )
        take = FrameOptions(
            points=wanted.take.points,
            range_m=wanted.take.range_m,
            most=wanted.test_most,
            seed=wanted.take.seed + 1,
        )
        return train, read_frames(held_out, spec.class_names, take)
