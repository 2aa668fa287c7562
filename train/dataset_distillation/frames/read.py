"""LiDAR frames as clouds of one size: cropped, drawn, and in a unit that is known.

They are read through the dataset's own source, real or simulated. All frames are clouds of one
class, a scene; the semantic classes of their points are the parts. Scale and origin are kept:
coordinates are divided by one number of meters, the same for all frames.

Shape letters: B frames, N points of each, C classes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray
from tyro.conf import arg

from train.core.command import Names
from train.core.console import logger
from train.core.distributed import first_process_first
from train.core.errors import UserError
from train.data.dataset_spec import DATASETS, dataset_spec
from train.data.frame import IGNORE_INDEX, FrameSource, LidarFrame
from train.dataset_distillation.clouds import NO_PART, PointClouds
from train.dataset_distillation.options import refuse_below

SCENE: Final = "scene"
"""The one class that all frames are of."""


@dataclass(frozen=True, kw_only=True)
class FrameFlags:
    """LiDAR frames: their semantic classes are the parts."""

    dataset: Annotated[
        str | None,
        arg(
            metavar="NAME",
            help="distill LiDAR frames whose semantic classes are the parts, those of this dataset "
            f"below --data: {', '.join(DATASETS)}",
        ),
    ] = None
    simulate: bool = False
    """simulate them, in the dataset's own format, below --data or --output"""
    range_m: Annotated[float, arg(metavar="R")] = 25.0
    """crop frames to this, along the ground and in height"""
    frames: Annotated[int, arg(metavar="B", aliases=("--max-frames",))] = 128
    """training frames that are read, evenly spread"""
    test_frames: Annotated[int, arg(metavar="B")] = 32
    """held-out frames, evenly spread; 0 for none"""
    simulated_frames: Annotated[int, arg(metavar="B", aliases=("--data.simulated-frames",))] = 32
    """training frames to simulate"""
    simulated_test_frames: Annotated[
        int, arg(metavar="B", aliases=("--data.simulated-validation-frames",))
    ] = 16
    """held-out frames to simulate"""
    azimuth_steps: Annotated[int, arg(metavar="B", aliases=("--data.simulated-azimuth-steps",))] = (
        400
    )
    """columns in a turn of the simulated sensor"""
    train_sequences: Annotated[Names, arg(aliases=("--data.train-sequences",))] = ()
    """[the official split]"""
    validation_sequences: Annotated[Names, arg(aliases=("--data.validation-sequences",))] = ()
    """[the official split]"""


@dataclass(frozen=True, kw_only=True)
class FrameData(FrameFlags):
    """Which frames are read, and what is taken of each.

    Attributes
    ----------
    root
        The data root; simulated frames are written to it first.
    layout
        Options of `kitti-layout`, by name.
    points
        N, drawn without repeats of those within the range, which is the unit of the coordinates.
    seed
        Of the draw of points, and of the simulation.
    """

    root: Path
    layout: Mapping[str, Any] = field(default_factory=dict)
    points: int = 1024
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what no frame can be taken with."""
        refuse_below(2, {"--points": self.points})
        refuse_below(1, {"--frames": self.frames})
        refuse_below(0, {"--test-frames": self.test_frames})
        if not 0 < self.range_m < float("inf"):
            raise UserError(f"--range-m {self.range_m}: a number of meters above 0")


def read_frames(source: FrameSource, class_names: Sequence[str], wanted: FrameData) -> PointClouds:
    """Read frames evenly spread over a source with labels; class names are by train id."""
    number = min(wanted.frames, len(source))
    chosen = np.linspace(0, len(source) - 1, number).round().astype(np.int64)
    return frame_clouds((source[int(index)] for index in chosen), class_names, wanted)


def frame_clouds(
    frames: Iterable[LidarFrame], class_names: Sequence[str], wanted: FrameData
) -> PointClouds:
    """Return labeled frames as clouds of one size, without those that have no point that counts.

    Class names are by train id; points beyond the range, along the ground or in height, are
    cropped, and the range is the unit of the coordinates. What is drawn of each frame depends on
    the seed and its place here. UserError if a frame has fewer points in the range than are asked
    for, or no labels, or no frame has a point that counts.
    """
    points, strengths, parts, names, seen = [], [], [], [], 0
    for place, frame in enumerate(frames):
        seen += 1
        if frame.segment is None:
            raise UserError(f"{frame.path}: frame {frame.name} has no labels; leave it out")
        inside = within(frame.coord, wanted.range_m)
        if len(inside) < wanted.points:
            raise UserError(
                f"{frame.path}: frame {frame.name} has {len(inside)} points within "
                f"{wanted.range_m:g} m, fewer than the {wanted.points} asked for; ask for fewer "
                "(--points), or for a larger --range-m"
            )
        rng = np.random.default_rng([wanted.seed, place])
        rows = inside[rng.choice(len(inside), size=wanted.points, replace=False)]
        if (frame.segment[rows] == IGNORE_INDEX).all():
            continue
        points.append(frame.coord[rows] / np.float32(wanted.range_m))
        strengths.append(frame.strength[rows, 0])
        parts.append(np.where(frame.segment[rows] == IGNORE_INDEX, NO_PART, frame.segment[rows]))
        names.append(frame.name)
    if not points:
        raise UserError(
            f"none of {seen} frames has a point with a class that counts within "
            f"{wanted.range_m:g} m: nothing can be learned; look at the labels and at how they "
            "are mapped to classes"
        )
    return PointClouds(
        np.stack(points).astype(np.float32),
        np.zeros(len(points), dtype=np.int64),
        (SCENE,),
        np.stack(parts).astype(np.int64),
        tuple(class_names),
        strength=np.stack(strengths).astype(np.float32),
        meters=float(wanted.range_m),
        names=tuple(names),
    )


def within(coord: NDArray[np.float32], range_m: float) -> NDArray[np.int64]:
    """Return which points (N, 3) lie within a range along the ground, and in height."""
    near = np.hypot(coord[:, 0], coord[:, 1]) <= range_m
    return np.flatnonzero(near & (np.abs(coord[:, 2]) <= range_m)).astype(np.int64)


def read_frame_data(
    wanted: FrameData, *, needs_test: bool = False
) -> tuple[PointClouds, PointClouds | None]:
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
    spec = dataset_spec(wanted.dataset or "", wanted.layout)
    train_sequences, test_sequences = wanted.train_sequences, wanted.validation_sequences
    if needs_test and not wanted.test_frames:
        raise UserError("--test-frames 0: there is nothing to score on; give at least 1")
    with first_process_first():
        if wanted.simulate:
            made = spec.simulate(
                wanted.root,
                num_frames=wanted.simulated_frames,
                num_validation_frames=wanted.simulated_test_frames,
                azimuth_steps=wanted.azimuth_steps,
                seed=wanted.seed,
            )
            train_sequences, test_sequences = made.training_sequences, made.validation_sequences
        source = spec.open(wanted.root, "training", sequences=train_sequences)
        train = read_frames(source, spec.class_names, wanted)
        if not wanted.test_frames:
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
        others = replace(wanted, frames=wanted.test_frames, seed=wanted.seed + 1)
        return train, read_frames(held_out, spec.class_names, others)
