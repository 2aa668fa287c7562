"""The flags of distill-data, in groups as its help shows them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal

from tyro.conf import arg

from train.core.command import Device, Names, several
from train.data.layout_flags import LayoutFlags
from train.dataset_distillation.frames.read import FrameFlags
from train.dataset_distillation.networks.classifiers import NETWORKS
from train.dataset_distillation.networks.segmenters import SEGMENTERS
from train.dataset_distillation.objects.simulated import SimulationFlags
from train.dataset_distillation.options import (
    METHODS,
    PAPER,
    QUICK,
    QUICK_FRAMES,
    DistillOptions,
    Method,
    Start,
    Task,
)
from train.dataset_distillation.rotator import Mode
from train.dataset_distillation.start import QUICK_START, StartOptions

SIMULATED: Final = "simulated"
"""The word that --data takes for simulated clouds, and the folder of frames below --output."""
_USUAL: Final = DistillOptions()
_START: Final = StartOptions()


def _words(values: tuple[int, ...]) -> str:
    return " ".join(map(str, values))


@dataclass(frozen=True, kw_only=True)
class OrientationFlags:
    """How clouds are turned."""

    rotated: bool = False
    """turn every real cloud at random first"""
    rotator: Mode | None = None
    """none; PCA alone; with signs as the authors run it; with learned weights [frozen with
    --rotated, else none]"""
    proper: bool = False
    """rotations alone: never mirror a cloud"""
    upright: bool = False
    """turn about z alone"""
    rotator_periods: Annotated[int, arg(metavar="T")] = 16
    """of learned weights"""


@dataclass(frozen=True, kw_only=True)
class LearningFlags:
    """Distillation."""

    # Fields are those of DistillOptions; what is None or empty is left to the preset.

    preset: Annotated[
        Literal["quick", "paper"],
        arg(
            help=f"quick: {QUICK['iterations']} iterations at {QUICK['points']} points (frames: "
            f"{QUICK_FRAMES['iterations']} at {QUICK_FRAMES['points']}), from real clouds, for two "
            f"cores; paper: {PAPER['iterations']} at {PAPER['points']}, from noise"
        ),
    ] = "quick"
    points: Annotated[int | None, arg(name="distill-points", metavar="N")] = None
    """of a cloud while it is learned"""
    iterations: int | None = None
    """networks that gradients are matched on"""
    outer: Annotated[
        int | None,
        arg(help=f"steps on each [the authors', by --cpc; frames, quick: {QUICK_FRAMES['outer']}]"),
    ] = None
    inner: Annotated[
        int | None,
        arg(
            help="epochs of each between two steps [the authors', by --cpc; frames, quick: "
            f"{QUICK_FRAMES['inner']}]"
        ),
    ] = None
    real_batch: int | None = None
    """real clouds of a class in a step"""
    lr: Annotated[
        float | None,
        arg(
            help=f"of the generator [quick: {QUICK['lr']:g}, of frames {QUICK_FRAMES['lr']:g}; "
            f"paper: {_USUAL.lr:g}]"
        ),
    ] = None
    start: Annotated[
        Start | None,
        arg(
            help="what is learned begins as noise, or as real clouds that this chooses [quick: "
            f"{QUICK['start']}; paper: noise for a generator, random for free coordinates]"
        ),
    ] = None
    start_steps: Annotated[
        int | None,
        arg(
            metavar="S",
            help="fit the generator to real points in so many steps first; 0, the paper's way, is "
            f"for frames alone [objects that start from real clouds: {_USUAL.start_steps}; frames, "
            f"quick: {QUICK_START.steps}, paper: {_START.steps}]",
        ),
    ] = None
    start_frames: Annotated[int, arg(metavar="B")] = 0
    """real frames that each of the --cpc then starts from, at most; 0 for an equal share of all"""
    share_power: Annotated[
        float | None,
        arg(
            metavar="P",
            help="points of a class as its share to this power; below 1 rare classes have more "
            f"[quick: {QUICK_START.share_power:g}, paper: {_START.share_power:g}]",
        ),
    ] = None
    coordinate_lr: float = _USUAL.coordinate_lr
    """of free coordinates"""
    widths: Annotated[
        tuple[int, ...],
        several(int, "C"),
        arg(
            name="pointnet-widths",
            help=f"of the matched network [quick: {_words(QUICK['widths'])}, of frames "
            f"{_words(QUICK_FRAMES['widths'])}; paper: {_words(_USUAL.widths)}]",
        ),
    ] = ()
    width: int = _USUAL.width
    """of the generator"""
    layers: int = _USUAL.layers
    """of the generator"""
    w0: Annotated[
        float | None,
        arg(
            help="of the generator, its first frequency: 100 for ModelNet40, 50 for ScanObjectNN "
            f"[{_USUAL.w0:g}; frames, quick: {QUICK_FRAMES['w0']:g}]"
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class EvaluationFlags:
    """Evaluation of the result."""

    evaluate: Annotated[
        Names,
        arg(
            metavar="NETWORK",
            help="train these on the result from scratch and score them: "
            f"{', '.join(NETWORKS)}; of LiDAR frames {', '.join(SEGMENTERS)}",
        ),
    ] = ()
    epochs: int = 200
    """of their training"""
    grid_size_m: Annotated[float, arg(metavar="G", aliases=("--data.grid-size-m",))] = 0.5
    """edge of the voxels of networks that have them"""


@dataclass(frozen=True, kw_only=True)
class Flags:
    """What is distilled, how, and where to."""

    output: Annotated[Path, arg(metavar="DIR")]
    """folder to write to"""
    method: Annotated[
        Method, arg(help="; ".join(f"{n}: {what}" for n, what in METHODS.items()))
    ] = "dd3d"
    data: Annotated[str, arg(metavar="DIR")] = SIMULATED
    """ModelNet40, ScanObjectNN or ShapeNetPart as downloaded, a folder that this command wrote, or
    the word simulated; with --dataset, the data root of LiDAR frames"""
    task: Task | None = None
    """what networks learn from the result: classes of clouds, or parts of points [classes; parts
    with --dataset]"""
    cpc: Annotated[int, arg(metavar="M")] = 1
    """clouds per class"""
    points: Annotated[int, arg(metavar="N")] = 1024
    """of each cloud that is written, and of the real ones"""
    generator: Annotated[Path | None, arg(metavar="FILE")] = None
    """sample this generator.safetensors with --points instead of distilling"""
    resume: bool = False
    """go on with a distillation that was stopped"""
    seed: int = 0
    """of everything that is drawn"""
    device: Device = "auto"
    frames: Annotated[FrameFlags, arg(name="")] = field(default_factory=FrameFlags)
    layout: Annotated[LayoutFlags, arg(name="data")] = field(default_factory=LayoutFlags)
    simulation: Annotated[SimulationFlags, arg(name="")] = field(default_factory=SimulationFlags)
    orientation: Annotated[OrientationFlags, arg(name="")] = field(default_factory=OrientationFlags)
    learning: Annotated[LearningFlags, arg(name="")] = field(default_factory=LearningFlags)
    evaluation: Annotated[EvaluationFlags, arg(name="")] = field(default_factory=EvaluationFlags)
