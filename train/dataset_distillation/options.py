"""What a distillation is made with: the numbers of the authors' code, and smaller ones for CPUs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, get_args

from train.core.errors import UserError
from train.dataset_distillation.rotator import MODES, Mode, Rotator

Task = Literal["classes", "parts"]
"""What a network is to learn from clouds: the class of each, or the part of every point."""
TASKS: Final[tuple[Task, ...]] = get_args(Task)
Method = Literal[
    "dd3d", "gradient-matching", "distribution-matching", "random", "herding", "k-center"
]
METHODS: Final[Mapping[Method, str]] = {
    "dd3d": "a generator whose clouds have the gradients of the real ones",
    "gradient-matching": "the same for free coordinates, from real clouds at first",
    "distribution-matching": "free coordinates with the mean features of the real clouds",
    "random": "real clouds, drawn",
    "herding": "real clouds whose mean features follow the class's",
    "k-center": "real clouds that lie far from each other",
}
"""Name -> what it makes."""
Start = Literal["noise", "random", "herding", "k-center"]
STARTS: Final[tuple[Start, ...]] = get_args(Start)

LEARNED: Final[tuple[Method, ...]] = ("dd3d", "gradient-matching", "distribution-matching")
"""The methods that learn; the others choose."""

_LOOPS: Final = {
    False: {1: (10, 1), 10: (20, 1), 50: (40, 5)},
    True: {1: (5, 5), 10: (20, 10), 50: (40, 5)},
}


def refuse_below(least: int, values: Mapping[str, int | None]) -> None:
    """Refuse a number below the least that there can be, by its flag; None is none."""
    for flag, value in values.items():
        if value is not None and value < least:
            raise UserError(f"{flag} {value}: at least {least}")


def paper_loops(clouds_per_class: int, *, rotated: bool) -> tuple[int, int]:
    """Return the outer and inner loops of the authors' code; those of the next smaller number."""
    table = _LOOPS[rotated]
    return table[max(number for number in table if number <= clouds_per_class)]


@dataclass(frozen=True, kw_only=True)
class RotatorOptions:
    """See `train.dataset_distillation.rotator.Rotator`."""

    mode: Mode = "none"
    proper: bool = False
    upright: bool = False
    periods: int = 16
    w0: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what the rotator would."""
        if self.mode not in MODES:
            raise UserError(f"--rotator {self.mode!r}: choose one of {', '.join(MODES)}")
        refuse_below(1, {"--rotator-periods": self.periods})

    def build(self) -> Rotator:
        """Return an untrained rotator."""
        return Rotator(**asdict(self))


@dataclass(frozen=True, kw_only=True)
class DistillOptions:
    """How a set is distilled.

    Attributes
    ----------
    method
        A name of `METHODS`.
    task
        Classes of clouds, or parts of points.
    clouds_per_class
        M.
    points
        Of each cloud while it is learned; a generator makes any number later.
    iterations
        Networks that gradients are matched on, each a new one.
    outer, inner
        Steps of the synthetic clouds on one network, and epochs that it is trained on them in
        between. None: those of the authors' code, by `clouds_per_class` and orientation.
    real_batch
        Real clouds of a class in one step.
    lr, weight_decay
        Of Adam on the generator; the rate falls to a tenth at half time.
    coordinate_lr
        Of Adam on free coordinates. The paper's table of them is lost. SGD at 0.1, as for images,
        makes the distance grow: a few points per channel get all of its gradient.
    network_lr, network_batch
        Of SGD on the matched network.
    start
        What is learned begins as: noise, for free coordinates points of the cube around the unit
        sphere; or real clouds, drawn or chosen by a coreset's name, to which a generator is fitted
        first. None for the authors' choice: noise for a generator, real
        clouds, drawn, for free coordinates.
    start_steps
        Of the fit of a generator to the real clouds that it starts from.
    width, layers, w0
        Of the generator.
    widths
        Of the matched PointNet.
    rotator
        Brings clouds to a canonical orientation.
    seed
        Of everything.
    """

    method: Method = "dd3d"
    task: Task = "classes"
    clouds_per_class: int = 1
    points: int = 256
    iterations: int = 60
    outer: int | None = None
    inner: int | None = None
    real_batch: int = 8
    lr: float = 1e-3
    weight_decay: float = 5e-4
    coordinate_lr: float = 1e-3
    network_lr: float = 1e-3
    network_batch: int = 256
    start: Start | None = None
    start_steps: int = 3000
    width: int = 256
    layers: int = 2
    w0: float = 100.0
    widths: tuple[int, ...] = (64, 128, 1024)
    rotator: RotatorOptions = field(default_factory=RotatorOptions)
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that nothing can be learned with."""
        if self.method not in get_args(Method):
            raise UserError(f"--method {self.method!r}: choose one of {', '.join(METHODS)}")
        if self.task not in TASKS:
            raise UserError(f"--task {self.task!r}: choose one of {', '.join(TASKS)}")
        self._check_start()
        if self.task == "parts" and self.method == "distribution-matching":
            raise UserError("--method distribution-matching: has no --task parts; choose another")
        refuse_below(2, {"--distill-points": self.points})
        refuse_below(0, {"--seed": self.seed})
        least_one = {
            "--cpc": self.clouds_per_class,
            "--iterations": self.iterations,
            "--outer": self.outer,
            "--inner": self.inner,
            "--real-batch": self.real_batch,
            "--start-steps": self.start_steps,
            "--width": self.width,
            "--layers": self.layers,
            "network_batch": self.network_batch,
        }
        refuse_below(1, least_one)
        if len(self.widths) < 2 or min(self.widths) < 1:
            shown = " ".join(map(str, self.widths))
            raise UserError(f"--pointnet-widths {shown}: two numbers at least, each at least 1")
        for name in ("lr", "coordinate_lr", "network_lr", "w0"):
            if not 0 < getattr(self, name) < float("inf"):
                raise UserError(f"--{name.replace('_', '-')} {getattr(self, name)}: above 0")

    def _check_start(self) -> None:
        if self.start is None:
            return
        if self.start not in STARTS:
            raise UserError(f"--start {self.start!r}: choose one of {', '.join(STARTS)}")
        generated = self.method == "dd3d"
        if generated and self.task == "parts" and self.start != "noise":
            raise UserError(
                f"--start {self.start}: a generator of parts starts from noise; leave it out"
            )

    @property
    def begins_as(self) -> Start:
        """`start`, the authors' where none is given."""
        return self.start or ("noise" if self.method == "dd3d" else "random")

    @property
    def loops(self) -> tuple[int, int]:
        """Outer and inner loops, those of the authors' code where none are given."""
        rotated = self.rotator.mode != "none"
        outer, inner = paper_loops(self.clouds_per_class, rotated=rotated)
        return self.outer or outer, self.inner or inner


PAPER: Final[Mapping[str, Any]] = {"points": 1024, "iterations": 400, "real_batch": 32}
"""What `--preset paper` sets: hours on two cores, for a GPU."""
QUICK: Final[Mapping[str, Any]] = {
    "points": 128,
    "iterations": 15,
    "real_batch": 8,
    "widths": (32, 64, 256),
    "lr": 2e-5,
    "start": "herding",
}
"""What `--preset quick` sets for classes, and what `docs/results/dd3d.md` was measured with: so few
steps do not lead from noise to objects, and from real clouds a rate of 0.001 leads away."""
QUICK_FRAMES: Final[Mapping[str, Any]] = {
    "points": 512,
    "iterations": 40,
    "outer": 10,
    "inner": 1,
    "real_batch": 4,
    "widths": (32, 64, 128),
    "lr": 1e-5,
    "weight_decay": 0.0,  # of weights would pull what was fitted apart
    "w0": 400.0,
}
"""The same for LiDAR frames, beside `start.QUICK_START`: see `docs/results/dd3d_lidar.md`."""
