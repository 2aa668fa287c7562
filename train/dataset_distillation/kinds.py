"""What a set is of: objects with classes, objects with parts, or LiDAR frames.

Each kind says how real clouds are read, how a generator starts, and how a network that learns from
the result is trained and scored. All else is one path, from `command` through `make` to `folder`.
"""

import argparse
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Final

from train.core.errors import UserError
from train.data.layout_flags import layout_options
from train.dataset_distillation.clouds import PointClouds
from train.dataset_distillation.folder import FRAMES_PICTURE, OBJECTS_PICTURE
from train.dataset_distillation.frames.folder import refuse_frames_of_others
from train.dataset_distillation.frames.read import FrameData, FrameOptions, read_frame_data
from train.dataset_distillation.networks.build import NETWORKS
from train.dataset_distillation.networks.segmenters import SEGMENTERS, build_segmenter
from train.dataset_distillation.options import QUICK, QUICK_FRAMES
from train.dataset_distillation.prepare import read_real
from train.dataset_distillation.simulated.objects import SimulatedSet
from train.dataset_distillation.start import QUICK_START, StartOptions
from train.dataset_distillation.tasks import Task
from train.dataset_distillation.training import (
    ClassTraining,
    FrameTraining,
    PartTraining,
    Training,
)
from train.simulation.kitti_layout import CLASS_MAP_FILE

SIMULATED: Final = "simulated"
"""The word that --data takes for simulated clouds, and the folder of frames below --output."""


class Kind(ABC):
    """What the command does for one kind of set; `options` are its flags."""

    task: ClassVar[Task]
    quick: ClassVar[Mapping[str, Any]] = {}
    """What `--preset quick` sets."""
    picture: ClassVar[str] = OBJECTS_PICTURE

    @abstractmethod
    def check(self, options: argparse.Namespace) -> None:
        """Refuse flags that do not go together, before hours of work."""

    @abstractmethod
    def read(
        self,
        options: argparse.Namespace,
    ) -> tuple[PointClouds, PointClouds | None, str]:
        """Return training and held-out clouds, and what the log says of them."""

    @abstractmethod
    def trainings(self, options: argparse.Namespace) -> list[Training[Any]]:
        """Return how the networks that --evaluate names are trained."""

    def start(self, options: argparse.Namespace, *, quick: bool) -> StartOptions | None:
        """Return how a generator is fitted to real points first, where its options do not say."""
        return None

    def advice(self, options: argparse.Namespace) -> str:
        """Return what the last line of the log says more."""
        return ""


class Objects(Kind):
    """Object clouds whose classes are learned."""

    task: ClassVar[Task] = "classes"
    quick: ClassVar[Mapping[str, Any]] = QUICK

    def check(self, options: argparse.Namespace) -> None:
        """See `Kind`."""
        if options.simulate:
            raise UserError("--simulate: is for LiDAR frames; say of which --dataset")
        if odd := [name for name in options.evaluate if name not in NETWORKS]:
            raise UserError(f"--evaluate {odd[0]}: is for LiDAR frames; say of which --dataset")

    def read(
        self,
        options: argparse.Namespace,
    ) -> tuple[PointClouds, PointClouds | None, str]:
        """See `Kind`."""
        wanted = SimulatedSet(
            source=options.source,
            train_per_class=options.train_per_class,
            test_per_class=options.test_per_class,
            num_points=options.points,
            seed=options.seed,
        )
        train, test = read_real(options.data, options.output, wanted, options.points, options.seed)
        return train, test, f"{len(train)} clouds of {len(train.classes)} classes"

    def trainings(self, options: argparse.Namespace) -> list[Training[Any]]:
        """See `Kind`."""
        return [
            ClassTraining(network=name, epochs=options.epochs, seed=options.seed)
            for name in options.evaluate
        ]


class Parts(Objects):
    """Object clouds whose parts are learned; their generator starts from noise."""

    task: ClassVar[Task] = "parts"
    quick: ClassVar[Mapping[str, Any]] = {}

    def check(self, options: argparse.Namespace) -> None:
        """See `Kind`."""
        if set(options.evaluate) - {"pointnet"}:
            raise UserError("--evaluate: of parts, pointnet alone can be evaluated")
        super().check(options)

    def trainings(self, options: argparse.Namespace) -> list[Training[Any]]:
        """See `Kind`."""
        if not options.evaluate:
            return []
        return [PartTraining(epochs=options.epochs, seed=options.seed)]


class Frames(Kind):
    """LiDAR frames, whose semantic classes are the parts."""

    task: ClassVar[Task] = "parts"
    quick: ClassVar[Mapping[str, Any]] = QUICK_FRAMES
    picture = FRAMES_PICTURE

    def check(self, options: argparse.Namespace) -> None:
        """See `Kind`."""
        if options.task == "classes":
            raise UserError(
                "--task classes: of LiDAR frames, the classes of points are learned: parts"
            )
        if options.rotated:
            raise UserError("--rotated: LiDAR frames know which way is up; leave it out")
        if odd := [name for name in options.evaluate if name not in SEGMENTERS]:
            raise UserError(
                f"--evaluate {odd[0]}: of LiDAR frames, choose {' or '.join(SEGMENTERS)}"
            )
        for name in options.evaluate:
            build_segmenter(name, 2, options.grid_size_m, options.range_m)

    def read(
        self,
        options: argparse.Namespace,
    ) -> tuple[PointClouds, PointClouds | None, str]:
        """See `Kind`."""
        refuse_frames_of_others(options.output)
        train, test = read_frame_data(frame_data(options), needs_test=bool(options.evaluate))
        return (
            train,
            test,
            (
                f"{len(train)} frames of {train.num_points:,} points within {train.meters:g} m, "
                f"{len(train.part_names)} classes"
            ),
        )

    def trainings(self, options: argparse.Namespace) -> list[Training[Any]]:
        """See `Kind`."""
        return [
            FrameTraining(
                network=name,
                epochs=options.epochs,
                test_every=max(1, options.epochs // 4),
                grid_size_m=options.grid_size_m,
                seed=options.seed,
            )
            for name in options.evaluate
        ]

    def start(self, options: argparse.Namespace, *, quick: bool) -> StartOptions | None:
        """See `Kind`; a flag wins over the preset."""
        given = {"steps": options.start_steps, "share_power": options.share_power}
        return replace(
            QUICK_START if quick else StartOptions(),
            frames=options.start_frames,
            **{name: value for name, value in given.items() if value is not None},
        )

    def advice(self, options: argparse.Namespace) -> str:
        """See `Kind`."""
        folder = options.output
        return (
            f"; train on it with: python -m train.run --dataset kitti-layout --data-root {folder} "
            f"--data.class-map {folder / CLASS_MAP_FILE}"
        )


def kind_of(options: argparse.Namespace) -> Kind:
    """Return the kind that the flags ask for."""
    if options.dataset is not None:
        return Frames()
    return Parts() if options.task == "parts" else Objects()


def frame_data(options: argparse.Namespace) -> FrameData:
    """Return which frames the flags ask for."""
    simulated = options.data == SIMULATED
    return FrameData(
        dataset=options.dataset,
        root=options.output / SIMULATED if simulated else Path(options.data),
        train_sequences=tuple(options.train_sequences),
        validation_sequences=tuple(options.validation_sequences),
        layout=layout_options(options),
        take=FrameOptions(
            points=options.points,
            range_m=options.range_m,
            most=options.frames,
            seed=options.seed,
        ),
        test_most=options.test_frames,
        simulate=options.simulate or simulated,
        simulated_frames=options.simulated_frames,
        simulated_test_frames=options.simulated_test_frames,
        azimuth_steps=options.azimuth_steps,
        seed=options.seed,
    )
