"""The command that distills a set of point clouds, or samples what was distilled again.

topodistill distill-data --method dd3d --data simulated --cpc 1 --output runs/dd3d
topodistill distill-data --dataset waymo --data simulated --output runs/dd3d-frames

A set is of objects with classes, of objects with parts, or of LiDAR frames. Each kind says how real
clouds are read, how a generator starts, and how a network that learns from the result is trained
and scored; all else is one path.
"""

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Final

import torch

from train.core.atomic_write import make_folder
from train.core.command import Command
from train.core.console import logger
from train.core.device import describe_device
from train.core.distributed import (
    first_process_first,
    is_first_process,
    process_device,
    process_group,
)
from train.core.errors import UserError
from train.core.provenance import processor
from train.data.readers.class_map_file import CLASS_MAP_FILE
from train.dataset_distillation.clouds import PointClouds
from train.dataset_distillation.flags import SIMULATED, Flags
from train.dataset_distillation.folder import (
    FRAMES_PICTURE,
    OBJECTS_PICTURE,
    STATE_NAME,
    add_to_report,
    sample_again,
    write_made,
)
from train.dataset_distillation.frames.folder import refuse_frames_of_others
from train.dataset_distillation.frames.read import FrameData, read_frame_data
from train.dataset_distillation.make import make, score
from train.dataset_distillation.networks.classifiers import NETWORKS
from train.dataset_distillation.networks.segmenters import SEGMENTERS, build_segmenter
from train.dataset_distillation.objects.read import read_objects
from train.dataset_distillation.objects.simulated import SimulatedSet, simulate_objects
from train.dataset_distillation.options import (
    LEARNED,
    PAPER,
    QUICK,
    QUICK_FRAMES,
    DistillOptions,
    RotatorOptions,
    Task,
    refuse_below,
)
from train.dataset_distillation.prepare import prepare
from train.dataset_distillation.start import QUICK_START, StartOptions
from train.dataset_distillation.training import (
    ClassTraining,
    FrameTraining,
    PartTraining,
    Training,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 2 for a user's mistake, 128 + signal when stopped."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    words = shlex.join(["topodistill", "distill-data", *given])
    return replace(COMMAND, body=lambda flags: _run(flags, words)).main(given)


def _run(flags: Flags, words: str) -> None:
    begin = time.monotonic()
    output: Path = flags.output
    refuse_below(2, {"--points": flags.points})
    refuse_below(0, {"--seed": flags.seed})
    if flags.generator is not None:
        make_folder(output, "--output")
        clouds = sample_again(flags.generator, output, flags.points, flags.seed)
        logger.info(f"done: {len(clouds)} clouds of {flags.points} points in {output}")
        return
    kind = kind_of(flags)
    chosen = distill_options(flags)
    kind.check()
    trainings = kind.trainings()
    start = kind.start()
    device = process_device(flags.device)
    make_folder(output, "--output")
    state = output / STATE_NAME
    if state.exists() and not flags.resume:
        raise UserError(
            f"{state}: a distillation is there; go on with --resume, or give another --output"
        )
    with process_group(device):
        train, test, told = kind.read()
        logger.info(f"{told}; on {describe_device(device)}")
        real = prepare(train, test, chosen, rotate=flags.orientation.rotated)
        made = make(
            real,
            chosen,
            device,
            points=flags.points,
            state=state,
            resume=flags.resume,
            start=start,
        )
        write_made(output, made, real, chosen, flags.data)
    if not is_first_process():
        return
    scores: dict[str, dict[str, float]] = {}
    for training in trainings:
        found = score(made, real, training, device, points=flags.points)
        scores[training.network] = {"last": found.last, "best": found.best}
        logger.info(
            f"{training.network}: {100 * found.last:.1f}{training.unit} {training.measure} after "
            f"the last epoch, {100 * found.best:.1f}{training.unit} at the best "
            f"({found.best_epoch} of {training.epochs})"
        )
    add_to_report(
        output,
        {
            "command": words,
            "threads": torch.get_num_threads(),
            "processor": processor(),
            "wall_seconds": round(time.monotonic() - begin, 1),
            "cpu_seconds": round(time.process_time(), 1),
            "scores": scores,
        },
    )
    logger.info(f"done: {output}, with {kind.picture}{kind.advice()}")


COMMAND: Final = Command(
    "topodistill distill-data",
    Flags,
    lambda flags: _run(flags, "topodistill distill-data"),
    "Distill a set of labeled point clouds into a few clouds per class, by DD3D or by what it is "
    "compared with; or sample a distilled generator at another resolution.",
    epilog="The output is a folder of object clouds like any other: --data takes it.\n",
    stopped="nothing more was written",
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
        flags, folder = self.flags, Path(self.flags.data)
        drawn: dict[str, Any] = {"num_points": flags.points, "seed": flags.seed}
        if flags.data == SIMULATED:
            folder = flags.output / "objects"
            with first_process_first():
                folder.mkdir(exist_ok=True)
                simulate_objects(folder, SimulatedSet(**asdict(flags.simulation), **drawn))
        train = read_objects(folder, "train", **drawn)
        try:
            test = read_objects(folder, "test", **drawn)
        except UserError as error:
            if "has no split" not in str(error) and "has no test" not in str(error):
                raise
            test = None
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
            f"; train on it with: topodistill run --dataset kitti-layout --data-root {folder} "
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
    known = {each.name for each in fields(DistillOptions)}
    if flags.frames.dataset is not None:  # steps of frames are of their own start
        known.remove("start_steps")
    given = {name: value for name, value in vars(learning).items() if value not in (None, ())}
    preset |= {name: value for name, value in given.items() if name in known}
    return DistillOptions(
        method=flags.method,
        task=kind.task,
        clouds_per_class=flags.cpc,
        rotator=RotatorOptions(
            mode=turned.rotator or ("frozen" if turned.rotated else "none"),
            proper=turned.proper,
            upright=turned.upright,
            periods=turned.rotator_periods,
        ),
        seed=flags.seed,
        **preset,
    )
