"""What the command distill-data does with --dataset: LiDAR frames in place of objects."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch

from train.core.atomic_write import make_folder
from train.core.console import logger
from train.core.device import describe_device
from train.data.layout_flags import add_layout_flags, layout_options
from train.data.registry import DATASETS
from train.dataset_distillation.lidar.evaluate import FrameTraining
from train.dataset_distillation.lidar.folder import (
    PICTURE_NAME,
    refuse_frames_of_others,
    sample_frames_again,
    write_made_frames,
)
from train.dataset_distillation.lidar.frames import FrameOptions
from train.dataset_distillation.lidar.make import (
    MadeFrames,
    RealFrames,
    make_frames,
    prepare_frames,
    score_frames_of,
)
from train.dataset_distillation.lidar.read import FrameData, read_frame_data
from train.dataset_distillation.lidar.start import QUICK_START, FitOptions
from train.dataset_distillation.make import STATE_NAME
from train.dataset_distillation.networks.segmenters import build_segmenter
from train.dataset_distillation.options import DistillOptions
from train.simulation.kitti_layout import CLASS_MAP_FILE

SIMULATED: Final = "simulated"
"""The word that --data takes for simulated frames, and their folder below --output."""

_USUAL: Final = FrameOptions()
_DATA: Final = FrameData(dataset="waymo", root=Path())
_TRAINING: Final = FrameTraining()
_START: Final = FitOptions()


def add_frame_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of LiDAR frames."""
    add = parser.add_argument_group("LiDAR frames").add_argument
    add(
        "--dataset",
        metavar="NAME",
        help="distill LiDAR frames whose semantic classes are the parts, those of this dataset "
        f"below --data: {', '.join(DATASETS)}",
    )
    add(
        "--simulate",
        action="store_true",
        help="simulate them, in the dataset's own format, below --data or --output",
    )
    add(
        "--range-m",
        type=float,
        default=_USUAL.range_m,
        metavar="R",
        help=f"crop frames to this, along the ground and in height [{_USUAL.range_m:g}]",
    )
    for flag, usual, what in (
        ("--frames", _USUAL.most, "training frames that are read, evenly spread"),
        ("--test-frames", _DATA.test_most, "held-out frames, evenly spread; 0 for none"),
        ("--simulated-frames", _DATA.simulated_frames, "training frames to simulate"),
        ("--simulated-test-frames", _DATA.simulated_test_frames, "held-out frames to simulate"),
        ("--azimuth-steps", _DATA.azimuth_steps, "columns in a turn of the simulated sensor"),
    ):
        add(flag, type=int, default=usual, metavar="B", help=f"{what} [{usual}]")
    add(
        "--start-steps",
        type=int,
        metavar="S",
        help="fit the generator to real points in so many steps first; 0, the paper's way, is for "
        f"frames alone [objects that start from real clouds: {DistillOptions().start_steps}; "
        f"frames, quick: {QUICK_START.steps}, paper: {_START.steps}]",
    )
    add(
        "--start-frames",
        type=int,
        default=_START.frames,
        metavar="B",
        help="real frames that each of the --cpc then starts from, at most; 0 for an equal share "
        f"of all [{_START.frames}]",
    )
    add(
        "--share-power",
        type=float,
        metavar="P",
        help="points of a class as its share to this power; below 1 rare classes have more "
        f"[quick: {QUICK_START.share_power:g}, paper: {_START.share_power:g}]",
    )
    for flag in ("--train-sequences", "--validation-sequences"):
        add(flag, nargs="+", default=[], metavar="SEQUENCE", help="[the official split]")
    add(
        "--grid-size-m",
        type=float,
        default=_TRAINING.grid_size_m,
        metavar="G",
        help=f"edge of the voxels of networks that have them [{_TRAINING.grid_size_m:g}]",
    )
    add_layout_flags(parser)


def frame_data(options: argparse.Namespace) -> FrameData:
    """Return what the flags say of the frames."""
    simulate = options.simulate or options.data == SIMULATED
    root = options.output / SIMULATED if options.data == SIMULATED else Path(options.data)
    return FrameData(
        dataset=options.dataset,
        root=root,
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
        simulate=simulate,
        simulated_frames=options.simulated_frames,
        simulated_test_frames=options.simulated_test_frames,
        azimuth_steps=options.azimuth_steps,
        seed=options.seed,
    )


def frame_start(options: argparse.Namespace, *, quick: bool) -> FitOptions:
    """Return how a generator of frames is fitted to real points first; a flag wins."""
    given = {"steps": options.start_steps, "share_power": options.share_power}
    return replace(
        QUICK_START if quick else _START,
        frames=options.start_frames,
        **{name: value for name, value in given.items() if value is not None},
    )


def distill_frames(
    options: argparse.Namespace, chosen: DistillOptions, device: torch.device, *, quick: bool
) -> tuple[MadeFrames, RealFrames]:
    """Read frames, make a small set, and write it.

    Parameters
    ----------
    options
        The flags.
    chosen
        What they say of the distillation.
    quick
        Whether a generator starts from real points where no flag says how.
    device
        Where to compute.

    Raises
    ------
    UserError
        See what is called.
    """
    for each in _trainings(options):  # a mistake in these is told before hours of work
        build_segmenter(each.network, 2, each.grid_size_m, options.range_m)
    start = frame_start(options, quick=quick)
    output: Path = options.output
    refuse_frames_of_others(output)
    train, test = read_frame_data(frame_data(options), needs_test=bool(options.evaluate))
    logger.info(
        f"{len(train)} frames of {train.clouds.num_points:,} points within {train.meters:g} m, "
        f"{len(train.class_names)} classes; on {describe_device(device)}"
    )
    real = prepare_frames(train, test, chosen)
    made = make_frames(
        real,
        chosen,
        device,
        points=options.points,
        state=output / STATE_NAME,
        resume=options.resume,
        start=start,
    )
    write_made_frames(output, made, real, chosen, str(options.data))
    return made, real


def score_made_frames(
    options: argparse.Namespace, made: MadeFrames, real: RealFrames, device: torch.device
) -> None:
    """Train the networks that --evaluate names on a small set, and log their scores."""
    for each in _trainings(options):
        found = score_frames_of(made, real, each, device, options.points)
        logger.info(
            f"{each.network}: {100 * found.last:.1f} mIoU after the last epoch, "
            f"{100 * found.best:.1f} at the best ({found.best_epoch} of {each.epochs})"
        )
    output = options.output
    logger.info(
        f"done: {output}, with {PICTURE_NAME}; train on it with: python -m train.run --dataset "
        f"kitti-layout --data-root {output} --data.class-map {output / CLASS_MAP_FILE}"
    )


def _trainings(options: argparse.Namespace) -> list[FrameTraining]:
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


def sample_frames(options: argparse.Namespace) -> None:
    """Sample a generator of frames at another resolution."""
    make_folder(options.output, "--output")
    frames = sample_frames_again(options.generator, options.output, options.points, options.seed)
    logger.info(f"done: {len(frames)} frames of {options.points} points in {options.output}")
