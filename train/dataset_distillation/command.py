"""The command that distills a set of point clouds, or samples what was distilled again.

python -m train.distill_data --method dd3d --data simulated --cpc 1 --output runs/dd3d
python -m train.distill_data --dataset waymo --data simulated --output runs/dd3d-frames
"""

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import torch

from train.core.atomic_write import make_folder
from train.core.command import run_command
from train.core.console import logger
from train.core.device import describe_device
from train.core.distributed import is_first_process, process_device, process_group
from train.core.errors import UserError
from train.core.provenance import processor, program
from train.data.layout_flags import add_layout_flags
from train.data.registry import DATASETS
from train.dataset_distillation.folder import (
    GENERATOR_NAME,
    STATE_NAME,
    add_to_report,
    sample_again,
    write_made,
)
from train.dataset_distillation.frames.read import FrameData, FrameOptions
from train.dataset_distillation.kinds import kind_of
from train.dataset_distillation.make import make, score
from train.dataset_distillation.networks.build import NETWORKS
from train.dataset_distillation.networks.segmenters import SEGMENTERS
from train.dataset_distillation.options import (
    LEARNED,
    METHODS,
    PAPER,
    QUICK,
    QUICK_FRAMES,
    STARTS,
    DistillOptions,
    RotatorOptions,
)
from train.dataset_distillation.prepare import prepare
from train.dataset_distillation.rotator import MODES, Mode
from train.dataset_distillation.simulated.objects import SimulatedSet, Source
from train.dataset_distillation.start import QUICK_START, StartOptions
from train.dataset_distillation.tasks import TASKS
from train.dataset_distillation.training import FrameTraining

_USUAL = DistillOptions()
_SET = SimulatedSet()
_FRAMES = FrameOptions()
_DATA = FrameData(dataset="waymo", root=Path())
_FRAME_TRAINING = FrameTraining()
_START = StartOptions()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 2 for a user's mistake, 128 + signal when stopped."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(given)
    command = shlex.join(["topodistill", "distill-data", *given])
    return run_command(lambda: _run(options, command), stopped="nothing more was written")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("train.distill_data"),
        description="Distill a set of labeled point clouds into a few clouds per class, by DD3D or "
        "by what it is compared with; or sample a distilled generator at another resolution.",
        epilog="The output is a folder of object clouds like any other: --data takes it.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--output", type=Path, required=True, metavar="DIR", help="folder to write to")
    methods = "; ".join(f"{name}: {what}" for name, what in METHODS.items())
    add("--method", choices=METHODS, default="dd3d", help=f"{methods} [dd3d]")
    add(
        "--data",
        default="simulated",
        metavar="DIR",
        help="ModelNet40, ScanObjectNN or ShapeNetPart as downloaded, a folder that this command "
        "wrote, or the word simulated; with --dataset, the data root of LiDAR frames [simulated]",
    )
    add(
        "--task",
        choices=TASKS,
        help="what networks learn from the result: classes of clouds, or parts of points [classes; "
        "parts with --dataset]",
    )
    add("--cpc", type=int, default=1, metavar="M", help="clouds per class [1]")
    add(
        "--points",
        type=int,
        default=1024,
        metavar="N",
        help="of each cloud that is written, and of the real ones [1024]",
    )
    add(
        "--generator",
        type=Path,
        metavar="FILE",
        help=f"sample this {GENERATOR_NAME} with --points instead of distilling",
    )
    add("--resume", action="store_true", help="go on with a distillation that was stopped")
    add("--seed", type=int, default=0, help="of everything that is drawn [0]")
    add("--device", default="auto", help="cpu, cuda, cuda:N or auto [auto]")
    _add_frame_flags(parser)

    add = parser.add_argument_group("simulated data").add_argument
    add(
        "--source",
        choices=get_args(Source),
        default=_SET.source,
        help="the simulator's models, or things cut out of scans of its streets [models]",
    )
    for name in ("train", "test"):
        usual = getattr(_SET, f"{name}_per_class")
        add(f"--{name}-per-class", type=int, default=usual, metavar="B", help=f"clouds [{usual}]")

    add = parser.add_argument_group("orientation").add_argument
    add("--rotated", action="store_true", help="turn every real cloud at random first")
    add(
        "--rotator",
        choices=MODES,
        help="none; PCA alone; with signs as the authors run it; with learned weights [frozen with "
        "--rotated, else none]",
    )
    add("--proper", action="store_true", help="rotations alone: never mirror a cloud")
    add("--upright", action="store_true", help="turn about z alone")
    add("--rotator-periods", type=int, default=16, metavar="T", help="of learned weights [16]")

    add = parser.add_argument_group("distillation").add_argument
    add(
        "--preset",
        choices=("quick", "paper"),
        default="quick",
        help=f"quick: {QUICK['iterations']} iterations at {QUICK['points']} points (frames: "
        f"{QUICK_FRAMES['iterations']} at {QUICK_FRAMES['points']}), from real clouds, for two "
        f"cores; paper: {PAPER['iterations']} at {PAPER['points']}, from noise [quick]",
    )
    add("--distill-points", type=int, metavar="N", help="of a cloud while it is learned")
    add("--iterations", type=int, help="networks that gradients are matched on")
    add(
        "--outer",
        type=int,
        help=f"steps on each [the authors', by --cpc; frames, quick: {QUICK_FRAMES['outer']}]",
    )
    add(
        "--inner",
        type=int,
        help="epochs of each between two steps [the authors', by --cpc; frames, quick: "
        f"{QUICK_FRAMES['inner']}]",
    )
    add("--real-batch", type=int, help="real clouds of a class in a step")
    add(
        "--lr",
        type=float,
        help=f"of the generator [quick: {QUICK['lr']:g}, of frames {QUICK_FRAMES['lr']:g}; paper: "
        f"{_USUAL.lr:g}]",
    )
    add(
        "--start",
        choices=STARTS,
        help="what is learned begins as noise, or as real clouds that this chooses [quick: "
        f"{QUICK['start']}; paper: noise for a generator, random for free coordinates]",
    )
    add(
        "--coordinate-lr",
        type=float,
        default=_USUAL.coordinate_lr,
        help=f"of free coordinates [{_USUAL.coordinate_lr:g}]",
    )
    add(
        "--pointnet-widths",
        type=int,
        nargs="+",
        metavar="C",
        help=f"of the matched network [quick: {' '.join(map(str, QUICK['widths']))}, of frames "
        f"{' '.join(map(str, QUICK_FRAMES['widths']))}; paper: "
        f"{' '.join(map(str, _USUAL.widths))}]",
    )
    add("--width", type=int, default=_USUAL.width, help=f"of the generator [{_USUAL.width}]")
    add("--layers", type=int, default=_USUAL.layers, help=f"of the generator [{_USUAL.layers}]")
    add(
        "--w0",
        type=float,
        help=f"its first frequency: 100 for ModelNet40, 50 for ScanObjectNN [{_USUAL.w0:g}; "
        f"frames, quick: {QUICK_FRAMES['w0']:g}]",
    )

    add = parser.add_argument_group("evaluation").add_argument
    add(
        "--evaluate",
        nargs="*",
        choices=tuple(dict.fromkeys((*NETWORKS, *SEGMENTERS))),
        default=[],
        metavar="NETWORK",
        help="train these on the result from scratch and score them: "
        f"{', '.join(NETWORKS)}; of LiDAR frames {', '.join(SEGMENTERS)}",
    )
    add("--epochs", type=int, default=200, help="of their training [200]")
    return parser


def _add_frame_flags(parser: argparse.ArgumentParser) -> None:
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
        default=_FRAMES.range_m,
        metavar="R",
        help=f"crop frames to this, along the ground and in height [{_FRAMES.range_m:g}]",
    )
    for flag, usual, what in (
        ("--frames", _FRAMES.most, "training frames that are read, evenly spread"),
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
        default=_FRAME_TRAINING.grid_size_m,
        metavar="G",
        help=f"edge of the voxels of networks that have them [{_FRAME_TRAINING.grid_size_m:g}]",
    )
    add_layout_flags(parser)


def distill_options(options: argparse.Namespace) -> DistillOptions:
    """Return what the flags say; a flag wins over the preset."""
    kind = kind_of(options)
    preset: dict[str, Any] = {}
    if options.preset == "paper":
        preset = dict(PAPER)
    elif starts_from_real(options):
        preset = dict(kind.quick)
    given = {
        "points": options.distill_points,
        "iterations": options.iterations,
        "outer": options.outer,
        "inner": options.inner,
        "real_batch": options.real_batch,
        "lr": options.lr,
        "w0": options.w0,
        "start": options.start,
        "start_steps": options.start_steps if options.dataset is None else None,
        "widths": None if options.pointnet_widths is None else tuple(options.pointnet_widths),
    }
    preset |= {name: value for name, value in given.items() if value is not None}
    mode: Mode = options.rotator or ("frozen" if options.rotated else "none")
    return DistillOptions(
        method=options.method,
        task=kind.task,
        clouds_per_class=options.cpc,
        coordinate_lr=options.coordinate_lr,
        width=options.width,
        layers=options.layers,
        rotator=RotatorOptions(
            mode=mode,
            proper=options.proper,
            upright=options.upright,
            periods=options.rotator_periods,
        ),
        seed=options.seed,
        **preset,
    )


def starts_from_real(options: argparse.Namespace) -> bool:
    """Return whether the quick preset holds: it begins near real data, where few steps can end."""
    return (
        options.preset == "quick"
        and options.method in LEARNED
        and options.start != "noise"
        and options.start_steps != 0
    )


def _run(options: argparse.Namespace, command: str) -> None:
    begin = time.monotonic()
    output: Path = options.output
    if options.points < 2:
        raise UserError(f"--points {options.points}: a cloud has at least 2")
    if options.seed < 0:
        raise UserError(f"--seed {options.seed}: 0 or more")
    if options.generator is not None:
        make_folder(output, "--output")
        clouds = sample_again(options.generator, output, options.points, options.seed)
        logger.info(f"done: {len(clouds)} clouds of {options.points} points in {output}")
        return
    kind = kind_of(options)
    chosen = distill_options(options)
    kind.check(options)
    trainings = kind.trainings(options)
    start = kind.start(options, quick=starts_from_real(options))
    device = process_device(options.device)
    make_folder(output, "--output")
    state = output / STATE_NAME
    if state.exists() and not options.resume:
        raise UserError(
            f"{state}: a distillation is there; go on with --resume, or give another --output"
        )
    with process_group(device):
        train, test, told = kind.read(options)
        logger.info(f"{told}; on {describe_device(device)}")
        real = prepare(train, test, chosen, rotate=options.rotated)
        made = make(
            real,
            chosen,
            device,
            points=options.points,
            state=state,
            resume=options.resume,
            start=start,
        )
        write_made(output, made, real, chosen, options.data)
    if not is_first_process():
        return
    scores: dict[str, dict[str, float]] = {}
    for training in trainings:
        found = score(made, real, training, device, points=options.points)
        scores[training.network] = {"last": found.last, "best": found.best}
        logger.info(
            f"{training.network}: {100 * found.last:.1f}{training.unit} {training.measure} after "
            f"the last epoch, {100 * found.best:.1f}{training.unit} at the best "
            f"({found.best_epoch} of {training.epochs})"
        )
    add_to_report(
        output,
        {
            "command": command,
            "threads": torch.get_num_threads(),
            "processor": processor(),
            "wall_seconds": round(time.monotonic() - begin, 1),
            "cpu_seconds": round(time.process_time(), 1),
            "scores": scores,
        },
    )
    logger.info(f"done: {output}, with {kind.picture}{kind.advice(options)}")
