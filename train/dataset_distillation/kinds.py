"""What a set is of: objects with classes, objects with parts, or LiDAR frames.

Each kind says how real clouds are read, how a generator starts, and how a network that learns from
the result is trained and scored. All else is one path, from `command` through `make` to `folder`.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

from train.core.errors import UserError
from train.data.readers.class_map_file import CLASS_MAP_FILE
from train.dataset_distillation.clouds import PointClouds
from train.dataset_distillation.flags import SIMULATED, Flags
from train.dataset_distillation.folder import FRAMES_PICTURE, OBJECTS_PICTURE
from train.dataset_distillation.frames.folder import refuse_frames_of_others
from train.dataset_distillation.frames.read import FrameData, read_frame_data
from train.dataset_distillation.networks.classifiers import NETWORKS
from train.dataset_distillation.networks.segmenters import SEGMENTERS, build_segmenter
from train.dataset_distillation.objects.simulated import SimulatedSet
from train.dataset_distillation.options import (
    LEARNED,
    PAPER,
    QUICK,
    QUICK_FRAMES,
    DistillOptions,
    RotatorOptions,
    Task,
)
from train.dataset_distillation.prepare import read_real
from train.dataset_distillation.start import QUICK_START, StartOptions
from train.dataset_distillation.training import (
    ClassTraining,
    FrameTraining,
    PartTraining,
    Training,
)


class Objects:
    """Object clouds whose classes are learned, as flags ask for them."""

    task: ClassVar[Task] = "classes"
    quick: ClassVar[Mapping[str, Any]] = QUICK
    """What `--preset quick` sets."""
    picture: ClassVar[str] = OBJECTS_PICTURE

    def __init__(self, flags: Flags) -> None:
        self.flags = flags
        self.networks = flags.evaluation.evaluate
        self.shared: dict[str, Any] = {"epochs": flags.evaluation.epochs, "seed": flags.seed}

    def check(self) -> None:
        """Refuse flags that do not go together, before hours of work."""
        if self.flags.frames.simulate:
            raise UserError("--simulate: is for LiDAR frames; say of which --dataset")
        for odd in (name for name in self.networks if name not in NETWORKS):
            if odd in SEGMENTERS:
                raise UserError(f"--evaluate {odd}: is for LiDAR frames; say of which --dataset")
            raise UserError(f"--evaluate {odd}: choose some of {', '.join(NETWORKS)}")

    def read(self) -> tuple[PointClouds, PointClouds | None, str]:
        """Return training and held-out clouds, and what the log says of them."""
        flags = self.flags
        wanted = SimulatedSet(**asdict(flags.simulation), num_points=flags.points, seed=flags.seed)
        train, test = read_real(flags.data, flags.output, wanted, flags.points, flags.seed)
        return train, test, f"{len(train)} clouds of {len(train.classes)} classes"

    def start(self) -> StartOptions | None:
        """Return how a generator is fitted to real points first; None for as its options say."""
        return None

    def trainings(self) -> list[Training[Any]]:
        """Return how the networks that --evaluate names are trained."""
        return [ClassTraining(network=name, **self.shared) for name in self.networks]

    def advice(self) -> str:
        """Return what the last line of the log says more."""
        return ""


class Parts(Objects):
    """Object clouds whose parts are learned; their generator starts from noise."""

    task: ClassVar[Task] = "parts"
    quick: ClassVar[Mapping[str, Any]] = {}

    def check(self) -> None:
        """Refuse flags that do not go together, before hours of work."""
        if set(self.networks) - {"pointnet"}:
            raise UserError("--evaluate: of parts, pointnet alone can be evaluated")
        super().check()

    def trainings(self) -> list[Training[Any]]:
        """Return how the one network is trained."""
        return [PartTraining(**self.shared)] if self.networks else []


class Frames(Objects):
    """LiDAR frames, whose semantic classes are the parts."""

    task: ClassVar[Task] = "parts"
    quick: ClassVar[Mapping[str, Any]] = QUICK_FRAMES
    picture: ClassVar[str] = FRAMES_PICTURE

    def check(self) -> None:
        """Refuse flags that do not go together, before hours of work."""
        if self.flags.task == "classes":
            raise UserError(
                "--task classes: of LiDAR frames, the classes of points are learned: parts"
            )
        if self.flags.orientation.rotated:
            raise UserError("--rotated: LiDAR frames know which way is up; leave it out")
        if odd := [name for name in self.networks if name not in SEGMENTERS]:
            raise UserError(
                f"--evaluate {odd[0]}: of LiDAR frames, choose {' or '.join(SEGMENTERS)}"
            )
        for name in self.networks:
            build_segmenter(name, 2, self.flags.evaluation.grid_size_m, self.flags.frames.range_m)

    def read(self) -> tuple[PointClouds, PointClouds | None, str]:
        """Return training and held-out frames, and what the log says of them."""
        flags = self.flags
        refuse_frames_of_others(flags.output)
        simulated = flags.data == SIMULATED
        given = asdict(flags.frames) | {"simulate": flags.frames.simulate or simulated}
        wanted = FrameData(
            **given,
            root=flags.output / SIMULATED if simulated else Path(flags.data),
            layout=asdict(flags.layout),
            points=flags.points,
            seed=flags.seed,
        )
        train, test = read_frame_data(wanted, needs_test=bool(self.networks))
        told = f"{len(train)} frames of {train.num_points:,} points within {train.meters:g} m"
        return train, test, f"{told}, {len(train.part_names)} classes"

    def start(self) -> StartOptions | None:
        """Return how a generator is fitted to real points first; a flag wins over the preset."""
        learning = self.flags.learning
        given: dict[str, Any] = {"steps": learning.start_steps, "share_power": learning.share_power}
        return replace(
            QUICK_START if starts_from_real(self.flags) else StartOptions(),
            frames=learning.start_frames,
            **{name: value for name, value in given.items() if value is not None},
        )

    def trainings(self) -> list[Training[Any]]:
        """Return how the networks that --evaluate names are trained."""
        more: dict[str, Any] = {
            "test_every": max(1, self.flags.evaluation.epochs // 4),
            "grid_size_m": self.flags.evaluation.grid_size_m,
        }
        return [FrameTraining(network=name, **self.shared, **more) for name in self.networks]

    def advice(self) -> str:
        """Return what the last line of the log says more: how to train on the frames."""
        folder = self.flags.output
        return (
            f"; train on it with: python -m train.run --dataset kitti-layout --data-root {folder} "
            f"--data.class-map {folder / CLASS_MAP_FILE}"
        )


def kind_of(flags: Flags) -> Objects:
    """Return the kind that the flags ask for."""
    if flags.frames.dataset is not None:
        return Frames(flags)
    return Parts(flags) if flags.task == "parts" else Objects(flags)


def starts_from_real(flags: Flags) -> bool:
    """Return whether the quick preset holds: it begins near real data, where few steps can end."""
    return (
        flags.learning.preset == "quick"
        and flags.method in LEARNED
        and flags.learning.start != "noise"
        and flags.learning.start_steps != 0
    )


def distill_options(flags: Flags) -> DistillOptions:
    """Return what the flags say of a distillation; a flag wins over the preset."""
    kind, learning, turned = kind_of(flags), flags.learning, flags.orientation
    preset: dict[str, Any] = {}
    if learning.preset == "paper":
        preset = dict(PAPER)
    elif starts_from_real(flags):
        preset = dict(kind.quick)
    of_objects = flags.frames.dataset is None
    given = {
        "points": learning.distill_points,
        "iterations": learning.iterations,
        "outer": learning.outer,
        "inner": learning.inner,
        "real_batch": learning.real_batch,
        "lr": learning.lr,
        "w0": learning.w0,
        "start": learning.start,
        "start_steps": learning.start_steps if of_objects else None,
        "widths": learning.pointnet_widths or None,
    }
    preset |= {name: value for name, value in given.items() if value is not None}
    return DistillOptions(
        method=flags.method,
        task=kind.task,
        clouds_per_class=flags.cpc,
        coordinate_lr=learning.coordinate_lr,
        width=learning.width,
        layers=learning.layers,
        rotator=RotatorOptions(
            mode=turned.rotator or ("frozen" if turned.rotated else "none"),
            proper=turned.proper,
            upright=turned.upright,
            periods=turned.rotator_periods,
        ),
        seed=flags.seed,
        **preset,
    )
